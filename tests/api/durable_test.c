/* Durable writes seen from outside: nobody sees one before it is safe, and whoever wants to change
 * its key waits or sees the old value.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, KEYS = 5, ROUNDS = 150 };

static void durable_kit(kit *k) {
    k->options.durability = FEOX_DURABILITY_DURABLE;
    kit_reopen(k);
}

typedef struct crowd {
    feox_store *store;
    atomic_llong added[KEYS];
    atomic_int wrong;
} crowd;

static void *add_and_read(void *argument) {
    crowd *c = argument;
    uint64_t random = kit_mix((uint64_t)(uintptr_t)&random);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t key = (uint32_t)kit_below(&random, KEYS);
        int64_t value = 0;
        if (feox_increment(c->store, &key, sizeof key, 1, &value) != FEOX_OK) {
            atomic_fetch_add(&c->wrong, 1);
        }
        long long before = atomic_fetch_add(&c->added[key], 1) + 1;
        int64_t seen = 0;
        feox_status status =
            feox_get_into(c->store, &key, sizeof key, &seen, sizeof seen, NULL);
        if (status != FEOX_OK || seen < before || seen < value) {
            atomic_fetch_add(&c->wrong, 1);
        }
    }
    return NULL;
}

static void durable_increments_sum(void **state) {
    kit *k = *state;
    durable_kit(k);
    crowd c = {.store = k->store};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_read, &c), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.wrong), 0);
    kit_reopen(k);
    for (uint32_t key = 0; key < KEYS; key++) {
        int64_t value = 0;
        assert_ok(feox_get_into(k->store, &key, sizeof key, &value, sizeof value, NULL));
        assert_int_equal(value, atomic_load(&c.added[key]));
    }
}

/* Every kind of write, over keys that are absent, on disk, or only in memory. */
static void every_call_in_a_durable_store(void **state) {
    kit *k = *state;
    durable_kit(k);
    feox_write write;
    feox_write_init(&write);
    assert_ok(kit_put(k, "a", "1"));
    assert_ok(kit_put(k, "a", "22"));
    kit_expect(k, "a", "22");
    assert_ok(feox_compare_and_swap(k->store, "a", 1, "22", 2, "333", 3));
    assert_status(feox_compare_and_swap(k->store, "a", 1, "22", 2, "4", 1), FEOX_MISMATCH);
    kit_expect(k, "a", "333");
    write.flags = FEOX_IF_ABSENT;
    assert_status(feox_insert_with(k->store, "a", 1, "x", 1, &write, NULL), FEOX_EXISTS);
    assert_ok(feox_expire(k->store, "a", 1, 100000));
    int64_t left = 0;
    assert_ok(feox_ttl(k->store, "a", 1, &left));
    assert_true(left > 0);
    assert_ok(feox_persist(k->store, "a", 1));
    assert_ok(kit_put(k, "j", "{\"n\":1}"));
    assert_ok(feox_json_merge(k->store, "j", 1, "{\"m\":2}", 7));
    kit_expect(k, "j", "{\"n\":1,\"m\":2}");
    assert_ok(kit_delete(k, "a"));
    assert_status(kit_delete(k, "a"), FEOX_NOT_FOUND);
    assert_ok(kit_put(k, "a", "again"));
    size_t size = 300000;
    unsigned char *large = kit_alloc(size);
    kit_fill(large, size, 7);
    assert_ok(feox_insert(k->store, "large", 5, large, size));
    assert_ok(feox_insert(k->store, "large", 5, large, size - 1));
    assert_int_equal(kit_count(k), 3);
    assert_int_equal(kit_scan_count(k), 3);
    kit_reopen(k);
    kit_expect(k, "a", "again");
    kit_expect(k, "j", "{\"n\":1,\"m\":2}");
    kit_expect_bytes(k, "large", 5, large, size - 1);
    free(large);
}

/* Many at once share flushes; the last pair of a key wins; clear takes everything along. */
static void many_at_once(void **state) {
    kit *k = *state;
    durable_kit(k);
    enum { MANY = 1000, DISTINCT = 400 };
    uint32_t *keys = kit_alloc(MANY * 2 * sizeof *keys);
    feox_pair *pairs = kit_alloc(MANY * sizeof *pairs);
    feox_status *statuses = kit_alloc(MANY * sizeof *statuses);
    for (uint32_t i = 0; i < MANY; i++) {
        keys[2 * i] = i % DISTINCT;
        keys[2 * i + 1] = i;
        pairs[i] = (feox_pair){{&keys[2 * i], i == 500 ? 0 : 4}, {&keys[2 * i + 1], 4}};
    }
    assert_status(feox_insert_many(k->store, pairs, MANY, statuses), FEOX_ERR_ARGUMENT);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_status(statuses[i], i == 500 ? FEOX_ERR_ARGUMENT : FEOX_OK);
    }
    kit_reopen(k);
    assert_int_equal(kit_count(k), DISTINCT);
    for (uint32_t i = 0; i < DISTINCT; i++) {
        uint32_t value = 0;
        assert_ok(feox_get_into(k->store, &i, 4, &value, 4, NULL));
        assert_int_equal(value, i < 200 ? 800 + i : 400 + i);
    }
    assert_ok(feox_clear(k->store));
    assert_int_equal(kit_count(k), 0);
    kit_reopen(k);
    assert_int_equal(kit_count(k), 0);
    free(keys);
    free(pairs);
    free(statuses);
}

/* One durable write among relaxed ones of the same key, in every order. */
static void durable_and_relaxed_take_turns(void **state) {
    kit *k = *state;
    feox_write write;
    feox_write_init(&write);
    uint64_t last = 0;
    for (int i = 0; i < 200; i++) {
        feox_written written;
        write.flags = i % 3 == 0 ? FEOX_DURABLE : 0;
        if (i % 7 == 6) {
            assert_ok(feox_delete_with(k->store, "key", 3, &write, &written));
            assert_status(kit_contains(k, "key"), FEOX_NOT_FOUND);
        } else {
            assert_ok(feox_insert_with(k->store, "key", 3, &i, sizeof i, &write, &written));
            int seen = -1;
            assert_ok(feox_get_into(k->store, "key", 3, &seen, sizeof seen, NULL));
            assert_int_equal(seen, i);
        }
        assert_true(written.version > last);
        last = written.version;
    }
}

/* A durable delete keeps to stamps like any other, and has the caller's. */
static void durable_deletes_have_stamps(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE;
    write.timestamp = 1000;
    assert_ok(feox_insert_with(k->store, "key", 3, "v", 1, &write, NULL));
    assert_status(feox_delete_with(k->store, "key", 3, &write, &written), FEOX_STALE);
    assert_ok(kit_contains(k, "key"));
    write.timestamp = 1001;
    assert_ok(feox_delete_with(k->store, "key", 3, &write, &written));
    assert_int_equal(written.timestamp, 1001);
    assert_status(kit_contains(k, "key"), FEOX_NOT_FOUND);
}

/* ---- Killed: what anyone has read is there afterwards ---- */

typedef struct report {
    uint32_t key;
    uint32_t acknowledged; /* 1: an increment returned it; 0: a read saw it */
    int64_t value;
} report;

typedef struct victim {
    feox_store *store;
    int pipe;
    bool reads;
} victim;

static void *report_forever(void *argument) {
    const victim *v = argument;
    uint64_t random = kit_mix((uint64_t)(uintptr_t)&random);
    for (;;) {
        report r = {.key = (uint32_t)kit_below(&random, KEYS), .acknowledged = !v->reads};
        feox_status status =
            v->reads ? feox_get_into(v->store, &r.key, sizeof r.key, &r.value, 8, NULL)
                     : feox_increment(v->store, &r.key, sizeof r.key, 1, &r.value);
        if (status == FEOX_OK && write(v->pipe, &r, sizeof r) != sizeof r) {
            _exit(1);
        }
        if (status < 0) {
            _exit(2);
        }
    }
}

static void run_victim(const char *path, int pipe_in) {
    feox_options options;
    feox_options_init(&options);
    options.durability = FEOX_DURABILITY_DURABLE;
    victim writer = {.pipe = pipe_in};
    if (feox_open(path, &options, &writer.store) != FEOX_OK) {
        _exit(3);
    }
    victim reader = writer;
    reader.reads = true;
    pthread_t thread;
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&thread, NULL, report_forever, i < 4 ? &writer : &reader) != 0) {
            _exit(4);
        }
    }
    for (;;) {
        pause();
    }
}

static void what_was_seen_is_there(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("seen");
    uint64_t kills = kit_env_number("FEOX_KILLS", 10);
    uint64_t random = kit_seed("what_was_seen_is_there");
    int64_t seen[KEYS] = {0};
    for (uint64_t n = 0; n < kills; n++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(ends[0]);
            run_victim(path, ends[1]);
        }
        (void)close(ends[1]);
        uint64_t until = kit_now_ms() + 20 + kit_below(&random, 60);
        report r;
        bool killed = false;
        while (read(ends[0], &r, sizeof r) == sizeof r) {
            seen[r.key] = r.value > seen[r.key] ? r.value : seen[r.key];
            if (!killed && kit_now_ms() >= until) {
                killed = kill(child, SIGKILL) == 0;
            }
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        (void)close(ends[0]);
        feox_store *store = NULL;
        assert_ok(feox_open(path, NULL, &store));
        for (uint32_t key = 0; key < KEYS; key++) {
            int64_t value = 0;
            feox_status found = feox_get_into(store, &key, sizeof key, &value, 8, NULL);
            assert_true(found == FEOX_OK || (found == FEOX_NOT_FOUND && seen[key] == 0));
            assert_true(value >= seen[key]);
            assert_true(value <= seen[key] + 4); /* one attempt of each writer at most */
            seen[key] = value;
        }
        assert_ok(feox_check(store, NULL, NULL, NULL));
        assert_ok(feox_close(store));
    }
    printf("%llu kills\n", (unsigned long long)kills);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(durable_increments_sum),
        KIT_TEST(every_call_in_a_durable_store),
        KIT_TEST(many_at_once),
        KIT_TEST(durable_and_relaxed_take_turns),
        KIT_TEST(durable_deletes_have_stamps),
        cmocka_unit_test(what_was_seen_is_there),
    };
    return cmocka_run_group_tests_name("api/durable", tests, NULL, NULL);
}
