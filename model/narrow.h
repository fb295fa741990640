/* narrow.h -- float32 and float16 values in a narrower format, if that keeps every one (private to proof.c).
 */
#ifndef RECAST_MODEL_NARROW_H
#define RECAST_MODEL_NARROW_H

#include "core/dtype.h"

/* n elements of `from` (F32, F16 or BF16) as `to`, written to `out` unless it is `from` itself; buffers must
 * not overlap. False, with `out` undefined, if an element has no exact form there. Infinities keep; a NaN
 * keeps if its payload does. */
bool narrow_exact(DType to, void *out, DType from, const void *in, size_t n);

#endif
