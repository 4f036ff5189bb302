/* checksum: what guards bytes on disk. XXH3-64 (xxHash 0.8, inlined: no symbol another xxHash in
 * the process could replace). Against accidents, not against forgers. Pure; any thread. ~10 GB/s.
 */
#ifndef FX_BASE_CHECKSUM_H
#define FX_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* `seed` ties the sum to the store and the position, so that a misplaced block does not verify. */
uint64_t fx_checksum(const void *data, size_t size, uint64_t seed);

/* The same over bytes that come in pieces. */
typedef struct fx_checksum_stream {
    uint64_t state[80];
} __attribute__((aligned(64))) fx_checksum_stream;

void fx_checksum_begin(fx_checksum_stream *stream, uint64_t seed);
void fx_checksum_add(fx_checksum_stream *stream, const void *data, size_t size);
uint64_t fx_checksum_end(const fx_checksum_stream *stream);

#endif
