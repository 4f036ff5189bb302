/* buffer: see the header. malloc is used directly because the command sees nothing of the library
 * but feox.h; this is the one file in src/cli that does. */
#include "cli/buffer.h"

#include <stdlib.h>
#include <string.h>

bool fx_cli_buffer_reserve(fx_cli_buffer *buffer, size_t more) {
    if (more <= buffer->capacity - buffer->size) {
        return true;
    }
    if (more > SIZE_MAX / 2 - buffer->size) {
        return false;
    }
    size_t capacity = buffer->size + more;
    if (capacity < buffer->capacity * 2) {
        capacity = buffer->capacity * 2;
    }
    if (capacity < 256) {
        capacity = 256;
    }
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

bool fx_cli_buffer_append(fx_cli_buffer *buffer, const void *data, size_t size) {
    if (!fx_cli_buffer_reserve(buffer, size)) {
        return false;
    }
    if (size != 0) {
        memcpy(buffer->data + buffer->size, data, size);
    }
    buffer->size += size;
    return true;
}

void fx_cli_buffer_free(fx_cli_buffer *buffer) {
    free(buffer->data);
    *buffer = (fx_cli_buffer){NULL, 0, 0};
}

int fx_cli_hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

fx_cli_decoded fx_cli_decode_hex(const char *text, size_t size, fx_cli_buffer *out) {
    if (size % 2 != 0) {
        return FX_CLI_DECODE_BAD;
    }
    if (!fx_cli_buffer_reserve(out, size / 2)) {
        return FX_CLI_DECODE_MEMORY;
    }
    for (size_t i = 0; i < size; i += 2) {
        int high = fx_cli_hex_digit(text[i]);
        int low = fx_cli_hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return FX_CLI_DECODE_BAD;
        }
        out->data[out->size++] = (char)(high * 16 + low);
    }
    return FX_CLI_DECODED;
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+') {
        return 62;
    }
    return c == '/' ? 63 : -1;
}

fx_cli_decoded fx_cli_decode_base64(const char *text, size_t size, fx_cli_buffer *out) {
    if (size % 4 != 0) {
        return FX_CLI_DECODE_BAD;
    }
    if (!fx_cli_buffer_reserve(out, size / 4 * 3)) {
        return FX_CLI_DECODE_MEMORY;
    }
    for (size_t i = 0; i < size; i += 4) {
        size_t digits = 4;
        if (i + 4 == size && text[i + 3] == '=') {
            digits = text[i + 2] == '=' ? 2 : 3;
        }
        uint32_t bits = 0;
        for (size_t d = 0; d < digits; d++) {
            int digit = base64_digit(text[i + d]);
            if (digit < 0) {
                return FX_CLI_DECODE_BAD;
            }
            bits |= (uint32_t)digit << (18 - 6 * d);
        }
        /* Bits behind the last byte must be zero: one text for one sequence of bytes. */
        if ((bits & ((1u << (8 * (4 - digits))) - 1u)) != 0) {
            return FX_CLI_DECODE_BAD;
        }
        for (size_t b = 0; b + 1 < digits; b++) {
            out->data[out->size++] = (char)(unsigned char)(bits >> (16 - 8 * b));
        }
    }
    return FX_CLI_DECODED;
}

/* The byte that the escape at text[*at] stands for, with *at moved behind it; -1 if malformed. */
static int escaped_byte(const char *text, size_t size, size_t *at) {
    if (size - *at < 2) {
        return -1;
    }
    char c = text[*at + 1];
    *at += 2;
    switch (c) {
    case '\\':
    case '"':
        return c;
    case 't':
        return '\t';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 'x':
        break;
    default:
        return -1;
    }
    if (size - *at < 2) {
        return -1;
    }
    int high = fx_cli_hex_digit(text[*at]);
    int low = fx_cli_hex_digit(text[*at + 1]);
    *at += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

fx_cli_decoded fx_cli_decode_escaped(const char *text, size_t size, fx_cli_buffer *out) {
    if (!fx_cli_buffer_reserve(out, size)) {
        return FX_CLI_DECODE_MEMORY;
    }
    for (size_t i = 0; i < size;) {
        int byte = (unsigned char)text[i];
        if (byte != '\\') {
            i++;
        } else {
            byte = escaped_byte(text, size, &i);
        }
        if (byte < 0) {
            return FX_CLI_DECODE_BAD;
        }
        out->data[out->size++] = (char)(unsigned char)byte;
    }
    return FX_CLI_DECODED;
}

bool fx_cli_parse_number(const char *text, uint64_t *number_out) {
    uint64_t number = 0;
    *number_out = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(*text - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *number_out = number;
    return true;
}

bool fx_cli_parse_signed(const char *text, int64_t *number_out) {
    bool negative = *text == '-';
    uint64_t number = 0;
    *number_out = 0;
    if (!fx_cli_parse_number(negative || *text == '+' ? text + 1 : text, &number)) {
        return false;
    }
    if (number > (uint64_t)INT64_MAX + (negative ? 1u : 0u)) {
        return false;
    }
    if (!negative) {
        *number_out = (int64_t)number;
    } else if (number == (uint64_t)INT64_MAX + 1u) {
        *number_out = INT64_MIN;
    } else {
        *number_out = -(int64_t)number;
    }
    return true;
}

static bool utf8_continues(const char *text, size_t from, size_t length) {
    for (size_t i = from; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0u) != 0x80u) {
            return false;
        }
    }
    return true;
}

size_t fx_cli_utf8_length(const char *text, size_t size) {
    unsigned first = (unsigned char)text[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = 4;
    /* The second byte's bounds refuse overlong forms, surrogates and what is above U+10FFFF. */
    unsigned low = 0x80;
    unsigned high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
        length = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        length = 3;
        low = first == 0xe0 ? 0xa0 : 0x80;
        high = first == 0xed ? 0x9f : 0xbf;
    } else if (first >= 0xf0 && first <= 0xf4) {
        low = first == 0xf0 ? 0x90 : 0x80;
        high = first == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (length > size) {
        return 0;
    }
    unsigned second = (unsigned char)text[1];
    if (second < low || second > high) {
        return 0;
    }
    return utf8_continues(text, 2, length) ? length : 0;
}

bool fx_cli_utf8_valid(const char *text, size_t size) {
    for (size_t i = 0; i < size;) {
        size_t length = fx_cli_utf8_length(text + i, size - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}
