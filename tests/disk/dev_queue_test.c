/* dev: both queues, against a model in memory, with transfers that are interrupted and cut short,
 * threads that take turns, errors that must stick, and systems that refuse io_uring early or late.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/atomic.h"
#include "base/rng.h"
#include "disk/dev_file.h"
#include "support/child.h"
#include "support/devs.h"
#include "support/temp.h"

#define BLOCK ((size_t)FX_BLOCK_SIZE)

static int backend_uring = FEOX_IO_URING;
static int backend_threads = FEOX_IO_THREADS;

/* ---- A system with faults ------------------------------------------------------------------- */

static bool faults;
static uint64_t fault_calls;
static uint64_t misaligned_direct;

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

/* These take the place of the C library's functions in the whole program. */
ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
    size_t allowed = size > 0 ? fault(fd, size, offset) : 0;
    return allowed == 0 && size > 0 ? -1 : syscall(SYS_pread64, fd, buffer, allowed, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    size_t allowed = size > 0 ? fault(fd, size, offset) : 0;
    return allowed == 0 && size > 0 ? -1 : syscall(SYS_pwrite64, fd, buffer, allowed, offset);
}

ssize_t pwritev2(int fd, const struct iovec *vectors, int count, off_t offset, int flags) {
    struct iovec vector = vectors[0];
    vector.iov_len = vector.iov_len > 0 ? fault(fd, vector.iov_len, offset) : 0;
    return vector.iov_len == 0 && vectors[0].iov_len > 0
               ? -1
               : syscall(SYS_pwritev2, fd, &vector, count, offset, 0L, flags);
}

static fx_dev *inherited;

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
        fx_dev_kind write = fx_rng_below(&run->rng, 16) == 0 ? FX_DEV_WRITE_SYNC : FX_DEV_WRITE;
        *op = (fx_dev_op){
            writing ? write : FX_DEV_READ, 1, first * BLOCK, count * BLOCK, buffer, NULL};
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
    if (op->kind == FX_DEV_WRITE || op->kind == FX_DEV_WRITE_SYNC) {
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
    run->model = fx_devs_blocks(FILE_BLOCKS);
    run->buffers = fx_devs_blocks((size_t)OPS_MAX * OP_BLOCKS_MAX);
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
        run->wrong += fx_devs_do(run->queue, FX_DEV_SYNC, 0, NULL, 0) != 0;
        fx_dev_queue_close(run->queue);
        uint8_t *whole = fx_devs_blocks(FILE_BLOCKS);
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
    fx_dev *dev = fx_devs_new(fx_temp_fresh("random"), backend);
    assert_int_equal(random_operations(dev, fx_test_seed(), 3000), 0);
    fx_dev_close(dev);
}

/* Interrupted and short transfers are resumed, on block boundaries while I/O is direct. */
static void test_faulty_transfers(void **state) {
    (void)state;
    fx_dev *dev = fx_devs_new(fx_temp_fresh("faults"), FEOX_IO_THREADS);
    fx_store_relaxed(&fault_calls, 0u);
    fx_store_release(&faults, true);
    unsigned wrong = random_operations(dev, fx_test_seed(), 2000);
    fx_store_release(&faults, false);
    assert_int_equal(wrong, 0);
    assert_true(fx_load_relaxed(&fault_calls) > 2000);
    assert_int_equal(fx_load_relaxed(&misaligned_direct), 0);
    fx_dev_close(dev);
}

/* What the system tells about one flush only, the device remembers for all. */
static void test_sticky_error(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = fx_devs_new(fx_temp_fresh("sticky"), backend);
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
    FX_CHILD_CHECK(!ring_mapped());
    fx_dev_close(inherited);
}

static void test_ring_not_inherited(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("ring");
    fx_dev *dev = fx_devs_new(path, FEOX_IO_URING);
    inherited = dev;
    assert_true(ring_mapped());
    assert_true(fx_child_run(child_has_no_ring, path, 0));
    fx_dev_queue *queue = NULL;
    assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
    assert_int_equal(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0), 0);
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
        shared->wrong +=
            fx_devs_do(shared->queue, FX_DEV_WRITE, number * BLOCK, buffer, BLOCK) != 0;
        shared->wrong += fx_devs_do(shared->queue, FX_DEV_SYNC, 0, NULL, 0) != 0;
        (void)pthread_mutex_unlock(&shared->lock);
    }
    free(buffer);
    return NULL;
}

static void test_threads_take_turns(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = fx_devs_new(fx_temp_fresh("turns"), backend);
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
    uint8_t *buffer = fx_devs_blocks(100);
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
    fx_dev_close(fx_devs_new(path, backend));
    fx_file_truncate(path, 8 * BLOCK);
    fx_dev *dev = NULL;
    fx_dev_queue *first = NULL;
    fx_dev_queue *second = NULL;
    void *buffer = fx_devs_blocks(8);
    assert_int_equal(fx_devs_open(path, backend, false, true, &dev), FEOX_OK);
    assert_int_equal(fx_dev_queue_open(dev, &first), 0);
    assert_int_equal(fx_dev_queue_open(dev, &second), 0);
    assert_int_equal(fx_devs_do(first, FX_DEV_SYNC, 0, NULL, 0), 0);
    assert_int_equal(fx_devs_do(first, FX_DEV_WRITE, 0, buffer, BLOCK), -EBADF);
    for (int i = 0; i < 2; i++) {
        fx_dev_queue *queue = i == 0 ? first : second;
        assert_int_equal(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0), -EBADF);
        assert_int_equal(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK), -EBADF);
        assert_int_equal(fx_devs_do(queue, FX_DEV_READ, 0, buffer, BLOCK), -EBADF);
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
    void *buffer = fx_devs_blocks(1);
    FX_CHILD_CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    struct rlimit limit = {8 * BLOCK, 8 * BLOCK};
    FX_CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    FX_CHILD_CHECK(fx_dev_grow(dev, 32 * BLOCK) == -ENOSPC);
    FX_CHILD_CHECK(fx_dev_size(dev) == 16 * BLOCK);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 7 * BLOCK, buffer, BLOCK) == 0);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == 0);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 8 * BLOCK, buffer, BLOCK) == -EFBIG);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == -EFBIG);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void test_file_size_limit(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(fx_devs_new(fx_temp_fresh("try"), backend));
    assert_true(fx_child_run(child_file_size_limit, fx_temp_fresh("limit"), backend));
}

static void child_sync_fails(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    void *buffer = fx_devs_blocks(1);
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fdatasync, EIO));
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == -EIO);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == -EIO);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == -EIO);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void test_dead_after_failed_sync(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(fx_devs_new(fx_temp_fresh("try"), backend));
    assert_true(fx_child_run(child_sync_fails, fx_temp_fresh("sync"), backend));
}

/* A read that the system cuts short because the file ends there is no success, however it was made.
 */
static void test_behind_the_end(void **state) {
    int backend = *(int *)*state;
    fx_dev *dev = fx_devs_new(fx_temp_fresh("end"), backend);
    fx_dev_queue *queue = NULL;
    uint8_t *buffer = fx_devs_blocks(256);
    assert_int_equal(fx_dev_grow(dev, 256 * BLOCK), 0);
    assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
    for (size_t there = 0; there <= 256; there += 32) {
        uint64_t offset = (256 - there) * BLOCK;
        int result = fx_devs_do(queue, FX_DEV_READ, offset, buffer, 256 * BLOCK);
        assert_int_equal(result, there == 256 ? 0 : -EIO);
    }
    free(buffer);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

/* `error` from the one call that writes and flushes: a refusal is worked around, a failure kills.
 */
static void child_no_safe_write(const char *path, int backend, int error) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    uint8_t *buffer = fx_devs_blocks(2);
    bool refusal = error != EIO;
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_pwritev2, error));
    for (unsigned i = 0; i < 3; i++) {
        memset(buffer, 'x', BLOCK);
        int result = fx_devs_do(queue, FX_DEV_WRITE_SYNC, i * BLOCK, buffer, BLOCK);
        FX_CHILD_CHECK(result == (refusal ? 0 : -EIO));
        FX_CHILD_CHECK(fx_dev_read(dev, i * BLOCK, buffer + BLOCK, BLOCK) == 0);
        FX_CHILD_CHECK(!refusal || memcmp(buffer, buffer + BLOCK, BLOCK) == 0);
    }
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == (refusal ? 0 : -EIO));
    if (refusal) { /* then both parts of it must succeed */
        FX_CHILD_CHECK(fx_child_forbid(SYS_fdatasync, EIO));
        FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, buffer, BLOCK) == -EIO);
        FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == -EIO);
    }
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void child_safe_write_refused(const char *path, int backend) {
    child_no_safe_write(path, backend, EOPNOTSUPP);
}

static void child_safe_write_unknown(const char *path, int backend) {
    child_no_safe_write(path, backend, ENOSYS);
}

static void child_safe_write_fails(const char *path, int backend) {
    child_no_safe_write(path, backend, EIO);
}

static void test_safe_writes(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(fx_devs_new(fx_temp_fresh("try"), backend));
    assert_true(fx_child_run(child_safe_write_refused, fx_temp_fresh("safe"), backend));
    assert_true(fx_child_run(child_safe_write_unknown, fx_temp_fresh("safe"), backend));
    assert_true(fx_child_run(child_safe_write_fails, fx_temp_fresh("safe"), backend));
}

/* No space for a write: that one did not happen, and the device lives. */
static void child_no_space_to_write(const char *path, int backend, int error) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    uint8_t *buffer = fx_devs_blocks(1);
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_pwrite64, error));
    for (unsigned i = 0; i < 2; i++) {
        FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == -ENOSPC);
        FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == 0);
        FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, buffer, BLOCK) == 0);
        FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_READ, 0, buffer, BLOCK) == 0);
    }
    FX_CHILD_CHECK(fx_dev_grow(dev, 20 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_pwritev2, error));
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, buffer, BLOCK) == -ENOSPC);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, buffer, BLOCK) == -ENOSPC);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == 0);
    /* What waited for a flush may be what found no space. */
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == -ENOSPC);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, buffer, BLOCK) == -EIO);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == -EIO);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void child_device_full(const char *path, int backend) {
    child_no_space_to_write(path, backend, ENOSPC);
}

static void child_over_quota(const char *path, int backend) {
    child_no_space_to_write(path, backend, EDQUOT);
}

/* No space for what was written before is a flush that failed. */
static void child_no_space_to_sync(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *queue = NULL;
    uint8_t *buffer = fx_devs_blocks(1);
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_grow(dev, 16 * BLOCK) == 0);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == 0);
    FX_CHILD_CHECK(fx_child_forbid(SYS_fdatasync, ENOSPC));
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == -EIO);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_WRITE, 0, buffer, BLOCK) == -EIO);
    FX_CHILD_CHECK(fx_dev_grow(dev, 20 * BLOCK) == -EIO);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
}

static void test_no_space(void **state) {
    int backend = *(int *)*state;
    fx_dev_close(fx_devs_new(fx_temp_fresh("try"), backend));
    assert_true(fx_child_run(child_device_full, fx_temp_fresh("full"), backend));
    assert_true(fx_child_run(child_over_quota, fx_temp_fresh("quota"), backend));
    assert_true(fx_child_run(child_no_space_to_sync, fx_temp_fresh("full-sync"), backend));
}

static void child_no_threads(const char *path, int backend) {
    fx_dev *dev = NULL;
    FX_CHILD_CHECK(fx_child_forbid(SYS_clone, EAGAIN) && fx_child_forbid(SYS_clone3, EAGAIN));
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(random_operations(dev, 1, 300) == 0);
    fx_dev_close(dev);
}

static void test_no_threads(void **state) {
    (void)state;
    assert_true(fx_child_run(child_no_threads, fx_temp_fresh("alone"), FEOX_IO_THREADS));
}

/* ---- io_uring refused ----------------------------------------------------------------------- */

static void refused(const char *path, int call, int error) {
    fx_dev *dev = NULL;
    FX_CHILD_CHECK(fx_child_forbid(call, error));
    FX_CHILD_CHECK(fx_devs_open(path, FEOX_IO_URING, true, false, &dev) == FEOX_ERR_UNSUPPORTED);
    FX_CHILD_CHECK(dev == NULL && !fx_file_exists(path));
    fx_file_write(path, "mine", 4);
    FX_CHILD_CHECK(fx_devs_open(path, FEOX_IO_URING, true, false, &dev) == FEOX_ERR_UNSUPPORTED);
    FX_CHILD_CHECK(fx_file_equals(path, "mine", 4));
    fx_file_write(path, "", 0);
    FX_CHILD_CHECK(fx_devs_open(path, FEOX_IO_AUTO, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(strcmp(dev->vtable->name, "threads") == 0);
    FX_CHILD_CHECK(random_operations(dev, 1, 200) == 0);
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
    FX_CHILD_CHECK(fx_devs_open(path, FEOX_IO_URING, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(random_operations(dev, 1, 200) == 0);
    fx_dev_queue *queue = NULL;
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queue) == 0);
    uint8_t *buffers = fx_devs_blocks(40);
    fx_dev_op ops[40];
    for (size_t i = 0; i < 40; i++) {
        if (i == 20) {
            FX_CHILD_CHECK(fx_child_forbid(SYS_io_uring_enter, error));
        }
        memset(buffers + i * BLOCK, (int)i, BLOCK);
        ops[i] = (fx_dev_op){FX_DEV_WRITE, 1, i * BLOCK, BLOCK, buffers + i * BLOCK, NULL};
        fx_dev_submit(queue, &ops[i]);
    }
    for (size_t i = 0; i < 40; i++) {
        fx_dev_op *op = fx_dev_reap(queue);
        FX_CHILD_CHECK(op != NULL && op->result == 0);
        op->result = 1;
    }
    FX_CHILD_CHECK(fx_dev_reap(queue) == NULL);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0) == 0);
    uint8_t *whole = fx_devs_blocks(40);
    FX_CHILD_CHECK(fx_devs_do(queue, FX_DEV_READ, 0, whole, 40 * BLOCK) == 0);
    FX_CHILD_CHECK(memcmp(whole, buffers, 40 * BLOCK) == 0);
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

/* The first queue has the ring that open made; the next one cannot have any. */
static void child_second_ring(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *first = NULL;
    fx_dev_queue *second = NULL;
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_child_forbid(SYS_io_uring_setup, ENOMEM));
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &first) == 0);
    FX_CHILD_CHECK(fx_devs_do(first, FX_DEV_SYNC, 0, NULL, 0) == 0);
    if (backend == FEOX_IO_URING) {
        FX_CHILD_CHECK(fx_dev_queue_open(dev, &second) == -ENOMEM);
        return;
    }
    FX_CHILD_CHECK(random_operations(dev, 1, 100) == 0);
    fx_dev_queue_close(first);
    fx_dev_close(dev);
}

static void test_ring_refused(void **state) {
    (void)state;
    assert_true(fx_child_run(child_setup_eperm, fx_temp_fresh("eperm"), 0));
    assert_true(fx_child_run(child_setup_enosys, fx_temp_fresh("enosys"), 0));
    fx_dev_close(fx_devs_new(fx_temp_fresh("try"), FEOX_IO_URING));
    assert_true(fx_child_run(child_register_eperm, fx_temp_fresh("register"), 0));
    assert_true(fx_child_run(child_second_ring, fx_temp_fresh("second"), FEOX_IO_URING));
    assert_true(fx_child_run(child_second_ring, fx_temp_fresh("second"), FEOX_IO_AUTO));
    assert_true(fx_child_run(child_enter_eperm, fx_temp_fresh("enter-eperm"), 0));
    assert_true(fx_child_run(child_enter_eagain, fx_temp_fresh("enter-eagain"), 0));
}

/* clang-format off */
#define BOTH(f) \
    {#f "(uring)", f, NULL, NULL, &backend_uring}, \
    {#f "(threads)", f, NULL, NULL, &backend_threads}
/* clang-format on */

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_random_operations),
        cmocka_unit_test(test_faulty_transfers),
        BOTH(test_sticky_error),
        cmocka_unit_test(test_ring_not_inherited),
        BOTH(test_threads_take_turns),
        BOTH(test_dead_after_failed_write),
        BOTH(test_file_size_limit),
        BOTH(test_dead_after_failed_sync),
        BOTH(test_behind_the_end),
        BOTH(test_safe_writes),
        BOTH(test_no_space),
        cmocka_unit_test(test_no_threads),
        cmocka_unit_test(test_ring_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
