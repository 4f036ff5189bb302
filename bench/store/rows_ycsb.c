/* The six core workloads of YCSB (Cooper and others, SoCC 2010), in memory: popular keys by a
 * Zipfian law with theta 0.99, new keys at the end, the latest first in D, scans of 1 to 100. */
#include <stdio.h>
#include <stdlib.h>

#include "store/rows.h"

typedef struct workload {
    char name;
    unsigned reads, updates, inserts, scans, modifies; /* in a hundred */
    bool latest;
} workload;

static const workload workloads[] = {
    {'c', 100, 0, 0, 0, 0, false}, {'b', 95, 5, 0, 0, 0, false}, {'a', 50, 50, 0, 0, 0, false},
    {'f', 50, 0, 0, 0, 50, false}, {'d', 95, 0, 5, 0, 0, true},  {'e', 0, 0, 5, 95, 0, false},
};

/* `next` is the first id that is not there yet; inserts move it on. */
static ops prepare(const workload *w, uint64_t *next, size_t count, uint64_t seed) {
    ops list = ops_zipf(OP_GET, *next, count, seed);
    zipf recent;
    zipf_init(&recent, 100000, 0.99);
    for (size_t i = 0; i < count; i++) {
        op *item = &list.list[i];
        unsigned dice = (unsigned)(work_random(&seed) % 100);
        if (w->latest) {
            item->id = *next - 1 - zipf_next(&recent, &seed);
        }
        if (dice < w->updates) {
            item->kind = OP_PUT;
        } else if ((dice -= w->updates) < w->inserts) {
            item->kind = OP_PUT;
            item->id = (*next)++;
        } else if ((dice -= w->inserts) < w->scans) {
            item->kind = OP_SCAN;
            item->length = 1 + (uint32_t)(work_random(&seed) % 100);
        } else if (dice - w->scans < w->modifies) {
            item->kind = OP_MODIFY;
        }
        work_key(item->id, item->key);
    }
    return list;
}

void rows_ycsb(const row_setup *setup) {
    engine_config config = {.keys = setup->keys * 2, .value_size = setup->value_size};
    size_t count = setup->quick ? 200000 : 500000;
    uint64_t next = setup->keys;
    memory_warm(setup->keys * (setup->value_size + 300) * 2);
    subject s = rows_open(setup, config);
    ops list = ops_each(OP_PUT, 0, setup->keys, setup->seed);
    run_loop(&s, &list);
    ops_free(&list);
    if (s.engine->settle != NULL) {
        s.engine->settle(s.store);
    }
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        const workload *w = &workloads[i];
        char name[16];
        size_t some = w->scans > 0 ? count / 10 : count;
        if (w->scans > 0 && s.engine->scan == NULL) {
            continue;
        }
        snprintf(name, sizeof name, "ycsb_%c", w->name);
        s.generation++;
        rows_loop(name, &s, prepare(w, &next, some, setup->seed * 100 + i));
        rows_latency(name, &s, prepare(w, &next, some / 4, setup->seed * 100 + 50 + i));
    }
    s.engine->close(s.store);
}
