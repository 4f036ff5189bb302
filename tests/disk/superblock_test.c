/* superblock: the newer valid copy is the root; every flipped bit is seen; the kinds of foreign
 * files are told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "disk/superblock.h"

static uint8_t area[FX_SUPERBLOCK_AREA];

static fx_superblock sample(uint64_t generation) {
    return (fx_superblock){.id = {1, 2},
                           .generation = generation,
                           .journal = {.block = 2, .count = 1024},
                           .journal_head = 17,
                           .epoch = generation * 1000,
                           .group = 33,
                           .checkpoint = {.block = 2000, .count = 3},
                           .mirror = 1500,
                           .checkpoint_length = 9000,
                           .checkpoint_checksum = 44,
                           .counter = 55,
                           .time_ns = 66,
                           .file_blocks = 4096};
}

static void put(uint64_t generation) {
    fx_superblock s = sample(generation);
    fx_superblock_encode(area + generation % 2 * FX_BLOCK_SIZE, &s);
}

static void test_choice(void **state) {
    (void)state;
    fx_superblock found;
    unsigned damaged;
    memset(area, 0, sizeof area);
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_ERR_NOT_FEOX);
    put(6);
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_OK);
    assert_int_equal(damaged, 1);
    put(7);
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_OK);
    assert_int_equal(damaged, 0);
    fx_superblock wanted = sample(7);
    assert_memory_equal(&found, &wanted, sizeof found);
    put(8);
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_OK);
    assert_int_equal(found.generation, 8);
    memset(area, 'x', sizeof area);
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_ERR_NOT_FEOX);
}

static void test_flips(void **state) {
    (void)state;
    fx_superblock found;
    unsigned damaged;
    put(6);
    put(7);
    for (size_t bit = 0; bit < FX_BLOCK_SIZE * 8; bit++) {
        uint8_t *byte = &area[FX_BLOCK_SIZE + bit / 8];
        *byte ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_OK);
        assert_int_equal(found.generation, 6);
        assert_int_equal(damaged, 1);
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    area[100] ^= 1;
    area[FX_BLOCK_SIZE + 100] ^= 1;
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_ERR_CORRUPT);
    /* A copy in the other's place does not count. */
    memset(area, 0, sizeof area);
    put(6);
    memcpy(area + FX_BLOCK_SIZE, area, FX_BLOCK_SIZE);
    memset(area, 0, FX_BLOCK_SIZE);
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_ERR_CORRUPT);
}

static void test_torn(void **state) {
    (void)state;
    uint8_t block[FX_BLOCK_SIZE];
    fx_superblock s = sample(6);
    fx_superblock_encode(block, &s);
    for (size_t i = 512; i < FX_BLOCK_SIZE; i++) {
        assert_int_equal(block[i], 0); /* one sector: arrives whole or not at all */
    }
}

static void test_newer(void **state) {
    (void)state;
    fx_superblock found;
    unsigned damaged;
    memset(area, 0, sizeof area);
    put(6);
    fx_put_u32(area + 16, FX_FORMAT_VERSION + 1);
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_ERR_CORRUPT);
    fx_put_u64(area + 8, fx_checksum(area + 16, FX_BLOCK_SIZE - 16, 0x73757065u));
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_ERR_NEWER);
    put(7); /* it is newer all the same */
    assert_int_equal(fx_superblock_decode(area, &found, &damaged), FEOX_ERR_NEWER);
}

static void test_fits(void **state) {
    (void)state;
    fx_superblock s = sample(6);
    assert_true(fx_superblock_fits(&s, 2003));
    assert_false(fx_superblock_fits(&s, 2002));
    s.journal_head = 1024;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6);
    s.checkpoint.block = UINT64_MAX;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6);
    s.checkpoint.count = UINT64_MAX;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6);
    s.checkpoint.block = 1025;
    assert_false(fx_superblock_fits(&s, 4096)); /* inside the ring */
    s = sample(6);
    s.mirror = 1025; /* inside the ring; behind the end; in the other copy */
    assert_false(fx_superblock_fits(&s, 4096));
    s.mirror = 4094;
    assert_false(fx_superblock_fits(&s, 4096));
    s.mirror = 2002;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6);
    s.counter = UINT64_MAX;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6);
    s.group = UINT64_MAX;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6);
    s.journal.block = 1;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6);
    s.checkpoint_length = 3 * FX_BLOCK_SIZE + 1;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6); /* a table longer than the segments of any such file need */
    s.checkpoint.count = 129;
    s.checkpoint_length = 128 * FX_BLOCK_SIZE;
    assert_true(fx_superblock_fits(&s, 4096));
    s.checkpoint_length += 128;
    assert_false(fx_superblock_fits(&s, 4096));
    s = sample(6); /* a ring longer than any */
    s.checkpoint.count = 0;
    s.journal.count = FX_JOURNAL_SIZE_MAX / FX_BLOCK_SIZE;
    assert_true(fx_superblock_fits(&s, UINT32_MAX));
    s.journal.count++;
    assert_false(fx_superblock_fits(&s, UINT32_MAX));
    s = sample(6);
    s.checkpoint.count = 0;
    assert_true(fx_superblock_fits(&s, 1026));
    assert_false(fx_superblock_fits(&s, 1025));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice), cmocka_unit_test(test_flips), cmocka_unit_test(test_torn),
        cmocka_unit_test(test_newer),  cmocka_unit_test(test_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
