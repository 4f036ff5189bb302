/* skiplist_node: what the reading and the writing half of the skip list share: the layout of nodes,
 * fences and pools, and the search inside one node. Only for src/index/skiplist*.c.
 *
 * The list has one writer at a time. Everything marked "racing" is read by readers at any moment
 * and is touched only through base/atomic.h; the writer alone may read it plainly, for nobody else
 * stores there.
 */
#ifndef FX_INDEX_SKIPLIST_NODE_H
#define FX_INDEX_SKIPLIST_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "index/skiplist.h"

#define FX_SKIP_FANOUT 48u
#define FX_SKIP_HEIGHT_MAX 16u
#define FX_SKIP_CLASSES 11u

/* A separator key. Type-stable: `capacity` never changes while the memory is mapped, so that a
 * late reader stays inside whatever the memory holds by then. Unused bytes of words are 0. */
typedef struct fx_fence {
    uint32_t capacity; /* bytes; racing */
    uint32_t size;     /* racing */
    uint64_t words[];  /* racing */
} fx_fence;

/* OFFSET SIZE  FIELD
 *      0    8  seq     odd while the writer is inside; never goes back, even over reuse
 *      8    8  next    right neighbour on this level (link while free)
 *     16    8  prev    left neighbour
 *     24    8  low     first key that may be in here; NULL: from the smallest
 *     32    4  shape   prefix << 16 | level << 8 | count
 *     36  192  heads   four bytes of each key behind the first `prefix` ones
 *    232  384  items   level 0: fx_record; above: the child whose `low` is the entry's key */
typedef struct fx_skip_node {
    uint64_t seq;
    struct fx_skip_node *next;
    struct fx_skip_node *prev;
    fx_fence *low;
    uint32_t shape;
    uint32_t heads[FX_SKIP_FANOUT];
    void *items[FX_SKIP_FANOUT];
} fx_skip_node;

typedef struct fx_skip_unit fx_skip_unit;

/* Objects of one size in aligned units that keep their addresses and their size until destroy. */
typedef struct fx_skip_pool {
    size_t object_size;
    size_t per_unit;
    size_t available; /* objects that can be had without a further unit */
    size_t used;
    size_t given;          /* objects given back since the last trim */
    void *free_first;      /* linked through the word at offset 8 of each */
    fx_skip_unit *fresh;   /* units with objects never handed out since map or discard */
    fx_skip_unit *all;     /* but the vacant ones */
    fx_skip_unit **vacant; /* units of which nothing is in memory */
    size_t vacant_count, vacant_capacity;
    uint64_t *memory; /* where bytes taken are counted; racing */
} fx_skip_pool;

struct fx_skiplist {
    /* Racing: released by the writer. */
    fx_skip_node *root; /* acquired by readers */
    uint64_t count;     /* relaxed, statistics */
    uint64_t memory;    /* relaxed, statistics */
    uint8_t padding[FX_CACHE_LINE - 24];
    /* The writer's. */
    unsigned height;
    size_t level_nodes[FX_SKIP_HEIGHT_MAX];
    size_t longest;     /* no key that was put is longer */
    uint64_t seq_floor; /* not below the seq of any free node */
    void *sort_entries; /* room for sorting `sort_capacity` ops */
    size_t sort_capacity;
    fx_skip_pool nodes;
    fx_skip_pool fences[FX_SKIP_CLASSES];
};

/* A key somewhere: in a record, a fence, or the caller's. */
typedef struct fx_skip_key {
    const uint8_t *data;
    size_t size;
} fx_skip_key;

static inline unsigned fx_shape_count(uint32_t shape) {
    return shape & 0xffu;
}

static inline unsigned fx_shape_level(uint32_t shape) {
    return shape >> 8 & 0xffu;
}

static inline unsigned fx_shape_prefix(uint32_t shape) {
    return shape >> 16;
}

static inline uint32_t fx_shape_make(size_t prefix, unsigned level, unsigned count) {
    return (uint32_t)prefix << 16 | level << 8 | count;
}

/* An atomic load of the meta word: an update in place may store its value length meanwhile. */
static inline fx_skip_key fx_skip_record_key(const fx_record *record) {
    uint32_t meta = fx_load_relaxed(&record->meta);
    return (fx_skip_key){(const uint8_t *)record + fx_meta_key_offset(meta), fx_meta_key_len(meta)};
}

/* Four bytes from `prefix` on, as a number that sorts like them; what is missing counts as 0. */
static inline uint32_t fx_skip_head(fx_skip_key key, size_t prefix) {
    if (key.size >= prefix + 4) {
        return __builtin_bswap32(fx_get_u32(key.data + prefix));
    }
    return prefix < key.size ? fx_key_head(key.data + prefix, key.size - prefix) : 0;
}

/* How many leading bytes two keys share. */
static inline size_t fx_skip_common(fx_skip_key a, fx_skip_key b) {
    size_t size = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t diff = fx_get_u64(a.data + i) ^ fx_get_u64(b.data + i);
        if (diff != 0) {
            return i + (size_t)__builtin_ctzll(diff) / 8;
        }
    }
    while (i < size && a.data[i] == b.data[i]) {
        i++;
    }
    return i;
}

static inline int fx_skip_compare(fx_skip_key a, fx_skip_key b, size_t prefix) {
    return fx_key_compare(a.data + prefix, a.size - prefix, b.data + prefix, b.size - prefix);
}

/* What was read of the node since `seq` was loaded is sound. The loads before it were acquire
 * loads, so this one stays behind them: see skiplist_read.c. */
static inline bool fx_skip_valid(const fx_skip_node *node, uint64_t seq) {
    return fx_load_relaxed(&node->seq) == seq;
}

/* skiplist_read.c. `key` must lie between the node's fences. Each returns -1 if the node changed
 * since `seq`; cannot happen to the writer. */

/* Leaf: index of the first entry not below `key`; *found_out: it is equal. */
int fx_skip_find(const fx_skip_node *leaf, uint64_t seq, uint32_t shape, fx_skip_key key,
                 bool *found_out);
/* Inner node: index of the child that covers `key`. */
int fx_skip_child(const fx_skip_node *node, uint64_t seq, uint32_t shape, fx_skip_key key);
/* Below, at or above 0: how the fence sorts to `key`. The fence may be changing. */
int fx_fence_compare(const fx_fence *fence, fx_skip_key key);

/* skiplist_sort.c. Writer only. */

/* By key, stable; room must be reserved. */
void fx_skip_sort(fx_skiplist *list, fx_skiplist_op *ops, size_t count);
bool fx_skip_sort_reserve(fx_skiplist *list, size_t count);
void fx_skip_sort_trim(fx_skiplist *list);

/* skiplist_pool.c. Writer only. */
void fx_skip_pools_init(fx_skiplist *list);
void fx_skip_pools_deinit(fx_skiplist *list);
/* At least `count` objects are there without asking the system. False: no memory. */
bool fx_skip_pool_reserve(fx_skip_pool *pool, size_t count);
void fx_skip_pool_trim(fx_skip_pool *pool);
/* NULL: no memory. The node's contents are undefined but for `seq`, which is even and new. */
fx_skip_node *fx_skip_node_take(fx_skiplist *list, unsigned level);
/* The same, from a unit of which nothing else is in use. */
fx_skip_node *fx_skip_node_take_fresh(fx_skiplist *list, unsigned level);
void fx_skip_node_give(fx_skiplist *list, fx_skip_node *node);
/* A copy of `key`; NULL: no memory. */
fx_fence *fx_fence_take(fx_skiplist *list, fx_skip_key key);
void fx_fence_give(fx_skiplist *list, fx_fence *fence);
/* `count` fences for keys of up to `size` bytes can be taken without fail. */
bool fx_fence_reserve(fx_skiplist *list, size_t count, size_t size);

static inline fx_skip_key fx_fence_key(const fx_fence *fence) {
    return (fx_skip_key){(const uint8_t *)fence->words, fence->size};
}

#endif
