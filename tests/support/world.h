/* world: an engine with its file in memory, and a clock that goes by one at each look: what the
 * tests of the file side open, write to, sync and lose. They embed it. One thread. Whatever cannot
 * go wrong fails the test.
 */
#ifndef FX_TESTS_WORLD_H
#define FX_TESTS_WORLD_H

#include "disk/dev.h"
#include "engine/commit.h"
#include "engine/flusher.h"

typedef struct world {
    /* The test's. */
    fx_dev *door;
    uint64_t now;
    uint64_t memory_limit;
    uint32_t shard_count;
    bool ordered;
    fx_flusher_options file;
    uint64_t (*clock)(void *context); /* NULL: the one that goes by one; of `clock_context` else */
    void *clock_context;
    /* The world's. */
    fx_engine engine;
} world;

feox_status world_open(world *w, bool read_only);
/* Whatever state it is in, also after a failed open. */
feox_status world_close(world *w);

/* One attempt to write, as store/write.c makes it. change->value NULL: delete. FEOX_NOT_FOUND: the
 * key to delete is not there. FEOX_END: world_relieve, and again. FEOX_ERR_BUSY: sync the group,
 * and again. */
feox_status world_try(world *w, const fx_change *change, fx_committed *committed);
feox_status world_relieve(world *w, const fx_change *change);
/* Until it is done. */
feox_status world_write(world *w, const fx_change *change, fx_committed *committed);
feox_status world_sync(world *w);
feox_status world_checkpoint(world *w, bool compact);
/* Damaged records and groups that were met so far. */
uint64_t world_damage(world *w);
/* Every structure in memory and every live byte of the file is sound. */
void world_expect_sound(world *w);

#endif
