/* json: the time that long patches take on large documents, each of a kind that would be quadratic
 * if the tree were naive about it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/json.h"

#define LIMIT ((size_t)64 << 20)

static fx_rng rng;

/* 10,000 operations, made by `operation` and the number of each; ns. */
static uint64_t timed(const char *what, const char *document, const char *operation, unsigned count,
                      feox_status wanted) {
    char *patch = malloc((size_t)count * (strlen(operation) + 60) + 3);
    assert_non_null(patch);
    char *at = patch;
    *at++ = '[';
    for (unsigned i = 0; i < count; i++) {
        *at = ',';
        at += i > 0;
        for (const char *c = operation; *c != '\0'; c++) {
            /* # is the operation's number, ? a random one. */
            if (*c == '#' || *c == '?') {
                at += sprintf(at, "%u", *c == '#' ? i : (unsigned)fx_rng_below(&rng, 50000));
            } else {
                *at++ = *c;
            }
        }
    }
    *at++ = ']';
    char *result;
    size_t result_len;
    uint64_t start = fx_clock_monotonic_ns();
    feox_status status = fx_json_patch(document, strlen(document), patch, (size_t)(at - patch),
                                       LIMIT, &result, &result_len);
    uint64_t spent = fx_clock_monotonic_ns() - start;
    print_message("%7.1f ms  %s\n", (double)spent / 1e6, what);
    if (status != wanted) {
        fail_msg("status %d: %s", (int)status, fx_error_text());
    }
    fx_mem_free(result);
    free(patch);
    return spent;
}

static void test_time(void **state) {
    (void)state;
    fx_rng_init(&rng, 1);
    char *array = malloc((size_t)4 << 20);
    char *object = malloc((size_t)4 << 20);
    assert_true(array != NULL && object != NULL);
    char *at = array + sprintf(array, "{\"a\":[0");
    for (int i = 1; i < 300000; i++) {
        at += sprintf(at, ",%d", i % 100);
    }
    (void)sprintf(at, "]}");
    at = object + sprintf(object, "{\"o\":{\"x\":1");
    for (int i = 0; i < 100000; i++) {
        at += sprintf(at, ",\"k%d\":[%d]", i, i);
    }
    (void)sprintf(at, "}}");
    uint64_t spent = 0;
    spent += timed("insert at the front of an array", array,
                   "{\"op\":\"add\",\"path\":\"/a/0\",\"value\":#}", 10000, FEOX_OK);
    spent += timed("remove anywhere from an array", array, "{\"op\":\"remove\",\"path\":\"/a/?\"}",
                   10000, FEOX_OK);
    spent += timed("move in an array", array,
                   "{\"op\":\"move\",\"from\":\"/a/?\",\"path\":\"/a/?\"}", 10000, FEOX_OK);
    spent += timed("replace a member's element", object,
                   "{\"op\":\"replace\",\"path\":\"/o/k?/0\",\"value\":\"new\"}", 10000, FEOX_OK);
    spent += timed("add members", object, "{\"op\":\"add\",\"path\":\"/o/n#\",\"value\":{}}", 10000,
                   FEOX_OK);
    spent += timed("change an array and copy it whole", array,
                   "{\"op\":\"replace\",\"path\":\"/a/?\",\"value\":{}},"
                   "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}",
                   5000, FEOX_OK);
    spent += timed("copy an object whole and change the copy", object,
                   "{\"op\":\"copy\",\"from\":\"/o\",\"path\":\"/b\"},"
                   "{\"op\":\"replace\",\"path\":\"/b/k?/0\",\"value\":{}}",
                   5000, FEOX_OK);
    spent += timed("copies until the result is too large", array,
                   "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/c#\"}", 100, FEOX_ERR_TOO_LARGE);
    spent += timed("copy, and copy out of the copy", object,
                   "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/b\"},"
                   "{\"op\":\"copy\",\"from\":\"/b/o\",\"path\":\"/b\"}",
                   5000, FEOX_OK);
    /* Short to write and long to compare. */
    memset(array, '0', (size_t)1 << 20);
    memcpy(array, "{\"a\":1", 6);
    strcpy(array + ((size_t)1 << 20), "}");
    char test[100];
    (void)snprintf(test, sizeof test, "{\"op\":\"test\",\"path\":\"/a\",\"value\":1e%u}",
                   (1u << 20) - 6);
    spent += timed("compare a million zeros", array, test, 10000, FEOX_ERR_PATCH);
    (void)timed("compare a million zeros a few times", array, test, 100, FEOX_OK);
    /* Many times what it takes, and far from what a quadratic way would. */
    assert_true(spent < (uint64_t)30000000000u);
    free(array);
    free(object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
