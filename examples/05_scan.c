/* 05_scan: keys in order: a range at once, a cursor forward and back, a prefix, a seek. */
#include <stdio.h>
#include <string.h>

#include <feox.h>

static int failed(const char *what, feox_status status) {
    fprintf(stderr, "%s: %s %s\n", what, feox_status_text(status), feox_last_error());
    return 1;
}

static int fill(feox_store *store) {
    static const char *const keys[] = {"city:oslo", "city:bergen", "city:bodo", "river:nile",
                                       "river:glomma"};
    feox_pair pairs[5];
    for (size_t i = 0; i < 5; i++) {
        pairs[i].key.data = keys[i];
        pairs[i].key.size = strlen(keys[i]);
        pairs[i].value.data = &keys[i][keys[i][0] == 'c' ? 5 : 6];
        pairs[i].value.size = strlen(pairs[i].value.data);
    }
    feox_status status = feox_insert_many(store, pairs, 5, NULL);
    return status == FEOX_OK ? 0 : failed("insert_many", status);
}

/* Walks a range, prints its keys, and compares them with `expected`, each followed by a space. */
static int walk(feox_store *store, const feox_range *range, const char *seek,
                const char *expected) {
    feox_cursor *cursor = NULL;
    feox_slice key;
    feox_slice value;
    char seen[256] = "";
    size_t size = 0;

    feox_status status = feox_cursor_open(store, range, &cursor);
    if (status == FEOX_OK && seek != NULL) {
        status = feox_cursor_seek(cursor, seek, strlen(seek));
    }
    if (status != FEOX_OK) {
        return failed("cursor", status);
    }
    /* The slices stay valid until the next call on the cursor. Others may write meanwhile. */
    while ((status = feox_cursor_next(cursor, &key, &value)) == FEOX_OK) {
        if (key.size + 2 < sizeof seen - size) {
            memcpy(seen + size, key.data, key.size);
            size += key.size;
            seen[size++] = ' ';
        }
    }
    feox_cursor_close(cursor);
    seen[size] = '\0';
    printf("%s\n", seen);
    if (status != FEOX_END) {
        return failed("next", status);
    }
    return strcmp(seen, expected) == 0 ? 0 : failed("other keys", FEOX_ERR_CORRUPT);
}

static int walk_all_ways(feox_store *store) {
    feox_range range;
    feox_range_init(&range);
    int result =
        walk(store, &range, NULL, "city:bergen city:bodo city:oslo river:glomma river:nile ");
    range.flags = FEOX_REVERSE;
    range.prefix = "city:";
    range.prefix_len = 5;
    if (result == 0) {
        result = walk(store, &range, NULL, "city:oslo city:bodo city:bergen ");
    }
    range.flags = FEOX_KEYS_ONLY;
    range.limit = 2;
    if (result == 0) {
        result = walk(store, &range, "city:bo", "city:bodo city:oslo ");
    }
    return result;
}

static int query(feox_store *store) {
    feox_pairs *pairs = NULL;
    /* Both ends are part of the range. */
    feox_status status = feox_range_query(store, "city:bodo", 9, "river:glomma", 12, 0, &pairs);
    if (status != FEOX_OK) {
        return failed("range_query", status);
    }
    size_t count = pairs->count;
    for (size_t i = 0; i < count; i++) {
        const feox_pair *pair = &pairs->pairs[i];
        printf("%.*s is %.*s\n", (int)pair->key.size, (const char *)pair->key.data,
               (int)pair->value.size, (const char *)pair->value.data);
    }
    feox_pairs_free(pairs);
    return count == 3 ? 0 : failed("not three pairs", FEOX_ERR_CORRUPT);
}

int main(void) {
    feox_store *store = NULL;
    feox_status status = feox_open(NULL, NULL, &store);
    if (status != FEOX_OK) {
        return failed("open", status);
    }
    int result = fill(store);
    if (result == 0) {
        result = walk_all_ways(store);
    }
    if (result == 0) {
        result = query(store);
    }
    status = feox_close(store);
    return status == FEOX_OK ? result : failed("close", status);
}
