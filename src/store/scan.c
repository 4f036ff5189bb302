/* scan: cursors and range queries. A cursor reads the order one window at a time: pinned, it copies
 * the keys of a window and remembers where the records were; unpinned, it hands them out. Plain
 * values are copied with their keys, while their records come by; such a copy is handed out if the
 * record has the state in which it was made, and so the value, still. A remembered record that is
 * alive and has the key is the key's record (there is never another alive one), so other values are
 * read from there; otherwise the key is looked up, and skipped if it is gone.
 */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/fetch.h"
#include "engine/order.h"
#include "store/store.h"

/* Keys of a window: few at first, for who looks at few; twice as many each time; never more than
 * are still wanted. */
#define WINDOW_FIRST 32u
#define WINDOW_MAX 128u
#define WINDOW_BYTES ((size_t)32 << 10) /* no more keys behind so much */
/* Records asked for ahead of the one that is looked at. */
#define AHEAD 12u

/* Bytes of a pair of common size: so many are asked for at once for each. */
#define PAIR_SIZE 128u
/* The least that a buffer has. */
#define BYTES_MIN 2048u

/* One end of the range. */
typedef struct bound {
    uint8_t *key; /* NULL: open */
    size_t key_len;
    bool exclusive;
} bound;

typedef struct window_entry {
    fx_record *record;
    uint64_t state; /* that its value was copied in; 0: it was not */
    uint32_t at;    /* of the key in the window's bytes; the value is behind it */
    uint32_t key_len, value_len;
} window_entry;

/* A buffer that only grows. */
typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
} bytes;

struct feox_cursor {
    feox_store *store;
    bound low, high; /* prefix folded in */
    uint32_t flags;
    size_t limit, handed_out;
    bool at_end;
    bound position;  /* where the next window begins; key NULL: the range's end */
    uint32_t window; /* keys that the next one may have */
    uint32_t count, next;
    bytes copies;                     /* of the window */
    bytes value;                      /* one that was not copied before */
    window_entry entries[WINDOW_MAX]; /* `count` of them */
};

static bool bytes_reserve(bytes *b, size_t capacity) {
    if (capacity <= b->capacity) {
        return true;
    }
    size_t wanted = b->capacity * 2 > capacity ? b->capacity * 2 : capacity;
    wanted = wanted < BYTES_MIN ? BYTES_MIN : wanted;
    uint8_t *data = fx_mem_realloc(b->data, wanted);
    if (data == NULL) {
        return false;
    }
    b->data = data;
    b->capacity = wanted;
    return true;
}

static void bytes_free(bytes *b) {
    fx_mem_free(b->data);
    *b = (bytes){0};
}

/* ---- Bounds ---- */

static bool bound_set(bound *b, const void *key, size_t key_len, bool exclusive) {
    uint8_t *copy = fx_mem_alloc(key_len > 0 ? key_len : 1);
    if (copy == NULL) {
        return false;
    }
    fx_copy(copy, key, key_len);
    fx_mem_free(b->key);
    *b = (bound){copy, key_len, exclusive};
    return true;
}

static int bound_compare(const bound *b, const void *key, size_t key_len) {
    return fx_key_compare(b->key, b->key_len, key, key_len);
}

/* Raises `low` to the prefix and lowers `high` to the first key behind all that begin with it. */
static bool bounds_fold_prefix(feox_cursor *c, const uint8_t *prefix, size_t prefix_len) {
    if (prefix_len == 0) {
        return true;
    }
    if ((c->low.key == NULL || bound_compare(&c->low, prefix, prefix_len) < 0) &&
        !bound_set(&c->low, prefix, prefix_len, false)) {
        return false;
    }
    size_t len = prefix_len;
    while (len > 0 && prefix[len - 1] == 0xff) {
        len--;
    }
    if (len == 0) {
        return true; /* nothing sorts behind a prefix of 0xff bytes */
    }
    bound after = {0};
    if (!bound_set(&after, prefix, len, true)) {
        return false;
    }
    after.key[len - 1]++;
    if (c->high.key == NULL || bound_compare(&c->high, after.key, len) >= 0) {
        fx_mem_free(c->high.key);
        c->high = after;
    } else {
        fx_mem_free(after.key);
    }
    return true;
}

static bool is_reverse(const feox_cursor *c) {
    return (c->flags & FEOX_REVERSE) != 0;
}

/* The key lies behind the end of the walk. */
static bool is_behind(const feox_cursor *c, const uint8_t *key, size_t key_len) {
    const bound *end = is_reverse(c) ? &c->low : &c->high;
    if (end->key == NULL) {
        return false;
    }
    int order = bound_compare(end, key, key_len);
    order = is_reverse(c) ? -order : order;
    return order < 0 || (order == 0 && end->exclusive);
}

/* ---- Windows ---- */

/* The walk goes on at `from` (key NULL: at the range's end). False: no memory, nothing changed. */
static bool restart_at(feox_cursor *c, const bound *from) {
    if (from->key == NULL) {
        fx_mem_free(c->position.key);
        c->position = (bound){0};
    } else if (!bound_set(&c->position, from->key, from->key_len, from->exclusive)) {
        return false;
    }
    c->window = WINDOW_FIRST;
    c->count = c->next = 0;
    c->handed_out = 0;
    c->at_end = false;
    return true;
}

/* Where the walk begins. */
static const bound *walk_start(const feox_cursor *c) {
    return is_reverse(c) ? &c->high : &c->low;
}

/* How many keys the next window is to have. */
static size_t window_size(feox_cursor *c) {
    size_t size = c->window;
    c->window = c->window < WINDOW_MAX / 2 ? c->window * 2 : WINDOW_MAX;
    if (c->limit == 0) {
        return size;
    }
    size_t left = c->limit - c->handed_out;
    return left < WINDOW_MAX ? left : WINDOW_MAX;
}

/* The record's key, and what a value of common size takes behind it, will be wanted. */
static inline void prefetch_pair(const fx_record *record, bool value) {
    const char *at = (const char *)record;
    __builtin_prefetch(at);
    if (value) {
        __builtin_prefetch(at + 64);
        __builtin_prefetch(at + 128);
    }
}

/* Copies what is wanted of a record to the window, unless it is behind the end. The pin is held. */
static inline feox_status take_record(feox_cursor *c, fx_record *record, bool value) {
    uint32_t key_len = fx_record_key_len(record);
    if (FX_UNLIKELY(is_behind(c, fx_record_key(record), key_len))) {
        c->at_end = true;
        return FEOX_OK;
    }
    size_t at = c->copies.size;
    if (FX_UNLIKELY(!bytes_reserve(&c->copies, at + key_len + FX_INLINE_VALUE_MAX))) {
        return FEOX_ERR_MEMORY;
    }
    uint8_t *to = c->copies.data + at;
    size_t size = 0;
    uint64_t state = value ? fx_record_copy(record, to, &size) : 0;
    if (FX_UNLIKELY(state == 0)) {
        memcpy(to, fx_record_key(record), key_len);
        size = 0;
    }
    c->entries[c->count++] = (window_entry){.record = record,
                                            .state = state,
                                            .at = (uint32_t)at,
                                            .key_len = key_len,
                                            .value_len = (uint32_t)size};
    c->copies.size = at + key_len + size;
    return FEOX_OK;
}

/* Copies the next keys. FEOX_END: there are none. */
static feox_status fill_window(feox_cursor *c) {
    fx_engine *engine = &c->store->engine;
    if (fx_order_pending(engine)) {
        feox_status status = fx_order_merge(engine);
        if (status != FEOX_OK) {
            return status;
        }
    }
    fx_record *records[WINDOW_MAX];
    size_t size = window_size(c);
    bool values = (c->flags & FEOX_KEYS_ONLY) == 0;
    c->count = c->next = 0;
    c->copies.size = 0;
    feox_status status = FEOX_OK;
    const bound *from = &c->position;
    fx_pin pin = fx_epoch_pin(&engine->epoch);
    size_t found = is_reverse(c) ? fx_skiplist_backward(engine->order, from->key, from->key_len,
                                                        from->exclusive, records, size)
                                 : fx_skiplist_forward(engine->order, from->key, from->key_len,
                                                       from->exclusive, records, size);
    for (size_t i = 0; i < found && i < AHEAD; i++) {
        prefetch_pair(records[i], values);
    }
    if (!bytes_reserve(&c->copies, found * PAIR_SIZE)) {
        status = FEOX_ERR_MEMORY;
        found = 0;
    }
    bool more = true;
    for (size_t i = 0; i < found && more && !c->at_end; i++) {
        prefetch_pair(records[i + AHEAD < found ? i + AHEAD : i], values);
        status = take_record(c, records[i], values);
        more = status == FEOX_OK && c->copies.size < WINDOW_BYTES;
    }
    fx_epoch_unpin(pin);
    c->at_end = c->at_end || found == 0;
    if (status == FEOX_OK && c->count > 0) {
        const window_entry *last = &c->entries[c->count - 1];
        if (!bound_set(&c->position, c->copies.data + last->at, last->key_len, true)) {
            status = FEOX_ERR_MEMORY;
        }
    }
    if (status != FEOX_OK) { /* the position is the old one: the window can be read again */
        c->count = 0;
        c->at_end = false;
    }
    return status != FEOX_OK ? status : c->count > 0 ? FEOX_OK : FEOX_END;
}

/* ---- Pairs ---- */

/* Looks the key up; its value goes to c->value. */
static feox_status read_by_key(feox_cursor *c, const uint8_t *key, size_t key_len, bool want) {
    fx_engine *engine = &c->store->engine;
    uint64_t hash = fx_engine_hash(engine, key, key_len);
    fx_fetched fetched;
    if (!want) {
        return fx_fetch_info(engine, hash, key, key_len, &fetched);
    }
    feox_status status =
        fx_fetch(engine, hash, key, key_len, c->value.data, c->value.capacity, &fetched);
    if (status != FEOX_OK) {
        return status;
    }
    if (fetched.block != NULL) {
        if (!bytes_reserve(&c->value, (size_t)fetched.value_len)) {
            status = FEOX_ERR_MEMORY;
        } else {
            fx_copy(c->value.data, fetched.block->data, (size_t)fetched.value_len);
        }
        fx_block_release(fetched.block);
    }
    c->value.size = (size_t)fetched.value_len;
    return status;
}

/* A pair whose value was not copied, or has changed since. FEOX_OK with the value, FEOX_NOT_FOUND:
 * gone meanwhile. */
static feox_status read_pair(feox_cursor *c, const window_entry *entry, const uint8_t *key,
                             bool want, feox_slice *value_out) {
    fx_engine *engine = &c->store->engine;
    if (!bytes_reserve(&c->value, FX_INLINE_VALUE_MAX)) {
        return FEOX_ERR_MEMORY;
    }
    fx_record_view view;
    feox_status status = FEOX_OK;
    fx_read_result result = fx_record_read(entry->record, engine->persistent, key, entry->key_len,
                                           c->value.data, want ? c->value.capacity : 0, &view);
    if (result != FX_READ_OK || (want && view.in_block) ||
        (view.expiry_ns != 0 && view.expiry_ns <= fx_engine_now(engine))) { /* most likely gone */
        status = read_by_key(c, key, entry->key_len, want);
    } else {
        c->value.size = (size_t)view.value_len;
    }
    *value_out = (feox_slice){c->value.data, c->value.size};
    return status;
}

/* The next pair, if its value was copied and is the same still. */
static inline bool take_copied(feox_cursor *c, feox_slice *key_out, feox_slice *value_out) {
    const window_entry *entry = &c->entries[c->next];
    if (c->next == c->count || !fx_record_unchanged(entry->record, entry->state)) {
        return false;
    }
    const uint8_t *key = c->copies.data + entry->at;
    if (key_out != NULL) {
        key_out->data = key;
        key_out->size = entry->key_len;
    }
    if (value_out != NULL) {
        value_out->data = key + entry->key_len;
        value_out->size = entry->value_len;
    }
    c->next++;
    c->handed_out++;
    return true;
}

/* As many pairs were handed out as were asked for. */
static inline bool is_spent(const feox_cursor *c) {
    return c->limit != 0 && c->handed_out == c->limit;
}

static feox_status next_pair(feox_cursor *c, feox_slice *key_out, feox_slice *value_out) {
    bool want = value_out != NULL && (c->flags & FEOX_KEYS_ONLY) == 0;
    if (is_spent(c)) {
        return FEOX_END;
    }
    for (;;) {
        if (c->next == c->count) {
            feox_status status = c->at_end ? FEOX_END : fill_window(c);
            if (status != FEOX_OK) {
                return status;
            }
        }
        if (take_copied(c, key_out, value_out)) {
            return FEOX_OK;
        }
        const window_entry *entry = &c->entries[c->next++];
        const uint8_t *key = c->copies.data + entry->at;
        feox_slice value;
        feox_status status = read_pair(c, entry, key, want, &value);
        if (status == FEOX_NOT_FOUND) {
            continue;
        }
        if (status == FEOX_ERR_MEMORY) {
            c->next--; /* try again */
            return status;
        }
        if (key_out != NULL) {
            *key_out = (feox_slice){key, entry->key_len};
        }
        if (want && status == FEOX_OK) {
            *value_out = value;
        }
        c->handed_out++;
        return status;
    }
}

/* ---- Public: cursors ---- */

static feox_status open_cursor(feox_store *store, const feox_range *range, feox_cursor **out) {
    feox_range known;
    feox_range_init(&known);
    if (range != NULL && !fx_struct_read(&known, sizeof known, range)) {
        return FEOX_ERR_ARGUMENT;
    }
    uint32_t flags = FEOX_REVERSE | FEOX_KEYS_ONLY | FEOX_START_EXCLUSIVE | FEOX_END_EXCLUSIVE;
    if ((known.flags & ~flags) != 0 || known.reserved != 0 ||
        (known.start == NULL && known.start_len > 0) || (known.end == NULL && known.end_len > 0) ||
        (known.prefix == NULL && known.prefix_len > 0)) {
        return FEOX_ERR_ARGUMENT;
    }
    if (!store->engine.ordered) {
        return FEOX_ERR_UNSUPPORTED;
    }
    feox_cursor *c = fx_mem_alloc(sizeof *c);
    if (c == NULL) {
        return FEOX_ERR_MEMORY;
    }
    memset(c, 0, offsetof(feox_cursor, entries));
    c->store = store;
    c->flags = known.flags;
    c->limit = known.limit;
    bool ok = (known.start_len == 0 || bound_set(&c->low, known.start, known.start_len,
                                                 (known.flags & FEOX_START_EXCLUSIVE) != 0)) &&
              (known.end_len == 0 || bound_set(&c->high, known.end, known.end_len,
                                               (known.flags & FEOX_END_EXCLUSIVE) != 0)) &&
              bounds_fold_prefix(c, known.prefix, known.prefix_len) && restart_at(c, walk_start(c));
    if (!ok) {
        feox_cursor_close(c);
        return FEOX_ERR_MEMORY;
    }
    *out = c;
    return FEOX_OK;
}

feox_status feox_cursor_open(feox_store *store, const feox_range *range, feox_cursor **cursor_out) {
    if (cursor_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *cursor_out = NULL;
    feox_status status = fx_store_enter(store);
    return status != FEOX_OK ? status : fx_report(open_cursor(store, range, cursor_out));
}

feox_status feox_cursor_next(feox_cursor *cursor, feox_slice *key_out, feox_slice *value_out) {
    feox_status status = cursor != NULL ? fx_store_enter(cursor->store) : FEOX_ERR_ARGUMENT;
    if (FX_LIKELY(status == FEOX_OK && !is_spent(cursor) &&
                  take_copied(cursor, key_out, value_out))) {
        return FEOX_OK;
    }
    if (key_out != NULL) {
        *key_out = (feox_slice){0};
    }
    if (value_out != NULL) {
        *value_out = (feox_slice){0};
    }
    return fx_report(status == FEOX_OK ? next_pair(cursor, key_out, value_out) : status);
}

feox_status feox_cursor_seek(feox_cursor *cursor, const void *key, size_t key_len) {
    if (cursor == NULL || (key == NULL && key_len > 0)) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    feox_status status = fx_store_enter(cursor->store);
    if (status != FEOX_OK) {
        return status;
    }
    /* Only forward into the range; a key before it means its beginning. */
    const bound *start = walk_start(cursor);
    int order = start->key == NULL || key_len == 0 ? -1 : bound_compare(start, key, key_len);
    order = start->key != NULL && is_reverse(cursor) ? -order : order;
    const bound wanted = {(uint8_t *)(uintptr_t)key, key_len, false};
    bool inside = key_len > 0 && (start->key == NULL || order < 0);
    return restart_at(cursor, inside ? &wanted : start) ? FEOX_OK : fx_report(FEOX_ERR_MEMORY);
}

void feox_cursor_close(feox_cursor *cursor) {
    if (cursor == NULL) {
        return;
    }
    fx_mem_free(cursor->low.key);
    fx_mem_free(cursor->high.key);
    fx_mem_free(cursor->position.key);
    bytes_free(&cursor->copies);
    bytes_free(&cursor->value);
    fx_mem_free(cursor);
}

/* ---- Public: range query ---- */

/* The pairs' bytes lie one after the other in `data`; the pointers are set at the end, when it no
 * longer moves. */
typedef struct collected {
    feox_pair *pairs; /* until then the sizes only */
    size_t count, capacity;
    bytes data;
} collected;

static feox_status collect_pair(collected *all, const feox_slice *key, const feox_slice *value) {
    if (all->count == all->capacity) {
        size_t capacity = all->capacity == 0 ? 16 : all->capacity * 2;
        feox_pair *pairs = fx_mem_realloc(all->pairs, capacity * sizeof *pairs);
        if (pairs == NULL) {
            return FEOX_ERR_MEMORY;
        }
        all->pairs = pairs;
        all->capacity = capacity;
    }
    if (!bytes_reserve(&all->data, all->data.size + key->size + value->size)) {
        return FEOX_ERR_MEMORY;
    }
    fx_copy(all->data.data + all->data.size, key->data, key->size);
    fx_copy(all->data.data + all->data.size + key->size, value->data, value->size);
    all->data.size += key->size + value->size;
    all->pairs[all->count++] = (feox_pair){{NULL, key->size}, {NULL, value->size}};
    return FEOX_OK;
}

/* What a feox_pairs of ours is. */
typedef struct owned_pairs {
    feox_pairs pairs;
    uint8_t *data;
} owned_pairs;

static feox_status hand_over(collected *all, feox_pairs **pairs_out) {
    owned_pairs *owned = fx_mem_alloc(sizeof *owned);
    if (owned == NULL) {
        return FEOX_ERR_MEMORY;
    }
    const uint8_t *at = all->data.data;
    for (size_t i = 0; i < all->count; i++) {
        all->pairs[i].key.data = at;
        all->pairs[i].value.data = at + all->pairs[i].key.size;
        at += all->pairs[i].key.size + all->pairs[i].value.size;
    }
    *owned = (owned_pairs){{all->count, all->pairs}, all->data.data};
    *pairs_out = &owned->pairs;
    return FEOX_OK;
}

static feox_status query(feox_store *store, const feox_range *range, feox_pairs **pairs_out) {
    feox_cursor *cursor = NULL;
    feox_status status = open_cursor(store, range, &cursor);
    if (status != FEOX_OK) {
        return status;
    }
    collected all = {0};
    while (status == FEOX_OK) {
        feox_slice key = {0};
        feox_slice value = {0};
        status = next_pair(cursor, &key, &value);
        if (status == FEOX_OK) {
            status = collect_pair(&all, &key, &value);
        }
    }
    feox_cursor_close(cursor);
    if (status == FEOX_END) {
        status = hand_over(&all, pairs_out);
    }
    if (status != FEOX_OK) {
        fx_mem_free(all.pairs);
        bytes_free(&all.data);
    }
    return status;
}

feox_status feox_range_query(feox_store *store, const void *start, size_t start_len,
                             const void *end, size_t end_len, size_t limit,
                             feox_pairs **pairs_out) {
    if (pairs_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *pairs_out = NULL;
    feox_status status = fx_store_enter(store);
    if (status != FEOX_OK) {
        return status;
    }
    const feox_range range = {.struct_size = sizeof range,
                              .start = start,
                              .start_len = start_len,
                              .end = end,
                              .end_len = end_len,
                              .limit = limit};
    return fx_report(query(store, &range, pairs_out));
}

void feox_pairs_free(feox_pairs *pairs) {
    if (pairs != NULL) {
        owned_pairs *owned = (owned_pairs *)(void *)pairs;
        fx_mem_free(owned->pairs.pairs);
        fx_mem_free(owned->data);
        fx_mem_free(owned);
    }
}
