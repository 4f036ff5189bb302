/* Durable writes that nobody waits for: one thread with many in flight, who sees what when, and
 * what is told when the device fails.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { IN_FLIGHT = 256, WRITES = KIT_SLOW ? 2000 : 20000, THREADS = 4 };

static feox_write in_flight(uint32_t more) {
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE | FEOX_NO_WAIT | more;
    return write;
}

static feox_status put_async(kit *k, const char *key, const char *value, uint64_t *sequence_out) {
    feox_write write = in_flight(0);
    feox_written written;
    feox_status status =
        feox_insert_with(k->store, key, strlen(key), value, strlen(value), &write, &written);
    *sequence_out = written.sequence;
    return status;
}

/* ---- Sequences ---- */

static void sequences_rise_and_become_durable(void **state) {
    kit *k = *state;
    uint64_t last = 0;
    uint64_t durable = 77;
    for (int i = 0; i < 300; i++) {
        feox_write write;
        feox_written written;
        feox_write_init(&write);
        write.flags = i % 3 == 0 ? FEOX_DURABLE : i % 3 == 1 ? FEOX_NO_WAIT : 0;
        write.flags |= i % 5 == 0 ? FEOX_DURABLE : 0;
        assert_ok(feox_insert_with(k->store, &i, sizeof i, "v", 1, &write, &written));
        assert_true(k->file ? written.sequence >= last && written.sequence > 0
                            : written.sequence == 0);
        last = written.sequence;
        if (i % 50 == 0) {
            assert_ok(feox_wait_durable(k->store, last, -1));
            assert_ok(feox_durable_sequence(k->store, &durable));
            assert_true(durable >= last);
        }
    }
    assert_ok(feox_flush(k->store));
    assert_ok(feox_durable_sequence(k->store, &durable));
    assert_true(durable >= last);
    kit_reopen(k);
    assert_ok(feox_wait_durable(k->store, last, 0)); /* sequences go on over a reopen */
    uint64_t next = 0;
    assert_ok(put_async(k, "next", "v", &next));
    assert_true(k->file ? next > last : next == 0);
}

static void sequences_that_nobody_has(void **state) {
    kit *k = *state;
    uint64_t durable = 0;
    assert_ok(feox_durable_sequence(k->store, &durable));
    assert_status(feox_wait_durable(k->store, durable + 1, 0), FEOX_ERR_ARGUMENT);
    assert_status(feox_wait_durable(k->store, durable + 1, -1), FEOX_ERR_ARGUMENT);
    assert_status(feox_wait_durable(k->store, UINT64_MAX, 1000), FEOX_ERR_ARGUMENT);
    assert_ok(feox_wait_durable(k->store, 0, -1));
    assert_ok(feox_wait_durable(k->store, durable, 0));
    assert_status(feox_wait_durable(NULL, 1, 0), FEOX_ERR_ARGUMENT);
    assert_status(feox_durable_sequence(k->store, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_durable_sequence(NULL, &durable), FEOX_ERR_ARGUMENT);
    assert_int_equal(durable, 0);
    assert_status(feox_durable_fd(k->store, NULL), FEOX_ERR_ARGUMENT);
    int fd = 5;
    assert_status(feox_durable_fd(NULL, &fd), FEOX_ERR_ARGUMENT);
    assert_int_equal(fd, -1);
}

/* Waiting makes the flush happen, however long the interval is. */
static void waiting_does_not_wait_for_the_interval(void **state) {
    kit *k = *state;
    k->options.flush_interval_ms = 3600000;
    kit_restart(k);
    static const int64_t timeouts[] = {-1, 60000, 0};
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        feox_written written;
        assert_ok(feox_insert_with(k->store, "key", 3, &i, sizeof i, NULL, &written));
        feox_status status = feox_wait_durable(k->store, written.sequence, timeouts[i]);
        while (timeouts[i] == 0 && status == FEOX_PENDING) {
            kit_sleep_ms(1);
            status = feox_wait_durable(k->store, written.sequence, 0);
        }
        assert_ok(status);
        uint64_t durable = 0;
        assert_ok(feox_durable_sequence(k->store, &durable));
        assert_true(durable >= written.sequence);
    }
}

/* ---- Many in flight ---- */

static bool readable(int fd, int timeout_ms) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int found = poll(&one, 1, timeout_ms);
    assert_true(found >= 0);
    return found == 1;
}

/* One thread, an event loop, and hundreds of writes in flight. */
static void an_event_loop(void **state) {
    kit *k = *state;
    static uint64_t sequences[IN_FLIGHT];
    uint64_t sent = 0;
    uint64_t done = 0;
    int fd = -1;
    feox_write write = in_flight(0);
    assert_ok(feox_durable_fd(k->store, &fd));
    while (done < WRITES) {
        while (sent < WRITES && sent - done < IN_FLIGHT) {
            feox_written written;
            assert_ok(feox_insert_with(k->store, &sent, 8, &sent, 8, &write, &written));
            sequences[sent++ % IN_FLIGHT] = written.sequence;
        }
        assert_true(!k->file || readable(fd, 60000));
        uint64_t durable = 0;
        assert_ok(feox_durable_sequence(k->store, &durable));
        for (; done < sent && sequences[done % IN_FLIGHT] <= durable; done++) {
            uint64_t value = UINT64_MAX;
            assert_ok(feox_get_into(k->store, &done, 8, &value, 8, NULL));
            assert_int_equal(value, done);
        }
    }
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    assert_true(!k->file || stats.groups_written < WRITES / 2);
    do {
        assert_int_equal(kit_count(k), WRITES);
    } while (kit_again(k));
}

/* The signal: there from the start, taken by feox_durable_sequence, back with the next group. */
static void the_descriptor(void **state) {
    kit *k = *state;
    int fd = -1;
    int same = -1;
    uint64_t durable = 0;
    uint64_t sequence = 0;
    assert_ok(feox_flush(k->store));
    assert_ok(feox_durable_fd(k->store, &fd));
    assert_ok(feox_durable_fd(k->store, &same));
    assert_int_equal(fd, same);
    assert_true(readable(fd, 0));
    assert_true(readable(fd, 0)); /* looking takes nothing */
    assert_ok(feox_durable_sequence(k->store, &durable));
    assert_false(readable(fd, 0)); /* nothing was written */
    assert_ok(put_async(k, "key", "v", &sequence));
    assert_true(readable(fd, k->file ? 60000 : 0) == k->file);
    assert_ok(feox_durable_sequence(k->store, &durable));
    assert_true(durable >= sequence);
    kit_expect(k, "key", "v");
}

/* ---- Writes of one key ---- */

static void a_counter_counts(void **state) {
    kit *k = *state;
    feox_write write = in_flight(0);
    feox_written written = {0};
    for (int64_t i = 1; i <= 1000; i++) {
        int64_t value = 0;
        assert_ok(feox_increment_with(k->store, "n", 1, 1, &write, &value, &written));
        assert_int_equal(value, i);
        assert_int_equal(written.created, i == 1);
    }
    assert_ok(feox_wait_durable(k->store, written.sequence, -1));
    do {
        int64_t value = 0;
        assert_ok(feox_get_into(k->store, "n", 1, &value, 8, NULL));
        assert_int_equal(value, 1000);
    } while (kit_again(k));
}

static void every_call(void **state) {
    kit *k = *state;
    feox_store *s = k->store;
    feox_write write = in_flight(0);
    feox_write absent = in_flight(FEOX_IF_ABSENT);
    feox_write version = in_flight(FEOX_IF_VERSION);
    feox_written first;
    feox_written written;
    int64_t left = 0;
    assert_ok(feox_insert_with(s, "a", 1, "1", 1, &absent, &first));
    assert_int_equal(first.created, 1);
    assert_status(feox_insert_with(s, "a", 1, "x", 1, &absent, &written), FEOX_EXISTS);
    assert_int_equal(written.sequence, 0);
    kit_expect(k, "a", "1"); /* the refusal waited for what it tells of */
    assert_ok(feox_compare_and_swap_with(s, "a", 1, "1", 1, "22", 2, &write, &written));
    assert_int_equal(written.created, 0);
    assert_true(written.version > first.version && written.sequence >= first.sequence);
    assert_ok(feox_compare_and_swap_with(s, "a", 1, "22", 2, "333", 3, &write, &written));
    version.version = written.version;
    assert_ok(feox_insert_with(s, "a", 1, "4444", 4, &version, &written));
    assert_status(feox_insert_with(s, "a", 1, "x", 1, &version, NULL), FEOX_MISMATCH);
    kit_expect(k, "a", "4444");
    assert_ok(feox_expire_with(s, "a", 1, 1000000, &write, NULL));
    assert_ok(feox_persist_with(s, "a", 1, &write, NULL));
    assert_ok(feox_expire_with(s, "a", 1, 2000000, &write, &written));
    assert_ok(feox_insert_with(s, "j", 1, "{\"n\":1}", 7, &write, NULL));
    assert_ok(feox_json_merge_with(s, "j", 1, "{\"m\":2}", 7, &write, NULL));
    assert_ok(
        feox_json_patch_with(s, "j", 1, "[{\"op\":\"remove\",\"path\":\"/n\"}]", 29, &write, NULL));
    assert_ok(feox_insert_with(s, "d", 1, "v", 1, &write, NULL));
    assert_ok(feox_delete_with(s, "d", 1, &write, NULL));
    assert_status(feox_delete_with(s, "d", 1, &write, NULL), FEOX_NOT_FOUND);
    assert_ok(feox_insert_with(s, "d", 1, "back", 4, &absent, &written));
    assert_int_equal(written.created, 1);
    feox_pair pairs[] = {{{"d", 1}, {"many", 4}}, {{"e", 1}, {"many", 4}}};
    assert_ok(feox_insert_many(s, pairs, 2, NULL)); /* waits for what is in flight */
    kit_expect(k, "d", "many");
    assert_ok(feox_delete_with(s, "e", 1, &write, &written));
    assert_ok(feox_wait_durable(s, written.sequence, -1));
    do {
        kit_expect(k, "a", "4444");
        kit_expect(k, "j", "{\"m\":2}");
        kit_expect(k, "d", "many");
        kit_expect_absent(k, "e");
        assert_ok(feox_ttl(k->store, "a", 1, &left));
        assert_true(left > 1000000);
        assert_int_equal(kit_count(k), 3);
        assert_int_equal(kit_scan_count(k), 3);
    } while (kit_again(k));
}

/* ---- Against a model ---- */

enum { KEYS = 12, VALUE_MAX = 40000 };

typedef struct expected {
    bool there;
    bool counter;
    size_t size;
    uint64_t fill; /* or the counter */
} expected;

static feox_status model_insert(kit *k, expected *e, uint32_t key, uint64_t *random,
                                const feox_write *how) {
    static unsigned char value[VALUE_MAX];
    feox_write write = *how;
    uint64_t size = kit_below(random, 10);
    size = size < 7 ? kit_below(random, 60) : size < 9 ? kit_below(random, 5000) : VALUE_MAX;
    uint64_t fill = kit_random(random);
    bool may = true;
    if (kit_below(random, 3) == 0) {
        write.flags |= FEOX_IF_ABSENT;
        may = !e->there;
    }
    kit_fill(value, size, fill);
    feox_status status = feox_insert_with(k->store, &key, sizeof key, value, size, &write, NULL);
    assert_status(status, may ? FEOX_OK : FEOX_EXISTS);
    if (may) {
        *e = (expected){.there = true, .size = size, .fill = fill};
    }
    return status;
}

/* One write; its outcome is that of the order in which they were made. */
static void model_write(kit *k, expected *e, uint32_t key, uint64_t *random, feox_write write) {
    uint64_t what = kit_below(random, 10);
    if (what < 3) {
        feox_status status = feox_delete_with(k->store, &key, sizeof key, &write, NULL);
        assert_status(status, e->there ? FEOX_OK : FEOX_NOT_FOUND);
        *e = (expected){0};
    } else if (what < 6 && (!e->there || e->counter)) {
        int64_t value = 0;
        assert_ok(feox_increment_with(k->store, &key, sizeof key, 3, &write, &value, NULL));
        e->fill = e->there ? e->fill + 3 : 3;
        e->there = e->counter = true;
        assert_int_equal(value, e->fill);
    } else {
        (void)model_insert(k, e, key, random, &write);
    }
}

static void expect_model(kit *k, const expected *model) {
    static unsigned char value[VALUE_MAX];
    for (uint32_t key = 0; key < KEYS; key++) {
        const expected *e = &model[key];
        size_t size = 0;
        feox_status status = feox_get_into(k->store, &key, sizeof key, value, sizeof value, &size);
        assert_status(status, e->there ? FEOX_OK : FEOX_NOT_FOUND);
        if (e->there && e->counter) {
            assert_true(size == 8 && memcmp(value, &e->fill, 8) == 0);
        } else if (e->there) {
            assert_true(size == e->size && kit_filled(value, size, e->fill));
        }
    }
}

static void in_order_whoever_waits(void **state) {
    kit *k = *state;
    expected model[KEYS] = {{0}};
    uint64_t random = kit_seed("in_order_whoever_waits");
    for (int i = 0; i < (KIT_SLOW ? 4000 : 15000); i++) {
        uint32_t key = (uint32_t)kit_below(&random, KEYS);
        feox_write write = in_flight(0);
        if (kit_below(&random, 20) == 0) {
            write.flags = kit_below(&random, 2) == 0 ? FEOX_DURABLE : 0;
        }
        model_write(k, &model[key], key, &random, write);
        uint64_t rare = kit_below(&random, 1000);
        if (rare < 3) {
            assert_ok(feox_flush(k->store));
            expect_model(k, model);
        } else if (rare == 3) {
            assert_ok(kit_check(k->store));
        } else if (rare == 4) {
            kit_reopen(k);
            expect_model(k, model);
        }
    }
    assert_ok(feox_flush(k->store));
    expect_model(k, model);
}

/* ---- Threads ---- */

typedef struct crowd {
    feox_store *store;
    atomic_int wrong;
    atomic_llong added;
} crowd;

static void *write_and_wait(void *argument) {
    crowd *c = argument;
    uint64_t random = kit_mix((uint64_t)(uintptr_t)&random);
    feox_write write = in_flight(0);
    for (int i = 0; i < (KIT_SLOW ? 60 : 300); i++) {
        feox_written written;
        int64_t value = 0;
        int64_t seen = 0;
        for (int j = 0; j < 5; j++) {
            if (feox_increment_with(c->store, "n", 1, 1, &write, &value, &written) != FEOX_OK) {
                atomic_fetch_add(&c->wrong, 1);
            }
            atomic_fetch_add(&c->added, 1);
        }
        int64_t timeout = (int64_t)kit_below(&random, 4) - 1;
        feox_status status;
        while ((status = feox_wait_durable(c->store, written.sequence, timeout)) == FEOX_PENDING) {
            continue;
        }
        if (status != FEOX_OK || feox_get_into(c->store, "n", 1, &seen, 8, NULL) != FEOX_OK ||
            seen < value) {
            atomic_fetch_add(&c->wrong, 1);
        }
    }
    return NULL;
}

static void several_threads_wait(void **state) {
    kit *k = *state;
    crowd c = {.store = k->store};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_wait, &c), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.wrong), 0);
    do {
        int64_t value = 0;
        assert_ok(feox_get_into(k->store, "n", 1, &value, 8, NULL));
        assert_int_equal(value, atomic_load(&c.added));
    } while (kit_again(k));
}

/* ---- The end ---- */

static void close_with_writes_in_flight(void **state) {
    kit *k = *state;
    uint64_t sequence = 0;
    unsigned char *large = kit_alloc(100000);
    feox_write write = in_flight(0);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 500; i++) {
            kit_fill(large, 100000, (uint64_t)i);
            assert_ok(feox_insert_with(k->store, &i, sizeof i, large, i % 50 == 0 ? 100000 : 10,
                                       &write, NULL));
        }
        assert_ok(put_async(k, "last", "v", &sequence));
        kit_reopen(k);
    }
    assert_ok(feox_wait_durable(k->store, sequence, -1));
    assert_int_equal(kit_count(k), 501);
    for (int i = 0; i < 500; i++) {
        kit_fill(large, 100000, (uint64_t)i);
        kit_expect_bytes(k, &i, sizeof i, large, i % 50 == 0 ? 100000 : 10);
    }
    free(large);
}

/* No file of this process may be longer: so the store's device fails from now on. */
static void limit_files(rlim_t limit, struct rlimit *before) {
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
    now = *before;
    now.rlim_cur = limit;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
}

static void a_failing_device_is_told(void **state) {
    kit *k = *state;
    struct rlimit before;
    int fd = -1;
    uint64_t durable = 0;
    uint64_t kept = 0;
    uint64_t lost = 0;
    uint64_t statuses = 0;
    k->dirty_close = true;
    assert_ok(put_async(k, "kept", "v", &kept));
    assert_ok(feox_wait_durable(k->store, kept, -1));
    assert_ok(feox_durable_fd(k->store, &fd));
    assert_ok(feox_durable_sequence(k->store, &durable));
    limit_files(4096, &before);
    feox_status put = put_async(k, "lost", "v", &lost);
    bool signalled = readable(fd, 60000);
    feox_status asked = feox_durable_sequence(k->store, &durable);
    feox_status waited = feox_wait_durable(k->store, lost, -1);
    feox_status timed = feox_wait_durable(k->store, lost, 60000);
    feox_status polled = feox_wait_durable(k->store, lost, 0);
    feox_status later = put_async(k, "later", "v", &statuses);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_ok(put);
    assert_true(signalled);
    assert_status(asked, FEOX_ERR_IO);
    assert_true(durable >= kept && durable < lost);
    assert_status(waited, FEOX_ERR_IO);
    assert_status(timed, FEOX_ERR_IO);
    assert_status(polled, FEOX_ERR_IO);
    assert_status(later, FEOX_ERR_READ_ONLY);
    kit_expect(k, "kept", "v");
    kit_expect_absent(k, "lost");
    assert_ok(feox_wait_durable(k->store, kept, 0)); /* what was durable stays so */
    assert_status(feox_close(k->store), FEOX_ERR_IO);
    kit_open(k);
    kit_expect(k, "kept", "v");
}

static void many_on_a_failing_device(void **state) {
    kit *k = *state;
    struct rlimit before;
    enum { MANY = 600 };
    static uint32_t keys[MANY];
    static feox_pair pairs[MANY];
    static feox_status statuses[MANY];
    k->dirty_close = true;
    k->options.durability = FEOX_DURABILITY_DURABLE;
    kit_restart(k);
    assert_ok(kit_put(k, "kept", "v"));
    for (uint32_t i = 0; i < MANY; i++) {
        keys[i] = i % 500; /* some twice */
        pairs[i] = (feox_pair){{&keys[i], 4}, {"v", 1}};
        statuses[i] = FEOX_OK;
    }
    limit_files(4096, &before);
    feox_status all = feox_insert_many(k->store, pairs, MANY, statuses);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_status(all, FEOX_ERR_IO);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_true(statuses[i] == FEOX_ERR_IO || statuses[i] == FEOX_ERR_READ_ONLY);
        assert_status(feox_contains(k->store, &keys[i], 4), FEOX_NOT_FOUND);
    }
    assert_int_equal(kit_count(k), 1);
    assert_status(feox_close(k->store), FEOX_ERR_IO);
    kit_open(k);
    kit_expect(k, "kept", "v");
}

/* After some small groups the statistics know the device's cheaper way. */
static void the_cheaper_way_is_found(void **state) {
    kit *k = *state;
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.sync_method, FEOX_SYNC_UNKNOWN);
    for (int i = 0; i < 40; i++) {
        assert_ok(kit_put(k, "key", "value"));
        assert_ok(feox_flush(k->store));
    }
    assert_ok(feox_stats(k->store, &stats));
    assert_true(!k->file || stats.sync_method == FEOX_SYNC_FLUSH ||
                stats.sync_method == FEOX_SYNC_WRITE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(sequences_rise_and_become_durable),
        KIT_TEST(sequences_that_nobody_has),
        KIT_FILE(waiting_does_not_wait_for_the_interval),
        KIT_TEST(an_event_loop),
        KIT_TEST(the_descriptor),
        KIT_TEST(a_counter_counts),
        KIT_TEST(every_call),
        KIT_TEST(in_order_whoever_waits),
        KIT_TEST(several_threads_wait),
        KIT_FILE(close_with_writes_in_flight),
        KIT_FILE(a_failing_device_is_told),
        KIT_FILE(many_on_a_failing_device),
        KIT_TEST(the_cheaper_way_is_found),
    };
    return cmocka_run_group_tests_name("api/async", tests, NULL, NULL);
}
