/* segments: the table against naive sets, its image there and back, walks over damaged images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "disk/checkpoint.h"
#include "disk/segments.h"

static const fx_store_id ID = {.low = 8, .high = 9};
#define RECORDS 50u
#define SEGMENTS 20u
#define LENGTH 4000u
#define FILE_BLOCKS 4096u

/* A sound image of records with keys 0.., values of growing size; their offsets. */
static uint32_t build(uint8_t *image, uint64_t position, uint32_t *offsets) {
    uint32_t at = FX_SEGMENT_HEADER_SIZE;
    uint8_t value[64] = {1, 2, 3};
    for (uint32_t i = 0; i < RECORDS; i++) {
        const fx_entry entry = {.key = (const uint8_t *)&i,
                                .key_len = 4,
                                .value = value,
                                .value_len = i,
                                .version = i + 1,
                                .kind = i % 10 == 9 ? FX_ENTRY_TOMBSTONE : FX_ENTRY_PUT};
        fx_entry plain = entry;
        plain.value_len = entry.kind == FX_ENTRY_TOMBSTONE ? 0 : i;
        size_t size = fx_format_record_size(plain.kind, 4, plain.value_len, false);
        fx_format_record_encode(image + at, &plain);
        fx_format_record_seal(image + at, size, &ID, position + at);
        offsets[i] = at;
        at += (uint32_t)size;
    }
    const fx_segment_header header = {
        .group = 1, .position = position, .record_count = RECORDS, .byte_length = at};
    (void)fx_format_segment_seal(image, &ID, &header);
    return at;
}

static void test_table(void **state) {
    (void)state;
    fx_segments table;
    fx_rng rng;
    bool live[SEGMENTS][LENGTH / 32] = {0};
    uint64_t lives = 0;
    fx_rng_init(&rng, 3);
    fx_segments_init(&table);
    assert_true(fx_segments_reserve(&table, SEGMENTS + 1));
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        uint32_t s = i * 7 % SEGMENTS; /* not in order */
        fx_disk_segment *segment =
            fx_segment_create((10 + s * 3) * FX_BLOCK_SIZE, LENGTH, 1, i, LENGTH / 32, 1);
        assert_non_null(segment);
        fx_segment_add_large(segment, 96, 1000 + s * 4, 4);
        assert_true(fx_segments_add(&table, segment));
    }
    fx_disk_segment *second = fx_segment_create(10 * FX_BLOCK_SIZE, 100, 1, 1, 1, 0);
    assert_false(fx_segments_add(&table, second)); /* overlaps */
    fx_segment_destroy(second);
    for (unsigned step = 0; step < 20000; step++) {
        uint32_t s = (uint32_t)fx_rng_below(&rng, SEGMENTS);
        uint32_t unit = 2 + (uint32_t)fx_rng_below(&rng, LENGTH / 32 - 2);
        uint64_t location = ((10 + s * 3) * FX_BLOCK_SIZE + unit * 32) / 8;
        assert_int_equal(fx_segments_is_live(&table, location), live[s][unit]);
        if (fx_rng_below(&rng, 2) == 0) {
            assert_int_equal(fx_segments_set_live(&table, location), !live[s][unit]);
            lives += !live[s][unit];
            live[s][unit] = true;
        } else {
            assert_int_equal(fx_segments_set_dead(&table, location), live[s][unit]);
            lives -= live[s][unit];
            live[s][unit] = false;
        }
        assert_int_equal(table.live_records, lives);
        if (step % 500 == 0) {
            assert_null(fx_segments_check(&table));
        }
    }
    assert_null(fx_segments_find(&table, 9 * FX_BLOCK_SIZE));
    assert_null(fx_segments_find(&table, 10 * FX_BLOCK_SIZE + LENGTH));
    assert_false(fx_segments_set_dead(&table, UINT64_MAX / 2));
    /* Kill one segment: it is garbage, and so are the dead large values of the others. */
    size_t dead_large = 0;
    for (uint32_t s = 0; s < SEGMENTS; s++) {
        for (uint32_t unit = 0; s == 5 && unit < LENGTH / 32; unit++) {
            if (live[s][unit]) {
                assert_true(
                    fx_segments_set_dead(&table, ((10 + s * 3) * FX_BLOCK_SIZE + unit * 32) / 8));
                live[s][unit] = false;
            }
        }
        dead_large += live[s][3] ? 0 : 1;
    }
    assert_int_equal(fx_segments_garbage(&table, NULL, 0), 1 + dead_large);
    assert_int_equal(table.dead_segment_blocks, 1);
    assert_int_equal(table.dead_large_blocks, 4 * dead_large);
    fx_segments_sweep(&table);
    assert_null(fx_segments_check(&table));
    assert_int_equal(table.count, SEGMENTS - 1);
    assert_int_equal(fx_segments_garbage(&table, NULL, 0), 0);
    fx_segments_deinit(&table);
}

static uint8_t *checkpoint_of(const fx_segments *table, size_t *size_out, uint64_t *sum_out) {
    size_t size = FX_CHECKPOINT_HEADER_SIZE;
    for (size_t i = 0; i < table->count; i++) {
        size += fx_checkpoint_item_size(table->items[i]);
    }
    uint8_t *bytes = malloc(size);
    fx_checkpoint_writer writer;
    fx_checkpoint_begin(&writer, bytes);
    for (size_t i = 0; i < table->count; i++) {
        fx_checkpoint_append(&writer, table->items[i]);
    }
    assert_int_equal(writer.at, size);
    *sum_out = fx_checkpoint_finish(&writer, &ID, 40960, 77);
    *size_out = size;
    return bytes;
}

static void test_checkpoint(void **state) {
    (void)state;
    fx_segments table;
    fx_segments found;
    fx_segments_init(&table);
    assert_true(fx_segments_reserve(&table, 3));
    for (uint32_t i = 0; i < 3; i++) {
        fx_disk_segment *segment =
            fx_segment_create((50 + i) * FX_BLOCK_SIZE, 500 + i * 8, 1, i + 5, 10, 2);
        fx_segment_set_live(segment, 64);
        fx_segment_set_live(segment, 160 + i * 32);
        fx_segment_add_large(segment, 64, 200 + i, 1);
        fx_segment_add_large(segment, 352, 300 + i, 1); /* dead: not in the image */
        assert_true(fx_segments_add(&table, segment));
    }
    size_t size = 0;
    uint64_t sum = 0;
    uint8_t *bytes = checkpoint_of(&table, &size, &sum);
    fx_segments_init(&found);
    assert_int_equal(fx_checkpoint_decode(bytes, size, &ID, 40960, sum, FILE_BLOCKS, &found),
                     FEOX_OK);
    assert_null(fx_segments_check(&found));
    assert_int_equal(found.count, 3);
    assert_int_equal(found.live_records, 6);
    for (uint32_t i = 0; i < 3; i++) {
        const fx_disk_segment *a = table.items[i];
        const fx_disk_segment *b = found.items[i];
        assert_true(a->position == b->position && a->byte_length == b->byte_length &&
                    a->group == b->group && a->record_count == b->record_count &&
                    b->large_count == 1 && b->larges[0].block == 200 + i);
        assert_memory_equal(a->live, b->live, fx_segment_words(a->byte_length) * 8);
    }
    fx_segments_deinit(&found);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fx_segments_init(&found);
        feox_status status =
            fx_checkpoint_decode(bytes, size, &ID, 40960, sum, FILE_BLOCKS, &found);
        assert_int_equal(status, FEOX_ERR_CORRUPT);
        fx_segments_deinit(&found);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* Resealed lies: the sum is right, what it says cannot be. */
    fx_rng rng;
    fx_rng_init(&rng, 17);
    for (unsigned i = 0; i < 30000; i++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, bytes, size);
        for (uint64_t n = 1 + fx_rng_below(&rng, 3); n > 0; n--) {
            copy[64 + fx_rng_below(&rng, size - 64)] = (uint8_t)fx_rng_next(&rng);
        }
        fx_checkpoint_writer writer = {.bytes = copy, .at = size, .count = 3};
        uint64_t lie = fx_checkpoint_finish(&writer, &ID, 40960, 77);
        fx_segments_init(&found);
        if (fx_checkpoint_decode(copy, size, &ID, 40960, lie, FILE_BLOCKS, &found) == FEOX_OK) {
            assert_null(fx_segments_check(&found));
        }
        fx_segments_deinit(&found);
        free(copy);
    }
    free(bytes);
    fx_segments_deinit(&table);
}

static void test_walk(void **state) {
    (void)state;
    static uint8_t image[8192];
    uint32_t offsets[RECORDS];
    uint64_t position = 5 * FX_BLOCK_SIZE;
    uint32_t length = build(image, position, offsets);
    fx_disk_segment *segment = fx_segment_create(position, length, 2, 1, RECORDS, 0);
    for (uint32_t i = 0; i < RECORDS; i += 3) {
        fx_segment_set_live(segment, offsets[i]);
    }
    uint8_t *bytes = malloc(length);
    for (uint32_t broken = FX_SEGMENT_HEADER_SIZE; broken <= length; broken++) {
        memcpy(bytes, image, length);
        if (broken < length) {
            bytes[broken] ^= 0x40;
        }
        fx_segment_walk walk;
        fx_walked record;
        fx_walk_result result;
        unsigned good = 0;
        unsigned bad = 0;
        fx_segment_walk_init(&walk, &ID, bytes, position, length);
        while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
            good += result == FX_WALK_RECORD;
            bad += result != FX_WALK_RECORD;
            if (result != FX_WALK_DAMAGED) {
                uint32_t key = fx_get_u32(record.entry.key);
                assert_true(key < RECORDS && key % 3 == 0 && record.offset == offsets[key]);
            }
        }
        assert_int_equal(good + bad, segment->live_count);
        assert_true(bad <= 1); /* damage to one byte costs one record */
        assert_true(broken < length || bad == 0);
        good = bad = 0;
        fx_segment_walk_init(&walk, &ID, bytes, position, length);
        while ((result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
            good += result == FX_WALK_RECORD;
            bad += result != FX_WALK_RECORD;
        }
        assert_int_equal(good, broken < length ? RECORDS - 1 : RECORDS);
        assert_int_equal(bad, broken < length ? 1 : 0);
    }
    free(bytes);
    fx_segment_destroy(segment);
}

/* Nothing but noise: ends, within its budget, and reads nothing beyond. */
static void test_noise(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 23);
    uint32_t length = FX_SEGMENT_SIZE_MAX;
    uint8_t *bytes = malloc(length);
    fx_disk_segment *segment = fx_segment_create(4096, length, 256, 1, 40000, 0);
    for (uint32_t i = 0; i < length; i += 8) {
        fx_put_u64(bytes + i, fx_rng_next(&rng) & fx_rng_next(&rng) & 0x0307ffff00ff0fffu);
    }
    for (uint32_t at = 64; at < length; at += 32) {
        fx_segment_set_live(segment, at);
    }
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    fx_segment_walk_init(&walk, &ID, bytes, 4096, length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
        assert_int_not_equal(result, FX_WALK_RECORD);
    }
    fx_segment_walk_init(&walk, &ID, bytes, 4096, length);
    while ((result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
        assert_int_not_equal(result, FX_WALK_RECORD);
    }
    free(bytes);
    fx_segment_destroy(segment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
