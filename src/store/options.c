/* options: the rule of openat2 and clone3: a later struct is fine as long as what we do not know of
 * it is zero, that is, not asked for.
 */
#include "store/options.h"

#include <string.h>

#include "base/config.h"
#include "base/error.h"

bool fx_struct_read(void *known, size_t known_size, const void *given) {
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size == 0) {
        size = known_size;
    }
    if (size < sizeof size) {
        return false;
    }
    const uint8_t *bytes = given;
    for (size_t i = known_size; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    memcpy(known, given, size < known_size ? size : known_size);
    memcpy(known, &known_size, sizeof known_size);
    return true;
}

void fx_struct_write(void *given, const void *known, size_t known_size) {
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size == 0 || size > known_size) {
        size = known_size;
    }
    if (size > sizeof size) {
        memcpy((uint8_t *)given + sizeof size, (const uint8_t *)known + sizeof size,
               size - sizeof size);
    }
}

void feox_options_init(feox_options *options) {
    if (options != NULL) {
        *options = (feox_options){.struct_size = sizeof *options};
    }
}

void feox_write_init(feox_write *write) {
    if (write != NULL) {
        *write = (feox_write){.struct_size = sizeof *write};
    }
}

void feox_range_init(feox_range *range) {
    if (range != NULL) {
        *range = (feox_range){.struct_size = sizeof *range};
    }
}

void feox_statistics_init(feox_statistics *stats) {
    if (stats != NULL) {
        *stats = (feox_statistics){.struct_size = sizeof *stats};
    }
}

void feox_check_report_init(feox_check_report *report) {
    if (report != NULL) {
        *report = (feox_check_report){.struct_size = sizeof *report};
    }
}

void feox_salvage_report_init(feox_salvage_report *report) {
    if (report != NULL) {
        *report = (feox_salvage_report){.struct_size = sizeof *report};
    }
}

static feox_status bad_option(const char *name) {
    return fx_error_set(FEOX_ERR_ARGUMENT, 0, "option %s has a value that means nothing", name);
}

/* A choice with its default filled in. */
static bool choice(int32_t *value, int32_t fallback) {
    if (*value == FEOX_DEFAULT) {
        *value = fallback;
    }
    return *value == FEOX_YES || *value == FEOX_NO;
}

feox_status fx_options_read(const feox_options *given, feox_options *out) {
    feox_options_init(out);
    if (given != NULL && !fx_struct_read(out, sizeof *out, given)) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0,
                            "the options ask for something that this version does not know");
    }
    if (out->durability < FEOX_DURABILITY_RELAXED || out->durability > FEOX_DURABILITY_DURABLE) {
        return bad_option("durability");
    }
    if (out->io_backend < FEOX_IO_AUTO || out->io_backend > FEOX_IO_THREADS) {
        return bad_option("io_backend");
    }
    if (!choice(&out->create, FEOX_YES)) {
        return bad_option("create");
    }
    if (!choice(&out->read_only, FEOX_NO)) {
        return bad_option("read_only");
    }
    if (!choice(&out->ordered, FEOX_YES)) {
        return bad_option("ordered");
    }
    if (out->reserved != 0) {
        return bad_option("reserved");
    }
    if (out->value_size_limit > FEOX_VALUE_SIZE_MAX) {
        return bad_option("value_size_limit");
    }
    if (out->file_size_limit != 0 && out->file_size_initial > out->file_size_limit) {
        return bad_option("file_size_initial");
    }
    uint64_t most =
        out->memory_limit != 0 ? out->memory_limit / FX_EXPECTED_KEY_SIZE : FX_EXPECTED_KEYS_MAX;
    most = most < FX_EXPECTED_KEYS_MAX ? most : FX_EXPECTED_KEYS_MAX;
    out->expected_keys = out->expected_keys < most ? out->expected_keys : most;
    if (out->flush_interval_ms == 0) {
        out->flush_interval_ms = FX_FLUSH_INTERVAL_MS;
    }
    if (out->sweep_interval_ms == 0) {
        out->sweep_interval_ms = FX_SWEEP_INTERVAL_MS;
    }
    if (out->value_size_limit == 0) {
        out->value_size_limit = FX_VALUE_SIZE_DEFAULT;
    }
    return FEOX_OK;
}

feox_status fx_intent_read(const feox_write *given, uint32_t allowed, fx_intent *out) {
    *out = (fx_intent){0};
    if (given == NULL) {
        return FEOX_OK;
    }
    feox_write write;
    feox_write_init(&write);
    if (!fx_struct_read(&write, sizeof write, given)) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0,
                            "the write asks for something that this version does not know");
    }
    uint32_t conditions = write.flags & (FEOX_IF_ABSENT | FEOX_IF_PRESENT | FEOX_IF_VERSION);
    uint32_t keeps = write.flags & (FEOX_KEEP_TTL | FEOX_CLEAR_TTL);
    if ((write.flags & ~allowed) != 0 || write.reserved != 0) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "a flag of the write does not fit this call");
    }
    if ((conditions & (conditions - 1)) != 0 || (keeps & (keeps - 1)) != 0 ||
        (keeps != 0 && write.ttl_ms != 0)) {
        return fx_error_set(FEOX_ERR_ARGUMENT, 0, "flags of the write contradict each other");
    }
    *out = (fx_intent){write.flags, write.timestamp, write.ttl_ms, write.version};
    return FEOX_OK;
}
