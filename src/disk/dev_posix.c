/* dev_posix: files. Opening, locking, reading, growing and everything that both queues share.
 *
 * Why this way:
 * 1. flock, not fcntl. A classic fcntl lock is lost when any descriptor of the file is closed
 *    anywhere in the process. flock belongs to the open file description: it survives that, it also
 *    refuses a second handle in the same process, and it works on read-only descriptors. A forked
 *    child shares the description, so close unlocks explicitly and the child's copy keeps nothing;
 *    for the same reason a child that closes must not unlock.
 * 2. The lock comes before the first look inside, and the name is compared with the locked file
 *    afterwards: who waited between open and flock while the file was removed or replaced starts
 *    again, so two stores never live under one name.
 * 3. A device is dead as a whole. The system reports a failed write-back once per open file, to
 *    whoever syncs next; a second queue, or grow, would get a success that means nothing. So the
 *    first failed WRITE or SYNC (grow's and shrink's included) is kept in the device, and every
 *    later operation of every queue fails with it. read() goes on: it vouches for nothing.
 *    (Rebello et al., "Can applications recover from fsync failures?", ATC 2020.)
 *    A write that finds no space is another thing: the system took nothing over that it could lose
 *    later. Only a WRITE_SYNC may be told so by its flush, on behalf of writes before it; if there
 *    were any since the last flush, it counts as one that failed. A flush that found no space is
 *    told as -EIO, so that -ENOSPC has one meaning.
 * 4. O_DIRECT where the file system states that 4096 bytes are aligned enough; where it says
 *    nothing, the first transfers find out: EINVAL turns it off for good and is tried again. One
 *    mode per device, so that no page cache stands beside direct writes. Values are cached above,
 *    and an overwrite of reserved blocks followed by a flush costs less than an append through the
 *    page cache.
 * 5. A WRITE_SYNC is one call (RWF_DSYNC): a device that can write past its cache needs no flush
 *    then, and otherwise it saves a system call. Where the system refuses, write and flush.
 * 6. SIGXFSZ kills by default. Every write and every growth is compared with RLIMIT_FSIZE first,
 * and an error takes the place of the signal. (A limit lowered in between by another thread is the
 *    host's race; the pool's threads block the signal anyway.)
 */
#define _GNU_SOURCE
#include "disk/dev_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/mem.h"

/* How often open starts again because the file changed under its name. */
#define OPEN_ATTEMPTS_MAX 100u
/* A store is private to its user until they say otherwise. */
#define FILE_MODE 0600
/* Reserving in pieces lets a signal interrupt one without undoing all. */
#define GROW_PIECE_SIZE ((uint64_t)64 << 20)
#define ZERO_BUFFER_SIZE ((size_t)1 << 20)
/* The system moves at most 2 GiB less a page at once; stay block-aligned below it. */
#define TRANSFER_SIZE_MAX ((size_t)1 << 30)

/* ---- Transfers ------------------------------------------------------------------------------ */

static bool within_limit(uint64_t end) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY}; /* if it cannot be told */
    (void)getrlimit(RLIMIT_FSIZE, &limit);
    return end <= limit.rlim_cur; /* infinity is the highest number */
}

/* Idempotent, so that threads that race here do no harm. */
static void direct_off(fx_dev_file *file) {
    int flags = fcntl(file->fd, F_GETFL);
    if (flags >= 0) {
        (void)fcntl(file->fd, F_SETFL, flags & ~O_DIRECT);
    }
    fx_store_release(&file->direct, 0u);
}

/* A file system that was shut down does not even say sizes. Then the last known one counts, so that
 * nothing looks cut off, and the transfer gets to say what is wrong. */
static uint64_t file_size(fx_dev_file *file) {
    struct stat status;
    if (fstat(file->fd, &status) == 0) {
        fx_store_relaxed(&file->size, (uint64_t)status.st_size);
    }
    return fx_load_relaxed(&file->size);
}

static ssize_t transfer_once(const fx_dev_file *file, fx_dev_kind kind, uint64_t offset,
                             uint8_t *bytes, size_t size) {
    size = size < TRANSFER_SIZE_MAX ? size : TRANSFER_SIZE_MAX;
    if (kind == FX_DEV_WRITE_SYNC) {
        const struct iovec vector = {.iov_base = bytes, .iov_len = size};
        return pwritev2(file->fd, &vector, 1, (off_t)offset, RWF_DSYNC);
    }
    return kind == FX_DEV_WRITE ? pwrite(file->fd, bytes, size, (off_t)offset)
                                : pread(file->fd, bytes, size, (off_t)offset);
}

/* How often a transfer may move nothing and say no error, before that is taken for one. */
#define EMPTY_MAX 3u

/* Moves all of it, or fails. */
static int transfer(fx_dev_file *file, fx_dev_kind kind, uint64_t offset, uint8_t *bytes,
                    size_t size) {
    bool writing = kind != FX_DEV_READ;
    size_t done = 0;
    unsigned empty = 0;
    while (done < size) {
        bool direct = fx_load_acquire(&file->direct) != 0;
        ssize_t moved = transfer_once(file, kind, offset + done, bytes + done, size - done);
        if (moved < 0) {
            if (errno == EINTR || errno == EAGAIN) {
                continue;
            }
            if (errno == EINVAL && direct) {
                direct_off(file);
                continue;
            }
            return -errno;
        }
        size_t step = (size_t)moved;
        if (direct && done + step < size) {
            /* Direct I/O must go on at a block boundary: the rest of the block is moved again. */
            step -= step % FX_BLOCK_SIZE;
        }
        done += step;
        if (step > 0) {
            continue;
        }
        bool ended = !writing && offset + done + (uint64_t)moved >= file_size(file);
        if (ended || (moved == 0 && ++empty == EMPTY_MAX)) {
            return -EIO; /* beyond the end of the file; or it refuses and does not say why */
        }
        if (moved > 0) {
            direct_off(file);
        }
    }
    return 0;
}

/* ---- Operations ----------------------------------------------------------------------------- */

static bool lacks_space(int error) {
    return error == -ENOSPC || error == -EDQUOT;
}

/* Makes the device dead; the first error stays. Returns it. */
static int die(fx_dev_file *file, int error) {
    int first = 0;
    error = lacks_space(error) ? -EIO : error;
    return fx_cas_acq_rel(&file->error, &first, error) ? error : first;
}

/* A write that did not happen, and nothing else did not. */
static bool is_refusal(const fx_dev_file *file, const fx_dev_op *op, int result) {
    return lacks_space(result) &&
           (op->kind == FX_DEV_WRITE ||
            (op->kind == FX_DEV_WRITE_SYNC && fx_load_acquire(&file->unsafe) == 0));
}

bool fx_dev_file_is_foreign(const fx_dev_file *file) {
    return getpid() != file->owner;
}

int fx_dev_file_admit(fx_dev_file *file, const fx_dev_op *op) {
    FX_ASSERT(op->kind == FX_DEV_SYNC ||
              (op->offset % FX_BLOCK_SIZE == 0 && op->size % FX_BLOCK_SIZE == 0 &&
               (uintptr_t)op->buffer % FX_BLOCK_SIZE == 0));
    int error = fx_load_acquire(&file->error);
    bool writes = op->kind == FX_DEV_WRITE || op->kind == FX_DEV_WRITE_SYNC;
    if (error == 0 && writes && !within_limit(op->offset + op->size)) {
        error = -EFBIG;
    }
    return error;
}

void fx_dev_file_settle(fx_dev_file *file, fx_dev_op *op, int result) {
    if (op->kind == FX_DEV_WRITE && fx_load_relaxed(&file->unsafe) == 0) {
        fx_store_release(&file->unsafe, 1u);
    }
    if (op->kind != FX_DEV_READ) {
        if (is_refusal(file, op, result)) {
            result = -ENOSPC;
        } else if (result != 0) {
            result = die(file, result);
        } else {
            /* A flush may have been told of success after another one took the error away. */
            result = fx_load_acquire(&file->error);
        }
    }
    op->result = result;
}

static int data_sync(const fx_dev_file *file) {
    int result;
    do {
        result = fdatasync(file->fd) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    return result;
}

/* Writes what is left of the operation, and makes it safe. */
static int write_sync(fx_dev_file *file, const fx_dev_op *op, size_t done) {
    uint8_t *bytes = (uint8_t *)op->buffer + done;
    uint64_t offset = op->offset + done;
    size_t size = op->size - done;
    if (fx_load_relaxed(&file->no_dsync) == 0) {
        int result = transfer(file, FX_DEV_WRITE_SYNC, offset, bytes, size);
        if (result != -EOPNOTSUPP && result != -ENOSYS && result != -EINVAL) {
            return result;
        }
        fx_store_relaxed(&file->no_dsync, 1u); /* nothing was written */
    }
    int result = transfer(file, FX_DEV_WRITE, offset, bytes, size);
    return result == 0 ? data_sync(file) : result;
}

void fx_dev_file_run(fx_dev_file *file, fx_dev_op *op, size_t done) {
    int result = fx_dev_file_admit(file, op);
    if (result == 0 && op->kind == FX_DEV_SYNC) {
        fx_store_release(&file->unsafe, 0u);
        result = data_sync(file);
    } else if (result == 0 && op->kind == FX_DEV_WRITE_SYNC) {
        result = write_sync(file, op, done);
    } else if (result == 0) {
        result = transfer(file, op->kind, op->offset + done, (uint8_t *)op->buffer + done,
                          op->size - done);
    }
    fx_dev_file_settle(file, op, result);
}

static int read_at(fx_dev *dev, uint64_t offset, void *buffer, size_t size) {
    FX_ASSERT(offset % FX_BLOCK_SIZE == 0 && size % FX_BLOCK_SIZE == 0);
    if (offset > INT64_MAX - size) {
        return -EIO;
    }
    return transfer(fx_dev_file_of(dev), FX_DEV_READ, offset, buffer, size);
}

static uint64_t size_of(fx_dev *dev) {
    return file_size(fx_dev_file_of(dev));
}

/* ---- Growing and shrinking ------------------------------------------------------------------ */

/* For file systems that cannot reserve: zeros take the space as surely. */
static int fill(fx_dev_file *file, uint64_t from, uint64_t to) {
    uint8_t *zeros = fx_mem_alloc_aligned(ZERO_BUFFER_SIZE, FX_BLOCK_SIZE);
    if (zeros == NULL) {
        return -ENOMEM;
    }
    memset(zeros, 0, ZERO_BUFFER_SIZE);
    int result = 0;
    while (from < to && result == 0) {
        uint64_t piece = to - from < ZERO_BUFFER_SIZE ? to - from : ZERO_BUFFER_SIZE;
        result = transfer(file, FX_DEV_WRITE, from, zeros, (size_t)piece);
        from += piece;
    }
    fx_mem_free(zeros);
    return result;
}

/* False if the file system certainly has no room; some (ramfs) do not say. Asked first, because an
 * attempt would take all there is away from everybody (on tmpfs: the machine's memory) before it
 * fails. */
static bool may_fit(const fx_dev_file *file, uint64_t size) {
    struct statvfs status;
    return fstatvfs(file->fd, &status) != 0 || status.f_frsize == 0 || status.f_blocks == 0 ||
           size / status.f_frsize <= status.f_bfree;
}

static int reserve(fx_dev_file *file, uint64_t from, uint64_t to) {
    while (from < to) {
        uint64_t piece = to - from < GROW_PIECE_SIZE ? to - from : GROW_PIECE_SIZE;
        if (fallocate(file->fd, 0, (off_t)from, (off_t)piece) == 0) {
            from += piece;
        } else if (errno == EOPNOTSUPP || errno == ENOSYS) {
            return fill(file, from, to);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int resize(fx_dev_file *file, uint64_t size) {
    int result;
    do {
        result = ftruncate(file->fd, (off_t)size) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    return result;
}

/* Size and reservation are metadata of the file, hence fsync. */
static int full_sync(fx_dev_file *file) {
    int result;
    do {
        result = fsync(file->fd) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    return result == 0 ? fx_load_acquire(&file->error) : die(file, result);
}

static int grow(fx_dev *dev, uint64_t size) {
    fx_dev_file *file = fx_dev_file_of(dev);
    uint64_t old_size = file_size(file);
    int result = fx_load_acquire(&file->error);
    if (result != 0 || size <= old_size) {
        return result;
    }
    if (file->read_only) {
        return -EROFS;
    }
    if (size > INT64_MAX || !within_limit(size) || !may_fit(file, size - old_size)) {
        return -ENOSPC;
    }
    result = reserve(file, old_size, size);
    if (result != 0) {
        /* Some of it may be there already; give that back. */
        (void)resize(file, old_size);
        /* Quotas and the file system's own bound are lack of space to whoever asks for some. */
        return result == -EDQUOT || result == -EFBIG ? -ENOSPC : result;
    }
    fx_store_relaxed(&file->size, size);
    return full_sync(file);
}

static int shrink(fx_dev *dev, uint64_t size) {
    fx_dev_file *file = fx_dev_file_of(dev);
    int result = fx_load_acquire(&file->error);
    if (result == 0 && file->read_only) {
        result = -EROFS;
    }
    if (result != 0 || size >= file_size(file)) {
        return result;
    }
    result = resize(file, size);
    if (result != 0) {
        return lacks_space(result) ? -ENOSPC : result;
    }
    fx_store_relaxed(&file->size, size);
    return full_sync(file);
}

/* ---- Queues and closing --------------------------------------------------------------------- */

static bool wants_ring(const fx_dev *dev);

static int queue_open(fx_dev *dev, fx_dev_queue **queue_out) {
    fx_dev_file *file = fx_dev_file_of(dev);
    *queue_out = fx_exchange_acq_rel(&file->spare, NULL);
    if (*queue_out != NULL) {
        return 0;
    }
    if (wants_ring(dev)) {
        /* A further ring may be over the limit on locked memory where the first one was not. */
        int result = fx_dev_uring_queue_open(file, queue_out);
        if (result == 0 || !file->threads_allowed) {
            return result;
        }
    }
    return fx_dev_pool_queue_open(file, queue_out);
}

static const fx_dev_file_queue_ops *ops_of(fx_dev_queue *queue) {
    return ((fx_dev_file_queue *)(void *)queue)->ops;
}

static void submit(fx_dev_queue *queue, fx_dev_op *op) {
    ops_of(queue)->submit(queue, op);
}

static fx_dev_op *reap(fx_dev_queue *queue) {
    return ops_of(queue)->reap(queue);
}

static void queue_close(fx_dev_queue *queue) {
    ops_of(queue)->close(queue);
}

static void close_file(fx_dev *dev) {
    fx_dev_file *file = fx_dev_file_of(dev);
    fx_dev_queue *spare = fx_exchange_acq_rel(&file->spare, NULL);
    if (spare != NULL) {
        queue_close(spare);
    }
    if (!fx_dev_file_is_foreign(file)) {
        (void)flock(file->fd, LOCK_UN);
    }
    (void)close(file->fd);
    fx_mem_free(file);
}

static const fx_dev_vtable uring_vtable = {"uring",    read_at,    size_of, grow, shrink,
                                           queue_open, close_file, submit,  reap, queue_close};
static const fx_dev_vtable threads_vtable = {"threads",  read_at,    size_of, grow, shrink,
                                             queue_open, close_file, submit,  reap, queue_close};

static bool wants_ring(const fx_dev *dev) {
    return dev->vtable == &uring_vtable;
}

/* ---- Opening -------------------------------------------------------------------------------- */

static feox_status refuse(const fx_dev_open *how, int error, const char *what) {
    feox_status status = FEOX_ERR_IO;
    if (!how->read_only && (error == EACCES || error == EPERM || error == EROFS)) {
        status = FEOX_ERR_READ_ONLY;
    } else if (error == ENXIO || error == EISDIR) {
        status = FEOX_ERR_NOT_FEOX;
    } else if (error == ENOMEM) {
        status = FEOX_ERR_MEMORY;
    } else if (error == ENOSPC || error == EDQUOT) {
        status = FEOX_ERR_SPACE;
    } else if (error == EWOULDBLOCK) {
        status = FEOX_ERR_BUSY;
    } else if (error == ENOLCK || error == EOPNOTSUPP) {
        status = FEOX_ERR_UNSUPPORTED;
    }
    return fx_error_set(status, error, "%s %s", what, how->path);
}

static feox_status refuse_kind(const fx_dev_open *how) {
    return fx_error_set(FEOX_ERR_NOT_FEOX, 0, "%s is not a regular file", how->path);
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Keeps clear of 0, 1 and 2: if the host closed one of them, its next message to standard output
 * would go into the store. */
static int above_standard(int fd) {
    if (fd < 0 || fd > 2) {
        return fd;
    }
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int error = errno;
    (void)close(fd);
    errno = error;
    return higher;
}

/* Opens or makes the file; -1 with errno. EEXIST and, with `create`, ENOENT may be a race. */
static int open_or_make(const fx_dev_open *how, bool *made_out) {
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (how->read_only ? O_RDONLY : O_RDWR);
    *made_out = false;
    int fd = how->exclusive ? -1 : open(how->path, flags);
    if (fd < 0 && (how->exclusive || errno == ENOENT) && how->create && !how->read_only) {
        fd = open(how->path, flags | O_CREAT | O_EXCL, FILE_MODE);
        *made_out = fd >= 0;
    }
    int higher = above_standard(fd);
    if (higher < 0 && *made_out) {
        int error = errno;
        (void)unlink(how->path);
        *made_out = false;
        errno = error;
    }
    return higher;
}

/* A killed process lets go of its files a moment after it was reaped: the kernel still has
 * transfers of its ring to finish. So a lock that is taken is tried again for a quarter of a
 * second. */
static int lock_file(int fd) {
    const struct timespec pause = {0, 5000000};
    for (int tries = 0;; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return 0;
        }
        if ((errno != EINTR && errno != EWOULDBLOCK) || tries == 50) {
            return -1;
        }
        int error = errno;
        (void)nanosleep(&pause, NULL);
        errno = error;
    }
}

/* Files of the kernel, as in /proc, say that they are empty and are not. Nobody meant those. 0 if
 * it is not such a file, 1 if it is, -1 with errno if that cannot be told. */
static int only_looks_empty(int fd, const struct stat *status) {
    char byte;
    ssize_t moved = 0;
    if (status->st_size == 0) {
        do {
            moved = pread(fd, &byte, 1, 0);
        } while (moved < 0 && (errno == EINTR || errno == EAGAIN));
    }
    return (int)moved;
}

/* 1 if the file's name still leads to it, 0 if not, -1 with errno if that cannot be told. */
static int is_named(const char *path, const struct stat *opened) {
    struct stat named;
    if (stat(path, &named) != 0) {
        return errno == ENOENT ? 0 : -1;
    }
    return same_file(&named, opened) ? 1 : 0;
}

/* One attempt. FEOX_STALE: the name changed meanwhile, start again. */
static feox_status attempt(const fx_dev_open *how, fx_dev_file *file) {
    struct stat named;
    struct stat opened;
    /* Opening a device or a FIFO may have effects of its own: do not even try. */
    if (stat(how->path, &named) == 0 && !S_ISREG(named.st_mode)) {
        return refuse_kind(how);
    }
    file->fd = open_or_make(how, &file->made);
    if (file->fd < 0) {
        if (errno == EEXIST) {
            return how->exclusive ? fx_error_set(FEOX_EXISTS, 0, "%s", how->path) : FEOX_STALE;
        }
        bool missing = errno == ENOENT && (!how->create || how->read_only);
        return missing ? FEOX_NOT_FOUND : refuse(how, errno, "open");
    }
    feox_status status = FEOX_OK;
    int answer;
    int locked = lock_file(file->fd);
    if (fstat(file->fd, &opened) != 0) {
        status = refuse(how, errno, "stat");
    } else if (!S_ISREG(opened.st_mode)) {
        status = refuse_kind(how);
    } else if (locked != 0) {
        status = refuse(how, errno, "lock");
        /* Somebody found the new file in between and has it now. */
        file->made = file->made && status != FEOX_ERR_BUSY;
    } else if ((answer = is_named(how->path, &opened)) <= 0) {
        status = answer < 0 ? refuse(how, errno, "stat") : FEOX_STALE;
        file->made = file->made && answer < 0;
    } else if ((answer = only_looks_empty(file->fd, &opened)) != 0) {
        status = answer < 0 ? refuse(how, errno, "read") : refuse_kind(how);
    }
    file->was_empty = status == FEOX_OK && opened.st_size == 0;
    file->size = status == FEOX_OK ? (uint64_t)opened.st_size : 0;
    if (status != FEOX_OK) {
        if (file->made) {
            (void)unlink(how->path);
        }
        (void)close(file->fd);
    }
    return status;
}

static feox_status open_locked(const fx_dev_open *how, fx_dev_file *file) {
    for (unsigned i = 0; i < OPEN_ATTEMPTS_MAX; i++) {
        feox_status status = attempt(how, file);
        if (status != FEOX_STALE) {
            return status;
        }
    }
    struct stat link;
    if (lstat(how->path, &link) == 0 && S_ISLNK(link.st_mode)) {
        return fx_error_set(FEOX_ERR_IO, 0, "%s is a symbolic link to nothing", how->path);
    }
    return fx_error_set(FEOX_ERR_BUSY, 0, "%s keeps being replaced", how->path);
}

/* True if the file system says that blocks are aligned enough, or says nothing. */
static bool direct_possible(int fd) {
#ifdef STATX_DIOALIGN
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
        (status.stx_mask & STATX_DIOALIGN) != 0) {
        uint32_t offset_align = status.stx_dio_offset_align;
        uint32_t memory_align = status.stx_dio_mem_align;
        return offset_align != 0 && memory_align != 0 && FX_BLOCK_SIZE % offset_align == 0 &&
               FX_BLOCK_SIZE % memory_align == 0;
    }
#else
    (void)fd;
#endif
    return true;
}

static void set_flags(fx_dev_file *file) {
    int flags = fcntl(file->fd, F_GETFL);
    if (flags < 0) {
        return;
    }
    /* O_NONBLOCK was for FIFOs; on a regular file a ring would answer EAGAIN because of it. */
    flags &= ~O_NONBLOCK;
    if (direct_possible(file->fd) && fcntl(file->fd, F_SETFL, flags | O_DIRECT) == 0) {
        file->direct = 1;
    } else {
        (void)fcntl(file->fd, F_SETFL, flags);
    }
}

/* Decides between ring and threads by making the first queue's ring. */
static feox_status choose_backend(const fx_dev_open *how, fx_dev_file *file) {
    file->base.vtable = &threads_vtable;
    file->threads_allowed = how->backend != FEOX_IO_URING;
    if (how->backend == FEOX_IO_THREADS) {
        return FEOX_OK;
    }
    int error = fx_dev_uring_queue_open(file, &file->spare);
    if (error == 0) {
        file->base.vtable = &uring_vtable;
        return FEOX_OK;
    }
    return file->threads_allowed
               ? FEOX_OK
               : fx_error_set(FEOX_ERR_UNSUPPORTED, -error, "io_uring cannot be used");
}

feox_status fx_dev_file_open(const fx_dev_open *how, fx_dev **dev_out) {
    *dev_out = NULL;
    if (how->path == NULL || how->path[0] == '\0' || how->backend < FEOX_IO_AUTO ||
        how->backend > FEOX_IO_THREADS) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "no path, or no such io_backend");
    }
    fx_dev_file *file = fx_mem_zalloc(sizeof *file);
    if (file == NULL) {
        return fx_error_set(FEOX_ERR_MEMORY, 0, "open %s", how->path);
    }
    file->owner = getpid();
    file->read_only = how->read_only;
    feox_status status = open_locked(how, file);
    if (status != FEOX_OK) {
        fx_mem_free(file);
        return status;
    }
    set_flags(file);
    status = choose_backend(how, file);
    if (status != FEOX_OK) {
        fx_dev_file_discard(&file->base, how->path);
        return status;
    }
    *dev_out = &file->base;
    return FEOX_OK;
}

/* ---- The name ------------------------------------------------------------------------------- */

/* The directory that really holds the file: the path may end in a symbolic link. */
static int open_directory(const char *path) {
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) {
        return -1;
    }
    char *slash = strrchr(real, '/');
    slash[slash == real ? 1 : 0] = '\0';
    return open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

feox_status fx_dev_file_sync_name(fx_dev *dev, const char *path) {
    fx_dev_file *file = fx_dev_file_of(dev);
    int directory = open_directory(path);
    int result;
    do {
        /* A directory that may not be read cannot be synced by itself: then all of its system. */
        result = directory >= 0 ? fsync(directory) : syncfs(file->fd);
    } while (result != 0 && errno == EINTR);
    int error = errno;
    if (directory >= 0) {
        (void)close(directory);
    }
    /* EINVAL: this file system has nothing to sync in a directory. */
    if (result != 0 && error != EINVAL) {
        return fx_error_set(FEOX_ERR_IO, error, "sync the directory of %s", path);
    }
    file->made = false;
    file->was_empty = false;
    return FEOX_OK;
}

void fx_dev_file_discard(fx_dev *dev, const char *path) {
    fx_dev_file *file = fx_dev_file_of(dev);
    struct stat named;
    struct stat opened;
    if (!file->read_only && !fx_dev_file_is_foreign(file)) {
        /* Still locked: whoever waits for the name sees that it is gone, and starts again. */
        if (file->made && stat(path, &named) == 0 && fstat(file->fd, &opened) == 0 &&
            same_file(&named, &opened)) {
            (void)unlink(path);
        } else if (file->was_empty && file_size(file) > 0) {
            (void)resize(file, 0);
        }
    }
    close_file(dev);
}
