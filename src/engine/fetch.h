/* fetch: the only way a value comes back, from memory or from disk. Any thread, no lock held. What
 * is there is read without a lock; that a key has expired is said under the shard's.
 */
#ifndef FX_ENGINE_FETCH_H
#define FX_ENGINE_FETCH_H

#include "engine/engine.h"
#include "engine/reader.h"
#include "index/table_read.h"

/* What was found. A value of up to FX_INLINE_VALUE_MAX bytes may be in the caller's buffer (block
 * is NULL); otherwise `block` holds it, with a reference for the caller. */
typedef fx_record_view fx_fetched;

/* FEOX_OK, FEOX_NOT_FOUND, or a failure of the disk. `buffer` may be smaller than the value: it
 * then holds the beginning. In memory, small: two cache misses, no lock, nothing shared written. */
feox_status fx_fetch(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                     void *buffer, size_t capacity, fx_fetched *out);
/* The same, but a value that is on disk only is not read: FEOX_PENDING, and `out` says where it is.
 * It is as the caller saw it at this moment, and may be read later. */
feox_status fx_fetch_memory(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                            void *buffer, size_t capacity, fx_fetched *out);
/* Reads what fx_fetch_memory left, up to FX_READS_MAX values at once: found.block has the value
 * then, with a reference. Those that have none, ask fx_fetch. */
void fx_fetch_together(fx_engine *engine, fx_wanted *wanted, size_t count);
/* The common case alone, compiled into the calls for which a get's own cost counts: a plain value
 * in memory, or no such key. FX_PASS_RETRY: the others know. */
static inline fx_table_pass fx_fetch_plain(const fx_engine *engine, uint64_t hash, const void *key,
                                           size_t key_len, void *buffer, size_t capacity,
                                           size_t *value_len_out) {
    return FX_UNLIKELY(engine->mark_reads)
               ? FX_PASS_RETRY
               : fx_table_read_plain(&fx_engine_shard(engine, hash)->table, hash, key, key_len,
                                     buffer, capacity, value_len_out);
}
/* The same without the value. */
feox_status fx_fetch_info(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                          fx_fetched *out);

#endif
