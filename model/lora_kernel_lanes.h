/* lora_kernel_lanes.h -- the kernels of a merge by vectors of LANES: the source of lora_kernel_avx2.c and
 * lora_kernel_avx512.c. The bits are those of the definition in lora_kernel.c: every column has a lane of its
 * own, ranks come in ascending order, each step is one fused multiply-add.
 *
 * A tile is TILE_ROWS rows by TILE_VECTORS vectors, whose sums stay in registers over all ranks. For files
 * that define LANES (16 or 8), KERNEL_TARGET, TILE_VECTORS and LORA_PATH(name). */
#ifndef RECAST_MODEL_LORA_KERNEL_LANES_H
#define RECAST_MODEL_LORA_KERNEL_LANES_H

#include "model/lora_kernel.h"
#include <immintrin.h>
#include <string.h>

#define KERNEL_INLINE static inline __attribute__((always_inline)) KERNEL_TARGET

enum { TILE_ROWS = 4, SUMS = 16 / LANES };

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));

KERNEL_INLINE Floats load(const float *p) {
    Floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

KERNEL_INLINE void store(float *p, Floats v) {
    memcpy(p, &v, sizeof v);
}

KERNEL_INLINE Floats fused(float b, Floats a, Floats sum) {
#if LANES == 16
    return (Floats)_mm512_fmadd_ps(_mm512_set1_ps(b), (__m512)a, (__m512)sum);
#else
    return (Floats)_mm256_fmadd_ps(_mm256_set1_ps(b), (__m256)a, (__m256)sum);
#endif
}

#define UNROLLED _Pragma("GCC unroll 4") for

/* rows and vectors are constants wherever this is inlined. */
KERNEL_INLINE void tile(const LoraDelta *d, size_t row, const float *a, size_t column, int rows,
                        int vectors) {
    Floats sum[TILE_ROWS][TILE_VECTORS];
    const float *b = d->b + row * d->rank;
    UNROLLED(int r = 0; r < rows; r++)
    UNROLLED(int v = 0; v < vectors; v++) sum[r][v] = (Floats){0};
    for (size_t k = 0; k < d->rank; k++) UNROLLED(int v = 0; v < vectors; v++) {
            Floats ak = load(a + k * LORA_PANEL + v * LANES);
            UNROLLED(int r = 0; r < rows; r++) sum[r][v] = fused(b[(size_t)r * d->rank + k], ak, sum[r][v]);
        }
    UNROLLED(int r = 0; r < rows; r++)
    UNROLLED(int v = 0; v < vectors; v++) {
        float *out = d->out + (row + (size_t)r) * d->columns + column + (size_t)v * LANES;
        Floats delta = sum[r][v] * d->scale;
        store(out, d->add ? load(out) + delta : delta);
    }
}

KERNEL_INLINE void strip(const LoraDelta *d, const float *a, size_t column, int vectors) {
    size_t row = 0;
    for (; row + TILE_ROWS <= d->n_rows; row += TILE_ROWS) tile(d, row, a, column, TILE_ROWS, vectors);
    for (; row < d->n_rows; row++) tile(d, row, a, column, 1, vectors);
}

/* The columns behind the last whole vector, by the definition. */
KERNEL_INLINE void rest(const LoraDelta *d, size_t column) {
    const float *panel = d->a + column / LORA_PANEL * d->rank * LORA_PANEL;
    for (size_t row = 0; row < d->n_rows; row++)
        for (size_t i = column; i < d->columns; i++) {
            const float *b = d->b + row * d->rank;
            float sum = 0, *out = d->out + row * d->columns + i;
            for (size_t k = 0; k < d->rank; k++)
                sum = __builtin_fmaf(b[k], panel[k * LORA_PANEL + i % LORA_PANEL], sum);
            *out = d->add ? *out + d->scale * sum : d->scale * sum;
        }
}

KERNEL_TARGET void LORA_PATH(lora_delta)(const LoraDelta *d) {
    size_t column = 0;
    const float *panel = d->a;
    for (; column + LORA_PANEL <= d->columns; column += LORA_PANEL, panel += d->rank * LORA_PANEL)
        for (size_t v = 0; v < LORA_PANEL; v += TILE_VECTORS * LANES)
            strip(d, panel + v, column + v, TILE_VECTORS);
    for (; column + LANES <= d->columns; column += LANES) strip(d, panel + column % LORA_PANEL, column, 1);
    if (column < d->columns) rest(d, column);
}

/* ---- widening, rounding ---- */

KERNEL_INLINE Ints load_halves(const uint16_t *p) {
    Halves h;
    memcpy(&h, p, sizeof h);
#if LANES == 16
    return (Ints)_mm512_cvtepu16_epi32((__m256i)h);
#else
    return (Ints)_mm256_cvtepu16_epi32((__m128i)h);
#endif
}

KERNEL_INLINE void store_halves(uint16_t *p, Ints v) {
#if LANES == 16
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16((__m512i)v));
#else
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32((__m256i)v, (__m256i)v), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(packed));
#endif
}

/* As numbers these are never negative, so signed comparison will do. */
KERNEL_INLINE Ints larger(Ints a, Ints b) {
#if LANES == 16
    return (Ints)_mm512_max_epi32((__m512i)a, (__m512i)b);
#else
    return (Ints)_mm256_max_epi32((__m256i)a, (__m256i)b);
#endif
}

/* 1 in each lane that is not 0. */
KERNEL_INLINE Ints nonzero(Ints v) {
#if LANES == 16
    return (Ints)_mm512_maskz_set1_epi32(_mm512_test_epi32_mask((__m512i)v, (__m512i)v), 1);
#else
    return (v != 0) & 1;
#endif
}

KERNEL_TARGET void LORA_PATH(lora_widen_bf16)(float *out, const uint16_t *in, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) store(out + i, (Floats)(load_halves(in + i) << 16));
    for (; i < n; i++) {
        uint32_t bits = (uint32_t)in[i] << 16;
        memcpy(out + i, &bits, 4);
    }
}

typedef struct Sums {
    Floats sum[SUMS];
    Ints max, largest, changed;
} Sums;

/* One vector of a row; which: of the 16 sums' vectors. (A NaN's bits may round to anything: `largest` tells.)
 */
KERNEL_INLINE void round_vector(Sums *s, int which, uint16_t *new_row, const float *sum,
                                const uint16_t *old_row) {
    const Ints magnitude = (Ints){0} + 0x7FFFFFFF;
    Words bits = (Words)load(sum), odd = (bits >> 16) & 1;
    Words rounded = (bits + odd + 0x7FFF) & 0xFFFF0000;
    Floats difference = (Floats)((Ints)((Floats)rounded - (Floats)(load_halves(old_row) << 16)) & magnitude);
    s->max = larger(s->max, (Ints)difference);
    s->largest = larger(s->largest, (Ints)bits & magnitude);
    s->changed += nonzero((Ints)difference);
    s->sum[which] += difference;
    store_halves(new_row, (Ints)(rounded >> 16));
}

static void gather(LoraRowStats *stats, const Sums *s) {
    float sums[16];
    int32_t max[LANES], largest[LANES], changed[LANES];
    *stats = (LoraRowStats){0};
    memcpy(sums, s->sum, sizeof sums);
    memcpy(max, &s->max, sizeof max);
    memcpy(largest, &s->largest, sizeof largest);
    memcpy(changed, &s->changed, sizeof changed);
    for (int l = 0; l < LANES; l++) {
        if ((uint32_t)max[l] > stats->max) stats->max = (uint32_t)max[l];
        if ((uint32_t)largest[l] > stats->largest) stats->largest = (uint32_t)largest[l];
        stats->changed += (uint32_t)changed[l];
    }
    for (int i = 0; i < 16; i++) stats->sum += (double)sums[i];
}

/* A row's end is filled up with zeros that change nothing. */
KERNEL_TARGET void LORA_PATH(lora_finish_bf16)(uint16_t *new_row, const float *sum, const uint16_t *old_row,
                                               size_t n, LoraRowStats *stats) {
    Sums s = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int v = 0; v < SUMS; v++)
            round_vector(&s, v, new_row + i + v * LANES, sum + i + v * LANES, old_row + i + v * LANES);
    if (i < n) {
        float last_sum[16] = {0};
        uint16_t last_old[16] = {0}, last_new[16];
        memcpy(last_sum, sum + i, (n - i) * sizeof *sum);
        memcpy(last_old, old_row + i, (n - i) * sizeof *old_row);
        for (int v = 0; v < SUMS; v++)
            round_vector(&s, v, last_new + v * LANES, last_sum + v * LANES, last_old + v * LANES);
        memcpy(new_row + i, last_new, (n - i) * sizeof *new_row);
    }
    gather(stats, &s);
}

#endif
