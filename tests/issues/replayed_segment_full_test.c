/* A segment that only the journal named when the file was opened counted as full whatever died in
 * it: it was never cleaned, and its space not given back before the next opening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/volume.h"
#include "support/forge.h"

enum { KEYS = 60, KEPT = 12 };

static void test_cleaned(void **state) {
    (void)state;
    forge_store s;
    forge_create(&s, 64);
    assert_int_equal(forge_put(&s, 0, KEYS, 1200), FEOX_OK);
    hostile *h = forge_end(&s); /* as a crash leaves it */
    assert_int_equal(forge_open_bytes(&s, h->bytes, h->size, FORGE_WRITE), FEOX_OK);
    const fx_segments *segments = &s.engine.flusher->segments;
    assert_int_equal(segments->items[0]->position, h->segments[0]);
    assert_int_equal(forge_put(&s, KEPT, KEYS, 1200), FEOX_OK);
    for (uint32_t i = 0; i < 2; i++) { /* what a group replaces is dead with the next one */
        assert_int_equal(forge_put(&s, KEYS, KEYS + 1, FORGE_SMALL), FEOX_OK);
        forge_checkpoint(&s);
    }
    for (size_t i = 0; i < segments->count; i++) {
        assert_true(segments->items[i]->position != h->segments[0]);
    }
    assert_int_equal(forge_count(&s, 0, KEYS + 1), KEYS + 1);
    assert_int_equal(forge_problems(&s), 0);
    forge_drop(&s);
    hostile_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cleaned)};
    return cmocka_run_group_tests_name("issues/replayed_segment_full", tests, NULL, NULL);
}
