/* flusher: groups commits and makes them durable; owns the file. */
#ifndef FX_ENGINE_FLUSHER_H
#define FX_ENGINE_FLUSHER_H

#include "disk/dev.h"
#include "engine/engine.h"

typedef struct fx_flusher_options {
    const char *path; /* for error details */
    bool read_only;
    uint64_t file_size_initial, file_size_limit;
    uint64_t ring_blocks; /* of a new file's journal; 0: the usual number */
    bool rescue;          /* with read_only: load whatever is sound, as feox_salvage wants it */
    struct fx_check_sink *sink; /* hears what opening finds damaged; may be NULL */
} fx_flusher_options;

/* Makes a new store in an empty file, or recovers one into the engine. The device stays the
 * caller's. On failure *flusher_out is NULL. FEOX_ERR_NOT_FEOX, _NEWER, _CORRUPT leave the file
 * untouched. */
feox_status fx_flusher_open(fx_engine *engine, fx_dev *dev, const fx_flusher_options *options,
                            fx_flusher **flusher_out);
/* Flushes, writes a checkpoint, gives the free tail back, frees everything. FEOX_OK or why the last
 * flush failed. */
feox_status fx_flusher_close(fx_flusher *flusher, uint64_t now_ns);
/* The group that commits belong to now; under any shard's lock it cannot change. */
uint64_t fx_flusher_open_group(const fx_flusher *flusher);
/* What one commit asks of the file. */
typedef struct fx_demand {
    uint64_t bytes;
    uint64_t run; /* blocks that must lie in one run: of a large value; else 0 */
    bool deletes; /* may have of what is kept for tombstones */
} fx_demand;

/* The most that the put, or the delete, of such a key takes. */
fx_demand fx_flusher_demand(size_t key_len, uint64_t value_len, bool deletes);
/* Whether the file has room for one more commit in the open group; takes it. Shard locked. False:
 * unlock, fx_flusher_make_room, try again. So a full file is told to the write that does not fit,
 * and what was accepted can be written. */
bool fx_flusher_admit_locked(fx_flusher *flusher, fx_wbuf *wbuf, const fx_demand *demand);
/* The device refused the last group for want of space; it is tried again. Any thread. */
bool fx_flusher_refused(const fx_flusher *flusher);
/* A cut that could not be undone waits in the halves in flight, which nobody writes. Shard
 * locked. */
bool fx_flusher_left_locked(const fx_flusher *flusher);
/* Makes room by flushing, growing the file, giving dead space back; nothing if there is some. No
 * lock held. FEOX_ERR_SPACE, or what a flush returns. */
feox_status fx_flusher_make_room(fx_flusher *flusher, const fx_demand *demand, uint64_t now_ns);
/* Returns FEOX_OK when `group` is durable; leads a flush if nobody does. No lock held. */
feox_status fx_flusher_sync(fx_flusher *flusher, uint64_t group, uint64_t now_ns);
/* The same for one of many who write and wait by turns: who leads waits a moment for those who
 * shared the last groups, at most 0.1 ms or so, so that one flush carries them all. */
feox_status fx_flusher_join(fx_flusher *flusher, uint64_t group, uint64_t now_ns);
/* The last group that is durable, with all before it. FEOX_OK; what made the store read-only; or
 * why the last flush found no room or memory: it is tried again. Any thread. */
feox_status fx_flusher_durable(const fx_flusher *flusher, uint64_t *group_out);
/* There are commits of this group, or of a later one. Any thread; no lock held. */
bool fx_flusher_knows(fx_flusher *flusher, uint64_t group);
/* Waits for a group that others flush: FEOX_OK, FEOX_PENDING when the time is over, or what a flush
 * returned meanwhile. No lock held. */
feox_status fx_flusher_wait(fx_flusher *flusher, uint64_t group, uint64_t timeout_ms);
/* Background: flushes what is older than flush_interval_ms, checkpoints and compacts when due. */
void fx_flusher_step(fx_flusher *flusher, uint64_t now_ns, uint32_t flush_interval_ms);
/* The same for write buffers that have become long; the file grows for what comes next. */
void fx_flusher_step_long(fx_flusher *flusher, uint64_t now_ns);
/* FEOX_OK, or what made the store read-only. Cheap; any thread. */
feox_status fx_flusher_status(const fx_flusher *flusher);
/* Makes what made the store read-only the calling thread's error detail. Any thread. */
void fx_flusher_tell(const fx_flusher *flusher);
/* Whether the file is new; its name is then not durable yet. */
bool fx_flusher_made(const fx_flusher *flusher);
/* The last store time that the file knows. */
uint64_t fx_flusher_time(const fx_flusher *flusher);
/* Adds the file's figures. Any thread. */
void fx_flusher_stats(fx_flusher *flusher, uint64_t now_ns, feox_statistics *stats);

#endif
