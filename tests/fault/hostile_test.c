/* Damaged, shuffled, cut, foreign and forged files: what is read of them is right, or missing and
 * told of; what is not a store is never written; nothing breaks. The store of most tests has 64
 * blocks, and its whole history is known. A short run flips a bit of some bytes, FEOX_LONG=1 every
 * bit. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/rng.h"
#include "disk/checkpoint.h"
#include "feox.h"
#include "support/hostile.h"
#include "support/kit.h"
#include "support/reseal.h"
#include "support/temp.h"

#define BLOCKS 64u
#define RING 8u
/* Sanitizers take their time. */
#define FEW(number) (KIT_SLOW ? (number) / 6 : (number))

static fx_rng rng;

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

/* The store in 64 blocks: what is behind is free. */
static hostile *make(bool with_groups) {
    hostile *h = hostile_make(with_groups, RING);
    print_message("%zu blocks are in use\n", h->small_size / FX_BLOCK_SIZE);
    assert_true(h->small_size <= BLOCKS * FX_BLOCK_SIZE && h->size >= BLOCKS * FX_BLOCK_SIZE);
    h->size = BLOCKS * FX_BLOCK_SIZE;
    return h;
}

static bool is_zero(const uint8_t *block) {
    return block[0] == 0 && memcmp(block, block + 1, FX_BLOCK_SIZE - 1) == 0;
}

/* ---- Damage ---- */

static void flip(hostile *h, size_t bit) {
    hostile_outcome out;
    unsigned flags = HOSTILE_RESCUE | (fx_rng_below(&rng, 64) == 0 ? HOSTILE_WRITE : 0);
    h->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    hostile_run(h->bytes, h->size, h, flags, &out);
    h->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    /* One bit never costs more than one key, and never that the file opens. */
    if (out.read != FEOX_OK || out.rescue != FEOX_OK || out.absent > 1 || out.rescued_less > 1 ||
        out.prefix || (out.write != FEOX_OK && out.write != FEOX_END)) {
        print_error("bit %zu: read %d, write %d, rescue %d, %u absent, %u not rescued\n", bit,
                    out.read, out.write, out.rescue, out.absent, out.rescued_less);
        fail();
    }
}

static void flips(bool with_groups) {
    hostile *h = make(with_groups);
    unsigned cases = 0;
    for (size_t block = 0; block < BLOCKS; block++) {
        const uint8_t *bytes = h->bytes + block * FX_BLOCK_SIZE;
        size_t used = FX_BLOCK_SIZE;
        while (used > 0 && bytes[used - 1] == 0) {
            used--;
        }
        size_t first = block * FX_BLOCK_SIZE * 8;
        /* Every bit; or some of those that are in use, and a few of the others. */
        for (size_t bit = 0; is_long() && bit < FX_BLOCK_SIZE * 8; bit++, cases++) {
            flip(h, first + bit);
        }
        for (unsigned i = 0; !is_long() && i < (used > 0 ? FEW(120u) : 1u); i++, cases++) {
            size_t range = used > 0 && i % 16 != 0 ? used * 8 : FX_BLOCK_SIZE * 8;
            /* Headers are where it matters. */
            range = range > 2048 && i % 2 == 0 ? 2048 : range;
            flip(h, first + (size_t)fx_rng_below(&rng, range));
        }
    }
    print_message("%u flips\n", cases);
    hostile_free(h);
}

static void test_flips(void **state) {
    (void)state;
    flips(false);
}

static void test_flips_with_groups(void **state) {
    (void)state;
    flips(true);
}

static void exchange(uint8_t *a, uint8_t *b, size_t size) {
    uint8_t block[FX_BLOCK_SIZE];
    memcpy(block, a, size);
    memmove(a, b, size);
    memcpy(b, block, size);
}

static void swaps(bool with_groups) {
    hostile *h = make(with_groups);
    hostile_outcome out;
    unsigned refused = 0;
    unsigned cases = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        for (size_t j = i + 1; j < BLOCKS; j++) {
            uint8_t *a = h->bytes + i * FX_BLOCK_SIZE;
            uint8_t *b = h->bytes + j * FX_BLOCK_SIZE;
            bool same = is_zero(a) && is_zero(b);
            bool skipped = KIT_SLOW && i > 6 && fx_rng_below(&rng, 6) != 0;
            if ((same || skipped) && !is_long()) {
                continue;
            }
            unsigned flags = HOSTILE_RESCUE | (cases % 8 == 0 ? HOSTILE_WRITE : 0);
            exchange(a, b, FX_BLOCK_SIZE);
            hostile_run(h->bytes, h->size, h, flags, &out);
            exchange(a, b, FX_BLOCK_SIZE);
            /* Only both superblocks at once keep it from being read. */
            assert_true(out.read == FEOX_OK || j < FX_SUPERBLOCK_COPIES);
            assert_int_equal(out.rescue, FEOX_OK);
            refused += out.read != FEOX_OK;
            cases++;
        }
    }
    print_message("%u exchanges, %u refused\n", cases, refused);
    hostile_free(h);
}

static void test_swaps(void **state) {
    (void)state;
    swaps(false);
    swaps(true);
}

static void test_cuts(void **state) {
    (void)state;
    hostile_outcome out;
    for (unsigned with_groups = 0; with_groups < 2; with_groups++) {
        hostile *h = make(with_groups != 0);
        for (size_t size = 1; size < h->small_size; size += is_long() ? 97 : 1021) {
            hostile_run(h->bytes, size, h, HOSTILE_RESCUE, &out);
        }
        for (size_t block = 1; block * FX_BLOCK_SIZE < h->small_size; block++) {
            hostile_run(h->bytes, block * FX_BLOCK_SIZE, h, HOSTILE_RESCUE | HOSTILE_WRITE, &out);
            assert_true(out.read != FEOX_OK || out.absent == 0 || out.problems > 0 || out.prefix);
        }
        hostile_free(h);
    }
}

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
    unsigned rounds = is_long() ? 200000 : FEW(2500u);
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
    unsigned rounds = is_long() ? 300000 : FEW(3000u);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips),  cmocka_unit_test(test_flips_with_groups),
        cmocka_unit_test(test_swaps),  cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_mauled), cmocka_unit_test(test_without_root),
        cmocka_unit_test(test_forged), cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_newer),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
