/* mover: copies live records out of some segments into fresh ones, as part of a checkpoint, and
 * tells everyone who knows the old places. Owner of the volume only.
 *
 * Life: zeroed, `avoid`, `fullness_max`, `expected` set -> fx_mover_take for each segment ->
 * fx_mover_close -> (checkpoint written: the new segments are in `images`) -> fx_mover_tell, or
 * fx_mover_undo -> fx_mover_deinit.
 */
#ifndef FX_ENGINE_MOVER_H
#define FX_ENGINE_MOVER_H

#include "engine/volume.h"

/* Locations, as in record.h. */
typedef struct fx_move {
    uint64_t from;
    uint64_t to; /* until the image is closed: 1 if the value is damaged, and is to stay so */
} fx_move;

/* A fresh segment of moved records; its bytes are kept until everyone is told. */
typedef struct fx_mover_image {
    fx_disk_segment *segment;
    uint8_t *bytes;
    uint32_t size; /* of `bytes`, a mapping */
    uint32_t room; /* the same; 0: closed */
    size_t first_move;
} fx_mover_image;

/* A large value that lay in what is to be avoided. */
typedef struct fx_mover_large {
    fx_extent from;
    fx_extent to;
} fx_mover_large;

typedef struct fx_mover {
    fx_extent avoid;       /* nothing goes there, and large values leave it; count 0: nowhere */
    uint32_t fullness_max; /* a segment outside that turns out fuller stays, in 1/1024 */
    uint64_t expected;     /* about so many bytes of records are still to come */
    uint8_t *buffer;       /* one old segment, or a piece of the ring with many ... */
    uint64_t buffer_from;  /* ... from this byte of the file */
    size_t buffer_size;
    fx_mover_image *images;
    size_t image_count;
    size_t image_capacity;
    fx_move *moves;
    size_t move_count;
    size_t move_capacity;
    fx_mover_large *larges;
    size_t large_count;
    size_t large_capacity;
    uint64_t moved_bytes; /* of records outside the ring, and of large values */
    uint64_t lost;        /* live records that are damaged */
} fx_mover;

/* The share of a packed segment that is live, in 1/1024. */
uint32_t fx_mover_fullness(const fx_disk_segment *segment);
/* Copies the live records of `segment`, which is `moving` and not `damaged`, and lies behind the
 * one before. A packed one that cannot be read, or with a record that cannot be told, is left
 * alone: it no longer is `moving`, and is `damaged`. So is, without that, one that is not worth it.
 * A large value that does not verify, or that there is no memory for, stays where it is.
 * FEOX_ERR_SPACE, _MEMORY, _IO. */
feox_status fx_mover_take(fx_flusher *flusher, fx_mover *mover, fx_disk_segment *segment);
/* Gives the last image its place too. The writes of all of them are submitted. */
void fx_mover_close(fx_flusher *flusher, fx_mover *mover);
/* The new places are durable: records, write buffers and dead_next learn of them. Takes no
 * memory. */
void fx_mover_tell(fx_flusher *flusher, fx_mover *mover);
/* Gives the new places back. Nothing may be under way. */
void fx_mover_undo(fx_flusher *flusher, fx_mover *mover);
/* Frees the memory; segments that were handed over are NULL in their images. */
void fx_mover_deinit(fx_mover *mover);

#endif
