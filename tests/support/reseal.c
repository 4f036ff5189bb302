#include "support/reseal.h"

#include <string.h>

#include "base/checksum.h"
#include "disk/checkpoint.h"

#define SUPERBLOCK_SEED 0x73757065u

/* Sums of a segment's records, as long as they can be followed, and of the whole. */
static void reseal_segment(const hostile *h, uint8_t *bytes, uint64_t position, uint32_t length) {
    uint8_t *image = bytes + position;
    size_t at = FX_SEGMENT_HEADER_SIZE;
    while (at + FX_RECORD_HEADER_SIZE <= length) {
        size_t size = fx_format_record_peek(image + at);
        if (size == 0 || size > length - at) {
            break;
        }
        fx_format_record_seal(image + at, size, &h->root.id, position + at,
                              fx_get_u64(image + 32));
        at += size;
    }
    uint32_t said = fx_get_u32(image + 52);
    const fx_segment_header header = {
        .group = fx_get_u64(image + 32),
        .position = position,
        .record_count = fx_get_u32(image + 48),
        .byte_length = said >= FX_SEGMENT_HEADER_SIZE && said <= length ? said : length};
    (void)fx_format_segment_seal(image, &h->root.id, &header);
}

static void reseal_table(const hostile *h, uint8_t *bytes, size_t file_size) {
    const fx_superblock *root = &h->root;
    size_t length = (size_t)root->checkpoint_length;
    uint64_t first = root->checkpoint.block * FX_BLOCK_SIZE;
    uint64_t second = root->mirror * FX_BLOCK_SIZE;
    if (length == 0 || first + length > file_size || second + length > file_size) {
        return;
    }
    uint8_t *image = bytes + first;
    const uint8_t *sound = h->bytes + first;
    for (size_t at = FX_CHECKPOINT_HEADER_SIZE; at < length;) {
        size_t words = fx_get_u16(sound + at + 38) != 0
                           ? ((size_t)fx_get_u32(sound + at + 28) + 63) / 64
                           : fx_segment_words(fx_get_u32(sound + at + 4));
        size_t size = 40 + words * 8 + (size_t)fx_get_u16(sound + at + 36) * 16;
        uint64_t seed = fx_checkpoint_seed(&root->id, root->group) + at;
        fx_put_u32(image + at, (uint32_t)fx_checksum(image + at + 4, size - 4, seed));
        at += size;
    }
    uint64_t sum = fx_checksum(image + 16, length - 16, fx_checkpoint_seed(&root->id, root->group));
    fx_put_u64(image + 8, sum);
    memcpy(bytes + second, image, length);
    for (unsigned copy = 0; copy < FX_SUPERBLOCK_COPIES; copy++) {
        fx_put_u64(bytes + (size_t)copy * FX_BLOCK_SIZE + 120, sum);
    }
}

/* An entry's items get the sums of their segments. */
static void reseal_items(uint8_t *entry, uint32_t count, const uint8_t *bytes, size_t file_size) {
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *item = entry + FX_JOURNAL_HEADER_SIZE + (size_t)i * FX_JOURNAL_ITEM_SIZE;
        uint64_t position = fx_get_u64(item);
        if (position < file_size && file_size - position >= FX_SEGMENT_HEADER_SIZE) {
            fx_put_u64(item + 8, fx_get_u64(bytes + position + 8));
        }
    }
}

static void reseal_journal(const hostile *h, uint8_t *bytes, size_t file_size) {
    uint64_t first = h->root.journal.block * FX_BLOCK_SIZE;
    uint64_t end = first + h->root.journal.count * FX_BLOCK_SIZE;
    end = end < file_size ? end : file_size / FX_BLOCK_SIZE * FX_BLOCK_SIZE;
    for (uint64_t at = first; at < end; at += FX_BLOCK_SIZE) {
        fx_journal_entry entry;
        if (!fx_journal_decode(h->bytes + at, (size_t)(end - at), &h->root.id, at, h->root.epoch,
                               &entry)) {
            continue;
        }
        uint8_t *to = bytes + at;
        uint32_t count = fx_get_u32(to + 88);
        count = count < 100 ? count : 1;
        reseal_items(to, count, bytes, file_size);
        fx_put_u32(to + 88, count);
        fx_put_u64(to + 32, at);
        fx_journal_seal(to, &h->root.id);
    }
}

void hostile_reseal(const hostile *sound, uint8_t *bytes, size_t size) {
    for (size_t s = 0; s < sound->segment_count; s++) {
        if (sound->segments[s] + sound->segment_lengths[s] <= size) {
            reseal_segment(sound, bytes, sound->segments[s], sound->segment_lengths[s]);
        }
    }
    if (size < FX_SUPERBLOCK_AREA) {
        return;
    }
    reseal_table(sound, bytes, size);
    reseal_journal(sound, bytes, size);
    for (unsigned copy = 0; copy < FX_SUPERBLOCK_COPIES; copy++) {
        uint8_t *block = bytes + (size_t)copy * FX_BLOCK_SIZE;
        fx_put_u64(block + 8, fx_checksum(block + 16, FX_BLOCK_SIZE - 16, SUPERBLOCK_SEED + copy));
    }
}
