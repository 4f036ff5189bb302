/* json: finds slices of JSON text without changing a byte of it.
 *
 * A text is checked once, strictly (RFC 8259, valid UTF-8, at most FX_CLI_JSON_DEPTH_MAX deep); the
 * other calls take only slices of checked text. Time is linear. Pure functions; any thread.
 */
#ifndef FX_CLI_JSON_H
#define FX_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/buffer.h"
#include "feox.h"

enum { FX_CLI_JSON_DEPTH_MAX = 512 };

/* NULL if `text` is one JSON value with white space around it; value_out is the value without the
 * space. Else what is wrong, and where. */
const char *fx_cli_json_check(const char *text, size_t size, feox_slice *value_out,
                              size_t *error_at_out);
/* Walks the members of an object or the elements of an array; *at begins as 0. name_out is the
 * name's string with its quotes, empty in an array. */
bool fx_cli_json_next(feox_slice container, size_t *at, feox_slice *name_out,
                      feox_slice *value_out);
/* The bytes that a string (with its quotes) stands for are appended to `out`. FX_CLI_DECODE_BAD if
 * an escape is half of a surrogate pair, for which there is no UTF-8. */
fx_cli_decoded fx_cli_json_decode(feox_slice string, fx_cli_buffer *out);
/* The member of that decoded name. 1: found, 0: none or not an object, 2: more
 * than one, -1: no memory. */
int fx_cli_json_member(feox_slice object, const char *name, size_t name_len,
                       feox_slice *value_out);
/* Follows a JSON Pointer (RFC 6901). NULL, or what is wrong. */
const char *fx_cli_json_pointer(feox_slice text, const char *pointer, feox_slice *value_out);

#endif
