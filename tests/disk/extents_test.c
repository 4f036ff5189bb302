/* extents: against a bitmap that finds everything by looking at every block. FEOX_SEED repeats a
 * run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "disk/extents.h"

#define BLOCKS 600u

static bool model[BLOCKS]; /* true: free */

static uint64_t seed_of_run(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 0;
    if (text == NULL && !fx_random_bytes(&seed, sizeof seed)) {
        seed = 1;
    }
    printf("FEOX_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static bool model_all(uint64_t block, uint64_t count, bool free) {
    if (count == 0 || block >= BLOCKS || count > BLOCKS - block) {
        return false;
    }
    for (uint64_t i = block; i < block + count; i++) {
        if (model[i] != free) {
            return false;
        }
    }
    return true;
}

static void model_set(uint64_t block, uint64_t count, bool free) {
    for (uint64_t i = block; i < block + count; i++) {
        model[i] = free;
    }
}

/* The first run that ends above `block`. */
static bool model_next(uint64_t block, fx_extent *out) {
    uint64_t at = block;
    while (at < BLOCKS && !model[at]) {
        at++;
    }
    if (at == BLOCKS) {
        return false;
    }
    uint64_t start = at;
    while (start > 0 && model[start - 1]) {
        start--;
    }
    while (at < BLOCKS && model[at]) {
        at++;
    }
    *out = (fx_extent){start, at - start};
    return true;
}

/* How many blocks from the beginning of a run lie outside `avoid`. */
static uint64_t model_outside(fx_extent run, fx_extent avoid) {
    uint64_t count = 0;
    while (count < run.count &&
           !(run.block + count >= avoid.block && run.block + count < avoid.block + avoid.count)) {
        count++;
    }
    return count;
}

/* The smallest run of which at least `count` blocks lie outside `avoid`, lowest of equal ones. */
static bool model_best(uint64_t count, fx_extent avoid, fx_extent *out) {
    bool found = false;
    fx_extent run = {0, 0};
    for (uint64_t at = 0; model_next(at, &run); at = run.block + run.count) {
        if (model_outside(run, avoid) >= count && (!found || run.count < out->count)) {
            *out = run;
            found = true;
        }
    }
    return found;
}

/* The lowest of the runs of which most blocks lie outside `avoid`. */
static bool model_most(uint64_t count, fx_extent avoid, fx_extent *out) {
    fx_extent run = {0, 0};
    *out = run;
    for (uint64_t at = 0; model_next(at, &run); at = run.block + run.count) {
        uint64_t here = model_outside(run, avoid);
        if (here >= count && here > out->count) {
            *out = (fx_extent){run.block, here};
        }
    }
    return out->count > 0;
}

static uint64_t model_largest(void) {
    uint64_t largest = 0;
    fx_extent run = {0, 0};
    for (uint64_t at = 0; model_next(at, &run); at = run.block + run.count) {
        largest = run.count > largest ? run.count : largest;
    }
    return largest;
}

static void assert_same(const fx_extents *extents) {
    assert_null(fx_extents_check(extents));
    fx_extent want = {0, 0};
    fx_extent got = {0, 0};
    uint64_t at = 0;
    uint64_t runs = 0;
    uint64_t blocks = 0;
    while (model_next(at, &want)) {
        assert_true(fx_extents_next(extents, at, &got));
        assert_int_equal(got.block, want.block);
        assert_int_equal(got.count, want.count);
        at = want.block + want.count;
        runs++;
        blocks += want.count;
    }
    assert_false(fx_extents_next(extents, at, &got));
    fx_extents_stats stats;
    fx_extents_statistics(extents, &stats);
    assert_int_equal(stats.free_blocks, blocks);
    assert_int_equal(stats.run_count, runs);
    assert_int_equal(stats.largest_run, model_largest());
    uint64_t outside = blocks - stats.largest_run;
    assert_int_equal(stats.fragmentation_percent, blocks == 0 ? 0 : outside * 100 / blocks);
}

static void make(fx_extents *extents, uint64_t block, uint64_t count) {
    memset(model, 0, sizeof model);
    fx_extents_init(extents);
    if (count > 0) {
        assert_true(fx_extents_add_free(extents, block, count));
        model_set(block, count, true);
    }
}

static void step_take(fx_extents *extents, fx_rng *rng) {
    const fx_extent nowhere = {0, 0};
    uint64_t count = fx_rng_below(rng, 24);
    uint64_t kind = fx_rng_below(rng, 3);
    uint64_t least = fx_rng_below(rng, 24);
    fx_extent avoid = {fx_rng_below(rng, BLOCKS), fx_rng_below(rng, BLOCKS)};
    fx_extent want = {0, 0};
    fx_extent got = {77, 77};
    bool found;
    bool can = count > 0 && model_best(count, kind == 1 ? avoid : nowhere, &want);
    if (kind == 2) {
        uint64_t largest = model_largest();
        if (count > 0 && !can && largest >= least && largest > 0) {
            can = model_best(largest, nowhere, &want);
        }
        can = can && least <= count;
        found = fx_extents_allocate_at_most(extents, least, count, &got);
    } else if (kind == 1) {
        can = can || (count > 0 && model_most(least, avoid, &want));
        can = can && least > 0 && least <= count;
        found = fx_extents_allocate_outside(extents, least, count, &avoid, &got);
    } else {
        found = fx_extents_allocate(extents, count, &got);
    }
    assert_int_equal(found, can);
    assert_int_equal(got.block, can ? want.block : 0);
    assert_int_equal(got.count, !can ? 0 : want.count < count ? want.count : count);
    model_set(got.block, got.count, false);
}

static void step(fx_extents *extents, fx_rng *rng) {
    uint64_t block = fx_rng_below(rng, BLOCKS);
    uint64_t count = fx_rng_below(rng, 16);
    bool can;
    switch (fx_rng_below(rng, 8)) {
    case 0:
    case 1:
    case 2:
        if (count <= BLOCKS - block) {
            can = model_all(block, count, false);
            assert_int_equal(fx_extents_add_free(extents, block, count), can);
            if (can) {
                model_set(block, count, true);
            }
        }
        break;
    case 3:
        can = model_all(block, count, true);
        assert_int_equal(fx_extents_reserve(extents, block, count), can);
        if (can) {
            model_set(block, count, false);
        }
        break;
    case 4: {
        uint64_t want = BLOCKS;
        while (want > 0 && model[want - 1]) {
            want--;
        }
        assert_int_equal(fx_extents_tail(extents, BLOCKS), want);
        if (fx_rng_below(rng, 4) == 0 && want < BLOCKS) { /* as a file that is cut off loses it */
            assert_true(fx_extents_reserve(extents, want, BLOCKS - want));
            model_set(want, BLOCKS - want, false);
        }
        break;
    }
    default:
        step_take(extents, rng);
    }
}

static void test_random_against_bitmap(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, seed_of_run());
    for (int round = 0; round < 6; round++) {
        fx_extents extents;
        make(&extents, 0, round % 2 == 0 ? BLOCKS : 0);
        for (int i = 0; i < 3000; i++) {
            step(&extents, &rng);
            assert_same(&extents);
        }
        fx_extents_deinit(&extents);
    }
}

/* Whatever fails for lack of memory changes nothing, and after reserve_nodes nothing fails. */
static void test_allocation_failure(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, seed_of_run());
    fx_extents extents;
    make(&extents, 0, 0);
    unsigned failures = 0;
    for (int i = 0; i < 4000; i++) {
        uint64_t block = fx_rng_below(&rng, BLOCKS - 4);
        uint64_t count = 1 + fx_rng_below(&rng, 4);
        bool give = fx_rng_below(&rng, 3) > 0;
        bool can = model_all(block, count, !give);
        fx_mem_fail_after(1, true);
        bool done = give ? fx_extents_add_free(&extents, block, count)
                         : fx_extents_reserve(&extents, block, count);
        fx_mem_fail_after(0, false);
        assert_true(can || !done);
        if (!done && can) {
            failures++;
            assert_same(&extents);
            assert_true(fx_extents_reserve_nodes(&extents, 1));
            fx_mem_fail_after(1, true);
            done = give ? fx_extents_add_free(&extents, block, count)
                        : fx_extents_reserve(&extents, block, count);
            fx_mem_fail_after(0, false);
            assert_true(done);
        }
        if (done) {
            model_set(block, count, give);
        }
        assert_same(&extents);
    }
    assert_true(failures > 10);
    fx_extents_deinit(&extents);
}

static void test_promise_holds_for_n(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 0, 0);
    fx_mem_fail_after(3, true);
    assert_false(fx_extents_reserve_nodes(&extents, 200));
    fx_mem_fail_after(0, false);
    assert_true(fx_extents_reserve_nodes(&extents, 200));
    fx_mem_fail_after(1, true);
    for (uint64_t i = 0; i < 200; i++) {
        assert_true(fx_extents_add_free(&extents, i * 2, 1)); /* none touches another */
        model_set(i * 2, 1, true);
        fx_extent got;
        if (i % 3 == 0) { /* what is allocated in between takes no node away */
            assert_true(fx_extents_allocate(&extents, 1, &got));
            model_set(got.block, 1, false);
        }
    }
    uint64_t more = 500; /* beyond the promise it ends somewhere */
    for (; fx_extents_add_free(&extents, more, 1); more += 2) {
        model_set(more, 1, true);
        assert_true(more < BLOCKS - 2);
    }
    fx_mem_fail_after(0, false);
    assert_same(&extents);
    for (; more > 500; more -= 2) {
        assert_true(fx_extents_reserve(&extents, more - 2, 1));
        model_set(more - 2, 1, false);
    }
    for (uint64_t i = 0; i < 200; i++) { /* what was allocated comes back */
        if (!model[i * 2]) {
            assert_true(fx_extents_add_free(&extents, i * 2, 1));
            model_set(i * 2, 1, true);
        }
    }
    assert_same(&extents);
    /* All gaps closed: one run, and the nodes are given back but for a few. */
    assert_true(fx_extents_reserve_nodes(&extents, 0));
    for (uint64_t i = 0; i < 200; i++) {
        assert_true(fx_extents_add_free(&extents, i * 2 + 1, 1));
        model_set(i * 2 + 1, 1, true);
    }
    assert_same(&extents);
    fx_extents_stats stats;
    fx_extents_statistics(&extents, &stats);
    assert_int_equal(stats.run_count, 1);
    assert_true(stats.memory <= 65 * fx_mem_usable(64));
    fx_extents_deinit(&extents);
    fx_extents_deinit(&extents);
}

static void test_allocate_and_release(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 8, 100);
    fx_extent got;
    assert_true(fx_extents_allocate(&extents, 10, &got));
    assert_int_equal(got.block, 8);
    assert_int_equal(got.count, 10);
    model_set(8, 10, false);
    assert_same(&extents);
    assert_true(fx_extents_add_free(&extents, 8, 10));
    model_set(8, 10, true);
    assert_same(&extents);
    fx_extents_deinit(&extents);
}

static void test_best_fit(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 300, 50);
    const fx_extent runs[] = {{0, 20}, {30, 7}, {50, 5}, {60, 7}, {80, 5}};
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        assert_true(fx_extents_add_free(&extents, runs[i].block, runs[i].count));
    }
    fx_extent got;
    assert_true(fx_extents_allocate(&extents, 6, &got));
    assert_int_equal(got.block, 30); /* 7 is the smallest that suffices, 30 is below 60 */
    assert_true(fx_extents_allocate(&extents, 6, &got));
    assert_int_equal(got.block, 60);
    assert_true(fx_extents_allocate(&extents, 6, &got));
    assert_int_equal(got.block, 0);
    assert_true(fx_extents_allocate(&extents, 5, &got));
    assert_int_equal(got.block, 50);
    assert_true(fx_extents_allocate(&extents, 15, &got));
    assert_int_equal(got.block, 300);
    assert_null(fx_extents_check(&extents));
    fx_extents_deinit(&extents);
}

static void test_coalesce_both_sides(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 0, 10);
    assert_true(fx_extents_add_free(&extents, 20, 10));
    model_set(20, 10, true);
    assert_same(&extents);
    assert_true(fx_extents_add_free(&extents, 10, 4)); /* to the run before */
    model_set(10, 4, true);
    assert_same(&extents);
    assert_true(fx_extents_add_free(&extents, 16, 4)); /* to the run behind */
    model_set(16, 4, true);
    assert_same(&extents);
    assert_true(fx_extents_add_free(&extents, 14, 2)); /* to both */
    model_set(14, 2, true);
    assert_same(&extents);
    fx_extents_stats stats;
    fx_extents_statistics(&extents, &stats);
    assert_int_equal(stats.run_count, 1);
    assert_int_equal(stats.largest_run, 30);
    fx_extents_deinit(&extents);
}

static void test_invalid_release_rejected(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 10, 10);
    const fx_extent wrong[] = {{10, 10},
                               {12, 2},
                               {5, 6},
                               {19, 5},
                               {0, 100},
                               {50, 0},
                               {UINT64_MAX, 1},
                               {30, UINT64_MAX},
                               {30, UINT64_MAX - 29},
                               {FX_EXTENTS_BLOCK_MAX, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(fx_extents_add_free(&extents, wrong[i].block, wrong[i].count));
        assert_same(&extents);
    }
    assert_true(fx_extents_add_free(&extents, FX_EXTENTS_BLOCK_MAX - 1, 1));
    assert_null(fx_extents_check(&extents));
    fx_extents_deinit(&extents);
}

static void test_bounds_of_reserve(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 10, 10);
    const fx_extent wrong[] = {{9, 1},  {9, 2},           {19, 2},
                               {20, 1}, {10, 11},         {12, 0},
                               {0, 40}, {12, UINT64_MAX}, {UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(fx_extents_reserve(&extents, wrong[i].block, wrong[i].count));
        assert_same(&extents);
    }
    assert_true(fx_extents_reserve(&extents, 14, 2)); /* out of the middle */
    model_set(14, 2, false);
    assert_same(&extents);
    assert_false(fx_extents_reserve(&extents, 13, 2)); /* a second owner: damage */
    assert_true(fx_extents_reserve(&extents, 10, 4));
    model_set(10, 4, false);
    assert_same(&extents);
    assert_true(fx_extents_reserve(&extents, 18, 2));
    model_set(18, 2, false);
    assert_same(&extents);
    fx_extents_deinit(&extents);
}

static void test_out_of_space(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 0, 0);
    fx_extent got;
    assert_false(fx_extents_allocate(&extents, 1, &got));
    assert_false(fx_extents_allocate_at_most(&extents, 0, 5, &got));
    assert_true(fx_extents_add_free(&extents, 0, 8));
    assert_true(fx_extents_add_free(&extents, 16, 8));
    assert_false(fx_extents_allocate(&extents, 9, &got)); /* enough, but in two runs */
    assert_false(fx_extents_allocate(&extents, UINT64_MAX, &got));
    assert_false(fx_extents_allocate(&extents, 0, &got));
    assert_int_equal(got.count, 0);
    assert_true(fx_extents_allocate(&extents, 8, &got));
    assert_true(fx_extents_allocate(&extents, 8, &got));
    assert_false(fx_extents_allocate(&extents, 1, &got));
    assert_true(fx_extents_add_free(&extents, 24, 1)); /* growth, and writes go on */
    assert_true(fx_extents_allocate(&extents, 1, &got));
    assert_int_equal(got.block, 24);
    fx_extents_deinit(&extents);
}

static void test_at_most(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 0, 5);
    assert_true(fx_extents_add_free(&extents, 10, 9));
    assert_true(fx_extents_add_free(&extents, 30, 9));
    fx_extent got;
    assert_false(fx_extents_allocate_at_most(&extents, 10, 20, &got)); /* less than the least */
    assert_false(fx_extents_allocate_at_most(&extents, 5, 4, &got));
    assert_true(fx_extents_allocate_at_most(&extents, 6, 20, &got)); /* a whole run, the lower */
    assert_int_equal(got.block, 10);
    assert_int_equal(got.count, 9);
    assert_true(fx_extents_allocate_at_most(&extents, 1, 3, &got)); /* best fit if it suffices */
    assert_int_equal(got.block, 0);
    assert_int_equal(got.count, 3);
    assert_null(fx_extents_check(&extents));
    fx_extents_deinit(&extents);
}

static void test_fragmentation_and_largest(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 0, 100);
    fx_extents_stats stats;
    fx_extents_statistics(&extents, &stats);
    assert_int_equal(stats.fragmentation_percent, 0);
    for (uint64_t i = 0; i < 100; i += 2) {
        assert_true(fx_extents_reserve(&extents, i, 1));
    }
    fx_extents_statistics(&extents, &stats);
    assert_int_equal(stats.free_blocks, 50);
    assert_int_equal(stats.run_count, 50);
    assert_int_equal(stats.largest_run, 1);
    assert_int_equal(stats.fragmentation_percent, 98);
    fx_extents_deinit(&extents);
}

/* What the file is cut off by is taken first, and comes back if the cut failed. */
static void test_tail(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 10, 20);
    assert_true(fx_extents_add_free(&extents, 50, 50));
    assert_int_equal(fx_extents_tail(&extents, 120), 120);
    assert_int_equal(fx_extents_tail(&extents, 100), 50);
    assert_true(fx_extents_reserve(&extents, 50, 50));
    model_set(50, 50, false);
    assert_same(&extents);
    assert_int_equal(fx_extents_tail(&extents, 50), 50);
    fx_mem_fail_after(1, true); /* the cut failed: back, without memory */
    assert_true(fx_extents_add_free(&extents, 50, 50));
    fx_mem_fail_after(0, false);
    model_set(50, 50, true);
    assert_same(&extents);
    fx_extents_deinit(&extents);
}

/* Nothing is avoided by an empty range, wherever it lies. */
static void test_avoids_nothing(void **state) {
    (void)state;
    fx_extent got;
    for (uint64_t block = 0; block < 40; block++) {
        fx_extents extents;
        make(&extents, 10, 20);
        const fx_extent avoid = {block, 0};
        assert_true(fx_extents_allocate_outside(&extents, 20, 20, &avoid, &got));
        assert_true(got.block == 10 && got.count == 20);
        fx_extents_deinit(&extents);
    }
}

/* The layout of fx_extents_node. */
typedef struct node {
    fx_rbnode by_place;
    fx_rbnode by_size;
    fx_extent run;
} node;

/* Plants one fault after another into a sound structure of two runs, and takes it back. */
static void test_check_sees_wrong_runs(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 0, 10);
    assert_true(fx_extents_add_free(&extents, 20, 10));
    node *first = FX_RBTREE_ENTRY(fx_rbtree_first(&extents.by_place), node, by_place);
    node *second = FX_RBTREE_ENTRY(fx_rbtree_last(&extents.by_place), node, by_place);
    assert_true(second->run.block == 20 && second->run.count == 10);
    second->run.block = 10;
    assert_string_equal(fx_extents_check(&extents), "two runs overlap or touch");
    second->run.block = 20;
    fx_rbnode *root = extents.by_place.root;
    extents.by_place.root = NULL;
    assert_string_equal(fx_extents_check(&extents), "the sums do not match the runs");
    extents.by_place.root = root;
    for (unsigned i = 0; i < 2; i++) { /* out of order in one of the trees */
        fx_rbtree *tree = i == 0 ? &extents.by_place : &extents.by_size;
        fx_rbnode *left = tree->root->child[0];
        tree->root->child[0] = tree->root->child[1];
        tree->root->child[1] = left;
        const char *wrong = fx_extents_check(&extents);
        assert_non_null(wrong);
        assert_null(strstr(wrong, "run")); /* the tree's own word */
        tree->root->child[1] = tree->root->child[0];
        tree->root->child[0] = left;
    }
    node more = {.run = {40, 3}}; /* known by its size, and nowhere else */
    fx_rbtree_insert(&extents.by_size, &more.by_size);
    assert_string_equal(fx_extents_check(&extents), "the sums do not match the runs");
    fx_rbtree_erase(&extents.by_size, &more.by_size);
    assert_true(fx_extents_reserve_nodes(&extents, 4));
    extents.spare_count -= 2;
    assert_string_equal(fx_extents_check(&extents), "the spare nodes are miscounted");
    extents.spare_count += 2;
    assert_null(fx_extents_check(&extents));
    assert_true(fx_extents_reserve(&extents, 20, 10));
    first->run.count = 0;
    assert_string_equal(fx_extents_check(&extents), "a run is empty or out of bounds");
    first->run.count = 10;
    assert_null(fx_extents_check(&extents));
    fx_extents_deinit(&extents);
}

static void test_check_sees_damage(void **state) {
    (void)state;
    fx_extents extents;
    make(&extents, 0, 10);
    assert_true(fx_extents_add_free(&extents, 20, 10));
    extents.free_blocks++;
    assert_non_null(fx_extents_check(&extents));
    extents.free_blocks--;
    extents.run_count++;
    assert_non_null(fx_extents_check(&extents));
    extents.run_count--;
    extents.spare_count++;
    assert_non_null(fx_extents_check(&extents));
    extents.spare_count--;
    fx_rbnode *root = extents.by_size.root;
    fx_rbnode *child = root->child[1];
    root->child[1] = NULL;
    assert_non_null(fx_extents_check(&extents));
    root->child[1] = child;
    assert_null(fx_extents_check(&extents));
    fx_extents_deinit(&extents);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_bitmap),
        cmocka_unit_test(test_allocation_failure),
        cmocka_unit_test(test_promise_holds_for_n),
        cmocka_unit_test(test_allocate_and_release),
        cmocka_unit_test(test_best_fit),
        cmocka_unit_test(test_coalesce_both_sides),
        cmocka_unit_test(test_invalid_release_rejected),
        cmocka_unit_test(test_bounds_of_reserve),
        cmocka_unit_test(test_out_of_space),
        cmocka_unit_test(test_at_most),
        cmocka_unit_test(test_fragmentation_and_largest),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_avoids_nothing),
        cmocka_unit_test(test_check_sees_damage),
        cmocka_unit_test(test_check_sees_wrong_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
