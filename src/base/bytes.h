/* bytes: unaligned little-endian integers, rounding, comparing keys. Pure; any thread. */
#ifndef FX_BASE_BYTES_H
#define FX_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libfeox is written for little-endian machines"
#endif

static inline uint16_t fx_get_u16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t fx_get_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t fx_get_u64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void fx_put_u16(void *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}

static inline void fx_put_u32(void *p, uint32_t v) {
    memcpy(p, &v, sizeof v);
}

static inline void fx_put_u64(void *p, uint64_t v) {
    memcpy(p, &v, sizeof v);
}

/* To the next multiple of a power of two. */
static inline uint64_t fx_round_up(uint64_t n, uint64_t power) {
    return (n + power - 1) & ~(power - 1);
}

/* Copies; length 0 is legal with NULL pointers. */
static inline void fx_copy(void *to, const void *from, size_t size) {
    if (size > 0) {
        memcpy(to, from, size);
    }
}

/* The order of keys: below, equal, above zero. */
static inline int fx_key_compare(const void *a, size_t a_len, const void *b, size_t b_len) {
    size_t common = a_len < b_len ? a_len : b_len;
    int order = common > 0 ? memcmp(a, b, common) : 0;
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* The first four bytes of a key as a number that sorts like them; shorter keys are padded by 0. */
static inline uint32_t fx_key_head(const uint8_t *key, size_t key_len) {
    uint8_t head[4] = {0, 0, 0, 0};
    fx_copy(head, key, key_len < 4 ? key_len : 4);
    return (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
}

#endif
