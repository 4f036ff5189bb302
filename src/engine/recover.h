/* recover: makes the file of a new store, or brings an existing one back into the engine. Called
 * once, by fx_flusher_open, before anyone else is in.
 */
#ifndef FX_ENGINE_RECOVER_H
#define FX_ENGINE_RECOVER_H

#include "engine/volume.h"

/* Fills the volume and the engine from the file. FEOX_ERR_NOT_FEOX, _NEWER, _CORRUPT leave the file
 * untouched, and so does everything if the store is read-only. Cost: reads the live segments once,
 * in pieces of up to 1 MiB; memory beyond the engine's is bounded by the file's size. */
feox_status fx_recover_open(fx_flusher *flusher, const fx_flusher_options *options);

#endif
