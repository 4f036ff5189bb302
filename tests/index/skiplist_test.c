/* skiplist: random batches against a table of what must be there, for every shape of key; memory
 * failures; bulk build; and readers scanning both ways under a writer whose dropped records are
 * poisoned and reused as soon as the epoch allows it. */
#include "index/skiplist.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"

/* A record and what the test expects of it. */
typedef struct test_record {
    struct test_record *next;
    uint64_t stamp;
    uint32_t index;    /* of its key in the universe */
    uint32_t expected; /* must be reported unlinked by this batch */
    uint32_t reported;
    uint32_t padding;
    fx_record record; /* key bytes follow */
} test_record;

typedef struct test_key {
    uint8_t *data;
    size_t size;
} test_key;

/* All keys of a test, ascending and distinct; and the record of each that the list must hold. */
typedef struct universe {
    test_key *keys;
    test_record **present;
    size_t count;
    uint64_t present_count;
} universe;

static uint64_t test_seed(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20240611u;
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

static void fill_record(test_record *holder, test_key key, uint64_t version) {
    fx_record_fields fields = {.version = version, .timestamp = 1, .value = NULL, .value_len = 0};
    fx_record_fill(&holder->record, key.data, key.size, &fields);
    fx_record_publish(&holder->record, version);
}

static test_record *make_holder(const universe *all, size_t index) {
    test_record *made = fx_mem_zalloc(sizeof(test_record) + all->keys[index].size + 8);
    assert_non_null(made);
    made->index = (uint32_t)index;
    fill_record(made, all->keys[index], 1);
    return made;
}

static test_record *holder_of(fx_record *record) {
    return (test_record *)(void *)((uint8_t *)record - offsetof(test_record, record));
}

/* Poison, so that a look at a record that is gone shows. */
static void free_holder(test_record *holder) {
    memset(&holder->record, 0xEE, sizeof holder->record);
    fx_mem_free(holder);
}

static int compare_keys(const void *a, const void *b) {
    const test_key *x = a;
    const test_key *y = b;
    return fx_key_compare(x->data, x->size, y->data, y->size);
}

typedef enum key_shape { TINY, DECIMAL, FAMILIES, HUGE_KEYS, BYTES, SHAPES } key_shape;

static size_t random_key(key_shape shape, fx_rng *rng, uint8_t *out) {
    static const uint8_t few[] = {0x00, 0xff, 'a', 0x01};
    size_t size = 0;
    switch (shape) {
    case TINY:
        size = 1 + fx_rng_below(rng, 6);
        for (size_t i = 0; i < size; i++) {
            out[i] = few[fx_rng_below(rng, 4)];
        }
        break;
    case DECIMAL:
        size = (size_t)snprintf((char *)out, 64, "user:%012llu",
                                (unsigned long long)fx_rng_below(rng, 1000000));
        break;
    case FAMILIES:
        size = 20 + 40 * fx_rng_below(rng, 6);
        memset(out, (int)('a' + fx_rng_below(rng, 3)), size);
        for (size_t tail = fx_rng_below(rng, 7); tail > 0; tail--) {
            out[size++] = few[fx_rng_below(rng, 4)];
        }
        break;
    case HUGE_KEYS:
        size = fx_rng_below(rng, 2) == 0 ? 65535 : 60000 + fx_rng_below(rng, 5000);
        memset(out, 'x', size);
        fx_put_u16(out + 59990, (uint16_t)fx_rng_next(rng));
        break;
    default:
        size = 8;
        fx_put_u64(out, fx_rng_next(rng));
        break;
    }
    return size;
}

static universe make_universe(key_shape shape, size_t count, fx_rng *rng) {
    universe all = {.keys = fx_mem_alloc(count * sizeof(test_key))};
    uint8_t *buffer = fx_mem_alloc(70000);
    assert_true(all.keys != NULL && buffer != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t size = random_key(shape, rng, buffer);
        all.keys[i] = (test_key){fx_mem_alloc(size), size};
        assert_non_null(all.keys[i].data);
        memcpy(all.keys[i].data, buffer, size);
    }
    fx_mem_free(buffer);
    qsort(all.keys, count, sizeof(test_key), compare_keys);
    for (size_t i = 0; i < count; i++) {
        if (all.count > 0 && compare_keys(&all.keys[i], &all.keys[all.count - 1]) == 0) {
            fx_mem_free(all.keys[i].data);
        } else {
            all.keys[all.count++] = all.keys[i];
        }
    }
    all.present = fx_mem_zalloc(all.count * sizeof(test_record *));
    assert_non_null(all.present);
    return all;
}

static void free_universe(universe *all) {
    for (size_t i = 0; i < all->count; i++) {
        if (all->present[i] != NULL) {
            free_holder(all->present[i]);
        }
        fx_mem_free(all->keys[i].data);
    }
    fx_mem_free(all->keys);
    fx_mem_free(all->present);
}

static void assert_sound(fx_skiplist *list) {
    const char *wrong = fx_skiplist_check(list);
    if (wrong != NULL) {
        print_error("%s\n", wrong);
    }
    assert_null(wrong);
}

#define BATCH_MAX 256u

/* A batch in the making, and the records that it must report. */
typedef struct test_batch {
    fx_skiplist_op ops[BATCH_MAX];
    size_t count;
    size_t gone;
} test_batch;

static void expect_gone(test_batch *batch, test_record *holder) {
    if (holder->expected == 0) {
        holder->expected = 1;
        batch->gone++;
    }
}

static void add_put(universe *all, test_batch *batch, size_t index) {
    test_record *made = make_holder(all, index);
    if (all->present[index] != NULL) {
        expect_gone(batch, all->present[index]);
    } else {
        all->present_count++;
    }
    all->present[index] = made;
    batch->ops[batch->count++] = (fx_skiplist_op){&made->record, false};
}

static void add_drop(universe *all, test_batch *batch, test_record *holder) {
    if (all->present[holder->index] == holder) {
        all->present[holder->index] = NULL;
        all->present_count--;
    }
    expect_gone(batch, holder);
    batch->ops[batch->count++] = (fx_skiplist_op){&holder->record, true};
}

static void apply_batch(fx_skiplist *list, test_batch *batch) {
    fx_record *unlinked[BATCH_MAX];
    size_t longest = 0;
    for (size_t i = 0; i < batch->count; i++) {
        size_t size = fx_record_key_len(batch->ops[i].record);
        longest = size > longest ? size : longest;
    }
    assert_true(fx_skiplist_reserve(list, batch->count, longest));
    fx_mem_fail_after(1, true); /* what was reserved cannot fail */
    size_t count = fx_skiplist_apply(list, batch->ops, batch->count, unlinked);
    fx_mem_fail_after(0, false);
    assert_int_equal(count, batch->gone);
    for (size_t i = 0; i < count; i++) {
        test_record *holder = holder_of(unlinked[i]);
        assert_int_equal(holder->expected, 1);
        assert_int_equal(holder->reported++, 0);
    }
    for (size_t i = 0; i < count; i++) {
        free_holder(holder_of(unlinked[i]));
    }
    *batch = (struct test_batch){.count = 0};
}

/* One random change. `puts` of 100 are puts. */
static void add_random(universe *all, test_batch *batch, fx_rng *rng, unsigned puts) {
    size_t index = fx_rng_below(rng, all->count);
    if (fx_rng_below(rng, 100) < puts) {
        test_record *before = all->present[index];
        add_put(all, batch, index);
        if (before != NULL && fx_rng_below(rng, 8) == 0) {
            add_drop(all, batch, before); /* replaced already: must not be reported twice */
        }
        if (fx_rng_below(rng, 16) == 0) {
            add_drop(all, batch, all->present[index]);
        }
    } else if (all->present[index] != NULL) {
        add_drop(all, batch, all->present[index]);
    } else if (fx_rng_below(rng, 8) == 0) {
        add_drop(all, batch, make_holder(all, index)); /* was never put */
    }
}

/* The first key of the universe that is not below. */
static size_t rank_of(const universe *all, test_key key) {
    size_t low = 0;
    size_t high = all->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_keys(&all->keys[middle], &key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void verify_forward(fx_skiplist *list, const universe *all, test_key from, bool exclusive,
                           size_t capacity) {
    fx_record *records[600];
    size_t at = rank_of(all, from);
    if (exclusive && from.size > 0 && at < all->count && compare_keys(&all->keys[at], &from) == 0) {
        at++;
    }
    size_t got = fx_skiplist_forward(list, from.data, from.size, exclusive, records, capacity);
    for (size_t i = 0; i < got; i++, at++) {
        while (at < all->count && all->present[at] == NULL) {
            at++;
        }
        assert_true(at < all->count);
        assert_ptr_equal(records[i], &all->present[at]->record);
    }
    while (got < capacity && at < all->count) {
        assert_null(all->present[at++]); /* without a writer nothing cuts a window short */
    }
}

static void verify_backward(fx_skiplist *list, const universe *all, test_key from, bool exclusive,
                            size_t capacity) {
    fx_record *records[600];
    size_t at = from.data == NULL ? all->count : rank_of(all, from);
    if (!exclusive && from.data != NULL && at < all->count &&
        compare_keys(&all->keys[at], &from) == 0) {
        at++;
    }
    size_t got = fx_skiplist_backward(list, from.data, from.size, exclusive, records, capacity);
    for (size_t i = 0; i < got; i++, at--) {
        while (at > 0 && all->present[at - 1] == NULL) {
            at--;
        }
        assert_true(at > 0);
        assert_ptr_equal(records[i], &all->present[at - 1]->record);
    }
    while (got < capacity && at > 0) {
        assert_null(all->present[--at]);
    }
}

/* Windows from keys of the universe, their beginnings, and the ends. */
static void verify_windows(fx_skiplist *list, const universe *all, fx_rng *rng, int times) {
    for (int i = 0; i < times; i++) {
        test_key from = all->keys[fx_rng_below(rng, all->count)];
        if (fx_rng_below(rng, 3) == 0) {
            from.size = 1 + fx_rng_below(rng, from.size);
        }
        bool exclusive = fx_rng_below(rng, 2) == 0;
        size_t capacity = 1 + fx_rng_below(rng, 150);
        verify_forward(list, all, from, exclusive, capacity);
        verify_backward(list, all, from, exclusive, capacity);
    }
    verify_forward(list, all, (test_key){NULL, 0}, times % 2 == 0, 600);
    verify_backward(list, all, (test_key){NULL, 0}, times % 2 == 0, 600);
}

/* Every entry by repeated windows, both ways; compared entry by entry. */
static void verify_all(fx_skiplist *list, const universe *all) {
    assert_sound(list);
    assert_int_equal(fx_skiplist_count(list), all->present_count);
    fx_record *records[37];
    test_key last = {NULL, 0};
    size_t at = 0;
    uint64_t seen = 0;
    for (size_t got;
         (got = fx_skiplist_forward(list, last.data, last.size, true, records, 37)) > 0;) {
        for (size_t i = 0; i < got; i++, at++, seen++) {
            for (; at < all->count && all->present[at] == NULL; at++) {
            }
            assert_true(at < all->count);
            assert_ptr_equal(records[i], &all->present[at]->record);
        }
        last = all->keys[at - 1];
    }
    assert_int_equal(seen, all->present_count);
    last = (test_key){NULL, 0};
    at = all->count;
    for (size_t got;
         (got = fx_skiplist_backward(list, last.data, last.size, true, records, 37)) > 0;) {
        for (size_t i = 0; i < got; i++, at--, seen--) {
            for (; at > 0 && all->present[at - 1] == NULL; at--) {
            }
            assert_true(at > 0);
            assert_ptr_equal(records[i], &all->present[at - 1]->record);
        }
        last = all->keys[at];
    }
    assert_int_equal(seen, 0);
}

/* Applies random batches; what share are puts drifts, so that the list grows and shrinks. */
static void run_batches(fx_skiplist *list, universe *all, fx_rng *rng, int batches) {
    test_batch batch = {.count = 0};
    for (int i = 0; i < batches; i++) {
        size_t size = 1 + fx_rng_below(rng, BATCH_MAX - 4);
        unsigned puts = i % 60 < 30 ? 75 : 20;
        for (size_t tries = 0; batch.count < size && tries < 4 * size; tries++) {
            add_random(all, &batch, rng, puts);
        }
        apply_batch(list, &batch);
        assert_int_equal(fx_skiplist_count(list), all->present_count);
        if (i % 4 == 0) {
            assert_sound(list);
            verify_windows(list, all, rng, 4);
        }
        if (i % 32 == 31) {
            fx_skiplist_trim(list);
        }
    }
    verify_all(list, all);
}

static void drop_everything(fx_skiplist *list, universe *all) {
    test_batch batch = {.count = 0};
    for (size_t i = 0; i < all->count; i++) {
        /* Every third from the middle first, so that merging meets all positions. */
        size_t index = i * 7919 % all->count;
        for (; all->present[index] == NULL && all->present_count > 0;
             index++, index %= all->count) {
        }
        if (all->present_count > 0) {
            add_drop(all, &batch, all->present[index]);
        }
        if (batch.count == BATCH_MAX || i + 1 == all->count) {
            apply_batch(list, &batch);
            assert_sound(list);
        }
    }
    verify_all(list, all);
    assert_int_equal(fx_skiplist_count(list), 0);
}

static void random_ops_test(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, test_seed());
    static const size_t sizes[SHAPES] = {3000, 6000, 4000, 130, 8000};
    static const int batches[SHAPES] = {90, 90, 90, 3, 120};
    for (key_shape shape = TINY; shape < SHAPES; shape++) {
        print_message("shape %d\n", (int)shape);
        universe all = make_universe(shape, sizes[shape], &rng);
        fx_skiplist *list = fx_skiplist_create();
        assert_non_null(list);
        uint64_t empty = fx_skiplist_memory(list);
        verify_all(list, &all);
        run_batches(list, &all, &rng, batches[shape]);
        drop_everything(list, &all);
        fx_skiplist_trim(list);
        assert_sound(list);
        /* The one leaf left holds back its unit of 64 KiB. */
        assert_true(fx_skiplist_memory(list) <= empty + (80u << 10));
        run_batches(list, &all, &rng, 1 + batches[shape] / 8); /* and it still works */
        fx_skiplist_destroy(list);
        free_universe(&all);
    }
}

static void insert_range(fx_skiplist *list, universe *all, bool descending) {
    test_batch batch = {.count = 0};
    for (size_t i = 0; i < all->count; i++) {
        add_put(all, &batch, descending ? all->count - 1 - i : i);
        if (batch.count == 100 || i + 1 == all->count) {
            apply_batch(list, &batch);
        }
    }
    verify_all(list, all);
}

static void sequential_test(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, test_seed());
    for (int descending = 0; descending < 2; descending++) {
        universe all = make_universe(BYTES, 30000, &rng);
        fx_skiplist *list = fx_skiplist_create();
        assert_non_null(list);
        insert_range(list, &all, descending != 0);
        /* Filling in order must not leave the blocks half empty. */
        print_message("%.1f bytes per key\n", (double)fx_skiplist_memory(list) / (double)all.count);
        assert_true(fx_skiplist_memory(list) < (descending != 0 ? 23 : 18) * all.count);
        drop_everything(list, &all);
        fx_skiplist_destroy(list);
        free_universe(&all);
    }
}

static void drop_semantics_test(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, test_seed());
    universe all = make_universe(DECIMAL, 10, &rng);
    fx_skiplist *list = fx_skiplist_create();
    test_record *a = make_holder(&all, 3);
    test_record *b = make_holder(&all, 3);
    fx_record *unlinked[8];
    assert_true(fx_skiplist_reserve(list, 8, 64));
    /* Put and dropped in one batch: reported once. */
    fx_skiplist_op ops[4] = {{&a->record, false}, {&a->record, true}};
    assert_int_equal(fx_skiplist_apply(list, ops, 2, unlinked), 1);
    assert_ptr_equal(unlinked[0], &a->record);
    assert_int_equal(fx_skiplist_count(list), 0);
    /* The same record put twice is not unlinked. */
    ops[0] = ops[1] = (fx_skiplist_op){&a->record, false};
    assert_int_equal(fx_skiplist_apply(list, ops, 2, unlinked), 0);
    /* Dropping a record whose key another one holds leaves that one. */
    ops[0] = (fx_skiplist_op){&b->record, true};
    assert_int_equal(fx_skiplist_apply(list, ops, 1, unlinked), 1);
    assert_ptr_equal(unlinked[0], &b->record);
    assert_int_equal(fx_skiplist_forward(list, NULL, 0, false, unlinked, 8), 1);
    assert_ptr_equal(unlinked[0], &a->record);
    /* Replaced and then dropped: once. */
    ops[0] = (fx_skiplist_op){&b->record, false};
    ops[1] = (fx_skiplist_op){&a->record, true};
    assert_int_equal(fx_skiplist_apply(list, ops, 2, unlinked), 1);
    assert_ptr_equal(unlinked[0], &a->record);
    /* Dropped and put again in one batch: reachable, so not reported. */
    ops[0] = (fx_skiplist_op){&b->record, true};
    ops[1] = (fx_skiplist_op){&b->record, false};
    assert_int_equal(fx_skiplist_apply(list, ops, 2, unlinked), 0);
    assert_int_equal(fx_skiplist_count(list), 1);
    assert_int_equal(fx_skiplist_backward(list, "", 0, false, unlinked, 8), 0);
    assert_int_equal(fx_skiplist_forward(list, NULL, 0, false, unlinked, 0), 0);
    assert_sound(list);
    fx_skiplist_destroy(list);
    free_holder(a);
    free_holder(b);
    free_universe(&all);
}

static void build_test(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, test_seed());
    static const size_t counts[] = {0, 1, 2, 43, 44, 48, 49, 87, 1849, 1850, 1900, 60000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        universe all = make_universe(BYTES, counts[i] + 100, &rng);
        fx_record **records = fx_mem_alloc((counts[i] + 1) * sizeof *records);
        for (size_t k = 0; k < counts[i]; k++) {
            all.present[k] = make_holder(&all, k);
            records[k] = &all.present[k]->record;
        }
        all.present_count = counts[i];
        fx_skiplist *list = fx_skiplist_create();
        uint64_t fail = counts[i] > 10000 ? 1 : 0;
        for (;; fail++) { /* the next allocation fails, the one after, ... until it does without */
            fx_mem_fail_after(fail, true);
            bool built = fx_skiplist_build(list, records, counts[i]);
            fx_mem_fail_after(0, false);
            if (built) {
                break;
            }
            assert_int_equal(fx_skiplist_count(list), 0);
            assert_sound(list);
        }
        assert_true(counts[i] < 10000 || fail > 1);
        verify_all(list, &all);
        run_batches(list, &all, &rng, 10);
        drop_everything(list, &all);
        fx_skiplist_trim(list);
        assert_sound(list);
        assert_true(fx_skiplist_memory(list) < 8192); /* whatever it once held */
        fx_skiplist_destroy(list);
        fx_mem_free(records);
        free_universe(&all);
    }
}

/* What was reserved cannot fail, whatever the separators need. */
static void reserve_test(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, test_seed());
    for (key_shape shape = TINY; shape < SHAPES; shape++) {
        universe all = make_universe(shape, shape == HUGE_KEYS ? 120 : 3000, &rng);
        fx_mem_fail_after(1, true);
        assert_null(fx_skiplist_create());
        fx_mem_fail_after(2, true);
        assert_null(fx_skiplist_create());
        fx_mem_fail_after(0, false);
        fx_skiplist *list = fx_skiplist_create();
        assert_non_null(list);
        fx_record *unlinked[BATCH_MAX];
        test_batch batch = {.count = 0};
        uint64_t fail = 1;
        for (size_t i = 0; i < all.count; i++) {
            size_t index = i * 7919 % all.count;
            if (all.present[index] == NULL) {
                add_put(&all, &batch, index);
            }
            if (batch.count < 200 && i + 1 < all.count) {
                continue;
            }
            for (bool reserved = false; !reserved; fail++) {
                fx_mem_fail_after(fail, true);
                reserved = fx_skiplist_reserve(list, batch.count, 65535);
            }
            fx_mem_fail_after(1, true);
            size_t gone = fx_skiplist_apply(list, batch.ops, batch.count, unlinked);
            fx_mem_fail_after(0, false);
            assert_int_equal(gone, 0);
            batch = (struct test_batch){.count = 0};
            fail = 1;
            assert_sound(list);
        }
        verify_all(list, &all);
        drop_everything(list, &all);
        fx_skiplist_destroy(list);
        free_universe(&all);
    }
}

/* ---- Readers against the writer ---- */

#define RACE_KEYS 2400u
#define STABLE 8u /* every eighth key stays: blocks fill up and run empty around them */
#define READERS 3u

typedef struct race_state {
    fx_epoch epoch;
    fx_skiplist *list;
    uint32_t stop;
    uint32_t wrong;
    uint64_t scans;
} race_state;

typedef struct reader_state {
    race_state *race;
    bool backward;
    uint64_t seed;
} reader_state;

static size_t race_key(uint32_t number, uint8_t *out) {
    return (size_t)snprintf((char *)out, 32, "family%u:%08u", number / 500, number);
}

/* The number in a record's key; RACE_KEYS if it is none. */
static uint32_t number_of(const fx_record *record) {
    uint8_t want[32];
    uint32_t meta = fx_load_relaxed(&record->meta);
    const uint8_t *key = (const uint8_t *)record + fx_meta_key_offset(meta);
    if (fx_meta_key_len(meta) != 16) {
        return RACE_KEYS;
    }
    uint32_t number = 0;
    for (size_t i = 8; i < 16; i++) {
        number = number * 10 + (uint32_t)(key[i] - '0');
    }
    return number < RACE_KEYS && race_key(number, want) == 16 && memcmp(want, key, 16) == 0
               ? number
               : RACE_KEYS;
}

/* One whole scan, from one end to the other. False: a key was missing, doubled or foreign. */
static bool scan_once(race_state *race, bool backward, fx_rng *rng) {
    fx_record *records[100];
    uint8_t last[32];
    size_t last_size = 0;
    int64_t expected = backward ? (int64_t)(RACE_KEYS - STABLE) : 0; /* the next stable one */
    int64_t before = backward ? (int64_t)RACE_KEYS : -1;
    for (;;) {
        size_t capacity = 1 + fx_rng_below(rng, 100);
        fx_pin pin = fx_epoch_pin(&race->epoch);
        size_t got =
            backward ? fx_skiplist_backward(race->list, last_size > 0 ? last : NULL, last_size,
                                            true, records, capacity)
                     : fx_skiplist_forward(race->list, last, last_size, true, records, capacity);
        bool good = true;
        for (size_t i = 0; i < got; i++) {
            int64_t number = number_of(records[i]);
            good = good && number < RACE_KEYS && (backward ? number < before : number > before);
            before = number;
            if (number % STABLE == 0) {
                good = good && number == expected;
                expected += backward ? -(int64_t)STABLE : (int64_t)STABLE;
            }
        }
        fx_epoch_unpin(pin);
        if (!good) {
            return false;
        }
        if (got == 0) {
            return expected == (backward ? -(int64_t)STABLE : (int64_t)RACE_KEYS);
        }
        last_size = race_key((uint32_t)before, last);
    }
}

static void *reader_main(void *argument) {
    reader_state *reader = argument;
    race_state *race = reader->race;
    fx_rng rng;
    fx_rng_init(&rng, reader->seed);
    while (fx_load_acquire(&race->stop) == 0) {
        if (!scan_once(race, reader->backward, &rng)) {
            fx_add_relaxed(&race->wrong, 1u);
        }
        fx_add_relaxed(&race->scans, (uint64_t)1);
    }
    return NULL;
}

static void poison(test_record *holder) {
    memset((uint8_t *)&holder->record + 20, 0xEE, 16);
}

static test_record *take_holder(test_record **pool, uint32_t number) {
    uint8_t key[32];
    test_record *taken = *pool;
    if (taken != NULL) {
        *pool = taken->next;
    } else {
        taken = fx_mem_zalloc(sizeof(test_record) + 32);
    }
    taken->index = number;
    fill_record(taken, (test_key){key, race_key(number, key)}, 1);
    return taken;
}

/* Records retired before everything that is pinned go back to the pool, poisoned. */
static void reclaim(race_state *race, test_record **retired, test_record **pool) {
    uint64_t safe = fx_epoch_safe(&race->epoch);
    test_record *kept = NULL;
    for (test_record *at = *retired, *next; at != NULL; at = next) {
        next = at->next;
        test_record **to = at->stamp < safe ? pool : &kept;
        if (at->stamp < safe) {
            poison(at);
        }
        at->next = *to;
        *to = at;
    }
    *retired = kept;
}

/* Changes keys that may change, `share` of 100 towards present, in one batch. */
static void race_batch(race_state *race, test_record **present, test_record **pool,
                       test_record **retired, fx_rng *rng, unsigned share) {
    fx_skiplist_op ops[BATCH_MAX];
    fx_record *unlinked[BATCH_MAX];
    size_t count = 0;
    uint32_t start = (uint32_t)fx_rng_below(rng, RACE_KEYS);
    bool dense = fx_rng_below(rng, 4) != 0;
    for (uint32_t i = 0; i < BATCH_MAX; i++) {
        uint32_t number = dense ? (start + i) % RACE_KEYS : (uint32_t)fx_rng_below(rng, RACE_KEYS);
        if (number % STABLE == 0) {
            continue;
        }
        if (fx_rng_below(rng, 100) < share) {
            present[number] = take_holder(pool, number);
            ops[count++] = (fx_skiplist_op){&present[number]->record, false};
        } else if (present[number] != NULL) {
            ops[count++] = (fx_skiplist_op){&present[number]->record, true};
            present[number] = NULL;
        }
    }
    assert_true(fx_skiplist_reserve(race->list, count, 16));
    size_t gone = fx_skiplist_apply(race->list, ops, count, unlinked);
    uint64_t stamp = fx_epoch_stamp(&race->epoch);
    for (size_t i = 0; i < gone; i++) {
        test_record *holder = holder_of(unlinked[i]);
        holder->stamp = stamp;
        holder->next = *retired;
        *retired = holder;
    }
    reclaim(race, retired, pool);
}

static void free_chain(test_record *holder) {
    for (struct test_record *next; holder != NULL; holder = next) {
        next = holder->next;
        fx_mem_free(holder);
    }
}

static void race_test(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, test_seed());
    static race_state race;
    static test_record *present[RACE_KEYS];
    test_record *pool = NULL;
    test_record *retired = NULL;
    memset(&race, 0, sizeof race);
    fx_epoch_init(&race.epoch);
    race.list = fx_skiplist_create();
    fx_record *unlinked[1];
    for (uint32_t number = 0; number < RACE_KEYS; number += STABLE) {
        present[number] = take_holder(&pool, number);
        fx_skiplist_op op = {&present[number]->record, false};
        assert_true(fx_skiplist_reserve(race.list, 1, 16));
        assert_int_equal(fx_skiplist_apply(race.list, &op, 1, unlinked), 0);
    }
    pthread_t threads[READERS];
    reader_state readers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (reader_state){&race, i % 2 == 1, fx_rng_next(&rng)};
        assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &readers[i]), 0);
    }
    int batches = 0;
    for (; batches < 700 || (fx_load_relaxed(&race.scans) < 60 && batches < 20000); batches++) {
        race_batch(&race, present, &pool, &retired, &rng, batches / 8 % 2 == 0 ? 99 : 1);
        if (batches % 20 == 19) {
            fx_skiplist_trim(race.list);
        }
    }
    fx_store_release(&race.stop, 1u);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    print_message("%d batches, %llu scans\n", batches, (unsigned long long)race.scans);
    assert_int_equal(race.wrong, 0);
    assert_true(race.scans > 0);
    assert_sound(race.list);
    fx_skiplist_destroy(race.list);
    for (uint32_t number = 0; number < RACE_KEYS; number++) {
        fx_mem_free(present[number]);
        present[number] = NULL;
    }
    free_chain(pool);
    free_chain(retired);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drop_semantics_test), cmocka_unit_test(random_ops_test),
        cmocka_unit_test(sequential_test),     cmocka_unit_test(build_test),
        cmocka_unit_test(reserve_test),        cmocka_unit_test(race_test),
    };
#ifdef __SANITIZE_THREAD__ /* which has nothing to look at in the others */
    cmocka_set_test_filter("race_test");
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
