#include "support/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/check_disk.h"
#include "engine/compactor.h"

static uint64_t world_clock(void *context) {
    return ++((world *)context)->now;
}

feox_status world_open(world *w, bool read_only) {
    const fx_engine_options options = {.ordered = w->ordered,
                                       .persistent = true,
                                       .read_only = read_only,
                                       .memory_limit = w->memory_limit,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = w->clock != NULL ? w->clock : world_clock,
                                       .clock_context = w->clock != NULL ? w->clock_context : w,
                                       .shard_count = w->shard_count != 0 ? w->shard_count : 2};
    fx_flusher_options file = w->file;
    file.read_only = read_only;
    assert_int_equal(fx_engine_init(&w->engine, &options), FEOX_OK);
    feox_status status = fx_flusher_open(&w->engine, w->door, &file, &w->engine.flusher);
    if (status == FEOX_OK) {
        assert_int_equal(fx_commit_recovery_done(&w->engine), FEOX_OK);
    }
    return status;
}

feox_status world_close(world *w) {
    feox_status status = FEOX_OK;
    if (w->engine.flusher != NULL) {
        status = fx_flusher_close(w->engine.flusher, ++w->now);
    }
    fx_engine_deinit(&w->engine);
    return status;
}

feox_status world_try(world *w, const fx_change *change, fx_committed *committed) {
    fx_shard *shard = fx_engine_shard(&w->engine, change->hash);
    feox_status status = FEOX_NOT_FOUND;
    fx_spinlock_lock(&shard->lock);
    const fx_hidden *before =
        fx_commit_hidden_locked(shard, change->hash, change->key, change->key_len);
    bool builds = before != NULL && before->kept && change->kept;
    fx_record *old = fx_commit_any_locked(shard, change->hash, change->key, change->key_len);
    if (builds) {
        old = before->deletes ? NULL : before->record;
    }
    if (before != NULL && !builds) {
        committed->group = before->group;
        status = FEOX_ERR_BUSY;
    } else if (change->value != NULL) {
        status = fx_commit_put_locked(shard, old, change, ++w->now, committed);
    } else if (old != NULL && change->hidden) {
        status = fx_commit_hide_delete_locked(shard, old, change->hash, 0, change->kept, ++w->now,
                                              committed);
    } else if (old != NULL) {
        status = fx_commit_delete_locked(shard, old, change->hash, 0, false, ++w->now, committed);
    }
    fx_spinlock_unlock(&shard->lock);
    return status;
}

feox_status world_relieve(world *w, const fx_change *change) {
    return fx_commit_relieve(fx_engine_shard(&w->engine, change->hash), change->key_len,
                             change->value_len, change->value == NULL);
}

feox_status world_write(world *w, const fx_change *change, fx_committed *committed) {
    for (;;) {
        feox_status status = world_try(w, change, committed);
        if (status == FEOX_END) {
            status = world_relieve(w, change);
        } else if (status == FEOX_ERR_BUSY) {
            status = fx_flusher_sync(w->engine.flusher, committed->group, ++w->now);
        } else {
            return status;
        }
        if (status != FEOX_OK) {
            return status;
        }
    }
}

feox_status world_sync(world *w) {
    fx_flusher *flusher = w->engine.flusher;
    return fx_flusher_sync(flusher, fx_flusher_open_group(flusher), ++w->now);
}

feox_status world_checkpoint(world *w, bool compact) {
    fx_flusher_enter(w->engine.flusher);
    feox_status status = fx_compactor_checkpoint(w->engine.flusher, compact);
    fx_flusher_leave(w->engine.flusher);
    return status;
}

uint64_t world_damage(world *w) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    fx_flusher_stats(w->engine.flusher, w->now, &stats);
    return stats.corrupt_records;
}

static void print_line(void *context, const feox_finding *finding) {
    const char *text = finding->text;
    (void)context;
    print_message("check: %s\n", text);
}

void world_expect_sound(world *w) {
    fx_check_sink sink = {.found = print_line};
    feox_check_report_init(&sink.report);
    assert_int_equal(fx_check_memory(&w->engine, &sink), FEOX_OK);
    assert_int_equal(fx_check_disk(w->engine.flusher, false, &sink), FEOX_OK);
    assert_int_equal(sink.report.problems, 0);
}
