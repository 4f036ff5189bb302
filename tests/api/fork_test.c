/* After fork() the child has nothing but refusals, and the parent's store notices nothing. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <sys/wait.h>
#include <unistd.h>

/* The exit status of the child is the number of the first call that did not refuse. */
#define REFUSES(call)                                                                              \
    do {                                                                                           \
        number++;                                                                                  \
        if ((call) != FEOX_ERR_FORKED) {                                                           \
            _exit(number);                                                                         \
        }                                                                                          \
    } while (0)

static void child(feox_store *store, feox_cursor *cursor) {
    int number = 0;
    void *value = NULL;
    size_t size = 0;
    uint64_t count = 0;
    int64_t signed_value = 0;
    feox_view view;
    feox_key_info info;
    feox_pairs *pairs = NULL;
    feox_cursor *other = NULL;
    feox_slice key;
    feox_statistics stats;
    feox_pair pair = {{"x", 1}, {"y", 1}};
    feox_lookup lookup = {"k", 1, NULL, 0, 0, FEOX_OK};
    feox_statistics_init(&stats);
    REFUSES(feox_insert(store, "x", 1, "y", 1));
    REFUSES(feox_insert_with(store, "x", 1, "y", 1, NULL, NULL));
    REFUSES(feox_insert_many(store, &pair, 1, NULL));
    REFUSES(feox_delete(store, "k", 1));
    REFUSES(feox_delete_with(store, "k", 1, NULL, NULL));
    REFUSES(feox_clear(store));
    REFUSES(feox_get(store, "k", 1, &value, &size));
    REFUSES(feox_get_into(store, "k", 1, NULL, 0, &size));
    REFUSES(feox_get_view(store, "k", 1, &view));
    REFUSES(feox_get_many(store, &lookup, 1));
    REFUSES(feox_info(store, "k", 1, &info));
    REFUSES(feox_contains(store, "k", 1));
    REFUSES(feox_count(store, &count));
    REFUSES(feox_range_query(store, NULL, 0, NULL, 0, 0, &pairs));
    REFUSES(feox_cursor_open(store, NULL, &other));
    REFUSES(feox_cursor_next(cursor, &key, NULL));
    REFUSES(feox_cursor_seek(cursor, "k", 1));
    REFUSES(feox_compare_and_swap(store, "k", 1, "v", 1, "w", 1));
    REFUSES(feox_increment(store, "n", 1, 1, &signed_value));
    REFUSES(feox_json_patch(store, "k", 1, "[]", 2));
    REFUSES(feox_json_merge(store, "k", 1, "{}", 2));
    REFUSES(feox_ttl(store, "k", 1, &signed_value));
    REFUSES(feox_expire(store, "k", 1, 1));
    REFUSES(feox_persist(store, "k", 1));
    REFUSES(feox_stats(store, &stats));
    REFUSES(feox_check(store, NULL, NULL, NULL));
    REFUSES(feox_flush(store));
    int fd = -1;
    REFUSES(feox_durable_sequence(store, &count));
    REFUSES(feox_wait_durable(store, 1, -1));
    REFUSES(feox_durable_fd(store, &fd));
    REFUSES(feox_close(store));
#if KIT_TSAN || defined(__SANITIZE_ADDRESS__)
    /* The sanitizers' allocators take no locks over a fork: where another thread held one, the
     * child waits for ever. So it does not give memory back here, nor takes any. */
    (void)cursor;
#else
    feox_cursor_close(cursor); /* legal, and harmless */
    /* A store of its own is the child's good right. */
    feox_store *own = NULL;
    number = 100;
    if (feox_open(NULL, NULL, &own) != FEOX_OK || feox_insert(own, "a", 1, "b", 1) != FEOX_OK ||
        feox_close(own) != FEOX_OK) {
        _exit(number);
    }
#endif
    _exit(0);
}

static void expect_child_done(pid_t pid) {
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 0) {
        print_error("call %d in the child did not give FEOX_ERR_FORKED\n", WEXITSTATUS(status));
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void child_gets_forked_from_every_call(void **state) {
    kit *k = *state;
    feox_cursor *cursor = NULL;
    for (int round = 0; round < 5; round++) {
        assert_ok(kit_put(k, "k", "v"));
        assert_ok(feox_cursor_open(k->store, NULL, &cursor));
        fflush(stdout);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(20);
            child(k->store, cursor);
        }
        for (uint32_t i = 0; i < 200; i++) { /* while the child lives */
            assert_ok(feox_insert(k->store, &i, sizeof i, &round, sizeof round));
        }
        expect_child_done(pid);
        feox_cursor_close(cursor);
        assert_ok(feox_flush(k->store));
    }
    do {
        kit_expect(k, "k", "v");
        kit_expect_absent(k, "x");
        kit_expect_absent(k, "n");
        assert_int_equal(kit_count(k), 201);
        assert_ok(kit_check(k->store));
    } while (kit_again(k));
}

/* A child that exits without a word must not flush, unlock or cut the parent's file. */
static void child_that_exits_leaves_the_lock(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "k", "v"));
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(0);
    }
    expect_child_done(pid);
    feox_store *second = NULL;
    assert_status(feox_open(k->path, NULL, &second), FEOX_ERR_BUSY);
    kit_reopen(k);
    kit_expect(k, "k", "v");
}

/* When the parent closes, the file is free, though a child still lives. */
static void a_living_child_does_not_keep_the_file_busy(void **state) {
    kit *k = *state;
    int go[2];
    char byte;
    assert_int_equal(pipe(go), 0);
    assert_ok(kit_put(k, "k", "v"));
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        _exit(read(go[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(go[0]);
    feox_status closed = feox_close(k->store);
    k->store = NULL;
    feox_status opened = feox_open(k->path, &k->options, &k->store);
    close(go[1]);
    expect_child_done(pid);
    assert_ok(closed);
    assert_ok(opened);
    kit_expect(k, "k", "v");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(child_gets_forked_from_every_call),
        KIT_FILE(child_that_exits_leaves_the_lock),
        KIT_FILE(a_living_child_does_not_keep_the_file_busy),
    };
    return cmocka_run_group_tests_name("api/fork", tests, NULL, NULL);
}
