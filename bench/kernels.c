/* kernels.c -- what each kernel of the CPU runner reaches, for docs/performance.md: GB/s of weights for one
 * vector, from memory and from cache, and GFLOP/s for many.
 *
 *   kernels THREADS [TYPE]    one line a weight type; RECAST_CPU names the set
 *
 * Rows as long as Qwen3-30B-A3B's hidden size, random, 64 to an item as the runner takes them. */
#include "runner/cpu/kernels.h"
#include "core/cpu.h"
#include "core/quantize.h"
#include "core/threads.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLUMNS = 2048, ITEM = 64, MANY = 64 };

typedef struct Bench {
    const MatKernels *kernels;
    DType type;
    uint8_t *weights;
    size_t rows, row_bytes, n;
    uint8_t *x;
    size_t x_bytes;
    float *out;
    uint8_t *scratch;
} Bench;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int item(void *context, size_t index, unsigned thread, Error *err) {
    (void)err;
    Bench *b = context;
    MatTile tile = {.type = b->type,
                    .rows = b->weights + index * ITEM * b->row_bytes,
                    .row_bytes = b->row_bytes,
                    .n_rows = ITEM,
                    .columns = COLUMNS,
                    .x = b->x,
                    .x_bytes = b->x_bytes,
                    .n = b->n,
                    .out = b->out + index * ITEM,
                    .out_stride = b->rows,
                    .scratch = b->scratch + thread * mat_scratch(COLUMNS)};
    (dtype_is_float(b->type) ? b->kernels->floats : b->kernels->quantized)(&tile);
    return 0;
}

/* Best seconds for one product of `rows` rows and n vectors. */
static double timed(ThreadPool *pool, Bench *b, size_t rows, size_t n, size_t times) {
    double best = 1e9;
    b->rows = rows;
    b->n = n;
    for (int pass = 0; pass < 15; pass++) {
        double begin = seconds();
        for (size_t i = 0; i < times; i++)
            if (thread_pool_run(pool, rows / ITEM, (ThreadWork){item, b}, NULL)) exit(3);
        double took = (seconds() - begin) / (double)times;
        if (took < best) best = took;
    }
    return best;
}

static void *room(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) exit(3);
    return p;
}

static void bench_type(ThreadPool *pool, unsigned threads, const MatKernels *kernels, DType type) {
    const DTypeInfo *info = dtype_info(type);
    size_t row_bytes = COLUMNS / info->block * info->bytes, total = (size_t)600 << 20;
    size_t rows = total / row_bytes / ITEM * ITEM, near = 64 * threads;
    bool floats = dtype_is_float(type);
    Bench b = {.kernels = kernels, .type = type, .row_bytes = row_bytes};
    b.weights = room(rows * row_bytes + 64);
    for (size_t i = 0; i < rows * row_bytes; i++) b.weights[i] = (uint8_t)(i * 2654435761u >> 13) & 0x3B;
    if (floats)
        for (size_t i = 0; i < rows * row_bytes; i += 2) b.weights[i + 1] |= 0x30;
    b.x_bytes = floats ? COLUMNS * sizeof(float) : kernels->packed_bytes(COLUMNS);
    b.x = room(MANY * b.x_bytes);
    float x[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++) x[i] = (float)(i % 17) - 8;
    for (size_t k = 0; k < MANY; k++)
        if (floats)
            memcpy(b.x + k * b.x_bytes, x, sizeof x);
        else
            kernels->pack(b.x + k * b.x_bytes, type, x, COLUMNS);
    b.out = room((rows > near * MANY ? rows : near * MANY) * sizeof(float));
    b.scratch = room(threads * mat_scratch(COLUMNS));
    double far = timed(pool, &b, rows, 1, 1), close = timed(pool, &b, near, 1, 200);
    double many = timed(pool, &b, near, MANY, 20);
    printf("%-8s %7.1f %7.1f %8.0f\n", dtype_name(type), 1e-9 * (double)(rows * row_bytes) / far,
           1e-9 * (double)(near * row_bytes) / close, 2e-9 * (double)near * COLUMNS * MANY / many);
    free(b.weights);
    free(b.x);
    free(b.out);
    free(b.scratch);
}

int main(int argc, char **argv) {
    static const DType types[] = {DT_F32,  DT_F16,  DT_BF16, DT_Q8_0, DT_Q4_0, DT_Q4_1,   DT_Q5_0,  DT_Q5_1,
                                  DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS};
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    ThreadPool *pool;
    if (threads < 1 || thread_pool_open(&pool, threads, NULL, NULL)) return 2;
    const MatKernels *kernels = mat_kernels(cpu_features());
    printf("set %s, %u threads; GB/s of weights from memory, from cache; GFLOP/s with %d vectors\n",
           kernels->name, threads, MANY);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (argc < 3 || strcmp(argv[2], dtype_name(types[i])) == 0)
            bench_type(pool, threads, kernels, types[i]);
    thread_pool_close(pool);
    return 0;
}
