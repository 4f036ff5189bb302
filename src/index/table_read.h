/* table_read: the layout of the table and its reading half, to be compiled into the lookups (as
 * record_read.h, and for its reason). Why it is right: table.c. For table.c and engine/fetch.h
 * alone.
 */
#ifndef FX_INDEX_TABLE_READ_H
#define FX_INDEX_TABLE_READ_H

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "base/assert.h"
#include "index/record_read.h"
#include "index/table.h"

#define FX_TABLE_BUCKETS 512u
#define FX_TABLE_OVERFLOW 63u

/* 1 + 8 pages. A young segment uses the first buckets only and touches no more pages than that. */
struct fx_segment {
    uint32_t overflow_free; /* 1 + head of the list of free overflow buckets; 0: none */
    uint32_t overflow_used;
    uint32_t depth; /* how many directory bits its entries share */
    uint8_t padding[FX_CACHE_LINE - 12];
    fx_bucket overflow[FX_TABLE_OVERFLOW];
    fx_bucket buckets[FX_TABLE_BUCKETS];
};

/* The mask is here and not in the segment, whose first line readers need not touch so: while there
 * is more than one segment, all their buckets are in use. */
struct fx_directory {
    uint32_t depth;
    uint32_t mask;      /* buckets in use of each segment - 1; racing */
    fx_directory *next; /* on old_directories */
    fx_segment *segments[];
};

#define FX_SLOT_POINTER 0x0000ffffffffffffu

/* Never 0, which is the tag of a free slot. */
static inline uint64_t fx_slot_tag(uint64_t hash) {
    return (hash >> 16 & 0xffffu) | 1u;
}

static inline uint64_t fx_slot_make(uint64_t hash, const fx_record *record) {
    return fx_slot_tag(hash) << 48 | (uint64_t)(uintptr_t)record;
}

static inline fx_record *fx_slot_record(uint64_t slot) {
    return (fx_record *)(uintptr_t)(slot & FX_SLOT_POINTER);
}

/* The slots that have the tag: bit 4i + 3 for slot i. Without a branch: which slot that is nobody
 * can guess, and a wrong guess waits for the bucket's cache miss before anything behind it begins.
 */
static inline uint32_t fx_bucket_tagged(const fx_bucket *bucket, uint64_t tag) {
#ifdef FX_PLAIN_IS_ORDERED
    /* All at once: each 16 bits of the bucket against the tag; those that count are every fourth.
     */
    const __m128i *slots = (const __m128i *)(const void *)bucket;
    __m128i want = _mm_set1_epi16((short)tag);
    fx_compiler_barrier();
    __m128i low = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_load_si128(slots), want),
                                  _mm_cmpeq_epi16(_mm_load_si128(slots + 1), want));
    __m128i high = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_load_si128(slots + 2), want),
                                   _mm_cmpeq_epi16(_mm_load_si128(slots + 3), want));
    fx_compiler_barrier();
    uint32_t lanes = (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
    return lanes & 0x08888888u;
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
        found |= (uint32_t)(fx_load_acquire(&bucket->slots[i]) >> 48 == tag) << (4 * i + 3);
    }
    return found;
#endif
}

/* The first slot of those; takes it off. */
static inline uint32_t fx_bucket_take(uint32_t *found) {
    uint32_t index = (uint32_t)__builtin_ctz(*found) / 4;
    *found &= *found - 1;
    return index;
}

static inline size_t fx_directory_index(uint64_t hash, uint32_t depth) {
    return depth == 0 ? 0 : (size_t)(hash << 8 >> (64 - depth));
}

/* The first bucket of a hash, and its segment. */
static inline fx_bucket *fx_bucket_of(const fx_table *table, uint64_t hash,
                                      fx_segment **segment_out) {
    const fx_directory *directory = fx_load_acquire(&table->directory);
    uint32_t mask = fx_load_acquire(&directory->mask);
    *segment_out =
        fx_load_acquire(&directory->segments[fx_directory_index(hash, directory->depth)]);
    return &(*segment_out)->buckets[hash & mask];
}

/* The next bucket of a chain; NULL: the end. Bounded by what readers may see: the index is inside
 * the segment whatever moment it was read at. */
static inline fx_bucket *fx_chain_next(fx_segment *segment, const fx_bucket *bucket) {
    uint16_t overflow = fx_load_acquire(&bucket->overflow);
    return overflow == 0 ? NULL : &segment->overflow[overflow - 1];
}

/* What one pass over a chain came to. */
typedef enum fx_table_pass { FX_PASS_FOUND, FX_PASS_NONE, FX_PASS_RETRY } fx_table_pass;

/* The common case alone: the key's record is the first of its tag in its first bucket, and plain
 * (record_read.h); or there is no such key, and nothing moves. FX_PASS_RETRY: it is not so, or
 * cannot be told. */
static inline fx_table_pass fx_table_read_plain(const fx_table *table, uint64_t hash,
                                                const void *key, size_t key_len, void *buffer,
                                                size_t capacity, size_t *value_len_out) {
    uint64_t generation = fx_load_acquire(&table->generation);
    uint64_t tag = fx_slot_tag(hash);
    fx_segment *segment;
    const fx_bucket *bucket = fx_bucket_of(table, hash, &segment);
    uint32_t found = fx_bucket_tagged(bucket, tag);
    if (FX_UNLIKELY(found == 0)) {
        bool none = fx_load_acquire(&bucket->overflow) == 0 && (generation & 1) == 0 &&
                    fx_load_acquire(&table->generation) == generation;
        return none ? FX_PASS_NONE : FX_PASS_RETRY;
    }
    uint64_t slot = fx_load_acquire(&bucket->slots[fx_bucket_take(&found)]);
    bool there = slot >> 48 == tag && fx_record_read_plain(fx_slot_record(slot), key, key_len,
                                                           buffer, capacity, value_len_out);
    return FX_LIKELY(there) ? FX_PASS_FOUND : FX_PASS_RETRY;
}

#endif
