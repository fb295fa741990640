/* quantize_q8_0_fast.c -- Q8_0 at the speed of memory, with the bits of the definition in quantize_q8_0.c.
 *
 * One source for all processors: loops over 32 elements without branches, which compilers turn into vectors,
 * built once for the baseline and once more for each wider instruction set. No step depends on the order of
 * elements (the maximum is one of integers), so width can't change a bit. Where the definition says it
 * otherwise:
 * - rows are widened while they are read; a float16 by shifting its bits into place and a multiplication by
 * 2^112, exact for its subnormals too;
 * - magnitudes are compared as integers, which order like floats and put NaN and infinity on top: one test a
 * block;
 * - roundf(t) is the truncation of t + copysign(h, t) with h the float32 before 0.5. With 0.5 itself,
 * 0.49999997 would become
 *   1. Equal for every |t| <= 128 (tests/unit/test_core_quantize.c tries each of them by steps, all were
 * tried once).
 *
 * The rates, one core of a Zen 4 at 2.6 GHz, bf16 in cache, GB/s of input: definition 0.34, SSE2 3.3,
 * AVX2 6.4, AVX-512 8.2 (GCC 12; Clang 14 makes 3.3, 6.0, 11). */
#include "core/floats.h"
#include "core/quantize_private.h"
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE uint32_t to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

INLINE uint32_t widen_f16(uint16_t h) {
    uint32_t magnitude = (uint32_t)(h & 0x7FFF) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t special =
        magnitude >= 0x7C00u << 13 ? 0x7F800000 : 0; /* NaN and infinity get the full exponent */
    return sign | special | to_bits(from_bits(magnitude) * 0x1p112f);
}

/* Bits of element i as a float32. `from` is a constant wherever this is inlined. */
INLINE uint32_t element_bits(DType from, const uint8_t *in, size_t i) {
    if (from == DT_F32) {
        uint32_t bits;
        memcpy(&bits, in + 4 * i, 4);
        return bits;
    }
    uint16_t half;
    memcpy(&half, in + 2 * i, 2);
    return from == DT_F16 ? widen_f16(half) : (uint32_t)half << 16;
}

/* Bits of the largest magnitude of a block. Signed, since SSE2 has no unsigned maximum of 16 bits. */
INLINE uint32_t largest_bits(DType from, const uint8_t *in) {
    if (from == DT_F32) {
        int32_t largest = 0;
        for (size_t i = 0; i < 32; i++) {
            int32_t v = (int32_t)(element_bits(DT_F32, in, i) & 0x7FFFFFFF);
            largest = v > largest ? v : largest;
        }
        return (uint32_t)largest;
    }
    int16_t largest = 0;
    for (size_t i = 0; i < 32; i++) {
        int16_t v;
        memcpy(&v, in + 2 * i, 2);
        v &= 0x7FFF;
        largest = v > largest ? v : largest;
    }
    return element_bits(from, (const uint8_t *)&largest, 0);
}

INLINE int32_t round_half_away(float t) {
    const uint32_t before_half = 0x3EFFFFFF;
    return (int32_t)(t + from_bits((to_bits(t) & 0x80000000) | before_half));
}

INLINE bool quantize_block(block_q8_0 *b, DType from, const uint8_t *in) {
    float d = from_bits(largest_bits(from, in)) / 127;
    if (to_bits(d) >= SCALE_TOO_LARGE) return false;
    float id =
        d > 0x1p-128f ? 1 / d : 0; /* 0 too where the inverse would be infinite, as in the definition */
    int16_t q[32];                 /* in two steps: GCC's way from float to byte in one has no vectors */
    for (size_t i = 0; i < 32; i++)
        q[i] = (int16_t)round_half_away(from_bits(element_bits(from, in, i)) * id);
    for (size_t i = 0; i < 32; i++) b->qs[i] = (int8_t)q[i];
    b->d = f16_from_f32(d);
    return true;
}

INLINE size_t quantize_from(block_q8_0 *out, DType from, const uint8_t *in, size_t n_blocks) {
    size_t bytes = from == DT_F32 ? 128 : 64;
    for (size_t b = 0; b < n_blocks; b++)
        if (!quantize_block(out + b, from, in + b * bytes)) return 32 * b;
    return 32 * n_blocks;
}

INLINE size_t quantize_any(void *out, const FloatRows *rows) {
    size_t n_blocks = rows->n_rows * rows->row_elements / 32;
    if (rows->type == DT_F32) return quantize_from(out, DT_F32, rows->data, n_blocks);
    if (rows->type == DT_F16) return quantize_from(out, DT_F16, rows->data, n_blocks);
    return quantize_from(out, DT_BF16, rows->data, n_blocks);
}

static size_t quantize_baseline(void *out, const FloatRows *rows) {
    return quantize_any(out, rows);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static size_t quantize_avx2(void *out, const FloatRows *rows) {
    return quantize_any(out, rows);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static size_t
quantize_avx512(void *out, const FloatRows *rows) {
    return quantize_any(out, rows);
}
#endif

static const QuantizePath paths[] = {
#if defined(__x86_64__)
    {"avx512", CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL, quantize_avx512},
    {"avx2", CPU_AVX2, quantize_avx2},
#endif
    {"baseline", 0, quantize_baseline},
    {"definition", 0, quantize_q8_0_reference},
};

const Quantizer quantizer_q8_0 = {.type = DT_Q8_0,
                                  .paths = paths,
                                  .n_paths = sizeof paths / sizeof paths[0],
                                  .dequantize = dequantize_q8_0};
