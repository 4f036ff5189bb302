/* SIGKILL while the disk is full: the store opens on the full disk all the same, holds everything
 * that was acknowledged as durable, is clean, and can be emptied.
 *
 * Four writers in a child fill a small file system of their own, then go on against the full disk:
 * each call that is refused is followed by a delete or another attempt. Each writes to keys of its
 * own, one durable operation after the other, and notes in shared memory how each ended: so the
 * parent knows the state of each to the last operation, which alone may be there or not. The next
 * child goes on from there, on the same file. FEOX_KILLS is the number of rounds for each file
 * system (default 10, with FEOX_LONG=1 50), FEOX_SEED the seed. Mounting needs root.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "support/campaign.h"
#include "support/kit.h"
#include "support/mount.h"
#include "support/victim.h"

enum { WRITERS = 4, KEYS = 400, VALUE_MAX = 150 << 10 };

#define MIB ((uint64_t)1 << 20)

/* What one writer's keys hold: the stamp of each value, 0 for none. `tried` is the operation under
 * way, which may have happened or not. */
typedef struct writer {
    uint64_t stamps[KEYS];
    struct {
        uint32_t key;
        uint64_t stamp;
        _Atomic uint32_t pending;
    } tried;
    uint64_t operations;
    _Atomic uint64_t refused; /* in this round */
} writer;

typedef struct crew {
    writer writers[WRITERS];
    uint64_t seed;
    uint64_t round;
} crew;

typedef struct hand {
    crew *c;
    feox_store *store;
    unsigned id;
    feox_status status;
} hand;

static size_t size_of(uint64_t stamp) {
    uint64_t random = kit_mix(stamp);
    uint64_t which = random >> 32;
    return 8 + random % (which % 10 < 5 ? 300 : which % 10 < 9 ? 20000 : VALUE_MAX - 8);
}

static size_t make_key(char key[32], unsigned id, uint32_t number) {
    return (size_t)snprintf(key, 32, "w%u-%u", id, (unsigned)number);
}

/* A durable write, or delete if the stamp is 0. */
static feox_status store_one(feox_store *store, unsigned id, uint32_t number, uint64_t stamp) {
    static _Thread_local unsigned char value[VALUE_MAX];
    char key[32];
    size_t key_len = make_key(key, id, number);
    feox_write how;
    feox_write_init(&how);
    how.flags = FEOX_DURABLE;
    if (stamp == 0) {
        return feox_delete_with(store, key, key_len, &how, NULL);
    }
    size_t size = size_of(stamp);
    kit_fill(value, size, stamp);
    return feox_insert_with(store, key, key_len, value, size, &how, NULL);
}

/* ---- The child ------------------------------------------------------------------------------ */

static void *write_on(void *argument) {
    hand *h = argument;
    writer *w = &h->c->writers[h->id];
    uint64_t random = kit_mix(h->c->seed ^ (h->c->round * WRITERS + h->id));
    while (h->status == FEOX_OK) {
        uint32_t key = (uint32_t)kit_below(&random, KEYS);
        bool deletes = atomic_load(&w->refused) > 0 && kit_below(&random, 4) == 0;
        if (deletes && w->stamps[key] == 0) {
            continue;
        }
        w->tried.key = key;
        w->tried.stamp = deletes ? 0 : kit_random(&random) | 1;
        atomic_store(&w->tried.pending, 1);
        feox_status status = store_one(h->store, h->id, key, w->tried.stamp);
        if (status == FEOX_OK) {
            w->stamps[key] = w->tried.stamp;
            w->operations++;
        } else if (status == FEOX_ERR_SPACE) {
            atomic_fetch_add(&w->refused, 1);
        } else {
            h->status = status < 0 ? status : FEOX_ERR_CORRUPT;
        }
        atomic_store(&w->tried.pending, 0);
    }
    return NULL;
}

static feox_status work(feox_store *store, void *context) {
    static hand hands[WRITERS];
    pthread_t threads[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        hands[i] = (hand){context, store, i, FEOX_OK};
        if (pthread_create(&threads[i], NULL, write_on, &hands[i]) != 0) {
            return FEOX_ERR_MEMORY;
        }
    }
    feox_status status = FEOX_OK;
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
        status = status == FEOX_OK ? hands[i].status : status;
    }
    return status;
}

/* ---- The parent ----------------------------------------------------------------------------- */

static bool holds(feox_store *store, unsigned id, uint32_t number, uint64_t stamp) {
    static unsigned char value[VALUE_MAX];
    char key[32];
    size_t size = 0;
    feox_status status =
        feox_get_into(store, key, make_key(key, id, number), value, sizeof value, &size);
    return stamp == 0 ? status == FEOX_NOT_FOUND
                      : status == FEOX_OK && size == size_of(stamp) &&
                            kit_filled(value, size, stamp);
}

static uint64_t verify(crew *c, feox_store *store) {
    uint64_t wrong = 0;
    uint64_t keys = 0;
    uint64_t count = 0;
    for (unsigned id = 0; id < WRITERS; id++) {
        writer *w = &c->writers[id];
        if (atomic_load(&w->tried.pending) != 0 &&
            holds(store, id, w->tried.key, w->tried.stamp)) {
            w->stamps[w->tried.key] = w->tried.stamp;
        }
        atomic_store(&w->tried.pending, 0);
        for (uint32_t key = 0; key < KEYS; key++) {
            keys += w->stamps[key] != 0;
            if (!holds(store, id, key, w->stamps[key])) {
                print_error("  round %llu, writer %u: key %u is not as it was acknowledged\n",
                            (unsigned long long)c->round, id, (unsigned)key);
                wrong++;
            }
        }
    }
    assert_ok(feox_count(store, &count));
    assert_int_equal(count, keys);
    assert_ok(kit_check(store));
    return wrong;
}

static bool all_refused(crew *c) {
    for (unsigned id = 0; id < WRITERS; id++) {
        if (atomic_load(&c->writers[id].refused) == 0) {
            return false;
        }
    }
    return true;
}

/* Waits until every writer has been told that the disk is full, then a little, and kills. */
static void kill_when_full(crew *c, const victim_job *job, uint64_t *random) {
    for (unsigned id = 0; id < WRITERS; id++) {
        atomic_store(&c->writers[id].refused, 0);
    }
    pid_t pid = victim_start(job);
    for (unsigned i = 0; i < 50000 && !all_refused(c) && victim_lives(pid); i++) {
        kit_sleep_ms(1);
    }
    kit_sleep_ms((unsigned)kit_below(random, 40));
    bool full = all_refused(c);
    victim_kill(pid);
    assert_true(full);
}

/* A file system that is full can be emptied, and then takes as much again. */
static void expect_usable(crew *c, feox_store *store, bool all) {
    for (unsigned id = 0; id < WRITERS; id++) {
        for (uint32_t key = 0; key < KEYS; key += all ? 1 : 5) {
            if (c->writers[id].stamps[key] != 0) {
                assert_ok(store_one(store, id, key, 0));
                c->writers[id].stamps[key] = 0;
            }
        }
    }
    assert_ok(feox_flush(store));
    if (all) {
        assert_ok(store_one(store, 0, 1, 77));
        c->writers[0].stamps[1] = 77;
    }
}

static void kill_on(const char *type, uint64_t size, const char *name) {
    const char *why_not;
    const fx_mount_how how = {.type = type, .size = size};
    fx_mount *mount = fx_mount_begin(&how, &why_not);
    if (mount == NULL) {
        print_message("skipped: no %s here: %s\n", type, why_not);
        skip();
    }
    fx_mount_fill(mount, "ballast", 14 * MIB);
    uint64_t rounds = kit_env_number("FEOX_KILLS", getenv("FEOX_LONG") != NULL ? 50 : 10);
    uint64_t random = kit_seed(name);
    campaign figures;
    campaign_begin(&figures, name);
    crew *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(c != MAP_FAILED);
    c->seed = random;
    victim_job job = {.path = fx_mount_file(mount, "store"), .work = work, .context = c};
    for (; c->round < rounds; c->round++) {
        kit_options_init(&job.options);
        if (job.options.io_backend == FEOX_IO_AUTO && c->round % 2 != 0) {
            job.options.io_backend = FEOX_IO_THREADS;
        }
        job.options.memory_limit = c->round % 3 == 2 ? 8 * MIB : 0;
        kill_when_full(c, &job, &random);
        figures.faults++;
        feox_store *store = victim_open(job.path, &job.options);
        figures.failures += verify(c, store) > 0;
        expect_usable(c, store, c->round % 5 == 4);
        assert_ok(feox_close(store));
        store = victim_open(job.path, &job.options);
        figures.failures += verify(c, store) > 0;
        assert_ok(feox_close(store));
        figures.cases++;
    }
    campaign_end(&figures);
    assert_int_equal(figures.failures, 0);
    assert_int_equal(munmap(c, sizeof *c), 0);
    fx_mount_end(mount);
}

static void test_tmpfs(void **state) {
    (void)state;
    kill_on("tmpfs", 16 * MIB, "C2 kills on a full disk, tmpfs");
}

static void test_ext4(void **state) {
    (void)state;
    kill_on("ext4", 32 * MIB, "C2 kills on a full disk, ext4");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tmpfs),
        cmocka_unit_test(test_ext4),
    };
    return cmocka_run_group_tests_name("fault/full_kill", tests, NULL, NULL);
}
