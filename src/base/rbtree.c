/* rbtree: why both sides in one code: every case has its mirror image, and a mirror image written
 * twice is where such trees break. `side` says which child, `!side` the other. The colour is in
 * bit 0 of the parent's address: a node is 24 bytes, and two of them with an extent one cache line.
 *
 * Invariants (fx_rbtree_check): R1 the root is black; R2 a red node has no red child; R3 every way
 * from a node down to a missing child passes the same number of black nodes; R4 in-order is the
 * comparator's order; R5 a child's parent is the node that holds it.
 * R2 and R3 bound the height by 2 log2(n + 1).
 */
#include "base/rbtree.h"

#include "base/assert.h"

#define RED ((uintptr_t)1)
/* Twice the bits of an address: no sound tree is higher. */
#define HEIGHT_MAX 128

static fx_rbnode *parent_of(const fx_rbnode *node) {
    return (fx_rbnode *)(node->parent_and_red & ~RED);
}

static bool is_red(const fx_rbnode *node) {
    return node != NULL && (node->parent_and_red & RED) != 0;
}

static void set_parent(fx_rbnode *node, const fx_rbnode *parent) {
    node->parent_and_red = (uintptr_t)parent | (node->parent_and_red & RED);
}

static void set_red(fx_rbnode *node, bool red) {
    node->parent_and_red = (node->parent_and_red & ~RED) | (red ? RED : 0);
}

/* Which child of its parent the node is. */
static int side_of(const fx_rbnode *parent, const fx_rbnode *node) {
    return parent->child[1] == node;
}

/* Puts `node` (may be NULL) where `old` hangs below `parent` (NULL: `old` is the root). */
static void replace_child(fx_rbtree *tree, fx_rbnode *parent, const fx_rbnode *old,
                          fx_rbnode *node) {
    if (parent == NULL) {
        tree->root = node;
    } else {
        parent->child[side_of(parent, old)] = node;
    }
}

/* Moves `node` down to `side`; its other child, which must exist, takes its place. */
static void rotate(fx_rbtree *tree, fx_rbnode *node, int side) {
    fx_rbnode *up = node->child[!side];
    fx_rbnode *inner = up->child[side];
    fx_rbnode *parent = parent_of(node);
    node->child[!side] = inner;
    if (inner != NULL) {
        set_parent(inner, node);
    }
    up->child[side] = node;
    set_parent(up, parent);
    replace_child(tree, parent, node, up);
    set_parent(node, up);
}

void fx_rbtree_init(fx_rbtree *tree, fx_rbtree_compare compare) {
    tree->root = NULL;
    tree->compare = compare;
}

/* `node` is red, and so may be its parent: the only place where R2 fails. */
static void repair_red(fx_rbtree *tree, fx_rbnode *node) {
    fx_rbnode *parent = parent_of(node);
    while (is_red(parent)) {
        fx_rbnode *grand = parent_of(parent); /* exists: a red node is not the root */
        int side = side_of(grand, parent);
        fx_rbnode *uncle = grand->child[!side];
        if (is_red(uncle)) {
            set_red(parent, false);
            set_red(uncle, false);
            set_red(grand, true);
            node = grand;
            parent = parent_of(node);
            continue;
        }
        if (parent->child[!side] == node) {
            rotate(tree, parent, side);
            parent = node;
        }
        set_red(parent, false);
        set_red(grand, true);
        rotate(tree, grand, !side);
        break;
    }
    set_red(tree->root, false);
}

void fx_rbtree_insert(fx_rbtree *tree, fx_rbnode *node) {
    FX_ASSERT(((uintptr_t)node & RED) == 0);
    fx_rbnode *parent = NULL;
    int side = 0;
    for (fx_rbnode *at = tree->root; at != NULL; at = at->child[side]) {
        parent = at;
        side = tree->compare(node, at) >= 0;
    }
    node->child[0] = NULL;
    node->child[1] = NULL;
    node->parent_and_red = (uintptr_t)parent | RED;
    if (parent == NULL) {
        tree->root = node;
    } else {
        parent->child[side] = node;
    }
    repair_red(tree, node);
}

/* The ways through `parent`'s child at `side` (may be NULL) lack one black node: repairs R3. */
static void repair_black(fx_rbtree *tree, fx_rbnode *parent, int side) {
    while (parent != NULL && !is_red(parent->child[side])) {
        fx_rbnode *sibling = parent->child[!side]; /* exists: its ways have a black node more */
        if (is_red(sibling)) {
            set_red(sibling, false);
            set_red(parent, true);
            rotate(tree, parent, side);
            sibling = parent->child[!side];
        }
        if (!is_red(sibling->child[0]) && !is_red(sibling->child[1])) {
            set_red(sibling, true);
            fx_rbnode *grand = parent_of(parent);
            if (is_red(parent) || grand == NULL) {
                set_red(parent, false);
                return;
            }
            side = side_of(grand, parent);
            parent = grand;
            continue;
        }
        if (!is_red(sibling->child[!side])) {
            /* Its red inner child goes between: the colours below put that right as well. */
            rotate(tree, sibling, !side);
            sibling = parent->child[!side];
        }
        set_red(sibling, is_red(parent));
        set_red(parent, false);
        set_red(sibling->child[!side], false);
        rotate(tree, parent, side);
        return;
    }
    fx_rbnode *child = parent == NULL ? tree->root : parent->child[side];
    if (child != NULL) {
        set_red(child, false);
    }
}

void fx_rbtree_erase(fx_rbtree *tree, fx_rbnode *node) {
    fx_rbnode *parent = parent_of(node);
    fx_rbnode *hole_parent; /* where a node goes missing, */
    int hole_side;
    bool hole_red; /* and what colour it had */
    if (node->child[0] == NULL || node->child[1] == NULL) {
        fx_rbnode *only = node->child[node->child[0] == NULL];
        hole_parent = parent;
        hole_side = parent != NULL && side_of(parent, node);
        hole_red = is_red(node);
        replace_child(tree, parent, node, only);
        if (only != NULL) {
            set_parent(only, parent);
        }
    } else {
        /* The next node has no child before it: it leaves its place and takes this one. */
        fx_rbnode *heir = fx_rbtree_next(node);
        hole_red = is_red(heir);
        if (heir == node->child[1]) {
            hole_parent = heir;
            hole_side = 1;
        } else {
            hole_parent = parent_of(heir);
            hole_side = 0;
            hole_parent->child[0] = heir->child[1];
            if (heir->child[1] != NULL) {
                set_parent(heir->child[1], hole_parent);
            }
            heir->child[1] = node->child[1];
            set_parent(heir->child[1], heir);
        }
        heir->child[0] = node->child[0];
        set_parent(heir->child[0], heir);
        heir->parent_and_red = node->parent_and_red;
        replace_child(tree, parent, node, heir);
    }
    if (!hole_red) {
        repair_black(tree, hole_parent, hole_side);
    }
}

static fx_rbnode *outermost(fx_rbnode *node, int side) {
    while (node != NULL && node->child[side] != NULL) {
        node = node->child[side];
    }
    return node;
}

static fx_rbnode *neighbour(const fx_rbnode *node, int side) {
    if (node->child[side] != NULL) {
        return outermost(node->child[side], !side);
    }
    fx_rbnode *parent = parent_of(node);
    while (parent != NULL && parent->child[side] == node) {
        node = parent;
        parent = parent_of(node);
    }
    return parent;
}

fx_rbnode *fx_rbtree_first(const fx_rbtree *tree) {
    return outermost(tree->root, 0);
}

fx_rbnode *fx_rbtree_last(const fx_rbtree *tree) {
    return outermost(tree->root, 1);
}

fx_rbnode *fx_rbtree_next(const fx_rbnode *node) {
    return neighbour(node, 1);
}

fx_rbnode *fx_rbtree_prev(const fx_rbnode *node) {
    return neighbour(node, 0);
}

fx_rbnode *fx_rbtree_lower_bound(const fx_rbtree *tree, fx_rbtree_probe probe, const void *wanted) {
    fx_rbnode *found = NULL;
    for (fx_rbnode *at = tree->root; at != NULL;) {
        bool before = probe(at, wanted) < 0;
        found = before ? found : at;
        at = at->child[before];
    }
    return found;
}

fx_rbnode *fx_rbtree_find(const fx_rbtree *tree, fx_rbtree_probe probe, const void *wanted) {
    fx_rbnode *found = fx_rbtree_lower_bound(tree, probe, wanted);
    return found != NULL && probe(found, wanted) == 0 ? found : NULL;
}

typedef struct walk {
    const fx_rbtree *tree;
    const fx_rbnode *previous;
    const char *wrong;
} walk;

/* Black nodes on the way down; in-order, so that `previous` is the left neighbour. */
static unsigned check_below(walk *w, const fx_rbnode *node, unsigned depth) {
    if (node == NULL || w->wrong != NULL) {
        return 0;
    }
    if (depth > HEIGHT_MAX) {
        w->wrong = "the tree is too high, or a circle";
        return 0;
    }
    unsigned before = check_below(w, node->child[0], depth + 1);
    if (w->wrong != NULL) {
        return 0;
    }
    if (w->previous != NULL && w->tree->compare(w->previous, node) > 0) {
        w->wrong = "nodes are out of order";
    }
    w->previous = node;
    unsigned after = check_below(w, node->child[1], depth + 1);
    for (int side = 0; side < 2 && w->wrong == NULL; side++) {
        const fx_rbnode *child = node->child[side];
        if (child != NULL && parent_of(child) != node) {
            w->wrong = "a child has another parent";
        } else if (is_red(node) && is_red(child)) {
            w->wrong = "a red node has a red child";
        }
    }
    if (w->wrong == NULL && before != after) {
        w->wrong = "black heights differ";
    }
    return before + (is_red(node) ? 0 : 1);
}

const char *fx_rbtree_check(const fx_rbtree *tree) {
    if (tree->root == NULL) {
        return NULL;
    }
    if (is_red(tree->root)) {
        return "the root is red";
    }
    if (parent_of(tree->root) != NULL) {
        return "the root has a parent";
    }
    walk w = {tree, NULL, NULL};
    (void)check_below(&w, tree->root, 0);
    return w.wrong;
}
