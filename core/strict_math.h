/* strict_math.h -- exp, log, pow, sin and cos that give the same bits on every machine.
 *
 * Plain arithmetic and fma in IEEE binary32 and binary64, round to nearest even, shared by C, C++ and CUDA.
 * libm is never called for a value that reaches a logit: two libms differ in the last bit
 * (docs/arithmetic.md, section 3). fma is the one function taken from it, since IEEE 754 leaves it no
 * freedom.
 *
 * Compile without contraction (-ffp-contract=off; nvcc -fmad=false -ftz=false -prec-div=true
 * -prec-sqrt=true), never with -ffast-math. Coefficients are those of the Taylor series, rounded to nearest:
 * ranges are reduced far enough for that to do, and anybody can check a factorial.
 *
 * Largest errors, in units in the last place of the result, against long double over the stated domain:
 *
 *   strict_expf  1.06 all floats: every one of them was tried (0.76 where the result is subnormal)
 *   strict_log   0.55 all positive doubles
 *   strict_exp   0.60 all doubles (0.76 where the result is subnormal)
 *   strict_pow   0.60 x >= 1, 0 <= y <= 1, y ln x <= 8;  2.1 x > 0, |y ln x| <= 40
 *   strict_sin   0.75 |x| <= 2^30
 *   strict_cos   0.75 |x| <= 2^30
 *
 * tests/unit/test_core_strict_math.c holds them to it. */
#ifndef RECAST_CORE_STRICT_MATH_H
#define RECAST_CORE_STRICT_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define STRICT_INLINE static __host__ __device__ inline
#else
#define STRICT_INLINE static inline
#endif

STRICT_INLINE float strict_f32_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

STRICT_INLINE uint32_t strict_bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

STRICT_INLINE double strict_f64_of(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

STRICT_INLINE uint64_t strict_bits64_of(double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

/* e^x in binary32. exp(-inf) = 0, exp(inf) = inf, NaN stays NaN. Without branches, so that a compiler can do
 * many at once.
 *
 * x = n ln 2 + r with |r| <= 0.347. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. x -
 * n * ln2_hi is exact: both are multiples of 2^-25 and the difference is below 1/2. */
STRICT_INLINE float strict_expf(float x) {
    x = x > 89.0f ? 89.0f : x;     /* e^89 overflows anyway */
    x = x < -104.0f ? -104.0f : x; /* e^-104 is below half the smallest subnormal */
    float shifted = fmaf(x, 0x1.715476p+0f, 0x1.8p+23f);
    float n = shifted - 0x1.8p+23f;
    float r = fmaf(n, -0x1.62e43p-1f, x);
    r = fmaf(n, 0x1.05c61p-29f, r);
    float q = 0x1.a01a02p-13f; /* 1/7! .. 1/2! */
    q = fmaf(q, r, 0x1.6c16c2p-10f);
    q = fmaf(q, r, 0x1.111112p-7f);
    q = fmaf(q, r, 0x1.555556p-5f);
    q = fmaf(q, r, 0x1.555556p-3f);
    q = fmaf(q, r, 0.5f);
    float e = fmaf(r * r, q, r) + 1.0f;
    /* times 2^n in two steps: n reaches -150 and 128. Bits of NaN give some finite scale, and NaN times it is
     * NaN. */
    int32_t k = (int32_t)(strict_bits_of(shifted) - 0x4B400000u);
    k = k < -150 ? -150 : k;
    k = k > 128 ? 128 : k;
    int32_t half = (k + 256) / 2 - 128;
    return e * strict_f32_of((uint32_t)(half + 127) << 23) * strict_f32_of((uint32_t)(k - half + 127) << 23);
}

/* x * sigmoid(x), as the experts use it. */
STRICT_INLINE float strict_siluf(float x) {
    return x / (1.0f + strict_expf(-x));
}

/* hi + lo = a + b exactly (Knuth; any magnitudes). */
STRICT_INLINE double strict_two_sum(double a, double b, double *lo) {
    double hi = a + b, t = hi - a;
    *lo = (a - (hi - t)) + (b - t);
    return hi;
}

/* ln x as hi + *lo, some ten bits better than a double; x positive and finite.
 *
 * x = 2^k m, m in [sqrt(1/2), sqrt(2)): ln m = 2 atanh(s) = 2s + s^3 (2/3 + s^2 (2/5 + ...)), s = (m - 1) /
 * (m + 1), |s| <= 0.172. s is carried in two doubles, and so is the sum. */
STRICT_INLINE double strict_log_parts(double x, double *lo) {
    int k = 0;
    if (x < 0x1p-1022) { /* subnormal */
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits = strict_bits64_of(x);
    k += (int)(bits >> 52) - 1023;
    double m = strict_f64_of((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        k++;
    }
    double f = m - 1.0, d_lo, d = strict_two_sum(2.0, f, &d_lo);
    double s = f / d, s_lo = (fma(-s, d, f) - s * d_lo) / d;
    double z = s * s;
    double q = 0x1.2f684bda12f68p-4; /* 2/27 .. 2/5 */
    q = fma(q, z, 0x1.47ae147ae147bp-4);
    q = fma(q, z, 0x1.642c8590b2164p-4);
    q = fma(q, z, 0x1.8618618618618p-4);
    q = fma(q, z, 0x1.af286bca1af28p-4);
    q = fma(q, z, 0x1.e1e1e1e1e1e1ep-4);
    q = fma(q, z, 0x1.1111111111111p-3);
    q = fma(q, z, 0x1.3b13b13b13b14p-3);
    q = fma(q, z, 0x1.745d1745d1746p-3);
    q = fma(q, z, 0x1.c71c71c71c71cp-3);
    q = fma(q, z, 0x1.2492492492492p-2);
    q = fma(q, z, 0x1.999999999999ap-2);
    q = fma(q, z, 0x1.5555555555555p-1);
    double tail = fma(s * z, q, 2.0 * s_lo); /* all but k ln 2 + 2s */
    /* k * (ln 2 to 41 bits) is exact */
    double e1, e2, hi = strict_two_sum(k * 0x1.62e42fefa4000p-1, 2.0 * s, &e1);
    hi = strict_two_sum(hi, tail, &e2);
    return strict_two_sum(hi, (e1 + e2) + k * -0x1.8432a1b0e2634p-43, lo);
}

/* e^(hi + lo) in binary64, lo small beside hi. Overflows to inf, underflows to 0; NaN stays NaN. */
STRICT_INLINE double strict_exp_parts(double hi, double lo) {
    if (hi > 710.0) return HUGE_VAL;
    if (hi < -746.0) return 0.0;
    if (hi != hi) return hi;
    double n = fma(hi, 0x1.71547652b82fep+0, 0x1.8p+52) - 0x1.8p+52;
    double a = fma(n, -0x1.62e42fefa39efp-1, hi); /* exact, as in strict_expf */
    double t_lo, r_lo, t = n * -0x1.abc9e3b39803fp-56;
    t_lo = fma(n, -0x1.abc9e3b39803fp-56, -t);
    double r = strict_two_sum(a, t + lo, &r_lo);
    r_lo += t_lo;
    double q = 0x1.93974a8c07c9dp-37; /* 1/14! .. 1/2! */
    q = fma(q, r, 0x1.6124613a86d09p-33);
    q = fma(q, r, 0x1.1eed8eff8d898p-29);
    q = fma(q, r, 0x1.ae64567f544e4p-26);
    q = fma(q, r, 0x1.27e4fb7789f5cp-22);
    q = fma(q, r, 0x1.71de3a556c734p-19);
    q = fma(q, r, 0x1.a01a01a01a01ap-16);
    q = fma(q, r, 0x1.a01a01a01a01ap-13);
    q = fma(q, r, 0x1.6c16c16c16c17p-10);
    q = fma(q, r, 0x1.1111111111111p-7);
    q = fma(q, r, 0x1.5555555555555p-5);
    q = fma(q, r, 0x1.5555555555555p-3);
    q = fma(q, r, 0.5);
    double e_lo, e = strict_two_sum(1.0, r, &e_lo);
    e += e_lo + fma(r * r, q, r_lo + r * r_lo);
    int k = (int)n, half = (k + 2048) / 2 - 1024;
    return e * strict_f64_of((uint64_t)(half + 1023) << 52) *
           strict_f64_of((uint64_t)(k - half + 1023) << 52);
}

STRICT_INLINE double strict_exp(double x) {
    return strict_exp_parts(x, 0.0);
}

/* ln x. ln 0 = -inf; NaN for negative x. */
STRICT_INLINE double strict_log(double x) {
    double lo;
    if (!(x > 0.0)) return x == 0.0 ? -HUGE_VAL : (double)NAN;
    if (x > 0x1.fffffffffffffp+1023) return x;
    return strict_log_parts(x, &lo);
}

/* x^y for x > 0 (NaN otherwise; what else pow knows is not needed here). */
STRICT_INLINE double strict_pow(double x, double y) {
    if (!(x > 0.0) || x > 0x1.fffffffffffffp+1023) return (double)NAN;
    double lo, hi = strict_log_parts(x, &lo);
    double p = y * hi;
    return strict_exp_parts(p, p - p == 0.0 ? fma(y, hi, -p) + y * lo : 0.0);
}

/* x - n pi/2 as r + *r_lo, |r| <= pi/4, and *quadrant = n mod 4. pi/2 is taken to 160 bits; x - n * (its
 * first 53) is exact. Good to |x| = 2^30; positions times frequencies stay below 2^21. */
STRICT_INLINE double strict_reduce(double x, int *quadrant, double *r_lo) {
    double n = fma(x, 0x1.45f306dc9c883p-1, 0x1.8p+52) - 0x1.8p+52;
    double a = fma(n, -0x1.921fb54442d18p+0, x);
    double b = n * -0x1.1a62633145c07p-54, b_lo = fma(n, -0x1.1a62633145c07p-54, -b);
    double e, r = strict_two_sum(a, b, &e);
    *r_lo = e + fma(n, 0x1.f1976b7ed8fbcp-110, b_lo);
    *quadrant = (int)((int64_t)n & 3);
    return r;
}

STRICT_INLINE double strict_sin_kernel(double r, double r_lo) {
    double z = r * r;
    double q = 0x1.952c77030ad4ap-49; /* 1/17! .. 1/3!, signs alternating */
    q = fma(q, z, -0x1.ae7f3e733b81fp-41);
    q = fma(q, z, 0x1.6124613a86d09p-33);
    q = fma(q, z, -0x1.ae64567f544e4p-26);
    q = fma(q, z, 0x1.71de3a556c734p-19);
    q = fma(q, z, -0x1.a01a01a01a01ap-13);
    q = fma(q, z, 0x1.1111111111111p-7);
    q = fma(q, z, -0x1.5555555555555p-3);
    return r + fma(z * r, q, r_lo * fma(-0.5, z, 1.0));
}

STRICT_INLINE double strict_cos_kernel(double r, double r_lo) {
    double z = r * r, z_lo = fma(r, r, -z);
    double q = -0x1.6827863b97d97p-53; /* 1/18! .. 1/4!, signs alternating */
    q = fma(q, z, 0x1.ae7f3e733b81fp-45);
    q = fma(q, z, -0x1.93974a8c07c9dp-37);
    q = fma(q, z, 0x1.1eed8eff8d898p-29);
    q = fma(q, z, -0x1.27e4fb7789f5cp-22);
    q = fma(q, z, 0x1.a01a01a01a01ap-16);
    q = fma(q, z, -0x1.6c16c16c16c17p-10);
    q = fma(q, z, 0x1.5555555555555p-5);
    double e, c = strict_two_sum(1.0, -0.5 * z, &e);
    return c + (e + fma(z * z, q, -0.5 * z_lo - r * r_lo));
}

/* NaN for infinities and beyond 2^30. */
STRICT_INLINE double strict_sin(double x) {
    int quadrant;
    double lo, r;
    if (!(fabs(x) <= 0x1p30)) return (double)NAN;
    if (x == 0.0) return x; /* keeps the sign of zero */
    r = strict_reduce(x, &quadrant, &lo);
    double v = quadrant & 1 ? strict_cos_kernel(r, lo) : strict_sin_kernel(r, lo);
    return quadrant & 2 ? -v : v;
}

STRICT_INLINE double strict_cos(double x) {
    int quadrant;
    double lo, r;
    if (!(fabs(x) <= 0x1p30)) return (double)NAN;
    r = strict_reduce(x, &quadrant, &lo);
    double v = quadrant & 1 ? strict_sin_kernel(r, lo) : strict_cos_kernel(r, lo);
    return (quadrant + 1) & 2 ? -v : v;
}

#endif
