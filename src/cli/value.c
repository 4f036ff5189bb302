/* value: get set del cas incr, the commands on one whole value. */
#include <string.h>

#include "cli/commands.h"
#include "cli/out.h"

void fx_cli_print_written(const fx_cli_args *args, const feox_written *written) {
    if (!FX_CLI_HAS(args, JSON)) {
        return;
    }
    fx_cli_out_text("{\"version\":");
    fx_cli_out_number(written->version);
    fx_cli_out_text(",\"timestamp\":");
    fx_cli_out_number(written->timestamp);
    fx_cli_out_text(written->created != 0 ? ",\"created\":true}\n" : ",\"created\":false}\n");
}

static int print_counter(const fx_cli_buffer *key, const unsigned char *value, size_t size) {
    uint64_t bits = 0;
    if (size != 8) {
        return fx_cli_status(FEOX_ERR_NOT_COUNTER, key->data, key->size);
    }
    for (int i = 7; i >= 0; i--) {
        bits = bits << 8 | value[i];
    }
    int64_t number = 0;
    memcpy(&number, &bits, sizeof number);
    fx_cli_out_signed(number);
    fx_cli_out_text("\n");
    return 0;
}

static int print_json(feox_store *store, const fx_cli_buffer *key, const void *value, size_t size) {
    feox_key_info info;
    feox_status status = feox_info(store, key->data, key->size, &info);
    if (status != FEOX_OK) {
        return fx_cli_status(status, key->data, key->size);
    }
    fx_cli_out_text("{");
    fx_cli_out_json_member("key", key->data, key->size);
    fx_cli_out_text(",");
    fx_cli_out_json_member("value", value, size);
    fx_cli_out_text(",\"version\":");
    fx_cli_out_number(info.version);
    fx_cli_out_text(",\"timestamp\":");
    fx_cli_out_number(info.timestamp);
    if (info.ttl_ms >= 0) {
        fx_cli_out_text(",\"ttl_ms\":");
        fx_cli_out_signed(info.ttl_ms);
    }
    fx_cli_out_text("}\n");
    return 0;
}

static int print_value(const fx_cli_args *args, feox_store *store, const fx_cli_buffer *key) {
    feox_view view;
    feox_status got = feox_get_view(store, key->data, key->size, &view);
    if (got != FEOX_OK) {
        return fx_cli_status(got, key->data, key->size);
    }
    int status = 0;
    if (FX_CLI_HAS(args, JSON)) {
        status = print_json(store, key, view.data, view.size);
    } else if (FX_CLI_HAS(args, COUNTER)) {
        status = print_counter(key, view.data, view.size);
    } else if (FX_CLI_HAS(args, HEX)) {
        fx_cli_out_hex(view.data, view.size);
        fx_cli_out_text("\n");
    } else {
        fx_cli_out(view.data, view.size);
        fx_cli_out_text(fx_cli_out_is_terminal() ? "\n" : "");
    }
    feox_view_release(&view);
    return status;
}

int fx_cli_run_get(const fx_cli_args *args) {
    fx_cli_buffer key = {NULL, 0, 0};
    feox_store *store = NULL;
    int status = fx_cli_args_key(args, args->operands[0], &key);
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_READ, &store);
    }
    if (status == 0) {
        status = fx_cli_store_close(args, store, print_value(args, store, &key));
    }
    fx_cli_buffer_free(&key);
    return status;
}

int fx_cli_run_set(const fx_cli_args *args) {
    fx_cli_buffer key = {NULL, 0, 0};
    fx_cli_buffer value = {NULL, 0, 0};
    feox_store *store = NULL;
    feox_write write;
    feox_written written;
    int status = fx_cli_args_write(args, &write);
    if (status == 0) {
        status = fx_cli_args_key(args, args->operands[0], &key);
    }
    if (status == 0) {
        status = fx_cli_args_value(args, args->operands[1], &value);
    }
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_CREATE, &store);
    }
    if (status == 0) {
        status = fx_cli_status(
            feox_insert_with(store, key.data, key.size, value.data, value.size, &write, &written),
            key.data, key.size);
        if (status == 0) {
            fx_cli_print_written(args, &written);
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_buffer_free(&key);
    fx_cli_buffer_free(&value);
    return status;
}

int fx_cli_run_del(const fx_cli_args *args) {
    fx_cli_buffer key = {NULL, 0, 0};
    feox_store *store = NULL;
    feox_write write;
    feox_written written;
    int status = fx_cli_args_write(args, &write);
    /* Every key is checked before the first is removed. */
    for (int i = 0; status == 0 && i < args->operand_count; i++) {
        key.size = 0;
        status = fx_cli_args_key(args, args->operands[i], &key);
    }
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_CHANGE, &store);
    }
    if (store != NULL) {
        for (int i = 0; status != FX_CLI_FAILED && i < args->operand_count; i++) {
            key.size = 0;
            int one = fx_cli_args_key(args, args->operands[i], &key);
            if (one == 0) {
                one = fx_cli_status(feox_delete_with(store, key.data, key.size, &write, &written),
                                    key.data, key.size);
            }
            if (one == 0) {
                fx_cli_print_written(args, &written);
            }
            status = one > status ? one : status;
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_buffer_free(&key);
    return status;
}

int fx_cli_run_cas(const fx_cli_args *args) {
    fx_cli_buffer key = {NULL, 0, 0};
    fx_cli_buffer expected = {NULL, 0, 0};
    fx_cli_buffer desired = {NULL, 0, 0};
    feox_store *store = NULL;
    feox_write write;
    feox_written written;
    int status = fx_cli_args_write(args, &write);
    if (status == 0 && strcmp(args->operands[1], "-") == 0 && strcmp(args->operands[2], "-") == 0) {
        status = fx_cli_usage("only one value can be standard input");
    }
    if (status == 0) {
        status = fx_cli_args_key(args, args->operands[0], &key);
    }
    if (status == 0) {
        status = fx_cli_args_value(args, args->operands[1], &expected);
    }
    if (status == 0) {
        status = fx_cli_args_value(args, args->operands[2], &desired);
    }
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_CHANGE, &store);
    }
    if (status == 0) {
        status = fx_cli_status(feox_compare_and_swap_with(store, key.data, key.size, expected.data,
                                                          expected.size, desired.data, desired.size,
                                                          &write, &written),
                               key.data, key.size);
        if (status == 0) {
            fx_cli_print_written(args, &written);
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_buffer_free(&key);
    fx_cli_buffer_free(&expected);
    fx_cli_buffer_free(&desired);
    return status;
}

static void print_incremented(const fx_cli_args *args, int64_t value, const feox_written *written) {
    if (!FX_CLI_HAS(args, JSON)) {
        fx_cli_out_signed(value);
        fx_cli_out_text("\n");
        return;
    }
    fx_cli_out_text("{\"value\":");
    fx_cli_out_signed(value);
    fx_cli_out_text(",\"version\":");
    fx_cli_out_number(written->version);
    fx_cli_out_text("}\n");
}

int fx_cli_run_incr(const fx_cli_args *args) {
    fx_cli_buffer key = {NULL, 0, 0};
    feox_store *store = NULL;
    feox_write write;
    feox_written written;
    int64_t delta = 1;
    int64_t value = 0;
    int status = fx_cli_args_write(args, &write);
    if (status == 0 && args->operand_count > 1 && !fx_cli_parse_signed(args->operands[1], &delta)) {
        status = fx_cli_usage("%.200s is not a whole number of 64 bits", args->operands[1]);
    }
    if (status == 0) {
        status = fx_cli_args_key(args, args->operands[0], &key);
    }
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_CREATE, &store);
    }
    if (status == 0) {
        status = fx_cli_status(
            feox_increment_with(store, key.data, key.size, delta, &write, &value, &written),
            key.data, key.size);
        if (status == 0) {
            print_incremented(args, value, &written);
        }
        status = fx_cli_store_close(args, store, status);
    }
    fx_cli_buffer_free(&key);
    return status;
}
