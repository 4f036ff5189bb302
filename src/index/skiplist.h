/* skiplist: the keys in order. Holds record pointers, never keys of its own.
 *
 * A blocked deterministic skip list: leaves of up to 48 {key head after the leaf's common prefix,
 * record pointer}, levels of index blocks above. ONE writer at a time (the caller holds the merge
 * lock); any number of readers without a lock, which must be pinned (epoch.h). Readers validate
 * each node by its sequence number. Nodes live in type-stable memory until destroy.
 *
 * The engine feeds it batches from per-shard pending lists; it does not know of them.
 */
#ifndef FX_INDEX_SKIPLIST_H
#define FX_INDEX_SKIPLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/epoch.h"
#include "index/record.h"

typedef struct fx_skiplist fx_skiplist;

/* One change. `drop` false: the record takes its key's place, which another record may have held.
 * `drop` true: the entry goes if it is this very record, else nothing happens. */
typedef struct fx_skiplist_op {
    fx_record *record;
    bool drop;
} fx_skiplist_op;

/* NULL: no memory. */
fx_skiplist *fx_skiplist_create(void);
/* No reader or writer may be inside. */
void fx_skiplist_destroy(fx_skiplist *list);

/* Makes sure that `count` changes cannot fail for lack of memory, none of whose keys is longer than
 * `key_len_max` (separators are copies of keys' beginnings). Takes address space; memory only as
 * far as it gets used. Writer. False: no memory. */
bool fx_skiplist_reserve(fx_skiplist *list, size_t count, size_t key_len_max);
/* Applies `count` reserved changes; those of one key in the order given, others in any order (it
 * reorders `ops`). Records that are no longer in the list because of it go to `unlinked`, room for
 * `count`; their number is returned. A dropped record that was not in the list is unlinked too.
 * Writer. O(log n) each, less for neighbours. */
size_t fx_skiplist_apply(fx_skiplist *list, fx_skiplist_op *ops, size_t count,
                         fx_record **unlinked);
/* Builds an empty list from `count` records in strictly ascending order, bottom up. Writer; no
 * readers yet. False: no memory, and the list is empty. */
bool fx_skiplist_build(fx_skiplist *list, fx_record *const *records, size_t count);

/* Up to `capacity` records, ascending, from the first key >= `key` on (> with `exclusive`); key_len
 * 0: from the first. Returns how many; 0: no more. May return fewer than there are, never 0 then.
 * All of them were in the list at one moment per leaf. Pinned. */
size_t fx_skiplist_forward(fx_skiplist *list, const void *key, size_t key_len, bool exclusive,
                           fx_record **records, size_t capacity);
/* The same descending, from the last key <= `key` on (< with `exclusive`); key NULL: from the
 * last. */
size_t fx_skiplist_backward(fx_skiplist *list, const void *key, size_t key_len, bool exclusive,
                            fx_record **records, size_t capacity);

/* Entries in the list. Any thread. */
uint64_t fx_skiplist_count(const fx_skiplist *list);
/* Bytes of memory it has taken. Any thread. */
uint64_t fx_skiplist_memory(const fx_skiplist *list);
/* Gives memory of unused nodes back where that is possible (after much was dropped). Ends what was
 * reserved. Writer. */
void fx_skiplist_trim(fx_skiplist *list);
/* Walks everything: order, fences, heads, counts, links. Writer. NULL: sound; else what is
 * wrong. */
const char *fx_skiplist_check(fx_skiplist *list);

#endif
