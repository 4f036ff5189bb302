/* An open that was interrupted, or could not look at the name of the file that it had just made,
 * took the file for one that is not ours, or for one that somebody else had made. */
#define _GNU_SOURCE
#include "support/tap.h"

#include "support/kit.h"

static tap_call which;
static int error;
static unsigned skip_first;

static bool fails_once(const tap_event *e, long *result) {
    *result = -error;
    return e->call == which && (skip_first-- == 0);
}

static feox_status open_with(const char *path, tap_call call, unsigned nth, int with) {
    feox_store *store = NULL;
    which = call;
    skip_first = nth - 1;
    error = with;
    tap_set(fails_once);
    feox_status status = feox_open(path, NULL, &store);
    tap_set(NULL);
    if (store != NULL) {
        assert_ok(feox_close(store));
    }
    return status;
}

static void test_open_interrupted(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("store");
    assert_ok(open_with(path, TAP_READ, 1, EINTR));
    fx_file_remove(path);
    assert_status(open_with(path, TAP_READ, 1, EIO), FEOX_ERR_IO);
    assert_false(fx_file_exists(path));
    assert_ok(open_with(path, TAP_LOCK, 1, EINTR));
    fx_file_remove(path);
    /* stat before, fstat, and stat after it was made. */
    for (unsigned nth = 2; nth <= 3; nth++) {
        assert_status(open_with(path, TAP_LOOK, nth, EIO), FEOX_ERR_IO);
        assert_false(fx_file_exists(path));
    }
    assert_ok(open_with(path, TAP_CALLS, 1, 0));
    fx_file_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open_interrupted)};
    return cmocka_run_group_tests_name("issues/open_interrupted", tests, NULL, NULL);
}
