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
#include "index/table_read.h"

#define BUCKETS_FIRST 8u
/* A bucket in eight may overflow before the segment grows. */
#define OVERFLOW_SHARE 8u
/* Keys for each bucket, up to which a table is made big enough at once: it would grow about then.
 */
#define PRESIZE_FILL 5u
#define DEPTH_MAX 38u
#define PAGE 4096u

_Static_assert(sizeof(fx_bucket) == FX_CACHE_LINE, "a bucket is a cache line");
_Static_assert(FX_BUCKET_SLOTS <= 7, "fx_bucket_tagged has room for so many");
_Static_assert(sizeof(fx_segment) == 9 * PAGE, "a segment is whole pages");
_Static_assert(offsetof(fx_segment, buckets) == PAGE, "the header is the first page");

/* Bytes of memory that this many buckets touch. */
static int64_t segment_cost(uint32_t buckets) {
    return (int64_t)(PAGE + fx_round_up((uint64_t)buckets * sizeof(fx_bucket), PAGE));
}

/* All overflow buckets free. Their memory is zero. */
static void overflow_init(fx_segment *segment) {
    for (uint32_t i = 0; i < FX_TABLE_OVERFLOW; i++) {
        fx_store_relaxed(&segment->overflow[i].overflow,
                         (uint16_t)(i + 1 < FX_TABLE_OVERFLOW ? i + 2 : 0));
    }
    segment->overflow_free = 1;
    segment->overflow_used = 0;
}

/* Empty. */
static fx_segment *segment_create(fx_table *table, uint32_t buckets, uint32_t depth) {
    fx_segment *segment = table->spare_count > 0 ? table->spare[--table->spare_count]
                                                 : fx_slab_pool_take(table->pool, sizeof *segment);
    if (segment == NULL) {
        return NULL;
    }
    fx_slab_pool_charge(table->pool, segment_cost(buckets));
    segment->depth = depth;
    overflow_init(segment);
    return segment;
}

static fx_directory *directory_create(fx_table *table, uint32_t depth, uint32_t buckets) {
    size_t size = sizeof(fx_directory) + ((size_t)1 << depth) * sizeof(fx_segment *);
    fx_directory *directory = fx_mem_alloc(size);
    if (directory != NULL) {
        directory->depth = depth;
        fx_store_relaxed(&directory->mask, buckets - 1);
        directory->next = NULL;
        fx_slab_pool_charge(table->pool, (int64_t)size);
    }
    return directory;
}

/* A directory whose segments have `buckets` each; `first`, if not NULL, is to be one of them. NULL:
 * no memory. */
static fx_directory *directory_fill(fx_table *table, uint32_t depth, uint32_t buckets,
                                    fx_segment *first) {
    fx_directory *directory = directory_create(table, depth, buckets);
    for (size_t i = 0; directory != NULL && i < (size_t)1 << depth; i++) {
        bool given = i == 0 && first != NULL;
        directory->segments[i] = given ? first : segment_create(table, buckets, depth);
        if (directory->segments[i] == NULL) {
            fx_mem_free(directory); /* segments go with the pool */
            return NULL;
        }
    }
    return directory;
}

bool fx_table_init(fx_table *table, fx_slab_pool *pool, const fx_hash_key *hash_key,
                   uint64_t expected) {
    *table = (fx_table){.pool = pool, .hash_key = hash_key};
    uint32_t buckets = BUCKETS_FIRST;
    while (buckets < FX_TABLE_BUCKETS && (uint64_t)buckets * 4 < expected) {
        buckets *= 2;
    }
    uint32_t depth = 0;
    while (depth < 16 && ((uint64_t)FX_TABLE_BUCKETS * 4 << depth) < expected) {
        depth++;
    }
    table->directory = directory_fill(table, depth, buckets, NULL);
    return table->directory != NULL;
}

bool fx_table_presize(fx_table *table, uint64_t keys) {
    uint32_t depth = 0;
    while (depth < 16 && ((uint64_t)FX_TABLE_BUCKETS * PRESIZE_FILL << depth) < keys) {
        depth++;
    }
    fx_directory *old = table->directory;
    if (table->count > 0 || table->generation != 0 || old->depth > 0 ||
        (uint64_t)FX_TABLE_BUCKETS * PRESIZE_FILL / 2 > keys) {
        return true;
    }
    fx_segment *first = old->segments[0];
    fx_directory *directory = directory_fill(table, depth, FX_TABLE_BUCKETS, first);
    if (directory == NULL) {
        return false;
    }
    fx_slab_pool_charge(table->pool, segment_cost(FX_TABLE_BUCKETS) - segment_cost(old->mask + 1));
    first->depth = depth;
    old->next = table->old_directories;
    table->old_directories = old;
    table->directory = directory;
    table->generation = 2; /* as if it had grown: when it is empty all of it can go */
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

/* A record of another key was read behind `value`, found at `slot`: is it there because its hash
 * has the same tag? Otherwise the slot was overtaken: its record was freed and used again for
 * another key before it was read, and the slot holds something else by now. It is a collision if
 * the slot still holds the record and, after that, the record is still in the life that was read.
 */
static bool slot_collides(const uint64_t *slot, uint64_t value, const fx_record_view *view) {
    return fx_load_acquire(slot) == value &&
           fx_load_acquire(&fx_slot_record(value)->state) == view->version << 2;
}

static fx_table_pass read_chain(const fx_table *table, uint64_t hash, bool persistent, bool mark,
                                const void *key, size_t key_len, void *buffer, size_t capacity,
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
                    slot_collides(&bucket->slots[i], slot, view_out)) {
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
static fx_table_pass read_once(const fx_table *table, uint64_t hash, bool persistent, bool mark,
                               const void *key, size_t key_len, void *buffer, size_t capacity,
                               fx_record_view *view_out) {
    uint64_t generation = fx_load_acquire(&table->generation);
    fx_table_pass pass =
        read_chain(table, hash, persistent, mark, key, key_len, buffer, capacity, view_out);
    if (FX_LIKELY(pass != FX_PASS_NONE)) {
        return pass;
    }
    bool moved = (generation & 1) != 0 || fx_load_acquire(&table->generation) != generation;
    return moved ? FX_PASS_RETRY : FX_PASS_NONE;
}

bool fx_table_read(fx_table *table, uint64_t hash, bool persistent, bool mark, const void *key,
                   size_t key_len, void *buffer, size_t capacity, fx_record_view *view_out) {
    for (unsigned tries = 0;; tries++) {
        fx_table_pass pass =
            read_once(table, hash, persistent, mark, key, key_len, buffer, capacity, view_out);
        if (FX_LIKELY(pass != FX_PASS_RETRY)) {
            return pass == FX_PASS_FOUND;
        }
        if (tries < 64) {
            fx_pause();
        } else {
            (void)sched_yield();
        }
    }
}

void fx_table_prefetch(const fx_table *table, uint64_t hash) {
    fx_segment *segment;
    __builtin_prefetch(fx_bucket_of(table, hash, &segment));
}

void fx_table_prefetch_record(const fx_table *table, uint64_t hash) {
    fx_segment *segment;
    const fx_bucket *bucket = fx_bucket_of(table, hash, &segment);
    for (uint32_t found = fx_bucket_tagged(bucket, fx_slot_tag(hash)); found != 0;) {
        uint64_t slot = fx_load_relaxed(&bucket->slots[fx_bucket_take(&found)]);
        const char *record = (const char *)fx_slot_record(slot);
        __builtin_prefetch(record);
        __builtin_prefetch(record + 64);
        __builtin_prefetch(record + 128);
    }
}

/* ---- Writing ---- */

/* The slot with the contents `want` in the chain of `first`, 0: a free one. NULL: none. */
static uint64_t *chain_find(fx_segment *segment, fx_bucket *first, uint64_t want) {
    for (fx_bucket *b = first; b != NULL; b = fx_chain_next(segment, b)) {
        uint32_t found = 0;
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            found |= (uint32_t)(b->slots[i] == want) << i;
        }
        if (found != 0) {
            return &b->slots[__builtin_ctz(found)];
        }
    }
    return NULL;
}

/* The slot that holds `record`, or (record NULL) a free one; NULL: none. */
static uint64_t *slot_of(const fx_table *table, uint64_t hash, const fx_record *record) {
    fx_segment *segment;
    fx_bucket *first = fx_bucket_of(table, hash, &segment);
    return chain_find(segment, first, record == NULL ? 0 : fx_slot_make(hash, record));
}

fx_record *fx_table_find_locked(const fx_table *table, uint64_t hash, const void *key,
                                size_t key_len) {
    fx_segment *segment;
    for (fx_bucket *b = fx_bucket_of(table, hash, &segment); b != NULL;
         b = fx_chain_next(segment, b)) {
        for (uint32_t found = fx_bucket_tagged(b, fx_slot_tag(hash)); found != 0;) {
            fx_record *record = fx_slot_record(b->slots[fx_bucket_take(&found)]);
            if (fx_record_key_len(record) == key_len &&
                memcmp(fx_record_key(record), key, key_len) == 0) {
                return record;
            }
        }
    }
    return NULL;
}

/* A free slot in the chain of `first`, by another overflow bucket if need be and `limit` allows it;
 * NULL: none. */
static uint64_t *chain_make_free(fx_segment *segment, fx_bucket *first, uint32_t limit) {
    uint64_t *slot = chain_find(segment, first, 0);
    if (slot != NULL || segment->overflow_free == 0 || segment->overflow_used >= limit) {
        return slot;
    }
    fx_bucket *last = first;
    for (fx_bucket *b = first; b != NULL; b = fx_chain_next(segment, b)) {
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
    for (fx_bucket *b = first; b != NULL; b = fx_chain_next(segment, b)) {
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
        bucket = fx_chain_next(segment, bucket);
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
            __builtin_prefetch(fx_slot_record(ahead->slots[i]));
        }
        for (fx_bucket *b = &segment->buckets[n]; b != NULL; b = fx_chain_next(segment, b)) {
            for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
                uint64_t slot = b->slots[i];
                uint64_t hash = slot == 0 ? 0 : hash_of(table, fx_slot_record(slot));
                if (slot == 0 || (hash & bit) == 0) {
                    continue;
                }
                /* Never NULL: a bucket's entries come from one bucket, in the order of its chain,
                 * which is compacted below before the next begins. */
                fx_bucket *place = &to->buckets[hash & table->directory->mask];
                uint64_t *free = chain_make_free(to, place, FX_TABLE_OVERFLOW);
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
    uint32_t buckets = table->directory->mask + 1;
    fx_slab_pool_charge(table->pool, segment_cost(buckets * 2) - segment_cost(buckets));
    moves_begin(table);
    fx_store_release(&table->directory->mask, buckets * 2 - 1);
    move_entries(table, segment, buckets, buckets, segment);
    moves_end(table);
}

static bool directory_double(fx_table *table) {
    fx_directory *old = table->directory;
    if (old->depth >= DEPTH_MAX) {
        return false;
    }
    fx_directory *now = directory_create(table, old->depth + 1, old->mask + 1);
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
    fx_segment *sibling = segment_create(table, FX_TABLE_BUCKETS, segment->depth + 1);
    if (sibling == NULL) {
        return false;
    }
    fx_directory *directory = table->directory;
    moves_begin(table);
    move_entries(table, segment, FX_TABLE_BUCKETS, (uint64_t)1 << (55 - segment->depth), sibling);
    size_t span = segment_stride(directory, segment);
    size_t first = fx_directory_index(hash, directory->depth) / span * span;
    for (size_t i = span / 2; i < span; i++) {
        fx_store_release(&directory->segments[first + i], sibling);
    }
    segment->depth++;
    moves_end(table);
    return true;
}

bool fx_table_reserve_locked(fx_table *table, uint64_t hash) {
    for (;;) {
        fx_segment *segment;
        fx_bucket *first = fx_bucket_of(table, hash, &segment);
        uint32_t buckets = table->directory->mask + 1;
        if (chain_make_free(segment, first, buckets / OVERFLOW_SHARE) != NULL) {
            return true;
        }
        if (buckets < FX_TABLE_BUCKETS) {
            segment_double(table, segment);
        } else if (!segment_split(table, segment, hash)) {
            return false;
        }
    }
}

void fx_table_insert_locked(fx_table *table, uint64_t hash, fx_record *record) {
    uint64_t *slot = slot_of(table, hash, NULL);
    FX_ASSERT(slot != NULL);
    if (slot != NULL) {
        fx_store_release(slot, fx_slot_make(hash, record));
        fx_store_relaxed(&table->count, table->count + 1);
    }
}

void fx_table_replace_locked(fx_table *table, uint64_t hash, fx_record *old, fx_record *now) {
    uint64_t *slot = slot_of(table, hash, old);
    FX_ASSERT(slot != NULL);
    if (slot != NULL) {
        fx_store_release(slot, fx_slot_make(hash, now));
    }
}

/* Gives all its pages back: zeros, as a late reader finds them, are empty buckets. */
static void segment_discard(fx_table *table, fx_segment *segment) {
    fx_slab_pool_charge(table->pool, -segment_cost(table->directory->mask + 1));
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
    if (table->count != 0 || table->generation == 0 ||
        (directory->mask + 1 == BUCKETS_FIRST && first->depth == 0) ||
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
    fx_store_release(&directory->mask, BUCKETS_FIRST - 1);
    first->depth = 0;
    overflow_init(first);
    moves_end(table);
}

void fx_table_remove_locked(fx_table *table, uint64_t hash, fx_record *record) {
    uint64_t *slot = slot_of(table, hash, record);
    FX_ASSERT(slot != NULL);
    if (slot != NULL) {
        fx_store_release(slot, (uint64_t)0);
        fx_store_relaxed(&table->count, table->count - 1);
    }
}

void fx_table_each_locked(const fx_table *table, bool (*visit)(void *context, fx_record *record),
                          void *context) {
    const fx_directory *directory = table->directory;
    for (size_t i = 0; i < (size_t)1 << directory->depth;) {
        const fx_segment *segment = directory->segments[i];
        i += segment_stride(directory, segment);
        /* The overflow buckets lie right before the others. */
        const fx_bucket *end = &segment->buckets[directory->mask + 1];
        for (const fx_bucket *b = segment->overflow; b < end; b++) {
            for (uint32_t s = 0; s < FX_BUCKET_SLOTS; s++) {
                if (b->slots[s] != 0 && !visit(context, fx_slot_record(b->slots[s]))) {
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
    uint32_t all = FX_TABLE_OVERFLOW + directory->mask + 1;
    uint32_t found = 0;
    for (uint32_t n = 0; n < 8 && table->hand_bucket < all; n++) {
        uint32_t at = table->hand_bucket++;
        fx_bucket *bucket = at < FX_TABLE_OVERFLOW ? &segment->overflow[at]
                                                   : &segment->buckets[at - FX_TABLE_OVERFLOW];
        uint8_t bits = fx_load_relaxed(&bucket->referenced);
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            if (bucket->slots[i] != 0 && (bits & 1u << i) == 0) {
                records[found++] = fx_slot_record(bucket->slots[i]);
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
    uint16_t tags[FX_BUCKET_SLOTS * (FX_TABLE_OVERFLOW + 1)];
    uint64_t length = 0;
    uint32_t count = 0;
    for (const fx_bucket *b = first; b != NULL; b = fx_chain_next(segment, b), length++) {
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
        for (uint32_t n = 0; n <= directory->mask; n++) {
            entries += shape_chain(segment, &segment->buckets[n], shape_out);
        }
        shape_out->entries += entries;
        shape_out->buckets += (uint64_t)directory->mask + 1;
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
        for (uint32_t n = 0; n <= directory->mask; n++) {
            for (fx_bucket *b = &segment->buckets[n]; b != NULL; b = fx_chain_next(segment, b)) {
                for (uint32_t s = 0; s < FX_BUCKET_SLOTS; s++) {
                    if (b->slots[s] == 0) {
                        continue;
                    }
                    const fx_record *record = fx_slot_record(b->slots[s]);
                    uint64_t hash = hash_of(table, record);
                    count++;
                    fx_segment *owner;
                    const fx_bucket *first = fx_bucket_of(table, hash, &owner);
                    if (fx_slot_make(hash, record) != b->slots[s] || owner != segment ||
                        first != &segment->buckets[n]) {
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
