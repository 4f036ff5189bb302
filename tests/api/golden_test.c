/* Files of the formats that were released, byte for byte as they were written then: each opens, and
 * what is in it is there, whatever becomes of the code. They lie in tests/api/golden, as text.
 *
 * FEOX_GOLDEN=PREFIX writes them anew, PREFIX-closed.txt and PREFIX-groups.txt: once for a format,
 * when it is final. */
#define _GNU_SOURCE
#include <unistd.h>

#include "support/campaign.h"
#include "support/kit.h"

#define LARGE 70000u
#define CENTURY_MS ((uint64_t)100 * 365 * 86400 * 1000)

static const char binary_key[] = {0, (char)0xff, 'k', 0, '\n'};

/* ---- Files as text: OFFSET HEX, or OFFSET=COUNT HEX of one byte that repeats; the rest is 0 ----
 */

static void text_write(const char *path, const uint8_t *bytes, size_t size) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    (void)fprintf(out, "size %zu\n", size);
    for (size_t at = 0; at < size;) {
        size_t run = 1;
        while (at + run < size && bytes[at + run] == bytes[at]) {
            run++;
        }
        if (run >= 32) {
            if (bytes[at] != 0) {
                (void)fprintf(out, "%zu=%zu %02x\n", at, run, bytes[at]);
            }
            at += run;
            continue;
        }
        size_t end = at + 1;
        while (end < size && end - at < 32 && end % 32 != 0) {
            end++;
        }
        (void)fprintf(out, "%zu ", at);
        for (; at < end; at++) {
            (void)fprintf(out, "%02x", bytes[at]);
        }
        (void)fputc('\n', out);
    }
    assert_int_equal(fclose(out), 0);
}

static uint8_t *text_read(const char *path, size_t *size_out) {
    char line[200];
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_non_null(fgets(line, sizeof line, in));
    assert_int_equal(sscanf(line, "size %zu", size_out), 1);
    uint8_t *bytes = calloc(1, *size_out);
    assert_non_null(bytes);
    while (fgets(line, sizeof line, in) != NULL) {
        char *rest = line;
        size_t at = strtoull(rest, &rest, 10);
        size_t count = *rest == '=' ? strtoull(rest + 1, &rest, 10) : 1;
        unsigned byte = 0;
        assert_int_equal(*rest, ' ');
        for (rest++; sscanf(rest, "%2x", &byte) == 1; rest += 2) {
            assert_true(at < *size_out && count <= *size_out - at);
            memset(bytes + at, (int)byte, count);
            at += count;
        }
    }
    (void)fclose(in);
    return bytes;
}

/* ---- What is in them ---- */

static void fill(feox_store *store) {
    static uint8_t large[LARGE];
    feox_write durable;
    feox_write lasting;
    feox_write_init(&durable);
    feox_write_init(&lasting);
    durable.flags = FEOX_DURABLE;
    lasting.ttl_ms = CENTURY_MS;
    memset(large, 'L', sizeof large);
    for (uint32_t i = 0; i < 20; i++) {
        char key[16];
        int length = snprintf(key, sizeof key, "key-%02u", i);
        assert_ok(feox_insert(store, key, (size_t)length, "value", i % 6));
    }
    assert_ok(feox_insert(store, binary_key, sizeof binary_key, binary_key, sizeof binary_key));
    assert_ok(feox_insert(store, "large", 5, large, sizeof large));
    assert_ok(feox_insert_with(store, "lasting", 7, "for a century", 13, &lasting, NULL));
    assert_ok(feox_flush(store));
    assert_ok(feox_delete(store, "key-07", 6));
    assert_ok(feox_insert(store, "key-08", 6, "changed", 7));
    assert_ok(feox_flush(store));
    assert_ok(feox_increment_with(store, "counter", 7, -42, &durable, NULL, NULL));
}

static void expect(kit *k) {
    for (uint32_t i = 0; i < 20; i++) {
        char key[16];
        int length = snprintf(key, sizeof key, "key-%02u", i);
        if (i == 7) {
            kit_expect_absent(k, key);
        } else if (i == 8) {
            kit_expect_bytes(k, key, (size_t)length, "changed", 7);
        } else {
            kit_expect_bytes(k, key, (size_t)length, "value", i % 6);
        }
    }
    static uint8_t large[LARGE];
    memset(large, 'L', sizeof large);
    kit_expect_bytes(k, binary_key, sizeof binary_key, binary_key, sizeof binary_key);
    kit_expect_bytes(k, "large", 5, large, sizeof large);
    kit_expect_bytes(k, "lasting", 7, "for a century", 13);
    kit_expect_bytes(k, "counter", 7, &(int64_t){-42}, 8);
    assert_int_equal(kit_count(k), 19 + 4);
    feox_key_info info;
    assert_ok(feox_info(k->store, "lasting", 7, &info));
    assert_true(info.ttl_ms > 0 && (uint64_t)info.ttl_ms <= CENTURY_MS);
}

/* ---- Tests ---- */

static void open_as(const char *name, const char *prefix) {
    campaign c;
    campaign_begin(&c, name);
    char path[600];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "%s/tests/api/golden/%s.txt", FEOX_SOURCE_DIR, prefix);
    uint8_t *bytes = text_read(path, &size);
    for (int read_only = 1; read_only >= 0; read_only--) { /* and then for good */
        kit k = {.file = true, .path = fx_temp_fresh("golden")};
        feox_options_init(&k.options);
        k.options.read_only = read_only == 1 ? FEOX_YES : FEOX_NO;
        FILE *out = fopen(k.path, "w");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, 1, size, out), size);
        assert_int_equal(fclose(out), 0);
        assert_ok(feox_open(k.path, &k.options, &k.store));
        expect(&k);
        assert_ok(kit_check(k.store));
        assert_ok(feox_close(k.store));
        if (read_only == 0) { /* and written by this code */
            assert_ok(feox_open(k.path, &k.options, &k.store));
            expect(&k);
            assert_ok(kit_check(k.store));
            assert_ok(feox_close(k.store));
        }
        c.cases++;
    }
    free(bytes);
    campaign_end(&c);
}

static void closed(void **state) {
    (void)state;
    open_as("C17 golden files, closed", "version-1-closed");
}

static void with_groups(void **state) {
    (void)state;
    open_as("C17 golden files, with groups", "version-1-groups");
}

static void write_one(const char *prefix, const char *suffix, const char *path) {
    char out[600];
    size_t size = 0;
    void *bytes = fx_file_slurp(path, &size);
    (void)snprintf(out, sizeof out, "%s-%s.txt", prefix, suffix);
    text_write(out, bytes, size);
    free(bytes);
}

static void write_all(const char *prefix) {
    const char *path = fx_temp_fresh("golden");
    feox_options options;
    feox_store *store = NULL;
    feox_options_init(&options);
    options.file_size_limit = 4 << 20;
    assert_ok(feox_open(path, &options, &store));
    fill(store);
    write_one(prefix, "groups", path);
    assert_ok(feox_close(store));
    write_one(prefix, "closed", path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(closed), cmocka_unit_test(with_groups)};
    if (getenv("FEOX_GOLDEN") != NULL) {
        write_all(getenv("FEOX_GOLDEN"));
        return 0;
    }
    return cmocka_run_group_tests_name("api/golden", tests, NULL, NULL);
}
