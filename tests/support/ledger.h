/* ledger: sixteen threads of durable increments on a few keys, with a record of what they tried,
 * what was acknowledged and what anybody saw, in memory that outlives the process.
 *
 * For a crash test: ledger_work runs in the victim, ledger_verify afterwards in the parent. Main
 * thread only; the threads inside are its own affair.
 */
#ifndef FX_SUPPORT_LEDGER_H
#define FX_SUPPORT_LEDGER_H

#include <stdint.h>

#include "feox.h"

typedef struct ledger ledger;

/* In memory that a forked child shares. */
ledger *ledger_new(void);
void ledger_free(ledger *l);
/* A victim_work with the ledger as its context. */
feox_status ledger_work(feox_store *store, void *l);
/* How the next victim writes: with FEOX_DURABLE at each increment, or trusting the store's mode. */
void ledger_flag(ledger *l, int flagged);
/* The parent: what was acknowledged or read until now must be there in the end, and what may follow
 * need not, because the system under the victim is being taken away. Without this call, everything
 * must be there. */
void ledger_mark(ledger *l);
/* Keys, over all rounds, that lost an acknowledgement after the mark. */
uint64_t ledger_lost(const ledger *l);
/* Every acknowledged increment is there, none that was not attempted, and nothing is gone that a
 * reader had seen. The store is the base of the next round. */
void ledger_verify(ledger *l, feox_store *store);
/* Acknowledged increments of all rounds. */
uint64_t ledger_total(const ledger *l);

#endif
