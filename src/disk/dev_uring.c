/* dev_uring: the queue over io_uring. One small ring per queue; a transfer goes to the device when
 * it is submitted, at most RING_DEPTH at a time, the others wait in a list. Small reads wait there
 * until somebody reaps, and go in one call: 32 calls cost more than the device takes for 32 blocks.
 *
 * Why this way:
 * 1. No SINGLE_ISSUER and so no DEFER_TASKRUN, although they are faster: a queue has one user at a
 *    time but not one thread for life (durable writers take turns as leader), and the system
 *    answers EEXIST to every other thread. No COOP_TASKRUN: completions are finished in the context
 *    of the thread that submitted, and without an interrupt that happens when it next enters the
 *    system; a different thread that reaps would wait for that, without bound. The plain ring
 *    interrupts the submitter. No SQPOLL: its thread burns a processor.
 * 2. What the ring does not finish by itself (short, EINTR, EAGAIN, ECANCELED because the
 *    submitting thread ended, EINVAL because of direct I/O) is finished by plain calls in reap.
 *    That is rare, and it keeps one loop for all the odd cases, in dev_posix.c.
 * 3. A ring that refuses submissions (a seccomp filter that came later, memory that does not come
 *    back) is given up: what it holds is drained, everything else is done by plain calls. An
 *    operation is never both in the ring and done by hand, because the entry is taken back first.
 * 4. A SYNC does not go through the ring: the system would hand it to a worker thread of its own,
 *    which has to be had first (RLIMIT_NPROC) and gains nothing, because whoever reaps is going to
 *    wait anyway. They call fdatasync. Write and flush of 4 KiB: 70-75 us, with the ring 70-80. For
 *    the same reason a WRITE_SYNC does not, nor a small transfer that is alone when it is waited
 *    for: through the ring it takes 8 us more (on tmpfs 13 instead of 5 for a whole small group).
 * 5. The ring's memory is not inherited by forked children (dontfork): a child that submitted would
 *    put completions into its parent's ring.
 *
 * Invariants: an operation is in `waiting`, in `syncs`, in one slot, or in `done`. Free slots are
 * chained. The completion side has at least as many entries as there are slots, so it never
 * overflows. Ordering: a SYNC runs after it was submitted, so it covers what was reaped before; it
 * is not ordered behind writes that are still under way. (Ring design: Axboe, "Efficient IO with
 * io_uring", 2019.)
 */
#define _GNU_SOURCE
#include "disk/dev_file.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"

#define RING_DEPTH 64u
#define NO_SLOT RING_DEPTH
/* One transfer of the ring; the rest of a longer one is resumed. */
#define RING_TRANSFER_MAX ((size_t)1 << 30)
/* A smaller transfer is not worth a ring if there is only one. */
#define ALONE_MAX ((size_t)64 << 10)
/* How often a refused submission is repeated, a millisecond apart. */
#define SUBMIT_ATTEMPTS_MAX 50u

typedef struct ring_slot {
    fx_dev_op *op;
    unsigned next_free;
} ring_slot;

typedef struct ring_queue {
    fx_dev_file_queue base;
    struct io_uring ring;
    fx_dev_list waiting; /* transfers without a slot */
    fx_dev_list syncs;   /* what flushes, for the next reap */
    fx_dev_list done;
    unsigned in_ring;
    unsigned first_free;
    bool broken; /* nothing is submitted any more */
    ring_slot slots[RING_DEPTH];
} ring_queue;

static ring_queue *ring_of(fx_dev_queue *queue) {
    return (ring_queue *)(void *)queue;
}

static fx_dev_file *file_of(const ring_queue *q) {
    return fx_dev_file_of(q->base.base.dev);
}

static void pause_briefly(long nanoseconds) {
    struct timespec time = {0, nanoseconds};
    (void)nanosleep(&time, NULL);
}

/* ---- Completions ---------------------------------------------------------------------------- */

static void complete(ring_queue *q, fx_dev_op *op, int res) {
    if (res == -EINTR || res == -EAGAIN || res == -ECANCELED || res == -EINVAL) {
        fx_dev_file_run(file_of(q), op, 0);
    } else if (res < 0 || (size_t)res == op->size) {
        fx_dev_file_settle(file_of(q), op, res < 0 ? res : 0);
    } else {
        /* Direct I/O goes on at a block boundary. */
        fx_dev_file_run(file_of(q), op, (size_t)res - (size_t)res % FX_BLOCK_SIZE);
    }
    fx_dev_list_push(&q->done, op);
}

/* Takes what has completed; true if there was something. */
static bool collect(ring_queue *q) {
    struct io_uring_cqe *cqe;
    bool found = false;
    while (q->in_ring > 0 && io_uring_peek_cqe(&q->ring, &cqe) == 0) {
        unsigned index = (unsigned)io_uring_cqe_get_data64(cqe);
        int res = cqe->res;
        io_uring_cqe_seen(&q->ring, cqe);
        FX_ASSERT(index < RING_DEPTH && q->slots[index].op != NULL);
        fx_dev_op *op = q->slots[index].op;
        q->slots[index] = (ring_slot){NULL, q->first_free};
        q->first_free = index;
        q->in_ring--;
        complete(q, op, res);
        found = true;
    }
    return found;
}

/* Waits until something has completed; something must be in the ring. */
static void collect_some(ring_queue *q) {
    FX_ASSERT(q->in_ring > 0);
    while (!collect(q)) {
        struct io_uring_cqe *cqe;
        int result = io_uring_wait_cqe(&q->ring, &cqe);
        if (result != 0 && result != -EINTR) {
            /* The system does not let us wait any more, but what it took it completes. */
            pause_briefly(100000);
        }
    }
}

/* ---- Submissions ---------------------------------------------------------------------------- */

/* Hands `count` prepared entries over, and tells how many the system took, the first ones. The
 * others are taken back: without SQPOLL it looks at the entries only while we are inside
 * io_uring_enter. */
static unsigned enter(ring_queue *q, unsigned count) {
    unsigned taken = 0;
    for (unsigned refused = 0; taken < count && refused < SUBMIT_ATTEMPTS_MAX;) {
        int result = io_uring_submit(&q->ring);
        if (result > 0) {
            taken += (unsigned)result;
            q->in_ring += (unsigned)result;
            refused = 0;
            continue;
        }
        refused++;
        if (result == -EINTR) {
            continue;
        }
        if (result != 0 && result != -EAGAIN && result != -EBUSY && result != -ENOMEM) {
            break;
        }
        /* Short of memory or of completion entries: let what is under way finish. */
        if (!collect(q)) {
            pause_briefly(1000000);
        }
    }
    FX_ASSERT(taken <= count);
    if (taken < count) {
        unsigned tail = *q->ring.sq.ktail - (count - taken);
        io_uring_smp_store_release(q->ring.sq.ktail, tail);
        q->ring.sq.sqe_tail -= count - taken;
        q->ring.sq.sqe_head = q->ring.sq.sqe_tail;
    }
    return taken;
}

/* Prepares the entry of one transfer and returns its slot; or does it here: NO_SLOT. */
static unsigned prepare(ring_queue *q, fx_dev_op *op) {
    fx_dev_file *file = file_of(q);
    int error = fx_dev_file_admit(file, op);
    if (error != 0 || op->size == 0) {
        fx_dev_file_settle(file, op, error);
        fx_dev_list_push(&q->done, op);
        return NO_SLOT;
    }
    struct io_uring_sqe *sqe = q->broken ? NULL : io_uring_get_sqe(&q->ring);
    if (sqe == NULL) {
        fx_dev_file_run(file, op, 0);
        fx_dev_list_push(&q->done, op);
        return NO_SLOT;
    }
    unsigned index = q->first_free;
    unsigned size = (unsigned)(op->size < RING_TRANSFER_MAX ? op->size : RING_TRANSFER_MAX);
    if (op->kind == FX_DEV_WRITE) {
        io_uring_prep_write(sqe, file->fd, op->buffer, size, op->offset);
    } else {
        io_uring_prep_read(sqe, file->fd, op->buffer, size, op->offset);
    }
    io_uring_sqe_set_data64(sqe, index);
    q->first_free = q->slots[index].next_free;
    q->slots[index] = (ring_slot){op, NO_SLOT};
    return index;
}

/* Sends to the device what there are slots for. What the ring refuses is done here, and the ring is
 * not asked again. */
static void launch_waiting(ring_queue *q) {
    unsigned prepared[RING_DEPTH];
    unsigned count = 0;
    while (q->waiting.first != NULL && q->first_free != NO_SLOT) {
        unsigned index = prepare(q, fx_dev_list_pop(&q->waiting));
        if (index != NO_SLOT) {
            prepared[count++] = index;
        }
    }
    for (unsigned i = enter(q, count); i < count; i++) {
        fx_dev_op *op = q->slots[prepared[i]].op;
        q->slots[prepared[i]] = (ring_slot){NULL, q->first_free};
        q->first_free = prepared[i];
        q->broken = true;
        fx_dev_file_run(file_of(q), op, 0);
        fx_dev_list_push(&q->done, op);
    }
}

/* There is one transfer, a small one: it waits for a second, or for reap. */
static bool is_alone(const ring_queue *q) {
    const fx_dev_op *op = q->waiting.first;
    return q->in_ring == 0 && op != NULL && op == q->waiting.last && op->size <= ALONE_MAX;
}

static void ring_submit(fx_dev_queue *queue, fx_dev_op *op) {
    ring_queue *q = ring_of(queue);
    if (op->kind == FX_DEV_SYNC || op->kind == FX_DEV_WRITE_SYNC) {
        fx_dev_list_push(&q->syncs, op);
        return;
    }
    fx_dev_list_push(&q->waiting, op);
    if (is_alone(q) || (op->kind == FX_DEV_READ && op->size <= ALONE_MAX)) {
        return;
    }
    if (q->first_free == NO_SLOT) {
        (void)collect(q);
    }
    launch_waiting(q);
}

static fx_dev_op *ring_reap(fx_dev_queue *queue) {
    ring_queue *q = ring_of(queue);
    (void)collect(q);
    if (is_alone(q)) {
        fx_dev_op *alone = fx_dev_list_pop(&q->waiting);
        fx_dev_file_run(file_of(q), alone, 0);
        fx_dev_list_push(&q->done, alone);
    }
    launch_waiting(q);
    fx_dev_op *op = fx_dev_list_pop(&q->done);
    if (op == NULL) {
        op = fx_dev_list_pop(&q->syncs);
        if (op != NULL) {
            fx_dev_file_run(file_of(q), op, 0);
        } else if (q->in_ring > 0) {
            collect_some(q);
            launch_waiting(q);
            op = fx_dev_list_pop(&q->done);
        }
    }
    return op;
}

/* ---- Opening and closing -------------------------------------------------------------------- */

static void ring_close(fx_dev_queue *queue) {
    ring_queue *q = ring_of(queue);
    if (fx_dev_file_is_foreign(file_of(q))) {
        return; /* the ring's memory is not here */
    }
    FX_ASSERT(q->in_ring == 0 && q->waiting.first == NULL && q->syncs.first == NULL &&
              q->done.first == NULL);
    io_uring_queue_exit(&q->ring);
    fx_mem_free(q);
}

static const fx_dev_file_queue_ops ring_ops = {ring_submit, ring_reap, ring_close};

#define PROBE_OPS 256u

/* The system knows what we ask for: reads and writes without iovec came with 5.6. 0 or -errno. */
static int can_do(struct io_uring *ring) {
    struct io_uring_probe *probe =
        fx_mem_zalloc(sizeof *probe + PROBE_OPS * sizeof(struct io_uring_probe_op));
    if (probe == NULL) {
        return -ENOMEM;
    }
    int result = io_uring_register_probe(ring, probe, PROBE_OPS);
    if (result >= 0) {
        bool able = io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                    io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0;
        result = able ? 0 : -EOPNOTSUPP;
    }
    fx_mem_free(probe);
    return result;
}

/* Keeps clear of 0, 1 and 2, too: who puts a new standard output there would close the ring, and
 * the ring's end would close theirs. */
static int above_standard(struct io_uring *ring) {
    if (ring->ring_fd > 2) {
        return 0;
    }
    int higher = fcntl(ring->ring_fd, F_DUPFD_CLOEXEC, 3);
    if (higher < 0) {
        return -errno;
    }
    (void)close(ring->ring_fd);
    ring->ring_fd = higher;
    ring->enter_ring_fd = higher;
    return 0;
}

int fx_dev_uring_queue_open(fx_dev_file *file, fx_dev_queue **queue_out) {
    ring_queue *q = fx_mem_zalloc(sizeof *q);
    if (q == NULL) {
        return -ENOMEM;
    }
    int result = io_uring_queue_init(RING_DEPTH, &q->ring, 0);
    if (result != 0) {
        fx_mem_free(q);
        return result;
    }
    result = above_standard(&q->ring);
    result = result == 0 ? can_do(&q->ring) : result;
    if (result == 0) {
        result = io_uring_ring_dontfork(&q->ring);
    }
    if (result != 0) {
        io_uring_queue_exit(&q->ring);
        fx_mem_free(q);
        return result;
    }
    q->base.base.dev = &file->base;
    q->base.ops = &ring_ops;
    for (unsigned i = 0; i < RING_DEPTH; i++) {
        q->slots[i].next_free = i + 1;
    }
    *queue_out = &q->base.base;
    return 0;
}
