/* 02_file: a store in a file: what is safe when, and finding it again.
 *
 * Usage: 02_file [FILE]   (default: example_02.feox; it is made anew and removed at the end) */
#include <stdio.h>
#include <string.h>

#include <feox.h>

static int failed(const char *what, feox_status status) {
    fprintf(stderr, "%s: %s %s\n", what, feox_status_text(status), feox_last_error());
    return 1;
}

static int write_some(const char *path) {
    feox_store *store = NULL;
    feox_write write;
    feox_written written;

    feox_status status = feox_open(path, NULL, &store);
    if (status != FEOX_OK) {
        return failed("open", status);
    }
    /* The default mode: this returns from memory, and the file has it within flush_interval_ms. */
    status = feox_insert(store, "draft", 5, "can wait", 8);
    if (status != FEOX_OK) {
        return failed("insert", status);
    }
    /* One write that must not be lost: it returns when it is on stable storage. */
    feox_write_init(&write);
    write.flags = FEOX_DURABLE;
    status = feox_insert_with(store, "order", 5, "42 apples", 9, &write, &written);
    if (status != FEOX_OK) {
        return failed("durable insert", status);
    }
    printf("order written, version %llu\n", (unsigned long long)written.version);
    /* From here on everything above survives a power cut. */
    status = feox_flush(store);
    if (status != FEOX_OK) {
        return failed("flush", status);
    }
    /* Closing flushes too, and says if that failed. */
    status = feox_close(store);
    return status == FEOX_OK ? 0 : failed("close", status);
}

static int read_again(const char *path) {
    feox_store *store = NULL;
    feox_options options;
    feox_store *second = NULL;
    char buffer[64];
    size_t size = 0;

    feox_options_init(&options);
    options.create = FEOX_NO; /* a missing file is FEOX_NOT_FOUND, not a new store */
    feox_status status = feox_open(path, &options, &store);
    if (status != FEOX_OK) {
        return failed("open again", status);
    }
    /* One handle at a time: the file is locked. */
    status = feox_open(path, &options, &second);
    printf("second open: %s\n", feox_status_text(status));
    if (status != FEOX_ERR_BUSY) {
        return failed("second open", status);
    }
    status = feox_get_into(store, "order", 5, buffer, sizeof buffer, &size);
    if (status != FEOX_OK) {
        return failed("get", status);
    }
    printf("order is \"%.*s\"\n", (int)size, buffer);
    if (size != 9 || memcmp(buffer, "42 apples", 9) != 0 ||
        feox_contains(store, "draft", 5) != FEOX_OK) {
        return failed("what was written is not there", FEOX_ERR_CORRUPT);
    }
    status = feox_close(store);
    return status == FEOX_OK ? 0 : failed("close", status);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "example_02.feox";
    (void)remove(path);
    int result = write_some(path);
    if (result == 0) {
        result = read_again(path);
    }
    (void)remove(path);
    return result;
}
