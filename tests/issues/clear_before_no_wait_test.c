/* Was: keys that this thread had written with FEOX_NO_WAIT came back behind a feox_clear that had
 * returned FEOX_OK.
 */
#define _GNU_SOURCE
#include "support/kit.h"

static void clear_takes_what_was_not_waited_for(void **state) {
    kit *k = *state;
    feox_write write;
    feox_written written = {0};
    k->options.flush_interval_ms = 60000;
    kit_restart(k);
    for (unsigned round = 0; round < 20; round++) {
        feox_write_init(&write);
        write.flags = FEOX_DURABLE | FEOX_NO_WAIT;
        for (unsigned i = 0; i < 40; i++) {
            char key[16];
            int len = snprintf(key, sizeof key, "key %u", i);
            assert_ok(feox_insert_with(k->store, key, (size_t)len, "value", 5, &write, &written));
        }
        assert_ok(feox_clear(k->store));
        assert_ok(feox_wait_durable(k->store, written.sequence, 60000));
        assert_int_equal(kit_count(k), 0);
    }
    kit_reopen(k);
    assert_int_equal(kit_count(k), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_TEST(clear_takes_what_was_not_waited_for)};
    return cmocka_run_group_tests_name("issues/clear_before_no_wait", tests, NULL, NULL);
}
