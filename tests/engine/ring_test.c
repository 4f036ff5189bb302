/* A journal so short that it begins anew every few groups: after each of them the file, as a crash
 * would leave it, opens to exactly what was flushed, and goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/check_disk.h"
#include "engine/commit.h"
#include "engine/fetch.h"
#include "engine/flusher.h"
#include "engine/volume.h"
#include "support/mem_dev.h"

enum { KEYS = 5, SIZE_MAX_HERE = 9000 };

typedef struct world {
    mem_dev *dev;
    fx_engine engine;
    uint64_t now;
    uint32_t numbers[KEYS]; /* 0: absent */
} world;

static uint64_t world_clock(void *context) {
    return ++((world *)context)->now;
}

static void world_open(world *w, uint32_t ring_blocks) {
    const fx_engine_options options = {.ordered = true,
                                       .persistent = true,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = world_clock,
                                       .clock_context = w,
                                       .shard_count = 2};
    const fx_flusher_options file = {.ring_blocks = ring_blocks};
    assert_int_equal(fx_engine_init(&w->engine, &options), FEOX_OK);
    assert_int_equal(fx_flusher_open(&w->engine, mem_dev_door(w->dev), &file, &w->engine.flusher),
                     FEOX_OK);
    assert_int_equal(fx_commit_recovery_done(&w->engine), FEOX_OK);
}

static void world_close(world *w) {
    assert_int_equal(fx_flusher_close(w->engine.flusher, ++w->now), FEOX_OK);
    fx_engine_deinit(&w->engine);
    mem_dev_destroy(w->dev);
}

static uint32_t size_of(uint32_t number) {
    return 4 + number * 2654435761u % (SIZE_MAX_HERE - 4);
}

static void put(world *w, uint32_t key, uint32_t number) {
    static uint8_t value[SIZE_MAX_HERE];
    fx_change change = {.key = (const uint8_t *)&key,
                        .key_len = sizeof key,
                        .hash = fx_engine_hash(&w->engine, &key, sizeof key),
                        .value = value,
                        .value_len = size_of(number)};
    fx_shard *shard = fx_engine_shard(&w->engine, change.hash);
    fx_committed committed = {0};
    memset(value, (int)(number & 0xff), sizeof value);
    memcpy(value, &number, sizeof number);
    assert_int_equal(fx_commit_relieve(shard, sizeof key, change.value_len, false), FEOX_OK);
    change.block = change.value_len > FX_INLINE_VALUE_MAX
                       ? fx_block_create(&w->engine.blocks, value, (size_t)change.value_len)
                       : NULL;
    fx_record *old = fx_commit_any_locked(shard, change.hash, change.key, change.key_len);
    assert_int_equal(fx_commit_put_locked(shard, old, &change, ++w->now, &committed), FEOX_OK);
    w->numbers[key] = number;
}

static void sync_all(world *w) {
    fx_flusher *flusher = w->engine.flusher;
    assert_int_equal(fx_flusher_sync(flusher, fx_flusher_open_group(flusher), ++w->now), FEOX_OK);
}

static void expect_all(world *w) {
    static uint8_t buffer[SIZE_MAX_HERE];
    for (uint32_t key = 0; key < KEYS; key++) {
        fx_fetched got;
        uint32_t number = 0;
        feox_status status = fx_fetch(&w->engine, fx_engine_hash(&w->engine, &key, sizeof key),
                                      &key, sizeof key, buffer, sizeof buffer, &got);
        assert_int_equal(status, w->numbers[key] != 0 ? FEOX_OK : FEOX_NOT_FOUND);
        if (status == FEOX_OK) {
            memcpy(&number, got.block != NULL ? got.block->data : buffer, sizeof number);
            fx_block_release(got.block);
            assert_int_equal(number, w->numbers[key]);
            assert_int_equal(got.value_len, size_of(number));
        }
    }
    fx_check_sink sink = {.found = NULL};
    feox_check_report_init(&sink.report);
    assert_int_equal(fx_check_disk(w->engine.flusher, false, &sink), FEOX_OK);
    assert_int_equal(sink.report.problems, 0);
}

static void test_wraps(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 5);
    for (uint32_t ring_blocks = 12; ring_blocks < 40; ring_blocks += 9) {
        world *w = calloc(1, sizeof *w);
        w->dev = mem_dev_create(ring_blocks);
        world_open(w, ring_blocks);
        for (uint32_t number = 1; number < 160; number++) {
            put(w, (uint32_t)fx_rng_below(&rng, KEYS), number);
            sync_all(w);
            world *then = calloc(1, sizeof *then);
            *then = (world){.now = w->now};
            memcpy(then->numbers, w->numbers, sizeof then->numbers);
            then->dev =
                mem_dev_create_from(mem_dev_bytes(w->dev), mem_dev_size(w->dev), number);
            world_open(then, 0);
            assert_true(fx_flusher_time(then->engine.flusher) >= w->engine.flusher->time_ns);
            expect_all(then);
            put(then, 0, number + 1000);
            sync_all(then);
            expect_all(then);
            world_close(then);
            free(then);
        }
        expect_all(w);
        world_close(w);
        free(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wraps)};
    return cmocka_run_group_tests_name("engine/ring", tests, NULL, NULL);
}
