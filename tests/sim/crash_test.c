/* One short life of a store, over a device in memory, ended at every single operation of the device
 * by a power cut or a failure, and again while it recovers; and its file with every bit that counts
 * flipped, blocks exchanged, and its end cut off. What is found afterwards is the state after some
 * group (D3), or, in a damaged file, right, absent or refused (D6), and never something else.
 * FEOX_LONG=1 tries more. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/check_disk.h"
#include "engine/commit.h"
#include "engine/cleaner.h"
#include "engine/evict.h"
#include "engine/fetch.h"
#include "engine/flusher.h"
#include "engine/volume.h"
#include "support/campaign.h"
#include "support/mem_dev.h"
#include "support/stage.h"

#define KEYS 24u
#define OPS_MAX 512u
#define ABSENT UINT32_MAX
#define VALUE_MAX (160u << 10)

typedef struct found {
    uint32_t size; /* ABSENT */
    uint64_t stamp;
} found;

typedef struct op {
    uint32_t key;
    found now;
    uint64_t group;
} op;

typedef struct life {
    mem_dev *dev;
    stage stage;
    uint64_t stamp;
    uint64_t versions[KEYS]; /* the highest ones that were given out */
    op history[OPS_MAX];
    size_t count;
    uint64_t acked;
    found state[KEYS];
} life;

static uint8_t value_buffer[VALUE_MAX];
static uint8_t read_buffer[VALUE_MAX];

static bool is_long(void) {
    return getenv("FEOX_LONG") != NULL;
}

static uint64_t seed_of(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 11;
    print_message("FEOX_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void value_bytes(uint32_t key, found what, uint8_t *out) {
    for (uint32_t i = 0; i < what.size; i++) {
        out[i] = (uint8_t)(what.stamp * 29 + key * 5 + i * 7 + (i >> 8));
    }
    memcpy(out, &what.stamp, sizeof what.stamp);
}

/* ---- Opening, changing ---- */

static feox_status life_open(life *l, bool read_only) {
    l->stage.door = mem_dev_door(l->dev);
    return stage_open(&l->stage, read_only);
}

static feox_status life_close(life *l) {
    return stage_close(&l->stage);
}

static life *life_create(uint64_t seed) {
    life *l = calloc(1, sizeof *l);
    l->dev = mem_dev_create(seed);
    l->stage.now = 1000;
    for (uint32_t k = 0; k < KEYS; k++) {
        l->state[k].size = ABSENT;
    }
    return l;
}

static void life_destroy(life *l) {
    mem_dev_destroy(l->dev);
    free(l);
}

/* ABSENT deletes. */
static feox_status life_set(life *l, uint32_t key, uint32_t size) {
    found next = {size, l->stamp + 1};
    uint64_t hash = fx_engine_hash(&l->stage.engine, &key, sizeof key);
    fx_change change = {.key = (const uint8_t *)&key, .key_len = sizeof key, .hash = hash};
    fx_committed committed = {0};
    feox_status status;
    if (size != ABSENT) {
        value_bytes(key, next, value_buffer);
        change.value = value_buffer;
        change.value_len = size;
        change.block = size > FX_INLINE_VALUE_MAX
                           ? fx_block_create(&l->stage.engine.blocks, value_buffer, size)
                           : NULL;
    }
    do {
        status =
            stage_write(&l->stage, &change, &committed); /* without memory as the store would: */
    } while (status == FEOX_ERR_MEMORY && fx_evict_any(&l->stage.engine, 16) > 0);
    if (status != FEOX_OK) {
        fx_block_release(change.block);
        return status == FEOX_NOT_FOUND ? FEOX_OK : status;
    }
    assert_true(l->count < OPS_MAX);
    assert_true(committed.version > l->versions[key]); /* rising, over every crash */
    l->versions[key] = committed.version;
    l->stamp++;
    l->history[l->count++] = (op){.key = key, .now = next, .group = committed.group};
    return FEOX_OK;
}

static feox_status life_sync(life *l) {
    feox_status status = stage_sync(&l->stage);
    if (status == FEOX_OK && l->count > 0) {
        l->acked = l->history[l->count - 1].group;
    }
    return status;
}

static feox_status life_compact(life *l) {
    feox_status status = fx_cleaner_compact(l->stage.engine.flusher);
    if (status == FEOX_OK && l->count > 0) { /* it flushes */
        l->acked = l->history[l->count - 1].group;
    }
    return status;
}

static feox_status life_make_run(life *l, uint64_t blocks) {
    fx_flusher_enter(l->stage.engine.flusher);
    feox_status status = fx_cleaner_make_run(l->stage.engine.flusher, blocks);
    fx_flusher_leave(l->stage.engine.flusher);
    return status == FEOX_ERR_SPACE ? FEOX_OK : status;
}

/* ---- What is there ---- */

/* A value that was never written as a whole fails the test. */
static feox_status life_look(life *l, uint32_t key, found *out) {
    fx_fetched got;
    uint64_t hash = fx_engine_hash(&l->stage.engine, &key, sizeof key);
    *out = (found){.size = ABSENT};
    feox_status status =
        fx_fetch(&l->stage.engine, hash, &key, sizeof key, read_buffer, sizeof read_buffer, &got);
    if (status != FEOX_OK) {
        return status == FEOX_NOT_FOUND ? FEOX_OK : status;
    }
    const uint8_t *data = got.block != NULL ? got.block->data : read_buffer;
    out->size = (uint32_t)got.value_len;
    assert_in_range(out->size, sizeof out->stamp, VALUE_MAX);
    memcpy(&out->stamp, data, sizeof out->stamp);
    value_bytes(key, *out, value_buffer);
    assert_memory_equal(data, value_buffer, out->size);
    fx_block_release(got.block);
    return FEOX_OK;
}

static bool same(found a, found b) {
    return a.size == b.size && (a.size == ABSENT || a.stamp == b.stamp);
}

static bool same_states(const found *a, const found *b) {
    for (uint32_t k = 0; k < KEYS; k++) {
        if (!same(a[k], b[k])) {
            return false;
        }
    }
    return true;
}

/* The state after some group that is not before the last acknowledged one; the history goes on
 * from there. */
static void expect_prefix(life *l) {
    found now[KEYS];
    for (uint32_t k = 0; k < KEYS; k++) {
        assert_int_equal(life_look(l, k, &now[k]), FEOX_OK);
    }
    for (size_t i = 0;; i++) {
        bool border = i == 0 || i == l->count || l->history[i].group != l->history[i - 1].group;
        bool enough = i == l->count || l->history[i].group > l->acked;
        if (border && enough && same_states(now, l->state)) {
            break;
        }
        assert_true(i < l->count);
        l->state[l->history[i].key] = l->history[i].now;
    }
    l->count = 0;
    l->acked = 0;
}

static void expect_sound(life *l) {
    stage_expect_sound(&l->stage);
    assert_int_equal(stage_damage(&l->stage), 0);
}

/* ---- The life ---- */

#define STEP(what)                                                                                 \
    do {                                                                                           \
        feox_status step_status = (what);                                                          \
        if (step_status != FEOX_OK) {                                                              \
            return step_status;                                                                    \
        }                                                                                          \
    } while (0)

/* Keys from..to-1, then a flush. */
static feox_status set_some(life *l, uint32_t from, uint32_t to, uint32_t size) {
    for (uint32_t k = from; k < to; k++) {
        STEP(life_set(l, k, size == ABSENT ? ABSENT : size + k));
    }
    return life_sync(l);
}

/* Space: holes of all sizes, and what lies behind them moves into them, large values too; a run is
 * made for one that fits no hole; the file is cut, and grows again. */
static feox_status life_space(life *l) {
    STEP(set_some(l, 0, 9, 200));
    STEP(set_some(l, 9, 12, 70u << 10));
    STEP(set_some(l, 12, 14, 120u << 10));
    STEP(set_some(l, 14, 18, 30000));
    STEP(set_some(l, 18, 23, 66u << 10));
    STEP(set_some(l, 9, 11, ABSENT));
    STEP(set_some(l, 14, 16, ABSENT));
    STEP(life_set(l, 13, 50));
    STEP(life_compact(l));
    STEP(set_some(l, 9, 11, 65u << 10));
    STEP(life_set(l, 12, 40)); /* waits while the next one moves things */
    STEP(life_make_run(l, 90));
    STEP(set_some(l, 9, 23, ABSENT));
    STEP(life_set(l, 16, 100u << 10));
    STEP(life_compact(l));
    return set_some(l, 3, 5, 90);
}

/* Everything that touches the file: small and packed groups, large values, deletes, versions that
 * follow each other within a group and over groups, growth, checkpoints with and without moving,
 * shrinking, and groups after each. */
static feox_status life_work(life *l) {
    STEP(set_some(l, 0, 4, 40));
    STEP(set_some(l, 2, 6, 300));
    STEP(life_set(l, 0, ABSENT));
    STEP(life_set(l, 1, ABSENT));
    STEP(set_some(l, 1, 2, 50));
    STEP(set_some(l, 4, 20, 3000));
    STEP(set_some(l, 20, 23, FX_LARGE_VALUE_MIN));
    STEP(stage_checkpoint(&l->stage, false));
    STEP(set_some(l, 3, 5, ABSENT));
    STEP(life_set(l, 6, 20));
    STEP(stage_checkpoint(&l->stage, true)); /* with a commit that waits */
    STEP(set_some(l, 6, 18, ABSENT));
    STEP(stage_checkpoint(&l->stage, true));
    STEP(set_some(l, 3, 5, 60));
    STEP(set_some(l, 4, 23, 80u << 10)); /* grows */
    STEP(set_some(l, 8, 23, 90u << 10));
    STEP(stage_checkpoint(&l->stage, false));
    STEP(set_some(l, 2, 23, ABSENT));
    STEP(stage_checkpoint(&l->stage, true));
    STEP(set_some(l, 0, 9, 200));
    return set_some(l, 3, 5, ABSENT);
}

typedef feox_status (*work)(life *l);

static feox_status life_whole(life *l, work do_it) {
    STEP(life_open(l, false));
    return do_it(l);
}

/* What was recovered is right, and goes on. */
static void expect_recovered(life *l) {
    assert_int_equal(life_open(l, false), FEOX_OK);
    expect_prefix(l);
    expect_sound(l);
    if (l->stage.memory_limit != 0) { /* recovery filled what there is; the store would make room */
        (void)fx_evict_any(&l->stage.engine, KEYS);
    }
    assert_int_equal(life_set(l, KEYS - 1, 100), FEOX_OK);
    assert_int_equal(life_sync(l), FEOX_OK);
    assert_int_equal(life_close(l), FEOX_OK);
    l->dev = mem_dev_crash(l->dev);
    assert_int_equal(life_open(l, false), FEOX_OK);
    expect_prefix(l);
    assert_int_equal(life_close(l), FEOX_OK);
}

/* The power fails at operation n, and at operation m of the recovery (0: not). False: there is no
 * operation n; *second_out: there was an operation m. */
static bool cut_at(work do_it, uint64_t seed, uint64_t n, uint64_t m, bool *second_out) {
    life *l = life_create(seed * 1000003 + n * 1009 + m);
    mem_dev_cut_after(l->dev, n);
    (void)life_whole(l, do_it);
    (void)life_close(l);
    l->stage.memory_limit = n % 3 == 0 ? 200u << 10 : 0; /* large values stay on disk */
    bool was_cut = mem_dev_is_cut(l->dev);
    l->dev = mem_dev_crash(l->dev);
    *second_out = false;
    if (m > 0) {
        mem_dev_cut_after(l->dev, m);
        if (life_open(l, false) == FEOX_OK && !mem_dev_is_cut(l->dev)) {
            expect_prefix(l);
            (void)life_set(l, 0, 500); /* and lost */
        }
        *second_out = mem_dev_is_cut(l->dev);
        if (!*second_out) {
            mem_dev_cut_after(l->dev, 1);
        }
        (void)life_close(l);
        l->dev = mem_dev_crash(l->dev);
    }
    expect_recovered(l);
    life_destroy(l);
    return was_cut;
}

static void cut_everywhere(work do_it) {
    uint64_t seed = seed_of();
    unsigned cases = 0;
    bool second;
    for (uint64_t n = 1; cut_at(do_it, seed, n, 0, &second); n++) {
        cases++;
        uint64_t m = is_long() ? 1 : 1 + n % 5;
        uint64_t last = is_long() ? 6 : n % 2 == 0 ? m : 0;
        for (; m <= last; m++) {
            (void)cut_at(do_it, seed, n, m, &second);
            cases++;
        }
    }
    print_message("%u power cuts\n", cases);
    assert_true(cases > 100);
}

static void test_power_cuts(void **state) {
    (void)state;
    cut_everywhere(life_work);
}

static void test_power_cuts_in_compaction(void **state) {
    (void)state;
    cut_everywhere(life_space);
}

/* Operation n fails, and the device is dead from then on, or works again and is not believed. */
static void fail_everywhere(work do_it, bool once, campaign *c) {
    uint64_t seed = seed_of();
    uint64_t stride = once && !is_long() ? 4 : 1;
    for (uint64_t n = 1;; n += stride) {
        life *l = life_create(seed + n);
        (once ? mem_dev_fail_once : mem_dev_fail_after)(l->dev, n, EIO);
        c->cases++;
        feox_status status = life_whole(l, do_it);
        if (status == FEOX_OK) {
            assert_true(n > 50);
            (void)life_close(l);
            life_destroy(l);
            break;
        }
        c->faults++;
        assert_int_equal(status, FEOX_ERR_IO);
        if (l->stage.engine.flusher != NULL) {
            found f;
            assert_int_equal(fx_flusher_status(l->stage.engine.flusher), FEOX_ERR_IO);
            assert_int_equal(life_sync(l), FEOX_ERR_IO);
            assert_int_equal(stage_checkpoint(&l->stage, true), FEOX_ERR_IO);
            for (uint32_t k = 0; k < KEYS; k++) {
                assert_int_equal(life_look(l, k, &f), FEOX_OK);
            }
            assert_int_equal(life_close(l), FEOX_ERR_IO);
        } else {
            (void)life_close(l);
        }
        l->dev = mem_dev_crash(l->dev);
        expect_recovered(l);
        life_destroy(l);
    }
}

static void test_failures(void **state) {
    (void)state;
    campaign c;
    campaign_begin(&c, "C4 operations that fail, simulated device");
    for (unsigned once = 0; once < 2; once++) {
        fail_everywhere(life_work, once != 0, &c);
        fail_everywhere(life_space, once != 0, &c);
    }
    campaign_end(&c);
}

/* A file that is much too long, with something at its end. */
static life *long_specimen(uint64_t seed) {
    life *l = life_create(seed);
    assert_int_equal(life_open(l, false), FEOX_OK);
    for (unsigned round = 0; round < 5; round++) {
        assert_int_equal(set_some(l, 0, 20, VALUE_MAX - KEYS), FEOX_OK);
    }
    assert_int_equal(set_some(l, 20, 22, 100u << 10), FEOX_OK);
    assert_int_equal(set_some(l, 22, 23, 5000), FEOX_OK);
    assert_int_equal(set_some(l, 0, 19, ABSENT), FEOX_OK);
    return l;
}

/* Time passes: the end is emptied, and cut off. */
static feox_status shorten(life *l) {
    for (unsigned i = 0; i < 6; i++) {
        l->stage.now += (uint64_t)FX_SHRINK_PATIENCE_MS * 600000u;
        fx_flusher_step(l->stage.engine.flusher, l->stage.now, 100);
        STEP(fx_flusher_status(l->stage.engine.flusher));
    }
    return set_some(l, 1, 3, 70);
}

static void test_shortening(void **state) {
    (void)state;
    uint64_t seed = seed_of();
    unsigned cases = 0;
    for (uint64_t n = 1;; n++) {
        life *l = long_specimen(seed + n);
        size_t before = mem_dev_size(l->dev);
        mem_dev_cut_after(l->dev, n);
        feox_status status = shorten(l);
        bool was_cut = mem_dev_is_cut(l->dev);
        if (!was_cut) {
            assert_int_equal(status, FEOX_OK);
            assert_true(mem_dev_size(l->dev) < before / 4 * 3);
            expect_sound(l);
        }
        (void)life_close(l);
        l->dev = mem_dev_crash(l->dev);
        expect_recovered(l);
        life_destroy(l);
        cases++;
        if (!was_cut) {
            break;
        }
    }
    print_message("%u power cuts\n", cases);
    assert_true(cases > 8);
}

/* ---- Damaged files ---- */

/* A store at rest: a checkpoint, and three groups in the ring if `with_groups`. */
static life *specimen(bool with_groups) {
    life *l = life_create(5);
    assert_int_equal(life_open(l, false), FEOX_OK);
    assert_int_equal(set_some(l, 0, 6, 40), FEOX_OK);
    assert_int_equal(set_some(l, 6, 16, 2500), FEOX_OK);
    assert_int_equal(set_some(l, 16, 18, FX_LARGE_VALUE_MIN), FEOX_OK);
    assert_int_equal(set_some(l, 4, 8, ABSENT), FEOX_OK);
    assert_int_equal(stage_checkpoint(&l->stage, true), FEOX_OK);
    if (with_groups) {
        assert_int_equal(set_some(l, 1, 3, 70), FEOX_OK);
        assert_int_equal(set_some(l, 8, 9, ABSENT), FEOX_OK);
        assert_int_equal(set_some(l, 3, 4, 80), FEOX_OK);
        mem_dev *copy = mem_dev_create_from(mem_dev_bytes(l->dev), mem_dev_size(l->dev), 6);
        assert_int_equal(life_close(l), FEOX_OK);
        mem_dev_destroy(l->dev);
        l->dev = copy;
    } else {
        assert_int_equal(life_close(l), FEOX_OK);
    }
    for (size_t i = 0; i < l->count; i++) {
        l->state[l->history[i].key] = l->history[i].now;
    }
    return l;
}

/* Opens it for reading: right, or missing and said so, or refused; and nothing is written. Without
 * `strict` an older value is right, too. Returns what opening it said. */
static feox_status expect_honest(life *l, bool strict) {
    uint64_t before = mem_dev_operations(l->dev);
    unsigned missing = 0;
    feox_status status = life_open(l, true);
    if (status == FEOX_OK) {
        for (uint32_t k = 0; k < KEYS; k++) {
            found f;
            feox_status seen = life_look(l, k, &f);
            assert_true(seen == FEOX_OK || seen == FEOX_ERR_CORRUPT);
            missing += seen != FEOX_OK || !same(f, l->state[k]);
            assert_true(!strict || seen != FEOX_OK || f.size == ABSENT || same(f, l->state[k]));
        }
        assert_true(!strict || missing == 0 || stage_damage(&l->stage) > 0);
        fx_check_sink sink = {.found = NULL};
        assert_int_equal(fx_check_disk(l->stage.engine.flusher, false, &sink), FEOX_OK);
        assert_true(missing == 0 || !strict || sink.report.problems > 0 ||
                    stage_damage(&l->stage) > 0);
    } else {
        assert_true(status == FEOX_ERR_CORRUPT || status == FEOX_ERR_NOT_FEOX ||
                    status == FEOX_ERR_NEWER);
    }
    (void)life_close(l);
    assert_int_equal(mem_dev_operations(l->dev), before);
    return status;
}

static unsigned flip_range(life *l, uint64_t from, uint64_t length, uint64_t step, bool strict,
                           feox_status wanted) {
    unsigned cases = 0;
    for (uint64_t bit = 0; bit < length * 8; bit += step, cases++) {
        uint8_t *byte = mem_dev_bytes(l->dev) + from + bit / 8;
        *byte ^= (uint8_t)(1u << bit % 8);
        feox_status status = expect_honest(l, strict);
        *byte ^= (uint8_t)(1u << bit % 8);
        if (wanted != FEOX_NOT_FOUND) {
            assert_int_equal(status, wanted);
        }
    }
    return cases;
}

static void test_flips(void **state) {
    (void)state;
    life *l = specimen(false);
    uint64_t step = is_long() ? 1 : 13;
    assert_int_equal(life_open(l, true), FEOX_OK);
    const fx_superblock root = l->stage.engine.flusher->root;
    const fx_segments *segments = &l->stage.engine.flusher->segments;
    uint64_t position = segments->items[0]->position;
    (void)life_close(l);
    /* One copy of the superblock is enough. */
    unsigned cases = flip_range(l, 0, 160, step, true, FEOX_OK);
    cases += flip_range(l, FX_BLOCK_SIZE, 160, step, true, FEOX_OK);
    /* And one of the checkpoint. */
    cases += flip_range(l, root.checkpoint.block * FX_BLOCK_SIZE, root.checkpoint_length, step,
                        true, FEOX_OK);
    cases +=
        flip_range(l, root.mirror * FX_BLOCK_SIZE, root.checkpoint_length, step, true, FEOX_OK);
    cases += flip_range(l, position, 256, step, true, FEOX_OK);
    life_destroy(l);
    l = specimen(true);
    assert_int_equal(life_open(l, true), FEOX_OK);
    const fx_superblock later = l->stage.engine.flusher->root;
    (void)life_close(l);
    uint64_t ring = (later.journal.block + later.journal_head) * FX_BLOCK_SIZE;
    cases += flip_range(l, ring, 512, step, false, FEOX_OK);
    cases += flip_range(l, ring + FX_BLOCK_SIZE, 512, step, false, FEOX_OK);
    cases += flip_range(l, ring + 2 * FX_BLOCK_SIZE, 512, step, false, FEOX_OK);
    print_message("%u flips\n", cases);
    life_destroy(l);
}

/* Two blocks in each other's place; and the file's end cut off. */
static void test_swaps_and_cuts(void **state) {
    (void)state;
    fx_rng rng;
    uint64_t used[64];
    size_t count = 0;
    unsigned cases = 0;
    life *l = specimen(true);
    fx_rng_init(&rng, seed_of());
    for (uint64_t b = 0; b < mem_dev_size(l->dev) / FX_BLOCK_SIZE && count < 64; b++) {
        const uint8_t *bytes = mem_dev_bytes(l->dev) + b * FX_BLOCK_SIZE;
        if (bytes[0] != 0 || memcmp(bytes, bytes + 1, FX_BLOCK_SIZE - 1) != 0) {
            used[count++] = b;
        }
    }
    assert_true(count > 6);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            if (!is_long() && i > 4 && fx_rng_below(&rng, 12) != 0) {
                continue;
            }
            uint8_t *a = mem_dev_bytes(l->dev) + used[i] * FX_BLOCK_SIZE;
            uint8_t *b = mem_dev_bytes(l->dev) + used[j] * FX_BLOCK_SIZE;
            for (unsigned twice = 0; twice < 2; twice++) {
                memcpy(value_buffer, a, FX_BLOCK_SIZE);
                memmove(a, b, FX_BLOCK_SIZE);
                memcpy(b, value_buffer, FX_BLOCK_SIZE);
                if (twice == 0) {
                    (void)expect_honest(l, false);
                }
            }
            cases++;
        }
    }
    mem_dev *whole = l->dev;
    uint64_t step = is_long() ? FX_BLOCK_SIZE / 4 : 41 * FX_BLOCK_SIZE + 512;
    for (uint64_t size = 0; size < mem_dev_size(whole); size += step, cases++) {
        l->dev = mem_dev_create_from(mem_dev_bytes(whole), size, 1);
        if (size > 0) {
            (void)expect_honest(l, false);
        }
        mem_dev_destroy(l->dev);
    }
    l->dev = whole;
    print_message("%u exchanges and cuts\n", cases);
    life_destroy(l);
}

/* A block that cannot be read now may be readable later: whoever may write does not open the file,
 * for it would give away what it could not see. Reading only goes on without it. */
static void test_unreadable(void **state) {
    (void)state;
    life *l = specimen(true);
    for (uint64_t block = 0; block < mem_dev_size(l->dev) / FX_BLOCK_SIZE; block++) {
        const uint8_t *bytes = mem_dev_bytes(l->dev) + block * FX_BLOCK_SIZE;
        if (bytes[0] == 0 && memcmp(bytes, bytes + 1, FX_BLOCK_SIZE - 1) == 0) {
            continue;
        }
        mem_dev *whole = l->dev;
        l->dev = mem_dev_create_from(mem_dev_bytes(whole), mem_dev_size(whole), 1);
        mem_dev_fail_reads(l->dev, block * FX_BLOCK_SIZE, FX_BLOCK_SIZE);
        feox_status status = life_open(l, true);
        assert_true(status == FEOX_OK || status == FEOX_ERR_CORRUPT || status == FEOX_ERR_IO);
        (void)life_close(l);
        status = life_open(l, false);
        (void)life_close(l);
        mem_dev_fail_reads(l->dev, 0, 0);
        assert_int_equal(life_open(l, false), FEOX_OK);
        for (uint32_t k = 0; k < KEYS; k++) {
            found f;
            assert_int_equal(life_look(l, k, &f), FEOX_OK);
            assert_true(same(f, l->state[k]));
        }
        (void)life_close(l);
        mem_dev_destroy(l->dev);
        l->dev = whole;
    }
    life_destroy(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cuts), cmocka_unit_test(test_power_cuts_in_compaction),
        cmocka_unit_test(test_failures),   cmocka_unit_test(test_shortening),
        cmocka_unit_test(test_flips),      cmocka_unit_test(test_swaps_and_cuts),
        cmocka_unit_test(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
