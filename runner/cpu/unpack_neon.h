/* unpack_neon.h -- blocks of the quantized types as plain integers, four blocks at a time: the table of
 * docs/arithmetic.md, section 11, by instructions of NEON. Layouts are ggml's (core/blocks.h).
 *
 * `type` is a constant wherever these are called, so what a type doesn't have vanishes. */
#ifndef RECAST_RUNNER_CPU_UNPACK_NEON_H
#define RECAST_RUNNER_CPU_UNPACK_NEON_H

#include "runner/cpu/neon.h"
#include "runner/cpu/quantized_types.h"
#include <string.h>

/* Four blocks of 32 weights: d * scale[half] * w, -/+ m * min[half]. Where scales or minima are those of
 * whole blocks, or none, only [0] is set, or nothing. */
typedef struct WeightFour {
    int8x16_t w[4][2];
    float32x4_t d, m;
    int32x4_t scale[2], min[2];
} WeightFour;

/* ---- pieces ---- */

NEON uint8x16_t right_by(uint8x16_t bytes, size_t n) {
    return vshlq_u8(bytes, vdupq_n_s8((int8_t) - (int)n));
}

NEON uint8x16_t bits(uint8x16_t bytes, size_t from, uint8_t mask) {
    return vandq_u8(right_by(bytes, from), vdupq_n_u8(mask));
}

/* `value` in each byte of which bit i is set, else 0. */
NEON uint8x16_t where_bit(uint8x16_t bytes, size_t i, uint8_t value) {
    return vandq_u8(vtstq_u8(bytes, vdupq_n_u8((uint8_t)(1u << i))), vdupq_n_u8(value));
}

NEON int8x16_t less(uint8x16_t bytes, int8_t bias) {
    return vsubq_s8(vreinterpretq_s8_u8(bytes), vdupq_n_s8(bias));
}

/* The numbers that a nibble of IQ4_NL and IQ4_XS stands for. */
NEON int8x16_t values_of_iq4(uint8x16_t nibbles) {
    static const int8_t table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
    return vqtbl1q_s8(vld1q_s8(table), nibbles);
}

/* The float16 at `at` in four blocks. */
NEON float32x4_t four_halves(const uint8_t *const b[4], size_t at) {
    uint16_t h[4];
    for (size_t c = 0; c < 4; c++) memcpy(&h[c], b[c] + at, sizeof h[c]);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

NEON float32x4_t one_half(uint16_t h) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h)));
}

/* Of eight numbers the even ones are those of first halves, the odd ones those of second halves. */
NEON void by_halves(int32x4_t out[2], int8x8_t numbers) {
    int16x8_t wide = vmovl_s8(numbers);
    out[0] = vmovl_s16(vget_low_s16(vuzp1q_s16(wide, wide)));
    out[1] = vmovl_s16(vget_low_s16(vuzp2q_s16(wide, wide)));
}

NEON uint32_t word_at(const uint8_t *bytes) {
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* The four bytes of a word, none above 127. */
NEON int32x4_t bytes_of(uint32_t word) {
    return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(word))));
}

/* ---- blocks of 32 ---- */

NEON void unpack_q8_0(WeightFour *w, const uint8_t *const b[4]) {
    UNROLL for (size_t c = 0; c < 4; c++) {
        const block_q8_0 *block = (const void *)b[c];
        w->w[c][0] = vld1q_s8(block->qs);
        w->w[c][1] = vld1q_s8(block->qs + 16);
    }
    w->d = four_halves(b, 0);
}

/* Bytes 2s and 2s + 1 of a word of 32 bits, a bit to a byte: 16 where it is set. */
NEON uint8x16_t fifth_bits(uint32_t word, size_t s) {
    static const uint8_t one_bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    uint8x8_t bit = vld1_u8(one_bit);
    uint8x16_t bytes =
        vcombine_u8(vdup_n_u8((uint8_t)(word >> (16 * s))), vdup_n_u8((uint8_t)(word >> (16 * s + 8))));
    return vandq_u8(vtstq_u8(bytes, vcombine_u8(bit, bit)), vdupq_n_u8(16));
}

/* A block of nibbles, of which some have a fifth bit elsewhere. */
NEON void unpack_nibbles(int8x16_t w[2], DType type, const uint8_t qs[16], const uint8_t *qh) {
    uint8x16_t bytes = vld1q_u8(qs), half[2] = {vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4)};
    UNROLL for (size_t s = 0; s < 2; s++) {
        if (qh) half[s] = vorrq_u8(half[s], fifth_bits(word_at(qh), s));
        w[s] = type == DT_IQ4_NL || type == DT_IQ4_XS ? values_of_iq4(half[s])
               : type == DT_Q4_0                      ? less(half[s], 8)
               : type == DT_Q5_0                      ? less(half[s], 16)
                                                      : vreinterpretq_s8_u8(half[s]);
    }
}

NEON void unpack_narrow(WeightFour *w, DType type, const uint8_t *const b[4]) {
    bool five = type == DT_Q5_0 || type == DT_Q5_1;
    size_t at = has_minimum(type) ? 4 : 2;
    UNROLL for (size_t c = 0; c < 4; c++)
        unpack_nibbles(w->w[c], type, b[c] + (five ? at + 4 : at), five ? b[c] + at : NULL);
    w->d = four_halves(b, 0);
    if (has_minimum(type)) w->m = four_halves(b, 2);
}

/* ---- super-blocks of eight; i: 0 for blocks 0 .. 3, 1 for blocks 4 .. 7 ---- */

/* Two bits of each weight: byte 32i + k holds those of element k of four blocks. Q3_K's third bit says what
 * isn't to be taken off. */
NEON void unpack_two_bits(WeightFour *w, const uint8_t qs[64], const uint8_t *hmask, size_t i) {
    UNROLL for (size_t s = 0; s < 2; s++) {
        uint8x16_t bytes = vld1q_u8(qs + 32 * i + 16 * s);
        UNROLL for (size_t c = 0; c < 4; c++) {
            uint8x16_t q = bits(bytes, 2 * c, 3);
            if (hmask) q = vorrq_u8(q, where_bit(vld1q_u8(hmask + 16 * s), 4 * i + c, 4));
            w->w[c][s] = hmask ? less(q, 4) : vreinterpretq_s8_u8(q);
        }
    }
}

NEON void unpack_q2_K(WeightFour *w, const block_q2_K *b, size_t i) {
    uint8x8_t numbers = vld1_u8(b->scales + 8 * i);
    unpack_two_bits(w, b->qs, NULL, i);
    w->d = one_half(b->d);
    w->m = one_half(b->dmin);
    by_halves(w->scale, vreinterpret_s8_u8(vand_u8(numbers, vdup_n_u8(15))));
    by_halves(w->min, vreinterpret_s8_u8(vshr_n_u8(numbers, 4)));
}

/* Scale s has its low four bits in scales[s % 8], its high two in scales[8 + s % 4]. */
NEON void unpack_q3_K(WeightFour *w, const block_q3_K *b, size_t i) {
    int8_t by = (int8_t)(-4 * (int)i), by_two = (int8_t)(by - 2);
    const int8_t shifts[8] = {by, by, by, by, by_two, by_two, by_two, by_two};
    uint8x8_t high = vreinterpret_u8_u32(vdup_n_u32(word_at(b->scales + 8)));
    uint8x8_t low = vand_u8(vshl_u8(vld1_u8(b->scales), vdup_n_s8(by)), vdup_n_u8(15));
    high = vshl_n_u8(vand_u8(vshl_u8(high, vld1_s8(shifts)), vdup_n_u8(3)), 4);
    unpack_two_bits(w, b->qs, b->hmask, i);
    w->d = one_half(b->d);
    by_halves(w->scale, vsub_s8(vreinterpret_s8_u8(vorr_u8(low, high)), vdup_n_s8(32)));
}

/* Q5_K begins as Q4_K does. Of the 12 bytes the first four scales are the low six bits of bytes 0-3 and the
 * minima those of bytes 4-7; the last four have their low four bits in bytes 8-11, their high two in what the
 * first four left free. */
NEON void numbers_q4_K(WeightFour *w, const block_q4_K *b, size_t i) {
    uint32_t first = word_at(b->scales), second = word_at(b->scales + 4), third = word_at(b->scales + 8);
    w->d = one_half(b->d);
    w->m = one_half(b->dmin);
    if (i == 0) {
        w->scale[0] = bytes_of(first & 0x3F3F3F3F);
        w->min[0] = bytes_of(second & 0x3F3F3F3F);
    } else {
        w->scale[0] = bytes_of((third & 0x0F0F0F0F) | (first >> 2 & 0x30303030));
        w->min[0] = bytes_of((third >> 4 & 0x0F0F0F0F) | (second >> 2 & 0x30303030));
    }
}

/* Byte 32k + e holds element e of two blocks. */
NEON void unpack_pairs(WeightFour *w, const uint8_t qs[128], const uint8_t *qh, size_t i) {
    UNROLL for (size_t k = 0; k < 4; k++) { /* two pairs of blocks, two halves each */
        size_t c = k / 2 * 2, s = k % 2;
        uint8x16_t bytes = vld1q_u8(qs + 64 * i + 16 * k);
        uint8x16_t low = vandq_u8(bytes, vdupq_n_u8(15)), high = vshrq_n_u8(bytes, 4);
        if (qh) {
            uint8x16_t fifth = vld1q_u8(qh + 16 * s);
            low = vorrq_u8(low, where_bit(fifth, 4 * i + c, 16));
            high = vorrq_u8(high, where_bit(fifth, 4 * i + c + 1, 16));
        }
        w->w[c][s] = vreinterpretq_s8_u8(low);
        w->w[c + 1][s] = vreinterpretq_s8_u8(high);
    }
}

NEON void unpack_q6_K(WeightFour *w, const block_q6_K *b, size_t i) {
    UNROLL for (size_t s = 0; s < 2; s++) {
        uint8x16_t high = vld1q_u8(b->qh + 32 * i + 16 * s);
        UNROLL for (size_t c = 0; c < 4; c++) {
            uint8x16_t low = bits(vld1q_u8(b->ql + 64 * i + c % 2 * 32 + 16 * s), c / 2 * 4, 15);
            w->w[c][s] = less(vorrq_u8(low, vshlq_n_u8(bits(high, 2 * c, 3), 4)), 32);
        }
    }
    w->d = one_half(b->d);
    by_halves(w->scale, vld1_s8(b->scales + 8 * i));
}

NEON void unpack_iq4_xs(WeightFour *w, const block_iq4_xs *b, size_t i) {
    int32_t scale[4];
    UNROLL for (size_t c = 0; c < 4; c++) {
        size_t j = 4 * i + c;
        unpack_nibbles(w->w[c], DT_IQ4_XS, b->qs + 16 * j, NULL);
        scale[c] = ((b->scales_l[j / 2] >> (j % 2 * 4) & 15) | (b->scales_h >> (2 * j) & 3) << 4) - 32;
    }
    w->d = one_half(b->d);
    w->scale[0] = vld1q_s32(scale);
}

/* Half a super-block. */
NEON void unpack_half(WeightFour *w, DType type, const uint8_t *block, size_t i) {
    const void *b = block;
    if (type == DT_Q2_K) unpack_q2_K(w, b, i);
    if (type == DT_Q3_K) unpack_q3_K(w, b, i);
    if (type == DT_Q6_K) unpack_q6_K(w, b, i);
    if (type == DT_IQ4_XS) unpack_iq4_xs(w, b, i);
    if (type != DT_Q4_K && type != DT_Q5_K) return;
    numbers_q4_K(w, b, i);
    if (type == DT_Q4_K)
        unpack_pairs(w, ((const block_q4_K *)b)->qs, NULL, i);
    else
        unpack_pairs(w, ((const block_q5_K *)b)->qs, ((const block_q5_K *)b)->qh, i);
}

/* Blocks 4 * four .. 4 * four + 3 of a row that has `blocks` of them. Behind the last one stands
 * that one again. */
NEON void unpack(WeightFour *w, DType type, const uint8_t *row, size_t four, size_t blocks) {
    if (is_super(type)) {
        unpack_half(w, type, row + four / 2 * block_bytes(type), four % 2);
        return;
    }
    const uint8_t *b[4];
    UNROLL for (size_t c = 0; c < 4; c++) {
        size_t index = 4 * four + c;
        b[c] = row + (index < blocks ? index : blocks - 1) * block_bytes(type);
    }
    if (type == DT_Q8_0)
        unpack_q8_0(w, b);
    else
        unpack_narrow(w, type, b);
}

#endif
