/* recover: why this way. The newest superblock names a checkpoint; the checkpoint says which
 * records were live then; the journal's entries say, in order, what became durable since
 * (replay.c). A newer version of a key makes an older place dead, a tombstone too, exactly as it
 * was when the store was running.
 *
 * What damage costs, each time as little as can be proven: one superblock or one copy of the
 * checkpoint, nothing; a record, that record; a part of both copies of the checkpoint, the segments
 * named there, and nobody may write; a group of the journal, every key that it may have changed,
 * and nobody may write. A record that the table calls live and that is damaged stays live, so that
 * it is found again and its segment neither moved nor reused.
 *
 * A new file is made so that a crash at any point leaves one that opens again: first zeros of an
 * odd size (which count as an empty file; other zeros are somebody else's), then a superblock that
 * says UNFINISHED, then the ring, then the real superblock. Nothing else that is not ours is ever
 * written.
 *
 * Invariants:
 *   R1 nothing is written before the whole file is read and found sound enough to go on.
 *   R2 after a torn tail nothing is written with the old epoch: a checkpoint with a new one comes
 *      first.
 *   R3 whoever may write refuses a file of which a block cannot be read now: the checkpoint that
 *      follows would give away what may be readable later. Reading only goes on without it.
 *   R4 every number from the file is checked against the file's real size before it is used.
 */
#include "engine/recover.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "disk/checkpoint.h"
#include "engine/commit.h"
#include "engine/compactor.h"
#include "engine/recovery.h"

/* The size of a file of which nothing but the size is made: one that no other file of zeros has. */
#define NEW_FILE_SIZE (FX_SUPERBLOCK_AREA + 2477u)
/* Versions that a crash may have taken back are not given out again: every opening begins this far
 * above the last one, and makes that durable before it gives out any. Versions count to 2^56. */
#define COUNTER_GAP ((uint64_t)1 << 28)
/* Searches for one flipped bit, per opening: a hostile file could ask for many. */
#define REPAIRS_MAX 16u
/* No lower version is given out. */
#define VERSION_MIN 256u

/* ---- Making a new file ---- */

static int write_zeros(fx_flusher *flusher, uint64_t offset, uint64_t size) {
    while (size > 0) {
        fx_staging_slot *slot = fx_staging_acquire(&flusher->staging);
        size_t piece = size < FX_SEGMENT_SIZE_MAX ? (size_t)size : FX_SEGMENT_SIZE_MAX;
        memset(slot->buffer, 0, piece);
        fx_staging_write(&flusher->staging, slot, offset, piece);
        offset += piece;
        size -= piece;
    }
    return fx_staging_sync(&flusher->staging);
}

static int write_unfinished(fx_flusher *flusher, fx_superblock *root) {
    fx_staging_slot *slot = fx_staging_acquire(&flusher->staging);
    root->flags = FX_SUPERBLOCK_UNFINISHED;
    root->generation = 2;
    fx_superblock_encode(slot->buffer, root);
    fx_staging_write(&flusher->staging, slot, 0, FX_BLOCK_SIZE);
    int error = fx_staging_sync(&flusher->staging);
    root->flags = 0;
    return error;
}

static feox_status create_error(const fx_recovery *r, int error) {
    return fx_error_set(error == -ENOSPC ? FEOX_ERR_SPACE : FEOX_ERR_IO, -error,
                        "making the new store %s", r->path);
}

static feox_status create_file(fx_recovery *r, const fx_flusher_options *options) {
    fx_flusher *flusher = r->flusher;
    uint64_t ring =
        options->ring_blocks != 0 ? options->ring_blocks : FX_JOURNAL_SIZE / FX_BLOCK_SIZE;
    uint64_t blocks = FX_SUPERBLOCK_COPIES + ring + ring / 4;
    uint64_t wanted = fx_blocks_of(options->file_size_initial);
    fx_superblock root = {.journal = {.block = FX_SUPERBLOCK_COPIES, .count = ring}};
    blocks = wanted > blocks ? wanted : blocks;
    if (options->file_size_limit != 0 && blocks > options->file_size_limit / FX_BLOCK_SIZE) {
        return fx_error_set(FEOX_ERR_SPACE, 0, "a store needs at least %llu bytes",
                            (unsigned long long)blocks * FX_BLOCK_SIZE);
    }
    uint64_t random[3];
    if (blocks > FX_EXTENTS_BLOCK_MAX) {
        return fx_error_set(FEOX_ERR_SPACE, 0, "no file can have %llu bytes",
                            (unsigned long long)options->file_size_initial);
    }
    if (!fx_random_bytes(random, sizeof random)) {
        return fx_error_set(FEOX_ERR_IO, 0, "no random numbers to be had");
    }
    root.id = (fx_store_id){.low = random[0], .high = random[1]};
    root.epoch = random[2];
    root.file_blocks = blocks;
    int error = 0;
    if (fx_dev_size(flusher->dev) < FX_SUPERBLOCK_AREA) {
        error = fx_dev_grow(flusher->dev, NEW_FILE_SIZE);
    }
    error = error == 0 ? write_unfinished(flusher, &root) : error;
    if (error == 0 && fx_dev_size(flusher->dev) < blocks * FX_BLOCK_SIZE) {
        error = fx_dev_grow(flusher->dev, blocks * FX_BLOCK_SIZE);
    }
    error = error == 0 ? write_zeros(flusher, FX_SUPERBLOCK_AREA, ring * FX_BLOCK_SIZE) : error;
    error = error == 0 ? fx_compactor_write_root(flusher, &root) : error;
    error = error == 0 ? fx_staging_sync(&flusher->staging) : error;
    if (error != 0) {
        return create_error(r, error);
    }
    flusher->root = root;
    flusher->id = root.id;
    r->file_blocks = fx_dev_size(flusher->dev) / FX_BLOCK_SIZE;
    flusher->made = true;
    return FEOX_OK;
}

/* ---- Reading ---- */

void fx_recovery_damaged(fx_recovery *r, const char *text, const fx_entry *key, uint64_t offset,
                         uint64_t length) {
    r->damaged++;
    if (r->sink != NULL) {
        fx_check_found(r->sink, text, key, offset, length);
    }
}

void fx_recovery_read(fx_recovery *r, uint64_t offset, uint8_t *buffer, size_t size) {
    if (fx_volume_read(r->flusher, offset, buffer, size) == 0) {
        return;
    }
    for (size_t at = 0; at < size; at += FX_BLOCK_SIZE) {
        int error = fx_volume_read(r->flusher, offset + at, buffer + at, FX_BLOCK_SIZE);
        if (error != 0) {
            memset(buffer + at, 0, FX_BLOCK_SIZE);
            r->unreadable = error;
        }
    }
}

feox_status fx_recovery_read_extent(fx_recovery *r, fx_extent extent, uint8_t **bytes_out) {
    uint8_t *bytes = fx_mem_alloc_aligned((size_t)extent.count * FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    *bytes_out = bytes;
    if (bytes == NULL) {
        return FEOX_ERR_MEMORY;
    }
    uint64_t offset = extent.block * FX_BLOCK_SIZE;
    uint64_t left = extent.count * FX_BLOCK_SIZE;
    while (left > 0) {
        size_t piece = left < FX_SEGMENT_SIZE_MAX ? (size_t)left : FX_SEGMENT_SIZE_MAX;
        fx_recovery_read(r, offset, bytes, piece);
        bytes += piece;
        offset += piece;
        left -= piece;
    }
    return FEOX_OK;
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* What kind of file it is. FEOX_END: an empty one, or one whose making was cut short. */
static feox_status read_root(fx_recovery *r) {
    fx_flusher *flusher = r->flusher;
    uint64_t size = fx_dev_size(flusher->dev);
    unsigned damaged = 0;
    if (size == 0) {
        return FEOX_END;
    }
    size_t head = size < FX_SUPERBLOCK_AREA ? (size_t)size / FX_BLOCK_SIZE * FX_BLOCK_SIZE
                                            : FX_SUPERBLOCK_AREA;
    memset(r->buffer, 0, FX_SUPERBLOCK_AREA);
    if (head > 0) {
        fx_recovery_read(r, 0, r->buffer, head);
    }
    if (r->unreadable != 0 && !flusher->read_only) {
        return fx_error_set(FEOX_ERR_IO, -r->unreadable, "reading the header of %s", r->path);
    }
    if (r->unreadable == 0 && size == NEW_FILE_SIZE && all_zero(r->buffer, FX_SUPERBLOCK_AREA)) {
        return FEOX_END;
    }
    feox_status status = fx_superblock_decode(r->buffer, &flusher->root, &damaged);
    if (status != FEOX_OK) {
        return r->unreadable == 0 || r->rescue
                   ? fx_error_set(status, 0, "%s", r->path)
                   : fx_error_set(FEOX_ERR_IO, -r->unreadable, "reading the header of %s", r->path);
    }
    if (size < FX_SUPERBLOCK_AREA ||
        (flusher->root.flags & ~(uint64_t)FX_SUPERBLOCK_UNFINISHED) != 0) {
        return fx_error_set(FEOX_ERR_CORRUPT, 0, "%s: its header is damaged", r->path);
    }
    if ((flusher->root.flags & FX_SUPERBLOCK_UNFINISHED) != 0) {
        return FEOX_END;
    }
    if (!fx_superblock_fits(&flusher->root, r->file_blocks)) {
        return fx_error_set(FEOX_ERR_CORRUPT, 0, "%s: it was cut short", r->path);
    }
    if (damaged > 0 && flusher->root.generation > 2) {
        fx_recovery_damaged(r, "a superblock is damaged", NULL,
                            (flusher->root.generation + 1) % FX_SUPERBLOCK_COPIES * FX_BLOCK_SIZE,
                            FX_BLOCK_SIZE);
    }
    flusher->id = flusher->root.id;
    return FEOX_OK;
}

/* The second copy is looked at only if the first is not sound. */
static feox_status read_table(fx_recovery *r) {
    fx_flusher *flusher = r->flusher;
    const fx_superblock *root = &flusher->root;
    const uint8_t *from[2] = {NULL, NULL};
    uint8_t *copies[2] = {NULL, NULL};
    size_t length = (size_t)root->checkpoint_length;
    feox_status status = FEOX_OK;
    if (root->checkpoint.count == 0) {
        return FEOX_OK;
    }
    for (unsigned i = 0; status == FEOX_OK && i < 2; i++) {
        const fx_extent extent = {.block = i == 0 ? root->checkpoint.block : root->mirror,
                                  .count = root->checkpoint.count};
        status = fx_recovery_read_extent(r, extent, &copies[i]);
        from[i] = copies[i];
        if (status == FEOX_OK && fx_checkpoint_verify(copies[i], length, &root->id, root->group,
                                                      root->checkpoint_checksum)) {
            from[0] = from[1] = copies[i];
            break;
        }
        if (status == FEOX_OK) {
            fx_recovery_damaged(r, "a copy of the checkpoint is damaged", NULL,
                                extent.block * FX_BLOCK_SIZE, extent.count * FX_BLOCK_SIZE);
        }
    }
    if (status == FEOX_OK) {
        status = fx_checkpoint_decode(from[0], from[1], length, &root->id, root->group,
                                      r->file_blocks, &flusher->segments, &r->lost_table);
    }
    fx_mem_free(copies[0]);
    fx_mem_free(copies[1]);
    flusher->lost_table = r->lost_table;
    if (status == FEOX_OK && r->lost_table > 0) {
        fx_recovery_damaged(r, "both copies of the checkpoint are damaged in the same place", NULL,
                            root->checkpoint.block * FX_BLOCK_SIZE,
                            root->checkpoint.count * FX_BLOCK_SIZE);
        if (!flusher->read_only) {
            return fx_error_set(FEOX_ERR_CORRUPT, 0, "%s: its checkpoint is damaged", r->path);
        }
    }
    return status;
}

/* ---- Records ---- */

bool fx_recovery_large_draw(fx_recovery *r, const fx_entry *entry) {
    uint64_t blocks = fx_blocks_of(entry->value_len);
    if (blocks > r->large_blocks) {
        return false;
    }
    r->large_blocks -= blocks;
    return true;
}

static feox_status apply(fx_recovery *r, const fx_recovery_record *waiting) {
    fx_flusher *flusher = r->flusher;
    const fx_walked *record = &waiting->record;
    fx_entry plain = record->entry;
    const fx_entry *entry = &plain;
    fx_block *block = NULL;
    uint64_t dead = 0;
    uint64_t position = record->location * FX_RECORD_ALIGN;
    if (entry->version < VERSION_MIN) {
        fx_recovery_damaged(r, "a record has a version that was never given", entry, position,
                            record->size);
        return FEOX_OK;
    }
    if (waiting->bad_value) {
        plain.kind = plain.kind == FX_ENTRY_PUT ? FX_ENTRY_LARGE : plain.kind;
        if (!r->rescue) { /* there the copying tells, if it still matters */
            fx_recovery_damaged(r, "the value is damaged", entry, position, record->size);
        }
    } else if (entry->kind == FX_ENTRY_LARGE &&
               fx_commit_recovers_value(flusher->engine, entry->value_len)) {
        feox_status status = fx_recovery_large_draw(r, entry)
                                 ? fx_volume_read_large(flusher, entry, &block)
                                 : FEOX_ERR_CORRUPT;
        if (status == FEOX_ERR_MEMORY) {
            return status;
        }
        if (status != FEOX_OK) { /* it stays on disk, and reads will say so */
            fx_recovery_damaged(r, "the large value is damaged", entry, entry->large_offset,
                                entry->value_len);
        }
    }
    feox_status status =
        fx_commit_recovered(flusher->engine, waiting->hash, entry, record->location, block, &dead);
    fx_block_release(block);
    if (status == FEOX_OK && dead != 0) {
        (void)fx_segments_set_dead(&flusher->segments, dead);
    }
    return status;
}

feox_status fx_recovery_settle(fx_recovery *r) {
    feox_status status = FEOX_OK;
    for (unsigned i = 0; status == FEOX_OK && i < r->waiting_count; i++) {
        status = apply(r, &r->waiting[i]);
    }
    r->waiting_count = 0;
    return status;
}

feox_status fx_recovery_apply(fx_recovery *r, const fx_walked *record, bool bad_value) {
    feox_status status = r->waiting_count == FX_RECOVERY_WAITING ? fx_recovery_settle(r) : FEOX_OK;
    const fx_entry *entry = &record->entry;
    r->waiting[r->waiting_count++] = (fx_recovery_record){
        .record = *record,
        .hash = fx_commit_recovery_hash(r->flusher->engine, entry->key, entry->key_len),
        .bad_value = bad_value,
    };
    return status;
}

bool fx_recovery_large_fits(const fx_recovery *r, const fx_entry *entry) {
    uint64_t block = entry->large_offset / FX_BLOCK_SIZE;
    return entry->large_offset % FX_BLOCK_SIZE == 0 && entry->value_len > 0 &&
           block < r->file_blocks && fx_blocks_of(entry->value_len) <= r->file_blocks - block;
}

/* Whether a record that the checkpoint calls live may be that. */
static bool may_be_live(const fx_recovery *r, const fx_disk_segment *segment,
                        const fx_walked *record) {
    const fx_entry *entry = &record->entry;
    if (entry->kind != FX_ENTRY_LARGE) {
        return entry->kind == FX_ENTRY_PUT;
    }
    const fx_segment_large *large = fx_segment_find_large(segment, record->offset);
    return large != NULL && fx_recovery_large_fits(r, entry) &&
           large->block == entry->large_offset / FX_BLOCK_SIZE &&
           large->blocks == fx_blocks_of(entry->value_len);
}

static feox_status load_segment(fx_recovery *r, fx_disk_segment *segment) {
    fx_flusher *flusher = r->flusher;
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    fx_segment_walk_init(&walk, &flusher->id, r->buffer, segment->position, segment->group,
                         segment->byte_length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED || !may_be_live(r, segment, &record)) {
            segment->damaged = true;
            flusher->lost_records++;
            fx_recovery_damaged(r, "a record is damaged, and its key not known", NULL,
                                record.location * FX_RECORD_ALIGN, FX_RECORD_SIZE_MIN);
            continue;
        }
        feox_status status = fx_recovery_apply(r, &record, result == FX_WALK_BAD_VALUE);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return fx_recovery_settle(r);
}

/* A read that goes on while the segment before is taken apart. Who may not write has no queue: then
 * it is made when the segment's turn comes. */
static void read_ahead(fx_recovery *r, const fx_disk_segment *segment, fx_dev_op *op) {
    *op = (fx_dev_op){.kind = FX_DEV_READ,
                      .offset = segment->position,
                      .size = (size_t)fx_round_up(segment->byte_length, FX_BLOCK_SIZE),
                      .buffer = r->next,
                      .result = -EAGAIN};
    if (r->flusher->queue != NULL) {
        fx_dev_submit(r->flusher->queue, op);
    }
}

/* Its bytes are the buffer's; what the device did not give it is asked for again, by blocks. */
static void read_arrived(fx_recovery *r, const fx_dev_op *op) {
    if (r->flusher->queue != NULL) {
        (void)fx_dev_reap(r->flusher->queue);
    }
    uint8_t *arrived = r->next;
    r->next = r->buffer;
    r->buffer = arrived;
    if (op->result != 0) {
        fx_recovery_read(r, op->offset, arrived, op->size);
    } else {
        fx_volume_count_read(r->flusher, op->size);
    }
}

static feox_status load_table(fx_recovery *r) {
    const fx_segments *segments = &r->flusher->segments;
    feox_status status = FEOX_OK;
    fx_dev_op op;
    if (segments->count > 0) {
        read_ahead(r, segments->items[0], &op);
    }
    for (size_t i = 0; i < segments->count; i++) {
        read_arrived(r, &op);
        if (status != FEOX_OK) {
            break;
        }
        if (i + 1 < segments->count) {
            read_ahead(r, segments->items[i + 1], &op);
        }
        status = load_segment(r, segments->items[i]);
    }
    return status;
}

/* ---- Space, numbers ---- */

static feox_status carve_extent(fx_recovery *r, uint64_t block, uint64_t count) {
    fx_extents *extents = &r->flusher->space.extents;
    if (count == 0) {
        return FEOX_OK;
    }
    if (!fx_extents_reserve_nodes(extents, 2)) {
        return FEOX_ERR_MEMORY;
    }
    return fx_extents_reserve(extents, block, count)
               ? FEOX_OK
               : fx_error_set(FEOX_ERR_CORRUPT, 0, "%s: block %llu has two owners", r->path,
                              (unsigned long long)block);
}

/* Everything is free, then what is owned is not. */
static feox_status carve(fx_recovery *r) {
    fx_flusher *flusher = r->flusher;
    fx_extents *extents = &flusher->space.extents;
    const fx_extent *ring = &flusher->root.journal;
    uint64_t behind = ring->block + ring->count;
    if ((ring->block > FX_SUPERBLOCK_COPIES &&
         !fx_extents_add_free(extents, FX_SUPERBLOCK_COPIES, ring->block - FX_SUPERBLOCK_COPIES)) ||
        (behind < r->file_blocks &&
         !fx_extents_add_free(extents, behind, r->file_blocks - behind))) {
        return FEOX_ERR_MEMORY;
    }
    const fx_extent *table = &flusher->root.checkpoint;
    feox_status status = carve_extent(r, table->block, table->count);
    status = status == FEOX_OK ? carve_extent(r, flusher->root.mirror, table->count) : status;
    for (size_t i = 0; status == FEOX_OK && i < flusher->segments.count; i++) {
        const fx_disk_segment *segment = flusher->segments.items[i];
        status = carve_extent(r, segment->position / FX_BLOCK_SIZE, segment->blocks);
        for (uint32_t j = 0; status == FEOX_OK && j < segment->large_count; j++) {
            status = carve_extent(r, segment->larges[j].block, segment->larges[j].blocks);
        }
    }
    return status;
}

/* Numbers go on above everything that was ever given out. */
static void set_numbers(fx_recovery *r, uint64_t gap) {
    fx_flusher *flusher = r->flusher;
    fx_engine *engine = flusher->engine;
    uint64_t counter =
        flusher->counter > flusher->root.counter ? flusher->counter : flusher->root.counter;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        counter = engine->shards[i].counter > counter ? engine->shards[i].counter : counter;
    }
    counter += gap;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        engine->shards[i].counter = counter;
    }
    flusher->counter = counter;
    flusher->durable_group = r->group;
    flusher->open_group = r->group + 1;
    if (flusher->root.time_ns > flusher->time_ns) {
        flusher->time_ns = flusher->root.time_ns;
    }
    if (flusher->time_ns >= FX_TIME_END) {
        flusher->time_ns = 0; /* no clock ever said that */
    }
    fx_add_relaxed(&flusher->corrupt_records, r->damaged);
}

static feox_status load(fx_recovery *r) {
    fx_flusher *flusher = r->flusher;
    feox_status status = read_table(r);
    if (status == FEOX_OK && r->lost_table > 0 && r->rescue) {
        return fx_rescue_load(r);
    }
    status = status == FEOX_OK ? fx_replay_read(r) : status;
    /* A forged table may claim more than the file can hold. */
    uint64_t most = r->file_blocks * (FX_BLOCK_SIZE / FX_RECORD_SIZE_MIN);
    uint64_t keys = flusher->segments.live_records;
    status = status == FEOX_OK
                 ? fx_commit_recovery_expect(flusher->engine, keys < most ? keys : most)
                 : status;
    status = status == FEOX_OK ? load_table(r) : status;
    status = status == FEOX_OK ? fx_replay_load(r) : status;
    if (status == FEOX_OK && r->lost_group && !r->rescue) {
        if (!flusher->read_only) {
            return fx_error_set(FEOX_ERR_CORRUPT, 0, "%s: a group of its journal is damaged",
                                r->path);
        }
        flusher->doubtful = true;
        status = fx_commit_doubt(flusher->engine, r->doubt);
    }
    if (status == FEOX_OK && !flusher->read_only) {
        status = carve(r);
    }
    return status;
}

/* The same root, with the counter of this opening, in both copies: also one that was damaged, or
 * that a crash left older than the other, says the same from now on. The copy that was read may be
 * nowhere but in the device's cache, where the process before left it: it is made safe before the
 * other one is written over. */
static feox_status renew_root(fx_recovery *r) {
    fx_superblock root = r->flusher->root;
    root.counter = r->flusher->counter;
    int error = fx_staging_sync(&r->flusher->staging);
    error = error == 0 ? fx_compactor_write_root(r->flusher, &root) : error;
    if (error != 0) {
        return fx_error_set(error == -ENOSPC ? FEOX_ERR_SPACE : FEOX_ERR_IO, -error,
                            "writing the header of %s", r->path);
    }
    r->flusher->root = root;
    return FEOX_OK;
}

static feox_status open_existing(fx_recovery *r) {
    fx_flusher *flusher = r->flusher;
    feox_status status = load(r);
    if (r->unreadable != 0 && !flusher->read_only && status != FEOX_ERR_MEMORY) {
        return fx_error_set(FEOX_ERR_IO, -r->unreadable, "%s cannot be read whole", r->path);
    }
    if (status != FEOX_OK) {
        return status;
    }
    set_numbers(r, COUNTER_GAP);
    if (flusher->read_only) {
        return FEOX_OK;
    }
    if (r->count > 0 || r->damaged > 0) {
        flusher->ring_image = r->ring;
        status = fx_compactor_checkpoint(flusher, false);
        flusher->ring_image = NULL;
        if (r->torn || (status != FEOX_ERR_SPACE && status != FEOX_ERR_MEMORY)) {
            return status;
        }
    }
    return renew_root(r);
}

/* Whatever the root was, only the segments count. */
static feox_status open_rescued(fx_recovery *r) {
    fx_flusher *flusher = r->flusher;
    flusher->root.journal.count = 0;
    feox_status status = fx_rescue_load(r);
    if (status == FEOX_ERR_NOT_FEOX && r->unreadable != 0) {
        return fx_error_set(FEOX_ERR_IO, -r->unreadable, "%s cannot be read", r->path);
    }
    if (status == FEOX_OK) {
        fx_recovery_damaged(r, "the superblocks are damaged", NULL, 0, FX_SUPERBLOCK_AREA);
        set_numbers(r, COUNTER_GAP);
    }
    return status;
}

static feox_status open_new(fx_recovery *r, const fx_flusher_options *options) {
    fx_flusher *flusher = r->flusher;
    memset(&flusher->root, 0, sizeof flusher->root);
    feox_status status = flusher->read_only ? FEOX_OK : create_file(r, options);
    fx_space_init(&flusher->space, flusher->dev, &flusher->readers, r->file_blocks,
                  options->file_size_limit);
    if (status == FEOX_OK && flusher->root.journal.count > 0) {
        fx_journal_init(&flusher->journal, flusher->root.journal, 0);
        set_numbers(r, 0);
        status = carve(r);
    }
    return status;
}

feox_status fx_recover_open(fx_flusher *flusher, const fx_flusher_options *options) {
    uint64_t file_blocks = fx_dev_size(flusher->dev) / FX_BLOCK_SIZE;
    fx_recovery r = {.flusher = flusher,
                     .sink = options->sink,
                     .path = options->path != NULL ? options->path : "the file",
                     .rescue = options->rescue,
                     .file_blocks = file_blocks,
                     .large_blocks = 2 * file_blocks, /* the last group's are read twice */
                     .repairs = REPAIRS_MAX};
    r.buffer = fx_mem_alloc_aligned(FX_SEGMENT_SIZE_MAX + FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    r.next = fx_mem_alloc_aligned(FX_SEGMENT_SIZE_MAX + FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    bool ready = r.buffer != NULL && r.next != NULL;
    feox_status status = ready ? read_root(&r) : FEOX_ERR_MEMORY;
    if (status == FEOX_END) {
        status = open_new(&r, options);
    } else if (ready) {
        fx_space_init(&flusher->space, flusher->dev, &flusher->readers, r.file_blocks,
                      options->file_size_limit);
        if (status == FEOX_OK) {
            status = open_existing(&r);
        } else if (r.rescue && (status == FEOX_ERR_CORRUPT || status == FEOX_ERR_NOT_FEOX)) {
            status = open_rescued(&r);
        }
    }
    fx_mem_free(r.entries);
    fx_mem_free(r.ring);
    fx_mem_free(r.buffer);
    fx_mem_free(r.next);
    return status;
}
