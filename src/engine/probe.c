/* probe: why this way. Measuring on groups that have to be written anyway costs nothing, neither
 * time at open nor writes, and measures what counts: these blocks, this file system, this device.
 * The least of a few is compared, because everything that disturbs a measurement makes it longer.
 *
 * Figures (4 KiB, median, write and flush : safe write): ext4 on virtio 166 : 158 us, XFS on loop
 * 148 : 140, btrfs 1029 : 1047, tmpfs 1.2 : 1.0. None of these devices can write past its cache
 * (FUA), so what is gained is a system call; one that can saves the flush of everything else in it.
 */
#include "engine/probe.h"

/* Of both ways together. */
#define MEASUREMENTS 16u

static unsigned index_of(feox_sync_method method) {
    return method == FEOX_SYNC_WRITE ? 1 : 0;
}

feox_sync_method fx_probe_next(const fx_probe *probe) {
    if (probe->best != FEOX_SYNC_UNKNOWN) {
        return probe->best;
    }
    return probe->taken % 2 == 0 ? FEOX_SYNC_FLUSH : FEOX_SYNC_WRITE;
}

void fx_probe_note(fx_probe *probe, feox_sync_method method, uint64_t took_ns) {
    uint64_t *least = &probe->least_ns[index_of(method)];
    if (probe->best != FEOX_SYNC_UNKNOWN) {
        return;
    }
    if (probe->taken < 2 || took_ns < *least) {
        *least = took_ns;
    }
    probe->taken++;
    if (probe->taken == MEASUREMENTS) {
        probe->best = probe->least_ns[1] <= probe->least_ns[0] ? FEOX_SYNC_WRITE : FEOX_SYNC_FLUSH;
    }
}
