/* Bounds of memory. */
#include "store/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store/work.h"

#define LINE 64u
#define AHEAD 12u
#define HUGE_PAGE ((size_t)2 << 20)

static void *map_huge(size_t *size) {
    *size = (*size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *memory = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fail("memory", "cannot be mapped");
    }
    (void)madvise(memory, *size, MADV_HUGEPAGE);
    memset(memory, 1, *size);
    return memory;
}

/* A random order of the numbers below `count`. */
static uint32_t *shuffled(size_t count) {
    uint32_t *order = malloc(count * sizeof *order);
    uint64_t seed = 1;
    for (size_t i = 0; i < count; i++) {
        size_t other = work_random(&seed) % (i + 1);
        order[i] = order[other];
        order[other] = (uint32_t)i;
    }
    return order;
}

double memory_chase_ns(size_t size) {
    uint8_t *memory = map_huge(&size);
    size_t count = size / LINE;
    uint32_t *order = shuffled(count);
    for (size_t i = 0; i < count; i++) {
        memcpy(memory + (size_t)order[i] * LINE, &order[(i + 1) % count], sizeof *order);
    }
    uint32_t at = order[0];
    double start = now_seconds();
    for (size_t i = 0; i < count; i++) {
        memcpy(&at, memory + (size_t)at * LINE, sizeof at);
    }
    double took = now_seconds() - start;
    if (at != order[0]) {
        fail("memory", "the chase went astray");
    }
    free(order);
    (void)munmap(memory, size);
    return took * 1e9 / (double)count;
}

double memory_copy_ns(size_t count, size_t size) {
    size_t all = count * size;
    uint8_t *memory = map_huge(&all);
    uint32_t *order = shuffled(count);
    uint8_t window[64 << 10];
    size_t at = 0;
    unsigned sum = 0;
    double start = now_seconds();
    for (size_t i = 0; i < count; i++) {
        const uint8_t *ahead = memory + order[i + AHEAD < count ? i + AHEAD : i] * size;
        for (size_t line = 0; line < size; line += LINE) {
            __builtin_prefetch(ahead + line);
        }
        at = at + size <= sizeof window ? at : 0;
        memcpy(window + at, memory + order[i] * size, size);
        sum += window[at];
        at += size;
    }
    double took = now_seconds() - start;
    if (sum != (unsigned)count) {
        fail("memory", "copies are wrong");
    }
    free(order);
    (void)munmap(memory, all);
    return took * 1e9 / (double)count;
}
