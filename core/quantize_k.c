/* quantize_k.c -- Q2_K, Q3_K, Q4_K, Q5_K and Q6_K: the definition, the way back, and the table's rows.
 * quantize_k.h has the steps, quantize_k_lanes.h does them faster with the same bits. */
#include "core/quantize_k.h"
#include "core/floats.h"
#include <math.h>
#include <string.h>

static int clamp(int v, int low, int high) {
    return v < low ? low : v > high ? high : v;
}

static bool is_finite(const float *x) {
    for (int i = 0; i < QK_K; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

static void requantize(const KFormat *f, const float *x, const void *block, uint8_t *q) {
    float d[K_SUBS_MAX], m[K_SUBS_MAX];
    f->unpack_scales(block, d, m);
    for (int i = 0; i < QK_K; i++) {
        int j = i / f->sub;
        if (d[j] == 0) continue;
        int l = k_nearest_int((x[i] + m[j]) / d[j]);
        q[i] = (uint8_t)(clamp(l, -f->bias, f->levels - f->bias) + f->bias);
    }
}

/* False if the block can't be written. */
static bool quantize_block(const KFormat *f, void *block, const float *x, const float *importance) {
    KFit fit;
    KScales scales;
    uint8_t q[QK_K];
    if (!is_finite(x)) return false;
    for (int j = 0; j < f->n_subs; j++) k_fit_sub(f, x, importance, j, &fit, q);
    if (!k_fit_is_usable(f, &fit, importance != NULL)) return false;
    k_join(f, &fit, importance != NULL, &scales);
    if (!k_store_scales(f, &scales, block)) return false;
    if (scales.empty)
        memset(q, 0, sizeof q);
    else
        requantize(f, x, block, q);
    f->pack(block, q);
    return true;
}

static size_t quantize(const KFormat *f, void *out, const FloatRows *rows) {
    size_t n = rows->n_rows * rows->row_elements;
    size_t element = dtype_info(rows->type)->bytes, block = dtype_info(f->type)->bytes;
    for (size_t i = 0; i < n; i += QK_K) {
        const float *importance = rows->importance ? rows->importance + i % rows->row_elements : NULL;
        float x[QK_K];
        const uint8_t *in = (const uint8_t *)rows->data + i * element;
        if (floats_convert(DT_F32, x, rows->type, in, QK_K, NULL)) return i;
        if (!quantize_block(f, (uint8_t *)out + i / QK_K * block, x, importance)) return i;
    }
    return n;
}

static void dequantize_blocks(const KFormat *f, float *out, const void *blocks, size_t n_elements) {
    size_t bytes = dtype_info(f->type)->bytes;
    for (size_t i = 0; i < n_elements; i += QK_K) {
        const uint8_t *block = (const uint8_t *)blocks + i / QK_K * bytes;
        float d[K_SUBS_MAX], m[K_SUBS_MAX];
        uint8_t q[QK_K];
        f->unpack_scales(block, d, m);
        f->unpack(block, q);
        for (int j = 0, k = 0; j < f->n_subs; j++)
            for (; k < (j + 1) * f->sub; k++) *out++ = d[j] * (q[k] - f->bias) - m[j];
    }
}

#if defined(__x86_64__)
#define WIDER_PATHS(name)                                                                           \
    {"avx512", CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL, quantize_##name##_avx512}, \
        {"avx2", CPU_AVX2, quantize_##name##_avx2},
#else
#define WIDER_PATHS(name)
#endif

#define K_QUANTIZER(name, dtype, format)                                                         \
    size_t quantize_##name##_definition(void *out, const FloatRows *rows) {                      \
        return quantize(&format, out, rows);                                                     \
    }                                                                                            \
    static void dequantize_##name(float *out, const void *blocks, size_t n_elements) {           \
        dequantize_blocks(&format, out, blocks, n_elements);                                     \
    }                                                                                            \
    static const QuantizePath paths_##name[] = {                                                 \
        WIDER_PATHS(name){"baseline", 0, quantize_##name##_baseline},                            \
        {"definition", 0, quantize_##name##_definition}};                                        \
    const Quantizer quantizer_##name = {.type = dtype,                                           \
                                        .paths = paths_##name,                                   \
                                        .n_paths = sizeof paths_##name / sizeof paths_##name[0], \
                                        .dequantize = dequantize_##name}

K_QUANTIZER(q2_k, DT_Q2_K, k_format_q2);
K_QUANTIZER(q3_k, DT_Q3_K, k_format_q3);
K_QUANTIZER(q4_k, DT_Q4_K, k_format_q4);
K_QUANTIZER(q5_k, DT_Q5_K, k_format_q5);
K_QUANTIZER(q6_k, DT_Q6_K, k_format_q6);
