/* gguf_plan.h -- the layout of a GGUF file before a byte is written. Pure: reads no tensor data. */
#ifndef RECAST_CONVERT_GGUF_PLAN_H
#define RECAST_CONVERT_GGUF_PLAN_H

#include "model/model.h"

typedef struct GgufPlan {
    const Model *model;       /* FORM_GGUF; borrowed */
    const Metadata *metadata; /* the keys to write; borrowed */
    Buffer header;            /* magic to the start of the data, padding included */
    uint64_t data_offset;     /* == header.length, a multiple of the alignment */
    uint64_t *offsets;        /* n_tensors: from the start of the data */
    uint64_t file_size;       /* bytes, padding after the last tensor included */
    uint32_t alignment;
    Arena *arena;
} GgufPlan;

/* metadata: the keys to write, NULL for the model's own. GGUF v3, alignment 32 (an alignment key other than
 * 32 is dropped, since C tools corrupt such files). Errors: ERR_UNSUPPORTED (a tensor type without GGUF id, a
 * name above 63 bytes), ERR_LIMIT. */
int gguf_plan_open(GgufPlan **out, const Model *model, const Metadata *metadata, const Allocator *allocator,
                   Error *err) MUST_CHECK;
void gguf_plan_close(GgufPlan *p); /* NULL-safe */

/* Is this a key that no plan writes: general.alignment other than 32? */
bool gguf_plan_drops(const GgufKv *kv);

#endif
