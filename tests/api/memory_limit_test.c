/* memory_limit: a memory-only store refuses writes, a file store drops values and reads them
 * back. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>

#define MIB ((uint64_t)1 << 20)

static feox_statistics stats_of(kit *k) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    return stats;
}

static void limit(kit *k, uint64_t bytes) {
    k->options.memory_limit = bytes;
    kit_restart(k);
    assert_int_equal(stats_of(k).memory_limit, bytes);
}

/* Inserts 1000-byte values until the store refuses; gives their number. */
static uint32_t fill_up(kit *k, uint32_t most) {
    unsigned char value[1000];
    for (uint32_t i = 0; i < most; i++) {
        kit_fill(value, sizeof value, i);
        feox_status status = feox_insert(k->store, &i, sizeof i, value, sizeof value);
        if (status == FEOX_ERR_MEMORY) {
            return i;
        }
        assert_ok(status);
    }
    return most;
}

static void expect_filled(kit *k, uint32_t count) {
    unsigned char value[1000];
    for (uint32_t i = 0; i < count; i++) {
        size_t size = 0;
        assert_ok(feox_get_into(k->store, &i, sizeof i, value, sizeof value, &size));
        assert_int_equal(size, sizeof value);
        assert_true(kit_filled(value, sizeof value, i));
    }
}

static void memory_only_store_refuses(void **state) {
    kit *k = *state;
    limit(k, 8 * MIB);
    uint32_t count = fill_up(k, 100000);
    printf("%u values of 1000 bytes, %llu bytes used\n", count,
           (unsigned long long)stats_of(k).memory_used);
    assert_true(count > 1000 && count < 9000);
    assert_true(stats_of(k).memory_used <= 8 * MIB);
    assert_int_equal(kit_count(k), count);
    expect_filled(k, count);
    /* Nothing that fails changes anything, and reads and deletes go on. */
    unsigned char large[65536];
    memset(large, 1, sizeof large);
    uint32_t zero = 0;
    assert_status(feox_insert(k->store, &zero, sizeof zero, large, sizeof large),
                  FEOX_ERR_MEMORY);
    unsigned char value[1000];
    kit_fill(value, sizeof value, 0);
    assert_status(feox_compare_and_swap(k->store, &zero, sizeof zero, value, sizeof value, large,
                                        sizeof large),
                  FEOX_ERR_MEMORY);
    expect_filled(k, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_ok(feox_delete(k->store, &i, sizeof i));
    }
    assert_true(fill_up(k, 100000) >= count - count / 5);
}

static void a_refused_create_leaves_no_key(void **state) {
    kit *k = *state;
    limit(k, 4 * MIB);
    uint32_t count = fill_up(k, 100000);
    char name[32];
    uint32_t refused = 0;
    for (int i = 0; i < 20000 && refused < 100; i++) {
        snprintf(name, sizeof name, "counter%d", i);
        feox_status status = feox_increment(k->store, name, strlen(name), 1, NULL);
        if (status == FEOX_ERR_MEMORY) {
            refused++;
            assert_status(kit_contains(k, name), FEOX_NOT_FOUND);
        } else {
            assert_ok(status);
            count++;
        }
    }
    assert_int_equal(refused, 100);
    assert_int_equal(kit_count(k), count);
    assert_int_equal(kit_scan_count(k), count);
}

/* Shrinking releases: what updates and deletes give back can be used again, many times over. */
static void shrink_releases(void **state) {
    kit *k = *state;
    limit(k, 8 * MIB);
    unsigned char *value = kit_alloc(MIB);
    kit_fill(value, MIB, 1);
    for (int i = 0; i < 100; i++) {
        assert_ok(feox_insert(k->store, "key", 3, value, MIB));
        assert_ok(kit_put(k, "key", "small"));
        assert_ok(feox_insert(k->store, "other", 5, value, MIB / 2));
        assert_ok(kit_delete(k, "other"));
    }
    kit_expect(k, "key", "small");
    free(value);
}

static void memory_returns_after_deleting_everything(void **state) {
    kit *k = *state;
    uint64_t empty = stats_of(k).memory_used;
    uint64_t allowed = empty + empty / 5;
    for (int round = 0; round < (KIT_SLOW ? 1 : 2); round++) {
        assert_int_equal(fill_up(k, 20000), 20000);
        assert_true(stats_of(k).memory_used > empty + 20000 * 1000);
        for (uint32_t i = 20000; i < 80000; i++) { /* small ones: the indexes grow */
            assert_ok(feox_insert(k->store, &i, sizeof i, &i, sizeof i));
        }
        for (uint32_t i = 0; i < 80000; i++) {
            assert_ok(feox_delete(k->store, &i, sizeof i));
        }
        assert_ok(feox_flush(k->store));
        uint64_t deadline = kit_now_ms() + 3000;
        while (stats_of(k).memory_used > allowed && kit_now_ms() < deadline) {
            kit_sleep_ms(20);
        }
        printf("memory: empty %llu, after deleting everything %llu\n", (unsigned long long)empty,
               (unsigned long long)stats_of(k).memory_used);
        assert_true(stats_of(k).memory_used <= allowed);
    }
}

static void a_file_store_reads_back_what_it_dropped(void **state) {
    kit *k = *state;
    limit(k, 8 * MIB);
    assert_int_equal(fill_up(k, 20000), 20000); /* 20 MB of values */
    do {
        assert_int_equal(kit_count(k), 20000);
        assert_int_equal(kit_scan_count(k), 20000);
        expect_filled(k, 20000);
        feox_statistics stats = stats_of(k);
        assert_true(stats.disk_reads > 0);
        assert_true(stats.disk_read_bytes >= 1000);
        printf("memory used: %llu of %llu\n", (unsigned long long)stats.memory_used,
               (unsigned long long)stats.memory_limit);
        assert_true(stats.memory_used <= 8 * MIB + 8 * MIB / 10);
    } while (kit_again(k));
}

/* What was dropped and is read again and again is in memory again, in the room of what is not. */
static void what_is_read_often_stays(void **state) {
    kit *k = *state;
    limit(k, 8 * MIB);
    assert_int_equal(fill_up(k, 20000), 20000);
    assert_ok(feox_flush(k->store)); /* what is not on disk yet cannot make room */
    /* How soon the background has made room is its own affair; then it has nothing to do. */
    uint64_t reads = 5000;
    int tries = 0;
    for (; tries < 200 && reads >= 100; tries++) {
        uint64_t before = stats_of(k).disk_reads;
        for (int i = 0; i < 5; i++) {
            expect_filled(k, 1000);
        }
        reads = stats_of(k).disk_reads - before;
    }
    printf("%llu of 5000 reads were from disk, the %d. time\n", (unsigned long long)reads, tries);
    assert_true(reads < 100);
    assert_true(stats_of(k).memory_used <= 8 * MIB + 8 * MIB / 20);
}

/* Reads alone keep no more than there is room for. */
static void reads_stay_below_the_limit(void **state) {
    kit *k = *state;
    static unsigned char value[10000];
    limit(k, 8 * MIB);
    for (uint32_t i = 0; i < 2000; i++) {
        kit_fill(value, sizeof value, i);
        assert_ok(feox_insert(k->store, &i, sizeof i, value, sizeof value));
    }
    for (uint32_t i = 0; i < 2000; i++) {
        size_t size = 0;
        assert_ok(feox_get_into(k->store, &i, sizeof i, value, sizeof value, &size));
        assert_true(size == sizeof value && kit_filled(value, sizeof value, i));
    }
    assert_true(stats_of(k).memory_used <= 8 * MIB + 8 * MIB / 20);
}

/* recovery_above_limit_is_preserved: a store written without a limit opens with a small one. */
static void reopen_with_a_small_limit(void **state) {
    kit *k = *state;
    assert_int_equal(fill_up(k, 20000), 20000);
    kit_close(k);
    k->options.memory_limit = 6 * MIB;
    kit_open(k);
    assert_int_equal(kit_count(k), 20000);
    expect_filled(k, 20000);
    assert_ok(kit_put(k, "more", "works"));
    kit_expect(k, "more", "works");
}

/* Every call finds a value that is on disk only. */
static void every_call_on_a_dropped_value(void **state) {
    kit *k = *state;
    unsigned char *large = kit_alloc(100000);
    char name[16];
    limit(k, 4 * MIB);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "k%d", i);
        assert_ok(kit_put(k, name, "{\"a\":1}"));
    }
    assert_ok(feox_increment(k->store, "n", 1, 41, NULL));
    for (uint32_t i = 0; i < 100; i++) { /* 10 MB push the others out */
        kit_fill(large, 100000, i);
        assert_ok(feox_insert(k->store, &i, sizeof i, large, 100000));
    }
    assert_ok(feox_flush(k->store));
    const char *patch = "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]";
    int64_t n = 0;
    assert_ok(feox_compare_and_swap(k->store, "k0", 2, "{\"a\":1}", 7, "swapped", 7));
    assert_status(feox_compare_and_swap(k->store, "k1", 2, "{\"a\":0}", 7, "x", 1), FEOX_MISMATCH);
    assert_ok(feox_json_patch(k->store, "k2", 2, patch, strlen(patch)));
    assert_ok(feox_json_merge(k->store, "k3", 2, "{\"a\":3}", 7));
    assert_ok(feox_increment(k->store, "n", 1, 1, &n));
    assert_int_equal(n, 42);
    assert_ok(feox_expire(k->store, "k4", 2, 600000));
    assert_ok(kit_delete(k, "k5"));
    do {
        kit_expect(k, "k0", "swapped");
        kit_expect(k, "k1", "{\"a\":1}");
        kit_expect(k, "k2", "{\"a\":2}");
        kit_expect(k, "k3", "{\"a\":3}");
        kit_expect(k, "k4", "{\"a\":1}");
        kit_expect_absent(k, "k5");
        for (uint32_t i = 0; i < 100; i += 9) {
            kit_fill(large, 100000, i);
            kit_expect_bytes(k, &i, sizeof i, large, 100000);
        }
    } while (kit_again(k));
    free(large);
}

/* concurrent_inserts_reserve_atomically: eight threads do not break through together. */
typedef struct crowd {
    feox_store *store;
    atomic_uint next;
    atomic_int stored;
    atomic_int failures;
} crowd;

static void *insert_until_refused(void *argument) {
    crowd *c = argument;
    unsigned char value[1000];
    memset(value, 7, sizeof value);
    for (int refused = 0; refused < 50;) {
        uint32_t i = atomic_fetch_add(&c->next, 1);
        feox_status status = feox_insert(c->store, &i, sizeof i, value, sizeof value);
        if (status == FEOX_OK) {
            atomic_fetch_add(&c->stored, 1);
        } else if (status == FEOX_ERR_MEMORY) {
            refused++;
        } else {
            atomic_fetch_add(&c->failures, 1);
            break;
        }
    }
    return NULL;
}

static void concurrent_writers_stay_below_the_limit(void **state) {
    kit *k = *state;
    pthread_t threads[8];
    limit(k, 8 * MIB);
    crowd c = {.store = k->store};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, insert_until_refused, &c), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.failures), 0);
    assert_int_equal(kit_count(k), atomic_load(&c.stored));
    printf("%d values, %llu bytes used\n", atomic_load(&c.stored),
           (unsigned long long)stats_of(k).memory_used);
    assert_true(stats_of(k).memory_used <= 8 * MIB);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_MEMORY(memory_only_store_refuses),
        KIT_MEMORY(a_refused_create_leaves_no_key),
        KIT_TEST(shrink_releases),
        KIT_TEST(memory_returns_after_deleting_everything),
        KIT_FILE(a_file_store_reads_back_what_it_dropped),
        KIT_FILE(what_is_read_often_stays),
        KIT_FILE(reads_stay_below_the_limit),
        KIT_FILE(reopen_with_a_small_limit),
        KIT_FILE(every_call_on_a_dropped_value),
        KIT_MEMORY(concurrent_writers_stay_below_the_limit),
    };
    return cmocka_run_group_tests_name("api/memory_limit", tests, NULL, NULL);
}
