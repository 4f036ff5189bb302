/* Many threads on few keys: what must hold at every moment, and what must hold at the end.
 *
 * Every value says who wrote it: a head of 32 bytes (key, writer, number, size) and a body and a
 * checksum that follow from it, so a torn, stale or foreign value cannot look right. Threads count
 * what they find wrong; the main thread asserts. FEOX_STRESS_SECONDS (default 2) is shared by all
 * tests of this program, FEOX_STRESS_THREADS (default 8) is their number.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    HOT_KEYS = 16,    /* written, deleted, expired by everybody */
    STEADY_KEYS = 64, /* written by everybody, deleted by nobody */
    COUNTERS = 4,
    CAS_KEYS = 4,
    THREADS_MAX = 64,
    VALUE_MAX = 9000
};

typedef struct head {
    uint64_t key;
    uint64_t writer;
    uint64_t number;
    uint64_t size;
} head;

typedef struct world {
    feox_store *store;
    atomic_bool stop;
    uint64_t seed;
    atomic_ullong counters[COUNTERS]; /* what was added with success */
    atomic_ullong wins[CAS_KEYS];     /* swaps that succeeded */
    atomic_ullong operations;
    atomic_int wrong; /* the line of the first finding */
    atomic_int status;
} world;

typedef struct worker {
    world *w;
    pthread_t thread;
    uint64_t id;
    uint64_t random;
    uint64_t number;
    unsigned char value[VALUE_MAX];
    unsigned char found[VALUE_MAX];
} worker;

#define EXPECT(w, condition, status_now)                                                           \
    ((condition) ? (void)0 : report((w), __LINE__, (int)(status_now)))

static void report(world *w, int line, int status) {
    int none = 0;
    if (atomic_compare_exchange_strong(&w->wrong, &none, line)) {
        atomic_store(&w->status, status);
    }
    atomic_store(&w->stop, true);
}

/* Sizes that hit in-place updates, class changes, and values with space of their own. */
static size_t make_value(worker *me, uint64_t key) {
    static const size_t sizes[] = {sizeof(head), 40, 100, 100, 104, 500, 4000, 8500};
    size_t size = sizes[kit_below(&me->random, sizeof sizes / sizeof *sizes)];
    head h = {key, me->id, ++me->number, size};
    memcpy(me->value, &h, sizeof h);
    kit_fill(me->value + sizeof h, size - sizeof h, kit_mix(h.key ^ h.writer << 32) ^ h.number);
    return size;
}

static bool value_is_whole(const void *value, size_t size, uint64_t key) {
    head h;
    if (size < sizeof h) {
        return false;
    }
    memcpy(&h, value, sizeof h);
    return h.key == key && h.size == size &&
           kit_filled((const unsigned char *)value + sizeof h, size - sizeof h,
                      kit_mix(h.key ^ h.writer << 32) ^ h.number);
}

/* Big-endian, so that the order of numbers is the order of keys. The first byte is the family. */
static size_t make_key(unsigned char key[9], char family, uint64_t number) {
    key[0] = (unsigned char)family;
    for (int i = 0; i < 8; i++) {
        key[1 + i] = (unsigned char)(number >> (56 - 8 * i));
    }
    return 9;
}

static void read_once(worker *me, char family, uint64_t number) {
    world *w = me->w;
    unsigned char key[9];
    size_t key_len = make_key(key, family, number);
    size_t size = 0;
    feox_status status = FEOX_OK;
    if (kit_below(&me->random, 4) == 0) {
        feox_view view;
        status = feox_get_view(w->store, key, key_len, &view);
        if (status == FEOX_OK) {
            EXPECT(w, value_is_whole(view.data, view.size, number), 0);
            feox_view_release(&view);
        }
    } else {
        status = feox_get_into(w->store, key, key_len, me->found, sizeof me->found, &size);
        if (status == FEOX_OK) {
            EXPECT(w, value_is_whole(me->found, size, number), 0);
        }
    }
    EXPECT(w, status == FEOX_OK || (family == 'h' && status == FEOX_NOT_FOUND), status);
}

static void write_once(worker *me, char family, uint64_t number) {
    world *w = me->w;
    unsigned char key[9];
    size_t key_len = make_key(key, family, number);
    uint64_t what = kit_below(&me->random, 16);
    feox_write write;
    feox_write_init(&write);
    feox_status status;
    if (family == 'h' && what < 3) {
        status = feox_delete(w->store, key, key_len);
        EXPECT(w, status == FEOX_OK || status == FEOX_NOT_FOUND, status);
        return;
    }
    if (family == 'h' && what < 5) {
        write.ttl_ms = 1 + what;
    }
    if (family == 'h' && what == 5) {
        write.flags = FEOX_IF_ABSENT;
    }
    size_t size = make_value(me, number);
    status = feox_insert_with(w->store, key, key_len, me->value, size, &write, NULL);
    EXPECT(w, status == FEOX_OK || (what == 5 && status == FEOX_EXISTS), status);
}

static void count_once(worker *me) {
    world *w = me->w;
    unsigned char key[9];
    uint64_t which = kit_below(&me->random, COUNTERS);
    int64_t delta = (int64_t)kit_below(&me->random, 5);
    feox_status status =
        feox_increment(w->store, key, make_key(key, 'n', which), delta, NULL);
    EXPECT(w, status == FEOX_OK, status);
    atomic_fetch_add(&w->counters[which], (unsigned long long)delta);
}

/* The value of a CAS key is (number of wins so far, last winner, its number): unique, so each value
 * can be replaced by one winner only, and the wins add up to what the key shows at the end. */
static void swap_once(worker *me) {
    world *w = me->w;
    unsigned char key[9];
    uint64_t which = kit_below(&me->random, CAS_KEYS);
    size_t key_len = make_key(key, 'c', which);
    uint64_t now[3];
    size_t size = 0;
    feox_status status = feox_get_into(w->store, key, key_len, now, sizeof now, &size);
    EXPECT(w, status == FEOX_OK && size == sizeof now, status);
    uint64_t next[3] = {now[0] + 1, me->id, ++me->number};
    status = feox_compare_and_swap(w->store, key, key_len, now, sizeof now, next, sizeof next);
    EXPECT(w, status == FEOX_OK || status == FEOX_MISMATCH, status);
    if (status == FEOX_OK) {
        atomic_fetch_add(&w->wins[which], 1);
    }
}

/* All steady keys, each once, in order, whole, in either direction. */
static void scan_once(worker *me) {
    world *w = me->w;
    feox_range range;
    feox_cursor *cursor = NULL;
    feox_slice key;
    feox_slice value;
    uint64_t next = 0;
    feox_range_init(&range);
    bool reverse = kit_below(&me->random, 2) == 1;
    range.prefix = "s";
    range.prefix_len = 1;
    range.flags = reverse ? FEOX_REVERSE : 0;
    feox_status status = feox_cursor_open(w->store, &range, &cursor);
    EXPECT(w, status == FEOX_OK, status);
    while (status == FEOX_OK && (status = feox_cursor_next(cursor, &key, &value)) == FEOX_OK) {
        unsigned char wanted[9];
        uint64_t number = reverse ? STEADY_KEYS - 1 - next : next;
        size_t wanted_len = make_key(wanted, 's', number);
        if (key.size != wanted_len || memcmp(key.data, wanted, wanted_len) != 0) {
            report(w, __LINE__, 0);
            break;
        }
        EXPECT(w, value_is_whole(value.data, value.size, number), 0);
        next++;
    }
    EXPECT(w, atomic_load(&w->stop) || (status == FEOX_END && next == STEADY_KEYS), status);
    feox_cursor_close(cursor);
}

/* Everything in order, the steady keys among it. */
static void query_once(worker *me) {
    world *w = me->w;
    feox_pairs *pairs = NULL;
    uint64_t steady = 0;
    feox_status status = feox_range_query(w->store, NULL, 0, NULL, 0, 0, &pairs);
    EXPECT(w, status == FEOX_OK, status);
    for (size_t i = 0; status == FEOX_OK && i < pairs->count; i++) {
        const feox_slice *key = &pairs->pairs[i].key;
        EXPECT(w, key->size == 9, 0);
        EXPECT(w, i == 0 || memcmp(pairs->pairs[i - 1].key.data, key->data, 9) < 0, 0);
        steady += *(const char *)key->data == 's';
    }
    EXPECT(w, steady == STEADY_KEYS, status);
    feox_pairs_free(pairs);
}

static void many_once(worker *me) {
    world *w = me->w;
    feox_lookup lookups[STEADY_KEYS];
    unsigned char keys[STEADY_KEYS][9];
    uint64_t room[STEADY_KEYS][5];
    for (uint64_t i = 0; i < STEADY_KEYS; i++) {
        size_t key_len = make_key(keys[i], 's', i);
        lookups[i] = (feox_lookup){keys[i], key_len, room[i], sizeof room[i], 0, FEOX_OK};
    }
    feox_status status = feox_get_many(w->store, lookups, STEADY_KEYS);
    EXPECT(w, status == FEOX_OK, status);
    for (uint64_t i = 0; i < STEADY_KEYS; i++) {
        status = lookups[i].status;
        EXPECT(w, status == FEOX_OK || status == FEOX_TRUNCATED, status);
        EXPECT(w, room[i][0] == i && room[i][3] == lookups[i].value_len, 0);
    }
}

static void *run(void *argument) {
    worker *me = argument;
    world *w = me->w;
    uint64_t operations = 0;
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        uint64_t what = kit_below(&me->random, 100);
        char family = what % 2 == 0 ? 'h' : 's';
        uint64_t key = kit_below(&me->random, family == 'h' ? HOT_KEYS : STEADY_KEYS);
        if (what < 40) {
            write_once(me, family, key);
        } else if (what < 76) {
            read_once(me, family, key);
        } else if (what < 86) {
            count_once(me);
        } else if (what < 94) {
            swap_once(me);
        } else if (what < 96) {
            scan_once(me);
        } else if (what < 97) {
            query_once(me);
        } else {
            many_once(me);
        }
        operations++;
    }
    atomic_fetch_add(&w->operations, operations);
    return NULL;
}

static void prepare(kit *k, worker *writer) {
    unsigned char key[9];
    for (uint64_t i = 0; i < STEADY_KEYS; i++) {
        size_t size = make_value(writer, i);
        assert_ok(feox_insert(k->store, key, make_key(key, 's', i), writer->value, size));
    }
    for (uint64_t i = 0; i < CAS_KEYS; i++) {
        uint64_t start[3] = {0, 0, 0};
        assert_ok(feox_insert(k->store, key, make_key(key, 'c', i), start, sizeof start));
    }
}

/* The index, the ordered list and the gets agree with each other and with what was done. */
static void verify(kit *k, world *w) {
    unsigned char key[9];
    unsigned char *value = kit_alloc(VALUE_MAX);
    uint64_t count = 0;
    for (uint64_t i = 0; i < HOT_KEYS + STEADY_KEYS; i++) {
        uint64_t number = i < HOT_KEYS ? i : i - HOT_KEYS;
        size_t size = 0;
        size_t key_len = make_key(key, i < HOT_KEYS ? 'h' : 's', number);
        feox_status status = feox_get_into(k->store, key, key_len, value, VALUE_MAX, &size);
        assert_true(status == FEOX_OK || (i < HOT_KEYS && status == FEOX_NOT_FOUND));
        assert_true(status != FEOX_OK || value_is_whole(value, size, number));
        count += status == FEOX_OK;
    }
    for (uint64_t i = 0; i < COUNTERS; i++) {
        int64_t sum = 0;
        if (atomic_load(&w->counters[i]) > 0) {
            assert_ok(feox_get_into(k->store, key, make_key(key, 'n', i), &sum, sizeof sum, NULL));
        }
        assert_int_equal(sum, atomic_load(&w->counters[i]));
        count += feox_contains(k->store, key, make_key(key, 'n', i)) == FEOX_OK;
    }
    for (uint64_t i = 0; i < CAS_KEYS; i++) {
        uint64_t last[3];
        assert_ok(feox_get_into(k->store, key, make_key(key, 'c', i), last, sizeof last, NULL));
        assert_int_equal(last[0], atomic_load(&w->wins[i]));
        count++;
    }
    assert_int_equal(kit_scan_count(k), count);
    assert_int_equal(kit_count(k), count);
    assert_ok(kit_check(k->store));
    free(value);
}

/* Waits until every time to live is over (5 ms at most), for a key that expires while it is being
 * verified would be in one sum and not in the other, and until the expired keys are swept. */
static void settle(kit *k) {
    kit_sleep_ms(20);
    uint64_t deadline = kit_now_ms() + 5000;
    while (kit_count(k) != kit_scan_count(k) && kit_now_ms() < deadline) {
        kit_sleep_ms(10);
    }
}

static void stress(kit *k, uint64_t milliseconds) {
    uint64_t threads = kit_env_number("FEOX_STRESS_THREADS", KIT_TSAN ? 4 : 8);
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    world *w = kit_alloc(sizeof *w);
    worker *workers = kit_alloc((threads + 1) * sizeof *workers);
    memset(w, 0, sizeof *w);
    w->store = k->store;
    w->seed = kit_seed("concurrency");
    for (uint64_t i = 0; i <= threads; i++) {
        workers[i].w = w;
        workers[i].id = i;
        workers[i].number = 0;
        workers[i].random = kit_mix(w->seed + i);
    }
    prepare(k, &workers[threads]);
    for (uint64_t i = 0; i < threads; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    uint64_t end = kit_now_ms() + milliseconds;
    while (kit_now_ms() < end && !atomic_load(&w->stop)) {
        kit_sleep_ms(20);
        if (k->file && kit_below(&w->seed, 4) == 0 && feox_flush(k->store) != FEOX_OK) {
            report(w, __LINE__, FEOX_ERR_IO);
        }
    }
    atomic_store(&w->stop, true);
    for (uint64_t i = 0; i < threads; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    if (atomic_load(&w->wrong) != 0) {
        print_error("line %d found something wrong; status %s\n", atomic_load(&w->wrong),
                    feox_status_name((feox_status)atomic_load(&w->status)));
        fail();
    }
    printf("%llu threads, %llu operations\n", (unsigned long long)threads,
           (unsigned long long)atomic_load(&w->operations));
    do {
        settle(k);
        verify(k, w);
    } while (kit_again(k));
    free(workers);
    free(w);
}

static uint64_t duration_ms(void) {
    return kit_env_number("FEOX_STRESS_SECONDS", 2) * 1000 / 3;
}

static void many_threads_on_few_keys(void **state) {
    kit *k = *state;
    k->options.sweep_interval_ms = 5;
    kit_restart(k);
    stress(k, duration_ms());
}

/* The same with values that leave memory all the time. */
static void many_threads_under_a_small_memory_limit(void **state) {
    kit *k = *state;
    k->options.sweep_interval_ms = 5;
    k->options.flush_interval_ms = 5;
    k->options.memory_limit = 2 << 20; /* keys and index fit well */
    kit_restart(k);
    stress(k, duration_ms());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(many_threads_on_few_keys),
        KIT_FILE(many_threads_under_a_small_memory_limit),
    };
    return cmocka_run_group_tests_name("stress/concurrency", tests, NULL, NULL);
}
