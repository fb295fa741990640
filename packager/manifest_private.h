/* manifest_private.h -- what the files of packager/ share. Not for other rooms. */
#ifndef RECAST_PACKAGER_MANIFEST_PRIVATE_H
#define RECAST_PACKAGER_MANIFEST_PRIVATE_H

#include "packager/package.h"

enum { MANIFEST_VERSION = 1, PACKAGE_PATH_LIMIT = 1000 };

/* NULL if `path` may name a file in a package, else why not ("has a part \"..\""): relative, parts of '/'
 * that are neither empty nor "." nor "..", no backslash, no colon, no control characters. */
const char *package_path_problem(const char *path);

#endif
