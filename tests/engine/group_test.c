/* group: what becomes of commits whose group does not find what was promised to them: space that is
 * gone since they were admitted, memory that is refused at any allocation, a segment table that
 * contradicts the records. They are written after all, or wait in memory and are written later, or
 * the store says what is wrong; nothing of what was durable before is lost.
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
#include "disk/format.h"
#include "engine/compactor.h"
#include "engine/fetch.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

#define KEYS 90u
#define SMALL 1000u
#define MIDDLE 60000u
#define LARGE 200000u
#define STOLEN 4096u

typedef struct world {
    stage s;
    mem_dev *dev;
    fx_flusher *flusher;
    fx_extent stolen[STOLEN];
    size_t stolen_count;
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

/* Takes what is free in runs of up to `most` blocks, as nobody may who is not the test. */
static void steal(world *w, uint64_t least, uint64_t most) {
    for (uint64_t count = most; count >= least; count /= 2) {
        fx_extent extent;
        while (w->stolen_count < STOLEN && fx_space_take(&w->flusher->space, count, 0, &extent)) {
            w->stolen[w->stolen_count++] = extent;
        }
    }
    fx_space_settle(&w->flusher->space);
}

static void give_back(world *w) {
    fx_extents *extents = &w->flusher->space.extents;
    assert_true(fx_extents_reserve_nodes(extents, w->stolen_count + 2));
    for (; w->stolen_count > 0; w->stolen_count--) {
        const fx_extent extent = w->stolen[w->stolen_count - 1];
        assert_true(fx_extents_add_free(extents, extent.block, extent.count));
    }
}

static world *world_create(uint64_t seed) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(seed);
    w->s.door = mem_dev_door(w->dev);
    w->s.file.ring_blocks = 64;
    w->s.file.file_size_initial = w->s.file.file_size_limit = (uint64_t)8 << 20;
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->flusher = w->s.engine.flusher;
    return w;
}

static int setup(void **state) {
    *state = world_create(3);
    return 0;
}

static int end(world *w, feox_status wanted) {
    int result = stage_close(&w->s) == wanted ? 0 : 1;
    mem_dev_destroy(w->dev);
    free(w);
    return result;
}

/* Everything is there, also when the file is opened again. */
static void expect_all(world *w, unsigned from, unsigned to, size_t size) {
    stage_expect_sound(&w->s);
    for (unsigned i = from; i < to; i++) {
        expect(w, i, size);
    }
    assert_int_equal(stage_close(&w->s), FEOX_OK);
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->flusher = w->s.engine.flusher;
    stage_expect_sound(&w->s);
    for (unsigned i = from; i < to; i++) {
        expect(w, i, size);
    }
}

static int teardown(void **state) {
    return end(*state, FEOX_OK);
}

/* ---- Space ---- */

/* Nothing is free but what is dead: that is given back, and the group is written. */
static void dead_space_will_do(void **state) {
    world *w = *state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            put(w, i, SMALL + round);
        }
        assert_int_equal(stage_sync(&w->s), FEOX_OK);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        put(w, i, SMALL + 5);
    }
    steal(w, 1, 512);
    uint64_t checkpoints = w->flusher->figures.checkpoints;
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    assert_true(w->flusher->figures.checkpoints > checkpoints);
    give_back(w);
    expect_all(w, 0, KEYS, SMALL + 5);
}

/* Nothing is free at all: the group waits in memory until something is. */
static void nothing_is_free(void **state) {
    world *w = *state;
    for (unsigned i = 0; i < KEYS; i++) {
        put(w, i, SMALL);
    }
    put(w, KEYS, LARGE);
    steal(w, 1, 512);
    for (unsigned tries = 0; tries < 3; tries++) {
        assert_int_equal(stage_sync(&w->s), FEOX_ERR_SPACE);
        assert_int_equal(fx_flusher_status(w->flusher), FEOX_OK);
        for (unsigned i = 0; i < KEYS; i++) {
            expect(w, i, SMALL);
        }
        expect(w, KEYS, LARGE);
    }
    give_back(w);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    expect(w, KEYS, LARGE);
    expect_all(w, 0, KEYS, SMALL);
}

/* Enough is free, in holes between live records: they are moved together. */
static void runs_are_made(void **state) {
    world *w = *state;
    for (unsigned i = 0; i < KEYS; i++) {
        put(w, i, MIDDLE);
        assert_int_equal(stage_sync(&w->s), FEOX_OK);
    }
    assert_int_equal(stage_checkpoint(&w->s, false), FEOX_OK);
    for (unsigned i = 1; i < KEYS; i += 2) {
        assert_int_equal(stage_put(&w->s, key_of(i), 0, 0), FEOX_OK);
    }
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    assert_int_equal(stage_checkpoint(&w->s, false), FEOX_OK);
    put(w, KEYS, LARGE);
    steal(w, 16, 1024); /* the runs that it was admitted to */
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    give_back(w);
    expect(w, KEYS, LARGE);
    stage_expect_sound(&w->s);
    for (unsigned i = 0; i < KEYS; i += 2) {
        expect(w, i, MIDDLE);
    }
}

/* ---- Memory ---- */

/* Any allocation of a flush is refused, once or with all that follow: what was accepted waits. */
static void refused_memory(void **state) {
    world *w = *state;
    unsigned refused = 0;
    size_t large = 0;
    for (unsigned kind = 0; kind < 6; kind++) { /* inline and packed, large values and none */
        for (uint64_t n = 1;; n++) {
            bool sticky = kind % 2 != 0;
            unsigned first = kind < 2 ? 1 : 60;
            for (unsigned i = 0; i < first; i++) {
                put(w, i, SMALL + n % 100);
            }
            if (kind >= 4) {
                large = LARGE - n;
                put(w, KEYS, large);
            }
            fx_mem_fail_after(n, sticky);
            feox_status status = stage_sync(&w->s);
            /* Still without: what could not be taken back stays where it is. */
            feox_status again = status != FEOX_OK && sticky ? stage_sync(&w->s) : status;
            uint64_t failed = fx_mem_failed();
            fx_mem_fail_after(0, false);
            assert_true(status == FEOX_OK || (status == FEOX_ERR_MEMORY && failed > 0));
            assert_true(again == FEOX_OK || again == FEOX_ERR_MEMORY);
            assert_int_equal(fx_flusher_status(w->flusher), FEOX_OK);
            assert_int_equal(stage_sync(&w->s), FEOX_OK);
            for (unsigned i = 0; i < first; i++) {
                expect(w, i, SMALL + n % 100);
            }
            refused += status != FEOX_OK;
            if (failed == 0) {
                break;
            }
        }
    }
    assert_true(refused > 20);
    expect(w, KEYS, large);
    stage_expect_sound(&w->s);
}

/* ---- The ring ---- */

/* No memory for the checkpoint that would empty it: groups go on while the ring has room, and wait
 * when it has none. */
static void ring_fills_up(void **state) {
    world *w = *state;
    uint64_t most = 0;
    unsigned refused = 0;
    for (unsigned i = 0; i < 200; i++) {
        bool is_full = w->flusher->journal.used == w->flusher->journal.extent.count;
        uint64_t checkpoints = w->flusher->figures.checkpoints;
        most = w->flusher->journal.used > most ? w->flusher->journal.used : most;
        put(w, i, SMALL);
        if (is_full && refused++ == 0) { /* none at all: it waits */
            fx_mem_fail_after(1, true);
            assert_true(stage_sync(&w->s) != FEOX_OK);
            fx_mem_fail_after(0, false);
            assert_int_equal(fx_flusher_status(w->flusher), FEOX_OK);
            expect(w, i, SMALL);
        } else if (fx_compactor_must(w->flusher)) {
            fx_mem_fail_after(1, false);
            assert_int_equal(stage_sync(&w->s), FEOX_OK);
            assert_int_equal(fx_mem_failed(), 1);
            fx_mem_fail_after(0, false);
            assert_int_equal(w->flusher->figures.checkpoints, checkpoints + is_full);
        } else {
            assert_int_equal(stage_sync(&w->s), FEOX_OK);
        }
    }
    assert_int_equal(most, w->flusher->journal.extent.count);
    assert_true(refused > 1);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    expect_all(w, 0, 200, SMALL);
}

/* A record in the ring cannot be told any more when it is to leave it. It is lost on disk, which is
 * counted; what replaces it is written as ever. */
static void lost_in_the_ring(void **state) {
    world *w = *state;
    put(w, 1, SMALL);
    put(w, 2, SMALL);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    uint64_t at = fx_record_location(stage_record(&w->s, key_of(1))) * FX_RECORD_ALIGN;
    memset(mem_dev_bytes(w->dev) + at + 8, 0x5a, FX_RECORD_HEADER_SIZE);
    assert_int_equal(stage_checkpoint(&w->s, false), FEOX_OK);
    assert_int_equal(stage_damage(&w->s), 1);
    put(w, 1, SMALL + 1);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    put(w, 3, SMALL); /* what a group replaces is dead with the next one */
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    assert_int_equal(stage_close(&w->s), FEOX_OK);
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->flusher = w->s.engine.flusher;
    stage_expect_sound(&w->s);
    expect(w, 1, SMALL + 1);
    expect(w, 2, SMALL);
}

/* ---- Failures ---- */

/* More than can be under way, and the first write fails: the rest is not written any more. */
static void first_write_fails(void **state) {
    world *w = *state;
    put(w, KEYS, SMALL);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        put(w, i, MIDDLE);
    }
    uint64_t before = w->flusher->staging.written_bytes;
    mem_dev_fail_after(w->dev, 1, EIO);
    assert_int_equal(stage_sync(&w->s), FEOX_ERR_IO);
    assert_true(w->flusher->staging.written_bytes - before < (uint64_t)KEYS * MIDDLE);
    assert_int_equal(fx_flusher_status(w->flusher), FEOX_ERR_IO);
    for (unsigned i = 0; i < KEYS; i++) {
        expect(w, i, MIDDLE);
    }
    assert_int_equal(stage_close(&w->s), FEOX_ERR_IO);
    w->dev = mem_dev_crash(w->dev);
    w->s.door = mem_dev_door(w->dev);
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->flusher = w->s.engine.flusher;
    expect(w, KEYS, SMALL);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_null(stage_record(&w->s, key_of(i)));
    }
    stage_expect_sound(&w->s);
}

/* Who only reads writes nothing, whoever asks. */
static void read_only(void **state) {
    world *w = *state;
    put(w, 1, SMALL);
    assert_int_equal(stage_close(&w->s), FEOX_OK);
    assert_int_equal(stage_open(&w->s, true), FEOX_OK);
    w->flusher = w->s.engine.flusher;
    uint64_t operations = mem_dev_operations(w->dev);
    assert_int_equal(stage_sync(&w->s), FEOX_ERR_READ_ONLY);
    fx_flusher_step(w->flusher, (uint64_t)1 << 40, 1);
    fx_flusher_step_long(w->flusher, (uint64_t)1 << 41);
    assert_int_equal(mem_dev_operations(w->dev), operations);
    expect(w, 1, SMALL);
}

/* ---- What cannot be ---- */

/* What dies with the group is not live: the table is wrong, and nothing more is built on it. The
 * group itself is written. */
static void table_contradicts(void **state) {
    world *w = *state;
    put(w, 1, SMALL);
    put(w, 2, SMALL);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    uint64_t location = fx_record_location(stage_record(&w->s, key_of(1)));
    assert_true(fx_segments_set_dead(&w->flusher->segments, location));
    put(w, 1, SMALL + 1);
    assert_int_equal(stage_sync(&w->s), FEOX_ERR_CORRUPT);
    assert_int_equal(fx_flusher_status(w->flusher), FEOX_ERR_CORRUPT);
    assert_int_equal(stage_sync(&w->s), FEOX_ERR_CORRUPT);
    expect(w, 1, SMALL + 1);
    expect(w, 2, SMALL);
    assert_int_equal(stage_close(&w->s), FEOX_ERR_CORRUPT);
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    expect(w, 1, SMALL + 1);
    expect(w, 2, SMALL);
    stage_expect_sound(&w->s);
    assert_int_equal(end(w, FEOX_OK), 0);
}

/* A group is refused for want of space; what is there of it cannot be read, or not be erased: then
 * nobody knows whether it is there, and the store is read-only. */
static bool refused_and_unknown(world *w, bool unreadable) {
    put(w, 1, SMALL);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    put(w, 2, 12 * SMALL); /* some blocks of its entry may be written */
    mem_dev_refuse_writes(w->dev, 1, 1, false);
    if (unreadable) {
        mem_dev_fail_reads(w->dev, w->flusher->root.journal.block * FX_BLOCK_SIZE,
                           w->flusher->root.journal.count * FX_BLOCK_SIZE);
    } else {
        mem_dev_fail_after(w->dev, 2, EIO);
    }
    feox_status status = stage_sync(&w->s);
    bool unknown = status == FEOX_ERR_IO;
    assert_true(unknown || (status == FEOX_ERR_SPACE && !unreadable)); /* nothing was there */
    assert_int_equal(fx_flusher_status(w->flusher), unknown ? FEOX_ERR_IO : FEOX_OK);
    mem_dev_fail_reads(w->dev, 0, 0);
    expect(w, 1, SMALL);
    expect(w, 2, 12 * SMALL);
    assert_true(stage_close(&w->s) != FEOX_OK);
    w->dev = mem_dev_crash(w->dev);
    w->s.door = mem_dev_door(w->dev);
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->flusher = w->s.engine.flusher;
    expect(w, 1, SMALL);
    stage_expect_sound(&w->s);
    return unknown;
}

static void refused_and_unreadable(void **state) {
    assert_true(refused_and_unknown(*state, true));
}

static void refused_and_not_erased(void **state) {
    unsigned unknown = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) { /* it decides what the refused write left */
        world *w = world_create(seed);
        unknown += refused_and_unknown(w, false);
        assert_int_equal(end(w, FEOX_OK), 0);
    }
    assert_true(unknown > 0);
}

#define GROUP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {GROUP_TEST(dead_space_will_do),
                                       GROUP_TEST(nothing_is_free),
                                       GROUP_TEST(runs_are_made),
                                       GROUP_TEST(refused_memory),
                                       GROUP_TEST(refused_and_unreadable),
                                       GROUP_TEST(ring_fills_up),
                                       GROUP_TEST(lost_in_the_ring),
                                       GROUP_TEST(first_write_fails),
                                       GROUP_TEST(read_only),
                                       cmocka_unit_test(refused_and_not_erased),
                                       cmocka_unit_test_setup(table_contradicts, setup)};
    return cmocka_run_group_tests_name("engine/group", tests, NULL, NULL);
}
