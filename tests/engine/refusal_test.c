/* A device that refuses writes for want of space, at every write in turn, once, for a while or
 * until the power fails: who needs the space is told, reads and deletes go on, writes are taken
 * again without reopening, and the store never becomes read-only by it. What recovery finds after a
 * crash is the state after some group, not before the last one that was acknowledged, and a durable
 * write that was refused is never seen, neither before the crash nor after it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/check.h"
#include "engine/check_disk.h"
#include "engine/commit.h"
#include "engine/compactor.h"
#include "engine/fetch.h"
#include "engine/flusher.h"
#include "engine/volume.h"
#include "support/campaign.h"
#include "support/mem_dev.h"

enum { KEYS = 24, OPS_MAX = 1000 };
#define ABSENT UINT32_MAX
#define OTHER (UINT32_MAX - 1)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(FX_DEBUG)
#define SLOW 1
#else
#define SLOW 0
#endif

/* What a key holds. */
typedef struct state {
    uint32_t size; /* ABSENT: nothing */
    uint64_t stamp;
} state;

typedef struct op {
    uint32_t key;
    state now;
    uint64_t group;
} op;

typedef struct world {
    fx_rng rng;
    mem_dev *dev;
    fx_engine engine;
    uint64_t now;
    uint64_t stamp;
    state base[KEYS]; /* before the first of the history */
    state keys[KEYS];
    op history[OPS_MAX];
    size_t count;
    size_t safe; /* so many of them were acknowledged as durable */
    unsigned refused;
    unsigned stuck; /* became read-only */
    bool scattered; /* how writes are refused */
    bool inside;    /* the hook runs */
} world;

static uint64_t seed_of(const char *name) {
    const char *text = getenv("FEOX_SEED");
    uint64_t value = text != NULL ? strtoull(text, NULL, 0) : 0;
    if (text == NULL) {
        (void)fx_random_bytes(&value, 4);
    }
    print_message("%s: FEOX_SEED=%llu\n", name, (unsigned long long)value);
    return value;
}

static uint64_t world_clock(void *context) {
    return ++((world *)context)->now;
}

static feox_status world_open(world *w) {
    const fx_engine_options options = {.ordered = true,
                                       .persistent = true,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = world_clock,
                                       .clock_context = w,
                                       .shard_count = 2};
    /* The ring is full soon, so checkpoints come by themselves. */
    const fx_flusher_options file = {.ring_blocks = 48};
    assert_int_equal(fx_engine_init(&w->engine, &options), FEOX_OK);
    feox_status status =
        fx_flusher_open(&w->engine, mem_dev_door(w->dev), &file, &w->engine.flusher);
    return status == FEOX_OK ? fx_commit_recovery_done(&w->engine) : status;
}

static feox_status world_close(world *w) {
    feox_status status = FEOX_OK;
    w->inside = true; /* nobody commits any more */
    if (w->engine.flusher != NULL) {
        status = fx_flusher_close(w->engine.flusher, ++w->now);
    }
    fx_engine_deinit(&w->engine);
    memset(&w->engine, 0, sizeof w->engine);
    w->inside = false;
    return status;
}

static world *world_create(uint64_t seed) {
    world *w = calloc(1, sizeof *w);
    fx_rng_init(&w->rng, seed);
    w->dev = mem_dev_create(fx_rng_next(&w->rng));
    w->now = 1000;
    for (uint32_t k = 0; k < KEYS; k++) {
        w->base[k].size = w->keys[k].size = ABSENT;
    }
    assert_int_equal(world_open(w), FEOX_OK);
    return w;
}

static void world_destroy(world *w) {
    mem_dev_destroy(w->dev);
    free(w);
}

static fx_flusher *file_of(world *w) {
    return w->engine.flusher;
}

/* ---- Writing ---- */

static void fill(uint8_t *out, state s) {
    for (uint32_t i = 0; i < s.size; i++) {
        out[i] = (uint8_t)(s.stamp * 131 + i * 7 + (i >> 8));
    }
}

static feox_status world_sync(world *w) {
    size_t before = w->count; /* the hook may add some, for the next group */
    feox_status status = fx_flusher_sync(file_of(w), fx_flusher_open_group(file_of(w)), ++w->now);
    w->safe = status == FEOX_OK ? before : w->safe;
    w->refused += status == FEOX_ERR_SPACE;
    return status;
}

/* One attempt. Hidden: the commit is noted when its group is durable. */
static feox_status attempt(world *w, uint32_t k, state s, bool hidden, fx_committed *committed) {
    static uint8_t value[3 * FX_LARGE_VALUE_MIN];
    uint64_t hash = fx_engine_hash(&w->engine, &k, sizeof k);
    fx_shard *shard = fx_engine_shard(&w->engine, hash);
    fx_change change = {.key = (const uint8_t *)&k,
                        .key_len = sizeof k,
                        .hash = hash,
                        .value = value,
                        .hidden = hidden};
    if (s.size != ABSENT) {
        fill(value, s);
        change.value_len = s.size;
        change.block =
            s.size > FX_INLINE_VALUE_MAX ? fx_block_create(&w->engine.blocks, value, s.size) : NULL;
    }
    fx_spinlock_lock(&shard->lock);
    fx_record *old = fx_commit_any_locked(shard, hash, &k, sizeof k);
    feox_status status =
        s.size != ABSENT ? fx_commit_put_locked(shard, old, &change, ++w->now, committed)
        : old == NULL    ? FEOX_NOT_FOUND
        : hidden ? fx_commit_hide_delete_locked(shard, old, hash, 0, false, ++w->now, committed)
                 : fx_commit_delete_locked(shard, old, hash, 0, false, ++w->now, committed);
    fx_spinlock_unlock(&shard->lock);
    if (status != FEOX_OK) {
        fx_block_release(change.block);
    }
    return status;
}

static feox_status commit(world *w, uint32_t k, state s, bool hidden, fx_committed *committed) {
    for (;;) {
        feox_status status = attempt(w, k, s, hidden, committed);
        if (status != FEOX_END && status != FEOX_ERR_BUSY) {
            return status;
        }
        fx_shard *shard = fx_engine_shard(&w->engine, fx_engine_hash(&w->engine, &k, sizeof k));
        status = w->inside ? FEOX_ERR_MEMORY
                 : status == FEOX_ERR_BUSY
                     ? world_sync(w)
                     : fx_commit_relieve(shard, sizeof k, s.size != ABSENT ? s.size : 0,
                                         s.size == ABSENT);
        if (status != FEOX_OK) {
            return status;
        }
    }
}

/* Behind all that is in its group. Returns how many there are up to it. */
static size_t note(world *w, uint32_t k, state s, uint64_t group) {
    size_t at = w->count++;
    assert_true(w->count <= OPS_MAX);
    for (; at > 0 && w->history[at - 1].group > group; at--) {
        w->history[at] = w->history[at - 1];
    }
    w->history[at] = (op){k, s, group};
    w->keys[k] = s;
    return at + 1;
}

static feox_status world_write(world *w, uint32_t k, uint32_t size, bool durable) {
    const state s = {size, ++w->stamp};
    fx_committed committed = {0};
    feox_status status = commit(w, k, s, durable, &committed);
    bool done = status == FEOX_OK;
    if (done && durable) {
        status = world_sync(w);
        if (status == FEOX_ERR_SPACE) { /* as fx_write_wait does */
            fx_shard *shard = fx_engine_shard(&w->engine, fx_engine_hash(&w->engine, &k, sizeof k));
            fx_spinlock_lock(&shard->lock);
            assert_true(fx_commit_cancel_locked(shard, committed.version));
            fx_spinlock_unlock(&shard->lock);
        }
    }
    if (done && status != FEOX_ERR_SPACE) { /* FEOX_ERR_IO: it may be there or not */
        size_t upto = note(w, k, s, committed.group);
        w->safe = durable && status == FEOX_OK ? upto : w->safe;
    }
    w->refused += status == FEOX_ERR_SPACE;
    return status == FEOX_NOT_FOUND ? FEOX_OK : status;
}

static uint32_t random_size(world *w) {
    switch (fx_rng_below(&w->rng, 12)) {
    case 0:
        return FX_LARGE_VALUE_MIN + (uint32_t)fx_rng_below(&w->rng, FX_LARGE_VALUE_MIN);
    case 1:
    case 2:
        return (uint32_t)fx_rng_below(&w->rng, 30000);
    default:
        return (uint32_t)fx_rng_below(&w->rng, 400);
    }
}

/* Relaxed commits into the middle of a flush. */
static void meanwhile(void *context) {
    world *w = context;
    if (!w->inside && file_of(w) != NULL && w->count + 50 < OPS_MAX &&
        fx_rng_below(&w->rng, 3) == 0) {
        w->inside = true;
        (void)world_write(w, (uint32_t)fx_rng_below(&w->rng, KEYS),
                          fx_rng_below(&w->rng, 3) == 0 ? ABSENT : 70, false);
        w->inside = false;
    }
}

static feox_status world_step(world *w) {
    feox_status status = FEOX_OK;
    uint32_t k = (uint32_t)fx_rng_below(&w->rng, KEYS);
    switch (fx_rng_below(&w->rng, 16)) {
    case 0:
        return world_sync(w);
    case 1:
        fx_flusher_enter(file_of(w));
        status = fx_compactor_checkpoint(file_of(w), fx_rng_below(&w->rng, 2) == 0);
        fx_flusher_leave(file_of(w));
        return status;
    case 2:
        w->now += 200000000u;
        fx_flusher_step(file_of(w), w->now, 100);
        return fx_flusher_status(file_of(w));
    case 3:
    case 4:
        return world_write(w, k, ABSENT, fx_rng_below(&w->rng, 3) == 0);
    default:
        return world_write(w, k, random_size(w), fx_rng_below(&w->rng, 3) == 0);
    }
}

/* ---- What is there ---- */

static bool holds(world *w, uint32_t k, state s) {
    static uint8_t wanted[3 * FX_LARGE_VALUE_MIN];
    static uint8_t buffer[3 * FX_LARGE_VALUE_MIN];
    fx_fetched got;
    feox_status status = fx_fetch(&w->engine, fx_engine_hash(&w->engine, &k, sizeof k), &k,
                                  sizeof k, buffer, sizeof buffer, &got);
    if (status == FEOX_NOT_FOUND) {
        return s.size == ABSENT;
    }
    assert_int_equal(status, FEOX_OK);
    bool same = got.value_len == s.size;
    if (same) {
        fill(wanted, s);
        same = memcmp(got.block != NULL ? got.block->data : buffer, wanted, s.size) == 0;
    }
    fx_block_release(got.block);
    return same;
}

static bool state_is(world *w, const state *keys) {
    for (uint32_t k = 0; k < KEYS; k++) {
        if (!holds(w, k, keys[k])) {
            return false;
        }
    }
    return true;
}

static void print_line(void *context, const feox_finding *finding) {
    (void)context;
    print_message("check: %s\n", finding->text);
}

static void expect_sound(world *w) {
    fx_check_sink sink = {.found = print_line};
    assert_int_equal(fx_check_memory(&w->engine, &sink), FEOX_OK);
    assert_int_equal(fx_check_disk(file_of(w), false, &sink), FEOX_OK);
    assert_int_equal(sink.report.problems, 0);
    assert_int_equal(fx_load_relaxed(&file_of(w)->corrupt_records), 0);
}

/* What was recovered is the state after some group; history goes on from there. */
static void expect_prefix(world *w) {
    state keys[KEYS];
    memcpy(keys, w->base, sizeof keys);
    bool found = false;
    for (size_t i = 0; !found && i <= w->count; i++) {
        bool border = i == 0 || i == w->count || w->history[i].group != w->history[i - 1].group;
        found = border && i >= w->safe && state_is(w, keys);
        if (!found && i < w->count) {
            keys[w->history[i].key] = w->history[i].now;
        }
    }
    assert_true(found);
    memcpy(w->base, keys, sizeof keys);
    memcpy(w->keys, keys, sizeof keys);
    w->count = 0;
    w->safe = 0;
}

static void crash(world *w) {
    mem_dev_set_hook(w->dev, NULL, NULL);
    mem_dev_cut_after(w->dev, 1);
    (void)world_close(w);
    w->dev = mem_dev_crash(w->dev);
    assert_int_equal(world_open(w), FEOX_OK);
    expect_prefix(w);
    expect_sound(w);
}

/* There is space: all that was accepted becomes durable, and new writes do. */
static void expect_healed(world *w) {
    mem_dev_refuse_writes(w->dev, 0, 0, false);
    mem_dev_set_hook(w->dev, NULL, NULL);
    assert_int_equal(world_write(w, 0, 5000, true), FEOX_OK);
    assert_int_equal(world_write(w, 1, 100, false), FEOX_OK);
    assert_int_equal(world_sync(w), FEOX_OK);
    assert_true(state_is(w, w->keys));
    expect_sound(w);
}

/* ---- Tests ---- */

/* From the n-th write on `count` are refused. */
static void refuse(world *w, uint64_t n, uint64_t count, unsigned steps) {
    mem_dev_refuse_writes(w->dev, n, count, w->scattered);
    for (unsigned i = 0; i < steps; i++) {
        feox_status status = world_step(w);
        if (w->scattered && status == FEOX_ERR_IO) { /* all of it may have been written */
            assert_int_equal(fx_flusher_status(file_of(w)), FEOX_ERR_IO);
            w->stuck++;
            crash(w);
            mem_dev_refuse_writes(w->dev, n, count, w->scattered);
            continue;
        }
        if (status != FEOX_OK && status != FEOX_ERR_SPACE) {
            print_error("step %u gave %d: %s\n", i, status, file_of(w)->failure);
            fail();
        }
        assert_int_equal(fx_flusher_status(file_of(w)), FEOX_OK);
        assert_true(state_is(w, w->keys));
    }
}

static unsigned refuse_each(const char *name, uint64_t seed, uint64_t writes, bool scattered) {
    static const uint64_t counts[] = {1, 2, 5, 0};
    unsigned stuck = 0;
    campaign c;
    campaign_begin(&c, name);
    for (uint64_t n = 1; n <= writes; n++) {
        for (unsigned i = 0; i < 4; i++) {
            world *w = world_create(seed + 4 * n + i);
            w->scattered = scattered;
            refuse(w, 0, 0, 5);
            mem_dev_set_hook(w->dev, n % 2 == 0 ? meanwhile : NULL, w);
            for (unsigned again = 0; again < 2; again++) {
                refuse(w, again == 0 ? n : 1 + fx_rng_below(&w->rng, 10), counts[i], 30);
                c.faults += mem_dev_refusals(w->dev);
                if (fx_rng_below(&w->rng, 2) == 0) {
                    crash(w);
                }
                expect_healed(w);
            }
            crash(w);
            c.cases++;
            assert_int_equal(world_close(w), FEOX_OK);
            assert_int_equal(world_open(w), FEOX_OK);
            assert_true(state_is(w, w->keys));
            assert_int_equal(world_close(w), FEOX_OK);
            stuck += w->stuck;
            world_destroy(w);
        }
    }
    campaign_end(&c);
    return stuck;
}

static uint64_t writes_max(void) {
    return getenv("FEOX_LONG") != NULL ? 400 : SLOW ? 8 : 25;
}

static void test_every_write(void **unused) {
    (void)unused;
    assert_int_equal(refuse_each("C4 writes refused for want of space", seed_of("every_write"),
                                 writes_max(), false),
                     0);
}

/* A write that is refused and there all the same may make the store read-only, never untrue. */
static void test_every_write_scattered(void **unused) {
    (void)unused;
    unsigned stuck = refuse_each("C4 writes refused, and there in part",
                                 seed_of("every_write_scattered"), writes_max(), true);
    print_message("%u times read-only\n", stuck);
}

/* What is accepted while the device refuses is bounded: no puts, and as many deletes as a full file
 * has room for. The background asks the device less and less often; all that was accepted is
 * written when there is space. */
static void test_admission(void **unused) {
    (void)unused;
    enum { FIRST = 1000, MANY = 25000 };
    world *w = world_create(seed_of("admission"));
    const state small = {.size = 20, .stamp = 1};
    const state none = {.size = ABSENT};
    fx_committed committed;
    for (uint32_t k = FIRST; k < FIRST + MANY; k++) {
        assert_int_equal(commit(w, k, small, false, &committed), FEOX_OK);
    }
    assert_int_equal(world_write(w, 0, 100, true), FEOX_OK);
    mem_dev_refuse_writes(w->dev, 1, 0, false);
    assert_int_equal(world_write(w, 1, 100, false), FEOX_OK);
    assert_int_equal(world_sync(w), FEOX_ERR_SPACE);
    for (uint32_t k = 0; k < KEYS; k++) {
        assert_int_equal(world_write(w, k, 10, k % 2 == 0), FEOX_ERR_SPACE);
    }
    uint32_t deleted = 0;
    while (deleted < MANY && commit(w, FIRST + deleted, none, false, &committed) == FEOX_OK) {
        deleted++;
        if (deleted % 1000 == 0) { /* however often it is tried */
            assert_int_equal(world_sync(w), FEOX_ERR_SPACE);
        }
    }
    print_message("%u deletes\n", deleted);
    assert_true(deleted > 5000 && deleted < MANY);
    assert_int_equal(commit(w, FIRST + deleted, none, false, &committed), FEOX_ERR_SPACE);
    uint64_t before = mem_dev_refusals(w->dev);
    for (unsigned i = 0; i < 1000; i++) { /* ten seconds */
        w->now += 10000000u;
        fx_flusher_step(file_of(w), w->now, 100);
    }
    uint64_t asked = mem_dev_refusals(w->dev) - before;
    assert_true(asked >= 2 && asked < 40);
    assert_true(state_is(w, w->keys));
    mem_dev_refuse_writes(w->dev, 0, 0, false);
    for (; deleted < MANY; deleted++) {
        assert_int_equal(commit(w, FIRST + deleted, none, false, &committed), FEOX_OK);
    }
    expect_healed(w);
    crash(w);
    assert_int_equal(fx_engine_count(&w->engine), 2);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* What was accepted is not lost silently: closing says so, and what is durable is there. */
static void test_close_refused(void **unused) {
    (void)unused;
    world *w = world_create(seed_of("close_refused"));
    assert_int_equal(world_write(w, 0, 100, true), FEOX_OK);
    mem_dev_refuse_writes(w->dev, 1, 0, false);
    assert_int_equal(world_write(w, 0, 200, false), FEOX_OK);
    assert_int_equal(world_close(w), FEOX_ERR_SPACE);
    assert_int_equal(world_open(w), FEOX_ERR_SPACE); /* opening writes, too */
    (void)world_close(w);
    mem_dev_refuse_writes(w->dev, 0, 0, false);
    assert_int_equal(world_open(w), FEOX_OK);
    expect_prefix(w);
    expect_sound(w);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_write),
        cmocka_unit_test(test_every_write_scattered),
        cmocka_unit_test(test_admission),
        cmocka_unit_test(test_close_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
