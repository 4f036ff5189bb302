/* commit: one path for every change, whoever asks for it: callers, sweeper, recovery, eviction.
 *
 * C1 all that can fail is reserved before anything changes.
 * C2 a key has at most one alive record: the old one is killed before the new one is published.
 * C3 the new record is in the table before it is published, so a reader that came upon it there
 *    looks again until it is, and no reader finds it anywhere before.
 * C4 every record in the table is in the skip list or on its shard's pending list, outside a
 *    commit.
 */
#include "engine/commit.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/deadline.h"
#include "engine/evict.h"
#include "engine/flusher.h"
#include "engine/order.h"

/* What one commit may add to limbo: an old record and an old block. */
#define LIMBO_PER_COMMIT 2u
#define MEMORY_SLACK_MAX ((uint64_t)1 << 20)
/* Blocks wait for readers; look after them every so many. */
#define LIMBO_PATIENCE 64u
/* ... or at once if they are this large: replaced values must not pile up past the memory limit. */
#define LIMBO_LARGE_BLOCK (16u << 10)

static uint32_t prefix_size(const fx_engine *engine) {
    return engine->persistent ? 8u : 0u;
}

fx_record *fx_commit_any_locked(fx_shard *shard, uint64_t hash, const void *key, size_t key_len) {
    return fx_table_find_locked(&shard->table, hash, key, key_len);
}

/* A free slot for a record of this meta, as a record pointer. */
static fx_record *record_acquire(fx_shard *shard, uint32_t meta) {
    uint32_t prefix = prefix_size(shard->engine);
    uint8_t *slot = fx_slab_acquire(&shard->slab, fx_meta_size(meta) + prefix);
    return slot == NULL ? NULL : (fx_record *)(void *)(slot + prefix);
}

static void record_release(fx_shard *shard, fx_record *record) {
    fx_slab_release(&shard->slab, (uint8_t *)record - prefix_size(shard->engine));
}

/* A block that its record no longer points at. */
static void block_retire(fx_shard *shard, fx_block *block) {
    if (block == NULL) {
        return;
    }
    fx_epoch *epoch = &shard->engine->epoch;
    bool is_large = block->size >= LIMBO_LARGE_BLOCK;
    fx_limbo_add_block(&shard->limbo, block, fx_epoch_stamp(epoch));
    if (is_large || shard->limbo.count % LIMBO_PATIENCE == 0) {
        fx_limbo_reclaim(&shard->limbo, &shard->slab, shard->engine->persistent,
                         fx_epoch_safe(epoch), 2 * LIMBO_PATIENCE);
    }
}

/* A killed record that the table no longer points at. Nobody else can be told of it if there is no
 * order; else the merge unlinks it. */
static void record_retire(fx_shard *shard, fx_record *record) {
    if (!shard->engine->ordered) {
        record_release(shard, record);
    }
}

static bool limbo_reserve(fx_shard *shard) {
    return fx_limbo_reserve(&shard->limbo, shard->pending_count + shard->merging_count +
                                               (shard->hidden_count + 1) * LIMBO_PER_COMMIT);
}

/* No room for another change without work that the lock must not be held for. While the device
 * refuses what is in the write buffer deletes go on: for them the room in the file is the bound.
 */
static bool must_relieve(const fx_shard *shard, uint32_t changes, bool deletes) {
    const fx_engine *engine = shard->engine;
    return shard->pending_count + shard->hidden_count + changes > FX_PENDING_MAX ||
           (engine->persistent && fx_wbuf_full(&shard->wbuf) &&
            !(deletes && fx_flusher_refused(engine->flusher)));
}

static uint64_t next_version(fx_shard *shard) {
    return ++shard->counter << 8 | shard->index;
}

/* The store's own stamps rise for each key whatever the clock does. */
static uint64_t next_timestamp(const fx_record *old, uint64_t now_ns) {
    uint64_t last = old != NULL ? fx_load_relaxed(&old->timestamp) : 0;
    return now_ns > last ? now_ns : last == UINT64_MAX ? last : last + 1;
}

/* The new contents fit the old record: same slot size, same layout. */
static bool fits_in_place(const fx_engine *engine, const fx_record *old, uint32_t meta) {
    uint32_t prefix = prefix_size(engine);
    if (FX_LIKELY(old->meta == meta)) {
        return true;
    }
    return ((old->meta ^ meta) & (FX_RECORD_TTL | FX_RECORD_BLOCK)) == 0 &&
           fx_slab_slot_size(fx_meta_size(old->meta) + prefix) ==
               fx_slab_slot_size(fx_meta_size(meta) + prefix);
}

/* The change would take the store past its memory limit. A free slot costs nothing, so what is
 * deleted or evicted makes room for more of its size at once. */
static bool exceeds_memory(const fx_shard *shard, const fx_record *old, const fx_change *change,
                           uint32_t meta, bool in_place) {
    const fx_engine *engine = shard->engine;
    if (FX_LIKELY(engine->memory_limit == 0)) {
        return false;
    }
    uint64_t more =
        in_place ? 0 : fx_slab_growth(&shard->slab, fx_meta_size(meta) + prefix_size(engine));
    if (change->block != NULL) { /* what it replaces goes when its readers do */
        const fx_block *had = old != NULL ? fx_record_block(old) : NULL;
        uint64_t freed = had != NULL ? fx_block_footprint((size_t)had->size) : 0;
        uint64_t taken = fx_block_footprint((size_t)change->value_len);
        more += taken > freed ? taken - freed : 0;
    }
    /* The table and the order grow too: stop a little before the limit. */
    uint64_t slack =
        engine->memory_limit / 32 < MEMORY_SLACK_MAX ? engine->memory_limit / 32 : MEMORY_SLACK_MAX;
    /* The blocks of writes under way are charged, this one too. They do not count until they are
     * committed: else two writers who replace values of one size could refuse each other. */
    uint64_t offered = fx_load_relaxed(&engine->offered);
    uint64_t memory = fx_engine_memory(engine);
    memory = memory > offered ? memory - offered : 0;
    if (more == 0) {
        /* If the readers of what is replaced stall, it adds up. */
        return change->block != NULL && memory > engine->memory_limit;
    }
    return memory + more + slack > engine->memory_limit;
}

/* ---- Hidden writes ---- */

/* The last one is the newest. */
static fx_hidden *find_hidden(const fx_shard *shard, uint64_t hash, const void *key,
                              size_t key_len) {
    for (uint32_t i = shard->hidden_count; i-- > 0;) {
        const fx_record *record = shard->hidden[i].record;
        if (shard->hidden[i].hash == hash && fx_record_key_len(record) == key_len &&
            memcmp(fx_record_key(record), key, key_len) == 0) {
            return &shard->hidden[i];
        }
    }
    return NULL;
}

const fx_hidden *fx_commit_find_hidden_locked(const fx_shard *shard, uint64_t hash, const void *key,
                                              size_t key_len) {
    return find_hidden(shard, hash, key, key_len);
}

/* A record that nobody has seen, with its value. */
static void hidden_discard(fx_shard *shard, fx_record *record) {
    fx_block *block = fx_record_block(record);
    fx_block_release(block);
    record_release(shard, record);
}

/* The write is committed and to be shown later. Of several in one group only the last will be: so
 * what is hidden is bounded by the write buffer, however often a key is written. */
static void hide(fx_shard *shard, fx_hidden write) {
    fx_hidden *before = find_hidden(shard, write.hash, fx_record_key(write.record),
                                    fx_record_key_len(write.record));
    if (before == NULL || before->group != write.group) {
        shard->hidden[shard->hidden_count++] = write;
        return;
    }
    *(before->deletes ? &shard->counts.deletes : &shard->counts.updates) += 1;
    hidden_discard(shard, before->record);
    *before = write;
}

static bool hidden_reserve(fx_shard *shard) {
    if (shard->hidden_count < shard->hidden_capacity) {
        return true;
    }
    uint32_t capacity = shard->hidden_capacity == 0 ? 8 : shard->hidden_capacity * 2;
    fx_hidden *grown = fx_mem_realloc(shard->hidden, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    shard->hidden = grown;
    shard->hidden_capacity = capacity;
    return true;
}

/* What must be durable before the key can be written: a write that nobody sees yet, unless both are
 * kept; and the version of `old` if it is only on its way to the disk, because a write that may be
 * taken back would take that along. 0: nothing. */
static uint64_t must_settle_first(const fx_shard *shard, const fx_record *old, uint64_t hash,
                                  const void *key, size_t key_len, bool hidden, bool kept) {
    const fx_hidden *before = fx_commit_hidden_locked(shard, hash, key, key_len);
    if (before != NULL && !(kept && before->kept)) {
        return before->group;
    }
    bool dirty = hidden && !kept && old != NULL && !fx_location_clean(fx_record_location(old));
    return dirty ? fx_flusher_open_group(shard->engine->flusher) : 0;
}

/* The file has room for it; see fx_flusher_admit_locked. */
static bool admit(fx_shard *shard, size_t key_len, uint64_t value_len, bool deletes) {
    if (!shard->engine->persistent) {
        return true;
    }
    fx_demand demand = fx_flusher_demand(key_len, value_len, deletes);
    return fx_flusher_admit_locked(shard->engine->flusher, &shard->wbuf, &demand);
}

/* Everything that put needs, and the new record if there must be one. */
static feox_status put_reserve(fx_shard *shard, const fx_record *old, const fx_change *change,
                               uint32_t meta, bool in_place, fx_record **fresh_out) {
    fx_engine *engine = shard->engine;
    if (must_relieve(shard, 1, false)) {
        return FEOX_END;
    }
    if (exceeds_memory(shard, old, change, meta, in_place)) {
        return FEOX_ERR_MEMORY;
    }
    if (!limbo_reserve(shard) || (change->hidden && !hidden_reserve(shard)) ||
        (old == NULL && !fx_table_reserve_locked(&shard->table, change->hash)) ||
        (change->expiry_ns != 0 && !fx_deadline_reserve(shard)) ||
        (engine->persistent &&
         !fx_wbuf_reserve(&shard->wbuf, change->key_len, (size_t)change->value_len))) {
        return FEOX_ERR_MEMORY;
    }
    /* Behind the rest: what a write that is refused took of the room would be lost to others. */
    if (!admit(shard, change->key_len, change->value_len, false)) {
        return FEOX_END;
    }
    if (!in_place) {
        *fresh_out = record_acquire(shard, meta);
        if (*fresh_out == NULL) {
            return FEOX_ERR_MEMORY;
        }
    }
    return FEOX_OK;
}

/* Puts `fresh`, filled, where `old` (or nothing) was, and publishes it. It is on the list of the
 * order before: a scan that begins after a reader saw the record finds the list not empty and, to
 * merge it, waits for us. */
static void record_install(fx_shard *shard, uint64_t hash, fx_record *old, fx_record *fresh,
                           uint64_t version) {
    if (old != NULL) {
        fx_record_kill(old);
        fx_table_replace_locked(&shard->table, hash, old, fresh);
    } else {
        fx_table_insert_locked(&shard->table, hash, fresh);
    }
    if (shard->engine->ordered) {
        fx_order_push_locked(shard, fresh, false);
    }
    fx_record_publish(fresh, version);
    if (old != NULL) {
        record_retire(shard, old);
    }
}

/* What a put changes in memory, but for its wbuf entry. In place: `record` is `old`, done already.
 * */
static void put_show(fx_shard *shard, uint64_t hash, fx_record *old, fx_record *record,
                     fx_block *old_block, uint64_t version, uint64_t expiry_ns) {
    if (record != old) {
        record_install(shard, hash, old, record, version);
    }
    block_retire(shard, old_block);
    if (expiry_ns != 0) {
        fx_deadline_push(shard, record, version, expiry_ns);
    }
    *(old != NULL ? &shard->counts.updates : &shard->counts.inserts) += 1;
}

static fx_entry entry_of_change(const fx_change *change, const fx_record_fields *fields) {
    bool large = change->value_len >= FX_LARGE_VALUE_MIN;
    return (fx_entry){
        .key = change->key,
        .value = fields->block != NULL ? fields->block->data : fields->value,
        .key_len = change->key_len,
        .value_len = (uint32_t)change->value_len,
        .version = fields->version,
        .timestamp = fields->timestamp,
        .expiry_ns = fields->expiry_ns,
        .kind = large ? FX_ENTRY_LARGE : FX_ENTRY_PUT,
    };
}

static fx_record_fields fields_of_change(const fx_change *change) {
    return (fx_record_fields){
        .expiry_ns = change->expiry_ns,
        .value = change->value,
        .value_len = change->value_len,
        .block = change->block,
        .in_block = change->value_len > FX_INLINE_VALUE_MAX,
    };
}

feox_status fx_commit_put_locked(fx_shard *shard, fx_record *old, const fx_change *change,
                                 uint64_t now_ns, fx_committed *committed_out) {
    fx_engine *engine = shard->engine;
    fx_record_fields fields = fields_of_change(change);
    FX_ASSERT(fields.in_block == (fields.block != NULL));
    uint32_t meta = fx_record_meta_of(change->key_len, &fields);
    bool in_place = old != NULL && !change->hidden && fits_in_place(engine, old, meta);
    fx_record *record = old;
    committed_out->group = must_settle_first(shard, old, change->hash, change->key, change->key_len,
                                             change->hidden, change->kept);
    if (FX_UNLIKELY(committed_out->group != 0)) {
        return FEOX_ERR_BUSY;
    }
    feox_status status = put_reserve(shard, old, change, meta, in_place, &record);
    if (status != FEOX_OK) {
        return status;
    }
    fields.version = next_version(shard);
    fields.timestamp = change->timestamp != 0 ? change->timestamp : next_timestamp(old, now_ns);
    fx_block *old_block = old != NULL ? fx_record_block(old) : NULL;
    uint64_t location = old != NULL && engine->persistent ? fx_record_location(old) : 0;
    if (in_place) {
        fx_record_overwrite(record, &fields);
    } else {
        fx_record_fill(record, change->key, change->key_len, &fields);
        if (engine->persistent) {
            fx_record_set_location(record, 0);
        }
    }
    committed_out->group = 0;
    if (engine->persistent) {
        fx_entry entry = entry_of_change(change, &fields);
        fx_wbuf_put(&shard->wbuf, &entry, record,
                    entry.kind == FX_ENTRY_LARGE ? fields.block : NULL, location, now_ns);
        committed_out->group = fx_flusher_open_group(engine->flusher);
    }
    if (change->hidden) {
        hide(shard, (fx_hidden){record, change->hash, fields.version, committed_out->group, false,
                                change->kept});
    } else {
        put_show(shard, change->hash, old, record, old_block, fields.version, change->expiry_ns);
    }
    committed_out->version = fields.version;
    committed_out->timestamp = fields.timestamp;
    return FEOX_OK;
}

/* What a delete changes in memory. */
static void delete_show(fx_shard *shard, fx_record *old, uint64_t hash) {
    fx_record_kill(old);
    fx_table_remove_locked(&shard->table, hash, old);
    block_retire(shard, fx_record_block(old));
    if (shard->engine->ordered) {
        fx_order_push_locked(shard, old, true);
    }
    record_retire(shard, old);
}

/* What a delete leaves for the disk. */
static void delete_log(fx_shard *shard, const fx_record *old, uint64_t now_ns,
                       fx_committed *committed_out) {
    const fx_entry entry = {
        .key = fx_record_key(old),
        .key_len = fx_record_key_len(old),
        .version = committed_out->version,
        .timestamp = committed_out->timestamp,
        .kind = FX_ENTRY_TOMBSTONE,
    };
    fx_wbuf_delete(&shard->wbuf, &entry, fx_record_location(old), now_ns);
    committed_out->group = fx_flusher_open_group(shard->engine->flusher);
}

static feox_status delete_reserve(fx_shard *shard, const fx_record *old, uint64_t hash, bool hidden,
                                  bool kept, uint64_t *group_out) {
    *group_out = must_settle_first(shard, old, hash, fx_record_key(old), fx_record_key_len(old),
                                   hidden, kept);
    if (FX_UNLIKELY(*group_out != 0)) {
        return FEOX_ERR_BUSY;
    }
    if (must_relieve(shard, 1, true)) {
        return FEOX_END;
    }
    if (!limbo_reserve(shard) ||
        (shard->engine->persistent && !fx_wbuf_reserve(&shard->wbuf, fx_record_key_len(old), 0))) {
        return FEOX_ERR_MEMORY;
    }
    return admit(shard, fx_record_key_len(old), 0, true) ? FEOX_OK : FEOX_END;
}

feox_status fx_commit_delete_locked(fx_shard *shard, fx_record *old, uint64_t hash,
                                    uint64_t timestamp, bool expired, uint64_t now_ns,
                                    fx_committed *committed_out) {
    feox_status status = delete_reserve(shard, old, hash, false, false, &committed_out->group);
    if (status != FEOX_OK) {
        return status;
    }
    *committed_out = (fx_committed){
        .version = next_version(shard),
        .timestamp = timestamp != 0 ? timestamp : next_timestamp(old, now_ns),
    };
    if (shard->engine->persistent) {
        delete_log(shard, old, now_ns, committed_out);
    }
    delete_show(shard, old, hash);
    *(expired ? &shard->counts.expirations : &shard->counts.deletes) += 1;
    return FEOX_OK;
}

feox_status fx_commit_hide_delete_locked(fx_shard *shard, fx_record *old, uint64_t hash,
                                         uint64_t timestamp, bool kept, uint64_t now_ns,
                                         fx_committed *committed_out) {
    feox_status status = delete_reserve(shard, old, hash, true, kept, &committed_out->group);
    if (status != FEOX_OK) {
        return status;
    }
    const fx_record_fields nothing = {.value_len = 0};
    uint32_t key_len = fx_record_key_len(old);
    fx_record *holder =
        hidden_reserve(shard) ? record_acquire(shard, fx_record_meta_of(key_len, &nothing)) : NULL;
    if (holder == NULL) {
        return FEOX_ERR_MEMORY;
    }
    fx_record_fill(holder, fx_record_key(old), key_len, &nothing);
    committed_out->version = next_version(shard);
    committed_out->timestamp = timestamp != 0 ? timestamp : next_timestamp(old, now_ns);
    delete_log(shard, old, now_ns, committed_out);
    hide(shard,
         (fx_hidden){holder, hash, committed_out->version, committed_out->group, true, kept});
    return FEOX_OK;
}

static bool reveal(fx_shard *shard, const fx_hidden *h) {
    fx_record *old = fx_table_find_locked(&shard->table, h->hash, fx_record_key(h->record),
                                          fx_record_key_len(h->record));
    if (h->deletes) {
        if (old != NULL) {
            delete_show(shard, old, h->hash);
            shard->counts.deletes++;
        }
        record_release(shard, h->record);
        return true;
    }
    uint64_t expiry_ns = fx_record_expiry(h->record);
    if ((old == NULL && !fx_table_reserve_locked(&shard->table, h->hash)) ||
        (expiry_ns != 0 && !fx_deadline_reserve(shard))) {
        return false;
    }
    put_show(shard, h->hash, old, h->record, old != NULL ? fx_record_block(old) : NULL, h->version,
             expiry_ns);
    return true;
}

bool fx_commit_reveal_locked(fx_shard *shard, uint64_t group) {
    uint32_t kept = 0;
    bool all = true;
    for (uint32_t i = 0; i < shard->hidden_count; i++) {
        fx_hidden h = shard->hidden[i];
        if (h.group > group) {
            shard->hidden[kept++] = h;
        } else if (!reveal(shard, &h)) {
            all = false;
            shard->hidden[kept++] = h;
        }
    }
    shard->hidden_count = kept;
    return all;
}

bool fx_commit_cancel_locked(fx_shard *shard, uint64_t version) {
    for (uint32_t i = 0; i < shard->hidden_count; i++) {
        fx_hidden h = shard->hidden[i];
        bool left = fx_flusher_left_locked(shard->engine->flusher);
        if (h.version != version || !fx_wbuf_cancel(&shard->wbuf, version, left)) {
            continue;
        }
        shard->hidden_count--;
        memmove(&shard->hidden[i], &shard->hidden[i + 1],
                (shard->hidden_count - i) * sizeof *shard->hidden);
        hidden_discard(shard, h.record);
        return true;
    }
    return false;
}

feox_status fx_commit_relieve(fx_shard *shard, size_t key_len, uint64_t value_len, bool deletes) {
    fx_engine *engine = shard->engine;
    feox_status status = FEOX_OK;
    if (engine->ordered && fx_load_relaxed(&shard->pending_count) > FX_PENDING_MAX / 2) {
        status = fx_order_merge_shard(shard);
    }
    if (status == FEOX_OK && engine->persistent) {
        fx_spinlock_lock(&shard->lock);
        bool full = fx_wbuf_full(&shard->wbuf) ||
                    shard->pending_count + shard->hidden_count >= FX_PENDING_MAX;
        fx_spinlock_unlock(&shard->lock);
        if (full) {
            status = fx_flusher_sync(engine->flusher, fx_flusher_open_group(engine->flusher),
                                     fx_engine_now(engine));
        } else {
            const fx_demand demand = fx_flusher_demand(key_len, value_len, deletes);
            status = fx_flusher_make_room(engine->flusher, &demand, fx_engine_now(engine));
        }
    }
    return status;
}

/* ---- Eviction and reading back ---- */

/* The same version of a clean record in a slot of another size. False: not possible now. */
static bool rewrite(fx_shard *shard, fx_record *record, uint64_t location,
                    const fx_record_fields *fields) {
    const fx_engine *engine = shard->engine;
    const uint8_t *key = fx_record_key(record);
    uint32_t key_len = fx_record_key_len(record);
    if ((engine->ordered && shard->pending_count + shard->hidden_count >= FX_PENDING_MAX) ||
        (fields->expiry_ns != 0 && !fx_deadline_reserve(shard))) {
        return false;
    }
    fx_record *fresh = record_acquire(shard, fx_record_meta_of(key_len, fields));
    if (fresh == NULL) {
        return false;
    }
    fx_record_fill(fresh, key, key_len, fields);
    fx_record_set_location(fresh, location);
    record_install(shard, fx_engine_hash(engine, key, key_len), record, fresh, fields->version);
    if (fields->expiry_ns != 0) {
        fx_deadline_push(shard, fresh, fields->version, fields->expiry_ns);
    }
    return true;
}

bool fx_commit_evict_locked(fx_shard *shard, fx_record *record) {
    uint64_t location = fx_record_location(record);
    if (!fx_location_clean(location) || !limbo_reserve(shard)) {
        return false;
    }
    if ((record->meta & FX_RECORD_BLOCK) != 0) {
        fx_block *block = fx_record_block(record);
        if (block == NULL) {
            return false;
        }
        fx_record_set_block(record, NULL);
        block_retire(shard, block);
        shard->counts.evictions++;
        return true;
    }
    uint32_t prefix = prefix_size(shard->engine);
    const fx_record_fields fields = {
        .version = fx_record_version(record),
        .timestamp = record->timestamp,
        .expiry_ns = fx_record_expiry(record),
        .value_len = fx_record_value_len(record),
        .in_block = true,
    };
    uint32_t meta = fx_record_meta_of(fx_record_key_len(record), &fields);
    if (fx_slab_slot_size(fx_meta_size(meta) + prefix) >=
            fx_slab_slot_size(fx_meta_size(record->meta) + prefix) ||
        !rewrite(shard, record, location, &fields)) {
        return false;
    }
    shard->counts.evictions++;
    return true;
}

bool fx_commit_restore_locked(fx_shard *shard, fx_record *record, fx_block *block) {
    const fx_engine *engine = shard->engine;
    uint64_t location = fx_record_location(record);
    if ((record->meta & FX_RECORD_BLOCK) == 0 || fx_record_block(record) != NULL ||
        !fx_location_clean(location)) {
        return true;
    }
    if (block->size > FX_INLINE_VALUE_MAX) {
        if (fx_engine_over_limit(engine, 0)) { /* it is charged already */
            return false;
        }
        fx_block_acquire(block);
        fx_record_set_block(record, block);
        return true;
    }
    const fx_record_fields fields = {
        .version = fx_record_version(record),
        .timestamp = record->timestamp,
        .expiry_ns = fx_record_expiry(record),
        .value = block->data,
        .value_len = block->size,
    };
    uint32_t meta = fx_record_meta_of(fx_record_key_len(record), &fields);
    size_t growth = fx_slab_growth(&shard->slab, fx_meta_size(meta) + prefix_size(engine));
    return !fx_engine_over_limit(engine, growth) && limbo_reserve(shard) &&
           rewrite(shard, record, location, &fields);
}

/* ---- Recovery ---- */

/* The newest version seen, so that later ones are above it. */
static void note_version(fx_shard *shard, uint64_t version) {
    if (version >> 8 > shard->counter) {
        shard->counter = version >> 8;
    }
}

/* Takes a record out of a store that nobody reads yet. */
static void recovered_remove(fx_shard *shard, uint64_t hash, fx_record *record) {
    fx_block *block = fx_record_block(record);
    fx_record_kill(record);
    fx_table_remove_locked(&shard->table, hash, record);
    fx_block_release(block);
    record_release(shard, record);
}

bool fx_commit_recovers_value(const fx_engine *engine, uint64_t value_len) {
    /* The order and the tables of the file come on top when all records are there. */
    return !fx_engine_over_limit(engine, value_len + engine->memory_limit / 8);
}

static feox_status recovered_insert(fx_shard *shard, uint64_t hash, const fx_entry *entry,
                                    uint64_t location, fx_block *block) {
    fx_engine *engine = shard->engine;
    bool keep = entry->kind == FX_ENTRY_PUT && entry->value_len <= FX_INLINE_VALUE_MAX &&
                fx_commit_recovers_value(engine, entry->value_len);
    fx_block *made = NULL;
    if (entry->kind == FX_ENTRY_PUT && entry->value_len > FX_INLINE_VALUE_MAX &&
        fx_commit_recovers_value(engine, entry->value_len)) {
        made = fx_block_create(&engine->blocks, entry->value, entry->value_len);
        if (made == NULL) {
            return FEOX_ERR_MEMORY;
        }
    } else if (block != NULL) {
        fx_block_acquire(block);
        made = block;
    }
    const fx_record_fields fields = {
        .version = entry->version,
        .timestamp = entry->timestamp,
        .expiry_ns = entry->expiry_ns,
        .value = entry->value,
        .value_len = entry->value_len,
        .block = made,
        .in_block = !keep,
    };
    fx_record *record = NULL;
    if (fx_table_reserve_locked(&shard->table, hash) &&
        (entry->expiry_ns == 0 || fx_deadline_reserve(shard))) {
        record = record_acquire(shard, fx_record_meta_of(entry->key_len, &fields));
    }
    if (record == NULL) {
        fx_block_release(made);
        return FEOX_ERR_MEMORY;
    }
    fx_record_fill(record, entry->key, entry->key_len, &fields);
    fx_record_set_location(record, location);
    fx_table_insert_locked(&shard->table, hash, record);
    fx_record_publish(record, entry->version);
    if (entry->expiry_ns != 0) {
        fx_deadline_push(shard, record, entry->version, entry->expiry_ns);
    }
    return FEOX_OK;
}

feox_status fx_commit_recovery_expect(fx_engine *engine, uint64_t keys) {
    uint64_t most = engine->memory_limit / FX_EXPECTED_KEY_SIZE;
    keys = engine->memory_limit != 0 && keys > most ? most : keys;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        if (!fx_table_presize(&engine->shards[i].table, keys / engine->shard_count)) {
            return FEOX_ERR_MEMORY;
        }
    }
    return FEOX_OK;
}

uint64_t fx_commit_recovery_hash(const fx_engine *engine, const void *key, size_t key_len) {
    uint64_t hash = fx_engine_hash(engine, key, key_len);
    fx_table_prefetch(&fx_engine_shard(engine, hash)->table, hash);
    return hash;
}

feox_status fx_commit_recovered(fx_engine *engine, uint64_t hash, const fx_entry *entry,
                                uint64_t location, fx_block *block, uint64_t *dead_out) {
    fx_shard *shard = fx_engine_shard(engine, hash);
    *dead_out = 0;
    note_version(shard, entry->version);
    fx_record *old = fx_table_find_locked(&shard->table, hash, entry->key, entry->key_len);
    if (old != NULL && fx_record_version(old) > entry->version) {
        *dead_out = location;
        return FEOX_OK;
    }
    if (old != NULL) {
        *dead_out = fx_record_location(old);
        recovered_remove(shard, hash, old);
    }
    return entry->kind == FX_ENTRY_TOMBSTONE
               ? FEOX_OK
               : recovered_insert(shard, hash, entry, location, block);
}

typedef struct collected {
    fx_record **records;
    size_t count;
} collected;

static bool collect(void *context, fx_record *record) {
    collected *all = context;
    all->records[all->count++] = record;
    return true;
}

typedef struct doubtful {
    fx_record **records;
    size_t count;
    uint64_t version;
} doubtful;

static bool collect_doubtful(void *context, fx_record *record) {
    doubtful *d = context;
    if (fx_record_version(record) <= d->version) {
        d->records[d->count++] = record;
    }
    return true;
}

/* Replaces a record by one whose value is where none can be. */
static feox_status doubt_record(fx_shard *shard, fx_record *record, uint8_t *key) {
    const fx_entry entry = {.key = key,
                            .key_len = fx_record_key_len(record),
                            .value_len = (uint32_t)fx_record_value_len(record),
                            .version = fx_record_version(record),
                            .timestamp = fx_load_relaxed(&record->timestamp),
                            .expiry_ns = fx_record_expiry(record),
                            .kind = FX_ENTRY_LARGE};
    memcpy(key, fx_record_key(record), entry.key_len);
    uint64_t hash = fx_engine_hash(shard->engine, key, entry.key_len);
    recovered_remove(shard, hash, record);
    return recovered_insert(shard, hash, &entry, FX_LOCATION_DOUBT, NULL);
}

feox_status fx_commit_doubt(fx_engine *engine, uint64_t version) {
    uint8_t *key = fx_mem_alloc(FEOX_KEY_SIZE_MAX);
    feox_status status = key != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
    for (uint32_t i = 0; status == FEOX_OK && i < engine->shard_count; i++) {
        fx_shard *shard = &engine->shards[i];
        doubtful d = {.version = version,
                      .records = fx_mem_alloc((shard->table.count + 1) * sizeof(fx_record *))};
        status = d.records != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
        if (status == FEOX_OK) {
            fx_table_each_locked(&shard->table, collect_doubtful, &d);
        }
        for (size_t j = 0; status == FEOX_OK && j < d.count; j++) {
            status = doubt_record(shard, d.records[j], key);
        }
        fx_mem_free(d.records);
    }
    fx_mem_free(key);
    return status;
}

feox_status fx_commit_recovery_done(fx_engine *engine) {
    uint64_t newest = 0;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        newest = engine->shards[i].counter > newest ? engine->shards[i].counter : newest;
    }
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        engine->shards[i].counter = newest;
    }
    uint64_t count = fx_engine_count(engine);
    if (!engine->ordered || count == 0) {
        return FEOX_OK;
    }
    collected all = {fx_mem_alloc((size_t)count * sizeof(fx_record *)), 0};
    if (all.records == NULL) {
        return FEOX_ERR_MEMORY;
    }
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        fx_table_each_locked(&engine->shards[i].table, collect, &all);
    }
    fx_order_defer(engine, all.records, all.count);
    while (fx_engine_over_limit(engine, 0) && fx_evict_any(engine, 256) > 0) {
    }
    return FEOX_OK;
}
