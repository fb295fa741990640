/* narrow.c -- exact narrowing by bits: no rounding happens, so no rounding mode matters. */
#include "model/narrow.h"

#include "core/buffer.h"
#include "core/floats.h"
#include <string.h>

/* A float32's 16 low bits are what bfloat16 lacks. Checked over the whole run first: the loop then stays
 * without branches. */
static bool bf16_of_f32(uint8_t *out, const uint8_t *in, size_t n) {
    uint32_t lost = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, in + 4 * i, 4);
        uint16_t high = (uint16_t)(bits >> 16);
        lost |= bits;
        memcpy(out + 2 * i, &high, 2);
    }
    return (lost & 0xFFFF) == 0;
}

static bool bf16_of_f16(uint8_t *out, const uint8_t *in, size_t n) {
    uint32_t lost = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(f32_from_f16(load_u16(in + 2 * i)));
        uint16_t high = (uint16_t)(bits >> 16);
        lost |= bits;
        memcpy(out + 2 * i, &high, 2);
    }
    return (lost & 0xFFFF) == 0;
}

static bool f16_of_f32(uint8_t *out, const uint8_t *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = load_u32(in + 4 * i);
        uint16_t h;
        if ((bits & 0x7F800000) ==
            0x7F800000) { /* infinity or NaN: the payload's upper ten bits are what float16 has */
            if (bits & 0x1FFF) return false;
            h = (uint16_t)((bits >> 16 & 0x8000) | 0x7C00 | (bits >> 13 & 0x3FF));
        } else {
            h = f16_from_f32(f32_from_bits(bits));
            if (f32_bits(f32_from_f16(h)) != bits) return false;
        }
        memcpy(out + 2 * i, &h, 2);
    }
    return true;
}

bool narrow_exact(DType to, void *out, DType from, const void *in, size_t n) {
    if (to == from) return true;
    if (to == DT_BF16 && from == DT_F32) return bf16_of_f32(out, in, n);
    if (to == DT_BF16 && from == DT_F16) return bf16_of_f16(out, in, n);
    if (to == DT_F16 && from == DT_F32) return f16_of_f32(out, in, n);
    return false;
}
