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

/* A record of another key was read behind `value`, found at `slot`: is it there because its hash
 * has the same tag? Otherwise the slot was overtaken: its record was freed and used again for
 * another key before it was read, and the slot holds something else by now. It is a collision if
 * the slot still holds the record and, after that, the record is still in the life that was read.
 */
static inline bool fx_slot_collides(const uint64_t *slot, uint64_t value,
                                    const fx_record_view *view) {
    return fx_load_acquire(slot) == value &&
           fx_load_acquire(&fx_slot_record(value)->state) == view->version << 2;
}

/* What one pass over a chain came to. */
typedef enum fx_table_pass { FX_PASS_FOUND, FX_PASS_NONE, FX_PASS_RETRY } fx_table_pass;

static inline fx_table_pass fx_table_read_chain(const fx_table *table, uint64_t hash,
                                                bool persistent, bool mark, const void *key,
                                                size_t key_len, void *buffer, size_t capacity,
                                                fx_record_view *view_out) {
    fx_segment *segment;
    fx_bucket *bucket = fx_bucket_of(table, hash, &segment);
    uint64_t tag = fx_slot_tag(hash);
    for (uint32_t hops = 0; bucket != NULL && hops <= FX_TABLE_OVERFLOW; hops++) {
        for (uint32_t found = fx_bucket_tagged(bucket, tag); found != 0;) {
            uint32_t i = fx_bucket_take(&found);
            uint64_t slot = fx_load_acquire(&bucket->slots[i]);
            if (FX_UNLIKELY(slot >> 48 != tag)) {
                continue; /* it left since */
            }
            fx_read_result result = fx_record_read_inline(fx_slot_record(slot), persistent, key,
                                                          key_len, buffer, capacity, view_out);
            if (FX_UNLIKELY(result != FX_READ_OK)) {
                if (result == FX_READ_OTHER_KEY &&
                    fx_slot_collides(&bucket->slots[i], slot, view_out)) {
                    continue;
                }
                return FX_PASS_RETRY;
            }
            if (FX_UNLIKELY(mark)) {
                uint8_t bits = fx_load_relaxed(&bucket->referenced);
                if ((bits & 1u << i) == 0) {
                    fx_store_relaxed(&bucket->referenced, (uint8_t)(bits | 1u << i));
                }
            }
            return FX_PASS_FOUND;
        }
        bucket = fx_chain_next(segment, bucket);
    }
    return FX_PASS_NONE;
}

/* FX_PASS_NONE: there is no such key. */
static inline fx_table_pass fx_table_read_once(const fx_table *table, uint64_t hash,
                                               bool persistent, bool mark, const void *key,
                                               size_t key_len, void *buffer, size_t capacity,
                                               fx_record_view *view_out) {
    uint64_t generation = fx_load_acquire(&table->generation);
    fx_table_pass pass = fx_table_read_chain(table, hash, persistent, mark, key, key_len, buffer,
                                             capacity, view_out);
    if (FX_LIKELY(pass != FX_PASS_NONE)) {
        return pass;
    }
    bool moved = (generation & 1) != 0 || fx_load_acquire(&table->generation) != generation;
    return moved ? FX_PASS_RETRY : FX_PASS_NONE;
}

#endif
