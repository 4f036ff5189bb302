/* config: every limit of the library in one place, and how they relate. Constants only. */
#ifndef FX_BASE_CONFIG_H
#define FX_BASE_CONFIG_H

#include <stdint.h>

#include "feox.h"

#define FX_CACHE_LINE 64u

/* Disk: the unit of space and of aligned transfers, whatever the device's sector is. */
#define FX_BLOCK_SIZE 4096u
/* What a device writes whole or not at all. */
#define FX_SECTOR_SIZE 512u
/* Packed records are written in extents of at most this size. */
#define FX_SEGMENT_SIZE_MAX (1u << 20)
/* A value from this size on gets an extent of its own. */
#define FX_LARGE_VALUE_MIN (64u << 10)
/* A group up to this size travels inside its journal entry. */
#define FX_INLINE_GROUP_MAX (16u << 10)
/* Bytes of encoded records that one shard may hold before writers flush; with a limit of memory,
 * all shards together hold this share of it, and none is kept below the minimum. */
#define FX_WBUF_SIZE_MAX (4u << 20)
#define FX_WBUF_SIZE_MIN (16u << 10)
#define FX_WBUF_MEMORY_SHARE 32u
/* So much of short records in one shard makes the background write the group, not waiting for its
 * time: buffers stay small enough for caches, and writers need not do it themselves. */
#define FX_WBUF_SIZE_LONG (128u << 10)
#define FX_JOURNAL_SIZE (4u << 20)
/* A file that is made with a limit has a ring of this share of it, and not less than this. */
#define FX_JOURNAL_LIMIT_SHARE 128u
#define FX_JOURNAL_SIZE_MIN (1u << 20)
/* In a shorter file nothing would find room. */
#define FX_FILE_SIZE_MIN (2u * FX_JOURNAL_SIZE_MIN + (8u << 10))
/* No file has a longer ring: its reader keeps it in memory. */
#define FX_JOURNAL_SIZE_MAX (64u << 20)
/* Numbers that no store reaches; what a file says beyond them is no more than damage. */
#define FX_COUNTER_END ((uint64_t)1 << 53)
#define FX_TIME_END ((uint64_t)1 << 63)
#define FX_FILE_GROWTH_MIN (4u << 20)

/* Compaction in the background moves at most so many bytes for each 100 that are written anyway,
 * and so many a second besides, however idle the store is: what it writes, tables included. Only
 * writers who find no free space go beyond, and wait for it. */
#define FX_COMPACT_SHARE_PERCENT 100u
#define FX_COMPACT_RATE (16u << 20)
/* Live bytes that one step moves. */
#define FX_COMPACT_STEP (4u << 20)
/* The same for a writer who finds no free space: a share of the file, because the table that each
 * step writes is one. */
#define FX_CLEAN_STEP_SHARE 48u
#define FX_CLEAN_STEP_MIN (256u << 10)
#define FX_CLEAN_STEP_MAX (16u << 20)
/* A file gives space back when more than half of it, and this much, has been free for so long: then
 * what lies at its end moves forward. It keeps a quarter of what it holds, and this much, free. */
#define FX_SHRINK_SLACK (2u * FX_FILE_GROWTH_MIN)
#define FX_SHRINK_PATIENCE_MS 5000u

/* Memory: values up to this size live in their record, longer ones in a block. */
#define FX_INLINE_VALUE_MAX 2048u
/* A memory limit that leaves no value in memory, and drops none to make room for another. */
#define FX_MEMORY_LIMIT_LEAN 1u
/* A hint above this is taken for this: the index that it asks for is touched at once. */
#define FX_EXPECTED_KEYS_MAX ((uint64_t)1 << 26)
/* ... nor are more expected under a memory limit than keys of so many bytes would find room. */
#define FX_EXPECTED_KEY_SIZE 256u
#define FX_SHARDS_MIN 16u
#define FX_SHARDS_MAX 256u

#define FX_VALUE_SIZE_DEFAULT (64u << 20)
#define FX_FLUSH_INTERVAL_MS 100u
#define FX_SWEEP_INTERVAL_MS 1000u

#define FX_JSON_DEPTH_MAX 128u
#define FX_JSON_OPERATIONS_MAX 10000u

_Static_assert(FX_SEGMENT_SIZE_MAX % FX_BLOCK_SIZE == 0, "segments are whole blocks");
_Static_assert(FX_LARGE_VALUE_MIN + FEOX_KEY_SIZE_MAX + 1024u < FX_SEGMENT_SIZE_MAX,
               "the largest packed record fits a segment");
_Static_assert(FX_INLINE_GROUP_MAX * 8u < FX_JOURNAL_SIZE_MIN, "the ring holds many groups");

#endif
