#include "engine/check_disk.h"

feox_status fx_check_disk(fx_flusher *flusher, fx_check_sink *sink) {
    (void)flusher, (void)sink;
    return FEOX_OK;
}
