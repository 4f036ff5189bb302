/* prefix: writers of a sequence that a seed decides, and the proof that what a crash left of it is
 * a prefix in commit order.
 *
 * For a crash test: prefix_work runs in the victim, prefix_verify afterwards in the parent. Main
 * thread only; the threads inside are its own affair.
 */
#ifndef FX_SUPPORT_PREFIX_H
#define FX_SUPPORT_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#include "feox.h"

enum { PREFIX_WRITERS_MAX = 4 };

typedef struct prefix_run prefix_run;

/* How the next victim makes its operations durable: after every so many, by one write with
 * FEOX_DURABLE or by a feox_flush. */
typedef struct prefix_rhythm {
    uint64_t flush_every;
    bool durable;
} prefix_rhythm;

prefix_run *prefix_new(uint64_t seed, uint64_t writers);
void prefix_free(prefix_run *run);
void prefix_set_rhythm(prefix_run *run, prefix_rhythm rhythm);
/* A victim_work with the run as its context. */
feox_status prefix_work(feox_store *store, void *run);
/* The parent: what the victim has acknowledged until now must be there in the end, and what it may
 * acknowledge from now on need not, because the system under it is being taken away. Without this
 * call, everything must be there. */
void prefix_mark(prefix_run *run);
/* Acknowledgements after the mark that were lost, in all rounds: one for each writer and round. */
uint64_t prefix_lost(const prefix_run *run);
/* The store is exactly the state after some number of each writer's operations, at least those that
 * were durable and those that another writer had read. Finishes operations that were half done; the
 * next victim goes on from there. Nothing else may be in the store. */
void prefix_verify(prefix_run *run, feox_store *store);
/* Operations of all rounds that were there in the end. */
uint64_t prefix_total(const prefix_run *run);

#endif
