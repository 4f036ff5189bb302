/* error: the detail is the calling thread's own, cut to fit, and missing without harm. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "support/child.h"

static void without_keys(const char *path, int number) {
    pthread_key_t key;
    (void)path;
    (void)number;
    while (pthread_key_create(&key, NULL) == 0) {
    }
    fx_error_clear();
    FX_CHILD_CHECK(fx_error_set(FEOX_ERR_IO, EIO, "detail") == FEOX_ERR_IO);
    FX_CHILD_CHECK(strcmp(fx_error_text(), "") == 0);
}

/* A host that has taken every key of thread-specific data gets the status, and no detail. Before
 * any other test, for the key is taken once. */
static void test_no_key_left(void **state) {
    (void)state;
    assert_true(fx_child_run(without_keys, "", 0));
}

static void test_set_and_clear(void **state) {
    (void)state;
    assert_string_equal(fx_error_text(), "");
    fx_error_clear();
    assert_int_equal(fx_error_set(FEOX_ERR_IO, 0, "block %d of %s", 7, "x.feox"), FEOX_ERR_IO);
    assert_string_equal(fx_error_text(), "block 7 of x.feox");
    assert_int_equal(fx_error_set(FEOX_ERR_SPACE, ENOSPC, "growing"), FEOX_ERR_SPACE);
    assert_non_null(strstr(fx_error_text(), "growing: "));
    assert_non_null(strstr(fx_error_text(), strerror(ENOSPC)));
    fx_error_clear();
    assert_string_equal(fx_error_text(), "");
}

/* Lengths around that of the buffer, with and without room for the reason. */
static void test_long_text_is_cut(void **state) {
    (void)state;
    char text[1024];
    memset(text, 'x', sizeof text);
    for (int length = 480; length < 560; length++) {
        for (int error = 0; error <= EIO; error += EIO) {
            assert_int_equal(fx_error_set(FEOX_ERR_IO, error, "%.*s", length, text), FEOX_ERR_IO);
            size_t got = strlen(fx_error_text());
            assert_true(got >= 480 && got < 512);
            assert_memory_equal(fx_error_text(), text, length < 511 ? (size_t)length : 511);
        }
    }
    fx_error_clear();
}

static void *other_thread(void *argument) {
    uint32_t *wrong = argument;
    if (fx_error_text()[0] != '\0') {
        fx_add_relaxed(wrong, 1u);
    }
    (void)fx_error_set(FEOX_ERR_IO, 0, "other");
    if (strcmp(fx_error_text(), "other") != 0) {
        fx_add_relaxed(wrong, 1u);
    }
    return NULL; /* and its buffer goes with it: a leak otherwise */
}

static void test_each_thread_has_its_own(void **state) {
    (void)state;
    uint32_t wrong = 0;
    (void)fx_error_set(FEOX_ERR_IO, 0, "mine");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, other_thread, &wrong), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(wrong, 0);
    assert_string_equal(fx_error_text(), "mine");
}

static void *without_memory(void *argument) {
    uint32_t *wrong = argument;
    fx_mem_fail_after(1, true);
    if (fx_error_set(FEOX_ERR_MEMORY, ENOMEM, "no") != FEOX_ERR_MEMORY ||
        fx_error_text()[0] != '\0') {
        fx_add_relaxed(wrong, 1u);
    }
    fx_mem_fail_after(0, false);
    return NULL;
}

static void test_without_memory(void **state) {
    (void)state;
    uint32_t wrong = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, without_memory, &wrong), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_key_left),      cmocka_unit_test(test_set_and_clear),
        cmocka_unit_test(test_long_text_is_cut), cmocka_unit_test(test_each_thread_has_its_own),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
