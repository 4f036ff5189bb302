/* json: the suite of json-patch/json-patch-tests, found through FEOX_JSON_PATCH_TESTS (a directory)
 * or beside the sources; where it is absent the test is skipped. cJSON reads it and is the oracle
 * for the results, our own "test" operation is the other; the bytes handed to the library are cut
 * out of the file, because cJSON would change numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <cJSON.h>

#include "base/error.h"
#include "base/mem.h"
#include "store/json.h"
#include "store/json_scan.h"

#define LIMIT ((size_t)1 << 20)

typedef struct text {
    const char *at; /* NULL: there is none */
    size_t len;
} text;

static char *file_read(const char *name, size_t *len_out) {
    const char *directory = getenv("FEOX_JSON_PATCH_TESTS");
    char path[1000];
    (void)snprintf(
        path, sizeof path, "%s/%s",
        directory != NULL ? directory : FEOX_SOURCE_DIR "/../shared/data/json-patch-tests", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        print_message("%s is not there\n", path);
        return NULL;
    }
    char *data = malloc(1 << 20);
    assert_non_null(data);
    *len_out = fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    return data;
}

/* The bytes of a member of the object at `at`. */
static text member_bytes(const char *at, const char *end, const char *name) {
    text found = {0};
    unsigned height;
    at = fx_json_space(at + 1, end);
    while (*at != '}') {
        const char *key = at;
        at = fx_json_skip_string(at, end);
        bool same =
            (size_t)(at - key) == strlen(name) + 2 && memcmp(key + 1, name, strlen(name)) == 0;
        at = fx_json_space(fx_json_space(at, end) + 1, end);
        const char *stop = fx_json_skip(at, end, &height);
        if (same) {
            found = (text){.at = at, .len = (size_t)(stop - at)};
        }
        at = fx_json_space(stop, end);
        at = *at == ',' ? fx_json_space(at + 1, end) : at;
    }
    return found;
}

/* Our own opinion on whether the result is what is expected. */
static bool result_equal(const char *result, size_t result_len, text expected) {
    char *patch = malloc(expected.len + 100);
    assert_non_null(patch);
    int len = sprintf(patch, "[{\"op\":\"test\",\"path\":\"\",\"value\":%.*s}]", (int)expected.len,
                      expected.at);
    char *again;
    size_t again_len;
    feox_status status =
        fx_json_patch(result, result_len, patch, (size_t)len, LIMIT, &again, &again_len);
    fx_mem_free(again);
    free(patch);
    return status == FEOX_OK;
}

/* One case; false if it went wrong. A disabled case without `expected` or `error` must apply. */
static bool run_case(const char *at, const char *end, const cJSON *record) {
    text document = member_bytes(at, end, "doc");
    text patch = member_bytes(at, end, "patch");
    text expected = member_bytes(at, end, "expected");
    bool refuse = cJSON_GetObjectItemCaseSensitive(record, "error") != NULL;
    char *result;
    size_t result_len;
    assert_true(document.at != NULL && patch.at != NULL);
    feox_status status =
        fx_json_patch(document.at, document.len, patch.at, patch.len, LIMIT, &result, &result_len);
    bool good = status == (refuse ? FEOX_ERR_PATCH : FEOX_OK);
    if (good && expected.at != NULL) {
        cJSON *got = cJSON_ParseWithLength(result, result_len);
        good = result_equal(result, result_len, expected) &&
               cJSON_Compare(got, cJSON_GetObjectItemCaseSensitive(record, "expected"), true);
        cJSON_Delete(got);
    }
    if (!good) {
        print_error("%.*s\nstatus %d %s, result %.*s\n", (int)(end - at), at, (int)status,
                    fx_error_text(), (int)result_len, result != NULL ? result : "");
    }
    fx_mem_free(result);
    return good;
}

static void run_suite(const char *name, int enabled_wanted, int disabled_wanted) {
    size_t len = 0;
    char *data = file_read(name, &len);
    if (data == NULL) {
        print_message("skipped: the suite of RFC 6902 is not beside the sources: %s\n", name);
        skip();
    }
    assert_int_equal(fx_json_validate(name, data, len, 0), FEOX_OK);
    cJSON *suite = cJSON_ParseWithLength(data, len);
    assert_true(cJSON_IsArray(suite));
    const char *end = data + len;
    const char *at = fx_json_space(fx_json_space(data, end) + 1, end);
    int enabled = 0;
    int disabled = 0;
    int failed = 0;
    const cJSON *record;
    cJSON_ArrayForEach(record, suite) {
        unsigned height;
        const char *stop = fx_json_skip(at, end, &height);
        bool off = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(record, "disabled"));
        enabled += !off;
        disabled += off;
        failed += !run_case(at, stop, record);
        at = fx_json_space(stop, end);
        at = *at == ',' ? fx_json_space(at + 1, end) : at;
    }
    print_message("%s: %d enabled and %d disabled cases, %d failed\n", name, enabled, disabled,
                  failed);
    cJSON_Delete(suite);
    free(data);
    assert_int_equal(failed, 0);
    assert_true(enabled >= enabled_wanted && disabled >= disabled_wanted);
}

static void test_suite(void **state) {
    (void)state;
    run_suite("tests.json", 92, 3);
}

static void test_spec_suite(void **state) {
    (void)state;
    run_suite("spec_tests.json", 16, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),
        cmocka_unit_test(test_spec_suite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
