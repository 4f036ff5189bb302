/* prefix: a sequence of operations whose state after any number of them is known, so that what a
 * crash left can be told to be a prefix of it.
 *
 * One writer: the order is total, and a key of its own counts the operations (each operation that
 * is not the count itself is followed by it, so a state holds n or n + 1 operations at count n).
 * Four writers: each has its own keys and counter, and writes beside its count what it has read of
 * the others' counts: a state that holds the reader's write must hold what it had read.
 * Acknowledged counts go into memory that the parent shares, so they survive the child.
 */
#define _GNU_SOURCE
#include "support/prefix.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "support/kit.h"

enum { KEYS = 60, WRITERS = PREFIX_WRITERS_MAX, VALUE_MAX = 20000 };

/* ---- The sequence --------------------------------------------------------------------------- */

typedef enum op_kind { OP_SET, OP_DELETE, OP_ADD, OP_CLEAR } op_kind;

typedef struct op {
    op_kind kind;
    uint32_t key;
    size_t size;
    uint64_t fill;
} op;

/* What one writer's keys hold. */
typedef struct model {
    uint64_t count;
    struct {
        bool present;
        bool counter;
        size_t size;
        uint64_t fill; /* of a value, or the counter itself */
    } keys[KEYS];
} model;

/* Operation number n of a writer: the seed and n decide it, so nobody has to remember it. */
static op nth_op(uint64_t seed, uint64_t n) {
    uint64_t random = kit_mix(seed ^ kit_mix(n));
    uint64_t what = kit_below(&random, 1000);
    op o = {.key = (uint32_t)kit_below(&random, KEYS), .fill = n};
    if (what < 200) {
        o.kind = OP_DELETE;
    } else if (what < 350) {
        o.kind = OP_ADD;
        o.key = o.key % 4;
    } else if (what < 352) {
        o.kind = OP_CLEAR;
    } else {
        o.kind = OP_SET;
        o.key = 4 + o.key % (KEYS - 4);
        o.size = what < 900   ? kit_below(&random, 200)
                 : what < 990 ? kit_below(&random, 5000)
                              : kit_below(&random, VALUE_MAX);
    }
    return o;
}

static void model_apply(model *m, op o) {
    m->count++;
    if (o.kind == OP_CLEAR) {
        for (uint32_t i = 0; i < KEYS; i++) {
            m->keys[i].present = false;
        }
    } else if (o.kind == OP_DELETE) {
        m->keys[o.key].present = false;
    } else if (o.kind == OP_ADD) {
        m->keys[o.key].fill = m->keys[o.key].present ? m->keys[o.key].fill + 1 : 1;
        m->keys[o.key].present = true;
        m->keys[o.key].counter = true;
    } else {
        m->keys[o.key].present = true;
        m->keys[o.key].counter = false;
        m->keys[o.key].size = o.size;
        m->keys[o.key].fill = o.fill;
    }
}

static size_t make_key(char key[32], uint64_t writer, uint32_t number) {
    return (size_t)snprintf(key, 32, "w%u-key%u", (unsigned)writer, (unsigned)number);
}

static size_t count_key(char key[32], uint64_t writer) {
    return (size_t)snprintf(key, 32, "w%u-count", (unsigned)writer);
}

/* A clear deletes each of the writer's keys, one after the other: a crash may come between. */
static feox_status store_apply(feox_store *store, uint64_t writer, op o, unsigned char *value) {
    char key[32];
    size_t key_len = make_key(key, writer, o.key);
    feox_status status = FEOX_OK;
    if (o.kind == OP_CLEAR) {
        for (uint32_t i = 0; i < KEYS && status >= 0; i++) {
            key_len = make_key(key, writer, i);
            status = feox_delete(store, key, key_len);
        }
    } else if (o.kind == OP_DELETE) {
        status = feox_delete(store, key, key_len);
    } else if (o.kind == OP_ADD) {
        status = feox_increment(store, key, key_len, 1, NULL);
    } else {
        kit_fill(value, o.size, o.fill);
        status = feox_insert(store, key, key_len, value, o.size);
    }
    return status < 0 ? status : FEOX_OK;
}

static bool key_matches(feox_store *store, uint64_t writer, uint32_t i, const model *m,
                        unsigned char *value) {
    char key[32];
    size_t size = 0;
    size_t key_len = make_key(key, writer, i);
    feox_status status = feox_get_into(store, key, key_len, value, VALUE_MAX, &size);
    if (status == FEOX_NOT_FOUND || !m->keys[i].present) {
        return status == FEOX_NOT_FOUND && !m->keys[i].present;
    }
    if (status != FEOX_OK) {
        return false;
    }
    if (m->keys[i].counter) {
        return size == 8 && memcmp(value, &m->keys[i].fill, 8) == 0; /* little-endian machines */
    }
    return size == m->keys[i].size && kit_filled(value, size, m->keys[i].fill);
}

static uint32_t keys_that_differ(feox_store *store, uint64_t writer, const model *m) {
    static unsigned char value[VALUE_MAX];
    uint32_t differ = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        differ += !key_matches(store, writer, i, m, value);
    }
    return differ;
}

/* ---- The child ------------------------------------------------------------------------------ */

/* The value of a count key. */
typedef struct progress {
    uint64_t count;
    uint64_t seen[WRITERS];
} progress;

struct prefix_run {
    uint64_t seed;
    uint64_t writers;
    model models[WRITERS];
    prefix_rhythm rhythm;
    _Atomic uint64_t acknowledged[WRITERS]; /* operations; the child's while it lives */
    uint64_t marked[WRITERS];               /* of them; what must be there */
    bool is_marked;
    uint64_t lost;
};

typedef struct writer {
    prefix_run *run;
    feox_store *store;
    uint64_t id;
    uint64_t seed;
    uint64_t count;
    feox_status status;
} writer;

static feox_status store_progress(feox_store *store, uint64_t id, uint64_t count,
                                  const feox_write *write) {
    char key[32];
    progress now = {.count = count};
    progress other;
    for (uint64_t i = 0; i < WRITERS; i++) {
        size_t size = 0;
        size_t key_len = count_key(key, i);
        feox_status status = feox_get_into(store, key, key_len, &other, sizeof other, &size);
        now.seen[i] = status == FEOX_OK ? other.count : 0;
    }
    size_t key_len = count_key(key, id);
    return feox_insert_with(store, key, key_len, &now, sizeof now, write, NULL);
}

/* One operation and its count. The parent uses it too, to finish what was half done. */
static feox_status step(writer *w, unsigned char *value, const feox_write *write) {
    feox_status status = store_apply(w->store, w->id, nth_op(w->seed, w->count), value);
    w->count++;
    return status == FEOX_OK ? store_progress(w->store, w->id, w->count, write) : status;
}

static void *write_on(void *argument) {
    writer *w = argument;
    const prefix_rhythm *rhythm = &w->run->rhythm;
    unsigned char *value = kit_alloc(VALUE_MAX);
    feox_write durable;
    feox_write_init(&durable);
    durable.flags = FEOX_DURABLE;
    while (w->status == FEOX_OK) {
        bool report = (w->count + 1) % rhythm->flush_every == 0;
        w->status = step(w, value, report && rhythm->durable ? &durable : NULL);
        if (w->status == FEOX_OK && report && !rhythm->durable) {
            w->status = feox_flush(w->store);
        }
        if (w->status == FEOX_OK && report) {
            atomic_store(&w->run->acknowledged[w->id], w->count);
        }
    }
    free(value);
    return NULL;
}

feox_status prefix_work(feox_store *store, void *context) {
    prefix_run *run = context;
    static writer writers[WRITERS];
    pthread_t threads[WRITERS];
    feox_status status = FEOX_OK;
    for (uint64_t i = 0; i < run->writers; i++) {
        writers[i] = (writer){run, store, i, run->seed + i, run->models[i].count, FEOX_OK};
        if (pthread_create(&threads[i], NULL, write_on, &writers[i]) != 0) {
            return FEOX_ERR_MEMORY;
        }
    }
    for (uint64_t i = 0; i < run->writers; i++) {
        (void)pthread_join(threads[i], NULL);
        status = status == FEOX_OK ? writers[i].status : status;
    }
    return status;
}

/* ---- The parent ----------------------------------------------------------------------------- */

prefix_run *prefix_new(uint64_t seed, uint64_t writers) {
    assert_true(writers >= 1 && writers <= WRITERS);
    prefix_run *run =
        mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(run != MAP_FAILED);
    run->seed = seed;
    run->writers = writers;
    return run;
}

void prefix_free(prefix_run *run) {
    assert_int_equal(munmap(run, sizeof *run), 0);
}

void prefix_set_rhythm(prefix_run *run, prefix_rhythm rhythm) {
    run->rhythm = rhythm;
}

void prefix_mark(prefix_run *run) {
    for (uint64_t i = 0; i < run->writers; i++) {
        run->marked[i] = atomic_load(&run->acknowledged[i]);
    }
    run->is_marked = true;
}

uint64_t prefix_lost(const prefix_run *run) {
    return run->lost;
}

uint64_t prefix_total(const prefix_run *run) {
    uint64_t total = 0;
    for (uint64_t i = 0; i < run->writers; i++) {
        total += run->models[i].count;
    }
    return total;
}

static progress recovered(feox_store *store, uint64_t id) {
    char key[32];
    progress found = {0};
    size_t size = 0;
    size_t key_len = count_key(key, id);
    feox_status status = feox_get_into(store, key, key_len, &found, sizeof found, &size);
    assert_true(status == FEOX_NOT_FOUND || (status == FEOX_OK && size == sizeof found));
    return found;
}

/* The writer's keys are the state after `count` operations, or that and a part of the next, which
 * is one key unless the next is a clear. */
static void expect_prefix(feox_store *store, prefix_run *run, uint64_t id) {
    model *m = &run->models[id];
    uint64_t acknowledged = atomic_load(&run->acknowledged[id]);
    uint64_t wanted = run->is_marked ? run->marked[id] : acknowledged;
    uint64_t count = recovered(store, id).count;
    if (count < wanted || count < m->count) {
        print_error("writer %u: %llu acknowledged in time, %llu there\n", (unsigned)id,
                    (unsigned long long)wanted, (unsigned long long)count);
        fail();
    }
    run->lost += count < acknowledged;
    while (m->count < count) {
        model_apply(m, nth_op(run->seed + id, m->count));
    }
    op next = nth_op(run->seed + id, count);
    uint32_t differ = keys_that_differ(store, id, m);
    if (differ > 0) {
        model half = *m;
        model_apply(&half, next);
        uint32_t differ_half = keys_that_differ(store, id, &half);
        /* In the middle of a clear the keys are gone up to one, and there behind it. */
        for (uint32_t i = 0; i < KEYS && next.kind == OP_CLEAR && differ_half > 0; i++) {
            half = *m;
            for (uint32_t gone = 0; gone <= i; gone++) {
                half.keys[gone].present = false;
            }
            differ_half = keys_that_differ(store, id, &half);
        }
        if (differ_half > 0) {
            print_error("writer %u: %u keys are not as after operation %llu, %u not as after the "
                        "next\n",
                        (unsigned)id, differ, (unsigned long long)count, differ_half);
            fail();
        }
    }
}

/* Brings the store from "n operations and a part of the next" to n + 1, and the model with it. */
static void finish_half(feox_store *store, prefix_run *run, uint64_t id) {
    model *m = &run->models[id];
    static unsigned char value[VALUE_MAX];
    op next = nth_op(run->seed + id, m->count);
    uint32_t differ = keys_that_differ(store, id, m);
    writer w = {.store = store, .id = id, .seed = run->seed + id, .count = m->count};
    if (differ > 0 && next.kind == OP_ADD) { /* it is done already, and may not be done twice */
        assert_ok(store_progress(store, id, m->count + 1, NULL));
    } else {
        assert_ok(step(&w, value, NULL));
    }
    model_apply(m, next);
    assert_int_equal(keys_that_differ(store, id, m), 0);
}

/* A prefix in commit order holds whatever any of its writers had read. */
static void expect_causes(feox_store *store, const prefix_run *run) {
    for (uint64_t reader = 0; reader < run->writers; reader++) {
        progress of_reader = recovered(store, reader);
        for (uint64_t id = 0; id < run->writers; id++) {
            uint64_t there = recovered(store, id).count;
            if (of_reader.seen[id] > there) {
                print_error("writer %u had read %llu of writer %u, and only %llu are there\n",
                            (unsigned)reader, (unsigned long long)of_reader.seen[id], (unsigned)id,
                            (unsigned long long)there);
                fail();
            }
        }
    }
}

/* Versions that came back are unique, and what is written next is above them. */
static void expect_sound_versions(feox_store *store, uint64_t count) {
    feox_cursor *cursor = NULL;
    feox_slice key;
    uint64_t seen = 0;
    uint64_t *versions = kit_alloc((count + 1) * sizeof *versions);
    assert_ok(feox_cursor_open(store, NULL, &cursor));
    while (feox_cursor_next(cursor, &key, NULL) == FEOX_OK) {
        feox_key_info info;
        assert_true(seen < count);
        assert_ok(feox_info(store, key.data, key.size, &info));
        versions[seen] = info.version;
        for (uint64_t i = 0; i < seen; i++) {
            assert_true(versions[i] != info.version);
        }
        seen++;
    }
    feox_cursor_close(cursor);
    assert_int_equal(seen, count);
    feox_written written;
    assert_ok(feox_insert_with(store, "probe", 5, "x", 1, NULL, &written));
    for (uint64_t i = 0; i < seen; i++) {
        assert_true(written.version > versions[i]);
    }
    assert_ok(feox_delete(store, "probe", 5));
    free(versions);
}

void prefix_verify(prefix_run *run, feox_store *store) {
    uint64_t count = 0;
    assert_ok(kit_check(store));
    assert_ok(feox_count(store, &count));
    expect_sound_versions(store, count);
    expect_causes(store, run);
    for (uint64_t i = 0; i < run->writers; i++) {
        expect_prefix(store, run, i);
    }
    run->is_marked = false;
    for (uint64_t i = 0; i < run->writers; i++) {
        finish_half(store, run, i);
        /* What was lost after the mark is no promise to the next victim's parent. */
        atomic_store(&run->acknowledged[i], run->models[i].count);
    }
}
