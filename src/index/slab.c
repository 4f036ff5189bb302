/* slab: size classes are every 8 bytes to 256 and eight per doubling beyond (waste below 12.5 %).
 *
 * S1 the address range of a span keeps its slot size and its shard until the store closes.
 * S2 live + free slots + never used slots = capacity; a span is on `partial` iff live < capacity.
 * S3 the link of a free slot never lies where a racing reader looks for state or meta.
 * S4 pool->used counts the pages of a span up to its highest slot ever used since it was last
 *    empty.
 */
#include "index/slab.h"

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bytes.h"
#include "base/mem.h"

#define CHUNK_SIZE ((size_t)2 << 20)
#define UNIT_SIZE ((size_t)64 << 10)
#define UNITS 32u
#define SMALL_SLOT_MAX 8192u
#define LARGE_UNITS 8u
#define PAGE ((size_t)4096)
/* From this many chunks on the store is big enough for huge pages to pay. */
#define HUGE_FROM 8u

struct fx_span {
    fx_slab *slab;
    fx_span *next, *previous; /* partial list */
    fx_span *next_in_class;
    uint64_t free; /* first free slot, 0: none */
    uint32_t slot_size, capacity;
    uint32_t live, bumped; /* slots in use; slots ever handed out since it was last empty */
};

struct fx_chunk {
    fx_chunk *next;
    fx_span spans[UNITS]; /* of the span that starts at this unit; unit 0 is the header */
    uint8_t first_unit[UNITS];
};

_Static_assert(sizeof(fx_chunk) <= PAGE, "the chunk header fits a page");

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
    *pool = (fx_slab_pool){.units_used = UNITS};
}

void fx_slab_pool_deinit(fx_slab_pool *pool) {
    while (pool->chunks != NULL) {
        fx_chunk *chunk = pool->chunks;
        pool->chunks = chunk->next;
        fx_mem_unmap(chunk, CHUNK_SIZE);
    }
}

void fx_slab_pool_charge(fx_slab_pool *pool, int64_t bytes) {
    fx_add_relaxed(&pool->used, (uint64_t)bytes);
}

uint64_t fx_slab_pool_used(const fx_slab_pool *pool) {
    return fx_load_relaxed(&pool->used);
}

void fx_slab_init(fx_slab *slab, fx_slab_pool *pool, void *owner, uint32_t link_offset) {
    *slab = (fx_slab){.pool = pool, .owner = owner, .link_offset = link_offset};
}

static fx_chunk *chunk_of(const void *slot) {
    return (fx_chunk *)((uintptr_t)slot & ~(uintptr_t)(CHUNK_SIZE - 1));
}

static fx_span *span_of(const void *slot) {
    fx_chunk *chunk = chunk_of(slot);
    size_t unit = ((uintptr_t)slot & (CHUNK_SIZE - 1)) / UNIT_SIZE;
    return &chunk->spans[chunk->first_unit[unit]];
}

static uint8_t *span_start(const fx_span *span) {
    fx_chunk *chunk = chunk_of(span);
    return (uint8_t *)chunk + (size_t)(span - chunk->spans) * UNIT_SIZE;
}

void *fx_slab_owner(const void *slot) {
    return span_of(slot)->slab->owner;
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

/* A new span from the pool's newest chunk. */
static fx_span *span_create(fx_slab *slab, uint32_t slot_size) {
    uint32_t units = slot_size <= SMALL_SLOT_MAX ? 1u : LARGE_UNITS;
    fx_slab_pool *pool = slab->pool;
    fx_span *span = NULL;
    fx_spinlock_lock(&pool->lock);
    if (pool->units_used + units > UNITS) {
        fx_chunk *chunk = fx_mem_map(CHUNK_SIZE, CHUNK_SIZE);
        if (chunk == NULL) {
            goto done;
        }
        if (++pool->chunk_count >= HUGE_FROM) {
            fx_mem_huge(chunk, CHUNK_SIZE);
        }
        chunk->next = pool->chunks;
        pool->chunks = chunk;
        pool->units_used = 1;
        fx_slab_pool_charge(pool, (int64_t)PAGE);
    }
    fx_chunk *chunk = pool->chunks;
    uint32_t unit = pool->units_used;
    pool->units_used += units;
    for (uint32_t i = 0; i < units; i++) {
        chunk->first_unit[unit + i] = (uint8_t)unit;
    }
    span = &chunk->spans[unit];
    span->slab = slab;
    span->slot_size = slot_size;
    span->capacity = (uint32_t)(units * UNIT_SIZE / slot_size);
done:
    fx_spinlock_unlock(&pool->lock);
    return span;
}

void *fx_slab_acquire(fx_slab *slab, size_t size) {
    FX_ASSERT(size <= FX_SLAB_SLOT_MAX);
    uint32_t index = class_of(size);
    fx_slab_class *class = &slab->classes[index];
    fx_span *span = class->partial;
    if (span == NULL) {
        span = span_create(slab, (uint32_t)class_size(index));
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
        for (fx_span *s = slab->classes[c].spans; s != NULL; s = s->next_in_class) {
            if (s->live == 0 && s->bumped > 0) {
                fx_slab_pool_charge(slab->pool, -(int64_t)span_pages(s));
                fx_mem_discard(span_start(s), span_pages(s));
                s->free = 0;
                s->bumped = 0;
            }
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
