/* deadline: the keys of one shard that expire, soonest first: a binary heap whose entries may be
 * stale. The shard's lock is held for every call.
 */
#ifndef FX_ENGINE_DEADLINE_H
#define FX_ENGINE_DEADLINE_H

#include "engine/engine.h"

/* Makes sure that one push cannot fail. False: no memory. */
bool fx_deadline_reserve(fx_shard *shard);
void fx_deadline_push(fx_shard *shard, fx_record *record, uint64_t version, uint64_t expiry_ns);
/* Takes the next record that has expired; NULL: none. */
fx_record *fx_deadline_pop_expired(fx_shard *shard, uint64_t now_ns);

#endif
