/* check: what the walk through the memory of a store says of each fault that is planted into a
 * sound one, and taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "engine/check.h"
#include "engine/commit.h"
#include "engine/order.h"
#include "index/skiplist_node.h"

#define KEYS 300u

feox_status __real_fx_order_merge_locked(fx_engine *engine);
feox_status __wrap_fx_order_merge_locked(fx_engine *engine);

typedef struct world {
    fx_engine engine;
    uint64_t now;
    char heard[1024];
} world;

static uint64_t tick(void *context) {
    return ++((world *)context)->now;
}

static void hear(void *context, const feox_finding *finding) {
    world *w = context;
    size_t used = strlen(w->heard);
    (void)snprintf(w->heard + used, sizeof w->heard - used, "%s\n", finding->text);
}

static feox_status put_key(world *w, const char *name, unsigned number) {
    char key[16];
    fx_committed committed;
    fx_change change = {.key = (const uint8_t *)key,
                        .key_len = (uint32_t)snprintf(key, sizeof key, "%s%u", name, number),
                        .value = (const uint8_t *)"value",
                        .value_len = 5};
    change.hash = fx_engine_hash(&w->engine, key, change.key_len);
    fx_shard *shard = fx_engine_shard(&w->engine, change.hash);
    fx_spinlock_lock(&shard->lock);
    feox_status status = fx_commit_put_locked(shard, NULL, &change, ++w->now, &committed);
    fx_spinlock_unlock(&shard->lock);
    return status;
}

static world *make(void) {
    world *w = calloc(1, sizeof *w);
    const fx_engine_options options = {.ordered = true,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = tick,
                                       .clock_context = w,
                                       .shard_count = 2};
    assert_int_equal(fx_engine_init(&w->engine, &options), FEOX_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(put_key(w, "key", i), FEOX_OK);
    }
    return w;
}

/* What the check says; "" if nothing. */
static const char *check(world *w) {
    fx_check_sink sink = {.found = hear, .context = w};
    w->heard[0] = '\0';
    assert_int_equal(fx_check_memory(&w->engine, &sink), FEOX_OK);
    assert_int_equal(sink.report.problems > 0, w->heard[0] != '\0');
    return w->heard;
}

static void expect(world *w, const char *text) {
    if (strstr(check(w), text) == NULL) {
        fail_msg("wanted: %s\nheard: %s", text, w->heard);
    }
}

static void test_counts(void **state) {
    (void)state;
    world *w = make();
    assert_string_equal(check(w), "");
    w->engine.shards[1].table.count++;
    expect(w, "shard 1: table: the count is wrong");
    expect(w, "order: 300 keys, and 301 in the table");
    w->engine.shards[1].table.count -= 2;
    expect(w, "order: 300 keys, and 299 in the table");
    w->engine.shards[1].table.count++;
    w->engine.shards[1].table.count -= 100; /* it need not look at all of them */
    expect(w, "order: 256 keys, and 200 in the table");
    w->engine.shards[1].table.count += 100;
    w->engine.blocks.warm_bytes[0]++;
    expect(w, "block: warm pages do not add up");
    w->engine.blocks.warm_bytes[0]--;
    w->engine.order->count++;
    expect(w, "order: the count is wrong");
    w->engine.order->count--;
    assert_string_equal(check(w), "");
    fx_engine_deinit(&w->engine);
    free(w);
}

/* ---- A writer beside the check ---- */

static world *beside;  /* where a key comes between a merge and the locks */
static unsigned comes; /* so often */
static unsigned merges;

feox_status __wrap_fx_order_merge_locked(fx_engine *engine) {
    feox_status status = __real_fx_order_merge_locked(engine);
    merges++;
    if (beside != NULL && comes > 0) {
        assert_int_equal(put_key(beside, "late", comes--), FEOX_OK);
    }
    return status;
}

/* What is written after the merge, and before all is locked, is merged too: the order has it. */
static void test_beside_a_writer(void **state) {
    (void)state;
    world *w = make();
    beside = w;
    comes = 3;
    merges = 0;
    fx_check_sink sink = {.found = hear, .context = w};
    assert_int_equal(fx_check_memory(&w->engine, &sink), FEOX_OK);
    assert_int_equal(merges, 4);
    assert_int_equal(sink.report.problems, 0);
    assert_int_equal(sink.report.keys_checked, KEYS + 3);
    beside = NULL;
    fx_engine_deinit(&w->engine);
    free(w);
}

/* ---- Slots ---- */

/* The layout of fx_span in slab.c. */
typedef struct span {
    void *slab;
    struct span *next, *previous, *next_in_class;
    uint64_t free;
    uint32_t slot_size, capacity, live, bumped;
} span;

static span *first_span(fx_shard *shard) {
    for (unsigned i = 0; i < FX_SLAB_CLASSES; i++) {
        if (shard->slab.classes[i].spans != NULL) {
            return (span *)(void *)shard->slab.classes[i].spans;
        }
    }
    return NULL;
}

static void test_records(void **state) {
    (void)state;
    world *w = make();
    assert_string_equal(check(w), ""); /* it is all in the order now */
    fx_record *record;
    assert_int_equal(fx_skiplist_forward(w->engine.order, NULL, 0, false, &record, 1), 1);
    /* A key that hashes elsewhere: the table does not have it where it is looked for. */
    uint8_t *key = (uint8_t *)(uintptr_t)fx_record_key(record);
    key[0] ^= 0x80;
    assert_true(strlen(check(w)) > 0);
    key[0] ^= 0x80;
    uint64_t alive = record->state;
    record->state = 0;
    expect(w, "table: an entry points at a dead record");
    record->state = alive;
    span *of = first_span(&w->engine.shards[0]);
    assert_non_null(of);
    of->live++;
    expect(w, "slab: free slots and live slots do not add up");
    of->live--;
    uint32_t capacity = of->capacity;
    of->capacity = of->bumped - 1; /* one more than there are */
    expect(w, "slab: free slots and live slots do not add up");
    of->capacity = of->live; /* full, and on the list of those with room */
    expect(w, "slab: a span with room is not on the list, or a full one is");
    of->capacity = capacity;
    assert_string_equal(check(w), "");
    fx_engine_deinit(&w->engine);
    free(w);
}

/* The order forgets a key, and the table one that the order has. */
static void test_order(void **state) {
    (void)state;
    world *w = make();
    assert_string_equal(check(w), "");
    fx_record *record;
    fx_record *unlinked;
    assert_int_equal(fx_skiplist_forward(w->engine.order, NULL, 0, false, &record, 1), 1);
    fx_skiplist_op drop = {.record = record, .drop = true};
    fx_skiplist_op back = {.record = record, .drop = false};
    assert_true(fx_skiplist_reserve(w->engine.order, 2, 16));
    assert_int_equal(fx_skiplist_apply(w->engine.order, &drop, 1, &unlinked), 1);
    expect(w, "order: 299 keys, and 300 in the table");
    assert_int_equal(fx_skiplist_apply(w->engine.order, &back, 1, &unlinked), 0);
    assert_string_equal(check(w), "");
    uint64_t hash = fx_engine_hash(&w->engine, fx_record_key(record), fx_record_key_len(record));
    fx_shard *shard = fx_engine_shard(&w->engine, hash);
    fx_table_remove_locked(&shard->table, hash, record);
    expect(w, "order: a record that the table does not have");
    fx_table_insert_locked(&shard->table, hash, record);
    assert_string_equal(check(w), "");
    fx_engine_deinit(&w->engine);
    free(w);
}

/* ---- The write buffer ---- */

typedef struct slot {
    uint64_t location; /* before the record: record.h */
    fx_record record;
    uint8_t rest[64];
} slot;

static void test_write_buffer(void **state) {
    (void)state;
    static fx_slab_pool pool;
    static slot slots[2];
    fx_wbuf wbuf;
    fx_block_pool blocks;
    fx_block_pool_init(&blocks, &pool, 0);
    fx_block *block = fx_block_create(&blocks, NULL, FX_LARGE_VALUE_MIN);
    fx_wbuf_init(&wbuf, &pool, 1 << 20);
    for (uint32_t i = 0; i < 2; i++) {
        const fx_entry entry = {.key = (const uint8_t *)"a",
                                .key_len = 1,
                                .value = (const uint8_t *)"value",
                                .value_len = i == 0 ? 5 : FX_LARGE_VALUE_MIN,
                                .version = i + 1,
                                .kind = i == 0 ? FX_ENTRY_PUT : FX_ENTRY_LARGE};
        assert_true(fx_wbuf_reserve(&wbuf, 1, entry.value_len));
        fx_wbuf_put(&wbuf, &entry, &slots[i].record, i == 0 ? NULL : block, 0, 7);
    }
    for (unsigned flight = 0; flight < 2; flight++) {
        fx_wbuf_half *half = &wbuf.halves[flight == 0 ? wbuf.open : wbuf.open ^ 1u];
        fx_wbuf_half before = *half;
        fx_wbuf_entry entry = half->entries[0];
        assert_null(fx_wbuf_check(&wbuf));
        half->capacity = 1;
        assert_string_equal(fx_wbuf_check(&wbuf), "a write buffer is fuller than it can be");
        *half = before;
        half->size = half->used - 8;
        assert_string_equal(fx_wbuf_check(&wbuf), "a write buffer is fuller than it can be");
        *half = before;
        half->first_ns = 0;
        assert_string_equal(fx_wbuf_check(&wbuf),
                            "a write buffer's age does not go with its content");
        *half = before;
        half->large_bytes++;
        assert_string_equal(fx_wbuf_check(&wbuf), "the sums of a write buffer are wrong");
        *half = before;
        half->entries[0].size -= 4;
        assert_string_equal(fx_wbuf_check(&wbuf), "an entry of a write buffer lies outside it");
        half->entries[0].size = (uint32_t)half->used + 8;
        assert_string_equal(fx_wbuf_check(&wbuf), "an entry of a write buffer lies outside it");
        half->entries[0].size = entry.size + 8;
        assert_string_equal(fx_wbuf_check(&wbuf),
                            "an entry of a write buffer has another size than its record");
        half->entries[0].size = entry.size;
        half->entries[0].record = &slots[1].record;
        assert_string_equal(fx_wbuf_check(&wbuf),
                            "a record does not point at its entry in the write buffer");
        half->entries[0] = entry;
        assert_null(fx_wbuf_check(&wbuf));
        if (flight == 0) {
            fx_wbuf_cut(&wbuf);
        }
    }
    fx_wbuf_deinit(&wbuf);
    fx_block_release(block);
    fx_block_pool_deinit(&blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),       cmocka_unit_test(test_beside_a_writer),
        cmocka_unit_test(test_records),      cmocka_unit_test(test_order),
        cmocka_unit_test(test_write_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
