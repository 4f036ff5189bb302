/* Durable writes between commit and group, step by step: nobody sees one before its group is on
 * stable storage, and what anyone saw no crash takes back; those that nobody waits for build on
 * each other, also while their group is being written or had to be put back. Lack of memory at
 * every point: it is retried, or the store becomes read-only, and nothing is lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/check.h"
#include "engine/check_disk.h"
#include "engine/commit.h"
#include "engine/fetch.h"
#include "engine/flusher.h"
#include "engine/group.h"
#include "engine/order.h"
#include "engine/sweeper.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

enum { KEYS = 10, OPS_MAX = 20000, ABSENT = 0 };

/* One key: its states in commit order; a state is the number of the write, or ABSENT. */
typedef struct past {
    uint32_t count;
    uint32_t safe; /* no crash may go back behind this one */
    uint32_t states[OPS_MAX];
} past;

typedef struct world {
    mem_dev *dev;
    stage stage;
    fx_rng rng;
    bool inside; /* a hook runs */
    uint32_t number;
    uint32_t shown; /* how often the hook looked at a hidden write */
    past keys[KEYS];
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

static feox_status world_open(world *w) {
    w->stage.door = mem_dev_door(w->dev);
    w->stage.ordered = true;
    return stage_open(&w->stage, false);
}

static feox_status world_close(world *w) {
    mem_dev_set_hook(w->dev, NULL, NULL);
    return stage_close(&w->stage);
}

static world *world_create(uint64_t seed) {
    world *w = calloc(1, sizeof *w);
    fx_rng_init(&w->rng, seed);
    w->dev = mem_dev_create(fx_rng_next(&w->rng));
    w->stage.now = 1000;
    for (uint32_t key = 0; key < KEYS; key++) {
        w->keys[key].count = 1;
    }
    assert_int_equal(world_open(w), FEOX_OK);
    return w;
}

static void world_destroy(world *w) {
    mem_dev_destroy(w->dev);
    free(w);
}

/* ---- Writing ---- */

static uint32_t size_of(uint32_t number) {
    return number % 11 == 0   ? 3000
           : number % 37 == 0 ? FX_LARGE_VALUE_MIN + number % 5000
                              : 8 + number % 50;
}

static fx_change change_of(world *w, const uint32_t *key, uint32_t number) {
    static uint8_t value[FX_LARGE_VALUE_MIN + 5000];
    fx_change change = {.key = (const uint8_t *)key,
                        .key_len = sizeof *key,
                        .hash = fx_engine_hash(&w->stage.engine, key, sizeof *key),
                        .value = value,
                        .value_len = size_of(number),
                        .hidden = true,
                        .kept = true};
    memset(value, (int)(number & 0xff), change.value_len);
    memcpy(value, &number, sizeof number);
    change.block = change.value_len > FX_INLINE_VALUE_MAX
                       ? fx_block_create(&w->stage.engine.blocks, value, (size_t)change.value_len)
                       : NULL;
    return change;
}

/* Once, as store/write.c does it. */
static feox_status try_write(world *w, fx_change *change, bool deletes, fx_committed *committed) {
    fx_shard *shard = fx_engine_shard(&w->stage.engine, change->hash);
    fx_spinlock_lock(&shard->lock);
    const fx_hidden *before =
        fx_commit_hidden_locked(shard, change->hash, change->key, change->key_len);
    fx_record *old = fx_commit_any_locked(shard, change->hash, change->key, change->key_len);
    if (before != NULL && before->kept) {
        old = before->deletes ? NULL : before->record;
    }
    feox_status status =
        !deletes      ? fx_commit_put_locked(shard, old, change, ++w->stage.now, committed)
        : old == NULL ? FEOX_NOT_FOUND
                      : fx_commit_hide_delete_locked(shard, old, change->hash, 0, change->kept,
                                                     ++w->stage.now, committed);
    fx_spinlock_unlock(&shard->lock);
    return status;
}

static feox_status relieve(world *w, const fx_change *change) {
    return fx_commit_relieve(fx_engine_shard(&w->stage.engine, change->hash), change->key_len,
                             change->value_len, false);
}

/* A write that nobody waits for. Inside a hook there may be no room, and nobody may be waited for.
 */
static void write_kept(world *w, uint32_t key, bool deletes) {
    past *p = &w->keys[key];
    uint32_t number = ++w->number;
    fx_committed committed = {0};
    fx_change change = change_of(w, &key, number);
    feox_status status = try_write(w, &change, deletes, &committed);
    while (status == FEOX_END && !w->inside) {
        fx_block_release(change.block);
        assert_int_equal(relieve(w, &change), FEOX_OK);
        change = change_of(w, &key, number); /* a hook has used the buffer */
        status = try_write(w, &change, deletes, &committed);
    }
    if (status != FEOX_OK || deletes) {
        fx_block_release(change.block);
    }
    assert_true(status == FEOX_OK || status == FEOX_NOT_FOUND || (status == FEOX_END && w->inside));
    assert_true((status == FEOX_NOT_FOUND) ==
                (deletes && p->states[p->count - 1] == ABSENT && status != FEOX_END));
    if (status == FEOX_OK) {
        assert_true(p->count < OPS_MAX);
        p->states[p->count++] = deletes ? ABSENT : number;
    }
}

/* ---- Looking ---- */

/* The number that the key holds, ABSENT if none. */
static uint32_t look(world *w, uint32_t key) {
    static uint8_t buffer[FX_LARGE_VALUE_MIN + 5000];
    fx_fetched got;
    uint32_t number = ABSENT;
    feox_status status =
        fx_fetch(&w->stage.engine, fx_engine_hash(&w->stage.engine, &key, sizeof key), &key,
                 sizeof key, buffer, sizeof buffer, &got);
    assert_true(status == FEOX_OK || status == FEOX_NOT_FOUND);
    if (status == FEOX_OK) {
        const uint8_t *data = got.block != NULL ? got.block->data : buffer;
        memcpy(&number, data, sizeof number);
        assert_int_equal(got.value_len, size_of(number));
        assert_int_equal(data[got.value_len - 1], number & 0xff);
        fx_block_release(got.block);
    }
    return number;
}

/* What is seen is one of the key's states, not before the safe one. Where it is that one. */
static uint32_t expect_state(world *w, uint32_t key) {
    const past *p = &w->keys[key];
    uint32_t number = look(w, key);
    uint32_t at = p->safe;
    while (at < p->count && p->states[at] != number) {
        at++;
    }
    assert_true(at < p->count);
    return at;
}

/* Whatever is seen now is safe. */
static void note_seen(world *w) {
    for (uint32_t key = 0; key < KEYS; key++) {
        w->keys[key].safe = expect_state(w, key);
    }
}

static void expect_newest(world *w) {
    for (uint32_t key = 0; key < KEYS; key++) {
        past *p = &w->keys[key];
        assert_int_equal(look(w, key), p->states[p->count - 1]);
        p->safe = p->count - 1;
    }
}

/* The power fails; what was seen is there, what was not may be, and history goes on from there. */
static void crash(world *w) {
    note_seen(w);
    mem_dev_set_hook(w->dev, NULL, NULL);
    mem_dev_cut_after(w->dev, 1);
    (void)world_close(w);
    w->dev = mem_dev_crash(w->dev);
    assert_int_equal(world_open(w), FEOX_OK);
    for (uint32_t key = 0; key < KEYS; key++) {
        past *p = &w->keys[key];
        p->safe = expect_state(w, key);
        p->count = p->safe + 1;
    }
}

/* While the device writes: nothing of the group in flight is seen, and others write on. */
static void meanwhile(void *context) {
    world *w = context;
    w->inside = true;
    note_seen(w);
    for (uint64_t i = fx_rng_below(&w->rng, 4); i > 0; i--) {
        write_kept(w, (uint32_t)fx_rng_below(&w->rng, KEYS), fx_rng_below(&w->rng, 4) == 0);
    }
    w->inside = false;
}

/* ---- Tests ---- */

/* What a hook sees of key 0, which is being written for the first time. */
static void look_at_first(void *context) {
    world *w = context;
    assert_int_equal(look(w, 0), ABSENT);
    w->shown++;
}

static void test_hidden_until_durable(void **state) {
    (void)state;
    world *w = world_create(1);
    uint64_t group = fx_flusher_open_group(w->stage.engine.flusher);
    uint64_t durable = 0;
    assert_false(fx_flusher_knows(w->stage.engine.flusher, group));
    write_kept(w, 0, false);
    assert_true(fx_flusher_knows(w->stage.engine.flusher, group));
    assert_false(fx_flusher_knows(w->stage.engine.flusher, group + 1));
    assert_int_equal(look(w, 0), ABSENT);
    mem_dev_set_hook(w->dev, look_at_first, w);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    assert_true(w->shown > 0);
    assert_int_equal(fx_flusher_durable(w->stage.engine.flusher, &durable), FEOX_OK);
    assert_true(durable >= group);
    expect_newest(w);
    stage_expect_sound(&w->stage);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* expiry_ns: 0, or a time to live that each of them has until then. */
static void hide_keys(world *w, uint32_t from, uint32_t count, uint64_t expiry_ns) {
    for (uint32_t key = from; key < from + count; key++) {
        fx_committed committed = {0};
        fx_change change = change_of(w, &key, 2);
        change.expiry_ns = expiry_ns;
        feox_status status;
        while ((status = try_write(w, &change, false, &committed)) == FEOX_END) {
            assert_int_equal(relieve(w, &change), FEOX_OK);
        }
        assert_int_equal(status, FEOX_OK);
    }
}

/* Tidying up between commit and group leaves the room that showing the write needs. */
static void test_tidy_meanwhile(void **state) {
    (void)state;
    uint64_t waiting = 0;
    world *w = world_create(1);
    for (unsigned round = 0; round < 3; round++) { /* from the second on they replace others */
        hide_keys(w, 0, 500, 0);
        (void)fx_sweeper_tidy(&w->stage.engine, &waiting);
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
        (void)fx_sweeper_tidy(&w->stage.engine, &waiting);
    }
    assert_int_equal(fx_engine_count(&w->stage.engine), 500);
    stage_expect_sound(&w->stage);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* Many more writes of one key than could be hidden, in one group: one is. */
static void test_one_per_group(void **state) {
    (void)state;
    world *w = world_create(1);
    for (unsigned i = 0; i < 3 * FX_PENDING_MAX; i++) {
        write_kept(w, 0, i % 100 == 99);
    }
    uint32_t hidden =
        w->stage.engine.shards[0].hidden_count + w->stage.engine.shards[1].hidden_count;
    assert_int_equal(hidden, 1);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    expect_newest(w);
    stage_expect_sound(&w->stage);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* More keys than may be hidden at once: who writes on makes the group durable. */
static void test_back_pressure(void **state) {
    (void)state;
    world *w = world_create(1);
    for (uint32_t key = 0; key < 5 * FX_PENDING_MAX; key++) {
        uint32_t number = ++w->number;
        fx_committed committed = {0};
        fx_change change = change_of(w, &key, number);
        fx_shard *shard = fx_engine_shard(&w->stage.engine, change.hash);
        feox_status status;
        unsigned tries = 0;
        while ((status = try_write(w, &change, false, &committed)) == FEOX_END) {
            assert_true(++tries < 10);
            assert_int_equal(relieve(w, &change), FEOX_OK);
        }
        assert_int_equal(status, FEOX_OK);
        assert_true(shard->hidden_count + shard->pending_count <= FX_PENDING_MAX);
    }
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    assert_int_equal(fx_engine_count(&w->stage.engine), 5 * FX_PENDING_MAX);
    stage_expect_sound(&w->stage);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* A write that somebody waits for is not built upon, nor does it build. */
static void test_awaited_writes_stand_alone(void **state) {
    (void)state;
    world *w = world_create(1);
    uint32_t key = 0;
    for (unsigned i = 0; i < 4; i++) {
        bool first_kept = i % 2 == 0;
        bool deletes = i >= 2 && look(w, key) != ABSENT;
        fx_committed committed = {0};
        fx_change change = change_of(w, &key, 2);
        assert_int_equal(relieve(w, &change), FEOX_OK); /* a new file has no room for puts yet */
        change.kept = first_kept;
        assert_int_equal(try_write(w, &change, false, &committed), FEOX_OK);
        uint64_t group = committed.group;
        change = change_of(w, &key, 3);
        change.kept = !first_kept;
        fx_shard *shard = fx_engine_shard(&w->stage.engine, change.hash);
        assert_int_equal(try_write(w, &change, deletes, &committed), FEOX_ERR_BUSY);
        assert_int_equal(committed.group, group);
        change.hidden = change.kept = false;
        assert_int_equal(try_write(w, &change, false, &committed), FEOX_ERR_BUSY);
        assert_int_equal(shard->hidden_count, 1);
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        assert_int_equal(look(w, key), 2);
    }
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* A write that is taken back, for want of room, leaves everything as it was: in memory,
 * on disk when later groups are durable, and in the file that is opened again. */
static void test_taken_back(void **state) {
    (void)state;
    world *w = world_create(1);
    for (uint32_t key = 0; key < 6; key++) { /* 4 and 5 are not there */
        fx_committed committed = {0};
        fx_change change = change_of(w, &key, key == 3 ? 37 : key + 1);
        assert_int_equal(relieve(w, &change), FEOX_OK);
        if (key < 4) {
            assert_int_equal(try_write(w, &change, false, &committed), FEOX_OK);
        }
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    }
    for (uint32_t key = 0; key < 6; key++) {
        fx_committed committed = {0};
        fx_change change = change_of(w, &key, key % 2 == 0 ? 100 : 74);
        change.kept = false;
        bool deletes = key == 1 || key == 3;
        assert_int_equal(try_write(w, &change, deletes, &committed), FEOX_OK);
        if (deletes) {
            fx_block_release(change.block);
        }
        fx_shard *shard = fx_engine_shard(&w->stage.engine, change.hash);
        fx_spinlock_lock(&shard->lock);
        assert_true(fx_commit_cancel_locked(shard, committed.version));
        assert_false(fx_commit_cancel_locked(shard, committed.version));
        assert_int_equal(shard->hidden_count, 0);
        fx_spinlock_unlock(&shard->lock);
        uint32_t other = 6 + key % 2;
        fx_change beside = change_of(w, &other, other);
        assert_int_equal(try_write(w, &beside, false, &committed), FEOX_OK);
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        stage_expect_sound(&w->stage);
    }
    for (unsigned i = 0; i < 3; i++) {
        for (uint32_t key = 0; key < 6; key++) {
            assert_int_equal(look(w, key), key >= 4 ? ABSENT : key == 3 ? 37 : key + 1);
        }
        stage_expect_sound(&w->stage);
        assert_int_equal(world_close(w), FEOX_OK);
        assert_int_equal(world_open(w), FEOX_OK);
    }
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* Nor does it leave its memory behind. */
static void test_taken_back_with_its_memory(void **state) {
    (void)state;
    world *w = world_create(1);
    uint64_t memory = 0;
    for (uint32_t i = 0; i < 50; i++) {
        uint32_t key = 0;
        fx_committed committed = {0};
        fx_change change = change_of(w, &key, 37);
        change.kept = false;
        assert_int_equal(relieve(w, &change), FEOX_OK);
        assert_int_equal(try_write(w, &change, false, &committed), FEOX_OK);
        fx_shard *shard = fx_engine_shard(&w->stage.engine, change.hash);
        fx_spinlock_lock(&shard->lock);
        assert_true(fx_commit_cancel_locked(shard, committed.version));
        fx_spinlock_unlock(&shard->lock);
        fx_block_pool_trim(&w->stage.engine.blocks, true);
        memory = i == 0 ? fx_engine_memory(&w->stage.engine) : memory;
        assert_true(fx_engine_memory(&w->stage.engine) < memory + FX_LARGE_VALUE_MIN);
    }
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* The clean place of a key and its version. */
static uint64_t place_of(world *w, uint32_t key, uint64_t *version_out) {
    uint64_t hash = fx_engine_hash(&w->stage.engine, &key, sizeof key);
    fx_shard *shard = fx_engine_shard(&w->stage.engine, hash);
    fx_spinlock_lock(&shard->lock);
    const fx_record *record = fx_commit_any_locked(shard, hash, &key, sizeof key);
    uint64_t place = fx_record_location(record);
    *version_out = fx_record_version(record);
    fx_spinlock_unlock(&shard->lock);
    return place;
}

/* A reader may come late to a place that is another key's by now, or another version's. */
static void test_another_place(void **state) {
    (void)state;
    world *w = world_create(1);
    fx_flusher *flusher = w->stage.engine.flusher;
    uint64_t places[4];
    uint64_t versions[4];
    for (uint32_t i = 0; i < 4; i++) { /* all of one size; the last one is the first key again */
        write_kept(w, i % 3, false);
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        places[i] = place_of(w, i % 3, &versions[i]);
    }
    for (uint32_t place = 0; place < 4; place++) {
        for (uint32_t key = 0; key < 3; key++) {
            for (uint32_t version = 0; version < 4; version++) {
                bool right = place % 3 == key && version == place;
                fx_block *block = NULL;
                const fx_record_view found = {.location = places[place],
                                              .version = versions[version],
                                              .value_len = size_of(w->number)};
                const fx_wanted wanted = {.key = &key, .key_len = sizeof key, .found = found};
                assert_int_equal(fx_reader_read(flusher, &wanted, &block),
                                 right ? FEOX_OK : FEOX_MISMATCH);
                assert_true(right == (block != NULL));
                fx_block_release(block);
            }
        }
    }
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* Taking a write back must not take along what was accepted before it: that goes first. */
static void test_awaited_over_dirty(void **state) {
    (void)state;
    world *w = world_create(1);
    uint32_t key = 0;
    fx_committed committed = {0};
    fx_change change = change_of(w, &key, 1);
    assert_int_equal(relieve(w, &change), FEOX_OK);
    change.hidden = change.kept = false;
    assert_int_equal(try_write(w, &change, false, &committed), FEOX_OK);
    uint64_t group = committed.group;
    change = change_of(w, &key, 2);
    change.kept = false;
    assert_int_equal(try_write(w, &change, false, &committed), FEOX_ERR_BUSY);
    assert_int_equal(committed.group, group);
    assert_int_equal(try_write(w, &change, true, &committed), FEOX_ERR_BUSY);
    assert_int_equal(committed.group, group);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    assert_int_equal(try_write(w, &change, false, &committed), FEOX_OK);
    assert_int_equal(look(w, key), 1);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    assert_int_equal(look(w, key), 2);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* Keys of one hash, which nobody can find in practice, are not one key while they are hidden. */
static void test_same_hash(void **state) {
    (void)state;
    world *w = world_create(1);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t key = 0; key < 4; key++) {
            fx_committed committed = {0};
            fx_change change = change_of(w, &key, 8 * round + key + 1);
            assert_int_equal(relieve(w, &change), FEOX_OK);
            change.hash = 77;
            assert_int_equal(try_write(w, &change, round == 2, &committed), FEOX_OK);
            assert_int_equal(w->stage.engine.shards[0].hidden_count, key + 1);
            fx_block_release(round == 2 ? change.block : NULL);
        }
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        for (uint32_t key = 0; key < 4; key++) {
            uint8_t buffer[100];
            uint32_t number = 0;
            fx_fetched got;
            assert_int_equal(
                fx_fetch(&w->stage.engine, 77, &key, sizeof key, buffer, sizeof buffer, &got),
                round == 2 ? FEOX_NOT_FOUND : FEOX_OK);
            memcpy(&number, buffer, sizeof number);
            fx_block_release(round == 2 ? NULL : got.block);
            assert_true(round == 2 || got.block != NULL || number == 8 * round + key + 1);
        }
    }
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* Random writes, flushes that lack memory and are tried again, tidying, checks, power cuts. */
static void test_random(void **state) {
    (void)state;
    uint64_t waiting = 0;
    uint64_t seed = seed_of("random");
    uint64_t failed = 0;
    unsigned rounds = getenv("FEOX_LONG") != NULL ? 60 : 6;
    for (unsigned round = 0; round < rounds; round++) {
        world *w = world_create(seed + round);
        for (unsigned i = 0; i < 1500; i++) {
            uint64_t what = fx_rng_below(&w->rng, 100);
            mem_dev_set_hook(w->dev, meanwhile, w);
            if (what < 80) {
                write_kept(w, (uint32_t)fx_rng_below(&w->rng, KEYS), what < 20);
            } else if (what < 88) {
                assert_int_equal(stage_sync(&w->stage), FEOX_OK);
                note_seen(w);
            } else if (what < 94) {
                mem_dev_set_hook(w->dev, NULL, NULL);
                fx_mem_fail_after(1 + fx_rng_below(&w->rng, 8), false);
                feox_status status = stage_sync(&w->stage);
                fx_mem_fail_after(0, false);
                failed += status == FEOX_ERR_MEMORY;
                if (fx_flusher_status(w->stage.engine.flusher) != FEOX_OK) {
                    crash(w);
                } else if (status == FEOX_OK) {
                    expect_newest(w);
                }
            } else if (what < 97) {
                (void)fx_sweeper_tidy(&w->stage.engine, &waiting);
            } else if (what == 97) {
                mem_dev_set_hook(w->dev, NULL, NULL);
                stage_expect_sound(&w->stage);
                expect_newest(w);
            } else if (what == 98) {
                crash(w);
            }
        }
        mem_dev_set_hook(w->dev, NULL, NULL);
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        expect_newest(w);
        assert_int_equal(world_close(w), FEOX_OK);
        world_destroy(w);
    }
    assert_true(failed > rounds);
}

/* Flushes with no memory from the n-th allocation on, for rising n, until it succeeds. False: what
 * was written could not be shown. */
static bool flush_short_of_memory(world *w) {
    for (uint64_t n = 1;; n++) {
        fx_mem_fail_after(n, true);
        feox_status status = stage_sync(&w->stage);
        fx_mem_fail_after(0, false);
        if (status == FEOX_OK || fx_flusher_status(w->stage.engine.flusher) != FEOX_OK) {
            return status == FEOX_OK;
        }
        assert_int_equal(status, FEOX_ERR_MEMORY);
    }
}

/* No memory to show what is durable: the store is read-only, nobody who waits is told that it is
 * done, and opening again shows it. */
static void test_no_memory_to_show(void **state) {
    (void)state;
    enum { STEP = 1200 };
    world *w = world_create(1);
    fx_flusher *flusher = w->stage.engine.flusher;
    uint64_t before = 0;
    uint64_t after = 0;
    uint64_t group = 0;
    uint32_t keys = 0;
    bool shown = true;
    while (shown) { /* until the list of deadlines has to grow to show them */
        assert_true(keys < 100000);
        hide_keys(w, keys, STEP, UINT64_MAX);
        keys += STEP;
        group = fx_flusher_open_group(flusher);
        assert_int_equal(fx_flusher_durable(flusher, &before), FEOX_OK);
        shown = flush_short_of_memory(w);
        assert_int_equal(fx_order_merge(&w->stage.engine), FEOX_OK);
    }
    print_message("%u keys\n", keys);
    assert_int_equal(fx_flusher_status(flusher), FEOX_ERR_MEMORY);
    assert_int_equal(fx_flusher_durable(flusher, &after), FEOX_ERR_MEMORY);
    assert_int_equal(after, before);
    assert_int_equal(fx_flusher_sync(flusher, group, ++w->stage.now), FEOX_ERR_MEMORY);
    assert_int_equal(fx_flusher_wait(flusher, group, 60000), FEOX_ERR_MEMORY);
    assert_true(fx_engine_count(&w->stage.engine) < keys);
    assert_int_equal(world_close(w), FEOX_ERR_MEMORY);
    assert_int_equal(world_open(w), FEOX_OK);
    assert_int_equal(fx_engine_count(&w->stage.engine), keys);
    stage_expect_sound(&w->stage);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

/* The device fails at each operation: what was in flight is never seen. */
static void test_device_fails(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 6; n++) {
        world *w = world_create(n);
        uint64_t durable = 0;
        for (uint32_t key = 0; key < KEYS; key++) {
            write_kept(w, key, false);
        }
        assert_int_equal(stage_sync(&w->stage), FEOX_OK);
        note_seen(w);
        mem_dev_fail_after(w->dev, n, EIO);
        feox_status status = FEOX_OK;
        while (status == FEOX_OK) {
            note_seen(w);
            write_kept(w, (uint32_t)fx_rng_below(&w->rng, KEYS), false);
            status = stage_sync(&w->stage);
        }
        assert_int_equal(status, FEOX_ERR_IO);
        assert_int_equal(fx_flusher_durable(w->stage.engine.flusher, &durable), FEOX_ERR_IO);
        for (uint32_t key = 0; key < KEYS; key++) {
            assert_int_equal(expect_state(w, key), w->keys[key].safe);
        }
        assert_int_equal(world_close(w), FEOX_ERR_IO);
        w->dev = mem_dev_crash(w->dev);
        assert_int_equal(world_open(w), FEOX_OK);
        for (uint32_t key = 0; key < KEYS; key++) {
            (void)expect_state(w, key);
        }
        assert_int_equal(world_close(w), FEOX_OK);
        world_destroy(w);
    }
}

typedef struct guest {
    fx_flusher *flusher;
    uint64_t group;
    uint64_t timeout_ms;
    feox_status status;
    pid_t thread; /* atomic; 0: not there yet */
} guest;

static void *wait_as_guest(void *argument) {
    guest *g = argument;
    g->status = fx_flusher_wait(g->flusher, g->group, g->timeout_ms);
    return NULL;
}

/* Somebody has the volume and does not come back: who gave a time does. */
static void test_back_in_time(void **state) {
    (void)state;
    world *w = world_create(1);
    w->stage.real_time = true;
    write_kept(w, 0, false);
    guest g = {.flusher = w->stage.engine.flusher,
               .group = fx_flusher_open_group(w->stage.engine.flusher),
               .timeout_ms = 20};
    pthread_t thread;
    fx_flusher_enter(g.flusher);
    assert_int_equal(pthread_create(&thread, NULL, wait_as_guest, &g), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(g.status, FEOX_PENDING);
    fx_flusher_leave(g.flusher);
    g.timeout_ms = UINT64_MAX;
    assert_int_equal(pthread_create(&thread, NULL, wait_as_guest, &g), 0);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(g.status, FEOX_OK);
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

static void *wait_to_lead(void *argument) {
    guest *g = argument;
    fx_store_release(&g->thread, gettid());
    g->status = fx_flusher_sync(g->flusher, g->group, 5000);
    return NULL;
}

/* The state letter of a thread, as the system tells it. */
static char state_of(const guest *g) {
    char path[64];
    char line[200] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)fx_load_acquire(&g->thread));
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        (void)fread(line, 1, sizeof line - 1, file);
        (void)fclose(file);
    }
    const char *end = strrchr(line, ')');
    return end != NULL ? end[2] : '?';
}

/* Several wait for the group that somebody else leads. When it is durable all of them go: none is
 * left until somebody happens to flush again. */
static void test_all_go(void **state) {
    (void)state;
    enum { WAITERS = 4 };
    world *w = world_create(1);
    fx_flusher *flusher = w->stage.engine.flusher;
    guest guests[WAITERS];
    pthread_t threads[WAITERS];
    memset(guests, 0, sizeof guests);
    write_kept(w, 0, false);
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    write_kept(w, 1, false);
    fx_flusher_enter(flusher);
    for (unsigned i = 0; i < WAITERS; i++) {
        guests[i].flusher = flusher;
        guests[i].group = fx_flusher_open_group(flusher);
        assert_int_equal(pthread_create(&threads[i], NULL, wait_to_lead, &guests[i]), 0);
    }
    for (unsigned i = 0; i < WAITERS; i++) {
        while (state_of(&guests[i]) != 'S') {
            (void)sched_yield();
        }
    }
    assert_int_equal(fx_group_flush(flusher, ++w->stage.now), FEOX_OK);
    fx_flusher_leave(flusher);
    for (unsigned i = 0; i < WAITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(guests[i].status, FEOX_OK);
    }
    assert_int_equal(world_close(w), FEOX_OK);
    world_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hidden_until_durable),
        cmocka_unit_test(test_tidy_meanwhile),
        cmocka_unit_test(test_one_per_group),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_awaited_writes_stand_alone),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_taken_back_with_its_memory),
        cmocka_unit_test(test_another_place),
        cmocka_unit_test(test_awaited_over_dirty),
        cmocka_unit_test(test_same_hash),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_no_memory_to_show),
        cmocka_unit_test(test_device_fails),
        cmocka_unit_test(test_back_in_time),
        cmocka_unit_test(test_all_go),
    };
    return cmocka_run_group_tests_name("engine/hidden", tests, NULL, NULL);
}
