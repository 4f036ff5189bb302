/* check: every structure against its neighbours. Stops all writers meanwhile.
 */
#ifndef FX_ENGINE_CHECK_H
#define FX_ENGINE_CHECK_H

#include "engine/engine.h"

/* Where problems go. */
typedef struct fx_check_sink {
    void (*line)(void *context, const char *text); /* may be NULL */
    void *context;
    feox_check_report report;
} fx_check_sink;

/* Counts a problem and tells it, printf style. */
void fx_check_problem(fx_check_sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The structures in memory: slabs, tables, order, I2. FEOX_OK: checked (see the sink for the
 * outcome), FEOX_ERR_MEMORY: not all could be. */
feox_status fx_check_memory(fx_engine *engine, fx_check_sink *sink);

#endif
