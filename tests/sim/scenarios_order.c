/* scenarios_order: scans while the skip list changes shape, the pending lists, the write buffer.
 * The build makes the list's nodes small (cmake/model.cmake): eight entries.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "disk/format.h"
#include "engine/order.h"
#include "sim/scenarios.h"

#define RECORDS 100u

/* ---- Skip list ---- */

/* Record n has key "common0n" and is version n + 1: four bytes do not tell the keys apart. */
#define KEY_LEN 8u

typedef struct list_state {
    fx_skiplist *list;
    fx_record *records[RECORDS];
    bool always[RECORDS]; /* from setup to the end */
    bool ever[RECORDS];
    bool at_end[RECORDS];
    uint64_t done;
} list_state;

static const char *key_text(unsigned n) {
    static char text[KEY_LEN + 1];
    (void)snprintf(text, sizeof text, "common%02u", n % 100);
    return text;
}

/* Applies changes as one batch: n puts record n, -n - 1 drops it. */
static void list_apply(list_state *s, const int *changes, size_t count) {
    fx_skiplist_op ops[RECORDS];
    fx_record *unlinked[RECORDS];
    explore_require(count <= RECORDS && fx_skiplist_reserve(s->list, count, KEY_LEN));
    for (size_t i = 0; i < count; i++) {
        unsigned n = (unsigned)(changes[i] < 0 ? -changes[i] - 1 : changes[i]);
        ops[i] = (fx_skiplist_op){s->records[n], changes[i] < 0};
        s->ever[n] = s->ever[n] || changes[i] >= 0;
        s->at_end[n] = changes[i] >= 0;
    }
    (void)fx_skiplist_apply(s->list, ops, count, unlinked);
}

static void list_apply_one(list_state *s, int change) {
    list_apply(s, &change, 1);
}

static list_state *list_make(void) {
    list_state *s = explore_alloc(sizeof *s);
    for (unsigned n = 0; n < RECORDS; n++) {
        uint64_t words[2];
        fx_record_fields fields = sim_fields(n + 1, words);
        s->records[n] = sim_slot();
        fx_record_fill(s->records[n], key_text(n), KEY_LEN, &fields);
        fx_record_publish(s->records[n], n + 1);
    }
    s->list = fx_skiplist_create();
    explore_require(s->list != NULL);
    return s;
}

/* What is in the list now stays in it, but for these. */
static list_state *list_ready(list_state *s, const int *leaving, size_t count) {
    memcpy(s->always, s->at_end, sizeof s->always);
    for (size_t i = 0; i < count; i++) {
        s->always[leaving[i]] = false;
    }
    return s;
}

static void list_check(void *state) {
    list_state *s = state;
    const char *wrong = fx_skiplist_check(s->list);
    if (wrong != NULL) {
        explore_fail("the list is broken: %s", wrong);
    }
}

/* A whole scan, three records at a time, from one end to the other, or until `windows` are read. */
static void list_scan(list_state *s, bool backward, unsigned from, unsigned windows) {
    bool seen[RECORDS] = {false};
    bool after = sim_is_done(&s->done);
    unsigned last = backward ? RECORDS : from;
    char key[KEY_LEN + 1] = "";
    size_t key_len = 0;
    if (from > 0) {
        memcpy(key, key_text(from), key_len = KEY_LEN);
    }
    bool first = true;
    bool whole = false;
    for (unsigned w = 0; w < windows && !whole; w++) {
        fx_record *found[3];
        size_t count = backward ? fx_skiplist_backward(s->list, key_len > 0 ? key : NULL, key_len,
                                                       !first, found, 3)
                                : fx_skiplist_forward(s->list, key, key_len, !first, found, 3);
        for (size_t i = 0; i < count; i++) {
            unsigned n = 0;
            explore_plain_read(fx_record_key(found[i]), KEY_LEN);
            memcpy(key, fx_record_key(found[i]), key_len = KEY_LEN);
            (void)sscanf(key, "common%u", &n);
            explore_require(n < RECORDS && s->records[n] == found[i] && s->ever[n]);
            explore_require((first && !backward && n >= last) || (backward ? n < last : n > last));
            seen[n] = true;
            last = n;
            first = false;
        }
        whole = count == 0;
    }
    for (unsigned n = 0; n < RECORDS; n++) {
        bool covered = backward ? whole || n >= last : n >= from && (whole || n <= last);
        explore_require(!covered || seen[n] || !s->always[n]);
        explore_require(!covered || !after || seen[n] == s->at_end[n]);
    }
}

static void scan_forward(void *state) {
    list_scan(state, false, 0, 20);
}

static void scan_backward(void *state) {
    list_scan(state, true, 0, 20);
}

static void scan_middle(void *state) {
    list_scan(state, false, 35, 2);
}

/* One full leaf. */
static void *leaf_setup(void) {
    list_state *s = list_make();
    static const int keys[] = {0, 10, 20, 30, 40, 50, 60, 70};
    list_apply(s, keys, 8);
    return list_ready(s, NULL, 0);
}

static void list_splitter(void *state) {
    list_state *s = state;
    list_apply_one(s, 35);
    list_apply_one(s, 36);
    sim_done(&s->done);
}

/* Two leaves of 2 and 4. */
static void *pair_setup(void) {
    list_state *s = list_make();
    static const int keys[] = {0, 10, 20, 30, 40, 50, 60, 70, 35};
    list_apply(s, keys, 9);
    static const int less[] = {-1, -11, -61};
    list_apply(s, less, 3);
    static const int leaving[] = {20, 40};
    return list_ready(s, leaving, 2);
}

/* Merges into one leaf, then fills it until it splits with the node and the fence given back. */
static void list_merger(void *state) {
    list_state *s = state;
    list_apply_one(s, -21);
    static const int more[] = {45, 46, 47, 48};
    list_apply(s, more, 4);
    list_apply_one(s, -41);
    sim_done(&s->done);
}

/* A full leaf beside one with room. */
static void *uneven_setup(void) {
    list_state *s = list_make();
    static const int keys[] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 2, 4, 6, 8, -51, 12};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        list_apply_one(s, keys[i]);
    }
    return list_ready(s, NULL, 0);
}

static void list_evener(void *state) {
    list_state *s = state;
    static const int more[] = {3, 5, 7};
    list_apply(s, more, 3);
    sim_done(&s->done);
}

/* An inner root with as many children as it can have, all full around key 35. */
static void *tall_setup(void) {
    list_state *s = list_make();
    for (int n = 0; n < 86 && s->list != NULL; n += 2) {
        list_apply_one(s, n);
    }
    for (int n = 21; n < 46; n += 2) {
        if (n != 35 && n != 37) {
            list_apply_one(s, n);
        }
    }
    return list_ready(s, NULL, 0);
}

static void list_grower(void *state) {
    list_state *s = state;
    list_apply_one(s, 37);
    list_apply_one(s, 35);
    sim_done(&s->done);
}

/* One record left of two leaves. */
static void *last_setup(void) {
    list_state *s = list_make();
    static const int keys[] = {0, 10, 20, 30, 40, 50, 60, 70, 35};
    list_apply(s, keys, 9);
    static const int less[] = {-1, -11, -21, -31, -41, -51, -61, -71};
    list_apply(s, less, 8);
    static const int leaving[] = {35};
    return list_ready(s, leaving, 1);
}

static void list_trimmer(void *state) {
    list_state *s = state;
    list_apply_one(s, -36);
    fx_skiplist_trim(s->list);
    static const int more[] = {40, 50};
    list_apply(s, more, 2);
    sim_done(&s->done);
}

/* Empties two leaves, trims, grows two again. */
static void list_renewer(void *state) {
    list_state *s = state;
    static const int less[] = {-21, -31, -36, -41, -51, -71};
    list_apply(s, less, 6);
    fx_skiplist_trim(s->list);
    static const int more[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    list_apply(s, more, 9);
    sim_done(&s->done);
}

static void *renew_setup(void) {
    list_state *s = pair_setup();
    memset(s->always, 0, sizeof s->always);
    return s;
}

/* ---- Pending lists: a scan sees every insert that returned before ---- */

typedef struct order_state {
    fx_engine engine;
    fx_shard *shard;
    fx_record *first, *second; /* in the order from the start; a later put */
    uint64_t done;
} order_state;

static fx_record *slab_record(fx_shard *shard, const char *key, uint64_t version) {
    fx_record *record = fx_slab_acquire(&shard->slab, 64);
    explore_require(record != NULL);
    sim_fill(record, key, version);
    fx_record_publish(record, version);
    return record;
}

static void *order_setup(void) {
    order_state *s = explore_alloc(sizeof *s);
    s->shard = explore_alloc(sizeof *s->shard);
    s->engine.shards = s->shard;
    s->engine.shard_count = 1;
    s->engine.ordered = true;
    s->engine.order = fx_skiplist_create();
    s->engine.merge_ops = explore_alloc(FX_PENDING_MAX * sizeof(fx_skiplist_op));
    s->engine.merge_unlinked = explore_alloc(FX_PENDING_MAX * sizeof(fx_record *));
    fx_slab_pool_init(&s->engine.pool);
    fx_epoch_init(&s->engine.epoch);
    s->shard->engine = &s->engine;
    s->shard->pending = explore_alloc(FX_PENDING_MAX * sizeof(uintptr_t));
    fx_slab_init(&s->shard->slab, &s->engine.pool, 8);
    explore_require(fx_limbo_reserve(&s->shard->limbo, 16));
    s->first = slab_record(s->shard, "old1", 1);
    fx_order_push_locked(s->shard, s->first, false);
    explore_require(fx_order_merge(&s->engine) == FEOX_OK);
    return s;
}

static void order_writer(void *state) {
    order_state *s = state;
    fx_spinlock_lock(&s->shard->lock);
    s->second = slab_record(s->shard, "new1", 2);
    fx_order_push_locked(s->shard, s->second, false);
    fx_spinlock_unlock(&s->shard->lock);
    fx_spinlock_lock(&s->shard->lock);
    fx_record_kill(s->first);
    fx_order_push_locked(s->shard, s->first, true);
    fx_spinlock_unlock(&s->shard->lock);
    sim_done(&s->done);
    /* May get the slot of the dropped record. */
    fx_spinlock_lock(&s->shard->lock);
    (void)slab_record(s->shard, "zzz1", 3);
    fx_spinlock_unlock(&s->shard->lock);
}

static void order_merger(void *state) {
    order_state *s = state;
    for (unsigned i = 0; i < 2; i++) {
        explore_require(fx_order_merge(&s->engine) == FEOX_OK);
    }
}

static void order_scanner(void *state) {
    order_state *s = state;
    fx_record *found[4];
    bool old = false, fresh = false;
    bool after = sim_is_done(&s->done);
    if (fx_order_pending(&s->engine)) {
        explore_require(fx_order_merge(&s->engine) == FEOX_OK);
    }
    fx_pin pin = fx_epoch_pin(&s->engine.epoch);
    size_t count = fx_skiplist_forward(s->engine.order, "", 0, false, found, 4);
    for (size_t i = 0; i < count; i++) {
        explore_plain_read(fx_record_key(found[i]), 4);
        bool is_old = memcmp(fx_record_key(found[i]), "old1", 4) == 0;
        explore_require(is_old || memcmp(fx_record_key(found[i]), "new1", 4) == 0);
        old = old || is_old;
        fresh = fresh || !is_old;
    }
    fx_epoch_unpin(pin);
    explore_require(!after || (fresh && !old));
}

/* What a merge unlinks is used again only when nobody can be looking at it. */
static void *drop_setup(void) {
    order_state *s = order_setup();
    fx_record_kill(s->first);
    fx_order_push_locked(s->shard, s->first, true);
    return s;
}

static void drop_merger(void *state) {
    order_state *s = state;
    explore_require(fx_order_merge(&s->engine) == FEOX_OK);
    fx_spinlock_lock(&s->shard->lock);
    (void)slab_record(s->shard, "zzz1", 3);
    fx_spinlock_unlock(&s->shard->lock);
}

static void drop_scanner(void *state) {
    order_state *s = state;
    fx_record *found[4];
    fx_pin pin = fx_epoch_pin(&s->engine.epoch);
    size_t count = fx_skiplist_forward(s->engine.order, "", 0, false, found, 4);
    explore_require(count <= 1);
    if (count == 1) {
        explore_plain_read(fx_record_key(found[0]), 4);
        explore_require(memcmp(fx_record_key(found[0]), "old1", 4) == 0);
    }
    fx_epoch_unpin(pin);
}

/* ---- Write buffer: commits while a flush reads what was cut ---- */

typedef struct wbuf_state {
    fx_spinlock lock;
    fx_slab_pool pool;
    fx_wbuf wbuf;
    fx_record *records[2];
    uint64_t version;
    uint64_t flushed[2]; /* newest version of each key that a flush has read */
} wbuf_state;

static void *wbuf_setup(void) {
    wbuf_state *s = explore_alloc(sizeof *s);
    fx_slab_pool_init(&s->pool);
    fx_wbuf_init(&s->wbuf, &s->pool, FX_WBUF_SIZE_MAX);
    s->records[0] = sim_record("key1", 1);
    s->records[1] = sim_record("key2", 2);
    s->version = 2;
    return s;
}

static void wbuf_commit(wbuf_state *s, unsigned which) {
    uint64_t words[2];
    fx_spinlock_lock(&s->lock);
    fx_record *record = s->records[which];
    fx_record_fields fields = sim_fields(++s->version, words);
    explore_require(fx_wbuf_reserve(&s->wbuf, 4, (size_t)fields.value_len));
    fx_record_overwrite(record, &fields);
    const fx_entry entry = {.key = which == 0 ? (const uint8_t *)"key1" : (const uint8_t *)"key2",
                            .key_len = 4,
                            .value = fields.value,
                            .value_len = (uint32_t)fields.value_len,
                            .version = fields.version,
                            .timestamp = fields.timestamp,
                            .kind = FX_ENTRY_PUT};
    fx_wbuf_put(&s->wbuf, &entry, record, NULL, fx_record_location(record), 1);
    fx_spinlock_unlock(&s->lock);
}

static void wbuf_committer(void *state) {
    wbuf_commit(state, 0);
    wbuf_commit(state, 1);
    wbuf_commit(state, 0);
}

static void wbuf_other(void *state) {
    wbuf_commit(state, 1);
}

/* Cuts, reads without the lock, and finishes, as group.c does. */
static void wbuf_flush(wbuf_state *s) {
    fx_spinlock_lock(&s->lock);
    fx_wbuf_cut(&s->wbuf);
    fx_wbuf_half *half = fx_wbuf_flight(&s->wbuf);
    fx_spinlock_unlock(&s->lock);
    explore_plain_read(&half->count, sizeof half->count);
    for (uint32_t i = 0; i < half->count; i++) {
        const fx_wbuf_entry *entry = &half->entries[i];
        explore_plain_read(&entry->offset, sizeof entry->offset + sizeof entry->size);
        const uint8_t *bytes = half->bytes + entry->offset;
        explore_plain_read(bytes, entry->size);
        explore_require(fx_format_record_peek(bytes) == entry->size);
        uint64_t version = fx_format_record_version(bytes);
        unsigned which = memmem(bytes, entry->size, "key1", 4) != NULL ? 0 : 1;
        explore_require(version > s->flushed[which]);
        s->flushed[which] = version;
    }
    fx_spinlock_lock(&s->lock);
    for (uint32_t i = 0; i < half->count; i++) {
        fx_wbuf_entry *entry = &half->entries[i];
        if (entry->record != NULL) {
            fx_record_set_location(entry->record, 4096 + i);
        }
    }
    fx_wbuf_recycle(&s->wbuf);
    fx_spinlock_unlock(&s->lock);
}

static void wbuf_flusher(void *state) {
    wbuf_flush(state);
    wbuf_flush(state);
}

static void wbuf_check(void *state) {
    wbuf_state *s = state;
    const char *wrong = fx_wbuf_check(&s->wbuf);
    if (wrong != NULL) {
        explore_fail("%s", wrong);
    }
    wbuf_flush(s);
    for (unsigned i = 0; i < 2; i++) {
        explore_require(s->flushed[i] == fx_record_version(s->records[i]));
        explore_require(fx_location_clean(fx_record_location(s->records[i])));
    }
}

const explore_scenario sim_order_scenarios[] = {
    {"skip list splits", leaf_setup, {list_splitter, scan_forward, scan_backward}, list_check},
    {"skip list merges", pair_setup, {list_merger, scan_forward, scan_backward}, list_check},
    {"skip list evens out", uneven_setup, {list_evener, scan_forward, scan_backward}, list_check},
    {"skip list grows", tall_setup, {list_grower, scan_middle, NULL}, list_check},
    {"skip list trims", last_setup, {list_trimmer, scan_forward, scan_backward}, list_check},
    {"skip list renews", renew_setup, {list_renewer, scan_forward, NULL}, list_check},
    {"pending lists", order_setup, {order_writer, order_merger, order_scanner}, NULL},
    {"merge lets go", drop_setup, {drop_merger, drop_scanner, NULL}, NULL},
    {"write buffer", wbuf_setup, {wbuf_committer, wbuf_flusher, wbuf_other}, wbuf_check},
};
const size_t sim_order_count = sizeof sim_order_scenarios / sizeof sim_order_scenarios[0];
