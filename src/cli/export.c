/* export: one JSON object a line. What is not UTF-8 goes as base64, so that an import of the lines
 * restores every byte. A pair that expires while the export runs is left out. */
#include <string.h>

#include "cli/commands.h"
#include "cli/out.h"
#include "cli/progress.h"

static int export_pair(feox_store *store, feox_slice key, feox_slice value) {
    int64_t ttl_ms = -1;
    feox_status found = feox_ttl(store, key.data, key.size, &ttl_ms);
    if (found == FEOX_NOT_FOUND) {
        return 0; /* it has just expired */
    }
    if (found != FEOX_OK) {
        return fx_cli_status(found, key.data, key.size);
    }
    fx_cli_out_text("{");
    fx_cli_out_json_member("key", key.data, key.size);
    fx_cli_out_text(",");
    fx_cli_out_json_member("value", value.data, value.size);
    if (ttl_ms >= 0) {
        fx_cli_out_text(",\"ttl_ms\":");
        fx_cli_out_signed(ttl_ms);
    }
    fx_cli_out_text("}\n");
    return 0;
}

static int export_all(const fx_cli_args *args, feox_store *store, const feox_range *range) {
    feox_cursor *cursor = NULL;
    fx_cli_progress progress;
    uint64_t total = 0;
    uint64_t done = 0;
    feox_status opened = feox_cursor_open(store, range, &cursor);
    int status = fx_cli_status(opened, args->file, strlen(args->file));
    (void)feox_count(store, &total);
    if (range->prefix_len + range->start_len > 0) {
        total = 0;
    }
    fx_cli_progress_begin(&progress, "export", total, false);
    if (fx_cli_out_is_terminal()) {
        progress.enabled = false;
    }
    while (cursor != NULL && !fx_cli_out_failed()) {
        feox_slice key = {NULL, 0};
        feox_slice value = {NULL, 0};
        feox_status next = feox_cursor_next(cursor, &key, &value);
        int one = 0;
        if (next == FEOX_END) {
            break;
        }
        if (next == FEOX_OK) {
            one = export_pair(store, key, value);
        } else {
            fx_cli_progress_end(&progress);
            one = key.size > 0 ? fx_cli_status(next, key.data, key.size)
                               : fx_cli_status(next, args->file, strlen(args->file));
        }
        status = one != 0 ? one : status;
        /* A damaged pair is stepped over; whatever else fails ends the export. */
        if (one != 0 && next != FEOX_ERR_CORRUPT) {
            break;
        }
        done++;
        fx_cli_progress_update(&progress, done, done);
    }
    fx_cli_progress_end(&progress);
    feox_cursor_close(cursor);
    return status;
}

int fx_cli_run_export(const fx_cli_args *args) {
    fx_cli_bounds bounds = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    feox_range range;
    feox_store *store = NULL;
    int status = fx_cli_args_range(args, &bounds, &range);
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_READ, &store);
    }
    if (status == 0) {
        status = fx_cli_store_close(args, store, export_all(args, store, &range));
    }
    fx_cli_bounds_free(&bounds);
    return status;
}
