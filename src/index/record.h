/* record: one key with its value in memory, in one slot of a slab.
 *
 *   OFFSET  SIZE  FIELD       a record pointer points at offset 0
 *       -8     8  location    file stores only: where the record is on disk (engine's business)
 *        0     8  state       version << 2 | DEAD 2 | WRITING 1: also the seqlock of the record
 *        8     8  timestamp
 *       16     4  meta        key_len 0..15, value_len 16..27, flags 28..31
 *       20     4  (TTL only)  padding
 *       24     8  (TTL only)  expiry, ns of the store clock
 *    20/32     k  key
 *  20/32+k     v  value; or, with FX_RECORD_BLOCK, after padding to 8: value_len u64, block pointer
 *
 * Writers hold the shard's lock. Readers take no lock: they copy between two reads of `state` and
 * keep the copy if it did not change (seqlock; Boehm 2012 for why each copied word is an atomic
 * load). Slots stay slots of one size for ever, so a late reader reads old bytes, never a hole. A
 * version is never used twice, so a state seen twice means that nothing happened between.
 * Free slots keep `state` (DEAD, or 0 if never used) and `meta` as they are, since late readers
 * still look: a list of free slots may use the timestamp's word alone, by release stores. A record
 * is alive from the release store of its state until DEAD is set, and while it is alive it is the
 * only one of its key.
 */
#ifndef FX_INDEX_RECORD_H
#define FX_INDEX_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/config.h"
#include "index/block.h"

typedef struct fx_record {
    uint64_t state;
    uint64_t timestamp;
    uint32_t meta;
} fx_record;

_Static_assert(FX_INLINE_VALUE_MAX <= 0xfff, "an inline length has 12 bits");
_Static_assert(FEOX_KEY_SIZE_MAX <= 0xffff, "a key length has 16 bits");

#define FX_RECORD_WRITING 1u
#define FX_RECORD_DEAD 2u
#define FX_RECORD_TTL 0x10000000u
#define FX_RECORD_BLOCK 0x20000000u /* the value is a block, or (pointer NULL) on disk only */

static inline bool fx_state_alive(uint64_t state) {
    return state > 3 && (state & (FX_RECORD_WRITING | FX_RECORD_DEAD)) == 0;
}

static inline uint64_t fx_state_version(uint64_t state) {
    return state >> 2;
}

static inline uint32_t fx_meta_key_len(uint32_t meta) {
    return meta & 0xffffu;
}

#define FX_RECORD_PLAIN_KEY 20u /* where the key begins if it does not expire */

static inline uint32_t fx_meta_key_offset(uint32_t meta) {
    return (meta & FX_RECORD_TTL) != 0 ? 32u : FX_RECORD_PLAIN_KEY;
}

/* Where the value, or the padded block fields, begin. */
static inline uint32_t fx_meta_value_offset(uint32_t meta) {
    uint32_t at = fx_meta_key_offset(meta) + fx_meta_key_len(meta);
    return (meta & FX_RECORD_BLOCK) != 0 ? (uint32_t)fx_round_up(at, 8) : at;
}

static inline uint32_t fx_meta_inline_len(uint32_t meta) {
    return meta >> 16 & 0xfffu;
}

/* Bytes from the record pointer to its end. */
static inline uint32_t fx_meta_size(uint32_t meta) {
    return fx_meta_value_offset(meta) +
           ((meta & FX_RECORD_BLOCK) != 0 ? 16u : fx_meta_inline_len(meta));
}

static inline uint32_t fx_meta_make(size_t key_len, size_t value_len, bool ttl, bool block) {
    return (uint32_t)key_len | (block ? FX_RECORD_BLOCK : (uint32_t)value_len << 16) |
           (ttl ? FX_RECORD_TTL : 0u);
}

/* ---- For the holder of the shard's lock, and for pinned readers of what cannot change ---- */

/* Atomic, for an overwrite may change the value's length in it; key length and flags stay. */
static inline uint32_t fx_record_meta(const fx_record *record) {
    return fx_load_relaxed(&record->meta);
}

/* The key never changes while the record is not reused: a pinned reader may use it as plain bytes.
 */
static inline const uint8_t *fx_record_key(const fx_record *record) {
    return (const uint8_t *)record + fx_meta_key_offset(fx_record_meta(record));
}

static inline uint32_t fx_record_key_len(const fx_record *record) {
    return fx_meta_key_len(fx_record_meta(record));
}

static inline uint64_t fx_record_location(const fx_record *record) {
    return fx_load_relaxed((const uint64_t *)(const void *)record - 1);
}

/* Release: whoever reads the location of a slot's next life also sees that the last one ended; and
 * set before fx_record_set_block(NULL), it is there for whoever finds no block. Lock held. */
static inline void fx_record_set_location(fx_record *record, uint64_t location) {
    fx_store_release((uint64_t *)(void *)record - 1, location);
}

static inline uint64_t fx_record_expiry(const fx_record *record) {
    return (fx_record_meta(record) & FX_RECORD_TTL) != 0
               ? fx_load_relaxed((const uint64_t *)(const void *)record + 3)
               : 0;
}

static inline uint64_t fx_record_version(const fx_record *record) {
    return fx_state_version(fx_load_relaxed(&record->state));
}

static inline uint64_t *fx_record_block_fields(const fx_record *record) {
    return (uint64_t *)(void *)((uintptr_t)record + fx_meta_value_offset(fx_record_meta(record)));
}

static inline fx_block *fx_record_block(const fx_record *record) {
    return (fx_record_meta(record) & FX_RECORD_BLOCK) != 0
               ? (fx_block *)(uintptr_t)fx_load_acquire(fx_record_block_fields(record) + 1)
               : NULL;
}

static inline uint64_t fx_record_value_len(const fx_record *record) {
    return (fx_record_meta(record) & FX_RECORD_BLOCK) != 0
               ? fx_load_relaxed(fx_record_block_fields(record))
               : fx_meta_inline_len(fx_record_meta(record));
}

/* Everything of a record but its key; for init and in-place update. */
typedef struct fx_record_fields {
    uint64_t version;
    uint64_t timestamp;
    uint64_t expiry_ns;   /* 0: no TTL */
    const uint8_t *value; /* inline values */
    uint64_t value_len;
    fx_block *block; /* with in_block; may be NULL: on disk only. The record takes the reference */
    bool in_block;
} fx_record_fields;

uint32_t fx_record_meta_of(size_t key_len, const fx_record_fields *fields);
/* Fills a free slot and leaves it WRITING: invisible until fx_record_publish. Lock held. */
void fx_record_fill(fx_record *record, const void *key, size_t key_len,
                    const fx_record_fields *fields);
/* Release store of the state: pairs with the acquire load at the start of every read. */
void fx_record_publish(fx_record *record, uint64_t version);
/* Replaces all but the key in place; the new meta must fit the slot, and TTL and BLOCK flags must
 * be the old ones. An old block stays the caller's to release. Lock held. */
void fx_record_overwrite(fx_record *record, const fx_record_fields *fields);
/* Ends the record's life; readers go and look again. Lock held. */
void fx_record_kill(fx_record *record);
/* Sets the block pointer of a BLOCK record (NULL: the value is on disk, and its location set
 * before); same version. The old block may still be read by pinned threads. Lock held. */
void fx_record_set_block(fx_record *record, fx_block *block);

/* ---- For readers without a lock ---- */

/* What a reader saw. */
typedef struct fx_record_view {
    uint64_t version;
    uint64_t timestamp;
    uint64_t expiry_ns; /* 0: never */
    uint64_t value_len;
    uint64_t location; /* file stores only */
    fx_block *block;   /* with in_block; NULL: on disk. Usable only while pinned before the read */
    bool in_block;
} fx_record_view;

typedef enum fx_read_result {
    FX_READ_OK,
    FX_READ_OTHER_KEY, /* alive, and not this key; the view has its version */
    FX_READ_RETRY      /* dead, or changed meanwhile: look it up again */
} fx_read_result;

/* Reads a record that may be `key`'s: copies up to `capacity` value bytes of an inline value to
 * `buffer`. `buffer` holds rubbish unless FX_READ_OK. Spins while a writer is inside. */
fx_read_result fx_record_read(const fx_record *record, bool persistent, const void *key,
                              size_t key_len, void *buffer, size_t capacity,
                              fx_record_view *view_out);

/* For whoever has the record pinned: copies its key, and behind it a value that lies in it and does
 * not expire, to `buffer`, which has FX_INLINE_VALUE_MAX bytes besides the key's. Returns the state
 * in which it was so, and the value's size; 0: it is not such a value, or it is changing or dead.
 */
uint64_t fx_record_copy(const fx_record *record, void *buffer, size_t *size_out);

/* What was copied in that state is the record's value still, and was all the time. */
static inline bool fx_record_unchanged(const fx_record *record, uint64_t state) {
    return state != 0 && fx_load_acquire(&record->state) == state;
}

#endif
