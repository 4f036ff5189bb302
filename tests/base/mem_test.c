/* mem: failure on demand in every function, and the promises about pages. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/mem.h"

/* The sanitizers' allocators stop the program instead of refusing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

int __real_madvise(void *memory, size_t size, int advice);
int __wrap_madvise(void *memory, size_t size, int advice);

static int refused_advice = -1;

int __wrap_madvise(void *memory, size_t size, int advice) {
    return advice == refused_advice ? -1 : __real_madvise(memory, size, advice);
}

/* What a system may not know how to do is done without it, or told. */
static void test_refused_advice(void **state) {
    (void)state;
    unsigned char *memory = fx_mem_map(8192, 4096);
    assert_non_null(memory);
    memset(memory, 0x5a, 8192);
    refused_advice = MADV_DONTNEED;
    fx_mem_discard(memory, 8192);
    for (size_t i = 0; i < 8192; i++) {
        assert_int_equal(memory[i], 0);
    }
    refused_advice = MADV_HUGEPAGE;
    fx_mem_huge(memory, 8192, true); /* only advice */
    refused_advice = MADV_WIPEONFORK;
    assert_null(fx_mem_map_wipe_on_fork());
    refused_advice = -1;
    void *page = fx_mem_map_wipe_on_fork();
    assert_non_null(page);
    fx_mem_unmap(page, 4096);
    fx_mem_unmap(memory, 8192);
}

static void test_alloc(void **state) {
    (void)state;
    for (size_t size = 1; size < 5000; size += 37) {
        uint8_t *a = fx_mem_alloc(size);
        uint8_t *b = fx_mem_zalloc(size);
        assert_non_null(a);
        assert_non_null(b);
        assert_int_equal((uintptr_t)a % 16, 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(b[i], 0);
        }
        memset(a, 0x5a, size);
        a = fx_mem_realloc(a, size * 3);
        assert_non_null(a);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(a[i], 0x5a);
        }
        assert_true(fx_mem_usable(size) >= size);
        fx_mem_free(a);
        fx_mem_free(b);
    }
    fx_mem_free(NULL);
    void *fresh = fx_mem_realloc(NULL, 10);
    assert_non_null(fresh);
    fx_mem_free(fresh);
    assert_true(strcmp(fx_mem_allocator(), "libc") == 0 ||
                strcmp(fx_mem_allocator(), "jemalloc") == 0);
}

static void test_alloc_aligned(void **state) {
    (void)state;
    for (size_t alignment = 16; alignment <= 1u << 16; alignment *= 2) {
        void *memory = fx_mem_alloc_aligned(100, alignment);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % alignment, 0);
        memset(memory, 1, 100);
        fx_mem_free(memory);
    }
#ifndef SANITIZED
    volatile size_t too_large = SIZE_MAX / 4;
    assert_null(fx_mem_alloc_aligned(too_large, 64));
    assert_null(fx_mem_map(too_large, 1u << 21));
#endif
}

/* What was there is there, what is new reads as zero, and what cannot be leaves the old one. */
static void test_remap(void **state) {
    (void)state;
    uint8_t *memory = fx_mem_remap(NULL, 0, 4096);
    assert_non_null(memory);
    memset(memory, 0x5a, 4096);
    for (size_t size = 4096; size < 1u << 20; size *= 2) {
        uint8_t *other = fx_mem_map(4096, 4096); /* in the way of some */
        fx_mem_fail_after(1, false);
        assert_null(fx_mem_remap(memory, size, 2 * size));
        fx_mem_fail_after(0, false);
        uint8_t *grown = fx_mem_remap(memory, size, 2 * size);
        assert_non_null(grown);
        memory = grown;
        for (size_t i = 0; i < 2 * size; i++) {
            assert_int_equal(memory[i], i < size ? 0x5a : 0);
        }
        memset(memory + size, 0x5a, size);
        fx_mem_unmap(other, 4096);
    }
#ifndef SANITIZED
    volatile size_t too_large = SIZE_MAX / 4096 / 4 * 4096;
    assert_null(fx_mem_remap(memory, 1u << 20, too_large));
#endif
    memory = fx_mem_remap(memory, 1u << 20, 4096);
    assert_non_null(memory);
    assert_int_equal(memory[4095], 0x5a);
    fx_mem_unmap(memory, 4096);
}

/* Calls every allocating function once; the bits say which failed. */
static unsigned allocate_each(void) {
    void *got[5] = {fx_mem_alloc(8), fx_mem_zalloc(8), fx_mem_alloc_aligned(8, 64),
                    fx_mem_realloc(NULL, 8), fx_mem_map(8192, 8192)};
    unsigned failed = 0;
    for (unsigned i = 0; i < 5; i++) {
        failed |= (got[i] == NULL ? 1u : 0u) << i;
    }
    for (unsigned i = 0; i < 4; i++) {
        fx_mem_free(got[i]);
    }
    fx_mem_unmap(got[4], 8192);
    return failed;
}

static void test_fail_after(void **state) {
    (void)state;
    for (unsigned n = 1; n <= 5; n++) {
        fx_mem_fail_after(n, false);
        assert_int_equal(allocate_each(), 1u << (n - 1));
        assert_int_equal(allocate_each(), 0); /* once only */
        fx_mem_fail_after(n, true);
        assert_int_equal(allocate_each(), 0x1f & ~((1u << (n - 1)) - 1));
        assert_int_equal(allocate_each(), 0x1f); /* and ever after */
        fx_mem_fail_after(0, false);
        assert_int_equal(allocate_each(), 0);
    }
    fx_mem_fail_after(6, false);
    assert_int_equal(allocate_each(), 0);
    assert_int_equal(allocate_each(), 1);
}

static void test_failed_realloc_keeps_the_old(void **state) {
    (void)state;
    char *text = fx_mem_alloc(6);
    assert_non_null(text);
    memcpy(text, "hello", 6);
    fx_mem_fail_after(1, false);
    assert_null(fx_mem_realloc(text, 1 << 20));
    assert_string_equal(text, "hello");
    fx_mem_free(text);
}

static void test_too_much_is_refused(void **state) {
    (void)state;
    volatile size_t size = (size_t)1 << 60;
#ifndef SANITIZED
    assert_null(fx_mem_alloc(size));
    assert_null(fx_mem_zalloc(size));
#endif
    assert_null(fx_mem_map(size, 4096));
}

static void *count_failures(void *argument) {
    uint32_t *failures = argument;
    for (int i = 0; i < 1000; i++) {
        void *memory = fx_mem_alloc(16);
        if (memory == NULL) {
            fx_add_relaxed(failures, 1u);
        }
        fx_mem_free(memory);
    }
    return NULL;
}

/* Of the allocations of all threads, exactly one fails. */
static void test_fail_after_with_threads(void **state) {
    (void)state;
    uint32_t failures = 0;
    fx_mem_fail_after(1500, false);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_failures, &failures), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(failures, 1);
}

static void test_map_is_aligned_and_zero(void **state) {
    (void)state;
    for (size_t alignment = 4096; alignment <= 4u << 20; alignment *= 4) {
        for (size_t size = 4096; size <= 1u << 20; size *= 8) {
            uint8_t *first = fx_mem_map(size, alignment);
            uint8_t *second = fx_mem_map(size, alignment);
            assert_non_null(first);
            assert_non_null(second);
            assert_int_equal((uintptr_t)first % alignment, 0);
            assert_int_equal((uintptr_t)second % alignment, 0);
            for (size_t i = 0; i < size; i += 512) {
                assert_int_equal(first[i], 0);
            }
            memset(first, 1, size); /* to the last byte */
            memset(second, 2, size);
            assert_int_equal(first[size - 1], 1);
            fx_mem_huge(first, size, true);
            fx_mem_unmap(first, size);
            assert_int_equal(second[0], 2);
            fx_mem_unmap(second, size);
        }
    }
    fx_mem_unmap(NULL, 4096);
}

static void test_discard_reads_zero(void **state) {
    (void)state;
    uint8_t *pages = fx_mem_map(5 * 4096, 4096);
    assert_non_null(pages);
    memset(pages, 7, 5 * 4096);
    fx_mem_discard(pages + 4096, 3 * 4096);
    for (size_t i = 0; i < 5 * 4096; i++) {
        bool gone = i >= 4096 && i < 4 * 4096;
        assert_int_equal(pages[i], gone ? 0 : 7);
    }
    memset(pages, 9, 5 * 4096); /* and can be used again */
    assert_int_equal(pages[2 * 4096], 9);
    fx_mem_unmap(pages, 5 * 4096);
}

static void test_wiped_in_a_child(void **state) {
    (void)state;
    volatile uint8_t *page = fx_mem_map_wipe_on_fork();
    if (page == NULL) {
        print_message("skipped: this system cannot wipe pages on fork\n");
        skip();
    }
    page[5] = 1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(page[5] == 0 ? 3 : 4);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    assert_int_equal(page[5], 1);
    fx_mem_unmap((void *)(uintptr_t)page, 4096);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_remap),
        cmocka_unit_test(test_refused_advice),
        cmocka_unit_test(test_alloc_aligned),
        cmocka_unit_test(test_fail_after),
        cmocka_unit_test(test_failed_realloc_keeps_the_old),
        cmocka_unit_test(test_too_much_is_refused),
        cmocka_unit_test(test_fail_after_with_threads),
        cmocka_unit_test(test_map_is_aligned_and_zero),
        cmocka_unit_test(test_discard_reads_zero),
        cmocka_unit_test(test_wiped_in_a_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
