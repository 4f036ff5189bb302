/* driver: runs a harness without libFuzzer: every file of a corpus, then mutations of them.
 *
 *   NAME_replay [--runs N] [--seed S] FILE-OR-DIRECTORY...
 *
 * Each mutation follows from the seed, its number and the names of the files alone, so a failure
 * comes again. An input that fails, or takes more than a minute, is left in ./crash-NAME, which can
 * be given in the place of a directory. FEOX_LONG=1 makes ten times as many mutations.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "support/temp.h"

#define INPUT_MAX ((size_t)1 << 16)
#define SEEDS_MAX 1024u
#define HANG_SECONDS 60u

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

typedef struct seed_file {
    char *path;
    uint8_t *bytes;
    size_t size;
} seed_file;

static seed_file seeds[SEEDS_MAX];
static size_t seed_count;
static fx_rng rng;
static uint8_t input[INPUT_MAX];
static volatile size_t input_size;
static char crash_path[256];

/* ---- Keeping what failed ---- */

static void keep_input(void) {
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool kept = fd >= 0 && write(fd, input, input_size) == (ssize_t)input_size;
    static const char text[] = "the input is in ./crash-NAME\n";
    kept = kept && write(STDERR_FILENO, text, sizeof text - 1) > 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    (void)kept;
}

static void on_signal(int number) {
    keep_input();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void watch(void) {
    static const int fatal[] = {SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        /* A sanitizer keeps those that it has something to say about, and calls back. */
        bool own = __sanitizer_set_death_callback == NULL || fatal[i] == SIGALRM;
        if (own || fatal[i] == SIGABRT) {
            (void)signal(fatal[i], on_signal);
        }
    }
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(keep_input);
    }
}

/* ---- Seeds ---- */

static void add_file(const char *path) {
    if (seed_count < SEEDS_MAX) {
        seed_file *seed = &seeds[seed_count++];
        seed->path = strdup(path);
        seed->bytes = fx_file_slurp(path, &seed->size);
        seed->size = seed->size < INPUT_MAX ? seed->size : INPUT_MAX;
    }
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const seed_file *)a)->path, ((const seed_file *)b)->path);
}

static void add_path(const char *path) {
    struct stat info;
    DIR *directory = stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    if (directory == NULL) {
        add_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[4096];
        int length = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && length > 0 && (size_t)length < sizeof name) {
            add_file(name);
        }
    }
    (void)closedir(directory);
    qsort(seeds, seed_count, sizeof seeds[0], by_path);
}

/* ---- Mutations ---- */

static size_t below(size_t bound) {
    return (size_t)fx_rng_below(&rng, bound > 0 ? bound : 1);
}

/* Replaces `out` bytes at `at` by `in` bytes; returns the new size. */
static size_t replace(uint8_t *data, size_t size, size_t size_max, size_t at, size_t out,
                      const uint8_t *bytes, size_t in) {
    in = in < size_max - (size - out) ? in : size_max - (size - out);
    memmove(data + at + in, data + at + out, size - at - out);
    if (in > 0) {
        memcpy(data + at, bytes, in);
    }
    return size - out + in;
}

static size_t mutate_once(uint8_t *data, size_t size, size_t size_max) {
    static const uint8_t extremes[] = {0, 1, 0x20, 0x22, 0x2c, 0x30, 0x5c, 0x7f, 0x80, 0xfe, 0xff};
    uint8_t copy[256];
    size_t at = below(size + 1);
    size_t length = size - at < sizeof copy ? size - at : sizeof copy;
    length = below(below(length + 1) + 1);
    const seed_file *other = &seeds[below(seed_count)];
    switch (below(8)) {
    case 0:
        return replace(data, size, size_max, at, length, NULL, 0);
    case 1: /* a piece again, somewhere else */
        memcpy(copy, data + at, length);
        return replace(data, size, size_max, below(size + 1), 0, copy, length);
    case 2: /* a piece of another seed */
        at = below(size + 1);
        length = other->size < sizeof copy ? other->size : sizeof copy;
        return replace(data, size, size_max, at, 0, other->bytes + below(other->size - length + 1),
                       below(length + 1));
    case 3:
        copy[0] = extremes[below(sizeof extremes)];
        return replace(data, size, size_max, at, 0, copy, 1);
    default:
        break;
    }
    if (at < size) {
        uint8_t *byte = data + at;
        switch (below(3)) {
        case 0:
            *byte = (uint8_t)(*byte ^ 1u << below(8));
            break;
        case 1:
            *byte = extremes[below(sizeof extremes)];
            break;
        default:
            *byte = (uint8_t)fx_rng_next(&rng);
            break;
        }
    }
    return size;
}

static void mutate(uint64_t seed, uint64_t number) {
    fx_rng_init(&rng, seed * 0x9e3779b97f4a7c15u + number);
    input_size = 0;
    if (seed_count > 0) {
        const seed_file *from = &seeds[below(seed_count)];
        memcpy(input, from->bytes, from->size);
        input_size = from->size;
    }
    size_t size = input_size;
    for (size_t rounds = 1 + below(8); rounds > 0; rounds--) {
        size = mutate_once(input, size, INPUT_MAX);
    }
    input_size = size;
}

static void run_input(void) {
    uint8_t *exact = fuzz_copy(input, input_size);
    (void)alarm(HANG_SECONDS);
    (void)LLVMFuzzerTestOneInput(exact, input_size);
    (void)alarm(0);
    free(exact);
}

int main(int count, char **words) {
    uint64_t runs = 0;
    uint64_t seed = 1;
    const char *name = strrchr(words[0], '/') != NULL ? strrchr(words[0], '/') + 1 : words[0];
    struct timespec begin;
    struct timespec end;
    (void)snprintf(crash_path, sizeof crash_path, "crash-%s", name);
    (void)LLVMFuzzerInitialize(&count, &words);
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--runs") == 0 && i + 1 < count) {
            runs = strtoull(words[++i], NULL, 0);
        } else if (strcmp(words[i], "--seed") == 0 && i + 1 < count) {
            seed = strtoull(words[++i], NULL, 0);
        } else {
            add_path(words[i]);
        }
    }
    const char *text = getenv("FEOX_SEED");
    seed = text != NULL ? strtoull(text, NULL, 0) : seed;
    runs = getenv("FEOX_LONG") != NULL ? runs * 10 : runs;
    printf("%s: FEOX_SEED=%llu\n", name, (unsigned long long)seed);
    (void)fflush(stdout);
    watch();
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t i = 0; i < seed_count; i++) {
        memcpy(input, seeds[i].bytes, seeds[i].size);
        input_size = seeds[i].size;
        run_input();
    }
    for (uint64_t i = 0; i < runs; i++) {
        mutate(seed, i);
        run_input();
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%s: %zu seeds, %llu mutations, 0 failures, %.1f s\n", name, seed_count,
           (unsigned long long)runs,
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    for (size_t i = 0; i < seed_count; i++) {
        free(seeds[i].path);
        free(seeds[i].bytes);
    }
    return 0;
}
