/* rbtree: an intrusive red-black tree: the node lives in the caller's structure, so that no
 * operation allocates and one structure can be in several trees. Guibas, Sedgewick 1978.
 *
 * Threads: none of its own business; one at a time, or readers only. insert, erase, find and
 * lower_bound are O(log n); first, last, next, prev are O(log n), O(1) on average over a walk.
 * A node is in at most one tree; while it is in, what the comparator looks at may change only in a
 * way that leaves its order towards its neighbours as it is.
 */
#ifndef FX_BASE_RBTREE_H
#define FX_BASE_RBTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fx_rbnode {
    uintptr_t parent_and_red;   /* the parent's address; bit 0 set: this node is red */
    struct fx_rbnode *child[2]; /* 0: before this node, 1: after it */
} fx_rbnode;

/* Below, equal, above zero: `a` sorts before, with, after `b`. */
typedef int (*fx_rbtree_compare)(const fx_rbnode *a, const fx_rbnode *b);
/* The same between a node and whatever the caller searches for. */
typedef int (*fx_rbtree_probe)(const fx_rbnode *node, const void *wanted);

typedef struct fx_rbtree {
    fx_rbnode *root;
    fx_rbtree_compare compare;
} fx_rbtree;

/* The structure of `type` whose member `member` is this node; the node must not be NULL. */
#define FX_RBTREE_ENTRY(node, type, member)                                                        \
    ((type *)(void *)((uintptr_t)(node)-offsetof(type, member)))

void fx_rbtree_init(fx_rbtree *tree, fx_rbtree_compare compare);
/* The node's old content is overwritten. Equal nodes may meet: the later one sorts behind. */
void fx_rbtree_insert(fx_rbtree *tree, fx_rbnode *node);
/* The node must be in this tree. */
void fx_rbtree_erase(fx_rbtree *tree, fx_rbnode *node);

/* NULL at the end, and in an empty tree. */
fx_rbnode *fx_rbtree_first(const fx_rbtree *tree);
fx_rbnode *fx_rbtree_last(const fx_rbtree *tree);
fx_rbnode *fx_rbtree_next(const fx_rbnode *node);
fx_rbnode *fx_rbtree_prev(const fx_rbnode *node);

/* The first node that is equal to what is wanted; NULL: there is none. */
fx_rbnode *fx_rbtree_find(const fx_rbtree *tree, fx_rbtree_probe probe, const void *wanted);
/* The first node that does not sort before what is wanted; NULL: all do. */
fx_rbnode *fx_rbtree_lower_bound(const fx_rbtree *tree, fx_rbtree_probe probe, const void *wanted);

/* Walks everything: order, parents, colours, equal black heights. NULL: sound; else what is wrong.
 * Bounded in depth even on a damaged tree. */
const char *fx_rbtree_check(const fx_rbtree *tree);

#endif
