/* dev_file: what the two queues over a real file share. Private to disk/dev_*.c.
 *
 * A queue is either a ring (dev_uring.c) or a pool (dev_pool.c); both end in the same functions
 * below for whatever does not go as planned, so short transfers, interrupted calls, lost direct I/O
 * and errors are dealt with in one place. Any thread.
 */
#ifndef FX_DISK_DEV_FILE_H
#define FX_DISK_DEV_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "disk/dev.h"

typedef struct fx_dev_file {
    fx_dev base;
    /* Constant after open. */
    int fd;
    pid_t owner; /* the process that opened it: a forked child must not unlock it */
    bool read_only;
    bool threads_allowed; /* if no ring can be had */
    /* The owner of the store only. */
    bool made;      /* by this open, and its name is not durable yet */
    bool was_empty; /* when it was opened, and nothing was declared durable since */
    /* Atomic. */
    fx_dev_queue *spare; /* the ring that open made to see whether it can, for the first queue */
    uint32_t direct;     /* O_DIRECT is on; it is only ever turned off */
    uint32_t no_dsync;   /* the system cannot write and flush in one call */
    uint32_t unsafe;     /* something was written since the last flush began */
    uint64_t size;       /* when the system last told it */
    int error;           /* 0, or the -errno that made the device dead; set once */
} fx_dev_file;

typedef struct fx_dev_file_queue_ops {
    void (*submit)(fx_dev_queue *queue, fx_dev_op *op);
    fx_dev_op *(*reap)(fx_dev_queue *queue);
    void (*close)(fx_dev_queue *queue);
} fx_dev_file_queue_ops;

/* Both kinds of queue begin with this. */
typedef struct fx_dev_file_queue {
    fx_dev_queue base;
    const fx_dev_file_queue_ops *ops;
} fx_dev_file_queue;

/* A list of operations, first in first out. */
typedef struct fx_dev_list {
    fx_dev_op *first;
    fx_dev_op *last;
} fx_dev_list;

static inline void fx_dev_list_push(fx_dev_list *list, fx_dev_op *op) {
    op->next = NULL;
    if (list->first == NULL) {
        list->first = op;
    } else {
        list->last->next = op;
    }
    list->last = op;
}

/* NULL if it is empty. */
static inline fx_dev_op *fx_dev_list_pop(fx_dev_list *list) {
    fx_dev_op *op = list->first;
    if (op != NULL) {
        list->first = op->next;
        op->next = NULL;
    }
    return op;
}

static inline fx_dev_file *fx_dev_file_of(fx_dev *dev) {
    return (fx_dev_file *)(void *)dev;
}

/* Does one operation from byte `done` on, here and now, and settles its result. */
void fx_dev_file_run(fx_dev_file *file, fx_dev_op *op, size_t done);
/* Stores the result of an operation; a failed WRITE or SYNC makes the device dead, unless a write
 * was only refused for want of space; and none of them succeeds on a dead one. */
void fx_dev_file_settle(fx_dev_file *file, fx_dev_op *op, int result);
/* 0 if the operation may start, else the error to settle it with. */
int fx_dev_file_admit(fx_dev_file *file, const fx_dev_op *op);
/* In a forked child: the parent's threads and rings are not there. A system call. */
bool fx_dev_file_is_foreign(const fx_dev_file *file);

/* -errno: no ring can be had (EPERM, ENOSYS, ENOMEM, EINVAL, EMFILE, EOPNOTSUPP ...). */
int fx_dev_uring_queue_open(fx_dev_file *file, fx_dev_queue **queue_out);
int fx_dev_pool_queue_open(fx_dev_file *file, fx_dev_queue **queue_out);

#endif
