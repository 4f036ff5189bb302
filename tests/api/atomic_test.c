/* Compare-and-swap and counters. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

static feox_status cas(kit *k, const char *key, const char *expected, const char *desired) {
    return feox_compare_and_swap(k->store, key, strlen(key), expected, strlen(expected), desired,
                                 strlen(desired));
}

static void encode(unsigned char bytes[8], int64_t value) {
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)((uint64_t)value >> (8 * i));
    }
}

static void expect_counter(kit *k, const char *key, int64_t value) {
    unsigned char bytes[8];
    encode(bytes, value);
    kit_expect_bytes(k, key, strlen(key), bytes, 8);
}

static void cas_ok(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "one"));
    uint64_t version = kit_info(k, "key").version;
    assert_ok(cas(k, "key", "one", "two"));
    assert_true(kit_info(k, "key").version > version);
    do {
        kit_expect(k, "key", "two");
        assert_int_equal(kit_count(k), 1);
    } while (kit_again(k));
}

static void cas_mismatch_changes_nothing(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "one"));
    feox_key_info before = kit_info(k, "key");
    assert_status(cas(k, "key", "onE", "two"), FEOX_MISMATCH);
    assert_status(cas(k, "key", "on", "two"), FEOX_MISMATCH);
    assert_status(cas(k, "key", "onee", "two"), FEOX_MISMATCH);
    assert_status(cas(k, "key", "", "two"), FEOX_MISMATCH);
    do {
        kit_expect(k, "key", "one");
        feox_key_info after = kit_info(k, "key");
        assert_int_equal(before.version, after.version);
        assert_int_equal(before.timestamp, after.timestamp);
    } while (kit_again(k));
}

/* Nothing of no length is a value; nothing of a length is no argument. */
static void cas_without_bytes(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "one"));
    assert_status(feox_compare_and_swap(k->store, "key", 3, NULL, 3, "two", 3), FEOX_ERR_ARGUMENT);
    assert_status(feox_compare_and_swap(k->store, "key", 3, "one", 3, NULL, 3), FEOX_ERR_ARGUMENT);
    kit_expect(k, "key", "one");
    assert_ok(feox_compare_and_swap(k->store, "key", 3, "one", 3, NULL, 0));
    kit_expect(k, "key", "");
    assert_ok(feox_compare_and_swap(k->store, "key", 3, NULL, 0, "two", 3));
    kit_expect(k, "key", "two");
}

static void cas_missing(void **state) {
    kit *k = *state;
    assert_status(cas(k, "key", "one", "two"), FEOX_NOT_FOUND);
    assert_status(cas(k, "key", "", "two"), FEOX_NOT_FOUND);
    assert_int_equal(kit_count(k), 0);
    assert_ok(kit_put(k, "key", "one"));
    assert_ok(kit_delete(k, "key"));
    do {
        assert_status(cas(k, "key", "one", "two"), FEOX_NOT_FOUND);
    } while (kit_again(k));
}

static void cas_of_every_size(void **state) {
    kit *k = *state;
    static const size_t sizes[] = {0, 1, 8, 100, 4096, 65536, 1048576};
    size_t count = sizeof sizes / sizeof *sizes;
    unsigned char *one = kit_alloc(1048576);
    unsigned char *two = kit_alloc(1048576);
    for (size_t i = 0; i < count; i++) {
        size_t other = sizes[count - 1 - i];
        kit_fill(one, sizes[i], i);
        kit_fill(two, other, 100 + i);
        assert_ok(feox_insert(k->store, &i, sizeof i, one, sizes[i]));
        if (sizes[i] > 0) { /* differs in its last byte only */
            one[sizes[i] - 1] ^= 1;
            assert_status(feox_compare_and_swap(k->store, &i, sizeof i, one, sizes[i], two, other),
                          FEOX_MISMATCH);
            one[sizes[i] - 1] ^= 1;
        }
        assert_ok(feox_compare_and_swap(k->store, &i, sizeof i, one, sizes[i], two, other));
    }
    do {
        for (size_t i = 0; i < count; i++) {
            kit_fill(two, sizes[count - 1 - i], 100 + i);
            kit_expect_bytes(k, &i, sizeof i, two, sizes[count - 1 - i]);
        }
    } while (kit_again(k));
    free(one);
    free(two);
}

/* Values that are read back from the file compare like those in memory. */
static void cas_after_reopen(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "one"));
    kit_reopen(k);
    assert_ok(cas(k, "key", "one", "two"));
    kit_reopen(k);
    assert_status(cas(k, "key", "one", "three"), FEOX_MISMATCH);
    assert_ok(cas(k, "key", "two", "three"));
    kit_expect(k, "key", "three");
}

static void cas_to_the_same_value_is_a_write(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "same"));
    uint64_t version = kit_info(k, "key").version;
    assert_ok(cas(k, "key", "same", "same"));
    assert_true(kit_info(k, "key").version > version);
}

static void cas_rapid_100(void **state) {
    kit *k = *state;
    int32_t value = 0;
    assert_ok(feox_insert(k->store, "key", 3, &value, sizeof value));
    for (int32_t i = 0; i < 100; i++) {
        int32_t next = i + 1;
        assert_ok(feox_compare_and_swap(k->store, "key", 3, &i, sizeof i, &next, sizeof next));
    }
    value = 100;
    do {
        kit_expect_bytes(k, "key", 3, &value, sizeof value);
    } while (kit_again(k));
}

static void cas_with_conditions(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    assert_ok(kit_put(k, "key", "one"));
    uint64_t version = kit_info(k, "key").version;
    write.flags = FEOX_IF_VERSION;
    write.version = version + 1;
    assert_status(feox_compare_and_swap_with(k->store, "key", 3, "one", 3, "two", 3, &write, NULL),
                  FEOX_MISMATCH);
    write.version = version;
    assert_status(feox_compare_and_swap_with(k->store, "key", 3, "xxx", 3, "two", 3, &write, NULL),
                  FEOX_MISMATCH);
    assert_ok(feox_compare_and_swap_with(k->store, "key", 3, "one", 3, "two", 3, &write, &written));
    assert_true(written.version > version);
    assert_int_equal(written.created, 0);
    assert_int_equal(kit_info(k, "key").version, written.version);
    kit_expect(k, "key", "two");
}

static void cas_timestamp_conflict_is_stale(void **state) {
    kit *k = *state;
    feox_write write;
    feox_write_init(&write);
    write.timestamp = 200;
    assert_ok(feox_insert_with(k->store, "key", 3, "one", 3, &write, NULL));
    write.timestamp = 100;
    assert_status(feox_compare_and_swap_with(k->store, "key", 3, "one", 3, "two", 3, &write, NULL),
                  FEOX_STALE);
    write.timestamp = 201;
    assert_ok(feox_compare_and_swap_with(k->store, "key", 3, "one", 3, "two", 3, &write, NULL));
    kit_expect(k, "key", "two");
}

static void increment_basic_and_create(void **state) {
    kit *k = *state;
    int64_t value = 99;
    feox_written written;
    assert_ok(feox_increment_with(k->store, "n", 1, 5, NULL, &value, &written));
    assert_int_equal(value, 5);
    assert_int_equal(written.created, 1);
    assert_ok(feox_increment_with(k->store, "n", 1, -7, NULL, &value, &written));
    assert_int_equal(value, -2);
    assert_int_equal(written.created, 0);
    assert_ok(feox_increment(k->store, "n", 1, 0, &value));
    assert_int_equal(value, -2);
    assert_ok(feox_increment(k->store, "n", 1, 3, NULL));
    assert_ok(feox_increment(k->store, "zero", 4, 0, &value));
    assert_int_equal(value, 0);
    do {
        expect_counter(k, "n", 1);
        expect_counter(k, "zero", 0);
    } while (kit_again(k));
    assert_ok(feox_increment(k->store, "n", 1, 41, &value));
    assert_int_equal(value, 42);
}

static void increment_of_an_inserted_counter(void **state) {
    kit *k = *state;
    unsigned char bytes[8];
    int64_t value = 0;
    encode(bytes, -1000000007);
    assert_ok(feox_insert(k->store, "n", 1, bytes, 8));
    kit_reopen(k);
    assert_ok(feox_increment(k->store, "n", 1, 7, &value));
    assert_int_equal(value, -1000000000);
    do {
        expect_counter(k, "n", -1000000000);
    } while (kit_again(k));
}

static void increment_of_another_size_is_not_counter(void **state) {
    kit *k = *state;
    static const char *const values[] = {"", "1", "1234567", "123456789", "10"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        int64_t value = 77;
        assert_ok(kit_put(k, "n", values[i]));
        uint64_t version = kit_info(k, "n").version;
        assert_status(feox_increment(k->store, "n", 1, 1, &value), FEOX_ERR_NOT_COUNTER);
        assert_int_equal(value, 0);
        kit_expect(k, "n", values[i]);
        assert_int_equal(kit_info(k, "n").version, version);
    }
}

static void increment_overflow_is_refused(void **state) {
    kit *k = *state;
    int64_t value = 0;
    assert_ok(feox_increment(k->store, "max", 3, INT64_MAX, &value));
    assert_int_equal(value, INT64_MAX);
    assert_status(feox_increment(k->store, "max", 3, 1, &value), FEOX_ERR_OVERFLOW);
    assert_int_equal(value, 0);
    assert_status(feox_increment(k->store, "max", 3, INT64_MAX, &value), FEOX_ERR_OVERFLOW);
    assert_ok(feox_increment(k->store, "min", 3, INT64_MIN, &value));
    assert_int_equal(value, INT64_MIN);
    assert_status(feox_increment(k->store, "min", 3, -1, &value), FEOX_ERR_OVERFLOW);
    assert_status(feox_increment(k->store, "min", 3, INT64_MIN, &value), FEOX_ERR_OVERFLOW);
    do {
        expect_counter(k, "max", INT64_MAX);
        expect_counter(k, "min", INT64_MIN);
    } while (kit_again(k));
    assert_ok(feox_increment(k->store, "max", 3, INT64_MIN, &value));
    assert_int_equal(value, -1);
    assert_ok(feox_increment(k->store, "min", 3, INT64_MAX, &value));
    assert_int_equal(value, -1);
}

/* After 100 increments a reopened file shows 100, and one record. */
static void increments_100(void **state) {
    kit *k = *state;
    int64_t value = 0;
    for (int i = 0; i < 100; i++) {
        assert_ok(feox_increment(k->store, "n", 1, 1, &value));
        assert_int_equal(value, i + 1);
    }
    do {
        expect_counter(k, "n", 100);
        assert_int_equal(kit_count(k), 1);
    } while (kit_again(k));
}

static void increment_with_conditions(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written;
    int64_t value = 0;
    feox_write_init(&write);
    write.flags = FEOX_IF_PRESENT;
    assert_status(feox_increment_with(k->store, "n", 1, 1, &write, &value, NULL), FEOX_NOT_FOUND);
    kit_expect_absent(k, "n");
    write.flags = FEOX_IF_ABSENT;
    assert_ok(feox_increment_with(k->store, "n", 1, 1, &write, &value, &written));
    assert_status(feox_increment_with(k->store, "n", 1, 1, &write, &value, NULL), FEOX_EXISTS);
    write.flags = FEOX_IF_VERSION;
    write.version = written.version;
    assert_ok(feox_increment_with(k->store, "n", 1, 1, &write, &value, NULL));
    assert_int_equal(value, 2);
    assert_status(feox_increment_with(k->store, "n", 1, 1, &write, &value, NULL), FEOX_MISMATCH);
    expect_counter(k, "n", 2);
}

#define THREADS 10
#define ROUNDS 100

typedef struct crowd {
    feox_store *store;
    pthread_barrier_t barrier;
    atomic_int winners;
    atomic_int failures;
    atomic_int next;
} crowd;

static void run_crowd(crowd *c, void *(*body)(void *)) {
    pthread_t threads[THREADS];
    assert_int_equal(pthread_barrier_init(&c->barrier, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, body, c), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    pthread_barrier_destroy(&c->barrier);
    assert_int_equal(atomic_load(&c->failures), 0);
}

static void *race_once(void *argument) {
    crowd *c = argument;
    int me = atomic_fetch_add(&c->next, 1);
    pthread_barrier_wait(&c->barrier);
    feox_status status = feox_compare_and_swap(c->store, "race", 4, "start", 5, &me, sizeof me);
    atomic_fetch_add(status == FEOX_OK ? &c->winners : &c->failures,
                     status == FEOX_OK || status != FEOX_MISMATCH);
    return NULL;
}

static void cas_race_has_exactly_one_winner(void **state) {
    kit *k = *state;
    for (int round = 0; round < 10; round++) {
        crowd c = {.store = k->store};
        assert_ok(kit_put(k, "race", "start"));
        run_crowd(&c, race_once);
        assert_int_equal(atomic_load(&c.winners), 1);
    }
}

static void *if_absent_once(void *argument) {
    crowd *c = argument;
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_IF_ABSENT;
    pthread_barrier_wait(&c->barrier);
    feox_status status = feox_insert_with(c->store, "race", 4, "v", 1, &write, NULL);
    atomic_fetch_add(status == FEOX_OK ? &c->winners : &c->failures,
                     status == FEOX_OK || status != FEOX_EXISTS);
    return NULL;
}

static void insert_if_absent_has_one_concurrent_winner(void **state) {
    kit *k = *state;
    for (int round = 0; round < 10; round++) {
        crowd c = {.store = k->store};
        run_crowd(&c, if_absent_once);
        assert_int_equal(atomic_load(&c.winners), 1);
        assert_ok(kit_delete(k, "race"));
    }
}

static void *add_many(void *argument) {
    crowd *c = argument;
    pthread_barrier_wait(&c->barrier);
    for (int i = 0; i < ROUNDS; i++) {
        if (feox_increment(c->store, "sum", 3, 1, NULL) != FEOX_OK) {
            atomic_fetch_add(&c->failures, 1);
        }
    }
    return NULL;
}

static void increments_sum_exactly(void **state) {
    kit *k = *state;
    crowd c = {.store = k->store};
    run_crowd(&c, add_many);
    do {
        expect_counter(k, "sum", THREADS * ROUNDS);
        assert_int_equal(kit_count(k), 1);
    } while (kit_again(k));
}

static void *cas_many(void *argument) {
    crowd *c = argument;
    pthread_barrier_wait(&c->barrier);
    for (int done = 0; done < ROUNDS;) {
        int32_t now = -1;
        size_t size = 0;
        if (feox_get_into(c->store, "sum", 3, &now, sizeof now, &size) != FEOX_OK) {
            atomic_fetch_add(&c->failures, 1);
            break;
        }
        int32_t next = now + 1;
        feox_status status =
            feox_compare_and_swap(c->store, "sum", 3, &now, sizeof now, &next, sizeof next);
        if (status == FEOX_OK) {
            done++;
        } else if (status != FEOX_MISMATCH) {
            atomic_fetch_add(&c->failures, 1);
            break;
        }
    }
    return NULL;
}

static void cas_10_threads_100_times(void **state) {
    kit *k = *state;
    crowd c = {.store = k->store};
    int32_t value = 0;
    assert_ok(feox_insert(k->store, "sum", 3, &value, sizeof value));
    run_crowd(&c, cas_many);
    value = THREADS * ROUNDS;
    do {
        kit_expect_bytes(k, "sum", 3, &value, sizeof value);
    } while (kit_again(k));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(cas_ok),
        KIT_TEST(cas_mismatch_changes_nothing),
        KIT_TEST(cas_without_bytes),
        KIT_TEST(cas_missing),
        KIT_TEST(cas_of_every_size),
        KIT_TEST(cas_after_reopen),
        KIT_TEST(cas_to_the_same_value_is_a_write),
        KIT_TEST(cas_rapid_100),
        KIT_TEST(cas_with_conditions),
        KIT_TEST(cas_timestamp_conflict_is_stale),
        KIT_TEST(increment_basic_and_create),
        KIT_TEST(increment_of_an_inserted_counter),
        KIT_TEST(increment_of_another_size_is_not_counter),
        KIT_TEST(increment_overflow_is_refused),
        KIT_TEST(increments_100),
        KIT_TEST(increment_with_conditions),
        KIT_TEST(cas_race_has_exactly_one_winner),
        KIT_TEST(insert_if_absent_has_one_concurrent_winner),
        KIT_TEST(increments_sum_exactly),
        KIT_TEST(cas_10_threads_100_times),
    };
    return cmocka_run_group_tests_name("api/atomic", tests, NULL, NULL);
}
