/* Every kernel set that this processor has gives the bits of the reference: all weight types, odd sizes, one
 * vector and several, ordinary numbers and any bytes; and so do whole passes. And the pool that they run on.
 */
#include "core/quantize.h"
#include "core/sha256.h"
#include "core/threads.h"
#include "fixture.h"
#include "model/model.h"
#include "retype_fixture.h"
#include "runner/cpu/kernels.h"
#include "runner/ref/kernels.h"
#include "runner/ref/ops.h"
#include "runner/ref/quantized.h"
#include "runner/runner.h"
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

/* Two times 32 blocks and some: lanes come round again. */
enum { MOST_ROWS = 19, MOST_VECTORS = 9, MOST_COLUMNS = 2304 };

static const DType quantized_types[] = {DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0,   DT_Q2_K,
                                        DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS};

typedef struct Case {
    DType type;
    size_t rows, columns, vectors;
    uint8_t *memory, *weights; /* weights = memory + 1: no alignment, and nothing behind them */
    size_t row_bytes;
    float *x; /* [MOST_VECTORS][columns] */
    uint32_t pick[MOST_VECTORS];
} Case;

enum { ORDINARY, MIXED, ANY_BYTES, ALL_SET, SIGN_SET, TINY, N_KINDS };

/* MIXED: with zeros, tiny and large ones; ALL_SET, SIGN_SET: all of one size; TINY: products underflow, to
 * zeros of both signs too. */
static float number(uint64_t *state, int kind) {
    float unit = (float)(fixture_random(state) >> 40) / 8388608.0f - 1;
    if (kind == ORDINARY || kind == ANY_BYTES) return unit;
    if (kind == ALL_SET || kind == SIGN_SET) return unit < -0.9f ? -3 : 3;
    if (kind == TINY) return unit * 1e-23f;
    switch (fixture_random(state) % 5) {
    case 0: return 0;
    case 1: return unit * 1e-30f;
    case 2: return unit * 1000;
    case 3: return -0.0f;
    default: return unit;
    }
}

/* Where a block has its d, and its m or dmin. */
static size_t scales_at(DType t) {
    return t == DT_Q2_K ? 80 : t == DT_Q3_K ? 108 : t == DT_Q6_K ? 208 : 0;
}

/* Bytes that no quantizer need have written, with finite scales. */
static void fill(Case *c, uint64_t *state, int kind) {
    size_t block = dtype_info(c->type)->bytes;
    bool two = c->type == DT_Q4_1 || c->type == DT_Q5_1 || c->type == DT_Q2_K || c->type == DT_Q4_K ||
               c->type == DT_Q5_K;
    for (size_t i = 0; i < c->rows * c->row_bytes; i++)
        c->weights[i] = kind == ALL_SET ? 0xFF : kind == SIGN_SET ? 0x80 : (uint8_t)fixture_random(state);
    for (uint8_t *b = c->weights; b < c->weights + c->rows * c->row_bytes; b += block)
        for (size_t k = 0; k < (two ? 2 : 1); k++) b[scales_at(c->type) + 2 * k + 1] &= 0xBF;
}

static void make(Case *c, uint64_t *state, int kind) {
    const DTypeInfo *info = dtype_info(c->type);
    size_t n = c->rows * c->columns;
    float *values = malloc(n * sizeof *values);
    c->row_bytes = c->columns / info->block * info->bytes;
    c->memory = malloc(c->rows * c->row_bytes + 1);
    c->weights = c->memory + 1;
    c->x = malloc(MOST_VECTORS * c->columns * sizeof *c->x);
    for (size_t i = 0; i < n; i++) values[i] = number(state, kind);
    for (size_t i = 0; i < MOST_VECTORS * c->columns; i++) c->x[i] = number(state, kind);
    for (size_t i = 0; i < c->vectors; i++) c->pick[i] = (uint32_t)(fixture_random(state) % MOST_VECTORS);
    if (dtype_is_float(c->type)) {
        for (size_t i = 0; i < n; i++) {
            uint16_t bits = (uint16_t)fixture_random(state);
            if (c->type == DT_F32)
                memcpy(c->weights + 4 * i, &values[i], 4);
            else { /* any finite half */
                if (c->type == DT_F16 ? (bits & 0x7C00) == 0x7C00 : (bits & 0x7F80) > 0x4200) bits &= 0x83FF;
                memcpy(c->weights + 2 * i, &bits, 2);
            }
        }
    } else {
        FloatRows rows = {.type = DT_F32, .data = values, .n_rows = c->rows, .row_elements = c->columns};
        Error err = {0};
        cr_assert_eq(quantize_rows(c->type, c->weights, &rows, &err), 0, "%s", err.message);
        if (kind >= ANY_BYTES && kind <= SIGN_SET) fill(c, state, kind);
    }
    free(values);
}

static void clear(Case *c) {
    free(c->memory);
    free(c->x);
}

static float reference(const Case *c, size_t row, const float *x) {
    const uint8_t *w = c->weights + row * c->row_bytes;
    if (dtype_is_float(c->type)) return kernel_dot(c->type, w, x, c->columns);
    ActBlock packed[MOST_COLUMNS / 32];
    quantized_activations(packed, x, c->columns);
    return quantized_dot(c->type, w, packed, c->columns);
}

static void *aligned(size_t bytes) {
    return aligned_alloc(MAT_ALIGNMENT, (bytes + MAT_ALIGNMENT) / MAT_ALIGNMENT * MAT_ALIGNMENT);
}

static void check(const MatKernels *k, const Case *c, bool picked) {
    bool floats = dtype_is_float(c->type);
    size_t x_bytes = floats ? c->columns * sizeof *c->x : k->packed_bytes(c->columns);
    uint8_t *packed = aligned(MOST_VECTORS * x_bytes);
    void *scratch = aligned(mat_scratch(c->columns));
    float out[MOST_VECTORS * MOST_ROWS];
    memset(out, 0x7F, sizeof out);
    for (size_t i = 0; i < MOST_VECTORS && !floats; i++)
        k->pack(packed + i * x_bytes, c->type, c->x + i * c->columns, c->columns);
    MatTile tile = {.type = c->type,
                    .rows = c->weights,
                    .row_bytes = c->row_bytes,
                    .n_rows = c->rows,
                    .columns = c->columns,
                    .x = floats ? (const uint8_t *)c->x : packed,
                    .x_bytes = x_bytes,
                    .pick = picked ? c->pick : NULL,
                    .n = c->vectors,
                    .out = out,
                    .out_stride = MOST_ROWS,
                    .scratch = scratch};
    if (floats)
        k->floats(&tile);
    else
        k->quantized(&tile);
    for (size_t i = 0; i < c->vectors; i++)
        for (size_t r = 0; r < c->rows; r++) {
            float expected = reference(c, r, c->x + (picked ? c->pick[i] : i) * c->columns);
            cr_assert(isfinite(expected));
            cr_assert(memcmp(&expected, &out[i * MOST_ROWS + r], 4) == 0,
                      "%s, %s, %zu columns, row %zu of %zu, vector %zu of %zu: %a, not %a", k->name,
                      dtype_name(c->type), c->columns, r, c->rows, i, c->vectors,
                      (double)out[i * MOST_ROWS + r], (double)expected);
        }
    free(packed);
    free(scratch);
}

static void check_type(DType type, const size_t *columns, size_t n_columns) {
    static const size_t rows[] = {1, 2, 7, 8, 19}, vectors[] = {1, 2, 3, 4, 8};
    uint64_t state = 77 + (uint64_t)type;
    for (size_t s = 0; s < n_columns; s++)
        for (size_t r = 0; r < 5; r++)
            for (size_t v = 0; v < 5; v++) {
                Case c = {.type = type, .rows = rows[r], .columns = columns[s], .vectors = vectors[v]};
                make(&c, &state, (int)((s + r + v) % N_KINDS));
                const MatKernels *k;
                for (size_t i = 0; (k = mat_kernels_at(cpu_features(), i)); i++) check(k, &c, v % 2 == 1);
                clear(&c);
            }
}

Test(runner_cpu, float_weights) {
    static const size_t columns[] = {1, 31, 32, 33, 64, 100, 776};
    static const DType types[] = {DT_F32, DT_F16, DT_BF16};
    for (size_t t = 0; t < 3; t++) check_type(types[t], columns, 7);
}

Test(runner_cpu, quantized_weights) {
    static const size_t small[] = {32, 64, 96, 288, 544, 768, 1056}, large[] = {256, 512, 768, 2304};
    for (size_t t = 0; t < sizeof quantized_types / sizeof quantized_types[0]; t++) {
        bool blocks_of_32 = dtype_info(quantized_types[t])->block == 32;
        check_type(quantized_types[t], blocks_of_32 ? small : large, blocks_of_32 ? 7 : 4);
    }
}

/* A NaN or an infinity among activations must reach the result, where a pass reports it, wherever it stands.
 */
Test(runner_cpu, numbers_that_are_none_reach_the_result) {
    uint64_t state = 3;
    for (size_t t = 0; t < sizeof quantized_types / sizeof quantized_types[0]; t++) {
        Case c = {.type = quantized_types[t], .rows = 1, .columns = 768, .vectors = 1};
        make(&c, &state, ORDINARY);
        for (size_t at = 0; at < c.columns; at += 7) {
            float kept = c.x[at];
            c.x[at] = at % 3 ? NAN : at % 2 ? INFINITY : -INFINITY;
            const MatKernels *k;
            for (size_t i = 0; (k = mat_kernels_at(cpu_features(), i)); i++) {
                uint8_t *packed = aligned(k->packed_bytes(c.columns));
                void *scratch = aligned(mat_scratch(c.columns));
                float out = 0;
                k->pack(packed, c.type, c.x, c.columns);
                MatTile tile = {.type = c.type,
                                .rows = c.weights,
                                .row_bytes = c.row_bytes,
                                .n_rows = 1,
                                .columns = c.columns,
                                .x = packed,
                                .n = 1,
                                .out = &out,
                                .scratch = scratch};
                k->quantized(&tile);
                cr_assert(!isfinite(out), "%s, %s, element %zu: %a", k->name, dtype_name(c.type), at, out);
                free(packed);
                free(scratch);
            }
            c.x[at] = kept;
        }
        clear(&c);
    }
}

Test(runner_cpu, there_is_always_a_set) {
    cr_assert_not_null(mat_kernels(0));
    cr_assert_not_null(mat_kernels_at(0, 0));
    cr_assert_null(mat_kernels_at(0, 1), "without features there is the portable set alone");
    cr_assert_eq(mat_kernels(0), mat_kernels_at(0, 0));
}

Test(runner_cpu, weighted_sums_of_values) {
    static const size_t dims[] = {16, 24, 64, 80, 128}, positions[] = {1, 2, 77, 256};
    enum { MOST_HEADS = 9, STRIDE = 256 };
    uint64_t state = 5;
    float *v = malloc(256 * 128 * sizeof *v), *p = malloc(MOST_HEADS * STRIDE * sizeof *p);
    for (size_t i = 0; i < 256 * 128; i++) v[i] = number(&state, (int)(i % 3 ? ORDINARY : MIXED));
    for (size_t i = 0; i < MOST_HEADS * STRIDE; i++) p[i] = fabsf(number(&state, MIXED));
    for (size_t d = 0; d < 5; d++)
        for (size_t n = 0; n < 4; n++)
            for (size_t heads = 1; heads <= MOST_HEADS; heads++) {
                const MatKernels *k;
                for (size_t i = 0; (k = mat_kernels_at(cpu_features(), i)); i++) {
                    float expected[128], o[MOST_HEADS * 128];
                    k->mix(o, p, STRIDE, v, positions[n], heads, dims[d]);
                    for (size_t h = 0; h < heads; h++) {
                        kernel_mix(expected, p + h * STRIDE, v, positions[n], dims[d]);
                        cr_assert(memcmp(expected, o + h * dims[d], dims[d] * sizeof *o) == 0,
                                  "%s, head %zu of %zu, %zu positions, %zu wide", k->name, h, heads,
                                  positions[n], dims[d]);
                    }
                }
            }
    free(v);
    free(p);
}

Test(runner_cpu, numbers_that_are_none_are_found_anywhere) {
    static float x[700];
    cr_assert_eq(first_nonfinite(x, 700), 700);
    for (size_t i = 0; i < 700; i++) {
        x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
        cr_assert_eq(first_nonfinite(x, 700), i);
        x[i] = i % 2 ? 3.4e38f : -3.4e38f;
    }
    cr_assert_eq(first_nonfinite(x, 700), 700);
}

/* ---- whole passes ---- */

/* What 70 tokens at once and two more give, in a process of its own: features are found once. */
static void pass_in_child(char hex[SHA256_HEX], const char *limit, DType type, unsigned threads) {
    int ends[2], status;
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        Model *base, *names, *model;
        Runner *r;
        Error err = {0};
        Sha256 *hash;
        uint32_t tokens[72];
        char got[SHA256_HEX];
        RunnerOptions options = {.context = 100, .threads = threads};
        for (uint32_t i = 0; i < 72; i++) tokens[i] = (i * i * 31 + 17 * i + 5) % 1000;
        bool ok = setenv("RECAST_CPU", limit, 1) == 0 && model_open(&base, FIXTURE_TINY, NULL, &err) == 0 &&
                  gguf_names_open(&names, base, NULL, NULL, &err) == 0 &&
                  retype_as(&model, names, type, NULL, &err) == 0 &&
                  runner_open(&r, model, options, NULL, &err) == 0 && sha256_open(&hash, NULL) == 0;
        for (size_t i = 0; ok && i < 3; i++) {
            ok = runner_forward(r, i ? tokens + 69 + i : tokens, i ? 1 : 70, &err) == 0;
            if (ok) sha256_update(hash, runner_logits(r), 1024 * sizeof(float));
        }
        if (ok) sha256_finish(hash, got);
        _exit(ok && write(ends[1], got, SHA256_HEX) == SHA256_HEX ? 0 : 1);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], hex, SHA256_HEX);
    close(ends[0]);
    cr_assert(waitpid(child, &status, 0) == child && status == 0 && n == SHA256_HEX, "%s, %s", limit,
              dtype_name(type));
}

Test(runner_cpu, passes_are_the_same_with_every_set, .timeout = 120) {
#if defined(__aarch64__)
    static const char *const limits[] = {"neon", "dotprod", "neon"};
#else
    static const char *const limits[] = {"avx2", "avx512", "vnni"};
#endif
    static const DType types[] = {DT_NONE, DT_F16, DT_Q8_0, DT_Q4_0, DT_Q5_1, DT_IQ4_NL};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        char expected[SHA256_HEX], hex[SHA256_HEX];
        pass_in_child(expected, "baseline", types[t], 1);
        for (size_t i = 0; i < 3; i++)
            for (unsigned threads = 1; threads <= 7; threads += threads == 1 ? 1 : 5) {
                pass_in_child(hex, limits[i], types[t], threads);
                cr_assert_str_eq(hex, expected, "%s, %s, %u threads", limits[i], dtype_name(types[t]),
                                 threads);
            }
    }
}

/* ---- the pool ---- */

typedef struct Marks {
    unsigned char done[1000];
    size_t fails_at; /* an item that fails; 1000: none */
} Marks;

static int mark(void *context, size_t index, unsigned thread, Error *err) {
    Marks *m = context;
    (void)thread;
    if (index >= m->fails_at) return error_set(err, ERR_CHECK, "item %zu", index);
    m->done[index]++;
    return 0;
}

Test(runner_cpu, a_pool_does_each_item_once_in_many_runs, .timeout = 60) {
    static const unsigned threads[] = {1, 2, 7};
    static Marks m;
    for (int t = 0; t < 3; t++) {
        ThreadPool *pool;
        Error err = {0};
        cr_assert_eq(thread_pool_open(&pool, threads[t], NULL, &err), 0, "%s", err.message);
        for (size_t run = 0; run < 400; run++) {
            size_t n = run % 10 == 0 ? 1000 : run % 9;
            memset(&m, 0, sizeof m);
            m.fails_at = 1000;
            cr_assert_eq(thread_pool_run(pool, n, (ThreadWork){mark, &m}, &err), 0, "%s", err.message);
            for (size_t i = 0; i < 1000; i++) cr_assert_eq(m.done[i], i < n, "run %zu, item %zu", run, i);
        }
        m.fails_at = 17;
        cr_assert_eq(thread_pool_run(pool, 1000, (ThreadWork){mark, &m}, &err), ERR_CHECK);
        cr_assert_str_eq(err.message, "item 17");
        thread_pool_close(pool);
    }
    thread_pool_close(NULL);
}
