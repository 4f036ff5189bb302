/* table: where each key of one shard is. Extendible hashing (Fagin et al. 1979) over segments of
 * cache-line buckets, so growth moves one segment at a time.
 *
 *   hash   63..56 shard | 55.. directory, from the top | 31..17 tag | 8..0 bucket
 *   bucket 64 bytes: 7 slots of {tag 16, record pointer 48}, overflow index, CLOCK bits
 *
 * Readers: any thread, no lock. A hit is proven by the record itself (record.h); a miss by the
 * table's generation, odd while entries move. Writers hold the shard's lock. Segments are never
 * unmapped before deinit: a late reader finds old entries or none, and looks again.
 */
#ifndef FX_INDEX_TABLE_H
#define FX_INDEX_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "index/record.h"
#include "index/slab.h"

#define FX_BUCKET_SLOTS 7u

typedef struct fx_bucket {
    uint64_t slots[FX_BUCKET_SLOTS];
    uint16_t overflow;  /* 1 + index of the overflow bucket in the segment; 0: none */
    uint8_t referenced; /* a bit per slot, set by readers where memory is limited; may be lost */
    uint8_t padding[5];
} fx_bucket;

typedef struct fx_segment fx_segment;
typedef struct fx_directory fx_directory;

typedef struct fx_table {
    fx_directory *directory; /* atomic: released by growth, acquired by readers */
    uint64_t generation;     /* atomic: odd while entries move */
    /* Guarded by the shard's lock: */
    uint64_t count;     /* also read without it, relaxed */
    fx_slab_pool *pool; /* charged for memory */
    const fx_hash_key *hash_key;
    fx_segment **spare; /* segments out of use, all zeros: late readers may still look at them */
    size_t spare_count, spare_capacity;
    fx_directory *old_directories;
    uint32_t hand_segment, hand_bucket; /* CLOCK */
} fx_table;

/* `expected` keys are a hint. False: no memory. */
bool fx_table_init(fx_table *table, fx_slab_pool *pool, const fx_hash_key *hash_key,
                   uint64_t expected);
void fx_table_deinit(fx_table *table);

/* ---- Readers, no lock ---- */

/* Finds key and reads it like fx_record_read; false: there is no such key. */
bool fx_table_read(fx_table *table, uint64_t hash, bool persistent, bool mark, const void *key,
                   size_t key_len, void *buffer, size_t capacity, fx_record_view *view_out);
/* Pulls the bucket into the cache. */
void fx_table_prefetch(const fx_table *table, uint64_t hash);
/* Pulls the likely record into the cache; its bucket should be there. */
void fx_table_prefetch_record(const fx_table *table, uint64_t hash);

/* ---- Writers, lock held ---- */

fx_record *fx_table_find_locked(const fx_table *table, uint64_t hash, const void *key,
                                size_t key_len);
/* Makes sure that one insert of this hash cannot fail. False: no memory. */
bool fx_table_reserve_locked(fx_table *table, uint64_t hash);
void fx_table_insert_locked(fx_table *table, uint64_t hash, fx_record *record);
/* Puts `now` in the place of `old`, which has the same key. */
void fx_table_replace_locked(fx_table *table, uint64_t hash, fx_record *old, fx_record *now);
void fx_table_remove_locked(fx_table *table, uint64_t hash, fx_record *record);
/* Makes an empty table that nobody uses yet as big as so many keys will make it. False: no memory;
 * the table can go on. */
bool fx_table_presize(fx_table *table, uint64_t keys);
/* An empty table gives its memory back, but for what it was made with until it grew. */
void fx_table_trim_locked(fx_table *table);
/* Calls visit for each record until it returns false; visit must not change the table. */
void fx_table_each_locked(const fx_table *table, bool (*visit)(void *context, fx_record *record),
                          void *context);
/* CLOCK: goes over the next bucket and hands out the records that were not read since the last
 * round; at most FX_CLOCK_MAX. Returns how many. */
#define FX_CLOCK_MAX 64u
uint32_t fx_table_clock_locked(fx_table *table, fx_record **records);
/* How well the hash spreads the keys. */
typedef struct fx_table_shape {
    uint64_t entries, buckets, overflow_buckets;
    uint64_t chain_max; /* buckets of the longest chain */
    uint64_t hops;      /* buckets behind the first that the entries lie in, summed */
    uint64_t same_tags; /* pairs of entries in one chain that only the keys tell apart */
    uint64_t segment_max, segments; /* entries of the fullest segment */
} fx_table_shape;
void fx_table_shape_locked(const fx_table *table, fx_table_shape *shape_out);
/* NULL: sound. */
const char *fx_table_check_locked(const fx_table *table);

#endif
