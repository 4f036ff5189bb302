/* fuzz_ops: the bytes choose operations on a store, one after the other, and each is compared with
 * a model that is a sorted array. Byte 0: bit 0: in a file; bit 1: durable; bit 2: little memory.
 */
#define _GNU_SOURCE
#include "support/store_model.h"

#include <unistd.h>

#include "fuzz/fuzz.h"

/* So that an input takes milliseconds. */
#define STEPS_MAX 300u

static uint64_t choose(void *context, uint64_t limit) {
    fuzz_bytes *bytes = context;
    unsigned size = limit <= 256 ? 1 : limit <= 65536 ? 2 : 8;
    return fuzz_number(bytes, size) % limit;
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    (void)count;
    (void)words;
    fuzz_begin();
    fx_temp_in_memory();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *path;
    fuzz_bytes bytes = {data, data + size};
    uint8_t mode = fuzz_u8(&bytes);
    path = path == NULL ? fx_temp_fresh("store") : path;
    kit k = {.file = (mode & 1) != 0, .path = (mode & 1) != 0 ? path : NULL};
    kit_options_init(&k.options);
    k.options.sweep_interval_ms = 5;
    if ((mode & 2) != 0) {
        k.options.durability = FEOX_DURABILITY_DURABLE;
    }
    if ((mode & 4) != 0 && k.file) {
        k.options.memory_limit = 6u << 20;
        k.options.flush_interval_ms = 2;
    }
    fx_file_remove(path);
    kit_open(&k);
    store_model *m = store_model_create(&k, choose, &bytes);
    for (unsigned step = 0; step < STEPS_MAX && fuzz_more(&bytes); step++) {
        store_model_step(m);
    }
    do {
        store_model_compare(m);
    } while (kit_again(&k));
    store_model_destroy(m);
    kit_close(&k);
    fx_file_remove(path);
    return 0;
}
