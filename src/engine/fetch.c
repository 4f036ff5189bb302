/* fetch: small values are copied under the record's seqlock and need no pin. For a block the read
 * is repeated under a pin: a block that is reachable while pinned has not been released by its
 * record yet, so taking a reference is safe.
 */
#include "engine/fetch.h"

#include "engine/commit.h"
#include "engine/evict.h"
#include "engine/flusher.h"

static bool has_expired(const fx_engine *engine, const fx_record_view *view) {
    return FX_UNLIKELY(view->expiry_ns != 0) && view->expiry_ns <= fx_engine_now(engine);
}

/* What was read has expired. A write that found the key alive may be about to show, and then the
 * key never died: so whoever wants to say that it did asks under the lock, where such a write is
 * done or hidden. Writers take the time under the lock too. True: it is gone for everybody; false:
 * look again. */
static bool is_gone(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                    uint64_t version) {
    fx_shard *shard = fx_engine_shard(engine, hash);
    fx_spinlock_lock(&shard->lock);
    const fx_record *record = fx_table_find_locked(&shard->table, hash, key, key_len);
    bool same = record != NULL && fx_record_version(record) == version;
    const fx_hidden *hidden = fx_commit_hidden_locked(shard, hash, key, key_len);
    uint64_t group = same && hidden != NULL ? hidden->group : 0;
    fx_spinlock_unlock(&shard->lock);
    if (!same) {
        return record == NULL;
    }
    return group == 0 || fx_flusher_sync(engine->flusher, group, fx_engine_now(engine)) != FEOX_OK;
}

/* The record's block with a reference, or NULL: it is on disk, or not in a block (any more). */
static fx_block *acquire_block(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                               fx_record_view *view_out, bool *found_out) {
    fx_pin pin = fx_epoch_pin(&engine->epoch);
    *found_out =
        fx_table_read(&engine->shards[hash >> engine->shard_shift].table, hash, engine->persistent,
                      engine->mark_reads, key, key_len, NULL, 0, view_out);
    fx_block *block = *found_out && view_out->in_block ? view_out->block : NULL;
    if (block != NULL) {
        fx_block_acquire(block);
    }
    fx_epoch_unpin(pin);
    return block;
}

/* False: no room. */
static bool restore_once(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                         uint64_t version, fx_block *block) {
    fx_shard *shard = fx_engine_shard(engine, hash);
    fx_spinlock_lock(&shard->lock);
    fx_record *record = fx_table_find_locked(&shard->table, hash, key, key_len);
    bool ok = record == NULL || fx_record_version(record) != version ||
              fx_commit_restore_locked(shard, record, block);
    fx_spinlock_unlock(&shard->lock);
    return ok;
}

/* Keeps what was read from disk, if there is room for it and the record is still the same. If not,
 * it has been read all the same. */
static void restore(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                    uint64_t version, fx_block *block) {
    if (engine->memory_limit == FX_MEMORY_LIMIT_LEAN) {
        return;
    }
    if (!restore_once(engine, hash, key, key_len, version, block)) {
        /* A slot of a small value's size is most likely in its shard. */
        bool small = block->size <= FX_INLINE_VALUE_MAX;
        if (fx_evict_for_read(engine, small ? fx_engine_shard(engine, hash) : NULL) > 0) {
            (void)restore_once(engine, hash, key, key_len, version, block);
        }
    }
}

/* A value that is on disk only. FEOX_MISMATCH: look again. */
static feox_status fetch_from_disk(fx_engine *engine, const fx_wanted *wanted, fx_fetched *out) {
    const fx_record_view *view = &wanted->found;
    fx_block *block = NULL;
    feox_status status = fx_reader_read(engine->flusher, wanted, &block);
    if (status == FEOX_OK) {
        restore(engine, wanted->hash, wanted->key, wanted->key_len, view->version, block);
        *out = *view;
        out->block = block;
        return FEOX_OK;
    }
    /* An error of the device, too, may be that of a place which was cut off the file meanwhile. */
    if (status != FEOX_ERR_CORRUPT && status != FEOX_MISMATCH && status != FEOX_ERR_IO) {
        return status;
    }
    /* Moved meanwhile, or really damaged? */
    fx_record_view again;
    bool found =
        fx_table_read(&fx_engine_shard(engine, wanted->hash)->table, wanted->hash,
                      engine->persistent, false, wanted->key, wanted->key_len, NULL, 0, &again);
    if (found && again.version == view->version && again.location == view->location &&
        again.in_block && again.block == NULL) {
        if (status == FEOX_ERR_IO) {
            return status;
        }
        fx_add_relaxed(&engine->corrupt_reads, (uint64_t)1);
        return FEOX_ERR_CORRUPT;
    }
    return FEOX_MISMATCH;
}

void fx_fetch_together(fx_engine *engine, fx_wanted *wanted, size_t count) {
    fx_reader_read_many(engine->flusher, wanted, count);
    for (size_t i = 0; i < count; i++) {
        const fx_wanted *w = &wanted[i];
        if (w->found.block != NULL) {
            restore(engine, w->hash, w->key, w->key_len, w->found.version, w->found.block);
        }
    }
}

/* The rest of fx_fetch_memory: the value is in a block, or was a moment ago. FEOX_MISMATCH: look
 * again. */
static feox_status fetch_block(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                               fx_fetched *out) {
    bool found = false;
    fx_block *block = acquire_block(engine, hash, key, key_len, out, &found);
    if (!found) {
        return FEOX_NOT_FOUND;
    }
    if (has_expired(engine, out)) {
        fx_block_release(block);
        return FEOX_MISMATCH; /* to say so there */
    }
    if (block != NULL) {
        return FEOX_OK;
    }
    /* Without a clean place it is just being changed. */
    return out->in_block && fx_location_clean(out->location) ? FEOX_PENDING : FEOX_MISMATCH;
}

feox_status fx_fetch_memory(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                            void *buffer, size_t capacity, fx_fetched *out) {
    for (;;) {
        if (!fx_table_read(&fx_engine_shard(engine, hash)->table, hash, engine->persistent,
                           engine->mark_reads, key, key_len, buffer, capacity, out)) {
            return FEOX_NOT_FOUND;
        }
        if (FX_UNLIKELY(has_expired(engine, out))) {
            if (is_gone(engine, hash, key, key_len, out->version)) {
                return FEOX_NOT_FOUND;
            }
            continue;
        }
        if (FX_LIKELY(!out->in_block)) {
            return FEOX_OK;
        }
        feox_status status = fetch_block(engine, hash, key, key_len, out);
        if (status != FEOX_MISMATCH) {
            return status;
        }
    }
}

feox_status fx_fetch(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                     void *buffer, size_t capacity, fx_fetched *out) {
    for (;;) {
        feox_status status = fx_fetch_memory(engine, hash, key, key_len, buffer, capacity, out);
        if (FX_UNLIKELY(status == FEOX_PENDING)) {
            const fx_wanted wanted = {.key = key, .key_len = key_len, .hash = hash, .found = *out};
            status = fetch_from_disk(engine, &wanted, out);
        }
        if (status != FEOX_MISMATCH) {
            return status;
        }
    }
}

feox_status fx_fetch_info(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                          fx_fetched *out) {
    do {
        if (!fx_table_read(&fx_engine_shard(engine, hash)->table, hash, engine->persistent, false,
                           key, key_len, NULL, 0, out)) {
            return FEOX_NOT_FOUND;
        }
        if (!has_expired(engine, out)) {
            out->block = NULL; /* no reference was taken */
            return FEOX_OK;
        }
    } while (!is_gone(engine, hash, key, key_len, out->version));
    return FEOX_NOT_FOUND;
}
