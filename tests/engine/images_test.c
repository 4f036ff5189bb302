/* Files as a crash or a bad disk leaves them, made by hand: a last group of which a part never
 * arrived, a group that is gone from the middle of the journal; and blocks that a late reader still
 * looks at when they become free. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <sched.h>

#include "base/atomic.h"
#include "engine/compactor.h"
#include "engine/volume.h"
#include "store/store.h"

#define LARGE 100000u
#define MANY 60u

/* Nothing is flushed but where the test says so. */
static kit *without_worker(void **state) {
    kit *k = *state;
    k->options.flush_interval_ms = 3600000;
    k->options.sweep_interval_ms = 3600000;
    k->options.file_size_initial = 16u << 20; /* no flush for want of room */
    kit_restart(k);
    return k;
}

static void put(kit *k, const char *key, size_t size, uint64_t seed) {
    uint8_t *value = kit_alloc(size);
    kit_fill(value, size, seed);
    assert_ok(feox_insert(k->store, key, strlen(key), value, size));
    free(value);
}

static void put_many(kit *k, uint64_t seed) {
    char key[16];
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(key, sizeof key, "many%u", i);
        put(k, key, 1500, seed + i);
    }
}

/* What a crash now would leave. */
static const char *image_of(const kit *k) {
    const char *path = fx_temp_fresh("image");
    fx_file_copy(k->path, path);
    return path;
}

static void zero_block(const char *path, uint64_t block) {
    static const uint8_t zeros[FX_BLOCK_SIZE];
    fx_file_patch(path, block * FX_BLOCK_SIZE, zeros, sizeof zeros);
}

static feox_status open_as(const char *path, int32_t read_only, feox_store **store_out) {
    feox_options options;
    kit_options_init(&options);
    options.read_only = read_only;
    return feox_open(path, &options, store_out);
}

static void expect(feox_store *store, const char *key, size_t size, uint64_t seed) {
    void *value = NULL;
    size_t got = 0;
    assert_ok(feox_get(store, key, strlen(key), &value, &got));
    assert_int_equal(got, size);
    assert_true(kit_filled(value, size, seed));
    feox_free(value);
}

static const fx_disk_segment *segment_of(const kit *k, const char *key) {
    fx_engine *engine = &k->store->engine;
    uint64_t hash = fx_engine_hash(engine, key, strlen(key));
    fx_shard *shard = fx_engine_shard(engine, hash);
    const fx_record *record = fx_table_find_locked(&shard->table, hash, key, strlen(key));
    assert_non_null(record);
    const fx_disk_segment *segment = fx_segments_find(
        &engine->flusher->segments, fx_record_location(record) * FX_RECORD_ALIGN);
    assert_non_null(segment);
    return segment;
}

/* The image is what was before the last group, and goes on from there. */
static void expect_older(const char *image) {
    for (unsigned life = 0; life < 2; life++) {
        feox_store *store = NULL;
        assert_ok(open_as(image, FEOX_NO, &store));
        expect(store, "a", 100, 1);
        expect(store, "many0", 1500, 10);
        expect(store, "many59", 1500, 69);
        assert_status(feox_contains(store, "b", 1), FEOX_NOT_FOUND);
        for (uint32_t i = 0; i < life; i++) {
            assert_ok(feox_contains(store, &i, sizeof i));
        }
        assert_ok(feox_insert(store, &life, sizeof life, "x", 1));
        assert_ok(feox_flush(store));
        assert_ok(kit_check(store));
        assert_ok(feox_close(store));
    }
    fx_file_remove(image);
}

/* Every part of the last group in turn did not arrive: then none of it did. */
static void last_group_incomplete(void **state) {
    kit *k = without_worker(state);
    put(k, "a", 100, 1);
    put_many(k, 10);
    assert_ok(feox_flush(k->store));
    put(k, "a", LARGE, 2);
    put(k, "b", 10, 3);
    put_many(k, 500);
    assert_ok(feox_flush(k->store));
    const fx_disk_segment *segment = segment_of(k, "b");
    assert_true(segment->blocks > 1 && segment->large_count == 1);
    uint64_t large = segment->larges[0].block;
    for (uint32_t i = 0; i < segment->larges[0].blocks; i += 12) {
        const char *image = image_of(k);
        zero_block(image, large + i);
        expect_older(image);
    }
    for (uint32_t i = 0; i < segment->blocks; i += 11) {
        const char *image = image_of(k);
        zero_block(image, segment->position / FX_BLOCK_SIZE + i);
        expect_older(image);
    }
    feox_store *store = NULL;
    const char *whole = image_of(k);
    assert_ok(open_as(whole, FEOX_NO, &store));
    expect(store, "a", LARGE, 2);
    expect(store, "b", 10, 3);
    assert_ok(feox_close(store));
    fx_file_remove(whole);
}

/* A group that a later entry vouches for is gone without a trace: nobody may write, and what it may
 * have replaced or deleted is not shown. */
static void group_gone(void **state) {
    kit *k = without_worker(state);
    put(k, "a", 100, 1);
    put(k, "d", 100, 4);
    assert_ok(feox_flush(k->store));
    put(k, "a", 100, 2);
    assert_ok(kit_delete(k, "d"));
    assert_ok(feox_flush(k->store));
    uint64_t block = segment_of(k, "a")->position / FX_BLOCK_SIZE;
    put(k, "b", 10, 3);
    assert_ok(feox_flush(k->store));
    const char *image = image_of(k);
    zero_block(image, block);
    feox_store *store = NULL;
    assert_status(open_as(image, FEOX_NO, &store), FEOX_ERR_CORRUPT);
    assert_ok(open_as(image, FEOX_YES, &store));
    assert_status(feox_contains(store, "b", 1), FEOX_OK);
    expect(store, "b", 10, 3);
    for (unsigned i = 0; i < 2; i++) {
        void *value = NULL;
        size_t size = 0;
        assert_status(feox_get(store, i == 0 ? "a" : "d", 1, &value, &size), FEOX_ERR_CORRUPT);
    }
    assert_ok(feox_close(store));
    fx_file_remove(image);
}

/* Blocks that died stay as they are until the reads that began before are over. */
static void late_reader(void **state) {
    kit *k = without_worker(state);
    put(k, "a", LARGE, 1);
    put_many(k, 10);
    assert_ok(feox_flush(k->store));
    assert_ok(kit_delete(k, "a"));
    assert_ok(feox_flush(k->store));
    fx_flusher *flusher = k->store->engine.flusher;
    fx_pin pin = fx_epoch_pin(&flusher->readers);
    fx_flusher_enter(flusher);
    bool waits_before = flusher->space.waiting != NULL;
    uint64_t dead = flusher->segments.dead_large_blocks;
    uint64_t free_blocks = flusher->space.extents.free_blocks;
    feox_status status = fx_compactor_checkpoint(flusher, false);
    fx_space_reclaim(&flusher->space, false);
    bool waits = flusher->space.waiting != NULL;
    uint64_t free_meanwhile = flusher->space.extents.free_blocks;
    fx_epoch_unpin(pin);
    fx_space_reclaim(&flusher->space, false);
    bool waits_after = flusher->space.waiting != NULL;
    uint64_t free_after = flusher->space.extents.free_blocks;
    fx_flusher_leave(flusher); /* whoever fails below wants to close the store */
    assert_ok(status);
    assert_true(dead >= LARGE / FX_BLOCK_SIZE);
    assert_true(!waits_before && waits && !waits_after);
    assert_true(free_meanwhile <= free_blocks && free_after > free_blocks);
}

/* Without superblocks only the segments tell: the newest version counts, not the one that lies last
 * in the file. */
static void newest_counts_not_last(void **state) {
    kit *k = without_worker(state);
    static uint8_t rubbish[2 * FX_BLOCK_SIZE];
    uint64_t place = 0;
    uint64_t before = 0;
    uint64_t version = 0;
    do { /* each time in what the last but one has left, sooner or later below the last */
        assert_true(++version < 20);
        if (version > 1) {
            kit_close(k);
            kit_open(k);
        }
        before = place;
        put(k, "a", 1500, version);
        put_many(k, version);
        assert_ok(feox_flush(k->store));
        place = segment_of(k, "a")->position;
    } while (place >= before);
    const char *image = image_of(k);
    const char *out = fx_temp_fresh("salvaged");
    kit_fill(rubbish, sizeof rubbish, 9);
    fx_file_patch(image, 0, rubbish, sizeof rubbish);
    assert_status(feox_salvage(image, out, NULL, NULL, NULL), FEOX_ERR_CORRUPT);
    feox_store *store = NULL;
    assert_ok(open_as(out, FEOX_NO, &store));
    expect(store, "a", 1500, version);
    assert_ok(feox_close(store));
    fx_file_remove(out);
    fx_file_remove(image);
}

/* The store's clock never goes back, whatever the system's does: it is in each group and in each
 * checkpoint. Here the system's has gone back an hour. */
static void clock_is_kept(void **state) {
    kit *k = without_worker(state);
    feox_store *store = NULL;
    fx_flusher *flusher = k->store->engine.flusher;
    fx_flusher_enter(flusher);
    flusher->time_ns = fx_engine_now(&k->store->engine) + 3600000000000u;
    fx_flusher_leave(flusher);
    put(k, "a", 10, 1);
    assert_ok(feox_flush(k->store));
    uint64_t time_ns = fx_flusher_time(k->store->engine.flusher);
    assert_true(time_ns > 0);
    const char *image = image_of(k);
    kit_close(k);
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(open_as(i == 0 ? image : k->path, FEOX_YES, &store));
        assert_true(fx_flusher_time(store->engine.flusher) >= time_ns);
        assert_true(fx_engine_now(&store->engine) >= time_ns);
        assert_ok(feox_close(store));
    }
    fx_file_remove(image);
    kit_open(k);
}

/* What is in the ring moves out of it at a checkpoint. A record that has become unreadable there
 * cannot, and is told of. */
static void lost_in_the_ring(void **state) {
    kit *k = without_worker(state);
    static const uint8_t rubbish[64] = {1, 2, 3};
    feox_statistics stats;
    feox_statistics_init(&stats);
    put(k, "a", 100, 1);
    assert_ok(feox_flush(k->store));
    const fx_disk_segment *segment = segment_of(k, "a");
    assert_int_equal(segment->blocks, 0);
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.corrupt_records, 0);
    fx_file_patch(k->path, segment->position + FX_SEGMENT_HEADER_SIZE, rubbish, sizeof rubbish);
    assert_ok(feox_compact(k->store));
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.corrupt_records, 1);
    k->dirty_close = true;
}

/* What must not be foretold, nor be the same twice. */
static void nothing_comes_twice(void **state) {
    kit *k = without_worker(state);
    feox_store *other = NULL;
    const char *path = fx_temp_fresh("other");
    assert_ok(open_as(path, FEOX_NO, &other));
    const fx_superblock *mine = &k->store->engine.flusher->root;
    const fx_superblock *its = &other->engine.flusher->root;
    assert_true(mine->id.low != its->id.low && mine->id.high != its->id.high);
    assert_true(mine->epoch != its->epoch);
    assert_true(k->store->engine.hash_key.k0 != other->engine.hash_key.k0 &&
                k->store->engine.hash_key.k1 != other->engine.hash_key.k1);
    uint64_t epoch = mine->epoch;
    uint64_t hash_key = k->store->engine.hash_key.k0;
    put(k, "a", 10, 1);
    kit_close(k);
    kit_open(k);
    assert_true(k->store->engine.flusher->root.epoch != epoch);
    assert_true(k->store->engine.hash_key.k0 != hash_key);
    assert_ok(feox_close(other));
    fx_file_remove(path);
}

typedef struct emptying {
    fx_flusher *flusher;
    feox_status status;
    uint32_t done;
} emptying;

static void *empty_ring(void *argument) {
    emptying *e = argument;
    fx_flusher_enter(e->flusher);
    e->status = fx_compactor_checkpoint(e->flusher, false);
    fx_store_release(&e->done, 1u);
    fx_flusher_leave(e->flusher);
    return NULL;
}

/* Nor is the ring used again before that. */
static void late_reader_of_the_ring(void **state) {
    kit *k = without_worker(state);
    put(k, "a", 100, 1);
    assert_ok(feox_flush(k->store));
    assert_int_equal(segment_of(k, "a")->blocks, 0);
    emptying e = {.flusher = k->store->engine.flusher};
    fx_pin pin = fx_epoch_pin(&e.flusher->readers);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, empty_ring, &e), 0);
    kit_sleep_ms(200); /* long enough for a checkpoint that does not wait to be seen most times */
    uint32_t done = fx_load_acquire(&e.done);
    fx_epoch_unpin(pin);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(done, 0);
    assert_int_equal(e.status, FEOX_OK);
    expect(k->store, "a", 100, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_FILE(last_group_incomplete),
        KIT_FILE(group_gone),
        KIT_FILE(newest_counts_not_last),
        KIT_FILE(clock_is_kept),
        KIT_FILE(nothing_comes_twice),
        KIT_FILE(lost_in_the_ring),
        KIT_FILE(late_reader),
        KIT_FILE(late_reader_of_the_ring),
    };
    return cmocka_run_group_tests_name("engine/images", tests, NULL, NULL);
}
