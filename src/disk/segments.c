/* segments: why this way. A sorted array: segments are found for every record that dies, added a
 * few per group, and removed in bulk at checkpoints; a tree would cost a cache miss per level for
 * the frequent operation. Nothing that happens after a group was written needs memory: bits are
 * cleared, and a dead large value stays in its segment's list until the checkpoint that frees its
 * extent.
 *
 * Invariants: S1 positions rise and extents do not overlap. S2 live_count = bits set, and every bit
 * lies within the segment. S3 a large value is dead when its record's bit is clear.
 */
#include "disk/segments.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* How often over a walk through a damaged segment may sum its bytes in search of the next record:
 * hostile bytes could otherwise make it quadratic. */
#define WALK_BUDGET 16u

fx_disk_segment *fx_segment_create(uint64_t position, uint32_t byte_length, uint32_t blocks,
                                   uint64_t group, uint32_t record_count, uint32_t large_capacity) {
    size_t words = fx_segment_words(byte_length);
    fx_disk_segment *segment = fx_mem_zalloc(sizeof *segment + words * sizeof(uint64_t));
    if (segment == NULL) {
        return NULL;
    }
    if (large_capacity > 0) {
        segment->larges = fx_mem_alloc(large_capacity * sizeof *segment->larges);
        if (segment->larges == NULL) {
            fx_mem_free(segment);
            return NULL;
        }
    }
    segment->position = position;
    segment->byte_length = byte_length;
    segment->blocks = blocks;
    segment->group = group;
    segment->record_count = record_count;
    segment->known_count = record_count;
    segment->known_bytes = byte_length - FX_SEGMENT_HEADER_SIZE;
    segment->large_capacity = large_capacity;
    return segment;
}

void fx_segment_destroy(fx_disk_segment *segment) {
    if (segment != NULL) {
        fx_mem_free(segment->larges);
        fx_mem_free(segment);
    }
}

bool fx_segment_reserve_large(fx_disk_segment *segment) {
    if (segment->large_count < segment->large_capacity) {
        return true;
    }
    uint32_t capacity = segment->large_capacity == 0 ? 4 : segment->large_capacity * 2;
    fx_segment_large *grown = fx_mem_realloc(segment->larges, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    segment->larges = grown;
    segment->large_capacity = capacity;
    return true;
}

void fx_segment_add_large(fx_disk_segment *segment, uint32_t record_offset, uint64_t block,
                          uint32_t blocks) {
    FX_ASSERT(segment->large_count < segment->large_capacity);
    segment->larges[segment->large_count++] =
        (fx_segment_large){.record_offset = record_offset, .blocks = blocks, .block = block};
}

fx_segment_large *fx_segment_find_large(const fx_disk_segment *segment, uint32_t record_offset) {
    uint32_t low = 0;
    uint32_t high = segment->large_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->larges[middle].record_offset < record_offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < segment->large_count && segment->larges[low].record_offset == record_offset
               ? &segment->larges[low]
               : NULL;
}

bool fx_segment_is_live(const fx_disk_segment *segment, uint32_t record_offset) {
    uint32_t unit = record_offset / FX_RECORD_SIZE_MIN;
    return (segment->live[unit / 64] >> (unit % 64) & 1) != 0;
}

void fx_segment_set_live(fx_disk_segment *segment, uint32_t record_offset) {
    uint32_t unit = record_offset / FX_RECORD_SIZE_MIN;
    FX_ASSERT(!fx_segment_is_live(segment, record_offset));
    segment->live[unit / 64] |= (uint64_t)1 << (unit % 64);
    segment->live_count++;
}

/* Dead records may be of any length: then the length of the others is not this one, either. */
void fx_segment_find_stride(fx_disk_segment *segment) {
    uint32_t bytes = segment->byte_length - FX_SEGMENT_HEADER_SIZE;
    uint32_t count = segment->record_count;
    uint32_t stride = count > 0 && bytes % count == 0 ? bytes / count : 0;
    uint32_t found = 0;
    segment->stride = 0;
    if (stride <= FX_RECORD_SIZE_MIN || stride % FX_RECORD_ALIGN != 0) {
        return;
    }
    for (uint32_t i = 0, at = FX_SEGMENT_HEADER_SIZE; i < count; i++, at += stride) {
        found += fx_segment_is_live(segment, at) ? 1u : 0u;
    }
    segment->stride = found == segment->live_count ? stride : 0;
}

uint32_t fx_segment_next_live(const fx_disk_segment *segment, uint32_t unit) {
    size_t words = fx_segment_words(segment->byte_length);
    size_t word = unit / 64;
    if (word >= words) {
        return UINT32_MAX;
    }
    uint64_t bits = segment->live[word] & ~(uint64_t)0 << (unit % 64);
    while (bits == 0) {
        if (++word >= words) {
            return UINT32_MAX;
        }
        bits = segment->live[word];
    }
    return (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
}

uint64_t fx_segment_live_bytes(const fx_disk_segment *segment) {
    if (segment->live_count >= segment->known_count) {
        return segment->live_count > 0 ? segment->known_bytes : 0;
    }
    return (uint64_t)segment->known_bytes * segment->live_count / segment->known_count;
}

static bool overlap(uint64_t block, uint64_t count, const fx_extent *range) {
    return block < range->block ? range->block - block < count && range->count > 0
                                : block - range->block < range->count && count > 0;
}

bool fx_segment_touches(const fx_disk_segment *segment, const fx_extent *range) {
    if (segment->live_count == 0) {
        return false;
    }
    if (overlap(segment->position / FX_BLOCK_SIZE, segment->blocks, range)) {
        return true;
    }
    for (uint32_t i = 0; i < segment->large_count; i++) {
        const fx_segment_large *large = &segment->larges[i];
        if (overlap(large->block, large->blocks, range) &&
            fx_segment_is_live(segment, large->record_offset)) {
            return true;
        }
    }
    return false;
}

void fx_segment_walk_init(fx_segment_walk *walk, const fx_store_id *id, const uint8_t *image,
                          uint64_t position, uint64_t group, uint32_t byte_length) {
    *walk = (fx_segment_walk){.id = id,
                              .image = image,
                              .position = position,
                              .group = group,
                              .byte_length = byte_length,
                              .offset = FX_SEGMENT_HEADER_SIZE,
                              .unit = FX_SEGMENT_HEADER_SIZE / FX_RECORD_SIZE_MIN,
                              .budget = (uint64_t)WALK_BUDGET * byte_length};
}

/* What begins at `offset`: FX_WALK_DAMAGED if no record does. */
static fx_walk_result walk_try(fx_segment_walk *walk, uint32_t offset, fx_walked *out) {
    const uint8_t *bytes = walk->image + offset;
    uint64_t position = walk->position + offset;
    size_t left = walk->byte_length - offset;
    size_t size = 0;
    FX_ASSERT(offset < walk->byte_length);
    if (!fx_format_record_decode(bytes, left, &out->entry, &size)) {
        return FX_WALK_DAMAGED;
    }
    if (walk->lost) {
        if (size > walk->budget) {
            walk->budget = 0;
            return FX_WALK_DAMAGED;
        }
        walk->budget -= size;
    }
    bool sound = fx_format_record_verify(bytes, left, walk->id, position, &out->entry, &size);
    /* A search would take too much for a head: it must find the whole record. */
    if ((!sound && walk->lost) ||
        !fx_format_record_head_verify(bytes, walk->id, position, walk->group)) {
        return FX_WALK_DAMAGED;
    }
    out->offset = offset;
    out->size = (uint32_t)size;
    out->location = position / FX_RECORD_ALIGN;
    walk->offset = offset + (uint32_t)size;
    walk->lost = false;
    return sound ? FX_WALK_RECORD : FX_WALK_BAD_VALUE;
}

/* Steps over dead records, by their sizes alone, up to the unit. That lies within the segment (S2),
 * so a whole header is before its end. */
static void walk_skip(fx_segment_walk *walk, uint32_t unit) {
    while (!walk->lost && walk->offset / FX_RECORD_SIZE_MIN < unit) {
        uint32_t left = walk->byte_length - walk->offset;
        size_t size = fx_format_record_peek(walk->image + walk->offset);
        FX_ASSERT(left >= FX_RECORD_HEADER_SIZE);
        if (size == 0 || size > left) {
            walk->lost = true;
        } else {
            walk->offset += (uint32_t)size;
        }
    }
}

fx_walk_result fx_segment_walk_live(fx_segment_walk *walk, const fx_disk_segment *segment,
                                    fx_walked *out) {
    uint32_t unit = fx_segment_next_live(segment, walk->unit);
    if (unit == UINT32_MAX) {
        return FX_WALK_END;
    }
    walk->unit = unit + 1;
    walk_skip(walk, unit);
    if (!walk->lost && walk->offset / FX_RECORD_SIZE_MIN == unit) {
        fx_walk_result result = walk_try(walk, walk->offset, out);
        if (result != FX_WALK_DAMAGED) {
            return result;
        }
    }
    walk->lost = true; /* the sizes before, or this record's, are not to be trusted */
    for (uint32_t i = 0; i < FX_RECORD_SIZE_MIN; i += FX_RECORD_ALIGN) {
        if (walk_try(walk, unit * FX_RECORD_SIZE_MIN + i, out) == FX_WALK_RECORD) {
            return FX_WALK_RECORD;
        }
    }
    out->offset = unit * FX_RECORD_SIZE_MIN;
    out->location = (walk->position + out->offset) / FX_RECORD_ALIGN;
    return FX_WALK_DAMAGED;
}

fx_walk_result fx_segment_walk_all(fx_segment_walk *walk, fx_walked *out) {
    if (walk->offset >= walk->byte_length) {
        return FX_WALK_END;
    }
    if (!walk->lost) {
        fx_walk_result result = walk_try(walk, walk->offset, out);
        walk->lost = result == FX_WALK_DAMAGED;
        return result;
    }
    for (uint32_t at = walk->offset; at < walk->byte_length && walk->budget > 0;
         at += FX_RECORD_ALIGN) {
        if (walk_try(walk, at, out) == FX_WALK_RECORD) {
            return FX_WALK_RECORD;
        }
    }
    walk->offset = walk->byte_length;
    return FX_WALK_END;
}

void fx_segments_init(fx_segments *segments) {
    memset(segments, 0, sizeof *segments);
}

void fx_segments_deinit(fx_segments *segments) {
    for (size_t i = 0; i < segments->count; i++) {
        fx_segment_destroy(segments->items[i]);
    }
    fx_mem_free(segments->items);
    memset(segments, 0, sizeof *segments);
}

bool fx_segments_reserve(fx_segments *segments, size_t count) {
    if (segments->capacity - segments->count >= count) {
        return true;
    }
    size_t capacity = segments->capacity == 0 ? 64 : segments->capacity;
    while (capacity - segments->count < count) {
        capacity *= 2;
    }
    fx_disk_segment **grown = fx_mem_realloc(segments->items, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    segments->items = grown;
    segments->capacity = capacity;
    return true;
}

/* The index of the first segment that begins after `position`. */
static size_t upper_bound(const fx_segments *segments, uint64_t position) {
    size_t low = 0;
    size_t high = segments->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (segments->items[middle]->position <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* What a segment adds to the bytes in packed extents. */
static uint64_t packed_live_bytes(const fx_disk_segment *segment) {
    return segment->blocks > 0 ? fx_segment_live_bytes(segment) : 0;
}

static uint64_t table_words(const fx_disk_segment *segment) {
    return segment->blocks > 0 ? fx_segment_table_words(segment) : 0;
}

static uint64_t memory_of(const fx_disk_segment *segment) {
    return sizeof *segment + fx_segment_words(segment->byte_length) * sizeof(uint64_t) +
           segment->large_capacity * sizeof *segment->larges;
}

/* Adds a segment's share to the sums, or takes it out. */
static void account(fx_segments *segments, const fx_disk_segment *segment, bool add) {
    uint64_t large = 0;
    uint64_t dead = 0;
    for (uint32_t i = 0; i < segment->large_count; i++) {
        large += segment->larges[i].blocks;
        dead += fx_segment_is_live(segment, segment->larges[i].record_offset)
                    ? 0
                    : segment->larges[i].blocks;
    }
    uint64_t empty = segment->live_count == 0 ? segment->blocks : 0;
    uint64_t inlined = segment->blocks == 0 ? segment->byte_length : 0;
    uint64_t words = table_words(segment);
    if (add) {
        segments->live_records += segment->live_count;
        segments->packed_blocks += segment->blocks;
        segments->inline_bytes += inlined;
        segments->large_blocks += large;
        segments->dead_large_blocks += dead;
        segments->dead_segment_blocks += empty;
        segments->live_bytes += packed_live_bytes(segment);
        segments->table_words += words;
        segments->memory += memory_of(segment);
    } else {
        segments->live_records -= segment->live_count;
        segments->packed_blocks -= segment->blocks;
        segments->inline_bytes -= inlined;
        segments->large_blocks -= large;
        segments->dead_large_blocks -= dead;
        segments->dead_segment_blocks -= empty;
        segments->live_bytes -= packed_live_bytes(segment);
        segments->table_words -= words;
        segments->memory -= memory_of(segment);
    }
}

bool fx_segments_overlap(const fx_segments *segments, uint64_t position, uint64_t length) {
    size_t at = upper_bound(segments, position);
    const fx_disk_segment *before = at > 0 ? segments->items[at - 1] : NULL;
    return (before != NULL && before->position + before->byte_length > position) ||
           (at < segments->count && position + length > segments->items[at]->position);
}

bool fx_segments_add(fx_segments *segments, fx_disk_segment *segment) {
    size_t at = upper_bound(segments, segment->position);
    FX_ASSERT(segments->count < segments->capacity);
    if (fx_segments_overlap(segments, segment->position, segment->byte_length)) {
        return false;
    }
    fx_segment_find_stride(segment);
    memmove(&segments->items[at + 1], &segments->items[at],
            (segments->count - at) * sizeof segments->items[0]);
    segments->items[at] = segment;
    segments->count++;
    account(segments, segment, true);
    return true;
}

static int by_position(const void *a, const void *b) {
    const fx_disk_segment *x = *(fx_disk_segment *const *)a;
    const fx_disk_segment *y = *(fx_disk_segment *const *)b;
    return (x->position > y->position) - (x->position < y->position);
}

size_t fx_segments_add_all(fx_segments *segments, fx_disk_segment **list, size_t count) {
    FX_ASSERT(segments->count == 0 && count <= segments->capacity);
    if (count > 0) {
        qsort(list, count, sizeof *list, by_position);
    }
    for (size_t i = 0; i < count; i++) {
        if (!fx_segments_add(segments, list[i])) {
            fx_segment_destroy(list[i]);
        }
    }
    return count - segments->count;
}

static bool is_garbage(const fx_disk_segment *segment) {
    return segment->live_count == 0 || segment->moving;
}

static bool is_dead_large(const fx_disk_segment *segment, const fx_segment_large *large) {
    return !fx_segment_is_live(segment, large->record_offset);
}

static void list_extent(fx_extent *list, size_t capacity, size_t *count, uint64_t block,
                        uint64_t blocks) {
    if (blocks > 0 && (*count)++ < capacity) {
        list[*count - 1] = (fx_extent){.block = block, .count = blocks};
    }
}

size_t fx_segments_garbage(const fx_segments *segments, fx_extent *list, size_t capacity) {
    size_t count = 0;
    for (size_t i = 0; i < segments->count; i++) {
        const fx_disk_segment *segment = segments->items[i];
        if (is_garbage(segment)) {
            list_extent(list, capacity, &count, segment->position / FX_BLOCK_SIZE, segment->blocks);
        }
        for (uint32_t j = 0; j < segment->large_count; j++) {
            const fx_segment_large *large = &segment->larges[j];
            if (is_dead_large(segment, large)) {
                list_extent(list, capacity, &count, large->block, large->blocks);
            }
        }
    }
    return count;
}

void fx_segments_sweep(fx_segments *segments) {
    size_t kept = 0;
    for (size_t i = 0; i < segments->count; i++) {
        fx_disk_segment *segment = segments->items[i];
        account(segments, segment, false);
        if (is_garbage(segment)) {
            fx_segment_destroy(segment);
            continue;
        }
        uint32_t larges = 0;
        for (uint32_t j = 0; j < segment->large_count; j++) {
            if (!is_dead_large(segment, &segment->larges[j])) {
                segment->larges[larges++] = segment->larges[j];
            }
        }
        segment->large_count = larges;
        account(segments, segment, true);
        segments->items[kept++] = segment;
    }
    segments->count = kept;
}

void fx_segments_measured(fx_segments *segments, fx_disk_segment *segment, uint32_t bytes) {
    segments->live_bytes -= packed_live_bytes(segment);
    segment->known_count = segment->live_count;
    segment->known_bytes = bytes;
    segments->live_bytes += packed_live_bytes(segment);
}

fx_disk_segment *fx_segments_find(const fx_segments *segments, uint64_t position) {
    size_t at = upper_bound(segments, position);
    if (at == 0) {
        return NULL;
    }
    fx_disk_segment *segment = segments->items[at - 1];
    return position - segment->position < segment->byte_length ? segment : NULL;
}

/* The segment and the offset of a location; NULL: none. */
static fx_disk_segment *locate(const fx_segments *segments, uint64_t location,
                               uint32_t *offset_out) {
    if (location > UINT64_MAX / FX_RECORD_ALIGN) {
        return NULL;
    }
    fx_disk_segment *segment = fx_segments_find(segments, location * FX_RECORD_ALIGN);
    if (segment != NULL) {
        *offset_out = (uint32_t)(location * FX_RECORD_ALIGN - segment->position);
    }
    return segment;
}

/* Dead large values rise, or fall, with the bit of their record. */
static uint64_t large_blocks_at(const fx_disk_segment *segment, uint32_t offset) {
    const fx_segment_large *large = fx_segment_find_large(segment, offset);
    return large != NULL ? large->blocks : 0;
}

bool fx_segments_set_live(fx_segments *segments, uint64_t location) {
    uint32_t offset = 0;
    fx_disk_segment *segment = locate(segments, location, &offset);
    if (segment == NULL || fx_segment_is_live(segment, offset)) {
        return false;
    }
    segments->dead_segment_blocks -= segment->live_count == 0 ? segment->blocks : 0;
    segments->live_bytes -= packed_live_bytes(segment);
    segments->table_words -= table_words(segment);
    fx_segment_set_live(segment, offset);
    fx_segment_find_stride(segment);
    segments->table_words += table_words(segment);
    segments->live_bytes += packed_live_bytes(segment);
    segments->live_records++;
    segments->dead_large_blocks -= large_blocks_at(segment, offset);
    return true;
}

bool fx_segments_set_dead(fx_segments *segments, uint64_t location) {
    uint32_t offset = 0;
    fx_disk_segment *segment = locate(segments, location, &offset);
    if (segment == NULL || !fx_segment_is_live(segment, offset)) {
        return false;
    }
    uint32_t unit = offset / FX_RECORD_SIZE_MIN;
    segment->live[unit / 64] &= ~((uint64_t)1 << (unit % 64));
    segments->live_bytes -= packed_live_bytes(segment);
    segment->live_count--;
    segments->live_bytes += packed_live_bytes(segment);
    segments->live_records--;
    segments->dead_large_blocks += large_blocks_at(segment, offset);
    segments->dead_segment_blocks += segment->live_count == 0 ? segment->blocks : 0;
    return true;
}

bool fx_segments_is_live(const fx_segments *segments, uint64_t location) {
    uint32_t offset = 0;
    const fx_disk_segment *segment = locate(segments, location, &offset);
    return segment != NULL && fx_segment_is_live(segment, offset);
}

static const char *segment_check(const fx_disk_segment *segment) {
    uint32_t units = segment->byte_length / FX_RECORD_SIZE_MIN;
    uint32_t bits = 0;
    for (uint32_t unit = fx_segment_next_live(segment, 0); unit != UINT32_MAX;
         unit = fx_segment_next_live(segment, unit + 1)) {
        if (unit >= units) {
            return "a live record lies outside its segment";
        }
        bits++;
    }
    if (bits != segment->live_count || bits > segment->record_count) {
        return "a segment's count of live records is wrong";
    }
    for (uint32_t i = 1; i < segment->large_count; i++) {
        if (segment->larges[i - 1].record_offset >= segment->larges[i].record_offset) {
            return "the large values of a segment are out of order";
        }
    }
    return NULL;
}

const char *fx_segments_check(const fx_segments *segments) {
    fx_segments sums = {0};
    for (size_t i = 0; i < segments->count; i++) {
        const fx_disk_segment *segment = segments->items[i];
        const char *wrong = segment_check(segment);
        if (wrong != NULL) {
            return wrong;
        }
        if (i > 0 && segments->items[i - 1]->position + segments->items[i - 1]->byte_length >
                         segment->position) {
            return "segments overlap or are out of order";
        }
        account(&sums, segment, true);
    }
    if (sums.live_records != segments->live_records ||
        sums.packed_blocks != segments->packed_blocks ||
        sums.inline_bytes != segments->inline_bytes ||
        sums.large_blocks != segments->large_blocks ||
        sums.dead_large_blocks != segments->dead_large_blocks ||
        sums.dead_segment_blocks != segments->dead_segment_blocks ||
        sums.live_bytes != segments->live_bytes || sums.table_words != segments->table_words ||
        sums.memory != segments->memory) {
        return "the sums over all segments are wrong";
    }
    return NULL;
}
