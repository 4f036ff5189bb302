/* memory: every public call with every single allocation failing, in memory and on a file. A call
 * that fails says FEOX_ERR_MEMORY and has changed nothing; nothing leaks (under Asan).
 */
#define _GNU_SOURCE
#include "base/mem.h"
#include "support/campaign.h"
#include "support/kit.h"

#include <poll.h>

#define LARGE (200u << 10)
/* More allocations than any one call makes. */
#define TRIES 400u

static unsigned char large[LARGE];
static unsigned char other[LARGE];
static campaign calls; /* a test is a failure until it has passed */

/* Two intervals so long that the background threads do not take the failures. */
static void quiet(kit *k) {
    calls.failures++;
    k->options.flush_interval_ms = 3600000;
    k->options.sweep_interval_ms = 3600000;
    kit_restart(k);
}

/* The n-th allocation from here fails. */
static void fail_at(uint64_t n) {
    calls.cases++;
    fx_mem_fail_after(n, false);
}

static void fail_off(void) {
    fx_mem_fail_after(0, false);
    calls.faults += fx_mem_failed();
}

static void passed(void) {
    calls.failures--;
}

/* ---- Calls that change a key ---- */

typedef feox_status (*call)(kit *k);

static feox_status call_insert_new(kit *k) {
    return feox_insert(k->store, "new", 3, "value", 5);
}

static feox_status call_insert_new_large(kit *k) {
    return feox_insert(k->store, "new", 3, large, sizeof large);
}

static feox_status call_insert_longer(kit *k) {
    return feox_insert(k->store, "text", 4, other, 900);
}

static feox_status call_insert_ttl(kit *k) {
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = 3600000;
    return feox_insert_with(k->store, "text", 4, "short", 5, &write, NULL);
}

static feox_status call_durable(kit *k) {
    return feox_insert(k->store, "large", 5, other, sizeof other);
}

static feox_status call_delete(kit *k) {
    return feox_delete(k->store, "large", 5);
}

static feox_status call_swap(kit *k) {
    return feox_compare_and_swap(k->store, "large", 5, large, sizeof large, other, sizeof other);
}

static feox_status call_increment(kit *k) {
    return feox_increment(k->store, "counter", 7, 5, NULL);
}

static feox_status call_increment_new(kit *k) {
    return feox_increment(k->store, "new", 3, 5, NULL);
}

static feox_status call_patch(kit *k) {
    const char patch[] = "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[1,2,{\"c\":3}]}]";
    return feox_json_patch(k->store, "json", 4, patch, sizeof patch - 1);
}

static feox_status call_merge(kit *k) {
    const char merge[] = "{\"a\":null,\"x\":{\"y\":[1]}}";
    return feox_json_merge(k->store, "json", 4, merge, sizeof merge - 1);
}

static feox_status call_expire(kit *k) {
    return feox_expire(k->store, "text", 4, 3600000);
}

static feox_status call_expire_large(kit *k) {
    return feox_expire(k->store, "large", 5, 3600000);
}

static feox_status call_persist(kit *k) {
    return feox_persist(k->store, "mortal", 6);
}

static feox_status call_insert_many(kit *k) {
    const feox_pair pairs[1] = {{{"new", 3}, {large, sizeof large}}};
    return feox_insert_many(k->store, pairs, 1, NULL);
}

static const char *const keys[] = {"text", "large", "counter", "json", "mortal", "new"};
#define KEYS (sizeof keys / sizeof keys[0])

static void fill(kit *k) {
    memset(large, 'l', sizeof large);
    memset(other, 'o', sizeof other);
    assert_ok(kit_put(k, "text", "value"));
    assert_ok(feox_insert(k->store, "large", 5, large, sizeof large));
    assert_ok(feox_increment(k->store, "counter", 7, 7, NULL));
    assert_ok(kit_put(k, "json", "{\"a\":1}"));
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = 3600000;
    assert_ok(feox_insert_with(k->store, "mortal", 6, "m", 1, &write, NULL));
}

typedef struct picture {
    feox_status status[KEYS];
    feox_key_info info[KEYS];
    uint64_t count;
} picture;

static void look(kit *k, picture *p) {
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < KEYS; i++) {
        p->status[i] = feox_info(k->store, keys[i], strlen(keys[i]), &p->info[i]);
        p->info[i].ttl_ms = p->info[i].ttl_ms > 0 ? 1 : p->info[i].ttl_ms;
    }
    p->count = kit_count(k);
}

/* Runs `call` on a store with the keys of fill, with its n-th allocation failing, for all n. */
static void try_call(kit *k, const char *name, call what, bool flushed) {
    for (uint64_t n = 1;; n++) {
        assert_true(n < TRIES);
        kit_restart(k);
        fill(k);
        if (flushed) {
            assert_ok(feox_flush(k->store));
        }
        picture before;
        picture after;
        look(k, &before);
        fail_at(n);
        feox_status status = what(k);
        fail_off();
        look(k, &after);
        if (status == FEOX_OK) {
            /* With as many allocations as it wanted, or one of them it could do without. */
            assert_memory_not_equal(&before, &after, sizeof before);
            if (n > 40) {
                break;
            }
            continue;
        }
        if (status != FEOX_ERR_MEMORY || memcmp(&before, &after, sizeof before) != 0) {
            print_error("%s, allocation %llu: %s, %s\n", name, (unsigned long long)n,
                        feox_status_name(status), feox_last_error());
        }
        assert_status(status, FEOX_ERR_MEMORY);
        assert_memory_equal(&before, &after, sizeof before);
        assert_ok(kit_check(k->store));
        assert_ok(what(k));
        assert_ok(kit_check(k->store));
    }
}

#define TRY(name, flushed) try_call(k, #name, name, flushed)

static void writes_fail_whole(void **state) {
    kit *k = *state;
    quiet(k);
    TRY(call_insert_new, false);
    TRY(call_insert_new_large, false);
    TRY(call_insert_longer, true);
    TRY(call_insert_ttl, false);
    TRY(call_delete, true);
    TRY(call_swap, false);
    TRY(call_increment, false);
    TRY(call_increment_new, false);
    passed();
}

static void more_writes_fail_whole(void **state) {
    kit *k = *state;
    quiet(k);
    TRY(call_patch, false);
    TRY(call_merge, true);
    TRY(call_expire, false);
    TRY(call_expire_large, true);
    TRY(call_persist, false);
    TRY(call_insert_many, false);
    passed();
}

static void expect_large(kit *k, bool is_new) {
    unsigned char *value = NULL;
    size_t size = 0;
    assert_ok(feox_get(k->store, "large", 5, (void **)&value, &size));
    assert_int_equal(size, LARGE);
    assert_memory_equal(value, is_new ? other : large, LARGE);
    feox_free(value);
}

/* A durable write that fails for memory, at whatever step, has changed nothing, now and later. */
static void durable_writes_fail_sound(void **state) {
    kit *k = *state;
    k->options.durability = FEOX_DURABILITY_DURABLE;
    quiet(k);
    for (uint64_t n = 1; n < 40; n++) {
        kit_restart(k);
        fill(k);
        fail_at(n);
        feox_status status = call_durable(k);
        fail_off();
        assert_true(status == FEOX_OK || status == FEOX_ERR_MEMORY);
        assert_ok(kit_check(k->store));
        assert_ok(feox_flush(k->store));
        expect_large(k, status == FEOX_OK);
        kit_reopen(k);
        expect_large(k, status == FEOX_OK);
    }
    passed();
}

/* A write that nobody waits for, and no memory to flush it: told, and tried again by itself. */
static void in_flight_without_memory(void **state) {
    kit *k = *state;
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE | FEOX_NO_WAIT;
    struct pollfd one = {.events = POLLIN};
    unsigned failures = 0;
    quiet(k);
    assert_ok(feox_durable_fd(k->store, &one.fd));
    for (int i = 0; i < 30; i++) {
        feox_written written;
        uint64_t durable = 0;
        assert_ok(feox_insert_with(k->store, "key", 3, &i, sizeof i, &write, &written));
        calls.cases++;
        fx_mem_fail_after(1, true);
        feox_status status = FEOX_OK;
        while (status == FEOX_OK && durable < written.sequence) {
            assert_int_equal(poll(&one, 1, 60000), 1);
            status = feox_durable_sequence(k->store, &durable);
        }
        fail_off();
        assert_true(status == FEOX_OK || status == FEOX_ERR_MEMORY);
        failures += status == FEOX_ERR_MEMORY;
        while (durable < written.sequence) {
            assert_int_equal(poll(&one, 1, 60000), 1);
            status = feox_durable_sequence(k->store, &durable);
            assert_true(status == FEOX_OK || status == FEOX_ERR_MEMORY);
        }
        kit_expect_bytes(k, "key", 3, &i, sizeof i);
    }
    printf("%u of 30 flushes lacked memory\n", failures);
    passed();
}

/* ---- Calls that only read ---- */

static void reads_fail_whole(void **state) {
    kit *k = *state;
    quiet(k);
    fill(k);
    for (uint64_t n = 1; n < 12; n++) {
        void *value = k;
        size_t size = 7;
        fail_at(n);
        feox_status status = feox_get(k->store, "large", 5, &value, &size);
        fail_off();
        assert_true(status == FEOX_OK || (status == FEOX_ERR_MEMORY && value == NULL && size == 0));
        feox_free(value);
        feox_view view;
        fail_at(n);
        status = feox_get_view(k->store, "text", 4, &view);
        fail_off();
        assert_true(status == FEOX_OK || (status == FEOX_ERR_MEMORY && view.data == NULL));
        feox_view_release(&view);
        feox_pairs *pairs = NULL;
        fail_at(n);
        status = feox_range_query(k->store, NULL, 0, NULL, 0, 0, &pairs);
        fail_off();
        assert_true(status == FEOX_OK || (status == FEOX_ERR_MEMORY && pairs == NULL));
        assert_true(pairs == NULL || pairs->count == 5);
        feox_pairs_free(pairs);
    }
    passed();
}

/* ---- Opening and closing ---- */

static void open_fails_clean(void **state) {
    kit *k = *state;
    quiet(k);
    fill(k);
    for (unsigned round = 0; round < 2; round++) {
        feox_status status = FEOX_ERR_MEMORY;
        kit_close(k);
        unsigned successes = 0;
        for (uint64_t n = 1; successes < 30; n++) {
            assert_true(n < 10 * TRIES);
            feox_store *store = (feox_store *)k;
            fail_at(n);
            status = feox_open(k->path, &k->options, &store);
            fail_off();
            if (status == FEOX_OK) {
                successes++;
                assert_ok(feox_close(store));
                continue;
            }
            if (status != FEOX_ERR_MEMORY) {
                print_error("open, allocation %llu: %s\n", (unsigned long long)n,
                            feox_last_error());
            }
            assert_status(status, FEOX_ERR_MEMORY);
            assert_null(store);
        }
        kit_open(k);
        if (k->file) {
            assert_int_equal(kit_count(k), 5);
            kit_expect_bytes(k, "large", 5, large, sizeof large);
        }
    }
    passed();
}

/* Paths that cannot be opened, again and again; Asan counts what stays behind. */
static void bad_paths_leak_nothing(void **state) {
    (void)state;
    const char *junk = fx_temp_fresh("junk");
    const char *under = fx_temp_fresh("missing");
    char deep[4096];
    (void)snprintf(deep, sizeof deep, "%s/below", under);
    unsigned char bytes[8192];
    memset(bytes, 0x5a, sizeof bytes);
    fx_file_write(junk, bytes, sizeof bytes);
    feox_options options;
    kit_options_init(&options);
    for (unsigned i = 0; i < 30; i++) {
        feox_store *store = (feox_store *)bytes;
        assert_failure(feox_open(deep, &options, &store));
        assert_null(store);
        assert_failure(feox_open(fx_temp_dir(), &options, &store));
        assert_status(feox_open(junk, &options, &store), FEOX_ERR_NOT_FEOX);
        options.create = FEOX_NO;
        assert_status(feox_open(under, &options, &store), FEOX_NOT_FOUND);
        options.create = FEOX_YES;
        options.read_only = i % 2 == 0 ? FEOX_YES : FEOX_NO;
        assert_status(feox_open(junk, &options, &store), FEOX_ERR_NOT_FEOX);
        options.read_only = FEOX_NO;
        assert_null(store);
    }
    assert_true(fx_file_equals(junk, bytes, sizeof bytes));
    fx_file_remove(junk);
}

/* A flush that fails in feox_close is reported, and everything is released. */
static void close_reports_a_failing_flush(void **state) {
    kit *k = *state;
    quiet(k);
    unsigned failures = 0;
    for (uint64_t n = 1; n < 12; n++) {
        kit_restart(k);
        fill(k);
        assert_ok(feox_flush(k->store));
        assert_ok(kit_put(k, "text", "newer"));
        feox_store *store = k->store;
        k->store = NULL;
        fail_at(n);
        feox_status status = feox_close(store);
        fail_off();
        assert_true(status == FEOX_OK || status == FEOX_ERR_MEMORY);
        failures += status != FEOX_OK;
        kit_open(k);
        kit_expect(k, "text", status == FEOX_OK ? "newer" : "value");
    }
    assert_true(failures > 0);
    passed();
}

/* ---- Cursors ---- */

/* Walks 200 keys with the n-th allocation failing; a failing step can be repeated. */
static void walk(kit *k, uint64_t n, bool reverse) {
    feox_range range;
    feox_range_init(&range);
    range.flags = reverse ? FEOX_REVERSE : 0;
    range.start = "k";
    range.start_len = 1;
    range.end = "l";
    range.end_len = 1;
    feox_cursor *cursor = NULL;
    assert_ok(feox_cursor_open(k->store, &range, &cursor));
    unsigned count = 0;
    feox_slice key;
    feox_slice value;
    feox_status status = FEOX_OK;
    fail_at(n);
    while (status == FEOX_OK || status == FEOX_ERR_MEMORY) {
        status = feox_cursor_next(cursor, &key, &value);
        count += status == FEOX_OK;
    }
    fail_off();
    assert_status(status, FEOX_END);
    assert_int_equal(count, 200);
    feox_cursor_close(cursor);
}

static void a_cursor_goes_on(void **state) {
    kit *k = *state;
    quiet(k);
    for (unsigned i = 0; i < 200; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%03u", i);
        if (i % 50 == 20) { /* no cursor copies that beforehand */
            assert_ok(feox_insert(k->store, key, strlen(key), large, 3000));
        } else {
            assert_ok(kit_put(k, key, i % 3 == 0 ? "a" : "bbbbbbbbbbbb"));
        }
    }
    assert_ok(kit_put(k, "a", "before the range"));
    assert_ok(kit_put(k, "m", "behind the range"));
    for (uint64_t n = 1; n < 40; n++) {
        walk(k, n, false);
        walk(k, n, true);
    }
    passed();
}

/* A seek that fails leaves the cursor where it was. */
static void a_seek_that_fails_changes_nothing(void **state) {
    kit *k = *state;
    quiet(k);
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%03u", i);
        assert_ok(kit_put(k, key, "v"));
    }
    feox_range range;
    feox_range_init(&range);
    range.start = "k";
    range.start_len = 1;
    for (uint64_t n = 1; n < 6; n++) {
        feox_cursor *cursor = NULL;
        feox_slice key;
        assert_ok(feox_cursor_open(k->store, &range, &cursor));
        for (unsigned i = 0; i < 10; i++) {
            assert_ok(feox_cursor_next(cursor, &key, NULL));
        }
        fail_at(n);
        feox_status status = feox_cursor_seek(cursor, "k050", 4);
        fail_off();
        assert_true(status == FEOX_OK || status == FEOX_ERR_MEMORY);
        assert_ok(feox_cursor_next(cursor, &key, NULL));
        assert_memory_equal(key.data, status == FEOX_OK ? "k050" : "k010", 4);
        feox_cursor_close(cursor);
    }
    passed();
}

static int end(void **state) {
    (void)state;
    campaign_end(&calls);
    return 0;
}

int main(void) {
    fx_temp_in_memory();
    const struct CMUnitTest tests[] = {
        KIT_TEST(writes_fail_whole),   KIT_TEST(more_writes_fail_whole),
        KIT_TEST(reads_fail_whole),
        KIT_TEST(open_fails_clean),    KIT_TEST(a_cursor_goes_on),
        KIT_TEST(a_seek_that_fails_changes_nothing),
        cmocka_unit_test(bad_paths_leak_nothing),
        KIT_FILE(close_reports_a_failing_flush),
        KIT_FILE(durable_writes_fail_sound),
        KIT_FILE(in_flight_without_memory),
    };
    campaign_begin(&calls, "C5 calls");
    return cmocka_run_group_tests(tests, NULL, end);
}
