/* record_sort: why not by comparing. A million records are more than any cache holds, and a
 * comparison sort looks at each some twenty times. So they are dealt out by one byte of the key
 * after the other, the first one first (McIlroy, Bostic, McIlroy, "Engineering radix sort", 1993),
 * on copies that hold eight bytes of the key: a record is looked at once per eight bytes that many
 * keys share.
 */
#include "index/record_sort.h"

#include <stdlib.h>

#include "base/mem.h"

/* So many are sorted by insertion. */
#define FEW 20u
/* Splits on top of one another, and bytes of a key, after which keys are compared after all: a
 * bound for the stack, and for keys that somebody chose. */
#define DEPTH_MAX 16u
#define BYTES_MAX 512u
/* Records asked for ahead. */
#define AHEAD 24u

typedef struct item {
    uint64_t head; /* eight bytes of the key, as a number that sorts like them; 0 for missing */
    fx_record *record;
} item;

static int compare(const void *left, const void *right) {
    const item *a = left;
    const item *b = right;
    if (a->head != b->head) {
        return a->head < b->head ? -1 : 1;
    }
    return fx_key_compare(fx_record_key(a->record), fx_record_key_len(a->record),
                          fx_record_key(b->record), fx_record_key_len(b->record));
}

static void insertion_sort(item *items, size_t count) {
    for (size_t i = 1; i < count; i++) {
        item moving = items[i];
        size_t at = i;
        for (; at > 0 && compare(&moving, &items[at - 1]) < 0; at--) {
            items[at] = items[at - 1];
        }
        items[at] = moving;
    }
}

static uint64_t head_at(const fx_record *record, size_t at) {
    const uint8_t *key = fx_record_key(record);
    size_t len = fx_record_key_len(record);
    uint64_t head = 0;
    if (len >= at + 8) {
        head = fx_get_u64(key + at);
    } else if (len > at) {
        fx_copy(&head, key + at, len - at);
    }
    return __builtin_bswap64(head);
}

static void load_heads(item *items, size_t count, size_t at) {
    for (size_t i = 0; i < count; i++) {
        const char *ahead = (const char *)items[i + AHEAD < count ? i + AHEAD : i].record;
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + sizeof(fx_record) + at);
        items[i].head = head_at(items[i].record, at);
    }
}

/* Deals the items out by the key's byte `at`; ends_out[b] is behind those with byte b. False: it is
 * the same in all, and nothing was moved. */
static bool deal(item *items, item *spare, size_t count, size_t at, size_t *ends_out) {
    unsigned shift = 56 - (unsigned)(at % 8) * 8;
    for (size_t b = 0; b < 256; b++) {
        ends_out[b] = 0;
    }
    for (size_t i = 0; i < count; i++) {
        ends_out[items[i].head >> shift & 0xff]++;
    }
    if (ends_out[items[0].head >> shift & 0xff] == count) {
        return false;
    }
    size_t before = 0;
    for (size_t b = 0; b < 256; b++) {
        size_t here = ends_out[b];
        ends_out[b] = before;
        before += here;
    }
    for (size_t i = 0; i < count; i++) {
        spare[ends_out[items[i].head >> shift & 0xff]++] = items[i];
    }
    fx_copy(items, spare, count * sizeof *items);
    return true;
}

/* Sorts items whose keys are the same in the `at` bytes before; all heads are of one place. */
static void sort_from(item *items, item *spare, size_t count, size_t at, unsigned depth) {
    size_t ends[256];
    for (; count > FEW; at++) {
        if (depth == DEPTH_MAX || at == BYTES_MAX) {
            qsort(items, count, sizeof *items, compare);
            return;
        }
        if (at % 8 == 0) {
            load_heads(items, count, at);
        }
        if (!deal(items, spare, count, at, ends)) {
            continue;
        }
        for (size_t b = 0, start = 0; b < 256; start = ends[b++]) {
            sort_from(items + start, spare, ends[b] - start, at + 1, depth + 1);
        }
        return;
    }
    if (at % 8 == 0 && at > 0 && count > 1) {
        load_heads(items, count, at); /* those before are the same in all */
    }
    insertion_sort(items, count);
}

bool fx_record_sort(fx_record **records, size_t count) {
    item *items = count <= SIZE_MAX / (2 * sizeof *items)
                      ? fx_mem_alloc((count + 1) * 2 * sizeof *items)
                      : NULL;
    if (items == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        items[i] = (item){0, records[i]};
    }
    sort_from(items, items + count, count, 0, 0);
    for (size_t i = 0; i < count; i++) {
        records[i] = items[i].record;
    }
    fx_mem_free(items);
    return true;
}
