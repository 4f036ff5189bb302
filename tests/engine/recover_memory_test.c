/* recover, without memory: at every allocation, of files whose values have memory of their own, in
 * segments with more records than recovery holds back at a time; and of a file to be doubted. It is
 * told, and the file stays as it was; and so it is told of a file of which nothing can be read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/recovery.h"
#include "engine/volume.h"
#include "support/forge.h"

enum { RING = 32, KEYS = 4 * FX_RECOVERY_WAITING, VALUE = FX_INLINE_VALUE_MAX + 500 };

/* Every allocation of opening fails, until there are no more; how many there are. */
static uint64_t open_without_memory(uint8_t *bytes, size_t size, forge_mode mode) {
    forge_store s = {.fail_next = 1};
    feox_status status;
    while ((status = forge_open_bytes(&s, bytes, size, mode)) == FEOX_ERR_MEMORY) {
        /* But for a checkpoint under way, which is a file like any other. */
        assert_true(mode == FORGE_WRITE || mem_dev_operations(s.dev) == 0);
        forge_drop(&s);
        s.fail_next++;
    }
    assert_int_equal(status, FEOX_OK);
    assert_int_equal(forge_count(&s, 0, KEYS), KEYS);
    forge_drop(&s);
    /* One alone: whatever goes on without it has every key. */
    uint64_t count = s.fail_next;
    s.fail_once = true;
    for (s.fail_next = 1; s.fail_next < count; s.fail_next++) {
        status = forge_open_bytes(&s, bytes, size, mode);
        assert_true(status == FEOX_ERR_MEMORY ||
                    (status == FEOX_OK && forge_count(&s, 0, KEYS) == KEYS));
        forge_drop(&s);
    }
    return count;
}

static void test_values(void **state) {
    (void)state;
    for (unsigned in_table = 0; in_table < 2; in_table++) {
        forge_store s;
        forge_create(&s, RING);
        assert_int_equal(forge_put(&s, 0, KEYS, VALUE), FEOX_OK);
        if (in_table != 0) {
            forge_checkpoint(&s);
        }
        assert_int_equal(forge_put(&s, KEYS, KEYS + 1, FORGE_SMALL), FEOX_OK);
        hostile *h = forge_end(&s);
        assert_true(open_without_memory(h->bytes, h->size, FORGE_READ) > 5);
        assert_true(open_without_memory(h->bytes, h->size, FORGE_WRITE) > 5);
        memset(h->bytes, 0, FX_SUPERBLOCK_AREA);
        assert_true(open_without_memory(h->bytes, h->size, FORGE_RESCUE) > 5);
        hostile_free(h);
    }
}

/* A group is lost and later ones are there: whoever reads is told which keys may be out of date. */
static void test_doubt(void **state) {
    (void)state;
    forge_store s;
    forge_create(&s, RING);
    for (uint32_t key = 0; key < KEYS; key += KEYS / 4) {
        assert_int_equal(forge_put(&s, key, key + KEYS / 4, FORGE_SMALL), FEOX_OK);
    }
    assert_int_equal(forge_put(&s, KEYS, KEYS + 1, FORGE_SMALL), FEOX_OK);
    hostile *h = forge_end(&s);
    memset(forge_entry(h, h->bytes, 2), 0x5a, FX_BLOCK_SIZE);
    feox_status status = FEOX_ERR_MEMORY;
    for (s.fail_next = 1; status == FEOX_ERR_MEMORY; s.fail_next++) {
        status = forge_open_bytes(&s, h->bytes, h->size, FORGE_READ);
        if (status == FEOX_OK) {
            assert_true(s.engine.flusher->doubtful);
            assert_int_equal(forge_get(&s, 0), FEOX_ERR_CORRUPT);
            assert_int_equal(forge_get(&s, KEYS / 2), FEOX_NOT_FOUND);
            assert_int_equal(forge_get(&s, KEYS), FEOX_OK);
        }
        assert_int_equal(mem_dev_operations(s.dev), 0);
        forge_drop(&s);
    }
    assert_int_equal(status, FEOX_OK);
    assert_true(s.fail_next > 10);
    hostile_free(h);
}

/* Not even a rescue finds anything: that is a device that fails, and not a file of somebody else.
 */
static void test_all_unreadable(void **state) {
    (void)state;
    forge_store s;
    forge_create(&s, RING);
    assert_int_equal(forge_put(&s, 0, KEYS, FORGE_SMALL), FEOX_OK);
    hostile *h = forge_end(&s);
    for (forge_mode mode = FORGE_READ; mode <= FORGE_RESCUE; mode++) {
        memset(&s, 0, sizeof s);
        s.dev = mem_dev_over(h->bytes, h->size);
        mem_dev_fail_reads(s.dev, 0, h->size);
        assert_int_equal(forge_open(&s, mode), FEOX_ERR_IO);
        assert_int_equal(mem_dev_operations(s.dev), 0);
        forge_drop(&s);
    }
    hostile_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_doubt),
                                       cmocka_unit_test(test_all_unreadable)};
    return cmocka_run_group_tests_name("engine/recover_memory", tests, NULL, NULL);
}
