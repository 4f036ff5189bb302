/* json: RFC 6902 and RFC 7396 on the raw bytes of a document. Pure functions; any thread.
 *
 * A strict RFC 8259 scanner turns the text into spans; a patch edits spans; the result is the spans
 * written out: what the patch does not touch keeps its bytes. Limits: FX_JSON_DEPTH_MAX,
 * FX_JSON_OPERATIONS_MAX, `result_limit`. Memory and time are linear in input + result for one
 * operation.
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
