/* format: records and segments go there and back, and no single flipped bit, wrong place or wrong
 * store goes unseen; nothing is read beyond the bytes that are there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "disk/format.h"

static const fx_store_id ID = {.low = 0x1234, .high = 0xfedcba9876543210u};
#define PLACE 81928u
#define GROUP 7u

static uint8_t key_bytes[FEOX_KEY_SIZE_MAX];
static uint8_t value_bytes[FX_LARGE_VALUE_MIN];

static fx_entry entry_of(fx_entry_kind kind, uint32_t key_len, uint32_t value_len,
                         uint64_t expiry) {
    for (size_t i = 0; i < sizeof key_bytes; i++) {
        key_bytes[i] = (uint8_t)(i * 7 + 1);
    }
    for (size_t i = 0; i < sizeof value_bytes; i++) {
        value_bytes[i] = (uint8_t)(i * 13 + 5);
    }
    return (fx_entry){.key = key_bytes,
                      .value = value_bytes,
                      .key_len = key_len,
                      .value_len = value_len,
                      .version = 0x1122334455667788u,
                      .timestamp = 0x99aabbccddeeff00u,
                      .expiry_ns = expiry,
                      .kind = kind,
                      .large_offset = 40960,
                      .large_checksum = 0x5555aaaa5555aaaau};
}

/* The sealed record in memory of exactly its size, so that a sanitizer sees every step too far. */
static uint8_t *make(const fx_entry *entry, size_t *size_out) {
    *size_out =
        fx_format_record_size(entry->kind, entry->key_len, entry->value_len, entry->expiry_ns != 0);
    uint8_t *bytes = malloc(*size_out);
    assert_non_null(bytes);
    fx_format_record_encode(bytes, entry);
    fx_format_record_seal(bytes, *size_out, &ID, PLACE, GROUP);
    return bytes;
}

static void test_round_trip(void **state) {
    (void)state;
    const uint32_t keys[] = {1, 4, 5, 16, 255, FEOX_KEY_SIZE_MAX};
    const uint32_t values[] = {0, 1, 7, 100, 4096, FX_LARGE_VALUE_MIN - 1};
    assert_int_equal(fx_format_record_size(FX_ENTRY_PUT, 16, 100, false), 144);
    assert_true(fx_format_record_size(FX_ENTRY_TOMBSTONE, 1, 0, false) >= FX_RECORD_SIZE_MIN);
    for (size_t i = 0; i < 6 * 6 * 3 * 2; i++) {
        fx_entry_kind kind = (fx_entry_kind)(i % 3 + 1);
        uint32_t value_len = kind == FX_ENTRY_TOMBSTONE ? 0 : values[i / 6 % 6];
        value_len += kind == FX_ENTRY_LARGE ? FX_LARGE_VALUE_MIN : 0;
        fx_entry entry = entry_of(kind, keys[i / 36 % 6], value_len, i % 2 == 0 ? 77 : 0);
        fx_entry found;
        size_t size = 0;
        size_t found_size = 0;
        uint8_t *bytes = make(&entry, &size);
        assert_int_equal(size % FX_RECORD_ALIGN, 0);
        assert_true(size >= FX_RECORD_SIZE_MIN);
        assert_int_equal(fx_format_record_peek(bytes), size);
        assert_true(fx_format_record_verify(bytes, size, &ID, PLACE, &found, &found_size));
        assert_true(fx_format_record_head_verify(bytes, &ID, PLACE, GROUP));
        assert_int_equal(found_size, size);
        assert_int_equal(found.kind, kind);
        assert_int_equal(found.key_len, entry.key_len);
        assert_int_equal(found.value_len, value_len);
        assert_true(found.version == entry.version && found.timestamp == entry.timestamp &&
                    found.expiry_ns == entry.expiry_ns);
        assert_memory_equal(found.key, entry.key, entry.key_len);
        if (kind == FX_ENTRY_PUT) {
            assert_memory_equal(found.value, entry.value, value_len);
        }
        if (kind == FX_ENTRY_LARGE) {
            fx_format_record_set_large(bytes, 8192, 99);
            assert_false(fx_format_record_verify(bytes, size, &ID, PLACE, &found, &found_size));
            fx_format_record_seal(bytes, size, &ID, PLACE, GROUP);
            assert_true(fx_format_record_verify(bytes, size, &ID, PLACE, &found, &found_size));
            assert_true(found.large_offset == 8192 && found.large_checksum == 99);
        }
        for (size_t cut = size - 1; cut > 0; cut = cut > 60 ? cut / 2 : cut - 1) {
            assert_false(fx_format_record_decode(bytes, cut, &found, &found_size));
        }
        free(bytes);
    }
}

static void test_flips(void **state) {
    (void)state;
    const fx_entry entries[] = {
        entry_of(FX_ENTRY_PUT, 5, 33, 0), entry_of(FX_ENTRY_PUT, 16, 100, 12345),
        entry_of(FX_ENTRY_LARGE, 9, FX_LARGE_VALUE_MIN, 0), entry_of(FX_ENTRY_TOMBSTONE, 3, 0, 0)};
    for (size_t i = 0; i < 4; i++) {
        size_t size = 0;
        uint8_t *bytes = make(&entries[i], &size);
        fx_entry found;
        size_t found_size;
        for (size_t bit = 0; bit < size * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(fx_format_record_verify(bytes, size, &ID, PLACE, &found, &found_size));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        const fx_store_id other = {.low = ID.low, .high = ID.high ^ 1};
        assert_false(fx_format_record_verify(bytes, size, &other, PLACE, &found, &found_size));
        assert_false(fx_format_record_verify(bytes, size, &ID, PLACE + 8, &found, &found_size));
        free(bytes);
    }
}

/* A damaged value leaves the key known, a damaged key does not, nor one of another group. */
static void test_head(void **state) {
    (void)state;
    fx_entry entry = entry_of(FX_ENTRY_PUT, 40, 200, 5);
    size_t size = 0;
    uint8_t *bytes = make(&entry, &size);
    size_t key_end = FX_RECORD_HEADER_SIZE + 8 + 40;
    for (size_t at = 4; at < size; at++) {
        bytes[at] ^= 0x10;
        bool head = fx_format_record_peek(bytes) == size &&
                    fx_format_record_head_verify(bytes, &ID, PLACE, GROUP);
        assert_true(head == (at >= key_end));
        bytes[at] ^= 0x10;
    }
    for (uint64_t group = 0; group < 2 * GROUP; group++) {
        assert_true(fx_format_record_head_verify(bytes, &ID, PLACE, group) == (group == GROUP));
    }
    fx_entry found;
    fx_format_record_spoil(bytes, size, &ID, PLACE + 64, GROUP);
    assert_true(fx_format_record_head_verify(bytes, &ID, PLACE + 64, GROUP));
    assert_false(fx_format_record_verify(bytes, size, &ID, PLACE + 64, &found, &size));
    free(bytes);
}

static void test_noise(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, 5);
    for (unsigned i = 0; i < 200000; i++) {
        size_t size = (size_t)fx_rng_below(&rng, 80);
        uint8_t *bytes = malloc(size + 1);
        for (size_t j = 0; j < size; j++) {
            bytes[j] = (uint8_t)(fx_rng_below(&rng, 3) == 0 ? fx_rng_next(&rng) : 0);
        }
        fx_entry found;
        size_t found_size = 0;
        if (fx_format_record_decode(bytes, size, &found, &found_size)) {
            assert_true(found_size <= size && found.key_len > 0);
            assert_true(found.key + found.key_len <= bytes + size);
            if (found.kind == FX_ENTRY_PUT) {
                assert_true(found.value + found.value_len <= bytes + size);
            }
        }
        free(bytes);
    }
}

static void test_segment(void **state) {
    (void)state;
    uint8_t image[256];
    memset(image, 7, sizeof image);
    const fx_segment_header header = {
        .group = 9, .position = 12288, .record_count = 3, .byte_length = sizeof image};
    uint64_t checksum = fx_format_segment_seal(image, &ID, &header);
    fx_segment_header found;
    assert_true(fx_format_segment_decode(image, &ID, 12288, &found));
    assert_true(found.group == 9 && found.record_count == 3 && found.checksum == checksum &&
                found.byte_length == sizeof image);
    assert_true(fx_format_segment_verify(image, &ID, 12288, sizeof image));
    assert_false(fx_format_segment_verify(image, &ID, 16384, sizeof image));
    assert_false(fx_format_segment_verify(image, &ID, 12288, sizeof image - 8));
    for (size_t bit = 0; bit < sizeof image * 8; bit++) {
        image[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(fx_format_segment_verify(image, &ID, 12288, sizeof image));
        image[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* What is too short for a header is not looked at. */
    for (size_t size = 0; size < FX_SEGMENT_HEADER_SIZE; size++) {
        uint8_t *rest = malloc(size + 1);
        memcpy(rest, image, size);
        assert_false(fx_format_segment_verify(rest, &ID, 12288, size));
        free(rest);
    }
    /* A sound segment that was in the same place before is not the one that an entry names. */
    assert_true(fx_format_segment_matches(image, &ID, 12288, sizeof image, checksum));
    image[sizeof image - 1] ^= 1;
    assert_int_not_equal(fx_format_segment_seal(image, &ID, &header), checksum);
    assert_true(fx_format_segment_verify(image, &ID, 12288, sizeof image));
    assert_false(fx_format_segment_matches(image, &ID, 12288, sizeof image, checksum));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_flips),
        cmocka_unit_test(test_head),       cmocka_unit_test(test_noise),
        cmocka_unit_test(test_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
