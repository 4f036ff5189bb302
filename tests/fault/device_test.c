/* The n-th call of the device fails, n = 1, 2, ... until a whole life of a store passes untouched:
 * with errors, interruptions and short transfers, once and from then on, over io_uring and over the
 * pool of threads, in every life that support/drill knows.
 *
 * What is put right below the storage door (EINTR, EAGAIN, short transfers, a ring that cancels or
 * refuses) must not be seen at all. A failed write or flush must be told by the call that met it,
 * the store is read-only from then on, and reads go on. After any of it, what is left in the file
 * is a state that it may be in, with everything that was acknowledged as durable.
 *
 * The faults are put in between the library and the system (support/tap). A failed write may have
 * transferred its first sector, or half of its bytes. In memory (/dev/shm) if that is
 * there; FEOX_LONG=1: among the temporary files, with direct I/O as the disk has it, and every n.
 * FEOX_SCRIPT=NAME runs one life only.
 */
#define _GNU_SOURCE
#include "support/tap.h"

#include <malloc.h>

#include "support/campaign.h"
#include "support/drill.h"
#include "support/kit.h"

#define BIT(call) (1u << (call))
#define READS (BIT(TAP_READ) | BIT(TAP_RING_READ))
#define RING_TRANSFERS (BIT(TAP_RING_READ) | BIT(TAP_RING_WRITE))
#define WRITES (BIT(TAP_WRITE) | BIT(TAP_WRITE_SYNC) | BIT(TAP_RING_WRITE))
#define SYNCS (BIT(TAP_DATA_SYNC) | BIT(TAP_FULL_SYNC) | BIT(TAP_NAME_SYNC))
#define SIZES (BIT(TAP_RESERVE) | BIT(TAP_RESIZE))
#define ENTERS (BIT(TAP_SUBMIT) | BIT(TAP_WAIT))

enum { BLOCK = 4096, SECTOR = 512 };

typedef enum fault_kind {
    FAULT_ERROR,
    FAULT_BUSY,  /* an error that passes: asked again, the call works */
    FAULT_SHORT, /* a part is transferred ... */
    FAULT_EMPTY  /* ... or nothing, without an error */
} fault_kind;

typedef enum fault_meaning {
    MEANS_NOTHING, /* nobody may see it */
    MEANS_FAILURE, /* whoever meets it must say FEOX_ERR_IO, and the store stays read-only */
    MEANS_UNREAD,  /* FEOX_ERR_IO of what reads, or nothing */
    MEANS_NO_SPACE,
    NEVER
} fault_meaning;

typedef struct fault {
    const char *name;
    uint32_t calls;
    fault_kind kind;
    int error;
    fault_meaning once;
    fault_meaning lasting;
} fault;

/* clang-format off */
static const fault faults[] = {
    {"EIO writing", WRITES | SYNCS | SIZES, FAULT_ERROR, EIO, MEANS_FAILURE, MEANS_FAILURE},
    {"EIO reading", READS, FAULT_ERROR, EIO, MEANS_UNREAD, MEANS_UNREAD},
    {"EIO looking", BIT(TAP_OPEN) | BIT(TAP_LOCK) | BIT(TAP_LOOK), FAULT_ERROR, EIO,
     MEANS_UNREAD, MEANS_UNREAD},
    {"ENOSPC", WRITES | SYNCS | SIZES, FAULT_ERROR, ENOSPC, MEANS_NO_SPACE, MEANS_NO_SPACE},
    {"EINTR", READS | WRITES | SYNCS | SIZES | ENTERS | BIT(TAP_LOCK), FAULT_BUSY, EINTR,
     MEANS_NOTHING, MEANS_NOTHING},
    {"EAGAIN", READS | WRITES | ENTERS, FAULT_BUSY, EAGAIN, MEANS_NOTHING, MEANS_NOTHING},
    {"short", READS | WRITES, FAULT_SHORT, 0, MEANS_NOTHING, MEANS_NOTHING},
    {"empty", READS | WRITES, FAULT_EMPTY, 0, MEANS_NOTHING, MEANS_UNREAD},
    {"EINVAL", READS | WRITES, FAULT_ERROR, EINVAL, MEANS_NOTHING, NEVER},
    {"EOPNOTSUPP", BIT(TAP_WRITE_SYNC) | BIT(TAP_RESERVE), FAULT_ERROR, EOPNOTSUPP,
     MEANS_NOTHING, MEANS_NOTHING},
    {"ECANCELED", RING_TRANSFERS, FAULT_ERROR, ECANCELED, MEANS_NOTHING, MEANS_NOTHING},
    {"refused", ENTERS, FAULT_ERROR, EPERM, MEANS_NOTHING, MEANS_NOTHING},
};
/* clang-format on */

/* ---- The fault ------------------------------------------------------------------------------ */

static struct {
    const fault *fault;
    bool lasting;
    uint64_t nth;
    _Atomic uint64_t seen; /* calls that it could have been */
    _Atomic uint64_t met;
    _Atomic uint64_t grave;
    _Atomic uint64_t hard; /* met by any call but one that makes the file longer */
} plan;

static drill life;
static uint64_t seed;

static uint64_t plan_met(void) {
    return atomic_load(&plan.met);
}

static uint64_t plan_grave(void) {
    return atomic_load(&plan.grave);
}

/* The file gets shorter to give space back, which matters to nobody, when a growth failed and at
 * the end. */
static bool is_grave(const tap_event *e) {
    return (plan.lasting ? plan.fault->lasting : plan.fault->once) == MEANS_FAILURE &&
           e->call != TAP_RESIZE && !(life.closing && e->call == TAP_FULL_SYNC);
}

/* The first sector of the transfer, or about half of it. Direct I/O may want blocks. */
static bool transfer_part(const tap_event *e, long *result) {
    size_t part = plan.nth % 2 == 0 || plan.lasting ? e->size / 2 / SECTOR * SECTOR : SECTOR;
    if (part == 0 || part >= e->size) {
        return false;
    }
    *result = tap_do(e, part);
    if (*result == -EINVAL && e->size > BLOCK) {
        *result = tap_do(e, part < BLOCK ? BLOCK : part / BLOCK * BLOCK);
    }
    return *result > 0;
}

static bool meet(const tap_event *e, long *result) {
    uint32_t bit = BIT(e->call);
    /* One byte of a file of the kernel is no transfer of a device. */
    if ((plan.fault->calls & bit) == 0 || (plan.fault->error == EINVAL && e->size < BLOCK)) {
        return false;
    }
    uint64_t n = atomic_fetch_add(&plan.seen, 1) + 1;
    if (n < plan.nth || (n > plan.nth && !plan.lasting)) {
        return false;
    }
    switch (plan.fault->kind) {
        case FAULT_BUSY:
            if ((n - plan.nth) % 2 != 0) {
                return false;
            }
            *result = -plan.fault->error;
            break;
        case FAULT_SHORT:
            if (!transfer_part(e, result)) {
                return false;
            }
            break;
        case FAULT_EMPTY:
            *result = 0;
            break;
        case FAULT_ERROR:
            if ((bit & WRITES) != 0 && plan.nth % 3 != 0) {
                (void)transfer_part(e, result);
            }
            *result = -plan.fault->error;
            break;
    }
    atomic_fetch_add(&plan.met, 1);
    atomic_fetch_add(&plan.grave, is_grave(e) ? 1 : 0);
    atomic_fetch_add(&plan.hard, e->call != TAP_RESERVE ? 1 : 0);
    return true;
}

static void plan_begin(void) {
    tap_set(meet);
}

static void plan_end(void) {
    tap_set(NULL);
}

static void plan_set(const fault *f, bool lasting, uint64_t nth) {
    plan.fault = f;
    plan.lasting = lasting;
    plan.nth = nth;
    atomic_store(&plan.seen, 0);
    atomic_store(&plan.met, 0);
    atomic_store(&plan.grave, 0);
    atomic_store(&plan.hard, 0);
}

/* ---- One case ------------------------------------------------------------------------------- */

static struct {
    uint64_t sticky;
    uint64_t healed;
} full;

/* The device is sound again. */
static void expect_writable(void) {
    life.may = 0;
    if (life.store != NULL) {
        drill_put(&life, DRILL_KEYS - 2, DRILL_BYTES, 3000, 0);
        drill_flush(&life);
        drill_put(&life, DRILL_KEYS - 2, DRILL_BYTES, 30, FEOX_DURABLE);
        drill_read(&life);
    }
}

/* The one place that says what becomes of a store whose device had no space. Either the call said
 * FEOX_ERR_SPACE, lost nothing, and the store goes on once there is space: always if the file could
 * not be made longer. Or it is a failure like any other, and the store is read-only: a flush, a
 * superblock, a group that a close could not take back. Both are counted. */
static void expect_full(void) {
    if ((life.sticky || life.failed > 0) && atomic_load(&plan.hard) == 0) {
        drill_wrong(&life, "want of space is taken for a failure of the device", FEOX_OK);
    }
    if (life.sticky || life.failed > 0) {
        full.sticky++;
    } else if (life.refused > 0) {
        full.healed++;
    }
    if (life.sticky) {
        drill_expect_read_only(&life);
    } else {
        expect_writable();
    }
}

/* A failed open leaves no new file behind. */
static void expect_no_file(const drill_script *script) {
    if (script->prepare == NULL && !life.opened && fx_file_exists(life.path)) {
        drill_wrong(&life, "a file that could not be made is there", FEOX_OK);
    }
}

static void live(const drill_script *script, const drill_image *image, const fault *f,
                 bool lasting, uint64_t nth) {
    char name[200];
    fault_meaning meaning = lasting ? f->lasting : f->once;
    (void)snprintf(name, sizeof name, "%s, %s %s at call %llu", script->name, f->name,
                   lasting ? "from then on" : "once", (unsigned long long)nth);
    drill_set_name(name);
    drill_reset(&life, image);
    plan_set(f, lasting, nth);
    life.begin = plan_begin;
    life.end = plan_end;
    life.met = plan_met;
    life.grave = plan_grave;
    life.may = meaning == MEANS_NOTHING    ? 0
               : meaning == MEANS_NO_SPACE ? DRILL_MAY_FAIL | DRILL_MAY_FILL
                                           : DRILL_MAY_FAIL;
    script->run(&life);
    tap_set(NULL);
    if (meaning == MEANS_FAILURE && plan_grave() > 0 && life.failed == 0) {
        drill_wrong(&life, "nobody spoke of the failure", FEOX_OK);
    }
    if (meaning == MEANS_FAILURE || meaning == MEANS_NO_SPACE) {
        expect_no_file(script);
    }
    if (meaning == MEANS_NO_SPACE) {
        expect_full();
    } else if (life.sticky) {
        drill_expect_read_only(&life);
    } else {
        expect_writable();
    }
    drill_close(&life);
    drill_expect_recovered(&life, meaning == MEANS_FAILURE || meaning == MEANS_NO_SPACE ? 2 : 1);
}

/* ---- All of them ---------------------------------------------------------------------------- */

static int lowest_free(void) {
    int fd = dup(0);
    (void)close(fd);
    return fd;
}

/* Every call where it matters most; elsewhere one of a few, which ones is the seed's choice. */
static uint64_t stride_of(const drill_script *script, const fault *f, bool lasting) {
    fault_meaning meaning = lasting ? f->lasting : f->once;
    if (getenv("FEOX_LONG") != NULL) {
        return 1;
    }
    bool matters = !lasting && (meaning == MEANS_FAILURE || f->kind == FAULT_SHORT);
    uint64_t slow = KIT_SLOW ? 5 : 1;
    return slow * script->stride * (matters ? 1 : 2);
}

/* n = 1, 2, ... until nothing was met any more. */
static void fail_one_by_one(const drill_script *script, const drill_image *image, const fault *f,
                            bool lasting, campaign *c) {
    uint64_t stride = stride_of(script, f, lasting);
    for (uint64_t n = 1 + kit_below(&seed, stride);; n += stride) {
        int fd = lowest_free();
        unsigned wrong = life.wrong;
        live(script, image, f, lasting, n);
        if (lowest_free() != fd) {
            drill_wrong(&life, "a descriptor is left open", FEOX_OK);
        }
        c->cases++;
        c->faults += plan_met() > 0;
        c->failures += life.wrong > wrong;
        if (plan_met() == 0) {
            return;
        }
    }
}

static void fail_everywhere(const drill_script *script, const drill_image *image, campaign *c) {
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        for (unsigned lasting = 0; lasting < 2; lasting++) {
            if ((lasting != 0 ? faults[i].lasting : faults[i].once) != NEVER) {
                fail_one_by_one(script, image, &faults[i], lasting != 0, c);
            }
        }
    }
}

static void over(int backend, const char *name) {
    campaign c;
    const char *path = fx_temp_fresh("device");
    full.sticky = full.healed = 0;
    campaign_begin(&c, name);
    for (size_t i = 0; i < drill_script_count; i++) {
        uint64_t before = c.cases;
        const drill_script *script = &drill_scripts[i];
        const char *only = getenv("FEOX_SCRIPT");
        if (only != NULL && strcmp(only, script->name) != 0) {
            continue;
        }
        drill_set_name(script->name);
        drill_image *image = drill_prepare(&life, script, path, backend);
        if (image == NULL) {
            c.failures++;
            continue;
        }
        fail_everywhere(script, image, &c);
        drill_image_free(image);
        printf("  %-10s %5llu cases\n", script->name, (unsigned long long)(c.cases - before));
        (void)fflush(stdout);
    }
    printf("  no space: %llu read-only, %llu refused and healed\n",
           (unsigned long long)full.sticky, (unsigned long long)full.healed);
    campaign_end(&c);
    fx_file_remove(path);
    assert_int_equal(c.failures, 0);
    assert_true(c.faults > (KIT_SLOW ? 200 : 1300) || getenv("FEOX_SCRIPT") != NULL);
}

static void test_threads(void **state) {
    (void)state;
    over(FEOX_IO_THREADS, "C4 calls that fail, threads");
}

static void test_uring(void **state) {
    (void)state;
    if (!kit_has_uring()) {
        skip();
    }
    over(FEOX_IO_URING, "C4 calls that fail, uring");
}

int main(void) {
    if (getenv("FEOX_LONG") == NULL && access("/dev/shm", W_OK) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 1);
    }
    /* Thousands of stores take the same large buffers. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    seed = kit_seed("device");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_uring),
    };
    return cmocka_run_group_tests_name("fault/device", tests, NULL, NULL);
}
