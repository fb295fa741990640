/* ops.h -- operations over whole tokens: matrix products on several threads, RoPE, the choice of experts. */
#ifndef RECAST_RUNNER_REF_OPS_H
#define RECAST_RUNNER_REF_OPS_H

#include "core/threads.h"
#include "runner/cpu/kernels.h"
#include "runner/ref/weights.h"

/* Who works, with what, and each worker's own memory. */
typedef struct Team {
    ThreadPool *pool;
    unsigned n_threads;        /* at least 1 */
    const MatKernels *kernels; /* for matrix products: the choice changes no bit */
    bool float_activations;    /* dequantize weights instead of quantizing what they meet */
    float *scratch;            /* [n_threads][scratch_floats] */
    size_t scratch_floats;     /* for each thread: at least team_scratch(widest matrix) */
    uint8_t *packed;           /* quantized activations of the products that run together */
    size_t packed_bytes;       /* kernels->packed_bytes for each vector, once for each order that is needed */
} Team;

/* One row of a matrix as float32: [columns]. */
void widen_row(const Matrix *w, size_t row, float *out);
/* Floats that team_products needs for each thread. */
size_t team_scratch(size_t columns);
/* Runs items 0 .. count-1, alone if `work` (multiply-adds in all of them) is too little to wake threads for.
 */
int team_run(const Team *team, uint64_t work, size_t count, ThreadWork items, Error *err) MUST_CHECK;

/* One matrix times several vectors. */
typedef struct Product {
    const Matrix *w;
    const float *x;       /* rows of w->columns floats */
    const uint32_t *pick; /* [n]: which row of x each takes; NULL: 0 .. n-1 */
    float *out;           /* [n][w->rows] */
    size_t n;
    /* team_products notes here: */
    const uint8_t *packed; /* quantized rows of x; NULL: x itself is used */
    size_t vectors;        /* how many of them this product has made; 0 if it shares another's */
    size_t items_end;      /* work items of all products up to this one */
} Product;
/* All of them, rows spread over the team. Bits depend on neither. */
int team_products(const Team *team, Product *products, size_t count, Error *err) MUST_CHECK;

/* Cosines and sines of one position, section 5: [head_dim / 2] each. */
void rope_angles(float *cosine, float *sine, const float *inv_freq, float attention_factor, uint32_t position,
                 size_t head_dim);
/* Turns the pairs (i, i + head_dim/2) of x [head_dim]. */
void rope_turn(float *x, const float *cosine, const float *sine, size_t head_dim);

/* From logits [n_experts], in place: the weight of each chosen expert, and -1 for all others. Section 7. */
void route(float *logits, size_t n_experts, size_t n_used, bool renormalise);

/* Index of the first NaN or infinity, or n. */
size_t first_nonfinite(const float *x, size_t n);

#endif
