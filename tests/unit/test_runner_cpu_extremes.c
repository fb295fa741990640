/* Every kernel set against the reference at the ends of what there is: weights of bytes that give the largest
 * integers of either sign, scales that are infinite or none, activations that are infinite or none. What is
 * finite is the same to the bit; what isn't, isn't anywhere. */
#include "core/blocks.h"
#include "fixture.h"
#include "runner/cpu/kernels.h"
#include "runner/ref/kernels.h"
#include "runner/ref/quantized.h"
#include <math.h>

enum { COLUMNS = 1280, ROWS = 5, VECTORS = 4 };

static const DType types[] = {DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0,   DT_Q2_K,
                              DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS};

/* Columns that end within a group of four, eight or sixteen blocks. */
static const size_t columns_of_32[] = {32, 160, 1120, 1280}, columns_of_256[] = {256, 768, 1280, 1280};

enum { BYTES_0, BYTES_7F, BYTES_80, BYTES_FF, BYTES_88, ANY, ANY_SCALE, N_WEIGHTS };
enum { LEVEL, ALTERNATE, RANDOM, SUBNORMAL, ONE_NAN, ONE_INFINITE, HUGE_ONES, N_ACTIVATIONS };

typedef struct Inputs {
    DType type;
    size_t columns, row_bytes;
    uint8_t weights[ROWS * COLUMNS * 2];
    float x[VECTORS * COLUMNS];
} Inputs;

static void fill_weights(Inputs *in, int kind, uint64_t *state) {
    static const uint8_t fixed[] = {0, 0x7F, 0x80, 0xFF, 0x88};
    const DTypeInfo *info = dtype_info(in->type);
    size_t d = in->type == DT_Q2_K ? 80 : in->type == DT_Q3_K ? 108 : in->type == DT_Q6_K ? 208 : 0;
    bool two = in->type == DT_Q4_1 || in->type == DT_Q5_1 || in->type == DT_Q2_K || in->type == DT_Q4_K ||
               in->type == DT_Q5_K;
    in->row_bytes = in->columns / info->block * info->bytes;
    for (size_t i = 0; i < ROWS * in->row_bytes; i++)
        in->weights[i] = kind < ANY ? fixed[kind] : (uint8_t)fixture_random(state);
    if (kind == ANY_SCALE) return;
    for (size_t i = 0; i < ROWS * in->row_bytes; i += info->bytes)
        for (size_t k = 0; k < (two ? 2 : 1); k++) in->weights[i + d + 2 * k + 1] &= 0xBF; /* finite */
}

static void fill_activations(float *x, size_t n, int kind, uint64_t *state) {
    for (size_t i = 0; i < n; i++) {
        float unit = (float)(fixture_random(state) >> 40) / 8388608.0f - 1;
        x[i] = kind == LEVEL       ? 2.5f
               : kind == ALTERNATE ? (i % 2 ? -2.5f : 2.5f)
               : kind == SUBNORMAL ? unit * 1e-36f
               : kind == HUGE_ONES ? unit * 3e38f
                                   : unit;
    }
    size_t at = fixture_random(state) % n;
    if (kind == ONE_NAN) x[at] = fixture_random(state) % 2 ? NAN : -NAN;
    if (kind == ONE_INFINITE) x[at] = fixture_random(state) % 2 ? INFINITY : -INFINITY;
}

static bool same(float a, float b) {
    return isfinite(a) ? memcmp(&a, &b, sizeof a) == 0 : !isfinite(b);
}

static void check(const MatKernels *k, const Inputs *in, size_t vectors) {
    bool floats = dtype_is_float(in->type);
    size_t x_bytes = floats ? in->columns * sizeof(float) : k->packed_bytes(in->columns);
    uint8_t *packed = aligned_alloc(MAT_ALIGNMENT, (VECTORS * x_bytes / MAT_ALIGNMENT + 1) * MAT_ALIGNMENT);
    void *scratch = aligned_alloc(MAT_ALIGNMENT, mat_scratch(in->columns));
    float out[VECTORS * ROWS];
    ActBlock acts[COLUMNS / 32];
    for (size_t i = 0; i < vectors && !floats; i++)
        k->pack(packed + i * x_bytes, in->type, in->x + i * in->columns, in->columns);
    MatTile tile = {.type = in->type,
                    .rows = in->weights,
                    .row_bytes = in->row_bytes,
                    .n_rows = ROWS,
                    .columns = in->columns,
                    .x = floats ? (const uint8_t *)in->x : packed,
                    .x_bytes = x_bytes,
                    .n = vectors,
                    .out = out,
                    .out_stride = ROWS,
                    .scratch = scratch};
    (floats ? k->floats : k->quantized)(&tile);
    for (size_t i = 0; i < vectors; i++) {
        const float *x = in->x + i * in->columns;
        if (!floats) quantized_activations(acts, x, in->columns);
        for (size_t r = 0; r < ROWS; r++) {
            const uint8_t *row = in->weights + r * in->row_bytes;
            float expected = floats ? kernel_dot(in->type, row, x, in->columns)
                                    : quantized_dot(in->type, row, acts, in->columns);
            cr_assert(same(expected, out[i * ROWS + r]),
                      "%s, %s, %zu columns, row %zu, vector %zu: %a, not %a", k->name, dtype_name(in->type),
                      in->columns, r, i, (double)out[i * ROWS + r], (double)expected);
        }
    }
    free(packed);
    free(scratch);
}

static void check_all(const Inputs *in) {
    const MatKernels *k;
    for (size_t i = 1; (k = mat_kernels_at(cpu_features(), i)); i++)
        for (size_t vectors = 1; vectors <= VECTORS; vectors++) check(k, in, vectors);
}

Test(runner_cpu_extremes, quantized_weights) {
    static Inputs in;
    uint64_t state = 99;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t c = 0; c < 4; c++)
            for (int w = 0; w < N_WEIGHTS; w++)
                for (int a = 0; a < N_ACTIVATIONS; a++) {
                    in.type = types[t];
                    in.columns = dtype_info(types[t])->block == 32 ? columns_of_32[c] : columns_of_256[c];
                    fill_weights(&in, w, &state);
                    for (size_t v = 0; v < VECTORS; v++)
                        fill_activations(in.x + v * in.columns, in.columns, v ? a : RANDOM, &state);
                    check_all(&in);
                }
}

/* Halves of any bits: infinities, NaN, subnormals. */
Test(runner_cpu_extremes, float_weights) {
    static const DType floats[] = {DT_F16, DT_BF16};
    static Inputs in;
    uint64_t state = 98;
    for (size_t t = 0; t < 2; t++)
        for (in.columns = 1; in.columns < 200; in.columns += 9)
            for (int a = 0; a < N_ACTIVATIONS; a++) {
                in.type = floats[t];
                in.row_bytes = 2 * in.columns;
                for (size_t i = 0; i < ROWS * in.row_bytes; i++) {
                    in.weights[i] = (uint8_t)fixture_random(&state);
                    if (a % 2 && i % 2) in.weights[i] &= 0xBF; /* some rows without */
                }
                for (size_t v = 0; v < VECTORS; v++)
                    fill_activations(in.x + v * in.columns, in.columns, v ? a : RANDOM, &state);
                check_all(&in);
            }
}

/* One that is none among the activations is seen in the result, whatever it meets. */
Test(runner_cpu_extremes, none_is_never_lost) {
    static Inputs in;
    uint64_t state = 97;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        ActBlock acts[8];
        in.type = types[t];
        in.columns = 256;
        fill_weights(&in, BYTES_0, &state);
        fill_activations(in.x, VECTORS * in.columns, RANDOM, &state);
        for (size_t v = 0; v < VECTORS; v++) in.x[v * in.columns + 77 * v] = NAN;
        quantized_activations(acts, in.x, in.columns);
        cr_assert(isnan(quantized_dot(in.type, in.weights, acts, in.columns)));
        check_all(&in);
    }
}
