/* Was: a file_size_initial beyond what any file can have was FEOX_ERR_IO, as if the device had
 * failed, and not FEOX_ERR_SPACE like one that only this device has no room for.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <unistd.h>

static void too_large_for_any_file_is_no_space(void **state) {
    kit *k = *state;
    const uint64_t sizes[] = {(uint64_t)1 << 60, (uint64_t)1 << 63, UINT64_MAX};
    kit_close(k);
    fx_file_remove(k->path);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        k->options.file_size_initial = sizes[i];
        assert_status(feox_open(k->path, &k->options, &k->store), FEOX_ERR_SPACE);
        assert_null(k->store);
        assert_int_not_equal(access(k->path, F_OK), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(too_large_for_any_file_is_no_space)};
    return cmocka_run_group_tests_name("issues/initial_size", tests, NULL, NULL);
}
