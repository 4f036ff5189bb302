/* json_merge: RFC 7396 on the tree of json_tree.c. Nothing is ever shared here, so nodes stay where
 * they are and a merge is one walk over the patch.
 *
 * Invariants: 1. A value of the patch lands at the depth it has in the patch: the result is never
 * deeper than the deeper of both, and needs no check. 2. The result is not longer than both
 * together and a few bytes for each new member, so its size is checked once, before it is written.
 */
#include "store/json.h"

#include "base/error.h"
#include "store/json_scan.h"
#include "store/json_tree.h"

static bool is_null(const fx_json_value *value) {
    return value->text[0] == 'n';
}

static bool is_object(const fx_json_value *value) {
    return value->text[0] == '{';
}

/* Opens a value of the patch; its members in the order of the text. */
static feox_status open_patch(fx_json_tree *tree, fx_json_value *patch, fx_json_node ***nodes_out) {
    feox_status status = fx_json_open(tree, &tree->memory, patch, tree->epoch);
    return status == FEOX_OK ? fx_json_list(tree, patch->box, true, nodes_out) : status;
}

/* Removes the members that are null from a value of the patch, which is going to be a value of the
 * document; the rest keeps its bytes. Recursion is as deep as the value. */
static feox_status strip_nulls(fx_json_tree *tree, fx_json_value *value) {
    fx_json_node **nodes;
    if (!is_object(value)) {
        return FEOX_OK;
    }
    feox_status status = open_patch(tree, value, &nodes);
    fx_json_box *box = value->box;
    for (uint32_t i = 0, n = status == FEOX_OK ? fx_json_count(box) : 0; i < n; i++) {
        uint64_t before = fx_json_value_size(&nodes[i]->value);
        if (is_null(&nodes[i]->value)) {
            uint32_t position;
            (void)fx_json_find(box, nodes[i]->key, nodes[i]->key_len, &position);
            status = fx_json_remove(tree, box, position);
        } else {
            status = strip_nulls(tree, &nodes[i]->value);
            uint64_t after = fx_json_value_size(&nodes[i]->value);
            box->size = box->size - before + after;
            box->changed = box->changed || after != before;
        }
        if (status != FEOX_OK) {
            break;
        }
    }
    return status;
}

static feox_status merge_value(fx_json_tree *tree, fx_json_value *target, fx_json_value *patch);

/* One member of the patch that is not null, into the object `box`. */
static feox_status merge_member(fx_json_tree *tree, fx_json_box *box, fx_json_node *member) {
    uint32_t position;
    fx_json_node *slot;
    if (fx_json_find(box, member->key, member->key_len, &position)) {
        feox_status status = fx_json_hold(tree, box, position, &slot);
        /* mcdc: cannot be false: nothing is shared in a merge, so nothing is copied to be held */
        if (status == FEOX_OK) {
            uint64_t before = fx_json_value_size(&slot->value);
            status = merge_value(tree, &slot->value, &member->value);
            box->size = box->size - before + fx_json_value_size(&slot->value);
            box->changed = true;
        }
        return status;
    }
    fx_json_node child;
    feox_status status = strip_nulls(tree, &member->value);
    if (status == FEOX_OK) {
        status = fx_json_member(tree, member->key, member->key_len, &member->value, &child);
    }
    return status == FEOX_OK ? fx_json_insert(tree, box, position, &child) : status;
}

/* Recursion is as deep as the patch, which is bounded by FX_JSON_DEPTH_MAX. */
static feox_status merge_value(fx_json_tree *tree, fx_json_value *target, fx_json_value *patch) {
    if (!is_object(patch) || !is_object(target)) {
        feox_status status = strip_nulls(tree, patch);
        *target = *patch;
        return status;
    }
    fx_json_node **nodes;
    feox_status status = open_patch(tree, patch, &nodes);
    if (status == FEOX_OK) {
        status = fx_json_open(tree, &tree->memory, target, tree->epoch);
    }
    for (uint32_t i = 0, n = status == FEOX_OK ? fx_json_count(patch->box) : 0; i < n; i++) {
        uint32_t position;
        if (!is_null(&nodes[i]->value)) {
            status = merge_member(tree, target->box, nodes[i]);
        } else if (fx_json_find(target->box, nodes[i]->key, nodes[i]->key_len, &position)) {
            status = fx_json_remove(tree, target->box, position);
        }
        if (status != FEOX_OK) {
            break;
        }
    }
    return status;
}

feox_status fx_json_merge(const char *document, size_t document_len, const char *merge,
                          size_t merge_len, size_t result_limit, char **result_out,
                          size_t *result_len_out) {
    *result_out = NULL;
    *result_len_out = 0;
    feox_status status = fx_json_validate("the value", document, document_len, 0);
    if (status == FEOX_OK) {
        status = fx_json_validate("the merge patch", merge, merge_len, 0);
    }
    if (status != FEOX_OK) {
        return status;
    }
    fx_json_tree tree;
    fx_json_tree_init(&tree, document, document_len, document_len + merge_len);
    const char *end = merge + merge_len;
    fx_json_value patch = fx_json_value_at(fx_json_space(merge, end), end);
    status = merge_value(&tree, &tree.root.value, &patch);
    if (status == FEOX_OK && fx_json_node_size(&tree.root) > result_limit) {
        status = fx_json_fail(&tree, FEOX_ERR_TOO_LARGE, "the result is too large");
    }
    if (status == FEOX_OK) {
        status = fx_json_write(&tree, result_out, result_len_out);
    }
    fx_json_tree_deinit(&tree);
    return status;
}
