/* explore_parts: what the three parts of the explorer say to each other. Only for explore*.c. */
#ifndef TESTS_SIM_EXPLORE_PARTS_H
#define TESTS_SIM_EXPLORE_PARTS_H

#include "sim/explore.h"

/* ---- explore_arena.c: memory at fixed addresses, put back before each schedule ---- */

#define ARENA_BASE ((uintptr_t)0x200000000000)
#define ARENA_SIZE ((size_t)32 << 20)

static inline bool arena_has(const void *place) {
    return (uintptr_t)place - ARENA_BASE < ARENA_SIZE;
}

/* Empty, writable. */
void arena_begin(void);
/* From here on changes are undone by arena_restore. */
void arena_seal(void);
void arena_restore(void);
/* Thread `index`'s stack: always at the same address, for code may start from it. */
void *arena_stack(unsigned index, size_t *size_out);
/* A fault at this address: true if it only was the first write to a page. */
bool arena_fault(void *place);

/* ---- explore_memory.c: what a load may return ---- */

typedef struct memory_figures {
    uint64_t stale_loads;
} memory_figures;

extern memory_figures memory_totals;

/* No thread has done anything. */
void memory_begin(void);
/* The whole range becomes zero, page by page, without any order. */
void memory_discard(void *place, size_t size);
/* Nobody may touch the range again. */
void memory_free(void *place, size_t size);
/* What `from` did before is known to `to`; threads, or objects such as mutexes. */
typedef struct memory_clock {
    uint32_t at[EXPLORE_THREADS];
} memory_clock;
void memory_release(memory_clock *to);
void memory_acquire(const memory_clock *from);

/* ---- explore.c: who goes on ---- */

extern bool explore_running;     /* inside a schedule */
extern unsigned explore_self;    /* the thread that runs */
extern bool explore_only_newest; /* nobody could move: no stale loads until somebody stores */
extern bool explore_trace;       /* print each step */

/* Another thread may go on here. */
void explore_point(void);
/* Something was stored: whoever waits for that may look again. */
void explore_stored(void);
/* Which of `count` messages a load returns, 0 the newest. */
unsigned explore_choose_stale(unsigned count);

#endif
