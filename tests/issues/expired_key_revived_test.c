/* Was: a key whose time to live ended while a write of it was under way could be absent for a
 * reader and then be there again, because the write had taken the time before the lock, and because
 * a durable write shows itself only later.
 *
 * The writer is stopped behind one of its instructions after the other, an hour passes, and another
 * thread reads. If that misses the key, the writer must have missed it too. */
#define _GNU_SOURCE
#include "support/kit.h"
#include "support/nudge.h"
#include "support/shifted.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { HOUR = 3600 };

typedef struct scene {
    feox_store *store;
    uint64_t hold_at, steps;
    atomic_bool writing; /* readers look from the hold on, until the write has returned */
    atomic_bool missed;
    atomic_bool end;
} scene;

static bool hold(void *context) {
    scene *s = context;
    if (++s->steps < s->hold_at) {
        return false;
    }
    atomic_store(&s->writing, true);
    atomic_fetch_add(&fx_shifted_seconds, 2 * HOUR);
    uint64_t deadline = kit_now_ms() + 20; /* the reader may need what the writer has locked */
    while (!atomic_load(&s->missed) && kit_now_ms() < deadline) {
        sched_yield();
    }
    return true;
}

static void *read_on(void *argument) {
    scene *s = argument;
    while (!atomic_load(&s->end)) {
        if (!atomic_load(&s->writing)) {
            sched_yield();
            continue;
        }
        char value[8];
        feox_status status = feox_get_into(s->store, "key", 3, value, sizeof value, NULL);
        if (status == FEOX_NOT_FOUND && atomic_load(&s->writing)) {
            atomic_store(&s->missed, true);
        }
    }
    return NULL;
}

/* Both take the time to live away. */
static feox_status change(kit *k, int which) {
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_CLEAR_TTL;
    return which == 0
               ? feox_persist(k->store, "key", 3)
               : feox_compare_and_swap_with(k->store, "key", 3, "old", 3, "new", 3, &write, NULL);
}

/* One write, held behind the given instruction. False: it has not as many. */
static bool hold_once(kit *k, scene *s, int which, uint64_t hold_at, uint64_t *misses) {
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = HOUR * 1000;
    assert_ok(feox_insert_with(k->store, "key", 3, "old", 3, &write, NULL));
    s->hold_at = hold_at;
    s->steps = 0;
    atomic_store(&s->missed, false);
    bool possible = fx_nudge_visit(hold, s);
    feox_status status = change(k, which);
    fx_nudge_step_end();
    atomic_store(&s->writing, false);
    bool missed = atomic_load(&s->missed);
    *misses += missed;
    if (missed && status != FEOX_NOT_FOUND) {
        print_error("held at %llu: a reader had found it expired, the writer got %s\n",
                    (unsigned long long)hold_at, feox_status_name(status));
        fail();
    }
    return possible && s->steps >= hold_at;
}

static void hold_everywhere(kit *k, uint64_t stride, uint64_t most) {
    scene s = {.store = k->store};
    pthread_t reader;
    uint64_t misses = 0;
    uint64_t holds = 0;
    assert_int_equal(pthread_create(&reader, NULL, read_on, &s), 0);
    for (int which = 0; which < 2; which++) {
        for (uint64_t n = 0; n < most && hold_once(k, &s, which, 1 + n * stride, &misses); n++) {
            holds++;
        }
    }
    atomic_store(&s.end, true);
    pthread_join(reader, NULL);
    printf("%llu holds, the key was found expired in %llu\n", (unsigned long long)holds,
           (unsigned long long)misses);
}

static void an_expired_key_stays_dead(void **state) {
    hold_everywhere(*state, 23, 45);
}

static void also_under_a_durable_write(void **state) {
    kit *k = *state;
    k->options.durability = FEOX_DURABILITY_DURABLE;
    kit_restart(k);
    hold_everywhere(k, 53, 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_TEST(an_expired_key_stays_dead),
                                       KIT_FILE(also_under_a_durable_write)};
    return cmocka_run_group_tests_name("issues/expired_key_revived", tests, NULL, NULL);
}
