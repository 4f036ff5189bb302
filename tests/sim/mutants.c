/* mutants: faults that tests/sim/lockfree_test.c makes of the code, one at a time, at run time. Not
 * here are orders that no scenario can show to be needed: tests/README.md says which and why.
 */
#include "sim/mutants.h"

#define WEAKER(order) EXPLORE_AS_WRITTEN, EXPLORE_##order
#define STUCK EXPLORE_STUCK, EXPLORE_RELAXED
#define OMITTED EXPLORE_OMITTED, EXPLORE_RELAXED

const mutant mutants[] = {
    /* The spin lock. */
    {"base/lock.h", "fx_spinlock_try", "exchange", "", 0, WEAKER(RELAXED), "spinlock"},
    {"base/lock.h", "fx_spinlock_unlock", "store", "", 0, WEAKER(RELAXED), "spinlock"},
    {"base/lock.h", "fx_spinlock_try", "exchange", "", 0, OMITTED, "spinlock"},
    {"base/lock.h", "fx_spinlock_unlock", "store", "", 0, WEAKER(RELAXED), "write buffer"},
    {"base/lock.h", "fx_spinlock_try", "exchange", "", 0, WEAKER(RELAXED), "pending lists"},
    /* Records: the seqlock, its second look, blocks and their places. */
    {"index/record_read.h", "fx_record_read_inline", "load", "&record->state", 0, STUCK,
     "record overwrite"},
    {"index/record_read.h", "fx_record_read_inline", "load", "&record->state", 0, STUCK,
     "record reuse"},
    {"index/record.c", "fx_record_overwrite", "store", "", 0, OMITTED, "record overwrite"},
    {"base/racing.h", "fx_racing_store", "store", "", 0, WEAKER(RELAXED), "record overwrite"},
    {"base/racing.h", "fx_racing_store", "store", "", 0, WEAKER(RELAXED), "record reuse"},
    {"index/record.c", "store_fields", "store", "&record->timestamp", 0, WEAKER(RELAXED),
     "record overwrite"},
    {"index/record.c", "fx_record_publish", "store", "", 0, WEAKER(RELAXED), "record overwrite"},
    {"index/record_read.h", "fx_record_read_inline", "load", "&record->state", 1, WEAKER(RELAXED),
     "record overwrite"},
    {"base/racing.h", "fx_racing_word", "load", "", 0, WEAKER(RELAXED), "record overwrite"},
    {"index/record_read.h", "fx_record_read_inline", "load", "&record->timestamp", 0,
     WEAKER(RELAXED), "record overwrite"},
    {"index/record_read.h", "fx_record_read_value", "load",
     "(const uint64_t *)(const void *)value + 1", 0, WEAKER(RELAXED), "record block"},
    {"index/record.c", "fx_record_set_block", "store", "", 0, WEAKER(RELAXED), "record block"},
    {"index/block.c", "fx_block_drop", "sub", "", 0, WEAKER(RELAXED), "block references"},
    /* The epoch. */
    {"index/epoch.c", "fx_epoch_pin", "cas", "", 0, WEAKER(ACQ_REL), "epoch"},
    {"index/epoch.c", "fx_epoch_pin", "load", "&epoch->now", 2, WEAKER(ACQUIRE), "epoch"},
    {"index/epoch.c", "fx_epoch_pin", "load", "&epoch->now", 2, STUCK, "epoch"},
    {"index/epoch.c", "fx_epoch_stamp", "add", "", 0, WEAKER(RELAXED), "epoch"},
    {"index/epoch.c", "fx_epoch_safe", "load", "&epoch->slots", 0, WEAKER(ACQUIRE), "epoch"},
    {"index/epoch.c", "fx_epoch_safe", "load", "&epoch->slots", 0, STUCK, "epoch"},
    {"index/epoch.c", "fx_epoch_unpin", "store", "", 0, WEAKER(RELAXED), "epoch"},
    /* The table. */
    {"index/table_read.h", "fx_table_read_once", "load", "&table->generation", 2, STUCK,
     "table doubles"},
    {"index/table_read.h", "fx_table_read_once", "load", "&table->generation", 1, WEAKER(RELAXED),
     "table doubles"},
    {"index/table.c", "moves_end", "store", "", 0, WEAKER(RELAXED), "table doubles"},
    /* The next three were in the code until these scenarios found them: a key that was there could
     * be missed while the table grew, on processors weaker than x86. */
    {"index/table_read.h", "fx_bucket_of", "load", "&directory->mask", 0, WEAKER(RELAXED),
     "table doubles"},
    {"index/table.c", "segment_double", "store", "&table->directory->mask", 0, WEAKER(RELAXED),
     "table doubles"},
    {"index/table.c", "chain_compact", "store", "&b->slots[i]", 0, WEAKER(RELAXED),
     "table doubles"},
    {"index/table.c", "chain_compact", "store", "&bucket->overflow", 0, WEAKER(RELAXED),
     "table doubles"},
    {"index/table.c", "move_entries", "store", "&b->slots[i]", 0, WEAKER(RELAXED), "table doubles"},
    {"index/table_read.h", "fx_chain_next", "load", "", 0, WEAKER(RELAXED), "table doubles"},
    {"index/table_read.h", "fx_bucket_tagged", "load", "", 0, WEAKER(RELAXED), "table doubles"},
    {"index/table.c", "directory_double", "store", "", 0, WEAKER(RELAXED), "table splits"},
    {"index/table_read.h", "fx_bucket_of", "load", "&table->directory", 0, WEAKER(RELAXED),
     "table splits"},
    {"index/table_read.h", "fx_bucket_of", "load", "&directory->segments", 0, WEAKER(RELAXED),
     "table splits"},
    {"index/table.c", "segment_split", "store", "&directory->segments", 0, WEAKER(RELAXED),
     "table splits"},
    {"index/table_read.h", "fx_slot_collides", "load", "slot", 0, STUCK, "table overtaken"},
    {"index/table.c", "fx_table_trim_locked", "store", "&directory->segments", 0, OMITTED,
     "table regrows"},
    /* The skip list. */
    {"index/skiplist_node.h", "fx_skip_valid", "load", "", 0, STUCK, "skip list splits"},
    {"index/skiplist_node.h", "fx_skip_valid", "load", "", 0, STUCK, "skip list merges"},
    {"index/skiplist.c", "enter", "store", "", 0, OMITTED, "skip list splits"},
    {"index/skiplist.c", "leave", "store", "", 0, WEAKER(RELAXED), "skip list splits"},
    {"index/skiplist.c", "store_entry", "store", "&node->items[index]", 0, WEAKER(RELAXED),
     "skip list merges"},
    {"index/skiplist.c", "store_entry", "store", "&node->heads[index]", 0, WEAKER(RELAXED),
     "skip list grows"},
    {"index/skiplist.c", "store_count", "store", "", 0, WEAKER(RELAXED), "skip list splits"},
    {"index/skiplist.c", "unload", "store", "", 0, WEAKER(RELAXED), "skip list splits"},
    {"index/skiplist.c", "spread_children", "store", "&node->next", 0, WEAKER(RELAXED),
     "skip list merges"},
    {"index/skiplist.c", "grow_root", "store", "&list->root", 0, WEAKER(RELAXED),
     "skip list splits"},
    {"index/skiplist_read.c", "settled_seq", "load", "", 0, WEAKER(RELAXED), "skip list splits"},
    {"index/skiplist_read.c", "walk", "load", "&at.node->items", 0, WEAKER(RELAXED),
     "skip list splits"},
    {"index/skiplist_read.c", "descend", "load", "&list->root", 0, WEAKER(RELAXED),
     "skip list splits"},
    /* Pending lists. */
    {"engine/order.c", "drain_locked", "store", "&shard->merging_count", 0, OMITTED,
     "pending lists"},
    {"engine/order.c", "drain_locked", "store", "&shard->pending_count", 0, WEAKER(RELAXED),
     "pending lists"},
    {"engine/order.c", "fx_order_pending", "load", "&shard->pending_count", 0, WEAKER(RELAXED),
     "pending lists"},
    {"engine/order.c", "fx_order_pending", "load", "&shard->merging_count", 0, STUCK,
     "pending lists"},
};
const size_t mutant_count = sizeof mutants / sizeof mutants[0];
