/* Was: a key that a get had seen could be missing in a scan that began after that get, because an
 * insert published its record before the order knew of it.
 *
 * The inserting thread is stopped as soon as another thread sees its key, and held while that one
 * scans. The scan must have the key; it may wait for the insert. */
#define _GNU_SOURCE
#include "support/kit.h"
#include "support/nudge.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

typedef struct scene {
    feox_store *store;
    char key[24];
    size_t key_len;
    atomic_int looking; /* 1: the reader shall look; 2: it saw the key; 3: it did not */
    atomic_bool scanned;
    uint64_t steps;
    uint64_t held;
    atomic_bool over;
    uint64_t missed;
} scene;

/* In the inserting thread, between two instructions of the insert. */
static bool after_each_instruction(void *context) {
    scene *s = context;
    s->steps++;
    int answer = 3;
    atomic_compare_exchange_strong(&s->looking, &answer, 1);
    /* In the middle of a change of the table the reader waits for us: then we go on. */
    uint64_t deadline = kit_now_ms() + 2;
    while ((answer = atomic_load(&s->looking)) == 1 && kit_now_ms() < deadline) {
        sched_yield();
    }
    if (answer != 2) {
        return false;
    }
    /* The scan may need what the insert has locked: it is not held for long. */
    deadline = kit_now_ms() + 20;
    while (!atomic_load(&s->scanned) && kit_now_ms() < deadline) {
        sched_yield();
    }
    s->held++;
    return true;
}

static void *read_and_scan(void *argument) {
    scene *s = argument;
    while (!atomic_load(&s->over)) {
        if (atomic_load(&s->looking) != 1) {
            sched_yield();
            continue;
        }
        if (feox_contains(s->store, s->key, s->key_len) != FEOX_OK) {
            atomic_store(&s->looking, 3);
            continue;
        }
        atomic_store(&s->looking, 2);
        feox_pairs *pairs = NULL;
        feox_status status =
            feox_range_query(s->store, s->key, s->key_len, s->key, s->key_len, 0, &pairs);
        s->missed += status != FEOX_OK || pairs->count != 1;
        feox_pairs_free(pairs);
        atomic_store(&s->scanned, true);
    }
    return NULL;
}

static void a_scan_has_what_a_get_saw(void **state) {
    kit *k = *state;
    scene s = {.store = k->store};
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_and_scan, &s), 0);
    for (int i = 0; i < 3; i++) {
        s.key_len = (size_t)snprintf(s.key, sizeof s.key, "key-%d", i);
        atomic_store(&s.scanned, false);
        atomic_store(&s.looking, 3);
        bool possible = fx_nudge_visit(after_each_instruction, &s);
        feox_status status = feox_insert(k->store, s.key, s.key_len, "value", 5);
        fx_nudge_step_end();
        if (!possible) {
            break;
        }
        assert_ok(status);
        /* The reader is done with this key before the next takes its place. */
        while (atomic_load(&s.looking) == 1 ||
               (atomic_load(&s.looking) == 2 && !atomic_load(&s.scanned))) {
            sched_yield();
        }
    }
    atomic_store(&s.over, true);
    pthread_join(reader, NULL);
    printf("%llu instructions, held %llu times\n", (unsigned long long)s.steps,
           (unsigned long long)s.held);
    assert_int_equal(s.missed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_TEST(a_scan_has_what_a_get_saw)};
    return cmocka_run_group_tests_name("issues/insert_seen_not_scanned", tests, NULL, NULL);
}
