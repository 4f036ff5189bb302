/* record: ordering. A writer sets WRITING (relaxed), stores the words (release each) and publishes
 * the new state (release). A reader loads `state` (acquire), the words (acquire each) and `state`
 * again. Why a read that both loads of `state` agree on is whole:
 *   S1 Nothing older: the first load read the publishing store, so the words of that version, or
 *      later ones, are what the reader sees.
 *   S2 Nothing newer: a word of a later version was stored by a release behind WRITING; loading it
 *      by an acquire makes that store happen before the second load, which then cannot return the
 *      old state. This is why the word stores are release: a processor may show a relaxed one
 *      before WRITING. On x86 all of these are plain moves (base/racing.h).
 *   S3 Versions are never used twice, and DEAD stays until the next publish: equal states are the
 *      same life of the slot.
 * What may change without a new state is the location and the block pointer. The owner sets the
 * location first and drops the block then; the reader loads the block first and the location then:
 * whoever finds no block finds the place of the value. Any meta the slot ever had describes a
 * record that fits it, so a late reader stays inside.
 */
#include "index/record.h"

#include <sched.h>

#include "base/assert.h"
#include "base/racing.h"
#include "index/record_read.h"

uint32_t fx_record_meta_of(size_t key_len, const fx_record_fields *fields) {
    FX_ASSERT(key_len <= FEOX_KEY_SIZE_MAX);
    FX_ASSERT(fields->in_block || fields->value_len <= FX_INLINE_VALUE_MAX);
    return fx_meta_make(key_len, (size_t)fields->value_len, fields->expiry_ns != 0,
                        fields->in_block);
}

/* Everything behind the state but the key. */
static void store_fields(fx_record *record, uint32_t meta, const fx_record_fields *fields) {
    fx_store_release(&record->timestamp, fields->timestamp);
    fx_store_release(&record->meta, meta);
    if ((meta & FX_RECORD_TTL) != 0) {
        fx_store_release((uint64_t *)(void *)record + 3, fields->expiry_ns);
    }
    uint8_t *value = (uint8_t *)record + fx_meta_value_offset(meta);
    if (fields->in_block) {
        fx_store_release((uint64_t *)(void *)value, fields->value_len);
        fx_store_release((uint64_t *)(void *)value + 1, (uint64_t)(uintptr_t)fields->block);
    } else {
        fx_racing_store(value, fields->value, (size_t)fields->value_len);
    }
}

void fx_record_fill(fx_record *record, const void *key, size_t key_len,
                    const fx_record_fields *fields) {
    uint32_t meta = fx_record_meta_of(key_len, fields);
    fx_store_relaxed(&record->state, (uint64_t)(FX_RECORD_WRITING | FX_RECORD_DEAD));
    fx_racing_store((uint8_t *)record + fx_meta_key_offset(meta), key, key_len);
    store_fields(record, meta, fields);
}

void fx_record_publish(fx_record *record, uint64_t version) {
    FX_ASSERT(version > 0 && version >> 62 == 0);
    fx_store_release(&record->state, version << 2);
}

void fx_record_overwrite(fx_record *record, const fx_record_fields *fields) {
    uint32_t meta = fx_record_meta_of(fx_record_key_len(record), fields);
    FX_ASSERT(((meta ^ record->meta) & (FX_RECORD_TTL | FX_RECORD_BLOCK)) == 0);
    FX_ASSERT(fx_state_alive(record->state));
    fx_store_relaxed(&record->state, record->state | FX_RECORD_WRITING);
    store_fields(record, meta, fields);
    fx_record_publish(record, fields->version);
}

void fx_record_kill(fx_record *record) {
    fx_store_release(&record->state, record->state | FX_RECORD_DEAD);
}

void fx_record_set_block(fx_record *record, fx_block *block) {
    FX_ASSERT((record->meta & FX_RECORD_BLOCK) != 0);
    fx_store_release(fx_record_block_fields(record) + 1, (uint64_t)(uintptr_t)block);
}

uint64_t fx_record_settle(const fx_record *record) {
    for (unsigned spins = 0;; spins++) {
        uint64_t state = fx_load_acquire(&record->state);
        if ((state & FX_RECORD_WRITING) == 0 || (state & FX_RECORD_DEAD) != 0) {
            return state;
        }
        if (spins < 64) {
            fx_pause();
        } else {
            (void)sched_yield();
        }
    }
}

fx_read_result fx_record_read(const fx_record *record, bool persistent, const void *key,
                              size_t key_len, void *buffer, size_t capacity,
                              fx_record_view *view_out) {
    return fx_record_read_inline(record, persistent, key, key_len, buffer, capacity, view_out);
}

uint64_t fx_record_copy(const fx_record *record, void *buffer, size_t *size_out) {
    uint64_t state;
    return fx_record_take_plain(record, true, NULL, 0, buffer, 0, size_out, &state) ? state : 0;
}
