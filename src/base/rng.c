/* rng: getrandom may be interrupted or give less than asked while the system starts; it is asked
 * again until all is there. Never falls back to a clock: a guessable hash key is no key. */
#define _GNU_SOURCE
#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>

bool fx_random_bytes(void *out, size_t size) {
    uint8_t *at = out;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        /* mcdc: cannot be true: only while the system starts are there too few for a request */
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        at += got;
        size -= (size_t)got;
    }
    return true;
}
