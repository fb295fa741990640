/* Narrowing is compared with a slow definition: all values of the narrow format as doubles, in order, and
 * between each two the exact midpoint; a value goes to the neighbour on its side of the midpoint, a tie to
 * the even pattern. */
#include "core/floats.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The value of a non-negative pattern; infinity's pattern stands for the next power of two, which is how
 * rounding sees it. */
static double slow_value(uint32_t pattern, int mantissa_bits, int bias) {
    uint32_t exponent = pattern >> mantissa_bits, mantissa = pattern & ((1u << mantissa_bits) - 1);
    if (exponent == 0) return ldexp(mantissa, 1 - bias - mantissa_bits);
    return ldexp(mantissa + (1u << mantissa_bits), (int)exponent - bias - mantissa_bits);
}

typedef struct Format {
    int mantissa_bits, bias;
    uint32_t infinity;
    uint16_t (*narrow)(float);
    float (*widen)(uint16_t);
    double values[0x7F81];
} Format;

static Format *open_format(bool f16) {
    Format *f = malloc(sizeof *f);
    cr_assert_not_null(f);
    f->mantissa_bits = f16 ? 10 : 7;
    f->bias = f16 ? 15 : 127;
    f->infinity = f16 ? 0x7C00 : 0x7F80;
    f->narrow = f16 ? f16_from_f32 : bf16_from_f32;
    f->widen = f16 ? f32_from_f16 : f32_from_bf16;
    for (uint32_t i = 0; i <= f->infinity; i++) f->values[i] = slow_value(i, f->mantissa_bits, f->bias);
    return f;
}

static uint16_t slow_narrow(const Format *f, uint32_t bits) {
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    double v = fabs((double)f32_from_bits(bits));
    if (v >= f->values[f->infinity]) return (uint16_t)(sign | f->infinity);
    uint32_t low = 0, high = f->infinity; /* values[low] <= v < values[high] */
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (f->values[middle] <= v)
            low = middle;
        else
            high = middle;
    }
    double tie = (f->values[low] + f->values[high]) / 2;
    uint32_t chosen = v < tie ? low : v > tie ? high : low % 2 ? high : low;
    return (uint16_t)(sign | chosen);
}

static bool agrees(const Format *f, uint32_t bits) {
    if (isnan(f32_from_bits(bits))) return true;
    return f->narrow(f32_from_bits(bits)) == slow_narrow(f, bits);
}

/* The 32-bit patterns within two of v, with both signs. */
static bool agrees_around(const Format *f, double v) {
    uint32_t bits = f32_bits((float)v);
    for (uint32_t b = bits < 2 ? 0 : bits - 2; b <= bits + 2; b++)
        if (!agrees(f, b) || !agrees(f, b | 0x80000000)) return false;
    return true;
}

static void check_boundaries(bool f16) {
    Format *f = open_format(f16);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < f->infinity; i++)
        wrong += !agrees_around(f, f->values[i]) || !agrees_around(f, (f->values[i] + f->values[i + 1]) / 2);
    free(f);
    cr_assert_eq(wrong, 0, "%u boundaries", wrong);
}

Test(core_floats, f16_rounds_to_nearest_even_at_every_boundary) {
    check_boundaries(true);
}
Test(core_floats, bf16_rounds_to_nearest_even_at_every_boundary) {
    check_boundaries(false);
}

Test(core_floats, random_patterns_round_as_defined) {
    Format *half = open_format(true), *brain = open_format(false);
    uint64_t state = 88172645463325252u;
    uint32_t wrong = 0;
    for (int i = 0; i < 2000000; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint32_t bits = (uint32_t)(state >> 32);
        wrong += !agrees(brain, bits);
        /* For halves most patterns are zero or infinity: the exponent is drawn from 2^-27 .. 2^18. */
        wrong += !agrees(half, (bits & 0x807FFFFF) | (uint32_t)(100 + (bits >> 24) % 46) << 23);
    }
    free(half);
    free(brain);
    cr_assert_eq(wrong, 0);
}

static void check_all_patterns(bool f16) {
    Format *f = open_format(f16);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 0x10000; i++) {
        uint16_t back = f->narrow(f->widen((uint16_t)i));
        uint32_t magnitude = i & 0x7FFF;
        float wide = f->widen((uint16_t)i);
        wrong += !!signbit(wide) != (i >> 15);
        if (magnitude > f->infinity) {
            wrong += !isnan(wide) || back != (f16 ? ((i & 0x8000) | 0x7E00) : (i | 0x40));
        } else {
            wrong += back != i;
            wrong += magnitude == f->infinity ? !isinf(wide) : fabs((double)wide) != f->values[magnitude];
        }
    }
    free(f);
    cr_assert_eq(wrong, 0);
}

Test(core_floats, every_f16_widens_exactly_and_comes_back) {
    check_all_patterns(true);
}
Test(core_floats, every_bf16_widens_exactly_and_comes_back) {
    check_all_patterns(false);
}

Test(core_floats, known_values) {
    static const struct {
        uint32_t f32;
        uint16_t f16, bf16;
    } known[] = {
        {0x00000000, 0x0000, 0x0000}, {0x80000000, 0x8000, 0x8000},
        {0x3F800000, 0x3C00, 0x3F80}, {0x3DCCCCCD, 0x2E66, 0x3DCD}, /* 0.1 */
        {0x3EAAAAAB, 0x3555, 0x3EAB}, {0xC0490FDB, 0xC248, 0xC049}, /* 1/3, -pi */
        {0x477FE000, 0x7BFF, 0x4780}, {0x477FEFFF, 0x7BFF, 0x4780}, /* 65504, just below 65520 */
        {0x477FF000, 0x7C00, 0x4780}, {0x33800000, 0x0001, 0x3380}, /* 65520, 2^-24 */
        {0x33000000, 0x0000, 0x3300}, {0x33000001, 0x0001, 0x3300}, /* 2^-25 and the next one */
        {0x33C00000, 0x0002, 0x33C0}, {0x387FE000, 0x0400, 0x3880}, /* 1.5 * 2^-24, 2047 * 2^-25 */
        {0x3F808000, 0x3C04, 0x3F80}, {0x3F818000, 0x3C0C, 0x3F82}, /* ties of bf16 */
        {0x7F7FFFFF, 0x7C00, 0x7F80}, {0xFF7FFFFF, 0xFC00, 0xFF80}, /* the largest float */
        {0x7F800000, 0x7C00, 0x7F80}, {0xFF800000, 0xFC00, 0xFF80}, /* infinity */
        {0x00000001, 0x0000, 0x0000}, {0x00008001, 0x0000, 0x0001}, /* denormals are kept */
        {0x7F800001, 0x7E00, 0x7FC0}, {0xFFBFFFFF, 0xFE00, 0xFFFF}, /* NaN is quieted */
        {0x7FC12345, 0x7E00, 0x7FC1}, {0xFFFFFFFF, 0xFE00, 0xFFFF},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        float f = f32_from_bits(known[i].f32);
        cr_assert_eq(f16_from_f32(f), known[i].f16, "%08x to f16: %04x", known[i].f32, f16_from_f32(f));
        cr_assert_eq(bf16_from_f32(f), known[i].bf16, "%08x to bf16: %04x", known[i].f32, bf16_from_f32(f));
    }
}

Test(core_floats, arrays_convert_from_and_to_unaligned_memory) {
    enum { N = 67 };
    uint8_t in[4 * N + 1], out[4 * N + 1];
    static const DType types[] = {DT_F32, DT_F16, DT_BF16};
    for (int from = 0; from < 3; from++) {
        for (int to = 0; to < 3; to++) {
            size_t in_size = types[from] == DT_F32 ? 4 : 2, out_size = types[to] == DT_F32 ? 4 : 2;
            for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)(i * 37 + i / 3);
            memset(out, 0xA5, sizeof out);
            cr_assert_eq(floats_convert(types[to], out + 1, types[from], in + 1, N, NULL), 0);
            for (size_t i = 0; i < N; i++) {
                uint32_t bits = 0, got = 0, want;
                memcpy(&bits, in + 1 + i * in_size, in_size);
                memcpy(&got, out + 1 + i * out_size, out_size);
                float value = types[from] == DT_F32   ? f32_from_bits(bits)
                              : types[from] == DT_F16 ? f32_from_f16((uint16_t)bits)
                                                      : f32_from_bf16((uint16_t)bits);
                want = from == to            ? bits
                       : types[to] == DT_F32 ? f32_bits(value)
                       : types[to] == DT_F16 ? f16_from_f32(value)
                                             : bf16_from_f32(value);
                cr_assert_eq(got, want, "element %zu of %s to %s", i, dtype_name(types[from]),
                             dtype_name(types[to]));
            }
            for (size_t i = 1 + N * out_size; i < sizeof out; i++) cr_assert_eq(out[i], 0xA5);
        }
    }
}

Test(core_floats, other_types_are_refused) {
    Error err;
    uint8_t bytes[64] = {0};
    cr_assert_eq(floats_convert(DT_Q8_0, bytes, DT_F32, bytes + 32, 1, &err), ERR_UNSUPPORTED);
    cr_assert(strstr(err.message, "Q8_0"));
    cr_assert_eq(floats_convert(DT_F32, bytes, DT_F64, bytes + 32, 1, &err), ERR_UNSUPPORTED);
    cr_assert_eq(floats_convert(DT_F32, NULL, DT_BF16, NULL, 0, &err), 0);
}

Test(core_floats, first_nonfinite_is_found_at_every_position) {
    enum { N = 1100 }; /* two pieces and a rest */
    static uint8_t bytes[4 * N + 1];
    static const struct {
        DType type;
        uint32_t largest, bad[2];
        size_t size;
    } cases[] = {
        {DT_F32, 0xFF7FFFFF, {0x7F800000, 0xFF800001}, 4},
        {DT_F16, 0xFBFF, {0x7C00, 0xFE00}, 2},
        {DT_BF16, 0xFF7F, {0xFF80, 0x7FC0}, 2},
    };
    for (size_t c = 0; c < 3; c++) {
        uint8_t *p = bytes + 1;
        for (size_t i = 0; i < N; i++) memcpy(p + i * cases[c].size, &cases[c].largest, cases[c].size);
        cr_assert_eq(floats_first_nonfinite(cases[c].type, p, N), N);
        cr_assert_eq(floats_first_nonfinite(cases[c].type, p, 0), 0);
        for (size_t i = N; i-- > 0;) { /* backwards, so that a later one is there too */
            memcpy(p + i * cases[c].size, &cases[c].bad[i % 2], cases[c].size);
            cr_assert_eq(floats_first_nonfinite(cases[c].type, p, N), i);
        }
    }
    cr_assert_eq(floats_first_nonfinite(DT_I32, bytes, 5), 5);
}
