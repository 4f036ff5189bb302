/* json_patch: RFC 6902 on the tree of json_tree.c. The operations change a private tree and the
 * result is written only after the last of them: all or nothing by construction.
 *
 * Invariants: 1. After each operation the size and the height of the whole document are known and
 * within their limits, so a chain of copies cannot grow in secret. 2. What is left of an operation
 * afterwards is spans of the patch's text and nodes in the tree's memory; the scratch is emptied.
 * 3. A value on a pointer's way is opened before its node is copied for a change, so that every
 * sharer of that node has it open and no text is opened twice.
 */
#include "store/json.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/config.h"
#include "base/error.h"
#include "store/json_scan.h"
#include "store/json_tree.h"

/* A JSON Pointer: `count` tokens, decoded, one after the other. */
typedef struct pointer {
    const char
        *text; /* without the leading slash; tokens are separated by slashes, still escaped */
    size_t text_len;
    size_t count;
} pointer;

typedef struct token {
    const char *text;
    size_t text_len;
} token;

/* Where a pointer leads. Level i: `slots[i]` is the node that holds the container boxes[i], in
 * which the next token means positions[i]. */
typedef struct location {
    fx_json_node *slots[FX_JSON_DEPTH_MAX + 1];
    uint32_t positions[FX_JSON_DEPTH_MAX + 1];
    size_t levels;
    bool exists;
    token last;
} location;

typedef struct operation {
    char kind; /* the first letter of "test", "copy", "move", "add", or R replace, D remove */
    pointer path;
    pointer from;
    fx_json_value value;
} operation;

typedef struct patcher {
    fx_json_tree tree;
    size_t result_limit;
    location at;
} patcher;

/* Whether what a pointer names is opened, if it is a container. */
typedef enum open_mode { KEEP_CLOSED, MUST_OPEN, TRY_OPEN } open_mode;

static feox_status fail(const patcher *p, const char *problem) {
    return fx_json_fail(&p->tree, FEOX_ERR_PATCH, problem);
}

/* Pointers. */

/* Checks a decoded pointer. */
static bool pointer_init(pointer *out, const char *text, size_t text_len) {
    *out = (pointer){.text = text};
    if (text_len == 0) {
        return true;
    }
    if (text[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < text_len; i++) {
        out->count += text[i] == '/';
        if (text[i] == '~' && (i + 1 == text_len || (text[i + 1] != '0' && text[i + 1] != '1'))) {
            return false;
        }
    }
    out->text = text + 1;
    out->text_len = text_len - 1;
    return true;
}

/* Takes the first token off `rest`, unescaped into the scratch where it must be. */
static bool pointer_next(patcher *p, pointer *rest, token *out) {
    const char *slash = memchr(rest->text, '/', rest->text_len);
    size_t length = slash != NULL ? (size_t)(slash - rest->text) : rest->text_len;
    *out = (token){.text = rest->text, .text_len = length};
    rest->text += slash != NULL ? length + 1 : length;
    rest->text_len -= slash != NULL ? length + 1 : length;
    rest->count--;
    if (memchr(out->text, '~', length) == NULL) {
        return true;
    }
    char *plain = fx_json_alloc(&p->tree.scratch, length);
    if (plain == NULL) {
        return false;
    }
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = out->text[i];
        if (c == '~') {
            i++;
            c = out->text[i] == '0' ? '~' : '/';
        }
        plain[used++] = c;
    }
    *out = (token){.text = plain, .text_len = used};
    return true;
}

/* Whether `a` names a container around what `b` names. Escapes are unique, so text can be compared.
 */
static bool pointer_around(const pointer *a, const pointer *b) {
    return a->count < b->count && (a->count == 0 || (a->text_len < b->text_len &&
                                                     memcmp(a->text, b->text, a->text_len) == 0 &&
                                                     b->text[a->text_len] == '/'));
}

static bool pointer_same(const pointer *a, const pointer *b) {
    return a->count == b->count && a->text_len == b->text_len &&
           (a->text_len == 0 || memcmp(a->text, b->text, a->text_len) == 0);
}

/* An array index as RFC 6901 wants it: digits without a leading zero, at most `max`. */
static bool token_index(const token *t, uint32_t max, uint32_t *index_out) {
    uint64_t index = 0;
    if (t->text_len == 0 || t->text_len > 10 || (t->text[0] == '0' && t->text_len > 1)) {
        return false;
    }
    for (size_t i = 0; i < t->text_len; i++) {
        if (t->text[i] < '0' || t->text[i] > '9') {
            return false;
        }
        index = index * 10 + (uint64_t)(t->text[i] - '0');
    }
    *index_out = (uint32_t)index;
    return index <= max;
}

/* Finds what `t` means in the container of the current level; sets exists and the position. */
static feox_status locate_token(patcher *p, const token *t) {
    location *at = &p->at;
    const fx_json_value *value = &at->slots[at->levels - 1]->value;
    uint32_t *position = &at->positions[at->levels - 1];
    at->last = *t;
    if (value->text[0] == '{') {
        at->exists = fx_json_find(value->box, t->text, t->text_len, position);
        return FEOX_OK;
    }
    uint32_t count = fx_json_count(value->box);
    *position = count;
    at->exists = false;
    if (t->text_len == 1 && t->text[0] == '-') {
        return FEOX_OK;
    }
    if (!token_index(t, count, position)) {
        return fail(p, "not an index of the array");
    }
    at->exists = *position < count;
    return FEOX_OK;
}

/* Opens a container, if it is one, in the node where it is. TRY_OPEN lets objects be that cannot be
 * opened because of their member names. */
static feox_status slot_open(patcher *p, fx_json_node *slot, open_mode mode) {
    if (mode == KEEP_CLOSED || !fx_json_is_container(&slot->value)) {
        return FEOX_OK;
    }
    feox_status status = fx_json_open(&p->tree, &p->tree.memory, &slot->value, slot->epoch);
    return mode == TRY_OPEN && status == FEOX_ERR_PATCH ? FEOX_OK : status;
}

/* Goes to where `path` leads; everything up to the last container may then be changed. What the
 * last token names need not exist. `mode` is for what is there. */
static feox_status locate(patcher *p, pointer path, open_mode mode) {
    location *at = &p->at;
    fx_json_node *slot = &p->tree.root;
    feox_status status = slot_open(p, slot, path.count > 0 ? MUST_OPEN : mode);
    at->levels = 0;
    at->exists = true;
    while (status == FEOX_OK && path.count > 0) {
        token t;
        if (!fx_json_is_container(&slot->value)) {
            return fail(p, "the path leads into something that is no array or object");
        }
        FX_ASSERT(at->levels < FX_JSON_DEPTH_MAX); /* no document is deeper: settle */
        if (!pointer_next(p, &path, &t)) {
            return fx_json_fail(&p->tree, FEOX_ERR_MEMORY, "out of memory");
        }
        at->slots[at->levels++] = slot;
        status = fx_json_own(&p->tree, &slot->value);
        if (status == FEOX_OK) {
            status = locate_token(p, &t);
        }
        if (status != FEOX_OK || (!at->exists && path.count == 0)) {
            return status;
        }
        if (!at->exists) {
            return fail(p, "a container on the path does not exist");
        }
        fx_json_box *box = slot->value.box;
        uint32_t position = at->positions[at->levels - 1];
        fx_json_node *found = fx_json_at(box, position);
        open_mode here = path.count > 0 ? MUST_OPEN : mode;
        if (found->run == 1) {
            status = slot_open(p, found, here);
        }
        if (status == FEOX_OK) {
            status = fx_json_hold(&p->tree, box, position, &slot);
        }
        if (status == FEOX_OK) {
            status = slot_open(p, slot, here);
        }
    }
    if (status == FEOX_OK) {
        at->slots[at->levels] = slot;
    }
    return status;
}

/* Locates something that must exist; *slot_out is its node. */
static feox_status locate_existing(patcher *p, const pointer *path, open_mode mode,
                                   fx_json_node **slot_out) {
    feox_status status = locate(p, *path, mode);
    *slot_out = NULL;
    if (status == FEOX_OK && !p->at.exists) {
        return fail(p, "the path leads to nothing");
    }
    *slot_out = status == FEOX_OK ? p->at.slots[p->at.levels] : NULL;
    return status;
}

/* Changing. */

/* Carries a change of the last container upwards: `before` and `after` are bytes of that container.
 * Then checks what the document has become. */
static feox_status settle(patcher *p, uint64_t before, uint64_t after) {
    location *at = &p->at;
    for (size_t level = at->levels; level > 0; level--) {
        fx_json_value *value = &at->slots[level - 1]->value;
        if (level < at->levels) {
            value->box->size = value->box->size - before + after;
            value->box->changed = true;
            fx_json_refresh(value->box, at->positions[level - 1]);
        }
        value->height = fx_json_box_height(value->box);
    }
    if (fx_json_node_size(&p->tree.root) > p->result_limit) {
        return fx_json_fail(&p->tree, FEOX_ERR_TOO_LARGE, "the result is too large");
    }
    if (p->tree.root.value.height > FX_JSON_DEPTH_MAX) {
        return fail(p, "the result is nested too deep");
    }
    return FEOX_OK;
}

/* Sets the value of the node that was located. */
static feox_status put(patcher *p, const fx_json_value *value) {
    location *at = &p->at;
    fx_json_node *slot = at->slots[at->levels];
    uint64_t before = fx_json_node_size(slot);
    slot->value = *value;
    uint64_t after = fx_json_node_size(slot);
    if (at->levels > 0) {
        fx_json_box *box = at->slots[at->levels - 1]->value.box;
        box->size = box->size - before + after;
        box->changed = true;
        fx_json_refresh(box, at->positions[at->levels - 1]);
    }
    return settle(p, before, after);
}

static feox_status add(patcher *p, const pointer *path, const fx_json_value *value) {
    location *at = &p->at;
    feox_status status = locate(p, *path, KEEP_CLOSED);
    if (status != FEOX_OK) {
        return status;
    }
    const fx_json_value *container = at->levels > 0 ? &at->slots[at->levels - 1]->value : NULL;
    if (container == NULL || (container->text[0] == '{' && at->exists)) {
        return put(p, value);
    }
    fx_json_node child = {.value = *value, .prefix = "", .suffix = ""};
    if (container->text[0] == '{') {
        status = fx_json_member(&p->tree, at->last.text, at->last.text_len, value, &child);
    }
    uint64_t before = container->box->size;
    if (status == FEOX_OK) {
        status = fx_json_insert(&p->tree, container->box, at->positions[at->levels - 1], &child);
    }
    return status == FEOX_OK ? settle(p, before, container->box->size) : status;
}

static feox_status replace(patcher *p, const operation *op) {
    fx_json_node *slot;
    feox_status status = locate_existing(p, &op->path, KEEP_CLOSED, &slot);
    return status == FEOX_OK ? put(p, &op->value) : status;
}

/* *value_out, which may be NULL, receives what was there. */
static feox_status take(patcher *p, const pointer *path, fx_json_value *value_out) {
    location *at = &p->at;
    fx_json_node *slot;
    if (path->count == 0) {
        return fail(p, "the whole document cannot be removed");
    }
    feox_status status = locate_existing(p, path, KEEP_CLOSED, &slot);
    if (status != FEOX_OK) {
        return status;
    }
    if (value_out != NULL) {
        *value_out = slot->value;
    }
    fx_json_box *box = at->slots[at->levels - 1]->value.box;
    uint64_t before = box->size;
    status = fx_json_remove(&p->tree, box, at->positions[at->levels - 1]);
    return status == FEOX_OK ? settle(p, before, box->size) : status;
}

static feox_status move(patcher *p, const operation *op) {
    if (pointer_around(&op->from, &op->path)) {
        return fail(p, "a value cannot move into itself");
    }
    if (pointer_same(&op->from, &op->path)) {
        fx_json_node *slot;
        return locate_existing(p, &op->from, KEEP_CLOSED, &slot);
    }
    fx_json_value value;
    feox_status status = take(p, &op->from, &value);
    return status == FEOX_OK ? add(p, &op->path, &value) : status;
}

/* A container is opened before it is shared, for its copies to have it open too; one that cannot be
 * opened, because of its member names, is copied as the text it is. */
static feox_status copy(patcher *p, const operation *op) {
    fx_json_node *slot;
    feox_status status = locate_existing(p, &op->from, TRY_OPEN, &slot);
    if (status != FEOX_OK) {
        return status;
    }
    fx_json_value value = slot->value;
    if (value.box != NULL) {
        fx_json_freeze(&p->tree);
    }
    return add(p, &op->path, &value);
}

static feox_status test(patcher *p, operation *op) {
    fx_json_node *slot;
    bool equal;
    feox_status status = locate_existing(p, &op->path, MUST_OPEN, &slot);
    if (status == FEOX_OK) {
        status = fx_json_equal(&p->tree, &slot->value, slot->epoch, &op->value, &equal);
    }
    return status == FEOX_OK && !equal ? fail(p, "the test failed") : status;
}

/* Reading operations. */

static const fx_json_value *member(const fx_json_value *object, const char *name) {
    uint32_t position;
    if (!fx_json_find(object->box, name, strlen(name), &position)) {
        return NULL;
    }
    return &fx_json_at(object->box, position)->value;
}

static feox_status read_pointer(patcher *p, const fx_json_value *object, const char *name,
                                pointer *out) {
    const fx_json_value *value = member(object, name);
    if (value == NULL || value->text[0] != '"') {
        return fail(p, name[0] == 'p' ? "\"path\" is missing or no string"
                                      : "\"from\" is missing or no string");
    }
    char *text = fx_json_alloc(&p->tree.scratch, value->text_len);
    if (text == NULL) {
        return fx_json_fail(&p->tree, FEOX_ERR_MEMORY, "out of memory");
    }
    size_t length = fx_json_decode(value->text, value->text_len, text);
    return pointer_init(out, text, length) ? FEOX_OK : fail(p, "not a JSON Pointer");
}

static feox_status read_kind(patcher *p, const fx_json_value *object, operation *out) {
    static const struct {
        const char *name;
        char kind;
    } kinds[] = {{"\"test\"", 't'}, {"\"copy\"", 'c'},    {"\"move\"", 'm'},
                 {"\"add\"", 'a'},  {"\"replace\"", 'R'}, {"\"remove\"", 'D'}};
    const fx_json_value *op = member(object, "op");
    if (op == NULL || op->text[0] != '"') {
        return fail(p, "\"op\" is missing or no string");
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (fx_json_string_equal(op->text, op->text_len, kinds[i].name, strlen(kinds[i].name))) {
            out->kind = kinds[i].kind;
            return FEOX_OK;
        }
    }
    return fail(p, "\"op\" is none of add, remove, replace, move, copy, test");
}

static feox_status read_operation(patcher *p, fx_json_value *object, operation *out) {
    if (object->text[0] != '{') {
        return fail(p, "an operation must be an object");
    }
    feox_status status = fx_json_open(&p->tree, &p->tree.scratch, object, 0);
    if (status == FEOX_OK) {
        status = read_kind(p, object, out);
    }
    if (status == FEOX_OK) {
        status = read_pointer(p, object, "path", &out->path);
    }
    if (status == FEOX_OK && (out->kind == 'c' || out->kind == 'm')) {
        status = read_pointer(p, object, "from", &out->from);
    }
    if (status == FEOX_OK && (out->kind == 't' || out->kind == 'a' || out->kind == 'R')) {
        const fx_json_value *value = member(object, "value");
        if (value == NULL) {
            return fail(p, "\"value\" is missing");
        }
        out->value = *value;
    }
    return status;
}

static feox_status apply(patcher *p, fx_json_value *object) {
    operation op = {0};
    feox_status status = read_operation(p, object, &op);
    if (status != FEOX_OK) {
        return status;
    }
    switch (op.kind) {
    case 't':
        return test(p, &op);
    case 'c':
        return copy(p, &op);
    case 'm':
        return move(p, &op);
    case 'a':
        return add(p, &op.path, &op.value);
    case 'R':
        return replace(p, &op);
    default:
        return take(p, &op.path, NULL);
    }
}

/* All operations of a patch that is valid JSON. */
static feox_status apply_all(patcher *p, const char *patch, size_t patch_len) {
    const char *end = patch + patch_len;
    const char *at = fx_json_space(patch, end);
    if (*at != '[') {
        return fx_error_set(FEOX_ERR_PATCH, 0, "a patch must be an array of operations");
    }
    at = fx_json_space(at + 1, end);
    feox_status status = FEOX_OK;
    for (size_t i = 0; status == FEOX_OK && *at != ']'; i++) {
        p->tree.in_patch = true;
        p->tree.operation = i;
        p->tree.offset = (size_t)(at - patch);
        if (i == FX_JSON_OPERATIONS_MAX) {
            return fail(p, "the patch has too many operations");
        }
        fx_json_value object = fx_json_value_at(at, end);
        status = apply(p, &object);
        fx_json_reset(&p->tree.scratch);
        at = fx_json_space(at + object.text_len, end);
        at = *at == ',' ? fx_json_space(at + 1, end) : at;
    }
    return status;
}

feox_status fx_json_patch(const char *document, size_t document_len, const char *patch,
                          size_t patch_len, size_t result_limit, char **result_out,
                          size_t *result_len_out) {
    *result_out = NULL;
    *result_len_out = 0;
    feox_status status = fx_json_validate("the value", document, document_len, 0);
    if (status == FEOX_OK) {
        status = fx_json_validate("the patch", patch, patch_len, FX_JSON_PATCH_LEVELS);
    }
    if (status != FEOX_OK) {
        return status;
    }
    patcher p = {.result_limit = result_limit};
    fx_json_tree_init(&p.tree, document, document_len, document_len + patch_len);
    status = apply_all(&p, patch, patch_len);
    if (status == FEOX_OK && fx_json_node_size(&p.tree.root) > result_limit) {
        status = fx_json_fail(&p.tree, FEOX_ERR_TOO_LARGE, "the result is too large");
    }
    if (status == FEOX_OK) {
        status = fx_json_write(&p.tree, result_out, result_len_out);
    }
    fx_json_tree_deinit(&p.tree);
    return status;
}
