/* journal: why this way. An entry is valid only with the epoch of the current checkpoint, a random
 * number: what an earlier life of the ring left behind, or a crash tore, can never continue a later
 * history. An entry says which groups were durable when it was written; so a valid entry vouches
 * for all earlier ones, and one of those that does not verify is damage and not a torn tail. The
 * last one is told from a torn one by its first sector, which arrives whole or not at all: if that
 * is of this epoch and holds all of the list, the entry was written, and must verify.
 */
#include "disk/journal.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

/* Entry.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic
 *        8     8  checksum of bytes 16 .. end of list
 *       16    16  store id
 *       32     8  position
 *       40     8  epoch
 *       48     8  first group
 *       56     8  group
 *       64     8  durable upto
 *       72     8  time
 *       80     8  counter
 *       88     4  segment count
 *       92     4  blocks
 *       96     4  inline offset
 *      100    28  zero
 *      128  32 n  list of segments
 *        .     .  inline segment
 *
 * Item of the list.
 *
 *        0     8  position
 *        8     8  checksum
 *       16     4  byte length
 *       20     4  record count
 *       24     4  blocks
 *       28     4  zero
 */
#define JOURNAL_MAGIC 0x316c6e4a786f6546u /* "FeoxJnl1" */

uint32_t fx_journal_inline_offset(uint32_t segment_count) {
    return FX_JOURNAL_HEADER_SIZE + segment_count * FX_JOURNAL_ITEM_SIZE;
}

uint64_t fx_journal_blocks(uint32_t segment_count, uint32_t inline_length) {
    return fx_blocks_of(FX_JOURNAL_HEADER_SIZE + (uint64_t)segment_count * FX_JOURNAL_ITEM_SIZE +
                        inline_length);
}

static uint64_t entry_checksum(const uint8_t *bytes, const fx_store_id *id, uint64_t position,
                               uint32_t segment_count) {
    size_t size = FX_JOURNAL_HEADER_SIZE + (size_t)segment_count * FX_JOURNAL_ITEM_SIZE;
    return fx_checksum(bytes + 16, size - 16, fx_format_seed(id, position));
}

void fx_journal_begin(uint8_t *to, const fx_store_id *id, const fx_journal_entry *entry) {
    memset(to, 0, FX_JOURNAL_HEADER_SIZE);
    fx_put_u64(to, JOURNAL_MAGIC);
    const uint64_t fields[] = {id->low,
                               id->high,
                               entry->position,
                               entry->epoch,
                               entry->first_group,
                               entry->group,
                               entry->durable_upto,
                               entry->time_ns,
                               entry->counter};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        fx_put_u64(to + 16 + 8 * i, fields[i]);
    }
    fx_put_u32(to + 88, entry->segment_count);
    fx_put_u32(to + 92, entry->blocks);
    fx_put_u32(to + 96, entry->inline_offset);
}

void fx_journal_set_segment(uint8_t *to, uint32_t i, const fx_journal_segment *segment) {
    uint8_t *item = to + FX_JOURNAL_HEADER_SIZE + (size_t)i * FX_JOURNAL_ITEM_SIZE;
    fx_put_u64(item, segment->position);
    fx_put_u64(item + 8, segment->checksum);
    fx_put_u32(item + 16, segment->byte_length);
    fx_put_u32(item + 20, segment->record_count);
    fx_put_u32(item + 24, segment->blocks);
    fx_put_u32(item + 28, 0);
}

void fx_journal_seal(uint8_t *to, const fx_store_id *id) {
    fx_put_u64(to + 8, entry_checksum(to, id, fx_get_u64(to + 32), fx_get_u32(to + 88)));
}

bool fx_journal_decode(const uint8_t *bytes, size_t available, const fx_store_id *id,
                       uint64_t position, uint64_t epoch, fx_journal_entry *entry_out) {
    if (available < FX_BLOCK_SIZE || fx_get_u64(bytes) != JOURNAL_MAGIC ||
        fx_get_u64(bytes + 16) != id->low || fx_get_u64(bytes + 24) != id->high) {
        return false;
    }
    fx_journal_entry entry = {
        .position = fx_get_u64(bytes + 32),
        .epoch = fx_get_u64(bytes + 40),
        .first_group = fx_get_u64(bytes + 48),
        .group = fx_get_u64(bytes + 56),
        .durable_upto = fx_get_u64(bytes + 64),
        .time_ns = fx_get_u64(bytes + 72),
        .counter = fx_get_u64(bytes + 80),
        .segment_count = fx_get_u32(bytes + 88),
        .blocks = fx_get_u32(bytes + 92),
        .inline_offset = fx_get_u32(bytes + 96),
    };
    uint64_t size = (uint64_t)entry.blocks * FX_BLOCK_SIZE;
    if (entry.position != position || entry.epoch != epoch || entry.blocks == 0 ||
        size > available ||
        entry.segment_count > (size - FX_JOURNAL_HEADER_SIZE) / FX_JOURNAL_ITEM_SIZE ||
        entry.group < entry.first_group || entry.durable_upto >= entry.first_group ||
        entry.group >= FX_TIME_END || entry.counter >= FX_COUNTER_END) {
        return false;
    }
    if (fx_get_u64(bytes + 8) != entry_checksum(bytes, id, position, entry.segment_count)) {
        return false;
    }
    if (entry.inline_offset != 0 &&
        (entry.segment_count != 1 || entry.inline_offset != fx_journal_inline_offset(1))) {
        return false;
    }
    *entry_out = entry;
    return true;
}

/* How many of the five words that are known beforehand are right. */
static unsigned known_words(const uint8_t *bytes, const fx_store_id *id, uint64_t position,
                            uint64_t epoch) {
    return (unsigned)(fx_get_u64(bytes) == JOURNAL_MAGIC) +
           (unsigned)(fx_get_u64(bytes + 16) == id->low) +
           (unsigned)(fx_get_u64(bytes + 24) == id->high) +
           (unsigned)(fx_get_u64(bytes + 32) == position) +
           (unsigned)(fx_get_u64(bytes + 40) == epoch);
}

bool fx_journal_begun(const uint8_t *bytes, const fx_store_id *id, uint64_t position,
                      uint64_t epoch) {
    return known_words(bytes, id, position, epoch) == 5;
}

/* Bits behind what the entry's sum covers cannot be what is wrong. */
static bool mend(uint8_t *bytes, size_t available, const fx_store_id *id, uint64_t position,
                 uint64_t epoch) {
    fx_journal_entry entry;
    uint64_t end =
        FX_JOURNAL_HEADER_SIZE + (uint64_t)fx_get_u32(bytes + 88) * FX_JOURNAL_ITEM_SIZE;
    end = end < FX_BLOCK_SIZE ? end : FX_BLOCK_SIZE;
    for (size_t bit = 0; bit < end * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (fx_journal_decode(bytes, available, id, position, epoch, &entry)) {
            return true;
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return false;
}

fx_journal_state fx_journal_examine(uint8_t *bytes, size_t available, const fx_store_id *id,
                                    uint64_t position, uint64_t epoch, unsigned *searches) {
    fx_journal_entry entry;
    unsigned known = known_words(bytes, id, position, epoch);
    uint64_t changed = fx_get_u64(bytes + 40) ^ epoch;
    if (known < 4 || (changed & (changed - 1)) != 0) {
        return FX_JOURNAL_OTHER;
    }
    if (fx_journal_decode(bytes, available, id, position, epoch, &entry)) {
        return FX_JOURNAL_SOUND;
    }
    if (fx_journal_decode(bytes, available, id, fx_get_u64(bytes + 32), epoch, &entry)) {
        return FX_JOURNAL_DAMAGED;
    }
    if (*searches > 0) {
        *searches -= 1;
        if (mend(bytes, available, id, position, epoch)) {
            return FX_JOURNAL_MENDED;
        }
    }
    uint64_t size =
        FX_JOURNAL_HEADER_SIZE + (uint64_t)fx_get_u32(bytes + 88) * FX_JOURNAL_ITEM_SIZE;
    return known == 5 && size <= FX_SECTOR_SIZE ? FX_JOURNAL_DAMAGED : FX_JOURNAL_OTHER;
}

void fx_journal_segment_at(const uint8_t *bytes, uint32_t i, fx_journal_segment *segment_out) {
    const uint8_t *item = bytes + FX_JOURNAL_HEADER_SIZE + (size_t)i * FX_JOURNAL_ITEM_SIZE;
    segment_out->position = fx_get_u64(item);
    segment_out->checksum = fx_get_u64(item + 8);
    segment_out->byte_length = fx_get_u32(item + 16);
    segment_out->record_count = fx_get_u32(item + 20);
    segment_out->blocks = fx_get_u32(item + 24);
}

void fx_journal_init(fx_journal *journal, fx_extent extent, uint64_t head) {
    FX_ASSERT(head < extent.count);
    journal->extent = extent;
    journal->head = head;
    journal->next = head;
    journal->used = 0;
}

bool fx_journal_place(const fx_journal *journal, uint64_t blocks, uint64_t *block_out) {
    uint64_t left = journal->extent.count - journal->next;
    uint64_t skipped = blocks <= left ? 0 : left;
    *block_out = skipped == 0 ? journal->next : 0;
    return journal->used + skipped + blocks <= journal->extent.count;
}

void fx_journal_advance(fx_journal *journal, uint64_t block, uint64_t blocks) {
    uint64_t count = journal->extent.count;
    uint64_t skipped =
        block >= journal->next ? block - journal->next : count - journal->next + block;
    journal->used += skipped + blocks;
    journal->next = (block + blocks) % count;
    FX_ASSERT(journal->used <= count);
}

void fx_journal_reset(fx_journal *journal) {
    journal->head = journal->next;
    journal->used = 0;
}

bool fx_journal_scan(const uint8_t *ring, const fx_journal *journal, const fx_store_id *id,
                     uint64_t epoch, uint64_t *cursor, fx_journal_entry *entry_out) {
    uint64_t count = journal->extent.count;
    while (*cursor < count) {
        uint64_t block = (journal->head + *cursor) % count;
        uint64_t limit = block >= journal->head ? count : journal->head;
        if (fx_journal_decode(ring + block * FX_BLOCK_SIZE,
                              (size_t)((limit - block) * FX_BLOCK_SIZE), id,
                              (journal->extent.block + block) * FX_BLOCK_SIZE, epoch, entry_out)) {
            *cursor += entry_out->blocks;
            return true;
        }
        *cursor += 1;
    }
    return false;
}
