/* difference.h -- how far the tensors of one model are from those of another, whatever their types: what a
 * quantization costs, what a finetune changed. */
#ifndef RECAST_VALIDATE_DIFFERENCE_H
#define RECAST_VALIDATE_DIFFERENCE_H

#include "core/progress.h"
#include "model/model.h"

/* Of two tensors of one shape. Numbers are compared as float32; sums are in double, in the order of the
 * elements, so that they are the same with any number of threads. */
typedef struct TensorDifference {
    bool identical;    /* the same bytes of the same type */
    bool measured;     /* both are of types whose numbers can be read: what follows holds */
    uint64_t elements; /* of the tensor */
    uint64_t differ;   /* elements whose float32 bits differ (so 0 and -0 do) */
    double max;        /* largest |a - b|; NaN if one of them is NaN */
    double rmse;       /* root of the mean square of a - b */
    double relative;   /* rmse over the root mean square of a; 0 if both are zero, infinite if only a is */
    double cosine;     /* of a and b as vectors; 1 if both are zero, 0 if one is */
} TensorDifference;

typedef struct DifferenceOptions {
    unsigned threads; /* 0: one a processor */
    const Progress *progress;
} DifferenceOptions;

/* For n pairs of tensors of one shape (a[i], b[i]); a pair with b[i] NULL is passed over and stays zero.
 * ERR_IO, ERR_MEMORY, ERR_INTERRUPTED, and what views say when they are read. */
int tensor_differences(TensorDifference *out, size_t n, const Tensor *const *a, const Tensor *const *b,
                       DifferenceOptions options, Error *err) MUST_CHECK;

#endif
