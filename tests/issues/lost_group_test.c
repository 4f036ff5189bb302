/* Issue: a damaged group of the journal showed its keys as they were before, deleted ones too; and
 * the damage of an entry that was the last one was not told of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/hostile.h"

/* The entry of the n-th group in the ring. */
static uint8_t *entry_of(hostile *h, uint64_t n) {
    return h->bytes + (h->root.journal.block + h->root.journal_head + n) * FX_BLOCK_SIZE;
}

/* hostile_run fails the test if an older value comes. */
static void test_lost_in_the_middle(void **state) {
    (void)state;
    hostile *h = hostile_make(true, 16);
    hostile_outcome out;
    memset(entry_of(h, 1), 0, FX_BLOCK_SIZE); /* deletes four keys */
    hostile_run(h->bytes, h->size, h, HOSTILE_WRITE | HOSTILE_RESCUE, &out);
    assert_int_equal(out.read, FEOX_OK);
    assert_int_equal(out.write, FEOX_ERR_CORRUPT);
    assert_int_equal(out.rescue, FEOX_OK);
    assert_true(out.absent > 0 && out.corrupt > 0 && out.problems > 0 && !out.prefix);
    hostile_free(h);
}

/* Two bytes of the last entry's header: it was there, so this is no torn write. */
static void test_last_entry(void **state) {
    (void)state;
    hostile *h = hostile_make(true, 16);
    hostile_outcome out;
    entry_of(h, 3)[75] ^= 0x81;
    hostile_run(h->bytes, h->size, h, HOSTILE_WRITE, &out);
    assert_int_equal(out.read, FEOX_OK);
    assert_int_equal(out.write, FEOX_ERR_CORRUPT);
    assert_true(out.corrupt > 0 && out.problems > 0 && !out.prefix);
    hostile_free(h);
}

/* One bit anywhere in it is put right. */
static void test_one_bit(void **state) {
    (void)state;
    hostile *h = hostile_make(true, 16);
    hostile_outcome out;
    static const uint32_t places[] = {0, 8, 17, 33, 42, 60, 90, 130, 140, 160, 200, 230, 300};
    for (uint64_t n = 0; n < 4; n++) {
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            entry_of(h, n)[places[i]] ^= 0x10;
            hostile_run(h->bytes, h->size, h, HOSTILE_WRITE, &out);
            entry_of(h, n)[places[i]] ^= 0x10;
            assert_true(out.read == FEOX_OK && out.write == FEOX_OK);
            assert_true(out.absent == 0 && !out.prefix);
        }
    }
    hostile_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_in_the_middle),
        cmocka_unit_test(test_last_entry),
        cmocka_unit_test(test_one_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
