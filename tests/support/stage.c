#include "support/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/check_disk.h"
#include "engine/compactor.h"

static uint64_t stage_clock(void *context) {
    stage *s = context;
    return s->real_time ? fx_clock_monotonic_ns() : ++s->now;
}

feox_status stage_open(stage *s, bool read_only) {
    const fx_engine_options options = {.ordered = s->ordered,
                                       .persistent = true,
                                       .read_only = read_only,
                                       .memory_limit = s->memory_limit,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = stage_clock,
                                       .clock_context = s,
                                       .shard_count = s->shard_count != 0 ? s->shard_count : 2};
    fx_flusher_options file = s->file;
    file.read_only = read_only;
    feox_status status = fx_engine_init(&s->engine, &options);
    if (status == FEOX_OK) {
        status = fx_flusher_open(&s->engine, s->door, &file, &s->engine.flusher);
    }
    return status == FEOX_OK ? fx_commit_recovery_done(&s->engine) : status;
}

feox_status stage_close(stage *s) {
    feox_status status = FEOX_OK;
    if (s->engine.flusher != NULL) {
        status = fx_flusher_close(s->engine.flusher, ++s->now);
    }
    fx_engine_deinit(&s->engine);
    return status;
}

feox_status stage_try(stage *s, const fx_change *change, fx_committed *committed) {
    fx_shard *shard = fx_engine_shard(&s->engine, change->hash);
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
        status = fx_commit_put_locked(shard, old, change, ++s->now, committed);
    } else if (old != NULL && change->hidden) {
        status = fx_commit_hide_delete_locked(shard, old, change->hash, 0, change->kept, ++s->now,
                                              committed);
    } else if (old != NULL) {
        status = fx_commit_delete_locked(shard, old, change->hash, 0, false, ++s->now, committed);
    }
    fx_spinlock_unlock(&shard->lock);
    return status;
}

feox_status stage_relieve(stage *s, const fx_change *change) {
    return fx_commit_relieve(fx_engine_shard(&s->engine, change->hash), change->key_len,
                             change->value_len, change->value == NULL);
}

feox_status stage_write(stage *s, const fx_change *change, fx_committed *committed) {
    for (;;) {
        feox_status status = stage_try(s, change, committed);
        if (status == FEOX_END) {
            status = stage_relieve(s, change);
        } else if (status == FEOX_ERR_BUSY) {
            status = fx_flusher_sync(s->engine.flusher, committed->group, ++s->now);
        } else {
            return status;
        }
        if (status != FEOX_OK) {
            return status;
        }
    }
}

feox_status stage_put(stage *s, const char *key, uint8_t byte, size_t size) {
    static uint8_t value[STAGE_VALUE_MAX];
    fx_committed committed;
    fx_change change = {.key = (const uint8_t *)key,
                        .key_len = (uint32_t)strlen(key),
                        .value = size > 0 ? value : NULL,
                        .value_len = size};
    memset(value, byte, size);
    change.hash = fx_engine_hash(&s->engine, key, change.key_len);
    if (size > FX_INLINE_VALUE_MAX) {
        change.block = fx_block_create(&s->engine.blocks, value, size);
        assert_non_null(change.block);
    }
    feox_status status = stage_write(s, &change, &committed);
    if (status != FEOX_OK) {
        fx_block_release(change.block);
    }
    return status;
}

fx_record *stage_record(stage *s, const char *key) {
    size_t size = strlen(key);
    uint64_t hash = fx_engine_hash(&s->engine, key, size);
    fx_shard *shard = fx_engine_shard(&s->engine, hash);
    fx_spinlock_lock(&shard->lock);
    fx_record *record = fx_commit_any_locked(shard, hash, key, size);
    fx_spinlock_unlock(&shard->lock);
    return record;
}

feox_status stage_sync(stage *s) {
    fx_flusher *flusher = s->engine.flusher;
    return fx_flusher_sync(flusher, fx_flusher_open_group(flusher), ++s->now);
}

feox_status stage_checkpoint(stage *s, bool compact) {
    fx_flusher_enter(s->engine.flusher);
    feox_status status = fx_compactor_checkpoint(s->engine.flusher, compact);
    fx_flusher_leave(s->engine.flusher);
    return status;
}

uint64_t stage_damage(stage *s) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    fx_flusher_stats(s->engine.flusher, s->now, &stats);
    return stats.corrupt_records;
}

static void print_line(void *context, const feox_finding *finding) {
    const char *text = finding->text;
    (void)context;
    print_message("check: %s\n", text);
}

void stage_expect_sound(stage *s) {
    fx_check_sink sink = {.found = print_line};
    feox_check_report_init(&sink.report);
    assert_int_equal(fx_check_memory(&s->engine, &sink), FEOX_OK);
    assert_int_equal(fx_check_disk(s->engine.flusher, false, &sink), FEOX_OK);
    assert_int_equal(sink.report.problems, 0);
}
