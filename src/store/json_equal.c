/* json_equal: two trees side by side. Objects are compared in the order of their names, which is
 * how the tree keeps them, so members need no search; arrays walk over runs of elements without
 * giving each a node. The document's side stays open for the next comparison: testing the same
 * large value again and again skips its white space only once. A number is the one thing
 * that is long to read and short to name (a million zeros are 1e1000000), so digits have a budget.
 */
#include "store/json_tree.h"

#include <string.h>

#include "store/json_scan.h"

/* Walks over the values of a container. */
typedef struct walk {
    fx_json_node **nodes; /* NULL: the container is empty */
    fx_json_node *node;   /* NULL inside a run */
    const char *at;       /* the rest of the run */
    const char *end;
    fx_json_value value; /* the current element of a run */
} walk;

/* The next of them; the caller counts. *epoch_out is what to open it with. */
static fx_json_value *walk_next(walk *w, uint32_t *epoch_out) {
    if (w->at == w->end) {
        w->node = *w->nodes++;
        if (w->node->run == 1) {
            *epoch_out = w->node->epoch;
            return &w->node->value;
        }
        w->at = w->node->prefix;
        w->end = w->at + w->node->prefix_len;
    }
    w->node = NULL;
    w->value = fx_json_value_at(fx_json_space(w->at, w->end), w->end);
    w->at = fx_json_space(w->value.text + w->value.text_len, w->end);
    w->at += w->at < w->end;
    *epoch_out = 0;
    return &w->value;
}

static bool is_number(const fx_json_value *value) {
    return value->text[0] == '-' || (value->text[0] >= '0' && value->text[0] <= '9');
}

static bool scalar_equal(const fx_json_value *a, const fx_json_value *b) {
    char kind = a->text[0];
    if (kind == '"') {
        return b->text[0] == '"' &&
               fx_json_string_equal(a->text, a->text_len, b->text, b->text_len);
    }
    if (is_number(a)) {
        return is_number(b) && fx_json_number_equal(a->text, a->text_len, b->text, b->text_len);
    }
    return kind == b->text[0];
}

/* Recursion is as deep as the shallower value. `a_scratch`: `a` is an element of a run, and must
 * not leave anything in the document's memory. */
static feox_status values_equal(fx_json_tree *tree, fx_json_value *a, uint32_t a_epoch,
                                bool a_scratch, fx_json_value *b, bool *equal_out) {
    *equal_out = false;
    tree->compared += is_number(a) ? a->text_len : 0;
    if (tree->compared > tree->compared_max) {
        return fx_json_fail(tree, FEOX_ERR_PATCH, "the tests compare too many digits");
    }
    if (!fx_json_is_container(a) || !fx_json_is_container(b)) {
        *equal_out = scalar_equal(a, b);
        return FEOX_OK;
    }
    if (a->text[0] != b->text[0]) {
        return FEOX_OK;
    }
    feox_status status = fx_json_open(tree, a_scratch ? &tree->scratch : &tree->memory, a, a_epoch);
    if (status == FEOX_OK) {
        status = fx_json_open(tree, &tree->scratch, b, 0);
    }
    if (status != FEOX_OK || fx_json_count(a->box) != fx_json_count(b->box)) {
        return status;
    }
    walk x = {0};
    walk y = {0};
    status = fx_json_list(tree, a->box, false, &x.nodes);
    if (status == FEOX_OK) {
        status = fx_json_list(tree, b->box, false, &y.nodes);
    }
    *equal_out = status == FEOX_OK;
    for (uint32_t i = fx_json_count(a->box); i > 0 && *equal_out; i--) {
        uint32_t x_epoch;
        uint32_t y_epoch;
        fx_json_value *p = walk_next(&x, &x_epoch);
        fx_json_value *q = walk_next(&y, &y_epoch);
        if (a->text[0] == '{' && (x.node->key_len != y.node->key_len ||
                                  memcmp(x.node->key, y.node->key, x.node->key_len) != 0)) {
            *equal_out = false;
            break;
        }
        status = values_equal(tree, p, x_epoch, a_scratch || x.node == NULL, q, equal_out);
    }
    return status;
}

feox_status fx_json_equal(fx_json_tree *tree, fx_json_value *a, uint32_t a_epoch, fx_json_value *b,
                          bool *equal_out) {
    return values_equal(tree, a, a_epoch, false, b, equal_out);
}
