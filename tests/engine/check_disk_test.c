/* check_disk: what the check says of each fault that is planted into a sound file, or into what is
 * known of it, and taken back: live records and what refers to them, who owns which blocks, and
 * everything on the device that cannot be read. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/check_disk.h"
#include "engine/compactor.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

#define KEYS 60u
#define LARGE 80000u

typedef struct world {
    stage s;
    mem_dev *dev;
    fx_flusher *flusher;
    feox_check_report report;
    char heard[4096];
} world;

static void hear(void *context, const feox_finding *finding) {
    world *w = context;
    size_t used = strlen(w->heard);
    (void)snprintf(w->heard + used, sizeof w->heard - used, "%s\n", finding->text);
}

static feox_status run_check(world *w, bool quick) {
    fx_check_sink sink = {.found = hear, .context = w};
    feox_check_report_init(&sink.report);
    w->heard[0] = '\0';
    feox_status status = fx_check_disk(w->flusher, quick, &sink);
    w->report = sink.report;
    return status;
}

static void expect_clean(world *w) {
    assert_int_equal(run_check(w, false), FEOX_OK);
    assert_string_equal(w->heard, "");
    assert_int_equal(w->report.problems, 0);
}

/* The check is made, and says so among other things. */
static void expect(world *w, const char *text) {
    assert_int_equal(run_check(w, false), FEOX_OK);
    if (strstr(w->heard, text) == NULL) {
        fail_msg("wanted: %s\nheard: %s", text, w->heard);
    }
    assert_true(w->report.problems > 0);
}

static void expect_not(const world *w, const char *text) {
    if (strstr(w->heard, text) != NULL) {
        fail_msg("not wanted: %s\nheard: %s", text, w->heard);
    }
}

static size_t key_of(unsigned i, char *key) {
    return (size_t)snprintf(key, 16, "key %u", i);
}

static feox_status put(world *w, unsigned i, size_t size) {
    char key[16];
    (void)key_of(i, key);
    return stage_put(&w->s, key, (uint8_t)i, size);
}

static fx_record *record_of(world *w, unsigned i) {
    char key[16];
    (void)key_of(i, key);
    return stage_record(&w->s, key);
}

/* A table, segments, a large value, groups in the ring, dead records. */
static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(1);
    w->s.door = mem_dev_door(w->dev);
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->flusher = w->s.engine.flusher;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            assert_int_equal(put(w, i, i == 0 ? LARGE : 300 + round), FEOX_OK);
        }
        assert_int_equal(stage_sync(&w->s), FEOX_OK);
        assert_int_equal(stage_checkpoint(&w->s, true), FEOX_OK);
    }
    assert_int_equal(put(w, KEYS, 100), FEOX_OK);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    expect_clean(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    expect_clean(w);
    int result = stage_close(&w->s) == FEOX_OK ? 0 : -1;
    mem_dev_destroy(w->dev);
    free(w);
    return result;
}

/* ---- Who is live ---- */

static void live_records(void **state) {
    world *w = *state;
    uint64_t location = fx_record_location(record_of(w, 5));
    uint64_t other = fx_record_location(record_of(w, 6));
    assert_true(fx_segments_set_dead(&w->flusher->segments, location));
    expect(w, "has its record at byte");
    expect(w, "records are live on disk, and");
    assert_true(fx_segments_set_live(&w->flusher->segments, location));
    w->flusher->segments.live_records++;
    expect(w, "segment table: ");
    w->flusher->segments.live_records--;
    fx_record_set_location(record_of(w, 5), 0);
    expect(w, "records are live on disk, and");
    fx_record_set_location(record_of(w, 5), location);
    /* One that is replaced dies with the group, and is live until then: here it is not. */
    w->flusher->read_only = true; /* so that no group comes in between */
    assert_int_equal(put(w, 5, 200), FEOX_OK);
    expect_clean(w);
    assert_true(fx_segments_set_dead(&w->flusher->segments, location));
    expect(w, "is to die and is not live");
    assert_true(fx_segments_set_live(&w->flusher->segments, location));
    /* The same for what waits outside the write buffers. */
    uint64_t *kept = w->flusher->dead_next;
    uint64_t one = 1;
    w->flusher->dead_next = &one;
    w->flusher->dead_count = 1;
    expect(w, "byte 8 is to die and is not live");
    w->flusher->dead_next = kept;
    w->flusher->dead_count = 0;
    w->flusher->read_only = false;
    expect_clean(w);
    /* A record that is live and not its key's any more. */
    assert_int_equal(put(w, 6, 200), FEOX_OK);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    assert_true(fx_segments_set_live(&w->flusher->segments, other));
    expect(w, "is not its key's");
    assert_true(fx_segments_set_dead(&w->flusher->segments, other));
}

/* A tombstone is no record that could live. */
static void live_tombstone(void **state) {
    world *w = *state;
    assert_int_equal(put(w, 7, 0), FEOX_OK);
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
    uint64_t location = 0;
    for (size_t i = 0; i < w->flusher->segments.count && location == 0; i++) {
        const fx_disk_segment *segment = w->flusher->segments.items[i];
        fx_segment_walk walk;
        fx_walked record;
        fx_segment_walk_init(&walk, &w->flusher->id, mem_dev_bytes(w->dev) + segment->position,
                             segment->position, segment->group, segment->byte_length);
        while (fx_segment_walk_all(&walk, &record) == FX_WALK_RECORD) {
            if (record.entry.kind == FX_ENTRY_TOMBSTONE) {
                location = record.location;
            }
        }
    }
    assert_true(location != 0);
    assert_true(fx_segments_set_live(&w->flusher->segments, location));
    expect(w, "is not its key's");
    assert_true(fx_segments_set_dead(&w->flusher->segments, location));
}

static void write_buffers(void **state) {
    world *w = *state;
    assert_int_equal(put(w, 8, 200), FEOX_OK);
    fx_record *record = record_of(w, 8);
    fx_shard *shard = &w->s.engine.shards[0];
    shard = shard->wbuf.halves[0].count + shard->wbuf.halves[1].count > 0 ? shard : shard + 1;
    fx_wbuf_half *half = &shard->wbuf.halves[shard->wbuf.halves[0].count > 0 ? 0 : 1];
    w->flusher->read_only = true;
    half->used += 8;
    half->large_bytes += 8;
    expect(w, "the sums of a write buffer are wrong");
    half->large_bytes -= 8;
    half->used -= 8;
    uint64_t location = fx_record_location(record);
    fx_record_set_location(record, location + 8);
    expect(w, "a record does not point at its entry");
    fx_record_set_location(record, location);
    w->flusher->read_only = false;
}

/* ---- Whose the blocks are ---- */

static void owners(void **state) {
    world *w = *state;
    fx_space *space = &w->flusher->space;
    fx_extent run;
    const fx_extent spare[2] = {space->spare[0], space->spare[1]};
    assert_true(fx_extents_next(&space->extents, 0, &run));
    space->extents.free_blocks++;
    expect(w, "free space: ");
    space->extents.free_blocks--;
    space->spare[0] = space->spare[1] = (fx_extent){.block = run.block, .count = 1};
    expect(w, "has an owner and is free");
    expect(w, "has two owners");
    expect(w, "blocks are owned and");
    space->spare[0] = space->spare[1] = (fx_extent){.block = space->file_blocks, .count = 1};
    expect(w, "blocks are owned and");
    space->spare[0] = space->spare[1] = (fx_extent){0};
    assert_int_equal(run_check(w, false), FEOX_OK);
    assert_int_equal(w->report.problems > 0, spare[0].count > 0);
    space->spare[0] = spare[0];
    space->spare[1] = spare[1];
    expect_clean(w);
    /* What waits for a reader has an owner. */
    fx_pin pin = fx_epoch_pin(&w->flusher->readers);
    fx_space_batch *batch = fx_space_batch_create(space, 1);
    assert_true(batch != NULL && fx_space_take(space, 3, 0, &batch->list[0]));
    batch->count = 1;
    fx_space_settle(space);
    fx_space_retire(space, batch);
    fx_space_reclaim(space, false);
    assert_non_null(space->waiting);
    expect_clean(w);
    space->waiting->list[0].count++;
    expect(w, "blocks are owned and");
    space->waiting->list[0].count--;
    fx_epoch_unpin(pin);
}

/* ---- What cannot be read ---- */

static void unreadable(void **state) {
    world *w = *state;
    const fx_superblock *root = &w->flusher->root;
    for (unsigned copy = 0; copy < FX_SUPERBLOCK_COPIES; copy++) {
        mem_dev_fail_reads(w->dev, copy * FX_BLOCK_SIZE, FX_BLOCK_SIZE);
        expect(w, "a superblock is damaged");
        assert_int_equal(w->report.blocks_damaged, 1);
    }
    mem_dev_fail_reads(w->dev, root->mirror * FX_BLOCK_SIZE, 1);
    expect(w, "a copy of the checkpoint is damaged");
    assert_int_equal(w->report.blocks_damaged, root->checkpoint.count);
    mem_dev_fail_reads(w->dev, root->journal.block * FX_BLOCK_SIZE,
                       root->journal.count * FX_BLOCK_SIZE);
    expect(w, "the journal ends with group");
    w->flusher->read_only = true; /* then others may have written more */
    assert_int_equal(run_check(w, false), FEOX_OK);
    expect_not(w, "the journal ends with group");
    w->flusher->read_only = false;
    const fx_disk_segment *segment =
        fx_segments_find(&w->flusher->segments, fx_record_location(record_of(w, 5)) * 8);
    mem_dev_fail_reads(w->dev, segment->position, 1);
    expect(w, "a segment cannot be read");
    assert_int_equal(w->report.records_damaged, segment->live_count);
    assert_int_equal(run_check(w, true), FEOX_OK);
    assert_int_equal(w->report.records_damaged, segment->live_count);
    const fx_disk_segment *owner =
        fx_segments_find(&w->flusher->segments, fx_record_location(record_of(w, 0)) * 8);
    assert_int_equal(owner->large_count, 1);
    mem_dev_fail_reads(w->dev, owner->larges[0].block * FX_BLOCK_SIZE, 1);
    expect(w, "the large value is damaged");
    mem_dev_fail_reads(w->dev, 0, 0);
}

/* The superblocks on disk are of another time than what is known. */
static void other_superblocks(void **state) {
    world *w = *state;
    fx_superblock kept = w->flusher->root;
    w->flusher->root.epoch++;
    expect(w, "the superblock on disk is not the current one");
    w->flusher->root = kept;
    w->flusher->root.checkpoint.block++;
    expect(w, "the superblock on disk is not the current one");
    w->flusher->root = kept;
}

/* ---- What else may fail ---- */

static void without_memory(void **state) {
    world *w = *state;
    unsigned refused = 0;
    for (uint64_t n = 1;; n++) {
        assert_int_equal(put(w, 9, 200 + n), FEOX_OK);
        fx_mem_fail_after(n, true);
        feox_status status = run_check(w, false);
        uint64_t failed = fx_mem_failed();
        fx_mem_fail_after(0, false);
        assert_true(status == FEOX_ERR_MEMORY ? failed > 0 : status == FEOX_OK);
        assert_string_equal(w->heard, "");
        refused += status != FEOX_OK;
        if (failed == 0) {
            break;
        }
    }
    assert_true(refused >= 4); /* two buffers, the list of owners, the ring */
}

/* A group that finds no space is no reason not to look; one that fails is. */
static void without_space(void **state) {
    world *w = *state;
    assert_int_equal(put(w, 9, 250), FEOX_OK);
    mem_dev_refuse_writes(w->dev, 1, 0, false);
    expect_clean(w);
    assert_true(mem_dev_refusals(w->dev) > 0);
    mem_dev_refuse_writes(w->dev, 0, 0, false);
    expect_clean(w);
}

static void failed_group(void **state) {
    world *w = *state;
    assert_int_equal(put(w, 9, 250), FEOX_OK);
    mem_dev_fail_after(w->dev, 1, EIO);
    assert_int_equal(run_check(w, false), FEOX_ERR_IO);
    assert_string_equal(w->heard, "");
    assert_int_equal(run_check(w, false), FEOX_ERR_IO);
    assert_int_equal(stage_close(&w->s), FEOX_ERR_IO);
    mem_dev_destroy(w->dev);
    free(w);
}

#define DISK_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        DISK_TEST(live_records),      DISK_TEST(live_tombstone), DISK_TEST(write_buffers),
        DISK_TEST(owners),            DISK_TEST(unreadable),     DISK_TEST(other_superblocks),
        DISK_TEST(without_memory),    DISK_TEST(without_space),
        cmocka_unit_test_setup(failed_group, setup)};
    return cmocka_run_group_tests_name("engine/check_disk", tests, NULL, NULL);
}
