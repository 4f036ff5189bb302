/* hostile: the bytes of a file, whatever they are, go through everything that reads a store: opened
 * to be read, checked, opened as feox_salvage does, opened to be written. Over a device in memory,
 * through the engine. This is the one entry point that hostile_test and a fuzzer share.
 *
 * If it is known what the file should hold, the answers are compared with that, and what is wrong
 * is told: a value that is not the key's, a deleted key, damage that nobody tells of. One thread.
 */
#ifndef FX_TESTS_SUPPORT_HOSTILE_H
#define FX_TESTS_SUPPORT_HOSTILE_H

#include "engine/volume.h"
#include "support/mem_dev.h"

#define HOSTILE_KEYS 40u
#define HOSTILE_VALUE_MAX (80u << 10)
#define HOSTILE_ABSENT UINT32_MAX
/* Groups in the journal of a store that was not closed. */
#define HOSTILE_GROUPS 4u
#define HOSTILE_STAMPS 4096u
/* Moments of its life whose bytes are kept. */
#define HOSTILE_MOMENTS 28u
#define HOSTILE_OLD_SIZE (384u << 10) /* what is kept of each */

/* One key with one value; the bytes follow from these. */
typedef struct hostile_value {
    uint32_t size;  /* HOSTILE_ABSENT: deleted */
    uint32_t stamp; /* of the write, 1 and up; each is used once */
} hostile_value;

/* What a byte of the file is. */
typedef enum hostile_part {
    HOSTILE_FREE,   /* free, dead, or of no consequence */
    HOSTILE_LIVE,   /* of a live record, or its large value */
    HOSTILE_HEADER, /* of what leads there: superblocks, both copies of the table, the ring */
} hostile_part;

/* A store whose whole history is known. */
typedef struct hostile {
    uint8_t *bytes;
    size_t size;
    size_t small_size;                                  /* without the free tail */
    hostile_value now[HOSTILE_KEYS];                    /* as it should be */
    hostile_value before[HOSTILE_GROUPS][HOSTILE_KEYS]; /* the last group, the last two, ... */
    uint32_t owner[HOSTILE_STAMPS];                     /* the key of each stamp */
    uint32_t sizes[HOSTILE_STAMPS];                     /* of its value ... */
    uint8_t *values[HOSTILE_STAMPS];                    /* ... and that; NULL: it deleted the key */
    uint32_t first_stamp, stamps;                       /* those above the first, up to this */
    uint8_t *parts;                                     /* hostile_part of each byte */
    uint8_t *moments[HOSTILE_MOMENTS];                  /* the file as it was, oldest first */
    unsigned moment_count;
    bool keeps_moments;
    fx_superblock root;
    uint64_t segments[64]; /* positions of live segments, inline ones included */
    uint32_t segment_lengths[64];
    size_t segment_count;
} hostile;

/* Closed as it should be; or, with_groups, ended with four groups in its journal. A journal of
 * `ring_blocks`. */
hostile *hostile_make(bool with_groups, uint64_t ring_blocks);
/* The same kinds of store behind a longer life, in which the same keys get values of the same
 * lengths time and again, in places that were used before; `moments` has the beginning of the file
 * at each turn.
 * Stamps begin above `first_stamp`, so that no value is that of another store. */
hostile *hostile_make_old(bool with_groups, uint64_t ring_blocks, uint32_t first_stamp);
void hostile_free(hostile *h);

/* What happened to the bytes. */
typedef struct hostile_outcome {
    feox_status read;      /* what opening it to read said */
    feox_status write;     /* to write; FEOX_END: not tried */
    feox_status rescue;    /* as feox_salvage does */
    unsigned absent;       /* keys that should be there, of opening it to read ... */
    unsigned corrupt;      /* ... of these, those that say so */
    bool rescued_right;    /* no key that rescuing brings is another than it should be */
    unsigned rescued_less; /* keys that rescuing does not bring */
    unsigned problems;     /* found by the check */
    bool prefix;           /* a later state than this was written */
    uint64_t damaged;      /* told of by opening it to read */
    uint64_t read_bytes;   /* by the longest of these runs */
    const char *wrong;     /* what should not have been; NULL: nothing */
} hostile_outcome;

#define HOSTILE_WRITE 1u  /* open it to be written, too: a copy */
#define HOSTILE_RESCUE 2u /* and as feox_salvage does */
#define HOSTILE_LAX 4u    /* made by an attacker: any value may come, nothing may break */

/* `truth` may be NULL: nothing is known. `bytes` are as they were afterwards, or that is wrong. */
void hostile_try(uint8_t *bytes, size_t size, const hostile *truth, unsigned flags,
                 hostile_outcome *out);
/* The same, and the test fails if anything is wrong. */
void hostile_run(uint8_t *bytes, size_t size, const hostile *truth, unsigned flags,
                 hostile_outcome *out);
/* Somebody was told of the damage. */
bool hostile_reported(const hostile_outcome *out);

#endif
