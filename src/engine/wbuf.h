/* wbuf: the write-behind buffer of one shard: what its commits leave for the disk.
 *
 * Two halves: the open group's and, while a flush is under way, the one in flight. Everything here
 * is called with the shard's lock held, except reading the entries of the half in flight by the
 * flusher (their bytes and sizes no longer change; `record` does, under the lock).
 *
 * A record's location (record.h) is one of
 *     0                                       the record is not in any group: memory only
 *     FX_LOCATION_DIRTY | half << 62 | index  it waits in that half of its shard's wbuf, as that
 *                                             entry
 *     anything else                           byte offset / 8 of its durable disk record
 *
 * A commit of a key whose newest version waits in the open half replaces that entry: of several
 * versions in one group one is written. Bounded: past its bound fx_wbuf_full() says so and
 * writers flush before they go on.
 */
#ifndef FX_ENGINE_WBUF_H
#define FX_ENGINE_WBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/entry.h"
#include "index/record.h"
#include "index/slab.h"

#define FX_LOCATION_DIRTY 0x8000000000000000u

/* In a store that is only read: a record that may be out of date. Its place is that of the
 * superblock, where no record verifies. */
#define FX_LOCATION_DOUBT 1u

static inline bool fx_location_clean(uint64_t location) {
    return location != 0 && (location & FX_LOCATION_DIRTY) == 0;
}

typedef struct fx_wbuf_entry {
    fx_record *record;     /* to get the location; NULL: tombstone, or a later commit replaced it */
    uint64_t old_location; /* clean location that is dead once this entry is durable; 0: none */
    fx_block *block;       /* FX_ENTRY_LARGE: the value, with a reference */
    uint32_t offset;       /* of the encoded disk record in bytes; multiple of 8 */
    uint32_t size;         /* of it, multiple of 8; 0: superseded, nothing to write */
    uint8_t kind;          /* fx_entry_kind */
    bool predecessor;      /* an earlier version may be on disk or in flight: deletes say so */
} fx_wbuf_entry;

typedef struct fx_wbuf_half {
    fx_wbuf_entry *entries;
    uint32_t count;
    uint32_t capacity;
    uint8_t *bytes; /* encoded records: everything but position and checksum is final */
    size_t used;
    size_t size;
    uint64_t large_bytes; /* of the blocks referenced */
    uint64_t first_ns;    /* store clock of the oldest entry; 0: empty */
} fx_wbuf_half;

typedef struct fx_wbuf {
    fx_wbuf_half halves[2];
    uint32_t open;      /* index of the open half */
    uint64_t admitted;  /* bytes of the file that the open half may still fill: flusher.h */
    fx_slab_pool *pool; /* charged for memory */
    uint64_t charged;
    uint64_t size_max, size_long;
    bool resting; /* nobody has used it since the last trim */
} fx_wbuf;

/* `size_max`: bytes in a half from which on it is full. The pool is charged for the memory, but for
 * large values, for which their record is. */
void fx_wbuf_init(fx_wbuf *wbuf, fx_slab_pool *pool, uint64_t size_max);
void fx_wbuf_deinit(fx_wbuf *wbuf);

/* Makes room for one entry of this key and value size, so that the put or delete that follows
 * cannot fail. False: no memory. */
bool fx_wbuf_reserve(fx_wbuf *wbuf, size_t key_len, size_t value_len);
/* Leaves `entry` (PUT or LARGE) for the open group. `location` is that of the version it replaces
 * (0: none); sets the location of `record`. LARGE: takes a reference to `block`. */
void fx_wbuf_put(fx_wbuf *wbuf, const fx_entry *entry, fx_record *record, fx_block *block,
                 uint64_t location, uint64_t now_ns);
/* The key of `entry` is deleted; `location` as above. Writes no tombstone if nothing of the key can
 * be on disk. The caller no longer uses the record's location. */
void fx_wbuf_delete(fx_wbuf *wbuf, const fx_entry *entry, uint64_t location, uint64_t now_ns);
/* Takes the entry of this version back out of the open half, or, with `flight`, of the one in
 * flight, which then nobody may be writing; what it was to replace stays as it is. Only for an
 * entry that replaced no other in its half. False: it is not there. O(entries). */
bool fx_wbuf_cancel(fx_wbuf *wbuf, uint64_t version, bool flight);
/* Bytes waiting in the open half (large values included) are past the bound. */
bool fx_wbuf_full(const fx_wbuf *wbuf);
/* So much that the background is to write them before writers must. */
static inline bool fx_wbuf_long(const fx_wbuf *wbuf) {
    const fx_wbuf_half *half = &wbuf->halves[wbuf->open];
    return half->used >= wbuf->size_long || half->used + half->large_bytes >= wbuf->size_max / 2;
}
/* Bytes waiting in both halves. */
uint64_t fx_wbuf_waiting(const fx_wbuf *wbuf);

/* Flusher, all shards locked: the open half becomes the one in flight and the other opens,
 * empty. */
void fx_wbuf_cut(fx_wbuf *wbuf);
/* Flusher, shard locked: the half in flight is done with; drops block references. Keeps capacity up
 * to a bound. */
void fx_wbuf_recycle(fx_wbuf *wbuf);
/* Flusher, shard locked: nothing of the half in flight was written: its entries go back before
 * those of the open half, as if it had never been cut, and it is empty. False: no memory, all is as
 * it was. */
bool fx_wbuf_uncut(fx_wbuf *wbuf);
/* Shard locked: gives memory back if nothing was written between two calls. */
void fx_wbuf_trim(fx_wbuf *wbuf);
/* The half in flight. */
static inline fx_wbuf_half *fx_wbuf_flight(fx_wbuf *wbuf) {
    return &wbuf->halves[wbuf->open ^ 1u];
}
/* Every structure holds together: sizes, offsets, counts, and the records' locations point back.
 * NULL: sound; else what is wrong. */
const char *fx_wbuf_check(const fx_wbuf *wbuf);

#endif
