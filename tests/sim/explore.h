/* explore: runs a few threads of real code through many schedules, with the stale loads that C11's
 * memory orders allow. For tests/sim/lockfree_test.c alone; one real thread.
 *
 * The code under test is compiled with tests/sim/atomic/base/atomic.h in the place of the product's
 * and linked with the wraps of explore_arena.c. Each of its threads is a coroutine; before each
 * atomic operation another may go on, and a load may return an older store. Plain accesses are no
 * switch points; those that the compiler shows us (-fsanitize=thread without its runtime) are
 * checked for data races.
 *
 * A scenario's memory comes from explore_alloc and the fx_mem_* door alone: `setup` runs once, and
 * before each schedule all of it is put back as it was then.
 */
#ifndef TESTS_SIM_EXPLORE_H
#define TESTS_SIM_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS 3u

typedef enum explore_order {
    EXPLORE_RELAXED,
    EXPLORE_ACQUIRE,
    EXPLORE_RELEASE,
    EXPLORE_ACQ_REL,
    EXPLORE_SEQ_CST
} explore_order;

typedef enum explore_mutation {
    EXPLORE_AS_WRITTEN, /* but for its order, which may be another */
    EXPLORE_STUCK,      /* a load that returns what the thread has last seen there */
    EXPLORE_OMITTED     /* a store that is not made */
} explore_mutation;

typedef enum explore_change { EXPLORE_SET, EXPLORE_ADD, EXPLORE_SUB } explore_change;

/* An atomic operation in the source. Aligned, or the compiler would leave gaps in the section. */
typedef struct explore_site {
    const char *file, *function, *operation, *place;
    int line;
    explore_order written; /* in the source */
    explore_order order;   /* as it runs */
    explore_mutation mutation;
    uint32_t reached; /* how often it ran inside a schedule */
} __attribute__((aligned(64))) explore_site;

/* All of them, as the linker collected them; those of inline functions several times. */
extern explore_site __start_explore_sites[], __stop_explore_sites[];

/* ---- For the stand-in of base/atomic.h ---- */

uint64_t explore_load(explore_site *site, void *place, size_t size);
void explore_store(explore_site *site, void *place, size_t size, uint64_t value);
/* The old value. */
uint64_t explore_update(explore_site *site, void *place, size_t size, explore_change how,
                        uint64_t value);
bool explore_cas(explore_site *site, void *place, size_t size, void *expected, uint64_t value);
/* The thread can do nothing before another has stored something. */
void explore_yield(void);

/* ---- For scenarios ---- */

typedef struct explore_scenario {
    const char *name;
    /* Makes the state that the others get. One real thread, nothing is explored. */
    void *(*setup)(void);
    void (*threads[EXPLORE_THREADS])(void *state); /* NULL: not so many */
    void (*check)(void *state);                    /* when all have ended; may be NULL */
} explore_scenario;

/* Zeroed, for ever. `setup` only. */
void *explore_alloc(size_t size);
/* This schedule has shown a fault: it ends here. */
void explore_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define explore_require(condition)                                                                 \
    ((condition) ? (void)0 : explore_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition))
/* A plain access, for what a test does itself: two that are not ordered are a fault. */
void explore_plain_read(const void *place, size_t size);
void explore_plain_write(void *place, size_t size);

/* ---- Searching ---- */

typedef struct explore_limits {
    uint64_t schedules;
    double seconds;
    uint64_t seed;
    bool quiet; /* a fault is expected: print nothing */
} explore_limits;

typedef struct explore_result {
    uint64_t schedules, stale_loads, switches;
    double seconds;
    unsigned preemptions, stale; /* bounds below which every schedule was run */
    bool whole;                  /* such bounds exist */
    bool failed;
    char failure[256];
    char replay[512]; /* for FEOX_MODEL_REPLAY */
} explore_result;

/* Until the limits or the first fault: random walks for one half of the limits, which find most
 * faults soonest; then depth first with rising bounds on preemptions and stale loads. */
explore_result explore_run(const explore_scenario *scenario, const explore_limits *limits);
/* The one schedule of a `replay` text, with each step printed unless `quiet`. */
explore_result explore_replay(const explore_scenario *scenario, const char *replay, bool quiet);

#endif
