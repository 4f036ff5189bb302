/* Space that takes care of itself: feox_compact makes a file as short as what lives in it, beside
 * readers and writers, and a file that has been too long for some time shortens itself. Sizes are
 * those of the contract. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

enum { SMALL = 100 };

/* The value of a key is derived from it and a generation, which stands at its beginning. */
static void fill(uint8_t *value, size_t size, uint64_t key, uint64_t generation) {
    uint64_t word = kit_mix(key * 2654435761u + generation);
    for (size_t i = 0; i < size; i++) {
        value[i] = (uint8_t)(word >> (i % 8 * 8)) ^ (uint8_t)(i >> 3);
    }
    memcpy(value, &generation, sizeof generation);
}

static uint64_t file_size_now(kit *k) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    return stats.file_size;
}

static void put(kit *k, uint64_t key, size_t size) {
    uint8_t *value = malloc(size);
    assert_non_null(value);
    fill(value, size, key, 1);
    assert_ok(feox_insert(k->store, &key, sizeof key, value, size));
    free(value);
}

static void expect(kit *k, uint64_t key, size_t size) {
    uint8_t *wanted = malloc(size);
    void *value = NULL;
    size_t got = 0;
    assert_non_null(wanted);
    fill(wanted, size, key, 1);
    assert_ok(feox_get(k->store, &key, sizeof key, &value, &got));
    assert_int_equal(got, size);
    assert_memory_equal(value, wanted, size);
    feox_free(value);
    free(wanted);
}

/* Of many small records nine in ten go. */
static void most_are_deleted(void **state) {
    kit *k = *state;
    uint64_t count = KIT_SLOW ? 100000 : 1000000;
    for (uint64_t key = 0; key < count; key++) {
        put(k, key, SMALL);
    }
    assert_ok(feox_flush(k->store));
    for (uint64_t key = 0; key < count; key++) {
        if (key % 10 != 3) {
            assert_ok(feox_delete(k->store, &key, sizeof key));
        }
    }
    assert_ok(feox_flush(k->store));
    uint64_t before = file_size_now(k);
    assert_ok(feox_compact(k->store));
    uint64_t live = count / 10 * (SMALL + sizeof count);
    uint64_t after = file_size_now(k);
    print_message("%llu keys of %llu: %llu bytes before, %llu after, %llu live\n",
                  (unsigned long long)count / 10, (unsigned long long)count,
                  (unsigned long long)before, (unsigned long long)after, (unsigned long long)live);
    assert_int_equal(after, fx_file_size(k->path));
    assert_true(after <= live + live / 2 + 6 * MIB);
    assert_ok(feox_check(k->store, NULL, NULL, NULL));
    do {
        for (uint64_t key = 3; key < count; key += 10) {
            expect(k, key, SMALL);
        }
        uint64_t now = 0;
        assert_ok(feox_count(k->store, &now));
        assert_int_equal(now, count / 10);
    } while (kit_again(k));
    assert_true(file_size_now(k) <= live + live / 2 + 6 * MIB);
    assert_ok(feox_clear(k->store));
    assert_ok(feox_flush(k->store));
    assert_ok(feox_compact(k->store));
    print_message("%llu bytes after deleting all\n", (unsigned long long)file_size_now(k));
    assert_true(file_size_now(k) < 5 * MIB + MIB / 2);
}

static size_t mixed_size(uint64_t key) {
    static const size_t sizes[] = {100, 1000, 20000, 70000, 300000, 1 << 20, 66000, 3 << 20};
    return sizes[key % 8] + key;
}

/* Values of all sizes, in an order that leaves holes of all sizes. */
static void mixed_sizes(void **state) {
    kit *k = *state;
    uint64_t random = kit_seed("mixed_sizes");
    enum { KEYS = 160 };
    bool there[KEYS];
    uint64_t live = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        put(k, key, mixed_size(key));
        if (key % 7 == 0) {
            assert_ok(feox_flush(k->store));
        }
    }
    for (uint64_t key = 0; key < KEYS; key++) {
        there[key] = kit_below(&random, 4) == 0;
        if (!there[key]) {
            assert_ok(feox_delete(k->store, &key, sizeof key));
        } else {
            live += mixed_size(key) + 100;
        }
        if (key % 16 == 0) {
            assert_ok(feox_flush(k->store));
        }
    }
    assert_ok(feox_compact(k->store));
    print_message("%llu bytes live, %llu in the file\n", (unsigned long long)live,
                  (unsigned long long)file_size_now(k));
    /* Holes that are too short for the last large value may stay, and 3 MiB is the longest here:
     * with seed 772769282903034 there are eight of 1.4 MiB each between values of 3 MiB. */
    assert_true(file_size_now(k) <= live + live / 8 + (6 + 2 * 3) * MIB);
    assert_ok(feox_check(k->store, NULL, NULL, NULL));
    do {
        for (uint64_t key = 0; key < KEYS; key++) {
            if (there[key]) {
                expect(k, key, mixed_size(key));
            } else {
                assert_status(feox_contains(k->store, &key, sizeof key), FEOX_NOT_FOUND);
            }
        }
    } while (kit_again(k));
}

/* A file that has as much room as its live data, and a little. */
static void little_room(void **state) {
    kit *k = *state;
    k->options.file_size_limit = 32 * MIB;
    kit_restart(k);
    uint64_t count = 0;
    for (;; count++) {
        uint8_t value[4000];
        fill(value, sizeof value, count, 1);
        feox_status status = feox_insert(k->store, &count, sizeof count, value, sizeof value);
        if (status == FEOX_ERR_SPACE) {
            break;
        }
        assert_ok(status);
    }
    for (uint64_t key = 0; key < count; key += 2) {
        assert_ok(feox_delete(k->store, &key, sizeof key));
    }
    assert_ok(feox_flush(k->store));
    assert_ok(feox_compact(k->store));
    uint64_t live = count / 2 * 4008;
    print_message("%llu values of %llu in %llu bytes\n", (unsigned long long)count / 2,
                  (unsigned long long)count, (unsigned long long)file_size_now(k));
    assert_true(file_size_now(k) <= live + live / 8 + 6 * MIB);
    for (uint64_t key = 1; key < count; key += 2) {
        expect(k, key, 4000);
    }
}

static void nothing_to_do(void **state) {
    kit *k = *state;
    assert_ok(feox_compact(k->store));
    uint64_t size = file_size_now(k);
    assert_ok(feox_compact(k->store));
    assert_int_equal(file_size_now(k), size);
    put(k, 1, 100);
    assert_ok(feox_compact(k->store));
    expect(k, 1, 100);
    assert_status(feox_compact(NULL), FEOX_ERR_ARGUMENT);
}

static void not_when_read_only(void **state) {
    kit *k = *state;
    put(k, 1, 100);
    k->options.read_only = FEOX_YES;
    assert_true(kit_reopen(k));
    assert_status(feox_compact(k->store), FEOX_ERR_READ_ONLY);
    expect(k, 1, 100);
}

/* ---- Beside others ---- */

enum { THREADS = 3, THREAD_KEYS = 400 };

typedef struct world {
    feox_store *store;
    atomic_bool stop;
    atomic_int next;
    atomic_int wrong; /* a line */
    atomic_ullong rounds;
} world;

static size_t churn_size(uint64_t key) {
    return key % 50 == 0 ? 90000 : key % 10 == 0 ? 9000 : 200;
}

/* Each thread has its own keys, and knows what they hold. */
static void *churn(void *argument) {
    world *w = argument;
    uint64_t me = (uint64_t)atomic_fetch_add(&w->next, 1);
    uint64_t generation[THREAD_KEYS] = {0};
    uint8_t *value = malloc(90000);
    uint8_t *wanted = malloc(90000);
    uint64_t random = kit_mix(me + 77);
    while (!atomic_load(&w->stop) && value != NULL && wanted != NULL) {
        uint64_t number = kit_below(&random, THREAD_KEYS);
        uint64_t key = me * 1000 + number;
        size_t size = churn_size(key);
        size_t got = 0;
        feox_status status = feox_get_into(w->store, &key, sizeof key, value, 90000, &got);
        if (generation[number] == 0) {
            atomic_store(&w->wrong, status == FEOX_NOT_FOUND ? atomic_load(&w->wrong) : __LINE__);
        } else {
            fill(wanted, size, key, generation[number]);
            if (status != FEOX_OK || got != size || memcmp(value, wanted, size) != 0) {
                atomic_store(&w->wrong, __LINE__);
            }
        }
        if (generation[number] != 0 && kit_below(&random, 3) == 0) {
            status = feox_delete(w->store, &key, sizeof key);
            generation[number] = 0;
        } else {
            generation[number] = atomic_fetch_add(&w->rounds, 1) + 1;
            fill(value, size, key, generation[number]);
            status = feox_insert(w->store, &key, sizeof key, value, size);
        }
        if (status != FEOX_OK) {
            atomic_store(&w->wrong, __LINE__);
        }
    }
    free(value);
    free(wanted);
    return NULL;
}

static void beside_readers_and_writers(void **state) {
    kit *k = *state;
    k->options.memory_limit = 4 * MIB; /* reads go to the disk, under what moves */
    kit_restart(k);
    world w = {.store = k->store};
    pthread_t threads[THREADS];
    for (uint64_t key = 100000; key < 106000; key++) {
        put(k, key, 500 + key % 3000);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &w), 0);
    }
    uint64_t deadline = kit_now_ms() + 1500;
    unsigned rounds = 0;
    for (uint64_t key = 100000; rounds < 3 || kit_now_ms() < deadline; rounds++) {
        for (unsigned i = 0; i < 400 && key < 105000; i++, key++) {
            assert_ok(feox_delete(k->store, &key, sizeof key));
        }
        assert_ok(feox_compact(k->store));
    }
    atomic_store(&w.stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    print_message("%u compactions, %llu writes beside them\n", rounds,
                  (unsigned long long)atomic_load(&w.rounds));
    assert_int_equal(atomic_load(&w.wrong), 0);
    assert_ok(feox_check(k->store, NULL, NULL, NULL));
    for (uint64_t key = 105000; key < 106000; key++) {
        expect(k, key, 500 + key % 3000);
    }
}

/* Nobody asks: the file gets shorter by itself, some seconds after it could. */
static void shortens_itself(void **state) {
    kit *k = *state;
    enum { KEYS = KIT_SLOW ? 15000 : 60000, SIZE = KIT_SLOW ? 4000 : 1000 };
    for (uint64_t key = 0; key < KEYS; key++) {
        put(k, key, SIZE);
    }
    assert_ok(feox_flush(k->store));
    uint64_t before = file_size_now(k);
    for (uint64_t key = 0; key < KEYS; key++) {
        if (key % 10 != 3) {
            assert_ok(feox_delete(k->store, &key, sizeof key));
        }
    }
    assert_ok(feox_flush(k->store));
    uint64_t live = KEYS / 10 * (SIZE + 8);
    uint64_t now = before;
    for (unsigned i = 0; i < 600 && now > 2 * live + 16 * MIB; i++) {
        usleep(50000);
        now = file_size_now(k);
    }
    print_message("%llu bytes before, %llu by itself, %llu live\n", (unsigned long long)before,
                  (unsigned long long)now, (unsigned long long)live);
    assert_true(now <= 2 * live + 16 * MIB);
    assert_ok(feox_check(k->store, NULL, NULL, NULL));
    for (uint64_t key = 3; key < KEYS; key += 10) {
        expect(k, key, SIZE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_FILE(most_are_deleted),   KIT_FILE(mixed_sizes),
        KIT_FILE(little_room),        KIT_TEST(nothing_to_do),
        KIT_FILE(not_when_read_only), KIT_FILE(beside_readers_and_writers),
        KIT_FILE(shortens_itself),
    };
    return cmocka_run_group_tests_name("api/compact", tests, NULL, NULL);
}
