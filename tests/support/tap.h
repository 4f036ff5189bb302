/* tap: the test program's hand between the library and the system. The program that includes this
 * defines the calls by which disk/dev_*.c reach a file, and the library finds them before libc's
 * and liburing's; each asks the program's hook first, which may answer in the system's place.
 * Include it in one file of a program.
 *
 * A transfer of the ring is asked about when it is submitted. If the hook answers, a NOP goes
 * through the ring instead, and its completion is given the hook's result: the library sees a ring
 * that behaves like any other. Both functions of liburing that the library calls from its archive's
 * queue.o are defined here, so that member is not linked at all. The ring of a later liburing may
 * need more of them; the linker then says so.
 *
 * Any thread. Without a hook everything is as if this were not here. 64-bit systems.
 */
#ifndef FX_SUPPORT_TAP_H
#define FX_SUPPORT_TAP_H

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "offsets are one argument of a system call");

/* What is asked for. */
typedef enum tap_call {
    TAP_READ,
    TAP_WRITE,
    TAP_WRITE_SYNC, /* pwritev2 with RWF_DSYNC */
    TAP_RING_READ,
    TAP_RING_WRITE,
    TAP_DATA_SYNC, /* fdatasync */
    TAP_FULL_SYNC, /* fsync of a file */
    TAP_NAME_SYNC, /* fsync of a directory, syncfs */
    TAP_RESERVE,   /* fallocate */
    TAP_RESIZE,    /* ftruncate */
    TAP_REMOVE,    /* unlink */
    TAP_OPEN,
    TAP_LOCK,
    TAP_LOOK,   /* stat and its kin, fcntl */
    TAP_SUBMIT, /* io_uring_enter, to submit ... */
    TAP_WAIT,   /* ... or to wait */
    TAP_CALLS
} tap_call;

typedef struct tap_event {
    tap_call call;
    int fd;
    void *bytes; /* of a transfer */
    size_t size;
    uint64_t offset;
    const char *path; /* of OPEN, REMOVE and stat */
} tap_event;

/* True: *result is the answer (0 or more, or -errno), and the system is not asked. */
typedef bool tap_hook(const tap_event *event, long *result);

static _Atomic(tap_hook *) tap_hook_now;

static inline void tap_set(tap_hook *hook) {
    atomic_store(&tap_hook_now, hook);
}

static inline long tap_result(long result) {
    return result < 0 ? -errno : result;
}

/* Makes `size` bytes of the transfer, or the whole of another call that changes something, and
 * returns what the system says: 0 or more, or -errno. */
static inline long tap_do(const tap_event *e, size_t size) {
    const struct iovec vector = {e->bytes, size};
    switch (e->call) {
        case TAP_READ:
        case TAP_RING_READ:
            return tap_result(syscall(SYS_pread64, e->fd, e->bytes, size, e->offset));
        case TAP_WRITE:
        case TAP_RING_WRITE:
            return tap_result(syscall(SYS_pwrite64, e->fd, e->bytes, size, e->offset));
        case TAP_WRITE_SYNC:
            return tap_result(
                syscall(SYS_pwritev2, e->fd, &vector, 1, e->offset, 0L, (long)RWF_DSYNC));
        case TAP_DATA_SYNC:
            return tap_result(syscall(SYS_fdatasync, e->fd));
        case TAP_FULL_SYNC:
        case TAP_NAME_SYNC:
            return tap_result(syscall(SYS_fsync, e->fd));
        case TAP_RESERVE:
            return tap_result(syscall(SYS_fallocate, e->fd, 0L, e->offset, e->size));
        case TAP_RESIZE:
            return tap_result(syscall(SYS_ftruncate, e->fd, e->size));
        case TAP_REMOVE:
            return tap_result(syscall(SYS_unlinkat, (long)AT_FDCWD, e->path, 0L));
        default:
            return -ENOSYS;
    }
}

static inline bool tap_ask(const tap_event *event, long *result) {
    tap_hook *hook = atomic_load(&tap_hook_now);
    return hook != NULL && hook(event, result);
}

static inline long tap_return(long result) {
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static inline long tap_call_of(const tap_event *event) {
    long result;
    return tap_return(tap_ask(event, &result) ? result : tap_do(event, event->size));
}

/* ---- libc ----------------------------------------------------------------------------------- */

ssize_t pread(int fd, void *bytes, size_t size, off_t offset) {
    return tap_call_of(&(tap_event){TAP_READ, fd, bytes, size, (uint64_t)offset, NULL});
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    void *from = (void *)(uintptr_t)bytes;
    return tap_call_of(&(tap_event){TAP_WRITE, fd, from, size, (uint64_t)offset, NULL});
}

/* The library writes one vector, and safely. */
ssize_t pwritev2(int fd, const struct iovec *vectors, int count, off_t offset, int flags) {
    if (count != 1 || flags != RWF_DSYNC) {
        return tap_return(-EINVAL);
    }
    return tap_call_of(&(tap_event){TAP_WRITE_SYNC, fd, vectors->iov_base, vectors->iov_len,
                                    (uint64_t)offset, NULL});
}

int fdatasync(int fd) {
    return (int)tap_call_of(&(tap_event){.call = TAP_DATA_SYNC, .fd = fd});
}

int fsync(int fd) {
    struct stat status;
    bool named = syscall(SYS_newfstatat, fd, "", &status, (long)AT_EMPTY_PATH) == 0 &&
                 S_ISDIR(status.st_mode);
    return (int)tap_call_of(
        &(tap_event){.call = named ? TAP_NAME_SYNC : TAP_FULL_SYNC, .fd = fd});
}

int syncfs(int fd) {
    long result;
    const tap_event event = {.call = TAP_NAME_SYNC, .fd = fd};
    return (int)tap_return(tap_ask(&event, &result) ? result
                                                    : tap_result(syscall(SYS_syncfs, fd)));
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    if (mode != 0) {
        return (int)tap_return(-EOPNOTSUPP);
    }
    return (int)tap_call_of(
        &(tap_event){TAP_RESERVE, fd, NULL, (size_t)size, (uint64_t)offset, NULL});
}

int ftruncate(int fd, off_t size) {
    return (int)tap_call_of(&(tap_event){.call = TAP_RESIZE, .fd = fd, .size = (size_t)size});
}

int unlink(const char *path) {
    return (int)tap_call_of(&(tap_event){.call = TAP_REMOVE, .fd = -1, .path = path});
}

int open(const char *path, int flags, ...) {
    va_list more;
    long result;
    const tap_event event = {.call = TAP_OPEN, .fd = -1, .path = path};
    va_start(more, flags);
    long mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? (long)va_arg(more, mode_t) : 0;
    va_end(more);
    if (!tap_ask(&event, &result)) {
        result = tap_result(syscall(SYS_openat, (long)AT_FDCWD, path, (long)flags, mode));
    }
    return (int)tap_return(result);
}

int flock(int fd, int how) {
    long result;
    const tap_event event = {.call = TAP_LOCK, .fd = fd};
    return (int)tap_return(tap_ask(&event, &result) ? result
                                                    : tap_result(syscall(SYS_flock, fd, how)));
}

static inline int tap_look(int fd, const char *path, struct stat *status, long flags) {
    long result;
    const tap_event event = {.call = TAP_LOOK, .fd = fd, .path = path};
    if (!tap_ask(&event, &result)) {
        result = tap_result(syscall(SYS_newfstatat, fd, path, status, flags));
    }
    return (int)tap_return(result);
}

int stat(const char *restrict path, struct stat *restrict status) {
    return tap_look(AT_FDCWD, path, status, 0);
}

int lstat(const char *restrict path, struct stat *restrict status) {
    return tap_look(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

int fstat(int fd, struct stat *status) {
    return tap_look(fd, "", status, AT_EMPTY_PATH);
}

int statx(int fd, const char *restrict path, int flags, unsigned mask,
          struct statx *restrict status) {
    long result;
    const tap_event event = {.call = TAP_LOOK, .fd = fd, .path = path};
    if (!tap_ask(&event, &result)) {
        result = tap_result(
            syscall(SYS_statx, fd, path, (long)flags, (unsigned long)mask, status));
    }
    return (int)tap_return(result);
}

int fcntl(int fd, int command, ...) {
    va_list more;
    long result;
    const tap_event event = {.call = TAP_LOOK, .fd = fd};
    va_start(more, command);
    long argument = va_arg(more, long);
    va_end(more);
    if (!tap_ask(&event, &result)) {
        result = tap_result(syscall(SYS_fcntl, fd, (long)command, argument));
    }
    return (int)tap_return(result);
}

/* ---- liburing ------------------------------------------------------------------------------- */

/* The transfer that an entry asks for. */
static inline tap_event tap_entry(const struct io_uring_sqe *sqe) {
    return (tap_event){.call = sqe->opcode == IORING_OP_READ ? TAP_RING_READ : TAP_RING_WRITE,
                       .fd = sqe->fd,
                       .bytes = (void *)(uintptr_t)sqe->addr,
                       .size = sqe->len,
                       .offset = sqe->off};
}

static inline void tap_to_nop(struct io_uring_sqe *sqe) {
    uint64_t data = sqe->user_data;
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_NOP;
    sqe->fd = -1;
    sqe->user_data = data;
}

/* A NOP is complete when it is submitted; its completion is among those not yet seen. */
static inline void tap_complete(struct io_uring *ring, uint64_t data, long result) {
    unsigned tail = io_uring_smp_load_acquire(ring->cq.ktail);
    for (unsigned at = *ring->cq.khead; at != tail; at++) {
        struct io_uring_cqe *cqe = &ring->cq.cqes[at & *ring->cq.kring_mask];
        if (cqe->user_data == data) {
            cqe->res = (int)result;
        }
    }
}

int io_uring_submit(struct io_uring *ring) {
    struct io_uring_sq *sq = &ring->sq;
    const tap_event enter = {.call = TAP_SUBMIT, .fd = ring->ring_fd};
    long result;
    long answer = 0;
    bool answered = false;
    struct io_uring_sqe *sqe = &sq->sqes[*sq->khead & *sq->kring_mask];
    if (sq->sqe_head != sq->sqe_tail) {
        sq->sqe_head = sq->sqe_tail;
        io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    }
    if (tap_ask(&enter, &result)) {
        return (int)result;
    }
    /* The system may take fewer entries than there are: here, one. One that is a NOP by now was
     * answered before. */
    if (sqe->opcode != IORING_OP_NOP) {
        const tap_event transfer = tap_entry(sqe);
        answered = tap_ask(&transfer, &answer);
        if (answered) {
            tap_to_nop(sqe);
        }
    }
    uint64_t data = sqe->user_data;
    result = io_uring_enter((unsigned)ring->ring_fd, 1, 0, 0, NULL);
    if (answered && result > 0) {
        tap_complete(ring, data, answer);
    }
    return (int)result;
}

int __io_uring_get_cqe(struct io_uring *ring, struct io_uring_cqe **cqe_out, unsigned submit,
                       unsigned wait, sigset_t *mask) {
    const tap_event enter = {.call = TAP_WAIT, .fd = ring->ring_fd};
    (void)submit;
    (void)mask;
    for (;;) {
        unsigned head = *ring->cq.khead;
        if (head != io_uring_smp_load_acquire(ring->cq.ktail)) {
            *cqe_out = &ring->cq.cqes[head & *ring->cq.kring_mask];
            return 0;
        }
        long result = 0;
        *cqe_out = NULL;
        if (wait == 0) {
            return -EAGAIN;
        }
        if (!tap_ask(&enter, &result)) {
            result = io_uring_enter((unsigned)ring->ring_fd, 0, 1, IORING_ENTER_GETEVENTS, NULL);
        }
        if (result < 0) {
            return (int)result;
        }
    }
}

#endif
