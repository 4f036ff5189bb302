/* checkpoint: why this way. One bit per 32 bytes of segment makes the image about 0.4 % of the
 * data: it is written whole, to fresh space, and the superblock flips to it; nothing is updated in
 * place. Each step of cleaning writes it, so where all records of a segment are of one length a
 * bit for each is enough: with 100-byte values a fifth.
 */
#include "disk/checkpoint.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

/* Image. Nothing in it says where it stands: both copies are the same bytes.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic
 *        8     8  checksum of bytes 16 .. end
 *       16    16  store id
 *       32     8  group
 *       40     8  count of segments
 *       48     8  length in bytes
 *       56     8  zero
 *       64     .  segments
 *
 * Segment.
 *
 *        0     4  checksum of the rest, seeded with the group and the place in the image
 *        4     4  byte length
 *        8     8  position
 *       16     8  group
 *       24     4  blocks
 *       28     4  record count
 *       32     4  live count
 *       36     2  count of large values
 *       38     2  stride / 8: all its records are of so many bytes; 0: or not
 *       40   8 w  live bits: one for each record, w = (record count + 63) / 64; without a stride
 *                 one for 32 bytes, where a record begins, w = fx_segment_words(byte length)
 *        .  16 n  large values: record offset 4, blocks 4, block 8
 */
#define CHECKPOINT_MAGIC 0x316b7043786f6546u /* "FeoxCpk1" */
#define ITEM_HEADER_SIZE 40u
#define LARGE_SIZE 16u
#define ITEM_ALIGN 8u
/* How often over the search behind a damaged item may sum the image. */
#define SEARCH_BUDGET 16u

static uint32_t live_larges(const fx_disk_segment *segment) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < segment->large_count; i++) {
        count += fx_segment_is_live(segment, segment->larges[i].record_offset) ? 1u : 0u;
    }
    return count;
}

static size_t item_size(size_t words, uint32_t larges) {
    return ITEM_HEADER_SIZE + words * 8 + (size_t)larges * LARGE_SIZE;
}

size_t fx_checkpoint_item_size(const fx_disk_segment *segment) {
    return item_size(fx_segment_table_words(segment), live_larges(segment));
}

static uint32_t item_checksum(const uint8_t *item, size_t size, const fx_store_id *id,
                              uint64_t group, size_t at) {
    return (uint32_t)fx_checksum(item + 4, size - 4, fx_format_seed(id, group) + at);
}

void fx_checkpoint_begin(fx_checkpoint_writer *writer, uint8_t *bytes, const fx_store_id *id,
                         uint64_t group) {
    *writer = (fx_checkpoint_writer){
        .bytes = bytes, .at = FX_CHECKPOINT_HEADER_SIZE, .id = id, .group = group};
}

/* The live bits as they stand in the image; returns what is behind them. */
static uint8_t *put_live(uint8_t *at, const fx_disk_segment *segment) {
    size_t words = fx_segment_table_words(segment);
    if (segment->stride == 0) {
        memcpy(at, segment->live, words * 8);
        return at + words * 8;
    }
    uint32_t offset = FX_SEGMENT_HEADER_SIZE;
    for (uint32_t i = 0; i < segment->record_count; at += 8) {
        uint64_t word = 0;
        for (uint32_t bit = 0; bit < 64 && i < segment->record_count; bit++, i++) {
            word |= (uint64_t)fx_segment_is_live(segment, offset) << bit;
            offset += segment->stride;
        }
        fx_put_u64(at, word);
    }
    return at;
}

void fx_checkpoint_append(fx_checkpoint_writer *writer, const fx_disk_segment *segment) {
    uint8_t *item = writer->bytes + writer->at;
    FX_ASSERT(segment->blocks > 0);
    fx_put_u32(item + 4, segment->byte_length);
    fx_put_u64(item + 8, segment->position);
    fx_put_u64(item + 16, segment->group);
    fx_put_u32(item + 24, segment->blocks);
    fx_put_u32(item + 28, segment->record_count);
    fx_put_u32(item + 32, segment->live_count);
    fx_put_u16(item + 36, (uint16_t)live_larges(segment));
    fx_put_u16(item + 38, (uint16_t)(segment->stride / FX_RECORD_ALIGN));
    uint8_t *at = put_live(item + ITEM_HEADER_SIZE, segment);
    for (uint32_t i = 0; i < segment->large_count; i++) {
        const fx_segment_large *large = &segment->larges[i];
        if (fx_segment_is_live(segment, large->record_offset)) {
            fx_put_u32(at, large->record_offset);
            fx_put_u32(at + 4, large->blocks);
            fx_put_u64(at + 8, large->block);
            at += LARGE_SIZE;
        }
    }
    size_t size = (size_t)(at - item);
    fx_put_u32(item, item_checksum(item, size, writer->id, writer->group, writer->at));
    writer->at += size;
    writer->count++;
}

uint64_t fx_checkpoint_seed(const fx_store_id *id, uint64_t group) {
    return fx_format_seed(id, group);
}

static uint64_t image_checksum(const uint8_t *bytes, size_t length, const fx_store_id *id,
                               uint64_t group) {
    return fx_checksum(bytes + 16, length - 16, fx_checkpoint_seed(id, group));
}

uint64_t fx_checkpoint_finish(fx_checkpoint_writer *writer) {
    uint8_t *bytes = writer->bytes;
    fx_put_u64(bytes, CHECKPOINT_MAGIC);
    fx_put_u64(bytes + 16, writer->id->low);
    fx_put_u64(bytes + 24, writer->id->high);
    fx_put_u64(bytes + 32, writer->group);
    fx_put_u64(bytes + 40, writer->count);
    fx_put_u64(bytes + 48, writer->at);
    fx_put_u64(bytes + 56, 0);
    uint64_t checksum = image_checksum(bytes, writer->at, writer->id, writer->group);
    fx_put_u64(bytes + 8, checksum);
    return checksum;
}

bool fx_checkpoint_head_verify(const uint8_t *bytes, size_t length, uint64_t checksum) {
    return length >= FX_CHECKPOINT_HEADER_SIZE && fx_get_u64(bytes) == CHECKPOINT_MAGIC &&
           fx_get_u64(bytes + 8) == checksum && fx_get_u64(bytes + 48) == length;
}

bool fx_checkpoint_verify(const uint8_t *bytes, size_t length, const fx_store_id *id,
                          uint64_t group, uint64_t checksum) {
    return fx_checkpoint_head_verify(bytes, length, checksum) &&
           checksum == image_checksum(bytes, length, id, group);
}

static bool decode_larges(const uint8_t *at, uint32_t count, uint64_t file_blocks,
                          fx_disk_segment *segment) {
    for (uint32_t i = 0; i < count; i++, at += LARGE_SIZE) {
        uint32_t offset = fx_get_u32(at);
        uint32_t blocks = fx_get_u32(at + 4);
        uint64_t block = fx_get_u64(at + 8);
        bool rising = i == 0 || offset > segment->larges[i - 1].record_offset;
        if (!rising || offset >= segment->byte_length || !fx_segment_is_live(segment, offset) ||
            blocks == 0 || block >= file_blocks || blocks > file_blocks - block) {
            return false;
        }
        fx_segment_add_large(segment, offset, block, blocks);
    }
    return true;
}

static bool decode_units(const uint8_t *at, fx_disk_segment *segment) {
    uint32_t units = segment->byte_length / FX_RECORD_SIZE_MIN;
    memcpy(segment->live, at, fx_segment_words(segment->byte_length) * 8);
    for (uint32_t unit = fx_segment_next_live(segment, 0); unit != UINT32_MAX;
         unit = fx_segment_next_live(segment, unit + 1)) {
        if (unit >= units || unit < FX_SEGMENT_HEADER_SIZE / FX_RECORD_SIZE_MIN) {
            return false;
        }
        segment->live_count++;
    }
    return true;
}

static bool decode_records(const uint8_t *at, uint32_t stride, fx_disk_segment *segment) {
    for (uint32_t i = 0; i < (segment->record_count + 63) / 64; i++) {
        for (uint64_t bits = fx_get_u64(at + 8 * (size_t)i); bits != 0; bits &= bits - 1) {
            uint32_t record = i * 64 + (uint32_t)__builtin_ctzll(bits);
            if (record >= segment->record_count) {
                return false;
            }
            fx_segment_set_live(segment, FX_SEGMENT_HEADER_SIZE + record * stride);
        }
    }
    return true;
}

static bool decode_live(const uint8_t *at, uint32_t stride, uint32_t live_count,
                        fx_disk_segment *segment) {
    bool sound = stride != 0 ? decode_records(at, stride, segment) : decode_units(at, segment);
    return sound && segment->live_count == live_count && live_count <= segment->record_count;
}

static uint32_t item_stride(const uint8_t *item) {
    return (uint32_t)fx_get_u16(item + 38) * FX_RECORD_ALIGN;
}

static size_t item_words(const uint8_t *item) {
    return item_stride(item) != 0 ? ((size_t)fx_get_u32(item + 28) + 63) / 64
                                  : fx_segment_words(fx_get_u32(item + 4));
}

/* The size of the item that stands here, if its sum is right; 0: none does. */
static size_t sound_item(const uint8_t *item, size_t available, const fx_store_id *id,
                         uint64_t group, size_t at, uint64_t *budget) {
    if (available < ITEM_HEADER_SIZE) {
        return 0;
    }
    uint32_t byte_length = fx_get_u32(item + 4);
    size_t size = item_size(item_words(item), fx_get_u16(item + 36));
    if (byte_length < FX_SEGMENT_HEADER_SIZE || byte_length > FX_SEGMENT_SIZE_MAX ||
        size > available || size > *budget) {
        return 0;
    }
    *budget -= size;
    return fx_get_u32(item) == item_checksum(item, size, id, group, at) ? size : 0;
}

/* FEOX_ERR_CORRUPT: the item says what cannot be. *blocks_left: of the file, for all segments, so
 * that those of one length, whose bits are longer in memory, take no more of it than the file's
 * length allows. */
static feox_status decode_item(const uint8_t *item, uint64_t file_blocks, uint64_t *blocks_left,
                               fx_disk_segment **segment_out) {
    uint32_t byte_length = fx_get_u32(item + 4);
    uint64_t position = fx_get_u64(item + 8);
    uint32_t blocks = fx_get_u32(item + 24);
    uint32_t records = fx_get_u32(item + 28);
    uint32_t larges = fx_get_u16(item + 36);
    uint32_t stride = item_stride(item);
    uint64_t block = position / FX_BLOCK_SIZE;
    if (position % FX_BLOCK_SIZE != 0 || block >= file_blocks || blocks > file_blocks - block ||
        fx_blocks_of(byte_length) > blocks || fx_blocks_of(byte_length) > *blocks_left ||
        (stride != 0 && (stride < FX_RECORD_SIZE_MIN ||
                         (uint64_t)records * stride != byte_length - FX_SEGMENT_HEADER_SIZE))) {
        return FEOX_ERR_CORRUPT;
    }
    fx_disk_segment *segment = fx_segment_create(position, byte_length, blocks,
                                                 fx_get_u64(item + 16), records, larges);
    if (segment == NULL) {
        return FEOX_ERR_MEMORY;
    }
    const uint8_t *bits = item + ITEM_HEADER_SIZE;
    if (!decode_live(bits, stride, fx_get_u32(item + 32), segment) ||
        !decode_larges(bits + item_words(item) * 8, larges, file_blocks, segment)) {
        fx_segment_destroy(segment);
        return FEOX_ERR_CORRUPT;
    }
    *blocks_left -= fx_blocks_of(byte_length);
    *segment_out = segment;
    return FEOX_OK;
}

/* Grows the table's array, which is where the segments wait for being sorted. */
static feox_status collect(fx_segments *segments, size_t *count, fx_disk_segment *segment) {
    if (!fx_segments_reserve(segments, *count + 1)) {
        fx_segment_destroy(segment);
        return FEOX_ERR_MEMORY;
    }
    segments->items[(*count)++] = segment;
    return FEOX_OK;
}

feox_status fx_checkpoint_decode(const uint8_t *bytes, const uint8_t *mirror, size_t length,
                                 const fx_store_id *id, uint64_t group, uint64_t file_blocks,
                                 fx_segments *segments, uint64_t *lost_out) {
    uint64_t budget = (uint64_t)SEARCH_BUDGET * length;
    uint64_t blocks_left = file_blocks;
    size_t count = 0;
    size_t at = FX_CHECKPOINT_HEADER_SIZE;
    feox_status status = FEOX_OK;
    *lost_out = 0;
    while (status == FEOX_OK && at < length) {
        const uint8_t *item = bytes + at;
        fx_disk_segment *segment = NULL;
        size_t size = sound_item(item, length - at, id, group, at, &budget);
        if (size == 0 && mirror != bytes) {
            item = mirror + at;
            size = sound_item(item, length - at, id, group, at, &budget);
        }
        if (size > 0) {
            status = decode_item(item, file_blocks, &blocks_left, &segment);
        }
        if (segment != NULL) {
            status = collect(segments, &count, segment);
        } else {
            *lost_out += size > 0 ? size : ITEM_ALIGN;
        }
        status = status == FEOX_ERR_CORRUPT ? FEOX_OK : status;
        at += size > 0 ? size : ITEM_ALIGN;
    }
    if (status != FEOX_OK) {
        for (size_t i = 0; i < count; i++) {
            fx_segment_destroy(segments->items[i]);
        }
        return status;
    }
    *lost_out += fx_segments_add_all(segments, segments->items, count) * ITEM_HEADER_SIZE;
    return FEOX_OK;
}
