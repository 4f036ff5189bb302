/* stats: gathered when asked for, from counters that their owners keep anyway. */
#include "base/error.h"
#include "store/store.h"

static void add_shard(fx_shard *shard, feox_statistics *s) {
    fx_spinlock_lock(&shard->lock);
    s->inserts += shard->counts.inserts;
    s->updates += shard->counts.updates;
    s->deletes += shard->counts.deletes;
    s->expirations += shard->counts.expirations;
    s->evictions += shard->counts.evictions;
    s->window_bytes += fx_wbuf_waiting(&shard->wbuf);
    fx_spinlock_unlock(&shard->lock);
}

feox_status feox_stats(feox_store *store, feox_statistics *stats) {
    if (stats == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK) {
        return status;
    }
    feox_statistics s;
    feox_statistics_init(&s);
    s.keys = fx_engine_count(&store->engine);
    s.memory_used = fx_engine_memory(&store->engine);
    s.memory_limit = store->engine.memory_limit;
    s.corrupt_records = fx_load_relaxed(&store->engine.corrupt_reads);
    for (uint32_t i = 0; i < store->engine.shard_count; i++) {
        add_shard(&store->engine.shards[i], &s);
    }
    if (store->engine.flusher != NULL) {
        fx_flusher_stats(store->engine.flusher, fx_engine_now(&store->engine), &s);
    }
    fx_struct_write(stats, &s, sizeof s);
    return FEOX_OK;
}
