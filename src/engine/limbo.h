/* limbo: what was unlinked and may still be looked at, first in first out, per shard. The shard's
 * lock is held for every call.
 */
#ifndef FX_ENGINE_LIMBO_H
#define FX_ENGINE_LIMBO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/record.h"
#include "index/slab.h"

typedef struct fx_limbo_item {
    uintptr_t what; /* a record, or a block with bit 0 set */
    uint64_t stamp;
} fx_limbo_item;

typedef struct fx_limbo {
    fx_limbo_item *items; /* ring */
    size_t first, count, capacity; /* capacity: 0 or a power of two */
} fx_limbo;

void fx_limbo_deinit(fx_limbo *limbo, fx_slab *slab);
bool fx_limbo_grow(fx_limbo *limbo, size_t count);
/* Makes sure that `count` adds cannot fail. False: no memory. */
static inline bool fx_limbo_reserve(fx_limbo *limbo, size_t count) {
    return limbo->count + count <= limbo->capacity || fx_limbo_grow(limbo, count);
}
void fx_limbo_add_record(fx_limbo *limbo, fx_record *record, uint64_t stamp);
void fx_limbo_add_block(fx_limbo *limbo, fx_block *block, uint64_t stamp);
/* Frees what is older than `safe` (fx_epoch_safe), at most `budget` items. */
void fx_limbo_reclaim(fx_limbo *limbo, fx_slab *slab, bool persistent, uint64_t safe,
                      size_t budget);
/* An empty ring that grew large gives its memory back. */
void fx_limbo_trim(fx_limbo *limbo);

#endif
