/* flusher: placeholder until the file side is joined: files cannot be opened. */
#include "engine/flusher.h"

feox_status fx_flusher_open(fx_engine *engine, fx_dev *dev, const fx_flusher_options *options,
                            fx_flusher **flusher_out) {
    (void)engine, (void)dev, (void)options, (void)flusher_out;
    return FEOX_ERR_UNSUPPORTED;
}
feox_status fx_flusher_close(fx_flusher *flusher, uint64_t now_ns) {
    (void)flusher, (void)now_ns;
    return FEOX_ERR_UNSUPPORTED;
}
uint64_t fx_flusher_open_group(const fx_flusher *flusher) {
    (void)flusher;
    return 0;
}
feox_status fx_flusher_sync(fx_flusher *flusher, uint64_t group, uint64_t now_ns) {
    (void)flusher, (void)group, (void)now_ns;
    return FEOX_ERR_UNSUPPORTED;
}
void fx_flusher_step(fx_flusher *flusher, uint64_t now_ns, uint32_t flush_interval_ms) {
    (void)flusher, (void)now_ns, (void)flush_interval_ms;
}
feox_status fx_flusher_status(const fx_flusher *flusher) {
    (void)flusher;
    return FEOX_ERR_UNSUPPORTED;
}
feox_status fx_flusher_read(fx_flusher *flusher, uint64_t location, const void *key,
                            size_t key_len, uint64_t version, fx_block **block_out) {
    (void)flusher, (void)location, (void)key, (void)key_len, (void)version, (void)block_out;
    return FEOX_ERR_UNSUPPORTED;
}
uint64_t fx_flusher_time(const fx_flusher *flusher) {
    (void)flusher;
    return 0;
}
void fx_flusher_stats(fx_flusher *flusher, uint64_t now_ns, feox_statistics *stats) {
    (void)flusher, (void)now_ns, (void)stats;
}
#include "engine/check_disk.h"
feox_status fx_check_disk(fx_flusher *flusher, fx_check_sink *sink) {
    (void)flusher, (void)sink;
    return FEOX_OK;
}
