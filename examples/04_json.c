/* 04_json: documents that are changed in place, and keys that expire. */
#include <stdio.h>
#include <string.h>

#include <feox.h>

static int failed(const char *what, feox_status status) {
    fprintf(stderr, "%s: %s %s\n", what, feox_status_text(status), feox_last_error());
    return 1;
}

/* Prints the document and compares it. */
static int expect(feox_store *store, const char *expected) {
    feox_view view;
    feox_status status = feox_get_view(store, "user:7", 6, &view);
    if (status != FEOX_OK) {
        return failed("view", status);
    }
    int same = view.size == strlen(expected) && memcmp(view.data, expected, view.size) == 0;
    printf("%.*s\n", (int)view.size, (const char *)view.data);
    feox_view_release(&view);
    return same ? 0 : failed("the document is another one", FEOX_ERR_CORRUPT);
}

static int change(feox_store *store) {
    static const char document[] = "{\"name\":\"Ada\",\"balance\":10.50,\"tags\":[\"a\"]}";
    static const char patch[] = "[{\"op\":\"test\",\"path\":\"/name\",\"value\":\"Ada\"},"
                                "{\"op\":\"add\",\"path\":\"/tags/-\",\"value\":\"b\"}]";
    static const char merge[] = "{\"name\":\"Ada Lovelace\"}";
    static const char wrong[] = "[{\"op\":\"remove\",\"path\":\"/tags\"},"
                                "{\"op\":\"remove\",\"path\":\"/nothing\"}]";

    feox_status status = feox_insert(store, "user:7", 6, document, sizeof document - 1);
    if (status != FEOX_OK) {
        return failed("insert", status);
    }
    status = feox_json_patch(store, "user:7", 6, patch, sizeof patch - 1);
    if (status != FEOX_OK) {
        return failed("patch", status);
    }
    status = feox_json_merge(store, "user:7", 6, merge, sizeof merge - 1);
    if (status != FEOX_OK) {
        return failed("merge", status);
    }
    /* All of a patch is applied, or nothing. */
    status = feox_json_patch(store, "user:7", 6, wrong, sizeof wrong - 1);
    printf("a patch that does not fit: %s\n", feox_status_text(status));
    if (status != FEOX_ERR_PATCH) {
        return failed("a patch that does not fit", status);
    }
    /* What was not touched is as it was, to the last digit of 10.50. */
    return expect(store, "{\"name\":\"Ada Lovelace\",\"balance\":10.50,\"tags\":[\"a\",\"b\"]}");
}

static int expire(feox_store *store) {
    int64_t ttl_ms = 0;
    feox_write write;

    feox_write_init(&write);
    write.ttl_ms = 60000;
    feox_status status = feox_insert_with(store, "session", 7, "s3cret", 6, &write, NULL);
    if (status == FEOX_OK) {
        status = feox_ttl(store, "session", 7, &ttl_ms);
    }
    if (status != FEOX_OK || ttl_ms <= 0 || ttl_ms > 60000) {
        return failed("time to live", status);
    }
    printf("the session expires within a minute\n");
    /* Another minute, or for good. */
    status = feox_expire(store, "session", 7, 120000);
    if (status == FEOX_OK) {
        status = feox_persist(store, "session", 7);
    }
    if (status == FEOX_OK) {
        status = feox_ttl(store, "session", 7, &ttl_ms);
    }
    if (status != FEOX_OK || ttl_ms != -1) {
        return failed("persist", status);
    }
    printf("the session never expires now\n");
    return 0;
}

int main(void) {
    feox_store *store = NULL;
    feox_status status = feox_open(NULL, NULL, &store);
    if (status != FEOX_OK) {
        return failed("open", status);
    }
    int result = change(store);
    if (result == 0) {
        result = expire(store);
    }
    status = feox_close(store);
    return status == FEOX_OK ? result : failed("close", status);
}
