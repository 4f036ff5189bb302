/* A store whose device failed while the end of its file was moved forward, and which was read-only
 * from then on, cut the file off all the same; and one that had failed made it longer for a write
 * that had begun before.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

enum { LARGES = 60, LARGE = 280000, STEPS = 6 };

/* A file that is much too long, with something at its end. */
static void open_long(stage *s) {
    char key[16];
    assert_int_equal(stage_open(s, false), FEOX_OK);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < LARGES; i++) {
            (void)snprintf(key, sizeof key, "%u", i);
            assert_int_equal(stage_put(s, key, 1, round == 0 ? LARGE : 0), FEOX_OK);
        }
        assert_int_equal(stage_put(s, round == 0 ? "end" : "more", 2, LARGE), FEOX_OK);
        assert_int_equal(stage_sync(s), FEOX_OK);
    }
    assert_int_equal(stage_checkpoint(s, false), FEOX_OK);
    assert_int_equal(stage_checkpoint(s, false), FEOX_OK);
}

/* Time passes; the n-th operation of the device fails, and what comes behind it would work. True:
 * one did. */
static bool fail_at(uint64_t n, unsigned *shorter) {
    mem_dev *dev = mem_dev_create(n);
    stage s = {.door = mem_dev_door(dev)};
    open_long(&s);
    fx_flusher *flusher = s.engine.flusher;
    mem_dev_fail_once(dev, n, EIO);
    for (unsigned i = 0; i < STEPS && fx_flusher_status(flusher) == FEOX_OK; i++) {
        size_t before = mem_dev_size(dev);
        s.now += (uint64_t)FX_SHRINK_PATIENCE_MS * 600000u;
        fx_flusher_step(flusher, s.now, 100);
        if (fx_flusher_status(flusher) != FEOX_OK) {
            assert_int_equal(mem_dev_size(dev), before);
        }
        *shorter += mem_dev_size(dev) < before;
    }
    bool failed = fx_flusher_status(flusher) != FEOX_OK;
    assert_int_equal(stage_close(&s), failed ? FEOX_ERR_IO : FEOX_OK);
    mem_dev_destroy(dev);
    return failed;
}

static void test_size_stays(void **state) {
    (void)state;
    unsigned shorter = 0;
    uint64_t n = 1;
    while (fail_at(n, &shorter)) {
        n++;
    }
    print_message("%u operations\n", (unsigned)n - 1);
    assert_true(n > 5 && shorter > 0);
}

/* A writer that waited for the file finds no place for a longer table, and the device has failed.
 */
static void test_does_not_grow(void **state) {
    (void)state;
    mem_dev *dev = mem_dev_create(3);
    stage s = {.door = mem_dev_door(dev)};
    const fx_demand demand = {.bytes = (uint64_t)1 << 30};
    fx_extent run;
    assert_int_equal(stage_open(&s, false), FEOX_OK);
    fx_flusher *flusher = s.engine.flusher;
    assert_int_equal(stage_put(&s, "key", 1, 100), FEOX_OK);
    mem_dev_fail_once(dev, 1, EIO);
    assert_int_equal(stage_sync(&s), FEOX_ERR_IO);
    fx_space_drop_spare(&flusher->space);
    while (fx_extents_next(&flusher->space.extents, 0, &run)) {
        assert_true(fx_extents_reserve(&flusher->space.extents, run.block, run.count));
    }
    size_t before = mem_dev_size(dev);
    assert_int_equal(fx_flusher_make_room(flusher, &demand, ++s.now), FEOX_ERR_IO);
    assert_int_equal(mem_dev_size(dev), before);
    assert_int_equal(stage_close(&s), FEOX_ERR_IO);
    mem_dev_destroy(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_size_stays),
                                       cmocka_unit_test(test_does_not_grow)};
    return cmocka_run_group_tests_name("issues/cut_after_failure", tests, NULL, NULL);
}
