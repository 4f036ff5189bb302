/* 03_counter: counters, compare-and-swap and versions: reading, deciding and writing in one step.
 */
#include <stdio.h>
#include <string.h>

#include <feox.h>

static int failed(const char *what, feox_status status) {
    fprintf(stderr, "%s: %s %s\n", what, feox_status_text(status), feox_last_error());
    return 1;
}

static int count_visits(feox_store *store) {
    int64_t visits = 0;
    for (int i = 0; i < 3; i++) {
        /* A missing counter begins at 0; many threads may do this at once, and none is lost. */
        feox_status status = feox_increment(store, "visits", 6, 1, &visits);
        if (status != FEOX_OK) {
            return failed("increment", status);
        }
    }
    printf("visits: %lld\n", (long long)visits);
    return visits == 3 ? 0 : failed("the counter is not 3", FEOX_ERR_CORRUPT);
}

static int swap_by_value(feox_store *store) {
    feox_status status = feox_insert(store, "light", 5, "red", 3);
    if (status != FEOX_OK) {
        return failed("insert", status);
    }
    status = feox_compare_and_swap(store, "light", 5, "green", 5, "red", 3);
    printf("green to red: %s\n", feox_status_text(status));
    if (status != FEOX_MISMATCH) {
        return failed("a swap that must not happen", status);
    }
    status = feox_compare_and_swap(store, "light", 5, "red", 3, "green", 5);
    printf("red to green: %s\n", feox_status_text(status));
    return status == FEOX_OK ? 0 : failed("swap", status);
}

static int swap_by_version(feox_store *store) {
    feox_key_info info;
    feox_write write;

    /* Where the value is large, its version is easier to compare. */
    feox_status status = feox_info(store, "light", 5, &info);
    if (status != FEOX_OK) {
        return failed("info", status);
    }
    feox_write_init(&write);
    write.flags = FEOX_IF_VERSION;
    write.version = info.version;
    status = feox_insert_with(store, "light", 5, "yellow", 6, &write, NULL);
    if (status != FEOX_OK) {
        return failed("insert at the version just read", status);
    }
    status = feox_insert_with(store, "light", 5, "blue", 4, &write, NULL);
    printf("writing at an old version: %s\n", feox_status_text(status));
    return status == FEOX_MISMATCH ? 0 : failed("a write at an old version", status);
}

int main(void) {
    feox_store *store = NULL;
    feox_status status = feox_open(NULL, NULL, &store);
    if (status != FEOX_OK) {
        return failed("open", status);
    }
    int result = count_visits(store);
    if (result == 0) {
        result = swap_by_value(store);
    }
    if (result == 0) {
        result = swap_by_version(store);
    }
    status = feox_close(store);
    return status == FEOX_OK ? result : failed("close", status);
}
