/* evict: keeps the memory of a file store under its limit by dropping values that are on disk,
 * those that nobody read since the CLOCK hand came by last (Corbato 1968). Any thread, no lock
 * held.
 */
#ifndef FX_ENGINE_EVICT_H
#define FX_ENGINE_EVICT_H

#include "engine/engine.h"

/* Drops values until the store is `slack` bytes below its limit, or nothing more can go. True: it
 * is below the limit. */
bool fx_evict_step(fx_engine *engine, uint64_t slack);

#endif
