/* json_tree: balanced by weight (Adams 1993, with the parameters 3 and 2 that Hirai and Yamamoto,
 * "Balancing weight-balanced trees", 2011, prove sound for insertion and deletion), because weights
 * are there anyway for finding positions, no randomness is needed, and it copies paths well.
 *
 * Invariants: T1 `nodes`, `count` and `height` of a node are those of its subtree. T2 A node or box
 * whose epoch is below the tree's is never changed, except that a value in it may be opened: that
 * changes no meaning, and whoever shares the node profits. T3 A box has no two members of one name.
 * T4 Trees are changed only after fx_json_reserve: inside a change no allocation can fail.
 * T5 A node that is moved by a rotation or removal keeps its address unless it had to be copied.
 */
#include "store/json_tree.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "store/json_scan.h"

#define RUN_MAX 32u
#define RUN_BYTES_MAX 512u

static uint32_t node_nodes(const fx_json_node *node) {
    return node != NULL ? node->nodes : 0;
}

static uint32_t node_count(const fx_json_node *node) {
    return node != NULL ? node->count : 0;
}

static uint16_t node_height(const fx_json_node *node) {
    return node != NULL ? node->height : 0;
}

static void node_update(fx_json_node *node) {
    uint16_t left = node_height(node->left);
    uint16_t right = node_height(node->right);
    uint16_t below = left > right ? left : right;
    node->nodes = 1 + node_nodes(node->left) + node_nodes(node->right);
    node->count = node->run + node_count(node->left) + node_count(node->right);
    node->height = node->value.height > below ? node->value.height : below;
}

bool fx_json_is_container(const fx_json_value *value) {
    return value->text[0] == '{' || value->text[0] == '[';
}

fx_json_value fx_json_value_at(const char *at, const char *end) {
    unsigned height;
    const char *stop = fx_json_skip(at, end, &height);
    fx_json_value value = {.text = at, .text_len = (uint32_t)(stop - at)};
    value.height = (uint16_t)height;
    return value;
}

uint64_t fx_json_value_size(const fx_json_value *value) {
    return value->box != NULL && value->box->changed ? value->box->size : value->text_len;
}

uint64_t fx_json_node_size(const fx_json_node *node) {
    return (uint64_t)node->prefix_len + fx_json_value_size(&node->value) + node->suffix_len;
}

uint32_t fx_json_count(const fx_json_box *box) {
    return node_count(box->root);
}

uint16_t fx_json_box_height(const fx_json_box *box) {
    return (uint16_t)(1 + node_height(box->root));
}

fx_json_node *fx_json_at(const fx_json_box *box, uint32_t position) {
    fx_json_node *node = box->root;
    for (;;) {
        uint32_t left = node_count(node->left);
        if (position < left) {
            node = node->left;
        } else if (position - left < node->run) {
            return node;
        } else {
            position -= left + node->run;
            node = node->right;
        }
    }
}

bool fx_json_find(const fx_json_box *box, const char *key, size_t key_len, uint32_t *position_out) {
    const fx_json_node *node = box->root;
    uint32_t before = 0;
    while (node != NULL) {
        int order = fx_key_compare(key, key_len, node->key, node->key_len);
        if (order == 0) {
            *position_out = before + node_count(node->left);
            return true;
        }
        if (order > 0) {
            before += node_count(node->left) + 1;
        }
        node = order < 0 ? node->left : node->right;
    }
    *position_out = before;
    return false;
}

/* Changing trees. Every function returns the subtree's new root. */

static fx_json_node *node_own(fx_json_tree *tree, fx_json_node *node) {
    if (node->epoch == tree->epoch) {
        return node;
    }
    fx_json_node *copy = fx_json_alloc(&tree->memory, sizeof *copy);
    FX_ASSERT(copy != NULL);
    *copy = *node;
    copy->epoch = tree->epoch;
    return copy;
}

static uint32_t weight(const fx_json_node *node) {
    return node_nodes(node) + 1;
}

static fx_json_node *rotate_left(fx_json_tree *tree, fx_json_node *node) {
    fx_json_node *up = node_own(tree, node->right);
    node->right = up->left;
    up->left = node;
    node_update(node);
    node_update(up);
    return up;
}

static fx_json_node *rotate_right(fx_json_tree *tree, fx_json_node *node) {
    fx_json_node *up = node_own(tree, node->left);
    node->left = up->right;
    up->right = node;
    node_update(node);
    node_update(up);
    return up;
}

/* After one node came to or went from a side of `node`, which is owned. */
static fx_json_node *node_balance(fx_json_tree *tree, fx_json_node *node) {
    uint64_t left = weight(node->left);
    uint64_t right = weight(node->right);
    if (right > 3 * left) {
        if (weight(node->right->left) >= 2 * (uint64_t)weight(node->right->right)) {
            node->right = rotate_right(tree, node_own(tree, node->right));
        }
        return rotate_left(tree, node);
    }
    if (left > 3 * right) {
        if (weight(node->left->right) >= 2 * (uint64_t)weight(node->left->left)) {
            node->left = rotate_left(tree, node_own(tree, node->left));
        }
        return rotate_right(tree, node);
    }
    node_update(node);
    return node;
}

/* Recursion here and below is as deep as the tree, that is 2.5 log2 of its nodes. */
static fx_json_node *node_insert(fx_json_tree *tree, fx_json_node *at, uint32_t position,
                                 fx_json_node *fresh) {
    if (at == NULL) {
        return fresh;
    }
    at = node_own(tree, at);
    uint32_t left = node_count(at->left);
    if (position <= left) {
        at->left = node_insert(tree, at->left, position, fresh);
    } else {
        at->right = node_insert(tree, at->right, position - left - at->run, fresh);
    }
    return node_balance(tree, at);
}

static fx_json_node *node_pop_first(fx_json_tree *tree, fx_json_node *at, fx_json_node **out) {
    at = node_own(tree, at);
    if (at->left == NULL) {
        *out = at;
        return at->right;
    }
    at->left = node_pop_first(tree, at->left, out);
    return node_balance(tree, at);
}

static fx_json_node *node_remove(fx_json_tree *tree, fx_json_node *at, uint32_t position) {
    uint32_t left = node_count(at->left);
    if (position >= left && position - left < at->run) {
        if (at->left == NULL || at->right == NULL) {
            return at->left == NULL ? at->right : at->left;
        }
        fx_json_node *next;
        fx_json_node *right = node_pop_first(tree, at->right, &next);
        next->left = at->left;
        next->right = right;
        return node_balance(tree, next);
    }
    at = node_own(tree, at);
    if (position < left) {
        at->left = node_remove(tree, at->left, position);
    } else {
        at->right = node_remove(tree, at->right, position - left - at->run);
    }
    return node_balance(tree, at);
}

/* Room for what one insertion or removal may copy: three nodes for each level. */
static feox_status tree_reserve(fx_json_tree *tree, const fx_json_box *box) {
    size_t levels = 4;
    if (tree->epoch == FX_JSON_EPOCH_FIRST) {
        return FEOX_OK;
    }
    for (uint32_t nodes = node_nodes(box->root); nodes > 0; nodes >>= 1) {
        levels += 3;
    }
    return fx_json_reserve(&tree->memory, 3 * levels * sizeof(fx_json_node))
               ? FEOX_OK
               : fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
}

/* Building trees from text. */

static fx_json_node *node_build(fx_json_node **nodes, size_t count) {
    if (count == 0) {
        return NULL;
    }
    size_t middle = count / 2;
    fx_json_node *node = nodes[middle];
    node->left = node_build(nodes, middle);
    node->right = node_build(nodes + middle + 1, count - middle - 1);
    node_update(node);
    return node;
}

/* What nodes are sorted by: numbers of the text's order, or the first bytes of names (and where
 * those are the same, the names), so that most comparisons touch nothing but the array. */
typedef struct sort_item {
    uint64_t head;
    fx_json_node *node;
} sort_item;

static sort_item item_make(fx_json_node *node, bool by_key) {
    sort_item item = {.head = node->sequence, .node = node};
    if (by_key) {
        uint8_t head[8] = {0};
        fx_copy(head, node->key, node->key_len < 8 ? node->key_len : 8);
        item.head = __builtin_bswap64(fx_get_u64(head));
    }
    return item;
}

/* Numbers of the text's order are never the same. */
static bool item_before(const sort_item *a, const sort_item *b) {
    if (a->head != b->head) {
        return a->head < b->head;
    }
    return fx_key_compare(a->node->key, a->node->key_len, b->node->key, b->node->key_len) <= 0;
}

/* Merges runs of doubling length between two arrays; qsort may allocate behind our back. */
static feox_status nodes_sort(fx_json_tree *tree, fx_json_node **nodes, size_t count, bool by_key) {
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++) {
        sort_item before = item_make(nodes[i - 1], by_key);
        sort_item item = item_make(nodes[i], by_key);
        sorted = item_before(&before, &item);
    }
    if (sorted) {
        return FEOX_OK;
    }
    sort_item *from = fx_json_alloc(&tree->scratch, 2 * count * sizeof *from);
    if (from == NULL) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    sort_item *to = from + count;
    for (size_t i = 0; i < count; i++) {
        from[i] = item_make(nodes[i], by_key);
    }
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = count - start < width ? count : start + width;
            size_t end = count - start < 2 * width ? count : start + 2 * width;
            size_t a = start;
            size_t b = middle;
            for (size_t i = start; i < end; i++) {
                bool left = a < middle && (b == end || item_before(&from[a], &from[b]));
                to[i] = left ? from[a++] : from[b++];
            }
        }
        sort_item *swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < count; i++) {
        nodes[i] = from[i].node;
    }
    return FEOX_OK;
}

/* The children are linked through `right`, the last first. FEOX_ERR_PATCH: two of one name. */
static feox_status box_build(fx_json_tree *tree, fx_json_box *box, fx_json_node *last, size_t count,
                             bool object) {
    fx_json_node **nodes = fx_json_alloc(&tree->scratch, count * sizeof(fx_json_node *));
    if (nodes == NULL) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    for (size_t i = count; i > 0; i--) {
        nodes[i - 1] = last;
        last = last->right;
    }
    if (object) {
        feox_status status = nodes_sort(tree, nodes, count, true);
        if (status != FEOX_OK) {
            return status;
        }
        for (size_t i = 1; i < count; i++) {
            if (nodes[i - 1]->key_len == nodes[i]->key_len &&
                memcmp(nodes[i - 1]->key, nodes[i]->key, nodes[i]->key_len) == 0) {
                return FEOX_ERR_PATCH;
            }
        }
    }
    box->root = node_build(nodes, count);
    return FEOX_OK;
}

static bool node_decode_key(fx_json_arena *arena, fx_json_node *node, const char *name,
                            size_t name_len) {
    node->key = name + 1;
    node->key_len = (uint32_t)(name_len - 2);
    if (memchr(node->key, '\\', node->key_len) == NULL) {
        return true;
    }
    char *decoded = fx_json_alloc(arena, name_len);
    if (decoded == NULL) {
        return false;
    }
    node->key_len = (uint32_t)fx_json_decode(name, name_len, decoded);
    node->key = decoded;
    return true;
}

/* Reads the child at `at`, up to the comma or the closing bracket at `end`; returns where. The
 * space before the bracket is the container's. */
static const char *node_read(fx_json_node *node, const char *at, const char *end) {
    node->prefix = at;
    at = fx_json_space(at, end);
    if (node->key != NULL) {
        at = fx_json_space(fx_json_skip_string(at, end), end);
        at = fx_json_space(at + 1, end);
    }
    node->prefix_len = (uint32_t)(at - node->prefix);
    node->value = fx_json_value_at(at, end);
    node->suffix = at + node->value.text_len;
    at = fx_json_space(node->suffix, end);
    node->suffix_len = at < end ? (uint32_t)(at - node->suffix) : 0;
    node->run = 1;
    return at;
}

/* Makes `node`, the elements before `fresh`, take in `fresh`, if both together are still small. */
static bool node_join(fx_json_node *node, const fx_json_node *fresh) {
    const char *stop = fresh->suffix + fresh->suffix_len;
    if (node == NULL || node->run == RUN_MAX || (size_t)(stop - node->prefix) > RUN_BYTES_MAX) {
        return false;
    }
    uint16_t below = node->value.height;
    node->prefix_len = (uint32_t)(stop - node->prefix);
    node->value = (fx_json_value){.text = stop};
    node->value.height = fresh->value.height > below ? fresh->value.height : below;
    node->suffix = stop;
    node->suffix_len = 0;
    node->run++;
    return true;
}

/* FEOX_ERR_PATCH: an object with two members of one name. */
static feox_status open_text(fx_json_tree *tree, fx_json_arena *arena, const fx_json_value *value,
                             uint32_t epoch, fx_json_box *box) {
    bool object = value->text[0] == '{';
    const char *at = value->text + 1;
    const char *end = value->text + value->text_len - 1;
    *box = (fx_json_box){.tail = at, .size = value->text_len, .epoch = epoch};
    fx_json_node *last = NULL;
    size_t count = 0;
    for (bool more = fx_json_space(at, end) < end; more; at++) {
        fx_json_node fresh = {.epoch = epoch, .sequence = box->sequence_next++};
        if (object) {
            const char *name = fx_json_space(at, end);
            size_t name_len = (size_t)(fx_json_skip_string(name, end) - name);
            if (!node_decode_key(arena, &fresh, name, name_len)) {
                return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
            }
        }
        at = node_read(&fresh, at, end);
        more = at < end;
        box->tail = fresh.suffix;
        if (object || !node_join(last, &fresh)) {
            fx_json_node *node = fx_json_alloc(arena, sizeof *node);
            if (node == NULL) {
                return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
            }
            *node = fresh;
            node->right = last;
            last = node;
            count++;
        }
    }
    box->tail_len = (uint32_t)(end - box->tail);
    return box_build(tree, box, last, count, object);
}

/* While nothing is shared, a text has one holder, who may change what opening it gives. Afterwards
 * a closed value may be in several nodes, and each text is opened once for all of them: read only.
 */
feox_status fx_json_open(fx_json_tree *tree, fx_json_arena *arena, fx_json_value *value,
                         uint32_t epoch) {
    fx_json_memo *memo = NULL;
    if (value->box == NULL && !value->ambiguous) {
        if (arena == &tree->memory && tree->epoch != FX_JSON_EPOCH_FIRST) {
            memo = fx_json_memo_find(tree, value->text);
            epoch = 0;
        }
        if (memo != NULL && memo->text != NULL) {
            value->box = memo->box;
        } else {
            fx_json_box *box = fx_json_alloc(arena, sizeof *box);
            feox_status status = FEOX_ERR_MEMORY;
            if (box != NULL) {
                status = open_text(tree, arena, value, epoch, box);
            }
            if (status != FEOX_OK && status != FEOX_ERR_PATCH) {
                return fx_json_fail(tree, status, "out of memory");
            }
            value->box = status == FEOX_OK ? box : NULL;
        }
        value->ambiguous = value->box == NULL;
        if (memo != NULL && memo->text == NULL) {
            *memo = (fx_json_memo){.text = value->text, .box = value->box};
            tree->memo_count++;
        }
    }
    return value->box != NULL
               ? FEOX_OK
               : fx_json_fail(tree, FEOX_ERR_PATCH, "an object has two members of one name");
}

/* Puts the elements [from, to) of the run at `at` into the tree at `position`. */
static feox_status run_insert(fx_json_tree *tree, fx_json_box *box, uint32_t position,
                              const char *at, const char *end, uint32_t count) {
    if (count == 0) {
        return FEOX_OK;
    }
    fx_json_node *node = fx_json_alloc(&tree->memory, sizeof *node);
    if (node == NULL || tree_reserve(tree, box) != FEOX_OK) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < count; i++) {
        fx_json_node fresh = {.epoch = tree->epoch};
        const char *stop = node_read(&fresh, at, end);
        fresh.suffix_len = (uint32_t)(stop - fresh.suffix);
        if (i == 0) {
            *node = fresh;
        } else {
            (void)node_join(node, &fresh);
        }
        at = stop + 1;
    }
    node_update(node);
    box->root = node_insert(tree, box->root, position, node);
    return FEOX_OK;
}

/* Gives the element at `position` a node of its own. */
static feox_status run_split(fx_json_tree *tree, fx_json_box *box, uint32_t position) {
    fx_json_node *run = fx_json_at(box, position);
    if (run->run == 1) {
        return FEOX_OK;
    }
    const char *start = run->prefix;
    const char *end = start + run->prefix_len;
    uint32_t count = run->run;
    uint32_t first = 0;
    /* The run's own position: the children left of it. */
    for (const fx_json_node *node = box->root, *next; node != run; node = next) {
        uint32_t left = node_count(node->left);
        bool right = position - first >= left + node->run;
        next = position - first < left ? node->left : node->right;
        first += right ? left + node->run : 0;
    }
    first += node_count(run->left);
    uint32_t offset = position - first;
    const char *at = start;
    const char *before_end = start;
    fx_json_node element = {0};
    for (uint32_t i = 0; i < offset; i++) {
        before_end = node_read(&element, at, end);
        at = before_end + 1;
    }
    const char *stop = node_read(&element, at, end);
    feox_status status = tree_reserve(tree, box);
    if (status != FEOX_OK) {
        return status;
    }
    box->root = node_remove(tree, box->root, position);
    status = run_insert(tree, box, first, start, before_end, offset);
    if (status == FEOX_OK) {
        status = run_insert(tree, box, position, at, stop, 1);
    }
    if (status == FEOX_OK && stop < end) {
        status = run_insert(tree, box, position + 1, stop + 1, end, count - offset - 1);
    }
    return status;
}

feox_status fx_json_own(fx_json_tree *tree, fx_json_value *value) {
    if (value->box->epoch == tree->epoch) {
        return FEOX_OK;
    }
    fx_json_box *box = fx_json_alloc(&tree->memory, sizeof *box);
    if (box == NULL) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    *box = *value->box;
    box->epoch = tree->epoch;
    value->box = box;
    return FEOX_OK;
}

feox_status fx_json_hold(fx_json_tree *tree, fx_json_box *box, uint32_t position,
                         fx_json_node **node_out) {
    feox_status status = run_split(tree, box, position);
    if (status == FEOX_OK) {
        status = tree_reserve(tree, box);
    }
    if (status != FEOX_OK) {
        return status;
    }
    fx_json_node **link = &box->root;
    for (;;) {
        fx_json_node *node = node_own(tree, *link);
        *link = node;
        uint32_t left = node_count(node->left);
        if (position == left) {
            *node_out = node;
            return FEOX_OK;
        }
        link = position < left ? &node->left : &node->right;
        position -= position < left ? 0 : left + node->run;
    }
}

feox_status fx_json_insert(fx_json_tree *tree, fx_json_box *box, uint32_t position,
                           const fx_json_node *child) {
    fx_json_node *node = fx_json_alloc(&tree->memory, sizeof *node);
    FX_ASSERT(position == fx_json_count(box) || fx_json_at(box, position)->run == 1);
    if (node == NULL || tree_reserve(tree, box) != FEOX_OK) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    *node = *child;
    node->epoch = tree->epoch;
    node->sequence = box->sequence_next++;
    node->left = node->right = NULL;
    node->run = 1;
    node_update(node);
    box->size += fx_json_node_size(node) + (box->root != NULL ? 1 : 0);
    box->root = node_insert(tree, box->root, position, node);
    box->changed = true;
    return FEOX_OK;
}

feox_status fx_json_remove(fx_json_tree *tree, fx_json_box *box, uint32_t position) {
    feox_status status = tree_reserve(tree, box);
    FX_ASSERT(fx_json_at(box, position)->run == 1);
    if (status == FEOX_OK) {
        box->size -= fx_json_node_size(fx_json_at(box, position));
        box->root = node_remove(tree, box->root, position);
        box->size -= box->root != NULL ? 1 : 0;
        box->changed = true;
    }
    return status;
}

static void node_refresh(fx_json_node *node, uint32_t position) {
    uint32_t left = node_count(node->left);
    if (position < left) {
        node_refresh(node->left, position);
    } else if (position > left) {
        node_refresh(node->right, position - left - node->run);
    }
    node_update(node);
}

void fx_json_refresh(fx_json_box *box, uint32_t position) {
    node_refresh(box->root, position);
}

feox_status fx_json_member(fx_json_tree *tree, const char *key, size_t key_len,
                           const fx_json_value *value, fx_json_node *child_out) {
    size_t name_len = fx_json_encode(key, key_len, NULL); /* not longer than it is in the patch */
    char *name = fx_json_alloc(&tree->memory, name_len + 1);
    char *copy = name != NULL ? fx_json_alloc(&tree->memory, key_len) : NULL;
    if (copy == NULL) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    (void)fx_json_encode(key, key_len, name);
    name[name_len] = ':';
    fx_copy(copy, key, key_len);
    *child_out = (fx_json_node){.value = *value, .prefix = name, .suffix = name, .key = copy};
    child_out->prefix_len = (uint32_t)name_len + 1;
    child_out->key_len = (uint32_t)key_len;
    return FEOX_OK;
}

void fx_json_freeze(fx_json_tree *tree) {
    tree->epoch++;
    tree->root.epoch = tree->epoch;
}

/* Writing out. */

static void node_list(fx_json_node *node, fx_json_node **nodes, size_t *count) {
    while (node != NULL) {
        node_list(node->left, nodes, count);
        nodes[(*count)++] = node;
        node = node->right;
    }
}

feox_status fx_json_list(fx_json_tree *tree, const fx_json_box *box, bool as_written,
                         fx_json_node ***nodes_out) {
    size_t count = 0;
    *nodes_out = fx_json_alloc(&tree->scratch, node_nodes(box->root) * sizeof(fx_json_node *));
    if (*nodes_out == NULL) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    node_list(box->root, *nodes_out, &count);
    return as_written ? nodes_sort(tree, *nodes_out, count, false) : FEOX_OK;
}

typedef struct writer {
    fx_json_tree *tree;
    char *text;
    size_t size;
    size_t used;
} writer;

/* What does not fit is only counted. */
static void write_text(writer *w, const char *text, size_t text_len) {
    if (FX_CHECK(w->used + text_len <= w->size)) {
        fx_copy(w->text + w->used, text, text_len);
    }
    w->used += text_len;
}

static feox_status write_node(writer *w, const fx_json_node *node);

static feox_status write_children(writer *w, const fx_json_box *box, bool object) {
    fx_json_node **nodes;
    size_t count = node_nodes(box->root);
    feox_status status = fx_json_list(w->tree, box, object, &nodes);
    for (size_t i = 0; i < count && status == FEOX_OK; i++) {
        write_text(w, ",", i > 0 ? 1 : 0);
        status = write_node(w, nodes[i]);
    }
    return status;
}

/* Recursion is as deep as the document, which is bounded by FX_JSON_DEPTH_MAX. */
static feox_status write_node(writer *w, const fx_json_node *node) {
    const fx_json_value *value = &node->value;
    feox_status status = FEOX_OK;
    write_text(w, node->prefix, node->prefix_len);
    if (value->box == NULL || !value->box->changed) {
        write_text(w, value->text, value->text_len);
    } else {
        bool object = value->text[0] == '{';
        write_text(w, object ? "{" : "[", 1);
        status = write_children(w, value->box, object);
        write_text(w, value->box->tail, value->box->tail_len);
        write_text(w, object ? "}" : "]", 1);
    }
    write_text(w, node->suffix, node->suffix_len);
    return status;
}

feox_status fx_json_write(fx_json_tree *tree, char **text_out, size_t *text_len_out) {
    size_t size = (size_t)fx_json_node_size(&tree->root);
    char *text = fx_mem_alloc(size);
    if (text == NULL) {
        return fx_json_fail(tree, FEOX_ERR_MEMORY, "out of memory");
    }
    writer w = {.tree = tree, .text = text, .size = size};
    fx_json_reset(&tree->scratch);
    feox_status status = write_node(&w, &tree->root);
    if (status == FEOX_OK) {
        status = FX_CHECK(w.used == size)
                     ? FEOX_OK
                     : fx_json_fail(tree, FEOX_ERR_CORRUPT, "the result is not of its length");
    }
    if (status != FEOX_OK) {
        fx_mem_free(text);
        return status;
    }
    *text_out = text;
    *text_len_out = size;
    return FEOX_OK;
}
