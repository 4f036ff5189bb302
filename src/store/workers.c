/* workers: a plain timed wait, no queue: what is to be done is seen from the state. A late wake-up
 * makes work later, never wrong; writers who cannot wait do the step themselves.
 */
#define _GNU_SOURCE
#include "store/workers.h"

#include <signal.h>

#include "engine/flusher.h"
#include "engine/order.h"
#include "engine/sweeper.h"

/* How soon a flush that was urgent and found no room is tried again. */
#define RETRY_MS 100u

static void step(fx_workers *workers, uint64_t *swept_ns) {
    fx_engine *engine = workers->engine;
    uint64_t now = fx_engine_now(engine);
    if (now - *swept_ns >= (uint64_t)workers->sweep_interval_ms * 1000000u) {
        *swept_ns = now;
        fx_sweeper_step(engine, now);
    }
    uint64_t waiting;
    (void)fx_sweeper_tidy(engine, &waiting);
    if (engine->flusher != NULL && !engine->read_only) {
        fx_flusher_step(engine->flusher, now, workers->flush_interval_ms);
    }
}

/* Waits until something is urgent, or for `interval_ms`. Returns what is. */
static uint32_t wait_locked(fx_workers *workers, uint64_t interval_ms) {
    if (fx_load_relaxed(&workers->urgent) == 0) {
        fx_cond_wait_for(&workers->wake, &workers->lock, interval_ms);
    }
    return fx_exchange_acq_rel(&workers->urgent, 0u);
}

static void *run(void *argument) {
    fx_workers *workers = argument;
    fx_engine *engine = workers->engine;
    uint64_t swept_ns = fx_engine_now(engine);
    uint64_t stepped_ns = swept_ns;
    uint32_t interval = workers->flush_interval_ms < workers->sweep_interval_ms
                            ? workers->flush_interval_ms
                            : workers->sweep_interval_ms;
    /* Half of it, so that nothing is older than the interval and a half when it is written. */
    interval = interval > 1 ? interval / 2 : 1;
    bool again = false; /* what was urgent found no room: it has not become less so */
    fx_mutex_lock(&workers->lock);
    while (!workers->stop) {
        uint32_t urgent = wait_locked(workers, again && interval > RETRY_MS ? RETRY_MS : interval);
        if (workers->stop) {
            break;
        }
        fx_mutex_unlock(&workers->lock);
        uint64_t now = fx_engine_now(engine);
        if ((urgent & FX_URGENT_MERGE) != 0) {
            fx_order_merge_long(engine);
        }
        if ((urgent & FX_URGENT_FLUSH) != 0 || again) {
            /* A failure is told to who asks for durability. */
            feox_status status =
                fx_flusher_sync(engine->flusher, fx_flusher_open_group(engine->flusher), now);
            again = status != FEOX_OK && fx_flusher_status(engine->flusher) == FEOX_OK;
        }
        if ((urgent & FX_URGENT_WRITE) != 0) {
            fx_flusher_step_long(engine->flusher, now);
        }
        if (now - stepped_ns >= (uint64_t)interval * 1000000u) {
            stepped_ns = now;
            step(workers, &swept_ns);
        }
        fx_mutex_lock(&workers->lock);
    }
    fx_mutex_unlock(&workers->lock);
    return NULL;
}

void fx_workers_hurry(fx_workers *workers, uint32_t what) {
    /* Who finds it set has committed before the thread clears it and cuts the group. */
    if ((fx_load_relaxed(&workers->urgent) & what) != 0 ||
        fx_or_acq_rel(&workers->urgent, what) != 0) {
        return;
    }
    fx_mutex_lock(&workers->lock);
    fx_cond_wake_all(&workers->wake);
    fx_mutex_unlock(&workers->lock);
}

/* The host's signals are not for our thread. */
static bool start_thread(fx_workers *workers) {
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&workers->thread, NULL, run, workers) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

feox_status fx_workers_start(fx_workers *workers, fx_engine *engine, uint32_t flush_interval_ms,
                             uint32_t sweep_interval_ms) {
    *workers = (fx_workers){.engine = engine,
                            .flush_interval_ms = flush_interval_ms,
                            .sweep_interval_ms = sweep_interval_ms};
    if (!fx_mutex_init(&workers->lock)) {
        return FEOX_ERR_MEMORY;
    }
    if (!fx_cond_init(&workers->wake)) {
        fx_mutex_deinit(&workers->lock);
        return FEOX_ERR_MEMORY;
    }
    workers->running = start_thread(workers);
    if (!workers->running) {
        fx_cond_deinit(&workers->wake);
        fx_mutex_deinit(&workers->lock);
        return FEOX_ERR_MEMORY;
    }
    return FEOX_OK;
}

void fx_workers_stop(fx_workers *workers) {
    if (!workers->running) {
        return;
    }
    fx_mutex_lock(&workers->lock);
    workers->stop = true;
    fx_cond_wake_all(&workers->wake);
    fx_mutex_unlock(&workers->lock);
    (void)pthread_join(workers->thread, NULL);
    workers->running = false;
    fx_cond_deinit(&workers->wake);
    fx_mutex_deinit(&workers->lock);
}
