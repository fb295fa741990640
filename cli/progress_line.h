/* progress_line.h -- how far the work is, on stderr: one line on a terminal (percent, rate, time left, what
 * is at hand), nothing elsewhere; or JSON, a line a report. SIGUSR1 gets a line anywhere. */
#ifndef RECAST_CLI_PROGRESS_LINE_H
#define RECAST_CLI_PROGRESS_LINE_H

#include "core/progress.h"

typedef enum ProgressForm {
    PROGRESS_LINE, /* if stderr is a terminal */
    PROGRESS_JSON,
    PROGRESS_NONE
} ProgressForm;

typedef struct ProgressLine {
    ProgressForm form;
    bool quiet; /* not even for SIGUSR1 */
    bool shown;
    char phase[64], item[96];
    double started, drawn; /* seconds */
} ProgressLine;

/* form: "line", "json" or "none"; NULL: line. False if it is none of them. */
bool progress_line_init(ProgressLine *line, const char *form, bool quiet);
/* The Progress whose context is a ProgressLine; reports at most ten times a second. */
Progress progress_line_progress(ProgressLine *line);
void progress_line_end(ProgressLine *line); /* clears it */

#endif
