/* Every command but import and export: what it prints, how it exits, what it leaves unchanged. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
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

static void set_get_del(void **state) {
    (void)state;
    fresh();
    command_expect(OK, "", "set", "name", "Ada", NULL);
    command_expect(OK, "Ada", "get", "name", NULL);
    command_expect(OK, "416461\n", "get", "name", "--hex", NULL);
    command_expect(OK, "", "set", "name", "", NULL);
    command_expect(OK, "", "get", "name", NULL);
    command_expect(OUTCOME, "", "get", "other", NULL);
    command_expect(OK, "", "set", "more", "m", NULL);
    command_expect(OUTCOME, "", "del", "name", "none", "more", NULL);
    command_expect(OUTCOME, "", "del", "name", NULL);
    command_expect(OUTCOME, "", "get", "name", NULL);
    command_expect(OK, "0\n", "count", NULL);
}

static void set_conditions(void **state) {
    char version[32];
    unsigned long long number = 0;
    (void)state;
    fresh();
    command_expect(OUTCOME, "", "set", "k", "1", "--if-present", NULL);
    command_expect(OK, "", "set", "k", "1", "--if-absent", NULL);
    command_expect(OUTCOME, "", "set", "k", "2", "--if-absent", NULL);
    command_expect(OK, "1", "get", "k", NULL);
    const command_result *result = command_output(OK, "set", "k", "3", "--json", NULL);
    assert_int_equal(sscanf(result->out, "{\"version\":%llu", &number), 1);
    (void)snprintf(version, sizeof version, "%llu", number);
    command_expect(OK, "", "set", "k", "4", "--if-version", version, NULL);
    command_expect(OUTCOME, "", "set", "k", "5", "--if-version", version, NULL);
    command_expect(OUTCOME, "", "del", "k", "--if-version", version, NULL);
    command_expect(OUTCOME, "", "set", "k", "6", "--timestamp", "1", NULL);
    command_expect(OK, "4", "get", "k", NULL);
    command_expect(USAGE, "", "set", "k", "7", "--if-absent", "--if-present", NULL);
    command_expect(USAGE, "", "set", "k", "7", "--ttl-ms", "9", "--keep-ttl", NULL);
    command_expect(USAGE, "", "set", "k", "7", "--ttl-ms", "0", NULL);
    command_expect(OK, "", "set", "k", "8", "--durable", NULL);
    command_expect(OK, "8", "get", "k", NULL);
}

static void every_byte(void **state) {
    char bytes[256];
    char hex[513];
    char key[1200];
    (void)state;
    fresh();
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)(unsigned char)i;
        (void)snprintf(hex + 2 * i, 3, "%02x", (unsigned)i);
    }
    command_expect_input(bytes, sizeof bytes, OK, "", "set", "--hex-key", hex, "-", NULL);
    const command_result *result = command_output(OK, "get", "--hex-key", hex, NULL);
    assert_int_equal(result->out_size, 256);
    assert_memory_equal(result->out, bytes, 256);
    command_expect(OK, "1\n", "count", "--hex-key", "--prefix", "000102", NULL);
    command_expect(OK, "", "set", "k", "--hex-value", "00ff0a", NULL);
    command_expect(OK, "00ff0a\n", "get", "k", "--hex", NULL);
    result = command_output(OK, "scan", "--keys", "--limit", "1", NULL);
    assert_true(result->out_size < sizeof key);
    memcpy(key, result->out, result->out_size);
    key[result->out_size - 1] = '\0';
    result = command_output(OK, "get", "--escaped-key", key, NULL);
    assert_int_equal(result->out_size, 256);
    assert_memory_equal(result->out, bytes, 256);
    command_expect(USAGE, "", "get", "--hex-key", "0", NULL);
    command_expect(USAGE, "", "get", "--hex-key", "zz", NULL);
    command_expect(USAGE, "", "get", "--escaped-key", "\\q", NULL);
    command_expect(USAGE, "", "set", "k", "--hex-value", "1", NULL);
}

static void compare_and_swap(void **state) {
    (void)state;
    fresh();
    command_expect(OK, "", "set", "k", "old", NULL);
    command_expect(OUTCOME, "", "cas", "k", "wrong", "new", NULL);
    command_expect(OK, "old", "get", "k", NULL);
    command_expect(OK, "", "cas", "k", "old", "new", NULL);
    command_expect(OK, "new", "get", "k", NULL);
    command_expect_input("a\0b", 3, OK, "", "cas", "k", "new", "-", NULL);
    command_expect(OK, "610062\n", "get", "k", "--hex", NULL);
    command_expect_input("a\0b", 3, OK, "", "cas", "k", "-", "end", NULL);
    command_expect(OUTCOME, "", "cas", "none", "", "x", NULL);
    command_expect(USAGE, "", "cas", "k", "-", "-", NULL);
    command_expect(USAGE, "", "cas", "k", "end", NULL);
    command_expect(OK, "end", "get", "k", NULL);
}

static void counters(void **state) {
    (void)state;
    fresh();
    command_expect(OK, "1\n", "incr", "n", NULL);
    command_expect(OK, "42\n", "incr", "n", "41", NULL);
    command_expect(OK, "-8\n", "incr", "n", "-50", NULL);
    command_expect(OK, "-8\n", "get", "n", "--counter", NULL);
    command_expect(OK, "f8ffffffffffffff\n", "get", "n", "--hex", NULL);
    command_expect(OK, "9223372036854775807\n", "incr", "max", "9223372036854775807", NULL);
    command_expect(FAILED, "", "incr", "max", NULL);
    command_expect(OK, "9223372036854775807\n", "get", "max", "--counter", NULL);
    command_expect(OK, "-9223372036854775808\n", "incr", "min", "-9223372036854775808", NULL);
    command_expect(OK, "", "set", "text", "abc", NULL);
    command_expect(FAILED, "", "incr", "text", NULL);
    command_expect(FAILED, "", "get", "text", "--counter", NULL);
    command_expect(USAGE, "", "incr", "n", "1.5", NULL);
    command_expect(USAGE, "", "incr", "n", "9223372036854775808", NULL);
    command_expect(OK, "abc", "get", "text", NULL);
}

static void documents(void **state) {
    static const char patch[] = "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]";
    static const char merge[] = "{\"a\":null}";
    (void)state;
    fresh();
    command_expect(OK, "", "set", "d", "{\"a\":1.50}", NULL);
    command_expect(OK, "", "patch", "d", patch, NULL);
    command_expect(OK, "{\"a\":1.50,\"b\":2}", "get", "d", NULL);
    command_expect_input(merge, sizeof merge - 1, OK, "", "merge", "d", "-", NULL);
    command_expect(OK, "{\"b\":2}", "get", "d", NULL);
    command_expect(OUTCOME, "", "patch", "none", patch, NULL);
    command_expect(FAILED, "", "patch", "d", "[{\"op\":\"remove\",\"path\":\"/zz\"}]", NULL);
    command_expect(FAILED, "", "patch", "d", "not json", NULL);
    command_expect(FAILED, "", "merge", "d", "{", NULL);
    command_expect(OK, "", "set", "text", "hello", NULL);
    command_expect(FAILED, "", "patch", "text", patch, NULL);
    command_expect(OK, "hello", "get", "text", NULL);
    command_expect(OK, "{\"b\":2}", "get", "d", NULL);
}

static void time_to_live(void **state) {
    struct timespec nap = {0, 120000000};
    long long ttl = 0;
    (void)state;
    fresh();
    command_expect(OK, "", "set", "k", "v", NULL);
    command_expect(OK, "-1\n", "ttl", "k", NULL);
    command_expect(OK, "", "expire", "k", "100000", NULL);
    const command_result *result = command_output(OK, "ttl", "k", NULL);
    assert_int_equal(sscanf(result->out, "%lld", &ttl), 1);
    assert_true(ttl > 0 && ttl <= 100000);
    result = command_output(OK, "get", "k", "--json", NULL);
    assert_non_null(strstr(result->out, "\"ttl_ms\":"));
    command_expect(OK, "", "persist", "k", NULL);
    command_expect(OK, "-1\n", "ttl", "k", NULL);
    command_expect(OK, "", "set", "short", "v", "--ttl-ms", "50", NULL);
    (void)nanosleep(&nap, NULL);
    command_expect(OUTCOME, "", "get", "short", NULL);
    command_expect(OUTCOME, "", "ttl", "short", NULL);
    command_expect(OUTCOME, "", "expire", "short", "10", NULL);
    command_expect(OUTCOME, "", "persist", "short", NULL);
    command_expect(OK, "k\n", "scan", "--keys", NULL);
    command_expect(USAGE, "", "expire", "k", "soon", NULL);
    command_expect(OK, "", "expire", "k", "0", NULL);
    command_expect(OK, "-1\n", "ttl", "k", NULL);
}

static void scans(void **state) {
    (void)state;
    fresh();
    command_expect(OK, "", "set", "a", "1", NULL);
    command_expect(OK, "", "set", "ab", "2\t\\\n", NULL);
    command_expect_input("\xff\xc3\xa9\x1b", 4, OK, "", "set", "b\"", "-", NULL);
    command_expect(OK, "", "set", "c", "4", NULL);
    command_expect(OK, "a\t1\nab\t2\\t\\\\\\n\nb\"\t\\xff\xc3\xa9\\x1b\nc\t4\n", "scan", NULL);
    command_expect(OK, "c\nb\"\nab\na\n", "scan", "--reverse", "--keys", NULL);
    command_expect(OK, "ab\na\n", "scan", "--prefix", "a", "--reverse", "--keys", NULL);
    command_expect(OK, "ab\nb\"\n", "scan", "--from=ab", "--to=b\"", "--keys", NULL);
    command_expect(OK, "c\t4\n", "scan", "--reverse", "--limit", "1", NULL);
    command_expect(OK, "61\t31\n", "scan", "--hex", "--limit", "1", NULL);
    command_expect(OK, "{\"key\":\"b\\\"\",\"value_base64\":\"/8OpGw==\"}\n", "scan", "--json",
                   "--prefix", "b", NULL);
    command_expect(OK, "{\"key\":\"ab\",\"value\":\"2\\t\\\\\\n\"}\n", "scan", "--json", "--from",
                   "ab", "--to", "ab", NULL);
    command_expect(OK, "{\"key\":\"a\"}\n", "scan", "--json", "--keys", "--limit", "1", NULL);
    command_expect(OK, "", "scan", "--prefix", "zz", NULL);
    command_expect(OK, "4\n", "count", NULL);
    command_expect(OK, "2\n", "count", "--prefix", "a", NULL);
    command_expect(OK, "2\n", "count", "--from", "b", NULL);
    command_expect(USAGE, "", "scan", "--limit", "x", NULL);
    command_expect(USAGE, "", "scan", "--limit", NULL);
    command_expect(USAGE, "", "scan", "--hex", "--json", NULL);
    command_expect(USAGE, "", "scan", "word", NULL);
}

static void reports(void **state) {
    (void)state;
    fresh();
    command_expect(OK, "", "set", "a", "1", NULL);
    const command_result *result = command_output(OK, "stat", NULL);
    assert_non_null(strstr(result->out, "keys               1\n"));
    result = command_output(OK, "stat", "--json", NULL);
    assert_int_equal(strncmp(result->out, "{\"keys\":1,", 10), 0);
    command_expect(OK, "1 keys checked, 0 records damaged, 0 blocks damaged, 0 problems\n", "check",
                   NULL);
    command_expect(OK, "1 keys checked, 0 records damaged, 0 blocks damaged, 0 problems\n", "check",
                   "--full", NULL);
    command_expect(OK, "1 keys copied, 2 bytes, 0 keys lost, 0 problems\n", "salvage", "copy.feox",
                   NULL);
    command_expect(USAGE, "", "salvage", NULL);
    (void)remove("copy.feox");
    result = command_output(OK, "compact", NULL);
    unsigned long long before = 0;
    unsigned long long after = 0;
    assert_int_equal(sscanf(result->out, "%llu bytes before, %llu bytes after\n", &before, &after),
                     2);
    assert_true(after <= before && after < 6u << 20);
    command_expect(USAGE, "", "compact", "word", NULL);
    command_expect(OK, "1", "get", "a", NULL);
}

/* Reads a file, so that a command can be shown to have left it alone. */
static size_t slurp(const char *name, char *to, size_t capacity) {
    FILE *file = fopen(name, "rb");
    size_t size = 0;
    if (file != NULL) {
        size = fread(to, 1, capacity, file);
        (void)fclose(file);
    }
    return size;
}

static void files_left_alone(void **state) {
    static const char foreign[] = "This is a letter to my aunt, not a store.\n";
    static const char *const reading[] = {"scan", "count", "stat", "export", "check"};
    char after[256];
    (void)state;
    fresh();
    for (size_t i = 0; i < sizeof reading / sizeof reading[0]; i++) {
        command_expect_error(FAILED, "no such file", reading[i], NULL);
        assert_int_not_equal(access("s.feox", F_OK), 0);
    }
    command_expect(FAILED, "", "get", "k", NULL);
    command_expect(FAILED, "", "del", "k", NULL);
    command_expect(FAILED, "", "cas", "k", "a", "b", NULL);
    command_expect(USAGE, "", "set", "k", "v", "--nonsense", NULL);
    command_expect(USAGE, "", "set", "", "v", NULL);
    command_expect(FAILED, "", "import", "not-there", NULL);
    command_expect(FAILED, "", "import", ".", NULL);
    assert_int_not_equal(access("s.feox", F_OK), 0);
    command_write_file("s.feox", foreign, sizeof foreign - 1);
    command_expect(FAILED, "", "set", "k", "v", NULL);
    command_expect(FAILED, "", "get", "k", NULL);
    command_expect(FAILED, "", "check", NULL);
    command_expect(FAILED, "", "check", "--full", NULL);
    command_expect(FAILED, "", "salvage", "out.feox", NULL);
    assert_int_not_equal(access("out.feox", F_OK), 0);
    assert_int_equal(slurp("s.feox", after, sizeof after), sizeof foreign - 1);
    assert_memory_equal(after, foreign, sizeof foreign - 1);
    fresh();
}

static void limits(void **state) {
    static char key[65537];
    static char value[3000000];
    (void)state;
    fresh();
    memset(key, 'k', sizeof key);
    key[65535] = '\0';
    for (size_t i = 0; i < sizeof value; i++) {
        value[i] = (char)(unsigned char)((i * 2654435761u) >> 24);
    }
    command_expect_input(value, sizeof value, OK, "", "set", key, "-", NULL);
    const command_result *result = command_output(OK, "get", key, NULL);
    assert_int_equal(result->out_size, sizeof value);
    assert_memory_equal(result->out, value, sizeof value);
    command_expect_input("", 0, OK, "", "set", "empty", "-", NULL);
    command_expect(OK, "\n", "get", "empty", "--hex", NULL);
    fresh();
    key[65535] = 'k';
    key[65536] = '\0';
    command_expect_error(FAILED, "65536 bytes", "set", key, "v", NULL);
    command_expect_error(FAILED, "65536 bytes", "get", key, NULL);
    assert_int_not_equal(access("s.feox", F_OK), 0);
}

static void expect_words(int status, const char *out_part, const char *err_part, const char *a,
                         const char *b, const char *c) {
    const char *words[] = {a, b, c, NULL};
    const command_result *result = command_run(NULL, 0, words);
    assert_int_equal(result->status, status);
    assert_non_null(strstr(result->out, out_part));
    assert_non_null(strstr(result->err, err_part));
}

static void usage(void **state) {
    static const char *const names[] = {"get",   "set",    "del",    "cas",     "incr", "patch",
                                        "merge", "ttl",    "expire", "persist", "scan", "count",
                                        "stat",  "import", "export", "check",
                                        "salvage"};
    (void)state;
    expect_words(USAGE, "", "feox --help", NULL, NULL, NULL);
    expect_words(USAGE, "", "feox --help", "x.feox", NULL, NULL);
    expect_words(OK, "Exit status", "", "--help", NULL, NULL);
    expect_words(OK, "Exit status", "", "help", NULL, NULL);
    expect_words(OK, "feox 1.", "", "--version", NULL, NULL);
    expect_words(USAGE, "", "did you mean scan?", "x.feox", "sacn", NULL);
    expect_words(USAGE, "", "did you mean merge?", "x.feox", "mrge", "x");
    expect_words(USAGE, "", "unknown command frobnicate", "x.feox", "frobnicate", NULL);
    expect_words(USAGE, "", "did you mean --limit?", "x.feox", "scan", "--limti");
    expect_words(USAGE, "", "unknown option --ttl-ms", "x.feox", "get", "--ttl-ms");
    expect_words(USAGE, "", "takes KEY", "x.feox", "get", NULL);
    expect_words(USAGE, "", "stat takes no arguments; see", "x.feox", "stat", "more");
    char number[2000] = "--limit=";
    memset(number + 8, '9', sizeof number - 9);
    number[sizeof number - 1] = '\0';
    expect_words(USAGE, "", "is not a number", "x.feox", "scan", number);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        expect_words(OK, "Usage: feox FILE ", "", "help", names[i], NULL);
        expect_words(OK, "Options:", "", "x.feox", names[i], "--help");
        expect_words(OK, "Options:", "", names[i], "--help", NULL);
    }
    assert_int_not_equal(access("x.feox", F_OK), 0);
    fresh();
    command_expect(OK, "", "set", "--", "--key", "--value", NULL);
    command_expect(OK, "--value", "get", "--", "--key", NULL);
    command_expect(USAGE, "", "import", "-", "--format", "json", "--path", "list", NULL);
    command_expect(OK, "", "set", "text", "no counter", NULL);
    expect_words(FAILED, "", "text: the value is not an 8-byte counter\n", "s.feox", "incr",
                 "text");
}

/* Every spelling of options. */
static void options(void **state) {
    long long ttl = 0;
    (void)state;
    fresh();
    command_expect(OK, "", "set", "k", "v", "--ttl-ms", "1000000", NULL);
    command_expect(OK, "", "set", "k", "w", "--keep-ttl", NULL);
    const command_result *result = command_output(OK, "ttl", "k", NULL);
    assert_int_equal(sscanf(result->out, "%lld", &ttl), 1);
    assert_true(ttl > 0);
    command_expect(OK, "", "cas", "k", "w", "x", "--clear-ttl", NULL);
    command_expect(OK, "-1\n", "ttl", "k", NULL);
    command_expect(OK, "k\n", "scan", "--keys", "--limit=1", NULL);
    command_expect(USAGE, "", "scan", "--limit=", NULL);
    command_expect(USAGE, "", "get", "k", "more", NULL);
    command_expect(USAGE, "", "get", "--hex-key", "--escaped-key", "6b", NULL);
    command_expect(USAGE, "", "patch", "k", "[]", "--ttl-ms", "1", "--clear-ttl", NULL);
    command_expect(USAGE, "", "cas", "k", "x", "y", "--ttl-ms", "1", "--clear-ttl", NULL);
    command_expect(USAGE, "", "incr", "n", "--ttl-ms", "1", "--clear-ttl", NULL);
    command_expect(OK, "5\n", "incr", "n", "+5", NULL);
    result = command_output(OK, "set", "new", "1", "--json", NULL);
    assert_non_null(strstr(result->out, ",\"created\":true}\n"));
    result = command_output(OK, "set", "new", "2", "--json", NULL);
    assert_non_null(strstr(result->out, ",\"created\":false}\n"));
    command_expect_error(USAGE, "unknown option --an-option", "scan",
                         "--an-option-that-is-longer-than-any-other", NULL);
    command_expect_error(USAGE, "unknown option --qq; a word", "scan", "--qq", NULL);
    expect_words(OK, "Usage: feox FILE get", "", "s.feox", "get", "-h");
    command_expect_error(OUTCOME, "-h: no such key", "get", "--", "-h", NULL);
    expect_words(USAGE, "", "the name of the file is empty", "", "stat", NULL);
    expect_words(USAGE, "", "unknown command nonsense", "help", "nonsense", NULL);
    expect_words(OK, "Exit status", "", "-h", NULL, NULL);
    expect_words(OK, "Exit status", "", "s.feox", "--help", NULL);
}

/* Keys that are written in another way, and those that nearly are. */
static void notations(void **state) {
    static const char *const bad_hex[] = {"4G", "4g", "4", "zz"};
    static const char *const bad_escapes[] = {"a\\", "\\x4", "\\xzz", "\\x4z", "\\q"};
    char long_key[201];
    (void)state;
    fresh();
    for (size_t i = 0; i < sizeof bad_hex / sizeof bad_hex[0]; i++) {
        command_expect_error(USAGE, "is not hexadecimal", "get", "--hex-key", bad_hex[i], NULL);
    }
    for (size_t i = 0; i < sizeof bad_escapes / sizeof bad_escapes[0]; i++) {
        command_expect_error(USAGE, "is not escaped", "get", "--escaped-key", bad_escapes[i], NULL);
    }
    command_expect(OK, "", "set", "\"J", "quote", NULL);
    command_expect(OK, "quote", "get", "--escaped-key", "\\\"J", NULL);
    command_expect(OK, "quote", "get", "--hex-key", "224A", NULL);
    /* What is not UTF-8, or would move the cursor, is shown byte by byte. */
    command_expect(OK, "", "set", "k", "\xc2\xa9\xc2\x85\xe2\x82\xac\xe2\x82" "A\xe2\x82", NULL);
    command_expect(OK, "k\t\xc2\xa9\\xc2\\x85\xe2\x82\xac\\xe2\\x82A\\xe2\\x82\n", "scan",
                   "--prefix", "k", NULL);
    /* And what an error is about is shown without harm, and shortened. */
    command_expect_error(OUTCOME, "feox: a????b\xc2\xa9: no such key\n", "get", "--escaped-key",
                         "a\\x01\\x7f\\xc2\\x85b\\xc2\\xa9", NULL);
    command_expect_error(OUTCOME, "feox: ???: no such key\n", "get", "--hex-key", "00001b", NULL);
    memset(long_key, 'l', sizeof long_key);
    long_key[200] = '\0';
    command_expect_error(OUTCOME, "lll...: no such key\n", "get", long_key, NULL);
    /* More than a value can be is known before it is read. */
    command_write_file("huge", "", 0);
    assert_int_equal(truncate("huge", ((off_t)1 << 30) + 1), 0);
    assert_int_equal(command_shell("\"$FEOX\" s.feox set huge - < huge 2> err"), FAILED);
    assert_int_equal(command_shell("grep -q '^feox: standard input: more than' err"), 0);
    command_expect(OUTCOME, "", "get", "huge", NULL);
}

/* A byte of a value is changed in the file: the check says so, the other keys are there. */
static void damage(void **state) {
    static const char needle[] = "a value that can be found in the file";
    static char file[1 << 24];
    (void)state;
    fresh();
    command_expect(OK, "", "set", "first", "1", NULL);
    command_expect(OK, "", "set", "hurt", needle, NULL);
    command_expect(OK, "", "set", "last", "3", NULL);
    size_t size = slurp("s.feox", file, sizeof file);
    assert_true(size < sizeof file);
    /* A copy that is no longer live may lie in the file too. */
    char *at = memmem(file, size, needle, sizeof needle - 1);
    assert_non_null(at);
    for (; at != NULL; at = memmem(file, size, needle, sizeof needle - 1)) {
        *at = 'A';
    }
    command_write_file("s.feox", file, size);
    const command_result *result = command_output(FAILED, "check", NULL);
    assert_non_null(strstr(result->out, "1 records damaged"));
    assert_non_null(strstr(result->err, "the check found"));
    assert_non_null(strstr(result->out, "; key hurt\n"));
    assert_non_null(strstr(result->out, "; offset "));
    result = command_output(FAILED, "check", "--full", NULL);
    assert_non_null(strstr(result->out, "; key hurt\n"));
    result = command_output(FAILED, "salvage", "out.feox", NULL);
    assert_non_null(strstr(result->out, "the value is lost; key hurt\n"));
    assert_non_null(strstr(result->out, "2 keys copied, 11 bytes, 1 keys lost, 1 problems\n"));
    assert_non_null(strstr(result->err, "what is sound is in out.feox"));
    command_expect_error(FAILED, "exists already", "salvage", "out.feox", NULL);
    result = command_run(NULL, 0, (const char *const[]){"out.feox", "scan", NULL});
    assert_int_equal(result->status, OK);
    assert_string_equal(result->out, "first\t1\nlast\t3\n");
    (void)remove("out.feox");
    command_expect(OK, "1", "get", "first", NULL);
    command_expect(OK, "3", "get", "last", NULL);
    result = command_run(NULL, 0, (const char *const[]){"s.feox", "get", "hurt", NULL});
    assert_int_not_equal(result->status, OK);
    assert_int_equal(result->out_size, 0);
}

/* A large value is damaged: whoever walks is told of it, and goes on. */
static void damage_on_the_way(void **state) {
    static char file[1 << 24];
    static char text[100000];
    (void)state;
    fresh();
    memset(text, '#', sizeof text);
    command_expect(OK, "", "set", "first", "1", NULL);
    command_expect_input(text, sizeof text, OK, "", "set", "hurt", "-", NULL);
    command_expect(OK, "", "set", "last", "3", NULL);
    size_t size = slurp("s.feox", file, sizeof file);
    char *at = memmem(file, size, text, 50000);
    assert_true(size < sizeof file && at != NULL);
    at[49999] ^= 1;
    command_write_file("s.feox", file, size);
    const command_result *result = command_output(FAILED, "scan", NULL);
    assert_string_equal(result->out, "first\t1\nlast\t3\n");
    assert_non_null(strstr(result->err, "feox: hurt: "));
    result = command_output(FAILED, "export", NULL);
    assert_string_equal(result->out, "{\"key\":\"first\",\"value\":\"1\"}\n"
                                     "{\"key\":\"last\",\"value\":\"3\"}\n");
    assert_non_null(strstr(result->err, "feox: hurt: "));
    command_expect(OK, "3\n", "count", NULL);
    result = command_output(FAILED, "check", "--full", NULL);
    assert_non_null(strstr(result->out, "; key hurt\n"));
    /* Without both superblocks it is searched for what it holds. */
    memset(file, 0, 2 << 12);
    command_write_file("s.feox", file, size);
    result = command_output(FAILED, "salvage", "out.feox", NULL);
    assert_non_null(strstr(result->out, "2 keys copied, "));
    assert_non_null(strstr(result->out, "the file was searched, for its table is lost\n"));
    (void)remove("out.feox");
}

/* What becomes of standard output: a full device is a failure, a reader that left is not noise. */
static void standard_output(void **state) {
    static char text[400000];
    (void)state;
    fresh();
    memset(text, 'x', sizeof text);
    command_expect_input(text, sizeof text, OK, "", "set", "long", "-", NULL);
    assert_int_equal(command_shell("\"$FEOX\" s.feox get long > /dev/full 2> err"), FAILED);
    assert_int_equal(command_shell("grep -q '^feox: standard output: No space' err"), 0);
    assert_int_equal(command_shell("{ \"$FEOX\" s.feox get long 2> err; echo $? > status; } |"
                                   " head -c 1 > out; test \"$(cat status)\" -eq 141"),
                     0);
    assert_int_equal(command_shell("test ! -s err"), 0);
    /* The value cannot be printed, and is written all the same: the store is closed first. */
    assert_int_equal(command_shell("\"$FEOX\" s.feox incr n 5 > /dev/full 2> err"), FAILED);
    command_expect(OK, "5\n", "get", "n", "--counter", NULL);
    /* Nothing more is read than can be printed. */
    command_expect_input(text, sizeof text, OK, "", "set", "more", "-", NULL);
    assert_int_equal(command_shell("\"$FEOX\" s.feox scan > /dev/full 2> err"), FAILED);
    assert_int_equal(command_shell("\"$FEOX\" s.feox export > /dev/full 2> err"), FAILED);
    assert_int_equal(command_shell("\"$FEOX\" s.feox count >&- 2> err"), FAILED);
    assert_int_equal(command_shell("grep -q '^feox: standard output: Bad file' err"), 0);
}

/* On a terminal a value ends with a line end, and an export has no bar across it. */
static void on_a_terminal(void **state) {
    (void)state;
    if (command_shell("command -v script > /dev/null") != 0) {
        print_message("skipped: there is no script(1), which gives a command a terminal\n");
        skip();
    }
    fresh();
    command_expect(OK, "", "set", "k", "v", NULL);
    assert_int_equal(command_shell("script -qec '\"$FEOX\" s.feox get k' /dev/null < /dev/null |"
                                   " tr -d '\\r' > seen; test \"$(wc -l < seen)\" -eq 1"),
                     0);
    assert_int_equal(command_shell("script -qec '\"$FEOX\" s.feox export' /dev/null < /dev/null |"
                                   " tr -d '\\r' > seen;"
                                   " echo '{\"key\":\"k\",\"value\":\"v\"}' | cmp - seen"),
                     0);
}

/* A second command on a file that is open elsewhere is told so. */
static void one_at_a_time(void **state) {
    (void)state;
    fresh();
    assert_int_equal(
        command_shell("{ echo 'a 1'; while [ ! -e stop ]; do sleep 0.05; done; echo 'b 2'; } |"
                      " \"$FEOX\" s.feox import - --format delimited --delimiter ' ' > out &\n"
                      "for i in $(seq 100); do\n"
                      "  \"$FEOX\" s.feox count > count 2> err && echo early > early\n"
                      "  grep -q 'open in another process' err && break\n"
                      "  sleep 0.05\n"
                      "done\n"
                      "touch stop; wait\n"
                      "grep -q '^2 records imported$' out && grep -q 'open in another' err"),
        0);
    command_expect(OK, "2\n", "count", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_get_del),     cmocka_unit_test(set_conditions),
        cmocka_unit_test(every_byte),      cmocka_unit_test(compare_and_swap),
        cmocka_unit_test(counters),        cmocka_unit_test(documents),
        cmocka_unit_test(time_to_live),    cmocka_unit_test(scans),
        cmocka_unit_test(reports),         cmocka_unit_test(files_left_alone),
        cmocka_unit_test(limits),          cmocka_unit_test(usage),
        cmocka_unit_test(standard_output), cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(damage),          cmocka_unit_test(damage_on_the_way),
        cmocka_unit_test(options),         cmocka_unit_test(notations),
        cmocka_unit_test(on_a_terminal),
    };
    return cmocka_run_group_tests(tests, command_setup, command_teardown);
}
