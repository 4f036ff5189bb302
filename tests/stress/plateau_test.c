/* Steady random updates in a file whose live data is 70 % of what it may grow to: writes go on, and
 * after a while neither file nor memory grows any more. Values of 100 bytes to 1 MiB, each derived
 * from its key and a generation. FEOX_STRESS_SECONDS for the length (default 3), FEOX_PLATEAU_MIB
 * for the size of the file. */
#define _GNU_SOURCE
#include "support/campaign.h"
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

enum { WRITERS = 2, THIRDS = 3, VALUE_MAX = 1 << 20 };

typedef struct world {
    feox_store *store;
    uint64_t keys;         /* per writer */
    uint32_t *generations; /* of all keys; each belongs to one writer */
    atomic_int next;
    atomic_bool stop;
    atomic_int wrong; /* a line */
    atomic_int status;
    char detail[200];
    atomic_ullong written; /* bytes of values */
    atomic_ullong updates;
    atomic_ullong slowest_us;
} world;

/* A tenth of the bytes each in small ones, the rest in longer ones. */
static size_t size_of(uint64_t key) {
    uint64_t kind = kit_mix(key) % 1000;
    return kind < 700 ? 100 : kind < 950 ? 1000 : kind < 998 ? 20000 : VALUE_MAX;
}

static void fill(uint8_t *value, size_t size, uint64_t key, uint32_t generation) {
    uint64_t word = kit_mix(key ^ (uint64_t)generation << 40);
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t here = word + i;
        memcpy(value + i, &here, 8);
    }
    memset(value + size / 8 * 8, (int)generation, size % 8);
}

static void report(world *w, int line, feox_status status) {
    int none = 0;
    if (atomic_compare_exchange_strong(&w->wrong, &none, line)) {
        atomic_store(&w->status, (int)status);
        snprintf(w->detail, sizeof w->detail, "%s", feox_last_error());
    }
    atomic_store(&w->stop, true);
}

static feox_status write_one(world *w, uint64_t key, uint8_t *value) {
    size_t size = size_of(key);
    fill(value, size, key, w->generations[key] + 1);
    feox_status status = feox_insert(w->store, &key, sizeof key, value, size);
    if (status == FEOX_OK) {
        w->generations[key]++;
        atomic_fetch_add(&w->written, size);
        atomic_fetch_add(&w->updates, 1);
    }
    return status;
}

/* Whether the key holds its last generation. */
static bool read_one(world *w, uint64_t key, uint8_t *value, uint8_t *wanted) {
    size_t size = 0;
    feox_status status = feox_get_into(w->store, &key, sizeof key, value, VALUE_MAX, &size);
    fill(wanted, size_of(key), key, w->generations[key]);
    return status == FEOX_OK && size == size_of(key) && memcmp(value, wanted, size) == 0;
}

static void *update(void *argument) {
    world *w = argument;
    uint64_t me = (uint64_t)atomic_fetch_add(&w->next, 1);
    uint64_t random = kit_mix(me + 1);
    uint8_t *value = malloc(VALUE_MAX);
    uint8_t *wanted = malloc(VALUE_MAX);
    while (!atomic_load(&w->stop) && value != NULL && wanted != NULL) {
        uint64_t key = kit_below(&random, w->keys) * WRITERS + me;
        uint64_t begin = kit_now_us();
        feox_status status = write_one(w, key, value);
        uint64_t took = kit_now_us() - begin;
        if (took > atomic_load(&w->slowest_us)) {
            atomic_store(&w->slowest_us, took);
        }
        if (status != FEOX_OK) {
            report(w, __LINE__, status);
        } else if (kit_below(&random, 16) == 0 &&
                   !read_one(w, kit_below(&random, w->keys) * WRITERS + me, value, wanted)) {
            report(w, __LINE__, FEOX_OK);
        }
    }
    free(value);
    free(wanted);
    return NULL;
}

typedef struct peak {
    uint64_t file;
    uint64_t memory;
} peak;

static feox_statistics stats_of(kit *k) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    return stats;
}

static void watch(kit *k, world *w, uint64_t seconds, peak peaks[THIRDS]) {
    uint64_t begin = kit_now_ms();
    uint64_t length = seconds * 1000 + 1;
    uint64_t said = 0;
    for (uint64_t now = 0; now < length && !atomic_load(&w->stop); now = kit_now_ms() - begin) {
        feox_statistics stats = stats_of(k);
        peak *p = &peaks[now * THIRDS / length];
        p->file = stats.file_size > p->file ? stats.file_size : p->file;
        p->memory = stats.memory_used > p->memory ? stats.memory_used : p->memory;
        if (now / 1000 / 30 > said) {
            said = now / 1000 / 30;
            print_message("%llu s: file %llu, memory %llu, updates %llu, slowest %llu us, "
                          "compacted %llu\n",
                          (unsigned long long)now / 1000, (unsigned long long)stats.file_size,
                          (unsigned long long)stats.memory_used,
                          (unsigned long long)atomic_load(&w->updates),
                          (unsigned long long)atomic_exchange(&w->slowest_us, 0),
                          (unsigned long long)stats.compacted_bytes);
        }
        usleep(2000);
    }
}

/* So many keys that their records are about `bytes` in all. */
static uint64_t keys_for(uint64_t bytes) {
    uint64_t keys = 0;
    for (uint64_t sum = 0; sum < bytes; keys++) {
        size_t size = size_of(keys);
        sum += size < 65536 ? size + 8 + 44 : size + 100;
    }
    return keys / WRITERS;
}

/* All keys, and then as much as the file may hold once more, so that what is measured is the steady
 * state however slow the machine is. */
static void load(world *w, uint64_t limit, uint8_t *value) {
    uint64_t random = 99;
    for (uint64_t key = 0; key < w->keys * WRITERS; key++) {
        assert_ok(write_one(w, key, value));
    }
    for (uint64_t loaded = w->written; w->written < loaded + limit;) {
        assert_ok(write_one(w, kit_below(&random, w->keys * WRITERS), value));
    }
}

static void memory_and_file_reach_a_plateau(void **state) {
    kit *k = *state;
    uint64_t limit = kit_env_number("FEOX_PLATEAU_MIB", KIT_SLOW ? 96 : 128) * MIB;
    uint64_t seconds = kit_env_number("FEOX_STRESS_SECONDS", 3);
    k->options.file_size_limit = limit;
    k->options.memory_limit = limit / 4;
    kit_restart(k);
    world w = {.store = k->store, .keys = keys_for(limit / 10 * 7)};
    w.generations = calloc(w.keys * WRITERS, sizeof *w.generations);
    uint8_t *value = malloc(VALUE_MAX);
    uint8_t *wanted = malloc(VALUE_MAX);
    assert_true(w.generations != NULL && value != NULL && wanted != NULL);
    load(&w, limit, value);
    assert_ok(feox_flush(k->store));
    feox_statistics before = stats_of(k);
    uint64_t loaded = atomic_exchange(&w.written, 0);
    print_message("%llu keys, %llu bytes written, file %llu of %llu, live %llu\n",
                  (unsigned long long)w.keys * WRITERS, (unsigned long long)loaded,
                  (unsigned long long)before.file_size, (unsigned long long)limit,
                  (unsigned long long)before.file_live);
    atomic_store(&w.updates, 0);
    atomic_store(&w.slowest_us, 0);
    campaign c;
    campaign_begin(&c, "C16 updates, plateau");
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, update, &w), 0);
    }
    peak peaks[THIRDS] = {{0, 0}};
    watch(k, &w, seconds, peaks);
    atomic_store(&w.stop, true);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    if (atomic_load(&w.wrong) != 0) {
        print_error("line %d: %s: %s\n", atomic_load(&w.wrong),
                    feox_status_name((feox_status)atomic_load(&w.status)), w.detail);
        fail();
    }
    assert_ok(feox_flush(k->store));
    feox_statistics after = stats_of(k);
    for (int i = 0; i < THIRDS; i++) {
        print_message("third %d: file %llu, memory %llu\n", i + 1,
                      (unsigned long long)peaks[i].file, (unsigned long long)peaks[i].memory);
    }
    print_message("%llu updates, %llu bytes; device %llu bytes, %.2f for each; compacted %llu; "
                  "%llu checkpoints\n",
                  (unsigned long long)atomic_load(&w.updates),
                  (unsigned long long)atomic_load(&w.written),
                  (unsigned long long)(after.disk_write_bytes - before.disk_write_bytes),
                  (double)(after.disk_write_bytes - before.disk_write_bytes) /
                      (double)atomic_load(&w.written),
                  (unsigned long long)after.compacted_bytes,
                  (unsigned long long)(after.checkpoints - before.checkpoints));
    assert_true(after.file_size <= limit);
    assert_true(peaks[2].file <= peaks[1].file + peaks[1].file / 25);
    assert_true(peaks[2].memory <= peaks[1].memory + peaks[1].memory / 25);
    assert_ok(feox_check(k->store, NULL, NULL, NULL));
    do {
        for (uint64_t key = 0; key < w.keys * WRITERS; key++) {
            w.store = k->store;
            assert_true(read_one(&w, key, value, wanted));
        }
    } while (kit_again(k));
    c.cases = atomic_load(&w.updates);
    campaign_end(&c);
    free(w.generations);
    free(value);
    free(wanted);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(memory_and_file_reach_a_plateau)};
    return cmocka_run_group_tests_name("stress/plateau", tests, NULL, NULL);
}
