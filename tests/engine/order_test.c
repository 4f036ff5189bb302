/* order: what recovery leaves to be made is made by whoever needs it first, of exactly the keys
 * that were there, and with everything that happened since: deletes, records that moved, new keys.
 * Until then it counts as pending; without memory it is left and tried again; a store that is
 * closed before never makes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/evict.h"
#include "engine/order.h"
#include "support/mem_dev.h"
#include "support/stage.h"

#define KEYS 600u

typedef struct world {
    mem_dev *dev;
    stage stage;
    uint8_t there[2 * KEYS]; /* expected */
} world;

static void key_of(unsigned number, char *key) {
    (void)snprintf(key, 16, "k%04u", (number * 7919u) % 10000u);
}

static void put(world *w, unsigned number, size_t size) {
    char key[16];
    key_of(number, key);
    assert_int_equal(stage_put(&w->stage, key, (uint8_t)number, size), FEOX_OK);
    w->there[number] = size > 0;
}

static void open_again(world *w) {
    if (w->stage.engine.flusher != NULL) {
        assert_int_equal(stage_close(&w->stage), FEOX_OK);
    }
    w->stage.door = mem_dev_door(w->dev);
    w->stage.ordered = true;
    assert_int_equal(stage_open(&w->stage, false), FEOX_OK);
}

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(1);
    w->stage.now = 1000;
    open_again(w);
    assert_false(fx_order_pending(&w->stage.engine));
    for (unsigned i = 0; i < KEYS; i++) {
        put(w, i, 1 + i % 300);
    }
    open_again(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    stage_expect_sound(&w->stage);
    assert_int_equal(stage_close(&w->stage), FEOX_OK);
    mem_dev_destroy(w->dev);
    free(w);
    return 0;
}

static int by_text(const void *a, const void *b) {
    return strcmp(a, b);
}

/* The order has exactly the keys that are expected, one after the other. */
static void expect_order(world *w) {
    char keys[2 * KEYS][16];
    size_t count = 0;
    fx_record *records[2 * KEYS + 1];
    assert_false(fx_order_pending(&w->stage.engine));
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        if (w->there[i]) {
            key_of(i, keys[count++]);
        }
    }
    qsort(keys, count, sizeof keys[0], by_text);
    assert_int_equal(fx_skiplist_count(w->stage.engine.order), count);
    assert_int_equal(
        fx_skiplist_forward(w->stage.engine.order, NULL, 0, false, records, 2 * KEYS + 1), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(fx_record_key_len(records[i]), strlen(keys[i]));
        assert_memory_equal(fx_record_key(records[i]), keys[i], strlen(keys[i]));
        assert_ptr_equal(records[i], stage_record(&w->stage, keys[i]));
    }
}

/* Of the first keys one in three goes, and one in three needs a record of another size; new ones
 * come. */
static void change(world *w) {
    for (unsigned i = 0; i < 90; i++) {
        put(w, i, i % 3 == 0 ? 0 : i % 3 == 1 ? 400 : 1 + i % 300);
        put(w, KEYS + i, 20);
    }
}

/* All but that of the order. */
static uint64_t others_memory(const world *w) {
    return fx_engine_memory(&w->stage.engine) - fx_skiplist_memory(w->stage.engine.order);
}

static void made_by_a_merge(void **state) {
    world *w = *state;
    assert_true(fx_order_pending(&w->stage.engine));
    assert_int_equal(fx_skiplist_count(w->stage.engine.order), 0);
    uint64_t others = others_memory(w);
    assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
    expect_order(w);
    /* What it was made of is no longer counted. */
    assert_int_equal(others_memory(w), others - KEYS * sizeof(fx_record *));
    change(w);
    assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
    expect_order(w);
}

static void changes_come_first(void **state) {
    world *w = *state;
    change(w);
    assert_int_equal(fx_skiplist_count(w->stage.engine.order), 0);
    assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
    expect_order(w);
}

static void made_by_one_shard(void **state) {
    world *w = *state;
    change(w);
    assert_int_equal(fx_order_merge_shard(&w->stage.engine.shards[0]), FEOX_OK);
    assert_true(fx_skiplist_count(w->stage.engine.order) >= KEYS);
    assert_int_equal(fx_order_merge_shard(&w->stage.engine.shards[1]), FEOX_OK);
    expect_order(w);
}

static void made_by_the_background(void **state) {
    world *w = *state;
    fx_order_merge_long(&w->stage.engine);
    expect_order(w);
}

static void without_memory(void **state) {
    world *w = *state;
    unsigned refused = 0;
    change(w);
    for (uint64_t n = 1;; n++) {
        fx_mem_fail_after(n, true);
        feox_status status = fx_order_merge(&w->stage.engine);
        bool failed = fx_mem_failed() > 0;
        fx_mem_fail_after(0, false);
        if (!failed) {
            assert_int_equal(status, FEOX_OK);
            break;
        }
        assert_int_equal(status, FEOX_ERR_MEMORY);
        assert_true(fx_order_pending(&w->stage.engine));
        refused++;
    }
    assert_true(refused > 2);
    expect_order(w);
}

static void never_needed(void **state) {
    world *w = *state;
    change(w);
    open_again(w); /* by a close before */
    assert_true(fx_order_pending(&w->stage.engine));
    assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
    expect_order(w);
    open_again(w);
}

/* Records that lose their values move, too. */
static void evicted_before(void **state) {
    world *w = *state;
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    assert_true(fx_evict_any(&w->stage.engine, 100) > 0);
    change(w);
    assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
    expect_order(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_by_a_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(made_by_one_shard, setup, teardown),
        cmocka_unit_test_setup_teardown(made_by_the_background, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(never_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(evicted_before, setup, teardown),
    };
    return cmocka_run_group_tests_name("engine/order", tests, NULL, NULL);
}
