/* record_read: fx_record_read, to be compiled into the lookups: a get is some 150 instructions in
 * all, and the fewer they are, the more gets the processor has under way at once. Why it is right:
 * record.c. For record.c and table_read.h alone.
 */
#ifndef FX_INDEX_RECORD_READ_H
#define FX_INDEX_RECORD_READ_H

#include "base/assert.h"
#include "base/racing.h"
#include "index/record.h"

/* The state once no writer is inside. */
uint64_t fx_record_settle(const fx_record *record);

static inline void fx_record_read_value(const fx_record *record, uint32_t meta, void *buffer,
                                        size_t capacity, fx_record_view *view_out) {
    const uint8_t *value = (const uint8_t *)record + fx_meta_value_offset(meta);
    view_out->in_block = (meta & FX_RECORD_BLOCK) != 0;
    if (FX_UNLIKELY(view_out->in_block)) {
        view_out->value_len = fx_load_acquire((const uint64_t *)(const void *)value);
        view_out->block =
            (fx_block *)(uintptr_t)fx_load_acquire((const uint64_t *)(const void *)value + 1);
    } else {
        view_out->value_len = fx_meta_inline_len(meta);
        view_out->block = NULL;
        fx_racing_load(buffer, value,
                       view_out->value_len < capacity ? (size_t)view_out->value_len : capacity);
    }
}

/* The common case alone: the value lies in the record and does not expire, nobody is changing it,
 * and the key is this one, or `any`: then it is copied, too, before the value. Where key and value
 * of a known length lie does not depend on anything that is read, so all of their lines are asked
 * for at once. *state_out: in which state it was so. False: it is not so, or cannot be told. */
static inline bool fx_record_take_plain(const fx_record *record, bool any, const void *key,
                                        size_t key_len, void *buffer, size_t capacity,
                                        size_t *value_len_out, uint64_t *state_out) {
    uint64_t state = fx_load_acquire(&record->state);
    uint32_t meta = fx_load_acquire(&record->meta);
    const uint8_t *at = (const uint8_t *)record + FX_RECORD_PLAIN_KEY;
    key_len = any ? fx_meta_key_len(meta) : key_len;
    bool plain = (meta & (FX_RECORD_TTL | FX_RECORD_BLOCK | 0xffffu)) == key_len;
    if (FX_UNLIKELY(!plain || !fx_state_alive(state) ||
                    (!any && !fx_racing_equal(at, key, key_len)))) {
        return false;
    }
    size_t size = fx_meta_inline_len(meta);
    if (any) {
        fx_racing_load(buffer, at, key_len + size);
    } else {
        fx_racing_load(buffer, at + key_len, size < capacity ? size : capacity);
    }
    *value_len_out = size;
    *state_out = state;
    return FX_LIKELY(fx_load_acquire(&record->state) == state);
}

static inline bool fx_record_read_plain(const fx_record *record, const void *key, size_t key_len,
                                        void *buffer, size_t capacity, size_t *value_len_out) {
    uint64_t state;
    return fx_record_take_plain(record, false, key, key_len, buffer, capacity, value_len_out,
                                &state);
}

static inline fx_read_result fx_record_read_inline(const fx_record *record, bool persistent,
                                                   const void *key, size_t key_len, void *buffer,
                                                   size_t capacity, fx_record_view *view_out) {
    uint64_t state = fx_load_acquire(&record->state);
    if (FX_UNLIKELY((state & FX_RECORD_WRITING) != 0)) {
        state = fx_record_settle(record);
    }
    if (FX_UNLIKELY(!fx_state_alive(state))) {
        return FX_READ_RETRY;
    }
    uint32_t meta = fx_load_acquire(&record->meta);
    const uint8_t *start = (const uint8_t *)record;
    view_out->version = fx_state_version(state);
    bool same = fx_meta_key_len(meta) == key_len &&
                fx_racing_equal(start + fx_meta_key_offset(meta), key, key_len);
    if (FX_LIKELY(same)) {
        view_out->timestamp = fx_load_acquire(&record->timestamp);
        view_out->expiry_ns = (meta & FX_RECORD_TTL) != 0
                                  ? fx_load_acquire((const uint64_t *)(const void *)start + 3)
                                  : 0;
        fx_record_read_value(record, meta, buffer, capacity, view_out);
        /* Behind the block pointer: see record.c. */
        view_out->location =
            persistent ? fx_load_acquire((const uint64_t *)(const void *)start - 1) : 0;
    }
    if (FX_UNLIKELY(fx_load_acquire(&record->state) != state)) {
        return FX_READ_RETRY;
    }
    return same ? FX_READ_OK : FX_READ_OTHER_KEY;
}

#endif
