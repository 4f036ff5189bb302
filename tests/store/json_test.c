/* json: every way that is known to lose data (cJSON's among them), limits, bytes that must stay,
 * and random patches against a naive model that shares no code with the library.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/config.h"
#include "base/error.h"
#include "base/mem.h"
#include "store/json.h"

#define LIMIT ((size_t)64 << 20)

typedef feox_status (*json_function)(const char *, size_t, const char *, size_t, size_t, char **,
                                     size_t *);

/* Applies and compares; `expected` NULL: nothing but the status. */
static void expect(json_function function, const char *document, const char *patch,
                   feox_status status, const char *expected, const char *file, int line) {
    char *result;
    size_t result_len;
    feox_status got =
        function(document, strlen(document), patch, strlen(patch), LIMIT, &result, &result_len);
    bool same = got == status && (got == FEOX_OK) == (result != NULL);
    if (same && expected != NULL) {
        same = result_len == strlen(expected) && memcmp(result, expected, result_len) == 0;
    }
    if (!same) {
        print_error("%s with %s:\nstatus %d, wanted %d: %s\nresult %.*s\nwanted %s\n", document,
                    patch, (int)got, (int)status, fx_error_text(), (int)result_len,
                    result != NULL ? result : "", expected != NULL ? expected : "");
        _fail(file, line);
    }
    fx_mem_free(result);
}

#define PATCHED(document, patch, result)                                                           \
    expect(fx_json_patch, document, patch, FEOX_OK, result, __FILE__, __LINE__)
#define REFUSED(document, patch)                                                                   \
    expect(fx_json_patch, document, patch, FEOX_ERR_PATCH, NULL, __FILE__, __LINE__)
#define MERGED(document, patch, result)                                                            \
    expect(fx_json_merge, document, patch, FEOX_OK, result, __FILE__, __LINE__)
#define IS_JSON(text) PATCHED(text, "[]", text)
#define NOT_JSON(text) expect(fx_json_patch, text, "[]", FEOX_ERR_JSON, NULL, __FILE__, __LINE__)

/* Whether a "test" of the whole document says that both are equal. */
static bool equal(const char *a, const char *b) {
    char *patch = malloc(strlen(b) + 100);
    char *result;
    size_t result_len;
    assert_non_null(patch);
    (void)snprintf(patch, strlen(b) + 100, "[{\"op\":\"test\",\"path\":\"\",\"value\":%s}]", b);
    feox_status status =
        fx_json_patch(a, strlen(a), patch, strlen(patch), LIMIT, &result, &result_len);
    if (status != FEOX_OK && status != FEOX_ERR_PATCH) {
        fail_msg("%s against %s: %s", a, b, fx_error_text());
    }
    fx_mem_free(result);
    free(patch);
    return status == FEOX_OK;
}

static const char *const good_texts[] = {
    "0",
    "-0",
    "-0.0",
    "1e5",
    "1E+5",
    "1.5e-300",
    "1e999999999",
    "\"\"",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    " [ ] ",
    "\t\r\n{\n}\n",
    "[1 , 2]",
    "{\"a\" : 1 , \"a\" : 2}",
    "\"\\uD800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u0000\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\x7f\"",
    "\"\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
    "[[[{\"a\":[{}]}]]]"};
static const char *const bad_texts[] = {"",
                                        " ",
                                        "01",
                                        "-01",
                                        "1.",
                                        ".5",
                                        "-",
                                        "+1",
                                        "1e",
                                        "1e+",
                                        "0x10",
                                        "1-2",
                                        "NaN",
                                        "Infinity",
                                        "{} x",
                                        "nullx",
                                        "nul",
                                        "True",
                                        "\xef\xbb\xbf{}",
                                        "[1,]",
                                        "[,1]",
                                        "[1 2]",
                                        "[",
                                        "]",
                                        "[}",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "{1:1}",
                                        "{\"a\" 1}",
                                        "{\"a\":1 \"b\":2}",
                                        "{",
                                        "{\"a\":1]",
                                        "\"",
                                        "\"\\\"",
                                        "\"a",
                                        "\"\\x\"",
                                        "\"\\u12\"",
                                        "\"\\uZZZZ\"",
                                        "\"\\u12G4\"",
                                        "\"\n\"",
                                        "\"\x01\"",
                                        "\"\x1f\"",
                                        "'a'",
                                        "\"\x80\"",
                                        "\"\xc0\x80\"",
                                        "\"\xc1\xbf\"",
                                        "\"\xe0\x9f\xbf\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xf0\x8f\xbf\xbf\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "\"\xf5\x80\x80\x80\"",
                                        "\"\xff\"",
                                        "\"\xe2\x82\"",
                                        "\"\xe2",
                                        "1 1",
                                        "[1]]",
                                        "//\n1",
                                        "\v1",
                                        "\"\\",
                                        "\"\\u",
                                        "{\"a\":1,\"b\"",
                                        "{\"a\":1,",
                                        "t",
                                        "-a",
                                        "1.e5"};

static void test_grammar(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good_texts / sizeof good_texts[0]; i++) {
        IS_JSON(good_texts[i]);
    }
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++) {
        NOT_JSON(bad_texts[i]);
        expect(fx_json_merge, "{}", bad_texts[i], FEOX_ERR_JSON, NULL, __FILE__, __LINE__);
    }
    char *result;
    size_t length;
    assert_int_equal(fx_json_patch(NULL, 0, "[]", 2, LIMIT, &result, &length), FEOX_ERR_JSON);
    assert_int_equal(fx_json_patch("{}", 2, NULL, 0, LIMIT, &result, &length), FEOX_ERR_JSON);
    /* A zero byte is no white space, and ends nothing. */
    assert_int_equal(fx_json_patch("1\0", 2, "[]", 2, LIMIT, &result, &length), FEOX_ERR_JSON);
    assert_int_equal(fx_json_patch("\"a\0b\"", 5, "[]", 2, LIMIT, &result, &length), FEOX_ERR_JSON);
    assert_int_equal(fx_json_patch("\"\\\0\"", 4, "[]", 2, LIMIT, &result, &length), FEOX_ERR_JSON);
}

/* Every prefix of a text, in memory of exactly its size so that a sanitizer sees any read behind.
 */
static void test_prefixes(void **state) {
    (void)state;
    static const char text[] =
        "{\"a\\u00e9\":[1.5e+3,true,{\"b\":\"\xf0\x9f\x98\x80\\n\"}],\"c\":null}";
    for (size_t length = 0; length < sizeof text; length++) {
        char *copy = malloc(length > 0 ? length : 1);
        assert_non_null(copy);
        memcpy(copy, text, length);
        char *result;
        size_t result_len;
        feox_status wanted = length == sizeof text - 1 ? FEOX_OK : FEOX_ERR_JSON;
        if (length < sizeof text - 1 || wanted == FEOX_OK) {
            assert_int_equal(fx_json_patch(copy, length, "[]", 2, LIMIT, &result, &result_len),
                             wanted);
            fx_mem_free(result);
        }
        free(copy);
    }
}

static void test_bytes_stay(void **state) {
    (void)state;
    /* Numbers that a double cannot hold, spellings, order, zero characters, white space. */
    PATCHED(" {\"b\": 9007199254740993, \"a\" :18446744073709551615,\"d\":1.10,\"e\":1E400 , "
            "\"f\":-0,\"g\":\"x\\u0000y\",\"h\\u0000i\":\"\\/\",\"x\":0} \n",
            "[{\"op\":\"replace\",\"path\":\"/x\",\"value\": 0.30000000000000004 }]",
            " {\"b\": 9007199254740993, \"a\" :18446744073709551615,\"d\":1.10,\"e\":1E400 , "
            "\"f\":-0,\"g\":\"x\\u0000y\",\"h\\u0000i\":\"\\/\",\"x\":0.30000000000000004} \n");
    PATCHED("{\n  \"a\": 1,\n  \"b\": 2\n}\n", "[{\"op\":\"remove\",\"path\":\"/b\"}]",
            "{\n  \"a\": 1\n}\n");
    PATCHED("{\n  \"a\": 1,\n  \"b\": 2\n}\n", "[{\"op\":\"remove\",\"path\":\"/a\"}]",
            "{\n  \"b\": 2\n}\n");
    PATCHED("[ 1 , 2 , 3 ]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", "[ 1 , 3 ]");
    PATCHED("[ 1 , 2 , 3 ]", "[{\"op\":\"remove\",\"path\":\"/2\"}]", "[ 1 , 2  ]");
    PATCHED("[ 1 , 2 ]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\": [ ] }]", "[ 1 ,[ ], 2 ]");
    PATCHED("[ 1 ]", "[{\"op\":\"remove\",\"path\":\"/0\"}]", "[ ]");
    PATCHED("[ 1 ]",
            "[{\"op\":\"remove\",\"path\":\"/0\"},{\"op\":\"add\",\"path\":\"/-\",\"value\":7}]",
            "[7 ]");
    PATCHED("{ }", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]", "{\"a\":1 }");
    /* The member keeps its place and its spelling when its value is replaced. */
    PATCHED("{\"\\u0061\" : 1,\"b\":2}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":3}]",
            "{\"\\u0061\" : 3,\"b\":2}");
    /* A test changes nothing, not even the order. */
    PATCHED("{\"b\":1,\"a\":{\"d\":1,\"c\":2}}",
            "[{\"op\":\"test\",\"path\":\"\",\"value\":{\"a\":{\"c\":2,\"d\":1},\"b\":1.0}}]",
            "{\"b\":1,\"a\":{\"d\":1,\"c\":2}}");
    /* Names that need escapes. */
    PATCHED("{}",
            "[{\"op\":\"add\",\"path\":\"/\\\"\\\\\\u0000\\n\\u001f\\ud800x\\u00e9\",\"value\":1}]",
            "{\"\\\"\\\\\\u0000\\n\\u001f\\ud800x\xc3\xa9\":1}");
    PATCHED("{}", "[{\"op\":\"add\",\"path\":\"/\\ud83d\\ude00\\udfff\",\"value\":1}]",
            "{\"\xf0\x9f\x98\x80\\udfff\":1}");
}

/* What cJSON_Utils 1.7.15 and 1.7.19 get wrong. */
static void test_traps(void **state) {
    (void)state;
    /* All or nothing. */
    REFUSED("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2},"
                         "{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]");
    /* A move into its own child, and to nowhere. */
    REFUSED("{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]");
    REFUSED("{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b/c\"}]");
    REFUSED("{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/x/y\"}]");
    REFUSED("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"\",\"path\":\"/a\"}]");
    PATCHED("{\"a\":{\"b\":1},\"ab\":2}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/ab\"}]",
            "{\"ab\":{\"b\":1}}");
    PATCHED("{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/a\"}]",
            "{\"a\":1}");
    PATCHED("{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"\"}]", "1");
    PATCHED("{\"a\":1,\"b\":2}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]",
            "{\"a\":1,\"b\":2}");
    PATCHED("[1,2]", "[{\"op\":\"move\",\"from\":\"\",\"path\":\"\"}]", "[1,2]");
    REFUSED("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/b\"}]");
    /* Operations without what they need, or with the wrong kind of it. */
    REFUSED("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\"}]");
    REFUSED("{\"a\":1}", "[{\"op\":\"move\",\"from\":1,\"path\":\"/b\"}]");
    REFUSED("{\"a\":1}", "[{\"op\":\"copy\",\"from\":null,\"path\":\"/b\"}]");
    REFUSED("{\"a\":1}", "[{\"op\":1,\"path\":\"/a\"}]");
    REFUSED("{\"a\":1}", "[{\"path\":\"/a\",\"value\":1}]");
    REFUSED("{\"a\":1}", "[{\"op\":\"Remove\",\"path\":\"/a\"}]");
    REFUSED("{\"a\":1}", "[{\"op\":\"remove\",\"path\":7}]");
    REFUSED("{\"a\":1}", "[[]]");
    REFUSED("{\"a\":1}", "[null]");
    REFUSED("{\"a\":1}", "{}");
    REFUSED("{\"a\":1}", "null");
}

static void test_whole_and_case(void **state) {
    (void)state;
    /* The whole document. */
    REFUSED("{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]");
    PATCHED("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":null}]", "null");
    PATCHED("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":[ 1]}]", "[ 1]");
    PATCHED("1", "[{\"op\":\"test\",\"path\":\"\",\"value\":1}]", "1");
    REFUSED("1", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]");
    /* Names differ by case. */
    PATCHED("{\"Name\":1,\"name\":2}", "[{\"op\":\"replace\",\"path\":\"/name\",\"value\":9}]",
            "{\"Name\":1,\"name\":9}");
    PATCHED("{\"Name\":1,\"name\":2}", "[{\"op\":\"remove\",\"path\":\"/name\"}]", "{\"Name\":1}");
    PATCHED("{\"Name\":1,\"name\":2}", "[{\"op\":\"move\",\"from\":\"/name\",\"path\":\"/x\"}]",
            "{\"Name\":1,\"x\":2}");
}

static void test_pointers(void **state) {
    (void)state;
    /* Escapes of pointers. */
    PATCHED("{}", "[{\"op\":\"add\",\"path\":\"/a~1b\",\"value\":1}]", "{\"a/b\":1}");
    PATCHED("{}", "[{\"op\":\"add\",\"path\":\"/~01~10~0\",\"value\":1}]", "{\"~1/0~\":1}");
    PATCHED("{\"a/b\":{\"c~d\":1}}", "[{\"op\":\"remove\",\"path\":\"/a~1b/c~0d\"}]",
            "{\"a/b\":{}}");
    REFUSED("{\"a~2\":1,\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/a~2\"}]");
    REFUSED("{\"a~\":1,\"a/\":1}", "[{\"op\":\"remove\",\"path\":\"/a~2\"}]");
    REFUSED("{\"a~\":1}", "[{\"op\":\"remove\",\"path\":\"/a~\"}]");
    REFUSED("{}", "[{\"op\":\"add\",\"path\":\"/~\",\"value\":1}]");
    REFUSED("{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"a\"}]");
    /* Array indexes. */
    static const char *const indexes[] = {"",
                                          "00",
                                          "01",
                                          "-0",
                                          "-1",
                                          "+1",
                                          "1e0",
                                          " 1",
                                          "1 ",
                                          "0x1",
                                          "a",
                                          "--",
                                          "18446744073709551616",
                                          "18446744073709551617",
                                          "4294967296",
                                          "4294967297",
                                          "99999999999999999999999",
                                          "3",
                                          "-"};
    for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
        static const char *const ops[] = {"[{\"op\":\"remove\",\"path\":\"/%s\"}]",
                                          "[{\"op\":\"replace\",\"path\":\"/%s\",\"value\":9}]",
                                          "[{\"op\":\"test\",\"path\":\"/%s\",\"value\":1}]",
                                          "[{\"op\":\"copy\",\"from\":\"/%s\",\"path\":\"/0\"}]",
                                          "[{\"op\":\"move\",\"from\":\"/%s\",\"path\":\"/0\"}]",
                                          "[{\"op\":\"add\",\"path\":\"/%s/x\",\"value\":1}]"};
        for (size_t j = 0; j < sizeof ops / sizeof ops[0]; j++) {
            char patch[200];
            (void)snprintf(patch, sizeof patch, ops[j], indexes[i]);
            REFUSED("[1,2,3]", patch);
        }
    }
    REFUSED("[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":1}]");
    PATCHED("[1]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2}]", "[1,2]");
    PATCHED("{\"-\":1}", "[{\"op\":\"remove\",\"path\":\"/-\"}]", "{}");
}

static void test_names(void **state) {
    (void)state;
    /* Two members of one name. */
    REFUSED("{\"a\":1,\"a\":2}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":3}]");
    REFUSED("{\"a\":1,\"a\":2}", "[{\"op\":\"remove\",\"path\":\"/a\"}]");
    REFUSED("{\"a\":1,\"\\u0061\":2}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":3}]");
    REFUSED("{\"a\":{\"b\":1},\"a\":2}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":3}]");
    REFUSED("{\"x\":{\"a\":1,\"a\":1}}",
            "[{\"op\":\"test\",\"path\":\"/x\",\"value\":{\"a\":1,\"a\":1}}]");
    REFUSED("{\"x\":{\"a\":1}}", "[{\"op\":\"test\",\"path\":\"/x\",\"value\":{\"a\":1,\"a\":1}}]");
    REFUSED("[{\"a\":1,\"a\":1}]",
            "[{\"op\":\"test\",\"path\":\"\",\"value\":[{\"a\":1,\"a\":1}]}]");
    PATCHED("{\"x\":{\"a\":1,\"a\":2},\"y\":1}", "[{\"op\":\"remove\",\"path\":\"/y\"}]",
            "{\"x\":{\"a\":1,\"a\":2}}");
    PATCHED(
        "{\"x\":{\"a\":1,\"a\":2}}",
        "[{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/y\"},{\"op\":\"remove\",\"path\":\"/x\"}]",
        "{\"y\":{\"a\":1,\"a\":2}}");
    REFUSED("{\"x\":{\"a\":1,\"a\":2}}", "[{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/y\"},"
                                         "{\"op\":\"remove\",\"path\":\"/y/a\"}]");
    REFUSED("{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"op\":\"remove\"}]");
    REFUSED("{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"x\":1,\"x\":2}]");
    REFUSED("{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"\\u006fp\":\"add\"}]");
    PATCHED("{}", "[{\"\\u006fp\":\"\\u0061dd\",\"path\":\"/a\",\"value\":1,\"OP\":0}]",
            "{\"a\":1}");
    /* Zero characters. */
    PATCHED("{\"a\":1,\"a\\u0000b\":2}",
            "[{\"op\":\"replace\",\"path\":\"/a\\u0000b\",\"value\":3}]",
            "{\"a\":1,\"a\\u0000b\":3}");
    REFUSED("{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/a\\u0000b\"}]");
    REFUSED("{\"a\":1}", "[{\"op\":\"remove\\u0000\",\"path\":\"/a\"}]");
    assert_false(equal("\"x\\u0000y\"", "\"x\\u0000z\""));
    assert_false(equal("\"x\\u0000y\"", "\"x\""));
}

static const char *const same_numbers[][2] = {
    {"1", "1.0"},
    {"1e2", "100"},
    {"100e0", "1E+2"},
    {"-0", "0"},
    {"0.0", "-0e5"},
    {"0", "0e999999999999999999999999"},
    {"0.001", "1e-3"},
    {"0.0010", "10e-4"},
    {"123.456", "1.23456e2"},
    {"123456e-3", "123.4560"},
    {"1e999999999", "10e999999998"},
    {"1e999999999999999999999999999999", "0.1e1000000000000000000000000000000"},
    {"1e-1000000000000000000000000000000", "10e-1000000000000000000000000000001"},
    {"1e+0001", "10"},
    {"1e-0", "1"},
    {"-1.5", "-15e-1"},
    {"1e1", "100e-1"},
    {"100000000000000000000000000000000000000001",
     "1.00000000000000000000000000000000000000001e41"},
    {"10.10", "10.1"},
    {"1e99999999999999999999", "10e99999999999999999998"}};
static const char *const different_numbers[][2] = {
    {"9007199254740993", "9007199254740992"},
    {"1", "-1"},
    {"1.0", "1.0000000000000002"},
    {"0.1", "0.10000000000000001"},
    {"1e400", "1e401"},
    {"1e-400", "0"},
    {"1e999999999", "1"},
    {"1e99999999999999999999", "1e99999999999999999998"},
    {"12", "1.2"},
    {"1.2", "1.20001"},
    {"1e10", "1e-10"},
    {"10", "1"},
    {"101", "11"},
    {"1.01", "1.1"},
    {"0.5", "5"},
    {"1e9223372036854775808", "1e-9223372036854775808"},
    {"1e18446744073709551616", "1"},
    {"1e18446744073709551617", "10"},
    {"18446744073709551615", "18446744073709551616"},
    {"1", "\"1\""},
    {"1", "true"},
    {"0", "false"},
    {"0", "null"}};

static void test_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof same_numbers / sizeof same_numbers[0]; i++) {
        if (!equal(same_numbers[i][0], same_numbers[i][1]) ||
            !equal(same_numbers[i][1], same_numbers[i][0])) {
            fail_msg("%s is not %s", same_numbers[i][0], same_numbers[i][1]);
        }
    }
    for (size_t i = 0; i < sizeof different_numbers / sizeof different_numbers[0]; i++) {
        if (equal(different_numbers[i][0], different_numbers[i][1]) ||
            equal(different_numbers[i][1], different_numbers[i][0])) {
            fail_msg("%s is %s", different_numbers[i][0], different_numbers[i][1]);
        }
    }
}

/* A million digits, and an exponent of a million digits. */
static void test_long_numbers(void **state) {
    (void)state;
    size_t size = 1000000;
    char *a = malloc(size + 10);
    char *b = malloc(size + 10);
    assert_true(a != NULL && b != NULL);
    memset(a, '7', size);
    strcpy(a + size, "0e-1");
    memset(b, '7', size);
    b[size] = '\0';
    assert_true(equal(a, b));
    b[size / 2] = '8';
    assert_false(equal(a, b));
    memcpy(a, "1e", 2);
    a[size] = '\0';
    memcpy(b, a, size + 1);
    memcpy(b, "10e7", 4);
    assert_false(equal(a, b));
    b[size - 1] = '6';
    memcpy(b, "10", 2);
    b[2] = 'e';
    memmove(b + 3, b + 4, size - 3);
    memcpy(a + size - 1, "", 1);
    assert_false(equal(a, b));
    free(a);
    free(b);
}

static void test_strings(void **state) {
    (void)state;
    assert_true(equal("\"A\"", "\"\\u0041\""));
    assert_true(equal("\"\xc3\xa9\"", "\"\\u00E9\""));
    assert_true(equal("\"\xf0\x9f\x98\x80\"", "\"\\ud83d\\uDE00\""));
    assert_true(equal("\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
                      "\"/\\u0008\\u000c\\u000a\\u000d\\u0009\\u005c\\u0022\""));
    assert_true(equal("\"\\ud800\"", "\"\\uD800\""));
    assert_true(equal("\"\\udc00\\ud800\"", "\"\\uDC00\\uD800\""));
    assert_false(equal("\"\\ud800\"", "\"\\ud801\""));
    assert_false(equal("\"\\ud800\"", "\"\xef\xbf\xbd\""));
    assert_false(equal("\"\\ud83d\"", "\"\\ud83d\\ude00\""));
    assert_false(equal("\"a\"", "\"A\""));
    assert_false(equal("\"a\"", "\"ab\""));
    assert_false(equal("\"\"", "\"\\u0000\""));
    assert_true(equal("\"\\\\u0041\"", "\"\\u005cu0041\""));
    assert_false(equal("\"\\\\u0041\"", "\"A\""));
    /* Names mean what values mean; members have no order, elements have. */
    assert_true(equal("{\"\\u0041\":1,\"b\":[1,{}]}", "{\"b\" : [1.0,{ }], \"A\":1}"));
    assert_false(equal("{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}"));
    assert_false(equal("{\"a\":1,\"b\":2}", "{\"a\":1}"));
    assert_false(equal("{\"a\":1}", "{\"a\":1,\"b\":2}"));
    assert_false(equal("{\"a\":1}", "{\"ab\":1}"));
    assert_false(equal("{\"ab\":1}", "{\"a\":1}"));
    assert_false(equal("{\"a\":1}", "{\"a\\u0000\":1}"));
    assert_false(equal("{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}"));
    assert_false(equal("[1,2]", "[2,1]"));
    assert_false(equal("[1,2]", "[1,2,3]"));
    assert_false(equal("[]", "{}"));
    assert_false(equal("[]", "null"));
    assert_false(equal("true", "false"));
    assert_true(equal("null", " null "));
}

static void test_merge(void **state) {
    (void)state;
    /* The table of RFC 7396, appendix A. */
    static const char *const table[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        /* And what it leaves out: bytes, nested nulls, arrays with nulls, scalars as targets. */
        {" { \"z\" : 1.10 , \"a\":1E2 }\n", "{\"y\":12345678901234567890}",
         " { \"z\" : 1.10 , \"a\":1E2,\"y\":12345678901234567890 }\n"},
        {"{\"a\":{\"x\": 1, \"y\": 2}}", "{\"a\":{\"x\":null}}", "{\"a\":{ \"y\": 2}}"},
        {"{}", "{\"a\":[null,{\"b\":null}]}", "{\"a\":[null,{\"b\":null}]}"},
        {"1", "{\"a\":{\"b\":null,\"c\":{\"d\":null, \"e\":1}},\"f\":null}",
         "{\"a\":{\"c\":{ \"e\":1}}}"},
        {"{\"a\":5}", "{\"a\":{\"b\":null}}", "{\"a\":{}}"},
        {"{\"a\":5}", "{\"a\":{\"b\":{\"c\":1}}}", "{\"a\":{\"b\":{\"c\":1}}}"},
        {"{\"\\u0061\":1}", "{\"a\":2}", "{\"\\u0061\":2}"},
        {"{\"b\":1}", "{\"z\":1,\"a\":2,\"b\":3}", "{\"b\":3,\"z\":1,\"a\":2}"},
        {"{\"a\":1}", "{}", "{\"a\":1}"},
        {"[1]", "{}", "{}"},
        {"{\"a\":1}", "{\"b\":null}", "{\"a\":1}"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        MERGED(table[i][0], table[i][1], table[i][2]);
    }
    static const char *const refused[][2] = {{"{\"a\":1,\"a\":2}", "{\"a\":3}"},
                                             {"{\"a\":1}", "{\"b\":3,\"b\":4}"},
                                             {"{\"a\":1}", "{\"b\":{\"c\":3,\"c\":4}}"},
                                             {"{\"a\":{\"b\":1,\"b\":1}}", "{\"a\":{\"c\":1}}"}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect(fx_json_merge, refused[i][0], refused[i][1], FEOX_ERR_PATCH, NULL, __FILE__,
               __LINE__);
    }
    MERGED("{\"x\":{\"b\":1,\"b\":1}}", "{\"a\":1}", "{\"x\":{\"b\":1,\"b\":1},\"a\":1}");
}

static char *nested(unsigned depth, const char *open, const char *close) {
    char *text = malloc((size_t)depth * 16 + 16);
    assert_non_null(text);
    char *at = text;
    for (unsigned i = 0; i < depth; i++) {
        at += sprintf(at, "%s", open);
    }
    at += sprintf(at, "1");
    for (unsigned i = 0; i < depth; i++) {
        at += sprintf(at, "%s", close);
    }
    return text;
}

static void test_depth(void **state) {
    (void)state;
    static const char *const brackets[][2] = {{"[", "]"}, {"{\"a\":", "}"}};
    for (size_t i = 0; i < 2; i++) {
        char *most = nested(FX_JSON_DEPTH_MAX, brackets[i][0], brackets[i][1]);
        char *more = nested(FX_JSON_DEPTH_MAX + 1, brackets[i][0], brackets[i][1]);
        char *much = nested(1000000, brackets[i][0], brackets[i][1]);
        IS_JSON(most);
        NOT_JSON(more);
        NOT_JSON(much);
        assert_true(equal(most, most));
        expect(fx_json_merge, "{}", most, FEOX_OK, most, __FILE__, __LINE__);
        expect(fx_json_merge, most, most, FEOX_OK, most, __FILE__, __LINE__);
        char *patch = malloc(4000);
        assert_non_null(patch);
        /* To the bottom, and one level too deep: also by ways that no single text shows. */
        char *path = nested(FX_JSON_DEPTH_MAX, i == 0 ? "/0" : "/a", "");
        path[2 * FX_JSON_DEPTH_MAX] = '\0';
        (void)snprintf(patch, 4000, "[{\"op\":\"replace\",\"path\":\"%s\",\"value\":2}]", path);
        expect(fx_json_patch, most, patch, FEOX_OK, NULL, __FILE__, __LINE__);
        (void)snprintf(patch, 4000, "[{\"op\":\"replace\",\"path\":\"%s\",\"value\":[]}]", path);
        REFUSED(most, patch);
        (void)snprintf(patch, 4000, "[{\"op\":\"add\",\"path\":\"%s/0\",\"value\":[]}]", path);
        REFUSED(most, patch);
        path[2 * FX_JSON_DEPTH_MAX - 2] = '\0';
        (void)snprintf(patch, 4000,
                       "[{\"op\":\"remove\",\"path\":\"%s\"},{\"op\":\"add\",\"path\":\"\","
                       "\"value\":[]},{\"op\":\"copy\",\"from\":\"\",\"path\":\"/0\"}]",
                       path);
        PATCHED(most, patch, "[[]]");
        free(path);
        free(patch);
        free(most);
        free(more);
        free(much);
    }
    /* Doubling depth by copies is stopped, and depth that was removed again does not count. */
    char *bomb = malloc(100000);
    assert_non_null(bomb);
    char *at = bomb + sprintf(bomb, "[");
    for (unsigned i = 0; i < 8; i++) {
        at += sprintf(at, "%s{\"op\":\"copy\",\"from\":\"\",\"path\":\"", i > 0 ? "," : "");
        for (unsigned j = 0; j < 1u << i; j++) {
            at += sprintf(at, "/a");
        }
        at += sprintf(at, "\"}");
    }
    (void)sprintf(at, "]");
    REFUSED("{\"a\":1}", bomb);
    at = bomb + sprintf(bomb, "[");
    for (int i = 0; i < 200; i++) {
        at += sprintf(at,
                      "%s{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"},"
                      "{\"op\":\"replace\",\"path\":\"/a\",\"value\":%d}",
                      i > 0 ? "," : "", i);
    }
    (void)sprintf(at, "]");
    PATCHED("{\"a\":1}", bomb, "{\"a\":199}");
    free(bomb);
}

static void test_limits(void **state) {
    (void)state;
    char *result;
    size_t length;
    /* Operations. */
    char *patch = malloc((size_t)64 * (FX_JSON_OPERATIONS_MAX + 2));
    assert_non_null(patch);
    for (unsigned count = FX_JSON_OPERATIONS_MAX; count <= FX_JSON_OPERATIONS_MAX + 1; count++) {
        char *at = patch + sprintf(patch, "[");
        for (unsigned i = 0; i < count; i++) {
            at +=
                sprintf(at, "%s{\"op\":\"add\",\"path\":\"/0\",\"value\":%u}", i > 0 ? "," : "", i);
        }
        (void)sprintf(at, "]");
        assert_int_equal(fx_json_patch("[]", 2, patch, strlen(patch), LIMIT, &result, &length),
                         count > FX_JSON_OPERATIONS_MAX ? FEOX_ERR_PATCH : FEOX_OK);
        fx_mem_free(result);
    }
    /* Size: exactly the limit, one more, and in the middle of a patch that shrinks again. */
    static const char add[] = "[{\"op\":\"add\",\"path\":\"/b\",\"value\":\"xxxx\"}]";
    static const char shrink[] = "[{\"op\":\"add\",\"path\":\"/b\",\"value\":\"xxxx\"},"
                                 "{\"op\":\"remove\",\"path\":\"/b\"}]";
    size_t full = strlen("{\"a\":1,\"b\":\"xxxx\"}");
    assert_int_equal(fx_json_patch("{\"a\":1}", 7, add, sizeof add - 1, full, &result, &length), 0);
    assert_int_equal(length, full);
    fx_mem_free(result);
    assert_int_equal(fx_json_patch("{\"a\":1}", 7, add, sizeof add - 1, full - 1, &result, &length),
                     FEOX_ERR_TOO_LARGE);
    assert_int_equal(
        fx_json_patch("{\"a\":1}", 7, shrink, sizeof shrink - 1, full - 1, &result, &length),
        FEOX_ERR_TOO_LARGE);
    assert_int_equal(fx_json_patch("{\"a\":1}", 7, "[]", 2, 6, &result, &length),
                     FEOX_ERR_TOO_LARGE);
    assert_int_equal(fx_json_merge("{\"a\":1}", 7, "{\"b\":1}", 7, 13, &result, &length), 0);
    fx_mem_free(result);
    assert_int_equal(fx_json_merge("{\"a\":1}", 7, "{\"b\":1}", 7, 12, &result, &length),
                     FEOX_ERR_TOO_LARGE);
    /* The copy bomb: twice the size with each operation, for ever. */
    char *at = patch + sprintf(patch, "[");
    for (unsigned i = 0; i < 100; i++) {
        at +=
            sprintf(at, "%s{\"op\":\"copy\",\"from\":\"/0\",\"path\":\"/0/-\"}", i > 0 ? "," : "");
    }
    (void)sprintf(at, "]");
    assert_int_equal(fx_json_patch("[[1]]", 5, patch, strlen(patch), LIMIT, &result, &length),
                     FEOX_ERR_TOO_LARGE);
    at = patch + sprintf(patch, "[");
    for (unsigned i = 0; i < 100; i++) {
        at += sprintf(at, "%s{\"op\":\"copy\",\"from\":\"/s\",\"path\":\"/%s\"}", i > 0 ? "," : "",
                      i % 2 == 0 ? "t/0" : "t/1");
        at += sprintf(at, ",{\"op\":\"copy\",\"from\":\"/t\",\"path\":\"/s\"}");
    }
    (void)sprintf(at, "]");
    assert_int_equal(fx_json_patch("{\"s\":[1],\"t\":[1]}", 17, patch, strlen(patch), LIMIT,
                                   &result, &length) < 0,
                     true);
    assert_null(result);
    at = patch + sprintf(patch, "[");
    for (unsigned i = 0; i < 40; i++) {
        at +=
            sprintf(at, "%s{\"op\":\"copy\",\"from\":\"\",\"path\":\"/c%u\"}", i > 0 ? "," : "", i);
    }
    (void)sprintf(at, "]");
    assert_int_equal(fx_json_patch("{\"a\":1}", 7, patch, strlen(patch), LIMIT, &result, &length),
                     FEOX_ERR_TOO_LARGE);
    free(patch);
}

static void test_error_detail(void **state) {
    (void)state;
    static const char patch[] = "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}, "
                                "{\"op\":\"remove\",\"path\":\"/b\"}]";
    char wanted[100];
    (void)snprintf(wanted, sizeof wanted, "operation 1 at offset %zu of the patch",
                   (size_t)(strchr(patch + 2, '{') - patch));
    REFUSED("{\"a\":1}", patch);
    assert_non_null(strstr(fx_error_text(), wanted));
    NOT_JSON("{\"a\":x}");
    assert_non_null(strstr(fx_error_text(), "offset 5"));
}

/* Every allocation fails once: the status says so, nothing leaks, and a later try works. */
static void test_memory(void **state) {
    (void)state;
    static const char patch[] =
        "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"add\",\"path\":\"/b/"
        "1\",\"value\":[1]},"
        "{\"op\":\"move\",\"from\":\"/a/2\",\"path\":\"/c~1\"},"
        "{\"op\":\"test\",\"path\":\"/b\",\"value\":[1,[1],2,{\"x\\u0000\":{}}]}]";
    static const char document[] = "{\"a\":[1,2,{\"x\\u0000\":{}}]}";
    static const char wanted[] =
        "{\"a\":[1,2],\"b\":[1,[1],2,{\"x\\u0000\":{}}],\"c/\":{\"x\\u0000\":{}}}";
    feox_status status = FEOX_ERR_MEMORY;
    for (uint64_t n = 1; status != FEOX_OK; n++) {
        char *result;
        size_t length;
        fx_mem_fail_after(n, true);
        status = fx_json_patch(document, sizeof document - 1, patch, sizeof patch - 1, LIMIT,
                               &result, &length);
        fx_mem_fail_after(0, false);
        if (status == FEOX_OK) {
            assert_int_equal(length, sizeof wanted - 1);
            assert_memory_equal(result, wanted, length);
        } else {
            assert_int_equal(status, FEOX_ERR_MEMORY);
            assert_null(result);
        }
        fx_mem_free(result);
        assert_true(n < 1000);
    }
    status = FEOX_ERR_MEMORY;
    for (uint64_t n = 1; status != FEOX_OK; n++) {
        char *result;
        size_t length;
        fx_mem_fail_after(n, true);
        status = fx_json_merge(document, sizeof document - 1, "{\"a\":{\"b\":null}}", 16, LIMIT,
                               &result, &length);
        fx_mem_fail_after(0, false);
        assert_true(status == FEOX_OK || status == FEOX_ERR_MEMORY);
        fx_mem_free(result);
        assert_true(n < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_bytes_stay),     cmocka_unit_test(test_traps),
        cmocka_unit_test(test_whole_and_case), cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_long_numbers),   cmocka_unit_test(test_strings),
        cmocka_unit_test(test_merge),          cmocka_unit_test(test_depth),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_error_detail),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
