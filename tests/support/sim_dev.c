/* sim_dev: a block is never changed: writing one makes another. `now` is what reads see, `safe`
 * what a crash cannot take; both are arrays of blocks. The digest of an image is the sum over its
 * sectors, so that of a subset of the units is had from that of the safe image by adding and
 * taking off.
 */
#include "support/sim_dev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/rng.h"

#define SECTOR FX_SECTOR_SIZE
#define SECTORS (FX_BLOCK_SIZE / SECTOR)
#define BLOCKS_MAX 8192u
#define CHUNK_BLOCKS 64u
#define NONE UINT32_MAX

typedef struct image {
    uint64_t size;
    uint64_t digest; /* without the size */
    const uint8_t *blocks[BLOCKS_MAX];
} image;

/* One sector, or the size. */
typedef struct unit {
    bool is_size;
    bool shrinks;
    bool reaped;
    uint32_t later; /* the next unit of the same sector */
    uint64_t at;    /* sector, or size */
    uint64_t hash;
    uint64_t safe_hash; /* of what is safe there */
    const uint8_t *data;
    const fx_dev_op *op;
} unit;

typedef struct chunk {
    struct chunk *next;
    uint8_t blocks[CHUNK_BLOCKS][FX_BLOCK_SIZE];
} chunk;

typedef struct sim_queue {
    fx_dev_queue base;
    fx_dev_op *done[64];
    size_t count;
} sim_queue;

struct sim_dev {
    fx_dev door;
    fx_rng rng;
    image now;
    image safe;
    unit units[SIM_UNITS_MAX];
    uint32_t count;
    bool dead;
    uint64_t written_from;
    uint64_t written_to;
    void (*hook)(void *context);
    void *context;
    chunk *chunks; /* the first one is in use, then those before it, then the spare ones */
    chunk *spare;
    uint32_t used;
    uint8_t *open_block; /* image_write made it, and may write it again */
};

static const uint8_t zeros[FX_BLOCK_SIZE];

static sim_dev *dev_of(const fx_dev *door) {
    return (sim_dev *)(void *)(uintptr_t)door;
}

/* ---- Blocks ---- */

static uint8_t *block_create(sim_dev *dev) {
    if (dev->chunks == NULL || dev->used == CHUNK_BLOCKS) {
        chunk *c = dev->spare;
        if (c != NULL) {
            dev->spare = c->next;
        } else {
            c = malloc(sizeof *c);
        }
        c->next = dev->chunks;
        dev->chunks = c;
        dev->used = 0;
    }
    return dev->chunks->blocks[dev->used++];
}

static void blocks_drop(sim_dev *dev) {
    while (dev->chunks != NULL) {
        chunk *c = dev->chunks;
        dev->chunks = c->next;
        c->next = dev->spare;
        dev->spare = c;
    }
    dev->used = 0;
}

static const uint8_t *block_at(const image *im, uint64_t block) {
    return im->blocks[block] != NULL ? im->blocks[block] : zeros;
}

static const uint8_t *sector_at(const image *im, uint64_t sector) {
    return block_at(im, sector / SECTORS) + sector % SECTORS * SECTOR;
}

static uint64_t sector_hash(const uint8_t *data, uint64_t sector) {
    return memcmp(data, zeros, SECTOR) == 0 ? 0 : fx_checksum(data, SECTOR, sector + 1);
}

static uint64_t blocks_of(uint64_t size) {
    return (size + FX_BLOCK_SIZE - 1) / FX_BLOCK_SIZE;
}

static void image_copy(image *to, const image *from) {
    to->size = from->size;
    to->digest = from->digest;
    memcpy(to->blocks, from->blocks, blocks_of(from->size) * sizeof from->blocks[0]);
}

static void image_resize(image *im, uint64_t size) {
    for (uint64_t block = blocks_of(im->size); block < blocks_of(size); block++) {
        im->blocks[block] = NULL;
    }
    for (uint64_t block = blocks_of(size); block < blocks_of(im->size); block++) {
        for (uint64_t i = 0; im->blocks[block] != NULL && i < SECTORS; i++) {
            im->digest -= sector_hash(im->blocks[block] + i * SECTOR, block * SECTORS + i);
        }
        im->blocks[block] = NULL;
    }
    im->size = size;
}

static void image_write(sim_dev *owner, image *im, const unit *u, const uint8_t *data,
                        uint64_t hash) {
    uint64_t block = u->at / SECTORS;
    if (block >= blocks_of(im->size)) {
        return;
    }
    uint8_t *copy = owner->open_block;
    if (copy == NULL || im->blocks[block] != copy) {
        copy = block_create(owner);
        memcpy(copy, block_at(im, block), FX_BLOCK_SIZE);
        owner->open_block = copy;
    }
    im->digest += hash - sector_hash(sector_at(im, u->at), u->at);
    memcpy(copy + u->at % SECTORS * SECTOR, data, SECTOR);
    im->blocks[block] = copy;
}

/* ---- Units ---- */

static void unit_add(sim_dev *dev, unit u) {
    if (dev->count == SIM_UNITS_MAX) {
        abort();
    }
    u.later = NONE;
    if (!u.is_size && u.at / SECTORS < blocks_of(dev->safe.size)) {
        u.safe_hash = sector_hash(sector_at(&dev->safe, u.at), u.at);
    }
    for (uint32_t i = dev->count; !u.is_size && i-- > 0;) {
        if (!dev->units[i].is_size && dev->units[i].at == u.at) {
            dev->units[i].later = dev->count;
            break;
        }
    }
    dev->units[dev->count++] = u;
}

static void units_write(sim_dev *dev, const fx_dev_op *op) {
    for (size_t at = 0; at < op->size; at += FX_BLOCK_SIZE) {
        const uint8_t *data = (const uint8_t *)op->buffer + at;
        uint64_t block = (op->offset + at) / FX_BLOCK_SIZE;
        const uint8_t *old = block_at(&dev->now, block);
        if (memcmp(old, data, FX_BLOCK_SIZE) == 0) {
            continue;
        }
        uint8_t *copy = block_create(dev);
        memcpy(copy, data, FX_BLOCK_SIZE);
        dev->now.blocks[block] = copy;
        for (uint64_t i = 0; i < SECTORS; i++) {
            if (memcmp(old + i * SECTOR, copy + i * SECTOR, SECTOR) != 0) {
                uint64_t sector = block * SECTORS + i;
                unit_add(dev, (unit){.at = sector,
                                     .data = copy + i * SECTOR,
                                     .hash = sector_hash(copy + i * SECTOR, sector),
                                     .op = op});
            }
        }
    }
}

/* Those that `which` says become safe; the others stay, in their order. */
static void make_safe(sim_dev *dev, bool (*which)(const unit *u, const fx_dev_op *op),
                      const fx_dev_op *op) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < dev->count; i++) {
        const unit *u = &dev->units[i];
        if (!which(u, op)) {
            dev->units[kept++] = *u;
        } else if (u->is_size) {
            image_resize(&dev->safe, u->at);
        } else {
            image_write(dev, &dev->safe, u, u->data, u->hash);
        }
    }
    dev->open_block = NULL;
    dev->count = 0;
    for (uint32_t i = 0; i < kept; i++) {
        unit_add(dev, dev->units[i]); /* links and compares them anew */
    }
}

static bool is_reaped(const unit *u, const fx_dev_op *op) {
    (void)op;
    return u->reaped;
}

/* What was written to the same bytes before must not come back over it. */
static bool is_within(const unit *u, const fx_dev_op *op) {
    uint64_t offset = u->at * SECTOR;
    return !u->is_size && offset >= op->offset && offset < op->offset + op->size;
}

/* ---- The door ---- */

static bool goes_on(sim_dev *dev) {
    if (dev->hook != NULL && !dev->dead) {
        dev->hook(dev->context);
    }
    return !dev->dead;
}

static int door_read(fx_dev *door, uint64_t offset, void *buffer, size_t size) {
    const sim_dev *dev = dev_of(door);
    if (offset % FX_BLOCK_SIZE != 0 || size % FX_BLOCK_SIZE != 0 || offset > dev->now.size ||
        size > dev->now.size - offset) {
        return -EIO;
    }
    for (size_t at = 0; at < size; at += FX_BLOCK_SIZE) {
        memcpy((uint8_t *)buffer + at, block_at(&dev->now, (offset + at) / FX_BLOCK_SIZE),
               FX_BLOCK_SIZE);
    }
    return 0;
}

static uint64_t door_size(fx_dev *door) {
    return dev_of(door)->now.size;
}

static int resize(sim_dev *dev, uint64_t size) {
    if (!goes_on(dev)) {
        return -EIO;
    }
    if (size > (uint64_t)BLOCKS_MAX * FX_BLOCK_SIZE) {
        return -ENOSPC;
    }
    unit_add(dev,
             (unit){.is_size = true, .shrinks = size < dev->now.size, .reaped = true, .at = size});
    image_resize(&dev->now, size);
    return 0;
}

static int door_grow(fx_dev *door, uint64_t size) {
    sim_dev *dev = dev_of(door);
    return size <= dev->now.size ? 0 : resize(dev, size);
}

static int door_shrink(fx_dev *door, uint64_t size) {
    return resize(dev_of(door), size);
}

static int door_queue_open(fx_dev *door, fx_dev_queue **queue_out) {
    sim_queue *queue = calloc(1, sizeof *queue);
    queue->base.dev = door;
    *queue_out = &queue->base;
    return 0;
}

static void note_written(sim_dev *dev, const fx_dev_op *op) {
    uint64_t end = op->offset + op->size;
    dev->written_from = op->offset < dev->written_from ? op->offset : dev->written_from;
    dev->written_to = end > dev->written_to ? end : dev->written_to;
}

static void door_submit(fx_dev_queue *base, fx_dev_op *op) {
    sim_queue *queue = (sim_queue *)(void *)base;
    if (op->kind == FX_DEV_READ) {
        op->result = door_read(base->dev, op->offset, op->buffer, op->size);
        queue->done[queue->count++] = op;
        return;
    }
    sim_dev *dev = dev_of(base->dev);
    bool good = goes_on(dev);
    op->result = good ? 0 : -EIO;
    if (good && op->kind == FX_DEV_SYNC) {
        make_safe(dev, is_reaped, op);
    } else if (good) {
        if ((uintptr_t)op->buffer % FX_BLOCK_SIZE != 0 || op->size % FX_BLOCK_SIZE != 0 ||
            op->offset % FX_BLOCK_SIZE != 0 || op->offset + op->size > dev->now.size) {
            op->result = -EINVAL;
        } else {
            note_written(dev, op);
            units_write(dev, op);
            if (op->kind == FX_DEV_WRITE_SYNC) {
                (void)goes_on(dev);
                make_safe(dev, is_within, op);
            }
        }
    }
    queue->done[queue->count++] = op;
}

static fx_dev_op *door_reap(fx_dev_queue *base) {
    sim_queue *queue = (sim_queue *)(void *)base;
    sim_dev *dev = dev_of(base->dev);
    if (queue->count == 0) {
        return NULL;
    }
    size_t i = (size_t)fx_rng_below(&dev->rng, queue->count);
    fx_dev_op *op = queue->done[i];
    queue->done[i] = queue->done[--queue->count];
    for (uint32_t j = 0; j < dev->count; j++) {
        if (dev->units[j].op == op) {
            dev->units[j].reaped = true;
            dev->units[j].op = NULL;
        }
    }
    return op;
}

static void door_queue_close(fx_dev_queue *base) {
    free(base);
}

static void door_close(fx_dev *door) {
    (void)door;
}

static const fx_dev_vtable sim_vtable = {
    .name = "simulated",
    .read = door_read,
    .size = door_size,
    .grow = door_grow,
    .shrink = door_shrink,
    .queue_open = door_queue_open,
    .close = door_close,
    .submit = door_submit,
    .reap = door_reap,
    .queue_close = door_queue_close,
};

/* ---- Making, crashing ---- */

sim_dev *sim_dev_create(void) {
    sim_dev *dev = calloc(1, sizeof *dev);
    dev->door.vtable = &sim_vtable;
    sim_dev_reset(dev, 0);
    return dev;
}

static void chunks_free(chunk *c) {
    while (c != NULL) {
        chunk *next = c->next;
        free(c);
        c = next;
    }
}

void sim_dev_destroy(sim_dev *dev) {
    chunks_free(dev->chunks);
    chunks_free(dev->spare);
    free(dev);
}

fx_dev *sim_dev_door(sim_dev *dev) {
    return &dev->door;
}

void sim_dev_reset(sim_dev *dev, uint64_t seed) {
    blocks_drop(dev);
    fx_rng_init(&dev->rng, seed);
    dev->now.size = dev->safe.size = 0;
    dev->now.digest = dev->safe.digest = 0;
    dev->count = 0;
    dev->dead = false;
    dev->hook = NULL;
    dev->written_from = UINT64_MAX;
    dev->written_to = 0;
}

void sim_dev_set_hook(sim_dev *dev, void (*hook)(void *context), void *context) {
    dev->hook = hook;
    dev->context = context;
}

void sim_dev_kill(sim_dev *dev) {
    dev->dead = true;
}

uint32_t sim_dev_units(const sim_dev *dev) {
    return dev->count;
}

bool sim_dev_is_size(const sim_dev *dev, uint32_t i) {
    return dev->units[i].is_size;
}

bool sim_dev_possible(const sim_dev *dev, const uint8_t *fates) {
    bool lost = false;
    for (uint32_t i = 0; i < dev->count; i++) {
        if (dev->units[i].is_size) {
            if (fates[i] != SIM_LOST && (lost || fates[i] != SIM_KEPT)) {
                return false;
            }
            lost = fates[i] == SIM_LOST;
        }
    }
    return true;
}

/* What stands in the sector then, `before` being what stands there else. */
static const uint8_t *fated(const unit *u, uint8_t fate, const uint8_t *before, uint8_t *buffer) {
    if (fate == SIM_KEPT) {
        return u->data;
    }
    fx_rng rng;
    fx_rng_init(&rng, u->hash ^ u->at);
    if (fate == SIM_NOISE) {
        for (size_t i = 0; i < SECTOR; i += 8) {
            uint64_t word = fx_rng_next(&rng);
            memcpy(buffer + i, &word, sizeof word);
        }
        return buffer;
    }
    size_t cut = 8 * (1 + (size_t)fx_rng_below(&rng, SECTOR / 8 - 1));
    bool turned = fx_rng_below(&rng, 2) == 0;
    memcpy(buffer, turned ? before : u->data, cut);
    memcpy(buffer + cut, (turned ? u->data : before) + cut, SECTOR - cut);
    return buffer;
}

static uint64_t whole_digest(uint64_t digest, uint64_t size) {
    return digest + fx_checksum(&size, sizeof size, 0);
}

static bool is_plain(const sim_dev *dev, const uint8_t *fates) {
    for (uint32_t i = 0; i < dev->count; i++) {
        if (fates[i] > SIM_KEPT || (dev->units[i].is_size && dev->units[i].shrinks)) {
            return false;
        }
    }
    return true;
}

/* Applies the fates to a copy of the safe image, whose new blocks are the owner's. */
static void settle(const sim_dev *dev, const uint8_t *fates, image *im, sim_dev *owner) {
    uint8_t buffer[SECTOR];
    image_copy(im, &dev->safe);
    for (uint32_t i = 0; i < dev->count; i++) {
        const unit *u = &dev->units[i];
        if (fates[i] == SIM_LOST) {
            continue;
        }
        if (u->is_size) {
            image_resize(im, u->at);
        } else if (u->at / SECTORS < blocks_of(im->size)) {
            const uint8_t *data = fated(u, fates[i], sector_at(im, u->at), buffer);
            image_write(owner, im, u, data,
                        fates[i] == SIM_KEPT ? u->hash : sector_hash(data, u->at));
        }
    }
    owner->open_block = NULL;
}

uint64_t sim_dev_digest(const sim_dev *dev, const uint8_t *fates) {
    if (!is_plain(dev, fates)) {
        static sim_dev *scratch;
        scratch = scratch != NULL ? scratch : sim_dev_create();
        sim_dev_crash(dev, fates, scratch);
        return whole_digest(scratch->safe.digest, scratch->safe.size);
    }
    uint64_t size = dev->safe.size;
    uint64_t digest = dev->safe.digest;
    for (uint32_t i = 0; i < dev->count; i++) {
        size = dev->units[i].is_size && fates[i] == SIM_KEPT ? dev->units[i].at : size;
    }
    for (uint32_t i = 0; i < dev->count; i++) {
        const unit *u = &dev->units[i];
        bool covered = false;
        for (uint32_t j = u->later; j != NONE && !covered; j = dev->units[j].later) {
            covered = fates[j] == SIM_KEPT;
        }
        if (u->is_size || fates[i] == SIM_LOST || covered || u->at * SECTOR >= size) {
            continue;
        }
        digest += u->hash - u->safe_hash;
    }
    return whole_digest(digest, size);
}

void sim_dev_crash(const sim_dev *dev, const uint8_t *fates, sim_dev *out) {
    sim_dev_reset(out, dev->safe.digest);
    settle(dev, fates, &out->safe, out);
    image_copy(&out->now, &out->safe);
}

uint64_t sim_dev_size(const sim_dev *dev) {
    return dev->now.size;
}

void sim_dev_written(const sim_dev *dev, uint64_t *from_out, uint64_t *to_out) {
    *from_out = dev->written_from;
    *to_out = dev->written_to;
}
