/* probe: whether a write that is safe by itself, or a write and a flush, costs less on this device.
 * Found out on the first groups that are one write: they take turns, and the quicker way of the two
 * is kept. Owner of the volume only.
 */
#ifndef FX_ENGINE_PROBE_H
#define FX_ENGINE_PROBE_H

#include <stdint.h>

#include "feox.h"

typedef struct fx_probe {
    uint32_t taken;        /* measurements so far */
    uint64_t least_ns[2];  /* the quickest of each way */
    feox_sync_method best; /* FEOX_SYNC_UNKNOWN until all are taken */
} fx_probe;

/* How to write the next such group. */
feox_sync_method fx_probe_next(const fx_probe *probe);
/* It took so long. */
void fx_probe_note(fx_probe *probe, feox_sync_method method, uint64_t took_ns);

#endif
