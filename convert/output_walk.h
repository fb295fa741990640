/* output_walk.h -- the walk that makes one GGUF file: header, then rows read through the views, each written
 * at its offset and hashed in the file's order. */
#ifndef RECAST_CONVERT_OUTPUT_WALK_H
#define RECAST_CONVERT_OUTPUT_WALK_H

#include "convert/gguf_plan.h"
#include "core/output.h"
#include "core/sha256.h"
#include "core/walks.h"

/* Its state, together with the walk's position, is the hash. */
typedef struct OutputWalk {
    const GgufPlan *plan;
    Output *output;  /* NULL: hash only */
    bool data_there; /* the output has all bytes behind the header already (clone.h) */
    Sha256 *hash;    /* NULL: no hash */
    char sha256[SHA256_HEX];
} OutputWalk;

/* The largest buffer that a piece of this plan needs. ERR_LIMIT if a row is too long to be transformed. */
int output_walk_buffer(const GgufPlan *plan, size_t *bytes, Error *err) MUST_CHECK;
/* context must outlive the walk. Data that is there already is read for its hash alone; without one the walk
 * ends behind the header. */
Walk output_walk(OutputWalk *context, unsigned group);
/* The state of a walk that hashes, at a moment when it takes no piece; and back into a new one: false if that
 * is no state of this walk. */
void output_walk_save(const Walk *w, Buffer *out);
bool output_walk_load(Walk *w, BufferReader *in);

#endif
