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
#include "base/checksum.h"
#include "base/mem.h"
#include "disk/checkpoint.h"
#include "engine/commit.h"
#include "engine/group.h"
#include "engine/volume.h"

typedef struct checker {
    fx_flusher *flusher;
    fx_check_sink *sink;
    uint8_t *buffer; /* a segment and a block more */
    uint8_t *piece;  /* of a large value, or of the checkpoint */
    bool quick;
    uint64_t clean;  /* records of the table with a place on disk */
    uint64_t dying;  /* places on disk that a write buffer makes dead */
    unsigned others; /* sound superblocks of another time */
} checker;

static void damaged_blocks(checker *c, const char *text, uint64_t offset, uint64_t length) {
    c->sink->report.blocks_damaged += fx_blocks_of(length);
    fx_check_found(c->sink, text, NULL, offset, length);
}

static void damaged_record(checker *c, const char *text, const fx_entry *key, uint64_t offset,
                           uint64_t length) {
    c->sink->report.records_damaged++;
    fx_check_found(c->sink, text, key, offset, length);
}

/* ---- Memory: I3 ---- */

static bool visit_record(void *context, fx_record *record) {
    checker *c = context;
    uint64_t location = fx_record_location(record);
    if (!fx_location_clean(location) || location == FX_LOCATION_DOUBT) {
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

/* Records that are their keys' until a hidden write is shown, and whose places wait to die with it:
 * both visit_record and check_place count them. */
static uint64_t count_replaced(const fx_shard *shard) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < shard->hidden_count; i++) {
        const fx_hidden *h = &shard->hidden[i];
        const uint8_t *key = fx_record_key(h->record);
        uint32_t key_len = fx_record_key_len(h->record);
        const fx_record *shown = fx_table_find_locked(&shard->table, h->hash, key, key_len);
        if (shown != NULL && fx_location_clean(fx_record_location(shown)) &&
            fx_commit_hidden_locked(shard, h->hash, key, key_len) == h) {
            count++;
        }
    }
    return count;
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
        c->clean -= count_replaced(shard);
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
    uint64_t known = c->clean + c->dying + flusher->lost_records;
    if (flusher->doubtful) {
        fx_check_problem(c->sink, "a group of the journal is lost, and %llu keys may have changed",
                         (unsigned long long)(fx_engine_count(flusher->engine) - c->clean));
    } else if (known != flusher->segments.live_records) {
        fx_check_problem(c->sink, "%llu records are live on disk, and %llu are referred to",
                         (unsigned long long)flusher->segments.live_records,
                         (unsigned long long)known);
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
        list[count++] =
            (fx_extent){.block = flusher->root.mirror, .count = flusher->root.checkpoint.count};
    }
    if (flusher->space.spare[0].count > 0) {
        list[count++] = flusher->space.spare[0];
        list[count++] = flusher->space.spare[1];
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
    size_t count = 6; /* superblocks, journal, two tables, two spare extents */
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
    for (unsigned copy = 0; copy < FX_SUPERBLOCK_COPIES; copy++) {
        uint64_t offset = (uint64_t)copy * FX_BLOCK_SIZE;
        memset(c->buffer, 0, FX_SUPERBLOCK_AREA);
        feox_status status = FEOX_ERR_IO;
        if (fx_volume_read(c->flusher, offset, c->buffer + offset, FX_BLOCK_SIZE) == 0) {
            status = fx_superblock_decode(c->buffer, &found, &damaged);
        }
        if (status != FEOX_OK) {
            damaged_blocks(c, "a superblock is damaged", offset, FX_BLOCK_SIZE);
        } else if (found.epoch != c->flusher->root.epoch ||
                   found.checkpoint.block != c->flusher->root.checkpoint.block) {
            c->others++;
        }
    }
    if (c->others == FX_SUPERBLOCK_COPIES) {
        fx_check_problem(c->sink, "the superblock on disk is not the current one");
    }
}

/* Sums one copy of the checkpoint, piece by piece. */
static bool table_verifies(checker *c, uint64_t block) {
    const fx_superblock *root = &c->flusher->root;
    fx_checksum_stream sum;
    bool sound = true;
    fx_checksum_begin(&sum, fx_checkpoint_seed(&root->id, root->group));
    for (uint64_t at = 0; sound && at < root->checkpoint_length; at += FX_SEGMENT_SIZE_MAX) {
        uint64_t left = root->checkpoint_length - at;
        size_t size = left < FX_SEGMENT_SIZE_MAX ? (size_t)left : FX_SEGMENT_SIZE_MAX;
        size_t skip = at == 0 ? 16 : 0;
        sound = fx_volume_read(c->flusher, block * FX_BLOCK_SIZE + at, c->piece,
                               (size_t)fx_round_up(size, FX_BLOCK_SIZE)) == 0 &&
                (at > 0 || fx_checkpoint_head_verify(c->piece, (size_t)root->checkpoint_length,
                                                     root->checkpoint_checksum));
        if (sound) {
            fx_checksum_add(&sum, c->piece + skip, size - skip);
        }
    }
    return sound && fx_checksum_end(&sum) == root->checkpoint_checksum;
}

static void check_table(checker *c) {
    const fx_superblock *root = &c->flusher->root;
    const uint64_t blocks[2] = {root->checkpoint.block, root->mirror};
    for (unsigned copy = 0; root->checkpoint.count > 0 && copy < 2; copy++) {
        if (!table_verifies(c, blocks[copy])) {
            damaged_blocks(c, "a copy of the checkpoint is damaged", blocks[copy] * FX_BLOCK_SIZE,
                           root->checkpoint.count * FX_BLOCK_SIZE);
        }
    }
    if (c->flusher->lost_table > 0) { /* damaged in both copies, or behind the end of the file */
        fx_check_problem(c->sink, "%llu bytes of the checkpoint name what is lost",
                         (unsigned long long)c->flusher->lost_table);
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
            damaged_blocks(c, "the journal entry before this one is damaged", entry.position,
                           FX_BLOCK_SIZE);
        }
        group = entry.group;
    }
    uint64_t durable = fx_load_relaxed(&flusher->durable_group);
    if (group != durable && !flusher->read_only) {
        fx_check_problem(c->sink, "the journal ends with group %llu, and group %llu is durable",
                         (unsigned long long)group, (unsigned long long)durable);
        c->sink->report.blocks_damaged++;
    }
    uint64_t first = flusher->root.journal.block * FX_BLOCK_SIZE;
    unsigned searches = 0;
    for (uint64_t at = 0; at < flusher->root.journal.count * FX_BLOCK_SIZE; at += FX_BLOCK_SIZE) {
        size_t left = (size_t)(flusher->root.journal.count * FX_BLOCK_SIZE - at);
        if (fx_journal_examine(ring + at, left, &flusher->id, first + at, flusher->root.epoch,
                               &searches) == FX_JOURNAL_DAMAGED) {
            damaged_blocks(c, "a journal entry is damaged", first + at, FX_BLOCK_SIZE);
        }
    }
    fx_mem_free(ring);
    return FEOX_OK;
}

static bool large_verifies(checker *c, const fx_entry *entry) {
    fx_checksum_stream sum;
    uint64_t left = entry->value_len;
    if (entry->large_offset % FX_BLOCK_SIZE != 0) {
        return false;
    }
    fx_checksum_begin(&sum, fx_format_seed(&c->flusher->id, entry->large_offset));
    for (uint64_t at = entry->large_offset; left > 0; at += FX_SEGMENT_SIZE_MAX) {
        size_t size = left < FX_SEGMENT_SIZE_MAX ? (size_t)left : FX_SEGMENT_SIZE_MAX;
        if (fx_volume_read(c->flusher, at, c->piece, (size_t)fx_round_up(size, FX_BLOCK_SIZE)) !=
            0) {
            return false;
        }
        fx_checksum_add(&sum, c->piece, size);
        left -= size;
    }
    return fx_checksum_end(&sum) == entry->large_checksum;
}

/* A sound live record: its key must lead to it, unless it is about to die. */
static void check_record(checker *c, const fx_walked *record) {
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
    if (entry->kind == FX_ENTRY_LARGE && !large_verifies(c, entry)) {
        damaged_record(c, "the large value is damaged", entry, entry->large_offset,
                       entry->value_len);
    }
}

static void check_segment(checker *c, const fx_disk_segment *segment) {
    uint64_t start = segment->position / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    uint64_t lead = segment->position - start;
    const uint8_t *image = c->buffer + lead;
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    fx_segment_header header;
    uint32_t length = c->quick ? FX_SEGMENT_HEADER_SIZE : segment->byte_length;
    size_t size = (size_t)fx_round_up(lead + length, FX_BLOCK_SIZE);
    if (fx_volume_read(c->flusher, start, c->buffer, size) != 0) {
        damaged_blocks(c, "a segment cannot be read", segment->position, segment->byte_length);
        c->sink->report.records_damaged += segment->live_count;
        return;
    }
    if (!fx_format_segment_decode(image, &c->flusher->id, segment->position, &header) ||
        header.byte_length != segment->byte_length) {
        damaged_blocks(c, "a segment's header is damaged", segment->position,
                       FX_SEGMENT_HEADER_SIZE);
    }
    if (c->quick) {
        return;
    }
    fx_segment_walk_init(&walk, &c->flusher->id, image, segment->position, segment->group,
                         segment->byte_length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
        uint64_t position = record.location * FX_RECORD_ALIGN;
        if (result == FX_WALK_RECORD) {
            check_record(c, &record);
        } else if (result == FX_WALK_BAD_VALUE) {
            damaged_record(c, "the value is damaged", &record.entry, position, record.size);
        } else {
            damaged_record(c, "a record is damaged, and its key not known", NULL, position,
                           FX_RECORD_SIZE_MIN);
        }
    }
}

static feox_status check_file(checker *c) {
    const fx_segments *segments = &c->flusher->segments;
    check_superblocks(c);
    check_table(c);
    feox_status status = check_journal(c);
    for (size_t i = 0; status == FEOX_OK && i < segments->count; i++) {
        if (segments->items[i]->live_count > 0) {
            check_segment(c, segments->items[i]);
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

feox_status fx_check_disk(fx_flusher *flusher, bool quick, fx_check_sink *sink) {
    /* What opening it found damaged is read again, so that it can be named. */
    bool sound = fx_load_relaxed(&flusher->corrupt_records) == 0;
    checker c = {.flusher = flusher, .sink = sink, .quick = quick && sound};
    c.buffer = fx_mem_alloc_aligned(FX_SEGMENT_SIZE_MAX + FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    c.piece = fx_mem_alloc_aligned(FX_SEGMENT_SIZE_MAX, FX_BLOCK_SIZE);
    feox_status status = c.buffer != NULL && c.piece != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
    if (status == FEOX_OK) {
        fx_flusher_enter(flusher);
        status = check_all(&c);
        fx_flusher_leave(flusher);
    }
    fx_mem_free(c.buffer);
    fx_mem_free(c.piece);
    return status;
}
