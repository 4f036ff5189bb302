/* mutants: places in the code under test and what is to go wrong there, for
 * tests/sim/lockfree_test.c alone.
 */
#ifndef TESTS_SIM_MUTANTS_H
#define TESTS_SIM_MUTANTS_H

#include <stddef.h>

#include "sim/explore.h"

typedef struct mutant {
    const char *file, *function, *operation;
    const char *place; /* its beginning */
    int number;        /* of several alike in the function, from 1 on; 0: all of them */
    explore_mutation mutation;
    explore_order order;
    const char *scenario; /* that must notice */
} mutant;

extern const mutant mutants[];
extern const size_t mutant_count;

#endif
