/* journal: entries there and back, every flipped bit, and the ring against a naive one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "disk/journal.h"

static const fx_store_id ID = {.low = 3, .high = 4};

static void make(uint8_t *to, uint64_t block, uint64_t group, uint32_t segments, uint32_t blocks,
                 uint64_t epoch) {
    const fx_journal_entry entry = {.position = block * FX_BLOCK_SIZE,
                                    .epoch = epoch,
                                    .first_group = group,
                                    .group = group,
                                    .durable_upto = group - 1,
                                    .time_ns = group * 10,
                                    .counter = group * 100,
                                    .segment_count = segments,
                                    .blocks = blocks};
    memset(to, 0, (size_t)blocks * FX_BLOCK_SIZE);
    fx_journal_begin(to, &ID, &entry);
    for (uint32_t i = 0; i < segments; i++) {
        const fx_journal_segment segment = {.position = (100 + i) * FX_BLOCK_SIZE,
                                            .checksum = i,
                                            .byte_length = 64 + i,
                                            .record_count = i,
                                            .blocks = 1};
        fx_journal_set_segment(to, i, &segment);
    }
    fx_journal_seal(to, &ID);
}

static void test_round_trip(void **state) {
    (void)state;
    uint32_t segments = 200;
    uint32_t blocks = (uint32_t)fx_journal_blocks(segments, 0);
    size_t size = (size_t)blocks * FX_BLOCK_SIZE;
    uint8_t *bytes = malloc(size);
    fx_journal_entry found;
    assert_int_equal(blocks, 2);
    make(bytes, 7, 5, segments, blocks, 42);
    assert_true(fx_journal_decode(bytes, size, &ID, 7 * FX_BLOCK_SIZE, 42, &found));
    assert_true(found.group == 5 && found.first_group == 5 && found.durable_upto == 4 &&
                found.time_ns == 50 && found.counter == 500 && found.blocks == blocks &&
                found.segment_count == segments && found.inline_offset == 0);
    for (uint32_t i = 0; i < segments; i++) {
        fx_journal_segment segment;
        fx_journal_segment_at(bytes, i, &segment);
        assert_true(segment.position == (100 + i) * FX_BLOCK_SIZE && segment.checksum == i &&
                    segment.byte_length == 64 + i && segment.record_count == i &&
                    segment.blocks == 1);
    }
    assert_false(fx_journal_decode(bytes, size, &ID, 8 * FX_BLOCK_SIZE, 42, &found));
    assert_false(fx_journal_decode(bytes, size, &ID, 7 * FX_BLOCK_SIZE, 43, &found));
    assert_false(fx_journal_decode(bytes, size - 1, &ID, 7 * FX_BLOCK_SIZE, 42, &found));
    size_t meaningful = FX_JOURNAL_HEADER_SIZE + (size_t)segments * FX_JOURNAL_ITEM_SIZE;
    for (size_t bit = 0; bit < meaningful * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(fx_journal_decode(bytes, size, &ID, 7 * FX_BLOCK_SIZE, 42, &found));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
}

/* Entries of random sizes with checkpoints in between: never over one that counts, and a scan finds
 * just those since the checkpoint, in order. */
static void test_ring(void **state) {
    (void)state;
    enum { RING = 40, FIRST = 2 };
    uint8_t *ring = calloc(RING, FX_BLOCK_SIZE);
    uint64_t owner[RING] = {0};
    fx_rng rng;
    fx_rng_init(&rng, 11);
    fx_journal journal;
    uint64_t epoch = 1;
    uint64_t group = 1;
    uint64_t since = 1; /* first group of the epoch */
    fx_journal_init(&journal, (fx_extent){.block = FIRST, .count = RING}, 13);
    for (unsigned step = 0; step < 5000; step++) {
        uint64_t blocks = 1 + fx_rng_below(&rng, 6);
        uint64_t block = 0;
        if (fx_journal_place(&journal, blocks, &block)) {
            assert_true(block + blocks <= RING);
            for (uint64_t b = block; b < block + blocks; b++) {
                assert_true(owner[b] < since);
                owner[b] = group;
            }
            make(ring + block * FX_BLOCK_SIZE, FIRST + block, group, 1, (uint32_t)blocks, epoch);
            fx_journal_advance(&journal, block, blocks);
            group++;
        } else if (fx_rng_below(&rng, 2) == 0) {
            assert_true(journal.used + 2 * blocks > RING - 6);
            fx_journal_reset(&journal);
            epoch++;
            since = group;
        }
        if (step % 7 == 0) {
            fx_journal again;
            fx_journal_entry found;
            uint64_t cursor = 0;
            uint64_t expected = since;
            fx_journal_init(&again, journal.extent, journal.head);
            while (fx_journal_scan(ring, &again, &ID, epoch, &cursor, &found)) {
                assert_int_equal(found.group, expected);
                fx_journal_advance(&again, found.position / FX_BLOCK_SIZE - FIRST, found.blocks);
                expected++;
            }
            assert_int_equal(expected, group);
            assert_int_equal(again.used, journal.used);
            assert_int_equal(again.next, journal.next);
        }
    }
    assert_true(epoch > 100);
    free(ring);
}

/* Counts and sizes that lie. */
static void test_hostile(void **state) {
    (void)state;
    uint8_t *bytes = malloc(FX_BLOCK_SIZE);
    fx_journal_entry found;
    const uint32_t lies[][3] = {/* segments, blocks, inline offset */
                                {1, 2, 0},  {1, 0, 0},    {1, UINT32_MAX, 0},
                                {1, 1, 64}, {1, 1, 4096}, {2, 1, 192}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        make(bytes, 3, 9, 1, 1, 1);
        fx_put_u32(bytes + 88, lies[i][0]);
        fx_put_u32(bytes + 92, lies[i][1]);
        fx_put_u32(bytes + 96, lies[i][2]);
        fx_journal_seal(bytes, &ID);
        assert_false(fx_journal_decode(bytes, FX_BLOCK_SIZE, &ID, 3 * FX_BLOCK_SIZE, 1, &found));
    }
    make(bytes, 3, 9, 1, 1, 1);
    fx_put_u32(bytes + 88, UINT32_MAX); /* more segments than the entry has room for */
    assert_false(fx_journal_decode(bytes, FX_BLOCK_SIZE, &ID, 3 * FX_BLOCK_SIZE, 1, &found));
    free(bytes);
    /* Less than a block is not looked at. */
    bytes = malloc(8);
    memcpy(bytes, "FeoxJnl1", 8);
    assert_false(fx_journal_decode(bytes, 8, &ID, 3 * FX_BLOCK_SIZE, 1, &found));
    free(bytes);
}

/* What is longer than the ring has no place in it, wherever the next entry would go. */
static void test_too_long(void **state) {
    (void)state;
    fx_journal journal;
    uint64_t block = 0;
    for (uint64_t head = 0; head < 8; head++) {
        fx_journal_init(&journal, (fx_extent){.block = 2, .count = 8}, head);
        assert_false(fx_journal_place(&journal, 9, &block));
        assert_true(fx_journal_place(&journal, 8 - head, &block));
        assert_int_equal(block, head);
        /* All of it only from its beginning: else what is left of it would be skipped. */
        assert_int_equal(fx_journal_place(&journal, 8, &block), head == 0);
        assert_int_equal(fx_journal_place(&journal, head + 1, &block), head + 1 <= 8 - head);
    }
}

/* A closer look: every flipped bit is put right, more is damage, other lives are left alone. */
static void test_examine(void **state) {
    (void)state;
    uint8_t *bytes = malloc(FX_BLOCK_SIZE);
    uint8_t *sound = malloc(FX_BLOCK_SIZE);
    uint64_t place = 7 * FX_BLOCK_SIZE;
    unsigned searches = 1000000;
    make(sound, 7, 5, 3, 1, 42);
    size_t size = FX_JOURNAL_HEADER_SIZE + 3 * FX_JOURNAL_ITEM_SIZE;
    for (size_t bit = 0; bit < size * 8; bit += 3) {
        memcpy(bytes, sound, FX_BLOCK_SIZE);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(fx_journal_examine(bytes, FX_BLOCK_SIZE, &ID, place, 42, &searches),
                         FX_JOURNAL_MENDED);
        assert_memory_equal(bytes, sound, FX_BLOCK_SIZE);
    }
    assert_int_equal(fx_journal_examine(bytes, FX_BLOCK_SIZE, &ID, place, 42, &searches),
                     FX_JOURNAL_SOUND);
    bytes[100] ^= 3;
    assert_int_equal(fx_journal_examine(bytes, FX_BLOCK_SIZE, &ID, place, 42, &searches),
                     FX_JOURNAL_DAMAGED);
    searches = 0;
    bytes[100] ^= 1;
    assert_int_equal(fx_journal_examine(bytes, FX_BLOCK_SIZE, &ID, place, 42, &searches),
                     FX_JOURNAL_DAMAGED);
    memcpy(bytes, sound, FX_BLOCK_SIZE);
    assert_int_equal(fx_journal_examine(bytes, FX_BLOCK_SIZE, &ID, place + 4096, 42, &searches),
                     FX_JOURNAL_DAMAGED); /* it stands where it does not belong */
    assert_int_equal(fx_journal_examine(bytes, FX_BLOCK_SIZE, &ID, place, 12345678, &searches),
                     FX_JOURNAL_OTHER);
    memset(bytes, 0, FX_BLOCK_SIZE);
    assert_int_equal(fx_journal_examine(bytes, FX_BLOCK_SIZE, &ID, place, 42, &searches),
                     FX_JOURNAL_OTHER);
    free(bytes);
    free(sound);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_ring),
        cmocka_unit_test(test_hostile),    cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_examine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
