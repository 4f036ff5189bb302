/* hash: against a SipHash written here a second time, straight from the paper (section 2), which is
 * itself held against the paper's own SipHash-2-4 vector and against what CPython 3.11 computes;
 * and against AES rounds written out in bytes (FIPS 197, section 5.1), held against its appendix B.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"

typedef struct sip {
    uint64_t v0, v1, v2, v3;
} sip;

static uint64_t left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

static void sip_rounds(sip *s, int count) {
    while (count-- > 0) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = left(s->v1, 13);
        s->v3 = left(s->v3, 16);
        s->v1 ^= s->v0;
        s->v3 ^= s->v2;
        s->v0 = left(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = left(s->v1, 17);
        s->v3 = left(s->v3, 21);
        s->v1 ^= s->v2;
        s->v3 ^= s->v0;
        s->v2 = left(s->v2, 32);
    }
}

/* The message byte by byte, padded by zeros and its length modulo 256. */
static uint64_t reference(int c, int d, uint64_t k0, uint64_t k1, const uint8_t *data,
                          size_t size) {
    static const char name[] = "somepseudorandomlygeneratedbytes";
    uint64_t start[4] = {0, 0, 0, 0};
    for (int i = 0; i < 32; i++) {
        start[i / 8] = start[i / 8] << 8 | (uint8_t)name[i];
    }
    sip s = {k0 ^ start[0], k1 ^ start[1], k0 ^ start[2], k1 ^ start[3]};
    size_t words = size / 8 + 1;
    for (size_t w = 0; w < words; w++) {
        uint64_t m = 0;
        for (size_t i = 8; i-- > 0;) {
            size_t at = w * 8 + i;
            uint8_t byte = at < size ? data[at] : 0;
            if (at == words * 8 - 1) {
                byte = (uint8_t)size;
            }
            m = m << 8 | byte;
        }
        s.v3 ^= m;
        sip_rounds(&s, c);
        s.v0 ^= m;
    }
    s.v2 ^= 0xff;
    sip_rounds(&s, d);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static void test_reference_is_siphash(void **state) {
    (void)state;
    uint8_t message[15];
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)i;
    }
    /* Aumasson, Bernstein 2012, appendix A: key 00..0f, message 00..0e. */
    assert_int_equal(reference(2, 4, 0x0706050403020100, 0x0f0e0d0c0b0a0908, message, 15),
                     0xa129ca6149be45e5);
}

static void test_known_values(void **state) {
    (void)state;
    const fx_hash_key counting = {.k0 = 0x0706050403020100, .k1 = 0x0f0e0d0c0b0a0908};
    assert_int_equal(fx_hash(&counting, "", 0), 0xabac0158050fc4dc);
    assert_int_equal(fx_hash(&counting, NULL, 0), 0xabac0158050fc4dc);
    /* hash(b"...") of CPython 3.11 with PYTHONHASHSEED=0. */
    const fx_hash_key zero = {.k0 = 0};
    assert_int_equal(fx_hash(&zero, "a", 1), 0x407448d2b89b1813);
    assert_int_equal(fx_hash(&zero, "abcdefg", 7), 0x6db12aae9070f506);
    assert_int_equal(fx_hash(&zero, "abcdefgh", 8), 0x3f7b849c0b8e35ea);
    assert_int_equal(fx_hash(&zero, "the quick brown fox", 19), 0x5a17575ad3449cba);
}

static void test_all_lengths_and_alignments(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 1);
    uint8_t bytes[320];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)fx_rng_next(&rng);
    }
    for (size_t size = 0; size <= 300; size++) {
        for (size_t shift = 0; shift < 8; shift++) {
            fx_hash_key key = {.k0 = fx_rng_next(&rng), .k1 = fx_rng_next(&rng)};
            assert_int_equal(fx_hash(&key, bytes + shift, size),
                             reference(1, 3, key.k0, key.k1, bytes + shift, size));
        }
    }
}

/* ---- AES ---- */

static uint8_t times(uint8_t a, uint8_t b) {
    uint8_t product = 0;
    for (int i = 0; i < 8; i++) {
        product ^= (b >> i & 1) != 0 ? a : 0;
        a = (uint8_t)(a << 1 ^ ((a & 0x80) != 0 ? 0x1b : 0));
    }
    return product;
}

static uint8_t substitute(uint8_t a) {
    uint8_t inverse = 1;
    for (int i = 0; i < 254; i++) {
        inverse = times(inverse, a);
    }
    uint8_t out = 0x63;
    for (int i = 0; i < 5; i++) {
        out ^= (uint8_t)(inverse << i | inverse >> (8 - i));
    }
    return out;
}

/* One round: SubBytes, ShiftRows, MixColumns, AddRoundKey. */
static void aes_round(uint8_t state[16], const uint8_t key[16]) {
    static const uint8_t mix[4] = {2, 3, 1, 1};
    uint8_t out[16];
    for (int column = 0; column < 4; column++) {
        for (int row = 0; row < 4; row++) {
            uint8_t sum = key[column * 4 + row];
            for (int k = 0; k < 4; k++) {
                sum ^= times(substitute(state[(column + k) % 4 * 4 + k]), mix[(k - row + 4) % 4]);
            }
            out[column * 4 + row] = sum;
        }
    }
    memcpy(state, out, 16);
}

static void test_round_is_aes(void **state_) {
    (void)state_;
    uint8_t state[16] = {0x19, 0x3d, 0xe3, 0xbe, 0xa0, 0xf4, 0xe2, 0x2b,
                         0x9a, 0xc6, 0x8d, 0x2a, 0xe9, 0xf8, 0x48, 0x08};
    const uint8_t key[16] = {0xa0, 0xfa, 0xfe, 0x17, 0x88, 0x54, 0x2c, 0xb1,
                             0x23, 0xa3, 0x39, 0x39, 0x2a, 0x6c, 0x76, 0x05};
    const uint8_t next[16] = {0xa4, 0x9c, 0x7f, 0xf2, 0x68, 0x9f, 0x35, 0x2b,
                              0x6b, 0x5b, 0xea, 0x43, 0x02, 0x6a, 0x50, 0x49};
    aes_round(state, key);
    assert_memory_equal(state, next, 16);
}

static uint64_t aes_reference(const fx_hash_key *key, const uint8_t *data, size_t size) {
    const uint8_t *rounds = (const uint8_t *)key->rounds;
    uint8_t state[16];
    uint64_t hash;
    memcpy(state, rounds, 16);
    for (size_t i = 0; i < 8; i++) {
        state[i] ^= (uint8_t)((uint64_t)size >> 8 * i);
    }
    aes_round(state, rounds + 32);
    aes_round(state, rounds + 48);
    for (size_t at = 0;; at += 16) {
        size_t left = size - at;
        uint8_t block[16] = {0};
        if (left >= 16) {
            memcpy(block, data + at, 16);
        } else if (left >= 8) {
            memcpy(block, data + at, 8);
            memcpy(block + 8, data + size - 8, 8);
        } else if (left >= 4) {
            memcpy(block, data + at, 4);
            memcpy(block + 8, data + size - 4, 4);
        } else if (left > 0) {
            block[0] = data[at];
            block[1] = data[at + left / 2];
            block[8] = data[size - 1];
        }
        for (int i = 0; i < 16; i++) {
            state[i] ^= block[i];
        }
        for (size_t round = 1; round <= 3; round++) {
            aes_round(state, rounds + 16 * round);
        }
        if (left <= 16) {
            memcpy(&hash, state, sizeof hash);
            return hash;
        }
    }
}

static fx_hash_key aes_key(fx_rng *rng) {
    fx_hash_key key = {.aes = true};
    for (size_t i = 0; i < 8; i++) {
        key.rounds[i] = fx_rng_next(rng);
    }
    return key;
}

static void need_aes(void) {
    if (!fx_hash_has_aes()) {
        print_message("skipped: this processor has no AES instructions\n");
        skip();
    }
}

static void test_aes(void **state) {
    (void)state;
    need_aes();
    fx_rng rng;
    fx_rng_init(&rng, 3);
    uint8_t bytes[128];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)fx_rng_next(&rng);
    }
    for (size_t size = 0; size <= 100; size++) {
        fx_hash_key key = aes_key(&rng);
        assert_int_equal(fx_hash(&key, bytes + size % 8, size),
                         aes_reference(&key, bytes + size % 8, size));
    }
    fx_hash_key key = aes_key(&rng);
    assert_int_equal(fx_hash(&key, NULL, 0), aes_reference(&key, bytes, 0));
}

/* Keys of 15 and 16 bytes that would begin alike if the length were only added to the bytes. */
static void test_aes_lengths(void **state) {
    (void)state;
    need_aes();
    fx_rng rng;
    fx_rng_init(&rng, 4);
    for (int i = 0; i < 1000; i++) {
        fx_hash_key key = aes_key(&rng);
        uint8_t shorter[16];
        uint8_t longer[16];
        fx_put_u64(shorter, fx_rng_next(&rng));
        fx_put_u64(shorter + 7, fx_rng_next(&rng));
        memcpy(longer, shorter, 8);
        memcpy(longer + 8, shorter + 7, 8);
        longer[0] ^= 15 ^ 16;
        assert_int_not_equal(fx_hash(&key, shorter, 15), fx_hash(&key, longer, 16));
    }
}

/* Each flipped bit of a message of 16 bytes or of a key flips each bit of the hash about half of
 * the time. */
static void test_aes_avalanche(void **state) {
    (void)state;
    need_aes();
    enum { SAMPLES = 1000, BITS = 128 + 512 };
    static unsigned flips[BITS][64];
    fx_rng rng;
    fx_rng_init(&rng, 8);
    for (int sample = 0; sample < SAMPLES; sample++) {
        fx_hash_key key = aes_key(&rng);
        uint64_t message[2] = {fx_rng_next(&rng), fx_rng_next(&rng)};
        uint64_t before = fx_hash(&key, message, 16);
        for (size_t bit = 0; bit < BITS; bit++) {
            uint64_t *word = bit < 128 ? &message[bit / 64] : &key.rounds[bit / 64 - 2];
            *word ^= (uint64_t)1 << bit % 64;
            uint64_t after = fx_hash(&key, message, 16) ^ before;
            *word ^= (uint64_t)1 << bit % 64;
            for (size_t out = 0; out < 64; out++) {
                flips[bit][out] += (unsigned)(after >> out & 1);
            }
        }
    }
    /* The last round's key is only added at the end, and the one before only mixed there; they are
     * also behind the length, which is why even they flip more than one bit. */
    for (size_t bit = 0; bit < BITS; bit++) {
        for (size_t out = 0; out < 64; out++) {
            /* 7 standard deviations of a fair coin: 500 +- 111. */
            assert_in_range(flips[bit][out], 389, 611);
        }
    }
}

/* ---- Both ---- */

/* Each flipped bit of message or key flips each bit of the hash about half of the time. */
static void test_avalanche(void **state) {
    (void)state;
    enum { SAMPLES = 2000, BITS = 64 + 128 };
    static unsigned flips[BITS][64];
    fx_rng rng;
    fx_rng_init(&rng, 7);
    for (int sample = 0; sample < SAMPLES; sample++) {
        uint64_t in[3] = {fx_rng_next(&rng), fx_rng_next(&rng), fx_rng_next(&rng)};
        uint64_t before = fx_hash(&(fx_hash_key){.k0 = in[1], .k1 = in[2]}, &in[0], 8);
        for (size_t bit = 0; bit < BITS; bit++) {
            in[bit / 64] ^= (uint64_t)1 << bit % 64;
            uint64_t after = fx_hash(&(fx_hash_key){.k0 = in[1], .k1 = in[2]}, &in[0], 8) ^ before;
            in[bit / 64] ^= (uint64_t)1 << bit % 64;
            for (size_t out = 0; out < 64; out++) {
                flips[bit][out] += (unsigned)(after >> out & 1);
            }
        }
    }
    for (size_t bit = 0; bit < BITS; bit++) {
        for (size_t out = 0; out < 64; out++) {
            /* 7 standard deviations of a fair coin: 1000 +- 157. */
            assert_in_range(flips[bit][out], 843, 1157);
        }
    }
}

/* Consecutive keys, as counters are: the low bits choose buckets. */
static void test_distribution(void **state) {
    (void)state;
    enum { BUCKETS = 256, KEYS = 256 * 400 };
    static unsigned low[BUCKETS];
    static unsigned high[BUCKETS];
    fx_rng rng;
    fx_rng_init(&rng, 5);
    for (int aes = 0; aes <= (fx_hash_has_aes() ? 1 : 0); aes++) {
        const fx_hash_key key = aes ? aes_key(&rng) : (fx_hash_key){.k0 = 1, .k1 = 2};
        memset(low, 0, sizeof low);
        memset(high, 0, sizeof high);
        for (uint32_t i = 0; i < KEYS; i++) {
            uint64_t hash = fx_hash(&key, &i, sizeof i);
            low[hash % BUCKETS]++;
            high[hash >> 56]++;
        }
        for (size_t i = 0; i < BUCKETS; i++) {
            assert_in_range(low[i], 280, 520); /* 400 +- 6 * 20 */
            assert_in_range(high[i], 280, 520);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_siphash),
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_all_lengths_and_alignments),
        cmocka_unit_test(test_round_is_aes),
        cmocka_unit_test(test_aes),
        cmocka_unit_test(test_aes_lengths),
        cmocka_unit_test(test_aes_avalanche),
        cmocka_unit_test(test_avalanche),
        cmocka_unit_test(test_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
