/* More data than memory: values many times as large as the memory limit, written, overwritten and
 * read at random by several threads, and read back after the file is opened again. Every value is
 * derived from its key and a generation. Memory stays within the limit as the store counts it, and
 * the process within the limit and what is stated below.
 *
 * FEOX_BIG: bytes of values (default 64 MiB); the limit is a twentieth, at least 8 MiB. FEOX_LIMIT:
 * the limit. FEOX_STRESS_SECONDS: length of each phase of reading (default 1). */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

enum { READERS = 2, SAMPLES = 1 << 20, VALUE_MAX = 160 << 10 };

/* What a process takes beyond the limit: values cost what is counted, whatever their sizes. Besides
 * there are the buffers of the flusher (5 MiB) and of a compaction (3 MiB), the test's own tables
 * (4 MiB and the generations), the program and its libraries (4 MiB), and the holes that buffers of
 * reads and writes under way leave in the arenas of their threads (8 MiB; with glibc and a limit of
 * 64 MiB 5 MiB were measured). */
static uint64_t rss_allowed(uint64_t limit, uint64_t keys) {
    return limit + limit / 16 + keys * sizeof(uint32_t) + 24 * MIB;
}

typedef struct world {
    feox_store *store;
    uint64_t keys;
    _Atomic uint32_t *generations; /* what the writer has finished; it may be one ahead */
    atomic_bool stop;
    atomic_bool writing;
    atomic_int next;
    atomic_int wrong; /* a line */
    atomic_int status;
    atomic_ullong reads;
    atomic_ullong writes;
    atomic_ullong sampled;
    uint32_t *samples; /* microseconds */
} world;

/* A third each around 1, 8 and 24 KiB, and some of 100 KiB, which have extents of their own. */
static size_t size_of(uint64_t key) {
    uint64_t mixed = kit_mix(key);
    uint64_t kind = mixed % 100;
    size_t base = kind < 33 ? 700 : kind < 66 ? 7000 : kind < 98 ? 20000 : 95000;
    return base + (mixed >> 32) % (base / 2);
}

/* Which generation a value has stands at its beginning. */
static void fill(uint8_t *value, uint64_t key, uint32_t generation) {
    size_t size = size_of(key);
    uint64_t word = kit_mix(key ^ (uint64_t)generation << 40);
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t here = word + i;
        memcpy(value + i, &here, 8);
    }
    memcpy(value, &generation, sizeof generation);
}

static bool is_right(const uint8_t *value, size_t size, uint64_t key, uint32_t lowest,
                     uint32_t highest) {
    uint32_t generation;
    if (size != size_of(key)) {
        return false;
    }
    memcpy(&generation, value, sizeof generation);
    if (generation < lowest || generation > highest) {
        return false;
    }
    uint64_t word = kit_mix(key ^ (uint64_t)generation << 40);
    for (size_t i = 8; i + 8 <= size; i += 8) {
        uint64_t here;
        memcpy(&here, value + i, 8);
        if (here != word + i) {
            return false;
        }
    }
    return true;
}

static void report(world *w, int line, feox_status status) {
    int none = 0;
    if (atomic_compare_exchange_strong(&w->wrong, &none, line)) {
        atomic_store(&w->status, (int)status);
    }
    atomic_store(&w->stop, true);
}

static void *read_keys(void *argument) {
    world *w = argument;
    uint64_t random = kit_mix((uint64_t)atomic_fetch_add(&w->next, 1) + 1);
    uint8_t *value = malloc(VALUE_MAX);
    while (!atomic_load(&w->stop) && value != NULL) {
        uint64_t key = kit_below(&random, w->keys);
        uint32_t lowest = atomic_load(&w->generations[key]);
        size_t size = 0;
        uint64_t begin = kit_now_us();
        feox_status status = feox_get_into(w->store, &key, sizeof key, value, VALUE_MAX, &size);
        uint64_t took = kit_now_us() - begin;
        uint32_t highest = atomic_load(&w->generations[key]) + (atomic_load(&w->writing) ? 1 : 0);
        if (status != FEOX_OK || !is_right(value, size, key, lowest, highest)) {
            report(w, __LINE__, status);
        }
        uint64_t at = atomic_fetch_add(&w->sampled, 1);
        w->samples[at % SAMPLES] = (uint32_t)took;
        atomic_fetch_add(&w->reads, 1);
    }
    free(value);
    return NULL;
}

static feox_status write_one(world *w, uint64_t key, uint8_t *value) {
    uint32_t generation = atomic_load(&w->generations[key]) + 1;
    fill(value, key, generation);
    feox_status status = feox_insert(w->store, &key, sizeof key, value, size_of(key));
    if (status == FEOX_OK) {
        atomic_store(&w->generations[key], generation);
        atomic_fetch_add(&w->writes, 1);
    }
    return status;
}

static void *write_keys(void *argument) {
    world *w = argument;
    uint64_t random = 12345;
    uint8_t *value = malloc(VALUE_MAX);
    while (!atomic_load(&w->stop) && value != NULL) {
        feox_status status = write_one(w, kit_below(&random, w->keys), value);
        if (status != FEOX_OK) {
            report(w, __LINE__, status);
        }
    }
    free(value);
    return NULL;
}

/* ---- Memory ---- */

static uint64_t rss_now(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long long total = 0;
    unsigned long long resident = 0;
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &total, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

typedef struct peak {
    uint64_t memory;
    uint64_t rss;
} peak;

static void look(kit *k, peak *p) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    uint64_t rss = rss_now();
    p->memory = stats.memory_used > p->memory ? stats.memory_used : p->memory;
    p->rss = rss > p->rss ? rss : p->rss;
}

static void expect_within(const char *what, kit *k, peak *p, uint64_t keys) {
    uint64_t limit = k->options.memory_limit;
    print_message("%s: memory_used up to %llu of %llu, RSS %llu\n", what,
                  (unsigned long long)p->memory, (unsigned long long)limit,
                  (unsigned long long)p->rss);
    assert_true(p->memory <= limit + limit / 20);
    if (!KIT_SLOW) { /* sanitizers take their own */
        assert_true(p->rss <= rss_allowed(limit, keys));
    }
    *p = (peak){0, 0};
}

/* ---- Phases ---- */

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_latencies(const char *what, world *w, uint64_t ms) {
    uint64_t count = atomic_load(&w->sampled);
    size_t kept = count < SAMPLES ? (size_t)count : SAMPLES;
    if (kept == 0) {
        return;
    }
    qsort(w->samples, kept, sizeof *w->samples, by_value);
    print_message("%s: %llu reads/s, %llu writes/s; read p50 %u us, p99 %u, p99.9 %u, max %u\n",
                  what, (unsigned long long)(atomic_load(&w->reads) * 1000 / (ms + 1)),
                  (unsigned long long)(atomic_load(&w->writes) * 1000 / (ms + 1)),
                  w->samples[kept / 2], w->samples[kept - 1 - kept / 100],
                  w->samples[kept - 1 - kept / 1000], w->samples[kept - 1]);
}

static void phase(const char *what, kit *k, world *w, bool write, peak *p) {
    pthread_t readers[READERS];
    pthread_t writer;
    uint64_t length = kit_env_number("FEOX_STRESS_SECONDS", 1) * 1000;
    w->store = k->store;
    atomic_store(&w->stop, false);
    atomic_store(&w->writing, write);
    atomic_store(&w->reads, 0);
    atomic_store(&w->writes, 0);
    atomic_store(&w->sampled, 0);
    uint64_t begin = kit_now_ms();
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_keys, w), 0);
    }
    if (write) {
        assert_int_equal(pthread_create(&writer, NULL, write_keys, w), 0);
    }
    while (kit_now_ms() - begin < length && !atomic_load(&w->stop)) {
        look(k, p);
        usleep(5000);
    }
    atomic_store(&w->stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
    }
    if (write) {
        pthread_join(writer, NULL);
    }
    if (atomic_load(&w->wrong) != 0) {
        print_error("line %d: %s\n", atomic_load(&w->wrong),
                    feox_status_name((feox_status)atomic_load(&w->status)));
        fail();
    }
    print_latencies(what, w, kit_now_ms() - begin);
    expect_within(what, k, p, w->keys);
}

static void load(kit *k, world *w, uint64_t bytes, peak *p) {
    uint8_t *value = malloc(VALUE_MAX);
    uint64_t begin = kit_now_ms();
    assert_non_null(value);
    for (uint64_t key = 0; key < w->keys; key++) {
        assert_ok(write_one(w, key, value));
        if (key % 512 == 0) {
            look(k, p);
        }
    }
    assert_ok(feox_flush(k->store));
    uint64_t took = kit_now_ms() - begin + 1;
    print_message("load: %llu values, %llu bytes in %llu ms: %llu MB/s\n",
                  (unsigned long long)w->keys, (unsigned long long)bytes, (unsigned long long)took,
                  (unsigned long long)(bytes / 1000 / took));
    expect_within("load", k, p, w->keys);
    free(value);
}

static void read_all(kit *k, world *w, uint64_t step, peak *p) {
    uint8_t *value = malloc(VALUE_MAX);
    assert_non_null(value);
    for (uint64_t key = 0; key < w->keys; key += step) {
        uint32_t generation = atomic_load(&w->generations[key]);
        size_t size = 0;
        assert_ok(feox_get_into(k->store, &key, sizeof key, value, VALUE_MAX, &size));
        assert_true(is_right(value, size, key, generation, generation));
        if (key % 512 == 0) {
            look(k, p);
        }
    }
    free(value);
}

static void more_data_than_memory(void **state) {
    kit *k = *state;
    uint64_t wanted = kit_env_number("FEOX_BIG", 64 * MIB);
    uint64_t share = wanted / 20 > 8 * MIB ? wanted / 20 : 8 * MIB;
    k->options.memory_limit = kit_env_number("FEOX_LIMIT", share);
    kit_restart(k);
    world w = {.store = k->store};
    uint64_t bytes = 0;
    for (; bytes < wanted; w.keys++) {
        bytes += size_of(w.keys);
    }
    w.generations = calloc(w.keys, sizeof *w.generations);
    w.samples = calloc(SAMPLES, sizeof *w.samples);
    assert_true(w.generations != NULL && w.samples != NULL);
    peak p = {0, 0};
    load(k, &w, bytes, &p);
    phase("reads alone", k, &w, false, &p);
    phase("reads beside a writer", k, &w, true, &p);
    phase("reads alone again", k, &w, false, &p);
    uint64_t begin = kit_now_ms();
    kit_close(k);
    print_message("close: %llu ms\n", (unsigned long long)(kit_now_ms() - begin));
    begin = kit_now_ms();
    kit_open(k);
    print_message("open: %llu ms, file %llu bytes\n", (unsigned long long)(kit_now_ms() - begin),
                  (unsigned long long)fx_file_size(k->path));
    look(k, &p);
    expect_within("open", k, &p, w.keys);
    begin = kit_now_ms();
    read_all(k, &w, wanted > 1024 * MIB ? 7 : 1, &p);
    print_message("read back: %llu ms\n", (unsigned long long)(kit_now_ms() - begin));
    expect_within("read back", k, &p, w.keys);
    k->dirty_close = wanted > 1024 * MIB; /* the check at the end would read everything again */
    free((void *)w.generations);
    free(w.samples);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(more_data_than_memory)};
    return cmocka_run_group_tests_name("stress/larger_than_memory", tests, NULL, NULL);
}
