/* fuzz: what the harnesses of tests/fuzz share. A harness is one file with LLVMFuzzerTestOneInput,
 * linked with libFuzzer (coverage leads it to new inputs) or with driver.c (seeds and simple
 * mutations, any compiler). It checks with CMocka's assertions, outside of any CMocka test: one
 * that fails ends the process by SIGABRT, which both notice and keep the input for.
 *
 * Harnesses are deterministic: the bytes decide everything. One thread.
 */
#ifndef FX_TESTS_FUZZ_H
#define FX_TESTS_FUZZ_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Once, before the first input. */
int LLVMFuzzerInitialize(int *count, char ***words);

/* The input as a source of choices; zeros when it is used up. */
typedef struct fuzz_bytes {
    const uint8_t *at;
    const uint8_t *end;
} fuzz_bytes;

static inline bool fuzz_more(const fuzz_bytes *bytes) {
    return bytes->at < bytes->end;
}

static inline uint8_t fuzz_u8(fuzz_bytes *bytes) {
    return bytes->at < bytes->end ? *bytes->at++ : 0;
}

/* Little-endian. */
static inline uint64_t fuzz_number(fuzz_bytes *bytes, unsigned size) {
    uint64_t number = 0;
    for (unsigned i = 0; i < size; i++) {
        number |= (uint64_t)fuzz_u8(bytes) << (8 * i);
    }
    return number;
}

/* A copy of exactly that size, so that a sanitizer sees a read behind its end; for free(). */
static inline void *fuzz_copy(const void *data, size_t size) {
    void *copy = malloc(size);
    assert_true(copy != NULL || size == 0);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

/* Ends the process at the first failed assertion. */
static inline void fuzz_begin(void) {
    (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
}

#endif
