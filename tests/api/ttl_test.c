/* Time to live: expired is absent everywhere, and nothing but time makes a key expire.
 *
 * Sleeps are short, so every wanted moment has slack on the safe side only: a key that must have
 * expired gets a few milliseconds, a key that must live gets minutes. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <limits.h>

#define MINUTES_MS 600000u

static feox_status put_ttl(kit *k, const char *key, const char *value, uint64_t ttl_ms) {
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = ttl_ms;
    return feox_insert_with(k->store, key, strlen(key), value, strlen(value), &write, NULL);
}

static feox_status put_flags(kit *k, const char *key, const char *value, uint32_t flags) {
    feox_write write;
    feox_write_init(&write);
    write.flags = flags;
    return feox_insert_with(k->store, key, strlen(key), value, strlen(value), &write, NULL);
}

static int64_t ttl_of(kit *k, const char *key) {
    int64_t ttl = -77;
    assert_ok(feox_ttl(k->store, key, strlen(key), &ttl));
    assert_true(ttl == -1 || ttl > 0);
    assert_int_equal(kit_info(k, key).ttl_ms < 0, ttl < 0);
    return ttl;
}

static void expect_minutes(kit *k, const char *key) {
    int64_t ttl = ttl_of(k, key);
    assert_true(ttl > MINUTES_MS - 60000 && ttl <= MINUTES_MS);
}

/* The sweeper would hide what a lazy check forgets, so most tests here keep it away. */
static void without_sweeper(kit *k) {
    k->options.sweep_interval_ms = 3600000;
    kit_restart(k);
}

static void insert_with_ttl(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "value", MINUTES_MS));
    do {
        kit_expect(k, "key", "value");
        expect_minutes(k, "key");
    } while (kit_again(k));
}

static void no_ttl_is_minus_one(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "value"));
    assert_ok(put_ttl(k, "zero", "value", 0));
    do {
        assert_int_equal(ttl_of(k, "key"), -1);
        assert_int_equal(ttl_of(k, "zero"), -1);
    } while (kit_again(k));
    int64_t ttl = 5;
    assert_status(feox_ttl(k->store, "none", 4, &ttl), FEOX_NOT_FOUND);
    assert_int_equal(ttl, 0);
}

static void ttl_counts_down(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "value", MINUTES_MS));
    int64_t first = ttl_of(k, "key");
    kit_sleep_ms(20);
    int64_t second = ttl_of(k, "key");
    assert_true(second <= first - 15);
}

/* Every reading call agrees that the key is gone, and reports the outcome of a missing key. */
static void expired_is_absent_in_every_read(void **state) {
    kit *k = *state;
    without_sweeper(k);
    assert_ok(put_ttl(k, "b", "value", 1));
    assert_ok(kit_put(k, "a", "1"));
    assert_ok(kit_put(k, "c", "3"));
    kit_sleep_ms(10);
    do {
        kit_expect_absent(k, "b");
        feox_pairs *pairs = NULL;
        assert_ok(feox_range_query(k->store, NULL, 0, NULL, 0, 0, &pairs));
        assert_int_equal(pairs->count, 2);
        assert_memory_equal(pairs->pairs[1].key.data, "c", 1);
        feox_pairs_free(pairs);
        assert_int_equal(kit_scan_count(k), 2);
        feox_lookup lookup = {"b", 1, NULL, 0, 9, FEOX_OK};
        assert_ok(feox_get_many(k->store, &lookup, 1));
        assert_int_equal(lookup.status, FEOX_NOT_FOUND);
    } while (kit_again(k));
}

static void expired_is_absent_in_every_write(void **state) {
    kit *k = *state;
    without_sweeper(k);
    static const char *const keys[] = {"cas", "del", "exp", "per", "pat", "mer", "pre", "ver"};
    feox_write write;
    feox_write_init(&write);
    feox_written written;
    write.ttl_ms = 1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_ok(feox_insert_with(k->store, keys[i], 3, "{}", 2, &write, &written));
    }
    write.ttl_ms = 0;
    write.version = written.version;
    kit_sleep_ms(10);
    assert_status(feox_compare_and_swap(k->store, "cas", 3, "{}", 2, "x", 1), FEOX_NOT_FOUND);
    assert_status(feox_delete(k->store, "del", 3), FEOX_NOT_FOUND);
    assert_status(feox_expire(k->store, "exp", 3, 1000), FEOX_NOT_FOUND);
    assert_status(feox_persist(k->store, "per", 3), FEOX_NOT_FOUND);
    assert_status(feox_json_patch(k->store, "pat", 3, "[]", 2), FEOX_NOT_FOUND);
    assert_status(feox_json_merge(k->store, "mer", 3, "{\"a\":1}", 7), FEOX_NOT_FOUND);
    assert_status(put_flags(k, "pre", "x", FEOX_IF_PRESENT), FEOX_NOT_FOUND);
    write.flags = FEOX_IF_VERSION;
    assert_status(feox_insert_with(k->store, "ver", 3, "x", 1, &write, NULL), FEOX_NOT_FOUND);
    do { /* update_ttl_does_not_resurrect_expired */
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            kit_expect_absent(k, keys[i]);
        }
    } while (kit_again(k));
}

static void insert_if_absent_over_an_expired_key(void **state) {
    kit *k = *state;
    without_sweeper(k);
    assert_ok(put_ttl(k, "key", "old", 1));
    kit_sleep_ms(10);
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    write.flags = FEOX_IF_ABSENT;
    assert_ok(feox_insert_with(k->store, "key", 3, "new", 3, &write, &written));
    assert_int_equal(written.created, 1);
    do {
        kit_expect(k, "key", "new");
        assert_int_equal(ttl_of(k, "key"), -1);
        assert_int_equal(kit_count(k), 1);
    } while (kit_again(k));
}

static void expired_counter_is_absent(void **state) {
    kit *k = *state;
    without_sweeper(k);
    feox_write write;
    feox_written written;
    int64_t value = 0;
    feox_write_init(&write);
    write.ttl_ms = 1;
    assert_ok(feox_increment_with(k->store, "n", 1, 40, &write, &value, NULL));
    kit_sleep_ms(10);
    assert_ok(feox_increment_with(k->store, "n", 1, 2, NULL, &value, &written));
    assert_int_equal(value, 2);
    assert_int_equal(written.created, 1);
    assert_int_equal(ttl_of(k, "n"), -1);
}

static void plain_insert_removes_ttl(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "value", MINUTES_MS));
    assert_ok(kit_put(k, "key", "value"));
    do {
        assert_int_equal(ttl_of(k, "key"), -1);
    } while (kit_again(k));
}

static void update_resets_ttl(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "one", 2 * MINUTES_MS));
    assert_ok(put_ttl(k, "key", "two", MINUTES_MS));
    do {
        expect_minutes(k, "key");
        kit_expect(k, "key", "two");
    } while (kit_again(k));
}

static void insert_keep_ttl(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "one", MINUTES_MS));
    assert_ok(put_flags(k, "key", "two", FEOX_KEEP_TTL));
    assert_ok(put_flags(k, "new", "x", FEOX_KEEP_TTL));
    do {
        expect_minutes(k, "key");
        kit_expect(k, "key", "two");
        assert_int_equal(ttl_of(k, "new"), -1);
    } while (kit_again(k));
}

/* update_ttl_advances_version, update_ttl_is_durable, value_is_preserved */
static void expire_gives_a_new_ttl(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "value"));
    kit_reopen(k);
    uint64_t version = kit_info(k, "key").version;
    assert_ok(feox_expire(k->store, "key", 3, MINUTES_MS));
    assert_true(kit_info(k, "key").version > version);
    do {
        kit_expect(k, "key", "value");
        expect_minutes(k, "key");
    } while (kit_again(k));
    assert_ok(feox_expire(k->store, "key", 3, 0));
    do {
        kit_expect(k, "key", "value");
        assert_int_equal(ttl_of(k, "key"), -1);
    } while (kit_again(k));
    assert_status(feox_expire(k->store, "none", 4, 1000), FEOX_NOT_FOUND);
}

static void expire_shortens(void **state) {
    kit *k = *state;
    without_sweeper(k);
    assert_ok(put_ttl(k, "key", "value", MINUTES_MS));
    kit_reopen(k);
    assert_ok(feox_expire(k->store, "key", 3, 1));
    kit_sleep_ms(10);
    do {
        kit_expect_absent(k, "key");
    } while (kit_again(k));
}

static void persist_removes_ttl(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "value", MINUTES_MS));
    kit_reopen(k);
    feox_written written;
    uint64_t version = kit_info(k, "key").version;
    assert_ok(feox_persist_with(k->store, "key", 3, NULL, &written));
    assert_true(written.version > version);
    do {
        kit_expect(k, "key", "value");
        assert_int_equal(ttl_of(k, "key"), -1);
    } while (kit_again(k));
    assert_status(feox_persist(k->store, "none", 4), FEOX_NOT_FOUND);
}

static void expire_and_persist_with_conditions(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "value"));
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    write.flags = FEOX_IF_VERSION;
    write.version = kit_info(k, "key").version + 1;
    assert_status(feox_expire_with(k->store, "key", 3, MINUTES_MS, &write, NULL), FEOX_MISMATCH);
    assert_int_equal(ttl_of(k, "key"), -1);
    write.version--;
    assert_ok(feox_expire_with(k->store, "key", 3, MINUTES_MS, &write, &written));
    expect_minutes(k, "key");
    assert_status(feox_persist_with(k->store, "key", 3, &write, NULL), FEOX_MISMATCH);
    expect_minutes(k, "key");
    write.version = written.version;
    assert_ok(feox_persist_with(k->store, "key", 3, &write, NULL));
    assert_int_equal(ttl_of(k, "key"), -1);
}

/* CAS, increment, patch and merge keep the time to live unless told otherwise. */
static void changes_in_place_keep_ttl(void **state) {
    kit *k = *state;
    int64_t zero = 0;
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = MINUTES_MS;
    assert_ok(put_ttl(k, "cas", "1", MINUTES_MS));
    assert_ok(put_ttl(k, "pat", "{}", MINUTES_MS));
    assert_ok(put_ttl(k, "mer", "{}", MINUTES_MS));
    assert_ok(feox_insert_with(k->store, "inc", 3, &zero, 8, &write, NULL));
    assert_ok(feox_compare_and_swap(k->store, "cas", 3, "1", 1, "22", 2));
    assert_ok(feox_increment(k->store, "inc", 3, 5, NULL));
    const char *patch = "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]";
    assert_ok(feox_json_patch(k->store, "pat", 3, patch, strlen(patch)));
    assert_ok(feox_json_merge(k->store, "mer", 3, "{\"a\":1}", 7));
    do {
        expect_minutes(k, "cas");
        expect_minutes(k, "inc");
        expect_minutes(k, "pat");
        expect_minutes(k, "mer");
    } while (kit_again(k));
}

static void changes_in_place_can_clear_or_set_ttl(void **state) {
    kit *k = *state;
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_CLEAR_TTL;
    assert_ok(put_ttl(k, "a", "1", MINUTES_MS));
    assert_ok(put_ttl(k, "j", "{}", MINUTES_MS));
    assert_ok(put_ttl(k, "m", "{}", MINUTES_MS));
    assert_ok(put_ttl(k, "n", "12345678", MINUTES_MS));
    assert_ok(feox_compare_and_swap_with(k->store, "a", 1, "1", 1, "2", 1, &write, NULL));
    assert_ok(feox_increment_with(k->store, "n", 1, 1, &write, NULL, NULL));
    assert_ok(feox_json_merge_with(k->store, "m", 1, "{\"a\":1}", 7, &write, NULL));
    const char *patch = "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]";
    assert_ok(feox_json_patch_with(k->store, "j", 1, patch, strlen(patch), &write, NULL));
    do {
        assert_int_equal(ttl_of(k, "a"), -1);
        assert_int_equal(ttl_of(k, "n"), -1);
        assert_int_equal(ttl_of(k, "m"), -1);
        assert_int_equal(ttl_of(k, "j"), -1);
    } while (kit_again(k));
    write.flags = 0;
    write.ttl_ms = MINUTES_MS;
    assert_ok(feox_compare_and_swap_with(k->store, "a", 1, "2", 1, "3", 1, &write, NULL));
    assert_ok(feox_increment_with(k->store, "n", 1, 1, &write, NULL, NULL));
    do {
        expect_minutes(k, "a");
        expect_minutes(k, "n");
    } while (kit_again(k));
}

static void a_failed_write_leaves_ttl(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "value", MINUTES_MS));
    uint64_t version = kit_info(k, "key").version;
    assert_status(put_flags(k, "key", "x", FEOX_IF_ABSENT), FEOX_EXISTS);
    assert_status(feox_compare_and_swap(k->store, "key", 3, "no", 2, "x", 1), FEOX_MISMATCH);
    assert_status(feox_increment(k->store, "key", 3, 1, NULL), FEOX_ERR_NOT_COUNTER);
    assert_status(feox_json_patch(k->store, "key", 3, "[]", 2), FEOX_ERR_JSON);
    do {
        expect_minutes(k, "key");
        kit_expect(k, "key", "value");
        assert_int_equal(kit_info(k, "key").version, version);
    } while (kit_again(k));
}

/* ttl_arithmetic_saturates */
static void enormous_ttl(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "max", "1", UINT64_MAX));
    assert_ok(put_ttl(k, "i64", "2", INT64_MAX));
    assert_ok(put_ttl(k, "ns", "3", UINT64_MAX / 1000000u + 1u));
    assert_ok(kit_put(k, "exp", "4"));
    assert_ok(feox_expire(k->store, "exp", 3, UINT64_MAX));
    do {
        kit_expect(k, "max", "1");
        kit_expect(k, "i64", "2");
        kit_expect(k, "ns", "3");
        kit_expect(k, "exp", "4");
        int64_t year_ms = (int64_t)365 * 86400 * 1000;
        assert_true(ttl_of(k, "max") == -1 || ttl_of(k, "max") > year_ms);
        assert_true(ttl_of(k, "ns") == -1 || ttl_of(k, "ns") > year_ms);
    } while (kit_again(k));
}

/* Explicit stamps are no part of time to live: FeOxDB computed the expiry from them. */
static void ttl_is_measured_from_now_not_from_the_timestamp(void **state) {
    kit *k = *state;
    without_sweeper(k);
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = MINUTES_MS;
    write.timestamp = 1;
    assert_ok(feox_insert_with(k->store, "past", 4, "v", 1, &write, NULL));
    write.timestamp = UINT64_MAX - 1;
    write.ttl_ms = 1;
    assert_ok(feox_insert_with(k->store, "future", 6, "v", 1, &write, NULL));
    kit_sleep_ms(10);
    do {
        expect_minutes(k, "past");
        kit_expect_absent(k, "future");
    } while (kit_again(k));
}

static void ttl_below_a_second_is_kept(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "key", "value", 900));
    int64_t ttl = 0;
    feox_status status = feox_ttl(k->store, "key", 3, &ttl);
    assert_true(status == FEOX_NOT_FOUND || (ttl > 0 && ttl <= 900));
}

static void sweeper_removes_expired_keys(void **state) {
    kit *k = *state;
    k->options.sweep_interval_ms = 10;
    kit_restart(k);
    char name[16];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "k%d", i);
        assert_ok(put_ttl(k, name, name, 5));
    }
    assert_ok(kit_put(k, "stays", "1"));
    uint64_t deadline = kit_now_ms() + 10000;
    while (kit_count(k) > 1 && kit_now_ms() < deadline) {
        kit_sleep_ms(5);
    }
    assert_int_equal(kit_count(k), 1);
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.expirations, 500);
    assert_int_equal(stats.deletes, 0);
    assert_int_equal(stats.keys, 1);
    do {
        assert_int_equal(kit_count(k), 1);
        kit_expect(k, "stays", "1");
        kit_expect_absent(k, "k7");
    } while (kit_again(k));
}

/* sweeper_does_not_delete_replacement, sweeper_allows_recreation */
static void sweeper_leaves_replacements_alone(void **state) {
    kit *k = *state;
    k->options.sweep_interval_ms = 1;
    kit_restart(k);
    char name[16];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 50; i++) {
            snprintf(name, sizeof name, "k%d", i);
            assert_ok(put_ttl(k, name, "short", 1));
        }
        kit_sleep_ms(1);
        for (int i = 0; i < 50; i++) {
            snprintf(name, sizeof name, "k%d", i);
            assert_ok(kit_put(k, name, "long"));
        }
        kit_sleep_ms(3);
        assert_int_equal(kit_count(k), 50);
    }
    do {
        assert_int_equal(kit_count(k), 50);
        kit_expect(k, "k49", "long");
    } while (kit_again(k));
}

static void expires_while_closed(void **state) {
    kit *k = *state;
    assert_ok(put_ttl(k, "dead", "1", 20));
    assert_ok(put_ttl(k, "alive", "2", MINUTES_MS));
    kit_close(k);
    kit_sleep_ms(60);
    kit_open(k);
    kit_expect_absent(k, "dead");
    kit_expect(k, "alive", "2");
    expect_minutes(k, "alive");
    assert_int_equal(kit_scan_count(k), 1);
}

/* expired_newest_does_not_resurrect_older */
static void an_expired_value_uncovers_no_older_one(void **state) {
    kit *k = *state;
    without_sweeper(k);
    assert_ok(kit_put(k, "key", "old"));
    kit_reopen(k);
    assert_ok(put_ttl(k, "key", "new", 1));
    kit_sleep_ms(10);
    do {
        kit_expect_absent(k, "key");
        assert_int_equal(kit_scan_count(k), 0);
    } while (kit_again(k));
    kit_reopen(k);
    kit_expect_absent(k, "key");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(insert_with_ttl),
        KIT_TEST(no_ttl_is_minus_one),
        KIT_TEST(ttl_counts_down),
        KIT_TEST(expired_is_absent_in_every_read),
        KIT_TEST(expired_is_absent_in_every_write),
        KIT_TEST(insert_if_absent_over_an_expired_key),
        KIT_TEST(expired_counter_is_absent),
        KIT_TEST(plain_insert_removes_ttl),
        KIT_TEST(update_resets_ttl),
        KIT_TEST(insert_keep_ttl),
        KIT_TEST(expire_gives_a_new_ttl),
        KIT_TEST(expire_shortens),
        KIT_TEST(persist_removes_ttl),
        KIT_TEST(expire_and_persist_with_conditions),
        KIT_TEST(changes_in_place_keep_ttl),
        KIT_TEST(changes_in_place_can_clear_or_set_ttl),
        KIT_TEST(a_failed_write_leaves_ttl),
        KIT_TEST(enormous_ttl),
        KIT_TEST(ttl_is_measured_from_now_not_from_the_timestamp),
        KIT_TEST(ttl_below_a_second_is_kept),
        KIT_TEST(sweeper_removes_expired_keys),
        KIT_TEST(sweeper_leaves_replacements_alone),
        KIT_FILE(expires_while_closed),
        KIT_TEST(an_expired_value_uncovers_no_older_one),
    };
    return cmocka_run_group_tests_name("api/ttl", tests, NULL, NULL);
}
