/* import_json: JSON documents, one a line or inside one text, and the lines of an export. What is
 * stored is the bytes of the document as they stand in the input. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/import.h"
#include "cli/json.h"
#include "cli/out.h"

/* Puts a key's text behind the prefix: a string's characters, a number as it is written. */
static int take_key(fx_cli_import *import, feox_slice key) {
    char kind = ((const char *)key.data)[0];
    fx_cli_import_key_reset(import);
    if (kind == '"') {
        switch (fx_cli_json_decode(key, &import->key)) {
        case FX_CLI_DECODED:
            return 0;
        case FX_CLI_DECODE_MEMORY:
            return fx_cli_no_memory();
        case FX_CLI_DECODE_BAD:
        default:
            return fx_cli_import_bad(import, "the key has half of a surrogate pair");
        }
    }
    if (kind > '9') { /* all but numbers begin with a character behind the digits */
        return fx_cli_import_bad(import, "the key is neither a string nor a number");
    }
    return fx_cli_buffer_append(&import->key, key.data, key.size) ? 0 : fx_cli_no_memory();
}

/* Stores a document under the member that --key names. */
static int put_document(fx_cli_import *import, feox_slice document) {
    const char *name = import->args->text[FX_CLI_KEY];
    feox_slice key = {NULL, 0};
    if (name[0] == '/') {
        const char *error = fx_cli_json_pointer(document, name, &key);
        if (error != NULL) {
            return fx_cli_import_bad(import, error);
        }
    } else {
        switch (fx_cli_json_member(document, name, strlen(name), &key)) {
        case 1:
            break;
        case 0:
            return fx_cli_import_bad(import, "the document has no member of --key's name");
        case 2:
            return fx_cli_import_bad(import, "the document has two members of --key's name");
        default:
            return fx_cli_no_memory();
        }
    }
    int status = take_key(import, key);
    return status != 0 ? status : fx_cli_import_put(import, document.data, document.size, 0);
}

static bool is_blank(feox_slice line) {
    const char *text = line.data;
    for (size_t i = 0; i < line.size; i++) {
        if (strchr(" \t\r", text[i]) == NULL || text[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* Gives each line that is not blank to `put`, as one checked JSON value. */
static int each_line(fx_cli_import *import,
                     int (*put)(fx_cli_import *import, feox_slice document)) {
    for (;;) {
        feox_slice line;
        bool found = false;
        int status = fx_cli_input_line(&import->input, &line, &found);
        if (status != 0 || !found) {
            return status;
        }
        import->line = import->input.line;
        if (!is_blank(line)) {
            feox_slice document;
            size_t error_at = 0;
            const char *error = fx_cli_json_check(line.data, line.size, &document, &error_at);
            if (error != NULL) {
                char text[160];
                (void)snprintf(text, sizeof text, "not JSON at byte %zu: %s", error_at + 1, error);
                return fx_cli_import_bad(import, text);
            }
            status = put(import, document);
            if (status != 0) {
                return status;
            }
        }
        size_t there = import->input.all.size - import->input.at;
        fx_cli_input_take(&import->input, line.size < there ? line.size + 1 : line.size);
    }
}

int fx_cli_import_jsonl(fx_cli_import *import) {
    return each_line(import, put_document);
}

/* Moves import->line, which is that of `from`, on to that of `place`. */
static void count_lines(fx_cli_import *import, const char *from, const char *place) {
    while (from < place && (from = memchr(from, '\n', (size_t)(place - from))) != NULL) {
        import->line++;
        from++;
    }
}

/* The elements or members of the container that --path leads to. */
static int put_each(fx_cli_import *import, feox_slice container) {
    bool by_member = FX_CLI_HAS(import->args, KEY);
    size_t at = 0;
    const char *before = container.data;
    feox_slice name;
    feox_slice value;
    while (fx_cli_json_next(container, &at, &name, &value)) {
        int status = 0;
        count_lines(import, before, value.data);
        before = value.data;
        import->input.taken = (uint64_t)(before - import->input.all.data);
        if (by_member) {
            status = put_document(import, value);
        } else {
            status = take_key(import, name); /* an object's: an array needs --key */
            status = status != 0 ? status : fx_cli_import_put(import, value.data, value.size, 0);
        }
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

int fx_cli_import_json(fx_cli_import *import) {
    fx_cli_input *input = &import->input;
    const fx_cli_args *args = import->args;
    feox_slice whole;
    feox_slice container;
    size_t error_at = 0;
    int status = 0;
    while (status == 0 && !input->ended) {
        status = fx_cli_input_fill(input);
    }
    if (status != 0) {
        return status;
    }
    const char *text = input->all.data + input->at;
    size_t size = input->all.size - input->at;
    const char *error = fx_cli_json_check(text, size, &whole, &error_at);
    import->line = 1;
    if (error != NULL) {
        count_lines(import, text, text + error_at);
        return fx_cli_import_bad(import, error);
    }
    error = fx_cli_json_pointer(whole, FX_CLI_HAS(args, PATH) ? args->text[FX_CLI_PATH] : "",
                                &container);
    if (error != NULL) {
        return fx_cli_import_bad(import, error);
    }
    count_lines(import, text, container.data);
    char kind = ((const char *)container.data)[0];
    if (kind != '[' && kind != '{') {
        return fx_cli_import_bad(import, "--path leads to neither an array nor an object");
    }
    if (kind == '[' && !FX_CLI_HAS(args, KEY)) {
        return fx_cli_import_bad(import, "the documents are an array: --key has to name a member");
    }
    return put_each(import, container);
}

/* The bytes of the member `name` or `name`_base64 of an export's line. */
static int export_bytes(fx_cli_import *import, feox_slice line, const char *name,
                        fx_cli_buffer *out) {
    char base64_name[16];
    feox_slice plain = {NULL, 0};
    feox_slice coded = {NULL, 0};
    fx_cli_buffer text = {NULL, 0, 0};
    (void)snprintf(base64_name, sizeof base64_name, "%s_base64", name);
    int plains = fx_cli_json_member(line, name, strlen(name), &plain);
    int codeds = fx_cli_json_member(line, base64_name, strlen(base64_name), &coded);
    if (plains < 0 || codeds < 0) {
        return fx_cli_no_memory();
    }
    if (plains + codeds != 1) {
        return fx_cli_import_bad(import,
                                 "the line is not of an export: it needs key or key_base64, "
                                 "value or value_base64, each once");
    }
    feox_slice string = plains == 1 ? plain : coded;
    if (((const char *)string.data)[0] != '"') {
        return fx_cli_import_bad(import, "the line is not of an export: key or value is no string");
    }
    fx_cli_decoded decoded = fx_cli_json_decode(string, plains == 1 ? out : &text);
    if (decoded == FX_CLI_DECODED && codeds == 1) {
        decoded = fx_cli_decode_base64(text.data, text.size, out);
    }
    fx_cli_buffer_free(&text);
    if (decoded == FX_CLI_DECODE_MEMORY) {
        return fx_cli_no_memory();
    }
    return decoded == FX_CLI_DECODED
               ? 0
               : fx_cli_import_bad(import, "the key or the value is not well encoded");
}

static int export_ttl(fx_cli_import *import, feox_slice line, uint64_t *ttl_ms_out) {
    feox_slice ttl;
    char digits[24];
    *ttl_ms_out = 0;
    int found = fx_cli_json_member(line, "ttl_ms", 6, &ttl);
    if (found < 0) {
        return fx_cli_no_memory();
    }
    if (found == 0) {
        return 0;
    }
    if (found == 1 && ttl.size < sizeof digits) {
        memcpy(digits, ttl.data, ttl.size);
        digits[ttl.size] = '\0';
        if (fx_cli_parse_number(digits, ttl_ms_out)) {
            /* What had less than a millisecond left still expires. */
            *ttl_ms_out += *ttl_ms_out == 0 ? 1 : 0;
            return 0;
        }
    }
    return fx_cli_import_bad(import, "ttl_ms is not a number of milliseconds");
}

static int put_exported(fx_cli_import *import, feox_slice line) {
    uint64_t ttl_ms = 0;
    fx_cli_import_key_reset(import);
    import->value.size = 0;
    int status = export_bytes(import, line, "key", &import->key);
    if (status == 0) {
        status = export_bytes(import, line, "value", &import->value);
    }
    if (status == 0) {
        status = export_ttl(import, line, &ttl_ms);
    }
    return status != 0 ? status
                       : fx_cli_import_put(import, import->value.data, import->value.size, ttl_ms);
}

int fx_cli_import_export(fx_cli_import *import) {
    return each_line(import, put_exported);
}
