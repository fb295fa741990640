/* tensor_pattern.h -- an ECMAScript regular expression as a POSIX extended one. Only tensor_types.c needs it.
 */
#ifndef RECAST_MODEL_TENSOR_PATTERN_H
#define RECAST_MODEL_TENSOR_PATTERN_H

#include "core/buffer.h"

enum { TENSOR_PATTERN_MAX = 1000 }; /* bytes of a pattern */

/* Appends to `out` an expression that is found in the same names. ERR_RECIPE, naming the byte, for what is
 * malformed and for what POSIX can't say. */
int tensor_pattern_translate(Buffer *out, const char *pattern, Error *err) MUST_CHECK;

#endif
