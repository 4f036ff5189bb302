/* journal: the entries that name what became durable since the checkpoint, and the ring they stand
 * in. Pure: bytes and numbers, no file. One owner at a time.
 *
 *   ring:  | newest | (free) ............ | head: oldest | ... | ... |
 *
 * One entry per group, whole blocks. An entry that does not fit before the end of the ring stands
 * at its beginning. Entries never overwrite others of the current checkpoint: a checkpoint empties
 * the ring before it is full.
 */
#ifndef FX_DISK_JOURNAL_H
#define FX_DISK_JOURNAL_H

#include "disk/extents.h"
#include "disk/format.h"

#define FX_JOURNAL_HEADER_SIZE 128u
#define FX_JOURNAL_ITEM_SIZE 32u

/* One segment of a group. */
typedef struct fx_journal_segment {
    uint64_t position; /* byte in the file */
    uint64_t checksum; /* that of the segment's header */
    uint32_t byte_length;
    uint32_t record_count;
    uint32_t blocks; /* of its extent; 0: it stands inside this entry */
} fx_journal_segment;

typedef struct fx_journal_entry {
    uint64_t position;     /* byte in the file */
    uint64_t epoch;        /* of the checkpoint that this entry continues */
    uint64_t first_group;  /* more than one group if a full disk had merged some ... */
    uint64_t group;        /* ... the last of them */
    uint64_t durable_upto; /* was durable when this was written */
    uint64_t time_ns;      /* store clock */
    uint64_t counter;      /* as in the superblock */
    uint32_t segment_count;
    uint32_t blocks;        /* of the entry, inline image included */
    uint32_t inline_offset; /* of the inline segment in the entry; 0: none */
} fx_journal_entry;

/* Where an inline image begins in an entry that names so many segments. */
uint32_t fx_journal_inline_offset(uint32_t segment_count);
/* Blocks of an entry; inline_length 0: no inline image. */
uint64_t fx_journal_blocks(uint32_t segment_count, uint32_t inline_length);
/* Writes the header, then each segment's item, then the checksum over both. The inline image, if
 * any, may be filled in at any time. */
void fx_journal_begin(uint8_t *to, const fx_store_id *id, const fx_journal_entry *entry);
void fx_journal_set_segment(uint8_t *to, uint32_t i, const fx_journal_segment *segment);
void fx_journal_seal(uint8_t *to, const fx_store_id *id);
/* False unless a valid entry of this store, place and epoch begins here and ends within
 * `available` bytes. */
bool fx_journal_decode(const uint8_t *bytes, size_t available, const fx_store_id *id,
                       uint64_t position, uint64_t epoch, fx_journal_entry *entry_out);
/* An entry of this place and epoch begins here, whole or not: its first sector arrived. */
bool fx_journal_begun(const uint8_t *bytes, const fx_store_id *id, uint64_t position,
                      uint64_t epoch);
typedef enum fx_journal_state {
    FX_JOURNAL_OTHER, /* no entry of this epoch begins here */
    FX_JOURNAL_SOUND,
    FX_JOURNAL_MENDED, /* one bit was wrong, and has been put right */
    FX_JOURNAL_DAMAGED /* one was written here in this epoch, and is not sound; or one stands here
                          that belongs elsewhere */
} fx_journal_state;
/* Looks closer at a block of the ring. A search for a flipped bit takes some milliseconds and one
 * of *searches; at 0 it is not made. */
fx_journal_state fx_journal_examine(uint8_t *bytes, size_t available, const fx_store_id *id,
                                    uint64_t position, uint64_t epoch, unsigned *searches);
/* The segments of a decoded entry, i below segment_count. */
void fx_journal_segment_at(const uint8_t *bytes, uint32_t i, fx_journal_segment *segment_out);

typedef struct fx_journal {
    fx_extent extent;
    uint64_t head; /* blocks from the ring's beginning: first entry after the checkpoint */
    uint64_t next; /* where the next entry goes if it fits */
    uint64_t used; /* blocks from head to next, around the end; what was skipped there included */
} fx_journal;

void fx_journal_init(fx_journal *journal, fx_extent extent, uint64_t head);
/* Where in the ring an entry of so many blocks goes. False: it does not fit. Changes nothing. */
bool fx_journal_place(const fx_journal *journal, uint64_t blocks, uint64_t *block_out);
/* The entry stands at `block`, as fx_journal_place said or as recovery found it. */
void fx_journal_advance(fx_journal *journal, uint64_t block, uint64_t blocks);
/* A checkpoint is durable: nothing in the ring counts any more. */
void fx_journal_reset(fx_journal *journal);

/* Goes through the ring's bytes from its head, around, for the valid entries of `epoch` in rising
 * group order. `cursor` starts as 0. False: no more. */
bool fx_journal_scan(const uint8_t *ring, const fx_journal *journal, const fx_store_id *id,
                     uint64_t epoch, uint64_t *cursor, fx_journal_entry *entry_out);

#endif
