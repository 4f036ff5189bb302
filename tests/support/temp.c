/* temp: the removal at exit compares process ids, because a forked child inherits the atexit list
 * and must not take the directory away from its parent. Paths are kept in a list until exit, so
 * that tests need not release them and LeakSanitizer still sees every one.
 */
#define _GNU_SOURCE
#include "support/temp.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct kept_path {
    struct kept_path *next;
    char text[];
} kept_path;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[512];
static pid_t owner;
static unsigned fresh_count;
static kept_path *kept;

static _Noreturn void fail(const char *what, const char *path) {
    (void)fprintf(stderr, "temp: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status;
    (void)type;
    (void)walk;
    (void)remove(path);
    return 0;
}

static void remove_all(void) {
    while (kept != NULL) {
        kept_path *next = kept->next;
        free(kept);
        kept = next;
    }
    if (getpid() == owner && getenv("FEOX_KEEP_TEMP") == NULL) {
        (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

void fx_temp_in_memory(void) {
    if (access("/dev/shm", W_OK) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
}

static const char *directory_locked(void) {
    if (owner == 0) {
        const char *parent = getenv("TMPDIR");
        if (parent == NULL || parent[0] == '\0') {
            parent = "/tmp";
        }
        int used = snprintf(directory, sizeof directory, "%s/feox-test-XXXXXX", parent);
        if (used < 0 || (size_t)used >= sizeof directory) {
            errno = ENAMETOOLONG;
            fail("path", parent);
        }
        if (mkdtemp(directory) == NULL) {
            fail("mkdtemp", directory);
        }
        owner = getpid();
        (void)atexit(remove_all);
    }
    return directory;
}

static const char *keep_locked(const char *name, unsigned number) {
    const char *parent = directory_locked();
    size_t size = strlen(parent) + strlen(name) + 32;
    kept_path *path = malloc(sizeof *path + size);
    if (path == NULL) {
        fail("malloc", name);
    }
    if (number == 0) {
        (void)snprintf(path->text, size, "%s/%s", parent, name);
    } else {
        (void)snprintf(path->text, size, "%s/%s-%u", parent, name, number);
    }
    path->next = kept;
    kept = path;
    return path->text;
}

const char *fx_temp_dir(void) {
    (void)pthread_mutex_lock(&lock);
    const char *path = directory_locked();
    (void)pthread_mutex_unlock(&lock);
    return path;
}

const char *fx_temp_path(const char *name) {
    (void)pthread_mutex_lock(&lock);
    const char *path = keep_locked(name, 0);
    (void)pthread_mutex_unlock(&lock);
    return path;
}

const char *fx_temp_fresh(const char *prefix) {
    (void)pthread_mutex_lock(&lock);
    const char *path = keep_locked(prefix, ++fresh_count);
    (void)pthread_mutex_unlock(&lock);
    return path;
}

void *fx_file_slurp(const char *path, size_t *size_out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        fail("open", path);
    }
    size_t size = (size_t)status.st_size;
    char *data = malloc(size + 1);
    if (data == NULL) {
        fail("malloc for", path);
    }
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, data + done, size - done);
        if (got < 0 && errno != EINTR) {
            fail("read", path);
        }
        if (got == 0) {
            break;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    data[done] = '\0';
    if (size_out != NULL) {
        *size_out = done;
    }
    return data;
}

/* `flags` says what happens to a file that exists. */
static void write_at(const char *path, int flags, uint64_t offset, const void *data, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd < 0) {
        fail("open", path);
    }
    size_t done = 0;
    while (done < size) {
        ssize_t put = pwrite(fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno != EINTR) {
            fail("write", path);
        }
        done += put > 0 ? (size_t)put : 0;
    }
    if (close(fd) != 0) {
        fail("close", path);
    }
}

void fx_file_write(const char *path, const void *data, size_t size) {
    write_at(path, O_CREAT | O_TRUNC, 0, data, size);
}

void fx_file_patch(const char *path, uint64_t offset, const void *data, size_t size) {
    write_at(path, 0, offset, data, size);
}

void fx_file_copy(const char *from, const char *to) {
    size_t size;
    void *data = fx_file_slurp(from, &size);
    fx_file_write(to, data, size);
    free(data);
}

void fx_file_truncate(const char *path, uint64_t size) {
    if (truncate(path, (off_t)size) != 0) {
        fail("truncate", path);
    }
}

uint64_t fx_file_size(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        fail("stat", path);
    }
    return (uint64_t)status.st_size;
}

bool fx_file_exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

void fx_file_remove(const char *path) {
    if (unlink(path) != 0 && errno != ENOENT) {
        fail("unlink", path);
    }
}

bool fx_file_equals(const char *path, const void *data, size_t size) {
    size_t found;
    void *content = fx_file_slurp(path, &found);
    bool equal = found == size && (size == 0 || memcmp(content, data, size) == 0);
    free(content);
    return equal;
}
