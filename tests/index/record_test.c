/* record: every shape of record comes back as it went in, from a slot without a byte to spare (the
 * address sanitizer guards its ends); and readers that race with a writer see whole versions only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "index/record.h"

/* A slot of just the size of the record, 8-aligned, as the slab would hand out. */
static fx_record *slot_create(uint32_t meta) {
    uint8_t *slot = fx_mem_zalloc(8 + (size_t)fx_round_up(fx_meta_size(meta), 8));
    return slot != NULL ? (fx_record *)(void *)(slot + 8) : NULL;
}

static void slot_destroy(fx_record *record) {
    fx_mem_free((uint8_t *)record - 8);
}

static void fill_bytes(uint8_t *to, size_t size, uint64_t seed) {
    fx_rng rng;
    fx_rng_init(&rng, seed);
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)fx_rng_next(&rng);
    }
}

static void assert_reads(fx_record *record, const uint8_t *key, size_t key_len,
                         const fx_record_fields *want) {
    uint8_t buffer[64];
    fx_record_view view;
    for (size_t room = 0; room <= want->value_len + 1; room++) {
        memset(buffer, 0xee, sizeof buffer);
        memset(&view, 0xee, sizeof view);
        assert_int_equal(fx_record_read(record, true, key, key_len, buffer, room, &view),
                         FX_READ_OK);
        size_t copied = want->in_block ? 0 : want->value_len < room ? want->value_len : room;
        assert_true(copied == 0 || memcmp(buffer, want->value, copied) == 0);
        for (size_t i = copied; i < sizeof buffer; i++) {
            assert_int_equal(buffer[i], 0xee);
        }
        assert_int_equal(view.value_len, want->value_len);
        assert_int_equal(view.version, want->version);
        assert_int_equal(view.timestamp, want->timestamp);
        assert_int_equal(view.expiry_ns, want->expiry_ns);
        assert_int_equal(view.location, 0x1122334455667788);
        assert_int_equal(view.in_block, want->in_block);
        assert_ptr_equal(view.block, want->in_block ? want->block : NULL);
    }
    assert_int_equal(fx_record_read(record, false, key, key_len, NULL, 0, &view), FX_READ_OK);
    assert_int_equal(view.location, 0);
    assert_int_equal(fx_record_key_len(record), key_len);
    assert_memory_equal(fx_record_key(record), key, key_len);
    assert_int_equal(fx_record_value_len(record), want->value_len);
    assert_int_equal(fx_record_expiry(record), want->expiry_ns);
    assert_int_equal(fx_record_version(record), want->version);
    assert_int_equal(fx_record_location(record), 0x1122334455667788);
    assert_ptr_equal(fx_record_block(record), want->in_block ? want->block : NULL);
}

static void assert_other_keys(const fx_record *record, const uint8_t *key, size_t key_len) {
    uint8_t other[64];
    fx_record_view view;
    memcpy(other, key, key_len);
    other[key_len] = 0;
    for (size_t i = 0; i < key_len; i++) {
        other[i] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(fx_record_read(record, true, other, key_len, NULL, 0, &view),
                         FX_READ_OTHER_KEY);
        other[i] = key[i];
    }
    assert_int_equal(fx_record_read(record, true, other, key_len + 1, NULL, 0, &view),
                     FX_READ_OTHER_KEY);
    assert_int_equal(fx_record_read(record, true, other, key_len - 1, NULL, 0, &view),
                     FX_READ_OTHER_KEY);
}

static void round_trip(size_t key_len, size_t value_len, bool ttl, fx_block *block) {
    uint8_t key[64];
    uint8_t value[64];
    fill_bytes(key, key_len, key_len + 1);
    fill_bytes(value, value_len, value_len + 1000);
    fx_record_fields fields = {.version = 1 + ((uint64_t)1 << 61) + value_len,
                               .timestamp = UINT64_MAX - key_len,
                               .expiry_ns = ttl ? 0x0102030405060708 + value_len : 0,
                               .value = value,
                               .value_len = value_len,
                               .block = block,
                               .in_block = block != NULL};
    uint32_t meta = fx_record_meta_of(key_len, &fields);
    fx_record *record = slot_create(meta);
    assert_non_null(record);
    fx_record_view view;
    assert_int_equal(fx_record_read(record, true, key, key_len, NULL, 0, &view), FX_READ_RETRY);
    fx_record_fill(record, key, key_len, &fields);
    fx_record_set_location(record, 0x1122334455667788);
    assert_int_equal(fx_record_read(record, true, key, key_len, NULL, 0, &view), FX_READ_RETRY);
    fx_record_publish(record, fields.version);
    assert_reads(record, key, key_len, &fields);
    assert_other_keys(record, key, key_len);

    /* Shorter in place, and back: the key must stay. */
    fx_record_fields shorter = fields;
    shorter.version++;
    shorter.timestamp = 5;
    shorter.value_len = value_len / 2;
    shorter.value = value + value_len - shorter.value_len;
    shorter.expiry_ns = ttl ? 9 : 0;
    fx_record_overwrite(record, &shorter);
    assert_reads(record, key, key_len, &shorter);
    fields.version += 2;
    fx_record_overwrite(record, &fields);
    assert_reads(record, key, key_len, &fields);

    fx_record_kill(record);
    assert_int_equal(fx_record_read(record, true, key, key_len, NULL, 0, &view), FX_READ_RETRY);
    slot_destroy(record);
}

static void test_round_trips(void **state) {
    (void)state;
    fx_block *block = fx_block_create(NULL, "x", 1);
    assert_non_null(block);
    for (size_t key_len = 1; key_len <= 40; key_len++) {
        for (size_t value_len = 0; value_len <= 40; value_len++) {
            round_trip(key_len, value_len, false, NULL);
            round_trip(key_len, value_len, true, NULL);
        }
        round_trip(key_len, key_len, false, block);
        round_trip(key_len, key_len, true, block);
    }
    fx_block_release(block);
}

static void test_longest(void **state) {
    (void)state;
    uint8_t *bytes = fx_mem_alloc(2 * (size_t)FEOX_KEY_SIZE_MAX);
    assert_non_null(bytes);
    fill_bytes(bytes, 2 * (size_t)FEOX_KEY_SIZE_MAX, 3);
    fx_record_fields fields = {
        .version = 7, .value = bytes + 99, .value_len = FX_INLINE_VALUE_MAX, .expiry_ns = 1};
    uint32_t meta = fx_record_meta_of(FEOX_KEY_SIZE_MAX, &fields);
    assert_int_equal(fx_meta_size(meta), 32 + FEOX_KEY_SIZE_MAX + FX_INLINE_VALUE_MAX);
    fx_record *record = slot_create(meta);
    assert_non_null(record);
    fx_record_fill(record, bytes, FEOX_KEY_SIZE_MAX, &fields);
    fx_record_publish(record, 7);
    fx_record_view view;
    uint8_t *out = bytes + FEOX_KEY_SIZE_MAX;
    assert_int_equal(
        fx_record_read(record, true, bytes, FEOX_KEY_SIZE_MAX, out, FX_INLINE_VALUE_MAX, &view),
        FX_READ_OK);
    assert_memory_equal(out, bytes + 99, FX_INLINE_VALUE_MAX);
    slot_destroy(record);
    fx_mem_free(bytes);
}

static void test_block(void **state) {
    (void)state;
    fx_block *block = fx_block_create(NULL, "hello", 5);
    assert_non_null(block);
    assert_int_equal(block->size, 5);
    assert_memory_equal(block->data, "hello", 5);
    fx_record_fields fields = {
        .version = 1, .value_len = (uint64_t)1 << 30, .block = block, .in_block = true};
    fx_record *record = slot_create(fx_record_meta_of(3, &fields));
    assert_non_null(record);
    fx_record_fill(record, "key", 3, &fields);
    fx_record_publish(record, 1);
    fx_record_set_block(record, NULL); /* on disk only: same version, same length */
    fx_record_view view;
    assert_int_equal(fx_record_read(record, true, "key", 3, NULL, 0, &view), FX_READ_OK);
    assert_true(view.in_block);
    assert_null(view.block);
    assert_int_equal(view.value_len, (uint64_t)1 << 30);
    assert_int_equal(view.version, 1);
    assert_null(fx_record_block(record));
    fx_record_set_block(record, block);
    assert_ptr_equal(fx_record_block(record), block);
    slot_destroy(record);
    fx_block_acquire(block);
    fx_block_release(block);
    fx_block_release(block); /* the last: the address sanitizer sees a leak or a second free */
    fx_block_release(NULL);
    fx_mem_fail_after(1, false);
    assert_null(fx_block_create(NULL, "x", 1));
}

/* ---- Races: one slot, one writer, several readers ---- */

#define READERS 3
#define KEYS 3
#define SLOT_SIZE 160
#define ROUNDS 60000u

static const char *const race_keys[KEYS] = {"key-a", "another-key-of-b", "c"};

typedef struct race {
    uint64_t words[1 + SLOT_SIZE / 8];
    fx_block *blocks[4];
    uint32_t stop;
    uint32_t errors;
    uint64_t reads_ok[KEYS];
    uint64_t reads_other;
    uint64_t reads_retry;
} race;

static fx_record *race_record(race *r) {
    return (fx_record *)(void *)&r->words[1];
}

/* All that belongs to a version follows from its number and the key's. */
static size_t race_value_len(uint64_t version) {
    return (size_t)(version * 7 % 70);
}

static void race_fields(race *r, size_t key, uint64_t version, bool ttl, bool in_block,
                        uint8_t *value, fx_record_fields *out) {
    size_t len = race_value_len(version);
    memset(value, (int)(uint8_t)(version * 5 + key), len);
    *out = (fx_record_fields){.version = version,
                              .timestamp = version * 3 + key,
                              .expiry_ns = ttl ? version * 11 + 1 : 0,
                              .value = value,
                              .value_len = in_block ? version : len,
                              .block = in_block ? r->blocks[version % 4] : NULL,
                              .in_block = in_block};
}

static bool race_is_whole(const race *r, const fx_record_view *view, size_t key,
                          const uint8_t *value) {
    uint64_t version = view->version;
    if (view->timestamp != version * 3 + key ||
        (view->expiry_ns != 0 && view->expiry_ns != version * 11 + 1)) {
        return false;
    }
    if (view->in_block) {
        return view->value_len == version &&
               (view->block == NULL ? view->location == version
                                    : view->block == r->blocks[version % 4]);
    }
    if (view->value_len != race_value_len(version)) {
        return false;
    }
    for (size_t i = 0; i < view->value_len; i++) {
        if (value[i] != (uint8_t)(version * 5 + key)) {
            return false;
        }
    }
    return true;
}

static void *race_reader(void *argument) {
    race *r = argument;
    uint64_t newest = 0;
    for (uint64_t i = 0; fx_load_relaxed(&r->stop) == 0; i++) {
        size_t key = (size_t)(i % KEYS);
        uint8_t value[SLOT_SIZE];
        fx_record_view view;
        fx_read_result result = fx_record_read(race_record(r), true, race_keys[key],
                                               strlen(race_keys[key]), value, sizeof value, &view);
        if (result == FX_READ_OK) {
            if (!race_is_whole(r, &view, key, value) || view.version < newest) {
                fx_add_relaxed(&r->errors, 1u);
            }
            newest = view.version;
            fx_add_relaxed(&r->reads_ok[key], (uint64_t)1);
        } else {
            fx_add_relaxed(result == FX_READ_OTHER_KEY ? &r->reads_other : &r->reads_retry,
                           (uint64_t)1);
        }
    }
    return NULL;
}

/* Lives of records in the slot: filled with one key, overwritten some times, killed. */
static void race_write(race *r, fx_rng *rng) {
    fx_record *record = race_record(r);
    uint64_t version = 0;
    bool enough = false;
    while (version < ROUNDS || !enough) {
        size_t key = (size_t)fx_rng_below(rng, KEYS);
        bool ttl = fx_rng_below(rng, 2) == 0;
        bool in_block = fx_rng_below(rng, 3) == 0;
        uint8_t value[SLOT_SIZE];
        fx_record_fields fields;
        race_fields(r, key, ++version, ttl, in_block, value, &fields);
        fx_record_fill(record, race_keys[key], strlen(race_keys[key]), &fields);
        fx_record_set_location(record, 0);
        fx_record_publish(record, version);
        for (uint64_t more = fx_rng_below(rng, 8); more > 0; more--) {
            if (in_block) { /* written to disk, then dropped from memory */
                fx_record_set_location(record, version);
                fx_record_set_block(record, NULL);
            }
            race_fields(r, key, ++version, ttl, in_block, value, &fields);
            fx_record_overwrite(record, &fields);
            if (fx_rng_below(rng, 64) == 0) {
                (void)sched_yield();
            }
        }
        fx_record_kill(record);
        enough = fx_load_relaxed(&r->errors) != 0 || fx_load_relaxed(&r->reads_other) > 500;
        for (size_t k = 0; k < KEYS; k++) {
            enough = enough && fx_load_relaxed(&r->reads_ok[k]) > 500;
        }
    }
}

static void test_race(void **state) {
    (void)state;
    race r;
    memset(&r, 0, sizeof r);
    for (size_t i = 0; i < 4; i++) {
        r.blocks[i] = fx_block_create(NULL, NULL, 8);
        assert_non_null(r.blocks[i]);
    }
    pthread_t threads[READERS];
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race_reader, &r), 0);
    }
    fx_rng rng;
    fx_rng_init(&rng, 42);
    race_write(&r, &rng);
    fx_store_relaxed(&r.stop, 1u);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(r.errors, 0);
    for (size_t i = 0; i < 4; i++) {
        fx_block_release(r.blocks[i]);
    }
}

/* A pinned scanner takes the key as plain bytes while the value beside it is overwritten. */
static void *key_reader(void *argument) {
    race *r = argument;
    const fx_record *record = race_record(r);
    while (fx_load_relaxed(&r->stop) == 0) {
        if (fx_record_key_len(record) != 5 || memcmp(fx_record_key(record), "key-a", 5) != 0) {
            fx_add_relaxed(&r->errors, 1u);
        }
        fx_add_relaxed(&r->reads_other, (uint64_t)1);
    }
    return NULL;
}

static void test_key_stays_during_overwrite(void **state) {
    (void)state;
    race r;
    memset(&r, 0, sizeof r);
    fx_record *record = race_record(&r);
    uint8_t value[SLOT_SIZE];
    fx_record_fields fields;
    race_fields(&r, 0, 1, false, false, value, &fields);
    fx_record_fill(record, race_keys[0], strlen(race_keys[0]), &fields);
    fx_record_publish(record, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, key_reader, &r), 0);
    for (uint64_t version = 2; version < ROUNDS || fx_load_relaxed(&r.reads_other) < 500;
         version++) {
        race_fields(&r, 0, version, false, false, value, &fields);
        fx_record_overwrite(record, &fields);
    }
    fx_store_relaxed(&r.stop, 1u);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r.errors, 0);
}

/* A plain value is copied behind its key; what else a record holds, or a dead one, is not told. */
static void test_copy(void **state) {
    (void)state;
    static const uint8_t value[] = "twelve bytes";
    enum { SIZE = sizeof value - 1 };
    for (unsigned shape = 0; shape < 4; shape++) { /* plain, mortal, in a block, killed */
        fx_record_fields fields = {.version = 9,
                                   .expiry_ns = shape == 1 ? 77 : 0,
                                   .value = value,
                                   .value_len = SIZE,
                                   .in_block = shape == 2};
        fx_record *record = slot_create(fx_record_meta_of(3, &fields));
        assert_non_null(record);
        fx_record_fill(record, (const uint8_t *)"key", 3, &fields);
        fx_record_publish(record, fields.version);
        if (shape == 3) {
            fx_record_kill(record);
        }
        uint8_t buffer[3 + FX_INLINE_VALUE_MAX];
        size_t size = 0;
        uint64_t found = fx_record_copy(record, buffer, &size);
        assert_int_equal(found != 0, shape == 0);
        if (found != 0) {
            assert_int_equal(size, SIZE);
            assert_memory_equal(buffer, "keytwelve bytes", 3 + SIZE);
            assert_true(fx_record_unchanged(record, found));
            fx_record_kill(record);
            assert_false(fx_record_unchanged(record, found));
        }
        slot_destroy(record);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_longest),
        cmocka_unit_test(test_block),       cmocka_unit_test(test_copy),
        cmocka_unit_test(test_race),        cmocka_unit_test(test_key_stays_during_overwrite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
