/* group: why this way. All that can fail for want of space or memory comes first (plan); then the
 * segments, the large values and the journal entry are written in any order, and one SYNC makes
 * them durable together: the entry's checksums let recovery see whether everything arrived. A group
 * that is its entry alone may be one write that is safe by itself instead (probe.h). Only then do
 * records get their places on disk (finish).
 *
 * A device that copies on write may refuse any of it for want of space: then what was written must
 * never count (refusal.h), its places are free again, and the commits wait on. On a device that has
 * refused before, the entry waits until all that it names is there: that makes it easy, and costs a
 * third more (ext4, durable values of 60 to 500 KB: 254 to 463 us, 352 to 687 with the wait).
 *
 * Invariants:
 *   G1 one group is in flight at most; the half in flight of every write buffer is empty outside
 *      fx_group_flush, unless flight_left says that an undo lacked memory.
 *   G2 a location becomes visible only when it is durable.
 *   G3 finish takes no memory and cannot fail.
 *   G4 a record's old place is dead once the group that replaces it is durable; a record that was
 *      replaced while its group was in flight is dead with the next group (dead_next).
 *
 * Group commit: DeWitt et al. 1984; one flush shared by all who committed before the cut.
 */
#include "engine/group.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "engine/commit.h"
#include "engine/cleaner.h"
#include "engine/compactor.h"
#include "engine/refusal.h"

/* Entries for which finish holds a shard's lock at a stretch. */
#define FINISH_BATCH 128u
/* Segments are not made smaller than this while the file may grow instead. */
#define PIECE_MIN (FX_SEGMENT_SIZE_MAX / 4)

/* A place in the sequence of all entries in flight: shards in order, entries in order. */
typedef struct cursor {
    uint32_t shard;
    uint32_t entry;
} cursor;

typedef struct planned {
    fx_disk_segment *segment;
    cursor first;
    uint64_t checksum;
} planned;

typedef struct plan {
    uint64_t group;
    planned *segments;
    uint32_t count;
    uint32_t capacity;
    bool inlined;
    bool bare; /* what is kept for moving records may be used, too: they were accepted */
    uint64_t entry_blocks;
    uint64_t ring_block;
    uint64_t put_count;
    uint64_t *dead_next;
    uint64_t drawn; /* room that was taken for the group */
    uint64_t drawn_run;
    fx_extent *larges;    /* places of its large values, in order */
    uint32_t large_total; /* so many there will be ... */
    uint32_t large_count; /* ... have a place ... */
    uint32_t large_next;  /* ... and have a segment */
} plan;

/* The next entry that has bytes, from `at` on; NULL: no more. Leaves `at` on it. */
static fx_wbuf_entry *next_entry(fx_engine *engine, cursor *at, fx_wbuf_half **half_out) {
    for (; at->shard < engine->shard_count; at->shard++, at->entry = 0) {
        fx_wbuf_half *half = fx_wbuf_flight(&engine->shards[at->shard].wbuf);
        for (; at->entry < half->count; at->entry++) {
            if (half->entries[at->entry].size > 0) {
                *half_out = half;
                return &half->entries[at->entry];
            }
        }
    }
    return NULL;
}

/* ---- Cutting ---- */

static void take_off(uint64_t *room, uint64_t drawn) {
    uint64_t before = fx_load_relaxed(room);
    fx_store_relaxed(room, before > drawn ? before - drawn : 0);
}

/* The next group starts with what this one left of the room. All shards are locked. */
static void cut_room_locked(fx_flusher *flusher, plan *p) {
    p->drawn = fx_load_relaxed(&flusher->drawn);
    p->drawn_run = fx_load_relaxed(&flusher->drawn_run);
    take_off(&flusher->room, p->drawn);
    take_off(&flusher->room_deletes, p->drawn);
    take_off(&flusher->run, p->drawn_run);
    fx_store_relaxed(&flusher->drawn, (uint64_t)0);
    fx_store_relaxed(&flusher->drawn_run, (uint64_t)0);
}

/* Nothing was committed: what shards have taken of the room they give back. Shards locked. */
static void return_room_locked(fx_flusher *flusher) {
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        flusher->engine->shards[i].wbuf.admitted = 0;
    }
    fx_store_relaxed(&flusher->drawn, (uint64_t)0);
    fx_store_relaxed(&flusher->drawn_run, (uint64_t)0);
}

/* False: there is nothing to write. */
static bool cut(fx_flusher *flusher, plan *p) {
    fx_engine *engine = flusher->engine;
    bool any = false;
    uint64_t counter = flusher->counter;
    fx_volume_lock_shards(flusher);
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        const fx_shard *shard = &engine->shards[i];
        any = any || shard->wbuf.halves[shard->wbuf.open].count > 0;
        counter = shard->counter > counter ? shard->counter : counter;
    }
    if (any) {
        for (uint32_t i = 0; i < engine->shard_count; i++) {
            fx_wbuf_cut(&engine->shards[i].wbuf);
            engine->shards[i].wbuf.admitted = 0;
            /* Every version of the next group is above all of this one. */
            engine->shards[i].counter = counter;
        }
        cut_room_locked(flusher, p);
        flusher->counter = counter;
        p->group = flusher->open_group;
        fx_store_release(&flusher->open_group, flusher->open_group + 1);
    } else {
        return_room_locked(flusher);
    }
    fx_volume_unlock_shards(flusher);
    return any;
}

/* Nothing was written: as if it had not been cut. False: no memory, some of it stays cut. */
static bool uncut(fx_flusher *flusher) {
    bool all = true;
    fx_volume_lock_shards(flusher);
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        all &= fx_wbuf_uncut(&flusher->engine->shards[i].wbuf);
    }
    flusher->flight_left = !all;
    fx_volume_unlock_shards(flusher);
    return all;
}

/* ---- Planning ---- */

static void plan_undo(fx_flusher *flusher, plan *p) {
    for (; p->large_next < p->large_count; p->large_next++) {
        fx_space_undo(&flusher->space, p->larges[p->large_next]);
    }
    p->large_count = 0;
    p->large_next = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        fx_disk_segment *segment = p->segments[i].segment;
        for (uint32_t j = 0; j < segment->large_count; j++) {
            fx_space_undo(&flusher->space, (fx_extent){.block = segment->larges[j].block,
                                                       .count = segment->larges[j].blocks});
        }
        if (segment->blocks > 0) {
            fx_space_undo(&flusher->space, (fx_extent){.block = segment->position / FX_BLOCK_SIZE,
                                                       .count = segment->blocks});
        }
        fx_segment_destroy(segment);
    }
    p->count = 0;
}

static void plan_free(plan *p) {
    fx_mem_free(p->segments);
    fx_mem_free(p->dead_next);
    fx_mem_free(p->larges);
    p->segments = NULL;
    p->dead_next = NULL;
    p->larges = NULL;
}

static bool plan_room(plan *p) {
    if (p->count < p->capacity) {
        return true;
    }
    uint32_t capacity = p->capacity == 0 ? 16 : p->capacity * 2;
    planned *grown = fx_mem_realloc(p->segments, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    p->segments = grown;
    p->capacity = capacity;
    return true;
}

/* What some entries make up. */
typedef struct measured {
    uint32_t length; /* of the segment, header included */
    uint32_t records;
    uint32_t larges;
    cursor end; /* behind them */
} measured;

/* The entries from `at` on that fit a segment of size_max bytes. */
static void measure(fx_engine *engine, cursor at, uint32_t size_max, measured *out) {
    fx_wbuf_half *half;
    const fx_wbuf_entry *entry;
    *out = (measured){.length = FX_SEGMENT_HEADER_SIZE};
    while ((entry = next_entry(engine, &at, &half)) != NULL &&
           out->length + entry->size <= size_max) {
        out->length += entry->size;
        out->records++;
        out->larges += entry->kind == FX_ENTRY_LARGE ? 1u : 0u;
        at.entry++;
    }
    out->end = at;
}

/* Places for the large values. They come first: all of them together were admitted to the longest
 * free run, which segments would cut up; those can be short. */
static feox_status plan_larges(fx_flusher *flusher, plan *p, uint64_t keep) {
    fx_wbuf_half *half;
    if (p->larges == NULL && p->large_total > 0) {
        p->larges = fx_mem_alloc(p->large_total * sizeof *p->larges);
        if (p->larges == NULL) {
            return FEOX_ERR_MEMORY;
        }
    }
    for (cursor at = {0, 0}; p->large_count < p->large_total; at.entry++) {
        const fx_wbuf_entry *entry = next_entry(flusher->engine, &at, &half);
        if (entry->kind == FX_ENTRY_LARGE) {
            feox_status status =
                fx_space_allocate(&flusher->space, fx_blocks_of(entry->block->size), keep,
                                  &p->larges[p->large_count]);
            if (status != FEOX_OK) {
                return status;
            }
            p->large_count++;
        }
    }
    return FEOX_OK;
}

/* Live bits and extents of large values for a segment whose place is known. */
static void plan_records(fx_flusher *flusher, plan *p, planned *item) {
    fx_disk_segment *segment = item->segment;
    cursor at = item->first;
    uint32_t offset = FX_SEGMENT_HEADER_SIZE;
    for (uint32_t i = 0; i < segment->record_count; i++, at.entry++) {
        fx_wbuf_half *half;
        const fx_wbuf_entry *entry = next_entry(flusher->engine, &at, &half);
        if (entry->kind != FX_ENTRY_TOMBSTONE) {
            fx_segment_set_live(segment, offset);
            p->put_count++;
        }
        if (entry->kind == FX_ENTRY_LARGE) {
            fx_extent extent = p->larges[p->large_next++];
            fx_segment_add_large(segment, offset, extent.block, (uint32_t)extent.count);
        }
        offset += entry->size;
    }
}

/* A place for the entries from `at` on, as many as a segment holds, or fewer where the free runs
 * are short: down to PIECE_MIN rather than making the file grow, below that rather than failing. */
static feox_status plan_place(fx_flusher *flusher, cursor at, uint64_t keep, measured *out,
                              fx_extent *extent_out) {
    for (uint32_t max = FX_SEGMENT_SIZE_MAX; max >= PIECE_MIN; max /= 2) {
        measure(flusher->engine, at, max, out);
        FX_ASSERT(out->records > 0);
        if (fx_space_take(&flusher->space, fx_blocks_of(out->length), keep, extent_out)) {
            return FEOX_OK;
        }
    }
    for (uint32_t max = FX_SEGMENT_SIZE_MAX;;) {
        measure(flusher->engine, at, max, out);
        if (out->records == 0) {
            return FEOX_ERR_SPACE;
        }
        feox_status status =
            fx_space_allocate(&flusher->space, fx_blocks_of(out->length), keep, extent_out);
        if (status != FEOX_ERR_SPACE) {
            return status;
        }
        max = out->length / 2;
    }
}

/* One packed segment of the entries from `at` on. */
static feox_status plan_packed(fx_flusher *flusher, plan *p, cursor *at, uint64_t keep) {
    measured m;
    fx_extent extent;
    feox_status status = plan_place(flusher, *at, keep, &m, &extent);
    if (status != FEOX_OK) {
        return status;
    }
    fx_disk_segment *segment =
        plan_room(p) ? fx_segment_create(extent.block * FX_BLOCK_SIZE, m.length,
                                         (uint32_t)extent.count, p->group, m.records, m.larges)
                     : NULL;
    if (segment == NULL) {
        fx_space_undo(&flusher->space, extent);
        return FEOX_ERR_MEMORY;
    }
    planned *item = &p->segments[p->count++];
    *item = (planned){.segment = segment, .first = *at};
    *at = m.end;
    plan_records(flusher, p, item);
    return FEOX_OK;
}

static feox_status plan_inline(fx_flusher *flusher, plan *p, const measured *m) {
    p->inlined = true;
    p->entry_blocks = fx_journal_blocks(1, m->length);
    if (!fx_journal_place(&flusher->journal, p->entry_blocks, &p->ring_block)) {
        return FEOX_ERR_SPACE;
    }
    uint64_t position = (flusher->journal.extent.block + p->ring_block) * FX_BLOCK_SIZE +
                        fx_journal_inline_offset(1);
    fx_disk_segment *segment =
        plan_room(p) ? fx_segment_create(position, m->length, 0, p->group, m->records, m->larges)
                     : NULL;
    if (segment == NULL) {
        return FEOX_ERR_MEMORY;
    }
    p->segments[p->count++] = (planned){.segment = segment};
    plan_records(flusher, p, &p->segments[0]);
    return FEOX_OK;
}

static feox_status plan_segments(fx_flusher *flusher, plan *p) {
    cursor at = {0, 0};
    measured m;
    fx_wbuf_half *half;
    uint64_t keep = p->bare ? fx_volume_checkpoint_blocks(flusher) : fx_volume_reserve(flusher);
    feox_status status = plan_larges(flusher, p, keep);
    if (status != FEOX_OK) {
        return status;
    }
    measure(flusher->engine, at, FX_INLINE_GROUP_MAX, &m);
    if (m.records > 0 && next_entry(flusher->engine, &m.end, &half) == NULL) {
        return plan_inline(flusher, p, &m);
    }
    while (next_entry(flusher->engine, &at, &half) != NULL) {
        status = plan_packed(flusher, p, &at, keep);
        if (status != FEOX_OK) {
            return status;
        }
    }
    p->entry_blocks = fx_journal_blocks(p->count, 0);
    return p->entry_blocks * FX_BLOCK_SIZE <= FX_SEGMENT_SIZE_MAX &&
                   fx_journal_place(&flusher->journal, p->entry_blocks, &p->ring_block)
               ? FEOX_OK
               : FEOX_ERR_SPACE;
}

static uint32_t count_larges(const fx_flusher *flusher) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        const fx_wbuf_half *half = fx_wbuf_flight(&flusher->engine->shards[i].wbuf);
        for (uint32_t j = 0; j < half->count && half->large_bytes > 0; j++) {
            count += half->entries[j].block != NULL ? 1u : 0u;
        }
    }
    return count;
}

/* Everything that can fail. FEOX_OK or nothing is left behind. */
static feox_status make_plan(fx_flusher *flusher, plan *p) {
    p->large_total = count_larges(flusher);
    feox_status status = plan_segments(flusher, p);
    if (status == FEOX_OK && !fx_segments_reserve(&flusher->segments, p->count)) {
        status = FEOX_ERR_MEMORY;
    }
    if (status == FEOX_OK && p->put_count > 0) {
        p->dead_next = fx_mem_alloc((size_t)p->put_count * sizeof *p->dead_next);
        status = p->dead_next != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
    }
    if (status != FEOX_OK) {
        plan_undo(flusher, p);
        p->put_count = 0;
        p->inlined = false;
    }
    return status;
}

/* A plan that found no space: once more after what is dead is given back, and then with runs that
 * are long enough for the longest record or value, for two of them, and so on. */
static feox_status plan_again(fx_flusher *flusher, plan *p) {
    p->bare = true;
    if (fx_compactor_can_free(flusher) && fx_compactor_checkpoint(flusher, true) == FEOX_OK) {
        fx_space_reclaim(&flusher->space, true);
    }
    feox_status status = make_plan(flusher, p);
    uint64_t largest = 0;
    uint64_t sum = 0;
    fx_wbuf_half *half;
    const fx_wbuf_entry *entry;
    for (cursor at = {0, 0}; (entry = next_entry(flusher->engine, &at, &half)) != NULL;
         at.entry++) {
        uint64_t blocks =
            fx_blocks_of(entry->block != NULL ? entry->block->size
                                              : FX_SEGMENT_HEADER_SIZE + (uint64_t)entry->size);
        largest = blocks > largest ? blocks : largest;
        sum += blocks;
    }
    for (uint64_t blocks = largest; status == FEOX_ERR_SPACE && blocks < 2 * sum; blocks *= 2) {
        if (fx_cleaner_make_run(flusher, blocks < sum ? blocks : sum) != FEOX_OK) {
            break;
        }
        status = make_plan(flusher, p);
    }
    return status;
}

/* ---- Writing ---- */

static void write_larges(fx_flusher *flusher, const planned *item) {
    const fx_disk_segment *segment = item->segment;
    cursor at = item->first;
    for (uint32_t i = 0; i < segment->large_count; at.entry++) {
        fx_wbuf_half *half;
        const fx_wbuf_entry *entry = next_entry(flusher->engine, &at, &half);
        if (entry->kind != FX_ENTRY_LARGE) {
            continue;
        }
        uint64_t position = segment->larges[i++].block * FX_BLOCK_SIZE;
        const fx_block *block = entry->block;
        uint64_t checksum =
            fx_format_large_checksum(&flusher->id, position, block->data, (size_t)block->size);
        fx_format_record_set_large(half->bytes + entry->offset, position, checksum);
        fx_staging_copy(&flusher->staging, position, block->data, (size_t)block->size);
    }
}

/* Lays the segment out at `image`. */
static void fill_segment(fx_flusher *flusher, planned *item, uint8_t *image) {
    const fx_disk_segment *segment = item->segment;
    cursor at = item->first;
    uint32_t offset = FX_SEGMENT_HEADER_SIZE;
    for (uint32_t i = 0; i < segment->record_count; i++, at.entry++) {
        fx_wbuf_half *half;
        const fx_wbuf_entry *entry = next_entry(flusher->engine, &at, &half);
        memcpy(image + offset, half->bytes + entry->offset, entry->size);
        fx_format_record_seal(image + offset, entry->size, &flusher->id, segment->position + offset,
                              segment->group);
        offset += entry->size;
    }
    const fx_segment_header header = {.group = segment->group,
                                      .position = segment->position,
                                      .record_count = segment->record_count,
                                      .byte_length = segment->byte_length};
    item->checksum = fx_format_segment_seal(image, &flusher->id, &header);
}

static void write_packed(fx_flusher *flusher, planned *item) {
    fx_staging_slot *slot = fx_staging_acquire(&flusher->staging);
    size_t size = (size_t)item->segment->blocks * FX_BLOCK_SIZE;
    fill_segment(flusher, item, slot->buffer);
    memset(slot->buffer + item->segment->byte_length, 0, size - item->segment->byte_length);
    fx_staging_write(&flusher->staging, slot, item->segment->position, size);
}

static void write_entry(fx_flusher *flusher, plan *p, uint64_t now_ns, bool safely) {
    fx_staging_slot *slot = fx_staging_acquire(&flusher->staging);
    uint64_t durable = fx_load_relaxed(&flusher->durable_group);
    size_t size = (size_t)p->entry_blocks * FX_BLOCK_SIZE;
    memset(slot->buffer, 0, size);
    fx_journal_entry entry = {
        .position = (flusher->journal.extent.block + p->ring_block) * FX_BLOCK_SIZE,
        .epoch = flusher->root.epoch,
        .first_group = durable + 1,
        .group = p->group,
        .durable_upto = durable,
        .time_ns = now_ns,
        .counter = flusher->counter,
        .segment_count = p->count,
        .blocks = (uint32_t)p->entry_blocks,
        .inline_offset = p->inlined ? fx_journal_inline_offset(1) : 0,
    };
    if (p->inlined) {
        fill_segment(flusher, &p->segments[0], slot->buffer + entry.inline_offset);
    }
    fx_journal_begin(slot->buffer, &flusher->id, &entry);
    for (uint32_t i = 0; i < p->count; i++) {
        const fx_disk_segment *segment = p->segments[i].segment;
        const fx_journal_segment named = {.position = segment->position,
                                          .checksum = p->segments[i].checksum,
                                          .byte_length = segment->byte_length,
                                          .record_count = segment->record_count,
                                          .blocks = segment->blocks};
        fx_journal_set_segment(slot->buffer, i, &named);
    }
    fx_journal_seal(slot->buffer, &flusher->id);
    (safely ? fx_staging_write_safely : fx_staging_write)(&flusher->staging, slot, entry.position,
                                                          size);
}

/* What the entry names. */
static feox_status write_named(fx_flusher *flusher, plan *p) {
    for (uint32_t i = 0; i < p->count && flusher->staging.error == 0; i++) {
        write_larges(flusher, &p->segments[i]);
        if (!p->inlined) {
            write_packed(flusher, &p->segments[i]);
        }
    }
    bool waits = flusher->refusal.known || flusher->staging.error != 0;
    int error = waits ? fx_staging_drain(&flusher->staging) : 0;
    if (error == -ENOSPC) {
        return fx_error_set(FEOX_ERR_SPACE, ENOSPC, "the device has no room for a group");
    }
    return error == 0 ? FEOX_OK
                      : fx_volume_fail(flusher, FEOX_ERR_IO, -error, "a group was not written");
}

static bool larges_arrived(fx_flusher *flusher, const planned *item) {
    const fx_disk_segment *segment = item->segment;
    uint8_t *found = fx_staging_acquire(&flusher->staging)->buffer;
    cursor at = item->first;
    for (uint32_t i = 0; i < segment->large_count; at.entry++) {
        fx_wbuf_half *half;
        const fx_wbuf_entry *entry = next_entry(flusher->engine, &at, &half);
        if (entry->kind != FX_ENTRY_LARGE) {
            continue;
        }
        uint64_t position = segment->larges[i++].block * FX_BLOCK_SIZE;
        for (uint64_t done = 0; done < entry->block->size; done += FX_SEGMENT_SIZE_MAX) {
            uint64_t left = entry->block->size - done;
            size_t piece = left < FX_SEGMENT_SIZE_MAX ? (size_t)left : FX_SEGMENT_SIZE_MAX;
            size_t whole = (size_t)fx_round_up(piece, FX_BLOCK_SIZE);
            if (fx_volume_read(flusher, position + done, found, whole) == 0 &&
                memcmp(found, entry->block->data + done, piece) != 0) {
                return false;
            }
        }
    }
    return true;
}

/* Whether all that the entry names is there, or may be. */
static bool named_arrived(fx_flusher *flusher, const plan *p) {
    for (uint32_t i = 0; i < p->count; i++) {
        const fx_disk_segment *segment = p->segments[i].segment;
        uint8_t *found = fx_staging_acquire(&flusher->staging)->buffer;
        size_t size = (size_t)segment->blocks * FX_BLOCK_SIZE;
        if (!larges_arrived(flusher, &p->segments[i]) ||
            (!p->inlined && fx_volume_read(flusher, segment->position, found, size) == 0 &&
             !fx_format_segment_matches(found, &flusher->id, segment->position,
                                        segment->byte_length, p->segments[i].checksum))) {
            return false;
        }
    }
    return true;
}

/* FEOX_OK; FEOX_ERR_SPACE: the device refused it, and it is not there; or the store has become
 * read-only. */
static feox_status write_group(fx_flusher *flusher, plan *p, uint64_t now_ns) {
    feox_status status = fx_refusal_heal(flusher);
    status = status == FEOX_OK ? write_named(flusher, p) : status;
    if (status != FEOX_OK) {
        return status;
    }
    /* Alone in its journal entry, and nothing from before waits for a flush. */
    bool lone = p->inlined && !flusher->staging.unsafe;
    feox_sync_method method = lone ? fx_probe_next(&flusher->probe) : FEOX_SYNC_FLUSH;
    bool probing = lone && flusher->probe.best == FEOX_SYNC_UNKNOWN;
    uint64_t began = probing ? fx_engine_now(flusher->engine) : 0;
    write_entry(flusher, p, now_ns, method == FEOX_SYNC_WRITE);
    int error = method == FEOX_SYNC_WRITE ? fx_staging_drain(&flusher->staging)
                                          : fx_staging_sync(&flusher->staging);
    if (probing && error == 0) {
        fx_probe_note(&flusher->probe, method, fx_engine_now(flusher->engine) - began);
    }
    if (error == -ENOSPC) {
        return fx_refusal_entry(flusher,
                                (flusher->journal.extent.block + p->ring_block) * FX_BLOCK_SIZE,
                                (size_t)p->entry_blocks * FX_BLOCK_SIZE, named_arrived(flusher, p));
    }
    return error == 0 ? FEOX_OK
                      : fx_volume_fail(flusher, FEOX_ERR_IO, -error, "a group was not written");
}

/* ---- Finishing ---- */

/* The old places of what is durable now. */
static bool clear_dead(fx_flusher *flusher) {
    bool sound = true;
    for (size_t i = 0; i < flusher->dead_count; i++) {
        sound &= fx_segments_set_dead(&flusher->segments, flusher->dead_next[i]);
    }
    flusher->dead_count = 0;
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        const fx_wbuf_half *half = fx_wbuf_flight(&flusher->engine->shards[i].wbuf);
        for (uint32_t j = 0; j < half->count; j++) {
            uint64_t old = half->entries[j].old_location;
            sound &= old == 0 || fx_segments_set_dead(&flusher->segments, old);
        }
    }
    return sound;
}

/* Tells records where they are. The lock is let go every few entries. */
static void set_locations(fx_flusher *flusher, plan *p) {
    cursor at = {0, 0};
    fx_shard *shard = NULL;
    uint32_t held = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const fx_disk_segment *segment = p->segments[i].segment;
        uint64_t position = segment->position + FX_SEGMENT_HEADER_SIZE;
        for (uint32_t j = 0; j < segment->record_count; j++, at.entry++) {
            fx_wbuf_half *half;
            const fx_wbuf_entry *entry = next_entry(flusher->engine, &at, &half);
            fx_shard *here = &flusher->engine->shards[at.shard];
            if (here != shard || ++held > FINISH_BATCH) {
                if (shard != NULL) {
                    fx_spinlock_unlock(&shard->lock);
                }
                shard = here;
                held = 0;
                fx_spinlock_lock(&shard->lock);
            }
            uint64_t location = position / FX_RECORD_ALIGN;
            if (entry->record != NULL) {
                fx_record_set_location(entry->record, location);
            } else if (entry->kind != FX_ENTRY_TOMBSTONE) {
                flusher->dead_next[flusher->dead_count++] = location;
            }
            position += entry->size;
        }
    }
    if (shard != NULL) {
        fx_spinlock_unlock(&shard->lock);
    }
}

static feox_status finish(fx_flusher *flusher, plan *p) {
    bool sound = true;
    bool shown = true;
    fx_space_settle(&flusher->space);
    fx_journal_advance(&flusher->journal, p->ring_block, p->entry_blocks);
    flusher->group_blocks = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        flusher->group_blocks += p->segments[i].segment->blocks;
        if (!FX_CHECK(fx_segments_add(&flusher->segments, p->segments[i].segment))) {
            fx_segment_destroy(p->segments[i].segment);
            sound = false;
        }
    }
    sound &= clear_dead(flusher);
    fx_mem_free(flusher->dead_next);
    flusher->dead_next = p->dead_next;
    p->dead_next = NULL;
    set_locations(flusher, p);
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        fx_shard *shard = &flusher->engine->shards[i];
        fx_spinlock_lock(&shard->lock);
        shown &= fx_commit_reveal_locked(shard, p->group);
        fx_wbuf_recycle(&shard->wbuf);
        fx_spinlock_unlock(&shard->lock);
    }
    if (!shown) {
        /* On disk, and no memory to show it: only opening again can. Who waits for the group must
         * not be told that it is done. */
        return fx_volume_fail(flusher, FEOX_ERR_MEMORY, 0, "no memory to show a durable write");
    }
    fx_store_release(&flusher->durable_group, p->group);
    fx_add_relaxed(&flusher->figures.groups_written, (uint64_t)1);
    /* What was damaged is no longer live and may die again. */
    if (!FX_CHECK(sound) && fx_load_relaxed(&flusher->corrupt_records) == 0) {
        return fx_volume_fail(flusher, FEOX_ERR_CORRUPT, 0,
                              "the segment table contradicts the records");
    }
    return FEOX_OK;
}

/* ---- The whole ---- */

/* Nothing was written: its commits wait on, in the open group. */
static feox_status put_back(fx_flusher *flusher, plan *p, feox_status status, bool refused) {
    plan_undo(flusher, p);
    plan_free(p);
    (void)uncut(flusher);
    fx_add_relaxed(&flusher->drawn, p->drawn);
    fx_add_relaxed(&flusher->drawn_run, p->drawn_run);
    if (refused) {
        fx_refusal_begin(flusher);
    }
    fx_volume_publish(flusher);
    feox_status sticky = fx_volume_note_growth(flusher);
    return sticky != FEOX_OK ? sticky : status;
}

static feox_status flush(fx_flusher *flusher, uint64_t now_ns) {
    plan p = {0};
    feox_status status = fx_volume_status(flusher);
    if (status != FEOX_OK) {
        return status;
    }
    if (flusher->read_only || (flusher->flight_left && !uncut(flusher))) {
        return flusher->read_only ? FEOX_ERR_READ_ONLY : FEOX_ERR_MEMORY;
    }
    flusher->time_ns = now_ns > flusher->time_ns ? now_ns : flusher->time_ns;
    fx_space_reclaim(&flusher->space, false);
    if (fx_compactor_must(flusher)) {
        status = fx_cleaner_checkpoint(flusher);
        /* Short of space the ring may still have room for this group. */
        if (status != FEOX_OK && status != FEOX_ERR_SPACE && status != FEOX_ERR_MEMORY) {
            return status;
        }
    }
    if (!cut(flusher, &p)) {
        fx_refusal_end(flusher);
        return FEOX_OK;
    }
    status = make_plan(flusher, &p);
    if (status == FEOX_ERR_SPACE) {
        status = plan_again(flusher, &p);
    }
    if (status != FEOX_OK) {
        return put_back(flusher, &p, status, false);
    }
    status = write_group(flusher, &p, flusher->time_ns);
    if (status == FEOX_ERR_SPACE) {
        return put_back(flusher, &p, status, true);
    }
    if (status == FEOX_OK) {
        fx_refusal_end(flusher);
        status = finish(flusher, &p);
        if (status == FEOX_OK) { /* without it the next put is refused, or finds room for it */
            (void)fx_space_keep_spare(&flusher->space, fx_volume_table_blocks(flusher));
            (void)fx_volume_note_growth(flusher);
        }
    } else { /* the half in flight stays: its records are in memory, and will be nowhere else */
        for (uint32_t i = 0; i < p.count; i++) {
            fx_segment_destroy(p.segments[i].segment);
        }
    }
    plan_free(&p);
    fx_volume_publish(flusher);
    return status;
}

feox_status fx_group_flush(fx_flusher *flusher, uint64_t now_ns) {
    uint64_t before = fx_load_relaxed(&flusher->durable_group);
    feox_status status = flush(flusher, now_ns);
    fx_store_relaxed(&flusher->flushed, (int32_t)status);
    fx_add_relaxed(&flusher->flushes, (uint64_t)1);
    if (status != FEOX_OK || fx_load_relaxed(&flusher->durable_group) != before) {
        fx_volume_announce(flusher);
    }
    return status;
}
