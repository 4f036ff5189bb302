/* store: open, close, and what every call begins with.
 *
 * The store's clock is the wall clock at open plus a monotonic clock: it neither jumps nor goes
 * back while the store is open, and over a reopening it is at least what it was when the file was
 * last written.
 */
#define _GNU_SOURCE
#include "store/store.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"
#include "base/mem.h"
#include "disk/dev.h"
#include "engine/commit.h"
#include "engine/order.h"
#include "engine/sweeper.h"

static uint64_t store_clock(void *context) {
    const feox_store *store = context;
    return fx_clock_monotonic_ns() + store->clock_offset_ns;
}

feox_status fx_store_enter_write(const feox_store *store) {
    feox_status status = fx_store_enter(store);
    if (status == FEOX_OK && FX_UNLIKELY(store->engine.read_only)) {
        status = fx_report(FEOX_ERR_READ_ONLY);
    }
    if (status == FEOX_OK && store->engine.persistent) {
        status = fx_flusher_status(store->engine.flusher);
        if (FX_UNLIKELY(status != FEOX_OK)) {
            fx_flusher_tell(store->engine.flusher); /* the same cause as the first time */
            status = FEOX_ERR_READ_ONLY;
        }
    }
    return status;
}

/* Eight shards per processor keep writers apart; a power of two for the hash. */
static uint32_t shard_count(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t wanted = processors > 0 ? (uint32_t)processors * 8u : FX_SHARDS_MIN;
    uint32_t count = FX_SHARDS_MIN;
    while (count < wanted && count < FX_SHARDS_MAX) {
        count *= 2;
    }
    return count;
}

static feox_status start_engine(feox_store *store, bool persistent) {
    const feox_options *o = &store->options;
    const fx_engine_options options = {
        .ordered = o->ordered == FEOX_YES,
        .persistent = persistent,
        .read_only = o->read_only == FEOX_YES,
        .memory_limit = o->memory_limit,
        .value_size_limit = o->value_size_limit,
        .expected_keys = o->expected_keys,
        .clock = store_clock,
        .clock_context = store,
        .moved = fx_store_moved,
        .moved_context = store,
        .shard_count = shard_count(),
    };
    return fx_report(fx_engine_init(&store->engine, &options));
}

/* The ring of a new file: in a short one it would be space that records need. */
static uint64_t ring_blocks(uint64_t file_size_limit) {
    uint64_t size = file_size_limit / FX_JOURNAL_LIMIT_SHARE;
    size = size > FX_JOURNAL_SIZE_MIN ? size : FX_JOURNAL_SIZE_MIN;
    return (file_size_limit != 0 && size < FX_JOURNAL_SIZE ? size : FX_JOURNAL_SIZE) /
           FX_BLOCK_SIZE;
}

static feox_status start_file(feox_store *store, const char *path, const fx_store_how *extra) {
    const feox_options *o = &store->options;
    const fx_dev_open how = {
        .path = path,
        .read_only = o->read_only == FEOX_YES,
        .create = o->create == FEOX_YES && o->read_only != FEOX_YES,
        .exclusive = extra->exclusive,
        .backend = o->io_backend,
    };
    feox_status status = fx_dev_file_open(&how, &store->dev);
    if (status != FEOX_OK) {
        return status;
    }
    bool small = o->file_size_initial < FX_FILE_SIZE_MIN;
    const fx_flusher_options options = {
        .path = path,
        .read_only = how.read_only,
        .file_size_initial = small ? FX_FILE_SIZE_MIN : o->file_size_initial,
        .file_size_limit = o->file_size_limit,
        .ring_blocks = ring_blocks(o->file_size_limit),
        .rescue = extra->rescue,
        .sink = extra->sink,
    };
    status = fx_flusher_open(&store->engine, store->dev, &options, &store->engine.flusher);
    if (status != FEOX_OK) {
        /* A file that this open made, and could not finish, goes again. */
        fx_dev_file_discard(store->dev, path);
        store->dev = NULL;
        return status;
    }
    uint64_t persisted = fx_flusher_time(store->engine.flusher);
    uint64_t now = store_clock(store);
    if (persisted > now) {
        store->clock_offset_ns += persisted - now;
    }
    return fx_report(fx_commit_recovery_done(&store->engine));
}

/* Whatever was started, in reverse; FEOX_OK or what the flush said. `unmade`, if not NULL, is the
 * path of a file that goes again if this store made it. */
static feox_status stop(feox_store *store, const char *unmade) {
    feox_status status = FEOX_OK;
    fx_workers_stop(&store->workers);
    if (store->engine.flusher != NULL) {
        status = fx_flusher_close(store->engine.flusher, fx_engine_now(&store->engine));
        store->engine.flusher = NULL;
    }
    if (store->dev != NULL && unmade != NULL) {
        fx_dev_file_discard(store->dev, unmade);
    } else if (store->dev != NULL) {
        fx_dev_close(store->dev);
    }
    if (store->event_fd >= 0) {
        fx_event_close(store->event_fd);
    }
    if (store->engine.shard_count != 0) {
        bool limited = store->engine.memory_limit != 0;
        fx_engine_deinit(&store->engine);
        if (limited) {
            fx_mem_trim(); /* who limits memory wants it back */
        }
    }
    fx_mem_unmap((void *)(uintptr_t)store->alive, 4096);
    fx_mem_unmap(store, fx_round_up(sizeof *store, 4096));
    return status;
}

feox_status feox_open(const char *path, const feox_options *options, feox_store **store_out) {
    const fx_store_how plain = {0};
    return fx_store_open(path, options, &plain, store_out);
}

feox_status fx_store_open(const char *path, const feox_options *options, const fx_store_how *how,
                          feox_store **store_out) {
    if (store_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *store_out = NULL;
    feox_options known;
    feox_status status = fx_options_read(options, &known);
    if (status != FEOX_OK) {
        return status;
    }
    if (path != NULL && path[0] == '\0') {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "the path is empty");
    }
    feox_store *store = fx_mem_map(fx_round_up(sizeof *store, 4096), 4096);
    if (store == NULL) {
        return fx_report(FEOX_ERR_MEMORY);
    }
    store->options = known;
    store->pid = getpid();
    store->event_fd = -1;
    uint32_t *alive = fx_mem_map_wipe_on_fork();
    if (alive != NULL) {
        *alive = 1;
        store->alive = alive;
    }
    store->clock_offset_ns = fx_clock_wall_ns() - fx_clock_monotonic_ns();
    status = start_engine(store, path != NULL);
    if (status == FEOX_OK && path != NULL) {
        status = start_file(store, path, how);
    }
    if (status == FEOX_OK) {
        status = fx_report(fx_workers_start(&store->workers, &store->engine,
                                            known.flush_interval_ms, known.sweep_interval_ms));
    }
    if (status == FEOX_OK && fx_order_pending(&store->engine)) {
        fx_workers_hurry(&store->workers, FX_URGENT_MERGE);
    }
    if (status == FEOX_OK && store->dev != NULL && fx_flusher_made(store->engine.flusher)) {
        /* Last: until then a failure takes the file away again. */
        status = fx_dev_file_sync_name(store->dev, path);
    }
    if (status != FEOX_OK) {
        (void)stop(store, path); /* the first failure is the one to tell */
        return status;
    }
    *store_out = store;
    return FEOX_OK;
}

feox_status feox_flush(feox_store *store) {
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK || store->engine.flusher == NULL || store->engine.read_only) {
        return status;
    }
    return fx_flusher_sync(store->engine.flusher, fx_flusher_open_group(store->engine.flusher),
                           fx_engine_now(&store->engine));
}

feox_status feox_close(feox_store *store) {
    if (store == NULL) {
        return FEOX_OK;
    }
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK) {
        return status;
    }
    if (store->engine.flusher != NULL) {
        fx_sweeper_finish(&store->engine, fx_engine_now(&store->engine));
    }
    return stop(store, NULL);
}
