/* error: a pthread key with a malloced buffer per thread that ever failed; the key's destructor
 * frees it. The library is never unloaded (-z nodelete), so the key is never deleted.
 */
#define _GNU_SOURCE
#include "base/error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define TEXT_SIZE 512

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool usable;

static void make_key(void) {
    usable = pthread_key_create(&key, fx_mem_free) == 0;
}

static char *buffer(bool create) {
    (void)pthread_once(&once, make_key);
    if (!usable) {
        return NULL;
    }
    char *text = pthread_getspecific(key);
    if (text == NULL && create) {
        text = fx_mem_zalloc(TEXT_SIZE);
        /* mcdc: cannot be true: glibc needs memory only from the 33rd key on */
        if (text != NULL && pthread_setspecific(key, text) != 0) {
            fx_mem_free(text);
            text = NULL;
        }
    }
    return text;
}

feox_status fx_error_set(feox_status status, int error, const char *format, ...) {
    char *text = buffer(true);
    if (text == NULL) {
        return status;
    }
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, TEXT_SIZE, format, arguments);
    va_end(arguments);
    if (error != 0 && used >= 0 && used < TEXT_SIZE - 4) {
        char reason[128];
        (void)snprintf(text + used, (size_t)(TEXT_SIZE - used), ": %s",
                       strerror_r(error, reason, sizeof reason));
    }
    return status;
}

void fx_error_clear(void) {
    char *text = buffer(false);
    if (text != NULL) {
        text[0] = '\0';
    }
}

const char *fx_error_text(void) {
    const char *text = buffer(false);
    return text != NULL ? text : "";
}
