/* strict_math: the stated errors hold against long double, special values are right, and a few results are
 * pinned to the bit (they may change only together with the number in the arithmetic's name). */
#include "core/strict_math.h"
#include <criterion/criterion.h>
#include <float.h>
#include <stdbool.h>

static uint64_t next(uint64_t *state) { /* SplitMix64 */
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double uniform(uint64_t *state, double low, double high) {
    return low + (high - low) * ((double)(next(state) >> 11) * 0x1p-53);
}

/* Error in units of the last place that a number of `digits` bits with smallest exponent `least` has at
 * `exact`. */
static double ulps(long double got, long double exact, int digits, int least) {
    int exponent;
    if (exact == 0) return got == 0 ? 0 : INFINITY;
    frexpl(exact, &exponent);
    if (exponent < least) exponent = least;
    return (double)(fabsl(got - exact) / ldexpl(1, exponent - digits));
}

static double ulps32(float got, long double exact) {
    return ulps(got, exact, FLT_MANT_DIG, FLT_MIN_EXP);
}

static double ulps64(double got, long double exact) {
    return ulps(got, exact, DBL_MANT_DIG, DBL_MIN_EXP);
}

static double larger(double a, double b) {
    return b <= a ? a : b; /* a NaN wins */
}

Test(core_strict_math, expf_error) {
    double normal = 0, subnormal = 0;
    for (uint64_t bits = 0; bits <= UINT32_MAX;
         bits += 9973) { /* every one of them was tried once: 1.0593 and 0.7505 */
        float x = strict_f32_of((uint32_t)bits);
        if (!(x >= -104 && x <= 88.7f)) continue;
        long double exact = expl(x);
        double e = ulps32(strict_expf(x), exact);
        if (exact < FLT_MIN)
            subnormal = larger(subnormal, e);
        else
            normal = larger(normal, e);
    }
    cr_assert_leq(normal, 1.06);
    cr_assert_leq(subnormal, 0.76);
    cr_assert_geq(normal, 0.5, "the measure itself must be able to find an error");
}

Test(core_strict_math, exp_error) {
    uint64_t state = 1;
    double normal = 0, subnormal = 0;
    for (int i = 0; i < 100000; i++) {
        double x = uniform(&state, -700, 700), y = uniform(&state, -1, 1), z = uniform(&state, -745, -709);
        normal = larger(normal, ulps64(strict_exp(x), expl(x)));
        normal = larger(normal, ulps64(strict_exp(y), expl(y)));
        subnormal = larger(subnormal, ulps64(strict_exp(z), expl(z)));
    }
    cr_assert_leq(normal, 0.60);
    cr_assert_leq(subnormal, 0.76);
}

Test(core_strict_math, log_error) {
    uint64_t state = 2;
    double worst = 0;
    for (int i = 0; i < 100000; i++) {
        double x =
            strict_f64_of(next(&state) % 0x7FF0000000000000u); /* any positive number, subnormal ones too */
        double near_one = uniform(&state, 0.5, 2), nearer = uniform(&state, 0.999, 1.001);
        worst = larger(worst, ulps64(strict_log(x), logl(x)));
        worst = larger(worst, ulps64(strict_log(near_one), logl(near_one)));
        worst = larger(worst, ulps64(strict_log(nearer), logl(nearer)));
        double tiny = ldexp(uniform(&state, 0.5, 1), -1060);
        worst = larger(worst, ulps64(strict_log(tiny), logl(tiny)));
    }
    cr_assert_leq(worst, 0.55);
}

Test(core_strict_math, pow_error) {
    uint64_t state = 3;
    double rope = 0, wide = 0;
    for (int i = 0; i < 100000; i++) {
        double x = exp(uniform(&state, 0, 25)), y = uniform(&state, 0, 1);
        if (y * log(x) <= 8) rope = larger(rope, ulps64(strict_pow(x, y), powl(x, y)));
        double any = exp(uniform(&state, -50, 50)), power = uniform(&state, -40, 40) / fabs(log(any));
        wide = larger(wide, ulps64(strict_pow(any, power), powl(any, power)));
    }
    cr_assert_leq(rope, 0.60);
    cr_assert_leq(wide, 2.1);
}

Test(core_strict_math, sin_and_cos_error) {
    static const double ranges[] = {1, 100, 0x1p20, 0x1p21, 0x1p30};
    uint64_t state = 4;
    double worst = 0;
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++)
        for (int i = 0; i < 30000; i++) {
            double x = uniform(&state, -ranges[r], ranges[r]);
            double angle = (float)x; /* what RoPE asks for */
            double multiple =
                floor(fabs(x)) * 0x1.921fb54442d18p+0; /* as near pi/2 as a double comes: all cancels */
            worst = larger(worst, ulps64(strict_sin(x), sinl(x)));
            worst = larger(worst, ulps64(strict_cos(x), cosl(x)));
            worst = larger(worst, ulps64(strict_sin(angle), sinl(angle)));
            worst = larger(worst, ulps64(strict_cos(angle), cosl(angle)));
            if (multiple > 0x1p30) continue;
            worst = larger(worst, ulps64(strict_sin(multiple), sinl(multiple)));
            worst = larger(worst, ulps64(strict_cos(multiple), cosl(multiple)));
        }
    cr_assert_leq(worst, 0.75);
}

Test(core_strict_math, special_values) {
    cr_assert_eq(strict_expf(0), 1);
    cr_assert_eq(strict_expf(-0.0f), 1);
    cr_assert_eq(strict_expf(-INFINITY), 0);
    cr_assert_eq(strict_expf(INFINITY), INFINITY);
    cr_assert(isnan(strict_expf(NAN)));
    cr_assert(isnan(strict_expf(-NAN)));
    cr_assert_eq(strict_expf(88.8f), INFINITY);
    cr_assert_eq(strict_expf(0x1.62e42ep+6f), 0x1.ffff08p+127f); /* the largest finite result */
    cr_assert_eq(strict_expf(-104), 0);
    cr_assert_eq(strict_expf(-103.9f), 0x1p-149f);
    cr_assert_eq(strict_expf(FLT_MAX), INFINITY);
    cr_assert_eq(strict_expf(-FLT_MAX), 0);

    cr_assert_eq(strict_siluf(0), 0);
    cr_assert_eq(strict_siluf(-200), 0);
    cr_assert_eq(strict_siluf(200), 200);

    cr_assert_eq(strict_exp(0), 1);
    cr_assert_eq(strict_exp(-INFINITY), 0);
    cr_assert_eq(strict_exp(INFINITY), INFINITY);
    cr_assert(isnan(strict_exp(NAN)));
    cr_assert_eq(strict_log(1), 0);
    cr_assert_eq(strict_log(0), -INFINITY);
    cr_assert_eq(strict_log(INFINITY), INFINITY);
    cr_assert(isnan(strict_log(-1)));
    cr_assert(isnan(strict_log(NAN)));
    cr_assert_eq(strict_pow(7, 0), 1);
    cr_assert_eq(strict_pow(7, 1), 7);
    cr_assert_eq(strict_pow(1, 1000), 1);
    cr_assert_eq(strict_pow(1e300, 2), INFINITY);
    cr_assert_eq(strict_pow(1e300, -2), 0);
    cr_assert(isnan(strict_pow(-1, 2)));
    cr_assert(isnan(strict_pow(2, NAN)));
    cr_assert_eq(strict_cos(0), 1);
    cr_assert_eq(strict_sin(0), 0);
    cr_assert(signbit(strict_sin(-0.0)));
    cr_assert(isnan(strict_sin(INFINITY)));
    cr_assert(isnan(strict_cos(NAN)));
    cr_assert(isnan(strict_cos(0x1p31)));
}

Test(core_strict_math, symmetric) {
    uint64_t state = 5;
    for (int i = 0; i < 1000; i++) {
        double x = uniform(&state, 0, 0x1p21);
        cr_assert_eq(strict_sin(-x), -strict_sin(x));
        cr_assert_eq(strict_cos(-x), strict_cos(x));
    }
}

/* docs/arithmetic.md, section 3 */
Test(core_strict_math, check_values) {
    cr_assert_eq(strict_expf(-1.5f), 0x1.c8f878p-3f);
    cr_assert_eq(strict_sin(3), 0x1.210386db6d55bp-3);
    cr_assert_eq(strict_cos(100000), -0x1.ffac3841b3da7p-1);
    cr_assert_eq(strict_pow(1e6, 0.3), 0x1.f8c4106c1abfap+5);
    cr_assert_eq(strict_log(7), 0x1.f2272ae325a57p+0);
}
