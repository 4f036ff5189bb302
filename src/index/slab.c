/* slab: size classes are every 8 bytes to 256 and eight per doubling beyond (waste below 12.5 %).
 *
 * S1 the address range of a chunk keeps its slot size until the store closes.
 * S2 live + free slots + never used slots = capacity; a span is on `partial` iff live < capacity.
 * S3 the link of a free slot never lies where a racing reader looks for state or meta.
 * S4 pool->used counts the pages of a span up to its highest slot ever used since it was last
 *    empty, and the first page of each chunk in use.
 * S5 a chunk is on its class's list of chunks with room iff it has a free unit and one in use; one
 *    without any in use is vacant: all its pages are given back, the header too, and only the
 *    pool's array knows it.
 */
#include "index/slab.h"

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bytes.h"
#include "base/mem.h"

#define CHUNK_SIZE ((size_t)4 << 20)
/* Addresses are asked for so many chunks at a time: a small store has one chunk, of which little is
 * in memory, for each of some ten classes, and each would cost four system calls. */
#define CHUNKS_MAPPED 16u
#define UNIT_SIZE ((size_t)64 << 10)
#define UNITS 64u
#define SMALL_SLOT_MAX 8192u
#define LARGE_UNITS 8u
#define PAGE ((size_t)4096)
/* From this many bytes on the store is big enough for huge pages to pay. */
#define HUGE_FROM ((uint64_t)16 << 20)

struct fx_span {
    fx_slab *slab;
    fx_span *next, *previous; /* partial list; `next` also links the free units of a chunk */
    fx_span *next_in_class;
    uint64_t free; /* first free slot, 0: none */
    uint32_t slot_size, capacity;
    uint32_t live, bumped; /* slots in use; slots ever handed out since it was last empty */
};

struct fx_chunk {
    fx_chunk *next, *previous;             /* all chunks in use */
    fx_chunk *roomy_next, *roomy_previous; /* those of the class with room */
    fx_span *free;                         /* units given back */
    uint32_t class_index;
    uint32_t used;        /* units in use */
    uint32_t fresh;       /* the first unit that was not handed out yet */
    fx_span spans[UNITS]; /* of the span that starts at this unit; unit 0 is the header */
};

_Static_assert(sizeof(fx_chunk) <= PAGE, "the chunk header fits a page");

#define ARENA_SIZE ((size_t)2 << 20)

/* Stands in the last page of its 2 MiB, so that what is cut from the front lies on whole pages. */
typedef struct fx_arena {
    struct fx_arena *next;
    size_t used; /* bytes from its start */
} fx_arena;

/* A chunk of which nothing is in memory. */
struct fx_vacant_chunk {
    fx_chunk *chunk;
    uint32_t class_index;
};

static uint32_t class_of(size_t size) {
    if (size <= 256) {
        return size <= 32 ? 0 : (uint32_t)((size - 32 + 7) / 8);
    }
    uint32_t log = 63u - (uint32_t)__builtin_clzll(size - 1);
    return 29u + (log - 8u) * 8u + (uint32_t)((size - 1 - ((size_t)1 << log)) >> (log - 3u));
}

static size_t class_size(uint32_t class_index) {
    if (class_index <= 28) {
        return 32 + 8 * (size_t)class_index;
    }
    uint32_t log = 8u + (class_index - 29u) / 8u;
    return ((size_t)1 << log) + (((size_t)(class_index - 29u) % 8u + 1u) << (log - 3u));
}

size_t fx_slab_slot_size(size_t size) {
    return class_size(class_of(size));
}

void fx_slab_pool_init(fx_slab_pool *pool) {
    *pool = (fx_slab_pool){0};
}

void fx_slab_pool_deinit(fx_slab_pool *pool) {
    /* What lies behind each other goes in one call: the newest chunk is the first of the list. */
    uint8_t *start = (uint8_t *)pool->fresh;
    size_t size = pool->fresh_count * CHUNK_SIZE;
    for (fx_chunk *chunk = pool->chunks; chunk != NULL;) {
        uint8_t *at = (uint8_t *)chunk;
        chunk = chunk->next;
        if (size > 0 && at + CHUNK_SIZE != start) {
            fx_mem_unmap(start, size);
            size = 0;
        }
        start = at;
        size += CHUNK_SIZE;
    }
    if (size > 0) {
        fx_mem_unmap(start, size);
    }
    for (size_t i = 0; i < pool->vacant_count; i++) {
        fx_mem_unmap(pool->vacant[i].chunk, CHUNK_SIZE);
    }
    fx_mem_free(pool->vacant);
    while (pool->arenas != NULL) {
        fx_arena *arena = pool->arenas;
        pool->arenas = arena->next;
        fx_mem_unmap((uint8_t *)arena + PAGE - ARENA_SIZE, ARENA_SIZE);
    }
}

static bool arena_create_locked(fx_slab_pool *pool) {
    uint8_t *start = fx_mem_map(ARENA_SIZE, ARENA_SIZE);
    if (start == NULL) {
        return false;
    }
    fx_mem_huge(start, ARENA_SIZE, fx_slab_pool_used(pool) >= HUGE_FROM);
    fx_arena *arena = (fx_arena *)(void *)(start + ARENA_SIZE - PAGE);
    *arena = (fx_arena){.next = pool->arenas};
    pool->arenas = arena;
    fx_slab_pool_charge(pool, (int64_t)PAGE);
    return true;
}

void *fx_slab_pool_take(fx_slab_pool *pool, size_t size) {
    size = (size_t)fx_round_up(size, PAGE);
    FX_ASSERT(size <= ARENA_SIZE - PAGE);
    uint8_t *memory = NULL;
    fx_spinlock_lock(&pool->lock);
    bool has_room = pool->arenas != NULL && pool->arenas->used + size <= ARENA_SIZE - PAGE;
    if (has_room || arena_create_locked(pool)) {
        memory = (uint8_t *)pool->arenas + PAGE - ARENA_SIZE + pool->arenas->used;
        pool->arenas->used += size;
    }
    fx_spinlock_unlock(&pool->lock);
    return memory;
}

void fx_slab_pool_charge(fx_slab_pool *pool, int64_t bytes) {
    fx_add_relaxed(&pool->used, (uint64_t)bytes);
}

uint64_t fx_slab_pool_used(const fx_slab_pool *pool) {
    return fx_load_relaxed(&pool->used);
}

void fx_slab_init(fx_slab *slab, fx_slab_pool *pool, uint32_t link_offset) {
    *slab = (fx_slab){.pool = pool, .link_offset = link_offset};
}

static fx_chunk *chunk_of(const void *inside) {
    return (fx_chunk *)((uintptr_t)inside & ~(uintptr_t)(CHUNK_SIZE - 1));
}

/* Units of a span. */
static uint32_t span_units(uint32_t class_index) {
    return class_size(class_index) <= SMALL_SLOT_MAX ? 1u : LARGE_UNITS;
}

static fx_span *span_of(const void *slot) {
    fx_chunk *chunk = chunk_of(slot);
    uint32_t unit = (uint32_t)(((uintptr_t)slot & (CHUNK_SIZE - 1)) / UNIT_SIZE);
    return &chunk->spans[span_units(chunk->class_index) == 1 ? unit
                                                             : unit / LARGE_UNITS * LARGE_UNITS];
}

static uint8_t *span_start(const fx_span *span) {
    fx_chunk *chunk = chunk_of(span);
    return (uint8_t *)chunk + (size_t)(span - chunk->spans) * UNIT_SIZE;
}

static size_t span_pages(const fx_span *span) {
    return fx_round_up((size_t)span->bumped * span->slot_size, PAGE);
}

static void partial_add(fx_slab_class *class, fx_span *span) {
    span->previous = NULL;
    span->next = class->partial;
    if (span->next != NULL) {
        span->next->previous = span;
    }
    class->partial = span;
}

static void partial_remove(fx_slab_class *class, fx_span *span) {
    if (span->previous != NULL) {
        span->previous->next = span->next;
    } else {
        class->partial = span->next;
    }
    if (span->next != NULL) {
        span->next->previous = span->previous;
    }
}

/* ---- Chunks: the pool's lock held ---- */

static void roomy_add_locked(fx_slab_pool *pool, fx_chunk *chunk) {
    fx_chunk **first = &pool->roomy[chunk->class_index];
    chunk->roomy_previous = NULL;
    chunk->roomy_next = *first;
    if (*first != NULL) {
        (*first)->roomy_previous = chunk;
    }
    *first = chunk;
}

static void roomy_remove_locked(fx_slab_pool *pool, fx_chunk *chunk) {
    if (chunk->roomy_previous != NULL) {
        chunk->roomy_previous->roomy_next = chunk->roomy_next;
    } else {
        pool->roomy[chunk->class_index] = chunk->roomy_next;
    }
    if (chunk->roomy_next != NULL) {
        chunk->roomy_next->roomy_previous = chunk->roomy_previous;
    }
}

/* Has it a unit for one more span? */
static bool has_room(const fx_chunk *chunk) {
    return chunk->free != NULL || chunk->fresh + span_units(chunk->class_index) <= UNITS;
}

/* Addresses that no class has had; NULL: no memory. A small store has small pages. */
static fx_chunk *chunk_map_locked(fx_slab_pool *pool) {
    bool huge = fx_slab_pool_used(pool) >= HUGE_FROM;
    if (pool->fresh_count == 0) {
        pool->fresh_count = CHUNKS_MAPPED;
        pool->fresh = fx_mem_map(CHUNKS_MAPPED * CHUNK_SIZE, CHUNK_SIZE);
        if (pool->fresh == NULL) { /* of addresses, too, there may be few */
            pool->fresh_count = 1;
            pool->fresh = fx_mem_map(CHUNK_SIZE, CHUNK_SIZE);
        }
        if (pool->fresh == NULL) {
            pool->fresh_count = 0;
            return NULL;
        }
        fx_mem_huge(pool->fresh, pool->fresh_count * CHUNK_SIZE, huge);
        pool->fresh_huge = huge;
    } else if (huge != pool->fresh_huge) {
        fx_mem_huge(pool->fresh, CHUNK_SIZE, huge);
    }
    fx_chunk *chunk = pool->fresh;
    pool->fresh_count--;
    pool->fresh = (fx_chunk *)(void *)((uint8_t *)chunk + CHUNK_SIZE);
    return chunk;
}

/* A chunk of the class that is vacant, or a new one, with a header; NULL: no memory. */
static fx_chunk *chunk_create_locked(fx_slab_pool *pool, uint32_t class_index) {
    fx_chunk *chunk = NULL;
    for (size_t i = pool->vacant_count; i-- > 0 && chunk == NULL;) {
        if (pool->vacant[i].class_index == class_index) {
            chunk = pool->vacant[i].chunk;
            pool->vacant[i] = pool->vacant[--pool->vacant_count];
            fx_mem_huge(chunk, CHUNK_SIZE, fx_slab_pool_used(pool) >= HUGE_FROM);
        }
    }
    if (chunk == NULL) {
        chunk = chunk_map_locked(pool);
        if (chunk == NULL) {
            return NULL;
        }
    }
    chunk->class_index = class_index;
    chunk->fresh = span_units(class_index);
    chunk->next = pool->chunks;
    if (chunk->next != NULL) {
        chunk->next->previous = chunk;
    }
    pool->chunks = chunk;
    roomy_add_locked(pool, chunk);
    fx_slab_pool_charge(pool, (int64_t)PAGE);
    return chunk;
}

/* Nothing of it is in use: all its pages go back. Without memory to remember it, it stays. */
static void chunk_vacate_locked(fx_slab_pool *pool, fx_chunk *chunk) {
    if (pool->vacant_count == pool->vacant_capacity) {
        size_t capacity = pool->vacant_capacity == 0 ? 16 : pool->vacant_capacity * 2;
        fx_vacant_chunk *grown = fx_mem_realloc(pool->vacant, capacity * sizeof *grown);
        if (grown == NULL) {
            return;
        }
        fx_slab_pool_charge(pool, (int64_t)((capacity - pool->vacant_capacity) * sizeof *grown));
        pool->vacant = grown;
        pool->vacant_capacity = capacity;
    }
    roomy_remove_locked(pool, chunk);
    if (chunk->previous != NULL) {
        chunk->previous->next = chunk->next;
    } else {
        pool->chunks = chunk->next;
    }
    if (chunk->next != NULL) {
        chunk->next->previous = chunk->previous;
    }
    pool->vacant[pool->vacant_count++] = (fx_vacant_chunk){chunk, chunk->class_index};
    fx_mem_discard(chunk, CHUNK_SIZE);
    fx_slab_pool_charge(pool, -(int64_t)PAGE);
}

/* ---- Spans ---- */

static fx_span *span_create(fx_slab *slab, uint32_t class_index) {
    fx_slab_pool *pool = slab->pool;
    fx_span *span = NULL;
    uint32_t units = span_units(class_index);
    fx_spinlock_lock(&pool->lock);
    fx_chunk *chunk = pool->roomy[class_index];
    if (chunk == NULL) {
        chunk = chunk_create_locked(pool, class_index);
    }
    if (chunk != NULL) {
        span = chunk->free;
        if (span != NULL) {
            chunk->free = span->next;
        } else {
            span = &chunk->spans[chunk->fresh];
            chunk->fresh += units;
        }
        chunk->used++;
        if (!has_room(chunk)) {
            roomy_remove_locked(pool, chunk);
        }
    }
    fx_spinlock_unlock(&pool->lock);
    if (span != NULL) {
        uint32_t slot_size = (uint32_t)class_size(class_index);
        *span = (fx_span){.slab = slab,
                          .slot_size = slot_size,
                          .capacity = (uint32_t)(units * UNIT_SIZE / slot_size)};
    }
    return span;
}

/* An empty span goes back to its chunk, its memory to the system. */
static void span_destroy(fx_span *span) {
    fx_slab_pool *pool = span->slab->pool;
    fx_chunk *chunk = chunk_of(span);
    fx_slab_pool_charge(pool, -(int64_t)span_pages(span));
    fx_mem_discard(span_start(span), span_pages(span));
    fx_spinlock_lock(&pool->lock);
    if (!has_room(chunk)) {
        roomy_add_locked(pool, chunk);
    }
    span->next = chunk->free;
    chunk->free = span;
    if (--chunk->used == 0) {
        chunk_vacate_locked(pool, chunk);
    }
    fx_spinlock_unlock(&pool->lock);
}

void *fx_slab_acquire(fx_slab *slab, size_t size) {
    FX_ASSERT(size <= FX_SLAB_SLOT_MAX);
    uint32_t index = class_of(size);
    fx_slab_class *class = &slab->classes[index];
    fx_span *span = class->partial;
    if (span == NULL) {
        span = span_create(slab, index);
        if (span == NULL) {
            return NULL;
        }
        span->next_in_class = class->spans;
        class->spans = span;
        partial_add(class, span);
    }
    uint8_t *slot;
    if (span->free != 0) {
        slot = (uint8_t *)(uintptr_t)span->free;
        span->free = fx_load_relaxed((uint64_t *)(void *)(slot + slab->link_offset));
    } else {
        size_t before = span_pages(span);
        slot = span_start(span) + (size_t)span->bumped * span->slot_size;
        span->bumped++;
        size_t after = span_pages(span);
        if (after != before) {
            fx_slab_pool_charge(slab->pool, (int64_t)(after - before));
        }
    }
    if (++span->live == span->capacity) {
        partial_remove(class, span);
    }
    return slot;
}

size_t fx_slab_growth(const fx_slab *slab, size_t size) {
    uint32_t index = class_of(size);
    const fx_span *span = slab->classes[index].partial;
    if (span == NULL) {
        return fx_round_up(class_size(index), PAGE);
    }
    return span->free != 0
               ? 0
               : fx_round_up((size_t)(span->bumped + 1) * span->slot_size, PAGE) - span_pages(span);
}

void fx_slab_release(fx_slab *slab, void *slot) {
    fx_span *span = span_of(slot);
    FX_ASSERT(span->slab == slab && span->live > 0);
    fx_slab_class *class = &slab->classes[class_of(span->slot_size)];
    if (span->live-- == span->capacity) {
        partial_add(class, span);
    }
    fx_store_release((uint64_t *)(void *)((uint8_t *)slot + slab->link_offset), span->free);
    span->free = (uint64_t)(uintptr_t)slot;
    if (span->live == 0) {
        slab->empty_spans++;
    }
}

void fx_slab_trim(fx_slab *slab) {
    if (slab->empty_spans == 0) {
        return;
    }
    slab->empty_spans = 0;
    for (uint32_t c = 0; c < FX_SLAB_CLASSES; c++) {
        fx_slab_class *class = &slab->classes[c];
        for (fx_span **at = &class->spans; *at != NULL;) {
            fx_span *span = *at;
            if (span->live > 0) {
                at = &span->next_in_class;
                continue;
            }
            *at = span->next_in_class;
            partial_remove(class, span);
            span_destroy(span);
        }
    }
}

const char *fx_slab_check(const fx_slab *slab) {
    for (uint32_t c = 0; c < FX_SLAB_CLASSES; c++) {
        for (const fx_span *s = slab->classes[c].spans; s != NULL; s = s->next_in_class) {
            uint32_t free = 0;
            uint64_t at = s->free;
            while (at != 0 && free <= s->capacity) {
                free++;
                at = fx_load_relaxed((uint64_t *)(uintptr_t)(at + slab->link_offset));
            }
            if (s->live + free != s->bumped || s->bumped > s->capacity) {
                return "slab: free slots and live slots do not add up";
            }
            bool listed = s->previous != NULL || slab->classes[c].partial == s;
            if (listed != (s->live < s->capacity)) {
                return "slab: a span with room is not on the list, or a full one is";
            }
        }
    }
    return NULL;
}
