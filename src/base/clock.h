/* clock: the time door. Only store/ asks it; everything below gets `now` passed in. Any thread. */
#ifndef FX_BASE_CLOCK_H
#define FX_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds of a clock that never jumps or goes back (it runs on while the machine sleeps).
 * ~25 ns. */
uint64_t fx_clock_monotonic_ns(void);
/* Nanoseconds since 1970; may jump. */
uint64_t fx_clock_wall_ns(void);

#endif
