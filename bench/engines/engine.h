/* What the bench asks of every store: one struct of function pointers, one file for each engine.
 *
 * Keys are KEY_SIZE bytes. All but open and close may be called from several threads at once if
 * `threads` is set. Nothing here may be slower than what an experienced user of the engine would
 * write: where an engine knows a better way than one plain call, its file takes it and says so.
 */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_SIZE 16u

typedef struct engine_config {
    const char *path;      /* a directory of its own for what it keeps; NULL: memory only */
    const char *tmpfs;     /* a directory in memory, for engines that always have files */
    uint64_t keys;         /* how many it will hold at most */
    size_t value_size;     /* of every value */
    bool durable;          /* writes return when they are on stable storage */
    uint64_t memory_limit; /* 0: none. For rows that read from the device */
    uint64_t file_limit;   /* 0: none. For rows about a file that is nearly full */
} engine_config;

typedef struct engine_lookup {
    const void *key;
    void *buffer;
    size_t capacity;
    size_t size; /* out; 0: absent */
} engine_lookup;

/* Sees each pair of a scan. */
typedef void (*engine_sink)(void *context, const void *key, const void *value, size_t size);

typedef struct engine {
    const char *name;
    const char *note; /* how it is set up, in a few words, for the table */
    bool files;       /* can keep its data in a file */
    bool threads;
    bool slow; /* left out of rows of 10 M keys, and of --quick: the row says so */
    void *(*open)(const engine_config *config);
    void (*close)(void *store);
    bool (*put)(void *store, const void *key, const void *value, size_t size);
    /* Copies the value to `buffer`; its size, or 0 if there is no such key. */
    size_t (*get)(void *store, const void *key, void *buffer, size_t capacity);
    bool (*remove)(void *store, const void *key);
    /* These may be NULL. */
    void (*get_many)(void *store, engine_lookup *lookups, size_t count);
    size_t (*scan)(void *store, const void *key, size_t count, engine_sink sink, void *context);
    bool (*flush)(void *store); /* all that returned is on stable storage */
    uint64_t (*refused)(void *store); /* puts refused for want of space, and then tried again */
    void (*leave)(void *store); /* the calling thread has no more calls for now */
    void (*settle)(void *store); /* what its manual advises between loading and reading */
} engine;

extern const engine engine_feox;
extern const engine engine_bare;
extern const engine engine_lmdb;
extern const engine engine_lmdb_batch;
extern const engine engine_rocksdb;
extern const engine engine_feoxdb;
extern const engine engine_feoxdb_tuned;

#endif
