/* engine: what joins memory and disk: the shards, the order, the file. Plain state, no threads.
 *
 * Lock order: room lock -> flusher mutex -> merge lock -> shard locks in index order. Nothing is
 * waited for with a shard lock held. Reads take none of them.
 */
#ifndef FX_ENGINE_ENGINE_H
#define FX_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/lock.h"
#include "engine/limbo.h"
#include "engine/wbuf.h"
#include "index/epoch.h"
#include "index/skiplist.h"
#include "index/slab.h"
#include "index/table.h"

typedef struct fx_flusher fx_flusher;
typedef struct fx_engine fx_engine;

/* Changes of the order that wait for the skip list, per shard. */
#define FX_PENDING_MAX 1024u

/* One key to expire; stale once the record's version is another. */
typedef struct fx_deadline {
    uint64_t expiry_ns;
    uint64_t version;
    fx_record *record;
} fx_deadline;

/* A durable write between its commit and the moment its group is on stable storage: nobody sees it,
 * and whoever wants to change its key waits; but one that nobody waits for is never taken back, so
 * that others of its kind may build on it. Those of one key stand in commit order, one per group.
 */
typedef struct fx_hidden {
    fx_record *record; /* filled, not published; of a delete: only holds the key */
    uint64_t hash;
    uint64_t version;
    uint64_t group;
    bool deletes;
    bool kept; /* never taken back */
} fx_hidden;

/* Counters of one shard; guarded by its lock. */
typedef struct fx_shard_counts {
    uint64_t inserts, updates, deletes, expirations, evictions;
} fx_shard_counts;

typedef struct fx_shard {
    /* Constant after open. */
    fx_engine *engine;
    uint32_t index;
    fx_spinlock lock;
    /* Guarded by the lock; the table is read without it. */
    uint64_t counter; /* version = counter << 8 | index */
    fx_table table;
    fx_wbuf wbuf;
    fx_limbo limbo;
    uint32_t pending_count;   /* also read without the lock, relaxed: is there anything? */
    uint32_t merging_count;   /* changes taken off the list and not yet in the order */
    uint32_t pending_key_max; /* longest key on the list, bytes */
    uintptr_t *pending;       /* record pointers; bit 0: drop. Room for FX_PENDING_MAX */
    fx_deadline *deadlines;   /* binary heap, soonest first */
    size_t deadline_count, deadline_capacity;
    fx_hidden *hidden;
    uint32_t hidden_count, hidden_capacity;
    fx_shard_counts counts;
    fx_slab slab;
} __attribute__((aligned(64))) fx_shard;

struct fx_engine {
    /* Constant after open. */
    fx_shard *shards;
    uint32_t shard_count; /* power of two */
    uint32_t shard_shift; /* hash >> shift is the shard */
    bool ordered;
    bool persistent;
    bool read_only;
    bool mark_reads;       /* readers set the CLOCK bits */
    bool rescued;          /* recovery searched the file for what it holds */
    uint64_t memory_limit; /* 0: none */
    uint64_t value_size_limit;
    fx_hash_key hash_key;
    uint64_t (*clock)(void *context); /* store clock, ns; never goes back */
    void *clock_context;
    void (*moved)(void *context); /* more is durable, or a flush failed; NULL: nobody asks */
    void *moved_context;
    fx_flusher *flusher; /* NULL: memory only */
    fx_skiplist *order;  /* NULL: not ordered */
    /* Shared. */
    fx_slab_pool pool;
    fx_block_pool blocks;
    fx_epoch epoch;
    fx_mutex merge_lock;   /* guards the order as its writer, what it is made of, two buffers */
    fx_record **unordered; /* the order is still to be made of these; also read without the lock */
    size_t unordered_count;
    fx_skiplist_op *merge_ops;
    fx_record **merge_unlinked;
    fx_mutex room_lock;     /* one writer at a time makes room under the memory limit */
    uint64_t offered;       /* atomic, relaxed: bytes of the blocks that writes under way hold */
    uint64_t evict_shard;   /* atomic, relaxed: where the CLOCK goes on */
    uint64_t corrupt_reads; /* atomic, relaxed */
};

typedef struct fx_engine_options {
    bool ordered, persistent, read_only;
    uint64_t memory_limit, value_size_limit, expected_keys;
    uint64_t (*clock)(void *context);
    void *clock_context;
    void (*moved)(void *context); /* may be NULL */
    void *moved_context;
    uint32_t shard_count;
} fx_engine_options;

/* A store in memory; the flusher is attached by fx_flusher_open. FEOX_ERR_MEMORY. */
feox_status fx_engine_init(fx_engine *engine, const fx_engine_options *options);
/* Frees everything; no call may be inside. The flusher is closed before. */
void fx_engine_deinit(fx_engine *engine);

static inline uint64_t fx_engine_hash(const fx_engine *engine, const void *key, size_t key_len) {
    return fx_hash(&engine->hash_key, key, key_len);
}

static inline fx_shard *fx_engine_shard(const fx_engine *engine, uint64_t hash) {
    return &engine->shards[hash >> engine->shard_shift];
}

static inline uint64_t fx_engine_now(const fx_engine *engine) {
    return engine->clock(engine->clock_context);
}

/* How many keys there are, by a look at each shard: one number for all would cost every insert a
 * locked instruction. */
uint64_t fx_engine_count(const fx_engine *engine);
/* Bytes of memory the store accounts for. */
uint64_t fx_engine_memory(const fx_engine *engine);
/* Memory is limited and `more` bytes would go past the limit. */
bool fx_engine_over_limit(const fx_engine *engine, uint64_t more);

#endif
