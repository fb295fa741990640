/* How far tensors are apart: figures against the same sums done plainly here, on numbers laid out in memory.
 */
#include "core/blocks.h"
#include "core/floats.h"
#include "core/quantize.h"
#include "support.h"
#include "validate/difference.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A tensor over bytes in memory. */
typedef struct Laid {
    Input *input;
    Extent extent;
    Tensor tensor;
} Laid;

static void lay(Laid *l, DType type, uint64_t columns, uint64_t rows, const void *bytes) {
    l->tensor = (Tensor){.name = "blk.0.x.weight", .type = type, .stored = type, .n_dims = 2};
    l->tensor.dims[0] = columns, l->tensor.dims[1] = rows, l->tensor.dims[2] = l->tensor.dims[3] = 1;
    size_t size = (size_t)tensor_bytes(&l->tensor);
    OK(input_open_memory(&l->input, "memory", bytes, size, NULL, err));
    l->extent = (Extent){.file = l->input, .length = size};
    l->tensor.n_extents = 1;
    l->tensor.extents = &l->extent;
}

static TensorDifference between_types(DType x, const void *a, DType y, const void *b, uint64_t columns,
                                      uint64_t rows) {
    Laid la, lb;
    TensorDifference d;
    lay(&la, x, columns, rows, a);
    lay(&lb, y, columns, rows, b);
    const Tensor *ta = &la.tensor, *tb = &lb.tensor;
    OK(tensor_differences(&d, 1, &ta, &tb, (DifferenceOptions){.threads = 1}, err));
    input_close(la.input);
    input_close(lb.input);
    return d;
}

static TensorDifference between(const float *a, const float *b, uint64_t columns, uint64_t rows) {
    return between_types(DT_F32, a, DT_F32, b, columns, rows);
}

static bool close_to(double a, double b) {
    return fabs(a - b) <= 1e-11 * fabs(b);
}

/* From the definitions, in long double. */
static void figures_are(const TensorDifference *d, const float *a, const float *b, size_t n) {
    long double square = 0, aa = 0, bb = 0, ab = 0;
    double most = 0;
    uint64_t differ = 0;
    for (size_t i = 0; i < n; i++) {
        long double x = a[i], y = b[i];
        square += (x - y) * (x - y), aa += x * x, bb += y * y, ab += x * y;
        most = fmax(most, (double)fabsl(x - y));
        differ += x != y;
    }
    cr_assert(d->measured);
    cr_assert_eq(d->elements, n);
    cr_assert_eq(d->differ, differ);
    cr_assert_eq(d->max, most);
    cr_assert(close_to(d->rmse, (double)sqrtl(square / (long double)n)), "%.17g, not %.17g", d->rmse,
              (double)sqrtl(square / (long double)n));
    cr_assert(close_to(d->relative, (double)sqrtl(square / aa)), "%g", d->relative);
    cr_assert(close_to(d->cosine, (double)(ab / sqrtl(aa * bb))), "%.17g", d->cosine);
}

static float unit(uint32_t *s) {
    *s = *s * 1664525u + 1013904223u;
    return (float)(*s >> 8) / 8388608.0f - 1;
}

/* More rows than are read at once. */
Test(validate_difference, figures_by_definition) {
    enum { COLUMNS = 1000, ROWS = 700, N = COLUMNS * ROWS };
    float *a = malloc(N * sizeof *a), *b = malloc(N * sizeof *b);
    uint32_t s = 1;
    cr_assert(a && b);
    for (size_t i = 0; i < N; i++) {
        a[i] = unit(&s);
        b[i] = i % 3 ? a[i] + unit(&s) / 64 : a[i];
    }
    TensorDifference d = between(a, b, COLUMNS, ROWS);
    cr_assert_not(d.identical);
    figures_are(&d, a, b, N);
    d = between(a, a, COLUMNS, ROWS);
    cr_assert(d.identical && d.measured);
    cr_assert(d.differ == 0 && d.max == 0 && d.rmse == 0 && d.relative == 0 && d.cosine == 1);
    free(a);
    free(b);
}

Test(validate_difference, by_hand) {
    const float a[4] = {3, 0, 0, 4}, b[4] = {0, 0, 0, 4}, minus[4] = {-3, 0, 0, -4}, across[4] = {0, 2, 2, 0};
    TensorDifference d = between(a, b, 2, 2);
    cr_assert_eq(d.differ, 1);
    cr_assert_eq(d.max, 3);
    cr_assert_eq(d.rmse, 1.5);
    cr_assert(close_to(d.relative, 0.6) && close_to(d.cosine, 0.8));
    d = between(a, minus, 4, 1);
    cr_assert(d.max == 8 && d.relative == 2 && close_to(d.cosine, -1) && d.cosine >= -1);
    d = between(a, across, 1, 4);
    cr_assert_eq(d.cosine, 0);
}

Test(validate_difference, zero_tensors) {
    const float zero[4] = {0}, negative[4] = {-0.0f, 0, 0, 0}, a[4] = {0, 2, 0, 0};
    TensorDifference d = between(zero, zero, 4, 1);
    cr_assert(d.identical && d.relative == 0 && d.cosine == 1 && d.rmse == 0);
    d = between(zero, negative, 4, 1);
    cr_assert_not(d.identical);
    cr_assert(d.differ == 1 && d.max == 0 && d.relative == 0 && d.cosine == 1);
    d = between(zero, a, 4, 1);
    cr_assert(isinf(d.relative) && d.cosine == 0 && d.rmse == 1);
    d = between(a, zero, 4, 1);
    cr_assert(d.relative == 1 && d.cosine == 0 && d.max == 2);
}

/* A NaN is never lost, wherever it stands; one that both have is no difference. */
Test(validate_difference, nan_and_infinity) {
    for (int at = 0; at < 4; at++) {
        float a[4] = {1, 2, 3, 4}, b[4] = {2, 3, 4, 6};
        b[at] = NAN;
        TensorDifference d = between(a, b, 2, 2);
        cr_assert_eq(d.differ, 4);
        cr_assert(isnan(d.max) && isnan(d.rmse) && isnan(d.relative) && isnan(d.cosine), "at %d", at);
        d = between(b, a, 2, 2);
        cr_assert(isnan(d.max) && isnan(d.rmse) && isnan(d.relative) && isnan(d.cosine), "at %d", at);
        d = between(b, b, 2, 2);
        cr_assert(d.identical && d.differ == 0 && d.max == 0 && d.cosine == 1);
        b[at] = INFINITY;
        d = between(a, b, 2, 2);
        cr_assert(isinf(d.max) && isinf(d.rmse) && isinf(d.relative));
    }
}

Test(validate_difference, float_types_meet_as_numbers) {
    const float wide[4] = {1, -0.5f, 65504, 0x1p-14f};
    uint16_t half[4], brain[4] = {0x3F80, 0xBF00, 0x4780, 0x3880}; /* 65536 for 65504 */
    for (int i = 0; i < 4; i++) half[i] = f16_from_f32(wide[i]);
    TensorDifference d = between_types(DT_F32, wide, DT_F16, half, 4, 1);
    cr_assert(d.measured && !d.identical && d.differ == 0 && d.max == 0 && d.cosine == 1);
    d = between_types(DT_F16, half, DT_BF16, brain, 4, 1);
    cr_assert(d.differ == 1 && d.max == 32 && d.rmse == 16);
}

Test(validate_difference, quantized_types_by_their_numbers) {
    block_q8_0 q8 = {.d = 0x3800}; /* 0.5 */
    block_q4_0 q4 = {.d = 0x3C00};
    float numbers[32], other[32];
    for (int i = 0; i < 32; i++) {
        q8.qs[i] = (int8_t)(5 * i - 70);
        numbers[i] = 0.5f * (float)(5 * i - 70);
    }
    for (int i = 0; i < 16; i++) {
        q4.qs[i] = (uint8_t)(i | (15 - i) << 4);
        other[i] = (float)(i - 8), other[16 + i] = (float)(15 - i - 8);
    }
    TensorDifference d = between_types(DT_F32, numbers, DT_Q8_0, &q8, 32, 1);
    cr_assert(d.measured && !d.identical && d.differ == 0 && d.relative == 0);
    d = between_types(DT_Q8_0, &q8, DT_Q4_0, &q4, 32, 1);
    figures_are(&d, numbers, other, 32);
    d = between_types(DT_Q8_0, &q8, DT_Q8_0, &q8, 32, 1);
    cr_assert(d.identical);
    /* other bytes for the same numbers: not identical, and no number differs */
    block_q8_0 one = {.d = 0x3C00, .qs = {2, 4}}, two = {.d = 0x4000, .qs = {1, 2}};
    d = between_types(DT_Q8_0, &one, DT_Q8_0, &two, 32, 1);
    cr_assert(!d.identical && d.measured && d.differ == 0);
}

/* Types that nobody can read: told equal by bytes, else nothing is said. */
Test(validate_difference, unreadable_types) {
    const int32_t a[4] = {1, 2, 3, 4}, b[4] = {1, 2, 3, 5};
    const float f[4] = {1, 2, 3, 4};
    TensorDifference d = between_types(DT_I32, a, DT_I32, a, 4, 1);
    cr_assert(d.identical && !d.measured);
    d = between_types(DT_I32, a, DT_I32, b, 4, 1);
    cr_assert(!d.identical && !d.measured);
    d = between_types(DT_I32, a, DT_F32, f, 4, 1);
    cr_assert(!d.identical && !d.measured);
}

typedef struct Seen {
    uint64_t done, total;
    bool back, beyond;
    uint64_t stop; /* at this many */
} Seen;

static int see(void *context, const char *phase, uint64_t done, uint64_t total) {
    Seen *s = context;
    cr_assert_str_eq(phase, "compare tensors");
    s->back |= done < s->done;
    s->beyond |= done > total;
    s->done = done, s->total = total;
    return s->stop && done >= s->stop;
}

/* Floats, quantized ones (equal, and not), unreadable ones and a pair that is passed over, by 1 and 3
 * threads.
 */
Test(validate_difference, many_tensors_by_threads) {
    float a[256], b[256];
    block_q8_0 q[8], p[8];
    uint32_t s = 9;
    Laid x[6], y[6];
    const Tensor *ta[6], *tb[6];
    TensorDifference one[6], three[6];
    for (int i = 0; i < 256; i++) a[i] = unit(&s), b[i] = a[i] + unit(&s) / 16;
    memset(q, 0, sizeof q);
    for (int i = 0; i < 8; i++) q[i].d = 0x3C00, q[i].qs[i] = 7;
    memcpy(p, q, sizeof q);
    p[5].qs[3] = 1;
    lay(&x[0], DT_F32, 64, 4, a), lay(&y[0], DT_F32, 64, 4, b);
    lay(&x[1], DT_Q8_0, 64, 4, q), lay(&y[1], DT_Q8_0, 64, 4, q);
    lay(&x[2], DT_Q8_0, 64, 4, q), lay(&y[2], DT_Q8_0, 64, 4, p);
    lay(&x[3], DT_I32, 64, 4, a), lay(&y[3], DT_F32, 64, 4, b);
    lay(&x[4], DT_I32, 64, 4, a), lay(&y[4], DT_I32, 64, 4, b);
    lay(&x[5], DT_F32, 64, 4, b), lay(&y[5], DT_Q8_0, 64, 4, p);
    for (int i = 0; i < 6; i++) ta[i] = &x[i].tensor, tb[i] = &y[i].tensor;
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        Seen seen = {0};
        Progress progress = {.update = see, .context = &seen};
        DifferenceOptions options = {.threads = threads, .progress = &progress};
        memset(three, 0xA5, sizeof three);
        OK(tensor_differences(threads == 1 ? one : three, 6, ta, tb, options, err));
        cr_assert_not(seen.back || seen.beyond);
        cr_assert_eq(seen.total, 6 * 256);
        cr_assert_eq(seen.done, seen.total);
    }
    for (int i = 0; i < 6; i++) {
        cr_assert(one[i].identical == three[i].identical && one[i].measured == three[i].measured);
        cr_assert(one[i].differ == three[i].differ && one[i].rmse == three[i].rmse &&
                  one[i].cosine == three[i].cosine && one[i].max == three[i].max);
    }
    figures_are(&one[0], a, b, 256);
    cr_assert(one[1].identical && !one[2].identical && one[2].differ == 1 && one[2].max == 1);
    tb[0] = NULL;
    OK(tensor_differences(three, 6, ta, tb, (DifferenceOptions){.threads = 2}, err));
    cr_assert(!three[0].measured && !three[0].identical && three[0].elements == 0);
    /* stopped by whoever watches */
    Error err = {0};
    Seen seen = {.stop = 1};
    Progress progress = {.update = see, .context = &seen};
    tb[0] = &y[0].tensor;
    cr_assert_eq(tensor_differences(three, 6, ta, tb, (DifferenceOptions){.progress = &progress}, &err),
                 ERR_INTERRUPTED);
    for (int i = 0; i < 6; i++) input_close(x[i].input), input_close(y[i].input);
}
