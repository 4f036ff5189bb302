/* probe: both ways are measured in turn, the quickest time of each counts, and from then on the
 * quicker one is used, whatever is measured later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/probe.h"

static void quicker_wins(void **state) {
    static const uint64_t times[][2] = {{100, 90}, {90, 100}, {100, 100}};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        fx_probe probe = {0};
        unsigned asked[2] = {0, 0};
        for (unsigned n = 0; probe.best == FEOX_SYNC_UNKNOWN; n++) {
            feox_sync_method method = fx_probe_next(&probe);
            bool write = method == FEOX_SYNC_WRITE;
            assert_true(n < 1000 && (write || method == FEOX_SYNC_FLUSH));
            asked[write]++;
            /* Now and then one takes much longer than it must. */
            fx_probe_note(&probe, method, times[i][write] * (n % 5 == 4 || n < 2 ? 1000 : 1));
        }
        assert_true(asked[0] > 1 && asked[1] > 1);
        feox_sync_method best = times[i][1] <= times[i][0] ? FEOX_SYNC_WRITE : FEOX_SYNC_FLUSH;
        assert_int_equal(probe.best, best);
        for (unsigned n = 0; n < 10; n++) {
            assert_int_equal(fx_probe_next(&probe), best);
            fx_probe_note(&probe, best, UINT64_MAX);
            fx_probe_note(&probe, FEOX_SYNC_FLUSH, 1);
        }
        assert_int_equal(probe.best, best);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(quicker_wins)};
    return cmocka_run_group_tests_name("engine/probe", tests, NULL, NULL);
}
