/* engine: setting up and tearing down. Sizes follow the number of shards, and nothing big is
 * touched before it is used, so that an empty store stays small.
 */
#include "engine/engine.h"

#include <string.h>

#include "base/mem.h"

/* Two halves of each shard, and what doubling takes beyond, are a small part of the limit. */
static uint64_t wbuf_size_max(const fx_engine *engine) {
    uint64_t share = engine->memory_limit / FX_WBUF_MEMORY_SHARE / engine->shard_count;
    if (engine->memory_limit == 0 || share > FX_WBUF_SIZE_MAX) {
        return FX_WBUF_SIZE_MAX;
    }
    return share > FX_WBUF_SIZE_MIN ? share : FX_WBUF_SIZE_MIN;
}

/* Pages of released blocks that a class keeps: enough for values that are replaced all the time. */
#define BLOCK_STOCK ((size_t)128 << 10)
#define BLOCK_STOCK_MEMORY_SHARE 256u

static size_t block_stock(const fx_engine *engine) {
    uint64_t share = engine->memory_limit / BLOCK_STOCK_MEMORY_SHARE;
    return engine->memory_limit == 0 || share > BLOCK_STOCK ? BLOCK_STOCK : (size_t)share;
}

static bool shard_init(fx_engine *engine, uint32_t index, uint64_t expected_keys) {
    fx_shard *shard = &engine->shards[index];
    shard->engine = engine;
    shard->index = index;
    fx_slab_init(&shard->slab, &engine->pool, engine->persistent ? 16 : 8);
    fx_wbuf_init(&shard->wbuf, &engine->pool, wbuf_size_max(engine));
    if (engine->ordered) {
        shard->pending = fx_mem_map(FX_PENDING_MAX * sizeof *shard->pending, 4096);
        if (shard->pending == NULL) {
            return false;
        }
    }
    return fx_table_init(&shard->table, &engine->pool, &engine->hash_key,
                         expected_keys / engine->shard_count);
}

static size_t shards_size(const fx_engine *engine) {
    return fx_round_up(engine->shard_count * sizeof(fx_shard), 4096);
}

/* What a store takes before it holds anything, and keeps. */
static size_t fixed_cost(const fx_engine *engine) {
    size_t pending = FX_PENDING_MAX * sizeof(uintptr_t) * engine->shard_count;
    size_t merge = FX_PENDING_MAX * (sizeof(fx_skiplist_op) + sizeof(fx_record *));
    return shards_size(engine) + (engine->ordered ? pending + merge : 0);
}

static bool locks_init(fx_engine *engine) {
    if (!fx_mutex_init(&engine->merge_lock)) {
        return false;
    }
    if (!fx_mutex_init(&engine->room_lock)) {
        fx_mutex_deinit(&engine->merge_lock);
        return false;
    }
    return true;
}

feox_status fx_engine_init(fx_engine *engine, const fx_engine_options *options) {
    memset(engine, 0, sizeof *engine);
    engine->shard_count = options->shard_count;
    engine->shard_shift = 64u - (uint32_t)__builtin_ctz(options->shard_count);
    engine->ordered = options->ordered;
    engine->persistent = options->persistent;
    engine->read_only = options->read_only;
    engine->memory_limit = options->memory_limit;
    engine->mark_reads = options->persistent && options->memory_limit != 0;
    engine->value_size_limit = options->value_size_limit;
    engine->clock = options->clock;
    engine->clock_context = options->clock_context;
    engine->moved = options->moved;
    engine->moved_context = options->moved_context;
    fx_slab_pool_init(&engine->pool);
    fx_block_pool_init(&engine->blocks, &engine->pool, block_stock(engine));
    fx_epoch_init(&engine->epoch);
    if (!locks_init(engine)) {
        engine->shard_count = 0;
        return FEOX_ERR_MEMORY;
    }
    if (!fx_hash_key_init(&engine->hash_key)) {
        fx_engine_deinit(engine);
        return FEOX_ERR_UNSUPPORTED;
    }
    engine->shards = fx_mem_map(shards_size(engine), 4096);
    bool ok = engine->shards != NULL;
    for (uint32_t i = 0; ok && i < engine->shard_count; i++) {
        ok = shard_init(engine, i, options->expected_keys);
    }
    if (ok && engine->ordered) {
        engine->order = fx_skiplist_create();
        engine->merge_ops =
            fx_mem_map(fx_round_up(FX_PENDING_MAX * sizeof(fx_skiplist_op), 4096), 4096);
        engine->merge_unlinked =
            fx_mem_map(fx_round_up(FX_PENDING_MAX * sizeof(fx_record *), 4096), 4096);
        ok = engine->order != NULL && engine->merge_ops != NULL && engine->merge_unlinked != NULL;
    }
    if (!ok) {
        fx_engine_deinit(engine);
        return FEOX_ERR_MEMORY;
    }
    fx_slab_pool_charge(&engine->pool, (int64_t)fixed_cost(engine));
    return FEOX_OK;
}

static bool release_block(void *context, fx_record *record) {
    (void)context;
    fx_block_release(fx_record_block(record));
    return true;
}

static void shard_deinit(fx_shard *shard) {
    if (shard->table.directory != NULL) {
        fx_table_each_locked(&shard->table, release_block, NULL);
    }
    for (uint32_t i = 0; i < shard->hidden_count; i++) {
        (void)release_block(NULL, shard->hidden[i].record);
    }
    fx_mem_free(shard->hidden);
    fx_table_deinit(&shard->table);
    fx_limbo_deinit(&shard->limbo, &shard->slab);
    fx_wbuf_deinit(&shard->wbuf);
    fx_mem_unmap(shard->pending, FX_PENDING_MAX * sizeof *shard->pending);
    fx_mem_free(shard->deadlines);
}

void fx_engine_deinit(fx_engine *engine) {
    for (uint32_t i = 0; engine->shards != NULL && i < engine->shard_count; i++) {
        shard_deinit(&engine->shards[i]);
    }
    fx_mem_unmap(engine->shards, shards_size(engine));
    engine->shards = NULL;
    if (engine->order != NULL) {
        fx_skiplist_destroy(engine->order);
    }
    fx_mem_free(engine->unordered);
    fx_mem_unmap(engine->merge_ops, fx_round_up(FX_PENDING_MAX * sizeof(fx_skiplist_op), 4096));
    fx_mem_unmap(engine->merge_unlinked, fx_round_up(FX_PENDING_MAX * sizeof(fx_record *), 4096));
    fx_block_pool_deinit(&engine->blocks);
    fx_slab_pool_deinit(&engine->pool);
    fx_mutex_deinit(&engine->room_lock);
    fx_mutex_deinit(&engine->merge_lock);
    /* Once is enough: whoever cleans up behind a failed init sees that nothing is there. */
    memset(engine, 0, sizeof *engine);
}

uint64_t fx_engine_count(const fx_engine *engine) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        count += fx_load_relaxed(&engine->shards[i].table.count);
    }
    return count;
}

uint64_t fx_engine_memory(const fx_engine *engine) {
    return fx_slab_pool_used(&engine->pool) +
           (engine->order != NULL ? fx_skiplist_memory(engine->order) : 0);
}

bool fx_engine_over_limit(const fx_engine *engine, uint64_t more) {
    return engine->memory_limit != 0 && fx_engine_memory(engine) + more > engine->memory_limit;
}
