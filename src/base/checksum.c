/* checksum: xxHash inlined into this one file, so that the library neither needs libxxhash nor
 * shows a symbol of it. */
#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t fx_checksum(const void *data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

_Static_assert(sizeof(XXH3_state_t) <= sizeof(fx_checksum_stream), "xxHash's state fits");

static XXH3_state_t *state_of(const fx_checksum_stream *stream) {
    return (XXH3_state_t *)(uintptr_t)stream;
}

void fx_checksum_begin(fx_checksum_stream *stream, uint64_t seed) {
    XXH3_INITSTATE(state_of(stream));
    (void)XXH3_64bits_reset_withSeed(state_of(stream), seed);
}

void fx_checksum_add(fx_checksum_stream *stream, const void *data, size_t size) {
    (void)XXH3_64bits_update(state_of(stream), data, size);
}

uint64_t fx_checksum_end(const fx_checksum_stream *stream) {
    return XXH3_64bits_digest(state_of(stream));
}
