/* limbo: a ring per shard instead of one for the store, so that adding takes no further lock.
 * Stamps need not rise strictly: the first item that is not old enough stops the reclaim, and waits
 * longer than it must at worst.
 */
#include "engine/limbo.h"

#include "base/assert.h"
#include "base/mem.h"

static void item_free(fx_limbo_item item, fx_slab *slab, bool persistent) {
    if ((item.what & 1) != 0) {
        fx_block_release((fx_block *)(item.what & ~(uintptr_t)1));
    } else {
        fx_slab_release(slab, (uint8_t *)item.what - (persistent ? 8 : 0));
    }
}

void fx_limbo_deinit(fx_limbo *limbo, fx_slab *slab) {
    for (size_t i = 0; i < limbo->count; i++) {
        fx_limbo_item item = limbo->items[(limbo->first + i) & (limbo->capacity - 1)];
        if ((item.what & 1) != 0) {
            item_free(item, slab, false);
        }
    }
    fx_mem_free(limbo->items);
    *limbo = (fx_limbo){0};
}

bool fx_limbo_grow(fx_limbo *limbo, size_t count) {
    size_t capacity = limbo->capacity == 0 ? 16 : limbo->capacity * 2;
    while (capacity < limbo->count + count) {
        capacity *= 2;
    }
    fx_limbo_item *items = fx_mem_alloc(capacity * sizeof *items);
    if (items == NULL) {
        return false;
    }
    for (size_t i = 0; i < limbo->count; i++) {
        items[i] = limbo->items[(limbo->first + i) & (limbo->capacity - 1)];
    }
    fx_mem_free(limbo->items);
    limbo->items = items;
    limbo->first = 0;
    limbo->capacity = capacity;
    return true;
}

static void add(fx_limbo *limbo, uintptr_t what, uint64_t stamp) {
    FX_ASSERT(limbo->count < limbo->capacity);
    limbo->items[(limbo->first + limbo->count) & (limbo->capacity - 1)] =
        (fx_limbo_item){what, stamp};
    limbo->count++;
}

void fx_limbo_add_record(fx_limbo *limbo, fx_record *record, uint64_t stamp) {
    add(limbo, (uintptr_t)record, stamp);
}

void fx_limbo_add_block(fx_limbo *limbo, fx_block *block, uint64_t stamp) {
    add(limbo, (uintptr_t)block | 1, stamp);
}

void fx_limbo_reclaim(fx_limbo *limbo, fx_slab *slab, bool persistent, uint64_t safe,
                      size_t budget) {
    while (limbo->count > 0 && budget-- > 0) {
        fx_limbo_item item = limbo->items[limbo->first];
        if (item.stamp >= safe) {
            return;
        }
        limbo->first = (limbo->first + 1) & (limbo->capacity - 1);
        limbo->count--;
        item_free(item, slab, persistent);
    }
}

void fx_limbo_trim(fx_limbo *limbo) {
    if (limbo->count == 0 && limbo->capacity > 64) {
        fx_mem_free(limbo->items);
        *limbo = (fx_limbo){0};
    }
}
