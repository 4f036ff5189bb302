/* FeOxDB, the ancestor, in a library of bench/feoxdb that cargo builds; absent without it.
 *
 * feoxdb: as shipped. feoxdb-tuned: with what its manual offers for speed, the hash table sized
 * for the keys (hash_bits) and no memory limit; with a file also its cache. In both, files are made
 * large enough, because they do not grow and every value takes a block of 4 KiB. Relaxed only: it
 * has no durable write, so a durable one is an insert and flush_all.
 */
#include "engine.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ancestor {
    void *(*open)(const char *path, uint32_t hash_bits, uint64_t file_size, bool unlimited,
                  bool caching);
    void (*close)(void *store);
    bool (*put)(void *store, const void *key, size_t key_len, const void *value, size_t size);
    size_t (*get)(void *store, const void *key, size_t key_len, void *buffer, size_t capacity);
    bool (*remove)(void *store, const void *key, size_t key_len);
    size_t (*scan)(void *store, const void *key, size_t key_len, size_t count, engine_sink sink,
                   void *context);
    bool (*flush)(void *store);
} ancestor;

static ancestor calls;
static bool durable;

static bool ancestor_load(void) {
    const char *path = getenv("FEOX_BENCH_FEOXDB");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL) {
        fprintf(stderr, "feoxdb: %s\n", path != NULL ? dlerror() : "FEOX_BENCH_FEOXDB is not set");
        return false;
    }
    const struct {
        const char *name;
        void *at;
    } wanted[] = {
        {"feoxdb_open", &calls.open}, {"feoxdb_close", &calls.close},
        {"feoxdb_put", &calls.put},   {"feoxdb_get", &calls.get},
        {"feoxdb_scan", &calls.scan}, {"feoxdb_remove", &calls.remove},
        {"feoxdb_flush", &calls.flush},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        void *symbol = dlsym(library, wanted[i].name);
        if (symbol == NULL) {
            fprintf(stderr, "feoxdb: %s\n", dlerror());
            return false;
        }
        memcpy(wanted[i].at, &symbol, sizeof symbol);
    }
    return true;
}

static void *ancestor_start(const engine_config *config, bool tuned) {
    if (!ancestor_load()) {
        return NULL;
    }
    char path[600];
    uint32_t bits = 0;
    uint64_t file_size = 0;
    if (tuned) {
        for (bits = 10; (UINT64_C(1) << bits) < config->keys; bits++) {
        }
    }
    if (config->path != NULL) {
        snprintf(path, sizeof path, "%s/bench.feox", config->path);
        uint64_t blocks = (config->value_size + 100 + 4095) / 4096;
        file_size = (config->keys * 2 * blocks + 1024) * 4096;
    }
    durable = config->durable;
    return calls.open(config->path != NULL ? path : NULL, bits, file_size, tuned,
                      tuned && config->path != NULL);
}

static void *ancestor_open(const engine_config *config) {
    return ancestor_start(config, false);
}

static void *ancestor_open_tuned(const engine_config *config) {
    return ancestor_start(config, true);
}

static void ancestor_close(void *store) {
    calls.close(store);
}

static bool ancestor_put(void *store, const void *key, const void *value, size_t size) {
    return calls.put(store, key, KEY_SIZE, value, size) && (!durable || calls.flush(store));
}

static size_t ancestor_get(void *store, const void *key, void *buffer, size_t capacity) {
    return calls.get(store, key, KEY_SIZE, buffer, capacity);
}

static bool ancestor_remove(void *store, const void *key) {
    return calls.remove(store, key, KEY_SIZE);
}

static size_t ancestor_scan(void *store, const void *key, size_t count, engine_sink sink,
                            void *context) {
    return calls.scan(store, key, KEY_SIZE, count, sink, context);
}

static bool ancestor_flush(void *store) {
    return calls.flush(store);
}

const engine engine_feoxdb = {
    .name = "feoxdb",
    .note = "the ancestor as shipped",
    .files = true,
    .threads = true,
    .slow = true,
    .open = ancestor_open,
    .close = ancestor_close,
    .put = ancestor_put,
    .get = ancestor_get,
    .remove = ancestor_remove,
    .scan = ancestor_scan,
    .flush = ancestor_flush,
};

const engine engine_feoxdb_tuned = {
    .name = "feoxdb-tuned",
    .note = "the ancestor: table sized for the keys, no memory limit, cache for files",
    .files = true,
    .threads = true,
    .slow = true,
    .open = ancestor_open_tuned,
    .close = ancestor_close,
    .put = ancestor_put,
    .get = ancestor_get,
    .remove = ancestor_remove,
    .scan = ancestor_scan,
    .flush = ancestor_flush,
};
