/* segments: the table against naive sets, its image there and back, walks over damaged images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/checksum.h"
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
        fx_format_record_seal(image + at, size, &ID, position + at, 1);
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
    fx_checkpoint_begin(&writer, bytes, &ID, 77);
    for (size_t i = 0; i < table->count; i++) {
        fx_checkpoint_append(&writer, table->items[i]);
    }
    assert_int_equal(writer.at, size);
    *sum_out = fx_checkpoint_finish(&writer);
    *size_out = size;
    return bytes;
}

static feox_status decode(const uint8_t *bytes, const uint8_t *mirror, size_t size,
                          fx_segments *found, uint64_t *lost) {
    return fx_checkpoint_decode(bytes, mirror, size, &ID, 77, FILE_BLOCKS, found, lost);
}

/* Resealed lies: the sums are right, what they say cannot be. */
static void test_lies(const fx_segments *table) {
    fx_rng rng;
    fx_rng_init(&rng, 17);
    for (unsigned i = 0; i < 30000; i++) {
        fx_segments lies;
        fx_segments found;
        uint64_t lost = 0;
        uint64_t sum = 0;
        size_t size = 0;
        fx_segments_init(&lies);
        fx_segments_init(&found);
        assert_true(fx_segments_reserve(&lies, table->count));
        for (size_t j = 0; j < table->count; j++) {
            const fx_disk_segment *from = table->items[j];
            fx_disk_segment *lie = fx_segment_create(from->position, from->byte_length,
                                                     from->blocks, from->group, 10, 2);
            memcpy(lie->live, from->live, fx_segment_words(from->byte_length) * 8);
            lie->live_count = from->live_count;
            fx_segment_add_large(lie, 64, from->larges[0].block, from->larges[0].blocks);
            lies.items[lies.count++] = lie;
        }
        fx_disk_segment *lie = lies.items[fx_rng_below(&rng, lies.count)];
        switch (fx_rng_below(&rng, 7)) {
        case 0:
            lie->position = fx_rng_next(&rng) >> fx_rng_below(&rng, 60);
            lie->position -= i % 2 == 0 ? lie->position % FX_BLOCK_SIZE : 0;
            break;
        case 1:
            lie->blocks = (uint32_t)fx_rng_next(&rng) | 1;
            break;
        case 2:
            lie->live_count = (uint32_t)fx_rng_next(&rng);
            break;
        case 3:
            lie->record_count = (uint32_t)fx_rng_below(&rng, 3);
            break;
        case 4:
            lie->larges[0].block = fx_rng_next(&rng) >> fx_rng_below(&rng, 60);
            break;
        case 5: { /* as many as it says, anywhere */
            uint64_t unit = fx_rng_below(&rng, 64);
            lie->live[0] = (uint64_t)1 << unit | (uint64_t)1 << (unit + 1 + i % 63) % 64;
            break;
        }
        default:
            lie->live[0] ^= fx_rng_next(&rng);
            break;
        }
        uint8_t *bytes = checkpoint_of(&lies, &size, &sum);
        assert_int_equal(decode(bytes, bytes, size, &found, &lost), FEOX_OK);
        assert_null(fx_segments_check(&found));
        for (size_t j = 0; j < found.count; j++) { /* nothing lives in a header or behind the end */
            uint64_t block = found.items[j]->position / FX_BLOCK_SIZE;
            assert_true(block < FILE_BLOCKS && found.items[j]->blocks <= FILE_BLOCKS - block);
            assert_true(fx_segment_next_live(found.items[j], 0) >=
                        FX_SEGMENT_HEADER_SIZE / FX_RECORD_SIZE_MIN);
        }
        fx_segments_deinit(&found);
        fx_segments_deinit(&lies);
        free(bytes);
    }
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
    uint64_t lost = 1;
    assert_true(fx_checkpoint_verify(bytes, size, &ID, 77, sum));
    assert_int_equal(decode(bytes, bytes, size, &found, &lost), FEOX_OK);
    assert_int_equal(lost, 0);
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
    uint8_t *mirror = malloc(size);
    memcpy(mirror, bytes, size);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(fx_checkpoint_verify(bytes, size, &ID, 77, sum));
        /* The other copy has it; alone, an item is lost, unless it was in the header. */
        for (unsigned alone = 0; alone < 2; alone++) {
            fx_segments_init(&found);
            assert_int_equal(decode(bytes, alone ? bytes : mirror, size, &found, &lost), FEOX_OK);
            assert_null(fx_segments_check(&found));
            bool whole = !alone || bit < FX_CHECKPOINT_HEADER_SIZE * 8;
            assert_int_equal(found.count, whole ? 3 : 2);
            assert_true(whole == (lost == 0));
            fx_segments_deinit(&found);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* Two places in the two copies: still nothing is lost. */
    bytes[70] ^= 1;
    mirror[size - 1] ^= 1;
    fx_segments_init(&found);
    assert_int_equal(decode(bytes, mirror, size, &found, &lost), FEOX_OK);
    assert_true(found.count == 3 && lost == 0);
    fx_segments_deinit(&found);
    memcpy(bytes, mirror, size);
    bytes[size - 1] ^= 1;
    free(mirror);
    test_lies(&table);
    free(bytes);
    fx_segments_deinit(&table);
}

/* A segment of `count` records of `stride` bytes, some of them live. */
static fx_disk_segment *even_segment(fx_rng *rng, uint64_t block, uint32_t count, uint32_t stride) {
    uint32_t length = FX_SEGMENT_HEADER_SIZE + count * stride;
    fx_disk_segment *segment = fx_segment_create(block * FX_BLOCK_SIZE, length,
                                                 (uint32_t)fx_blocks_of(length), 5, count, 1);
    for (uint32_t i = 0; i < count; i++) {
        if (fx_rng_below(rng, 3) > 0) {
            fx_segment_set_live(segment, FX_SEGMENT_HEADER_SIZE + i * stride);
        }
    }
    return segment;
}

/* Where all records are of one length the image has a bit for each; where one is not, for 32 bytes.
 * Both ways the same bits come back. */
static void test_even_records(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 23);
    for (uint32_t round = 0; round < 2000; round++) {
        uint32_t stride = 32 + 8 * (uint32_t)fx_rng_below(&rng, 60);
        uint32_t count = 1 + (uint32_t)fx_rng_below(&rng, 200);
        fx_segments table;
        fx_segments found;
        size_t size = 0;
        uint64_t sum = 0;
        uint64_t lost = 0;
        fx_segments_init(&table);
        fx_segments_init(&found);
        assert_true(fx_segments_reserve(&table, 1));
        fx_disk_segment *segment = even_segment(&rng, 9, count, stride);
        bool odd = round % 4 == 0 && stride >= 104 && count > 1 && segment->live_count < count;
        if (odd) { /* a live one where none of one length begins */
            fx_segment_set_live(segment, FX_SEGMENT_HEADER_SIZE + stride + 64);
        }
        assert_true(fx_segments_add(&table, segment));
        bool even = stride > 32 && !odd;
        assert_int_equal(segment->stride, even ? stride : 0);
        assert_int_equal(table.table_words,
                         even ? (count + 63) / 64 : fx_segment_words(segment->byte_length));
        assert_null(fx_segments_check(&table));
        uint8_t *bytes = checkpoint_of(&table, &size, &sum);
        assert_int_equal(size, FX_CHECKPOINT_HEADER_SIZE + 40 + table.table_words * 8);
        assert_int_equal(decode(bytes, bytes, size, &found, &lost), FEOX_OK);
        assert_int_equal(found.count, 1);
        assert_memory_equal(found.items[0]->live, segment->live,
                            fx_segment_words(segment->byte_length) * 8);
        assert_int_equal(found.items[0]->live_count, segment->live_count);
        assert_int_equal(found.items[0]->stride, segment->stride);
        fx_segments_deinit(&found);
        fx_segments_deinit(&table);
        free(bytes);
    }
}

/* Sums that are right over lengths that cannot be. */
static void test_uneven_lies(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 29);
    for (uint32_t lie = 0; lie < 6; lie++) {
        fx_segments found;
        fx_checkpoint_writer writer;
        uint8_t bytes[512] = {0};
        uint64_t lost = 0;
        fx_disk_segment *segment = even_segment(&rng, 9, 20, 48);
        fx_segment_find_stride(segment);
        assert_int_equal(segment->stride, 48);
        segment->record_count += lie == 1 ? 1 : 0;
        segment->record_count -= lie == 2 ? 1 : 0;
        segment->stride += lie == 3 ? 8 : 0;
        segment->live_count += lie == 4 ? 1 : 0;
        segment->byte_length = lie == 5 ? 128 : segment->byte_length; /* 8 of 8 bytes */
        segment->stride = lie == 5 ? 8 : segment->stride;
        segment->record_count = lie == 5 ? 8 : segment->record_count;
        segment->live_count = lie == 5 ? 1 : segment->live_count;
        fx_segments_init(&found);
        fx_checkpoint_begin(&writer, bytes, &ID, 77);
        fx_checkpoint_append(&writer, segment);
        (void)fx_checkpoint_finish(&writer);
        assert_int_equal(decode(bytes, bytes, writer.at, &found, &lost), FEOX_OK);
        assert_int_equal(found.count, lie == 0 ? 1 : 0);
        assert_true((lost == 0) == (lie == 0));
        fx_segments_deinit(&found);
        fx_segment_destroy(segment);
    }
}

/* A bit behind the last record. */
static void test_bit_too_many(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 31);
    for (uint32_t bit = 19; bit < 22; bit++) {
        fx_segments found;
        fx_checkpoint_writer writer;
        uint8_t bytes[512] = {0};
        uint64_t lost = 0;
        fx_disk_segment *segment = even_segment(&rng, 9, 20, 48);
        fx_segment_find_stride(segment);
        fx_segments_init(&found);
        fx_checkpoint_begin(&writer, bytes, &ID, 77);
        fx_checkpoint_append(&writer, segment);
        uint8_t *item = bytes + FX_CHECKPOINT_HEADER_SIZE;
        fx_put_u64(item + 40, (uint64_t)1 << bit);
        fx_put_u32(item + 32, 1);
        uint64_t seed = fx_checkpoint_seed(&ID, 77) + FX_CHECKPOINT_HEADER_SIZE;
        fx_put_u32(item, (uint32_t)fx_checksum(item + 4, 44, seed));
        (void)fx_checkpoint_finish(&writer);
        assert_int_equal(decode(bytes, bytes, writer.at, &found, &lost), FEOX_OK);
        assert_int_equal(found.count, bit < 20 ? 1 : 0);
        fx_segments_deinit(&found);
        fx_segment_destroy(segment);
    }
}

/* What the segments of a table are to take in memory ends with the file. */
static void test_more_than_the_file(void **state) {
    (void)state;
    enum { MANY = 100, BLOCKS = 40, SPAN = 4 * 4096 };
    fx_segments found;
    fx_checkpoint_writer writer;
    uint64_t lost = 0;
    uint8_t *bytes = calloc(1, FX_CHECKPOINT_HEADER_SIZE + (size_t)MANY * 64);
    fx_checkpoint_begin(&writer, bytes, &ID, 77);
    for (uint32_t i = 0; i < MANY; i++) {
        fx_disk_segment *segment = fx_segment_create((uint64_t)(i % 36) * FX_BLOCK_SIZE, SPAN, 4, 5,
                                                     (SPAN - FX_SEGMENT_HEADER_SIZE) / 2040, 0);
        segment->stride = 2040;
        fx_segment_set_live(segment, FX_SEGMENT_HEADER_SIZE);
        fx_checkpoint_append(&writer, segment);
        fx_segment_destroy(segment);
    }
    (void)fx_checkpoint_finish(&writer);
    fx_segments_init(&found);
    assert_int_equal(fx_checkpoint_decode(bytes, bytes, writer.at, &ID, 77, BLOCKS, &found, &lost),
                     FEOX_OK);
    assert_in_range(found.count, 1, BLOCKS / 4);
    assert_true(lost > 0 && found.capacity < MANY);
    assert_null(fx_segments_check(&found));
    fx_segments_deinit(&found);
    free(bytes);
}

/* One segment with two live large values, of which the table lists the later first; then, of which
 * it lists one twice; then in order. */
static void test_larges_out_of_order(void **state) {
    (void)state;
    static const uint32_t lists[][2] = {{160, 64}, {64, 64}, {64, 160}};
    for (size_t i = 0; i < 3; i++) {
        fx_segments table;
        fx_segments found;
        size_t size = 0;
        uint64_t sum = 0;
        uint64_t lost = 0;
        fx_segments_init(&table);
        fx_segments_init(&found);
        assert_true(fx_segments_reserve(&table, 1));
        fx_disk_segment *segment = fx_segment_create(9 * FX_BLOCK_SIZE, 500, 1, 5, 10, 2);
        fx_segment_set_live(segment, 64);
        fx_segment_set_live(segment, 160);
        fx_segment_add_large(segment, lists[i][0], 200, 1);
        fx_segment_add_large(segment, lists[i][1], 300, 1);
        assert_true(fx_segments_add(&table, segment));
        uint8_t *bytes = checkpoint_of(&table, &size, &sum);
        assert_int_equal(decode(bytes, bytes, size, &found, &lost), FEOX_OK);
        assert_int_equal(found.count, i == 2 ? 1 : 0);
        assert_int_equal(lost, i == 2 ? 0 : size - FX_CHECKPOINT_HEADER_SIZE);
        fx_segments_deinit(&found);
        fx_segments_deinit(&table);
        free(bytes);
    }
}

/* Two segments that share bytes: one of them counts, and that is told. */
static void test_overlapping_items(void **state) {
    (void)state;
    for (uint64_t apart = 0; apart < 3; apart++) {
        fx_segments found;
        fx_checkpoint_writer writer;
        uint8_t bytes[512];
        uint64_t lost = 0;
        fx_segments_init(&found);
        fx_checkpoint_begin(&writer, bytes, &ID, 77);
        for (uint64_t i = 0; i < 2; i++) {
            fx_disk_segment *segment =
                fx_segment_create((9 + i * apart) * FX_BLOCK_SIZE, FX_BLOCK_SIZE + 8, 2, 5, 3, 0);
            fx_segment_set_live(segment, 64);
            fx_checkpoint_append(&writer, segment);
            fx_segment_destroy(segment);
        }
        (void)fx_checkpoint_finish(&writer);
        assert_int_equal(decode(bytes, bytes, writer.at, &found, &lost), FEOX_OK);
        assert_int_equal(found.count, apart == 2 ? 2 : 1);
        assert_true((lost > 0) == (apart < 2));
        assert_null(fx_segments_check(&found));
        fx_segments_deinit(&found);
    }
}

/* Wherever one looks, something like an item of a megabyte seems to begin: to sum them all would
 * take hours. The sound item behind them is found all the same. */
static void test_search_has_a_budget(void **state) {
    (void)state;
    enum { NOISE = 8 << 20 };
    fx_segments found;
    fx_checkpoint_writer writer;
    uint64_t lost = 0;
    uint8_t *bytes = calloc(1, FX_CHECKPOINT_HEADER_SIZE + NOISE + 512);
    fx_segments_init(&found);
    fx_checkpoint_begin(&writer, bytes, &ID, 77);
    for (size_t i = 0; i < NOISE; i += 8) { /* both lengths of an item */
        fx_put_u32(bytes + writer.at + i + 4, 60000);
    }
    writer.at += NOISE;
    fx_disk_segment *segment = fx_segment_create(9 * FX_BLOCK_SIZE, 500, 1, 5, 3, 0);
    fx_segment_set_live(segment, 64);
    fx_checkpoint_append(&writer, segment);
    (void)fx_checkpoint_finish(&writer);
    assert_int_equal(decode(bytes, bytes, writer.at, &found, &lost), FEOX_OK);
    assert_int_equal(found.count, 1);
    assert_int_equal(lost, NOISE);
    fx_segment_destroy(segment);
    fx_segments_deinit(&found);
    free(bytes);
}

/* Two segments never share a byte, from whichever side the second one comes. */
static void test_overlap(void **state) {
    (void)state;
    fx_segments table;
    fx_segments_init(&table);
    assert_true(fx_segments_reserve(&table, 2));
    assert_true(fx_segments_add(
        &table, fx_segment_create(10 * FX_BLOCK_SIZE, 2 * FX_BLOCK_SIZE, 2, 1, 10, 0)));
    for (uint64_t block = 7; block < 14; block++) {
        for (uint32_t blocks = 1; blocks < 6; blocks++) {
            uint64_t position = block * FX_BLOCK_SIZE;
            uint32_t length = blocks * FX_BLOCK_SIZE;
            bool apart = block + blocks <= 10 || block >= 12;
            fx_disk_segment *other = fx_segment_create(position, length, blocks, 2, 10, 0);
            assert_true(fx_segments_overlap(&table, position, length) != apart);
            assert_true(fx_segments_add(&table, other) == apart);
            if (apart) { /* it has none live: this takes both out */
                fx_segments_sweep(&table);
                assert_int_equal(table.count, 0);
                assert_true(fx_segments_add(
                    &table, fx_segment_create(10 * FX_BLOCK_SIZE, 2 * FX_BLOCK_SIZE, 2, 1, 10, 0)));
            } else {
                fx_segment_destroy(other);
            }
        }
    }
    fx_segments_deinit(&table);
}

/* A table in falling order, as only a hostile file has it, is read as fast as any. */
static void test_descending(void **state) {
    (void)state;
    enum { MANY = 300000 };
    uint64_t lost = 0;
    uint8_t *bytes = malloc(FX_CHECKPOINT_HEADER_SIZE + (size_t)MANY * 64);
    fx_segments found;
    fx_checkpoint_writer writer;
    fx_checkpoint_begin(&writer, bytes, &ID, 77);
    for (uint64_t i = MANY; i > 0; i--) {
        fx_disk_segment *segment = fx_segment_create((9 + i) * FX_BLOCK_SIZE, 256, 1, i, 3, 0);
        fx_segment_set_live(segment, 64);
        fx_checkpoint_append(&writer, segment);
        fx_segment_destroy(segment);
    }
    (void)fx_checkpoint_finish(&writer);
    fx_segments_init(&found);
    assert_int_equal(
        fx_checkpoint_decode(bytes, bytes, writer.at, &ID, 77, MANY + 10, &found, &lost), FEOX_OK);
    assert_true(found.count == MANY && lost == 0);
    assert_null(fx_segments_check(&found));
    fx_segments_deinit(&found);
    free(bytes);
}

/* The last bit of a bitmap's word, and what lies in a range. */
static void test_segment_bounds(void **state) {
    (void)state;
    fx_disk_segment *segment = fx_segment_create(10 * FX_BLOCK_SIZE, 2048, 1, 1, 3, 2);
    assert_int_equal(fx_segment_next_live(segment, 0), UINT32_MAX);
    assert_false(fx_segment_touches(segment, &(fx_extent){0, 100})); /* nothing in it lives */
    fx_segment_set_live(segment, 2016);
    fx_segment_add_large(segment, 96, 50, 4); /* dead */
    fx_segment_add_large(segment, 2016, 60, 4);
    assert_int_equal(fx_segment_next_live(segment, 63), 63);
    assert_int_equal(fx_segment_next_live(segment, 64), UINT32_MAX);
    assert_int_equal(fx_segment_next_live(segment, 128), UINT32_MAX);
    static const struct {
        fx_extent range;
        bool touches;
    } cases[] = {{{10, 1}, true},  {{8, 3}, true},   {{8, 2}, false},  {{11, 1}, false},
                 {{10, 0}, false}, {{9, 0}, false},  {{50, 4}, false}, {{60, 1}, true},
                 {{63, 9}, true},  {{64, 9}, false}, {{62, 0}, false}, {{55, 5}, false},
                 {{55, 6}, true},  {{40, 100}, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(fx_segment_touches(segment, &cases[i].range), cases[i].touches);
    }
    fx_segment_destroy(segment);
    /* An inline segment has no extent, so no range has it. */
    segment = fx_segment_create(10 * FX_BLOCK_SIZE, 2048, 0, 1, 3, 0);
    fx_segment_set_live(segment, 64);
    assert_false(fx_segment_touches(segment, &(fx_extent){10, 1}));
    assert_false(fx_segment_touches(segment, &(fx_extent){8, 100}));
    fx_segment_destroy(segment);
}

/* Plants one fault after another into a sound table, and takes it back. */
static void test_check_sees_damage(void **state) {
    (void)state;
    fx_segments table;
    fx_segments_init(&table);
    assert_true(fx_segments_reserve(&table, 2));
    for (uint32_t i = 0; i < 2; i++) {
        fx_disk_segment *segment = fx_segment_create((10 + i) * FX_BLOCK_SIZE, 500, i, 1, 2, 2);
        fx_segment_set_live(segment, 64);
        fx_segment_set_live(segment, 128);
        fx_segment_add_large(segment, 64, 50 + 2 * i, 1);
        fx_segment_add_large(segment, 128, 51 + 2 * i, 1);
        assert_true(fx_segments_add(&table, segment));
    }
    assert_null(fx_segments_check(&table));
    fx_disk_segment *first = table.items[0];
    fx_disk_segment *second = table.items[1];
    first->live[0] |= (uint64_t)1 << 15; /* byte 480: 500 is not the end of a unit */
    assert_string_equal(fx_segments_check(&table), "a live record lies outside its segment");
    first->live[0] ^= (uint64_t)1 << 15 | (uint64_t)1 << 14;
    assert_string_equal(fx_segments_check(&table), "a segment's count of live records is wrong");
    first->live_count++; /* more than there are records */
    assert_string_equal(fx_segments_check(&table), "a segment's count of live records is wrong");
    first->live_count--;
    first->live[0] ^= (uint64_t)1 << 14;
    first->larges[0].record_offset = 128;
    assert_string_equal(fx_segments_check(&table),
                        "the large values of a segment are out of order");
    first->larges[0].record_offset = 64;
    second->position = first->position + 499;
    assert_string_equal(fx_segments_check(&table), "segments overlap or are out of order");
    second->position = 11 * FX_BLOCK_SIZE;
    uint64_t *const sums[] = {
        &table.live_records, &table.packed_blocks,     &table.inline_bytes,
        &table.large_blocks, &table.dead_large_blocks, &table.dead_segment_blocks,
        &table.live_bytes,   &table.table_words,       &table.memory};
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        ++*sums[i];
        assert_string_equal(fx_segments_check(&table), "the sums over all segments are wrong");
        --*sums[i];
    }
    assert_null(fx_segments_check(&table));
    /* Places that no segment has. */
    static const uint64_t nowhere[] = {0, 9 * FX_BLOCK_SIZE / 8, (10 * FX_BLOCK_SIZE + 504) / 8,
                                       UINT64_MAX / 8, UINT64_MAX / 2};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        assert_false(fx_segments_set_live(&table, nowhere[i]));
        assert_false(fx_segments_set_dead(&table, nowhere[i]));
        assert_false(fx_segments_is_live(&table, nowhere[i]));
    }
    assert_null(fx_segments_check(&table));
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
        fx_segment_walk_init(&walk, &ID, bytes, position, 1, length);
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
        fx_segment_walk_init(&walk, &ID, bytes, position, 1, length);
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
    fx_segment_walk_init(&walk, &ID, bytes, 4096, 1, length);
    while ((result = fx_segment_walk_live(&walk, segment, &record)) != FX_WALK_END) {
        assert_int_not_equal(result, FX_WALK_RECORD);
    }
    fx_segment_walk_init(&walk, &ID, bytes, 4096, 1, length);
    while ((result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
        assert_int_not_equal(result, FX_WALK_RECORD);
    }
    free(bytes);
    fx_segment_destroy(segment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_even_records),
        cmocka_unit_test(test_uneven_lies),
        cmocka_unit_test(test_bit_too_many),
        cmocka_unit_test(test_more_than_the_file),
        cmocka_unit_test(test_larges_out_of_order),
        cmocka_unit_test(test_overlapping_items),
        cmocka_unit_test(test_search_has_a_budget),
        cmocka_unit_test(test_descending),
        cmocka_unit_test(test_segment_bounds),
        cmocka_unit_test(test_check_sees_damage),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
