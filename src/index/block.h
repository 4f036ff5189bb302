/* block: a value outside its record: immutable, counted, on pages of its own.
 *
 * A store has one pool. A value of more than FX_INLINE_VALUE_MAX bytes costs the pages that it
 * fills, is charged with them as long as it exists, and gives them back one by one: so what the
 * store counts is what the process takes, whatever sizes come and go. Its header lies elsewhere: a
 * value of 4,096 bytes is one page. A smaller value is in a block only on its way out, to a view or
 * from the disk; that is plain memory, of which no pool knows.
 *
 * Any thread. Create and release: some 30 ns plus the page faults; neither of them waits. The lock
 * of the pool is a leaf, and release makes no system call: it may be called under a shard's lock.
 */
#ifndef FX_INDEX_BLOCK_H
#define FX_INDEX_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "index/slab.h"

/* Slots of 1, 2, 4 ... 256 pages. */
#define FX_BLOCK_CLASSES 9u

typedef struct fx_block {
    uint64_t references;
    uint64_t size;
    uint8_t *data;
} fx_block;

typedef struct fx_block_pool {
    fx_spinlock lock; /* guards all but the constants, and the heads of the regions */
    fx_slab_pool *charged;
    size_t stock;                                 /* bytes that a class may keep warm */
    struct fx_region *full;                       /* regions without a free slot */
    struct fx_region *roomy[FX_BLOCK_CLASSES];    /* those with one */
    fx_block *warm[FX_BLOCK_CLASSES];             /* released, their pages still there */
    size_t warm_bytes[FX_BLOCK_CLASSES];          /* of these pages */
    struct fx_large_block *warm_large;            /* the same for values beyond the classes */
} fx_block_pool;

/* What its blocks take is charged to `charged`; `stock`: bytes of released pages that each class
 * of small slots may keep for the next block. */
void fx_block_pool_init(fx_block_pool *pool, fx_slab_pool *charged, size_t stock);
/* Unmaps everything: the blocks are gone. */
void fx_block_pool_deinit(fx_block_pool *pool);
/* Gives the pages of released blocks back to the system, but for the stock; or `all` of them. Takes
 * a microsecond for each block. No lock held. */
void fx_block_pool_trim(fx_block_pool *pool, bool all);
/* NULL: sound. */
const char *fx_block_pool_check(fx_block_pool *pool);

/* NULL if there is no memory. One reference; `data` may be NULL to leave the bytes unset. No lock
 * held. */
fx_block *fx_block_create(fx_block_pool *pool, const void *data, size_t size);
void fx_block_acquire(fx_block *block);
/* Frees with the last reference. NULL is legal. */
void fx_block_drop(fx_block *block);
static inline void fx_block_release(fx_block *block) {
    if (block != NULL) {
        fx_block_drop(block);
    }
}
/* Bytes that a block of this size is charged with. */
size_t fx_block_footprint(size_t size);

#endif
