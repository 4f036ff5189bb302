/* The groups of rows. Each runs one engine in a process of its own, once in every round, and
 * reports figures; the driver puts them together and chart.py compares them with the targets. */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include "store/work.h"

typedef struct row_setup {
    const engine *engine;
    uint64_t keys;
    size_t value_size;
    const char *directory; /* empty, ours: on the device that is measured */
    const char *tmpfs;     /* empty, ours: in memory */
    uint64_t seed;
    bool quick;
} row_setup;

void rows_memory(const row_setup *setup);
void rows_threads(const row_setup *setup);
void rows_growth(const row_setup *setup);
void rows_empty(const row_setup *setup);
void rows_ycsb(const row_setup *setup);
void rows_disk(const row_setup *setup);
void rows_reopen(const row_setup *setup);
void rows_updates(const row_setup *setup);
void rows_durable(const row_setup *setup);

/* Opens the engine or ends the program. */
subject rows_open(const row_setup *setup, engine_config config);
/* Runs the list and frees it. Reports nanoseconds per operation under this name with _ns, and the
 * processor's share of them with _cpu_ns: on a machine that has other work the second says more. */
void rows_loop(const char *name, const subject *s, ops list);
void rows_report(const char *name, const char *what, double value); /* as NAME_WHAT */
void rows_latency(const char *name, const subject *s, ops list);

#endif
