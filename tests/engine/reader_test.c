/* reader: values that are on disk only, asked for together. What arrives is right, whatever its
 * size and place; what does not is left, and asked for alone it says what it always said. The
 * device here reads when it is reaped, not before, so that things can happen in between. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/evict.h"
#include "engine/fetch.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

enum { KEYS = 200, VALUE_MAX = 100 << 10, KEY_MAX = 5000, KEPT_MAX = 32 };

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOW 1u /* a sanitizer makes everything an order of magnitude slower */
#else
#define SLOW 0u
#endif

/* A device over another one. */
typedef struct late_dev {
    fx_dev base;
    fx_dev *below;
    void (*reaping)(void *context); /* called before the first of some reads is reaped */
    void *context;
    bool no_queue; /* cannot open one */
    bool dead;     /* queues refuse reads, as after a failed flush */
    unsigned queues;
    unsigned under_way, under_way_max;
} late_dev;

typedef struct late_queue {
    fx_dev_queue base;
    fx_dev_queue *below;
    fx_dev_op *reads[64];
    unsigned count;
} late_queue;

static late_dev *late_of(fx_dev *dev) {
    return (late_dev *)(void *)dev;
}

static int late_read(fx_dev *dev, uint64_t offset, void *buffer, size_t size) {
    return fx_dev_read(late_of(dev)->below, offset, buffer, size);
}

static uint64_t late_size(fx_dev *dev) {
    return fx_dev_size(late_of(dev)->below);
}

static int late_grow(fx_dev *dev, uint64_t size) {
    return fx_dev_grow(late_of(dev)->below, size);
}

static int late_shrink(fx_dev *dev, uint64_t size) {
    return fx_dev_shrink(late_of(dev)->below, size);
}

static int late_queue_open(fx_dev *dev, fx_dev_queue **queue_out) {
    late_dev *late = late_of(dev);
    if (late->no_queue) {
        return -EMFILE;
    }
    late_queue *queue = calloc(1, sizeof *queue);
    queue->base.dev = dev;
    late->queues++;
    *queue_out = &queue->base;
    return fx_dev_queue_open(late->below, &queue->below);
}

static void late_submit(fx_dev_queue *base, fx_dev_op *op) {
    late_queue *queue = (late_queue *)(void *)base;
    late_dev *late = late_of(base->dev);
    if (op->kind != FX_DEV_READ) {
        fx_dev_submit(queue->below, op);
        return;
    }
    assert_int_equal((uintptr_t)op->buffer % FX_BLOCK_SIZE, 0);
    queue->reads[queue->count++] = op;
    late->under_way++;
    late->under_way_max =
        late->under_way > late->under_way_max ? late->under_way : late->under_way_max;
}

/* The last one first. */
static fx_dev_op *late_reap(fx_dev_queue *base) {
    late_queue *queue = (late_queue *)(void *)base;
    late_dev *late = late_of(base->dev);
    if (queue->count == 0) {
        return fx_dev_reap(queue->below);
    }
    void (*reaping)(void *context) = late->reaping;
    late->reaping = NULL;
    if (reaping != NULL) {
        reaping(late->context);
    }
    fx_dev_op *op = queue->reads[--queue->count];
    op->result = late->dead ? -EIO : fx_dev_read(late->below, op->offset, op->buffer, op->size);
    late->under_way--;
    return op;
}

static void late_queue_close(fx_dev_queue *base) {
    late_queue *queue = (late_queue *)(void *)base;
    assert_int_equal(queue->count, 0);
    late_of(base->dev)->queues--;
    fx_dev_queue_close(queue->below);
    free(queue);
}

static void late_close(fx_dev *dev) {
    (void)dev;
}

static const fx_dev_vtable late_vtable = {
    .name = "late",
    .read = late_read,
    .size = late_size,
    .grow = late_grow,
    .shrink = late_shrink,
    .queue_open = late_queue_open,
    .close = late_close,
    .submit = late_submit,
    .reap = late_reap,
    .queue_close = late_queue_close,
};

/* ---- The world ---- */

typedef struct world {
    mem_dev *dev;
    late_dev late;
    stage stage;
    uint32_t sizes[KEYS];
    uint32_t stamps[KEYS];
    uint8_t key[KEY_MAX];
    uint8_t keys[FX_READS_MAX][KEY_MAX];
    uint8_t value[VALUE_MAX];
    fx_wanted wanted[FX_READS_MAX];
    uint32_t numbers[FX_READS_MAX];
    unsigned looks; /* of hooks */
} world;

static size_t key_len_of(uint32_t number) {
    return number % 17 == 3 ? KEY_MAX : 4 + number % 60;
}

static void fill_key(uint8_t *key, uint32_t number) {
    memset(key, (int)('a' + number % 20), key_len_of(number));
    memcpy(key, &number, sizeof number);
}

static void fill_value(world *w, uint32_t number) {
    for (uint32_t i = 0; i < w->sizes[number]; i++) {
        w->value[i] = (uint8_t)(number * 31 + w->stamps[number] * 5 + i * 7 + (i >> 8));
    }
}

static uint64_t hash_of(world *w, uint32_t number) {
    fill_key(w->key, number);
    return fx_engine_hash(&w->stage.engine, w->key, key_len_of(number));
}

static void put(world *w, uint32_t number, uint32_t size) {
    fx_committed committed = {0};
    w->sizes[number] = size;
    w->stamps[number]++;
    fill_value(w, number);
    fx_change change = {.key = w->key,
                        .hash = hash_of(w, number),
                        .key_len = (uint32_t)key_len_of(number),
                        .value = w->value,
                        .value_len = size,
                        .expiry_ns = number % 3 == 0 ? UINT64_MAX / 2 : 0};
    if (size > FX_INLINE_VALUE_MAX) {
        change.block = fx_block_create(&w->stage.engine.blocks, w->value, size);
    }
    uint64_t limit = w->stage.engine.memory_limit; /* which keeps readers from keeping values */
    w->stage.engine.memory_limit = 0;
    assert_int_equal(stage_write(&w->stage, &change, &committed), FEOX_OK);
    w->stage.engine.memory_limit = limit;
}

/* Everything is on disk only then. */
static void evict_all(world *w) {
    assert_int_equal(stage_sync(&w->stage), FEOX_OK);
    (void)fx_evict_any(&w->stage.engine, UINT32_MAX);
    for (uint32_t i = 0; i < w->stage.engine.shard_count; i++) {
        (void)fx_evict_shard(&w->stage.engine.shards[i], UINT32_MAX);
    }
}

/* All sizes: none, small, of some blocks, at the limit, with extents of their own. */
static uint32_t size_of(uint32_t number) {
    return number % 40 == 0   ? 0
           : number % 40 == 1 ? FX_LARGE_VALUE_MIN - 1
           : number % 40 == 2 ? FX_LARGE_VALUE_MIN + number
           : number % 5 == 0  ? 1500 + number * 20
                              : number * 3;
}

static world *world_create(void) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(1);
    w->late = (late_dev){.base = {&late_vtable}, .below = mem_dev_door(w->dev), .context = w};
    w->stage.door = &w->late.base;
    w->stage.ordered = true;
    w->stage.memory_limit = FX_MEMORY_LIMIT_LEAN;
    assert_int_equal(stage_open(&w->stage, false), FEOX_OK);
    for (uint32_t number = 0; number < KEYS; number++) {
        put(w, number, size_of(number));
    }
    evict_all(w);
    return w;
}

static void world_close(world *w) {
    assert_int_equal(stage_close(&w->stage), FEOX_OK);
    assert_int_equal(w->late.queues, 0);
    assert_int_equal(w->late.under_way, 0);
}

static void world_destroy(world *w) {
    stage_expect_sound(&w->stage);
    world_close(w);
    mem_dev_destroy(w->dev);
    free(w);
}

static uint64_t disk_reads(world *w) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    fx_flusher_stats(w->stage.engine.flusher, w->stage.now, &stats);
    return stats.disk_reads;
}

/* Notes keys first, first + step, ... whose values are on disk only; how many. */
static size_t look_up(world *w, uint32_t first, uint32_t step, size_t most) {
    size_t count = 0;
    for (uint32_t number = first; number < KEYS && count < most; number += step) {
        fx_wanted *wanted = &w->wanted[count];
        fill_key(w->keys[count], number);
        *wanted = (fx_wanted){.key = w->keys[count],
                              .key_len = key_len_of(number),
                              .hash = hash_of(w, number)};
        feox_status status = fx_fetch_memory(&w->stage.engine, wanted->hash, wanted->key,
                                             wanted->key_len, NULL, 0, &wanted->found);
        if (status == FEOX_PENDING) {
            w->numbers[count++] = number;
        } else { /* dropping it would free nothing */
            assert_int_equal(status, FEOX_OK);
            assert_true(w->sizes[number] < KEPT_MAX || key_len_of(number) == KEY_MAX);
        }
    }
    return count;
}

static bool is_value(world *w, uint32_t number, const fx_block *block) {
    fill_value(w, number);
    return block->size == w->sizes[number] && memcmp(block->data, w->value, block->size) == 0;
}

/* Of what was asked for together, those that arrived are right. How many. */
static size_t arrived(world *w, size_t count) {
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        fx_block *block = w->wanted[i].found.block;
        if (block != NULL) {
            assert_true(is_value(w, w->numbers[i], block));
            fx_block_release(block);
            w->wanted[i].found.block = NULL;
            good++;
        }
    }
    return good;
}

/* Alone, each says `wanted` if it is `bad`, and else has its value. */
static void expect_alone(world *w, uint32_t number, feox_status wanted) {
    fx_fetched got = {0};
    uint64_t hash = hash_of(w, number);
    static uint8_t buffer[FX_INLINE_VALUE_MAX];
    feox_status status = fx_fetch(&w->stage.engine, hash, w->key, key_len_of(number), buffer,
                                  sizeof buffer, &got);
    assert_int_equal(status, wanted);
    if (status == FEOX_OK && got.block != NULL) {
        assert_true(is_value(w, number, got.block));
        fx_block_release(got.block);
    }
}

static size_t read_together(world *w, size_t count) {
    fx_fetch_together(&w->stage.engine, w->wanted, count);
    return arrived(w, count);
}

/* ---- Tests ---- */

/* One read each, whatever the size and wherever the record begins; up to 32 under way. */
static void test_all_sizes(void **state) {
    (void)state;
    world *w = world_create();
    for (uint32_t first = 0; first < 12; first++) {
        size_t count = look_up(w, first, 6, FX_READS_MAX);
        size_t large = 0;
        for (size_t i = 0; i < count; i++) {
            large += w->sizes[w->numbers[i]] >= FX_LARGE_VALUE_MIN;
        }
        uint64_t before = disk_reads(w);
        assert_int_equal(read_together(w, count), count - large);
        assert_int_equal(disk_reads(w) - before, count - large);
        for (size_t i = 0; i < count; i++) {
            before = disk_reads(w);
            expect_alone(w, w->numbers[i], FEOX_OK);
            bool has_extent = w->sizes[w->numbers[i]] >= FX_LARGE_VALUE_MIN;
            assert_int_equal(disk_reads(w) - before, has_extent ? 2 : 1);
        }
    }
    assert_true(w->late.under_way_max > FX_READS_MAX / 2);
    world_destroy(w);
}

/* Records that end just before, at and just behind the end of a block. */
static void test_ends_of_blocks(void **state) {
    (void)state;
    world *w = world_create();
    for (uint32_t size = 64; size < 128; size += 1 + SLOW * 4) {
        for (uint32_t number = 0; number < KEYS; number++) {
            put(w, number, size);
        }
        evict_all(w);
        for (uint32_t first = 0; first < 7; first++) {
            size_t count = look_up(w, first, 7, FX_READS_MAX);
            uint64_t before = disk_reads(w);
            assert_int_equal(read_together(w, count), count);
            assert_int_equal(disk_reads(w) - before, count);
        }
    }
    world_destroy(w);
}

/* More bytes than are read at once. */
static void test_long_values(void **state) {
    (void)state;
    world *w = world_create();
    for (uint32_t number = 0; number < FX_READS_MAX; number++) {
        put(w, number, FX_LARGE_VALUE_MIN - 1 - number);
    }
    evict_all(w);
    size_t count = look_up(w, 0, 1, FX_READS_MAX);
    w->late.under_way_max = 0;
    assert_int_equal(read_together(w, count), count);
    assert_true(w->late.under_way_max > 4 && w->late.under_way_max < FX_READS_MAX / 2);
    world_destroy(w);
}

/* What is read stays in memory if there is room. */
static void test_kept(void **state) {
    (void)state;
    world *w = world_create();
    w->stage.engine.memory_limit = UINT64_MAX;
    size_t count = look_up(w, 4, 40, FX_READS_MAX);
    assert_int_equal(read_together(w, count), count);
    uint64_t before = disk_reads(w);
    for (size_t i = 0; i < count; i++) {
        expect_alone(w, w->numbers[i], FEOX_OK);
    }
    assert_int_equal(disk_reads(w), before);
    w->stage.engine.memory_limit = FX_MEMORY_LIMIT_LEAN;
    world_destroy(w);
}

/* Where not all fits, what was read last drops what nobody reads. */
static void test_kept_instead_of_others(void **state) {
    (void)state;
    world *w = world_create();
    fx_engine *engine = &w->stage.engine;
    engine->memory_limit = fx_engine_memory(engine) + ((uint64_t)100 << 10);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t number = 0; number < KEYS; number++) {
            expect_alone(w, number, FEOX_OK);
        }
        assert_true(fx_engine_memory(engine) <= engine->memory_limit + (64u << 10));
    }
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        dropped += engine->shards[i].counts.evictions;
    }
    assert_true(dropped > 2 * KEYS);
    engine->memory_limit = FX_MEMORY_LIMIT_LEAN;
    world_destroy(w);
}

/* The same key twice, and one alone. */
static void test_few(void **state) {
    (void)state;
    world *w = world_create();
    w->stage.engine.memory_limit = UINT64_MAX;
    assert_int_equal(look_up(w, 5, 1, 1), 1);
    w->wanted[1] = w->wanted[0];
    w->numbers[1] = w->numbers[0];
    assert_int_equal(read_together(w, 2), 2);
    expect_alone(w, w->numbers[0], FEOX_OK);
    w->late.under_way_max = 0;
    assert_int_equal(look_up(w, 6, 1, 1), 1);
    (void)read_together(w, 1);
    assert_int_equal(w->late.under_way_max, 0); /* it gains nothing from a queue */
    w->stage.engine.memory_limit = FX_MEMORY_LIMIT_LEAN;
    world_destroy(w);
}

static uint64_t byte_of(const fx_wanted *wanted) {
    return wanted->found.location * FX_RECORD_ALIGN;
}

/* Blocks that cannot be read, and flipped bits, cost the keys that have them. */
static void test_bad_places(void **state) {
    (void)state;
    for (unsigned flips = 0; flips < 2; flips++) {
        world *w = world_create();
        size_t count = look_up(w, 7, 6, FX_READS_MAX); /* no large ones */
        uint64_t bad = byte_of(&w->wanted[11]);
        uint64_t corrupt = fx_load_relaxed(&w->stage.engine.corrupt_reads);
        uint8_t *byte = mem_dev_bytes(w->dev) + bad + FX_RECORD_HEADER_SIZE;
        size_t met = 0;
        if (flips != 0) {
            *byte ^= 4;
        } else {
            mem_dev_fail_reads(w->dev, bad, 1);
        }
        size_t good = read_together(w, count);
        for (size_t i = 0; i < count; i++) {
            uint64_t from = byte_of(&w->wanted[i]) / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
            uint64_t to = byte_of(&w->wanted[i]) + FX_RECORD_HEADER_SIZE +
                          key_len_of(w->numbers[i]) + w->sizes[w->numbers[i]];
            bool hit = flips != 0 ? i == 11
                                  : from <= bad && fx_round_up(to, FX_BLOCK_SIZE) > bad;
            met += hit;
            expect_alone(w, w->numbers[i],
                         !hit ? FEOX_OK : flips != 0 ? FEOX_ERR_CORRUPT : FEOX_ERR_IO);
        }
        assert_true(met > 0);
        assert_int_equal(good, count - met);
        assert_int_equal(fx_load_relaxed(&w->stage.engine.corrupt_reads) - corrupt, flips);
        mem_dev_fail_reads(w->dev, 0, 0);
        if (flips != 0) {
            *byte ^= 4;
        }
        world_destroy(w);
    }
}

static void is_pinned(void *context) {
    world *w = context;
    fx_epoch *readers = &w->stage.engine.flusher->readers;
    uint64_t stamp = fx_epoch_stamp(readers);
    assert_true(fx_epoch_safe(readers) <= stamp);
    w->looks++;
}

/* Nobody overwrites what is being read, and nothing is held back afterwards. */
static void test_pinned(void **state) {
    (void)state;
    world *w = world_create();
    size_t count = look_up(w, 8, 3, FX_READS_MAX);
    w->late.reaping = is_pinned;
    assert_true(read_together(w, count) > count / 2);
    assert_int_equal(w->looks, 1);
    fx_epoch *readers = &w->stage.engine.flusher->readers;
    uint64_t stamp = fx_epoch_stamp(readers);
    assert_true(fx_epoch_safe(readers) > stamp);
    world_destroy(w);
}

/* Writers do not wait for reads: what was looked up is older by the time it arrives. */
static void update_some(void *context) {
    world *w = context;
    for (uint32_t number = 9; number < KEYS; number += 12) {
        put(w, number, w->sizes[number]);
    }
    w->looks++;
}

static void test_updated_meanwhile(void **state) {
    (void)state;
    world *w = world_create();
    size_t count = look_up(w, 9, 6, FX_READS_MAX);
    w->late.reaping = update_some;
    fx_fetch_together(&w->stage.engine, w->wanted, count);
    assert_int_equal(w->looks, 1);
    for (size_t i = 0; i < count; i++) {
        fx_block *block = w->wanted[i].found.block;
        if (block != NULL) { /* what it was when it was looked up */
            uint32_t now = w->stamps[w->numbers[i]];
            w->stamps[w->numbers[i]] = 1;
            assert_true(is_value(w, w->numbers[i], block));
            w->stamps[w->numbers[i]] = now;
            fx_block_release(block);
        }
        expect_alone(w, w->numbers[i], FEOX_OK);
    }
    world_destroy(w);
}

/* Places that were looked up long ago: some are another record's by now, or none's, or behind the
 * end of the file. */
static void test_moved_before(void **state) {
    (void)state;
    world *w = world_create();
    size_t count = look_up(w, 10, 6, FX_READS_MAX);
    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t number = 0; number < KEYS; number++) {
            if (number % 12 != 4) {
                put(w, number, (size_of(number) + round * 977) % FX_LARGE_VALUE_MIN);
            }
        }
        evict_all(w);
        assert_int_equal(stage_checkpoint(&w->stage, true), FEOX_OK);
    }
    w->wanted[0].found.location = mem_dev_size(w->dev) / FX_RECORD_ALIGN - 1;
    w->wanted[1].found.location = UINT64_MAX / 4;
    fx_fetch_together(&w->stage.engine, w->wanted, count);
    size_t gone = 0;
    for (size_t i = 0; i < count; i++) {
        fx_block *block = w->wanted[i].found.block;
        if (w->numbers[i] % 12 == 4) {
            assert_true(block == NULL || is_value(w, w->numbers[i], block));
        }
        gone += block == NULL;
        fx_block_release(block);
        expect_alone(w, w->numbers[i], FEOX_OK);
    }
    assert_null(w->wanted[0].found.block);
    assert_null(w->wanted[1].found.block);
    assert_true(gone > 4);
    world_destroy(w);
}

/* Places where nothing can be, and the places of others. */
static void test_no_such_place(void **state) {
    (void)state;
    world *w = world_create();
    fx_flusher *flusher = w->stage.engine.flusher;
    uint64_t size = mem_dev_size(w->dev);
    assert_int_equal(look_up(w, 11, 1, 2), 2);
    const fx_wanted first = w->wanted[0];
    const uint64_t places[] = {0,
                               w->wanted[1].found.location,
                               size / FX_RECORD_ALIGN,
                               (size + FX_BLOCK_SIZE) / FX_RECORD_ALIGN,
                               UINT64_MAX / FX_RECORD_ALIGN,
                               UINT64_MAX / FX_RECORD_ALIGN + 1,
                               (uint64_t)1 << 63,
                               UINT64_MAX};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        fx_wanted pair[2] = {first, first};
        fx_block *block = NULL;
        pair[0].found.location = places[i];
        feox_status status = fx_reader_read(flusher, &pair[0], &block);
        assert_true(status == FEOX_MISMATCH || status == FEOX_ERR_CORRUPT);
        assert_null(block);
        fx_reader_read_many(flusher, pair, 2);
        assert_null(pair[0].found.block);
        assert_true(is_value(w, w->numbers[0], pair[1].found.block));
        fx_block_release(pair[1].found.block);
    }
    world_destroy(w);
}

static void find_it_taken(void *context) {
    world *w = context;
    fx_wanted mine[FX_READS_MAX];
    memcpy(mine, w->wanted, sizeof mine);
    unsigned before = w->late.under_way;
    fx_reader_read_many(w->stage.engine.flusher, mine, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_null(mine[i].found.block);
    }
    assert_int_equal(w->late.under_way, before);
    expect_alone(w, w->numbers[0], FEOX_OK);
    w->looks++;
}

/* One call at a time has the queue; the other one does without, and the first is not disturbed. */
static void test_taken(void **state) {
    (void)state;
    world *w = world_create();
    size_t count = look_up(w, 3, 4, FX_READS_MAX);
    w->late.reaping = find_it_taken;
    size_t good = read_together(w, count);
    assert_int_equal(w->looks, 1);
    count = look_up(w, 3, 4, FX_READS_MAX); /* and it has it again */
    assert_int_equal(read_together(w, count), good);
    world_destroy(w);
}

/* Without a queue, or with one that refuses, all goes on one by one. */
static void test_no_queue(void **state) {
    (void)state;
    world *w = world_create();
    for (unsigned round = 0; round < 4; round++) {
        w->late.no_queue = round == 0;
        w->late.dead = round == 2;
        size_t count = look_up(w, 4, 40, FX_READS_MAX);
        size_t good = read_together(w, count);
        assert_int_equal(good, round % 2 == 0 ? 0 : count);
        for (size_t i = 0; i < count; i++) {
            expect_alone(w, w->numbers[i], FEOX_OK);
        }
    }
    assert_int_equal(w->late.queues, 2);
    world_destroy(w);
}

/* Whatever allocation fails, what comes is right, and the next call has all. */
static void test_no_memory(void **state) {
    (void)state;
    world *w = world_create();
    fx_reader *reader = &w->stage.engine.flusher->reader;
    for (unsigned sticky = 0; sticky < 2; sticky++) {
        bool failed = true;
        for (uint64_t n = 1; failed; n++) {
            size_t count = look_up(w, 4, 40, FX_READS_MAX);
            fx_mem_fail_after(n, sticky != 0);
            fx_fetch_together(&w->stage.engine, w->wanted, count);
            fx_mem_fail_after(0, false);
            failed = fx_mem_failed() > 0;
            size_t good = arrived(w, count);
            assert_true(failed ? good < count : good == count);
            count = look_up(w, 4, 40, FX_READS_MAX);
            assert_int_equal(read_together(w, count), count);
            fx_reader_deinit(reader); /* to begin without queue and buffer */
            memset(reader, 0, sizeof *reader);
        }
        assert_int_equal(w->late.queues, 1);
    }
    world_destroy(w);
}

/* Who may only read has a queue for it, too. */
static void test_read_only(void **state) {
    (void)state;
    world *w = world_create();
    world_close(w);
    assert_int_equal(stage_open(&w->stage, true), FEOX_OK);
    assert_int_equal(w->late.queues, 0);
    size_t count = look_up(w, 4, 40, FX_READS_MAX);
    assert_int_equal(read_together(w, count), count);
    assert_int_equal(w->late.queues, 1);
    world_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_sizes),   cmocka_unit_test(test_ends_of_blocks),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_kept),        cmocka_unit_test(test_kept_instead_of_others),
        cmocka_unit_test(test_few),         cmocka_unit_test(test_bad_places),
        cmocka_unit_test(test_pinned),      cmocka_unit_test(test_moved_before),
        cmocka_unit_test(test_taken),       cmocka_unit_test(test_updated_meanwhile),
        cmocka_unit_test(test_no_such_place),
        cmocka_unit_test(test_no_queue),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_read_only),
    };
    return cmocka_run_group_tests_name("engine/reader", tests, NULL, NULL);
}
