/* hash: against a SipHash written here a second time, straight from the paper (section 2), which is
 * itself held against the paper's own SipHash-2-4 vector and against what CPython 3.11 computes.
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
    const fx_hash_key counting = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    assert_int_equal(fx_hash(&counting, "", 0), 0xabac0158050fc4dc);
    assert_int_equal(fx_hash(&counting, NULL, 0), 0xabac0158050fc4dc);
    /* hash(b"...") of CPython 3.11 with PYTHONHASHSEED=0. */
    const fx_hash_key zero = {0, 0};
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
            fx_hash_key key = {fx_rng_next(&rng), fx_rng_next(&rng)};
            assert_int_equal(fx_hash(&key, bytes + shift, size),
                             reference(1, 3, key.k0, key.k1, bytes + shift, size));
        }
    }
}

/* Each flipped bit of message or key flips each bit of the hash about half of the time. */
static void test_avalanche(void **state) {
    (void)state;
    enum { SAMPLES = 2000, BITS = 64 + 128 };
    static unsigned flips[BITS][64];
    fx_rng rng;
    fx_rng_init(&rng, 7);
    for (int sample = 0; sample < SAMPLES; sample++) {
        uint64_t in[3] = {fx_rng_next(&rng), fx_rng_next(&rng), fx_rng_next(&rng)};
        uint64_t before = fx_hash(&(fx_hash_key){in[1], in[2]}, &in[0], 8);
        for (size_t bit = 0; bit < BITS; bit++) {
            in[bit / 64] ^= (uint64_t)1 << bit % 64;
            uint64_t after = fx_hash(&(fx_hash_key){in[1], in[2]}, &in[0], 8) ^ before;
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
    const fx_hash_key key = {1, 2};
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_siphash),
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_all_lengths_and_alignments),
        cmocka_unit_test(test_avalanche),
        cmocka_unit_test(test_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
