/* digest.h -- the tensors that a weights digest is made of, and the digest of their hashes (private to
 * model/; docs/weights-digest.md). */
#ifndef RECAST_MODEL_DIGEST_H
#define RECAST_MODEL_DIGEST_H

#include "core/sha256.h"
#include "model/model.h"

typedef struct DigestEntry {
    const Tensor *tensor; /* whose rows first_row .. first_row + n_rows are the entry's */
    uint64_t first_row, n_rows;
    const char *hf_name; /* classic, one tensor an expert */
    uint32_t n_dims;
    uint64_t dims[TENSOR_MAX_DIMS]; /* of the Hugging Face form, ggml order */
    char sha256[SHA256_HEX];        /* filled in by whoever reads the rows, as is the next */
    DType as;                       /* the narrowest type that holds them */
} DigestEntry;

typedef struct DigestList {
    DigestEntry *entries; /* in the arena */
    size_t n;
} DigestList;

/* ERR_UNSUPPORTED if the model has no digest: an unknown family, a quantized tensor. */
int digest_list(DigestList *out, const Model *m, Arena *arena, Error *err) MUST_CHECK;
/* The digest of all lines, when every entry has its hash. Sorts the entries by name. */
int digest_lines(DigestList *list, char hex[SHA256_HEX], Error *err) MUST_CHECK;

#endif
