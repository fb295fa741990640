/* quantized_lanes.h -- products of quantized rows with quantized activations (docs/arithmetic.md, section
 * 11), for one WIDTH. See vectors.h.
 *
 * The lane of a block is its index mod 32, so WIDTH consecutive blocks of a row are a register of integers
 * that takes one fused multiply-add. Their integers are sums over bytes in eight registers; adding up within
 * each block while putting blocks side by side is a tree of packs and adds (`quad`). */
#ifndef RECAST_RUNNER_CPU_QUANTIZED_LANES_H
#define RECAST_RUNNER_CPU_QUANTIZED_LANES_H

#include "runner/cpu/quantized_unpack.h"
#include "runner/cpu/sets.h"
#include <math.h>

/* Activations for WIDTH blocks, ordered as the weights are. */
typedef struct ActGroup {
    int8_t q[32 * WIDTH];
    float d[WIDTH];
    int32_t half[2][WIDTH], sum[WIDTH]; /* sums of q over each half, and over both */
} ActGroup;

_Static_assert(sizeof(ActGroup) == (size_t)48 * WIDTH && sizeof(ActGroup) % VECTOR_BYTES == 0, "no gaps");
_Static_assert(sizeof(WeightGroup) <= 512 / 16 * WIDTH * sizeof(float), "mat_scratch holds unpacked rows");

static inline size_t groups_of(size_t columns) {
    return (columns / 32 + WIDTH - 1) / WIDTH;
}

/* ---- activations ---- */

/* quantize_block of runner/ref/quantized.c, step by step. q: 32 bytes; returns d. */
VECTOR float quantize_block(__m256i *q, const float *x) {
    const __m256 sign = _mm256_set1_ps(-0.0f), magic = _mm256_set1_ps(0x1.8p23f);
    __m256 v[4], top = _mm256_setzero_ps(), none = top;
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        top = _mm256_max_ps(_mm256_andnot_ps(sign, v[i]), top); /* a NaN is passed over */
        none = _mm256_or_ps(none, _mm256_cmp_ps(v[i], v[i], _CMP_UNORD_Q));
    }
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(top), _mm256_extractf128_ps(top, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    float largest = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
    float d = largest / 127, inverse = 1 / d;
    *q = _mm256_setzero_si256();
    if (_mm256_movemask_ps(none)) return NAN;
    if (largest == 0 || !isfinite(inverse)) return 0;
    __m256i w[4];
    for (int i = 0; i < 4; i++) {
        __m256 rounded = _mm256_add_ps(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)), magic);
        w[i] = _mm256_sub_epi32(_mm256_castps_si256(rounded), _mm256_castps_si256(magic));
        w[i] = _mm256_srai_epi32(_mm256_slli_epi32(w[i], 24), 24); /* the low byte, as a cast takes it */
    }
    __m256i low = _mm256_packs_epi32(w[0], w[1]), high = _mm256_packs_epi32(w[2], w[3]);
    *q =
        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return d;
}

VECTOR int32_t sum_of_bytes(__m128i q) {
    __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), q);
    __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
    fours = _mm_add_epi32(fours, _mm_shuffle_epi32(fours, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(fours, _mm_shuffle_epi32(fours, 0xB1)));
}

/* Where half s of a group's block b lies in ActGroup.q: see quantized_unpack.h. */
static inline size_t place_of(Layout layout, size_t b, size_t s) {
    size_t in = b % (WIDTH / 2); /* of the half of a group, or super-block, that register 2i belongs to */
    if (layout == NARROW) return (b % 4 + 4 * s) * VECTOR_BYTES + b / 4 * 16;
    if (layout == PAIRED) return (2 * (b / (WIDTH / 2)) + in % 2 + 4 * s) * VECTOR_BYTES + in / 2 * 16;
    if (WIDTH == 8) return b * 32 + s * 16;
    return (b / 8 * 4 + b % 4) * VECTOR_BYTES + (b % 8 / 4 * 2 + s) * 16;
}

VECTOR_CODE void pack_lanes(void *out, DType type, const float *x, size_t columns) {
    ActGroup *group = out;
    Layout layout = layout_of(type);
    for (size_t g = 0; g < groups_of(columns); g++, group++)
        for (size_t b = 0; b < WIDTH; b++) {
            __m256i q = _mm256_setzero_si256();
            size_t block = g * WIDTH + b;
            group->d[b] = block < columns / 32 ? quantize_block(&q, x + 32 * block) : 0;
            for (size_t s = 0; s < 2; s++) {
                __m128i half = s ? _mm256_extracti128_si256(q, 1) : _mm256_castsi256_si128(q);
                _mm_storeu_si128((__m128i *)(void *)(group->q + place_of(layout, b, s)), half);
                group->half[s][b] = sum_of_bytes(half);
            }
            group->sum[b] = group->half[0][b] + group->half[1][b];
        }
}

/* ---- integers ---- */

VECTOR Ints sum(Ints a, Ints b) {
#if WIDTH == 16
    return _mm512_add_epi32(a, b);
#else
    return _mm256_add_epi32(a, b);
#endif
}

VECTOR Ints times(Ints a, Ints b) {
#if WIDTH == 16
    return _mm512_mullo_epi32(a, b);
#else
    return _mm256_mullo_epi32(a, b);
#endif
}

VECTOR Ints left_by(Ints a, int n) {
#if WIDTH == 16
    return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n));
#else
    return _mm256_sll_epi32(a, _mm_cvtsi32_si128(n));
#endif
}

VECTOR Floats to_floats(Ints a) {
#if WIDTH == 16
    return _mm512_cvtepi32_ps(a);
#else
    return _mm256_cvtepi32_ps(a);
#endif
}

VECTOR Floats product(Floats a, Floats b) {
#if WIDTH == 16
    return _mm512_mul_ps(a, b);
#else
    return _mm256_mul_ps(a, b);
#endif
}

/* Each 32-bit lane: before + the sum of four products of bytes. Without VNNI two are added in 16 bits, which
 * holds 2 * 63 * 127; bytes lend their sign to the activations first: 2 * 128 * 127 = 32,512. */
VECTOR Ints dot4(DType type, Ints before, Ints weights, Ints activations) {
#ifdef VNNI
    (void)type;
    return _mm512_dpbusd_epi32(before, weights, activations);
#else
    Ints pairs = has_bytes(type)
                     ? _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(activations, weights))
                     : _mm256_maddubs_epi16(weights, activations);
    return sum(before, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}

#if WIDTH == 16
#define OP(name) _mm512_##name
#else
#define OP(name) _mm256_##name
#endif

/* 16-bit neighbours added, of a's and b's lanes cut to 16 bits: a0+a1, a2+a3, b0+b1, b2+b3 in each 128 bits.
 */
VECTOR Ints pack_and_add(Ints a, Ints b) {
    return OP(madd_epi16)(OP(packs_epi32)(a, b), OP(set1_epi16)(1));
}

/* In each 128 bits: the sums of the four lanes of p[0], of p[1], p[2] and p[3]. */
VECTOR Ints quad(DType type, const Ints p[4]) {
    if (fits_once(type)) {
        Ints a = pack_and_add(p[0], p[1]), b = pack_and_add(p[2], p[3]);
        if (fits_twice(type)) return pack_and_add(a, b);
#if WIDTH == 16
        Floats x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
        return sum(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)),
                   _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xDD)));
#else
        Floats x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
        return sum(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)),
                   _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xDD)));
#endif
    }
    Ints a = sum(OP(unpacklo_epi32)(p[0], p[1]), OP(unpackhi_epi32)(p[0], p[1]));
    Ints b = sum(OP(unpacklo_epi32)(p[2], p[3]), OP(unpackhi_epi32)(p[2], p[3]));
    return sum(OP(unpacklo_epi64)(a, b), OP(unpackhi_epi64)(a, b));
}

/* Sums of paired blocks in the order of the blocks: each 128 bits have two of one half, then two of the
 * other.
 */
VECTOR Ints in_order(Ints a) {
#if WIDTH == 16
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), a);
#else
    return _mm256_permute4x64_epi64(a, 0xD8);
#endif
}

/* Sums of products in each 32-bit lane of a group's registers; those of both halves where they go together.
 * `left` as for unpack: with 16 lanes and 8 blocks some are not needed. */
VECTOR_TYPED void dots(Ints p[8], DType type, const WeightGroup *w, const ActGroup *x, size_t left) {
    Ints zero = all_ints(0);
    bool few = WIDTH == 16 && left == 8;
    if (layout_of(type) != WIDE) {
        UNROLL for (size_t c = 0; c < 4; c++) {
            if (few && layout_of(type) == PAIRED && c >= 2) {
                p[c] = p[c - 2];
                continue;
            }
            p[c] = dot4(type, zero, w->z[c], load_ints(x->q + c * VECTOR_BYTES));
            p[c] = dot4(type, p[c], w->z[4 + c], load_ints(x->q + (4 + c) * VECTOR_BYTES));
        }
        return;
    }
    UNROLL for (size_t k = 0; k < 8; k++) {
        if (few && k >= 4) break;
        p[k] = dot4(type, zero, w->z[k], load_ints(x->q + k * VECTOR_BYTES));
    }
}

/* The exact integers of WIDTH blocks, without minima, from what dots gives. */
VECTOR_TYPED Ints values(DType type, const Ints p[8], const WeightGroup *w, const ActGroup *x, size_t left) {
    int bias = bias_shift(type);
    bool few = WIDTH == 16 && left == 8;
    if (layout_of(type) != WIDE) {
        Ints v = quad(type, p);
        if (layout_of(type) == PAIRED) v = in_order(v);
        if (bias >= 0) v = less(v, left_by(load_ints(x->sum), bias));
        return scales_of(type) == PER_BLOCK ? times(w->scale[0], v) : v;
    }
    Ints a = quad(type, p), b = few ? a : quad(type, p + 4);
    Ints first = parts_of(a, b, false), second = parts_of(a, b, true);
    if (scales_of(type) == PER_HALF) {
        if (bias >= 0) {
            first = less(first, left_by(load_ints(x->half[0]), bias));
            second = less(second, left_by(load_ints(x->half[1]), bias));
        }
        return sum(times(w->scale[0], first), times(w->scale[1], second));
    }
    Ints v = sum(first, second);
    if (bias >= 0) v = less(v, left_by(load_ints(x->sum), bias));
    return scales_of(type) == PER_BLOCK ? times(w->scale[0], v) : v;
}

VECTOR_TYPED Ints minima(DType type, const WeightGroup *w, const ActGroup *x) {
    if (adds_minimum(type)) return load_ints(x->sum);
    if (scales_of(type) == PER_BLOCK) return times(w->min[0], load_ints(x->sum));
    return sum(times(w->min[0], load_ints(x->half[0])), times(w->min[1], load_ints(x->half[1])));
}

/* ---- rows ---- */

enum { VECTORS_AT_ONCE = 2 };

typedef struct Lanes {
    Floats lane[PARTS], min[PARTS];
} Lanes;

/* p: from dots. */
VECTOR void add_group(Lanes *l, size_t part, DType type, const Ints p[8], const WeightGroup *w,
                      const ActGroup *x, size_t left) {
    Floats d = load_floats(x->d);
    Floats lane = fused(product(w->d, d), to_floats(values(type, p, w, x, left)), l->lane[part]);
    l->lane[part] = left == WIDTH ? lane : pick(first_lanes(left), lane, l->lane[part]);
    if (!has_minimum(type)) return;
    Floats min = fused(product(w->m, d), to_floats(minima(type, w, x)), l->min[part]);
    l->min[part] = left == WIDTH ? min : pick(first_lanes(left), min, l->min[part]);
}

/* The same for the lanes of a mask. */
VECTOR void add_masked(Lanes *l, size_t part, DType type, const Ints p[8], const WeightGroup *w,
                       const ActGroup *x, Mask mask) {
    Floats d = load_floats(x->d);
    Floats lane = fused(product(w->d, d), to_floats(values(type, p, w, x, WIDTH)), l->lane[part]);
    l->lane[part] = pick(mask, lane, l->lane[part]);
    if (!has_minimum(type)) return;
    Floats min = fused(product(w->m, d), to_floats(minima(type, w, x)), l->min[part]);
    l->min[part] = pick(mask, min, l->min[part]);
}

VECTOR void clear(Lanes *l, DType type) {
    UNROLL for (size_t p = 0; p < PARTS; p++) {
        l->lane[p] = no_floats();
        if (has_minimum(type)) l->min[p] = no_floats();
    }
}

VECTOR float finish(const Lanes *l, DType type) {
    float result = butterfly(l->lane);
    if (!has_minimum(type)) return result;
    return adds_minimum(type) ? result + butterfly(l->min) : result - butterfly(l->min);
}

/* One group straight from the file. */
VECTOR void add_blocks(Lanes *l, size_t part, DType type, const uint8_t *at, const ActGroup *x, size_t left) {
    WeightGroup w;
    Ints p[8];
    unpack(&w, type, at, left);
    dots(p, type, &w, x, left);
    add_group(l, part, type, p, &w, x, left);
}

/* Two groups, step by step: a group is a chain of some twenty instructions that wait for each other, and the
 * processor doesn't look far enough ahead to find the next chain by itself. With AVX2's 16 registers it has
 * to. */
VECTOR void add_two(Lanes *l, size_t part, DType type, const uint8_t *at, const ActGroup *x, size_t left) {
    fetch_ahead(at, 2 * group_bytes(type));
#if WIDTH == 16
    WeightGroup v, w;
    Ints p[8], q[8];
    unpack(&v, type, at, WIDTH);
    dots(p, type, &v, x, WIDTH);
    unpack(&w, type, at + group_bytes(type), left);
    dots(q, type, &w, x + 1, left);
    add_group(l, part, type, p, &v, x, WIDTH);
    add_group(l, part + 1, type, q, &w, x + 1, left);
#else
    add_blocks(l, part, type, at, x, WIDTH);
    add_blocks(l, part + 1, type, at + group_bytes(type), x + 1, left);
#endif
}

/* The last groups of a row, in lanes that lie in memory. */
VECTOR void add_rest(Lanes *l, DType type, const uint8_t *at, const ActGroup *x, size_t blocks) {
    for (size_t p = 0; blocks; p++, at += group_bytes(type), x++) {
        size_t n = blocks < WIDTH ? blocks : WIDTH;
        Lanes one;
        one.lane[0] = l->lane[p];
        if (has_minimum(type)) one.min[0] = l->min[p];
        if (n == WIDTH)
            add_blocks(&one, 0, type, at, x, WIDTH);
        else if (is_super(type))
            add_blocks(&one, 0, type, at, x, 8);
        else
            add_blocks(&one, 0, type, at, x, n);
        l->lane[p] = one.lane[0];
        if (has_minimum(type)) l->min[p] = one.min[0];
        blocks -= n;
    }
}

typedef void (*AddRest)(Lanes *, const uint8_t *, const ActGroup *, size_t);

/* One row times one vector. */
VECTOR void row_lanes(Lanes *out, DType type, AddRest rest, const uint8_t *row, const ActGroup *x,
                      size_t blocks) {
    Lanes l;
    clear(&l, type);
    for (; blocks >= PARTS * WIDTH; blocks -= PARTS * WIDTH) {
        UNROLL for (size_t p = 0; p < PARTS; p += 2) {
            add_two(&l, p, type, row, x, WIDTH);
            row += 2 * group_bytes(type);
            x += 2;
        }
    }
    if (WIDTH == 16 && blocks == 24) { /* rows of 768: the experts' */
        add_two(&l, 0, type, row, x, 8);
        blocks = 0;
    }
    *out = l;
    if (blocks) rest(out, row, x, blocks);
}

/* One unpacked row times V vectors; V is a constant. */
VECTOR void row_times(size_t V, DType type, const WeightGroup *w, const ActGroup *const *x, size_t columns,
                      float *const *out) {
    Lanes l[VECTORS_AT_ONCE];
    size_t groups = groups_of(columns), left = columns / 32 % WIDTH;
    UNROLL for (size_t c = 0; c < V; c++) clear(&l[c], type);
    for (size_t g = 0; g < groups; g += PARTS) {
        UNROLL for (size_t p = 0; p < PARTS; p++) {
            if (g + p >= groups) break;
            WeightGroup group = w[g + p];
            Mask mask = first_lanes(left && g + p + 1 == groups ? left : WIDTH);
            Ints sums[VECTORS_AT_ONCE][8];
            UNROLL for (size_t c = 0; c < V; c++) dots(sums[c], type, &group, &x[c][g + p], WIDTH);
            UNROLL for (size_t c = 0; c < V; c++)
                add_masked(&l[c], p, type, sums[c], &group, &x[c][g + p], mask);
        }
    }
    UNROLL for (size_t c = 0; c < V; c++) * out[c] = finish(&l[c], type);
}

VECTOR void unpack_row(WeightGroup *w, DType type, const uint8_t *row, size_t columns) {
    size_t whole = columns / 32 / WIDTH, left = columns / 32 % WIDTH;
    for (size_t g = 0; g < whole; g++) unpack(&w[g], type, row + g * group_bytes(type), WIDTH);
    if (left) unpack(&w[whole], type, row + whole * group_bytes(type), is_super(type) ? 8 : left);
}

/* A panel of rows is unpacked once for all vectors; a few vectors stay in the first cache while they meet
 * all of its rows. */
VECTOR void many_quantized(DType type, const MatTile *t) {
    size_t groups = groups_of(t->columns);
    WeightGroup *panel =
        (void *)(((uintptr_t)t->scratch + MAT_ALIGNMENT - 1) & ~(uintptr_t)(MAT_ALIGNMENT - 1));
    for (size_t first = 0; first < t->n_rows; first += MAT_PANEL) {
        size_t n_rows = t->n_rows - first < MAT_PANEL ? t->n_rows - first : MAT_PANEL;
        for (size_t r = 0; r < n_rows; r++)
            unpack_row(panel + r * groups, type, t->rows + (first + r) * t->row_bytes, t->columns);
        for (size_t i = 0; i < t->n; i += VECTORS_AT_ONCE) {
            const ActGroup *x[VECTORS_AT_ONCE];
            float *out[VECTORS_AT_ONCE];
            for (size_t c = 0; c < VECTORS_AT_ONCE; c++) { /* the last one fills up */
                size_t v = i + c < t->n ? i + c : t->n - 1;
                x[c] = (const void *)mat_vector(t, v);
                out[c] = t->out + v * t->out_stride + first;
            }
            for (size_t r = 0; r < n_rows; r++) {
                row_times(VECTORS_AT_ONCE, type, panel + r * groups, x, t->columns, out);
                for (size_t c = 0; c < VECTORS_AT_ONCE; c++) out[c]++;
            }
        }
    }
}

/* Sums of several rows are finished together, since each of them is a chain. */
VECTOR void few_quantized(DType type, AddRest rest, const MatTile *t) {
    enum { ROWS = 8 };
    for (size_t i = 0; i < t->n; i++) {
        const ActGroup *x = (const void *)mat_vector(t, i);
        float *out = t->out + i * t->out_stride;
        for (size_t first = 0; first < t->n_rows; first += ROWS) {
            Lanes l[ROWS];
            size_t n = t->n_rows - first < ROWS ? t->n_rows - first : ROWS;
            for (size_t r = 0; r < n; r++)
                row_lanes(&l[r], type, rest, t->rows + (first + r) * t->row_bytes, x, t->columns / 32);
            for (size_t r = 0; r < n; r++) out[first + r] = finish(&l[r], type);
        }
    }
}

#define FOR_TYPE(name)                                                                            \
    VECTOR_CODE void rest_##name(Lanes *l, const uint8_t *at, const ActGroup *x, size_t blocks) { \
        add_rest(l, DT_##name, at, x, blocks);                                                    \
    }                                                                                             \
    VECTOR_CODE void few_##name(const MatTile *t) {                                               \
        few_quantized(DT_##name, rest_##name, t);                                                 \
    }                                                                                             \
    VECTOR_CODE void many_##name(const MatTile *t) {                                              \
        many_quantized(DT_##name, t);                                                             \
    }
FOR_QUANTIZED_TYPES(FOR_TYPE)
#undef FOR_TYPE

static void quantized_lanes(const MatTile *t) {
    static const struct {
        DType type;
        void (*few)(const MatTile *), (*many)(const MatTile *);
    } table[] = {
#define FUNCTIONS(name) {DT_##name, few_##name, many_##name},
        FOR_QUANTIZED_TYPES(FUNCTIONS)
#undef FUNCTIONS
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].type == t->type) (t->n > 2 ? table[i].many : table[i].few)(t);
}

#undef OP
#endif
