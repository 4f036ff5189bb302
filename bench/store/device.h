/* What the device itself can do in the directory of the run: the bounds for rows with files. */
#ifndef BENCH_DEVICE_H
#define BENCH_DEVICE_H

#include <stdint.h>

/* Bytes a second: 1 MiB blocks to a new file, eight in flight, synced at the end. */
double device_write_rate(const char *directory, uint64_t bytes);
/* Median nanoseconds of one 4 KiB block made durable, one after the other, in the quicker of two
 * ways: O_DSYNC, or a write and fdatasync. The file is written in advance. */
double device_sync_ns(const char *directory, unsigned count);
/* Median nanoseconds of a random 4 KiB read, one at a time, and reads a second with `depth` in
 * flight; from the largest file of the directory, past the page cache. */
double device_read_ns(const char *directory, unsigned count);
double device_read_rate(const char *directory, unsigned depth, unsigned count);

#endif
