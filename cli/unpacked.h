/* unpacked.h -- an archive of a package as a directory, for the time of a command. */
#ifndef RECAST_CLI_UNPACKED_H
#define RECAST_CLI_UNPACKED_H

#include "packager/archive.h"
#include <limits.h>

typedef struct Unpacked {
    char root[PATH_MAX]; /* of its own, below $TMPDIR; "" if there was nothing to unpack */
    char directory[PATH_MAX];
    bool evidence; /* weights are not in it */
} Unpacked;

/* *path is set to the directory if it named an archive, else left alone. Closed also after an error. */
int unpacked_open(Unpacked *out, const char **path, const ArchiveOptions *options, Error *err) MUST_CHECK;
void unpacked_close(Unpacked *u);

#endif
