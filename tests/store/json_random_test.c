/* json: random patches and merges against a naive model that shares no code with the library.
 *
 * The model keeps each child in a plain array and writes without white space; the library's
 * documents have white space strewn in, which is taken out of the result before both are compared
 * byte by byte: so order, spelling and place of everything are checked, not only the meaning.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/json.h"
#include "store/json_scan.h"
#include "store/json_tree.h"
#include "support/campaign.h"

#define LIMIT ((size_t)64 << 20)
#define TEXT_MAX ((size_t)1 << 20)
#define KEYS 8

static fx_rng rng;
/* Names are written in another spelling with the same meaning. */
static bool respell;

static uint32_t below(uint32_t bound) {
    return (uint32_t)fx_rng_below(&rng, bound);
}

/* Member names as they are written, as they are in a pointer inside a JSON string, and spelt
 * another way. */
static const char *const keys[KEYS][3] = {{"\"a\"", "a", "\"\\u0061\""},
                                          {"\"b\"", "b", "\"b\""},
                                          {"\"\"", "", "\"\""},
                                          {"\"x/y\"", "x~1y", "\"x\\/y\""},
                                          {"\"~0\"", "~00", "\"\\u007e0\""},
                                          {"\"0\"", "0", "\"\\u0030\""},
                                          {"\"z\\u0000\"", "z\\u0000", "\"\\u007a\\u0000\""},
                                          {"\"\\\"\"", "\\\"", "\"\\u0022\""}};
static const char *const scalars[] = {"0",
                                      "1",
                                      "-0",
                                      "1.50",
                                      "9007199254740993",
                                      "null",
                                      "true",
                                      "\"\"",
                                      "\"s\"",
                                      "\"\\u0000 ,]}\\\"\"",
                                      "1e99",
                                      "false",
                                      "\"[\"",
                                      "12345678901234567890"};

/* A value of the model. */
typedef struct model {
    char kind; /* { [ or s */
    const char *scalar;
    int count;
    int capacity;
    struct model **children;
    int *names;
} model;

static model *model_new(char kind) {
    model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->kind = kind;
    return m;
}

static void model_free(model *m) {
    for (int i = 0; i < m->count; i++) {
        model_free(m->children[i]);
    }
    free(m->children);
    free(m->names);
    free(m);
}

static void model_insert(model *m, int at, int name, model *child) {
    if (m->count == m->capacity) {
        m->capacity = 2 * m->capacity + 4;
        m->children = realloc(m->children, (size_t)m->capacity * sizeof *m->children);
        m->names = realloc(m->names, (size_t)m->capacity * sizeof *m->names);
        assert_true(m->children != NULL && m->names != NULL);
    }
    memmove(m->children + at + 1, m->children + at, (size_t)(m->count - at) * sizeof *m->children);
    memmove(m->names + at + 1, m->names + at, (size_t)(m->count - at) * sizeof *m->names);
    m->children[at] = child;
    m->names[at] = name;
    m->count++;
}

static model *model_take(model *m, int at) {
    model *child = m->children[at];
    m->count--;
    memmove(m->children + at, m->children + at + 1, (size_t)(m->count - at) * sizeof *m->children);
    memmove(m->names + at, m->names + at + 1, (size_t)(m->count - at) * sizeof *m->names);
    return child;
}

static model *model_copy(const model *m) {
    model *copy = model_new(m->kind);
    copy->scalar = m->scalar;
    for (int i = 0; i < m->count; i++) {
        model_insert(copy, i, m->names[i], model_copy(m->children[i]));
    }
    return copy;
}

static int model_find(const model *m, int name) {
    for (int i = 0; i < m->count; i++) {
        if (m->names[i] == name) {
            return i;
        }
    }
    return -1;
}

static model *model_random(int depth) {
    uint32_t kind = below(depth > 0 ? 4 : 1);
    if (kind <= 1) {
        model *m = model_new('s');
        m->scalar = scalars[below(sizeof scalars / sizeof scalars[0])];
        return m;
    }
    model *m = model_new(kind == 2 ? '{' : '[');
    /* Now and then long enough for several runs of elements. */
    int count = (int)below(kind == 3 && below(12) == 0 ? 150 : 7);
    for (int i = 0; i < count; i++) {
        int name = (int)below(KEYS);
        if (kind == 3 || model_find(m, name) < 0) {
            model_insert(m, m->count, name, model_random(count > 7 ? 0 : depth - 1));
        }
    }
    return m;
}

static bool model_equal(const model *a, const model *b) {
    if (a->kind != b->kind || a->count != b->count) {
        return false;
    }
    if (a->kind == 's') {
        bool a_zero = strcmp(a->scalar, "0") == 0 || strcmp(a->scalar, "-0") == 0;
        bool b_zero = strcmp(b->scalar, "0") == 0 || strcmp(b->scalar, "-0") == 0;
        return (a_zero && b_zero) || strcmp(a->scalar, b->scalar) == 0;
    }
    for (int i = 0; i < a->count; i++) {
        int other = a->kind == '[' ? i : model_find(b, a->names[i]);
        if (other < 0 || !model_equal(a->children[i], b->children[other])) {
            return false;
        }
    }
    return true;
}

static char *write_spaces(char *at, bool spaces) {
    static const char kinds[] = " \n\t\r";
    while (spaces && below(3) == 0) {
        *at++ = kinds[below(4)];
    }
    return at;
}

/* Names from KEYS on are array indexes that came to an object: "-" and numbers. */
static char *name_write(int name, char *at) {
    if (name < KEYS) {
        return at + sprintf(at, "%s", keys[name][respell ? 2 : 0]);
    }
    return at + (name == KEYS ? sprintf(at, "\"-\"") : sprintf(at, "\"%d\"", name - KEYS - 1));
}

/* `spaces`: with white space here and there. */
static char *model_write(const model *m, char *at, bool spaces) {
    at = write_spaces(at, spaces);
    if (m->kind == 's') {
        at += sprintf(at, "%s", m->scalar);
        return write_spaces(at, spaces);
    }
    *at++ = m->kind;
    for (int i = 0; i < m->count; i++) {
        if (i > 0) {
            *at++ = ',';
        }
        if (m->kind == '{') {
            at = write_spaces(at, spaces);
            at = name_write(m->names[i], at);
            at = write_spaces(at, spaces);
            *at++ = ':';
        }
        at = model_write(m->children[i], at, spaces);
    }
    at = write_spaces(at, spaces);
    *at++ = m->kind == '{' ? '}' : ']';
    return write_spaces(at, spaces);
}

/* Takes the white space out that is not in a string; returns the new length. */
static size_t squeeze(char *text, size_t len) {
    size_t kept = 0;
    bool inside = false;
    for (size_t i = 0; i < len; i++) {
        if (inside && text[i] == '\\') {
            text[kept++] = text[i++];
        } else if (text[i] == '"') {
            inside = !inside;
        } else if (!inside && strchr(" \n\t\r", text[i]) != NULL) {
            continue;
        }
        text[kept++] = text[i];
    }
    return kept;
}

/* A pointer: names or indexes; -1 is "-", names in arrays and wild indexes make it wrong. */
typedef struct path {
    int count;
    struct {
        bool name;
        int number;
    } tokens[8];
} path;

/* Mostly one that leads somewhere. */
static path path_random(const model *m, bool may_be_new) {
    path p = {0};
    while (p.count < 7 && m->kind != 's' && (p.count == 0 ? below(20) > 0 : below(3) > 0)) {
        int i = p.count++;
        bool fresh = below(may_be_new ? 3 : 30) == 0 || m->count == 0;
        p.tokens[i].name = m->kind == '{';
        if (fresh) {
            p.tokens[i].number =
                m->kind == '{' ? (int)below(KEYS) : (int)below((uint32_t)m->count + 3) - 1;
            return p;
        }
        int child = (int)below((uint32_t)m->count);
        p.tokens[i].number = m->kind == '{' ? m->names[child] : child;
        if (p.tokens[i].name && p.tokens[i].number >= KEYS) {
            p.tokens[i].name = false;
            p.tokens[i].number -= KEYS + 1;
        }
        m = m->children[child];
    }
    if (below(60) == 0 && p.count < 7) {
        p.tokens[p.count].name = true;
        p.tokens[p.count++].number = (int)below(KEYS);
    }
    return p;
}

static char *path_write(const path *p, char *at) {
    for (int i = 0; i < p->count; i++) {
        if (p->tokens[i].name) {
            at += sprintf(at, "/%s", keys[p->tokens[i].number][1]);
        } else if (p->tokens[i].number < 0) {
            at += sprintf(at, "/-");
        } else {
            at += sprintf(at, "/%d", p->tokens[i].number);
        }
    }
    return at;
}

/* Name "0" is also an index. */
static bool token_index(const path *p, int level, int *index_out) {
    *index_out = p->tokens[level].name ? 0 : p->tokens[level].number;
    return !p->tokens[level].name || strcmp(keys[p->tokens[level].number][1], "0") == 0;
}

static int token_name(const path *p, int level) {
    if (p->tokens[level].name) {
        return p->tokens[level].number;
    }
    return p->tokens[level].number == 0 ? 5 : KEYS + 1 + p->tokens[level].number;
}

/* The container of what the path names, and the child's place there: -1 if there is no such child.
 * `end_out`: the path names the place behind an array's last element. NULL: no container. */
static model *path_parent(model *m, const path *p, int *place_out, bool *end_out) {
    *end_out = false;
    for (int level = 0;; level++) {
        int place = -1;
        if (m->kind == '{') {
            place = model_find(m, token_name(p, level));
        } else if (m->kind == '[') {
            int index;
            if (!token_index(p, level, &index)) {
                return NULL;
            }
            place = index < m->count ? index : -1;
            *end_out = index == m->count || index < 0;
            if (index > m->count) {
                return NULL;
            }
        } else {
            return NULL;
        }
        if (level == p->count - 1) {
            *place_out = place;
            return m;
        }
        if (place < 0) {
            return NULL;
        }
        m = m->children[place];
        *end_out = false;
    }
}

static model *path_get(model *m, const path *p) {
    int place;
    bool end;
    if (p->count == 0) {
        return m;
    }
    model *parent = path_parent(m, p, &place, &end);
    return parent != NULL && place >= 0 ? parent->children[place] : NULL;
}

/* Takes `value` over if it succeeds. */
static bool model_add(model **root, const path *p, model *value) {
    int place;
    bool end;
    if (p->count == 0) {
        model_free(*root);
        *root = value;
        return true;
    }
    model *parent = path_parent(*root, p, &place, &end);
    if (parent == NULL || (parent->kind == '[' && place < 0 && !end)) {
        return false;
    }
    if (parent->kind == '[') {
        model_insert(parent, place < 0 ? parent->count : place, 0, value);
    } else if (place >= 0) {
        model_free(parent->children[place]);
        parent->children[place] = value;
    } else {
        model_insert(parent, parent->count, token_name(p, p->count - 1), value);
    }
    return true;
}

static bool path_around(const path *a, const path *b) {
    bool same = a->count < b->count;
    for (int i = 0; i < a->count && same; i++) {
        same = a->tokens[i].name == b->tokens[i].name && a->tokens[i].number == b->tokens[i].number;
    }
    return same;
}

/* Does operation `kind` to the model; *used_out: the model has taken `value` over. */
static bool model_apply(model **root, uint32_t kind, const path *to, const path *from, model *value,
                        bool *used_out) {
    model *source = path_get(*root, from);
    model *target = path_get(*root, to);
    bool good = false;
    int place;
    bool end;
    switch (kind) {
    case 0:
        good = *used_out = model_add(root, to, value);
        break;
    case 1:
        good = target != NULL && to->count > 0;
        if (good) {
            model *parent = path_parent(*root, to, &place, &end);
            model_free(model_take(parent, place));
        }
        break;
    case 2:
        good = target != NULL;
        if (good && to->count > 0) {
            model *parent = path_parent(*root, to, &place, &end);
            model_free(target);
            parent->children[place] = value;
            *used_out = true;
        } else if (good) {
            *used_out = model_add(root, to, value);
        }
        break;
    case 3:
        good = source != NULL && !path_around(from, to);
        if (good && source != target) {
            model *parent = path_parent(*root, from, &place, &end);
            source = model_take(parent, place);
            good = model_add(root, to, source);
            if (!good) {
                model_free(source);
            }
        }
        break;
    case 4:
        if (source != NULL) {
            source = model_copy(source);
            good = model_add(root, to, source);
            if (!good) {
                model_free(source);
            }
        }
        break;
    default:
        good = target != NULL && model_equal(target, value);
    }
    return good;
}

/* One random operation, appended to the patch at *at and done to the model; false: must fail. */
static bool random_operation(model **root, char **at) {
    static const char *const names[] = {"add", "remove", "replace", "move", "copy", "test"};
    uint32_t kind = below(6);
    path to = path_random(*root, kind == 0 || kind == 3 || kind == 4);
    path from = path_random(*root, false);
    if ((kind == 3 && from.count == 0) || (kind == 1 && to.count == 0 && below(4) > 0)) {
        kind = 4;
    }
    model *target = path_get(*root, &to);
    /* A test mostly for what is there. */
    model *value =
        kind == 5 && target != NULL && below(15) > 0 ? model_copy(target) : model_random(3);
    *at += sprintf(*at, "{\"op\":\"%s\",\"path\":\"", names[kind]);
    *at = path_write(&to, *at);
    *at += sprintf(*at, "\",\"from\":\"");
    *at = path_write(&from, *at);
    *at += sprintf(*at, "\",\"value\":");
    respell = kind == 5 && below(2) == 0;
    *at = model_write(value, *at, true);
    respell = false;
    *(*at)++ = '}';
    bool used = false;
    bool good = model_apply(root, kind, &to, &from, value, &used);
    if (!used) {
        model_free(value);
    }
    return good;
}
static void model_merge(model **target, const model *patch) {
    if (patch->kind != '{') {
        model_free(*target);
        *target = model_copy(patch);
        return;
    }
    if ((*target)->kind != '{') {
        model_free(*target);
        *target = model_new('{');
    }
    for (int i = 0; i < patch->count; i++) {
        const model *value = patch->children[i];
        int place = model_find(*target, patch->names[i]);
        if (value->kind == 's' && strcmp(value->scalar, "null") == 0) {
            if (place >= 0) {
                model_free(model_take(*target, place));
            }
            continue;
        }
        if (place < 0) {
            place = (*target)->count;
            model *none = model_new('s');
            none->scalar = "null";
            model_insert(*target, place, patch->names[i], none);
        }
        model_merge(&(*target)->children[place], value);
    }
}

static uint64_t seed(void) {
    const char *given = getenv("FEOX_SEED");
    uint64_t s = given != NULL ? strtoull(given, NULL, 0) : fx_clock_wall_ns();
    print_message("FEOX_SEED=%llu\n", (unsigned long long)s);
    return s;
}

static void compare(const model *wanted, const char *document, const char *patch,
                    feox_status status, char *result, size_t result_len) {
    static char text[TEXT_MAX];
    size_t wanted_len = 0;
    bool good = status == (wanted != NULL ? FEOX_OK : FEOX_ERR_PATCH);
    if (good && wanted != NULL) {
        wanted_len = (size_t)(model_write(wanted, text, false) - text);
        result_len = squeeze(result, result_len);
        good = wanted_len == result_len && memcmp(text, result, result_len) == 0;
    }
    if (!good) {
        fail_msg("document %s\npatch %s\nstatus %d %s\nresult %.*s\nwanted %.*s", document, patch,
                 (int)status, fx_error_text(), (int)result_len, result != NULL ? result : "",
                 (int)wanted_len, text);
    }
}

static void test_random_patches(void **state) {
    (void)state;
    fx_rng_init(&rng, seed());
    char *document = malloc(TEXT_MAX);
    char *patch = malloc(TEXT_MAX);
    assert_true(document != NULL && patch != NULL);
    int applied = 0;
    campaign c;
    campaign_begin(&c, "C10 patches");
    for (int round = 0; round < 6000; round++) {
        model *root = model_random(4);
        *model_write(root, document, true) = '\0';
        char *at = patch;
        *at++ = '[';
        bool good = true;
        for (uint32_t n = below(12); n > 0 && good && at - patch < 50000; n--) {
            if (at > patch + 1) {
                *at++ = ',';
            }
            good = random_operation(&root, &at);
        }
        *at++ = ']';
        *at = '\0';
        char *result;
        size_t result_len;
        feox_status status = fx_json_patch(document, strlen(document), patch, strlen(patch), LIMIT,
                                           &result, &result_len);
        compare(good ? root : NULL, document, patch, status, result, result_len);
        applied += good;
        fx_mem_free(result);
        model_free(root);
        c.cases++;
    }
    campaign_end(&c);
    assert_true(applied > 1500);
    free(document);
    free(patch);
}

static void test_random_merges(void **state) {
    (void)state;
    fx_rng_init(&rng, seed());
    char *document = malloc(TEXT_MAX);
    char *patch = malloc(TEXT_MAX);
    assert_true(document != NULL && patch != NULL);
    campaign c;
    campaign_begin(&c, "C10 merge patches");
    for (int round = 0; round < 4000; round++) {
        model *root = model_random(5);
        model *change = model_random(5);
        *model_write(root, document, true) = '\0';
        *model_write(change, patch, true) = '\0';
        model_merge(&root, change);
        char *result;
        size_t result_len;
        feox_status status = fx_json_merge(document, strlen(document), patch, strlen(patch), LIMIT,
                                           &result, &result_len);
        compare(root, document, patch, status, result, result_len);
        fx_mem_free(result);
        model_free(root);
        model_free(change);
        c.cases++;
    }
    campaign_end(&c);
    free(document);
    free(patch);
}

/* What json_tree.c promises of its trees; returns the nodes. */
static uint32_t check_nodes(const fx_json_tree *tree, const fx_json_node *node) {
    if (node == NULL) {
        return 0;
    }
    uint32_t left = check_nodes(tree, node->left);
    uint32_t right = check_nodes(tree, node->right);
    assert_true(left + 1 <= 3 * (right + 1) && right + 1 <= 3 * (left + 1));
    assert_int_equal(node->nodes, left + right + 1);
    assert_int_equal(node->count, node->run + (node->left != NULL ? node->left->count : 0) +
                                      (node->right != NULL ? node->right->count : 0));
    assert_true(node->epoch <= tree->epoch && node->height >= node->value.height);
    return left + right + 1;
}

/* Whether an array of numbers is what it should be, inside and written. */
static void check_numbers(fx_json_tree *tree, const fx_json_value *value, const int *wanted,
                          int count) {
    char *written;
    size_t written_len;
    fx_json_node root = tree->root;
    tree->root.value = *value;
    (void)check_nodes(tree, value->box->root);
    assert_int_equal(fx_json_count(value->box), count);
    assert_int_equal(fx_json_write(tree, &written, &written_len), FEOX_OK);
    tree->root = root;
    const char *next = written + 1;
    for (int i = 0; i < count; i++) {
        char *stop;
        assert_int_equal(strtol(next, &stop, 10), wanted[i]);
        next = stop + 1;
    }
    assert_ptr_equal(next, written + written_len);
    fx_mem_free(written);
}

/* A large array: insert, remove and copy at random, and every now and then look at all of it, also
 * at the copies that must not have changed. */
static void test_tree(void **state) {
    (void)state;
    enum { FIRST = 3000, CHANGES = 4000 };
    fx_rng_init(&rng, seed());
    static char text[FIRST * 8];
    static char numbers[CHANGES][8];
    static int model_now[FIRST + CHANGES];
    static int model_frozen[FIRST + CHANGES];
    int count = FIRST;
    int frozen_count = 0;
    char *at = text + sprintf(text, "[");
    for (int i = 0; i < FIRST; i++) {
        model_now[i] = i;
        at += sprintf(at, "%s%d", i > 0 ? "," : "", i);
    }
    *at++ = ']';
    fx_json_tree tree;
    fx_json_tree_init(&tree, text, (size_t)(at - text), (size_t)(at - text));
    fx_json_value *value = &tree.root.value;
    fx_json_value frozen = {0};
    assert_int_equal(fx_json_open(&tree, &tree.memory, value, tree.epoch), FEOX_OK);
    for (int change = 0; change < CHANGES; change++) {
        assert_int_equal(fx_json_own(&tree, value), FEOX_OK);
        if (below(200) == 0) {
            frozen = *value;
            fx_json_freeze(&tree);
            assert_int_equal(fx_json_own(&tree, value), FEOX_OK);
            memcpy(model_frozen, model_now, sizeof model_now);
            frozen_count = count;
        }
        /* Half of the changes at one end, which is what unbalances. */
        uint32_t place = below(2) == 0 ? 0 : below((uint32_t)count);
        fx_json_node *held;
        assert_int_equal(fx_json_hold(&tree, value->box, place, &held), FEOX_OK);
        if (below(3) == 0) {
            int len = sprintf(numbers[change], "%d", FIRST + change);
            fx_json_node child = {.prefix = "", .suffix = ""};
            child.value = fx_json_value_at(numbers[change], numbers[change] + len);
            assert_int_equal(fx_json_insert(&tree, value->box, place, &child), FEOX_OK);
            memmove(model_now + place + 1, model_now + place,
                    ((size_t)count - place) * sizeof *model_now);
            model_now[place] = FIRST + change;
            count++;
        } else if (count > 1) {
            assert_int_equal(fx_json_remove(&tree, value->box, place), FEOX_OK);
            count--;
            memmove(model_now + place, model_now + place + 1,
                    ((size_t)count - place) * sizeof *model_now);
        }
        if (change % 50 != 0 && change != CHANGES - 1) {
            continue;
        }
        check_numbers(&tree, value, model_now, count);
        if (frozen.box != NULL) {
            check_numbers(&tree, &frozen, model_frozen, frozen_count);
        }
    }
    fx_json_tree_deinit(&tree);
}

/* Writes digits and a power of ten with the point anywhere and superfluous zeros. */
static void number_write(char *at, bool negative, const char *digits, long power) {
    int len = (int)strlen(digits);
    int before = (int)below((uint32_t)len + 1);
    int zeros = (int)below(3);
    at += sprintf(at, "%s%.*s", negative ? "-" : "", before, digits);
    at += before == 0 ? sprintf(at, "0") : 0;
    power += len - before;
    if (before < len || below(2) == 0) {
        at += sprintf(at, ".%.*s%s%.*s", before == 0 ? zeros : 0, "00", digits + before, zeros,
                      "000");
        power += before == 0 ? zeros : 0;
    }
    (void)sprintf(at, "%c%s%s%ld", below(2) == 0 ? 'e' : 'E',
                  power < 0 ? "-" : (below(2) == 0 ? "+" : ""), below(2) == 0 ? "00" : "",
                  power < 0 ? -power : power);
}

/* Numbers made equal are equal in every spelling, and one changed digit or power makes them not. */
static void test_random_numbers(void **state) {
    (void)state;
    fx_rng_init(&rng, seed());
    campaign c;
    campaign_begin(&c, "C10 numbers");
    for (int round = 0; round < 100000; round++) {
        char digits[24];
        uint32_t len = 1 + below(20);
        for (uint32_t i = 0; i < len; i++) {
            digits[i] = (char)('0' + (below(2) == 0 ? 0 : below(10)));
        }
        digits[0] = (char)('1' + below(9));
        digits[len] = '\0';
        long power = (long)below(below(2) == 0 ? 12 : 2000000000) - 6;
        bool negative = below(2) == 0;
        char a[100];
        char b[100];
        number_write(a, negative, digits, power);
        number_write(b, negative, digits, power);
        bool same = fx_json_number_equal(a, strlen(a), b, strlen(b));
        uint32_t place = below(len);
        if (below(2) == 0) {
            digits[place] = (char)(digits[place] == '9' ? '8' : digits[place] + 1);
        } else {
            power += below(2) == 0 ? 1 : -1;
        }
        char other[100];
        number_write(other, negative, digits, power);
        if (!same || fx_json_number_equal(a, strlen(a), other, strlen(other))) {
            fail_msg("%s and %s must be equal, %s not", a, b, other);
        }
        c.cases++;
    }
    campaign_end(&c);
}

/* Random bytes changed in JSON: whatever happens, no sanitizer may complain, and what was accepted
 * must be accepted again. */
static void test_random_damage(void **state) {
    (void)state;
    fx_rng_init(&rng, seed());
    char *document = malloc(TEXT_MAX);
    char *patch = malloc(TEXT_MAX);
    assert_true(document != NULL && patch != NULL);
    campaign c;
    campaign_begin(&c, "C10 damaged texts");
    for (int round = 0; round < 6000; round++) {
        model *root = model_random(3);
        size_t document_len = (size_t)(model_write(root, document, true) - document);
        char *at = patch;
        *at++ = '[';
        (void)random_operation(&root, &at);
        *at++ = ']';
        size_t patch_len = (size_t)(at - patch);
        static const char bytes[] = "\"\\[]{}:,u0-1e.~/ \xc3\xed\xf0\x80";
        for (uint32_t n = 1 + below(2); n > 0; n--) {
            char *text = below(2) == 0 ? document : patch;
            size_t len = text == document ? document_len : patch_len;
            text[below((uint32_t)len)] = bytes[below(sizeof bytes)];
            c.faults++;
        }
        char *exact = malloc(document_len + patch_len);
        assert_non_null(exact);
        memcpy(exact, patch, patch_len);
        memcpy(exact + patch_len, document, document_len);
        char *result;
        size_t result_len;
        feox_status status = fx_json_patch(exact + patch_len, document_len, exact, patch_len, LIMIT,
                                           &result, &result_len);
        if (status == FEOX_OK) {
            char *again;
            size_t again_len;
            assert_int_equal(fx_json_patch(result, result_len, "[]", 2, LIMIT, &again, &again_len),
                             FEOX_OK);
            fx_mem_free(again);
            fx_mem_free(result);
        } else {
            assert_true(status == FEOX_ERR_JSON || status == FEOX_ERR_PATCH);
        }
        status = fx_json_merge(exact, patch_len, exact + patch_len, document_len, LIMIT, &result,
                               &result_len);
        fx_mem_free(result);
        free(exact);
        model_free(root);
        c.cases++;
    }
    campaign_end(&c);
    free(document);
    free(patch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_patches), cmocka_unit_test(test_random_merges),
        cmocka_unit_test(test_random_damage),  cmocka_unit_test(test_tree),
        cmocka_unit_test(test_random_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
