/* dev: what the door makes of each error that the system may answer with, where disk/dev does not
 * get that far: opening, growing, writing safely, the name, the ring. It is the status that whoever
 * opened can act on, what was there stays as it is, and the next try works.
 */
#define _GNU_SOURCE
#include "support/tap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/mem.h"
#include "feox.h"
#include "support/child.h"
#include "support/devs.h"
#include "support/temp.h"

#define BLOCK FX_BLOCK_SIZE
#define SIZE (16u * BLOCK)
#define MANY 300u

static struct {
    tap_call call;
    long answer;
    unsigned skip;  /* so many are let through before */
    unsigned times; /* so many are answered; UINT32_MAX: all */
    unsigned met;
    int fd; /* only of this one; -1: of any */
    bool only_by_path;
} plan;

static bool answers(const tap_event *event, long *result) {
    if (event->call != plan.call || (plan.fd >= 0 && event->fd != plan.fd) ||
        (plan.only_by_path && (event->path == NULL || event->path[0] == '\0'))) {
        return false;
    }
    if (plan.skip > 0) {
        plan.skip--;
        return false;
    }
    if (plan.met == plan.times) {
        return false;
    }
    plan.met++;
    *result = plan.answer;
    return true;
}

static void answer(tap_call call, long with, unsigned times) {
    plan.call = call;
    plan.answer = with;
    plan.skip = 0;
    plan.times = times;
    plan.met = 0;
    plan.fd = -1;
    plan.only_by_path = false;
    tap_set(answers);
}

static unsigned answered(void) {
    tap_set(NULL);
    return plan.met;
}

static fx_dev *make(const char *path) {
    fx_dev *dev = fx_devs_new(path, FEOX_IO_THREADS);
    assert_int_equal(fx_dev_grow(dev, SIZE), 0);
    assert_int_equal(fx_dev_file_sync_name(dev, path), FEOX_OK);
    return dev;
}

/* ---- Opening ---- */

typedef struct refusal {
    tap_call call;
    int error;
    feox_status status, read_only;
} refusal;

static void opening(void **state) {
    static const refusal refusals[] = {
        {TAP_OPEN, EACCES, FEOX_ERR_READ_ONLY, FEOX_ERR_IO},
        {TAP_OPEN, EPERM, FEOX_ERR_READ_ONLY, FEOX_ERR_IO},
        {TAP_OPEN, EROFS, FEOX_ERR_READ_ONLY, FEOX_ERR_IO},
        {TAP_OPEN, ENXIO, FEOX_ERR_NOT_FEOX, FEOX_ERR_NOT_FEOX},
        {TAP_OPEN, EISDIR, FEOX_ERR_NOT_FEOX, FEOX_ERR_NOT_FEOX},
        {TAP_OPEN, ENOMEM, FEOX_ERR_MEMORY, FEOX_ERR_MEMORY},
        {TAP_OPEN, ENOSPC, FEOX_ERR_SPACE, FEOX_ERR_SPACE},
        {TAP_OPEN, EDQUOT, FEOX_ERR_SPACE, FEOX_ERR_SPACE},
        {TAP_OPEN, EMFILE, FEOX_ERR_IO, FEOX_ERR_IO},
        {TAP_LOCK, ENOLCK, FEOX_ERR_UNSUPPORTED, FEOX_ERR_UNSUPPORTED},
        {TAP_LOCK, EOPNOTSUPP, FEOX_ERR_UNSUPPORTED, FEOX_ERR_UNSUPPORTED},
        {TAP_LOOK, EIO, FEOX_ERR_IO, FEOX_ERR_IO},
    };
    const char *path = fx_temp_fresh("refused");
    (void)state;
    fx_dev_close(make(path));
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const refusal *r = &refusals[i];
        for (unsigned how = 0; how < 3; how++) { /* to write, to read, a new one */
            const char *of = how < 2 ? path : fx_temp_fresh("new");
            fx_dev *dev = NULL;
            answer(r->call, -r->error, UINT32_MAX);
            feox_status status = fx_devs_open(of, FEOX_IO_THREADS, how == 2, how == 1, &dev);
            assert_true(answered() > 0);
            assert_int_equal(status, how == 1 ? r->read_only : r->status);
            assert_null(dev);
            assert_int_equal(fx_file_exists(of), how < 2);
        }
    }
    fx_dev *dev = NULL;
    assert_int_equal(fx_devs_open(path, -1, false, false, &dev), FEOX_ERR_ARGUMENT);
    assert_int_equal(fx_devs_open(path, FEOX_IO_THREADS, false, false, &dev), FEOX_OK);
    assert_true(fx_dev_size(dev) == SIZE);
    fx_dev_close(dev);
}

/* Its name leads elsewhere whenever it is looked at: that is not tried for ever. */
static void keeps_being_replaced(void **state) {
    const char *path = fx_temp_fresh("replaced");
    fx_dev *dev = NULL;
    (void)state;
    fx_dev_close(make(path));
    unsigned looks = UINT32_MAX;
    for (unsigned round = 0; round < 2; round++) {
        answer(TAP_LOOK, -ENOENT, looks);
        plan.only_by_path = true;
        assert_int_equal(fx_devs_open(path, FEOX_IO_THREADS, false, false, &dev), FEOX_ERR_BUSY);
        looks = answered() - 1; /* but for the last, which asks whether it is a link */
        assert_null(dev);
    }
    assert_int_equal(fx_devs_open(path, FEOX_IO_THREADS, false, false, &dev), FEOX_OK);
    fx_dev_close(dev);
}

/* Where standard input should be, and no other descriptor to be had. */
static void low_descriptor(const char *path, int backend) {
    fx_dev *dev = NULL;
    (void)close(0);
    answer(TAP_LOOK, -EMFILE, UINT32_MAX);
    plan.fd = 0;
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_ERR_IO);
    FX_CHILD_CHECK(answered() > 0);
    FX_CHILD_CHECK(!fx_file_exists(path));
}

/* The same for a ring: it is closed again. */
static void low_ring(const char *path, int backend) {
    fx_dev *dev = NULL;
    fx_dev_queue *queues[2] = {NULL, NULL};
    FX_CHILD_CHECK(fx_devs_open(path, backend, true, false, &dev) == FEOX_OK);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queues[0]) == 0);
    (void)close(0);
    answer(TAP_LOOK, -EMFILE, UINT32_MAX);
    plan.fd = 0;
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queues[1]) == -EMFILE);
    FX_CHILD_CHECK(answered() > 0);
    FX_CHILD_CHECK(fcntl(0, F_GETFD) == -1 && errno == EBADF);
    FX_CHILD_CHECK(fx_dev_queue_open(dev, &queues[1]) == 0);
    FX_CHILD_CHECK(fcntl(0, F_GETFD) == -1 && errno == EBADF);
    fx_dev_queue_close(queues[0]);
    fx_dev_queue_close(queues[1]);
    fx_dev_close(dev);
}

static void no_descriptor(void **state) {
    (void)state;
    assert_true(fx_child_run(low_descriptor, fx_temp_fresh("low"), FEOX_IO_THREADS));
    fx_dev_close(fx_devs_new(fx_temp_fresh("low"), FEOX_IO_URING)); /* or skipped */
    assert_true(fx_child_run(low_ring, fx_temp_fresh("low"), FEOX_IO_URING));
}

/* ---- Growing ---- */

static void growing(void **state) {
    static const int errors[][2] = {
        {EDQUOT, ENOSPC}, {EFBIG, ENOSPC}, {ENOSPC, ENOSPC}, {EIO, EIO}};
    static const int unable[] = {EOPNOTSUPP, ENOSYS};
    const char *path = fx_temp_fresh("grow");
    uint64_t size = SIZE;
    (void)state;
    fx_dev *dev = make(path);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        answer(TAP_RESERVE, -errors[i][0], UINT32_MAX);
        assert_int_equal(fx_dev_grow(dev, 2 * SIZE), -errors[i][1]);
        assert_true(answered() > 0);
        assert_true(fx_dev_size(dev) == SIZE);
    }
    assert_int_equal(fx_dev_grow(dev, UINT64_MAX - BLOCK + 1), -ENOSPC);
    answer(TAP_RESERVE, -EINTR, 2);
    assert_int_equal(fx_dev_grow(dev, size += BLOCK), 0);
    assert_int_equal(answered(), 2);
    /* A file system that cannot reserve gets zeros. */
    for (size_t i = 0; i < 2; i++) {
        answer(TAP_RESERVE, -unable[i], UINT32_MAX);
        assert_int_equal(fx_dev_grow(dev, size += 3u << 20), 0);
        assert_int_equal(answered(), 1);
        assert_true(fx_dev_size(dev) == size);
        fx_mem_fail_after(1, false);
        answer(TAP_RESERVE, -unable[i], UINT32_MAX);
        assert_int_equal(fx_dev_grow(dev, size + BLOCK), -ENOMEM);
        fx_mem_fail_after(0, false);
        assert_true(answered() > 0 && fx_dev_size(dev) == size);
    }
    fx_dev_close(dev);
}

static bool cannot_fill(const tap_event *event, long *result) {
    *result = event->call == TAP_RESERVE ? -EOPNOTSUPP : -ENOSPC;
    return event->call == TAP_RESERVE || event->call == TAP_WRITE;
}

static void cannot_be_filled(void **state) {
    const char *path = fx_temp_fresh("fill");
    (void)state;
    fx_dev *dev = make(path);
    tap_set(cannot_fill);
    assert_int_equal(fx_dev_grow(dev, 3u << 20), -ENOSPC);
    tap_set(NULL);
    assert_true(fx_dev_size(dev) == SIZE);
    assert_int_equal(fx_dev_grow(dev, 3u << 20), 0);
    fx_dev_close(dev);
}

/* ---- Transfers ---- */

/* A write that is to be safe at once is a write and a flush where the system cannot do that; where
 * direct I/O is refused, any I/O; what comes in part goes on where it stopped. */
static void transfers(void **state) {
    static const int unable[] = {EINVAL, EOPNOTSUPP, ENOSYS};
    uint8_t *bytes = fx_devs_blocks(4);
    uint8_t *found = fx_devs_blocks(4);
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const char *path = fx_temp_fresh("safe");
        fx_dev *dev = make(path);
        fx_dev_queue *queue = NULL;
        assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
        memset(bytes, (int)i + 1, 4 * BLOCK);
        answer(TAP_WRITE_SYNC, -unable[i], UINT32_MAX);
        assert_int_equal(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, bytes, 4 * BLOCK), 0);
        assert_true(answered() > 0);
        answer(TAP_READ, 100, 1);
        plan.times = 0; /* counted only */
        assert_int_equal(fx_dev_read(dev, 0, found, 4 * BLOCK), 0);
        assert_memory_equal(found, bytes, 4 * BLOCK);
        tap_set(NULL);
        answer(TAP_DATA_SYNC, -EINTR, 3);
        assert_int_equal(fx_devs_do(queue, FX_DEV_SYNC, 0, NULL, 0), 0);
        assert_true(answered() <= 3);
        /* Neither: the device is dead. */
        answer(TAP_WRITE, -EIO, UINT32_MAX);
        assert_int_equal(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, bytes, BLOCK), -EIO);
        (void)answered();
        assert_int_equal(fx_devs_do(queue, FX_DEV_WRITE_SYNC, 0, bytes, BLOCK), -EIO);
        fx_dev_queue_close(queue);
        fx_dev_close(dev);
    }
    free(bytes);
    free(found);
}

/* The first half comes alone. */
static bool halves(const tap_event *event, long *result) {
    if (event->call != TAP_READ || event->size <= 512) {
        return false;
    }
    *result = plan.answer == 0 ? -EINVAL : tap_do(event, event->size / 2 / 8 * 8);
    plan.answer = 1;
    return true;
}

static void short_transfers(void **state) {
    const char *path = fx_temp_fresh("short");
    uint8_t *found = fx_devs_blocks(4);
    (void)state;
    fx_dev *dev = make(path);
    for (unsigned direct = 0; direct < 2; direct++) {
        memset(found, 1, 4 * BLOCK);
        plan.answer = direct; /* first with direct I/O refused, if it was on */
        tap_set(halves);
        int result = fx_dev_read(dev, 0, found, 4 * BLOCK);
        tap_set(NULL);
        /* Refused where it was not even direct, it is an error. */
        assert_true(result == 0 || (direct == 0 && result == -EINVAL));
        assert_true(result != 0 || (found[0] == 0 && found[4 * BLOCK - 1] == 0));
    }
    free(found);
    fx_dev_close(dev);
}

/* ---- The name ---- */

static void names(void **state) {
    const char *path = fx_temp_fresh("name");
    (void)state;
    fx_dev *dev = fx_devs_new(path, FEOX_IO_THREADS);
    answer(TAP_NAME_SYNC, -EIO, 1);
    assert_int_equal(fx_dev_file_sync_name(dev, path), FEOX_ERR_IO);
    assert_int_equal(answered(), 1);
    answer(TAP_NAME_SYNC, -EINTR, 2);
    assert_int_equal(fx_dev_file_sync_name(dev, path), FEOX_OK);
    assert_int_equal(answered(), 2);
    answer(TAP_NAME_SYNC, -EINVAL, 1); /* it has nothing to sync there */
    assert_int_equal(fx_dev_file_sync_name(dev, path), FEOX_OK);
    assert_int_equal(answered(), 1);
    /* A directory that cannot be found, or is the root. */
    assert_int_equal(fx_dev_file_sync_name(dev, "/none/such/name"), FEOX_OK);
    assert_int_equal(fx_dev_file_sync_name(dev, "/tmp"), FEOX_OK);
    fx_dev_close(dev);
    /* Discarding a file whose name is gone, or leads to another one, removes nothing. */
    for (unsigned other = 0; other < 2; other++) {
        path = fx_temp_fresh("discard");
        dev = fx_devs_new(path, FEOX_IO_THREADS);
        fx_file_remove(path);
        if (other == 1) {
            fx_file_write(path, "other", 5);
        }
        fx_dev_file_discard(dev, path);
        assert_int_equal(fx_file_exists(path), other == 1);
    }
}

static fx_dev *inherited;

static void discard_inherited(const char *path, int number) {
    (void)number;
    fx_dev_file_discard(inherited, path);
}

/* A child has nothing to discard. */
static void child_discards(void **state) {
    const char *path = fx_temp_fresh("inherited");
    fx_dev *again = NULL;
    (void)state;
    inherited = fx_devs_new(path, FEOX_IO_THREADS);
    assert_true(fx_child_run(discard_inherited, path, 0));
    assert_true(fx_file_exists(path));
    assert_int_equal(fx_devs_open(path, FEOX_IO_THREADS, false, false, &again), FEOX_ERR_BUSY);
    fx_dev_file_discard(inherited, path);
    assert_false(fx_file_exists(path));
}

/* ---- The ring ---- */

/* More than it holds, an empty one among them, while the system takes nothing at first. */
static void busy_ring(void **state) {
    static const int refused[] = {-EBUSY, -ENOMEM, -EAGAIN, -EINTR, 0, -EIO};
    static fx_dev_op ops[MANY];
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const char *path = fx_temp_fresh("ring");
        fx_dev *dev = fx_devs_new(path, FEOX_IO_URING);
        fx_dev_queue *queue = NULL;
        uint8_t *blocks = fx_devs_blocks(MANY);
        assert_int_equal(fx_dev_grow(dev, (uint64_t)MANY * BLOCK), 0);
        assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
        memset(blocks, 0xee, (size_t)MANY * BLOCK);
        answer(TAP_SUBMIT, refused[i], 3);
        for (unsigned k = 0; k < MANY; k++) {
            size_t size = k % 7 == 3 ? 0 : BLOCK;
            ops[k] = (fx_dev_op){.kind = FX_DEV_READ,
                                 .offset = (uint64_t)k * BLOCK,
                                 .size = size,
                                 .buffer = blocks + (size_t)k * BLOCK};
            fx_dev_submit(queue, &ops[k]);
        }
        unsigned reaped = 0;
        for (fx_dev_op *op; (op = fx_dev_reap(queue)) != NULL; reaped++) {
            assert_int_equal(op->result, 0);
            const uint8_t *at = op->buffer;
            assert_int_equal(at[0], op->size == 0 ? 0xee : 0);
        }
        assert_true(answered() > 0);
        assert_int_equal(reaped, MANY);
        fx_dev_queue_close(queue);
        fx_dev_close(dev);
        free(blocks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening),          cmocka_unit_test(keeps_being_replaced),
        cmocka_unit_test(no_descriptor),    cmocka_unit_test(growing),
        cmocka_unit_test(cannot_be_filled), cmocka_unit_test(transfers),
        cmocka_unit_test(short_transfers),  cmocka_unit_test(names),
        cmocka_unit_test(child_discards),   cmocka_unit_test(busy_ring)};
    return cmocka_run_group_tests_name("disk/dev_refused", tests, NULL, NULL);
}
