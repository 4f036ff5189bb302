/* litmus: programs with known outcomes, for tests/sim/lockfree_test.c alone. */
#ifndef TESTS_SIM_LITMUS_H
#define TESTS_SIM_LITMUS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/atomic.h"
#include "sim/explore.h"

typedef struct litmus_test {
    bool seen; /* the outcome must be found; else it must not be */
    explore_scenario scenario;
} litmus_test;

extern const litmus_test litmus_tests[];
extern const size_t litmus_count;

#endif
