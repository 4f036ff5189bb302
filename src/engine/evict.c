/* evict: a few buckets at a time, so that no writer waits long for its shard. A dropped value's
 * slot is free again when the order has let go of the old record: so the shard is merged, too.
 */
#include "engine/evict.h"

#include "engine/commit.h"
#include "engine/order.h"

/* To keep what was read: a reader's time is worth more. Where next to no value fits, looking for
 * one to drop would take longer than the device does; the hand goes on with the next read. */
#define STEPS_FOR_READ 4u
#define EVICT_FOR_READ 16u

/* Goes over some buckets of one shard; how many values were dropped. */
static uint32_t evict_some(fx_shard *shard) {
    fx_record *records[FX_CLOCK_MAX];
    uint32_t dropped = 0;
    fx_spinlock_lock(&shard->lock);
    uint32_t count = fx_table_clock_locked(&shard->table, records);
    for (uint32_t i = 0; i < count; i++) {
        dropped += fx_commit_evict_locked(shard, records[i]);
    }
    bool merge = shard->engine->ordered && shard->pending_count > FX_PENDING_MAX / 2;
    fx_spinlock_unlock(&shard->lock);
    if (merge) {
        (void)fx_order_merge_shard(shard); /* without memory it stays pending */
    }
    return dropped;
}

/* Frees what was dropped, as far as no reader looks at it. */
static void settle(fx_shard *shard) {
    if (shard->engine->ordered) {
        (void)fx_order_merge_shard(shard);
    }
    uint64_t safe = fx_epoch_safe(&shard->engine->epoch);
    fx_spinlock_lock(&shard->lock);
    fx_limbo_reclaim(&shard->limbo, &shard->slab, true, safe, SIZE_MAX);
    fx_slab_trim(&shard->slab);
    fx_spinlock_unlock(&shard->lock);
    fx_block_pool_trim(&shard->engine->blocks, false);
}

/* Steps that take the hand around a shard twice: once for the CLOCK bits, once to drop. */
static uint64_t two_rounds(const fx_shard *shard) {
    /* A step is eight buckets, of more than four keys each in a table of some size. */
    return 64 + fx_load_relaxed(&shard->table.count) / 16;
}

uint32_t fx_evict_shard(fx_shard *shard, uint32_t count) {
    uint64_t fruitless = two_rounds(shard);
    uint32_t dropped = 0;
    while (dropped < count && fruitless > 0) {
        uint32_t now = evict_some(shard);
        dropped += now;
        fruitless = now > 0 ? two_rounds(shard) : fruitless - 1;
    }
    settle(shard);
    return dropped;
}

uint32_t fx_evict_for_read(fx_engine *engine, fx_shard *shard) {
    uint32_t dropped = 0;
    if (shard == NULL) {
        uint64_t turn = fx_add_relaxed(&engine->evict_shard, (uint64_t)1);
        shard = &engine->shards[turn & (engine->shard_count - 1)];
    }
    for (unsigned i = 0; i < STEPS_FOR_READ && dropped < EVICT_FOR_READ; i++) {
        dropped += evict_some(shard);
    }
    if (dropped > 0) {
        settle(shard);
    }
    return dropped;
}

uint32_t fx_evict_any(fx_engine *engine, uint32_t count) {
    uint32_t dropped = 0;
    for (uint32_t i = 0; i < engine->shard_count && dropped < count; i++) {
        uint64_t turn = fx_add_relaxed(&engine->evict_shard, (uint64_t)1);
        dropped += fx_evict_shard(&engine->shards[turn & (engine->shard_count - 1)],
                                  count - dropped < 16 ? count - dropped : 16);
    }
    return dropped;
}
