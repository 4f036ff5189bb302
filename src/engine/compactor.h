/* compactor: checkpoints, and the moving of live records that comes with them. How, not when or
 * what: that is cleaner.h. Owner of the volume only.
 */
#ifndef FX_ENGINE_COMPACTOR_H
#define FX_ENGINE_COMPACTOR_H

#include "engine/volume.h"

/* What a checkpoint is to move, besides the records in the ring, which it always moves. */
typedef struct fx_cleaning {
    fx_extent avoid; /* all that lies there; count 0: nothing */
    uint32_t
        fullness_max; /* segments that are emptier, the emptiest first, in 1/1024; 0: none ... */
    uint64_t budget;  /* ... up to so many bytes of live records */
} fx_cleaning;

/* Segments with more live bytes than this are left as they are, in 1/1024. */
#define FX_CLEAN_DENSE 960u

/* The next group may not fit the ring, or dead space has grown out of proportion. O(1). */
bool fx_compactor_must(const fx_flusher *flusher);
/* A checkpoint is worth its cost when there is time. */
bool fx_compactor_due(const fx_flusher *flusher);
/* A checkpoint would make some space free. */
bool fx_compactor_can_free(const fx_flusher *flusher);
/* Bytes in segments that are kept for their live records, and are not live themselves. O(1). */
uint64_t fx_compactor_sparse_bytes(const fx_flusher *flusher);
/* There is a segment that could be moved and is emptier than that. */
bool fx_compactor_any_sparse(const fx_flusher *flusher, uint32_t fullness_max);

/* Writes a checkpoint of what is durable and moves records; then the space of what is dead is free
 * again, as soon as no reader looks at it. A group that is cut and not yet written does not mind.
 * FEOX_ERR_SPACE, FEOX_ERR_MEMORY: nothing changed. Else the store has become read-only.
 * *moved_out: bytes, those out of the ring not counted. Cost: the segment table and what is moved
 * written once, two flushes of the device. */
feox_status fx_compactor_clean(fx_flusher *flusher, const fx_cleaning *what, uint64_t *moved_out);
/* The same for what is dead alone, or with `compact` also out of the emptiest segments, for the
 * space: as many of them as the free space allows. */
feox_status fx_compactor_checkpoint(fx_flusher *flusher, bool compact);

/* Writes both copies of the superblock and counts its generation up; when this returns 0, the new
 * one is durable. -ENOSPC: it was refused, and the old one goes on to count. Else -errno. */
int fx_compactor_write_root(fx_flusher *flusher, fx_superblock *root);

#endif
