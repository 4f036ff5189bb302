/* checksum: what guards bytes on disk. XXH3-64 (xxHash 0.8, inlined: no symbol another xxHash in
 * the process could replace). Against accidents, not against forgers. Pure; any thread. ~10 GB/s.
 */
#ifndef FX_BASE_CHECKSUM_H
#define FX_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* `seed` ties the sum to the store and the position, so that a misplaced block does not verify. */
uint64_t fx_checksum(const void *data, size_t size, uint64_t seed);

#endif
