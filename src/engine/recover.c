/* recover: why this way. The newest superblock names a checkpoint; the checkpoint says which
 * records were live then; the journal's entries say, in order, what became durable since. A newer
 * version of a key makes an older place dead, a tombstone too, exactly as it was when the store was
 * running.
 *
 * The last entry may be of a group whose write a crash cut short: it counts only if everything it
 * names verifies, large values included. Every other one is vouched for by its successor, which was
 * written after it was durable; if it does not verify, that is damage, and what is sound of it is
 * kept.
 *
 * A new file is made so that a crash at any point leaves one that opens again: first two blocks of
 * zeros (two zero blocks and nothing else count as an empty file), then a superblock that says
 * UNFINISHED, then the ring, then the real superblock. Nothing else that is not ours is ever
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

/* Free blocks that a new file has besides its ring. */
#define NEW_FILE_SPARE 256u
/* Versions that a crash may have taken back are not given out again: every opening begins this far
 * above the last one, and makes that durable before it gives out any. Versions count to 2^56. */
#define COUNTER_GAP ((uint64_t)1 << 28)

typedef struct recovery {
    fx_flusher *flusher;
    const char *path;
    uint64_t file_blocks;
    uint8_t *buffer; /* a segment and a block more */
    uint8_t *ring;
    fx_journal_entry *entries; /* rising groups */
    size_t count;
    size_t capacity;
    uint64_t group;   /* the highest number seen */
    uint64_t damaged; /* records, or groups */
    int unreadable;   /* -errno of a block that the device did not give; 0: none */
    bool torn;
} recovery;

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

static feox_status create_error(const recovery *r, int error) {
    return fx_error_set(error == -ENOSPC ? FEOX_ERR_SPACE : FEOX_ERR_IO, -error,
                        "making the new store %s", r->path);
}

static feox_status create_file(recovery *r, const fx_flusher_options *options) {
    fx_flusher *flusher = r->flusher;
    uint64_t ring = FX_JOURNAL_SIZE / FX_BLOCK_SIZE;
    uint64_t blocks = FX_SUPERBLOCK_COPIES + ring + NEW_FILE_SPARE;
    uint64_t wanted = fx_blocks_of(options->file_size_initial);
    fx_superblock root = {.journal = {.block = FX_SUPERBLOCK_COPIES, .count = ring}};
    blocks = wanted > blocks ? wanted : blocks;
    if (options->file_size_limit != 0 && blocks > options->file_size_limit / FX_BLOCK_SIZE) {
        return fx_error_set(FEOX_ERR_SPACE, 0, "a store needs at least %llu bytes",
                            (unsigned long long)blocks * FX_BLOCK_SIZE);
    }
    if (blocks > FX_EXTENTS_BLOCK_MAX || !fx_random_bytes(&root.id, sizeof root.id) ||
        !fx_random_bytes(&root.epoch, sizeof root.epoch)) {
        return fx_error_set(FEOX_ERR_IO, 0, "no random numbers, or no such size");
    }
    root.file_blocks = blocks;
    int error = 0;
    if (fx_dev_size(flusher->dev) < FX_SUPERBLOCK_AREA) {
        error = fx_dev_grow(flusher->dev, FX_SUPERBLOCK_AREA);
    }
    error = error == 0 ? write_unfinished(flusher, &root) : error;
    if (error == 0 && fx_dev_size(flusher->dev) < blocks * FX_BLOCK_SIZE) {
        error = fx_dev_grow(flusher->dev, blocks * FX_BLOCK_SIZE);
    }
    error = error == 0 ? write_zeros(flusher, FX_SUPERBLOCK_AREA, FX_JOURNAL_SIZE) : error;
    error = error == 0 ? fx_compactor_write_root(flusher, &root) : error;
    error = error == 0 ? fx_staging_sync(&flusher->staging) : error;
    if (error != 0) {
        return create_error(r, error);
    }
    flusher->root = root;
    flusher->id = root.id;
    r->file_blocks = fx_dev_size(flusher->dev) / FX_BLOCK_SIZE;
    return options->path != NULL ? fx_dev_file_sync_name(flusher->dev, options->path) : FEOX_OK;
}

/* ---- Reading ---- */

/* Reads what can be read; blocks that the device does not give are zeros, and found damaged
 * later. */
static void read_tolerant(recovery *r, uint64_t offset, uint8_t *buffer, size_t size) {
    if (fx_volume_read(r->flusher, offset, buffer, size) == 0) {
        return;
    }
    for (size_t at = 0; at < size; at += FX_BLOCK_SIZE) {
        int error = fx_volume_read(r->flusher, offset + at, buffer + at, FX_BLOCK_SIZE);
        if (error != 0) {
            memset(buffer + at, 0, FX_BLOCK_SIZE);
            r->unreadable = error != -ERANGE ? error : r->unreadable;
        }
    }
}

static feox_status read_extent(recovery *r, fx_extent extent, uint8_t **bytes_out) {
    uint8_t *bytes = fx_mem_alloc_aligned((size_t)extent.count * FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    *bytes_out = bytes;
    if (bytes == NULL) {
        return FEOX_ERR_MEMORY;
    }
    uint64_t offset = extent.block * FX_BLOCK_SIZE;
    uint64_t left = extent.count * FX_BLOCK_SIZE;
    while (left > 0) {
        size_t piece = left < FX_SEGMENT_SIZE_MAX ? (size_t)left : FX_SEGMENT_SIZE_MAX;
        read_tolerant(r, offset, bytes, piece);
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
static feox_status read_root(recovery *r) {
    fx_flusher *flusher = r->flusher;
    uint64_t size = fx_dev_size(flusher->dev);
    unsigned damaged = 0;
    if (size == 0) {
        return FEOX_END;
    }
    size_t head = size < FX_SUPERBLOCK_AREA ? (size_t)size / FX_BLOCK_SIZE * FX_BLOCK_SIZE
                                            : FX_SUPERBLOCK_AREA;
    memset(r->buffer, 0, FX_SUPERBLOCK_AREA);
    int error = head > 0 ? fx_volume_read(flusher, 0, r->buffer, head) : 0;
    if (error != 0) {
        return fx_error_set(FEOX_ERR_IO, -error, "reading the header of %s", r->path);
    }
    if (size == FX_SUPERBLOCK_AREA && all_zero(r->buffer, FX_SUPERBLOCK_AREA)) {
        return FEOX_END;
    }
    feox_status status = fx_superblock_decode(r->buffer, &flusher->root, &damaged);
    if (status != FEOX_OK) {
        return fx_error_set(status, 0, "%s", r->path);
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
    r->damaged += damaged > 0 && flusher->root.generation > 2 ? damaged : 0;
    flusher->id = flusher->root.id;
    return FEOX_OK;
}

static feox_status read_table(recovery *r) {
    fx_flusher *flusher = r->flusher;
    const fx_superblock *root = &flusher->root;
    uint8_t *bytes = NULL;
    if (root->checkpoint.count == 0) {
        return FEOX_OK;
    }
    feox_status status = read_extent(r, root->checkpoint, &bytes);
    if (status == FEOX_OK) {
        status =
            fx_checkpoint_decode(bytes, (size_t)root->checkpoint_length, &root->id,
                                 root->checkpoint.block * FX_BLOCK_SIZE, root->checkpoint_checksum,
                                 r->file_blocks, &flusher->segments);
    }
    fx_mem_free(bytes);
    return status == FEOX_ERR_CORRUPT
               ? fx_error_set(status, 0, "%s: its checkpoint is damaged", r->path)
               : status;
}

/* ---- Records ---- */

/* A record of a segment in the table goes to the engine. One with a damaged value stays on disk
 * like a large one: the key is there, and reading it says what is wrong. */
static feox_status apply(recovery *r, const fx_walked *record, bool bad_value) {
    fx_flusher *flusher = r->flusher;
    fx_entry plain = record->entry;
    const fx_entry *entry = &plain;
    fx_block *block = NULL;
    uint64_t dead = 0;
    if (bad_value) {
        plain.kind = plain.kind == FX_ENTRY_PUT ? FX_ENTRY_LARGE : plain.kind;
        r->damaged++;
    } else if (entry->kind == FX_ENTRY_LARGE &&
               fx_commit_recovers_value(flusher->engine, entry->value_len)) {
        feox_status status = fx_volume_read_large(flusher, entry, &block);
        if (status == FEOX_ERR_MEMORY) {
            return status;
        }
        r->damaged += status != FEOX_OK ? 1 : 0; /* it stays on disk, and reads will say so */
    }
    feox_status status =
        fx_commit_recovered(flusher->engine, entry, record->location, block, &dead);
    fx_block_release(block);
    if (status == FEOX_OK && dead != 0) {
        (void)fx_segments_set_dead(&flusher->segments, dead);
    }
    return status;
}

static bool large_in_file(const recovery *r, const fx_entry *entry) {
    uint64_t block = entry->large_offset / FX_BLOCK_SIZE;
    return entry->large_offset % FX_BLOCK_SIZE == 0 && entry->value_len > 0 &&
           block < r->file_blocks && fx_blocks_of(entry->value_len) <= r->file_blocks - block;
}

/* Whether a record that the checkpoint calls live may be that. */
static bool may_be_live(const recovery *r, const fx_disk_segment *segment,
                        const fx_walked *record) {
    const fx_entry *entry = &record->entry;
    if (entry->kind != FX_ENTRY_LARGE) {
        return entry->kind == FX_ENTRY_PUT;
    }
    const fx_segment_large *large = fx_segment_find_large(segment, record->offset);
    return large != NULL && large_in_file(r, entry) &&
           large->block == entry->large_offset / FX_BLOCK_SIZE &&
           large->blocks == fx_blocks_of(entry->value_len);
}

static feox_status load_segment(recovery *r, const fx_disk_segment *segment) {
    fx_flusher *flusher = r->flusher;
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    read_tolerant(r, segment->position, r->buffer,
                  (size_t)fx_round_up(segment->byte_length, FX_BLOCK_SIZE));
    fx_segment_walk_init(&walk, &flusher->id, r->buffer, segment->position, segment->byte_length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED || !may_be_live(r, segment, &record)) {
            (void)fx_segments_set_dead(&flusher->segments, record.location);
            r->damaged++;
            continue;
        }
        feox_status status = apply(r, &record, result == FX_WALK_BAD_VALUE);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return FEOX_OK;
}

static feox_status load_table(recovery *r) {
    const fx_segments *segments = &r->flusher->segments;
    for (size_t i = 0; i < segments->count; i++) {
        if (segments->items[i]->live_count > 0) {
            feox_status status = load_segment(r, segments->items[i]);
            if (status != FEOX_OK) {
                return status;
            }
        }
    }
    return FEOX_OK;
}

/* ---- The journal ---- */

static feox_status read_journal(recovery *r) {
    fx_flusher *flusher = r->flusher;
    fx_journal_entry entry;
    uint64_t cursor = 0;
    feox_status status = read_extent(r, flusher->root.journal, &r->ring);
    if (status != FEOX_OK) {
        return status;
    }
    fx_journal_init(&flusher->journal, flusher->root.journal, flusher->root.journal_head);
    r->group = flusher->root.group;
    while (fx_journal_scan(r->ring, &flusher->journal, &flusher->id, flusher->root.epoch, &cursor,
                           &entry)) {
        if (entry.first_group <= r->group) {
            r->damaged++; /* no entry that we wrote */
            continue;
        }
        if (r->count == r->capacity) {
            size_t capacity = r->capacity == 0 ? 64 : r->capacity * 2;
            fx_journal_entry *grown = fx_mem_realloc(r->entries, capacity * sizeof *grown);
            if (grown == NULL) {
                return FEOX_ERR_MEMORY;
            }
            r->entries = grown;
            r->capacity = capacity;
        }
        r->damaged += entry.first_group > r->group + 1 ? 1 : 0;
        r->entries[r->count++] = entry;
        r->group = entry.group;
    }
    return FEOX_OK;
}

static const uint8_t *entry_bytes(const recovery *r, const fx_journal_entry *entry) {
    return r->ring + (entry->position - r->flusher->root.journal.block * FX_BLOCK_SIZE);
}

/* Gets the image of one segment that an entry names; NULL: it cannot be where the entry says. */
static const uint8_t *named_image(recovery *r, const fx_journal_entry *entry,
                                  const fx_journal_segment *named) {
    const fx_extent *ring = &r->flusher->root.journal;
    if (named->byte_length < FX_SEGMENT_HEADER_SIZE || named->byte_length > FX_SEGMENT_SIZE_MAX) {
        return NULL;
    }
    if (named->blocks == 0) {
        uint64_t room = (uint64_t)entry->blocks * FX_BLOCK_SIZE - entry->inline_offset;
        bool fits = entry->inline_offset != 0 && named->byte_length <= room &&
                    named->position == entry->position + entry->inline_offset;
        return fits ? entry_bytes(r, entry) + entry->inline_offset : NULL;
    }
    uint64_t block = named->position / FX_BLOCK_SIZE;
    if (named->position % FX_BLOCK_SIZE != 0 || block < ring->block + ring->count ||
        block >= r->file_blocks || named->blocks > r->file_blocks - block ||
        fx_blocks_of(named->byte_length) != named->blocks) {
        return NULL;
    }
    read_tolerant(r, named->position, r->buffer, (size_t)named->blocks * FX_BLOCK_SIZE);
    return r->buffer;
}

static bool image_verifies(const recovery *r, const fx_journal_segment *named,
                           const uint8_t *image) {
    fx_segment_header header;
    return fx_format_segment_verify(image, &r->flusher->id, named->position, named->byte_length) &&
           fx_format_segment_decode(image, &r->flusher->id, named->position, &header) &&
           header.checksum == named->checksum;
}

/* Whether the large values of a sound image arrived. */
static feox_status larges_verify(recovery *r, const fx_journal_segment *named, const uint8_t *image,
                                 bool *ok_out) {
    fx_segment_walk walk;
    fx_walked record;
    fx_segment_walk_init(&walk, &r->flusher->id, image, named->position, named->byte_length);
    while (*ok_out && fx_segment_walk_all(&walk, &record) == FX_WALK_RECORD) {
        if (record.entry.kind != FX_ENTRY_LARGE) {
            continue;
        }
        fx_block *block = NULL;
        feox_status status = large_in_file(r, &record.entry)
                                 ? fx_volume_read_large(r->flusher, &record.entry, &block)
                                 : FEOX_ERR_CORRUPT;
        fx_block_release(block);
        if (status == FEOX_ERR_MEMORY || status == FEOX_ERR_IO) {
            return status;
        }
        *ok_out = status == FEOX_OK;
    }
    return FEOX_OK;
}

/* Whether everything of the last group arrived. */
static feox_status tail_verifies(recovery *r, const fx_journal_entry *entry, bool *ok_out) {
    *ok_out = true;
    for (uint32_t i = 0; *ok_out && i < entry->segment_count; i++) {
        fx_journal_segment named;
        fx_journal_segment_at(entry_bytes(r, entry), i, &named);
        const uint8_t *image = named_image(r, entry, &named);
        *ok_out = image != NULL && image_verifies(r, &named, image);
        if (*ok_out) {
            feox_status status = larges_verify(r, &named, image, ok_out);
            if (status != FEOX_OK) {
                return status;
            }
        }
    }
    return FEOX_OK;
}

/* The table's entry for a segment that the journal names; every put counts as live at first. */
static feox_status add_segment(recovery *r, const fx_journal_segment *named, const uint8_t *image,
                               uint64_t group, bool *added_out) {
    fx_flusher *flusher = r->flusher;
    fx_disk_segment *segment =
        fx_segment_create(named->position, named->byte_length, named->blocks, group, 0, 0);
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    feox_status status = segment != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
    fx_segment_walk_init(&walk, &flusher->id, image, named->position, named->byte_length);
    while (status == FEOX_OK && (result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED) {
            r->damaged++;
            continue;
        }
        segment->record_count++;
        if (record.entry.kind == FX_ENTRY_LARGE && large_in_file(r, &record.entry)) {
            if (!fx_segment_reserve_large(segment)) {
                status = FEOX_ERR_MEMORY;
                break;
            }
            fx_segment_add_large(segment, record.offset, record.entry.large_offset / FX_BLOCK_SIZE,
                                 (uint32_t)fx_blocks_of(record.entry.value_len));
        }
        if (record.entry.kind != FX_ENTRY_TOMBSTONE) {
            fx_segment_set_live(segment, record.offset);
        }
    }
    if (status == FEOX_OK && !fx_segments_reserve(&flusher->segments, 1)) {
        status = FEOX_ERR_MEMORY;
    }
    *added_out = status == FEOX_OK && fx_segments_add(&flusher->segments, segment);
    if (!*added_out) {
        fx_segment_destroy(segment);
    }
    return status;
}

static feox_status load_image(recovery *r, const fx_journal_segment *named, const uint8_t *image,
                              uint64_t group) {
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    bool added = false;
    feox_status status = add_segment(r, named, image, group, &added);
    if (status != FEOX_OK || !added) {
        r->damaged += status == FEOX_OK ? 1 : 0;
        return status;
    }
    fx_segment_walk_init(&walk, &r->flusher->id, image, named->position, named->byte_length);
    while ((result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED) {
            continue;
        }
        if (record.entry.kind == FX_ENTRY_LARGE && !large_in_file(r, &record.entry)) {
            r->damaged++;
            (void)fx_segments_set_dead(&r->flusher->segments, record.location);
            continue;
        }
        status = apply(r, &record, result == FX_WALK_BAD_VALUE);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return FEOX_OK;
}

static feox_status load_entry(recovery *r, const fx_journal_entry *entry) {
    for (uint32_t i = 0; i < entry->segment_count; i++) {
        fx_journal_segment named;
        fx_journal_segment_at(entry_bytes(r, entry), i, &named);
        const uint8_t *image = named_image(r, entry, &named);
        if (image == NULL) {
            r->damaged++;
            continue;
        }
        feox_status status = load_image(r, &named, image, entry->group);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return FEOX_OK;
}

static feox_status load_journal(recovery *r) {
    fx_flusher *flusher = r->flusher;
    if (r->count > 0) {
        bool whole = false;
        feox_status status = tail_verifies(r, &r->entries[r->count - 1], &whole);
        if (status != FEOX_OK) {
            return status;
        }
        r->torn = !whole;
    }
    size_t count = r->torn ? r->count - 1 : r->count;
    for (size_t i = 0; i < count; i++) {
        const fx_journal_entry *entry = &r->entries[i];
        feox_status status = load_entry(r, entry);
        if (status != FEOX_OK) {
            return status;
        }
        uint64_t block = entry->position / FX_BLOCK_SIZE - flusher->journal.extent.block;
        fx_journal_advance(&flusher->journal, block, entry->blocks);
        flusher->time_ns = entry->time_ns > flusher->time_ns ? entry->time_ns : flusher->time_ns;
        flusher->counter = entry->counter > flusher->counter ? entry->counter : flusher->counter;
    }
    return FEOX_OK;
}

/* ---- Space, numbers ---- */

static feox_status carve_extent(recovery *r, uint64_t block, uint64_t count) {
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
static feox_status carve(recovery *r) {
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
static void set_numbers(recovery *r, uint64_t gap) {
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
    fx_add_relaxed(&flusher->corrupt_records, r->damaged);
}

static feox_status load(recovery *r) {
    feox_status status = read_table(r);
    status = status == FEOX_OK ? read_journal(r) : status;
    status = status == FEOX_OK ? load_table(r) : status;
    status = status == FEOX_OK ? load_journal(r) : status;
    if (status == FEOX_OK && !r->flusher->read_only) {
        status = carve(r);
    }
    return status;
}

/* The same root, with the counter of this opening, in both copies: also one that was damaged, or
 * that a crash left older than the other, says the same from now on. */
static feox_status renew_root(recovery *r) {
    fx_superblock root = r->flusher->root;
    root.counter = r->flusher->counter;
    int error = fx_compactor_write_root(r->flusher, &root);
    if (error != 0) {
        return fx_error_set(FEOX_ERR_IO, -error, "writing the header of %s", r->path);
    }
    r->flusher->root = root;
    return FEOX_OK;
}

static feox_status open_existing(recovery *r) {
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
        status = fx_compactor_checkpoint(flusher, false);
        if (r->torn || (status != FEOX_ERR_SPACE && status != FEOX_ERR_MEMORY)) {
            return status;
        }
    }
    return renew_root(r);
}

feox_status fx_recover_open(fx_flusher *flusher, const fx_flusher_options *options) {
    recovery r = {.flusher = flusher,
                  .path = options->path != NULL ? options->path : "the file",
                  .file_blocks = fx_dev_size(flusher->dev) / FX_BLOCK_SIZE};
    r.buffer = fx_mem_alloc_aligned(FX_SEGMENT_SIZE_MAX + FX_BLOCK_SIZE, FX_BLOCK_SIZE);
    if (r.buffer == NULL) {
        return FEOX_ERR_MEMORY;
    }
    feox_status status = read_root(&r);
    bool made = status == FEOX_END;
    if (made) {
        memset(&flusher->root, 0, sizeof flusher->root);
        status = flusher->read_only ? FEOX_OK : create_file(&r, options);
    }
    if (status == FEOX_OK) {
        fx_space_init(&flusher->space, flusher->dev, &flusher->readers, r.file_blocks,
                      options->file_size_limit);
        if (!made) {
            status = open_existing(&r);
        } else if (flusher->root.journal.count > 0) {
            fx_journal_init(&flusher->journal, flusher->root.journal, 0);
            set_numbers(&r, 0);
            status = carve(&r);
        }
    }
    fx_mem_free(r.entries);
    fx_mem_free(r.ring);
    fx_mem_free(r.buffer);
    return status;
}
