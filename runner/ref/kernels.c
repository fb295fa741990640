/* kernels.c -- the inner loops of the reference.
 *
 * Loops over the 32 lanes stand innermost with a constant count: a compiler turns them into vectors without
 * being told that sums may be reordered (they may not). */
#include "runner/ref/kernels.h"
#include "core/strict_math.h"
#include "runner/ref/versions.h"

/* Rows in a mapped file lie at any address. */
typedef uint16_t __attribute__((aligned(1))) unaligned_u16;
typedef float __attribute__((aligned(1))) unaligned_f32;

INLINE float load_f32(const void *row, size_t i) {
    return ((const unaligned_f32 *)row)[i];
}

INLINE float load_bf16(const void *row, size_t i) {
    return strict_f32_of((uint32_t)((const unaligned_u16 *)row)[i] << 16);
}

/* Exponent and mantissa moved into place are 2^-112 of the value, subnormal halves too; the product is exact.
 */
INLINE float load_f16(const void *row, size_t i) {
    uint32_t h = ((const unaligned_u16 *)row)[i];
    uint32_t magnitude = (h & 0x7FFF) << 13;
    uint32_t bits = strict_bits_of(strict_f32_of(magnitude) * 0x1p112f);
    bits |= magnitude >= 0x0F800000 ? 0x7F800000 : 0; /* infinity, NaN */
    return strict_f32_of(bits | (h & 0x8000) << 16);
}

INLINE float dot_lanes(float (*load)(const void *, size_t), const void *row, const float *x, size_t n) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] = fmaf(load(row, i + l), x[i + l], lane[l]);
    for (size_t l = 0; i + l < n; l++) lane[l] = fmaf(load(row, i + l), x[i + l], lane[l]);
    return butterfly(lane);
}

KERNEL static float kernel_dot_f32(const void *row, const float *x, size_t n) {
    return dot_lanes(load_f32, row, x, n);
}
KERNEL static float kernel_dot_f16(const void *row, const float *x, size_t n) {
    return dot_lanes(load_f16, row, x, n);
}
KERNEL static float kernel_dot_bf16(const void *row, const float *x, size_t n) {
    return dot_lanes(load_bf16, row, x, n);
}

float kernel_dot(DType type, const void *row, const float *x, size_t n) {
    return type == DT_F32   ? kernel_dot_f32(row, x, n)
           : type == DT_F16 ? kernel_dot_f16(row, x, n)
                            : kernel_dot_bf16(row, x, n);
}

KERNEL void kernel_widen(DType type, const void *row, float *out, size_t n) {
    if (type == DT_F32)
        for (size_t i = 0; i < n; i++) out[i] = load_f32(row, i);
    else if (type == DT_F16)
        for (size_t i = 0; i < n; i++) out[i] = load_f16(row, i);
    else
        for (size_t i = 0; i < n; i++) out[i] = load_bf16(row, i);
}

INLINE float sum_lanes(const float *x, size_t n) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += x[i + l];
    for (size_t l = 0; i + l < n; l++) lane[l] += x[i + l];
    return butterfly(lane);
}

KERNEL float kernel_sum(const float *x, size_t n) {
    return sum_lanes(x, n);
}

/* A NaN need not be the maximum: exp keeps it, and the sum shows it. */
INLINE float exps(float *x, size_t n) {
    float m = x[0];
    for (size_t i = 1; i < n; i++) m = x[i] > m ? x[i] : m;
    for (size_t i = 0; i < n; i++) x[i] = strict_expf(x[i] - m);
    return m;
}

KERNEL float kernel_exps(float *x, size_t n) {
    return exps(x, n);
}

KERNEL void kernel_swiglu(float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) gate[i] = strict_siluf(gate[i]) * up[i];
}

KERNEL void kernel_add_scaled(float *out, float w, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = fmaf(w, x[i], out[i]);
}

KERNEL void kernel_norm(float *y, const float *x, const float *w, float eps, size_t n) {
    float mean = dot_lanes(load_f32, x, x, n) / (float)n;
    float r = 1 / sqrtf(mean + eps);
    for (size_t i = 0; i < n; i++) {
        float scaled = x[i] * r;
        y[i] = scaled * w[i];
    }
}

KERNEL void kernel_softmax(float *p, size_t n, float scale, float *m, float *l) {
    for (size_t j = 0; j < n; j++) p[j] = p[j] * scale;
    *m = exps(p, n);
    *l = sum_lanes(p, n);
}

KERNEL void kernel_mix(float *o, const float *p, const float *v, size_t n, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d++) o[d] = 0;
    for (size_t j = 0; j < n; j++)
        for (size_t d = 0; d < head_dim; d++) o[d] = fmaf(p[j], v[j * head_dim + d], o[d]);
}

KERNEL void kernel_merge(float *state_m, float *state_l, float *acc, float m, float l, const float *o,
                         size_t head_dim) {
    float top = m > *state_m ? m : *state_m;
    float a = strict_expf(*state_m - top), b = strict_expf(m - top);
    for (size_t d = 0; d < head_dim; d++) {
        float kept = acc[d] * a;
        acc[d] = fmaf(o[d], b, kept);
    }
    float kept = *state_l * a;
    *state_l = fmaf(l, b, kept);
    *state_m = top;
}
