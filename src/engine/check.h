/* check: every structure against its neighbours. Stops all writers meanwhile.
 */
#ifndef FX_ENGINE_CHECK_H
#define FX_ENGINE_CHECK_H

#include "base/entry.h"
#include "engine/engine.h"

/* Where problems go. */
typedef struct fx_check_sink {
    feox_found found; /* may be NULL */
    void *context;
    feox_check_report report;
} fx_check_sink;

/* Counts a problem and tells it. `key` (its key alone is looked at) may be NULL; length 0: no
 * place. */
void fx_check_found(fx_check_sink *sink, const char *text, const fx_entry *key, uint64_t offset,
                    uint64_t length);
/* The same without key and place, printf style. */
void fx_check_problem(fx_check_sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The structures in memory: slabs, tables, order, I2. FEOX_OK: checked (see the sink for the
 * outcome), FEOX_ERR_MEMORY: not all could be. */
feox_status fx_check_memory(fx_engine *engine, fx_check_sink *sink);

#endif
