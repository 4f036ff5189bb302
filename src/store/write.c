/* write: what is waited for, the disk, memory, a merge, is waited for without the lock, and then
 * the key is looked at again. So a decision is always about the state that it changes.
 *
 * A durable write that nobody waits for builds on one of its kind that is still hidden: it becomes
 * durable with it or after it, so nothing can take the one away and leave the other. A refusal
 * would tell of what a crash could still take back; so it waits, and is decided again.
 */
#include "store/write.h"

#include <sched.h>

#include "base/assert.h"
#include "base/error.h"
#include "engine/evict.h"
#include "engine/fetch.h"
#include "engine/order.h"
#include "engine/sweeper.h"

uint64_t fx_write_expiry(uint64_t now_ns, uint64_t ttl_ms) {
    uint64_t ttl_ns;
    uint64_t expiry;
    if (__builtin_mul_overflow(ttl_ms, (uint64_t)1000000, &ttl_ns) ||
        __builtin_add_overflow(now_ns, ttl_ns, &expiry)) {
        return UINT64_MAX;
    }
    return expiry;
}

uint64_t fx_write_kept_expiry(const fx_writing *w, const fx_record *live) {
    if (w->intent.ttl_ms != 0) {
        return fx_write_expiry(w->now_ns, w->intent.ttl_ms);
    }
    bool clear = (w->intent.flags & FEOX_CLEAR_TTL) != 0;
    return live == NULL || clear ? 0 : fx_record_expiry(live);
}

bool fx_write_value(const fx_writing *w, const fx_record *live, const uint8_t **data_out,
                    uint64_t *size_out) {
    *size_out = fx_record_value_len(live);
    if ((live->meta & FX_RECORD_BLOCK) == 0) {
        *data_out = (const uint8_t *)live + fx_meta_value_offset(live->meta);
        return true;
    }
    const fx_block *block = fx_record_block(live);
    if (block == NULL && w->loaded != NULL && w->loaded_version == fx_record_version(live)) {
        block = w->loaded;
    }
    *data_out = block != NULL ? block->data : NULL;
    return block != NULL;
}

bool fx_write_same_value(fx_writing *w, const fx_record *live, fx_change *change) {
    const uint8_t *data;
    if (!fx_write_value(w, live, &data, &change->value_len)) {
        return false;
    }
    if (change->value_len > FX_INLINE_VALUE_MAX) {
        fx_block *block = fx_record_block(live);
        change->block = block != NULL ? block : w->loaded;
        fx_block_acquire(change->block);
        w->block = change->block;
    } else {
        /* A copy: the commit may write over the record that it comes from. */
        fx_copy(w->scratch, data, (size_t)change->value_len);
        change->value = w->scratch;
    }
    return true;
}

static feox_status check_arguments(const fx_writing *w, const void *key, size_t key_len) {
    const fx_change *c = &w->change;
    if (w->bad_argument) {
        return FEOX_ERR_ARGUMENT;
    }
    feox_status status = fx_store_check_key(key, key_len);
    if (status != FEOX_OK) {
        return status;
    }
    if (c->value == NULL && c->value_len > 0) {
        return FEOX_ERR_ARGUMENT;
    }
    return c->value_len > w->store->engine.value_size_limit ? FEOX_ERR_TOO_LARGE : FEOX_OK;
}

feox_status fx_write_begin(fx_writing *w, const void *key, size_t key_len, const feox_write *write,
                           uint32_t allowed, feox_written *written_out) {
    if (written_out != NULL) {
        *written_out = (feox_written){0};
    }
    feox_status status = fx_store_enter_write(w->store);
    if (status != FEOX_OK) {
        return status;
    }
    if ((status = check_arguments(w, key, key_len)) != FEOX_OK) {
        return fx_report(status);
    }
    return fx_intent_read(write, allowed, &w->intent);
}

/* The conditions of feox_write. */
static feox_status check_intent(const fx_intent *intent, const fx_record *live,
                                uint64_t live_version) {
    if (live == NULL) {
        bool needs = (intent->flags & (FEOX_IF_PRESENT | FEOX_IF_VERSION)) != 0;
        return needs ? FEOX_NOT_FOUND : FEOX_OK;
    }
    if ((intent->flags & FEOX_IF_ABSENT) != 0) {
        return FEOX_EXISTS;
    }
    if ((intent->flags & FEOX_IF_VERSION) != 0 && live_version != intent->version) {
        return FEOX_MISMATCH;
    }
    if (intent->timestamp != 0 && fx_load_relaxed(&live->timestamp) >= intent->timestamp) {
        return FEOX_STALE;
    }
    return FEOX_OK;
}

/* What the key is to become, `live` being what it is. */
static feox_status decide(fx_writing *w, fx_record *live, fx_change *change) {
    feox_status status = check_intent(&w->intent, live, w->live_version);
    if (status == FEOX_OK && w->decide == NULL) {
        status = live != NULL ? FEOX_OK : FEOX_NOT_FOUND;
    } else if (status == FEOX_OK) {
        change->hidden = w->durable;
        change->kept = w->kept;
        change->timestamp = w->intent.timestamp;
        status = w->decide(w, live, change);
    }
    return status;
}

static feox_status delete_locked(fx_writing *w, fx_shard *shard, fx_record *live) {
    uint64_t hash = w->change.hash;
    return w->durable ? fx_commit_hide_delete_locked(shard, live, hash, w->intent.timestamp,
                                                     w->kept, w->now_ns, &w->committed)
                      : fx_commit_delete_locked(shard, live, hash, w->intent.timestamp, false,
                                                w->now_ns, &w->committed);
}

/* One attempt, the lock held. */
static feox_status attempt_locked(fx_writing *w, fx_shard *shard) {
    const fx_change *c = &w->change;
    const fx_hidden *before = fx_commit_hidden_locked(shard, c->hash, c->key, c->key_len);
    bool builds = before != NULL && before->kept && w->kept;
    if (before != NULL && !builds) {
        w->committed.group = before->group;
        return FEOX_ERR_BUSY;
    }
    fx_record *any = !builds           ? fx_commit_any_locked(shard, c->hash, c->key, c->key_len)
                     : before->deletes ? NULL
                                       : before->record;
    uint64_t expiry = any != NULL ? fx_record_expiry(any) : 0;
    if (FX_UNLIKELY(expiry != 0)) {
        /* The time before the lock may be old: somebody may have found the key expired since. */
        w->now_ns = fx_engine_now(&w->store->engine);
    }
    bool expired = expiry != 0 && expiry <= w->now_ns;
    fx_record *live = expired ? NULL : any;
    w->live_version = live == NULL ? 0 : builds ? before->version : fx_record_version(live);
    fx_change change = *c;
    feox_status status = decide(w, live, &change);
    if (status != FEOX_OK) {
        w->committed.group = builds ? before->group : 0;
        return builds ? FEOX_ERR_BUSY : status;
    }
    if (w->decide == NULL) {
        return delete_locked(w, shard, live);
    }
    w->created = live == NULL;
    w->new_len = change.value_len;
    status = fx_commit_put_locked(shard, any, &change, w->now_ns, &w->committed);
    if (status == FEOX_OK) {
        w->block = NULL; /* the record has it */
    } else if (w->change.block == NULL) {
        fx_block_release(w->block); /* `decide` offers one again */
        w->block = NULL;
    }
    return status;
}

/* Under a memory limit, others look at what is charged and not committed yet. */
static void offer(fx_writing *w, const fx_block *block) {
    fx_engine *engine = &w->store->engine;
    uint64_t bytes = engine->memory_limit != 0 ? fx_block_footprint((size_t)block->size) : 0;
    if (bytes > 0) {
        w->offered += bytes;
        fx_add_relaxed(&engine->offered, bytes);
    }
}

/* Nor does what is let go. */
static void withdraw(fx_writing *w) {
    if (w->loaded != NULL && w->offered > 0) {
        uint64_t bytes = fx_block_footprint((size_t)w->loaded->size);
        w->offered -= bytes;
        fx_sub_relaxed(&w->store->engine.offered, bytes);
    }
    fx_block_release(w->loaded);
    w->loaded = NULL;
}

/* Reads the value that `decide` asked for. */
static feox_status load_value(fx_writing *w) {
    fx_engine *engine = &w->store->engine;
    withdraw(w);
    fx_fetched fetched;
    feox_status status =
        fx_fetch(engine, w->change.hash, w->change.key, w->change.key_len, NULL, 0, &fetched);
    if (status == FEOX_OK) {
        w->loaded = fetched.block;
        w->loaded_version = fetched.version;
        if (w->loaded != NULL) {
            offer(w, w->loaded);
        }
    }
    return status == FEOX_NOT_FOUND ? FEOX_OK : status; /* gone: decide will see */
}

/* A write that would exceed the memory limit makes room and tries again while that gets it
 * anywhere. One writer at a time does so: the others queue behind it, so what it frees is not
 * taken from under its hands for ever. */
#define ROOM_ROUNDS 400u
#define ROOM_FRUITLESS 16u
#define READERS_WAIT_NS 300000000u

/* Where such a write is. */
typedef struct room {
    bool mine; /* the engine's room lock is held */
    uint32_t rounds, fruitless;
    uint64_t deadline_ns; /* until when readers are waited for; 0: not yet */
} room;

/* Until all who read now are done. They never wait for anything themselves, but may have lost the
 * processor; one that a debugger holds is not waited for longer than 0.3 s in all. */
static void wait_for_readers(fx_engine *engine, room *r) {
    uint64_t stamp = fx_epoch_stamp(&engine->epoch);
    if (r->deadline_ns == 0) {
        r->deadline_ns = fx_engine_now(engine) + READERS_WAIT_NS;
    }
    while (fx_epoch_safe(&engine->epoch) <= stamp && fx_engine_now(engine) < r->deadline_ns) {
        (void)sched_yield();
    }
}

/* Room under the memory limit: by what was replaced or deleted, once the readers who look at it
 * have gone; in a file store, by values that are on disk, more in each round, and by flushes that
 * put more of them there. False: no more can be done. */
static bool make_room(fx_engine *engine, fx_shard *shard, bool block, room *r) {
    if (!r->mine) {
        fx_mutex_lock(&engine->room_lock);
        r->mine = true;
        return true; /* whoever was before may have left some */
    }
    uint32_t round = r->rounds++;
    uint64_t waiting;
    uint64_t freed = fx_sweeper_tidy(engine, &waiting);
    if (waiting > 0) {
        wait_for_readers(engine, r);
        freed += fx_sweeper_tidy(engine, &waiting);
    }
    if (engine->persistent && round > 0) {
        if (round % 2 == 0 &&
            fx_flusher_sync(engine->flusher, fx_flusher_open_group(engine->flusher),
                            fx_engine_now(engine)) != FEOX_OK) {
            return false;
        }
        uint32_t count = 32u << (round < 9 ? round : 9);
        /* A slot of the right size is most likely in the shard itself; whole pages may be
         * elsewhere. */
        uint32_t dropped = block ? 0 : fx_evict_shard(shard, count);
        if (dropped == 0 || round > 4) {
            dropped += fx_evict_any(engine, count);
        }
        freed += dropped;
    }
    r->fruitless = freed > 0 ? 0 : r->fruitless + 1;
    return round < ROOM_ROUNDS && r->fruitless < (engine->persistent ? ROOM_FRUITLESS : 2);
}

feox_status fx_write_settle(feox_store *store, const void *key, size_t key_len) {
    fx_engine *engine = &store->engine;
    uint64_t hash = fx_engine_hash(engine, key, key_len);
    fx_shard *shard = fx_engine_shard(engine, hash);
    fx_spinlock_lock(&shard->lock);
    const fx_hidden *before = fx_commit_hidden_locked(shard, hash, key, key_len);
    uint64_t group = before != NULL ? before->group : 0;
    fx_spinlock_unlock(&shard->lock);
    return group == 0 ? FEOX_OK : fx_flusher_sync(engine->flusher, group, fx_engine_now(engine));
}

feox_status fx_write_settle_shard(feox_store *store, fx_shard *shard) {
    fx_engine *engine = &store->engine;
    uint64_t group = 0;
    fx_spinlock_lock(&shard->lock);
    for (uint32_t i = 0; i < shard->hidden_count; i++) {
        group = shard->hidden[i].group > group ? shard->hidden[i].group : group;
    }
    fx_spinlock_unlock(&shard->lock);
    return group == 0 ? FEOX_OK : fx_flusher_sync(engine->flusher, group, fx_engine_now(engine));
}

/* The last group that any of them is still waiting for; 0: none is. */
static uint64_t last_group(const fx_waiting *list, size_t count) {
    uint64_t group = 0;
    for (size_t i = 0; i < count; i++) {
        bool waits = list[i].shard != NULL;
        group = waits && list[i].group > group ? list[i].group : group;
    }
    return group;
}

/* Whether the write could be taken back. It keeps its shard, and waits for nothing any more. */
static bool take_back(fx_waiting *write) {
    fx_spinlock_lock(&write->shard->lock);
    bool taken = fx_commit_cancel_locked(write->shard, write->version);
    fx_spinlock_unlock(&write->shard->lock);
    write->group = taken ? 0 : write->group;
    return taken;
}

/* A write that cannot be taken back is in a group that another thread has under way by now: what
 * becomes of that is what becomes of the write. */
feox_status fx_write_wait(feox_store *store, fx_waiting *list, size_t count) {
    fx_flusher *flusher = store->engine.flusher;
    feox_status failure = FEOX_OK;
    uint64_t group;
    while ((group = last_group(list, count)) != 0) {
        feox_status status = fx_flusher_join(flusher, group, fx_engine_now(&store->engine));
        uint64_t durable = group;
        if (status != FEOX_OK) { /* some may have been in a group before the one that failed */
            (void)fx_flusher_durable(flusher, &durable);
        }
        for (size_t i = 0; i < count; i++) {
            if (list[i].group == 0 || list[i].shard == NULL) {
                continue;
            }
            if (list[i].group <= durable) {
                list[i].shard = NULL;
            } else if (take_back(&list[i])) {
                failure = status;
            }
        }
        if (fx_flusher_status(flusher) != FEOX_OK) {
            return last_group(list, count) != 0 ? status : failure;
        }
    }
    return failure;
}

/* What must be durable at once is waited for here, by the caller later, or by nobody. */
static feox_status settle(fx_writing *w, fx_shard *shard) {
    fx_waiting self = {shard, w->committed.version, w->committed.group};
    if (w->kept) {
        fx_workers_hurry(&w->store->workers, FX_URGENT_FLUSH);
        return FEOX_OK;
    }
    if (w->later != NULL) {
        *w->later = self;
        return FEOX_OK;
    }
    return fx_write_wait(w->store, &self, 1);
}

feox_status fx_write_run(fx_writing *w, const void *key, size_t key_len,
                         feox_written *written_out) {
    fx_engine *engine = &w->store->engine;
    w->durable = engine->persistent && ((w->intent.flags & FEOX_DURABLE) != 0 ||
                                        w->store->options.durability == FEOX_DURABILITY_DURABLE);
    w->kept = w->durable && (w->intent.flags & FEOX_NO_WAIT) != 0;
    w->change.key = key;
    w->change.key_len = (uint32_t)key_len;
    w->change.hash = fx_engine_hash(engine, key, key_len);
    fx_shard *shard = fx_engine_shard(engine, w->change.hash);
    fx_table_prefetch(&shard->table, w->change.hash);
    if (w->change.value_len > FX_INLINE_VALUE_MAX) {
        w->block = fx_block_create(&engine->blocks, w->change.value, (size_t)w->change.value_len);
        if (w->block == NULL) {
            return FEOX_ERR_MEMORY;
        }
        w->change.block = w->block;
        offer(w, w->block);
    }
    feox_status status;
    bool is_long = false;
    room r = {0};
    for (;;) {
        w->now_ns = fx_engine_now(engine);
        fx_spinlock_lock(&shard->lock);
        status = attempt_locked(w, shard);
        is_long = engine->persistent && fx_wbuf_long(&shard->wbuf);
        fx_spinlock_unlock(&shard->lock);
        if (status == FEOX_TRUNCATED) {
            status = load_value(w);
        } else if (status == FEOX_END) {
            status = fx_commit_relieve(shard, key_len, w->new_len, w->decide == NULL);
        } else if (status == FEOX_ERR_BUSY) {
            status = fx_flusher_sync(engine->flusher, w->committed.group, fx_engine_now(engine));
        } else if (status == FEOX_ERR_MEMORY && engine->memory_limit != 0 &&
                   make_room(engine, shard, w->block != NULL, &r)) {
            status = FEOX_OK;
        } else {
            break;
        }
        if (status != FEOX_OK) {
            break;
        }
    }
    if (r.mine) {
        fx_mutex_unlock(&engine->room_lock);
    }
    if (w->offered > 0) {
        fx_sub_relaxed(&engine->offered, w->offered);
    }
    fx_block_release(w->block);
    fx_block_release(w->loaded);
    if (FX_UNLIKELY(fx_order_is_long(shard))) {
        fx_workers_hurry(&w->store->workers, FX_URGENT_MERGE);
    }
    if (FX_UNLIKELY(is_long) && status == FEOX_OK && !w->durable &&
        !fx_flusher_refused(engine->flusher)) {
        fx_workers_hurry(&w->store->workers, FX_URGENT_WRITE);
    }
    if (status == FEOX_OK && w->durable) {
        status = settle(w, shard);
    }
    if (status == FEOX_OK && written_out != NULL) {
        written_out->version = w->committed.version;
        written_out->timestamp = w->committed.timestamp;
        written_out->created = w->decide != NULL && w->created;
        written_out->sequence = w->committed.group;
    }
    return status;
}
