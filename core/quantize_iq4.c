/* quantize_iq4.c -- what IQ4_NL and IQ4_XS are. Made to be read; quantize_iq4_fast.h gives the same bits
 * sooner.
 *
 * As in ggml's quantize_row_iq4_nl_impl: a block's scale is the best of 16, by weighted squares. The weights
 * are x * x, or with an importance that times sqrt(mean square + x * x), the mean being twice that of the
 * (super-)block. IQ4_XS then rounds the eight scales to multiples of d, and takes the elements once more. */
#include "core/quantize_iq4.h"
#include "core/floats.h"
#include <math.h>
#include <string.h>

static const int8_t values[16] = IQ4_VALUES;

/* The index of the value nearest to v; of two, the upper one. */
static int nearest_value(float v) {
    if (v <= values[0]) return 0;
    int upper = 1;
    while (upper < 15 && !(v < values[upper])) upper++;
    return v - values[upper - 1] < values[upper] - v ? upper - 1 : upper;
}

typedef struct Sums {
    float xq, qq; /* sum of w q x, sum of w q q */
} Sums;

static Sums sums_at(float inverse, const float x[32], const float w[32]) {
    Sums s = {0, 0};
    for (int i = 0; i < 32; i++) {
        float q = values[nearest_value(inverse * x[i])];
        s.xq += w[i] * q * x[i];
        s.qq += w[i] * q * q;
    }
    return s;
}

static float search_scale(const float x[32], const float w[32]) {
    float largest = 0, extreme = 0;
    for (int i = 0; i < 32; i++)
        if (fabsf(x[i]) > largest) {
            largest = fabsf(x[i]);
            extreme = x[i];
        }
    if (largest < IQ4_EPS) return 0;
    Sums s = sums_at(1 / (-extreme / values[0]), x, w);
    float d = s.qq > 0 ? s.xq / s.qq : 0, best = d * s.xq;
    for (int t = -IQ4_TRIES; t <= IQ4_TRIES; t++) {
        s = sums_at((float)(t + values[0]) / extreme, x, w);
        if (s.qq > 0 && s.xq * s.xq > best * s.qq) {
            d = s.xq / s.qq;
            best = d * s.xq;
        }
    }
    return d;
}

/* The scale of each of n / 32 sub-blocks. */
static void search_scales(float *scales, const float *x, const float *importance, int n) {
    float squares = 0, w[32];
    for (int i = 0; i < n; i++) squares += x[i] * x[i];
    squares *= 2.0f / (float)n;
    for (int b = 0; b < n; b += 32) {
        for (int i = 0; i < 32; i++) {
            float square = x[b + i] * x[b + i];
            w[i] = importance ? importance[b + i] * sqrtf(squares + square) : square;
        }
        scales[b / 32] = search_scale(x + b, w);
    }
}

static void pack(uint8_t qs[16], const float x[32], float inverse) {
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)(nearest_value(inverse * x[i]) | nearest_value(inverse * x[i + 16]) << 4);
}

static float inverse_of(float scale) {
    return scale != 0 ? 1 / scale : 0;
}

static bool fits_f16(float v) {
    return (f32_bits(v) & 0x7FFFFFFF) < SCALE_TOO_LARGE;
}

static bool quantize_nl(void *out, const float *x, const float *importance) {
    block_iq4_nl *block = out;
    float scale;
    search_scales(&scale, x, importance, QK_LEGACY);
    if (!fits_f16(scale)) return false;
    block->d = f16_from_f32(scale);
    pack(block->qs, x, inverse_of(scale));
    return true;
}

/* ggml's nearest_int: adding 1.5 * 2^23 rounds to an integer, halves to even, and leaves it in the low bits.
 * v can be infinite if d is tiny; those bits then say -4194304. */
static int small_scale(float v) {
    int s = (int)(f32_bits(v + 12582912.0f) & 0x007FFFFF) - 0x00400000;
    return s < -32 ? -32 : s > 31 ? 31 : s;
}

static bool quantize_xs(void *out, const float *x, const float *importance) {
    block_iq4_xs *block = out;
    float scales[8], extreme = 0;
    search_scales(scales, x, importance, QK_K);
    for (int b = 0; b < 8; b++)
        if (fabsf(scales[b]) > fabsf(extreme)) extreme = scales[b];
    float d = -extreme / 32, inverse = inverse_of(d);
    if (!fits_f16(d)) return false;
    memset(block, 0, sizeof *block);
    block->d = f16_from_f32(d);
    for (int b = 0; b < 8; b++) {
        int s = small_scale(inverse * scales[b]);
        pack(block->qs + 16 * b, x + 32 * b, inverse_of(d * (float)s));
        block->scales_l[b / 2] |= (uint8_t)(((s + 32) & 15) << 4 * (b % 2));
        block->scales_h |= (uint16_t)((s + 32) >> 4 << 2 * b);
    }
    return true;
}

typedef bool (*QuantizeBlock)(void *out, const float *x, const float *importance);

static size_t quantize(QuantizeBlock quantize_block, size_t n, size_t bytes, void *out,
                       const FloatRows *rows) {
    size_t total = rows->n_rows * rows->row_elements, element = dtype_info(rows->type)->bytes;
    for (size_t i = 0; i < total; i += n) {
        float x[QK_K];
        const uint8_t *in = (const uint8_t *)rows->data + i * element;
        if (floats_convert(DT_F32, x, rows->type, in, n, NULL)) return i;
        for (size_t k = 0; k < n; k++)
            if ((f32_bits(x[k]) & 0x7FFFFFFF) >= IQ4_TOO_LARGE) return i;
        const float *importance = rows->importance ? rows->importance + i % rows->row_elements : NULL;
        if (!quantize_block((uint8_t *)out + i / n * bytes, x, importance)) return i;
    }
    return total;
}

size_t quantize_iq4_nl_definition(void *out, const FloatRows *rows) {
    return quantize(quantize_nl, QK_LEGACY, sizeof(block_iq4_nl), out, rows);
}

size_t quantize_iq4_xs_definition(void *out, const FloatRows *rows) {
    return quantize(quantize_xs, QK_K, sizeof(block_iq4_xs), out, rows);
}

static void unpack(float out[32], const uint8_t qs[16], float scale) {
    for (int i = 0; i < 16; i++) {
        out[i] = scale * values[qs[i] & 15];
        out[i + 16] = scale * values[qs[i] >> 4];
    }
}

static void dequantize_iq4_nl(float *out, const void *blocks, size_t n_elements) {
    const block_iq4_nl *block = blocks;
    for (size_t i = 0; i < n_elements; i += QK_LEGACY, block++)
        unpack(out + i, block->qs, f32_from_f16(block->d));
}

static void dequantize_iq4_xs(float *out, const void *blocks, size_t n_elements) {
    const block_iq4_xs *block = blocks;
    for (size_t i = 0; i < n_elements; i += QK_K, block++)
        for (int b = 0; b < 8; b++) {
            int s = (block->scales_l[b / 2] >> 4 * (b % 2) & 15) | (block->scales_h >> 2 * b & 3) << 4;
            unpack(out + i + 32 * b, block->qs + 16 * b, f32_from_f16(block->d) * (float)(s - 32));
        }
}

#if defined(__x86_64__)
#define WIDER_PATHS(name)                                                                           \
    {"avx512", CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL, quantize_##name##_avx512}, \
        {"avx2", CPU_AVX2, quantize_##name##_avx2},
#else
#define WIDER_PATHS(name)
#endif

#define IQ4_QUANTIZER(name, dtype)                                                               \
    static const QuantizePath paths_##name[] = {                                                 \
        WIDER_PATHS(name){"baseline", 0, quantize_##name##_baseline},                            \
        {"definition", 0, quantize_##name##_definition}};                                        \
    const Quantizer quantizer_##name = {.type = dtype,                                           \
                                        .paths = paths_##name,                                   \
                                        .n_paths = sizeof paths_##name / sizeof paths_##name[0], \
                                        .dequantize = dequantize_##name}

IQ4_QUANTIZER(iq4_nl, DT_IQ4_NL);
IQ4_QUANTIZER(iq4_xs, DT_IQ4_XS);
