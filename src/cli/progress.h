/* progress: a bar on standard error, drawn only when that is a terminal, ten times a second. */
#ifndef FX_CLI_PROGRESS_H
#define FX_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fx_cli_progress {
    bool drawn;
    bool enabled;
    bool bytes; /* `done` and `total` are bytes, not pairs */
    const char *title;
    uint64_t total; /* 0: not known */
    double started;
    double shown;
} fx_cli_progress;

void fx_cli_progress_begin(fx_cli_progress *progress, const char *title, uint64_t total,
                           bool bytes);
/* Cheap where nothing is drawn. */
void fx_cli_progress_update(fx_cli_progress *progress, uint64_t done, uint64_t records);
/* Removes the bar, so that what follows begins on a clean line. */
void fx_cli_progress_end(fx_cli_progress *progress);

#endif
