/* safetensors.h -- the header of one safetensors file, checked more strictly than the reference reader does.
 * Format: github.com/huggingface/safetensors, README "Format". Refuses: header length above 100,000,000 or
 * beyond the file, a header that does not start with '{', duplicate keys, unknown dtypes, sizes that do not
 * match dtype and shape, holes, overlaps, a first tensor not at 0, a last one that does not end at the end of
 * the file, more than 4 dimensions. */
#ifndef RECAST_MODEL_SAFETENSORS_H
#define RECAST_MODEL_SAFETENSORS_H

#include "core/dtype.h"
#include "core/input.h"

typedef struct SafetensorsEntry {
    const char *name; /* in the arena */
    DType type;
    uint32_t n_dims;   /* 0 .. 4 */
    uint64_t shape[4]; /* torch order */
    uint64_t offset;   /* from the start of the file, bytes */
    uint64_t length;   /* bytes */
} SafetensorsEntry;

typedef struct SafetensorsHeader {
    size_t n_entries;
    SafetensorsEntry *entries; /* sorted by offset */
} SafetensorsHeader;

/* Everything lives in the arena. Errors: ERR_FORMAT with the file's name and a byte offset. */
int safetensors_read(SafetensorsHeader *out, const Input *in, Arena *arena, Error *err) MUST_CHECK;

#endif
