/* compactor: why this way. A checkpoint says what is live after the last durable group; everything
 * that is not, is free from then on. It is written beside everything else and takes effect with one
 * block, the superblock. A crash before that block is durable finds everything where it was; after
 * it, everything where it is now.
 *
 * Invariants:
 *   C1 nothing that the current checkpoint or its journal mentions is overwritten or freed before
 *      the next superblock is durable, nor before the reads that had begun by then are over (I4).
 *   C2 live bits do not change during a checkpoint: only finished groups change them.
 *   C3 records in the ring are moved out of it, whole: the ring is empty after a checkpoint.
 *
 * Segment cleaning, emptiest first: Rosenblum, Ousterhout 1992.
 */
#include "engine/compactor.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "disk/checkpoint.h"
#include "engine/mover.h"
#include "engine/refusal.h"

typedef struct work {
    fx_mover mover;
    uint8_t *table;
    size_t table_length;
    fx_extent table_extent[2]; /* the same bytes in each */
    bool in_spare;             /* which they are: the old tables' extents are the next ones */
    uint64_t table_checksum;
    fx_space_batch *batch; /* what will be free */
} work;

/* ---- When ---- */

static uint64_t dead_blocks(const fx_flusher *flusher) {
    return flusher->segments.dead_segment_blocks + flusher->segments.dead_large_blocks;
}

static uint64_t dead_blocks_bound(const fx_flusher *flusher) {
    uint64_t share = flusher->space.file_blocks / 8;
    uint64_t least = FX_FILE_GROWTH_MIN / FX_BLOCK_SIZE;
    return share > least ? share : least;
}

uint64_t fx_compactor_sparse_bytes(const fx_flusher *flusher) {
    const fx_segments *s = &flusher->segments;
    uint64_t kept = (s->packed_blocks - s->dead_segment_blocks) * FX_BLOCK_SIZE;
    return kept > s->live_bytes ? kept - s->live_bytes : 0;
}

static bool is_sparse(const fx_disk_segment *segment, uint32_t fullness_max) {
    return segment->blocks > 0 && segment->live_count > 0 && !segment->damaged &&
           fx_mover_fullness(segment) < fullness_max;
}

bool fx_compactor_any_sparse(const fx_flusher *flusher, uint32_t fullness_max) {
    for (size_t i = 0; i < flusher->segments.count; i++) {
        if (is_sparse(flusher->segments.items[i], fullness_max)) {
            return true;
        }
    }
    return false;
}

bool fx_compactor_must(const fx_flusher *flusher) {
    return flusher->journal.used > flusher->journal.extent.count / 4 * 3 ||
           dead_blocks(flusher) > 2 * dead_blocks_bound(flusher);
}

bool fx_compactor_due(const fx_flusher *flusher) {
    return flusher->journal.used > flusher->journal.extent.count / 2 ||
           dead_blocks(flusher) > dead_blocks_bound(flusher);
}

bool fx_compactor_can_free(const fx_flusher *flusher) {
    return dead_blocks(flusher) > 0 || flusher->space.waiting != NULL ||
           flusher->journal.used > 0 || fx_compactor_any_sparse(flusher, FX_CLEAN_DENSE);
}

/* ---- What to move ---- */

static int by_fullness(const void *a, const void *b) {
    uint32_t x = fx_mover_fullness(*(fx_disk_segment *const *)a);
    uint32_t y = fx_mover_fullness(*(fx_disk_segment *const *)b);
    return (x > y) - (x < y);
}

/* Bytes of records that there is room for at their new places, so that no step is given up when
 * most of it is written: what is free, and what the file may still grow by. */
static uint64_t affordable(const fx_flusher *flusher) {
    const fx_space *space = &flusher->space;
    uint64_t keep = fx_volume_checkpoint_blocks(flusher);
    uint64_t room = space->extents.free_blocks;
    if (space->limit_blocks == 0) {
        return UINT64_MAX;
    }
    room += space->limit_blocks > space->file_blocks ? space->limit_blocks - space->file_blocks : 0;
    room = room > keep ? room - keep : 0;
    return (room - room / 32) * FX_BLOCK_SIZE;
}

/* The emptiest segments, up to the budget. Without memory: none. */
static void mark_sparse(fx_flusher *flusher, const fx_cleaning *what) {
    const fx_segments *segments = &flusher->segments;
    fx_disk_segment **sparse = fx_mem_alloc((segments->count + 1) * sizeof *sparse);
    size_t count = 0;
    uint64_t bytes = 0;
    if (sparse == NULL) {
        return;
    }
    for (size_t i = 0; i < segments->count; i++) {
        if (is_sparse(segments->items[i], what->fullness_max)) {
            sparse[count++] = segments->items[i];
        }
    }
    qsort(sparse, count, sizeof *sparse, by_fullness);
    size_t chosen = 0;
    uint64_t blocks = 0;
    uint64_t most = affordable(flusher);
    for (; chosen < count && bytes < what->budget &&
           bytes + fx_segment_live_bytes(sparse[chosen]) <= most;
         chosen++) {
        sparse[chosen]->moving = true;
        bytes += fx_segment_live_bytes(sparse[chosen]);
        blocks += sparse[chosen]->blocks;
    }
    /* A few short segments would only become another one. */
    uint64_t then =
        fx_blocks_of(bytes + FX_SEGMENT_HEADER_SIZE * (bytes / FX_SEGMENT_SIZE_MAX + 1));
    if (blocks * FX_CLEAN_DENSE / 1024 <= then) {
        for (size_t i = 0; i < chosen; i++) {
            sparse[i]->moving = false;
        }
    }
    fx_mem_free(sparse);
}

static void mark(fx_flusher *flusher, const fx_cleaning *what, fx_mover *mover) {
    if (what->fullness_max > 0) {
        mark_sparse(flusher, what);
    }
    for (size_t i = 0; i < flusher->segments.count; i++) {
        fx_disk_segment *segment = flusher->segments.items[i];
        segment->moving = segment->moving || (segment->blocks == 0 && segment->live_count > 0) ||
                          (!segment->damaged && fx_segment_touches(segment, &what->avoid));
        mover->expected += segment->moving ? fx_segment_live_bytes(segment) : 0;
    }
}

static feox_status move_records(fx_flusher *flusher, work *w, const fx_cleaning *what) {
    feox_status status = FEOX_OK;
    w->mover.avoid = what->avoid;
    if (what->avoid.count > 0) {
        fx_space_drop_spare(&flusher->space);
    }
    w->mover.fullness_max = what->fullness_max;
    mark(flusher, what, &w->mover);
    for (size_t i = 0; status == FEOX_OK && i < flusher->segments.count; i++) {
        if (flusher->segments.items[i]->moving) {
            status = fx_mover_take(flusher, &w->mover, flusher->segments.items[i]);
        }
    }
    if (status == FEOX_OK) {
        fx_mover_close(flusher, &w->mover);
    }
    return status;
}

/* ---- The table ---- */

static bool stays(const fx_disk_segment *segment) {
    return segment->live_count > 0 && !segment->moving;
}

/* In the spare extents if they do, so that a checkpoint is possible however the free space is cut
 * up; in the first runs elsewhere that do. */
static feox_status place_tables(fx_flusher *flusher, work *w, uint64_t blocks) {
    fx_space *space = &flusher->space;
    if (space->spare[0].count >= blocks) {
        w->table_extent[0] = space->spare[0];
        w->table_extent[1] = space->spare[1];
        w->in_spare = true;
        return FEOX_OK;
    }
    feox_status status = FEOX_OK;
    for (unsigned copy = 0; status == FEOX_OK && copy < 2; copy++) {
        status = fx_space_allocate_outside(space, blocks, blocks, &w->mover.avoid,
                                           &w->table_extent[copy]);
    }
    return status;
}

static feox_status write_table(fx_flusher *flusher, work *w) {
    const fx_segments *segments = &flusher->segments;
    size_t length = FX_CHECKPOINT_HEADER_SIZE;
    for (size_t i = 0; i < segments->count; i++) {
        length += stays(segments->items[i]) ? fx_checkpoint_item_size(segments->items[i]) : 0;
    }
    for (size_t i = 0; i < w->mover.image_count; i++) {
        length += fx_checkpoint_item_size(w->mover.images[i].segment);
    }
    w->table = fx_mem_alloc(length);
    if (w->table == NULL) {
        return FEOX_ERR_MEMORY;
    }
    feox_status status = place_tables(flusher, w, fx_blocks_of(length));
    if (status != FEOX_OK) {
        return status;
    }
    fx_checkpoint_writer writer;
    fx_checkpoint_begin(&writer, w->table, &flusher->id, fx_load_relaxed(&flusher->durable_group));
    for (size_t i = 0; i < segments->count; i++) {
        if (stays(segments->items[i])) {
            fx_checkpoint_append(&writer, segments->items[i]);
        }
    }
    for (size_t i = 0; i < w->mover.image_count; i++) {
        fx_checkpoint_append(&writer, w->mover.images[i].segment);
    }
    FX_ASSERT(writer.at == length);
    w->table_length = length;
    w->table_checksum = fx_checkpoint_finish(&writer);
    for (unsigned copy = 0; copy < 2; copy++) {
        fx_staging_copy(&flusher->staging, w->table_extent[copy].block * FX_BLOCK_SIZE, w->table,
                        length);
    }
    return FEOX_OK;
}

/* What will be free when the new superblock is durable. */
static feox_status list_garbage(fx_flusher *flusher, work *w) {
    size_t count = fx_segments_garbage(&flusher->segments, NULL, 0);
    const fx_extent *old = &flusher->root.checkpoint;
    w->batch = fx_space_batch_create(&flusher->space, count + w->mover.large_count + 2);
    if (w->batch == NULL || !fx_segments_reserve(&flusher->segments, w->mover.image_count)) {
        return FEOX_ERR_MEMORY;
    }
    w->batch->count = fx_segments_garbage(&flusher->segments, w->batch->list, count);
    for (size_t i = 0; i < w->mover.large_count; i++) {
        w->batch->list[w->batch->count++] = w->mover.larges[i].from;
    }
    if (old->count > 0 && !w->in_spare) {
        w->batch->list[w->batch->count++] = *old;
        w->batch->list[w->batch->count++] =
            (fx_extent){.block = flusher->root.mirror, .count = old->count};
    }
    return FEOX_OK;
}

/* ---- The checkpoint ---- */

/* Everything but the superblock: after this nothing can fail but the device. */
static feox_status prepare(fx_flusher *flusher, work *w, const fx_cleaning *what) {
    feox_status status = move_records(flusher, w, what);
    status = status == FEOX_OK ? write_table(flusher, w) : status;
    return status == FEOX_OK ? list_garbage(flusher, w) : status;
}

static void undo(fx_flusher *flusher, work *w) {
    int error = fx_staging_drain(&flusher->staging);
    if (error != 0 && error != -ENOSPC) {
        (void)fx_volume_fail(flusher, FEOX_ERR_IO, -error, "a checkpoint was not written");
    }
    fx_mover_undo(flusher, &w->mover);
    for (unsigned copy = 0; copy < 2 && !w->in_spare; copy++) {
        if (w->table_extent[copy].count > 0) {
            fx_space_undo(&flusher->space, w->table_extent[copy]);
        }
    }
    if (w->batch != NULL) {
        fx_space_batch_destroy(&flusher->space, w->batch);
    }
    for (size_t i = 0; i < flusher->segments.count; i++) {
        flusher->segments.items[i]->moving = false;
    }
}

static void write_copy(fx_flusher *flusher, const fx_superblock *root) {
    fx_staging_slot *slot = fx_staging_acquire(&flusher->staging);
    fx_superblock_encode(slot->buffer, root);
    fx_staging_write(&flusher->staging, slot,
                     root->generation % FX_SUPERBLOCK_COPIES * FX_BLOCK_SIZE, FX_BLOCK_SIZE);
}

/* Whether a copy that was refused is there all the same, or may be. It lies in one sector. */
static bool is_there(fx_flusher *flusher, const fx_superblock *root) {
    uint8_t *wanted = fx_staging_acquire(&flusher->staging)->buffer;
    uint8_t *found = wanted + FX_BLOCK_SIZE;
    fx_superblock_encode(wanted, root);
    int error = fx_volume_read(flusher, root->generation % FX_SUPERBLOCK_COPIES * FX_BLOCK_SIZE,
                               found, FX_BLOCK_SIZE);
    return error != 0 || memcmp(found, wanted, FX_SECTOR_SIZE) == 0;
}

/* The first copy makes the checkpoint count: refused, the other one goes on to count, unless it is
 * there nevertheless, for a crash would find the one or the other. The second says the same, so
 * that later damage to either copy costs nothing; it may become durable with the next group.
 * Refused, there is an older one in its place, which the next checkpoint replaces. */
int fx_compactor_write_root(fx_flusher *flusher, fx_superblock *root) {
    root->generation++;
    write_copy(flusher, root);
    int error = fx_staging_drain(&flusher->staging);
    if (error == -ENOSPC && is_there(flusher, root)) {
        return -EIO;
    }
    error = error == 0 ? fx_staging_sync(&flusher->staging) : error;
    if (error == 0) {
        root->generation++;
        write_copy(flusher, root);
        error = fx_staging_drain(&flusher->staging);
        if (error == -ENOSPC) {
            root->generation--;
            error = 0;
        }
    }
    return error;
}

static void make_root(fx_flusher *flusher, const work *w, fx_superblock *root) {
    *root = flusher->root;
    root->flags = 0;
    root->journal_head = flusher->journal.next;
    root->group = fx_load_relaxed(&flusher->durable_group);
    root->checkpoint = w->table_extent[0];
    root->mirror = w->table_extent[1].block;
    root->checkpoint_length = w->table_length;
    root->checkpoint_checksum = w->table_checksum;
    root->counter = flusher->counter;
    root->time_ns = flusher->time_ns;
    root->file_blocks = flusher->space.file_blocks;
    if (!fx_random_bytes(&root->epoch, sizeof root->epoch)) {
        root->epoch = fx_format_seed(&root->id, root->generation ^ root->time_ns);
    }
}

/* The new superblock is durable. */
static void switch_over(fx_flusher *flusher, work *w, const fx_superblock *root) {
    if (w->in_spare) { /* no reader looks at tables: it can be written again at once */
        flusher->space.spare[0] = flusher->root.checkpoint;
        flusher->space.spare[1] =
            (fx_extent){.block = flusher->root.mirror, .count = flusher->root.checkpoint.count};
    }
    flusher->root = *root;
    fx_mover_tell(flusher, &w->mover);
    fx_segments_sweep(&flusher->segments);
    for (size_t i = 0; i < w->mover.image_count; i++) {
        if (fx_segments_add(&flusher->segments, w->mover.images[i].segment)) {
            w->mover.images[i].segment = NULL;
        }
    }
    /* Reads that began before may look at the ring, too: nothing is written there under them. */
    uint64_t stamp = fx_epoch_stamp(&flusher->readers);
    while (w->mover.move_count > 0 && fx_epoch_safe(&flusher->readers) <= stamp) {
        (void)sched_yield();
    }
    fx_journal_reset(&flusher->journal);
    flusher->refusal.scar = 0; /* it is of the old epoch */
    fx_space_retire(&flusher->space, w->batch);
    fx_space_reclaim(&flusher->space, false);
    fx_add_relaxed(&flusher->corrupt_records, w->mover.lost);
    fx_add_relaxed(&flusher->figures.checkpoints, (uint64_t)1);
    fx_add_relaxed(&flusher->figures.compacted_bytes, w->mover.moved_bytes);
}

feox_status fx_compactor_clean(fx_flusher *flusher, const fx_cleaning *what, uint64_t *moved_out) {
    work w;
    fx_superblock root;
    memset(&w, 0, sizeof w);
    *moved_out = 0;
    feox_status status = fx_volume_status(flusher);
    if (status != FEOX_OK) {
        return status;
    }
    status = prepare(flusher, &w, what);
    int error = 0;
    if (status == FEOX_OK) {
        error = fx_staging_sync(&flusher->staging);
        make_root(flusher, &w, &root);
        error = error == 0 ? fx_compactor_write_root(flusher, &root) : error;
    }
    if (error == -ENOSPC) { /* nothing refers to what was written */
        status = fx_error_set(FEOX_ERR_SPACE, ENOSPC, "the device has no room for a checkpoint");
        fx_refusal_rest(flusher);
    }
    if (error != 0 && error != -ENOSPC) {
        /* Which root is durable is not known: nothing may be reused or written. */
        status = fx_volume_fail(flusher, FEOX_ERR_IO, -error, "a checkpoint was not written");
        fx_mem_free(w.batch);
    } else if (status != FEOX_OK) {
        undo(flusher, &w);
        feox_status sticky = fx_volume_note_growth(flusher);
        status = sticky != FEOX_OK ? sticky : status;
    } else {
        switch_over(flusher, &w, &root);
        *moved_out = w.mover.moved_bytes;
    }
    fx_mover_deinit(&w.mover);
    fx_mem_free(w.table);
    fx_volume_publish(flusher);
    return status;
}

feox_status fx_compactor_checkpoint(fx_flusher *flusher, bool compact) {
    uint64_t ignored;
    fx_cleaning what = {.fullness_max = compact ? FX_CLEAN_DENSE : 0,
                        .budget = fx_volume_step_blocks(flusher) * FX_BLOCK_SIZE};
    feox_status status = fx_compactor_clean(flusher, &what, &ignored);
    while (status == FEOX_ERR_SPACE && what.fullness_max > 0) {
        what.budget /= 4; /* moving needs room, too; what is dead is free without */
        what.fullness_max = what.budget >= FX_SEGMENT_SIZE_MAX / 4 ? FX_CLEAN_DENSE : 0;
        status = fx_compactor_clean(flusher, &what, &ignored);
    }
    return status;
}
