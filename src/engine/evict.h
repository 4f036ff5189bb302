/* evict: keeps the memory of a file store under its limit by dropping values that are on disk,
 * those that nobody read since the CLOCK hand came by last (Corbato 1968). On demand: whoever
 * needs memory makes room. Any thread, no lock held.
 */
#ifndef FX_ENGINE_EVICT_H
#define FX_ENGINE_EVICT_H

#include "engine/engine.h"

/* Drops up to `count` values of one shard and frees their slots. Returns how many; fewer: there
 * are no more to drop. */
uint32_t fx_evict_shard(fx_shard *shard, uint32_t count);
/* The same over all shards, in turn. */
uint32_t fx_evict_any(fx_engine *engine, uint32_t count);
/* Drops a few values of this shard, or of any (NULL), if that is done quickly. Returns how many. */
uint32_t fx_evict_for_read(fx_engine *engine, fx_shard *shard);

#endif
