/* rbtree: against a sorted array, with random insertions and erasures; and check() against trees
 * that were broken on purpose. FEOX_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rbtree.h"
#include "base/rng.h"

#define ITEMS 2000

typedef struct item {
    uint32_t key;
    uint32_t serial; /* order of insertion: equal keys stay in it */
    fx_rbnode node;
    bool in;
} item;

static item items[ITEMS];
static item *model[ITEMS];
static size_t model_count;

static item *item_of(const fx_rbnode *node) {
    return FX_RBTREE_ENTRY(node, item, node);
}

static int compare(const fx_rbnode *a, const fx_rbnode *b) {
    return (item_of(a)->key > item_of(b)->key) - (item_of(a)->key < item_of(b)->key);
}

static int probe(const fx_rbnode *node, const void *wanted) {
    uint32_t key = *(const uint32_t *)wanted;
    return (item_of(node)->key > key) - (item_of(node)->key < key);
}

static uint64_t seed_of_run(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 0;
    if (text == NULL && !fx_random_bytes(&seed, sizeof seed)) {
        seed = 1;
    }
    printf("FEOX_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* The first place in the model that is not before `key`. */
static size_t model_lower_bound(uint32_t key) {
    size_t at = 0;
    while (at < model_count && model[at]->key < key) {
        at++;
    }
    return at;
}

static void model_insert(item *it) {
    size_t at = model_count;
    for (; at > 0 && model[at - 1]->key > it->key; at--) {
        model[at] = model[at - 1];
    }
    model[at] = it;
    model_count++;
}

static void model_erase(item *it) {
    size_t at = 0;
    while (model[at] != it) {
        at++;
    }
    memmove(&model[at], &model[at + 1], (--model_count - at) * sizeof model[0]);
}

static void assert_same(const fx_rbtree *tree) {
    assert_null(fx_rbtree_check(tree));
    const fx_rbnode *at = fx_rbtree_first(tree);
    for (size_t i = 0; i < model_count; i++, at = fx_rbtree_next(at)) {
        assert_ptr_equal(item_of(at), model[i]);
    }
    assert_null(at);
    at = fx_rbtree_last(tree);
    for (size_t i = model_count; i-- > 0; at = fx_rbtree_prev(at)) {
        assert_ptr_equal(item_of(at), model[i]);
    }
    assert_null(at);
}

static void assert_finds(const fx_rbtree *tree, uint32_t key) {
    size_t at = model_lower_bound(key);
    const fx_rbnode *bound = fx_rbtree_lower_bound(tree, probe, &key);
    const fx_rbnode *found = fx_rbtree_find(tree, probe, &key);
    assert_ptr_equal(bound, at < model_count ? &model[at]->node : NULL);
    bool there = at < model_count && model[at]->key == key;
    assert_ptr_equal(found, there ? &model[at]->node : NULL);
}

static void reset(fx_rbtree *tree) {
    memset(items, 0, sizeof items);
    model_count = 0;
    fx_rbtree_init(tree, compare);
}

static void add(fx_rbtree *tree, item *it, uint32_t key) {
    it->key = key;
    it->in = true;
    fx_rbtree_insert(tree, &it->node);
    model_insert(it);
}

static void test_empty(void **state) {
    (void)state;
    fx_rbtree tree;
    reset(&tree);
    assert_same(&tree);
    assert_finds(&tree, 0);
}

static void test_random(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, seed_of_run());
    for (int round = 0; round < 12; round++) {
        fx_rbtree tree;
        reset(&tree);
        size_t population = (size_t)4 << (round % 6);
        uint32_t keys = round % 2 != 0 ? 1u << 30 : (uint32_t)population / 2;
        for (int step = 0; step < 1500; step++) {
            item *it = &items[fx_rng_below(&rng, population)];
            if (it->in) {
                fx_rbtree_erase(&tree, &it->node);
                memset(&it->node, 0xa5, sizeof it->node); /* nothing may look at it again */
                it->in = false;
                model_erase(it);
            } else {
                add(&tree, it, (uint32_t)fx_rng_below(&rng, keys));
            }
            assert_same(&tree);
            assert_finds(&tree, (uint32_t)fx_rng_below(&rng, keys));
            assert_finds(&tree, it->key);
        }
    }
}

/* Ascending, descending: what an unbalanced tree cannot stand. */
static void test_sorted_input(void **state) {
    (void)state;
    for (int descending = 0; descending < 2; descending++) {
        fx_rbtree tree;
        reset(&tree);
        for (uint32_t i = 0; i < ITEMS; i++) {
            add(&tree, &items[i], descending != 0 ? ITEMS - i : i);
        }
        assert_same(&tree);
        unsigned height = 0;
        for (const fx_rbnode *at = tree.root; at != NULL; at = at->child[1 - descending]) {
            height++;
        }
        assert_true(height <= 22); /* 2 log2(2001) */
        for (uint32_t i = 0; i < ITEMS; i++) {
            fx_rbnode *first = fx_rbtree_first(&tree);
            assert_ptr_equal(item_of(first), model[0]);
            fx_rbtree_erase(&tree, first);
            model_erase(model[0]);
            if (i % 64 == 0) {
                assert_same(&tree);
            }
        }
        assert_null(tree.root);
    }
}

static void test_check_sees_damage(void **state) {
    (void)state;
    fx_rbtree tree;
    reset(&tree);
    for (uint32_t i = 0; i < 100; i++) {
        add(&tree, &items[i], i * 2);
    }
    for (uint32_t i = 0; i < 100; i++) {
        fx_rbnode *node = &items[i].node;
        node->parent_and_red ^= 1; /* the colour */
        assert_non_null(fx_rbtree_check(&tree));
        node->parent_and_red ^= 1;
        uintptr_t parent = node->parent_and_red;
        node->parent_and_red ^= 64;
        assert_non_null(fx_rbtree_check(&tree));
        node->parent_and_red = parent;
        uint32_t key = items[i].key;
        items[i].key = key < 100 ? 1000 : 0;
        if (i != 99 && i != 0) {
            assert_non_null(fx_rbtree_check(&tree));
        }
        items[i].key = key;
        assert_null(fx_rbtree_check(&tree));
    }
    fx_rbnode *root = tree.root;
    fx_rbnode *child = root->child[0];
    root->child[0] = NULL;
    assert_non_null(fx_rbtree_check(&tree));
    root->child[0] = root; /* a circle ends */
    assert_non_null(fx_rbtree_check(&tree));
    root->child[0] = child;
    assert_null(fx_rbtree_check(&tree));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_sorted_input),
        cmocka_unit_test(test_check_sees_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
