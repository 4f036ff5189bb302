/* Was: with a file_size_limit somewhat above what the error named as the least, a store could be
 * made in which nothing found room.
 */
#define _GNU_SOURCE
#include "support/kit.h"

static void what_can_be_made_can_be_used(void **state) {
    kit *k = *state;
    unsigned made = 0;
    for (uint64_t limit = 1 << 20; limit < 4 << 20; limit += 64 << 10) {
        kit_close(k);
        fx_file_remove(k->path);
        k->options.file_size_limit = limit;
        feox_status status = feox_open(k->path, &k->options, &k->store);
        if (status == FEOX_OK) {
            for (unsigned i = 0; i < 1000; i++) {
                char key[16];
                int len = snprintf(key, sizeof key, "%u", i % 100);
                assert_ok(feox_insert(k->store, key, (size_t)len, "value", 5));
            }
            made++;
        } else {
            assert_int_equal(status, FEOX_ERR_SPACE);
            assert_int_equal(made, 0);
            assert_non_null(strstr(feox_last_error(), "a store needs at least"));
            k->options.file_size_limit = 0;
            kit_open(k);
        }
    }
    assert_true(made > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(what_can_be_made_can_be_used)};
    return cmocka_run_group_tests_name("issues/smallest_file", tests, NULL, NULL);
}
