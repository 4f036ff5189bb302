/* Whoever opened a crashed file to read it, and could not read its journal, was given the values of
 * the last checkpoint as if they were current, and no statistics said that anything was wrong. */
#define _GNU_SOURCE
#include "support/tap.h"

#include "support/kit.h"

/* Where the ring is, and how long: see base/config.h and disk/format.h. */
enum { RING_FROM = 8192, RING_SIZE = 4 << 20 };

static bool ring_fails(const tap_event *e, long *result) {
    bool reads = e->call == TAP_READ || e->call == TAP_RING_READ;
    *result = -EIO;
    return reads && e->offset >= RING_FROM && e->offset < RING_FROM + RING_SIZE;
}

static feox_status open_to_read(const char *path, feox_store **store) {
    feox_options options;
    kit_options_init(&options);
    options.read_only = FEOX_YES;
    return feox_open(path, &options, store);
}

static void test_unreadable_journal(void **state) {
    (void)state;
    kit k = {.file = true, .path = fx_temp_fresh("store")};
    const char *crashed = fx_temp_fresh("crashed");
    feox_statistics stats;
    void *value = NULL;
    size_t size = 0;
    kit_options_init(&k.options);
    kit_open(&k);
    assert_ok(kit_put(&k, "key", "old"));
    (void)kit_reopen(&k); /* "old" is in the checkpoint, and what follows is not */
    assert_ok(kit_put(&k, "key", "new"));
    assert_ok(feox_flush(k.store));
    fx_file_copy(k.path, crashed);
    kit_close(&k);
    tap_set(ring_fails);
    assert_ok(open_to_read(crashed, &k.store));
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k.store, &stats));
    assert_true(stats.corrupt_records > 0);
    assert_status(feox_get(k.store, "key", 3, &value, &size), FEOX_ERR_CORRUPT);
    kit_close(&k);
    feox_options options;
    kit_options_init(&options);
    assert_status(feox_open(crashed, &options, &k.store), FEOX_ERR_IO);
    tap_set(NULL);
    assert_ok(open_to_read(crashed, &k.store));
    kit_expect(&k, "key", "new");
    kit_close(&k);
    fx_file_remove(k.path);
    fx_file_remove(crashed);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unreadable_journal)};
    return cmocka_run_group_tests_name("issues/unreadable_journal", tests, NULL, NULL);
}
