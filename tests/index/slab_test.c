/* slab: a slot has the bytes that were asked for, and shares none of them with another slot,
 * however often they are taken and given back and whichever shard's slab they are of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "index/record.h"
#include "index/slab.h"

#define SIZE_MIN 32u
#define LINK 8u

static void test_sizes(void **state) {
    (void)state;
    size_t before = 0;
    for (size_t size = SIZE_MIN; size <= FX_SLAB_SLOT_MAX; size++) {
        size_t slot = fx_slab_slot_size(size);
        assert_true(slot >= size && slot >= before);
        assert_int_equal(slot % 8, 0);
        assert_true(size <= 256 ? slot - size < 8 : (slot - size) * 8 < size + 64);
        assert_int_equal(fx_slab_slot_size(slot), slot);
        before = slot;
    }
}

/* Every byte of each slot is its own: more slots of a class than a chunk has, from two slabs. */
static void fill_class(size_t size) {
    fx_slab_pool pool;
    fx_slab slabs[2];
    size_t slot_size = fx_slab_slot_size(size);
    size_t count = ((size_t)5 << 20) / slot_size;
    uint8_t **slots = calloc(count, sizeof *slots);
    fx_slab_pool_init(&pool);
    for (unsigned i = 0; i < 2; i++) {
        fx_slab_init(&slabs[i], &pool, LINK);
    }
    for (size_t i = 0; i < count; i++) {
        slots[i] = fx_slab_acquire(&slabs[i % 3 == 0], size);
        assert_non_null(slots[i]);
        assert_int_equal((uintptr_t)slots[i] % 8, 0);
        memset(slots[i], (int)(i % 251), slot_size);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_null(fx_slab_check(&slabs[i]));
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < slot_size; at++) {
            assert_true(slots[i][at] == i % 251);
        }
        fx_slab_release(&slabs[i % 3 == 0], slots[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_null(fx_slab_check(&slabs[i]));
        fx_slab_trim(&slabs[i]);
    }
    fx_slab_pool_deinit(&pool);
    free(slots);
}

static void test_slots_are_apart(void **state) {
    (void)state;
    static const size_t sizes[] = {32, 40, 100, 256, 260, 1000, 2100, 8192, 9000, FX_SLAB_SLOT_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fill_class(sizes[i]);
    }
}

/* Slots of all sizes come and go; each keeps what is in it, and in the end the memory is back. */
static void test_come_and_go(void **state) {
    (void)state;
    enum { SLOTS = 4000, STEPS = 200000 };
    static struct {
        uint8_t *at;
        size_t size;
        uint8_t byte;
    } slots[SLOTS];
    fx_slab_pool pool;
    fx_slab slab;
    fx_rng rng;
    fx_rng_init(&rng, 42);
    fx_slab_pool_init(&pool);
    fx_slab_init(&slab, &pool, LINK);
    for (unsigned step = 0; step < STEPS + SLOTS; step++) {
        size_t i = step < STEPS ? (size_t)fx_rng_below(&rng, SLOTS) : step - STEPS;
        if (slots[i].at != NULL) {
            uint8_t *at = slots[i].at;
            assert_true(at[0] == slots[i].byte && at[slots[i].size - 1] == slots[i].byte);
            fx_slab_release(&slab, at);
            slots[i].at = NULL;
        } else if (step < STEPS) {
            size_t size = SIZE_MIN + (size_t)fx_rng_below(&rng, step % 50 == 0 ? 9000 : 300);
            slots[i].at = fx_slab_acquire(&slab, size);
            assert_non_null(slots[i].at);
            slots[i].size = size;
            slots[i].byte = (uint8_t)step;
            memset(slots[i].at, slots[i].byte, size);
        }
        if (step % 20000 == 0) {
            assert_null(fx_slab_check(&slab));
            fx_slab_trim(&slab);
        }
    }
    assert_null(fx_slab_check(&slab));
    fx_slab_trim(&slab);
    assert_true(fx_slab_pool_used(&pool) < 64 << 10);
    fx_slab_pool_deinit(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_slots_are_apart),
        cmocka_unit_test(test_come_and_go),
    };
    return cmocka_run_group_tests_name("index/slab", tests, NULL, NULL);
}
