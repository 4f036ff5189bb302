/* wbuf: why this way. A commit encodes its record at once, so that an update in place in memory
 * cannot change what an earlier group will write, and so that a flush only sums and copies. One
 * entry per key and half: an entry knows the clean location that its key has on disk
 * (old_location), which dies when the entry is durable, and whether anything of the key may be on
 * disk or on its way there (predecessor), which decides whether a delete must leave a tombstone.
 *
 * Invariants:
 *   W1 entries of one key in one half stand in the order of their versions; at most one of them has
 *      a record, and it is the last.
 *   W2 an entry with a record: the record's location is dirty with this half and index.
 *   W3 an entry superseded within its half has size 0; one superseded from the other half keeps its
 *      bytes (they are being written) and only loses its record.
 *   W4 put and delete take no memory: fx_wbuf_reserve took it before.
 */
#include "engine/wbuf.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "disk/format.h"

/* Mapped: what grows and goes at these sizes leaves holes in an allocator, which nobody counts. */
#define PAGE ((size_t)4096)
#define LOCATION_HALF 0x4000000000000000u
#define LOCATION_INDEX 0xffffffffu
/* What an empty half keeps of its memory. */
#define KEEP_BYTES (256u << 10)
#define KEEP_ENTRIES 4096u
/* Bytes of the next record that are asked for ahead. */
#define PREFETCH_MAX 256u

static uint64_t dirty_location(uint32_t half, uint32_t index) {
    return FX_LOCATION_DIRTY | (half != 0 ? LOCATION_HALF : 0) | index;
}

static uint32_t location_half(uint64_t location) {
    return (location & LOCATION_HALF) != 0 ? 1 : 0;
}

static fx_wbuf_entry *location_entry(fx_wbuf *wbuf, uint64_t location) {
    fx_wbuf_half *half = &wbuf->halves[location_half(location)];
    uint32_t index = (uint32_t)(location & LOCATION_INDEX);
    FX_ASSERT((location & FX_LOCATION_DIRTY) != 0 && index < half->count);
    return &half->entries[index];
}

void fx_wbuf_init(fx_wbuf *wbuf, fx_slab_pool *pool, uint64_t size_max) {
    memset(wbuf, 0, sizeof *wbuf);
    wbuf->pool = pool;
    wbuf->size_max = size_max;
    wbuf->size_long = size_max / 2 < FX_WBUF_SIZE_LONG ? size_max / 2 : FX_WBUF_SIZE_LONG;
}

static size_t entries_size(uint32_t capacity) {
    return (size_t)fx_round_up(capacity * sizeof(fx_wbuf_entry), PAGE);
}

/* Tells the pool what the halves take now. */
static void account(fx_wbuf *wbuf) {
    uint64_t now = 0;
    for (unsigned i = 0; i < 2; i++) {
        const fx_wbuf_half *half = &wbuf->halves[i];
        now += half->size + entries_size(half->capacity);
    }
    if (now != wbuf->charged) {
        fx_slab_pool_charge(wbuf->pool, (int64_t)(now - wbuf->charged));
        wbuf->charged = now;
    }
}

static void half_clear(fx_wbuf_half *half) {
    for (uint32_t i = 0; i < half->count && half->large_bytes > 0; i++) {
        fx_block_release(half->entries[i].block);
    }
    half->count = 0;
    half->used = 0;
    half->large_bytes = 0;
    half->first_ns = 0;
}

static void half_unmap(fx_wbuf_half *half) {
    fx_mem_unmap(half->entries, entries_size(half->capacity));
    fx_mem_unmap(half->bytes, half->size);
    half->entries = NULL;
    half->bytes = NULL;
    half->capacity = 0;
    half->size = 0;
}

static void half_free(fx_wbuf_half *half) {
    half_clear(half);
    half_unmap(half);
}

void fx_wbuf_deinit(fx_wbuf *wbuf) {
    half_free(&wbuf->halves[0]);
    half_free(&wbuf->halves[1]);
    account(wbuf);
}

void fx_wbuf_trim(fx_wbuf *wbuf) {
    bool empty = wbuf->halves[0].count == 0 && wbuf->halves[1].count == 0;
    for (unsigned i = 0; i < 2 && empty && wbuf->resting; i++) {
        /* The flusher may be looking at the count of the half in flight: it is not written. */
        half_unmap(&wbuf->halves[i]);
    }
    account(wbuf);
    wbuf->resting = empty;
}

static bool half_reserve(fx_wbuf_half *half, uint32_t entries, size_t bytes) {
    if (half->capacity - half->count < entries) {
        uint32_t capacity = half->capacity == 0 ? 64 : half->capacity;
        while (capacity - half->count < entries) {
            capacity *= 2;
        }
        fx_wbuf_entry *grown =
            fx_mem_remap(half->entries, entries_size(half->capacity), entries_size(capacity));
        if (grown == NULL) {
            return false;
        }
        half->entries = grown;
        half->capacity = capacity;
    }
    if (half->size - half->used < bytes) {
        size_t size = half->size == 0 ? PAGE : half->size;
        while (size - half->used < bytes) {
            size *= 2;
        }
        uint8_t *grown = fx_mem_remap(half->bytes, half->size, size);
        if (grown == NULL) {
            return false;
        }
        half->bytes = grown;
        half->size = size;
    }
    return true;
}

bool fx_wbuf_reserve(fx_wbuf *wbuf, size_t key_len, size_t value_len) {
    size_t bytes = fx_format_record_size(FX_ENTRY_LARGE, key_len, 0, true);
    if (value_len < FX_LARGE_VALUE_MIN) {
        bytes += fx_round_up(value_len, FX_RECORD_ALIGN);
    }
    fx_wbuf_half *half = &wbuf->halves[wbuf->open];
    if (FX_LIKELY(half->count < half->capacity && half->size - half->used >= bytes)) {
        return true;
    }
    bool done = half_reserve(half, 1, bytes);
    account(wbuf);
    return done;
}

/* A new entry at the end of the open half; its bytes are the caller's to fill. */
static fx_wbuf_entry *append_entry(fx_wbuf_half *half, size_t size, uint64_t now_ns) {
    FX_ASSERT(half->count < half->capacity && size <= half->size - half->used);
    fx_wbuf_entry *entry = &half->entries[half->count++];
    memset(entry, 0, sizeof *entry);
    entry->offset = (uint32_t)half->used;
    half->used += size;
    if (half->first_ns == 0) {
        half->first_ns = now_ns != 0 ? now_ns : 1;
    }
    return entry;
}

static void drop_block(fx_wbuf_half *half, fx_wbuf_entry *entry) {
    if (entry->block != NULL) {
        half->large_bytes -= entry->block->size;
        fx_block_release(entry->block);
        entry->block = NULL;
    }
}

/* Other shards have their turn before this one: so where its next record will go, if it is as long
 * as the last, is asked for now. A longer one is written line after line anyway. */
static void prefetch_next(const fx_wbuf_half *half, size_t size) {
    uintptr_t bytes = (uintptr_t)half->bytes + half->used;
    size = size < PREFETCH_MAX ? size : PREFETCH_MAX;
    for (size_t line = 0; line < size + FX_CACHE_LINE; line += FX_CACHE_LINE) {
        __builtin_prefetch((const void *)(bytes + line), 1);
    }
    uintptr_t entry = (uintptr_t)&half->entries[half->count];
    __builtin_prefetch((const void *)(entry + sizeof(fx_wbuf_entry) - 1), 1);
}

static void fill_entry(fx_wbuf_half *half, fx_wbuf_entry *slot, const fx_entry *entry, size_t size,
                       fx_block *block) {
    slot->kind = (uint8_t)entry->kind;
    slot->size = (uint32_t)size;
    fx_format_record_encode(half->bytes + slot->offset, entry);
    if (block != NULL) {
        fx_block_acquire(block);
        half->large_bytes += block->size;
    }
    drop_block(half, slot);
    slot->block = block;
}

/* What the key's newest version at `location` means for an entry that follows it in the open half.
 */
static void succeed(fx_wbuf *wbuf, fx_wbuf_entry *slot, uint64_t location) {
    slot->predecessor = location != 0;
    if ((location & FX_LOCATION_DIRTY) != 0) {
        fx_wbuf_entry *old = location_entry(wbuf, location);
        old->record = NULL; /* its location will be dead from the start; the flusher sees to it */
    } else {
        slot->old_location = location;
    }
}

void fx_wbuf_put(fx_wbuf *wbuf, const fx_entry *entry, fx_record *record, fx_block *block,
                 uint64_t location, uint64_t now_ns) {
    fx_wbuf_half *half = &wbuf->halves[wbuf->open];
    size_t size =
        fx_format_record_size(entry->kind, entry->key_len, entry->value_len, entry->expiry_ns != 0);
    fx_wbuf_entry *slot;
    if ((location & FX_LOCATION_DIRTY) != 0 && location_half(location) == wbuf->open) {
        slot = location_entry(wbuf, location);
        if (size > slot->size) { /* the old bytes are waste until the flush */
            slot->offset = (uint32_t)half->used;
            half->used += size;
            FX_ASSERT(half->used <= half->size);
        }
    } else {
        slot = append_entry(half, size, now_ns);
        succeed(wbuf, slot, location);
        prefetch_next(half, size);
    }
    fill_entry(half, slot, entry, size, block);
    slot->record = record;
    fx_record_set_location(record, dirty_location(wbuf->open, (uint32_t)(slot - half->entries)));
}

static bool half_cancel(fx_wbuf_half *half, uint64_t version) {
    for (uint32_t i = half->count; i-- > 0;) {
        fx_wbuf_entry *entry = &half->entries[i];
        if (entry->size > 0 && fx_format_record_version(half->bytes + entry->offset) == version) {
            drop_block(half, entry);
            entry->record = NULL;
            entry->old_location = 0;
            entry->size = 0;
            return true;
        }
    }
    return false;
}

bool fx_wbuf_cancel(fx_wbuf *wbuf, uint64_t version, bool flight) {
    return half_cancel(&wbuf->halves[wbuf->open], version) ||
           (flight && half_cancel(fx_wbuf_flight(wbuf), version));
}

void fx_wbuf_delete(fx_wbuf *wbuf, const fx_entry *entry, uint64_t location, uint64_t now_ns) {
    fx_wbuf_half *half = &wbuf->halves[wbuf->open];
    size_t size = fx_format_record_size(FX_ENTRY_TOMBSTONE, entry->key_len, 0, false);
    fx_entry tombstone = *entry;
    fx_wbuf_entry *slot;
    if (location == 0) {
        return;
    }
    tombstone.kind = FX_ENTRY_TOMBSTONE;
    tombstone.value_len = 0;
    tombstone.expiry_ns = 0;
    if ((location & FX_LOCATION_DIRTY) != 0 && location_half(location) == wbuf->open) {
        slot = location_entry(wbuf, location);
        if (!slot->predecessor) {
            drop_block(half, slot);
            slot->record = NULL;
            slot->size = 0;
            return;
        }
        FX_ASSERT(size <= slot->size);
    } else {
        slot = append_entry(half, size, now_ns);
        succeed(wbuf, slot, location);
    }
    fill_entry(half, slot, &tombstone, size, NULL);
    slot->record = NULL;
}

bool fx_wbuf_full(const fx_wbuf *wbuf) {
    const fx_wbuf_half *half = &wbuf->halves[wbuf->open];
    return half->used + half->large_bytes >= wbuf->size_max;
}

uint64_t fx_wbuf_waiting(const fx_wbuf *wbuf) {
    return wbuf->halves[0].used + wbuf->halves[0].large_bytes + wbuf->halves[1].used +
           wbuf->halves[1].large_bytes;
}

void fx_wbuf_cut(fx_wbuf *wbuf) {
    FX_ASSERT(fx_wbuf_flight(wbuf)->count == 0);
    wbuf->open ^= 1u;
}

void fx_wbuf_recycle(fx_wbuf *wbuf) {
    fx_wbuf_half *half = fx_wbuf_flight(wbuf);
    half_clear(half);
    if (half->size > KEEP_BYTES || half->capacity > KEEP_ENTRIES) {
        half_free(half);
        account(wbuf);
    }
}

/* Appends a copy of `from` to `to`, which has room. Locations follow. */
static void half_append(fx_wbuf_half *to, uint32_t to_index, const fx_wbuf_half *from,
                        bool drop_superseded) {
    for (uint32_t i = 0; i < from->count; i++) {
        fx_wbuf_entry *slot = &to->entries[to->count];
        *slot = from->entries[i];
        slot->offset = (uint32_t)to->used;
        if (drop_superseded && slot->record == NULL && slot->kind != FX_ENTRY_TOMBSTONE) {
            /* A later entry of the key follows in the same half now (W1); this one stays for its
             * old location only. */
            slot->size = 0;
            drop_block(to, slot);
        }
        fx_copy(to->bytes + to->used, from->bytes + from->entries[i].offset, slot->size);
        to->used += slot->size;
        if (slot->record != NULL) {
            fx_record_set_location(slot->record, dirty_location(to_index, to->count));
        }
        to->count++;
    }
}

bool fx_wbuf_uncut(fx_wbuf *wbuf) {
    uint32_t flight = wbuf->open ^ 1u;
    fx_wbuf_half *early = &wbuf->halves[flight];
    fx_wbuf_half *late = &wbuf->halves[wbuf->open];
    fx_wbuf_half merged = {0};
    if (early->count == 0) {
        return true;
    }
    if (late->count == 0) { /* the usual case: nothing was committed meanwhile */
        wbuf->open = flight;
        return true;
    }
    if (!half_reserve(&merged, early->count + late->count, early->used + late->used)) {
        half_unmap(&merged);
        return false;
    }
    merged.large_bytes = early->large_bytes + late->large_bytes;
    merged.first_ns = early->first_ns;
    half_append(&merged, wbuf->open, early, true);
    half_append(&merged, wbuf->open, late, false);
    early->count = 0; /* the references moved */
    late->count = 0;
    half_free(early);
    half_free(late);
    *late = merged;
    account(wbuf);
    return true;
}

static const char *half_check(const fx_wbuf_half *half, uint32_t index) {
    uint64_t large = 0;
    uint64_t sum = 0;
    if (half->count > half->capacity || half->used > half->size) {
        return "a write buffer is fuller than it can be";
    }
    if ((half->count == 0) != (half->first_ns == 0)) {
        return "a write buffer's age does not go with its content";
    }
    for (uint32_t i = 0; i < half->count; i++) {
        const fx_wbuf_entry *entry = &half->entries[i];
        sum += entry->size;
        large += entry->block != NULL ? entry->block->size : 0;
        if (entry->size % FX_RECORD_ALIGN != 0 ||
            entry->offset + (size_t)entry->size > half->used) {
            return "an entry of a write buffer lies outside it";
        }
        if (entry->size > 0 && fx_format_record_peek(half->bytes + entry->offset) != entry->size) {
            return "an entry of a write buffer has another size than its record";
        }
        if (entry->record != NULL &&
            fx_record_location(entry->record) != dirty_location(index, i)) {
            return "a record does not point at its entry in the write buffer";
        }
    }
    if (sum > half->used || large != half->large_bytes) {
        return "the sums of a write buffer are wrong";
    }
    return NULL;
}

const char *fx_wbuf_check(const fx_wbuf *wbuf) {
    const char *wrong = half_check(&wbuf->halves[0], 0);
    return wrong != NULL ? wrong : half_check(&wbuf->halves[1], 1);
}
