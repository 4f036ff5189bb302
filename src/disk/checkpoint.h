/* checkpoint: the image of the segment table in an extent of its own: what is live in the file
 * after one group, so that neither earlier journal entries nor dead records nor tombstones count
 * any more. It is written twice, the same bytes: damage to one copy costs nothing, damage to both
 * only what stands in the same items. Pure: bytes and the table. One owner at a time.
 */
#ifndef FX_DISK_CHECKPOINT_H
#define FX_DISK_CHECKPOINT_H

#include "disk/segments.h"

#define FX_CHECKPOINT_HEADER_SIZE 64u

/* Bytes of one segment in the image. */
size_t fx_checkpoint_item_size(const fx_disk_segment *segment);

typedef struct fx_checkpoint_writer {
    uint8_t *bytes; /* the caller's; room for the header and all items */
    size_t at;
    uint64_t count;
    const fx_store_id *id;
    uint64_t group;
} fx_checkpoint_writer;

void fx_checkpoint_begin(fx_checkpoint_writer *writer, uint8_t *bytes, const fx_store_id *id,
                         uint64_t group);
/* Dead large values are left out. */
void fx_checkpoint_append(fx_checkpoint_writer *writer, const fx_disk_segment *segment);
/* Finishes the image; returns its checksum. Its length is writer->at. */
uint64_t fx_checkpoint_finish(fx_checkpoint_writer *writer);

/* Whether this is, to the bit, the image with that checksum. */
bool fx_checkpoint_verify(const uint8_t *bytes, size_t length, const fx_store_id *id,
                          uint64_t group, uint64_t checksum);
/* The same for an image that comes in pieces: whether its first FX_CHECKPOINT_HEADER_SIZE bytes are
 * right, and the seed of the sum over bytes 16 and following. */
bool fx_checkpoint_head_verify(const uint8_t *bytes, size_t length, uint64_t checksum);
uint64_t fx_checkpoint_seed(const fx_store_id *id, uint64_t group);
/* Fills the empty table `segments` from two copies of the image, item by item from the one that has
 * it sound; the copies may be the same. *lost_out: bytes of items that neither has, or that say
 * what cannot be in a file of so many blocks; 0: the table is whole. FEOX_ERR_MEMORY. Time and
 * memory are bounded by `length`. */
feox_status fx_checkpoint_decode(const uint8_t *bytes, const uint8_t *mirror, size_t length,
                                 const fx_store_id *id, uint64_t group, uint64_t file_blocks,
                                 fx_segments *segments, uint64_t *lost_out);

#endif
