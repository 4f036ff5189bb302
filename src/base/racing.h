/* racing: bytes that another thread may be changing, as the readers of a seqlock copy them (Boehm,
 * MSPC 2012). What is read means nothing until something else says that it did not change.
 *
 * Each byte is loaded with acquire and stored with release. On x86-64 plain accesses of any width
 * are just that, so they are left to memcpy, between barriers that only the compiler sees; where a
 * checker watches (ThreadSanitizer, tests/sim), and on every other processor, each word is an
 * atomic. There the loads are of aligned words that hold a wanted byte: up to 7 bytes on either
 * side are touched, always inside the 8-aligned slot. Any thread.
 */
#ifndef FX_BASE_RACING_H
#define FX_BASE_RACING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/bytes.h"

#ifdef FX_PLAIN_IS_ORDERED

static inline void fx_racing_load(void *to, const void *from, size_t size) {
    fx_compiler_barrier();
    fx_copy(to, from, size);
    fx_compiler_barrier();
}

static inline void fx_racing_store(void *to, const void *from, size_t size) {
    fx_compiler_barrier();
    fx_copy(to, from, size);
    fx_compiler_barrier();
}

static inline bool fx_racing_equal(const uint8_t *racing, const uint8_t *bytes, size_t size) {
    uint64_t differs = 0;
    fx_compiler_barrier();
    if (FX_LIKELY(size >= 8)) {
        for (size_t at = 0; at + 8 < size; at += 8) {
            differs |= fx_get_u64(racing + at) ^ fx_get_u64(bytes + at);
        }
        differs |= fx_get_u64(racing + size - 8) ^ fx_get_u64(bytes + size - 8);
    } else {
        for (size_t at = 0; at < size; at++) {
            differs |= (uint64_t)(racing[at] ^ bytes[at]);
        }
    }
    fx_compiler_barrier();
    return differs == 0;
}

#else

/* Eight bytes from any address, by one or two aligned atomic loads. */
static inline uint64_t fx_racing_word(const uint8_t *at) {
    const uint64_t *word = (const uint64_t *)((uintptr_t)at & ~(uintptr_t)7);
    unsigned shift = (unsigned)((uintptr_t)at & 7) * 8;
    uint64_t low = fx_load_acquire(word);
    return shift == 0 ? low : low >> shift | fx_load_acquire(word + 1) << (64 - shift);
}

/* The last 1..7 bytes: never loads a word that holds none of them. */
static inline uint64_t fx_racing_tail(const uint8_t *at, size_t size) {
    const uint64_t *word = (const uint64_t *)((uintptr_t)at & ~(uintptr_t)7);
    unsigned offset = (unsigned)((uintptr_t)at & 7);
    uint64_t value = fx_load_acquire(word) >> (offset * 8);
    if (offset + size > 8) {
        value |= fx_load_acquire(word + 1) << (64 - offset * 8);
    }
    return value;
}

static inline void fx_racing_load(void *to_any, const void *from_any, size_t size) {
    uint8_t *to = to_any;
    const uint8_t *from = from_any;
    for (; size >= 8; to += 8, from += 8, size -= 8) {
        fx_put_u64(to, fx_racing_word(from));
    }
    if (size > 0) {
        uint64_t tail = fx_racing_tail(from, size);
        for (size_t i = 0; i < size; i++) {
            to[i] = (uint8_t)(tail >> (8 * i));
        }
    }
}

static inline void fx_racing_store(void *to_any, const void *from_any, size_t size) {
    uint8_t *to = to_any;
    const uint8_t *from = from_any;
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

static inline bool fx_racing_equal(const uint8_t *racing, const uint8_t *bytes, size_t size) {
    for (; size >= 8; racing += 8, bytes += 8, size -= 8) {
        if (fx_racing_word(racing) != fx_get_u64(bytes)) {
            return false;
        }
    }
    if (size == 0) {
        return true;
    }
    uint64_t want = 0;
    for (size_t i = 0; i < size; i++) {
        want |= (uint64_t)bytes[i] << (8 * i);
    }
    uint64_t mask = ((uint64_t)1 << (8 * size)) - 1;
    return ((fx_racing_tail(racing, size) ^ want) & mask) == 0;
}

#endif

#endif
