/* store_bench: libfeox beside its peers, its ancestor and the bound, through public interfaces.
 *
 *   bench_store [--quick] [--rounds N] [--json FILE] [--only GROUP,...] [--engines NAME,...]
 *               [--dir DIRECTORY]
 *
 * In every round each group of rows runs once with each engine, one after the other, each time in a
 * process of its own. So all engines see the machine as it is at that time, and none inherits the
 * memory of another. Figures go to standard output as they come, and all together as JSON to FILE;
 * bench/chart.py makes tables and charts of that. README.md has the method.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <feox.h>

#include "store/rows.h"

#define ROUNDS_MAX 64
#define FIGURES_MAX 8192

typedef struct group {
    const char *name;
    void (*run)(const row_setup *setup);
    uint64_t keys;
    size_t value_size;
    unsigned needs; /* NEEDS_ flags: engines without are left out */
    bool quick;     /* part of --quick */
} group;

#define NEEDS_FILES 1u
#define NEEDS_THREADS 2u
#define NEEDS_SPEED 4u /* engines marked slow are left out */

static const group groups[] = {
    {"memory", rows_memory, 1000000, 100, 0, true},
    {"threads", rows_threads, 1000000, 100, NEEDS_THREADS, true},
    {"empty", rows_empty, 0, 100, 0, true},
    {"ycsb", rows_ycsb, 1000000, 100, 0, false},
    {"disk", rows_disk, 1000000, 100, NEEDS_FILES, true},
    {"updates", rows_updates, 300000, 100, NEEDS_FILES, true},
    {"durable", rows_durable, 100000, 100, NEEDS_FILES, true},
    {"memory-1000", rows_memory, 1000000, 1000, 0, false},
    {"disk-1000", rows_disk, 1000000, 1000, NEEDS_FILES, false},
    {"memory-10M", rows_memory, 10000000, 100, NEEDS_SPEED, false},
    {"growth", rows_growth, 10000000, 100, NEEDS_SPEED, false},
    {"reopen-10M", rows_reopen, 10000000, 100, NEEDS_FILES | NEEDS_SPEED, false},
};

static const engine *const engines[] = {
    &engine_feox,
    &engine_bare,
#ifdef BENCH_LMDB
    &engine_lmdb,
    &engine_lmdb_batch,
#endif
#ifdef BENCH_ROCKSDB
    &engine_rocksdb,
#endif
    &engine_feoxdb,
    &engine_feoxdb_tuned,
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef struct figure {
    char group[32], engine[24], name[64];
    double values[ROUNDS_MAX];
    int count;
} figure;

static struct {
    int rounds;
    bool quick;
    const char *json, *only, *engines, *directory;
    const char *self;
    figure figures[FIGURES_MAX];
    size_t figure_count;
} bench = {.rounds = 5, .directory = "."};

/* Is the name in the list "a,b,c"? NULL is every name. */
static bool listed(const char *list, const char *name) {
    size_t size = strlen(name);
    while (list != NULL) {
        const char *end = strchr(list, ',');
        size_t item = end != NULL ? (size_t)(end - list) : strlen(list);
        if (item == size && memcmp(list, name, size) == 0) {
            return true;
        }
        list = end != NULL ? end + 1 : NULL;
        if (list == NULL) {
            return false;
        }
    }
    return true;
}

static bool takes_part(const group *g, const engine *e) {
    if (strncmp(e->name, "feoxdb", 6) == 0 && getenv("FEOX_BENCH_FEOXDB") == NULL) {
        return false;
    }
    if (!listed(bench.engines, e->name) || !listed(bench.only, g->name)) {
        return false;
    }
    if (bench.quick && (!g->quick || e->slow)) {
        return false;
    }
    return !((g->needs & NEEDS_FILES) != 0 && !e->files) &&
           !((g->needs & NEEDS_THREADS) != 0 && !e->threads) &&
           !((g->needs & NEEDS_SPEED) != 0 && e->slow);
}

static void record(const char *group_name, const char *engine_name, const char *name,
                   double value) {
    figure *f = NULL;
    for (size_t i = 0; i < bench.figure_count && f == NULL; i++) {
        figure *at = &bench.figures[i];
        if (strcmp(at->name, name) == 0 && strcmp(at->engine, engine_name) == 0 &&
            strcmp(at->group, group_name) == 0) {
            f = at;
        }
    }
    if (f == NULL) {
        if (bench.figure_count == FIGURES_MAX) {
            fail("figures", "too many");
        }
        f = &bench.figures[bench.figure_count++];
        snprintf(f->group, sizeof f->group, "%s", group_name);
        snprintf(f->engine, sizeof f->engine, "%s", engine_name);
        snprintf(f->name, sizeof f->name, "%s", name);
    }
    if (f->count < ROUNDS_MAX) {
        f->values[f->count++] = value;
    }
}

static void remove_files(const char *directory) {
    pid_t child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", directory, (char *)NULL);
        _exit(127);
    }
    waitpid(child, NULL, 0);
}

/* What runs in the child. */
static int run_child(const char *group_name, const char *engine_name, int round,
                     const char *directory, const char *tmpfs) {
    for (size_t g = 0; g < COUNT(groups); g++) {
        for (size_t e = 0; e < COUNT(engines); e++) {
            if (strcmp(groups[g].name, group_name) == 0 &&
                strcmp(engines[e]->name, engine_name) == 0) {
                row_setup setup = {.engine = engines[e],
                                   .keys = groups[g].keys,
                                   .value_size = groups[g].value_size,
                                   .directory = directory,
                                   .tmpfs = tmpfs,
                                   .seed = (uint64_t)round + 1,
                                   .quick = bench.quick};
                groups[g].run(&setup);
                return 0;
            }
        }
    }
    return 2;
}

/* Reads the child's figures until it ends. */
static void collect(int in, const group *g, const engine *e) {
    FILE *stream = fdopen(in, "r");
    char line[256], name[64];
    double value;
    while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
        if (sscanf(line, "%63[^\t]\t%lf", name, &value) == 2) {
            record(g->name, e->name, name, value);
            printf("%-12s %-12s %-34s %14.1f\n", g->name, e->name, name, value);
            fflush(stdout);
        }
    }
    if (stream != NULL) {
        fclose(stream);
    }
}

static void run_in_child(const group *g, const engine *e, int round) {
    char directory[512], tmpfs[] = "/dev/shm/feox-bench-XXXXXX", number[16];
    int channel[2];
    snprintf(directory, sizeof directory, "%s/feox-bench-XXXXXX", bench.directory);
    snprintf(number, sizeof number, "%d", round);
    if (mkdtemp(directory) == NULL || mkdtemp(tmpfs) == NULL || pipe(channel) != 0) {
        fail(bench.directory, strerror(errno));
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(channel[1], STDOUT_FILENO);
        close(channel[0]);
        close(channel[1]);
        /* The ancestor's allocator wants thread-local memory that a loader must set aside early. */
        setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=16384", 1);
        execl(bench.self, bench.self, "--child", g->name, e->name, number, directory, tmpfs,
              bench.quick ? "quick" : "full", (char *)NULL);
        _exit(127);
    }
    close(channel[1]);
    collect(channel[0], g, e);
    int status = 0;
    waitpid(child, &status, 0);
    remove_files(directory);
    remove_files(tmpfs);
    if (status != 0) {
        fprintf(stderr, "bench: %s with %s ended with status %d\n", g->name, e->name, status);
        record(g->name, e->name, "failed", 1);
    }
}

static void write_figure(FILE *out, const figure *f, bool last) {
    fprintf(out, "    {\"group\": \"%s\", \"engine\": \"%s\", \"figure\": \"%s\", \"rounds\": [",
            f->group, f->engine, f->name);
    for (int i = 0; i < f->count; i++) {
        fprintf(out, "%s%.6g", i > 0 ? ", " : "", f->values[i]);
    }
    fprintf(out, "]}%s\n", last ? "" : ",");
}

static void write_processor(FILE *out) {
    FILE *info = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        char *name = strstr(line, ": ");
        if (strncmp(line, "model name", 10) == 0 && name != NULL) {
            name[strcspn(name, "\n\"\\")] = 0;
            fprintf(out, "  \"processor\": \"%s\",\n", name + 2);
            break;
        }
    }
    if (info != NULL) {
        fclose(info);
    }
}

static void write_json(const char *path) {
    FILE *out = fopen(path, "w");
    struct utsname system;
    if (out == NULL || uname(&system) != 0) {
        fail(path, strerror(errno));
    }
    fprintf(out, "{\n  \"version\": \"%s\",\n  \"build\": \"%s\",\n", feox_version(),
            feox_build_info());
    fprintf(out, "  \"system\": \"%s %s %s\",\n", system.sysname, system.release, system.machine);
    write_processor(out);
    fprintf(out, "  \"processors\": %ld,\n", sysconf(_SC_NPROCESSORS_ONLN));
    fprintf(out, "  \"quick\": %s,\n  \"engines\": {", bench.quick ? "true" : "false");
    for (size_t i = 0; i < COUNT(engines); i++) {
        fprintf(out, "%s\n    \"%s\": \"%s\"", i > 0 ? "," : "", engines[i]->name,
                engines[i]->note);
    }
    fprintf(out, "\n  },\n  \"figures\": [\n");
    for (size_t i = 0; i < bench.figure_count; i++) {
        write_figure(out, &bench.figures[i], i + 1 == bench.figure_count);
    }
    fprintf(out, "  ]\n}\n");
    if (fclose(out) != 0) {
        fail(path, strerror(errno));
    }
}

static void usage(void) {
    fprintf(stderr, "usage: bench_store [--quick] [--rounds N] [--json FILE] [--only GROUP,...]\n"
                    "                   [--engines NAME,...] [--dir DIRECTORY]\ngroups: ");
    for (size_t i = 0; i < COUNT(groups); i++) {
        fprintf(stderr, " %s", groups[i].name);
    }
    fprintf(stderr, "\nengines:");
    for (size_t i = 0; i < COUNT(engines); i++) {
        fprintf(stderr, " %s", engines[i]->name);
    }
    fprintf(stderr, "\n");
    exit(2);
}

static void parse(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            bench.quick = true;
            bench.rounds = 3;
            continue;
        }
        if (value == NULL) {
            usage();
        } else if (strcmp(argv[i], "--rounds") == 0) {
            bench.rounds = atoi(value);
        } else if (strcmp(argv[i], "--json") == 0) {
            bench.json = value;
        } else if (strcmp(argv[i], "--only") == 0) {
            bench.only = value;
        } else if (strcmp(argv[i], "--engines") == 0) {
            bench.engines = value;
        } else if (strcmp(argv[i], "--dir") == 0) {
            bench.directory = value;
        } else {
            usage();
        }
        i++;
    }
    if (bench.rounds < 1 || bench.rounds > ROUNDS_MAX) {
        usage();
    }
}

int main(int argc, char **argv) {
    bench.self = "/proc/self/exe";
    if (argc == 8 && strcmp(argv[1], "--child") == 0) {
        bench.quick = strcmp(argv[7], "quick") == 0;
        return run_child(argv[2], argv[3], atoi(argv[4]), argv[5], argv[6]);
    }
    parse(argc, argv);
    for (int round = 0; round < bench.rounds; round++) {
        for (size_t g = 0; g < COUNT(groups); g++) {
            for (size_t e = 0; e < COUNT(engines); e++) {
                if (takes_part(&groups[g], engines[e])) {
                    run_in_child(&groups[g], engines[e], round);
                }
            }
            if (bench.json != NULL) {
                write_json(bench.json); /* so that a run that is cut short leaves something */
            }
        }
    }
    return 0;
}
