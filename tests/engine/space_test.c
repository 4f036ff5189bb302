/* space: blocks of a file in memory: what is refused takes nothing, what comes back is free again,
 * and every block is always free or somebody's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/mem.h"
#include "engine/space.h"
#include "support/mem_dev.h"

#define BLOCKS 64u
#define LIMIT 512u

typedef struct world {
    mem_dev *dev;
    fx_epoch readers;
    fx_space space;
} world;

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(5);
    assert_int_equal(fx_dev_grow(mem_dev_door(w->dev), BLOCKS * FX_BLOCK_SIZE), 0);
    fx_epoch_init(&w->readers);
    fx_space_init(&w->space, mem_dev_door(w->dev), &w->readers, BLOCKS,
                  (uint64_t)LIMIT * FX_BLOCK_SIZE);
    assert_true(fx_extents_reserve_nodes(&w->space.extents, 8));
    assert_true(fx_extents_add_free(&w->space.extents, 0, BLOCKS));
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    int result = fx_extents_check(&w->space.extents) == NULL ? 0 : -1;
    fx_space_deinit(&w->space);
    mem_dev_destroy(w->dev);
    free(w);
    return result;
}

static uint64_t free_blocks(const world *w) {
    return w->space.extents.free_blocks;
}

/* Takes all there are and frees every second run of `count`: no two of them touch. */
static unsigned cut_up(world *w, uint64_t count) {
    fx_extent held[BLOCKS];
    unsigned runs = 0;
    while (fx_space_take(&w->space, count, 0, &held[runs])) {
        runs++;
    }
    for (unsigned i = 0; i < runs; i += 2) {
        fx_space_undo(&w->space, held[i]);
    }
    fx_space_settle(&w->space);
    return (runs + 1) / 2;
}

/* Enough is free, in pieces: nothing is taken without growing. */
static void pieces(void **state) {
    world *w = *state;
    fx_extent got;
    unsigned runs = cut_up(w, 4);
    assert_true(free_blocks(w) == runs * 4);
    assert_false(fx_space_take(&w->space, 5, 0, &got));
    assert_false(fx_space_take(&w->space, 4, free_blocks(w), &got));
    assert_true(free_blocks(w) == runs * 4);
    assert_int_equal(fx_space_allocate(&w->space, 5, 0, &got), FEOX_OK);
    assert_int_equal(got.count, 5);
    assert_true(w->space.file_blocks > BLOCKS);
    fx_space_undo(&w->space, got);
    assert_int_equal(fx_space_allocate(&w->space, LIMIT, 0, &got), FEOX_ERR_SPACE);
    assert_int_equal(fx_space_allocate(&w->space, 4, LIMIT, &got), FEOX_ERR_SPACE);
}

/* Outside of what is to be avoided: before it, behind it, by growing, or not at all. */
static void outside(void **state) {
    world *w = *state;
    const fx_extent nowhere = {0, 0};
    const fx_extent low = {0, BLOCKS / 2};
    const fx_extent all = {0, BLOCKS};
    fx_extent got;
    fx_extent held;
    assert_true(fx_space_take(&w->space, low.count, 0, &held));
    assert_int_equal(held.block, 0);
    assert_int_equal(fx_space_allocate_outside(&w->space, 4, 8, &low, &got), FEOX_OK);
    assert_true(got.block >= low.count && got.count >= 4 && got.count <= 8);
    fx_space_trim(&w->space, &got, 4);
    assert_int_equal(got.count, 4);
    fx_space_trim(&w->space, &got, 4);
    assert_int_equal(got.count, 4);
    assert_true(free_blocks(w) == BLOCKS - low.count - 4);
    fx_space_undo(&w->space, got);
    fx_space_undo(&w->space, held);
    assert_int_equal(fx_space_allocate_outside(&w->space, 1, 8, &all, &got), FEOX_ERR_SPACE);
    assert_true(free_blocks(w) == BLOCKS && w->space.file_blocks == BLOCKS);
    assert_int_equal(fx_space_allocate_outside(&w->space, BLOCKS + 1, BLOCKS + 2, &nowhere, &got),
                     FEOX_OK);
    assert_true(got.count > BLOCKS && w->space.file_blocks > BLOCKS);
    fx_space_undo(&w->space, got);
    /* The end is taken, and what is avoided lies before it: it grows behind. */
    uint64_t before = w->space.file_blocks;
    assert_int_equal(fx_space_allocate(&w->space, before, 0, &got), FEOX_OK);
    assert_int_equal(fx_space_allocate_outside(&w->space, 2, 2, &low, &got), FEOX_OK);
    assert_true(got.block >= before);
    assert_int_equal(fx_space_allocate_outside(&w->space, LIMIT, LIMIT, &nowhere, &got),
                     FEOX_ERR_SPACE);
}

/* Two batches wait for one reader, and come back in turn; what waits at the end is freed. */
static void waiting(void **state) {
    world *w = *state;
    fx_pin pin = fx_epoch_pin(&w->readers);
    for (unsigned i = 0; i < 3; i++) {
        fx_space_batch *batch = fx_space_batch_create(&w->space, 2);
        assert_non_null(batch);
        assert_true(fx_space_take(&w->space, 2, 0, &batch->list[0]));
        assert_true(fx_space_take(&w->space, 3, 0, &batch->list[1]));
        batch->count = 2;
        fx_space_settle(&w->space);
        fx_space_retire(&w->space, batch);
    }
    fx_space_reclaim(&w->space, false);
    assert_true(free_blocks(w) == BLOCKS - 15 && w->space.waiting_blocks == 15);
    assert_int_equal(w->space.outstanding, 6);
    fx_epoch_unpin(pin);
    fx_space_reclaim(&w->space, true);
    assert_true(free_blocks(w) == BLOCKS && w->space.waiting_blocks == 0);
    fx_space_batch_destroy(&w->space, fx_space_batch_create(&w->space, 5));
    assert_int_equal(w->space.outstanding, 0);
    pin = fx_epoch_pin(&w->readers);
    fx_space_batch *batch = fx_space_batch_create(&w->space, 1);
    assert_true(batch != NULL && fx_space_take(&w->space, 2, 0, &batch->list[0]));
    batch->count = 1;
    fx_space_retire(&w->space, batch);
    fx_epoch_unpin(pin);
}

static void spare(void **state) {
    world *w = *state;
    assert_int_equal(fx_space_keep_spare(&w->space, 4), FEOX_OK);
    assert_int_equal(w->space.spare[0].count, w->space.spare[1].count);
    assert_true(w->space.spare[0].count >= 4);
    uint64_t kept = w->space.spare[0].count;
    assert_int_equal(fx_space_keep_spare(&w->space, kept), FEOX_OK);
    assert_true(free_blocks(w) == BLOCKS - 2 * kept);
    assert_int_equal(fx_space_keep_spare(&w->space, LIMIT), FEOX_ERR_SPACE);
    assert_int_equal(w->space.spare[0].count, kept);
    assert_int_equal(fx_space_keep_spare(&w->space, kept + 10), FEOX_OK);
    assert_true(w->space.spare[0].count >= kept + 10);
    assert_true(free_blocks(w) + 2 * w->space.spare[0].count == w->space.file_blocks);
    fx_space_drop_spare(&w->space);
    fx_space_drop_spare(&w->space);
    assert_true(free_blocks(w) == w->space.file_blocks);
}

/* ---- Without memory ---- */

/* Uses up the nodes that are there, so that the next call needs memory: it takes nothing. */
static void without_memory(void **state) {
    world *w = *state;
    const fx_extent nowhere = {0, 0};
    fx_extent got;
    assert_int_equal(fx_space_keep_spare(&w->space, 2), FEOX_OK);
    unsigned refused = 0;
    w->space.outstanding = 5000; /* more than there are nodes for */
    uint64_t before = free_blocks(w);
    fx_mem_fail_after(1, true);
    refused += fx_space_allocate(&w->space, 2, 0, &got) == FEOX_ERR_MEMORY;
    refused += fx_space_allocate_outside(&w->space, 2, 2, &nowhere, &got) == FEOX_ERR_MEMORY;
    refused += !fx_space_take(&w->space, 2, 0, &got);
    refused += fx_space_batch_create(&w->space, 1) == NULL;
    refused += fx_space_keep_spare(&w->space, w->space.spare[0].count + 1) != FEOX_OK;
    fx_space_drop_spare(&w->space); /* it stays */
    assert_true(w->space.spare[0].count >= 2);
    fx_mem_fail_after(0, false);
    assert_int_equal(refused, 5);
    assert_true(free_blocks(w) == before);
    fx_space_settle(&w->space);
    /* Two longer ones are there, and the old ones cannot be freed: they stay. */
    for (uint64_t n = 1; n < 40; n++) {
        uint64_t kept = w->space.spare[0].count;
        before = free_blocks(w);
        fx_mem_fail_after(n, true);
        feox_status status = fx_space_keep_spare(&w->space, kept + 1);
        fx_mem_fail_after(0, false);
        if (status == FEOX_OK) {
            break;
        }
        assert_int_equal(w->space.spare[0].count, kept);
        assert_true(free_blocks(w) == before);
    }
    fx_space_drop_spare(&w->space);
    assert_true(free_blocks(w) == w->space.file_blocks);
    /* A file that cannot be cut stays as long as it is. */
    before = w->space.file_blocks;
    fx_mem_fail_after(1, true);
    int error = fx_space_shrink(&w->space, 8, 0);
    fx_mem_fail_after(0, false);
    assert_true(error == 0 && (w->space.file_blocks == before || w->space.file_blocks == 8));
    assert_int_equal(fx_space_shrink(&w->space, 8, 0), 0);
    assert_true(w->space.file_blocks == 8 && free_blocks(w) == 8);
    assert_int_equal(fx_space_shrink(&w->space, 8, 0), 0);
}

#define SPACE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {SPACE_TEST(pieces), SPACE_TEST(outside), SPACE_TEST(waiting),
                                       SPACE_TEST(spare), SPACE_TEST(without_memory)};
    return cmocka_run_group_tests_name("engine/space", tests, NULL, NULL);
}
