/* atomic: stands in for src/base/atomic.h where tests/sim explores interleavings. The same names;
 * each operation is a switch point of sim/explore.h and knows where it stands, so that a mutant can
 * be made of it while the program runs. Found first by the order of include paths, so the code
 * under test is the product's own, unchanged.
 */
#ifndef FX_BASE_ATOMIC_H
#define FX_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/explore.h"

/* One per place in the source; all of them together are the section explore_sites. */
#define FX_SITE(name, p, wanted)                                                                   \
    __extension__({                                                                                \
        static explore_site here __attribute__((section("explore_sites"), used)) = {               \
            __FILE__, __func__, name, #p, __LINE__, wanted, wanted, EXPLORE_AS_WRITTEN, 0};        \
        &here;                                                                                     \
    })
#define FX_PLACE(p) ((void *)(uintptr_t)(p))
#define FX_WORD(v) ((uint64_t)(uintptr_t)(v))
#define FX_TYPED(p, word) ((__typeof__(*(p)))(uintptr_t)(word))

#define FX_LOAD(name, p, order)                                                                    \
    FX_TYPED(p, explore_load(FX_SITE(name, p, order), FX_PLACE(p), sizeof *(p)))
#define FX_STORE(name, p, v, order)                                                                \
    explore_store(FX_SITE(name, p, order), FX_PLACE(p), sizeof *(p), FX_WORD(v))
#define FX_UPDATE(name, p, how, v, order)                                                          \
    FX_TYPED(p, explore_update(FX_SITE(name, p, order), FX_PLACE(p), sizeof *(p), how, FX_WORD(v)))
#define FX_CAS(name, p, expected, v, order)                                                        \
    explore_cas(FX_SITE(name, p, order), FX_PLACE(p), sizeof *(p), expected, FX_WORD(v))

#define fx_load_relaxed(p) FX_LOAD("load", p, EXPLORE_RELAXED)
#define fx_load_acquire(p) FX_LOAD("load", p, EXPLORE_ACQUIRE)
#define fx_load_seq_cst(p) FX_LOAD("load", p, EXPLORE_SEQ_CST)
#define fx_store_relaxed(p, v) FX_STORE("store", p, v, EXPLORE_RELAXED)
#define fx_store_release(p, v) FX_STORE("store", p, v, EXPLORE_RELEASE)
#define fx_store_seq_cst(p, v) FX_STORE("store", p, v, EXPLORE_SEQ_CST)
#define fx_add_relaxed(p, v) FX_UPDATE("add", p, EXPLORE_ADD, v, EXPLORE_RELAXED)
#define fx_add_acq_rel(p, v) FX_UPDATE("add", p, EXPLORE_ADD, v, EXPLORE_ACQ_REL)
#define fx_add_seq_cst(p, v) FX_UPDATE("add", p, EXPLORE_ADD, v, EXPLORE_SEQ_CST)
#define fx_sub_relaxed(p, v) FX_UPDATE("sub", p, EXPLORE_SUB, v, EXPLORE_RELAXED)
#define fx_sub_acq_rel(p, v) FX_UPDATE("sub", p, EXPLORE_SUB, v, EXPLORE_ACQ_REL)
#define fx_exchange_acquire(p, v) FX_UPDATE("exchange", p, EXPLORE_SET, v, EXPLORE_ACQUIRE)
#define fx_exchange_acq_rel(p, v) FX_UPDATE("exchange", p, EXPLORE_SET, v, EXPLORE_ACQ_REL)
#define fx_cas_acquire(p, expected, v) FX_CAS("cas", p, expected, v, EXPLORE_ACQUIRE)
#define fx_cas_acq_rel(p, expected, v) FX_CAS("cas", p, expected, v, EXPLORE_ACQ_REL)
#define fx_cas_seq_cst(p, expected, v) FX_CAS("cas", p, expected, v, EXPLORE_SEQ_CST)

static inline void fx_pause(void) {
    explore_yield();
}

#endif
