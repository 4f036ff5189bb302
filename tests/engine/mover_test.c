/* mover: a segment with a record that cannot be told any more stays where it is, so that whoever
 * opens the file hears of it; a record whose value is damaged may move, and stays as damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/volume.h"
#include "support/forge.h"

enum { RING = 64, KEYS = 60, DAMAGED = 7, KEPT = 12 };

/* Flips bits of the key's record: of its header and key, or of its value alone. */
static void damage(forge_store *s, const hostile *h, bool value) {
    uint8_t *record = forge_record(h, mem_dev_bytes(s->dev), DAMAGED, NULL);
    if (value) {
        record[FX_RECORD_HEADER_SIZE + FORGE_KEY_LEN + 40] ^= 3;
    } else {
        memset(record + 8, 0x5a, FX_RECORD_HEADER_SIZE + FORGE_KEY_LEN - 8);
    }
}

/* A segment of KEYS, of which only the first few live on: the compaction wants to move it. */
static void test_damaged(void **state) {
    (void)state;
    for (unsigned value = 0; value < 2; value++) {
        forge_store s;
        forge_create(&s, RING);
        assert_int_equal(forge_put(&s, 0, KEYS, 1200), FEOX_OK);
        hostile *h = forge_end(&s);
        assert_int_equal(forge_open_bytes(&s, h->bytes, h->size, FORGE_WRITE), FEOX_OK);
        uint64_t segment = s.engine.flusher->segments.items[0]->position;
        assert_int_equal(s.engine.flusher->segments.count, 1);
        assert_int_equal(segment, h->segments[0]);
        damage(&s, h, value != 0);
        assert_int_equal(forge_put(&s, KEPT, KEYS, 1200), FEOX_OK);
        for (uint32_t i = 0; i < 2; i++) { /* what a group replaces is dead with the next one */
            assert_int_equal(forge_put(&s, KEYS, KEYS + 1, FORGE_SMALL), FEOX_OK);
            forge_checkpoint(&s);
        }
        bool there = false;
        for (size_t i = 0; i < s.engine.flusher->segments.count; i++) {
            there = there || s.engine.flusher->segments.items[i]->position == segment;
        }
        assert_int_equal(there, value == 0);
        assert_int_equal(forge_close(&s), FEOX_OK);
        assert_int_equal(forge_open(&s, FORGE_WRITE), FEOX_OK);
        assert_non_null(strstr(s.heard, value == 0 ? "a record is damaged, and its key not known"
                                                   : "the value is damaged"));
        assert_int_equal(forge_get(&s, DAMAGED), value == 0 ? FEOX_NOT_FOUND : FEOX_ERR_CORRUPT);
        assert_int_equal(forge_count(&s, 0, KEYS + 1), KEYS);
        forge_drop(&s);
        hostile_free(h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damaged)};
    return cmocka_run_group_tests_name("engine/mover", tests, NULL, NULL);
}
