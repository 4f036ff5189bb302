/* checksum: in pieces as in one; the seed and every bit count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/rng.h"

static void test_pieces(void **state) {
    (void)state;
    static uint8_t bytes[20000];
    fx_rng rng;
    fx_rng_init(&rng, 5);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)fx_rng_next(&rng);
    }
    for (unsigned round = 0; round < 300; round++) {
        size_t size = (size_t)fx_rng_below(&rng, round < 100 ? 300 : sizeof bytes);
        uint64_t seed = fx_rng_next(&rng);
        fx_checksum_stream stream;
        fx_checksum_begin(&stream, seed);
        for (size_t at = 0; at < size;) {
            size_t piece = (size_t)fx_rng_below(&rng, size - at + 1);
            fx_checksum_add(&stream, bytes + at, piece);
            at += piece;
        }
        assert_true(fx_checksum_end(&stream) == fx_checksum(bytes, size, seed));
        assert_true(fx_checksum_end(&stream) != fx_checksum(bytes, size, seed + 1));
    }
}

static void test_bits(void **state) {
    (void)state;
    uint8_t bytes[100] = {0};
    uint64_t sum = fx_checksum(bytes, sizeof bytes, 3);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(fx_checksum(bytes, sizeof bytes, 3) != sum);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
