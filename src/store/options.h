/* options: reading structs that callers of other versions filled.
 */
#ifndef FX_STORE_OPTIONS_H
#define FX_STORE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "feox.h"

/* Copies a caller's sized struct over `known` (of `known_size` bytes, defaults filled in). A size
 * of 0 means the first version's. False: it says more than this version knows. */
bool fx_struct_read(void *known, size_t known_size, const void *given);
/* Copies as much of `known` to the caller's struct as that has room for; its struct_size stays. */
void fx_struct_write(void *given, const void *known, size_t known_size);

/* Fills defaults and checks every member. FEOX_ERR_ARGUMENT with detail. */
feox_status fx_options_read(const feox_options *given, feox_options *out);

/* Flags that every write may have. */
#define FX_DURABILITY_FLAGS (FEOX_DURABLE | FEOX_NO_WAIT)

/* What a feox_write asks for. */
typedef struct fx_intent {
    uint32_t flags;
    uint64_t timestamp, ttl_ms, version;
} fx_intent;

/* `allowed`: the flags that make sense for the call. NULL: nothing asked. */
feox_status fx_intent_read(const feox_write *given, uint32_t allowed, fx_intent *out);

#endif
