/* skiplist_sort: brings a batch of changes into key order. A merge sort, because changes of one key
 * must stay in the order given; on copies that hold eight bytes of the key behind what all keys of
 * the batch share, so that records are touched once each and not per comparison.
 */
#include "index/skiplist_node.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define RUN 8u /* sorted by insertion */

typedef struct entry {
    uint64_t head;
    fx_skiplist_op op;
} entry;

static bool is_below(const entry *a, const entry *b, size_t common) {
    if (a->head != b->head) {
        return a->head < b->head;
    }
    return fx_skip_compare(fx_skip_record_key(a->op.record), fx_skip_record_key(b->op.record),
                           common) < 0;
}

static void sort_run(entry *entries, size_t count, size_t common) {
    for (size_t i = 1; i < count; i++) {
        entry moving = entries[i];
        size_t at = i;
        for (; at > 0 && is_below(&moving, &entries[at - 1], common); at--) {
            entries[at] = entries[at - 1];
        }
        entries[at] = moving;
    }
}

static void merge(const entry *a, size_t a_count, const entry *b, size_t b_count, entry *out,
                  size_t common) {
    const entry *a_end = a + a_count;
    const entry *b_end = b + b_count;
    while (a < a_end && b < b_end) {
        *out++ = is_below(b, a, common) ? *b++ : *a++;
    }
    fx_copy(out, a, (size_t)(a_end - a) * sizeof *a);
    out += a_end - a;
    fx_copy(out, b, (size_t)(b_end - b) * sizeof *b);
}

static size_t batch_common(const fx_skiplist_op *ops, size_t count) {
    fx_skip_key first = fx_skip_record_key(ops[0].record);
    size_t common = first.size;
    for (size_t i = 1; i < count && common > 0; i++) {
        first.size = common;
        common = fx_skip_common(first, fx_skip_record_key(ops[i].record));
    }
    return common;
}

static uint64_t head_of(fx_skip_key key, size_t common) {
    uint64_t head = 0;
    if (key.size >= common + 8) {
        head = fx_get_u64(key.data + common);
    } else {
        fx_copy(&head, key.data + common, key.size - common);
    }
    return __builtin_bswap64(head);
}

void fx_skip_sort(fx_skiplist *list, fx_skiplist_op *ops, size_t count) {
    if (count < 2) {
        return;
    }
    size_t common = batch_common(ops, count);
    entry *from = list->sort_entries;
    entry *to = from + list->sort_capacity;
    for (size_t i = 0; i < count; i++) {
        from[i] = (entry){head_of(fx_skip_record_key(ops[i].record), common), ops[i]};
    }
    for (size_t at = 0; at < count; at += RUN) {
        sort_run(from + at, count - at < RUN ? count - at : RUN, common);
    }
    for (size_t run = RUN; run < count; run *= 2) {
        for (size_t at = 0; at < count; at += 2 * run) {
            size_t left = count - at < run ? count - at : run;
            size_t right = count - at - left < run ? count - at - left : run;
            merge(from + at, left, from + at + left, right, to + at, common);
        }
        entry *swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < count; i++) {
        ops[i] = from[i].op;
    }
}

bool fx_skip_sort_reserve(fx_skiplist *list, size_t count) {
    if (count <= list->sort_capacity) {
        return true;
    }
    if (count > SIZE_MAX / (2 * sizeof(entry))) {
        return false;
    }
    void *entries = fx_mem_alloc(2 * count * sizeof(entry));
    if (entries == NULL) {
        return false;
    }
    fx_skip_sort_trim(list);
    list->sort_entries = entries;
    list->sort_capacity = count;
    fx_store_relaxed(&list->memory, list->memory + 2 * count * sizeof(entry));
    return true;
}

void fx_skip_sort_trim(fx_skiplist *list) {
    fx_store_relaxed(&list->memory, list->memory - 2 * list->sort_capacity * sizeof(entry));
    fx_mem_free(list->sort_entries);
    list->sort_entries = NULL;
    list->sort_capacity = 0;
}
