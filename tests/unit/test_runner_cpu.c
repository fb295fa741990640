/* Every kernel set that this processor has gives the bits of the reference: all weight types, odd sizes, one
 * vector and several. And the pool that they run on. */
#include "core/quantize.h"
#include "core/threads.h"
#include "fixture.h"
#include "runner/cpu/kernels.h"
#include "runner/ref/kernels.h"
#include "runner/ref/quantized.h"
#include <math.h>

enum { MOST_ROWS = 19, MOST_VECTORS = 9, MOST_COLUMNS = 768 };

static const DType quantized_types[] = {DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0,   DT_Q2_K,
                                        DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS};

typedef struct Case {
    DType type;
    size_t rows, columns, vectors;
    uint8_t *weights;
    size_t row_bytes;
    float *x; /* [MOST_VECTORS][columns] */
    uint32_t pick[MOST_VECTORS];
} Case;

/* kind 0: ordinary numbers; 1: with zeros, tiny and large ones. */
static float number(uint64_t *state, int kind) {
    float unit = (float)(fixture_random(state) >> 40) / 8388608.0f - 1;
    if (kind == 0) return unit;
    switch (fixture_random(state) % 5) {
    case 0: return 0;
    case 1: return unit * 1e-30f;
    case 2: return unit * 1000;
    case 3: return -0.0f;
    default: return unit;
    }
}

static void make(Case *c, uint64_t *state, int kind) {
    const DTypeInfo *info = dtype_info(c->type);
    size_t n = c->rows * c->columns;
    float *values = malloc(n * sizeof *values);
    c->row_bytes = c->columns / info->block * info->bytes;
    c->weights = malloc(c->rows * c->row_bytes + 1);
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
    }
    free(values);
}

static void clear(Case *c) {
    free(c->weights);
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
            cr_assert(memcmp(&expected, &out[i * MOST_ROWS + r], 4) == 0,
                      "%s, %s, %zu columns, row %zu of %zu, vector %zu of %zu: %a, not %a", k->name,
                      dtype_name(c->type), c->columns, r, c->rows, i, c->vectors,
                      (double)out[i * MOST_ROWS + r], (double)expected);
        }
    free(packed);
    free(scratch);
}

static void check_type(DType type, const size_t *columns, size_t n_columns) {
    static const size_t rows[] = {1, 2, 7, 8, 19}, vectors[] = {1, 2, 3, 4, 9};
    uint64_t state = 77 + (uint64_t)type;
    for (size_t s = 0; s < n_columns; s++)
        for (size_t r = 0; r < 5; r++)
            for (size_t v = 0; v < 5; v++) {
                Case c = {.type = type, .rows = rows[r], .columns = columns[s], .vectors = vectors[v]};
                make(&c, &state, (int)((r + v) % 2));
                const MatKernels *k;
                for (size_t i = 0; (k = mat_kernels_at(cpu_features(), i)); i++) check(k, &c, v % 2 == 1);
                clear(&c);
            }
}

Test(runner_cpu, float_weights) {
    static const size_t columns[] = {1, 31, 32, 33, 64, 100, 768};
    static const DType types[] = {DT_F32, DT_F16, DT_BF16};
    for (size_t t = 0; t < 3; t++) check_type(types[t], columns, 7);
}

Test(runner_cpu, quantized_weights) {
    static const size_t small[] = {32, 64, 96, 288, 768}, large[] = {256, 512, 768};
    for (size_t t = 0; t < sizeof quantized_types / sizeof quantized_types[0]; t++) {
        bool blocks_of_32 = dtype_info(quantized_types[t])->block == 32;
        check_type(quantized_types[t], blocks_of_32 ? small : large, blocks_of_32 ? 5 : 3);
    }
}

Test(runner_cpu, there_is_always_a_set) {
    cr_assert_not_null(mat_kernels(0));
    cr_assert_not_null(mat_kernels_at(0, 0));
    cr_assert_null(mat_kernels_at(0, 1), "without features there is the portable set alone");
    cr_assert_eq(mat_kernels(0), mat_kernels_at(0, 0));
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
