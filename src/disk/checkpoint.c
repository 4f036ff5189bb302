/* checkpoint: why this way. One bit per 32 bytes of segment makes the image about 0.4 % of the
 * data: it is written whole, to fresh space, and the superblock flips to it; nothing is updated in
 * place.
 */
#include "disk/checkpoint.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

/* Image.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic
 *        8     8  checksum of bytes 16 .. end
 *       16    16  store id
 *       32     8  position
 *       40     8  group
 *       48     8  count of segments
 *       56     8  length in bytes
 *       64     .  segments
 *
 * Segment.
 *
 *        0     8  position
 *        8     8  group
 *       16     4  byte length
 *       20     4  blocks
 *       24     4  record count
 *       28     4  live count
 *       32     4  count of large values
 *       36     4  zero
 *       40   8 w  live bits, w = fx_segment_words(byte length)
 *        .  16 n  large values: record offset 4, blocks 4, block 8
 */
#define CHECKPOINT_MAGIC 0x316b7043786f6546u /* "FeoxCpk1" */
#define ITEM_HEADER_SIZE 40u
#define LARGE_SIZE 16u

static uint32_t live_larges(const fx_disk_segment *segment) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < segment->large_count; i++) {
        count += fx_segment_is_live(segment, segment->larges[i].record_offset) ? 1u : 0u;
    }
    return count;
}

static size_t item_size(uint32_t byte_length, uint32_t larges) {
    return ITEM_HEADER_SIZE + fx_segment_words(byte_length) * 8 + (size_t)larges * LARGE_SIZE;
}

size_t fx_checkpoint_item_size(const fx_disk_segment *segment) {
    return item_size(segment->byte_length, live_larges(segment));
}

void fx_checkpoint_begin(fx_checkpoint_writer *writer, uint8_t *bytes) {
    writer->bytes = bytes;
    writer->at = FX_CHECKPOINT_HEADER_SIZE;
    writer->count = 0;
}

void fx_checkpoint_append(fx_checkpoint_writer *writer, const fx_disk_segment *segment) {
    uint8_t *item = writer->bytes + writer->at;
    size_t words = fx_segment_words(segment->byte_length);
    FX_ASSERT(segment->blocks > 0);
    fx_put_u64(item, segment->position);
    fx_put_u64(item + 8, segment->group);
    fx_put_u32(item + 16, segment->byte_length);
    fx_put_u32(item + 20, segment->blocks);
    fx_put_u32(item + 24, segment->record_count);
    fx_put_u32(item + 28, segment->live_count);
    fx_put_u32(item + 32, live_larges(segment));
    fx_put_u32(item + 36, 0);
    memcpy(item + ITEM_HEADER_SIZE, segment->live, words * 8);
    uint8_t *at = item + ITEM_HEADER_SIZE + words * 8;
    for (uint32_t i = 0; i < segment->large_count; i++) {
        const fx_segment_large *large = &segment->larges[i];
        if (fx_segment_is_live(segment, large->record_offset)) {
            fx_put_u32(at, large->record_offset);
            fx_put_u32(at + 4, large->blocks);
            fx_put_u64(at + 8, large->block);
            at += LARGE_SIZE;
        }
    }
    writer->at = (size_t)(at - writer->bytes);
    writer->count++;
}

uint64_t fx_checkpoint_finish(fx_checkpoint_writer *writer, const fx_store_id *id,
                              uint64_t position, uint64_t group) {
    uint8_t *bytes = writer->bytes;
    fx_put_u64(bytes, CHECKPOINT_MAGIC);
    fx_put_u64(bytes + 16, id->low);
    fx_put_u64(bytes + 24, id->high);
    fx_put_u64(bytes + 32, position);
    fx_put_u64(bytes + 40, group);
    fx_put_u64(bytes + 48, writer->count);
    fx_put_u64(bytes + 56, writer->at);
    uint64_t checksum = fx_checksum(bytes + 16, writer->at - 16, fx_format_seed(id, position));
    fx_put_u64(bytes + 8, checksum);
    return checksum;
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

static bool decode_live(const uint8_t *at, uint32_t live_count, fx_disk_segment *segment) {
    uint32_t units = segment->byte_length / FX_RECORD_SIZE_MIN;
    uint32_t bits = 0;
    memcpy(segment->live, at, fx_segment_words(segment->byte_length) * 8);
    for (uint32_t unit = fx_segment_next_live(segment, 0); unit != UINT32_MAX;
         unit = fx_segment_next_live(segment, unit + 1)) {
        if (unit >= units || unit < FX_SEGMENT_HEADER_SIZE / FX_RECORD_SIZE_MIN) {
            return false;
        }
        bits++;
    }
    segment->live_count = bits;
    return bits == live_count && bits <= segment->record_count;
}

/* One segment of the image; *size_out bytes of it. */
static feox_status decode_item(const uint8_t *item, size_t available, uint64_t file_blocks,
                               fx_disk_segment **segment_out, size_t *size_out) {
    if (available < ITEM_HEADER_SIZE) {
        return FEOX_ERR_CORRUPT;
    }
    uint64_t position = fx_get_u64(item);
    uint32_t byte_length = fx_get_u32(item + 16);
    uint32_t blocks = fx_get_u32(item + 20);
    uint32_t larges = fx_get_u32(item + 32);
    uint64_t block = position / FX_BLOCK_SIZE;
    if (position % FX_BLOCK_SIZE != 0 || block >= file_blocks || blocks > file_blocks - block ||
        byte_length < FX_SEGMENT_HEADER_SIZE || byte_length > FX_SEGMENT_SIZE_MAX ||
        fx_blocks_of(byte_length) > blocks || item_size(byte_length, larges) > available) {
        return FEOX_ERR_CORRUPT;
    }
    fx_disk_segment *segment = fx_segment_create(
        position, byte_length, blocks, fx_get_u64(item + 8), fx_get_u32(item + 24), larges);
    if (segment == NULL) {
        return FEOX_ERR_MEMORY;
    }
    const uint8_t *bits = item + ITEM_HEADER_SIZE;
    if (!decode_live(bits, fx_get_u32(item + 28), segment) ||
        !decode_larges(bits + fx_segment_words(byte_length) * 8, larges, file_blocks, segment)) {
        fx_segment_destroy(segment);
        return FEOX_ERR_CORRUPT;
    }
    *segment_out = segment;
    *size_out = item_size(byte_length, larges);
    return FEOX_OK;
}

feox_status fx_checkpoint_decode(const uint8_t *bytes, size_t length, const fx_store_id *id,
                                 uint64_t position, uint64_t checksum, uint64_t file_blocks,
                                 fx_segments *segments) {
    if (length < FX_CHECKPOINT_HEADER_SIZE || fx_get_u64(bytes) != CHECKPOINT_MAGIC ||
        fx_get_u64(bytes + 8) != checksum || fx_get_u64(bytes + 56) != length ||
        fx_get_u64(bytes + 32) != position ||
        checksum != fx_checksum(bytes + 16, length - 16, fx_format_seed(id, position))) {
        return FEOX_ERR_CORRUPT;
    }
    uint64_t count = fx_get_u64(bytes + 48);
    if (count > length / ITEM_HEADER_SIZE) {
        return FEOX_ERR_CORRUPT;
    }
    if (!fx_segments_reserve(segments, (size_t)count)) {
        return FEOX_ERR_MEMORY;
    }
    size_t at = FX_CHECKPOINT_HEADER_SIZE;
    for (uint64_t i = 0; i < count; i++) {
        fx_disk_segment *segment = NULL;
        size_t size = 0;
        feox_status status = decode_item(bytes + at, length - at, file_blocks, &segment, &size);
        if (status != FEOX_OK) {
            return status;
        }
        if (!fx_segments_add(segments, segment)) {
            fx_segment_destroy(segment);
            return FEOX_ERR_CORRUPT;
        }
        at += size;
    }
    return at == length ? FEOX_OK : FEOX_ERR_CORRUPT;
}
