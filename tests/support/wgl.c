/* wgl: depth first. A call may come next if no other call that is still to be done returned before
 * it was called; the step function says whether the model answers what the store answered.
 *
 * A state has no bytes that mean nothing, so that equal states are equal bytes.
 */
#include "support/wgl.h"

#include <stdlib.h>
#include <string.h>

#include "feox.h"

#define WORDS (FX_WGL_OPS_MAX / 64)
#define VISITED_MAX 8000000u
#define CAPACITY_FIRST 512u

typedef struct key_state {
    uint64_t present;
    int64_t number;
    uint64_t exact;   /* `version` is the version; else the version is above it */
    uint64_t version; /* also of a key that is gone: versions rise over deletes */
    uint64_t mortal;  /* there is a time to live, and it ends between these two: */
    uint64_t dies_after_ns, dead_at_ns;
} key_state;

typedef struct node {
    uint64_t done[WORDS];
    key_state now;
    key_state kept; /* what a crash leaves; only used if there is one */
} node;

struct fx_wgl {
    const fx_op *ops;
    size_t count;
    bool crashes;
    uint64_t reached[WORDS];
    size_t reached_count;
    node *nodes;           /* visited */
    uint32_t *slots;       /* 1 + index into nodes */
    size_t used, capacity; /* slots: twice the capacity */
};

static bool set_has(const uint64_t *set, size_t i) {
    return (set[i / 64] >> (i % 64) & 1) != 0;
}

/* ---- The model ---- */

static bool is_write(const fx_op *op) {
    return op->kind == FX_OP_SET || op->kind == FX_OP_DELETE || op->kind == FX_OP_SWAP ||
           op->kind == FX_OP_ADD || op->kind == FX_OP_EXPIRE;
}

/* Is this the version that the key may have? Then it is known from here on. */
static bool learn_version(key_state *s, uint64_t version) {
    if (s->exact ? s->version != version : s->version >= version) {
        return false;
    }
    s->exact = 1;
    s->version = version;
    return true;
}

/* The status that the model gives for a write; it may learn the version from the answer. */
static int32_t write_status(const fx_op *op, key_state *s) {
    bool maybe = op->pending || op->status == FEOX_OK;
    if (!s->present) {
        bool needs = (op->flags & (FEOX_IF_PRESENT | FEOX_IF_VERSION)) != 0 ||
                     (op->kind != FX_OP_SET && op->kind != FX_OP_ADD);
        return needs ? FEOX_NOT_FOUND : FEOX_OK;
    }
    if ((op->flags & FEOX_IF_ABSENT) != 0) {
        return FEOX_EXISTS;
    }
    if ((op->flags & FEOX_IF_VERSION) != 0) {
        bool other = s->exact ? s->version != op->expected : s->version >= op->expected;
        if (other || (!s->exact && !maybe)) {
            return FEOX_MISMATCH;
        }
        (void)learn_version(s, op->expected);
    }
    return op->kind == FX_OP_SWAP && s->number != op->from ? FEOX_MISMATCH : FEOX_OK;
}

static void write_ttl(const fx_op *op, key_state *s) {
    bool keeps = s->present && (op->kind == FX_OP_SWAP || op->kind == FX_OP_ADD ||
                                (op->flags & FEOX_KEEP_TTL) != 0);
    if (op->ttl_ms != 0) {
        s->mortal = 1;
        s->dies_after_ns = op->called_ns + op->ttl_ms * 1000000u;
        s->dead_at_ns = op->returned_ns + op->ttl_ms * 1000000u;
    } else if (!keeps || (op->flags & FEOX_CLEAR_TTL) != 0) {
        s->mortal = s->dies_after_ns = s->dead_at_ns = 0;
    }
}

/* A write whose status is right. False: its other answers are wrong. */
static bool write_effect(const fx_op *op, key_state *s) {
    bool created = !s->present && op->kind != FX_OP_DELETE;
    if (op->kind == FX_OP_DELETE) {
        *s = (key_state){.version = s->version};
    } else {
        write_ttl(op, s);
        if (op->kind == FX_OP_ADD) {
            s->number = (s->present ? s->number : 0) + op->to;
        } else if (op->kind != FX_OP_EXPIRE) {
            s->number = op->to;
        }
        s->present = 1;
    }
    s->exact = 0;
    if (op->pending) {
        return true;
    }
    if (op->kind == FX_OP_ADD && op->out != s->number) {
        return false;
    }
    if (!op->versioned) {
        return true;
    }
    if (op->created != created || op->out_version <= s->version) {
        return false;
    }
    s->exact = s->present;
    s->version = op->out_version;
    return true;
}

/* Does what a look at the time to live said fit, and what does it tell about the deadline? */
static bool learn_ttl(const fx_op *op, key_state *s) {
    if (op->out_ttl_ms < 0 || !s->mortal) {
        return op->out_ttl_ms == -1 && !s->mortal;
    }
    uint64_t left_ns = (uint64_t)op->out_ttl_ms * 1000000u;
    if (left_ns == 0) {
        return false;
    }
    uint64_t low = op->called_ns + left_ns - 1000000u;
    uint64_t high = op->returned_ns + left_ns;
    s->dies_after_ns = s->dies_after_ns > low ? s->dies_after_ns : low;
    s->dead_at_ns = s->dead_at_ns < high ? s->dead_at_ns : high;
    return s->dies_after_ns <= s->dead_at_ns;
}

static bool look(const fx_op *op, key_state *s) {
    if (op->status != (s->present ? FEOX_OK : FEOX_NOT_FOUND)) {
        return false;
    }
    if (!s->present) {
        return true;
    }
    if (op->kind == FX_OP_READ) {
        return op->out == s->number;
    }
    if (op->kind == FX_OP_INFO && op->versioned && !learn_version(s, op->out_version)) {
        return false;
    }
    return op->kind == FX_OP_HAS || learn_ttl(op, s);
}

/* The call on a key that is there or not, whatever the clock says. */
static bool apply(const fx_op *op, key_state *s) {
    if (!is_write(op)) {
        return op->kind == FX_OP_FLUSH || look(op, s);
    }
    int32_t status = write_status(op, s);
    if (op->pending) {
        return status == FEOX_OK && write_effect(op, s); /* else it is as if it never was */
    }
    if (op->status == FEOX_ERR_MEMORY) {
        return true;
    }
    return op->status == status && (status != FEOX_OK || write_effect(op, s));
}

/* The key as the call may have found it, alive and expired. */
static unsigned step(const fx_op *op, const key_state *before, key_state after[2]) {
    unsigned count = 0;
    if (!before->mortal || op->called_ns < before->dead_at_ns) {
        after[count] = *before;
        if (before->mortal && before->dies_after_ns < op->called_ns) {
            after[count].dies_after_ns = op->called_ns;
        }
        count += apply(op, &after[count]);
    }
    if (before->mortal && op->returned_ns >= before->dies_after_ns) {
        after[count] = (key_state){.version = before->version};
        count += apply(op, &after[count]);
    }
    return count;
}

/* ---- The search ---- */

static uint64_t node_hash(const node *n) {
    const unsigned char *bytes = (const unsigned char *)n;
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < sizeof *n; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static bool grow(fx_wgl *wgl) {
    size_t capacity = wgl->capacity * 2;
    node *nodes = realloc(wgl->nodes, capacity * sizeof *nodes);
    if (nodes == NULL) {
        return false;
    }
    wgl->nodes = nodes;
    uint32_t *slots = calloc(capacity * 2, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(wgl->slots);
    wgl->slots = slots;
    wgl->capacity = capacity;
    for (size_t i = 0; i < wgl->used; i++) {
        size_t at = node_hash(&nodes[i]) & (capacity * 2 - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (capacity * 2 - 1);
        }
        slots[at] = (uint32_t)i + 1;
    }
    return true;
}

/* False: it was visited before, or there are too many. */
static bool visit(fx_wgl *wgl, const node *n) {
    if (wgl->used >= VISITED_MAX || (wgl->used == wgl->capacity && !grow(wgl))) {
        wgl->used = VISITED_MAX;
        return false;
    }
    size_t mask = wgl->capacity * 2 - 1;
    size_t at = node_hash(n) & mask;
    for (; wgl->slots[at] != 0; at = (at + 1) & mask) {
        if (memcmp(&wgl->nodes[wgl->slots[at] - 1], n, sizeof *n) == 0) {
            return false;
        }
    }
    wgl->nodes[wgl->used++] = *n;
    wgl->slots[at] = (uint32_t)wgl->used;
    return true;
}

static bool search(fx_wgl *wgl, const node *n, size_t depth, uint64_t last_called);

/* One more call; everything that it may have led to. */
static bool search_next(fx_wgl *wgl, const node *n, size_t i, size_t depth, uint64_t last_called) {
    const fx_op *op = &wgl->ops[i];
    key_state after[2];
    node next = *n;
    next.done[i / 64] |= (uint64_t)1 << (i % 64);
    last_called = op->called > last_called ? op->called : last_called;
    if (op->kind == FX_OP_CRASH) {
        next.now = n->kept;
        return visit(wgl, &next) && search(wgl, &next, depth + 1, last_called);
    }
    unsigned count = step(op, &n->now, after);
    for (unsigned k = 0; k < count; k++) {
        next.now = after[k];
        bool changes = is_write(op) && (op->pending || op->status == FEOX_OK);
        bool kept = op->kind == FX_OP_FLUSH || (changes && (op->flags & FEOX_DURABLE) != 0);
        for (unsigned keep = 0; keep < 2 && wgl->crashes; keep++) {
            /* What is not durable may be written out at any time all the same. */
            if (keep == 0 ? kept : !kept && !changes) {
                continue;
            }
            next.kept = keep != 0 ? next.now : n->kept;
            if (visit(wgl, &next) && search(wgl, &next, depth + 1, last_called)) {
                return true;
            }
        }
        if (!wgl->crashes && visit(wgl, &next) && search(wgl, &next, depth + 1, last_called)) {
            return true;
        }
    }
    return false;
}

static bool search(fx_wgl *wgl, const node *n, size_t depth, uint64_t last_called) {
    uint64_t first_returned = UINT64_MAX;
    bool all = true;
    if (depth > wgl->reached_count) {
        wgl->reached_count = depth;
        memcpy(wgl->reached, n->done, sizeof n->done);
    }
    for (size_t i = 0; i < wgl->count; i++) {
        const fx_op *op = &wgl->ops[i];
        if (!op->pending && !set_has(n->done, i)) {
            all = false;
            first_returned = op->returned < first_returned ? op->returned : first_returned;
        }
    }
    if (all) {
        return true;
    }
    for (size_t i = 0; i < wgl->count; i++) {
        const fx_op *op = &wgl->ops[i];
        bool may = op->called < first_returned && (!op->pending || op->returned > last_called);
        if (may && !set_has(n->done, i) && search_next(wgl, n, i, depth, last_called)) {
            return true;
        }
    }
    return false;
}

fx_verdict fx_wgl_check(fx_wgl *wgl, const fx_op *ops, size_t count) {
    node start;
    memset(&start, 0, sizeof start);
    wgl->ops = ops;
    wgl->count = count;
    wgl->crashes = false;
    wgl->used = 0;
    wgl->reached_count = 0;
    memset(wgl->reached, 0, sizeof wgl->reached);
    while (wgl->capacity > CAPACITY_FIRST * 16) {
        wgl->capacity /= 2; /* the memory stays; it need not be cleared every time */
    }
    memset(wgl->slots, 0, wgl->capacity * 2 * sizeof *wgl->slots);
    if (count > FX_WGL_OPS_MAX) {
        return FX_UNDECIDED;
    }
    for (size_t i = 0; i < count; i++) {
        wgl->crashes = wgl->crashes || ops[i].kind == FX_OP_CRASH;
    }
    if (search(wgl, &start, 0, 0)) {
        return FX_LINEARIZABLE;
    }
    return wgl->used >= VISITED_MAX ? FX_UNDECIDED : FX_NOT_LINEARIZABLE;
}

uint64_t fx_wgl_visited(const fx_wgl *wgl) {
    return wgl->used;
}

bool fx_wgl_reached(const fx_wgl *wgl, size_t i) {
    return set_has(wgl->reached, i);
}

/* ---- Life ---- */

fx_wgl *fx_wgl_create(void) {
    fx_wgl *wgl = calloc(1, sizeof *wgl);
    if (wgl != NULL) {
        wgl->capacity = CAPACITY_FIRST;
        wgl->nodes = calloc(wgl->capacity, sizeof *wgl->nodes);
        wgl->slots = calloc(wgl->capacity * 2, sizeof *wgl->slots);
        if (wgl->nodes == NULL || wgl->slots == NULL) {
            fx_wgl_destroy(wgl);
            return NULL;
        }
    }
    return wgl;
}

void fx_wgl_destroy(fx_wgl *wgl) {
    if (wgl != NULL) {
        free(wgl->nodes);
        free(wgl->slots);
        free(wgl);
    }
}
