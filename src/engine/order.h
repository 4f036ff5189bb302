/* order: keeps the skip list up with the commits. Commits leave their changes on their shard's
 * pending list; merging moves them over. A scan merges first, so it sees every insert that returned
 * before.
 */
#ifndef FX_ENGINE_ORDER_H
#define FX_ENGINE_ORDER_H

#include "engine/engine.h"

/* Leaves a change; the shard's lock is held and there is room (pending_count < FX_PENDING_MAX). */
void fx_order_push_locked(fx_shard *shard, fx_record *record, bool drop);
/* Merges everything that was pending when the call began. Takes the merge lock and, one after the
 * other, the shards'. FEOX_ERR_MEMORY: some of it still waits. */
feox_status fx_order_merge(fx_engine *engine);
/* The same, the merge lock held. */
feox_status fx_order_merge_locked(fx_engine *engine);
/* Merges one shard. */
feox_status fx_order_merge_shard(fx_shard *shard);
/* From this many changes on the background merges a list, so that its writers need not. */
#define FX_PENDING_LONG (FX_PENDING_MAX / 2)
/* A hint, without a lock. */
static inline bool fx_order_is_long(const fx_shard *shard) {
    return fx_load_relaxed(&shard->pending_count) >= FX_PENDING_LONG;
}
/* Merges every list that is long, or half of that, and makes the order if that is still to be done.
 * Without memory it stays pending. */
void fx_order_merge_long(fx_engine *engine);
/* The empty order is to be made of these `count` records, each of another key, and all changes that
 * follow: by the background, or by who needs it first. Recovery; takes the array. */
void fx_order_defer(fx_engine *engine, fx_record **records, size_t count);
/* Anything pending? A hint, without a lock. */
bool fx_order_pending(const fx_engine *engine);

#endif
