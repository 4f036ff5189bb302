/* extents: why best fit. Segments have one common size and large values many; best fit leaves big
 * runs whole for the large values, and "lowest of equal ones" pulls data to the beginning of the
 * file, so that the end comes free and the file can be cut (first fit by place would do that better
 * and pack worse; Knuth 2.5, Wilson 1995).
 *
 * Invariants: E1 runs do not overlap and do not touch. E2 a node is in both trees or on the spare
 * list. E3 by_size is ordered by (count, block): unique, as blocks are. E4 free_blocks and
 * run_count are the sums over the runs. E5 after fx_extents_reserve_nodes(n) there are n spare
 * nodes; a release or a carving uses at most one, an allocation none, and only reserve_nodes itself
 * takes some away.
 *
 * A run that loses blocks at one end keeps its node and its place in by_place: it stays between the
 * same neighbours. In by_size it must move.
 */
#include "disk/extents.h"

#include <string.h>

#include "base/mem.h"

/* Up to so many spare nodes are kept in any case: a page's worth. */
#define SPARE_MIN 64u

struct fx_extents_node {
    fx_rbnode by_place;
    union {
        fx_rbnode by_size;
        fx_extents_node *next_spare;
    } link;
    fx_extent run;
};

_Static_assert(sizeof(fx_extents_node) == 64, "the header promises 64 bytes a run");

static fx_extents_node *of_place(const fx_rbnode *node) {
    return FX_RBTREE_ENTRY(node, fx_extents_node, by_place);
}

static fx_extents_node *of_size(const fx_rbnode *node) {
    return FX_RBTREE_ENTRY(node, fx_extents_node, link.by_size);
}

static int compare_u64(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

static int compare_place(const fx_rbnode *a, const fx_rbnode *b) {
    return compare_u64(of_place(a)->run.block, of_place(b)->run.block);
}

static int compare_runs(const fx_extent *a, const fx_extent *b) {
    int order = compare_u64(a->count, b->count);
    return order != 0 ? order : compare_u64(a->block, b->block);
}

static int compare_size(const fx_rbnode *a, const fx_rbnode *b) {
    return compare_runs(&of_size(a)->run, &of_size(b)->run);
}

static int probe_size(const fx_rbnode *node, const void *wanted) {
    return compare_runs(&of_size(node)->run, wanted);
}

/* Runs sort by their ends as they do by their beginnings. */
static int probe_end_above(const fx_rbnode *node, const void *wanted) {
    const fx_extent *run = &of_place(node)->run;
    return run->block + run->count > *(const uint64_t *)wanted ? 1 : -1;
}

void fx_extents_init(fx_extents *extents) {
    memset(extents, 0, sizeof *extents);
    fx_rbtree_init(&extents->by_place, compare_place);
    fx_rbtree_init(&extents->by_size, compare_size);
}

static bool spare_add(fx_extents *extents) {
    fx_extents_node *node = fx_mem_alloc(sizeof *node);
    if (node == NULL) {
        return false;
    }
    node->link.next_spare = extents->spare;
    extents->spare = node;
    extents->spare_count++;
    return true;
}

/* Unlinks a spare node; NULL if there is none. */
static fx_extents_node *spare_take(fx_extents *extents) {
    fx_extents_node *node = extents->spare;
    if (node != NULL) {
        extents->spare = node->link.next_spare;
        extents->spare_count--;
    }
    return node;
}

static void node_free(fx_extents *extents, fx_extents_node *node) {
    if (extents->spare_count >= SPARE_MIN) {
        fx_mem_free(node);
        return;
    }
    node->link.next_spare = extents->spare;
    extents->spare = node;
    extents->spare_count++;
}

void fx_extents_deinit(fx_extents *extents) {
    for (fx_rbnode *at; (at = extents->by_place.root) != NULL;) {
        fx_rbtree_erase(&extents->by_place, at);
        fx_mem_free(of_place(at));
    }
    for (fx_extents_node *node; (node = spare_take(extents)) != NULL;) {
        fx_mem_free(node);
    }
    memset(extents, 0, sizeof *extents);
}

bool fx_extents_reserve_nodes(fx_extents *extents, size_t n) {
    while (extents->spare_count < n) {
        if (!spare_add(extents)) {
            return false;
        }
    }
    /* Give back what only an earlier, larger promise needed. */
    size_t keep = n > SPARE_MIN ? n : SPARE_MIN;
    while (extents->spare_count > keep) {
        fx_mem_free(spare_take(extents));
    }
    return true;
}

/* Makes a run of its own. False: no memory. */
static bool run_insert(fx_extents *extents, uint64_t block, uint64_t count) {
    if (extents->spare == NULL && !spare_add(extents)) {
        return false;
    }
    fx_extents_node *node = spare_take(extents);
    node->run = (fx_extent){block, count};
    fx_rbtree_insert(&extents->by_place, &node->by_place);
    fx_rbtree_insert(&extents->by_size, &node->link.by_size);
    extents->run_count++;
    return true;
}

static void run_remove(fx_extents *extents, fx_extents_node *node) {
    fx_rbtree_erase(&extents->by_place, &node->by_place);
    fx_rbtree_erase(&extents->by_size, &node->link.by_size);
    extents->run_count--;
    node_free(extents, node);
}

/* Gives a run other bounds, which leave it between the same neighbours. */
static void run_change(fx_extents *extents, fx_extents_node *node, uint64_t block, uint64_t count) {
    fx_rbtree_erase(&extents->by_size, &node->link.by_size);
    node->run = (fx_extent){block, count};
    fx_rbtree_insert(&extents->by_size, &node->link.by_size);
}

/* The run that ends above `block`; NULL: none. */
static fx_extents_node *run_above(const fx_extents *extents, uint64_t block) {
    fx_rbnode *at = fx_rbtree_lower_bound(&extents->by_place, probe_end_above, &block);
    return at != NULL ? of_place(at) : NULL;
}

static bool is_range(uint64_t block, uint64_t count) {
    return count > 0 && block <= FX_EXTENTS_BLOCK_MAX && count <= FX_EXTENTS_BLOCK_MAX - block;
}

bool fx_extents_add_free(fx_extents *extents, uint64_t block, uint64_t count) {
    if (!is_range(block, count)) {
        return false;
    }
    uint64_t end = block + count;
    fx_extents_node *after = run_above(extents, block);
    if (after != NULL && after->run.block < end) {
        return false;
    }
    fx_rbnode *at =
        after != NULL ? fx_rbtree_prev(&after->by_place) : fx_rbtree_last(&extents->by_place);
    fx_extents_node *before = at != NULL ? of_place(at) : NULL;
    bool joins_before = before != NULL && before->run.block + before->run.count == block;
    bool joins_after = after != NULL && after->run.block == end;
    if (joins_before && joins_after) {
        uint64_t more = count + after->run.count;
        run_remove(extents, after);
        run_change(extents, before, before->run.block, before->run.count + more);
    } else if (joins_before) {
        run_change(extents, before, before->run.block, before->run.count + count);
    } else if (joins_after) {
        run_change(extents, after, block, after->run.count + count);
    } else if (!run_insert(extents, block, count)) {
        return false;
    }
    extents->free_blocks += count;
    return true;
}

/* Takes the first `count` blocks of a run that has them. */
static void take_front(fx_extents *extents, fx_extents_node *node, uint64_t count, fx_extent *out) {
    *out = (fx_extent){node->run.block, count};
    extents->free_blocks -= count;
    if (node->run.count == count) {
        run_remove(extents, node);
    } else {
        run_change(extents, node, node->run.block + count, node->run.count - count);
    }
}

/* The smallest run of at least `count` blocks, the lowest of equal ones; NULL: none. */
static fx_extents_node *best_fit(const fx_extents *extents, uint64_t count) {
    const fx_extent wanted = {0, count};
    fx_rbnode *at = fx_rbtree_lower_bound(&extents->by_size, probe_size, &wanted);
    return at != NULL ? of_size(at) : NULL;
}

static uint64_t largest_run(const fx_extents *extents) {
    fx_rbnode *at = fx_rbtree_last(&extents->by_size);
    return at != NULL ? of_size(at)->run.count : 0;
}

bool fx_extents_allocate(fx_extents *extents, uint64_t count, fx_extent *out) {
    return fx_extents_allocate_at_most(extents, count, count, out);
}

/* How many blocks from the beginning of a run lie outside `avoid`. */
static uint64_t outside(const fx_extents_node *node, const fx_extent *avoid) {
    const fx_extent *run = &node->run;
    if (run->block >= avoid->block) {
        return run->block - avoid->block < avoid->count ? 0 : run->count;
    }
    uint64_t before = avoid->block - run->block;
    return avoid->count > 0 && before < run->count ? before : run->count;
}

bool fx_extents_allocate_outside(fx_extents *extents, uint64_t count_min, uint64_t count_max,
                                 const fx_extent *avoid, fx_extent *out) {
    *out = (fx_extent){0, 0};
    if (count_min == 0 || count_min > count_max) {
        return false;
    }
    fx_extents_node *node = best_fit(extents, count_max);
    while (node != NULL && outside(node, avoid) < count_max) {
        fx_rbnode *next = fx_rbtree_next(&node->link.by_size);
        node = next != NULL ? of_size(next) : NULL;
    }
    uint64_t count = count_max;
    if (node == NULL) {
        count = count_min - 1;
        fx_rbnode *at = fx_rbtree_first(&extents->by_place);
        for (; at != NULL; at = fx_rbtree_next(at)) {
            if (outside(of_place(at), avoid) > count) {
                node = of_place(at);
                count = outside(node, avoid);
            }
        }
    }
    if (node == NULL) {
        return false;
    }
    take_front(extents, node, count, out);
    return true;
}

bool fx_extents_allocate_at_most(fx_extents *extents, uint64_t count_min, uint64_t count_max,
                                 fx_extent *out) {
    *out = (fx_extent){0, 0};
    if (count_max == 0 || count_min > count_max) {
        return false;
    }
    uint64_t largest = largest_run(extents);
    uint64_t count = largest < count_max ? largest : count_max;
    if (count == 0 || count < count_min) {
        return false;
    }
    take_front(extents, best_fit(extents, count), count, out);
    return true;
}

bool fx_extents_reserve(fx_extents *extents, uint64_t block, uint64_t count) {
    if (!is_range(block, count)) {
        return false;
    }
    fx_extents_node *node = run_above(extents, block);
    if (node == NULL || node->run.block > block) {
        return false;
    }
    uint64_t end = block + count;
    uint64_t run_end = node->run.block + node->run.count;
    if (end > run_end) {
        return false;
    }
    uint64_t before = block - node->run.block;
    uint64_t after = run_end - end;
    if (before == 0 && after == 0) {
        run_remove(extents, node);
    } else if (before == 0) {
        run_change(extents, node, end, after);
    } else {
        /* The part behind is new: first what can fail. by_place has it in order at once, for its
         * beginning is above the old run's and below the next one's. */
        if (after > 0 && !run_insert(extents, end, after)) {
            return false;
        }
        run_change(extents, node, node->run.block, before);
    }
    extents->free_blocks -= count;
    return true;
}

uint64_t fx_extents_tail(const fx_extents *extents, uint64_t file_blocks) {
    fx_rbnode *at = fx_rbtree_last(&extents->by_place);
    if (at == NULL) {
        return file_blocks;
    }
    const fx_extent *run = &of_place(at)->run;
    return run->block + run->count == file_blocks ? run->block : file_blocks;
}

bool fx_extents_next(const fx_extents *extents, uint64_t block, fx_extent *out) {
    fx_extents_node *node = run_above(extents, block);
    *out = node != NULL ? node->run : (fx_extent){0, 0};
    return node != NULL;
}

void fx_extents_statistics(const fx_extents *extents, fx_extents_stats *out) {
    memset(out, 0, sizeof *out);
    out->free_blocks = extents->free_blocks;
    out->run_count = extents->run_count;
    out->largest_run = largest_run(extents);
    out->memory = (uint64_t)(extents->run_count + extents->spare_count) *
                  fx_mem_usable(sizeof(fx_extents_node));
    if (out->free_blocks > 0) {
        uint64_t outside = out->free_blocks - out->largest_run;
        /* FX_EXTENTS_BLOCK_MAX * 100 fits 64 bits. */
        out->fragmentation_percent = (uint32_t)(outside * 100u / out->free_blocks);
    }
}

const char *fx_extents_check(const fx_extents *extents) {
    const char *wrong = fx_rbtree_check(&extents->by_place);
    wrong = wrong != NULL ? wrong : fx_rbtree_check(&extents->by_size);
    if (wrong != NULL) {
        return wrong;
    }
    uint64_t blocks = 0;
    size_t runs = 0;
    const fx_extents_node *previous = NULL;
    for (fx_rbnode *at = fx_rbtree_first(&extents->by_place); at != NULL; at = fx_rbtree_next(at)) {
        const fx_extents_node *node = of_place(at);
        if (!is_range(node->run.block, node->run.count)) {
            return "a run is empty or out of bounds";
        }
        if (previous != NULL && previous->run.block + previous->run.count >= node->run.block) {
            return "two runs overlap or touch";
        }
        if (fx_rbtree_find(&extents->by_size, probe_size, &node->run) != &node->link.by_size) {
            return "a run is missing by size";
        }
        blocks += node->run.count;
        runs++;
        previous = node;
    }
    size_t by_size = 0;
    for (fx_rbnode *at = fx_rbtree_first(&extents->by_size); at != NULL; at = fx_rbtree_next(at)) {
        by_size++;
    }
    if (runs != extents->run_count || by_size != runs || blocks != extents->free_blocks) {
        return "the sums do not match the runs";
    }
    size_t spare = 0;
    for (const fx_extents_node *node = extents->spare;
         node != NULL && spare <= extents->spare_count; node = node->link.next_spare) {
        spare++;
    }
    return spare == extents->spare_count ? NULL : "the spare nodes are miscounted";
}
