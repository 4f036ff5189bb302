/* cleaner: moving ends, whatever lies in the way, and whoever waits for the file has it between two
 * steps. Layouts that a store comes to by chance are made by hand here: blocks are taken from the
 * free space, and given back at the end. A loop without an end would go on until the memory that it
 * asks for is refused, which no test waits for in vain.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/mem.h"
#include "engine/cleaner.h"
#include "engine/compactor.h"
#include "support/mem_dev.h"
#include "support/stage.h"

/* More allocations than anything here needs that ends. */
#define PATIENCE 20000u
/* Rounds of cleaning that gain nothing, and may be more by one for what happens on the way. */
#define FRUITLESS_ROUNDS (3u + 1u)
#define LIMIT ((uint64_t)16 << 20)

enum { RING = 1024, VALUE = 10100, HELD_MAX = 128, HOLES = 80, GROUPS = 600 };

typedef struct world {
    stage s;
    mem_dev *dev;
    fx_extent held[HELD_MAX];
    size_t held_count;
} world;

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->dev = mem_dev_create(7);
    w->s = (stage){.door = mem_dev_door(w->dev), .shard_count = 2};
    w->s.file.ring_blocks = RING;
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    fx_mem_fail_after(0, false);
    (void)stage_close(&w->s);
    mem_dev_destroy(w->dev);
    free(w);
    return 0;
}

static fx_flusher *flusher_of(const world *w) {
    return w->s.engine.flusher;
}

/* `count` groups, each a segment of five blocks that is full. */
static void put_groups(world *w, unsigned first, unsigned count) {
    for (unsigned i = first; i < first + count; i++) {
        char key[16];
        for (unsigned half = 0; half < 2; half++) {
            (void)snprintf(key, sizeof key, "%c%u", 'a' + (char)half, i);
            assert_int_equal(stage_put(&w->s, key, (uint8_t)i, VALUE), FEOX_OK);
        }
        assert_int_equal(stage_sync(&w->s), FEOX_OK);
    }
}

/* ---- By hand ---- */

static void hold(world *w, uint64_t block, uint64_t count) {
    assert_true(w->held_count < HELD_MAX);
    assert_true(fx_extents_reserve(&flusher_of(w)->space.extents, block, count));
    w->held[w->held_count++] = (fx_extent){block, count};
}

/* All that is free, but for HOLES blocks in the last run, no two of which touch. */
static void hold_all(world *w) {
    const fx_extents *extents = &flusher_of(w)->space.extents;
    fx_extent run;
    while (fx_extents_next(extents, 0, &run) && extents->run_count > 1) {
        hold(w, run.block, run.count);
    }
    assert_true(run.count > 2 * HOLES);
    for (uint64_t i = 0; i < HOLES; i++) {
        hold(w, run.block + 2 * i, 1);
    }
    hold(w, run.block + 2 * HOLES, run.count - 2 * HOLES);
}

static void give_back(world *w) {
    for (size_t i = 0; i < w->held_count; i++) {
        assert_true(
            fx_extents_add_free(&flusher_of(w)->space.extents, w->held[i].block, w->held[i].count));
    }
    w->held_count = 0;
}

/* ---- The file's end ---- */

/* Both copies of the table are the end, and all before it is in use but for single blocks, which
 * are too short for one: it costs nothing to move, and does not fit. */
static void test_table_at_the_end(void **state) {
    world *w = *state;
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    put_groups(w, 0, 1);
    assert_int_equal(stage_checkpoint(&w->s, false), FEOX_OK);
    put_groups(w, 1, GROUPS - 1);
    fx_flusher *flusher = flusher_of(w);
    fx_flusher_enter(flusher);
    fx_space_drop_spare(&flusher->space);
    hold_all(w);
    fx_flusher_leave(flusher);
    fx_mem_fail_after(PATIENCE, true);
    assert_int_equal(fx_cleaner_compact(flusher), FEOX_OK);
    assert_int_equal(fx_mem_failed(), 0);
    fx_mem_fail_after(0, false);
    /* It was so. */
    const fx_superblock *root = &flusher->root;
    assert_true(root->checkpoint.count > 1);
    assert_int_equal(fx_extents_tail(&flusher->space.extents, flusher->space.file_blocks),
                     root->mirror + root->checkpoint.count);
    assert_true(flusher->space.extents.free_blocks >= HOLES);
    give_back(w);
    stage_expect_sound(&w->s);
}

/* ---- Room for a write ---- */

/* Every second round of cleaning leaves more blocks in use than the one before, and the next one as
 * many fewer. */
static void wax_and_wane(void *context) {
    const world *w = context;
    fx_flusher *flusher = flusher_of(w);
    flusher->segments.large_blocks = flusher->figures.checkpoints % 2 == 0 ? 100 : 0;
}

/* One segment is not full, and would only become another one: there is always something to clean,
 * and never a gain. */
static void test_nothing_gained(void **state) {
    world *w = *state;
    w->s.file.file_size_limit = LIMIT;
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    assert_int_equal(stage_put(&w->s, "a", 1, VALUE - 1500), FEOX_OK);
    assert_int_equal(stage_put(&w->s, "b", 2, VALUE - 1500), FEOX_OK);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    assert_int_equal(stage_checkpoint(&w->s, false), FEOX_OK);
    assert_int_equal(stage_checkpoint(&w->s, false), FEOX_OK);
    fx_flusher *flusher = flusher_of(w);
    assert_true(fx_compactor_can_free(flusher));
    uint64_t before = flusher->figures.checkpoints;
    const fx_demand demand = {.bytes = 2 * LIMIT};
    assert_int_equal(before % 2, 0);
    mem_dev_set_hook(w->dev, wax_and_wane, w);
    fx_mem_fail_after(PATIENCE, true);
    assert_int_equal(fx_flusher_make_room(flusher, &demand, ++w->s.now), FEOX_ERR_SPACE);
    assert_int_equal(fx_mem_failed(), 0);
    fx_mem_fail_after(0, false);
    mem_dev_set_hook(w->dev, NULL, NULL);
    flusher->segments.large_blocks = 0;
    uint64_t rounds = flusher->figures.checkpoints - before;
    assert_true(rounds > 1 && rounds <= FRUITLESS_ROUNDS);
    assert_true(fx_compactor_can_free(flusher));
    stage_expect_sound(&w->s);
}

/* ---- Others meanwhile ---- */

/* Of the compactions only the first one has much to do, and none takes more steps than STEPS_MAX,
 * though something is written in each. */
enum { KEYS = 12000, RECORD = 1000, COMPACTIONS = 40, STEPS_MAX = 20 };

/* Beside a compaction, in each of its steps: a thread begins to wait for the file, as the
 * background and writers without room do, and a write is made that nobody waits for. */
typedef struct others {
    world *w;
    pthread_t thread;
    fx_mutex lock;
    fx_cond called;
    bool wanted, stop; /* under the lock */
    /* The owner's of the file. Checkpoints so far tell the steps apart. */
    bool waits;
    uint64_t waits_since, group, written_at; /* group 0: no write is under way */
    unsigned turns, late_turns, writes, late_writes;
} others;

static void *want_the_file(void *context) {
    others *o = context;
    fx_flusher *flusher = flusher_of(o->w);
    fx_mutex_lock(&o->lock);
    while (!o->stop) {
        if (!o->wanted) {
            fx_cond_wait(&o->called, &o->lock);
            continue;
        }
        o->wanted = false;
        fx_mutex_unlock(&o->lock);
        fx_flusher_enter(flusher);
        o->waits = false;
        fx_flusher_leave(flusher);
        fx_mutex_lock(&o->lock);
    }
    fx_mutex_unlock(&o->lock);
    return NULL;
}

/* Returns when the thread waits for the file, which is ours. */
static void send_it(others *o, uint64_t now) {
    fx_flusher *flusher = flusher_of(o->w);
    o->waits = true;
    o->waits_since = now;
    o->turns++;
    fx_mutex_lock(&o->lock);
    o->wanted = true;
    fx_cond_wake_all(&o->called);
    fx_mutex_unlock(&o->lock);
    for (bool waits = false; !waits;) {
        fx_mutex_lock(&flusher->gate);
        waits = flusher->waiting > 0;
        fx_mutex_unlock(&flusher->gate);
        (void)sched_yield();
    }
}

static void write_one(others *o, uint64_t now) {
    fx_committed committed;
    stage *s = &o->w->s;
    const fx_change change = {.key = (const uint8_t *)"nobody waits",
                              .key_len = 12,
                              .value = (const uint8_t *)"value",
                              .value_len = 5,
                              .hash = fx_engine_hash(&s->engine, "nobody waits", 12),
                              .hidden = true,
                              .kept = true};
    if (stage_try(s, &change, &committed) == FEOX_OK) { /* else it has to make room first */
        o->group = committed.group;
        o->written_at = now;
        o->writes++;
    }
}

/* At each write of the compaction. */
static void meanwhile(void *context) {
    others *o = context;
    fx_flusher *flusher = flusher_of(o->w);
    uint64_t now = fx_load_relaxed(&flusher->figures.checkpoints);
    if (o->group != 0 && fx_load_acquire(&flusher->durable_group) >= o->group) {
        o->group = 0;
    }
    if (o->group == 0) {
        write_one(o, now);
    } else if (now > o->written_at + 1) { /* in the step behind it is just being written */
        o->late_writes++;
    }
    if (!o->waits) {
        send_it(o, now);
    } else if (now > o->waits_since) {
        o->late_turns++;
    }
}

static void test_turns(void **state) {
    world *w = *state;
    others o = {.w = w};
    char key[16];
    w->s.file.file_size_initial = 4 * LIMIT; /* no write has to make room */
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    for (unsigned round = 0; round < 2; round++) { /* half of each segment is dead */
        for (unsigned i = 0; i < KEYS; i += 1 + round) {
            (void)snprintf(key, sizeof key, "%u", i);
            assert_int_equal(stage_put(&w->s, key, (uint8_t)i, round == 0 ? RECORD : 0), FEOX_OK);
        }
        assert_int_equal(stage_sync(&w->s), FEOX_OK);
    }
    assert_true(fx_mutex_init(&o.lock) && fx_cond_init(&o.called));
    assert_int_equal(pthread_create(&o.thread, NULL, want_the_file, &o), 0);
    mem_dev_set_hook(w->dev, meanwhile, &o);
    for (unsigned i = 0; i < COMPACTIONS; i++) {
        assert_int_equal(fx_cleaner_compact(flusher_of(w)), FEOX_OK);
    }
    mem_dev_set_hook(w->dev, NULL, NULL);
    fx_mutex_lock(&o.lock);
    o.stop = true;
    fx_cond_wake_all(&o.called);
    fx_mutex_unlock(&o.lock);
    assert_int_equal(pthread_join(o.thread, NULL), 0);
    fx_cond_deinit(&o.called);
    fx_mutex_deinit(&o.lock);
    print_message("%u turns, %u late; %u writes, %u late\n", o.turns, o.late_turns, o.writes,
                  o.late_writes);
    assert_true(o.turns > COMPACTIONS && o.writes > COMPACTIONS);
    assert_true(o.writes < COMPACTIONS * STEPS_MAX);
    assert_int_equal(o.late_turns, 0);
    assert_int_equal(o.late_writes, 0);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    stage_expect_sound(&w->s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_gained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
    };
    return cmocka_run_group_tests_name("engine/cleaner", tests, NULL, NULL);
}
