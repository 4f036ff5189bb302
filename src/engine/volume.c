/* volume: what the parts of the file side share. */
#include "engine/volume.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "disk/checkpoint.h"
#include "engine/compactor.h"

void fx_volume_announce(const fx_flusher *flusher) {
    const fx_engine *engine = flusher->engine;
    if (engine->moved != NULL) {
        engine->moved(engine->moved_context);
    }
}

feox_status fx_volume_fail(fx_flusher *flusher, feox_status status, int error, const char *what) {
    if (fx_load_relaxed(&flusher->status) == FEOX_OK) {
        (void)snprintf(flusher->failure, sizeof flusher->failure, "%s", what);
        flusher->failure_errno = error;
        fx_store_release(&flusher->status, (int32_t)status);
        fx_volume_announce(flusher);
    }
    return fx_volume_status(flusher);
}

feox_status fx_volume_note_growth(fx_flusher *flusher) {
    return flusher->space.error == 0 ? fx_volume_status(flusher)
                                     : fx_volume_fail(flusher, FEOX_ERR_IO, -flusher->space.error,
                                                      "the file could not be grown");
}

feox_status fx_volume_status(const fx_flusher *flusher) {
    feox_status status = (feox_status)fx_load_acquire(&flusher->status);
    if (FX_LIKELY(status == FEOX_OK)) {
        return status;
    }
    return fx_error_set(status, flusher->failure_errno, "%s; the store is read-only",
                        flusher->failure);
}

uint64_t fx_volume_live_bytes(const fx_flusher *flusher) {
    const fx_segments *s = &flusher->segments;
    return s->live_bytes + s->inline_bytes +
           (s->large_blocks - s->dead_large_blocks) * FX_BLOCK_SIZE;
}

/* Bytes that may be filled without the file growing, if `keep` blocks stay free. */
static uint64_t room_beside(const fx_flusher *flusher, uint64_t keep) {
    uint64_t free_blocks = flusher->space.extents.free_blocks;
    uint64_t room = free_blocks > keep ? (free_blocks - keep) * FX_BLOCK_SIZE : 0;
    return room - room / 16; /* ends of segments, and runs too short for one */
}

/* What segments and free space take is part of the store's memory. */
static void charge(fx_flusher *flusher, uint64_t extents_memory) {
    const fx_segments *segments = &flusher->segments;
    uint64_t now =
        segments->memory + segments->capacity * sizeof segments->items[0] + extents_memory;
    fx_slab_pool_charge(&flusher->engine->pool, (int64_t)(now - flusher->charged));
    flusher->charged = now;
}

static void publish_room(fx_flusher *flusher, uint64_t run) {
    uint64_t keep = fx_volume_reserve(flusher);
    /* A table that outgrew its spare extents might find no room: no more puts until it has. */
    bool spare = flusher->space.spare[0].count >= fx_volume_table_blocks(flusher);
    uint64_t puts = keep + FX_TOMBSTONE_BLOCKS + fx_volume_ahead_blocks(flusher);
    uint64_t room = spare ? room_beside(flusher, puts) : 0;
    uint64_t room_deletes = room_beside(flusher, keep);
    if (fx_load_relaxed(&flusher->refusal.lasts) != 0) {
        uint64_t most = flusher->refusal.room_deletes;
        room = 0;
        run = 0;
        room_deletes = room_deletes < most ? room_deletes : most;
    }
    fx_store_relaxed(&flusher->room, room);
    fx_store_relaxed(&flusher->room_deletes, room_deletes);
    fx_store_relaxed(&flusher->run, run);
}

void fx_volume_publish(fx_flusher *flusher) {
    fx_volume_figures *figures = &flusher->figures;
    uint64_t live = fx_volume_live_bytes(flusher);
    uint64_t free_blocks = flusher->space.extents.free_blocks + flusher->space.waiting_blocks;
    fx_store_relaxed(&figures->file_size, flusher->space.file_blocks * FX_BLOCK_SIZE);
    fx_store_relaxed(&figures->file_free, free_blocks * FX_BLOCK_SIZE);
    fx_store_relaxed(&figures->file_live, live);
    fx_store_relaxed(&figures->written_bytes, flusher->staging.written_bytes);
    fx_store_relaxed(&figures->sync_method, (uint64_t)flusher->probe.best);
    fx_extents_stats free_space;
    fx_extents_statistics(&flusher->space.extents, &free_space);
    publish_room(flusher, free_space.largest_run);
    charge(flusher, free_space.memory);
    fx_store_relaxed(&figures->free_extents, free_space.run_count);
    fx_store_relaxed(&figures->free_extent_max, free_space.largest_run * FX_BLOCK_SIZE);
    uint64_t dead = flusher->segments.dead_segment_blocks + flusher->segments.dead_large_blocks;
    fx_store_relaxed(&figures->waiting, (dead + flusher->space.waiting_blocks) * FX_BLOCK_SIZE);
}

void fx_volume_count_read(fx_flusher *flusher, size_t size) {
    fx_add_relaxed(&flusher->disk_reads, (uint64_t)1);
    fx_add_relaxed(&flusher->disk_read_bytes, (uint64_t)size);
}

int fx_volume_read(fx_flusher *flusher, uint64_t offset, void *buffer, size_t size) {
    uint64_t end = fx_dev_size(flusher->dev) / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    if (offset > end || size > end - offset) {
        return -ERANGE;
    }
    fx_volume_count_read(flusher, size);
    return fx_dev_read(flusher->dev, offset, buffer, size);
}

feox_status fx_volume_read_large(fx_flusher *flusher, const fx_entry *entry, fx_block **block_out) {
    uint64_t offset = entry->large_offset;
    uint64_t end = fx_dev_size(flusher->dev);
    size_t left = entry->value_len;
    *block_out = NULL;
    if (offset % FX_BLOCK_SIZE != 0 || offset > end || left > end - offset ||
        left <= FX_INLINE_VALUE_MAX) { /* nobody writes such; it would have no pages */
        return FEOX_ERR_CORRUPT;
    }
    fx_block *block = fx_block_create(&flusher->engine->blocks, NULL, left);
    feox_status status = block == NULL ? FEOX_ERR_MEMORY : FEOX_OK;
    uint8_t *to = block != NULL ? block->data : NULL; /* whole pages: read as it lies there */
    while (status == FEOX_OK && left > 0) {
        size_t piece = left < FX_SEGMENT_SIZE_MAX ? left : FX_SEGMENT_SIZE_MAX;
        size_t whole = (size_t)fx_round_up(piece, FX_BLOCK_SIZE);
        int error = fx_volume_read(flusher, offset, to, whole);
        if (error != 0) {
            status = error == -ERANGE ? FEOX_ERR_CORRUPT
                                      : fx_error_set(FEOX_ERR_IO, -error, "reading at byte %llu",
                                                     (unsigned long long)offset);
            break;
        }
        to += piece;
        offset += whole;
        left -= piece;
    }
    if (status == FEOX_OK &&
        fx_format_large_checksum(&flusher->id, entry->large_offset, block->data,
                                 entry->value_len) != entry->large_checksum) {
        status = FEOX_ERR_CORRUPT;
    }
    if (status != FEOX_OK) {
        fx_block_release(block);
        return status;
    }
    *block_out = block;
    return FEOX_OK;
}

void fx_volume_lock_shards(fx_flusher *flusher) {
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        fx_spinlock_lock(&flusher->engine->shards[i].lock);
    }
}

void fx_volume_unlock_shards(fx_flusher *flusher) {
    for (uint32_t i = flusher->engine->shard_count; i > 0; i--) {
        fx_spinlock_unlock(&flusher->engine->shards[i - 1].lock);
    }
}

uint64_t fx_volume_step_blocks(const fx_flusher *flusher) {
    uint64_t step = flusher->segments.packed_blocks / FX_CLEAN_STEP_SHARE;
    uint64_t least = FX_CLEAN_STEP_MIN / FX_BLOCK_SIZE;
    uint64_t most = FX_CLEAN_STEP_MAX / FX_BLOCK_SIZE;
    step = step > least ? step : least;
    return step < most ? step : most;
}

uint64_t fx_volume_table_blocks(const fx_flusher *flusher) {
    /* Live bits, a header for each segment, 16 bytes for each large value of at least 17 blocks.
     * What lies in the ring, and what one step moves, may need a bit for each 32 bytes. */
    const fx_segments *segments = &flusher->segments;
    uint64_t step = fx_volume_step_blocks(flusher);
    step = step < segments->packed_blocks ? step : segments->packed_blocks;
    uint64_t anew = segments->inline_bytes + step * FX_BLOCK_SIZE;
    return fx_blocks_of(segments->table_words * 8 + anew / 200 + segments->count * 64) +
           segments->large_blocks / 4000 + 2;
}

uint64_t fx_volume_checkpoint_blocks(const fx_flusher *flusher) {
    uint64_t table = fx_volume_table_blocks(flusher);
    return (flusher->space.spare[0].count >= table ? 0 : 2 * table) +
           2 * fx_blocks_of(flusher->segments.inline_bytes);
}

/* Room to move records to, so that cleaning can begin in a full file. */
static uint64_t move_reserve(const fx_flusher *flusher) {
    uint64_t kept = flusher->segments.packed_blocks / 16;
    uint64_t step = fx_volume_step_blocks(flusher);
    uint64_t most = FX_SEGMENT_SIZE_MAX / FX_BLOCK_SIZE;
    most = step < most ? step : most;
    return kept < most ? kept : most;
}

uint64_t fx_volume_ahead_blocks(const fx_flusher *flusher) {
    const fx_space *space = &flusher->space;
    uint64_t sparse = fx_compactor_sparse_bytes(flusher);
    uint64_t step = fx_volume_step_blocks(flusher);
    uint64_t kept = move_reserve(flusher);
    bool full = space->limit_blocks != 0 && space->file_blocks >= space->limit_blocks;
    bool gains = sparse > step * FX_BLOCK_SIZE && sparse > flusher->cleaner.ahead_min;
    return full && gains ? step - kept : 0;
}

uint64_t fx_volume_reserve(const fx_flusher *flusher) {
    /* A longer table, and its copy, than the spare extents have room for, so that taking those
     * changes nothing for the others; what inline segments turn into; the ends of segments. */
    const fx_segments *segments = &flusher->segments;
    uint64_t table = fx_volume_table_blocks(flusher);
    uint64_t spare = 2 * flusher->space.spare[0].count;
    return 4 * table - (spare < 3 * table ? spare : 3 * table) +
           2 * fx_blocks_of(segments->inline_bytes) + 64 + move_reserve(flusher);
}
