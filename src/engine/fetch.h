/* fetch: the only way a value comes back, from memory or from disk. Any thread, no lock held. What
 * is there is read without a lock; that a key has expired is said under the shard's.
 */
#ifndef FX_ENGINE_FETCH_H
#define FX_ENGINE_FETCH_H

#include "engine/engine.h"

/* What was found. A value of up to FX_INLINE_VALUE_MAX bytes may be in the caller's buffer (block
 * is NULL); otherwise `block` holds it, with a reference for the caller. */
typedef fx_record_view fx_fetched;

/* FEOX_OK, FEOX_NOT_FOUND, or a failure of the disk. `buffer` may be smaller than the value: it
 * then holds the beginning. In memory, small: two cache misses, no lock, nothing shared written. */
feox_status fx_fetch(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                     void *buffer, size_t capacity, fx_fetched *out);
/* The same without the value. */
feox_status fx_fetch_info(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                          fx_fetched *out);

#endif
