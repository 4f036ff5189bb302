/* drill: the scripts. Together they make every call that the library makes of a device. Keys are
 * used by their kind: 0..11 small values, 12..15 large ones, 16 and 17 counters, 18 and 19 JSON.
 */
#include "support/drill.h"


enum { LARGE = 12, COUNTER = 16, DOCUMENT = 18 };

static feox_statistics statistics(drill *d) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    if (d->store != NULL) {
        (void)feox_stats(d->store, &stats);
    }
    return stats;
}

static uint64_t checkpoints(drill *d) {
    return statistics(d).checkpoints;
}

static bool undisturbed(const drill *d) {
    return d->met == NULL || d->met() == 0;
}

/* Some of everything. */
static void some(drill *d) {
    for (unsigned key = 0; key < 6; key++) {
        drill_put(d, key, DRILL_BYTES, 60 + 30 * key, 0);
    }
    drill_put(d, COUNTER, DRILL_COUNTER, 8, 0);
    drill_put(d, DOCUMENT, DRILL_JSON, 40, 0);
    drill_flush(d);
    for (unsigned key = 6; key < 10; key++) {
        drill_put(d, key, DRILL_BYTES, 3000 + 1500 * (key - 6), 0);
    }
    drill_put(d, LARGE, DRILL_BYTES, 70 << 10, 0);
    drill_flush(d);
}

static void create(drill *d) {
    drill_begin(d);
    drill_open(d);
    drill_put(d, 0, DRILL_BYTES, 100, FEOX_DURABLE);
    drill_close(d);
}

static void relaxed(drill *d) {
    drill_open(d);
    drill_begin(d);
    for (unsigned key = 0; key < 6; key++) {
        drill_put(d, key, DRILL_BYTES, 50 + 40 * key, 0);
    }
    drill_flush(d);
    for (unsigned key = 4; key < 10; key++) {
        drill_put(d, key, DRILL_BYTES, 1000 * key, 0);
    }
    drill_delete(d, 1, 0);
    drill_flush(d);
    drill_read(d);
    drill_put(d, 2, DRILL_BYTES, 90, 0);
    drill_close(d);
}

static void durable(drill *d) {
    drill_open(d);
    drill_begin(d);
    for (unsigned round = 0; round < 2; round++) {
        drill_put(d, 3, DRILL_BYTES, 200 + round, FEOX_DURABLE);
        drill_swap(d, 4, 300 + round, FEOX_DURABLE);
        drill_add(d, COUNTER + round, FEOX_DURABLE);
        drill_patch(d, DOCUMENT, FEOX_DURABLE);
        drill_put(d, 10, DRILL_BYTES, 40, 0); /* waits while the next one flushes */
        drill_delete(d, 5 + round, FEOX_DURABLE);
        drill_put(d, 9, DRILL_BYTES, 20000, FEOX_DURABLE);
    }
    drill_read(d);
}

static void large(drill *d) {
    drill_open(d);
    drill_begin(d);
    drill_put(d, LARGE, DRILL_BYTES, 100 << 10, FEOX_DURABLE);
    drill_put(d, LARGE + 1, DRILL_BYTES, 1100 << 10, 0);
    drill_put(d, LARGE + 2, DRILL_BYTES, 66 << 10, 0);
    drill_put(d, 1, DRILL_BYTES, 10, 0);
    drill_flush(d);
    drill_put(d, LARGE, DRILL_BYTES, 90 << 10, FEOX_DURABLE);
    drill_read(d);
}

/* The file of a store that holds little has no room for all of these. */
static void growth(drill *d) {
    drill_open(d);
    uint64_t before = statistics(d).file_size;
    drill_begin(d);
    drill_put(d, LARGE, DRILL_BYTES, 700 << 10, 0);
    drill_put(d, LARGE + 1, DRILL_BYTES, 800 << 10, 0);
    drill_put(d, 1, DRILL_BYTES, 500, FEOX_DURABLE);
    drill_put(d, LARGE + 3, DRILL_BYTES, 1100 << 10, FEOX_DURABLE);
    drill_flush(d);
    drill_read(d);
    if (undisturbed(d) && statistics(d).file_size == before) {
        drill_wrong(d, "the file did not grow", FEOX_OK);
    }
}

/* Small groups that fill the ring, from a checkpoint to the next. */
static unsigned ring_groups;

static void fill_ring(drill *d) {
    uint64_t before = checkpoints(d);
    for (ring_groups = 0; ring_groups < 300 && checkpoints(d) == before; ring_groups++) {
        drill_put(d, ring_groups % 4, DRILL_BYTES, 16000, FEOX_DURABLE);
    }
    if (checkpoints(d) == before) {
        drill_wrong(d, "the ring does not become full", FEOX_OK);
    }
}

/* Twice, for the first time it is not empty when it begins. */
static void rings(drill *d) {
    some(d);
    fill_ring(d);
    fill_ring(d);
}

/* Until it is nearly full, and over its end. */
static void ring(drill *d) {
    drill_open(d);
    uint64_t before = checkpoints(d);
    for (unsigned i = 0; i + 2 < ring_groups; i++) {
        drill_put(d, i % 4, DRILL_BYTES, 16000, FEOX_DURABLE);
    }
    drill_begin(d);
    for (unsigned i = 0; i < 4; i++) {
        drill_put(d, i, DRILL_BYTES, 16000, FEOX_DURABLE);
    }
    if (undisturbed(d) && checkpoints(d) == before) {
        drill_wrong(d, "the ring was not full", FEOX_OK);
    }
    drill_put(d, 2, DRILL_BYTES, 100, FEOX_DURABLE);
    drill_read(d);
}

/* Holes, and what lies behind them. */
static void holes(drill *d) {
    some(d);
    for (unsigned i = 0; i < 4; i++) {
        drill_put(d, LARGE + i, DRILL_BYTES, (300 << 10) + i, 0);
        for (unsigned key = 0; key < 12; key++) {
            drill_put(d, key, DRILL_BYTES, 6000 + key, 0);
        }
        drill_flush(d);
    }
    drill_delete(d, LARGE, 0);
    drill_delete(d, LARGE + 1, 0);
    for (unsigned key = 0; key < 12; key += 2) {
        drill_put(d, key, DRILL_BYTES, 100, 0);
    }
    drill_flush(d);
}

static void compact(drill *d) {
    drill_open(d);
    drill_begin(d);
    drill_put(d, 0, DRILL_BYTES, 44, 0); /* waits meanwhile */
    drill_compact(d);
    drill_put(d, 1, DRILL_BYTES, 55, FEOX_DURABLE);
    drill_delete(d, LARGE + 3, 0);
    drill_compact(d);
    drill_put(d, 2, DRILL_BYTES, 66, FEOX_DURABLE);
    drill_read(d);
}

/* Values are in the file only. */
static void evicted(drill *d) {
    drill_open(d);
    drill_begin(d);
    drill_read(d);
    drill_swap(d, 7, 500, FEOX_DURABLE);
    drill_patch(d, DOCUMENT, FEOX_DURABLE);
    drill_add(d, COUNTER, 0);
    drill_put(d, LARGE + 1, DRILL_BYTES, 100 << 10, FEOX_DURABLE);
    drill_swap(d, 8, 60, 0);
    drill_flush(d);
    drill_read(d);
    if (undisturbed(d) && d->store != NULL && statistics(d).disk_reads < 5) {
        drill_wrong(d, "little was read back", FEOX_OK);
    }
}

static void closing(drill *d) {
    drill_open(d);
    for (unsigned key = 0; key < 4; key++) {
        drill_put(d, key, DRILL_BYTES, 5000, 0);
    }
    drill_put(d, LARGE, DRILL_BYTES, 80 << 10, 0);
    drill_begin(d);
    drill_close(d);
}

static void reopen(drill *d) {
    drill_begin(d);
    drill_open(d);
    drill_read(d);
    drill_put(d, 1, DRILL_BYTES, 100, FEOX_DURABLE);
    drill_close(d);
}

static void look(drill *d) {
    d->options.read_only = FEOX_YES;
    drill_begin(d);
    drill_open(d);
    drill_read(d);
    drill_close(d);
    d->options.read_only = FEOX_NO;
}

static void in_flight(drill *d) {
    drill_open(d);
    drill_begin(d);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned key = 0; key < 4; key++) {
            drill_put(d, key + 4 * round, DRILL_BYTES, 100 + 2000 * round,
                      FEOX_DURABLE | FEOX_NO_WAIT);
        }
        drill_wait(d);
    }
    drill_flush(d);
    drill_read(d);
}

static void salvage(drill *d) {
    drill_begin(d);
    drill_salvage(d);
}

const drill_script drill_scripts[] = {
    {"create", NULL, create, false, 0, 1},       {"relaxed", some, relaxed, false, 0, 1},
    {"durable", some, durable, false, 0, 1},     {"large", some, large, false, 0, 1},
    {"growth", some, growth, false, 0, 1},       {"ring", rings, ring, false, 0, 1},
    {"compact", holes, compact, false, 0, 2},    {"evicted", some, evicted, false, 1 << 20, 1},
    {"close", some, closing, false, 0, 1},       {"reopen", holes, reopen, true, 0, 1},
    {"read-only", holes, look, true, 0, 1},      {"in flight", some, in_flight, false, 0, 1},
    {"salvage", holes, salvage, true, 0, 6},
};
const size_t drill_script_count = sizeof drill_scripts / sizeof drill_scripts[0];
