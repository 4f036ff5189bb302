/* json_number: equality of scalar tokens, exact and without ever building a number.
 *
 * A number token is digits, a place for the point, and a power of ten: 0.d1d2...dk * 10^E where d1
 * and dk are not 0. That form is unique, so two tokens are equal exactly if sign, digits and E are.
 * The exponent may have any number of digits itself (1e999999999, or a million digits of exponent);
 * E = exponent + shift is therefore never computed: the difference of the two exponents is compared
 * with the difference of the two shifts digit by digit from the right, which needs a carry of one
 * machine word. Time is linear in the tokens, memory constant.
 */
#include "store/json_scan.h"

#include <stdint.h>
#include <string.h>

typedef struct number {
    bool negative;
    bool zero;
    const char *digits; /* from the first digit that is not 0; may contain the point */
    const char *digits_end;
    int64_t shift; /* digits before the point, negative for zeros behind it */
    const char *exponent;
    const char *exponent_end;
    int exponent_sign;
} number;

static number number_parse(const char *text, size_t len) {
    number n = {.exponent_sign = 1};
    const char *end = text + len;
    n.negative = *text == '-';
    text += n.negative;
    const char *mantissa_end = text;
    while (mantissa_end < end && *mantissa_end != 'e' && *mantissa_end != 'E') {
        mantissa_end++;
    }
    n.exponent = mantissa_end < end ? mantissa_end + 1 : end;
    n.exponent_end = end;
    if (n.exponent < end && (*n.exponent == '-' || *n.exponent == '+')) {
        n.exponent_sign = *n.exponent == '-' ? -1 : 1;
        n.exponent++;
    }
    const char *point = memchr(text, '.', (size_t)(mantissa_end - text));
    if (point == NULL) {
        point = mantissa_end;
    }
    while (text < mantissa_end && (*text == '0' || *text == '.')) {
        text++;
    }
    n.digits = text;
    n.shift = text < point ? point - text : point + 1 - text;
    while (mantissa_end > text && (mantissa_end[-1] == '0' || mantissa_end[-1] == '.')) {
        mantissa_end--;
    }
    n.digits_end = mantissa_end;
    n.zero = n.digits == n.digits_end;
    return n;
}

/* sign_a * exponent_a - sign_b * exponent_b == shift_b - shift_a? */
static bool exponent_equal(const number *a, const number *b) {
    int64_t carry = a->shift - b->shift;
    const char *p = a->exponent_end;
    const char *q = b->exponent_end;
    while (p > a->exponent || q > b->exponent) {
        if (p > a->exponent) {
            carry += a->exponent_sign * (*--p - '0');
        }
        if (q > b->exponent) {
            carry -= b->exponent_sign * (*--q - '0');
        }
        if (carry % 10 != 0) {
            return false;
        }
        carry /= 10;
    }
    return carry == 0;
}

bool fx_json_number_equal(const char *a_text, size_t a_len, const char *b_text, size_t b_len) {
    number a = number_parse(a_text, a_len);
    number b = number_parse(b_text, b_len);
    if (a.zero || b.zero) {
        return a.zero && b.zero;
    }
    if (a.negative != b.negative || !exponent_equal(&a, &b)) {
        return false;
    }
    const char *p = a.digits;
    const char *q = b.digits;
    for (;;) {
        p += p < a.digits_end && *p == '.';
        q += q < b.digits_end && *q == '.';
        if (p == a.digits_end || q == b.digits_end) {
            return p == a.digits_end && q == b.digits_end;
        }
        if (*p++ != *q++) {
            return false;
        }
    }
}

/* Decoded in pieces on the stack; an escape in one string is plain text in the other. */
typedef struct reader {
    const char *at;
    const char *end;
    char piece[4];
    size_t piece_at;
    size_t piece_len;
} reader;

/* The next decoded byte, or -1 at the end. */
static int reader_next(reader *r) {
    if (r->piece_at < r->piece_len) {
        return (uint8_t)r->piece[r->piece_at++];
    }
    if (r->at == r->end) {
        return -1;
    }
    if (*r->at != '\\') {
        return (uint8_t)*r->at++;
    }
    r->at = fx_json_decode_escape(r->at, r->end, r->piece, &r->piece_len);
    r->piece_at = 1;
    return (uint8_t)r->piece[0];
}

bool fx_json_string_equal(const char *a, size_t a_len, const char *b, size_t b_len) {
    reader x = {.at = a + 1, .end = a + a_len - 1};
    reader y = {.at = b + 1, .end = b + b_len - 1};
    for (;;) {
        int c = reader_next(&x);
        if (c != reader_next(&y)) {
            return false;
        }
        if (c < 0) {
            return true;
        }
    }
}
