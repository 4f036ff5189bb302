/* SIGKILL at any moment, while a writer that does not wait has hundreds of durable writes in
 * flight: what feox_durable_sequence has reached, and what another thread has read, is there.
 *
 * The writes are steps of a total order: an even step 2n puts n into one of a few keys, step 2n + 1
 * raises a counter to n + 1. So each key is written again while its last write is still hidden, and
 * a state holds some number of steps, neither less nor more. What the child is told and what it
 * reads goes into a page that outlives it. FEOX_KILLS is the number of rounds (default 15,
 * with FEOX_LONG=1 300), FEOX_SEED the seed. Limits as in fault/kill.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "support/campaign.h"
#include "support/kit.h"
#include "support/victim.h"

enum { KEYS = 250, IN_FLIGHT = 600, BURST = 300 };

typedef struct page {
    uint64_t base;            /* steps that were there when the victim began; the parent's */
    uint32_t flags;           /* of each write; the parent's */
    _Atomic uint64_t durable; /* steps whose sequence was reached */
    _Atomic uint64_t seen;    /* steps that the reader knows of */
    _Atomic int stop;         /* one of its threads has failed */
} page;

/* ---- The victim ---- */

static feox_status take_step(feox_store *store, uint64_t step, const feox_write *write,
                             uint64_t *sequence_out) {
    uint64_t n = step / 2;
    uint64_t key = n % KEYS;
    int64_t count = 0;
    feox_written written = {0};
    feox_status status =
        step % 2 == 0 ? feox_insert_with(store, &key, sizeof key, &n, sizeof n, write, &written)
                      : feox_increment_with(store, "count", 5, 1, write, &count, &written);
    *sequence_out = written.sequence;
    bool wrong = step % 2 == 1 && status == FEOX_OK && (uint64_t)count != n + 1;
    return wrong ? FEOX_MISMATCH : status;
}

/* Writes in bursts, with a moment for the event between them, so that some are in a flush while
 * others gather for the next; a full window waits for the event alone. */
static feox_status write_on(feox_store *store, page *p) {
    static uint64_t sequences[IN_FLIGHT];
    uint64_t next = p->base;
    uint64_t done = p->base;
    uint64_t random = p->base;
    struct pollfd event = {.events = POLLIN};
    feox_write write;
    feox_write_init(&write);
    write.flags = p->flags;
    feox_status status = feox_durable_fd(store, &event.fd);
    while (status == FEOX_OK && atomic_load(&p->stop) == 0) {
        uint64_t end = next + 1 + kit_below(&random, BURST);
        end = end < done + IN_FLIGHT ? end : done + IN_FLIGHT;
        for (; status == FEOX_OK && next < end; next++) {
            status = take_step(store, next, &write, &sequences[next % IN_FLIGHT]);
        }
        int patience_ms = next == done + IN_FLIGHT ? -1 : 1;
        if (status != FEOX_OK || poll(&event, 1, patience_ms) != 1) {
            continue;
        }
        uint64_t durable = 0;
        status = feox_durable_sequence(store, &durable);
        while (done < next && sequences[done % IN_FLIGHT] <= durable) {
            done++;
        }
        atomic_store(&p->durable, done);
    }
    return status;
}

typedef struct reader {
    feox_store *store;
    page *p;
    feox_status status;
} reader;

/* A counter of n: 2n steps; n in a key: 2n + 1. */
static void *read_on(void *argument) {
    reader *r = argument;
    uint64_t random = r->p->base;
    while (r->status == FEOX_OK && atomic_load(&r->p->stop) == 0) {
        uint64_t key = kit_below(&random, KEYS);
        bool counter = kit_below(&random, 2) == 0;
        uint64_t value = 0; /* little-endian machines */
        r->status = feox_get_into(r->store, counter ? (void *)"count" : (void *)&key,
                                  counter ? 5 : sizeof key, &value, sizeof value, NULL);
        if (r->status == FEOX_OK) {
            uint64_t steps = 2 * value + (counter ? 0 : 1);
            if (steps > atomic_load(&r->p->seen)) {
                atomic_store(&r->p->seen, steps);
            }
        } else if (r->status == FEOX_NOT_FOUND) {
            r->status = FEOX_OK;
        }
        kit_sleep_ms(kit_below(&random, 50) == 0);
    }
    atomic_store(&r->p->stop, 1);
    return NULL;
}

static feox_status work(feox_store *store, void *context) {
    page *p = context;
    reader r = {store, p, FEOX_OK};
    pthread_t thread;
    if (pthread_create(&thread, NULL, read_on, &r) != 0) {
        return FEOX_ERR_MEMORY;
    }
    feox_status status = write_on(store, p);
    atomic_store(&p->stop, 1);
    (void)pthread_join(thread, NULL);
    return status == FEOX_OK ? r.status : status;
}

/* ---- The parent ---- */

/* How many steps the store holds, which is then exactly their state. */
static uint64_t steps_there(feox_store *store) {
    uint64_t count = 0;
    uint64_t half = 0;
    feox_status status = feox_get_into(store, "count", 5, &count, sizeof count, NULL);
    assert_true(status == FEOX_OK || (status == FEOX_NOT_FOUND && count == 0));
    for (uint64_t key = 0; key < KEYS; key++) {
        uint64_t next = count + (key + KEYS - count % KEYS) % KEYS; /* n that this key waits for */
        uint64_t value = UINT64_MAX;
        status = feox_get_into(store, &key, sizeof key, &value, sizeof value, NULL);
        if (next == count && status == FEOX_OK && value == count) {
            half = 1;
        } else if (next < KEYS) {
            assert_status(status, FEOX_NOT_FOUND);
        } else {
            assert_ok(status);
            assert_int_equal(value, next - KEYS);
        }
    }
    return 2 * count + half;
}

/* Most die when something has become durable, some at once. */
static void run_and_kill(const victim_job *job, uint64_t round, uint64_t *random) {
    page *p = job->context;
    pid_t pid = victim_start(job);
    while (round % 5 != 4 && atomic_load(&p->durable) == p->base && victim_lives(pid)) {
        kit_sleep_ms(1);
    }
    kit_sleep_ms((unsigned)kit_below(random, KIT_SLOW ? 100 : 40));
    victim_kill(pid);
}

static void what_was_reported_or_read_is_there(void **state) {
    (void)state;
    campaign c;
    campaign_begin(&c, "C2 kills, writes in flight");
    uint64_t random = kit_seed("what_was_reported_or_read_is_there");
    uint64_t kills = kit_env_number("FEOX_KILLS", getenv("FEOX_LONG") != NULL ? 300 : 15);
    page *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    victim_job job = {.path = fx_temp_fresh("async"), .work = work, .context = p};
    for (uint64_t round = 0; round < kills; round++) {
        bool relaxed = round % 2 == 0;
        kit_options_init(&job.options);
        job.options.durability = relaxed ? FEOX_DURABILITY_RELAXED : FEOX_DURABILITY_DURABLE;
        job.options.flush_interval_ms = 3600000;
        if (job.options.io_backend == FEOX_IO_AUTO && round % 4 >= 2) {
            job.options.io_backend = FEOX_IO_THREADS;
        }
        p->flags = relaxed ? FEOX_DURABLE | FEOX_NO_WAIT : FEOX_NO_WAIT;
        run_and_kill(&job, round, &random);
        feox_store *store = victim_open(job.path, &job.options);
        assert_ok(kit_check(store));
        uint64_t there = steps_there(store);
        uint64_t durable = atomic_load(&p->durable);
        uint64_t seen = atomic_load(&p->seen);
        if (there < durable || there < seen || there < p->base) {
            print_error("round %llu: %llu steps are there; %llu were before, %llu durable, "
                        "%llu seen\n",
                        (unsigned long long)round, (unsigned long long)there,
                        (unsigned long long)p->base, (unsigned long long)durable,
                        (unsigned long long)seen);
            fail();
        }
        assert_ok(feox_close(store));
        p->base = there;
        atomic_store(&p->durable, there);
        c.cases++;
        c.faults++;
    }
    printf("%llu writes\n", (unsigned long long)p->base);
    campaign_end(&c);
    assert_int_equal(munmap(p, sizeof *p), 0);
    fx_file_remove(job.path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_reported_or_read_is_there),
    };
    return cmocka_run_group_tests_name("fault/async_kill", tests, NULL, NULL);
}
