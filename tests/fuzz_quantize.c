/* fuzz_quantize.c -- random and hostile rows through every quantizer, for sanitizers (`make fuzz`).
 *
 *     fuzz_quantize SECONDS [SEED]
 *
 * Each round takes a type, a float type, a shape, numbers of some kind and an importance or none, in buffers
 * of the exact size. Every path that this machine can run must stop where the definition stops and write what
 * it writes; what was written comes back as finite numbers; quantize_rows says yes or ERR_NUMERIC
 * accordingly. Blocks of random bytes are decoded as well. Prints the seed of a round that fails and exits
 * with 1. */
#include "core/floats.h"
#include "core/quantize.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const DType types[] = {DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0,   DT_Q2_K,
                              DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS};
enum { N_TYPES = sizeof types / sizeof types[0], N_KINDS = 14, N_IMPORTANCES = 7, N_EDGES = 12 };

typedef struct Round {
    uint64_t seed, state;
    const Quantizer *q;
    uint32_t kind, importance_kind; /* of numbers */
    FloatRows rows;
    size_t n, block, block_bytes, out_bytes;
} Round;

static uint64_t next(Round *r) { /* splitmix64 */
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint32_t below(Round *r, uint32_t n) {
    return (uint32_t)((next(r) >> 32) % n);
}

static float unit(Round *r) { /* from -1 to 1 */
    return (float)(next(r) >> 40) * 0x1p-23f - 1;
}

static void *allocated(size_t n) {
    void *p = malloc(n ? n : 1);
    if (!p) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    return p;
}

static void fail(const Round *r, const char *what, const char *path, size_t at) {
    fprintf(stderr, "seed %llu: %s from %s, numbers of kind %u, importance of kind %u, %s: %s (%zu)\n",
            (unsigned long long)r->seed, dtype_name(r->q->type), dtype_name(r->rows.type), r->kind,
            r->importance_kind, path, what, at);
    _Exit(1); /* no word of leaks */
}

/* ---- numbers ---- */

static const uint32_t edges[N_EDGES] = {0x00000000, 0x80000000, 0x00000001, 0x807FFFFF,
                                        0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x477FE000,
                                        0xC77FF000, 0x33800000, 0x3F800000, 0xBF800001};

/* Kinds 0 and 1 may hold NaN and infinity; `scale` is the same for a whole round. */
static float number(Round *r, uint64_t i, float scale) {
    float x = unit(r);
    switch (r->kind) {
    case 0: return f32_from_bits((uint32_t)next(r));
    case 1: return below(r, 4000) ? x : f32_from_bits(0x7F800000u | (uint32_t)next(r));
    case 2: return f32_from_bits((uint32_t)next(r) & 0xBFFFFFFF); /* below 2 */
    case 3: return f32_from_bits(edges[below(r, N_EDGES)]);
    case 4: return f32_from_bits((uint32_t)next(r) & 0x807FFFFF); /* subnormal */
    case 5: return x * x * x * scale;
    case 6: return i % 256 == r->seed % 256 ? scale : x * 1e-3f; /* one outlier a block */
    case 7: return scale;
    case 8: return i % 2 ? -0.0f : 0.0f;
    case 9: return (float)((int)below(r, 33) - 16) * 0.25f; /* ties */
    case 10: return below(r, 30) ? 0 : x * scale;
    case 11: return x * f32_from_bits((100 + below(r, 54)) << 23); /* magnitudes of all sizes */
    case 12: return below(r, 2) ? scale : -scale;
    default: return x * scale;
    }
}

static uint8_t *make_numbers(Round *r, size_t offset) {
    size_t size = dtype_info(r->rows.type)->bytes;
    uint8_t *data = allocated(r->n * size + offset);
    float scale = ldexpf(unit(r), (int)below(r, 200) - 160 + (below(r, 8) ? 0 : 88));
    for (size_t i = 0; i < r->n; i++) {
        float x = number(r, i, scale);
        Error err;
        if (r->kind == 0 && r->rows.type != DT_F32) { /* the bits of the type itself */
            uint16_t bits = (uint16_t)next(r);
            memcpy(data + offset + 2 * i, &bits, 2);
        } else if (floats_convert(r->rows.type, data + offset + i * size, DT_F32, &x, 1, &err)) {
            fail(r, err.message, "floats_convert", i);
        }
    }
    return data;
}

/* Finite and not negative: what imatrix.h promises. */
static float *make_importance(Round *r) {
    size_t n = r->rows.row_elements;
    if (!r->importance_kind) return NULL;
    float *w = allocated(n * sizeof *w);
    for (size_t i = 0; i < n; i++) {
        float x = fabsf(unit(r));
        switch (r->importance_kind) {
        case 1: w[i] = x; break;
        case 2: w[i] = below(r, 3) ? x * x * x * 1000 : 0; break;
        case 3: w[i] = 0; break;
        case 4: w[i] = below(r, 8) ? 0 : x * 1e-30f; break;
        case 5: w[i] = f32_from_bits((uint32_t)next(r) & 0x007FFFFF); break;
        default: w[i] = f32_from_bits((uint32_t)(next(r) % 0x7F800000)); break; /* any */
        }
    }
    return w;
}

/* ---- one round ---- */

static void check_decoded(const Round *r, const uint8_t *blocks, size_t n) {
    float *back = allocated(n * sizeof *back);
    Error err;
    if (dequantize(back, r->q->type, blocks, n, &err)) fail(r, err.message, "dequantize", 0);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(back[i])) fail(r, "a number that isn't finite comes back", "dequantize", i);
    free(back);
}

static void check_paths(const Round *r) {
    const Quantizer *q = r->q;
    uint8_t *want = allocated(r->out_bytes), *got = allocated(r->out_bytes);
    size_t done = q->paths[q->n_paths - 1].run(want, &r->rows);
    /* The four old formats weight by the mean square of a row: one with a bad block is left out as a whole.
     */
    size_t written = done < r->n && r->rows.importance ? done - done % r->rows.row_elements : done;
    size_t bytes = written / r->block * r->block_bytes;
    Error err = {0};
    if (done > r->n || done % r->block) fail(r, "no whole blocks were done", "the definition", done);
    check_decoded(r, want, written);
    for (size_t i = 0; i + 1 < q->n_paths; i++) {
        const QuantizePath *path = &q->paths[i];
        if (path->needs & ~cpu_features()) continue;
        memset(got, 0xAA, r->out_bytes);
        size_t its = path->run(got, &r->rows);
        if (its != done) fail(r, "it stops elsewhere than the definition", path->name, its);
        for (size_t k = 0; k < bytes; k++)
            if (got[k] != want[k]) fail(r, "another byte than the definition's", path->name, k);
    }
    int code = quantize_rows(q->type, got, &r->rows, &err);
    if (code != (done == r->n ? 0 : ERR_NUMERIC)) fail(r, err.message, "quantize_rows", (size_t)code);
    if (!code && memcmp(got, want, r->out_bytes)) fail(r, "other bytes", "quantize_rows", 0);
    free(want);
    free(got);
}

/* Whatever the bytes are, decoding reads and writes what it should and no more; numbers may be anything. */
static void decode_noise(Round *r) {
    uint8_t *noise = allocated(r->out_bytes);
    float *back = allocated(r->n * sizeof *back);
    Error err;
    for (size_t i = 0; i < r->out_bytes; i++) noise[i] = (uint8_t)next(r);
    if (dequantize(back, r->q->type, noise, r->n, &err)) fail(r, err.message, "dequantize", 0);
    free(noise);
    free(back);
}

static void run_round(uint64_t seed) {
    static const DType floats[] = {DT_F32, DT_F16, DT_BF16};
    Round r = {.seed = seed, .state = seed * 0xD1342543DE82EF95u};
    size_t offset = below(&r, 4);
    r.q = quantizer_of(types[below(&r, N_TYPES)]);
    if (!r.q) {
        fprintf(stderr, "a quantizer is missing\n");
        exit(2);
    }
    r.kind = below(&r, N_KINDS);
    r.importance_kind = below(&r, 2) ? 1 + below(&r, N_IMPORTANCES - 1) : 0;
    r.block = dtype_info(r.q->type)->block;
    r.block_bytes = dtype_info(r.q->type)->bytes;
    r.rows = (FloatRows){.type = floats[below(&r, 3)],
                         .n_rows = below(&r, 5),
                         .row_elements = r.block * (1 + below(&r, r.block == 256 ? 19 : 40))};
    r.n = r.rows.n_rows * r.rows.row_elements;
    r.out_bytes = r.n / r.block * r.block_bytes;
    uint8_t *data = make_numbers(&r, offset);
    float *importance = make_importance(&r);
    r.rows.data = data + offset;
    r.rows.importance = importance;
    check_paths(&r);
    decode_noise(&r);
    free(data);
    free(importance);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 10, start = now();
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) << 24, rounds = 0;
    printf("from seed %llu, for %g s\n", (unsigned long long)seed, seconds);
    fflush(stdout);
    do run_round(seed + rounds++);
    while (now() - start < seconds);
    printf("%llu rounds, nothing found\n", (unsigned long long)rounds);
    return 0;
}
