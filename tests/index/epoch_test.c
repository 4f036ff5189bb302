/* epoch: what was unlinked is poisoned and used again as soon as it is said to be safe, with plain
 * stores: a reader that still looked would see poison, and the thread sanitizer a race.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/rng.h"
#include "index/epoch.h"
#include "support/nudge.h"

static void test_safe_is_now_without_pins(void **state) {
    (void)state;
    static fx_epoch epoch;
    fx_epoch_init(&epoch);
    uint64_t first = fx_epoch_stamp(&epoch);
    assert_true(first > 0);
    assert_true(fx_epoch_safe(&epoch) > first);
    uint64_t second = fx_epoch_stamp(&epoch);
    assert_true(second > first);
    assert_true(fx_epoch_safe(&epoch) > second);
}

static void test_pin_holds_back_later_stamps_only(void **state) {
    (void)state;
    static fx_epoch epoch;
    fx_epoch_init(&epoch);
    uint64_t before = fx_epoch_stamp(&epoch);
    fx_pin pin = fx_epoch_pin(&epoch);
    uint64_t during = fx_epoch_stamp(&epoch);
    uint64_t again = fx_epoch_stamp(&epoch);
    assert_true(fx_epoch_safe(&epoch) > before);
    assert_false(fx_epoch_safe(&epoch) > during);
    fx_pin later = fx_epoch_pin(&epoch);
    assert_ptr_not_equal(later.slot, pin.slot);
    assert_false(fx_epoch_safe(&epoch) > during);
    fx_epoch_unpin(pin);
    assert_true(fx_epoch_safe(&epoch) > again); /* the later pin came behind both */
    uint64_t last = fx_epoch_stamp(&epoch);
    assert_false(fx_epoch_safe(&epoch) > last);
    fx_epoch_unpin(later);
    assert_true(fx_epoch_safe(&epoch) > last);
}

typedef struct crowd {
    fx_epoch epoch;
    uint32_t entered;
} crowd;

static void *late_pinner(void *argument) {
    crowd *c = argument;
    fx_pin pin = fx_epoch_pin(&c->epoch);
    fx_store_release(&c->entered, 1u);
    fx_epoch_unpin(pin);
    return NULL;
}

static void test_more_pins_than_slots_wait(void **state) {
    (void)state;
    static crowd c;
    fx_epoch_init(&c.epoch);
    fx_pin pins[FX_EPOCH_SLOTS];
    for (size_t i = 0; i < FX_EPOCH_SLOTS; i++) {
        pins[i] = fx_epoch_pin(&c.epoch);
        for (size_t j = 0; j < i; j++) {
            assert_ptr_not_equal(pins[i].slot, pins[j].slot);
        }
    }
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, late_pinner, &c), 0);
    for (int i = 0; i < 200; i++) {
        (void)sched_yield();
    }
    assert_int_equal(fx_load_acquire(&c.entered), 0);
    fx_epoch_unpin(pins[77]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(c.entered, 1);
    for (size_t i = 0; i < FX_EPOCH_SLOTS; i++) {
        if (i != 77) {
            fx_epoch_unpin(pins[i]);
        }
    }
    uint64_t stamp = fx_epoch_stamp(&c.epoch);
    assert_true(fx_epoch_safe(&c.epoch) > stamp);
}

/* ---- Another thread comes at each instruction ---- */

#define OTHER 1u      /* the epoch that it pins */
#define STAYS 500u    /* so many instructions of ours */
#define PATIENCE 5000 /* more than a pin has */

typedef struct other {
    fx_epoch_slot *slot;
    uint32_t comes;
    uint32_t instructions;
    bool inside;
    bool came;
    bool lost; /* somebody took the slot from under it */
} other;

static bool take_turns(void *context) {
    other *o = context;
    uint32_t now = o->instructions++;
    if (now == o->comes) {
        uint64_t expected = 0;
        o->inside = fx_cas_seq_cst(&o->slot->pinned, &expected, (uint64_t)OTHER);
        o->came = o->inside;
    } else if (now == o->comes + STAYS && o->inside) {
        o->lost = fx_load_relaxed(&o->slot->pinned) != OTHER;
        fx_store_release(&o->slot->pinned, (uint64_t)0);
        o->inside = false;
    }
    return now >= o->comes && !o->inside;
}

/* One slot is free, and both want it: whoever comes second waits. */
static void test_one_slot_for_two(void **state) {
    (void)state;
    static fx_epoch epoch;
    fx_epoch_init(&epoch);
    (void)fx_epoch_stamp(&epoch);
    fx_pin first = fx_epoch_pin(&epoch); /* where we begin to look */
    for (size_t i = 0; i < FX_EPOCH_SLOTS; i++) {
        epoch.slots[i].pinned = fx_load_relaxed(&epoch.now);
    }
    uint32_t met = 0;
    other o = {.came = true};
    for (uint32_t comes = 0; o.came; comes++) {
        assert_true(comes < PATIENCE);
        o = (other){.slot = first.slot, .comes = comes};
        fx_store_relaxed(&first.slot->pinned, (uint64_t)0);
        if (!fx_nudge_visit(take_turns, &o)) {
            print_message("skipped: no instruction can be stopped behind here\n");
            skip();
        }
        fx_pin pin = fx_epoch_pin(&epoch);
        fx_nudge_step_end();
        assert_ptr_equal(pin.slot, first.slot);
        assert_false(o.inside);
        assert_false(o.lost);
        assert_int_equal(fx_load_relaxed(&pin.slot->pinned), fx_load_relaxed(&epoch.now));
        met += o.came;
        fx_epoch_unpin(pin);
    }
    assert_true(met > 5);
}

/* ---- Threads ---- */

#define READERS 3
#define WRITERS 2
#define CELLS 4 /* of each writer */
#define OBJECTS 48
#define SWAPS 100000u
#define POISON UINT64_MAX

/* Read and written as plain memory on purpose. */
typedef struct object {
    uint64_t value;
    uint64_t copy;
} object;

typedef struct retired {
    object *what;
    uint64_t stamp;
} retired;

typedef struct world {
    fx_epoch epoch;
    object *cells[WRITERS][CELLS];
    object objects[WRITERS][OBJECTS];
    uint32_t stop;
    uint32_t errors;
    uint64_t reads;
    uint64_t reused;
} world;

typedef struct actor {
    world *w;
    size_t number;
} actor;

static void *reader_main(void *argument) {
    const actor *a = argument;
    world *w = a->w;
    fx_rng rng;
    fx_rng_init(&rng, a->number);
    while (fx_load_relaxed(&w->stop) == 0) {
        fx_pin pin = fx_epoch_pin(&w->epoch);
        for (uint64_t n = 1 + fx_rng_below(&rng, 4); n > 0; n--) {
            const object *seen =
                fx_load_acquire(&w->cells[fx_rng_below(&rng, WRITERS)][fx_rng_below(&rng, CELLS)]);
            uint64_t value = seen->value;
            if (fx_rng_below(&rng, 16) == 0) {
                (void)sched_yield(); /* gives the writers time to go wrong */
            }
            if (value == POISON || ((const volatile object *)seen)->copy != value) {
                fx_add_relaxed(&w->errors, 1u);
            }
        }
        fx_epoch_unpin(pin);
        fx_add_relaxed(&w->reads, (uint64_t)1);
    }
    return NULL;
}

/* Moves what is safe to the free objects, poisoned; returns how many stay. */
static size_t reclaim(world *w, retired *waiting, size_t count, object **unused, size_t *unused_n) {
    uint64_t safe = fx_epoch_safe(&w->epoch);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (waiting[i].stamp >= safe) {
            waiting[kept++] = waiting[i];
            continue;
        }
        *waiting[i].what = (object){POISON, POISON};
        unused[(*unused_n)++] = waiting[i].what;
        fx_add_relaxed(&w->reused, (uint64_t)1);
    }
    return kept;
}

static void *writer_main(void *argument) {
    const actor *a = argument;
    world *w = a->w;
    object *unused[OBJECTS];
    retired waiting[OBJECTS];
    size_t unused_n = 0;
    size_t waiting_n = 0;
    for (size_t i = CELLS; i < OBJECTS; i++) {
        unused[unused_n++] = &w->objects[a->number][i];
    }
    for (uint64_t swap = 1; swap <= SWAPS || fx_load_relaxed(&w->reads) < 20000; swap++) {
        while (unused_n == 0) {
            waiting_n = reclaim(w, waiting, waiting_n, unused, &unused_n);
            if (unused_n == 0) {
                (void)sched_yield();
            }
        }
        object *fresh = unused[--unused_n];
        *fresh = (object){swap, swap};
        object *old = fx_exchange_acq_rel(&w->cells[a->number][swap % CELLS], fresh);
        waiting[waiting_n++] = (retired){old, fx_epoch_stamp(&w->epoch)};
        if (swap % 7 == 0) {
            waiting_n = reclaim(w, waiting, waiting_n, unused, &unused_n);
        }
    }
    return NULL;
}

static void test_readers_never_see_poison(void **state) {
    (void)state;
    static world w;
    fx_epoch_init(&w.epoch);
    for (size_t i = 0; i < WRITERS; i++) {
        for (size_t j = 0; j < CELLS; j++) {
            w.cells[i][j] = &w.objects[i][j];
        }
    }
    pthread_t threads[READERS + WRITERS];
    actor actors[READERS + WRITERS];
    for (size_t i = 0; i < READERS + WRITERS; i++) {
        bool reads = i < READERS;
        actors[i] = (actor){&w, reads ? i : i - READERS};
        assert_int_equal(
            pthread_create(&threads[i], NULL, reads ? reader_main : writer_main, &actors[i]), 0);
    }
    for (size_t i = READERS; i < READERS + WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    fx_store_relaxed(&w.stop, 1u);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(w.errors, 0);
    assert_true(w.reused > SWAPS); /* memory did come back */
    for (size_t i = 0; i < FX_EPOCH_SLOTS; i++) {
        assert_int_equal(w.epoch.slots[i].pinned, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safe_is_now_without_pins),
        cmocka_unit_test(test_pin_holds_back_later_stamps_only),
        cmocka_unit_test(test_more_pins_than_slots_wait),
        cmocka_unit_test(test_one_slot_for_two),
        cmocka_unit_test(test_readers_never_see_poison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
