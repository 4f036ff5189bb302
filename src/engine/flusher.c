/* flusher: why this way. There is no flusher thread that writers hand their work to: whoever needs
 * durability first takes the ownership of the volume and writes the whole open group itself; who
 * comes later waits for that group or leads the next. A hand-over to another thread would cost more
 * than the write. Background work is the same, called from a timer; so is the flush for those who
 * do not wait, or only for a limited time.
 *
 * Those whom a group has let go come again a little later than the next leader could begin, and
 * would have to wait for the group after it: two crowds would take turns, each at half the rate. So
 * who leads waits for both (fx_flusher_join). It yields and does not sleep, because to be woken
 * takes as long as half a write; nobody who writes alone waits for anybody.
 *
 * Ordering: durable_group is stored with release after the group's SYNC and after its records have
 * their places; a waiter's acquire load therefore sees both.
 */
#include "engine/flusher.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/error.h"
#include "base/mem.h"
#include "disk/format.h"
#include "engine/cleaner.h"
#include "engine/compactor.h"
#include "engine/group.h"
#include "engine/recover.h"
#include "engine/refusal.h"
#include "engine/volume.h"

/* How long a leader waits for others: less than the write that it spares. A clock may stand still.
 */
#define GATHER_NS 100000u
#define GATHER_YIELDS_MAX 1000u

/* ---- Opening and closing ---- */

static void gate_deinit(fx_flusher *flusher, unsigned turns) {
    for (unsigned i = 0; i < turns; i++) {
        fx_cond_deinit(&flusher->turns[i]);
    }
    fx_mutex_deinit(&flusher->gate);
}

static bool gate_init(fx_flusher *flusher) {
    if (!fx_mutex_init(&flusher->gate)) {
        return false;
    }
    for (unsigned i = 0; i < FX_TURNS; i++) {
        if (!fx_cond_init(&flusher->turns[i])) {
            gate_deinit(flusher, i);
            return false;
        }
    }
    return true;
}

static void destroy(fx_flusher *flusher) {
    fx_space_deinit(&flusher->space);
    fx_segments_deinit(&flusher->segments);
    fx_staging_deinit(&flusher->staging);
    fx_reader_deinit(&flusher->reader);
    if (flusher->queue != NULL) {
        fx_dev_queue_close(flusher->queue);
    }
    fx_mem_free(flusher->dead_next);
    gate_deinit(flusher, FX_TURNS);
    fx_mem_free(flusher);
}

static feox_status create(fx_engine *engine, fx_dev *dev, const fx_flusher_options *options,
                          fx_flusher **flusher_out) {
    fx_flusher *flusher = fx_mem_zalloc(sizeof *flusher);
    if (flusher == NULL) {
        return FEOX_ERR_MEMORY;
    }
    if (!gate_init(flusher)) {
        fx_mem_free(flusher);
        return FEOX_ERR_MEMORY;
    }
    flusher->engine = engine;
    flusher->dev = dev;
    flusher->read_only = options->read_only;
    flusher->initial_blocks = fx_blocks_of(options->file_size_initial);
    fx_epoch_init(&flusher->readers);
    fx_segments_init(&flusher->segments);
    feox_status status = FEOX_OK;
    if (!options->read_only) {
        int error = fx_dev_queue_open(dev, &flusher->queue);
        if (error != 0) {
            flusher->queue = NULL;
            status = fx_error_set(error == -ENOMEM ? FEOX_ERR_MEMORY : FEOX_ERR_IO, -error,
                                  "opening a queue to the device");
        } else {
            status = fx_staging_init(&flusher->staging, flusher->queue);
        }
    }
    if (status != FEOX_OK) {
        destroy(flusher);
        return status;
    }
    *flusher_out = flusher;
    return FEOX_OK;
}

feox_status fx_flusher_open(fx_engine *engine, fx_dev *dev, const fx_flusher_options *options,
                            fx_flusher **flusher_out) {
    fx_flusher *flusher = NULL;
    *flusher_out = NULL;
    feox_status status = create(engine, dev, options, &flusher);
    if (status != FEOX_OK) {
        return status;
    }
    status = fx_recover_open(flusher, options);
    if (status != FEOX_OK) {
        destroy(flusher);
        return status;
    }
    if (flusher->open_group == 0) { /* nothing to read, and nothing may be written */
        flusher->open_group = 1;
    }
    fx_volume_publish(flusher);
    *flusher_out = flusher;
    return FEOX_OK;
}

/* ---- Who owns the volume ---- */

/* For any group: the volume itself is what is wanted. */
#define NO_GROUP UINT64_MAX

static bool is_durable(const fx_flusher *flusher, uint64_t group) {
    return fx_load_acquire(&flusher->durable_group) >= group;
}

static void wait_locked(fx_flusher *flusher, uint64_t group) {
    fx_cond *turn = &flusher->turns[group == NO_GROUP ? FX_TURN_OWNER : group & 1];
    flusher->waiting++;
    while (flusher->busy && !is_durable(flusher, group)) {
        fx_cond_wait(turn, &flusher->gate);
    }
    flusher->waiting--;
    flusher->served++;
    if (flusher->polite > 0) {
        fx_cond_wake_all(&flusher->turns[FX_TURN_GUEST]);
    }
}

/* Waits for the ownership, but not if `group` becomes durable meanwhile: then false. */
static bool enter(fx_flusher *flusher, uint64_t group) {
    fx_mutex_lock(&flusher->gate);
    if (flusher->busy && !is_durable(flusher, group)) {
        wait_locked(flusher, group);
    }
    bool mine = !is_durable(flusher, group);
    flusher->busy = flusher->busy || mine;
    fx_mutex_unlock(&flusher->gate);
    return mine;
}

static bool try_enter(fx_flusher *flusher) {
    bool mine = false;
    if (fx_mutex_try(&flusher->gate)) {
        mine = !flusher->busy;
        flusher->busy = true;
        fx_mutex_unlock(&flusher->gate);
    }
    return mine;
}

void fx_flusher_enter(fx_flusher *flusher) {
    (void)enter(flusher, NO_GROUP);
}

/* Whoever gives the ownership up and wants it again at once has it before anyone who was woken for
 * it can look. So those who wait now go first, whether they take it or find their group durable;
 * who comes later does not count, or this would wait for ever. */
void fx_flusher_enter_last(fx_flusher *flusher) {
    fx_mutex_lock(&flusher->gate);
    uint64_t before_us = flusher->served + flusher->waiting;
    flusher->polite++;
    while (flusher->busy || flusher->served < before_us) {
        fx_cond_wait(&flusher->turns[FX_TURN_GUEST], &flusher->gate);
    }
    flusher->polite--;
    flusher->busy = true;
    fx_mutex_unlock(&flusher->gate);
}

/* A group became durable: those whom it lets go, those who wait for the next, and who led it. Who
 * stays away is forgotten within some groups. */
static void count_crowd(fx_flusher *flusher) {
    uint32_t now = 1 + fx_load_relaxed(&flusher->joined[0]) + fx_load_relaxed(&flusher->joined[1]);
    uint32_t lately = flusher->crowd - (flusher->crowd + 7) / 8;
    flusher->crowd = now > lately ? now : lately;
}

/* Those whose group is durable now all go; of the others one is enough, to lead the next: waking
 * them all only to sleep again takes the processor from the one who leads. They wait for the group
 * that follows, which has the other last bit. If that is not so, because no group or more than one
 * became durable, or a flush failed, everyone has a look. */
static void wake_locked(fx_flusher *flusher) {
    uint64_t durable = fx_load_relaxed(&flusher->durable_group);
    bool plain = durable == flusher->told + 1 && fx_load_relaxed(&flusher->flushed) == FEOX_OK;
    if (durable != flusher->told) {
        count_crowd(flusher);
    }
    flusher->told = durable;
    for (unsigned i = FX_TURN_EVEN; i <= FX_TURN_ODD; i++) {
        if (plain && i != (durable & 1)) {
            fx_cond_wake_one(&flusher->turns[i]);
        } else {
            fx_cond_wake_all(&flusher->turns[i]);
        }
    }
    fx_cond_wake_one(&flusher->turns[FX_TURN_OWNER]);
    fx_cond_wake_all(&flusher->turns[FX_TURN_GUEST]);
}

void fx_flusher_leave(fx_flusher *flusher) {
    fx_mutex_lock(&flusher->gate);
    flusher->busy = false;
    wake_locked(flusher);
    fx_mutex_unlock(&flusher->gate);
}

/* ---- Flushing ---- */

uint64_t fx_flusher_open_group(const fx_flusher *flusher) {
    return fx_load_acquire(&flusher->open_group);
}

feox_status fx_flusher_status(const fx_flusher *flusher) {
    return (feox_status)fx_load_relaxed(&flusher->status);
}

bool fx_flusher_made(const fx_flusher *flusher) {
    return flusher->made;
}

bool fx_flusher_refused(const fx_flusher *flusher) {
    return fx_load_relaxed(&flusher->refusal.lasts) != 0;
}

bool fx_flusher_left_locked(const fx_flusher *flusher) {
    return flusher->flight_left;
}

void fx_flusher_tell(const fx_flusher *flusher) {
    (void)fx_volume_status(flusher);
}

uint64_t fx_flusher_time(const fx_flusher *flusher) {
    return flusher->time_ns;
}

feox_status fx_flusher_sync(fx_flusher *flusher, uint64_t group, uint64_t now_ns) {
    if (fx_load_acquire(&flusher->durable_group) >= group || !enter(flusher, group)) {
        return FEOX_OK;
    }
    feox_status status = fx_group_flush(flusher, now_ns);
    fx_flusher_leave(flusher);
    return status;
}

/* The owner waits until the whole crowd has joined. The counts are no more than a hint. */
static void gather(fx_flusher *flusher, uint64_t group) {
    const uint32_t *joined = &flusher->joined[group & 1];
    uint64_t until = fx_engine_now(flusher->engine) + GATHER_NS;
    for (uint32_t i = 0; i < GATHER_YIELDS_MAX; i++) {
        if (1 + fx_load_relaxed(joined) >= flusher->crowd ||
            fx_engine_now(flusher->engine) >= until) {
            return;
        }
        (void)sched_yield();
    }
}

feox_status fx_flusher_join(fx_flusher *flusher, uint64_t group, uint64_t now_ns) {
    if (fx_load_acquire(&flusher->durable_group) >= group) {
        return FEOX_OK;
    }
    (void)fx_add_relaxed(&flusher->joined[group & 1], 1u);
    bool mine = enter(flusher, group);
    (void)fx_sub_relaxed(&flusher->joined[group & 1], 1u);
    if (!mine) {
        return FEOX_OK;
    }
    if (flusher->crowd > 1) {
        gather(flusher, group);
    }
    feox_status status = fx_group_flush(flusher, now_ns);
    fx_flusher_leave(flusher);
    return status;
}

/* The sticky failure, or how the last flush went. */
static feox_status last_status(const fx_flusher *flusher) {
    feox_status status = fx_volume_status(flusher);
    if (status == FEOX_OK) {
        status = (feox_status)fx_load_relaxed(&flusher->flushed);
        if (status != FEOX_OK) {
            (void)fx_error_set(status, 0, "a flush failed, and will be tried again");
        }
    }
    return status;
}

feox_status fx_flusher_durable(const fx_flusher *flusher, uint64_t *group_out) {
    feox_status status = last_status(flusher);
    *group_out = fx_load_acquire(&flusher->durable_group);
    return status;
}

bool fx_flusher_knows(fx_flusher *flusher, uint64_t group) {
    bool known = group < fx_flusher_open_group(flusher);
    for (uint32_t i = 0; !known && i < flusher->engine->shard_count; i++) {
        fx_shard *shard = &flusher->engine->shards[i];
        fx_spinlock_lock(&shard->lock);
        uint64_t open = fx_flusher_open_group(flusher);
        known = group < open || (group == open && shard->wbuf.halves[shard->wbuf.open].count > 0);
        fx_spinlock_unlock(&shard->lock);
    }
    return known;
}

feox_status fx_flusher_wait(fx_flusher *flusher, uint64_t group, uint64_t timeout_ms) {
    uint64_t now = fx_engine_now(flusher->engine);
    uint64_t longest = (UINT64_MAX - now) / 1000000u;
    uint64_t until = now + (timeout_ms < longest ? timeout_ms : longest) * 1000000u;
    feox_status status = FEOX_OK;
    fx_mutex_lock(&flusher->gate);
    uint64_t flushes = fx_load_relaxed(&flusher->flushes);
    while (fx_load_acquire(&flusher->durable_group) < group) {
        bool tried = fx_load_relaxed(&flusher->flushes) != flushes;
        status = tried ? last_status(flusher) : fx_volume_status(flusher);
        now = fx_engine_now(flusher->engine);
        if (status == FEOX_OK && now >= until) {
            status = FEOX_PENDING;
        }
        if (status != FEOX_OK) {
            break;
        }
        fx_cond_wait_for(&flusher->turns[FX_TURN_GUEST], &flusher->gate,
                         (until - now) / 1000000u + 1);
    }
    fx_mutex_unlock(&flusher->gate);
    return status;
}

/* ---- Room ---- */

/* While there is plenty, shards draw this much at a time, so that they rarely meet. */
#define DRAW_CHUNK (64u << 10)
#define DRAW_PLENTY_CHUNKS 4u /* for each shard */

fx_demand fx_flusher_demand(size_t key_len, uint64_t value_len, bool deletes) {
    fx_demand demand = {.deletes = deletes};
    if (deletes) {
        demand.bytes = fx_format_record_size(FX_ENTRY_TOMBSTONE, key_len, 0, false);
        return demand;
    }
    demand.bytes = fx_format_record_size(FX_ENTRY_LARGE, key_len, 0, true);
    if (value_len >= FX_LARGE_VALUE_MIN) {
        demand.run = fx_blocks_of(value_len);
        demand.bytes += demand.run * FX_BLOCK_SIZE;
    } else {
        demand.bytes += fx_round_up(value_len, FX_RECORD_ALIGN);
    }
    return demand;
}

/* Takes `amount` of what is left; several shards may do so at once, and none gets what another one
 * has. */
static bool draw(uint64_t *drawn, uint64_t amount, uint64_t room) {
    uint64_t before = fx_add_relaxed(drawn, amount);
    if (before <= room && amount <= room - before) {
        return true;
    }
    (void)fx_sub_relaxed(drawn, amount);
    return false;
}

static uint64_t room_for(const fx_flusher *flusher, const fx_demand *demand) {
    return fx_load_relaxed(demand->deletes ? &flusher->room_deletes : &flusher->room);
}

/* What fx_flusher_admit_locked would say. */
static bool fits(const fx_flusher *flusher, const fx_demand *demand) {
    return fx_load_relaxed(&flusher->drawn) + demand->bytes <= room_for(flusher, demand) &&
           (demand->run == 0 ||
            fx_load_relaxed(&flusher->drawn_run) + demand->run <= fx_load_relaxed(&flusher->run));
}

bool fx_flusher_admit_locked(fx_flusher *flusher, fx_wbuf *wbuf, const fx_demand *demand) {
    bool takes_run = demand->run > 0;
    if (takes_run && !draw(&flusher->drawn_run, demand->run, fx_load_relaxed(&flusher->run))) {
        return false;
    }
    if (FX_LIKELY(wbuf->admitted >= demand->bytes)) {
        wbuf->admitted -= demand->bytes;
        return true;
    }
    uint64_t room = room_for(flusher, demand);
    uint64_t plenty = (uint64_t)flusher->engine->shard_count * DRAW_PLENTY_CHUNKS * DRAW_CHUNK;
    /* Besides the demand, or what fits would be refused, and nobody would make room for it. */
    uint64_t taken = fx_load_relaxed(&flusher->drawn) + demand->bytes;
    uint64_t chunk = room > taken + plenty ? DRAW_CHUNK : 0;
    if (draw(&flusher->drawn, demand->bytes + chunk, room)) {
        wbuf->admitted += chunk;
        return true;
    }
    if (takes_run) {
        (void)fx_sub_relaxed(&flusher->drawn_run, demand->run);
    }
    return false;
}

static uint64_t ensured_blocks(const fx_demand *demand) {
    return fx_blocks_of(demand->bytes + demand->bytes / 8);
}

static feox_status keep_spare(fx_flusher *flusher) {
    return fx_space_keep_spare(&flusher->space, fx_volume_table_blocks(flusher));
}

/* Makes sure that the demand fits an empty group, from what is free or can be had by growing. */
static feox_status ensure(fx_flusher *flusher, const fx_demand *demand) {
    uint64_t keep = fx_volume_reserve(flusher) + 64;
    keep += demand->deletes ? 0 : FX_TOMBSTONE_BLOCKS;
    uint64_t blocks = ensured_blocks(demand);
    fx_extent probe;
    feox_status status = demand->deletes ? FEOX_OK : keep_spare(flusher);
    if (status != FEOX_OK) {
        return status;
    }
    status = fx_space_allocate(&flusher->space, blocks, keep, &probe);
    if (status == FEOX_OK) {
        fx_space_undo(&flusher->space, probe);
    }
    return status;
}

/* Cleaning that gained nothing may gain something in the next round, for what it moved lies in
 * other segments now; after so many rounds without fewer blocks in use than ever it will not. */
#define FRUITLESS_MAX 3u
/* A step writes the whole table, so it is to be a long one, and the next, too: it ends with more
 * free blocks than are asked for. But no writer waits for more than this for that. */
#define AHEAD_MAX ((uint64_t)2 * FX_CLEAN_STEP_MAX)

/* Free blocks for the demand, for what is written before the next step, and for what it moves. */
static bool has_cushion(const fx_flusher *flusher, const fx_demand *demand) {
    uint64_t keep = fx_volume_reserve(flusher) + 64 + FX_TOMBSTONE_BLOCKS +
                    fx_volume_ahead_blocks(flusher) + fx_volume_step_blocks(flusher) / 4;
    return flusher->space.extents.free_blocks >= keep + ensured_blocks(demand);
}

static uint64_t occupied(const fx_flusher *flusher) {
    return flusher->segments.packed_blocks + flusher->segments.large_blocks;
}

/* Gives dead space back until the demand fits and there is a cushion, or nothing more is gained.
 * `status`: whether it fits already. */
static feox_status clean_up(fx_flusher *flusher, const fx_demand *demand, feox_status status) {
    uint64_t least = occupied(flusher);
    uint64_t step = fx_volume_step_blocks(flusher) * FX_BLOCK_SIZE;
    unsigned fruitless = 0;
    bool ahead = fx_volume_ahead_blocks(flusher) > 0;
    for (uint64_t moved = 0;
         fruitless < FRUITLESS_MAX && fx_compactor_can_free(flusher) &&
         (status == FEOX_ERR_SPACE || (status == FEOX_OK && moved < AHEAD_MAX && !demand->deletes &&
                                       !has_cushion(flusher, demand)));
         moved += step) {
        if (fx_compactor_checkpoint(flusher, true) != FEOX_OK) {
            break;
        }
        fx_space_reclaim(&flusher->space, true);
        fruitless = occupied(flusher) < least ? 0 : fruitless + 1;
        least = occupied(flusher) < least ? occupied(flusher) : least;
        status = ensure(flusher, demand);
    }
    if (ahead) { /* where that was no use it is not tried again before there is more to gain */
        flusher->cleaner.ahead_min =
            has_cushion(flusher, demand) ? 0 : fx_compactor_sparse_bytes(flusher) + step;
    }
    return status;
}

static feox_status make_room(fx_flusher *flusher, const fx_demand *demand, uint64_t now_ns) {
    feox_status status = fx_volume_status(flusher);
    status = status == FEOX_OK ? keep_spare(flusher) : status;
    if (status == FEOX_OK) { /* after a checkpoint that may be all that is missing */
        fx_volume_publish(flusher);
        if (fits(flusher, demand)) {
            return status;
        }
    }
    status = fx_group_flush(flusher, now_ns);
    if (status != FEOX_OK) {
        return status;
    }
    status = ensure(flusher, demand);
    if (status == FEOX_ERR_SPACE ||
        (status == FEOX_OK && !demand->deletes && fx_volume_ahead_blocks(flusher) > 0)) {
        status = clean_up(flusher, demand, status);
    }
    if (status == FEOX_ERR_SPACE &&
        fx_cleaner_make_run(flusher, ensured_blocks(demand)) == FEOX_OK) {
        status = ensure(flusher, demand);
    }
    feox_status sticky = fx_volume_note_growth(flusher);
    fx_volume_publish(flusher);
    return sticky != FEOX_OK ? sticky : status;
}

feox_status fx_flusher_make_room(fx_flusher *flusher, const fx_demand *demand, uint64_t now_ns) {
    feox_status status = FEOX_OK;
    if (fits(flusher, demand)) {
        return status;
    }
    fx_flusher_enter(flusher);
    if (!fits(flusher, demand)) { /* else somebody else just made some */
        status = make_room(flusher, demand, now_ns);
    }
    fx_flusher_leave(flusher);
    return status;
}

/* ---- Background ---- */

/* Blocks of a group that is big enough to be one of many. */
#define GROWS_AHEAD 256u

/* The age of the oldest commit that waits, 0 if none does; and how much waits. */
static uint64_t oldest(const fx_flusher *flusher, uint64_t *bytes_out, bool *full_out) {
    uint64_t first = 0;
    *bytes_out = 0;
    *full_out = false;
    for (uint32_t i = 0; i < flusher->engine->shard_count; i++) {
        fx_shard *shard = &flusher->engine->shards[i];
        fx_spinlock_lock(&shard->lock);
        for (unsigned h = 0; h < 2; h++) {
            uint64_t here = shard->wbuf.halves[h].first_ns;
            first = here != 0 && (first == 0 || here < first) ? here : first;
        }
        uint64_t waiting = fx_wbuf_waiting(&shard->wbuf);
        bool is_long = fx_wbuf_long(&shard->wbuf);
        fx_spinlock_unlock(&shard->lock);
        *bytes_out += waiting;
        *full_out = *full_out || is_long;
    }
    return first;
}

/* Gives buffers back if nothing was written between two steps: while groups follow each other, new
 * pages for each would cost as much as all the rest. */
static void trim(fx_flusher *flusher) {
    uint64_t flushes = fx_load_relaxed(&flusher->flushes);
    if (flushes == flusher->trimmed) {
        fx_staging_trim(&flusher->staging);
    }
    flusher->trimmed = flushes;
}

/* After a group so many records may come again: the file grows for twice as much now, or all who
 * write wait until it has. What fails here is told to the put that needs it. */
static void grow_ahead(fx_flusher *flusher) {
    fx_space *space = &flusher->space;
    uint64_t blocks = fx_volume_reserve(flusher) + FX_TOMBSTONE_BLOCKS + 2 * flusher->group_blocks;
    if (flusher->group_blocks >= GROWS_AHEAD && space->extents.free_blocks < blocks &&
        fx_space_grow(space, blocks - space->extents.free_blocks) == FEOX_OK) {
        fx_volume_publish(flusher);
    }
    (void)fx_volume_note_growth(flusher);
}

/* Flushes what is full, or older than `limit`. The volume is ours. */
static void flush_due(fx_flusher *flusher, uint64_t now_ns, uint64_t limit) {
    uint64_t bytes = 0;
    bool full = false;
    uint64_t first = oldest(flusher, &bytes, &full);
    bool old = first != 0 && now_ns >= first && now_ns - first >= limit;
    bool rests = fx_refusal_rests(flusher, now_ns) && fx_flusher_refused(flusher);
    /* A failure is told to who asks for durability. */
    if ((full || old) && !rests && fx_group_flush(flusher, now_ns) == FEOX_OK) {
        grow_ahead(flusher);
    }
}

void fx_flusher_step_long(fx_flusher *flusher, uint64_t now_ns) {
    if (flusher->read_only || fx_flusher_status(flusher) != FEOX_OK) {
        return;
    }
    /* If somebody else is at it we wait, or writers would call again and again meanwhile. */
    fx_flusher_enter(flusher);
    flush_due(flusher, now_ns, UINT64_MAX);
    fx_flusher_leave(flusher);
}

void fx_flusher_step(fx_flusher *flusher, uint64_t now_ns, uint32_t flush_interval_ms) {
    if (flusher->read_only || fx_flusher_status(flusher) != FEOX_OK || !try_enter(flusher)) {
        return;
    }
    bool rests = fx_refusal_rests(flusher, now_ns);
    flush_due(flusher, now_ns, (uint64_t)flush_interval_ms * 1000000u);
    fx_space_reclaim(&flusher->space, false);
    if (fx_flusher_status(flusher) == FEOX_OK && !rests) {
        fx_cleaner_step(flusher, now_ns);
    }
    trim(flusher);
    fx_flusher_leave(flusher);
}

static feox_status close_down(fx_flusher *flusher, uint64_t now_ns) {
    feox_status status = fx_group_flush(flusher, now_ns);
    if (status != FEOX_OK) {
        return status;
    }
    const fx_segments *segments = &flusher->segments;
    if (flusher->journal.used > 0 ||
        segments->dead_segment_blocks + segments->dead_large_blocks > 0) {
        status = fx_compactor_checkpoint(flusher, false);
        /* Everything is durable without it. */
        status = status == FEOX_ERR_SPACE || status == FEOX_ERR_MEMORY ? FEOX_OK : status;
    }
    fx_space_reclaim(&flusher->space, true);
    if (status == FEOX_OK) {
        fx_space_drop_spare(&flusher->space);
        (void)fx_space_shrink(&flusher->space, flusher->initial_blocks,
                              FX_FILE_GROWTH_MIN / FX_BLOCK_SIZE);
    }
    return status;
}

feox_status fx_flusher_close(fx_flusher *flusher, uint64_t now_ns) {
    feox_status status = FEOX_OK;
    if (!flusher->read_only) {
        fx_flusher_enter(flusher);
        status = close_down(flusher, now_ns);
        fx_flusher_leave(flusher);
    }
    destroy(flusher);
    return status;
}

/* ---- Statistics ---- */

void fx_flusher_stats(fx_flusher *flusher, uint64_t now_ns, feox_statistics *stats) {
    const fx_volume_figures *figures = &flusher->figures;
    bool full = false;
    uint64_t first = oldest(flusher, &stats->window_bytes, &full);
    stats->window_age_ms = first != 0 && now_ns > first ? (now_ns - first) / 1000000u : 0;
    stats->disk_reads += fx_load_relaxed(&flusher->disk_reads);
    stats->disk_read_bytes += fx_load_relaxed(&flusher->disk_read_bytes);
    stats->disk_write_bytes += fx_load_relaxed(&figures->written_bytes);
    stats->file_size = fx_load_relaxed(&figures->file_size);
    stats->file_free = fx_load_relaxed(&figures->file_free);
    stats->file_live = fx_load_relaxed(&figures->file_live);
    stats->groups_written += fx_load_relaxed(&figures->groups_written);
    stats->checkpoints += fx_load_relaxed(&figures->checkpoints);
    stats->sync_method = fx_load_relaxed(&figures->sync_method);
    stats->corrupt_records += fx_load_relaxed(&flusher->corrupt_records);
    stats->file_free_extents = fx_load_relaxed(&figures->free_extents);
    stats->file_free_longest = fx_load_relaxed(&figures->free_extent_max);
    stats->file_waiting = fx_load_relaxed(&figures->waiting);
    stats->compacted_bytes = fx_load_relaxed(&figures->compacted_bytes);
    stats->io_error = fx_flusher_status(flusher);
}
