/* quantized_unpack.h -- WIDTH consecutive blocks of a row, from their bytes in the file to registers.
 *
 * Eight registers. Wide types: blocks 0-3, 4-7 and, with 16 lanes, so on, in the order
 *     WIDTH 8:  register k is block k
 *     WIDTH 16: register 4q + k is block 8q + k in its low half and block 8q + k + 4 in its high one
 * Narrow types: register c has block 4l + c in its l-th 16 bytes, elements 0-15; register 4 + c has the
 * others. Paired types: register 2i + j has block 4i + 2l + j (WIDTH 16: 8i + 2l + j), elements 0-15;
 * register 4 + 2i + j has the others. In this order sums come out in the order of the blocks
 * (quantized_lanes.h).
 *
 * `left`: how many of the blocks exist. It is a constant where speed counts. Others are made of block 0, so
 * nothing behind the row is read; their lanes are never used. */
#ifndef RECAST_RUNNER_CPU_QUANTIZED_UNPACK_H
#define RECAST_RUNNER_CPU_QUANTIZED_UNPACK_H

#include "runner/cpu/quantized_traits.h"

typedef struct WeightGroup {
    Ints z[8];
    Floats d, m;           /* of each block */
    Ints scale[2], min[2]; /* of each block, or of each of its halves */
} WeightGroup;

/* ---- registers of bytes ---- */

VECTOR Ints all_bytes(int value) {
#if WIDTH == 16
    return _mm512_set1_epi8((char)value);
#else
    return _mm256_set1_epi8((char)value);
#endif
}

VECTOR Ints both(Ints a, Ints b) {
#if WIDTH == 16
    return _mm512_and_si512(a, b);
#else
    return _mm256_and_si256(a, b);
#endif
}

VECTOR Ints either(Ints a, Ints b) {
#if WIDTH == 16
    return _mm512_or_si512(a, b);
#else
    return _mm256_or_si256(a, b);
#endif
}

VECTOR Ints differ(Ints a, Ints b) {
#if WIDTH == 16
    return _mm512_xor_si512(a, b);
#else
    return _mm256_xor_si256(a, b);
#endif
}

/* Bits move within 16; callers mask what crosses a byte. Positive: to the right. */
VECTOR Ints shifted(Ints a, int right) {
#if WIDTH == 16
    return right >= 0 ? _mm512_srli_epi16(a, (unsigned)right) : _mm512_slli_epi16(a, (unsigned)-right);
#else
    return right >= 0 ? _mm256_srli_epi16(a, right) : _mm256_slli_epi16(a, -right);
#endif
}

/* WIDTH 16: 32 bytes from p and 32 from p + distance. WIDTH 8: those from p + half * distance. */
VECTOR Ints two_halves(const uint8_t *p, size_t distance, size_t half) {
#if WIDTH == 16
    (void)half;
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(p + distance));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#else
    return _mm256_loadu_si256((const __m256i *)(const void *)(p + half * distance));
#endif
}

/* ---- numbers of blocks ---- */

#if WIDTH == 16
/* Where the 16 halves of a group are found whose blocks have `bytes` bytes: half i in the 64 bytes that begin
 * at chunk_of(c), the first such chunk that holds it, as 16-bit element place_in. Chunks don't reach behind
 * the last block, even when they begin 2 bytes later. All of it is known to the compiler. */
VECTOR size_t chunk_at(size_t bytes, size_t c) {
    size_t last = 16 * bytes - 64 - 2;
    return 64 * c < last ? 64 * c : last;
}
VECTOR size_t chunk_of(size_t bytes, size_t i) {
    size_t c = 0;
    while (i * bytes + 2 > chunk_at(bytes, c) + 64) c++;
    return c;
}
#endif

/* Two bytes of each block, from `at` on. With 16 lanes whole registers are read and permuted, five to eight
 * of them; one half after the other takes 40 instructions. */
VECTOR Floats legacy_halves(const uint8_t *at, size_t bytes, size_t left) {
#if WIDTH == 16
    if (left == 16) {
        uint16_t place[16];
        UNROLL for (size_t i = 0; i < 16; i++) place[i] =
            (uint16_t)((i * bytes - chunk_at(bytes, chunk_of(bytes, i))) / 2);
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)place);
        __m512i index = _mm512_castsi256_si512(low), halves = _mm512_setzero_si512();
        UNROLL for (size_t c = 0; c < 8; c++) {
            uint32_t mask = 0;
            UNROLL for (size_t i = 0; i < 16; i++) mask |= (uint32_t)(chunk_of(bytes, i) == c) << i;
            if (mask)
                halves = _mm512_mask_permutexvar_epi16(halves, mask, index,
                                                       _mm512_loadu_si512(at + chunk_at(bytes, c)));
        }
        return _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
    }
#endif
    uint16_t h[WIDTH];
    UNROLL for (size_t i = 0; i < WIDTH; i++) memcpy(&h[i], at + (i < left ? i : 0) * bytes, 2);
    __m128i low = _mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4], (short)h[5],
                                 (short)h[6], (short)h[7]);
#if WIDTH == 16
    __m128i high = _mm_setr_epi16((short)h[8], (short)h[9], (short)h[10], (short)h[11], (short)h[12],
                                  (short)h[13], (short)h[14], (short)h[15]);
    return _mm512_cvtph_ps(_mm256_set_m128i(high, low));
#else
    return _mm256_cvtph_ps(low);
#endif
}

/* One number for each super-block; `second` is used with WIDTH 16. */
VECTOR Floats super_halves(uint16_t first, uint16_t second) {
#if WIDTH == 16
    __m128 two = _mm_cvtph_ps(_mm_cvtsi32_si128((int)(first | (uint32_t)second << 16)));
    const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return _mm512_permutexvar_ps(spread, _mm512_castps128_ps512(two));
#else
    (void)second;
    return _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(first)));
#endif
}

/* Eight bytes for each super-block, one for each block. */
VECTOR Ints block_numbers(uint64_t first, uint64_t second) {
#if WIDTH == 16
    return _mm512_cvtepu8_epi32(_mm_set_epi64x((long long)second, (long long)first));
#else
    (void)second;
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)first));
#endif
}

/* 16 bytes for each super-block, two for each block: the first one in bits 0-7, the second in 8-15. */
VECTOR Ints half_numbers(__m128i first, __m128i second) {
#if WIDTH == 16
    return _mm512_cvtepu16_epi32(_mm256_set_m128i(second, first));
#else
    (void)second;
    return _mm256_cvtepu16_epi32(first);
#endif
}

VECTOR Ints all_ints(int32_t value) {
#if WIDTH == 16
    return _mm512_set1_epi32(value);
#else
    return _mm256_set1_epi32(value);
#endif
}

VECTOR Ints less(Ints a, Ints b) { /* a - b */
#if WIDTH == 16
    return _mm512_sub_epi32(a, b);
#else
    return _mm256_sub_epi32(a, b);
#endif
}

/* (a << left) >> right, with sign. */
VECTOR Ints signed_part(Ints a, int left, int right) {
#if WIDTH == 16
    return _mm512_srai_epi32(_mm512_slli_epi32(a, (unsigned)left), (unsigned)right);
#else
    return _mm256_srai_epi32(_mm256_slli_epi32(a, left), right);
#endif
}

/* ---- legacy types: one d for each block ---- */

VECTOR void unpack_q8_0(WeightGroup *w, const uint8_t *at, size_t left) {
    enum { BYTES = sizeof(block_q8_0) };
    UNROLL for (size_t k = 0; k < 8; k++) {
#if WIDTH == 16
        size_t low = k / 4 * 8 + k % 4, high = low + 4;
        low = low < left ? low : 0;
        high = high < left ? high : 0;
        w->z[k] = two_halves(at + low * BYTES + 2, (high - low) * BYTES, 0);
#else
        w->z[k] = two_halves(at + (k < left ? k : 0) * BYTES + 2, 0, 0);
#endif
#ifdef VNNI
        w->z[k] = differ(w->z[k], all_bytes(0x80));
#endif
    }
    w->d = legacy_halves(at, BYTES, left);
}

/* 16 bytes of each of the blocks c, 4 + c, ... */
VECTOR Ints narrow_bytes(const uint8_t *at, size_t bytes, size_t c, size_t left) {
#define AT(l) \
    _mm_loadu_si128((const __m128i *)(const void *)(at + (4 * (l) + c < left ? 4 * (l) + c : 0) * bytes))
#if WIDTH == 16
    __m512i z = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(AT(1), AT(0))),
                                   _mm256_set_m128i(AT(3), AT(2)), 1);
    return z;
#else
    return _mm256_set_m128i(AT(1), AT(0));
#endif
#undef AT
}

VECTOR void split_nibbles(Ints *low, Ints *high, Ints bytes) {
    *low = both(bytes, all_bytes(15));
    *high = both(shifted(bytes, 4), all_bytes(15));
}

/* 16 where the bit of an element is set. Fifth bits of block i are the 32-bit word at `at` + i * bytes;
 * `first_bit` 0: elements 0-15, 16: the others. */
VECTOR Ints fifth_bits(const uint8_t *at, size_t bytes, size_t c, size_t left, int first_bit) {
    uint16_t bits[WIDTH / 4];
    UNROLL for (size_t l = 0; l < WIDTH / 4; l++)
        memcpy(&bits[l], at + (4 * l + c < left ? 4 * l + c : 0) * bytes + first_bit / 8, 2);
#if WIDTH == 16
    uint64_t all = bits[0] | (uint64_t)bits[1] << 16 | (uint64_t)bits[2] << 32 | (uint64_t)bits[3] << 48;
    return _mm512_maskz_set1_epi8(all, 16);
#else
    const __m256i word = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2,
                                          2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)(bits[0] | (uint32_t)bits[1] << 16)), word);
    __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
    return _mm256_and_si256(set, _mm256_set1_epi8(16));
#endif
}

VECTOR Ints table_of_iq4(Ints nibbles) {
    const __m128i values =
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
#ifdef VNNI
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_xor_si128(values, _mm_set1_epi8((char)0x80))),
                               nibbles);
#elif WIDTH == 16
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), nibbles);
#else
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), nibbles);
#endif
}

VECTOR void unpack_narrow(WeightGroup *w, DType type, const uint8_t *at, size_t left) {
    bool minimum = type == DT_Q4_1 || type == DT_Q5_1, five = type == DT_Q5_0 || type == DT_Q5_1;
    size_t bytes = type == DT_IQ4_XS ? 16 : block_bytes(type), qs = (minimum ? 4 : 2) + (five ? 4 : 0);
    UNROLL for (size_t c = 0; c < 4; c++) {
        Ints *low = &w->z[c], *high = &w->z[4 + c];
        split_nibbles(low, high, narrow_bytes(at + qs, bytes, c, left));
        if (five) {
            *low = either(*low, fifth_bits(at + qs - 4, bytes, c, left, 0));
            *high = either(*high, fifth_bits(at + qs - 4, bytes, c, left, 16));
        }
        if (type == DT_IQ4_NL) {
            *low = table_of_iq4(*low);
            *high = table_of_iq4(*high);
        }
    }
    w->d = legacy_halves(at, bytes, left);
    if (minimum) w->m = legacy_halves(at + 2, bytes, left);
}

/* ---- super-blocks ---- */

VECTOR uint32_t word_at(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* See q4_scale_min in runner/ref/quantized.c: eight of each at once. */
VECTOR void q4_numbers(const uint8_t scales[12], uint64_t *scale, uint64_t *min) {
    uint32_t a = word_at(scales), b = word_at(scales + 4), c = word_at(scales + 8);
    /* kept in plain registers: gcc would take vectors, which have enough to do */
    __asm__("" : "+r"(a), "+r"(b), "+r"(c));
    uint32_t scale_high = (c & 0x0F0F0F0F) | (a >> 6 & 0x03030303) << 4;
    uint32_t min_high = (c >> 4 & 0x0F0F0F0F) | (b >> 6 & 0x03030303) << 4;
    *scale = (a & 0x3F3F3F3F) | (uint64_t)scale_high << 32;
    *min = (b & 0x3F3F3F3F) | (uint64_t)min_high << 32;
}

/* Bit k + 4 * half of each byte at bit k. */
VECTOR Ints high_bits(const uint8_t bits[32], size_t half) {
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)bits);
#if WIDTH == 16
    (void)half;
    return _mm512_inserti64x4(_mm512_castsi256_si512(b), _mm256_srli_epi16(b, 4), 1);
#else
    return half ? _mm256_srli_epi16(b, 4) : b;
#endif
}

/* 128-bit parts 0 and 2 (odd: 1 and 3) of a, then of b; with WIDTH 8: part 0 (odd: 1) of each. */
VECTOR Ints parts_of(Ints a, Ints b, bool odd) {
#if WIDTH == 16
    return odd ? _mm512_shuffle_i32x4(a, b, 0xDD) : _mm512_shuffle_i32x4(a, b, 0x88);
#else
    return odd ? _mm256_permute2x128_si256(a, b, 0x31) : _mm256_permute2x128_si256(a, b, 0x20);
#endif
}

/* The fifth bits of Q5_K: elements 0-15 (s = 1: 16-31) of blocks whose bits are `bit` + 2 * l of the bytes,
 * in the l-th 16 bytes, as 16. */
VECTOR Ints fifth_of_pairs(const uint8_t *qh, size_t s, size_t bit) {
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(qh + 16 * s));
#if WIDTH == 16
    const __m512i count = _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6);
    __m512i at0 = _mm512_srlv_epi64(_mm512_broadcast_i32x4(b), count);
#else
    const __m256i count = _mm256_setr_epi64x(0, 0, 2, 2);
    __m256i at0 = _mm256_srlv_epi64(_mm256_broadcastsi128_si256(b), count);
#endif
    return both(shifted(at0, (int)bit - 4), all_bytes(16));
}

/* Registers 2i, 2i + 1, 2i + 4 and 2i + 5 of a super-block of Q4_K or Q5_K (WIDTH 8: of its half i); qh: its
 * fifth bits or NULL. */
VECTOR void quad_q4(Ints z[8], const uint8_t *qs, const uint8_t *qh, size_t i) {
    size_t half = WIDTH == 16 ? 0 : i;
    Ints first = load_ints(qs + 64 * half), second = load_ints(qs + 64 * half + VECTOR_BYTES);
    __asm__("" : "+v"(second)); /* gcc would load it twice, as operand of each shuffle */
    UNROLL for (size_t s = 0; s < 2; s++) {
        Ints *even = &z[2 * i + 4 * s], *odd = even + 1;
        split_nibbles(even, odd, parts_of(first, second, s == 1));
        if (!qh) continue;
        *even = either(*even, fifth_of_pairs(qh, s, 4 * half));
        *odd = either(*odd, fifth_of_pairs(qh, s, 4 * half + 1));
    }
}

VECTOR void quad_q6(Ints z[4], const block_q6_K *b, size_t half) {
    Ints high = two_halves(b->qh, 32, half);
    split_nibbles(&z[0], &z[2], two_halves(b->ql, 64, half));
    split_nibbles(&z[1], &z[3], two_halves(b->ql + 32, 64, half));
    UNROLL for (int k = 0; k < 4; k++) z[k] = either(z[k], both(shifted(high, 2 * k - 4), all_bytes(0x30)));
}

/* Q2_K and Q3_K; hmask: the third bits or NULL. */
VECTOR void quad_q2(Ints z[4], const uint8_t *qs, const uint8_t *hmask, size_t half) {
    Ints two = two_halves(qs, 32, half);
    UNROLL for (int k = 0; k < 4; k++) z[k] = both(shifted(two, 2 * k), all_bytes(3));
    if (!hmask) return;
    Ints bits = high_bits(hmask, half);
    UNROLL for (int k = 0; k < 4; k++) z[k] = either(z[k], both(shifted(bits, k - 2), all_bytes(4)));
}

/* Registers 4i .. 4i + 3 of a group that begins at `at`: with WIDTH 16 those of super-block i, with 8 those
 * of half i of the only one. */
VECTOR void unpack_quad(WeightGroup *w, DType type, const uint8_t *at, size_t i) {
#if WIDTH == 16
    at += i * block_bytes(type);
#endif
    const void *block = at;
    if (type == DT_Q4_K) quad_q4(w->z, ((const block_q4_K *)block)->qs, NULL, i);
    if (type == DT_Q5_K) quad_q4(w->z, ((const block_q5_K *)block)->qs, ((const block_q5_K *)block)->qh, i);
    if (type == DT_Q6_K) quad_q6(w->z + 4 * i, block, i);
    if (type == DT_Q2_K) quad_q2(w->z + 4 * i, ((const block_q2_K *)block)->qs, NULL, i);
    if (type == DT_Q3_K)
        quad_q2(w->z + 4 * i, ((const block_q3_K *)block)->qs, ((const block_q3_K *)block)->hmask, i);
}

VECTOR void numbers_q4(WeightGroup *w, DType type, const uint8_t *first, const uint8_t *second) {
    /* Q5_K begins as Q4_K does */
    const block_q4_K *a = (const void *)first, *b = (const void *)second;
    uint64_t scale[2], min[2];
    (void)type;
    q4_numbers(a->scales, &scale[0], &min[0]);
    q4_numbers(b->scales, &scale[1], &min[1]);
    w->d = super_halves(a->d, b->d);
    w->m = super_halves(a->dmin, b->dmin);
    w->scale[0] = block_numbers(scale[0], scale[1]);
    w->min[0] = block_numbers(min[0], min[1]);
}

VECTOR void numbers_q6(WeightGroup *w, const block_q6_K *a, const block_q6_K *b) {
    Ints pairs = half_numbers(_mm_loadu_si128((const __m128i *)(const void *)a->scales),
                              _mm_loadu_si128((const __m128i *)(const void *)b->scales));
    w->d = super_halves(a->d, b->d);
    w->scale[0] = signed_part(pairs, 24, 24);
    w->scale[1] = signed_part(pairs, 16, 24);
}

VECTOR void numbers_q2(WeightGroup *w, const block_q2_K *a, const block_q2_K *b) {
    Ints pairs = half_numbers(_mm_loadu_si128((const __m128i *)(const void *)a->scales),
                              _mm_loadu_si128((const __m128i *)(const void *)b->scales));
    w->d = super_halves(a->d, b->d);
    w->m = super_halves(a->dmin, b->dmin);
    w->scale[0] = both(pairs, all_ints(15));
    w->min[0] = both(shifted(pairs, 4), all_ints(15));
    w->scale[1] = both(shifted(pairs, 8), all_ints(15));
    w->min[1] = shifted(pairs, 12);
}

/* 16 of six bits, see q3_scale. */
VECTOR __m128i q3_scales(const uint8_t scales[12]) {
    uint32_t a = word_at(scales), b = word_at(scales + 4), c = word_at(scales + 8), four = 0x0F0F0F0F,
             two = 0x03030303;
    uint32_t s0 = (a & four) | (c & two) << 4, s1 = (b & four) | (c >> 2 & two) << 4;
    uint32_t s2 = (a >> 4 & four) | (c >> 4 & two) << 4, s3 = (b >> 4 & four) | (c >> 6 & two) << 4;
    return _mm_setr_epi32((int)s0, (int)s1, (int)s2, (int)s3);
}

VECTOR void numbers_q3(WeightGroup *w, const block_q3_K *a, const block_q3_K *b) {
    Ints pairs = half_numbers(q3_scales(a->scales), q3_scales(b->scales));
    w->d = super_halves(a->d, b->d);
    w->scale[0] = less(both(pairs, all_ints(63)), all_ints(32));
    w->scale[1] = less(shifted(pairs, 8), all_ints(32));
}

/* Eight numbers of four bits in a word and of two bits in a half one, each to a byte. */
VECTOR uint64_t iq4_numbers(const block_iq4_xs *b) {
    uint64_t low = word_at(b->scales_l), high = b->scales_h;
    low = (low | low << 16) & 0x0000FFFF0000FFFF;
    low = (low | low << 8) & 0x00FF00FF00FF00FF;
    low = (low | low << 4) & 0x0F0F0F0F0F0F0F0F;
    high = (high | high << 24) & 0x000000FF000000FF;
    high = (high | high << 12) & 0x000F000F000F000F;
    high = (high | high << 6) & 0x0303030303030303;
    return low | high << 4;
}

VECTOR void unpack_iq4_xs(WeightGroup *w, const block_iq4_xs *a, const block_iq4_xs *b) {
    UNROLL for (size_t c = 0; c < 4; c++) {
#define AT(block, i) _mm_loadu_si128((const __m128i *)(const void *)((block)->qs + 16 * (i)))
        Ints bytes;
#if WIDTH == 16
        bytes = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(AT(a, 4 + c), AT(a, c))),
                                   _mm256_set_m128i(AT(b, 4 + c), AT(b, c)), 1);
#else
        bytes = _mm256_set_m128i(AT(a, 4 + c), AT(a, c));
#endif
#undef AT
        split_nibbles(&w->z[c], &w->z[4 + c], bytes);
        w->z[c] = table_of_iq4(w->z[c]);
        w->z[4 + c] = table_of_iq4(w->z[4 + c]);
    }
    w->d = super_halves(a->d, b->d);
    w->scale[0] = less(block_numbers(iq4_numbers(a), iq4_numbers(b)), all_ints(32));
}

VECTOR void unpack_super(WeightGroup *w, DType type, const uint8_t *at, size_t left) {
    const uint8_t *second = left > 8 ? at + block_bytes(type) : at;
    if (type == DT_IQ4_XS) {
        unpack_iq4_xs(w, (const void *)at, (const void *)second);
        return;
    }
    unpack_quad(w, type, at, 0);
    if (WIDTH == 8 || left > 8) unpack_quad(w, type, at, 1);
    if (type == DT_Q4_K || type == DT_Q5_K) numbers_q4(w, type, at, second);
    if (type == DT_Q6_K) numbers_q6(w, (const void *)at, (const void *)second);
    if (type == DT_Q2_K) numbers_q2(w, (const void *)at, (const void *)second);
    if (type == DT_Q3_K) numbers_q3(w, (const void *)at, (const void *)second);
}

VECTOR_TYPED void unpack(WeightGroup *w, DType type, const uint8_t *at, size_t left) {
    if (is_super(type))
        unpack_super(w, type, at, left);
    else if (type == DT_Q8_0)
        unpack_q8_0(w, at, left);
    else
        unpack_narrow(w, type, at, left);
}

#endif
