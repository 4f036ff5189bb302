/* group: one commit group from the write buffers to stable storage. Owner of the volume only.
 */
#ifndef FX_ENGINE_GROUP_H
#define FX_ENGINE_GROUP_H

#include "engine/volume.h"

/* Cuts the open group and makes it durable. FEOX_OK: everything committed before the call is on
 * stable storage. FEOX_ERR_SPACE, FEOX_ERR_MEMORY: nothing was written, the commits wait on, the
 * next flush tries again. Else the store has become read-only. Cost: the group's bytes written
 * once, one device flush. */
feox_status fx_group_flush(fx_flusher *flusher, uint64_t now_ns);

#endif
