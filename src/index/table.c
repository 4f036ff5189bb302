/* table: why not one array per shard: doubling it would stop a writer for milliseconds. Segments of
 * 512 buckets split one at a time, in some 100 us, once per 1,500 inserts.
 *
 * T1 an entry lies in the bucket of its hash or in that bucket's overflow chain.
 * T2 entries move only while `generation` is odd; inserting, replacing and removing move nothing.
 * T3 a record is alive only while its slot points at it, but for a moment inside a commit.
 *
 * Ordering. A slot is a release store, read by acquire: whoever finds a pointer sees the record's
 * contents. `generation` goes odd by an exchange and even by a release store; a reader that found
 * nothing loads it (acquire) before the directory and once more behind its acquire loads of the
 * slots: equal and even means that nothing moved between. For that, whatever changes while entries
 * move (slots, overflow indices, masks) is stored by release and loaded by acquire: a reader that
 * got any of it has seen the odd generation, and cannot load the old one any more. Behind the
 * exchange alone a processor weaker than x86 may show a relaxed store first.
 */
#include "index/table.h"

#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define BUCKETS_FULL 512u
#define BUCKETS_FIRST 8u
#define OVERFLOW_SIZE 63u
/* A bucket in eight may overflow before the segment grows. */
#define OVERFLOW_SHARE 8u
#define DEPTH_MAX 38u
#define PAGE 4096u

/* 1 + 8 pages. A young segment uses the first buckets only and touches no more pages than that. */
struct fx_segment {
    uint32_t mask;          /* buckets in use - 1; racing */
    uint32_t overflow_free; /* 1 + head of the list of free overflow buckets; 0: none */
    uint32_t overflow_used;
    uint32_t depth; /* how many directory bits its entries share */
    uint8_t padding[FX_CACHE_LINE - 16];
    fx_bucket overflow[OVERFLOW_SIZE];
    fx_bucket buckets[BUCKETS_FULL];
};

struct fx_directory {
    uint32_t depth;
    fx_directory *next; /* on old_directories */
    fx_segment *segments[];
};

_Static_assert(sizeof(fx_bucket) == FX_CACHE_LINE, "a bucket is a cache line");
_Static_assert(sizeof(fx_segment) == 9 * PAGE, "a segment is whole pages");
_Static_assert(offsetof(fx_segment, buckets) == PAGE, "the header is the first page");

#define POINTER_MASK 0x0000ffffffffffffu

static inline uint64_t slot_make(uint64_t hash, const fx_record *record) {
    return (hash >> 16 & 0xffffu) << 48 | (uint64_t)(uintptr_t)record;
}

static inline fx_record *slot_record(uint64_t slot) {
    return (fx_record *)(uintptr_t)(slot & POINTER_MASK);
}

static inline bool slot_matches(uint64_t slot, uint64_t hash) {
    return slot >> 48 == (hash >> 16 & 0xffffu) && slot != 0;
}

static inline size_t directory_index(uint64_t hash, uint32_t depth) {
    return depth == 0 ? 0 : (size_t)(hash << 8 >> (64 - depth));
}

static inline fx_segment *segment_of(const fx_table *table, uint64_t hash) {
    const fx_directory *directory = fx_load_acquire(&table->directory);
    return fx_load_acquire(&directory->segments[directory_index(hash, directory->depth)]);
}

static inline fx_bucket *bucket_of(fx_segment *segment, uint64_t hash) {
    return &segment->buckets[hash & fx_load_acquire(&segment->mask)];
}

/* The next bucket of a chain; NULL: the end. Bounded by what readers may see: the index is inside
 * the segment whatever moment it was read at. */
static inline fx_bucket *chain_next(fx_segment *segment, const fx_bucket *bucket) {
    uint16_t overflow = fx_load_acquire(&bucket->overflow);
    return overflow == 0 ? NULL : &segment->overflow[overflow - 1];
}

/* Bytes of memory that this many buckets touch. */
static int64_t segment_cost(uint32_t buckets) {
    return (int64_t)(PAGE + fx_round_up((uint64_t)buckets * sizeof(fx_bucket), PAGE));
}

/* All overflow buckets free. Their memory is zero. */
static void overflow_init(fx_segment *segment) {
    for (uint32_t i = 0; i < OVERFLOW_SIZE; i++) {
        fx_store_relaxed(&segment->overflow[i].overflow,
                         (uint16_t)(i + 1 < OVERFLOW_SIZE ? i + 2 : 0));
    }
    segment->overflow_free = 1;
    segment->overflow_used = 0;
}

/* Empty. */
static fx_segment *segment_create(fx_table *table, uint32_t buckets, uint32_t depth) {
    fx_segment *segment = table->spare_count > 0 ? table->spare[--table->spare_count]
                                                 : fx_mem_map(sizeof *segment, PAGE);
    if (segment == NULL) {
        return NULL;
    }
    fx_slab_pool_charge(table->pool, segment_cost(buckets));
    fx_store_relaxed(&segment->mask, buckets - 1);
    segment->depth = depth;
    overflow_init(segment);
    return segment;
}

static fx_directory *directory_create(fx_table *table, uint32_t depth) {
    size_t size = sizeof(fx_directory) + ((size_t)1 << depth) * sizeof(fx_segment *);
    fx_directory *directory = fx_mem_alloc(size);
    if (directory != NULL) {
        directory->depth = depth;
        directory->next = NULL;
        fx_slab_pool_charge(table->pool, (int64_t)size);
    }
    return directory;
}

bool fx_table_init(fx_table *table, fx_slab_pool *pool, const fx_hash_key *hash_key,
                   uint64_t expected) {
    *table = (fx_table){.pool = pool, .hash_key = hash_key};
    uint32_t buckets = BUCKETS_FIRST;
    while (buckets < BUCKETS_FULL && (uint64_t)buckets * 4 < expected) {
        buckets *= 2;
    }
    uint32_t depth = 0;
    while (depth < 16 && ((uint64_t)BUCKETS_FULL * 4 << depth) < expected) {
        depth++;
    }
    fx_directory *directory = directory_create(table, depth);
    if (directory == NULL) {
        return false;
    }
    for (size_t i = 0; i < (size_t)1 << depth; i++) {
        directory->segments[i] = segment_create(table, buckets, depth);
        if (directory->segments[i] == NULL) {
            while (i-- > 0) {
                fx_mem_unmap(directory->segments[i], sizeof(fx_segment));
            }
            fx_mem_free(directory);
            return false;
        }
    }
    table->directory = directory;
    return true;
}

/* Index step to the next distinct segment of a directory. */
static size_t segment_stride(const fx_directory *directory, const fx_segment *segment) {
    return (size_t)1 << (directory->depth - segment->depth);
}

void fx_table_deinit(fx_table *table) {
    fx_directory *directory = table->directory;
    if (directory == NULL) {
        return;
    }
    for (size_t i = 0; i < (size_t)1 << directory->depth;) {
        fx_segment *segment = directory->segments[i];
        i += segment_stride(directory, segment);
        fx_mem_unmap(segment, sizeof *segment);
    }
    while (table->spare_count > 0) {
        fx_mem_unmap(table->spare[--table->spare_count], sizeof(fx_segment));
    }
    fx_mem_free(table->spare);
    fx_mem_free(directory);
    while (table->old_directories != NULL) {
        fx_directory *old = table->old_directories;
        table->old_directories = old->next;
        fx_mem_free(old);
    }
    table->directory = NULL;
}

/* ---- Reading ---- */

/* What one pass over a chain came to. */
typedef enum pass_result { PASS_FOUND, PASS_NONE, PASS_RETRY } pass_result;

typedef struct question {
    uint64_t hash;
    const void *key;
    size_t key_len;
    void *buffer;
    size_t capacity;
    bool persistent;
    bool mark;
} question;

/* A record of another key was read behind `value`, found at `slot`: is it there because its hash
 * has the same tag? Otherwise the slot was overtaken: its record was freed and used again for
 * another key before it was read, and the slot holds something else by now. It is a collision if
 * the slot still holds the record and, after that, the record is still in the life that was read.
 * */
static bool is_collision(const uint64_t *slot, uint64_t value, const fx_record_view *view) {
    return fx_load_acquire(slot) == value &&
           fx_load_acquire(&slot_record(value)->state) == view->version << 2;
}

static inline pass_result read_chain(fx_segment *segment, const question *q,
                                     fx_record_view *view_out) {
    fx_bucket *bucket = bucket_of(segment, q->hash);
    for (uint32_t hops = 0; bucket != NULL && hops <= OVERFLOW_SIZE; hops++) {
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            uint64_t slot = fx_load_acquire(&bucket->slots[i]);
            if (!slot_matches(slot, q->hash)) {
                continue;
            }
            fx_read_result result = fx_record_read(slot_record(slot), q->persistent, q->key,
                                                   q->key_len, q->buffer, q->capacity, view_out);
            if (result == FX_READ_RETRY) {
                return PASS_RETRY;
            }
            if (result == FX_READ_OTHER_KEY && !is_collision(&bucket->slots[i], slot, view_out)) {
                return PASS_RETRY;
            }
            if (result == FX_READ_OK) {
                if (q->mark) {
                    uint8_t bits = fx_load_relaxed(&bucket->referenced);
                    if ((bits & 1u << i) == 0) {
                        fx_store_relaxed(&bucket->referenced, (uint8_t)(bits | 1u << i));
                    }
                }
                return PASS_FOUND;
            }
        }
        bucket = chain_next(segment, bucket);
    }
    return PASS_NONE;
}

bool fx_table_read(fx_table *table, uint64_t hash, bool persistent, bool mark, const void *key,
                   size_t key_len, void *buffer, size_t capacity, fx_record_view *view_out) {
    const question q = {hash, key, key_len, buffer, capacity, persistent, mark};
    for (unsigned tries = 0;; tries++) {
        uint64_t generation = fx_load_acquire(&table->generation);
        pass_result result = read_chain(segment_of(table, hash), &q, view_out);
        if (result == PASS_FOUND) {
            return true;
        }
        if (result == PASS_NONE && (generation & 1) == 0 &&
            fx_load_acquire(&table->generation) == generation) {
            return false;
        }
        if (tries < 64) {
            fx_pause();
        } else {
            (void)sched_yield();
        }
    }
}

void fx_table_prefetch(const fx_table *table, uint64_t hash) {
    __builtin_prefetch(bucket_of(segment_of(table, hash), hash));
}

void fx_table_prefetch_record(const fx_table *table, uint64_t hash) {
    const fx_bucket *bucket = bucket_of(segment_of(table, hash), hash);
    for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
        uint64_t slot = fx_load_relaxed(&bucket->slots[i]);
        if (slot_matches(slot, hash)) {
            const char *record = (const char *)slot_record(slot);
            __builtin_prefetch(record);
            __builtin_prefetch(record + 64);
            __builtin_prefetch(record + 128);
        }
    }
}

/* ---- Writing ---- */

/* The slot that holds `record`, or (record NULL) a free one; NULL: none. */
static uint64_t *slot_of(fx_segment *segment, uint64_t hash, const fx_record *record) {
    uint64_t want = record == NULL ? 0 : slot_make(hash, record);
    for (fx_bucket *b = bucket_of(segment, hash); b != NULL; b = chain_next(segment, b)) {
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            if (b->slots[i] == want) {
                return &b->slots[i];
            }
        }
    }
    return NULL;
}

fx_record *fx_table_find_locked(const fx_table *table, uint64_t hash, const void *key,
                                size_t key_len) {
    fx_segment *segment = segment_of(table, hash);
    for (fx_bucket *b = bucket_of(segment, hash); b != NULL; b = chain_next(segment, b)) {
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            if (!slot_matches(b->slots[i], hash)) {
                continue;
            }
            fx_record *record = slot_record(b->slots[i]);
            if (fx_record_key_len(record) == key_len &&
                memcmp(fx_record_key(record), key, key_len) == 0) {
                return record;
            }
        }
    }
    return NULL;
}

/* A free slot, by another overflow bucket if need be and `limit` allows it; NULL: none. */
static uint64_t *slot_make_free(fx_segment *segment, uint64_t hash, uint32_t limit) {
    uint64_t *slot = slot_of(segment, hash, NULL);
    if (slot != NULL || segment->overflow_free == 0 || segment->overflow_used >= limit) {
        return slot;
    }
    fx_bucket *last = bucket_of(segment, hash);
    for (fx_bucket *b = last; b != NULL; b = chain_next(segment, b)) {
        last = b;
    }
    uint32_t index = segment->overflow_free;
    fx_bucket *fresh = &segment->overflow[index - 1];
    segment->overflow_free = fresh->overflow;
    segment->overflow_used++;
    fx_store_release(&fresh->overflow, (uint16_t)0);
    fx_store_release(&last->overflow, (uint16_t)index);
    return &fresh->slots[0];
}

static uint64_t hash_of(const fx_table *table, const fx_record *record) {
    return fx_hash(table->hash_key, fx_record_key(record), fx_record_key_len(record));
}

static void moves_begin(fx_table *table) {
    FX_ASSERT((table->generation & 1) == 0);
    (void)fx_exchange_acq_rel(&table->generation, table->generation + 1);
}

static void moves_end(fx_table *table) {
    fx_store_release(&table->generation, table->generation + 1);
}

/* Gives a bucket's chain up to what it still needs after entries left. */
static void chain_compact(fx_segment *segment, fx_bucket *first) {
    uint64_t kept[FX_BUCKET_SLOTS * 64];
    uint32_t count = 0;
    for (fx_bucket *b = first; b != NULL; b = chain_next(segment, b)) {
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            kept[count] = b->slots[i];
            count += b->slots[i] != 0;
        }
    }
    fx_bucket *bucket = first;
    uint32_t at = 0;
    for (;;) {
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            fx_store_release(&bucket->slots[i], at < count ? kept[at++] : (uint64_t)0);
        }
        if (at == count) {
            break;
        }
        bucket = chain_next(segment, bucket);
    }
    /* What hangs behind is not needed. */
    uint32_t index = bucket->overflow;
    fx_store_release(&bucket->overflow, (uint16_t)0);
    while (index != 0) {
        fx_bucket *b = &segment->overflow[index - 1];
        uint32_t next = b->overflow;
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            fx_store_release(&b->slots[i], (uint64_t)0);
        }
        fx_store_release(&b->overflow, (uint16_t)segment->overflow_free);
        segment->overflow_free = index;
        segment->overflow_used--;
        index = next;
    }
}

/* Moves the entries of the first `buckets` buckets whose hash has `bit` set to their place in
 * `to`. */
static void move_entries(fx_table *table, fx_segment *segment, uint32_t buckets, uint64_t bit,
                         fx_segment *to) {
    for (uint32_t n = 0; n < buckets; n++) {
        const fx_bucket *ahead = &segment->buckets[(n + 4) & (buckets - 1)];
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            __builtin_prefetch(slot_record(ahead->slots[i]));
        }
        for (fx_bucket *b = &segment->buckets[n]; b != NULL; b = chain_next(segment, b)) {
            for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
                uint64_t slot = b->slots[i];
                uint64_t hash = slot == 0 ? 0 : hash_of(table, slot_record(slot));
                if (slot == 0 || (hash & bit) == 0) {
                    continue;
                }
                /* Never NULL: a bucket's entries come from one bucket, in the order of its chain,
                 * which is compacted below before the next begins. */
                uint64_t *free = slot_make_free(to, hash, OVERFLOW_SIZE);
                FX_ASSERT(free != NULL);
                if (free != NULL) {
                    fx_store_release(free, slot);
                    fx_store_release(&b->slots[i], (uint64_t)0);
                }
            }
        }
        if (segment->buckets[n].overflow != 0) {
            chain_compact(segment, &segment->buckets[n]);
        }
    }
}

/* Twice the buckets, in place. Only while the table has one segment. */
static void segment_double(fx_table *table, fx_segment *segment) {
    uint32_t buckets = segment->mask + 1;
    fx_slab_pool_charge(table->pool, segment_cost(buckets * 2) - segment_cost(buckets));
    moves_begin(table);
    fx_store_release(&segment->mask, buckets * 2 - 1);
    move_entries(table, segment, buckets, buckets, segment);
    moves_end(table);
}

static bool directory_double(fx_table *table) {
    fx_directory *old = table->directory;
    if (old->depth >= DEPTH_MAX) {
        return false;
    }
    fx_directory *now = directory_create(table, old->depth + 1);
    if (now == NULL) {
        return false;
    }
    for (size_t i = 0; i < (size_t)1 << now->depth; i++) {
        now->segments[i] = old->segments[i / 2];
    }
    fx_store_release(&table->directory, now);
    old->next = table->old_directories;
    table->old_directories = old;
    return true;
}

static bool segment_split(fx_table *table, fx_segment *segment, uint64_t hash) {
    if (segment->depth == table->directory->depth && !directory_double(table)) {
        return false;
    }
    fx_segment *sibling = segment_create(table, BUCKETS_FULL, segment->depth + 1);
    if (sibling == NULL) {
        return false;
    }
    fx_directory *directory = table->directory;
    moves_begin(table);
    move_entries(table, segment, BUCKETS_FULL, (uint64_t)1 << (55 - segment->depth), sibling);
    size_t span = segment_stride(directory, segment);
    size_t first = directory_index(hash, directory->depth) / span * span;
    for (size_t i = span / 2; i < span; i++) {
        fx_store_release(&directory->segments[first + i], sibling);
    }
    segment->depth++;
    moves_end(table);
    return true;
}

bool fx_table_reserve_locked(fx_table *table, uint64_t hash) {
    for (;;) {
        fx_segment *segment = segment_of(table, hash);
        uint32_t buckets = segment->mask + 1;
        if (slot_make_free(segment, hash, buckets / OVERFLOW_SHARE) != NULL) {
            return true;
        }
        if (buckets < BUCKETS_FULL) {
            segment_double(table, segment);
        } else if (!segment_split(table, segment, hash)) {
            return false;
        }
    }
}

void fx_table_insert_locked(fx_table *table, uint64_t hash, fx_record *record) {
    uint64_t *slot = slot_of(segment_of(table, hash), hash, NULL);
    FX_ASSERT(slot != NULL);
    if (slot != NULL) {
        fx_store_release(slot, slot_make(hash, record));
        table->count++;
    }
}

void fx_table_replace_locked(fx_table *table, uint64_t hash, fx_record *old, fx_record *now) {
    uint64_t *slot = slot_of(segment_of(table, hash), hash, old);
    FX_ASSERT(slot != NULL);
    if (slot != NULL) {
        fx_store_release(slot, slot_make(hash, now));
    }
}

/* Gives all its pages back: zeros, as a late reader finds them, are one empty bucket. */
static void segment_discard(fx_table *table, fx_segment *segment) {
    fx_slab_pool_charge(table->pool, -segment_cost(segment->mask + 1));
    fx_mem_discard(segment, sizeof *segment);
}

/* Room to remember every segment of the directory but one as spare. */
static bool spare_reserve(fx_table *table, const fx_directory *directory) {
    size_t most = table->spare_count + ((size_t)1 << directory->depth);
    if (most <= table->spare_capacity) {
        return true;
    }
    fx_segment **grown = fx_mem_realloc(table->spare, most * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    fx_slab_pool_charge(table->pool, (int64_t)((most - table->spare_capacity) * sizeof *grown));
    table->spare = grown;
    table->spare_capacity = most;
    return true;
}

void fx_table_trim_locked(fx_table *table) {
    fx_directory *directory = table->directory;
    fx_segment *first = directory->segments[0];
    if (table->count != 0 || (first->mask + 1 == BUCKETS_FIRST && first->depth == 0) ||
        !spare_reserve(table, directory)) {
        return;
    }
    moves_begin(table);
    for (size_t i = segment_stride(directory, first); i < (size_t)1 << directory->depth;) {
        fx_segment *segment = directory->segments[i];
        size_t stride = segment_stride(directory, segment);
        for (size_t k = 0; k < stride; k++) {
            fx_store_release(&directory->segments[i + k], first);
        }
        i += stride;
        segment_discard(table, segment);
        table->spare[table->spare_count++] = segment;
    }
    segment_discard(table, first);
    fx_slab_pool_charge(table->pool, segment_cost(BUCKETS_FIRST));
    fx_store_release(&first->mask, BUCKETS_FIRST - 1);
    first->depth = 0;
    overflow_init(first);
    moves_end(table);
}

void fx_table_remove_locked(fx_table *table, uint64_t hash, fx_record *record) {
    uint64_t *slot = slot_of(segment_of(table, hash), hash, record);
    FX_ASSERT(slot != NULL);
    if (slot != NULL) {
        fx_store_release(slot, (uint64_t)0);
        table->count--;
    }
}

void fx_table_each_locked(const fx_table *table, bool (*visit)(void *context, fx_record *record),
                          void *context) {
    const fx_directory *directory = table->directory;
    for (size_t i = 0; i < (size_t)1 << directory->depth;) {
        const fx_segment *segment = directory->segments[i];
        i += segment_stride(directory, segment);
        /* The overflow buckets lie right before the others. */
        const fx_bucket *end = &segment->buckets[segment->mask + 1];
        for (const fx_bucket *b = segment->overflow; b < end; b++) {
            for (uint32_t s = 0; s < FX_BUCKET_SLOTS; s++) {
                if (b->slots[s] != 0 && !visit(context, slot_record(b->slots[s]))) {
                    return;
                }
            }
        }
    }
}

uint32_t fx_table_clock_locked(fx_table *table, fx_record **records) {
    fx_directory *directory = table->directory;
    if (table->hand_segment >= (size_t)1 << directory->depth) {
        table->hand_segment = 0;
        table->hand_bucket = 0;
    }
    fx_segment *segment = directory->segments[table->hand_segment];
    uint32_t all = OVERFLOW_SIZE + segment->mask + 1;
    uint32_t found = 0;
    for (uint32_t n = 0; n < 8 && table->hand_bucket < all; n++) {
        uint32_t at = table->hand_bucket++;
        fx_bucket *bucket =
            at < OVERFLOW_SIZE ? &segment->overflow[at] : &segment->buckets[at - OVERFLOW_SIZE];
        uint8_t bits = fx_load_relaxed(&bucket->referenced);
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            if (bucket->slots[i] != 0 && (bits & 1u << i) == 0) {
                records[found++] = slot_record(bucket->slots[i]);
            }
        }
        fx_store_relaxed(&bucket->referenced, (uint8_t)0);
    }
    if (table->hand_bucket >= all) {
        size_t stride = segment_stride(directory, segment);
        table->hand_segment = (uint32_t)((table->hand_segment / stride + 1) * stride);
        table->hand_bucket = 0;
    }
    return found;
}

/* Adds one chain to the shape; returns its entries. */
static uint64_t shape_chain(fx_segment *segment, fx_bucket *first, fx_table_shape *shape) {
    uint16_t tags[FX_BUCKET_SLOTS * (OVERFLOW_SIZE + 1)];
    uint64_t length = 0;
    uint32_t count = 0;
    for (const fx_bucket *b = first; b != NULL; b = chain_next(segment, b), length++) {
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            if (b->slots[i] == 0) {
                continue;
            }
            uint16_t tag = (uint16_t)(b->slots[i] >> 48);
            for (uint32_t k = 0; k < count; k++) {
                shape->same_tags += tags[k] == tag;
            }
            tags[count++] = tag;
            shape->hops += length;
        }
    }
    shape->chain_max = length > shape->chain_max ? length : shape->chain_max;
    shape->overflow_buckets += length - 1;
    return count;
}

void fx_table_shape_locked(const fx_table *table, fx_table_shape *shape_out) {
    const fx_directory *directory = table->directory;
    *shape_out = (fx_table_shape){0};
    for (size_t i = 0; i < (size_t)1 << directory->depth;) {
        fx_segment *segment = directory->segments[i];
        uint64_t entries = 0;
        for (uint32_t n = 0; n <= segment->mask; n++) {
            entries += shape_chain(segment, &segment->buckets[n], shape_out);
        }
        shape_out->entries += entries;
        shape_out->buckets += (uint64_t)segment->mask + 1;
        shape_out->segments++;
        if (entries > shape_out->segment_max) {
            shape_out->segment_max = entries;
        }
        i += segment_stride(directory, segment);
    }
}

const char *fx_table_check_locked(const fx_table *table) {
    const fx_directory *directory = table->directory;
    uint64_t count = 0;
    for (size_t i = 0; i < (size_t)1 << directory->depth;) {
        fx_segment *segment = directory->segments[i];
        for (uint32_t n = 0; n <= segment->mask; n++) {
            for (fx_bucket *b = &segment->buckets[n]; b != NULL; b = chain_next(segment, b)) {
                for (uint32_t s = 0; s < FX_BUCKET_SLOTS; s++) {
                    if (b->slots[s] == 0) {
                        continue;
                    }
                    const fx_record *record = slot_record(b->slots[s]);
                    uint64_t hash = hash_of(table, record);
                    count++;
                    if (slot_make(hash, record) != b->slots[s] || (hash & segment->mask) != n ||
                        segment_of(table, hash) != segment) {
                        return "table: an entry is in the wrong place";
                    }
                    if (!fx_state_alive(fx_load_acquire(&record->state))) {
                        return "table: an entry points at a dead record";
                    }
                }
            }
        }
        i += segment_stride(directory, segment);
    }
    return count == table->count ? NULL : "table: the count is wrong";
}
