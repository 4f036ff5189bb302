#include "support/forge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/check_disk.h"
#include "engine/commit.h"
#include "engine/compactor.h"
#include "engine/fetch.h"

static uint64_t tick(void *context) {
    return ++((forge_store *)context)->now;
}

static void hear(void *context, const feox_finding *finding) {
    forge_store *s = context;
    size_t used = strlen(s->heard);
    (void)snprintf(s->heard + used, sizeof s->heard - used, "%s\n", finding->text);
}

static feox_status open_with(forge_store *s, forge_mode mode, const fx_flusher_options *file) {
    const fx_engine_options options = {.persistent = true,
                                       .read_only = mode != FORGE_WRITE,
                                       .value_size_limit = FX_VALUE_SIZE_DEFAULT,
                                       .clock = tick,
                                       .clock_context = s,
                                       .shard_count = 2};
    memset(&s->engine, 0, sizeof s->engine);
    s->now = 1000;
    s->heard[0] = '\0';
    s->sink = (fx_check_sink){.found = hear, .context = s};
    assert_int_equal(fx_engine_init(&s->engine, &options), FEOX_OK);
    fx_mem_fail_after(s->fail_next, !s->fail_once);
    feox_status status =
        fx_flusher_open(&s->engine, mem_dev_door(s->dev), file, &s->engine.flusher);
    fx_mem_fail_after(0, false);
    return status == FEOX_OK ? fx_commit_recovery_done(&s->engine) : status;
}

void forge_create(forge_store *s, uint64_t ring_blocks) {
    const fx_flusher_options file = {.ring_blocks = ring_blocks, .file_size_initial = 256u << 10};
    *s = (forge_store){.dev = mem_dev_create(5)};
    assert_int_equal(open_with(s, FORGE_WRITE, &file), FEOX_OK);
}

feox_status forge_open(forge_store *s, forge_mode mode) {
    const fx_flusher_options file = {
        .read_only = mode != FORGE_WRITE, .rescue = mode == FORGE_RESCUE, .sink = &s->sink};
    return open_with(s, mode, &file);
}

feox_status forge_close(forge_store *s) {
    feox_status status = FEOX_OK;
    if (s->engine.flusher != NULL) {
        status = fx_flusher_close(s->engine.flusher, ++s->now);
    }
    fx_engine_deinit(&s->engine);
    memset(&s->engine, 0, sizeof s->engine);
    return status;
}

static void key_bytes(uint32_t key, char *out) {
    (void)snprintf(out, FORGE_KEY_LEN + 1, "k%04u", key % 10000);
}

static void value_bytes(uint32_t key, uint8_t *out, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(key * 31 + i * 7 + (i >> 8));
    }
}

static feox_status put_one(forge_store *s, uint32_t key, uint32_t size) {
    char name[FORGE_KEY_LEN + 1];
    fx_committed committed;
    uint8_t *value = malloc(size);
    fx_change change = {
        .key = (const uint8_t *)name, .key_len = FORGE_KEY_LEN, .value = value, .value_len = size};
    key_bytes(key, name);
    value_bytes(key, value, size);
    change.block =
        size > FX_INLINE_VALUE_MAX ? fx_block_create(&s->engine.blocks, value, size) : NULL;
    change.hash = fx_engine_hash(&s->engine, name, FORGE_KEY_LEN);
    fx_shard *shard = fx_engine_shard(&s->engine, change.hash);
    feox_status status;
    do {
        fx_spinlock_lock(&shard->lock);
        fx_record *old = fx_commit_any_locked(shard, change.hash, change.key, change.key_len);
        status = fx_commit_put_locked(shard, old, &change, ++s->now, &committed);
        fx_spinlock_unlock(&shard->lock);
        if (status == FEOX_END) {
            status = fx_commit_relieve(shard, change.key_len, size, false);
            status = status == FEOX_OK ? FEOX_END : status;
        }
    } while (status == FEOX_END);
    if (status != FEOX_OK) {
        fx_block_release(change.block);
    }
    free(value);
    return status;
}

feox_status forge_put(forge_store *s, uint32_t from, uint32_t to, uint32_t size) {
    for (uint32_t key = from; key < to; key++) {
        feox_status status = put_one(s, key, size);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return fx_flusher_sync(s->engine.flusher, fx_flusher_open_group(s->engine.flusher), ++s->now);
}

void forge_checkpoint(forge_store *s) {
    fx_flusher_enter(s->engine.flusher);
    assert_int_equal(fx_compactor_checkpoint(s->engine.flusher, true), FEOX_OK);
    fx_flusher_leave(s->engine.flusher);
}

feox_status forge_get(forge_store *s, uint32_t key) {
    static uint8_t buffer[FX_INLINE_VALUE_MAX + 1];
    char name[FORGE_KEY_LEN + 1];
    fx_fetched got;
    key_bytes(key, name);
    uint64_t hash = fx_engine_hash(&s->engine, name, FORGE_KEY_LEN);
    feox_status status = fx_fetch(&s->engine, hash, (const uint8_t *)name, FORGE_KEY_LEN, buffer,
                                  sizeof buffer, &got);
    if (status == FEOX_OK) {
        uint8_t *value = malloc(got.value_len + 1);
        value_bytes(key, value, (uint32_t)got.value_len);
        assert_memory_equal(value, got.block != NULL ? got.block->data : buffer, got.value_len);
        fx_block_release(got.block);
        free(value);
    }
    return status;
}

unsigned forge_count(forge_store *s, uint32_t from, uint32_t to) {
    unsigned count = 0;
    for (uint32_t key = from; key < to; key++) {
        count += forge_get(s, key) == FEOX_OK;
    }
    return count;
}

unsigned forge_problems(forge_store *s) {
    fx_check_sink sink = {.found = NULL};
    assert_int_equal(fx_check_memory(&s->engine, &sink), FEOX_OK);
    assert_int_equal(fx_check_disk(s->engine.flusher, false, &sink), FEOX_OK);
    return (unsigned)sink.report.problems;
}

hostile *forge_end(forge_store *s) {
    hostile *h = calloc(1, sizeof *h);
    h->size = mem_dev_size(s->dev);
    h->bytes = malloc(h->size);
    memcpy(h->bytes, mem_dev_bytes(s->dev), h->size);
    (void)forge_close(s);
    mem_dev_destroy(s->dev);
    unsigned damaged = 0;
    assert_int_equal(fx_superblock_decode(h->bytes, &h->root, &damaged), FEOX_OK);
    size_t least = (size_t)(h->root.journal.block + h->root.journal.count) * FX_BLOCK_SIZE;
    while (h->size > least && h->bytes[h->size - 1] == 0) {
        h->size--;
    }
    h->size = (size_t)fx_round_up(h->size, FX_BLOCK_SIZE);
    assert_int_equal(forge_open_bytes(s, h->bytes, h->size, FORGE_READ), FEOX_OK);
    assert_string_equal(s->heard, "");
    const fx_flusher *flusher = s->engine.flusher;
    h->root = flusher->root;
    for (size_t i = 0; i < flusher->segments.count; i++) {
        assert_true(h->segment_count < 64);
        h->segments[h->segment_count] = flusher->segments.items[i]->position;
        h->segment_lengths[h->segment_count++] = flusher->segments.items[i]->byte_length;
    }
    forge_drop(s);
    return h;
}

feox_status forge_open_bytes(forge_store *s, uint8_t *bytes, size_t size, forge_mode mode) {
    s->dev = mode == FORGE_WRITE ? mem_dev_create_from(bytes, size, 1) : mem_dev_over(bytes, size);
    return forge_open(s, mode);
}

void forge_drop(forge_store *s) {
    (void)forge_close(s);
    mem_dev_destroy(s->dev);
    s->dev = NULL;
}

uint8_t *forge_entry(const hostile *h, uint8_t *bytes, unsigned i) {
    fx_journal journal;
    fx_journal_entry entry;
    uint64_t cursor = 0;
    fx_journal_init(&journal, h->root.journal, h->root.journal_head);
    const uint8_t *ring = h->bytes + h->root.journal.block * FX_BLOCK_SIZE;
    while (fx_journal_scan(ring, &journal, &h->root.id, h->root.epoch, &cursor, &entry)) {
        if (i-- == 0) {
            return bytes + entry.position;
        }
    }
    return NULL;
}

uint8_t *forge_record(const hostile *h, uint8_t *bytes, uint32_t key, size_t *size_out) {
    char name[FORGE_KEY_LEN + 1];
    uint8_t *found = NULL;
    uint64_t version = 0;
    key_bytes(key, name);
    for (size_t i = 0; i < h->segment_count; i++) {
        fx_segment_walk walk;
        fx_walked record;
        const uint8_t *image = h->bytes + h->segments[i];
        fx_segment_walk_init(&walk, &h->root.id, image, h->segments[i], fx_get_u64(image + 32),
                             h->segment_lengths[i]);
        while (fx_segment_walk_all(&walk, &record) == FX_WALK_RECORD) {
            if (record.entry.version >= version &&
                memcmp(record.entry.key, name, FORGE_KEY_LEN) == 0) {
                version = record.entry.version;
                found = bytes + h->segments[i] + record.offset;
                if (size_out != NULL) {
                    *size_out = record.size;
                }
            }
        }
    }
    assert_non_null(found);
    return found;
}

uint8_t *forge_copy(const hostile *h) {
    uint8_t *bytes = malloc(h->size);
    memcpy(bytes, h->bytes, h->size);
    return bytes;
}
