/* format: the bytes of records and segments on disk; the only arithmetic on them. Pure functions;
 * any thread. Everything is little-endian. What is read from a file is not trusted: decoding checks
 * every length against the bytes that are really there.
 *
 * The file, in blocks of 4096 bytes:
 *
 *   | superblock A | superblock B | journal ring ... | extents ... |
 *
 * An extent is free, or holds one segment, one large value or the checkpoint. A segment is a header
 * and packed records. Small groups carry their segment inside their journal entry instead.
 * Checksums are XXH3, seeded with the store's id and the byte position in the file: bytes of
 * another store, or of another place, do not verify. They guard against accidents, not against
 * forgers.
 */
#ifndef FX_DISK_FORMAT_H
#define FX_DISK_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/config.h"
#include "base/entry.h"

#define FX_FORMAT_VERSION 1u
/* Records begin at multiples of this; a location is a byte position divided by it. */
#define FX_RECORD_ALIGN 8u
#define FX_RECORD_HEADER_SIZE 28u
/* No record is shorter than this: the live bitmap has one bit per as many bytes. */
#define FX_RECORD_SIZE_MIN 32u
#define FX_SEGMENT_HEADER_SIZE 64u

/* 128 random bits, drawn when the file is made. */
typedef struct fx_store_id {
    uint64_t low;
    uint64_t high;
} fx_store_id;

static inline uint64_t fx_blocks_of(uint64_t bytes) {
    return bytes / FX_BLOCK_SIZE + (bytes % FX_BLOCK_SIZE != 0);
}

/* The checksum seed of what begins at byte `position` of the store's file. */
uint64_t fx_format_seed(const fx_store_id *id, uint64_t position);

/* ---- Records ---- */

/* Size on disk, a multiple of 8. A large value's bytes are not part of its record. */
size_t fx_format_record_size(fx_entry_kind kind, size_t key_len, size_t value_len, bool has_expiry);
/* Writes everything but the checksum; fx_format_record_size() bytes. */
void fx_format_record_encode(uint8_t *to, const fx_entry *entry);
/* Fills in where a large value went and what it sums to. */
void fx_format_record_set_large(uint8_t *record, uint64_t offset, uint64_t checksum);
/* The version in an encoded record. */
uint64_t fx_format_record_version(const uint8_t *record);
/* Sets the checksums of the finished record, for byte `position` in a segment of `group`. */
void fx_format_record_seal(uint8_t *record, size_t size, const fx_store_id *id, uint64_t position,
                           uint64_t group);
/* The same for a record whose value is known to be damaged and whose key is not: it still does not
 * verify. */
void fx_format_record_spoil(uint8_t *record, size_t size, const fx_store_id *id, uint64_t position,
                            uint64_t group);
/* Whether header and key of a record that decodes are sound, whatever its value, and were written
 * with a segment of `group`: what an earlier segment left at the same place is not. */
bool fx_format_record_head_verify(const uint8_t *record, const fx_store_id *id, uint64_t position,
                                  uint64_t group);
/* Takes a record apart without verifying its checksum; the entry points into `bytes`. False if it
 * is no record or does not end within `available` bytes. */
bool fx_format_record_decode(const uint8_t *bytes, size_t available, fx_entry *entry_out,
                             size_t *size_out);
/* The same, and the checksum holds for byte `position`. Of which group it is, only the version
 * says. */
bool fx_format_record_verify(const uint8_t *bytes, size_t available, const fx_store_id *id,
                             uint64_t position, fx_entry *entry_out, size_t *size_out);
/* How many bytes the record has that begins here: needs FX_RECORD_HEADER_SIZE bytes. 0: no record.
 */
size_t fx_format_record_peek(const uint8_t *header);

/* The checksum of a large value whose extent begins at byte `position`. */
uint64_t fx_format_large_checksum(const fx_store_id *id, uint64_t position, const void *value,
                                  size_t value_len);

/* ---- Segments ---- */

typedef struct fx_segment_header {
    uint64_t group;
    uint64_t position;     /* byte in the file */
    uint32_t record_count; /* tombstones included */
    uint32_t byte_length;  /* header included */
    uint64_t checksum;     /* of all the rest */
} fx_segment_header;

/* Writes the header of the finished image, checksum included, and returns the checksum. `checksum`
 * of `header` is not read. */
uint64_t fx_format_segment_seal(uint8_t *image, const fx_store_id *id,
                                const fx_segment_header *header);
/* Reads a header; false unless the magic, the store and the position are right and the length is
 * one a segment can have. Sums nothing. */
bool fx_format_segment_decode(const uint8_t *image, const fx_store_id *id, uint64_t position,
                              fx_segment_header *header_out);
/* The store whose segment seems to begin here, at byte `position`. FX_SEGMENT_HEADER_SIZE bytes. */
bool fx_format_segment_owner(const uint8_t *image, uint64_t position, fx_store_id *id_out);
/* Whether the image is, to the bit, the one with that checksum. */
bool fx_format_segment_matches(const uint8_t *image, const fx_store_id *id, uint64_t position,
                               uint32_t byte_length, uint64_t checksum);
/* Searches for the one bit that makes it that, and flips it. Cost: the square of the length; a
 * tenth of a second for 16 KiB. */
bool fx_format_segment_mend(uint8_t *image, const fx_store_id *id, uint64_t position,
                            uint32_t byte_length, uint64_t checksum);
/* Whether the whole image, `byte_length` bytes, sums to what its header says. */
bool fx_format_segment_verify(const uint8_t *image, const fx_store_id *id, uint64_t position,
                              size_t byte_length);

#endif
