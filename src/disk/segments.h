/* segments: which segments the file has and which of their records are live. In memory only; the
 * checkpoint (checkpoint.h) is its image on disk. One owner at a time (recovery, then the flusher).
 *
 * A record is live from the moment its group is durable until a newer version or a tombstone of its
 * key is (I3). One bit per 32 bytes of a segment: that where the record begins; no record is
 * shorter. Finding a segment: O(log n). Adding one: O(n) words moved, n the number of segments
 * behind it.
 */
#ifndef FX_DISK_SEGMENTS_H
#define FX_DISK_SEGMENTS_H

#include "disk/extents.h"
#include "disk/format.h"

/* A large value, owned by the record at `record_offset` of its segment. */
typedef struct fx_segment_large {
    uint32_t record_offset;
    uint32_t blocks;
    uint64_t block;
} fx_segment_large;

typedef struct fx_disk_segment {
    uint64_t position; /* byte in the file */
    uint64_t group;
    uint32_t byte_length; /* header included */
    uint32_t blocks;      /* of its extent, which begins at `position`; 0: inline, in the ring */
    uint32_t record_count;
    uint32_t live_count;
    uint32_t large_count;
    uint32_t large_capacity;
    fx_segment_large *larges; /* rising record_offset */
    /* What the last look at its bytes found: so many live records of so many bytes. */
    uint32_t known_count;
    uint32_t known_bytes;
    bool moving;     /* a checkpoint under way rewrites its records */
    bool damaged;    /* some live record is not sound, or cannot be read: it is not moved */
    uint32_t stride; /* every live record is one of its records of so many bytes; 0: not so */
    uint64_t live[]; /* bits */
} fx_disk_segment;

typedef struct fx_segments {
    fx_disk_segment **items; /* rising position */
    size_t count;
    size_t capacity;
    uint64_t live_records;
    uint64_t inline_bytes;        /* byte lengths of inline segments */
    uint64_t packed_blocks;       /* of the extents of segments */
    uint64_t large_blocks;        /* of those of large values, dead ones included */
    uint64_t dead_segment_blocks; /* of segments without a live record */
    uint64_t dead_large_blocks;
    uint64_t live_bytes; /* the sum of fx_segment_live_bytes over those with an extent */
    uint64_t table_words; /* of their live bits as a checkpoint has them */
    uint64_t memory;      /* of all this, bytes */
} fx_segments;

/* Words of a live bitmap. */
static inline size_t fx_segment_words(uint32_t byte_length) {
    return (byte_length / FX_RECORD_SIZE_MIN + 64) / 64;
}

/* The same in a checkpoint: one bit for each record where they are of one length. */
static inline size_t fx_segment_table_words(const fx_disk_segment *segment) {
    return segment->stride != 0 ? ((size_t)segment->record_count + 63) / 64
                                : fx_segment_words(segment->byte_length);
}

/* Nothing is live at first. NULL: no memory. `larges` has room for large_capacity. */
fx_disk_segment *fx_segment_create(uint64_t position, uint32_t byte_length, uint32_t blocks,
                                   uint64_t group, uint32_t record_count, uint32_t large_capacity);
void fx_segment_destroy(fx_disk_segment *segment);
/* Room for one more large value. */
bool fx_segment_reserve_large(fx_disk_segment *segment);
/* Adds a large value; room was made, the record is not before those added already. */
void fx_segment_add_large(fx_disk_segment *segment, uint32_t record_offset, uint64_t block,
                          uint32_t blocks);
fx_segment_large *fx_segment_find_large(const fx_disk_segment *segment, uint32_t record_offset);
bool fx_segment_is_live(const fx_disk_segment *segment, uint32_t record_offset);
/* Sees whether its records are of one length. For a segment that is complete, and in no table yet;
 * fx_segments_add does so, too. O(records). */
void fx_segment_find_stride(fx_disk_segment *segment);
/* For a segment that is in no table yet. */
void fx_segment_set_live(fx_disk_segment *segment, uint32_t record_offset);
/* The first live bit from `unit` (units of 32 bytes) on; UINT32_MAX: none. */
uint32_t fx_segment_next_live(const fx_disk_segment *segment, uint32_t unit);
/* Bytes of the records that are live: as known, less the average of what has died since. */
uint64_t fx_segment_live_bytes(const fx_disk_segment *segment);
/* Some live value of the segment, or the segment itself if it has a live record, lies within
 * `range`, in part at least. */
bool fx_segment_touches(const fx_disk_segment *segment, const fx_extent *range);

/* Goes through the records of a segment's image. */
typedef struct fx_segment_walk {
    const fx_store_id *id;
    const uint8_t *image; /* byte_length bytes */
    uint64_t position;
    uint64_t group;
    uint32_t byte_length;
    uint32_t offset; /* of the next record, unless lost */
    uint32_t unit;
    bool lost;       /* damage: where the next record begins is not known */
    uint64_t budget; /* bytes that may still be summed in search of it */
} fx_segment_walk;

typedef enum fx_walk_result {
    FX_WALK_RECORD,
    FX_WALK_BAD_VALUE, /* header and key are sound, the rest is not */
    FX_WALK_DAMAGED,
    FX_WALK_END
} fx_walk_result;

/* One record; `location` as in record.h. */
typedef struct fx_walked {
    fx_entry entry;
    uint32_t offset;
    uint32_t size;
    uint64_t location;
} fx_walked;

/* What was not written with the segment of `group` is no record of it. */
void fx_segment_walk_init(fx_segment_walk *walk, const fx_store_id *id, const uint8_t *image,
                          uint64_t position, uint64_t group, uint32_t byte_length);
/* The next live record of `segment`, verified; FX_WALK_DAMAGED for one that is not sound, whose
 * `location` is about right; the walk goes on behind it. */
fx_walk_result fx_segment_walk_live(fx_segment_walk *walk, const fx_disk_segment *segment,
                                    fx_walked *out);
/* The next record, live or not, tombstones included; FX_WALK_DAMAGED: some bytes hold no record. */
fx_walk_result fx_segment_walk_all(fx_segment_walk *walk, fx_walked *out);

void fx_segments_init(fx_segments *segments);
void fx_segments_deinit(fx_segments *segments);
/* Makes sure that `count` adds cannot fail. */
bool fx_segments_reserve(fx_segments *segments, size_t count);
/* Takes the segment over; room was made. False: it overlaps another one (and stays the caller's).
 */
bool fx_segments_add(fx_segments *segments, fx_disk_segment *segment);
/* Fills the empty table with `count` segments in any order, O(n log n); room was made. Takes them
 * all over; those that overlap another one are destroyed. Returns how many these were. */
size_t fx_segments_add_all(fx_segments *segments, fx_disk_segment **list, size_t count);
/* Whether any of these bytes belongs to a segment of the table. */
bool fx_segments_overlap(const fx_segments *segments, uint64_t position, uint64_t length);
/* What a checkpoint leaves behind: segments without live records, those that are `moving`, and dead
 * large values. The extents of these: writes up to `capacity` of them to `list` and returns how
 * many there are. */
size_t fx_segments_garbage(const fx_segments *segments, fx_extent *list, size_t capacity);
/* Forgets them. */
void fx_segments_sweep(fx_segments *segments);
/* The live records of a segment were found to take so many bytes. */
void fx_segments_measured(fx_segments *segments, fx_disk_segment *segment, uint32_t bytes);
/* The segment that holds the byte; NULL: none. */
fx_disk_segment *fx_segments_find(const fx_segments *segments, uint64_t position);
/* The record at `location` became live, or is dead. False: there is no such segment or the bit was
 * as it is to be. Cannot fail otherwise. */
bool fx_segments_set_live(fx_segments *segments, uint64_t location);
bool fx_segments_set_dead(fx_segments *segments, uint64_t location);
bool fx_segments_is_live(const fx_segments *segments, uint64_t location);
/* NULL: sound; else what is wrong. */
const char *fx_segments_check(const fx_segments *segments);

#endif
