/* bytes: the order of keys is that of the strings of unsigned bytes, and heads sort like keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/rng.h"

static void test_integers_at_any_address(void **state) {
    (void)state;
    uint8_t bytes[24];
    for (size_t shift = 0; shift < 8; shift++) {
        memset(bytes, 0, sizeof bytes);
        fx_put_u64(bytes + shift, 0x0102030405060708);
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(bytes[shift + i], 8 - i); /* little-endian */
        }
        assert_int_equal(bytes[shift + 8], 0);
        assert_int_equal(fx_get_u64(bytes + shift), 0x0102030405060708);
        assert_int_equal(fx_get_u32(bytes + shift), 0x05060708);
        assert_int_equal(fx_get_u16(bytes + shift), 0x0708);
        fx_put_u32(bytes + shift, 0xfffefdfc);
        assert_int_equal(fx_get_u64(bytes + shift), 0x01020304fffefdfc);
        fx_put_u16(bytes + shift, 0xabcd);
        assert_int_equal(fx_get_u64(bytes + shift), 0x01020304fffeabcd);
    }
}

static void test_round_up(void **state) {
    (void)state;
    for (uint64_t power = 1; power <= 4096; power *= 2) {
        for (uint64_t n = 0; n < 10000; n += 7) {
            uint64_t up = fx_round_up(n, power);
            assert_true(up >= n && up - n < power && up % power == 0);
        }
    }
    assert_int_equal(fx_round_up(((uint64_t)1 << 62) + 1, 4096), ((uint64_t)1 << 62) + 4096);
}

static void test_copy_of_nothing(void **state) {
    (void)state;
    fx_copy(NULL, NULL, 0);
    char to[4] = "abc";
    fx_copy(to, "xy", 2);
    assert_string_equal(to, "xyc");
}

static int sign(int n) {
    return (n > 0) - (n < 0);
}

static void assert_order(const char *a, size_t a_len, const char *b, size_t b_len, int want) {
    assert_int_equal(sign(fx_key_compare(a, a_len, b, b_len)), want);
    assert_int_equal(sign(fx_key_compare(b, b_len, a, a_len)), -want);
}

static void test_key_order(void **state) {
    (void)state;
    assert_order("a", 1, "a", 1, 0);
    assert_order("a", 1, "b", 1, -1);
    assert_order("a", 1, "ab", 2, -1); /* a prefix comes first */
    assert_order("b", 1, "ab", 2, 1);
    assert_order("\x7f", 1, "\x80", 1, -1); /* bytes are unsigned */
    assert_order("a\0", 2, "a", 1, 1);      /* and a zero is one */
    assert_order("a\0b", 3, "a\0c", 3, -1);
    assert_order("", 0, "\0", 1, -1);
    assert_order(NULL, 0, "a", 1, -1); /* the open end of a range */
    assert_order(NULL, 0, NULL, 0, 0);
}

/* The definition, byte by byte. */
static int naive_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    for (size_t i = 0;; i++) {
        if (i == a_len || i == b_len) {
            return a_len == b_len ? 0 : i == a_len ? -1 : 1;
        }
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
}

static void test_random_order_and_heads(void **state) {
    (void)state;
    static const uint8_t alphabet[] = {0, 1, 0x7f, 0x80, 0xff};
    fx_rng rng;
    fx_rng_init(&rng, 3);
    for (int i = 0; i < 200000; i++) {
        uint8_t keys[2][8];
        size_t lens[2];
        for (size_t k = 0; k < 2; k++) {
            lens[k] = (size_t)fx_rng_below(&rng, 8);
            for (size_t j = 0; j < lens[k]; j++) {
                keys[k][j] = alphabet[fx_rng_below(&rng, sizeof alphabet)];
            }
        }
        int order = sign(fx_key_compare(keys[0], lens[0], keys[1], lens[1]));
        assert_int_equal(order, naive_compare(keys[0], lens[0], keys[1], lens[1]));
        uint32_t a = fx_key_head(keys[0], lens[0]);
        uint32_t b = fx_key_head(keys[1], lens[1]);
        if (a != b) { /* different heads decide; equal ones say nothing */
            assert_int_equal(order, a < b ? -1 : 1);
        }
    }
}

static void test_head(void **state) {
    (void)state;
    assert_int_equal(fx_key_head(NULL, 0), 0);
    assert_int_equal(fx_key_head((const uint8_t *)"\xff", 1), 0xff000000);
    assert_int_equal(fx_key_head((const uint8_t *)"abc", 3), 0x61626300);
    assert_int_equal(fx_key_head((const uint8_t *)"abcde", 5), 0x61626364);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_at_any_address), cmocka_unit_test(test_round_up),
        cmocka_unit_test(test_copy_of_nothing),         cmocka_unit_test(test_key_order),
        cmocka_unit_test(test_random_order_and_heads),  cmocka_unit_test(test_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
