/* explore_arena: the memory door of the code under test, and its undoing. All memory of a scenario
 * lies in one range at a fixed address, so that what depends on addresses repeats. After `setup`
 * the range is read-only: the first write to a page faults, keeps a copy and makes the page
 * writable for good; before each schedule the pages kept so far are copied back. Nothing is ever
 * used twice within a schedule, so a use after free is seen.
 */
#define _GNU_SOURCE
#include "sim/explore_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#define PAGE 4096u
#define PAGES (ARENA_SIZE / PAGE)
#define STACK ((size_t)256 << 10)
#define STACK_BASE (ARENA_BASE + 2 * ARENA_SIZE)

static uint8_t *arena;
static size_t used, used_at_seal;
static bool sealed;
static uint8_t *copies;      /* of kept pages, in the order kept */
static uint32_t kept[PAGES]; /* page numbers */
static uint32_t kept_count;
static bool is_kept[PAGES];

static void *map(uintptr_t at, size_t size) {
    void *memory = mmap(
        (void *)at, size, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at != 0 ? MAP_FIXED_NOREPLACE : 0), -1, 0);
    if (memory == MAP_FAILED || (at != 0 && memory != (void *)at)) {
        perror("explore: mmap");
        exit(2);
    }
    return memory;
}

void arena_begin(void) {
    if (arena == NULL) {
        arena = map(ARENA_BASE, ARENA_SIZE);
        copies = map(0, ARENA_SIZE);
        (void)map(STACK_BASE, EXPLORE_THREADS * STACK);
    } else {
        (void)mprotect(arena, ARENA_SIZE, PROT_READ | PROT_WRITE);
        (void)madvise(arena, ARENA_SIZE, MADV_DONTNEED);
    }
    memset(is_kept, 0, sizeof is_kept);
    kept_count = 0;
    used = PAGE;
    sealed = false;
}

void arena_seal(void) {
    used_at_seal = used;
    sealed = true;
    (void)mprotect(arena, ARENA_SIZE, PROT_READ);
}

void arena_restore(void) {
    for (uint32_t i = 0; i < kept_count; i++) {
        memcpy(arena + (size_t)kept[i] * PAGE, copies + (size_t)i * PAGE, PAGE);
    }
    used = used_at_seal;
}

bool arena_fault(void *place) {
    size_t page = ((uintptr_t)place - ARENA_BASE) / PAGE;
    if (!arena_has(place) || !sealed || is_kept[page]) {
        return false;
    }
    memcpy(copies + (size_t)kept_count * PAGE, arena + page * PAGE, PAGE);
    kept[kept_count++] = (uint32_t)page;
    is_kept[page] = true;
    return mprotect(arena + page * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0;
}

void *arena_stack(unsigned index, size_t *size_out) {
    *size_out = STACK;
    return (void *)(STACK_BASE + index * STACK);
}

static void *take(size_t size, size_t alignment) {
    used = (used + alignment - 1) & ~(alignment - 1);
    if (size > ARENA_SIZE - used) {
        fputs("explore: the arena is too small\n", stderr);
        exit(2);
    }
    void *memory = arena + used;
    used += size;
    return memory;
}

void *explore_alloc(size_t size) {
    return take(size, 64);
}

/* ---- base/mem.h ---- */

/* The size is kept in front, 16 bytes. */
void *fx_mem_alloc(size_t size) {
    uint64_t *memory = take(size + 16, 16);
    memory[0] = size;
    return memory + 2;
}

void *fx_mem_zalloc(size_t size) {
    return fx_mem_alloc(size);
}

void *fx_mem_alloc_aligned(size_t size, size_t alignment) {
    (void)take(0, alignment);
    (void)take(alignment - 16, 16);
    return fx_mem_alloc(size);
}

void *fx_mem_realloc(void *memory, size_t size) {
    void *grown = fx_mem_alloc(size);
    if (memory != NULL) {
        size_t before = (size_t)((uint64_t *)memory)[-2];
        explore_plain_read(memory, before < size ? before : size);
        explore_plain_write(grown, before < size ? before : size);
        memcpy(grown, memory, before < size ? before : size);
        fx_mem_free(memory);
    }
    return grown;
}

void fx_mem_free(void *memory) {
    if (memory != NULL) {
        memory_free(memory, (size_t)((uint64_t *)memory)[-2]);
    }
}

size_t fx_mem_usable(size_t size) {
    return size;
}

void *fx_mem_map(size_t size, size_t alignment) {
    return take(size, alignment);
}

void *fx_mem_remap(void *memory, size_t old_size, size_t new_size) {
    void *moved = fx_mem_map(new_size, 4096);
    if (memory != NULL) {
        size_t kept = old_size < new_size ? old_size : new_size;
        explore_plain_read(memory, kept);
        explore_plain_write(moved, kept);
        memcpy(moved, memory, kept);
        fx_mem_unmap(memory, old_size);
    }
    return moved;
}
void fx_mem_unmap(void *memory, size_t size) {
    memory_free(memory, size);
}

void fx_mem_discard(void *memory, size_t size) {
    memory_discard(memory, size);
}

void fx_mem_huge(void *memory, size_t size, bool huge) {
    (void)memory;
    (void)size;
    (void)huge;
}
