/* Range queries and cursors: order, bounds, prefixes, both directions, seeking, changes on the
 * way. */
#define _GNU_SOURCE
#include "support/kit.h"

static void put_list(kit *k, const char *keys) {
    char key[2] = {0};
    for (; *keys != 0; keys++) {
        key[0] = *keys;
        assert_ok(kit_put(k, key, key));
    }
}

static feox_cursor *open_range(kit *k, const feox_range *range) {
    feox_cursor *cursor = NULL;
    assert_ok(feox_cursor_open(k->store, range, &cursor));
    assert_non_null(cursor);
    return cursor;
}

/* The rest of what the cursor gives is these one-byte keys, each its own value. */
static void expect_rest(feox_cursor *cursor, const char *keys) {
    feox_slice key;
    feox_slice value;
    for (; *keys != 0; keys++) {
        assert_ok(feox_cursor_next(cursor, &key, &value));
        assert_int_equal(key.size, 1);
        assert_int_equal(*(const char *)key.data, *keys);
        assert_int_equal(value.size, 1);
        assert_int_equal(*(const char *)value.data, *keys);
    }
    for (int i = 0; i < 2; i++) {
        key.size = value.size = 7;
        assert_status(feox_cursor_next(cursor, &key, &value), FEOX_END);
        assert_int_equal(key.size, 0);
        assert_null(key.data);
        assert_int_equal(value.size, 0);
    }
}

static void expect_range(kit *k, const char *start, const char *end, uint32_t flags, size_t limit,
                         const char *keys) {
    feox_range range;
    feox_range_init(&range);
    range.start = start;
    range.start_len = strlen(start);
    range.end = end;
    range.end_len = strlen(end);
    range.flags = flags;
    range.limit = limit;
    feox_cursor *cursor = open_range(k, &range);
    expect_rest(cursor, keys);
    feox_cursor_close(cursor);
}

static void expect_query(kit *k, const char *start, const char *end, size_t limit,
                         const char *keys) {
    feox_pairs *pairs = NULL;
    assert_ok(feox_range_query(k->store, start, strlen(start), end, strlen(end), limit, &pairs));
    assert_non_null(pairs);
    assert_int_equal(pairs->count, strlen(keys));
    for (size_t i = 0; i < pairs->count; i++) {
        assert_int_equal(pairs->pairs[i].key.size, 1);
        assert_int_equal(*(const char *)pairs->pairs[i].key.data, keys[i]);
        assert_int_equal(pairs->pairs[i].value.size, 1);
        assert_int_equal(*(const char *)pairs->pairs[i].value.data, keys[i]);
    }
    feox_pairs_free(pairs);
}

static void range_inclusive_both_ends(void **state) {
    kit *k = *state;
    put_list(k, "hfdbacegji");
    do {
        expect_query(k, "c", "f", 0, "cdef");
        expect_query(k, "bb", "ff", 0, "cdef");
        expect_query(k, "c", "c", 0, "c");
        expect_query(k, "", "c", 0, "abc");
        expect_query(k, "h", "", 0, "hij");
        expect_query(k, "", "", 0, "abcdefghij");
        expect_query(k, "A", "Z", 0, "");
        expect_query(k, "x", "", 0, "");
    } while (kit_again(k));
}

static void range_limit(void **state) {
    kit *k = *state;
    put_list(k, "abcdef");
    do {
        expect_query(k, "b", "e", 1, "b");
        expect_query(k, "b", "e", 4, "bcde");
        expect_query(k, "b", "e", 5, "bcde");
        expect_query(k, "", "", 3, "abc");
        expect_query(k, "", "", SIZE_MAX, "abcdef");
    } while (kit_again(k));
}

static void range_empty_and_backwards(void **state) {
    kit *k = *state;
    expect_query(k, "", "", 0, "");
    expect_range(k, "", "", 0, 0, "");
    expect_range(k, "", "", FEOX_REVERSE, 0, "");
    put_list(k, "abc");
    expect_query(k, "c", "a", 0, "");
    expect_range(k, "c", "a", 0, 0, "");
    expect_range(k, "c", "a", FEOX_REVERSE, 0, "");
}

static void range_results_are_owned_copies(void **state) {
    kit *k = *state;
    feox_pairs *pairs = NULL;
    put_list(k, "ab");
    assert_ok(feox_range_query(k->store, NULL, 0, NULL, 0, 0, &pairs));
    assert_ok(kit_put(k, "a", "x"));
    assert_ok(kit_delete(k, "b"));
    kit_close(k);
    assert_int_equal(pairs->count, 2);
    assert_memory_equal(pairs->pairs[0].value.data, "a", 1);
    assert_memory_equal(pairs->pairs[1].key.data, "b", 1);
    feox_pairs_free(pairs);
    kit_open(k);
}

static void cursor_bounds(void **state) {
    kit *k = *state;
    put_list(k, "abcdefgh");
    do {
        expect_range(k, "", "", 0, 0, "abcdefgh");
        expect_range(k, "c", "f", 0, 0, "cdef");
        expect_range(k, "c", "f", FEOX_START_EXCLUSIVE, 0, "def");
        expect_range(k, "c", "f", FEOX_END_EXCLUSIVE, 0, "cde");
        expect_range(k, "c", "f", FEOX_START_EXCLUSIVE | FEOX_END_EXCLUSIVE, 0, "de");
        expect_range(k, "c", "c", FEOX_START_EXCLUSIVE, 0, "");
        expect_range(k, "bb", "ee", FEOX_START_EXCLUSIVE | FEOX_END_EXCLUSIVE, 0, "cde");
        expect_range(k, "c", "f", 0, 2, "cd");
        feox_cursor *cursor = open_range(k, NULL);
        expect_rest(cursor, "abcdefgh");
        feox_cursor_close(cursor);
    } while (kit_again(k));
}

static void cursor_reverse(void **state) {
    kit *k = *state;
    put_list(k, "abcdefgh");
    do {
        expect_range(k, "", "", FEOX_REVERSE, 0, "hgfedcba");
        expect_range(k, "c", "f", FEOX_REVERSE, 0, "fedc");
        expect_range(k, "c", "f", FEOX_REVERSE | FEOX_START_EXCLUSIVE, 0, "fed");
        expect_range(k, "c", "f", FEOX_REVERSE | FEOX_END_EXCLUSIVE, 0, "edc");
        expect_range(k, "", "ee", FEOX_REVERSE, 3, "edc");
        expect_range(k, "", "", FEOX_REVERSE, 1, "h"); /* the last key */
        expect_range(k, "bb", "", FEOX_REVERSE, 0, "hgfedc");
    } while (kit_again(k));
}

static void cursor_seek(void **state) {
    kit *k = *state;
    feox_slice key;
    put_list(k, "bdfhjl");
    do {
        feox_cursor *cursor = open_range(k, NULL);
        assert_ok(feox_cursor_seek(cursor, "f", 1));
        expect_rest(cursor, "fhjl");
        assert_ok(feox_cursor_seek(cursor, "e", 1)); /* again, behind the end */
        assert_ok(feox_cursor_next(cursor, &key, NULL));
        assert_memory_equal(key.data, "f", 1);
        assert_ok(feox_cursor_seek(cursor, "a", 1));
        expect_rest(cursor, "bdfhjl");
        assert_ok(feox_cursor_seek(cursor, "m", 1));
        expect_rest(cursor, "");
        feox_cursor_close(cursor);
        feox_range range;
        feox_range_init(&range);
        range.flags = FEOX_REVERSE;
        cursor = open_range(k, &range);
        assert_ok(feox_cursor_seek(cursor, "f", 1));
        expect_rest(cursor, "fdb");
        assert_ok(feox_cursor_seek(cursor, "e", 1));
        expect_rest(cursor, "db");
        assert_ok(feox_cursor_seek(cursor, "z", 1));
        expect_rest(cursor, "ljhfdb");
        assert_ok(feox_cursor_seek(cursor, "a", 1));
        expect_rest(cursor, "");
        feox_cursor_close(cursor);
    } while (kit_again(k));
}

/* A seek stays inside the range, and the limit counts anew. */
static void cursor_seek_respects_range_and_limit(void **state) {
    kit *k = *state;
    feox_range range;
    put_list(k, "abcdefgh");
    feox_range_init(&range);
    range.start = "c";
    range.start_len = 1;
    range.end = "g";
    range.end_len = 1;
    range.limit = 2;
    feox_cursor *cursor = open_range(k, &range);
    expect_rest(cursor, "cd");
    assert_ok(feox_cursor_seek(cursor, "a", 1));
    expect_rest(cursor, "cd");
    assert_ok(feox_cursor_seek(cursor, "f", 1));
    expect_rest(cursor, "fg");
    assert_ok(feox_cursor_seek(cursor, "h", 1));
    expect_rest(cursor, "");
    feox_cursor_close(cursor);
    range.flags = FEOX_REVERSE | FEOX_START_EXCLUSIVE | FEOX_END_EXCLUSIVE;
    cursor = open_range(k, &range);
    expect_rest(cursor, "fe");
    assert_ok(feox_cursor_seek(cursor, "h", 1));
    expect_rest(cursor, "fe");
    assert_ok(feox_cursor_seek(cursor, "g", 1));
    expect_rest(cursor, "fe");
    assert_ok(feox_cursor_seek(cursor, "d", 1));
    expect_rest(cursor, "d");
    assert_ok(feox_cursor_seek(cursor, "c", 1));
    expect_rest(cursor, "");
    feox_cursor_close(cursor);
}

static size_t count_prefix(kit *k, const void *prefix, size_t prefix_len, uint32_t flags) {
    feox_range range;
    feox_slice key;
    size_t count = 0;
    feox_range_init(&range);
    range.prefix = prefix;
    range.prefix_len = prefix_len;
    range.flags = flags;
    feox_cursor *cursor = open_range(k, &range);
    while (feox_cursor_next(cursor, &key, NULL) == FEOX_OK) {
        assert_true(key.size >= prefix_len);
        assert_true(prefix_len == 0 || memcmp(key.data, prefix, prefix_len) == 0);
        count++;
    }
    feox_cursor_close(cursor);
    return count;
}

/* prefix + 0xff as an end, which users wrote by hand, is wrong for keys that hold 0xff. */
static void cursor_prefix(void **state) {
    kit *k = *state;
    static const char *const keys[] = {"a",     "ab",   "ab\xff",   "ab\xff\xff",   "ab\xff\x01",
                                       "ac",    "\xff", "\xff\xff", "\xff\xff\xff", "b",
                                       "ab\x01"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_ok(kit_put(k, keys[i], "v"));
    }
    do {
        for (uint32_t flags = 0; flags <= FEOX_REVERSE; flags += FEOX_REVERSE) {
            assert_int_equal(count_prefix(k, "ab", 2, flags), 5);
            assert_int_equal(count_prefix(k, "a", 1, flags), 7);
            assert_int_equal(count_prefix(k, "ab\xff", 3, flags), 3);
            assert_int_equal(count_prefix(k, "\xff", 1, flags), 3);
            assert_int_equal(count_prefix(k, "\xff\xff", 2, flags), 2);
            assert_int_equal(count_prefix(k, "\xff\xff\xff\xff", 4, flags), 0);
            assert_int_equal(count_prefix(k, "c", 1, flags), 0);
            assert_int_equal(count_prefix(k, "", 0, flags), 11);
        }
    } while (kit_again(k));
}

static void cursor_prefix_with_bounds_and_seek(void **state) {
    kit *k = *state;
    static const char *const keys[] = {"p1", "p2", "p3", "p4", "q1", "o1"};
    feox_range range;
    feox_slice key;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_ok(kit_put(k, keys[i], "v"));
    }
    feox_range_init(&range);
    range.prefix = "p";
    range.prefix_len = 1;
    range.start = "p2";
    range.start_len = 2;
    range.end = "z";
    range.end_len = 1;
    feox_cursor *cursor = open_range(k, &range);
    for (int i = 2; i <= 4; i++) {
        assert_ok(feox_cursor_next(cursor, &key, NULL));
        assert_memory_equal(key.data, keys[i - 1], 2);
    }
    assert_status(feox_cursor_next(cursor, &key, NULL), FEOX_END);
    assert_ok(feox_cursor_seek(cursor, "o", 1));
    assert_ok(feox_cursor_next(cursor, &key, NULL));
    assert_memory_equal(key.data, "p2", 2);
    assert_ok(feox_cursor_seek(cursor, "q", 1));
    assert_status(feox_cursor_next(cursor, &key, NULL), FEOX_END);
    feox_cursor_close(cursor);
    range.flags = FEOX_REVERSE;
    cursor = open_range(k, &range);
    assert_ok(feox_cursor_next(cursor, &key, NULL));
    assert_memory_equal(key.data, "p4", 2);
    assert_ok(feox_cursor_seek(cursor, "q5", 2));
    assert_ok(feox_cursor_next(cursor, &key, NULL));
    assert_memory_equal(key.data, "p4", 2);
    feox_cursor_close(cursor);
}

static void cursor_keys_only(void **state) {
    kit *k = *state;
    feox_range range;
    feox_slice key;
    feox_slice value = {"x", 1};
    put_list(k, "ab");
    feox_range_init(&range);
    range.flags = FEOX_KEYS_ONLY;
    do {
        feox_cursor *cursor = open_range(k, &range);
        assert_ok(feox_cursor_next(cursor, &key, &value));
        assert_memory_equal(key.data, "a", 1);
        assert_int_equal(value.size, 0);
        assert_ok(feox_cursor_next(cursor, &key, NULL));
        assert_memory_equal(key.data, "b", 1);
        assert_status(feox_cursor_next(cursor, &key, &value), FEOX_END);
        feox_cursor_close(cursor);
    } while (kit_again(k));
}

static void cursor_copies_its_bounds(void **state) {
    kit *k = *state;
    char start[] = "b";
    char end[] = "d";
    feox_range range;
    put_list(k, "abcde");
    feox_range_init(&range);
    range.start = start;
    range.start_len = 1;
    range.end = end;
    range.end_len = 1;
    feox_cursor *cursor = open_range(k, &range);
    start[0] = 'a';
    end[0] = 'a';
    memset(&range, 0xff, sizeof range);
    expect_rest(cursor, "bcd");
    feox_cursor_close(cursor);
}

static void cursor_survives_changes_on_the_way(void **state) {
    kit *k = *state;
    feox_slice key;
    feox_slice value;
    put_list(k, "bdfhj");
    feox_cursor *cursor = open_range(k, NULL);
    assert_ok(feox_cursor_next(cursor, &key, NULL));
    assert_memory_equal(key.data, "b", 1);
    assert_ok(kit_delete(k, "b"));   /* the one it stands on */
    assert_ok(kit_delete(k, "d"));   /* the next */
    assert_ok(kit_put(k, "a", "a")); /* behind it */
    assert_ok(kit_put(k, "b", "b"));
    assert_ok(kit_put(k, "h", "x")); /* a value further on */
    assert_ok(feox_cursor_next(cursor, &key, &value));
    assert_memory_equal(key.data, "f", 1);
    assert_ok(feox_cursor_next(cursor, &key, &value));
    assert_memory_equal(key.data, "h", 1);
    assert_memory_equal(value.data, "x", 1); /* as it was during the call, not before */
    assert_ok(kit_put(k, "k", "k"));
    expect_rest(cursor, "jk");
    feox_cursor_close(cursor);
    cursor = open_range(k, NULL);
    assert_ok(feox_clear(k->store));
    assert_status(feox_cursor_next(cursor, &key, NULL), FEOX_END);
    feox_cursor_close(cursor);
}

/* What no cursor can be told to do leaves it where it is; what is not wanted need not be asked. */
static void cursor_arguments(void **state) {
    kit *k = *state;
    feox_slice key = {"x", 1};
    feox_slice value = {"y", 1};
    feox_cursor *cursor = NULL;
    put_list(k, "abcd");
    assert_status(feox_cursor_next(NULL, &key, &value), FEOX_ERR_ARGUMENT);
    assert_true(key.data == NULL && value.data == NULL);
    assert_status(feox_cursor_seek(NULL, "a", 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_cursor_open(k->store, NULL, NULL), FEOX_ERR_ARGUMENT);
    feox_range range;
    feox_range_init(&range);
    const void **const bounds[] = {&range.start, &range.end, &range.prefix};
    size_t *const lengths[] = {&range.start_len, &range.end_len, &range.prefix_len};
    for (unsigned i = 0; i < 3; i++) {
        *bounds[i] = NULL;
        *lengths[i] = 1;
        assert_status(feox_cursor_open(k->store, &range, &cursor), FEOX_ERR_ARGUMENT);
        assert_null(cursor);
        *bounds[i] = ""; /* no bound */
        *lengths[i] = 0;
    }
    cursor = open_range(k, &range);
    assert_ok(feox_cursor_next(cursor, NULL, NULL));
    assert_status(feox_cursor_seek(cursor, NULL, 1), FEOX_ERR_ARGUMENT);
    assert_ok(feox_cursor_next(cursor, NULL, &value));
    assert_memory_equal(value.data, "b", 1);
    assert_ok(feox_cursor_seek(cursor, NULL, 0)); /* from the beginning */
    expect_rest(cursor, "abcd");
    feox_cursor_close(cursor);
    feox_cursor_close(NULL);
}

/* The classic loop: delete what the cursor shows. */
static void delete_while_walking(void **state) {
    kit *k = *state;
    for (uint32_t i = 0; i < 3000; i++) {
        assert_ok(feox_insert(k->store, &i, sizeof i, &i, sizeof i));
    }
    kit_reopen(k);
    feox_cursor *cursor = open_range(k, NULL);
    feox_slice key;
    uint32_t seen = 0;
    while (feox_cursor_next(cursor, &key, NULL) == FEOX_OK) {
        assert_ok(feox_delete(k->store, key.data, key.size));
        seen++;
    }
    feox_cursor_close(cursor);
    assert_int_equal(seen, 3000);
    assert_int_equal(kit_count(k), 0);
}

static void many_cursors_at_once(void **state) {
    kit *k = *state;
    feox_cursor *cursors[200];
    feox_slice key;
    put_list(k, "abcdefgh");
    for (size_t i = 0; i < 200; i++) {
        cursors[i] = open_range(k, NULL);
    }
    for (int step = 0; step < 8; step++) {
        for (size_t i = 0; i < 200; i++) {
            assert_ok(feox_cursor_next(cursors[i], &key, NULL));
            assert_int_equal(*(const char *)key.data, 'a' + step);
        }
    }
    for (size_t i = 0; i < 200; i++) {
        feox_cursor_close(cursors[i]);
    }
}

/* Keys with long common beginnings, in random order of arrival. */
static void order_is_memcmp(void **state) {
    kit *k = *state;
    uint64_t random = kit_seed("order_is_memcmp");
    uint64_t count = 0;
    unsigned char key[80];
    for (int i = 0; i < 5000; i++) {
        size_t size = 1 + kit_below(&random, 80);
        memset(key, (int)(kit_below(&random, 3) * 127), sizeof key);
        for (int change = 0; change < 2; change++) {
            key[kit_below(&random, size)] = (unsigned char)kit_random(&random);
        }
        feox_written written;
        assert_ok(feox_insert_with(k->store, key, size, &i, sizeof i, NULL, &written));
        count += written.created;
    }
    do {
        assert_int_equal(kit_count(k), count);
        assert_int_equal(kit_scan_count(k), count); /* fails if the keys do not rise */
        assert_int_equal(count_prefix(k, NULL, 0, FEOX_REVERSE), count);
    } while (kit_again(k));
}

static void without_order_there_are_no_ranges(void **state) {
    kit *k = *state;
    feox_pairs *pairs = NULL;
    feox_cursor *cursor = NULL;
    k->options.ordered = FEOX_NO;
    kit_restart(k);
    put_list(k, "abc");
    do {
        kit_expect(k, "b", "b");
        assert_int_equal(kit_count(k), 3);
        assert_status(feox_range_query(k->store, NULL, 0, NULL, 0, 0, &pairs),
                      FEOX_ERR_UNSUPPORTED);
        assert_null(pairs);
        assert_status(feox_cursor_open(k->store, NULL, &cursor), FEOX_ERR_UNSUPPORTED);
        assert_null(cursor);
    } while (kit_again(k));
    assert_ok(kit_delete(k, "a"));
    assert_ok(feox_clear(k->store));
    assert_int_equal(kit_count(k), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(range_inclusive_both_ends),
        KIT_TEST(range_limit),
        KIT_TEST(range_empty_and_backwards),
        KIT_TEST(range_results_are_owned_copies),
        KIT_TEST(cursor_bounds),
        KIT_TEST(cursor_reverse),
        KIT_TEST(cursor_seek),
        KIT_TEST(cursor_seek_respects_range_and_limit),
        KIT_TEST(cursor_prefix),
        KIT_TEST(cursor_prefix_with_bounds_and_seek),
        KIT_TEST(cursor_keys_only),
        KIT_TEST(cursor_copies_its_bounds),
        KIT_TEST(cursor_survives_changes_on_the_way),
        KIT_TEST(cursor_arguments),
        KIT_TEST(delete_while_walking),
        KIT_TEST(many_cursors_at_once),
        KIT_TEST(order_is_memcmp),
        KIT_TEST(without_order_there_are_no_ranges),
    };
    return cmocka_run_group_tests_name("api/range_cursor", tests, NULL, NULL);
}
