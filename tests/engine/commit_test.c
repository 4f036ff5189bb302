/* commit: updates in place stay inside their slots; and what was dropped from memory because it is
 * on disk comes back from there whole, whatever its size and its key's, and stays if there is room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/check.h"
#include "engine/fetch.h"
#include "engine/order.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

enum { KEY_MAX = 9000, VALUE_MAX = (2 << 20) + (200 << 10) };

typedef struct world {
    mem_dev *dev;
    stage stage;
    uint8_t key[KEY_MAX];
    uint8_t value[VALUE_MAX];
    uint8_t buffer[VALUE_MAX];
} world;

static world *world_create(void) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(1);
    w->stage.door = mem_dev_door(w->dev);
    w->stage.ordered = true;
    w->stage.shard_count = 2;
    assert_int_equal(stage_open(&w->stage, false), FEOX_OK);
    return w;
}

static void world_destroy(world *w) {
    stage_expect_sound(&w->stage);
    assert_int_equal(stage_close(&w->stage), FEOX_OK);
    mem_dev_destroy(w->dev);
    free(w);
}

/* Key and value of a number, in w->key and w->value; no two pages of a value are alike. */
static fx_change change_of(world *w, uint32_t number, size_t key_len, size_t value_len) {
    memset(w->key, (int)('a' + number % 20), key_len);
    memcpy(w->key, &number, sizeof number);
    for (size_t i = 0; i < value_len; i++) {
        w->value[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8) + (i >> 16) * 3);
    }
    return (fx_change){.key = w->key,
                       .key_len = (uint32_t)key_len,
                       .hash = fx_engine_hash(&w->stage.engine, w->key, key_len),
                       .value = w->value,
                       .value_len = value_len,
                       .block = value_len > FX_INLINE_VALUE_MAX
                                    ? fx_block_create(&w->stage.engine.blocks, w->value, value_len)
                                    : NULL};
}

static void put(world *w, uint32_t number, size_t key_len, size_t value_len) {
    fx_committed committed = {0};
    fx_change change = change_of(w, number, key_len, value_len);
    assert_int_equal(stage_write(&w->stage, &change, &committed), FEOX_OK);
}

/* The value is the one that was put. */
static void expect_there(world *w, uint32_t number, size_t key_len, size_t value_len) {
    fx_change change = change_of(w, number, key_len, value_len);
    fx_fetched got;
    fx_block_release(change.block);
    assert_int_equal(
        fx_fetch(&w->stage.engine, change.hash, w->key, key_len, w->buffer, sizeof w->buffer, &got),
        FEOX_OK);
    assert_int_equal(got.value_len, value_len);
    const uint8_t *data = got.block != NULL ? got.block->data : w->buffer;
    assert_true(memcmp(data, w->value, value_len) == 0);
    fx_block_release(got.block);
}

/* ---- Updates in place ---- */

/* Records of one size lie beside each other. One after the other gets longer or shorter by some
 * bytes, and those around it stay as they are. */
static void test_updates_beside_others(void **state) {
    (void)state;
    enum { KEYS = 40 };
    world *w = world_create();
    for (size_t size = 0; size < 300; size += 3) {
        for (size_t other = size > 20 ? size - 20 : 0; other < size + 20; other += 1 + size % 2) {
            for (uint32_t number = 0; number < KEYS; number++) {
                put(w, number, sizeof number, size);
            }
            put(w, KEYS / 2, sizeof(uint32_t), other);
            put(w, KEYS / 3, sizeof(uint32_t), other);
            for (uint32_t number = 0; number < KEYS; number++) {
                bool changed = number == KEYS / 2 || number == KEYS / 3;
                expect_there(w, number, sizeof number, changed ? other : size);
            }
        }
    }
    world_destroy(w);
}

/* ---- Eviction ---- */

/* Drops the value from memory; false: it cannot be dropped. */
static bool evict(world *w, uint32_t number, size_t key_len) {
    fx_change change = change_of(w, number, key_len, 0);
    fx_shard *shard = fx_engine_shard(&w->stage.engine, change.hash);
    fx_spinlock_lock(&shard->lock);
    fx_record *record = fx_commit_any_locked(shard, change.hash, w->key, key_len);
    assert_non_null(record);
    bool dropped = fx_commit_evict_locked(shard, record);
    fx_spinlock_unlock(&shard->lock);
    return dropped;
}

static bool is_in_memory(world *w, uint32_t number, size_t key_len, uint64_t *location_out) {
    fx_change change = change_of(w, number, key_len, 0);
    fx_shard *shard = fx_engine_shard(&w->stage.engine, change.hash);
    fx_spinlock_lock(&shard->lock);
    const fx_record *record = fx_commit_any_locked(shard, change.hash, w->key, key_len);
    bool there = (record->meta & FX_RECORD_BLOCK) == 0 || fx_record_block(record) != NULL;
    *location_out = fx_record_location(record);
    fx_spinlock_unlock(&shard->lock);
    return there;
}

/* Drops the value and reads it again; it stays in its place on disk. */
static void drop_and_read(world *w, uint32_t number, size_t key_len, size_t value_len) {
    uint64_t place = 0;
    uint64_t now = 0;
    uint64_t reads = w->stage.engine.flusher->disk_reads;
    assert_true(is_in_memory(w, number, key_len, &place));
    assert_true(evict(w, number, key_len));
    assert_false(is_in_memory(w, number, key_len, &now));
    assert_int_equal(now, place);
    assert_false(evict(w, number, key_len));
    expect_there(w, number, key_len, value_len);
    assert_true(w->stage.engine.flusher->disk_reads > reads);
    assert_true(is_in_memory(w, number, key_len, &now));
    assert_int_equal(now, place);
    assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
}

/* Keys and values that end in the first block of their record or in a later one, values in their
 * record, in a block, or in an extent that is read in pieces. */
static void test_dropped_comes_back(void **state) {
    (void)state;
    static const size_t key_sizes[] = {4, 300, 4000, 5000, KEY_MAX};
    static const size_t value_sizes[] = {100,   2000,    FX_INLINE_VALUE_MAX + 1,
                                         6000,  60000,   FX_LARGE_VALUE_MIN,
                                         70001, 1 << 20, VALUE_MAX};
    world *w = world_create();
    uint32_t number = 0;
    for (size_t k = 0; k < sizeof key_sizes / sizeof key_sizes[0]; k++) {
        for (size_t v = 0; v < sizeof value_sizes / sizeof value_sizes[0]; v++, number++) {
            size_t key_len = key_sizes[k];
            size_t value_len = value_sizes[v];
            if (value_len <= FX_INLINE_VALUE_MAX && key_len > 1000) {
                continue; /* a slot without such a value is no smaller */
            }
            put(w, number, key_len, value_len);
            assert_false(evict(w, number, key_len)); /* it is nowhere else yet */
            assert_int_equal(stage_sync(&w->stage), FEOX_OK);
            for (unsigned round = 0; round < 2; round++) {
                drop_and_read(w, number, key_len, value_len);
            }
        }
    }
    world_destroy(w);
}

/* ---- Memory ---- */

enum { MANY = 24000, MORTAL_NS = 1 << 30 };

/* Key and value of a number: every second one expires some day, every fifth is hidden until it is
 * durable, some have a block. */
static size_t size_of(uint32_t number) {
    return number % 50 == 0 ? 3000 : number % 100;
}

static fx_change many_change(world *w, uint32_t number, uint8_t *key, bool deletes) {
    size_t size = deletes ? 0 : size_of(number);
    fx_change change = change_of(w, number, sizeof number, size);
    memcpy(key, &number, sizeof number);
    change.key = key;
    change.value = deletes ? NULL : w->value;
    change.expiry_ns = number % 2 == 0 && !deletes ? (uint64_t)MORTAL_NS * 1000000u + number : 0;
    change.hidden = change.kept = number % 5 == 0;
    return change;
}

/* The first attempt without any memory: done, or refused and nothing is changed. */
static unsigned without_and_with(world *w, uint32_t number, bool deletes) {
    uint8_t key[sizeof number];
    fx_committed committed = {0};
    fx_change change = many_change(w, number, key, deletes);
    fx_mem_fail_after(1, true);
    feox_status status = stage_try(&w->stage, &change, &committed);
    fx_mem_fail_after(0, false);
    if (status == FEOX_OK) {
        return 0;
    }
    if (status != FEOX_ERR_MEMORY) {
        assert_true(status == FEOX_END || status == FEOX_ERR_BUSY);
    } else {
        fx_shard *shard = fx_engine_shard(&w->stage.engine, change.hash);
        fx_spinlock_lock(&shard->lock);
        assert_null(fx_commit_hidden_locked(shard, change.hash, key, sizeof key));
        fx_record *record = fx_commit_any_locked(shard, change.hash, key, sizeof key);
        fx_spinlock_unlock(&shard->lock);
        assert_int_equal(record != NULL, deletes);
    }
    assert_int_equal(stage_write(&w->stage, &change, &committed), FEOX_OK);
    return status == FEOX_ERR_MEMORY;
}

/* Whatever a commit needs is refused at some time, while tables and lists grow; so is what it takes
 * to drop a value. */
static void test_without_memory(void **state) {
    (void)state;
    unsigned refused = 0;
    world *w = world_create();
    for (uint32_t number = 0; number < MANY; number++) {
        refused += without_and_with(w, number, false);
        if (number % 500 == 499) {
            assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        }
    }
    assert_true(refused > 10);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    for (uint32_t number = 0; number < MANY; number++) {
        fx_mem_fail_after(1, true);
        (void)evict(w, number, sizeof number);
        fx_mem_fail_after(0, false);
    }
    for (uint32_t number = 0; number < MANY; number++) {
        expect_there(w, number, sizeof number, size_of(number));
    }
    assert_int_equal(fx_engine_count(&w->stage.engine), MANY);
    assert_int_equal(stage_close(&w->stage), FEOX_OK);
    assert_int_equal(stage_open(&w->stage, false), FEOX_OK);
    assert_int_equal(fx_engine_count(&w->stage.engine), MANY);
    refused = 0;
    for (uint32_t number = 0; number < MANY; number++) {
        refused += without_and_with(w, number, true);
        if (number % 500 == 499) {
            assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        }
    }
    assert_true(refused > 5);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    assert_int_equal(fx_engine_count(&w->stage.engine), 0);
    world_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_updates_beside_others),
        cmocka_unit_test(test_dropped_comes_back),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests_name("engine/commit", tests, NULL, NULL);
}
