/* write: the one way in which public calls change a key: lock, look, decide, commit, unlock, wait
 * if it must be durable. Private to store/.
 */
#ifndef FX_STORE_WRITE_H
#define FX_STORE_WRITE_H

#include "engine/commit.h"
#include "store/store.h"

typedef struct fx_writing fx_writing;

/* A durable write that has not been waited for. */
typedef struct fx_waiting {
    fx_shard *shard; /* NULL: there is nothing to wait for */
    uint64_t version, group;
} fx_waiting;

/* Looks at the key's live record (NULL: none) under the lock and fills value, value_len or block,
 * and expiry_ns of `change` (which it finds as after fx_write_run's defaults). FEOX_OK: commit
 * that. */
typedef feox_status (*fx_decide)(fx_writing *w, fx_record *live, fx_change *change);

struct fx_writing {
    feox_store *store;
    fx_intent intent;
    fx_change change; /* the caller: value and value_len, if known before; the rest: here */
    fx_decide decide; /* NULL: the key is deleted */
    void *context;
    bool bad_argument; /* one that only this call has; for fx_write_begin */
    bool durable;      /* nobody may see it before it is on stable storage ... */
    bool kept;         /* ... and nobody waits for it */
    uint64_t now_ns;
    uint64_t live_version; /* of the live record, for `decide`; 0: none */
    bool created;
    uint64_t new_len;  /* of the value that `decide` chose last */
    fx_waiting *later; /* NULL: fx_write_run waits for a durable write; else the caller does */
    fx_committed committed;
    /* A value that was on disk, read back for `decide`; see fx_write_value. */
    fx_block *loaded;
    uint64_t loaded_version;
    fx_block *block;  /* the new value, if it is not inline: what `change` offers to the commit */
    uint64_t offered; /* what `block` and `loaded` were charged with */
    uint8_t *scratch; /* FX_INLINE_VALUE_MAX bytes, for fx_write_same_value alone */
};

/* What every call that writes one key begins with: zeroes written_out (may be NULL) and checks, in
 * this order, the store, bad_argument, the key, the value in `change` and `write`, which may have
 * the flags `allowed` and becomes w->intent. Every failure is described. */
feox_status fx_write_begin(fx_writing *w, const void *key, size_t key_len, const feox_write *write,
                           uint32_t allowed, feox_written *written_out);
/* Runs one write; fills written_out (may be NULL). Every status of the public calls. */
feox_status fx_write_run(fx_writing *w, const void *key, size_t key_len, feox_written *written_out);

/* Waits until nothing of the key is in flight. */
feox_status fx_write_settle(feox_store *store, const void *key, size_t key_len);
/* The same for all keys of a shard. */
feox_status fx_write_settle_shard(feox_store *store, fx_shard *shard);
/* Waits until some durable writes are on stable storage: one flush for all. If they cannot be,
 * those that are not are taken back, and the others lose their shard. (If the store has become
 * read-only, those that cannot be taken back stay hidden.) */
feox_status fx_write_wait(feox_store *store, fx_waiting *list, size_t count);

/* For `decide`: the live record's value, in place. False: it must be read from disk first; return
 * FEOX_TRUNCATED, and decide is called again. */
bool fx_write_value(const fx_writing *w, const fx_record *live, const uint8_t **data_out,
                    uint64_t *size_out);
/* For `decide`: the value stays what it is. False: as above. */
bool fx_write_same_value(fx_writing *w, const fx_record *live, fx_change *change);
/* For `decide`: what becomes of the time to live, when it is kept unless told otherwise. */
uint64_t fx_write_kept_expiry(const fx_writing *w, const fx_record *live);
/* ttl_ms from now on the store's clock; never 0. */
uint64_t fx_write_expiry(uint64_t now_ns, uint64_t ttl_ms);

#endif
