/* quantize_legacy.c -- what Q4_0, Q4_1, Q5_0 and Q5_1 are. Made to be read; quantize_legacy_fast.h gives the
 * same bits sooner.
 *
 * As in ggml: without an importance the largest magnitude (or the range) of a block gives the scale at once,
 * and the elements are computed with the scale before it was rounded to float16. With an importance a search
 * for the least weighted error replaces that; the weights need the mean square of the whole row. */
#include "core/quantize_legacy.h"
#include "core/floats.h"
#include "core/quantize_k.h" /* the searches */
#include <math.h>
#include <string.h>

/* What a block becomes: elements are about d * (q - half), or d * q + m. */
typedef struct Fit {
    float d, m;
    uint8_t q[32];
} Fit;

/* 32 elements from index i on. False if one is NaN, infinite or too large. */
static bool load(float x[32], const FloatRows *rows, size_t i) {
    const uint8_t *in = (const uint8_t *)rows->data + i * dtype_info(rows->type)->bytes;
    if (floats_convert(DT_F32, x, rows->type, in, 32, NULL)) return false;
    for (int k = 0; k < 32; k++)
        if ((f32_bits(x[k]) & 0x7FFFFFFF) >= LEGACY_TOO_LARGE) return false;
    return true;
}

bool legacy_mean_square(const FloatRows *rows, size_t row, float *mean, size_t *bad) {
    float sum = 0, x[32];
    for (size_t i = 0; i < rows->row_elements; i += 32) {
        *bad = row * rows->row_elements + i;
        if (!load(x, rows, *bad)) return false;
        for (int k = 0; k < 32; k++) sum += x[k] * x[k];
    }
    *mean = sum / (float)rows->row_elements;
    return true;
}

/* v is 0.5 or more and less than levels + 2, but for an infinite inverse of a tiny scale. What C makes of
 * infinities and NaN as integers is undefined: x86-64 gives bytes of 0, here and in llama.cpp. The float16
 * scale is 0 there anyway. */
static uint8_t truncate(float v, float inverse, int levels) {
    if (isinf(inverse)) return 0;
    int q = (int)v;
    return (uint8_t)(q < levels ? q : levels);
}

/* The first element with the largest magnitude becomes q = 0, so the largest q can be one step short. */
static void fit_symmetric(Fit *fit, const float x[32], int levels) {
    int half = (levels + 1) / 2;
    float largest = 0, extreme = 0;
    for (int i = 0; i < 32; i++)
        if (fabsf(x[i]) > largest) {
            largest = fabsf(x[i]);
            extreme = x[i];
        }
    fit->d = extreme / (float)-half;
    float inverse = fit->d != 0 ? 1 / fit->d : 0;
    for (int i = 0; i < 32; i++) fit->q[i] = truncate(x[i] * inverse + ((float)half + 0.5f), inverse, levels);
}

static void fit_range(Fit *fit, const float x[32], int levels) {
    float max = x[0];
    fit->m = x[0]; /* of zeros of both signs the first one counts */
    for (int i = 1; i < 32; i++) {
        if (x[i] < fit->m) fit->m = x[i];
        if (x[i] > max) max = x[i];
    }
    fit->d = (max - fit->m) / (float)levels;
    float inverse = fit->d != 0 ? 1 / fit->d : 0;
    for (int i = 0; i < 32; i++) fit->q[i] = truncate((x[i] - fit->m) * inverse + 0.5f, inverse, levels);
}

static void fit_weighted(Fit *fit, const LegacyFormat *f, const float x[32], const float *importance,
                         float mean_square) {
    float w[32];
    for (int i = 0; i < 32; i++) w[i] = importance[i] * sqrtf(mean_square + x[i] * x[i]);
    if (f->has_minimum) {
        fit->d = k_search_qkx(32, f->levels, x, w, &k_range_weighted, &fit->m, fit->q);
        fit->m = -fit->m;
    } else {
        fit->d = k_search_qx(32, (f->levels + 1) / 2, x, w, fit->q);
    }
}

static bool store(const LegacyFormat *f, uint8_t *block, const Fit *fit) {
    const float numbers[2] = {fit->d, fit->m};
    for (int i = 0; i < 1 + f->has_minimum; i++) {
        if ((f32_bits(numbers[i]) & 0x7FFFFFFF) >= SCALE_TOO_LARGE) return false;
        uint16_t half = f16_from_f32(numbers[i]);
        memcpy(block, &half, sizeof half);
        block += sizeof half;
    }
    if (f->levels > 15) {
        uint32_t fifth = 0;
        for (int i = 0; i < 32; i++) fifth |= (uint32_t)(fit->q[i] >> 4) << i;
        memcpy(block, &fifth, sizeof fifth);
        block += sizeof fifth;
    }
    for (int i = 0; i < 16; i++) block[i] = (uint8_t)((fit->q[i] & 15) | fit->q[i + 16] << 4);
    return true;
}

static bool quantize_block(const LegacyFormat *f, uint8_t *block, const FloatRows *rows, size_t i,
                           float mean_square) {
    float x[32];
    Fit fit = {0};
    if (!load(x, rows, i)) return false;
    if (rows->importance)
        fit_weighted(&fit, f, x, rows->importance + i % rows->row_elements, mean_square);
    else if (f->has_minimum)
        fit_range(&fit, x, f->levels);
    else
        fit_symmetric(&fit, x, f->levels);
    return store(f, block, &fit);
}

/* In a row with an importance that has a bad block, no other block can be written, nor refused. */
static size_t quantize_legacy(const LegacyFormat *f, void *out, const FloatRows *rows) {
    uint8_t *block = out;
    for (size_t row = 0; row < rows->n_rows; row++) {
        size_t first = row * rows->row_elements, bad;
        float mean = 0;
        if (rows->importance && !legacy_mean_square(rows, row, &mean, &bad)) return bad;
        for (size_t i = first; i < first + rows->row_elements; i += 32) {
            if (!quantize_block(f, block, rows, i, mean)) return i;
            block += legacy_block_bytes(*f);
        }
    }
    return rows->n_rows * rows->row_elements;
}

static void dequantize_legacy(const LegacyFormat *f, float *out, const uint8_t *block, size_t n_elements) {
    int half = (f->levels + 1) / 2;
    for (size_t n = 0; n < n_elements; n += 32, out += 32, block += legacy_block_bytes(*f)) {
        const uint8_t *p = block;
        uint16_t numbers[2];
        uint32_t fifth = 0;
        memcpy(numbers, p, sizeof numbers);
        p += f->has_minimum ? 4 : 2;
        if (f->levels > 15) {
            memcpy(&fifth, p, sizeof fifth);
            p += sizeof fifth;
        }
        float d = f32_from_f16(numbers[0]), m = f32_from_f16(numbers[1]);
        for (int i = 0; i < 32; i++) {
            int q = (i < 16 ? p[i] & 15 : p[i - 16] >> 4) | (int)(fifth >> i & 1) << 4;
            out[i] = f->has_minimum ? d * (float)q + m : d * (float)(q - half);
        }
    }
}

/* ---- the table's rows ---- */

#if defined(__x86_64__)
#define WIDER_PATHS(name)                                                                           \
    {"avx512", CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL, quantize_##name##_avx512}, \
        {"avx2", CPU_AVX2, quantize_##name##_avx2},
#else
#define WIDER_PATHS(name)
#endif

#define LEGACY_QUANTIZER(name, NAME)                                                             \
    size_t quantize_##name##_definition(void *out, const FloatRows *rows) {                      \
        return quantize_legacy(&LEGACY_##NAME, out, rows);                                       \
    }                                                                                            \
    static void dequantize_##name(float *out, const void *blocks, size_t n_elements) {           \
        dequantize_legacy(&LEGACY_##NAME, out, blocks, n_elements);                              \
    }                                                                                            \
    static const QuantizePath paths_##name[] = {                                                 \
        WIDER_PATHS(name){"baseline", 0, quantize_##name##_baseline},                            \
        {"definition", 0, quantize_##name##_definition}};                                        \
    const Quantizer quantizer_##name = {.type = DT_##NAME,                                       \
                                        .paths = paths_##name,                                   \
                                        .n_paths = sizeof paths_##name / sizeof paths_##name[0], \
                                        .dequantize = dequantize_##name}

LEGACY_QUANTIZER(q4_0, Q4_0);
LEGACY_QUANTIZER(q4_1, Q4_1);
LEGACY_QUANTIZER(q5_0, Q5_0);
LEGACY_QUANTIZER(q5_1, Q5_1);
