/* refusal: why this way. A group that was refused is told as FEOX_ERR_SPACE, and a durable write of
 * it is taken back, so it must not come to light after a crash. Nothing on disk refers to it unless
 * its entry is there. If the entry's first block is not, it is not. Else it is erased, durably. If
 * even that is refused it depends on the rest: an entry of which something is missing, or that
 * names what is not there, never verifies, for no group is written before it is erased (the scar)
 * or a checkpoint has made its epoch an old one, and no later segment says that it is of this
 * group; after a crash it is a torn tail. A group that is there whole would count, and nobody can
 * be told yes or no: the store becomes read-only.
 *
 * Looking at the device beforehand would not help: how much of its free space is left for blocks
 * that are reserved already, no file system says.
 */
#include "engine/refusal.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"

/* The background tries again after so long, and at most so many times longer. */
#define RETRY_NS 100000000u
#define RETRY_DOUBLINGS 5u

void fx_refusal_begin(fx_flusher *flusher) {
    fx_refusal *refusal = &flusher->refusal;
    if (fx_load_relaxed(&refusal->lasts) == 0) {
        refusal->room_deletes =
            fx_load_relaxed(&flusher->drawn) + FX_TOMBSTONE_BLOCKS * FX_BLOCK_SIZE;
        fx_store_relaxed(&refusal->lasts, 1u);
    }
    refusal->known = true;
    fx_store_relaxed(&flusher->room, (uint64_t)0);
    fx_store_relaxed(&flusher->run, (uint64_t)0);
    fx_volume_lock_shards(flusher);
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        flusher->engine->shards[i].wbuf.admitted = 0;
    }
    fx_volume_unlock_shards(flusher);
    fx_refusal_rest(flusher);
}

void fx_refusal_end(fx_flusher *flusher) {
    fx_store_relaxed(&flusher->refusal.lasts, 0u);
    flusher->refusal.times = 0;
    flusher->refusal.retry_ns = 0;
}

void fx_refusal_rest(fx_flusher *flusher) {
    fx_refusal *refusal = &flusher->refusal;
    refusal->retry_ns = flusher->time_ns + ((uint64_t)RETRY_NS << refusal->times);
    refusal->times += refusal->times < RETRY_DOUBLINGS ? 1u : 0u;
}

bool fx_refusal_rests(const fx_flusher *flusher, uint64_t now_ns) {
    return now_ns < flusher->refusal.retry_ns;
}

/* Whether recovery would take the entry for a group. */
static bool is_whole(const fx_flusher *flusher, const uint8_t *bytes, size_t size,
                     uint64_t position) {
    fx_journal_entry entry;
    fx_journal_segment named;
    if (!fx_journal_decode(bytes, size, &flusher->id, position, flusher->root.epoch, &entry)) {
        return false;
    }
    if (entry.inline_offset == 0) {
        return true;
    }
    fx_journal_segment_at(bytes, 0, &named);
    return fx_format_segment_matches(bytes + entry.inline_offset, &flusher->id, named.position,
                                     named.byte_length, named.checksum);
}

static feox_status erase(fx_flusher *flusher, uint64_t position) {
    fx_staging_slot *slot = fx_staging_acquire(&flusher->staging);
    memset(slot->buffer, 0, FX_BLOCK_SIZE);
    fx_staging_write(&flusher->staging, slot, position, FX_BLOCK_SIZE);
    int error = fx_staging_sync(&flusher->staging);
    if (error == -ENOSPC) {
        return fx_error_set(FEOX_ERR_SPACE, ENOSPC, "the device has no room for the journal");
    }
    return error == 0 ? FEOX_OK
                      : fx_volume_fail(flusher, FEOX_ERR_IO, -error, "a group was not written");
}

feox_status fx_refusal_entry(fx_flusher *flusher, uint64_t position, size_t size, bool arrived) {
    uint8_t *bytes = fx_staging_acquire(&flusher->staging)->buffer;
    int error = fx_volume_read(flusher, position, bytes, size);
    if (error != 0) {
        return fx_volume_fail(flusher, FEOX_ERR_IO, -error, "the journal cannot be read back");
    }
    if (fx_journal_begun(bytes, &flusher->id, position, flusher->root.epoch)) {
        bool whole = arrived && is_whole(flusher, bytes, size, position);
        feox_status status = erase(flusher, position);
        if (status == FEOX_ERR_SPACE && whole) {
            return fx_volume_fail(flusher, FEOX_ERR_IO, ENOSPC,
                                  "a group was refused, and may be there all the same");
        }
        if (status != FEOX_OK && status != FEOX_ERR_SPACE) {
            return status;
        }
        flusher->refusal.scar = status == FEOX_OK ? 0 : position;
    }
    return fx_error_set(FEOX_ERR_SPACE, ENOSPC, "the device has no room for a group");
}

feox_status fx_refusal_heal(fx_flusher *flusher) {
    feox_status status = FEOX_OK;
    if (flusher->refusal.scar != 0) {
        status = erase(flusher, flusher->refusal.scar);
        flusher->refusal.scar = status == FEOX_OK ? 0 : flusher->refusal.scar;
    }
    return status;
}
