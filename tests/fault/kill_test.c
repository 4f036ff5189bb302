/* SIGKILL at any moment: the file opens by itself and holds a prefix of what was done.
 *
 * A child writes a sequence that the round's seed decides and reports, after every flush or durable
 * write, how much of it is acknowledged. The parent kills it, opens the file, finds how far the
 * sequence got and wants the store to be exactly the state after that many operations, not fewer
 * than were acknowledged; then the next child goes on, on the same file, from that state.
 * FEOX_KILLS is the number of rounds (default 15), FEOX_SEED the seed.
 *
 * One writer: the order is total, and a key of its own counts the operations (each operation that
 * is not the count itself is followed by it, so a state holds n or n + 1 operations at count n).
 * Four writers: each has its own keys and counter, and writes beside its count what it has read of
 * the others' counts: a state that holds the reader's write must hold what it had read.
 * A writer that does not wait: hundreds of durable writes in flight; what feox_durable_sequence has
 * reached, and what another thread has read, is there.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 60, WRITERS = 4, VALUE_MAX = 20000, ASYNC_KEYS = 500, ASYNC_IN_FLIGHT = 300 };

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

typedef struct note {
    uint64_t writer;
    uint64_t acknowledged;
} note;

typedef struct writer {
    feox_store *store;
    uint64_t id;
    uint64_t seed;
    uint64_t count;
    uint64_t flush_every;
    bool durable;
    int pipe;
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

static int write_note(int pipe, const note *n) {
    return write(pipe, n, sizeof *n) == (ssize_t)sizeof *n ? 0 : -1;
}

static void *write_forever(void *argument) {
    writer *w = argument;
    unsigned char *value = kit_alloc(VALUE_MAX);
    feox_write durable;
    feox_write_init(&durable);
    durable.flags = FEOX_DURABLE;
    for (;;) {
        bool report = (w->count + 1) % w->flush_every == 0;
        feox_status status = step(w, value, report && w->durable ? &durable : NULL);
        if (status == FEOX_OK && report && !w->durable) {
            status = feox_flush(w->store);
        }
        if (status != FEOX_OK) {
            fprintf(stderr, "writer: %s: %s\n", feox_status_name(status), feox_last_error());
            _exit(3);
        }
        note n = {w->id, w->count};
        if (report && write_note(w->pipe, &n) != 0) {
            _exit(4);
        }
    }
    return NULL;
}

/* Write n of the writer that does not wait: n to one of its keys, then 1 more to its counter. */
static feox_status async_write(feox_store *store, uint64_t n, const feox_write *write,
                               uint64_t *sequence_out) {
    uint64_t key = n % ASYNC_KEYS;
    int64_t count = 0;
    feox_written written = {0};
    feox_status status = feox_insert_with(store, &key, sizeof key, &n, sizeof n, write, NULL);
    if (status == FEOX_OK) {
        status = feox_increment_with(store, "count", 5, 1, write, &count, &written);
    }
    *sequence_out = written.sequence;
    return status != FEOX_OK || (uint64_t)count == n + 1 ? status : FEOX_MISMATCH;
}

static void async_forever(writer *w) {
    static uint64_t sequences[ASYNC_IN_FLIGHT];
    uint64_t done = w->count;
    int fd = -1;
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE | FEOX_NO_WAIT;
    feox_status status = feox_durable_fd(w->store, &fd);
    while (status == FEOX_OK) {
        uint64_t durable = 0;
        struct pollfd one = {.fd = fd, .events = POLLIN};
        for (; status == FEOX_OK && w->count - done < ASYNC_IN_FLIGHT; w->count++) {
            status =
                async_write(w->store, w->count, &write, &sequences[w->count % ASYNC_IN_FLIGHT]);
        }
        if (status == FEOX_OK && poll(&one, 1, 10000) == 1) {
            status = feox_durable_sequence(w->store, &durable);
        }
        while (done < w->count && sequences[done % ASYNC_IN_FLIGHT] <= durable) {
            done++;
        }
        note n = {0, done};
        if (write_note(w->pipe, &n) != 0) {
            _exit(4);
        }
    }
    fprintf(stderr, "writer: %s: %s\n", feox_status_name(status), feox_last_error());
    _exit(3);
}

static void *read_forever(void *argument) {
    const writer *w = argument;
    for (;;) {
        note n = {.writer = 1};
        feox_status status = feox_get_into(w->store, "count", 5, &n.acknowledged, 8, NULL);
        if (status == FEOX_OK && write_note(w->pipe, &n) != 0) {
            _exit(4);
        }
        kit_sleep_ms(1);
    }
    return NULL;
}

typedef struct job {
    const char *path;
    uint64_t seed;
    uint64_t writers;
    uint64_t counts[WRITERS]; /* where the sequences stand */
    feox_options options;
    uint64_t flush_every;
    bool durable;
    bool async; /* one writer that does not wait, and a reader */
} job;

static void child(const job *j, int pipe_end) {
    static writer writers[WRITERS];
    pthread_t thread;
    feox_store *store = NULL;
    alarm(60);
    feox_status status = feox_open(j->path, &j->options, &store);
    if (status != FEOX_OK) {
        fprintf(stderr, "child: %s: %s\n", feox_status_name(status), feox_last_error());
        _exit(2);
    }
    for (uint64_t i = 0; i < j->writers; i++) {
        writers[i] =
            (writer){store, i, j->seed + i, j->counts[i], j->flush_every, j->durable, pipe_end};
    }
    if (j->async && pthread_create(&thread, NULL, read_forever, &writers[0]) == 0) {
        async_forever(&writers[0]);
    }
    for (uint64_t i = 1; i < j->writers; i++) {
        if (pthread_create(&thread, NULL, write_forever, &writers[i]) != 0) {
            _exit(5);
        }
    }
    write_forever(&writers[0]);
}

/* ---- The parent ----------------------------------------------------------------------------- */

/* Reads notes until the time is over, kills, reads the rest. */
static void run_and_kill(const job *j, uint64_t after_ms, uint64_t acknowledged[WRITERS]) {
    int ends[2];
    note n;
    int status = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        child(j, ends[1]);
        _exit(1);
    }
    close(ends[1]);
    /* The child's pipe holds thousands of notes, more than it can write in that time. */
    kit_sleep_ms((unsigned)after_ms);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (uint64_t i = 0; i < WRITERS; i++) {
        acknowledged[i] = j->counts[i];
    }
    while (read(ends[0], &n, sizeof n) == (ssize_t)sizeof n) {
        acknowledged[n.writer] = n.acknowledged;
    }
    close(ends[0]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        print_error("the child ended by itself: status %d\n", status);
        fail();
    }
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
static void expect_prefix(feox_store *store, const job *j, uint64_t id, uint64_t acknowledged,
                          model *m) {
    uint64_t count = recovered(store, id).count;
    if (count < acknowledged || count < m->count) {
        print_error("writer %u: %llu acknowledged, %llu there\n", (unsigned)id,
                    (unsigned long long)acknowledged, (unsigned long long)count);
        fail();
    }
    while (m->count < count) {
        model_apply(m, nth_op(j->seed + id, m->count));
    }
    op next = nth_op(j->seed + id, count);
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
static void finish_half(feox_store *store, job *j, uint64_t id, model *m) {
    static unsigned char value[VALUE_MAX];
    op next = nth_op(j->seed + id, m->count);
    uint32_t differ = keys_that_differ(store, id, m);
    writer w = {.store = store, .id = id, .seed = j->seed + id, .count = m->count};
    if (differ > 0 && next.kind == OP_ADD) { /* it is done already, and may not be done twice */
        assert_ok(store_progress(store, id, m->count + 1, NULL));
    } else {
        assert_ok(step(&w, value, NULL));
    }
    model_apply(m, next);
    assert_int_equal(keys_that_differ(store, id, m), 0);
    j->counts[id] = m->count;
}

/* A prefix in commit order holds whatever any of its writers had read. */
static void expect_causes(feox_store *store, const job *j) {
    for (uint64_t reader = 0; reader < j->writers; reader++) {
        progress of_reader = recovered(store, reader);
        for (uint64_t id = 0; id < j->writers; id++) {
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

/* The kernel ends what a killed process had under way in io_uring after the process is gone, and
 * keeps the file busy until then: nobody may read a file that is still being written. */
static feox_store *open_after_kill(const char *path, const feox_options *options) {
    feox_store *store = NULL;
    feox_status status = FEOX_ERR_BUSY;
    uint64_t deadline = kit_now_ms() + 10000;
    while ((status = feox_open(path, options, &store)) == FEOX_ERR_BUSY &&
           kit_now_ms() < deadline) {
        kit_sleep_ms(1);
    }
    assert_ok(status);
    return store;
}

static void verify(job *j, const uint64_t acknowledged[WRITERS], model models[WRITERS]) {
    uint64_t count = 0;
    feox_store *store = open_after_kill(j->path, &j->options);
    assert_ok(kit_check(store));
    assert_ok(feox_count(store, &count));
    expect_sound_versions(store, count);
    expect_causes(store, j);
    for (uint64_t i = 0; i < j->writers; i++) {
        expect_prefix(store, j, i, acknowledged[i], &models[i]);
    }
    for (uint64_t i = 0; i < j->writers; i++) {
        finish_half(store, j, i, &models[i]);
    }
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
}

static void kill_rounds(uint64_t writers, uint64_t rounds, const char *name) {
    uint64_t random = kit_seed(name);
    static model models[WRITERS];
    job j = {.path = fx_temp_fresh("killed"), .seed = random, .writers = writers};
    uint64_t acknowledged[WRITERS];
    memset(models, 0, sizeof models);
    for (uint64_t round = 0; round < rounds; round++) {
        kit_options_init(&j.options);
        j.options.flush_interval_ms = round % 3 == 0 ? 1 : 0;
        j.options.memory_limit = round % 4 == 3 ? 8 << 20 : 0;
        j.durable = round % 2 == 1;
        j.flush_every = 1 + kit_below(&random, round % 5 == 0 ? 3 : 500);
        /* Some die while opening, most while writing. */
        uint64_t after_ms = kit_below(&random, round % 5 == 4 ? 5 : KIT_SLOW ? 200 : 60);
        run_and_kill(&j, after_ms, acknowledged);
        verify(&j, acknowledged, models);
    }
    uint64_t total = 0;
    for (uint64_t i = 0; i < writers; i++) {
        total += models[i].count;
    }
    printf("%llu kills, %llu operations\n", (unsigned long long)rounds, (unsigned long long)total);
    fx_file_remove(j.path);
}

static void one_writer_leaves_a_prefix(void **state) {
    (void)state;
    kill_rounds(1, kit_env_number("FEOX_KILLS", 15), "one_writer_leaves_a_prefix");
}

static void four_writers_leave_a_prefix_each(void **state) {
    (void)state;
    kill_rounds(WRITERS, kit_env_number("FEOX_KILLS", 15), "four_writers_leave_a_prefix_each");
}

/* The store after `count` writes of async_write, and perhaps the first half of the next. */
static void expect_async(feox_store *store, uint64_t count) {
    for (uint64_t key = 0; key < ASYNC_KEYS; key++) {
        uint64_t last = count / ASYNC_KEYS * ASYNC_KEYS + key;
        bool half = last == count;
        bool written = last < count || count >= ASYNC_KEYS;
        last = last < count || !written ? last : last - ASYNC_KEYS;
        uint64_t value = UINT64_MAX;
        feox_status status = feox_get_into(store, &key, sizeof key, &value, 8, NULL);
        bool as_written = written ? status == FEOX_OK && value == last : status == FEOX_NOT_FOUND;
        assert_true(as_written || (half && status == FEOX_OK && value == count));
    }
}

static void a_writer_that_does_not_wait(void **state) {
    (void)state;
    uint64_t random = kit_seed("a_writer_that_does_not_wait");
    job j = {.path = fx_temp_fresh("async"), .writers = 1, .flush_every = 1, .async = true};
    uint64_t acknowledged[WRITERS];
    uint64_t rounds = kit_env_number("FEOX_KILLS", 15);
    for (uint64_t round = 0; round < rounds; round++) {
        kit_options_init(&j.options);
        j.options.durability = round % 2 == 0 ? FEOX_DURABILITY_RELAXED : FEOX_DURABILITY_DURABLE;
        j.options.flush_interval_ms = 3600000;
        run_and_kill(&j, kit_below(&random, KIT_SLOW ? 200 : 60), acknowledged);
        feox_store *store = open_after_kill(j.path, &j.options);
        uint64_t count = 0;
        feox_status status = feox_get_into(store, "count", 5, &count, 8, NULL);
        assert_true(status == FEOX_OK || status == FEOX_NOT_FOUND);
        assert_true(count >= acknowledged[0]); /* said to be durable */
        assert_true(count >= acknowledged[1]); /* seen */
        expect_async(store, count);
        assert_ok(kit_check(store));
        assert_ok(feox_close(store));
        j.counts[0] = count;
        j.counts[1] = 0;
    }
    printf("%llu kills, %llu writes\n", (unsigned long long)rounds,
           (unsigned long long)j.counts[0]);
    fx_file_remove(j.path);
}

/* Killed before and while the file is made: nothing, or an empty store; never a refusal. */
static void killed_while_creating(void **state) {
    (void)state;
    uint64_t random = kit_seed("killed_while_creating");
    for (uint64_t round = 0; round < kit_env_number("FEOX_KILLS", 15); round++) {
        const char *path = fx_temp_fresh("created");
        fflush(stdout);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            feox_store *store = NULL;
            feox_open(path, NULL, &store);
            pause();
            _exit(0);
        }
        struct timespec time = {0, (long)kit_below(&random, 3000000)};
        nanosleep(&time, NULL);
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        feox_store *store = open_after_kill(path, NULL);
        uint64_t count = 1;
        assert_ok(feox_count(store, &count));
        assert_int_equal(count, 0);
        assert_ok(kit_check(store));
        assert_ok(feox_close(store));
        fx_file_remove(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_writer_leaves_a_prefix),
        cmocka_unit_test(four_writers_leave_a_prefix_each),
        cmocka_unit_test(a_writer_that_does_not_wait),
        cmocka_unit_test(killed_while_creating),
    };
    return cmocka_run_group_tests_name("fault/kill", tests, NULL, NULL);
}
