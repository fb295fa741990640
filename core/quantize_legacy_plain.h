/* quantize_legacy_plain.h -- the part of quantize_legacy_fast.h for rows without an importance: the vectors
 * are of one block. Nothing depends on the order of elements but which of two equal magnitudes (or of two
 * zeros) comes first, and that is looked up afterwards. */
#ifndef RECAST_CORE_QUANTIZE_LEGACY_PLAIN_H
#define RECAST_CORE_QUANTIZE_LEGACY_PLAIN_H

#include "core/lanes.h"
#include "core/quantize_legacy.h"
#include <math.h>

enum { PARTS = 32 / LANES }; /* vectors of a block */
enum { ALL_LANES = LANES == 16 ? 0xFFFF : LANES == 8 ? 0xFF : 0xF };

/* ---- extremes ---- */

/* Those from index i on. As widened_bits, which GCC 12 makes five instructions of where there is one. */
LANES_INLINE Floats elements(DType from, const uint8_t *in, size_t i) {
#if LANES == 16
    if (from == DT_BF16)
        return (Floats)_mm512_slli_epi32(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(in + 2 * i))), 16);
#elif LANES == 8
    if (from == DT_BF16)
        return (Floats)_mm256_slli_epi32(
            _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(in + 2 * i))), 16);
#endif
    return floats_of_bits(widened_bits(from, in, i));
}

LANES_INLINE bool load_block(Floats x[PARTS], DType from, const uint8_t *in) {
    Mask small = less(all_lanes(0), all_lanes(1));
    for (size_t k = 0; k < PARTS; k++) {
        x[k] = elements(from, in, k * LANES);
        small &= less(absolute(x[k]), all_lanes(0x1p40f));
    }
    return mask_bits(small) == ALL_LANES;
}

LANES_INLINE float largest_lane(Floats v) {
#if LANES == 16
    return _mm512_reduce_max_ps((__m512)v);
#elif LANES == 8 || defined(__SSE2__)
#if LANES == 8
    __m128 four = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
#else
    __m128 four = (__m128)v;
#endif
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
#else
    float largest = v[0];
    for (int l = 1; l < LANES; l++) largest = v[l] > largest ? v[l] : largest;
    return largest;
#endif
}

LANES_INLINE float bits_to_float(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* By the top bit of an element's last byte. Without a branch: signs are as good as random. */
LANES_INLINE float with_sign(float magnitude, uint8_t last_byte) {
    uint32_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    return bits_to_float(bits | (last_byte & 0x80u) << 24);
}

/* The magnitude with the sign of the first element that has it; there is one. */
LANES_INLINE float with_first_sign(float magnitude, const Floats x[PARTS], DType from, const uint8_t *in) {
    uint32_t places = 0;
    for (int k = 0; k < PARTS; k++)
        places |= mask_bits(equal(absolute(x[k]), all_lanes(magnitude))) << k * LANES;
    size_t bytes = from == DT_F32 ? 4 : 2, i = (size_t)__builtin_ctz(places);
    return with_sign(magnitude, in[i * bytes + bytes - 1]);
}

#if LANES >= 8
/* The bits of the largest magnitude among 32 of 16 bits, and its first place. Inverted, since there is an
 * instruction for the smallest of eight. */
LANES_INLINE uint32_t largest_half(const uint8_t *in, uint32_t *place) {
#if LANES == 16
    __m512i all = _mm512_andnot_si512(_mm512_loadu_si512(in), _mm512_set1_epi16(0x7FFF));
    __m256i low = _mm512_castsi512_si256(all), high = _mm512_extracti64x4_epi64(all, 1);
#else
    const __m256i magnitude = _mm256_set1_epi16(0x7FFF);
    __m256i low = _mm256_andnot_si256(_mm256_loadu_si256((const __m256i *)in), magnitude);
    __m256i high = _mm256_andnot_si256(_mm256_loadu_si256((const __m256i *)(in + 32)), magnitude);
#endif
    __m256i half = _mm256_min_epu16(low, high);
    __m128i eight = _mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    __m128i smallest = _mm_minpos_epu16(eight);
#if LANES == 16
    uint32_t places = _mm512_cmpeq_epi16_mask(all, _mm512_broadcastw_epi16(smallest));
#else
    __m256i wanted = _mm256_broadcastw_epi16(smallest);
    __m256i equal_ones =
        _mm256_packs_epi16(_mm256_cmpeq_epi16(low, wanted), _mm256_cmpeq_epi16(high, wanted));
    uint32_t places = (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(equal_ones, 0xD8));
#endif
    *place = (uint32_t)__builtin_ctz(places);
    return 0x7FFF - ((uint32_t)_mm_cvtsi128_si32(smallest) & 0xFFFF);
}
#endif

/* The largest magnitude with its sign; a zero counts as positive. False if one is 2^40 or more, or NaN. */
LANES_INLINE bool extreme_of(DType from, const uint8_t *in, float *extreme) {
#if LANES >= 8
    if (from != DT_F32) {
        uint32_t i, bits = largest_half(in, &i);
        if (bits >= (from == DT_BF16 ? LEGACY_TOO_LARGE >> 16 : 0x7C00)) return false;
        float magnitude = from == DT_BF16 ? bits_to_float(bits << 16) : bits_to_float(bits << 13) * 0x1p112f;
        *extreme = bits == 0 ? 0 : with_sign(magnitude, in[2 * i + 1]);
        return true;
    }
#endif
    Floats x[PARTS];
    if (!load_block(x, from, in)) return false;
    Floats largest = absolute(x[0]);
    for (int k = 1; k < PARTS; k++) largest = larger(largest, absolute(x[k]));
    float magnitude = largest_lane(largest);
    *extreme = magnitude == 0 ? 0 : with_first_sign(magnitude, x, from, in);
    return true;
}

LANES_INLINE bool range_of(DType from, const uint8_t *in, float *min, float *max) {
    Floats x[PARTS];
    if (!load_block(x, from, in)) return false;
    Floats low = x[0], high = x[0];
    for (int k = 1; k < PARTS; k++) {
        low = smaller(low, x[k]);
        high = larger(high, x[k]);
    }
    *max = largest_lane(high);
    *min = -largest_lane(-low);
    if (*min != 0) return true;
    if (*max == 0) *max = 0; /* positive, so that the scale is */
    *min = with_first_sign(0, x, from, in);
    return true;
}

/* ---- scales and elements ---- */

/* What is known of some blocks before their elements are written: extreme or range, then scale and so on. A
 * batch of them, so that divisions and float16 are done in vectors too. */
enum { BATCH = 16 };
typedef struct Batch {
    float top[BATCH], low[BATCH];        /* extreme or maximum; minimum */
    float inverse[BATCH], offset[BATCH]; /* q = (x - low) * inverse + offset */
    int32_t d[BATCH], m[BATCH];          /* float16, in the two low bytes */
} Batch;

/* The float16 nearest to a magnitude below 65520. Adding 0.5 rounds to a multiple of 2^-24, the unit of
 * subnormal ones. */
LANES_INLINE Ints narrow_f16(Floats v) {
    Ints sign = (bits_of(v) >> 16) & 0x8000, magnitude = bits_of(absolute(v));
    Ints normal = (magnitude + (0xFFF - (112 << 23)) + (magnitude >> 13 & 1)) >> 13;
    Ints subnormal = bits_of(absolute(v) + 0.5f) - 0x3F000000;
    return sign | pick_int(less_int(magnitude, all_lanes_int(0x38800000)), subnormal, normal);
}

/* From top and low all the others; gives the lanes of blocks that can't be written. */
LANES_INLINE uint32_t find_scales(LegacyFormat f, Batch *b, size_t first) {
    float half = (float)(f.levels + 1) / 2;
    Floats zero = all_lanes(0), limit = all_lanes(65520), d = load_floats(b->top + first), m;
    Mask small;
    Ints bits;
    if (f.has_minimum) {
        m = load_floats(b->low + first);
        d = (d - m) / (float)f.levels;
        small = less(absolute(d), limit) & less(absolute(m), limit);
        bits = narrow_f16(m);
        memcpy(b->m + first, &bits, sizeof bits);
    } else {
        d = d / -half;
        small = less(absolute(d), limit);
    }
    bits = narrow_f16(d);
    memcpy(b->d + first, &bits, sizeof bits);
    /* infinite: all q are 0, as in the definition */
    Floats inverse = pick(equal(d, zero), zero, 1 / d);
    Mask finite = less(absolute(inverse), all_lanes(INFINITY));
    store_floats(b->inverse + first, pick(finite, inverse, zero));
    store_floats(b->offset + first, pick(finite, all_lanes(f.has_minimum ? 0.5f : half + 0.5f), zero));
    return mask_bits(not(small)) & ALL_LANES;
}

LANES_INLINE void store_nibbles(uint8_t qs[16], const Ints q[PARTS]) {
    Ints bytes[PARTS / 2];
    for (int k = 0; k < PARTS / 2; k++) bytes[k] = q[k] | q[k + PARTS / 2] << 4;
#if LANES == 4 && defined(__SSE2__)
    __m128i low = _mm_packs_epi32((__m128i)bytes[0], (__m128i)bytes[1]);
    __m128i high = _mm_packs_epi32((__m128i)bytes[2], (__m128i)bytes[3]);
    _mm_storeu_si128((__m128i *)qs, _mm_packus_epi16(low, high));
#else
    for (int k = 0; k < PARTS / 2; k++) store_bytes(qs + k * LANES, bytes[k]);
#endif
}

LANES_INLINE void write_block(LegacyFormat f, uint8_t *block, DType from, const uint8_t *in, const Batch *b,
                              size_t i) {
    Ints q[PARTS];
    uint32_t fifth = 0;
    for (size_t k = 0; k < PARTS; k++) {
        Floats v = elements(from, in, k * LANES);
        v = (f.has_minimum ? v - b->low[i] : v) * b->inverse[i] + b->offset[i];
        q[k] = __builtin_convertvector(smaller(v, all_lanes((float)f.levels)), Ints);
        if (f.levels > 15) {
            fifth |= mask_bits(greater_int(q[k], all_lanes_int(15))) << k * LANES;
            q[k] &= 15;
        }
    }
    memcpy(block, &b->d[i], 2);
    if (f.has_minimum) memcpy(block + 2, &b->m[i], 2);
    block += f.has_minimum ? 4 : 2;
    if (f.levels > 15) memcpy(block, &fifth, sizeof fifth);
    store_nibbles(block + (f.levels > 15 ? 4 : 0), q);
}

/* Up to a batch of blocks; gives how many could be written. */
LANES_INLINE size_t quantize_batch(LegacyFormat f, uint8_t *out, DType from, const uint8_t *in, size_t n) {
    Batch b;
    size_t i = 0, bytes = from == DT_F32 ? 128 : 64;
    for (size_t k = 0; k < BATCH; k += LANES) { /* there may be less than a batch */
        store_floats(b.top + k, all_lanes(0));
        store_floats(b.low + k, all_lanes(0));
    }
    for (const uint8_t *block = in; i < n; i++, block += bytes)
        if (!(f.has_minimum ? range_of(from, block, &b.low[i], &b.top[i])
                            : extreme_of(from, block, &b.top[i])))
            break;
    uint32_t bad = 0;
    for (size_t k = 0; k < BATCH; k += LANES) bad |= find_scales(f, &b, k) << k;
    size_t good = bad ? (size_t)__builtin_ctz(bad) : BATCH;
    if (good < i) i = good;
    for (size_t k = 0; k < i; k++)
        write_block(f, out + k * legacy_block_bytes(f), from, in + k * bytes, &b, k);
    return i;
}

LANES_INLINE size_t quantize_plain(LegacyFormat f, uint8_t *out, DType from, const uint8_t *in,
                                   size_t n_blocks) {
    size_t bytes = from == DT_F32 ? 128 : 64, done = 0, n, step;
    do {
        n = n_blocks - done < BATCH ? n_blocks - done : BATCH;
        step = quantize_batch(f, out + done * legacy_block_bytes(f), from, in + done * bytes, n);
        done += step;
    } while (step == n && n > 0);
    return 32 * done;
}

#endif
