/* rescue: why this way. Without superblocks or table nothing says what is current, so everything
 * that still is a segment of the store is taken, in the order of groups, and the newest version of
 * each key wins; tombstones take part. Versions rise from group to group, and what a compaction
 * moved keeps its version and comes with the group after which it was moved: so a deleted key stays
 * deleted as long as its tombstone is there, and may come back when that was dropped and its place
 * used again. That is why only feox_salvage comes here.
 *
 * A segment is looked for where one can begin: at a block, and behind the header of a journal
 * entry. What overlaps the next one is the rest of something older. Time is linear in the file's
 * size: a pass over all blocks, and one over the segments.
 */
#include "engine/recovery.h"

#include <stdlib.h>

#include "base/mem.h"
#include "disk/journal.h"

/* Stores that a file may seem to hold; the one with the most segments is taken. */
#define CANDIDATES_MAX 16u

typedef struct candidate {
    fx_store_id id;
    uint64_t count;
} candidate;

typedef struct find {
    uint64_t position;
    uint64_t group;
    uint32_t length;
} find;

typedef struct finds {
    find *items;
    size_t count;
    size_t capacity;
} finds;

/* Calls visit for every block of the file until one call fails. */
static feox_status each_block(fx_recovery *r,
                              feox_status (*visit)(void *context, fx_recovery *r,
                                                   const uint8_t *bytes, uint64_t position),
                              void *context) {
    uint64_t end = r->file_blocks * FX_BLOCK_SIZE;
    feox_status status = FEOX_OK;
    for (uint64_t at = 0; status == FEOX_OK && at < end; at += FX_SEGMENT_SIZE_MAX) {
        size_t size = end - at < FX_SEGMENT_SIZE_MAX ? (size_t)(end - at) : FX_SEGMENT_SIZE_MAX;
        fx_recovery_read(r, at, r->buffer, size);
        for (size_t i = 0; status == FEOX_OK && i < size; i += FX_BLOCK_SIZE) {
            status = visit(context, r, r->buffer + i, at + i);
        }
    }
    return status;
}

/* ---- Whose segments ---- */

static feox_status count_id(void *context, fx_recovery *r, const uint8_t *bytes,
                            uint64_t position) {
    candidate *candidates = context;
    fx_store_id id;
    (void)r;
    if (!fx_format_segment_owner(bytes, position, &id) &&
        !fx_format_segment_owner(bytes + fx_journal_inline_offset(1),
                                 position + fx_journal_inline_offset(1), &id)) {
        return FEOX_OK;
    }
    for (unsigned i = 0; i < CANDIDATES_MAX; i++) {
        candidate *c = &candidates[i];
        if (c->count == 0) {
            c->id = id;
        }
        if (c->id.low == id.low && c->id.high == id.high) {
            c->count++;
            break;
        }
    }
    return FEOX_OK;
}

static feox_status find_id(fx_recovery *r) {
    candidate candidates[CANDIDATES_MAX] = {0};
    unsigned best = 0;
    (void)each_block(r, count_id, candidates); /* counting cannot fail */
    for (unsigned i = 1; i < CANDIDATES_MAX; i++) {
        best = candidates[i].count > candidates[best].count ? i : best;
    }
    r->flusher->id = candidates[best].id;
    return candidates[best].count == 0 ? FEOX_ERR_NOT_FEOX : FEOX_OK;
}

/* ---- Which segments ---- */

static feox_status add_find(finds *list, const find *found) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        find *grown = fx_mem_realloc(list->items, capacity * sizeof *grown);
        if (grown == NULL) {
            return FEOX_ERR_MEMORY;
        }
        list->items = grown;
        list->capacity = capacity;
    }
    /* Blocks come in rising order. */
    if (list->count > 0) {
        find *last = &list->items[list->count - 1];
        uint64_t room = found->position - last->position;
        last->length = last->length > room ? (uint32_t)room : last->length;
    }
    list->items[list->count++] = *found;
    return FEOX_OK;
}

static feox_status look_for_segment(void *context, fx_recovery *r, const uint8_t *bytes,
                                    uint64_t position) {
    fx_segment_header header;
    uint64_t end = r->file_blocks * FX_BLOCK_SIZE;
    uint32_t inlined = fx_journal_inline_offset(1);
    if (!fx_format_segment_decode(bytes, &r->flusher->id, position, &header) &&
        !fx_format_segment_decode(bytes + inlined, &r->flusher->id, position + inlined, &header)) {
        return FEOX_OK;
    }
    uint64_t left = end - header.position;
    const find found = {.position = header.position,
                        .group = header.group,
                        .length = header.byte_length < left ? header.byte_length : (uint32_t)left};
    return add_find(context, &found);
}

static int by_group(const void *a, const void *b) {
    const find *x = a;
    const find *y = b;
    int groups = (x->group > y->group) - (x->group < y->group);
    return groups != 0 ? groups : (x->position > y->position) - (x->position < y->position);
}

/* ---- What is in them ---- */

static feox_status load_find(fx_recovery *r, const find *found) {
    uint64_t start = found->position / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    uint64_t lead = found->position - start;
    fx_segment_walk walk;
    fx_walked record;
    fx_walk_result result;
    fx_recovery_read(r, start, r->buffer, (size_t)fx_round_up(lead + found->length, FX_BLOCK_SIZE));
    fx_segment_walk_init(&walk, &r->flusher->id, r->buffer + lead, found->position, found->group,
                         found->length);
    while ((result = fx_segment_walk_all(&walk, &record)) != FX_WALK_END) {
        if (result == FX_WALK_DAMAGED) {
            fx_recovery_damaged(r, "a record is damaged, or was overwritten since", NULL,
                                found->position + walk.offset, FX_RECORD_SIZE_MIN);
            continue;
        }
        feox_status status = fx_recovery_apply(r, &record, result == FX_WALK_BAD_VALUE);
        if (status != FEOX_OK) {
            return status;
        }
    }
    return fx_recovery_settle(r);
}

feox_status fx_rescue_load(fx_recovery *r) {
    const fx_flusher *flusher = r->flusher;
    finds list = {0};
    feox_status status = FEOX_OK;
    flusher->engine->rescued = true;
    if (flusher->id.low == 0 && flusher->id.high == 0) {
        status = find_id(r);
    }
    status = status == FEOX_OK ? each_block(r, look_for_segment, &list) : status;
    if (list.count > 0) {
        qsort(list.items, list.count, sizeof *list.items, by_group);
    }
    for (size_t i = 0; status == FEOX_OK && i < list.count; i++) {
        status = load_find(r, &list.items[i]);
        r->group = list.items[i].group > r->group ? list.items[i].group : r->group;
    }
    fx_mem_free(list.items);
    return status;
}
