/* preflight.h -- what can be known to go wrong before the first byte: space for all outputs together, and the
 * largest file that process and file system allow. */
#ifndef RECAST_CONVERT_PREFLIGHT_H
#define RECAST_CONVERT_PREFLIGHT_H

#include "core/output.h"

typedef struct PlannedFile {
    const Output *output;
    uint64_t size;
} PlannedFile;

/* The outputs exist, empty and under hidden names, so permission has been shown. ERR_IO. */
int preflight(const PlannedFile *files, size_t n, Error *err) MUST_CHECK;

#endif
