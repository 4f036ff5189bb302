/* history: what some threads did to a few keys, call by call, with stamps that say which calls
 * followed each other; and its check, key by key, with wgl.
 *
 * It may live in memory shared with a child that is killed: a call is entered before it is made,
 * and whatever never returned stays pending. Each thread writes to a log of its own.
 */
#ifndef FX_SUPPORT_HISTORY_H
#define FX_SUPPORT_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "support/wgl.h"

#define FX_HISTORY_THREADS 17u /* the last one is the test's main thread */
#define FX_HISTORY_CALLS 96u
#define FX_HISTORY_KEYS 4u

typedef struct fx_log {
    _Atomic uint32_t count;   /* calls entered ... */
    _Atomic uint32_t settled; /* ... and written down with their results */
    fx_op ops[FX_HISTORY_CALLS];
} fx_log;

typedef struct fx_history {
    _Atomic uint64_t stamp;
    bool tsc; /* stamps by the processor's counter: no cache line that all threads share */
    uint32_t keys;
    char title[96]; /* to be printed with a failure */
    fx_log logs[FX_HISTORY_THREADS];
} fx_history;

/* Empty, in memory that forked children share. Aborts without memory; fx_history_free. */
fx_history *fx_history_create(void);
void fx_history_free(fx_history *history);
void fx_history_clear(fx_history *history, uint32_t keys, bool tsc);

/* Enters a call that is about to be made; NULL: the thread's log is full. */
fx_op *fx_history_call(fx_history *history, uint32_t thread, const fx_op *op);
/* Take the stamps around the call; then the results are filled in. */
void fx_history_called(fx_history *history, fx_op *op);
void fx_history_returned(fx_history *history, fx_op *op);
/* The thread's results are all there: its calls are pending no more. */
void fx_history_settle(fx_history *history, uint32_t thread);
/* All that is pending ends here, and each key has a crash in its history. */
void fx_history_crash(fx_history *history);

/* Checks every key; prints what is not linearizable and adds what could not be decided and how many
 * states were visited. False: not linearizable. */
bool fx_history_check(fx_history *history, fx_wgl *wgl, uint64_t *undecided, uint64_t *visited);

#endif
