/* feox_compact went on for ever beside somebody who wrote a little all the time: what it moved out
 * of the journal made a new segment in each step, and it took that for a gain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/mem.h"
#include "engine/cleaner.h"
#include "support/mem_dev.h"
#include "support/stage.h"

/* Steps that a store with next to nothing in it may take, and allocations that no more of them
 * make. */
#define STEPS_MAX 20u
#define PATIENCE 20000u

typedef struct world {
    stage s;
    mem_dev *dev;
    uint64_t step; /* in which the last write was made */
    unsigned writes;
} world;

static uint64_t steps(const world *w) {
    return fx_load_relaxed(&w->s.engine.flusher->figures.checkpoints);
}

/* One small write in each step. */
static void write_one(void *context) {
    world *w = context;
    fx_committed committed;
    fx_change change = {.key = (const uint8_t *)"key",
                        .key_len = 3,
                        .value = (const uint8_t *)"value",
                        .value_len = 5,
                        .hash = fx_engine_hash(&w->s.engine, "key", 3)};
    if (w->step != steps(w) && stage_try(&w->s, &change, &committed) == FEOX_OK) {
        w->step = steps(w);
        w->writes++;
    }
}

static void test_ends(void **state) {
    (void)state;
    world w = {.dev = mem_dev_create(11), .step = UINT64_MAX};
    w.s.door = mem_dev_door(w.dev);
    w.s.file.file_size_initial = (uint64_t)16 << 20; /* no write has to make room */
    assert_int_equal(stage_open(&w.s, false), FEOX_OK);
    assert_int_equal(stage_put(&w.s, "another", 1, 1000), FEOX_OK);
    assert_int_equal(stage_sync(&w.s), FEOX_OK);
    uint64_t before = steps(&w);
    mem_dev_set_hook(w.dev, write_one, &w);
    fx_mem_fail_after(PATIENCE, true);
    assert_int_equal(fx_cleaner_compact(w.s.engine.flusher), FEOX_OK);
    assert_int_equal(fx_mem_failed(), 0);
    fx_mem_fail_after(0, false);
    mem_dev_set_hook(w.dev, NULL, NULL);
    print_message("%u writes in %u steps\n", w.writes, (unsigned)(steps(&w) - before));
    assert_true(steps(&w) - before <= STEPS_MAX && w.writes > 1);
    assert_int_equal(stage_sync(&w.s), FEOX_OK);
    stage_expect_sound(&w.s);
    assert_int_equal(stage_close(&w.s), FEOX_OK);
    mem_dev_destroy(w.dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ends)};
    return cmocka_run_group_tests_name("issues/compact_beside_writer", tests, NULL, NULL);
}
