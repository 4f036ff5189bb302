/* hash: why three rounds. Two let each bit of the input reach each bit of the result; a third puts
 * a keyed round behind that, so that a difference between two inputs meets two unknown keys before
 * it could be aimed at one bucket. Inputs of one length differ in the bytes that are loaded. Those
 * of different lengths begin differently, and behind two rounds nobody knows by how much: else a
 * difference of the bytes could make up for it.
 */
#include "base/hash.h"

#include <string.h>

#include "base/rng.h"

static uint64_t rotate(uint64_t x, unsigned n) {
    return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

uint64_t fx_hash_sip(const fx_hash_key *key, const void *data, size_t size) {
    const uint8_t *at = data;
    uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du,
                     key->k0 ^ 0x6c7967656e657261u, key->k1 ^ 0x7465646279746573u};
    size_t left = size;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word = fx_get_u64(at);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)at[i] << (8 * i);
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <wmmintrin.h>

bool fx_hash_has_aes(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_AES) != 0;
}

/* Up to 16 bytes; of more than 8 or 4 the halves overlap. */
static inline __m128i load_short(const uint8_t *at, size_t size) {
    uint64_t low = 0;
    uint64_t high = 0;
    if (size >= 8) {
        low = fx_get_u64(at);
        high = fx_get_u64(at + size - 8);
    } else if (size >= 4) {
        low = fx_get_u32(at);
        high = fx_get_u32(at + size - 4);
    } else if (size > 0) {
        low = (uint64_t)at[0] | (uint64_t)at[size / 2] << 8;
        high = at[size - 1];
    }
    return _mm_set_epi64x((long long)high, (long long)low);
}

__attribute__((target("aes"))) uint64_t fx_hash_aes(const fx_hash_key *key, const void *data,
                                                    size_t size) {
    const uint8_t *at = data;
    const __m128i *rounds = (const __m128i *)(const void *)key->rounds;
    __m128i first = _mm_loadu_si128(rounds + 1);
    __m128i second = _mm_loadu_si128(rounds + 2);
    __m128i third = _mm_loadu_si128(rounds + 3);
    __m128i state = _mm_xor_si128(_mm_loadu_si128(rounds), _mm_set_epi64x(0, (long long)size));
    state = _mm_aesenc_si128(_mm_aesenc_si128(state, second), third);
    size_t left = size;
    for (; FX_UNLIKELY(left > 16); left -= 16, at += 16) {
        state = _mm_xor_si128(state, _mm_loadu_si128((const __m128i *)(const void *)at));
        state = _mm_aesenc_si128(state, first);
        state = _mm_aesenc_si128(state, second);
        state = _mm_aesenc_si128(state, third);
    }
    state = _mm_xor_si128(state, load_short(at, left));
    state = _mm_aesenc_si128(state, first);
    state = _mm_aesenc_si128(state, second);
    state = _mm_aesenc_si128(state, third);
    return (uint64_t)_mm_cvtsi128_si64(state);
}

#else

bool fx_hash_has_aes(void) {
    return false;
}

uint64_t fx_hash_aes(const fx_hash_key *key, const void *data, size_t size) {
    return fx_hash_sip(key, data, size);
}

#endif

bool fx_hash_key_init(fx_hash_key *key) {
    memset(key, 0, sizeof *key);
    if (!fx_random_bytes(key, sizeof *key)) {
        return false;
    }
    key->aes = fx_hash_has_aes();
    return true;
}
