/* Times to live against a model, with a clock that is a variable: what has expired is gone for all
 * readers at that moment and from memory at the next sweep; what has not is there, however often it
 * was written, evicted or swept over. In memory and in a file, which is opened again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/check.h"
#include "engine/commit.h"
#include "engine/fetch.h"
#include "engine/flusher.h"
#include "engine/order.h"
#include "engine/sweeper.h"
#include "support/mem_dev.h"

enum { KEYS = 400 };

typedef struct world {
    mem_dev *dev; /* NULL: in memory */
    fx_engine engine;
    fx_rng rng;
    uint64_t now;
    bool there[KEYS];
    uint32_t numbers[KEYS];
    uint64_t expiries[KEYS]; /* 0: never */
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
    return ((world *)context)->now;
}

static void world_open(world *w) {
    const fx_engine_options options = {.ordered = true,
                                       .persistent = w->dev != NULL,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = world_clock,
                                       .clock_context = w,
                                       .shard_count = 2};
    const fx_flusher_options file = {.read_only = false};
    assert_int_equal(fx_engine_init(&w->engine, &options), FEOX_OK);
    if (w->dev != NULL) {
        assert_int_equal(
            fx_flusher_open(&w->engine, mem_dev_door(w->dev), &file, &w->engine.flusher), FEOX_OK);
        assert_int_equal(fx_commit_recovery_done(&w->engine), FEOX_OK);
    }
}

static void world_close(world *w) {
    if (w->dev != NULL) {
        assert_int_equal(fx_flusher_close(w->engine.flusher, w->now), FEOX_OK);
    }
    fx_engine_deinit(&w->engine);
}

static world *world_create(uint64_t seed, bool file) {
    world *w = calloc(1, sizeof *w);
    fx_rng_init(&w->rng, seed);
    w->dev = file ? mem_dev_create(fx_rng_next(&w->rng)) : NULL;
    w->now = 1000000;
    world_open(w);
    return w;
}

static void world_destroy(world *w) {
    world_close(w);
    if (w->dev != NULL) {
        mem_dev_destroy(w->dev);
    }
    free(w);
}

static uint32_t size_of(uint32_t number) {
    return number % 7 == 0 ? 3000 : 4 + number % 90;
}

static bool is_alive(const world *w, uint32_t key) {
    return w->there[key] && (w->expiries[key] == 0 || w->expiries[key] > w->now);
}

/* Expiry 0: never. */
static void put(world *w, uint32_t key, uint32_t number, uint64_t expiry_ns) {
    uint8_t value[3000];
    fx_change change = {.key = (const uint8_t *)&key,
                        .key_len = sizeof key,
                        .hash = fx_engine_hash(&w->engine, &key, sizeof key),
                        .value = value,
                        .value_len = size_of(number),
                        .expiry_ns = expiry_ns};
    fx_shard *shard = fx_engine_shard(&w->engine, change.hash);
    memset(value, (int)(number & 0xff), sizeof value);
    memcpy(value, &number, sizeof number);
    feox_status status;
    do {
        fx_committed committed = {0};
        change.block = change.value_len > FX_INLINE_VALUE_MAX
                           ? fx_block_create(&w->engine.blocks, value, (size_t)change.value_len)
                           : NULL;
        fx_spinlock_lock(&shard->lock);
        status = fx_commit_put_locked(
            shard, fx_commit_any_locked(shard, change.hash, change.key, change.key_len), &change,
            w->now, &committed);
        fx_spinlock_unlock(&shard->lock);
        if (status == FEOX_END) {
            fx_block_release(change.block);
            assert_int_equal(fx_commit_relieve(shard, sizeof key, change.value_len, false),
                             FEOX_OK);
        }
    } while (status == FEOX_END);
    assert_int_equal(status, FEOX_OK);
}

static void model_put(world *w, uint32_t key, uint64_t expiry_ns) {
    w->there[key] = true;
    w->numbers[key] = (uint32_t)fx_rng_next(&w->rng) >> 1;
    w->expiries[key] = expiry_ns;
    put(w, key, w->numbers[key], expiry_ns);
}

static void evict(world *w, uint32_t key) {
    uint64_t hash = fx_engine_hash(&w->engine, &key, sizeof key);
    fx_shard *shard = fx_engine_shard(&w->engine, hash);
    fx_spinlock_lock(&shard->lock);
    fx_record *record = fx_commit_any_locked(shard, hash, &key, sizeof key);
    bool clean = record != NULL && fx_location_clean(fx_record_location(record));
    bool dropped = record != NULL && fx_commit_evict_locked(shard, record);
    fx_spinlock_unlock(&shard->lock);
    assert_true(clean || !dropped); /* or it would be nowhere */
}

static void expect_model(world *w) {
    for (uint32_t key = 0; key < KEYS; key++) {
        uint8_t buffer[3000];
        uint32_t number = 0;
        fx_fetched got;
        uint64_t hash = fx_engine_hash(&w->engine, &key, sizeof key);
        feox_status status =
            fx_fetch(&w->engine, hash, &key, sizeof key, buffer, sizeof buffer, &got);
        assert_int_equal(status, is_alive(w, key) ? FEOX_OK : FEOX_NOT_FOUND);
        if (status == FEOX_OK) {
            memcpy(&number, got.block != NULL ? got.block->data : buffer, sizeof number);
            fx_block_release(got.block);
            assert_int_equal(number, w->numbers[key]);
            assert_int_equal(got.expiry_ns, w->expiries[key]);
        }
        assert_int_equal(fx_fetch_info(&w->engine, hash, &key, sizeof key, &got), status);
    }
}

/* After it exactly what is alive is in memory. */
static void sweep(world *w) {
    uint64_t alive = 0;
    fx_sweeper_step(&w->engine, w->now);
    for (uint32_t key = 0; key < KEYS; key++) {
        alive += is_alive(w, key);
        w->there[key] = is_alive(w, key);
    }
    assert_int_equal(fx_engine_count(&w->engine), alive);
}

static void step(world *w) {
    uint32_t key = (uint32_t)fx_rng_below(&w->rng, KEYS);
    uint64_t what = fx_rng_below(&w->rng, 1000);
    if (what < 500) {
        model_put(w, key, w->now + 1 + fx_rng_below(&w->rng, 3000));
    } else if (what < 600) {
        model_put(w, key, 0);
    } else if (what < 700) { /* as expire does it: the same value, another time */
        if (is_alive(w, key)) {
            w->expiries[key] = what % 3 == 0 ? 0 : w->now + 1 + fx_rng_below(&w->rng, 3000);
            put(w, key, w->numbers[key], w->expiries[key]);
        }
    } else if (what < 980) {
        w->now += fx_rng_below(&w->rng, 40);
    } else if (what < 984) {
        if (w->dev != NULL) { /* at any time: what is not on disk yet stays */
            evict(w, key);
        }
    } else if (what < 992) {
        sweep(w);
        expect_model(w);
    } else if (w->dev != NULL && what < 999) {
        fx_flusher *flusher = w->engine.flusher;
        assert_int_equal(fx_flusher_sync(flusher, fx_flusher_open_group(flusher), w->now), FEOX_OK);
        for (uint32_t i = 0; i < KEYS; i += 2) {
            evict(w, i);
        }
    } else if (w->dev != NULL) {
        world_close(w);
        world_open(w);
        expect_model(w);
    }
}

static void test_model(void **state) {
    (void)state;
    uint64_t seed = seed_of("model");
    for (unsigned round = 0; round < 6; round++) {
        world *w = world_create(seed + round, round % 2 == 1);
        for (unsigned i = 0; i < 8000; i++) {
            step(w);
        }
        w->now += 10000;
        sweep(w);
        expect_model(w);
        world_destroy(w);
    }
}

/* More keys expire at once than a shard may have changes pending: all go in one sweep, and those
 * that have just a nanosecond left stay. Their memory is given back. */
static void test_many_at_once(void **state) {
    (void)state;
    for (unsigned file = 0; file < 2; file++) {
        world *w = world_create(5, file == 1);
        uint32_t count = 5 * FX_PENDING_MAX;
        uint64_t waiting = 0;
        uint64_t empty = fx_engine_memory(&w->engine);
        for (uint32_t key = 0; key < 2 * count; key++) {
            put(w, key, key * 7 + 1, w->now + 100 + key / count);
        }
        assert_int_equal(fx_order_merge(&w->engine), FEOX_OK);
        w->now += 100;
        fx_sweeper_step(&w->engine, w->now);
        assert_int_equal(fx_engine_count(&w->engine), count);
        w->now += 1;
        fx_sweeper_step(&w->engine, w->now);
        assert_int_equal(fx_engine_count(&w->engine), 0);
        assert_true(fx_engine_memory(&w->engine) > 2 * empty);
        if (file == 1) {
            fx_flusher *flusher = w->engine.flusher;
            assert_int_equal(fx_flusher_sync(flusher, fx_flusher_open_group(flusher), w->now),
                             FEOX_OK);
        }
        for (unsigned i = 0; i < 20; i++) {
            (void)fx_sweeper_tidy(&w->engine, &waiting);
        }
        print_message("%llu bytes empty, %llu empty again\n", (unsigned long long)empty,
                      (unsigned long long)fx_engine_memory(&w->engine));
        assert_true(fx_engine_memory(&w->engine) <= empty + empty / 5);
        world_destroy(w);
    }
}

/* A value that was replaced stays for who came upon it before, and goes when they have gone. */
static void test_pinned_value(void **state) {
    (void)state;
    for (unsigned file = 0; file < 2; file++) {
        world *w = world_create(6, file == 1);
        uint32_t key = 1;
        uint64_t waiting = 0;
        for (unsigned deleted = 0; deleted < 2; deleted++) {
            put(w, key, 7, deleted == 0 ? 0 : w->now + 1);
            if (file == 1) {
                fx_flusher *flusher = w->engine.flusher;
                assert_int_equal(fx_flusher_sync(flusher, fx_flusher_open_group(flusher), w->now),
                                 FEOX_OK);
            }
            uint64_t hash = fx_engine_hash(&w->engine, &key, sizeof key);
            fx_pin pin = fx_epoch_pin(&w->engine.epoch);
            fx_block *block = fx_record_block(
                fx_commit_any_locked(fx_engine_shard(&w->engine, hash), hash, &key, sizeof key));
            fx_block_acquire(block); /* so that its count can be looked at */
            if (deleted == 0) {
                put(w, key, 14, 0);
            } else {
                w->now += 2;
                fx_sweeper_step(&w->engine, w->now);
                assert_int_equal(fx_engine_count(&w->engine), 2); /* the others */
            }
            for (unsigned i = 0; i < 200; i++) { /* enough to look after what waits */
                uint32_t other = 2 + i % 2;
                put(w, other, 21, 0);
            }
            (void)fx_sweeper_tidy(&w->engine, &waiting);
            assert_int_equal(block->references, 2);
            fx_epoch_unpin(pin);
            (void)fx_sweeper_tidy(&w->engine, &waiting);
            if (file == 1) { /* a buffer may have it until it is written */
                fx_flusher *flusher = w->engine.flusher;
                assert_int_equal(fx_flusher_sync(flusher, fx_flusher_open_group(flusher), w->now),
                                 FEOX_OK);
            }
            assert_int_equal(block->references, 1);
            fx_block_release(block);
        }
        world_destroy(w);
    }
}

/* What nobody waits for is written when it is as old as the interval, and not before. */
static void test_flush_interval(void **state) {
    (void)state;
    world *w = world_create(7, true);
    fx_flusher *flusher = w->engine.flusher;
    put(w, 1, 8, 0);
    assert_int_equal(fx_flusher_sync(flusher, fx_flusher_open_group(flusher), w->now), FEOX_OK);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t durable = 0;
        uint64_t group = fx_flusher_open_group(flusher);
        uint64_t since = w->now;
        put(w, 1, 15, 0);
        w->now = since + 60000000;
        put(w, 2, 16, 0); /* makes the group no younger */
        fx_flusher_step(flusher, since + 99999999, 100);
        assert_int_equal(fx_flusher_durable(flusher, &durable), FEOX_OK);
        assert_true(durable < group);
        fx_flusher_step(flusher, since + 100000000, 100);
        assert_int_equal(fx_flusher_durable(flusher, &durable), FEOX_OK);
        assert_true(durable == group);
        w->now = since + 200000000;
    }
    world_destroy(w);
}

/* The last sweep of a store meets lists that are full, and goes on; one that is only read is left
 * as it is. */
static void test_finish(void **state) {
    (void)state;
    for (unsigned file = 0; file < 2; file++) {
        world *w = world_create(seed_of("finish"), file != 0);
        for (uint32_t key = 0; key < 10 * FX_PENDING_MAX; key++) {
            uint64_t hash = fx_engine_hash(&w->engine, &key, sizeof key);
            if (fx_engine_shard(&w->engine, hash)->pending_count < FX_PENDING_MAX - 1) {
                put(w, key, key * 7 + 1, w->now + 10);
            }
        }
        uint64_t before = fx_engine_count(&w->engine);
        w->now += 1000;
        w->engine.read_only = true;
        fx_sweeper_step(&w->engine, w->now);
        fx_sweeper_finish(&w->engine, w->now);
        assert_true(fx_engine_count(&w->engine) == before);
        w->engine.read_only = false;
        fx_sweeper_finish(&w->engine, w->now);
        assert_true(fx_engine_count(&w->engine) < before);
        fx_sweeper_step(&w->engine, w->now);
        assert_true(fx_engine_count(&w->engine) == 0);
        world_destroy(w);
    }
}

/* A write buffer that is long is written whatever its age, and none before. */
static void test_long_buffers(void **state) {
    (void)state;
    world *w = world_create(8, true);
    fx_flusher *flusher = w->engine.flusher;
    unsigned written = 0;
    for (uint32_t i = 0; written < 5; i++) {
        uint64_t durable = 0;
        assert_true(i < 2000);
        put(w, i % KEYS, 7, 0); /* makes the file longer now and then, behind a flush */
        uint64_t group = fx_flusher_open_group(flusher);
        bool is_long =
            fx_wbuf_long(&w->engine.shards[0].wbuf) || fx_wbuf_long(&w->engine.shards[1].wbuf);
        fx_flusher_step_long(flusher, w->now);
        assert_int_equal(fx_flusher_durable(flusher, &durable), FEOX_OK);
        assert_true((durable == group) == is_long);
        written += is_long ? 1 : 0;
    }
    world_destroy(w);
}

/* Behind a long group there is room for two of its kind, so that nobody waits for the file. */
static void test_grows_ahead(void **state) {
    (void)state;
    world *w = world_create(9, true);
    fx_flusher *flusher = w->engine.flusher;
    for (uint32_t round = 0; round < 12; round++) {
        feox_statistics before = {0};
        feox_statistics after = {0};
        fx_flusher_stats(flusher, w->now, &before);
        for (uint32_t i = 0; i < KEYS; i++) {
            put(w, i, 7, 0);
        }
        fx_flusher_step_long(flusher, w->now);
        fx_flusher_stats(flusher, w->now, &after);
        assert_true(after.groups_written > before.groups_written);
        assert_true(after.file_free >= 2 * (after.disk_write_bytes - before.disk_write_bytes));
    }
    world_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),          cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_pinned_value),   cmocka_unit_test(test_finish),
        cmocka_unit_test(test_flush_interval), cmocka_unit_test(test_long_buffers),
        cmocka_unit_test(test_grows_ahead),
    };
    return cmocka_run_group_tests_name("engine/sweeper", tests, NULL, NULL);
}
