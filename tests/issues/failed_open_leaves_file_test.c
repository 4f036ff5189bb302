/* A feox_open that failed behind the point where it had made the file left the file there: empty,
 * half made or whole, by what had failed. A call that fails changes nothing.
 */
#define _GNU_SOURCE
#include "base/mem.h"
#include "support/kit.h"

static void expect_untouched(const char *path, const feox_options *options, feox_status wanted) {
    feox_store *store = NULL;
    assert_status(feox_open(path, options, &store), wanted);
    assert_null(store);
}

static void a_failed_open_leaves_no_file(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("store");
    feox_options options;
    kit_options_init(&options);
    options.file_size_limit = 8192;
    expect_untouched(path, &options, FEOX_ERR_SPACE);
    assert_false(fx_file_exists(path));
    /* An empty file was there before: it still is, and is empty. */
    fx_file_write(path, "", 0);
    expect_untouched(path, &options, FEOX_ERR_SPACE);
    assert_true(fx_file_exists(path));
    assert_int_equal(fx_file_size(path), 0);
    fx_file_remove(path);
}

/* Every allocation fails once; the last ones are those of the background threads. */
static void no_memory_leaves_no_file(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("store");
    feox_options options;
    kit_options_init(&options);
    for (unsigned empty = 0; empty < 2; empty++) {
        uint64_t failed = 1;
        for (uint64_t n = 1; failed > 0; n++) {
            feox_store *store = NULL;
            if (empty != 0) {
                fx_file_write(path, "", 0);
            }
            fx_mem_fail_after(n, false);
            feox_status status = feox_open(path, &options, &store);
            fx_mem_fail_after(0, false);
            failed = fx_mem_failed();
            assert_true(status == FEOX_OK || (status == FEOX_ERR_MEMORY && failed > 0));
            if (status == FEOX_OK) {
                assert_ok(feox_close(store));
            } else {
                assert_int_equal(fx_file_exists(path), empty != 0);
                assert_true(empty == 0 || fx_file_size(path) == 0);
            }
            fx_file_remove(path);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_open_leaves_no_file),
        cmocka_unit_test(no_memory_leaves_no_file),
    };
    return cmocka_run_group_tests_name("issues/failed_open_leaves_file", tests, NULL, NULL);
}
