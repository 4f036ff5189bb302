/* scan and count: walks with a cursor. A damaged pair is reported and stepped over, so that one bad
 * block does not hide the rest; the exit status tells. */
#include <string.h>

#include "cli/commands.h"
#include "cli/out.h"

static void print_pair(const fx_cli_args *args, feox_slice key, feox_slice value) {
    bool keys_only = FX_CLI_HAS(args, KEYS);
    if (FX_CLI_HAS(args, JSON)) {
        fx_cli_out_text("{");
        fx_cli_out_json_member("key", key.data, key.size);
        if (!keys_only) {
            fx_cli_out_text(",");
            fx_cli_out_json_member("value", value.data, value.size);
        }
        fx_cli_out_text("}\n");
        return;
    }
    void (*print)(const void *, size_t) =
        FX_CLI_HAS(args, HEX) ? fx_cli_out_hex : fx_cli_out_escaped;
    print(key.data, key.size);
    if (!keys_only) {
        fx_cli_out_text("\t");
        print(value.data, value.size);
    }
    fx_cli_out_text("\n");
}

/* Walks the range; prints each pair, or only counts. */
static int walk(const fx_cli_args *args, feox_store *store, const feox_range *range, bool print,
                uint64_t *count_out) {
    feox_cursor *cursor = NULL;
    int status =
        fx_cli_status(feox_cursor_open(store, range, &cursor), args->file, strlen(args->file));
    bool keys_only = (range->flags & FEOX_KEYS_ONLY) != 0;
    while (cursor != NULL && !fx_cli_out_failed()) {
        feox_slice key = {NULL, 0};
        feox_slice value = {NULL, 0};
        feox_status next = feox_cursor_next(cursor, &key, keys_only ? NULL : &value);
        if (next == FEOX_END) {
            break;
        }
        if (next != FEOX_OK) {
            status = key.size > 0 ? fx_cli_status(next, key.data, key.size)
                                  : fx_cli_status(next, args->file, strlen(args->file));
            if (next == FEOX_ERR_CORRUPT) {
                continue;
            }
            break;
        }
        ++*count_out;
        if (print) {
            print_pair(args, key, value);
        }
    }
    feox_cursor_close(cursor);
    return status;
}

int fx_cli_run_scan(const fx_cli_args *args) {
    fx_cli_bounds bounds = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    feox_range range;
    feox_store *store = NULL;
    uint64_t count = 0;
    int status = fx_cli_args_range(args, &bounds, &range);
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_READ, &store);
    }
    if (status == 0) {
        status = fx_cli_store_close(args, store, walk(args, store, &range, true, &count));
    }
    fx_cli_bounds_free(&bounds);
    return status;
}

int fx_cli_run_count(const fx_cli_args *args) {
    fx_cli_bounds bounds = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    feox_range range;
    feox_store *store = NULL;
    uint64_t count = 0;
    int status = fx_cli_args_range(args, &bounds, &range);
    range.flags |= FEOX_KEYS_ONLY;
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_READ, &store);
    }
    if (status == 0) {
        bool bounded =
            (args->given & (FX_CLI_BIT(PREFIX) | FX_CLI_BIT(FROM) | FX_CLI_BIT(TO))) != 0;
        status = bounded ? walk(args, store, &range, false, &count)
                         : fx_cli_status(feox_count(store, &count), args->file, strlen(args->file));
        if (status == 0) {
            fx_cli_out_number(count);
            fx_cli_out_text("\n");
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_bounds_free(&bounds);
    return status;
}
