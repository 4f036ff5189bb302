/* check: the public face of engine/check. */
#include "engine/check.h"

#include <stdio.h>

#include "base/error.h"
#include "engine/check_disk.h"
#include "store/store.h"

static feox_status check(feox_store *store, bool quick, fx_check_sink *sink,
                         feox_check_report *report) {
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK) {
        return status;
    }
    feox_check_report_init(&sink->report);
    status = fx_check_memory(&store->engine, sink);
    if (status == FEOX_OK && store->engine.flusher != NULL) {
        status = fx_check_disk(store->engine.flusher, quick, sink);
    }
    if (report != NULL) {
        fx_struct_write(report, &sink->report, sizeof sink->report);
    }
    if (status == FEOX_OK && sink->report.problems > 0) {
        status = FEOX_ERR_CORRUPT;
    }
    return fx_report(status);
}

feox_status feox_check_with(feox_store *store, uint32_t flags, feox_check_report *report,
                            feox_found found, void *context) {
    if ((flags & ~FEOX_CHECK_QUICK) != 0) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "a flag that no check knows");
    }
    fx_check_sink sink = {.found = found, .context = context};
    return check(store, (flags & FEOX_CHECK_QUICK) != 0, &sink, report);
}

typedef struct lines {
    void (*line)(void *context, const char *text);
    void *context;
} lines;

/* What fits of a key, with \xHH for what is not printable ASCII. */
static void append_key(char *text, size_t size, size_t at, const feox_finding *finding) {
    const uint8_t *key = finding->key;
    for (size_t i = 0; i < finding->key_len && at + 5 < size; i++) {
        bool plain = key[i] >= 0x20 && key[i] < 0x7f && key[i] != '\\';
        at += (size_t)snprintf(text + at, size - at, plain ? "%c" : "\\x%02x", key[i]);
    }
}

static void tell_line(void *context, const feox_finding *finding) {
    const lines *to = context;
    char text[320]; /* 240, and 59 for two numbers, and 6 */
    size_t at = (size_t)snprintf(text, sizeof text, "%.240s", finding->text);
    if (finding->length > 0) {
        at += (size_t)snprintf(text + at, sizeof text - at, "; %llu bytes from byte %llu",
                               (unsigned long long)finding->length,
                               (unsigned long long)finding->offset);
    }
    if (finding->key != NULL) {
        at += (size_t)snprintf(text + at, sizeof text - at, "; key ");
        append_key(text, sizeof text, at, finding);
    }
    to->line(to->context, text);
}

feox_status feox_check(feox_store *store, feox_check_report *report,
                       void (*line)(void *context, const char *text), void *context) {
    lines to = {.line = line, .context = context};
    fx_check_sink sink = {.found = line != NULL ? tell_line : NULL, .context = &to};
    return check(store, false, &sink, report);
}
