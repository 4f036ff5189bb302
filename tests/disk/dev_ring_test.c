/* dev: whatever the ring says of a transfer. After an interruption or a part of it the rest comes,
 * from the place that was reached; an error is an error.
 */
#define _GNU_SOURCE
#include "support/tap.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "support/devs.h"
#include "support/temp.h"

enum { SIZE = 64 * (int)FX_BLOCK_SIZE };

/* Of the first transfer: -errno, or so many bytes of it, which are transferred then. */
static const long answers[] = {-EINTR, -EAGAIN, -ECANCELED, -EINVAL,    0,    512,
                               4096,   4608,    32768,      SIZE - 512, -EIO, -ENOSPC};

static long answer;
static bool answered;

static bool answer_once(const tap_event *e, long *result) {
    if ((e->call != TAP_RING_READ && e->call != TAP_RING_WRITE) || answered) {
        return false;
    }
    answered = true;
    *result = answer > 0 ? tap_do(e, (size_t)answer) : answer;
    return true;
}

static int wanted(void) {
    return answer == -EIO || answer == -ENOSPC ? (int)answer : 0;
}

static int transfer(fx_dev *dev, fx_dev_kind kind, void *buffer) {
    fx_dev_queue *queue = NULL;
    assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
    answered = false;
    tap_set(answer_once);
    int result = fx_devs_do(queue, kind, 0, buffer, SIZE);
    tap_set(NULL);
    assert_true(answered);
    fx_dev_queue_close(queue);
    return result;
}

static void fill(uint8_t *buffer, unsigned seed) {
    for (unsigned i = 0; i < SIZE; i++) {
        buffer[i] = (uint8_t)(i * 7 + (i >> 8) * 3 + seed);
    }
}

static void test_transfers(void **state) {
    (void)state;
    uint8_t *bytes = fx_devs_blocks(SIZE / FX_BLOCK_SIZE);
    uint8_t *buffer = fx_devs_blocks(SIZE / FX_BLOCK_SIZE);
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const char *path = fx_temp_fresh("ring");
        fx_dev *dev = fx_devs_new(path, FEOX_IO_URING);
        answer = answers[i];
        assert_int_equal(fx_dev_grow(dev, SIZE), 0);
        fill(bytes, i);
        assert_int_equal(transfer(dev, FX_DEV_WRITE, bytes), wanted());
        fx_dev_close(dev);
        if (wanted() == 0) {
            assert_true(fx_file_equals(path, bytes, SIZE));
        }
        fx_file_write(path, bytes, SIZE);
        dev = fx_devs_new(path, FEOX_IO_URING);
        memset(buffer, 0xee, SIZE);
        assert_int_equal(transfer(dev, FX_DEV_READ, buffer), wanted());
        assert_true(wanted() != 0 || memcmp(buffer, bytes, SIZE) == 0);
        fx_dev_close(dev);
        fx_file_remove(path);
    }
    free(buffer);
    free(bytes);
}

/* ---- Reads that are submitted together ---- */

enum { READS = 80 }; /* more than a ring holds */

static unsigned calls;
static unsigned refuse_from; /* of the calls that submit, counted from 0 ... */
static unsigned refuse_upto;
static int refusal;

static bool refuse_some(const tap_event *e, long *result) {
    if (e->call != TAP_SUBMIT || calls++ < refuse_from || calls > refuse_upto) {
        return false;
    }
    *result = refusal;
    return true;
}

static void read_all(fx_dev *dev, const uint8_t *bytes) {
    static fx_dev_op ops[READS];
    uint8_t *buffer = fx_devs_blocks(READS);
    bool seen[READS] = {false};
    fx_dev_queue *queue = NULL;
    assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
    calls = 0;
    tap_set(refuse_some);
    for (unsigned round = 0; round < 2; round++) { /* and what is left of it serves again */
        memset(seen, 0, sizeof seen);
        memset(buffer, 0xee, READS * (size_t)FX_BLOCK_SIZE);
        for (unsigned i = 0; i < READS; i++) {
            ops[i] = (fx_dev_op){.kind = FX_DEV_READ,
                                 .result = 1,
                                 .offset = (READS - 1 - i) * (uint64_t)FX_BLOCK_SIZE,
                                 .size = FX_BLOCK_SIZE,
                                 .buffer = buffer + i * (size_t)FX_BLOCK_SIZE};
            fx_dev_submit(queue, &ops[i]);
        }
        for (unsigned i = 0; i < READS; i++) {
            const fx_dev_op *op = fx_dev_reap(queue);
            assert_non_null(op);
            assert_int_equal(op->result, 0);
            assert_false(seen[op - ops]);
            seen[op - ops] = true;
            assert_true(memcmp(op->buffer, bytes + op->offset, FX_BLOCK_SIZE) == 0);
        }
        assert_null(fx_dev_reap(queue));
    }
    tap_set(NULL);
    fx_dev_queue_close(queue);
    free(buffer);
}

/* The system takes fewer entries than it is offered, refuses for a while, or for good. */
static void test_together(void **state) {
    (void)state;
    static const unsigned from[] = {0, 1, 31, 64, 79, 100};
    static const int refusals[] = {-EPERM, -EAGAIN, -EINTR, 0};
    const char *path = fx_temp_fresh("ring");
    uint8_t *bytes = fx_devs_blocks(READS);
    for (size_t i = 0; i < READS * (size_t)FX_BLOCK_SIZE; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / FX_BLOCK_SIZE * 3);
    }
    fx_file_write(path, bytes, READS * (size_t)FX_BLOCK_SIZE);
    fx_dev *dev = fx_devs_new(path, FEOX_IO_URING);
    for (unsigned i = 0; i < sizeof from / sizeof from[0]; i++) {
        for (unsigned j = 0; j < sizeof refusals / sizeof refusals[0]; j++) {
            refuse_from = from[i];
            refusal = refusals[j];
            refuse_upto = refuse_from + 3;
            read_all(dev, bytes);
            refuse_upto = UINT32_MAX;
            read_all(dev, bytes);
        }
    }
    fx_dev_close(dev);
    fx_file_remove(path);
    free(bytes);
}

/* ---- Writes that are submitted together ---- */

/* More than the ring holds, and nobody reaps meanwhile. */
static void write_all(const char *path, const uint8_t *bytes) {
    static fx_dev_op ops[READS];
    bool seen[READS] = {false};
    fx_dev *dev = fx_devs_new(path, FEOX_IO_URING);
    fx_dev_queue *queue = NULL;
    assert_int_equal(fx_dev_grow(dev, READS * (uint64_t)FX_BLOCK_SIZE), 0);
    assert_int_equal(fx_dev_queue_open(dev, &queue), 0);
    calls = 0;
    tap_set(refuse_some);
    for (unsigned i = 0; i < READS; i++) {
        uint64_t offset = (i * 7 % READS) * (uint64_t)FX_BLOCK_SIZE;
        ops[i] = (fx_dev_op){.kind = FX_DEV_WRITE,
                             .result = 1,
                             .offset = offset,
                             .size = FX_BLOCK_SIZE,
                             .buffer = (void *)(uintptr_t)(bytes + offset)};
        fx_dev_submit(queue, &ops[i]);
    }
    for (unsigned i = 0; i < READS; i++) {
        const fx_dev_op *op = fx_dev_reap(queue);
        assert_non_null(op);
        assert_int_equal(op->result, 0);
        assert_false(seen[op - ops]);
        seen[op - ops] = true;
    }
    assert_null(fx_dev_reap(queue));
    assert_true(calls > 0);
    tap_set(NULL);
    fx_dev_queue_close(queue);
    fx_dev_close(dev);
    assert_true(fx_file_equals(path, bytes, READS * (size_t)FX_BLOCK_SIZE));
    fx_file_remove(path);
}

static void test_writes_together(void **state) {
    (void)state;
    static const unsigned from[] = {0, 1, 40, 62, 63, UINT32_MAX};
    uint8_t *bytes = fx_devs_blocks(READS);
    for (unsigned i = 0; i < sizeof from / sizeof from[0]; i++) {
        for (size_t k = 0; k < READS * (size_t)FX_BLOCK_SIZE; k++) {
            bytes[k] = (uint8_t)(k * 11 + k / FX_BLOCK_SIZE * 5 + i);
        }
        refuse_from = from[i];
        refuse_upto = UINT32_MAX;
        refusal = -EPERM;
        write_all(fx_temp_fresh("ring"), bytes);
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transfers),
                                       cmocka_unit_test(test_together),
                                       cmocka_unit_test(test_writes_together)};
    return cmocka_run_group_tests_name("disk/dev_ring", tests, NULL, NULL);
}
