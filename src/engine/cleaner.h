/* cleaner: when live records and values move, and which: so that the file holds not much more than
 * what lives in it, and gets shorter when that gets less. Owner of the volume only, except
 * fx_cleaner_compact.
 */
#ifndef FX_ENGINE_CLEANER_H
#define FX_ENGINE_CLEANER_H

#include "engine/volume.h"

/* A checkpoint, and with it as much compaction as is due and affordable (config.h). For whoever
 * flushes and finds that a checkpoint must be. */
feox_status fx_cleaner_checkpoint(fx_flusher *flusher);
/* Background: a checkpoint, compaction, or shortening the file, if one of them is due. */
void fx_cleaner_step(fx_flusher *flusher, uint64_t now_ns);
/* Makes a run of `blocks` free blocks by moving what lies in its way, where enough is free in all.
 * FEOX_ERR_SPACE: it cannot be. Cost: what lies there is written once, and a checkpoint. */
feox_status fx_cleaner_make_run(fx_flusher *flusher, uint64_t blocks);
/* Makes the file as short as it can be. Takes the ownership in turns with others, by steps. No lock
 * held. FEOX_ERR_SPACE, FEOX_ERR_MEMORY: it is as short as was possible; FEOX_ERR_IO: the store is
 * read-only. */
feox_status fx_cleaner_compact(fx_flusher *flusher);

#endif
