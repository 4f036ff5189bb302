/* skiplist_check: one fault after another is planted into a sound list, found by its name, and
 * taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "index/skiplist_node.h"

#define RECORDS 6000u /* three levels */
#define KEY_LEN 10u

typedef struct holder {
    uint64_t location; /* before the record: record.h */
    fx_record record;
    uint8_t rest[32];
} holder;

static holder *holders;
static fx_skiplist *list;

static int setup(void **state) {
    fx_record **records = malloc(RECORDS * sizeof *records);
    (void)state;
    holders = calloc(RECORDS, sizeof *holders);
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[KEY_LEN + 1];
        const fx_record_fields fields = {.version = 1, .timestamp = 1};
        (void)snprintf(key, sizeof key, "k%09u", i);
        fx_record_fill(&holders[i].record, key, KEY_LEN, &fields);
        fx_record_publish(&holders[i].record, 1);
        records[i] = &holders[i].record;
    }
    list = fx_skiplist_create();
    assert_non_null(list);
    assert_true(fx_skiplist_build(list, records, RECORDS));
    free(records);
    assert_true(list->height == 3);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fx_skiplist_destroy(list);
    free(holders);
    return 0;
}

static fx_skip_node *child(fx_skip_node *node, unsigned index) {
    return node->items[index];
}

#define WRONG(text) assert_string_equal(fx_skiplist_check(list), text)

/* Plants one value and takes it back. */
#define PLANT(place, value, text)                                                                  \
    do {                                                                                           \
        __typeof__(place) planted_before = (place);                                                \
        (place) = (value);                                                                         \
        WRONG(text);                                                                               \
        (place) = planted_before;                                                                  \
        assert_null(fx_skiplist_check(list));                                                      \
    } while (0)

static void test_list(void **state) {
    (void)state;
    PLANT(list->height, 0, "the height is wrong");
    PLANT(list->height, FX_SKIP_HEIGHT_MAX + 1, "the height is wrong");
    PLANT(list->root->shape, fx_shape_make(0, 2, 1), "the root has too few children");
    PLANT(list->count, RECORDS + 1, "the count is wrong");
    PLANT(list->level_nodes[1], list->level_nodes[1] + 1, "a level has lost nodes");
    PLANT(list->nodes.used, list->nodes.used + 1, "nodes or fences are lost");
    PLANT(list->fences[3].used, list->fences[3].used + 1, "nodes or fences are lost");
}

static void test_nodes(void **state) {
    (void)state;
    for (unsigned level = 0; level < 2; level++) {
        fx_skip_node *node = child(list->root, 1);
        node = level == 0 ? child(node, 1) : node;
        unsigned count = fx_shape_count(node->shape);
        unsigned prefix = fx_shape_prefix(node->shape);
        assert_true(node->prev != NULL && node->next != NULL && node->low != NULL);
        PLANT(node->seq, node->seq + 1, "a node was left open");
        PLANT(node->shape, fx_shape_make(prefix, level + 1, count),
              "a node's level or count is wrong");
        PLANT(node->shape, fx_shape_make(prefix, level, FX_SKIP_FANOUT + 1),
              "a node's level or count is wrong");
        PLANT(node->shape, fx_shape_make(prefix, level, level), "a node has too few entries");
        PLANT(node->shape, fx_shape_make(prefix + 1, level, count),
              "a prefix is not that of the fences");
        PLANT(node->prev, node->prev->prev, "neighbours are not linked");
        PLANT(node->prev->next, node->next, "the neighbour's fence is not the parent's");
        PLANT(node->next, node->next->next, "the neighbour's fence is not the parent's");
        PLANT(node->heads[count - 1], node->heads[count - 1] ^ 1, "a head is not its key's");
    }
}

static void test_entries(void **state) {
    (void)state;
    fx_skip_node *inner = child(list->root, 1);
    fx_skip_node *leaf = child(inner, 1);
    PLANT(leaf->items[3], leaf->items[4], "a head is not its key's");
    void *third = leaf->items[3];
    uint32_t head = leaf->heads[3];
    leaf->items[3] = leaf->items[4];
    leaf->heads[3] = leaf->heads[4];
    WRONG("entries are out of order");
    leaf->items[3] = third;
    leaf->heads[3] = head;
    /* Records of the neighbours' leaves. */
    PLANT(leaf->items[0], leaf->prev->items[0], "an entry is below its node's fence");
    unsigned last = fx_shape_count(leaf->shape) - 1;
    PLANT(leaf->items[last], leaf->next->items[0], "an entry is not below the next fence");
    /* A child without a fence; one with another fence than the parent's. */
    fx_fence *low = leaf->low;
    leaf->low = NULL;
    WRONG("a fence is missing");
    leaf->low = low;
    fx_skip_node *first = child(inner, 0);
    low = first->low;
    first->low = leaf->low;
    assert_non_null(fx_skiplist_check(list));
    first->low = low;
    assert_null(fx_skiplist_check(list));
}

/* The end of a level hangs together with nothing. */
static void test_last_nodes(void **state) {
    (void)state;
    fx_skip_node *node = list->root;
    while (fx_shape_level(node->shape) > 0) {
        node = child(node, fx_shape_count(node->shape) - 1);
    }
    assert_null(node->next);
    fx_skip_node *before = node->prev;
    before->next = NULL; /* and so its neighbour is lost */
    assert_non_null(fx_skiplist_check(list));
    before->next = node;
    assert_null(fx_skiplist_check(list));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_last_nodes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
