/* limbo: things come back in the order in which they were added, none before its stamp is safe and
 * none more than is asked for; growing keeps them, and what is refused changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/limbo.h"

static void in_order(void **state) {
    fx_limbo limbo = {0};
    (void)state;
    assert_true(fx_limbo_grow(&limbo, 100));
    assert_true(limbo.capacity >= 100);
    for (uint64_t i = 0; i < 100; i++) {
        fx_block *block = fx_block_create(NULL, &i, sizeof i);
        assert_non_null(block);
        fx_limbo_add_block(&limbo, block, i);
    }
    fx_limbo_reclaim(&limbo, NULL, false, 50, 7);
    assert_int_equal(limbo.count, 93); /* no more than that */
    fx_limbo_reclaim(&limbo, NULL, false, 50, 1000);
    assert_int_equal(limbo.count, 50); /* the others are looked at */
    fx_mem_fail_after(1, false);
    assert_false(fx_limbo_grow(&limbo, 1000));
    assert_int_equal(limbo.count, 50);
    assert_true(fx_limbo_grow(&limbo, 1000));
    assert_true(limbo.capacity >= 1050);
    fx_limbo_trim(&limbo);
    for (uint64_t safe = 51; safe <= 100; safe++) {
        fx_limbo_reclaim(&limbo, NULL, false, safe, SIZE_MAX);
        assert_int_equal(limbo.count, 100 - safe);
    }
    fx_limbo_trim(&limbo);
    assert_int_equal(limbo.capacity, 0);
    /* What is left when the store goes is freed with it. */
    assert_true(fx_limbo_grow(&limbo, 1));
    fx_limbo_add_block(&limbo, fx_block_create(NULL, "x", 1), 1);
    fx_limbo_deinit(&limbo, NULL);
    assert_int_equal(limbo.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_order)};
    return cmocka_run_group_tests_name("engine/limbo", tests, NULL, NULL);
}
