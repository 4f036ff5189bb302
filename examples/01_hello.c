/* 01_hello: a store in memory: insert, get, delete.
 *
 * Every example checks what each call returns, prints what it sees, and exits with 1 if anything is
 * not as it should be. */
#include <stdio.h>
#include <string.h>

#include <feox.h>

/* Prints what went wrong; the value that main returns. */
static int failed(const char *what, feox_status status) {
    fprintf(stderr, "%s: %s %s\n", what, feox_status_text(status), feox_last_error());
    return 1;
}

int main(void) {
    feox_store *store = NULL;
    void *value = NULL;
    size_t size = 0;

    /* No path: the store lives in memory only. */
    feox_status status = feox_open(NULL, NULL, &store);
    if (status != FEOX_OK) {
        return failed("open", status);
    }
    /* Keys and values are bytes with a length; the terminating zero is not part of them here. */
    status = feox_insert(store, "greeting", 8, "hello, world", 12);
    if (status != FEOX_OK) {
        return failed("insert", status);
    }
    status = feox_get(store, "greeting", 8, &value, &size);
    if (status != FEOX_OK) {
        return failed("get", status);
    }
    printf("greeting is \"%.*s\"\n", (int)size, (const char *)value);
    if (size != 12 || memcmp(value, "hello, world", 12) != 0) {
        return failed("the value is another one", status);
    }
    feox_free(value);

    /* Outcomes above 0 are no failures: a key that is not there is an answer. */
    status = feox_delete(store, "greeting", 8);
    if (status != FEOX_OK) {
        return failed("delete", status);
    }
    status = feox_get(store, "greeting", 8, &value, &size);
    printf("after delete: %s\n", feox_status_text(status));
    if (status != FEOX_NOT_FOUND) {
        return failed("get after delete", status);
    }
    status = feox_close(store);
    return status == FEOX_OK ? 0 : failed("close", status);
}
