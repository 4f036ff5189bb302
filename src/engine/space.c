/* space: why this way. Releasing must not fail in the middle of a flush, so every allocation makes
 * sure (fx_extents_reserve_nodes) that all extents that may still come back have their tree node.
 */
#include "engine/space.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/mem.h"

void fx_space_init(fx_space *space, fx_dev *dev, fx_epoch *readers, uint64_t file_blocks,
                   uint64_t limit_bytes) {
    memset(space, 0, sizeof *space);
    space->dev = dev;
    space->readers = readers;
    space->file_blocks = file_blocks;
    space->limit_blocks = limit_bytes / FX_BLOCK_SIZE;
    fx_extents_init(&space->extents);
}

void fx_space_deinit(fx_space *space) {
    while (space->waiting != NULL) {
        fx_space_batch *batch = space->waiting;
        space->waiting = batch->next;
        fx_mem_free(batch);
    }
    fx_extents_deinit(&space->extents);
}

/* What the file grows by at once, so that it does not often. */
static uint64_t ample_step(const fx_space *space) {
    uint64_t step = space->file_blocks / 8;
    uint64_t step_min = FX_FILE_GROWTH_MIN / FX_BLOCK_SIZE;
    return step > step_min ? step : step_min;
}

/* Makes the file at least `wanted` blocks long, longer by `step` if the device has it. */
static feox_status grow_to(fx_space *space, uint64_t wanted, uint64_t step) {
    uint64_t ample = space->file_blocks + step;
    uint64_t limit = space->limit_blocks != 0 ? space->limit_blocks : FX_EXTENTS_BLOCK_MAX;
    if (wanted > limit) {
        return fx_error_set(FEOX_ERR_SPACE, 0, "the file has reached its limit of %llu bytes",
                            (unsigned long long)limit * FX_BLOCK_SIZE);
    }
    ample = ample > limit ? limit : ample;
    uint64_t target = ample > wanted ? ample : wanted;
    int error = fx_dev_grow(space->dev, target * FX_BLOCK_SIZE);
    if (error == -ENOSPC && target > wanted) {
        target = wanted;
        error = fx_dev_grow(space->dev, target * FX_BLOCK_SIZE);
    }
    if (error != 0) {
        space->error = error != -ENOSPC ? error : space->error;
        return fx_error_set(error == -ENOSPC ? FEOX_ERR_SPACE : FEOX_ERR_IO, -error,
                            "growing the file to %llu bytes",
                            (unsigned long long)target * FX_BLOCK_SIZE);
    }
    uint64_t before = space->file_blocks;
    space->file_blocks = target;
    /* A node for it was reserved. */
    return fx_extents_add_free(&space->extents, before, target - before) ? FEOX_OK
                                                                         : FEOX_ERR_MEMORY;
}

feox_status fx_space_grow(fx_space *space, uint64_t missing) {
    return fx_extents_reserve_nodes(&space->extents, space->outstanding + 2)
               ? grow_to(space, space->file_blocks + missing, ample_step(space))
               : FEOX_ERR_MEMORY;
}

feox_status fx_space_allocate(fx_space *space, uint64_t count, uint64_t keep, fx_extent *out) {
    if (!fx_extents_reserve_nodes(&space->extents, space->outstanding + 2)) {
        return FEOX_ERR_MEMORY;
    }
    uint64_t free_blocks = space->extents.free_blocks;
    uint64_t missing = count + keep > free_blocks ? count + keep - free_blocks : 0;
    if (missing > 0) {
        feox_status status = grow_to(space, space->file_blocks + missing, ample_step(space));
        if (status != FEOX_OK) {
            return status;
        }
    }
    if (!fx_extents_allocate(&space->extents, count, out)) {
        /* Enough is free, and not in one piece: lengthen the free run at the end, if there is
         * one. */
        uint64_t tail = fx_extents_tail(&space->extents, space->file_blocks);
        feox_status status = grow_to(space, tail + count, ample_step(space));
        if (status != FEOX_OK) {
            return status;
        }
        if (!fx_extents_allocate(&space->extents, count, out)) {
            return FEOX_ERR_SPACE;
        }
    }
    space->outstanding++;
    return FEOX_OK;
}

feox_status fx_space_allocate_outside(fx_space *space, uint64_t count_min, uint64_t count_max,
                                      const fx_extent *avoid, fx_extent *out) {
    if (!fx_extents_reserve_nodes(&space->extents, space->outstanding + 2)) {
        return FEOX_ERR_MEMORY;
    }
    if (!fx_extents_allocate_outside(&space->extents, count_min, count_max, avoid, out)) {
        uint64_t tail = fx_extents_tail(&space->extents, space->file_blocks);
        if (avoid->count > 0 && avoid->block + avoid->count > tail) {
            return FEOX_ERR_SPACE;
        }
        feox_status status = grow_to(space, tail + count_min, count_max);
        if (status != FEOX_OK) {
            return status;
        }
        if (!fx_extents_allocate_outside(&space->extents, count_min, count_max, avoid, out)) {
            return FEOX_ERR_SPACE;
        }
    }
    space->outstanding++;
    return FEOX_OK;
}

void fx_space_trim(fx_space *space, fx_extent *extent, uint64_t used) {
    if (used < extent->count) { /* as for fx_space_undo, there is a node for it */
        (void)fx_extents_add_free(&space->extents, extent->block + used, extent->count - used);
        extent->count = used;
    }
}

bool fx_space_take(fx_space *space, uint64_t count, uint64_t keep, fx_extent *out) {
    if (count + keep > space->extents.free_blocks ||
        !fx_extents_reserve_nodes(&space->extents, space->outstanding + 2) ||
        !fx_extents_allocate(&space->extents, count, out)) {
        return false;
    }
    space->outstanding++;
    return true;
}

static size_t waiting_extents(const fx_space *space) {
    size_t count = 0;
    for (const fx_space_batch *batch = space->waiting; batch != NULL; batch = batch->next) {
        count += batch->count;
    }
    return count;
}

void fx_space_settle(fx_space *space) {
    space->outstanding = waiting_extents(space);
}

void fx_space_undo(fx_space *space, fx_extent extent) {
    FX_ASSERT(space->outstanding > 0);
    space->outstanding--;
    /* False only if the block is free already, which the caller's bookkeeping excludes. */
    (void)fx_extents_add_free(&space->extents, extent.block, extent.count);
}

fx_space_batch *fx_space_batch_create(fx_space *space, size_t count) {
    fx_space_batch *batch = NULL;
    if (fx_extents_reserve_nodes(&space->extents, space->outstanding + count + 2)) {
        batch = fx_mem_alloc(sizeof *batch + count * sizeof batch->list[0]);
    }
    if (batch != NULL) {
        batch->next = NULL;
        batch->stamp = 0;
        batch->count = 0;
        space->outstanding += count;
    }
    return batch;
}

void fx_space_batch_destroy(fx_space *space, fx_space_batch *batch) {
    fx_mem_free(batch);
    fx_space_settle(space);
}

void fx_space_retire(fx_space *space, fx_space_batch *batch) {
    batch->stamp = fx_epoch_stamp(space->readers);
    fx_space_batch **last = &space->waiting;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = batch;
    for (size_t i = 0; i < batch->count; i++) {
        space->waiting_blocks += batch->list[i].count;
    }
    fx_space_settle(space);
}

static bool reclaim_oldest(fx_space *space) {
    fx_space_batch *batch = space->waiting;
    if (fx_epoch_safe(space->readers) <= batch->stamp) {
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        space->waiting_blocks -= batch->list[i].count;
        (void)fx_extents_add_free(&space->extents, batch->list[i].block, batch->list[i].count);
    }
    space->waiting = batch->next;
    fx_mem_free(batch);
    fx_space_settle(space);
    return true;
}

void fx_space_reclaim(fx_space *space, bool wait) {
    while (space->waiting != NULL) {
        if (!reclaim_oldest(space)) {
            if (!wait) {
                return;
            }
            (void)sched_yield(); /* a reader is inside one read of the device */
        }
    }
}

/* Two runs of `count` blocks. */
static feox_status take_two(fx_space *space, uint64_t count, bool grow, fx_extent taken[2]) {
    feox_status status = FEOX_ERR_SPACE;
    for (unsigned i = 0; i < 2; i++) {
        status = fx_space_take(space, count, 0, &taken[i]) ? FEOX_OK : FEOX_ERR_SPACE;
        if (status != FEOX_OK && grow) {
            status = fx_space_allocate(space, count, 0, &taken[i]);
        }
        if (status != FEOX_OK) {
            if (i == 1) {
                fx_space_undo(space, taken[0]);
            }
            return status;
        }
    }
    return status;
}

feox_status fx_space_keep_spare(fx_space *space, uint64_t count) {
    fx_extent longer[2];
    if (space->spare[0].count >= count) {
        return FEOX_OK;
    }
    feox_status status = take_two(space, count + count / 2, false, longer);
    if (status != FEOX_OK) {
        status = take_two(space, count, true, longer);
    }
    if (status != FEOX_OK) {
        return status;
    }
    fx_space_drop_spare(space);
    if (space->spare[0].count > 0) {
        fx_space_undo(space, longer[0]);
        fx_space_undo(space, longer[1]);
        return FEOX_ERR_MEMORY;
    }
    for (unsigned i = 0; i < 2; i++) {
        space->outstanding--; /* it is nobody's to undo */
        space->spare[i] = longer[i];
    }
    return FEOX_OK;
}

void fx_space_drop_spare(fx_space *space) {
    /* Without memory for nodes they stay. */
    if (space->spare[0].count == 0 ||
        !fx_extents_reserve_nodes(&space->extents, space->outstanding + 4)) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)fx_extents_add_free(&space->extents, space->spare[i].block, space->spare[i].count);
        space->spare[i] = (fx_extent){0, 0};
    }
}

int fx_space_shrink(fx_space *space, uint64_t keep_blocks, uint64_t least) {
    uint64_t tail = fx_extents_tail(&space->extents, space->file_blocks);
    uint64_t target = tail > keep_blocks ? tail : keep_blocks;
    if (target + least >= space->file_blocks) {
        return 0;
    }
    uint64_t cut = space->file_blocks - target;
    if (!fx_extents_reserve(&space->extents, target, cut)) {
        return 0; /* no memory for it: the file stays as long as it is */
    }
    int error = fx_dev_shrink(space->dev, target * FX_BLOCK_SIZE);
    if (error != 0) {
        (void)fx_extents_add_free(&space->extents, target, cut);
        return error;
    }
    space->file_blocks = target;
    return 0;
}
