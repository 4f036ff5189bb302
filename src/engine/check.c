/* check: holds the merge lock and every shard's lock, in lock order, for its whole time: what it
 * sees is one moment. Costs a cache miss per key and structure.
 */
#include "engine/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/commit.h"
#include "engine/order.h"

void fx_check_found(fx_check_sink *sink, const char *text, const fx_entry *key, uint64_t offset,
                    uint64_t length) {
    const feox_finding finding = {.text = text,
                                  .key = key != NULL ? key->key : NULL,
                                  .key_len = key != NULL ? key->key_len : 0,
                                  .offset = length > 0 ? offset : 0,
                                  .length = length};
    sink->report.problems++;
    if (sink->found != NULL) {
        sink->found(sink->context, &finding);
    }
}

void fx_check_problem(fx_check_sink *sink, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fx_check_found(sink, text, NULL, 0, 0);
}

static void check_shard_locked(fx_shard *shard, fx_check_sink *sink) {
    const char *wrong = fx_slab_check(&shard->slab);
    if (wrong != NULL) {
        fx_check_problem(sink, "shard %u: %s", shard->index, wrong);
    }
    wrong = fx_table_check_locked(&shard->table);
    if (wrong != NULL) {
        fx_check_problem(sink, "shard %u: %s", shard->index, wrong);
    }
    sink->report.keys_checked += shard->table.count;
}

/* Each record in the order is the table's record of its key, and their number is the same. */
static void check_order_locked(fx_engine *engine, fx_check_sink *sink) {
    const char *wrong = fx_skiplist_check(engine->order);
    if (wrong != NULL) {
        fx_check_problem(sink, "order: %s", wrong);
        return;
    }
    fx_record *records[64];
    const uint8_t *last = NULL;
    uint32_t last_len = 0;
    uint64_t seen = 0;
    uint64_t keys = fx_engine_count(engine);
    for (;;) {
        size_t found =
            fx_skiplist_forward(engine->order, last, last_len, last != NULL, records, 64);
        if (found == 0 || seen > keys) {
            break;
        }
        for (size_t i = 0; i < found; i++) {
            last = fx_record_key(records[i]);
            last_len = fx_record_key_len(records[i]);
            uint64_t hash = fx_engine_hash(engine, last, last_len);
            fx_shard *shard = fx_engine_shard(engine, hash);
            if (fx_commit_any_locked(shard, hash, last, last_len) != records[i]) {
                fx_check_problem(sink, "order: a record that the table does not have");
            }
        }
        seen += found;
    }
    if (seen != keys) {
        fx_check_problem(sink, "order: %llu keys, and %llu in the table", (unsigned long long)seen,
                         (unsigned long long)keys);
    }
}

/* Applies what is pending with all shards locked, so that the order can be compared. */
static feox_status settle_locked(fx_engine *engine) {
    for (;;) {
        feox_status status = fx_order_merge_locked(engine);
        if (status != FEOX_OK) {
            return status;
        }
        bool pending = false;
        for (uint32_t i = 0; i < engine->shard_count; i++) {
            fx_spinlock_lock(&engine->shards[i].lock);
            pending = pending || engine->shards[i].pending_count > 0;
        }
        if (!pending) {
            return FEOX_OK;
        }
        for (uint32_t i = 0; i < engine->shard_count; i++) {
            fx_spinlock_unlock(&engine->shards[i].lock);
        }
    }
}

feox_status fx_check_memory(fx_engine *engine, fx_check_sink *sink) {
    fx_mutex_lock(&engine->merge_lock);
    feox_status status = settle_locked(engine);
    if (status == FEOX_OK) {
        for (uint32_t i = 0; i < engine->shard_count; i++) {
            check_shard_locked(&engine->shards[i], sink);
        }
        const char *wrong = fx_block_pool_check(&engine->blocks);
        if (wrong != NULL) {
            fx_check_problem(sink, "%s", wrong);
        }
        if (engine->ordered) {
            check_order_locked(engine, sink);
        }
        for (uint32_t i = 0; i < engine->shard_count; i++) {
            fx_spinlock_unlock(&engine->shards[i].lock);
        }
    }
    fx_mutex_unlock(&engine->merge_lock);
    return status;
}
