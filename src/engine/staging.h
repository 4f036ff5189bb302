/* staging: aligned buffers in which the flusher lays out what it writes, and the waiting for it.
 * Belongs to whoever leads the flusher. One buffer exists from the start, so that a flush that has
 * begun never fails for lack of memory; with more of them writes overlap.
 */
#ifndef FX_ENGINE_STAGING_H
#define FX_ENGINE_STAGING_H

#include "disk/dev.h"

#define FX_STAGING_SLOTS 4u

typedef struct fx_staging_slot {
    fx_dev_op op;
    uint8_t *buffer; /* FX_SEGMENT_SIZE_MAX bytes */
    bool under_way;
} fx_staging_slot;

typedef struct fx_staging {
    fx_dev_queue *queue;
    fx_staging_slot slots[FX_STAGING_SLOTS];
    unsigned under_way;
    int error;   /* the first one since the last drain, -errno; -ENOSPC gives way to any other */
    bool unsafe; /* something was written since the last sync */
    uint64_t written_bytes;
} fx_staging;

feox_status fx_staging_init(fx_staging *staging, fx_dev_queue *queue);
void fx_staging_deinit(fx_staging *staging);
/* A slot whose buffer is free; waits for a write to end if all are under way. Hand it on with
 * fx_staging_write before the next acquire. */
fx_staging_slot *fx_staging_acquire(fx_staging *staging);
/* Writes the first `size` bytes of the slot's buffer. */
void fx_staging_write(fx_staging *staging, fx_staging_slot *slot, uint64_t offset, size_t size);
/* The same, and it is on stable storage when it is drained; nothing else is. */
void fx_staging_write_safely(fx_staging *staging, fx_staging_slot *slot, uint64_t offset,
                             size_t size);
/* Writes `size` bytes from anywhere, through the buffers; the last block is filled up with
 * zeros. Ends early once a write is known to have failed. */
void fx_staging_copy(fx_staging *staging, uint64_t offset, const uint8_t *bytes, size_t size);
/* Waits for all writes. 0, or -errno of the first that failed; -ENOSPC: some were refused, and the
 * device has no other fault (dev.h). */
int fx_staging_drain(fx_staging *staging);
/* Drains, and makes all that was written durable. */
int fx_staging_sync(fx_staging *staging);
/* Gives memory back that an idle store does not need. */
void fx_staging_trim(fx_staging *staging);

#endif
