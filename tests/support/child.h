/* child: what would harm a test program (limits, filters, crashes, other users) happens in a forked
 * child, which reports by its exit code and standard error. Main thread only.
 */
#ifndef FX_SUPPORT_CHILD_H
#define FX_SUPPORT_CHILD_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"

/* In a child, instead of the assertions of CMocka: says what is wrong and ends the child. */
#define FX_CHILD_CHECK(condition)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "child: %s:%d: %s (errno %d; %s)\n", __FILE__, __LINE__,         \
                          #condition, errno, fx_error_text());                                     \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

typedef void fx_child_function(const char *path, int number);

/* Runs the function in a child; true if it came back from it. A child that hangs is ended after a
 * minute, and one without exit code 0 is named on standard output. */
bool fx_child_run(fx_child_function *run, const char *path, int number);

/* Makes a system call (SYS_...) fail with `error` from now on, for good. In a child only. */
bool fx_child_forbid(int call, int error);

/* The seed of a random test: FEOX_SEED from the environment, else a new one. Prints it. */
uint64_t fx_test_seed(void);

#endif
