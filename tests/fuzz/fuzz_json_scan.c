/* fuzz_json_scan: any bytes are JSON for the library exactly if a second, naive reader of the
 * grammar says so; and what is JSON can be walked, its strings decoded and written again.
 */
#define _GNU_SOURCE
#include "base/config.h"
#include "fuzz/fuzz.h"
#include "store/json_scan.h"

/* ---- The naive reader: recursive, one function for each rule of RFC 8259 ---- */

typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
    unsigned depth;
} reader;

static bool read_value(reader *r);

static bool take(reader *r, char c) {
    if (r->at < r->end && *r->at == (uint8_t)c) {
        r->at++;
        return true;
    }
    return false;
}

static void read_space(reader *r) {
    while (take(r, ' ') || take(r, '\t') || take(r, '\n') || take(r, '\r')) {
        continue;
    }
}

static bool read_word(reader *r, const char *word) {
    while (*word != 0 && take(r, *word)) {
        word++;
    }
    return *word == 0;
}

static bool read_digits(reader *r) {
    const uint8_t *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        r->at++;
    }
    return r->at > start;
}

static bool read_number(reader *r) {
    (void)take(r, '-');
    if (!take(r, '0') && !read_digits(r)) {
        return false;
    }
    if (take(r, '.') && !read_digits(r)) {
        return false;
    }
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) {
            (void)take(r, '-');
        }
        return read_digits(r);
    }
    return true;
}

/* The sequences of RFC 3629, from its table. */
static bool read_utf8(reader *r) {
    static const uint8_t rows[][8] = {
        {0xc2, 0xdf, 0x80, 0xbf},
        {0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf},
        {0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf},
        {0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf},
        {0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf},
        {0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        size_t length = 0;
        while (length < 4 && rows[row][2 * length + 1] != 0 && length < (size_t)(r->end - r->at) &&
               r->at[length] >= rows[row][2 * length] &&
               r->at[length] <= rows[row][2 * length + 1]) {
            length++;
        }
        if (length == 4 || (length > 0 && rows[row][2 * length + 1] == 0)) {
            r->at += length;
            return true;
        }
    }
    return false;
}

static bool read_escape(reader *r) {
    if (take(r, 'u')) {
        for (unsigned i = 0; i < 4; i++) {
            if (r->at == r->end || strchr("0123456789abcdefABCDEF", *r->at) == NULL ||
                *r->at == 0) {
                return false;
            }
            r->at++;
        }
        return true;
    }
    if (r->at < r->end && *r->at != 0 && strchr("\"\\/bfnrt", *r->at) != NULL) {
        r->at++;
        return true;
    }
    return false;
}

static bool read_string(reader *r) {
    if (!take(r, '"')) {
        return false;
    }
    while (r->at < r->end) {
        if (take(r, '"')) {
            return true;
        }
        if (take(r, '\\')) {
            if (!read_escape(r)) {
                return false;
            }
        } else if (*r->at >= 0x80) {
            if (!read_utf8(r)) {
                return false;
            }
        } else if (*r->at < 0x20) {
            return false;
        } else {
            r->at++;
        }
    }
    return false;
}

static bool read_member(reader *r) {
    read_space(r);
    if (!read_string(r)) {
        return false;
    }
    read_space(r);
    return take(r, ':') && read_value(r);
}

static bool read_inside(reader *r, bool object) {
    char close = object ? '}' : ']';
    if (++r->depth > FX_JSON_DEPTH_MAX) {
        return false;
    }
    read_space(r);
    if (!take(r, close)) {
        do {
            if (!(object ? read_member(r) : read_value(r))) {
                return false;
            }
        } while (take(r, ','));
        if (!take(r, close)) {
            return false;
        }
    }
    r->depth--;
    return true;
}

/* A value and the space around it. */
static bool read_value(reader *r) {
    bool good = false;
    read_space(r);
    if (r->at == r->end) {
        return false;
    }
    switch (*r->at) {
    case '{':
    case '[':
        r->at++;
        good = read_inside(r, r->at[-1] == '{');
        break;
    case '"':
        good = read_string(r);
        break;
    case 't':
        good = read_word(r, "true");
        break;
    case 'f':
        good = read_word(r, "false");
        break;
    case 'n':
        good = read_word(r, "null");
        break;
    default:
        good = read_number(r);
        break;
    }
    read_space(r);
    return good;
}

/* ---- What the scanner says of valid text ---- */

static void check_string(const char *at, size_t size) {
    char *decoded = malloc(size);
    size_t length = fx_json_decode(at, size, decoded);
    assert_true(length <= size - 2);
    char *exact = fuzz_copy(decoded, length);
    size_t wanted = fx_json_encode(exact, length, NULL);
    char *text = malloc(wanted);
    assert_int_equal(fx_json_encode(exact, length, text), wanted);
    assert_int_equal(fx_json_validate("string", text, wanted, 0), FEOX_OK);
    assert_true(fx_json_string_equal(at, size, text, wanted));
    char *again = malloc(wanted);
    assert_int_equal(fx_json_decode(text, wanted, again), length);
    assert_true(length == 0 || memcmp(again, decoded, length) == 0);
    free(again);
    free(text);
    free(exact);
    free(decoded);
}

/* Every string and number of the text, wherever it is. */
static void check_tokens(const char *text, size_t size) {
    const char *end = text + size;
    unsigned height;
    for (const char *at = text; at < end;) {
        if (*at == '"') {
            const char *next = fx_json_skip_string(at, end);
            check_string(at, (size_t)(next - at));
            at = next;
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            const char *next = fx_json_skip(at, end, &height);
            size_t length = (size_t)(next - at);
            assert_true(fx_json_number_equal(at, length, at, length));
            at = next;
        } else {
            at++;
        }
    }
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    (void)count;
    (void)words;
    fuzz_begin();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_copy(data, size);
    reader r = {.at = data, .end = data + size};
    bool wanted = read_value(&r) && r.at == r.end;
    feox_status got = fx_json_validate("text", text, size, 0);
    assert_true(got == FEOX_OK || got == FEOX_ERR_JSON);
    assert_int_equal(got == FEOX_OK, wanted);
    if (got == FEOX_OK) {
        unsigned height;
        const char *end = text + size;
        const char *at = fx_json_skip(fx_json_space(text, end), end, &height);
        assert_ptr_equal(fx_json_space(at, end), end);
        assert_true(height <= FX_JSON_DEPTH_MAX);
        check_tokens(text, size);
    }
    free(text);
    return 0;
}
