/* scenarios_disk: batches of overlapped reads, of which there is one for each store: who has it,
 * has its queue and its buffer alone, and who has not does without. The device is memory that
 * nobody changes; what is not of the reader is a stand-in.
 */
#include <string.h>

#include "disk/format.h"
#include "engine/volume.h"
#include "sim/scenarios.h"

#define PAIR 2u
#define BATCHES 2u
/* A record is in there; the rest of its block is zeros. */
#define RECORD_MAX 128u

typedef struct fake_queue {
    fx_dev_queue queue;
    fx_dev_op *submitted; /* plain: one thread at a time */
} fake_queue;

typedef struct batch_state {
    fx_dev dev;
    fake_queue queue;
    uint64_t opened; /* queues */
    fx_flusher *flusher;
    uint8_t *file;
    fx_wanted wanted[BATCHES][PAIR];
} batch_state;

static batch_state *the_state;

/* ---- The device ---- */

static uint64_t fake_size(fx_dev *dev) {
    (void)dev;
    return (uint64_t)(PAIR + 1) * FX_BLOCK_SIZE;
}

static int fake_open(fx_dev *dev, fx_dev_queue **queue_out) {
    explore_plain_write(&the_state->opened, sizeof the_state->opened);
    the_state->opened++;
    the_state->queue.queue.dev = dev;
    *queue_out = &the_state->queue.queue;
    return 0;
}

static void fake_submit(fx_dev_queue *queue, fx_dev_op *op) {
    fake_queue *fake = (fake_queue *)(void *)queue;
    explore_plain_write(&fake->submitted, sizeof fake->submitted);
    op->next = fake->submitted;
    fake->submitted = op;
}

/* The last one first; what it read is there from now on. */
static fx_dev_op *fake_reap(fx_dev_queue *queue) {
    fake_queue *fake = (fake_queue *)(void *)queue;
    explore_plain_write(&fake->submitted, sizeof fake->submitted);
    fx_dev_op *op = fake->submitted;
    if (op != NULL) {
        fake->submitted = op->next;
        explore_plain_write(op->buffer, RECORD_MAX);
        memcpy(op->buffer, the_state->file + op->offset, RECORD_MAX);
        op->result = 0;
    }
    return op;
}

static const fx_dev_vtable fake_vtable = {
    .size = fake_size, .queue_open = fake_open, .submit = fake_submit, .reap = fake_reap};

/* ---- What the reader knows of its volume ---- */

int fx_volume_read(fx_flusher *flusher, uint64_t offset, void *buffer, size_t size) {
    (void)flusher, (void)offset, (void)buffer, (void)size;
    return -1;
}

feox_status fx_volume_read_large(fx_flusher *flusher, const fx_entry *entry, fx_block **block_out) {
    (void)flusher, (void)entry, (void)block_out;
    return FEOX_ERR_IO;
}

void fx_volume_count_read(fx_flusher *flusher, size_t size) {
    fx_add_relaxed(&flusher->disk_read_bytes, (uint64_t)size);
}

/* ---- Two batches at once ---- */

/* Record n lies at the beginning of block n + 1. */
static void batch_write(batch_state *s, unsigned n) {
    uint64_t words[2];
    uint64_t position = (uint64_t)(n + 1) * FX_BLOCK_SIZE;
    uint8_t *at = s->file + position;
    const fx_entry entry = {.kind = FX_ENTRY_PUT,
                            .key = (const uint8_t *)(n == 0 ? "key0" : "key1"),
                            .key_len = 4,
                            .value = (const uint8_t *)words,
                            .value_len = (uint32_t)sim_value(n + 1, words),
                            .version = n + 1};
    size_t size = fx_format_record_size(FX_ENTRY_PUT, 4, entry.value_len, false);
    fx_format_record_encode(at, &entry);
    fx_format_record_seal(at, size, &s->flusher->id, position, 1);
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        s->wanted[batch][n] = (fx_wanted){.key = entry.key,
                                          .key_len = 4,
                                          .found = {.version = n + 1,
                                                    .value_len = entry.value_len,
                                                    .location = position / FX_RECORD_ALIGN,
                                                    .in_block = true}};
    }
}

static void *batch_setup(void) {
    batch_state *s = the_state = explore_alloc(sizeof *s);
    s->dev.vtable = &fake_vtable;
    s->file = explore_alloc((PAIR + 1) * FX_BLOCK_SIZE);
    s->flusher = explore_alloc(sizeof *s->flusher);
    s->flusher->engine = explore_alloc(sizeof *s->flusher->engine);
    s->flusher->dev = &s->dev;
    fx_epoch_init(&s->flusher->readers);
    for (unsigned n = 0; n < PAIR; n++) {
        batch_write(s, n);
    }
    return s;
}

/* How many of a batch arrived: all of them, or none because another has the queue. */
static unsigned batch_found(const batch_state *s, unsigned batch) {
    unsigned found = 0;
    for (unsigned n = 0; n < PAIR; n++) {
        const fx_record_view *view = &s->wanted[batch][n].found;
        uint64_t words[2];
        if (view->block != NULL) {
            found++;
            explore_require(view->block->size == sim_value(n + 1, words));
            explore_require(memcmp(view->block->data, words, (size_t)view->block->size) == 0);
        }
    }
    explore_require(found == 0 || found == PAIR);
    return found;
}

static void batch_first(void *state) {
    batch_state *s = state;
    fx_reader_read_many(s->flusher, s->wanted[0], PAIR);
    (void)batch_found(s, 0);
}

static void batch_second(void *state) {
    batch_state *s = state;
    fx_reader_read_many(s->flusher, s->wanted[1], PAIR);
    (void)batch_found(s, 1);
}

static void batch_check(void *state) {
    batch_state *s = state;
    uint64_t stamp = fx_epoch_stamp(&s->flusher->readers);
    explore_require(fx_epoch_safe(&s->flusher->readers) > stamp);
    explore_require(s->opened == 1 && s->queue.submitted == NULL);
    explore_require(s->flusher->reader.taken.held == 0);
    explore_require(batch_found(s, 0) + batch_found(s, 1) >= PAIR);
}

const explore_scenario sim_disk_scenarios[] = {
    {"read batches", batch_setup, {batch_first, batch_second, NULL}, batch_check},
};
const size_t sim_disk_count = sizeof sim_disk_scenarios / sizeof sim_disk_scenarios[0];
