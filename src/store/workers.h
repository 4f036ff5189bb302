/* workers: the only threads of the library: loops around the engine's steps. One per store: it
 * sweeps expired keys, merges, frees, and for a file writes what has waited long enough.
 */
#ifndef FX_STORE_WORKERS_H
#define FX_STORE_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "engine/engine.h"

/* What may be urgent; bits. */
enum { FX_URGENT_FLUSH = 1u, FX_URGENT_MERGE = 2u, FX_URGENT_WRITE = 4u };

typedef struct fx_workers {
    fx_engine *engine;
    uint32_t flush_interval_ms, sweep_interval_ms;
    fx_mutex lock;
    fx_cond wake;
    bool stop;       /* guarded by lock */
    uint32_t urgent; /* atomic: what is to be done now, FX_URGENT_... */
    pthread_t thread;
    bool running;
} fx_workers;

/* FEOX_ERR_MEMORY: no thread to be had. Signals are blocked in the thread. */
feox_status fx_workers_start(fx_workers *workers, fx_engine *engine, uint32_t flush_interval_ms,
                             uint32_t sweep_interval_ms);
/* As soon as the thread can, the open group is flushed (who commits while it does shares the next),
 * long lists of the order are merged, or long write buffers written. Any thread, no lock held.
 * Cost: a load if it was asked for already. */
void fx_workers_hurry(fx_workers *workers, uint32_t what);
/* Returns when the thread is gone. Also after a failed or missing start. */
void fx_workers_stop(fx_workers *workers);

#endif
