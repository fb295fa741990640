/* quantize_fixture.h -- rows to quantize, and checks that hold for every format. For test_core_quantize_*.c.
 */
#ifndef RECAST_TESTS_QUANTIZE_FIXTURE_H
#define RECAST_TESTS_QUANTIZE_FIXTURE_H

#include "core/floats.h"
#include "core/quantize_private.h"
#include "core/sha256.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const DType float_types[] = {DT_F32, DT_F16, DT_BF16};

static inline void *allocated(size_t n) {
    void *p = malloc(n);
    cr_assert_not_null(p);
    return p;
}

static inline bool can_run(const QuantizePath *path) {
    return (path->needs & ~cpu_features()) == 0;
}

static inline size_t block_of(const Quantizer *q) {
    return dtype_info(q->type)->block;
}

static inline size_t bytes_of(DType type) {
    return dtype_info(type)->bytes;
}

static inline void hash_starts(const void *data, size_t n, const char *hex, const char *what) {
    char text[SHA256_HEX];
    Error err;
    cr_assert_eq(sha256_bytes(text, data, n, &err), 0, "%s", err.message);
    cr_assert_eq(strncmp(text, hex, strlen(hex)), 0, "%s: %s, not %s...", what, text, hex);
}

/* ---- golden: s <- s * 1664525 + 1013904223; u: its upper 24 bits ---- */

enum { GOLDEN_ROWS = 4, GOLDEN_COLUMNS = 2048, GOLDEN = GOLDEN_ROWS * GOLDEN_COLUMNS };

static inline uint32_t lcg(uint32_t *s) {
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

/* From s = 1, x = (u - 2^23) * 2^-27; from s = 2, weights (u + 1) * 2^-24. */
static inline void golden(float *x, float *weights) {
    uint32_t s = 1;
    for (int i = 0; i < GOLDEN; i++) x[i] = (float)((int32_t)lcg(&s) - 8388608) * 0x1p-27f;
    s = 2;
    for (int i = 0; i < GOLDEN_COLUMNS; i++) weights[i] = (float)(lcg(&s) + 1) * 0x1p-24f;
    hash_starts(x, GOLDEN * sizeof *x, "84fee4f046637509", "the golden rows");
    hash_starts(weights, GOLDEN_COLUMNS * sizeof *weights, "c6e164c098cf5a12", "the golden importance");
}

/* Every path's bytes have these hashes, those of llama.cpp's: without and with an importance. */
static inline void golden_is(const Quantizer *q, const char *plain, const char *weighted) {
    float *x = allocated(GOLDEN * sizeof *x), *weights = allocated(GOLDEN_COLUMNS * sizeof *weights);
    size_t bytes = GOLDEN / block_of(q) * bytes_of(q->type);
    uint8_t *out = allocated(bytes);
    golden(x, weights);
    FloatRows rows = {.type = DT_F32, .data = x, .n_rows = GOLDEN_ROWS, .row_elements = GOLDEN_COLUMNS};
    for (size_t i = 0; i < 2 * q->n_paths; i++) {
        const QuantizePath *path = &q->paths[i / 2];
        if (!can_run(path)) continue;
        rows.importance = i % 2 ? weights : NULL;
        memset(out, 0xAA, bytes);
        cr_assert_eq(path->run(out, &rows), (size_t)GOLDEN);
        hash_starts(out, bytes, i % 2 ? weighted : plain, path->name);
    }
    free(x);
    free(weights);
    free(out);
}

/* ---- one block by every path ---- */

/* Gives how many elements were done, the same by every path, and with them the same bytes. */
static inline size_t one_block(const Quantizer *q, const float *x, const float *importance, uint8_t *block) {
    size_t n = block_of(q), bytes = bytes_of(q->type);
    FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 1, .row_elements = n, .importance = importance};
    size_t done = q->paths[q->n_paths - 1].run(block, &rows);
    for (size_t i = 0; i + 1 < q->n_paths; i++) {
        uint8_t other[256];
        if (!can_run(&q->paths[i])) continue;
        memset(other, 0xAA, sizeof other);
        cr_assert_eq(q->paths[i].run(other, &rows), done, "%s", q->paths[i].name);
        if (done == n) cr_assert_eq(memcmp(other, block, bytes), 0, "%s", q->paths[i].name);
    }
    return done;
}

static inline void block_is(const Quantizer *q, const float *x, const float *importance,
                            const uint8_t *want) {
    uint8_t block[256];
    cr_assert_eq(one_block(q, x, importance, block), block_of(q));
    for (size_t i = 0; i < bytes_of(q->type); i++)
        cr_assert_eq(block[i], want[i], "%s, byte %zu: %02x, not %02x", dtype_name(q->type), i, block[i],
                     want[i]);
}

/* ---- all paths agree ---- */

static inline uint32_t next(uint32_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

/* About normal, about one. */
static inline float bell(uint32_t *s) {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += (float)(next(s) >> 8) * 0x1p-24f;
    return sum - 3;
}

enum { N_KINDS = 14 };

/* A number of a kind; `block` is the number of its block of 32. */
static inline float odd_float(uint32_t *s, uint32_t kind, size_t block) {
    float x = bell(s);
    uint32_t r = next(s);
    switch (kind) {
    case 0: return x * 0.02f;
    case 1: return x * x * x;         /* heavy tails */
    case 2: return r % 10 ? 0 : x;    /* sparse */
    case 3: return block % 3 ? x : 0; /* whole blocks of zeros */
    case 4: return block % 2 ? fabsf(x) : -fabsf(x);
    case 5: return (float)(int)(block % 7) - 3;         /* constant */
    case 6: return (float)((int)(r % 33) - 16) * 0.25f; /* ties everywhere */
    case 7: return r % 40 ? 0 : r & 4096 ? 1 : -1;      /* equal magnitudes */
    case 8: return r & 1 ? -0.0f : r % 3 ? 0 : x * 0x1p-140f;
    case 9: return f32_from_bits(r & 0x80FFFFFF);    /* subnormal, or just above */
    case 10: return ldexpf(x, (int)(r % 60) - 50);   /* magnitudes of all sizes */
    case 11: return x * 2e-14f * (float)(block % 4); /* near the limit of searches */
    case 12: return r % 2 ? -0.0f : 0.0f;
    default: return x * 3e3f;
    }
}

/* Importances of a kind: none, plain, with zeros, nearly all zero and tiny. */
static inline const float *odd_importance(float *weights, size_t n, uint32_t kind, uint32_t *s) {
    for (size_t i = 0; i < n; i++) {
        weights[i] = fabsf(bell(s));
        if (kind == 2 && next(s) % 3 == 0) weights[i] = 0;
        if (kind == 3) weights[i] = next(s) % 8 ? 0 : weights[i] * 1e-20f;
    }
    return kind ? weights : NULL;
}

/* Rows of every kind, type and importance: each path gives the bytes of the definition. Lengths are no
 * multiples of what paths take at once, and nothing is aligned. */
static inline void paths_agree(const Quantizer *q) {
    size_t block = block_of(q), columns = block * 7, n_rows = 5, n = columns * n_rows;
    size_t bytes = n / block * bytes_of(q->type);
    uint8_t *data = allocated(4 * n + 1), *want = allocated(bytes + 1), *got = allocated(bytes + 1);
    float *weights = allocated(columns * sizeof *weights);
    uint32_t s = 12345;
    for (uint32_t i = 0; i < 3 * N_KINDS * 4; i++) {
        DType type = float_types[i % 3];
        for (size_t k = 0; k < n; k++) {
            float x = odd_float(&s, i / 3 % N_KINDS, k / 32);
            cr_assert_eq(floats_convert(type, data + 1 + k * bytes_of(type), DT_F32, &x, 1, NULL), 0);
        }
        FloatRows rows = {.type = type, .data = data + 1, .n_rows = n_rows, .row_elements = columns};
        rows.importance = odd_importance(weights, columns, i / 3 / N_KINDS, &s);
        cr_assert_eq(q->paths[q->n_paths - 1].run(want + 1, &rows), n);
        for (size_t p = 0; p + 1 < q->n_paths; p++) {
            if (!can_run(&q->paths[p])) continue;
            memset(got, 0xAA, bytes + 1);
            cr_assert_eq(q->paths[p].run(got + 1, &rows), n, "%s, kind %u", q->paths[p].name, i);
            cr_assert_eq(memcmp(got + 1, want + 1, bytes), 0, "%s, %s from %s, kind %u", q->paths[p].name,
                         dtype_name(q->type), dtype_name(type), i);
        }
    }
    free(data);
    free(want);
    free(got);
    free(weights);
}

/* ---- what is refused ---- */

/* Every path stops at the block of `columns`-wide rows that has element `bad`. */
static inline void all_stop_at(const Quantizer *q, const FloatRows *rows, size_t bad) {
    uint8_t *out = allocated(rows->n_rows * rows->row_elements / block_of(q) * bytes_of(q->type));
    for (size_t i = 0; i < q->n_paths; i++)
        if (can_run(&q->paths[i]))
            cr_assert_eq(q->paths[i].run(out, rows), bad / block_of(q) * block_of(q), "%s, %s, element %zu",
                         dtype_name(q->type), q->paths[i].name, bad);
    free(out);
}

/* NaN, infinity and 2^40 among small numbers, in every float type, without and with an importance. */
static inline void bad_numbers_are_refused(const Quantizer *q) {
    static const float bad_numbers[] = {NAN, -NAN, INFINITY, -INFINITY, 0x1p40f, -0x1p127f};
    size_t columns = 3 * block_of(q), n_rows = 19, n = columns * n_rows;
    const size_t places[] = {0, 31, columns + block_of(q), n / 2 + 5, n - 1};
    float *weights = allocated(columns * sizeof *weights);
    for (size_t i = 0; i < columns; i++) weights[i] = i % 5 ? 0.5f : 0;
    for (size_t i = 0; i < 6 * 5 * 3; i++) {
        size_t place = places[i / 6 % 5];
        DType type = float_types[i / 30];
        uint8_t *data = allocated(n * bytes_of(type));
        for (size_t k = 0; k < n; k++) {
            float x = k == place ? bad_numbers[i % 6] : (float)(k % 9) - 4;
            cr_assert_eq(floats_convert(type, data + k * bytes_of(type), DT_F32, &x, 1, NULL), 0);
        }
        FloatRows rows = {.type = type, .data = data, .n_rows = n_rows, .row_elements = columns};
        all_stop_at(q, &rows, place);
        rows.importance = weights;
        all_stop_at(q, &rows, place);
        free(data);
    }
    free(weights);
}

/* A block of zeros with x[0] = x[1] = `first` fits, and isn't with the next number away from zero. */
static inline void largest_is(const Quantizer *q, float first) {
    float x[QK_K] = {first, first};
    uint8_t block[256];
    cr_assert_eq(one_block(q, x, NULL, block), block_of(q), "%s", dtype_name(q->type));
    x[0] = x[1] = nextafterf(first, first * 2);
    cr_assert_eq(one_block(q, x, NULL, block), 0u, "%s", dtype_name(q->type));
}

#endif
