/* write: calls that build on a value which is on disk only. It is read first, outside the lock, and
 * the call decides on what it was; damage, or no memory for it, is told, and changes nothing. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "engine/evict.h"
#include "engine/flusher.h"
#include "store/store.h"
#include "support/kit.h"

#define SIZES 4u

static const size_t sizes[SIZES] = {100, 1000, 5000, 90000};
static unsigned char value[90000];
static unsigned char other[90000];

/* What is flushed is in memory no more. */
static void evict(kit *k) {
    assert_ok(feox_flush(k->store));
    (void)fx_evict_any(&k->store->engine, UINT32_MAX);
    (void)fx_evict_any(&k->store->engine, UINT32_MAX);
}

static void begin(kit *k) {
    k->options.memory_limit = (uint64_t)256 << 20;
    k->options.flush_interval_ms = 3600000;
    k->options.sweep_interval_ms = 3600000;
    kit_restart(k);
}

static const char *put_value(kit *k, unsigned i, unsigned char byte) {
    static const char *const keys[SIZES] = {"tiny", "small", "middle", "large"};
    memset(value, byte, sizes[i]);
    assert_ok(feox_insert(k->store, keys[i], strlen(keys[i]), value, sizes[i]));
    evict(k);
    return keys[i];
}

static void swaps(void **state) {
    kit *k = *state;
    begin(k);
    for (unsigned i = 0; i < SIZES; i++) {
        const char *key = put_value(k, i, 'a');
        size_t key_len = strlen(key);
        feox_write write;
        feox_write_init(&write);
        write.ttl_ms = 1000000;
        memcpy(other, value, sizes[i]);
        other[sizes[i] - 1] = 'b';
        assert_status(feox_compare_and_swap(k->store, key, key_len, other, sizes[i], "no", 2),
                      FEOX_MISMATCH);
        evict(k);
        assert_status(feox_compare_and_swap(k->store, key, key_len, value, sizes[i] - 1, "no", 2),
                      FEOX_MISMATCH);
        assert_ok(feox_compare_and_swap_with(k->store, key, key_len, value, sizes[i], other,
                                             sizes[i], &write, NULL));
        kit_expect_bytes(k, key, key_len, other, sizes[i]);
        evict(k);
        kit_expect_bytes(k, key, key_len, other, sizes[i]);
        assert_true(kit_info(k, key).ttl_ms > 0);
    }
}

static void times_to_live(void **state) {
    kit *k = *state;
    begin(k);
    for (unsigned i = 0; i < SIZES; i++) {
        const char *key = put_value(k, i, 'c');
        size_t key_len = strlen(key);
        assert_ok(feox_expire(k->store, key, key_len, 1000000));
        evict(k);
        assert_true(kit_info(k, key).ttl_ms > 0);
        assert_ok(feox_persist(k->store, key, key_len));
        assert_int_equal(kit_info(k, key).ttl_ms, -1);
        evict(k);
        kit_expect_bytes(k, key, key_len, value, sizes[i]);
    }
    assert_status(feox_expire(k->store, "none", 4, 5), FEOX_NOT_FOUND);
    /* What is beyond all time is beyond it, and not long ago. */
    const uint64_t ages[] = {UINT64_MAX, UINT64_MAX / 1000000, UINT64_MAX / 1000000 - 1};
    for (unsigned i = 0; i < 3; i++) {
        assert_ok(feox_expire(k->store, "tiny", 4, ages[i]));
        assert_ok(feox_contains(k->store, "tiny", 4));
        assert_true(kit_info(k, "tiny").ttl_ms > 0);
    }
}

static void counters_and_documents(void **state) {
    kit *k = *state;
    int64_t number = 0;
    begin(k);
    for (int64_t i = 1; i < 20; i++) {
        assert_ok(feox_increment(k->store, "n", 1, 3, &number));
        assert_int_equal(number, 3 * i);
        evict(k);
    }
    assert_ok(kit_put(k, "d", "{\"a\":1}"));
    evict(k);
    assert_ok(feox_json_patch(k->store, "d", 1, "[{\"op\":\"remove\",\"path\":\"/a\"}]", 29));
    evict(k);
    assert_ok(feox_json_merge(k->store, "d", 1, "{\"b\":2}", 7));
    evict(k);
    kit_expect(k, "d", "{\"b\":2}");
    const char *key = put_value(k, 3, 'd');
    assert_status(feox_increment(k->store, key, strlen(key), 1, &number), FEOX_ERR_NOT_COUNTER);
    assert_status(feox_json_patch(k->store, "d", 1, NULL, 0), FEOX_ERR_JSON);
    kit_expect(k, "d", "{\"b\":2}");
}

/* Any allocation of the call may be refused: it is told, and the value is as it was. */
static void without_memory(void **state) {
    kit *k = *state;
    unsigned refused = 0;
    begin(k);
    const char *key = put_value(k, 3, 'e');
    memset(other, 'f', sizes[3]);
    for (uint64_t n = 1;; n++) {
        evict(k);
        fx_mem_fail_after(n, n % 2 == 0);
        feox_status status =
            feox_compare_and_swap(k->store, key, 5, value, sizes[3], other, sizes[3]);
        uint64_t failed = fx_mem_failed();
        fx_mem_fail_after(0, false);
        if (status == FEOX_OK) {
            kit_expect_bytes(k, key, 5, other, sizes[3]);
            assert_ok(feox_insert(k->store, key, 5, value, sizes[3]));
        } else {
            assert_status(status, FEOX_ERR_MEMORY);
            kit_expect_bytes(k, key, 5, value, sizes[3]);
            refused++;
        }
        if (failed == 0) {
            break;
        }
    }
    assert_true(refused > 0);
}

/* What is damaged cannot be compared. */
static void damaged(void **state) {
    kit *k = *state;
    size_t size = 0;
    begin(k);
    const char *key = put_value(k, 3, 'g');
    evict(k);
    unsigned char *file = fx_file_slurp(k->path, &size);
    unsigned char *at = memmem(file, size, value, sizes[3]);
    assert_non_null(at);
    fx_file_patch(k->path, (uint64_t)(at - file) + 100, "x", 1);
    assert_status(feox_compare_and_swap(k->store, key, 5, value, sizes[3], "no", 2),
                  FEOX_ERR_CORRUPT);
    assert_status(feox_expire(k->store, key, 5, 1000), FEOX_ERR_CORRUPT);
    assert_int_equal(kit_info(k, key).ttl_ms, -1);
    fx_file_patch(k->path, (uint64_t)(at - file) + 100, "g", 1);
    assert_ok(feox_compare_and_swap(k->store, key, 5, value, sizes[3], "yes", 3));
    kit_expect(k, key, "yes");
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(swaps), KIT_FILE(times_to_live),
                                       KIT_FILE(counters_and_documents), KIT_FILE(without_memory),
                                       KIT_FILE(damaged)};
    return cmocka_run_group_tests_name("store/write", tests, NULL, NULL);
}
