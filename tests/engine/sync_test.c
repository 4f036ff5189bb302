/* sync: who waits for a group that somebody else is just writing returns when it is durable, and
 * not before. The other thread comes at each write of the flush, and has a while to be wrong. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

#define WHILE_MS 20

typedef struct world {
    mem_dev *dev;
    stage s;
    pthread_t thread;
    uint64_t group;
    uint64_t returned; /* whether the other has, racing */
    uint64_t durable;  /* what it saw then */
    feox_status status;
    unsigned writes; /* of this group */
    unsigned early;  /* those at which the other had returned */
} world;

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->dev = mem_dev_create(3);
    w->s = (stage){.door = mem_dev_door(w->dev), .shard_count = 2, .real_time = true};
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    assert_int_equal(stage_close(&w->s), FEOX_OK);
    mem_dev_destroy(w->dev);
    free(w);
    return 0;
}

static void *wait_for_it(void *argument) {
    world *w = argument;
    w->status = fx_flusher_sync(w->s.engine.flusher, w->group, 1);
    w->durable = fx_load_acquire(&w->s.engine.flusher->durable_group);
    fx_store_release(&w->returned, 1);
    return NULL;
}

static void at_a_write(void *context) {
    world *w = context;
    if (w->writes++ == 0) {
        assert_int_equal(pthread_create(&w->thread, NULL, wait_for_it, w), 0);
    }
    const struct timespec a_while = {0, WHILE_MS * 1000000};
    (void)nanosleep(&a_while, NULL);
    w->early += (unsigned)fx_load_acquire(&w->returned);
}

static void test_waits(void **state) {
    world *w = *state;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(stage_put(&w->s, "key", (uint8_t)i, 100 + 7000 * i), FEOX_OK);
        w->group = fx_flusher_open_group(w->s.engine.flusher);
        w->writes = 0;
        fx_store_relaxed(&w->returned, 0);
        mem_dev_set_hook(w->dev, at_a_write, w);
        assert_int_equal(fx_flusher_sync(w->s.engine.flusher, w->group, 1), FEOX_OK);
        mem_dev_set_hook(w->dev, NULL, NULL);
        assert_true(w->writes > 0);
        assert_int_equal(pthread_join(w->thread, NULL), 0);
        assert_int_equal(w->early, 0);
        assert_int_equal(w->status, FEOX_OK);
        assert_true(w->durable >= w->group);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
    };
    return cmocka_run_group_tests_name("engine/sync", tests, NULL, NULL);
}
