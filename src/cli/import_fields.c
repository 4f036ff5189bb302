/* import_fields: delimited text and CSV (RFC 4180). The stored value is the record as it stands in
 * the input, without its line end, or one field of it. */
#include <string.h>

#include "cli/import.h"
#include "cli/out.h"

/* One field of the record at the front of the input. Offsets are from the record's start, because
 * reading on moves the window. */
typedef struct field_span {
    size_t start;
    size_t end; /* without the delimiter, with the quotes */
    bool quoted;
    char terminator; /* the delimiter, '\n', or '\0' at the end of the input */
} field_span;

/* The line without a CR in front of its LF. */
static size_t line_size(feox_slice line) {
    const char *text = line.data;
    return line.size > 0 && text[line.size - 1] == '\r' ? line.size - 1 : line.size;
}

/* Field number `field` of a line; false if it has not so many. */
static bool line_field(const char *text, size_t size, char delimiter, uint64_t field,
                       feox_slice *field_out) {
    size_t start = 0;
    for (;;) {
        const char *end = start < size ? memchr(text + start, delimiter, size - start) : NULL;
        size_t length = end != NULL ? (size_t)(end - text) - start : size - start;
        if (--field == 0) {
            *field_out = (feox_slice){text + start, length};
            return true;
        }
        if (end == NULL) {
            return false;
        }
        start += length + 1;
    }
}

static bool name_equals(const char *name, const char *text, size_t size) {
    return name != NULL && strlen(name) == size && memcmp(name, text, size) == 0;
}

/* Notes that field `number` of the header is called so. */
static void header_name(fx_cli_import *import, uint64_t number, const char *text, size_t size) {
    const fx_cli_args *args = import->args;
    if (import->key_field == 0 && name_equals(args->text[FX_CLI_KEY], text, size)) {
        import->key_field = number;
    }
    if (import->value_field == 0 && name_equals(args->text[FX_CLI_VALUE], text, size)) {
        import->value_field = number;
    }
}

static int header_done(fx_cli_import *import) {
    if (import->key_field == 0) {
        return fx_cli_import_bad(import, "the header has no field of the name that --key gives");
    }
    if (import->value_field == 0) {
        return fx_cli_import_bad(import, "the header has no field of the name that --value gives");
    }
    return 0;
}

static int delimited_header(fx_cli_import *import, const char *text, size_t size) {
    feox_slice name;
    for (uint64_t i = 1; line_field(text, size, import->delimiter, i, &name); i++) {
        header_name(import, i, name.data, name.size);
    }
    return header_done(import);
}

static int delimited_record(fx_cli_import *import, const char *text, size_t size) {
    feox_slice key;
    feox_slice value = {text, size};
    if (!line_field(text, size, import->delimiter, import->key_field, &key) ||
        (import->value_field != UINT64_MAX &&
         !line_field(text, size, import->delimiter, import->value_field, &value))) {
        return fx_cli_import_bad(import, "the record has fewer fields than --key or --value wants");
    }
    fx_cli_import_key_reset(import);
    if (!fx_cli_buffer_append(&import->key, key.data, key.size)) {
        return fx_cli_no_memory();
    }
    return fx_cli_import_put(import, value.data, value.size, 0);
}

int fx_cli_import_delimited(fx_cli_import *import) {
    bool header = FX_CLI_HAS(import->args, HEADER);
    for (;;) {
        feox_slice line;
        bool found = false;
        int status = fx_cli_input_line(&import->input, &line, &found);
        if (status != 0 || !found) {
            return status;
        }
        size_t size = line_size(line);
        import->line = import->input.line;
        if (header) {
            status = delimited_header(import, line.data, size);
            header = false;
        } else if (size > 0) {
            status = delimited_record(import, line.data, size);
        }
        if (status != 0) {
            return status;
        }
        size_t there = import->input.all.size - import->input.at;
        fx_cli_input_take(&import->input, line.size < there ? line.size + 1 : line.size);
    }
}

/* The byte at an offset from the record's start; -1 at the end of the input, -2 if reading failed,
 * with *status set. */
static int csv_peek(fx_cli_import *import, size_t at, int *status) {
    fx_cli_input *input = &import->input;
    while (at >= input->all.size - input->at) {
        if (input->ended) {
            return -1;
        }
        *status = fx_cli_input_fill(input);
        if (*status != 0) {
            return -2;
        }
    }
    return (unsigned char)input->all.data[input->at + at];
}

/* True if a line ends at the offset: LF, CR LF, or the end of the input. */
static bool csv_line_end(fx_cli_import *import, size_t at, size_t *length_out, int *status) {
    int c = csv_peek(import, at, status);
    *length_out = 1;
    if (c == '\r' && csv_peek(import, at + 1, status) == '\n') {
        *length_out = 2;
        return true;
    }
    if (c == -1) {
        *length_out = 0;
        return true;
    }
    return c == '\n';
}

/* Moves *at over a quoted field, behind its closing quote. */
static int csv_quoted(fx_cli_import *import, size_t *at) {
    int status = 0;
    ++*at;
    for (;;) {
        int c = csv_peek(import, *at, &status);
        if (c == -2) {
            return status;
        }
        if (c == -1) {
            return fx_cli_import_bad(import, "the record has a quote that is never closed");
        }
        ++*at;
        if (c != '"') {
            continue;
        }
        if (csv_peek(import, *at, &status) != '"') {
            return status;
        }
        ++*at;
    }
}

/* Finds the field at *at and moves *at behind it and its terminator. */
static int csv_field(fx_cli_import *import, size_t *at, field_span *span) {
    int status = 0;
    size_t end_length = 0;
    *span = (field_span){.start = *at};
    span->quoted = csv_peek(import, *at, &status) == '"';
    if (span->quoted) {
        status = csv_quoted(import, at);
    }
    while (status == 0) {
        int c = csv_peek(import, *at, &status);
        if (c == (unsigned char)import->delimiter) {
            span->end = *at;
            span->terminator = import->delimiter;
            ++*at;
            return 0;
        }
        if (status == 0 && csv_line_end(import, *at, &end_length, &status)) {
            span->end = *at;
            span->terminator = end_length > 0 ? '\n' : '\0';
            *at += end_length;
            return status;
        }
        if (status == 0 && span->quoted) {
            return fx_cli_import_bad(import, "the record has text behind a closing quote");
        }
        if (c == '"') {
            return fx_cli_import_bad(import, "the record has a quote inside an unquoted field");
        }
        ++*at;
    }
    return status;
}

/* Appends what the field stands for. */
static bool csv_decode(const fx_cli_import *import, const field_span *span, fx_cli_buffer *out) {
    const char *record = import->input.all.data + import->input.at;
    if (!span->quoted) {
        return fx_cli_buffer_append(out, record + span->start, span->end - span->start);
    }
    for (size_t i = span->start + 1; i + 1 < span->end; i++) {
        if (!fx_cli_buffer_append(out, record + i, 1)) {
            return false;
        }
        if (record[i] == '"') {
            i++; /* the second of a doubled quote */
        }
    }
    return true;
}

/* Reads one record's fields; *size_out is its length with its line end, *body_out without. */
static int csv_record(fx_cli_import *import, bool header, size_t *size_out, size_t *body_out) {
    field_span span = {.terminator = import->delimiter};
    field_span key = {.start = 0};
    field_span value = {.start = 0};
    uint64_t number = 0;
    *size_out = 0;
    do {
        int status = csv_field(import, size_out, &span);
        if (status != 0) {
            return status;
        }
        number++;
        key = number == import->key_field ? span : key;
        value = number == import->value_field ? span : value;
        if (header) {
            import->value.size = 0;
            if (!csv_decode(import, &span, &import->value)) {
                return fx_cli_no_memory();
            }
            header_name(import, number, import->value.data, import->value.size);
        }
    } while (span.terminator == import->delimiter);
    *body_out = span.end;
    if (header) {
        return header_done(import);
    }
    if (*body_out == 0) {
        return 0;
    }
    bool whole = import->value_field == UINT64_MAX;
    if (number < import->key_field || (!whole && number < import->value_field)) {
        return fx_cli_import_bad(import, "the record has fewer fields than --key or --value wants");
    }
    fx_cli_import_key_reset(import);
    import->value.size = 0;
    if (!csv_decode(import, &key, &import->key) ||
        (!whole && !csv_decode(import, &value, &import->value))) {
        return fx_cli_no_memory();
    }
    return whole
               ? fx_cli_import_put(import, import->input.all.data + import->input.at, *body_out, 0)
               : fx_cli_import_put(import, import->value.data, import->value.size, 0);
}

int fx_cli_import_csv(fx_cli_import *import) {
    bool header = FX_CLI_HAS(import->args, HEADER);
    for (;;) {
        int status = 0;
        size_t size = 0;
        size_t body = 0;
        import->line = import->input.line;
        if (csv_peek(import, 0, &status) < 0) {
            return status;
        }
        status = csv_record(import, header, &size, &body);
        if (status != 0) {
            return status;
        }
        header = false;
        fx_cli_input_take(&import->input, size);
    }
}
