/* refusal: what the store does when the device has no space for blocks of the file, although they
 * were reserved: file systems that copy on write, thin devices, quotas. Owner of the volume only,
 * but for what is marked.
 */
#ifndef FX_ENGINE_REFUSAL_H
#define FX_ENGINE_REFUSAL_H

#include "engine/volume.h"

/* A group was refused and its commits wait again. Until one is written puts find no room, so that
 * each tries a flush of its own; deletes find some for as many tombstones as otherwise. */
void fx_refusal_begin(fx_flusher *flusher);
/* A group was written, or none is left to be. */
void fx_refusal_end(fx_flusher *flusher);
/* The background is to leave the device alone for a while, longer each time. */
void fx_refusal_rest(fx_flusher *flusher);
bool fx_refusal_rests(const fx_flusher *flusher, uint64_t now_ns);

/* A journal entry of `size` bytes was refused, or something that it names; `arrived`: all that it
 * names may be there. FEOX_ERR_SPACE: it will never count, whatever happens. Else the store has
 * become read-only. */
feox_status fx_refusal_entry(fx_flusher *flusher, uint64_t position, size_t size, bool arrived);
/* Before anything is written to the ring: erases what a refused entry left there. FEOX_ERR_SPACE,
 * or the store has become read-only. */
feox_status fx_refusal_heal(fx_flusher *flusher);

#endif
