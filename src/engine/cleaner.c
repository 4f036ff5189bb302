/* cleaner: why this way. One means for everything: a checkpoint that moves what lies in a range of
 * the file, or in the emptiest segments, to free space elsewhere (compactor.h). New places are
 * durable before old ones are free, so a step needs free space for what it moves, and a crash at
 * any moment finds one or the other.
 *
 * Space is given back by cutting the file's end off. Holes are not punched: the file system would
 * answer with a fragmented file, and the store would have to ask for the blocks again, one by one,
 * at the moment when it needs them, where ENOSPC is worst.
 *
 * Bounds. Compaction in the background lives on credit (config.h): earned by what is written anyway
 * and by time, spent by all that a step writes, its table included; it may run into debt by one
 * step. Segment cleaning costs u/(1-u) bytes for each that is written, with u the share that lives
 * in the emptiest segments: it begins when a third of what is kept is not live, where u is about
 * 0.4, and then takes about 0.7. In a file that may not grow, writers do the rest, and begin while
 * there is still room for what a whole step moves (fx_volume_ahead_blocks): short steps write the
 * table as often as long ones. A step moves a 48th of the segments, and at most 16 MiB; a writer
 * waits for 32 MiB at most beyond what it needs itself. In shorter steps less space lies idle, and
 * the table is written more often: from a 32nd to a 96th it comes to the same within 2 %
 * (1,000,000 keys, 70 % live).
 *
 * A file is shortened only after it was too long for some seconds, and to a length at which it is
 * far from too long, so it does not swing.
 */
#include "engine/cleaner.h"

#include <errno.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/error.h"
#include "engine/compactor.h"
#include "engine/group.h"

#define CREDIT_MAX ((int64_t)4 * FX_COMPACT_STEP)
/* Background cleaning takes segments that are at most half live. */
#define SPARSE 512u
/* fx_cleaner_compact is content with a file that is longer than its parts by this, blocks. */
#define CLOSE_ENOUGH 32u
/* After so many steps that left no less to gain than ever, the next one will not either. */
#define FRUITLESS_MAX 3u
/* The least that a step tries to move, when there is no space for more. */
#define STEP_MIN (256u << 10)

/* ---- Credit ---- */

static void earn(fx_flusher *flusher) {
    fx_cleaner *cleaner = &flusher->cleaner;
    uint64_t other = flusher->staging.written_bytes - cleaner->own_bytes;
    uint64_t elapsed = flusher->time_ns - cleaner->counted_ns;
    /* A second fills the purse; more would only overflow. */
    elapsed = elapsed < 1000000000u ? elapsed : 1000000000u;
    uint64_t written = other - cleaner->other_bytes;
    cleaner->credit += (int64_t)(written * FX_COMPACT_SHARE_PERCENT / 100);
    cleaner->credit += (int64_t)(elapsed / 1000 * FX_COMPACT_RATE / 1000000);
    cleaner->credit = cleaner->credit < CREDIT_MAX ? cleaner->credit : CREDIT_MAX;
    cleaner->other_bytes = other;
    cleaner->counted_ns = flusher->time_ns;
}

/* Moves, and pays for it. */
static feox_status clean(fx_flusher *flusher, const fx_cleaning *what, uint64_t *moved_out) {
    uint64_t before = flusher->staging.written_bytes;
    feox_status status = fx_compactor_clean(flusher, what, moved_out);
    uint64_t spent = flusher->staging.written_bytes - before;
    flusher->cleaner.own_bytes += spent;
    flusher->cleaner.credit -= (int64_t)spent;
    return status;
}

/* ---- Sparse segments ---- */

static bool is_sparse(const fx_flusher *flusher) {
    uint64_t kept =
        flusher->segments.live_bytes +
        (flusher->segments.large_blocks - flusher->segments.dead_large_blocks) * FX_BLOCK_SIZE;
    uint64_t sparse = fx_compactor_sparse_bytes(flusher);
    return sparse > FX_FILE_GROWTH_MIN && sparse > kept / 2 &&
           fx_compactor_any_sparse(flusher, SPARSE);
}

feox_status fx_cleaner_checkpoint(fx_flusher *flusher) {
    uint64_t ignored;
    const fx_cleaning what = {.fullness_max = SPARSE, .budget = FX_COMPACT_STEP};
    earn(flusher);
    if (flusher->cleaner.credit > 0 && is_sparse(flusher)) {
        feox_status status = clean(flusher, &what, &ignored);
        if (status != FEOX_ERR_SPACE && status != FEOX_ERR_MEMORY) {
            return status;
        }
    }
    return fx_compactor_checkpoint(flusher, false);
}

/* ---- A run of free blocks ---- */

/* Where the run of `blocks` begins in which most is free already; it begins where a free run does.
 * False: none that could be. */
static bool best_window(const fx_flusher *flusher, uint64_t blocks, uint64_t end,
                        fx_extent *window) {
    const fx_extents *extents = &flusher->space.extents;
    fx_extent first = {0, 0};
    uint64_t best = 0;
    for (uint64_t at = 0; fx_extents_next(extents, at, &first); at = first.block + first.count) {
        fx_extent run = first;
        uint64_t limit = first.block + blocks;
        uint64_t free_blocks = 0;
        if (limit > end) {
            break;
        }
        while (run.block < limit) {
            uint64_t run_end = run.block + run.count;
            free_blocks += (run_end < limit ? run_end : limit) - run.block;
            if (!fx_extents_next(extents, run_end, &run)) {
                break;
            }
        }
        if (free_blocks > best) {
            best = free_blocks;
            *window = (fx_extent){first.block, blocks};
        }
    }
    return best > 0;
}

static feox_status make_run_below(fx_flusher *flusher, uint64_t blocks, uint64_t end) {
    uint64_t moved;
    fx_cleaning what = {.budget = 0};
    if (!best_window(flusher, blocks, end, &what.avoid)) {
        return FEOX_ERR_SPACE;
    }
    feox_status status = clean(flusher, &what, &moved);
    fx_space_reclaim(&flusher->space, true);
    return status;
}

feox_status fx_cleaner_make_run(fx_flusher *flusher, uint64_t blocks) {
    return flusher->space.extents.free_blocks >= blocks
               ? make_run_below(flusher, blocks, flusher->space.file_blocks)
               : FEOX_ERR_SPACE;
}

/* ---- The end of the file ---- */

static uint64_t used_blocks(const fx_flusher *flusher) {
    return flusher->space.file_blocks - flusher->space.extents.free_blocks;
}

static uint64_t tail_of(const fx_flusher *flusher) {
    return fx_extents_tail(&flusher->space.extents, flusher->space.file_blocks);
}

/* What moving all that lies behind `from` would copy. */
static uint64_t cost_behind(const fx_flusher *flusher, uint64_t from) {
    const fx_extent range = {from, FX_EXTENTS_BLOCK_MAX - from};
    uint64_t bytes = 0;
    for (size_t i = 0; i < flusher->segments.count; i++) {
        const fx_disk_segment *segment = flusher->segments.items[i];
        if (segment->damaged || !fx_segment_touches(segment, &range)) {
            continue;
        }
        bytes += fx_segment_live_bytes(segment);
        for (uint32_t j = 0; j < segment->large_count; j++) {
            const fx_segment_large *large = &segment->larges[j];
            if (large->block + large->blocks > from &&
                fx_segment_is_live(segment, large->record_offset)) {
                bytes += (uint64_t)large->blocks * FX_BLOCK_SIZE;
            }
        }
    }
    return bytes;
}

/* From where on the end can be moved for `budget` bytes; not below `goal`. */
static uint64_t affordable(const fx_flusher *flusher, uint64_t goal, uint64_t budget) {
    uint64_t low = goal;
    uint64_t high = tail_of(flusher) - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (cost_behind(flusher, middle) > budget) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return high;
}

/* Moves some of what lies between `goal` and the file's end forward; less if that does not fit
 * there. FEOX_ERR_SPACE: not even the last thing fits. */
static feox_status move_end(fx_flusher *flusher, uint64_t goal, uint64_t *moved_out) {
    feox_status status = FEOX_ERR_SPACE;
    for (uint64_t budget = FX_COMPACT_STEP; status == FEOX_ERR_SPACE; budget /= 4) {
        uint64_t from = affordable(flusher, goal, budget);
        const fx_cleaning what = {.avoid = {from, FX_EXTENTS_BLOCK_MAX - from}};
        status = clean(flusher, &what, moved_out);
        /* If not even what costs nothing fits, there is no less: a table may be the end. */
        if (from + 1 >= tail_of(flusher) || budget == 0) {
            break;
        }
    }
    return status;
}

/* The length of the last large value that ends behind `block`; 0: there is none. */
static uint64_t large_at(const fx_flusher *flusher, uint64_t block) {
    uint64_t blocks = 0;
    for (size_t i = 0; i < flusher->segments.count; i++) {
        const fx_disk_segment *segment = flusher->segments.items[i];
        for (uint32_t j = 0; j < segment->large_count; j++) {
            const fx_segment_large *large = &segment->larges[j];
            blocks = large->block + large->blocks > block ? large->blocks : blocks;
        }
    }
    return blocks;
}

/* Moves the end forward by a step, towards `goal`. FEOX_END: no further. */
static feox_status draw_in(fx_flusher *flusher, uint64_t goal, bool wait) {
    uint64_t moved = 0;
    uint64_t before = tail_of(flusher);
    if (before <= goal) {
        return FEOX_END;
    }
    feox_status status = move_end(flusher, goal, &moved);
    uint64_t blocks = status == FEOX_ERR_SPACE ? large_at(flusher, before - 1) : 0;
    if (blocks > 0 && FX_CHECK(before > blocks)) { /* no free run is long enough for it */
        status = make_run_below(flusher, blocks, before - blocks);
        status = status == FEOX_OK ? move_end(flusher, goal, &moved) : status;
    }
    fx_space_reclaim(&flusher->space, wait);
    bool done = status == FEOX_ERR_SPACE ||
                (status == FEOX_OK && tail_of(flusher) >= before && flusher->space.waiting == NULL);
    return done ? FEOX_END : status;
}

static feox_status cut(fx_flusher *flusher, uint64_t keep) {
    keep = keep > flusher->initial_blocks ? keep : flusher->initial_blocks;
    int error = fx_space_shrink(&flusher->space, keep, 0);
    fx_volume_publish(flusher);
    if (error == -ENOSPC) {
        return fx_error_set(FEOX_ERR_SPACE, ENOSPC, "the file stays as long as it is");
    }
    return error == 0 ? FEOX_OK
                      : fx_volume_fail(flusher, FEOX_ERR_IO, -error, "the file was not shortened");
}

/* The length that the file is to have; 0: it is not too long, or not for long enough. */
static uint64_t wanted_length(fx_flusher *flusher, uint64_t now_ns) {
    uint64_t used = used_blocks(flusher);
    uint64_t slack = FX_SHRINK_SLACK / FX_BLOCK_SIZE;
    uint64_t wanted = used + used / 4 + slack / 2;
    wanted = wanted > flusher->initial_blocks ? wanted : flusher->initial_blocks;
    fx_cleaner *cleaner = &flusher->cleaner;
    /* Begun is finished: down to the wanted length, not to that at which it began. */
    bool begun = cleaner->long_ns != 0 &&
                 now_ns - cleaner->long_ns >= (uint64_t)FX_SHRINK_PATIENCE_MS * 1000000u;
    if (flusher->space.file_blocks <= (begun ? wanted + slack / 2 : 2 * used + slack) ||
        wanted >= flusher->space.file_blocks) {
        cleaner->long_ns = 0;
        return 0;
    }
    if (cleaner->long_ns == 0) {
        cleaner->long_ns = now_ns;
    }
    return begun ? wanted : 0;
}

static void shorten(fx_flusher *flusher, uint64_t wanted) {
    if (tail_of(flusher) > wanted && draw_in(flusher, wanted, false) != FEOX_OK) {
        flusher->cleaner.long_ns = 0; /* no use to try again at once */
    }
    bool ends = tail_of(flusher) <= wanted || flusher->cleaner.long_ns == 0;
    if (ends && fx_flusher_status(flusher) == FEOX_OK) {
        (void)cut(flusher, wanted);
    }
}

void fx_cleaner_step(fx_flusher *flusher, uint64_t now_ns) {
    flusher->time_ns = now_ns > flusher->time_ns ? now_ns : flusher->time_ns;
    earn(flusher);
    bool rich = flusher->cleaner.credit > 0;
    if (fx_compactor_due(flusher) || (rich && is_sparse(flusher))) {
        (void)fx_cleaner_checkpoint(flusher);
        return;
    }
    uint64_t wanted = wanted_length(flusher, now_ns);
    if (rich && wanted != 0) {
        shorten(flusher, wanted);
    }
}

/* ---- On demand ---- */

/* One step under the ownership. Who waits for it goes first, and so does what nobody waits for but
 * is to be written. */
static feox_status begin_step(fx_flusher *flusher) {
    fx_flusher_enter_last(flusher);
    return fx_group_flush(flusher, flusher->time_ns);
}

static void end_step(fx_flusher *flusher) {
    fx_space_reclaim(&flusher->space, true);
    fx_volume_publish(flusher);
    fx_flusher_leave(flusher);
}

/* Fills segments up. What others write meanwhile is no reason to go on: they may never end. */
static feox_status squeeze(fx_flusher *flusher, uint64_t bytes_max) {
    feox_status status = FEOX_OK;
    fx_cleaning what = {.fullness_max = FX_CLEAN_DENSE, .budget = FX_COMPACT_STEP};
    bool more = true;
    uint64_t least = UINT64_MAX;
    unsigned fruitless = 0;
    for (uint64_t total = 0; status == FEOX_OK && more && total < bytes_max;) {
        uint64_t moved = 0;
        status = begin_step(flusher);
        uint64_t before = fx_compactor_sparse_bytes(flusher);
        if (status == FEOX_OK) {
            status = clean(flusher, &what, &moved);
        }
        uint64_t sparse = fx_compactor_sparse_bytes(flusher);
        fruitless = sparse < least ? 0 : fruitless + 1;
        least = sparse < least ? sparse : least;
        /* Else all that is left is full, or would only become as many segments again. */
        more = (moved > 0 || sparse != before) && fruitless < FRUITLESS_MAX;
        end_step(flusher);
        if (status == FEOX_ERR_SPACE && what.budget > STEP_MIN) {
            what.budget /= 4;
            more = true;
            status = FEOX_OK;
        }
        total += moved;
    }
    return status;
}

feox_status fx_cleaner_compact(fx_flusher *flusher) {
    feox_status status = begin_step(flusher);
    if (status == FEOX_OK) {
        status = fx_compactor_checkpoint(flusher, false);
    }
    /* Whatever others write meanwhile, it ends. */
    uint64_t bytes_max = 2 * flusher->space.file_blocks * FX_BLOCK_SIZE;
    uint64_t steps = 16 + bytes_max / STEP_MIN;
    end_step(flusher);
    if (status == FEOX_OK || status == FEOX_ERR_SPACE) {
        status = squeeze(flusher, bytes_max);
    }
    bool full = status == FEOX_ERR_SPACE;
    status = full ? FEOX_OK : status;
    while (status == FEOX_OK && steps-- > 0) {
        status = begin_step(flusher);
        if (status == FEOX_OK) {
            status = draw_in(flusher, used_blocks(flusher) + CLOSE_ENOUGH, true);
        }
        end_step(flusher);
    }
    status = status == FEOX_END ? FEOX_OK : status;
    if (status == FEOX_OK) {
        fx_flusher_enter(flusher);
        status = cut(flusher, 0);
        fx_flusher_leave(flusher);
    }
    return status == FEOX_OK && full ? FEOX_ERR_SPACE : status;
}
