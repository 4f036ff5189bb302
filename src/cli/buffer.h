/* buffer: growable bytes, and the notations in which the command reads bytes from text.
 *
 * The only place of the command that allocates. Single-threaded. Appending costs amortised O(1) a
 * byte. A function that returns bool returns false when memory ran out, or where said, when the
 * text is not in its notation.
 */
#ifndef FX_CLI_BUFFER_H
#define FX_CLI_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is an empty buffer. */
typedef struct fx_cli_buffer {
    char *data;
    size_t size;
    size_t capacity;
} fx_cli_buffer;

/* Makes room for `more` bytes behind the present ones. */
bool fx_cli_buffer_reserve(fx_cli_buffer *buffer, size_t more);
bool fx_cli_buffer_append(fx_cli_buffer *buffer, const void *data, size_t size);
void fx_cli_buffer_free(fx_cli_buffer *buffer);

/* What a decoder found. */
typedef enum fx_cli_decoded {
    FX_CLI_DECODED = 0,
    FX_CLI_DECODE_BAD = 1,   /* the text is not in the notation */
    FX_CLI_DECODE_MEMORY = 2 /* no memory */
} fx_cli_decoded;

/* These append what `text` stands for. Hexadecimal: two digits a byte, either case. */
fx_cli_decoded fx_cli_decode_hex(const char *text, size_t size, fx_cli_buffer *out);
/* Base64 of RFC 4648 section 4, with padding. */
fx_cli_decoded fx_cli_decode_base64(const char *text, size_t size, fx_cli_buffer *out);
/* The notation of fx_cli_out_escaped: \\ \t \n \r \" and \xHH with exactly two digits. */
fx_cli_decoded fx_cli_decode_escaped(const char *text, size_t size, fx_cli_buffer *out);

/* The value of a hexadecimal digit, or -1. */
int fx_cli_hex_digit(char c);
/* Decimal digits only; false if there is anything else, nothing, or more than 64 bits. */
bool fx_cli_parse_number(const char *text, uint64_t *number_out);
/* The same with a sign in front. */
bool fx_cli_parse_signed(const char *text, int64_t *number_out);

/* The length of the valid UTF-8 sequence that `text` begins with, or 0. `size` is at least 1. */
size_t fx_cli_utf8_length(const char *text, size_t size);
bool fx_cli_utf8_valid(const char *text, size_t size);

#endif
