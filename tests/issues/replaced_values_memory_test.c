/* A large value that is replaced again and again must not pile up its predecessors: memory_limit
 * means real memory at every moment, not only after the next pass of the background thread.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#define MIB ((uint64_t)1 << 20)

static void replaced_values_do_not_pile_up(void **state) {
    kit *k = *state;
    k->options.memory_limit = 16 * MIB;
    k->options.flush_interval_ms = 3600000;
    k->options.sweep_interval_ms = 3600000;
    kit_restart(k);
    unsigned char *value = kit_alloc(MIB);
    memset(value, 1, MIB);
    uint64_t most = 0;
    for (unsigned i = 0; i < 60; i++) {
        assert_ok(feox_insert(k->store, "k", 1, value, MIB));
        feox_statistics stats;
        feox_statistics_init(&stats);
        assert_ok(feox_stats(k->store, &stats));
        most = stats.memory_used > most ? stats.memory_used : most;
    }
    free(value);
    assert_in_range(most, MIB, 16 * MIB);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_MEMORY(replaced_values_do_not_pile_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
