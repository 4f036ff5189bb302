/* sim_life: a key that expires is taken for absent from its commit on, for it is looked at later.
 */
#include "support/sim_life.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/cleaner.h"
#include "engine/evict.h"
#include "engine/fetch.h"
#include "engine/sweeper.h"

#define RING_BLOCKS 12u
#define VALUE_MAX (192u << 10)
#define MS 1000000u
#define LATER ((uint64_t)1000000 * MS)
#define PATTERN 4096u

typedef enum form {
    PUT_A,
    PUT_B,
    PUT_A_BLOCK,
    PUT_A_LARGE,
    PUT_B_LARGE,
    DELETE_A,
    DELETE_B,
    SAFE_PUT_A,
    SAFE_PUT_B_LARGE,
    SAFE_DELETE_A,
    KEPT_PUT_A,
    KEPT_PUT_B,
    KEPT_DELETE_B,
    EXPIRE_A,
    SYNC,
    CHECKPOINT,
    COMPACT,
    EVICT,
    GROW,
    REOPEN,
} form;

_Static_assert(REOPEN + 1 == SIM_FORMS, "each form has a number");

/* "safe" waits until it is durable, "kept" is hidden until then, and nobody waits. */
const char *const sim_form_names[SIM_FORMS] = {
    "put-a",         "put-b",       "put-a-block",
    "put-a-large",   "put-b-large", "delete-a",
    "delete-b",      "safe-put-a",  "safe-put-b-large",
    "safe-delete-a", "kept-put-a",  "kept-put-b",
    "kept-delete-b", "expire-a",    "sync",
    "checkpoint",    "compact",     "evict",
    "grow",          "reopen",
};

const sim_start sim_starts[SIM_STARTS] = {
    {.name = "new"},
    /* Both keys are there, one as a large value; space has been used again, the ring holds groups,
     * a dead large value waits for the next checkpoint. */
    {.name = "old",
     .size = 330u * FX_BLOCK_SIZE,
     .count = 10,
     .forms = {SAFE_PUT_B_LARGE, PUT_A_LARGE, SYNC, SAFE_PUT_B_LARGE, CHECKPOINT, PUT_A, SYNC,
               SAFE_PUT_B_LARGE, PUT_A_BLOCK, SYNC}},
};

static uint8_t pattern[VALUE_MAX + PATTERN];
static uint8_t read_buffer[VALUE_MAX];
/* A life's, and that of what is recovered meanwhile. */
static uint8_t write_buffers[2][VALUE_MAX];

/* ---- Values ---- */

static const uint8_t *pattern_of(uint32_t key, uint32_t stamp) {
    if (pattern[0] == 0) {
        fx_rng rng;
        fx_rng_init(&rng, 1);
        for (size_t i = 0; i < sizeof pattern; i++) {
            pattern[i] = (uint8_t)(fx_rng_next(&rng) | 1);
        }
    }
    return pattern + (stamp * 37 + key * 1013) % PATTERN;
}

bool sim_same(sim_value a, sim_value b) {
    return a.size == b.size && (a.size >= SIM_UNREADABLE || a.stamp == b.stamp);
}

feox_status sim_look(stage *w, uint32_t key, sim_value *out) {
    fx_fetched got;
    uint64_t hash = fx_engine_hash(&w->engine, &key, sizeof key);
    *out = (sim_value){.size = SIM_ABSENT};
    feox_status status =
        fx_fetch(&w->engine, hash, &key, sizeof key, read_buffer, sizeof read_buffer, &got);
    if (status != FEOX_OK) {
        return status == FEOX_NOT_FOUND ? FEOX_OK : status;
    }
    const uint8_t *data = got.block != NULL ? got.block->data : read_buffer;
    size_t head = sizeof out->stamp;
    out->size = (uint32_t)got.value_len;
    assert_in_range(out->size, head, VALUE_MAX);
    memcpy(&out->stamp, data, head);
    const uint8_t *expected = pattern_of(key, out->stamp);
    assert_int_equal(memcmp(data + head, expected + head, out->size - head), 0);
    fx_block_release(got.block);
    return FEOX_OK;
}

fx_committed sim_write(stage *w, uint32_t key, sim_value v, sim_manner how, uint64_t expiry_ns) {
    uint8_t *buffer = write_buffers[w->now >= LATER];
    fx_committed committed = {0};
    fx_change change = {.key = (const uint8_t *)&key,
                        .key_len = sizeof key,
                        .hash = fx_engine_hash(&w->engine, &key, sizeof key),
                        .expiry_ns = expiry_ns,
                        .hidden = how != SIM_RELAXED,
                        .kept = how == SIM_KEPT_BACK};
    if (v.size != SIM_ABSENT) {
        memcpy(buffer, pattern_of(key, v.stamp), v.size);
        memcpy(buffer, &v.stamp, sizeof v.stamp);
        change.value = buffer;
        change.value_len = v.size;
        change.block = v.size > FX_INLINE_VALUE_MAX
                           ? fx_block_create(&w->engine.blocks, buffer, v.size)
                           : NULL;
    }
    feox_status status = stage_write(w, &change, &committed);
    if (status == FEOX_NOT_FOUND) {
        assert_true(v.size == SIM_ABSENT);
        committed.group = 0;
    } else {
        assert_int_equal(status, FEOX_OK);
        assert_true(committed.group > 0);
    }
    return committed;
}

stage sim_stage_after(sim_dev *dev) {
    return (stage){.door = sim_dev_door(dev), .now = LATER, .file = {.ring_blocks = RING_BLOCKS}};
}

void sim_stage_end(stage *w, sim_dev *dev) {
    sim_dev_set_hook(dev, NULL, NULL);
    sim_dev_kill(dev);
    (void)stage_close(w);
}

/* ---- Operations ---- */

static void note(sim_life *l, uint32_t key, sim_value v, uint64_t group) {
    assert_true(l->count < sizeof l->history / sizeof l->history[0]);
    assert_true(l->count == 0 || group >= l->history[l->count - 1].group);
    l->history[l->count++] = (sim_commit){.key = key, .now = v, .group = group};
}

/* All that was committed is durable. */
static void settled(sim_life *l) {
    l->acked = l->count > 0 ? l->history[l->count - 1].group : l->acked;
}

static void set(sim_life *l, uint32_t key, uint32_t size, sim_manner how, uint64_t expiry_ns) {
    sim_value v = {.size = size, .stamp = ++l->stamp};
    fx_committed committed = sim_write(&l->stage, key, v, how, expiry_ns);
    if (committed.group == 0) {
        return;
    }
    v.size = expiry_ns != 0 ? SIM_ABSENT : v.size;
    note(l, key, v, committed.group);
    if (how == SIM_SAFE) {
        uint64_t now = ++l->stage.now;
        assert_int_equal(fx_flusher_sync(l->stage.engine.flusher, committed.group, now), FEOX_OK);
        l->acked = committed.group > l->acked ? committed.group : l->acked;
    }
}

/* A key expires and is swept away; then it is quiet for so long that the background tidies up. */
static void expire(sim_life *l) {
    stage *w = &l->stage;
    set(l, 0, 60, SIM_RELAXED, w->now + MS);
    w->now += 2 * MS;
    uint64_t group = fx_flusher_open_group(w->engine.flusher);
    fx_sweeper_step(&w->engine, w->now);
    note(l, 0, (sim_value){.size = SIM_ABSENT}, group);
    for (unsigned i = 0; i < 2; i++) {
        w->now += (uint64_t)FX_SHRINK_PATIENCE_MS * MS + 1;
        fx_flusher_step(w->engine.flusher, w->now, FX_FLUSH_INTERVAL_MS);
    }
}

static void evict(sim_life *l) {
    sim_value v;
    (void)fx_evict_any(&l->stage.engine, 16);
    for (uint32_t key = 0; key < SIM_KEYS; key++) {
        assert_int_equal(sim_look(&l->stage, key, &v), FEOX_OK);
    }
}

static void reopen(sim_life *l) {
    assert_int_equal(stage_close(&l->stage), FEOX_OK);
    settled(l);
    assert_int_equal(stage_open(&l->stage, false), FEOX_OK);
}

static void perform(sim_life *l, form f) {
    stage *w = &l->stage;
    switch (f) {
    case PUT_A:
        set(l, 0, 40, SIM_RELAXED, 0);
        break;
    case PUT_B:
        set(l, 1, 120, SIM_RELAXED, 0);
        break;
    case PUT_A_BLOCK:
        set(l, 0, FX_INLINE_VALUE_MAX + 1, SIM_RELAXED, 0);
        break;
    case PUT_A_LARGE:
        set(l, 0, FX_LARGE_VALUE_MIN, SIM_RELAXED, 0);
        break;
    case PUT_B_LARGE:
        set(l, 1, FX_LARGE_VALUE_MIN + 5000, SIM_RELAXED, 0);
        break;
    case DELETE_A:
        set(l, 0, SIM_ABSENT, SIM_RELAXED, 0);
        break;
    case DELETE_B:
        set(l, 1, SIM_ABSENT, SIM_RELAXED, 0);
        break;
    case SAFE_PUT_A:
        set(l, 0, 50, SIM_SAFE, 0);
        break;
    case SAFE_PUT_B_LARGE:
        set(l, 1, FX_LARGE_VALUE_MIN + 100, SIM_SAFE, 0);
        break;
    case SAFE_DELETE_A:
        set(l, 0, SIM_ABSENT, SIM_SAFE, 0);
        break;
    case KEPT_PUT_A:
        set(l, 0, 70, SIM_KEPT_BACK, 0);
        break;
    case KEPT_PUT_B:
        set(l, 1, 90, SIM_KEPT_BACK, 0);
        break;
    case KEPT_DELETE_B:
        set(l, 1, SIM_ABSENT, SIM_KEPT_BACK, 0);
        break;
    case EXPIRE_A:
        expire(l);
        break;
    case SYNC:
        assert_int_equal(stage_sync(w), FEOX_OK);
        settled(l);
        break;
    case CHECKPOINT:
        assert_int_equal(stage_checkpoint(w, false), FEOX_OK);
        break;
    case COMPACT:
        assert_int_equal(fx_cleaner_compact(w->engine.flusher), FEOX_OK);
        settled(l);
        break;
    case EVICT:
        evict(l);
        break;
    case GROW:
        set(l, 1, 160u << 10, SIM_RELAXED, 0);
        break;
    case REOPEN:
        reopen(l);
        break;
    }
}

/* ---- The whole ---- */

typedef struct watch {
    sim_life *life;
    void (*crash)(sim_life *l);
} watch;

static void may_crash(void *context) {
    const watch *watching = context;
    sim_life *l = watching->life;
    if (l->stage.engine.flusher != NULL) {
        uint64_t durable = 0;
        (void)fx_flusher_durable(l->stage.engine.flusher, &durable);
        l->acked = durable > l->acked ? durable : l->acked;
    }
    watching->crash(l);
}

void sim_life_run(sim_life *l, sim_dev *dev, const sim_work *work, uint64_t seed,
                  void (*crash)(sim_life *l)) {
    watch watching = {.life = l, .crash = crash};
    *l = (sim_life){.dev = dev};
    sim_dev_reset(dev, seed);
    l->stage = (stage){
        .door = sim_dev_door(dev),
        .now = 1000,
        .file = {.ring_blocks = RING_BLOCKS, .file_size_initial = work->start->size},
    };
    sim_dev_set_hook(dev, may_crash, &watching);
    assert_int_equal(stage_open(&l->stage, false), FEOX_OK);
    l->opened = true;
    for (uint32_t i = 0; i < work->start->count; i++) {
        perform(l, work->start->forms[i]);
    }
    for (uint32_t i = 0; i < work->count; i++) {
        l->begun++;
        perform(l, work->forms[i]);
    }
    may_crash(&watching);
    sim_stage_end(&l->stage, dev);
}

bool sim_life_allows(const sim_life *l, const sim_outcome *found) {
    sim_value state[SIM_KEYS] = {{.size = SIM_ABSENT}, {.size = SIM_ABSENT}};
    bool seen[SIM_KEYS] = {false, false};
    if (found->unopened) { /* whose only superblock was trashed is nobody's file yet */
        return !l->opened;
    }
    for (uint32_t i = 0;; i++) {
        bool border = i == 0 || i == l->count || l->history[i].group != l->history[i - 1].group;
        bool enough = i == l->count || l->history[i].group > l->acked;
        bool both = true;
        for (uint32_t key = 0; key < SIM_KEYS && border && enough; key++) {
            bool here = sim_same(found->keys[key], state[key]);
            seen[key] = seen[key] || here || found->keys[key].size == SIM_UNREADABLE;
            both = both && here;
        }
        if (border && enough && both && !found->refused) {
            return true;
        }
        if (i == l->count) {
            return found->refused && seen[0] && seen[1];
        }
        state[l->history[i].key] = l->history[i].now;
    }
}

void sim_life_print(const sim_life *l, const sim_outcome *found) {
    for (uint32_t key = 0; key < SIM_KEYS; key++) {
        print_message("found: key %u, size %d, stamp %u\n", key, (int)found->keys[key].size,
                      found->keys[key].stamp);
    }
    for (uint32_t i = 0; i < l->count; i++) {
        const sim_commit *c = &l->history[i];
        print_message("commit: key %u, size %d, stamp %u, group %llu%s\n", c->key, (int)c->now.size,
                      c->now.stamp, (unsigned long long)c->group,
                      c->group <= l->acked ? ", durable" : "");
    }
}
