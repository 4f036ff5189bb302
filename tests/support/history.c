/* history: stamps are unique, because ties would leave it open which call was first: a counter is
 * one anyway; to the processor's counter the thread's number is added.
 */
#define _GNU_SOURCE
#include "support/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "feox.h"

fx_history *fx_history_create(void) {
    fx_history *history =
        mmap(NULL, sizeof *history, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (history == MAP_FAILED) {
        perror("history");
        abort();
    }
    return history;
}

void fx_history_free(fx_history *history) {
    munmap(history, sizeof *history);
}

void fx_history_clear(fx_history *history, uint32_t keys, bool tsc) {
    for (uint32_t i = 0; i < FX_HISTORY_THREADS; i++) {
        atomic_store(&history->logs[i].count, 0);
        atomic_store(&history->logs[i].settled, 0);
    }
    history->keys = keys;
    history->tsc = tsc;
    history->title[0] = 0;
    atomic_store(&history->stamp, 1);
}

/* ---- Stamps ---- */

/* Everything before it is done and visible, nothing behind it has begun. */
static uint64_t read_tsc(void) {
#if defined(__x86_64__)
    uint32_t low;
    uint32_t high;
    __asm__ __volatile__("mfence\n\tlfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
#else
    return 0;
#endif
}

static uint64_t take_stamp(fx_history *history, uint32_t thread) {
    uint64_t tsc = history->tsc ? read_tsc() : 0;
    return tsc != 0 ? tsc * 32 + thread : atomic_fetch_add(&history->stamp, 1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t); /* the clock by which keys expire */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

fx_op *fx_history_call(fx_history *history, uint32_t thread, const fx_op *op) {
    fx_log *log = &history->logs[thread];
    uint32_t count = atomic_load_explicit(&log->count, memory_order_relaxed);
    if (count == FX_HISTORY_CALLS) {
        return NULL;
    }
    fx_op *entry = &log->ops[count];
    *entry = *op;
    entry->thread = thread;
    entry->called = UINT64_MAX; /* not made, if the process ends here */
    atomic_store_explicit(&log->count, count + 1, memory_order_release);
    return entry;
}

void fx_history_called(fx_history *history, fx_op *op) {
    op->called_ns = now_ns();
    op->called = take_stamp(history, op->thread);
}

void fx_history_returned(fx_history *history, fx_op *op) {
    op->returned = take_stamp(history, op->thread);
    op->returned_ns = now_ns();
}

void fx_history_settle(fx_history *history, uint32_t thread) {
    fx_log *log = &history->logs[thread];
    uint32_t count = atomic_load_explicit(&log->count, memory_order_relaxed);
    atomic_store_explicit(&log->settled, count, memory_order_release);
}

void fx_history_crash(fx_history *history) {
    const uint32_t self = FX_HISTORY_THREADS - 1;
    uint64_t crash_ns = now_ns();
    uint64_t crash = take_stamp(history, self);
    for (uint32_t t = 0; t < FX_HISTORY_THREADS; t++) {
        fx_log *log = &history->logs[t];
        for (uint32_t i = atomic_load(&log->settled); i < atomic_load(&log->count); i++) {
            log->ops[i].pending = true;
            log->ops[i].returned = crash;
            log->ops[i].returned_ns = crash_ns;
        }
        atomic_store(&log->settled, atomic_load(&log->count));
    }
    for (uint32_t key = 0; key < history->keys; key++) {
        const fx_op op = {.kind = FX_OP_CRASH, .key = key, .how = "crash"};
        fx_op *entry = fx_history_call(history, self, &op);
        if (entry != NULL) {
            fx_history_called(history, entry);
            fx_history_returned(history, entry);
        }
    }
    fx_history_settle(history, self);
}

/* ---- Printing ---- */

static void print_arguments(const fx_op *op) {
    switch (op->kind) {
    case FX_OP_SET:
    case FX_OP_ADD:
        printf(" %" PRId64, op->to);
        break;
    case FX_OP_SWAP:
        printf(" %" PRId64 " -> %" PRId64, op->from, op->to);
        break;
    default:
        break;
    }
    if (op->ttl_ms != 0) {
        printf(" ttl %" PRIu64 " ms", op->ttl_ms);
    }
    if ((op->flags & FEOX_IF_VERSION) != 0) {
        printf(" if version %" PRIu64, op->expected);
    }
    printf("%s%s%s%s%s", (op->flags & FEOX_IF_ABSENT) != 0 ? " if absent" : "",
           (op->flags & FEOX_IF_PRESENT) != 0 ? " if present" : "",
           (op->flags & FEOX_KEEP_TTL) != 0 ? " keep ttl" : "",
           (op->flags & FEOX_CLEAR_TTL) != 0 ? " clear ttl" : "",
           (op->flags & FEOX_DURABLE) != 0 ? " durable" : "");
}

static void print_result(const fx_op *op) {
    if (op->pending) {
        printf(" => never returned");
        return;
    }
    printf(" => %s", feox_status_name((feox_status)op->status));
    if (op->status != FEOX_OK) {
        return;
    }
    if (op->kind == FX_OP_READ || op->kind == FX_OP_ADD) {
        printf(op->out == FX_WGL_GARBAGE ? " bytes that nobody wrote" : " %" PRId64, op->out);
    }
    if (op->kind == FX_OP_INFO || op->kind == FX_OP_TTL) {
        printf(" ttl %" PRId64 " ms", op->out_ttl_ms);
    }
    if (op->versioned) {
        printf(" version %" PRIu64 "%s", op->out_version, op->created ? " created" : "");
    }
}

/* One line for each call, in the order of the beginnings. Times are microseconds, `order` where
 * the stamps put beginning and end among all stamps. A star: in the longest order found. */
static void print_key(const fx_history *history, const fx_wgl *wgl, const fx_op *ops,
                      size_t count) {
    printf("NOT LINEARIZABLE: %s, key %u\n"
           "   thread      from ..   to us  order    call\n",
           history->title, count > 0 ? ops[0].key : 0);
    for (size_t i = 0; i < count; i++) {
        const fx_op *op = &ops[i];
        unsigned before = 0;
        unsigned after = 0;
        for (size_t k = 0; k < count; k++) {
            before +=
                (ops[k].called < op->called ? 1u : 0u) + (ops[k].returned < op->called ? 1u : 0u);
            after += (ops[k].called < op->returned ? 1u : 0u) +
                     (ops[k].returned < op->returned ? 1u : 0u);
        }
        printf(" %c %4u  %9.1f ..%9.1f  %3u-%-3u  %s", fx_wgl_reached(wgl, i) ? '*' : ' ',
               op->thread, (double)(op->called_ns - ops[0].called_ns) / 1000.0,
               (double)(op->returned_ns - ops[0].called_ns) / 1000.0, before, after, op->how);
        print_arguments(op);
        print_result(op);
        printf("\n");
    }
    fflush(stdout);
}

/* ---- Checking ---- */

static int by_call(const void *a, const void *b) {
    const fx_op *x = a;
    const fx_op *y = b;
    return (x->called > y->called) - (x->called < y->called);
}

static size_t gather(fx_history *history, uint32_t key, fx_op *ops, size_t most) {
    size_t count = 0;
    for (uint32_t t = 0; t < FX_HISTORY_THREADS; t++) {
        uint32_t calls = atomic_load_explicit(&history->logs[t].count, memory_order_acquire);
        for (uint32_t i = 0; i < calls; i++) {
            const fx_op *op = &history->logs[t].ops[i];
            bool made = op->called != UINT64_MAX;
            if (op->key == key && made && count < most) {
                ops[count++] = *op;
            }
        }
    }
    qsort(ops, count, sizeof *ops, by_call);
    return count;
}

bool fx_history_check(fx_history *history, fx_wgl *wgl, uint64_t *undecided, uint64_t *visited) {
    static _Thread_local fx_op ops[FX_WGL_OPS_MAX + 1];
    bool sound = true;
    for (uint32_t key = 0; key < history->keys; key++) {
        size_t count = gather(history, key, ops, FX_WGL_OPS_MAX + 1);
        fx_verdict verdict = fx_wgl_check(wgl, ops, count);
        *visited += fx_wgl_visited(wgl);
        *undecided += verdict == FX_UNDECIDED;
        if (verdict == FX_NOT_LINEARIZABLE) {
            print_key(history, wgl, ops, count);
            sound = false;
        }
    }
    return sound;
}
