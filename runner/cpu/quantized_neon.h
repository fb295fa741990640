/* quantized_neon.h -- products of quantized rows with quantized activations (docs/arithmetic.md, section 11),
 * with NEON, or with its dot product extension for files that define DOTPROD.
 *
 * The lane of a block is its index mod 32, so four consecutive blocks of a row are a register of integers
 * that takes one fused multiply-add. */
#ifndef RECAST_RUNNER_CPU_QUANTIZED_NEON_H
#define RECAST_RUNNER_CPU_QUANTIZED_NEON_H

#include "runner/cpu/sets.h"
#include "runner/cpu/unpack_neon.h"
#include <math.h>

/* Activations for four blocks; behind a vector's last one d and q are 0. What that adds to a lane is 0 and
 * changes nothing, since no lane is ever -0: a product of a float32 and an integer doesn't underflow. */
typedef struct ActFour {
    int8_t q[4][32];
    float d[4];
    int32_t half[2][4]; /* sums of q over each half */
} ActFour;

_Static_assert(sizeof(WeightFour) <= 128 * sizeof(float), "mat_scratch holds unpacked rows");

NEON size_t fours_of(size_t columns) {
    return (columns / 32 + 3) / 4;
}

/* ---- activations ---- */

/* quantize_block of runner/ref/quantized.c, step by step. q: zeros; returns d. */
NEON float quantize_block(int8_t q[32], const float *x) {
    float32x4_t top = vdupq_n_f32(0);
    uint32x4_t number = vdupq_n_u32(UINT32_MAX);
    UNROLL for (size_t i = 0; i < 8; i++) {
        float32x4_t v = vld1q_f32(x + 4 * i);
        number = vandq_u32(number, vceqq_f32(v, v));
        top = vmaxq_f32(top, vabsq_f32(v));
    }
    if (vminvq_u32(number) == 0) return NAN; /* one of them is none */
    float largest = vmaxvq_f32(top), d = largest / 127, inverse = 1 / d;
    if (largest == 0 || !isfinite(inverse)) return 0;
    UNROLL for (size_t i = 0; i < 4; i++) { /* to the nearest, ties to even; below 128, or NaN and 0 */
        int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8 * i), inverse));
        int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8 * i + 4), inverse));
        vst1_s8(q + 8 * i, vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
    }
    return d;
}

NEON_CODE void pack(void *out, const float *x, size_t columns) {
    ActFour *a = out;
    for (size_t f = 0; f < fours_of(columns); f++, a++) {
        memset(a, 0, sizeof *a);
        for (size_t c = 0; c < 4 && 4 * f + c < columns / 32; c++) {
            a->d[c] = quantize_block(a->q[c], x + 32 * (4 * f + c));
            for (size_t s = 0; s < 2; s++) a->half[s][c] = vaddlvq_s8(vld1q_s8(a->q[c] + 16 * s));
        }
    }
}

/* ---- integers ---- */

/* before + sums of four products of bytes (without DOTPROD: of some four), whichever they are: all of them
 * are added in the end. Two products fit 16 bits, 2 * 128 * 127 = 32,512. */
NEON int32x4_t dot16(int32x4_t before, int8x16_t w, int8x16_t a) {
#ifdef DOTPROD
    return vdotq_s32(before, w, a);
#else
    int16x8_t two = vmull_s8(vget_low_s8(w), vget_low_s8(a));
    return vpadalq_s16(before, vmlal_high_s8(two, w, a));
#endif
}

/* The sum of each of four registers. */
NEON int32x4_t totals(const int32x4_t p[4]) {
    return vpaddq_s32(vpaddq_s32(p[0], p[1]), vpaddq_s32(p[2], p[3]));
}

/* The exact integers of four blocks, without minima. */
NEON int32x4_t values(DType type, const WeightFour *w, const ActFour *a) {
    const int32x4_t zero = vdupq_n_s32(0);
    int32x4_t first[4], second[4];
    UNROLL for (size_t c = 0; c < 4; c++) {
        first[c] = dot16(zero, w->w[c][0], vld1q_s8(a->q[c]));
        second[c] = dot16(scales_of(type) == PER_HALF ? zero : first[c], w->w[c][1], vld1q_s8(a->q[c] + 16));
    }
    if (scales_of(type) == PER_HALF)
        return vmlaq_s32(vmulq_s32(totals(first), w->scale[0]), totals(second), w->scale[1]);
    return scales_of(type) == PER_BLOCK ? vmulq_s32(totals(second), w->scale[0]) : totals(second);
}

NEON int32x4_t minima(DType type, const WeightFour *w, const ActFour *a) {
    int32x4_t first = vld1q_s32(a->half[0]), second = vld1q_s32(a->half[1]);
    if (scales_of(type) == PER_HALF) return vmlaq_s32(vmulq_s32(w->min[0], first), w->min[1], second);
    int32x4_t both = vaddq_s32(first, second);
    return scales_of(type) == PER_BLOCK ? vmulq_s32(w->min[0], both) : both;
}

/* ---- rows ---- */

/* In memory: eight registers of each would leave too few for the rest. */
typedef struct Lanes {
    float lane[32], min[32];
} Lanes;

NEON void clear(Lanes *l, DType type) {
    memset(l->lane, 0, sizeof l->lane);
    if (has_minimum(type)) memset(l->min, 0, sizeof l->min);
}

/* lane = fma(scale, value, lane) for four lanes. */
NEON void add_four(float *lane, float32x4_t scale, int32x4_t value) {
    vst1q_f32(lane, vfmaq_f32(vld1q_f32(lane), scale, vcvtq_f32_s32(value)));
}

/* Blocks 4 * four .. 4 * four + 3. */
NEON void add_blocks(Lanes *l, DType type, const WeightFour *w, const ActFour *a, size_t four) {
    float32x4_t d = vld1q_f32(a->d);
    size_t at = four % 8 * 4;
    add_four(l->lane + at, vmulq_f32(w->d, d), values(type, w, a));
    if (has_minimum(type)) add_four(l->min + at, vmulq_f32(w->m, d), minima(type, w, a));
}

NEON float total(const float lane[32]) {
    float32x4_t l[8];
    UNROLL for (size_t p = 0; p < 8; p++) l[p] = vld1q_f32(lane + 4 * p);
    return neon_butterfly(l);
}

NEON float finish(const Lanes *l, DType type) {
    float result = total(l->lane);
    if (!has_minimum(type)) return result;
    return adds_minimum(type) ? result + total(l->min) : result - total(l->min);
}

NEON float row_times_one(DType type, const uint8_t *row, const ActFour *a, size_t blocks) {
    Lanes l;
    WeightFour w;
    clear(&l, type);
    for (size_t f = 0; f < (blocks + 3) / 4; f++) {
        unpack(&w, type, row, f, blocks);
        add_blocks(&l, type, &w, &a[f], f);
    }
    return finish(&l, type);
}

NEON void one_vector(DType type, const MatTile *t) {
    const ActFour *a = (const void *)mat_vector(t, 0);
    for (size_t r = 0; r < t->n_rows; r++)
        t->out[r] = row_times_one(type, t->rows + r * t->row_bytes, a, t->columns / 32);
}

/* One unpacked row times V vectors; V is a constant. */
NEON void row_times(size_t V, DType type, const WeightFour *row, const ActFour *const *a, size_t fours,
                    float *const *out) {
    Lanes l[4];
    for (size_t c = 0; c < V; c++) clear(&l[c], type);
    for (size_t f = 0; f < fours; f++) {
        WeightFour w = row[f];
        UNROLL for (size_t c = 0; c < V; c++) add_blocks(&l[c], type, &w, &a[c][f], f);
    }
    for (size_t c = 0; c < V; c++) *out[c] = finish(&l[c], type);
}

/* Vectors i .. i + V - 1 times a panel of unpacked rows. */
NEON void panel_times(size_t V, DType type, const MatTile *t, const WeightFour *panel, size_t first,
                      size_t n_rows, size_t i) {
    const ActFour *a[4];
    float *out[4];
    for (size_t c = 0; c < V; c++) {
        a[c] = (const void *)mat_vector(t, i + c);
        out[c] = t->out + (i + c) * t->out_stride + first;
    }
    for (size_t r = 0; r < n_rows; r++) {
        row_times(V, type, panel + r * fours_of(t->columns), a, fours_of(t->columns), out);
        for (size_t c = 0; c < V; c++) out[c]++;
    }
}

/* A panel of rows is unpacked once for all vectors; a few vectors stay in the first cache while they meet all
 * of its rows. */
NEON void many_vectors(DType type, const MatTile *t) {
    WeightFour *panel = (void *)(((uintptr_t)t->scratch + 15) & ~(uintptr_t)15);
    size_t fours = fours_of(t->columns);
    for (size_t first = 0; first < t->n_rows; first += MAT_PANEL) {
        size_t n_rows = t->n_rows - first < MAT_PANEL ? t->n_rows - first : MAT_PANEL, i = 0;
        for (size_t r = 0; r < n_rows; r++)
            for (size_t f = 0; f < fours; f++)
                unpack(&panel[r * fours + f], type, t->rows + (first + r) * t->row_bytes, f, t->columns / 32);
        for (; i + 4 <= t->n; i += 4) panel_times(4, type, t, panel, first, n_rows, i);
        for (; i < t->n; i++) panel_times(1, type, t, panel, first, n_rows, i);
    }
}

#define FOR_TYPE(name)                             \
    NEON_CODE void one_##name(const MatTile *t) {  \
        one_vector(DT_##name, t);                  \
    }                                              \
    NEON_CODE void many_##name(const MatTile *t) { \
        many_vectors(DT_##name, t);                \
    }
FOR_QUANTIZED_TYPES(FOR_TYPE)
#undef FOR_TYPE

static void quantized_of_type(const MatTile *t) {
    static const struct {
        DType type;
        void (*one)(const MatTile *), (*many)(const MatTile *);
    } table[] = {
#define FUNCTIONS(name) {DT_##name, one_##name, many_##name},
        FOR_QUANTIZED_TYPES(FUNCTIONS)
#undef FUNCTIONS
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].type == t->type) (t->n > 1 ? table[i].many : table[i].one)(t);
}

#endif
