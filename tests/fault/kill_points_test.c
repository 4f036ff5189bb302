/* SIGKILL just before, in the middle of and just after each call of the device that changes
 * anything, in every life that support/drill knows, over both back ends. Which call it is, is told
 * by what it writes: the table that is printed says how often each kind was hit, and one that was
 * not is a failure.
 *
 * After each kill the file opens by itself, holds a state that is a prefix of what was done, with
 * everything that was acknowledged as durable, is clean, and is the same when it is opened again.
 *
 * In the middle of a write: the first half of it is there, or its first sector. A killed process
 * leaves the system's caches as they are, so this says nothing of what was not flushed (sim/crash
 * and fault/shutdown do), but for one thing: no superblock is written before what it names is
 * flushed. The short run hits each kind a few times, FEOX_LONG=1 kills at every call.
 */
#define _GNU_SOURCE
#include "support/tap.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "support/campaign.h"
#include "support/drill.h"
#include "support/kit.h"

enum { BLOCK = 4096, SECTOR = 512, HITS_ENOUGH = KIT_SLOW ? 2 : 6 };

typedef enum point {
    POINT_UNFINISHED,
    POINT_SUPERBLOCK,
    POINT_ENTRY_INLINE,
    POINT_ENTRY_SAFE,
    POINT_ENTRY,
    POINT_SEGMENT,
    POINT_LARGE,
    POINT_TABLE,
    POINT_ZEROS,
    POINT_SYNC,
    POINT_GROWTH,
    POINT_SHRINK,
    POINT_SIZE_SYNC,
    POINT_NAME_SYNC,
    POINTS
} point;

typedef enum phase { PHASE_BEFORE, PHASE_MIDDLE, PHASE_AFTER, PHASES } phase;

static const struct {
    const char *name;
    bool writes; /* and so has a middle */
} points[POINTS] = {
    [POINT_UNFINISHED] = {"superblock of a new file", true},
    [POINT_SUPERBLOCK] = {"superblock", true},
    [POINT_ENTRY_INLINE] = {"journal entry with its group", true},
    [POINT_ENTRY_SAFE] = {"the same, safe by itself", true},
    [POINT_ENTRY] = {"journal entry that names segments", true},
    [POINT_SEGMENT] = {"segment", true},
    [POINT_LARGE] = {"large value", true},
    [POINT_TABLE] = {"table of a checkpoint", true},
    [POINT_ZEROS] = {"zeros of a new ring", true},
    [POINT_SYNC] = {"flush", false},
    [POINT_GROWTH] = {"growth", false},
    [POINT_SHRINK] = {"shrinking", false},
    [POINT_SIZE_SYNC] = {"flush of the size", false},
    [POINT_NAME_SYNC] = {"flush of the directory", false},
};

/* ---- Which call it is ----------------------------------------------------------------------- */

static uint64_t word_at(const unsigned char *bytes, size_t at) {
    uint64_t word;
    memcpy(&word, bytes + at, sizeof word); /* little-endian machines */
    return word;
}

static bool begins(const unsigned char *bytes, const char *magic) {
    return memcmp(bytes, magic, 8) == 0;
}

/* The layouts are in disk/superblock.c, journal.c, format.c, checkpoint.c. */
static point point_of_write(const tap_event *e) {
    const unsigned char *bytes = e->bytes;
    if (begins(bytes, "FeoxSto1")) {
        return word_at(bytes, 48) != 0 ? POINT_UNFINISHED : POINT_SUPERBLOCK;
    }
    if (begins(bytes, "FeoxJnl1")) {
        bool alone = (uint32_t)word_at(bytes, 96) != 0;
        return !alone                     ? POINT_ENTRY
               : e->call == TAP_WRITE_SYNC ? POINT_ENTRY_SAFE
                                           : POINT_ENTRY_INLINE;
    }
    if (begins(bytes, "FeoxSeg1")) {
        return POINT_SEGMENT;
    }
    if (begins(bytes, "FeoxCpk1")) {
        return POINT_TABLE;
    }
    return word_at(bytes, 0) == 0 && memcmp(bytes, bytes + 8, BLOCK - 8) == 0 ? POINT_ZEROS
                                                                              : POINT_LARGE;
}

/* POINTS: it changes nothing. */
static point point_of(const tap_event *e) {
    switch (e->call) {
        case TAP_WRITE:
        case TAP_WRITE_SYNC:
        case TAP_RING_WRITE:
            return point_of_write(e);
        case TAP_DATA_SYNC:
            return POINT_SYNC;
        case TAP_FULL_SYNC:
            return POINT_SIZE_SYNC;
        case TAP_NAME_SYNC:
            return POINT_NAME_SYNC;
        case TAP_RESERVE:
            return POINT_GROWTH;
        case TAP_RESIZE:
            return POINT_SHRINK;
        default:
            return POINTS;
    }
}

/* ---- The kill ------------------------------------------------------------------------------- */

enum { CALLS_MAX = 1000 };

/* Shared with the child. */
typedef struct shared {
    drill_progress progress;
    _Atomic uint64_t hits[POINTS][PHASES];
} shared;

static shared *common;
static drill life;
static struct {
    _Atomic uint64_t seen;
    uint64_t nth; /* 0: nobody is killed, and calls are listed */
    phase when;
    point calls[CALLS_MAX];
    uint32_t unsafe; /* what was written and not flushed since, while calls are listed */
    bool too_soon;   /* ... and was named by a superblock all the same */
} plan;

/* A superblock makes a checkpoint count: what it names is on stable storage before. No kill can
 * show that, so the order of the calls is looked at. */
static void list(uint64_t n, const tap_event *e, point what) {
    const uint32_t named = 1u << POINT_TABLE | 1u << POINT_SEGMENT | 1u << POINT_LARGE;
    if (n <= CALLS_MAX) {
        plan.calls[n - 1] = what;
    }
    plan.too_soon = plan.too_soon || (what == POINT_SUPERBLOCK && (plan.unsafe & named) != 0);
    if (what == POINT_SYNC || what == POINT_SIZE_SYNC) {
        plan.unsafe = 0;
    } else if (points[what].writes && e->call != TAP_WRITE_SYNC) {
        plan.unsafe |= 1u << what;
    }
}

static void die(const tap_event *e, point what) {
    if (plan.when == PHASE_MIDDLE) {
        size_t half = plan.nth % 2 == 0 ? SECTOR : e->size / 2 / SECTOR * SECTOR;
        if (tap_do(e, half) == -EINVAL) {
            (void)tap_do(e, half / BLOCK * BLOCK);
        }
    } else if (plan.when == PHASE_AFTER) {
        (void)tap_do(e, e->size);
    }
    atomic_fetch_add(&common->hits[what][plan.when], 1);
    (void)kill(getpid(), SIGKILL);
    for (;;) {
        (void)pause();
    }
}

static bool meet(const tap_event *e, long *result) {
    (void)result;
    point what = point_of(e);
    if (what == POINTS) {
        return false;
    }
    uint64_t n = atomic_fetch_add(&plan.seen, 1) + 1;
    if (plan.nth == 0) {
        list(n, e, what);
    }
    if (n == plan.nth) {
        die(e, what);
    }
    return false;
}

static void plan_begin(void) {
    tap_set(meet);
}

static void plan_end(void) {
    tap_set(NULL);
}

static void run(const drill_script *script, uint64_t nth, phase when) {
    atomic_store(&plan.seen, 0);
    plan.nth = nth;
    plan.when = when;
    life.begin = plan_begin;
    life.end = plan_end;
    script->run(&life);
    drill_close(&life);
    tap_set(NULL);
}

/* Runs the life in a child. True: it was killed as planned. */
static bool run_and_die(const drill_script *script, uint64_t nth, phase when) {
    memset(&common->progress, 0, sizeof common->progress);
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        life.progress = &common->progress;
        run(script, nth, when);
        _exit(life.wrong > 0 ? 1 : 0);
    }
    int status = -1;
    while (waitpid(pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    /* Background work may have made fewer calls than the first time. */
    if (!killed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        drill_wrong(&life, "the child did not end as it should", FEOX_OK);
    }
    return killed;
}

/* ---- All of them ---------------------------------------------------------------------------- */

static void kill_at(const drill_script *script, const drill_image *image,
                    const drill_change *changes, uint64_t nth, phase when, campaign *c) {
    char name[200];
    unsigned wrong = life.wrong;
    static const char *const whens[PHASES] = {"before", "in the middle of", "after"};
    (void)snprintf(name, sizeof name, "%s, killed %s call %llu (%s)", script->name, whens[when],
                   (unsigned long long)nth, points[plan.calls[nth - 1]].name);
    drill_set_name(name);
    drill_reset(&life, image);
    bool killed = run_and_die(script, nth, when);
    drill_recall(&life, image, changes, &common->progress);
    drill_expect_recovered(&life, 2);
    c->cases++;
    c->faults += killed;
    c->failures += life.wrong > wrong;
}

static void kill_everywhere(const drill_script *script, const drill_image *image, campaign *c) {
    static drill_change changes[DRILL_CHANGES];
    drill_set_name(script->name);
    drill_reset(&life, image);
    plan.unsafe = 0;
    plan.too_soon = false;
    run(script, 0, PHASE_BEFORE);
    if (plan.too_soon) {
        drill_wrong(&life, "a superblock names what was not flushed", FEOX_OK);
        c->failures++;
    }
    uint64_t calls = atomic_load(&plan.seen);
    assert_true(calls <= CALLS_MAX);
    memcpy(changes, life.changes, sizeof changes);
    for (uint64_t n = 1; n <= calls; n++) {
        point what = plan.calls[n - 1];
        for (phase when = PHASE_BEFORE; when < PHASES; when++) {
            bool enough = getenv("FEOX_LONG") == NULL &&
                          atomic_load(&common->hits[what][when]) >= HITS_ENOUGH;
            if (!enough && (when != PHASE_MIDDLE || points[what].writes)) {
                kill_at(script, image, changes, n, when, c);
            }
        }
    }
}

/* Every kind was hit in every phase that it has. */
static uint64_t missing(void) {
    uint64_t count = 0;
    printf("  %-36s before middle after\n", "killed at");
    for (point what = 0; what < POINTS; what++) {
        uint64_t hits[PHASES];
        for (phase when = 0; when < PHASES; when++) {
            hits[when] = atomic_load(&common->hits[what][when]);
            count += hits[when] == 0 && (when != PHASE_MIDDLE || points[what].writes);
        }
        printf("  %-36s %6llu %6llu %5llu\n", points[what].name, (unsigned long long)hits[0],
               (unsigned long long)hits[1], (unsigned long long)hits[2]);
    }
    return count;
}

static void over(int backend, const char *name) {
    campaign c;
    const char *path = fx_temp_fresh("killed");
    memset(common, 0, sizeof *common);
    campaign_begin(&c, name);
    for (size_t i = 0; i < drill_script_count; i++) {
        drill_image *image = drill_prepare(&life, &drill_scripts[i], path, backend);
        if (image == NULL) {
            c.failures++;
            continue;
        }
        kill_everywhere(&drill_scripts[i], image, &c);
        drill_image_free(image);
    }
    c.failures += missing();
    campaign_end(&c);
    fx_file_remove(path);
    assert_int_equal(c.failures, 0);
}

static void test_threads(void **state) {
    (void)state;
    over(FEOX_IO_THREADS, "C2 kill points, threads");
}

static void test_uring(void **state) {
    (void)state;
    if (!kit_has_uring()) {
        skip();
    }
    over(FEOX_IO_URING, "C2 kill points, uring");
}

int main(void) {
    if (getenv("FEOX_LONG") == NULL && access("/dev/shm", W_OK) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 1);
    }
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_uring),
    };
    return common == MAP_FAILED
               ? 1
               : cmocka_run_group_tests_name("fault/kill_points", tests, NULL, NULL);
}
