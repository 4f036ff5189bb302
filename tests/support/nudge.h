/* nudge: takes the processor from a thread at a moment of its choice, inside whatever call it is in
 * by then. On few processors threads would else almost never meet inside a call. By a timer, whose
 * signal also interrupts system calls, which must not matter; or, where the processor can trap
 * after each instruction, behind an exact number of them. Each thread has its own.
 */
#ifndef FX_SUPPORT_NUDGE_H
#define FX_SUPPORT_NUDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct fx_nudge {
    timer_t timer;
    bool there; /* the system has such timers */
} fx_nudge;

/* In the thread that is to be nudged. */
void fx_nudge_init(fx_nudge *nudge);
void fx_nudge_deinit(fx_nudge *nudge);
/* Once, about this many nanoseconds from now; replaces one that has not come yet. */
void fx_nudge_arm(fx_nudge *nudge, uint64_t ns);
/* The thread traps after each of its next instructions (about a microsecond each) and loses the
 * processor behind this many, if fx_nudge_step_end does not come first. Nothing where that is not
 * possible: other processors, ThreadSanitizer. */
void fx_nudge_step(uint32_t instructions);
void fx_nudge_step_end(void);
/* The same, but instead of losing the processor the thread calls `visit` after each instruction,
 * until that gives true. It is a signal handler, in the middle of whatever the thread is in. False:
 * not possible here. */
bool fx_nudge_visit(bool (*visit)(void *context), void *context);
/* How many have come in this process. */
uint64_t fx_nudge_count(void);

#endif
