/* epoch: says when memory that readers may still look at can be reused.
 *
 * Readers pin around their reads; whoever unlinked something takes a stamp and keeps the pair on a
 * list of its own until fx_epoch_safe() is above the stamp. Any thread may call anything; slots are
 * claimed per call, threads never register. pin + unpin: two uncontended atomic operations.
 * Epoch-based reclamation: Fraser 2004; slots per call instead of per thread are our own choice.
 */
#ifndef FX_INDEX_EPOCH_H
#define FX_INDEX_EPOCH_H

#include <stdint.h>

#include "base/config.h"

#define FX_EPOCH_SLOTS 128u

typedef struct fx_epoch_slot {
    uint64_t pinned; /* 0: free; else the epoch its owner entered */
    uint8_t padding[FX_CACHE_LINE - 8];
} fx_epoch_slot;

typedef struct fx_epoch {
    uint64_t now; /* starts at 1, rises with each stamp */
    uint8_t padding[FX_CACHE_LINE - 8];
    fx_epoch_slot slots[FX_EPOCH_SLOTS];
} fx_epoch;

typedef struct fx_pin {
    fx_epoch_slot *slot;
} fx_pin;

/* Made by zeroing (all slots free) and this. */
void fx_epoch_init(fx_epoch *epoch);
/* Waits, yielding, only while more than FX_EPOCH_SLOTS calls are pinned at once. */
fx_pin fx_epoch_pin(fx_epoch *epoch);
void fx_epoch_unpin(fx_pin pin);
/* Call after unlinking. What was unlinked may be reused once fx_epoch_safe() > the stamp. */
uint64_t fx_epoch_stamp(fx_epoch *epoch);
/* Reads all slots: call it once per batch. */
uint64_t fx_epoch_safe(fx_epoch *epoch);

#endif
