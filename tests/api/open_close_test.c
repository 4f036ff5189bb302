/* Opening, closing and flushing: what is new, what is ours, what is busy, what is left alone. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static feox_status open_as(const char *path, int create, int read_only, feox_store **store_out) {
    feox_options options;
    kit_options_init(&options);
    options.create = create;
    options.read_only = read_only;
    return feox_open(path, &options, store_out);
}

/* Opens a file that is not a store, in both ways, and wants it refused and untouched. */
static feox_status refused(const char *path, const void *bytes, size_t size) {
    fx_file_write(path, bytes, size);
    struct stat before;
    struct stat after;
    assert_int_equal(stat(path, &before), 0);
    feox_store *store = (feox_store *)&before;
    feox_status status = feox_open(path, NULL, &store);
    assert_null(store);
    assert_true(status < 0);
    assert_true(strlen(feox_last_error()) > 0);
    assert_true(fx_file_equals(path, bytes, size));
    assert_failure(open_as(path, FEOX_DEFAULT, FEOX_YES, &store));
    assert_true(fx_file_equals(path, bytes, size));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_size, after.st_size);
    fx_file_remove(path);
    return status;
}

static void empty_store(void **state) {
    kit *k = *state;
    do {
        assert_int_equal(kit_count(k), 0);
        kit_expect_absent(k, "key");
        assert_status(kit_delete(k, "key"), FEOX_NOT_FOUND);
        assert_int_equal(kit_scan_count(k), 0);
        assert_ok(feox_flush(k->store));
        assert_ok(feox_clear(k->store));
        assert_ok(kit_check(k->store));
    } while (kit_again(k));
}

static void close_keeps_everything_without_a_flush(void **state) {
    kit *k = *state;
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "key%d", i);
        assert_ok(kit_put(k, name, name));
    }
    do {
        assert_int_equal(kit_count(k), 1000);
        kit_expect(k, "key0", "key0");
        kit_expect(k, "key999", "key999");
    } while (kit_again(k));
}

static void close_is_prompt(void **state) {
    kit *k = *state;
    for (int i = 0; i < 5; i++) {
        assert_ok(kit_put(k, "key", "value"));
        uint64_t start = kit_now_ms();
        kit_close(k);
        assert_true(kit_now_ms() - start < 1000);
        kit_open(k);
    }
}

static void close_of_null_is_legal(void **state) {
    (void)state;
    assert_ok(feox_close(NULL));
    feox_free(NULL);
    feox_view_release(NULL);
    feox_cursor_close(NULL);
    feox_pairs_free(NULL);
}

static void two_memory_stores_share_nothing(void **state) {
    (void)state;
    feox_store *one = NULL;
    feox_store *two = NULL;
    assert_ok(feox_open(NULL, NULL, &one));
    assert_ok(feox_open(NULL, NULL, &two));
    assert_ptr_not_equal(one, two);
    assert_ok(feox_insert(one, "k", 1, "v", 1));
    assert_status(feox_contains(two, "k", 1), FEOX_NOT_FOUND);
    assert_ok(feox_close(one));
    assert_status(feox_contains(two, "k", 1), FEOX_NOT_FOUND);
    assert_ok(feox_close(two));
}

static void many_opens_and_closes(void **state) {
    kit *k = *state;
    for (uint64_t i = 0; i < 20; i++) {
        assert_ok(feox_insert(k->store, &i, sizeof i, &i, sizeof i));
        assert_int_equal(kit_count(k), k->file ? i + 1 : 1);
        kit_close(k);
        kit_open(k);
    }
    for (uint64_t i = 0; i < 20 && k->file; i++) {
        kit_expect_bytes(k, &i, sizeof i, &i, sizeof i);
    }
}

static void create_no_wants_a_file(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("missing");
    feox_store *store = NULL;
    assert_status(open_as(path, FEOX_NO, FEOX_DEFAULT, &store), FEOX_NOT_FOUND);
    assert_null(store);
    assert_false(fx_file_exists(path));
    assert_true(open_as(path, FEOX_DEFAULT, FEOX_YES, &store) != FEOX_OK);
    assert_null(store);
    assert_false(fx_file_exists(path));
    assert_ok(open_as(path, FEOX_YES, FEOX_DEFAULT, &store));
    assert_ok(feox_close(store));
    assert_ok(open_as(path, FEOX_NO, FEOX_DEFAULT, &store));
    assert_ok(feox_close(store));
}

static void an_impossible_path_is_a_failure(void **state) {
    (void)state;
    feox_store *store = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/no/such/directory/file", fx_temp_dir());
    feox_status status = feox_open(path, NULL, &store);
    assert_true(status != FEOX_OK);
    assert_null(store);
    assert_failure(feox_open(fx_temp_dir(), NULL, &store));
    assert_null(store);
    assert_true(strlen(feox_last_error()) > 0);
    snprintf(path, sizeof path, "%s/", fx_temp_fresh("slash"));
    assert_true(feox_open(path, NULL, &store) != FEOX_OK);
    assert_null(store);
}

static void a_read_only_directory_is_a_failure(void **state) {
    (void)state;
    if (geteuid() == 0) {
        printf("skipped: root may write into a read-only directory\n");
        skip();
    }
    const char *directory = fx_temp_fresh("locked");
    char path[512];
    assert_int_equal(mkdir(directory, 0500), 0);
    snprintf(path, sizeof path, "%s/store", directory);
    feox_store *store = NULL;
    assert_failure(feox_open(path, NULL, &store));
    assert_null(store);
    assert_int_equal(rmdir(directory), 0);
}

static void an_empty_file_counts_as_new(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("empty");
    fx_file_write(path, "", 0);
    feox_store *store = NULL;
    assert_ok(feox_open(path, NULL, &store));
    assert_ok(feox_insert(store, "k", 1, "v", 1));
    assert_ok(feox_close(store));
    assert_ok(open_as(path, FEOX_NO, FEOX_DEFAULT, &store));
    assert_ok(feox_contains(store, "k", 1));
    assert_ok(feox_close(store));
}

static void foreign_files_stay_byte_identical(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("foreign");
    assert_status(refused(path, "hello\n", 6), FEOX_ERR_NOT_FEOX);
    assert_status(refused(path, "\n", 1), FEOX_ERR_NOT_FEOX);
    unsigned char *bytes = kit_alloc(300000);
    memset(bytes, 0, 300000);
    memcpy(bytes, "SQLite format 3", 16);
    assert_status(refused(path, bytes, 12288), FEOX_ERR_NOT_FEOX);
    memset(bytes, 0, 300000);
    memcpy(bytes, "FEOX_SIG", 8); /* the file of another program with a similar name */
    bytes[8] = 3;
    assert_failure(refused(path, bytes, 65536));
    uint64_t seed = kit_seed("foreign_files_stay_byte_identical");
    static const size_t sizes[] = {1, 7, 511, 512, 4095, 4096, 4097, 8192, 65536, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        kit_fill(bytes, sizes[i], seed + i);
        assert_status(refused(path, bytes, sizes[i]), FEOX_ERR_NOT_FEOX);
    }
    free(bytes);
}

/* invalid_metadata_is_rejected_without_overwriting_the_file, for metadata of nothing but zeros. */
static void zeros_are_not_an_empty_file(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("zeros");
    static const size_t sizes[] = {1, 512, 4096, 8192, 16384, 1048576};
    void *bytes = calloc(1, 1048576);
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_failure(refused(path, bytes, sizes[i]));
    }
    free(bytes);
}

static void one_handle_per_file(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("busy");
    feox_store *one = NULL;
    feox_store *two = NULL;
    assert_ok(feox_open(path, NULL, &one));
    assert_ok(feox_insert(one, "k", 1, "v", 1));
    assert_status(feox_open(path, NULL, &two), FEOX_ERR_BUSY);
    assert_null(two);
    /* The lock survives that somebody else in this process opens and closes the file. */
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    assert_status(feox_open(path, NULL, &two), FEOX_ERR_BUSY);
    assert_ok(feox_contains(one, "k", 1));
    /* A second name for the file is the same file. */
    const char *other = fx_temp_fresh("busy-link");
    assert_int_equal(link(path, other), 0);
    assert_status(feox_open(other, NULL, &two), FEOX_ERR_BUSY);
    assert_ok(feox_close(one));
    assert_ok(feox_open(other, NULL, &two));
    assert_ok(feox_contains(two, "k", 1));
    assert_ok(feox_close(two));
}

static void another_process_is_busy(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("busy");
    int ready[2];
    int go[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        feox_store *store = NULL;
        char byte = feox_open(path, NULL, &store) == FEOX_OK ? 'o' : 'x';
        if (store != NULL) {
            feox_insert(store, "k", 1, "v", 1);
        }
        bool fine = write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1;
        _exit(fine && store != NULL && feox_close(store) == FEOX_OK ? 0 : 1);
    }
    char byte = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'o');
    feox_store *store = NULL;
    assert_status(feox_open(path, NULL, &store), FEOX_ERR_BUSY);
    assert_int_equal(write(go[1], "g", 1), 1);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_ok(feox_open(path, NULL, &store));
    assert_ok(feox_contains(store, "k", 1));
    assert_ok(feox_close(store));
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    close(go[1]);
}

static void read_only_writes_nothing(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("read-only");
    feox_store *store = NULL;
    assert_ok(feox_open(path, NULL, &store));
    assert_ok(feox_insert(store, "k", 1, "v", 1));
    int64_t counter = 0;
    assert_ok(feox_increment(store, "n", 1, 5, &counter));
    assert_ok(feox_insert(store, "j", 1, "{}", 2));
    assert_ok(feox_close(store));
    size_t size = 0;
    void *before = fx_file_slurp(path, &size);
    assert_ok(open_as(path, FEOX_DEFAULT, FEOX_YES, &store));
    assert_ok(feox_contains(store, "k", 1));
    assert_status(feox_insert(store, "a", 1, "b", 1), FEOX_ERR_READ_ONLY);
    assert_status(feox_delete(store, "k", 1), FEOX_ERR_READ_ONLY);
    assert_status(feox_clear(store), FEOX_ERR_READ_ONLY);
    assert_status(feox_increment(store, "n", 1, 1, &counter), FEOX_ERR_READ_ONLY);
    assert_status(feox_compare_and_swap(store, "k", 1, "v", 1, "w", 1), FEOX_ERR_READ_ONLY);
    assert_status(feox_json_patch(store, "j", 1, "[]", 2), FEOX_ERR_READ_ONLY);
    assert_status(feox_json_merge(store, "j", 1, "{\"a\":1}", 7), FEOX_ERR_READ_ONLY);
    assert_status(feox_expire(store, "k", 1, 1000), FEOX_ERR_READ_ONLY);
    assert_status(feox_persist(store, "k", 1), FEOX_ERR_READ_ONLY);
    feox_pair pair = {{"a", 1}, {"b", 1}};
    feox_status each = FEOX_OK;
    assert_status(feox_insert_many(store, &pair, 1, &each), FEOX_ERR_READ_ONLY);
    assert_status(each, FEOX_ERR_READ_ONLY);
    assert_ok(feox_flush(store));
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
    assert_true(fx_file_equals(path, before, size));
    free(before);
}

static void flush_then_copy_holds_everything(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("flushed");
    const char *copy = fx_temp_fresh("flushed-copy");
    feox_store *store = NULL;
    assert_ok(feox_open(path, NULL, &store));
    for (uint32_t i = 0; i < 500; i++) {
        assert_ok(feox_insert(store, &i, sizeof i, &i, sizeof i));
    }
    assert_ok(feox_flush(store));
    /* What a crash here would leave behind. Nothing is written meanwhile, so the copy is whole. */
    fx_file_copy(path, copy);
    assert_ok(feox_close(store));
    assert_ok(feox_open(copy, NULL, &store));
    uint64_t count = 0;
    assert_ok(feox_count(store, &count));
    assert_int_equal(count, 500);
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
}

/* The signals that a thread of ours lets through, but for those that nobody can block and SIGSYS,
 * which a filter sends and sanitizers need. */
static uint64_t signals_taken(const char *thread) {
    char path[300];
    char line[200];
    unsigned long long blocked = UINT64_MAX; /* gone meanwhile */
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "SigBlk: %llx", &blocked);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    uint64_t others = 0x7fffffffu;
    others &= ~(1u << (SIGKILL - 1) | 1u << (SIGSTOP - 1) | 1u << (SIGSYS - 1));
    return others & ~blocked;
}

/* valgrind lets the five of a wrong instruction through to a thread that it is just running. */
static uint64_t signals_taken_at_rest(const char *task) {
    uint64_t taken = signals_taken(task);
    for (int tries = 0; tries < 200 && taken != 0; tries++) {
        kit_sleep_ms(5);
        taken = signals_taken(task);
    }
    return taken;
}

/* A signal is for the host: none of the library's threads can be given one. */
static void signals_are_not_for_our_threads(void **state) {
    (void)state;
    static const int backends[] = {FEOX_IO_AUTO, FEOX_IO_THREADS};
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL) {
        print_message("skipped: there is no /proc/self/task here\n");
        skip();
    }
    for (unsigned i = 0; i < 2; i++) {
        const char *path = fx_temp_fresh("signals");
        unsigned threads = 0;
        feox_options options;
        feox_store *store = NULL;
        kit_options_init(&options);
        options.io_backend = backends[i];
        assert_ok(feox_open(path, &options, &store));
        void *value = calloc(1, 3 << 20); /* in several writes at a time, for which there is help */
        assert_ok(feox_insert(store, "key", 3, value, 3 << 20));
        assert_ok(feox_flush(store));
        free(value);
        rewinddir(tasks);
        for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
            if (task->d_name[0] != '.' && atoi(task->d_name) != gettid()) {
                threads++;
                assert_int_equal(signals_taken_at_rest(task->d_name), 0);
            }
        }
        assert_true(threads >= (backends[i] == FEOX_IO_THREADS ? 3 : 1));
        assert_ok(feox_close(store));
        fx_file_remove(path);
    }
    (void)closedir(tasks);
}

static void version_and_texts(void **state) {
    (void)state;
    char wanted[32];
    snprintf(wanted, sizeof wanted, "%d.%d.%d", FEOX_VERSION_MAJOR, FEOX_VERSION_MINOR,
             FEOX_VERSION_PATCH);
    assert_string_equal(feox_version(), wanted);
    assert_non_null(strstr(feox_build_info(), wanted));
#define SAME_TEXT(name, number, text)                                                              \
    assert_int_equal(name, number);                                                                \
    assert_string_equal(feox_status_name(name), #name);                                            \
    assert_string_equal(feox_status_text(name), text);
    FEOX_STATUS_LIST(SAME_TEXT)
    assert_string_equal(feox_status_name((feox_status)1000), "FEOX_UNKNOWN");
    assert_string_equal(feox_status_name((feox_status)-1000), "FEOX_UNKNOWN");
    assert_string_equal(feox_status_name(FEOX_STATUS_MIN_), "FEOX_UNKNOWN");
    assert_string_equal(feox_status_text(FEOX_STATUS_MIN_), "an unknown status");
    assert_non_null(feox_status_text((feox_status)1000));
    assert_non_null(feox_last_error());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(empty_store),
        KIT_TEST(close_keeps_everything_without_a_flush),
        KIT_TEST(close_is_prompt),
        KIT_TEST(many_opens_and_closes),
        cmocka_unit_test(close_of_null_is_legal),
        cmocka_unit_test(two_memory_stores_share_nothing),
        cmocka_unit_test(create_no_wants_a_file),
        cmocka_unit_test(an_impossible_path_is_a_failure),
        cmocka_unit_test(a_read_only_directory_is_a_failure),
        cmocka_unit_test(an_empty_file_counts_as_new),
        cmocka_unit_test(foreign_files_stay_byte_identical),
        cmocka_unit_test(zeros_are_not_an_empty_file),
        cmocka_unit_test(one_handle_per_file),
        cmocka_unit_test(another_process_is_busy),
        cmocka_unit_test(read_only_writes_nothing),
        cmocka_unit_test(flush_then_copy_holds_everything),
        cmocka_unit_test(signals_are_not_for_our_threads),
        cmocka_unit_test(version_and_texts),
    };
    return cmocka_run_group_tests_name("api/open_close", tests, NULL, NULL);
}
