/* skiplist_bench: nanoseconds per operation and bytes per key of the ordered index.
 * Usage: skiplist_bench [keys]. Run it alone on the machine: it measures the memory's latency. */
#include "index/skiplist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

#define BATCH 1000u
#define WINDOW 48u

typedef struct bench_set {
    const char *name;
    size_t count;
    uint8_t *memory;
    size_t stride;
    fx_record **records; /* in random order */
} bench_set;

static fx_record *record_at(const bench_set *bench, size_t index) {
    return (fx_record *)(void *)(bench->memory + index * bench->stride);
}

static int by_key(const void *a, const void *b) {
    const fx_record *x = *(fx_record *const *)a;
    const fx_record *y = *(fx_record *const *)b;
    return fx_key_compare(fx_record_key(x), fx_record_key_len(x), fx_record_key(y),
                          fx_record_key_len(y));
}

/* `decimal`: "user:000000012345"; else eight random bytes. */
static void prepare(bench_set *bench, bool decimal, size_t count, fx_rng *rng) {
    *bench = (bench_set){decimal ? "decimal" : "random", count, NULL, 64, NULL};
    bench->memory = fx_mem_zalloc(count * bench->stride);
    bench->records = fx_mem_alloc(count * sizeof *bench->records);
    if (bench->memory == NULL || bench->records == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t key[32];
        size_t size = 8;
        if (decimal) {
            size = (size_t)snprintf((char *)key, sizeof key, "user:%012zu", i);
        } else {
            fx_put_u64(key, fx_rng_next(rng));
        }
        fx_record_fields fields = {.version = 1, .timestamp = 1};
        bench->records[i] = record_at(bench, i);
        fx_record_fill(bench->records[i], key, size, &fields);
        fx_record_publish(bench->records[i], 1);
    }
    for (size_t i = count - 1; i > 0; i--) {
        size_t other = fx_rng_below(rng, i + 1);
        fx_record *swap = bench->records[i];
        bench->records[i] = bench->records[other];
        bench->records[other] = swap;
    }
}

static void tell(const bench_set *bench, const char *what, uint64_t start, size_t count) {
    printf("%-8s %-22s %8.1f ns\n", bench->name, what,
           (double)(fx_clock_monotonic_ns() - start) / (double)count);
}

/* Applies records [from, to) in batches. */
static void apply(const bench_set *bench, fx_skiplist *list, size_t from, size_t to, size_t batch,
                  bool drop) {
    static fx_skiplist_op ops[BATCH];
    static fx_record *unlinked[BATCH];
    for (size_t at = from; at < to; at += batch) {
        size_t count = to - at < batch ? to - at : batch;
        for (size_t i = 0; i < count; i++) {
            ops[i] = (fx_skiplist_op){bench->records[at + i], drop};
        }
        if (!fx_skiplist_reserve(list, count, 32)) {
            exit(1);
        }
        (void)fx_skiplist_apply(list, ops, count, unlinked);
    }
}

static void windows(const bench_set *bench, fx_skiplist *list, bool backward, fx_rng *rng) {
    fx_record *out[WINDOW];
    uint64_t start = fx_clock_monotonic_ns();
    size_t times = 200000;
    for (size_t i = 0; i < times; i++) {
        const fx_record *from = bench->records[fx_rng_below(rng, bench->count)];
        size_t size = fx_record_key_len(from);
        (void)(backward ? fx_skiplist_backward(list, fx_record_key(from), size, false, out, WINDOW)
                        : fx_skiplist_forward(list, fx_record_key(from), size, false, out, WINDOW));
    }
    tell(bench, backward ? "backward window of 48" : "forward window of 48", start, times);
}

static void run(bool decimal, size_t count, fx_rng *rng) {
    bench_set bench;
    prepare(&bench, decimal, count, rng);
    size_t most = count - count / 10;
    fx_skiplist *list = fx_skiplist_create();
    if (list == NULL) {
        exit(1);
    }
    apply(&bench, list, 0, most, BATCH, false);
    uint64_t start = fx_clock_monotonic_ns();
    apply(&bench, list, most, count, BATCH, false);
    tell(&bench, "put, batches of 1000", start, count - most);
    printf("%-8s %-22s %8.2f bytes\n", bench.name, "memory per key",
           (double)fx_skiplist_memory(list) / (double)fx_skiplist_count(list));
    windows(&bench, list, false, rng);
    windows(&bench, list, true, rng);
    start = fx_clock_monotonic_ns();
    apply(&bench, list, most, count, BATCH, true);
    tell(&bench, "drop, batches of 1000", start, count - most);
    start = fx_clock_monotonic_ns();
    apply(&bench, list, most, count, 1, false);
    tell(&bench, "put, one by one", start, count - most);
    fx_skiplist_destroy(list);
    list = fx_skiplist_create();
    qsort(bench.records, count, sizeof *bench.records, by_key);
    start = fx_clock_monotonic_ns();
    if (list == NULL || !fx_skiplist_build(list, bench.records, count)) {
        exit(1);
    }
    tell(&bench, "bulk build", start, count);
    printf("%-8s %-22s %8.2f bytes\n", bench.name, "memory after build",
           (double)fx_skiplist_memory(list) / (double)count);
    fx_skiplist_destroy(list);
    fx_mem_free(bench.memory);
    fx_mem_free(bench.records);
}

int main(int argc, char **argv) {
    size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    fx_rng rng;
    fx_rng_init(&rng, 7);
    run(false, count, &rng);
    run(true, count, &rng);
    return 0;
}
