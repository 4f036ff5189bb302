/* The index grows under readers: a key that was acknowledged is found by every later get and scan.
 *
 * Each writer inserts its own keys in an order of its own and publishes how many are done; readers
 * pick a published key and must find it; scanners must see, between two keys that were published
 * before they began, exactly what was published. At the end half of the keys are deleted by as many
 * threads, under readers of the other half. FEOX_STRESS_SECONDS bounds the growing phase.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>

enum { WRITERS = 4, READERS = 3, BATCH = 256 };

typedef struct world {
    feox_store *store;
    uint64_t most; /* keys per writer */
    uint64_t deadline_ms;
    _Alignas(64) atomic_ullong published[WRITERS];
    atomic_bool stop;
    atomic_bool deleting; /* keys with odd numbers may be gone */
    atomic_int wrong;
    atomic_int status;
    atomic_int next;      /* the number of the next writer */
    atomic_ullong reader; /* seeds the readers */
    atomic_ullong reads;
    atomic_ullong scans;
} world;

static void report(world *w, int line, feox_status status) {
    int none = 0;
    if (atomic_compare_exchange_strong(&w->wrong, &none, line)) {
        atomic_store(&w->status, (int)status);
    }
    atomic_store(&w->stop, true);
}

/* "writer | mixed number | number": near in arrival is far apart in order. */
static void make_key(unsigned char key[17], uint64_t writer, uint64_t number) {
    uint64_t mixed = kit_mix(number);
    key[0] = (unsigned char)writer;
    memcpy(key + 1, &mixed, 8);
    memcpy(key + 9, &number, 8);
}

static void *write_keys(void *argument) {
    world *w = argument;
    uint64_t me = (uint64_t)atomic_fetch_add(&w->next, 1);
    unsigned char keys[BATCH][17];
    feox_pair pairs[BATCH];
    uint64_t done = 0;
    while (done < w->most && !atomic_load(&w->stop) && kit_now_ms() < w->deadline_ms) {
        feox_status status = FEOX_OK;
        for (uint64_t i = 0; i < BATCH; i++) {
            make_key(keys[i], me, done + i);
            pairs[i] = (feox_pair){{keys[i], 17}, {keys[i], 17}};
        }
        if (me % 2 == 0) { /* one by one, or all at once */
            for (uint64_t i = 0; i < BATCH && status == FEOX_OK; i++) {
                status = feox_insert(w->store, keys[i], 17, keys[i], 17);
            }
        } else {
            status = feox_insert_many(w->store, pairs, BATCH, NULL);
        }
        if (status != FEOX_OK) {
            report(w, __LINE__, status);
            break;
        }
        done += BATCH;
        atomic_store(&w->published[me], done);
    }
    return NULL;
}

static void *read_keys(void *argument) {
    world *w = argument;
    uint64_t random = kit_mix(atomic_fetch_add(&w->reader, 1));
    unsigned char key[17];
    unsigned char value[17];
    uint64_t reads = 0;
    while (!atomic_load(&w->stop)) {
        uint64_t writer = kit_below(&random, WRITERS);
        uint64_t published = atomic_load(&w->published[writer]);
        if (published == 0) {
            continue;
        }
        uint64_t number = kit_below(&random, published);
        number = atomic_load(&w->deleting) ? number & ~(uint64_t)1 : number;
        size_t size = 0;
        make_key(key, writer, number);
        feox_status status = feox_get_into(w->store, key, 17, value, 17, &size);
        bool racing = number % 2 == 1 && atomic_load(&w->deleting);
        if (!racing && (status != FEOX_OK || size != 17 || memcmp(key, value, 17) != 0)) {
            report(w, __LINE__, status);
        }
        reads++;
    }
    atomic_fetch_add(&w->reads, reads);
    return NULL;
}

/* Whoever was published before a scan began is in it; nobody is in it twice or out of order. */
static void *scan_keys(void *argument) {
    world *w = argument;
    while (!atomic_load(&w->stop)) {
        uint64_t before[WRITERS];
        uint64_t seen[WRITERS] = {0};
        bool deleting = atomic_load(&w->deleting);
        feox_cursor *cursor = NULL;
        unsigned char last[17] = {0};
        feox_slice key;
        for (int i = 0; i < WRITERS; i++) {
            before[i] = atomic_load(&w->published[i]);
        }
        feox_status status = feox_cursor_open(w->store, NULL, &cursor);
        while (status == FEOX_OK && (status = feox_cursor_next(cursor, &key, NULL)) == FEOX_OK &&
               !atomic_load_explicit(&w->stop, memory_order_relaxed)) {
            uint64_t number = 0;
            if (key.size != 17 || memcmp(last, key.data, 17) >= 0) {
                report(w, __LINE__, FEOX_OK);
                break;
            }
            memcpy(last, key.data, 17);
            memcpy(&number, last + 9, 8);
            seen[last[0]] += number < before[last[0]];
        }
        feox_cursor_close(cursor);
        if (atomic_load(&w->stop)) {
            break;
        }
        deleting = deleting || atomic_load(&w->deleting);
        for (int i = 0; i < WRITERS; i++) {
            if (status != FEOX_END || seen[i] > before[i] ||
                seen[i] < (deleting ? before[i] / 2 : before[i])) {
                report(w, __LINE__, status);
            }
        }
        atomic_fetch_add(&w->scans, 1);
    }
    return NULL;
}

static void *delete_odd_keys(void *argument) {
    world *w = argument;
    uint64_t me = (uint64_t)atomic_fetch_add(&w->next, 1);
    unsigned char key[17];
    for (uint64_t i = 1; i < atomic_load(&w->published[me]) && !atomic_load(&w->stop); i += 2) {
        make_key(key, me, i);
        feox_status status = feox_delete(w->store, key, 17);
        if (status != FEOX_OK) {
            report(w, __LINE__, status);
        }
    }
    return NULL;
}

static void run_phase(world *w, void *(*body)(void *)) {
    pthread_t threads[WRITERS];
    atomic_store(&w->next, 0);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, body, w), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void expect_nothing_wrong(world *w) {
    if (atomic_load(&w->wrong) != 0) {
        print_error("line %d found something wrong; status %s\n", atomic_load(&w->wrong),
                    feox_status_name((feox_status)atomic_load(&w->status)));
        fail();
    }
}

static void insert_while_others_scan_and_get(void **state) {
    kit *k = *state;
    pthread_t others[READERS];
    world *w = kit_alloc(sizeof *w);
    memset(w, 0, sizeof *w);
    w->store = k->store;
    w->most = KIT_SLOW ? 10240 : 102400;
    w->deadline_ms = kit_now_ms() + kit_env_number("FEOX_STRESS_SECONDS", 2) * 1000 / 4;
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(
            pthread_create(&others[i], NULL, i == 0 ? scan_keys : read_keys, w), 0);
    }
    run_phase(w, write_keys);
    uint64_t total = 0;
    uint64_t left = 0;
    for (int i = 0; i < WRITERS; i++) {
        total += atomic_load(&w->published[i]);
    }
    uint64_t full = kit_count(k);
    atomic_store(&w->deleting, true);
    run_phase(w, delete_odd_keys);
    kit_sleep_ms(20);
    atomic_store(&w->stop, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(others[i], NULL), 0);
    }
    expect_nothing_wrong(w);
    assert_int_equal(full, total);
    left = total / 2;
    printf("%llu keys, %llu reads, %llu scans\n", (unsigned long long)total,
           (unsigned long long)atomic_load(&w->reads), (unsigned long long)atomic_load(&w->scans));
    do {
        assert_int_equal(kit_count(k), left);
        assert_int_equal(kit_scan_count(k), left);
        for (uint64_t i = 0; i < atomic_load(&w->published[0]); i += 7) {
            unsigned char key[17];
            make_key(key, 0, i);
            assert_status(feox_contains(k->store, key, 17), i % 2 == 0 ? FEOX_OK : FEOX_NOT_FOUND);
        }
        assert_ok(kit_check(k->store));
    } while (kit_again(k));
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_TEST(insert_while_others_scan_and_get)};
    return cmocka_run_group_tests_name("stress/growth", tests, NULL, NULL);
}
