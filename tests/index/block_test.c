/* block: many threads make, share and release blocks of all sizes, each filled from its own seed;
 * what is charged is compared with what must be there, and with what the process really takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/bytes.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/block.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define SLOT_MAX MIB
/* The blocks of all slots of a region, the first pages of it. */
#define HEADS_MAX (8 * PAGE)

typedef struct world {
    fx_slab_pool memory;
    fx_block_pool pool;
} world;

static world *world_create(size_t stock) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fx_slab_pool_init(&w->memory);
    fx_block_pool_init(&w->pool, &w->memory, stock);
    return w;
}

/* Nothing is left of it. */
static void world_destroy(world *w) {
    assert_null(fx_block_pool_check(&w->pool));
    fx_block_pool_trim(&w->pool, true);
    assert_int_equal(fx_slab_pool_used(&w->memory), 0);
    fx_block_pool_deinit(&w->pool);
    fx_slab_pool_deinit(&w->memory);
    free(w);
}

/* The beginning of fx_region in block.c. */
typedef struct region_head {
    void *next, *previous;
    fx_block_pool *pool;
    uint32_t class_index, slots, used, touched, hint;
    uint64_t free[1];
} region_head;

/* The check finds what is on the wrong list, and what does not add up. */
static void test_check(void **state) {
    (void)state;
    world *w = world_create(64 * MIB);
    fx_block_pool *pool = &w->pool;
    fx_block *block = fx_block_create(pool, NULL, 5 * PAGE);
    assert_non_null(block);
    uint32_t c = 0;
    while (pool->roomy[c] == NULL) {
        c++;
    }
    assert_null(fx_block_pool_check(pool));
    pool->full = pool->roomy[c];
    assert_non_null(strstr(fx_block_pool_check(pool), "on the wrong list"));
    pool->full = NULL;
    uint32_t other = c > 0 ? c - 1 : c + 1;
    pool->roomy[other] = pool->roomy[c];
    pool->roomy[c] = NULL;
    assert_non_null(strstr(fx_block_pool_check(pool), "of no class"));
    pool->roomy[c] = pool->roomy[other];
    pool->roomy[other] = NULL;
    pool->warm_bytes[c] += PAGE;
    assert_non_null(strstr(fx_block_pool_check(pool), "warm pages"));
    pool->warm_bytes[c] -= PAGE;
    region_head *region = (region_head *)(void *)pool->roomy[c];
    assert_int_equal(region->used, 1);
    uint32_t touched = region->touched;
    region->used = 2;
    assert_non_null(strstr(fx_block_pool_check(pool), "do not add up"));
    region->used = 0;
    region->slots--; /* else the sum is wrong, too */
    assert_non_null(strstr(fx_block_pool_check(pool), "do not add up"));
    region->slots++;
    region->used = 1;
    region->touched = 0;
    assert_non_null(strstr(fx_block_pool_check(pool), "do not add up"));
    region->touched = touched;
    assert_true(region->free[0] != 0);
    region->hint++;
    assert_non_null(strstr(fx_block_pool_check(pool), "a free slot is not found"));
    pool->full = pool->roomy[c]; /* told once, whatever comes behind it */
    assert_non_null(strstr(fx_block_pool_check(pool), "a free slot is not found"));
    pool->full = NULL;
    region->hint--;
    assert_null(fx_block_pool_check(pool));
    fx_block_release(block);
    world_destroy(w);
}

/* Released pages of a value beyond all classes serve one of the same number of pages again, and no
 * other. */
static void test_large_again(void **state) {
    (void)state;
    static const size_t sizes[] = {SLOT_MAX + 3 * PAGE, SLOT_MAX + 5 * PAGE, SLOT_MAX + 7 * PAGE};
    world *w = world_create(0);
    const uint8_t *data[3];
    fx_block *blocks[3];
    for (unsigned i = 0; i < 3; i++) {
        blocks[i] = fx_block_create(&w->pool, NULL, sizes[i]);
        assert_non_null(blocks[i]);
        data[i] = blocks[i]->data;
    }
    for (unsigned i = 0; i < 3; i++) {
        fx_block_release(blocks[i]);
    }
    assert_non_null(w->pool.warm_large);
    for (unsigned i = 0; i < 3; i++) { /* the first that was released stands last */
        blocks[i] = fx_block_create(&w->pool, NULL, sizes[i] - 1);
        assert_ptr_equal(blocks[i]->data, data[i]);
    }
    assert_null(w->pool.warm_large);
    for (unsigned i = 0; i < 3; i++) {
        fx_block_release(blocks[i]);
    }
    fx_block *other = fx_block_create(&w->pool, NULL, SLOT_MAX + 9 * PAGE);
    assert_true(other->data != data[0] && other->data != data[1] && other->data != data[2]);
    fx_block_release(other);
    fx_block_pool_trim(&w->pool, true);
    world_destroy(w);
}

static uint64_t used(const world *w) {
    return fx_slab_pool_used(&w->memory);
}

static void fill(uint8_t *data, size_t size, uint64_t seed) {
    fx_rng rng;
    fx_rng_init(&rng, seed);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = fx_rng_next(&rng);
        memcpy(data + i, &word, size - i < 8 ? size - i : 8);
    }
}

static bool is_filled(const uint8_t *data, size_t size, uint64_t seed) {
    fx_rng rng;
    fx_rng_init(&rng, seed);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = fx_rng_next(&rng);
        if (memcmp(data + i, &word, size - i < 8 ? size - i : 8) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- One block at a time ---- */

static const size_t edges[] = {
    0,      1,      2048,     2049,         4095,        4096,    4097,    8192,
    8193,   12288,  16384,    16385,        65536,       100000,  262144,  262145,
    524288, 524289, SLOT_MAX, SLOT_MAX + 1, 2 * MIB - 1, 4 * MIB, 5000000, 9 * MIB + 5,
};

static void test_sizes(void **state) {
    (void)state;
    world *w = world_create(0);
    uint8_t *bytes = malloc(10 * MIB);
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        size_t size = edges[i];
        size_t whole = fx_block_footprint(size);
        assert_int_equal(whole, size <= FX_INLINE_VALUE_MAX ? 0 : (size + PAGE - 1) / PAGE * PAGE);
        fill(bytes, size, i);
        fx_block *block = fx_block_create(&w->pool, bytes, size);
        fx_block *unset = fx_block_create(&w->pool, NULL, size);
        assert_true(block != NULL && unset != NULL);
        memset(unset->data, 0xff, size);
        assert_int_equal(block->size, size);
        assert_memory_equal(block->data, bytes, size);
        assert_true(used(w) >= 2 * whole && used(w) <= 2 * whole + HEADS_MAX);
        fx_block_acquire(block);
        fx_block_release(block);
        fx_block_release(unset);
        assert_memory_equal(block->data, bytes, size);
        fx_block_release(block);
        assert_null(fx_block_pool_check(&w->pool));
        fx_block_pool_trim(&w->pool, false);
        assert_int_equal(used(w), 0);
    }
    fx_block_release(NULL);
    free(bytes);
    world_destroy(w);
}

/* The pages of a released block serve the next one of its class, and no more of them stay than it
 * needs. */
static void test_warm_pages(void **state) {
    (void)state;
    world *w = world_create(MIB);
    fx_block *block = fx_block_create(&w->pool, NULL, 4 * PAGE);
    assert_non_null(block);
    const uint8_t *place = block->data;
    uint64_t before = used(w);
    fx_block_release(block);
    fx_block_pool_trim(&w->pool, false);
    assert_int_equal(used(w), before);
    block = fx_block_create(&w->pool, NULL, 3 * PAGE);
    assert_non_null(block);
    assert_ptr_equal(block->data, place);
    assert_int_equal(used(w), before - PAGE);
    fx_block_release(block);
    block = fx_block_create(&w->pool, NULL, 4 * PAGE - 7);
    assert_non_null(block);
    assert_ptr_equal(block->data, place);
    assert_int_equal(used(w), before);
    fx_block_release(block);
    /* A mapping of its own serves again only for the same number of pages, and is not kept. */
    block = fx_block_create(&w->pool, "", 0);
    fx_block_release(block);
    block = fx_block_create(&w->pool, NULL, 2 * MIB);
    assert_non_null(block);
    place = block->data;
    fx_block_release(block);
    block = fx_block_create(&w->pool, NULL, 2 * MIB - 1);
    assert_non_null(block);
    assert_ptr_equal(block->data, place);
    assert_int_equal(used(w), before + 2 * MIB);
    fx_block_release(block);
    fx_block_pool_trim(&w->pool, false);
    assert_int_equal(used(w), before);
    world_destroy(w);
}

/* However much is released at once, what stays warm is soon the stock again. */
static void test_stock(void **state) {
    (void)state;
    enum { COUNT = 4000 };
    static fx_block *blocks[COUNT];
    world *w = world_create(64 << 10);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = fx_block_create(&w->pool, NULL, i % 2 == 0 ? 3000 : 3 * PAGE);
        assert_non_null(blocks[i]);
    }
    uint64_t all = used(w);
    for (size_t i = 0; i < COUNT; i++) {
        fx_block_release(blocks[i]);
    }
    assert_int_equal(used(w), all); /* release makes no system call */
    for (size_t i = 0; i < COUNT; i++) {
        fx_block *block = fx_block_create(&w->pool, NULL, 30000);
        assert_non_null(block);
        fx_block_release(block);
    }
    assert_true(used(w) < 4 * (64 << 10) + 4 * HEADS_MAX);
    world_destroy(w);
}

static void test_no_memory(void **state) {
    (void)state;
    world *w = world_create(0);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        fx_block *block = NULL;
        for (uint64_t n = 1; block == NULL; n++) {
            fx_mem_fail_after(n, false);
            block = fx_block_create(&w->pool, NULL, edges[i]);
            bool failed = fx_mem_failed() > 0;
            fx_mem_fail_after(0, false);
            assert_true(failed == (block == NULL));
            assert_true(block != NULL || used(w) == 0);
            assert_true(n <= 3);
        }
        fx_block_release(block);
        fx_block_pool_trim(&w->pool, true);
    }
    /* A region has room for others. */
    fx_block *first = fx_block_create(&w->pool, NULL, 5000);
    fx_mem_fail_after(1, true);
    fx_block *second = fx_block_create(&w->pool, NULL, 8000);
    fx_mem_fail_after(0, false);
    assert_true(first != NULL && second != NULL);
    fx_block_release(first);
    fx_block_release(second);
    world_destroy(w);
}

/* ---- Many threads ---- */

enum { THREADS = 4, PLACES = 64, SHARED = 16 };

typedef struct run {
    world *w;
    uint64_t seed;
    uint64_t steps;
    fx_block *shared[SHARED]; /* taken and left by exchange; the first 8 bytes are the seed */
    uint32_t next;
    uint32_t errors;
} run;

static size_t random_size(fx_rng *rng) {
    uint64_t kind = fx_rng_below(rng, 100);
    size_t most = kind < 60 ? 5 * PAGE : kind < 95 ? 30 * PAGE : kind < 99 ? 300 * PAGE : 3 * MIB;
    return FX_INLINE_VALUE_MAX + 1 + (size_t)fx_rng_below(rng, most);
}

static fx_block *make(run *r, fx_rng *rng) {
    fx_block *block = fx_block_create(&r->w->pool, NULL, random_size(rng));
    if (block == NULL) {
        fx_add_relaxed(&r->errors, 1u);
        return NULL;
    }
    uint64_t seed = fx_rng_next(rng);
    fx_put_u64(block->data, seed);
    fill(block->data + 8, block->size - 8, seed);
    return block;
}

static void check_release(run *r, fx_block *block) {
    if (block != NULL) {
        if (!is_filled(block->data + 8, block->size - 8, fx_get_u64(block->data))) {
            fx_add_relaxed(&r->errors, 1u);
        }
        fx_block_release(block);
    }
}

static void *worker(void *argument) {
    run *r = argument;
    fx_block *mine[PLACES] = {0};
    fx_rng rng;
    fx_rng_init(&rng, r->seed + fx_add_relaxed(&r->next, 1u));
    for (uint64_t i = 0; i < r->steps; i++) {
        fx_block **at = &mine[fx_rng_below(&rng, PLACES)];
        uint64_t what = fx_rng_below(&rng, 100);
        if (what < 60) {
            check_release(r, *at);
            *at = make(r, &rng);
        } else if (what < 80) {
            check_release(r, *at);
            *at = NULL;
        } else if (what < 99 && *at != NULL) { /* one reference more, for another thread */
            fx_block_acquire(*at);
            check_release(r, fx_exchange_acq_rel(&r->shared[fx_rng_below(&rng, SHARED)], *at));
        } else if (what == 99) {
            fx_block_pool_trim(&r->w->pool, fx_rng_below(&rng, 2) == 0);
        }
    }
    for (size_t i = 0; i < PLACES; i++) {
        check_release(r, mine[i]);
    }
    return NULL;
}

static uint64_t seed_of_run(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20241127;
    print_message("FEOX_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void test_threads(void **state) {
    (void)state;
    world *w = world_create(32 << 10);
    run *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->w = w;
    r->seed = seed_of_run();
    r->steps = getenv("FEOX_LONG") != NULL ? 100000 : 1500;
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, r), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < SHARED; i++) {
        check_release(r, r->shared[i]);
    }
    assert_int_equal(r->errors, 0);
    free(r);
    world_destroy(w);
}

/* ---- What is charged is what the process takes ---- */

static uint64_t resident(void) {
    unsigned long long total = 0;
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) {
        return 0;
    }
    int found = fscanf(file, "%llu %llu", &total, &pages);
    fclose(file);
    return found == 2 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Every size in turn takes the place of others, as when the values of a store change over months:
 * what an allocator for general use would lose to holes shows here. */
static void test_real_memory(void **state) {
    (void)state;
    enum { COUNT = 1500 };
    static fx_block *blocks[COUNT];
    if (SANITIZED || resident() == 0) {
        print_message("skipped: %s\n",
                      SANITIZED ? "sanitizers take memory of their own" : "no /proc/self/statm");
        skip();
    }
    world *w = world_create(128 << 10);
    fx_rng rng;
    fx_rng_init(&rng, seed_of_run());
    uint64_t before = resident();
    for (uint64_t round = 0; round < 6; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t j = (size_t)fx_rng_below(&rng, COUNT);
            size_t most = (round + 1) * 2 * PAGE;
            fx_block_release(blocks[j]);
            blocks[j] = fx_block_create(&w->pool, NULL,
                                        FX_INLINE_VALUE_MAX + 1 + (size_t)fx_rng_below(&rng, most));
            assert_non_null(blocks[j]);
            memset(blocks[j]->data, (int)round + 1, blocks[j]->size);
        }
        fx_block_pool_trim(&w->pool, false);
        uint64_t taken = resident() - before;
        uint64_t charged = used(w);
        uint64_t needed = 0;
        for (size_t i = 0; i < COUNT; i++) {
            needed += blocks[i] != NULL ? fx_block_footprint(blocks[i]->size) : 0;
        }
        print_message("blocks %llu, charged %llu, resident %llu\n", (unsigned long long)needed,
                      (unsigned long long)charged, (unsigned long long)taken);
        /* Six stocks, and a hundredth for the heads of the regions. */
        assert_true(charged >= needed && charged <= needed + needed / 50 + 7 * (128 << 10));
        /* The kernel counts in batches, for each thread up to 64 pages. */
        assert_true(taken <= charged + charged / 50 + (512 << 10));
        assert_true(taken + charged / 50 + (512 << 10) >= charged);
    }
    for (size_t i = 0; i < COUNT; i++) {
        fx_block_release(blocks[i]);
    }
    fx_block_pool_trim(&w->pool, true);
    assert_true(resident() <= before + (512 << 10));
    world_destroy(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),   cmocka_unit_test(test_large_again),
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_warm_pages),
        cmocka_unit_test(test_stock),   cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_real_memory),
    };
    return cmocka_run_group_tests_name("index/block", tests, NULL, NULL);
}
