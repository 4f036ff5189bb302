/* Rows in memory: T1 to T11 and T19 of the targets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/memory.h"
#include "store/rows.h"

#define BATCH 32u
#define HOT 10000u

subject rows_open(const row_setup *setup, engine_config config) {
    config.tmpfs = setup->tmpfs;
    subject s = {setup->engine, setup->engine->open(&config), config.value_size, 0};
    if (s.store == NULL) {
        fail(setup->engine->name, "cannot be opened");
    }
    return s;
}

void rows_report(const char *name, const char *what, double value) {
    char text[96];
    snprintf(text, sizeof text, "%s_%s", name, what);
    report(text, value);
}

void rows_loop(const char *name, const subject *s, ops list) {
    double own = cpu_thread();
    double took = run_loop(s, &list);
    own = cpu_thread() - own;
    rows_report(name, "ns", took * 1e9 / (double)list.count);
    rows_report(name, "cpu_ns", own * 1e9 / (double)list.count);
    ops_free(&list);
}

void rows_latency(const char *name, const subject *s, ops list) {
    histogram *h = calloc(1, sizeof *h);
    run_latency(s, &list, h);
    histogram_report(name, h);
    ops_free(&list);
    free(h);
}

static void settle(const subject *s) {
    if (s->engine->settle != NULL) {
        s->engine->settle(s->store);
    }
}

/* Waits until threads of the store have done what the last calls left them, at most two seconds. */
static void wait_idle(void) {
    struct timespec nap = {0, 50000000};
    for (int i = 0; i < 40; i++) {
        double before = cpu_process();
        nanosleep(&nap, NULL);
        if (cpu_process() - before < 0.002) {
            return;
        }
    }
}

/* A fifth writes, the others read. */
static ops mixed(uint64_t keys, size_t count, uint64_t seed) {
    ops list = ops_uniform(OP_GET, 0, keys, count, seed);
    for (size_t i = 0; i < count; i++) {
        if (work_random(&seed) % 5 == 0) {
            list.list[i].kind = OP_PUT;
        }
    }
    return list;
}

static void load(const row_setup *setup, const subject *s) {
    uint64_t before = memory_resident();
    ops list = ops_each(OP_PUT, 0, setup->keys, setup->seed);
    double all = cpu_process(), own = cpu_thread();
    double took = run_loop(s, &list);
    report("insert_ns", took * 1e9 / (double)list.count);
    double caller = cpu_thread() - own;
    if (s->engine->scan != NULL) {
        double start = now_seconds();
        uint64_t pairs = run_count(s);
        report("scan_all_after_load_s", now_seconds() - start);
        if (pairs != setup->keys) {
            fail(s->engine->name, "a scan right after the load has not all keys");
        }
    }
    wait_idle();
    double keys = (double)list.count;
    report("insert_cpu_ns", caller * 1e9 / keys);
    report("load_background_cpu_ns", (cpu_process() - all - (cpu_thread() - own)) * 1e9 / keys);
    ops_free(&list);
    report("resident_bytes_per_key", ((double)memory_resident() - (double)before) / keys);
    settle(s);
}

static void read_rows(const row_setup *setup, const subject *s, size_t count) {
    uint64_t keys = setup->keys, seed = setup->seed * 100;
    rows_loop("get_uniform", s, ops_uniform(OP_GET, 0, keys, count, seed + 1));
    rows_loop("get_zipf", s, ops_zipf(OP_GET, keys, count, seed + 2));
    rows_loop("get_missing", s, ops_uniform(OP_MISS, keys * 4, keys, count, seed + 3));
    rows_loop("get_hot", s, ops_uniform(OP_GET, 0, HOT, count, seed + 4));
    if (s->engine->get_many != NULL) {
        ops list = ops_uniform(OP_GET, 0, keys, count / BATCH * BATCH, seed + 5);
        double own = cpu_thread();
        report("get_many_ns", run_many(s, &list, BATCH) * 1e9 / (double)list.count);
        report("get_many_cpu_ns", (cpu_thread() - own) * 1e9 / (double)list.count);
        ops_free(&list);
    }
    if (s->engine->scan != NULL) {
        rows_loop("scan_100", s, ops_uniform(OP_SCAN, 0, keys, count / 50, seed + 6));
    }
    rows_latency("get_uniform", s, ops_uniform(OP_GET, 0, keys, count / 4, seed + 7));
    rows_latency("get_zipf", s, ops_zipf(OP_GET, keys, count / 4, seed + 8));
    if (s->engine->scan != NULL) {
        rows_latency("scan_100", s, ops_uniform(OP_SCAN, 0, keys, count / 100, seed + 9));
    }
}

void rows_memory(const row_setup *setup) {
    engine_config config = {.keys = setup->keys + setup->keys / 4,
                            .value_size = setup->value_size};
    size_t count = setup->quick ? 400000 : 1000000;
    uint64_t keys = setup->keys, seed = setup->seed * 100;
    memory_warm(keys * (setup->value_size + 300) * 2);
    /* One read after the other, and a scan's copies alone: of keys, values and 28 bytes each. */
    size_t record = setup->value_size + KEY_SIZE + 28;
    report("raw_chase_ns", memory_chase_ns(keys * record));
    report("raw_copy_100_ns", 100 * memory_copy_ns(keys, record));
    subject s = rows_open(setup, config);
    uint64_t before = memory_resident();
    load(setup, &s);
    read_rows(setup, &s, count);
    s.generation = 1;
    rows_loop("update", &s, ops_each(OP_PUT, 0, keys, seed + 10));
    wait_idle();
    report("resident_bytes_per_key_updated",
           ((double)memory_resident() - (double)before) / (double)keys);
    rows_loop("mixed", &s, mixed(keys, count, seed + 11));
    rows_latency("update", &s, ops_uniform(OP_PUT, 0, keys, count / 4, seed + 12));
    rows_latency("mixed", &s, mixed(keys, count / 4, seed + 13));
    rows_latency("insert", &s, ops_each(OP_PUT, keys, keys / 4, seed + 14));
    rows_latency("delete", &s, ops_each(OP_REMOVE, keys, keys / 4, seed + 15));
    rows_loop("delete", &s, ops_each(OP_REMOVE, 0, keys, seed + 16));
    s.engine->close(s.store);
}

/* One and two threads in turn, in one process: the rates of this moment. */
static void pair(const char *name, const subject *s, ops first, ops second) {
    ops lists[2] = {first, second};
    double one = run_loop(s, &lists[0]), two = run_threads(s, lists, 2);
    one = (one + run_loop(s, &lists[1])) / 2;
    rows_report(name, "1_thread_ns", one * 1e9 / (double)first.count);
    rows_report(name, "2_threads_ns", two * 1e9 / (double)first.count / 2);
    rows_report(name, "scaling", 2 * one / two);
    ops_free(&lists[0]);
    ops_free(&lists[1]);
}

static ops one_key(op_kind kind, size_t count) {
    return ops_uniform(kind, 7, 1, count, 1);
}

void rows_threads(const row_setup *setup) {
    engine_config config = {.keys = setup->keys * 2, .value_size = setup->value_size};
    size_t count = setup->quick ? 400000 : 1000000;
    uint64_t keys = setup->keys, seed = setup->seed * 100;
    memory_warm(keys * (setup->value_size + 300) * 2);
    subject s = rows_open(setup, config);
    ops list = ops_each(OP_PUT, 0, keys, setup->seed);
    run_loop(&s, &list);
    ops_free(&list);
    settle(&s);
    wait_idle();
    pair("get_uniform", &s, ops_uniform(OP_GET, 0, keys, count, seed + 1),
         ops_uniform(OP_GET, 0, keys, count, seed + 2));
    pair("get_one_key", &s, one_key(OP_GET, count), one_key(OP_GET, count));
    pair("update", &s, ops_each(OP_PUT, 0, keys / 2, seed + 3),
         ops_each(OP_PUT, keys / 2, keys / 2, seed + 4));
    pair("mixed", &s, mixed(keys, count, seed + 5), mixed(keys, count, seed + 6));
    /* New keys by two threads; there is no second time for a key. */
    ops lists[2] = {ops_each(OP_PUT, keys, keys / 2, seed + 7),
                    ops_each(OP_PUT, keys + keys / 2, keys / 2, seed + 8)};
    report("insert_2_threads_ns", run_threads(&s, lists, 2) * 1e9 / (double)keys);
    s.engine->close(s.store);
}

/* Every insert by itself while the store grows from nothing. */
void rows_growth(const row_setup *setup) {
    engine_config config = {.keys = setup->keys, .value_size = setup->value_size};
    memory_warm(setup->keys * (setup->value_size + 300));
    subject s = rows_open(setup, config);
    rows_latency("growing_insert", &s, ops_each(OP_PUT, 0, setup->keys, setup->seed));
    s.engine->close(s.store);
}

void rows_empty(const row_setup *setup) {
    engine_config config = {.keys = 1000, .value_size = setup->value_size};
    uint64_t before = memory_resident();
    double start = now_seconds();
    subject s = rows_open(setup, config);
    double opened = now_seconds();
    report("empty_resident_bytes", (double)memory_resident() - (double)before);
    double closing = now_seconds();
    s.engine->close(s.store);
    double ended = now_seconds();
    report("empty_open_close_us", (opened - start + ended - closing) * 1e6);
}
