/* Damaged, shuffled, cut, foreign and forged files: what is read of them is right, or missing and
 * told of; what is not a store is never written; nothing breaks. The store of most tests has 64
 * blocks, and its whole history is known. A short run flips every bit of headers and tables and one
 * in 23 of the others, FEOX_LONG=1 every bit. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/rng.h"
#include "disk/checkpoint.h"
#include "feox.h"
#include "support/campaign.h"
#include "support/hostile.h"
#include "support/kit.h"
#include "support/reseal.h"
#include "support/temp.h"

#define BLOCKS 64u
#define RING 8u
#define OLD_BLOCKS (HOSTILE_OLD_SIZE / FX_BLOCK_SIZE)
/* Sanitizers take their time. */
#define FEW(number) (KIT_SLOW ? (number) / 6 : (number))

static fx_rng rng;
static uint64_t offset; /* which of the cases a short run takes */

static bool is_long(void) {
    return getenv("FEOX_LONG") != NULL;
}

static int setup(void **state) {
    const char *text = getenv("FEOX_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 17;
    (void)state;
    print_message("FEOX_SEED=%llu\n", (unsigned long long)seed);
    fx_rng_init(&rng, seed);
    return 0;
}

/* The store in so many blocks: what is behind is free. */
static hostile *fit(hostile *h, size_t blocks) {
    print_message("%zu blocks are in use\n", h->small_size / FX_BLOCK_SIZE);
    assert_true(h->small_size <= blocks * FX_BLOCK_SIZE && h->size >= blocks * FX_BLOCK_SIZE);
    h->size = blocks * FX_BLOCK_SIZE;
    return h;
}

static hostile *make(bool with_groups) {
    return fit(hostile_make(with_groups, RING), BLOCKS);
}

/* ---- Campaigns: each case alone, the cases shared by processes ---- */

#define PROCESSES 2u
/* No run reads more than so many times the file and a segment. */
#define READS_MAX 24u

/* One bit in so many is flipped, besides all that lead to others. */
static uint64_t stride(void) {
    uint64_t shortly = KIT_SLOW ? 1201 : 23;
    uint64_t longer = KIT_SLOW ? 23 : 1;
    return is_long() ? longer : shortly;
}

/* What came of the cases of one process; shared with its parent. */
typedef struct tally {
    uint64_t cases;
    uint64_t harmless; /* nobody lost anything, and nobody was told */
    uint64_t reported;
    uint64_t older; /* the state before a last group, as if that had never been written */
    uint64_t failures;
    uint64_t read_max;     /* bytes, by one run */
    uint64_t resident_max; /* bytes, of the process */
} tally;

typedef struct share {
    hostile *h;
    const hostile *other; /* the same life in another file */
    unsigned part;        /* of PROCESSES */
    tally *tally;
} share;

/* Dealt out to the processes in turn. */
static bool is_mine(const share *s, uint64_t number) {
    return number % PROCESSES == s->part;
}

static void judge(const share *s, const hostile_outcome *out, bool right, const char *what,
                  size_t number, size_t more) {
    tally *t = s->tally;
    bool bounded = out->read_bytes <= READS_MAX * ((uint64_t)s->h->size + FX_SEGMENT_SIZE_MAX);
    bool reported = hostile_reported(out);
    t->cases++;
    t->reported += reported;
    t->older += !reported && out->prefix;
    t->harmless += !reported && !out->prefix && out->absent == 0;
    t->read_max = out->read_bytes > t->read_max ? out->read_bytes : t->read_max;
    if (out->wrong != NULL || !right || !bounded) {
        t->failures++;
        print_error("%s %zu %zu: read %d, write %d, rescue %d, %u absent, %u not rescued, %u "
                    "problems, prefix %d, reported %d, %llu bytes read; wrong: %s\n",
                    what, number, more, out->read, out->write, out->rescue, out->absent,
                    out->rescued_less, out->problems, out->prefix, reported,
                    (unsigned long long)out->read_bytes, out->wrong != NULL ? out->wrong : "-");
    }
}

static void run_part(share *s, void (*run)(const share *s)) {
    struct rusage usage;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a child has no test to jump back to */
    run(s);
    (void)getrusage(RUSAGE_SELF, &usage);
    s->tally->resident_max = (uint64_t)usage.ru_maxrss << 10;
    _exit(0);
}

/* Memory is that of the whole process, tests included; what a sanitizer takes is not the store's.
 */
static void campaign_run(const char *name, hostile *h, const hostile *other,
                         void (*run)(const share *s)) {
    campaign c;
    tally sum = {0};
    pid_t children[PROCESSES];
    tally *tallies = mmap(NULL, sizeof(tally) * PROCESSES, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(tallies != MAP_FAILED);
    campaign_begin(&c, name);
    for (unsigned i = 0; i < PROCESSES; i++) {
        share s = {.h = h, .other = other, .part = i, .tally = &tallies[i]};
        (void)fflush(stdout);
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            run_part(&s, run);
        }
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status = 0;
        const tally *t = &tallies[i];
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        c.cases += t->cases;
        c.failures += t->failures + (status != 0);
        sum.harmless += t->harmless;
        sum.reported += t->reported;
        sum.older += t->older;
        sum.read_max = t->read_max > sum.read_max ? t->read_max : sum.read_max;
        sum.resident_max =
            t->resident_max > sum.resident_max ? t->resident_max : sum.resident_max;
    }
    c.faults = c.cases;
    campaign_end(&c);
    print_message("%s: %llu harmless, %llu reported, %llu of an older state; at most %llu KiB read "
                  "and %llu KiB resident\n",
                  name, (unsigned long long)sum.harmless, (unsigned long long)sum.reported,
                  (unsigned long long)sum.older, (unsigned long long)sum.read_max >> 10,
                  (unsigned long long)sum.resident_max >> 10);
    (void)munmap(tallies, sizeof(tally) * PROCESSES);
    assert_int_equal(c.failures, 0);
    assert_true(c.cases > 0);
    assert_true(KIT_SLOW || sum.resident_max <= (64u << 20) + 2 * h->size);
}

/* One bit never costs more than one key, and never that the file opens. It is told of if it belongs
 * to anything that counts. Rescuing differs from reading in what is done without header or table,
 * which no single bit takes: so it is run for every bit that leads there, and for two bits of each
 * other byte. */
static void flip(const share *s, size_t bit) {
    hostile *h = s->h;
    hostile_outcome out;
    hostile_part part = h->parts[bit / 8];
    bool rescues = part == HOSTILE_HEADER || (bit + bit / 8) % 4 == 0;
    bool writes = (uint32_t)(bit * 2654435761u) >> 26 == 0;
    h->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    hostile_try(h->bytes, h->size, h,
                (rescues ? HOSTILE_RESCUE : 0) | (writes ? HOSTILE_WRITE : 0), &out);
    h->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    judge(s, &out,
          out.read == FEOX_OK && out.rescue == FEOX_OK && out.absent <= 1 &&
              out.rescued_less <= 1 && !out.prefix &&
              (out.write == FEOX_OK || out.write == FEOX_END) &&
              (part == HOSTILE_FREE || hostile_reported(&out)),
          "flip of bit", bit, part);
}

static void flips(const share *s) {
    uint64_t step = stride();
    for (size_t bit = 0; bit < s->h->size * 8; bit++) {
        bool leads = s->h->parts[bit / 8] == HOSTILE_HEADER && !KIT_SLOW;
        if (is_mine(s, bit / 8) && (leads || (bit + offset) % step == 0)) {
            flip(s, bit);
        }
    }
}

static void test_flips(void **state) {
    (void)state;
    hostile *h = make(false);
    offset = fx_rng_below(&rng, stride());
    campaign_run("C6 flips, closed", h, NULL, flips);
    hostile_free(h);
}

static void test_flips_with_groups(void **state) {
    (void)state;
    hostile *h = make(true);
    offset = fx_rng_below(&rng, stride());
    campaign_run("C6 flips, with groups", h, NULL, flips);
    hostile_free(h);
}

static void exchange(uint8_t *a, uint8_t *b, size_t size) {
    uint8_t block[FX_BLOCK_SIZE];
    memcpy(block, a, size);
    memmove(a, b, size);
    memcpy(b, block, size);
}

/* Only both superblocks at once keep it from being read. */
static void swaps(const share *s) {
    hostile *h = s->h;
    hostile_outcome out;
    size_t number = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        for (size_t j = i + 1; j < BLOCKS; j++, number++) {
            uint8_t *a = h->bytes + i * FX_BLOCK_SIZE;
            uint8_t *b = h->bytes + j * FX_BLOCK_SIZE;
            if (!is_mine(s, number) || (KIT_SLOW && i > 6 && (number + offset) % 6 != 0)) {
                continue;
            }
            exchange(a, b, FX_BLOCK_SIZE);
            hostile_try(h->bytes, h->size, h,
                        HOSTILE_RESCUE | (number % 16 < 2 ? HOSTILE_WRITE : 0), &out);
            exchange(a, b, FX_BLOCK_SIZE);
            judge(s, &out,
                  (out.read == FEOX_OK || j < FX_SUPERBLOCK_COPIES) && out.rescue == FEOX_OK,
                  "exchange of blocks", i, j);
        }
    }
}

static void test_swaps(void **state) {
    (void)state;
    for (unsigned with_groups = 0; with_groups < 2; with_groups++) {
        hostile *h = make(with_groups != 0);
        offset = fx_rng_below(&rng, 6);
        campaign_run(with_groups ? "C6 exchanges, with groups" : "C6 exchanges, closed", h, NULL,
                     swaps);
        hostile_free(h);
    }
}

static void cuts(const share *s) {
    hostile_outcome out;
    const hostile *h = s->h;
    size_t step = is_long() ? 64 : FX_SECTOR_SIZE;
    for (size_t size = step; size <= h->size; size += step) {
        if (is_mine(s, size / step)) {
            bool whole = size % FX_BLOCK_SIZE == 0;
            hostile_try(h->bytes, size, h, HOSTILE_RESCUE | (whole ? HOSTILE_WRITE : 0), &out);
            judge(s, &out, out.read != FEOX_OK || out.absent == 0 || out.problems > 0 || out.prefix,
                  "cut at", size, h->size);
        }
    }
}

static void test_cuts(void **state) {
    (void)state;
    for (unsigned with_groups = 0; with_groups < 2; with_groups++) {
        hostile *h = make(with_groups != 0);
        campaign_run(with_groups ? "C6 cuts, with groups" : "C6 cuts, closed", h, NULL, cuts);
        hostile_free(h);
    }
}

/* ---- Blocks of another time, and of another store ---- */

/* Whether bytes of live records differ in this block. */
static bool changes_live(const hostile *h, size_t block, const uint8_t *with) {
    for (size_t at = block * FX_BLOCK_SIZE; at < (block + 1) * FX_BLOCK_SIZE; at++) {
        if (h->parts[at] == HOSTILE_LIVE && h->bytes[at] != with[at % FX_BLOCK_SIZE]) {
            return true;
        }
    }
    return false;
}

/* One block is what it was when the others were not yet what they are. Of a last group nothing is
 * known but what the block said: that group is gone, as if it had not been written. */
static void replace(const share *s, size_t block, const uint8_t *with, const char *what,
                    size_t number) {
    hostile *h = s->h;
    hostile_outcome out;
    uint8_t saved[FX_BLOCK_SIZE];
    uint8_t *bytes = h->bytes + block * FX_BLOCK_SIZE;
    bool in_ring = block >= h->root.journal.block &&
                   block < h->root.journal.block + h->root.journal.count;
    bool tells = changes_live(h, block, with) && block >= FX_SUPERBLOCK_COPIES;
    memcpy(saved, bytes, FX_BLOCK_SIZE);
    memcpy(bytes, with, FX_BLOCK_SIZE);
    hostile_try(h->bytes, h->size, h, HOSTILE_RESCUE | HOSTILE_WRITE, &out);
    memcpy(bytes, saved, FX_BLOCK_SIZE);
    judge(s, &out,
          out.read == FEOX_OK && out.rescue == FEOX_OK && (!out.prefix || in_ring) &&
              (!tells || hostile_reported(&out) || out.prefix),
          what, block, number);
}

static void replays(const share *s) {
    const hostile *h = s->h;
    for (size_t moment = 0; moment < h->moment_count; moment++) {
        for (size_t block = 0; block < OLD_BLOCKS; block++) {
            const uint8_t *then = h->moments[moment] + block * FX_BLOCK_SIZE;
            if (is_mine(s, moment + block) &&
                memcmp(then, h->bytes + block * FX_BLOCK_SIZE, FX_BLOCK_SIZE) != 0) {
                replace(s, block, then, "replay of block", moment);
            }
        }
    }
}

static void foreigners(const share *s) {
    for (size_t block = 0; block < OLD_BLOCKS; block++) {
        if (is_mine(s, block)) {
            replace(s, block, s->other->bytes + block * FX_BLOCK_SIZE, "foreign block", 0);
        }
    }
}

static void test_replays(void **state) {
    (void)state;
    for (unsigned with_groups = 0; with_groups < 2; with_groups++) {
        hostile *h = hostile_make_old(with_groups != 0, RING, 0);
        hostile *other = hostile_make_old(with_groups != 0, RING, h->stamps);
        fit(h, OLD_BLOCKS);
        fit(other, OLD_BLOCKS);
        campaign_run(with_groups ? "C6 replays, with groups" : "C6 replays, closed", h, NULL,
                     replays);
        campaign_run(with_groups ? "C6 foreign blocks, with groups" : "C6 foreign blocks, closed",
                     h, other, foreigners);
        hostile_free(h);
        hostile_free(other);
    }
}

/* ---- More than one ---- */

/* Several blocks shuffled, zeroed, filled with rubbish, replaced by others. */
static void maul(uint8_t *bytes) {
    uint8_t *a = bytes + fx_rng_below(&rng, BLOCKS) * FX_BLOCK_SIZE;
    uint8_t *b = bytes + fx_rng_below(&rng, BLOCKS) * FX_BLOCK_SIZE;
    switch (fx_rng_below(&rng, 5)) {
    case 0:
        exchange(a, b, FX_BLOCK_SIZE);
        break;
    case 1:
        memset(a, 0, FX_BLOCK_SIZE);
        break;
    case 2:
        for (size_t i = 0; i < FX_BLOCK_SIZE; i += 8) {
            fx_put_u64(a + i, fx_rng_next(&rng));
        }
        break;
    case 3:
        memmove(a, b, FX_BLOCK_SIZE);
        break;
    default:
        a[fx_rng_below(&rng, FX_BLOCK_SIZE)] ^= (uint8_t)(1 + fx_rng_below(&rng, 255));
        break;
    }
}

static void test_mauled(void **state) {
    (void)state;
    hostile_outcome out;
    unsigned opened = 0;
    unsigned rescued = 0;
    unsigned rounds = FEW(is_long() ? 200000u : 2500u);
    hostile *h[2] = {make(false), make(true)};
    uint8_t *copy = malloc(h[0]->size);
    for (unsigned i = 0; i < rounds; i++) {
        const hostile *from = h[i % 2];
        memcpy(copy, from->bytes, from->size);
        for (uint64_t n = 1 + fx_rng_below(&rng, i % 3 == 0 ? 40 : 4); n > 0; n--) {
            maul(copy);
        }
        hostile_run(copy, from->size, from, HOSTILE_RESCUE | (i % 16 == 0 ? HOSTILE_WRITE : 0),
                    &out);
        opened += out.read == FEOX_OK;
        rescued += out.rescue == FEOX_OK;
    }
    print_message("of %u, %u could be read, %u rescued\n", rounds, opened, rescued);
    assert_true(rescued >= opened);
    free(copy);
    hostile_free(h[0]);
    hostile_free(h[1]);
}

/* Without superblocks or without table everything comes back, and nothing wrong. */
static void test_without_root(void **state) {
    (void)state;
    hostile_outcome out;
    hostile *h = make(false);
    memset(h->bytes, 0x5a, (size_t)FX_SUPERBLOCK_AREA);
    hostile_run(h->bytes, h->size, h, HOSTILE_RESCUE | HOSTILE_WRITE, &out);
    assert_int_equal(out.read, FEOX_ERR_NOT_FEOX);
    assert_int_equal(out.write, FEOX_ERR_NOT_FEOX);
    assert_int_equal(out.rescue, FEOX_OK);
    assert_true(out.rescued_right && out.rescued_less == 0);
    hostile_free(h);
    h = make(true);
    memset(h->bytes + h->root.checkpoint.block * FX_BLOCK_SIZE, 0, FX_BLOCK_SIZE);
    hostile_run(h->bytes, h->size, h, HOSTILE_RESCUE | HOSTILE_WRITE, &out);
    assert_int_equal(out.read, FEOX_OK); /* one copy is enough */
    assert_int_equal(out.write, FEOX_OK);
    assert_int_equal(out.absent, 0);
    memset(h->bytes + h->root.mirror * FX_BLOCK_SIZE, 0, FX_BLOCK_SIZE);
    hostile_run(h->bytes, h->size, h, HOSTILE_RESCUE | HOSTILE_WRITE, &out);
    assert_int_equal(out.read, FEOX_OK); /* what the journal has */
    assert_int_equal(out.write, FEOX_ERR_CORRUPT);
    assert_true(out.absent > 0 && out.problems > 0);
    assert_int_equal(out.rescue, FEOX_OK);
    assert_true(out.rescued_right && out.rescued_less == 0);
    hostile_free(h);
}

/* ---- Forgers ---- */

static uint64_t odd_number(void) {
    static const uint64_t odd[] = {0, 1, 2, 63, 64, 4095, 4096, UINT32_MAX, INT64_MAX, UINT64_MAX};
    uint64_t n = fx_rng_below(&rng, 14);
    return n < sizeof odd / sizeof odd[0] ? odd[n] : fx_rng_next(&rng) >> fx_rng_below(&rng, 64);
}

/* Changes one field of 1, 2, 4 or 8 bytes. */
static void forge(uint8_t *bytes, size_t size) {
    size_t width = (size_t)1 << fx_rng_below(&rng, 4);
    uint64_t number = odd_number();
    size_t at = (size_t)fx_rng_below(&rng, size / width) * width;
    for (size_t i = 0; i < width; i++) {
        bytes[at + i] = (uint8_t)(number >> 8 * i);
    }
}

static void reseal_superblocks(uint8_t *bytes) {
    for (unsigned copy = 0; copy < FX_SUPERBLOCK_COPIES; copy++) {
        uint8_t *block = bytes + (size_t)copy * FX_BLOCK_SIZE;
        fx_put_u64(block + 8, fx_checksum(block + 16, FX_BLOCK_SIZE - 16, 0x73757065u + copy));
    }
}

/* Everything says something else somewhere, and all sums are right. */
static void test_forged(void **state) {
    (void)state;
    hostile_outcome out;
    unsigned opened = 0;
    unsigned written = 0;
    unsigned rounds = FEW(is_long() ? 300000u : 3000u);
    hostile *h = make(true);
    uint8_t *copy = malloc(h->size + FX_SEGMENT_SIZE_MAX);
    for (unsigned i = 0; i < rounds; i++) {
        memcpy(copy, h->bytes, h->size);
        for (uint64_t n = 1 + fx_rng_below(&rng, 3); n > 0; n--) {
            size_t segment = (size_t)fx_rng_below(&rng, h->segment_count);
            uint64_t ring = h->root.journal.block + h->root.journal_head + fx_rng_below(&rng, 4);
            switch (fx_rng_below(&rng, 4)) {
            case 0:
                forge(copy + 16, 152);
                memcpy(copy + FX_BLOCK_SIZE, copy, 512);
                break;
            case 1:
                forge(copy + h->root.checkpoint.block * FX_BLOCK_SIZE,
                      (size_t)h->root.checkpoint_length);
                break;
            case 2:
                forge(copy + ring % BLOCKS * FX_BLOCK_SIZE, 160);
                break;
            default:
                forge(copy + h->segments[segment], i % 2 == 0 ? 160 : h->segment_lengths[segment]);
                break;
            }
        }
        hostile_reseal(h, copy, h->size);
        hostile_run(copy, h->size, h, HOSTILE_LAX | HOSTILE_RESCUE | HOSTILE_WRITE, &out);
        opened += out.read == FEOX_OK;
        written += out.write == FEOX_OK;
    }
    print_message("of %u forged files %u could be read, %u written\n", rounds, opened, written);
    assert_true(opened > rounds / 10);
    free(copy);
    hostile_free(h);
}

/* ---- What is not ours ---- */

typedef struct foreign {
    const char *name;
    const char *begin;
    size_t begin_size;
    size_t size;
} foreign;

static void expect_left_alone(const char *path, const void *bytes, size_t size, bool is_ours) {
    feox_options options;
    feox_store *store = NULL;
    feox_options_init(&options);
    const char *out = fx_temp_fresh("out");
    for (unsigned way = 0; way < 4; way++) {
        options.read_only = way % 2 == 0 ? FEOX_YES : FEOX_NO;
        options.create = way < 2 ? FEOX_YES : FEOX_NO;
        feox_status status = feox_open(path, &options, &store);
        assert_true(status == FEOX_ERR_NOT_FEOX || (is_ours && status == FEOX_ERR_CORRUPT) ||
                    (is_ours && status == FEOX_ERR_NEWER));
        assert_null(store);
        assert_true(strlen(feox_last_error()) > 0);
        assert_true(fx_file_equals(path, bytes, size));
    }
    feox_status status = feox_salvage(path, out, NULL, NULL, NULL);
    assert_true(status == FEOX_ERR_NOT_FEOX || status == FEOX_ERR_NEWER);
    assert_false(fx_file_exists(out));
    assert_true(fx_file_equals(path, bytes, size));
}

#define FOREIGN(name, begin, size)                                                                 \
    { name, begin, sizeof(begin) - 1, size }

static void test_foreign(void **state) {
    (void)state;
    static const foreign files[] = {
        FOREIGN("one byte", "x", 1),
        FOREIGN("text", "Dear aunt, this is no store.\n", 29),
        FOREIGN("script", "#!/bin/sh\nexit 0\n", 17),
        FOREIGN("zeros", "", 4096),
        FOREIGN("more zeros", "", 8192),
        FOREIGN("many zeros", "", 1 << 20),
        FOREIGN("elf", "\177ELF\2\1\1", 70000),
        FOREIGN("sqlite", "SQLite format 3", 16384),
        FOREIGN("our magic", "FeoxSto1", 8),
        FOREIGN("our magic and zeros", "FeoxSto1", 5 << 20),
        FOREIGN("the magic of a segment", "FeoxSeg1", 8192),
        FOREIGN("the magic of an entry", "FeoxJnl1", 8192),
    };
    const char *path = fx_temp_fresh("foreign");
    uint8_t *bytes = malloc(5u << 20);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const foreign *f = &files[i];
        memset(bytes, 0, f->size);
        memcpy(bytes, f->begin, f->begin_size);
        fx_file_write(path, bytes, f->size);
        expect_left_alone(path, bytes, f->size, strstr(f->name, "our") != NULL);
    }
    for (unsigned i = 0; i < 40; i++) {
        size_t size = 1 + (size_t)fx_rng_below(&rng, 100000);
        for (size_t at = 0; at < size; at += 8) {
            fx_put_u64(bytes + at, fx_rng_next(&rng));
        }
        fx_file_write(path, bytes, size);
        expect_left_alone(path, bytes, size, false);
    }
    free(bytes);
}

/* A later format is told from damage, and left alone. */
static void test_newer(void **state) {
    (void)state;
    const char *path = fx_temp_fresh("newer");
    feox_store *store = NULL;
    assert_int_equal(feox_open(path, NULL, &store), FEOX_OK);
    assert_int_equal(feox_insert(store, "k", 1, "v", 1), FEOX_OK);
    assert_int_equal(feox_close(store), FEOX_OK);
    size_t size = 0;
    uint8_t *bytes = fx_file_slurp(path, &size);
    for (unsigned copies = 1; copies <= FX_SUPERBLOCK_COPIES; copies++) {
        fx_put_u32(bytes + (size_t)(copies - 1) * FX_BLOCK_SIZE + 16, FX_FORMAT_VERSION + 1);
        reseal_superblocks(bytes);
        fx_file_write(path, bytes, size);
        assert_int_equal(feox_open(path, NULL, &store), FEOX_ERR_NEWER);
        expect_left_alone(path, bytes, size, true);
    }
    free(bytes);
}

/* `test_flips*`, say, runs those alone. */
int main(int count, char **words) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips),  cmocka_unit_test(test_flips_with_groups),
        cmocka_unit_test(test_swaps),  cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_replays),
        cmocka_unit_test(test_mauled), cmocka_unit_test(test_without_root),
        cmocka_unit_test(test_forged), cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_newer),
    };
    if (count > 1) {
        cmocka_set_test_filter(words[1]);
    }
    return cmocka_run_group_tests(tests, setup, NULL);
}
