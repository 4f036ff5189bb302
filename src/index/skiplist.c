/* skiplist: the writing half. Levels of linked blocks, split and merged deterministically (Munro,
 * Papadakis, Sedgewick 1992), so no height depends on luck; read by optimistic lock coupling, see
 * skiplist_read.c.
 *
 *   level 1   [ -inf | "f" | "m" ] ------------------------> [ "s" | "u" ]
 *                |      |     |                                 |     |
 *   level 0   [a b c] [f g] [m n o] <---- next, prev ------> [s t]  [u x]      each of <= 48
 *
 * Why blocks of 48 with four bytes of each key: a search touches a record only for the key itself,
 * so it misses the cache about once per level below the second, and an entry costs 12 bytes.
 *
 * Invariants
 *   S1 Every key of a node is >= its `low` and < the `low` of its right neighbour. `low` of the
 *      leftmost is NULL. The first child of a node has the node's own fence.
 *   S2 A fence's memory belongs to the leaf whose `low` it is; inner nodes point at the same one.
 *      Only nodes of one parent are merged or evened out, so the fence of a first child never
 *      changes, and a fence that goes away stands in exactly one inner node, the parent.
 *   S3 `prefix` bytes of the two fences around a node are equal, and so start each of its keys;
 *      heads are the four bytes behind them. A node without a fence on one side has prefix 0.
 *   S4 Only a root that is a leaf is empty; an inner root has at least two children outside apply.
 *
 * All restructuring is one step: `from` neighbours under one parent become `to` (1->2 and 2->3
 * split, 2->2 even out, 2->1 merge). Full leaves first even out with a neighbour, so that blocks
 * stay some four fifths full (B*-tree, Knuth vol. 3, 6.2.4).
 *
 * Ordering
 *   W1 enter makes seq odd by a relaxed store, all stores to racing words in between are release
 *      stores, leave makes seq even by a release store. They pair with R1 of skiplist_read.c.
 *   W2 A fence is written by release stores before the release store of the pointer to it; one is
 *      given back only after the parent that pointed to it was entered.
 *   W3 A step enters the parent, all nodes it changes, and the neighbour whose prev changes before
 *      the first store, and leaves them after the last: readers see it happen at once.
 *   W4 list->root: release store of a node that is complete; acquired in descend.
 */
#include "index/skiplist_node.h"

#include "base/assert.h"
#include "base/mem.h"

#define FILL_BUILD 43u                      /* entries per block of a bulk build: 90 % */
#define ROOM_WORTH (FX_SKIP_FANOUT / 4)     /* free entries that make evening out worth it */
#define SMALL (FX_SKIP_FANOUT / 4)          /* below: look for a neighbour to merge with */
#define MERGED_MAX (FX_SKIP_FANOUT * 3 / 4) /* not fuller than this after a merge */
#define FEW 4u                              /* below: even out if it cannot be merged */
#define APPENDED 4u                         /* entries of a block split off at the end */
#define SPREAD_MAX 3u                       /* nodes that a step makes */
#define PREFETCH_AHEAD 4u                   /* ops whose leaves are on the way to the cache */

/* The nodes from the leaf (0) up to the root, and which child each continues with. */
typedef struct trail {
    bool usable;
    fx_skip_node *nodes[FX_SKIP_HEIGHT_MAX];
    unsigned indices[FX_SKIP_HEIGHT_MAX]; /* not for the leaf */
    fx_skip_key key;                      /* what it was made for */
} trail;

/* ---- Storing in nodes ---- */

static void enter(fx_skip_node *node) {
    FX_ASSERT((node->seq & 1) == 0);
    fx_store_relaxed(&node->seq, node->seq + 1);
}

static void leave(fx_skip_node *node) {
    FX_ASSERT((node->seq & 1) == 1);
    fx_store_release(&node->seq, node->seq + 1);
}

static void store_entry(fx_skip_node *node, unsigned index, uint32_t head, void *item) {
    fx_store_release(&node->heads[index], head);
    fx_store_release(&node->items[index], item);
}

static void store_count(fx_skip_node *node, unsigned count) {
    fx_store_release(&node->shape, (node->shape & ~0xffu) | count);
}

static void insert_entry(fx_skip_node *node, unsigned index, uint32_t head, void *item) {
    unsigned count = fx_shape_count(node->shape);
    for (unsigned i = count; i > index; i--) {
        store_entry(node, i, node->heads[i - 1], node->items[i - 1]);
    }
    store_entry(node, index, head, item);
    store_count(node, count + 1);
}

static void remove_entry(fx_skip_node *node, unsigned index) {
    unsigned count = fx_shape_count(node->shape);
    for (unsigned i = index + 1; i < count; i++) {
        store_entry(node, i - 1, node->heads[i], node->items[i]);
    }
    store_count(node, count - 1);
}

/* The key that an entry of a node on `level` stands for. The leftmost child's is empty. */
static fx_skip_key entry_key(unsigned level, const void *item) {
    if (level == 0) {
        return fx_skip_record_key(item);
    }
    const fx_fence *low = ((const fx_skip_node *)item)->low;
    return low != NULL ? fx_fence_key(low) : (fx_skip_key){(const uint8_t *)"", 0};
}

static size_t prefix_of(const fx_fence *low, const fx_fence *high) {
    return low != NULL && high != NULL ? fx_skip_common(fx_fence_key(low), fx_fence_key(high)) : 0;
}

/* A copy of the shortest key that is above `left` and not above `right`. */
static fx_fence *fence_between(fx_skiplist *list, const fx_record *left, const fx_record *right) {
    fx_skip_key key = fx_skip_record_key(right);
    key.size = fx_skip_common(fx_skip_record_key(left), key) + 1;
    return fx_fence_take(list, key);
}

static void set_count(fx_skiplist *list, uint64_t count) {
    fx_store_relaxed(&list->count, count);
}

/* ---- Restructuring ---- */

/* Entries on their way from old nodes to new ones. */
typedef struct cargo {
    unsigned level;
    unsigned count;
    void *items[2 * FX_SKIP_FANOUT];
    uint32_t heads[2 * FX_SKIP_FANOUT];
    size_t prefixes[2 * FX_SKIP_FANOUT]; /* what the heads are behind of */
} cargo;

static void load_node(cargo *load, const fx_skip_node *node) {
    for (unsigned i = 0; i < fx_shape_count(node->shape); i++) {
        load->items[load->count] = node->items[i];
        load->heads[load->count] = node->heads[i];
        load->prefixes[load->count++] = fx_shape_prefix(node->shape);
    }
}

/* Makes the heads of `count` entries from `at` on right for a node between two fences, and returns
 * its prefix. May read each record, so it is done before readers have to wait. */
static size_t prepare_heads(cargo *load, unsigned at, unsigned count, const fx_fence *low,
                            const fx_fence *high) {
    size_t prefix = prefix_of(low, high);
    for (unsigned i = at; i < at + count; i++) {
        if (load->prefixes[i] != prefix) {
            load->heads[i] = fx_skip_head(entry_key(load->level, load->items[i]), prefix);
        }
    }
    return prefix;
}

static void unload(const cargo *load, unsigned at, unsigned count, fx_skip_node *node,
                   size_t prefix) {
    for (unsigned i = 0; i < count; i++) {
        store_entry(node, i, load->heads[at + i], load->items[at + i]);
    }
    fx_store_release(&node->shape, fx_shape_make(prefix, load->level, count));
}

/* One step of restructuring, see W3. */
typedef struct spread {
    cargo load;
    fx_skip_node *nodes[SPREAD_MAX]; /* first the old ones */
    fx_fence *lows[SPREAD_MAX];
    fx_fence *old_lows[SPREAD_MAX];
    unsigned starts[SPREAD_MAX + 1]; /* of each node's entries in the load */
    size_t prefixes[SPREAD_MAX];
    fx_skip_node *after; /* the neighbour behind the last old node */
} spread;

static void spread_prepare(fx_skiplist *list, spread *plan, fx_skip_node *parent, unsigned first,
                           unsigned from, unsigned to, bool append) {
    cargo *load = &plan->load;
    load->level = fx_shape_level(parent->shape) - 1;
    load->count = 0;
    for (unsigned i = 0; i < from; i++) {
        plan->nodes[i] = parent->items[first + i];
        plan->old_lows[i] = plan->nodes[i]->low;
        load_node(load, plan->nodes[i]);
    }
    for (unsigned i = from; i < to; i++) {
        plan->nodes[i] = fx_skip_node_take(list, load->level);
        FX_ASSERT(plan->nodes[i] != NULL);
    }
    for (unsigned i = 0; i <= to; i++) {
        plan->starts[i] = load->count * i / to;
    }
    if (append) {
        plan->starts[1] = load->count - APPENDED;
    }
    plan->lows[0] = plan->nodes[0]->low;
    for (unsigned i = 1; i < to; i++) {
        void **items = load->items + plan->starts[i];
        plan->lows[i] = load->level == 0 ? fence_between(list, items[-1], items[0])
                                         : ((fx_skip_node *)items[0])->low;
        FX_ASSERT(plan->lows[i] != NULL);
    }
    plan->after = plan->nodes[from - 1]->next;
    for (unsigned i = 0; i < to; i++) {
        const fx_fence *high = i + 1 < to            ? plan->lows[i + 1]
                               : plan->after != NULL ? plan->after->low
                                                     : NULL;
        plan->prefixes[i] = prepare_heads(
            load, plan->starts[i], plan->starts[i + 1] - plan->starts[i], plan->lows[i], high);
    }
}

static void spread_parent(const spread *plan, fx_skip_node *parent, unsigned first, unsigned from,
                          unsigned to) {
    for (unsigned i = from; i > to; i--) {
        remove_entry(parent, first + i - 1);
    }
    for (unsigned i = 1; i < to; i++) {
        uint32_t head = fx_skip_head(fx_fence_key(plan->lows[i]), fx_shape_prefix(parent->shape));
        if (i < from) {
            store_entry(parent, first + i, head, plan->nodes[i]);
        } else {
            insert_entry(parent, first + i, head, plan->nodes[i]);
        }
    }
}

/* Turns `from` children of `parent`, which has room, into `to`. Nodes and fences are reserved. */
static void spread_children(fx_skiplist *list, fx_skip_node *parent, unsigned first, unsigned from,
                            unsigned to, bool append) {
    spread plan;
    spread_prepare(list, &plan, parent, first, from, to, append);
    unsigned most = from > to ? from : to;
    fx_skip_node *after = plan.after;
    enter(parent);
    for (unsigned i = 0; i < most; i++) {
        enter(plan.nodes[i]);
    }
    if (after != NULL) {
        enter(after);
        fx_store_release(&after->prev, plan.nodes[to - 1]);
    }
    for (unsigned i = 0; i < to; i++) {
        fx_skip_node *node = plan.nodes[i];
        fx_store_release(&node->low, plan.lows[i]);
        fx_store_release(&node->next, i + 1 < to ? plan.nodes[i + 1] : after);
        if (i > 0) {
            fx_store_release(&node->prev, plan.nodes[i - 1]);
        }
        unload(&plan.load, plan.starts[i], plan.starts[i + 1] - plan.starts[i], node,
               plan.prefixes[i]);
    }
    spread_parent(&plan, parent, first, from, to);
    if (after != NULL) {
        leave(after);
    }
    for (unsigned i = 0; i < most; i++) {
        leave(plan.nodes[i]);
    }
    leave(parent);
    for (unsigned i = 1; i < from; i++) {
        if (plan.load.level == 0) {
            fx_fence_give(list, plan.old_lows[i]);
        }
    }
    for (unsigned i = to; i < from; i++) {
        fx_skip_node_give(list, plan.nodes[i]);
    }
}

/* Puts a node with the old root as its only child on top; the caller splits that next. */
static void grow_root(fx_skiplist *list) {
    FX_ASSERT(list->height < FX_SKIP_HEIGHT_MAX);
    fx_skip_node *root = fx_skip_node_take(list, list->height);
    FX_ASSERT(root != NULL);
    enter(root);
    fx_store_release(&root->next, (fx_skip_node *)NULL);
    fx_store_release(&root->prev, (fx_skip_node *)NULL);
    fx_store_release(&root->low, (fx_fence *)NULL);
    store_entry(root, 0, 0, list->root);
    fx_store_release(&root->shape, fx_shape_make(0, list->height, 1));
    leave(root);
    list->height++;
    fx_store_release(&list->root, root);
}

static void shrink_root(fx_skiplist *list) {
    fx_skip_node *root = list->root;
    enter(root);
    fx_store_release(&list->root, (fx_skip_node *)root->items[0]);
    leave(root);
    list->height--;
    fx_skip_node_give(list, root);
}

static unsigned child_count(const fx_skip_node *parent, unsigned index) {
    return fx_shape_count(((const fx_skip_node *)parent->items[index])->shape);
}

/* One step towards room in the path's full leaf. The path is stale afterwards. */
static void make_room(fx_skiplist *list, trail *path, bool at_end) {
    path->usable = false;
    for (unsigned level = 0;; level++) {
        fx_skip_node *node = path->nodes[level];
        if (level + 1 == list->height) {
            grow_root(list);
            path->nodes[level + 1] = list->root;
            path->indices[level + 1] = 0;
        }
        fx_skip_node *parent = path->nodes[level + 1];
        unsigned index = path->indices[level + 1];
        unsigned count = fx_shape_count(parent->shape);
        bool append = at_end && node->next == NULL;
        bool right = !append && index + 1 < count;
        bool left = !append && index > 0;
        if (right && child_count(parent, index + 1) + ROOM_WORTH <= FX_SKIP_FANOUT) {
            spread_children(list, parent, index, 2, 2, false);
            return;
        }
        if (left && child_count(parent, index - 1) + ROOM_WORTH <= FX_SKIP_FANOUT) {
            spread_children(list, parent, index - 1, 2, 2, false);
            return;
        }
        if (count < FX_SKIP_FANOUT) {
            unsigned from = right || left ? 2 : 1;
            unsigned first = left && !right ? index - 1 : index;
            spread_children(list, parent, first, from, from + 1, append);
            return;
        }
    }
}

/* After the path's leaf lost an entry: merges what became too small, upwards. */
static void mend(fx_skiplist *list, trail *path) {
    for (unsigned level = 0; level + 1 < list->height; level++) {
        fx_skip_node *node = path->nodes[level];
        unsigned own = fx_shape_count(node->shape);
        if (own >= SMALL) {
            return;
        }
        fx_skip_node *parent = path->nodes[level + 1];
        unsigned index = path->indices[level + 1];
        if (fx_shape_count(parent->shape) < 2) {
            continue;
        }
        unsigned first = index > 0 ? index - 1 : 0;
        unsigned sum = child_count(parent, first) + child_count(parent, first + 1);
        if (index > 0 && index + 1 < fx_shape_count(parent->shape) &&
            own + child_count(parent, index + 1) < sum) {
            first = index;
            sum = own + child_count(parent, index + 1);
        }
        if (sum > MERGED_MAX) {
            if (own < FEW) {
                path->usable = false;
                spread_children(list, parent, first, 2, 2, false);
            }
            return;
        }
        path->usable = false;
        spread_children(list, parent, first, 2, 1, false);
    }
    while (list->height > 1 && fx_shape_count(list->root->shape) == 1) {
        path->usable = false;
        shrink_root(list);
    }
}

/* ---- Applying changes ---- */

/* Leads the path to the leaf that covers `key`, which shares `common` bytes with the path's key and
 * does not sort below it: climbs only as far as the keys lie apart, by heads that are near. */
static void seek(const fx_skiplist *list, trail *path, fx_skip_key key, size_t common) {
    unsigned start = path->usable ? 0 : list->height - 1;
    for (unsigned level = 1; path->usable && level < list->height; level++) {
        const fx_skip_node *node = path->nodes[level];
        unsigned next = path->indices[level] + 1;
        size_t prefix = fx_shape_prefix(node->shape);
        if (common < prefix) {
            start = level + 1;
            continue;
        }
        if (next == fx_shape_count(node->shape)) {
            continue;
        }
        uint32_t head = fx_skip_head(key, prefix);
        if (head < node->heads[next]) {
            break;
        }
        if (head == node->heads[next] &&
            fx_fence_compare(((const fx_skip_node *)node->items[next])->low, key) > 0) {
            break;
        }
        start = level;
    }
    if (!path->usable) {
        path->nodes[start] = list->root;
    }
    for (unsigned level = start; level > 0; level--) {
        fx_skip_node *node = path->nodes[level];
        int index = fx_skip_child(node, node->seq, node->shape, key);
        path->indices[level] = (unsigned)index;
        path->nodes[level - 1] = node->items[index];
    }
    path->usable = true;
    path->key = key;
}

/* What apply hands back; `group` is where the records of the key at hand begin. */
typedef struct gone {
    fx_record **unlinked;
    size_t count;
    size_t group;
} gone;

static void report_add(gone *report, fx_record *record) {
    for (size_t i = report->group; i < report->count; i++) {
        if (report->unlinked[i] == record) {
            return;
        }
    }
    report->unlinked[report->count++] = record;
}

/* A record that was dropped and is put again by the same batch is reachable. */
static void report_remove(gone *report, const fx_record *record) {
    for (size_t i = report->group; i < report->count; i++) {
        if (report->unlinked[i] == record) {
            report->unlinked[i] = report->unlinked[--report->count];
            return;
        }
    }
}

static void put(fx_skiplist *list, trail *path, fx_record *record, size_t common, gone *report) {
    fx_skip_key key = fx_skip_record_key(record);
    report_remove(report, record);
    list->longest = key.size > list->longest ? key.size : list->longest;
    for (;;) {
        seek(list, path, key, common);
        common = key.size;
        fx_skip_node *leaf = path->nodes[0];
        unsigned count = fx_shape_count(leaf->shape);
        bool found;
        unsigned index = (unsigned)fx_skip_find(leaf, leaf->seq, leaf->shape, key, &found);
        if (found && leaf->items[index] != record) {
            report_add(report, leaf->items[index]);
            enter(leaf);
            fx_store_release(&leaf->items[index], (void *)record);
            leave(leaf);
        }
        if (found) {
            return;
        }
        if (count < FX_SKIP_FANOUT) {
            enter(leaf);
            insert_entry(leaf, index, fx_skip_head(key, fx_shape_prefix(leaf->shape)), record);
            leave(leaf);
            set_count(list, list->count + 1);
            return;
        }
        make_room(list, path, index == count && leaf->next == NULL);
    }
}

static void drop(fx_skiplist *list, trail *path, fx_record *record, size_t common, gone *report) {
    fx_skip_key key = fx_skip_record_key(record);
    seek(list, path, key, common);
    report_add(report, record);
    fx_skip_node *leaf = path->nodes[0];
    bool found;
    unsigned index = (unsigned)fx_skip_find(leaf, leaf->seq, leaf->shape, key, &found);
    if (!found || leaf->items[index] != record) {
        return;
    }
    enter(leaf);
    remove_entry(leaf, index);
    leave(leaf);
    set_count(list, list->count - 1);
    mend(list, path);
    if (list->count == 0) {
        list->longest = 0;
    }
}

/* Brings the nodes of a coming op near: the descent through the upper levels costs little. */
static void prefetch_leaf(const fx_skiplist *list, fx_skip_key key) {
    const fx_skip_node *node = list->root;
    for (unsigned level = list->height - 1; level > 0; level--) {
        int index = fx_skip_child(node, node->seq, node->shape, key);
        node = node->items[index];
    }
    for (size_t line = 0; line < sizeof *node; line += FX_CACHE_LINE) {
        __builtin_prefetch((const uint8_t *)node + line);
    }
}

size_t fx_skiplist_apply(fx_skiplist *list, fx_skiplist_op *ops, size_t count,
                         fx_record **unlinked) {
    FX_ASSERT(count <= list->sort_capacity);
    fx_skip_sort(list, ops, count);
    trail path = {.usable = false};
    gone report = {.unlinked = unlinked};
    for (size_t i = 0; i < count; i++) {
        fx_skip_key key = fx_skip_record_key(ops[i].record);
        if (count > PREFETCH_AHEAD && i + PREFETCH_AHEAD < count) {
            prefetch_leaf(list, fx_skip_record_key(ops[i + PREFETCH_AHEAD].record));
        }
        size_t common = i > 0 ? fx_skip_common(path.key, key) : 0;
        if (i > 0 && (common < key.size || common < path.key.size)) {
            report.group = report.count;
        }
        if (ops[i].drop) {
            drop(list, &path, ops[i].record, common, &report);
        } else {
            put(list, &path, ops[i].record, common, &report);
        }
    }
    return report.count;
}

/* Steps that `count` changes can cause among `nodes` nodes of a level: each node at most once, and
 * again only after APPENDED changes in it. */
static size_t steps_max(size_t count, size_t nodes) {
    size_t steps = nodes + count / APPENDED + 1;
    return steps < count ? steps : count;
}

bool fx_skiplist_reserve(fx_skiplist *list, size_t count, size_t key_len_max) {
    size_t leaf_steps = steps_max(count, list->level_nodes[0]);
    size_t nodes = 0;
    size_t steps = count;
    for (unsigned level = 0; level < FX_SKIP_HEIGHT_MAX && steps > 0; level++) {
        steps = steps_max(steps, list->level_nodes[level]);
        nodes += steps + 1; /* and a new root */
        if (steps == 1 && list->level_nodes[level] == 0) {
            break;
        }
    }
    size_t longest = key_len_max > list->longest ? key_len_max : list->longest;
    return fx_skip_sort_reserve(list, count) && fx_skip_pool_reserve(&list->nodes, nodes) &&
           fx_fence_reserve(list, 2 * leaf_steps, longest);
}

/* ---- Life ---- */

/* The leaf of an empty list. */
static void make_empty(fx_skiplist *list, fx_skip_node *leaf) {
    enter(leaf);
    fx_store_release(&leaf->next, (fx_skip_node *)NULL);
    fx_store_release(&leaf->prev, (fx_skip_node *)NULL);
    fx_store_release(&leaf->low, (fx_fence *)NULL);
    fx_store_release(&leaf->shape, fx_shape_make(0, 0, 0));
    leave(leaf);
    list->height = 1;
    fx_store_release(&list->root, leaf);
}

fx_skiplist *fx_skiplist_create(void) {
    fx_skiplist *list = fx_mem_zalloc(sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    list->memory = sizeof *list;
    fx_skip_pools_init(list);
    fx_skip_node *leaf = fx_skip_node_take(list, 0);
    if (leaf == NULL) {
        fx_skiplist_destroy(list);
        return NULL;
    }
    make_empty(list, leaf);
    return list;
}

void fx_skiplist_destroy(fx_skiplist *list) {
    if (list != NULL) {
        fx_skip_pools_deinit(list);
        fx_mem_free(list->sort_entries);
        fx_mem_free(list);
    }
}

uint64_t fx_skiplist_count(const fx_skiplist *list) {
    return fx_load_relaxed(&list->count);
}

uint64_t fx_skiplist_memory(const fx_skiplist *list) {
    return fx_load_relaxed(&list->memory);
}

/* The only node of an empty list would hold on to its unit: another takes its place. */
static void renew_root(fx_skiplist *list) {
    fx_skip_node *old = list->root;
    fx_skip_node *leaf = fx_skip_node_take_fresh(list, 0);
    if (leaf == NULL) {
        return;
    }
    enter(old);
    make_empty(list, leaf);
    leave(old);
    fx_skip_node_give(list, old);
}

void fx_skiplist_trim(fx_skiplist *list) {
    fx_skip_sort_trim(list);
    if (list->count == 0 && list->nodes.used == 1 && list->nodes.free_first != NULL) {
        renew_root(list);
    }
    fx_skip_pool_trim(&list->nodes);
    for (size_t i = 0; i < FX_SKIP_CLASSES; i++) {
        fx_skip_pool_trim(&list->fences[i]);
    }
}

/* ---- Bulk build ---- */

static void give_chain(fx_skiplist *list, fx_skip_node *node) {
    for (fx_skip_node *next; node != NULL; node = next) {
        next = node->next;
        if (fx_shape_level(node->shape) == 0) {
            fx_fence_give(list, node->low);
        }
        fx_skip_node_give(list, node);
    }
}

/* The next `count` nodes of a level, linked, without entries. Leaves get their fences from
 * `records`. NULL: no memory, and nothing was taken. */
static fx_skip_node *build_chain(fx_skiplist *list, unsigned level, size_t count, size_t entries,
                                 fx_record *const *records) {
    fx_skip_node *first = NULL;
    fx_skip_node *last = NULL;
    for (size_t i = 0; i < count; i++) {
        fx_skip_node *node = fx_skip_node_take(list, level);
        if (node == NULL) {
            break;
        }
        enter(node);
        fx_store_release(&node->shape, fx_shape_make(0, level, 0));
        fx_store_release(&node->low, (fx_fence *)NULL);
        fx_store_release(&node->next, (fx_skip_node *)NULL);
        fx_store_release(&node->prev, last);
        leave(node);
        if (last != NULL) {
            fx_store_release(&last->next, node);
        } else {
            first = node;
        }
        last = node;
        if (level == 0 && i > 0) {
            size_t at = entries * i / count;
            fx_fence *low = fence_between(list, records[at - 1], records[at]);
            fx_store_release(&node->low, low);
            if (low == NULL) {
                break;
            }
        }
        if (i + 1 == count) {
            return first;
        }
    }
    give_chain(list, first);
    return NULL;
}

/* Deals `entries` records, or the nodes of the level below, out to the `count` nodes of a level. */
static void build_fill(fx_skip_node *node, size_t count, size_t entries, fx_record *const *records,
                       fx_skip_node *below) {
    cargo load = {.level = fx_shape_level(node->shape)};
    for (size_t i = 0; i < count; i++, node = node->next) {
        size_t start = entries * i / count;
        load.count = (unsigned)(entries * (i + 1) / count - start);
        enter(node);
        if (below != NULL) {
            fx_store_release(&node->low, below->low);
        }
        for (unsigned k = 0; k < load.count; k++) {
            load.prefixes[k] = SIZE_MAX; /* no head known */
            load.items[k] = below != NULL ? (void *)below : (void *)records[start + k];
            below = below != NULL ? below->next : NULL;
        }
        const fx_fence *high = load.level > 0       ? (below != NULL ? below->low : NULL)
                               : node->next != NULL ? node->next->low
                                                    : NULL;
        unload(&load, 0, load.count, node, prepare_heads(&load, 0, load.count, node->low, high));
        leave(node);
    }
}

bool fx_skiplist_build(fx_skiplist *list, fx_record *const *records, size_t count) {
    FX_ASSERT(list->count == 0 && list->height == 1);
    if (count == 0) {
        return true;
    }
    fx_skip_node *chains[FX_SKIP_HEIGHT_MAX];
    unsigned height = 0;
    size_t entries = count;
    do {
        size_t nodes = (entries + FILL_BUILD - 1) / FILL_BUILD;
        FX_ASSERT(height < FX_SKIP_HEIGHT_MAX);
        chains[height] = build_chain(list, height, nodes, entries, records);
        if (chains[height] == NULL) {
            while (height > 0) {
                give_chain(list, chains[--height]);
            }
            return false;
        }
        build_fill(chains[height], nodes, entries, records, height > 0 ? chains[height - 1] : NULL);
        height++;
        entries = nodes;
    } while (entries > 1);
    for (size_t i = 0; i < count; i++) {
        size_t size = fx_skip_record_key(records[i]).size;
        list->longest = size > list->longest ? size : list->longest;
    }
    fx_skip_node_give(list, list->root);
    list->height = height;
    fx_store_release(&list->root, chains[height - 1]);
    set_count(list, count);
    return true;
}
