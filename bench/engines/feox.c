/* libfeox, through feox.h alone: defaults, a cursor kept for scans. */
#include "engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <feox.h>

#define BATCH 64u


/* One cursor for each thread, made by its first scan. */
static _Thread_local feox_cursor *cursor;
static _Thread_local feox_store *cursor_store;
static _Thread_local size_t cursor_limit;

static atomic_ulong refusals;

static void *feox_bench_open(const engine_config *config) {
    feox_options options;
    feox_options_init(&options);
    options.durability = config->durable ? FEOX_DURABILITY_DURABLE : FEOX_DURABILITY_RELAXED;
    options.memory_limit = config->memory_limit;
    options.file_size_limit = config->file_limit;
    char path[512];
    if (config->path != NULL) {
        snprintf(path, sizeof path, "%s/bench.feox", config->path);
    }
    feox_store *store = NULL;
    feox_status status = feox_open(config->path != NULL ? path : NULL, &options, &store);
    if (status != FEOX_OK) {
        fprintf(stderr, "feox: %s %s\n", feox_status_name(status), feox_last_error());
        return NULL;
    }
    return store;
}

static void feox_bench_leave(void *store) {
    if (cursor_store == store) {
        feox_cursor_close(cursor);
        cursor = NULL;
        cursor_store = NULL;
    }
}

static void feox_bench_close(void *store) {
    feox_bench_leave(store);
    if (feox_close(store) != FEOX_OK) {
        fprintf(stderr, "feox: close: %s\n", feox_last_error());
        exit(1);
    }
}

/* What a caller would do whose file is nearly full: flush, and try again. Counted. */
static bool feox_bench_put_full(void *store, const void *key, const void *value, size_t size) {
    feox_status status = FEOX_ERR_SPACE;
    for (int tries = 0; status == FEOX_ERR_SPACE && tries < 1000; tries++) {
        atomic_fetch_add(&refusals, 1);
        feox_flush(store);
        status = feox_insert(store, key, KEY_SIZE, value, size);
    }
    return status == FEOX_OK;
}

static bool feox_bench_put(void *store, const void *key, const void *value, size_t size) {
    feox_status status = feox_insert(store, key, KEY_SIZE, value, size);
    return status == FEOX_OK ||
           (status == FEOX_ERR_SPACE && feox_bench_put_full(store, key, value, size));
}

static uint64_t feox_bench_refused(void *store) {
    (void)store;
    return atomic_load(&refusals);
}

static size_t feox_bench_get(void *store, const void *key, void *buffer, size_t capacity) {
    size_t size;
    return feox_get_into(store, key, KEY_SIZE, buffer, capacity, &size) == FEOX_OK ? size : 0;
}

static bool feox_bench_remove(void *store, const void *key) {
    return feox_delete(store, key, KEY_SIZE) == FEOX_OK;
}

static void feox_bench_get_many(void *store, engine_lookup *lookups, size_t count) {
    feox_lookup asked[BATCH];
    for (size_t done = 0; done < count;) {
        size_t some = count - done < BATCH ? count - done : BATCH;
        for (size_t i = 0; i < some; i++) {
            engine_lookup *ask = &lookups[done + i];
            asked[i].key = ask->key;
            asked[i].key_len = KEY_SIZE;
            asked[i].buffer = ask->buffer;
            asked[i].capacity = ask->capacity;
        }
        feox_get_many(store, asked, some);
        for (size_t i = 0; i < some; i++) {
            lookups[done + i].size = asked[i].status == FEOX_OK ? asked[i].value_len : 0;
        }
        done += some;
    }
}

static size_t feox_bench_scan(void *store, const void *key, size_t count, engine_sink sink,
                              void *context) {
    if (cursor == NULL || cursor_store != store || cursor_limit != count) {
        feox_cursor_close(cursor);
        feox_range range;
        feox_range_init(&range);
        range.limit = count;
        if (feox_cursor_open(store, &range, &cursor) != FEOX_OK) {
            return 0;
        }
        cursor_store = store;
        cursor_limit = count;
    }
    size_t seen = 0;
    feox_slice found, value;
    if (feox_cursor_seek(cursor, key, KEY_SIZE) != FEOX_OK) {
        return 0;
    }
    while (seen < count && feox_cursor_next(cursor, &found, &value) == FEOX_OK) {
        sink(context, found.data, value.data, value.size);
        seen++;
    }
    return seen;
}

static bool feox_bench_flush(void *store) {
    return feox_flush(store) == FEOX_OK;
}

const engine engine_feox = {
    .name = "feox",
    .note = "defaults",
    .files = true,
    .threads = true,
    .open = feox_bench_open,
    .close = feox_bench_close,
    .put = feox_bench_put,
    .get = feox_bench_get,
    .remove = feox_bench_remove,
    .get_many = feox_bench_get_many,
    .scan = feox_bench_scan,
    .flush = feox_bench_flush,
    .refused = feox_bench_refused,
    .leave = feox_bench_leave,
};
