/* devs: real devices for tests. Main thread, except fx_devs_do. */
#ifndef FX_SUPPORT_DEVS_H
#define FX_SUPPORT_DEVS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/dev.h"

/* fx_dev_file_open, in one line. */
feox_status fx_devs_open(const char *path, int backend, bool create, bool read_only,
                         fx_dev **dev_out);
/* Opens or makes the file for writing; fails the test if that cannot be done, and skips it, with
 * the reason, if the backend is FEOX_IO_URING and the system has none. */
fx_dev *fx_devs_new(const char *path, int backend);
/* Zeroed, aligned blocks; release with free(). */
void *fx_devs_blocks(size_t count);
/* Submits one operation to an idle queue, reaps it and returns its result. */
int fx_devs_do(fx_dev_queue *queue, fx_dev_kind kind, uint64_t offset, void *buffer, size_t size);

#endif
