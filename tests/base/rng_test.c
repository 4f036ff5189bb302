/* rng: SplitMix64's published values, so that a seed means the same run everywhere and for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

static void test_known_values(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 1234567);
    assert_int_equal(fx_rng_next(&rng), 6457827717110365317u);
    assert_int_equal(fx_rng_next(&rng), 3203168211198807973u);
    assert_int_equal(fx_rng_next(&rng), 9817491932198370423u);
    fx_rng_init(&rng, 0);
    assert_int_equal(fx_rng_next(&rng), 0xE220A8397B1DCDAF);
}

static void test_below(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 5);
    unsigned counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t n = fx_rng_below(&rng, 10);
        assert_true(n < 10);
        counts[n]++;
        assert_int_equal(fx_rng_below(&rng, 1), 0);
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(counts[i], 9400, 10600); /* 6 standard deviations */
    }
}

static void test_random_bytes(void **state) {
    (void)state;
    static uint8_t a[100000]; /* more than the system gives in one go */
    static uint8_t b[100000];
    assert_true(fx_random_bytes(a, sizeof a));
    assert_true(fx_random_bytes(b, sizeof b));
    assert_true(fx_random_bytes(NULL, 0));
    unsigned counts[256] = {0};
    for (size_t i = 0; i < sizeof a; i++) {
        counts[a[i]]++;
    }
    for (int i = 0; i < 256; i++) {
        assert_in_range(counts[i], 230, 550); /* 390 +- 8 * 20 */
    }
    assert_memory_not_equal(a, b, 16);
    assert_memory_not_equal(a + sizeof a - 16, b + sizeof b - 16, 16);
}

/* Does not write past what was asked for. */
static void test_random_bytes_stay_inside(void **state) {
    (void)state;
    uint8_t bytes[64];
    for (int i = 0; i < 100; i++) {
        memset(bytes, 0, sizeof bytes);
        assert_true(fx_random_bytes(bytes + 8, 40));
        for (size_t j = 0; j < sizeof bytes; j++) {
            assert_true((j >= 8 && j < 48) || bytes[j] == 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_random_bytes_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
