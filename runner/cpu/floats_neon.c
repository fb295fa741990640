/* floats_neon.c -- float products with NEON (docs/arithmetic.md, sections 2 and 6).
 *
 * An element's lane is its index mod 32, so the lanes of one sum are eight registers. */
#include "runner/cpu/sets.h"
#if defined(__aarch64__)
#include "runner/cpu/neon.h"
#include "runner/ref/kernels.h"

/* Four elements from index i on, widened. Loads of bytes, since rows lie at any address. */
NEON float32x4_t widened(DType type, const uint8_t *row, size_t i) {
    if (type == DT_F32) return vreinterpretq_f32_u8(vld1q_u8(row + 4 * i));
    uint8x8_t half = vld1_u8(row + 2 * i);
    if (type == DT_F16) return vcvt_f32_f16(vreinterpret_f16_u8(half));
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(half), 16));
}

/* The last n % 32 elements, from `begin` on: other lanes stay as they are, a -0 too. */
NEON_CODE void add_tail(float32x4_t lane[8], DType type, const uint8_t *row, const float *x, size_t begin,
                        size_t n) {
    float w[32], sum[32];
    kernel_widen(type, row + begin * (type == DT_F32 ? 4 : 2), w, n - begin);
    for (size_t p = 0; p < 8; p++) vst1q_f32(sum + 4 * p, lane[p]);
    for (size_t l = 0; l < n - begin; l++) sum[l] = __builtin_fmaf(w[l], x[begin + l], sum[l]);
    for (size_t p = 0; p < 8; p++) lane[p] = vld1q_f32(sum + 4 * p);
}

/* R rows times V vectors, `parts` registers of the lanes in one go over the columns. All three are constants:
 * R * V * parts sums stay in registers. */
NEON void tile_floats(DType type, size_t R, size_t V, size_t parts, const uint8_t *rows, size_t row_bytes,
                      const float *const *x, size_t n, float *out, size_t out_stride) {
    float32x4_t lane[4 * 4][8]; /* [R * V] */
    size_t whole = n / 32 * 32;
    for (size_t begin = 0; begin < 8; begin += parts) {
        float32x4_t sum[4 * 4][8];
        UNROLL for (size_t k = 0; k < R * V; k++) {
            UNROLL for (size_t p = 0; p < parts; p++) sum[k][p] = vdupq_n_f32(0);
        }
        for (size_t i = 4 * begin; i < whole; i += 32) {
            UNROLL for (size_t p = 0; p < parts; p++) {
                float32x4_t v[4];
                UNROLL for (size_t c = 0; c < V; c++) v[c] = vld1q_f32(x[c] + i + 4 * p);
                UNROLL for (size_t r = 0; r < R; r++) {
                    float32x4_t w = widened(type, rows + r * row_bytes, i + 4 * p);
                    UNROLL for (size_t c = 0; c < V; c++) sum[r * V + c][p] =
                        vfmaq_f32(sum[r * V + c][p], w, v[c]);
                }
            }
        }
        UNROLL for (size_t k = 0; k < R * V; k++) {
            UNROLL for (size_t p = 0; p < parts; p++) lane[k][begin + p] = sum[k][p];
        }
    }
    UNROLL for (size_t r = 0; r < R; r++) {
        UNROLL for (size_t c = 0; c < V; c++) {
            float32x4_t *l = lane[r * V + c];
            if (whole < n) add_tail(l, type, rows + r * row_bytes, x[c], whole, n);
            out[c * out_stride + r] = neon_butterfly(l);
        }
    }
}

enum { ROWS = 4, VECTORS = 4 };

NEON const float *vector(const MatTile *t, size_t i) {
    return (const float *)(const void *)mat_vector(t, i);
}

/* Rows from `first` on times one vector, one after the other. */
NEON void one_vector(DType type, const MatTile *t, size_t first, size_t i) {
    const float *x = vector(t, i);
    float *out = t->out + i * t->out_stride;
    for (size_t r = first; r < t->n_rows; r++)
        tile_floats(type, 1, 1, 8, t->rows + r * t->row_bytes, t->row_bytes, &x, t->columns, out + r, 1);
}

/* A few rows stay in the first cache while they meet all vectors, V at a time. */
NEON size_t rows_times(DType type, size_t V, const MatTile *t, size_t first, size_t i) {
    const float *x[VECTORS];
    for (; i + V <= t->n; i += V) {
        for (size_t c = 0; c < V; c++) x[c] = vector(t, i + c);
        tile_floats(type, ROWS, V, V == 1 ? 2 : 1, t->rows + first * t->row_bytes, t->row_bytes, x,
                    t->columns, t->out + i * t->out_stride + first, t->out_stride);
    }
    return i;
}

NEON void product(DType type, const MatTile *t) {
    size_t first = 0;
    for (; t->n > 1 && first + ROWS <= t->n_rows; first += ROWS) {
        size_t i = rows_times(type, VECTORS, t, first, 0);
        i = rows_times(type, 2, t, first, i);
        rows_times(type, 1, t, first, i);
    }
    for (size_t i = 0; i < t->n; i++) one_vector(type, t, first, i);
}

NEON_CODE void product_f32(const MatTile *t) {
    product(DT_F32, t);
}
NEON_CODE void product_f16(const MatTile *t) {
    product(DT_F16, t);
}
NEON_CODE void product_bf16(const MatTile *t) {
    product(DT_BF16, t);
}

void floats_neon(const MatTile *t) {
    (t->type == DT_F32 ? product_f32 : t->type == DT_F16 ? product_f16 : product_bf16)(t);
}

/* ---- the weighted sum of values ---- */

/* H heads, C registers of each from element `at` on. Both are constants. A value that is loaded serves all
 * heads, and sums stay in registers over all positions. */
NEON void mix_tile(size_t H, size_t C, float *o, const float *p, size_t p_stride, const float *v, size_t n,
                   size_t head_dim, size_t at) {
    float32x4_t sum[4][4];
    UNROLL for (size_t h = 0; h < H; h++) {
        UNROLL for (size_t c = 0; c < C; c++) sum[h][c] = vdupq_n_f32(0);
    }
    for (size_t j = 0; j < n; j++) {
        float32x4_t value[4];
        UNROLL for (size_t c = 0; c < C; c++) value[c] = vld1q_f32(v + j * head_dim + at + 4 * c);
        UNROLL for (size_t h = 0; h < H; h++) {
            float32x4_t weight = vdupq_n_f32(p[h * p_stride + j]);
            UNROLL for (size_t c = 0; c < C; c++) sum[h][c] = vfmaq_f32(sum[h][c], weight, value[c]);
        }
    }
    UNROLL for (size_t h = 0; h < H; h++) {
        UNROLL for (size_t c = 0; c < C; c++) vst1q_f32(o + h * head_dim + at + 4 * c, sum[h][c]);
    }
}

/* H heads; what is left of a head after sixteens goes by fours, and by single elements. */
NEON void mix_heads(size_t H, float *o, const float *p, size_t p_stride, const float *v, size_t n,
                    size_t head_dim) {
    size_t at = 0;
    for (; at + 16 <= head_dim; at += 16) mix_tile(H, 4, o, p, p_stride, v, n, head_dim, at);
    for (; at + 4 <= head_dim; at += 4) mix_tile(H, 1, o, p, p_stride, v, n, head_dim, at);
    for (size_t h = 0; h < H; h++)
        for (size_t d = at; d < head_dim; d++) {
            float sum = 0;
            for (size_t j = 0; j < n; j++)
                sum = __builtin_fmaf(p[h * p_stride + j], v[j * head_dim + d], sum);
            o[h * head_dim + d] = sum;
        }
}

void mix_neon(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
              size_t head_dim) {
    for (; heads >= 4; heads -= 4, o += 4 * head_dim, p += 4 * p_stride)
        mix_heads(4, o, p, p_stride, v, n, head_dim);
    for (; heads; heads--, o += head_dim, p += p_stride) mix_heads(1, o, p, p_stride, v, n, head_dim);
}
#endif
