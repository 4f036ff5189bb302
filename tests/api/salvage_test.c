/* feox_salvage and feox_check_with, by a program that sees feox.h only: everything sound is in the
 * new store, the rest is told of, and the damaged file stays as it is. */
#define _GNU_SOURCE
#include "support/kit.h"

#define KEYS 300u

typedef struct told {
    unsigned count;
    unsigned places;
    char key[64]; /* the last one that was named */
} told;

static void tell(void *context, const feox_finding *finding) {
    told *t = context;
    assert_true(finding->text != NULL && strlen(finding->text) > 0);
    t->count++;
    t->places += finding->length > 0;
    if (finding->key != NULL && finding->key_len < sizeof t->key) {
        memcpy(t->key, finding->key, finding->key_len);
        t->key[finding->key_len] = '\0';
    }
}

static size_t value_size(unsigned i) {
    return i % 50 == 7 ? 100000u + i : i % 10 * 100u + 20u;
}

/* Keys k0.. with values that their numbers decide; every seventh is deleted again. */
static void fill(kit *k) {
    unsigned char *value = kit_alloc(200000);
    char key[32];
    feox_write write;
    feox_write_init(&write);
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        kit_fill(value, value_size(i), i);
        write.timestamp = 1000 + i;
        write.ttl_ms = i % 5 == 0 ? 1000000 + i : 0;
        assert_ok(feox_insert_with(k->store, key, strlen(key), value, value_size(i), &write, NULL));
    }
    for (unsigned i = 0; i < KEYS; i += 7) {
        (void)snprintf(key, sizeof key, "k%u", i);
        assert_ok(feox_delete(k->store, key, strlen(key)));
    }
    free(value);
    kit_close(k);
}

/* Everything that fill left is there, but `lost` keys. */
static void expect_filled(const char *path, unsigned lost) {
    feox_store *store = NULL;
    unsigned missing = 0;
    assert_ok(feox_open(path, NULL, &store));
    for (unsigned i = 0; i < KEYS; i++) {
        char key[32];
        void *value = NULL;
        size_t size = 0;
        feox_key_info info;
        (void)snprintf(key, sizeof key, "k%u", i);
        feox_status status = feox_get(store, key, strlen(key), &value, &size);
        if (i % 7 == 0) {
            assert_status(status, FEOX_NOT_FOUND);
            continue;
        }
        if (status == FEOX_NOT_FOUND) {
            missing++;
            continue;
        }
        assert_ok(status);
        assert_int_equal(size, value_size(i));
        assert_true(kit_filled(value, size, i));
        feox_free(value);
        assert_ok(feox_info(store, key, strlen(key), &info));
        assert_int_equal(info.timestamp, 1000 + i);
        assert_true(i % 5 != 0 ? info.ttl_ms == -1
                               : info.ttl_ms > 900000 && info.ttl_ms <= 1000000 + (int64_t)i);
    }
    assert_int_equal(missing, lost);
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
}

static unsigned keys_left(void) {
    return KEYS - (KEYS + 6) / 7;
}

/* Salvages k->path to a new file, and shows that the damaged one is as it was. */
static const char *salvage(kit *k, feox_status wanted, feox_salvage_report *report, told *t) {
    const char *out = fx_temp_fresh("salvaged");
    size_t size = 0;
    void *before = fx_file_slurp(k->path, &size);
    memset(t, 0, sizeof *t);
    feox_salvage_report_init(report);
    assert_status(feox_salvage(k->path, out, report, tell, t), wanted);
    assert_true(fx_file_equals(k->path, before, size));
    assert_int_equal(report->problems, t->count);
    free(before);
    return out;
}

static void sound_store(void **state) {
    kit *k = *state;
    feox_salvage_report report;
    told t;
    fill(k);
    const char *out = salvage(k, FEOX_OK, &report, &t);
    assert_int_equal(report.keys_copied, keys_left());
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.scanned, 0);
    expect_filled(out, 0);
    /* It is there now. */
    assert_status(feox_salvage(k->path, out, NULL, NULL, NULL), FEOX_EXISTS);
    expect_filled(out, 0);
    assert_status(feox_salvage(k->path, k->path, NULL, NULL, NULL), FEOX_EXISTS);
    assert_status(feox_salvage("/nowhere/at/all", fx_temp_fresh("o"), NULL, NULL, NULL),
                  FEOX_NOT_FOUND);
    assert_status(feox_salvage(NULL, out, NULL, NULL, NULL), FEOX_ERR_ARGUMENT);
    expect_filled(k->path, 0);
}

/* Changes a byte in the middle of every copy of the value. */
static void hurt_value(const char *path, unsigned i) {
    size_t size = 0;
    unsigned char *bytes = fx_file_slurp(path, &size);
    unsigned char *value = kit_alloc(value_size(i));
    unsigned hits = 0;
    kit_fill(value, value_size(i), i);
    for (size_t at = 0; at + 16 <= size; at++) {
        if (memcmp(bytes + at, value, 16) == 0) {
            unsigned char byte = bytes[at + 10] ^ 0x40;
            fx_file_patch(path, at + 10, &byte, 1);
            hits++;
        }
    }
    assert_true(hits > 0);
    free(value);
    free(bytes);
}

static void damaged_values(void **state) {
    kit *k = *state;
    feox_salvage_report report;
    feox_check_report check;
    told t = {0};
    fill(k);
    hurt_value(k->path, 57); /* large */
    k->options.read_only = FEOX_YES;
    kit_open(k);
    feox_check_report_init(&check);
    /* Opening has read it, so the quick check names it, too. */
    assert_status(feox_check_with(k->store, FEOX_CHECK_QUICK, &check, tell, &t), FEOX_ERR_CORRUPT);
    assert_string_equal(t.key, "k57");
    memset(&t, 0, sizeof t);
    assert_status(feox_check_with(k->store, 0, &check, tell, &t), FEOX_ERR_CORRUPT);
    assert_int_equal(check.records_damaged, 1);
    assert_true(t.count == 1 && t.places == 1);
    assert_string_equal(t.key, "k57");
    assert_status(feox_check_with(k->store, 0x80, &check, NULL, NULL), FEOX_ERR_ARGUMENT);
    kit_close(k);
    hurt_value(k->path, 58);
    hurt_value(k->path, 199);
    const char *out = salvage(k, FEOX_ERR_CORRUPT, &report, &t);
    assert_int_equal(report.keys_lost, 3);
    assert_int_equal(report.keys_copied, keys_left() - 3);
    assert_int_equal(report.problems, 3);
    expect_filled(out, 3);
}

static void keep_line(void *context, const char *text) {
    char *lines = context;
    (void)snprintf(lines + strlen(lines), 4096 - strlen(lines), "%s\n", text);
}

/* As lines of text: what is wrong, where, and whose it is, printable and of bounded length. */
static void damage_in_lines(void **state) {
    kit *k = *state;
    static const char odd[] = "a\\\x01 ~\x7f\xff\0z";
    static char long_key[5000];
    static char lines[4096];
    static const char *const keys[] = {odd, long_key};
    static const size_t key_lens[] = {sizeof odd - 1, sizeof long_key};
    memset(long_key, 'K', sizeof long_key);
    unsigned char value[500];
    for (unsigned i = 0; i < 2; i++) {
        kit_fill(value, value_size(13 + i), 13 + i);
        assert_ok(feox_insert(k->store, keys[i], key_lens[i], value, value_size(13 + i)));
    }
    assert_ok(feox_check(k->store, NULL, keep_line, lines));
    assert_string_equal(lines, "");
    kit_close(k);
    hurt_value(k->path, 13);
    hurt_value(k->path, 14);
    k->options.read_only = FEOX_YES;
    kit_open(k);
    assert_status(feox_check(k->store, NULL, keep_line, lines), FEOX_ERR_CORRUPT);
    const char *line = strstr(lines, "; key a\\x5c\\x01 ~\\x7f\\xff\\x00z\n");
    assert_non_null(line);
    assert_non_null(strstr(lines, " bytes from byte "));
    line = strstr(lines, "; key KKKK");
    assert_non_null(line);
    size_t length = strcspn(line, "\n");
    assert_true(length > 100 && length < 320);
    assert_int_equal(strspn(line + 6, "K"), length - 6);
    kit_close(k);
}

/* The new store has a name, in a directory that is there. */
static void no_place_for_it(void **state) {
    kit *k = *state;
    fill(k);
    assert_status(feox_salvage(k->path, NULL, NULL, NULL, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_salvage(k->path, "/nowhere/at/all", NULL, NULL, NULL), FEOX_ERR_IO);
    expect_filled(k->path, 0);
}

static void without_superblocks(void **state) {
    kit *k = *state;
    feox_salvage_report report;
    told t;
    unsigned char rubbish[8192];
    fill(k);
    kit_fill(rubbish, sizeof rubbish, 99);
    fx_file_patch(k->path, 0, rubbish, sizeof rubbish);
    const char *out = salvage(k, FEOX_ERR_CORRUPT, &report, &t);
    assert_int_equal(report.scanned, 1);
    assert_int_equal(report.keys_lost, 0);
    assert_int_equal(report.keys_copied, keys_left());
    expect_filled(out, 0);
    assert_status(feox_open(k->path, NULL, &k->store), FEOX_ERR_NOT_FEOX);
}

/* What was written for a key last is damaged: it is not replaced by an older value. */
static void no_older_value(void **state) {
    kit *k = *state;
    feox_salvage_report report;
    told t;
    unsigned char rubbish[8192];
    unsigned char value[500];
    assert_ok(feox_insert(k->store, "k", 1, "old", 3));
    assert_ok(feox_insert(k->store, "other", 5, "x", 1));
    assert_ok(feox_flush(k->store));
    kit_fill(value, value_size(3), 3);
    assert_ok(feox_insert(k->store, "k", 1, value, value_size(3)));
    kit_close(k);
    hurt_value(k->path, 3);
    kit_fill(rubbish, sizeof rubbish, 99);
    fx_file_patch(k->path, 0, rubbish, sizeof rubbish);
    const char *out = salvage(k, FEOX_ERR_CORRUPT, &report, &t);
    assert_int_equal(report.keys_copied, 1);
    assert_int_equal(report.keys_lost, 1);
    assert_string_equal(t.key, "k");
    assert_true(fx_file_exists(out));
}

/* A store that is damaged goes on being told of, however often it is opened. */
static void damage_is_not_forgotten(void **state) {
    kit *k = *state;
    feox_statistics stats;
    fill(k);
    size_t size = 0;
    unsigned char *bytes = fx_file_slurp(k->path, &size);
    unsigned char byte = 'X';
    for (size_t at = 8192; at + 20 < size; at++) { /* the key of a record, in front of its value */
        unsigned char head[16];
        kit_fill(head, 16, 101);
        if (memcmp(bytes + at, head, 16) == 0) {
            fx_file_patch(k->path, at - 2, &byte, 1);
        }
    }
    free(bytes);
    for (unsigned round = 0; round < 3; round++) {
        feox_check_report report;
        kit_open(k);
        feox_statistics_init(&stats);
        assert_ok(feox_stats(k->store, &stats));
        assert_int_equal(stats.corrupt_records, 1);
        assert_int_equal(stats.keys, keys_left() - 1);
        feox_check_report_init(&report);
        assert_status(feox_check(k->store, &report, NULL, NULL), FEOX_ERR_CORRUPT);
        assert_int_equal(report.records_damaged, 1);
        assert_ok(kit_put(k, "new", "value"));
        assert_ok(kit_delete(k, "new"));
        kit_close(k);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_FILE(sound_store),     KIT_FILE(damaged_values),          KIT_FILE(without_superblocks),
        KIT_FILE(no_older_value),  KIT_FILE(damage_is_not_forgotten), KIT_FILE(damage_in_lines),
        KIT_FILE(no_place_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
