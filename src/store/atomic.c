/* atomic: compare-and-swap and counters: decided under the shard's lock, so there is one winner. */
#include <string.h>

#include "base/error.h"
#include "store/write.h"

#define CHANGE_FLAGS                                                                               \
    (FEOX_IF_ABSENT | FEOX_IF_PRESENT | FEOX_IF_VERSION | FEOX_KEEP_TTL | FEOX_CLEAR_TTL |         \
     FX_DURABILITY_FLAGS)

/* ---- Compare and swap ---- */

static feox_status decide_swap(fx_writing *w, fx_record *live, fx_change *change) {
    const feox_slice *expected = w->context;
    if (live == NULL) {
        return FEOX_NOT_FOUND;
    }
    const uint8_t *value;
    uint64_t size;
    if (fx_record_value_len(live) != expected->size) {
        return FEOX_MISMATCH;
    }
    if (!fx_write_value(w, live, &value, &size)) {
        return FEOX_TRUNCATED;
    }
    if (size > 0 && memcmp(value, expected->data, (size_t)size) != 0) {
        return FEOX_MISMATCH;
    }
    change->expiry_ns = fx_write_kept_expiry(w, live);
    return FEOX_OK;
}

feox_status feox_compare_and_swap_with(feox_store *store, const void *key, size_t key_len,
                                       const void *expected, size_t expected_len,
                                       const void *desired, size_t desired_len,
                                       const feox_write *write, feox_written *written_out) {
    feox_slice wanted = {expected, expected_len};
    fx_writing w = {.store = store, .decide = decide_swap, .context = &wanted};
    w.change.value = desired;
    w.change.value_len = desired_len;
    w.bad_argument = (expected == NULL && expected_len > 0) || (desired == NULL && desired_len > 0);
    feox_status status = fx_write_begin(&w, key, key_len, write, CHANGE_FLAGS, written_out);
    return status != FEOX_OK ? status : fx_report(fx_write_run(&w, key, key_len, written_out));
}

feox_status feox_compare_and_swap(feox_store *store, const void *key, size_t key_len,
                                  const void *expected, size_t expected_len, const void *desired,
                                  size_t desired_len) {
    return feox_compare_and_swap_with(store, key, key_len, expected, expected_len, desired,
                                      desired_len, NULL, NULL);
}

/* ---- Counters ---- */

typedef struct counting {
    int64_t delta;
    uint8_t bytes[8]; /* the new value */
} counting;

static feox_status decide_increment(fx_writing *w, fx_record *live, fx_change *change) {
    counting *c = w->context;
    int64_t value = 0;
    if (live != NULL) {
        const uint8_t *bytes;
        uint64_t size;
        if (fx_record_value_len(live) != 8) {
            return FEOX_ERR_NOT_COUNTER;
        }
        if (!fx_write_value(w, live, &bytes, &size)) {
            return FEOX_TRUNCATED;
        }
        value = (int64_t)fx_get_u64(bytes);
    }
    if (__builtin_add_overflow(value, c->delta, &value)) {
        return FEOX_ERR_OVERFLOW;
    }
    fx_put_u64(c->bytes, (uint64_t)value);
    change->value = c->bytes;
    change->value_len = 8;
    change->expiry_ns = fx_write_kept_expiry(w, live);
    return FEOX_OK;
}

feox_status feox_increment_with(feox_store *store, const void *key, size_t key_len, int64_t delta,
                                const feox_write *write, int64_t *value_out,
                                feox_written *written_out) {
    if (value_out != NULL) {
        *value_out = 0;
    }
    counting c = {.delta = delta};
    fx_writing w = {.store = store, .decide = decide_increment, .context = &c};
    feox_status status = fx_write_begin(&w, key, key_len, write, CHANGE_FLAGS, written_out);
    if (status != FEOX_OK) {
        return status;
    }
    status = fx_report(fx_write_run(&w, key, key_len, written_out));
    if (status == FEOX_OK && value_out != NULL) {
        *value_out = (int64_t)fx_get_u64(c.bytes);
    }
    return status;
}

feox_status feox_increment(feox_store *store, const void *key, size_t key_len, int64_t delta,
                           int64_t *value_out) {
    return feox_increment_with(store, key, key_len, delta, NULL, value_out, NULL);
}
