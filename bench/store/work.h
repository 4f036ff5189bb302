/* What the rows share: keys and values, prepared operations, time, latencies, memory, results. */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/engine.h"

#define VALUE_MAX 4096u

typedef enum op_kind { OP_GET, OP_MISS, OP_PUT, OP_REMOVE, OP_SCAN, OP_MODIFY } op_kind;

/* One operation, prepared before the clock starts: the loop reads them one after the other. */
typedef struct op {
    uint8_t key[KEY_SIZE];
    uint64_t id;
    uint32_t kind;
    uint32_t length; /* of a scan */
} op;

typedef struct ops {
    op *list;
    size_t count;
} ops;

/* ---- Random numbers and keys ---- */

uint64_t work_random(uint64_t *state);
/* Key number `id`: "user" and twelve hexadecimal digits in which no order of the ids is left. */
void work_key(uint64_t id, uint8_t key[KEY_SIZE]);
/* Value of key `id` after `generation` updates; the ends tell both. At least 24 bytes. */
void work_value(uint64_t id, uint64_t generation, void *value, size_t size);

static inline uint64_t work_seal(uint64_t id, uint64_t generation) {
    return id * UINT64_C(0x9e3779b97f4a7c15) + generation;
}

typedef struct zipf {
    uint64_t count;
    double theta, alpha, zeta, eta;
} zipf;

void zipf_init(zipf *z, uint64_t count, double theta);
uint64_t zipf_next(const zipf *z, uint64_t *random);

/* ---- Prepared operations ---- */

ops ops_make(size_t count);
void ops_free(ops *list);
/* Every key of [from, from + count) once, in random order. */
ops ops_each(op_kind kind, uint64_t from, size_t count, uint64_t seed);
/* `count` keys of [from, from + keys), any of them as likely. */
ops ops_uniform(op_kind kind, uint64_t from, uint64_t keys, size_t count, uint64_t seed);
ops ops_zipf(op_kind kind, uint64_t keys, size_t count, uint64_t seed);

/* ---- Running them ---- */

/* A store with the data it is known to hold. */
typedef struct subject {
    const engine *engine;
    void *store;
    size_t value_size;
    uint64_t generation; /* of the values that puts write from now on */
} subject;

/* Seconds that the list took in one thread, in a plain loop; ends the program if a value is not the
 * one that belongs to its key. */
double run_loop(const subject *s, const ops *list);
double run_many(const subject *s, const ops *list, size_t batch);
/* All lists at once, each in a thread; seconds from the first start to the last end. */
double run_threads(const subject *s, const ops *lists, size_t threads);
/* Pairs that a scan of everything sees. */
uint64_t run_count(const subject *s);

/* ---- Latencies ---- */

/* Buckets of 1/64 of a power of two. */
#define HISTOGRAM_SIZE (64u * 40u)
typedef struct histogram {
    uint64_t counts[HISTOGRAM_SIZE];
    uint64_t total, max, over_2ms;
} histogram;

/* Each operation by itself, serialized: its own latency, in nanoseconds. */
void run_latency(const subject *s, const ops *list, histogram *h);
/* The same in threads; their latencies together. */
void run_latency_threads(const subject *s, const ops *lists, size_t threads, histogram *h,
                         double *seconds);
void histogram_add(histogram *h, uint64_t ns);
void histogram_merge(histogram *into, const histogram *from);
double histogram_at(const histogram *h, double share);
/* Reports NAME_p50 .. NAME_max. */
void histogram_report(const char *name, const histogram *h);

/* ---- Machine ---- */

double now_seconds(void);
double cpu_process(void); /* seconds of all threads so far */
double cpu_thread(void);
uint64_t memory_resident(void);   /* bytes */
uint64_t process_written(void);   /* bytes that the process made the device write */
uint64_t directory_size(const char *path); /* bytes of blocks */
/* Makes the host back this many bytes of guest memory, and gives them back. */
void memory_warm(uint64_t bytes);
/* The file's pages leave the page cache. */
void directory_cold(const char *path);

/* ---- Results ---- */

/* One figure of this round; the driver collects them. */
void report(const char *name, double value);
void fail(const char *what, const char *detail);

#endif
