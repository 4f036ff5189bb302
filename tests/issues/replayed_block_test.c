/* Issue: a block that showed what an earlier segment had written at the same place, because the
 * device had not done the last write, was taken for current: old values came back, of some keys
 * only, and nobody was told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/hostile.h"

/* Blocks of the file behind the ring that hold bytes of live records; all that they ever were. */
static void test_replayed(void **state) {
    (void)state;
    hostile *h = hostile_make_old(false, 8, 0);
    hostile_outcome out;
    uint8_t saved[FX_BLOCK_SIZE];
    unsigned told = 0;
    h->size = HOSTILE_OLD_SIZE;
    size_t first = (size_t)(h->root.journal.block + h->root.journal.count) * FX_BLOCK_SIZE;
    for (size_t at = first; at < h->size; at += FX_BLOCK_SIZE) {
        for (unsigned i = 0; i < h->moment_count; i++) {
            if (memchr(h->parts + at, HOSTILE_LIVE, FX_BLOCK_SIZE) == NULL) {
                break;
            }
            memcpy(saved, h->bytes + at, FX_BLOCK_SIZE);
            memcpy(h->bytes + at, h->moments[i] + at, FX_BLOCK_SIZE);
            hostile_run(h->bytes, h->size, h, HOSTILE_RESCUE, &out);
            memcpy(h->bytes + at, saved, FX_BLOCK_SIZE);
            assert_true(out.read == FEOX_OK && !out.prefix);
            assert_true(out.absent == 0 || hostile_reported(&out));
            told += hostile_reported(&out);
        }
    }
    assert_true(told > 0);
    hostile_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
