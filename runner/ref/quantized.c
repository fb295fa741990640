/* quantized.c -- see quantized.h. Each type has a function that spreads its blocks into plain integers; what
 * is done with them is written once. */
#include "runner/ref/quantized.h"
#include "core/blocks.h"
#include "core/floats.h"
#include "runner/ref/versions.h"
#include <math.h>
#include <string.h>

/* ---- activations ---- */

static void quantize_block(ActBlock *b, const float *x) {
    float largest = 0;
    for (int i = 0; i < 32; i++) largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    float d = largest / 127, inverse = 1 / d;
    *b = (ActBlock){.d = 0};
    for (int i = 0; i < 32; i++)
        if (isnan(x[i])) b->d = NAN; /* it must reach the logits, where it is an error */
    if (largest == 0 || isnan(b->d) || !isfinite(inverse)) return;
    b->d = d;
    for (int i = 0; i < 32; i++) {
        float rounded = x[i] * inverse + 0x1.8p23f; /* to an integer, ties to even, in the low bits */
        b->q[i] = (int8_t)(f32_bits(rounded) - f32_bits(0x1.8p23f));
        b->sum[i / 16] = (int16_t)(b->sum[i / 16] + b->q[i]);
    }
}

void quantized_activations(ActBlock *out, const float *x, size_t n) {
    for (size_t i = 0; i < n / 32; i++) quantize_block(&out[i], x + 32 * i);
}

/* ---- weights ---- */

/* 32 weights: d * scale[half] * w, and for types with minima -/+ m * min[half]. */
typedef struct WeightBlock {
    int8_t w[32];
    int32_t scale[2], min[2];
    float d, m;
} WeightBlock;

/* The numbers that a nibble of IQ4_NL and IQ4_XS stands for. */
static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

INLINE float half(uint16_t h) {
    return f32_from_f16(h);
}

INLINE void unscaled(WeightBlock *out, uint16_t d) {
    out->d = half(d);
    out->scale[0] = out->scale[1] = 1;
}

INLINE void spread_q8_0(WeightBlock *out, const void *block) {
    const block_q8_0 *b = block;
    unscaled(out, b->d);
    memcpy(out->w, b->qs, 32);
}

INLINE void spread_q4_0(WeightBlock *out, const void *block) {
    const block_q4_0 *b = block;
    unscaled(out, b->d);
    for (int i = 0; i < 16; i++) {
        out->w[i] = (int8_t)((b->qs[i] & 15) - 8);
        out->w[i + 16] = (int8_t)((b->qs[i] >> 4) - 8);
    }
}

INLINE void spread_q4_1(WeightBlock *out, const void *block) {
    const block_q4_1 *b = block;
    unscaled(out, b->d);
    out->m = half(b->m);
    out->min[0] = out->min[1] = 1;
    for (int i = 0; i < 16; i++) {
        out->w[i] = b->qs[i] & 15;
        out->w[i + 16] = b->qs[i] >> 4;
    }
}

/* The fifth bits are those of a little-endian 32-bit word. */
INLINE void spread_5_bits(int8_t w[32], const uint8_t qs[16], const uint8_t qh[4], int bias) {
    for (int i = 0; i < 16; i++) {
        int low = qh[i / 8] >> (i % 8) & 1, high = qh[2 + i / 8] >> (i % 8) & 1;
        w[i] = (int8_t)(((qs[i] & 15) | low << 4) - bias);
        w[i + 16] = (int8_t)((qs[i] >> 4 | high << 4) - bias);
    }
}

INLINE void spread_q5_0(WeightBlock *out, const void *block) {
    const block_q5_0 *b = block;
    unscaled(out, b->d);
    spread_5_bits(out->w, b->qs, b->qh, 16);
}

INLINE void spread_q5_1(WeightBlock *out, const void *block) {
    const block_q5_1 *b = block;
    unscaled(out, b->d);
    out->m = half(b->m);
    out->min[0] = out->min[1] = 1;
    spread_5_bits(out->w, b->qs, b->qh, 0);
}

INLINE void spread_iq4_nl(WeightBlock *out, const void *block) {
    const block_iq4_nl *b = block;
    unscaled(out, b->d);
    for (int i = 0; i < 16; i++) {
        out->w[i] = iq4_values[b->qs[i] & 15];
        out->w[i + 16] = iq4_values[b->qs[i] >> 4];
    }
}

/* Super-blocks give eight blocks. Two bits of element 128h + 32r + i stand in byte 32h + i at 2r. */
INLINE void spread_q2_K(WeightBlock *out, const void *block) {
    const block_q2_K *b = block;
    for (int j = 0; j < 8; j++, out++) {
        out->d = half(b->d);
        out->m = half(b->dmin);
        for (int s = 0; s < 2; s++) {
            out->scale[s] = b->scales[2 * j + s] & 15;
            out->min[s] = b->scales[2 * j + s] >> 4;
        }
        for (int i = 0; i < 32; i++) out->w[i] = b->qs[j / 4 * 32 + i] >> (2 * (j % 4)) & 3;
    }
}

/* Scale s has its low four bits in scales[s % 8], its high two in scales[8 + s % 4]. */
INLINE int q3_scale(const block_q3_K *b, int s) {
    int low = b->scales[s % 8] >> (s / 8 * 4) & 15, high = b->scales[8 + s % 4] >> (2 * (s / 4)) & 3;
    return (low | high << 4) - 32;
}

INLINE void spread_q3_K(WeightBlock *out, const void *block) {
    const block_q3_K *b = block;
    for (int j = 0; j < 8; j++, out++) {
        out->d = half(b->d);
        for (int s = 0; s < 2; s++) out->scale[s] = q3_scale(b, 2 * j + s);
        for (int i = 0; i < 32; i++) {
            int low = b->qs[j / 4 * 32 + i] >> (2 * (j % 4)) & 3, high = b->hmask[i] >> j & 1;
            out->w[i] = (int8_t)((low | high << 2) - 4);
        }
    }
}

/* Six bits each: of the first four the low bits of bytes 0-3 and 4-7; of the last four a nibble of bytes 8-11
 * and the two bits that the first four left free. */
INLINE void q4_scale_min(const uint8_t scales[12], int j, int *scale, int *min) {
    if (j < 4) {
        *scale = scales[j] & 63;
        *min = scales[j + 4] & 63;
    } else {
        *scale = (scales[j + 4] & 15) | scales[j - 4] >> 6 << 4;
        *min = scales[j + 4] >> 4 | scales[j] >> 6 << 4;
    }
}

INLINE void spread_scales(WeightBlock *out, const uint8_t scales[12], int j, uint16_t d, uint16_t dmin) {
    int scale, min;
    q4_scale_min(scales, j, &scale, &min);
    out->d = half(d);
    out->m = half(dmin);
    out->scale[0] = out->scale[1] = scale;
    out->min[0] = out->min[1] = min;
}

INLINE void spread_q4_K(WeightBlock *out, const void *block) {
    const block_q4_K *b = block;
    for (int j = 0; j < 8; j++, out++) {
        spread_scales(out, b->scales, j, b->d, b->dmin);
        for (int i = 0; i < 32; i++) out->w[i] = b->qs[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
    }
}

INLINE void spread_q5_K(WeightBlock *out, const void *block) {
    const block_q5_K *b = block;
    for (int j = 0; j < 8; j++, out++) {
        spread_scales(out, b->scales, j, b->d, b->dmin);
        for (int i = 0; i < 32; i++)
            out->w[i] = (int8_t)((b->qs[j / 2 * 32 + i] >> (j % 2 * 4) & 15) | (b->qh[i] >> j & 1) << 4);
    }
}

INLINE void spread_q6_K(WeightBlock *out, const void *block) {
    const block_q6_K *b = block;
    for (int j = 0; j < 8; j++, out++) {
        const uint8_t *low = b->ql + j / 4 * 64 + j % 2 * 32, *high = b->qh + j / 4 * 32;
        out->d = half(b->d);
        for (int s = 0; s < 2; s++) out->scale[s] = b->scales[2 * j + s];
        for (int i = 0; i < 32; i++)
            out->w[i] = (int8_t)(((low[i] >> (j % 4 / 2 * 4) & 15) | (high[i] >> (j % 4 * 2) & 3) << 4) - 32);
    }
}

INLINE void spread_iq4_xs(WeightBlock *out, const void *block) {
    const block_iq4_xs *b = block;
    for (int j = 0; j < 8; j++, out++) {
        int low = b->scales_l[j / 2] >> (j % 2 * 4) & 15, high = b->scales_h >> (2 * j) & 3;
        out->d = half(b->d);
        out->scale[0] = out->scale[1] = (low | high << 4) - 32;
        for (int i = 0; i < 16; i++) {
            out->w[i] = iq4_values[b->qs[16 * j + i] & 15];
            out->w[i + 16] = iq4_values[b->qs[16 * j + i] >> 4];
        }
    }
}

/* ---- the dot product ---- */

/* The exact integer of a block: |sum| < 2^24 for every type. */
INLINE int32_t block_value(const WeightBlock *w, const ActBlock *x) {
    int32_t value = 0;
    for (int s = 0; s < 2; s++) {
        int32_t sum = 0;
        for (int i = 0; i < 16; i++) sum += w->w[16 * s + i] * x->q[16 * s + i];
        value += w->scale[s] * sum;
    }
    return value;
}

typedef enum Minimum { NO_MINIMUM, SUBTRACTED, ADDED } Minimum;

typedef struct Sums {
    float lane[LANES], min[LANES];
} Sums;

INLINE void add_block(Sums *s, size_t index, Minimum minimum, const WeightBlock *w, const ActBlock *x) {
    size_t l = index % LANES;
    float scale = w->d * x->d;
    s->lane[l] = fmaf(scale, (float)block_value(w, x), s->lane[l]);
    if (minimum == NO_MINIMUM) return;
    float m = w->m * x->d;
    s->min[l] = fmaf(m, (float)(w->min[0] * x->sum[0] + w->min[1] * x->sum[1]), s->min[l]);
}

INLINE float finish(Sums *s, Minimum minimum) {
    float result = butterfly(s->lane);
    if (minimum == SUBTRACTED) return result - butterfly(s->min);
    return minimum == ADDED ? result + butterfly(s->min) : result;
}

INLINE float dot(void (*spread)(WeightBlock *, const void *), size_t block_bytes, size_t blocks,
                 Minimum minimum, const void *row, const ActBlock *x, size_t n) {
    Sums s = {.lane = {0}};
    WeightBlock w[8];
    const uint8_t *at = row;
    memset(w, 0, sizeof w);
    for (size_t i = 0; i < n / 32; i += blocks, at += block_bytes) {
        spread(w, at);
        for (size_t k = 0; k < blocks; k++) add_block(&s, i + k, minimum, &w[k], &x[i + k]);
    }
    return finish(&s, minimum);
}

#define DOT(name, blocks, minimum)                                                   \
    KERNEL static float dot_##name(const void *row, const ActBlock *x, size_t n) {   \
        return dot(spread_##name, sizeof(block_##name), blocks, minimum, row, x, n); \
    }
DOT(q4_0, 1, NO_MINIMUM)
DOT(q4_1, 1, ADDED)
DOT(q5_0, 1, NO_MINIMUM)
DOT(q5_1, 1, ADDED)
DOT(q8_0, 1, NO_MINIMUM)
DOT(q2_K, 8, SUBTRACTED)
DOT(q3_K, 8, NO_MINIMUM)
DOT(q4_K, 8, SUBTRACTED)
DOT(q5_K, 8, SUBTRACTED)
DOT(q6_K, 8, NO_MINIMUM)
DOT(iq4_nl, 1, NO_MINIMUM)
DOT(iq4_xs, 8, NO_MINIMUM)

typedef float (*DotFunction)(const void *row, const ActBlock *x, size_t n);

static DotFunction dot_of(DType type) {
    switch (type) {
    case DT_Q4_0: return dot_q4_0;
    case DT_Q4_1: return dot_q4_1;
    case DT_Q5_0: return dot_q5_0;
    case DT_Q5_1: return dot_q5_1;
    case DT_Q8_0: return dot_q8_0;
    case DT_Q2_K: return dot_q2_K;
    case DT_Q3_K: return dot_q3_K;
    case DT_Q4_K: return dot_q4_K;
    case DT_Q5_K: return dot_q5_K;
    case DT_Q6_K: return dot_q6_K;
    case DT_IQ4_NL: return dot_iq4_nl;
    case DT_IQ4_XS: return dot_iq4_xs;
    default: return NULL;
    }
}

bool quantized_knows(DType type) {
    return dot_of(type) != NULL;
}

float quantized_dot(DType type, const void *row, const ActBlock *x, size_t n) {
    return dot_of(type)(row, x, n);
}
