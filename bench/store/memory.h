/* What the machine's memory can do with records in random places: the bounds for rows in memory. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stddef.h>

/* Nanoseconds of one read whose address is what the read before it gave; `size` bytes in all, on
 * huge pages where the system gives them. */
double memory_chase_ns(size_t size);
/* Nanoseconds to copy out one of `count` records of `size` bytes, in random order, each asked for
 * twelve ahead: what a scan cannot do without. */
double memory_copy_ns(size_t count, size_t size);

#endif
