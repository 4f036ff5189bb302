/* progress: see the header. The rate is the mean since the beginning, which stays readable and
 * gives the better estimate of what remains. */
#include "cli/progress.h"

#include <stdio.h>
#include <time.h>

#include "cli/out.h"

static double now_seconds(void) {
    struct timespec t = {0, 0};
    (void)timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void fx_cli_progress_begin(fx_cli_progress *progress, const char *title, uint64_t total,
                           bool bytes) {
    *progress = (fx_cli_progress){.title = title, .total = total, .bytes = bytes};
    progress->enabled = fx_cli_err_is_terminal();
    if (progress->enabled) {
        progress->started = now_seconds();
        progress->shown = progress->started;
    }
}

static void draw_remaining(double seconds) {
    if (seconds < 360000.0) {
        unsigned whole = (unsigned)(seconds + 0.5);
        (void)fprintf(stderr, "  %u:%02u left", whole / 60, whole % 60);
    }
}

static void draw_bar(double part) {
    char bar[26];
    for (int i = 0; i < 25; i++) {
        bar[i] = part * 25.0 > (double)i ? '#' : '-';
    }
    bar[25] = '\0';
    (void)fprintf(stderr, " [%s] %3.0f %%", bar, part * 100.0);
}

void fx_cli_progress_update(fx_cli_progress *progress, uint64_t done, uint64_t records) {
    if (!progress->enabled) {
        return;
    }
    double now = now_seconds();
    double spent = now - progress->started;
    if (now - progress->shown < 0.1) {
        return;
    }
    bool known = progress->total > 0 && done <= progress->total;
    progress->shown = now;
    progress->drawn = true;
    (void)fprintf(stderr, "\r%s", progress->title);
    if (known) {
        draw_bar((double)done / (double)progress->total);
    }
    if (progress->bytes) {
        (void)fprintf(stderr, "  %.1f MB  %.1f MB/s", (double)done / 1e6,
                      (double)done / 1e6 / spent);
    }
    (void)fprintf(stderr, "  %llu records  %.0f/s", (unsigned long long)records,
                  (double)records / spent);
    if (known && done > 0) {
        draw_remaining((double)(progress->total - done) * spent / (double)done);
    }
    (void)fprintf(stderr, "\x1b[K");
}

void fx_cli_progress_end(fx_cli_progress *progress) {
    if (progress->drawn) {
        (void)fprintf(stderr, "\r\x1b[K");
        progress->drawn = false;
    }
    progress->enabled = false;
}
