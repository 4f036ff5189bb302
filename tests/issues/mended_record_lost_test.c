/* One wrong bit of a record in the journal was put right in memory when the file was opened; but
 * what was moved out of the journal then was the damaged record, as the device had it: the key's
 * value was lost with the next opening, and memory and file contradicted each other. */
#define _GNU_SOURCE
#include "support/kit.h"

/* What is before the key: of a record, and of one whose value lies elsewhere. */
enum { HEADER = 32, HEADER_LARGE = 48 };

static const char name[] = "the key that is searched for";

/* A file with one group in its journal, as a crash leaves it. */
static uint8_t *crashed(const char *value, size_t value_len, size_t *size_out) {
    feox_store *store = NULL;
    const char *path = fx_temp_fresh("store");
    assert_ok(feox_open(path, NULL, &store));
    assert_ok(feox_insert(store, name, sizeof name, value, value_len));
    assert_ok(feox_flush(store));
    uint8_t *bytes = fx_file_slurp(path, size_out);
    assert_ok(feox_close(store));
    return bytes;
}

static void has_value(feox_store *store, const char *value, size_t value_len) {
    void *found = NULL;
    size_t size = 0;
    assert_ok(feox_get(store, name, sizeof name, &found, &size));
    assert_int_equal(size, value_len);
    assert_memory_equal(found, value, value_len);
    feox_free(found);
    assert_ok(kit_check(store));
}

static void opens_right(const char *value, size_t value_len, size_t header) {
    size_t size = 0;
    uint8_t *bytes = crashed(value, value_len, &size);
    uint8_t *key = memmem(bytes, size, name, sizeof name);
    assert_non_null(key);
    for (size_t at = 0; at < header + sizeof name; at += 3) {
        uint8_t *byte = key - header + at;
        const char *path = fx_temp_fresh("damaged");
        feox_store *store = NULL;
        *byte ^= 0x10;
        fx_file_write(path, bytes, size);
        *byte ^= 0x10;
        for (int times = 0; times < 2; times++) {
            assert_ok(feox_open(path, NULL, &store));
            has_value(store, value, value_len);
            assert_ok(feox_close(store));
        }
        fx_file_remove(path);
    }
    free(bytes);
}

static void test_small(void **state) {
    (void)state;
    opens_right("a value in the record", 21, HEADER);
}

/* In a record of its own; the value's extent is as it should be. */
static void test_large(void **state) {
    (void)state;
    static char value[100000];
    memset(value, 'v', sizeof value);
    opens_right(value, sizeof value, HEADER_LARGE);
}

int main(void) {
    fx_temp_in_memory();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small), cmocka_unit_test(test_large)};
    return cmocka_run_group_tests_name("issues/mended_record_lost", tests, NULL, NULL);
}
