/* tensor_hash.h -- SHA-256 of rows of a tensor, as they are or in the narrowest exact type (private to
 * proof.c).
 *
 * BF16 is hashed as it lies. F32 and F16 are hashed as the narrowest type that has not failed yet; when an
 * element does not fit, the rows are read again for the next (in practice that happens within the first
 * bytes, at worst twice). */
#ifndef RECAST_MODEL_TENSOR_HASH_H
#define RECAST_MODEL_TENSOR_HASH_H

#include "core/sha256.h"
#include "model/model.h"

typedef struct TensorHasher { /* one thread's; starts as {0} */
    Sha256 *sha;
    uint8_t *piece, *narrowed;
    size_t piece_size, narrowed_size;
} TensorHasher;

void tensor_hasher_close(TensorHasher *h);

/* Called behind each piece of about 4 MB with the bytes that it adds; non-zero stops with that code. */
typedef struct HashProgress {
    int (*call)(void *context, uint64_t bytes, Error *err);
    void *context;
} HashProgress;

/* The rows' bytes as model_read gives them. */
int tensor_hash_rows(TensorHasher *h, const Tensor *t, uint64_t first_row, uint64_t n_rows,
                     char hex[SHA256_HEX], HashProgress progress, Error *err) MUST_CHECK;
/* The rows narrowed by value; *as is the type that holds them all. ERR_UNSUPPORTED if the tensor is not F32,
 * F16 or BF16. */
int tensor_hash_narrowest(TensorHasher *h, const Tensor *t, uint64_t first_row, uint64_t n_rows, DType *as,
                          char hex[SHA256_HEX], HashProgress progress, Error *err) MUST_CHECK;

#endif
