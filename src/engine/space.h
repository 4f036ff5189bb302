/* space: the blocks of the file: what is free, growing, and what waits to become free. Belongs to
 * whoever leads the flusher.
 *
 * An extent goes through: free -> allocated (fx_space_allocate) -> referenced by something durable
 * -> dead, and still referenced by the current checkpoint or its journal -> no longer referenced
 * once the next checkpoint is durable (fx_space_retire) -> free when the disk reads that had begun
 * before are over (fx_space_reclaim). One that was never referenced goes back at once
 * (fx_space_undo).
 */
#ifndef FX_ENGINE_SPACE_H
#define FX_ENGINE_SPACE_H

#include "disk/dev.h"
#include "disk/extents.h"
#include "index/epoch.h"

/* Extents that became unreferenced at one checkpoint. */
typedef struct fx_space_batch {
    struct fx_space_batch *next;
    uint64_t stamp;
    size_t count;
    fx_extent list[];
} fx_space_batch;

typedef struct fx_space {
    fx_dev *dev;
    fx_epoch *readers;
    fx_extents extents;
    uint64_t file_blocks;
    uint64_t limit_blocks; /* 0: none */
    size_t outstanding;    /* extents that may come back: allocated in this flush, or waiting */
    uint64_t waiting_blocks;
    int error;               /* -errno of a growth that failed for anything but space; sticky */
    fx_space_batch *waiting; /* oldest first */
    /* For the next checkpoint's table and its copy, which must find room in one run each. Of the
     * same length; 0: there are none. */
    fx_extent spare[2];
} fx_space;

void fx_space_init(fx_space *space, fx_dev *dev, fx_epoch *readers, uint64_t file_blocks,
                   uint64_t limit_bytes);
void fx_space_deinit(fx_space *space);

/* Takes `count` blocks in one run, and leaves `keep` blocks free besides; grows the file if need
 * be. FEOX_ERR_SPACE, FEOX_ERR_MEMORY, FEOX_ERR_IO: nothing was taken. */
feox_status fx_space_allocate(fx_space *space, uint64_t count, uint64_t keep, fx_extent *out);
/* Makes the file longer by at least `missing` blocks. The same results. */
feox_status fx_space_grow(fx_space *space, uint64_t missing);
/* Takes up to count_max blocks in one run outside `avoid` (count 0: nowhere), and at least
 * count_min; if there are not so many the file grows a little, unless its end is to be avoided. */
feox_status fx_space_allocate_outside(fx_space *space, uint64_t count_min, uint64_t count_max,
                                      const fx_extent *avoid, fx_extent *out);
/* Gives back what an extent that was just taken has beyond `used` blocks. */
void fx_space_trim(fx_space *space, fx_extent *extent, uint64_t used);
/* The same as fx_space_allocate from what is free now, without growing. */
bool fx_space_take(fx_space *space, uint64_t count, uint64_t keep, fx_extent *out);
/* The extents taken since then are referenced by something durable now: they will not come back by
 * fx_space_undo. */
void fx_space_settle(fx_space *space);
/* Gives an extent back that nothing durable refers to. Cannot fail before fx_space_settle. */
void fx_space_undo(fx_space *space, fx_extent extent);
/* Room for `count` extents that wait. NULL: no memory. */
fx_space_batch *fx_space_batch_create(fx_space *space, size_t count);
void fx_space_batch_destroy(fx_space *space, fx_space_batch *batch);
/* Nothing durable refers to the extents of the batch any more; takes it over. */
void fx_space_retire(fx_space *space, fx_space_batch *batch);
/* Makes free what no reader can be looking at. `wait`: until all of it is. */
void fx_space_reclaim(fx_space *space, bool wait);
/* Sees that `spare` has at least `count` blocks; else takes a longer one, and the old one is free.
 * As fx_space_allocate. */
feox_status fx_space_keep_spare(fx_space *space, uint64_t count);
/* There are no spare extents any more; their blocks are free. */
void fx_space_drop_spare(fx_space *space);
/* Cuts the free tail off the file, down to `keep_blocks`, if that makes it shorter by more than
 * `least`. 0 or -errno. */
int fx_space_shrink(fx_space *space, uint64_t keep_blocks, uint64_t least);

#endif
