/* dev: opening, locking, reading, growing; against a system that refuses things and processes that
 * interfere. The queues have a test of their own.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "disk/dev_file.h"
#include "support/child.h"
#include "support/devs.h"
#include "support/temp.h"

#define BLOCK ((size_t)FX_BLOCK_SIZE)

static int backend_uring = FEOX_IO_URING;
static int backend_threads = FEOX_IO_THREADS;
static int backend_auto = FEOX_IO_AUTO;

static void (*before_flock)(void); /* called once */

/* Takes the place of the C library's function in the whole program. */
int flock(int fd, int operation) {
    void (*call)(void) = before_flock;
    before_flock = NULL;
    if (call != NULL) {
        call();
    }
    return (int)syscall(SYS_flock, fd, operation);
}

static int fallocate_calls = -1; /* so many work, then there is no space; below 0: all */

int fallocate(int fd, int mode, off_t offset, off_t size) {
    if (fallocate_calls == 0) {
        errno = ENOSPC;
        return -1;
    }
    fallocate_calls -= fallocate_calls > 0;
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

/* ---- Opening and locking -------------------------------------------------------------------- */

static void child_busy(const char *path, int backend) {
    fx_dev *dev = NULL;
    FX_CHILD_CHECK(fx_devs_open(path, backend, false, false, &dev) == FEOX_ERR_BUSY);
    FX_CHILD_CHECK(fx_devs_open(path, backend, false, true, &dev) == FEOX_ERR_BUSY);
}

static void test_open_and_lock(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("lock");
    fx_dev *dev = fx_devs_new(path, backend);
    assert_string_equal(dev->vtable->name, backend == FEOX_IO_THREADS ? "threads" : "uring");
    assert_int_equal(fx_dev_size(dev), 0);

    fx_dev *second = dev;
    assert_int_equal(fx_devs_open(path, backend, true, false, &second), FEOX_ERR_BUSY);
    assert_null(second);
    assert_non_null(strstr(fx_error_text(), path));
    assert_int_equal(fx_devs_open(path, backend, false, true, &second), FEOX_ERR_BUSY);
    assert_true(fx_file_exists(path));

    /* Whatever this process does with other descriptors of the file does not lose the lock. */
    for (int i = 0; i < 3; i++) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(close(fd), 0);
    }
    assert_true(fx_child_run(child_busy, path, backend));
    /* Nor does the end of that child, which had inherited it. */
    assert_int_equal(fx_devs_open(path, backend, false, false, &second), FEOX_ERR_BUSY);
    fx_dev_close(dev);
    assert_int_equal(fx_devs_open(path, backend, false, true, &dev), FEOX_OK);
    assert_int_equal(fx_devs_open(path, backend, false, true, &second), FEOX_ERR_BUSY);
    fx_dev_close(dev);
}

static fx_dev *inherited;

static void child_closes(const char *path, int backend) {
    (void)path;
    (void)backend;
    fx_dev_close(inherited);
}

static void test_child_keeps_nothing(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("fork");
    fx_dev *dev = fx_devs_new(path, backend);
    fx_dev *second = NULL;
    inherited = dev;
    assert_true(fx_child_run(child_closes, path, backend));
    assert_int_equal(fx_devs_open(path, backend, false, false, &second), FEOX_ERR_BUSY);

    int wait_here[2];
    assert_int_equal(pipe(wait_here), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        (void)close(wait_here[1]);
        (void)alarm(60);
        _exit(read(wait_here[0], &byte, 1) == 0 ? 0 : 1);
    }
    (void)close(wait_here[0]);
    fx_dev_close(dev);
    assert_int_equal(fx_devs_open(path, backend, false, false, &second), FEOX_OK);
    fx_dev_close(second);
    (void)close(wait_here[1]);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_refusals(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = NULL;
    assert_int_equal(fx_devs_open("", backend, true, false, &dev), FEOX_ERR_ARGUMENT);
    assert_int_equal(fx_devs_open(NULL, backend, true, false, &dev), FEOX_ERR_ARGUMENT);
    assert_int_equal(fx_devs_open("x", 17, true, false, &dev), FEOX_ERR_ARGUMENT);

    const char *path = fx_temp_fresh("missing");
    assert_int_equal(fx_devs_open(path, backend, false, false, &dev), FEOX_NOT_FOUND);
    assert_int_equal(fx_devs_open(path, backend, true, true, &dev), FEOX_NOT_FOUND);
    assert_false(fx_file_exists(path));
    path = fx_temp_path("no-directory/file");
    assert_int_equal(fx_devs_open(path, backend, true, false, &dev), FEOX_ERR_IO);
    assert_non_null(strstr(fx_error_text(), path));
    assert_int_equal(fx_devs_open(path, backend, false, false, &dev), FEOX_NOT_FOUND);

    assert_int_equal(fx_devs_open(fx_temp_dir(), backend, true, false, &dev), FEOX_ERR_NOT_FEOX);
    assert_int_equal(fx_devs_open(fx_temp_dir(), backend, true, true, &dev), FEOX_ERR_NOT_FEOX);
    assert_int_equal(fx_devs_open("/dev/null", backend, true, false, &dev), FEOX_ERR_NOT_FEOX);
    path = fx_temp_fresh("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(fx_devs_open(path, backend, true, false, &dev), FEOX_ERR_NOT_FEOX);
    assert_int_equal(fx_devs_open(path, backend, false, true, &dev), FEOX_ERR_NOT_FEOX);

    path = fx_temp_fresh("dangling");
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(fx_devs_open(path, backend, true, false, &dev), FEOX_ERR_IO);
    assert_int_equal(fx_devs_open(path, backend, false, false, &dev), FEOX_NOT_FOUND);
    assert_false(fx_file_exists(fx_temp_path("nowhere")));
    path = fx_temp_fresh("loop");
    assert_int_equal(symlink(path, path), 0);
    assert_int_equal(fx_devs_open(path, backend, true, false, &dev), FEOX_ERR_IO);
    path = fx_temp_path("plain");
    fx_file_write(path, "x", 1);
    path = fx_temp_path("plain/below");
    assert_int_equal(fx_devs_open(path, backend, true, false, &dev), FEOX_ERR_IO);
    assert_null(dev);
}

/* Root is not stopped by permissions, so the child becomes nobody. */
static void child_reaches(const char *path, int backend) {
    (void)backend;
    if (geteuid() == 0) {
        FX_CHILD_CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    }
    FX_CHILD_CHECK(chdir(path) == 0);
}

static void child_other_user(const char *path, int backend) {
    fx_dev *dev = NULL;
    child_reaches(path, backend);
    FX_CHILD_CHECK(fx_devs_open("new", backend, true, false, &dev) == FEOX_ERR_READ_ONLY);
    FX_CHILD_CHECK(fx_devs_open("old", backend, true, false, &dev) == FEOX_ERR_READ_ONLY);
    FX_CHILD_CHECK(strstr(fx_error_text(), "old") != NULL);
    feox_status status = fx_devs_open("old", backend, true, true, &dev);
    if (status == FEOX_OK) {
        FX_CHILD_CHECK(fx_dev_size(dev) == 3);
        fx_dev_close(dev);
    } else {
        /* A ring may need more locked memory than this user may have. */
        FX_CHILD_CHECK(backend == FEOX_IO_URING && status == FEOX_ERR_UNSUPPORTED);
    }
    FX_CHILD_CHECK(fx_devs_open("secret", backend, true, true, &dev) == FEOX_ERR_IO);
}

static void test_read_only_directory(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("directory");
    char name[600];
    assert_int_equal(chmod(fx_temp_dir(), 0755), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    if (!fx_child_run(child_reaches, path, backend)) {
        print_message("skipped: TMPDIR cannot be reached by another user\n");
        skip();
    }
    (void)snprintf(name, sizeof name, "%s/old", path);
    fx_file_write(name, "old", 3);
    assert_int_equal(chmod(name, 0444), 0);
    (void)snprintf(name, sizeof name, "%s/secret", path);
    fx_file_write(name, "old", 3);
    assert_int_equal(chmod(name, 0000), 0);
    assert_int_equal(chmod(path, 0555), 0);
    assert_true(fx_child_run(child_other_user, path, backend));
    (void)snprintf(name, sizeof name, "%s/old", path);
    assert_true(fx_file_equals(name, "old", 3));
    assert_int_equal(chmod(path, 0755), 0);
}

static void test_symlink_followed(void **state) {
    int backend = *(int *)*state;
    const char *target = fx_temp_fresh("target");
    const char *link = fx_temp_fresh("link");
    fx_file_write(target, "", 0);
    assert_int_equal(symlink(target, link), 0);
    fx_dev *dev = fx_devs_new(link, backend);
    fx_dev *second = NULL;
    assert_int_equal(fx_devs_open(target, backend, false, false, &second), FEOX_ERR_BUSY);
    assert_int_equal(fx_dev_file_sync_name(dev, link), FEOX_OK);
    fx_dev_close(dev);
}

static void test_discard(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("discard");
    fx_dev *dev = fx_devs_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 4 * BLOCK), 0);
    fx_dev_file_discard(dev, path);
    assert_false(fx_file_exists(path));

    /* A file that took over the name is not ours to remove. */
    dev = fx_devs_new(path, backend);
    fx_file_remove(path);
    fx_file_write(path, "other", 5);
    fx_dev_file_discard(dev, path);
    assert_true(fx_file_equals(path, "other", 5));
    fx_file_remove(path);

    dev = fx_devs_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 4 * BLOCK), 0);
    assert_int_equal(fx_dev_file_sync_name(dev, path), FEOX_OK);
    fx_dev_file_discard(dev, path);
    assert_int_equal(fx_file_size(path), 4 * BLOCK);

    dev = fx_devs_new(path, backend);
    fx_dev_file_discard(dev, path);
    assert_int_equal(fx_file_size(path), 4 * BLOCK);

    fx_file_write(path, "", 0);
    dev = fx_devs_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 4 * BLOCK), 0);
    fx_dev_file_discard(dev, path);
    assert_int_equal(fx_file_size(path), 0);
}

static void test_no_memory(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("memory");
    bool done = false;
    fx_dev_file_discard(fx_devs_new(path, backend), path);
    for (uint64_t n = 1; !done; n++) {
        assert_true(n < 50);
        fx_dev *dev = NULL;
        fx_dev_queue *queue = NULL;
        fx_mem_fail_after(n, true);
        feox_status status = fx_devs_open(path, backend, true, false, &dev);
        int result = status == FEOX_OK ? fx_dev_queue_open(dev, &queue) : 0;
        fx_mem_fail_after(0, false);
        done = status == FEOX_OK && result == 0;
        if (status != FEOX_OK) {
            assert_true(status == FEOX_ERR_MEMORY || backend == FEOX_IO_URING);
            assert_false(fx_file_exists(path));
            continue;
        }
        assert_true(result == 0 || result == -ENOMEM);
        if (queue != NULL) {
            fx_dev_queue_close(queue);
        }
        fx_dev_file_discard(dev, path);
    }
}

/* Makes and discards one file again and again. Who has it open has it alone, under its name. */
static void child_makes_and_discards(const char *path, int backend) {
    unsigned opened = 0;
    for (int i = 0; i < 100000 && opened < 300; i++) {
        fx_dev *dev = NULL;
        struct stat named;
        struct stat held;
        feox_status status = fx_devs_open(path, backend, true, false, &dev);
        FX_CHILD_CHECK(status == FEOX_OK || status == FEOX_ERR_BUSY);
        if (status == FEOX_OK) {
            opened++;
            FX_CHILD_CHECK(stat(path, &named) == 0);
            FX_CHILD_CHECK(fstat(((fx_dev_file *)dev)->fd, &held) == 0);
            FX_CHILD_CHECK(named.st_ino == held.st_ino && named.st_size == 0);
            FX_CHILD_CHECK(ftruncate(((fx_dev_file *)dev)->fd, (off_t)BLOCK) == 0);
            fx_dev_file_discard(dev, path);
        }
    }
    FX_CHILD_CHECK(opened > 0);
}

static void child_races(const char *path, int backend) {
    pid_t children[3];
    for (size_t i = 0; i < 3; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            (void)alarm(60);
            child_makes_and_discards(path, backend);
            _exit(0);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        int status = -1;
        FX_CHILD_CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
    }
}

static void test_name_races(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("race");
    assert_true(fx_child_run(child_races, path, FEOX_IO_THREADS));
}

static const char *race_path;
static int race_fd;

static void replace_file(void) {
    fx_file_remove(race_path);
    fx_file_write(race_path, "new", 3);
}

static void lock_file(void) {
    race_fd = open(race_path, O_RDWR | O_CLOEXEC);
    (void)syscall(SYS_flock, race_fd, LOCK_EX | LOCK_NB);
}

static void test_changed_before_lock(void **state) {
    int backend = *(int *)*state;
    /* Another file takes over the name between open and lock: that one is opened. */
    race_path = fx_temp_fresh("replaced");
    fx_dev_close(fx_devs_new(race_path, backend));
    fx_file_write(race_path, "old file", 8);
    before_flock = replace_file;
    fx_dev *dev = fx_devs_new(race_path, backend);
    assert_null(before_flock);
    assert_int_equal(fx_dev_size(dev), 3);
    fx_dev_close(dev);
    fx_file_remove(race_path);
    before_flock = replace_file;
    dev = fx_devs_new(race_path, backend);
    assert_int_equal(fx_dev_size(dev), 3);
    fx_dev_file_discard(dev, race_path);
    assert_true(fx_file_equals(race_path, "new", 3));
    /* Somebody locks the file that we have just made: then it is theirs. */
    fx_file_remove(race_path);
    before_flock = lock_file;
    assert_int_equal(fx_devs_open(race_path, backend, true, false, &dev), FEOX_ERR_BUSY);
    assert_true(fx_file_exists(race_path));
    assert_int_equal(close(race_fd), 0);
}

/* With standard output closed, the file must not become it. */
static void child_low_descriptors(const char *path, int backend) {
    (void)close(0);
    (void)close(1);
    fx_dev *dev = NULL;
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(((fx_dev_file *)dev)->fd > 2);
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_ERR_BUSY);
}

static void test_low_descriptors(void **state) {
    (void)state;
    assert_true(fx_child_run(child_low_descriptors, fx_temp_fresh("low"), FEOX_IO_THREADS));
}

/* ---- Reading, growing, shrinking ------------------------------------------------------------ */

static void test_read(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("read");
    uint8_t *content = fx_devs_blocks(3);
    uint8_t *buffer = fx_devs_blocks(4);
    for (size_t i = 0; i < 3 * BLOCK; i++) {
        content[i] = (uint8_t)(i * 7 + i / BLOCK);
    }
    fx_file_write(path, content, 2 * BLOCK + 100);
    fx_dev *dev = fx_devs_new(path, backend);
    fx_dev_queue *queue = NULL;
    assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
    assert_int_equal(fx_dev_size(dev), 2 * BLOCK + 100);
    assert_int_equal(fx_dev_read(dev, 0, buffer, 2 * BLOCK), 0);
    assert_memory_equal(buffer, content, 2 * BLOCK);
    assert_int_equal(fx_dev_read(dev, 0, buffer, 3 * BLOCK), -EIO);
    assert_int_equal(fx_dev_read(dev, 2 * BLOCK, buffer, BLOCK), -EIO);
    assert_int_equal(fx_dev_read(dev, 64 * BLOCK, buffer, BLOCK), -EIO);
    assert_int_equal(fx_dev_read(dev, (uint64_t)INT64_MAX + 1, buffer, BLOCK), -EIO);
    assert_int_equal(fx_dev_read(dev, 64 * BLOCK, buffer, 0), 0);
    assert_int_equal(fx_devs_do(queue, FX_DEV_READ, 0, buffer, 3 * BLOCK), -EIO);
    assert_int_equal(fx_devs_do(queue, FX_DEV_READ, 64 * BLOCK, buffer, BLOCK), -EIO);
    /* Failed reads do no harm. */
    memset(buffer, 0, BLOCK);
    assert_int_equal(fx_devs_do(queue, FX_DEV_READ, BLOCK, buffer, BLOCK), 0);
    assert_memory_equal(buffer, content + BLOCK, BLOCK);
    assert_int_equal(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0), 0);

    /* A transfer that direct I/O refuses turns it off. */
    assert_int_equal(fx_dev_read(dev, 0, buffer + 8, BLOCK), 0);
    assert_memory_equal(buffer + 8, content, BLOCK);
    int flags = fcntl(((fx_dev_file *)dev)->fd, F_GETFL);
    assert_int_equal((flags & O_DIRECT) != 0, ((fx_dev_file *)dev)->direct != 0);
    assert_int_equal(flags & O_NONBLOCK, 0);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
    assert_true(fx_file_equals(path, content, 2 * BLOCK + 100));
    free(buffer);
    free(content);
}

static void test_grow_and_shrink(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("grow");
    uint8_t *buffer = fx_devs_blocks(8);
    uint8_t *zeros = fx_devs_blocks(8);
    fx_dev *dev = fx_devs_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 256 * BLOCK), 0);
    assert_int_equal(fx_dev_size(dev), 256 * BLOCK);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_true((uint64_t)status.st_blocks * 512 >= 256 * BLOCK);
    memset(buffer, 1, 8 * BLOCK);
    assert_int_equal(fx_dev_read(dev, 200 * BLOCK, buffer, 8 * BLOCK), 0);
    assert_memory_equal(buffer, zeros, 8 * BLOCK);
    assert_int_equal(fx_dev_grow(dev, 8 * BLOCK), 0); /* not smaller */
    assert_int_equal(fx_dev_size(dev), 256 * BLOCK);
    assert_int_equal(fx_dev_shrink(dev, 300 * BLOCK), 0); /* not larger */
    assert_int_equal(fx_dev_size(dev), 256 * BLOCK);
    assert_int_equal(fx_dev_shrink(dev, 16 * BLOCK), 0);
    assert_int_equal(fx_dev_size(dev), 16 * BLOCK);
    assert_int_equal(fx_dev_read(dev, 16 * BLOCK, buffer, BLOCK), -EIO);
    /* More than there can be: the old size stays, and the device lives. */
    assert_int_equal(fx_dev_grow(dev, (uint64_t)1 << 62), -ENOSPC);
    assert_int_equal(fx_dev_size(dev), 16 * BLOCK);
    assert_int_equal(fx_dev_grow(dev, 32 * BLOCK), 0);
    fx_dev_close(dev);

    assert_int_equal(fx_devs_open(path, backend, false, true, &dev), FEOX_OK);
    assert_int_equal(fx_dev_grow(dev, 64 * BLOCK), -EROFS);
    assert_int_equal(fx_dev_shrink(dev, BLOCK), -EROFS);
    assert_int_equal(fx_dev_size(dev), 32 * BLOCK);
    fx_dev_close(dev);
    free(zeros);
    free(buffer);
}

/* A growth takes several calls; what the first ones got is given back when a later one fails. */
static void test_growth_ends_half_way(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("half");
    fx_dev *dev = fx_devs_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 16 * BLOCK), 0);
    fallocate_calls = 1;
    int result = fx_dev_grow(dev, (uint64_t)80 << 20);
    int left = fallocate_calls;
    fallocate_calls = -1;
    assert_int_equal(left, 0);
    assert_int_equal(result, -ENOSPC);
    assert_int_equal(fx_dev_size(dev), 16 * BLOCK);
    assert_int_equal(fx_file_size(path), 16 * BLOCK);
    assert_int_equal(fx_dev_grow(dev, 32 * BLOCK), 0);
    fx_dev_close(dev);
    fx_file_remove(path);
}

static void child_no_fallocate(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_file_write(path, "abc", 3);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fallocate, EOPNOTSUPP));
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_grow(dev, 600 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_size(dev) == 600 * BLOCK);
    fx_dev_close(dev);
    struct stat status;
    FX_CHILD_CHECK(stat(path, &status) == 0 && (uint64_t)status.st_blocks * 512 >= 600 * BLOCK);
    uint8_t *content = fx_file_slurp(path, NULL);
    FX_CHILD_CHECK(memcmp(content, "abc", 4) == 0);
    for (size_t i = 3; i < 600 * BLOCK; i++) {
        FX_CHILD_CHECK(content[i] == 0);
    }
    free(content);
}

static void child_no_space(const char *path, int backend) {
    fx_dev *dev = NULL;
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fallocate, ENOSPC));
    FX_CHILD_CHECK(fx_dev_grow(dev, 32 * BLOCK) == -ENOSPC);
    FX_CHILD_CHECK(fx_dev_size(dev) == 16 * BLOCK);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fallocate, EDQUOT));
    FX_CHILD_CHECK(fx_dev_grow(dev, 32 * BLOCK) == -ENOSPC);
    fx_dev_close(dev);
}

/* The device lost a flush inside grow: nobody gets a success after that. */
static void child_grow_sync_fails(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fsync, EIO));
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == -EIO);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == -EIO);
    FX_CHILD_CHECK(fx_dev_shrink(dev, BLOCK) == -EIO);
    FX_CHILD_CHECK(fx_dev_file_sync_name(dev, path) == FEOX_ERR_IO);
}

/* A file system that was shut down does not say sizes: nothing looks cut off because of it, and
 * nothing is cut. */
static void child_no_sizes(const char *path, int backend) {
    fx_dev *dev = NULL;
    void *buffer = fx_devs_blocks(1);
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_newfstatat, EIO) && fx_child_forbid(SYS_fstat, EIO));
    FX_CHILD_CHECK(fx_dev_size(dev) == 16 * BLOCK);
    FX_CHILD_CHECK(fx_dev_read(dev, 15 * BLOCK, buffer, BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_grow(dev, 20 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_size(dev) == 20 * BLOCK);
    FX_CHILD_CHECK(fx_dev_shrink(dev, 18 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_size(dev) == 18 * BLOCK);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fallocate, EIO));
    FX_CHILD_CHECK(fx_dev_grow(dev, 32 * BLOCK) == -EIO);
    FX_CHILD_CHECK(fx_dev_size(dev) == 18 * BLOCK);
    FX_CHILD_CHECK(lseek(((fx_dev_file *)dev)->fd, 0, SEEK_END) == (off_t)(18 * BLOCK));
    fx_dev_close(dev);
    free(buffer);
}

static void test_refused_calls(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(fx_devs_new(fx_temp_fresh("try"), backend));
    assert_true(fx_child_run(child_no_fallocate, fx_temp_fresh("fill"), backend));
    assert_true(fx_child_run(child_no_space, fx_temp_fresh("full"), backend));
    assert_true(fx_child_run(child_grow_sync_fails, fx_temp_fresh("grow-sync"), backend));
    assert_true(fx_child_run(child_no_sizes, fx_temp_fresh("no-sizes"), backend));
}

/* clang-format off */
#define BOTH(f) \
    {#f "(uring)", f, NULL, NULL, &backend_uring}, \
    {#f "(threads)", f, NULL, NULL, &backend_threads}
/* clang-format on */

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_open_and_lock),
        BOTH(test_child_keeps_nothing),
        BOTH(test_refusals),
        BOTH(test_read_only_directory),
        {"test_read_only_directory(auto)", test_read_only_directory, NULL, NULL, &backend_auto},
        BOTH(test_symlink_followed),
        BOTH(test_discard),
        BOTH(test_changed_before_lock),
        BOTH(test_no_memory),
        {"test_no_memory(auto)", test_no_memory, NULL, NULL, &backend_auto},
        cmocka_unit_test(test_name_races),
        cmocka_unit_test(test_low_descriptors),
        BOTH(test_read),
        BOTH(test_grow_and_shrink),
        BOTH(test_growth_ends_half_way),
        BOTH(test_refused_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
