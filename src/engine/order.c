/* order: why deferred. Finding a key's place in the skip list costs several cache misses; a batch
 * sorted by key shares them. Bounded: a full pending list makes its writer merge.
 *
 * O1 the changes of one key are merged in commit order: they are all on one shard's list, in order,
 *    and whoever drains a list applies it before another may (merge lock).
 * O2 a record on the list or in the skip list is not freed: what the merge unlinks goes to limbo
 *    with a stamp taken after it was unlinked, and is freed when no pinned reader can see it.
 * O3 changes taken off a list count as pending until they are in the skip list: merging_count is
 *    set before pending_count is cleared (release) and cleared (release) after the apply; a scan
 *    reads pending_count, then merging_count (both acquire).
 * O4 an order that recovery left to be made is made before anything is merged into it: until then
 *    no record that it is made of is freed (O2). `unordered` is cleared (release) after it is made.
 */
#include "engine/order.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "index/record_sort.h"

void fx_order_push_locked(fx_shard *shard, fx_record *record, bool drop) {
    FX_ASSERT(shard->pending_count < FX_PENDING_MAX);
    shard->pending[shard->pending_count] = (uintptr_t)record | (drop ? 1u : 0u);
    fx_store_relaxed(&shard->pending_count, shard->pending_count + 1);
    uint32_t key_len = fx_record_key_len(record);
    if (key_len > shard->pending_key_max) {
        shard->pending_key_max = key_len;
    }
}

/* Takes the first `count` changes off the list. */
static void drain_locked(fx_shard *shard, uint32_t count) {
    fx_skiplist_op *ops = shard->engine->merge_ops;
    for (uint32_t i = 0; i < count; i++) {
        ops[i].record = (fx_record *)(shard->pending[i] & ~(uintptr_t)1);
        ops[i].drop = (shard->pending[i] & 1) != 0;
    }
    uint32_t rest = shard->pending_count - count;
    memmove(shard->pending, shard->pending + count, rest * sizeof *shard->pending);
    if (rest == 0) {
        shard->pending_key_max = 0;
    }
    fx_store_relaxed(&shard->merging_count, count);
    fx_store_release(&shard->pending_count, rest); /* O3 */
}

void fx_order_defer(fx_engine *engine, fx_record **records, size_t count) {
    engine->unordered_count = count;
    fx_slab_pool_charge(&engine->pool, (int64_t)(count * sizeof(fx_record *)));
    fx_store_release(&engine->unordered, records);
}

/* O4. */
static feox_status build_locked(fx_engine *engine) {
    fx_record **records = engine->unordered;
    size_t count = engine->unordered_count;
    if (FX_LIKELY(records == NULL)) {
        return FEOX_OK;
    }
    if (!fx_record_sort(records, count) || !fx_skiplist_build(engine->order, records, count)) {
        return FEOX_ERR_MEMORY;
    }
    fx_store_release(&engine->unordered, (fx_record **)NULL);
    fx_slab_pool_charge(&engine->pool, -(int64_t)(count * sizeof(fx_record *)));
    fx_mem_free(records);
    return FEOX_OK;
}

static feox_status merge_shard_locked(fx_shard *shard) {
    fx_engine *engine = shard->engine;
    fx_spinlock_lock(&shard->lock);
    uint32_t count = shard->pending_count;
    uint32_t key_max = shard->pending_key_max;
    fx_spinlock_unlock(&shard->lock);
    if (!fx_skiplist_reserve(engine->order, count, key_max)) {
        return FEOX_ERR_MEMORY;
    }
    fx_spinlock_lock(&shard->lock);
    drain_locked(shard, count); /* at least as many are there: only we take */
    fx_spinlock_unlock(&shard->lock);

    size_t unlinked =
        fx_skiplist_apply(engine->order, engine->merge_ops, count, engine->merge_unlinked);
    uint64_t stamp = fx_epoch_stamp(&engine->epoch);
    uint64_t safe = fx_epoch_safe(&engine->epoch);
    fx_spinlock_lock(&shard->lock);
    for (size_t i = 0; i < unlinked; i++) {
        fx_limbo_add_record(&shard->limbo, engine->merge_unlinked[i], stamp);
    }
    fx_store_release(&shard->merging_count, 0u); /* O3 */
    fx_limbo_reclaim(&shard->limbo, &shard->slab, engine->persistent, safe, 2 * FX_PENDING_MAX);
    fx_spinlock_unlock(&shard->lock);
    return FEOX_OK;
}

feox_status fx_order_merge_shard(fx_shard *shard) {
    fx_mutex_lock(&shard->engine->merge_lock);
    feox_status status = build_locked(shard->engine);
    status = status == FEOX_OK ? merge_shard_locked(shard) : status;
    fx_mutex_unlock(&shard->engine->merge_lock);
    return status;
}

feox_status fx_order_merge_locked(fx_engine *engine) {
    feox_status status = build_locked(engine);
    for (uint32_t i = 0; i < engine->shard_count && status == FEOX_OK; i++) {
        if (fx_load_relaxed(&engine->shards[i].pending_count) > 0) {
            status = merge_shard_locked(&engine->shards[i]);
        }
    }
    return status;
}

void fx_order_merge_long(fx_engine *engine) {
    if (fx_load_acquire(&engine->unordered) != NULL) {
        (void)fx_order_merge(engine);
    }
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        if (fx_load_relaxed(&engine->shards[i].pending_count) >= FX_PENDING_LONG / 2) {
            (void)fx_order_merge_shard(&engine->shards[i]);
        }
    }
}

feox_status fx_order_merge(fx_engine *engine) {
    fx_mutex_lock(&engine->merge_lock);
    feox_status status = fx_order_merge_locked(engine);
    fx_mutex_unlock(&engine->merge_lock);
    return status;
}

bool fx_order_pending(const fx_engine *engine) {
    if (fx_load_acquire(&engine->unordered) != NULL) {
        return true;
    }
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        const fx_shard *shard = &engine->shards[i];
        if (fx_load_acquire(&shard->pending_count) > 0 ||
            fx_load_acquire(&shard->merging_count) > 0) {
            return true;
        }
    }
    return false;
}
