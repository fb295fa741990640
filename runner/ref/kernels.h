/* kernels.h -- the inner loops of the reference: what takes the time.
 *
 * Plain C in the order of docs/arithmetic.md. On x86-64 gcc compiles each of them three times, for processors
 * with AVX-512, with AVX2 and without either, and the loader picks one; fma is exact everywhere, so the bits
 * are the same. n counts elements, also where they are not multiples of 32. */
#ifndef RECAST_RUNNER_REF_KERNELS_H
#define RECAST_RUNNER_REF_KERNELS_H

#include "core/dtype.h"

enum { ATTENTION_CHUNK = 256 /* positions, section 6 */ };

/* The dot product of section 2. row: n elements of F32, F16 or BF16, any alignment; x: n floats. */
float kernel_dot(DType type, const void *row, const float *x, size_t n);
/* Elements of F32, F16 or BF16 as float32. */
void kernel_widen(DType type, const void *row, float *out, size_t n);
/* The sum of section 2. */
float kernel_sum(const float *x, size_t n);
/* x[i] = exp(x[i] - max of x). Returns the maximum. */
float kernel_exps(float *x, size_t n);
/* gate[i] = silu(gate[i]) * up[i]. */
void kernel_swiglu(float *gate, const float *up, size_t n);
/* out[i] = fma(w, x[i], out[i]). */
void kernel_add_scaled(float *out, float w, const float *x, size_t n);
/* y[i] = (x[i] * r) * w[i] with r = 1 / sqrt(mean square + eps): section 4. y may be x. */
void kernel_norm(float *y, const float *x, const float *w, float eps, size_t n);

/* Scores of one query head over one chunk, section 6. p [n]: dot products, left as exp(p * scale - m); *m,
 * *l: maximum and sum. */
void kernel_softmax(float *p, size_t n, float scale, float *m, float *l);
/* o [head_dim] = the rows of v [n][head_dim] weighted by p [n], section 6. */
void kernel_mix(float *o, const float *p, const float *v, size_t n, size_t head_dim);
/* Merges a chunk's (m, l, o) into the state (*state_m, *state_l, acc [head_dim]). */
void kernel_merge(float *state_m, float *state_l, float *acc, float m, float l, const float *o,
                  size_t head_dim);

#endif
