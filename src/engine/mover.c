/* mover: why this way. Moved bytes go to segments that only the new checkpoint mentions, beside the
 * groups: no version changes, no group is needed, and it works while a group waits for space.
 *
 * Invariant M1: after fx_mover_tell no location in the table, in a write buffer or in dead_next is
 * an old place. Records first, then the buffers: a commit in between has read the new place from
 * its record, one before left the old place in its buffer, where it is still found. Nothing is
 * flushed in between, since flushing takes the ownership that the caller has.
 *
 * A large value moves only together with its record, which says where it is and what it sums to
 * there; so does every other record of that segment, which is cheap where values are large.
 */
#include "engine/mover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "engine/commit.h"

/* Write buffer entries translated under one hold of a shard's lock. */
#define TRANSLATE_BATCH 512u

/* What to read for a segment at `start`: groups that are alone in their entry stand in the ring one
 * behind the other, and reading each by itself would cost as much as writing it did. */
static size_t read_ahead(const fx_flusher *flusher, const fx_disk_segment *segment, uint64_t start,
                         size_t size) {
    const fx_extent *ring = &flusher->journal.extent;
    uint64_t left = (ring->block + ring->count) * FX_BLOCK_SIZE - start;
    if (segment->blocks > 0) {
        return size;
    }
    left = left < FX_SEGMENT_SIZE_MAX ? left : FX_SEGMENT_SIZE_MAX;
    return left > size ? (size_t)left : size;
}

/* Reads a segment; its image begins at *image_out inside the buffer. */
static feox_status read_segment(fx_flusher *flusher, fx_mover *mover,
                                const fx_disk_segment *segment, const uint8_t **image_out) {
    uint64_t start = segment->position / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    uint64_t lead = segment->position - start;
    size_t size = (size_t)fx_round_up(lead + segment->byte_length, FX_BLOCK_SIZE);
    if (segment->blocks == 0 && flusher->ring_image != NULL) {
        /* On the device a bit may still be wrong that memory has right. */
        *image_out = flusher->ring_image +
                     (segment->position - flusher->journal.extent.block * FX_BLOCK_SIZE);
        return FEOX_OK;
    }
    if (mover->buffer == NULL) {
        mover->buffer = fx_mem_map(FX_SEGMENT_SIZE_MAX + FX_BLOCK_SIZE, FX_BLOCK_SIZE);
        if (mover->buffer == NULL) {
            return FEOX_ERR_MEMORY;
        }
    }
    int error = 0;
    if (!FX_CHECK(start >= mover->buffer_from) ||
        start + size > mover->buffer_from + mover->buffer_size) {
        mover->buffer_from = start;
        mover->buffer_size = read_ahead(flusher, segment, start, size);
        error = fx_volume_read(flusher, start, mover->buffer, mover->buffer_size);
        if (error != 0 && mover->buffer_size > size) { /* the rest need not be readable */
            mover->buffer_size = size;
            error = fx_volume_read(flusher, start, mover->buffer, size);
        }
        mover->buffer_size = error == 0 ? mover->buffer_size : 0;
    }
    *image_out = mover->buffer + (start - mover->buffer_from) + lead;
    return error == 0 ? FEOX_OK
                      : fx_error_set(FEOX_ERR_IO, -error, "reading at byte %llu",
                                     (unsigned long long)start);
}

/* Seals the last image, which is complete, and writes it. */
void fx_mover_close(fx_flusher *flusher, fx_mover *mover) {
    if (mover->image_count == 0) {
        return;
    }
    fx_mover_image *image = &mover->images[mover->image_count - 1];
    fx_disk_segment *segment = image->segment;
    fx_extent extent = {segment->position / FX_BLOCK_SIZE, segment->blocks};
    fx_space_trim(&flusher->space, &extent, fx_blocks_of(segment->byte_length));
    segment->blocks = (uint32_t)extent.count;
    segment->known_count = segment->live_count;
    segment->known_bytes = segment->byte_length - FX_SEGMENT_HEADER_SIZE;
    fx_segment_find_stride(segment);
    image->room = 0;
    uint32_t offset = FX_SEGMENT_HEADER_SIZE;
    for (size_t i = image->first_move; i < mover->move_count; i++) {
        size_t size = fx_format_record_peek(image->bytes + offset);
        if (mover->moves[i].to != 0) {
            fx_format_record_spoil(image->bytes + offset, size, &flusher->id,
                                   segment->position + offset, segment->group);
        } else {
            fx_format_record_seal(image->bytes + offset, size, &flusher->id,
                                  segment->position + offset, segment->group);
        }
        mover->moves[i].to = (segment->position + offset) / FX_RECORD_ALIGN;
        offset += (uint32_t)size;
    }
    const fx_segment_header header = {.group = segment->group,
                                      .position = segment->position,
                                      .record_count = segment->record_count,
                                      .byte_length = segment->byte_length};
    (void)fx_format_segment_seal(image->bytes, &flusher->id, &header);
    fx_staging_copy(&flusher->staging, segment->position, image->bytes, segment->byte_length);
}

static bool image_room(fx_mover *mover) {
    if (mover->image_count < mover->image_capacity) {
        return true;
    }
    size_t capacity = mover->image_capacity == 0 ? 8 : mover->image_capacity * 2;
    fx_mover_image *grown = fx_mem_realloc(mover->images, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    mover->images = grown;
    mover->image_capacity = capacity;
    return true;
}

/* An image for what is still to come, or as much of it as a free run takes, and at least for a
 * record of `size` bytes. */
static feox_status open_image(fx_flusher *flusher, fx_mover *mover, uint32_t size) {
    uint64_t wanted = FX_SEGMENT_HEADER_SIZE + (mover->expected > size ? mover->expected : size);
    wanted = wanted < FX_SEGMENT_SIZE_MAX ? wanted : FX_SEGMENT_SIZE_MAX;
    fx_extent extent;
    if (!image_room(mover)) {
        return FEOX_ERR_MEMORY;
    }
    feox_status status = fx_space_allocate_outside(
        &flusher->space, fx_blocks_of(FX_SEGMENT_HEADER_SIZE + (uint64_t)size),
        fx_blocks_of(wanted), &mover->avoid, &extent);
    if (status != FEOX_OK) {
        return status;
    }
    uint32_t room = (uint32_t)extent.count * FX_BLOCK_SIZE;
    uint64_t group = fx_load_relaxed(&flusher->durable_group);
    fx_mover_image image = {.segment = fx_segment_create(extent.block * FX_BLOCK_SIZE, room,
                                                         (uint32_t)extent.count, group, 0, 0),
                            .bytes = fx_mem_map(room, FX_BLOCK_SIZE),
                            .size = room,
                            .room = room,
                            .first_move = mover->move_count};
    if (image.segment == NULL || image.bytes == NULL) {
        fx_space_undo(&flusher->space, extent);
        fx_segment_destroy(image.segment);
        fx_mem_unmap(image.bytes, room);
        return FEOX_ERR_MEMORY;
    }
    /* The bitmap is for the whole room; the length is what is in use. */
    image.segment->byte_length = FX_SEGMENT_HEADER_SIZE;
    mover->images[mover->image_count++] = image;
    return FEOX_OK;
}

static bool move_room(fx_mover *mover) {
    if (mover->move_count < mover->move_capacity) {
        return true;
    }
    size_t capacity = mover->move_capacity == 0 ? 1024 : mover->move_capacity * 2;
    fx_move *grown = fx_mem_realloc(mover->moves, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    mover->moves = grown;
    mover->move_capacity = capacity;
    return true;
}

/* ---- Large values ---- */

static bool large_room(fx_mover *mover) {
    if (mover->large_count < mover->large_capacity) {
        return true;
    }
    size_t capacity = mover->large_capacity == 0 ? 8 : mover->large_capacity * 2;
    fx_mover_large *grown = fx_mem_realloc(mover->larges, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    mover->larges = grown;
    mover->large_capacity = capacity;
    return true;
}

/* Copies a large value to another place, and says so in `bytes`, the copy of its record, and in
 * *large. One that cannot be copied as it should be stays. FEOX_ERR_SPACE, or the growth failed. */
static feox_status move_large(fx_flusher *flusher, fx_mover *mover, const fx_entry *entry,
                              uint8_t *bytes, fx_segment_large *large) {
    fx_block *block = NULL;
    fx_extent to;
    if (!large_room(mover) || fx_volume_read_large(flusher, entry, &block) != FEOX_OK) {
        return FEOX_OK;
    }
    feox_status status = fx_space_allocate_outside(&flusher->space, large->blocks, large->blocks,
                                                   &mover->avoid, &to);
    if (status == FEOX_OK) {
        uint64_t position = to.block * FX_BLOCK_SIZE;
        size_t size = (size_t)block->size;
        fx_format_record_set_large(
            bytes, position, fx_format_large_checksum(&flusher->id, position, block->data, size));
        fx_staging_copy(&flusher->staging, position, block->data, size);
        mover->larges[mover->large_count++] =
            (fx_mover_large){.from = {large->block, large->blocks}, .to = to};
        mover->moved_bytes += size;
        large->block = to.block;
    }
    fx_block_release(block);
    return status;
}

static bool is_avoided(const fx_mover *mover, const fx_segment_large *large) {
    const fx_extent *avoid = &mover->avoid;
    return large->block < avoid->block + avoid->count &&
           avoid->block < large->block + large->blocks;
}

/* ---- Records ---- */

/* Puts one record into an image, a new one if the last is full. */
static feox_status take_record(fx_flusher *flusher, fx_mover *mover, const fx_disk_segment *from,
                               const uint8_t *bytes, const fx_walked *record, bool spoilt) {
    const fx_mover_image *last =
        mover->image_count > 0 ? &mover->images[mover->image_count - 1] : NULL;
    if (last == NULL || last->segment->byte_length + record->size > last->room) {
        fx_mover_close(flusher, mover);
        feox_status status = open_image(flusher, mover, record->size);
        if (status != FEOX_OK) {
            return status;
        }
    }
    fx_mover_image *image = &mover->images[mover->image_count - 1];
    fx_disk_segment *to = image->segment;
    uint32_t offset = to->byte_length;
    if (!move_room(mover) || !fx_segment_reserve_large(to)) {
        return FEOX_ERR_MEMORY;
    }
    memcpy(image->bytes + offset, bytes, record->size);
    const fx_segment_large *found =
        record->entry.kind == FX_ENTRY_LARGE ? fx_segment_find_large(from, record->offset) : NULL;
    if (found != NULL) {
        fx_segment_large large = *found;
        feox_status status = FEOX_OK;
        if (!spoilt && is_avoided(mover, &large)) {
            status = move_large(flusher, mover, &record->entry, image->bytes + offset, &large);
        }
        if (status != FEOX_OK) {
            return status;
        }
        fx_segment_add_large(to, offset, large.block, large.blocks);
    }
    to->byte_length += record->size;
    to->record_count++;
    fx_segment_set_live(to, offset);
    mover->moves[mover->move_count++] = (fx_move){.from = record->location, .to = spoilt ? 1 : 0};
    mover->expected -= record->size < mover->expected ? record->size : mover->expected;
    return FEOX_OK;
}

/* Whether every live record can be told, and how many bytes they are. */
static bool is_sound(fx_flusher *flusher, const fx_disk_segment *segment, const uint8_t *bytes,
                     uint32_t *live_bytes_out) {
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    *live_bytes_out = 0;
    fx_segment_walk_init(&walk, &flusher->id, bytes, segment->position, segment->group,
                         segment->byte_length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) == FX_WALK_RECORD ||
           result == FX_WALK_BAD_VALUE) {
        *live_bytes_out += record.size;
    }
    return result == FX_WALK_END;
}

uint32_t fx_mover_fullness(const fx_disk_segment *segment) {
    uint64_t size = (uint64_t)segment->blocks * FX_BLOCK_SIZE;
    return (uint32_t)(fx_segment_live_bytes(segment) * 1024 / size);
}

/* A packed segment, looked at closely: sound, and worth moving. */
static bool is_wanted(fx_flusher *flusher, const fx_mover *mover, fx_disk_segment *segment,
                      const uint8_t *bytes) {
    uint32_t live_bytes;
    if (!is_sound(flusher, segment, bytes, &live_bytes)) {
        segment->damaged = true;
        return false;
    }
    fx_segments_measured(&flusher->segments, segment, live_bytes);
    return fx_mover_fullness(segment) < mover->fullness_max ||
           fx_segment_touches(segment, &mover->avoid);
}

feox_status fx_mover_take(fx_flusher *flusher, fx_mover *mover, fx_disk_segment *segment) {
    const uint8_t *bytes;
    feox_status status = read_segment(flusher, mover, segment, &bytes);
    if (status == FEOX_ERR_IO && segment->blocks == 0) {
        /* Nothing is lost, but the ring can never be emptied: soon nothing could be written. */
        return fx_volume_fail(flusher, status, EIO, "the journal cannot be read back");
    }
    if (status != FEOX_OK && status != FEOX_ERR_IO) {
        return status;
    }
    if (segment->blocks > 0) {
        segment->damaged = status != FEOX_OK;
        segment->moving = status == FEOX_OK && is_wanted(flusher, mover, segment, bytes);
        if (!segment->moving) {
            return FEOX_OK;
        }
        mover->moved_bytes += segment->known_bytes;
    }
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    fx_segment_walk_init(&walk, &flusher->id, bytes, segment->position, segment->group,
                         segment->byte_length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED) {
            mover->lost++; /* in the ring; it cannot stay there */
            continue;
        }
        status = take_record(flusher, mover, segment, bytes + record.offset, &record,
                             result == FX_WALK_BAD_VALUE);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return FEOX_OK;
}

static int by_from(const void *a, const void *b) {
    const fx_move *x = a;
    const fx_move *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

/* Where the record at `location` is now. */
static uint64_t translate(const fx_mover *mover, uint64_t location) {
    if (location < mover->moves[0].from || location > mover->moves[mover->move_count - 1].from) {
        return location;
    }
    const fx_move wanted = {.from = location, .to = 0};
    const fx_move *found =
        bsearch(&wanted, mover->moves, mover->move_count, sizeof wanted, by_from);
    return found != NULL ? found->to : location;
}

/* The moves of an image stand in the order of its records. */
static void tell_records(fx_flusher *flusher, const fx_mover *mover, const fx_mover_image *image) {
    const fx_disk_segment *segment = image->segment;
    fx_entry entry;
    size_t size = 0;
    uint32_t offset = FX_SEGMENT_HEADER_SIZE;
    for (size_t i = image->first_move; offset < segment->byte_length; i++) {
        if (!FX_CHECK(fx_format_record_decode(image->bytes + offset, segment->byte_length - offset,
                                              &entry, &size))) {
            return;
        }
        uint64_t hash = fx_engine_hash(flusher->engine, entry.key, entry.key_len);
        fx_shard *shard = fx_engine_shard(flusher->engine, hash);
        fx_spinlock_lock(&shard->lock);
        fx_record *record = fx_commit_any_locked(shard, hash, entry.key, entry.key_len);
        if (record != NULL && fx_record_location(record) == mover->moves[i].from) {
            fx_record_set_location(record, mover->moves[i].to);
        }
        fx_spinlock_unlock(&shard->lock);
        offset += (uint32_t)size;
    }
}

static void tell_buffers(fx_flusher *flusher, const fx_mover *mover) {
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        fx_shard *shard = &flusher->engine->shards[i];
        for (unsigned h = 0; h < 2; h++) {
            fx_wbuf_half *half = &shard->wbuf.halves[h];
            uint32_t j = 0;
            for (bool more = true; more;) { /* entries added meanwhile know the new places */
                fx_spinlock_lock(&shard->lock);
                for (uint32_t k = 0; k < TRANSLATE_BATCH && j < half->count; k++, j++) {
                    uint64_t *old = &half->entries[j].old_location;
                    *old = *old != 0 ? translate(mover, *old) : 0;
                }
                more = j < half->count;
                fx_spinlock_unlock(&shard->lock);
            }
        }
    }
    for (size_t i = 0; i < flusher->dead_count; i++) {
        flusher->dead_next[i] = translate(mover, flusher->dead_next[i]);
    }
}

void fx_mover_tell(fx_flusher *flusher, fx_mover *mover) {
    if (mover->move_count == 0) {
        return;
    }
    for (size_t i = 0; i < mover->image_count; i++) {
        tell_records(flusher, mover, &mover->images[i]);
    }
    qsort(mover->moves, mover->move_count, sizeof *mover->moves, by_from);
    tell_buffers(flusher, mover);
}

void fx_mover_undo(fx_flusher *flusher, fx_mover *mover) {
    for (size_t i = 0; i < mover->image_count; i++) {
        fx_disk_segment *segment = mover->images[i].segment;
        fx_space_undo(&flusher->space, (fx_extent){.block = segment->position / FX_BLOCK_SIZE,
                                                   .count = segment->blocks});
        fx_segment_destroy(segment);
        mover->images[i].segment = NULL;
    }
    for (size_t i = 0; i < mover->large_count; i++) {
        fx_space_undo(&flusher->space, mover->larges[i].to);
    }
}

void fx_mover_deinit(fx_mover *mover) {
    for (size_t i = 0; i < mover->image_count; i++) {
        fx_mem_unmap(mover->images[i].bytes, mover->images[i].size);
        fx_segment_destroy(mover->images[i].segment);
    }
    fx_mem_free(mover->images);
    fx_mem_free(mover->moves);
    fx_mem_free(mover->larges);
    fx_mem_unmap(mover->buffer, FX_SEGMENT_SIZE_MAX + FX_BLOCK_SIZE);
    memset(mover, 0, sizeof *mover);
}
