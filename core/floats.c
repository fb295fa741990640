/* floats.c -- conversions between float32, float16 and bfloat16 by integer arithmetic on their bits. */
#include "core/floats.h"
#include <string.h>

/* Elements are little-endian in every file format here, and are read as the machine's own. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "a big-endian machine needs byte swaps in floats.c");

float f32_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint32_t f32_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint32_t widen_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1F, mantissa = h & 0x3FF;
    if (exponent == 0x1F) return sign | 0x7F800000 | mantissa << 13;
    if (exponent) return sign | (exponent + 112) << 23 | mantissa << 13;
    if (mantissa == 0) return sign;
    /* Subnormal: mantissa * 2^-24. Its leading one becomes the implicit bit. */
    uint32_t shift = (uint32_t)__builtin_clz(mantissa) - 21;
    return sign | (113 - shift) << 23 | (mantissa << shift & 0x3FF) << 13;
}

static inline uint16_t narrow_f16(uint32_t bits) {
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return (uint16_t)(sign | 0x7E00);
    /* 65520, half way between the largest half and 2^16, rounds to the even one: infinity. */
    if (magnitude >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
    if (magnitude >=
        0x38800000) { /* 2^-14, the smallest normal half: a carry runs into the exponent, as it should */
        magnitude += 0xFFF + (magnitude >> 13 & 1);
        return (uint16_t)(sign | (magnitude - (112u << 23)) >> 13);
    }
    if (magnitude <= 0x33000000)
        return (uint16_t)sign; /* up to 2^-25, half the smallest subnormal: zero is even */
    uint32_t shift = 126 - (magnitude >> 23), mantissa = (magnitude & 0x7FFFFF) | 0x800000;
    uint32_t half = 1u << (shift - 1), kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1);
    kept += rest > half || (rest == half && (kept & 1));
    return (uint16_t)(sign | kept);
}

static inline uint16_t narrow_bf16(uint32_t bits) {
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float f32_from_f16(uint16_t h) {
    return f32_from_bits(widen_f16(h));
}
float f32_from_bf16(uint16_t b) {
    return f32_from_bits((uint32_t)b << 16);
}
uint16_t f16_from_f32(float f) {
    return narrow_f16(f32_bits(f));
}
uint16_t bf16_from_f32(float f) {
    return narrow_bf16(f32_bits(f));
}

/* ---- arrays, which may be unaligned ---- */

static inline uint16_t get16(const uint8_t *p, size_t i) {
    uint16_t v;
    memcpy(&v, p + 2 * i, 2);
    return v;
}

static inline uint32_t get32(const uint8_t *p, size_t i) {
    uint32_t v;
    memcpy(&v, p + 4 * i, 4);
    return v;
}

static inline void put16(uint8_t *p, size_t i, uint16_t v) {
    memcpy(p + 2 * i, &v, 2);
}
static inline void put32(uint8_t *p, size_t i, uint32_t v) {
    memcpy(p + 4 * i, &v, 4);
}

static void to_f32(uint8_t *out, DType from, const uint8_t *in, size_t n) {
    if (from == DT_BF16)
        for (size_t i = 0; i < n; i++) put32(out, i, (uint32_t)get16(in, i) << 16);
    else
        for (size_t i = 0; i < n; i++) put32(out, i, widen_f16(get16(in, i)));
}

static void to_f16(uint8_t *out, DType from, const uint8_t *in, size_t n) {
    if (from == DT_BF16)
        for (size_t i = 0; i < n; i++) put16(out, i, narrow_f16((uint32_t)get16(in, i) << 16));
    else
        for (size_t i = 0; i < n; i++) put16(out, i, narrow_f16(get32(in, i)));
}

static void to_bf16(uint8_t *out, DType from, const uint8_t *in, size_t n) {
    if (from == DT_F16)
        for (size_t i = 0; i < n; i++) put16(out, i, narrow_bf16(widen_f16(get16(in, i))));
    else
        for (size_t i = 0; i < n; i++) put16(out, i, narrow_bf16(get32(in, i)));
}

int floats_convert(DType to, void *out, DType from, const void *in, size_t n, Error *err) {
    if (!dtype_is_float(to) || !dtype_is_float(from))
        return error_set(err, ERR_UNSUPPORTED, "%s can't be converted to %s: both must be F32, F16 or BF16",
                         dtype_name(from), dtype_name(to));
    if (n == 0) return 0;
    if (to == from)
        memcpy(out, in, n * (to == DT_F32 ? 4 : 2));
    else if (to == DT_F32)
        to_f32(out, from, in, n);
    else if (to == DT_F16)
        to_f16(out, from, in, n);
    else
        to_bf16(out, from, in, n);
    return 0;
}

/* Not finite: all bits of the exponent are set. Whole pieces are tested without a branch an element, then the
 * piece that holds one is searched. */
enum { PIECE = 512 };

static bool any16(const uint8_t *p, size_t n, uint16_t exponent) {
    unsigned found = 0;
    for (size_t i = 0; i < n; i++) found |= (get16(p, i) & exponent) == exponent;
    return found;
}

static bool any32(const uint8_t *p, size_t n) {
    unsigned found = 0;
    for (size_t i = 0; i < n; i++) found |= (get32(p, i) & 0x7F800000) == 0x7F800000;
    return found;
}

static bool any_nonfinite(DType type, const uint8_t *p, size_t n) {
    if (type == DT_F32) return any32(p, n);
    return any16(p, n, type == DT_F16 ? 0x7C00 : 0x7F80);
}

size_t floats_first_nonfinite(DType type, const void *in, size_t n) {
    if (!dtype_is_float(type)) return n;
    const uint8_t *p = in;
    size_t size = type == DT_F32 ? 4 : 2;
    for (size_t start = 0; start < n; start += PIECE) {
        size_t end = n - start < PIECE ? n : start + PIECE;
        if (!any_nonfinite(type, p + size * start, end - start)) continue;
        while (!any_nonfinite(type, p + size * start, 1)) start++;
        return start;
    }
    return n;
}
