/* quantize_q8_0.c -- what Q8_0 is: 32 signed bytes and a float16 scale. Made to be read; quantize_q8_0_fast.c
 * gives the same bits sooner.
 *
 * As in ggml's quantize_row_q8_0_ref: the largest magnitude becomes 127, the bytes are computed with the
 * scale before it was rounded to float16, and roundf takes halves away from zero. */
#include "core/floats.h"
#include "core/quantize_private.h"
#include <math.h>
#include <string.h>

static float element(const FloatRows *rows, size_t i) {
    const uint8_t *p = rows->data;
    uint32_t bits = 0;
    if (rows->type == DT_F32) {
        memcpy(&bits, p + 4 * i, 4);
        return f32_from_bits(bits);
    }
    uint16_t half;
    memcpy(&half, p + 2 * i, 2);
    return rows->type == DT_F16 ? f32_from_f16(half) : f32_from_bf16(half);
}

/* False if the block has a NaN, an infinity or too large a number. */
static bool quantize_block(block_q8_0 *b, const float x[32]) {
    float largest = 0;
    for (int i = 0; i < 32; i++) {
        if (!isfinite(x[i])) return false;
        if (fabsf(x[i]) > largest) largest = fabsf(x[i]);
    }
    float d = largest / 127, id = d != 0 ? 1 / d : 0;
    if (f32_bits(d) >= SCALE_TOO_LARGE) return false;
    /* Below 2^-128 the inverse is infinite, and what C makes of infinities as bytes is undefined: x86-64
     * gives 0, here and in llama.cpp. The float16 scale is 0 there anyway. */
    if (isinf(id)) id = 0;
    b->d = f16_from_f32(d);
    for (int i = 0; i < 32; i++) b->qs[i] = (int8_t)roundf(x[i] * id);
    return true;
}

size_t quantize_q8_0_reference(void *out, const FloatRows *rows) {
    size_t n = rows->n_rows * rows->row_elements;
    block_q8_0 *b = out;
    for (size_t i = 0; i < n; i += 32) {
        float x[32];
        for (size_t k = 0; k < 32; k++) x[k] = element(rows, i + k);
        if (!quantize_block(b++, x)) return i;
    }
    return n;
}

void dequantize_q8_0(float *out, const void *blocks, size_t n_elements) {
    const block_q8_0 *b = blocks;
    for (size_t i = 0; i < n_elements; i++) out[i] = f32_from_f16(b[i / 32].d) * b[i / 32].qs[i % 32];
}
