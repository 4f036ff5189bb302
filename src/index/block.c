/* block: an allocator for general use loses up to a third of the memory between values of mixed
 * sizes, because a freed one leaves a hole that only some others fit. Pages have no such holes:
 * the system takes each back alone and puts it anywhere. What a value loses is the rest of its last
 * page. Addresses cost nothing, so they are handed out in the simplest way that never needs to move
 * or merge anything: slots of a power of two of pages, of which only those in use are touched.
 *
 *   region, 4 MiB aligned  | head, bitmap, one fx_block for each slot | slot | slot | ...
 *
 * The blocks stand together in the first pages, of which few are touched in a new region: the
 * lowest free slot is taken. A block finds its region by its address.
 *
 * Release leaves the pages as they are, "warm", and still charged: the next block of the class
 * takes them without a page fault, and whoever releases under a lock makes no system call. Who
 * creates, or tidies up, gives back what is too much.
 *
 * B1 a slot is free (its bit set, no page of it in memory), warm, or in use; a warm or used one
 *    has pages for its block's size, and these are charged.
 * B2 charged besides: the pages of a region's head up to the last block that was ever used.
 * B3 a region is on `full` iff no bit is set, else on its class's list; one without a warm or used
 *    slot does not exist.
 * B4 a system call is made without the lock, for what nobody else can reach at the time.
 */
#include "index/block.h"

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bytes.h"
#include "base/config.h"
#include "base/mem.h"

#define PAGE ((size_t)4096)
#define REGION_SIZE ((size_t)4 << 20)
#define REGION_PAGES (REGION_SIZE / PAGE)
#define SLOT_MAX (PAGE << (FX_BLOCK_CLASSES - 1))
/* Classes with a stock: for a larger slot the faults cost little beside the copying. */
#define STOCKED 6u
/* Warm slots to look at for one with as many pages as are needed. */
#define LOOK 8u
/* Slots that one create gives back at most: more than it takes, so that they do not pile up. */
#define GIVE_BACK 16u
/* From this size on a value is worth huge pages, of which it loses none: it fills them. */
#define HUGE_FROM ((size_t)4 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

typedef struct fx_region {
    struct fx_region *next, *previous;
    fx_block_pool *pool;
    uint32_t class_index;
    uint32_t slots;
    uint32_t used;    /* warm or in use */
    uint32_t touched; /* blocks that were ever used: all before this one */
    uint32_t hint;    /* no word of `free` before this one has a bit */
    uint64_t free[REGION_PAGES / 64];
    fx_block blocks[];
} fx_region;

/* A value beyond the classes: a mapping of its own. */
typedef struct fx_large_block {
    fx_block block; /* first: a block is turned into this */
    fx_block_pool *pool;
    struct fx_large_block *next; /* warm ones */
} fx_large_block;

/* What is warm, off its lists, and to be given back. */
typedef struct spent {
    fx_block *slots;
    fx_large_block *larges;
} spent;

static size_t pages_size(size_t size) {
    return (size_t)fx_round_up(size, PAGE);
}

static uint32_t class_of(size_t size) {
    size_t pages = pages_size(size) / PAGE;
    return pages == 1 ? 0 : 64u - (uint32_t)__builtin_clzll(pages - 1);
}

static fx_region *region_of(const fx_block *block) {
    return (fx_region *)((uintptr_t)block & ~(uintptr_t)(REGION_SIZE - 1));
}

static size_t head_size(size_t blocks) {
    return pages_size(sizeof(fx_region) + blocks * sizeof(fx_block));
}

static uint8_t *slot_data(const fx_region *region, const fx_block *block) {
    size_t slot = (size_t)(block - region->blocks);
    return (uint8_t *)region + head_size(region->slots) + (slot * PAGE << region->class_index);
}

/* A warm block's data pointer is the link of its list. */
static fx_block *next_of(const fx_block *block) {
    return (fx_block *)(void *)block->data;
}

static void push(fx_block **first, fx_block *block) {
    block->data = (uint8_t *)*first;
    *first = block;
}

/* ---- Regions ---- */

static void region_link(fx_region **first, fx_region *region) {
    region->previous = NULL;
    region->next = *first;
    if (*first != NULL) {
        (*first)->previous = region;
    }
    *first = region;
}

static void region_unlink(fx_region **first, fx_region *region) {
    if (region->previous != NULL) {
        region->previous->next = region->next;
    } else {
        *first = region->next;
    }
    if (region->next != NULL) {
        region->next->previous = region->previous;
    }
}

static fx_region *region_create(fx_block_pool *pool, uint32_t class_index) {
    fx_region *region = fx_mem_map(REGION_SIZE, REGION_SIZE);
    if (region == NULL) {
        return NULL;
    }
    fx_mem_huge(region, REGION_SIZE, false); /* a huge page would be touched as a whole */
    size_t slots = REGION_PAGES >> class_index;
    while (head_size(slots) + (slots * PAGE << class_index) > REGION_SIZE) {
        slots--;
    }
    region->pool = pool;
    region->class_index = class_index;
    region->slots = (uint32_t)slots;
    for (size_t i = 0; i < slots; i++) {
        region->free[i / 64] |= (uint64_t)1 << i % 64;
    }
    fx_slab_pool_charge(pool->charged, (int64_t)head_size(0));
    return region;
}

/* The lowest free slot; adds to *more what it touches of the head. */
static fx_block *slot_take_locked(fx_block_pool *pool, fx_region *region, size_t *more) {
    while (region->free[region->hint] == 0) {
        region->hint++;
    }
    uint32_t word = region->hint;
    uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(region->free[word]);
    region->free[word] &= region->free[word] - 1;
    if (slot >= region->touched) {
        *more += head_size(slot + 1) - head_size(region->touched);
        region->touched = slot + 1;
    }
    if (++region->used == region->slots) {
        region_unlink(&pool->roomy[region->class_index], region);
        region_link(&pool->full, region);
    }
    return &region->blocks[slot];
}

/* A slot without pages; what is empty by it goes from the pool's lists to *empty. */
static void slot_free_locked(fx_block_pool *pool, fx_block *block, fx_region **empty) {
    fx_region *region = region_of(block);
    uint32_t slot = (uint32_t)(block - region->blocks);
    region->free[slot / 64] |= (uint64_t)1 << slot % 64;
    region->hint = slot / 64 < region->hint ? slot / 64 : region->hint;
    if (region->used-- == region->slots) {
        region_unlink(&pool->full, region);
        region_link(&pool->roomy[region->class_index], region);
    }
    if (region->used == 0) {
        region_unlink(&pool->roomy[region->class_index], region);
        region_link(empty, region);
    }
}

/* Returns what was charged for them. */
static size_t regions_destroy(fx_region *first) {
    size_t bytes = 0;
    while (first != NULL) {
        fx_region *region = first;
        first = region->next;
        bytes += head_size(region->touched);
        fx_mem_unmap(region, REGION_SIZE);
    }
    return bytes;
}

/* ---- What is warm ---- */

static size_t stock_of(const fx_block_pool *pool, uint32_t class_index) {
    return class_index < STOCKED ? pool->stock : 0;
}

/* A warm slot of the class, of the right size if one is near; NULL: none. */
static fx_block *warm_take_locked(fx_block_pool *pool, uint32_t class_index, size_t wanted) {
    fx_block *before = NULL;
    fx_block *block = pool->warm[class_index];
    for (uint32_t i = 0; i < LOOK && block != NULL && pages_size(block->size) != wanted; i++) {
        before = block;
        block = next_of(block);
    }
    if (block == NULL || pages_size(block->size) != wanted) {
        before = NULL;
        block = pool->warm[class_index];
    }
    if (before != NULL) {
        before->data = block->data;
    } else if (block != NULL) {
        pool->warm[class_index] = next_of(block);
    }
    pool->warm_bytes[class_index] -= block != NULL ? pages_size(block->size) : 0;
    return block;
}

/* Takes up to `count` slots beyond the stock (`all`: the stock too) off their lists, and every
 * large block. */
static spent spent_locked(fx_block_pool *pool, bool all, uint32_t count) {
    spent s = {.larges = pool->warm_large};
    pool->warm_large = NULL;
    for (uint32_t c = 0; c < FX_BLOCK_CLASSES; c++) {
        size_t keep = all ? 0 : stock_of(pool, c);
        while (pool->warm_bytes[c] > keep && count > 0) {
            fx_block *block = pool->warm[c];
            pool->warm[c] = next_of(block);
            pool->warm_bytes[c] -= pages_size(block->size);
            push(&s.slots, block);
            count--;
        }
    }
    return s;
}

static void give_back(fx_block_pool *pool, spent s) {
    size_t bytes = 0;
    fx_region *empty = NULL;
    while (s.larges != NULL) {
        fx_large_block *large = s.larges;
        s.larges = large->next;
        bytes += pages_size(large->block.size);
        fx_mem_unmap(large->block.data, pages_size(large->block.size));
        fx_mem_free(large);
    }
    for (fx_block *block = s.slots; block != NULL; block = next_of(block)) {
        bytes += pages_size(block->size);
        fx_mem_discard(slot_data(region_of(block), block), pages_size(block->size));
    }
    if (s.slots != NULL) {
        fx_spinlock_lock(&pool->lock);
        while (s.slots != NULL) {
            fx_block *block = s.slots;
            s.slots = next_of(block);
            slot_free_locked(pool, block, &empty);
        }
        fx_spinlock_unlock(&pool->lock);
        bytes += regions_destroy(empty);
    }
    if (bytes > 0) {
        fx_slab_pool_charge(pool->charged, -(int64_t)bytes);
    }
}

void fx_block_pool_trim(fx_block_pool *pool, bool all) {
    spent s;
    do {
        fx_spinlock_lock(&pool->lock);
        s = spent_locked(pool, all, GIVE_BACK);
        fx_spinlock_unlock(&pool->lock);
        give_back(pool, s);
    } while (s.slots != NULL);
}

/* ---- The pool ---- */

void fx_block_pool_init(fx_block_pool *pool, fx_slab_pool *charged, size_t stock) {
    *pool = (fx_block_pool){.charged = charged, .stock = stock};
}

void fx_block_pool_deinit(fx_block_pool *pool) {
    fx_block_pool_trim(pool, true);
    size_t bytes = regions_destroy(pool->full);
    for (uint32_t c = 0; c < FX_BLOCK_CLASSES; c++) {
        bytes += regions_destroy(pool->roomy[c]);
    }
    FX_ASSERT(bytes == 0);
    *pool = (fx_block_pool){0};
}

static const char *region_check(const fx_region *region, bool full) {
    uint32_t free = 0;
    for (size_t i = 0; i < REGION_PAGES / 64; i++) {
        free += (uint32_t)__builtin_popcountll(region->free[i]);
        if (region->free[i] != 0 && i < region->hint) {
            return "block: a free slot is not found";
        }
    }
    if (region->used + free != region->slots || region->used == 0 ||
        region->touched < region->used) {
        return "block: free and used slots do not add up";
    }
    return full == (free == 0) ? NULL : "block: a region is on the wrong list";
}

const char *fx_block_pool_check(fx_block_pool *pool) {
    const char *wrong = NULL;
    fx_spinlock_lock(&pool->lock);
    for (const fx_region *r = pool->full; r != NULL && wrong == NULL; r = r->next) {
        wrong = region_check(r, true);
    }
    for (uint32_t c = 0; c < FX_BLOCK_CLASSES && wrong == NULL; c++) {
        size_t warm = 0;
        for (const fx_region *r = pool->roomy[c]; r != NULL && wrong == NULL; r = r->next) {
            wrong = r->class_index == c ? region_check(r, false) : "block: a region of no class";
        }
        for (const fx_block *block = pool->warm[c]; block != NULL; block = next_of(block)) {
            warm += pages_size(block->size);
        }
        wrong = wrong == NULL && warm != pool->warm_bytes[c] ? "block: warm pages do not add up"
                                                             : wrong;
    }
    fx_spinlock_unlock(&pool->lock);
    return wrong;
}

/* ---- Blocks ---- */

static fx_block *small_create(size_t size) {
    fx_block *block = fx_mem_alloc(sizeof(fx_block) + size);
    if (block != NULL) {
        block->data = (uint8_t *)(block + 1);
    }
    return block;
}

static fx_block *slot_create(fx_block_pool *pool, size_t size) {
    uint32_t class_index = class_of(size);
    size_t wanted = pages_size(size);
    size_t more = wanted;
    size_t had = 0;
    fx_spinlock_lock(&pool->lock);
    fx_block *block = warm_take_locked(pool, class_index, wanted);
    if (block != NULL) {
        had = pages_size(block->size);
    } else {
        if (pool->roomy[class_index] == NULL) {
            fx_spinlock_unlock(&pool->lock);
            fx_region *region = region_create(pool, class_index);
            if (region == NULL) {
                return NULL;
            }
            fx_spinlock_lock(&pool->lock);
            region_link(&pool->roomy[class_index], region);
        }
        block = slot_take_locked(pool, pool->roomy[class_index], &more);
    }
    spent s = spent_locked(pool, false, GIVE_BACK);
    fx_spinlock_unlock(&pool->lock);
    give_back(pool, s);
    block->data = slot_data(region_of(block), block);
    if (had > wanted) {
        fx_mem_discard(block->data + wanted, had - wanted);
    }
    if (more != had) {
        fx_slab_pool_charge(pool->charged, (int64_t)more - (int64_t)had);
    }
    return block;
}

static fx_block *large_create(fx_block_pool *pool, size_t size) {
    size_t wanted = pages_size(size);
    fx_spinlock_lock(&pool->lock);
    fx_large_block **at = &pool->warm_large;
    while (*at != NULL && pages_size((*at)->block.size) != wanted) {
        at = &(*at)->next;
    }
    fx_large_block *large = *at;
    if (large != NULL) {
        *at = large->next;
    }
    spent s = spent_locked(pool, false, GIVE_BACK);
    fx_spinlock_unlock(&pool->lock);
    give_back(pool, s);
    if (large != NULL) {
        return &large->block;
    }
    large = fx_mem_alloc(sizeof *large);
    uint8_t *data =
        large != NULL ? fx_mem_map(wanted, wanted >= HUGE_FROM ? HUGE_PAGE : PAGE) : NULL;
    if (data == NULL) {
        fx_mem_free(large);
        return NULL;
    }
    fx_mem_huge(data, wanted, wanted >= HUGE_FROM);
    *large = (fx_large_block){.block.data = data, .pool = pool};
    fx_slab_pool_charge(pool->charged, (int64_t)wanted);
    return &large->block;
}

fx_block *fx_block_create(fx_block_pool *pool, const void *data, size_t size) {
    fx_block *block = size <= FX_INLINE_VALUE_MAX ? small_create(size)
                      : size <= SLOT_MAX          ? slot_create(pool, size)
                                                  : large_create(pool, size);
    if (block != NULL) {
        block->references = 1;
        block->size = size;
        if (data != NULL) {
            fx_copy(block->data, data, size);
        }
    }
    return block;
}

void fx_block_acquire(fx_block *block) {
    fx_add_relaxed(&block->references, (uint64_t)1);
}

static void slot_release(fx_block *block) {
    const fx_region *region = region_of(block);
    fx_block_pool *pool = region->pool;
    fx_spinlock_lock(&pool->lock);
    push(&pool->warm[region->class_index], block);
    pool->warm_bytes[region->class_index] += pages_size(block->size);
    fx_spinlock_unlock(&pool->lock);
}

static void large_release(fx_large_block *large) {
    fx_block_pool *pool = large->pool;
    fx_spinlock_lock(&pool->lock);
    large->next = pool->warm_large;
    pool->warm_large = large;
    fx_spinlock_unlock(&pool->lock);
}

void fx_block_drop(fx_block *block) {
    /* acq_rel: whoever frees has seen every other owner's last use. */
    if (fx_sub_acq_rel(&block->references, (uint64_t)1) != 1) {
        return;
    }
    if (block->size <= FX_INLINE_VALUE_MAX) {
        fx_mem_free(block);
    } else if (block->size <= SLOT_MAX) {
        slot_release(block);
    } else {
        large_release((fx_large_block *)(void *)block);
    }
}

size_t fx_block_footprint(size_t size) {
    return size <= FX_INLINE_VALUE_MAX ? 0 : pages_size(size);
}
