/* Was: expected_keys made an index of several times memory_limit, which the first write threw away.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <unistd.h>

#define LIMIT ((uint64_t)4 << 20)

static uint64_t memory_of(kit *k) {
    feox_statistics statistics;
    feox_statistics_init(&statistics);
    assert_ok(feox_stats(k->store, &statistics));
    return statistics.memory_used;
}

/* Inserts until memory is full; returns how many keys found room. */
static unsigned fill(kit *k) {
    for (unsigned i = 0;; i++) {
        char key[16];
        char value[100] = {0};
        int len = snprintf(key, sizeof key, "%u", i);
        feox_status status = feox_insert(k->store, key, (size_t)len, value, sizeof value);
        if (status != FEOX_OK) {
            assert_int_equal(status, FEOX_ERR_MEMORY);
            return i;
        }
    }
}

static void no_hint_goes_past_the_limit(void **state) {
    kit *k = *state;
    k->options.memory_limit = LIMIT;
    kit_restart(k);
    unsigned without = fill(k);
    k->options.expected_keys = 10000000;
    kit_restart(k);
    assert_true(memory_of(k) <= LIMIT / 2);
    unsigned with = fill(k);
    assert_true(with >= without - without / 8);
}

/* The background gives memory of an empty store back: not what the hint asked for. */
static void the_hint_outlives_an_idle_store(void **state) {
    kit *k = *state;
    uint64_t empty = memory_of(k);
    k->options.expected_keys = 200000;
    k->options.sweep_interval_ms = 10;
    kit_restart(k);
    uint64_t before = memory_of(k);
    assert_true(before > empty + 1000000);
    usleep(200000);
    assert_ok(feox_insert(k->store, "key", 3, "value", 5));
    assert_ok(feox_delete(k->store, "key", 3));
    usleep(200000);
    assert_true(memory_of(k) + 100000 > before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_MEMORY(no_hint_goes_past_the_limit),
        KIT_TEST(the_hint_outlives_an_idle_store),
    };
    return cmocka_run_group_tests_name("issues/expected_keys_limit", tests, NULL, NULL);
}
