/* skiplist_pool: type-stable memory. A reader without a lock may still be inside a node or a fence
 * that was given back; so an address that once held an object of a size holds objects of that size,
 * or zeros, until the list is destroyed.
 *
 * Invariants
 *   P1 A unit belongs to one pool for ever. Its `used` counts the objects taken from it.
 *   P2 A free object is on the pool's list, or has not been carved since its unit was mapped or
 *      discarded; `available` counts both kinds.
 *   P3 A node's seq only rises: where zeros took its place, it starts again at `seq_floor`, which
 *      no free node's seq was above.
 *   P4 `memory` counts carved objects and headers: what was never carved was never touched.
 *
 * Fences fall into size classes. A class that is empty takes from the next larger one, so reserving
 * in the class of the longest key is enough for all.
 */
#include "index/skiplist_node.h"

#include "base/assert.h"
#include "base/mem.h"

#define UNIT_SIZE ((size_t)2 << 20) /* a huge page */
#define UNIT_HEADER 64u
/* From so many bytes in use on, huge pages: most lists are short. */
#define HUGE_FROM ((size_t)1 << 20)
/* One free object in so many was given back since the last look. */
#define TRIM_SHARE 8u

struct fx_skip_unit {
    fx_skip_unit *all_next;
    fx_skip_unit *fresh_next;
    size_t used;
    size_t carved; /* objects handed out at least once */
};

_Static_assert(sizeof(fx_skip_unit) <= UNIT_HEADER, "the header fits in front of the objects");
_Static_assert(offsetof(fx_skip_node, next) == 8, "free objects are linked at offset 8");
_Static_assert(offsetof(fx_fence, words) == 8, "free objects are linked at offset 8");
_Static_assert(sizeof(fx_skip_node) == 616, "the table in skiplist_node.h is right");

/* Whole objects, the fence's own 8 bytes included. */
static const size_t class_sizes[FX_SKIP_CLASSES] = {24,  32,   48,   64,    128,  256,
                                                    512, 1024, 4096, 16384, 65552};

static void **link_of(void *object) {
    return (void **)(void *)((uint8_t *)object + 8);
}

static fx_skip_unit *unit_of(void *object) {
    return (fx_skip_unit *)((uintptr_t)object & ~(uintptr_t)(UNIT_SIZE - 1));
}

static void count_memory(const fx_skip_pool *pool, size_t size, bool more) {
    uint64_t now = *pool->memory;
    fx_store_relaxed(pool->memory, more ? now + size : now - size);
}

static void pool_init(fx_skip_pool *pool, size_t object_size, uint64_t *memory) {
    *pool = (fx_skip_pool){.object_size = object_size, .memory = memory};
    pool->per_unit = (UNIT_SIZE - UNIT_HEADER) / object_size;
}

static void pool_deinit(fx_skip_pool *pool) {
    for (fx_skip_unit *unit = pool->all, *next; unit != NULL; unit = next) {
        next = unit->all_next;
        fx_mem_unmap(unit, UNIT_SIZE);
    }
    while (pool->vacant_count > 0) {
        fx_mem_unmap(pool->vacant[--pool->vacant_count], UNIT_SIZE);
    }
    fx_mem_free(pool->vacant);
}

static bool pool_grow(fx_skip_pool *pool) {
    fx_skip_unit *unit;
    if (pool->vacant_count > 0) {
        unit = pool->vacant[--pool->vacant_count];
    } else {
        unit = fx_mem_map(UNIT_SIZE, UNIT_SIZE);
        if (unit == NULL) {
            return false;
        }
    }
    fx_mem_huge(unit, UNIT_SIZE, pool->used * pool->object_size >= HUGE_FROM);
    *unit = (fx_skip_unit){.all_next = pool->all, .fresh_next = pool->fresh};
    pool->all = unit;
    pool->fresh = unit;
    pool->available += pool->per_unit;
    count_memory(pool, UNIT_HEADER, true);
    return true;
}

bool fx_skip_pool_reserve(fx_skip_pool *pool, size_t count) {
    while (pool->available < count) {
        if (!pool_grow(pool)) {
            return false;
        }
    }
    return true;
}

static void *pool_take(fx_skip_pool *pool) {
    if (pool->available == 0 && !pool_grow(pool)) {
        return NULL;
    }
    void *object = pool->free_first;
    fx_skip_unit *unit;
    if (object != NULL) {
        pool->free_first = *link_of(object);
        unit = unit_of(object);
    } else {
        unit = pool->fresh;
        object = (uint8_t *)unit + UNIT_HEADER + unit->carved * pool->object_size;
        unit->carved++;
        count_memory(pool, pool->object_size, true);
        if (unit->carved == pool->per_unit) {
            pool->fresh = unit->fresh_next;
        }
    }
    unit->used++;
    pool->used++;
    pool->available--;
    return object;
}

static void pool_give(fx_skip_pool *pool, void *object) {
    /* Release: whoever reads the link sees that the node that led here has changed. */
    fx_store_release(link_of(object), pool->free_first);
    pool->free_first = object;
    unit_of(object)->used--;
    pool->used--;
    pool->available++;
    pool->given++;
}

/* Room to remember every unit that is empty. */
static bool vacant_reserve(fx_skip_pool *pool) {
    size_t most = pool->vacant_count;
    for (const fx_skip_unit *unit = pool->all; unit != NULL; unit = unit->all_next) {
        most += unit->used == 0;
    }
    if (most <= pool->vacant_capacity) {
        return true;
    }
    fx_skip_unit **grown = fx_mem_realloc(pool->vacant, most * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    count_memory(pool, (most - pool->vacant_capacity) * sizeof *grown, true);
    pool->vacant = grown;
    pool->vacant_capacity = most;
    return true;
}

void fx_skip_pool_trim(fx_skip_pool *pool) {
    /* Looking costs as much as there are free objects: it waits until as many were given back. */
    if (pool->given < pool->available / TRIM_SHARE && pool->used > pool->given) {
        return;
    }
    if (pool->given == 0 || !vacant_reserve(pool)) {
        return;
    }
    pool->given = 0;
    void *kept = NULL;
    for (void *object = pool->free_first, *next; object != NULL; object = next) {
        next = *link_of(object);
        if (unit_of(object)->used > 0) {
            fx_store_release(link_of(object), kept);
            kept = object;
        }
    }
    pool->free_first = kept;
    pool->fresh = NULL;
    for (fx_skip_unit **at = &pool->all; *at != NULL;) {
        fx_skip_unit *unit = *at;
        if (unit->used == 0) {
            *at = unit->all_next;
            count_memory(pool, UNIT_HEADER + unit->carved * pool->object_size, false);
            pool->available -= pool->per_unit;
            fx_mem_discard(unit, UNIT_SIZE);
            pool->vacant[pool->vacant_count++] = unit;
            continue;
        }
        if (unit->carved < pool->per_unit) {
            unit->fresh_next = pool->fresh;
            pool->fresh = unit;
        }
        at = &unit->all_next;
    }
}

void fx_skip_pools_init(fx_skiplist *list) {
    pool_init(&list->nodes, sizeof(fx_skip_node), &list->memory);
    for (size_t i = 0; i < FX_SKIP_CLASSES; i++) {
        pool_init(&list->fences[i], class_sizes[i], &list->memory);
    }
    list->seq_floor = 2;
}

void fx_skip_pools_deinit(fx_skiplist *list) {
    pool_deinit(&list->nodes);
    for (size_t i = 0; i < FX_SKIP_CLASSES; i++) {
        pool_deinit(&list->fences[i]);
    }
}

fx_skip_node *fx_skip_node_take(fx_skiplist *list, unsigned level) {
    fx_skip_node *node = pool_take(&list->nodes);
    if (node != NULL) {
        if (node->seq < list->seq_floor) {
            fx_store_release(&node->seq, list->seq_floor);
        }
        list->level_nodes[level]++;
    }
    return node;
}

fx_skip_node *fx_skip_node_take_fresh(fx_skiplist *list, unsigned level) {
    fx_skip_pool *pool = &list->nodes;
    void *free_first = pool->free_first;
    if (!pool_grow(pool)) {
        return NULL;
    }
    pool->free_first = NULL;
    fx_skip_node *node = fx_skip_node_take(list, level);
    pool->free_first = free_first;
    return node;
}

void fx_skip_node_give(fx_skiplist *list, fx_skip_node *node) {
    FX_ASSERT((node->seq & 1) == 0);
    if (node->seq > list->seq_floor) {
        list->seq_floor = node->seq;
    }
    list->level_nodes[fx_shape_level(node->shape)]--;
    pool_give(&list->nodes, node);
}

static size_t class_of(size_t size) {
    size_t class = 0;
    while (class_sizes[class] < sizeof(fx_fence) + size) {
        class ++;
    }
    return class;
}

bool fx_fence_reserve(fx_skiplist *list, size_t count, size_t size) {
    return fx_skip_pool_reserve(&list->fences[class_of(size)], count);
}

fx_fence *fx_fence_take(fx_skiplist *list, fx_skip_key key) {
    for (size_t class = class_of(key.size); class < FX_SKIP_CLASSES; class ++) {
        fx_fence *fence = pool_take(&list->fences[class]);
        if (fence == NULL) {
            continue;
        }
        /* Release, as the node's fields: see W2 in skiplist.c. */
        fx_store_release(&fence->capacity, (uint32_t)(class_sizes[class] - sizeof(fx_fence)));
        fx_store_release(&fence->size, (uint32_t)key.size);
        for (size_t at = 0; at < key.size; at += 8) {
            uint64_t word = 0;
            fx_copy(&word, key.data + at, key.size - at < 8 ? key.size - at : 8);
            fx_store_release(&fence->words[at / 8], word);
        }
        return fence;
    }
    return NULL;
}

void fx_fence_give(fx_skiplist *list, fx_fence *fence) {
    if (fence != NULL) {
        pool_give(&list->fences[class_of(fence->capacity)], fence);
    }
}
