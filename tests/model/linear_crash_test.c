/* Linearizable also across a crash: a child records what its threads do to a few keys in memory
 * that it shares with the parent, and is killed. The parent opens the file, reads the keys, goes on
 * with calls of its own, and checks all of it as one history: what was durable or flushed is there,
 * what was under way happened before the crash or never, and what anybody saw of a durable write
 * stays.
 *
 * One round in two the whole store is durable; else a third of the writes are, and feox_flush is
 * among the calls. FEOX_KILLS is the number of rounds (default 40, with FEOX_LONG=1
 * 300), FEOX_SEED the seed.
 */
#define _GNU_SOURCE
#include "support/campaign.h"
#include "support/history.h"
#include "support/hot.h"
#include "support/kit.h"
#include "support/nudge.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, CALLS = 14, AFTERWARDS = 6, MAIN_THREAD = FX_HISTORY_THREADS - 1 };

typedef struct round {
    const char *path;
    feox_options options;
    fx_hot_plan plan;
    uint64_t seed;
    fx_hot hots[FX_HISTORY_THREADS];
} round;

static void *call_on(void *argument) {
    fx_hot *hot = argument;
    fx_nudge nudge;
    fx_nudge_init(&nudge);
    for (int i = 0; i < CALLS; i++) {
        if (kit_below(&hot->random, 4) == 0) {
            fx_nudge_arm(&nudge, 500 + kit_below(&hot->random, 100000));
        }
        fx_hot_call(hot);
        if (hot->unmodelled != 0) {
            _exit(3);
        }
    }
    pause(); /* with open eyes, until the kill */
    return NULL;
}

static void child(round *r, int ready) {
    pthread_t thread;
    alarm(60);
    if (feox_open(r->path, &r->options, &r->plan.store) != FEOX_OK ||
        fx_hot_clear(&r->plan) != FEOX_OK || feox_flush(r->plan.store) != FEOX_OK ||
        write(ready, "!", 1) != 1) {
        _exit(2);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        if (pthread_create(&thread, NULL, call_on, &r->hots[i]) != 0) {
            _exit(5);
        }
    }
    pause();
    _exit(4);
}

static void run_and_kill(round *r, uint64_t after_us) {
    int ends[2];
    char byte;
    int status = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child(r, ends[1]);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    usleep((useconds_t)after_us);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ends[0]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        print_error("the child ended by itself: status %x\n", (unsigned)status);
        fail();
    }
}

/* The kernel may be at the dead process's writes still, and keep the file until they are done. */
static feox_store *open_again(const round *r) {
    feox_store *store = NULL;
    feox_status status;
    uint64_t deadline = kit_now_ms() + 10000;
    while ((status = feox_open(r->path, &r->options, &store)) == FEOX_ERR_BUSY &&
           kit_now_ms() < deadline) {
        kit_sleep_ms(1);
    }
    assert_ok(status);
    return store;
}

static void prepare(round *r, uint64_t *random, uint64_t number) {
    fx_hot_plan *plan = &r->plan;
    fx_history *history = plan->history;
    uint32_t keys = 1 + (uint32_t)kit_below(random, 3);
    bool durable = kit_below(random, 2) == 0;
    kit_options_init(&r->options);
    r->options.durability = durable ? FEOX_DURABILITY_DURABLE : FEOX_DURABILITY_RELAXED;
    r->options.flush_interval_ms = 1 + (uint32_t)kit_below(random, 3) * 10;
    *plan = (fx_hot_plan){.history = history, .name = number % 3};
    plan->durable = durable ? 0 : 30;
    plan->flags_all = durable ? FEOX_DURABLE : 0;
    plan->flushes = true;
    plan->versions = kit_below(random, 2) == 0;
    plan->scans = true;
    fx_hot_plan_shapes(plan, random);
    fx_history_clear(history, keys, kit_below(random, 2) == 0);
    snprintf(history->title, sizeof history->title, "FEOX_SEED=%llu, kill %llu, %s",
             (unsigned long long)r->seed, (unsigned long long)number,
             durable ? "durable" : "relaxed");
    for (uint32_t i = 0; i < FX_HISTORY_THREADS; i++) {
        r->hots[i] = (fx_hot){.plan = plan, .thread = i, .random = kit_random(random)};
    }
}

static void killed_and_opened_again(void **state) {
    (void)state;
    static round r;
    campaign c;
    campaign_begin(&c, "C2 kills, histories that go on");
    uint64_t random = kit_seed("killed_and_opened_again");
    uint64_t kills = kit_env_number("FEOX_KILLS", getenv("FEOX_LONG") != NULL ? 300 : 40);
    uint64_t undecided = 0;
    uint64_t visited = 0;
    uint64_t pending = 0;
    uint64_t calls = 0;
    fx_wgl *wgl = fx_wgl_create();
    assert_non_null(wgl);
    r.seed = random;
    r.path = fx_temp_fresh("crashed");
    r.plan.history = fx_history_create();
    for (uint64_t number = 0; number < kills; number++) {
        prepare(&r, &random, number);
        run_and_kill(&r, kit_below(&random, KIT_SLOW ? 60000 : 15000));
        for (uint32_t i = 0; i < THREADS; i++) {
            calls += atomic_load(&r.plan.history->logs[i].count);
            pending += atomic_load(&r.plan.history->logs[i].count) -
                       atomic_load(&r.plan.history->logs[i].settled);
        }
        fx_history_crash(r.plan.history);
        r.plan.store = open_again(&r);
        assert_ok(kit_check(r.plan.store));
        fx_hot *self = &r.hots[MAIN_THREAD];
        fx_hot_read_all(self);
        for (int i = 0; i < AFTERWARDS; i++) {
            fx_hot_call(self);
        }
        fx_hot_read_all(self);
        assert_int_equal(self->unmodelled, 0);
        assert_ok(feox_close(r.plan.store));
        assert_true(fx_history_check(r.plan.history, wgl, &undecided, &visited));
        c.cases++;
        c.faults++;
    }
    printf("%llu calls, %llu of them under way, %llu states, %llu undecided\n",
           (unsigned long long)calls, (unsigned long long)pending, (unsigned long long)visited,
           (unsigned long long)undecided);
    c.failures = undecided;
    campaign_end(&c);
    assert_int_equal(undecided, 0);
    assert_true(pending > 0);
    fx_history_free(r.plan.history);
    fx_wgl_destroy(wgl);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_and_opened_again)};
    return cmocka_run_group_tests_name("model/linear_crash", tests, NULL, NULL);
}
