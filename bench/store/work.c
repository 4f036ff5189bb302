/* Keys, values, operations prepared in advance, results. See work.h. */
#include "store/work.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void fail(const char *what, const char *detail) {
    fprintf(stderr, "bench: %s: %s\n", what, detail);
    exit(1);
}

void report(const char *name, double value) {
    printf("%s\t%.17g\n", name, value);
    fflush(stdout);
}

/* ---- Random numbers and keys ---- */

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t work_random(uint64_t *state) {
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(*state);
}

static uint64_t below(uint64_t *state, uint64_t limit) {
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)work_random(state) * limit) >> 64);
}

void work_key(uint64_t id, uint8_t key[KEY_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    const uint64_t mask = (UINT64_C(1) << 48) - 1;
    /* Each step can be undone, so no two ids share a key. */
    uint64_t x = id & mask;
    x = (x * UINT64_C(0xbf58476d1ce5)) & mask;
    x ^= x >> 23;
    x = (x * UINT64_C(0x94d049bb1331)) & mask;
    x ^= x >> 25;
    x = (x * UINT64_C(0x9e3779b97f4b)) & mask;
    memcpy(key, "user", 4);
    for (int i = 0; i < 12; i++) {
        key[4 + i] = (uint8_t)digits[(x >> (44 - 4 * i)) & 15];
    }
}

void work_value(uint64_t id, uint64_t generation, void *value, size_t size) {
    uint8_t *bytes = value;
    uint64_t seal = work_seal(id, generation);
    memcpy(bytes, &id, 8);
    memcpy(bytes + 8, &generation, 8);
    memcpy(bytes + size - 8, &seal, 8);
}

/* Gray, Sundaresan, Englert, Baclawski, Weinberger: Quickly generating billion-record synthetic
 * databases (SIGMOD 1994), as YCSB has it. */
void zipf_init(zipf *z, uint64_t count, double theta) {
    z->count = count;
    z->theta = theta;
    z->zeta = 0;
    for (uint64_t i = 1; i <= count; i++) {
        z->zeta += 1 / pow((double)i, theta);
    }
    double zeta2 = 1 + pow(0.5, theta);
    z->alpha = 1 / (1 - theta);
    z->eta = (1 - pow(2.0 / (double)count, 1 - theta)) / (1 - zeta2 / z->zeta);
}

uint64_t zipf_next(const zipf *z, uint64_t *random) {
    double u = (double)(work_random(random) >> 11) * 0x1p-53;
    double uz = u * z->zeta;
    if (uz < 1) {
        return 0;
    }
    if (uz < 1 + pow(0.5, z->theta)) {
        return 1;
    }
    uint64_t rank = (uint64_t)((double)z->count * pow(z->eta * u - z->eta + 1, z->alpha));
    return rank < z->count ? rank : z->count - 1;
}

/* ---- Prepared operations ---- */

ops ops_make(size_t count) {
    size_t bytes = (count + 1) * sizeof(op);
    ops made = {mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                count};
    if (made.list == MAP_FAILED) {
        fail("operations", "no memory");
    }
    madvise(made.list, bytes, MADV_HUGEPAGE);
    return made;
}

void ops_free(ops *list) {
    munmap(list->list, (list->count + 1) * sizeof(op));
    *list = (ops){NULL, 0};
}

static void ops_set(op *item, op_kind kind, uint64_t id) {
    work_key(id, item->key);
    item->id = id;
    item->kind = kind;
    item->length = 100;
}

ops ops_each(op_kind kind, uint64_t from, size_t count, uint64_t seed) {
    ops made = ops_make(count);
    for (size_t i = 0; i < count; i++) {
        made.list[i].id = from + i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = below(&seed, i);
        uint64_t swap = made.list[i - 1].id;
        made.list[i - 1].id = made.list[other].id;
        made.list[other].id = swap;
    }
    for (size_t i = 0; i < count; i++) {
        ops_set(&made.list[i], kind, made.list[i].id);
    }
    return made;
}

ops ops_uniform(op_kind kind, uint64_t from, uint64_t keys, size_t count, uint64_t seed) {
    ops made = ops_make(count);
    for (size_t i = 0; i < count; i++) {
        ops_set(&made.list[i], kind, from + below(&seed, keys));
    }
    return made;
}

/* The popular keys are anywhere: their ids are scattered. */
ops ops_zipf(op_kind kind, uint64_t keys, size_t count, uint64_t seed) {
    static zipf z;
    if (z.count != keys) {
        zipf_init(&z, keys, 0.99);
    }
    ops made = ops_make(count);
    for (size_t i = 0; i < count; i++) {
        ops_set(&made.list[i], kind, mix(zipf_next(&z, &seed)) % keys);
    }
    return made;
}

/* ---- Machine ---- */

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double now_seconds(void) {
    return seconds_of(CLOCK_MONOTONIC);
}

double cpu_process(void) {
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

double cpu_thread(void) {
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t memory_resident(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total = 0, resident = 0;
    if (file == NULL || fscanf(file, "%lu %lu", &total, &resident) != 2) {
        fail("/proc/self/statm", "cannot be read");
    }
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t process_written(void) {
    FILE *file = fopen("/proc/self/io", "r");
    char line[128];
    unsigned long long bytes = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "write_bytes: %llu", &bytes);
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

typedef void (*file_visitor)(const char *path, const struct stat *info, uint64_t *sum);

static uint64_t each_file(const char *path, file_visitor visit) {
    uint64_t sum = 0;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return 0;
    }
    for (struct dirent *item; (item = readdir(directory)) != NULL;) {
        char name[1024];
        struct stat info;
        snprintf(name, sizeof name, "%s/%s", path, item->d_name);
        if (stat(name, &info) == 0 && S_ISREG(info.st_mode)) {
            visit(name, &info, &sum);
        }
    }
    closedir(directory);
    return sum;
}

static void visit_size(const char *path, const struct stat *info, uint64_t *sum) {
    (void)path;
    *sum += (uint64_t)info->st_blocks * 512;
}

static void visit_cold(const char *path, const struct stat *info, uint64_t *sum) {
    (void)info;
    (void)sum;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fdatasync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

uint64_t directory_size(const char *path) {
    return each_file(path, visit_size);
}

void directory_cold(const char *path) {
    each_file(path, visit_cold);
}

void memory_warm(uint64_t bytes) {
    uint8_t *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return;
    }
    for (uint64_t at = 0; at < bytes; at += 4096) {
        memory[at] = 1;
    }
    munmap(memory, bytes);
}
