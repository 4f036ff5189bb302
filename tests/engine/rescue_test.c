/* rescue: segments found without a root. Whose they are, when others' are there too; what is left
 * of those that newer ones overwrote; and how many there may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/forge.h"

#define RING 128u
#define SMALL_KEYS 4u
#define PACKED 20u
#define PACKED_KEYS 40u

/* Small groups, which are inline in the ring, and one that has a segment of its own. */
static hostile *make(unsigned groups) {
    forge_store s;
    forge_create(&s, RING);
    for (unsigned i = 0; i < groups; i++) {
        assert_int_equal(forge_put(&s, i, i + 1, FORGE_SMALL), FEOX_OK);
    }
    assert_int_equal(forge_put(&s, PACKED + groups, PACKED + groups + PACKED_KEYS, 1200), FEOX_OK);
    return forge_end(&s);
}

/* The bytes without their root, and some blocks more. */
static uint8_t *rootless(const hostile *h, size_t more) {
    uint8_t *bytes = calloc(1, h->size + more * FX_BLOCK_SIZE);
    memcpy(bytes + FX_SUPERBLOCK_AREA, h->bytes + FX_SUPERBLOCK_AREA, h->size - FX_SUPERBLOCK_AREA);
    return bytes;
}

/* An empty segment of some store. */
static void plant(uint8_t *bytes, uint64_t block, fx_store_id id, uint32_t byte_length) {
    memset(bytes + block * FX_BLOCK_SIZE, 0, FX_BLOCK_SIZE);
    const fx_segment_header header = {
        .group = 1, .position = block * FX_BLOCK_SIZE, .byte_length = byte_length};
    (void)fx_format_segment_seal(bytes + block * FX_BLOCK_SIZE, &id, &header);
}

static void expect_all(forge_store *s, unsigned groups) {
    assert_int_equal(forge_count(s, 0, groups), groups);
    assert_int_equal(forge_count(s, PACKED + groups, PACKED + groups + PACKED_KEYS), PACKED_KEYS);
}

/* The one with the most segments is taken, wherever the others stand. */
static void test_whose(void **state) {
    (void)state;
    hostile *h = make(SMALL_KEYS);
    uint64_t end = h->size / FX_BLOCK_SIZE;
    fx_store_id other = h->root.id;
    for (unsigned where = 0; where < 3; where++) {
        forge_store s = {0};
        uint8_t *bytes = rootless(h, 100);
        switch (where) {
        case 0: /* before ours */
            plant(bytes, 0, (fx_store_id){1, 2}, 256);
            break;
        case 1: /* behind, and ids that are the same in half */
            other.high ^= 1;
            plant(bytes, end, other, 256);
            plant(bytes, end + 1, (fx_store_id){other.low ^ 1, h->root.id.high}, 256);
            break;
        default: /* more stores than anybody counts */
            for (uint64_t i = 0; i < 40; i++) {
                plant(bytes, end + i, (fx_store_id){i, i}, 256);
            }
            break;
        }
        assert_int_equal(forge_open_bytes(&s, bytes, h->size + 100 * FX_BLOCK_SIZE, FORGE_RESCUE),
                         FEOX_OK);
        expect_all(&s, SMALL_KEYS);
        forge_drop(&s);
        /* And theirs, if they are more. */
        for (uint64_t i = 0; i < 40; i++) {
            plant(bytes, end + i, other, 256);
        }
        assert_int_equal(forge_open_bytes(&s, bytes, h->size + 100 * FX_BLOCK_SIZE, FORGE_RESCUE),
                         FEOX_OK);
        assert_int_equal(forge_count(&s, 0, 200), where == 0 ? SMALL_KEYS + PACKED_KEYS : 0);
        forge_drop(&s);
        free(bytes);
    }
    hostile_free(h);
}

static void test_nobodys(void **state) {
    (void)state;
    forge_store s = {0};
    uint8_t *bytes = calloc(64, FX_BLOCK_SIZE);
    memset(bytes, 'x', 64 * FX_BLOCK_SIZE);
    assert_int_equal(forge_open_bytes(&s, bytes, 64 * FX_BLOCK_SIZE, FORGE_RESCUE),
                     FEOX_ERR_NOT_FEOX);
    forge_drop(&s);
    free(bytes);
}

/* A newer segment stands in the middle of an older one: of that, the records before it are left. */
static void test_overwritten(void **state) {
    (void)state;
    hostile *h = make(SMALL_KEYS);
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < h->segment_count; i++) {
        if (h->segment_lengths[i] > 8 * FX_BLOCK_SIZE) {
            first = h->segments[i] / FX_BLOCK_SIZE;
        }
    }
    assert_true(first != UINT64_MAX);
    for (uint64_t block = 1; block < 9; block++) {
        forge_store s = {0};
        uint8_t *bytes = rootless(h, 0);
        plant(bytes, first + block, h->root.id, FX_BLOCK_SIZE);
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_RESCUE), FEOX_OK);
        assert_int_equal(forge_count(&s, 0, SMALL_KEYS), SMALL_KEYS);
        unsigned count = forge_count(&s, PACKED + SMALL_KEYS, PACKED + SMALL_KEYS + PACKED_KEYS);
        assert_int_equal(count, (block * FX_BLOCK_SIZE - FX_SEGMENT_HEADER_SIZE) /
                                    fx_format_record_size(FX_ENTRY_PUT, FORGE_KEY_LEN, 1200, 0));
        forge_drop(&s);
        free(bytes);
    }
    hostile_free(h);
}

/* More segments than the list has room for at first; and no memory, at every allocation. */
static void test_many(void **state) {
    (void)state;
    enum { GROUPS = 63 }; /* the last one is one more */
    hostile *h = make(GROUPS);
    uint8_t *bytes = rootless(h, 4);
    forge_store s = {0};
    size_t size = h->size + 4 * FX_BLOCK_SIZE;
    for (uint64_t i = 0; i < 4; i++) {
        plant(bytes, h->size / FX_BLOCK_SIZE + i, h->root.id, 256);
    }
    feox_status status = FEOX_ERR_MEMORY;
    for (s.fail_next = 1; status == FEOX_ERR_MEMORY; s.fail_next++) {
        status = forge_open_bytes(&s, bytes, size, FORGE_RESCUE);
        if (status == FEOX_OK) {
            expect_all(&s, GROUPS);
        }
        forge_drop(&s);
    }
    assert_int_equal(status, FEOX_OK);
    assert_true(s.fail_next > 6);
    free(bytes);
    hostile_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whose),
        cmocka_unit_test(test_nobodys),
        cmocka_unit_test(test_overwritten),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
