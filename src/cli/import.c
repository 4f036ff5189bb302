/* import: checks the options, opens the input, then the store, so that a wrong name of an input
 * makes no store. What was imported before a failure stays; its line says how much that is. */
#include "cli/import.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/out.h"

typedef struct import_format {
    const char *name;
    int (*read)(fx_cli_import *import);
    uint64_t options; /* of those that only some formats know */
    char delimiter;
} import_format;

#define IMPORT_FIELDS                                                                              \
    (FX_CLI_BIT(KEY) | FX_CLI_BIT(VALUE) | FX_CLI_BIT(HEADER) | FX_CLI_BIT(DELIMITER))

static const import_format import_formats[] = {
    {"export", fx_cli_import_export, 0, 0},
    {"delimited", fx_cli_import_delimited, IMPORT_FIELDS, '\t'},
    {"csv", fx_cli_import_csv, IMPORT_FIELDS, ','},
    {"jsonl", fx_cli_import_jsonl, FX_CLI_BIT(KEY), 0},
    {"json", fx_cli_import_json, FX_CLI_BIT(KEY) | FX_CLI_BIT(PATH), 0},
};
enum { IMPORT_FORMATS = sizeof import_formats / sizeof import_formats[0] };

void fx_cli_import_key_reset(fx_cli_import *import) {
    import->key.size = import->key_prefix_size;
}

int fx_cli_import_bad(fx_cli_import *import, const char *message) {
    fx_cli_progress_end(&import->progress);
    return fx_cli_fail("%s:%" PRIu64 ": %s (%" PRIu64 " records imported)", import->input.name,
                       import->line, message, import->stored);
}

int fx_cli_import_put(fx_cli_import *import, const void *value, size_t value_len, uint64_t ttl_ms) {
    if (import->key.size == 0) {
        return fx_cli_import_bad(import, "the key is empty");
    }
    uint64_t common_ttl_ms = import->write.ttl_ms;
    if (ttl_ms != 0) {
        import->write.ttl_ms = ttl_ms;
    }
    feox_status status = feox_insert_with(import->store, import->key.data, import->key.size, value,
                                          value_len, &import->write, NULL);
    import->write.ttl_ms = common_ttl_ms;
    if (status == FEOX_EXISTS) {
        import->skipped++;
    } else if (status != FEOX_OK) {
        char text[256];
        const char *detail = feox_last_error();
        /* It may say what the line says already. */
        bool more = *detail != '\0' && strcmp(detail, feox_status_text(status)) != 0;
        (void)snprintf(text, sizeof text, "%s%s%s", feox_status_text(status), more ? "; " : "",
                       more ? detail : "");
        return fx_cli_import_bad(import, text);
    } else {
        import->stored++;
    }
    fx_cli_progress_update(&import->progress, import->input.taken, import->stored);
    return 0;
}

/* A field's number, or 0 for a name in the header. */
static int field_option(const fx_cli_args *args, fx_cli_option option, const char *name,
                        uint64_t *field_out) {
    const char *text = args->text[option];
    if (fx_cli_parse_number(text, field_out)) {
        if (*field_out >= 1 && *field_out < UINT64_MAX) {
            return 0;
        }
        return fx_cli_usage("--%s: fields are numbered from 1", name);
    }
    *field_out = 0;
    if (!FX_CLI_HAS(args, HEADER)) {
        return fx_cli_usage("--%s %.200s: a name needs --header; else it is the field's number",
                            name, text);
    }
    return 0;
}

static int check_options(fx_cli_import *import, const import_format *format) {
    const fx_cli_args *args = import->args;
    const uint64_t special = IMPORT_FIELDS | FX_CLI_BIT(PATH);
    if ((args->given & special & ~format->options) != 0) {
        return fx_cli_usage("one of --key --value --header --delimiter --path does not go with "
                            "--format %s; see feox help import",
                            format->name);
    }
    import->delimiter = format->delimiter;
    if (FX_CLI_HAS(args, DELIMITER)) {
        const char *text = args->text[FX_CLI_DELIMITER];
        if (strcmp(text, "\\t") == 0) {
            text = "\t";
        }
        if (strlen(text) != 1 || strchr("\n\r\"", text[0]) != NULL) {
            return fx_cli_usage("--delimiter is one byte, and neither a quote nor a line end");
        }
        import->delimiter = text[0];
    }
    if (format->delimiter == 0) {
        if (format->read == fx_cli_import_jsonl && !FX_CLI_HAS(args, KEY)) {
            return fx_cli_usage("--format jsonl needs --key with the name of a member");
        }
        const char *path = FX_CLI_HAS(args, PATH) ? args->text[FX_CLI_PATH] : "";
        if (path[0] != '\0' && path[0] != '/') {
            return fx_cli_usage("--path %.200s: a JSON Pointer is empty or begins with /", path);
        }
        return 0;
    }
    int status = 0;
    import->key_field = 1;
    import->value_field = UINT64_MAX;
    if (FX_CLI_HAS(args, KEY)) {
        status = field_option(args, FX_CLI_KEY, "key", &import->key_field);
    }
    if (status == 0 && FX_CLI_HAS(args, VALUE)) {
        status = field_option(args, FX_CLI_VALUE, "value", &import->value_field);
    }
    return status;
}

static int find_format(const fx_cli_args *args, const import_format **format_out) {
    const char *name = FX_CLI_HAS(args, FORMAT) ? args->text[FX_CLI_FORMAT] : "export";
    for (int i = 0; i < IMPORT_FORMATS; i++) {
        if (strcmp(import_formats[i].name, name) == 0) {
            *format_out = &import_formats[i];
            return 0;
        }
    }
    return fx_cli_usage("--format %.200s: it is export, delimited, csv, jsonl or json", name);
}

static int import_records(fx_cli_import *import, const import_format *format) {
    fx_cli_progress_begin(&import->progress, "import", import->input.total, true);
    int status = fx_cli_input_skip_mark(&import->input);
    if (status == 0) {
        status = format->read(import);
    }
    fx_cli_progress_end(&import->progress);
    if (status == 0) {
        fx_cli_out_number(import->stored);
        fx_cli_out_text(" records imported");
        if (import->skipped > 0) {
            fx_cli_out_text(", ");
            fx_cli_out_number(import->skipped);
            fx_cli_out_text(" skipped");
        }
        fx_cli_out_text("\n");
    }
    return status;
}

int fx_cli_run_import(const fx_cli_args *args) {
    fx_cli_import import = {.args = args};
    const import_format *format = NULL;
    import.input.fd = -1;
    int status = find_format(args, &format);
    if (status == 0) {
        status = fx_cli_args_write(args, &import.write);
    }
    if (status == 0) {
        status = check_options(&import, format);
    }
    if (status == 0 && FX_CLI_HAS(args, KEY_PREFIX)) {
        status = fx_cli_args_bound(args, args->text[FX_CLI_KEY_PREFIX], &import.key);
        import.key_prefix_size = import.key.size;
    }
    if (status == 0) {
        status = fx_cli_input_open(&import.input, args->operands[0]);
    }
    if (status == 0) {
        /* A directory, for one, is found out here, before there is a store. */
        status = fx_cli_input_fill(&import.input);
    }
    if (status == 0) {
        status = fx_cli_store_open(args, FX_CLI_CREATE, &import.store);
    }
    if (import.store != NULL) {
        status = fx_cli_store_close(args, import.store, import_records(&import, format));
    }
    fx_cli_input_close(&import.input);
    fx_cli_buffer_free(&import.key);
    fx_cli_buffer_free(&import.value);
    return status;
}
