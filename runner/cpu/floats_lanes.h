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

/* Some float32 rows times V vectors from number i on. */
VECTOR void rows_times(size_t V, const MatTile *t, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                       float *out, size_t i) {
    const float *x[VECTORS_MANY];
    for (size_t c = 0; c < V; c++) x[c] = (const float *)(const void *)mat_vector(t, i + c);
    size_t r = 0;
    for (; r + ROWS_MANY <= n_rows; r += ROWS_MANY)
        tile_floats(DT_F32, ROWS_MANY, V, PARTS_MANY, rows + r * row_bytes, row_bytes, x, t->columns,
                    out + i * t->out_stride + r, t->out_stride);
    for (; r < n_rows; r++)
        tile_floats(DT_F32, 1, V, PARTS, rows + r * row_bytes, row_bytes, x, t->columns,
                    out + i * t->out_stride + r, t->out_stride);
}

VECTOR_CODE void rows_times_some(const MatTile *t, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                                 float *out, size_t i) {
    rows_times(VECTORS_MANY, t, rows, row_bytes, n_rows, out, i);
}
VECTOR_CODE void rows_times_one(const MatTile *t, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                                float *out, size_t i) {
    rows_times(1, t, rows, row_bytes, n_rows, out, i);
}

/* Several vectors: a panel of rows is widened once for all of them. */
VECTOR_CODE void many_vectors(const MatTile *t) {
    enum { PANEL = MAT_PANEL / ROWS_MANY * ROWS_MANY };
    for (size_t first = 0; first < t->n_rows; first += PANEL) {
        size_t n_rows = t->n_rows - first < PANEL ? t->n_rows - first : PANEL, row_bytes = t->row_bytes;
        const uint8_t *rows = t->rows + first * row_bytes;
        if (t->type != DT_F32) {
            float *wide = t->scratch;
            for (size_t r = 0; r < n_rows; r++)
                kernel_widen(t->type, rows + r * row_bytes, wide + r * t->columns, t->columns);
            rows = t->scratch;
            row_bytes = t->columns * sizeof(float);
        }
        size_t i = 0;
        for (; i + VECTORS_MANY <= t->n; i += VECTORS_MANY)
            rows_times_some(t, rows, row_bytes, n_rows, t->out + first, i);
        for (; i < t->n; i++) rows_times_one(t, rows, row_bytes, n_rows, t->out + first, i);
    }
}

VECTOR_TARGET static void floats_lanes(const MatTile *t) {
    if (t->n > 2) {
        many_vectors(t);
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

#endif
