/* Quantizers: literals worked out by hand, golden hashes, and every path of this machine against the
 * definition. The golden hashes are of the bytes that llama.cpp's quantize_row_q8_0_ref makes of the same
 * floats; the floats come from a generator that anyone can repeat. */
#include "core/blocks.h"
#include "core/floats.h"
#include "core/quantize.h"
#include "core/sha256.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const DType float_types[] = {DT_F32, DT_F16, DT_BF16};

static size_t element_bytes(DType type) {
    return dtype_info(type)->bytes;
}

/* Runs one path on one row of n elements. */
static size_t run_path(const QuantizePath *path, void *out, DType from, const void *in, size_t n) {
    FloatRows rows = {.type = from, .data = in, .n_rows = 1, .row_elements = n};
    return path->run(out, &rows);
}

static bool can_run(const QuantizePath *path) {
    return (path->needs & ~cpu_features()) == 0; /* kept; asking the processor is slow in a virtual machine */
}

static block_q8_0 q8_block(const float x[32]) {
    block_q8_0 b;
    FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 1, .row_elements = 32};
    Error err;
    cr_assert_eq(quantize_rows(DT_Q8_0, &b, &rows, &err), 0, "%s", err.message);
    return b;
}

/* ---- the table ---- */

Test(core_quantize, every_quantizer_ends_with_a_definition_that_needs_nothing) {
    size_t found = 0;
    for (int type = 0; type < 256; type++) {
        const Quantizer *q = quantizer_of((DType)type);
        if (!q) continue;
        found++;
        cr_assert_eq(q->type, (DType)type);
        cr_assert_gt(dtype_info(q->type)->block, 1u);
        cr_assert_eq(q->paths[q->n_paths - 1].needs, 0u);
        cr_assert_str_eq(q->paths[q->n_paths - 1].name, "definition");
        cr_assert_not_null(q->dequantize);
        cr_assert_eq(quantizer_path(q, UINT32_MAX), &q->paths[0], "the fastest stands first");
        cr_assert_eq(quantizer_path(q, 0)->needs, 0u);
    }
    cr_assert_geq(found, 1u);
    cr_assert_null(quantizer_of(DT_F32));
}

Test(core_quantize, other_types_and_partial_blocks_are_refused) {
    float x[64] = {0};
    uint8_t out[128];
    FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 2, .row_elements = 16};
    Error err;
    cr_assert_eq(quantize_rows(DT_Q8_0, out, &rows, &err), ERR_UNSUPPORTED);
    cr_assert(strstr(err.message, "32"), "%s", err.message);
    rows.row_elements = 32;
    cr_assert_eq(quantize_rows(DT_BF16, out, &rows, &err), ERR_UNSUPPORTED);
    rows.type = DT_I32;
    cr_assert_eq(quantize_rows(DT_Q8_0, out, &rows, &err), ERR_UNSUPPORTED);
    cr_assert_eq(dequantize(x, DT_F16, out, 32, &err), ERR_UNSUPPORTED);
    cr_assert_eq(dequantize(x, DT_Q8_0, out, 33, &err), ERR_UNSUPPORTED);
    rows = (FloatRows){.type = DT_F32, .data = x, .n_rows = 0, .row_elements = 32};
    cr_assert_eq(quantize_rows(DT_Q8_0, out, &rows, &err), 0, "no rows are no error");
}

/* ---- Q8_0: golden ---- */

/* s <- s * 1664525 + 1013904223 from s = 1; x = (s / 256 - 2^23) * 2^-27. */
static float *golden_rows(size_t n) {
    float *x = malloc(n * sizeof *x);
    cr_assert_not_null(x);
    uint32_t s = 1;
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)((int32_t)(s >> 8) - 8388608) * 0x1p-27f;
    }
    return x;
}

static void hash_starts(const void *data, size_t n, const char *hex) {
    char text[SHA256_HEX];
    Error err;
    cr_assert_eq(sha256_bytes(text, data, n, &err), 0, "%s", err.message);
    cr_assert_eq(strncmp(text, hex, strlen(hex)), 0, "%s, not %s...", text, hex);
}

Test(core_quantize, q8_0_is_llama_cpps_to_the_byte) {
    enum { N = 8192 };
    float *x = golden_rows(N);
    hash_starts(x, N * sizeof *x, "84fee4f046637509");
    const Quantizer *q = quantizer_of(DT_Q8_0);
    uint8_t *out = malloc(N / 32 * 34);
    for (size_t i = 0; i < q->n_paths; i++) {
        if (!can_run(&q->paths[i])) continue;
        memset(out, 0xAA, N / 32 * 34);
        cr_assert_eq(run_path(&q->paths[i], out, DT_F32, x, N), (size_t)N);
        hash_starts(out, N / 32 * 34, "b34fe71b9e066678ef3d2b49b23ee2e2");
    }
    free(x);
    free(out);
}

/* ---- Q8_0: literals ---- */

Test(core_quantize, q8_0_rounds_halves_away_from_zero) {
    /* The largest is 127, so d is 1 and elements are rounded as they are. */
    float x[32] = {127,    0.5f,  -0.5f, 1.5f,  -1.5f,  2.5f,        -2.5f,        125.5f,    -126.5f,
                   126.5f, -0.0f, 0,     0.25f, -0.25f, 0.49999997f, -0.49999997f, 3.4999998f};
    int8_t want[32] = {127, 1, -1, 2, -2, 3, -3, 126, -127, 127, 0, 0, 0, 0, 0, 0, 3};
    block_q8_0 b = q8_block(x);
    cr_assert_eq(b.d, 0x3C00);
    for (int i = 0; i < 32; i++) cr_assert_eq(b.qs[i], want[i], "element %d: %d", i, b.qs[i]);
}

Test(core_quantize, q8_0_divides_by_the_scale_before_it_is_rounded) {
    /* d = 1.0003 is 1 + 0.3 * 2^-10 and becomes 1 as float16. 63.515 / 1.0003 = 63.496 -> 63; by the rounded
     * scale it would be 64. */
    float x[32] = {-127 * 1.0003f, 63.515f};
    block_q8_0 b = q8_block(x);
    cr_assert_eq(b.d, 0x3C00);
    cr_assert_eq(b.qs[0], -127);
    cr_assert_eq(b.qs[1], 63);
}

Test(core_quantize, q8_0_of_zeros_is_all_zero_bytes) {
    float x[32] = {0};
    for (int i = 0; i < 32; i += 3) x[i] = -0.0f;
    block_q8_0 b = q8_block(x), zero;
    memset(&zero, 0, sizeof zero);
    cr_assert_eq(memcmp(&b, &zero, sizeof b), 0);
}

Test(core_quantize, q8_0_of_tiny_numbers_keeps_bytes_while_the_inverse_is_finite) {
    /* float16 can't hold these scales, yet the bytes are those of the exact ones, as in llama.cpp. */
    float x[32] = {127 * 0x1p-127f, -64 * 0x1p-127f};
    block_q8_0 b = q8_block(x);
    cr_assert_eq(b.d, 0);
    cr_assert_eq(b.qs[0], 127);
    cr_assert_eq(b.qs[1], -64);
    float y[32] = {127 * 0x1p-128f, -64 * 0x1p-128f}; /* 1 / 2^-128 is infinite */
    b = q8_block(y);
    cr_assert_eq(b.d, 0);
    cr_assert_eq(b.qs[0], 0);
    cr_assert_eq(b.qs[1], 0);
    float z[32] = {0x1p-149f, -0x1p-149f}; /* the smallest there is: d rounds to 0 */
    b = q8_block(z);
    cr_assert_eq(b.qs[0], 0);
}

Test(core_quantize, q8_0_comes_back_as_scale_times_byte) {
    block_q8_0 b = {.d = 0x3800 /* 0.5 */, .qs = {127, -128, 1, 0, -1}};
    float x[32];
    Error err;
    cr_assert_eq(dequantize(x, DT_Q8_0, &b, 32, &err), 0, "%s", err.message);
    float want[5] = {63.5f, -64, 0.5f, 0, -0.5f};
    for (int i = 0; i < 5; i++) cr_assert_eq(f32_bits(x[i]), f32_bits(want[i]));
    float two[64] = {[3] = 1, [40] = -8};
    block_q8_0 blocks[2] = {q8_block(two), q8_block(two + 32)};
    float back[64];
    cr_assert_eq(dequantize(back, DT_Q8_0, blocks, 64, &err), 0, "%s", err.message);
    cr_assert_float_eq(back[3], 1, 1e-3);
    cr_assert_float_eq(back[40], -8, 1e-2);
    cr_assert_eq(back[39], 0);
}

/* ---- what is refused ---- */

static void refused(DType type, const void *data, size_t bad, const char *says) {
    FloatRows rows = {.type = type, .data = data, .n_rows = 3, .row_elements = 64, .first_row = 1000};
    uint8_t out[6 * 34];
    Error err;
    cr_assert_eq(quantize_rows(DT_Q8_0, out, &rows, &err), ERR_NUMERIC);
    char place[60];
    snprintf(place, sizeof place, "row %zu, element %zu is %s", 1000 + bad / 64, bad % 64, says);
    cr_assert(strstr(err.message, place), "%s: %s", place, err.message);
    const Quantizer *q = quantizer_of(DT_Q8_0);
    for (size_t i = 0; i < q->n_paths; i++)
        if (can_run(&q->paths[i])) cr_assert_eq(q->paths[i].run(out, &rows), bad / 32 * 32);
}

Test(core_quantize, nan_infinity_and_what_no_scale_can_say_are_refused_with_their_place) {
    static const uint16_t wide[][2] = {
        {0x7FC0, 0x7E00}, {0xFF81, 0xFC01}, {0x7F80, 0x7C00}, {0xFF80, 0xFC00}};
    static const size_t places[] = {0, 31, 77, 191};
    for (size_t w = 0; w < 4; w++)
        for (size_t p = 0; p < 4; p++) {
            uint16_t bf16[192] = {0}, f16[192] = {0};
            float f32[192] = {0};
            const char *says = w < 2 ? "NaN" : "infinite";
            bf16[places[p]] = wide[w][0];
            f16[places[p]] = wide[w][1];
            f32[places[p]] = f32_from_bits((uint32_t)wide[w][0] << 16);
            refused(DT_BF16, bf16, places[p], says);
            refused(DT_F16, f16, places[p], says);
            refused(DT_F32, f32, places[p], says);
        }
    /* 65520 * 127 is the first that needs an infinite float16 as scale. */
    float huge[192] = {[90] = 5, [91] = -65520.0f * 127, [92] = 7};
    refused(DT_F32, huge, 91, "-8.32104e+06");
    huge[91] = nextafterf(huge[91], 0);
    block_q8_0 b = q8_block(huge + 64);
    cr_assert_eq(b.d, 0x7BFF);
    cr_assert_eq(b.qs[27], -127);
}

/* ---- all paths agree ---- */

static uint32_t next(uint32_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

/* A float32 of a kind: any finite pattern; near one; lattice ties; denormal; few bits, so equal ones are
 * frequent. */
static float odd_float(uint32_t *s, uint32_t kind) {
    uint32_t r = next(s);
    switch (kind % 6) {
    case 0: /* any finite pattern that fits a block's scale */
        return f32_from_bits((r & 0x807FFFFF) | (next(s) % 149) << 23);
    case 1: return (float)(int32_t)r * 0x1p-31f;
    case 2: return (float)((int32_t)(r % 509) - 254) * 0.5f;
    case 3: return f32_from_bits(r & 0x80FFFFFF); /* denormal, or just above */
    case 4: return f32_from_bits((r & 0x80000000) | (r % 3) << 23);
    default: return r % 8 ? 0 : r & 8 ? -0.0f : 127;
    }
}

/* Blocks of one kind each, as `type`; finite and not too large. */
static void *odd_rows(DType type, size_t n, uint32_t seed) {
    uint8_t *data = malloc(n * element_bytes(type) + 1);
    cr_assert_not_null(data);
    uint32_t s = seed;
    for (size_t i = 0; i < n; i++) {
        float x = odd_float(&s, (uint32_t)(i / 32) + (next(&s) % 16 == 0));
        if (type == DT_F16 && fabsf(x) > 65504) x = 65504;
        if (fabsf(x) > 8e6f) x = -8e6f;
        cr_assert_eq(floats_convert(type, data + 1 + i * element_bytes(type), DT_F32, &x, 1, NULL), 0);
    }
    return data; /* elements begin at an odd address */
}

Test(core_quantize, every_path_gives_the_bits_of_the_definition) {
    enum { N = 32 * 6 * 500 };
    const Quantizer *q = quantizer_of(DT_Q8_0);
    const size_t bytes = N / 32 * sizeof(block_q8_0);
    uint8_t *want = malloc(bytes + 1), *got = malloc(bytes + 1);
    for (size_t k = 0; k < 3; k++) {
        uint8_t *data = odd_rows(float_types[k], N, 12345 + (uint32_t)k);
        cr_assert_eq(run_path(&q->paths[q->n_paths - 1], want, float_types[k], data + 1, N), (size_t)N);
        for (size_t i = 0; i + 1 < q->n_paths; i++) {
            if (!can_run(&q->paths[i])) continue;
            memset(got, 0xAA, bytes + 1);
            cr_assert_eq(run_path(&q->paths[i], got + 1, float_types[k], data + 1, N), (size_t)N);
            cr_assert_eq(memcmp(got + 1, want, bytes), 0, "%s from %s", q->paths[i].name,
                         dtype_name(float_types[k]));
        }
        free(data);
    }
    free(want);
    free(got);
}

/* Every float16 and bfloat16 that a block may hold, beside others of its size. */
Test(core_quantize, every_path_widens_every_half_as_the_definition_does) {
    const Quantizer *q = quantizer_of(DT_Q8_0);
    for (size_t k = 1; k < 3; k++)
        for (uint32_t first = 0; first < 0x10000; first += 32) {
            uint16_t x[32];
            block_q8_0 want, got;
            for (uint32_t i = 0; i < 32; i++) x[i] = (uint16_t)(first + i);
            size_t n = run_path(&q->paths[q->n_paths - 1], &want, float_types[k], x, 32);
            for (size_t i = 0; i + 1 < q->n_paths; i++) {
                if (!can_run(&q->paths[i])) continue;
                cr_assert_eq(run_path(&q->paths[i], &got, float_types[k], x, 32), n);
                if (n) cr_assert_eq(memcmp(&got, &want, sizeof got), 0, "%s at %x", q->paths[i].name, first);
            }
        }
}

/* With 127 in front, d is 1 and the others are rounded as they are: all magnitudes below 127, by steps. */
Test(core_quantize, every_path_rounds_as_roundf_does) {
    const Quantizer *q = quantizer_of(DT_Q8_0);
    uint32_t bits = 0, step = 4099;
    const char *fine = getenv("RECAST_TEST_STEP"); /* 1 tries them all, which takes minutes */
    if (fine) step = (uint32_t)strtoul(fine, NULL, 10);
    while (bits < 0x42FE0000) {
        float x[32] = {127};
        int8_t want[32] = {127};
        for (int i = 1; i < 32; i++, bits += step) {
            x[i] = f32_from_bits(bits < 0x42FE0000 ? bits : 0);
            if (i % 2) x[i] = -x[i];
            want[i] = (int8_t)roundf(x[i]);
        }
        for (size_t i = 0; i + 1 < q->n_paths; i++) {
            if (!can_run(&q->paths[i])) continue;
            block_q8_0 got;
            cr_assert_eq(run_path(&q->paths[i], &got, DT_F32, x, 32), 32u);
            if (memcmp(got.qs, want, 32)) cr_assert_fail("%s, near %08x", q->paths[i].name, bits);
        }
    }
}
