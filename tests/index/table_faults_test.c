/* table: many keys against an array that knows where each is; keys that only their bytes tell
 * apart; growth without memory; a check that finds what is wrong; and readers of a slot whose
 * record is freed and used for another key with the same tag.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "index/table.h"
#include "index/table_read.h"
#include "support/child.h"

#define KEYS 40000u
#define ROUNDS 200000u
#define COLLIDING 12u
#define OVERTAKES 60000u

typedef struct fixture {
    fx_slab_pool pool;
    fx_hash_key hash_key;
    fx_table table;
    fx_rng rng;
    fx_record **records; /* of key i; NULL: not there */
    uint64_t versions;
} fixture;

static size_t key_of(uint32_t i, char *key) {
    return (size_t)snprintf(key, 24, "key %u", i);
}

static uint64_t hash_of(const fixture *f, uint32_t i) {
    char key[24];
    size_t size = key_of(i, key);
    return fx_hash(&f->hash_key, key, size);
}

/* A record whose value is the number of its key. */
static fx_record *record_create(fixture *f, uint32_t i) {
    char key[24];
    size_t size = key_of(i, key);
    const fx_record_fields fields = {
        .version = ++f->versions, .value = (const uint8_t *)&i, .value_len = sizeof i};
    uint8_t *slot = fx_mem_zalloc(80);
    assert_non_null(slot);
    fx_record *record = (fx_record *)(void *)(slot + 8);
    fx_record_fill(record, key, size, &fields);
    fx_record_publish(record, fields.version);
    return record;
}

static void record_destroy(fx_record *record) {
    if (record != NULL) {
        fx_mem_free((uint8_t *)record - 8);
    }
}

static bool insert(fixture *f, uint32_t i) {
    uint64_t hash = hash_of(f, i);
    if (!fx_table_reserve_locked(&f->table, hash)) {
        return false;
    }
    f->records[i] = record_create(f, i);
    fx_table_insert_locked(&f->table, hash, f->records[i]);
    return true;
}

static void remove_key(fixture *f, uint32_t i) {
    fx_table_remove_locked(&f->table, hash_of(f, i), f->records[i]);
    record_destroy(f->records[i]);
    f->records[i] = NULL;
}

static void replace(fixture *f, uint32_t i) {
    fx_record *now = record_create(f, i);
    fx_table_replace_locked(&f->table, hash_of(f, i), f->records[i], now);
    record_destroy(f->records[i]);
    f->records[i] = now;
}

/* Readers and writers find the record of the key, or none. */
static void expect(fixture *f, uint32_t i, bool mark) {
    char key[24];
    size_t size = key_of(i, key);
    uint64_t hash = hash_of(f, i);
    uint32_t value = UINT32_MAX;
    fx_record_view view;
    fx_table_prefetch(&f->table, hash);
    fx_table_prefetch_record(&f->table, hash);
    bool found = fx_table_read(&f->table, hash, true, mark, key, size, &value, sizeof value, &view);
    assert_int_equal(found, f->records[i] != NULL);
    assert_ptr_equal(fx_table_find_locked(&f->table, hash, key, size), f->records[i]);
    if (found) {
        assert_int_equal(value, i);
        assert_int_equal(view.version, fx_record_version(f->records[i]));
    }
}

static void expect_sound(const fixture *f) {
    const char *wrong = fx_table_check_locked(&f->table);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

static int setup(void **state) {
    fixture *f = fx_mem_zalloc(sizeof *f);
    if (f == NULL || (f->records = fx_mem_zalloc(KEYS * sizeof *f->records)) == NULL ||
        !fx_hash_key_init(&f->hash_key)) {
        return -1;
    }
    fx_rng_init(&f->rng, fx_test_seed());
    fx_slab_pool_init(&f->pool);
    *state = f;
    return fx_table_init(&f->table, &f->pool, &f->hash_key, 0) ? 0 : -1;
}

static int teardown(void **state) {
    fixture *f = *state;
    for (uint32_t i = 0; i < KEYS; i++) {
        record_destroy(f->records[i]);
    }
    fx_table_deinit(&f->table);
    fx_slab_pool_deinit(&f->pool);
    fx_mem_free(f->records);
    fx_mem_free(f);
    return 0;
}

static bool count_one(void *context, fx_record *record) {
    (void)record;
    return --*(uint64_t *)context > 0;
}

/* What goes over all entries sees each once. */
static void expect_walks(fixture *f) {
    uint64_t left = UINT64_MAX;
    fx_table_shape shape;
    fx_table_each_locked(&f->table, count_one, &left);
    assert_true(UINT64_MAX - left == f->table.count);
    left = 1;
    fx_table_each_locked(&f->table, count_one, &left);
    assert_int_equal(left, f->table.count > 0 ? 0 : 1);
    fx_table_shape_locked(&f->table, &shape);
    assert_true(shape.entries == f->table.count && shape.segment_max <= shape.entries);
    assert_true(shape.segment_max * shape.segments >= shape.entries);
    assert_true(shape.chain_max <= shape.overflow_buckets + 1 && shape.hops <= shape.entries * 63);
}

static void random_keys(void **state) {
    fixture *f = *state;
    uint64_t count = 0;
    uint64_t used = fx_slab_pool_used(&f->pool);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t i = (uint32_t)(fx_rng_next(&f->rng) % KEYS);
        bool fresh = f->records[i] == NULL;
        if (fresh) {
            assert_true(insert(f, i));
            count++;
        } else if (round % 3 == 0) {
            remove_key(f, i);
            count--;
        } else {
            replace(f, i);
        }
        expect(f, i, false);
        expect(f, (i + 1) % KEYS, true);
        assert_int_equal(f->table.count, count);
        if (round % (ROUNDS / 8) == 0) {
            expect_sound(f);
            expect_walks(f);
        }
    }
    assert_true(fx_slab_pool_used(&f->pool) > used);
    /* Nothing is left, and the memory is given back; late readers find no key and come back. */
    fx_table_trim_locked(&f->table);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (f->records[i] != NULL) {
            remove_key(f, i);
        }
    }
    uint64_t full = fx_slab_pool_used(&f->pool);
    fx_mem_fail_after(1, false);
    fx_table_trim_locked(&f->table); /* it may have no room to note what is spare */
    fx_mem_fail_after(0, false);
    assert_int_equal(fx_slab_pool_used(&f->pool), full);
    fx_table_trim_locked(&f->table);
    assert_true(fx_slab_pool_used(&f->pool) < full / 2);
    fx_table_trim_locked(&f->table);
    for (uint32_t i = 0; i < KEYS; i++) {
        expect(f, i, false);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_true(insert(f, i));
    }
    expect_sound(f);
    expect_walks(f);
}

/* CLOCK hands out what was not read since its last round: after one round without reads, all. */
static void clock_goes_round(void **state) {
    fixture *f = *state;
    fx_record *some[FX_CLOCK_MAX];
    const uint32_t keys = 3000;
    for (uint32_t i = 0; i < keys; i++) {
        assert_true(insert(f, i));
    }
    for (unsigned round = 0; round < 3; round++) {
        uint64_t seen = 0;
        if (round == 1) {
            for (uint32_t i = 0; i < keys; i += 2) {
                expect(f, i, true);
            }
        }
        while (f->table.hand_segment < 1u << f->table.directory->depth) {
            seen += fx_table_clock_locked(&f->table, some);
        }
        assert_int_equal(seen, round == 1 ? keys / 2 : keys);
        f->table.hand_bucket = 1u << 20; /* it begins anew, wherever it was */
        (void)fx_table_clock_locked(&f->table, some);
        assert_int_equal(f->table.hand_segment, 0);
        f->table.hand_bucket = 0;
    }
}

/* Keys in one bucket with one tag. */
static void same_tags(void **state) {
    fixture *f = *state;
    uint32_t alike[COLLIDING];
    uint32_t count = 0;
    uint64_t like = hash_of(f, 0);
    fx_record *own[COLLIDING];
    fx_table_shape shape;
    fx_record_view view;
    for (uint32_t i = 0; count < COLLIDING; i++) {
        uint64_t hash = hash_of(f, i);
        if (fx_slot_tag(hash) == fx_slot_tag(like) && (hash & 7) == (like & 7)) {
            alike[count++] = i;
        }
    }
    for (uint32_t k = 0; k + 1 < COLLIDING; k++) {
        uint64_t hash = hash_of(f, alike[k]);
        own[k] = record_create(f, alike[k]);
        assert_true(fx_table_reserve_locked(&f->table, hash));
        fx_table_insert_locked(&f->table, hash, own[k]);
    }
    fx_table_shape_locked(&f->table, &shape);
    assert_int_equal(shape.same_tags, (COLLIDING - 1) * (COLLIDING - 2) / 2);
    assert_int_equal(shape.chain_max, 2);
    for (uint32_t k = 0; k < COLLIDING; k++) {
        char key[24];
        uint32_t value = 0;
        size_t size = key_of(alike[k], key);
        uint64_t hash = hash_of(f, alike[k]);
        bool there = k + 1 < COLLIDING;
        fx_table_prefetch_record(&f->table, hash);
        assert_int_equal(fx_table_read(&f->table, hash, false, true, key, size, &value, 4, &view),
                         there);
        assert_ptr_equal(fx_table_find_locked(&f->table, hash, key, size), there ? own[k] : NULL);
        assert_true(!there || value == alike[k]);
    }
    expect_sound(f);
    /* A chain that bites its tail, as none but a torn one can: a reader comes to an end. */
    fx_segment *segment;
    (void)fx_bucket_of(&f->table, like, &segment);
    segment->overflow[0].overflow = 1;
    assert_false(fx_table_read(&f->table, hash_of(f, alike[COLLIDING - 1]), false, false, "x", 1,
                               NULL, 0, &view));
    segment->overflow[0].overflow = 0;
    for (uint32_t k = 0; k + 1 < COLLIDING; k++) {
        fx_table_remove_locked(&f->table, hash_of(f, alike[k]), own[k]);
        record_destroy(own[k]);
    }
    expect_sound(f);
}

/* Each allocation that growth makes may fail: the table stays as it was, and takes the key later.
 */
static void growth_without_memory(void **state) {
    fixture *f = *state;
    unsigned refused[3] = {0};
    for (uint32_t i = 0; i < KEYS; i++) {
        for (uint64_t n = 1; n <= 2; n++) {
            /* The first allocation is the directory's, if that grows, else the segment's. */
            fx_mem_fail_after(n, true);
            bool reserved = fx_table_reserve_locked(&f->table, hash_of(f, i));
            fx_mem_fail_after(1, true);
            while (!reserved && fx_slab_pool_take(&f->pool, sizeof(fx_segment)) != NULL) {
                continue; /* what the pool has would do for the next segments */
            }
            fx_mem_fail_after(0, false);
            if (!reserved) {
                refused[n]++;
                expect_sound(f);
                for (uint32_t k = 0; k < i; k += 97) {
                    expect(f, k, false);
                }
            }
        }
        assert_true(insert(f, i));
    }
    assert_true(refused[1] > 0 && refused[2] > 0);
    expect_sound(f);
    /* And a new one. */
    fx_table other;
    fx_mem_fail_after(1, false);
    assert_false(fx_table_init(&other, &f->pool, &f->hash_key, 5000));
    fx_slab_pool empty;
    fx_slab_pool_init(&empty);
    fx_mem_fail_after(2, false);
    assert_false(fx_table_init(&other, &empty, &f->hash_key, 5000));
    fx_mem_fail_after(0, false);
    fx_slab_pool_deinit(&empty);
    assert_true(fx_table_init(&other, &f->pool, &f->hash_key, 5000));
    assert_null(fx_table_check_locked(&other));
    fx_table_deinit(&other);
    fx_table_deinit(&other);
}

static void expect_wrong(const fixture *f, const char *what) {
    const char *found = fx_table_check_locked(&f->table);
    assert_non_null(found);
    assert_non_null(strstr(found, what));
}

/* The check knows each way in which a table can be wrong. */
static void check_finds(void **state) {
    fixture *f = *state;
    for (uint32_t i = 0; i < 9000; i++) {
        assert_true(insert(f, i));
    }
    uint64_t hash = hash_of(f, 0);
    fx_segment *segment;
    fx_segment *sibling;
    fx_bucket *bucket = fx_bucket_of(&f->table, hash, &segment);
    fx_bucket *twin = fx_bucket_of(&f->table, hash ^ (uint64_t)1 << 55, &sibling);
    fx_bucket *next = &segment->buckets[(size_t)(bucket - segment->buckets) ^ 1];
    uint64_t *slot = NULL;
    for (fx_bucket *b = bucket; slot == NULL; b = fx_chain_next(segment, b)) {
        for (uint32_t i = 0; i < FX_BUCKET_SLOTS; i++) {
            slot = b->slots[i] == fx_slot_make(hash, f->records[0]) ? &b->slots[i] : slot;
        }
    }
    assert_true(sibling != segment);
    expect_sound(f);
    uint64_t kept = *slot;
    *slot ^= (uint64_t)2 << 48;
    expect_wrong(f, "in the wrong place"); /* its tag */
    *slot = kept;
    uint64_t *const others[] = {&next->slots[0], &twin->slots[0]};
    for (size_t i = 0; i < 2; i++) { /* its bucket, its segment */
        uint64_t other = *others[i];
        *others[i] = kept;
        expect_wrong(f, "in the wrong place");
        *others[i] = other;
    }
    f->table.count++;
    expect_wrong(f, "the count");
    f->table.count--;
    fx_record_kill(f->records[0]);
    expect_wrong(f, "a dead record");
    remove_key(f, 0);
    expect_sound(f);
}

/* ---- A slot that is overtaken ---- */

typedef struct overtaking {
    fixture *f;
    uint32_t keys[2];
    uint32_t stop;
    uint32_t wrong;
    uint64_t found[2];
} overtaking;

static void *read_both(void *context) {
    overtaking *o = context;
    while (fx_load_acquire(&o->stop) == 0) {
        for (unsigned k = 0; k < 2; k++) {
            char key[24];
            uint32_t value = UINT32_MAX;
            fx_record_view view;
            size_t size = key_of(o->keys[k], key);
            if (fx_table_read(&o->f->table, hash_of(o->f, o->keys[k]), false, false, key, size,
                              &value, sizeof value, &view)) {
                o->wrong += value != o->keys[k];
                o->found[k]++;
            }
        }
    }
    return NULL;
}

/* One slot of memory is now the record of one key, now of another with the same tag and bucket. A
 * reader finds the value of its key or none, and always comes back. */
static void overtaken(void **state) {
    fixture *f = *state;
    overtaking o = {.f = f};
    pthread_t reader;
    uint64_t like = hash_of(f, 0);
    for (uint32_t i = 1; o.keys[1] == 0; i++) {
        uint64_t hash = hash_of(f, i);
        o.keys[1] = fx_slot_tag(hash) == fx_slot_tag(like) && (hash & 7) == (like & 7) ? i : 0;
    }
    fx_record *record = record_create(f, o.keys[0]);
    assert_int_equal(pthread_create(&reader, NULL, read_both, &o), 0);
    for (unsigned round = 0; round < OVERTAKES; round++) {
        uint32_t number = o.keys[round % 2];
        char key[24];
        size_t size = key_of(number, key);
        const fx_record_fields fields = {
            .version = ++f->versions, .value = (const uint8_t *)&number, .value_len = 4};
        fx_record_kill(record);
        fx_record_fill(record, key, size, &fields);
        fx_table_insert_locked(&f->table, hash_of(f, number), record);
        fx_record_publish(record, fields.version);
        fx_table_remove_locked(&f->table, hash_of(f, number), record);
    }
    fx_store_release(&o.stop, 1u);
    assert_int_equal(pthread_join(reader, NULL), 0);
    record_destroy(record);
    assert_int_equal(o.wrong, 0);
}

/* ---- Short looks while entries move ---- */

#define CYCLES 2000u
#define CYCLE_KEYS 60u

typedef struct looker {
    fixture *f;
    uint32_t stop;
    uint32_t wrong;
    uint32_t answers[2][FX_PASS_RETRY + 1]; /* of key 0, which comes and goes; of one never there */
} looker;

static void *look_shortly(void *argument) {
    looker *l = argument;
    for (unsigned round = 0; fx_load_acquire(&l->stop) == 0; round++) {
        uint32_t number = round % 2 == 0 ? 0 : KEYS;
        char key[24];
        size_t size = key_of(number, key);
        uint32_t value = UINT32_MAX;
        size_t value_len = 0;
        fx_table_pass pass = fx_table_read_plain(&l->f->table, hash_of(l->f, number), key, size,
                                                 &value, sizeof value, &value_len);
        fx_add_relaxed(&l->answers[round % 2][pass], 1u);
        bool found = pass == FX_PASS_FOUND;
        l->wrong += found && (number != 0 || value != 0 || value_len != sizeof value);
    }
    return NULL;
}

static bool has_seen_all(const looker *l) {
    return fx_load_relaxed(&l->answers[0][FX_PASS_FOUND]) > 100 &&
           fx_load_relaxed(&l->answers[0][FX_PASS_NONE]) > 100 &&
           fx_load_relaxed(&l->answers[1][FX_PASS_NONE]) > 100 &&
           fx_load_relaxed(&l->answers[1][FX_PASS_RETRY]) > 1000;
}

/* The table grows and is emptied again and again: what is there is found, or it cannot be told;
 * what never was is never found. */
static void looked_at_while_moving(void **state) {
    fixture *f = *state;
    looker l = {.f = f};
    pthread_t reader;
    for (uint32_t i = 0; i < CYCLE_KEYS; i++) {
        f->records[i] = record_create(f, i);
    }
    assert_int_equal(pthread_create(&reader, NULL, look_shortly, &l), 0);
    for (unsigned cycle = 0; cycle < CYCLES || !has_seen_all(&l); cycle++) {
        for (uint32_t i = 0; i < CYCLE_KEYS; i++) {
            assert_true(fx_table_reserve_locked(&f->table, hash_of(f, i)));
            fx_table_insert_locked(&f->table, hash_of(f, i), f->records[i]);
        }
        for (uint32_t i = 0; i < CYCLE_KEYS; i++) {
            fx_table_remove_locked(&f->table, hash_of(f, i), f->records[i]);
        }
        fx_table_trim_locked(&f->table);
    }
    fx_store_release(&l.stop, 1u);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(l.wrong, 0);
    assert_int_equal(l.answers[1][FX_PASS_FOUND], 0);
}

/* ---- Room in advance ---- */

/* Once, for an empty table that never grew, and only with memory; keys are found as ever. */
static void presized(void **state) {
    fixture *f = *state;
    const fx_directory *first = f->table.directory;
    fx_mem_fail_after(1, true);
    assert_false(fx_table_presize(&f->table, KEYS));
    fx_mem_fail_after(0, false);
    assert_ptr_equal(f->table.directory, first);
    assert_true(insert(f, 0));
    expect(f, 0, false);
    remove_key(f, 0);
    assert_true(fx_table_presize(&f->table, KEYS));
    const fx_directory *larger = f->table.directory;
    assert_ptr_not_equal(larger, first);
    assert_true(fx_table_presize(&f->table, 50 * KEYS)); /* it has some already */
    assert_ptr_equal(f->table.directory, larger);
    for (uint32_t i = 0; i < 2000; i++) {
        assert_true(insert(f, i));
    }
    for (uint32_t i = 0; i < 2000; i++) {
        expect(f, i, false);
    }
    expect_sound(f);
    fx_table never = {.directory = NULL}; /* its init failed */
    fx_table_deinit(&never);
}

#define TABLE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TABLE_TEST(random_keys),           TABLE_TEST(clock_goes_round), TABLE_TEST(same_tags),
        TABLE_TEST(growth_without_memory), TABLE_TEST(check_finds),      TABLE_TEST(overtaken),
        TABLE_TEST(presized), TABLE_TEST(looked_at_while_moving)};
    return cmocka_run_group_tests_name("index/table_faults", tests, NULL, NULL);
}
