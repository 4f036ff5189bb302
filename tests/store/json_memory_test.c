/* json: no memory. The arenas ask for few large pieces; a name of growing length in front of all
 * else lets each thing in turn be the one for which the next piece is needed, and that fails. The
 * answer is FEOX_ERR_MEMORY and nothing, or the right result. Bounds of the arenas themselves, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "store/json.h"
#include "store/json_scan.h"
#include "store/json_tree.h"

#define LIMIT ((size_t)1 << 20)
#define MEMBERS 600
/* The first piece of an arena. */
#define PIECE 4096u

typedef feox_status json_function(const char *, size_t, const char *, size_t, size_t, char **,
                                  size_t *);

/* %s is where the long name goes. */
typedef struct scenario {
    const char *name;
    json_function *function;
    const char *document;
    const char *patch;
} scenario;

#define HUNDRED                                                                                    \
    "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,"      \
    "32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59]"
#define TAIL                                                                                       \
    "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33," \
    "34,35,36,37,38,39,40,41,42,43]"
/* More containers than the first memory of what is open has room for, twice. */
#define SEVEN(x)                                                                                   \
    "\"" x "0\":[],\"" x "1\":[],\"" x "2\":[],\"" x "3\":[],\"" x "4\":[],\"" x "5\":[],\"" x     \
    "6\":[]"
#define MANY "{" SEVEN("a") "," SEVEN("b") "," SEVEN("c") "," SEVEN("d") "," SEVEN("e") "}"
#define OBJECT "{\"b\":{\"c\":[1,{\"d\":2}]},\"a\":[[1],[2]],\"e~\":null,\"\\u0066\":\"x\"}"

static const scenario scenarios[] = {
    {"add", fx_json_patch, "{%s\"o\":" OBJECT "}",
     "[{%s\"op\":\"add\",\"path\":\"/o/n~0~1\",\"value\":{\"z\":[1]}},"
     "{\"op\":\"add\",\"path\":\"/o/b/c/1/new\",\"value\":3}]"},
    {"array", fx_json_patch, "{%s\"o\":" HUNDRED "}",
     "[{%s\"op\":\"add\",\"path\":\"/o/40\",\"value\":\"x\"},{\"op\":\"remove\",\"path\":\"/o/7\"},"
     "{\"op\":\"replace\",\"path\":\"/o/50\",\"value\":[]},"
     "{\"op\":\"move\",\"from\":\"/o/3\",\"path\":\"/o/-\"}]"},
    {"copy", fx_json_patch, "{%s\"o\":" OBJECT ",\"h\":" HUNDRED "}",
     "[{%s\"op\":\"copy\",\"from\":\"/o\",\"path\":\"/p\"},"
     "{\"op\":\"add\",\"path\":\"/p/b/c/0\",\"value\":9},{\"op\":\"remove\",\"path\":\"/p/a/0/0\"},"
     "{\"op\":\"copy\",\"from\":\"/h\",\"path\":\"/i\"},{\"op\":\"remove\",\"path\":\"/i/33\"},"
     "{\"op\":\"add\",\"path\":\"/h/5\",\"value\":{\"q\":1}},"
     "{\"op\":\"move\",\"from\":\"/o/b\",\"path\":\"/i/2\"}]"},
    {"test", fx_json_patch, "{%s\"o\":" OBJECT ",\"h\":[" OBJECT "," HUNDRED "]}",
     "[{%s\"op\":\"test\",\"path\":\"/o\",\"value\":" OBJECT "},"
     "{\"op\":\"test\",\"path\":\"/h\",\"value\":[" OBJECT "," HUNDRED "]}]"},
    {"copy of an array", fx_json_patch, "[{%s\"a\":1}," TAIL,
     "[{\"op\":\"test\",\"path\":\"/0/a\",\"value\":1},{\"op\":\"copy\",\"from\":\"/"
     "0\",\"path\":\"/1\"},"
     "{\"op\":\"remove\",\"path\":\"/33\"}]"},
    {"copy and add", fx_json_patch, "[{%s\"a\":1}," TAIL,
     "[{\"op\":\"test\",\"path\":\"/0/a\",\"value\":1},{\"op\":\"copy\",\"from\":\"/"
     "0\",\"path\":\"/-\"},"
     "{\"op\":\"add\",\"path\":\"/33\",\"value\":1}]"},
    {"copy and look", fx_json_patch, "[{%s\"a\":1}," MANY "]",
     "[{\"op\":\"test\",\"path\":\"/0/a\",\"value\":1},{\"op\":\"copy\",\"from\":\"/"
     "0\",\"path\":\"/-\"},"
     "{\"op\":\"test\",\"path\":\"/1\",\"value\":" MANY "}]"},
    {"merge", fx_json_merge, "{%s\"o\":" OBJECT ",\"h\":1}",
     "{%s\"o\":{\"b\":{\"c\":null,\"x\":{\"y\":null,\"z\":1}},\"n\":{\"m\":{\"k\":null}}},"
     "\"h\":{\"i\":{\"j\":[1,2]}},\"e\":null}"},
    {"merge into nothing", fx_json_merge, "[1,2]",
     "{%s\"z\":{\"y\":null,\"x\":{\"w\":1}},\"a\":{\"b\":{\"c\":\"\\u00e4\"}}}"},
};

/* A member with an escaped name, which takes `length` bytes of an arena; "": none. */
static void long_name(char *out, size_t length) {
    out[0] = '\0';
    if (length > 0) {
        (void)sprintf(out, "\"\\u0041%0*d\":0,", (int)length, 0);
    }
}

static char *text_of(const char *format, const char *name) {
    size_t size = strlen(format) + strlen(name) + 1;
    char *text = malloc(size);
    const char *at = strstr(format, "%s");
    if (at == NULL) {
        memcpy(text, format, strlen(format) + 1);
    } else {
        (void)snprintf(text, size, "%.*s%s%s", (int)(at - format), format, name, at + 2);
    }
    return text;
}

/* Until it succeeds: one failing allocation later each time. How often it failed. */
static unsigned run(const scenario *s, size_t document_name, size_t patch_name) {
    static char name[2 * PIECE + 64];
    unsigned failed = 0;
    size_t right_len = 0;
    char *right = NULL;
    long_name(name, document_name);
    char *document = text_of(s->document, name);
    long_name(name, patch_name);
    char *patch = text_of(s->patch, name);
    feox_status status =
        s->function(document, strlen(document), patch, strlen(patch), LIMIT, &right, &right_len);
    assert_int_equal(status, FEOX_OK);
    for (unsigned n = 1;; n++) {
        char *result = NULL;
        size_t result_len = 0;
        fx_mem_fail_after(n, true);
        status = s->function(document, strlen(document), patch, strlen(patch), LIMIT, &result,
                             &result_len);
        fx_mem_fail_after(0, false);
        if (status == FEOX_OK) {
            assert_int_equal(result_len, right_len);
            assert_memory_equal(result, right, right_len);
            fx_mem_free(result);
            break;
        }
        assert_int_equal(status, FEOX_ERR_MEMORY);
        assert_true(result == NULL && result_len == 0);
        failed++;
    }
    fx_mem_free(right);
    free(document);
    free(patch);
    return failed;
}

static void test_every_allocation(void **state) {
    (void)state;
    size_t step = getenv("FEOX_LONG") != NULL ? 8 : 24; /* bytes of an arena */
    unsigned failed = 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        for (size_t length = 0; length < 2 * PIECE; length += step) {
            failed += run(&scenarios[i], length, 0);
            failed += run(&scenarios[i], 0, length);
        }
    }
    print_message("%u failures\n", failed);
    assert_true(failed > 10000);
}

/* Two objects with so many members that the lists of both do not fit the memory that one of them
 * needed: it is short when the result is written, and not before. */
static void test_writing(void **state) {
    (void)state;
    char *document = malloc(2 * MEMBERS * 16 + 64);
    char *at = document;
    for (unsigned object = 0; object < 2; object++) {
        at += sprintf(at, object == 0 ? "{\"a\":{" : ",\"b\":{");
        for (unsigned i = 0; i < MEMBERS; i++) {
            at += sprintf(at, "%s\"m%u\":0", i > 0 ? "," : "", i);
        }
        at += sprintf(at, "}");
    }
    (void)sprintf(at, ",\"c\":1}");
    const scenario s = {"writing", fx_json_patch, document,
                        "[{\"op\":\"remove\",\"path\":\"/a/m5\"},"
                        "{\"op\":\"remove\",\"path\":\"/b/m9\"}]"};
    assert_true(run(&s, 0, 0) > 4);
    free(document);
}

/* An arena ends at its maximum, which no length of input makes overflow. */
static void test_arena_bounds(void **state) {
    (void)state;
    fx_json_arena arena = {.total_max = 3 * PIECE};
    assert_true(fx_json_reserve(&arena, PIECE));
    assert_true(fx_json_reserve(&arena, PIECE)); /* it is still there */
    arena.used = PIECE;
    assert_true(fx_json_reserve(&arena, 1)); /* twice the size, and all that there may be */
    assert_int_equal(arena.total, 3 * PIECE);
    arena.used = 2 * PIECE;
    assert_false(fx_json_reserve(&arena, 1));
    assert_null(fx_json_alloc(&arena, 0));
    assert_int_equal(arena.total, 3 * PIECE);
    fx_json_tree tree = {.memory = arena};
    fx_json_tree_deinit(&tree);
    /* Pieces double up to a megabyte; what was larger is not kept for the next operation. */
    enum { MEGABYTE = 1 << 20 };
    arena = (fx_json_arena){.total_max = 16 * MEGABYTE};
    assert_true(fx_json_reserve(&arena, MEGABYTE));
    arena.used = MEGABYTE;
    assert_true(fx_json_reserve(&arena, 1));
    assert_int_equal(arena.total, 2 * MEGABYTE);
    fx_json_reset(&arena);
    assert_int_equal(arena.total, MEGABYTE);
    assert_true(fx_json_reserve(&arena, 3 * MEGABYTE));
    fx_json_reset(&arena);
    assert_int_equal(arena.total, 0);
    assert_null(arena.chunk);
    const size_t inputs[] = {1, 1000, SIZE_MAX / 256, SIZE_MAX};
    size_t before = 0;
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        fx_json_tree_init(&tree, "1", 1, inputs[i]);
        assert_true(tree.memory.total_max > before);
        assert_true(tree.memory.total_max > inputs[i] || inputs[i] == SIZE_MAX);
        before = i == 2 ? 0 : tree.memory.total_max;
        fx_json_tree_deinit(&tree);
    }
}

/* So many digits and not more are compared in all. */
static void test_digits_compared(void **state) {
    (void)state;
    static const char digits[] = "1234";
    fx_json_tree tree;
    fx_json_tree_init(&tree, digits, 4, 4);
    fx_json_value other = fx_json_value_at(digits, digits + 4);
    tree.compared_max = 11;
    for (unsigned i = 0; i < 4; i++) {
        bool equal = false;
        feox_status status = fx_json_equal(&tree, &tree.root.value, tree.epoch, &other, &equal);
        assert_int_equal(status, i < 2 ? FEOX_OK : FEOX_ERR_PATCH);
        assert_int_equal(equal, i < 2);
    }
    fx_json_tree_deinit(&tree);
}

/* Texts that offsets of 32 bits cannot tell apart are refused before they are looked at. */
static void test_text_too_long(void **state) {
    (void)state;
    assert_int_equal(fx_json_validate("a text", "1", UINT32_MAX, 0), FEOX_ERR_TOO_LARGE);
    assert_int_equal(fx_json_validate("a text", "1", 1, 0), FEOX_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation), cmocka_unit_test(test_writing),
        cmocka_unit_test(test_arena_bounds),     cmocka_unit_test(test_digits_compared),
        cmocka_unit_test(test_text_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
