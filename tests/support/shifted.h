/* shifted: the clock by which keys expire, under the test's hand. The test program that includes
 * this has a clock_gettime of its own, which the library finds before the system's: an hour passes
 * in no time. Include it in one file of the program.
 */
#ifndef FX_SUPPORT_SHIFTED_H
#define FX_SUPPORT_SHIFTED_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t fx_shifted_seconds;

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, id, time);
    if (id == CLOCK_BOOTTIME) {
        time->tv_sec += (time_t)atomic_load(&fx_shifted_seconds);
    }
    return result;
}

#endif
