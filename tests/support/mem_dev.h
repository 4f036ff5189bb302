/* mem_dev: a device in memory that can lose its power. Behind the storage door: a write is only
 * safe once a SYNC that was submitted after it was reaped is done, or if it is a WRITE_SYNC;
 * whatever was not safe at a power cut is kept, lost or torn, sector by sector. One thread.
 * Repeatable from its seed.
 */
#ifndef FX_TESTS_MEM_DEV_H
#define FX_TESTS_MEM_DEV_H

#include "disk/dev.h"

typedef struct mem_dev mem_dev;

mem_dev *mem_dev_create(uint64_t seed);
/* With these bytes in the file, all safe. */
mem_dev *mem_dev_create_from(const void *bytes, size_t size, uint64_t seed);
/* Over the caller's bytes, which stay the caller's: every write, grow and shrink is counted and
 * fails. */
mem_dev *mem_dev_over(uint8_t *bytes, size_t size);
void mem_dev_destroy(mem_dev *dev);
fx_dev *mem_dev_door(mem_dev *dev);

/* The power fails at the n-th following write, sync, grow or shrink: it and all later ones fail and
 * may have happened in part. 0: not. */
void mem_dev_cut_after(mem_dev *dev, uint64_t n);
bool mem_dev_is_cut(const mem_dev *dev);
/* What a new owner finds after the power cut (or after a sudden end): a new device; the old one is
 * destroyed. */
mem_dev *mem_dev_crash(mem_dev *dev);
/* The n-th following write or sync fails with -error, and with it all that follow. */
void mem_dev_fail_after(mem_dev *dev, uint64_t n, int error);
/* The same, but those that follow work again: what a device behind the door never does, so that
 * whoever is above has to remember by itself. */
void mem_dev_fail_once(mem_dev *dev, uint64_t n, int error);
/* The n-th following write and the `count` - 1 after it (0: all) are refused with -ENOSPC. Each
 * ends short, with none or some of its blocks written but not all; or, scattered, any of them are,
 * even all. n 0: there is space again. */
void mem_dev_refuse_writes(mem_dev *dev, uint64_t n, uint64_t count, bool scattered);
/* How many were refused. */
uint64_t mem_dev_refusals(const mem_dev *dev);
/* Reads that touch these bytes fail with -EIO. size 0: none. */
void mem_dev_fail_reads(mem_dev *dev, uint64_t offset, uint64_t size);
/* Growing beyond so many bytes is -ENOSPC. 0: no limit. */
void mem_dev_set_capacity(mem_dev *dev, uint64_t capacity);

/* Called at every write, before it happens: what other threads might do just then. NULL: no more.
 */
void mem_dev_set_hook(mem_dev *dev, void (*hook)(void *context), void *context);

uint8_t *mem_dev_bytes(mem_dev *dev);
size_t mem_dev_size(const mem_dev *dev);
/* Writes, syncs, grows and shrinks so far. */
uint64_t mem_dev_operations(const mem_dev *dev);

#endif
