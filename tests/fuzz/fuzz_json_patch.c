/* fuzz_json_patch: (document, 0 byte, patch), applied as a patch and as a merge patch. What has to
 * hold whatever they are: the result is JSON and within the limits, is what `test` says it is, and
 * the empty patch leaves it to the byte; a second merge changes nothing; a limit one byte lower is
 * one too low; a failure gives nothing.
 */
#define _GNU_SOURCE
#include <stdio.h>

#include "base/mem.h"
#include "fuzz/fuzz.h"
#include "store/json.h"
#include "store/json_scan.h"

#ifdef FEOX_FUZZ_CJSON
#include <cjson/cJSON.h>
#endif

#define LIMIT ((size_t)1 << 20)

typedef feox_status (*json_edit)(const char *document, size_t document_len, const char *patch,
                                 size_t patch_len, size_t result_limit, char **result_out,
                                 size_t *result_len_out);

/* cJSON 1.7 is right about valid text without numbers of more than 63 characters (it copies them to
 * a buffer) and without \u escapes (lone surrogates, zeros). */
static void check_with_cjson(const char *text, size_t size) {
#ifdef FEOX_FUZZ_CJSON
    size_t digits = 0;
    for (size_t i = 0; i < size; i++) {
        digits = text[i] != '\0' && strchr("0123456789.eE+-", text[i]) != NULL ? digits + 1 : 0;
        if (digits > 60 || (text[i] == '\\' && i + 1 < size && text[i + 1] == 'u')) {
            return;
        }
    }
    cJSON *parsed = cJSON_ParseWithLength(text, size);
    assert_non_null(parsed);
    cJSON_Delete(parsed);
#else
    (void)text;
    (void)size;
#endif
}

static void expect_same(const char *a, size_t a_len, const char *b, size_t b_len) {
    assert_int_equal(a_len, b_len);
    assert_memory_equal(a, b, a_len);
}

static bool is_outcome(feox_status status) {
    return status == FEOX_OK || status == FEOX_ERR_JSON || status == FEOX_ERR_PATCH ||
           status == FEOX_ERR_TOO_LARGE || status == FEOX_ERR_MEMORY;
}

/* `test` finds at the root what is there; or an object with two members of one name. */
static void check_test(const char *text, size_t size) {
    static const char head[] = "[{\"op\":\"test\",\"path\":\"\",\"value\":";
    char *patch = malloc(sizeof head + size + 2);
    memcpy(patch, head, sizeof head - 1);
    memcpy(patch + sizeof head - 1, text, size);
    memcpy(patch + sizeof head - 1 + size, "}]", 2);
    char *result = NULL;
    size_t result_len = 0;
    feox_status status =
        fx_json_patch(text, size, patch, sizeof head + 1 + size, LIMIT, &result, &result_len);
    assert_true(status == FEOX_OK || status == FEOX_ERR_PATCH);
    if (status == FEOX_OK) {
        expect_same(result, result_len, text, size);
    }
    fx_mem_free(result);
    free(patch);
}

static void check_result(const char *text, size_t size) {
    char *result = NULL;
    size_t result_len = 0;
    assert_true(size <= LIMIT);
    assert_int_equal(fx_json_validate("result", text, size, 0), FEOX_OK);
    check_with_cjson(text, size);
    assert_int_equal(fx_json_patch(text, size, "[]", 2, LIMIT, &result, &result_len), FEOX_OK);
    expect_same(result, result_len, text, size);
    fx_mem_free(result);
    check_test(text, size);
}

/* The same again with one byte less. */
static void check_limit(json_edit edit, const char *document, size_t document_len,
                        const char *patch, size_t patch_len, size_t result_len) {
    char *result = (char *)&result;
    size_t length = 77;
    assert_int_equal(
        edit(document, document_len, patch, patch_len, result_len - 1, &result, &length),
        FEOX_ERR_TOO_LARGE);
    assert_null(result);
    assert_int_equal(length, 0);
}

static void check_again(const char *text, size_t size, const char *merge, size_t merge_len) {
    char *result = NULL;
    size_t result_len = 0;
    assert_int_equal(fx_json_merge(text, size, merge, merge_len, LIMIT, &result, &result_len),
                     FEOX_OK);
    expect_same(result, result_len, text, size);
    fx_mem_free(result);
}

static void try_edit(json_edit edit, const char *document, size_t document_len, const char *patch,
                     size_t patch_len) {
    char *result = (char *)&result;
    size_t result_len = 77;
    feox_status status =
        edit(document, document_len, patch, patch_len, LIMIT, &result, &result_len);
    assert_true(is_outcome(status));
    if (status != FEOX_OK) {
        assert_null(result);
        assert_int_equal(result_len, 0);
        return;
    }
    assert_int_equal(fx_json_validate("document", document, document_len, 0), FEOX_OK);
    check_result(result, result_len);
    check_limit(edit, document, document_len, patch, patch_len, result_len);
    if (edit == fx_json_merge) {
        check_again(result, result_len, patch, patch_len);
    }
    fx_mem_free(result);
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    (void)count;
    (void)words;
    fuzz_begin();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size > 0 ? memchr(data, 0, size) : NULL;
    size_t document_len = cut != NULL ? (size_t)(cut - data) : size;
    size_t patch_len = cut != NULL ? size - document_len - 1 : 0;
    char *document = fuzz_copy(data, document_len);
    char *patch = fuzz_copy(cut != NULL ? cut + 1 : data, patch_len);
    try_edit(fx_json_patch, document, document_len, patch, patch_len);
    try_edit(fx_json_merge, document, document_len, patch, patch_len);
    if (document_len > 0) {
        assert_memory_equal(document, data, document_len);
    }
    if (patch_len > 0) {
        assert_memory_equal(patch, cut + 1, patch_len);
    }
    free(document);
    free(patch);
    return 0;
}
