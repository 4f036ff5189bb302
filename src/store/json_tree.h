/* json_tree: a document as values that are text until somebody looks inside. One thread at a time.
 *
 * A container is opened when it is first addressed: its children become a weight-balanced tree, in
 * array order, or for an object in the order of the decoded names. Changing one child then costs
 * O(log children); values that nobody opened stay spans of the text they came from and are written
 * out by copying. A copied value shares its subtree with the original: fx_json_freeze makes every
 * node that exists read only, and later changes copy the nodes on their path, O(log children) too.
 * So the size of a document may grow by leaps, but memory grows only by nodes.
 *
 * Opening costs O(text) (n log n compares for an object) once for each piece of text. Memory is
 * about 100 bytes for a member of an opened object, and a few bytes for each element of an array.
 */
#ifndef FX_STORE_JSON_TREE_H
#define FX_STORE_JSON_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feox.h"

/* text[0] tells the kind, also when the container is open and its text no longer what is written.
 */
typedef struct fx_json_value {
    const char *text;
    struct fx_json_box *box; /* NULL: not open */
    uint32_t text_len;
    uint16_t height; /* levels of arrays and objects; kept exact, except by a merge */
    bool ambiguous;  /* an object known to have two members of one name: cannot be opened */
} fx_json_value;

/* One child of a container (`run` 1): prefix value suffix, where the prefix has the space before
 * the child and a member's name and colon, the suffix the space before the comma. Or several array
 * elements with the commas between them (`run` > 1), all of it in the prefix. */
typedef struct fx_json_node {
    struct fx_json_node *left;
    struct fx_json_node *right;
    fx_json_value value;
    const char *prefix;
    const char *suffix;
    const char *key; /* the decoded name of a member */
    uint32_t prefix_len;
    uint32_t suffix_len;
    uint32_t key_len;
    uint32_t sequence; /* the order of members in the text */
    uint32_t epoch;    /* when it was made; before the tree's epoch: read only */
    uint32_t nodes;    /* of this subtree ... */
    uint32_t count;    /* ... the children in it ... */
    uint16_t run;
    uint16_t height; /* ... and the highest value in it */
} fx_json_node;

typedef struct fx_json_box {
    fx_json_node *root;
    const char *tail; /* the space before the closing bracket */
    uint64_t size;    /* bytes when written */
    uint32_t tail_len;
    uint32_t sequence_next;
    uint32_t epoch;
    bool changed; /* else the value's text is what is written */
} fx_json_box;

/* Before this is passed nothing is shared, and no change copies. */
#define FX_JSON_EPOCH_FIRST 1u

/* Memory that is released all at once. */
typedef struct fx_json_arena {
    struct fx_json_chunk *chunk;
    size_t used;
    size_t total;
    size_t total_max;
} fx_json_arena;

/* What opening a text gave, once nodes are shared; box NULL: the object cannot be opened. */
typedef struct fx_json_memo {
    const char *text;
    fx_json_box *box;
} fx_json_memo;

typedef struct fx_json_tree {
    fx_json_arena memory;  /* what the document needs */
    fx_json_arena scratch; /* what the current operation needs */
    fx_json_node root;     /* the document and the space around it */
    uint32_t epoch;
    fx_json_memo *memos; /* by the address of the text, a power of two of them */
    size_t memo_count;
    size_t memo_capacity;
    uint64_t compared; /* digits, by fx_json_equal; refused beyond the maximum */
    uint64_t compared_max;
    /* For the error detail. */
    bool in_patch; /* else a merge patch, which has no operations */
    size_t operation;
    size_t offset;
} fx_json_tree;

/* `text` is valid JSON and, like every text that a
 * value of the tree refers to, must outlive the tree. `input_len` is the length of all input
 * together: memory is bounded by a multiple of it (96 times, plus 256 MiB). */
void fx_json_tree_init(fx_json_tree *tree, const char *text, size_t text_len, size_t input_len);
void fx_json_tree_deinit(fx_json_tree *tree);

/* Sets the detail "operation N at offset O ...: problem" and returns `status`. */
feox_status fx_json_fail(const fx_json_tree *tree, feox_status status, const char *problem);

/* NULL without memory. Aligned to 8; `size` may be 0. */
void *fx_json_alloc(fx_json_arena *arena, size_t size);
/* The next allocations of `size` bytes together cannot fail. */
bool fx_json_reserve(fx_json_arena *arena, size_t size);
void fx_json_reset(fx_json_arena *arena);

/* The memo of a text, or a free one (text NULL) for the caller to fill and count; NULL without
 * memory. Valid until the next call. */
fx_json_memo *fx_json_memo_find(fx_json_tree *tree, const char *text);

/* The value that begins at `at`. */
fx_json_value fx_json_value_at(const char *at, const char *end);
uint64_t fx_json_value_size(const fx_json_value *value);
/* Bytes of a node without its children: prefix, value, suffix. */
uint64_t fx_json_node_size(const fx_json_node *node);
bool fx_json_is_container(const fx_json_value *value);

/* Opens a container; nothing to do if it is open. FEOX_ERR_PATCH if it is an object with two
 * members of one name. `epoch` is that of the node that holds the value. */
feox_status fx_json_open(fx_json_tree *tree, fx_json_arena *arena, fx_json_value *value,
                         uint32_t epoch);
uint32_t fx_json_count(const fx_json_box *box);
/* The node with the child at `position` (< count), which may be a run. Read only, but its value may
 * be opened with the node's own epoch. */
fx_json_node *fx_json_at(const fx_json_box *box, uint32_t position);
/* Where the member of that name is, or (false) where it belongs. */
bool fx_json_find(const fx_json_box *box, const char *key, size_t key_len, uint32_t *position_out);

/* All nodes, run nodes as they are, in tree order; `as_written`: members in the order of the text.
 * *nodes_out is in the scratch. */
feox_status fx_json_list(fx_json_tree *tree, const fx_json_box *box, bool as_written,
                         fx_json_node ***nodes_out);

/* Makes the value's box one that may be changed; the value itself is in a node that may. */
feox_status fx_json_own(fx_json_tree *tree, fx_json_value *value);
/* The same for the child at `position`, which then has a node of its own. `box` may be changed. */
feox_status fx_json_hold(fx_json_tree *tree, fx_json_box *box, uint32_t position,
                         fx_json_node **node_out);
/* Both account for the child's bytes in this box, not in the ones around it. For an array
 * `position` may be the count; for an object it is what fx_json_find gave. A child that is there
 * has a node of its own: fx_json_hold. */
feox_status fx_json_insert(fx_json_tree *tree, fx_json_box *box, uint32_t position,
                           const fx_json_node *child);
feox_status fx_json_remove(fx_json_tree *tree, fx_json_box *box, uint32_t position);
/* After the height of the held child at `position` changed. */
void fx_json_refresh(fx_json_box *box, uint32_t position);
uint16_t fx_json_box_height(const fx_json_box *box);
/* A child for an object: "name": and the value. The decoded name is copied. */
feox_status fx_json_member(fx_json_tree *tree, const char *key, size_t key_len,
                           const fx_json_value *value, fx_json_node *child_out);

/* From now on every node is read only until it is copied. */
void fx_json_freeze(fx_json_tree *tree);

/* The whole document as text, from fx_mem_alloc. */
feox_status fx_json_write(fx_json_tree *tree, char **text_out, size_t *text_len_out);

/* Whether two values mean the same (numbers by value, members in any order); both sides are opened,
 * `a` for good and `b` in the scratch. FEOX_ERR_PATCH for an object with two members of one name.
 */
feox_status fx_json_equal(fx_json_tree *tree, fx_json_value *a, uint32_t a_epoch, fx_json_value *b,
                          bool *equal_out);

#endif
