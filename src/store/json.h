/* json: RFC 6902 and RFC 7396 on the raw bytes of a document. Pure functions; any thread.
 *
 * A strict RFC 8259 scanner turns the text into spans; a patch edits spans; the result is the spans
 * written out: what the patch does not touch keeps its bytes, and what it adds has the patch's
 * bytes and no white space around. The space around a value that is replaced stays, that around a
 * removed one goes. Limits: FX_JSON_DEPTH_MAX for the document and the result (a patch may nest two
 * levels deeper, for its operations), FX_JSON_OPERATIONS_MAX, and `result_limit`, which holds after
 * each operation. An object with two members of one name is refused where a path leads through or
 * into it, or a test compares it; it may be moved, copied, replaced and removed as a whole.
 *
 * Cost: one pass over each text, another over each container that is addressed (n log n for an
 * object), O(log children) for each operation after that. Memory: about 100 bytes for each member
 * of an addressed object, at most 96 times the input and 256 MiB. Under 1 us for small documents.
 */
#ifndef FX_STORE_JSON_H
#define FX_STORE_JSON_H

#include <stddef.h>

#include "feox.h"

/* Both: FEOX_OK and a result from fx_mem_alloc (release with fx_mem_free), or FEOX_ERR_JSON
 * (document or patch is not JSON or too deep), FEOX_ERR_PATCH (does not apply, malformed operation,
 * failed test), FEOX_ERR_TOO_LARGE (the result), FEOX_ERR_MEMORY; fx_error_set names operation and
 * offset. */
feox_status fx_json_patch(const char *document, size_t document_len, const char *patch,
                          size_t patch_len, size_t result_limit, char **result_out,
                          size_t *result_len_out);
feox_status fx_json_merge(const char *document, size_t document_len, const char *merge,
                          size_t merge_len, size_t result_limit, char **result_out,
                          size_t *result_len_out);

#endif
