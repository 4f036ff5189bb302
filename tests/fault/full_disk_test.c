/* Full disks: the call that needs the space says so, nothing acknowledged is lost, reads and
 * deletes go on, and writes are taken again as soon as there is space, without reopening.
 *
 * On small file systems of their own (ext4, tmpfs, XFS, and btrfs, which refuses writes into blocks
 * that the file has: what this machine can mount, the others are skipped by name), and, without any
 * privilege, behind file_size_limit.
 * FEOX_LONG=1 makes more rounds and takes XFS, too; FEOX_SEED repeats a run.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>

#include "support/mount.h"

enum { THREADS_MAX = 4, VALUE_MAX = 200 << 10 };

#define MIB ((uint64_t)1 << 20)

typedef enum size_kind { SIZES_TINY, SIZES_MIXED } size_kind;

static uint64_t run_seed;

/* ---- A writer and what it knows ------------------------------------------------------------- */

typedef struct writer {
    feox_store *store;
    unsigned id;
    size_kind sizes;
    bool durable;
    uint32_t capacity;
    uint32_t count;   /* keys that were ever tried */
    uint64_t *stamps; /* of each key's value; 0: absent */
    uint64_t stamp;
    uint64_t bytes; /* of keys and values that are there */
    unsigned refused;
    char wrong[400]; /* the first thing that should not be */
} writer;

static void wrong(writer *w, const char *what, feox_status status) {
    if (w->wrong[0] == '\0') {
        (void)snprintf(w->wrong, sizeof w->wrong, "writer %u, key %u: %s: %s; %s", w->id, w->count,
                       what, feox_status_name(status), feox_last_error());
    }
}

static size_t make_key(char key[32], unsigned id, uint32_t number) {
    return (size_t)snprintf(key, 32, "w%u-%08x", id, (unsigned)(number * 2654435761u));
}

static size_t size_of(size_kind sizes, uint64_t stamp) {
    uint64_t random = kit_mix(stamp ^ run_seed);
    if (sizes == SIZES_TINY) {
        return 8 + random % 60;
    }
    uint64_t which = random >> 32;
    return 8 + random % (which % 10 < 6 ? 300 : which % 10 < 9 ? 20000 : VALUE_MAX - 8);
}

static feox_status put(writer *w, uint32_t number, uint64_t stamp) {
    static _Thread_local unsigned char value[VALUE_MAX];
    char key[32];
    size_t size = size_of(w->sizes, stamp);
    kit_fill(value, size, stamp);
    feox_write how;
    feox_write_init(&how);
    how.flags = w->durable ? FEOX_DURABLE : 0;
    return feox_insert_with(w->store, key, make_key(key, w->id, number), value, size, &how, NULL);
}

static feox_status drop(writer *w, uint32_t number) {
    char key[32];
    feox_write how;
    feox_write_init(&how);
    how.flags = w->durable ? FEOX_DURABLE : 0;
    return feox_delete_with(w->store, key, make_key(key, w->id, number), &how, NULL);
}

/* Writes new keys, and over old ones, until the disk is full. */
static void fill(writer *w) {
    for (w->refused = 0; w->refused < 8 && w->wrong[0] == '\0';) {
        uint32_t number = 0;
        while (number < w->count && w->stamps[number] != 0) {
            number++; /* few are absent in the middle, and only after deletes */
        }
        if (number == w->capacity) {
            wrong(w, "the disk does not become full", FEOX_OK);
            return;
        }
        for (; number < w->capacity && w->refused < 8; number++) {
            if (number < w->count && w->stamps[number] != 0) {
                continue;
            }
            uint64_t stamp = ((uint64_t)w->id << 56) + ++w->stamp;
            feox_status status = put(w, number, stamp);
            w->count = number >= w->count ? number + 1 : w->count;
            if (status == FEOX_OK) {
                w->stamps[number] = stamp;
            } else if (status == FEOX_ERR_SPACE) {
                w->refused++;
            } else {
                wrong(w, "insert", status);
                return;
            }
        }
    }
}

/* Deletes every `step`-th key. */
static void thin(writer *w, uint32_t step) {
    for (uint32_t i = 0; i < w->count && w->wrong[0] == '\0'; i += step) {
        feox_status status = drop(w, i);
        if (status != (w->stamps[i] != 0 ? FEOX_OK : FEOX_NOT_FOUND)) {
            wrong(w, "delete", status);
        } else if (w->stamps[i] != 0) {
            w->stamps[i] = 0;
        }
    }
}

static void thin_all(writer *w) {
    thin(w, 1);
}

static void thin_half(writer *w) {
    thin(w, 2);
}

static void verify(writer *w) {
    static _Thread_local unsigned char value[VALUE_MAX];
    for (uint32_t i = 0; i < w->count && w->wrong[0] == '\0'; i++) {
        char key[32];
        size_t size = 0;
        feox_status status =
            feox_get_into(w->store, key, make_key(key, w->id, i), value, sizeof value, &size);
        uint64_t stamp = w->stamps[i];
        if (status != (stamp != 0 ? FEOX_OK : FEOX_NOT_FOUND)) {
            wrong(w, "get", status);
        } else if (stamp != 0 &&
                   (size != size_of(w->sizes, stamp) || !kit_filled(value, size, stamp))) {
            wrong(w, "another value", status);
        }
    }
}

/* ---- Several of them ------------------------------------------------------------------------ */

typedef struct crew {
    writer writers[THREADS_MAX];
    unsigned count;
} crew;

typedef struct job {
    writer *w;
    void (*work)(writer *w);
} job;

static void *run_job(void *argument) {
    job *j = argument;
    j->work(j->w);
    return NULL;
}

static void crew_do(crew *c, void (*work)(writer *w)) {
    pthread_t threads[THREADS_MAX];
    job jobs[THREADS_MAX];
    for (unsigned i = 0; i < c->count; i++) {
        jobs[i] = (job){&c->writers[i], work};
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < c->count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (unsigned i = 0; i < c->count; i++) {
        if (c->writers[i].wrong[0] != '\0') {
            print_error("  %s\n", c->writers[i].wrong);
            fail();
        }
    }
}

static void crew_init(crew *c, unsigned count, size_kind sizes, uint32_t capacity) {
    memset(c, 0, sizeof *c);
    c->count = count;
    for (unsigned i = 0; i < count; i++) {
        c->writers[i] = (writer){.id = i, .sizes = sizes, .capacity = capacity};
        c->writers[i].stamps = kit_alloc(capacity * sizeof(uint64_t));
        memset(c->writers[i].stamps, 0, capacity * sizeof(uint64_t));
    }
}

static void crew_free(crew *c) {
    for (unsigned i = 0; i < c->count; i++) {
        free(c->writers[i].stamps);
    }
}

static void crew_use(crew *c, feox_store *store, bool durable) {
    for (unsigned i = 0; i < c->count; i++) {
        c->writers[i].store = store;
        c->writers[i].durable = durable;
    }
}

/* Of the values that are there. */
static uint64_t crew_bytes(const crew *c) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < c->count; i++) {
        const writer *w = &c->writers[i];
        for (uint32_t j = 0; j < w->count; j++) {
            bytes += w->stamps[j] != 0 ? size_of(w->sizes, w->stamps[j]) : 0;
        }
    }
    return bytes;
}

/* ---- Scenarios ------------------------------------------------------------------------------ */

static void expect_alive(feox_store *store) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(store, &stats));
    assert_int_equal(stats.io_error, 0);
}

static feox_store *open_store(const char *path, const feox_options *options) {
    feox_store *store = NULL;
    assert_ok(feox_open(path, options, &store));
    return store;
}

/* Full, emptied, full again, and so on; at the end all is there that should be. */
static void fill_and_empty(const char *path, const feox_options *options, unsigned threads,
                           size_kind sizes, bool durable) {
    unsigned rounds = getenv("FEOX_LONG") != NULL ? 5 : 1;
    uint64_t first = 0;
    crew c;
    crew_init(&c, threads, sizes, sizes == SIZES_TINY ? 1500000 : 200000);
    feox_store *store = open_store(path, options);
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t before = crew_bytes(&c);
        crew_use(&c, store, durable);
        crew_do(&c, fill);
        assert_ok(feox_flush(store));
        expect_alive(store);
        crew_do(&c, verify);
        uint64_t after = crew_bytes(&c);
        first = round == 0 ? after : first;
        print_message("  round %u: %llu bytes, then %llu\n", round, (unsigned long long)before,
                      (unsigned long long)after);
        /* The space did come back: what was full and is empty takes as much again. */
        assert_true(after > before);
        assert_true(before > 0 || after >= first / 4 * 3);
        crew_do(&c, round % 2 == 0 ? thin_all : thin_half);
        assert_true(round % 2 != 0 || crew_bytes(&c) == 0);
        assert_ok(feox_flush(store));
        expect_alive(store);
    }
    crew_do(&c, fill);
    assert_true(crew_bytes(&c) >= first / 4 * 3);
    crew_do(&c, verify);
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
    store = open_store(path, options);
    crew_use(&c, store, durable);
    crew_do(&c, verify);
    crew_do(&c, thin_half);
    assert_ok(feox_close(store));
    store = open_store(path, options);
    crew_use(&c, store, durable);
    crew_do(&c, verify);
    assert_ok(feox_close(store));
    crew_free(&c);
}

/* ---- Without privileges --------------------------------------------------------------------- */

static void test_file_size_limit(void **state) {
    (void)state;
    for (unsigned i = getenv("FEOX_LONG") != NULL ? 0 : 1; i < 4; i += 2) {
        feox_options options;
        kit_options_init(&options);
        options.file_size_limit = (getenv("FEOX_LONG") != NULL ? 24 : 12) * MIB;
        const char *path = fx_temp_fresh("limit");
        fill_and_empty(path, &options, i % 3 == 0 ? 1 : THREADS_MAX,
                       i < 2 ? SIZES_TINY : SIZES_MIXED, false);
        assert_true(fx_file_size(path) <= options.file_size_limit);
        fx_file_remove(path);
    }
}

/* ---- On file systems of their own ----------------------------------------------------------- */

typedef struct place {
    const char *type;
    uint64_t size;
    bool is_long; /* only with FEOX_LONG */
} place;

/* What is left of it for the tests is 64 MiB at most. Skips, and says why, if there is none. */
static fx_mount *mount_place(const place *where) {
    const char *why_not;
    const fx_mount_how how = {.type = where->type, .size = where->size};
    if (where->is_long && getenv("FEOX_LONG") == NULL) {
        print_message("skipped: %s only with FEOX_LONG=1\n", where->type);
        skip();
    }
    fx_mount *mount = fx_mount_begin(&how, &why_not);
    if (mount == NULL) {
        print_message("skipped: no %s here: %s\n", where->type, why_not);
        skip();
    }
    if (strcmp(where->type, "btrfs") != 0) { /* it does not say what is left */
        fx_mount_fill(mount, "ballast", 64 * MIB);
    }
    return mount;
}

static void test_own_data(void **state) {
    fx_mount *mount = mount_place(*state);
    for (unsigned i = getenv("FEOX_LONG") != NULL ? 0 : 1; i < 2; i++) {
        feox_options options;
        kit_options_init(&options);
        const char *path = fx_mount_file(mount, "own");
        fill_and_empty(path, &options, i == 0 ? 1 : THREADS_MAX, SIZES_MIXED, false);
        fx_file_remove(path);
    }
    fx_mount_end(mount);
}

/* Others take all there is, and give it back. */
static void test_others_data(void **state) {
    fx_mount *mount = mount_place(*state);
    const char *path = fx_mount_file(mount, "store");
    const char *others = fx_mount_file(mount, "others");
    bool is_long = getenv("FEOX_LONG") != NULL;
    feox_options options;
    kit_options_init(&options);
    crew c;
    crew_init(&c, THREADS_MAX, SIZES_MIXED, 20000);
    feox_store *store = open_store(path, &options);
    for (unsigned round = 0; round < 5; round++) {
        crew_use(&c, store, round % 2 != 0);
        for (unsigned i = 0; i < c.count; i++) { /* acknowledged before the disk is full */
            assert_ok(put(&c.writers[i], 0, 77 + round));
            c.writers[i].stamps[0] = 77 + round;
            c.writers[i].count = c.writers[i].count > 0 ? c.writers[i].count : 1;
        }
        fx_mount_fill(mount, "others", 0);
        assert_ok(feox_flush(store));
        fx_file_remove(others);
        fx_mount_fill(mount, "others", (is_long ? 8 : 4) * MIB * (round % 3));
        crew_do(&c, fill);
        uint64_t before = crew_bytes(&c);
        assert_ok(feox_flush(store));
        expect_alive(store);
        crew_do(&c, verify);
        if (round == 3) {
            crew_do(&c, thin_all);
            crew_do(&c, verify);
            before = crew_bytes(&c);
        }
        if (round == 4) { /* it opens on the full disk, too */
            assert_ok(feox_close(store));
            store = open_store(path, &options);
            crew_use(&c, store, false);
            crew_do(&c, verify);
        }
        fx_file_remove(others);
        fx_mount_settle(mount);
        for (unsigned i = 0; i < 100; i++) {
            writer *w = &c.writers[i % THREADS_MAX];
            uint64_t stamp = ((uint64_t)(w->id + 16) << 56) + ++w->stamp;
            w->stamps[w->count] = stamp;
            assert_ok(put(w, w->count++, stamp));
        }
        assert_true(crew_bytes(&c) > before);
        assert_ok(feox_flush(store));
        expect_alive(store);
    }
    crew_do(&c, verify);
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
    crew_free(&c);
    fx_mount_end(mount);
}

/* ---- A file system that copies on write ----------------------------------------------------- */

/* Writes over what is there until that is refused; at most `most` times. */
static void overwrite(writer *w, unsigned most) {
    w->refused = 0;
    for (unsigned i = 0; i < most && w->refused < 8 && w->wrong[0] == '\0'; i++) {
        uint32_t number = (uint32_t)(kit_mix(++w->stamp) % w->count);
        uint64_t stamp = ((uint64_t)w->id << 56) + w->stamp;
        feox_status status = put(w, number, stamp);
        if (status == FEOX_OK) {
            w->stamps[number] = stamp;
        } else if (status == FEOX_ERR_SPACE) {
            w->refused++;
        } else {
            wrong(w, "overwrite", status);
        }
    }
}

static void overwrite_some(writer *w) {
    overwrite(w, 300);
}

static void overwrite_until_refused(writer *w) {
    overwrite(w, 20000);
    if (w->refused == 0) {
        wrong(w, "nothing was refused", FEOX_OK);
    }
}

/* Deletes go on while what is in the write buffers finds no space. */
static void drop_few(writer *w) {
    for (uint32_t i = 0; i < w->count && i < 100; i++) {
        feox_status status = w->stamps[i] != 0 ? drop(w, i) : FEOX_OK;
        if (status == FEOX_OK) {
            w->stamps[i] = 0;
        } else {
            wrong(w, "delete", status);
        }
    }
}

/* The file has blocks of its own, and there is no space to write over them. */
static void test_no_space_for_own_blocks(void **state) {
    fx_mount *mount = mount_place(*state);
    const char *path = fx_mount_file(mount, "store");
    const char *others = fx_mount_file(mount, "others");
    feox_options options;
    kit_options_init(&options);
    crew c;
    crew_init(&c, THREADS_MAX, SIZES_MIXED, 200);
    feox_store *store = open_store(path, &options);
    crew_use(&c, store, true);
    for (unsigned i = 0; i < c.count; i++) {
        for (uint32_t k = 0; k < c.writers[i].capacity; k++) {
            c.writers[i].stamps[k] = 1 + k;
            assert_ok(put(&c.writers[i], k, 1 + k));
        }
        c.writers[i].count = c.writers[i].capacity;
    }
    for (unsigned round = 0; round < (getenv("FEOX_LONG") != NULL ? 10 : 2); round++) {
        bool durable = round % 2 == 0;
        fx_mount_fill(mount, "others", 0);
        crew_use(&c, store, durable);
        crew_do(&c, overwrite_until_refused);
        expect_alive(store);
        crew_do(&c, verify);
        crew_use(&c, store, false);
        crew_do(&c, drop_few);
        expect_alive(store);
        crew_do(&c, verify);
        feox_status flushed = feox_flush(store);
        print_message("  round %u: flush on the full disk: %s\n", round, feox_status_name(flushed));
        assert_true(flushed == FEOX_OK || flushed == FEOX_ERR_SPACE);
        fx_file_remove(others);
        fx_mount_settle(mount);
        assert_ok(feox_flush(store));
        crew_use(&c, store, durable);
        crew_do(&c, overwrite_some);
        for (unsigned i = 0; i < c.count; i++) {
            assert_int_equal(c.writers[i].refused, 0);
        }
        assert_ok(feox_flush(store));
        expect_alive(store);
        crew_do(&c, verify);
        assert_ok(kit_check(store));
        if (round % 2 == 0) {
            assert_ok(feox_close(store));
            store = open_store(path, &options);
        }
    }
    assert_ok(feox_close(store));
    store = open_store(path, &options);
    crew_use(&c, store, false);
    crew_do(&c, verify);
    assert_ok(feox_close(store));
    crew_free(&c);
    fx_mount_end(mount);
}

/* clang-format off */
#define PLACE(test, where) {#test " [" #where "]", test, NULL, NULL, &(where)}
/* clang-format on */

int main(void) {
    run_seed = kit_seed("full_disk");
    static place ext4 = {"ext4", 64 * MIB, false};
    static place tmpfs = {"tmpfs", 64 * MIB, false};
    static place xfs = {"xfs", 300 * MIB, true};
    static place btrfs = {"btrfs", 220 * MIB, false};
    const struct CMUnitTest tests[] = {
        PLACE(test_others_data, ext4),          PLACE(test_own_data, ext4),
        PLACE(test_others_data, tmpfs),         PLACE(test_own_data, tmpfs),
        PLACE(test_others_data, xfs),           PLACE(test_own_data, xfs),
        PLACE(test_no_space_for_own_blocks, btrfs),
        cmocka_unit_test(test_file_size_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
