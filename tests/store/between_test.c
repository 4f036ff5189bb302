/* What another caller does between two steps of a call: the key is written, deleted, evicted or
 * expires after its value was read and before the lock is taken. The call decides on what is there
 * then. And what a call waits for: a write before it that the device refuses, a reader that stalls.
 *
 * The linker's --wrap of the step does what the other caller would do just then.
 */
#define _GNU_SOURCE
#include "support/tap.h"

#include "engine/evict.h"
#include "engine/fetch.h"
#include "index/epoch.h"
#include "store/json.h"
#include "store/store.h"
#include "support/kit.h"

feox_status __real_fx_fetch(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                            void *buffer, size_t capacity, fx_fetched *out);
feox_status __wrap_fx_fetch(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                            void *buffer, size_t capacity, fx_fetched *out);
feox_status __real_fx_reader_read(fx_flusher *flusher, const fx_wanted *wanted,
                                  fx_block **block_out);
feox_status __wrap_fx_reader_read(fx_flusher *flusher, const fx_wanted *wanted,
                                  fx_block **block_out);
bool __real_fx_table_read(fx_table *table, uint64_t hash, bool persistent, bool mark,
                          const void *key, size_t key_len, void *buffer, size_t capacity,
                          fx_record_view *view_out);
bool __wrap_fx_table_read(fx_table *table, uint64_t hash, bool persistent, bool mark,
                          const void *key, size_t key_len, void *buffer, size_t capacity,
                          fx_record_view *view_out);
feox_status __real_fx_json_merge(const char *document, size_t document_len, const char *merge,
                                 size_t merge_len, size_t limit, char **out, size_t *len_out);
feox_status __wrap_fx_json_merge(const char *document, size_t document_len, const char *merge,
                                 size_t merge_len, size_t limit, char **out, size_t *len_out);
feox_status __real_feox_info(feox_store *store, const void *key, size_t key_len,
                             feox_key_info *info_out);
feox_status __wrap_feox_info(feox_store *store, const void *key, size_t key_len,
                             feox_key_info *info_out);

#define SIZE ((size_t)70000)
#define LARGE ((size_t)1 << 20)

static kit *now;
typedef enum step { READING, BEHIND_READING, EDITING, ON_DISK, LOOKING } step;

static void (*others)(void); /* come once, in that step; NULL: nobody is there */
static step their_step;
static unsigned reads;
static unsigned edits;
static unsigned disk_reads;
static unsigned looks;        /* into the table; they come at the second */
static feox_status disk_says; /* to the read beside which they came; FEOX_OK: what is there */
static const char *expired;   /* the key that feox_info finds no more */
static unsigned char value[LARGE];
static unsigned char other[LARGE];

static void others_turn(step now_in) {
    if (others != NULL && their_step == now_in) {
        void (*act)(void) = others;
        others = NULL;
        act();
    }
}

feox_status __wrap_fx_fetch(fx_engine *engine, uint64_t hash, const void *key, size_t key_len,
                            void *buffer, size_t capacity, fx_fetched *out) {
    reads++;
    others_turn(READING);
    feox_status status = __real_fx_fetch(engine, hash, key, key_len, buffer, capacity, out);
    others_turn(BEHIND_READING);
    return status;
}

feox_status __wrap_fx_json_merge(const char *document, size_t document_len, const char *merge,
                                 size_t merge_len, size_t limit, char **out, size_t *len_out) {
    edits++;
    others_turn(EDITING);
    return __real_fx_json_merge(document, document_len, merge, merge_len, limit, out, len_out);
}

feox_status __wrap_fx_reader_read(fx_flusher *flusher, const fx_wanted *wanted,
                                  fx_block **block_out) {
    disk_reads++;
    if (others == NULL || their_step != ON_DISK || disk_says == FEOX_OK) {
        others_turn(ON_DISK);
        return __real_fx_reader_read(flusher, wanted, block_out);
    }
    others_turn(ON_DISK);
    return disk_says;
}

bool __wrap_fx_table_read(fx_table *table, uint64_t hash, bool persistent, bool mark,
                          const void *key, size_t key_len, void *buffer, size_t capacity,
                          fx_record_view *view_out) {
    if (++looks == 2) {
        others_turn(LOOKING);
    }
    return __real_fx_table_read(table, hash, persistent, mark, key, key_len, buffer, capacity,
                                view_out);
}

feox_status __wrap_feox_info(feox_store *store, const void *key, size_t key_len,
                             feox_key_info *info_out) {
    feox_status status = __real_feox_info(store, key, key_len, info_out);
    bool is = expired != NULL && key_len == strlen(expired) && memcmp(key, expired, key_len) == 0;
    return is ? FEOX_NOT_FOUND : status;
}

static void meanwhile(kit *k, void (*act)(void), step in) {
    now = k;
    others = act;
    their_step = in;
    reads = edits = disk_reads = looks = 0;
    disk_says = FEOX_OK;
}

/* ---- Documents ---- */

static void replace_document(void) {
    assert_ok(kit_put(now, "d", "{\"c\":3}"));
}

static void delete_document(void) {
    assert_ok(kit_delete(now, "d"));
}

static void edited_documents(void **state) {
    kit *k = *state;
    feox_write write;
    assert_ok(kit_put(k, "d", "{\"a\":1}"));
    meanwhile(k, replace_document, EDITING);
    assert_ok(feox_json_merge(k->store, "d", 1, "{\"b\":2}", 7));
    assert_int_equal(edits, 2); /* once more, on the new text */
    kit_expect(k, "d", "{\"c\":3,\"b\":2}");
    feox_write_init(&write);
    write.flags = FEOX_IF_VERSION;
    write.version = kit_info(k, "d").version;
    meanwhile(k, replace_document, EDITING);
    assert_status(feox_json_merge_with(k->store, "d", 1, "{\"b\":2}", 7, &write, NULL),
                  FEOX_MISMATCH);
    kit_expect(k, "d", "{\"c\":3}");
    meanwhile(k, delete_document, EDITING);
    assert_status(feox_json_merge(k->store, "d", 1, "{\"b\":2}", 7), FEOX_NOT_FOUND);
    assert_int_equal(edits, 1);
    assert_status(kit_contains(k, "d"), FEOX_NOT_FOUND);
}

/* ---- Values that are on disk ---- */

static void evict(void) {
    assert_ok(feox_flush(now->store));
    (void)fx_evict_any(&now->store->engine, UINT32_MAX);
    (void)fx_evict_any(&now->store->engine, UINT32_MAX);
}

static void replace_value(void) {
    assert_ok(feox_insert(now->store, "v", 1, other, SIZE));
    evict();
}

static void shorten_value(void) {
    assert_ok(kit_put(now, "v", "short"));
}

static void delete_value(void) {
    assert_ok(kit_delete(now, "v"));
}

static void put_evicted(kit *k, void (*act)(void), step in) {
    assert_ok(feox_insert(k->store, "v", 1, value, SIZE));
    now = k;
    evict();
    meanwhile(k, act, in);
}

static feox_status swap(kit *k, const void *expected, size_t size) {
    return feox_compare_and_swap(k->store, "v", 1, expected, size, "new", 3);
}

/* Nothing happens in the background. */
static void begin(kit *k) {
    k->options.memory_limit = (uint64_t)256 << 20;
    k->options.flush_interval_ms = 3600000;
    k->options.sweep_interval_ms = 3600000;
    kit_restart(k);
    memset(value, 'a', SIZE);
    memset(other, 'b', SIZE);
}

static void compared_values(void **state) {
    kit *k = *state;
    begin(k);
    put_evicted(k, NULL, READING);
    assert_ok(swap(k, value, SIZE));
    assert_int_equal(reads, 1);
    /* What was read is not what is there: it is read again. */
    put_evicted(k, replace_value, BEHIND_READING);
    assert_status(swap(k, value, SIZE), FEOX_MISMATCH);
    assert_int_equal(reads, 2);
    kit_expect_bytes(k, "v", 1, other, SIZE);
    put_evicted(k, replace_value, BEHIND_READING);
    assert_ok(swap(k, other, SIZE));
    assert_int_equal(reads, 2);
    kit_expect(k, "v", "new");
    /* It fits its record by now. */
    put_evicted(k, shorten_value, READING);
    assert_ok(feox_expire(k->store, "v", 1, 1000000));
    assert_int_equal(reads, 1);
    kit_expect(k, "v", "short");
    put_evicted(k, delete_value, READING);
    assert_status(swap(k, value, SIZE), FEOX_NOT_FOUND);
    put_evicted(k, delete_value, BEHIND_READING);
    assert_status(swap(k, value, SIZE), FEOX_NOT_FOUND);
    assert_status(kit_contains(k, "v"), FEOX_NOT_FOUND);
    /* It was read, and has left memory again: what was read is enough. */
    put_evicted(k, evict, BEHIND_READING);
    assert_ok(feox_expire(k->store, "v", 1, 1000000));
    assert_int_equal(reads, 1);
    kit_expect_bytes(k, "v", 1, value, SIZE);
    assert_true(kit_info(k, "v").ttl_ms > 0);
    put_evicted(k, evict, BEHIND_READING);
    assert_ok(swap(k, value, SIZE));
    assert_int_equal(reads, 1);
    kit_expect(k, "v", "new");
}

static void compact(void) {
    assert_ok(feox_compact(now->store));
}

static void expire_value(void) {
    assert_ok(feox_expire(now->store, "v", 1, 1));
    kit_sleep_ms(3);
}

static feox_status get(kit *k) {
    static unsigned char room[SIZE];
    size_t size = 0;
    feox_status status = feox_get_into(k->store, "v", 1, room, SIZE, &size);
    memcpy(other, room, SIZE);
    return status;
}

static uint64_t damaged(kit *k) {
    feox_statistics statistics;
    feox_statistics_init(&statistics);
    assert_ok(feox_stats(k->store, &statistics));
    return statistics.corrupt_records;
}

/* The place on disk is not what it was when the value was looked up: another look says whether the
 * value has moved, was replaced or deleted, or is really damaged. */
static void read_from_disk(void **state) {
    static const feox_status says[] = {FEOX_ERR_CORRUPT, FEOX_MISMATCH, FEOX_ERR_IO};
    kit *k = *state;
    begin(k);
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        memset(other, 'b', SIZE);
        put_evicted(k, replace_value, ON_DISK);
        disk_says = says[i];
        assert_ok(get(k));
        assert_int_equal(disk_reads, 2);
        assert_int_equal(other[0], 'b');
        put_evicted(k, delete_value, ON_DISK);
        disk_says = says[i];
        assert_status(get(k), FEOX_NOT_FOUND);
        assert_int_equal(disk_reads, 1);
        assert_ok(kit_put(k, "w", "before it in the file"));
        put_evicted(k, compact, ON_DISK);
        disk_says = says[i];
        assert_ok(get(k));
        assert_int_equal(disk_reads, 2);
        assert_int_equal(other[SIZE - 1], 'a');
        assert_ok(kit_delete(k, "w"));
    }
    assert_int_equal(damaged(k), 0);
    put_evicted(k, evict, ON_DISK); /* it stays where it is */
    disk_says = FEOX_ERR_IO;
    assert_status(get(k), FEOX_ERR_IO);
    assert_int_equal(damaged(k), 0);
    put_evicted(k, evict, ON_DISK);
    disk_says = FEOX_ERR_CORRUPT;
    assert_status(get(k), FEOX_ERR_CORRUPT);
    assert_int_equal(damaged(k), 1);
    assert_ok(get(k));
    k->dirty_close = true; /* the check would hear of it */
}

/* A value in a block is looked up twice, and is another one the second time, or none. */
static void looked_up_twice(void **state) {
    kit *k = *state;
    begin(k);
    assert_ok(feox_insert(k->store, "v", 1, value, SIZE));
    meanwhile(k, delete_value, LOOKING);
    assert_status(get(k), FEOX_NOT_FOUND);
    assert_ok(feox_insert(k->store, "v", 1, value, SIZE));
    meanwhile(k, shorten_value, LOOKING);
    assert_ok(get(k));
    assert_memory_equal(other, "short", 5);
    assert_ok(feox_insert(k->store, "v", 1, value, SIZE));
    meanwhile(k, expire_value, LOOKING);
    assert_status(get(k), FEOX_NOT_FOUND);
    assert_null(others);
}

/* ---- A write before, which the device refuses ---- */

static bool refuse_writes(const tap_event *event, long *result) {
    *result = -ENOSPC;
    return event->call == TAP_WRITE || event->call == TAP_WRITE_SYNC ||
           event->call == TAP_RING_WRITE;
}

static void refused_before(void **state) {
    kit *k = *state;
    feox_write write;
    assert_ok(kit_put(k, "d", "{\"a\":1}"));
    assert_ok(feox_flush(k->store));
    feox_write_init(&write);
    write.flags = FEOX_DURABLE | FEOX_NO_WAIT;
    tap_set(refuse_writes);
    assert_ok(feox_insert_with(k->store, "d", 1, "{\"c\":3}", 7, &write, NULL));
    assert_status(feox_json_merge(k->store, "d", 1, "{\"b\":2}", 7), FEOX_ERR_SPACE);
    kit_expect(k, "d", "{\"a\":1}");
    tap_set(NULL);
    assert_ok(feox_json_merge(k->store, "d", 1, "{\"b\":2}", 7));
    kit_expect(k, "d", "{\"c\":3,\"b\":2}");
}

/* ---- A reader that stalls ---- */

/* What is replaced cannot go while it looks: the writer who has no room left waits, but not for
 * ever, and is told. */
static void stalled_reader(void **state) {
    kit *k = *state;
    feox_status status = FEOX_OK;
    unsigned char byte = 0;
    unsigned stored = 0;
    k->options.memory_limit = (uint64_t)32 << 20;
    k->options.sweep_interval_ms = 3600000;
    kit_restart(k);
    fx_pin pin = fx_epoch_pin(&k->store->engine.epoch);
    for (; status == FEOX_OK && stored < 100; stored += status == FEOX_OK) {
        byte++;
        memset(value, byte, LARGE);
        status = feox_insert(k->store, "v", 1, value, LARGE);
    }
    assert_status(status, FEOX_ERR_MEMORY);
    assert_true(stored > 10);
    memset(other, byte - 1, LARGE);
    kit_expect_bytes(k, "v", 1, other, LARGE);
    fx_epoch_unpin(pin);
    assert_ok(feox_insert(k->store, "v", 1, value, LARGE));
    kit_expect_bytes(k, "v", 1, value, LARGE);
}

/* ---- Salvage ---- */

/* A key that has expired since the cursor came by is neither copied nor lost. */
static void expired_when_copied(void **state) {
    kit *k = *state;
    const char *copy = fx_temp_fresh("copy");
    feox_salvage_report report;
    assert_ok(kit_put(k, "a", "1"));
    assert_ok(kit_put(k, "b", "2"));
    assert_ok(kit_put(k, "c", "3"));
    kit_close(k);
    feox_salvage_report_init(&report);
    expired = "b";
    assert_ok(feox_salvage(k->path, copy, &report, NULL, NULL));
    expired = NULL;
    assert_int_equal(report.keys_copied, 2);
    assert_int_equal(report.keys_lost, 0);
    assert_int_equal(report.problems, 0);
    fx_file_remove(k->path);
    k->path = copy;
    kit_open(k);
    kit_expect(k, "a", "1");
    assert_status(kit_contains(k, "b"), FEOX_NOT_FOUND);
    kit_expect(k, "c", "3");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(edited_documents),    KIT_FILE(compared_values), KIT_FILE(refused_before),
        KIT_FILE(read_from_disk),      KIT_TEST(looked_up_twice), KIT_MEMORY(stalled_reader),
        KIT_FILE(expired_when_copied),
    };
    return cmocka_run_group_tests_name("store/between", tests, NULL, NULL);
}
