/* Versions rise and are unique; explicit timestamps are last-writer-wins; the clock never loses. */
#define _GNU_SOURCE
#include "support/kit.h"

static feox_status put_at(kit *k, const char *key, const char *value, uint64_t timestamp,
                          feox_written *written_out) {
    feox_write write;
    feox_write_init(&write);
    write.timestamp = timestamp;
    return feox_insert_with(k->store, key, strlen(key), value, strlen(value), &write, written_out);
}

static feox_status delete_at(kit *k, const char *key, uint64_t timestamp) {
    feox_write write;
    feox_write_init(&write);
    write.timestamp = timestamp;
    return feox_delete_with(k->store, key, strlen(key), &write, NULL);
}

static void written_says_what_info_says(void **state) {
    kit *k = *state;
    feox_written written;
    assert_ok(put_at(k, "key", "v", 0, &written));
    do {
        feox_key_info info = kit_info(k, "key");
        assert_int_equal(info.version, written.version);
        assert_int_equal(info.timestamp, written.timestamp);
    } while (kit_again(k));
    assert_ok(put_at(k, "key", "v", UINT64_MAX - 7, &written));
    assert_int_equal(written.timestamp, UINT64_MAX - 7);
    assert_true((written.sequence > 0) == k->file);
    do {
        feox_key_info info = kit_info(k, "key");
        assert_int_equal(info.version, written.version);
        assert_int_equal(info.timestamp, UINT64_MAX - 7);
    } while (kit_again(k));
}

/* One key through every call that writes, with deletes and reopens in between. */
static void versions_rise_over_every_call(void **state) {
    kit *k = *state;
    uint64_t last = 0;
    for (int round = 0; round < 3; round++) {
        feox_written w[9];
        const char *patch = "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]";
        assert_ok(feox_insert_with(k->store, "k", 1, "1", 1, NULL, &w[0]));
        assert_ok(feox_compare_and_swap_with(k->store, "k", 1, "1", 1, "{}", 2, NULL, &w[1]));
        assert_ok(feox_json_merge_with(k->store, "k", 1, "{\"a\":1}", 7, NULL, &w[2]));
        assert_ok(feox_json_patch_with(k->store, "k", 1, patch, strlen(patch), NULL, &w[3]));
        assert_ok(feox_expire_with(k->store, "k", 1, 600000, NULL, &w[4]));
        assert_ok(feox_persist_with(k->store, "k", 1, NULL, &w[5]));
        assert_int_equal(kit_info(k, "k").version, w[5].version);
        assert_ok(feox_delete_with(k->store, "k", 1, NULL, &w[6]));
        assert_ok(feox_increment_with(k->store, "k", 1, 1, NULL, NULL, &w[7]));
        assert_ok(feox_delete_with(k->store, "k", 1, NULL, &w[8]));
        for (size_t i = 0; i < sizeof w / sizeof *w; i++) {
            assert_true(w[i].version > last);
            last = w[i].version;
            assert_int_equal(w[i].created, i == 0 || i == 7);
        }
        kit_reopen(k);
    }
}

static void versions_are_unique_in_the_store(void **state) {
    kit *k = *state;
    enum { KEYS = 64, ROUNDS = 16 };
    uint64_t seen[KEYS * ROUNDS];
    size_t count = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < KEYS; i++) {
            feox_written written;
            assert_ok(feox_insert_with(k->store, &i, sizeof i, &round, sizeof round, NULL,
                                       &written));
            seen[count++] = written.version;
        }
        if (round % 8 == 7) {
            kit_reopen(k);
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            assert_true(seen[i] != seen[j]);
        }
    }
}

static void older_is_rejected_newer_wins(void **state) {
    kit *k = *state;
    assert_ok(put_at(k, "key", "200", 200, NULL));
    feox_written written;
    memset(&written, 0xff, sizeof written);
    uint64_t version = kit_info(k, "key").version;
    assert_status(put_at(k, "key", "199", 199, &written), FEOX_STALE);
    assert_int_equal(written.version, 0);
    assert_status(put_at(k, "key", "equal", 200, NULL), FEOX_STALE);
    kit_expect(k, "key", "200");
    assert_int_equal(kit_info(k, "key").version, version);
    assert_ok(put_at(k, "key", "201", 201, NULL));
    do {
        kit_expect(k, "key", "201");
        assert_int_equal(kit_info(k, "key").timestamp, 201);
        assert_status(put_at(k, "key", "x", 201, NULL), FEOX_STALE);
    } while (kit_again(k));
}

static void delete_older_is_rejected(void **state) {
    kit *k = *state;
    assert_ok(put_at(k, "key", "v", 200, NULL));
    assert_status(delete_at(k, "key", 100), FEOX_STALE);
    assert_status(delete_at(k, "key", 200), FEOX_STALE);
    do {
        kit_expect(k, "key", "v");
    } while (kit_again(k));
    assert_ok(delete_at(k, "key", 201));
    do {
        kit_expect_absent(k, "key");
    } while (kit_again(k));
    assert_status(delete_at(k, "key", 300), FEOX_NOT_FOUND);
}

/* There is nothing stored to be older than. */
static void a_deleted_key_takes_any_timestamp(void **state) {
    kit *k = *state;
    assert_ok(put_at(k, "key", "200", 200, NULL));
    assert_ok(delete_at(k, "key", 250));
    assert_ok(put_at(k, "key", "150", 150, NULL));
    do {
        kit_expect(k, "key", "150");
    } while (kit_again(k));
}

/* u64_max_does_not_exhaust: a stamp from the end of time makes no key unwritable. */
static void without_a_timestamp_nothing_is_stale(void **state) {
    kit *k = *state;
    assert_ok(put_at(k, "key", "1", UINT64_MAX, NULL));
    kit_reopen(k);
    assert_ok(kit_put(k, "key", "2"));
    kit_expect(k, "key", "2");
    assert_ok(kit_put(k, "key", "3"));
    int64_t n = 0;
    assert_ok(put_at(k, "n", "12345678", UINT64_MAX, NULL));
    assert_ok(feox_increment(k->store, "n", 1, 1, &n));
    assert_ok(feox_compare_and_swap(k->store, "key", 3, "3", 1, "{}", 2));
    assert_ok(feox_json_merge(k->store, "key", 3, "{\"a\":1}", 7));
    assert_ok(feox_expire(k->store, "key", 3, 600000));
    assert_ok(feox_persist(k->store, "key", 3));
    char name[16];
    for (int i = 0; i < 200; i++) { /* other keys, of whatever shard or slot */
        snprintf(name, sizeof name, "k%d", i);
        assert_ok(kit_put(k, name, "v"));
        assert_ok(kit_put(k, name, "w"));
    }
    do {
        kit_expect(k, "key", "{\"a\":1}");
        kit_expect(k, "k77", "w");
    } while (kit_again(k));
    assert_ok(kit_delete(k, "key"));
    kit_expect_absent(k, "key");
}

static void automatic_timestamps_never_go_back(void **state) {
    kit *k = *state;
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        feox_written written;
        assert_ok(put_at(k, "key", "v", 0, &written));
        assert_true(written.timestamp >= last);
        last = written.timestamp;
        if (i % 250 == 249) { /* follows_recovered */
            kit_reopen(k);
        }
    }
}

/* automatic_follows_explicit: what the store writes on top is newer than what is below it, or a
 * writer with a stamp in between would win over a later write. */
static void automatic_follows_explicit(void **state) {
    kit *k = *state;
    uint64_t future = UINT64_MAX - 1000000;
    assert_ok(put_at(k, "key", "1", future, NULL));
    feox_written written;
    assert_ok(put_at(k, "key", "2", 0, &written));
    assert_true(written.timestamp > future);
    assert_status(put_at(k, "key", "3", future, NULL), FEOX_STALE);
    assert_ok(put_at(k, "last", "1", UINT64_MAX, NULL)); /* behind which there is no other */
    assert_ok(put_at(k, "last", "2", 0, &written));
    assert_true(written.timestamp == UINT64_MAX);
    assert_status(put_at(k, "last", "3", UINT64_MAX, NULL), FEOX_STALE);
    do {
        kit_expect(k, "key", "2");
        kit_expect(k, "last", "2");
    } while (kit_again(k));
}

/* failed_explicit_does_not_advance */
static void a_refused_timestamp_leaves_no_trace(void **state) {
    kit *k = *state;
    feox_write write;
    feox_write_init(&write);
    assert_ok(put_at(k, "key", "1", 1000, NULL));
    write.timestamp = 5000;
    write.flags = FEOX_IF_ABSENT;
    assert_status(feox_insert_with(k->store, "key", 3, "x", 1, &write, NULL), FEOX_EXISTS);
    write.flags = 0;
    assert_status(feox_compare_and_swap_with(k->store, "key", 3, "?", 1, "x", 1, &write, NULL),
                  FEOX_MISMATCH);
    assert_int_equal(kit_info(k, "key").timestamp, 1000);
    assert_ok(put_at(k, "key", "2", 1001, NULL));
    kit_expect(k, "key", "2");
}

static void every_writing_call_takes_a_timestamp(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    const char *patch = "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]";
    assert_ok(put_at(k, "j", "{}", 100, NULL));
    assert_ok(put_at(k, "n", "12345678", 100, NULL));
    for (int newer = 0; newer < 2; newer++) {
        write.timestamp = newer ? 101 : 100;
        feox_status wanted = newer ? FEOX_OK : FEOX_STALE;
        assert_status(feox_increment_with(k->store, "n", 1, 1, &write, NULL, &written), wanted);
        assert_int_equal(written.timestamp, newer ? 101 : 0);
        assert_status(feox_json_merge_with(k->store, "j", 1, "{\"a\":1}", 7, &write, &written),
                      wanted);
        write.timestamp += (uint64_t)newer;
        assert_status(feox_json_patch_with(k->store, "j", 1, patch, strlen(patch), &write, NULL),
                      wanted);
        write.timestamp += (uint64_t)newer;
        assert_status(feox_expire_with(k->store, "j", 1, 600000, &write, NULL), wanted);
        write.timestamp += (uint64_t)newer;
        assert_status(feox_persist_with(k->store, "j", 1, &write, NULL), wanted);
    }
    do {
        kit_expect(k, "j", "{\"a\":1,\"b\":2}");
        assert_int_equal(kit_info(k, "j").timestamp, 104);
        assert_int_equal(kit_info(k, "n").timestamp, 101);
    } while (kit_again(k));
}

/* What a killed process leaves: versions that it gave out, and that never reached the file, are not
 * given out again, however often that happens. */
static void a_crash_takes_no_version_back(void **state) {
    (void)state;
    feox_options options;
    kit_options_init(&options);
    options.flush_interval_ms = 3600000;
    const char *path = fx_temp_fresh("versions");
    uint64_t highest = 0;
    for (unsigned life = 0; life < 8; life++) {
        feox_store *store = NULL;
        feox_written written;
        assert_ok(feox_open(path, &options, &store));
        for (unsigned i = 0; i < 100; i++) {
            assert_ok(feox_insert_with(store, &i, sizeof i, "v", 1, NULL, &written));
            assert_true(i > 0 || written.version > highest);
            if (i == 50 && life % 3 == 1) { /* something for the next opening to replay */
                assert_ok(feox_flush(store));
            }
        }
        highest = written.version > highest ? written.version : highest;
        const char *left = fx_temp_fresh("versions");
        fx_file_copy(path, left);
        assert_ok(feox_close(store));
        fx_file_remove(path);
        path = left;
    }
    fx_file_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(written_says_what_info_says),
        KIT_TEST(versions_rise_over_every_call),
        KIT_TEST(versions_are_unique_in_the_store),
        KIT_TEST(older_is_rejected_newer_wins),
        KIT_TEST(delete_older_is_rejected),
        KIT_TEST(a_deleted_key_takes_any_timestamp),
        KIT_TEST(without_a_timestamp_nothing_is_stale),
        KIT_TEST(automatic_timestamps_never_go_back),
        KIT_TEST(automatic_follows_explicit),
        KIT_TEST(a_refused_timestamp_leaves_no_trace),
        KIT_TEST(every_writing_call_takes_a_timestamp),
        cmocka_unit_test(a_crash_takes_no_version_back),
    };
    return cmocka_run_group_tests_name("api/timestamps_versions", tests, NULL, NULL);
}
