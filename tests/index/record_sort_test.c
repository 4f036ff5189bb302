/* record_sort: against a sort by whole keys, over keys that share much, little, or all but their
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "index/record_sort.h"

#define KEY_MAX 1500u

typedef struct holder {
    uint64_t location; /* before the record: record.h */
    fx_record record;
    uint8_t rest[KEY_MAX + 16];
} holder;

static fx_record *record_make(const uint8_t *key, size_t len) {
    holder *h = calloc(1, sizeof *h);
    const fx_record_fields fields = {.version = 1, .timestamp = 1};
    assert_non_null(h);
    fx_record_fill(&h->record, key, len, &fields);
    fx_record_publish(&h->record, 1);
    return &h->record;
}

static void record_free(fx_record *record) {
    free((uint8_t *)record - offsetof(holder, record));
}

static int by_key(const void *left, const void *right) {
    const fx_record *a = *(fx_record *const *)left;
    const fx_record *b = *(fx_record *const *)right;
    size_t a_len = fx_record_key_len(a);
    size_t b_len = fx_record_key_len(b);
    int order = memcmp(fx_record_key(a), fx_record_key(b), a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* Sorts copies both ways; of keys that came twice one stays. */
static void check_sorted(fx_record **records, size_t count) {
    fx_record **want = malloc((count + 1) * sizeof *want);
    assert_non_null(want);
    memcpy(want, records, count * sizeof *want);
    qsort(want, count, sizeof *want, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && by_key(&want[kept - 1], &want[i]) == 0) {
            for (size_t k = 0; k < count; k++) { /* rare: the sort wants different keys */
                records[k] = records[k] == want[i] ? NULL : records[k];
            }
            record_free(want[i]);
        } else {
            want[kept++] = want[i];
        }
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (records[i] != NULL) {
            records[at++] = records[i];
        }
    }
    assert_true(fx_record_sort(records, kept));
    for (size_t i = 0; i < kept; i++) {
        assert_ptr_equal(records[i], want[i]);
        record_free(want[i]);
    }
    free(want);
}

/* Writes a key; returns its length. */
typedef size_t (*maker)(fx_rng *rng, size_t i, uint8_t *key);

static size_t any_bytes(fx_rng *rng, size_t i, uint8_t *key) {
    (void)i;
    for (size_t k = 0; k < 16; k++) {
        key[k] = (uint8_t)fx_rng_next(rng);
    }
    return 16;
}

/* Few bytes, zeros among them, and of every length: one is often the beginning of another. */
static size_t short_of_few_bytes(fx_rng *rng, size_t i, uint8_t *key) {
    size_t len = 1 + (size_t)(fx_rng_next(rng) % 20);
    (void)i;
    for (size_t k = 0; k < len; k++) {
        key[k] = (uint8_t)(fx_rng_next(rng) % 2 * 255);
    }
    return len;
}

static size_t numbered(fx_rng *rng, size_t i, uint8_t *key) {
    (void)rng;
    return (size_t)snprintf((char *)key, KEY_MAX, "user:%08zu", (size_t)(i * 7919 % 1000003));
}

/* Nothing but zeros, one more in each: they differ in nothing that heads can show. */
static size_t zeros(fx_rng *rng, size_t i, uint8_t *key) {
    (void)rng;
    memset(key, 0, KEY_MAX);
    return 1 + i % KEY_MAX;
}

/* They differ behind all that is dealt out. */
static size_t late(fx_rng *rng, size_t i, uint8_t *key) {
    memset(key, 'x', 700);
    (void)snprintf((char *)key + 700, 32, "%016llx", (unsigned long long)fx_rng_next(rng));
    return 700 + 8 + i % 8;
}

/* Each splits off from the rest a byte later: the deepest nesting. */
static size_t stairs(fx_rng *rng, size_t i, uint8_t *key) {
    size_t step = i / 30 % 200;
    memset(key, 'a', step);
    key[step] = (uint8_t)('b' + i % 20);
    key[step + 1] = (uint8_t)fx_rng_next(rng);
    key[step + 2] = (uint8_t)fx_rng_next(rng);
    return step + 3;
}

static void every_kind_of_key(void **state) {
    static const maker makers[] = {any_bytes, short_of_few_bytes, numbered, zeros, late, stairs};
    static const size_t counts[] = {0, 1, 2, 20, 21, 300, 6000};
    const char *given = getenv("FEOX_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 20261127;
    fx_rng rng;
    fx_rng_init(&rng, seed);
    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    for (size_t m = 0; m < sizeof makers / sizeof *makers; m++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            fx_record **records = malloc((counts[c] + 1) * sizeof *records);
            assert_non_null(records);
            for (size_t i = 0; i < counts[c]; i++) {
                uint8_t key[KEY_MAX + 16];
                size_t len = makers[m](&rng, i, key);
                records[i] = record_make(key, len);
            }
            check_sorted(records, counts[c]);
            free(records);
        }
    }
}

static void without_memory_nothing_moves(void **state) {
    fx_record *records[3];
    (void)state;
    records[0] = record_make((const uint8_t *)"c", 1);
    records[1] = record_make((const uint8_t *)"a", 1);
    records[2] = record_make((const uint8_t *)"b", 1);
    fx_record *const before[3] = {records[0], records[1], records[2]};
    fx_mem_fail_after(1, false);
    assert_false(fx_record_sort(records, 3));
    fx_mem_fail_after(0, false);
    assert_memory_equal(records, before, sizeof before);
    check_sorted(records, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_key),
        cmocka_unit_test(without_memory_nothing_moves),
    };
    return cmocka_run_group_tests_name("index/record_sort", tests, NULL, NULL);
}
