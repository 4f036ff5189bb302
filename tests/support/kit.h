/* kit: what the black-box tests share: a store as a fixture, and short words for the usual calls.
 *
 * It sees feox.h only. Everything is static inline, so a test program that does not use the kit
 * does not need the library's public calls to link. All of it belongs to the main thread, because
 * CMocka's assertions jump out of the test; other threads collect their results by themselves.
 *
 * A functional test is listed with KIT_TEST and runs twice: on a memory-only store and on a file.
 * `do { checks } while (kit_again(kit));` runs the checks once more behind a close and a reopen if
 * the store has a file. The teardown lets feox_check look at every store that a test leaves open.
 * FEOX_TEST_IO=uring or =threads in the environment chooses the io backend of all files.
 */
#ifndef FX_SUPPORT_KIT_H
#define FX_SUPPORT_KIT_H

#include "feox.h"
#include "support/temp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#if defined(__SANITIZE_THREAD__)
#define KIT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KIT_TSAN 1
#endif
#endif
#ifndef KIT_TSAN
#define KIT_TSAN 0
#endif

#if KIT_TSAN || defined(__SANITIZE_ADDRESS__) || defined(FX_DEBUG)
#define KIT_SLOW 1
#else
#define KIT_SLOW 0
#endif

typedef struct kit {
    bool file;
    bool opened_again; /* kit_again was here */
    bool dirty_close;  /* the test says that a check at the end makes no sense */
    feox_options options;
    const char *path; /* NULL in memory */
    feox_store *store;
} kit;

#define KIT_MEMORY(test) {#test " [memory]", test, kit_setup_memory, kit_teardown, NULL}
#define KIT_FILE(test) {#test " [file]", test, kit_setup_file, kit_teardown, NULL}
#define KIT_TEST(test) KIT_MEMORY(test), KIT_FILE(test)

/* Compares two statuses and prints their names and the library's detail if they differ. */
#define assert_status(call, wanted)                                                                \
    kit_assert_status_((call), (wanted), #call, __FILE__, __LINE__)
#define assert_ok(call) assert_status(call, FEOX_OK)
#define assert_failure(call) kit_assert_failure_((call), #call, __FILE__, __LINE__)

static inline void kit_assert_status_(feox_status got, feox_status wanted, const char *call,
                                      const char *file, int line) {
    if (got != wanted) {
        print_error("%s\n  gave %s, wanted %s; detail: %s\n", call, feox_status_name(got),
                    feox_status_name(wanted), feox_last_error());
        _fail(file, line);
    }
}

static inline void kit_assert_failure_(feox_status got, const char *call, const char *file,
                                       int line) {
    if (got >= 0) {
        print_error("%s\n  gave %s, wanted a failure\n", call, feox_status_name(got));
        _fail(file, line);
    }
}

/* ---- Opening -------------------------------------------------------------------------------- */

static inline void kit_options_init(feox_options *options) {
    feox_options_init(options);
    const char *backend = getenv("FEOX_TEST_IO");
    if (backend != NULL && strcmp(backend, "uring") == 0) {
        options->io_backend = FEOX_IO_URING;
    }
    if (backend != NULL && strcmp(backend, "threads") == 0) {
        options->io_backend = FEOX_IO_THREADS;
    }
}

static inline void kit_open(kit *k) {
    assert_ok(feox_open(k->path, &k->options, &k->store));
    assert_non_null(k->store);
}

static inline void kit_close(kit *k) {
    feox_store *store = k->store;
    k->store = NULL;
    assert_ok(feox_close(store));
}

/* Whether a file can be had over io_uring here; if not, says why, for a skip. */
static inline bool kit_has_uring(void) {
    feox_options options;
    feox_store *store = NULL;
    const char *path = fx_temp_fresh("probe");
    feox_options_init(&options);
    options.io_backend = FEOX_IO_URING;
    feox_status status = feox_open(path, &options, &store);
    if (status == FEOX_ERR_UNSUPPORTED) {
        print_message("skipped: no io_uring: %s\n", feox_last_error());
        return false;
    }
    assert_ok(status);
    assert_ok(feox_close(store));
    fx_file_remove(path);
    return true;
}

/* Closes and opens a file store; a memory-only store cannot, and stays as it is. */
static inline bool kit_reopen(kit *k) {
    if (!k->file) {
        return false;
    }
    kit_close(k);
    kit_open(k);
    return true;
}

/* Replaces the empty store of the fixture by one with the options as they are now. */
static inline void kit_restart(kit *k) {
    kit_close(k);
    if (k->file) {
        fx_file_remove(k->path);
    }
    kit_open(k);
}

static inline bool kit_again(kit *k) {
    if (!k->file || k->opened_again) {
        k->opened_again = false;
        return false;
    }
    k->opened_again = true;
    return kit_reopen(k);
}

static inline int kit_setup(void **state, bool file) {
    kit *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return -1;
    }
    k->file = file;
    k->path = file ? fx_temp_fresh("store") : NULL;
    kit_options_init(&k->options);
    *state = k;
    return feox_open(k->path, &k->options, &k->store) == FEOX_OK ? 0 : -1;
}

static inline int kit_setup_memory(void **state) {
    return kit_setup(state, false);
}

static inline int kit_setup_file(void **state) {
    return kit_setup(state, true);
}

static inline void kit_print_line(void *context, const char *text) {
    (void)context;
    print_error("  check: %s\n", text);
}

/* Lets the library verify itself, and prints what it finds. */
static inline feox_status kit_check(feox_store *store) {
    feox_check_report report;
    feox_check_report_init(&report);
    feox_status status = feox_check(store, &report, kit_print_line, NULL);
    if (status == FEOX_OK && report.problems != 0) {
        print_error("  check: FEOX_OK, yet %llu problems\n", (unsigned long long)report.problems);
        status = FEOX_ERR_CORRUPT;
    }
    return status;
}

static inline int kit_teardown(void **state) {
    kit *k = *state;
    int result = 0;
    if (k->store != NULL) {
        if (!k->dirty_close && kit_check(k->store) != FEOX_OK) {
            result = -1;
        }
        if (feox_close(k->store) != FEOX_OK && !k->dirty_close) {
            print_error("  close: %s\n", feox_last_error());
            result = -1;
        }
    }
    if (k->path != NULL) {
        fx_file_remove(k->path);
    }
    free(k);
    return result;
}

/* ---- Time and chance ------------------------------------------------------------------------ */

static inline void kit_sleep_ms(unsigned ms) {
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0) {
        continue;
    }
}

static inline uint64_t kit_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static inline uint64_t kit_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static inline uint64_t kit_env_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL && text[0] != 0 ? strtoull(text, NULL, 0) : otherwise;
}

/* The seed of a random test: printed, and taken from FEOX_SEED to run the same test again. */
static inline uint64_t kit_seed(const char *what) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = kit_env_number(
        "FEOX_SEED", ((uint64_t)now.tv_nsec << 20) ^ (uint64_t)now.tv_sec);
    printf("%s: FEOX_SEED=%llu\n", what, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* splitmix64: one word of state, good enough to choose operations and to fill values. */
static inline uint64_t kit_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t kit_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    return kit_mix(*state);
}

static inline uint64_t kit_below(uint64_t *state, uint64_t limit) {
    return kit_random(state) % limit;
}

/* Bytes that only `seed` and the position decide, so a value can be verified without a copy. */
static inline void kit_fill(void *data, size_t size, uint64_t seed) {
    unsigned char *bytes = data;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = kit_mix(seed + at * 0x100000001b3u);
        memcpy(bytes + at, &word, size - at < 8 ? size - at : 8);
    }
}

static inline bool kit_filled(const void *data, size_t size, uint64_t seed) {
    const unsigned char *bytes = data;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = kit_mix(seed + at * 0x100000001b3u);
        if (memcmp(bytes + at, &word, size - at < 8 ? size - at : 8) != 0) {
            return false;
        }
    }
    return true;
}

static inline void *kit_alloc(size_t size) {
    void *memory = malloc(size > 0 ? size : 1);
    if (memory == NULL) {
        print_error("the test is out of memory\n");
        abort();
    }
    return memory;
}

/* ---- Keys and values that are C strings ----------------------------------------------------- */

static inline feox_status kit_put(kit *k, const char *key, const char *value) {
    return feox_insert(k->store, key, strlen(key), value, strlen(value));
}

static inline feox_status kit_delete(kit *k, const char *key) {
    return feox_delete(k->store, key, strlen(key));
}

static inline feox_status kit_contains(kit *k, const char *key) {
    return feox_contains(k->store, key, strlen(key));
}

static inline uint64_t kit_count(kit *k) {
    uint64_t count = UINT64_MAX;
    assert_ok(feox_count(k->store, &count));
    return count;
}

/* The key has exactly these bytes, whichever call asks. */
static inline void kit_expect_bytes(kit *k, const void *key, size_t key_len, const void *value,
                                    size_t value_len) {
    void *copy = NULL;
    size_t copy_len = SIZE_MAX;
    assert_ok(feox_get(k->store, key, key_len, &copy, &copy_len));
    assert_non_null(copy);
    assert_int_equal(copy_len, value_len);
    assert_true(value_len == 0 || memcmp(copy, value, value_len) == 0);
    copy_len = SIZE_MAX;
    assert_ok(feox_get_into(k->store, key, key_len, copy, copy == NULL ? 0 : value_len, &copy_len));
    assert_int_equal(copy_len, value_len);
    assert_true(value_len == 0 || memcmp(copy, value, value_len) == 0);
    feox_free(copy);
    feox_view view;
    assert_ok(feox_get_view(k->store, key, key_len, &view));
    assert_int_equal(view.size, value_len);
    assert_true(value_len == 0 || memcmp(view.data, value, value_len) == 0);
    feox_view_release(&view);
    feox_key_info info;
    assert_ok(feox_info(k->store, key, key_len, &info));
    assert_int_equal(info.value_size, value_len);
    assert_ok(feox_contains(k->store, key, key_len));
}

static inline void kit_expect(kit *k, const char *key, const char *value) {
    kit_expect_bytes(k, key, strlen(key), value, strlen(value));
}

/* The key is absent, whichever call asks, and the out-parameters are zeroed. */
static inline void kit_expect_absent(kit *k, const char *key) {
    size_t key_len = strlen(key);
    char byte = 'x';
    void *copy = &byte;
    size_t copy_len = 77;
    assert_status(feox_get(k->store, key, key_len, &copy, &copy_len), FEOX_NOT_FOUND);
    assert_null(copy);
    assert_int_equal(copy_len, 0);
    copy_len = 77;
    assert_status(feox_get_into(k->store, key, key_len, &byte, 1, &copy_len), FEOX_NOT_FOUND);
    assert_int_equal(copy_len, 0);
    feox_view view = {&byte, 5, &byte};
    assert_status(feox_get_view(k->store, key, key_len, &view), FEOX_NOT_FOUND);
    assert_null(view.data);
    assert_int_equal(view.size, 0);
    feox_view_release(&view);
    feox_key_info info;
    memset(&info, 0xff, sizeof info);
    assert_status(feox_info(k->store, key, key_len, &info), FEOX_NOT_FOUND);
    assert_int_equal(info.version, 0);
    assert_status(feox_contains(k->store, key, key_len), FEOX_NOT_FOUND);
    int64_t ttl = 77;
    assert_status(feox_ttl(k->store, key, key_len, &ttl), FEOX_NOT_FOUND);
    assert_int_equal(ttl, 0);
}

static inline feox_key_info kit_info(kit *k, const char *key) {
    feox_key_info info;
    assert_ok(feox_info(k->store, key, strlen(key), &info));
    return info;
}

/* Walks all keys and gives their number; fails if they do not rise. */
static inline uint64_t kit_scan_count(kit *k) {
    feox_cursor *cursor = NULL;
    assert_ok(feox_cursor_open(k->store, NULL, &cursor));
    unsigned char *before = kit_alloc(FEOX_KEY_SIZE_MAX);
    size_t before_len = 0;
    uint64_t count = 0;
    feox_slice key;
    feox_status status;
    while ((status = feox_cursor_next(cursor, &key, NULL)) == FEOX_OK) {
        size_t common = key.size < before_len ? key.size : before_len;
        int order = common > 0 ? memcmp(before, key.data, common) : 0;
        assert_true(order < 0 || (order == 0 && before_len < key.size));
        memcpy(before, key.data, key.size);
        before_len = key.size;
        count++;
    }
    assert_status(status, FEOX_END);
    feox_cursor_close(cursor);
    free(before);
    return count;
}

#endif
