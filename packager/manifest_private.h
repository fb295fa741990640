/* manifest_private.h -- what the files of packager/ share. Not for other rooms. */
#ifndef RECAST_PACKAGER_MANIFEST_PRIVATE_H
#define RECAST_PACKAGER_MANIFEST_PRIVATE_H

#include "packager/package.h"

enum { MANIFEST_VERSION = 1, PACKAGE_PATH_LIMIT = 1000 };

/* NULL if `path` may name a file in a package, else why not ("has a part \"..\""): relative, parts of '/'
 * that are neither empty nor "." nor ".." nor ".git", none ending in a dot or a blank, no backslash, no
 * colon, no control characters. */
const char *package_path_problem(const char *path);
/* Is it, but for the case of its letters, a file that no manifest can list? */
bool package_is_like_unlisted(const char *path);

#endif
