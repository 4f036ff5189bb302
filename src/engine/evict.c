/* evict: shards take turns, eight buckets each, so that no writer waits long for its shard. */
#include "engine/evict.h"

#include "engine/commit.h"
#include "engine/order.h"

/* Goes over some buckets of one shard; how many values were dropped. */
static uint32_t evict_some(fx_shard *shard) {
    fx_record *records[FX_CLOCK_MAX];
    uint32_t dropped = 0;
    fx_spinlock_lock(&shard->lock);
    uint32_t count = fx_table_clock_locked(&shard->table, records);
    for (uint32_t i = 0; i < count; i++) {
        dropped += fx_commit_evict_locked(shard, records[i]);
    }
    fx_limbo_reclaim(&shard->limbo, &shard->slab, true, fx_epoch_safe(&shard->engine->epoch),
                     2 * FX_CLOCK_MAX);
    bool merge = shard->engine->ordered && shard->pending_count > FX_PENDING_MAX / 2;
    fx_spinlock_unlock(&shard->lock);
    if (merge) {
        (void)fx_order_merge_shard(shard); /* without memory it stays pending */
    }
    return dropped;
}

bool fx_evict_step(fx_engine *engine, uint64_t slack) {
    /* A hand that went around twice without dropping anything (once for the bits) will not. */
    uint64_t keys = fx_load_relaxed(&engine->count);
    uint64_t fruitless_max = 2 * (keys / 8 + 64 * engine->shard_count);
    uint64_t fruitless = 0;
    while (fx_engine_over_limit(engine, slack) && fruitless < fruitless_max) {
        uint64_t turn = fx_add_relaxed(&engine->evict_shard, (uint64_t)1);
        uint32_t dropped = evict_some(&engine->shards[turn & (engine->shard_count - 1)]);
        fruitless = dropped > 0 ? 0 : fruitless + 1;
    }
    return !fx_engine_over_limit(engine, 0);
}
