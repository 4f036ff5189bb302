/* Was: feox_check reported damage that was not there while durable writes were under way: a record
 * that a hidden write is to replace is still its key's, and its place waits to die already, so it
 * was counted twice.
 *
 * The check flushes first; what is hidden here is committed while it does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/check.h"
#include "engine/check_disk.h"
#include "engine/commit.h"
#include "engine/flusher.h"
#include "support/mem_dev.h"

typedef struct world {
    fx_engine engine;
    mem_dev *dev;
    uint64_t now;
    bool hidden; /* the hook has been there */
} world;

static uint64_t clock_of_test(void *context) {
    world *w = context;
    return ++w->now;
}

static void put(world *w, const char *key, bool hidden) {
    fx_engine *engine = &w->engine;
    uint64_t hash = fx_engine_hash(engine, key, 1);
    fx_shard *shard = fx_engine_shard(engine, hash);
    const fx_change change = {.key = (const uint8_t *)key,
                              .key_len = 1,
                              .hash = hash,
                              .value = (const uint8_t *)"value",
                              .value_len = 5,
                              .hidden = hidden,
                              .kept = hidden};
    fx_committed committed;
    fx_spinlock_lock(&shard->lock);
    const fx_hidden *before = fx_commit_hidden_locked(shard, hash, key, 1);
    fx_record *old = before != NULL ? before->record : fx_commit_any_locked(shard, hash, key, 1);
    assert_int_equal(fx_commit_put_locked(shard, old, &change, ++w->now, &committed), FEOX_OK);
    fx_spinlock_unlock(&shard->lock);
}

static void hide_delete(world *w, const char *key) {
    uint64_t hash = fx_engine_hash(&w->engine, key, 1);
    fx_shard *shard = fx_engine_shard(&w->engine, hash);
    fx_committed committed;
    fx_spinlock_lock(&shard->lock);
    fx_record *old = fx_commit_any_locked(shard, hash, key, 1);
    assert_non_null(old);
    assert_int_equal(fx_commit_hide_delete_locked(shard, old, hash, 0, true, ++w->now, &committed),
                     FEOX_OK);
    fx_spinlock_unlock(&shard->lock);
}

/* Replaces one key twice, deletes another, and makes a third. */
static void hide_some(void *context) {
    world *w = context;
    if (!w->hidden) {
        w->hidden = true;
        put(w, "a", true);
        put(w, "a", true);
        hide_delete(w, "b");
        put(w, "c", true);
    }
}

static void expect_sound(world *w) {
    fx_check_sink sink = {.found = NULL};
    feox_check_report_init(&sink.report);
    assert_int_equal(fx_check_disk(w->engine.flusher, false, &sink), FEOX_OK);
    assert_int_equal(sink.report.problems, 0);
}

static void what_is_hidden_is_no_damage(void **state) {
    (void)state;
    world w = {.dev = mem_dev_create(1)};
    const fx_engine_options options = {.ordered = true,
                                       .persistent = true,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = clock_of_test,
                                       .clock_context = &w,
                                       .shard_count = 2};
    const fx_flusher_options file = {.read_only = false};
    assert_int_equal(fx_engine_init(&w.engine, &options), FEOX_OK);
    assert_int_equal(fx_flusher_open(&w.engine, mem_dev_door(w.dev), &file, &w.engine.flusher),
                     FEOX_OK);
    assert_int_equal(fx_commit_recovery_done(&w.engine), FEOX_OK);
    fx_shard *shard = &w.engine.shards[0];
    /* A new file has no room for puts yet. */
    assert_int_equal(fx_commit_relieve(shard, 1, 5, false), FEOX_OK);
    put(&w, "a", false);
    put(&w, "b", false);
    expect_sound(&w);
    put(&w, "d", false); /* something to flush */
    mem_dev_set_hook(w.dev, hide_some, &w);
    expect_sound(&w);
    assert_true(w.hidden);
    mem_dev_set_hook(w.dev, NULL, NULL);
    expect_sound(&w);
    assert_int_equal(fx_flusher_close(w.engine.flusher, ++w.now), FEOX_OK);
    fx_engine_deinit(&w.engine);
    mem_dev_destroy(w.dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_hidden_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
