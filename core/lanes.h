/* lanes.h -- one algorithm on LANES blocks at a time, each in a lane of its own.
 *
 * A quantizer's search adds and compares in an order that its bits depend on. It can't be spread over the
 * elements of a block, but over blocks it can: every lane does what the scalar definition does, step by step,
 * and IEEE 754 gives equal bits for equal steps. Branches become masks.
 *
 * For C files that define LANES before they include this: 16 for AVX-512 (F, BW, DQ, VL), 8 for AVX2, 4 for
 * the baseline (SSE2, NEON, or whatever the compiler makes of vectors of 16 bytes). One such file per width
 * includes the same source. Functions there are LANES_INLINE, or LANES_CODE if they are large: both carry the
 * target, without which GCC would take wide vectors apart. No fused multiply-add anywhere.
 *
 * + - * / and unary minus are the compiler's own on Floats and Ints, << >> & | on Ints; & and | on Masks. */
#ifndef RECAST_CORE_LANES_H
#define RECAST_CORE_LANES_H

#include "core/dtype.h"
#include <stddef.h>
#include <string.h>

#if LANES == 16
#include <immintrin.h>
#define LANES_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#elif LANES == 8
#include <immintrin.h>
#define LANES_TARGET __attribute__((target("avx2")))
#elif LANES == 4
#define LANES_TARGET
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#else
#error "LANES is 16, 8 or 4"
#endif

#define LANES_INLINE static inline __attribute__((always_inline)) LANES_TARGET
#define LANES_CODE   static __attribute__((noinline)) LANES_TARGET

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
#if LANES == 16
typedef uint16_t Mask; /* one bit a lane */
#else
typedef Ints Mask; /* all bits of a lane, or none */
#endif

/* ---- the same in all lanes; memory; bits ---- */

LANES_INLINE Floats all_lanes(float value) {
    return value - (Floats){0};
}

LANES_INLINE Ints all_lanes_int(int32_t value) {
    return (Ints){0} + value;
}

LANES_INLINE Floats load_floats(const float *p) {
    Floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

LANES_INLINE void store_floats(float *p, Floats v) {
    memcpy(p, &v, sizeof v);
}

LANES_INLINE Ints bits_of(Floats v) {
    return (Ints)v;
}

LANES_INLINE Floats floats_of_bits(Ints v) {
    return (Floats)v;
}

LANES_INLINE Floats to_floats(Ints v) {
    return __builtin_convertvector(v, Floats);
}

/* Lane l to p[l], its low byte. */
LANES_INLINE void store_bytes(uint8_t *p, Ints v) {
#if LANES == 16
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v));
#elif LANES == 8
    const __m256i first = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4,
                                           8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i s = _mm256_shuffle_epi8((__m256i)v, first);
    _mm_storel_epi64((__m128i *)p,
                     _mm_unpacklo_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
#else
    for (int l = 0; l < LANES; l++) p[l] = (uint8_t)v[l];
#endif
}

/* ---- comparisons: false with a NaN, as in C ---- */

#if LANES == 16
#define LANES_COMPARE(name, op, code)                               \
    LANES_INLINE Mask name(Floats a, Floats b) {                    \
        return _mm512_cmp_ps_mask((__m512)a, (__m512)b, code);      \
    }                                                               \
    LANES_INLINE Mask name##_int(Ints a, Ints b) {                  \
        return _mm512_cmp##op##_epi32_mask((__m512i)a, (__m512i)b); \
    }
LANES_COMPARE(less, lt, _CMP_LT_OQ)
LANES_COMPARE(less_equal, le, _CMP_LE_OQ)
LANES_COMPARE(greater, gt, _CMP_GT_OQ)
LANES_COMPARE(equal, eq, _CMP_EQ_OQ)
#else
#define LANES_COMPARE(name, op)                    \
    LANES_INLINE Mask name(Floats a, Floats b) {   \
        return a op b;                             \
    }                                              \
    LANES_INLINE Mask name##_int(Ints a, Ints b) { \
        return a op b;                             \
    }
LANES_COMPARE(less, <)
LANES_COMPARE(less_equal, <=)
LANES_COMPARE(greater, >)
LANES_COMPARE(equal, ==)
#endif
#undef LANES_COMPARE

LANES_INLINE Mask not(Mask m) {
    return (Mask)~m;
}

/* Bit l: lane l. */
LANES_INLINE uint32_t mask_bits(Mask m) {
#if LANES == 16
    return m;
#elif LANES == 8
    return (uint32_t)_mm256_movemask_ps((__m256)m);
#elif defined(__SSE2__)
    return (uint32_t)_mm_movemask_ps((__m128)m);
#else
    uint32_t bits = 0;
    for (int l = 0; l < LANES; l++) bits |= (uint32_t)(m[l] & 1) << l;
    return bits;
#endif
}

/* yes where m is set, no elsewhere. */
LANES_INLINE Floats pick(Mask m, Floats yes, Floats no) {
#if LANES == 16
    return (Floats)_mm512_mask_blend_ps(m, (__m512)no, (__m512)yes);
#elif LANES == 8
    return (Floats)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)m);
#else
    return (Floats)((m & (Ints)yes) | (~m & (Ints)no));
#endif
}

LANES_INLINE Ints pick_int(Mask m, Ints yes, Ints no) {
    return (Ints)pick(m, (Floats)yes, (Floats)no);
}

/* ---- arithmetic ---- */

LANES_INLINE Floats absolute(Floats v) {
    return (Floats)((Ints)v & 0x7FFFFFFF);
}

LANES_INLINE Floats square_root(Floats v) {
#if LANES == 16
    return (Floats)_mm512_sqrt_ps((__m512)v);
#elif LANES == 8
    return (Floats)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__)
    return (Floats)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
    return (Floats)vsqrtq_f32((float32x4_t)v);
#else
    for (int l = 0; l < LANES; l++) v[l] = __builtin_sqrtf(v[l]);
    return v;
#endif
}

/* a < b ? a : b, so b if they are zeros of two signs or one is a NaN. */
LANES_INLINE Floats smaller(Floats a, Floats b) {
#if LANES == 16
    return (Floats)_mm512_min_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (Floats)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (Floats)_mm_min_ps((__m128)a, (__m128)b);
#else
    return pick(less(a, b), a, b);
#endif
}

/* a > b ? a : b. */
LANES_INLINE Floats larger(Floats a, Floats b) {
#if LANES == 16
    return (Floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (Floats)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (Floats)_mm_max_ps((__m128)a, (__m128)b);
#else
    return pick(greater(a, b), a, b);
#endif
}

LANES_INLINE Ints clamp_int(Ints v, int32_t low, int32_t high) {
    Ints lowest = all_lanes_int(low), highest = all_lanes_int(high);
#if LANES == 16
    return (Ints)_mm512_max_epi32(_mm512_min_epi32((__m512i)v, (__m512i)highest), (__m512i)lowest);
#elif LANES == 8
    return (Ints)_mm256_max_epi32(_mm256_min_epi32((__m256i)v, (__m256i)highest), (__m256i)lowest);
#else
    v = pick_int(less_int(v, highest), v, highest);
    return pick_int(greater_int(v, lowest), v, lowest);
#endif
}

/* ggml's nearest_int to the bit, for any v: halves to even up to 4194303, the low bits of the sum beyond. */
LANES_INLINE Ints nearest_int(Floats v) {
    return ((Ints)(v + 12582912.0f) & 0x007FFFFF) - 0x00400000;
}

/* The same as a float, for |v| <= 4194303 only. A zero may have either sign. */
LANES_INLINE Floats nearest_small(Floats v) {
#if LANES == 16
    return (Floats)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif LANES == 8
    return (Floats)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return (v + 12582912.0f) - 12582912.0f;
#endif
}

/* Limits on numbers that aren't NaN: v at most `high`, which is positive, and at least `low`, which is
 * negative. Done on the bits, as integers with and without
 * sign: a Zen 4 adds, rounds and compares floats in the same two of its four units, which are busy. */
LANES_INLINE Floats at_most(Floats v, float high) {
    Floats limit = all_lanes(high);
#if LANES == 16
    return (Floats)_mm512_min_epi32((__m512i)v, (__m512i)limit);
#elif LANES == 8
    return (Floats)_mm256_min_epi32((__m256i)v, (__m256i)limit);
#else
    return smaller(v, limit);
#endif
}

LANES_INLINE Floats at_least(Floats v, float low) {
    Floats limit = all_lanes(low);
#if LANES == 16
    return (Floats)_mm512_min_epu32((__m512i)v, (__m512i)limit);
#elif LANES == 8
    return (Floats)_mm256_min_epu32((__m256i)v, (__m256i)limit);
#else
    return larger(v, limit);
#endif
}

/* v, or 0.0 if it is negative; not NaN. */
LANES_INLINE Floats not_negative(Floats v) {
#if LANES == 16
    return (Floats)_mm512_max_epi32((__m512i)v, _mm512_setzero_si512());
#elif LANES == 8
    return (Floats)_mm256_max_epi32((__m256i)v, _mm256_setzero_si256());
#else
    return larger(v, all_lanes(0));
#endif
}

/* ---- blocks into lanes ---- */

/* a0 b0 a1 b1 ... of the first halves of a and b, and of the second ones. */
#if LANES == 16
#define LANES_LOW  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LANES_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define LANES_LOW  0, 8, 1, 9, 2, 10, 3, 11
#define LANES_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LANES_LOW  0, 4, 1, 5
#define LANES_HIGH 2, 6, 3, 7
#endif

LANES_INLINE Floats zip_low(Floats a, Floats b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, LANES_LOW);
#else
    return __builtin_shuffle(a, b, (Ints){LANES_LOW});
#endif
}

LANES_INLINE Floats zip_high(Floats a, Floats b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, LANES_HIGH);
#else
    return __builtin_shuffle(a, b, (Ints){LANES_HIGH});
#endif
}

/* Row l's element i becomes row i's element l: a perfect shuffle of the rows' halves, log2(LANES) times.
 * Unrolled, so that the rows are registers. */
LANES_INLINE void transpose(Floats rows[LANES]) {
#pragma GCC unroll 4
    for (int width = 1; width < LANES; width *= 2) {
        Floats next[LANES];
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = zip_low(rows[i], rows[i + LANES / 2]);
            next[2 * i + 1] = zip_high(rows[i], rows[i + LANES / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) rows[i] = next[i];
    }
}

/* out[i], lane l: element i of rows[l]. n, a multiple of LANES: how many elements of each. */
LANES_INLINE void load_rows(Floats *out, const float *const rows[LANES], size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        Floats tile[LANES];
#pragma GCC unroll 16
        for (size_t l = 0; l < LANES; l++) tile[l] = load_floats(rows[l] + i);
        transpose(tile);
#pragma GCC unroll 16
        for (size_t l = 0; l < LANES; l++) out[i + l] = tile[l];
    }
}

/* The same for blocks at equal distances: block l begins at in + l * stride. */
LANES_INLINE void load_blocks(Floats *out, const float *in, size_t stride, size_t n) {
    const float *rows[LANES];
    for (size_t l = 0; l < LANES; l++) rows[l] = in + l * stride;
    load_rows(out, rows, n);
}

/* LANES elements from index i on as the bits of float32. `from` (F32, F16, BF16) is a constant wherever this
 * is inlined. A float16 is shifted into place and multiplied by 2^112, which is exact for its subnormals. */
LANES_INLINE Ints widened_bits(DType from, const uint8_t *in, size_t i) {
    typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));
    Ints bits;
    if (from == DT_F32) {
        memcpy(&bits, in + 4 * i, sizeof bits);
        return bits;
    }
    Halves halves;
    memcpy(&halves, in + 2 * i, sizeof halves);
    bits = __builtin_convertvector(halves, Ints);
    if (from == DT_BF16) return bits << 16;
    Ints magnitude = (bits & 0x7FFF) << 13, sign = (bits & 0x8000) << 16;
    Ints special = pick_int(less_int(magnitude, all_lanes_int(0x7C00 << 13)), all_lanes_int(0),
                            all_lanes_int(0x7F800000));
    return sign | special | (Ints)((Floats)magnitude * 0x1p112f);
}

/* n elements, a multiple of LANES, as float32. False if one is a NaN or an infinity. */
LANES_INLINE bool widen(float *out, DType from, const uint8_t *in, size_t n) {
    Mask bad = less_int(all_lanes_int(0), all_lanes_int(0));
    for (size_t i = 0; i < n; i += LANES) {
        Ints bits = widened_bits(from, in, i);
        bad |= greater_int(bits & 0x7FFFFFFF, all_lanes_int(0x7F7FFFFF));
        store_floats(out + i, (Floats)bits);
    }
    return mask_bits(bad) == 0;
}

/* The same for a type that is known at run time only. */
LANES_CODE __attribute__((unused)) bool widen_any(float *out, DType from, const uint8_t *in, size_t n) {
    if (from == DT_F32) return widen(out, DT_F32, in, n);
    if (from == DT_F16) return widen(out, DT_F16, in, n);
    return widen(out, DT_BF16, in, n);
}

#endif
