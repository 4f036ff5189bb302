/* Random operations, every call of the interface, against the model of support/store_model.h.
 *
 * Now and then everything is compared, the store is flushed, or closed and opened. FEOX_SEED
 * repeats a run, FEOX_MODEL_STEPS makes it longer.
 */
#define _GNU_SOURCE
#include "support/store_model.h"

static uint64_t choose(void *context, uint64_t limit) {
    return kit_below(context, limit);
}

static void run(kit *k, const char *name, uint64_t steps) {
    uint64_t random = kit_seed(name);
    store_model *m = store_model_create(k, choose, &random);
    steps = kit_env_number("FEOX_MODEL_STEPS", KIT_SLOW ? steps / 5 : steps);
    for (uint64_t step = 0; step < steps; step++) {
        store_model_step(m);
    }
    do {
        store_model_compare(m);
    } while (kit_again(k));
    store_model_destroy(m);
}

static void random_operations(void **state) {
    kit *k = *state;
    k->options.sweep_interval_ms = 5;
    kit_restart(k);
    run(k, "random_operations", 12000);
}

static void random_operations_under_a_memory_limit(void **state) {
    kit *k = *state;
    k->options.sweep_interval_ms = 5;
    k->options.flush_interval_ms = 2;
    k->options.memory_limit = 6 << 20;
    kit_restart(k);
    run(k, "random_operations_under_a_memory_limit", 4000);
}

static void random_operations_in_a_durable_store(void **state) {
    kit *k = *state;
    k->options.durability = FEOX_DURABILITY_DURABLE;
    kit_restart(k);
    run(k, "random_operations_in_a_durable_store", 400);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(random_operations),
        KIT_FILE(random_operations_under_a_memory_limit),
        KIT_FILE(random_operations_in_a_durable_store),
    };
    return cmocka_run_group_tests_name("model/store_model", tests, NULL, NULL);
}
