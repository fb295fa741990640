/* floats_lanes.h -- products of F32, F16 and BF16 rows with float32 vectors (docs/arithmetic.md, section 2),
 * for one WIDTH. See vectors.h.
 *
 * An element's lane is its index mod 32, so the lanes of one sum are PARTS registers, and each 32 elements
 * are PARTS fused multiply-adds that don't wait for each other. Several vectors meet several rows at a time:
 * each register of weights or activations that is loaded serves several sums. */
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

/* One vector: rows straight from where they lie, one after the other: one stream, which memory serves best.
 * Two or four rows at a time get half of that (docs/performance.md). */
VECTOR void one_vector(DType type, const MatTile *t, size_t i) {
    const float *x = (const float *)(const void *)mat_vector(t, i);
    size_t whole = t->columns / 32 * 32, size = type == DT_F32 ? 4 : 2;
    for (size_t r = 0; r < t->n_rows; r++) {
        const uint8_t *row = t->rows + r * t->row_bytes;
        Floats lane[PARTS];
        UNROLL for (size_t p = 0; p < PARTS; p++) lane[p] = no_floats();
        for (size_t k = 0; k < whole; k += 32) {
            fetch_ahead(row + k * size, 32 * size);
            UNROLL for (size_t p = 0; p < PARTS; p++) lane[p] =
                fused(widened(type, row, k + p * WIDTH), load_floats(x + k + p * WIDTH), lane[p]);
        }
        if (whole < t->columns) add_tail(lane, type, row, x, whole, t->columns);
        t->out[i * t->out_stride + r] = butterfly(lane);
    }
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

/* ---- several vectors ---- */

/* A tile's sums stay in registers. */
#if WIDTH == 16
enum { ROWS_MANY = 4, VECTORS_MANY = 3 };
#else
enum { ROWS_MANY = 3, VECTORS_MANY = 2 };
#endif

/* Parts p and p + 1 of the 32 weights of step k. BF16 takes one instruction each if they are every other
 * element of a load: the even ones, moved up, and the odd ones, with the even cut off. Vectors are laid out
 * to match. */
VECTOR void two_parts(Floats out[2], DType type, const uint8_t *row, size_t k, size_t p) {
    if (type != DT_BF16) {
        out[0] = widened(type, row, 32 * k + p * WIDTH);
        out[1] = widened(type, row, 32 * k + (p + 1) * WIDTH);
        return;
    }
    Ints both = load_ints(row + 64 * k + p / 2 * VECTOR_BYTES);
#if WIDTH == 16
    out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    out[1] = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32((int)0xFFFF0000)));
#else
    out[0] = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
    out[1] = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32((int)0xFFFF0000)));
#endif
}

/* Even and odd elements of two registers that follow each other. */
VECTOR void even_and_odd(Floats *even, Floats *odd, Floats a, Floats b) {
#if WIDTH == 16
    const Ints index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, index, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(index, _mm512_set1_epi32(1)), b);
#else
    __m256d e = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)),
            o = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD));
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(e, 0xD8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(o, 0xD8));
#endif
}

/* And back. */
VECTOR void one_after_other(Floats *a, Floats *b, Floats even, Floats odd) {
#if WIDTH == 16
    const Ints index = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *a = _mm512_permutex2var_ps(even, index, odd);
    *b = _mm512_permutex2var_ps(even, _mm512_add_epi32(index, _mm512_set1_epi32(8)), odd);
#else
    Floats low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    *a = _mm256_permute2f128_ps(low, high, 0x20);
    *b = _mm256_permute2f128_ps(low, high, 0x31);
#endif
}

/* A vector's whole 32s, in the order of two_parts. */
VECTOR_CODE void lay_out(DType type, float *out, const float *x, size_t steps) {
    for (size_t k = 0; k < 32 * steps; k += 2 * WIDTH) {
        Floats a = load_floats(x + k), b = load_floats(x + k + WIDTH);
        if (type == DT_BF16) even_and_odd(&a, &b, a, b);
        store_floats(out + k, a);
        store_floats(out + k + WIDTH, b);
    }
}

/* ROWS_MANY rows times V vectors that are laid out; V is a constant. Rows come from the second cache: what is
 * NEAR steps ahead is asked for, at their end the begin of the next rows, `next` bytes behind.
 * lane [ROWS_MANY * V][PARTS]. */
VECTOR void tile_many(DType type, size_t V, const uint8_t *const *row, size_t next, const float *x,
                      size_t x_floats, size_t steps, Floats (*lane)[PARTS]) {
    enum { NEAR = 16 };
    size_t size = type == DT_F32 ? 128 : 64;
    UNROLL for (size_t p = 0; p < PARTS; p += 2) {
        Floats sum[ROWS_MANY * VECTORS_MANY][2];
        UNROLL for (size_t i = 0; i < ROWS_MANY * V; i++) sum[i][0] = sum[i][1] = no_floats();
        for (size_t k = 0; k < steps; k++) {
            size_t near = k + NEAR < steps ? (k + NEAR) * size : next + (k + NEAR - steps) * size;
            UNROLL for (size_t r = 0; r < ROWS_MANY; r++) {
                Floats w[2];
                if (p == 0) _mm_prefetch((const char *)((uintptr_t)row[r] + near), _MM_HINT_T0);
                two_parts(w, type, row[r], k, p);
                UNROLL for (size_t c = 0; c < V; c++) {
                    const float *v = x + c * x_floats + 32 * k + p * WIDTH;
                    sum[r * V + c][0] = fused(w[0], load_floats(v), sum[r * V + c][0]);
                    sum[r * V + c][1] = fused(w[1], load_floats(v + WIDTH), sum[r * V + c][1]);
                }
            }
        }
        UNROLL for (size_t i = 0; i < ROWS_MANY * V; i++) {
            lane[i][p] = sum[i][0];
            lane[i][p + 1] = sum[i][1];
        }
    }
}

#if WIDTH == 16
/* The butterflies of four sums side by side: a quarter of the instructions, and no chain of them. */
VECTOR void finish_four(DType type, float *out, Floats (*lane)[PARTS], size_t apart) {
    Floats two[2];
    UNROLL for (size_t i = 0; i < 2; i++) {
        Floats *a = lane[2 * i * apart], *b = lane[(2 * i + 1) * apart], c, d;
        if (type == DT_BF16) { /* blocks of 4: even even odd odd */
            c = _mm512_add_ps(_mm512_shuffle_f32x4(a[0], a[1], 0x44), _mm512_shuffle_f32x4(a[0], a[1], 0xEE));
            d = _mm512_add_ps(_mm512_shuffle_f32x4(b[0], b[1], 0x44), _mm512_shuffle_f32x4(b[0], b[1], 0xEE));
            c = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x88), _mm512_shuffle_f32x4(c, d, 0xDD));
            c = _mm512_add_ps(c, _mm512_permute_ps(c, 0x4E));
            c = _mm512_add_ps(c, _mm512_permute_ps(c, 0xB1));
            two[i] = _mm512_add_ps(c, _mm512_shuffle_f32x4(c, c, 0xB1));
        } else {
            c = _mm512_add_ps(a[0], a[1]);
            d = _mm512_add_ps(b[0], b[1]);
            two[i] = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
        }
    }
    Floats low = _mm512_shuffle_f32x4(two[0], two[1], 0x88);
    if (type != DT_BF16) {
        low = _mm512_add_ps(low, _mm512_shuffle_f32x4(two[0], two[1], 0xDD));
        low = _mm512_add_ps(low, _mm512_permute_ps(low, 0x4E));
        low = _mm512_add_ps(low, _mm512_permute_ps(low, 0xB1));
    }
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, low)));
}
#endif

/* Sums in the order of lanes, with the last columns. */
VECTOR_CODE void finish_one(DType type, float *out, Floats lane[PARTS], const uint8_t *row, const float *x,
                            size_t columns) {
    if (type == DT_BF16) {
        UNROLL for (size_t p = 0; p < PARTS; p += 2)
            one_after_other(&lane[p], &lane[p + 1], lane[p], lane[p + 1]);
    }
    if (columns % 32) add_tail(lane, type, row, x, columns / 32 * 32, columns);
    *out = butterfly(lane);
}

/* All rows times V vectors from number i on, which stay in the first cache meanwhile; the rows are in the
 * second after the first few vectors. */
VECTOR void rows_times(DType type, size_t V, const MatTile *t, size_t i) {
    size_t steps = t->columns / 32, whole = 32 * steps;
    size_t x_floats = whole + 16; /* vectors stay out of each other's cache sets */
    float *laid = t->scratch;
    for (size_t c = 0; c < V; c++)
        lay_out(type, laid + c * x_floats, (const float *)(const void *)mat_vector(t, i + c), steps);
    for (size_t first = 0; first < t->n_rows; first += ROWS_MANY) {
        const uint8_t *row[ROWS_MANY]; /* the last one fills up */
        size_t left = t->n_rows - first;
        UNROLL for (size_t r = 0; r < ROWS_MANY; r++) row[r] =
            t->rows + (first + (r < left ? r : left - 1)) * t->row_bytes;
        Floats lane[ROWS_MANY * VECTORS_MANY][PARTS];
        tile_many(type, V, row, ROWS_MANY * t->row_bytes, laid, x_floats, steps, lane);
        for (size_t c = 0; c < V; c++) {
            float *out = t->out + (i + c) * t->out_stride + first;
#if WIDTH == 16
            if (left >= ROWS_MANY && whole == t->columns) {
                finish_four(type, out, lane + c, V);
                continue;
            }
#endif
            const float *v = (const float *)(const void *)mat_vector(t, i + c);
            for (size_t r = 0; r < ROWS_MANY && r < left; r++)
                finish_one(type, out + r, lane[r * V + c], row[r], v, t->columns);
        }
    }
}

VECTOR void many_vectors(DType type, const MatTile *t) {
    size_t i = 0;
    for (; i + VECTORS_MANY <= t->n; i += VECTORS_MANY) rows_times(type, VECTORS_MANY, t, i);
    if (VECTORS_MANY == 3 && i + 2 == t->n)
        rows_times(type, 2, t, i);
    else if (i < t->n)
        rows_times(type, 1, t, i);
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
