/* compactor: checkpoints, and the moving of live records that comes with them. Owner of the volume
 * only.
 */
#ifndef FX_ENGINE_COMPACTOR_H
#define FX_ENGINE_COMPACTOR_H

#include "engine/volume.h"

/* The next group may not fit the ring, or dead space has grown out of proportion. O(1). */
bool fx_compactor_must(const fx_flusher *flusher);
/* A checkpoint, or some compaction, is worth its cost when there is time. */
bool fx_compactor_due(const fx_flusher *flusher);
/* A checkpoint would make some space free. */
bool fx_compactor_can_free(const fx_flusher *flusher);

/* Writes a checkpoint of what is durable, moves the records out of the ring and, if it is worth it
 * or `compact`, out of the emptiest segments; then the space of what is dead is free again. A group
 * that is cut and not yet written does not mind. FEOX_ERR_SPACE, FEOX_ERR_MEMORY: nothing changed.
 * Else the store has become read-only. Cost: the segment table and what is moved written once, two
 * flushes of the device. */
feox_status fx_compactor_checkpoint(fx_flusher *flusher, bool compact);

/* Writes both copies of the superblock and counts its generation up; when this returns, the new one
 * is durable. 0 or -errno. */
int fx_compactor_write_root(fx_flusher *flusher, fx_superblock *root);

#endif
