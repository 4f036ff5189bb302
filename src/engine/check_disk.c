/* check_disk: why this way. The owner of the volume sees a group boundary of the file; commits go
 * on in memory. So a live record is either the table's record of its key, or it waits to die with a
 * group that is not written yet: then a write buffer, or dead_next, holds its place. Both are
 * counted under all shard locks, and the sums must be the segment table's (I3). The file's space is
 * compared owner by owner with what is free (I1), and every byte that belongs to a live record is
 * read and verified.
 */
#include "engine/check_disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/mem.h"
#include "disk/checkpoint.h"
#include "engine/commit.h"
#include "engine/group.h"
#include "engine/volume.h"

typedef struct checker {
    fx_flusher *flusher;
    fx_check_sink *sink;
    uint8_t *buffer; /* a segment and a block more */
    uint64_t clean;  /* records of the table with a place on disk */
    uint64_t dying;  /* places on disk that a write buffer makes dead */
} checker;

static void damaged_blocks(checker *c, uint64_t count) {
    c->sink->report.blocks_damaged += count;
}

/* ---- Memory: I3 ---- */

static bool visit_record(void *context, fx_record *record) {
    checker *c = context;
    uint64_t location = fx_record_location(record);
    if (!fx_location_clean(location)) {
        return true;
    }
    c->clean++;
    if (!fx_segments_is_live(&c->flusher->segments, location)) {
        fx_check_problem(c->sink,
                         "a key of %u bytes has its record at byte %llu, which is not live",
                         fx_record_key_len(record), (unsigned long long)location * FX_RECORD_ALIGN);
    }
    return true;
}

static void check_place(checker *c, uint64_t location) {
    if (location != 0) {
        c->dying++;
        if (!fx_segments_is_live(&c->flusher->segments, location)) {
            fx_check_problem(c->sink, "byte %llu is to die and is not live",
                             (unsigned long long)location * FX_RECORD_ALIGN);
        }
    }
}

static void check_places(checker *c) {
    fx_flusher *flusher = c->flusher;
    fx_volume_lock_shards(flusher);
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        const fx_shard *shard = &flusher->engine->shards[i];
        const char *wrong = fx_wbuf_check(&shard->wbuf);
        if (wrong != NULL) {
            fx_check_problem(c->sink, "shard %u: %s", i, wrong);
        }
        fx_table_each_locked(&shard->table, visit_record, c);
        for (unsigned h = 0; h < 2; h++) {
            for (uint32_t j = 0; j < shard->wbuf.halves[h].count; j++) {
                check_place(c, shard->wbuf.halves[h].entries[j].old_location);
            }
        }
    }
    for (size_t i = 0; i < flusher->dead_count; i++) {
        check_place(c, flusher->dead_next[i]);
    }
    fx_volume_unlock_shards(flusher);
    if (c->clean + c->dying != flusher->segments.live_records) {
        fx_check_problem(c->sink, "%llu records are live on disk, and %llu are referred to",
                         (unsigned long long)flusher->segments.live_records,
                         (unsigned long long)(c->clean + c->dying));
    }
}

/* ---- Space: I1 ---- */

static int by_block(const void *a, const void *b) {
    const fx_extent *x = a;
    const fx_extent *y = b;
    return (x->block > y->block) - (x->block < y->block);
}

static size_t list_owned(const fx_flusher *flusher, fx_extent *list) {
    size_t count = 0;
    list[count++] = (fx_extent){.block = 0, .count = FX_SUPERBLOCK_COPIES};
    list[count++] = flusher->root.journal;
    if (flusher->root.checkpoint.count > 0) {
        list[count++] = flusher->root.checkpoint;
    }
    if (flusher->space.spare.count > 0) {
        list[count++] = flusher->space.spare;
    }
    for (size_t i = 0; i < flusher->segments.count; i++) {
        const fx_disk_segment *segment = flusher->segments.items[i];
        if (segment->blocks > 0) {
            list[count++] =
                (fx_extent){.block = segment->position / FX_BLOCK_SIZE, .count = segment->blocks};
        }
        for (uint32_t j = 0; j < segment->large_count; j++) {
            list[count++] =
                (fx_extent){.block = segment->larges[j].block, .count = segment->larges[j].blocks};
        }
    }
    for (const fx_space_batch *batch = flusher->space.waiting; batch != NULL; batch = batch->next) {
        for (size_t i = 0; i < batch->count; i++) {
            list[count++] = batch->list[i];
        }
    }
    return count;
}

static size_t count_owned(const fx_flusher *flusher) {
    size_t count = 4;
    for (size_t i = 0; i < flusher->segments.count; i++) {
        count += 1 + (size_t)flusher->segments.items[i]->large_count;
    }
    for (const fx_space_batch *batch = flusher->space.waiting; batch != NULL; batch = batch->next) {
        count += batch->count;
    }
    return count;
}

static feox_status check_space(checker *c) {
    const fx_flusher *flusher = c->flusher;
    const fx_extents *extents = &flusher->space.extents;
    const char *wrong = fx_extents_check(extents);
    if (wrong != NULL) {
        fx_check_problem(c->sink, "free space: %s", wrong);
    }
    fx_extent *list = fx_mem_alloc(count_owned(flusher) * sizeof *list);
    if (list == NULL) {
        return FEOX_ERR_MEMORY;
    }
    size_t count = list_owned(flusher, list);
    uint64_t owned = 0;
    uint64_t end = 0;
    qsort(list, count, sizeof *list, by_block);
    for (size_t i = 0; i < count; i++) {
        fx_extent run;
        if (list[i].block < end) {
            fx_check_problem(c->sink, "block %llu has two owners",
                             (unsigned long long)list[i].block);
        }
        if (fx_extents_next(extents, list[i].block, &run) &&
            run.block < list[i].block + list[i].count) {
            fx_check_problem(c->sink, "block %llu has an owner and is free",
                             (unsigned long long)run.block);
        }
        end = list[i].block + list[i].count;
        owned += list[i].count;
    }
    if (owned + extents->free_blocks != flusher->space.file_blocks ||
        end > flusher->space.file_blocks) {
        fx_check_problem(c->sink, "%llu blocks are owned and %llu free, of %llu",
                         (unsigned long long)owned, (unsigned long long)extents->free_blocks,
                         (unsigned long long)flusher->space.file_blocks);
    }
    fx_mem_free(list);
    return FEOX_OK;
}

/* ---- The file ---- */

static void check_superblocks(checker *c) {
    fx_superblock found;
    unsigned damaged = 0;
    if (fx_volume_read(c->flusher, 0, c->buffer, FX_SUPERBLOCK_AREA) != 0) {
        fx_check_problem(c->sink, "the superblocks cannot be read");
        damaged_blocks(c, FX_SUPERBLOCK_COPIES);
        return;
    }
    feox_status status = fx_superblock_decode(c->buffer, &found, &damaged);
    damaged_blocks(c, damaged);
    if (status != FEOX_OK || damaged > 0) {
        fx_check_problem(c->sink, "%u of %u superblocks are damaged", damaged,
                         FX_SUPERBLOCK_COPIES);
    }
    if (status == FEOX_OK && (found.epoch != c->flusher->root.epoch ||
                              found.checkpoint.block != c->flusher->root.checkpoint.block)) {
        fx_check_problem(c->sink, "the superblock on disk is not the current one");
    }
}

static feox_status read_run(checker *c, fx_extent extent, uint8_t **bytes_out) {
    uint8_t *bytes = fx_mem_alloc_aligned((size_t)extent.count * FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    *bytes_out = bytes;
    if (bytes == NULL) {
        return FEOX_ERR_MEMORY;
    }
    for (uint64_t i = 0; i < extent.count; i++) {
        uint8_t *block = bytes + i * FX_BLOCK_SIZE;
        if (fx_volume_read(c->flusher, (extent.block + i) * FX_BLOCK_SIZE, block, FX_BLOCK_SIZE) !=
            0) {
            memset(block, 0, FX_BLOCK_SIZE);
        }
    }
    return FEOX_OK;
}

static feox_status check_table(checker *c) {
    const fx_superblock *root = &c->flusher->root;
    uint8_t *bytes = NULL;
    fx_segments found;
    if (root->checkpoint.count == 0) {
        return FEOX_OK;
    }
    feox_status status = read_run(c, root->checkpoint, &bytes);
    if (status != FEOX_OK) {
        return status;
    }
    fx_segments_init(&found);
    status = fx_checkpoint_decode(bytes, (size_t)root->checkpoint_length, &root->id,
                                  root->checkpoint.block * FX_BLOCK_SIZE, root->checkpoint_checksum,
                                  c->flusher->space.file_blocks, &found);
    if (status == FEOX_ERR_CORRUPT) {
        fx_check_problem(c->sink, "the checkpoint at block %llu is damaged",
                         (unsigned long long)root->checkpoint.block);
        damaged_blocks(c, root->checkpoint.count);
        status = FEOX_OK;
    }
    fx_segments_deinit(&found);
    fx_mem_free(bytes);
    return status;
}

/* Every group since the checkpoint has its entry. */
static feox_status check_journal(checker *c) {
    const fx_flusher *flusher = c->flusher;
    uint8_t *ring = NULL;
    uint64_t cursor = 0;
    uint64_t group = flusher->root.group;
    fx_journal_entry entry;
    feox_status status = read_run(c, flusher->root.journal, &ring);
    if (status != FEOX_OK) {
        return status;
    }
    while (fx_journal_scan(ring, &flusher->journal, &flusher->id, flusher->root.epoch, &cursor,
                           &entry)) {
        if (entry.first_group != group + 1) {
            fx_check_problem(c->sink, "the journal entry of group %llu is damaged",
                             (unsigned long long)(group + 1));
            damaged_blocks(c, 1);
        }
        group = entry.group;
    }
    uint64_t durable = fx_load_relaxed(&flusher->durable_group);
    if (group != durable && !flusher->read_only) {
        fx_check_problem(c->sink, "the journal ends with group %llu, and group %llu is durable",
                         (unsigned long long)group, (unsigned long long)durable);
        damaged_blocks(c, 1);
    }
    fx_mem_free(ring);
    return FEOX_OK;
}

/* A sound live record: its key must lead to it, unless it is about to die. */
static feox_status check_record(checker *c, const fx_walked *record) {
    fx_engine *engine = c->flusher->engine;
    const fx_entry *entry = &record->entry;
    uint64_t hash = fx_engine_hash(engine, entry->key, entry->key_len);
    fx_shard *shard = fx_engine_shard(engine, hash);
    fx_spinlock_lock(&shard->lock);
    const fx_record *found = fx_commit_any_locked(shard, hash, entry->key, entry->key_len);
    bool other = found != NULL && fx_location_clean(fx_record_location(found)) &&
                 fx_record_location(found) != record->location;
    fx_spinlock_unlock(&shard->lock);
    if (other || entry->kind == FX_ENTRY_TOMBSTONE) {
        fx_check_problem(c->sink, "the live record at byte %llu is not its key's",
                         (unsigned long long)record->location * FX_RECORD_ALIGN);
    }
    if (entry->kind != FX_ENTRY_LARGE) {
        return FEOX_OK;
    }
    fx_block *block = NULL;
    feox_status status = fx_volume_read_large(c->flusher, entry, &block);
    fx_block_release(block);
    if (status == FEOX_ERR_MEMORY) {
        return status;
    }
    if (status != FEOX_OK) {
        fx_check_problem(c->sink, "the large value at byte %llu is damaged",
                         (unsigned long long)entry->large_offset);
        c->sink->report.records_damaged++;
    }
    return FEOX_OK;
}

static feox_status check_segment(checker *c, const fx_disk_segment *segment) {
    uint64_t start = segment->position / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    uint64_t lead = segment->position - start;
    const uint8_t *image = c->buffer + lead;
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    fx_segment_header header;
    size_t size = (size_t)fx_round_up(lead + segment->byte_length, FX_BLOCK_SIZE);
    if (fx_volume_read(c->flusher, start, c->buffer, size) != 0) {
        fx_check_problem(c->sink, "the segment at byte %llu cannot be read",
                         (unsigned long long)segment->position);
        damaged_blocks(c, size / FX_BLOCK_SIZE);
        c->sink->report.records_damaged += segment->live_count;
        return FEOX_OK;
    }
    if (!fx_format_segment_decode(image, &c->flusher->id, segment->position, &header) ||
        header.byte_length != segment->byte_length) {
        fx_check_problem(c->sink, "the segment header at byte %llu is damaged",
                         (unsigned long long)segment->position);
        damaged_blocks(c, 1);
    }
    fx_segment_walk_init(&walk, &c->flusher->id, image, segment->position, segment->byte_length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
        if (result != FX_WALK_RECORD) {
            fx_check_problem(c->sink, "the record near byte %llu is damaged",
                             (unsigned long long)record.location * FX_RECORD_ALIGN);
            c->sink->report.records_damaged++;
            continue;
        }
        feox_status status = check_record(c, &record);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return FEOX_OK;
}

static feox_status check_file(checker *c) {
    const fx_segments *segments = &c->flusher->segments;
    check_superblocks(c);
    feox_status status = check_table(c);
    status = status == FEOX_OK ? check_journal(c) : status;
    for (size_t i = 0; status == FEOX_OK && i < segments->count; i++) {
        if (segments->items[i]->live_count > 0) {
            status = check_segment(c, segments->items[i]);
        }
    }
    return status;
}

static feox_status check_all(checker *c) {
    fx_flusher *flusher = c->flusher;
    if (flusher->root.journal.count == 0) {
        return FEOX_OK; /* an empty file, opened to be read only */
    }
    if (!flusher->read_only) {
        feox_status status = fx_group_flush(flusher, fx_engine_now(flusher->engine));
        /* Short of space or memory there is a boundary to check all the same. */
        if (status != FEOX_OK && status != FEOX_ERR_SPACE && status != FEOX_ERR_MEMORY) {
            return status;
        }
    }
    const char *wrong = fx_segments_check(&flusher->segments);
    if (wrong != NULL) {
        fx_check_problem(c->sink, "segment table: %s", wrong);
    }
    check_places(c);
    feox_status status = flusher->read_only ? FEOX_OK : check_space(c);
    return status == FEOX_OK ? check_file(c) : status;
}

feox_status fx_check_disk(fx_flusher *flusher, fx_check_sink *sink) {
    checker c = {.flusher = flusher, .sink = sink};
    c.buffer = fx_mem_alloc_aligned(FX_SEGMENT_SIZE_MAX + FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    if (c.buffer == NULL) {
        return FEOX_ERR_MEMORY;
    }
    fx_flusher_enter(flusher);
    feox_status status = check_all(&c);
    fx_flusher_leave(flusher);
    fx_mem_free(c.buffer);
    return status;
}
