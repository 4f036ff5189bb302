/* staging: why this way. Writing from a few fixed buffers bounds the memory of a flush whatever its
 * size, and gives the device aligned buffers whatever the records' alignment.
 */
#include "engine/staging.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/mem.h"

static bool slot_fill(fx_staging_slot *slot) {
    if (slot->buffer == NULL) {
        /* Not of the allocator: what comes and goes in this size leaves holes there. */
        slot->buffer = fx_mem_map(FX_SEGMENT_SIZE_MAX, FX_BLOCK_SIZE);
    }
    return slot->buffer != NULL;
}

feox_status fx_staging_init(fx_staging *staging, fx_dev_queue *queue) {
    memset(staging, 0, sizeof *staging);
    staging->queue = queue;
    return slot_fill(&staging->slots[0]) ? FEOX_OK : FEOX_ERR_MEMORY;
}

void fx_staging_deinit(fx_staging *staging) {
    FX_ASSERT(staging->under_way == 0);
    for (unsigned i = 0; i < FX_STAGING_SLOTS; i++) {
        fx_mem_unmap(staging->slots[i].buffer, FX_SEGMENT_SIZE_MAX);
        staging->slots[i].buffer = NULL;
    }
}

/* Ends one write. The operation is the first member of its slot. */
static void reap_one(fx_staging *staging) {
    fx_dev_op *op = fx_dev_reap(staging->queue);
    if (!FX_CHECK(op != NULL)) {
        staging->under_way = 0;
        return;
    }
    fx_staging_slot *slot = (fx_staging_slot *)(void *)op;
    slot->under_way = false;
    staging->under_way--;
    if (op->result != 0 && (staging->error == 0 || staging->error == -ENOSPC)) {
        staging->error = op->result;
    }
}

fx_staging_slot *fx_staging_acquire(fx_staging *staging) {
    for (;;) {
        for (unsigned i = 0; i < FX_STAGING_SLOTS; i++) {
            fx_staging_slot *slot = &staging->slots[i];
            if (!slot->under_way && slot_fill(slot)) {
                return slot;
            }
        }
        reap_one(staging);
    }
}

static void submit(fx_staging *staging, fx_staging_slot *slot, fx_dev_kind kind, uint64_t offset,
                   size_t size) {
    FX_ASSERT(offset % FX_BLOCK_SIZE == 0 && size % FX_BLOCK_SIZE == 0 && size > 0);
    slot->op = (fx_dev_op){.kind = kind, .offset = offset, .size = size, .buffer = slot->buffer};
    slot->under_way = true;
    staging->under_way++;
    staging->written_bytes += size;
    fx_dev_submit(staging->queue, &slot->op);
}

void fx_staging_write(fx_staging *staging, fx_staging_slot *slot, uint64_t offset, size_t size) {
    staging->unsafe = true;
    submit(staging, slot, FX_DEV_WRITE, offset, size);
}

void fx_staging_write_safely(fx_staging *staging, fx_staging_slot *slot, uint64_t offset,
                             size_t size) {
    submit(staging, slot, FX_DEV_WRITE_SYNC, offset, size);
}

void fx_staging_copy(fx_staging *staging, uint64_t offset, const uint8_t *bytes, size_t size) {
    while (size > 0 && staging->error == 0) {
        fx_staging_slot *slot = fx_staging_acquire(staging);
        size_t piece = size < FX_SEGMENT_SIZE_MAX ? size : FX_SEGMENT_SIZE_MAX;
        size_t whole = (size_t)fx_round_up(piece, FX_BLOCK_SIZE);
        memcpy(slot->buffer, bytes, piece);
        memset(slot->buffer + piece, 0, whole - piece);
        fx_staging_write(staging, slot, offset, whole);
        bytes += piece;
        offset += whole;
        size -= piece;
    }
}

int fx_staging_drain(fx_staging *staging) {
    while (staging->under_way > 0) {
        reap_one(staging);
    }
    int error = staging->error;
    staging->error = 0;
    return error;
}

int fx_staging_sync(fx_staging *staging) {
    int error = fx_staging_drain(staging);
    if (error != 0) {
        return error;
    }
    fx_dev_op op = {.kind = FX_DEV_SYNC};
    fx_dev_submit(staging->queue, &op);
    (void)fx_dev_reap(staging->queue);
    staging->unsafe = staging->unsafe && op.result != 0;
    return op.result;
}

void fx_staging_trim(fx_staging *staging) {
    for (unsigned i = 1; i < FX_STAGING_SLOTS && FX_CHECK(staging->under_way == 0); i++) {
        fx_mem_unmap(staging->slots[i].buffer, FX_SEGMENT_SIZE_MAX);
        staging->slots[i].buffer = NULL;
    }
}
