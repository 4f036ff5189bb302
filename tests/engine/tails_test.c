/* What lies behind the end of whatever is written, up to the next block: zeros, and not what the
 * process had in its memory before. */
#define _GNU_SOURCE
#include "support/kit.h"

#include "engine/volume.h"
#include "store/store.h"

#define LARGE 100001u

static size_t tails;

static void expect_zeros(const uint8_t *file, uint64_t from, uint64_t to) {
    tails += from < to;
    for (; from < to; from++) {
        if (file[from] != 0) {
            fail_msg("byte %llu is not zero", (unsigned long long)from);
        }
    }
}

static uint64_t block_end(uint64_t offset) {
    return fx_round_up(offset, FX_BLOCK_SIZE);
}

static void expect_clean(kit *k) {
    const fx_flusher *flusher = k->store->engine.flusher;
    const fx_superblock *root = &flusher->root;
    uint8_t *file = fx_file_slurp(k->path, NULL);
    for (size_t i = 0; i < flusher->segments.count; i++) {
        const fx_disk_segment *s = flusher->segments.items[i];
        uint64_t end = s->position + s->byte_length;
        expect_zeros(file, end, s->blocks > 0 ? s->position + s->blocks * FX_BLOCK_SIZE
                                              : block_end(end));
        for (uint32_t j = 0; j < s->large_count; j++) {
            uint64_t at = s->larges[j].block * FX_BLOCK_SIZE;
            expect_zeros(file, at + LARGE, at + s->larges[j].blocks * FX_BLOCK_SIZE);
        }
    }
    for (unsigned copy = 0; root->checkpoint.count > 0 && copy < 2; copy++) {
        uint64_t at = (copy == 0 ? root->checkpoint.block : root->mirror) * FX_BLOCK_SIZE;
        expect_zeros(file, at + root->checkpoint_length, block_end(at + root->checkpoint_length));
    }
    free(file);
}

/* `count` values of `size` bytes make a group: alone in its entry, or in segments. */
static void put_group(kit *k, unsigned count, size_t size) {
    uint8_t *value = kit_alloc(size);
    memset(value, 0xee, size);
    for (uint32_t i = 0; i < count; i++) {
        assert_ok(feox_insert(k->store, &i, sizeof i, value, size));
    }
    assert_ok(feox_flush(k->store));
    free(value);
}

static void zeros_behind_the_end(void **state) {
    kit *k = *state;
    tails = 0;
    put_group(k, 3000, 1500); /* full segments first: every buffer has been used */
    put_group(k, 40, 1001);
    put_group(k, 1, 7000);
    put_group(k, 3, LARGE);
    put_group(k, 1, 11);
    expect_clean(k);
    assert_ok(feox_compact(k->store));
    expect_clean(k);
    assert_true(tails > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(zeros_behind_the_end)};
    return cmocka_run_group_tests_name("engine/tails", tests, NULL, NULL);
}
