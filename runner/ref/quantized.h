/* quantized.h -- dot products of quantized weights with activations that are quantized for it: section 11 of
 * docs/arithmetic.md, to be read beside it.
 *
 * Every block of 32 weights gives one exact integer, so the only rounding is that of one fma a block, and any
 * machine can do the integers the way it does them best. */
#ifndef RECAST_RUNNER_REF_QUANTIZED_H
#define RECAST_RUNNER_REF_QUANTIZED_H

#include "core/dtype.h"

/* 32 activations: about d * q. */
typedef struct ActBlock {
    float d;
    int8_t q[32];
    int16_t sum[2]; /* of the first and the last 16 of q */
} ActBlock;

/* Is there a section for this weight type? */
bool quantized_knows(DType type);
/* n floats, a multiple of 32. */
void quantized_activations(ActBlock *out, const float *x, size_t n);
/* row: n weights of a type that is known, at any address; x: n / 32 blocks. */
float quantized_dot(DType type, const void *row, const ActBlock *x, size_t n);

#endif
