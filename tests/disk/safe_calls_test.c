/* Which calls of the system a store makes before it says that something is safe: what is written is
 * flushed, a new length is synced before anything lies there, a new name has its directory synced,
 * and one of the two roots is always safe.
 * A file system that forgets all the rest is hard to have; counting costs nothing and misses none.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCK = 4096 };

/* ---- A system that is watched --------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Guarded by lock. All but `refuse_dsync` is about the one file that is watched. */
static struct {
    char path[256];
    bool writes_open;      /* something was written that no flush has covered */
    bool length_open;      /* the length changed, and no fsync came since */
    bool name_open;        /* nothing synced the directory since the file was made */
    bool wrote_behind;     /* ... and something was written behind the length that is safe */
    bool named_too_early;  /* the directory was synced before what the file begins with */
    bool roots_open[2];    /* that copy of the root was written, and no flush has covered it */
    bool no_root;          /* ... and then the other one: a power cut may leave neither */
    bool refuse_dsync;
    uint64_t safe_length;
    unsigned lengths, dsyncs, flushes;
} seen;

static bool is_same(int fd, const char *path) {
    struct stat named;
    struct stat opened;
    return stat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
           named.st_dev == opened.st_dev;
}

static bool is_watched(int fd) {
    return seen.path[0] != 0 && is_same(fd, seen.path);
}

static void note_write(int fd, size_t size, off_t offset, bool safe) {
    pthread_mutex_lock(&lock);
    if (is_watched(fd)) {
        seen.writes_open = seen.writes_open || !safe;
        seen.dsyncs += safe;
        seen.wrote_behind = seen.wrote_behind || (uint64_t)offset + size > seen.safe_length;
        if (offset < 2 * BLOCK) {
            seen.roots_open[offset / BLOCK] = !safe;
            seen.no_root = seen.no_root || (seen.roots_open[0] && seen.roots_open[1]);
        }
    }
    pthread_mutex_unlock(&lock);
}

static void note_sync(int fd, bool length) {
    struct stat status;
    pthread_mutex_lock(&lock);
    if (is_watched(fd)) {
        seen.writes_open = seen.roots_open[0] = seen.roots_open[1] = false;
        seen.length_open = seen.length_open && !length;
        seen.flushes++;
        if (length && fstat(fd, &status) == 0) {
            seen.safe_length = (uint64_t)status.st_size;
        }
    } else if (length && is_same(fd, fx_temp_dir())) {
        seen.named_too_early = seen.writes_open || seen.length_open;
        seen.name_open = false;
    }
    pthread_mutex_unlock(&lock);
}

static void note_length(int fd) {
    pthread_mutex_lock(&lock);
    if (is_watched(fd)) {
        seen.length_open = true;
        seen.lengths++;
    }
    pthread_mutex_unlock(&lock);
}

/* These take the place of the C library's functions in the whole program. */
ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    note_write(fd, size, offset, false);
    return syscall(SYS_pwrite64, fd, buffer, size, offset);
}

ssize_t pwritev2(int fd, const struct iovec *vectors, int count, off_t offset, int flags) {
    if (seen.refuse_dsync && (flags & RWF_DSYNC) != 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    note_write(fd, vectors[0].iov_len, offset, (flags & RWF_DSYNC) != 0);
    return syscall(SYS_pwritev2, fd, vectors, count, offset, 0L, flags);
}

int fdatasync(int fd) {
    note_sync(fd, false);
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    note_sync(fd, true);
    return (int)syscall(SYS_fsync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    note_length(fd);
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int ftruncate(int fd, off_t size) {
    note_length(fd);
    return (int)syscall(SYS_ftruncate, fd, size);
}

/* ---- Stores --------------------------------------------------------------------------------- */

/* Makes a file and watches it. Transfers by plain calls, and no work in the background. */
static feox_store *open_watched(int32_t durability, bool refuse_dsync) {
    feox_options options;
    feox_store *store = NULL;
    feox_options_init(&options);
    options.io_backend = FEOX_IO_THREADS;
    options.durability = durability;
    options.flush_interval_ms = 3600000;
    options.sweep_interval_ms = 3600000;
    memset(&seen, 0, sizeof seen);
    snprintf(seen.path, sizeof seen.path, "%s", fx_temp_fresh("calls"));
    seen.name_open = true;
    seen.refuse_dsync = refuse_dsync;
    assert_ok(feox_open(seen.path, &options, &store));
    return store;
}

static void close_watched(feox_store *store) {
    assert_ok(feox_close(store));
    assert_false(seen.length_open);
    assert_false(seen.wrote_behind);
    assert_false(seen.no_root);
    fx_file_remove(seen.path);
    seen.path[0] = 0;
}

static void expect_safe(void) {
    assert_false(seen.writes_open);
    assert_false(seen.length_open);
    assert_false(seen.wrote_behind);
}

static void test_new_file(void **state) {
    (void)state;
    struct stat status;
    mode_t mask = umask(0);
    feox_store *store = open_watched(FEOX_DURABILITY_RELAXED, false);
    assert_true(seen.lengths > 0);
    expect_safe();
    assert_false(seen.name_open);
    assert_false(seen.named_too_early);
    assert_int_equal(stat(seen.path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600); /* its user's, and nobody else's */
    (void)umask(mask);
    close_watched(store);
}

/* Small groups and large ones, values with blocks of their own, and a file that grows. */
static void work(feox_store *store, bool flush) {
    const size_t sizes[] = {10, 3000, 20000, 100000, 1 << 20, 9 << 20, 10};
    uint8_t *value = kit_alloc(9 << 20);
    kit_fill(value, 9 << 20, 5);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char key[32];
            int key_len = snprintf(key, sizeof key, "%u %zu", round, i);
            assert_ok(feox_insert(store, key, (size_t)key_len, value, sizes[i]));
            if (flush) {
                assert_ok(feox_flush(store));
            }
            expect_safe();
            if (round == 1) {
                assert_ok(feox_delete(store, key, (size_t)key_len));
                if (flush) {
                    assert_ok(feox_flush(store));
                }
                expect_safe();
            }
        }
    }
    free(value);
}

static void test_durable(void **state) {
    (void)state;
    feox_store *store = open_watched(FEOX_DURABILITY_DURABLE, false);
    unsigned lengths = seen.lengths;
    work(store, false);
    assert_true(seen.lengths > lengths);
    close_watched(store);
}

static void test_durable_without_dsync(void **state) {
    (void)state;
    feox_store *store = open_watched(FEOX_DURABILITY_DURABLE, true);
    work(store, false);
    assert_int_equal(seen.dsyncs, 0);
    close_watched(store);
}

static void test_flush(void **state) {
    (void)state;
    feox_store *store = open_watched(FEOX_DURABILITY_RELAXED, false);
    work(store, true);
    close_watched(store);
}

/* A file that is cut is cut for good before the call returns. */
static void test_compact(void **state) {
    (void)state;
    feox_store *store = open_watched(FEOX_DURABILITY_DURABLE, false);
    work(store, false);
    assert_ok(feox_clear(store));
    uint64_t before = fx_file_size(seen.path);
    unsigned lengths = seen.lengths;
    assert_ok(feox_compact(store));
    assert_true(fx_file_size(seen.path) < before);
    assert_true(seen.lengths > lengths);
    assert_false(seen.length_open);
    close_watched(store);
}

/* What the host starts inherits nothing of ours. */
static void test_descriptors(void **state) {
    (void)state;
    const int32_t backends[] = {FEOX_IO_AUTO, FEOX_IO_THREADS};
    for (unsigned i = 0; i < 2; i++) {
        bool before[256];
        feox_options options;
        feox_store *store = NULL;
        const char *path = fx_temp_fresh("descriptors");
        unsigned ours = 0;
        int event = -1;
        for (int fd = 0; fd < 256; fd++) {
            before[fd] = fcntl(fd, F_GETFD) >= 0;
        }
        feox_options_init(&options);
        options.io_backend = backends[i];
        options.durability = FEOX_DURABILITY_DURABLE;
        assert_ok(feox_open(path, &options, &store));
        assert_ok(feox_durable_fd(store, &event));
        assert_ok(feox_insert(store, "k", 1, "v", 1));
        for (int fd = 0; fd < 256; fd++) {
            int flags = fcntl(fd, F_GETFD);
            if (flags >= 0 && !before[fd]) {
                ours++;
                assert_int_equal(flags & FD_CLOEXEC, FD_CLOEXEC);
            }
        }
        assert_true(ours >= 2);
        assert_ok(feox_close(store));
        for (int fd = 0; fd < 256; fd++) { /* nor is one left */
            assert_true((fcntl(fd, F_GETFD) >= 0) == before[fd]);
        }
        fx_file_remove(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_file),
        cmocka_unit_test(test_durable),
        cmocka_unit_test(test_durable_without_dsync),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests_name("safe calls", tests, NULL, NULL);
}
