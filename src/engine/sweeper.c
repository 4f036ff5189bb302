/* sweeper: in small steps, so that a writer never waits for more than a few deletions. */
#include "engine/sweeper.h"

#include "engine/commit.h"
#include "engine/deadline.h"
#include "engine/order.h"

#define SWEEP_BATCH 16u

/* Up to SWEEP_BATCH keys; FEOX_OK: there may be more, FEOX_NOT_FOUND: no more. The length of the
 * key that did not go through. */
static feox_status sweep_some(fx_shard *shard, uint64_t now_ns, size_t *key_len_out) {
    feox_status status = FEOX_OK;
    *key_len_out = 0;
    fx_spinlock_lock(&shard->lock);
    for (uint32_t i = 0; i < SWEEP_BATCH && status == FEOX_OK; i++) {
        fx_record *record = fx_deadline_pop_expired(shard, now_ns);
        if (record == NULL) {
            status = FEOX_NOT_FOUND;
            break;
        }
        uint64_t version = fx_record_version(record);
        uint64_t expiry = fx_record_expiry(record);
        uint64_t hash =
            fx_engine_hash(shard->engine, fx_record_key(record), fx_record_key_len(record));
        fx_committed ignored;
        status = fx_commit_delete_locked(shard, record, hash, 0, true, now_ns, &ignored);
        if (status != FEOX_OK) {
            *key_len_out = fx_record_key_len(record);
            fx_deadline_push(shard, record, version, expiry); /* room: it was just popped */
        }
    }
    fx_spinlock_unlock(&shard->lock);
    return status;
}

void fx_sweeper_step(fx_engine *engine, uint64_t now_ns) {
    for (uint32_t i = 0; i < engine->shard_count && !engine->read_only; i++) {
        fx_shard *shard = &engine->shards[i];
        feox_status status = FEOX_OK;
        while (status == FEOX_OK) {
            size_t key_len;
            status = sweep_some(shard, now_ns, &key_len);
            if (status == FEOX_END) {
                status = fx_commit_relieve(shard, key_len, 0, true);
            }
        }
        /* FEOX_NOT_FOUND: done. A failure: the keys stay, expired, for the next pass. */
    }
}

void fx_sweeper_finish(fx_engine *engine, uint64_t now_ns) {
    for (uint32_t i = 0; i < engine->shard_count && !engine->read_only; i++) {
        size_t key_len;
        if (sweep_some(&engine->shards[i], now_ns, &key_len) == FEOX_END &&
            fx_commit_relieve(&engine->shards[i], key_len, 0, true) == FEOX_OK) {
            (void)sweep_some(&engine->shards[i], now_ns, &key_len);
        }
    }
}

uint64_t fx_sweeper_tidy(fx_engine *engine, uint64_t *waiting_out) {
    uint64_t freed = 0;
    *waiting_out = 0;
    if (engine->ordered) {
        (void)fx_order_merge(engine); /* without memory it stays pending */
        fx_mutex_lock(&engine->merge_lock);
        fx_skiplist_trim(engine->order);
        fx_mutex_unlock(&engine->merge_lock);
    }
    uint64_t safe = fx_epoch_safe(&engine->epoch);
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        fx_shard *shard = &engine->shards[i];
        fx_spinlock_lock(&shard->lock);
        size_t before = shard->limbo.count;
        fx_limbo_reclaim(&shard->limbo, &shard->slab, engine->persistent, safe, 4096);
        freed += before - shard->limbo.count;
        *waiting_out += shard->limbo.count;
        if (shard->pending_count == 0 && shard->merging_count == 0 && shard->hidden_count == 0) {
            fx_limbo_trim(&shard->limbo); /* nobody counts on room that was reserved */
        }
        fx_wbuf_trim(&shard->wbuf);
        fx_slab_trim(&shard->slab);
        fx_table_trim_locked(&shard->table);
        fx_spinlock_unlock(&shard->lock);
    }
    fx_block_pool_trim(&engine->blocks, true);
    return freed;
}
