/* Rows with files: T12 to T18 of the targets. Raw figures are taken in the same process, directory
 * and moment as those that are compared with them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/device.h"
#include "store/rows.h"

#define DEPTH 32u
#define WRITERS 16u

static engine_config config_of(const row_setup *setup) {
    return (engine_config){.path = setup->directory, .keys = setup->keys + setup->keys / 4,
                           .value_size = setup->value_size};
}

static void must_flush(const subject *s) {
    if (!s->engine->flush(s->store)) {
        fail(s->engine->name, "flush");
    }
}

/* Loads all keys until they are on stable storage. */
static void ingest(const row_setup *setup, const subject *s) {
    ops list = ops_each(OP_PUT, 0, setup->keys, setup->seed);
    double keys = (double)setup->keys;
    uint64_t written = process_written();
    double all = cpu_process(), own = cpu_thread();
    double took = run_loop(s, &list);
    double caller = cpu_thread() - own;
    double start = now_seconds();
    must_flush(s);
    double flushed = now_seconds() - start;
    report("insert_ns", took * 1e9 / keys);
    report("insert_cpu_ns", caller * 1e9 / keys);
    report("flush_after_load_s", flushed);
    report("durable_records_per_s", keys / (took + flushed));
    report("durable_bytes_per_s",
           keys * (double)(setup->value_size + KEY_SIZE) / (took + flushed));
    /* Of the store's own threads, and of the flush at the end. */
    report("flush_side_cpu_ns", (cpu_process() - all - caller) * 1e9 / keys);
    report("all_cpu_ns", (cpu_process() - all) * 1e9 / keys);
    report("load_written_per_byte", (double)(process_written() - written) /
                                        (keys * (double)(setup->value_size + KEY_SIZE)));
    report("disk_bytes_per_record", (double)directory_size(setup->directory) / keys);
    report("disk_bytes_per_byte", (double)directory_size(setup->directory) /
                                      (keys * (double)(setup->value_size + KEY_SIZE)));
    ops_free(&list);
}

/* Opens again what was closed, with nothing in the page cache. */
static subject reopen(const row_setup *setup, engine_config config) {
    ops first = ops_uniform(OP_GET, 0, setup->keys, 1, setup->seed + 50);
    directory_cold(setup->directory);
    double start = now_seconds();
    subject s = rows_open(setup, config);
    report("reopen_s", now_seconds() - start);
    run_loop(&s, &first);
    report("reopen_first_get_s", now_seconds() - start);
    if (s.engine->scan != NULL) {
        ops scan = ops_uniform(OP_SCAN, 0, setup->keys, 1, setup->seed + 51);
        run_loop(&s, &scan);
        report("reopen_first_scan_s", now_seconds() - start);
        ops_free(&scan);
        if (run_count(&s) != setup->keys) {
            fail(s.engine->name, "not all keys are there after opening again");
        }
        report("reopen_all_read_s", now_seconds() - start);
    }
    ops_free(&first);
    return s;
}

/* Values that are on the device only. */
static void cold_reads(const row_setup *setup) {
    size_t count = setup->quick ? 3000 : 10000;
    engine_config config = config_of(setup);
    config.memory_limit = setup->keys * 100;
    directory_cold(setup->directory);
    subject s = rows_open(setup, config);
    directory_cold(setup->directory);
    double raw = device_read_ns(setup->directory, (unsigned)count);
    ops list = ops_uniform(OP_GET, 0, setup->keys, count, setup->seed + 60);
    histogram *h = calloc(1, sizeof *h);
    run_latency(&s, &list, h);
    histogram_report("cold_get", h);
    report("raw_read_p50", (raw + device_read_ns(setup->directory, (unsigned)count)) / 2);
    ops_free(&list);
    free(h);
    if (s.engine->get_many != NULL) {
        ops many = ops_uniform(OP_GET, 0, setup->keys, count / DEPTH * DEPTH * 4, setup->seed + 61);
        double rate = device_read_rate(setup->directory, DEPTH, (unsigned)many.count);
        report("cold_many_per_s", (double)many.count / run_many(&s, &many, DEPTH));
        rate = (rate + device_read_rate(setup->directory, DEPTH, (unsigned)many.count)) / 2;
        report("raw_read_32_per_s", rate);
        ops_free(&many);
    }
    s.engine->close(s.store);
}

void rows_disk(const row_setup *setup) {
    uint64_t bytes = setup->keys * (setup->value_size + KEY_SIZE);
    bytes = bytes < (256u << 20) ? 256u << 20 : bytes;
    memory_warm(setup->keys * (setup->value_size + 300) * 2);
    double raw = device_write_rate(setup->directory, bytes);
    subject s = rows_open(setup, config_of(setup));
    ingest(setup, &s);
    s.engine->close(s.store);
    report("raw_write_bytes_per_s", (raw + device_write_rate(setup->directory, bytes)) / 2);
    s = reopen(setup, config_of(setup));
    s.engine->close(s.store);
    cold_reads(setup);
}

void rows_reopen(const row_setup *setup) {
    memory_warm(setup->keys * (setup->value_size + 300));
    subject s = rows_open(setup, config_of(setup));
    ops list = ops_each(OP_PUT, 0, setup->keys, setup->seed);
    run_loop(&s, &list);
    must_flush(&s);
    s.engine->close(s.store);
    ops_free(&list);
    s = reopen(setup, config_of(setup));
    s.engine->close(s.store);
}

/* Updates of a file of which seven tenths are current, for as long as it takes to write it several
 * times. What an engine adds to a record counts as current: 28 bytes are allowed for it. */
void rows_updates(const row_setup *setup) {
    engine_config config = config_of(setup);
    double user = (double)(setup->value_size + KEY_SIZE);
    config.file_limit = (uint64_t)((double)setup->keys * (user + 28) / 0.7);
    memory_warm(setup->keys * (setup->value_size + 300) * 2);
    subject s = rows_open(setup, config);
    ops list = ops_each(OP_PUT, 0, setup->keys, setup->seed);
    run_loop(&s, &list);
    must_flush(&s);
    ops_free(&list);
    double seconds = 0, written = 0;
    unsigned passes = setup->quick ? 2 : 5;
    for (unsigned pass = 0; pass < passes; pass++) {
        ops updates = ops_uniform(OP_PUT, 0, setup->keys, setup->keys, setup->seed + 70 + pass);
        uint64_t before = process_written();
        s.generation = pass + 1;
        double took = run_loop(&s, &updates), start = now_seconds();
        must_flush(&s);
        took += now_seconds() - start;
        if (pass > 0) {
            seconds += took;
            written += (double)(process_written() - before);
        }
        ops_free(&updates);
    }
    double updates = (double)setup->keys * (passes - 1);
    report("steady_update_ns", seconds * 1e9 / updates);
    report("steady_written_per_byte", written / (updates * user));
    report("steady_disk_bytes_per_byte",
           (double)directory_size(setup->directory) / ((double)setup->keys * user));
    if (s.engine->refused != NULL) {
        report("steady_refused", (double)s.engine->refused(s.store));
    }
    s.engine->close(s.store);
}

/* Writes that return when they are on stable storage. */
void rows_durable(const row_setup *setup) {
    engine_config config = config_of(setup);
    config.durable = true;
    size_t count = setup->quick ? 600 : 2000;
    subject s = rows_open(setup, config);
    ops warm = ops_each(OP_PUT, 0, 100, 1);
    run_loop(&s, &warm);
    ops_free(&warm);
    double raw = device_sync_ns(setup->directory, (unsigned)count);
    ops list = ops_each(OP_PUT, 1000, count, setup->seed);
    histogram *h = calloc(1, sizeof *h);
    double start = now_seconds();
    run_latency(&s, &list, h);
    double one = (double)count / (now_seconds() - start);
    ops_free(&list);
    raw = (raw + device_sync_ns(setup->directory, (unsigned)count)) / 2;
    histogram_report("durable", h);
    report("raw_durable_p50", raw);
    report("durable_1_thread_per_s", one);
    if (s.engine->threads) {
        ops lists[WRITERS];
        double seconds = 0;
        for (size_t i = 0; i < WRITERS; i++) {
            lists[i] = ops_each(OP_PUT, 100000 * (i + 1), count, setup->seed + i);
        }
        memset(h, 0, sizeof *h);
        run_latency_threads(&s, lists, WRITERS, h, &seconds);
        histogram_report("durable_16", h);
        report("durable_16_threads_per_s", (double)(count * WRITERS) / seconds);
        for (size_t i = 0; i < WRITERS; i++) {
            ops_free(&lists[i]);
        }
    }
    free(h);
    s.engine->close(s.store);
}
