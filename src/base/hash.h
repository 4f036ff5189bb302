/* hash: the keyed hash of the index: whoever does not know the key cannot choose colliding keys,
 * which a seeded XXH3 does not promise. Never leaves the process. Pure; any thread.
 *
 * Where the processor has AES instructions, three rounds of AES with secret keys for each 16 bytes
 * (as the tables of Go's runtime): ~4 ns for 16 bytes. Elsewhere SipHash-1-3 (Aumasson, Bernstein
 * 2012; the reduced rounds are those of Rust's and Python's tables): ~12 ns.
 */
#ifndef FX_BASE_HASH_H
#define FX_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytes.h"

typedef struct fx_hash_key {
    uint64_t k0;
    uint64_t k1;
    uint64_t rounds[8]; /* whitening, and the keys of three rounds */
    bool aes;           /* use them */
} fx_hash_key;

/* A key of random bytes, and the better hash of this processor. False: the system has none. */
bool fx_hash_key_init(fx_hash_key *key);
/* Where key->aes may be set. */
bool fx_hash_has_aes(void);
uint64_t fx_hash_aes(const fx_hash_key *key, const void *data, size_t size);
uint64_t fx_hash_sip(const fx_hash_key *key, const void *data, size_t size);

static inline uint64_t fx_hash(const fx_hash_key *key, const void *data, size_t size) {
    return FX_LIKELY(key->aes) ? fx_hash_aes(key, data, size) : fx_hash_sip(key, data, size);
}

#endif
