/* dev: files, locks and both queues, against a model in memory and against a system that refuses
 * things. What would harm this process (limits, filters, other users) happens in forked children,
 * which report by exit code and standard error.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "disk/dev_file.h"
#include "support/temp.h"

static int backend_uring = FEOX_IO_URING;
static int backend_threads = FEOX_IO_THREADS;
static int backend_auto = FEOX_IO_AUTO;

/* In a child: says what is wrong and ends it. */
#define CHILD_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "child: line %d: %s (errno %d; %s)\n", __LINE__, #condition,     \
                          errno, fx_error_text());                                                 \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define BLOCK ((size_t)FX_BLOCK_SIZE)

/* ---- A system with faults ------------------------------------------------------------------- */

/* These take the place of the C library's functions in the whole program. */
static void (*before_flock)(void); /* called once */
static bool faults;
static uint64_t fault_calls;
static uint64_t misaligned_direct;

int flock(int fd, int operation) {
    void (*call)(void) = before_flock;
    before_flock = NULL;
    if (call != NULL) {
        call();
    }
    return (int)syscall(SYS_flock, fd, operation);
}

/* The size to transfer, or 0: fails with errno. */
static size_t fault(int fd, size_t size, off_t offset) {
    if (!fx_load_acquire(&faults)) {
        return size;
    }
    uint64_t number = fx_add_relaxed(&fault_calls, 1u);
    if ((fcntl(fd, F_GETFL) & O_DIRECT) != 0 && ((uint64_t)offset | size) % BLOCK != 0) {
        (void)fx_add_relaxed(&misaligned_direct, 1u);
    }
    if (number % 5 == 0 || number % 5 == 1) {
        errno = number % 5 == 0 ? EINTR : EAGAIN;
        return 0;
    }
    if (number % 5 == 2 && size > BLOCK) {
        return BLOCK + 512;
    }
    return number == 2000 && size > 512 ? 512 : size;
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
    size_t allowed = size > 0 ? fault(fd, size, offset) : 0;
    return allowed == 0 && size > 0 ? -1 : syscall(SYS_pread64, fd, buffer, allowed, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    size_t allowed = size > 0 ? fault(fd, size, offset) : 0;
    return allowed == 0 && size > 0 ? -1 : syscall(SYS_pwrite64, fd, buffer, allowed, offset);
}

typedef void child_function(const char *path, int backend);

/* True if the child ran through. A child that hangs is ended by SIGALRM. */
static bool in_child(child_function *run, const char *path, int backend) {
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(60);
        run(path, backend);
        _exit(0);
    }
    int status = -1;
    (void)waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        print_message("child ended with status 0x%x\n", (unsigned)status);
        return false;
    }
    return true;
}

/* Makes one system call fail with `error` from now on. */
static bool forbid(int call, int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static feox_status open_with(const char *path, int backend, bool create, bool read_only,
                             fx_dev **dev_out) {
    fx_dev_open how = {path, read_only, create, backend};
    return fx_dev_file_open(&how, dev_out);
}

static fx_dev *open_new(const char *path, int backend) {
    fx_dev *dev = NULL;
    feox_status status = open_with(path, backend, true, false, &dev);
    if (status == FEOX_ERR_UNSUPPORTED && backend == FEOX_IO_URING) {
        print_message("skipped: %s\n", fx_error_text());
        skip();
    }
    assert_int_equal(status, FEOX_OK);
    return dev;
}

static void *blocks_alloc(size_t count) {
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, BLOCK, count * BLOCK), 0);
    memset(memory, 0, count * BLOCK);
    return memory;
}

/* Submits one operation, reaps it, returns its result. */
static int do_one(fx_dev_queue *queue, fx_dev_kind kind, uint64_t offset, void *buffer,
                  size_t size) {
    fx_dev_op op = {kind, 12345, offset, size, buffer, NULL};
    fx_dev_submit(queue, &op);
    return fx_dev_reap(queue) == &op ? op.result : 54321;
}

static uint64_t seed(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t value = 0;
    if (text != NULL) {
        value = strtoull(text, NULL, 0);
    } else if (!fx_random_bytes(&value, sizeof value)) {
        value = (uint64_t)getpid();
    }
    print_message("FEOX_SEED=%llu\n", (unsigned long long)value);
    return value;
}

/* ---- Opening and locking -------------------------------------------------------------------- */

static void child_busy(const char *path, int backend) {
    fx_dev *dev = NULL;
    CHILD_CHECK(open_with(path, backend, false, false, &dev) == FEOX_ERR_BUSY);
    CHILD_CHECK(open_with(path, backend, false, true, &dev) == FEOX_ERR_BUSY);
}

static void test_open_and_lock(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("lock");
    fx_dev *dev = open_new(path, backend);
    assert_string_equal(dev->vtable->name, backend == FEOX_IO_THREADS ? "threads" : "uring");
    assert_int_equal(fx_dev_size(dev), 0);

    fx_dev *second = dev;
    assert_int_equal(open_with(path, backend, true, false, &second), FEOX_ERR_BUSY);
    assert_null(second);
    assert_non_null(strstr(fx_error_text(), path));
    assert_int_equal(open_with(path, backend, false, true, &second), FEOX_ERR_BUSY);
    assert_true(fx_file_exists(path));

    /* Whatever this process does with other descriptors of the file does not lose the lock. */
    for (int i = 0; i < 3; i++) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(close(fd), 0);
    }
    assert_true(in_child(child_busy, path, backend));
    /* Nor does the end of that child, which had inherited it. */
    assert_int_equal(open_with(path, backend, false, false, &second), FEOX_ERR_BUSY);
    fx_dev_close(dev);
    assert_int_equal(open_with(path, backend, false, true, &dev), FEOX_OK);
    assert_int_equal(open_with(path, backend, false, true, &second), FEOX_ERR_BUSY);
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
    fx_dev *dev = open_new(path, backend);
    fx_dev *second = NULL;
    inherited = dev;
    assert_true(in_child(child_closes, path, backend));
    assert_int_equal(open_with(path, backend, false, false, &second), FEOX_ERR_BUSY);

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
    assert_int_equal(open_with(path, backend, false, false, &second), FEOX_OK);
    fx_dev_close(second);
    (void)close(wait_here[1]);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_refusals(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = NULL;
    assert_int_equal(open_with("", backend, true, false, &dev), FEOX_ERR_ARGUMENT);
    assert_int_equal(open_with(NULL, backend, true, false, &dev), FEOX_ERR_ARGUMENT);
    assert_int_equal(open_with("x", 17, true, false, &dev), FEOX_ERR_ARGUMENT);

    const char *path = fx_temp_fresh("missing");
    assert_int_equal(open_with(path, backend, false, false, &dev), FEOX_NOT_FOUND);
    assert_int_equal(open_with(path, backend, true, true, &dev), FEOX_NOT_FOUND);
    assert_false(fx_file_exists(path));
    path = fx_temp_path("no-directory/file");
    assert_int_equal(open_with(path, backend, true, false, &dev), FEOX_ERR_IO);
    assert_non_null(strstr(fx_error_text(), path));
    assert_int_equal(open_with(path, backend, false, false, &dev), FEOX_NOT_FOUND);

    assert_int_equal(open_with(fx_temp_dir(), backend, true, false, &dev), FEOX_ERR_NOT_FEOX);
    assert_int_equal(open_with(fx_temp_dir(), backend, true, true, &dev), FEOX_ERR_NOT_FEOX);
    assert_int_equal(open_with("/dev/null", backend, true, false, &dev), FEOX_ERR_NOT_FEOX);
    path = fx_temp_fresh("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(open_with(path, backend, true, false, &dev), FEOX_ERR_NOT_FEOX);
    assert_int_equal(open_with(path, backend, false, true, &dev), FEOX_ERR_NOT_FEOX);

    path = fx_temp_fresh("dangling");
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(open_with(path, backend, true, false, &dev), FEOX_ERR_IO);
    assert_int_equal(open_with(path, backend, false, false, &dev), FEOX_NOT_FOUND);
    assert_false(fx_file_exists(fx_temp_path("nowhere")));
    path = fx_temp_fresh("loop");
    assert_int_equal(symlink(path, path), 0);
    assert_int_equal(open_with(path, backend, true, false, &dev), FEOX_ERR_IO);
    path = fx_temp_path("plain");
    fx_file_write(path, "x", 1);
    path = fx_temp_path("plain/below");
    assert_int_equal(open_with(path, backend, true, false, &dev), FEOX_ERR_IO);
    assert_null(dev);
}

static void child_other_user(const char *path, int backend) {
    if (geteuid() == 0) {
        CHILD_CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    }
    fx_dev *dev = NULL;
    CHILD_CHECK(chdir(path) == 0);
    CHILD_CHECK(open_with("new", backend, true, false, &dev) == FEOX_ERR_READ_ONLY);
    CHILD_CHECK(open_with("old", backend, true, false, &dev) == FEOX_ERR_READ_ONLY);
    CHILD_CHECK(strstr(fx_error_text(), "old") != NULL);
    feox_status status = open_with("old", backend, true, true, &dev);
    if (status == FEOX_OK) {
        CHILD_CHECK(fx_dev_size(dev) == 3);
        fx_dev_close(dev);
    } else {
        /* A ring may need more locked memory than this user may have. */
        CHILD_CHECK(backend == FEOX_IO_URING && status == FEOX_ERR_UNSUPPORTED);
    }
    CHILD_CHECK(open_with("secret", backend, true, true, &dev) == FEOX_ERR_IO);
}

static void test_read_only_directory(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("directory");
    char name[600];
    /* Root is not stopped by permissions, so the child becomes nobody. */
    assert_int_equal(chmod(fx_temp_dir(), 0755), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(name, sizeof name, "%s/old", path);
    fx_file_write(name, "old", 3);
    assert_int_equal(chmod(name, 0444), 0);
    (void)snprintf(name, sizeof name, "%s/secret", path);
    fx_file_write(name, "old", 3);
    assert_int_equal(chmod(name, 0000), 0);
    assert_int_equal(chmod(path, 0555), 0);
    assert_true(in_child(child_other_user, path, backend));
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
    fx_dev *dev = open_new(link, backend);
    fx_dev *second = NULL;
    assert_int_equal(open_with(target, backend, false, false, &second), FEOX_ERR_BUSY);
    assert_int_equal(fx_dev_file_sync_name(dev, link), FEOX_OK);
    fx_dev_close(dev);
}

static void test_discard(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("discard");
    fx_dev *dev = open_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 4 * BLOCK), 0);
    fx_dev_file_discard(dev, path);
    assert_false(fx_file_exists(path));

    /* A file that took over the name is not ours to remove. */
    dev = open_new(path, backend);
    fx_file_remove(path);
    fx_file_write(path, "other", 5);
    fx_dev_file_discard(dev, path);
    assert_true(fx_file_equals(path, "other", 5));
    fx_file_remove(path);

    dev = open_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 4 * BLOCK), 0);
    assert_int_equal(fx_dev_file_sync_name(dev, path), FEOX_OK);
    fx_dev_file_discard(dev, path);
    assert_int_equal(fx_file_size(path), 4 * BLOCK);

    dev = open_new(path, backend);
    fx_dev_file_discard(dev, path);
    assert_int_equal(fx_file_size(path), 4 * BLOCK);

    fx_file_write(path, "", 0);
    dev = open_new(path, backend);
    assert_int_equal(fx_dev_grow(dev, 4 * BLOCK), 0);
    fx_dev_file_discard(dev, path);
    assert_int_equal(fx_file_size(path), 0);
}

static void test_no_memory(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("memory");
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        assert_true(n < 50);
        fx_dev *dev = NULL;
        fx_dev_queue *queue = NULL;
        fx_mem_fail_after(n, true);
        feox_status status = open_with(path, backend, true, false, &dev);
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
        feox_status status = open_with(path, backend, true, false, &dev);
        CHILD_CHECK(status == FEOX_OK || status == FEOX_ERR_BUSY);
        if (status == FEOX_OK) {
            opened++;
            CHILD_CHECK(stat(path, &named) == 0);
            CHILD_CHECK(fstat(((fx_dev_file *)dev)->fd, &held) == 0);
            CHILD_CHECK(named.st_ino == held.st_ino && named.st_size == 0);
            CHILD_CHECK(ftruncate(((fx_dev_file *)dev)->fd, (off_t)BLOCK) == 0);
            fx_dev_file_discard(dev, path);
        }
    }
    CHILD_CHECK(opened > 0);
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
        CHILD_CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
    }
}

static void test_name_races(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("race");
    assert_true(in_child(child_races, path, FEOX_IO_THREADS));
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
    fx_dev_close(open_new(race_path, backend));
    fx_file_write(race_path, "old file", 8);
    before_flock = replace_file;
    fx_dev *dev = open_new(race_path, backend);
    assert_null(before_flock);
    assert_int_equal(fx_dev_size(dev), 3);
    fx_dev_close(dev);
    fx_file_remove(race_path);
    before_flock = replace_file;
    dev = open_new(race_path, backend);
    assert_int_equal(fx_dev_size(dev), 3);
    fx_dev_file_discard(dev, race_path);
    assert_true(fx_file_equals(race_path, "new", 3));
    /* Somebody locks the file that we have just made: then it is theirs. */
    fx_file_remove(race_path);
    before_flock = lock_file;
    assert_int_equal(open_with(race_path, backend, true, false, &dev), FEOX_ERR_BUSY);
    assert_true(fx_file_exists(race_path));
    assert_int_equal(close(race_fd), 0);
}

/* With standard output closed, the file must not become it. */
static void child_low_descriptors(const char *path, int backend) {
    (void)close(0);
    (void)close(1);
    fx_dev *dev = NULL;
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(((fx_dev_file *)dev)->fd > 2);
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_ERR_BUSY);
}

static void test_low_descriptors(void **state) {
    (void)state;
    assert_true(in_child(child_low_descriptors, fx_temp_fresh("low"), FEOX_IO_THREADS));
}

/* ---- Reading, growing, shrinking ------------------------------------------------------------ */

static void test_read(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("read");
    uint8_t *content = blocks_alloc(3);
    uint8_t *buffer = blocks_alloc(4);
    for (size_t i = 0; i < 3 * BLOCK; i++) {
        content[i] = (uint8_t)(i * 7 + i / BLOCK);
    }
    fx_file_write(path, content, 2 * BLOCK + 100);
    fx_dev *dev = open_new(path, backend);
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
    assert_int_equal(do_one(queue, FX_DEV_READ, 0, buffer, 3 * BLOCK), -EIO);
    assert_int_equal(do_one(queue, FX_DEV_READ, 64 * BLOCK, buffer, BLOCK), -EIO);
    /* Failed reads do no harm. */
    memset(buffer, 0, BLOCK);
    assert_int_equal(do_one(queue, FX_DEV_READ, BLOCK, buffer, BLOCK), 0);
    assert_memory_equal(buffer, content + BLOCK, BLOCK);
    assert_int_equal(do_one(queue, FX_DEV_SYNC, 0, NULL, 0), 0);

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
    uint8_t *buffer = blocks_alloc(8);
    uint8_t *zeros = blocks_alloc(8);
    fx_dev *dev = open_new(path, backend);
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

    assert_int_equal(open_with(path, backend, false, true, &dev), FEOX_OK);
    assert_int_equal(fx_dev_grow(dev, 64 * BLOCK), -EROFS);
    assert_int_equal(fx_dev_shrink(dev, BLOCK), -EROFS);
    assert_int_equal(fx_dev_size(dev), 32 * BLOCK);
    fx_dev_close(dev);
    free(zeros);
    free(buffer);
}

static void child_no_fallocate(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_file_write(path, "abc", 3);
    CHILD_CHECK(forbid(SYS_fallocate, EOPNOTSUPP));
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(fx_dev_grow(dev, 600 * BLOCK) == 0);
    CHILD_CHECK(fx_dev_size(dev) == 600 * BLOCK);
    fx_dev_close(dev);
    struct stat status;
    CHILD_CHECK(stat(path, &status) == 0 && (uint64_t)status.st_blocks * 512 >= 600 * BLOCK);
    uint8_t *content = fx_file_slurp(path, NULL);
    CHILD_CHECK(memcmp(content, "abc", 4) == 0);
    for (size_t i = 3; i < 600 * BLOCK; i++) {
        CHILD_CHECK(content[i] == 0);
    }
    free(content);
}

static void child_no_space(const char *path, int backend) {
    fx_dev *dev = NULL;
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    CHILD_CHECK(forbid(SYS_fallocate, ENOSPC));
    CHILD_CHECK(fx_dev_grow(dev, 32 * BLOCK) == -ENOSPC);
    CHILD_CHECK(fx_dev_size(dev) == 16 * BLOCK);
    CHILD_CHECK(forbid(SYS_fallocate, EDQUOT));
    CHILD_CHECK(fx_dev_grow(dev, 32 * BLOCK) == -ENOSPC);
    fx_dev_close(dev);
}

/* The device lost a flush inside grow: nobody gets a success after that. */
static void child_grow_sync_fails(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    CHILD_CHECK(forbid(SYS_fsync, EIO));
    CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == -EIO);
    CHILD_CHECK(do_one(queue, FX_DEV_SYNC, 0, NULL, 0) == -EIO);
    CHILD_CHECK(fx_dev_shrink(dev, BLOCK) == -EIO);
    CHILD_CHECK(fx_dev_file_sync_name(dev, path) == FEOX_ERR_IO);
}

static void test_refused_calls(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(open_new(fx_temp_fresh("try"), backend));
    assert_true(in_child(child_no_fallocate, fx_temp_fresh("fill"), backend));
    assert_true(in_child(child_no_space, fx_temp_fresh("full"), backend));
    assert_true(in_child(child_grow_sync_fails, fx_temp_fresh("grow-sync"), backend));
}

/* ---- Queues --------------------------------------------------------------------------------- */

#define FILE_BLOCKS 2048u
#define OPS_MAX 96u /* more than a ring holds at once */
#define OP_BLOCKS_MAX 16u

typedef struct random_run {
    fx_rng rng;
    fx_dev_queue *queue;
    uint8_t *model;
    uint8_t *buffers;
    bool busy[FILE_BLOCKS];
    bool used[OPS_MAX];
    fx_dev_op ops[OPS_MAX];
    unsigned under_way;
    unsigned under_way_max;
    unsigned reads;
    unsigned writes;
    unsigned wrong;
} random_run;

static void random_submit(random_run *run, unsigned steps_left) {
    unsigned slot = 0;
    while (slot < OPS_MAX && run->used[slot]) {
        slot++;
    }
    if (slot == OPS_MAX || steps_left == 0) {
        return;
    }
    fx_dev_op *op = &run->ops[slot];
    size_t count = 1 + (size_t)fx_rng_below(&run->rng, OP_BLOCKS_MAX);
    size_t first = (size_t)fx_rng_below(&run->rng, FILE_BLOCKS - count + 1);
    uint8_t *buffer = run->buffers + slot * OP_BLOCKS_MAX * BLOCK;
    if (fx_rng_below(&run->rng, 60) == 0) {
        *op = (fx_dev_op){FX_DEV_SYNC, 1, 0, 0, NULL, NULL};
    } else {
        for (size_t i = first; i < first + count; i++) {
            if (run->busy[i]) {
                return;
            }
        }
        memset(run->busy + first, 1, count);
        bool writing = fx_rng_below(&run->rng, 2) == 0;
        *op = (fx_dev_op){
            writing ? FX_DEV_WRITE : FX_DEV_READ, 1, first * BLOCK, count * BLOCK, buffer, NULL};
        memset(buffer, 0xEE, count * BLOCK);
        for (size_t i = 0; writing && i < count * BLOCK; i += 8) {
            uint64_t word = fx_rng_next(&run->rng);
            memcpy(buffer + i, &word, 8);
        }
    }
    run->used[slot] = true;
    run->under_way++;
    if (run->under_way > run->under_way_max) {
        run->under_way_max = run->under_way;
    }
    fx_dev_submit(run->queue, op);
}

static void random_reap(random_run *run) {
    fx_dev_op *op = fx_dev_reap(run->queue);
    if (op == NULL) {
        run->wrong += run->under_way != 0;
        run->under_way = 0;
        return;
    }
    size_t slot = (size_t)(op - run->ops);
    run->wrong += !run->used[slot] || op->result != 0;
    run->used[slot] = false;
    run->under_way--;
    if (op->kind == FX_DEV_WRITE) {
        run->writes++;
        memcpy(run->model + op->offset, op->buffer, op->size);
    } else if (op->kind == FX_DEV_READ) {
        run->reads++;
        run->wrong += memcmp(run->model + op->offset, op->buffer, op->size) != 0;
    }
    if (op->size > 0) {
        memset(run->busy + op->offset / BLOCK, 0, op->size / BLOCK);
    }
}

/* Random operations, many at once, against a model. The number of differences. */
static unsigned random_operations(fx_dev *dev, uint64_t start, unsigned steps) {
    random_run *run = calloc(1, sizeof *run);
    run->model = blocks_alloc(FILE_BLOCKS);
    run->buffers = blocks_alloc((size_t)OPS_MAX * OP_BLOCKS_MAX);
    fx_rng_init(&run->rng, start);
    unsigned wrong = 1;
    unsigned start_steps = steps;
    if (fx_dev_grow(dev, FILE_BLOCKS * BLOCK) == 0 && fx_dev_queue_open(dev, &run->queue) == 0) {
        run->wrong += fx_dev_reap(run->queue) != NULL;
        while (steps > 0) {
            unsigned burst = 1 + (unsigned)fx_rng_below(&run->rng, 60);
            while (burst-- > 0 && steps > 0) {
                random_submit(run, steps--);
            }
            burst = 1 + (unsigned)fx_rng_below(&run->rng, 40);
            while (burst-- > 0 && run->under_way > 0) {
                random_reap(run);
            }
        }
        while (run->under_way > 0) {
            random_reap(run);
        }
        run->wrong += fx_dev_reap(run->queue) != NULL;
        run->wrong += do_one(run->queue, FX_DEV_SYNC, 0, NULL, 0) != 0;
        fx_dev_queue_close(run->queue);
        uint8_t *whole = blocks_alloc(FILE_BLOCKS);
        run->wrong += fx_dev_read(dev, 0, whole, FILE_BLOCKS * BLOCK) != 0;
        run->wrong += memcmp(whole, run->model, FILE_BLOCKS * BLOCK) != 0;
        /* A run that hardly did anything, or never much at once, would prove nothing. */
        run->wrong += run->writes < start_steps / 8 || run->reads < start_steps / 8;
        run->wrong += start_steps >= 1000 && run->under_way_max <= 64;
        free(whole);
        wrong = run->wrong;
    }
    free(run->model);
    free(run->buffers);
    free(run);
    return wrong;
}

static void test_random_operations(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = open_new(fx_temp_fresh("random"), backend);
    assert_int_equal(random_operations(dev, seed(), 3000), 0);
    fx_dev_close(dev);
}

/* Interrupted and short transfers are resumed, on block boundaries while I/O is direct. */
static void test_faulty_transfers(void **state) {
    (void)state;
    fx_dev *dev = open_new(fx_temp_fresh("faults"), FEOX_IO_THREADS);
    fx_store_relaxed(&fault_calls, 0u);
    fx_store_release(&faults, true);
    unsigned wrong = random_operations(dev, seed(), 2000);
    fx_store_release(&faults, false);
    assert_int_equal(wrong, 0);
    assert_true(fx_load_relaxed(&fault_calls) > 2000);
    assert_int_equal(fx_load_relaxed(&misaligned_direct), 0);
    fx_dev_close(dev);
}

/* What the system tells about one flush only, the device remembers for all. */
static void test_sticky_error(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = open_new(fx_temp_fresh("sticky"), backend);
    fx_dev_op op = {FX_DEV_SYNC, 1, 0, 0, NULL, NULL};
    fx_dev_file_settle((fx_dev_file *)dev, &op, 0);
    assert_int_equal(op.result, 0);
    fx_dev_file_settle((fx_dev_file *)dev, &op, -EIO);
    assert_int_equal(op.result, -EIO);
    fx_dev_file_settle((fx_dev_file *)dev, &op, 0);
    assert_int_equal(op.result, -EIO);
    fx_dev_close(dev);
}

/* True if this process has a ring in its memory. */
static bool ring_mapped(void) {
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        found = found || strstr(line, "io_uring") != NULL;
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    return found;
}

static void child_has_no_ring(const char *path, int backend) {
    (void)path;
    (void)backend;
    CHILD_CHECK(!ring_mapped());
    fx_dev_close(inherited);
}

static void test_ring_not_inherited(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("ring");
    fx_dev *dev = open_new(path, FEOX_IO_URING);
    inherited = dev;
    assert_true(ring_mapped());
    assert_true(in_child(child_has_no_ring, path, 0));
    fx_dev_queue *queue = NULL;
    assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
    assert_int_equal(do_one(queue, FX_DEV_SYNC, 0, NULL, 0), 0);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
    assert_false(ring_mapped());
}

typedef struct turns {
    pthread_mutex_t lock;
    fx_dev_queue *queue;
    unsigned wrong;
    unsigned next;
} turns;

/* One queue, used by several threads in turn, as leaders of a group commit do. */
static void *take_turns(void *argument) {
    turns *shared = argument;
    void *buffer = NULL;
    if (posix_memalign(&buffer, BLOCK, BLOCK) != 0) {
        return NULL;
    }
    for (int i = 0; i < 25; i++) {
        (void)pthread_mutex_lock(&shared->lock);
        unsigned number = shared->next++;
        memset(buffer, (int)(number & 255), BLOCK);
        shared->wrong += do_one(shared->queue, FX_DEV_WRITE, number * BLOCK, buffer, BLOCK) != 0;
        shared->wrong += do_one(shared->queue, FX_DEV_SYNC, 0, NULL, 0) != 0;
        (void)pthread_mutex_unlock(&shared->lock);
    }
    free(buffer);
    return NULL;
}

static void test_threads_take_turns(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = open_new(fx_temp_fresh("turns"), backend);
    turns shared = {PTHREAD_MUTEX_INITIALIZER, NULL, 0, 0};
    assert_int_equal(fx_dev_grow(dev, 128 * BLOCK), 0);
    assert_int_equal(fx_dev_queue_open(dev, &shared.queue), 0);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_turns, &shared), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(shared.wrong, 0);
    assert_int_equal(shared.next, 100);
    uint8_t *buffer = blocks_alloc(100);
    assert_int_equal(fx_dev_read(dev, 0, buffer, 100 * BLOCK), 0);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(buffer[i * BLOCK + i], i);
    }
    free(buffer);
    fx_dev_queue_close(shared.queue);
    fx_dev_close(dev);
}

static void test_dead_after_failed_write(void **state) {
    int backend = *(int *)*state;
    const char *path = fx_temp_fresh("dead");
    fx_dev_close(open_new(path, backend));
    fx_file_truncate(path, 8 * BLOCK);
    fx_dev *dev = NULL;
    fx_dev_queue *first = NULL;
    fx_dev_queue *second = NULL;
    void *buffer = blocks_alloc(8);
    assert_int_equal(open_with(path, backend, false, true, &dev), FEOX_OK);
    assert_int_equal(fx_dev_queue_open(dev, &first), 0);
    assert_int_equal(fx_dev_queue_open(dev, &second), 0);
    assert_int_equal(do_one(first, FX_DEV_SYNC, 0, NULL, 0), 0);
    assert_int_equal(do_one(first, FX_DEV_WRITE, 0, buffer, BLOCK), -EBADF);
    for (int i = 0; i < 2; i++) {
        fx_dev_queue *queue = i == 0 ? first : second;
        assert_int_equal(do_one(queue, FX_DEV_SYNC, 0, NULL, 0), -EBADF);
        assert_int_equal(do_one(queue, FX_DEV_WRITE, 0, buffer, BLOCK), -EBADF);
        assert_int_equal(do_one(queue, FX_DEV_READ, 0, buffer, BLOCK), -EBADF);
    }
    assert_int_equal(fx_dev_grow(dev, 16 * BLOCK), -EBADF);
    assert_int_equal(fx_dev_read(dev, 0, buffer, 8 * BLOCK), 0);
    fx_dev_queue_close(first);
    fx_dev_queue_close(second);
    fx_dev_close(dev);
    free(buffer);
}

static void child_file_size_limit(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    void *buffer = blocks_alloc(1);
    CHILD_CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    struct rlimit limit = {8 * BLOCK, 8 * BLOCK};
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHILD_CHECK(fx_dev_grow(dev, 32 * BLOCK) == -ENOSPC);
    CHILD_CHECK(fx_dev_size(dev) == 16 * BLOCK);
    CHILD_CHECK(do_one(queue, FX_DEV_WRITE, 7 * BLOCK, buffer, BLOCK) == 0);
    CHILD_CHECK(do_one(queue, FX_DEV_SYNC, 0, NULL, 0) == 0);
    CHILD_CHECK(do_one(queue, FX_DEV_WRITE, 8 * BLOCK, buffer, BLOCK) == -EFBIG);
    CHILD_CHECK(do_one(queue, FX_DEV_SYNC, 0, NULL, 0) == -EFBIG);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void test_file_size_limit(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(open_new(fx_temp_fresh("try"), backend));
    assert_true(in_child(child_file_size_limit, fx_temp_fresh("limit"), backend));
}

static void child_sync_fails(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    void *buffer = blocks_alloc(1);
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    CHILD_CHECK(do_one(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == 0);
    CHILD_CHECK(forbid(SYS_fdatasync, EIO));
    CHILD_CHECK(do_one(queue, FX_DEV_SYNC, 0, NULL, 0) == -EIO);
    CHILD_CHECK(do_one(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == -EIO);
    CHILD_CHECK(do_one(queue, FX_DEV_SYNC, 0, NULL, 0) == -EIO);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void test_dead_after_failed_sync(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(open_new(fx_temp_fresh("try"), backend));
    assert_true(in_child(child_sync_fails, fx_temp_fresh("sync"), backend));
}

static void child_no_threads(const char *path, int backend) {
    fx_dev *dev = NULL;
    CHILD_CHECK(forbid(SYS_clone, EAGAIN) && forbid(SYS_clone3, EAGAIN));
    CHILD_CHECK(open_with(path, backend, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(random_operations(dev, 1, 300) == 0);
    fx_dev_close(dev);
}

static void test_no_threads(void **state) {
    (void)state;
    assert_true(in_child(child_no_threads, fx_temp_fresh("alone"), FEOX_IO_THREADS));
}

/* ---- io_uring refused ----------------------------------------------------------------------- */

static void refused(const char *path, int call, int error) {
    fx_dev *dev = NULL;
    CHILD_CHECK(forbid(call, error));
    CHILD_CHECK(open_with(path, FEOX_IO_URING, true, false, &dev) == FEOX_ERR_UNSUPPORTED);
    CHILD_CHECK(dev == NULL && !fx_file_exists(path));
    fx_file_write(path, "mine", 4);
    CHILD_CHECK(open_with(path, FEOX_IO_URING, true, false, &dev) == FEOX_ERR_UNSUPPORTED);
    CHILD_CHECK(fx_file_equals(path, "mine", 4));
    fx_file_write(path, "", 0);
    CHILD_CHECK(open_with(path, FEOX_IO_AUTO, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(strcmp(dev->vtable->name, "threads") == 0);
    CHILD_CHECK(random_operations(dev, 1, 200) == 0);
    fx_dev_close(dev);
}

static void child_setup_eperm(const char *path, int backend) {
    (void)backend;
    refused(path, SYS_io_uring_setup, EPERM);
}

static void child_setup_enosys(const char *path, int backend) {
    (void)backend;
    refused(path, SYS_io_uring_setup, ENOSYS);
}

static void child_register_eperm(const char *path, int backend) {
    (void)backend;
    refused(path, SYS_io_uring_register, EPERM);
}

/* The filter comes while the ring is in use: what is left is done by plain calls. */
static void late(const char *path, int error) {
    fx_dev *dev = NULL;
    CHILD_CHECK(open_with(path, FEOX_IO_URING, true, false, &dev) == FEOX_OK);
    CHILD_CHECK(random_operations(dev, 1, 200) == 0);
    fx_dev_queue *queue = NULL;
    CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    uint8_t *buffers = blocks_alloc(40);
    fx_dev_op ops[40];
    for (size_t i = 0; i < 40; i++) {
        if (i == 20) {
            CHILD_CHECK(forbid(SYS_io_uring_enter, error));
        }
        memset(buffers + i * BLOCK, (int)i, BLOCK);
        ops[i] = (fx_dev_op){FX_DEV_WRITE, 1, i * BLOCK, BLOCK, buffers + i * BLOCK, NULL};
        fx_dev_submit(queue, &ops[i]);
    }
    for (size_t i = 0; i < 40; i++) {
        fx_dev_op *op = fx_dev_reap(queue);
        CHILD_CHECK(op != NULL && op->result == 0);
        op->result = 1;
    }
    CHILD_CHECK(fx_dev_reap(queue) == NULL);
    CHILD_CHECK(do_one(queue, FX_DEV_SYNC, 0, NULL, 0) == 0);
    uint8_t *whole = blocks_alloc(40);
    CHILD_CHECK(do_one(queue, FX_DEV_READ, 0, whole, 40 * BLOCK) == 0);
    CHILD_CHECK(memcmp(whole, buffers, 40 * BLOCK) == 0);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void child_enter_eperm(const char *path, int backend) {
    (void)backend;
    late(path, EPERM);
}

static void child_enter_eagain(const char *path, int backend) {
    (void)backend;
    late(path, EAGAIN);
}

static void test_ring_refused(void **state) {
    (void)state;
    assert_true(in_child(child_setup_eperm, fx_temp_fresh("eperm"), 0));
    assert_true(in_child(child_setup_enosys, fx_temp_fresh("enosys"), 0));
    fx_dev_close(open_new(fx_temp_fresh("try"), FEOX_IO_URING));
    assert_true(in_child(child_register_eperm, fx_temp_fresh("register"), 0));
    assert_true(in_child(child_enter_eperm, fx_temp_fresh("enter-eperm"), 0));
    assert_true(in_child(child_enter_eagain, fx_temp_fresh("enter-eagain"), 0));
}

#define BOTH(f)                                                                                    \
    {#f "(uring)", f, NULL, NULL, &backend_uring}, {                                               \
#f "(threads)", f, NULL, NULL, &backend_threads                                            \
    }

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
        BOTH(test_refused_calls),
        BOTH(test_random_operations),
        cmocka_unit_test(test_faulty_transfers),
        BOTH(test_sticky_error),
        cmocka_unit_test(test_ring_not_inherited),
        BOTH(test_threads_take_turns),
        BOTH(test_dead_after_failed_write),
        BOTH(test_file_size_limit),
        BOTH(test_dead_after_failed_sync),
        cmocka_unit_test(test_no_threads),
        cmocka_unit_test(test_ring_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
