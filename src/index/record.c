/* record: ordering. A writer sets WRITING by an exchange (acq_rel), stores the words (release each)
 * and publishes the new state (release). A reader loads `state` (acquire), the words (acquire each)
 * and `state` again. Why a read that both loads of `state` agree on is whole:
 *   S1 Nothing older: the first load read the publishing store, so the words of that version, or
 *      later ones, are what the reader sees.
 *   S2 Nothing newer: a word of a later version was stored by a release after the exchange; loading
 *      it by an acquire makes the exchange happen before the second load, which then cannot return
 *      the old state. This is why the word stores are release: behind a plain exchange a processor
 *      may show a relaxed store first. On x86 all of these are plain moves.
 *   S3 Versions are never used twice, and DEAD stays until the next publish: equal states are the
 *      same life of the slot.
 * What may change without a new state is the location and the block pointer. The owner sets the
 * location first and drops the block then; the reader loads the block first and the location then:
 * whoever finds no block finds the place of the value.
 *
 * Words that a reader may race with are read as aligned 8-byte atomics and shifted into place. Only
 * words that hold a wanted byte are loaded, so reads touch up to 7 bytes on either side, always
 * inside the 8-aligned slot: any meta the slot ever had describes a record that fits it.
 */
#include "index/record.h"

#include <sched.h>

#include "base/assert.h"
#include "base/mem.h"

fx_block *fx_block_create(const void *data, size_t size) {
    fx_block *block = fx_mem_alloc(sizeof(fx_block) + size);
    if (block != NULL) {
        block->references = 1;
        block->size = size;
        if (data != NULL) {
            fx_copy(block->data, data, size);
        }
    }
    return block;
}

void fx_block_acquire(fx_block *block) {
    fx_add_relaxed(&block->references, (uint64_t)1);
}

void fx_block_release(fx_block *block) {
    /* acq_rel: whoever frees has seen every other owner's last use. */
    if (block != NULL && fx_sub_acq_rel(&block->references, (uint64_t)1) == 1) {
        fx_mem_free(block);
    }
}

size_t fx_block_footprint(size_t value_len) {
    return fx_mem_usable(sizeof(fx_block) + value_len);
}

/* Stores `size` bytes at `to`, whose words racing readers may load. Release on each word: a reader
 * that acquires one of them also sees WRITING. On x86 a release store is a plain store. */
static void store_bytes(uint8_t *to, const uint8_t *from, size_t size) {
    while (size > 0 && ((uintptr_t)to & 7) != 0) {
        fx_store_release(to, *from);
        to++, from++, size--;
    }
    for (; size >= 8; to += 8, from += 8, size -= 8) {
        fx_store_release((uint64_t *)(void *)to, fx_get_u64(from));
    }
    for (; size > 0; to++, from++, size--) {
        fx_store_release(to, *from);
    }
}

/* Eight bytes from any address, by one or two aligned atomic loads. */
static inline uint64_t load_word(const uint8_t *at) {
    const uint64_t *word = (const uint64_t *)((uintptr_t)at & ~(uintptr_t)7);
    unsigned shift = (unsigned)((uintptr_t)at & 7) * 8;
    uint64_t low = fx_load_acquire(word);
    return shift == 0 ? low : low >> shift | fx_load_acquire(word + 1) << (64 - shift);
}

/* The last 1..7 bytes: never loads a word that holds none of them. */
static inline uint64_t load_tail(const uint8_t *at, size_t size) {
    const uint64_t *word = (const uint64_t *)((uintptr_t)at & ~(uintptr_t)7);
    unsigned offset = (unsigned)((uintptr_t)at & 7);
    uint64_t value = fx_load_acquire(word) >> (offset * 8);
    if (offset + size > 8) {
        value |= fx_load_acquire(word + 1) << (64 - offset * 8);
    }
    return value;
}

static void load_bytes(uint8_t *to, const uint8_t *from, size_t size) {
    unsigned shift = (unsigned)((uintptr_t)from & 7) * 8;
    if (size >= 8 && shift != 0) {
        const uint64_t *word = (const uint64_t *)((uintptr_t)from & ~(uintptr_t)7);
        uint64_t low = fx_load_acquire(word);
        for (; size >= 8; to += 8, from += 8, size -= 8) {
            uint64_t high = fx_load_acquire(++word);
            fx_put_u64(to, low >> shift | high << (64 - shift));
            low = high;
        }
    }
    for (; size >= 8; to += 8, from += 8, size -= 8) {
        fx_put_u64(to, load_word(from));
    }
    if (size > 0) {
        uint64_t tail = load_tail(from, size);
        for (size_t i = 0; i < size; i++) {
            to[i] = (uint8_t)(tail >> (8 * i));
        }
    }
}

static bool same_bytes(const uint8_t *racing, const uint8_t *key, size_t size) {
    for (; size >= 8; racing += 8, key += 8, size -= 8) {
        if (load_word(racing) != fx_get_u64(key)) {
            return false;
        }
    }
    if (size == 0) {
        return true;
    }
    uint64_t want = 0;
    for (size_t i = 0; i < size; i++) {
        want |= (uint64_t)key[i] << (8 * i);
    }
    uint64_t mask = ((uint64_t)1 << (8 * size)) - 1;
    return ((load_tail(racing, size) ^ want) & mask) == 0;
}

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
        store_bytes(value, fields->value, (size_t)fields->value_len);
    }
}

void fx_record_fill(fx_record *record, const void *key, size_t key_len,
                    const fx_record_fields *fields) {
    uint32_t meta = fx_record_meta_of(key_len, fields);
    (void)fx_exchange_acq_rel(&record->state, (uint64_t)(FX_RECORD_WRITING | FX_RECORD_DEAD));
    store_bytes((uint8_t *)record + fx_meta_key_offset(meta), key, key_len);
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
    (void)fx_exchange_acq_rel(&record->state, record->state | FX_RECORD_WRITING);
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

/* The state once no writer is inside. */
static uint64_t settled_state(const fx_record *record) {
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
    uint64_t state = settled_state(record);
    if (!fx_state_alive(state)) {
        return FX_READ_RETRY;
    }
    uint32_t meta = fx_load_acquire(&record->meta);
    const uint8_t *start = (const uint8_t *)record;
    bool same = fx_meta_key_len(meta) == key_len &&
                same_bytes(start + fx_meta_key_offset(meta), key, key_len);
    view_out->version = fx_state_version(state);
    if (same) {
        view_out->timestamp = fx_load_acquire(&record->timestamp);
        view_out->expiry_ns = (meta & FX_RECORD_TTL) != 0
                                  ? fx_load_acquire((const uint64_t *)(const void *)start + 3)
                                  : 0;
        view_out->in_block = (meta & FX_RECORD_BLOCK) != 0;
        const uint8_t *value = start + fx_meta_value_offset(meta);
        if (view_out->in_block) {
            view_out->value_len = fx_load_acquire((const uint64_t *)(const void *)value);
            view_out->block =
                (fx_block *)(uintptr_t)fx_load_acquire((const uint64_t *)(const void *)value + 1);
        } else {
            view_out->value_len = fx_meta_inline_len(meta);
            view_out->block = NULL;
            size_t take = view_out->value_len < capacity ? (size_t)view_out->value_len : capacity;
            load_bytes(buffer, value, take);
        }
        /* Behind the block pointer: see above. */
        view_out->location =
            persistent ? fx_load_acquire((const uint64_t *)(const void *)start - 1) : 0;
    }
    if (fx_load_acquire(&record->state) != state) {
        return FX_READ_RETRY;
    }
    return same ? FX_READ_OK : FX_READ_OTHER_KEY;
}
