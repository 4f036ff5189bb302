/* Every key is one item of a sorted array, changed one step at a time. Times to live are either an
 * hour (never over here) or one millisecond with a sleep behind it. */
#define _GNU_SOURCE
#include "support/store_model.h"

enum { KEYS_MAX = 400, KEY_MAX = 64, VALUE_MAX = 70000 };

typedef struct item {
    size_t key_len;
    unsigned char key[KEY_MAX];
    size_t value_len;
    unsigned char *value;
    uint64_t version;
    uint64_t timestamp;
    bool expires;
} item;

typedef struct store_model model;

struct store_model {
    kit *k;
    store_model_chooser *choose;
    void *context;
    uint64_t step;
    size_t count;
    item items[KEYS_MAX + 1];
    size_t ever_count; /* every key that ever was, with its last version */
    struct {
        size_t key_len;
        unsigned char key[KEY_MAX];
        uint64_t version;
    } ever[KEYS_MAX];
    unsigned char *scratch;
};

static uint64_t below(model *m, uint64_t limit) {
    return m->choose(m->context, limit);
}

/* ---- The sorted array ----------------------------------------------------------------------- */

static int compare(const void *a, size_t a_len, const void *b, size_t b_len) {
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* The first item that is not below the key. */
static size_t lower(const model *m, const void *key, size_t key_len) {
    size_t at = 0;
    while (at < m->count && compare(m->items[at].key, m->items[at].key_len, key, key_len) < 0) {
        at++;
    }
    return at;
}

static item *find(model *m, const void *key, size_t key_len) {
    size_t at = lower(m, key, key_len);
    return at < m->count && compare(m->items[at].key, m->items[at].key_len, key, key_len) == 0
               ? &m->items[at]
               : NULL;
}

static void set_value(item *i, const void *value, size_t value_len) {
    unsigned char *copy = kit_alloc(value_len);
    if (value_len > 0) {
        memcpy(copy, value, value_len);
    }
    free(i->value);
    i->value = copy;
    i->value_len = value_len;
}

static item *add(model *m, const void *key, size_t key_len) {
    size_t at = lower(m, key, key_len);
    assert_true(m->count < KEYS_MAX);
    memmove(&m->items[at + 1], &m->items[at], (m->count - at) * sizeof(item));
    m->count++;
    item *i = &m->items[at];
    memset(i, 0, sizeof *i);
    memcpy(i->key, key, key_len);
    i->key_len = key_len;
    return i;
}

static void drop(model *m, item *i) {
    size_t at = (size_t)(i - m->items);
    free(i->value);
    memmove(i, i + 1, (m->count - at - 1) * sizeof(item));
    m->count--;
}

/* Versions rise for each key, also over deletes. */
static void expect_rise(model *m, const void *key, size_t key_len, uint64_t version) {
    size_t at = 0;
    while (at < m->ever_count && compare(m->ever[at].key, m->ever[at].key_len, key, key_len) != 0) {
        at++;
    }
    if (at == m->ever_count) {
        assert_true(at < KEYS_MAX);
        memcpy(m->ever[at].key, key, key_len);
        m->ever[at].key_len = key_len;
        m->ever_count++;
    }
    assert_true(version > m->ever[at].version);
    m->ever[at].version = version;
}

/* ---- Choosing ------------------------------------------------------------------------------- */

/* Short keys over a small alphabet with both extreme bytes; some share a long beginning. */
static size_t choose_key(model *m, unsigned char key[KEY_MAX]) {
    static const unsigned char alphabet[] = {0, 1, 'a', 'b', 0x7f, 0x80, 0xff};
    size_t size = 1 + below(m, 3);
    size_t start = below(m, 4) == 0 ? 40 : 0;
    memset(key, 'p', start);
    for (size_t i = 0; i < size; i++) {
        key[start + i] = alphabet[below(m, i == 0 ? 7 : 4)];
    }
    return start + size;
}

static size_t choose_value(model *m) {
    static const size_t limits[] = {1, 9, 60, 60, 300, 300, 3000, 20000, VALUE_MAX};
    size_t which = below(m, 100);
    size_t size = below(m, limits[which < 91 ? which % 7 : which % 9]);
    if (which % 10 == 3) {
        size = 8; /* a counter for whom wants one */
    }
    kit_fill(m->scratch, size, below(m, UINT64_MAX));
    if (which % 10 == 3) {
        m->scratch[7] &= 0x3f;
    }
    return size;
}

typedef struct request {
    unsigned char key[KEY_MAX];
    size_t key_len;
    feox_write write;
    feox_written written;
    bool explicit_time;
} request;

static void choose_request(model *m, request *r, bool insert) {
    memset(r, 0, sizeof *r);
    r->key_len = choose_key(m, r->key);
    feox_write_init(&r->write);
    const item *i = find(m, r->key, r->key_len);
    switch (below(m, 12)) {
    case 0:
        r->write.flags = FEOX_IF_ABSENT;
        break;
    case 1:
        r->write.flags = FEOX_IF_PRESENT;
        break;
    case 2:
        r->write.flags = FEOX_IF_VERSION;
        r->write.version = i != NULL ? i->version + below(m, 2) : 1;
        break;
    case 3:
        r->write.timestamp =
            i != NULL ? i->timestamp + below(m, 3) - 1 : 1 + below(m, UINT64_MAX) / 2;
        break;
    default:
        break;
    }
    switch (below(m, 8)) {
    case 0:
        r->write.ttl_ms = 3600000;
        break;
    case 1:
        r->write.flags |= insert ? FEOX_KEEP_TTL : FEOX_CLEAR_TTL;
        break;
    default:
        break;
    }
}

/* What the conditions of a write say; FEOX_OK if they let it pass. */
static feox_status judge(const request *r, const item *i) {
    if ((r->write.flags & FEOX_IF_ABSENT) != 0 && i != NULL) {
        return FEOX_EXISTS;
    }
    if ((r->write.flags & (FEOX_IF_PRESENT | FEOX_IF_VERSION)) != 0 && i == NULL) {
        return FEOX_NOT_FOUND;
    }
    if ((r->write.flags & FEOX_IF_VERSION) != 0 && r->write.version != i->version) {
        return FEOX_MISMATCH;
    }
    if (r->write.timestamp != 0 && i != NULL && r->write.timestamp <= i->timestamp) {
        return FEOX_STALE;
    }
    return FEOX_OK;
}

/* What every successful write reports, and the time to live that follows from it. */
static void accept(model *m, const request *r, item *i, bool created, bool insert) {
    assert_int_equal(r->written.created, created);
    expect_rise(m, r->key, r->key_len, r->written.version);
    if (i == NULL) {
        return;
    }
    i->version = r->written.version;
    i->timestamp = r->written.timestamp;
    if (r->write.timestamp != 0) {
        assert_int_equal(i->timestamp, r->write.timestamp);
    }
    bool keeps =
        insert ? (r->write.flags & FEOX_KEEP_TTL) != 0 : (r->write.flags & FEOX_CLEAR_TTL) == 0;
    i->expires = r->write.ttl_ms > 0 || (keeps && i->expires);
}

static void expect_status(model *m, const request *r, feox_status got, feox_status wanted) {
    if (got != wanted) {
        print_error("step %llu, flags %x\n", (unsigned long long)m->step, r->write.flags);
    }
    assert_status(got, wanted);
    if (got != FEOX_OK) {
        assert_int_equal(r->written.version, 0);
    }
}

/* ---- Operations ----------------------------------------------------------------------------- */

static void do_insert(model *m) {
    request r;
    choose_request(m, &r, true);
    size_t size = choose_value(m);
    item *i = find(m, r.key, r.key_len);
    bool created = i == NULL;
    feox_status wanted = judge(&r, i);
    feox_status got =
        feox_insert_with(m->k->store, r.key, r.key_len, m->scratch, size, &r.write, &r.written);
    expect_status(m, &r, got, wanted);
    if (got == FEOX_OK) {
        i = created ? add(m, r.key, r.key_len) : i;
        set_value(i, m->scratch, size);
        accept(m, &r, i, created, true);
    }
}

static void do_delete(model *m) {
    request r;
    choose_request(m, &r, true);
    r.write.ttl_ms = 0;
    r.write.flags &= FEOX_IF_PRESENT | FEOX_IF_VERSION;
    item *i = find(m, r.key, r.key_len);
    feox_status wanted = i == NULL ? FEOX_NOT_FOUND : judge(&r, i);
    feox_status got = feox_delete_with(m->k->store, r.key, r.key_len, &r.write, &r.written);
    expect_status(m, &r, got, wanted);
    if (got == FEOX_OK) {
        accept(m, &r, NULL, false, false);
        drop(m, i);
    }
}

static void do_swap(model *m) {
    request r;
    choose_request(m, &r, false);
    r.write.flags &= ~FEOX_IF_ABSENT;
    size_t size = choose_value(m);
    item *i = find(m, r.key, r.key_len);
    bool right = i != NULL && below(m, 4) > 0;
    feox_status wanted = i == NULL ? FEOX_NOT_FOUND : judge(&r, i);
    const void *expected = right ? i->value : (const unsigned char *)"not this";
    if (!right && wanted == FEOX_OK) {
        wanted = FEOX_MISMATCH;
    }
    feox_status got = feox_compare_and_swap_with(m->k->store, r.key, r.key_len, expected,
                                                 right ? i->value_len : 5, m->scratch, size,
                                                 &r.write, &r.written);
    bool either = !right && i != NULL && (got == FEOX_STALE || got == FEOX_MISMATCH);
    expect_status(m, &r, got, either ? got : wanted);
    if (got == FEOX_OK) {
        set_value(i, m->scratch, size);
        accept(m, &r, i, false, false);
    }
}

static void do_increment(model *m) {
    request r;
    choose_request(m, &r, false);
    item *i = find(m, r.key, r.key_len);
    if (i != NULL && i->value_len != 8) {
        r.write.flags = 0;
        r.write.timestamp = 0;
    }
    bool created = i == NULL;
    int64_t delta = (int64_t)below(m, 2000) - 1000;
    int64_t old = 0;
    int64_t now = 77;
    feox_status wanted = judge(&r, i);
    if (wanted == FEOX_OK && i != NULL) {
        if (i->value_len != 8) {
            wanted = FEOX_ERR_NOT_COUNTER;
        } else {
            memcpy(&old, i->value, 8); /* tests run on little-endian machines */
            bool over = delta > 0 ? old > INT64_MAX - delta : old < INT64_MIN - delta;
            wanted = over ? FEOX_ERR_OVERFLOW : FEOX_OK;
        }
    }
    feox_status got =
        feox_increment_with(m->k->store, r.key, r.key_len, delta, &r.write, &now, &r.written);
    expect_status(m, &r, got, wanted);
    assert_int_equal(now, got == FEOX_OK ? old + delta : 0);
    if (got == FEOX_OK) {
        i = created ? add(m, r.key, r.key_len) : i;
        set_value(i, &now, 8);
        accept(m, &r, i, created, false);
    }
}

/* The exact bytes of a change in JSON are tested elsewhere; here it is one that is easily known. */
static void do_json(model *m) {
    request r;
    choose_request(m, &r, false);
    r.write.flags &= FEOX_IF_VERSION | FEOX_CLEAR_TTL;
    item *i = find(m, r.key, r.key_len);
    if (i != NULL && below(m, 2) == 0) {
        assert_ok(
            feox_insert_with(m->k->store, r.key, r.key_len, "{\"n\":0}", 7, NULL, &r.written));
        set_value(i, "{\"n\":0}", 7);
        i->expires = false;
        i->version = r.written.version;
        expect_rise(m, r.key, r.key_len, i->version);
        i->timestamp = r.written.timestamp;
        r.write.version = r.write.version == 0 ? 0 : i->version;
        r.write.timestamp = 0;
    }
    bool json = i != NULL && i->value_len == 7 && memcmp(i->value, "{\"n\":", 5) == 0;
    if (i != NULL && !json) {
        return;
    }
    feox_status wanted = i == NULL ? FEOX_NOT_FOUND : judge(&r, i);
    char text[64];
    char digit = (char)('0' + below(m, 10));
    feox_status got;
    if (below(m, 2) == 0) {
        int n = snprintf(text, sizeof text, "[{\"op\":\"replace\",\"path\":\"/n\",\"value\":%c}]",
                         digit);
        got = feox_json_patch_with(m->k->store, r.key, r.key_len, text, (size_t)n, &r.write,
                                   &r.written);
    } else {
        int n = snprintf(text, sizeof text, "{\"n\":%c}", digit);
        got = feox_json_merge_with(m->k->store, r.key, r.key_len, text, (size_t)n, &r.write,
                                   &r.written);
    }
    expect_status(m, &r, got, wanted);
    if (got == FEOX_OK) {
        i->value[5] = (unsigned char)digit;
        accept(m, &r, i, false, false);
    }
}

static void do_ttl(model *m) {
    request r;
    choose_request(m, &r, false);
    r.write.flags &= FEOX_IF_VERSION;
    r.write.ttl_ms = 0;
    item *i = find(m, r.key, r.key_len);
    feox_status wanted = i == NULL ? FEOX_NOT_FOUND : judge(&r, i);
    bool persist = below(m, 2) == 0;
    uint64_t ttl_ms = persist ? 0 : below(m, 2) * 3600000;
    feox_status got =
        persist ? feox_persist_with(m->k->store, r.key, r.key_len, &r.write, &r.written)
                : feox_expire_with(m->k->store, r.key, r.key_len, ttl_ms, &r.write, &r.written);
    expect_status(m, &r, got, wanted);
    if (got == FEOX_OK) {
        accept(m, &r, i, false, false);
        int64_t left = 0;
        assert_ok(feox_ttl(m->k->store, r.key, r.key_len, &left));
        assert_int_equal(left > 0, ttl_ms > 0);
        i->expires = ttl_ms > 0;
    }
}

static void do_insert_many(model *m) {
    enum { MANY = 20 };
    feox_pair pairs[MANY];
    feox_status statuses[MANY];
    unsigned char keys[MANY][KEY_MAX];
    size_t size = choose_value(m) % 200;
    for (size_t n = 0; n < MANY; n++) {
        size_t key_len = choose_key(m, keys[n]);
        pairs[n] = (feox_pair){{keys[n], key_len}, {m->scratch, size}};
    }
    assert_ok(feox_insert_many(m->k->store, pairs, MANY, statuses));
    for (size_t n = 0; n < MANY; n++) {
        assert_ok(statuses[n]);
        item *i = find(m, pairs[n].key.data, pairs[n].key.size);
        i = i != NULL ? i : add(m, pairs[n].key.data, pairs[n].key.size);
        set_value(i, m->scratch, size);
        i->expires = false;
    }
    for (size_t n = 0; n < MANY; n++) {
        feox_key_info info;
        item *i = find(m, pairs[n].key.data, pairs[n].key.size);
        assert_ok(feox_info(m->k->store, i->key, i->key_len, &info));
        if (info.version != i->version) { /* else the key is twice among the pairs */
            expect_rise(m, i->key, i->key_len, info.version);
        }
        i->version = info.version;
        i->timestamp = info.timestamp;
    }
}

/* A key expires, and is as absent as one that was never there. */
static void do_expire_now(model *m) {
    request r;
    choose_request(m, &r, true);
    item *i = find(m, r.key, r.key_len);
    feox_status got = feox_expire_with(m->k->store, r.key, r.key_len, 1, NULL, &r.written);
    assert_status(got, i == NULL ? FEOX_NOT_FOUND : FEOX_OK);
    if (i != NULL) {
        expect_rise(m, r.key, r.key_len, r.written.version);
        kit_sleep_ms(3);
        assert_status(feox_contains(m->k->store, r.key, r.key_len), FEOX_NOT_FOUND);
        drop(m, i);
    }
}

/* ---- Reading -------------------------------------------------------------------------------- */

static void check_item(model *m, const item *i) {
    feox_key_info info;
    void *value = NULL;
    size_t size = 0;
    assert_ok(feox_get(m->k->store, i->key, i->key_len, &value, &size));
    assert_int_equal(size, i->value_len);
    assert_true(size == 0 || memcmp(value, i->value, size) == 0);
    feox_free(value);
    assert_ok(feox_info(m->k->store, i->key, i->key_len, &info));
    assert_int_equal(info.version, i->version);
    assert_int_equal(info.timestamp, i->timestamp);
    assert_int_equal(info.value_size, i->value_len);
    assert_int_equal(info.ttl_ms > 0, i->expires);
}

static void do_get(model *m) {
    unsigned char key[KEY_MAX];
    size_t key_len = choose_key(m, key);
    const item *i = find(m, key, key_len);
    size_t room = below(m, 2) == 0 ? 100 : VALUE_MAX;
    size_t size = 77;
    feox_status status = feox_get_into(m->k->store, key, key_len, m->scratch, room, &size);
    if (i == NULL) {
        assert_status(status, FEOX_NOT_FOUND);
        assert_int_equal(size, 0);
        return;
    }
    assert_status(status, i->value_len <= room ? FEOX_OK : FEOX_TRUNCATED);
    assert_int_equal(size, i->value_len);
    room = size < room ? size : room;
    assert_true(room == 0 || memcmp(m->scratch, i->value, room) == 0);
    check_item(m, i);
    feox_view view;
    assert_ok(feox_get_view(m->k->store, key, key_len, &view));
    assert_int_equal(view.size, i->value_len);
    assert_true(view.size == 0 || memcmp(view.data, i->value, view.size) == 0);
    feox_view_release(&view);
}

static void do_get_many(model *m) {
    enum { MANY = 16 };
    feox_lookup lookups[MANY];
    unsigned char keys[MANY][KEY_MAX];
    unsigned char room[MANY][64];
    for (size_t n = 0; n < MANY; n++) {
        size_t key_len = choose_key(m, keys[n]);
        lookups[n] = (feox_lookup){keys[n], key_len, room[n], sizeof room[n], 77, FEOX_ERR_IO};
    }
    assert_ok(feox_get_many(m->k->store, lookups, MANY));
    for (size_t n = 0; n < MANY; n++) {
        const item *i = find(m, lookups[n].key, lookups[n].key_len);
        feox_status wanted = i == NULL            ? FEOX_NOT_FOUND
                             : i->value_len <= 64 ? FEOX_OK
                                                  : FEOX_TRUNCATED;
        assert_status(lookups[n].status, wanted);
        assert_int_equal(lookups[n].value_len, i == NULL ? 0 : i->value_len);
        size_t size = i == NULL ? 0 : i->value_len < 64 ? i->value_len : 64;
        assert_true(size == 0 || memcmp(room[n], i->value, size) == 0);
    }
}

static bool in_range(const feox_range *r, const item *i) {
    if (r->start_len > 0) {
        int order = compare(i->key, i->key_len, r->start, r->start_len);
        if (order < 0 || (order == 0 && (r->flags & FEOX_START_EXCLUSIVE) != 0)) {
            return false;
        }
    }
    if (r->end_len > 0) {
        int order = compare(i->key, i->key_len, r->end, r->end_len);
        if (order > 0 || (order == 0 && (r->flags & FEOX_END_EXCLUSIVE) != 0)) {
            return false;
        }
    }
    return r->prefix_len == 0 ||
           (i->key_len >= r->prefix_len && memcmp(i->key, r->prefix, r->prefix_len) == 0);
}

/* Walks with a cursor that may be sought once, and counts the same pairs off the model. */
static void do_walk(model *m) {
    unsigned char bounds[4][KEY_MAX];
    feox_range r;
    feox_cursor *cursor = NULL;
    feox_slice key;
    feox_slice value;
    feox_range_init(&r);
    r.flags = (uint32_t)below(m, 16) & ~FEOX_KEYS_ONLY;
    r.start = bounds[0];
    r.start_len = below(m, 2) == 0 ? choose_key(m, bounds[0]) : 0;
    r.end = bounds[1];
    r.end_len = below(m, 2) == 0 ? choose_key(m, bounds[1]) : 0;
    r.prefix = bounds[2];
    r.prefix_len = below(m, 4) == 0 ? choose_key(m, bounds[2]) : 0;
    r.prefix_len = r.prefix_len > 1 ? r.prefix_len - 1 : r.prefix_len;
    r.limit = below(m, 3) == 0 ? 1 + below(m, 10) : 0;
    bool reverse = (r.flags & FEOX_REVERSE) != 0;
    bool seek = below(m, 2) == 0;
    size_t seek_len = choose_key(m, bounds[3]);
    assert_ok(feox_cursor_open(m->k->store, &r, &cursor));
    if (seek) {
        assert_ok(feox_cursor_seek(cursor, bounds[3], seek_len));
    }
    size_t given = 0;
    for (size_t n = 0; n < m->count && (r.limit == 0 || given < r.limit); n++) {
        const item *i = &m->items[reverse ? m->count - 1 - n : n];
        int order = compare(i->key, i->key_len, bounds[3], seek_len);
        if (!in_range(&r, i) || (seek && (reverse ? order > 0 : order < 0))) {
            continue;
        }
        assert_ok(feox_cursor_next(cursor, &key, &value));
        assert_int_equal(compare(key.data, key.size, i->key, i->key_len), 0);
        assert_int_equal(value.size, i->value_len);
        assert_true(value.size == 0 || memcmp(value.data, i->value, value.size) == 0);
        given++;
    }
    assert_status(feox_cursor_next(cursor, &key, &value), FEOX_END);
    feox_cursor_close(cursor);
}

static void do_query(model *m) {
    unsigned char start[KEY_MAX];
    unsigned char end[KEY_MAX];
    feox_pairs *pairs = NULL;
    size_t start_len = choose_key(m, start);
    size_t end_len = below(m, 4) == 0 ? 0 : choose_key(m, end);
    size_t limit = below(m, 20);
    assert_ok(feox_range_query(m->k->store, start, start_len, end, end_len, limit, &pairs));
    size_t given = 0;
    for (size_t at = lower(m, start, start_len); at < m->count; at++) {
        const item *i = &m->items[at];
        if ((limit > 0 && given == limit) ||
            (end_len > 0 && compare(i->key, i->key_len, end, end_len) > 0)) {
            break;
        }
        assert_true(given < pairs->count);
        const feox_pair *pair = &pairs->pairs[given++];
        assert_int_equal(compare(pair->key.data, pair->key.size, i->key, i->key_len), 0);
        assert_int_equal(pair->value.size, i->value_len);
        assert_true(i->value_len == 0 || memcmp(pair->value.data, i->value, i->value_len) == 0);
    }
    assert_int_equal(given, pairs->count);
    feox_pairs_free(pairs);
}

void store_model_compare(model *m) {
    for (size_t n = 0; n < m->count; n++) {
        check_item(m, &m->items[n]);
    }
    assert_int_equal(kit_scan_count(m->k), m->count);
    uint64_t deadline = kit_now_ms() + 3000; /* expired keys count until they are swept */
    while (kit_count(m->k) != m->count && kit_now_ms() < deadline) {
        kit_sleep_ms(2);
    }
    assert_int_equal(kit_count(m->k), m->count);
    assert_ok(kit_check(m->k->store));
}

static void clear_everything(model *m) {
    assert_ok(feox_clear(m->k->store));
    while (m->count > 0) {
        drop(m, &m->items[m->count - 1]);
    }
}

void store_model_step(model *m) {
    m->step++;
    uint64_t what = below(m, 1000);
    if (what < 300) {
        do_insert(m);
    } else if (what < 420) {
        do_delete(m);
    } else if (what < 480) {
        do_swap(m);
    } else if (what < 560) {
        do_increment(m);
    } else if (what < 610) {
        do_json(m);
    } else if (what < 650) {
        do_ttl(m);
    } else if (what < 670) {
        do_insert_many(m);
    } else if (what < 672) {
        do_expire_now(m);
    } else if (what < 850) {
        do_get(m);
    } else if (what < 880) {
        do_get_many(m);
    } else if (what < 940) {
        do_walk(m);
    } else if (what < 980) {
        do_query(m);
    } else if (what < 990) {
        assert_ok(feox_flush(m->k->store));
    } else if (what < 995) {
        kit_reopen(m->k);
    } else if (what < 996) {
        clear_everything(m);
    } else {
        store_model_compare(m);
    }
}

store_model *store_model_create(kit *k, store_model_chooser *choose, void *context) {
    model *m = kit_alloc(sizeof *m);
    memset(m, 0, sizeof *m);
    m->k = k;
    m->choose = choose;
    m->context = context;
    m->scratch = kit_alloc(VALUE_MAX);
    return m;
}

void store_model_destroy(model *m) {
    while (m->count > 0) {
        drop(m, &m->items[m->count - 1]);
    }
    free(m->scratch);
    free(m);
}
