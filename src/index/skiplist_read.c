/* skiplist_read: searching, and the windows that readers take. Why it is right without a lock:
 * optimistic lock coupling (Leis, Haubenschild, Neumann 2019; seqlocks with atomic data: Boehm
 * 2012).
 *
 * Ordering
 *   R1 A reader loads a node's seq (acquire), its words (acquire), and its seq again. The writer
 *      makes seq odd, then stores words (release), then makes seq even (release). A reader that got
 *      a word stored after seq became odd synchronises with that store, so its second load of seq
 *      cannot return the old value. A reader that got the even seq sees every word stored before.
 *   R2 Coupling: the child's seq is loaded before the parent is validated. If the parent is sound,
 *      then the child covered the key at the moment its seq was read; whatever the child then shows
 *      under this seq lies between fences that enclose the key. The root's parent is list->root.
 *      The same holds for a neighbour in the place of the child, which chains leaves in one moment.
 *   R3 No item is followed before its node was validated: a reused node may hold the other kind.
 *      A record that a sound node held was in the list after the reader was pinned, so its key
 *      stays until the reader unpins. It was written before the release store of the item.
 *   R4 Fences are reached through a child that may change meanwhile. They are type-stable, read by
 *      acquire loads and bounded by their capacity; the bytes count only if the parent, which the
 *      writer enters before it touches a fence of its children, is sound afterwards.
 *
 * Readers store nothing shared and wait for no lock, but a reader that meets a node with the writer
 * inside waits until it is out: some hundred nanoseconds, or longer if the writer loses the
 * processor just there. What takes time (fences, reading records) the writer does before it enters.
 */
#define _GNU_SOURCE
#include "index/skiplist_node.h"

#include <sched.h>

#include "base/assert.h"

int fx_fence_compare(const fx_fence *fence, fx_skip_key key) {
    size_t size = fx_load_acquire(&fence->size);
    size_t capacity = fx_load_acquire(&fence->capacity);
    size = size < capacity ? size : capacity;
    size_t common = size < key.size ? size : key.size;
    for (size_t at = 0; at < common; at += 8) {
        size_t left = common - at;
        uint64_t a = fx_load_acquire(&fence->words[at / 8]);
        uint64_t b = 0;
        if (left >= 8) {
            b = fx_get_u64(key.data + at);
        } else {
            fx_copy(&b, key.data + at, left);
            a &= ((uint64_t)1 << (8 * left)) - 1;
        }
        if (a != b) {
            return __builtin_bswap64(a) < __builtin_bswap64(b) ? -1 : 1;
        }
    }
    return (size > key.size) - (size < key.size);
}

/* The first index of [from, count) whose head is not below `head`. */
static inline unsigned head_bound(const fx_skip_node *node, unsigned from, unsigned count,
                                  uint32_t head) {
    unsigned base = from;
    unsigned left = count - from;
    while (left > 1) {
        unsigned half = left / 2;
        base += fx_load_acquire(&node->heads[base + half - 1]) < head ? half : 0;
        left -= half;
    }
    return base + (left == 1 && fx_load_acquire(&node->heads[base]) < head ? 1u : 0u);
}

/* The end of the run of equal heads that begins at `from`. */
static unsigned head_run(const fx_skip_node *node, unsigned from, unsigned count, uint32_t head) {
    if (from == count || fx_load_acquire(&node->heads[from]) != head) {
        return from;
    }
    if (from + 1 == count || fx_load_acquire(&node->heads[from + 1]) != head) {
        return from + 1;
    }
    return head == UINT32_MAX ? count : head_bound(node, from, count, head + 1);
}

int fx_skip_find(const fx_skip_node *leaf, uint64_t seq, uint32_t shape, fx_skip_key key,
                 bool *found_out) {
    size_t prefix = fx_shape_prefix(shape);
    unsigned count = fx_shape_count(shape);
    uint32_t head = fx_skip_head(key, prefix);
    unsigned low = head_bound(leaf, 0, count, head);
    unsigned high = head_run(leaf, low, count, head);
    *found_out = false;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const fx_record *record = fx_load_acquire(&leaf->items[middle]);
        if (!fx_skip_valid(leaf, seq)) {
            return -1;
        }
        int order = fx_skip_compare(fx_skip_record_key(record), key, prefix);
        if (order == 0) {
            *found_out = true;
            return (int)middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return fx_skip_valid(leaf, seq) ? (int)low : -1;
}

int fx_skip_child(const fx_skip_node *node, uint64_t seq, uint32_t shape, fx_skip_key key) {
    unsigned count = fx_shape_count(shape);
    if (count == 0) {
        return -1; /* reused meanwhile: an inner node has children */
    }
    uint32_t head = fx_skip_head(key, fx_shape_prefix(shape));
    /* The first child's key is the node's own fence, which is not above `key`. */
    unsigned low = head_bound(node, 1, count, head);
    unsigned high = head_run(node, low, count, head);
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const fx_skip_node *child = fx_load_acquire(&node->items[middle]);
        if (!fx_skip_valid(node, seq)) {
            return -1;
        }
        const fx_fence *fence = fx_load_acquire(&child->low);
        if (fence == NULL || fx_fence_compare(fence, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return fx_skip_valid(node, seq) ? (int)low - 1 : -1;
}

/* The node's seq once the writer is not inside. */
static uint64_t settled_seq(const fx_skip_node *node) {
    for (unsigned spins = 0;; spins++) {
        uint64_t seq = fx_load_acquire(&node->seq);
        if ((seq & 1) == 0) {
            return seq;
        }
        if (spins < 64) {
            fx_pause();
        } else {
            (void)sched_yield();
        }
    }
}

/* Where a reader is. */
typedef struct spot {
    const fx_skip_node *node;
    uint64_t seq;
    uint32_t shape;
} spot;

/* A node that is only guessed at, and may be NULL: so its address is a number here. */
static inline void prefetch_at(const fx_skip_node *node, size_t offset) {
    __builtin_prefetch((const void *)((uintptr_t)node + offset));
}

static inline void prefetch_node(const fx_skip_node *node) {
    for (size_t line = 0; line < offsetof(fx_skip_node, items); line += FX_CACHE_LINE) {
        prefetch_at(node, line);
    }
}

/* What a window takes of a leaf. */
static inline void prefetch_items(const fx_skip_node *leaf) {
    prefetch_at(leaf, 0);
    for (size_t i = 0; i < FX_SKIP_FANOUT; i += FX_CACHE_LINE / sizeof(void *)) {
        prefetch_at(leaf, offsetof(fx_skip_node, items) + i * sizeof(void *));
    }
}

/* Moves to `to`, a child or neighbour that was read from the spot's node. False: changed. */
static bool step(spot *at, const fx_skip_node *to) {
    /* R3: first make sure that it is a node at all. */
    if (!fx_skip_valid(at->node, at->seq)) {
        return false;
    }
    uint64_t seq = settled_seq(to);
    if (!fx_skip_valid(at->node, at->seq)) {
        return false;
    }
    *at = (spot){to, seq, fx_load_acquire(&to->shape)};
    return true;
}

/* To the leaf that covers `key`, or the last leaf. False: something changed, try again. */
static bool descend(const fx_skiplist *list, fx_skip_key key, bool last, spot *at) {
    const fx_skip_node *root = fx_load_acquire(&list->root);
    *at = (spot){root, settled_seq(root), 0};
    if (fx_load_acquire(&list->root) != root) {
        return false;
    }
    at->shape = fx_load_acquire(&root->shape);
    while (fx_shape_level(at->shape) > 0) {
        int index = last ? (int)fx_shape_count(at->shape) - 1
                         : fx_skip_child(at->node, at->seq, at->shape, key);
        if (index < 0) {
            return false;
        }
        const fx_skip_node *child = fx_load_acquire(&at->node->items[index]);
        prefetch_node(child);
        if (!step(at, child)) {
            return false;
        }
    }
    return true;
}

/* Where the window begins: entries from *index_out on (forward) or below it (backward). */
static bool locate(const fx_skiplist *list, fx_skip_key key, bool last, bool past_equal, spot *at,
                   unsigned *index_out) {
    if (!descend(list, key, last, at)) {
        return false;
    }
    if (last) {
        *index_out = fx_shape_count(at->shape);
        return true;
    }
    bool found;
    int index = fx_skip_find(at->node, at->seq, at->shape, key, &found);
    *index_out = (unsigned)index + (found && past_equal ? 1u : 0u);
    return index >= 0;
}

/* Takes entries from the spot on, leaf by leaf. *end_out: nothing more in this direction, or full;
 * else a leaf changed, and what was taken before stands. */
static size_t walk(spot at, unsigned index, bool backward, fx_record **records, size_t capacity,
                   bool *end_out) {
    size_t taken = 0;
    *end_out = false;
    for (;;) {
        unsigned count = fx_shape_count(at.shape);
        const fx_skip_node *next = fx_load_acquire(backward ? &at.node->prev : &at.node->next);
        if (capacity - taken > (backward ? index : count - index)) {
            prefetch_items(next);
        }
        size_t got = taken;
        if (backward) {
            while (index > 0 && got < capacity) {
                records[got++] = fx_load_acquire(&at.node->items[--index]);
            }
        } else {
            while (index < count && got < capacity) {
                records[got++] = fx_load_acquire(&at.node->items[index++]);
            }
        }
        if (!fx_skip_valid(at.node, at.seq)) {
            return taken;
        }
        taken = got;
        if (taken == capacity || next == NULL) {
            *end_out = true;
            return taken;
        }
        if (!step(&at, next)) {
            return taken;
        }
        index = backward ? fx_shape_count(at.shape) : 0;
    }
}

size_t fx_skiplist_forward(fx_skiplist *list, const void *key, size_t key_len, bool exclusive,
                           fx_record **records, size_t capacity) {
    fx_skip_key from = {key_len > 0 ? key : (const void *)"", key_len};
    spot at;
    unsigned index;
    size_t taken = 0;
    bool end = capacity == 0;
    while (taken == 0 && !end) {
        if (locate(list, from, false, exclusive, &at, &index)) {
            taken = walk(at, index, false, records, capacity, &end);
        }
    }
    return taken;
}

size_t fx_skiplist_backward(fx_skiplist *list, const void *key, size_t key_len, bool exclusive,
                            fx_record **records, size_t capacity) {
    fx_skip_key from = {key != NULL ? key : (const void *)"", key_len};
    spot at;
    unsigned index;
    size_t taken = 0;
    bool end = capacity == 0;
    while (taken == 0 && !end) {
        if (locate(list, from, key == NULL, !exclusive, &at, &index)) {
            taken = walk(at, index, true, records, capacity, &end);
        }
    }
    return taken;
}
