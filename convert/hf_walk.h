/* hf_walk.h -- the walk that makes one file of a Hugging Face form: bytes as they are in the source's file,
 * rows of computed tensors read through the model, each piece written at its place and hashed in order. */
#ifndef RECAST_CONVERT_HF_WALK_H
#define RECAST_CONVERT_HF_WALK_H

#include "core/output.h"
#include "core/sha256.h"
#include "core/walks.h"
#include "model/model.h"

/* A computed tensor in its file. */
typedef struct HfRegion {
    uint64_t begin, end; /* bytes in the file */
    const Tensor *tensor;
    uint64_t row_bytes;
} HfRegion;

typedef struct HfWalk {
    const Input *file;
    size_t n_regions;
    HfRegion *regions; /* sorted; in the arena */
    Output *output;    /* NULL: hash only */
    Sha256 *hash;      /* NULL: no hash */
    char sha256[SHA256_HEX];
} HfWalk;

/* Does the model compute rows of a tensor that lies in this file? */
bool hf_walk_computes(const Model *m, const Input *file);
/* Sets file and regions, and raises *buffer to what the largest piece needs. ERR_LIMIT for rows above 32 MiB.
 */
int hf_walk_open(HfWalk *out, const Model *m, const Input *file, size_t *buffer, Arena *arena,
                 Error *err) MUST_CHECK;
/* context, with its output and hash, must outlive the walk. */
Walk hf_walk(HfWalk *context, unsigned group);

#endif
