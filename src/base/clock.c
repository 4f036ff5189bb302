/* clock: CLOCK_BOOTTIME, so that a time to live counts also while the machine sleeps. */
#define _GNU_SOURCE
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id) {
    struct timespec t = {0, 0};
    (void)clock_gettime(id, &t); /* cannot fail for these two clocks */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t fx_clock_monotonic_ns(void) {
    return read_clock(CLOCK_BOOTTIME);
}

uint64_t fx_clock_wall_ns(void) {
    return read_clock(CLOCK_REALTIME);
}
