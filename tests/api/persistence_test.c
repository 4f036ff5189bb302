/* Files: what reopening finds, and what becomes of files that are cut, flipped or too full. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static void last_update_wins(void **state) {
    kit *k = *state;
    char value[32];
    for (int i = 0; i < 300; i++) {
        snprintf(value, sizeof value, "value %d", i);
        assert_ok(kit_put(k, "key", value));
        if (i % 100 == 50) {
            assert_ok(feox_flush(k->store));
        }
    }
    kit_reopen(k);
    kit_expect(k, "key", "value 299");
    assert_int_equal(kit_count(k), 1);
    kit_reopen(k);
    kit_expect(k, "key", "value 299");
}

static void delete_stays_deleted(void **state) {
    kit *k = *state;
    for (int round = 0; round < 4; round++) {
        assert_ok(kit_put(k, "key", "value"));
        if (round & 1) {
            assert_ok(feox_flush(k->store));
        }
        if (round & 2) {
            kit_reopen(k);
        }
        assert_ok(kit_delete(k, "key"));
        kit_reopen(k);
        kit_expect_absent(k, "key");
        assert_int_equal(kit_count(k), 0);
        kit_reopen(k);
        kit_expect_absent(k, "key");
    }
}

/* superseded_buffered_record_does_not_reappear_after_reopen */
static void superseded_in_one_window_does_not_reappear(void **state) {
    kit *k = *state;
    assert_ok(kit_put(k, "key", "one"));
    assert_ok(kit_put(k, "key", "two"));
    assert_ok(feox_flush(k->store));
    kit_reopen(k);
    assert_ok(kit_delete(k, "key"));
    assert_ok(feox_flush(k->store));
    kit_reopen(k);
    kit_expect_absent(k, "key");
    assert_int_equal(kit_scan_count(k), 0);
}

static void values_of_100_kb(void **state) {
    kit *k = *state;
    unsigned char *value = kit_alloc(100000);
    for (uint32_t i = 0; i < 50; i++) {
        kit_fill(value, 100000, i);
        assert_ok(feox_insert(k->store, &i, sizeof i, value, 100000));
    }
    assert_ok(feox_flush(k->store));
    do {
        for (uint32_t i = 0; i < 50; i++) {
            kit_fill(value, 100000, i);
            kit_expect_bytes(k, &i, sizeof i, value, 100000);
        }
    } while (kit_again(k));
    free(value);
}

typedef struct crowd {
    feox_store *store;
    atomic_int next;
    atomic_int failures;
} crowd;

static void *insert_twenty(void *argument) {
    crowd *c = argument;
    int me = atomic_fetch_add(&c->next, 1);
    char key[32];
    for (int i = 0; i < 20; i++) {
        int length = snprintf(key, sizeof key, "thread%d-%d", me, i);
        if (feox_insert(c->store, key, (size_t)length, key, (size_t)length) != FEOX_OK) {
            atomic_fetch_add(&c->failures, 1);
        }
    }
    return NULL;
}

static void five_threads_times_twenty_keys(void **state) {
    kit *k = *state;
    pthread_t threads[5];
    crowd c = {.store = k->store};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, insert_twenty, &c), 0);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.failures), 0);
    do {
        assert_int_equal(kit_count(k), 100);
        kit_expect(k, "thread4-19", "thread4-19");
    } while (kit_again(k));
}

/* A value whose bytes look like every structure of the file: the file itself. */
static void values_cannot_forge_records(void **state) {
    kit *k = *state;
    size_t size = 0;
    for (uint32_t i = 0; i < 100; i++) {
        assert_ok(feox_insert(k->store, &i, sizeof i, "victim", 6));
    }
    assert_ok(feox_flush(k->store));
    unsigned char *image = fx_file_slurp(k->path, &size);
    if (size > ((size_t)8 << 20)) {
        size = (size_t)8 << 20;
    }
    for (uint32_t i = 0; i < 100; i++) {
        assert_ok(feox_insert(k->store, &i, sizeof i, "new", 3));
    }
    assert_ok(feox_insert(k->store, "image", 5, image, size));
    kit_reopen(k);
    assert_ok(kit_delete(k, "image"));
    kit_reopen(k);
    assert_int_equal(kit_count(k), 100);
    for (uint32_t i = 0; i < 100; i++) {
        kit_expect_bytes(k, &i, sizeof i, "new", 3);
    }
    free(image);
}

static void space_is_reused(void **state) {
    kit *k = *state;
    unsigned char value[10000];
    uint64_t settled = 0;
    for (uint32_t round = 0; round < 60; round++) {
        for (uint32_t i = 0; i < 100; i++) {
            kit_fill(value, sizeof value, round * 1000 + i);
            assert_ok(feox_insert(k->store, &i, sizeof i, value, sizeof value));
        }
        assert_ok(feox_flush(k->store));
        if (round == 29) {
            settled = fx_file_size(k->path);
        }
    }
    printf("file size: %llu after 30 rounds, %llu after 60\n", (unsigned long long)settled,
           (unsigned long long)fx_file_size(k->path));
    assert_true(fx_file_size(k->path) <= settled + settled / 2);
    do {
        for (uint32_t i = 0; i < 100; i++) {
            kit_fill(value, sizeof value, 59000 + i);
            kit_expect_bytes(k, &i, sizeof i, value, sizeof value);
        }
    } while (kit_again(k));
}

/* FEOX_ERR_SPACE comes at the call, reads and deletes go on, and then writes do again. */
static void a_full_file_says_so_and_recovers(void **state) {
    kit *k = *state;
    unsigned char *value = kit_alloc(100000);
    feox_status status = FEOX_OK;
    uint32_t count = 0;
    k->options.file_size_limit = 8 << 20;
    kit_restart(k);
    while (status == FEOX_OK && count < 1000) {
        kit_fill(value, 100000, count);
        status = feox_insert(k->store, &count, sizeof count, value, 100000);
        count += status == FEOX_OK;
    }
    assert_status(status, FEOX_ERR_SPACE);
    printf("%u values of 100,000 bytes in a file of 8 MiB\n", count);
    assert_true(count >= 20 && count < 90);
    assert_int_equal(kit_count(k), count);
    assert_ok(feox_flush(k->store));
    assert_true(fx_file_size(k->path) <= 8 << 20);
    do {
        for (uint32_t i = 0; i < count; i++) {
            kit_fill(value, 100000, i);
            kit_expect_bytes(k, &i, sizeof i, value, 100000);
        }
    } while (kit_again(k));
    for (uint32_t i = 0; i < count; i++) {
        assert_ok(feox_delete(k->store, &i, sizeof i));
    }
    assert_ok(feox_flush(k->store));
    for (uint32_t i = 0; i < count / 2; i++) {
        kit_fill(value, 100000, i);
        assert_ok(feox_insert(k->store, &i, sizeof i, value, 100000));
    }
    kit_reopen(k);
    assert_int_equal(kit_count(k), count / 2);
    free(value);
}

static void initial_size_is_reserved(void **state) {
    kit *k = *state;
    k->options.file_size_initial = 16 << 20;
    kit_restart(k);
    assert_true(fx_file_size(k->path) >= 16 << 20);
    assert_ok(kit_put(k, "key", "value"));
    kit_reopen(k);
    assert_true(fx_file_size(k->path) >= 16 << 20);
    kit_expect(k, "key", "value");
}

/* ---- Damage --------------------------------------------------------------------------------- */

#define KEYS 400u

/* A closed store of keys 0 to KEYS - 1, values of different sizes. */
static void make_store(kit *k) {
    unsigned char value[3000];
    for (uint32_t i = 0; i < KEYS; i++) {
        kit_fill(value, i * 7, i);
        assert_ok(feox_insert(k->store, &i, sizeof i, value, i * 7));
    }
    kit_close(k);
}

/* Whatever a damaged file gives, it is right or it is called damaged. Gives the number of keys that
 * are right. */
static uint32_t wrong_is_never_silent(feox_store *store) {
    unsigned char value[3000];
    uint32_t right = 0;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        size_t size = 0;
        feox_status status = feox_get_into(store, &i, sizeof i, value, sizeof value, &size);
        if (status == FEOX_OK) {
            assert_int_equal(size, i * 7);
            assert_true(kit_filled(value, size, i));
            right++;
        } else if (status == FEOX_NOT_FOUND) {
            missing++;
        } else {
            assert_status(status, FEOX_ERR_CORRUPT);
        }
    }
    if (right < KEYS) {
        feox_check_report report;
        feox_statistics stats;
        feox_check_report_init(&report);
        feox_statistics_init(&stats);
        feox_status status = feox_check(store, &report, NULL, NULL);
        assert_ok(feox_stats(store, &stats));
        if (status == FEOX_OK && stats.corrupt_records == 0) {
            print_error("%u keys are missing and nobody says so\n", missing);
            fail();
        }
    }
    return right;
}

static void a_truncated_file_is_refused_or_honest(void **state) {
    kit *k = *state;
    make_store(k);
    size_t size = 0;
    unsigned char *image = fx_file_slurp(k->path, &size);
    const char *copy = fx_temp_fresh("cut");
    static const unsigned promille[] = {1, 10, 100, 250, 500, 750, 900, 990, 999};
    uint32_t refused = 0;
    for (size_t i = 0; i < sizeof promille / sizeof *promille; i++) {
        size_t cut = size / 1000 * promille[i] + i; /* aligned and not */
        fx_file_write(copy, image, cut);
        feox_store *store = NULL;
        feox_status status = feox_open(copy, NULL, &store);
        if (status == FEOX_OK) {
            wrong_is_never_silent(store);
            feox_close(store);
        } else {
            assert_true(status == FEOX_ERR_NOT_FEOX || status == FEOX_ERR_CORRUPT);
            assert_null(store);
            assert_true(fx_file_equals(copy, image, cut));
            refused++;
        }
    }
    assert_true(refused >= 3); /* less than a tenth of a file is no store */
    free(image);
    kit_open(k);
}

static void one_flipped_byte_gives_no_wrong_value(void **state) {
    kit *k = *state;
    make_store(k);
    size_t size = 0;
    unsigned char *image = fx_file_slurp(k->path, &size);
    const char *copy = fx_temp_fresh("flipped");
    uint64_t random = kit_seed("one_flipped_byte_gives_no_wrong_value");
    uint32_t refused = 0;
    uint32_t harmed = 0;
    enum { ROUNDS = KIT_SLOW ? 30 : 80 };
    for (int round = 0; round < ROUNDS; round++) {
        size_t at = kit_below(&random, round % 4 == 0 && size > 65536 ? 65536 : size);
        unsigned char mask = (unsigned char)(1u << kit_below(&random, 8));
        image[at] ^= mask;
        fx_file_write(copy, image, size);
        feox_store *store = NULL;
        feox_status status = feox_open(copy, NULL, &store);
        if (status == FEOX_OK) {
            harmed += wrong_is_never_silent(store) < KEYS;
            feox_close(store);
        } else {
            assert_true(status == FEOX_ERR_NOT_FEOX || status == FEOX_ERR_CORRUPT ||
                        status == FEOX_ERR_NEWER);
            assert_true(fx_file_equals(copy, image, size));
            refused++;
        }
        image[at] ^= mask;
    }
    printf("%d flips: %u files refused, %u with damaged records\n", ROUNDS, refused, harmed);
    free(image);
    kit_open(k);
}

/* D6: damage costs the damaged records only. */
static void damage_in_a_value_costs_that_value(void **state) {
    kit *k = *state;
    make_store(k);
    size_t size = 0;
    unsigned char *image = fx_file_slurp(k->path, &size);
    unsigned char wanted[7 * 300];
    kit_fill(wanted, sizeof wanted, 300);
    unsigned char *found = memmem(image, size, wanted, sizeof wanted);
    if (found == NULL) {
        printf("skipped: the bytes of a value are not in the file as they are\n");
        free(image);
        kit_open(k);
        skip();
    }
    size_t at = (size_t)(found - image) + 1000;
    image[at] ^= 0x55;
    fx_file_patch(k->path, at, &image[at], 1);
    free(image);
    kit_open(k);
    k->dirty_close = true;
    assert_int_equal(wrong_is_never_silent(k->store), KEYS - 1);
    uint32_t victim = 300;
    size_t length = 0;
    assert_status(feox_get_into(k->store, &victim, sizeof victim, wanted, sizeof wanted, &length),
                  FEOX_ERR_CORRUPT);
    feox_check_report report;
    feox_check_report_init(&report);
    assert_status(feox_check(k->store, &report, NULL, NULL), FEOX_ERR_CORRUPT);
    assert_true(report.problems > 0);
}

static void sprinkled_garbage_does_not_crash(void **state) {
    kit *k = *state;
    make_store(k);
    size_t size = 0;
    unsigned char *image = fx_file_slurp(k->path, &size);
    unsigned char *broken = kit_alloc(size);
    const char *copy = fx_temp_fresh("garbage");
    uint64_t random = kit_seed("sprinkled_garbage_does_not_crash");
    for (int round = 0; round < (KIT_SLOW ? 15 : 40); round++) {
        memcpy(broken, image, size);
        for (uint64_t n = 1 + kit_below(&random, 30); n > 0; n--) {
            size_t length = 1 + kit_below(&random, n % 3 == 0 ? 5000 : 8);
            size_t at = kit_below(&random, size);
            length = length < size - at ? length : size - at;
            if (n % 4 == 0) {
                memset(broken + at, n % 8 == 0 ? 0xff : 0, length);
            } else {
                kit_fill(broken + at, length, kit_random(&random));
            }
        }
        fx_file_write(copy, broken, size);
        feox_store *store = NULL;
        if (feox_open(copy, NULL, &store) == FEOX_OK) {
            wrong_is_never_silent(store);
            feox_close(store);
        } else {
            assert_null(store);
            assert_true(fx_file_equals(copy, broken, size));
        }
    }
    free(image);
    free(broken);
    kit_open(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_FILE(last_update_wins),
        KIT_FILE(delete_stays_deleted),
        KIT_FILE(superseded_in_one_window_does_not_reappear),
        KIT_FILE(values_of_100_kb),
        KIT_FILE(five_threads_times_twenty_keys),
        KIT_FILE(values_cannot_forge_records),
        KIT_FILE(space_is_reused),
        KIT_FILE(a_full_file_says_so_and_recovers),
        KIT_FILE(initial_size_is_reserved),
        KIT_FILE(a_truncated_file_is_refused_or_honest),
        KIT_FILE(one_flipped_byte_gives_no_wrong_value),
        KIT_FILE(damage_in_a_value_costs_that_value),
        KIT_FILE(sprinkled_garbage_does_not_crash),
    };
    return cmocka_run_group_tests_name("api/persistence", tests, NULL, NULL);
}
