/* format: why this way. A record is as small as its fields allow, so that a short value costs tens
 * of bytes; it can be verified alone, for reads, while a segment's own checksum lets recovery
 * decide about a whole group in one pass. The padding is part of the sum: no bit of the file that
 * belongs to a record can flip unseen.
 *
 * A place is used again and again, and a block that the device did not write shows what was there
 * before: whole records of the same store and position. So the sum of the head takes part of the
 * segment's group, which the table and the journal know. A read of one value does not know it: it
 * knows the version, which is one write's alone.
 */
#include "disk/format.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

/* Record. Padded with zeros to a multiple of 8.
 *
 *   OFFSET  SIZE  FIELD
 *        0     4  checksum of all that follows, padding included
 *        4     4  checksum of header and key, seeded with the group too: tells whose a damaged
 *                 record was
 *        8     8  bits 0-1 kind (1 put, 2 large, 3 tombstone), bit 2 has expiry, the rest version
 *       16     8  timestamp
 *       24     2  key_len, 1..65535
 *       26     2  value_len (put), else zero
 *       28     8  (has expiry) expiry, ns of the store clock
 *        .     8  (large) byte offset of the value's extent
 *        .     8  (large) checksum of the value
 *        .     4  (large) value_len
 *        .     k  key
 *        .     v  value (put)
 */
#define HEAD_KIND 0x3u
#define HEAD_HAS_EXPIRY 0x4u
#define HEAD_BITS 3u
#define LARGE_FIELDS_SIZE 20u

_Static_assert(UINT64_MAX >> HEAD_BITS == (FX_COUNTER_END << 8) - 1, "a version fits, and no more");
_Static_assert(FX_LARGE_VALUE_MIN <= UINT16_MAX + 1u, "the length of a value in its record");

/* Segment header.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic
 *        8     8  checksum of bytes 16 .. byte_length
 *       16    16  store id
 *       32     8  group
 *       40     8  position
 *       48     4  record count
 *       52     4  byte_length, header included
 *       56     8  zero
 */
#define SEGMENT_MAGIC 0x31676553786f6546u /* "FeoxSeg1" */

uint64_t fx_format_seed(const fx_store_id *id, uint64_t position) {
    uint64_t mixed = (position + 1) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93u;
    return (id->low ^ mixed) + (id->high << 32 | id->high >> 32);
}

static size_t record_key_offset(unsigned kind, bool has_expiry) {
    return FX_RECORD_HEADER_SIZE + (has_expiry ? 8u : 0u) +
           (kind == FX_ENTRY_LARGE ? LARGE_FIELDS_SIZE : 0u);
}

static unsigned record_head(const uint8_t *record) {
    return (unsigned)(fx_get_u64(record + 8) & (HEAD_KIND | HEAD_HAS_EXPIRY));
}

static uint32_t record_key_len(const uint8_t *record) {
    return fx_get_u16(record + 24);
}

static size_t record_size(unsigned kind, size_t key_len, size_t value_len, bool has_expiry) {
    size_t value = kind == FX_ENTRY_PUT ? value_len : 0;
    size_t size = record_key_offset(kind, has_expiry) + key_len + value;
    return (size_t)fx_round_up(size, FX_RECORD_ALIGN);
}

size_t fx_format_record_size(fx_entry_kind kind, size_t key_len, size_t value_len,
                             bool has_expiry) {
    return record_size((unsigned)kind, key_len, value_len, has_expiry);
}

void fx_format_record_encode(uint8_t *to, const fx_entry *entry) {
    bool has_expiry = entry->expiry_ns != 0;
    size_t size = fx_format_record_size(entry->kind, entry->key_len, entry->value_len, has_expiry);
    size_t at = FX_RECORD_HEADER_SIZE;
    FX_ASSERT(entry->key_len > 0 && entry->key_len <= FEOX_KEY_SIZE_MAX);
    FX_ASSERT(entry->version <= UINT64_MAX >> HEAD_BITS);
    fx_put_u64(to, 0);
    fx_put_u64(to + 8, entry->version << HEAD_BITS | (unsigned)entry->kind |
                           (has_expiry ? HEAD_HAS_EXPIRY : 0u));
    fx_put_u64(to + 16, entry->timestamp);
    fx_put_u16(to + 24, (uint16_t)entry->key_len);
    fx_put_u16(to + 26, (uint16_t)(entry->kind == FX_ENTRY_PUT ? entry->value_len : 0));
    if (has_expiry) {
        fx_put_u64(to + at, entry->expiry_ns);
        at += 8;
    }
    if (entry->kind == FX_ENTRY_LARGE) {
        fx_put_u64(to + at, entry->large_offset);
        fx_put_u64(to + at + 8, entry->large_checksum);
        fx_put_u32(to + at + 16, entry->value_len);
        at += LARGE_FIELDS_SIZE;
    }
    fx_copy(to + at, entry->key, entry->key_len);
    at += entry->key_len;
    if (entry->kind == FX_ENTRY_PUT) {
        fx_copy(to + at, entry->value, entry->value_len);
        at += entry->value_len;
    }
    memset(to + at, 0, size - at);
}

void fx_format_record_set_large(uint8_t *record, uint64_t offset, uint64_t checksum) {
    unsigned head = record_head(record);
    size_t at = FX_RECORD_HEADER_SIZE + ((head & HEAD_HAS_EXPIRY) != 0 ? 8u : 0u);
    FX_ASSERT((head & HEAD_KIND) == FX_ENTRY_LARGE);
    fx_put_u64(record + at, offset);
    fx_put_u64(record + at + 8, checksum);
}

uint64_t fx_format_record_version(const uint8_t *record) {
    return fx_get_u64(record + 8) >> HEAD_BITS;
}

static uint32_t record_checksum(const uint8_t *record, size_t size, const fx_store_id *id,
                                uint64_t position) {
    return (uint32_t)fx_checksum(record + 4, size - 4, fx_format_seed(id, position));
}

static uint32_t head_checksum(const uint8_t *record, const fx_store_id *id, uint64_t position,
                              uint64_t group) {
    unsigned head = record_head(record);
    size_t end = record_key_offset(head & HEAD_KIND, (head & HEAD_HAS_EXPIRY) != 0) +
                 record_key_len(record);
    uint64_t seed = fx_format_seed(id, position) ^ group * 0xC2B2AE3D27D4EB4Fu;
    return (uint32_t)fx_checksum(record + 8, end - 8, seed);
}

void fx_format_record_seal(uint8_t *record, size_t size, const fx_store_id *id, uint64_t position,
                           uint64_t group) {
    fx_put_u32(record + 4, head_checksum(record, id, position, group));
    fx_put_u32(record, record_checksum(record, size, id, position));
}

void fx_format_record_spoil(uint8_t *record, size_t size, const fx_store_id *id, uint64_t position,
                            uint64_t group) {
    fx_format_record_seal(record, size, id, position, group);
    fx_put_u32(record, ~fx_get_u32(record));
}

bool fx_format_record_head_verify(const uint8_t *record, const fx_store_id *id, uint64_t position,
                                  uint64_t group) {
    return fx_get_u32(record + 4) == head_checksum(record, id, position, group);
}

size_t fx_format_record_peek(const uint8_t *header) {
    unsigned head = record_head(header);
    unsigned kind = head & HEAD_KIND;
    uint32_t key_len = record_key_len(header);
    uint32_t value_len = fx_get_u16(header + 26);
    if (key_len == 0 || kind < FX_ENTRY_PUT || (kind != FX_ENTRY_PUT && value_len != 0)) {
        return 0;
    }
    return record_size(kind, key_len, value_len, (head & HEAD_HAS_EXPIRY) != 0);
}

bool fx_format_record_decode(const uint8_t *bytes, size_t available, fx_entry *entry_out,
                             size_t *size_out) {
    size_t size = available < FX_RECORD_HEADER_SIZE ? 0 : fx_format_record_peek(bytes);
    if (size == 0 || size > available) {
        return false;
    }
    size_t at = FX_RECORD_HEADER_SIZE;
    memset(entry_out, 0, sizeof *entry_out);
    entry_out->value_len = fx_get_u16(bytes + 26);
    entry_out->key_len = record_key_len(bytes);
    entry_out->kind = (fx_entry_kind)(record_head(bytes) & HEAD_KIND);
    entry_out->version = fx_format_record_version(bytes);
    entry_out->timestamp = fx_get_u64(bytes + 16);
    if ((record_head(bytes) & HEAD_HAS_EXPIRY) != 0) {
        entry_out->expiry_ns = fx_get_u64(bytes + at);
        at += 8;
    }
    if (entry_out->kind == FX_ENTRY_LARGE) {
        entry_out->large_offset = fx_get_u64(bytes + at);
        entry_out->large_checksum = fx_get_u64(bytes + at + 8);
        entry_out->value_len = fx_get_u32(bytes + at + 16);
        at += LARGE_FIELDS_SIZE;
    }
    entry_out->key = bytes + at;
    if (entry_out->kind == FX_ENTRY_PUT) {
        entry_out->value = bytes + at + entry_out->key_len;
    }
    *size_out = size;
    return entry_out->value_len <= FEOX_VALUE_SIZE_MAX;
}

bool fx_format_record_verify(const uint8_t *bytes, size_t available, const fx_store_id *id,
                             uint64_t position, fx_entry *entry_out, size_t *size_out) {
    return fx_format_record_decode(bytes, available, entry_out, size_out) &&
           fx_get_u32(bytes) == record_checksum(bytes, *size_out, id, position);
}

uint64_t fx_format_large_checksum(const fx_store_id *id, uint64_t position, const void *value,
                                  size_t value_len) {
    return fx_checksum(value, value_len, fx_format_seed(id, position));
}

static uint64_t segment_checksum(const uint8_t *image, const fx_store_id *id, uint64_t position,
                                 size_t byte_length) {
    return fx_checksum(image + 16, byte_length - 16, fx_format_seed(id, position));
}

uint64_t fx_format_segment_seal(uint8_t *image, const fx_store_id *id,
                                const fx_segment_header *header) {
    fx_put_u64(image, SEGMENT_MAGIC);
    fx_put_u64(image + 16, id->low);
    fx_put_u64(image + 24, id->high);
    fx_put_u64(image + 32, header->group);
    fx_put_u64(image + 40, header->position);
    fx_put_u32(image + 48, header->record_count);
    fx_put_u32(image + 52, header->byte_length);
    fx_put_u64(image + 56, 0);
    uint64_t checksum = segment_checksum(image, id, header->position, header->byte_length);
    fx_put_u64(image + 8, checksum);
    return checksum;
}

bool fx_format_segment_decode(const uint8_t *image, const fx_store_id *id, uint64_t position,
                              fx_segment_header *header_out) {
    header_out->checksum = fx_get_u64(image + 8);
    header_out->group = fx_get_u64(image + 32);
    header_out->position = fx_get_u64(image + 40);
    header_out->record_count = fx_get_u32(image + 48);
    header_out->byte_length = fx_get_u32(image + 52);
    return fx_get_u64(image) == SEGMENT_MAGIC && fx_get_u64(image + 16) == id->low &&
           fx_get_u64(image + 24) == id->high && header_out->position == position &&
           header_out->byte_length >= FX_SEGMENT_HEADER_SIZE &&
           header_out->byte_length <= FX_SEGMENT_SIZE_MAX &&
           header_out->byte_length % FX_RECORD_ALIGN == 0;
}

bool fx_format_segment_verify(const uint8_t *image, const fx_store_id *id, uint64_t position,
                              size_t byte_length) {
    fx_segment_header header;
    return byte_length >= FX_SEGMENT_HEADER_SIZE &&
           fx_format_segment_decode(image, id, position, &header) &&
           header.byte_length == byte_length &&
           header.checksum == segment_checksum(image, id, position, byte_length);
}

bool fx_format_segment_matches(const uint8_t *image, const fx_store_id *id, uint64_t position,
                               uint32_t byte_length, uint64_t checksum) {
    return fx_get_u64(image + 8) == checksum &&
           fx_format_segment_verify(image, id, position, byte_length);
}

bool fx_format_segment_mend(uint8_t *image, const fx_store_id *id, uint64_t position,
                            uint32_t byte_length, uint64_t checksum) {
    for (size_t bit = 0; bit < (size_t)byte_length * 8; bit++) {
        image[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (fx_format_segment_matches(image, id, position, byte_length, checksum)) {
            return true;
        }
        image[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return false;
}

bool fx_format_segment_owner(const uint8_t *image, uint64_t position, fx_store_id *id_out) {
    fx_segment_header header;
    *id_out = (fx_store_id){.low = fx_get_u64(image + 16), .high = fx_get_u64(image + 24)};
    return fx_format_segment_decode(image, id_out, position, &header);
}
