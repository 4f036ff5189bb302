/* slab: slots for records, in sizes that never change place.
 *
 * A store has one pool of 4 MiB chunks; a chunk holds slots of one size for ever and is cut into
 * spans, each of one shard while it has a slot in use. So a late reader of a freed slot still reads
 * a slot of that size, and an empty span gives its memory back to the system and reads as zeros
 * (state 0: dead).
 *
 *   chunk  | header: 64 span descriptors (4 KiB, rest of 64 KiB unused) | span | span | ...
 *
 * fx_slab_*: the shard's lock held. fx_slab_pool_*: any thread. Acquire and release: some 10 ns.
 */
#ifndef FX_INDEX_SLAB_H
#define FX_INDEX_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

#define FX_SLAB_CLASSES 104u
#define FX_SLAB_SLOT_MAX (72u << 10)

typedef struct fx_slab fx_slab;
typedef struct fx_span fx_span;
typedef struct fx_chunk fx_chunk;

typedef struct fx_vacant_chunk fx_vacant_chunk;

typedef struct fx_slab_pool {
    fx_spinlock lock;                 /* guards all but `used`, and the headers of the chunks */
    fx_chunk *chunks;                 /* those in use */
    fx_chunk *roomy[FX_SLAB_CLASSES]; /* those of a class with room for a span */
    struct fx_arena *arenas;          /* fx_slab_pool_take cuts from the first */
    fx_chunk *fresh;                  /* addresses behind each other that no class has yet ... */
    uint32_t fresh_count;             /* ... so many chunks ... */
    bool fresh_huge;                  /* ... asked to have huge pages, or not to */
    fx_vacant_chunk *vacant;          /* empty ones: addresses that keep their class */
    size_t vacant_count, vacant_capacity;
    uint64_t used; /* atomic, relaxed: bytes really taken, everything charged to the store */
} fx_slab_pool;

typedef struct fx_slab_class {
    fx_span *partial; /* spans with a free slot, a doubly linked list */
    fx_span *spans;   /* every span of the class */
} fx_slab_class;

struct fx_slab {
    fx_slab_pool *pool;
    uint32_t link_offset; /* where in a free slot the list link may lie */
    uint32_t empty_spans; /* became empty since the last trim (some may be in use again) */
    fx_slab_class classes[FX_SLAB_CLASSES];
};

void fx_slab_pool_init(fx_slab_pool *pool);
/* Unmaps everything; no slab may be used afterwards. */
void fx_slab_pool_deinit(fx_slab_pool *pool);
/* Zeroed memory of whole pages, a small part of 2 MiB, which keeps its address until deinit: who is
 * done with it discards its contents and takes it up again. On huge pages once the store is large.
 * What it holds the caller charges. NULL: no memory. */
void *fx_slab_pool_take(fx_slab_pool *pool, size_t size);
/* Other memory of the store is charged here too, so that one number is the store's memory. */
void fx_slab_pool_charge(fx_slab_pool *pool, int64_t bytes);
uint64_t fx_slab_pool_used(const fx_slab_pool *pool);

void fx_slab_init(fx_slab *slab, fx_slab_pool *pool, uint32_t link_offset);
/* A slot of at least `size` bytes (32..FX_SLAB_SLOT_MAX), aligned to 8; NULL: no memory. Its state
 * word is that of a dead record. */
void *fx_slab_acquire(fx_slab *slab, size_t size);
/* Bytes of memory that the next acquire of this size takes from the system; 0: a slot is free. */
size_t fx_slab_growth(const fx_slab *slab, size_t size);
/* Gives back a slot of this slab. */
void fx_slab_release(fx_slab *slab, void *slot);
/* Bytes a slot for `size` really has. */
size_t fx_slab_slot_size(size_t size);
/* Gives the memory of empty spans back to the system. Not in release itself: a key that comes and
 * goes would pay for it each time. */
void fx_slab_trim(fx_slab *slab);
/* NULL: sound. */
const char *fx_slab_check(const fx_slab *slab);

#endif
