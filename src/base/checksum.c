/* checksum: xxHash inlined into this one file, so that the library neither needs libxxhash nor
 * shows a symbol of it. */
#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t fx_checksum(const void *data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}
