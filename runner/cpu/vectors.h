/* vectors.h -- registers of WIDTH floats under one name: 16 (AVX-512) or 8 (AVX2).
 *
 * For C files that define WIDTH, and VNNI if they want it, before they include this. VECTOR functions carry
 * the target and are always inlined; VECTOR_CODE is for those that are called. */
#ifndef RECAST_RUNNER_CPU_VECTORS_H
#define RECAST_RUNNER_CPU_VECTORS_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if WIDTH == 16 && defined(VNNI)
#define VECTOR_TARGET \
    __attribute__((target("avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#elif WIDTH == 16
#define VECTOR_TARGET __attribute__((target("avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl")))
#elif WIDTH == 8
#define VECTOR_TARGET __attribute__((target("avx2,fma,f16c")))
#else
#error "WIDTH is 16 or 8"
#endif
#define VECTOR      static inline __attribute__((always_inline, unused)) VECTOR_TARGET
#define VECTOR_CODE static __attribute__((noinline, unused)) VECTOR_TARGET
/* Inlined for each type that it is called with. With sanitizers once for all of them, or a file would take a
 * minute to compile. */
#if defined(__SANITIZE_ADDRESS__)
#define VECTOR_TYPED VECTOR_CODE
#else
#define VECTOR_TYPED VECTOR
#endif

/* Loops over registers: without this gcc's -O2 keeps the arrays in memory. */
#define UNROLL _Pragma("GCC unroll 16")

enum { PARTS = 32 / WIDTH /* registers for the 32 lanes of a sum */, VECTOR_BYTES = 4 * WIDTH };

#if WIDTH == 16
typedef __m512 Floats;
typedef __m512i Ints;
typedef __mmask16 Mask;
#else
typedef __m256 Floats;
typedef __m256i Ints;
typedef __m256 Mask;
#endif

/* Asks for the lines that come AHEAD bytes behind `bytes` bytes at p, wherever that is: decoding reads
 * weights as one stream, and hardware alone keeps half as many lines in flight, ends at each page, and on
 * some virtual machines is switched off (docs/performance.md). */
enum { AHEAD = 2560 };

VECTOR void fetch_ahead(const void *p, size_t bytes) {
    UNROLL for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)((uintptr_t)p + AHEAD + i), _MM_HINT_T0);
}

VECTOR Floats load_floats(const float *p) {
#if WIDTH == 16
    return _mm512_loadu_ps(p);
#else
    return _mm256_loadu_ps(p);
#endif
}

VECTOR void store_floats(float *p, Floats v) {
#if WIDTH == 16
    _mm512_storeu_ps(p, v);
#else
    _mm256_storeu_ps(p, v);
#endif
}

VECTOR Floats everywhere(float value) {
#if WIDTH == 16
    return _mm512_set1_ps(value);
#else
    return _mm256_set1_ps(value);
#endif
}

VECTOR Ints load_ints(const void *p) {
#if WIDTH == 16
    return _mm512_loadu_si512(p);
#else
    return _mm256_loadu_si256(p);
#endif
}

VECTOR Floats no_floats(void) {
#if WIDTH == 16
    return _mm512_setzero_ps();
#else
    return _mm256_setzero_ps();
#endif
}

/* a * b + c, rounded once. */
VECTOR Floats fused(Floats a, Floats b, Floats c) {
#if WIDTH == 16
    return _mm512_fmadd_ps(a, b, c);
#else
    return _mm256_fmadd_ps(a, b, c);
#endif
}

/* Lanes 0 .. n-1; n from 0 to WIDTH. */
VECTOR Mask first_lanes(size_t n) {
#if WIDTH == 16
    return (Mask)((1u << n) - 1);
#else
    const Ints index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index));
#endif
}

VECTOR Floats pick(Mask m, Floats yes, Floats no) {
#if WIDTH == 16
    return _mm512_mask_blend_ps(m, no, yes);
#else
    return _mm256_blendv_ps(no, yes, m);
#endif
}

/* The butterfly of docs/arithmetic.md, section 2: lane[l] + lane[l + s] for s = 16, 8, 4, 2, 1. */
VECTOR float butterfly(const Floats lane[PARTS]) {
#if WIDTH == 16
    Floats sum = _mm512_add_ps(lane[0], lane[1]);
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
#else
    __m256 eight = _mm256_add_ps(_mm256_add_ps(lane[0], lane[2]), _mm256_add_ps(lane[1], lane[3]));
#endif
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#endif
