/* dev: the storage door. Everything that reaches a file goes through here; the simulator is one
 * more implementation.
 *
 * Offsets, sizes and buffers are multiples of FX_BLOCK_SIZE and aligned to it. Short transfers,
 * EINTR and EAGAIN are dealt with below the door. Results are 0 or -errno.
 * A SYNC covers exactly the writes that were reaped before it was submitted. A WRITE_SYNC is a
 * write that is on stable storage when it is reaped, by itself; it covers no other. After a failed
 * SYNC (and after a failed write of either kind) nothing is known of the writes it covered: every
 * queue of the device is dead, and every later operation, grow and shrink included, fails with the
 * same error. It is never retried into success. read() goes on.
 * The exception: a write of either kind for which there is no space (copy on write, thin devices,
 * quotas) is refused with -ENOSPC. Each of its blocks holds its old or its new bytes, as read()
 * says; nothing else is touched, and the queue lives on. No other operation of a queue gives
 * -ENOSPC: a SYNC that fails for want of space has lost what was written before, and gives -EIO.
 * Threads: read, size from any thread; each queue belongs to one thread at a time, and whoever
 * submits reaps before it hands the queue on; grow, shrink and close belong to the owner of the
 * store. In a forked child only close is legal: it gives the descriptor back and leaves the rest.
 */
#ifndef FX_DISK_DEV_H
#define FX_DISK_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

typedef struct fx_dev fx_dev;
typedef struct fx_dev_queue fx_dev_queue;

typedef enum fx_dev_kind {
    FX_DEV_READ = 1,
    FX_DEV_WRITE = 2,
    FX_DEV_SYNC = 3,
    FX_DEV_WRITE_SYNC = 4
} fx_dev_kind;

typedef struct fx_dev_op {
    fx_dev_kind kind;
    int result; /* filled when reaped */
    uint64_t offset;
    size_t size;
    void *buffer;           /* the caller's until reaped */
    struct fx_dev_op *next; /* the queue's while submitted */
} fx_dev_op;

typedef struct fx_dev_vtable {
    const char *name; /* "uring", "threads" */
    int (*read)(fx_dev *dev, uint64_t offset, void *buffer, size_t size);
    /* Real size of the file, bytes. */
    uint64_t (*size)(fx_dev *dev);
    /* Extends the file to `size` with space really reserved (zeros), and makes that durable.
     * -ENOSPC (device full, quota, or RLIMIT_FSIZE) leaves the old size. */
    int (*grow)(fx_dev *dev, uint64_t size);
    /* Cuts the file to `size`, durably. -ENOSPC: it is as long as it was. */
    int (*shrink)(fx_dev *dev, uint64_t size);
    int (*queue_open)(fx_dev *dev, fx_dev_queue **queue_out);
    void (*close)(fx_dev *dev); /* unlocks */
    /* Hands over one operation. Never fails: an error is in its result. */
    void (*submit)(fx_dev_queue *queue, fx_dev_op *op);
    /* Waits for one submitted operation, any, and returns it; NULL: none is under way. */
    fx_dev_op *(*reap)(fx_dev_queue *queue);
    void (*queue_close)(fx_dev_queue *queue); /* nothing may be under way */
} fx_dev_vtable;

/* Implementations begin with these. */
struct fx_dev {
    const fx_dev_vtable *vtable;
};
struct fx_dev_queue {
    fx_dev *dev;
};

static inline int fx_dev_read(fx_dev *dev, uint64_t offset, void *buffer, size_t size) {
    return dev->vtable->read(dev, offset, buffer, size);
}

static inline uint64_t fx_dev_size(fx_dev *dev) {
    return dev->vtable->size(dev);
}

static inline int fx_dev_grow(fx_dev *dev, uint64_t size) {
    return dev->vtable->grow(dev, size);
}

static inline int fx_dev_shrink(fx_dev *dev, uint64_t size) {
    return dev->vtable->shrink(dev, size);
}

static inline int fx_dev_queue_open(fx_dev *dev, fx_dev_queue **queue_out) {
    return dev->vtable->queue_open(dev, queue_out);
}

static inline void fx_dev_close(fx_dev *dev) {
    dev->vtable->close(dev);
}

static inline void fx_dev_submit(fx_dev_queue *queue, fx_dev_op *op) {
    queue->dev->vtable->submit(queue, op);
}

static inline fx_dev_op *fx_dev_reap(fx_dev_queue *queue) {
    return queue->dev->vtable->reap(queue);
}

static inline void fx_dev_queue_close(fx_dev_queue *queue) {
    queue->dev->vtable->queue_close(queue);
}

/* How to open a file. */
typedef struct fx_dev_open {
    const char *path;
    bool read_only;
    bool create; /* make it if it is missing */
    int backend; /* feox_io_backend */
    bool exclusive; /* with create: FEOX_EXISTS if it is not missing */
} fx_dev_open;

/* Opens and locks a regular file. FEOX_NOT_FOUND (missing, not to be created), FEOX_ERR_NOT_FEOX
 * (not a regular file), FEOX_ERR_BUSY, FEOX_ERR_READ_ONLY, FEOX_ERR_UNSUPPORTED (no io_uring, no
 * locks), FEOX_ERR_SPACE, FEOX_ERR_IO, FEOX_ERR_MEMORY, FEOX_ERR_ARGUMENT; fx_error_set
 * (base/error.h) has the detail. An existing file is not touched, also not by a failed open; a file
 * that was made here and whose open then fails is removed again. `create` means nothing with
 * `read_only`. */
feox_status fx_dev_file_open(const fx_dev_open *how, fx_dev **dev_out);
/* Makes the directory entry of a file that was just made durable; call once its header is. From
 * then on the file is here to stay. `path` is that of the open. */
feox_status fx_dev_file_sync_name(fx_dev *dev, const char *path);
/* Closes instead of fx_dev_close when a new file could not be finished: before sync_name succeeded
 * it removes a file that the open made, and empties one that the open found empty. Any other file
 * is just closed. All queues are closed before. */
void fx_dev_file_discard(fx_dev *dev, const char *path);

#endif
