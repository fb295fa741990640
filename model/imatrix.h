/* imatrix.h -- importance matrices as llama-imatrix writes them: how much each column of a weight matrix
 * matters, measured on a text. Both of its formats are read: the GGUF one and the older binary (.dat).
 *
 * Weights are ready to use: sums of squares divided by how often they were taken, 1 for every column of an
 * expert that no token reached. They are read whole into memory (they take what the file takes). */
#ifndef RECAST_MODEL_IMATRIX_H
#define RECAST_MODEL_IMATRIX_H

#include "model/model.h"

typedef struct ImatrixEntry {
    const char *name;     /* of the tensor: "blk.0.ffn_up_exps.weight" */
    uint64_t n_in, n_mat; /* columns, and matrices (experts). A file of the older format says only their
                             product: n_mat is 1, and n_in all there is */
    const float *weights; /* n_mat times n_in: finite, not negative */
} ImatrixEntry;

typedef struct Imatrix {
    const char *file_name;       /* without directories */
    bool is_gguf;                /* else the older format */
    size_t n_entries;            /* at least one */
    const ImatrixEntry *entries; /* in the file's order */
    size_t n_datasets;
    const char *const *datasets; /* what it was measured on, as the file says */
    uint32_t chunk_count;        /* of text; 0 if not said */
    uint32_t chunk_size;         /* tokens; 0 if not said */
    const Table *names;          /* tensor name -> index */
    Arena *arena;
} Imatrix;

/* Errors: ERR_IO, ERR_LIMIT (a file above 16 GiB), ERR_NUMERIC (NaN, infinity, negative values), ERR_FORMAT
 * for all else, with the byte where there is one. */
int imatrix_open(Imatrix **out, const char *path, const Allocator *allocator, Error *err) MUST_CHECK;
/* The same over an Input, which stays the caller's and is not needed afterwards. */
int imatrix_open_input(Imatrix **out, Input *in, const Allocator *allocator, Error *err) MUST_CHECK;
void imatrix_close(Imatrix *m); /* NULL-safe */

const ImatrixEntry *imatrix_find(const Imatrix *m, const char *tensor_name); /* NULL if absent */

/* The weights of a tensor's columns: dims[0] for each of its dims[2] matrices, one after the other. *out is
 * NULL, and that is no error, if there are none, or if the embedding has ones of another size: llama-quantize
 * ignores those. Any other size is ERR_CHECK. */
int imatrix_weights(const float **out, const Imatrix *m, const Tensor *t, Error *err) MUST_CHECK;

#endif
