/* salvage: why this way. The damaged file is opened like any other that is only read, but for two
 * things: what cannot be proven current counts, and if superblocks or table are lost its segments
 * are searched for (engine/rescue.c). Then it is copied key by key through the public calls. No
 * value stays in memory on the reading side; the writing side drops what is on disk now and then.
 */
#include "engine/check.h"
#include "engine/evict.h"
#include "store/store.h"

/* Bytes that are copied before the new store drops what it holds of them. */
#define COPY_BATCH ((uint64_t)64 << 20)

typedef struct salvage {
    feox_store *from;
    feox_store *to;
    fx_check_sink *sink;
    feox_salvage_report report;
    uint64_t held; /* bytes copied since values were dropped */
} salvage;

static feox_status open_from(const char *path, fx_check_sink *sink, feox_store **store_out) {
    feox_options options;
    const fx_store_how how = {.rescue = true, .sink = sink};
    feox_options_init(&options);
    options.read_only = FEOX_YES;
    options.create = FEOX_NO;
    options.memory_limit = FX_MEMORY_LIMIT_LEAN;
    return fx_store_open(path, &options, &how, store_out);
}

static feox_status open_to(const char *path, feox_store **store_out) {
    feox_options options;
    const fx_store_how how = {.exclusive = true};
    feox_options_init(&options);
    options.value_size_limit = FEOX_VALUE_SIZE_MAX;
    options.ordered = FEOX_NO;
    return fx_store_open(path, &options, &how, store_out);
}

static feox_status drop_values(salvage *s) {
    feox_status status = feox_flush(s->to);
    for (uint32_t i = 0; status == FEOX_OK && i < s->to->engine.shard_count; i++) {
        (void)fx_evict_shard(&s->to->engine.shards[i], UINT32_MAX);
    }
    s->held = 0;
    return status;
}

static feox_status store_pair(salvage *s, const feox_slice *key, const feox_view *value,
                              const feox_key_info *info) {
    feox_write write;
    feox_write_init(&write);
    write.timestamp = info->timestamp;
    write.ttl_ms = info->ttl_ms > 0 ? (uint64_t)info->ttl_ms : 0;
    feox_status status =
        feox_insert_with(s->to, key->data, key->size, value->data, value->size, &write, NULL);
    if (status == FEOX_OK) {
        s->report.keys_copied++;
        s->report.bytes_copied += key->size + value->size;
        s->held += key->size + value->size;
    }
    return status == FEOX_OK && s->held > COPY_BATCH ? drop_values(s) : status;
}

static feox_status copy_key(salvage *s, const feox_slice *key) {
    feox_key_info info;
    feox_view value;
    feox_status status = feox_info(s->from, key->data, key->size, &info);
    if (status == FEOX_OK) {
        status = feox_get_view(s->from, key->data, key->size, &value);
    }
    if (status == FEOX_NOT_FOUND) {
        return FEOX_OK; /* it has just expired */
    }
    if (status == FEOX_ERR_CORRUPT || status == FEOX_ERR_IO) {
        const fx_entry lost = {.key = key->data, .key_len = (uint32_t)key->size};
        s->report.keys_lost++;
        fx_check_found(s->sink, "the value is lost", &lost, 0, 0);
        return FEOX_OK;
    }
    if (status == FEOX_OK) {
        status = store_pair(s, key, &value, &info);
        feox_view_release(&value);
    }
    return status;
}

static feox_status copy_all(salvage *s) {
    feox_range range;
    feox_cursor *cursor = NULL;
    feox_slice key;
    feox_range_init(&range);
    range.flags = FEOX_KEYS_ONLY;
    feox_status status = feox_cursor_open(s->from, &range, &cursor);
    while (status == FEOX_OK) {
        status = feox_cursor_next(cursor, &key, NULL);
        status = status == FEOX_OK ? copy_key(s, &key) : status;
    }
    feox_cursor_close(cursor);
    return status == FEOX_END ? FEOX_OK : status;
}

feox_status feox_salvage(const char *path, const char *out_path, feox_salvage_report *report,
                         feox_found found, void *context) {
    fx_check_sink sink = {.found = found, .context = context};
    salvage s = {.sink = &sink};
    feox_salvage_report_init(&s.report);
    if (path == NULL || out_path == NULL) {
        return fx_report(FEOX_ERR_ARGUMENT);
    }
    feox_status status = open_from(path, &sink, &s.from);
    if (status == FEOX_OK) {
        status = open_to(out_path, &s.to);
    }
    if (status == FEOX_OK) {
        s.report.scanned = s.from->engine.rescued ? 1 : 0;
        status = copy_all(&s);
        feox_status closed = feox_close(s.to);
        status = status == FEOX_OK ? closed : status;
    }
    (void)feox_close(s.from);
    s.report.problems = sink.report.problems;
    if (report != NULL) {
        fx_struct_write(report, &s.report, sizeof s.report);
    }
    return status == FEOX_OK && s.report.problems > 0 ? fx_report(FEOX_ERR_CORRUPT) : status;
}
