/* json_scan: validates without building anything, because most of a document is never looked at:
 * the tree (json_tree.c) opens only the containers that a patch addresses, by skipping over text
 * that is known to be sound.
 *
 * Invariants: 1. The scan never reads at or behind `end`. 2. `depth` is the number of open
 * brackets, and open[0..depth) are they; there is no recursion to run away.
 */
#include "store/json_scan.h"

#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/config.h"
#include "base/error.h"

typedef struct scan {
    const char *at;
    const char *end;
    const char *problem;
    unsigned depth;
    unsigned depth_max;
    char open[FX_JSON_DEPTH_MAX + FX_JSON_PATCH_LEVELS];
} scan;

static bool scan_fail(scan *s, const char *problem) {
    s->problem = problem;
    return false;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static int hex_value(char c) {
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *fx_json_space(const char *at, const char *end) {
    while (at < end && is_space(*at)) {
        at++;
    }
    return at;
}

/* The length of the UTF-8 sequence at `at`, or 0: overlong forms, surrogates, and code points above
 * U+10FFFF are none (RFC 3629, table of well-formed sequences). */
static size_t utf8_length(const char *at, const char *end) {
    const uint8_t *p = (const uint8_t *)at;
    size_t left = (size_t)(end - at);
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t length;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        length = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        length = 3;
        low = p[0] == 0xe0 ? 0xa0 : 0x80;
        high = p[0] == 0xed ? 0x9f : 0xbf;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        length = 4;
        low = p[0] == 0xf0 ? 0x90 : 0x80;
        high = p[0] == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (left < length || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* At a backslash. */
static bool scan_escape(scan *s) {
    if (s->end - s->at < 2) {
        return scan_fail(s, "the text ends inside a string");
    }
    char c = s->at[1];
    if (c != 'u') {
        if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL) {
            return scan_fail(s, "unknown escape");
        }
        s->at += 2;
        return true;
    }
    if (s->end - s->at < 6) {
        return scan_fail(s, "the text ends inside a string");
    }
    for (int i = 2; i < 6; i++) {
        if (hex_value(s->at[i]) < 0) {
            return scan_fail(s, "four hexadecimal digits must follow \\u");
        }
    }
    s->at += 6;
    return true;
}

/* At the opening quote. */
static bool scan_string(scan *s) {
    s->at++;
    while (s->at < s->end) {
        uint8_t c = (uint8_t)*s->at;
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(s)) {
                return false;
            }
        } else if (c < 0x20) {
            return scan_fail(s, "a control character inside a string");
        } else if (c < 0x80) {
            s->at++;
        } else {
            size_t length = utf8_length(s->at, s->end);
            if (length == 0) {
                return scan_fail(s, "invalid UTF-8");
            }
            s->at += length;
        }
    }
    return scan_fail(s, "the text ends inside a string");
}

static bool scan_digits(scan *s) {
    const char *from = s->at;
    while (s->at < s->end && is_digit(*s->at)) {
        s->at++;
    }
    return s->at > from ? true : scan_fail(s, "a digit is missing");
}

static bool scan_number(scan *s) {
    if (*s->at == '-') {
        s->at++;
    }
    if (s->at < s->end && *s->at == '0') {
        s->at++;
        if (s->at < s->end && is_digit(*s->at)) {
            return scan_fail(s, "a number with a leading zero");
        }
    } else if (!scan_digits(s)) {
        return false;
    }
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!scan_digits(s)) {
            return false;
        }
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) {
            s->at++;
        }
        return scan_digits(s);
    }
    return true;
}

static bool scan_literal(scan *s, const char *literal, size_t literal_len) {
    if ((size_t)(s->end - s->at) < literal_len || memcmp(s->at, literal, literal_len) != 0) {
        return scan_fail(s, "a value is expected");
    }
    s->at += literal_len;
    return true;
}

/* A member's name, the colon and the space around: up to the member's value. */
static bool scan_name(scan *s) {
    if (s->at == s->end || *s->at != '"') {
        return scan_fail(s, "a member name is expected");
    }
    if (!scan_string(s)) {
        return false;
    }
    s->at = fx_json_space(s->at, s->end);
    if (s->at == s->end || *s->at != ':') {
        return scan_fail(s, "a colon is expected");
    }
    s->at = fx_json_space(s->at + 1, s->end);
    return true;
}

/* Begins a value. *inside_out: it is a container that is not empty, and its first value is next. */
static bool scan_begin(scan *s, bool *inside_out) {
    *inside_out = false;
    if (s->at == s->end) {
        return scan_fail(s, "the text ends where a value is expected");
    }
    char c = *s->at;
    switch (c) {
    case '{':
    case '[':
        if (s->depth == s->depth_max) {
            return scan_fail(s, "nested too deep");
        }
        s->open[s->depth++] = c;
        s->at = fx_json_space(s->at + 1, s->end);
        if (s->at < s->end && *s->at == (c == '{' ? '}' : ']')) {
            s->at++;
            s->depth--;
            return true;
        }
        *inside_out = true;
        return c == '[' || scan_name(s);
    case '"':
        return scan_string(s);
    case 't':
        return scan_literal(s, "true", 4);
    case 'f':
        return scan_literal(s, "false", 5);
    case 'n':
        return scan_literal(s, "null", 4);
    default:
        return c == '-' || is_digit(c) ? scan_number(s) : scan_fail(s, "a value is expected");
    }
}

/* Behind a value: closes what closes here. *more_out: a comma came, and the next value is next. */
static bool scan_after(scan *s, bool *more_out) {
    *more_out = false;
    for (;;) {
        s->at = fx_json_space(s->at, s->end);
        if (s->depth == 0) {
            return s->at == s->end ? true : scan_fail(s, "something follows the value");
        }
        char open = s->open[s->depth - 1];
        if (s->at == s->end) {
            return scan_fail(s, "the text ends inside an array or object");
        }
        if (*s->at == ',') {
            s->at = fx_json_space(s->at + 1, s->end);
            *more_out = true;
            return open == '[' || scan_name(s);
        }
        if (*s->at != (open == '{' ? '}' : ']')) {
            return scan_fail(s, "a comma or the closing bracket is expected");
        }
        s->at++;
        s->depth--;
    }
}

feox_status fx_json_validate(const char *name, const char *text, size_t text_len,
                             unsigned depth_more) {
    if (text_len >= UINT32_MAX) {
        return fx_error_set(FEOX_ERR_TOO_LARGE, 0, "%s: a JSON text of %zu bytes", name, text_len);
    }
    static const char empty[1] = "";
    scan s = {.at = text_len > 0 ? text : empty, .depth_max = FX_JSON_DEPTH_MAX + depth_more};
    FX_ASSERT(depth_more <= FX_JSON_PATCH_LEVELS);
    const char *start = s.at;
    s.end = s.at + text_len;
    s.at = fx_json_space(s.at, s.end);
    bool inside;
    bool more = true;
    while (more) {
        if (!scan_begin(&s, &inside) || (!inside && !scan_after(&s, &more))) {
            return fx_error_set(FEOX_ERR_JSON, 0, "%s is not JSON at offset %zu: %s", name,
                                (size_t)(s.at - start), s.problem);
        }
    }
    return FEOX_OK;
}

/* Looks for quotes and counts the backslashes before each: memchr passes the rest quickly. The text
 * is sound, so that there is one that ends the string. */
const char *fx_json_skip_string(const char *at, const char *end) {
    const char *quote = at;
    for (;;) {
        quote = memchr(quote + 1, '"', (size_t)(end - quote - 1));
        FX_ASSERT(quote != NULL);
        const char *slash = quote;
        while (slash[-1] == '\\') {
            slash--;
        }
        if ((quote - slash) % 2 == 0) {
            return quote + 1;
        }
    }
}

const char *fx_json_skip(const char *at, const char *end, unsigned *height_out) {
    unsigned depth = 0;
    unsigned height = 0;
    *height_out = 0;
    if (*at == '"') {
        return fx_json_skip_string(at, end);
    }
    if (*at != '{' && *at != '[') {
        /* Behind an object's last member `end` comes before its bracket. */
        while (at < end && !is_space(*at) && *at != ',' && *at != ']') {
            at++;
        }
        return at;
    }
    do { /* until the bracket that closes: in sound text there is one */
        FX_ASSERT(at < end);
        char c = *at;
        if (c == '"') {
            at = fx_json_skip_string(at, end);
            continue;
        }
        at++;
        if (c == '{' || c == '[') {
            depth++;
            height = depth > height ? depth : height;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    } while (depth > 0);
    *height_out = height;
    return at;
}

static unsigned code_unit(const char *digits) {
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        unit = unit << 4 | (unsigned)hex_value(digits[i]);
    }
    return unit;
}

static size_t utf8_put(uint32_t code, char *out) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

const char *fx_json_decode_escape(const char *at, const char *end, char *out, size_t *out_len) {
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    *out_len = 1;
    if (at[1] != 'u') {
        out[0] = to[strchr(from, at[1]) - from]; /* it was validated: one of these */
        return at + 2;
    }
    uint32_t code = code_unit(at + 2);
    at += 6;
    if (code >= 0xd800 && code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        uint32_t low = code_unit(at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        }
    }
    *out_len = utf8_put(code, out);
    return at;
}

size_t fx_json_decode(const char *text, size_t text_len, char *out) {
    const char *at = text + 1;
    const char *end = text + text_len - 1;
    size_t written = 0;
    while (at < end) {
        if (*at != '\\') {
            out[written++] = *at++;
            continue;
        }
        size_t length;
        at = fx_json_decode_escape(at, end, out + written, &length);
        written += length;
    }
    return written;
}

/* The escape of one byte, or 0. A lone surrogate is handled by the caller. */
static size_t escape_encode(uint8_t c, char *out) {
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    const char *found = c != 0 ? strchr(from, c) : NULL;
    if (found != NULL) {
        out[0] = '\\';
        out[1] = to[found - from];
        return 2;
    }
    if (c >= 0x20) {
        return 0;
    }
    memcpy(out, "\\u00", 4);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

size_t fx_json_encode(const char *decoded, size_t decoded_len, char *out) {
    static const char hex[] = "0123456789abcdef";
    size_t written = 0;
    char piece[6];
    size_t used;
    for (size_t i = 0; i < decoded_len + 2; i += used) {
        used = 1;
        size_t length = 0;
        piece[0] = '"';
        if (i > 0 && i <= decoded_len) {
            const uint8_t *p = (const uint8_t *)decoded + i - 1;
            length = escape_encode(p[0], piece);
            if (p[0] == 0xed && p[1] >= 0xa0) {
                memcpy(piece, "\\ud", 3);
                piece[3] = hex[8 + (p[1] >> 2 & 7)];
                piece[4] = hex[(p[1] << 2 & 12) | (p[2] >> 4 & 3)];
                piece[5] = hex[p[2] & 15];
                length = 6;
                used = 3;
            } else if (length == 0) {
                piece[0] = decoded[i - 1];
            }
        }
        length = length == 0 ? 1 : length;
        if (out != NULL) {
            memcpy(out + written, piece, length);
        }
        written += length;
    }
    return written;
}
