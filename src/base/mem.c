/* mem: why weak references. libjemalloc needs more static TLS than a dlopen()ed object gets, so a
 * library that links it cannot be loaded from Python, Go plugins, Java or Node. If the program
 * brings jemalloc along (libfeox-jemalloc, -ljemalloc, LD_PRELOAD), its names resolve here.
 * Invariant: all of mallocx, rallocx, dallocx are present, or none is used.
 */
#define _GNU_SOURCE
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/atomic.h"

extern void *mallocx(size_t size, int flags) __attribute__((weak));
extern void *rallocx(void *memory, size_t size, int flags) __attribute__((weak));
extern void dallocx(void *memory, int flags) __attribute__((weak));
extern size_t nallocx(size_t size, int flags) __attribute__((weak));
extern int mallctl(const char *name, void *old, size_t *old_size, void *fresh, size_t fresh_size)
    __attribute__((weak));
extern int malloc_trim(size_t keep) __attribute__((weak)); /* glibc */

/* ThreadSanitizer does not hear of mremap, and would hold what was at the new address before
 * against whoever has it now. */
#if defined(__SANITIZE_THREAD__)
#define FX_NO_MREMAP 1
#endif

static uint64_t fail_countdown; /* 0: off; 1: the next allocation fails */
static bool fail_sticky;
static uint64_t fail_count;

void fx_mem_fail_after(uint64_t n, bool sticky) {
    fx_store_relaxed(&fail_sticky, sticky);
    if (n > 0) {
        fx_store_relaxed(&fail_count, 0);
    }
    fx_store_release(&fail_countdown, n);
}

uint64_t fx_mem_failed(void) {
    return fx_load_relaxed(&fail_count);
}

/* True if this allocation is the one that must fail. */
static bool must_fail(void) {
    if (FX_LIKELY(fx_load_relaxed(&fail_countdown) == 0)) {
        return false;
    }
    uint64_t left = fx_load_acquire(&fail_countdown);
    while (left > 0) {
        bool last = left == 1;
        if ((last && fx_load_relaxed(&fail_sticky)) ||
            fx_cas_acq_rel(&fail_countdown, &left, left - 1)) {
            (void)fx_add_relaxed(&fail_count, last);
            return last;
        }
    }
    return false;
}

static bool has_jemalloc(void) {
    return mallocx != NULL && rallocx != NULL && dallocx != NULL && nallocx != NULL;
}

const char *fx_mem_allocator(void) {
    return has_jemalloc() ? "jemalloc" : "libc";
}

void *fx_mem_alloc(size_t size) {
    FX_ASSERT(size > 0);
    if (must_fail()) {
        return NULL;
    }
    return has_jemalloc() ? mallocx(size, 0) : malloc(size);
}

void *fx_mem_zalloc(size_t size) {
    void *memory = fx_mem_alloc(size);
    if (memory != NULL) {
        memset(memory, 0, size);
    }
    return memory;
}

void *fx_mem_alloc_aligned(size_t size, size_t alignment) {
    FX_ASSERT((alignment & (alignment - 1)) == 0 && alignment >= 16);
    if (must_fail()) {
        return NULL;
    }
    if (has_jemalloc()) {
        return mallocx(size, __builtin_ctzl(alignment)); /* MALLOCX_LG_ALIGN */
    }
    void *memory = NULL;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

void *fx_mem_realloc(void *memory, size_t size) {
    if (memory == NULL) {
        return fx_mem_alloc(size);
    }
    if (must_fail()) {
        return NULL;
    }
    return has_jemalloc() ? rallocx(memory, size, 0) : realloc(memory, size);
}

void fx_mem_free(void *memory) {
    if (memory == NULL) {
        return;
    }
    if (has_jemalloc()) {
        dallocx(memory, 0);
    } else {
        free(memory);
    }
}

size_t fx_mem_usable(size_t size) {
    return has_jemalloc() ? nallocx(size, 0) : ((size + 8 + 15) & ~(size_t)15);
}

void fx_mem_trim(void) {
    if (has_jemalloc()) {
        if (mallctl != NULL) { /* 4096: all arenas */
            (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
        }
    } else if (malloc_trim != NULL) {
        (void)malloc_trim(0);
    }
}

void *fx_mem_map(size_t size, size_t alignment) {
    if (must_fail()) {
        return NULL;
    }
    size_t slack = alignment > 4096 ? alignment : 0;
    char *start = mmap(NULL, size + slack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    if (slack == 0) {
        return start;
    }
    char *aligned = (char *)(((uintptr_t)start + alignment - 1) & ~(uintptr_t)(alignment - 1));
    size_t before = (size_t)(aligned - start);
    if (before > 0) {
        (void)munmap(start, before);
    }
    if (slack > before) {
        (void)munmap(aligned + size, slack - before);
    }
    return aligned;
}

void *fx_mem_remap(void *memory, size_t old_size, size_t new_size) {
    if (memory == NULL) {
        return fx_mem_map(new_size, 4096);
    }
#ifdef FX_NO_MREMAP
    void *moved = fx_mem_map(new_size, 4096);
    if (moved != NULL) {
        memcpy(moved, memory, old_size < new_size ? old_size : new_size);
        fx_mem_unmap(memory, old_size);
    }
    return moved;
#else
    if (must_fail()) {
        return NULL;
    }
    void *moved = mremap(memory, old_size, new_size, MREMAP_MAYMOVE);
    return moved != MAP_FAILED ? moved : NULL;
#endif
}

void fx_mem_unmap(void *memory, size_t size) {
    if (memory != NULL) {
        (void)munmap(memory, size);
    }
}

void fx_mem_discard(void *memory, size_t size) {
    /* Cannot fail on a private anonymous mapping of whole pages; if it did, the memory would only
     * stay resident, and must still read as zero. */
    if (madvise(memory, size, MADV_DONTNEED) != 0) {
        memset(memory, 0, size);
    }
}

void fx_mem_huge(void *memory, size_t size, bool huge) {
    (void)madvise(memory, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void *fx_mem_map_wipe_on_fork(void) {
    void *page = fx_mem_map(4096, 4096);
    if (page != NULL && madvise(page, 4096, MADV_WIPEONFORK) != 0) {
        fx_mem_unmap(page, 4096);
        page = NULL;
    }
    return page;
}
