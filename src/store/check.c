/* check: the public face of engine/check. */
#include "engine/check.h"

#include "base/error.h"
#include "engine/check_disk.h"
#include "store/store.h"

feox_status feox_check(feox_store *store, feox_check_report *report,
                       void (*line)(void *context, const char *text), void *context) {
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK) {
        return status;
    }
    fx_check_sink sink = {.line = line, .context = context};
    feox_check_report_init(&sink.report);
    status = fx_check_memory(&store->engine, &sink);
    if (status == FEOX_OK && store->engine.flusher != NULL) {
        status = fx_check_disk(store->engine.flusher, &sink);
    }
    if (report != NULL) {
        fx_struct_write(report, &sink.report, sizeof sink.report);
    }
    if (status == FEOX_OK && sink.report.problems > 0) {
        status = FEOX_ERR_CORRUPT;
    }
    return fx_report(status);
}
