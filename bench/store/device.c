/* Plain direct input and output. See device.h. */
#include "store/device.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <liburing.h>

#include "store/work.h"

#define BLOCK 4096u
#define CHUNK (1u << 20)
#define WRITES 8u

static int must_open(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC, 0644);
    if (fd < 0) {
        fail("device", path);
    }
    return fd;
}

static uint8_t *buffer_of(size_t size) {
    uint8_t *buffer = aligned_alloc(BLOCK, size);
    if (buffer == NULL) {
        fail("device", "no memory");
    }
    for (size_t i = 0; i < size; i++) {
        buffer[i] = (uint8_t)(i * 131 + (i >> 9));
    }
    return buffer;
}

static void wait_one(struct io_uring *ring, int wanted) {
    struct io_uring_cqe *done;
    if (io_uring_wait_cqe(ring, &done) != 0 || done->res != wanted) {
        fail("device", "input or output failed");
    }
    io_uring_cqe_seen(ring, done);
}

static void start_ring(struct io_uring *ring, unsigned depth) {
    if (io_uring_queue_init(depth, ring, 0) != 0) {
        fail("device", "no io_uring");
    }
}

double device_write_rate(const char *directory, uint64_t bytes) {
    char path[600];
    struct io_uring ring;
    uint8_t *buffer = buffer_of(CHUNK);
    snprintf(path, sizeof path, "%s/raw", directory);
    int fd = must_open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT);
    start_ring(&ring, WRITES);
    unsigned under_way = 0;
    double start = now_seconds();
    for (uint64_t at = 0; at < bytes; at += CHUNK) {
        if (under_way == WRITES) {
            wait_one(&ring, CHUNK);
            under_way--;
        }
        io_uring_prep_write(io_uring_get_sqe(&ring), fd, buffer, CHUNK, at);
        io_uring_submit(&ring);
        under_way++;
    }
    while (under_way-- > 0) {
        wait_one(&ring, CHUNK);
    }
    if (fdatasync(fd) != 0) {
        fail("device", "fdatasync");
    }
    double took = now_seconds() - start;
    io_uring_queue_exit(&ring);
    close(fd);
    unlink(path);
    free(buffer);
    return (double)(bytes / CHUNK * CHUNK) / took;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *values, unsigned count) {
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

static double sync_median(int fd, unsigned count, bool flush) {
    double *taken = calloc(count, sizeof *taken);
    uint8_t *buffer = buffer_of(BLOCK);
    for (unsigned i = 0; i < count; i++) {
        double start = now_seconds();
        if (pwrite(fd, buffer, BLOCK, (off_t)(i % 1024) * BLOCK) != BLOCK ||
            (flush && fdatasync(fd) != 0)) {
            fail("device", "durable write");
        }
        taken[i] = (now_seconds() - start) * 1e9;
    }
    double median = median_of(taken, count);
    free(taken);
    free(buffer);
    return median;
}

double device_sync_ns(const char *directory, unsigned count) {
    char path[600];
    uint8_t *buffer = buffer_of(CHUNK);
    snprintf(path, sizeof path, "%s/raw", directory);
    int fd = must_open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT);
    int synced = must_open(path, O_RDWR | O_DIRECT | O_DSYNC);
    for (unsigned i = 0; i < 4; i++) {
        if (pwrite(fd, buffer, CHUNK, (off_t)i * CHUNK) != CHUNK) {
            fail("device", "write");
        }
    }
    fsync(fd);
    double with_write = sync_median(synced, count, false);
    double with_flush = sync_median(fd, count, true);
    close(fd);
    close(synced);
    unlink(path);
    free(buffer);
    return with_write < with_flush ? with_write : with_flush;
}

/* The largest file, for random reads; its size in whole blocks. */
static int open_largest(const char *directory, uint64_t *blocks_out) {
    DIR *list = opendir(directory);
    char path[1024], largest[1024] = "";
    off_t size = 0;
    for (struct dirent *item; list != NULL && (item = readdir(list)) != NULL;) {
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", directory, item->d_name);
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_blocks * 512 > size) {
            size = info.st_blocks * 512 < info.st_size ? info.st_blocks * 512 : info.st_size;
            snprintf(largest, sizeof largest, "%s", path);
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    *blocks_out = (uint64_t)size / BLOCK;
    if (*blocks_out == 0) {
        fail("device", "nothing to read");
    }
    return must_open(largest, O_RDONLY | O_DIRECT);
}

double device_read_ns(const char *directory, unsigned count) {
    uint64_t blocks, random = 11;
    int fd = open_largest(directory, &blocks);
    uint8_t *buffer = buffer_of(BLOCK);
    double *taken = calloc(count, sizeof *taken);
    for (unsigned i = 0; i < count; i++) {
        double start = now_seconds();
        if (pread(fd, buffer, BLOCK, (off_t)(work_random(&random) % blocks) * BLOCK) != BLOCK) {
            fail("device", "read");
        }
        taken[i] = (now_seconds() - start) * 1e9;
    }
    double median = median_of(taken, count);
    close(fd);
    free(taken);
    free(buffer);
    return median;
}

double device_read_rate(const char *directory, unsigned depth, unsigned count) {
    uint64_t blocks, random = 12;
    struct io_uring ring;
    int fd = open_largest(directory, &blocks);
    uint8_t *buffer = buffer_of((size_t)BLOCK * depth);
    start_ring(&ring, depth);
    double start = now_seconds();
    for (unsigned done = 0; done < count; done += depth) {
        for (unsigned i = 0; i < depth; i++) {
            io_uring_prep_read(io_uring_get_sqe(&ring), fd, buffer + (size_t)BLOCK * i, BLOCK,
                               work_random(&random) % blocks * BLOCK);
        }
        io_uring_submit(&ring);
        for (unsigned i = 0; i < depth; i++) {
            wait_one(&ring, BLOCK);
        }
    }
    double took = now_seconds() - start;
    io_uring_queue_exit(&ring);
    close(fd);
    free(buffer);
    return (double)((count + depth - 1) / depth * depth) / took;
}
