/* gguf_header.h -- the header of one GGUF file, as it stands there. Only gguf.c needs it. */
#ifndef RECAST_MODEL_GGUF_HEADER_H
#define RECAST_MODEL_GGUF_HEADER_H

#include "model/model.h"

typedef struct GgufHeader {
    Metadata *metadata;
    size_t n_tensors;
    Tensor *tensors; /* extents lie in the file */
    Table *names;    /* tensor name -> index */
} GgufHeader;

enum { GGUF_MAX_HEADER = 1 << 30 };

/* Everything lives in the arena. *limit: bytes that the header may have (of several files: together); it is
 * reduced by what was read. */
int gguf_header_read(GgufHeader *out, Input *in, uint64_t *limit, Arena *arena, const Allocator *allocator,
                     Error *err) MUST_CHECK;

#endif
