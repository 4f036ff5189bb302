/* hot: the mix favours calls that depend on what is there: they are what can go wrong. */
#define _GNU_SOURCE
#include "support/hot.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/kit.h"
#include "support/nudge.h"

/* ---- Values and keys ---- */

static size_t make_key(const fx_hot_plan *plan, uint32_t key, char text[32]) {
    return (size_t)snprintf(text, 32, "hot-%llu-%u", (unsigned long long)plan->name, key);
}

/* In place, another class, a block, an extent of its own. */
static size_t bytes_size(int64_t number) {
    static const size_t sizes[] = {8, 24, 24, 100, 104, 700, 2100, 9000};
    return sizes[kit_mix((uint64_t)number) % (sizeof sizes / sizeof *sizes)];
}

static size_t encode(const fx_hot_plan *plan, uint32_t key, int64_t number, unsigned char *value) {
    if (plan->shapes[key] == FX_SHAPE_JSON) {
        return (size_t)snprintf((char *)value, FX_HOT_VALUE_MAX, "{\"n\":%lld,\"pad\":\"%0*d\"}",
                                (long long)number, (int)plan->pads[key], 0);
    }
    size_t size = plan->shapes[key] == FX_SHAPE_COUNTER ? 8 : bytes_size(number);
    for (size_t i = 0; i < 8; i++) {
        value[i] = (unsigned char)((uint64_t)number >> (8 * i));
    }
    kit_fill(value + 8, size - 8, (uint64_t)number);
    return size;
}

static int64_t decode(fx_hot *hot, uint32_t key, const void *found, size_t size) {
    const fx_hot_plan *plan = hot->plan;
    int64_t number = 0;
    if (plan->shapes[key] == FX_SHAPE_JSON) {
        char text[32] = {0};
        memcpy(text, found, size < sizeof text - 1 ? size : sizeof text - 1);
        long long read = 0;
        if (sscanf(text, "{\"n\":%lld,", &read) != 1) {
            return FX_WGL_GARBAGE;
        }
        number = read;
    } else {
        uint64_t word = 0;
        for (size_t i = 0; i < 8 && i < size; i++) {
            word |= (uint64_t)((const unsigned char *)found)[i] << (8 * i);
        }
        number = (int64_t)word;
    }
    size_t wanted = encode(plan, key, number, hot->other);
    return wanted == size && memcmp(hot->other, found, size) == 0 ? number : FX_WGL_GARBAGE;
}

/* Half of the numbers are unique, the others come back again and again. */
static int64_t make_number(fx_hot *hot) {
    hot->numbers++;
    return kit_below(&hot->random, 2) == 0
               ? (int64_t)kit_below(&hot->random, 4)
               : (int64_t)(hot->thread * 100000u + hot->numbers * 100u + 50u);
}

void fx_hot_plan_shapes(fx_hot_plan *plan, uint64_t *random) {
    static const uint32_t pads[] = {1, 40, 3000};
    for (uint32_t key = 0; key < FX_HISTORY_KEYS; key++) {
        plan->shapes[key] = (fx_shape)kit_below(random, 3);
        plan->pads[key] = pads[kit_below(random, 3)];
    }
}

feox_status fx_hot_clear(const fx_hot_plan *plan) {
    feox_status first = FEOX_OK;
    for (uint32_t key = 0; key < FX_HISTORY_KEYS; key++) {
        char name[32];
        size_t name_len = make_key(plan, key, name);
        feox_status status = feox_delete(plan->store, name, name_len);
        first = status < 0 && first == FEOX_OK ? status : first;
    }
    return first;
}

/* ---- Around a call ---- */

static fx_op *begin(fx_hot *hot, uint32_t key, fx_op_kind kind, const char *how) {
    const fx_op op = {.kind = kind, .key = key, .how = how};
    return fx_history_call(hot->plan->history, hot->thread, &op);
}

static void called(fx_hot *hot, fx_op *op) {
    fx_history_called(hot->plan->history, op);
    if (hot->plan->steps > 0 && kit_below(&hot->random, hot->plan->steps) == 0) {
        uint64_t most = (uint64_t)1 << (3 + kit_below(&hot->random, 8));
        fx_nudge_step(1 + (uint32_t)kit_below(&hot->random, most));
        hot->stepping = true;
    }
}

static void returned(fx_hot *hot, fx_op *op, feox_status status) {
    if (hot->stepping) {
        fx_nudge_step_end();
        hot->stepping = false;
    }
    fx_history_returned(hot->plan->history, op);
    op->status = status;
    if (status < 0 && status != FEOX_ERR_MEMORY) {
        hot->unmodelled = hot->unmodelled == 0 ? status : hot->unmodelled;
    }
}

/* Flags and time to live of a write. */
static void decide_write(fx_hot *hot, fx_op *op, feox_write *write, uint32_t conditions) {
    const fx_hot_plan *plan = hot->plan;
    feox_write_init(write);
    write->flags = conditions;
    if (kit_below(&hot->random, 100) < plan->durable) {
        write->flags |= FEOX_DURABLE;
    }
    if ((conditions & FEOX_IF_VERSION) != 0) {
        write->version = hot->versions[op->key];
        op->expected = write->version;
    }
    op->flags = write->flags | plan->flags_all;
}

static void note_written(fx_hot *hot, fx_op *op, const feox_written *written) {
    op->versioned = hot->plan->versions;
    op->created = written->created != 0;
    op->out_version = written->version;
    if (op->status == FEOX_OK && op->kind != FX_OP_DELETE) {
        hot->versions[op->key] = written->version;
    }
}

static uint64_t random_ttl(fx_hot *hot) {
    return hot->plan->mortal ? 1 + kit_below(&hot->random, 3) : 3600000;
}

/* ---- The calls ---- */

static void read_bytes(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_store *store = hot->plan->store;
    uint64_t way = kit_below(&hot->random, 3);
    size_t size = 0;
    void *copy = NULL;
    feox_view view = {0};
    feox_status status;
    op->how = way == 0 ? "get_into" : way == 1 ? "get" : "get_view";
    called(hot, op);
    if (way == 0) {
        status = feox_get_into(store, name, name_len, hot->value, sizeof hot->value, &size);
    } else if (way == 1) {
        status = feox_get(store, name, name_len, &copy, &size);
    } else {
        status = feox_get_view(store, name, name_len, &view);
    }
    returned(hot, op, status);
    if (status == FEOX_OK) {
        const void *found = way == 0 ? hot->value : way == 1 ? copy : view.data;
        op->out = decode(hot, op->key, found, way == 2 ? view.size : size);
        hot->seen[op->key] = op->out;
    }
    feox_free(copy);
    feox_view_release(&view);
}

static void read_about(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_store *store = hot->plan->store;
    feox_key_info info = {0};
    if (op->kind == FX_OP_HAS) {
        called(hot, op);
        returned(hot, op, feox_contains(store, name, name_len));
    } else if (op->kind == FX_OP_TTL) {
        called(hot, op);
        returned(hot, op, feox_ttl(store, name, name_len, &op->out_ttl_ms));
    } else {
        called(hot, op);
        returned(hot, op, feox_info(store, name, name_len, &info));
        op->out_ttl_ms = info.ttl_ms;
        op->out_version = info.version;
        op->versioned = hot->plan->versions;
        if (op->status == FEOX_OK) {
            hot->versions[op->key] = info.version;
        }
    }
}

static void write_value(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_write write;
    feox_written written = {0};
    uint64_t what = kit_below(&hot->random, 10);
    uint32_t flags = what < 3                          ? FEOX_IF_ABSENT
                     : what == 3                       ? FEOX_IF_PRESENT
                     : what < 6 && hot->plan->versions ? FEOX_IF_VERSION
                                                       : 0;
    uint64_t ttl = kit_below(&hot->random, 4);
    decide_write(hot, op, &write, flags | (ttl == 1 ? FEOX_KEEP_TTL : 0));
    write.ttl_ms = op->ttl_ms = ttl == 0 ? random_ttl(hot) : 0;
    op->to = make_number(hot);
    size_t size = encode(hot->plan, op->key, op->to, hot->value);
    called(hot, op);
    returned(
        hot, op,
        feox_insert_with(hot->plan->store, name, name_len, hot->value, size, &write, &written));
    note_written(hot, op, &written);
}

static void swap_value(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_write write;
    feox_written written = {0};
    decide_write(hot, op, &write, kit_below(&hot->random, 8) == 0 ? FEOX_CLEAR_TTL : 0);
    op->from = kit_below(&hot->random, 8) == 0 ? 1 : hot->seen[op->key];
    op->to = make_number(hot);
    size_t from = encode(hot->plan, op->key, op->from, hot->other);
    size_t to = encode(hot->plan, op->key, op->to, hot->value);
    called(hot, op);
    returned(hot, op,
             feox_compare_and_swap_with(hot->plan->store, name, name_len, hot->other, from,
                                        hot->value, to, &write, &written));
    if (op->status == FEOX_OK) {
        hot->seen[op->key] = op->to;
    }
    note_written(hot, op, &written);
}

/* A patch that tests is a swap; without a test it is a write that needs a document. */
static void patch_value(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_write write;
    feox_written written = {0};
    char text[160];
    feox_status status;
    uint64_t way = kit_below(&hot->random, 4);
    op->kind = way < 2 ? FX_OP_SWAP : FX_OP_SET;
    op->how = way < 2 ? "json_patch test" : way == 2 ? "json_patch" : "json_merge";
    op->from = hot->seen[op->key];
    op->to = make_number(hot);
    decide_write(hot, op, &write, 0);
    op->flags |= way < 2 ? 0 : FEOX_IF_PRESENT | FEOX_KEEP_TTL;
    int size = way < 2    ? snprintf(text, sizeof text,
                                     "[{\"op\":\"test\",\"path\":\"/n\",\"value\":%lld},"
                                        "{\"op\":\"replace\",\"path\":\"/n\",\"value\":%lld}]",
                                     (long long)op->from, (long long)op->to)
               : way == 2 ? snprintf(text, sizeof text,
                                     "[{\"op\":\"replace\",\"path\":\"/n\",\"value\":%lld}]",
                                     (long long)op->to)
                          : snprintf(text, sizeof text, "{\"n\":%lld}", (long long)op->to);
    called(hot, op);
    status = way < 3 ? feox_json_patch_with(hot->plan->store, name, name_len, text, (size_t)size,
                                            &write, &written)
                     : feox_json_merge_with(hot->plan->store, name, name_len, text, (size_t)size,
                                            &write, &written);
    returned(hot, op, status == FEOX_ERR_PATCH && way < 2 ? FEOX_MISMATCH : status);
    note_written(hot, op, &written);
}

static void add_value(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_write write;
    feox_written written = {0};
    decide_write(hot, op, &write, kit_below(&hot->random, 8) == 0 ? FEOX_CLEAR_TTL : 0);
    op->to = (int64_t)kit_below(&hot->random, 5) - 2;
    called(hot, op);
    returned(
        hot, op,
        feox_increment_with(hot->plan->store, name, name_len, op->to, &write, &op->out, &written));
    hot->seen[op->key] = op->out;
    note_written(hot, op, &written);
}

static void delete_value(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_write write;
    feox_written written = {0};
    bool condition = hot->plan->versions && kit_below(&hot->random, 3) == 0;
    decide_write(hot, op, &write, condition ? FEOX_IF_VERSION : 0);
    called(hot, op);
    returned(hot, op, feox_delete_with(hot->plan->store, name, name_len, &write, &written));
    note_written(hot, op, &written);
}

static void set_ttl(fx_hot *hot, fx_op *op, const char *name, size_t name_len) {
    feox_write write;
    feox_written written = {0};
    decide_write(hot, op, &write, 0);
    op->ttl_ms = kit_below(&hot->random, 2) == 0 ? random_ttl(hot) : 0;
    op->how = op->ttl_ms == 0 ? "persist" : "expire";
    called(hot, op);
    feox_status status =
        op->ttl_ms == 0
            ? feox_persist_with(hot->plan->store, name, name_len, &write, &written)
            : feox_expire_with(hot->plan->store, name, name_len, op->ttl_ms, &write, &written);
    returned(hot, op, status);
    note_written(hot, op, &written);
}

/* ---- Calls that answer for all keys at once ---- */

/* Entries for all keys; false: one did not fit. */
static bool begin_all(fx_hot *hot, fx_op_kind kind, const char *how, fx_op *ops[FX_HISTORY_KEYS]) {
    const fx_hot_plan *plan = hot->plan;
    if (FX_HISTORY_CALLS - atomic_load(&plan->history->logs[hot->thread].count) <
        plan->history->keys) {
        return false;
    }
    for (uint32_t key = 0; key < plan->history->keys; key++) {
        ops[key] = begin(hot, key, kind, how);
        called(hot, ops[key]);
    }
    return true;
}

static void read_many(fx_hot *hot) {
    const fx_hot_plan *plan = hot->plan;
    uint32_t keys = plan->history->keys;
    fx_op *ops[FX_HISTORY_KEYS];
    char names[FX_HISTORY_KEYS][32];
    feox_lookup lookups[FX_HISTORY_KEYS];
    unsigned char *buffers = kit_alloc((size_t)FX_HOT_VALUE_MAX * keys);
    for (uint32_t key = 0; key < keys; key++) {
        size_t name_len = make_key(plan, key, names[key]);
        lookups[key] = (feox_lookup){.key = names[key],
                                     .key_len = name_len,
                                     .buffer = buffers + (size_t)FX_HOT_VALUE_MAX * key,
                                     .capacity = FX_HOT_VALUE_MAX};
    }
    if (begin_all(hot, FX_OP_READ, "get_many", ops)) {
        (void)feox_get_many(plan->store, lookups, keys);
        for (uint32_t key = 0; key < keys; key++) {
            returned(hot, ops[key], lookups[key].status);
        }
        for (uint32_t key = 0; key < keys; key++) {
            if (lookups[key].status == FEOX_OK) {
                ops[key]->out = decode(hot, key, lookups[key].buffer, lookups[key].value_len);
            }
        }
    }
    free(buffers);
}

/* Whatever pairs came: keys that did not come were absent at some moment. */
static void take_pair(fx_hot *hot, fx_op *ops[FX_HISTORY_KEYS], const feox_slice *name,
                      const feox_slice *value) {
    for (uint32_t key = 0; key < hot->plan->history->keys; key++) {
        char wanted[32];
        size_t wanted_len = make_key(hot->plan, key, wanted);
        if (name->size == wanted_len && memcmp(name->data, wanted, wanted_len) == 0) {
            /* Twice the same key is as wrong as wrong bytes. */
            bool twice = ops[key]->status == FEOX_OK;
            ops[key]->status = FEOX_OK;
            ops[key]->out = twice ? FX_WGL_GARBAGE : decode(hot, key, value->data, value->size);
        }
    }
}

static feox_status scan_pairs(fx_hot *hot, fx_op *ops[FX_HISTORY_KEYS], feox_pairs **pairs) {
    feox_store *store = hot->plan->store;
    char first[32];
    char last[32];
    size_t first_len = make_key(hot->plan, 0, first);
    size_t last_len = make_key(hot->plan, hot->plan->history->keys - 1, last);
    if (pairs != NULL) {
        return feox_range_query(store, first, first_len, last, last_len, 0, pairs);
    }
    feox_cursor *cursor = NULL;
    feox_range range;
    feox_range_init(&range);
    range.prefix = first;
    range.prefix_len = first_len - 1;
    range.flags = kit_below(&hot->random, 2) == 0 ? FEOX_REVERSE : 0;
    feox_status status = feox_cursor_open(store, &range, &cursor);
    feox_slice key;
    feox_slice value;
    while (status == FEOX_OK && (status = feox_cursor_next(cursor, &key, &value)) == FEOX_OK) {
        take_pair(hot, ops, &key, &value);
    }
    feox_cursor_close(cursor);
    return status == FEOX_END ? FEOX_OK : status;
}

static void scan_all(fx_hot *hot) {
    fx_op *ops[FX_HISTORY_KEYS];
    feox_pairs *pairs = NULL;
    bool query = kit_below(&hot->random, 2) == 0;
    if (!begin_all(hot, FX_OP_READ, query ? "range_query" : "cursor", ops)) {
        return;
    }
    for (uint32_t key = 0; key < hot->plan->history->keys; key++) {
        ops[key]->status = FEOX_NOT_FOUND;
    }
    feox_status status = scan_pairs(hot, ops, query ? &pairs : NULL);
    for (uint32_t key = 0; key < hot->plan->history->keys; key++) {
        returned(hot, ops[key], status < 0 ? status : (feox_status)ops[key]->status);
    }
    for (size_t i = 0; pairs != NULL && i < pairs->count; i++) {
        take_pair(hot, ops, &pairs->pairs[i].key, &pairs->pairs[i].value);
    }
    feox_pairs_free(pairs);
}

static void flush_all(fx_hot *hot) {
    fx_op *ops[FX_HISTORY_KEYS];
    if (begin_all(hot, FX_OP_FLUSH, "flush", ops)) {
        feox_status status = feox_flush(hot->plan->store);
        for (uint32_t key = 0; key < hot->plan->history->keys; key++) {
            returned(hot, ops[key], status);
        }
    }
}

/* ---- Chance ---- */

static void pause_at_random(fx_hot *hot) {
    uint64_t what = kit_below(&hot->random, 100);
    if (what < 25) {
        sched_yield();
    } else if (what < 40) {
        for (uint64_t i = kit_below(&hot->random, 3000); i > 0; i--) {
            __asm__ __volatile__("" ::: "memory");
        }
    } else if (what < 55 && hot->plan->mortal) {
        struct timespec time = {0, (long)kit_below(&hot->random, 1500000)};
        nanosleep(&time, NULL);
    }
}

static void one_key_call(fx_hot *hot, uint32_t key, uint64_t what) {
    char name[32];
    size_t name_len = make_key(hot->plan, key, name);
    fx_shape shape = hot->plan->shapes[key];
    fx_op *op = NULL;
    if (what < 28 && (op = begin(hot, key, FX_OP_READ, "get")) != NULL) {
        read_bytes(hot, op, name, name_len);
    } else if (what < 32 && (op = begin(hot, key, FX_OP_HAS, "contains")) != NULL) {
        read_about(hot, op, name, name_len);
    } else if (what < 38 && (op = begin(hot, key, FX_OP_INFO, "info")) != NULL) {
        read_about(hot, op, name, name_len);
    } else if (what < 41 && (op = begin(hot, key, FX_OP_TTL, "ttl")) != NULL) {
        read_about(hot, op, name, name_len);
    } else if (what < 58 && (op = begin(hot, key, FX_OP_SET, "insert")) != NULL) {
        write_value(hot, op, name, name_len);
    } else if (what < 66 && (op = begin(hot, key, FX_OP_DELETE, "delete")) != NULL) {
        delete_value(hot, op, name, name_len);
    } else if (what < 74 && (op = begin(hot, key, FX_OP_EXPIRE, "expire")) != NULL) {
        set_ttl(hot, op, name, name_len);
    } else if (what < 86 && shape == FX_SHAPE_COUNTER &&
               (op = begin(hot, key, FX_OP_ADD, "increment")) != NULL) {
        add_value(hot, op, name, name_len);
    } else if (what < 86 && shape == FX_SHAPE_JSON &&
               (op = begin(hot, key, FX_OP_SET, "json_patch")) != NULL) {
        patch_value(hot, op, name, name_len);
    } else if ((op = begin(hot, key, FX_OP_SWAP, "compare_and_swap")) != NULL) {
        swap_value(hot, op, name, name_len);
    }
}

void fx_hot_call(fx_hot *hot) {
    const fx_hot_plan *plan = hot->plan;
    uint64_t what = kit_below(&hot->random, 105);
    uint32_t key = (uint32_t)kit_below(&hot->random, plan->history->keys);
    pause_at_random(hot);
    if (what >= 103 && plan->flushes) {
        flush_all(hot);
    } else if (what >= 101 && plan->scans) {
        scan_all(hot);
    } else if (what >= 99) {
        read_many(hot);
    } else {
        one_key_call(hot, key, what);
    }
    fx_history_settle(plan->history, hot->thread);
}

void fx_hot_read_all(fx_hot *hot) {
    for (uint32_t key = 0; key < hot->plan->history->keys; key++) {
        one_key_call(hot, key, 0);
        one_key_call(hot, key, 32);
    }
    fx_history_settle(hot->plan->history, hot->thread);
}

void fx_hot_write_all(fx_hot *hot) {
    for (uint32_t key = 0; key < hot->plan->history->keys; key++) {
        one_key_call(hot, key, 41);
    }
    fx_history_settle(hot->plan->history, hot->thread);
}
