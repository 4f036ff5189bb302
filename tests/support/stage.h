/* stage: an engine with its file in memory, and a clock that goes by one at each look: what the
 * tests of the file side open, write to, sync and lose. They embed it. One thread. Whatever cannot
 * go wrong fails the test.
 */
#ifndef FX_TESTS_STAGE_H
#define FX_TESTS_STAGE_H

#include "disk/dev.h"
#include "engine/commit.h"
#include "engine/flusher.h"

typedef struct stage {
    /* The test's. */
    fx_dev *door;
    uint64_t now;
    uint64_t memory_limit;
    uint32_t shard_count;
    bool ordered;
    fx_flusher_options file;
    bool real_time; /* instead of that clock */
    /* The stage's. */
    fx_engine engine;
} stage;

feox_status stage_open(stage *s, bool read_only);
/* Whatever state it is in, also after a failed open. */
feox_status stage_close(stage *s);

/* One attempt to write, as store/write.c makes it. change->value NULL: delete. FEOX_NOT_FOUND: the
 * key to delete is not there. FEOX_END: stage_relieve, and again. FEOX_ERR_BUSY: sync the group,
 * and again. */
feox_status stage_try(stage *s, const fx_change *change, fx_committed *committed);
feox_status stage_relieve(stage *s, const fx_change *change);
/* Until it is done. */
feox_status stage_write(stage *s, const fx_change *change, fx_committed *committed);
/* The same for the short way: `size` bytes of one value, at most STAGE_VALUE_MAX; 0: delete. */
#define STAGE_VALUE_MAX 300000u
feox_status stage_put(stage *s, const char *key, uint8_t byte, size_t size);
/* The record that the key has; NULL: none. */
fx_record *stage_record(stage *s, const char *key);
feox_status stage_sync(stage *s);
feox_status stage_checkpoint(stage *s, bool compact);
/* Damaged records and groups that were met so far. */
uint64_t stage_damage(stage *s);
/* Every structure in memory and every live byte of the file is sound. */
void stage_expect_sound(stage *s);

#endif
