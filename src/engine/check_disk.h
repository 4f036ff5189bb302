/* check_disk: every structure and every live byte of the file. */
#ifndef FX_ENGINE_CHECK_DISK_H
#define FX_ENGINE_CHECK_DISK_H

#include "engine/check.h"

/* Flushes, then reads and verifies superblocks, checkpoint, journal, the headers of segments, and,
 * unless `quick`, every live record and large value, and compares them with the tables (I1, I3).
 * Memory: a few MiB. FEOX_OK: checked, see the sink; else it could not be. */
feox_status fx_check_disk(fx_flusher *flusher, bool quick, fx_check_sink *sink);

#endif
