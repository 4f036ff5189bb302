/* durable: what is on stable storage, asked, waited for, or polled.
 *
 * Who must be back in time does not lead a flush: the device may take as long as it likes. The
 * worker does it, and the caller waits beside it. Who has time leads, which saves the hand-over.
 *
 * The event is raised after the sequence moved, and cleared before it is read: what moves in
 * between raises it again, so at worst somebody looks once too often.
 */
#include "base/error.h"
#include "base/event.h"
#include "store/store.h"

void fx_store_moved(void *context) {
    feox_store *store = context;
    int32_t fd = fx_load_acquire(&store->event_fd);
    if (fd >= 0) {
        fx_event_raise(fd);
    }
}

feox_status feox_durable_sequence(feox_store *store, uint64_t *sequence_out) {
    if (sequence_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *sequence_out = 0;
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK) {
        return status;
    }
    int32_t fd = fx_load_acquire(&store->event_fd);
    if (fd >= 0) {
        fx_event_clear(fd);
    }
    return store->engine.flusher == NULL ? FEOX_OK
                                         : fx_flusher_durable(store->engine.flusher, sequence_out);
}

feox_status feox_wait_durable(feox_store *store, uint64_t sequence, int64_t timeout_ms) {
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK || sequence == 0) {
        return status;
    }
    fx_flusher *flusher = store->engine.flusher;
    if (flusher == NULL || !fx_flusher_knows(flusher, sequence)) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "no write has this sequence");
    }
    if (timeout_ms < 0) {
        return fx_flusher_sync(flusher, sequence, fx_engine_now(&store->engine));
    }
    status = fx_flusher_wait(flusher, sequence, 0);
    if (status == FEOX_PENDING) {
        fx_workers_hurry(&store->workers, FX_URGENT_FLUSH);
        status = fx_flusher_wait(flusher, sequence, (uint64_t)timeout_ms);
    }
    return status;
}

feox_status feox_durable_fd(feox_store *store, int *fd_out) {
    if (fd_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *fd_out = -1;
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK) {
        return status;
    }
    int32_t had = fx_load_acquire(&store->event_fd);
    if (had < 0) {
        int made = fx_event_open();
        if (made < 0) {
            return fx_error_set(FEOX_ERR_MEMORY, -made, "no descriptor to be had");
        }
        if (fx_cas_acq_rel(&store->event_fd, &had, made)) {
            had = made;
        } else {
            fx_event_close(made); /* another thread was first */
        }
    }
    *fd_out = had;
    return FEOX_OK;
}
