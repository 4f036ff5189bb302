/* change: patch merge ttl expire persist, the commands on part of a value or on its time. */
#include "cli/commands.h"
#include "cli/out.h"

typedef feox_status (*json_call)(feox_store *store, const void *key, size_t key_len,
                                 const char *text, size_t text_len, const feox_write *write,
                                 feox_written *written_out);

static int run_json(const fx_cli_args *args, json_call call) {
    fx_cli_buffer key = {NULL, 0, 0};
    fx_cli_buffer text = {NULL, 0, 0};
    feox_store *store = NULL;
    feox_write write;
    feox_written written;
    int status = fx_cli_args_write(args, &write);
    if (status == 0) {
        status = fx_cli_args_key(args, args->operands[0], &key);
    }
    if (status == 0) {
        status = fx_cli_args_value(args, args->operands[1], &text);
    }
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_CHANGE, &store);
    }
    if (status == 0) {
        status =
            fx_cli_status(call(store, key.data, key.size, text.data, text.size, &write, &written),
                          key.data, key.size);
        if (status == 0) {
            fx_cli_print_written(args, &written);
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_buffer_free(&key);
    fx_cli_buffer_free(&text);
    return status;
}

int fx_cli_run_patch(const fx_cli_args *args) {
    return run_json(args, feox_json_patch_with);
}

int fx_cli_run_merge(const fx_cli_args *args) {
    return run_json(args, feox_json_merge_with);
}

int fx_cli_run_ttl(const fx_cli_args *args) {
    fx_cli_buffer key = {NULL, 0, 0};
    feox_store *store = NULL;
    int64_t ttl_ms = 0;
    int status = fx_cli_args_key(args, args->operands[0], &key);
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_READ, &store);
    }
    if (status == 0) {
        status = fx_cli_status(feox_ttl(store, key.data, key.size, &ttl_ms), key.data, key.size);
        if (status == 0) {
            fx_cli_out_signed(ttl_ms);
            fx_cli_out_text("\n");
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_buffer_free(&key);
    return status;
}

/* expire and persist; a time to live of 0 removes it. */
static int run_expire(const fx_cli_args *args, uint64_t ttl_ms) {
    fx_cli_buffer key = {NULL, 0, 0};
    feox_store *store = NULL;
    feox_write write;
    feox_written written;
    int status = fx_cli_args_write(args, &write);
    if (status == 0) {
        status = fx_cli_args_key(args, args->operands[0], &key);
    }
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_CHANGE, &store);
    }
    if (status == 0) {
        feox_status done =
            ttl_ms == 0 ? feox_persist_with(store, key.data, key.size, &write, &written)
                        : feox_expire_with(store, key.data, key.size, ttl_ms, &write, &written);
        status = fx_cli_status(done, key.data, key.size);
        if (status == 0) {
            fx_cli_print_written(args, &written);
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_buffer_free(&key);
    return status;
}

int fx_cli_run_expire(const fx_cli_args *args) {
    uint64_t ttl_ms = 0;
    if (!fx_cli_parse_number(args->operands[1], &ttl_ms)) {
        return fx_cli_usage("%.200s is not a number of milliseconds", args->operands[1]);
    }
    return run_expire(args, ttl_ms);
}

int fx_cli_run_persist(const fx_cli_args *args) {
    return run_expire(args, 0);
}
