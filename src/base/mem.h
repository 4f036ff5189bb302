/* mem: the memory door; the only allocation in the library. Any thread.
 *
 * Uses jemalloc if the process has it (weak references, never linked), else libc: decided once.
 * Every function returns NULL on failure; nothing aborts. Tests make the n-th allocation fail.
 */
#ifndef FX_BASE_MEM_H
#define FX_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `size` > 0. The memory is not zeroed; aligned to 16. */
void *fx_mem_alloc(size_t size);
void *fx_mem_zalloc(size_t size);
/* Alignment is a power of two of at least 16. */
void *fx_mem_alloc_aligned(size_t size, size_t alignment);
/* Grows or shrinks; on failure the old memory stays. `memory` may be NULL. */
void *fx_mem_realloc(void *memory, size_t size);
/* NULL is legal. */
void fx_mem_free(void *memory);
/* Bytes that an allocation of `size` really takes. */
size_t fx_mem_usable(size_t size);

/* Asks the allocator to give the system back what it keeps of freed memory. Takes milliseconds for
 * each 100 MB or so, in which other threads may wait for the allocator. */
void fx_mem_trim(void);

/* Zeroed pages from the system, `size` a multiple of 4096, aligned to `alignment` (power of
 * two). */
void *fx_mem_map(size_t size, size_t alignment);
/* The mapping, longer or shorter, with what it held and zeroed pages behind; it may have moved. For
 * alignments up to 4096. NULL: no memory, the old one stays. `memory` may be NULL. */
void *fx_mem_remap(void *memory, size_t old_size, size_t new_size);
void fx_mem_unmap(void *memory, size_t size);
/* Gives the pages' memory back and keeps the addresses; they read as zero afterwards. */
void fx_mem_discard(void *memory, size_t size);
/* Asks for huge pages, or for small ones where the system prefers the others; a hint. */
void fx_mem_huge(void *memory, size_t size, bool huge);
/* One zeroed page that reads as zero in a forked child; NULL if the system cannot. */
void *fx_mem_map_wipe_on_fork(void);

/* "jemalloc" or "libc". */
const char *fx_mem_allocator(void);

/* Tests: the n-th following allocation (1: the next) fails; `sticky`: and every one after. 0:
 * none. */
void fx_mem_fail_after(uint64_t n, bool sticky);
/* How many have failed because of that, since the last call with n > 0. */
uint64_t fx_mem_failed(void);

#endif
