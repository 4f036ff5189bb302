/* entry: one record as plain bytes, the coin between index/ and disk/, which never meet. The
 * pointers are borrowed from whoever made the entry. Plain data.
 */
#ifndef FX_BASE_ENTRY_H
#define FX_BASE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

typedef enum fx_entry_kind {
    FX_ENTRY_PUT = 1,      /* key has this value */
    FX_ENTRY_LARGE = 2,    /* key has a value of its own extent; `value` may be NULL */
    FX_ENTRY_TOMBSTONE = 3 /* key is deleted */
} fx_entry_kind;

typedef struct fx_entry {
    const uint8_t *key;
    const uint8_t *value;
    uint32_t key_len;
    uint32_t value_len;
    uint64_t version;
    uint64_t timestamp;
    uint64_t expiry_ns; /* store clock; 0: never */
    fx_entry_kind kind;
    /* FX_ENTRY_LARGE: where the value is. Bytes; the extent is value_len rounded up to blocks. */
    uint64_t large_offset;
    uint64_t large_checksum; /* over the value, seed: format.h */
} fx_entry;

#endif
