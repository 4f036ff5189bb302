/* JSON Patch and Merge Patch as calls on a store. The grammar itself is tested below the store. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>

static feox_status patch(kit *k, const char *key, const char *text) {
    return feox_json_patch(k->store, key, strlen(key), text, strlen(text));
}

static feox_status merge(kit *k, const char *key, const char *text) {
    return feox_json_merge(k->store, key, strlen(key), text, strlen(text));
}

typedef struct json_case {
    const char *document;
    const char *change;
    const char *result; /* NULL: refused */
    feox_status status;
} json_case;

/* Each case leaves its result, or the document as it was: value, version and all. */
static void run_cases(kit *k, const json_case *cases, size_t count, bool merging) {
    char key[32];
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "case%zu", i);
        assert_ok(kit_put(k, key, cases[i].document));
        uint64_t version = kit_info(k, key).version;
        feox_status status =
            merging ? merge(k, key, cases[i].change) : patch(k, key, cases[i].change);
        if (status != cases[i].status) {
            print_error("case %zu: %s with %s\n", i, cases[i].document, cases[i].change);
        }
        assert_status(status, cases[i].status);
        if (cases[i].result == NULL) {
            assert_int_equal(kit_info(k, key).version, version);
        }
    }
    do {
        for (size_t i = 0; i < count; i++) {
            snprintf(key, sizeof key, "case%zu", i);
            kit_expect(k, key, cases[i].result != NULL ? cases[i].result : cases[i].document);
        }
    } while (kit_again(k));
}

#define RUN(k, cases, merging) run_cases(k, cases, sizeof(cases) / sizeof *(cases), merging)

static void patch_operations(void **state) {
    static const json_case cases[] = {
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]", "{\"a\":2}", FEOX_OK},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":[1]}]", "{\"a\":[1]}", FEOX_OK},
        {"{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"b\":2}", FEOX_OK},
        {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"b\":1}", FEOX_OK},
        {"[1]", "[{\"op\":\"copy\",\"from\":\"/0\",\"path\":\"/1\"}]", "[1,1]", FEOX_OK},
        {"[1,3]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2}]", "[1,2,3]", FEOX_OK},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/-\",\"value\":2}]", "[1,2]", FEOX_OK},
        {"[1,2,3]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", "[1,3]", FEOX_OK},
        {"{\"a\":{\"b\":{\"c\":1}}}", "[{\"op\":\"replace\",\"path\":\"/a/b/c\",\"value\":null}]",
         "{\"a\":{\"b\":{\"c\":null}}}", FEOX_OK},
        {"{\"a/b\":1,\"m~n\":2}",
         "[{\"op\":\"replace\",\"path\":\"/a~1b\",\"value\":3},"
         "{\"op\":\"replace\",\"path\":\"/m~0n\",\"value\":4}]",
         "{\"a/b\":3,\"m~n\":4}", FEOX_OK},
        {"1", "[{\"op\":\"replace\",\"path\":\"\",\"value\":\"x\"}]", "\"x\"", FEOX_OK},
        {"{\"a\":1}",
         "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1.0},"
         "{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]",
         "{\"a\":2}", FEOX_OK},
    };
    RUN(*state, cases, false);
}

static void patches_that_are_refused(void **state) {
    static const json_case cases[] = {
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}",
         "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2},"
         "{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]",
         NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":2}]", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL, FEOX_ERR_PATCH},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/5\",\"value\":2}]", NULL, FEOX_ERR_PATCH},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/01\",\"value\":2}]", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "[{\"op\":\"frob\",\"path\":\"/a\"}]", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\"}]", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"a\"}]", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "{\"op\":\"remove\",\"path\":\"/a\"}", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "[1]", NULL, FEOX_ERR_PATCH},
        {"{\"a\":1}", "[{\"op\":\"add\",\"op\":\"remove\",\"path\":\"/a\"}]", NULL,
         FEOX_ERR_PATCH},
        {"{\"a\":1,\"a\":2}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":3}]", NULL,
         FEOX_ERR_PATCH},
        {"{\"a\":1}", "[", NULL, FEOX_ERR_JSON},
        {"{\"a\":1}", "", NULL, FEOX_ERR_JSON},
        {"{\"a\":1}", "[] x", NULL, FEOX_ERR_JSON},
        {"{\"a\":1", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL, FEOX_ERR_JSON},
        {"", "[]", NULL, FEOX_ERR_JSON},
        {"{\"a\":01}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL, FEOX_ERR_JSON},
        {"{'a':1}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL, FEOX_ERR_JSON},
        {"{\"a\":9007199254740993}",
         "[{\"op\":\"test\",\"path\":\"/a\",\"value\":9007199254740992}]", NULL, FEOX_ERR_PATCH},
    };
    RUN(*state, cases, false);
}

static void untouched_bytes_stay_as_they_are(void **state) {
    static const json_case cases[] = {
        {"{ \"z\" : 1.0e+2, \"a\":12345678901234567890123 , \"x\":0 }",
         "[{\"op\":\"replace\",\"path\":\"/x\",\"value\":-0}]",
         "{ \"z\" : 1.0e+2, \"a\":12345678901234567890123 , \"x\":-0 }", FEOX_OK},
        {"{\"s\":\"\\u0041\\u0000\\/\",\"x\":[ 1 , 2 ]}",
         "[{\"op\":\"test\",\"path\":\"/s\",\"value\":\"A\\u0000/\"},"
         "{\"op\":\"replace\",\"path\":\"/x/0\",\"value\":9}]",
         "{\"s\":\"\\u0041\\u0000\\/\",\"x\":[ 9 , 2 ]}", FEOX_OK},
        {"{\"b\":1,\"a\":{\"d\":1,\"c\":2}}",
         "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"c\":2,\"d\":1}},"
         "{\"op\":\"replace\",\"path\":\"/b\",\"value\":1e400}]",
         "{\"b\":1e400,\"a\":{\"d\":1,\"c\":2}}", FEOX_OK},
    };
    RUN(*state, cases, false);
}

/* RFC 7396, the cases of its appendix whose spelling is determined. */
static void merge_operations(void **state) {
    static const json_case cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", FEOX_OK},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}", FEOX_OK},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}", FEOX_OK},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}", FEOX_OK},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", FEOX_OK},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}", FEOX_OK},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}",
         FEOX_OK},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}", FEOX_OK},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]", FEOX_OK},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]", FEOX_OK},
        {"{\"a\":\"foo\"}", "null", "null", FEOX_OK},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\"", FEOX_OK},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}", FEOX_OK},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}", FEOX_OK},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}", FEOX_OK},
        {"{\"a\":1}", "{\"a\":", NULL, FEOX_ERR_JSON},
        {"{\"a\"", "{\"a\":1}", NULL, FEOX_ERR_JSON},
        {"{\"a\":1}", "", NULL, FEOX_ERR_JSON},
    };
    RUN(*state, cases, true);
}

static void missing_key(void **state) {
    kit *k = *state;
    assert_status(patch(k, "none", "[]"), FEOX_NOT_FOUND);
    assert_status(merge(k, "none", "{\"a\":1}"), FEOX_NOT_FOUND);
    kit_expect_absent(k, "none");
}

static void empty_patch_is_ok(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", " { \"a\" : 1 } "));
    assert_ok(patch(k, "key", "[]"));
    assert_ok(merge(k, "key", "{}"));
    do {
        kit_expect(k, "key", " { \"a\" : 1 } ");
    } while (kit_again(k));
}

static void with_conditions_and_result(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    const char *change = "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]";
    assert_ok(kit_put(k, "key", "{\"a\":1}"));
    uint64_t version = kit_info(k, "key").version;
    write.flags = FEOX_IF_VERSION;
    write.version = version + 1;
    assert_status(feox_json_patch_with(k->store, "key", 3, change, strlen(change), &write, NULL),
                  FEOX_MISMATCH);
    assert_status(feox_json_merge_with(k->store, "key", 3, "{\"a\":3}", 7, &write, NULL),
                  FEOX_MISMATCH);
    kit_expect(k, "key", "{\"a\":1}");
    write.version = version;
    assert_ok(feox_json_patch_with(k->store, "key", 3, change, strlen(change), &write, &written));
    assert_true(written.version > version);
    assert_int_equal(written.created, 0);
    kit_expect(k, "key", "{\"a\":2}");
    assert_status(feox_json_merge_with(k->store, "key", 3, "{\"a\":3}", 7, &write, NULL),
                  FEOX_MISMATCH);
    write.version = written.version;
    assert_ok(feox_json_merge_with(k->store, "key", 3, "{\"a\":3}", 7, &write, NULL));
    do {
        kit_expect(k, "key", "{\"a\":3}");
    } while (kit_again(k));
}

static void nest(char *text, size_t depth) {
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[2 * depth] = 0;
}

static void bounds_on_depth_and_operations(void **state) {
    kit *k = *state;
    char text[600];
    nest(text, 128);
    assert_ok(kit_put(k, "deep", text));
    assert_status(patch(k, "deep", "[{\"op\":\"test\",\"path\":\"/0/1\",\"value\":1}]"),
                  FEOX_ERR_PATCH);
    assert_ok(patch(k, "deep", "[]"));
    nest(text, 129);
    assert_ok(kit_put(k, "deeper", text));
    assert_failure(patch(k, "deeper", "[{\"op\":\"add\",\"path\":\"/-\",\"value\":1}]"));
    kit_expect(k, "deeper", text);
    assert_ok(kit_put(k, "flat", "[]"));
    static const char operation[] = "{\"op\":\"add\",\"path\":\"/-\",\"value\":1}";
    char *long_patch = kit_alloc(10001 * sizeof operation + 3);
    for (int count = 10000; count <= 10001; count++) {
        size_t at = 0;
        long_patch[at++] = '[';
        for (int i = 0; i < count; i++) {
            memcpy(long_patch + at, operation, sizeof operation - 1);
            at += sizeof operation - 1;
            long_patch[at++] = i + 1 < count ? ',' : ']';
        }
        long_patch[at] = 0;
        if (count == 10000) {
            assert_ok(patch(k, "flat", long_patch));
        } else {
            assert_status(patch(k, "flat", long_patch), FEOX_ERR_PATCH);
        }
        assert_int_equal(kit_info(k, "flat").value_size, 2 * 10000 + 1);
    }
    free(long_patch);
}

/* Patches retry on the current generation: no update is lost. */
typedef struct crowd {
    feox_store *store;
    atomic_int next;
    atomic_int failures;
} crowd;

static void *append_many(void *argument) {
    crowd *c = argument;
    int me = atomic_fetch_add(&c->next, 1);
    char text[96];
    for (int i = 0; i < 50; i++) {
        int length = snprintf(text, sizeof text,
                              "[{\"op\":\"add\",\"path\":\"/-\",\"value\":%d}]", me * 1000 + i);
        if (feox_json_patch(c->store, "list", 4, text, (size_t)length) != FEOX_OK) {
            atomic_fetch_add(&c->failures, 1);
        }
    }
    return NULL;
}

static void concurrent_patches_lose_nothing(void **state) {
    kit *k = *state;
    crowd c = {.store = k->store};
    pthread_t threads[4];
    /* Long, so that it takes time to patch, and others come in between. */
    char *list = kit_alloc(50004);
    memset(list, 'x', 50004);
    memcpy(list, "[\"", 2);
    memcpy(list + 50001, "\"]", 3);
    assert_ok(kit_put(k, "list", list));
    free(list);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, append_many, &c), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.failures), 0);
    do {
        void *value = NULL;
        size_t size = 0;
        assert_ok(feox_get(k->store, "list", 4, &value, &size));
        size_t commas = 0;
        for (size_t i = 0; i < size; i++) {
            commas += ((const char *)value)[i] == ',';
        }
        assert_int_equal(commas, 200);
        feox_free(value);
    } while (kit_again(k));
}

/* The result of a patch is bounded like any other value, and what was there stays. */
static void result_is_bounded(void **state) {
    kit *k = *state;
    const char *patch = "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]";
    char text[96];
    k->options.value_size_limit = 100;
    kit_restart(k);
    for (int length = 30; length < 60; length++) {
        snprintf(text, sizeof text, "{\"a\":\"%0*d\"}", length, 1);
        assert_ok(kit_put(k, "doc", text));
        bool fits = 2 * length + 15 <= 100;
        assert_status(feox_json_patch(k->store, "doc", 3, patch, strlen(patch)),
                      fits ? FEOX_OK : FEOX_ERR_TOO_LARGE);
        if (!fits) {
            kit_expect(k, "doc", text);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(patch_operations),
        KIT_TEST(patches_that_are_refused),
        KIT_TEST(untouched_bytes_stay_as_they_are),
        KIT_TEST(merge_operations),
        KIT_TEST(missing_key),
        KIT_TEST(empty_patch_is_ok),
        KIT_TEST(with_conditions_and_result),
        KIT_TEST(bounds_on_depth_and_operations),
        KIT_TEST(concurrent_patches_lose_nothing),
        KIT_TEST(result_is_bounded),
    };
    return cmocka_run_group_tests_name("api/json_api", tests, NULL, NULL);
}
