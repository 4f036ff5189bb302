/* fuzz_open: a store's file as an attacker or a bad disk leaves it: opened, read, checked,
 * salvaged, opened to be written. The input is not the file but a list of changes to a sound one:
 * so it is short, each byte of it matters, and the sums can be made right afterwards.
 *
 *   byte 0: bit 0: with groups in the journal; bit 1: sums are made right, and any value may come;
 *           else nothing wrong may be returned; bit 7: the rest is the file itself
 *   then changes: what, where (a piece of the file and an offset in it), with what
 */
#define _GNU_SOURCE
#include "fuzz/fuzz.h"
#include "support/reseal.h"

#define RING 8u
/* The rest of the file is free. */
#define FILE_SIZE ((size_t)64 * FX_BLOCK_SIZE)

enum { SEALED = 2, RAW = 0x80 };

static hostile *stores[2];
static uint8_t *file;
static size_t file_size;

typedef struct piece {
    size_t at;
    size_t size;
} piece;

/* A superblock, the checkpoint, the head of a journal entry, a segment, or any block. */
static piece choose_piece(fuzz_bytes *bytes, const hostile *h) {
    uint8_t which = fuzz_u8(bytes);
    uint8_t number = which >> 3;
    piece p = {.size = 160};
    switch (which & 7) {
    case 0:
    case 1:
        p.at = (size_t)(which & 1) * FX_BLOCK_SIZE;
        break;
    case 2:
        p = (piece){(size_t)(h->root.checkpoint.block * FX_BLOCK_SIZE),
                    (size_t)h->root.checkpoint_length};
        break;
    case 3:
        number = (uint8_t)((h->root.journal_head + number) % h->root.journal.count);
        p.at = (size_t)(h->root.journal.block + number) * FX_BLOCK_SIZE;
        break;
    case 4:
    case 5:
    case 6:
        p.at = (size_t)h->segments[number % h->segment_count];
        p.size = h->segment_lengths[number % h->segment_count];
        break;
    default:
        p = (piece){(size_t)(number + 32u * fuzz_u8(bytes)) * FX_BLOCK_SIZE, FX_BLOCK_SIZE};
        break;
    }
    p.at = p.at < file_size ? p.at : 0;
    p.size = p.size < file_size - p.at ? p.size : file_size - p.at;
    return p;
}

/* Where in the file; at least `size` bytes are there. */
static size_t choose_place(fuzz_bytes *bytes, const hostile *h, size_t size) {
    piece p = choose_piece(bytes, h);
    size_t offset = (size_t)fuzz_number(bytes, 2) * 2;
    if (size > file_size) {
        return 0;
    }
    size_t at = p.at + (p.size > 0 ? offset % p.size : 0);
    return at < file_size - size ? at : file_size - size;
}

static uint64_t choose_number(fuzz_bytes *bytes) {
    static const uint64_t odd[] = {
        0,     1,      2,        31,        63,         64,        4095,       4096,      65535,
        65536, 262144, 1u << 30, INT32_MAX, UINT32_MAX, INT64_MAX, 1ull << 62, UINT64_MAX};
    uint8_t which = fuzz_u8(bytes);
    return which < sizeof odd / sizeof odd[0] ? odd[which] : fuzz_number(bytes, 1u + which % 8);
}

static void change_number(fuzz_bytes *bytes, const hostile *h, bool add) {
    unsigned width = 1u << (fuzz_u8(bytes) & 3);
    size_t at = choose_place(bytes, h, width);
    uint64_t number = add ? (uint64_t)(int64_t)(int8_t)fuzz_u8(bytes) : choose_number(bytes);
    unsigned carry = 0;
    for (unsigned i = 0; i < width && at + i < file_size; i++) {
        unsigned byte = (unsigned)(number >> 8 * i & 0xff) + (add ? file[at + i] + carry : 0u);
        file[at + i] = (uint8_t)byte;
        carry = byte >> 8;
    }
}

static void change(fuzz_bytes *bytes, const hostile *h) {
    uint8_t what = fuzz_u8(bytes);
    size_t size = what >> 3;
    size_t from;
    size_t to;
    switch (what & 7) {
    case 0:
    case 1:
        change_number(bytes, h, false);
        break;
    case 2:
    case 3:
        change_number(bytes, h, true);
        break;
    case 4: /* one bit */
        to = choose_place(bytes, h, 1);
        file[to < file_size ? to : 0] ^= (uint8_t)(1u << (size & 7));
        break;
    case 5: /* a few bytes again, elsewhere */
    case 6: /* blocks */
        size = (what & 7) == 5 ? 1 + size * 4 : (1 + size % 4) * (size_t)FX_BLOCK_SIZE;
        from = choose_place(bytes, h, size);
        to = choose_place(bytes, h, size);
        if ((what & 7) == 6) {
            from -= from % FX_BLOCK_SIZE;
            to -= to % FX_BLOCK_SIZE;
        }
        if (size <= file_size) {
            memmove(file + to, file + from, size);
        }
        break;
    default: /* another end */
        size = (size_t)fuzz_number(bytes, 2) * 64;
        if (size > 0 && size < file_size) {
            file_size = size;
        }
        break;
    }
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    (void)count;
    (void)words;
    fuzz_begin();
    for (unsigned i = 0; i < 2; i++) {
        stores[i] = hostile_make(i == 1, RING);
        assert_true(stores[i]->small_size <= FILE_SIZE && stores[i]->size >= FILE_SIZE);
        stores[i]->size = FILE_SIZE;
        /* Sums that are right stay as they are. */
        uint8_t *copy = fuzz_copy(stores[i]->bytes, stores[i]->size);
        hostile_reseal(stores[i], copy, stores[i]->size);
        assert_memory_equal(copy, stores[i]->bytes, stores[i]->size);
        free(copy);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, data + size};
    uint8_t mode = fuzz_u8(&bytes);
    const hostile *h = stores[mode & 1];
    hostile_outcome out;
    if ((mode & RAW) != 0) {
        file_size = (size_t)(bytes.end - bytes.at);
        file = fuzz_copy(bytes.at, file_size);
        hostile_run(file, file_size, NULL, HOSTILE_LAX | HOSTILE_WRITE | HOSTILE_RESCUE, &out);
        free(file);
        return 0;
    }
    file_size = h->size;
    file = fuzz_copy(h->bytes, file_size);
    while (fuzz_more(&bytes)) {
        change(&bytes, h);
    }
    bool sealed = (mode & SEALED) != 0;
    if (sealed) {
        hostile_reseal(h, file, file_size);
    }
    hostile_run(file, file_size, h, (sealed ? HOSTILE_LAX : 0u) | HOSTILE_WRITE | HOSTILE_RESCUE,
                &out);
    free(file);
    return 0;
}
