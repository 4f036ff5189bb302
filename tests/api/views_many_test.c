/* Views that outlive their key, and the calls that take many keys at once. */
#define _GNU_SOURCE
#include "support/kit.h"

#define LARGE ((size_t)1 << 20)

static void view_stays_whatever_happens_to_the_key(void **state) {
    kit *k = *state;
    static const size_t sizes[] = {0, 1, 16, 100, 1000, 5000, 70000, LARGE};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    feox_view views[COUNT];
    unsigned char *value = kit_alloc(LARGE);
    for (uint32_t i = 0; i < COUNT; i++) {
        kit_fill(value, sizes[i], i);
        assert_ok(feox_insert(k->store, &i, sizeof i, value, sizes[i]));
    }
    kit_reopen(k);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_ok(feox_get_view(k->store, &i, sizeof i, &views[i]));
    }
    for (int round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            kit_fill(value, sizes[i], 1000 + (uint64_t)round);
            if (round % 10 == 9) {
                assert_ok(feox_delete(k->store, &i, sizeof i));
            } else {
                assert_ok(feox_insert(k->store, &i, sizeof i, value, sizes[i]));
            }
        }
    }
    assert_ok(feox_clear(k->store));
    assert_ok(feox_flush(k->store));
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(views[i].size, sizes[i]);
        assert_true(kit_filled(views[i].data, sizes[i], i));
        feox_view_release(&views[i]);
        assert_null(views[i].data);
        assert_int_equal(views[i].size, 0);
        feox_view_release(&views[i]); /* zeroed: legal */
    }
    free(value);
}

/* get_bytes_zero_copy: two views of a large value in memory are the same bytes. */
static void large_views_are_not_copies(void **state) {
    kit *k = *state;
    unsigned char *value = kit_alloc(LARGE);
    feox_view one;
    feox_view two;
    kit_fill(value, LARGE, 5);
    assert_ok(feox_insert(k->store, "key", 3, value, LARGE));
    assert_ok(feox_get_view(k->store, "key", 3, &one));
    assert_ok(feox_get_view(k->store, "key", 3, &two));
    assert_ptr_equal(one.data, two.data);
    feox_view_release(&one);
    assert_true(kit_filled(two.data, LARGE, 5));
    feox_view_release(&two);
    free(value);
}

static void many_views_hold_back_nobody(void **state) {
    kit *k = *state;
    enum { COUNT = 500 };
    feox_view *views = kit_alloc(COUNT * sizeof *views);
    unsigned char value[5000];
    for (uint32_t i = 0; i < COUNT; i++) {
        kit_fill(value, sizeof value, i);
        assert_ok(feox_insert(k->store, "key", 3, value, sizeof value));
        assert_ok(feox_get_view(k->store, "key", 3, &views[i]));
    }
    for (uint32_t i = 0; i < 20000; i++) {
        assert_ok(feox_insert(k->store, &i, sizeof i, value, 100));
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(views[i].size, sizeof value);
        assert_true(kit_filled(views[i].data, sizeof value, i));
        feox_view_release(&views[i]);
    }
    free(views);
}

static void get_many_answers_each_like_get_into(void **state) {
    kit *k = *state;
    char a[8];
    char b[8];
    char c[2];
    assert_ok(kit_put(k, "a", "alpha"));
    assert_ok(kit_put(k, "b", ""));
    assert_ok(kit_put(k, "c", "gamma"));
    do {
        memset(c, '#', sizeof c);
        feox_lookup lookups[] = {
            {"a", 1, a, sizeof a, 99, FEOX_ERR_IO},  {"none", 4, b, sizeof b, 99, FEOX_ERR_IO},
            {"b", 1, NULL, 0, 99, FEOX_ERR_IO},      {"c", 1, c, sizeof c, 99, FEOX_ERR_IO},
            {"a", 1, NULL, 0, 99, FEOX_ERR_IO},      {"a", 1, b, 5, 99, FEOX_ERR_IO},
        };
        assert_ok(feox_get_many(k->store, lookups, 6));
        static const feox_status statuses[] = {FEOX_OK, FEOX_NOT_FOUND, FEOX_OK,
                                               FEOX_TRUNCATED, FEOX_TRUNCATED, FEOX_OK};
        static const size_t sizes[] = {5, 0, 0, 5, 5, 5};
        for (size_t i = 0; i < 6; i++) {
            assert_status(lookups[i].status, statuses[i]);
            assert_int_equal(lookups[i].value_len, sizes[i]);
        }
        assert_memory_equal(a, "alpha", 5);
        assert_memory_equal(b, "alpha", 5);
        assert_memory_equal(c, "ga", 2);
    } while (kit_again(k));
}

static void get_many_of_many(void **state) {
    kit *k = *state;
    enum { COUNT = 3000 };
    feox_lookup *lookups = kit_alloc(COUNT * sizeof *lookups);
    uint32_t *keys = kit_alloc(COUNT * sizeof *keys);
    unsigned char *buffers = kit_alloc(COUNT * 300);
    unsigned char value[300];
    for (uint32_t i = 0; i < COUNT; i += 2) {
        kit_fill(value, sizeof value, i);
        assert_ok(feox_insert(k->store, &i, sizeof i, value, i % 300));
    }
    do {
        for (uint32_t i = 0; i < COUNT; i++) {
            keys[i] = COUNT - 1 - i;
            lookups[i] = (feox_lookup){&keys[i], 4, buffers + i * 300, 300, 0, FEOX_ERR_IO};
        }
        assert_ok(feox_get_many(k->store, lookups, COUNT));
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_status(lookups[i].status, keys[i] % 2 == 0 ? FEOX_OK : FEOX_NOT_FOUND);
            if (keys[i] % 2 == 0) {
                kit_fill(value, sizeof value, keys[i]);
                assert_int_equal(lookups[i].value_len, keys[i] % 300);
                assert_memory_equal(lookups[i].buffer, value, keys[i] % 300 + 0u);
            }
        }
    } while (kit_again(k));
    free(lookups);
    free(keys);
    free(buffers);
}

static void get_many_with_one_bad_key(void **state) {
    kit *k = *state;
    char buffer[4];
    assert_ok(kit_put(k, "a", "1"));
    feox_lookup lookups[] = {{"a", 1, buffer, 4, 0, FEOX_OK},
                             {NULL, 1, buffer, 4, 9, FEOX_OK},
                             {"a", 1, buffer, 4, 0, FEOX_ERR_IO}};
    assert_status(feox_get_many(k->store, lookups, 3), FEOX_ERR_ARGUMENT);
    assert_status(lookups[0].status, FEOX_OK);
    assert_status(lookups[1].status, FEOX_ERR_ARGUMENT);
    assert_status(lookups[2].status, FEOX_OK);
    assert_int_equal(lookups[2].value_len, 1);
}

static void insert_many_in_order(void **state) {
    kit *k = *state;
    feox_pair pairs[] = {{{"a", 1}, {"1", 1}},
                         {{"b", 1}, {NULL, 0}},
                         {{"a", 1}, {"2", 1}},
                         {{"c", 1}, {"3", 1}}};
    feox_status statuses[4];
    memset(statuses, 0xff, sizeof statuses);
    assert_ok(feox_insert_many(k->store, pairs, 4, statuses));
    for (size_t i = 0; i < 4; i++) {
        assert_ok(statuses[i]);
    }
    do {
        kit_expect(k, "a", "2");
        kit_expect(k, "b", "");
        kit_expect(k, "c", "3");
        assert_int_equal(kit_count(k), 3);
    } while (kit_again(k));
}

static void insert_many_stores_the_others_all_the_same(void **state) {
    kit *k = *state;
    unsigned char *long_key = kit_alloc(FEOX_KEY_SIZE_MAX + 1u);
    memset(long_key, 'x', FEOX_KEY_SIZE_MAX + 1u);
    feox_pair pairs[] = {{{"a", 1}, {"1", 1}},
                         {{long_key, FEOX_KEY_SIZE_MAX + 1u}, {"2", 1}},
                         {{"", 0}, {"3", 1}},
                         {{"b", 1}, {"4", 1}}};
    feox_status statuses[4];
    assert_status(feox_insert_many(k->store, pairs, 4, statuses), FEOX_ERR_TOO_LARGE);
    assert_status(statuses[0], FEOX_OK);
    assert_status(statuses[1], FEOX_ERR_TOO_LARGE);
    assert_status(statuses[2], FEOX_ERR_ARGUMENT);
    assert_status(statuses[3], FEOX_OK);
    assert_status(feox_insert_many(k->store, pairs, 4, NULL), FEOX_ERR_TOO_LARGE);
    do {
        kit_expect(k, "a", "1");
        kit_expect(k, "b", "4");
        assert_int_equal(kit_count(k), 2);
    } while (kit_again(k));
    free(long_key);
}

static void insert_many_of_many(void **state) {
    kit *k = *state;
    enum { COUNT = 5000 };
    feox_pair *pairs = kit_alloc(COUNT * sizeof *pairs);
    uint32_t *keys = kit_alloc(COUNT * sizeof *keys);
    for (uint32_t i = 0; i < COUNT; i++) {
        keys[i] = (uint32_t)kit_mix(i);
        pairs[i] = (feox_pair){{&keys[i], 4}, {&keys[i], 4}};
    }
    assert_ok(feox_insert_many(k->store, pairs, COUNT, NULL));
    do {
        assert_int_equal(kit_count(k), kit_scan_count(k));
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t value = 0;
            assert_ok(feox_get_into(k->store, &keys[i], 4, &value, 4, NULL));
            assert_int_equal(value, keys[i]);
        }
    } while (kit_again(k));
    free(pairs);
    free(keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(view_stays_whatever_happens_to_the_key),
        KIT_MEMORY(large_views_are_not_copies),
        KIT_TEST(many_views_hold_back_nobody),
        KIT_TEST(get_many_answers_each_like_get_into),
        KIT_TEST(get_many_of_many),
        KIT_TEST(get_many_with_one_bad_key),
        KIT_TEST(insert_many_in_order),
        KIT_TEST(insert_many_stores_the_others_all_the_same),
        KIT_TEST(insert_many_of_many),
    };
    return cmocka_run_group_tests_name("api/views_many", tests, NULL, NULL);
}
