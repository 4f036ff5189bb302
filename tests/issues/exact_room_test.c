/* Was: a value of more than 16 MiB that just fitted what the file had left was refused, because its
 * shard wanted to draw a share of the room besides; and whoever was to make room saw that it
 * fitted. So the write went round between the two for ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

/* Whatever is left beside it. */
static void what_fits_is_admitted(void **state) {
    (void)state;
    mem_dev *dev = mem_dev_create(1);
    stage s = {.door = mem_dev_door(dev), .shard_count = 16};
    const uint64_t sizes[] = {100, 1 << 20, 17 << 20, 60 << 20};
    assert_int_equal(stage_open(&s, false), FEOX_OK);
    fx_flusher *flusher = s.engine.flusher;
    fx_wbuf *wbuf = &s.engine.shards[0].wbuf;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const fx_demand demand = fx_flusher_demand(16, sizes[i], false);
        for (uint64_t left = 0; left < (40u << 20); left = left * 2 + 1000) {
            fx_store_relaxed(&flusher->room, demand.bytes + left);
            fx_store_relaxed(&flusher->run, demand.run);
            fx_store_relaxed(&flusher->drawn, (uint64_t)0);
            fx_store_relaxed(&flusher->drawn_run, (uint64_t)0);
            wbuf->admitted = 0;
            assert_true(fx_flusher_admit_locked(flusher, wbuf, &demand));
            assert_true(fx_load_relaxed(&flusher->drawn) <= demand.bytes + left);
        }
    }
    fx_volume_publish(flusher);
    fx_store_relaxed(&flusher->drawn, (uint64_t)0);
    fx_store_relaxed(&flusher->drawn_run, (uint64_t)0);
    wbuf->admitted = 0;
    assert_int_equal(stage_close(&s), FEOX_OK);
    mem_dev_destroy(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_fits_is_admitted)};
    return cmocka_run_group_tests_name("issues/exact_room", tests, NULL, NULL);
}
