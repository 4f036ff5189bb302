/* ops: insert, delete, get and their kin. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/fetch.h"
#include "store/ttl.h"
#include "store/write.h"

#define INSERT_FLAGS                                                                               \
    (FEOX_IF_ABSENT | FEOX_IF_PRESENT | FEOX_IF_VERSION | FEOX_KEEP_TTL | FEOX_CLEAR_TTL |         \
     FX_DURABILITY_FLAGS)
#define DELETE_FLAGS (FEOX_IF_PRESENT | FEOX_IF_VERSION | FX_DURABILITY_FLAGS)

/* ---- Writing ---- */

static feox_status decide_insert(fx_writing *w, fx_record *live, fx_change *change) {
    if (w->intent.ttl_ms != 0) {
        change->expiry_ns = fx_write_expiry(w->now_ns, w->intent.ttl_ms);
    } else if ((w->intent.flags & FEOX_KEEP_TTL) != 0 && live != NULL) {
        change->expiry_ns = fx_record_expiry(live);
    }
    return FEOX_OK;
}

/* `later` as in fx_writing. */
static feox_status insert(feox_store *store, const void *key, size_t key_len, const void *value,
                          size_t value_len, const feox_write *write, fx_waiting *later,
                          feox_written *written_out) {
    fx_writing w = {.store = store, .decide = decide_insert, .later = later};
    w.change.value = value;
    w.change.value_len = value_len;
    feox_status status = fx_write_begin(&w, key, key_len, write, INSERT_FLAGS, written_out);
    return status != FEOX_OK ? status : fx_report(fx_write_run(&w, key, key_len, written_out));
}

feox_status feox_insert_with(feox_store *store, const void *key, size_t key_len, const void *value,
                             size_t value_len, const feox_write *write, feox_written *written_out) {
    return insert(store, key, key_len, value, value_len, write, NULL, written_out);
}

feox_status feox_insert(feox_store *store, const void *key, size_t key_len, const void *value,
                        size_t value_len) {
    return insert(store, key, key_len, value, value_len, NULL, NULL, NULL);
}

/* Pairs of a durable store that share a flush. */
#define SHARED_FLUSH 256u

/* Up to SHARED_FLUSH pairs; one flush if the store is durable. */
static void insert_some(feox_store *store, const feox_pair *pairs, size_t count,
                        feox_status *statuses) {
    fx_waiting waiting[SHARED_FLUSH];
    memset(waiting, 0, sizeof waiting);
    for (size_t i = 0; i < count; i++) {
        statuses[i] = insert(store, pairs[i].key.data, pairs[i].key.size, pairs[i].value.data,
                             pairs[i].value.size, NULL, &waiting[i], NULL);
    }
    feox_status status = fx_write_wait(store, waiting, count);
    for (size_t i = 0; status != FEOX_OK && i < count; i++) {
        statuses[i] = waiting[i].shard != NULL ? status : statuses[i];
    }
}

feox_status feox_insert_many(feox_store *store, const feox_pair *pairs, size_t count,
                             feox_status *statuses_out) {
    feox_status first = fx_store_enter_write(store);
    if (first == FEOX_OK && pairs == NULL && count > 0) {
        first = fx_report(FEOX_ERR_ARGUMENT);
    }
    if (first != FEOX_OK) {
        for (size_t i = 0; statuses_out != NULL && i < count; i++) {
            statuses_out[i] = first;
        }
        return first;
    }
    feox_status statuses[SHARED_FLUSH];
    for (size_t base = 0; base < count; base += SHARED_FLUSH) {
        size_t some = count - base < SHARED_FLUSH ? count - base : SHARED_FLUSH;
        insert_some(store, pairs + base, some, statuses);
        for (size_t i = 0; i < some; i++) {
            first = first == FEOX_OK ? statuses[i] : first;
        }
        if (statuses_out != NULL) {
            memcpy(statuses_out + base, statuses, some * sizeof *statuses);
        }
    }
    return first;
}

feox_status feox_delete_with(feox_store *store, const void *key, size_t key_len,
                             const feox_write *write, feox_written *written_out) {
    fx_writing w = {.store = store};
    feox_status status = fx_write_begin(&w, key, key_len, write, DELETE_FLAGS, written_out);
    if (status != FEOX_OK) {
        return status;
    }
    if (w.intent.ttl_ms != 0) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "a delete has no time to live");
    }
    return fx_report(fx_write_run(&w, key, key_len, written_out));
}

feox_status feox_delete(feox_store *store, const void *key, size_t key_len) {
    return feox_delete_with(store, key, key_len, NULL, NULL);
}

/* ---- Reading ---- */

/* What every read begins with. */
static inline feox_status enter_read(const feox_store *store, const void *key, size_t key_len) {
    feox_status status = fx_store_enter(store);
    return status != FEOX_OK ? status : fx_report(fx_store_check_key(key, key_len));
}

feox_status feox_get(feox_store *store, const void *key, size_t key_len, void **value_out,
                     size_t *value_len_out) {
    if (value_out == NULL || value_len_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *value_out = NULL;
    *value_len_out = 0;
    feox_status status = enter_read(store, key, key_len);
    if (status != FEOX_OK) {
        return status;
    }
    uint8_t buffer[FX_INLINE_VALUE_MAX];
    fx_fetched fetched;
    status = fx_fetch(&store->engine, fx_engine_hash(&store->engine, key, key_len), key, key_len,
                      buffer, sizeof buffer, &fetched);
    if (status != FEOX_OK) {
        return fx_report(status);
    }
    size_t size = (size_t)fetched.value_len;
    void *copy = fx_mem_alloc(size > 0 ? size : 1);
    if (copy == NULL) {
        fx_block_release(fetched.block);
        return fx_report(FEOX_ERR_MEMORY);
    }
    fx_copy(copy, fetched.block != NULL ? fetched.block->data : buffer, size);
    fx_block_release(fetched.block);
    *value_out = copy;
    *value_len_out = size;
    return FEOX_OK;
}

/* Of what was fetched, copies what fits, and tells how it went. */
static feox_status deliver(feox_status status, const fx_fetched *fetched, void *buffer,
                           size_t capacity, size_t *value_len_out) {
    size_t size = status == FEOX_OK ? (size_t)fetched->value_len : 0;
    *value_len_out = size;
    if (status != FEOX_OK) {
        return status;
    }
    if (fetched->block != NULL) {
        fx_copy(buffer, fetched->block->data, size < capacity ? size : capacity);
        fx_block_release(fetched->block);
    }
    return size <= capacity ? FEOX_OK : FEOX_TRUNCATED;
}

/* Arguments were checked. */
static inline feox_status get_into(fx_engine *engine, uint64_t hash, const void *key,
                                   size_t key_len, void *buffer, size_t capacity,
                                   size_t *value_len_out) {
    fx_table_pass pass =
        fx_fetch_plain(engine, hash, key, key_len, buffer, capacity, value_len_out);
    if (FX_UNLIKELY(pass != FX_PASS_FOUND)) {
        fx_fetched fetched;
        feox_status status = pass == FX_PASS_NONE
                                 ? FEOX_NOT_FOUND
                                 : fx_fetch(engine, hash, key, key_len, buffer, capacity, &fetched);
        return deliver(status, &fetched, buffer, capacity, value_len_out);
    }
    return *value_len_out <= capacity ? FEOX_OK : FEOX_TRUNCATED;
}

feox_status feox_get_into(feox_store *store, const void *key, size_t key_len, void *buffer,
                          size_t capacity, size_t *value_len_out) {
    size_t ignored;
    size_t *value_len = value_len_out != NULL ? value_len_out : &ignored;
    *value_len = 0;
    feox_status status = enter_read(store, key, key_len);
    if (FX_UNLIKELY(status != FEOX_OK)) {
        return status;
    }
    if (FX_UNLIKELY(buffer == NULL && capacity > 0)) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    fx_engine *engine = &store->engine;
    return fx_report(get_into(engine, fx_engine_hash(engine, key, key_len), key, key_len, buffer,
                              capacity, value_len));
}

feox_status feox_get_view(feox_store *store, const void *key, size_t key_len, feox_view *view_out) {
    if (view_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    memset(view_out, 0, sizeof *view_out);
    feox_status status = enter_read(store, key, key_len);
    if (status != FEOX_OK) {
        return status;
    }
    uint8_t buffer[FX_INLINE_VALUE_MAX];
    fx_fetched fetched;
    status = fx_fetch(&store->engine, fx_engine_hash(&store->engine, key, key_len), key, key_len,
                      buffer, sizeof buffer, &fetched);
    if (status != FEOX_OK) {
        return fx_report(status);
    }
    fx_block *block = fetched.block;
    if (block == NULL) {
        block = fx_block_create(&store->engine.blocks, buffer, (size_t)fetched.value_len);
        if (block == NULL) {
            return fx_report(FEOX_ERR_MEMORY);
        }
    }
    *view_out = (feox_view){block->data, (size_t)fetched.value_len, block};
    return FEOX_OK;
}

void feox_view_release(feox_view *view) {
    if (view != NULL) {
        fx_block_release(view->internal);
        memset(view, 0, sizeof *view);
    }
}

/* How many lookups are under way at once: enough to cover a cache miss, few enough for the
 * processor's miss buffers. */
#define LOOKAHEAD 16u

/* Lookups that wait for the device. */
typedef struct cold_lookups {
    size_t count;
    feox_lookup *lookups[FX_READS_MAX];
    fx_wanted wanted[FX_READS_MAX];
} cold_lookups;

/* Ends them all: together as far as that goes, the others one by one. */
static void get_cold(fx_engine *engine, cold_lookups *cold) {
    if (cold->count > 1) {
        fx_fetch_together(engine, cold->wanted, cold->count);
    }
    for (size_t i = 0; i < cold->count; i++) {
        feox_lookup *l = cold->lookups[i];
        fx_wanted *w = &cold->wanted[i];
        feox_status status = w->found.block != NULL ? FEOX_OK
                                                    : fx_fetch(engine, w->hash, w->key, w->key_len,
                                                               l->buffer, l->capacity, &w->found);
        l->status = deliver(status, &w->found, l->buffer, l->capacity, &l->value_len);
    }
    cold->count = 0;
}

/* What the first look did not find as a plain value in memory. */
static void get_other(fx_engine *engine, uint64_t hash, feox_lookup *l, cold_lookups *cold) {
    fx_fetched fetched;
    feox_status status =
        fx_fetch_memory(engine, hash, l->key, l->key_len, l->buffer, l->capacity, &fetched);
    l->status = deliver(status, &fetched, l->buffer, l->capacity, &l->value_len);
    if (status == FEOX_PENDING) {
        cold->lookups[cold->count] = l;
        cold->wanted[cold->count++] =
            (fx_wanted){.key = l->key, .key_len = l->key_len, .hash = hash, .found = fetched};
        if (cold->count == FX_READS_MAX) {
            get_cold(engine, cold);
        }
    }
}

/* At most LOOKAHEAD lookups: what is in memory; the others are noted. */
static void get_warm(fx_engine *engine, feox_lookup *lookups, size_t count, cold_lookups *cold) {
    uint64_t hashes[LOOKAHEAD];
    for (size_t i = 0; i < count; i++) {
        feox_lookup *l = &lookups[i];
        bool no_buffer = l->buffer == NULL && l->capacity > 0;
        l->status = no_buffer ? FEOX_ERR_ARGUMENT : fx_store_check_key(l->key, l->key_len);
        if (l->status == FEOX_OK) {
            hashes[i] = fx_engine_hash(engine, l->key, l->key_len);
            fx_table_prefetch(&fx_engine_shard(engine, hashes[i])->table, hashes[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (lookups[i].status == FEOX_OK) {
            fx_table_prefetch_record(&fx_engine_shard(engine, hashes[i])->table, hashes[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        feox_lookup *l = &lookups[i];
        if (l->status != FEOX_OK) {
            continue;
        }
        fx_table_pass pass = fx_fetch_plain(engine, hashes[i], l->key, l->key_len, l->buffer,
                                            l->capacity, &l->value_len);
        if (FX_UNLIKELY(pass == FX_PASS_RETRY)) {
            get_other(engine, hashes[i], l, cold);
        } else if (pass == FX_PASS_NONE) {
            l->value_len = 0;
            l->status = FEOX_NOT_FOUND;
        } else if (l->value_len > l->capacity) {
            l->status = FEOX_TRUNCATED;
        }
    }
}

feox_status feox_get_many(feox_store *store, feox_lookup *lookups, size_t count) {
    feox_status first = fx_store_enter(store);
    if (first == FEOX_OK && lookups == NULL && count > 0) {
        first = fx_report(FEOX_ERR_ARGUMENT);
    }
    for (size_t i = 0; lookups != NULL && i < count; i++) {
        lookups[i].value_len = 0;
        lookups[i].status = first;
    }
    if (first != FEOX_OK) {
        return first;
    }
    cold_lookups cold;
    cold.count = 0;
    for (size_t base = 0; base < count; base += LOOKAHEAD) {
        size_t some = count - base < LOOKAHEAD ? count - base : LOOKAHEAD;
        get_warm(&store->engine, lookups + base, some, &cold);
    }
    get_cold(&store->engine, &cold);
    for (size_t i = 0; first == FEOX_OK && i < count; i++) {
        first = lookups[i].status < 0 ? fx_report(lookups[i].status) : FEOX_OK;
    }
    return first;
}

feox_status feox_info(feox_store *store, const void *key, size_t key_len, feox_key_info *info_out) {
    if (info_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    memset(info_out, 0, sizeof *info_out);
    feox_status status = enter_read(store, key, key_len);
    if (status != FEOX_OK) {
        return status;
    }
    fx_fetched fetched;
    status = fx_fetch_info(&store->engine, fx_engine_hash(&store->engine, key, key_len), key,
                           key_len, &fetched);
    if (status == FEOX_OK) {
        info_out->value_size = fetched.value_len;
        info_out->version = fetched.version;
        info_out->timestamp = fetched.timestamp;
        info_out->ttl_ms = fx_ttl_left_ms(&store->engine, fetched.expiry_ns);
    }
    return status;
}

feox_status feox_contains(feox_store *store, const void *key, size_t key_len) {
    feox_status status = enter_read(store, key, key_len);
    fx_fetched ignored;
    return status != FEOX_OK
               ? status
               : fx_fetch_info(&store->engine, fx_engine_hash(&store->engine, key, key_len), key,
                               key_len, &ignored);
}

feox_status feox_count(feox_store *store, uint64_t *count_out) {
    if (count_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *count_out = 0;
    feox_status status = fx_store_enter(store);
    if (status == FEOX_OK) {
        *count_out = fx_engine_count(&store->engine);
    }
    return status;
}

/* ---- Clear ---- */

/* Keys of one shard as they were found: {length u32, bytes} one after the other. */
typedef struct key_list {
    uint8_t *bytes;
    size_t used, size;
    bool failed;
} key_list;

static bool note_key(void *context, fx_record *record) {
    key_list *list = context;
    uint32_t key_len = fx_record_key_len(record);
    if (list->used + 4 + key_len > list->size) {
        size_t size = list->size * 2 + 4 + key_len;
        uint8_t *bytes = fx_mem_realloc(list->bytes, size);
        if (bytes == NULL) {
            list->failed = true;
            return false;
        }
        list->bytes = bytes;
        list->size = size;
    }
    fx_put_u32(list->bytes + list->used, key_len);
    fx_copy(list->bytes + list->used + 4, fx_record_key(record), key_len);
    list->used += 4 + key_len;
    return true;
}

/* Deletes keys from `at` on, at most SHARED_FLUSH; one flush if the store is durable. */
static feox_status clear_some(feox_store *store, const key_list *list, size_t *at) {
    fx_waiting waiting[SHARED_FLUSH];
    size_t count = 0;
    feox_status status = FEOX_OK;
    memset(waiting, 0, sizeof waiting);
    for (; *at < list->used && count < SHARED_FLUSH && status == FEOX_OK; count++) {
        uint32_t key_len = fx_get_u32(list->bytes + *at);
        fx_writing w = {.store = store, .later = &waiting[count]};
        status = fx_write_run(&w, list->bytes + *at + 4, key_len, NULL);
        status = status == FEOX_NOT_FOUND ? FEOX_OK : status;
        *at += 4 + key_len;
    }
    feox_status waited = fx_write_wait(store, waiting, count);
    return status != FEOX_OK ? status : waited;
}

static feox_status clear_shard(feox_store *store, fx_shard *shard) {
    key_list list = {0};
    /* What this thread wrote before and did not wait for is to go, too. */
    feox_status status = fx_write_settle_shard(store, shard);
    if (status != FEOX_OK) {
        return status;
    }
    fx_spinlock_lock(&shard->lock);
    fx_table_each_locked(&shard->table, note_key, &list);
    fx_spinlock_unlock(&shard->lock);
    status = list.failed ? FEOX_ERR_MEMORY : FEOX_OK;
    for (size_t at = 0; at < list.used && status == FEOX_OK;) {
        status = clear_some(store, &list, &at);
    }
    fx_mem_free(list.bytes);
    return status;
}

feox_status feox_clear(feox_store *store) {
    feox_status status = fx_store_enter_write(store);
    for (uint32_t i = 0; status == FEOX_OK && i < store->engine.shard_count; i++) {
        status = fx_report(clear_shard(store, &store->engine.shards[i]));
    }
    return status;
}
