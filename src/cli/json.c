/* json: a recursive scanner over (text, size, at). Slices point into the text, so that what the
 * command stores is what the input held, to the byte. cJSON is no help here: it turns numbers into
 * doubles and ends strings at \u0000. */
#include "cli/json.h"

#include <string.h>

typedef struct json_scan {
    const char *text;
    size_t size;
    size_t at;
    const char *error;
} json_scan;

static void scan_space(json_scan *scan) {
    while (scan->at < scan->size) {
        char c = scan->text[scan->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            return;
        }
        scan->at++;
    }
}

/* The byte at the position, or 0 at the end; a NUL byte in the text is never legal either. */
static char scan_peek(const json_scan *scan) {
    return scan->at < scan->size ? scan->text[scan->at] : '\0';
}

static bool scan_bad(json_scan *scan, const char *error) {
    scan->error = scan->at < scan->size ? error : "the JSON text ends too early";
    return false;
}

static bool scan_escape(json_scan *scan) {
    scan->at++;
    char c = scan_peek(scan);
    if (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) {
        scan->at++;
        return true;
    }
    if (c != 'u') {
        return scan_bad(scan, "an unknown escape in a string");
    }
    scan->at++;
    for (int i = 0; i < 4; i++) {
        if (fx_cli_hex_digit(scan_peek(scan)) < 0) {
            return scan_bad(scan, "\\u needs four hexadecimal digits");
        }
        scan->at++;
    }
    return true;
}

static bool scan_string(json_scan *scan) {
    if (scan_peek(scan) != '"') {
        return scan_bad(scan, "a string in double quotes is expected");
    }
    scan->at++;
    while (scan->at < scan->size) {
        unsigned char c = (unsigned char)scan->text[scan->at];
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c < 0x20) {
            return scan_bad(scan, "a control character inside a string");
        }
        if (c == '\\') {
            if (!scan_escape(scan)) {
                return false;
            }
            continue;
        }
        size_t length = fx_cli_utf8_length(scan->text + scan->at, scan->size - scan->at);
        if (length == 0) {
            return scan_bad(scan, "a string is not valid UTF-8");
        }
        scan->at += length;
    }
    return scan_bad(scan, "");
}

static bool scan_digits(json_scan *scan) {
    size_t start = scan->at;
    while (scan_peek(scan) >= '0' && scan_peek(scan) <= '9') {
        scan->at++;
    }
    return scan->at > start || scan_bad(scan, "a digit is expected");
}

static bool scan_number(json_scan *scan) {
    if (scan_peek(scan) == '-') {
        scan->at++;
    }
    if (scan_peek(scan) == '0') {
        scan->at++;
    } else if (!scan_digits(scan)) {
        return false;
    }
    if (scan_peek(scan) == '.') {
        scan->at++;
        if (!scan_digits(scan)) {
            return false;
        }
    }
    if (scan_peek(scan) == 'e' || scan_peek(scan) == 'E') {
        scan->at++;
        if (scan_peek(scan) == '+' || scan_peek(scan) == '-') {
            scan->at++;
        }
        return scan_digits(scan);
    }
    return true;
}

static bool scan_word(json_scan *scan, const char *word) {
    size_t length = strlen(word);
    if (scan->size - scan->at < length || memcmp(scan->text + scan->at, word, length) != 0) {
        return scan_bad(scan, "a JSON value is expected");
    }
    scan->at += length;
    return true;
}

static bool scan_value(json_scan *scan, int depth);

static bool scan_container(json_scan *scan, bool object, int depth) {
    char close = object ? '}' : ']';
    if (depth >= FX_CLI_JSON_DEPTH_MAX) {
        return scan_bad(scan, "the JSON text nests more than 512 deep");
    }
    scan->at++;
    scan_space(scan);
    if (scan_peek(scan) == close) {
        scan->at++;
        return true;
    }
    for (;;) {
        if (object) {
            scan_space(scan);
            if (!scan_string(scan)) {
                return false;
            }
            scan_space(scan);
            if (scan_peek(scan) != ':') {
                return scan_bad(scan, "a colon is expected");
            }
            scan->at++;
        }
        if (!scan_value(scan, depth + 1)) {
            return false;
        }
        scan_space(scan);
        char c = scan_peek(scan);
        if (c != ',' && c != close) {
            return scan_bad(scan, object ? "a comma or } is expected" : "a comma or ] is expected");
        }
        scan->at++;
        if (c == close) {
            return true;
        }
    }
}

/* Recursion is bounded by FX_CLI_JSON_DEPTH_MAX. */
static bool scan_value(json_scan *scan, int depth) {
    scan_space(scan);
    char c = scan_peek(scan);
    if (c == '{' || c == '[') {
        return scan_container(scan, c == '{', depth);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return scan_number(scan);
    }
    switch (c) {
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        return scan_bad(scan, "a JSON value is expected");
    }
}

const char *fx_cli_json_check(const char *text, size_t size, feox_slice *value_out,
                              size_t *error_at_out) {
    json_scan scan = {text, size, 0, NULL};
    *error_at_out = 0;
    scan_space(&scan);
    size_t start = scan.at;
    if (scan_value(&scan, 0)) {
        value_out->data = text + start;
        value_out->size = scan.at - start;
        scan_space(&scan);
        if (scan.at == size) {
            return NULL;
        }
        (void)scan_bad(&scan, "something follows the JSON value");
    }
    *error_at_out = scan.at;
    return scan.error;
}

bool fx_cli_json_next(feox_slice container, size_t *at, feox_slice *name_out,
                      feox_slice *value_out) {
    json_scan scan = {container.data, container.size, *at, NULL};
    bool object = scan.text[0] == '{';
    *name_out = (feox_slice){NULL, 0};
    if (scan.at == 0) {
        scan.at = 1;
    }
    scan_space(&scan);
    if (scan_peek(&scan) == ',') {
        scan.at++;
        scan_space(&scan);
    }
    if (scan_peek(&scan) == (object ? '}' : ']')) {
        return false;
    }
    if (object) {
        size_t start = scan.at;
        (void)scan_string(&scan);
        *name_out = (feox_slice){scan.text + start, scan.at - start};
        scan_space(&scan);
        scan.at++; /* the colon */
        scan_space(&scan);
    }
    size_t start = scan.at;
    (void)scan_value(&scan, 0);
    *value_out = (feox_slice){scan.text + start, scan.at - start};
    *at = scan.at;
    return true;
}

static uint32_t hex_unit(const char *digits) {
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        unit = unit * 16 + (uint32_t)fx_cli_hex_digit(digits[i]);
    }
    return unit;
}

static void put_utf8(fx_cli_buffer *out, uint32_t c) {
    char *to = out->data + out->size;
    if (c < 0x80) {
        to[0] = (char)(unsigned char)c;
        out->size += 1;
    } else if (c < 0x800) {
        to[0] = (char)(unsigned char)(0xc0 | c >> 6);
        to[1] = (char)(unsigned char)(0x80 | (c & 63));
        out->size += 2;
    } else if (c < 0x10000) {
        to[0] = (char)(unsigned char)(0xe0 | c >> 12);
        to[1] = (char)(unsigned char)(0x80 | (c >> 6 & 63));
        to[2] = (char)(unsigned char)(0x80 | (c & 63));
        out->size += 3;
    } else {
        to[0] = (char)(unsigned char)(0xf0 | c >> 18);
        to[1] = (char)(unsigned char)(0x80 | (c >> 12 & 63));
        to[2] = (char)(unsigned char)(0x80 | (c >> 6 & 63));
        to[3] = (char)(unsigned char)(0x80 | (c & 63));
        out->size += 4;
    }
}

/* Decodes the \u at text[*at] and the low surrogate that belongs to it. */
static bool decode_unit(const char *text, size_t size, size_t *at, fx_cli_buffer *out) {
    uint32_t unit = hex_unit(text + *at + 2);
    *at += 6;
    if (unit >= 0xd800 && unit < 0xdc00 && size - *at > 6 && text[*at] == '\\' &&
        text[*at + 1] == 'u') {
        uint32_t low = hex_unit(text + *at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            *at += 6;
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    if (unit >= 0xd800 && unit < 0xe000) {
        return false;
    }
    put_utf8(out, unit);
    return true;
}

fx_cli_decoded fx_cli_json_decode(feox_slice string, fx_cli_buffer *out) {
    const char *text = string.data;
    if (!fx_cli_buffer_reserve(out, string.size)) {
        return FX_CLI_DECODE_MEMORY;
    }
    for (size_t i = 1; i + 1 < string.size;) {
        if (text[i] != '\\') {
            out->data[out->size++] = text[i++];
            continue;
        }
        if (text[i + 1] == 'u') {
            if (!decode_unit(text, string.size, &i, out)) {
                return FX_CLI_DECODE_BAD;
            }
            continue;
        }
        static const char from[] = "\"\\/bfnrt";
        static const char to[] = "\"\\/\b\f\n\r\t";
        out->data[out->size++] = to[strchr(from, text[i + 1]) - from];
        i += 2;
    }
    return FX_CLI_DECODED;
}

int fx_cli_json_member(feox_slice object, const char *name, size_t name_len,
                       feox_slice *value_out) {
    fx_cli_buffer decoded = {NULL, 0, 0};
    feox_slice member;
    feox_slice value;
    int found = 0;
    size_t at = 0;
    if (((const char *)object.data)[0] != '{') {
        return 0;
    }
    while (found >= 0 && fx_cli_json_next(object, &at, &member, &value)) {
        decoded.size = 0;
        fx_cli_decoded result = fx_cli_json_decode(member, &decoded);
        if (result == FX_CLI_DECODE_MEMORY) {
            found = -1;
        } else if (result == FX_CLI_DECODED && decoded.size == name_len &&
                   (name_len == 0 || memcmp(decoded.data, name, name_len) == 0)) {
            *value_out = value;
            found = found == 0 ? 1 : 2;
        }
    }
    fx_cli_buffer_free(&decoded);
    return found;
}

static const char *pointer_element(feox_slice array, const char *token, size_t size,
                                   feox_slice *value_out) {
    size_t wanted = 0;
    size_t at = 0;
    feox_slice name;
    if (size == 0 || size > 18 || (size > 1 && token[0] == '0')) {
        return "the pointer has no element number where there is an array";
    }
    for (size_t i = 0; i < size; i++) {
        if (token[i] < '0' || token[i] > '9') {
            return "the pointer has no element number where there is an array";
        }
        wanted = wanted * 10 + (size_t)(token[i] - '0');
    }
    for (size_t i = 0; fx_cli_json_next(array, &at, &name, value_out); i++) {
        if (i == wanted) {
            return NULL;
        }
    }
    return "the pointer leads past the end of an array";
}

/* One token of a pointer, with ~0 and ~1 replaced. */
static const char *pointer_token(const char *text, size_t size, fx_cli_buffer *token) {
    token->size = 0;
    if (!fx_cli_buffer_reserve(token, size + 1)) {
        return "out of memory";
    }
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '~') {
            i++;
            if (i == size || (text[i] != '0' && text[i] != '1')) {
                return "the pointer has a ~ that is neither ~0 nor ~1";
            }
            c = text[i] == '0' ? '~' : '/';
        }
        token->data[token->size++] = c;
    }
    return NULL;
}

static const char *pointer_step(feox_slice here, const fx_cli_buffer *token,
                                feox_slice *value_out) {
    char kind = ((const char *)here.data)[0];
    if (kind == '[') {
        return pointer_element(here, token->data, token->size, value_out);
    }
    if (kind != '{') {
        return "the pointer leads through a value that is neither object nor array";
    }
    switch (fx_cli_json_member(here, token->data, token->size, value_out)) {
    case 1:
        return NULL;
    case 0:
        return "the pointer names a member that is not there";
    case 2:
        return "the pointer names a member that is there twice";
    default:
        return "out of memory";
    }
}

const char *fx_cli_json_pointer(feox_slice text, const char *pointer, feox_slice *value_out) {
    fx_cli_buffer token = {NULL, 0, 0};
    const char *error = NULL;
    *value_out = text;
    while (error == NULL && *pointer != '\0') { /* it stands at a slash */
        size_t size = strcspn(pointer + 1, "/");
        error = pointer_token(pointer + 1, size, &token);
        if (error == NULL) {
            error = pointer_step(*value_out, &token, value_out);
        }
        pointer += 1 + size;
    }
    fx_cli_buffer_free(&token);
    return error;
}
