/* import and export: each format, what is refused with which line, and the way back. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/command.h"

#define OK 0
#define OUTCOME 1
#define USAGE 2
#define FAILED 3

static void fresh(void) {
    (void)unlink("s.feox");
}

static void input(const char *text) {
    command_write_file("in", text, strlen(text));
}

static void delimited(void **state) {
    (void)state;
    fresh();
    input("k1;one;x\r\nk2;two;y\n\nk3;;z");
    command_expect(OK, "3 records imported\n", "import", "in", "--format", "delimited",
                   "--delimiter", ";", NULL);
    command_expect(OK, "k1\tk1;one;x\nk2\tk2;two;y\nk3\tk3;;z\n", "scan", NULL);
    fresh();
    command_expect(OK, "3 records imported\n", "import", "in", "--format", "delimited",
                   "--delimiter=;", "--key", "3", "--value", "2", "--key-prefix", "p/", NULL);
    command_expect(OK, "p/x\tone\np/y\ttwo\np/z\t\n", "scan", NULL);
    fresh();
    command_expect_input("id\tname\n7\tAda\n", 14, OK, "1 records imported\n", "import", "-",
                         "--format", "delimited", "--header", "--key", "id", "--value", "name",
                         NULL);
    command_expect(OK, "7\tAda\n", "scan", NULL);
    command_expect_error(FAILED, "in:1: the record has fewer fields", "import", "in", "--format",
                         "delimited", "--delimiter", ";", "--key", "4", NULL);
    command_expect_input("a\tb\0c\n", 6, OK, "1 records imported\n", "import", "-", "--format",
                         "delimited", NULL);
    command_expect(OK, "6109620063\n", "get", "a", "--hex", NULL);
}

static void csv(void **state) {
    static const char text[] = "id,note\r\n"
                               "1,plain\r\n"
                               "\"2\",\"say \"\"hi\"\", twice\"\r\n"
                               "3,\"two\nlines\"\r\n"
                               "\n"
                               "\"a\"\"b\",\n";
    (void)state;
    fresh();
    input(text);
    command_expect(OK, "4 records imported\n", "import", "in", "--format", "csv", "--header",
                   "--key", "id", NULL);
    command_expect(OK, "1,plain", "get", "1", NULL);
    command_expect(OK, "\"2\",\"say \"\"hi\"\", twice\"", "get", "2", NULL);
    command_expect(OK, "3,\"two\nlines\"", "get", "3", NULL);
    command_expect(OK, "\"a\"\"b\",", "get", "a\"b", NULL);
    fresh();
    command_expect(OK, "4 records imported\n", "import", "in", "--format", "csv", "--header",
                   "--key", "id", "--value", "note", NULL);
    command_expect(OK, "1\tplain\n2\tsay \"hi\", twice\n3\ttwo\\nlines\na\"b\t\n", "scan", NULL);
    command_expect_input("x;1\n\"y;\";2", 10, OK, "2 records imported\n", "import", "-", "--format",
                         "csv", "--delimiter", ";", NULL);
    command_expect(OK, "\"y;\";2", "get", "y;", NULL);
}

static void csv_refused(void **state) {
    (void)state;
    fresh();
    input("a,1\nb,\"open\nc,3\n");
    command_expect_error(FAILED, "in:2: the record has a quote that is never closed (1 records",
                         "import", "in", "--format", "csv", NULL);
    command_expect(OK, "a\ta,1\n", "scan", NULL);
    input("a,\"1\n2\"\nb,\"x\"y\n");
    command_expect_error(FAILED, "in:3: the record has text behind a closing quote", "import", "in",
                         "--format", "csv", NULL);
    input("a,1\nb,x\"y\n");
    command_expect_error(FAILED, "in:2: the record has a quote inside", "import", "in", "--format",
                         "csv", NULL);
    input("a,1\n,2\n");
    command_expect_error(FAILED, "in:2: the key is empty", "import", "in", "--format", "csv", NULL);
    input("a,1\n");
    command_expect_error(FAILED, "in:1: the header has no field", "import", "in", "--format", "csv",
                         "--header", "--key", "id", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "csv", "--key", "id", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "csv", "--key", "0", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "csv", "--delimiter", "ab", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "csv", "--delimiter", "\"", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "csv", "--key", "18446744073709551615",
                   NULL);
    fresh();
    input("k\tv\n");
    command_expect(OK, "1 records imported\n", "import", "in", "--format", "csv", "--delimiter",
                   "\\t", NULL);
    command_expect(OK, "k\tv", "get", "k", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "xml", NULL);
}

static void jsonl(void **state) {
    (void)state;
    fresh();
    input("\xef\xbb\xbf{\"id\":1.0, \"x\": 12345678901234567890.10}\r\n"
          "\n"
          "  {\"x\":{\"n\":\"deep\"},\"\\u0069d\":\"\\u00e9\\ud83d\\ude00\"}  \n"
          "{\"id\":\"last\"}");
    command_expect(OK, "3 records imported\n", "import", "in", "--format", "jsonl", "--key", "id",
                   NULL);
    command_expect(OK, "{\"id\":1.0, \"x\": 12345678901234567890.10}", "get", "1.0", NULL);
    command_expect(OK, "{\"x\":{\"n\":\"deep\"},\"\\u0069d\":\"\\u00e9\\ud83d\\ude00\"}", "get",
                   "\xc3\xa9\xf0\x9f\x98\x80", NULL);
    command_expect(OK, "{\"id\":\"last\"}", "get", "last", NULL);
    input("{\"a\":[{\"b/c\":\"k\"}]}\n");
    command_expect(OK, "1 records imported\n", "import", "in", "--format", "jsonl", "--key",
                   "/a/0/b~1c", NULL);
    command_expect(OK, "{\"a\":[{\"b/c\":\"k\"}]}", "get", "k", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "jsonl", NULL);
    input("{\"\":\"empty name\",\"x\":[-0.5e-7,1E+20,2e1]}\n{\"\\ud800\":1,\"\":-7e0}\n"
          "{\"\":\"\\u20ac\\udbff\\udfff\"}\n");
    command_expect(OK, "3 records imported\n", "import", "in", "--format", "jsonl", "--key", "",
                   NULL);
    command_expect(OK, "{\"\\ud800\":1,\"\":-7e0}", "get", "-7e0", NULL);
    command_expect(OK, "{\"\":\"\\u20ac\\udbff\\udfff\"}", "get",
                   "\xe2\x82\xac\xf4\x8f\xbf\xbf", NULL);
}

/* A line that jsonl refuses, and a part of what it says. */
typedef struct refused_line {
    const char *line;
    const char *part;
} refused_line;

static void jsonl_refused(void **state) {
    static const refused_line lines[] = {
        {"{\"id\":1", "ends too early"},
        {"{\"id\":01}", "a comma or } is expected"},
        {"{\"id\":1}}", "something follows"},
        {"{\"id\":\"\xff\"}", "not valid UTF-8"},
        {"{\"id\":\"\t\"}", "a control character"},
        {"{\"id\":\"\\x\"}", "an unknown escape"},
        {"{\"id\":NaN}", "a JSON value is expected"},
        {"{\"id\":1,}", "a string in double quotes"},
        {"{\"id\":true}", "neither a string nor a number"},
        {"{\"id\":\"\\ud800\"}", "half of a surrogate pair"},
        {"{\"id\":\"\\udc00\"}", "half of a surrogate pair"},
        {"{\"id\":\"\\ud800abcdefg\"}", "half of a surrogate pair"},
        {"{\"id\":\"\\ud800\\nabcdef\"}", "half of a surrogate pair"},
        {"{\"id\":\"\\ud800\\u0041\"}", "half of a surrogate pair"},
        {"{\"id\":\"\\ud800\\ue000\"}", "half of a surrogate pair"},
        {"{\"id\":[1]}", "neither a string nor a number"},
        {"{\"id\":-}", "a digit is expected"},
        {"{\"id\":1.}", "a digit is expected"},
        {"{\"id\":1e+}", "a digit is expected"},
        {"{\"id\":1,\"id\":2}", "two members"},
        {"{\"ID\":1}", "no member"},
        {"[1]", "no member"},
        {"{\"id\":\"\"}", "the key is empty"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[128];
        fresh();
        (void)snprintf(text, sizeof text, "{\"id\":\"first\"}\n%s\n{\"id\":\"third\"}\n",
                       lines[i].line);
        input(text);
        command_expect_error(FAILED, lines[i].part, "import", "in", "--format", "jsonl", "--key",
                             "id", NULL);
        command_expect_error(FAILED, "in:2: ", "import", "in", "--format", "jsonl", "--key", "id",
                             NULL);
        command_expect(OK, "first\n", "scan", "--keys", NULL);
    }
}

static void json(void **state) {
    static const char text[] = "{\"list\":[\n {\"id\":\"a\",\n  \"n\":1},\n {\"id\":2}],\n"
                               " \"map\":{\"x\":[1, 2],\"y\\u0000\":null}}";
    (void)state;
    fresh();
    input(text);
    command_expect(OK, "2 records imported\n", "import", "in", "--format", "json", "--path",
                   "/list", "--key", "id", NULL);
    command_expect(OK, "{\"id\":\"a\",\n  \"n\":1}", "get", "a", NULL);
    command_expect(OK, "{\"id\":2}", "get", "2", NULL);
    fresh();
    command_expect(OK, "2 records imported\n", "import", "in", "--format", "json", "--path", "/map",
                   NULL);
    command_expect(OK, "x\t[1, 2]\ny\\x00\tnull\n", "scan", NULL);
    command_expect_error(FAILED, "in:1: the pointer names a member that is not there", "import",
                         "in", "--format", "json", "--path", "/none", NULL);
    command_expect_error(FAILED, "--key has to", "import", "in", "--format", "json", "--path",
                         "/list", NULL);
    command_expect_error(FAILED, "in:4: the document has no member", "import", "in", "--format",
                         "json", "--path", "/list", "--key", "n", NULL);
    command_expect_error(USAGE, "a JSON Pointer is empty or begins with /", "import", "in",
                         "--format", "json", "--path", "list", NULL);
    input("{\"list\":[\n1,\n]}");
    command_expect_error(FAILED, "in:3: a JSON value is expected", "import", "in", "--format",
                         "json", "--path", "/list", NULL);
    command_expect(USAGE, "", "import", "in", "--format", "json", "--delimiter", ",", NULL);
}

/* A JSON Pointer, and a part of what is said of it; NULL: one record is imported. */
static void json_pointers(void **state) {
    static const refused_line pointers[] = {
        {"/list/1", NULL},
        {"/m~0~1n", NULL},
        {"/list/", "no element number"},
        {"/list/01", "no element number"},
        {"/list/1000000000000000000", "no element number"},
        {"/list/-", "no element number"},
        {"/list/1a", "no element number"},
        {"/list/2", "past the end"},
        {"/list/999999999999999999", "past the end"},
        {"/list/0/a", "neither an array nor an object"},
        {"/list/0/a/b", "neither object nor array"},
        {"/twice", "is there twice"},
        {"/m~", "a ~ that is neither"},
        {"/m~2", "a ~ that is neither"},
        {"/none", "is not there"},
    };
    char text[1201] = "";
    (void)state;
    input("{\"list\":[{\"a\":1},{\"b\":2}],\"m~/n\":{\"c\":3},\"twice\":1,\"twice\":2}");
    for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++) {
        fresh();
        if (pointers[i].part == NULL) {
            command_expect(OK, "1 records imported\n", "import", "in", "--format", "json", "--path",
                           pointers[i].line, NULL);
        } else {
            command_expect_error(FAILED, pointers[i].part, "import", "in", "--format", "json",
                                 "--path", pointers[i].line, NULL);
        }
    }
    input("[{\"id\":{\"x\":1}},\n{\"id\":[]}]");
    command_expect_error(FAILED, "in:1: the key is neither a string", "import", "in", "--format",
                         "json", "--key", "id", NULL);
    command_expect_error(FAILED, "in:2: the pointer has no element number", "import", "in",
                         "--format", "json", "--key", "/id/x", NULL);
    memset(text, '[', 600);
    memset(text + 600, ']', 600);
    input(text);
    command_expect_error(FAILED, "nests more than 512 deep", "import", "in", "--format", "json",
                         NULL);
}

static void if_absent_and_ttl(void **state) {
    (void)state;
    fresh();
    command_expect(OK, "", "set", "a", "mine", NULL);
    input("a\t1\nb\t2\n");
    command_expect(OK, "1 records imported, 1 skipped\n", "import", "in", "--format", "delimited",
                   "--if-absent", "--ttl-ms", "100000", "--durable", NULL);
    command_expect(OK, "mine", "get", "a", NULL);
    command_expect(OK, "-1\n", "ttl", "a", NULL);
    const command_result *result = command_output(OK, "ttl", "b", NULL);
    assert_true(result->out[0] != '-');
}

static void fill_for_export(void) {
    char all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (char)(unsigned char)i;
    }
    fresh();
    command_expect(OK, "", "set", "text", "line\nquote\" back\\ \x01 \x7f \xc3\xa9", NULL);
    command_expect(OK, "", "set", "empty", "", NULL);
    command_expect(OK, "", "set", "--hex-key", "00ff61", "--hex-value", "00", NULL);
    command_expect_input(all, sizeof all, OK, "", "set", "every byte", "-", NULL);
    command_expect_input(all, 255, OK, "", "set", "every byte 1", "-", NULL);
    command_expect_input(all, 254, OK, "", "set", "every byte 2", "-", NULL);
    command_expect(OK, "-7\n", "incr", "counter", "-7", NULL);
    command_expect(OK, "", "set", "dying", "soon", "--ttl-ms", "1000000", NULL);
}

static void round_trip(void **state) {
    static char before[16384];
    static char exported[16384];
    (void)state;
    fill_for_export();
    const command_result *result = command_output(OK, "scan", "--hex", NULL);
    assert_true(result->out_size < sizeof before);
    memcpy(before, result->out, result->out_size + 1);
    result = command_output(OK, "export", NULL);
    assert_true(result->out_size < sizeof exported);
    size_t size = result->out_size;
    memcpy(exported, result->out, size);
    fresh();
    command_expect_input(exported, size, OK, "8 records imported\n", "import", "-", NULL);
    command_expect(OK, before, "scan", "--hex", NULL);
    result = command_output(OK, "ttl", "dying", NULL);
    assert_true(result->out[0] != '-');
    command_expect(OK, "-1\n", "ttl", "text", NULL);
    command_expect(OK, "{\"key\":\"empty\",\"value\":\"\"}\n", "export", "--prefix", "em", NULL);
}

static void export_refused(void **state) {
    static const char *const lines[] = {
        "{\"key\":\"a\"}",
        "{\"value\":\"a\"}",
        "{\"key\":\"a\",\"key_base64\":\"YQ==\",\"value\":\"a\"}",
        "{\"key\":\"a\",\"value_base64\":\"YQ=\"}",
        "{\"key\":\"a\",\"value_base64\":\"YR==\"}",
        "{\"key\":\"a\",\"value_base64\":\"Y*==\"}",
        "{\"key\":\"a\",\"value\":1}",
        "{\"key\":\"a\",\"value_base64\":\"Y{==\"}",
        "{\"key\":\"a\",\"value\":\"b\",\"ttl_ms\":-5}",
        "{\"key\":\"a\",\"value\":\"b\",\"ttl_ms\":5,\"ttl_ms\":6}",
        "{\"key\":\"a\",\"value\":\"b\",\"ttl_ms\":100000000000000000000000000}",
        "{\"key\":\"a\",\"value\":\"b\"",
        "[]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        fresh();
        input(lines[i]);
        command_expect_error(FAILED, "in:1: ", "import", "in", NULL);
        command_expect(OK, "0\n", "count", NULL);
    }
}

/* Records around the size of the reading window, so that they lie across its edges. */
static void long_records(void **state) {
    static char text[3000000];
    char said[64];
    size_t size = 0;
    int records = 0;
    (void)state;
    fresh();
    for (; size + 400000 < sizeof text; records++) {
        size_t length = 1 + (size_t)records * 7919u % 300000u;
        size += (size_t)snprintf(text + size, 16, "k%02d,\"", records);
        memset(text + size, records % 2 == 0 ? 'x' : '\n', length);
        size += length;
        memcpy(text + size, "\"\"\"\r\n", 5);
        size += 5;
    }
    (void)snprintf(said, sizeof said, "%d records imported\n", records);
    command_expect_input(text, size, OK, said, "import", "-", "--format", "csv", "--value", "2",
                         NULL);
    const command_result *result = command_output(OK, "get", "k01", NULL);
    assert_int_equal(result->out_size, 1 + 7919 + 1);
    assert_int_equal(result->out[7919], '\n');
    assert_int_equal(result->out[7920], '"');
}

/* Whoever sits at a terminal sees how far it is, and afterwards only what came of it. */
static void on_a_terminal(void **state) {
    (void)state;
    if (command_shell("command -v script > /dev/null") != 0) {
        print_message("skipped: there is no script(1), which gives a command a terminal\n");
        skip();
    }
    fresh();
    /* A pipe of unknown length, and slow. */
    assert_int_equal(
        command_shell("mkfifo slow; { for i in 1 2 3; do printf \"k$i\\tv\\n\"; sleep 0.15; done; }"
                      " > slow & script -qec '\"$FEOX\" s.feox import slow --format delimited'"
                      " /dev/null < /dev/null > seen"),
        0);
    assert_int_equal(command_shell("tr '\\r' '\\n' < seen | grep -q '^import  0.0 MB .* records '"),
                     0);
    assert_int_equal(command_shell("! grep -q '%' seen"), 0);
    assert_int_equal(command_shell("tail -n 1 seen | grep -q '3 records imported'"), 0);
    /* A file, long enough for somebody to wait. */
    fresh();
    assert_int_equal(command_shell("awk 'BEGIN { for (i = 0; i < 600000; i++)"
                                   " printf \"key%d\\tvalue%d\\n\", i, i }' > big"),
                     0);
    assert_int_equal(
        command_shell("script -qec '\"$FEOX\" s.feox import big --format delimited' /dev/null"
                      " < /dev/null > seen"),
        0);
    assert_int_equal(
        command_shell("tr '\\r' '\\n' < seen | grep -q '^import \\[[#-]*\\] .*% .*MB/s .* left'"),
        0);
    assert_int_equal(command_shell("tail -n 1 seen | grep -q '600000 records imported'"), 0);
    assert_int_equal(
        command_shell("script -qec '\"$FEOX\" s.feox export > all' /dev/null"
                      " < /dev/null > seen"),
        0);
    assert_int_equal(command_shell("test $(wc -l < all) -eq 600000"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delimited),         cmocka_unit_test(csv),
        cmocka_unit_test(csv_refused),       cmocka_unit_test(jsonl),
        cmocka_unit_test(jsonl_refused),     cmocka_unit_test(json),
        cmocka_unit_test(json_pointers),
        cmocka_unit_test(if_absent_and_ttl), cmocka_unit_test(round_trip),
        cmocka_unit_test(export_refused),    cmocka_unit_test(long_records),
        cmocka_unit_test(on_a_terminal),
    };
    return cmocka_run_group_tests(tests, command_setup, command_teardown);
}
