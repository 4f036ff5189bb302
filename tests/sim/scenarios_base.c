/* scenarios_base: the spin lock, records, the epoch. */
#include "sim/scenarios.h"

#include "base/lock.h"
#include "index/epoch.h"
#include "index/record_read.h"

/* ---- Spin lock: three threads count ---- */

typedef struct lock_state {
    fx_spinlock lock;
    uint64_t count;
} lock_state;

static void *lock_setup(void) {
    return explore_alloc(sizeof(lock_state));
}

static void lock_add(lock_state *s) {
    explore_plain_read(&s->count, sizeof s->count);
    explore_plain_write(&s->count, sizeof s->count);
    s->count++;
    fx_spinlock_unlock(&s->lock);
}

static void lock_twice(void *state) {
    lock_state *s = state;
    fx_spinlock_lock(&s->lock);
    lock_add(s);
    fx_spinlock_lock(&s->lock);
    lock_add(s);
}

static void lock_try(void *state) {
    lock_state *s = state;
    if (fx_spinlock_try(&s->lock)) {
        lock_add(s);
    }
}

static void lock_check(void *state) {
    lock_state *s = state;
    explore_require(s->count >= 4 && s->count <= 5);
}

/* ---- Record: read while it is replaced in place, and while its slot is used again ---- */

typedef struct record_state {
    fx_record *record;
    fx_block *blocks[3];
    uint64_t done;
} record_state;

static void *record_setup(void) {
    record_state *s = explore_alloc(sizeof *s);
    s->record = sim_record("key1", 1);
    return s;
}

static void record_overwriter(void *state) {
    record_state *s = state;
    for (uint64_t version = 2; version <= 3; version++) {
        uint64_t words[2];
        fx_record_fields fields = sim_fields(version, words);
        fx_record_overwrite(s->record, &fields);
    }
    sim_done(&s->done);
}

/* Killed, linked as a free slot is, used for another key, and for the first one again. */
static void record_reuser(void *state) {
    record_state *s = state;
    static const char *const keys[] = {"key2", "key1"};
    for (unsigned i = 0; i < 2; i++) {
        fx_record_kill(s->record);
        fx_store_release(&s->record->timestamp, (uint64_t)0x7777);
        sim_fill(s->record, keys[i], 4 + i);
        fx_record_publish(s->record, 4 + i);
    }
    sim_done(&s->done);
}

static void record_reader(void *state) {
    const record_state *s = state;
    uint64_t last = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t buffer[2];
        fx_record_view view = {0};
        bool after = sim_is_done(&s->done);
        fx_read_result result =
            fx_record_read(s->record, false, "key1", 4, buffer, sizeof buffer, &view);
        if (result == FX_READ_RETRY) {
            explore_require(!after);
            continue;
        }
        explore_require((result == FX_READ_OK) == (view.version != 4));
        explore_require(view.version >= last);
        explore_require(!after || view.version == 3 || view.version == 5);
        last = view.version;
        if (result == FX_READ_OK) {
            sim_require_whole(&view, buffer);
        }
    }
}

static void record_plain_reader(void *state) {
    const record_state *s = state;
    uint64_t last = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t buffer[2];
        size_t size = 0;
        if (fx_record_read_plain(s->record, "key1", 4, buffer, sizeof buffer, &size)) {
            fx_record_view view = sim_plain_view(buffer, size);
            explore_require(view.version >= last && view.version != 4);
            last = view.version;
            sim_require_whole(&view, buffer);
        }
    }
}

/* What a cursor does: a copy, and later a look whether it is the value still. `last` is the version
 * that is left in the end, 0: none. */
static void copy_twice(const record_state *s, uint64_t last) {
    uint64_t before = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint8_t pair[4 + 2 * sizeof(uint64_t)]; /* the key, and the value behind it */
        uint64_t buffer[2];
        size_t size = 0;
        bool after = sim_is_done(&s->done);
        uint64_t copied = fx_record_copy(s->record, pair, &size);
        if (copied == 0) {
            explore_require(!after || last == 0);
            continue;
        }
        memcpy(buffer, pair + 4, sizeof buffer);
        fx_record_view view = sim_plain_view(buffer, size);
        explore_require(view.version == fx_state_version(copied));
        explore_require(view.version >= before && (!after || view.version == last));
        before = view.version;
        sim_require_whole(&view, buffer);
        after = sim_is_done(&s->done);
        bool same = fx_record_unchanged(s->record, copied);
        explore_require(!after || same == (view.version == last));
    }
}

static void record_overwrite_copier(void *state) {
    copy_twice(state, 3);
}

static void record_reuse_copier(void *state) {
    copy_twice(state, 5);
}

/* Written once more, and deleted. */
static void record_deleter(void *state) {
    record_state *s = state;
    uint64_t words[2];
    fx_record_fields fields = sim_fields(2, words);
    fx_record_overwrite(s->record, &fields);
    fx_record_kill(s->record);
    sim_done(&s->done);
}

static void record_delete_copier(void *state) {
    copy_twice(state, 0);
}

/* ---- Record with its value in a block: replaced, then on disk only ---- */

static fx_block *make_block(uint64_t version) {
    fx_block *block = explore_alloc(sizeof *block + 8);
    block->references = 1;
    block->size = version;
    return block;
}

static void *block_setup(void) {
    record_state *s = explore_alloc(sizeof *s);
    s->record = sim_slot();
    s->blocks[0] = make_block(1);
    s->blocks[1] = explore_alloc(sizeof(fx_block));
    const fx_record_fields fields = {
        .version = 1, .timestamp = 10, .value_len = 1, .block = s->blocks[0], .in_block = true};
    fx_record_set_location(s->record, 1000);
    fx_record_fill(s->record, "key1", 4, &fields);
    fx_record_publish(s->record, 1);
    return s;
}

static void block_writer(void *state) {
    record_state *s = state;
    explore_plain_write(s->blocks[1], sizeof(fx_block));
    s->blocks[1]->size = 2;
    const fx_record_fields fields = {
        .version = 2, .timestamp = 20, .value_len = 2, .block = s->blocks[1], .in_block = true};
    fx_record_overwrite(s->record, &fields);
    fx_record_set_location(s->record, 2000);
    fx_record_set_block(s->record, NULL);
}

static void block_reader(void *state) {
    const record_state *s = state;
    fx_record_view view = {0};
    for (unsigned i = 0; i < 2; i++) {
        if (fx_record_read(s->record, true, "key1", 4, NULL, 0, &view) != FX_READ_OK) {
            continue;
        }
        explore_require(view.in_block && view.value_len == view.version);
        explore_require(view.timestamp == view.version * 10);
        if (view.block != NULL) {
            explore_plain_read(view.block, sizeof *view.block);
            explore_require(view.block->size == view.version);
        } else {
            explore_require(view.version == 2 && view.location == 2000);
        }
    }
}

/* ---- Block references: the last one out frees ---- */

static void *reference_setup(void) {
    record_state *s = explore_alloc(sizeof *s);
    s->blocks[0] = fx_block_create(NULL, "12345678", 8);
    s->blocks[0]->references = 3;
    return s;
}

static void reference_user(void *state) {
    const record_state *s = state;
    explore_plain_read(s->blocks[0]->data, 8);
    fx_block_release(s->blocks[0]);
}

/* ---- Epoch: what was unlinked is written to as soon as it is safe ---- */

typedef struct epoch_state {
    fx_epoch epoch;
    uint64_t *current; /* racing */
    uint64_t *objects[4];
    uint64_t stamps;
} epoch_state;

static void *epoch_setup(void) {
    epoch_state *s = explore_alloc(sizeof *s);
    fx_epoch_init(&s->epoch);
    for (size_t i = 0; i < 4; i++) {
        s->objects[i] = explore_alloc(64);
        *s->objects[i] = 1;
    }
    s->current = s->objects[0];
    return s;
}

static void epoch_reader(void *state) {
    epoch_state *s = state;
    for (unsigned i = 0; i < 2; i++) {
        fx_pin pin = fx_epoch_pin(&s->epoch);
        const uint64_t *object = fx_load_acquire(&s->current);
        for (unsigned k = 0; k < 2; k++) {
            explore_plain_read(object, sizeof *object);
            explore_require(*object == 1);
            (void)fx_load_relaxed(&s->stamps);
        }
        fx_epoch_unpin(pin);
    }
}

static void epoch_replace(epoch_state *s, unsigned first) {
    for (unsigned i = first; i < first + 2; i++) {
        uint64_t *old = s->current;
        fx_store_release(&s->current, s->objects[i]);
        uint64_t stamp = fx_epoch_stamp(&s->epoch);
        for (unsigned tries = 0; tries < 2; tries++) {
            if (fx_epoch_safe(&s->epoch) > stamp) {
                explore_plain_write(old, sizeof *old);
                *old = 0;
                break;
            }
        }
    }
}

static void epoch_retirer(void *state) {
    epoch_replace(state, 1);
}

/* Two threads raise the epoch; one of them does nothing else. */
static void epoch_stamper(void *state) {
    epoch_state *s = state;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t stamp = fx_epoch_stamp(&s->epoch);
        explore_require(fx_epoch_safe(&s->epoch) <= stamp + 2 + 2);
    }
}

const explore_scenario sim_base_scenarios[] = {
    {"spinlock", lock_setup, {lock_twice, lock_twice, lock_try}, lock_check},
    {"record overwrite", record_setup, {record_overwriter, record_reader, record_reader}, NULL},
    {"record reuse", record_setup, {record_reuser, record_reader, NULL}, NULL},
    {"record overwrite, plain", record_setup, {record_overwriter, record_plain_reader, NULL}, NULL},
    {"record reuse, plain", record_setup, {record_reuser, record_plain_reader, NULL}, NULL},
    {"record overwrite, copied",
     record_setup,
     {record_overwriter, record_overwrite_copier, record_overwrite_copier},
     NULL},
    {"record reuse, copied", record_setup, {record_reuser, record_reuse_copier, NULL}, NULL},
    {"record delete, copied", record_setup, {record_deleter, record_delete_copier, NULL}, NULL},
    {"record block", block_setup, {block_writer, block_reader, NULL}, NULL},
    {"block references", reference_setup, {reference_user, reference_user, reference_user}, NULL},
    {"epoch", epoch_setup, {epoch_retirer, epoch_reader, NULL}, NULL},
    {"epoch crowd", epoch_setup, {epoch_retirer, epoch_reader, epoch_reader}, NULL},
    {"epoch stamps", epoch_setup, {epoch_retirer, epoch_reader, epoch_stamper}, NULL},
};
const size_t sim_base_count = sizeof sim_base_scenarios / sizeof sim_base_scenarios[0];
