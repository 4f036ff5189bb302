/* volume: the state of the file side, shared by flusher, group, compactor, recover and check. One
 * thread at a time owns it (flusher.c hands the ownership on); what others may read is marked.
 */
#ifndef FX_ENGINE_VOLUME_H
#define FX_ENGINE_VOLUME_H

#include "disk/journal.h"
#include "disk/segments.h"
#include "disk/superblock.h"
#include "engine/flusher.h"
#include "engine/probe.h"
#include "engine/reader.h"
#include "engine/space.h"
#include "engine/staging.h"

/* Figures for the statistics. Atomic, relaxed; written by the owner, read by anyone. */
typedef struct fx_volume_figures {
    uint64_t file_size;
    uint64_t file_free;
    uint64_t file_live;
    uint64_t groups_written;
    uint64_t checkpoints;
    uint64_t written_bytes;
    uint64_t sync_method;
    uint64_t free_extents;
    uint64_t free_extent_max; /* bytes */
    uint64_t waiting;         /* bytes that the next checkpoints make free */
    uint64_t compacted_bytes;
} fx_volume_figures;

/* Who waits at the gate: for an even or an odd group, which some of them will lead; for the volume,
 * whatever is durable; and for a limited time, to lead nothing. */
enum { FX_TURN_EVEN, FX_TURN_ODD, FX_TURN_OWNER, FX_TURN_GUEST, FX_TURNS };

/* Compaction in the background: what it may spend, and since when the file is too long. */
typedef struct fx_cleaner {
    int64_t credit;       /* bytes; below zero: it rests */
    uint64_t own_bytes;   /* written by compaction ... */
    uint64_t other_bytes; /* ... and by all else, when the credit was counted last */
    uint64_t counted_ns;
    uint64_t long_ns;   /* store time; 0: the file is not too long */
    uint64_t ahead_min; /* with less in sparse segments, cleaning ahead of need is no use */
} fx_cleaner;

/* The device has no space for what is to be written into the file: refusal.h. */
typedef struct fx_refusal {
    uint32_t lasts;        /* relaxed, read by any thread: no group was written since */
    uint64_t room_deletes; /* bytes of the open group that may be filled meanwhile, by deletes */
    bool known;            /* the device has refused something since it was opened */
    uint64_t scar;         /* byte of an entry in the ring that is there in part; 0: none */
    uint32_t times;        /* that the background was refused ... */
    uint64_t retry_ns;     /* ... and when it is to try again */
} fx_refusal;

struct fx_flusher {
    /* Constant after open. */
    fx_engine *engine;
    fx_dev *dev;
    bool read_only;
    bool made; /* the file was made by this open */
    fx_store_id id;

    /* Who owns the rest: guarded by the gate. */
    fx_mutex gate;
    fx_cond turns[FX_TURNS];
    bool busy;
    uint64_t told;    /* the durable group that all who waited for know of */
    uint32_t crowd;   /* how many joined lately; 1 with the leader alone */
    uint32_t waiting; /* who waits for the ownership or a group ... */
    uint32_t polite;  /* ... and who lets them go first */
    uint64_t served;  /* how many have waited */

    /* Atomic. */
    uint32_t joined[2];     /* relaxed: who is inside fx_flusher_join, by their group's last bit */
    uint64_t room;          /* relaxed: bytes of the file that puts of the open group may fill */
    uint64_t room_deletes;  /* relaxed: the same, deletes included, which may fill more */
    uint64_t drawn;         /* relaxed: of these, what the shards have taken for it */
    uint64_t run;           /* relaxed: blocks that its large values may fill: the longest run */
    uint64_t drawn_run;     /* relaxed: of these, what they have taken */
    uint64_t open_group;    /* written with all shards locked; stable under any shard's lock */
    uint64_t durable_group; /* released when a group is durable, acquired by who waited for it */
    int32_t status;         /* released with `failure`; sticky */
    int32_t flushed;        /* relaxed: how the last flush went ... */
    uint64_t flushes;       /* ... and how many there were */
    uint64_t disk_reads;    /* relaxed */
    uint64_t disk_read_bytes;
    uint64_t corrupt_records;
    fx_volume_figures figures;
    fx_epoch readers; /* pinned around reads of the device; extents are not reused under them */
    fx_reader reader; /* whose it is, it says itself */

    /* The owner's. */
    fx_dev_queue *queue;
    fx_staging staging;
    fx_probe probe;
    fx_space space;
    fx_segments segments;
    fx_journal journal;
    fx_superblock root;      /* as it is durable */
    uint64_t counter;        /* versions handed out are not above this when a group is cut */
    uint64_t time_ns;        /* the last store time seen */
    uint64_t group_blocks;   /* that the segments of the last group take */
    uint64_t initial_blocks; /* the file is not made smaller than this */
    uint64_t trimmed;        /* `flushes` at the last step */
    uint64_t *dead_next;     /* locations that are dead when the next group is durable */
    size_t dead_count;
    uint64_t lost_records;     /* live ones of which no key is known: found damaged at open */
    uint64_t lost_table;       /* opened to read, with so many bytes of the table lost */
    bool doubtful;             /* opened to read, with a group of the journal lost */
    const uint8_t *ring_image; /* while the file is opened: the ring, as recovery put it right */
    fx_cleaner cleaner;
    fx_refusal refusal;
    uint64_t charged; /* memory of segments and buffers that the engine's pool knows of */
    /* A cut that was to be undone waits in some write buffers. Written with all shards locked;
     * stable under any shard's lock. */
    bool flight_left;
    char failure[160];
    int failure_errno;
};

/* Waits for the ownership of the volume; gives it up and wakes who waits. */
void fx_flusher_enter(fx_flusher *flusher);
/* The same behind all who wait already: for who takes it again and again. */
void fx_flusher_enter_last(fx_flusher *flusher);
void fx_flusher_leave(fx_flusher *flusher);
/* Makes the store read-only for good; the first failure counts. Returns it as the caller's
 * status. */
feox_status fx_volume_fail(fx_flusher *flusher, feox_status status, int error, const char *what);
/* Tells the store above that more is durable, or that something failed. Any thread. */
void fx_volume_announce(const fx_flusher *flusher);
/* Makes a growth of the file sticky that failed for anything but space. Owner. Returns the store's
 * status. */
feox_status fx_volume_note_growth(fx_flusher *flusher);
/* FEOX_OK, or the sticky failure with its text set for the calling thread. */
feox_status fx_volume_status(const fx_flusher *flusher);
/* An estimate: bytes of current records and large values. Owner. O(1). */
uint64_t fx_volume_live_bytes(const fx_flusher *flusher);
/* Brings the figures up to date. Owner. */
void fx_volume_publish(fx_flusher *flusher);
/* A read of so many bytes goes into the statistics. Any thread. */
void fx_volume_count_read(fx_flusher *flusher, size_t size);
/* Reads whole blocks, at most `size` bytes and not past the end of the file, which is an error.
 * 0 or -errno. Any thread. */
int fx_volume_read(fx_flusher *flusher, uint64_t offset, void *buffer, size_t size);
/* Reads and verifies the large value of a decoded record. FEOX_ERR_CORRUPT, _IO, _MEMORY. Any
 * thread. */
feox_status fx_volume_read_large(fx_flusher *flusher, const fx_entry *entry, fx_block **block_out);
/* Locks, unlocks all shards in order. */
void fx_volume_lock_shards(fx_flusher *flusher);
void fx_volume_unlock_shards(fx_flusher *flusher);
/* About the blocks that the table of the next checkpoint takes; not less than it does. O(1). */
uint64_t fx_volume_table_blocks(const fx_flusher *flusher);
/* What one step of cleaning for a writer moves. O(1). */
uint64_t fx_volume_step_blocks(const fx_flusher *flusher);
/* Blocks that puts leave free besides, where the file may not grow and cleaning would gain
 * something: then they do a step while there is room for all that it moves. O(1). */
uint64_t fx_volume_ahead_blocks(const fx_flusher *flusher);
/* Blocks that a checkpoint takes at most if it moves only what it must. */
uint64_t fx_volume_checkpoint_blocks(const fx_flusher *flusher);
/* Blocks that are promised to no commit, so that the next checkpoint always finds room. */
uint64_t fx_volume_reserve(const fx_flusher *flusher);
/* ... and that only deletes may fill, so that a full file can be emptied. When a group of deletes
 * has filled them, a checkpoint frees them again: tombstones are not needed after it. */
#define FX_TOMBSTONE_BLOCKS 128u

#endif
