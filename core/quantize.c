/* quantize.c -- the table of quantizers, and what all of them share: the choice of a path, and words for what
 * can't be quantized. No format is in here. */
#include "core/floats.h"
#include "core/quantize_private.h"
#include <math.h>

/* clang-format off */
static const Quantizer *const quantizers[] = {
    &quantizer_q8_0,
    &quantizer_q4_0, &quantizer_q4_1, &quantizer_q5_0, &quantizer_q5_1,
    &quantizer_q2_k, &quantizer_q3_k, &quantizer_q4_k, &quantizer_q5_k, &quantizer_q6_k,
    &quantizer_iq4_nl, &quantizer_iq4_xs,
};
/* clang-format on */

const Quantizer *quantizer_of(DType type) {
    for (size_t i = 0; i < sizeof quantizers / sizeof quantizers[0]; i++)
        if (quantizers[i]->type == type) return quantizers[i];
    return NULL;
}

const QuantizePath *quantizer_path(const Quantizer *q, CpuFeatures have) {
    const QuantizePath *p = q->paths;
    while (p->needs & ~have) p++;
    return p;
}

static int check_blocks(DType type, size_t elements, Error *err) {
    const DTypeInfo *info = dtype_info(type);
    if (elements % info->block == 0) return 0;
    return error_set(err, ERR_UNSUPPORTED, "%s has blocks of %u elements, and %zu are not a multiple of it",
                     info->name, info->block, elements);
}

/* The element to blame in a block that a path refused: the first that isn't finite, else the largest. */
static size_t culprit(const FloatRows *rows, const uint8_t *block, size_t n, float *value) {
    size_t bytes = dtype_info(rows->type)->bytes, worst = floats_first_nonfinite(rows->type, block, n);
    float values[QK_K];
    if (floats_convert(DT_F32, values, rows->type, block, n, NULL)) return 0;
    if (worst == n) {
        worst = 0;
        for (size_t i = 1; i < n; i++)
            if (fabsf(values[i]) > fabsf(values[worst])) worst = i;
    }
    *value = values[worst];
    return (size_t)(block - (const uint8_t *)rows->data) / bytes + worst;
}

static int refuse(DType to, const FloatRows *rows, size_t done, Error *err) {
    size_t bytes = dtype_info(rows->type)->bytes;
    float value = 0;
    size_t at = culprit(rows, (const uint8_t *)rows->data + done * bytes, dtype_info(to)->block, &value);
    unsigned long long row = rows->first_row + at / rows->row_elements, element = at % rows->row_elements;
    if (isfinite(value))
        return error_set(
            err, ERR_NUMERIC,
            "row %llu, element %llu is %g: a %s block that holds it needs a scale beyond the largest "
            "float16 (65504); choose bf16 or f32",
            row, element, (double)value, dtype_name(to));
    return error_set(err, ERR_NUMERIC, "row %llu, element %llu is %s and can't be quantized", row, element,
                     isnan(value) ? "NaN" : "infinite");
}

int quantize_rows(DType to, void *out, const FloatRows *rows, Error *err) {
    const Quantizer *q = quantizer_of(to);
    if (!q || !dtype_is_float(rows->type))
        return error_set(err, ERR_UNSUPPORTED, "%s can't be quantized to %s", dtype_name(rows->type),
                         dtype_name(to));
    TRY(check_blocks(to, rows->row_elements, err));
    size_t done = quantizer_path(q, cpu_features())->run(out, rows);
    return done == rows->n_rows * rows->row_elements ? 0 : refuse(to, rows, done, err);
}

int dequantize(float *out, DType from, const void *blocks, size_t n_elements, Error *err) {
    const Quantizer *q = quantizer_of(from);
    if (!q) return error_set(err, ERR_UNSUPPORTED, "%s can't be converted to float32", dtype_name(from));
    TRY(check_blocks(from, n_elements, err));
    q->dequantize(out, blocks, n_elements);
    return 0;
}
