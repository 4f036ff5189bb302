/* crowd: who leads a flush waits for those who shared the last one, and they share this one too. It
 * never waits for ever, not even while the clock stands still; who stays away is forgotten; and who
 * was always alone waits for nobody. The others come by the clock, which the leader looks at while
 * it waits: all is one thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

typedef struct world {
    mem_dev *dev;
    stage stage;
    uint64_t now;
    uint64_t step;    /* by which each look moves the clock */
    uint64_t looks;   /* since the last join */
    uint64_t comes;   /* the look at which others come; 0: nobody does */
    uint32_t arrives; /* how many */
} world;

static fx_flusher *flusher_of(world *w) {
    return w->stage.engine.flusher;
}

static uint64_t look(void *context) {
    world *w = context;
    if (++w->looks == w->comes) {
        uint64_t group = fx_flusher_open_group(flusher_of(w));
        assert_int_equal(stage_put(&w->stage, "other", 2, 100), FEOX_OK);
        assert_int_equal(fx_flusher_open_group(flusher_of(w)), group);
        fx_add_relaxed(&flusher_of(w)->joined[group & 1], w->arrives);
    }
    return w->now += w->step;
}

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(1);
    w->now = 1000;
    w->stage.now = 1000;
    w->stage.door = mem_dev_door(w->dev);
    assert_int_equal(stage_open(&w->stage, false), FEOX_OK);
    w->stage.engine.clock = look;
    w->stage.engine.clock_context = w;
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    memset((void *)flusher_of(w)->joined, 0, sizeof flusher_of(w)->joined);
    w->comes = 0;
    w->stage.now = w->now;
    stage_expect_sound(&w->stage);
    assert_int_equal(stage_close(&w->stage), FEOX_OK);
    mem_dev_destroy(w->dev);
    free(w);
    return 0;
}

/* One write that waits. Returns how often the clock was looked at before the flush began: the
 * others who came have gone again by the next. */
static uint64_t join(world *w) {
    fx_flusher *flusher = flusher_of(w);
    assert_int_equal(stage_put(&w->stage, "own", 1, 100), FEOX_OK);
    uint64_t group = fx_flusher_open_group(flusher);
    w->looks = 0;
    assert_int_equal(fx_flusher_join(flusher, group, w->now), FEOX_OK);
    assert_int_equal(fx_flusher_open_group(flusher), group + 1);
    assert_true(fx_load_acquire(&flusher->durable_group) == group);
    fx_store_relaxed(&flusher->joined[group & 1], 0);
    return w->looks;
}

/* The probe for the device's better way looks at the clock, too. */
static void settle_probe(world *w) {
    for (int i = 0; i < 1000 && flusher_of(w)->probe.best == FEOX_SYNC_UNKNOWN; i++) {
        (void)join(w);
    }
    assert_true(flusher_of(w)->probe.best != FEOX_SYNC_UNKNOWN);
}

static void alone(void **state) {
    world *w = *state;
    settle_probe(w);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(join(w), 0);
        assert_int_equal(flusher_of(w)->crowd, 1);
    }
}

/* Seven join while one leads: from then on eight are waited for. */
static void one_group(void **state) {
    world *w = *state;
    settle_probe(w);
    flusher_of(w)->crowd = 8;
    w->arrives = 7;
    w->comes = 40;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(join(w), 40);
        assert_int_equal(flusher_of(w)->crowd, 8);
        assert_int_equal(fx_wbuf_waiting(&w->stage.engine.shards[0].wbuf), 0);
        assert_int_equal(fx_wbuf_waiting(&w->stage.engine.shards[1].wbuf), 0);
    }
    w->arrives = 20; /* more than were expected are as welcome, and expected from then on */
    assert_int_equal(join(w), 40);
    assert_int_equal(flusher_of(w)->crowd, 21);
}

static void nobody_comes(void **state) {
    world *w = *state;
    settle_probe(w);
    flusher_of(w)->crowd = 64;
    uint32_t before = 64;
    for (int i = 0; i < 100 && before > 1; i++) {
        uint64_t looks = join(w);
        assert_true(looks > 1 && looks < 10000); /* the clock stands still */
        assert_true(flusher_of(w)->crowd < before);
        before = flusher_of(w)->crowd;
    }
    assert_int_equal(before, 1);
    assert_int_equal(join(w), 0);
    w->step = 10000000; /* one look, and the time is over */
    flusher_of(w)->crowd = 64;
    assert_int_equal(join(w), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alone, setup, teardown),
        cmocka_unit_test_setup_teardown(one_group, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_comes, setup, teardown),
    };
    return cmocka_run_group_tests_name("engine/crowd", tests, NULL, NULL);
}
