/* reader: why this way. A record says in memory how long it is on disk, so one read is enough, and
 * nothing that a stale place says about lengths is believed.
 *
 * Overlapped reads only ever save time. They take no part in what a failure means: the queue
 * refuses reads once a flush has failed, and plain reads go on; there may be no queue, no memory,
 * another caller; a record may have moved. Whatever does not arrive whole is left, and asked for
 * alone.
 *
 * Invariants:
 *   R1 places are pinned (`readers`) from before a read is submitted until it is reaped: what lies
 *      there is not overwritten meanwhile. That it is what was asked for, only its sum, key and
 *      version say: it may have moved before.
 *   R2 who took the queue reaps all that it submitted before it gives the queue back.
 */
#include "engine/reader.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "disk/format.h"
#include "engine/volume.h"

/* Bytes under way at once: enough for 32 values of some kilobytes, and for any one. Pages that no
 * read has filled take no memory. */
#define READER_SIZE ((size_t)512 << 10)

_Static_assert(READER_SIZE >= FX_LARGE_VALUE_MIN + FEOX_KEY_SIZE_MAX + 2u * FX_BLOCK_SIZE,
               "any record fits");

/* Where a record lies: `size` bytes in whole blocks from `start` on, of which it begins behind
 * `lead`. */
typedef struct place {
    uint64_t position;
    uint64_t start;
    size_t lead;
    size_t size;
} place;

/* False: no record can be there. */
static bool place_of(const fx_wanted *wanted, place *place_out) {
    const fx_record_view *found = &wanted->found;
    if (!fx_location_clean(found->location) || found->location > UINT64_MAX / FX_RECORD_ALIGN) {
        return false;
    }
    bool large = found->value_len >= FX_LARGE_VALUE_MIN;
    uint64_t position = found->location * FX_RECORD_ALIGN;
    uint64_t start = position / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    size_t lead = (size_t)(position - start);
    size_t record = fx_format_record_size(large ? FX_ENTRY_LARGE : FX_ENTRY_PUT, wanted->key_len,
                                          (size_t)found->value_len, found->expiry_ns != 0);
    *place_out = (place){.position = position,
                         .start = start,
                         .lead = lead,
                         .size = (size_t)fx_round_up(lead + record, FX_BLOCK_SIZE)};
    return true;
}

/* Takes the bytes that were read apart; the entry points into them. */
static feox_status decode(const fx_flusher *flusher, const fx_wanted *wanted, const place *at,
                          const uint8_t *bytes, fx_entry *entry) {
    size_t record_size = 0;
    if (!fx_format_record_verify(bytes + at->lead, at->size - at->lead, &flusher->id, at->position,
                                 entry, &record_size)) {
        return FEOX_ERR_CORRUPT;
    }
    if (entry->version != wanted->found.version || entry->kind == FX_ENTRY_TOMBSTONE ||
        entry->key_len != wanted->key_len ||
        memcmp(entry->key, wanted->key, wanted->key_len) != 0) {
        return FEOX_MISMATCH;
    }
    return FEOX_OK;
}

/* ---- One ---- */

static feox_status read_record(fx_flusher *flusher, const fx_wanted *wanted, const place *at,
                               uint8_t *buffer, fx_block **block_out) {
    fx_entry entry;
    int error = fx_volume_read(flusher, at->start, buffer, at->size);
    if (error != 0) {
        return error == -ERANGE ? FEOX_MISMATCH
                                : fx_error_set(FEOX_ERR_IO, -error, "reading at byte %llu",
                                               (unsigned long long)at->start);
    }
    feox_status status = decode(flusher, wanted, at, buffer, &entry);
    if (status == FEOX_OK && entry.kind == FX_ENTRY_LARGE) {
        status = fx_volume_read_large(flusher, &entry, block_out);
    } else if (status == FEOX_OK) {
        *block_out = fx_block_create(&flusher->engine->blocks, entry.value, entry.value_len);
        status = *block_out != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
    }
    return status;
}

feox_status fx_reader_read(fx_flusher *flusher, const fx_wanted *wanted, fx_block **block_out) {
    place at;
    *block_out = NULL;
    if (!place_of(wanted, &at)) {
        return FEOX_MISMATCH;
    }
    uint8_t *buffer = fx_mem_alloc_aligned(at.size, FX_BLOCK_SIZE);
    if (buffer == NULL) {
        return FEOX_ERR_MEMORY;
    }
    fx_pin pin = fx_epoch_pin(&flusher->readers);
    feox_status status = read_record(flusher, wanted, &at, buffer, block_out);
    fx_epoch_unpin(pin);
    fx_mem_free(buffer);
    return status;
}

/* ---- Many ---- */

/* One of the reads under way. */
typedef struct flight {
    fx_dev_op op;
    fx_wanted *wanted;
    place at;
} flight;

static bool take(fx_flusher *flusher) {
    fx_reader *reader = &flusher->reader;
    if (!fx_spinlock_try(&reader->taken)) {
        return false;
    }
    if (reader->buffer == NULL) {
        reader->buffer = fx_mem_map(READER_SIZE, FX_BLOCK_SIZE);
    }
    if (reader->buffer != NULL && reader->queue == NULL &&
        fx_dev_queue_open(flusher->dev, &reader->queue) != 0) {
        reader->queue = NULL;
    }
    if (reader->queue == NULL) {
        fx_spinlock_unlock(&reader->taken);
        return false;
    }
    return true;
}

/* Fills `flights` from *next on, as far as the buffer goes, and submits them. */
static size_t submit(fx_flusher *flusher, fx_wanted *wanted, size_t count, size_t *next,
                     flight *flights) {
    uint64_t end = fx_dev_size(flusher->dev) / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    size_t under_way = 0;
    size_t used = 0;
    for (; *next < count; ++*next) {
        flight *f = &flights[under_way];
        f->wanted = &wanted[*next];
        if (f->wanted->found.value_len >= FX_LARGE_VALUE_MIN || !place_of(f->wanted, &f->at) ||
            f->at.start > end || f->at.size > end - f->at.start) {
            continue;
        }
        if (f->at.size > READER_SIZE - used) {
            break;
        }
        f->op = (fx_dev_op){.kind = FX_DEV_READ,
                            .offset = f->at.start,
                            .size = f->at.size,
                            .buffer = flusher->reader.buffer + used};
        used += f->at.size;
        under_way++;
        fx_volume_count_read(flusher, f->at.size);
        fx_dev_submit(flusher->reader.queue, &f->op);
    }
    return under_way;
}

static void read_some(fx_flusher *flusher, fx_wanted *wanted, size_t count, size_t *next) {
    flight flights[FX_READS_MAX];
    fx_pin pin = fx_epoch_pin(&flusher->readers);
    size_t under_way = submit(flusher, wanted, count, next, flights);
    for (size_t i = 0; i < under_way; i++) {
        (void)fx_dev_reap(flusher->reader.queue);
    }
    fx_epoch_unpin(pin);
    for (size_t i = 0; i < under_way; i++) {
        const flight *f = &flights[i];
        fx_entry entry;
        if (f->op.result == 0 &&
            decode(flusher, f->wanted, &f->at, f->op.buffer, &entry) == FEOX_OK &&
            entry.kind == FX_ENTRY_PUT) {
            f->wanted->found.block =
                fx_block_create(&flusher->engine->blocks, entry.value, entry.value_len);
        }
    }
}

void fx_reader_read_many(fx_flusher *flusher, fx_wanted *wanted, size_t count) {
    if (count < 2 || !take(flusher)) {
        return;
    }
    for (size_t next = 0; next < count;) {
        read_some(flusher, wanted, count, &next);
    }
    fx_spinlock_unlock(&flusher->reader.taken);
}

void fx_reader_deinit(fx_reader *reader) {
    if (reader->queue != NULL) {
        fx_dev_queue_close(reader->queue);
    }
    fx_mem_unmap(reader->buffer, READER_SIZE);
}
