/* commit: the only way a change becomes visible: table, order, write buffer, deadlines, counts, all
 * under the shard's lock. `_locked`: the caller holds it.
 *
 * A commit reserves everything that could fail first and then changes everything; a failed one
 * changed nothing.
 */
#ifndef FX_ENGINE_COMMIT_H
#define FX_ENGINE_COMMIT_H

#include "base/entry.h"
#include "engine/engine.h"

/* What a key is to become. */
typedef struct fx_change {
    const uint8_t *key;
    uint32_t key_len;
    uint64_t hash;
    const uint8_t *value;
    uint64_t value_len;
    fx_block *block;    /* for value_len > FX_INLINE_VALUE_MAX: made before the lock was taken. The
                           commit takes the reference if it succeeds */
    uint64_t timestamp; /* 0: the commit chooses */
    uint64_t expiry_ns; /* 0: never */
    bool hidden;        /* nobody sees it before its group is durable: fx_commit_reveal_locked */
    bool kept;          /* hidden, and never taken back: fx_commit_cancel_locked */
} fx_change;

typedef struct fx_committed {
    uint64_t version;
    uint64_t timestamp;
    uint64_t group; /* what must be durable for this commit to be; 0: memory only. With
                       FEOX_ERR_BUSY: what must be before it can be tried again */
} fx_committed;

const fx_hidden *fx_commit_find_hidden_locked(const fx_shard *shard, uint64_t hash, const void *key,
                                              size_t key_len);
/* The newest write of the key that is hidden; NULL: none. */
static inline const fx_hidden *fx_commit_hidden_locked(const fx_shard *shard, uint64_t hash,
                                                       const void *key, size_t key_len) {
    return FX_LIKELY(shard->hidden_count == 0)
               ? NULL
               : fx_commit_find_hidden_locked(shard, hash, key, key_len);
}

/* Sets the key. `old` is what it replaces: its record in the table, expired or not, or NULL; for a
 * kept change of a key whose newest hidden write is kept too, the record of that, or NULL if it
 * deletes. FEOX_ERR_BUSY: a hidden write of the key, or (for a hidden one that is not kept) a write
 * that is not on disk, must be durable first: unlock, flush committed_out->group, try again.
 * FEOX_ERR_MEMORY (nothing changed), or FEOX_END: the pending list or the write buffer is full,
 * unlock, fx_commit_relieve and try again. */
feox_status fx_commit_put_locked(fx_shard *shard, fx_record *old, const fx_change *change,
                                 uint64_t now_ns, fx_committed *committed_out);
/* Removes `old`, a record in the table. As above. */
feox_status fx_commit_delete_locked(fx_shard *shard, fx_record *old, uint64_t hash,
                                    uint64_t timestamp, bool expired, uint64_t now_ns,
                                    fx_committed *committed_out);
/* The same without anyone seeing it before its group is durable. `old`, `kept`: as for a put. */
feox_status fx_commit_hide_delete_locked(fx_shard *shard, fx_record *old, uint64_t hash,
                                         uint64_t timestamp, bool kept, uint64_t now_ns,
                                         fx_committed *committed_out);
/* Flusher: `group` is durable; shows what was hidden until then. False: no memory for all of it. */
bool fx_commit_reveal_locked(fx_shard *shard, uint64_t group);
/* Takes a hidden write back, not a kept one, whose group could not be written. False: it is
 * durable, or may yet be. */
bool fx_commit_cancel_locked(fx_shard *shard, uint64_t version);
/* Makes room for a commit of such a size: merges pending changes, flushes a full write buffer,
 * finds space in the file. No lock held. FEOX_ERR_SPACE; FEOX_ERR_MEMORY; or what a flush returns.
 */
feox_status fx_commit_relieve(fx_shard *shard, size_t key_len, uint64_t value_len, bool deletes);

/* Replaces the value in memory of a clean record by its place on disk. Same version. False: not
 * possible now. */
bool fx_commit_evict_locked(fx_shard *shard, fx_record *record);
/* The other way, with what was read: a long value stays in `block`, a short one is copied into the
 * record, where memory costs what it is charged. False: no room; dropping others may make some. */
bool fx_commit_restore_locked(fx_shard *shard, fx_record *record, fx_block *block);

/* ---- For recovery, before anyone else is in ---- */

/* About so many keys are recovered: the tables need not grow on the way. FEOX_ERR_MEMORY. */
feox_status fx_commit_recovery_expect(fx_engine *engine, uint64_t keys);
/* The hash of a key that will soon be recovered; its place in the table is asked for. */
uint64_t fx_commit_recovery_hash(const fx_engine *engine, const void *key, size_t key_len);
/* A record that was found in the file at `location`: it becomes the key's if its version is at
 * least the one there; a tombstone removes it. *dead_out: the location that is dead by it: the
 * replaced one's, its own if it lost, 0: none. LARGE: `block` (a reference is taken) or NULL: stays
 * on disk; PUT: the value is kept in memory unless over the limit. */
feox_status fx_commit_recovered(fx_engine *engine, uint64_t hash, const fx_entry *entry,
                                uint64_t location, fx_block *block, uint64_t *dead_out);
/* The value of every record up to `version` may be out of date: reading it is FEOX_ERR_CORRUPT from
 * now on. For a store that is only read. Cost: all records. FEOX_ERR_MEMORY. */
feox_status fx_commit_doubt(fx_engine *engine, uint64_t version);
/* Whether the value of a record that is found may stay in memory. */
bool fx_commit_recovers_value(const fx_engine *engine, uint64_t value_len);
/* Notes what the order is to be made of, and sees that memory is within its limit. */
feox_status fx_commit_recovery_done(fx_engine *engine);
/* The record of a key whether expired or not, its shard locked by the caller. */
fx_record *fx_commit_any_locked(fx_shard *shard, uint64_t hash, const void *key, size_t key_len);

#endif
