/* kernels.h -- matrix products for the processor at hand: the bits of runner/ref/, faster.
 *
 * A table of functions for each instruction set; what each gives is defined by docs/arithmetic.md, sections 2
 * and 11, and by kernel_dot and quantized_dot. The portable set is made of those two. */
#ifndef RECAST_RUNNER_CPU_KERNELS_H
#define RECAST_RUNNER_CPU_KERNELS_H

#include "core/cpu.h"
#include "core/dtype.h"
#include <stddef.h>

enum {
    MAT_PANEL = 8,      /* rows that are widened or unpacked together when several vectors meet them */
    MAT_ALIGNMENT = 64, /* of packed activations and scratch: for speed only */
};

/* Some rows of one matrix times n vectors: out[i * out_stride + r] = row r . vector i. */
typedef struct MatTile {
    DType type;
    const uint8_t *rows; /* any alignment */
    size_t row_bytes, n_rows, columns;
    const uint8_t *x;     /* floats, or what pack makes of them */
    size_t x_bytes;       /* from one vector to the next */
    const uint32_t *pick; /* [n]: which vector of x; NULL: 0 .. n-1 */
    size_t n;
    float *out;
    size_t out_stride; /* floats */
    void *scratch;     /* mat_scratch(columns) bytes */
} MatTile;

typedef struct MatKernels {
    const char *name;
    void (*floats)(const MatTile *tile); /* F32, F16, BF16; x: floats; any number of columns */
    /* Quantized activations for the weights of a type, in the order that suits `quantized`: columns, a
     * multiple of 32. */
    size_t (*packed_bytes)(size_t columns); /* the same for every type */
    void (*pack)(void *out, DType type, const float *x, size_t columns);
    bool (*same_pack)(DType a, DType b);    /* does pack give the same for both? */
    void (*quantized)(const MatTile *tile); /* a type of quantized_knows; x: packed for it */
    /* kernel_mix for several heads that read the same v [n][head_dim]: o [heads][head_dim], p [heads] rows of
     * n, p_stride floats apart. */
    void (*mix)(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
                size_t head_dim);
} MatKernels;

/* The fastest set for these features; never NULL. */
const MatKernels *mat_kernels(CpuFeatures have);
/* The i-th set that works with these features, from the portable one (0) on; NULL behind the last. For tests.
 */
const MatKernels *mat_kernels_at(CpuFeatures have, size_t i);
/* Bytes of scratch for each thread: MAT_PANEL rows as float32, or unpacked. */
size_t mat_scratch(size_t columns);

static inline const uint8_t *mat_vector(const MatTile *t, size_t i) {
    return t->x + (t->pick ? t->pick[i] : i) * t->x_bytes;
}

#endif
