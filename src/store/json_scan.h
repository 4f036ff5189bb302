/* json_scan: the JSON text itself: is it JSON, where do values end, what do strings mean.
 * Pure functions; any thread. All are linear in the bytes they pass; none allocates or recurses.
 *
 * Only fx_json_validate meets untrusted text. The others demand text that it accepted, and check
 * nothing but the end.
 */
#ifndef FX_STORE_JSON_SCAN_H
#define FX_STORE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "feox.h"

/* A patch may nest this much deeper than a document: operations are in objects in an array. */
#define FX_JSON_PATCH_LEVELS 2u

/* Strict RFC 8259 and at most FX_JSON_DEPTH_MAX + `depth_more` levels: FEOX_OK or FEOX_ERR_JSON,
 * with the offset in the error detail; `name` says there which text it was. Escaped lone surrogates
 * are accepted: the grammar has them. Texts of 4 GiB and more are FEOX_ERR_TOO_LARGE. */
feox_status fx_json_validate(const char *name, const char *text, size_t text_len,
                             unsigned depth_more);

/* The first byte from `at` that is not white space, or `end`. */
const char *fx_json_space(const char *at, const char *end);
/* The byte behind the string that begins at `at`. */
const char *fx_json_skip_string(const char *at, const char *end);
/* The byte behind the value that begins at `at`. height_out receives its levels: 0 for a scalar. */
const char *fx_json_skip(const char *at, const char *end, unsigned *height_out);

/* What a string (quotes included) means, as UTF-8; a lone surrogate becomes its three bytes, so
 * that two strings decode to the same bytes exactly if their code units are the same. `out` holds
 * at least text_len bytes; returns how many were written. */
size_t fx_json_decode(const char *text, size_t text_len, char *out);
/* Decodes the one escape (a pair of surrogates is one) at `at` to at most four bytes; returns the
 * byte behind it. */
const char *fx_json_decode_escape(const char *at, const char *end, char *out, size_t *out_len);
/* The other way round, with quotes and no needless escapes. `out` may be NULL: only the length. */
size_t fx_json_encode(const char *decoded, size_t decoded_len, char *out);

/* Whether two number tokens have the same exact decimal value. */
bool fx_json_number_equal(const char *a, size_t a_len, const char *b, size_t b_len);
/* Whether two string tokens mean the same. */
bool fx_json_string_equal(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
