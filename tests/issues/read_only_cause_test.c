/* A write that was refused because the device had failed said only that; now every one of them has
 * the cause, the same as the call that met it.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <sys/syscall.h>

#include "support/child.h"

static void child(const char *path, int backend) {
    feox_options options;
    feox_store *store = NULL;
    feox_statistics stats;
    char first[300];
    char value[8];
    size_t size = 0;
    kit_options_init(&options);
    options.io_backend = backend;
    options.flush_interval_ms = 3600000;
    options.sweep_interval_ms = 3600000;
    FX_CHILD_CHECK(feox_open(path, &options, &store) == FEOX_OK);
    FX_CHILD_CHECK(feox_insert(store, "k", 1, "v", 1) == FEOX_OK);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fdatasync, EDOM));
    FX_CHILD_CHECK(feox_flush(store) == FEOX_ERR_IO);
    (void)snprintf(first, sizeof first, "%s", feox_last_error());
    FX_CHILD_CHECK(strstr(first, strerror(EDOM)) != NULL);
    for (int i = 0; i < 3; i++) {
        FX_CHILD_CHECK(feox_insert(store, "k", 1, "w", 1) == FEOX_ERR_READ_ONLY);
        FX_CHILD_CHECK(strcmp(first, feox_last_error()) == 0);
        FX_CHILD_CHECK(feox_delete(store, "k", 1) == FEOX_ERR_READ_ONLY);
        FX_CHILD_CHECK(strcmp(first, feox_last_error()) == 0);
        FX_CHILD_CHECK(feox_flush(store) == FEOX_ERR_IO);
        FX_CHILD_CHECK(strcmp(first, feox_last_error()) == 0);
        FX_CHILD_CHECK(feox_get_into(store, "k", 1, value, sizeof value, &size) == FEOX_OK);
    }
    feox_statistics_init(&stats);
    FX_CHILD_CHECK(feox_stats(store, &stats) == FEOX_OK && stats.io_error == FEOX_ERR_IO);
    FX_CHILD_CHECK(feox_close(store) == FEOX_ERR_IO);
}

static void test_cause(void **state) {
    (void)state;
    assert_true(fx_child_run(child, fx_temp_fresh("threads"), FEOX_IO_THREADS));
    assert_true(fx_child_run(child, fx_temp_fresh("auto"), FEOX_IO_AUTO));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cause)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
