/* patch: JSON calls. The work on the text is done outside the lock on a copy, and written if the
 * version is still the one that was read; otherwise everything is done again on the new text.
 */
#include "base/error.h"
#include "base/mem.h"
#include "engine/fetch.h"
#include "store/json.h"
#include "store/write.h"

#define PATCH_FLAGS                                                                                \
    (FEOX_IF_PRESENT | FEOX_IF_VERSION | FEOX_KEEP_TTL | FEOX_CLEAR_TTL | FX_DURABILITY_FLAGS)

typedef feox_status (*json_edit)(const char *document, size_t document_len, const char *patch,
                                 size_t patch_len, size_t result_limit, char **result_out,
                                 size_t *result_len_out);

static feox_status decide_store(fx_writing *w, fx_record *live, fx_change *change) {
    const uint64_t *version = w->context;
    if (live == NULL || w->live_version != *version) {
        return FEOX_MISMATCH;
    }
    change->expiry_ns = fx_write_kept_expiry(w, live);
    return FEOX_OK;
}

/* Reads the text. The caller frees it; `version_out` is the version it is of. */
static feox_status read_text(feox_store *store, const void *key, size_t key_len, char **text_out,
                             size_t *text_len_out, uint64_t *version_out) {
    uint8_t buffer[FX_INLINE_VALUE_MAX];
    fx_fetched fetched;
    feox_status status = fx_fetch(&store->engine, fx_engine_hash(&store->engine, key, key_len), key,
                                  key_len, buffer, sizeof buffer, &fetched);
    if (status != FEOX_OK) {
        return status;
    }
    size_t size = (size_t)fetched.value_len;
    *text_out = fx_mem_alloc(size > 0 ? size : 1);
    if (*text_out != NULL) {
        fx_copy(*text_out, fetched.block != NULL ? fetched.block->data : buffer, size);
    }
    fx_block_release(fetched.block);
    *text_len_out = size;
    *version_out = fetched.version;
    return *text_out != NULL ? FEOX_OK : FEOX_ERR_MEMORY;
}

/* What the write's own conditions say of a version that was read; the write checks them again. */
static feox_status check_version(const fx_intent *intent, uint64_t version) {
    bool other = (intent->flags & FEOX_IF_VERSION) != 0 && intent->version != version;
    return other ? FEOX_MISMATCH : FEOX_OK;
}

/* One round: FEOX_MISMATCH with *again: the key changed meanwhile. */
static feox_status edit_once(feox_store *store, const void *key, size_t key_len, json_edit edit,
                             const char *patch, size_t patch_len, const fx_intent *intent,
                             feox_written *written_out, bool *again) {
    char *text = NULL;
    char *result = NULL;
    size_t text_len = 0;
    size_t result_len = 0;
    uint64_t version = 0;
    *again = false;
    feox_status status = fx_write_settle(store, key, key_len);
    if (status == FEOX_OK) {
        status = read_text(store, key, key_len, &text, &text_len, &version);
    }
    if (status != FEOX_OK) {
        return fx_report(status);
    }
    status = check_version(intent, version);
    if (status == FEOX_OK) {
        status = edit(text, text_len, patch, patch_len, (size_t)store->engine.value_size_limit,
                      &result, &result_len);
    }
    fx_mem_free(text);
    if (status != FEOX_OK) {
        return status; /* described by the editor */
    }
    fx_writing w = {.store = store, .intent = *intent, .decide = decide_store, .context = &version};
    w.change.value = (const uint8_t *)result;
    w.change.value_len = result_len;
    status = fx_report(fx_write_run(&w, key, key_len, written_out));
    fx_mem_free(result);
    *again = status == FEOX_MISMATCH;
    return status;
}

static feox_status edit_json(feox_store *store, const void *key, size_t key_len, json_edit edit,
                             const char *patch, size_t patch_len, const feox_write *write,
                             feox_written *written_out) {
    fx_writing w = {.store = store, .bad_argument = patch == NULL && patch_len > 0};
    feox_status status = fx_write_begin(&w, key, key_len, write, PATCH_FLAGS, written_out);
    bool again = status == FEOX_OK;
    while (again) {
        status =
            edit_once(store, key, key_len, edit, patch, patch_len, &w.intent, written_out, &again);
    }
    return status;
}

feox_status feox_json_patch_with(feox_store *store, const void *key, size_t key_len,
                                 const char *patch, size_t patch_len, const feox_write *write,
                                 feox_written *written_out) {
    return edit_json(store, key, key_len, fx_json_patch, patch, patch_len, write, written_out);
}

feox_status feox_json_patch(feox_store *store, const void *key, size_t key_len, const char *patch,
                            size_t patch_len) {
    return edit_json(store, key, key_len, fx_json_patch, patch, patch_len, NULL, NULL);
}

feox_status feox_json_merge_with(feox_store *store, const void *key, size_t key_len,
                                 const char *merge, size_t merge_len, const feox_write *write,
                                 feox_written *written_out) {
    return edit_json(store, key, key_len, fx_json_merge, merge, merge_len, write, written_out);
}

feox_status feox_json_merge(feox_store *store, const void *key, size_t key_len, const char *merge,
                            size_t merge_len) {
    return edit_json(store, key, key_len, fx_json_merge, merge, merge_len, NULL, NULL);
}
