/* Every call that writes, durable: while its group is not on stable storage nobody sees it, and
 * when it has returned the file has it. The test holds the volume, so no group can be written. */
#define _GNU_SOURCE
#include "support/tap.h"

#include "support/kit.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "base/atomic.h"
#include "engine/volume.h"
#include "store/store.h"

#define DOCUMENT "{\"a\":1}"

typedef struct call {
    const char *name;
    feox_status (*run)(feox_store *store, const feox_write *write);
    const char *before; /* NULL: absent */
    const char *after;
    bool ttl; /* what changes is the time to live */
} call;

static feox_status run_insert(feox_store *store, const feox_write *write) {
    return feox_insert_with(store, "key", 3, "fresh", 5, write, NULL);
}

static feox_status run_delete(feox_store *store, const feox_write *write) {
    return feox_delete_with(store, "key", 3, write, NULL);
}

static feox_status run_swap(feox_store *store, const feox_write *write) {
    return feox_compare_and_swap_with(store, "key", 3, "old", 3, "new", 3, write, NULL);
}

static feox_status run_increment(feox_store *store, const feox_write *write) {
    int64_t value = 0;
    feox_status status = feox_increment_with(store, "key", 3, 'x', write, &value, NULL);
    assert_true(status != FEOX_OK || value == 'x');
    return status;
}

static feox_status run_patch(feox_store *store, const feox_write *write) {
    const char *patch = "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]";
    return feox_json_patch_with(store, "key", 3, patch, strlen(patch), write, NULL);
}

static feox_status run_merge(feox_store *store, const feox_write *write) {
    return feox_json_merge_with(store, "key", 3, "{\"a\":2}", 7, write, NULL);
}

static feox_status run_expire(feox_store *store, const feox_write *write) {
    return feox_expire_with(store, "key", 3, 1000000, write, NULL);
}

static feox_status run_many(feox_store *store, const feox_write *write) {
    const feox_pair pairs[] = {{{"key", 3}, {"fresh", 5}}, {{"other", 5}, {"y", 1}}};
    return write != NULL ? run_insert(store, write) : feox_insert_many(store, pairs, 2, NULL);
}

static feox_status run_clear(feox_store *store, const feox_write *write) {
    return write != NULL ? run_delete(store, write) : feox_clear(store);
}

static const call calls[] = {
    {"insert", run_insert, NULL, "fresh", false},
    {"insert over", run_insert, "old", "fresh", false},
    {"delete", run_delete, "old", NULL, false},
    {"compare and swap", run_swap, "old", "new", false},
    {"increment", run_increment, NULL, "x\0\0\0\0\0\0\0", false},
    {"patch", run_patch, DOCUMENT, "{\"a\":2}", false},
    {"merge", run_merge, DOCUMENT, "{\"a\":2}", false},
    {"expire", run_expire, "old", "old", true},
    {"insert many", run_many, NULL, "fresh", false},
    {"clear", run_clear, "old", NULL, false},
};

static void expect_state(feox_store *store, const call *c, bool after) {
    const char *wanted = after ? c->after : c->before;
    void *value = NULL;
    size_t size = 0;
    feox_key_info info;
    feox_status status = feox_get(store, "key", 3, &value, &size);
    if (wanted == NULL) {
        assert_status(status, FEOX_NOT_FOUND);
        assert_status(feox_contains(store, "key", 3), FEOX_NOT_FOUND);
        return;
    }
    assert_ok(status);
    assert_int_equal(size, wanted[0] == 'x' ? 8 : strlen(wanted));
    assert_memory_equal(value, wanted, size);
    feox_free(value);
    assert_ok(feox_info(store, "key", 3, &info));
    assert_true((info.ttl_ms != -1) == (c->ttl && after));
}

typedef struct writer {
    feox_store *store;
    const call *call;
    bool by_flag;
    feox_status status;
    uint32_t done;
} writer;

static void *write_durably(void *argument) {
    writer *w = argument;
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE;
    w->status = w->call->run(w->store, w->by_flag ? &write : NULL);
    fx_store_release(&w->done, 1u);
    return NULL;
}

/* Something of the store's waits to be flushed. */
static bool is_waiting(feox_store *store) {
    bool waiting = false;
    for (uint32_t i = 0; i < store->engine.shard_count; i++) {
        fx_shard *shard = &store->engine.shards[i];
        fx_spinlock_lock(&shard->lock);
        waiting = waiting || fx_wbuf_waiting(&shard->wbuf) > 0;
        fx_spinlock_unlock(&shard->lock);
    }
    return waiting;
}

static void expect_hidden_then_written(const call *c, bool by_flag) {
    feox_options options;
    feox_store *store = NULL;
    const char *path = fx_temp_fresh("durable");
    print_message("%s, %s\n", c->name, by_flag ? "this write" : "the whole store");
    kit_options_init(&options);
    options.flush_interval_ms = 3600000;
    options.sweep_interval_ms = 3600000;
    options.durability = by_flag ? FEOX_DURABILITY_RELAXED : FEOX_DURABILITY_DURABLE;
    assert_ok(feox_open(path, &options, &store));
    assert_ok(feox_insert(store, "first", 5, "x", 1)); /* from now on there is room */
    assert_ok(feox_flush(store));
    if (c->before != NULL) {
        assert_ok(feox_insert(store, "key", 3, c->before, strlen(c->before)));
        assert_ok(feox_flush(store));
    }
    writer w = {.store = store, .call = c, .by_flag = by_flag};
    fx_flusher *flusher = store->engine.flusher;
    pthread_t thread;
    fx_flusher_enter(flusher);
    assert_int_equal(pthread_create(&thread, NULL, write_durably, &w), 0);
    while (!is_waiting(store) && fx_load_acquire(&w.done) == 0) {
        (void)sched_yield();
    }
    for (unsigned i = 0; i < 100; i++) { /* what comes behind the commit has time to go wrong */
        expect_state(store, c, false);
        (void)sched_yield();
    }
    assert_int_equal(fx_load_acquire(&w.done), 0);
    fx_flusher_leave(flusher);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_ok(w.status);
    expect_state(store, c, true);
    const char *left = fx_temp_fresh("durable"); /* by a process that is killed now */
    feox_store *again = NULL;
    fx_file_copy(path, left);
    assert_ok(feox_open(left, NULL, &again));
    expect_state(again, c, true);
    assert_ok(feox_close(again));
    assert_ok(feox_close(store));
    fx_file_remove(left);
    fx_file_remove(path);
}

static void test_durable_store(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        expect_hidden_then_written(&calls[i], false);
    }
}

static void test_durable_write(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        expect_hidden_then_written(&calls[i], true);
    }
}

/* ---- A device that fails ---- */

static uint64_t fail_from;
static _Atomic uint64_t writes_seen;

/* From that one on every call that writes or flushes fails. */
static bool fail_late(const tap_event *e, long *result) {
    bool writes = e->call == TAP_WRITE || e->call == TAP_WRITE_SYNC || e->call == TAP_RING_WRITE ||
                  e->call == TAP_DATA_SYNC;
    if (!writes || atomic_fetch_add(&writes_seen, 1) + 1 < fail_from) {
        return false;
    }
    *result = -EIO;
    return true;
}

static feox_status get_letter(feox_store *store, char *letter) {
    size_t size = 0;
    *letter = 0;
    return feox_get_into(store, "key", 3, letter, 1, &size);
}

/* Of several pairs some may be durable when the device fails, here the first of a key that comes
 * twice: each is told what became of it. */
static void test_some_of_many(void **state) {
    (void)state;
    const feox_pair pairs[] = {{{"key", 3}, {"a", 1}}, {{"key", 3}, {"b", 1}}};
    unsigned halves = 0;
    feox_status statuses[2] = {FEOX_ERR_IO, FEOX_ERR_IO};
    for (uint64_t n = 1; statuses[1] != FEOX_OK; n++) {
        feox_options options;
        feox_store *store = NULL;
        char letter;
        const char *path = fx_temp_fresh("many");
        kit_options_init(&options);
        options.flush_interval_ms = options.sweep_interval_ms = 3600000;
        options.durability = FEOX_DURABILITY_DURABLE;
        assert_ok(feox_open(path, &options, &store));
        assert_ok(feox_insert(store, "first", 5, "x", 1)); /* from now on there is room */
        fail_from = n;
        atomic_store(&writes_seen, 0);
        tap_set(fail_late);
        feox_status first = feox_insert_many(store, pairs, 2, statuses);
        tap_set(NULL);
        assert_status(first, statuses[0] != FEOX_OK ? statuses[0] : statuses[1]);
        assert_true(statuses[1] == FEOX_OK || statuses[1] == FEOX_ERR_IO);
        feox_status got = get_letter(store, &letter);
        assert_status(got, statuses[0] == FEOX_OK ? FEOX_OK : FEOX_NOT_FOUND);
        assert_int_equal(letter, statuses[1] == FEOX_OK ? 'b' : statuses[0] == FEOX_OK ? 'a' : 0);
        halves += statuses[0] == FEOX_OK && statuses[1] != FEOX_OK;
        assert_status(feox_close(store), statuses[1]);
        fx_file_remove(path);
    }
    assert_true(halves > 0);
}

/* ---- The event ---- */

static feox_store *flushed_meanwhile;

/* Takes the place of the C library's function: what happens just before an event is cleared. */
int eventfd_read(int fd, eventfd_t *value) {
    feox_store *store = flushed_meanwhile;
    flushed_meanwhile = NULL;
    if (store != NULL) {
        assert_ok(feox_flush(store));
    }
    return read(fd, value, sizeof *value) == (ssize_t)sizeof *value ? 0 : -1;
}

/* Whoever asks while the sequence moves is told where it is now, or finds the descriptor readable
 * and asks again. */
static void test_no_event_is_lost(void **state) {
    (void)state;
    feox_options options;
    feox_store *store = NULL;
    struct pollfd event = {.events = POLLIN};
    feox_written written;
    uint64_t sequence = 0;
    const char *path = fx_temp_fresh("event");
    kit_options_init(&options);
    options.flush_interval_ms = options.sweep_interval_ms = 3600000;
    assert_ok(feox_open(path, &options, &store));
    assert_ok(feox_durable_fd(store, &event.fd));
    assert_ok(feox_insert_with(store, "key", 3, "x", 1, NULL, &written));
    assert_ok(feox_durable_sequence(store, &sequence));
    assert_true(sequence < written.sequence);
    assert_int_equal(poll(&event, 1, 0), 0);
    flushed_meanwhile = store;
    assert_ok(feox_durable_sequence(store, &sequence));
    assert_null(flushed_meanwhile);
    assert_true(sequence >= written.sequence || poll(&event, 1, 0) == 1);
    assert_ok(feox_close(store));
    fx_file_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durable_store),
        cmocka_unit_test(test_durable_write),
        cmocka_unit_test(test_some_of_many),
        cmocka_unit_test(test_no_event_is_lost),
    };
    return cmocka_run_group_tests_name("store/durable_calls", tests, NULL, NULL);
}
