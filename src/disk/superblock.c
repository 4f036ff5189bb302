/* superblock: why this way. Two copies and a generation make the flip to a new checkpoint atomic: a
 * torn write costs the copy that was being written, and the other one is the root before it, whose
 * space is not reused until the new copy is durable. The magic, the checksum over the rest and the
 * place of the version number stay the same in all later formats, so that this code can tell a
 * newer file from a damaged one.
 */
#include "disk/superblock.h"

#include <string.h>

#include "base/checksum.h"

/*   OFFSET  SIZE  FIELD
 *        0     8  magic
 *        8     8  checksum of bytes 16..4095, seeded with the number of the copy
 *       16     4  format version
 *       20     4  block size
 *       24    16  store id
 *       40     8  generation
 *       48     8  flags
 *       56    16  journal extent: block, count
 *       72     8  journal head
 *       80     8  epoch
 *       88     8  group
 *       96    16  checkpoint extent: block, count
 *      112     8  checkpoint length in bytes
 *      120     8  checkpoint checksum
 *      128     8  counter
 *      136     8  time
 *      144     8  file blocks
 *      152     8  mirror: block of the checkpoint's second copy
 *      160  3936  zero
 */
#define SUPERBLOCK_MAGIC 0x316f7453786f6546u /* "FeoxSto1" */
#define SUPERBLOCK_SEED 0x73757065u

static uint64_t block_checksum(const uint8_t *block, unsigned copy) {
    return fx_checksum(block + 16, FX_BLOCK_SIZE - 16, SUPERBLOCK_SEED + copy);
}

void fx_superblock_encode(uint8_t *block, const fx_superblock *s) {
    memset(block, 0, FX_BLOCK_SIZE);
    fx_put_u64(block, SUPERBLOCK_MAGIC);
    fx_put_u32(block + 16, FX_FORMAT_VERSION);
    fx_put_u32(block + 20, FX_BLOCK_SIZE);
    const uint64_t fields[] = {
        s->id.low,
        s->id.high,
        s->generation,
        s->flags,
        s->journal.block,
        s->journal.count,
        s->journal_head,
        s->epoch,
        s->group,
        s->checkpoint.block,
        s->checkpoint.count,
        s->checkpoint_length,
        s->checkpoint_checksum,
        s->counter,
        s->time_ns,
        s->file_blocks,
        s->mirror,
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        fx_put_u64(block + 24 + 8 * i, fields[i]);
    }
    fx_put_u64(block + 8, block_checksum(block, (unsigned)(s->generation % FX_SUPERBLOCK_COPIES)));
}

static void decode_fields(const uint8_t *block, fx_superblock *s) {
    uint64_t *const fields[] = {
        &s->id.low,
        &s->id.high,
        &s->generation,
        &s->flags,
        &s->journal.block,
        &s->journal.count,
        &s->journal_head,
        &s->epoch,
        &s->group,
        &s->checkpoint.block,
        &s->checkpoint.count,
        &s->checkpoint_length,
        &s->checkpoint_checksum,
        &s->counter,
        &s->time_ns,
        &s->file_blocks,
        &s->mirror,
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i] = fx_get_u64(block + 24 + 8 * i);
    }
}

feox_status fx_superblock_decode(const uint8_t *area, fx_superblock *superblock_out,
                                 unsigned *damaged_out) {
    unsigned ours = 0;
    unsigned valid = 0;
    bool newer = false;
    memset(superblock_out, 0, sizeof *superblock_out);
    for (unsigned copy = 0; copy < FX_SUPERBLOCK_COPIES; copy++) {
        const uint8_t *block = area + (size_t)copy * FX_BLOCK_SIZE;
        if (fx_get_u64(block) != SUPERBLOCK_MAGIC) {
            continue;
        }
        ours++;
        if (fx_get_u64(block + 8) != block_checksum(block, copy)) {
            continue;
        }
        if (fx_get_u32(block + 16) > FX_FORMAT_VERSION) {
            newer = true;
            continue;
        }
        fx_superblock found;
        decode_fields(block, &found);
        if (fx_get_u32(block + 16) != FX_FORMAT_VERSION ||
            fx_get_u32(block + 20) != FX_BLOCK_SIZE ||
            found.generation % FX_SUPERBLOCK_COPIES != copy) {
            continue;
        }
        if (valid++ == 0 || found.generation > superblock_out->generation) {
            *superblock_out = found;
        }
    }
    *damaged_out = FX_SUPERBLOCK_COPIES - valid;
    if (newer) {
        return FEOX_ERR_NEWER;
    }
    if (valid > 0) {
        return FEOX_OK;
    }
    return ours > 0 ? FEOX_ERR_CORRUPT : FEOX_ERR_NOT_FEOX;
}

static bool extent_fits(const fx_extent *extent, uint64_t file_blocks) {
    return extent->block >= FX_SUPERBLOCK_COPIES && extent->block <= file_blocks &&
           extent->count <= file_blocks - extent->block;
}

static bool apart(const fx_extent *a, const fx_extent *b) {
    return a->block >= b->block + b->count || a->block + a->count <= b->block;
}

/* No table is longer than this: each segment and each large value has a block at least, and the
 * live bits are a 256th of the segments. */
static bool table_fits(const fx_superblock *s, uint64_t file_blocks) {
    const fx_extent mirror = {.block = s->mirror, .count = s->checkpoint.count};
    return extent_fits(&s->checkpoint, file_blocks) && extent_fits(&mirror, file_blocks) &&
           s->checkpoint_length <= s->checkpoint.count * FX_BLOCK_SIZE &&
           s->checkpoint_length / 128 <= file_blocks && apart(&s->checkpoint, &s->journal) &&
           apart(&mirror, &s->journal) && apart(&s->checkpoint, &mirror);
}

bool fx_superblock_fits(const fx_superblock *s, uint64_t file_blocks) {
    if (s->group >= FX_TIME_END || s->generation >= FX_TIME_END || s->counter >= FX_COUNTER_END) {
        return false;
    }
    if (!extent_fits(&s->journal, file_blocks) || s->journal.count == 0 ||
        s->journal.count > FX_JOURNAL_SIZE_MAX / FX_BLOCK_SIZE ||
        s->journal_head >= s->journal.count) {
        return false;
    }
    return s->checkpoint.count == 0 || table_fits(s, file_blocks);
}
