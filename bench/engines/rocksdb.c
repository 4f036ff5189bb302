/* RocksDB through its C interface, set up as its tuning guide says for data that fits in memory.
 *
 * No compression, ten bits of bloom filter a key (whole keys, in the memtable too), a hash index
 * in data blocks, a block cache that holds everything, memtables of 64 MiB, as many background jobs
 * as processors. Relaxed: no write-ahead log; in memory its files are on tmpfs. Durable: the log is
 * synced with each write; writers that meet share a sync. Reads are pinned, not copied twice.
 * settle writes the memtables out and compacts, so that reads meet one sorted run.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rocksdb/c.h>

typedef struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
} rocks;

static _Thread_local rocksdb_iterator_t *iterator;
static _Thread_local rocks *iterator_store;

static bool rocks_failed(char *error, const char *what) {
    if (error == NULL) {
        return false;
    }
    fprintf(stderr, "rocksdb: %s: %s\n", what, error);
    rocksdb_free(error);
    return true;
}

static void rocks_options(rocks *store, const engine_config *config) {
    rocksdb_options_t *o = store->options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *t = store->table = rocksdb_block_based_options_create();
    size_t cache = config->memory_limit != 0
                       ? (size_t)config->memory_limit
                       : (size_t)config->keys * (config->value_size + 100) * 2 + (64u << 20);
    store->cache = rocksdb_cache_create_lru(cache);
    rocksdb_block_based_options_set_block_cache(t, store->cache);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_data_block_index_type(
        t, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_block_based_options_set_data_block_hash_ratio(t, 0.75);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_increase_parallelism(o, (int)sysconf(_SC_NPROCESSORS_ONLN));
    rocksdb_options_set_write_buffer_size(o, 64u << 20);
    rocksdb_options_set_max_write_buffer_number(o, 4);
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.1);
    rocksdb_options_set_max_open_files(o, -1);
    if (config->memory_limit != 0) {
        rocksdb_options_set_use_direct_reads(o, 1);
    }
}

static void rocks_close(void *handle) {
    rocks *store = handle;
    if (store->db != NULL) {
        rocksdb_close(store->db);
    }
    rocksdb_readoptions_destroy(store->read);
    rocksdb_writeoptions_destroy(store->write);
    rocksdb_options_destroy(store->options);
    rocksdb_block_based_options_destroy(store->table);
    rocksdb_cache_destroy(store->cache);
    free(store);
}

static void *rocks_open(const engine_config *config) {
    rocks *store = calloc(1, sizeof *store);
    char *error = NULL;
    rocks_options(store, config);
    store->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->read, config->path != NULL);
    store->write = rocksdb_writeoptions_create();
    if (config->durable) {
        rocksdb_writeoptions_set_sync(store->write, 1);
    } else {
        rocksdb_writeoptions_disable_WAL(store->write, 1);
    }
    store->db = rocksdb_open(store->options, config->path != NULL ? config->path : config->tmpfs,
                             &error);
    if (rocks_failed(error, "open")) {
        store->db = NULL;
        rocks_close(store);
        return NULL;
    }
    return store;
}

static bool rocks_put(void *handle, const void *key, const void *value, size_t size) {
    rocks *store = handle;
    char *error = NULL;
    rocksdb_put(store->db, store->write, key, KEY_SIZE, value, size, &error);
    return !rocks_failed(error, "put");
}

static size_t rocks_get(void *handle, const void *key, void *buffer, size_t capacity) {
    rocks *store = handle;
    char *error = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(store->db, store->read, key, KEY_SIZE, &error);
    if (rocks_failed(error, "get") || slice == NULL) {
        return 0;
    }
    size_t size;
    const char *value = rocksdb_pinnableslice_value(slice, &size);
    memcpy(buffer, value, size < capacity ? size : capacity);
    rocksdb_pinnableslice_destroy(slice);
    return size;
}

/* RocksDB does not say whether there was one. */
static bool rocks_remove(void *handle, const void *key) {
    rocks *store = handle;
    char *error = NULL;
    rocksdb_delete(store->db, store->write, key, KEY_SIZE, &error);
    return !rocks_failed(error, "delete");
}

static void rocks_leave(void *handle) {
    if (iterator_store == handle) {
        rocksdb_iter_destroy(iterator);
        iterator = NULL;
        iterator_store = NULL;
    }
}

/* An iterator shows what was there when it was made: one for each scan, as a user must. */
static size_t rocks_scan(void *handle, const void *key, size_t count, engine_sink sink,
                         void *context) {
    rocks *store = handle;
    rocks_leave(handle);
    iterator = rocksdb_create_iterator(store->db, store->read);
    iterator_store = store;
    size_t seen = 0;
    for (rocksdb_iter_seek(iterator, key, KEY_SIZE); seen < count && rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        size_t key_size, size;
        const char *found = rocksdb_iter_key(iterator, &key_size);
        const char *value = rocksdb_iter_value(iterator, &size);
        sink(context, found, value, size);
        seen++;
    }
    return seen;
}

static bool rocks_flush(void *handle) {
    rocks *store = handle;
    char *error = NULL;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush(store->db, options, &error);
    rocksdb_flushoptions_destroy(options);
    return !rocks_failed(error, "flush");
}

static void rocks_settle(void *handle) {
    rocks *store = handle;
    rocks_flush(handle);
    rocksdb_compact_range(store->db, NULL, 0, NULL, 0);
}

const engine engine_rocksdb = {
    .name = "rocksdb",
    .note = "bloom filters, cache for all; relaxed: no log",
    .files = true,
    .threads = true,
    .slow = true,
    .open = rocks_open,
    .close = rocks_close,
    .put = rocks_put,
    .get = rocks_get,
    .remove = rocks_remove,
    .scan = rocks_scan,
    .flush = rocks_flush,
    .leave = rocks_leave,
    .settle = rocks_settle,
};
