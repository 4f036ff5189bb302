/* One million records of 16 + 100 bytes: what they cost on disk, and that they come back. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <sys/stat.h>

static void one_million_records(void **state) {
    kit *k = *state;
    uint64_t wanted = KIT_SLOW ? 50000 : 1000000;
    uint64_t count = kit_env_number("FEOX_MILLION", wanted);
    char key[32];
    unsigned char value[100];
    for (uint64_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%016llx", (unsigned long long)kit_mix(i));
        kit_fill(value, sizeof value, i);
        feox_status status = feox_insert(k->store, key, 16, value, sizeof value);
        if (status != FEOX_OK) {
            assert_ok(status);
        }
    }
    kit_close(k);
    struct stat file;
    assert_int_equal(stat(k->path, &file), 0);
    double used = (double)file.st_blocks * 512;
    double bytes = (double)count * 116;
    printf("%llu records: %.1f MB on disk, %.2f x their bytes (file size %.1f MB)\n",
           (unsigned long long)count, used / 1e6, used / bytes, (double)file.st_size / 1e6);
    uint64_t start = kit_now_ms();
    kit_open(k);
    printf("reopened in %llu ms\n", (unsigned long long)(kit_now_ms() - start));
    assert_int_equal(kit_count(k), count);
    for (uint64_t i = 0; i < count; i += 101) {
        size_t size = 0;
        snprintf(key, sizeof key, "%016llx", (unsigned long long)kit_mix(i));
        feox_status status = feox_get_into(k->store, key, 16, value, sizeof value, &size);
        if (status != FEOX_OK || size != sizeof value || !kit_filled(value, size, i)) {
            print_error("record %llu: %s\n", (unsigned long long)i, feox_status_name(status));
            fail();
        }
    }
    if (count < 1000000) { /* what a file costs before its first record weighs too much then */
        printf("the size is judged for a million records only\n");
        return;
    }
    assert_true(used <= 1.5 * bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(one_million_records)};
    return cmocka_run_group_tests_name("api/million", tests, NULL, NULL);
}
