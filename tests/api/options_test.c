/* What a caller can do wrong: sizes of structs, NULLs, values out of range. Nothing changes
 * then. */
#define _GNU_SOURCE
#include "support/kit.h"

/* A struct as a later version of the library would have it. */
typedef struct later_write {
    feox_write write;
    uint64_t more[4];
} later_write;

typedef struct later_options {
    feox_options options;
    uint64_t more[4];
} later_options;

typedef struct later_range {
    feox_range range;
    uint64_t more[4];
} later_range;

static void init_functions_give_defaults(void **state) {
    (void)state;
    feox_options options;
    memset(&options, 0xff, sizeof options);
    feox_options_init(&options);
    assert_int_equal(options.struct_size, sizeof options);
    assert_int_equal(options.reserved, 0);
    assert_int_equal(options.durability, FEOX_DURABILITY_RELAXED);
    assert_int_equal(options.io_backend, FEOX_IO_AUTO);
    feox_write write;
    memset(&write, 0xff, sizeof write);
    feox_write_init(&write);
    assert_int_equal(write.struct_size, sizeof write);
    assert_int_equal(write.flags, 0);
    assert_int_equal(write.timestamp, 0);
    assert_int_equal(write.ttl_ms, 0);
    feox_range range;
    memset(&range, 0xff, sizeof range);
    feox_range_init(&range);
    assert_int_equal(range.struct_size, sizeof range);
    assert_null(range.start);
    assert_int_equal(range.limit, 0);
    assert_int_equal(range.flags, 0);
    feox_statistics stats;
    memset(&stats, 0xff, sizeof stats);
    feox_statistics_init(&stats);
    assert_int_equal(stats.struct_size, sizeof stats);
    assert_int_equal(stats.keys, 0);
    feox_check_report report;
    memset(&report, 0xff, sizeof report);
    feox_check_report_init(&report);
    assert_int_equal(report.struct_size, sizeof report);
    assert_int_equal(report.problems, 0);
}

static void refuse_options(const feox_options *options) {
    int dummy;
    feox_store *store = (feox_store *)&dummy;
    assert_status(feox_open(NULL, options, &store), FEOX_ERR_ARGUMENT);
    assert_null(store);
    const char *path = fx_temp_fresh("refused");
    store = (feox_store *)&dummy;
    assert_status(feox_open(path, options, &store), FEOX_ERR_ARGUMENT);
    assert_null(store);
    assert_false(fx_file_exists(path));
}

static void options_out_of_range(void **state) {
    (void)state;
    feox_options options;
#define REFUSE(member, value)                                                                      \
    feox_options_init(&options);                                                                   \
    options.member = (value);                                                                      \
    refuse_options(&options)
    REFUSE(struct_size, 4);
    REFUSE(durability, 2);
    REFUSE(durability, -1);
    REFUSE(io_backend, 3);
    REFUSE(io_backend, -1);
    REFUSE(create, 3);
    REFUSE(create, -1);
    REFUSE(read_only, 3);
    REFUSE(ordered, 3);
    REFUSE(reserved, 1);
    REFUSE(value_size_limit, (uint64_t)FEOX_VALUE_SIZE_MAX + 1);
    REFUSE(value_size_limit, UINT64_MAX);
#undef REFUSE
    feox_options_init(&options); /* larger than it may become */
    options.file_size_initial = (uint64_t)9 << 20;
    options.file_size_limit = (uint64_t)8 << 20;
    refuse_options(&options);
}

/* NULL is legal for whoever makes no use of the struct; a struct that says 0 is one of ours. */
static void structs_that_say_little(void **state) {
    (void)state;
    feox_options_init(NULL);
    feox_write_init(NULL);
    feox_range_init(NULL);
    feox_statistics_init(NULL);
    feox_check_report_init(NULL);
    feox_salvage_report_init(NULL);
    feox_options options = {0};
    feox_statistics stats = {0};
    feox_store *store = NULL;
    assert_ok(feox_open(NULL, &options, &store));
    assert_ok(feox_insert(store, "k", 1, "v", 1));
    assert_ok(feox_stats(store, &stats));
    assert_int_equal(stats.keys, 1);
    struct {
        feox_statistics known;
        uint64_t more;
    } later;
    memset(&later, 0x55, sizeof later); /* a caller of a later version */
    later.known.struct_size = sizeof later;
    assert_ok(feox_stats(store, &later.known));
    assert_int_equal(later.known.keys, 1);
    assert_int_equal(later.more, 0x5555555555555555u);
    size_t smallest = sizeof smallest; /* and one that wants nothing */
    assert_ok(feox_stats(store, (feox_statistics *)(void *)&smallest));
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_KEEP_TTL | FEOX_CLEAR_TTL;
    assert_status(feox_insert_with(store, "k", 1, "w", 1, &write, NULL), FEOX_ERR_ARGUMENT);
    assert_ok(feox_close(store));
}

static void options_that_are_legal(void **state) {
    kit *k = *state;
    k->options.value_size_limit = FEOX_VALUE_SIZE_MAX;
    k->options.expected_keys = 100000;
    k->options.file_size_initial = 1 << 20;
    k->options.create = FEOX_YES;
    k->options.ordered = FEOX_YES;
    k->options.read_only = FEOX_NO;
    k->options.flush_interval_ms = 1;
    k->options.sweep_interval_ms = 1;
    k->options.memory_limit = UINT64_MAX;
    kit_restart(k);
    assert_ok(kit_put(k, "key", "value"));
    kit_sleep_ms(20);
    do {
        kit_expect(k, "key", "value");
    } while (kit_again(k));
}

static void every_io_backend_works_or_is_unsupported(void **state) {
    (void)state;
    static const int32_t backends[] = {FEOX_IO_AUTO, FEOX_IO_URING, FEOX_IO_THREADS};
    const char *path = fx_temp_fresh("backends");
    for (int32_t i = 0; i < 3; i++) {
        feox_options options;
        feox_options_init(&options);
        options.io_backend = backends[i];
        feox_store *store = NULL;
        feox_status status = feox_open(path, &options, &store);
        if (backends[i] == FEOX_IO_URING && status == FEOX_ERR_UNSUPPORTED) {
            printf("io_uring is not available here: %s\n", feox_last_error());
            assert_null(store);
            continue;
        }
        assert_ok(status);
        for (int32_t n = 0; n <= i; n++) {
            assert_ok(feox_insert(store, &n, sizeof n, &n, sizeof n));
        }
        assert_ok(feox_flush(store));
        assert_ok(kit_check(store));
        assert_ok(feox_close(store));
    }
    feox_store *store = NULL;
    uint64_t count = 0;
    assert_ok(feox_open(path, NULL, &store));
    assert_ok(feox_count(store, &count));
    assert_int_equal(count, 3);
    assert_ok(feox_close(store));
}

static void structs_from_a_later_version(void **state) {
    kit *k = *state;
    later_write write;
    memset(&write, 0, sizeof write);
    feox_write_init(&write.write);
    write.write.struct_size = sizeof write;
    assert_ok(feox_insert_with(k->store, "k", 1, "v", 1, &write.write, NULL));
    write.more[3] = 1;
    assert_failure(feox_insert_with(k->store, "k", 1, "w", 1, &write.write, NULL));
    assert_failure(feox_delete_with(k->store, "k", 1, &write.write, NULL));
    kit_expect(k, "k", "v");
    later_range range;
    memset(&range, 0, sizeof range);
    feox_range_init(&range.range);
    range.range.struct_size = sizeof range;
    feox_cursor *cursor = NULL;
    assert_ok(feox_cursor_open(k->store, &range.range, &cursor));
    feox_cursor_close(cursor);
    range.more[0] = 1;
    assert_failure(feox_cursor_open(k->store, &range.range, &cursor));
    assert_null(cursor);
    later_options options;
    memset(&options, 0, sizeof options);
    feox_options_init(&options.options);
    options.options.struct_size = sizeof options;
    feox_store *store = NULL;
    assert_ok(feox_open(NULL, &options.options, &store));
    assert_ok(feox_close(store));
    ((unsigned char *)&options)[sizeof options - 1] = 1;
    assert_failure(feox_open(NULL, &options.options, &store));
    assert_null(store);
}

static void refuse_write(kit *k, const feox_write *write) {
    feox_written written;
    memset(&written, 0xff, sizeof written);
    assert_status(feox_insert_with(k->store, "key", 3, "x", 1, write, &written), FEOX_ERR_ARGUMENT);
    assert_int_equal(written.version, 0);
    assert_status(feox_delete_with(k->store, "key", 3, write, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_increment_with(k->store, "n", 1, 1, write, NULL, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_compare_and_swap_with(k->store, "key", 3, "v", 1, "x", 1, write, NULL),
                  FEOX_ERR_ARGUMENT);
    assert_status(feox_json_merge_with(k->store, "j", 1, "{\"a\":1}", 7, write, NULL),
                  FEOX_ERR_ARGUMENT);
    assert_status(feox_expire_with(k->store, "key", 3, 1000, write, NULL), FEOX_ERR_ARGUMENT);
    kit_expect(k, "key", "v");
    kit_expect(k, "j", "{}");
    kit_expect_absent(k, "n");
}

static void writes_that_contradict_themselves(void **state) {
    kit *k = *state;
    feox_write write;
    assert_ok(kit_put(k, "key", "v"));
    assert_ok(kit_put(k, "j", "{}"));
#define REFUSE(member, value)                                                                      \
    feox_write_init(&write);                                                                       \
    write.member = (value);                                                                        \
    refuse_write(k, &write)
    REFUSE(struct_size, 3);
    REFUSE(reserved, 1);
    REFUSE(flags, FEOX_IF_ABSENT | FEOX_IF_PRESENT);
    REFUSE(flags, FEOX_IF_ABSENT | FEOX_IF_VERSION);
    REFUSE(flags, FEOX_IF_PRESENT | FEOX_IF_VERSION);
    REFUSE(flags, 0x80u);
    REFUSE(flags, 0x80000000u);
#undef REFUSE
    feox_write_init(&write);
    write.ttl_ms = 1000;
    write.flags = FEOX_KEEP_TTL;
    refuse_write(k, &write);
    write.flags = FEOX_CLEAR_TTL;
    refuse_write(k, &write);
}

static void null_where_it_is_not_legal(void **state) {
    kit *k = *state;
    void *value = NULL;
    size_t size = 0;
    uint64_t count = 0;
    feox_view view;
    feox_key_info info;
    assert_status(feox_open(NULL, NULL, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_insert(NULL, "k", 1, "v", 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_get(NULL, "k", 1, &value, &size), FEOX_ERR_ARGUMENT);
    assert_status(feox_get_into(NULL, "k", 1, NULL, 0, &size), FEOX_ERR_ARGUMENT);
    assert_status(feox_get_view(NULL, "k", 1, &view), FEOX_ERR_ARGUMENT);
    assert_status(feox_info(NULL, "k", 1, &info), FEOX_ERR_ARGUMENT);
    assert_status(feox_count(NULL, &count), FEOX_ERR_ARGUMENT);
    assert_status(feox_flush(NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_clear(NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_check(NULL, NULL, NULL, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_insert(k->store, NULL, 1, "v", 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_insert(k->store, "k", 1, NULL, 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_get(k->store, NULL, 1, &value, &size), FEOX_ERR_ARGUMENT);
    assert_status(feox_get(k->store, "k", 1, NULL, &size), FEOX_ERR_ARGUMENT);
    assert_status(feox_delete(k->store, NULL, 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_count(k->store, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_ttl(k->store, "k", 1, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_info(k->store, "k", 1, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_get_view(k->store, "k", 1, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_stats(k->store, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_cursor_open(k->store, NULL, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_range_query(k->store, NULL, 0, NULL, 0, 0, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_range_query(k->store, NULL, 1, NULL, 0, 0, &(feox_pairs *){NULL}),
                  FEOX_ERR_ARGUMENT);
    assert_status(feox_insert_many(k->store, NULL, 1, NULL), FEOX_ERR_ARGUMENT);
    assert_status(feox_get_many(k->store, NULL, 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_compare_and_swap(k->store, "k", 1, NULL, 1, "v", 1), FEOX_ERR_ARGUMENT);
    assert_status(feox_json_patch(k->store, "k", 1, NULL, 1), FEOX_ERR_ARGUMENT);
    assert_int_equal(kit_count(k), 0);
}

static void null_where_it_is_legal(void **state) {
    kit *k = *state;
    assert_ok(feox_insert_with(k->store, "k", 1, NULL, 0, NULL, NULL));
    assert_ok(feox_get_into(k->store, "k", 1, NULL, 0, NULL));
    assert_ok(feox_compare_and_swap_with(k->store, "k", 1, NULL, 0, "12345678", 8, NULL, NULL));
    assert_ok(feox_increment_with(k->store, "k", 1, 1, NULL, NULL, NULL));
    assert_ok(feox_increment(k->store, "k", 1, 1, NULL));
    assert_ok(feox_expire_with(k->store, "k", 1, 60000, NULL, NULL));
    assert_ok(feox_persist_with(k->store, "k", 1, NULL, NULL));
    assert_ok(feox_insert_many(k->store, NULL, 0, NULL));
    assert_ok(feox_get_many(k->store, NULL, 0));
    assert_ok(feox_check(k->store, NULL, NULL, NULL));
    assert_ok(feox_delete_with(k->store, "k", 1, NULL, NULL));
}

static void ranges_that_are_not_legal(void **state) {
    kit *k = *state;
    feox_range range;
    feox_cursor *cursor = NULL;
#define REFUSE(member, value)                                                                      \
    feox_range_init(&range);                                                                       \
    range.member = (value);                                                                        \
    assert_status(feox_cursor_open(k->store, &range, &cursor), FEOX_ERR_ARGUMENT);                 \
    assert_null(cursor)
    REFUSE(flags, 0x10u);
    REFUSE(reserved, 1);
    REFUSE(start_len, 1);
    REFUSE(end_len, 1);
    REFUSE(prefix_len, 1);
#undef REFUSE
}

/* A struct_size of 0 means the whole struct of version 1.0. */
static void statistics_and_check_of_any_size(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "a", "1"));
    feox_statistics stats;
    feox_statistics_init(&stats);
    stats.struct_size = 0;
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.struct_size, 0);
    stats.struct_size = 16; /* as of a version with one member */
    stats.keys = 0;
    stats.inserts = 77;
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.inserts, 77);
    feox_check_report report;
    feox_check_report_init(&report);
    report.struct_size = 0;
    assert_ok(feox_check(k->store, &report, NULL, NULL));
    assert_int_equal(report.keys_checked, 1);
}

static void statistics_count(void **state) {
    kit *k = *state;
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(kit_put(k, "a", "1"));
    assert_ok(kit_put(k, "b", "1"));
    assert_ok(kit_put(k, "a", "2"));
    assert_ok(feox_compare_and_swap(k->store, "a", 1, "2", 1, "3", 1));
    assert_ok(feox_increment(k->store, "n", 1, 1, NULL));
    assert_ok(feox_increment(k->store, "n", 1, 1, NULL));
    assert_ok(kit_delete(k, "b"));
    assert_status(kit_delete(k, "b"), FEOX_NOT_FOUND);
    assert_ok(feox_flush(k->store));
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.keys, 2);
    assert_int_equal(stats.inserts, 3);
    assert_int_equal(stats.updates, 3);
    assert_int_equal(stats.deletes, 1);
    assert_int_equal(stats.expirations, 0);
    assert_true(stats.memory_used > 0);
    assert_int_equal(stats.memory_limit, 0);
    assert_int_equal(stats.io_error, 0);
    assert_int_equal(stats.corrupt_records, 0);
    if (k->file) {
        assert_int_equal(stats.file_size, fx_file_size(k->path));
        assert_true(stats.disk_write_bytes > 0);
        assert_true(stats.groups_written > 0);
        assert_int_equal(stats.window_bytes, 0);
        assert_true(stats.file_live > 0 && stats.file_live < stats.file_size);
    } else {
        assert_int_equal(stats.file_size, 0);
        assert_int_equal(stats.disk_write_bytes, 0);
        assert_int_equal(stats.window_bytes, 0);
    }
    if (kit_reopen(k)) {
        assert_ok(feox_stats(k->store, &stats));
        assert_int_equal(stats.keys, 2);
        assert_int_equal(stats.inserts, 0);
        assert_int_equal(stats.updates, 0);
    }
}

static void the_window_closes_by_itself(void **state) {
    kit *k = *state;
    feox_statistics stats;
    feox_statistics_init(&stats);
    k->options.flush_interval_ms = 10;
    kit_restart(k);
    assert_ok(kit_put(k, "a", "1"));
    uint64_t deadline = kit_now_ms() + 10000;
    do {
        kit_sleep_ms(5);
        assert_ok(feox_stats(k->store, &stats));
    } while (stats.window_bytes > 0 && kit_now_ms() < deadline);
    assert_int_equal(stats.window_bytes, 0);
    assert_int_equal(stats.window_age_ms, 0);
    const char *copy = fx_temp_fresh("window");
    fx_file_copy(k->path, copy);
    feox_store *store = NULL;
    assert_ok(feox_open(copy, NULL, &store));
    assert_ok(feox_contains(store, "a", 1));
    assert_ok(feox_close(store));
}

static void a_failure_has_a_detail_and_only_in_its_thread(void **state) {
    kit *k = *state;
    assert_failure(feox_insert(k->store, NULL, 0, "v", 1));
    assert_non_null(feox_last_error());
    feox_store *store = NULL;
    assert_failure(feox_open(fx_temp_dir(), NULL, &store));
    assert_non_null(strstr(feox_last_error(), fx_temp_dir()));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_functions_give_defaults),
        cmocka_unit_test(options_out_of_range),
        cmocka_unit_test(structs_that_say_little),
        KIT_TEST(options_that_are_legal),
        cmocka_unit_test(every_io_backend_works_or_is_unsupported),
        KIT_TEST(structs_from_a_later_version),
        KIT_TEST(writes_that_contradict_themselves),
        KIT_TEST(null_where_it_is_not_legal),
        KIT_TEST(null_where_it_is_legal),
        KIT_TEST(ranges_that_are_not_legal),
        KIT_TEST(statistics_and_check_of_any_size),
        KIT_TEST(statistics_count),
        KIT_FILE(the_window_closes_by_itself),
        KIT_TEST(a_failure_has_a_detail_and_only_in_its_thread),
    };
    return cmocka_run_group_tests_name("api/options", tests, NULL, NULL);
}
