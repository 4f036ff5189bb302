/* recovery: what the three parts of opening a file share: recover.c (the root, the table, a new
 * file), replay.c (the journal), rescue.c (segments found without either). Private to them; one
 * thread, before anyone else is in.
 */
#ifndef FX_ENGINE_RECOVERY_H
#define FX_ENGINE_RECOVERY_H

#include "engine/check.h"
#include "engine/volume.h"

/* Records that wait to be applied, so that their cache misses overlap. */
#define FX_RECOVERY_WAITING 32u

typedef struct fx_recovery_record {
    fx_walked record;
    uint64_t hash;
    bool bad_value;
} fx_recovery_record;

typedef struct fx_recovery {
    fx_flusher *flusher;
    fx_check_sink *sink; /* hears of what is damaged; may be NULL */
    const char *path;
    bool rescue; /* what cannot be proven current counts all the same: for feox_salvage */
    uint64_t file_blocks;
    uint64_t large_blocks; /* of large values that may still be read: the file has no more */
    uint8_t *buffer;       /* a segment and a block more */
    uint8_t *next;         /* the same, for the segment that is being read meanwhile */
    fx_recovery_record waiting[FX_RECOVERY_WAITING];
    unsigned waiting_count;
    uint8_t *ring;
    fx_journal_entry *entries; /* rising groups */
    size_t count;
    size_t capacity;
    uint64_t group;      /* the highest number seen */
    uint64_t damaged;    /* records, or groups */
    uint64_t lost_table; /* bytes of the table that neither copy has */
    int unreadable;      /* -errno of a block that the device did not give; 0: none */
    unsigned repairs;    /* searches for a flipped bit that may still be made */
    bool torn;           /* the last entry is not whole: history ends before it */
    bool lost_entry;     /* an entry is damaged, and of which group is not known */
    bool lost_group;     /* some group's keys are not known ... */
    uint64_t doubt;      /* ... so that versions up to this one may not be the last of theirs */
} fx_recovery;

/* Counts damage and tells of it; `key` may be NULL. */
void fx_recovery_damaged(fx_recovery *r, const char *text, const fx_entry *key, uint64_t offset,
                         uint64_t length);
/* Reads what can be read; blocks that the device does not give are zeros, and found damaged
 * later. */
void fx_recovery_read(fx_recovery *r, uint64_t offset, uint8_t *buffer, size_t size);
/* Reads an extent into new memory. */
feox_status fx_recovery_read_extent(fx_recovery *r, fx_extent extent, uint8_t **bytes_out);
/* Whether a large value may be where its record says. */
bool fx_recovery_large_fits(const fx_recovery *r, const fx_entry *entry);
/* Takes the blocks of a large value out of what may be read: no file has more of them than blocks.
 * False: this one has. */
bool fx_recovery_large_draw(fx_recovery *r, const fx_entry *entry);
/* A record goes to the engine, in its turn: at the latest when what waits is settled, which has to
 * be before the bytes that it points into are used again. One with a damaged value stays on disk
 * like a large one: the key is there, and reading it says what is wrong. */
feox_status fx_recovery_apply(fx_recovery *r, const fx_walked *record, bool bad_value);
feox_status fx_recovery_settle(fx_recovery *r);

/* replay.c: reads the ring and finds its entries; then loads them. */
feox_status fx_replay_read(fx_recovery *r);
feox_status fx_replay_load(fx_recovery *r);
/* rescue.c: loads every segment of the store that the file holds. FEOX_ERR_NOT_FEOX: none. */
feox_status fx_rescue_load(fx_recovery *r);

#endif
