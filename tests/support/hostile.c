#include "support/hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "disk/journal.h"
#include "engine/check_disk.h"
#include "engine/commit.h"
#include "engine/compactor.h"
#include "engine/fetch.h"

typedef struct store {
    mem_dev *dev;
    fx_engine engine;
    uint64_t now;
    uint64_t size; /* of a new file */
} store;

/* Lengths of values beside those that are not inline. Key and value together are about the same for
 * all keys, and fill the slots of one size: the first slot of each size takes time at every
 * opening, which is most of what a case costs. */
#define SHORT 39u
#define MEDIUM 95u

/* Not an assertion of CMocka: campaigns count what is wrong, and go on. */
#define EXPECT(out, condition) expect((out), (condition), #condition)

static bool expect(hostile_outcome *out, bool condition, const char *what) {
    if (!condition && out->wrong == NULL) {
        out->wrong = what;
    }
    return condition;
}

static uint8_t value_buffer[HOSTILE_VALUE_MAX];
static uint8_t read_buffer[FX_INLINE_VALUE_MAX + 1];

static uint64_t tick(void *context) {
    return ++((store *)context)->now;
}

static feox_status store_open(store *s, bool read_only, bool rescue, uint64_t ring_blocks) {
    const fx_engine_options options = {.persistent = true,
                                       .read_only = read_only,
                                       .memory_limit = rescue ? FX_MEMORY_LIMIT_LEAN : 0,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = tick,
                                       .clock_context = s,
                                       .shard_count = 2};
    memset(&s->engine, 0, sizeof s->engine);
    s->now = 1000;
    assert_int_equal(fx_engine_init(&s->engine, &options), FEOX_OK);
    const fx_flusher_options file = {.read_only = read_only,
                                     .rescue = rescue,
                                     .ring_blocks = ring_blocks,
                                     .file_size_initial = ring_blocks != 0 ? s->size : 0};
    feox_status status =
        fx_flusher_open(&s->engine, mem_dev_door(s->dev), &file, &s->engine.flusher);
    return status == FEOX_OK ? fx_commit_recovery_done(&s->engine) : status;
}

static feox_status store_close(store *s) {
    feox_status status = FEOX_OK;
    if (s->engine.flusher != NULL) {
        status = fx_flusher_close(s->engine.flusher, ++s->now);
    }
    fx_engine_deinit(&s->engine);
    return status;
}

/* ---- A store whose history is known ---- */

/* Keys of several lengths; some differ in one bit only, so that a flipped bit makes one of the
 * other. */
static uint32_t key_length(uint32_t key) {
    return 2 + key % 5 * 7;
}

static uint32_t key_bytes(uint32_t key, uint8_t *out) {
    uint32_t length = key_length(key);
    memset(out, 'k', length);
    out[0] = (uint8_t)(key % 8 + '0');
    out[length - 1] = (uint8_t)(key / 8 + 'a');
    return length;
}

static void value_bytes(uint32_t key, hostile_value what) {
    fx_rng rng;
    fx_rng_init(&rng, (uint64_t)key << 32 | what.stamp);
    for (uint32_t i = 0; i < what.size; i += 8) {
        fx_put_u64(value_buffer + i, fx_rng_next(&rng));
    }
    fx_put_u32(value_buffer, what.stamp);
}

static void change_key(store *s, hostile *h, uint32_t key, uint32_t size) {
    uint8_t name[64];
    fx_committed committed;
    assert_true(h->stamps + 1 < HOSTILE_STAMPS);
    h->now[key] = (hostile_value){.size = size, .stamp = ++h->stamps};
    h->owner[h->stamps] = key;
    h->sizes[h->stamps] = size;
    fx_change change = {.key = name, .key_len = key_bytes(key, name)};
    change.hash = fx_engine_hash(&s->engine, name, change.key_len);
    fx_shard *shard = fx_engine_shard(&s->engine, change.hash);
    if (size != HOSTILE_ABSENT) {
        value_bytes(key, h->now[key]);
        h->values[h->stamps] = malloc(size);
        memcpy(h->values[h->stamps], value_buffer, size);
        change.value = value_buffer;
        change.value_len = size;
        change.block = size > FX_INLINE_VALUE_MAX
                           ? fx_block_create(&s->engine.blocks, value_buffer, size)
                           : NULL;
    }
    feox_status status = FEOX_OK;
    do {
        fx_spinlock_lock(&shard->lock);
        fx_record *old = fx_commit_any_locked(shard, change.hash, name, change.key_len);
        status =
            change.value != NULL
                ? fx_commit_put_locked(shard, old, &change, ++s->now, &committed)
                : fx_commit_delete_locked(shard, old, change.hash, 0, false, ++s->now, &committed);
        fx_spinlock_unlock(&shard->lock);
    } while (status == FEOX_END &&
             fx_commit_relieve(shard, change.key_len, size != HOSTILE_ABSENT ? size : 0,
                               size == HOSTILE_ABSENT) == FEOX_OK);
    assert_int_equal(status, FEOX_OK);
}

static void keep_moment(store *s, hostile *h) {
    if (h->keeps_moments) {
        assert_true(h->moment_count < HOSTILE_MOMENTS && mem_dev_size(s->dev) >= HOSTILE_OLD_SIZE);
        h->moments[h->moment_count] = malloc(HOSTILE_OLD_SIZE);
        memcpy(h->moments[h->moment_count++], mem_dev_bytes(s->dev), HOSTILE_OLD_SIZE);
    }
}

static void change_keys(store *s, hostile *h, uint32_t from, uint32_t to, uint32_t size) {
    memmove(h->before[1], h->before[0], sizeof h->before - sizeof h->before[0]);
    memcpy(h->before[0], h->now, sizeof h->now);
    for (uint32_t k = from; k < to; k++) {
        /* Of all lengths modulo 8. */
        change_key(s, h, k, size == HOSTILE_ABSENT ? size : size + 30 - key_length(k) + k % 8);
    }
    assert_int_equal(
        fx_flusher_sync(s->engine.flusher, fx_flusher_open_group(s->engine.flusher), ++s->now),
        FEOX_OK);
    keep_moment(s, h);
}

static void checkpoint(store *s, hostile *h) {
    fx_flusher_enter(s->engine.flusher);
    assert_int_equal(fx_compactor_checkpoint(s->engine.flusher, true), FEOX_OK);
    fx_flusher_leave(s->engine.flusher);
    keep_moment(s, h);
}

static void live(store *s, hostile *h, bool with_groups) {
    change_keys(s, h, 0, 20, SHORT);
    change_keys(s, h, 5, 12, MEDIUM);
    checkpoint(s, h);
    change_keys(s, h, 20, 32, 1200); /* not inline */
    change_keys(s, h, 32, 34, FX_LARGE_VALUE_MIN);
    change_keys(s, h, 10, 14, HOSTILE_ABSENT);
    change_keys(s, h, 32, 33, SHORT);
    checkpoint(s, h);
    if (with_groups) {
        change_keys(s, h, 34, 36, MEDIUM);
        change_keys(s, h, 3, 7, HOSTILE_ABSENT);
        change_keys(s, h, 8, 10, MEDIUM);
        change_keys(s, h, 0, 3, SHORT);
    }
}

/* Groups that fit their entry, and some that do not; places are used again and again. */
static void live_long(store *s, hostile *h, bool with_groups) {
    for (unsigned round = 0; round < 4; round++) {
        change_keys(s, h, 0, 14, 1200);
        change_keys(s, h, 14, 34, MEDIUM);
        checkpoint(s, h);
        change_keys(s, h, 34, 35, FX_LARGE_VALUE_MIN);
        change_keys(s, h, 30, 32, HOSTILE_ABSENT);
    }
    checkpoint(s, h);
    if (with_groups) {
        change_keys(s, h, 0, 2, 1200);
        change_keys(s, h, 14, 16, HOSTILE_ABSENT);
        change_keys(s, h, 0, 14, 1200);
        change_keys(s, h, 17, 19, SHORT);
    }
}

static void mark(hostile *h, uint64_t at, uint64_t size, hostile_part part) {
    assert_true(at <= h->size && size <= h->size - at);
    memset(h->parts + at, (int)part, (size_t)size);
}

/* The live records of one segment, and what stands before it in its journal entry. */
static void mark_segment(hostile *h, const fx_disk_segment *segment) {
    fx_segment_walk walk;
    fx_walked record;
    uint64_t start = segment->position / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    if (segment->blocks == 0) {
        mark(h, start, FX_JOURNAL_HEADER_SIZE + FX_JOURNAL_ITEM_SIZE, HOSTILE_HEADER);
    }
    fx_segment_walk_init(&walk, &h->root.id, h->bytes + segment->position, segment->position,
                         segment->group, segment->byte_length);
    while (fx_segment_walk_live(&walk, segment, &record) == FX_WALK_RECORD) {
        mark(h, segment->position + record.offset, record.size, HOSTILE_LIVE);
        if (record.entry.kind == FX_ENTRY_LARGE) {
            mark(h, record.entry.large_offset, record.entry.value_len, HOSTILE_LIVE);
        }
    }
}

static void mark_parts(hostile *h, const fx_segments *segments) {
    const fx_superblock *root = &h->root;
    h->parts = calloc(h->size, 1);
    for (uint64_t copy = 0; copy < FX_SUPERBLOCK_COPIES; copy++) { /* their zeros count as well */
        mark(h, copy * FX_BLOCK_SIZE, FX_BLOCK_SIZE, HOSTILE_LIVE);
        mark(h, copy * FX_BLOCK_SIZE, 168, HOSTILE_HEADER);
    }
    mark(h, root->checkpoint.block * FX_BLOCK_SIZE, root->checkpoint_length, HOSTILE_HEADER);
    mark(h, root->mirror * FX_BLOCK_SIZE, root->checkpoint_length, HOSTILE_HEADER);
    for (size_t i = 0; i < segments->count; i++) {
        mark_segment(h, segments->items[i]);
    }
}

static void note_layout(hostile *h, const fx_flusher *flusher) {
    h->root = flusher->root;
    mark_parts(h, &flusher->segments);
    for (size_t i = 0; i < flusher->segments.count; i++) {
        const fx_disk_segment *segment = flusher->segments.items[i];
        assert_true(h->segment_count < 64);
        h->segments[h->segment_count] = segment->position;
        h->segment_lengths[h->segment_count++] = segment->byte_length;
    }
}

static hostile *make(hostile *h, bool with_groups, uint64_t ring_blocks) {
    store s = {.dev = mem_dev_create(3), .size = h->keeps_moments ? HOSTILE_OLD_SIZE : 256u << 10};
    for (uint32_t k = 0; k < HOSTILE_KEYS; k++) {
        h->now[k].size = HOSTILE_ABSENT;
    }
    assert_int_equal(store_open(&s, false, false, ring_blocks), FEOX_OK);
    if (h->keeps_moments) {
        live_long(&s, h, with_groups);
    } else {
        live(&s, h, with_groups);
    }
    if (!with_groups) {
        assert_int_equal(store_close(&s), FEOX_OK);
        for (unsigned i = 0; i < HOSTILE_GROUPS; i++) { /* nothing may be taken for torn */
            memcpy(h->before[i], h->now, sizeof h->now);
        }
    }
    h->size = mem_dev_size(s.dev);
    h->bytes = malloc(h->size);
    memcpy(h->bytes, mem_dev_bytes(s.dev), h->size);
    if (with_groups) {
        (void)store_close(&s);
    }
    mem_dev_destroy(s.dev);
    s.dev = mem_dev_create_from(h->bytes, h->size, 1);
    assert_int_equal(store_open(&s, true, false, 0), FEOX_OK);
    note_layout(h, s.engine.flusher);
    (void)store_close(&s);
    mem_dev_destroy(s.dev);
    for (h->small_size = h->size; h->small_size > 0 && h->bytes[h->small_size - 1] == 0;) {
        h->small_size--;
    }
    h->small_size = (size_t)fx_round_up(h->small_size, FX_BLOCK_SIZE);
    return h;
}

hostile *hostile_make(bool with_groups, uint64_t ring_blocks) {
    return make(calloc(1, sizeof(hostile)), with_groups, ring_blocks);
}

hostile *hostile_make_old(bool with_groups, uint64_t ring_blocks, uint32_t first_stamp) {
    hostile *h = calloc(1, sizeof *h);
    h->keeps_moments = true;
    h->first_stamp = first_stamp;
    h->stamps = first_stamp;
    return make(h, with_groups, ring_blocks);
}

void hostile_free(hostile *h) {
    for (uint32_t i = 0; i <= h->stamps; i++) {
        free(h->values[i]);
    }
    for (unsigned i = 0; i < h->moment_count; i++) {
        free(h->moments[i]);
    }
    free(h->parts);
    free(h->bytes);
    free(h);
}

/* ---- Looking ---- */

typedef struct look {
    store *s;
    const hostile *truth; /* NULL: whatever comes is right */
    hostile_outcome *out;
    fx_record *records[4096];
    size_t count;
    unsigned corrupt;
    bool seen[HOSTILE_KEYS];
    hostile_value values[HOSTILE_KEYS];
} look;

static bool collect(void *context, fx_record *record) {
    look *l = context;
    if (l->count < sizeof l->records / sizeof l->records[0]) {
        l->records[l->count++] = record;
    }
    return true;
}

static uint32_t key_of(const uint8_t *key, uint32_t length) {
    uint8_t name[64];
    uint32_t k = length > 0 ? (uint32_t)(key[0] - '0') + (uint32_t)(key[length - 1] - 'a') * 8u : 0;
    return k < HOSTILE_KEYS && key_bytes(k, name) == length && memcmp(name, key, length) == 0
               ? k
               : HOSTILE_KEYS;
}

/* A value that came back: written as a whole, for this key. */
static void take_value(look *l, uint32_t key, const uint8_t *data, uint64_t size) {
    const hostile *truth = l->truth;
    if (!EXPECT(l->out, key < HOSTILE_KEYS && size >= sizeof(uint32_t))) {
        return;
    }
    hostile_value got = {.size = (uint32_t)size, .stamp = fx_get_u32(data)};
    if (EXPECT(l->out, got.stamp > truth->first_stamp && got.stamp <= truth->stamps) &&
        EXPECT(l->out, truth->owner[got.stamp] == key && truth->sizes[got.stamp] == size) &&
        EXPECT(l->out, memcmp(data, truth->values[got.stamp], size) == 0)) {
        l->seen[key] = true;
        l->values[key] = got;
    }
}

static void look_at(look *l, const fx_record *record) {
    fx_engine *engine = &l->s->engine;
    uint32_t length = fx_record_key_len(record);
    uint8_t *key = malloc(length);
    fx_fetched got;
    memcpy(key, fx_record_key(record), length);
    feox_status status = fx_fetch(engine, fx_engine_hash(engine, key, length), key, length,
                                  read_buffer, sizeof read_buffer, &got);
    EXPECT(l->out,
           status == FEOX_OK || status == FEOX_NOT_FOUND || status == FEOX_ERR_CORRUPT);
    l->corrupt += status == FEOX_ERR_CORRUPT;
    if (status == FEOX_OK && l->truth != NULL) {
        take_value(l, key_of(key, length), got.block != NULL ? got.block->data : read_buffer,
                   got.value_len);
    }
    if (status == FEOX_OK) {
        fx_block_release(got.block);
    }
    free(key);
}

static look *look_at_all(store *s, const hostile *truth, hostile_outcome *out) {
    look *l = calloc(1, sizeof *l);
    l->s = s;
    l->truth = truth;
    l->out = out;
    for (uint32_t i = 0; i < s->engine.shard_count; i++) {
        l->count = 0;
        fx_table_each_locked(&s->engine.shards[i].table, collect, l);
        for (size_t j = 0; j < l->count; j++) {
            look_at(l, l->records[j]);
        }
    }
    return l;
}

/* Every value that came is the one of its key in this state. How many did not come. */
static bool agrees(const look *l, const hostile_value *state, unsigned *absent_out) {
    bool all = true;
    *absent_out = 0;
    for (uint32_t k = 0; k < HOSTILE_KEYS; k++) {
        bool there = state[k].size != HOSTILE_ABSENT;
        all = all && (!l->seen[k] || (there && l->values[k].stamp == state[k].stamp));
        *absent_out += there && !l->seen[k];
    }
    return all;
}

/* The state as it should be, or that before the last groups, less what is damaged. */
static void expect_truth(const look *l, unsigned *absent_out, bool *prefix_out) {
    bool right = agrees(l, l->truth->now, absent_out);
    *prefix_out = false;
    for (unsigned i = 0; i < HOSTILE_GROUPS && (!right || *absent_out > 0); i++) {
        unsigned absent = 0;
        if (agrees(l, l->truth->before[i], &absent) && (!right || absent < *absent_out)) {
            right = true;
            *prefix_out = true;
            *absent_out = absent;
        }
    }
    EXPECT(l->out, right); /* every value is of one state, now or before a last group */
}

static uint64_t damage(store *s, hostile_outcome *out) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    fx_flusher_stats(s->engine.flusher, s->now, &stats);
    out->read_bytes =
        stats.disk_read_bytes > out->read_bytes ? stats.disk_read_bytes : out->read_bytes;
    return stats.corrupt_records;
}

static bool is_refusal(feox_status status) {
    return status == FEOX_ERR_CORRUPT || status == FEOX_ERR_NOT_FEOX || status == FEOX_ERR_NEWER;
}

static void run_check(store *s, hostile_outcome *out) {
    fx_check_sink quick = {.found = NULL};
    fx_check_sink full = {.found = NULL};
    EXPECT(out, fx_check_memory(&s->engine, &full) == FEOX_OK);
    EXPECT(out, full.report.problems == 0);
    EXPECT(out, fx_check_disk(s->engine.flusher, true, &quick) == FEOX_OK);
    EXPECT(out, fx_check_disk(s->engine.flusher, false, &full) == FEOX_OK);
    EXPECT(out, full.report.problems >= quick.report.problems);
    out->problems = (unsigned)full.report.problems;
}

static void run_read(store *s, const hostile *truth, hostile_outcome *out) {
    out->read = store_open(s, true, false, 0);
    if (out->read == FEOX_OK) {
        look *l = look_at_all(s, truth, out);
        run_check(s, out);
        out->corrupt = l->corrupt;
        out->damaged = damage(s, out);
        if (truth != NULL) {
            expect_truth(l, &out->absent, &out->prefix);
            /* Damage is told of; only a last group may be gone like one that a crash tore. */
            EXPECT(out, out->absent == 0 || (out->damaged > 0 && out->problems > 0));
        }
        free(l);
    } else {
        EXPECT(out, is_refusal(out->read));
    }
    (void)store_close(s);
}

static void run_rescue(store *s, const hostile *truth, hostile_outcome *out) {
    out->rescue = store_open(s, true, true, 0);
    if (out->rescue == FEOX_OK) {
        look *l = look_at_all(s, truth, out);
        (void)damage(s, out);
        if (truth != NULL) {
            out->rescued_right = agrees(l, truth->now, &out->rescued_less);
        }
        free(l);
    } else {
        EXPECT(out, is_refusal(out->rescue));
    }
    (void)store_close(s);
}

/* A copy is opened to be written: refused, and as it was; or right, and the same when it is opened
 * again. */
static void run_write(const uint8_t *bytes, size_t size, const hostile *truth,
                      hostile_outcome *out) {
    store s = {.dev = mem_dev_create_from(bytes, size, 7)};
    for (unsigned round = 0; round < 2; round++) {
        feox_status status = store_open(&s, false, false, 0);
        out->write = round == 0 ? status : out->write;
        if (status != FEOX_OK) {
            EXPECT(out, is_refusal(status) || status == FEOX_ERR_SPACE);
            EXPECT(out, round == 0 || truth == NULL);
            (void)store_close(&s);
            if (round == 0 && status != FEOX_ERR_SPACE) {
                EXPECT(out, mem_dev_size(s.dev) == size && mem_dev_operations(s.dev) == 0);
                EXPECT(out, memcmp(mem_dev_bytes(s.dev), bytes, size) == 0);
            }
            break;
        }
        look *l = look_at_all(&s, truth, out);
        if (truth != NULL) {
            unsigned absent = 0;
            bool prefix = false;
            expect_truth(l, &absent, &prefix);
        }
        free(l);
        (void)store_close(&s);
    }
    mem_dev_destroy(s.dev);
}

void hostile_try(uint8_t *bytes, size_t size, const hostile *truth, unsigned flags,
                 hostile_outcome *out) {
    store s = {.dev = mem_dev_over(bytes, size)};
    memset(out, 0, sizeof *out);
    out->write = FEOX_END;
    truth = (flags & HOSTILE_LAX) != 0 ? NULL : truth;
    run_read(&s, truth, out);
    if ((flags & HOSTILE_RESCUE) != 0) {
        run_rescue(&s, truth, out);
    }
    EXPECT(out, mem_dev_operations(s.dev) == 0);
    mem_dev_destroy(s.dev);
    if ((flags & HOSTILE_WRITE) != 0) {
        run_write(bytes, size, truth, out);
    }
}

void hostile_run(uint8_t *bytes, size_t size, const hostile *truth, unsigned flags,
                 hostile_outcome *out) {
    hostile_try(bytes, size, truth, flags, out);
    if (out->wrong != NULL) {
        print_error("does not hold: %s\n", out->wrong);
        fail();
    }
}

bool hostile_reported(const hostile_outcome *out) {
    return out->read != FEOX_OK || out->damaged > 0 || out->problems > 0 || out->corrupt > 0;
}
