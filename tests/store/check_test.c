/* check, salvage: what callers are told, word by word, and what it takes. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "base/atomic.h"
#include "store/store.h"
#include "support/kit.h"

#include <unistd.h>

static char heard[1024];

static void hear(void *context, const char *text) {
    (void)context;
    size_t used = strlen(heard);
    (void)snprintf(heard + used, sizeof heard - used, "%s\n", text);
}

static void expect_lines(kit *k, feox_status status, const char *lines) {
    heard[0] = '\0';
    assert_status(feox_check(k->store, NULL, hear, NULL), status);
    assert_string_equal(heard, lines);
}

/* A problem that belongs to no key and no place. */
static void plain_lines(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "value"));
    expect_lines(k, FEOX_OK, "");
    uint64_t *count = &k->store->engine.shards[0].table.count;
    *count += 1;
    expect_lines(k, FEOX_ERR_CORRUPT,
                 "shard 0: table: the count is wrong\norder: 1 keys, and 2 in the table\n");
    assert_status(feox_check(k->store, NULL, NULL, NULL), FEOX_ERR_CORRUPT);
    *count -= 1;
    expect_lines(k, FEOX_OK, "");
    assert_status(feox_check_with(k->store, 1u << 20, NULL, NULL, NULL), FEOX_ERR_ARGUMENT);
}

/* One of a key, with its place; a long key is cut, and what is not printable is shown in digits. */
static void lines_of_keys(void **state) {
    kit *k = *state;
    char key[600];
    char place[128];
    size_t size = 0;
    static unsigned char value[100000];
    for (unsigned round = 0; round < 2; round++) {
        size_t key_len = round == 0 ? 4 : sizeof key;
        const char byte = (char)('v' + (int)round);
        memset(value, byte, sizeof value);
        memcpy(key, "a\n\\\x80", 4);
        memset(key + 4, 'k', sizeof key - 4);
        assert_ok(feox_insert(k->store, key, key_len, value, sizeof value));
        assert_ok(feox_flush(k->store));
        unsigned char *file = fx_file_slurp(k->path, &size);
        unsigned char *at = memmem(file, size, value, sizeof value);
        assert_non_null(at);
        uint64_t offset = (uint64_t)(at - file);
        free(file);
        fx_file_patch(k->path, offset + 5, "!", 1);
        heard[0] = '\0';
        assert_status(feox_check(k->store, NULL, hear, NULL), FEOX_ERR_CORRUPT);
        (void)snprintf(place, sizeof place,
                       "the large value is damaged; 100000 bytes from byte %llu",
                       (unsigned long long)offset);
        assert_int_equal(strncmp(heard, place, strlen(place)), 0);
        assert_int_equal(strncmp(heard + strlen(place), "; key a\\x0a\\x5c\\x80", 19), 0);
        assert_true(strlen(heard) <= 320);
        assert_int_equal(heard[strlen(place) + 19], round == 0 ? '\n' : 'k');
        fx_file_patch(k->path, offset + 5, &byte, 1);
        assert_ok(feox_delete(k->store, key, key_len));
    }
}

/* ---- Salvage ---- */

#define VALUE ((size_t)1 << 20)
#define VALUES 66u

/* More than the new store keeps in memory. */
static void much_is_copied(void **state) {
    kit *k = *state;
    const char *copy = fx_temp_fresh("copy");
    unsigned char *value = kit_alloc(VALUE);
    feox_salvage_report report;
    for (unsigned i = 0; i < VALUES; i++) {
        kit_fill(value, VALUE, i);
        assert_ok(feox_insert(k->store, &i, sizeof i, value, VALUE));
    }
    kit_close(k);
    feox_salvage_report_init(&report);
    assert_ok(feox_salvage(k->path, copy, &report, NULL, NULL));
    assert_int_equal(report.keys_copied, VALUES);
    assert_int_equal(report.bytes_copied, VALUES * (VALUE + sizeof(unsigned)));
    fx_file_remove(k->path);
    k->path = copy;
    kit_open(k);
    for (unsigned i = 0; i < VALUES; i++) {
        size_t size = 0;
        assert_ok(feox_get_into(k->store, &i, sizeof i, value, VALUE, &size));
        assert_true(size == VALUE && kit_filled(value, VALUE, i));
    }
    free(value);
}

/* Without memory it is told, no copy is left, or one that holds what the report says. */
static void without_memory(void **state) {
    kit *k = *state;
    const char *copy = fx_temp_fresh("copy");
    unsigned refused = 0;
    static unsigned char value[100000];
    assert_ok(kit_put(k, "small", "value"));
    assert_ok(feox_insert(k->store, "large", 5, value, sizeof value));
    kit_close(k);
    for (uint64_t n = 1;; n += n < 60 ? 11 : 2) {
        feox_salvage_report report;
        feox_salvage_report_init(&report);
        fx_mem_fail_after(n, false);
        feox_status status = feox_salvage(k->path, copy, &report, NULL, NULL);
        uint64_t failed = fx_mem_failed();
        fx_mem_fail_after(0, false);
        refused += status != FEOX_OK;
        assert_true(status == FEOX_OK || (status == FEOX_ERR_MEMORY && failed > 0));
        assert_true(report.keys_copied <= 2 && report.keys_lost == 0);
        assert_true(status != FEOX_OK || report.keys_copied == 2);
        fx_file_remove(copy);
        if (failed == 0) {
            break;
        }
    }
    assert_true(refused > 10);
    kit_open(k);
    kit_expect(k, "small", "value");
}

/* What is tested is not the disk. */
int main(void) {
    fx_temp_in_memory();
    const struct CMUnitTest tests[] = {KIT_TEST(plain_lines), KIT_FILE(lines_of_keys),
                                       KIT_FILE(much_is_copied), KIT_FILE(without_memory)};
    return cmocka_run_group_tests_name("store/check", tests, NULL, NULL);
}
