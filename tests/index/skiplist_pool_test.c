/* skiplist_pool: units come and go with and without memory. What is given back is had again, a unit
 * of which nothing is in use gives its memory back, and whatever is refused changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "index/skiplist_node.h"

typedef struct world {
    fx_skiplist list;
    fx_skip_node **nodes;
    size_t count;
} world;

static void take(world *w, size_t count) {
    for (size_t end = w->count + count; w->count < end; w->count++) {
        fx_skip_node *node = fx_skip_node_take(&w->list, 0);
        assert_non_null(node);
        memset(node->items, 0x11, sizeof node->items); /* whoever has it twice sees it */
        w->nodes[w->count] = node;
    }
}

static void give(world *w, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        fx_skip_node_give(&w->list, w->nodes[i]);
        w->nodes[i] = NULL;
    }
}

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    fx_skip_pools_init(&w->list);
    w->nodes = calloc(4 * w->list.nodes.per_unit, sizeof(fx_skip_node *));
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    fx_skip_pools_deinit(&w->list);
    free(w->nodes);
    free(w);
    return 0;
}

/* Three units, the last one begun; of the middle one nothing is in use any more. */
static void three_units(world *w) {
    size_t unit = w->list.nodes.per_unit;
    take(w, 2 * unit + unit / 2);
    give(w, unit, 2 * unit);
    give(w, 0, unit / 2);
}

static void test_trim(void **state) {
    world *w = *state;
    fx_skip_pool *pool = &w->list.nodes;
    size_t unit = pool->per_unit;
    three_units(w);
    uint64_t memory = w->list.memory;
    assert_int_equal(pool->available, 2 * unit);
    fx_mem_fail_after(1, true); /* it cannot remember the unit */
    fx_skip_pool_trim(pool);
    fx_mem_fail_after(0, false);
    assert_int_equal(pool->available, 2 * unit);
    assert_int_equal(pool->vacant_count, 0);
    assert_int_equal(w->list.memory, memory);
    fx_skip_pool_trim(pool);
    assert_int_equal(pool->available, unit);
    assert_int_equal(pool->vacant_count, 1);
    assert_true(w->list.memory < memory - (unit - 1) * pool->object_size);
    fx_mem_fail_after(1, true);
    take(w, unit); /* what is left of the others */
    assert_int_equal(pool->vacant_count, 1);
    take(w, 1); /* the unit comes back, and takes no memory to remember */
    fx_mem_fail_after(0, false);
    assert_int_equal(pool->vacant_count, 0);
    assert_int_equal(pool->available, unit - 1);
    for (size_t i = 0; i < w->count; i++) {
        for (size_t j = i + 1; j < w->count && j < i + 3; j++) {
            assert_true(w->nodes[i] == NULL || w->nodes[i] != w->nodes[j]);
        }
    }
}

/* Without memory there is nothing to take, and the pool is as it was. */
static void test_refused(void **state) {
    world *w = *state;
    fx_skip_pool *pool = &w->list.nodes;
    fx_mem_fail_after(1, true);
    assert_null(fx_skip_node_take(&w->list, 0));
    assert_false(fx_skip_pool_reserve(pool, 1));
    fx_mem_fail_after(0, false);
    take(w, 1);
    size_t available = pool->available;
    uint64_t memory = w->list.memory;
    fx_mem_fail_after(1, true);
    assert_null(fx_skip_node_take_fresh(&w->list, 0));
    assert_false(fx_skip_pool_reserve(pool, available + 1));
    fx_mem_fail_after(0, false);
    assert_int_equal(pool->available, available);
    assert_int_equal(pool->used, 1);
    assert_int_equal(w->list.memory, memory);
    /* A fresh one is of a unit that is new, whatever was given back. */
    give(w, 0, 1);
    w->count = 0;
    fx_skip_node *fresh = fx_skip_node_take_fresh(&w->list, 0);
    assert_non_null(fresh);
    assert_int_equal(pool->available, available + pool->per_unit);
    assert_int_equal(pool->used, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_trim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown)};
    return cmocka_run_group_tests_name("index/skiplist_pool", tests, NULL, NULL);
}
