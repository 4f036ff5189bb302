/* reader: values that are on disk only, read one by one or with their reads overlapped. Any thread;
 * no lock held. One read costs what the device takes; many cost what it takes for so many at once.
 */
#ifndef FX_ENGINE_READER_H
#define FX_ENGINE_READER_H

#include "disk/dev.h"
#include "engine/engine.h"

/* Reads that one call has under way at once. */
#define FX_READS_MAX 32u

/* What overlapped reads need. There is one for each store, and who finds it taken does without. */
typedef struct fx_reader {
    fx_spinlock taken; /* only ever tried: its owner waits for the device */
    /* Who took it; NULL until they are needed first. */
    fx_dev_queue *queue;
    uint8_t *buffer;
} fx_reader;

/* A value that is asked of the file, and what its record said when it was looked up: clean, and
 * without a block. */
typedef struct fx_wanted {
    const void *key;
    size_t key_len;
    uint64_t hash;
    fx_record_view found;
} fx_wanted;

/* Reads the value into a new block with one reference. FEOX_MISMATCH: another key or version is
 * there now, look it up again. FEOX_ERR_CORRUPT, FEOX_ERR_IO, FEOX_ERR_MEMORY. */
feox_status fx_reader_read(fx_flusher *flusher, const fx_wanted *wanted, fx_block **block_out);
/* Reads up to FX_READS_MAX values, with what they have in common waited for once: those that arrive
 * and verify have found.block then, with one reference. The others are to be asked for alone, which
 * says what is wrong with them, if anything is. Values with extents of their own are others. */
void fx_reader_read_many(fx_flusher *flusher, fx_wanted *wanted, size_t count);
/* No call may be inside. */
void fx_reader_deinit(fx_reader *reader);

#endif
