/* sweeper: removes expired keys, as commits like any other, and gives idle memory back. */
#ifndef FX_ENGINE_SWEEPER_H
#define FX_ENGINE_SWEEPER_H

#include "engine/engine.h"

/* One pass over all shards. Any thread, no lock held. */
void fx_sweeper_step(fx_engine *engine, uint64_t now_ns);
/* Before the store is closed: removes a few expired keys of each shard, if there are any. So
 * something is written, with the time, and all that have expired stay so at the next open, whatever
 * the wall clock says then. */
void fx_sweeper_finish(fx_engine *engine, uint64_t now_ns);
/* Merges pending changes, frees what readers left, trims. Returns how much was freed, and in
 * waiting_out how much readers still look at. Any thread, no lock held. */
uint64_t fx_sweeper_tidy(fx_engine *engine, uint64_t *waiting_out);

#endif
