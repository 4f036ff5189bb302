/* hash: the keyed hash of the index: whoever does not know the key cannot choose colliding keys,
 * which a seeded XXH3 does not promise. Never leaves the process. Pure; any thread.
 *
 * Where the processor has AES instructions, three rounds of AES with secret keys for each 16 bytes
 * (as the tables of Go's runtime): ~4 ns for 16 bytes. Elsewhere SipHash-1-3 (Aumasson, Bernstein
 * 2012; the reduced rounds are those of Rust's and Python's tables): ~12 ns.
 */
#ifndef FX_BASE_HASH_H
#define FX_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytes.h"

typedef struct fx_hash_key {
    uint64_t k0;
    uint64_t k1;
    uint64_t rounds[8]; /* whitening, and the keys of three rounds */
    bool aes;           /* use them */
} fx_hash_key;

/* A key of random bytes, and the better hash of this processor. False: the system has none. */
bool fx_hash_key_init(fx_hash_key *key);
/* Where key->aes may be set. */
bool fx_hash_has_aes(void);
uint64_t fx_hash_aes(const fx_hash_key *key, const void *data, size_t size);

static inline uint64_t fx_hash_rotate(uint64_t x, unsigned n) {
    return x << n | x >> (64 - n);
}

static inline void fx_hash_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = fx_hash_rotate(v[1], 13) ^ v[0];
    v[0] = fx_hash_rotate(v[0], 32);
    v[2] += v[3];
    v[3] = fx_hash_rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = fx_hash_rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = fx_hash_rotate(v[1], 17) ^ v[2];
    v[2] = fx_hash_rotate(v[2], 32);
}

static inline uint64_t fx_hash_sip(const fx_hash_key *key, const void *data, size_t size) {
    const uint8_t *at = data;
    uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du,
                     key->k0 ^ 0x6c7967656e657261u, key->k1 ^ 0x7465646279746573u};
    size_t left = size;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word = fx_get_u64(at);
        v[3] ^= word;
        fx_hash_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)at[i] << (8 * i);
    }
    v[3] ^= last;
    fx_hash_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    fx_hash_round(v);
    fx_hash_round(v);
    fx_hash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline uint64_t fx_hash(const fx_hash_key *key, const void *data, size_t size) {
    return FX_LIKELY(key->aes) ? fx_hash_aes(key, data, size) : fx_hash_sip(key, data, size);
}

#endif
