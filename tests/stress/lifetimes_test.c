/* Things that come and go, or stay for too long: threads, processes, stores, views, cursors, and a
 * reader that loses the processor in the middle of a call.
 *
 * FEOX_LONG=1: 10,000 threads instead of 1,000, 1,000 forks instead of 50, 200 stores a round for
 * ten rounds, and the stalled reader stalls for 30 seconds.
 */
#define _GNU_SOURCE
#include "support/campaign.h"
#include "support/kit.h"
#include "support/nudge.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_long(void) {
    return getenv("FEOX_LONG") != NULL;
}

static uint64_t memory_used(feox_store *store) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(store, &stats));
    return stats.memory_used;
}

/* ---- Threads ---- */

typedef struct visit {
    feox_store *store;
    uint64_t number;
    feox_status status;
} visit;

/* One of each kind of call, then the thread ends without a word. */
static void *short_life(void *argument) {
    visit *v = argument;
    char key[16];
    unsigned char value[3000];
    feox_view view = {0};
    feox_cursor *cursor = NULL;
    feox_slice found;
    size_t key_len = (size_t)snprintf(key, sizeof key, "k%u", (unsigned)(v->number % 50));
    memset(value, 'v', sizeof value);
    feox_status status = feox_insert(v->store, key, key_len, value, sizeof value);
    if (status == FEOX_OK) {
        status = feox_get_view(v->store, key, key_len, &view);
    }
    if (status == FEOX_OK && v->number % 7 == 0) {
        status = feox_increment(v->store, "total", 5, 1, NULL);
    }
    if (status == FEOX_OK && v->number % 11 == 0) {
        status = feox_cursor_open(v->store, NULL, &cursor);
        status = status == FEOX_OK ? feox_cursor_next(cursor, &found, NULL) : status;
        feox_cursor_close(cursor);
    }
    feox_view_release(&view);
    v->status = status;
    return NULL;
}

static void thousands_of_short_threads(void **state) {
    enum { AT_ONCE = 16 };
    kit *k = *state;
    uint64_t threads = !is_long() && KIT_SLOW ? 300 : 10000;
    uint64_t settled = 0;
    campaign c;
    campaign_begin(&c, k->file ? "C13 threads, file" : "C13 threads, memory");
    for (uint64_t number = 0; number < threads; number += AT_ONCE) {
        pthread_t all[AT_ONCE];
        visit visits[AT_ONCE];
        for (uint64_t i = 0; i < AT_ONCE; i++) {
            visits[i] = (visit){k->store, number + i, FEOX_OK};
            assert_int_equal(pthread_create(&all[i], NULL, short_life, &visits[i]), 0);
        }
        for (uint64_t i = 0; i < AT_ONCE; i++) {
            pthread_join(all[i], NULL);
            assert_ok(visits[i].status);
            c.cases++;
        }
        if (number == threads / 4 / AT_ONCE * AT_ONCE) {
            settled = memory_used(k->store);
        }
    }
    /* Nothing is kept for a thread that is gone. */
    uint64_t now = memory_used(k->store);
    printf("%llu threads: %llu bytes, %llu after a quarter of them\n", (unsigned long long)threads,
           (unsigned long long)now, (unsigned long long)settled);
    /* Values that wait for readers to go, and write buffers, are as much as they happen to be, some
     * MiB; half a KiB for each of 7,500 threads would be more. */
    assert_true(now <= settled + (4u << 20));
    kit_expect_bytes(k, "total", 5, &(uint64_t){((threads + 15) / 16 * 16 + 6) / 7}, 8);
    campaign_end(&c);
}

/* ---- Processes ---- */

typedef struct load {
    feox_store *store;
    atomic_bool stop;
    atomic_ullong done;
    _Atomic int status;
} load;

static void *write_on(void *argument) {
    load *l = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random;
    unsigned char value[4000] = {0};
    while (!atomic_load(&l->stop)) {
        uint64_t key = kit_below(&random, 100);
        feox_status status =
            feox_insert(l->store, &key, sizeof key, value, kit_below(&random, sizeof value));
        if (status != FEOX_OK) {
            atomic_store(&l->status, (int)status);
        }
        atomic_fetch_add(&l->done, 1);
    }
    return NULL;
}

static void forks_under_load(void **state) {
    kit *k = *state;
    if (KIT_TSAN) {
        return; /* a child of many threads is beyond ThreadSanitizer */
    }
    load l = {.store = k->store};
    pthread_t writers[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&writers[i], NULL, write_on, &l), 0);
    }
    int forks = is_long() ? 1000 : KIT_SLOW ? 10 : 400;
    campaign c;
    campaign_begin(&c, k->file ? "C13 forks, file" : "C13 forks, memory");
    for (int i = 0; i < forks; i++) {
        fflush(stdout);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            char byte = 0;
            alarm(30);
            bool refused = feox_insert(k->store, "x", 1, "y", 1) == FEOX_ERR_FORKED &&
                           feox_get_into(k->store, "x", 1, &byte, 1, NULL) == FEOX_ERR_FORKED &&
                           feox_flush(k->store) == FEOX_ERR_FORKED &&
                           (i % 2 == 0 || feox_close(k->store) == FEOX_ERR_FORKED);
            _exit(refused ? 0 : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        c.cases++;
    }
    atomic_store(&l.stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(writers[i], NULL);
    }
    assert_int_equal(atomic_load(&l.status), FEOX_OK);
    printf("beside %llu writes\n", atomic_load(&l.done));
    campaign_end(&c);
}

/* ---- Stores ---- */

static void two_hundred_stores_at_once(void **state) {
    enum { STORES = 200 };
    (void)state;
    static feox_store *stores[STORES];
    uint64_t rounds = is_long() ? 10 : 1;
    uint64_t count = KIT_SLOW ? 40 : STORES;
    campaign c;
    campaign_begin(&c, "C13 stores at once");
    for (uint64_t round = 0; round < rounds; round++) {
        const char *paths[STORES];
        for (uint64_t i = 0; i < count; i++) {
            feox_options options;
            kit_options_init(&options);
            options.io_backend = i % 3 == 0 ? FEOX_IO_THREADS : FEOX_IO_AUTO;
            paths[i] = i % 2 == 0 ? fx_temp_fresh("many") : NULL;
            assert_ok(feox_open(paths[i], &options, &stores[i]));
            assert_ok(feox_insert(stores[i], "number", 6, &i, sizeof i));
        }
        for (uint64_t i = 0; i < count; i++) {
            uint64_t number = 0;
            assert_ok(feox_get_into(stores[i], "number", 6, &number, sizeof number, NULL));
            assert_int_equal(number, i);
            assert_ok(feox_close(stores[i]));
            if (paths[i] != NULL) {
                assert_ok(feox_open(paths[i], NULL, &stores[i]));
                assert_ok(feox_get_into(stores[i], "number", 6, &number, sizeof number, NULL));
                assert_int_equal(number, i);
                assert_ok(feox_close(stores[i]));
                fx_file_remove(paths[i]);
            }
            c.cases++;
        }
    }
    campaign_end(&c);
}

/* ---- What stays for too long ---- */

static void churn(feox_store *store, uint64_t rounds) {
    unsigned char value[9000] = {0};
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t key = i % 100;
        assert_ok(feox_insert(store, &key, sizeof key, value, 20 + i * 37 % (sizeof value - 20)));
        if (i % 3 == 0) {
            assert_int_equal(feox_delete(store, &key, sizeof key), FEOX_OK);
        }
    }
}

/* A view held and a cursor left open keep their own bytes, and nothing of what is written after. */
static void views_and_cursors_left_open(void **state) {
    enum { VIEWS = 20 };
    kit *k = *state;
    static const size_t sizes[] = {10, 2000, 9000, 100000};
    feox_view views[VIEWS];
    feox_cursor *cursor = NULL;
    feox_slice key;
    unsigned char *value = kit_alloc(100000);
    for (uint64_t i = 0; i < VIEWS; i++) {
        char name[16];
        size_t name_len = (size_t)snprintf(name, sizeof name, "view%u", (unsigned)i);
        kit_fill(value, sizes[i % 4], i);
        assert_ok(feox_insert(k->store, name, name_len, value, sizes[i % 4]));
        assert_ok(feox_get_view(k->store, name, name_len, &views[i]));
    }
    assert_ok(feox_cursor_open(k->store, NULL, &cursor));
    assert_ok(feox_cursor_next(cursor, &key, NULL));
    for (uint64_t i = 0; i < VIEWS; i++) {
        char name[16];
        size_t name_len = (size_t)snprintf(name, sizeof name, "view%u", (unsigned)i);
        assert_ok(i % 2 == 0 ? feox_delete(k->store, name, name_len)
                             : feox_insert(k->store, name, name_len, "other", 5));
    }
    uint64_t rounds = is_long() ? 300000 : KIT_SLOW ? 4000 : 20000;
    churn(k->store, rounds / 4);
    uint64_t settled = memory_used(k->store);
    churn(k->store, rounds);
    /* A file store's buffers, and what waits for its readers, come and go: some ten megabytes. */
    uint64_t now = memory_used(k->store);
    for (int tries = 0; tries < 1000 && now > settled + (4 << 20); tries++) {
        kit_sleep_ms(10);
        churn(k->store, 100);
        now = memory_used(k->store);
    }
    printf("%llu bytes, %llu before\n", (unsigned long long)now, (unsigned long long)settled);
    assert_true(now <= settled + (4 << 20));
    for (uint64_t i = 0; i < VIEWS; i++) {
        assert_int_equal(views[i].size, sizes[i % 4]);
        assert_true(kit_filled(views[i].data, views[i].size, i));
    }
    feox_status status;
    while ((status = feox_cursor_next(cursor, &key, NULL)) == FEOX_OK) {
        continue;
    }
    assert_status(status, FEOX_END);
    feox_cursor_close(cursor);
    for (uint64_t i = 0; i < VIEWS; i++) {
        feox_view_release(&views[VIEWS - 1 - i]); /* the last thing before close */
    }
    free(value);
}

typedef struct stall {
    feox_store *store;
    uint64_t hold_at, steps;
    atomic_bool stalled, go_on;
    atomic_bool possible;
    feox_status status;
} stall;

static bool stop_here(void *context) {
    stall *s = context;
    if (++s->steps < s->hold_at) {
        return false;
    }
    atomic_store(&s->stalled, true);
    while (!atomic_load(&s->go_on)) {
        kit_sleep_ms(1);
    }
    return true;
}

static void *read_and_stall(void *argument) {
    stall *s = argument;
    unsigned char value[9000];
    atomic_store(&s->possible, fx_nudge_visit(stop_here, s));
    s->status = feox_get_into(s->store, "stalled", 7, value, sizeof value, NULL);
    fx_nudge_step_end();
    atomic_store(&s->stalled, true); /* it may have been over before */
    return NULL;
}

/* Writers run into the limit rather than past it, and on when the reader is gone. */
static void stall_once(kit *k, uint64_t hold_at, uint64_t stall_ms, campaign *c,
                       uint64_t *refused) {
    stall s = {.store = k->store, .hold_at = hold_at};
    pthread_t reader;
    unsigned char value[9000] = {0};
    assert_ok(feox_insert(k->store, "stalled", 7, value, sizeof value));
    assert_int_equal(pthread_create(&reader, NULL, read_and_stall, &s), 0);
    while (!atomic_load(&s.stalled)) {
        sched_yield();
    }
    uint64_t until = kit_now_ms() + stall_ms;
    uint64_t most = 0;
    feox_status status = FEOX_OK;
    for (uint64_t i = 0; i < 1900 || kit_now_ms() < until; i++) {
        uint64_t key = i % 50;
        status = feox_insert(k->store, &key, sizeof key, value, i % 1000 < 500 ? 5000 : 8900);
        if (status != FEOX_OK) {
            assert_status(status, FEOX_ERR_MEMORY);
            ++*refused;
            if (kit_now_ms() >= until) {
                break;
            }
        }
        if (i % 16 == 0) {
            uint64_t used = memory_used(k->store);
            most = used > most ? used : most;
        }
    }
    if (most > k->options.memory_limit) {
        print_error("held at %llu: %llu bytes used\n", (unsigned long long)hold_at,
                    (unsigned long long)most);
    }
    assert_true(most <= k->options.memory_limit + (32 << 10)); /* one value more */
    atomic_store(&s.go_on, true);
    pthread_join(reader, NULL);
    assert_ok(s.status);
    assert_ok(feox_insert(k->store, "after", 5, value, sizeof value));
    c->cases++;
    c->faults += s.steps >= hold_at;
}

static void a_reader_that_stalls(void **state) {
    kit *k = *state;
    uint64_t refused = 0;
    campaign c;
    campaign_begin(&c, k->file ? "C13 stalled readers, file" : "C13 stalled readers, memory");
    k->options.memory_limit = 8 << 20;
    kit_restart(k);
    /* Hashing, table, copy of the pin, the value: some of these hold the epoch. */
    for (uint64_t at = 150; at < 900; at += is_long() ? 50 : 150) {
        stall_once(k, at, 0, &c, &refused);
    }
    stall_once(k, 500, is_long() ? 30000 : 1, &c, &refused);
    printf("%llu writes refused\n", (unsigned long long)refused);
    campaign_end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(thousands_of_short_threads),
        KIT_TEST(forks_under_load),
        cmocka_unit_test(two_hundred_stores_at_once),
        KIT_TEST(views_and_cursors_left_open),
        KIT_TEST(a_reader_that_stalls),
    };
    return cmocka_run_group_tests_name("stress/lifetimes", tests, NULL, NULL);
}
