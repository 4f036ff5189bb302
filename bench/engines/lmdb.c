/* LMDB, as its documentation advises for speed.
 *
 * Relaxed: MDB_WRITEMAP | MDB_NOSYNC, no read-ahead, no thread-local readers; in memory its file is
 * on tmpfs. Durable: MDB_WRITEMAP is left out (a commit then writes pages and calls fdatasync).
 * A thread keeps its read transaction and takes a new snapshot only if something was written since,
 * so passes that only read pay for none. Scans use one cursor for each thread, renewed with it.
 * lmdb: each write is a transaction, seen by all when it returns, as with every other engine here.
 * lmdb-batch: 1,000 writes a transaction; they are seen when it ends. One thread.
 */
#include "engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#define BATCH 1000

typedef struct lmdb {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *writing; /* lmdb-batch: the open transaction */
    int batched;
    bool batch;
    _Alignas(64) atomic_ulong written;
} lmdb;

typedef struct lmdb_reader {
    lmdb *store;
    MDB_txn *txn;
    MDB_cursor *cursor;
    unsigned long seen;
    bool live;
} lmdb_reader;

static _Thread_local lmdb_reader reader;

static void lmdb_must(int result, const char *what) {
    if (result != 0) {
        fprintf(stderr, "lmdb: %s: %s\n", what, mdb_strerror(result));
        exit(1);
    }
}

static lmdb *lmdb_start(const engine_config *config, bool batch) {
    lmdb *store = aligned_alloc(64, (sizeof *store + 63) / 64 * 64);
    memset(store, 0, sizeof *store);
    store->batch = batch;
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    if (!config->durable) {
        flags |= MDB_WRITEMAP | MDB_NOSYNC;
    }
    lmdb_must(mdb_env_create(&store->env), "create");
    lmdb_must(mdb_env_set_maxreaders(store->env, 256), "readers");
    size_t size = (config->keys + 1000) * (config->value_size + 400) * 4 + (64u << 20);
    lmdb_must(mdb_env_set_mapsize(store->env, size / 4096 * 4096), "map size");
    const char *path = config->path != NULL ? config->path : config->tmpfs;
    lmdb_must(mdb_env_open(store->env, path, flags, 0644), "open");
    MDB_txn *txn;
    lmdb_must(mdb_txn_begin(store->env, NULL, 0, &txn), "begin");
    lmdb_must(mdb_dbi_open(txn, NULL, 0, &store->dbi), "database");
    lmdb_must(mdb_txn_commit(txn), "commit");
    return store;
}

static void *lmdb_open(const engine_config *config) {
    return lmdb_start(config, false);
}

static void *lmdb_batch_open(const engine_config *config) {
    return lmdb_start(config, true);
}

static void lmdb_end_batch(lmdb *store) {
    if (store->writing != NULL) {
        lmdb_must(mdb_txn_commit(store->writing), "commit");
        store->writing = NULL;
        store->batched = 0;
        atomic_fetch_add_explicit(&store->written, 1, memory_order_release);
    }
}

/* A reader that is left behind keeps its snapshot, and all pages written since. */
static void lmdb_leave(void *handle) {
    if (reader.store == handle) {
        mdb_cursor_close(reader.cursor);
        mdb_txn_abort(reader.txn);
        memset(&reader, 0, sizeof reader);
    }
}

static void lmdb_close(void *handle) {
    lmdb *store = handle;
    lmdb_end_batch(store);
    lmdb_leave(store);
    mdb_env_close(store->env);
    free(store);
}

/* The calling thread's snapshot, no older than the last write that returned. */
static MDB_txn *lmdb_read(lmdb *store) {
    if (store->batch) {
        lmdb_end_batch(store);
    }
    unsigned long written = atomic_load_explicit(&store->written, memory_order_acquire);
    if (reader.store != store) {
        lmdb_must(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &reader.txn), "begin");
        lmdb_must(mdb_cursor_open(reader.txn, store->dbi, &reader.cursor), "cursor");
        reader.store = store;
    } else if (!reader.live || reader.seen != written) {
        mdb_txn_reset(reader.txn);
        lmdb_must(mdb_txn_renew(reader.txn), "renew");
    }
    reader.live = true;
    reader.seen = written;
    return reader.txn;
}

/* A snapshot that is held keeps pages from being reused: who writes lets go of its own. */
static void lmdb_let_go(lmdb *store) {
    if (reader.store == store && reader.live) {
        mdb_txn_reset(reader.txn);
        reader.live = false;
    }
}

static MDB_txn *lmdb_write(lmdb *store) {
    if (store->writing != NULL) {
        return store->writing;
    }
    MDB_txn *txn;
    lmdb_let_go(store);
    lmdb_must(mdb_txn_begin(store->env, NULL, 0, &txn), "begin");
    if (store->batch) {
        store->writing = txn;
    }
    return txn;
}

static void lmdb_written(lmdb *store, MDB_txn *txn) {
    if (store->batch) {
        if (++store->batched == BATCH) {
            lmdb_end_batch(store);
        }
        return;
    }
    lmdb_must(mdb_txn_commit(txn), "commit");
    atomic_fetch_add_explicit(&store->written, 1, memory_order_release);
}

static bool lmdb_put(void *handle, const void *key, const void *value, size_t size) {
    lmdb *store = handle;
    MDB_txn *txn = lmdb_write(store);
    MDB_val k = {KEY_SIZE, (void *)(uintptr_t)key};
    MDB_val v = {size, (void *)(uintptr_t)value};
    lmdb_must(mdb_put(txn, store->dbi, &k, &v, 0), "put");
    lmdb_written(store, txn);
    return true;
}

static size_t lmdb_get(void *handle, const void *key, void *buffer, size_t capacity) {
    lmdb *store = handle;
    MDB_val k = {KEY_SIZE, (void *)(uintptr_t)key};
    MDB_val v;
    if (mdb_get(lmdb_read(store), store->dbi, &k, &v) != 0) {
        return 0;
    }
    memcpy(buffer, v.mv_data, v.mv_size < capacity ? v.mv_size : capacity);
    return v.mv_size;
}

static bool lmdb_remove(void *handle, const void *key) {
    lmdb *store = handle;
    MDB_txn *txn = lmdb_write(store);
    MDB_val k = {KEY_SIZE, (void *)(uintptr_t)key};
    int result = mdb_del(txn, store->dbi, &k, NULL);
    lmdb_written(store, txn);
    return result == 0;
}

static size_t lmdb_scan(void *handle, const void *key, size_t count, engine_sink sink,
                        void *context) {
    MDB_val k = {KEY_SIZE, (void *)(uintptr_t)key};
    MDB_val v;
    MDB_txn *txn = lmdb_read(handle);
    lmdb_must(mdb_cursor_renew(txn, reader.cursor), "renew");
    size_t seen = 0;
    int result = mdb_cursor_get(reader.cursor, &k, &v, MDB_SET_RANGE);
    while (result == 0 && seen < count) {
        sink(context, k.mv_data, v.mv_data, v.mv_size);
        if (++seen < count) {
            result = mdb_cursor_get(reader.cursor, &k, &v, MDB_NEXT);
        }
    }
    return seen;
}

static bool lmdb_flush(void *handle) {
    lmdb *store = handle;
    lmdb_end_batch(store);
    return mdb_env_sync(store->env, 1) == 0;
}

const engine engine_lmdb = {
    .name = "lmdb",
    .note = "one transaction a write; relaxed: WRITEMAP, NOSYNC",
    .files = true,
    .threads = true,
    .open = lmdb_open,
    .close = lmdb_close,
    .put = lmdb_put,
    .get = lmdb_get,
    .remove = lmdb_remove,
    .scan = lmdb_scan,
    .flush = lmdb_flush,
    .leave = lmdb_leave,
};

const engine engine_lmdb_batch = {
    .name = "lmdb-batch",
    .note = "1,000 writes a transaction: not seen before it ends",
    .files = true,
    .slow = true,
    .open = lmdb_batch_open,
    .close = lmdb_close,
    .put = lmdb_put,
    .get = lmdb_get,
    .remove = lmdb_remove,
    .scan = lmdb_scan,
    .flush = lmdb_flush,
    .leave = lmdb_leave,
};
