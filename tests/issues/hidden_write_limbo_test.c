/* The background thread must not give back the room in limbo that a durable write on its way to the
 * disk has reserved: when the write is shown, the block that it replaces goes there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/commit.h"
#include "engine/flusher.h"
#include "engine/sweeper.h"
#include "support/mem_dev.h"

enum { VALUE_SIZE = FX_INLINE_VALUE_MAX + 100 };

static uint64_t now;

static uint64_t clock_of_test(void *context) {
    (void)context;
    return ++now;
}

/* Writes the key, which is a number, if it belongs to the first shard. */
static void put(fx_engine *engine, uint64_t key, bool hidden) {
    static uint8_t value[VALUE_SIZE];
    const uint8_t *bytes = (const uint8_t *)&key;
    uint64_t hash = fx_engine_hash(engine, bytes, sizeof key);
    fx_shard *shard = fx_engine_shard(engine, hash);
    if (shard != &engine->shards[0]) {
        return;
    }
    fx_change change = {.key = bytes,
                        .key_len = sizeof key,
                        .hash = hash,
                        .value = value,
                        .value_len = sizeof value,
                        .block = fx_block_create(&engine->blocks, value, sizeof value),
                        .hidden = hidden};
    fx_committed committed;
    assert_non_null(change.block);
    /* A new file has no room for puts yet. */
    assert_int_equal(fx_commit_relieve(shard, sizeof key, sizeof value, false), FEOX_OK);
    fx_spinlock_lock(&shard->lock);
    fx_record *old = fx_commit_any_locked(shard, hash, bytes, sizeof key);
    assert_true(hidden == (old != NULL));
    assert_int_equal(fx_commit_put_locked(shard, old, &change, ++now, &committed), FEOX_OK);
    fx_spinlock_unlock(&shard->lock);
}

static void flush(fx_engine *engine) {
    uint64_t group = fx_flusher_open_group(engine->flusher);
    assert_int_equal(fx_flusher_sync(engine->flusher, group, ++now), FEOX_OK);
}

static void room_of_hidden_writes_is_kept(void **state) {
    (void)state;
    fx_engine engine;
    mem_dev *dev = mem_dev_create(1);
    const fx_engine_options options = {.ordered = true,
                                       .persistent = true,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = clock_of_test,
                                       .shard_count = FX_SHARDS_MIN};
    const fx_flusher_options file = {.read_only = false};
    assert_int_equal(fx_engine_init(&engine, &options), FEOX_OK);
    assert_int_equal(fx_flusher_open(&engine, mem_dev_door(dev), &file, &engine.flusher), FEOX_OK);
    assert_int_equal(fx_commit_recovery_done(&engine), FEOX_OK);
    /* Enough that the ring is worth giving back. */
    for (uint64_t key = 0; key < 200 * FX_SHARDS_MIN; key++) {
        put(&engine, key, false);
    }
    flush(&engine);
    for (uint64_t key = 0; key < 10 * FX_SHARDS_MIN; key++) {
        put(&engine, key, true);
    }
    for (int i = 0; i < 3; i++) { /* what is pending, what that left, and then the ring */
        uint64_t waiting;
        (void)fx_sweeper_tidy(&engine, &waiting);
    }
    flush(&engine);
    assert_int_equal(fx_flusher_close(engine.flusher, ++now), FEOX_OK);
    fx_engine_deinit(&engine);
    mem_dev_destroy(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_of_hidden_writes_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
