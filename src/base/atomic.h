/* atomic: the only place with raw atomics. Works on plain integers and pointers, so that a layout
 * can be shared by racing and non-racing code. The order is part of each name. Stand-alone fences
 * are not offered: ThreadSanitizer cannot see them.
 */
#ifndef FX_BASE_ATOMIC_H
#define FX_BASE_ATOMIC_H

#include <stdbool.h>

#define fx_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define fx_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define fx_load_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define fx_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define fx_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define fx_store_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define fx_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define fx_add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define fx_add_seq_cst(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define fx_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define fx_sub_acq_rel(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define fx_or_acq_rel(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
#define fx_exchange_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define fx_exchange_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
/* Compare-and-swap, strong; `expected` is a pointer and receives what was found. */
#define fx_cas_acquire(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define fx_cas_acq_rel(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#define fx_cas_seq_cst(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* Plain accesses of any width are acquire loads and release stores on x86-64; only the compiler has
 * to be kept from moving them. Not where ThreadSanitizer looks on, which knows atomics only. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FX_PLAIN_IS_WATCHED
#endif
#endif
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(FX_PLAIN_IS_WATCHED)
#define FX_PLAIN_IS_ORDERED
static inline void fx_compiler_barrier(void) {
    __asm__ volatile("" ::: "memory");
}
#endif

/* A hint to the processor inside a spin loop. */
static inline void fx_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
