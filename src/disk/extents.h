/* extents: the free space of the file, as runs of free blocks. Pure bookkeeping: touches no file.
 *
 * Two red-black trees over the same nodes: by place (a release finds its neighbours and melts with
 * them, so two runs never touch) and by size (an allocation finds the smallest run that suffices,
 * of equal ones the lowest). Everything is O(log n) in the number of runs; a run costs 64 bytes.
 * Everything in units of FX_BLOCK_SIZE.
 * Threads: one owner at a time (recovery, then the flusher); no locks.
 *
 * Memory. Allocating never needs any. A release (fx_extents_add_free) or a carving out
 * (fx_extents_reserve) needs at most one node; it takes a spare one, and only without a spare one
 * asks for memory. Whoever must not fail later calls fx_extents_reserve_nodes(n) beforehand, where
 * failing is still possible (before a group is written), with n the number of ALL releases that are
 * outstanding, those of earlier groups included: after it returned true, n releases or carvings
 * cannot fail for lack of memory, whatever is allocated in between; a false one then means the
 * space was not what the caller took it for. A later call with a smaller n gives nodes back.
 */
#ifndef FX_DISK_EXTENTS_H
#define FX_DISK_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/rbtree.h"

/* Beyond this a byte offset no longer fits an off_t. */
#define FX_EXTENTS_BLOCK_MAX ((uint64_t)INT64_MAX / FX_BLOCK_SIZE)

typedef struct fx_extent {
    uint64_t block; /* the first one */
    uint64_t count;
} fx_extent;

typedef struct fx_extents_node fx_extents_node;

typedef struct fx_extents {
    fx_rbtree by_place;
    fx_rbtree by_size;
    uint64_t free_blocks;
    size_t run_count;
    fx_extents_node *spare;
    size_t spare_count;
} fx_extents;

typedef struct fx_extents_stats {
    uint64_t free_blocks;
    uint64_t run_count;
    uint64_t largest_run;
    uint64_t memory;                /* bytes, spare nodes included */
    uint32_t fragmentation_percent; /* share of the free space outside the largest run */
} fx_extents_stats;

/* Nothing is free at first. Cannot fail. */
void fx_extents_init(fx_extents *extents);
/* Frees all nodes. Legal on a zeroed structure, and twice. */
void fx_extents_deinit(fx_extents *extents);

/* See above. False: no memory; what an earlier call promised holds. */
bool fx_extents_reserve_nodes(fx_extents *extents, size_t n);

/* These blocks are free from now on: the file grew, or their owner let go of them. False, and
 * nothing changes: count is 0, beyond FX_EXTENTS_BLOCK_MAX, some of it is free already, or there is
 * no memory (see above). */
bool fx_extents_add_free(fx_extents *extents, uint64_t block, uint64_t count);

/* Takes `count` blocks from the beginning of the smallest run that has them (lowest of equal ones).
 * False: no run has, or count is 0. */
bool fx_extents_allocate(fx_extents *extents, uint64_t count, fx_extent *out);
/* The same with the first `count_max` blocks of a run that lie outside `avoid` (count 0: nowhere),
 * or if no run has so many, of the one that has most, but not less than count_min: for emptying a
 * part of the file. Walks the runs of sufficient size; all runs if none is found so. */
bool fx_extents_allocate_outside(fx_extents *extents, uint64_t count_min, uint64_t count_max,
                                 const fx_extent *avoid, fx_extent *out);
/* As fx_extents_allocate(count_max); if no run has that many, takes the whole of the largest one,
 * unless it has less than count_min. False: nothing was taken. */
bool fx_extents_allocate_at_most(fx_extents *extents, uint64_t count_min, uint64_t count_max,
                                 fx_extent *out);

/* Takes just these blocks. Recovery starts with everything free and carves out what is owned: false
 * (nothing changes) says that two owners claim one block, or that it is beyond the end: damage; or
 * that there is no memory (see above). */
bool fx_extents_reserve(fx_extents *extents, uint64_t block, uint64_t count);

/* Where the used part of a file of file_blocks ends: file_blocks itself if its last block is used.
 */
uint64_t fx_extents_tail(const fx_extents *extents, uint64_t file_blocks);
/* The first run that ends above `block`; false: none. Walks all runs: start with 0, go on with the
 * end of the last one. */
bool fx_extents_next(const fx_extents *extents, uint64_t block, fx_extent *out);

void fx_extents_statistics(const fx_extents *extents, fx_extents_stats *out);
/* Walks everything: both trees hold the same runs, none touch, sums match. NULL: sound; else what
 * is wrong. O(n log n). */
const char *fx_extents_check(const fx_extents *extents);

#endif
