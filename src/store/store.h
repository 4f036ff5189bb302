/* store: what feox_store is, and what every public call begins with. Private to store/.
 */
#ifndef FX_STORE_STORE_H
#define FX_STORE_STORE_H

#include <unistd.h>

#include "engine/engine.h"
#include "engine/flusher.h"
#include "feox.h"
#include "store/options.h"
#include "store/workers.h"

struct feox_store {
    fx_engine engine;
    fx_dev *dev; /* NULL: memory only */
    feox_options options;
    uint64_t clock_offset_ns; /* store clock = monotonic clock + this */
    const uint32_t *alive;    /* 1; reads as 0 in a forked child */
    int64_t pid;              /* where the system cannot wipe a page on fork */
    fx_workers workers;
    int32_t event_fd; /* atomic: of feox_durable_fd; -1: nobody has asked for it */
};

/* Raises the event: the engine's call when more is durable. `context` is the store. */
void fx_store_moved(void *context);

/* What feox_salvage wants besides options. */
typedef struct fx_store_how {
    bool rescue;    /* with read_only: fx_flusher_options */
    bool exclusive; /* FEOX_EXISTS if the file exists */
    struct fx_check_sink *sink;
} fx_store_how;

/* feox_open with more to say. */
feox_status fx_store_open(const char *path, const feox_options *options, const fx_store_how *how,
                          feox_store **store_out);
/* Gives a failure its general text as feox_last_error, if no lower layer has described it. */
feox_status fx_report_failure(feox_status status);

static inline feox_status fx_report(feox_status status) {
    return FX_LIKELY(status >= 0) ? status : fx_report_failure(status);
}

/* FEOX_OK, FEOX_ERR_ARGUMENT (no store) or FEOX_ERR_FORKED: without a detail, for in a forked child
 * not even memory may be asked for. */
static inline feox_status fx_store_enter(const feox_store *store) {
    if (FX_UNLIKELY(store == NULL)) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    bool forked = store->alive != NULL ? *store->alive == 0 : store->pid != getpid();
    return FX_UNLIKELY(forked) ? FEOX_ERR_FORKED : FEOX_OK;
}

/* The same for a call that changes something: also FEOX_ERR_READ_ONLY and the like. */
feox_status fx_store_enter_write(const feox_store *store);

/* FEOX_ERR_ARGUMENT (empty or NULL), FEOX_ERR_TOO_LARGE. */
static inline feox_status fx_store_check_key(const void *key, size_t key_len) {
    if (FX_UNLIKELY(key == NULL || key_len - 1 >= FEOX_KEY_SIZE_MAX)) {
        return key == NULL || key_len == 0 ? FEOX_ERR_ARGUMENT : FEOX_ERR_TOO_LARGE;
    }
    return FEOX_OK;
}

#endif
