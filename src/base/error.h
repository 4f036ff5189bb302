/* error: the calling thread's detail on its last failure, behind feox_last_error. Any thread.
 * Kept per thread without static TLS (a dlopen()ed library must not need any). Best effort: without
 * memory there is no detail, and the status still tells what happened.
 */
#ifndef FX_BASE_ERROR_H
#define FX_BASE_ERROR_H

#include "feox.h"

/* Sets the detail, printf style, and returns `status`. `error` is an errno, or 0: its text
 * follows. */
feox_status fx_error_set(feox_status status, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void fx_error_clear(void);
/* "" if there is none. */
const char *fx_error_text(void);

#endif
