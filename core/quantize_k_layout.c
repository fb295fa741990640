/* quantize_k_layout.c -- the five K-quants: their parameters, and where their bits lie in a block.
 *
 * Parameters are those of quantize_row_q2_K_ref ... q6_K_ref in ggml-quants.c, bits those of core/blocks.h.
 * No choice is made here. */
#include "core/floats.h"
#include "core/quantize_k.h"
#include <string.h>

/* ---- elements: 2 bits of Q2_K and Q3_K, 4 bits of the others ---- */

/* 128 elements in 32 bytes: byte l has elements l, l + 32, l + 64 and l + 96, from its low bits on. */
static void pack_2_bits(uint8_t *restrict out, const uint8_t *restrict q) {
    for (int half = 0; half < 2; half++, out += 32, q += 128)
        for (int l = 0; l < 32; l++)
            out[l] =
                (uint8_t)((q[l] & 3) | (q[l + 32] & 3) << 2 | (q[l + 64] & 3) << 4 | (q[l + 96] & 3) << 6);
}

static void unpack_2_bits(const uint8_t *in, uint8_t *q) {
    for (int i = 0; i < QK_K; i++) q[i] = in[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32)) & 3;
}

/* 64 elements in 32 bytes: byte l has element l in its low nibble and l + 32 in the high one. */
static void pack_4_bits(uint8_t *restrict out, const uint8_t *restrict q) {
    for (int part = 0; part < 4; part++, out += 32, q += 64)
        for (int l = 0; l < 32; l++) out[l] = (uint8_t)((q[l] & 15) | q[l + 32] << 4);
}

static void unpack_4_bits(const uint8_t *in, uint8_t *q) {
    for (int i = 0; i < QK_K; i++) q[i] = in[i / 64 * 32 + i % 32] >> (4 * (i % 64 / 32)) & 15;
}

/* Bit `bit` of element i: byte i % 32, bit i / 32. */
static void pack_high_bit(uint8_t *restrict out, const uint8_t *restrict q, int bit) {
    memset(out, 0, QK_K / 8);
    for (int part = 0; part < 8; part++)
        for (int l = 0; l < 32; l++) out[l] |= (uint8_t)((q[32 * part + l] >> bit & 1) << part);
}

static void unpack_high_bit(const uint8_t *in, uint8_t *q, int bit) {
    for (int i = 0; i < QK_K; i++) q[i] |= (uint8_t)((in[i % 32] >> (i / 32) & 1) << bit);
}

/* ---- Q2_K ---- */

static void pack_scales_q2(void *block, const KScales *s, uint16_t d, uint16_t dmin) {
    block_q2_K *b = block;
    for (int j = 0; j < 16; j++) b->scales[j] = (uint8_t)(s->scale[j] | s->minimum[j] << 4);
    b->d = d;
    b->dmin = dmin;
}

static void unpack_scales_q2(const void *block, float *d, float *m) {
    const block_q2_K *b = block;
    float all = f32_from_f16(b->d), all_min = f32_from_f16(b->dmin);
    for (int j = 0; j < 16; j++) {
        d[j] = all * (b->scales[j] & 15);
        m[j] = all_min * (b->scales[j] >> 4);
    }
}

static void pack_q2(void *block, const uint8_t *q) {
    pack_2_bits(((block_q2_K *)block)->qs, q);
}

static void unpack_q2(const void *block, uint8_t *q) {
    unpack_2_bits(((const block_q2_K *)block)->qs, q);
}

const KFormat k_format_q2 = {
    .type = DT_Q2_K,
    .sub = 16,
    .n_subs = 16,
    .levels = 3,
    .has_minimum = true,
    .largest_scale = 15,
    .variance_factor = 1,
    .plain = &k_range_q2,
    .pack_scales = pack_scales_q2,
    .unpack_scales = unpack_scales_q2,
    .pack = pack_q2,
    .unpack = unpack_q2,
};

/* ---- Q3_K: scales of 6 bits, 32 stands for zero ---- */

static void pack_scales_q3(void *block, const KScales *s, uint16_t d, uint16_t dmin) {
    block_q3_K *b = block;
    (void)dmin;
    for (int j = 0; j < 8; j++) b->scales[j] = (uint8_t)((s->scale[j] & 15) | s->scale[j + 8] << 4);
    for (int j = 0; j < 4; j++) {
        b->scales[8 + j] = 0;
        for (int k = 0; k < 4; k++) b->scales[8 + j] |= (uint8_t)(s->scale[4 * k + j] >> 4 << (2 * k));
    }
    b->d = d;
}

static void unpack_scales_q3(const void *block, float *d, float *m) {
    const block_q3_K *b = block;
    float all = f32_from_f16(b->d);
    for (int j = 0; j < 16; j++) {
        int low = b->scales[j % 8] >> (4 * (j / 8)) & 15, high = b->scales[8 + j % 4] >> (2 * (j / 4)) & 3;
        d[j] = all * ((low | high << 4) - 32);
        m[j] = 0;
    }
}

static void pack_q3(void *block, const uint8_t *q) {
    block_q3_K *b = block;
    pack_2_bits(b->qs, q);
    pack_high_bit(b->hmask, q, 2);
}

static void unpack_q3(const void *block, uint8_t *q) {
    const block_q3_K *b = block;
    unpack_2_bits(b->qs, q);
    unpack_high_bit(b->hmask, q, 2);
}

const KFormat k_format_q3 = {
    .type = DT_Q3_K,
    .sub = 16,
    .n_subs = 16,
    .levels = 7,
    .bias = 4,
    .variance_factor = 2,
    .pack_scales = pack_scales_q3,
    .unpack_scales = unpack_scales_q3,
    .pack = pack_q3,
    .unpack = unpack_q3,
};

/* ---- Q4_K and Q5_K: scales and minima of 6 bits. Sub-blocks 0 ... 3 have theirs in the low bits of bytes of
 * their own; of 4 ... 7 the low four bits share a byte, the high two are on top of the others' ---- */

static void pack_6_bits(uint8_t out[12], const KScales *s, uint8_t limit) {
    for (int j = 0; j < 8; j++) {
        uint8_t scale = s->scale[j] < limit ? s->scale[j] : limit;
        uint8_t minimum = s->minimum[j] < limit ? s->minimum[j] : limit;
        if (j < 4) {
            out[j] = scale;
            out[j + 4] = minimum;
        } else {
            out[j + 4] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
            out[j - 4] |= (uint8_t)(scale >> 4 << 6);
            out[j] |= (uint8_t)(minimum >> 4 << 6);
        }
    }
}

static void unpack_6_bits(const uint8_t in[12], uint16_t d16, uint16_t dmin16, float *d, float *m) {
    float all = f32_from_f16(d16), all_min = f32_from_f16(dmin16);
    for (int j = 0; j < 8; j++) {
        int scale = j < 4 ? in[j] & 63 : (in[j + 4] & 15) | in[j - 4] >> 6 << 4;
        int minimum = j < 4 ? in[j + 4] & 63 : in[j + 4] >> 4 | in[j] >> 6 << 4;
        d[j] = all * scale;
        m[j] = all_min * minimum;
    }
}

/* ggml doesn't limit the integers of Q4_K here; they are at most 63 but for what no float row gives. */
static void pack_scales_q4(void *block, const KScales *s, uint16_t d, uint16_t dmin) {
    block_q4_K *b = block;
    pack_6_bits(b->scales, s, 255);
    b->d = d;
    b->dmin = dmin;
}

static void unpack_scales_q4(const void *block, float *d, float *m) {
    const block_q4_K *b = block;
    unpack_6_bits(b->scales, b->d, b->dmin, d, m);
}

static void pack_q4(void *block, const uint8_t *q) {
    pack_4_bits(((block_q4_K *)block)->qs, q);
}

static void unpack_q4(const void *block, uint8_t *q) {
    unpack_4_bits(((const block_q4_K *)block)->qs, q);
}

const KFormat k_format_q4 = {
    .type = DT_Q4_K,
    .sub = 32,
    .n_subs = 8,
    .levels = 15,
    .has_minimum = true,
    .largest_scale = 63,
    .variance_factor = 2,
    .plain = &k_range_q4,
    .pack_scales = pack_scales_q4,
    .unpack_scales = unpack_scales_q4,
    .pack = pack_q4,
    .unpack = unpack_q4,
};

static void pack_scales_q5(void *block, const KScales *s, uint16_t d, uint16_t dmin) {
    block_q5_K *b = block;
    pack_6_bits(b->scales, s, 63);
    b->d = d;
    b->dmin = dmin;
}

static void unpack_scales_q5(const void *block, float *d, float *m) {
    const block_q5_K *b = block;
    unpack_6_bits(b->scales, b->d, b->dmin, d, m);
}

static void pack_q5(void *block, const uint8_t *q) {
    block_q5_K *b = block;
    pack_4_bits(b->qs, q);
    pack_high_bit(b->qh, q, 4);
}

static void unpack_q5(const void *block, uint8_t *q) {
    const block_q5_K *b = block;
    unpack_4_bits(b->qs, q);
    unpack_high_bit(b->qh, q, 4);
}

const KFormat k_format_q5 = {
    .type = DT_Q5_K,
    .sub = 32,
    .n_subs = 8,
    .levels = 31,
    .has_minimum = true,
    .largest_scale = 63,
    .variance_factor = 2,
    .plain = &k_range_q5,
    .pack_scales = pack_scales_q5,
    .unpack_scales = unpack_scales_q5,
    .pack = pack_q5,
    .unpack = unpack_q5,
};

/* ---- Q6_K: 128 elements in 64 bytes of low nibbles (l and l + 64 in byte l, l + 32 and l + 96 in byte
 * l + 32) and 32 bytes of high bits, four times two ---- */

static void pack_scales_q6(void *block, const KScales *s, uint16_t d, uint16_t dmin) {
    block_q6_K *b = block;
    (void)dmin;
    memcpy(b->scales, s->scale, 16);
    b->d = d;
}

static void unpack_scales_q6(const void *block, float *d, float *m) {
    const block_q6_K *b = block;
    float all = f32_from_f16(b->d);
    for (int j = 0; j < 16; j++) {
        d[j] = all * b->scales[j];
        m[j] = 0;
    }
}

static void pack_q6(void *block, const uint8_t *q) {
    block_q6_K *b = block;
    uint8_t high[QK_K];
    for (int half = 0; half < 2; half++) {
        const uint8_t *in = q + 128 * half;
        uint8_t *out = b->ql + 64 * half;
        for (int l = 0; l < 64; l++) out[l] = (uint8_t)((in[l] & 15) | in[l + 64] << 4);
    }
    for (int i = 0; i < QK_K; i++) high[i] = q[i] >> 4;
    pack_2_bits(b->qh, high);
}

static void unpack_q6(const void *block, uint8_t *q) {
    const block_q6_K *b = block;
    unpack_2_bits(b->qh, q);
    for (int i = 0; i < QK_K; i++) {
        int low = b->ql[i / 128 * 64 + i % 64] >> (4 * (i % 128 / 64)) & 15;
        q[i] = (uint8_t)(q[i] << 4 | low);
    }
}

const KFormat k_format_q6 = {
    .type = DT_Q6_K,
    .sub = 16,
    .n_subs = 16,
    .levels = 63,
    .bias = 32,
    .pack_scales = pack_scales_q6,
    .unpack_scales = unpack_scales_q6,
    .pack = pack_q6,
    .unpack = unpack_q6,
};
