/* rng: random numbers. fx_rng is small, fast, repeatable from a seed and not for secrets
 * (SplitMix64, Steele et al. 2014); one per thread. fx_random_bytes asks the system.
 */
#ifndef FX_BASE_RNG_H
#define FX_BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fx_rng {
    uint64_t state;
} fx_rng;

static inline void fx_rng_init(fx_rng *rng, uint64_t seed) {
    rng->state = seed;
}

static inline uint64_t fx_rng_next(fx_rng *rng) {
    uint64_t z = (rng->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A number below `bound` (> 0); the bias is below 2^-32 for the bounds in use. */
static inline uint64_t fx_rng_below(fx_rng *rng, uint64_t bound) {
    return fx_rng_next(rng) % bound;
}

/* Fills `out` with bytes that nobody can guess. False if the system has none to give. */
bool fx_random_bytes(void *out, size_t size);

#endif
