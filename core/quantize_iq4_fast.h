/* quantize_iq4_fast.h -- IQ4_NL and IQ4_XS on LANES (super-)blocks at a time: the source of
 * quantize_iq4_fast_*.c, one for each width. The bits are those of the definition in quantize_iq4.c.
 *
 * A lane does what the definition does with one block, in its order. Two things are done otherwise:
 * - the sixteen candidates of a scale depend on the largest element only, so four of them run side by side;
 * - the value nearest to v is found by comparing with the midpoints between values. That is what the
 *   definition's two differences come to for every float: both are exact near a midpoint, equal at it, and
 *   monotonic elsewhere (tests/unit/test_core_quantize_iq4.c looks near the midpoints; all floats from -136
 * to 136 were tried once).
 *
 * Rates, one core of a Zen 4 at 2.6 GHz, GCC 12, bf16 in cache, nanoseconds an element of either format,
 * without and with an importance: AVX-512 4.1 and 4.4, AVX2 8.8 and 9.1, SSE2 19 and 19, definition 192 and
 * 192, llama.cpp (-O2, from float32) 176 and 176. */
#ifndef RECAST_CORE_QUANTIZE_IQ4_FAST_H
#define RECAST_CORE_QUANTIZE_IQ4_FAST_H

#include "core/floats.h"
#include "core/lanes.h"
#include "core/quantize_iq4.h"

enum { N_CANDIDATES = 2 * IQ4_TRIES + 2 };

static const int8_t values[16] = IQ4_VALUES;

/* Half way from value i to value i + 1. */
LANES_INLINE float midpoint(int i) {
    return (float)(values[i] + values[i + 1]) / 2;
}

/* The index of the value nearest to any v; 15 for a NaN. */
LANES_INLINE Ints nearest_index(Floats v) {
    Ints index = all_lanes_int(0);
    for (int i = 1; i < 16; i++)
        index = pick_int(less(v, all_lanes(midpoint(i - 1))), index, all_lanes_int(i));
    return index;
}

/* Adding 1.5 * 2^26 leaves the nearest multiple of 8 in the low bits of the sum: one of 32 intervals, none of
 * which has more than one midpoint in it. By the interval, what v is to be compared with, and how far the two
 * values are from that: nothing, where there is no midpoint. 15 stands for -17, since no v is so large. */
static const float middles[32] = {1,   7,   19,  25,  31.5f, 38,   45.5f,  53,      61,   69,     79,
                                  89,  89,  101, 113, -127,  -127, -127,   -115.5f, -104, -93.5f, -83,
                                  -83, -74, -65, -57, -49,   -42,  -28.5f, -22,     -16,  -4.5f};
static const float gaps[32] = {0, 6, 6,     0, 6.5f,  0, 7.5f, 0, 8, 0, 10, 0, 0,    12, 0, 0,
                               0, 0, 11.5f, 0, 10.5f, 0, 0,    9, 0, 8, 0,  7, 6.5f, 0,  6, 5.5f};

/* table[interval % 32]. */
LANES_INLINE Floats look_up(const float table[32], Ints interval) {
#if LANES == 16
    return (Floats)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)interval,
                                          _mm512_loadu_ps(table + 16));
#elif LANES == 8
    Floats part[4]; /* of eight entries each; bits 3 and 4 choose */
    for (int i = 0; i < 4; i++)
        part[i] = (Floats)_mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8 * i), (__m256i)interval);
    __m256 bit3 = (__m256)(interval << 28), bit4 = (__m256)(interval << 27);
    __m256 low = _mm256_blendv_ps((__m256)part[0], (__m256)part[1], bit3);
    __m256 high = _mm256_blendv_ps((__m256)part[2], (__m256)part[3], bit3);
    return (Floats)_mm256_blendv_ps(low, high, bit4);
#else
    Floats v;
    for (int l = 0; l < LANES; l++) v[l] = table[interval[l] & 31];
    return v;
#endif
}

/* The value nearest to a v of -136 or more. */
LANES_INLINE Floats nearest_value(Floats v) {
    v = smaller(v, all_lanes(113));
    Ints interval = bits_of(v + 0x1.8p26f);
    Floats middle = look_up(middles, interval), gap = look_up(gaps, interval);
    Ints sign = bits_of(v - middle) & all_lanes_int(INT32_MIN);
    return middle + floats_of_bits(bits_of(gap) | sign);
}

/* ---- the search ---- */

typedef struct Candidate {
    Floats inverse, xq, qq; /* of the scale; sum of w q x, sum of w q q */
} Candidate;

LANES_INLINE void add_element(Candidate *c, Floats x, Floats w) {
    Floats q = nearest_value(c->inverse * x), wq = w * q;
    c->xq += wq * x;
    c->qq += wq * q;
}

LANES_CODE void sum_four(Candidate *c, const Floats *x, const Floats *w) {
    Candidate c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
    for (int i = 0; i < 32; i++) {
        add_element(&c0, x[i], w[i]);
        add_element(&c1, x[i], w[i]);
        add_element(&c2, x[i], w[i]);
        add_element(&c3, x[i], w[i]);
    }
    c[0] = c0;
    c[1] = c1;
    c[2] = c2;
    c[3] = c3;
}

LANES_INLINE Floats extreme_of(const Floats *x) {
    Floats largest = all_lanes(0), extreme = all_lanes(0);
    for (int i = 0; i < 32; i++) {
        extreme = pick(greater(absolute(x[i]), largest), x[i], extreme);
        largest = absolute(extreme);
    }
    return extreme;
}

LANES_CODE Floats search_scale(const Floats *x, const Floats *w) {
    Floats extreme = extreme_of(x), zero = all_lanes(0);
    Candidate c[N_CANDIDATES];
    c[0] = (Candidate){1 / (-extreme / values[0]), zero, zero};
    for (int t = -IQ4_TRIES; t <= IQ4_TRIES; t++)
        c[t + IQ4_TRIES + 1] = (Candidate){all_lanes((float)(t + values[0])) / extreme, zero, zero};
    for (int i = 0; i < N_CANDIDATES; i += 4) sum_four(c + i, x, w);
    Floats d = pick(greater(c[0].qq, zero), c[0].xq / c[0].qq, zero), best = d * c[0].xq;
    for (int i = 1; i < N_CANDIDATES; i++) {
        Floats xq = c[i].xq, qq = c[i].qq, ratio = xq / qq;
        Mask better = greater(qq, zero) & greater(xq * xq, best * qq);
        d = pick(better, ratio, d);
        best = pick(better, ratio * xq, best);
    }
    return pick(less(absolute(extreme), all_lanes(IQ4_EPS)), zero, d);
}

/* ---- blocks in and out ---- */

/* LANES (super-)blocks, an element of all of them after the other. */
typedef struct Group {
    Floats x[QK_K], importance[QK_K];
    float rows[LANES * QK_K]; /* the same as they come */
    bool weighted;
    Mask bad;
} Group;

/* n_blocks of n elements from block `first` on. Lanes that have no block get zeros. */
LANES_CODE void load_group(Group *g, const FloatRows *rows, size_t n, size_t first, size_t n_blocks) {
    size_t bytes = n * dtype_info(rows->type)->bytes;
    memset(g->rows + n_blocks * n, 0, (LANES - n_blocks) * n * sizeof(float));
    widen_any(g->rows, rows->type, (const uint8_t *)rows->data + first * bytes, n_blocks * n);
    load_blocks(g->x, g->rows, n, n);
    Mask good = less(all_lanes(0), all_lanes(1));
    for (size_t i = 0; i < n; i++) good &= less(absolute(g->x[i]), all_lanes(0x1p40f));
    g->bad = not(good);
    g->weighted = rows->importance != NULL;
    if (!g->weighted) return;
    for (size_t l = 0; l < n_blocks; l++)
        memcpy(g->rows + l * n, rows->importance + (first + l) * n % rows->row_elements, n * sizeof(float));
    load_blocks(g->importance, g->rows, n, n);
}

LANES_INLINE void search_scales(Floats *scales, const Group *g, size_t n) {
    Floats squares = all_lanes(0), w[32];
    if (g->weighted)
        for (size_t i = 0; i < n; i++) squares += g->x[i] * g->x[i];
    squares *= 2.0f / (float)n;
    for (size_t b = 0; b < n; b += 32) {
        const Floats *x = g->x + b, *importance = g->importance + b;
        for (int i = 0; i < 32; i++)
            w[i] = g->weighted ? importance[i] * square_root(squares + x[i] * x[i]) : x[i] * x[i];
        scales[b / 32] = search_scale(x, w);
    }
}

LANES_INLINE Floats inverse_of(Floats scale) {
    return pick(equal(scale, all_lanes(0)), all_lanes(0), 1 / scale);
}

/* Four bytes of qs, of lane l in words[l], from element i on. */
LANES_INLINE void pack_four(int32_t *words, const Floats *x, Floats inverse) {
    Ints word = all_lanes_int(0);
    for (int i = 3; i >= 0; i--)
        word = word << 8 | nearest_index(inverse * x[i]) | nearest_index(inverse * x[i + 16]) << 4;
    memcpy(words, &word, sizeof word);
}

/* 16 bytes of each lane, `stride` bytes apart. */
LANES_CODE void pack(uint8_t *qs, size_t stride, size_t n_blocks, const Floats *x, Floats inverse) {
    int32_t words[4][LANES];
    for (int i = 0; i < 4; i++) pack_four(words[i], x + 4 * i, inverse);
    for (size_t l = 0; l < n_blocks; l++)
        for (size_t i = 0; i < 4; i++) memcpy(qs + l * stride + 4 * i, &words[i][l], 4);
}

/* The first bad lane, or n_blocks. */
LANES_INLINE size_t first_bad(const Group *g, Floats d, size_t n_blocks) {
    Mask bad = g->bad | not(less(absolute(d), all_lanes(65520.0f)));
    uint32_t bits = mask_bits(bad);
    size_t lane = bits ? (size_t)__builtin_ctz(bits) : n_blocks;
    return lane < n_blocks ? lane : n_blocks;
}

LANES_CODE size_t quantize_nl(uint8_t *out, const Group *g, size_t n_blocks) {
    Floats d;
    float scale[LANES];
    search_scales(&d, g, QK_LEGACY);
    store_floats(scale, d);
    block_iq4_nl *blocks = (block_iq4_nl *)out;
    for (size_t l = 0; l < n_blocks; l++) blocks[l].d = f16_from_f32(scale[l]);
    pack(blocks->qs, sizeof *blocks, n_blocks, g->x, inverse_of(d));
    return first_bad(g, d, n_blocks);
}

LANES_CODE size_t quantize_xs(uint8_t *out, const Group *g, size_t n_blocks) {
    Floats scales[8], extreme = all_lanes(0);
    int32_t small[8][LANES];
    float factor[LANES];
    block_iq4_xs *blocks = (block_iq4_xs *)out;
    search_scales(scales, g, QK_K);
    for (int b = 0; b < 8; b++)
        extreme = pick(greater(absolute(scales[b]), absolute(extreme)), scales[b], extreme);
    Floats d = -extreme / 32, inverse = inverse_of(d);
    store_floats(factor, d);
    for (int b = 0; b < 8; b++) {
        Ints s = clamp_int(nearest_int(inverse * scales[b]), -32, 31);
        pack(blocks->qs + 16 * b, sizeof *blocks, n_blocks, g->x + 32 * b, inverse_of(d * to_floats(s)));
        s += 32;
        memcpy(small[b], &s, sizeof s);
    }
    for (size_t l = 0; l < n_blocks; l++) {
        blocks[l].d = f16_from_f32(factor[l]);
        blocks[l].scales_h = 0;
        for (int b = 0; b < 8; b++) blocks[l].scales_h |= (uint16_t)(small[b][l] >> 4 << 2 * b);
        for (int b = 0; b < 4; b++)
            blocks[l].scales_l[b] = (uint8_t)((small[2 * b][l] & 15) | small[2 * b + 1][l] << 4);
    }
    return first_bad(g, d, n_blocks);
}

LANES_CODE size_t quantize_iq4(void *out, const FloatRows *rows, size_t n) {
    size_t total = rows->n_rows * rows->row_elements / n, step;
    size_t bytes = n == QK_K ? sizeof(block_iq4_xs) : sizeof(block_iq4_nl);
    Group g;
    for (size_t first = 0; first < total; first += step) {
        step = total - first < LANES ? total - first : LANES;
        uint8_t *blocks = (uint8_t *)out + first * bytes;
        load_group(&g, rows, n, first, step);
        size_t done = n == QK_K ? quantize_xs(blocks, &g, step) : quantize_nl(blocks, &g, step);
        if (done < step) return (first + done) * n;
    }
    return total * n;
}

#endif
