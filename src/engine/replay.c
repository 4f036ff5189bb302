/* replay: why this way. The last entry may be of a group whose write a crash cut short: it counts
 * only if everything it names verifies, large values included. Every other one is vouched for by
 * its successor, which was written after it was durable; if it does not verify, that is damage.
 *
 * Damage in a table's segment costs the record: what it replaced is dead. Damage in the journal
 * costs more, for a key that such a group deleted or changed would show what it was before. So a
 * group of which not every key can be told puts all records before it in doubt, and nobody may
 * write. Before that comes to pass, the most common damage, one flipped bit, is searched for and
 * put right: in what is small enough, and a few times only, since a hostile file could ask for
 * more. A device writes 512 bytes whole or not at all (superblock.h), so an entry that begins in
 * this life of the ring and is not longer than that is damaged and not torn if it does not verify.
 */
#include "engine/recovery.h"

#include "base/mem.h"
#include "disk/journal.h"
#include "engine/commit.h"

/* Not every key that the group changed is known: what was there before it may be out of date. */
static void lose_group(fx_recovery *r) {
    const fx_engine *engine = r->flusher->engine;
    r->lost_group = true;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        uint64_t upto = (engine->shards[i].counter << 8) | 0xff;
        r->doubt = upto > r->doubt ? upto : r->doubt;
    }
}

/* ---- The ring ---- */

/* Puts blocks right that look like entries of this epoch and do not verify. */
static void mend_ring(fx_recovery *r) {
    const fx_flusher *flusher = r->flusher;
    const fx_extent *extent = &flusher->root.journal;
    for (uint64_t i = 0; i < extent->count; i++) {
        uint8_t *bytes = r->ring + i * FX_BLOCK_SIZE;
        uint64_t position = (extent->block + i) * FX_BLOCK_SIZE;
        size_t available = (size_t)((extent->count - i) * FX_BLOCK_SIZE);
        fx_journal_state state = fx_journal_examine(bytes, available, &flusher->id, position,
                                                    flusher->root.epoch, &r->repairs);
        if (state == FX_JOURNAL_MENDED) {
            fx_recovery_damaged(r, "one bit of a journal entry was wrong", NULL, position,
                                FX_BLOCK_SIZE);
        } else if (state == FX_JOURNAL_DAMAGED) {
            r->lost_entry = true;
            fx_recovery_damaged(r, "a journal entry is damaged", NULL, position, FX_BLOCK_SIZE);
        }
    }
}

static feox_status list_entry(fx_recovery *r, const fx_journal_entry *entry) {
    if (r->count == r->capacity) {
        size_t capacity = r->capacity == 0 ? 64 : r->capacity * 2;
        fx_journal_entry *grown = fx_mem_realloc(r->entries, capacity * sizeof *grown);
        if (grown == NULL) {
            return FEOX_ERR_MEMORY;
        }
        r->entries = grown;
        r->capacity = capacity;
    }
    r->entries[r->count++] = *entry;
    r->group = entry->group;
    return FEOX_OK;
}

feox_status fx_replay_read(fx_recovery *r) {
    fx_flusher *flusher = r->flusher;
    fx_journal_entry entry;
    uint64_t cursor = 0;
    int before = r->unreadable;
    r->unreadable = 0;
    feox_status status = fx_recovery_read_extent(r, flusher->root.journal, &r->ring);
    if (status != FEOX_OK) {
        return status;
    }
    if (r->unreadable == 0) {
        r->unreadable = before;
    } else { /* there may have been entries */
        r->lost_entry = true;
        fx_recovery_damaged(r, "the journal cannot be read whole", NULL,
                            flusher->root.journal.block * FX_BLOCK_SIZE,
                            flusher->root.journal.count * FX_BLOCK_SIZE);
    }
    fx_journal_init(&flusher->journal, flusher->root.journal, flusher->root.journal_head);
    mend_ring(r);
    r->group = flusher->root.group;
    while (status == FEOX_OK && fx_journal_scan(r->ring, &flusher->journal, &flusher->id,
                                                flusher->root.epoch, &cursor, &entry)) {
        if (entry.first_group <= r->group) {
            fx_recovery_damaged(r, "a journal entry comes twice", NULL, entry.position,
                                (uint64_t)entry.blocks * FX_BLOCK_SIZE);
            r->lost_entry = true; /* no entry that we wrote */
        } else {
            status = list_entry(r, &entry);
        }
    }
    return status;
}

/* ---- Segments ---- */

static uint8_t *entry_bytes(const fx_recovery *r, const fx_journal_entry *entry) {
    return r->ring + (entry->position - r->flusher->root.journal.block * FX_BLOCK_SIZE);
}

/* Gets the image of one segment that an entry names; NULL: it cannot be where the entry says. */
static uint8_t *named_image(fx_recovery *r, const fx_journal_entry *entry,
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
    fx_recovery_read(r, named->position, r->buffer, (size_t)named->blocks * FX_BLOCK_SIZE);
    return r->buffer;
}

/* Whether the image is what the entry names. If it is small and one bit is wrong, it is put right,
 * and that is damage and no torn write. */
static bool image_verifies(fx_recovery *r, const fx_journal_segment *named, uint8_t *image) {
    if (fx_format_segment_matches(image, &r->flusher->id, named->position, named->byte_length,
                                  named->checksum)) {
        return true;
    }
    if (named->blocks != 0 || r->repairs == 0) {
        return false;
    }
    r->repairs--;
    if (!fx_format_segment_mend(image, &r->flusher->id, named->position, named->byte_length,
                                named->checksum)) {
        return false;
    }
    fx_recovery_damaged(r, "one bit of a group was wrong", NULL, named->position,
                        named->byte_length);
    return true;
}

/* Whether the large values of a sound image arrived. */
static feox_status larges_verify(fx_recovery *r, const fx_journal_segment *named,
                                 const uint8_t *image, uint64_t group, bool *ok_out) {
    fx_segment_walk walk;
    fx_walked record;
    fx_segment_walk_init(&walk, &r->flusher->id, image, named->position, group,
                         named->byte_length);
    while (*ok_out && fx_segment_walk_all(&walk, &record) == FX_WALK_RECORD) {
        if (record.entry.kind != FX_ENTRY_LARGE) {
            continue;
        }
        fx_block *block = NULL;
        bool there =
            fx_recovery_large_fits(r, &record.entry) && fx_recovery_large_draw(r, &record.entry);
        feox_status status =
            there ? fx_volume_read_large(r->flusher, &record.entry, &block) : FEOX_ERR_CORRUPT;
        fx_block_release(block);
        if (status == FEOX_ERR_MEMORY || status == FEOX_ERR_IO) {
            return status;
        }
        *ok_out = status == FEOX_OK;
    }
    return FEOX_OK;
}

/* Whether everything of the last group arrived. */
static feox_status tail_verifies(fx_recovery *r, const fx_journal_entry *entry, bool *ok_out) {
    *ok_out = true;
    for (uint32_t i = 0; *ok_out && i < entry->segment_count; i++) {
        fx_journal_segment named;
        fx_journal_segment_at(entry_bytes(r, entry), i, &named);
        uint8_t *image = named_image(r, entry, &named);
        *ok_out = image != NULL && image_verifies(r, &named, image);
        if (*ok_out) {
            feox_status status = larges_verify(r, &named, image, entry->group, ok_out);
            if (status != FEOX_OK) {
                return status;
            }
        }
    }
    return FEOX_OK;
}

/* The table's entry for a segment that the journal names; every put counts as live at first. */
static feox_status add_segment(fx_recovery *r, const fx_journal_segment *named,
                               const uint8_t *image, uint64_t group, bool *added_out) {
    fx_flusher *flusher = r->flusher;
    fx_disk_segment *segment =
        fx_segment_create(named->position, named->byte_length, named->blocks, group, 0, 0);
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    feox_status status = segment != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
    fx_segment_walk_init(&walk, &flusher->id, image, named->position, group, named->byte_length);
    while (status == FEOX_OK && (result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED) {
            fx_recovery_damaged(r, "a record is damaged, and its key not known", NULL,
                                named->position + walk.offset, FX_RECORD_SIZE_MIN);
            lose_group(r);
            continue;
        }
        segment->record_count++;
        if (record.entry.kind == FX_ENTRY_LARGE && fx_recovery_large_fits(r, &record.entry)) {
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
    if (segment != NULL) {
        segment->known_count = segment->record_count;
    }
    if (status == FEOX_OK && !fx_segments_reserve(&flusher->segments, 1)) {
        status = FEOX_ERR_MEMORY;
    }
    /* mcdc: cannot be false: load_entry saw that it overlaps none */
    *added_out = status == FEOX_OK && fx_segments_add(&flusher->segments, segment);
    if (!*added_out) {
        fx_segment_destroy(segment);
    }
    return status;
}

static feox_status load_image(fx_recovery *r, const fx_journal_segment *named, uint8_t *image,
                              uint64_t group) {
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    bool added = false;
    if (named->blocks == 0) {
        (void)image_verifies(r, named, image); /* puts right what can be */
    }
    feox_status status = add_segment(r, named, image, group, &added);
    if (status != FEOX_OK || !added) { /* mcdc: cannot be true: as above, if the status is good */
        return status;
    }
    fx_segment_walk_init(&walk, &r->flusher->id, image, named->position, group,
                         named->byte_length);
    while ((result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED) {
            continue;
        }
        if (record.entry.kind == FX_ENTRY_LARGE && !fx_recovery_large_fits(r, &record.entry)) {
            result = FX_WALK_BAD_VALUE;
        }
        status = fx_recovery_apply(r, &record, result == FX_WALK_BAD_VALUE);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return fx_recovery_settle(r);
}

static feox_status load_entry(fx_recovery *r, const fx_journal_entry *entry) {
    for (uint32_t i = 0; i < entry->segment_count; i++) {
        fx_journal_segment named;
        fx_journal_segment_at(entry_bytes(r, entry), i, &named);
        /* Before it is read: a file that names a segment often is not read as often. */
        bool known = fx_segments_overlap(&r->flusher->segments, named.position, named.byte_length);
        uint8_t *image = known ? NULL : named_image(r, entry, &named);
        if (image == NULL) {
            fx_recovery_damaged(r, "a journal entry names what cannot be a segment", NULL,
                                entry->position, (uint64_t)entry->blocks * FX_BLOCK_SIZE);
            lose_group(r);
            continue;
        }
        feox_status status = load_image(r, &named, image, entry->group);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return FEOX_OK;
}

/* What is behind the last entry that is whole; the table's group at first. */
static feox_status load_next(fx_recovery *r, const fx_journal_entry *entry, uint64_t *group) {
    fx_flusher *flusher = r->flusher;
    if (entry->first_group > *group + 1) {
        fx_recovery_damaged(r, "a group before this journal entry is lost", NULL, entry->position,
                            (uint64_t)entry->blocks * FX_BLOCK_SIZE);
        lose_group(r);
    }
    *group = entry->group;
    feox_status status = load_entry(r, entry);
    uint64_t block = entry->position / FX_BLOCK_SIZE - flusher->journal.extent.block;
    fx_journal_advance(&flusher->journal, block, entry->blocks);
    flusher->time_ns = entry->time_ns > flusher->time_ns ? entry->time_ns : flusher->time_ns;
    flusher->counter = entry->counter > flusher->counter ? entry->counter : flusher->counter;
    return status;
}

feox_status fx_replay_load(fx_recovery *r) {
    uint64_t group = r->flusher->root.group;
    feox_status status = FEOX_OK;
    if (r->count > 0) {
        bool whole = false;
        status = tail_verifies(r, &r->entries[r->count - 1], &whole);
        r->torn = !whole;
    }
    size_t count = r->torn ? r->count - 1 : r->count;
    for (size_t i = 0; status == FEOX_OK && i < count; i++) {
        status = load_next(r, &r->entries[i], &group);
    }
    if (status == FEOX_OK && r->torn && r->entries[count].first_group > group + 1) {
        fx_recovery_damaged(r, "a group before this journal entry is lost", NULL,
                            r->entries[count].position, FX_BLOCK_SIZE);
        r->lost_entry = true;
    }
    if (r->lost_entry) { /* which group that was is not known: the last one, then */
        lose_group(r);
    }
    return status;
}
