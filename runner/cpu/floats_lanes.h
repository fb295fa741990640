/* floats_lanes.h -- products of F32, F16 and BF16 rows with float32 vectors (docs/arithmetic.md, section 2),
 * for one WIDTH. See vectors.h.
 *
 * An element's lane is its index mod 32, so the lanes of one sum are PARTS registers, and each 32 elements
 * are PARTS fused multiply-adds that don't wait for each other. Several rows and vectors at a time give the
 * processor enough of them, and each register of weights or activations that is loaded serves several. */
#ifndef RECAST_RUNNER_CPU_FLOATS_LANES_H
#define RECAST_RUNNER_CPU_FLOATS_LANES_H

#include "runner/cpu/sets.h"
#include "runner/cpu/vectors.h"
#include "runner/ref/kernels.h"

/* WIDTH elements from index i on, widened. */
VECTOR Floats widened(DType type, const uint8_t *row, size_t i) {
    if (type == DT_F32) return load_floats((const float *)(const void *)(row + 4 * i));
#if WIDTH == 16
    __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * i));
    if (type == DT_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
#else
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(row + 2 * i));
    if (type == DT_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
#endif
}

/* The last n % 32 elements: other lanes stay as they are, a -0 too. */
VECTOR_CODE void add_tail(Floats lane[PARTS], DType type, const uint8_t *row, const float *x, size_t begin,
                          size_t n) {
    float w[32] = {0}, v[32] = {0};
    kernel_widen(type, row + begin * (type == DT_F32 ? 4 : 2), w, n - begin);
    memcpy(v, x + begin, (n - begin) * sizeof *v);
    for (size_t p = 0; p < PARTS; p++) {
        size_t first = p * WIDTH, left = n - begin > first ? n - begin - first : 0;
        Floats sum = fused(load_floats(w + first), load_floats(v + first), lane[p]);
        lane[p] = pick(first_lanes(left < WIDTH ? left : WIDTH), sum, lane[p]);
    }
}

/* R rows times V vectors, `parts` of the lanes in one go over the columns. All three are constants. */
VECTOR void tile_floats(DType type, size_t R, size_t V, size_t parts, const uint8_t *rows, size_t row_bytes,
                        const float *const *x, size_t n, float *out, size_t out_stride) {
    Floats lane[4 * 4][PARTS]; /* [R * V] */
    size_t whole = n / 32 * 32;
    for (size_t begin = 0; begin < PARTS; begin += parts) {
        Floats sum[4 * 4][PARTS];
        UNROLL for (size_t k = 0; k < R * V; k++) {
            UNROLL for (size_t p = 0; p < parts; p++) sum[k][p] = no_floats();
        }
        for (size_t i = 0; i < whole; i += 32) {
            UNROLL for (size_t p = 0; p < parts; p++) {
                Floats v[4];
                UNROLL for (size_t c = 0; c < V; c++) v[c] = load_floats(x[c] + i + (begin + p) * WIDTH);
                UNROLL for (size_t r = 0; r < R; r++) {
                    Floats w = widened(type, rows + r * row_bytes, i + (begin + p) * WIDTH);
                    UNROLL for (size_t c = 0; c < V; c++) sum[r * V + c][p] =
                        fused(w, v[c], sum[r * V + c][p]);
                }
            }
        }
        UNROLL for (size_t k = 0; k < R * V; k++) {
            UNROLL for (size_t p = 0; p < parts; p++) lane[k][begin + p] = sum[k][p];
        }
    }
    UNROLL for (size_t r = 0; r < R; r++) {
        UNROLL for (size_t c = 0; c < V; c++) {
            Floats *l = lane[r * V + c];
            if (whole < n) add_tail(l, type, rows + r * row_bytes, x[c], whole, n);
            out[c * out_stride + r] = butterfly(l);
        }
    }
}

#if WIDTH == 16
enum { ROWS_MANY = 4, VECTORS_MANY = 3, PARTS_MANY = 2 };
#else
enum { ROWS_MANY = 3, VECTORS_MANY = 2, PARTS_MANY = 2 };
#endif

/* One vector: rows straight from where they lie, one after the other. The processor's prefetcher then sees
 * one stream and keeps up with memory; two or four rows at a time, with or without prefetch instructions, get
 * half of that (docs/performance.md). */
VECTOR void one_vector(DType type, const MatTile *t, size_t i) {
    const float *x = (const float *)(const void *)mat_vector(t, i);
    float *out = t->out + i * t->out_stride;
    for (size_t r = 0; r < t->n_rows; r++)
        tile_floats(type, 1, 1, PARTS, t->rows + r * t->row_bytes, t->row_bytes, &x, t->columns, out + r, 1);
}

VECTOR_CODE void one_vector_f32(const MatTile *t, size_t i) {
    one_vector(DT_F32, t, i);
}
VECTOR_CODE void one_vector_f16(const MatTile *t, size_t i) {
    one_vector(DT_F16, t, i);
}
VECTOR_CODE void one_vector_bf16(const MatTile *t, size_t i) {
    one_vector(DT_BF16, t, i);
}

/* A few rows times V vectors from number i on. */
VECTOR void rows_times(DType type, size_t V, const MatTile *t, size_t first, size_t n_rows, size_t i) {
    const float *x[VECTORS_MANY];
    const uint8_t *rows = t->rows + first * t->row_bytes;
    float *out = t->out + i * t->out_stride + first;
    for (size_t c = 0; c < V; c++) x[c] = (const float *)(const void *)mat_vector(t, i + c);
    if (n_rows == ROWS_MANY) {
        tile_floats(type, ROWS_MANY, V, PARTS_MANY, rows, t->row_bytes, x, t->columns, out, t->out_stride);
        return;
    }
    for (size_t r = 0; r < n_rows; r++)
        tile_floats(type, 1, V, PARTS, rows + r * t->row_bytes, t->row_bytes, x, t->columns, out + r,
                    t->out_stride);
}

/* Several vectors: a few rows stay in the first cache while they meet all of them. They are widened anew each
 * time, which costs less than reading them at twice the size. */
VECTOR void many_vectors(DType type, const MatTile *t) {
    for (size_t first = 0; first < t->n_rows; first += ROWS_MANY) {
        size_t n_rows = t->n_rows - first < ROWS_MANY ? t->n_rows - first : ROWS_MANY, i = 0;
        for (; i + VECTORS_MANY <= t->n; i += VECTORS_MANY)
            rows_times(type, VECTORS_MANY, t, first, n_rows, i);
        if (VECTORS_MANY == 3 && i + 2 == t->n)
            rows_times(type, 2, t, first, n_rows, i);
        else if (i < t->n)
            rows_times(type, 1, t, first, n_rows, i);
    }
}

VECTOR_CODE void many_vectors_f32(const MatTile *t) {
    many_vectors(DT_F32, t);
}
VECTOR_CODE void many_vectors_f16(const MatTile *t) {
    many_vectors(DT_F16, t);
}
VECTOR_CODE void many_vectors_bf16(const MatTile *t) {
    many_vectors(DT_BF16, t);
}

VECTOR_TARGET static void floats_lanes(const MatTile *t) {
    if (t->n > 2) {
        (t->type == DT_F32 ? many_vectors_f32 : t->type == DT_F16 ? many_vectors_f16 : many_vectors_bf16)(t);
        return;
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->type == DT_F32)
            one_vector_f32(t, i);
        else if (t->type == DT_F16)
            one_vector_f16(t, i);
        else
            one_vector_bf16(t, i);
}

/* ---- the weighted sum of values ---- */

/* H heads, C registers of each from element `at` on. Both are constants. A value that is loaded serves all
 * heads, and sums stay in registers over all positions. */
VECTOR void mix_tile(size_t H, size_t C, float *o, const float *p, size_t p_stride, const float *v, size_t n,
                     size_t head_dim, size_t at) {
    Floats sum[4][4];
    UNROLL for (size_t h = 0; h < H; h++) {
        UNROLL for (size_t c = 0; c < C; c++) sum[h][c] = no_floats();
    }
    for (size_t j = 0; j < n; j++) {
        Floats value[4];
        UNROLL for (size_t c = 0; c < C; c++) value[c] = load_floats(v + j * head_dim + at + c * WIDTH);
        UNROLL for (size_t h = 0; h < H; h++) {
            Floats weight = everywhere(p[h * p_stride + j]);
            UNROLL for (size_t c = 0; c < C; c++) sum[h][c] = fused(weight, value[c], sum[h][c]);
        }
    }
    UNROLL for (size_t h = 0; h < H; h++) {
        UNROLL for (size_t c = 0; c < C; c++) store_floats(o + h * head_dim + at + c * WIDTH, sum[h][c]);
    }
}

VECTOR_TARGET static void mix_lanes(float *o, const float *p, size_t p_stride, const float *v, size_t n,
                                    size_t heads, size_t head_dim) {
    enum { C = WIDTH == 16 ? 4 : 2 };
    while (heads) {
        size_t h = heads >= 4 ? 4 : 1, at = 0;
        for (; at + C * WIDTH <= head_dim; at += C * WIDTH)
            if (h == 4)
                mix_tile(4, C, o, p, p_stride, v, n, head_dim, at);
            else
                mix_tile(1, C, o, p, p_stride, v, n, head_dim, at);
        for (; at + WIDTH <= head_dim; at += WIDTH)
            for (size_t k = 0; k < h; k++)
                mix_tile(1, 1, o + k * head_dim, p + k * p_stride, p_stride, v, n, head_dim, at);
        for (size_t k = 0; k < h; k++)
            for (size_t d = at; d < head_dim; d++) {
                float sum = 0;
                for (size_t j = 0; j < n; j++)
                    sum = __builtin_fmaf(p[k * p_stride + j], v[j * head_dim + d], sum);
                o[k * head_dim + d] = sum;
            }
        o += h * head_dim;
        p += h * p_stride;
        heads -= h;
    }
}

#endif
