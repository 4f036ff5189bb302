/* Scans beside writers: what was there throughout comes once and in order, what was never there
 * does not come, and a scan knows of every insert and delete that returned before it began.
 *
 * Keys are big-endian numbers. A quarter are steady (written over, never absent), a quarter are
 * never written, a quarter come and go at random; and in a space of their own one thread inserts at
 * the front and deletes at the back, telling after each call how far it got. Scans go forward and
 * back, by windows and by seeks, by cursors and range queries. FEOX_STRESS_SECONDS (default 2).
 */
#define _GNU_SOURCE
#include "support/campaign.h"
#include "support/kit.h"
#include "support/nudge.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SPACE = 2048, SCANNERS = 3, WRITERS = 2, STEADY = 0, NEVER = 1 /* of every four */ };

typedef struct world {
    feox_store *store;
    uint64_t seed;
    atomic_bool stop;
    atomic_ullong front, back;             /* keys back..front-1 of the queue are there ... */
    atomic_ullong front_begun, back_begun; /* ... but for those being changed just now */
    atomic_ullong scans, pairs;
    atomic_int wrong; /* the line of the first finding */
} world;

#define EXPECT(w, condition) ((condition) ? (void)0 : report((w), __LINE__))

static void report(world *w, int line) {
    int none = 0;
    atomic_compare_exchange_strong(&w->wrong, &none, line);
    atomic_store(&w->stop, true);
}

static void make_key(unsigned char key[9], char space, uint64_t number) {
    key[0] = (unsigned char)space;
    for (int i = 0; i < 8; i++) {
        key[1 + i] = (unsigned char)(number >> (56 - 8 * i));
    }
}

static uint64_t number_of(const feox_slice *key) {
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) {
        number = number << 8 | ((const unsigned char *)key->data)[1 + i];
    }
    return number;
}

/* ---- Writers ---- */

static void *come_and_go(void *argument) {
    world *w = argument;
    uint64_t random = kit_mix(w->seed ^ (uint64_t)(uintptr_t)&random);
    fx_nudge nudge;
    fx_nudge_init(&nudge);
    unsigned char value[300] = {0};
    while (!atomic_load(&w->stop)) {
        unsigned char key[9];
        uint64_t number = kit_below(&random, SPACE);
        make_key(key, 'm', number);
        if (kit_below(&random, 64) == 0) {
            fx_nudge_arm(&nudge, 500 + kit_below(&random, 20000));
        }
        if (number % 4 == STEADY || (number % 4 != NEVER && kit_below(&random, 2) == 0)) {
            /* Other sizes, other records: the key stays. */
            size_t size = 1 + kit_below(&random, sizeof value);
            EXPECT(w, feox_insert(w->store, key, sizeof key, value, size) == FEOX_OK);
        } else if (number % 4 != NEVER) {
            EXPECT(w, feox_delete(w->store, key, sizeof key) >= 0);
        }
    }
    fx_nudge_deinit(&nudge);
    return NULL;
}

static void *queue_up(void *argument) {
    world *w = argument;
    uint64_t random = kit_mix(w->seed + 77);
    unsigned char key[9];
    while (!atomic_load(&w->stop)) {
        uint64_t front = atomic_load(&w->front);
        uint64_t back = atomic_load(&w->back);
        if (front - back < 10 || (front - back < 150 && kit_below(&random, 2) == 0)) {
            make_key(key, 'q', front);
            atomic_store(&w->front_begun, front + 1);
            EXPECT(w, feox_insert(w->store, key, sizeof key, "q", 1) == FEOX_OK);
            atomic_store(&w->front, front + 1);
        } else {
            make_key(key, 'q', back);
            atomic_store(&w->back_begun, back + 1);
            EXPECT(w, feox_delete(w->store, key, sizeof key) == FEOX_OK);
            atomic_store(&w->back, back + 1);
        }
    }
    return NULL;
}

/* ---- Scanners ---- */

typedef struct scan {
    world *w;
    bool reverse;
    uint64_t next; /* the steady key that must come next, unless the range is over */
    uint64_t last; /* the number before; UINT64_MAX: none */
} scan;

/* A pair of the mixed space. */
static void take(scan *s, const feox_slice *key) {
    uint64_t number = number_of(key);
    EXPECT(s->w, key->size == 9 && number < SPACE && number % 4 != NEVER);
    EXPECT(s->w, s->last == UINT64_MAX || (s->reverse ? number < s->last : number > s->last));
    EXPECT(s->w, s->reverse ? number >= s->next : number <= s->next);
    if (number == s->next) {
        s->next = s->reverse ? number - 4 : number + 4;
    }
    s->last = number;
    atomic_fetch_add_explicit(&s->w->pairs, 1, memory_order_relaxed);
}

static void scan_mixed(world *w, uint64_t *random) {
    unsigned char low[9];
    unsigned char high[9];
    uint64_t first = kit_below(random, SPACE / 4) * 4;
    uint64_t last = first + kit_below(random, (SPACE - first) / 4) * 4;
    scan s = {w, kit_below(random, 2) == 0, first, UINT64_MAX};
    feox_cursor *cursor = NULL;
    feox_range range;
    feox_slice key;
    feox_slice value;
    make_key(low, 'm', first);
    make_key(high, 'm', last);
    feox_range_init(&range);
    range.start = low;
    range.end = high;
    range.start_len = range.end_len = sizeof low;
    range.flags = s.reverse ? FEOX_REVERSE : 0;
    s.next = s.reverse ? last : first;
    EXPECT(w, feox_cursor_open(w->store, &range, &cursor) == FEOX_OK);
    feox_status status;
    while ((status = feox_cursor_next(cursor, &key, &value)) == FEOX_OK) {
        take(&s, &key);
        if (kit_below(random, 200) == 0 && s.next > first && s.next < last) {
            /* Back to the steady key that came last, which must come again. */
            s.next = s.reverse ? s.next + 4 : s.next - 4;
            s.last = UINT64_MAX;
            unsigned char again[9];
            make_key(again, 'm', s.next);
            EXPECT(w, feox_cursor_seek(cursor, again, sizeof again) == FEOX_OK);
        }
    }
    EXPECT(w, status == FEOX_END);
    EXPECT(w, s.next == (s.reverse ? first - 4 : last + 4));
    feox_cursor_close(cursor);
}

static void scan_queue(world *w) {
    uint64_t back = atomic_load(&w->back);
    uint64_t front = atomic_load(&w->front);
    feox_pairs *pairs = NULL;
    unsigned char low[9];
    unsigned char high[9];
    make_key(low, 'q', 0);
    make_key(high, 'q', UINT64_MAX);
    EXPECT(w, feox_range_query(w->store, low, 9, high, 9, 0, &pairs) == FEOX_OK);
    uint64_t front_begun = atomic_load(&w->front_begun);
    uint64_t back_begun = atomic_load(&w->back_begun);
    uint64_t seen = 0;
    for (size_t i = 0; pairs != NULL && i < pairs->count; i++) {
        uint64_t number = number_of(&pairs->pairs[i].key);
        EXPECT(w, number >= back);       /* deleted before the scan began */
        EXPECT(w, number < front_begun); /* not inserted when it ended */
        seen += number >= back_begun && number < front;
    }
    /* All that were there from before the beginning until after the end. */
    EXPECT(w, back_begun >= front || seen == front - back_begun);
    feox_pairs_free(pairs);
}

static void *scan_on(void *argument) {
    world *w = argument;
    uint64_t random = kit_mix(w->seed ^ (uint64_t)(uintptr_t)&random);
    while (!atomic_load(&w->stop)) {
        if (kit_below(&random, 2) == 0) {
            scan_mixed(w, &random);
        } else {
            scan_queue(w);
        }
        atomic_fetch_add(&w->scans, 1);
    }
    return NULL;
}

static void scans_beside_writers(void **state) {
    kit *k = *state;
    world w = {.store = k->store, .seed = kit_seed("scans_beside_writers")};
    campaign c;
    campaign_begin(&c, k->file ? "C7 scans, file" : "C7 scans, memory");
    pthread_t threads[SCANNERS + WRITERS + 1];
    unsigned char key[9];
    for (uint64_t i = 0; i < SPACE; i += 4) {
        make_key(key, 'm', i + STEADY);
        assert_ok(feox_insert(k->store, key, sizeof key, "steady", 6));
    }
    for (size_t i = 0; i < SCANNERS + WRITERS + 1; i++) {
        void *(*run)(void *) = i == 0 ? queue_up : i <= WRITERS ? come_and_go : scan_on;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &w), 0);
    }
    uint64_t until = kit_now_ms() + kit_env_number("FEOX_STRESS_SECONDS", 2) * 500;
    while (!atomic_load(&w.stop) && kit_now_ms() < until) {
        kit_sleep_ms(10);
    }
    atomic_store(&w.stop, true);
    for (size_t i = 0; i < SCANNERS + WRITERS + 1; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%llu pairs, queue at %llu\n", atomic_load(&w.pairs), atomic_load(&w.front));
    c.cases = atomic_load(&w.scans);
    c.failures = atomic_load(&w.wrong) != 0;
    campaign_end(&c);
    assert_int_equal(atomic_load(&w.wrong), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_TEST(scans_beside_writers)};
    return cmocka_run_group_tests_name("model/cursor", tests, NULL, NULL);
}
