/* progress_line.h -- one line on a terminal: phase, percent, rate, time left. Nothing when stderr is no
 * terminal. */
#ifndef RECAST_CLI_PROGRESS_LINE_H
#define RECAST_CLI_PROGRESS_LINE_H

#include "core/progress.h"

typedef struct ProgressLine {
    bool enabled, shown;
    char phase[64];
    double started, drawn; /* seconds */
} ProgressLine;

void progress_line_init(ProgressLine *line, bool quiet);
/* A Progress.update whose context is a ProgressLine; draws at most ten times a second. */
int progress_line_update(void *context, const char *phase, uint64_t done, uint64_t total);
void progress_line_end(ProgressLine *line); /* clears it */

#endif
