/* progress_line.c -- see progress_line.h. */
#include "cli/progress_line.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_line_init(ProgressLine *line, bool quiet) {
    memset(line, 0, sizeof *line);
    line->enabled = !quiet && isatty(STDERR_FILENO);
}

int progress_line_update(void *context, const char *phase, uint64_t done, uint64_t total) {
    ProgressLine *line = context;
    if (!line->enabled) return 0;
    double t = now();
    if (strcmp(line->phase, phase)) {
        snprintf(line->phase, sizeof line->phase, "%s", phase);
        line->started = t;
        line->drawn = 0;
    }
    if (t - line->drawn < 0.1 && done < total) return 0;
    line->drawn = t;
    double elapsed = t - line->started, share = total ? (double)done / (double)total : 1;
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    double left = rate > 0 ? (double)(total - done) / rate : 0;
    fprintf(stderr, "\r\033[K%s  %3.0f %%  %.2f GB/s  %.0f s left", line->phase, 100 * share, rate / 1e9,
            left);
    fflush(stderr);
    line->shown = true;
    return 0;
}

void progress_line_end(ProgressLine *line) {
    if (line->shown) fprintf(stderr, "\r\033[K");
    line->shown = false;
}
