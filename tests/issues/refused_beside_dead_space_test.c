/* A file that may not grow, and of which two thirds were live, refused some of many updates with
 * FEOX_ERR_SPACE: a round of cleaning that gained nothing ended the search for room, though the
 * next one would have gained. */
#define _GNU_SOURCE
#include "support/kit.h"

enum { KEYS = 100000, ROUNDS = 3 };

static void test_updates_in_a_tight_file(void **state) {
    (void)state;
    feox_store *store = NULL;
    feox_options options;
    feox_statistics stats;
    uint64_t random = 17;
    unsigned char value[100] = {0};
    kit_options_init(&options);
    options.file_size_limit = (uint64_t)23 << 20;
    assert_ok(feox_open(fx_temp_fresh("tight"), &options, &store));
    for (uint64_t key = 0; key < KEYS; key++) {
        uint64_t name[2] = {kit_mix(key), key};
        assert_ok(feox_insert(store, name, sizeof name, value, sizeof value));
    }
    for (uint64_t i = 0; i < (uint64_t)KEYS * ROUNDS / (KIT_SLOW ? 4 : 1); i++) {
        uint64_t key = kit_below(&random, KEYS);
        uint64_t name[2] = {kit_mix(key), key};
        memcpy(value, &i, sizeof i);
        assert_ok(feox_insert(store, name, sizeof name, value, sizeof value));
    }
    assert_ok(feox_flush(store));
    feox_statistics_init(&stats);
    assert_ok(feox_stats(store, &stats));
    print_message("%llu of %llu bytes are live\n", (unsigned long long)stats.file_live,
                  (unsigned long long)stats.file_size);
    assert_true(stats.file_live > stats.file_size / 2);
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_updates_in_a_tight_file)};
    return cmocka_run_group_tests_name("issues/refused_beside_dead_space", tests, NULL, NULL);
}
