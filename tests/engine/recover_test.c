/* recover: files that say what no store writes, each with all its checksums right; devices that do
 * not give a block; and no memory, at every allocation of opening. What is sound is there, what is
 * not is named, and whoever may write refuses what could cost more. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/volume.h"
#include "support/child.h"
#include "support/forge.h"
#include "support/reseal.h"

#define RING 32u
/* Keys of the history: those in the table, those of its large value, and of the groups since. */
enum { TABLE = 0, TABLE_LARGE = 10, INLINE = 20, PACKED = 40, LAST = 80 };
enum { INLINE_COUNT = 4, PACKED_COUNT = 40 };

/* A table, then groups: small ones, one with a large value, one in a segment of its own; the last
 * one puts `last` again, which is one of these, or LAST for nothing of that kind. */
static hostile *make(uint32_t last) {
    forge_store s;
    forge_create(&s, RING);
    assert_int_equal(forge_put(&s, TABLE, TABLE + 4, FORGE_SMALL), FEOX_OK);
    assert_int_equal(forge_put(&s, TABLE_LARGE, TABLE_LARGE + 1, FORGE_LARGE), FEOX_OK);
    forge_checkpoint(&s);
    assert_int_equal(forge_put(&s, INLINE, INLINE + INLINE_COUNT, FORGE_SMALL), FEOX_OK);
    assert_int_equal(forge_put(&s, INLINE + INLINE_COUNT, INLINE + INLINE_COUNT + 1, FORGE_LARGE),
                     FEOX_OK);
    if (last != PACKED) {
        assert_int_equal(forge_put(&s, PACKED, PACKED + PACKED_COUNT, 1200), FEOX_OK);
    }
    switch (last) {
    case PACKED:
        assert_int_equal(forge_put(&s, PACKED, PACKED + PACKED_COUNT, 1200), FEOX_OK);
        break;
    case TABLE_LARGE:
        assert_int_equal(forge_put(&s, LAST, LAST + 1, FORGE_LARGE), FEOX_OK);
        break;
    default:
        assert_int_equal(forge_put(&s, LAST, LAST + 2, FORGE_SMALL), FEOX_OK);
        break;
    }
    return forge_end(&s);
}

static bool heard(const forge_store *s, const char *text) {
    return strstr(s->heard, text) != NULL;
}

/* All that the history holds but for the groups with PACKED and LAST. */
static void expect_others(forge_store *s) {
    assert_int_equal(forge_count(s, TABLE, TABLE + 4), 4);
    assert_int_equal(forge_get(s, TABLE_LARGE), FEOX_OK);
    assert_int_equal(forge_count(s, INLINE, INLINE + INLINE_COUNT + 1), INLINE_COUNT + 1);
}

/* ---- What entries name ---- */

/* The item of the one segment that this entry names, with the i-th lie in it; false: no more. */
static bool lie_about_segment(const hostile *h, uint8_t *item, unsigned i) {
    uint64_t end = h->size / FX_BLOCK_SIZE;
    uint32_t blocks = fx_get_u32(item + 24);
    switch (i) {
    case 0: /* inside the ring */
        fx_put_u64(item, (h->root.journal.block + 3) * FX_BLOCK_SIZE);
        return true;
    case 1: /* at no block */
        fx_put_u64(item, fx_get_u64(item) + 8);
        return true;
    case 2: /* behind the file */
        fx_put_u64(item, (end + 5) * FX_BLOCK_SIZE);
        return true;
    case 3: /* beyond its end */
        fx_put_u64(item, (end - blocks + 1) * FX_BLOCK_SIZE);
        return true;
    case 4:
    case 5: /* not of its length */
        fx_put_u32(item + 24, i == 4 ? blocks + 1 : blocks - 1);
        return true;
    case 6: /* no segment's length */
        fx_put_u32(item + 16, FX_SEGMENT_HEADER_SIZE - 8);
        return true;
    case 7:
        fx_put_u32(item + 16, FX_SEGMENT_SIZE_MAX + 8);
        return true;
    case 8: /* inline, in an entry that has nothing inline */
        fx_put_u32(item + 24, 0);
        return true;
    default:
        return false;
    }
}

/* In the last group it is like a torn one: history ends before it. In another it is damage. */
static void test_named_segments(void **state) {
    (void)state;
    for (unsigned last = 0; last < 2; last++) {
        hostile *h = make(last == 1 ? PACKED : LAST);
        for (unsigned i = 0;; i++) {
            uint8_t *bytes = forge_copy(h);
            uint8_t *entry = forge_entry(h, bytes, 2);
            forge_store s = {0};
            if (!lie_about_segment(h, entry + FX_JOURNAL_HEADER_SIZE, i)) {
                free(bytes);
                break;
            }
            fx_journal_seal(entry, &h->root.id);
            assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_READ), FEOX_OK);
            assert_int_equal(heard(&s, "names what cannot be a segment"), last == 0);
            assert_int_equal(forge_count(&s, PACKED, PACKED + PACKED_COUNT), 0);
            /* Of what was before, nobody knows whether the lost group changed it. */
            assert_int_equal(forge_get(&s, TABLE), last == 1 ? FEOX_OK : FEOX_ERR_CORRUPT);
            assert_int_equal(forge_count(&s, LAST, LAST + 2), last == 1 ? 0 : 2);
            forge_drop(&s);
            assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_WRITE),
                             last == 1 ? FEOX_OK : FEOX_ERR_CORRUPT);
            if (last == 1) {
                expect_others(&s);
                assert_int_equal(forge_problems(&s), 0);
            }
            forge_drop(&s);
            free(bytes);
        }
        hostile_free(h);
    }
}

/* ---- What records say of large values ---- */

static bool lie_about_value(const hostile *h, uint8_t *record, unsigned i) {
    uint64_t offset = fx_get_u64(record + FX_RECORD_HEADER_SIZE);
    uint64_t sum = fx_get_u64(record + FX_RECORD_HEADER_SIZE + 8);
    switch (i) {
    case 0: /* at no block */
        fx_format_record_set_large(record, offset + 8, sum);
        return true;
    case 1: /* behind the file */
        fx_format_record_set_large(record, h->size, sum);
        return true;
    case 2: /* beyond its end */
        fx_format_record_set_large(record, h->size - FX_BLOCK_SIZE, sum);
        return true;
    case 3: /* of no bytes */
        fx_put_u32(record + FX_RECORD_HEADER_SIZE + 16, 0);
        return true;
    default:
        return false;
    }
}

static uint8_t *lie_about(const hostile *h, uint32_t key, unsigned i) {
    uint8_t *bytes = forge_copy(h);
    uint8_t *record = forge_record(h, bytes, key, NULL);
    if (!lie_about_value(h, record, i)) {
        free(bytes);
        return NULL;
    }
    hostile_reseal(h, bytes, h->size);
    return bytes;
}

/* In the table: the record cannot be what the table calls live. */
static void test_large_in_table(void **state) {
    (void)state;
    hostile *h = make(LAST);
    uint8_t *bytes;
    for (unsigned i = 0; (bytes = lie_about(h, TABLE_LARGE, i)) != NULL; i++) {
        forge_store s = {0};
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_READ), FEOX_OK);
        assert_true(heard(&s, "a record is damaged, and its key not known"));
        assert_int_equal(forge_get(&s, TABLE_LARGE), FEOX_NOT_FOUND);
        assert_int_equal(forge_count(&s, TABLE, TABLE + 4), 4);
        assert_int_equal(forge_count(&s, PACKED, LAST + 2), PACKED_COUNT + 2);
        assert_true(forge_problems(&s) > 0);
        forge_drop(&s);
        free(bytes);
    }
    hostile_free(h);
}

/* In a group that a later one vouches for: the value is damaged, the key is known. */
static void test_large_in_group(void **state) {
    (void)state;
    hostile *h = make(LAST);
    uint8_t *bytes;
    for (unsigned i = 0; (bytes = lie_about(h, INLINE + INLINE_COUNT, i)) != NULL; i++) {
        for (forge_mode mode = FORGE_READ; mode <= FORGE_WRITE; mode++) {
            forge_store s = {0};
            assert_int_equal(forge_open_bytes(&s, bytes, h->size, mode), FEOX_OK);
            assert_true(heard(&s, "the value is damaged"));
            assert_int_equal(forge_get(&s, INLINE + INLINE_COUNT), FEOX_ERR_CORRUPT);
            assert_int_equal(forge_count(&s, INLINE, INLINE + INLINE_COUNT), INLINE_COUNT);
            assert_int_equal(forge_count(&s, PACKED, LAST + 2), PACKED_COUNT + 2);
            forge_drop(&s);
        }
        free(bytes);
    }
    hostile_free(h);
}

/* In the last group: it did not arrive whole. */
static void test_large_in_last_group(void **state) {
    (void)state;
    hostile *h = make(TABLE_LARGE);
    uint8_t *bytes;
    for (unsigned i = 0; (bytes = lie_about(h, LAST, i)) != NULL; i++) {
        for (forge_mode mode = FORGE_READ; mode <= FORGE_WRITE; mode++) {
            forge_store s = {0};
            assert_int_equal(forge_open_bytes(&s, bytes, h->size, mode), FEOX_OK);
            assert_string_equal(s.heard, "");
            assert_int_equal(forge_get(&s, LAST), FEOX_NOT_FOUND);
            expect_others(&s);
            assert_int_equal(forge_count(&s, PACKED, PACKED + PACKED_COUNT), PACKED_COUNT);
            assert_int_equal(forge_problems(&s), 0);
            forge_drop(&s);
        }
        free(bytes);
    }
    hostile_free(h);
}

/* Twelve records that share one large value of a megabyte: no store writes that, and all sums are
 * right. The file's size bounds what is read. */
static void test_shared_large_value(void **state) {
    (void)state;
    enum { SHARERS = 12, HUGE_SIZE = 1 << 20 };
    for (unsigned last = 0; last < 2; last++) {
        forge_store s;
        forge_create(&s, RING);
        assert_int_equal(forge_put(&s, 0, 1, HUGE_SIZE), FEOX_OK);
        assert_int_equal(forge_put(&s, 0, SHARERS, FORGE_SMALL), FEOX_OK);
        if (last == 0) {
            assert_int_equal(forge_put(&s, LAST, LAST + 1, FORGE_SMALL), FEOX_OK);
        }
        hostile *h = forge_end(&s);
        uint8_t *bytes = forge_copy(h);
        /* The large value's own record is the first of the first segment. */
        const uint8_t *large = h->bytes + h->segments[0] + FX_SEGMENT_HEADER_SIZE;
        for (uint32_t key = 0; key < SHARERS; key++) {
            size_t size = 0;
            uint8_t *record = forge_record(h, bytes, key, &size);
            fx_entry entry;
            assert_true(fx_format_record_decode(record, size, &entry, &size));
            uint8_t name[FORGE_KEY_LEN];
            memcpy(name, entry.key, sizeof name);
            entry.key = name;
            entry.kind = FX_ENTRY_LARGE;
            entry.value_len = HUGE_SIZE;
            entry.large_offset = fx_get_u64(large + FX_RECORD_HEADER_SIZE);
            entry.large_checksum = fx_get_u64(large + FX_RECORD_HEADER_SIZE + 8);
            assert_int_equal(fx_format_record_size(FX_ENTRY_LARGE, FORGE_KEY_LEN, 0, false), size);
            fx_format_record_encode(record, &entry);
        }
        hostile_reseal(h, bytes, h->size);
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_READ), FEOX_OK);
        uint64_t read = s.engine.flusher->disk_read_bytes;
        assert_true(read < 4 * h->size);
        /* What may not be read any more stays where it is. As last group they are like torn, and
         * the one that was there before them is the value's owner. */
        assert_true(heard(&s, "the large value is damaged"));
        assert_int_equal(forge_get(&s, LAST), last == 0 ? FEOX_OK : FEOX_NOT_FOUND);
        assert_int_equal(forge_get(&s, 0), FEOX_OK);
        assert_true(last == 0 || forge_get(&s, 1) == FEOX_NOT_FOUND);
        forge_drop(&s);
        /* Who may write would give the value's blocks away with the first of them that dies. */
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_WRITE),
                         last == 0 ? FEOX_ERR_CORRUPT : FEOX_OK);
        forge_drop(&s);
        free(bytes);
        hostile_free(h);
    }
}

/* The padding of a record is part of its sum, and tells nothing: the key is sound. */
static void test_bad_padding(void **state) {
    (void)state;
    hostile *h = make(LAST);
    uint8_t *bytes = forge_copy(h);
    size_t size = 0;
    uint8_t *record = forge_record(h, bytes, TABLE_LARGE, &size);
    forge_store s = {0};
    record[size - 1] ^= 1;
    for (forge_mode mode = FORGE_READ; mode <= FORGE_WRITE; mode++) {
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, mode), FEOX_OK);
        assert_true(heard(&s, "the value is damaged"));
        assert_int_equal(forge_get(&s, TABLE_LARGE), FEOX_ERR_CORRUPT);
        assert_int_equal(forge_count(&s, 0, 100), 4 + INLINE_COUNT + 1 + PACKED_COUNT + 2);
        forge_drop(&s);
    }
    free(bytes);
    hostile_free(h);
}

/* ---- Numbers that nobody gave ---- */

static void seal_root(uint8_t *bytes, fx_superblock root) {
    for (unsigned i = 0; i < FX_SUPERBLOCK_COPIES; i++, root.generation++) {
        fx_superblock_encode(bytes + root.generation % FX_SUPERBLOCK_COPIES * FX_BLOCK_SIZE, &root);
    }
}

/* The record is not believed: the key is not there, and the others are. */
static void test_versions_never_given(void **state) {
    (void)state;
    static const uint64_t versions[] = {0, 1, 255};
    static const uint32_t keys[] = {TABLE, INLINE};
    hostile *h = make(LAST);
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < sizeof versions / sizeof versions[0]; i++) {
            uint8_t *bytes = forge_copy(h);
            forge_store s = {0};
            uint8_t *head = forge_record(h, bytes, keys[k], NULL) + 8; /* kind and version */
            fx_put_u64(head, versions[i] << 3 | (fx_get_u64(head) & 7));
            hostile_reseal(h, bytes, h->size);
            assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_READ), FEOX_OK);
            assert_true(heard(&s, "a record has a version that was never given"));
            assert_int_equal(forge_get(&s, keys[k]), FEOX_NOT_FOUND);
            assert_int_equal(forge_count(&s, TABLE, LAST + 2),
                             4 + 1 + INLINE_COUNT + 1 + PACKED_COUNT + 2 - 1);
            forge_drop(&s);
            free(bytes);
        }
    }
    hostile_free(h);
}

/* A time that no clock says is not where the store's time goes on. */
static void test_times_never_told(void **state) {
    (void)state;
    static const uint64_t times[] = {FX_TIME_END - 1, FX_TIME_END, UINT64_MAX};
    hostile *h = make(LAST);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *bytes = forge_copy(h);
        forge_store s = {0};
        fx_superblock root = h->root;
        root.time_ns = times[i];
        seal_root(bytes, root);
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_READ), FEOX_OK);
        assert_int_equal(fx_flusher_time(s.engine.flusher), i == 0 ? times[i] : 0);
        assert_int_equal(forge_count(&s, TABLE, LAST + 2),
                         4 + 1 + INLINE_COUNT + 1 + PACKED_COUNT + 2);
        forge_drop(&s);
        free(bytes);
    }
    hostile_free(h);
}

/* The root names what the file has no more: that is seen before anything else is believed. */
static void test_cut_short(void **state) {
    (void)state;
    hostile *h = make(LAST);
    uint64_t table = h->root.checkpoint.block;
    table = table > h->root.mirror ? table : h->root.mirror;
    uint64_t ring = h->root.journal.block + h->root.journal.count;
    uint64_t needed = table + h->root.checkpoint.count;
    needed = needed > ring ? needed : ring;
    for (uint64_t blocks = needed - 1; blocks >= FX_SUPERBLOCK_COPIES; blocks--) {
        for (forge_mode mode = FORGE_READ; mode <= FORGE_WRITE; mode++) {
            forge_store s = {0};
            assert_int_equal(forge_open_bytes(&s, h->bytes, (size_t)blocks * FX_BLOCK_SIZE, mode),
                             FEOX_ERR_CORRUPT);
            assert_non_null(strstr(feox_last_error(), "cut short"));
            assert_int_equal(mem_dev_operations(s.dev), 0);
            forge_drop(&s);
        }
    }
    hostile_free(h);
}

/* ---- One bit, and no search left for it ---- */

/* Blocks of the ring that begin like entries and cannot be put right: each costs a search. */
static void plant_broken_entries(const hostile *h, uint8_t *bytes, unsigned count) {
    const uint8_t *from = forge_entry(h, bytes, 0);
    for (unsigned i = 0; i < count; i++) {
        uint64_t block = h->root.journal.block + RING - 1 - i;
        uint8_t *to = bytes + block * FX_BLOCK_SIZE;
        assert_int_equal(to[0], 0);
        memcpy(to, from, 512);
        fx_put_u64(to + 32, block * FX_BLOCK_SIZE);
        fx_journal_seal(to, &h->root.id);
        to[100] ^= 3;
    }
}

static void test_no_search_left(void **state) {
    (void)state;
    hostile *h = make(LAST);
    for (unsigned broken = 14; broken < 18; broken++) {
        uint8_t *bytes = forge_copy(h);
        forge_store s = {0};
        size_t size = 0;
        plant_broken_entries(h, bytes, broken);
        uint8_t *record = forge_record(h, bytes, LAST, &size);
        record[size - 20] ^= 4;
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_READ), FEOX_OK);
        assert_true(heard(&s, "a journal entry is damaged"));
        assert_int_equal(heard(&s, "one bit of a group was wrong"), broken < 16);
        assert_true(forge_get(&s, LAST) != FEOX_OK || broken < 16);
        forge_drop(&s);
        assert_int_equal(forge_open_bytes(&s, bytes, h->size, FORGE_WRITE), FEOX_ERR_CORRUPT);
        forge_drop(&s);
        free(bytes);
    }
    hostile_free(h);
}

/* ---- Where the ring is, and how much room there is ---- */

/* An empty store whose ring begins at `block`, in a file of so many. */
static uint8_t *empty_store(uint64_t block, uint64_t blocks) {
    uint8_t *bytes = calloc((size_t)blocks, FX_BLOCK_SIZE);
    const fx_superblock root = {.id = {.low = 5, .high = 6},
                                .generation = 4,
                                .journal = {.block = block, .count = RING},
                                .epoch = 77,
                                .file_blocks = blocks};
    seal_root(bytes, root);
    return bytes;
}

/* Every allocation of opening may fail: that is said, and the file is as it was. */
static void open_without_memory(uint8_t *bytes, size_t size, forge_mode mode) {
    forge_store s = {0};
    feox_status status = FEOX_ERR_MEMORY;
    for (s.fail_next = 1; status == FEOX_ERR_MEMORY; s.fail_next++) {
        status = forge_open_bytes(&s, bytes, size, mode);
        if (status == FEOX_ERR_MEMORY) {
            /* But for a checkpoint under way, which is a file like any other. */
            assert_true(mode == FORGE_WRITE || mem_dev_operations(s.dev) == 0);
        }
        forge_drop(&s);
    }
    assert_int_equal(status, FEOX_OK);
    assert_true(s.fail_next > 5);
}

static void test_ring_anywhere(void **state) {
    (void)state;
    static const uint64_t places[] = {FX_SUPERBLOCK_COPIES, FX_SUPERBLOCK_COPIES + 1, 20, 32};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        forge_store s = {0};
        uint8_t *bytes = empty_store(places[i], 64);
        open_without_memory(bytes, 64 * FX_BLOCK_SIZE, FORGE_WRITE);
        assert_int_equal(forge_open_bytes(&s, bytes, 64 * FX_BLOCK_SIZE, FORGE_WRITE), FEOX_OK);
        assert_null(fx_extents_check(&s.engine.flusher->space.extents));
        assert_int_equal(s.engine.flusher->space.extents.free_blocks,
                         64 - RING - FX_SUPERBLOCK_COPIES);
        assert_int_equal(forge_put(&s, 0, 60, 1200), FEOX_OK);
        assert_int_equal(forge_put(&s, 60, 61, FORGE_LARGE), FEOX_OK);
        assert_int_equal(forge_problems(&s), 0);
        assert_int_equal(forge_close(&s), FEOX_OK);
        assert_int_equal(forge_open(&s, FORGE_WRITE), FEOX_OK);
        assert_int_equal(forge_count(&s, 0, 61), 61);
        forge_drop(&s);
        free(bytes);
    }
}

/* The file ends with its ring: nothing is free until it grows. */
static void test_nothing_but_a_ring(void **state) {
    (void)state;
    uint64_t blocks = FX_SUPERBLOCK_COPIES + RING;
    forge_store s = {0};
    uint8_t *bytes = empty_store(FX_SUPERBLOCK_COPIES, blocks);
    size_t size = (size_t)blocks * FX_BLOCK_SIZE;
    assert_int_equal(forge_open_bytes(&s, bytes, size, FORGE_WRITE), FEOX_OK);
    assert_int_equal(s.engine.flusher->space.extents.free_blocks, 0);
    assert_int_equal(forge_put(&s, 0, 60, 1200), FEOX_OK);
    assert_int_equal(forge_problems(&s), 0);
    forge_drop(&s);
    free(bytes);
}

/* Groups in the ring, and no room for the table that opening would write: without a torn tail the
 * ring is as good as a table. With one it is not: the epoch must change. */
static void test_no_room_for_a_table(void **state) {
    (void)state;
    for (unsigned torn = 0; torn < 2; torn++) {
        forge_store s;
        forge_create(&s, RING);
        assert_int_equal(forge_put(&s, 0, 4, FORGE_SMALL), FEOX_OK);
        assert_int_equal(forge_put(&s, 4, 8, FORGE_SMALL), FEOX_OK);
        hostile *h = forge_end(&s);
        uint64_t blocks = FX_SUPERBLOCK_COPIES + RING;
        size_t size = (size_t)blocks * FX_BLOCK_SIZE;
        uint8_t *bytes = calloc(1, size);
        memcpy(bytes, h->bytes, h->size < size ? h->size : size);
        uint8_t *record = forge_record(h, bytes, 4, NULL);
        record[17] ^= torn == 1 ? 3 : 0; /* two bits: not put right */
        s.dev = mem_dev_create_from(bytes, size, 1);
        mem_dev_set_capacity(s.dev, size);
        assert_int_equal(forge_open(&s, FORGE_WRITE), torn == 1 ? FEOX_ERR_SPACE : FEOX_OK);
        if (torn == 0) {
            assert_int_equal(forge_count(&s, 0, 8), 8);
            assert_int_equal(forge_put(&s, 9, 10, FORGE_SMALL), FEOX_ERR_SPACE);
        }
        (void)forge_close(&s);
        mem_dev_set_capacity(s.dev, 0);
        assert_int_equal(forge_open(&s, FORGE_WRITE), FEOX_OK);
        assert_int_equal(forge_count(&s, 0, 8), torn == 1 ? 4 : 8);
        assert_int_equal(forge_problems(&s), 0);
        forge_drop(&s);
        free(bytes);
        hostile_free(h);
    }
}

/* Groups in the ring, and no memory for the table that opening would write: they stay where they
 * are, and the next group goes behind them. */
static void test_no_memory_for_a_table(void **state) {
    (void)state;
    forge_store s;
    unsigned kept = 0;
    forge_create(&s, RING);
    assert_int_equal(forge_put(&s, 0, 4, FORGE_SMALL), FEOX_OK);
    assert_int_equal(forge_put(&s, 4, 8, FORGE_SMALL), FEOX_OK);
    hostile *h = forge_end(&s);
    bool table = false;
    for (uint64_t n = 1; !table; n++) {
        s.fail_next = n;
        feox_status status = forge_open_bytes(&s, h->bytes, h->size, FORGE_WRITE);
        assert_true(status == FEOX_OK || status == FEOX_ERR_MEMORY);
        table = s.engine.flusher != NULL && s.engine.flusher->figures.checkpoints > 0;
        if (status == FEOX_OK && !table) {
            kept++;
            assert_int_equal(forge_put(&s, 8, 9, FORGE_SMALL), FEOX_OK);
            s.fail_next = 0;
            uint8_t *bytes = malloc(mem_dev_size(s.dev)); /* as a crash would leave it */
            size_t size = mem_dev_size(s.dev);
            memcpy(bytes, mem_dev_bytes(s.dev), size);
            forge_drop(&s);
            assert_int_equal(forge_open_bytes(&s, bytes, size, FORGE_READ), FEOX_OK);
            assert_string_equal(s.heard, "");
            assert_int_equal(forge_count(&s, 0, 9), 9);
            free(bytes);
        }
        forge_drop(&s);
    }
    assert_true(kept > 0);
    hostile_free(h);
}

/* The first thing that opening a sound store writes is its root. */
static void test_root_not_written(void **state) {
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    for (unsigned i = 0; i < 2; i++) {
        forge_store s;
        forge_create(&s, RING);
        assert_int_equal(forge_put(&s, 0, 4, FORGE_SMALL), FEOX_OK);
        assert_int_equal(forge_close(&s), FEOX_OK);
        mem_dev_fail_after(s.dev, 1, errors[i]);
        assert_int_equal(forge_open(&s, FORGE_WRITE), i == 0 ? FEOX_ERR_SPACE : FEOX_ERR_IO);
        forge_drop(&s);
    }
}

/* ---- What the device does not give ---- */

static feox_status open_unreadable(forge_store *s, hostile *h, uint64_t offset, uint64_t size,
                                   forge_mode mode) {
    s->dev = mode == FORGE_WRITE ? mem_dev_create_from(h->bytes, h->size, 1)
                                 : mem_dev_over(h->bytes, h->size);
    mem_dev_fail_reads(s->dev, offset, size);
    return forge_open(s, mode);
}

static void test_unreadable(void **state) {
    (void)state;
    hostile *h = make(TABLE_LARGE);
    forge_store s = {0};
    static const feox_status header[] = {FEOX_ERR_IO, FEOX_ERR_IO, FEOX_OK};
    for (forge_mode mode = FORGE_READ; mode <= FORGE_RESCUE; mode++) {
        assert_int_equal(open_unreadable(&s, h, 0, FX_SUPERBLOCK_AREA, mode), header[mode]);
        if (mode == FORGE_RESCUE) {
            expect_others(&s);
            assert_int_equal(forge_count(&s, PACKED, LAST + 1), PACKED_COUNT + 1);
        }
        forge_drop(&s);
    }
    /* A large value of the last group: whether it arrived cannot be told. */
    uint64_t offset = fx_get_u64(forge_record(h, h->bytes, LAST, NULL) + FX_RECORD_HEADER_SIZE);
    assert_int_equal(open_unreadable(&s, h, offset, 1, FORGE_WRITE), FEOX_ERR_IO);
    forge_drop(&s);
    /* A block of a segment that the table names: R3. */
    uint64_t table = (uint64_t)(forge_record(h, h->bytes, TABLE, NULL) - h->bytes);
    assert_int_equal(open_unreadable(&s, h, table, 1, FORGE_WRITE), FEOX_ERR_IO);
    assert_int_equal(mem_dev_operations(s.dev), 0);
    forge_drop(&s);
    assert_int_equal(open_unreadable(&s, h, table, 1, FORGE_READ), FEOX_OK);
    assert_int_equal(forge_count(&s, TABLE, TABLE + 4), 0);
    assert_true(heard(&s, "a record is damaged"));
    forge_drop(&s);
    /* A block of the ring, and no memory: who has none is told that, as it is when there is. */
    uint64_t ring = h->root.journal.block * FX_BLOCK_SIZE;
    unsigned without_memory = 0;
    feox_status status = FEOX_ERR_MEMORY;
    for (s.fail_next = 1; status == FEOX_ERR_MEMORY; s.fail_next++) {
        status = open_unreadable(&s, h, ring, 1, FORGE_WRITE);
        assert_true(status == FEOX_ERR_MEMORY || status == FEOX_ERR_IO);
        assert_int_equal(mem_dev_operations(s.dev), 0);
        without_memory += status == FEOX_ERR_MEMORY;
        forge_drop(&s);
    }
    assert_true(without_memory > 5);
    hostile_free(h);
}

static void test_no_memory(void **state) {
    (void)state;
    hostile *h = make(TABLE_LARGE);
    for (forge_mode mode = FORGE_READ; mode <= FORGE_RESCUE; mode++) {
        if (mode == FORGE_RESCUE) {
            memset(h->bytes, 0, FX_SUPERBLOCK_AREA);
        }
        open_without_memory(h->bytes, h->size, mode);
    }
    hostile_free(h);
}

/* ---- New files ---- */

static void without_random_numbers(const char *path, int number) {
    const fx_engine_options options = {.persistent = true, .shard_count = 2};
    const fx_flusher_options file = {.path = path};
    fx_engine engine;
    mem_dev *dev = mem_dev_create(1);
    FX_CHILD_CHECK(fx_engine_init(&engine, &options) == FEOX_OK);
    FX_CHILD_CHECK(fx_child_forbid(SYS_getrandom, ENOSYS));
    FX_CHILD_CHECK(fx_flusher_open(&engine, mem_dev_door(dev), &file, &engine.flusher) ==
                   FEOX_ERR_IO);
    FX_CHILD_CHECK(mem_dev_operations(dev) == 0);
    fx_engine_deinit(&engine);
    mem_dev_destroy(dev);
    (void)number;
}

/* No store is made without an identity of its own, nor one that no file can be as large as. */
static void test_no_new_file(void **state) {
    (void)state;
    assert_true(fx_child_run(without_random_numbers, "new", 0));
    const fx_engine_options options = {.persistent = true, .shard_count = 2};
    const fx_flusher_options file = {.file_size_initial = UINT64_MAX};
    fx_engine engine;
    mem_dev *dev = mem_dev_create(1);
    assert_int_equal(fx_engine_init(&engine, &options), FEOX_OK);
    assert_int_equal(fx_flusher_open(&engine, mem_dev_door(dev), &file, &engine.flusher),
                     FEOX_ERR_SPACE);
    assert_int_equal(mem_dev_operations(dev), 0);
    fx_engine_deinit(&engine);
    mem_dev_destroy(dev);
}

/* A file that was being made when the power failed, over bytes of other files: the ring is empty
 * before anything of the new store is believed. */
static void test_ring_is_emptied(void **state) {
    (void)state;
    size_t size = (size_t)8 << 20;
    forge_store s = {0};
    uint8_t *bytes = malloc(size);
    memset(bytes, 0xab, size);
    memset(bytes, 0, FX_SUPERBLOCK_AREA);
    const fx_superblock root = {.id = {.low = 5, .high = 6},
                                .generation = 2,
                                .flags = FX_SUPERBLOCK_UNFINISHED,
                                .journal = {.block = FX_SUPERBLOCK_COPIES, .count = RING},
                                .file_blocks = size / FX_BLOCK_SIZE};
    fx_superblock_encode(bytes, &root);
    assert_int_equal(forge_open_bytes(&s, bytes, size, FORGE_WRITE), FEOX_OK);
    const fx_extent *ring = &s.engine.flusher->root.journal;
    const uint8_t *at = mem_dev_bytes(s.dev) + ring->block * FX_BLOCK_SIZE;
    assert_true(ring->count > RING);
    for (size_t i = 0; i < ring->count * FX_BLOCK_SIZE; i++) {
        assert_true(at[i] == 0);
    }
    forge_drop(&s);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_segments),     cmocka_unit_test(test_large_in_table),
        cmocka_unit_test(test_large_in_group),     cmocka_unit_test(test_large_in_last_group),
        cmocka_unit_test(test_shared_large_value), cmocka_unit_test(test_bad_padding),
        cmocka_unit_test(test_no_search_left),     cmocka_unit_test(test_ring_anywhere),
        cmocka_unit_test(test_nothing_but_a_ring), cmocka_unit_test(test_no_room_for_a_table),
        cmocka_unit_test(test_unreadable),         cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_new_file),        cmocka_unit_test(test_root_not_written),
        cmocka_unit_test(test_cut_short),          cmocka_unit_test(test_versions_never_given),
        cmocka_unit_test(test_times_never_told),   cmocka_unit_test(test_no_memory_for_a_table),
        cmocka_unit_test(test_ring_is_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
