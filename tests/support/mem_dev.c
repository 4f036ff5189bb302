/* mem_dev: `bytes` is what reads see; `safe` is what a crash cannot take. Writes that are in
 * `bytes` and not in `safe` are kept in order, with their data. */
#include "support/mem_dev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

#define SECTOR 512u

typedef struct pending {
    uint64_t offset;
    size_t size;
    uint8_t *data;
    bool reaped;
    fx_dev_op *op;
} pending;

typedef struct image {
    uint8_t *bytes;
    size_t size;
} image;

struct mem_dev {
    fx_dev door;
    fx_rng rng;
    image now;
    image safe;
    pending *pending;
    size_t count;
    size_t capacity;
    uint64_t operations;
    uint64_t cut_at;
    bool cut;
    uint64_t fail_at;
    int fail_error;
    bool fail_once;
    int dead; /* every operation fails with this */
    uint64_t writes;
    uint64_t refuse_from, refuse_upto; /* of these; 0: none */
    bool refuse_scattered;
    uint64_t refusals;
    uint64_t size_max;
    void (*hook)(void *context);
    void *hook_context;
    uint64_t bad_offset; /* bytes that cannot be read */
    uint64_t bad_size;
    bool borrowed; /* the bytes are somebody else's, and stay as they are */
};

typedef struct mem_queue {
    fx_dev_queue base;
    fx_dev_op *done[64];
    size_t count;
} mem_queue;

static mem_dev *dev_of(fx_dev *door) {
    return (mem_dev *)(void *)door;
}

static void image_resize(image *im, size_t size) {
    im->bytes = realloc(im->bytes, size > 0 ? size : 1);
    if (size > im->size) {
        memset(im->bytes + im->size, 0, size - im->size);
    }
    im->size = size;
}

static void image_write(image *im, uint64_t offset, const uint8_t *data, size_t size) {
    if (offset < im->size) {
        size_t left = im->size - (size_t)offset;
        memcpy(im->bytes + offset, data, size < left ? size : left);
    }
}

/* Counts an operation; false: the power is off, or it is to fail. */
static bool goes_on(mem_dev *dev) {
    dev->operations++;
    if (dev->cut_at != 0 && dev->operations >= dev->cut_at) {
        dev->cut = true;
        dev->dead = EIO;
    }
    if (dev->borrowed) {
        dev->dead = EROFS;
    }
    if (dev->fail_at != 0 && dev->operations >= dev->fail_at && dev->dead == 0) {
        dev->dead = dev->fail_error;
    }
    if (dev->fail_once && dev->operations > dev->fail_at && !dev->cut) {
        dev->dead = 0;
    }
    return dev->dead == 0;
}

static int door_read(fx_dev *door, uint64_t offset, void *buffer, size_t size) {
    mem_dev *dev = dev_of(door);
    if (offset % FX_BLOCK_SIZE != 0 || size % FX_BLOCK_SIZE != 0 || offset > dev->now.size ||
        size > dev->now.size - offset) {
        return -EIO;
    }
    if (offset < dev->bad_offset + dev->bad_size && dev->bad_offset < offset + size &&
        dev->bad_size > 0) {
        return -EIO;
    }
    memcpy(buffer, dev->now.bytes + offset, size);
    return 0;
}

static uint64_t door_size(fx_dev *door) {
    return dev_of(door)->now.size;
}

static int resize(mem_dev *dev, uint64_t size) {
    if (!goes_on(dev)) {
        if (dev->cut && fx_rng_below(&dev->rng, 2) == 0) {
            image_resize(&dev->safe, (size_t)size);
        }
        return -dev->dead;
    }
    image_resize(&dev->now, (size_t)size);
    image_resize(&dev->safe, (size_t)size);
    return 0;
}

static int door_grow(fx_dev *door, uint64_t size) {
    mem_dev *dev = dev_of(door);
    if (size <= dev->now.size) {
        return 0;
    }
    if (dev->size_max != 0 && size > dev->size_max) {
        return -ENOSPC;
    }
    return resize(dev, size);
}

static int door_shrink(fx_dev *door, uint64_t size) {
    return resize(dev_of(door), size);
}

static int door_queue_open(fx_dev *door, fx_dev_queue **queue_out) {
    mem_queue *queue = calloc(1, sizeof *queue);
    queue->base.dev = door;
    *queue_out = &queue->base;
    return 0;
}

/* `size` bytes of an operation, from `at` on. */
static void pending_add(mem_dev *dev, fx_dev_op *op, size_t at, size_t size) {
    if (dev->count == dev->capacity) {
        dev->capacity = dev->capacity == 0 ? 64 : dev->capacity * 2;
        dev->pending = realloc(dev->pending, dev->capacity * sizeof *dev->pending);
    }
    uint8_t *data = malloc(size);
    memcpy(data, (const uint8_t *)op->buffer + at, size);
    dev->pending[dev->count++] =
        (pending){.offset = op->offset + at, .size = size, .data = data, .op = op};
}

static void make_safe(mem_dev *dev) {
    size_t kept = 0;
    for (size_t i = 0; i < dev->count; i++) {
        pending *p = &dev->pending[i];
        if (p->reaped) {
            image_write(&dev->safe, p->offset, p->data, p->size);
            free(p->data);
        } else {
            dev->pending[kept++] = *p;
        }
    }
    dev->count = kept;
}

/* The i-th of the writes that are not safe, alone. What was written to the same bytes before and is
 * not safe must not come back over it. */
static void make_one_safe(mem_dev *dev, size_t i) {
    pending p = dev->pending[i];
    size_t kept = 0;
    image_write(&dev->safe, p.offset, p.data, p.size);
    for (size_t j = 0; j < dev->count; j++) {
        const pending *other = &dev->pending[j];
        if (other->offset >= p.offset && other->offset + other->size <= p.offset + p.size) {
            free(dev->pending[j].data);
        } else {
            dev->pending[kept++] = *other;
        }
    }
    dev->count = kept;
}

static bool is_refused(mem_dev *dev) {
    dev->writes++;
    return dev->refuse_from != 0 && dev->writes >= dev->refuse_from &&
           dev->writes < dev->refuse_upto;
}

/* Some blocks of a write that is refused arrive nevertheless. */
static void write_some(mem_dev *dev, fx_dev_op *op) {
    uint64_t blocks = op->size / FX_BLOCK_SIZE;
    uint64_t upto = fx_rng_below(&dev->rng, blocks);
    for (uint64_t i = 0; i < blocks; i++) {
        size_t at = (size_t)i * FX_BLOCK_SIZE;
        if (dev->refuse_scattered ? fx_rng_below(&dev->rng, 2) == 0 : i < upto) {
            image_write(&dev->now, op->offset + at, (const uint8_t *)op->buffer + at,
                        FX_BLOCK_SIZE);
            pending_add(dev, op, at, FX_BLOCK_SIZE);
        }
    }
    dev->refusals++;
    op->result = -ENOSPC;
}

static void door_submit(fx_dev_queue *base, fx_dev_op *op) {
    mem_queue *queue = (mem_queue *)(void *)base;
    if (op->kind == FX_DEV_READ) {
        op->result = door_read(base->dev, op->offset, op->buffer, op->size);
        queue->done[queue->count++] = op;
        return;
    }
    mem_dev *dev = dev_of(base->dev);
    bool writes = op->kind == FX_DEV_WRITE || op->kind == FX_DEV_WRITE_SYNC;
    if (dev->hook != NULL && writes) {
        dev->hook(dev->hook_context);
    }
    bool good = goes_on(dev);
    op->result = good ? 0 : -dev->dead;
    if (writes) {
        if ((uintptr_t)op->buffer % FX_BLOCK_SIZE != 0 || op->size % FX_BLOCK_SIZE != 0 ||
            op->offset % FX_BLOCK_SIZE != 0 || op->offset + op->size > dev->now.size) {
            op->result = -EINVAL;
        } else if (is_refused(dev) && good) {
            write_some(dev, op);
        } else if (good) {
            image_write(&dev->now, op->offset, op->buffer, op->size);
            pending_add(dev, op, 0, op->size);
            if (op->kind == FX_DEV_WRITE_SYNC) { /* this one, and no other */
                make_one_safe(dev, dev->count - 1);
            }
        } else if (dev->cut && dev->operations == dev->cut_at) {
            pending_add(dev, op, 0, op->size); /* it may have arrived all the same */
        }
    } else if (op->kind == FX_DEV_SYNC && (good || (dev->cut && dev->operations == dev->cut_at &&
                                                    fx_rng_below(&dev->rng, 2) == 0))) {
        make_safe(dev);
    }
    queue->done[queue->count++] = op;
}

static fx_dev_op *door_reap(fx_dev_queue *base) {
    mem_queue *queue = (mem_queue *)(void *)base;
    mem_dev *dev = dev_of(base->dev);
    if (queue->count == 0) {
        return NULL;
    }
    size_t i = (size_t)fx_rng_below(&dev->rng, queue->count);
    fx_dev_op *op = queue->done[i];
    queue->done[i] = queue->done[--queue->count];
    for (size_t j = 0; j < dev->count; j++) {
        dev->pending[j].reaped = dev->pending[j].reaped || dev->pending[j].op == op;
    }
    return op;
}

static void door_queue_close(fx_dev_queue *base) {
    free(base);
}

static void door_close(fx_dev *door) {
    (void)door;
}

static const fx_dev_vtable mem_vtable = {
    .name = "memory",
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

mem_dev *mem_dev_create(uint64_t seed) {
    mem_dev *dev = calloc(1, sizeof *dev);
    dev->door.vtable = &mem_vtable;
    fx_rng_init(&dev->rng, seed);
    return dev;
}

mem_dev *mem_dev_create_from(const void *bytes, size_t size, uint64_t seed) {
    mem_dev *dev = mem_dev_create(seed);
    image_resize(&dev->now, size);
    image_resize(&dev->safe, size);
    if (size > 0) {
        memcpy(dev->now.bytes, bytes, size);
        memcpy(dev->safe.bytes, bytes, size);
    }
    return dev;
}

mem_dev *mem_dev_over(uint8_t *bytes, size_t size) {
    mem_dev *dev = mem_dev_create(1);
    dev->borrowed = true;
    dev->now = (image){.bytes = bytes, .size = size};
    return dev;
}

void mem_dev_destroy(mem_dev *dev) {
    for (size_t i = 0; i < dev->count; i++) {
        free(dev->pending[i].data);
    }
    free(dev->pending);
    if (!dev->borrowed) {
        free(dev->now.bytes);
    }
    free(dev->safe.bytes);
    free(dev);
}

fx_dev *mem_dev_door(mem_dev *dev) {
    return &dev->door;
}

void mem_dev_cut_after(mem_dev *dev, uint64_t n) {
    dev->cut_at = n == 0 ? 0 : dev->operations + n;
}

bool mem_dev_is_cut(const mem_dev *dev) {
    return dev->cut;
}

mem_dev *mem_dev_crash(mem_dev *dev) {
    for (size_t i = 0; i < dev->count; i++) {
        const pending *p = &dev->pending[i];
        uint64_t fate = fx_rng_below(&dev->rng, 3); /* kept, lost, torn */
        for (size_t at = 0; at < p->size && fate != 1; at += SECTOR) {
            if (fate == 0 || fx_rng_below(&dev->rng, 2) == 0) {
                image_write(&dev->safe, p->offset + at, p->data + at, SECTOR);
            }
        }
    }
    mem_dev *next = mem_dev_create_from(dev->safe.bytes, dev->safe.size, fx_rng_next(&dev->rng));
    next->size_max = dev->size_max;
    next->hook = dev->hook;
    next->hook_context = dev->hook_context;
    mem_dev_destroy(dev);
    return next;
}

void mem_dev_fail_after(mem_dev *dev, uint64_t n, int error) {
    dev->fail_at = n == 0 ? 0 : dev->operations + n;
    dev->fail_error = error;
    dev->fail_once = false;
}

void mem_dev_fail_once(mem_dev *dev, uint64_t n, int error) {
    mem_dev_fail_after(dev, n, error);
    dev->fail_once = true;
}

void mem_dev_refuse_writes(mem_dev *dev, uint64_t n, uint64_t count, bool scattered) {
    dev->refuse_from = n == 0 ? 0 : dev->writes + n;
    dev->refuse_upto = count == 0 ? UINT64_MAX : dev->refuse_from + count;
    dev->refuse_scattered = scattered;
}

uint64_t mem_dev_refusals(const mem_dev *dev) {
    return dev->refusals;
}

void mem_dev_fail_reads(mem_dev *dev, uint64_t offset, uint64_t size) {
    dev->bad_offset = offset;
    dev->bad_size = size;
}

void mem_dev_set_capacity(mem_dev *dev, uint64_t capacity) {
    dev->size_max = capacity;
}

void mem_dev_set_hook(mem_dev *dev, void (*hook)(void *context), void *context) {
    dev->hook = hook;
    dev->hook_context = context;
}

uint8_t *mem_dev_bytes(mem_dev *dev) {
    return dev->now.bytes;
}

size_t mem_dev_size(const mem_dev *dev) {
    return dev->now.size;
}

uint64_t mem_dev_operations(const mem_dev *dev) {
    return dev->operations;
}
