/* insert, get, get_into, delete, info, contains, count, clear; every size and every byte. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <limits.h>

static void basic(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "value"));
    do {
        kit_expect(k, "key", "value");
        assert_int_equal(kit_count(k), 1);
        kit_expect_absent(k, "ke");
        kit_expect_absent(k, "key2");
        kit_expect_absent(k, "Key");
    } while (kit_again(k));
}

static void update(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "first"));
    assert_ok(kit_put(k, "key", "second"));
    kit_expect(k, "key", "second");
    assert_ok(kit_put(k, "key", ""));
    kit_expect(k, "key", "");
    assert_ok(kit_put(k, "key", "a value that is longer than those before it, by far"));
    do {
        kit_expect(k, "key", "a value that is longer than those before it, by far");
        assert_int_equal(kit_count(k), 1);
    } while (kit_again(k));
}

static void delete_removes(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "a", "1"));
    assert_ok(kit_put(k, "b", "2"));
    kit_reopen(k);
    assert_ok(kit_delete(k, "a"));
    assert_status(kit_delete(k, "a"), FEOX_NOT_FOUND);
    do {
        kit_expect_absent(k, "a");
        kit_expect(k, "b", "2");
        assert_int_equal(kit_count(k), 1);
    } while (kit_again(k));
    assert_ok(kit_put(k, "a", "3"));
    do {
        kit_expect(k, "a", "3");
        assert_int_equal(kit_count(k), 2);
    } while (kit_again(k));
}

static void value_of_zero_bytes(void **state) {
    kit *k = *state;
    assert_ok(feox_insert(k->store, "null", 4, NULL, 0));
    assert_ok(feox_insert(k->store, "pointer", 7, "x", 0));
    do {
        kit_expect(k, "null", "");
        kit_expect(k, "pointer", "");
        void *value = NULL;
        size_t size = 9;
        assert_ok(feox_get(k->store, "null", 4, &value, &size));
        assert_non_null(value);
        assert_int_equal(size, 0);
        feox_free(value);
        assert_ok(feox_get_into(k->store, "null", 4, NULL, 0, &size));
        assert_int_equal(size, 0);
    } while (kit_again(k));
}

static void empty_key_is_refused(void **state) {
    kit *k = *state;
    assert_status(feox_insert(k->store, "", 0, "v", 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_insert(k->store, NULL, 0, "v", 1), FEOX_ERR_ARGUMENT);
    assert_int_equal(kit_count(k), 0);
    void *value = &value;
    size_t size = 5;
    assert_true(feox_get(k->store, "", 0, &value, &size) != FEOX_OK);
    assert_null(value);
    assert_int_equal(size, 0);
    assert_true(feox_contains(k->store, NULL, 0) != FEOX_OK);
    assert_true(feox_delete(k->store, NULL, 0) != FEOX_OK);
}

static void get_into_gives_the_length_and_what_fits(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "0123456789"));
    do {
        char buffer[16];
        size_t size = 0;
        memset(buffer, '#', sizeof buffer);
        assert_status(feox_get_into(k->store, "key", 3, buffer, 4, &size), FEOX_TRUNCATED);
        assert_int_equal(size, 10);
        assert_memory_equal(buffer, "0123############", 16);
        assert_status(feox_get_into(k->store, "key", 3, buffer, 9, NULL), FEOX_TRUNCATED);
        assert_memory_equal(buffer, "012345678#######", 16);
        assert_ok(feox_get_into(k->store, "key", 3, buffer, 10, NULL));
        assert_memory_equal(buffer, "0123456789######", 16);
        assert_ok(feox_get_into(k->store, "key", 3, buffer, 16, &size));
        assert_memory_equal(buffer, "0123456789######", 16);
        assert_status(feox_get_into(k->store, "key", 3, NULL, 0, &size), FEOX_TRUNCATED);
        assert_int_equal(size, 10);
    } while (kit_again(k));
}

static void get_returns_a_copy_of_ones_own(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "value"));
    void *value = NULL;
    size_t size = 0;
    assert_ok(feox_get(k->store, "key", 3, &value, &size));
    memset(value, '!', size);
    kit_expect(k, "key", "value");
    assert_ok(kit_delete(k, "key"));
    assert_memory_equal(value, "!!!!!", 5);
    feox_free(value);
}

static void insert_copies_what_it_is_given(void **state) {
    kit *k = *state;
    char key[] = "key";
    char value[] = "value";
    assert_ok(feox_insert(k->store, key, 3, value, 5));
    memset(key, 'x', 3);
    memset(value, 'x', 5);
    do {
        kit_expect(k, "key", "value");
    } while (kit_again(k));
}

static void every_byte_value_in_keys(void **state) {
    kit *k = *state;
    unsigned char key[256];
    for (unsigned i = 0; i < 256; i++) {
        key[0] = (unsigned char)i;
        assert_ok(feox_insert(k->store, key, 1, &i, sizeof i));
    }
    for (unsigned i = 0; i < 256; i++) {
        key[i] = (unsigned char)i;
    }
    assert_ok(feox_insert(k->store, key, 256, key, 256));
    do {
        assert_int_equal(kit_count(k), 257);
        kit_expect_bytes(k, key, 256, key, 256);
        feox_cursor *cursor = NULL;
        assert_ok(feox_cursor_open(k->store, NULL, &cursor));
        for (unsigned i = 0; i < 257; i++) {
            feox_slice found;
            feox_slice value;
            assert_ok(feox_cursor_next(cursor, &found, &value));
            if (i == 1) { /* "\0" < "\0\1\2..." < "\1" */
                assert_int_equal(found.size, 256);
                assert_memory_equal(found.data, key, 256);
                continue;
            }
            unsigned char byte = (unsigned char)(i == 0 ? 0 : i - 1);
            unsigned number = byte;
            assert_int_equal(found.size, 1);
            assert_memory_equal(found.data, &byte, 1);
            assert_memory_equal(value.data, &number, sizeof number);
        }
        assert_status(feox_cursor_next(cursor, &(feox_slice){0}, NULL), FEOX_END);
        feox_cursor_close(cursor);
    } while (kit_again(k));
}

/* Key lengths around everything that might be a boundary, values likewise. */
static void sizes_around_every_boundary(void **state) {
    kit *k = *state;
    static const size_t sizes[] = {1,    2,    7,    8,    9,    15,    16,    17,   31,
                                   32,   33,   63,   64,   65,   127,   128,   129,  255,
                                   256,  257,  511,  512,  513,  1023,  1024,  2047, 2048,
                                   4030, 4066, 4095, 4096, 4097, 8192,  16384, 32767,
                                   32768, 65534, 65535};
    size_t count = sizeof sizes / sizeof *sizes;
    unsigned char *key = kit_alloc(65535);
    unsigned char *value = kit_alloc(131072);
    for (size_t i = 0; i < count; i++) {
        kit_fill(key, sizes[i], i);
        kit_fill(value, sizes[count - 1 - i] * 2, i);
        assert_ok(feox_insert(k->store, key, sizes[i], value, sizes[count - 1 - i] * 2));
    }
    do {
        assert_int_equal(kit_count(k), count);
        assert_int_equal(kit_scan_count(k), count);
        for (size_t i = 0; i < count; i++) {
            kit_fill(key, sizes[i], i);
            kit_fill(value, sizes[count - 1 - i] * 2, i);
            kit_expect_bytes(k, key, sizes[i], value, sizes[count - 1 - i] * 2);
        }
    } while (kit_again(k));
    free(key);
    free(value);
}

static void long_keys_differ_in_their_last_byte(void **state) {
    kit *k = *state;
    unsigned char *key = kit_alloc(FEOX_KEY_SIZE_MAX + 1u);
    memset(key, 0xff, FEOX_KEY_SIZE_MAX + 1u);
    for (unsigned char i = 0; i < 16; i++) {
        key[FEOX_KEY_SIZE_MAX - 1] = (unsigned char)(i * 16);
        assert_ok(feox_insert(k->store, key, FEOX_KEY_SIZE_MAX, &i, 1));
    }
    assert_ok(feox_insert(k->store, key, FEOX_KEY_SIZE_MAX - 1, "short", 5));
    assert_status(feox_insert(k->store, key, FEOX_KEY_SIZE_MAX + 1u, "v", 1), FEOX_ERR_TOO_LARGE);
    assert_status(feox_insert(k->store, key, SIZE_MAX / 2, "v", 1), FEOX_ERR_TOO_LARGE);
    do {
        assert_int_equal(kit_count(k), 17);
        assert_int_equal(kit_scan_count(k), 17);
        for (unsigned char i = 0; i < 16; i++) {
            key[FEOX_KEY_SIZE_MAX - 1] = (unsigned char)(i * 16);
            kit_expect_bytes(k, key, FEOX_KEY_SIZE_MAX, &i, 1);
        }
        kit_expect_bytes(k, key, FEOX_KEY_SIZE_MAX - 1, "short", 5);
    } while (kit_again(k));
    free(key);
}

static void value_of_64_mib(void **state) {
    kit *k = *state;
    size_t size = (size_t)64 << 20;
    unsigned char *value = kit_alloc(size + 1);
    kit_fill(value, size, 64);
    assert_ok(kit_put(k, "before", "1"));
    assert_ok(feox_insert(k->store, "large", 5, value, size));
    assert_ok(kit_put(k, "then", "2"));
    assert_status(feox_insert(k->store, "then", 4, value, size + 1), FEOX_ERR_TOO_LARGE);
    assert_status(feox_insert(k->store, "new", 3, value, size + 1), FEOX_ERR_TOO_LARGE);
    assert_status(feox_insert(k->store, "then", 4, value, SIZE_MAX), FEOX_ERR_TOO_LARGE);
    do {
        assert_int_equal(kit_count(k), 3);
        feox_view view;
        assert_ok(feox_get_view(k->store, "large", 5, &view));
        assert_int_equal(view.size, size);
        assert_true(kit_filled(view.data, size, 64));
        feox_view_release(&view);
        memset(value, 0, 4096);
        assert_ok(feox_get_into(k->store, "large", 5, value, size, NULL));
        assert_true(kit_filled(value, size, 64));
        kit_expect(k, "before", "1");
        kit_expect(k, "then", "2");
        kit_expect_absent(k, "new");
        feox_cursor *cursor = NULL;
        assert_ok(feox_cursor_open(k->store, NULL, &cursor));
        feox_slice key;
        feox_slice found;
        assert_ok(feox_cursor_next(cursor, &key, &found));
        assert_ok(feox_cursor_next(cursor, &key, &found));
        assert_int_equal(found.size, size);
        assert_true(kit_filled(found.data, size, 64));
        assert_ok(feox_cursor_next(cursor, &key, &found));
        assert_memory_equal(key.data, "then", 4);
        assert_status(feox_cursor_next(cursor, &key, &found), FEOX_END);
        feox_cursor_close(cursor);
    } while (kit_again(k));
    assert_ok(kit_delete(k, "large"));
    free(value);
}

static void value_size_limit_is_kept(void **state) {
    kit *k = *state;
    k->options.value_size_limit = 10;
    kit_restart(k);
    assert_ok(kit_put(k, "key", "0123456789"));
    feox_key_info before = kit_info(k, "key");
    assert_status(kit_put(k, "key", "0123456789a"), FEOX_ERR_TOO_LARGE);
    assert_status(feox_compare_and_swap(k->store, "key", 3, "0123456789", 10, "0123456789a", 11),
                  FEOX_ERR_TOO_LARGE);
    assert_status(kit_put(k, "other", "0123456789a"), FEOX_ERR_TOO_LARGE);
    assert_ok(kit_put(k, "json", "{\"a\":1}"));
    assert_status(feox_json_merge(k->store, "json", 4, "{\"b\":12345}", 11), FEOX_ERR_TOO_LARGE);
    do {
        kit_expect(k, "key", "0123456789");
        kit_expect(k, "json", "{\"a\":1}");
        kit_expect_absent(k, "other");
        assert_int_equal(kit_info(k, "key").version, before.version);
    } while (kit_again(k));
}

/* A value that was legal when it was written stays readable when the limit is lower later. */
static void a_lower_limit_later_loses_nothing(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "0123456789"));
    kit_close(k);
    k->options.value_size_limit = 4;
    kit_open(k);
    kit_expect(k, "key", "0123456789");
    assert_status(kit_put(k, "key", "01234"), FEOX_ERR_TOO_LARGE);
    kit_expect(k, "key", "0123456789");
}

static void contains_and_info(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "value"));
    do {
        feox_key_info info = kit_info(k, "key");
        assert_int_equal(info.value_size, 5);
        assert_true(info.version > 0);
        assert_true(info.timestamp > 0);
        assert_int_equal(info.ttl_ms, -1);
    } while (kit_again(k));
}

static void clear_removes_everything(void **state) {
    kit *k = *state;
    for (uint32_t i = 0; i < 2000; i++) {
        assert_ok(feox_insert(k->store, &i, sizeof i, &i, i % 2 ? sizeof i : 0));
    }
    kit_reopen(k);
    assert_ok(feox_clear(k->store));
    do {
        assert_int_equal(kit_count(k), 0);
        assert_int_equal(kit_scan_count(k), 0);
        for (uint32_t i = 0; i < 2000; i += 97) {
            assert_status(feox_contains(k->store, &i, sizeof i), FEOX_NOT_FOUND);
        }
    } while (kit_again(k));
    assert_ok(kit_put(k, "after", "clear"));
    do {
        kit_expect(k, "after", "clear");
        assert_int_equal(kit_count(k), 1);
    } while (kit_again(k));
}

static void if_absent_and_if_present(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    write.flags = FEOX_IF_PRESENT;
    assert_status(feox_insert_with(k->store, "k", 1, "0", 1, &write, &written), FEOX_NOT_FOUND);
    assert_int_equal(written.version, 0);
    kit_expect_absent(k, "k");
    write.flags = FEOX_IF_ABSENT;
    assert_ok(feox_insert_with(k->store, "k", 1, "1", 1, &write, &written));
    assert_int_equal(written.created, 1);
    assert_true(written.version > 0);
    kit_expect(k, "k", "1");
    feox_written again;
    memset(&again, 0xff, sizeof again);
    assert_status(feox_insert_with(k->store, "k", 1, "2", 1, &write, &again), FEOX_EXISTS);
    assert_int_equal(again.version, 0);
    assert_int_equal(kit_info(k, "k").version, written.version);
    kit_expect(k, "k", "1");
    write.flags = FEOX_IF_PRESENT;
    assert_ok(feox_insert_with(k->store, "k", 1, "3", 1, &write, &again));
    assert_int_equal(again.created, 0);
    assert_true(again.version > written.version);
    do {
        kit_expect(k, "k", "3");
    } while (kit_again(k));
    write.flags = FEOX_IF_ABSENT;
    assert_status(feox_insert_with(k->store, "k", 1, "4", 1, &write, NULL), FEOX_EXISTS);
    assert_ok(kit_delete(k, "k"));
    assert_ok(feox_insert_with(k->store, "k", 1, "5", 1, &write, NULL));
    do { /* insert_if_absent_persistence */
        kit_expect(k, "k", "5");
    } while (kit_again(k));
}

static void if_version(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    write.flags = FEOX_IF_VERSION;
    write.version = 1;
    assert_status(feox_insert_with(k->store, "k", 1, "0", 1, &write, NULL), FEOX_NOT_FOUND);
    assert_ok(feox_insert_with(k->store, "k", 1, "1", 1, NULL, &written));
    write.version = written.version + 1;
    assert_status(feox_insert_with(k->store, "k", 1, "2", 1, &write, NULL), FEOX_MISMATCH);
    assert_status(feox_delete_with(k->store, "k", 1, &write, NULL), FEOX_MISMATCH);
    kit_expect(k, "k", "1");
    write.version = written.version;
    feox_written next;
    kit_reopen(k);
    assert_ok(feox_insert_with(k->store, "k", 1, "3", 1, &write, &next));
    assert_true(next.version > written.version);
    assert_status(feox_insert_with(k->store, "k", 1, "4", 1, &write, NULL), FEOX_MISMATCH);
    write.version = next.version;
    do {
        kit_expect(k, "k", "3");
        assert_int_equal(kit_info(k, "k").version, next.version);
    } while (kit_again(k));
    assert_ok(feox_delete_with(k->store, "k", 1, &write, NULL));
    assert_status(feox_delete_with(k->store, "k", 1, &write, NULL), FEOX_NOT_FOUND);
}

static void one_durable_write(void **state) {
    kit *k = *state;
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE;
    assert_ok(feox_insert_with(k->store, "a", 1, "1", 1, &write, NULL));
    assert_ok(feox_insert_with(k->store, "b", 1, "2", 1, &write, NULL));
    assert_ok(feox_delete_with(k->store, "a", 1, &write, NULL));
    if (k->file) { /* What a crash would leave behind at this moment. */
        const char *copy = fx_temp_fresh("durable");
        fx_file_copy(k->path, copy);
        feox_store *store = NULL;
        assert_ok(feox_open(copy, NULL, &store));
        assert_ok(feox_contains(store, "b", 1));
        assert_status(feox_contains(store, "a", 1), FEOX_NOT_FOUND);
        assert_ok(feox_close(store));
    }
    do {
        kit_expect_absent(k, "a");
        kit_expect(k, "b", "2");
    } while (kit_again(k));
}

static void a_durable_store(void **state) {
    kit *k = *state;
    k->options.durability = FEOX_DURABILITY_DURABLE;
    kit_restart(k);
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "k%d", i);
        assert_ok(kit_put(k, name, name));
        kit_expect(k, name, name);
    }
    if (k->file) {
        const char *copy = fx_temp_fresh("durable");
        fx_file_copy(k->path, copy);
        feox_store *store = NULL;
        uint64_t count = 0;
        assert_ok(feox_open(copy, NULL, &store));
        assert_ok(feox_count(store, &count));
        assert_int_equal(count, 50);
        assert_ok(feox_close(store));
    }
    do {
        assert_int_equal(kit_count(k), 50);
    } while (kit_again(k));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(basic),
        KIT_TEST(update),
        KIT_TEST(delete_removes),
        KIT_TEST(value_of_zero_bytes),
        KIT_TEST(empty_key_is_refused),
        KIT_TEST(get_into_gives_the_length_and_what_fits),
        KIT_TEST(get_returns_a_copy_of_ones_own),
        KIT_TEST(insert_copies_what_it_is_given),
        KIT_TEST(every_byte_value_in_keys),
        KIT_TEST(sizes_around_every_boundary),
        KIT_TEST(long_keys_differ_in_their_last_byte),
        KIT_TEST(value_of_64_mib),
        KIT_TEST(value_size_limit_is_kept),
        KIT_FILE(a_lower_limit_later_loses_nothing),
        KIT_TEST(contains_and_info),
        KIT_TEST(clear_removes_everything),
        KIT_TEST(if_absent_and_if_present),
        KIT_TEST(if_version),
        KIT_TEST(one_durable_write),
        KIT_TEST(a_durable_store),
    };
    return cmocka_run_group_tests_name("api/insert_get", tests, NULL, NULL);
}
