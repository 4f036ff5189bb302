/* wgl: is a recorded history of one key linearizable? The search of Wing and Gong (1993) with the
 * memory of Lowe (2017): states that were reached before with the same calls done are not searched
 * again. Any thread; one checker is used by one thread at a time. Cost: microseconds for what is
 * linearizable; a history that is not may take exponential time, and then is "undecided".
 *
 * The model is one key: present or not, a number that stands for the value, its version, its time
 * to live. Time matters: a call that began after the deadline cannot have found the key, one that
 * ended before it cannot have missed it. A call whose process died (`pending`) may have happened or
 * not, but not after the crash. At a crash the key falls back to what was `kept`: by default every
 * write is lost that was neither durable nor flushed nor, by luck, written out.
 */
#ifndef FX_SUPPORT_WGL_H
#define FX_SUPPORT_WGL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FX_WGL_OPS_MAX 256u
/* What a read that found bytes nobody wrote gives: a number that no key ever has. */
#define FX_WGL_GARBAGE INT64_MIN

typedef enum fx_op_kind {
    FX_OP_READ, /* out: the number */
    FX_OP_HAS,  /* the status alone */
    FX_OP_INFO, /* out_version, out_ttl_ms */
    FX_OP_TTL,  /* out_ttl_ms */
    FX_OP_SET,  /* the number becomes `to` */
    FX_OP_DELETE,
    FX_OP_SWAP,   /* from `from` to `to`, or FEOX_MISMATCH */
    FX_OP_ADD,    /* adds `to`; a missing key becomes `to`. out: the sum */
    FX_OP_EXPIRE, /* ttl_ms from now; 0: never */
    FX_OP_FLUSH,  /* what is there now survives */
    FX_OP_CRASH,  /* back to what was kept */
} fx_op_kind;

typedef struct fx_op {
    fx_op_kind kind;
    uint32_t thread;
    uint32_t key;
    uint32_t flags;  /* those of feox_write */
    const char *how; /* the call that was made, to be printed */
    int64_t from, to;
    uint64_t ttl_ms;
    uint64_t expected; /* for FEOX_IF_VERSION */
    /* Before and after the call: stamps that order calls, and nanoseconds for the deadlines. */
    uint64_t called, returned;
    uint64_t called_ns, returned_ns;
    bool pending; /* it never returned */
    /* What it said. */
    int32_t status; /* a feox_status; FEOX_ERR_MEMORY is a refusal without effect */
    bool versioned; /* out_version and created are known */
    bool created;
    int64_t out;
    uint64_t out_version;
    int64_t out_ttl_ms;
} fx_op;

typedef enum fx_verdict { FX_LINEARIZABLE, FX_NOT_LINEARIZABLE, FX_UNDECIDED } fx_verdict;

typedef struct fx_wgl fx_wgl;

/* NULL: no memory. */
fx_wgl *fx_wgl_create(void);
void fx_wgl_destroy(fx_wgl *wgl);
/* The calls of one key, which was absent before, in any order; at most FX_WGL_OPS_MAX. Their stamps
 * are all different. */
fx_verdict fx_wgl_check(fx_wgl *wgl, const fx_op *ops, size_t count);
/* Of the last check: states visited, and whether the i-th call was in the longest order found. */
uint64_t fx_wgl_visited(const fx_wgl *wgl);
bool fx_wgl_reached(const fx_wgl *wgl, size_t i);

#endif
