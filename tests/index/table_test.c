/* table: every key that was put in is found, by readers and by writers, and no other, while the
 * table doubles, splits, loses keys and is trimmed; and CLOCK hands out what was not read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "index/table.h"

enum { KEYS = 60000 };

typedef struct world {
    fx_table table;
    fx_slab_pool pool;
    fx_slab slab;
    fx_hash_key hash_key;
    uint64_t version;
    fx_record *records[KEYS]; /* NULL: not in the table */
} world;

static world *world_create(void) {
    world *w = calloc(1, sizeof *w);
    w->hash_key = (fx_hash_key){.k0 = 1, .k1 = 2};
    fx_slab_pool_init(&w->pool);
    fx_slab_init(&w->slab, &w->pool, offsetof(fx_record, timestamp));
    assert_true(fx_table_init(&w->table, &w->pool, &w->hash_key, 0));
    return w;
}

static void world_destroy(world *w) {
    fx_table_deinit(&w->table);
    fx_slab_pool_deinit(&w->pool);
    free(w);
}

static uint64_t hash_of(const world *w, uint32_t key) {
    return fx_hash(&w->hash_key, &key, sizeof key);
}

static void put(world *w, uint32_t key) {
    uint64_t hash = hash_of(w, key);
    const fx_record_fields fields = {.version = ++w->version};
    assert_true(fx_table_reserve_locked(&w->table, hash));
    fx_record *record =
        fx_slab_acquire(&w->slab, fx_meta_size(fx_record_meta_of(sizeof key, &fields)) + 8);
    assert_non_null(record);
    fx_record_fill(record, &key, sizeof key, &fields);
    fx_table_insert_locked(&w->table, hash, record);
    fx_record_publish(record, fields.version);
    w->records[key] = record;
}

static void take(world *w, uint32_t key) {
    fx_record_kill(w->records[key]);
    fx_table_remove_locked(&w->table, hash_of(w, key), w->records[key]);
    fx_slab_release(&w->slab, w->records[key]);
    w->records[key] = NULL;
}

static bool look(world *w, uint32_t key, bool mark) {
    fx_record_view view;
    return fx_table_read(&w->table, hash_of(w, key), false, mark, &key, sizeof key, NULL, 0, &view);
}

static void expect_all(world *w) {
    assert_null(fx_table_check_locked(&w->table));
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_int_equal(look(w, key, false), w->records[key] != NULL);
        assert_ptr_equal(fx_table_find_locked(&w->table, hash_of(w, key), &key, sizeof key),
                         w->records[key]);
    }
}

static void test_found(void **state) {
    (void)state;
    world *w = world_create();
    for (uint32_t key = 0; key < KEYS; key++) {
        put(w, key);
        if ((key & (key - 1)) == 0) {
            expect_all(w);
        }
    }
    expect_all(w);
    fx_table_shape shape;
    fx_table_shape_locked(&w->table, &shape);
    assert_int_equal(shape.entries, KEYS);
    assert_true(shape.overflow_buckets > 0 && shape.segments > 1);
    world_destroy(w);
}

/* A table that was made big enough at once holds the same, takes about as much memory as one that
 * grew, moves next to nothing, and is as small again when it is empty. */
static void test_presize(void **state) {
    static const uint32_t sizes[] = {0, 9, 1279, 1280, 2560, 2561, 10000, 40000, KEYS};
    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        world *grown = world_create();
        world *w = world_create();
        uint64_t empty = fx_slab_pool_used(&w->pool);
        assert_true(fx_table_presize(&w->table, sizes[i]));
        uint64_t generation = w->table.generation;
        assert_true((generation != 0) == (sizes[i] >= 1280));
        for (uint32_t key = 0; key < sizes[i]; key++) {
            put(grown, key);
            put(w, key);
        }
        expect_all(w);
        uint64_t used = fx_slab_pool_used(&w->pool);
        assert_true(used <= fx_slab_pool_used(&grown->pool) * 5 / 4);
        if (generation != 0) {
            assert_true(w->table.generation - generation < (grown->table.generation - 0) / 2 + 2);
            assert_true(fx_table_presize(&w->table, 4 * KEYS)); /* too late: it is not empty */
            assert_int_equal(fx_slab_pool_used(&w->pool), used);
        }
        for (uint32_t key = 0; key < sizes[i]; key++) {
            take(w, key);
        }
        fx_slab_trim(&w->slab);
        fx_table_trim_locked(&w->table);
        expect_all(w);
        assert_true(fx_slab_pool_used(&w->pool) <= empty + 16384);
        world_destroy(w);
        world_destroy(grown);
    }
}

/* A table gives its memory back when it is empty, and not before. */
static void test_trim(void **state) {
    (void)state;
    world *w = world_create();
    uint64_t empty = fx_slab_pool_used(&w->pool);
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t key = 0; key < KEYS; key++) {
            put(w, key);
        }
        for (uint32_t key = KEYS; key-- > 0;) {
            if (key < 9) {
                uint64_t before = fx_slab_pool_used(&w->pool);
                fx_table_trim_locked(&w->table);
                assert_int_equal(fx_slab_pool_used(&w->pool), before);
                assert_int_equal(w->table.count, key + 1);
                expect_all(w);
            }
            take(w, key);
        }
        fx_slab_trim(&w->slab);
        fx_table_trim_locked(&w->table);
        expect_all(w);
        /* But for what remembers the spare segments, and the directory. */
        assert_true(fx_slab_pool_used(&w->pool) < empty + (64 << 10));
    }
    world_destroy(w);
}

/* One round of the hand over a table of one segment: for each key, whether it was handed out. */
static void go_round(world *w, uint8_t *handed) {
    memset(handed, 0, KEYS);
    do {
        fx_record *records[FX_CLOCK_MAX];
        uint32_t count = fx_table_clock_locked(&w->table, records);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t key = 0;
            memcpy(&key, fx_record_key(records[i]), sizeof key);
            assert_ptr_equal(w->records[key], records[i]);
            handed[key]++;
        }
    } while (w->table.hand_bucket != 0);
}

/* What was read since the hand was there last stays; what was not goes. */
static void test_clock(void **state) {
    (void)state;
    world *w = world_create();
    uint8_t *handed = calloc(1, KEYS);
    for (uint32_t key = 0; key < 500; key++) {
        put(w, key);
    }
    for (unsigned round = 0; round < 4; round++) {
        for (uint32_t key = 0; key < 500; key += 3) {
            assert_true(look(w, key, round != 2));
        }
        go_round(w, handed);
        for (uint32_t key = 0; key < 500; key++) {
            assert_int_equal(handed[key], key % 3 != 0 || round == 2);
        }
    }
    free(handed);
    world_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_presize),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests_name("index/table", tests, NULL, NULL);
}
