/* epoch: ordering. A reader claims its slot (seq_cst) and then reads `now` again (seq_cst); a
 * retirer raises `now` (seq_cst) and then reads the slots (seq_cst). In the one total order of
 * these four either the reader sees the raised epoch and enters with that, or the retirer sees the
 * slot. Either way nothing is reused under a reader that could have found it: E1 a pinned slot
 * holds an epoch not above the stamp of anything unlinked after the pin.
 */
#define _GNU_SOURCE
#include "index/epoch.h"

#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "base/atomic.h"

void fx_epoch_init(fx_epoch *epoch) {
    memset(epoch, 0, sizeof *epoch);
    epoch->now = 1;
}

fx_pin fx_epoch_pin(fx_epoch *epoch) {
    /* The stack's address tells threads apart well enough to start at different slots. */
    uintptr_t here = (uintptr_t)&epoch;
    uint32_t start = (uint32_t)((here >> 12) * 0x9E3779B9u >> 16);
    for (;;) {
        for (uint32_t i = 0; i < FX_EPOCH_SLOTS; i++) {
            fx_epoch_slot *slot = &epoch->slots[(start + i) % FX_EPOCH_SLOTS];
            uint64_t now = fx_load_seq_cst(&epoch->now);
            uint64_t expected = 0;
            if (fx_load_relaxed(&slot->pinned) != 0 ||
                !fx_cas_seq_cst(&slot->pinned, &expected, now)) {
                continue;
            }
            for (uint64_t again; (again = fx_load_seq_cst(&epoch->now)) != now; now = again) {
                fx_store_seq_cst(&slot->pinned, again);
            }
            return (fx_pin){slot};
        }
        (void)sched_yield();
    }
}

void fx_epoch_unpin(fx_pin pin) {
    FX_ASSERT(fx_load_relaxed(&pin.slot->pinned) != 0);
    /* Release: what the reader read is read before the slot is seen free. */
    fx_store_release(&pin.slot->pinned, (uint64_t)0);
}

uint64_t fx_epoch_stamp(fx_epoch *epoch) {
    return fx_add_seq_cst(&epoch->now, (uint64_t)1);
}

uint64_t fx_epoch_safe(fx_epoch *epoch) {
    uint64_t safe = fx_load_seq_cst(&epoch->now);
    for (uint32_t i = 0; i < FX_EPOCH_SLOTS; i++) {
        uint64_t pinned = fx_load_seq_cst(&epoch->slots[i].pinned);
        if (pinned != 0 && pinned < safe) {
            safe = pinned;
        }
    }
    return safe;
}
