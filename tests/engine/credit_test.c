/* credit: when the background moves records and when it only writes the table; how the file gets
 * shorter, and that it does not below its first length; and what it is told when the device has no
 * room for what a compaction writes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/cleaner.h"
#include "engine/compactor.h"
#include "engine/fetch.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

#define KEYS 200u
#define MIDDLE 60000u
#define LARGE 200000u
#define SEGMENTS 12u
#define IN_SEGMENT 17u /* so many of MIDDLE fill one */
#define SECOND ((uint64_t)1000000000)

typedef struct world {
    stage s;
    mem_dev *dev;
    fx_flusher *flusher;
} world;

static const char *key_of(unsigned i) {
    static char key[16];
    (void)snprintf(key, sizeof key, "key %u", i);
    return key;
}

static void put(world *w, unsigned i, size_t size) {
    assert_int_equal(stage_put(&w->s, key_of(i), (uint8_t)(i + size), size), FEOX_OK);
}

static void expect(world *w, unsigned i, size_t size) {
    static uint8_t room[LARGE];
    fx_fetched found;
    const char *key = key_of(i);
    uint64_t hash = fx_engine_hash(&w->s.engine, key, strlen(key));
    assert_int_equal(fx_fetch(&w->s.engine, hash, key, strlen(key), room, sizeof room, &found),
                     FEOX_OK);
    const uint8_t *value = found.in_block ? found.block->data : room;
    assert_int_equal(found.value_len, size);
    assert_true(value[0] == (uint8_t)(i + size) && value[size - 1] == value[0]);
    if (found.in_block) {
        fx_block_release(found.block);
    }
}

static void begin(world *w, uint64_t initial) {
    *w = (world){.dev = mem_dev_create(5)};
    w->s.door = mem_dev_door(w->dev);
    w->s.file.ring_blocks = 64;
    w->s.file.file_size_initial = initial;
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->flusher = w->s.engine.flusher;
}

static void end(world *w) {
    assert_int_equal(stage_close(&w->s), FEOX_OK);
    mem_dev_destroy(w->dev);
}

/* Segments of which every fourth record lives. */
static void make_sparse(world *w) {
    for (unsigned i = 0; i < KEYS; i++) {
        put(w, i, MIDDLE);
    }
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    assert_int_equal(stage_checkpoint(&w->s, false), FEOX_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        if (i % 4 != 0) {
            put(w, i, 0);
        }
    }
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
}

static void expect_fourth(world *w) {
    stage_expect_sound(&w->s);
    for (unsigned i = 0; i < KEYS; i += 4) {
        expect(w, i, MIDDLE);
    }
}

static feox_status checkpoint(world *w, int64_t credit) {
    fx_flusher_enter(w->flusher);
    w->flusher->cleaner.credit = credit;
    w->flusher->cleaner.other_bytes =
        w->flusher->staging.written_bytes - w->flusher->cleaner.own_bytes;
    w->flusher->cleaner.counted_ns = w->flusher->time_ns;
    feox_status status = fx_cleaner_checkpoint(w->flusher);
    fx_flusher_leave(w->flusher);
    return status;
}

/* A checkpoint moves sparse segments, too, on credit. In debt, or refused space or memory for it,
 * it is a checkpoint all the same. */
static void test_credit(void **state) {
    (void)state;
    world w;
    begin(&w, 0);
    make_sparse(&w);
    uint64_t moved = w.flusher->figures.compacted_bytes;
    uint64_t checkpoints = w.flusher->figures.checkpoints;
    assert_int_equal(checkpoint(&w, 0), FEOX_OK);
    assert_int_equal(checkpoint(&w, -1), FEOX_OK);
    assert_int_equal(w.flusher->figures.checkpoints, checkpoints + 2);
    assert_int_equal(w.flusher->figures.compacted_bytes, moved);
    mem_dev_refuse_writes(w.dev, 1, 1, false);
    assert_int_equal(checkpoint(&w, 1), FEOX_OK);
    assert_int_equal(mem_dev_refusals(w.dev), 1);
    assert_int_equal(w.flusher->figures.checkpoints, checkpoints + 3);
    assert_int_equal(w.flusher->figures.compacted_bytes, moved);
    unsigned refused = 0;
    for (uint64_t n = 1; w.flusher->figures.compacted_bytes == moved; n++) {
        assert_true(n < 1000);
        fx_mem_fail_after(n, false);
        assert_int_equal(checkpoint(&w, 1), FEOX_OK);
        refused += fx_mem_failed() > 0;
        fx_mem_fail_after(0, false);
    }
    assert_true(refused > 3);
    expect_fourth(&w);
    end(&w);
}

/* Deletes some of each segment, and says so to the disk. */
static void thin_out(world *w, unsigned from, unsigned to) {
    for (unsigned i = 0; i < SEGMENTS * IN_SEGMENT; i++) {
        if (i % IN_SEGMENT >= from && i % IN_SEGMENT < to) {
            put(w, i, 0);
        }
    }
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
}

/* Seven of seventeen records in every segment are dead: much in all, but no segment is half empty,
 * and to move them would cost more than it gains. */
static void test_none_sparse(void **state) {
    (void)state;
    world w;
    begin(&w, (uint64_t)32 << 20); /* room for segments of full length */
    for (unsigned i = 0; i < SEGMENTS * IN_SEGMENT; i++) {
        put(&w, i, MIDDLE);
        if (i % IN_SEGMENT == IN_SEGMENT - 1) {
            assert_int_equal(stage_sync(&w.s), FEOX_OK);
        }
    }
    assert_int_equal(stage_checkpoint(&w.s, false), FEOX_OK);
    thin_out(&w, 0, 7);
    uint64_t moved = w.flusher->figures.compacted_bytes;
    assert_true(fx_compactor_sparse_bytes(w.flusher) > FX_FILE_GROWTH_MIN);
    assert_int_equal(checkpoint(&w, 1), FEOX_OK);
    assert_int_equal(w.flusher->figures.compacted_bytes, moved);
    thin_out(&w, 7, 11);
    assert_int_equal(checkpoint(&w, 1), FEOX_OK);
    assert_true(w.flusher->figures.compacted_bytes > moved);
    stage_expect_sound(&w.s);
    for (unsigned i = 11; i < SEGMENTS * IN_SEGMENT; i += IN_SEGMENT) {
        expect(&w, i, MIDDLE);
    }
    end(&w);
}

static void step(world *w, unsigned seconds) {
    for (unsigned i = 0; i < seconds; i++) {
        w->s.now += SECOND;
        fx_flusher_step(w->flusher, w->s.now, 100);
    }
}

/* What was long for a while is cut; what has to move first is moved. */
static void test_shorter(void **state) {
    (void)state;
    for (unsigned kept = 0; kept < 2; kept++) { /* the first key, or the last one */
        world w;
        unsigned keeper = kept == 0 ? 0 : KEYS - 1;
        begin(&w, 0);
        for (unsigned i = 0; i < KEYS; i++) {
            put(&w, i, LARGE);
        }
        assert_int_equal(stage_sync(&w.s), FEOX_OK);
        for (unsigned i = 0; i < KEYS; i++) {
            if (i != keeper) {
                put(&w, i, 0);
            }
        }
        assert_int_equal(stage_sync(&w.s), FEOX_OK);
        uint64_t before = w.flusher->space.file_blocks;
        step(&w, FX_SHRINK_PATIENCE_MS / 1000 - 1);
        assert_int_equal(w.flusher->space.file_blocks, before);
        step(&w, 20);
        assert_true(w.flusher->space.file_blocks * FX_BLOCK_SIZE < 3 * (uint64_t)FX_SHRINK_SLACK);
        assert_int_equal(w.flusher->space.file_blocks * FX_BLOCK_SIZE, mem_dev_size(w.dev));
        stage_expect_sound(&w.s);
        expect(&w, keeper, LARGE);
        end(&w);
    }
}

/* Never below the length that it began with. */
static void test_first_length(void **state) {
    (void)state;
    world w;
    uint64_t initial = (uint64_t)64 << 20;
    begin(&w, initial);
    put(&w, 1, MIDDLE);
    assert_int_equal(stage_sync(&w.s), FEOX_OK);
    assert_int_equal(mem_dev_size(w.dev), initial);
    step(&w, 20);
    assert_int_equal(mem_dev_size(w.dev), initial);
    assert_int_equal(fx_cleaner_compact(w.flusher), FEOX_OK);
    assert_int_equal(mem_dev_size(w.dev), initial);
    expect(&w, 1, MIDDLE);
    end(&w);
}

/* A compaction for which the device has no room changes nothing, is told so, and can be had when
 * there is room. */
static void test_no_room(void **state) {
    (void)state;
    world w;
    begin(&w, 0);
    make_sparse(&w);
    uint64_t size = mem_dev_size(w.dev);
    mem_dev_refuse_writes(w.dev, 1, 0, false);
    assert_int_equal(fx_cleaner_compact(w.flusher), FEOX_ERR_SPACE);
    assert_int_equal(fx_flusher_status(w.flusher), FEOX_OK);
    expect_fourth(&w);
    mem_dev_refuse_writes(w.dev, 0, 0, false);
    assert_int_equal(fx_cleaner_compact(w.flusher), FEOX_OK);
    assert_true(mem_dev_size(w.dev) < size / 2);
    expect_fourth(&w);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credit), cmocka_unit_test(test_none_sparse),
        cmocka_unit_test(test_shorter), cmocka_unit_test(test_first_length),
        cmocka_unit_test(test_no_room)};
    return cmocka_run_group_tests_name("engine/credit", tests, NULL, NULL);
}
