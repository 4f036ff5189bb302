/* drill: one thread makes the changes, so their order is known, and a prefix of it is a number.
 * A value's bytes follow from its stamp, so nothing has to be kept.
 */
#define _GNU_SOURCE
#include "support/drill.h"

#include <fcntl.h>
#include <unistd.h>

#include "support/kit.h"

enum { BLOCK = 4096, PRINTED_MAX = 20 };

static unsigned char value_bytes[DRILL_VALUE_MAX];
static unsigned char other_bytes[DRILL_VALUE_MAX];
static const char *current_name = "";

void drill_set_name(const char *name) {
    current_name = name;
}

void drill_wrong(drill *d, const char *what, feox_status status) {
    if (d->wrong++ < PRINTED_MAX) {
        (void)fprintf(stderr, "  %s: after %zu changes (%zu durable): %s: %s; %s\n", current_name,
                      d->count, d->durable, what, feox_status_name(status), feox_last_error());
    }
}

/* ---- Values --------------------------------------------------------------------------------- */

static size_t fill_value(const drill_value *v, unsigned char *to) {
    if (v->kind == DRILL_COUNTER) {
        for (unsigned i = 0; i < 8; i++) {
            to[i] = (unsigned char)(v->stamp >> (8 * i));
        }
        return 8;
    }
    if (v->kind == DRILL_JSON) {
        char *text = (char *)to;
        int head = snprintf(text, 64, "{\"n\":%llu,\"pad\":\"", (unsigned long long)v->stamp);
        memset(text + head, 'p', v->size);
        memcpy(text + head + v->size, "\"}", 2);
        return (size_t)head + v->size + 2;
    }
    kit_fill(to, v->size, v->stamp);
    return v->size;
}

static bool is_value(const drill_value *v, const void *bytes, size_t size) {
    if (v->kind == DRILL_BYTES && size != v->size) {
        return false;
    }
    return v->kind != DRILL_ABSENT && fill_value(v, value_bytes) == size &&
           memcmp(value_bytes, bytes, size) == 0;
}

/* ---- Judging -------------------------------------------------------------------------------- */

static uint64_t grave(const drill *d) {
    return d->grave != NULL ? d->grave() : 0;
}

static uint64_t met(const drill *d) {
    return d->met != NULL ? d->met() : 0;
}

static bool may_fail(const drill *d) {
    return (d->may & DRILL_MAY_FAIL) != 0 && met(d) > 0;
}

static bool has_failed(drill *d) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    feox_status status = feox_stats(d->store, &stats);
    if (status != FEOX_OK || (stats.io_error != 0 && stats.io_error != FEOX_ERR_IO)) {
        drill_wrong(d, "statistics", status);
    }
    return stats.io_error != 0;
}

static void advance(drill *d, size_t seen) {
    for (; d->seen < seen; d->seen++) {
        d->now[d->changes[d->seen].key] = d->changes[d->seen].value;
    }
}

/* Everything seen is on stable storage. */
static void all_durable(drill *d) {
    advance(d, d->count);
    d->durable = d->count;
    if (d->progress != NULL) {
        atomic_store(&d->progress->durable, d->durable);
    }
}

/* A group could not be written while changes were in flight: those of groups before it are durable,
 * and seen. */
static void settle_flight(drill *d) {
    uint64_t sequence = 0;
    if (d->sequence == 0 || d->store == NULL) {
        return;
    }
    (void)feox_durable_sequence(d->store, &sequence);
    while (d->seen < d->count && d->changes[d->seen].sequence <= sequence) {
        advance(d, d->seen + 1);
        d->durable = d->seen;
    }
}

/* What any call that writes may say, and what follows from it. `before` are the faults before it.
 * True: it did what it should. */
static bool judge(drill *d, const char *what, feox_status status, uint64_t before) {
    if (status == FEOX_OK && d->sticky) {
        drill_wrong(d, "accepted after the device had failed", status);
    } else if (status == FEOX_OK && grave(d) != before) {
        drill_wrong(d, "success, though the device failed meanwhile", status);
    } else if (status == FEOX_ERR_SPACE && (d->may & DRILL_MAY_FILL) != 0 && met(d) > 0) {
        d->refused++;
        settle_flight(d);
        if (d->sticky || (d->store != NULL && has_failed(d))) {
            drill_wrong(d, "no space, of a store that failed", status);
        }
    } else if (status == FEOX_ERR_IO && may_fail(d)) {
        d->failed++;
        d->sticky = d->store != NULL && has_failed(d);
        settle_flight(d);
    } else if (status == FEOX_ERR_READ_ONLY && may_fail(d) && d->store != NULL && has_failed(d)) {
        d->failed += !d->sticky; /* in the background, where nobody was told yet */
        d->sticky = true;
        settle_flight(d);
    } else if (status != FEOX_OK) {
        drill_wrong(d, what, status);
    }
    return status == FEOX_OK;
}

/* ---- Changes -------------------------------------------------------------------------------- */

typedef feox_status drill_call(drill *d, const drill_change *next, const feox_write *write,
                               feox_written *written);

static feox_status call_put(drill *d, const drill_change *next, const feox_write *write,
                            feox_written *written) {
    size_t size = fill_value(&next->value, value_bytes);
    return feox_insert_with(d->store, &next->key, sizeof next->key, value_bytes, size, write,
                            written);
}

static feox_status call_delete(drill *d, const drill_change *next, const feox_write *write,
                               feox_written *written) {
    return feox_delete_with(d->store, &next->key, sizeof next->key, write, written);
}

static feox_status call_swap(drill *d, const drill_change *next, const feox_write *write,
                             feox_written *written) {
    size_t old = fill_value(&d->now[next->key], other_bytes);
    size_t size = fill_value(&next->value, value_bytes);
    return feox_compare_and_swap_with(d->store, &next->key, sizeof next->key, other_bytes, old,
                                      value_bytes, size, write, written);
}

static feox_status call_add(drill *d, const drill_change *next, const feox_write *write,
                            feox_written *written) {
    int64_t value = 0;
    return feox_increment_with(d->store, &next->key, sizeof next->key, 3, write, &value, written);
}

static feox_status call_patch(drill *d, const drill_change *next, const feox_write *write,
                              feox_written *written) {
    char patch[100];
    int size = snprintf(patch, sizeof patch,
                        "[{\"op\":\"replace\",\"path\":\"/n\",\"value\":%llu}]",
                        (unsigned long long)next->value.stamp);
    return feox_json_patch_with(d->store, &next->key, sizeof next->key, patch, (size_t)size, write,
                                written);
}

static void change(drill *d, drill_call *call, const char *what, drill_change next,
                   uint32_t flags) {
    feox_write write;
    feox_written written = {0};
    if (d->store == NULL) {
        return;
    }
    if (d->count == DRILL_CHANGES) {
        drill_wrong(d, "more changes than there is room for", FEOX_OK);
        return;
    }
    feox_write_init(&write);
    write.flags = flags;
    if (d->progress != NULL) {
        atomic_store(&d->progress->tried, d->count + 1);
    }
    uint64_t before = grave(d);
    bool was_sticky = d->sticky;
    bool flies = (flags & FEOX_NO_WAIT) != 0;
    bool waits = (flags & FEOX_DURABLE) != 0 && !flies;
    d->before_flight = flies && d->sequence == 0 ? before : d->before_flight;
    feox_status status = call(d, &next, &write, &written);
    if (judge(d, what, status, flies ? grave(d) : before)) {
        d->changes[d->count++] = next;
        if (waits) {
            all_durable(d);
        } else if (flies) {
            d->sequence = written.sequence;
            d->changes[d->count - 1].sequence = written.sequence;
        } else {
            advance(d, d->count);
        }
    } else if (waits && d->sticky && !was_sticky) {
        d->changes[d->count++] = next; /* it may be there or not */
    }
}

void drill_put(drill *d, unsigned key, drill_kind kind, size_t size, uint32_t flags) {
    change(d, call_put, "insert", (drill_change){key, {kind, size, ++d->stamp}, 0}, flags);
}

void drill_delete(drill *d, unsigned key, uint32_t flags) {
    if (d->now[key].kind != DRILL_ABSENT) {
        change(d, call_delete, "delete", (drill_change){key, {DRILL_ABSENT, 0, 0}, 0}, flags);
    }
}

void drill_swap(drill *d, unsigned key, size_t size, uint32_t flags) {
    if (d->now[key].kind != DRILL_ABSENT) {
        const drill_value next = {DRILL_BYTES, size, ++d->stamp};
        change(d, call_swap, "swap", (drill_change){key, next, 0}, flags);
    }
}

void drill_add(drill *d, unsigned key, uint32_t flags) {
    const drill_value *old = &d->now[key];
    if (old->kind == DRILL_ABSENT || old->kind == DRILL_COUNTER) {
        uint64_t sum = (old->kind == DRILL_COUNTER ? old->stamp : 0) + 3;
        change(d, call_add, "increment", (drill_change){key, {DRILL_COUNTER, 8, sum}, 0}, flags);
    }
}

void drill_patch(drill *d, unsigned key, uint32_t flags) {
    if (d->now[key].kind == DRILL_JSON) {
        const drill_value next = {DRILL_JSON, d->now[key].size, ++d->stamp};
        change(d, call_patch, "patch", (drill_change){key, next, 0}, flags);
    }
}

/* ---- The rest of a life --------------------------------------------------------------------- */

void drill_begin(drill *d) {
    if (d->begin != NULL) {
        d->begin();
    }
}

void drill_open(drill *d) {
    uint64_t before = grave(d);
    feox_status status = feox_open(d->path, &d->options, &d->store);
    if ((status == FEOX_OK) != (d->store != NULL)) {
        drill_wrong(d, "open gives no store, or one that failed", status);
    }
    d->opened = d->opened || d->store != NULL;
    if (!judge(d, "open", status, before)) {
        d->sticky = false; /* there is no store of which to say so */
    }
}

void drill_close(drill *d) {
    if (d->store == NULL) {
        return;
    }
    feox_store *store = d->store;
    uint64_t before = grave(d);
    bool was_sticky = d->sticky;
    d->store = NULL;
    d->closing = true;
    feox_status status = feox_close(store);
    d->closing = false;
    if (was_sticky) { /* it has no better news */
        if (status != FEOX_ERR_IO) {
            drill_wrong(d, "close of a store that failed", status);
        }
    } else if (judge(d, "close", status, before) && d->options.read_only != FEOX_YES) {
        all_durable(d);
    }
    d->sticky = false;
}

void drill_flush(drill *d) {
    if (d->store == NULL) {
        return;
    }
    uint64_t before = grave(d);
    if (judge(d, "flush", feox_flush(d->store), before)) {
        all_durable(d);
    }
}

void drill_wait(drill *d) {
    if (d->store == NULL || d->sequence == 0) {
        return;
    }
    feox_status status = feox_wait_durable(d->store, d->sequence, 30000);
    if (judge(d, "wait", status, d->before_flight)) {
        all_durable(d);
        d->sequence = 0;
    }
}

void drill_compact(drill *d) {
    if (d->store == NULL) {
        return;
    }
    uint64_t before = grave(d);
    if (judge(d, "compact", feox_compact(d->store), before)) {
        all_durable(d);
    }
}

/* Copies the file that is there; the copy is complete, or the call says that it is not. */
void drill_salvage(drill *d) {
    feox_salvage_report report;
    char out[600];
    feox_salvage_report_init(&report);
    (void)snprintf(out, sizeof out, "%s-out", d->path);
    (void)unlink(out); /* a killed one's */
    uint64_t before = grave(d);
    unsigned failed = d->failed;
    d->closing = true;
    feox_status status = feox_salvage(d->path, out, &report, NULL, NULL);
    d->closing = false;
    /* What could not be read is lost for the copy, and said so. */
    if (status == FEOX_ERR_CORRUPT && may_fail(d) && report.problems > 0) {
        d->failed++;
        status = FEOX_ERR_IO;
    } else if (judge(d, "salvage", status, before)) {
        drill copy = *d;
        copy.met = NULL;
        copy.grave = NULL;
        copy.path = out;
        if (d->end != NULL) {
            d->end();
        }
        if (feox_open(out, &d->options, &copy.store) != FEOX_OK) {
            drill_wrong(d, "opening the copy", status);
        } else {
            copy.durable = copy.count;
            drill_verify(&copy, copy.store);
            (void)feox_close(copy.store);
            d->wrong = copy.wrong;
        }
    }
    if (status != FEOX_OK && d->failed == failed && d->refused == 0) {
        drill_wrong(d, "salvage", status);
    }
    (void)unlink(out);
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* Who opens a file only to read it, and cannot read all of it, goes on without the rest: that is
 * missing, or answers FEOX_ERR_CORRUPT, and the statistics say so. */
static bool is_lost(drill *d, feox_status status) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    return (status == FEOX_NOT_FOUND || status == FEOX_ERR_CORRUPT) && may_fail(d) &&
           d->options.read_only == FEOX_YES && feox_stats(d->store, &stats) == FEOX_OK &&
           stats.corrupt_records > 0;
}

static void judge_read(drill *d, unsigned key, feox_status status, const void *bytes, size_t size,
                       uint64_t before) {
    const drill_value *wanted = &d->now[key];
    if (is_lost(d, status)) {
        d->failed++;
    } else if (status == FEOX_ERR_IO && may_fail(d) && met(d) != before) {
        d->failed++;
    } else if (wanted->kind == DRILL_ABSENT) {
        if (status != FEOX_NOT_FOUND) {
            drill_wrong(d, "a key that was deleted or never written", status);
        }
    } else if (status != FEOX_OK || !is_value(wanted, bytes, size)) {
        drill_wrong(d, "a key has another value", status);
    }
}

static void read_alone(drill *d, unsigned key) {
    feox_view view = {0};
    void *copy = NULL;
    size_t size = 0;
    uint64_t before = met(d);
    feox_status status = feox_get(d->store, &key, sizeof key, &copy, &size);
    judge_read(d, key, status, copy, size, before);
    feox_free(copy);
    before = met(d);
    status = feox_get_view(d->store, &key, sizeof key, &view);
    judge_read(d, key, status, view.data, view.size, before);
    feox_view_release(&view);
}

static void read_many(drill *d) {
    static unsigned char buffers[DRILL_KEYS][BLOCK];
    unsigned keys[DRILL_KEYS];
    feox_lookup lookups[DRILL_KEYS];
    size_t count = 0;
    memset(lookups, 0, sizeof lookups);
    for (unsigned key = 0; key < DRILL_KEYS; key++) {
        if (d->now[key].size <= BLOCK - 64) {
            keys[count] = key;
            lookups[count].key = &keys[count];
            lookups[count].key_len = sizeof key;
            lookups[count].buffer = buffers[count];
            lookups[count].capacity = BLOCK;
            count++;
        }
    }
    uint64_t before = met(d);
    feox_status status = feox_get_many(d->store, lookups, count);
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        any = any || lookups[i].status < 0;
        judge_read(d, keys[i], lookups[i].status, buffers[i], lookups[i].value_len, before);
    }
    if (any != (status < 0)) {
        drill_wrong(d, "get_many and its lookups do not agree", status);
    }
}

static void read_in_order(drill *d) {
    feox_cursor *cursor = NULL;
    feox_slice key;
    feox_slice value;
    uint64_t before = met(d);
    feox_status status = feox_cursor_open(d->store, NULL, &cursor);
    size_t pairs = 0;
    while (status == FEOX_OK && (status = feox_cursor_next(cursor, &key, &value)) == FEOX_OK) {
        unsigned number = DRILL_KEYS;
        if (key.size == sizeof number) {
            memcpy(&number, key.data, sizeof number);
        }
        if (number >= DRILL_KEYS || !is_value(&d->now[number], value.data, value.size)) {
            drill_wrong(d, "a scan finds something else", status);
        }
        pairs++;
    }
    feox_cursor_close(cursor);
    size_t wanted = 0;
    for (unsigned i = 0; i < DRILL_KEYS; i++) {
        wanted += d->now[i].kind != DRILL_ABSENT;
    }
    if (status == FEOX_ERR_IO && may_fail(d) && met(d) != before) {
        d->failed++;
    } else if (status != FEOX_END || (pairs != wanted && !is_lost(d, FEOX_NOT_FOUND))) {
        drill_wrong(d, "a scan", status);
    }
}

void drill_read(drill *d) {
    if (d->store == NULL) {
        return;
    }
    for (unsigned key = 0; key < DRILL_KEYS; key++) {
        read_alone(d, key);
    }
    read_many(d);
    read_in_order(d);
}

/* ---- What is left --------------------------------------------------------------------------- */

void drill_expect_read_only(drill *d) {
    unsigned key = 0;
    for (unsigned i = 0; i < 2; i++) {
        feox_status status = feox_insert(d->store, &key, sizeof key, "x", 1);
        if (status != FEOX_ERR_READ_ONLY) {
            drill_wrong(d, "an insert into a store that failed", status);
        }
        status = feox_delete(d->store, &key, sizeof key);
        if (status != FEOX_ERR_READ_ONLY) {
            drill_wrong(d, "a delete from a store that failed", status);
        }
        status = feox_flush(d->store);
        if (status != FEOX_ERR_IO) {
            drill_wrong(d, "a flush of a store that failed", status);
        }
        status = feox_compact(d->store);
        if (status != FEOX_ERR_IO && status != FEOX_ERR_READ_ONLY) {
            drill_wrong(d, "compacting a store that failed", status);
        }
    }
    drill_read(d);
    if (!has_failed(d)) {
        drill_wrong(d, "the failure is forgotten", FEOX_OK);
    }
}

typedef struct found {
    void *bytes[DRILL_KEYS]; /* NULL: absent */
    size_t sizes[DRILL_KEYS];
    uint64_t count;
} found;

static void find(drill *d, feox_store *store, found *f) {
    for (unsigned key = 0; key < DRILL_KEYS; key++) {
        feox_status status = feox_get(store, &key, sizeof key, &f->bytes[key], &f->sizes[key]);
        if (status != FEOX_OK && status != FEOX_NOT_FOUND) {
            drill_wrong(d, "reading what is left", status);
        }
    }
    feox_status status = feox_count(store, &f->count);
    if (status != FEOX_OK) {
        drill_wrong(d, "count", status);
    }
}

/* Whether the store is what is in `now`; `known` has which keys were compared already. */
static bool matches(const drill *d, const found *f, bool known[DRILL_KEYS],
                    bool same[DRILL_KEYS]) {
    uint64_t count = 0;
    bool all = true;
    for (unsigned key = 0; key < DRILL_KEYS; key++) {
        const drill_value *v = &d->now[key];
        if (!known[key]) {
            known[key] = true;
            same[key] = v->kind == DRILL_ABSENT
                            ? f->bytes[key] == NULL
                            : f->bytes[key] != NULL && is_value(v, f->bytes[key], f->sizes[key]);
        }
        count += v->kind != DRILL_ABSENT;
        all = all && same[key];
    }
    return all && count == f->count;
}

void drill_verify(drill *d, feox_store *store) {
    found f = {0};
    bool known[DRILL_KEYS] = {false};
    bool same[DRILL_KEYS] = {false};
    size_t match = SIZE_MAX;
    find(d, store, &f);
    memcpy(d->now, d->base, sizeof d->now);
    for (size_t i = 0; i <= d->count && match == SIZE_MAX; i++) {
        if (i > 0) {
            d->now[d->changes[i - 1].key] = d->changes[i - 1].value;
            known[d->changes[i - 1].key] = false;
        }
        match = i >= d->durable && matches(d, &f, known, same) ? i : match;
    }
    for (unsigned key = 0; key < DRILL_KEYS; key++) {
        feox_free(f.bytes[key]);
    }
    if (match == SIZE_MAX) {
        drill_wrong(d, "what is left is no state that it may have", FEOX_OK);
        return;
    }
    feox_status status = kit_check(store);
    if (status != FEOX_OK) {
        drill_wrong(d, "check", status);
    }
    d->count = d->seen = d->durable = match;
}

static feox_store *open_left(drill *d) {
    feox_store *store = NULL;
    feox_options options = d->options;
    options.read_only = FEOX_NO;
    uint64_t deadline = kit_now_ms() + 10000;
    feox_status status;
    /* A killed process keeps the file busy for a moment. */
    while ((status = feox_open(d->path, &options, &store)) == FEOX_ERR_BUSY &&
           kit_now_ms() < deadline) {
        kit_sleep_ms(1);
    }
    if (status != FEOX_OK) {
        drill_wrong(d, "opening what is left", status);
    }
    return store;
}

void drill_expect_recovered(drill *d, unsigned rounds) {
    d->may = 0;
    d->met = NULL;
    d->grave = NULL;
    d->sequence = 0;
    d->sticky = false;
    for (unsigned round = 0; round < rounds; round++) {
        d->store = open_left(d);
        if (d->store == NULL) {
            return;
        }
        drill_verify(d, d->store);
        if (round + 1 < rounds) {
            drill_put(d, DRILL_KEYS - 1, DRILL_BYTES, 700, 0);
        }
        drill_close(d);
    }
}

/* ---- Images --------------------------------------------------------------------------------- */

typedef struct run {
    size_t from, size;
} run;

struct drill_image {
    unsigned char *bytes;
    size_t size;
    run *runs; /* of blocks that are not zero */
    size_t count;
    drill_value state[DRILL_KEYS];
    uint64_t stamp;
};

static bool is_zero(const unsigned char *block, size_t size) {
    return size == 0 || (block[0] == 0 && memcmp(block, block + 1, size - 1) == 0);
}

static void find_runs(drill_image *image) {
    image->runs = kit_alloc((image->size / BLOCK + 2) * sizeof *image->runs);
    for (size_t at = 0; at < image->size; at += BLOCK) {
        size_t size = image->size - at < BLOCK ? image->size - at : BLOCK;
        if (is_zero(image->bytes + at, size)) {
            continue;
        }
        run *last = image->count > 0 ? &image->runs[image->count - 1] : NULL;
        if (last != NULL && last->from + last->size == at) {
            last->size += size;
        } else {
            image->runs[image->count++] = (run){at, size};
        }
    }
}

static void set_up(drill *d, const drill_script *script, const char *path, int backend) {
    memset(d, 0, sizeof *d);
    d->path = path;
    feox_options_init(&d->options);
    d->options.io_backend = backend;
    /* Nothing happens by itself. */
    d->options.flush_interval_ms = 3600000;
    d->options.sweep_interval_ms = 3600000;
    d->options.memory_limit = script->memory_limit;
}

drill_image *drill_prepare(drill *d, const drill_script *script, const char *path, int backend) {
    drill_image *image = calloc(1, sizeof *image);
    set_up(d, script, path, backend);
    (void)unlink(path);
    if (script->prepare != NULL && image != NULL) {
        drill_open(d);
        script->prepare(d);
        drill_flush(d);
        if (!script->crashed) {
            drill_close(d);
        }
        image->bytes = fx_file_slurp(path, &image->size);
        drill_close(d);
        find_runs(image);
        memcpy(image->state, d->now, sizeof image->state);
        image->stamp = d->stamp;
    }
    if (d->wrong > 0) {
        drill_image_free(image);
        return NULL;
    }
    return image;
}

void drill_image_free(drill_image *image) {
    if (image != NULL) {
        free(image->bytes);
        free(image->runs);
        free(image);
    }
}

static void forget(drill *d, const drill_image *image) {
    memcpy(d->base, image->state, sizeof d->base);
    memcpy(d->now, image->state, sizeof d->now);
    d->stamp = image->stamp;
    d->count = d->seen = d->durable = 0;
    d->sequence = 0;
    d->refused = d->failed = 0;
    d->opened = d->sticky = false;
}

void drill_reset(drill *d, const drill_image *image) {
    (void)unlink(d->path);
    if (image->bytes != NULL) {
        int fd = open(d->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        bool fine = fd >= 0 && ftruncate(fd, (off_t)image->size) == 0;
        for (size_t i = 0; fine && i < image->count; i++) {
            const run *r = &image->runs[i];
            fine = pwrite(fd, image->bytes + r->from, r->size, (off_t)r->from) == (ssize_t)r->size;
        }
        if (fd < 0 || close(fd) != 0 || !fine) {
            drill_wrong(d, "the file cannot be put back", FEOX_ERR_IO);
        }
    }
    forget(d, image);
}

void drill_recall(drill *d, const drill_image *image, const drill_change *changes,
                  const drill_progress *progress) {
    forget(d, image);
    d->count = (size_t)atomic_load(&progress->tried);
    d->durable = (size_t)atomic_load(&progress->durable);
    memcpy(d->changes, changes, d->count * sizeof *changes);
}
