/* skiplist_check: walks a whole list and compares it with the invariants S1..S4 of skiplist.c and
 * P1, P2 of skiplist_pool.c. The writer's view: plain reads.
 */
#include "index/skiplist_node.h"

/* What the walk has counted so far. */
typedef struct tour {
    const fx_skiplist *list;
    fx_skip_node *last[FX_SKIP_HEIGHT_MAX]; /* the node visited last on each level */
    size_t nodes[FX_SKIP_HEIGHT_MAX];
    uint64_t entries;
} tour;

static fx_skip_key entry_key(unsigned level, const void *item) {
    return level == 0 ? fx_skip_record_key(item) : fx_fence_key(((const fx_skip_node *)item)->low);
}

static const char *check_entries(const fx_skip_node *node, const fx_fence *high) {
    unsigned level = fx_shape_level(node->shape);
    size_t prefix = fx_shape_prefix(node->shape);
    fx_skip_key before = {NULL, 0};
    for (unsigned i = level > 0 ? 1 : 0; i < fx_shape_count(node->shape); i++) {
        if (level > 0 && ((const fx_skip_node *)node->items[i])->low == NULL) {
            return "a fence is missing";
        }
        fx_skip_key key = entry_key(level, node->items[i]);
        if (before.data != NULL && fx_skip_compare(before, key, 0) >= 0) {
            return "entries are out of order";
        }
        if (node->low != NULL && fx_skip_compare(fx_fence_key(node->low), key, 0) > 0) {
            return "an entry is below its node's fence";
        }
        if (high != NULL && fx_skip_compare(key, fx_fence_key(high), 0) >= 0) {
            return "an entry is not below the next fence";
        }
        if (node->heads[i] != fx_skip_head(key, prefix)) {
            return "a head is not its key's";
        }
        before = key;
    }
    return NULL;
}

static const char *check_node(tour *walk, fx_skip_node *node, unsigned level,
                              const fx_fence *high) {
    unsigned count = fx_shape_count(node->shape);
    if ((node->seq & 1) != 0) {
        return "a node was left open";
    }
    if (fx_shape_level(node->shape) != level || count > FX_SKIP_FANOUT) {
        return "a node's level or count is wrong";
    }
    if (count < (level > 0 ? 2u : 1u) && node != walk->list->root) {
        return "a node has too few entries";
    }
    if (node->prev != walk->last[level] || (node->prev != NULL && node->prev->next != node)) {
        return "neighbours are not linked";
    }
    if ((node->next != NULL ? node->next->low : NULL) != high) {
        return "the neighbour's fence is not the parent's";
    }
    size_t prefix = node->low != NULL && high != NULL
                        ? fx_skip_common(fx_fence_key(node->low), fx_fence_key(high))
                        : 0;
    if (fx_shape_prefix(node->shape) != prefix) {
        return "a prefix is not that of the fences";
    }
    walk->last[level] = node;
    walk->nodes[level]++;
    walk->entries += level == 0 ? count : 0;
    return check_entries(node, high);
}

/* Depth first, with an index per level instead of recursion. */
static const char *check_tree(tour *walk) {
    fx_skip_node *nodes[FX_SKIP_HEIGHT_MAX];
    const fx_fence *highs[FX_SKIP_HEIGHT_MAX];
    unsigned indices[FX_SKIP_HEIGHT_MAX] = {0};
    unsigned top = walk->list->height - 1;
    nodes[top] = walk->list->root;
    highs[top] = NULL;
    const char *wrong = check_node(walk, nodes[top], top, NULL);
    for (unsigned level = top; wrong == NULL && level <= top;) {
        fx_skip_node *node = nodes[level];
        unsigned index = indices[level]++;
        if (level == 0 || index == fx_shape_count(node->shape)) {
            level++;
            continue;
        }
        fx_skip_node *child = node->items[index];
        if (index == 0 && child->low != node->low) {
            return "a first child has another fence than its parent";
        }
        highs[level - 1] = index + 1 < fx_shape_count(node->shape)
                               ? ((fx_skip_node *)node->items[index + 1])->low
                               : highs[level];
        nodes[--level] = child;
        indices[level] = 0;
        wrong = check_node(walk, child, level, highs[level]);
    }
    return wrong;
}

const char *fx_skiplist_check(fx_skiplist *list) {
    tour walk = {.list = list};
    if (list->height == 0 || list->height > FX_SKIP_HEIGHT_MAX) {
        return "the height is wrong";
    }
    if (list->height > 1 && fx_shape_count(list->root->shape) < 2) {
        return "the root has too few children";
    }
    const char *wrong = check_tree(&walk);
    if (wrong != NULL) {
        return wrong;
    }
    size_t nodes = 0;
    size_t fences = 0;
    for (unsigned level = 0; level < FX_SKIP_HEIGHT_MAX; level++) {
        nodes += walk.nodes[level];
        if (walk.nodes[level] != list->level_nodes[level] ||
            (walk.last[level] != NULL && walk.last[level]->next != NULL)) {
            return "a level has lost nodes";
        }
    }
    for (size_t i = 0; i < FX_SKIP_CLASSES; i++) {
        fences += list->fences[i].used;
    }
    if (walk.entries != list->count) {
        return "the count is wrong";
    }
    return nodes != list->nodes.used || fences + 1 != walk.nodes[0] ? "nodes or fences are lost"
                                                                    : NULL;
}
