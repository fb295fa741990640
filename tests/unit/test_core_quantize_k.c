/* K-quants: golden hashes, literals, layouts, and every path of this machine against the definition.
 *
 * The golden hashes are of bytes that llama.cpp's quantize_q2_K ... quantize_q6_K make (built without
 * floating-point contraction) of the same floats. The floats come from generators below that use integers,
 * and float32 where a result is exact or rounded once, so anyone can repeat them. */
#include "core/blocks.h"
#include "core/floats.h"
#include "core/quantize.h"
#include "core/sha256.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TYPES = 5, N_KINDS = 16 };

static const DType types[N_TYPES] = {DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K};

static size_t bytes_of(DType type) {
    return dtype_info(type)->bytes;
}

static bool can_run(const QuantizePath *path) {
    return (path->needs & ~cpu_features()) == 0;
}

static void *get(size_t n) {
    void *p = malloc(n);
    cr_assert_not_null(p);
    return p;
}

/* s <- s * 1664525 + 1013904223; the upper 24 bits of it. */
static uint32_t lcg(uint32_t *s) {
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static void hash_is(const void *data, size_t n, const char *start, const char *what) {
    char text[SHA256_HEX];
    Error err;
    cr_assert_eq(sha256_bytes(text, data, n, &err), 0, "%s", err.message);
    cr_assert_eq(strncmp(text, start, strlen(start)), 0, "%s: %s, not %s...", what, text, start);
}

/* Runs all paths on rows and compares each with the hash. */
static void all_paths_hash_to(DType type, const FloatRows *rows, const char *start) {
    const Quantizer *q = quantizer_of(type);
    cr_assert_not_null(q);
    size_t n = rows->n_rows * rows->row_elements, bytes = n / QK_K * bytes_of(type);
    uint8_t *out = get(bytes);
    for (size_t i = 0; i < q->n_paths; i++) {
        if (!can_run(&q->paths[i])) continue;
        char what[80];
        snprintf(what, sizeof what, "%s, %s, %s", dtype_name(type), q->paths[i].name,
                 rows->importance ? "importance" : "plain");
        memset(out, 0xAA, bytes);
        cr_assert_eq(q->paths[i].run(out, rows), n, "%s", what);
        hash_is(out, bytes, start, what);
    }
    free(out);
}

/* ---- golden: evenly spread numbers, 4 rows of 2048 ---- */

Test(core_quantize_k, even_rows_become_llama_cpps_bytes) {
    static const char *golden[N_TYPES][2] = {
        {"ad24c9c35b273af52f1aca5ea149b394", "03780bc4417822ec5dd856aa4d23efe4"},
        {"9389b20fa36e3011263dd4f09906750e", "cc923a0d35900dcebcb27f1dca8b6bf3"},
        {"b073a9905e30ef9140b5677afc65dfe3", "816a363a2b0d12fc886af566d9338cb1"},
        {"b30358479fec5fdc883e901de2e23744", "b976c429ad468439d8745fb92cd87cd7"},
        {"9a82225a03bceb065a526648ed871174", "4e76f660e8bbcb6b46bc2bedbbc84f5b"},
    };
    enum { ROW = 2048 };
    float *x = get(4 * ROW * sizeof *x), *w = get(ROW * sizeof *w);
    uint32_t s = 1;
    for (size_t i = 0; i < 4 * ROW; i++) x[i] = (float)((int32_t)lcg(&s) - 8388608) * 0x1p-27f;
    s = 2;
    for (size_t i = 0; i < ROW; i++) w[i] = (float)(lcg(&s) + 1) * 0x1p-24f;
    hash_is(x, 4 * ROW * sizeof *x, "84fee4f046637509", "the input");
    hash_is(w, ROW * sizeof *w, "c6e164c098cf5a12", "the importance");
    for (int t = 0; t < N_TYPES; t++)
        for (int weighted = 0; weighted < 2; weighted++) {
            FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 4, .row_elements = ROW};
            if (weighted) rows.importance = w;
            all_paths_hash_to(types[t], &rows, golden[t][weighted]);
        }
    free(x);
    free(w);
}

/* ---- golden: numbers of all kinds ---- */

/* Bell-shaped, about -1 ... 1. */
static float bell(uint32_t *s) {
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) sum += (int32_t)(lcg(s) >> 2);
    return (float)(sum - 8388608) * 0x1p-22f;
}

/* Element i of a super-block of a kind. */
static float odd_float(uint32_t *s, size_t kind, size_t i) {
    float x = bell(s);
    uint32_t r = lcg(s);
    switch (kind) {
    case 0: return x * 0x1p-5f;
    case 1: return x * x * x * 0x1p-4f;                /* heavy tails */
    case 2: return r % 10 ? 0 : x;                     /* sparse */
    case 3: return i / 16 % 3 ? x : r % 2 ? -0.0f : 0; /* sub-blocks of zeros */
    case 4: return -fabsf(x);
    case 5: return fabsf(x) + 0.25f;
    case 6: return (i / 16 % 2 ? 0.01f : -0.01f) * (float)(1 + i / 32); /* constant sub-blocks */
    case 7: return x * 1e-12f;
    case 8: return x * 3e3f;
    case 9: return (float)((int32_t)(r % 31) - 15) * 0.125f;                         /* ties */
    case 10: return r % 97 == 0 ? x * 1000 : x * 0.001f;                             /* outliers */
    case 11: return f32_from_bits((r & 1) << 31 | (r >> 1 & 0x7FFFFF));              /* denormal */
    case 12: return (i / 64 % 2 ? -0.01f : 0.01f) * (1 + (float)(r % 3) * 0x1p-23f); /* almost constant */
    case 13: return x * 2e-15f; /* around the smallest scale */
    case 14:
        return f32_from_bits((r & 1) << 31 | (uint32_t)(i / 16 * 31 % 128) << 23 |
                             (r >> 1));              /* of all sizes */
    default: return i == 77 ? x : r % 2 ? -0.0f : 0; /* one number */
    }
}

static float *odd_rows(size_t n, uint32_t seed) {
    float *x = get(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = odd_float(&seed, i / QK_K % N_KINDS, i % QK_K);
    return x;
}

/* Importances of kind 1: even; 2: with zeros; 3: of all sizes. 0: none. */
static float *odd_importance(size_t n, int kind) {
    if (kind == 0) return NULL;
    float *w = get(n * sizeof *w);
    uint32_t s = 4711;
    for (size_t i = 0; i < n; i++) {
        uint32_t r = lcg(&s);
        w[i] = (float)(lcg(&s) + 1) * 0x1p-24f;
        if (kind == 2 && r % 10 < 3) w[i] = 0;
        if (kind == 3) w[i] = f32_from_bits((107 + r % 40) << 23);
    }
    return w;
}

Test(core_quantize_k, odd_rows_become_llama_cpps_bytes) {
    static const char *golden[N_TYPES][4] = {
        {"9215d900dd421be4666d994523371e3b", "51bf9b29c5ce0df8b6dc4dbf4815cda2",
         "31101d771979138517ef4831fc4b105b", "873620fdaf915e6f9675c23434ef0c71"},
        {"73af8d78aa76335b639fdf7f27c1d1a4", "b683b0354e099889c3986d774669e1b3",
         "446992deaaf14037d75fcb5f04302c3e", "9ea59034e867269a7daa8bae2e2be7cf"},
        {"7174770ac94bc507262ac736628048e8", "fdc52cd1e44632bbf9b8dd5b5c568a24",
         "ab1380f1f40d19bfad24ae7aab7b0224", "44b2b70d7a2c2d20c9158366e2ff52d3"},
        {"0ccaa96328adbe5e4970eab2ff710668", "88ed6f0a5dfe9e25d323d2dcca1808f3",
         "c1434018a512810c6213f2ff78e3caf2", "de5a63ce9b1f34521273f5c847065fd6"},
        {"7e537982e1914533db1020778e1f2733", "181f6ef156298f283b66ef72e21c702a",
         "917f2e3e253d34f881941b9ce5b6d290", "1396bfa4f54940bd68baaaa7e7e76f49"},
    };
    enum { ROW = 5 * QK_K, ROWS = 16 };
    float *x = odd_rows(ROW * ROWS, 1);
    hash_is(x, ROW * ROWS * sizeof *x, "ddf36fb6444f1b0f", "the input");
    for (int kind = 0; kind < 4; kind++) {
        float *w = odd_importance(ROW, kind);
        FloatRows rows = {.type = DT_F32, .data = x, .n_rows = ROWS, .row_elements = ROW, .importance = w};
        for (int t = 0; t < N_TYPES; t++) all_paths_hash_to(types[t], &rows, golden[t][kind]);
        free(w);
    }
    free(x);
}

/* ---- all paths agree, from each float type and for each number of super-blocks ---- */

static void paths_agree(DType type, const FloatRows *rows) {
    const Quantizer *q = quantizer_of(type);
    size_t n = rows->n_rows * rows->row_elements, bytes = n / QK_K * bytes_of(type);
    uint8_t *want = get(bytes + 1), *got = get(bytes + 2);
    cr_assert_eq(q->paths[q->n_paths - 1].run(want, rows), n);
    for (size_t i = 0; i + 1 < q->n_paths; i++) {
        if (!can_run(&q->paths[i])) continue;
        memset(got, 0xAA, bytes + 2);
        cr_assert_eq(q->paths[i].run(got + 1, rows), n);
        cr_assert_eq(memcmp(got + 1, want, bytes), 0, "%s, %s from %s, %zu rows of %zu", dtype_name(type),
                     q->paths[i].name, dtype_name(rows->type), rows->n_rows, rows->row_elements);
        cr_assert(got[0] == 0xAA && got[bytes + 1] == 0xAA, "writes beyond its blocks");
    }
    free(want);
    free(got);
}

Test(core_quantize_k, every_path_gives_the_bits_of_the_definition) {
    static const DType from[] = {DT_F32, DT_F16, DT_BF16};
    enum { ROW = 3 * QK_K, ROWS = N_KINDS, N = ROW * ROWS };
    for (size_t k = 0; k < 3; k++) {
        float *x = odd_rows(N, 100 + (uint32_t)k);
        size_t size = bytes_of(from[k]);
        uint8_t *data = get(N * size + 1); /* elements begin at an odd address */
        cr_assert_eq(floats_convert(from[k], data + 1, DT_F32, x, N, NULL), 0);
        for (int kind = 0; kind < 4; kind++) {
            float *w = odd_importance(ROW, kind);
            FloatRows rows = {
                .type = from[k], .data = data + 1, .n_rows = ROWS, .row_elements = ROW, .importance = w};
            for (int t = 0; t < N_TYPES; t++) paths_agree(types[t], &rows);
            free(w);
        }
        free(x);
        free(data);
    }
}

Test(core_quantize_k, any_number_of_super_blocks_will_do) {
    float *x = odd_rows(34 * QK_K, 7), *w = odd_importance(34 * QK_K, 1);
    FloatRows rows = {.type = DT_F32, .data = x, .row_elements = QK_K};
    for (rows.n_rows = 0; rows.n_rows <= 34; rows.n_rows += rows.n_rows < 18 ? 1 : 8)
        for (int t = 0; t < N_TYPES; t++) {
            rows.importance = NULL;
            paths_agree(types[t], &rows);
            rows.importance = w;
            paths_agree(types[t], &rows);
        }
    /* A single row as long: each super-block has an importance of its own. */
    rows = (FloatRows){.type = DT_F32, .data = x, .n_rows = 1, .row_elements = 34 * QK_K, .importance = w};
    for (int t = 0; t < N_TYPES; t++) paths_agree(types[t], &rows);
    free(x);
    free(w);
}

/* ---- literals ---- */

Test(core_quantize_k, zeros_of_either_sign_are_all_zero_bytes) {
    float x[3 * QK_K], w[QK_K];
    for (int i = 0; i < 3 * QK_K; i++) x[i] = i % 3 ? 0 : -0.0f;
    for (int i = 0; i < QK_K; i++) w[i] = 1;
    for (int t = 0; t < N_TYPES; t++)
        for (int weighted = 0; weighted < 2; weighted++) {
            const Quantizer *q = quantizer_of(types[t]);
            FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 3, .row_elements = QK_K};
            if (weighted) rows.importance = w;
            for (size_t p = 0; p < q->n_paths; p++) {
                if (!can_run(&q->paths[p])) continue;
                uint8_t out[3 * sizeof(block_q6_K)];
                memset(out, 0xAA, sizeof out);
                cr_assert_eq(q->paths[p].run(out, &rows), (size_t)(3 * QK_K));
                for (size_t i = 0; i < 3 * bytes_of(types[t]); i++)
                    cr_assert_eq(out[i], 0, "%s, %s, byte %zu", dtype_name(types[t]), q->paths[p].name, i);
            }
        }
}

/* 0 ... 15 in steps of one: scale 1 in each sub-block, so d = 1/63, scales 63 and q the numbers themselves.
 */
Test(core_quantize_k, q4_k_of_its_own_lattice) {
    float x[QK_K], back[QK_K];
    for (int i = 0; i < QK_K; i++) x[i] = (float)(i * 7 % 16);
    block_q4_K b;
    Error err;
    FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 1, .row_elements = QK_K};
    cr_assert_eq(quantize_rows(DT_Q4_K, &b, &rows, &err), 0, "%s", err.message);
    cr_assert_eq(b.d, 0x2410); /* 1/63 = 1.015873 * 2^-6: 1 + 16.25/1024 */
    cr_assert_eq(b.dmin, 0);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(b.scales[i], 0xFF);     /* 63, and the upper bits of another 63 */
        cr_assert_eq(b.scales[i + 4], 0);    /* no minima */
        cr_assert_eq(b.scales[i + 8], 0x0F); /* the lower bits */
    }
    for (int i = 0; i < QK_K; i++) {
        int q = b.qs[i / 64 * 32 + i % 32] >> (i % 64 < 32 ? 0 : 4) & 15;
        cr_assert_eq(q, i * 7 % 16, "element %d: %d", i, q);
    }
    cr_assert_eq(dequantize(back, DT_Q4_K, &b, QK_K, &err), 0, "%s", err.message);
    for (int i = 0; i < QK_K; i++) cr_assert_float_eq(back[i], x[i], 0.01);
}

/* The finer the format, the nearer: mean square of the error over that of the numbers. */
Test(core_quantize_k, what_comes_back_is_near) {
    static const double most[N_TYPES] = {0.11, 0.03, 0.006, 0.0017, 0.0005};
    enum { N = 16 * QK_K };
    float *x = get(N * sizeof *x), *back = get(N * sizeof *x);
    uint8_t *out = get(16 * sizeof(block_q6_K));
    uint32_t s = 3;
    for (int i = 0; i < N; i++) x[i] = bell(&s);
    for (int t = 0; t < N_TYPES; t++) {
        FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 1, .row_elements = N};
        Error err;
        cr_assert_eq(quantize_rows(types[t], out, &rows, &err), 0, "%s", err.message);
        cr_assert_eq(dequantize(back, types[t], out, N, &err), 0, "%s", err.message);
        double wrong = 0, all = 0;
        for (int i = 0; i < N; i++) {
            wrong += ((double)back[i] - x[i]) * ((double)back[i] - x[i]);
            all += (double)x[i] * x[i];
        }
        cr_assert_lt(wrong / all, most[t], "%s: %g", dtype_name(types[t]), wrong / all);
        cr_assert_gt(wrong / all, most[t] / 10, "%s: %g", dtype_name(types[t]), wrong / all);
    }
    free(x);
    free(back);
    free(out);
}

/* ---- layouts: element i by the formulas of the formats ---- */

static float element_q2(const block_q2_K *b, int i) {
    int q = b->qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
    float d = f32_from_f16(b->d) * (float)(b->scales[i / 16] & 15);
    return d * (float)q - f32_from_f16(b->dmin) * (float)(b->scales[i / 16] >> 4);
}

static float element_q3(const block_q3_K *b, int i) {
    int j = i / 16, low = j < 8 ? b->scales[j] & 15 : b->scales[j - 8] >> 4;
    int scale = (low | (b->scales[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
    int q =
        (b->qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3) - (b->hmask[i % 32] >> (i / 32) & 1 ? 0 : 4);
    return f32_from_f16(b->d) * (float)scale * (float)q;
}

static float element_q45(uint16_t d, uint16_t dmin, const uint8_t *s, int i, int q) {
    int j = i / 32, scale, minimum;
    if (j < 4) {
        scale = s[j] & 63;
        minimum = s[j + 4] & 63;
    } else {
        scale = (s[j + 4] & 15) + 16 * (s[j - 4] >> 6);
        minimum = s[j + 4] / 16 + 16 * (s[j] >> 6);
    }
    return f32_from_f16(d) * (float)scale * (float)q - f32_from_f16(dmin) * (float)minimum;
}

static float element_q6(const block_q6_K *b, int i) {
    int h = i / 128, l = i % 32, quarter = i % 128 / 32;
    int low = b->ql[64 * h + l + 32 * (quarter % 2)] >> (quarter < 2 ? 0 : 4) & 15;
    int q = (low | (b->qh[32 * h + l] >> (2 * quarter) & 3) << 4) - 32;
    return f32_from_f16(b->d) * (float)b->scales[i / 16] * (float)q;
}

static float element(DType type, const void *block, int i) {
    const block_q4_K *b4 = block;
    const block_q5_K *b5 = block;
    int nibble = i / 64 * 32 + i % 32, shift = i % 64 < 32 ? 0 : 4;
    switch (type) {
    case DT_Q2_K: return element_q2(block, i);
    case DT_Q3_K: return element_q3(block, i);
    case DT_Q4_K: return element_q45(b4->d, b4->dmin, b4->scales, i, b4->qs[nibble] >> shift & 15);
    case DT_Q5_K:
        return element_q45(b5->d, b5->dmin, b5->scales, i,
                           (b5->qs[nibble] >> shift & 15) + 16 * (b5->qh[i % 32] >> (i / 32) & 1));
    default: return element_q6(block, i);
    }
}

Test(core_quantize_k, blocks_of_any_bytes_come_back_by_the_formulas) {
    enum { BLOCKS = 60 };
    uint8_t *blocks = get(BLOCKS * sizeof(block_q6_K));
    float *x = get(BLOCKS * QK_K * sizeof *x);
    uint32_t s = 5;
    for (int t = 0; t < N_TYPES; t++) {
        size_t bytes = bytes_of(types[t]);
        Error err;
        for (size_t i = 0; i < BLOCKS * bytes; i++) blocks[i] = (uint8_t)(lcg(&s) >> 7);
        cr_assert_eq(dequantize(x, types[t], blocks, BLOCKS * QK_K, &err), 0, "%s", err.message);
        for (int i = 0; i < BLOCKS * QK_K; i++) {
            float want = element(types[t], blocks + (size_t)(i / QK_K) * bytes, i % QK_K);
            if (isnan(want)) /* of an infinite or NaN d */
                cr_assert(isnan(x[i]));
            else
                cr_assert(f32_bits(x[i]) == f32_bits(want), "%s, element %d: %g, not %g",
                          dtype_name(types[t]), i, (double)x[i], (double)want);
        }
    }
    free(blocks);
    free(x);
}

/* ---- what is refused ---- */

/* Five rows of two super-blocks, with `value` at `bad`. */
static void refused(DType type, DType from, float value, size_t bad, const char *says) {
    enum { ROW = 2 * QK_K, N = 5 * ROW };
    static float w[ROW];
    uint8_t data[N * sizeof(float)], out[N / QK_K * sizeof(block_q6_K)];
    float x[N];
    uint32_t s = 9;
    for (int i = 0; i < N; i++) x[i] = bell(&s);
    for (int i = 0; i < ROW; i++) w[i] = 0.5f;
    x[bad] = value;
    cr_assert_eq(floats_convert(from, data, DT_F32, x, N, NULL), 0);
    for (int weighted = 0; weighted < 2; weighted++) {
        FloatRows rows = {.type = from, .data = data, .n_rows = 5, .row_elements = ROW, .first_row = 70};
        if (weighted) rows.importance = w;
        Error err;
        char place[80];
        snprintf(place, sizeof place, "row %zu, element %zu is %s", 70 + bad / ROW, bad % ROW, says);
        cr_assert_eq(quantize_rows(type, out, &rows, &err), ERR_NUMERIC, "%s: %s", dtype_name(type), place);
        cr_assert(strstr(err.message, place), "%s: %s", place, err.message);
        const Quantizer *q = quantizer_of(type);
        for (size_t p = 0; p < q->n_paths; p++)
            if (can_run(&q->paths[p]))
                cr_assert_eq(q->paths[p].run(out, &rows), bad / QK_K * QK_K, "%s, %s: %s", dtype_name(type),
                             q->paths[p].name, place);
    }
}

Test(core_quantize_k, nan_and_infinity_are_refused_with_their_place) {
    static const DType from[] = {DT_F32, DT_F16, DT_BF16};
    static const size_t places[] = {0, 255, 777, 2559};
    for (int t = 0; t < N_TYPES; t++)
        for (int k = 0; k < 3; k++)
            for (int p = 0; p < 4; p++) {
                refused(types[t], from[k], NAN, places[p], "NaN");
                refused(types[t], from[k], p % 2 ? INFINITY : -INFINITY, places[p], "infinite");
            }
}

Test(core_quantize_k, what_no_scale_can_say_is_refused_with_its_place) {
    for (int t = 0; t < N_TYPES; t++) {
        refused(types[t], DT_F32, 1e9f, 1300, "1e+09");
        refused(types[t], DT_F32, -1e9f, 300, "-1e+09");
        refused(types[t], DT_BF16, 0x1p64f, 2000, "1.84467e+19"); /* its square is infinite in float32 */
        refused(types[t], DT_F32, -3e38f, 511, "-3e+38");
    }
}

Test(core_quantize_k, large_numbers_are_taken_as_long_as_a_scale_can_say_them) {
    float x[QK_K] = {0}, back[QK_K];
    uint8_t out[sizeof(block_q6_K)];
    Error err;
    x[100] = 9e5f;
    x[17] = -9e5f;
    FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 1, .row_elements = QK_K};
    for (int t = 0; t < N_TYPES; t++) {
        paths_agree(types[t], &rows);
        cr_assert_eq(quantize_rows(types[t], out, &rows, &err), 0, "%s", err.message);
        cr_assert_eq(dequantize(back, types[t], out, QK_K, &err), 0);
        cr_assert_float_eq(back[100], 9e5f, 3.1e5);
        cr_assert_float_eq(back[17], -9e5f, 3.1e5);
    }
}
