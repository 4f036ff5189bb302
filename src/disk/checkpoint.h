/* checkpoint: the image of the segment table in an extent of its own: what is live in the file
 * after one group, so that neither earlier journal entries nor dead records nor tombstones count
 * any more. Pure: bytes and the table. One owner at a time.
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
} fx_checkpoint_writer;

void fx_checkpoint_begin(fx_checkpoint_writer *writer, uint8_t *bytes);
/* Dead large values are left out. */
void fx_checkpoint_append(fx_checkpoint_writer *writer, const fx_disk_segment *segment);
/* Finishes the image for byte `position`; returns its checksum. Its length is writer->at. */
uint64_t fx_checkpoint_finish(fx_checkpoint_writer *writer, const fx_store_id *id,
                              uint64_t position, uint64_t group);

/* Fills the empty table `segments`. FEOX_ERR_CORRUPT: the image does not verify, or says what
 * cannot be in a file of so many blocks. FEOX_ERR_MEMORY. Time and memory are bounded by `length`.
 */
feox_status fx_checkpoint_decode(const uint8_t *bytes, size_t length, const fx_store_id *id,
                                 uint64_t position, uint64_t checksum, uint64_t file_blocks,
                                 fx_segments *segments);

#endif
