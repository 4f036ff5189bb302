/* ttl: times to live as callers see them. Private to store/. */
#ifndef FX_STORE_TTL_H
#define FX_STORE_TTL_H

#include "engine/engine.h"

/* Milliseconds until `expiry_ns`, rounded up; -1 for 0 (never). */
int64_t fx_ttl_left_ms(const fx_engine *engine, uint64_t expiry_ns);

#endif
