/* superblock: the two copies of the file's root in blocks 0 and 1. Pure functions; any thread.
 *
 * The copies are written alternately; the valid one of the higher generation is the store's root.
 * All that is not zero lies in the first 512 bytes, the smallest unit that a device writes whole.
 */
#ifndef FX_DISK_SUPERBLOCK_H
#define FX_DISK_SUPERBLOCK_H

#include "disk/extents.h"
#include "disk/format.h"

#define FX_SUPERBLOCK_COPIES 2u
/* Bytes that both copies take. */
#define FX_SUPERBLOCK_AREA (FX_SUPERBLOCK_COPIES * FX_BLOCK_SIZE)

/* The file is being made: nothing but the superblock counts, and there is no data yet. */
#define FX_SUPERBLOCK_UNFINISHED 1u

typedef struct fx_superblock {
    fx_store_id id;
    uint64_t generation; /* copy = generation % 2 */
    uint64_t flags;
    fx_extent journal;
    uint64_t journal_head; /* block of the ring where the first entry after the checkpoint goes */
    uint64_t epoch;        /* random; names this checkpoint in its journal entries */
    uint64_t group;        /* the last group that the checkpoint holds */
    fx_extent checkpoint;  /* count 0: there is none, the store is empty */
    uint64_t mirror;       /* block where the same bytes stand once more */
    uint64_t checkpoint_length;
    uint64_t checkpoint_checksum;
    uint64_t counter; /* no version up to here was given to a later write: shard.counter */
    uint64_t time_ns; /* store clock */
    uint64_t file_blocks;
} fx_superblock;

/* Writes one block. */
void fx_superblock_encode(uint8_t *block, const fx_superblock *superblock);

/* Reads the root from both copies, FX_SUPERBLOCK_AREA bytes. FEOX_ERR_NOT_FEOX: neither has our
 * magic. FEOX_ERR_CORRUPT: ours, and neither verifies. FEOX_ERR_NEWER: a valid copy has a later
 * format. `damaged_out` counts the copies that do not verify. */
feox_status fx_superblock_decode(const uint8_t *area, fx_superblock *superblock_out,
                                 unsigned *damaged_out);
/* Whether the extents fit a file of so many blocks, outside each other. */
bool fx_superblock_fits(const fx_superblock *superblock, uint64_t file_blocks);

#endif
