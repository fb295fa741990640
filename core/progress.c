/* progress.c -- one step of progress, and the two ways in which work is asked to stop. */
#include "core/progress.h"
#include "core/process.h"
#include <stddef.h>

int progress_update(const Progress *progress, const char *phase, uint64_t done, uint64_t total, Error *err) {
    bool stop = progress && progress->update && progress->update(progress->context, phase, done, total) != 0;
    if (!stop && !process_interrupted()) return 0;
    return error_set(err, ERR_INTERRUPTED, "interrupted during: %s", phase);
}
