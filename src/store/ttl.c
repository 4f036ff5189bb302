/* ttl: a new time to live is a new version of the same value, so that it is as durable as a
 * write. */
#include "store/ttl.h"

#include "base/error.h"
#include "engine/fetch.h"
#include "store/write.h"

#define TTL_FLAGS (FEOX_IF_PRESENT | FEOX_IF_VERSION | FX_DURABILITY_FLAGS)

int64_t fx_ttl_left_ms(const fx_engine *engine, uint64_t expiry_ns) {
    if (expiry_ns == 0) {
        return -1;
    }
    uint64_t now = fx_engine_now(engine);
    uint64_t left = expiry_ns > now ? expiry_ns - now : 1; /* it was alive when it was read */
    return (int64_t)(left / 1000000u + (left % 1000000u != 0));
}

feox_status feox_ttl(feox_store *store, const void *key, size_t key_len, int64_t *ttl_ms_out) {
    if (ttl_ms_out == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    *ttl_ms_out = 0;
    feox_status status = fx_store_enter(store);
    if (status == FEOX_OK) {
        status = fx_report(fx_store_check_key(key, key_len));
    }
    fx_fetched fetched;
    if (status == FEOX_OK) {
        status = fx_fetch_info(&store->engine, fx_engine_hash(&store->engine, key, key_len), key,
                               key_len, &fetched);
    }
    if (status == FEOX_OK) {
        *ttl_ms_out = fx_ttl_left_ms(&store->engine, fetched.expiry_ns);
    }
    return status;
}

static feox_status decide_expire(fx_writing *w, fx_record *live, fx_change *change) {
    if (live == NULL) {
        return FEOX_NOT_FOUND;
    }
    const uint64_t *ttl_ms = w->context;
    if (!fx_write_same_value(w, live, change)) {
        return FEOX_TRUNCATED;
    }
    change->expiry_ns = *ttl_ms != 0 ? fx_write_expiry(w->now_ns, *ttl_ms) : 0;
    return FEOX_OK;
}

feox_status feox_expire_with(feox_store *store, const void *key, size_t key_len, uint64_t ttl_ms,
                             const feox_write *write, feox_written *written_out) {
    uint8_t scratch[FX_INLINE_VALUE_MAX];
    fx_writing w = {
        .store = store, .decide = decide_expire, .context = &ttl_ms, .scratch = scratch};
    feox_status status = fx_write_begin(&w, key, key_len, write, TTL_FLAGS, written_out);
    if (status != FEOX_OK) {
        return status;
    }
    if (w.intent.ttl_ms != 0) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "the time to live is an argument of its own");
    }
    return fx_report(fx_write_run(&w, key, key_len, written_out));
}

feox_status feox_expire(feox_store *store, const void *key, size_t key_len, uint64_t ttl_ms) {
    return feox_expire_with(store, key, key_len, ttl_ms, NULL, NULL);
}

feox_status feox_persist_with(feox_store *store, const void *key, size_t key_len,
                              const feox_write *write, feox_written *written_out) {
    return feox_expire_with(store, key, key_len, 0, write, written_out);
}

feox_status feox_persist(feox_store *store, const void *key, size_t key_len) {
    return feox_expire_with(store, key, key_len, 0, NULL, NULL);
}
