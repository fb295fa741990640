/* quantize_legacy_weighted.h -- the part of quantize_legacy_fast.h for rows with an importance: a block in
 * each lane, since its sums depend on the order of elements. The mean squares likewise, a row in each lane.
 */
#ifndef RECAST_CORE_QUANTIZE_LEGACY_WEIGHTED_H
#define RECAST_CORE_QUANTIZE_LEGACY_WEIGHTED_H

#include "core/floats.h"
#include "core/lanes.h"
#include "core/quantize_k.h" /* the range of the search */
#include "core/quantize_legacy.h"
#include <math.h>

/* ---- the searches ---- */

/* The scale that fits best, as k_search_qx finds it, and its integers plus half. */
LANES_INLINE Floats search_scale(const Floats *x, const Floats *w, int half, Ints *q) {
    Floats zero = all_lanes(0), extreme = zero, wx[32];
    for (int i = 0; i < 32; i++) {
        extreme = pick(greater(absolute(x[i]), absolute(extreme)), x[i], extreme);
        wx[i] = w[i] * x[i];
    }
    const Mask tiny = less(absolute(extreme), all_lanes(K_SCALE_EPS));
    Floats scale = zero, best = zero, best_inverse = zero;
    for (int k = 0; k < 19; k++) { /* without a shift first, then by -0.9, -0.8 ... 0.9 */
        float shift = k == 0 ? 0 : 0.1f * (float)(k < 10 ? k - 10 : k - 9);
        Floats inverse = all_lanes(-((float)half + shift)) / extreme, xl = zero, ll = zero;
        for (int i = 0; i < 32; i++) {
            Floats l = nearest_small(inverse * x[i]); /* at most half + 1, where x isn't tiny */
            l = larger(smaller(l, all_lanes((float)(half - 1))), all_lanes((float)-half));
            xl += wx[i] * l;
            ll += w[i] * l * l;
        }
        Mask better = greater(ll, zero) & greater(xl * xl, best * ll);
        if (k == 0) better = not(equal(ll, zero));
        scale = pick(better, xl / ll, scale);
        best = pick(better, scale * xl, best);
        if (k == 0) better = not(tiny);
        best_inverse = pick(better, inverse, best_inverse);
    }
    for (int i = 0; i < 32; i++) {
        Ints l = clamp_int(nearest_int(best_inverse * x[i]), -half, half - 1) + half;
        q[i] = pick_int(tiny, all_lanes_int(0), l);
    }
    return pick(tiny, zero, scale);
}

LANES_INLINE Floats integer(Floats v, int levels) {
    return to_floats(clamp_int(nearest_int(v), 0, levels));
}

LANES_INLINE Floats error_of_line(const Floats *x, const Floats *w, const Floats *l, Floats scale,
                                  Floats min) {
    Floats error = all_lanes(0);
    for (int i = 0; i < 32; i++) {
        Floats distance = scale * l[i] + min - x[i];
        error += w[i] * (distance * distance);
    }
    return error;
}

/* The line that fits best, as k_search_qkx finds it, and its integers. */
LANES_INLINE Floats search_line(const Floats *x, const Floats *w, int levels, Floats *minimum, Ints *q) {
    const KRange range = k_range_weighted;
    Floats zero = all_lanes(0), low = x[0], max = x[0], sum_w = w[0], sum_x = w[0] * x[0], l[32];
    for (int i = 1; i < 32; i++) {
        low = smaller(x[i], low);
        max = larger(x[i], max);
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    low = smaller(zero, low);
    const Mask flat = equal(max, low);
    Floats inverse = all_lanes((float)levels) / (max - low), scale = all_lanes(1) / inverse, min = low;
    for (int i = 0; i < 32; i++) l[i] = integer(inverse * (x[i] - min), levels);
    Floats best = error_of_line(x, w, l, scale, min), best_inverse = inverse, best_low = low;
    for (int k = 0; k <= range.n_steps; k++) {
        inverse = all_lanes(range.first + range.step * (float)k + (float)levels) / (max - min);
        Floats sum_l = zero, sum_ll = zero, sum_xl = zero;
        for (int i = 0; i < 32; i++) {
            l[i] = integer(inverse * (x[i] - min), levels);
            Floats wl = w[i] * l[i];
            sum_l += wl;
            sum_ll += wl * l[i];
            sum_xl += wl * x[i];
        }
        Floats determinant = sum_w * sum_ll - sum_l * sum_l;
        Floats line_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        Floats line_min = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
        Mask above = greater(line_min, zero);
        line_scale = pick(above, sum_xl / sum_ll, line_scale);
        line_min = pick(above, zero, line_min);
        Floats error = error_of_line(x, w, l, line_scale, line_min);
        Mask better = greater(determinant, zero) & less(error, best);
        best = pick(better, error, best);
        best_inverse = pick(better, inverse, best_inverse);
        best_low = pick(better, min, best_low);
        scale = pick(better, line_scale, scale);
        min = pick(better, line_min, min);
    }
    for (int i = 0; i < 32; i++) {
        Ints n = clamp_int(nearest_int(best_inverse * (x[i] - best_low)), 0, levels);
        q[i] = pick_int(flat, all_lanes_int(0), n);
    }
    *minimum = pick(flat, low, min);
    return pick(flat, zero, scale);
}

/* ---- blocks in and out ---- */

/* LANES blocks, an element of all of them after the other. */
typedef struct Group {
    Floats x[32], w[32];
} Group;

LANES_CODE void load_group(Group *g, const FloatRows *rows, size_t first, size_t n_blocks, const float *means,
                           size_t means_from) {
    float raw[LANES * 32] = {0}, mean[LANES] = {0};
    size_t bytes = 32 * dtype_info(rows->type)->bytes, row_blocks = rows->row_elements / 32;
    widen_any(raw, rows->type, (const uint8_t *)rows->data + first * bytes, n_blocks * 32);
    load_blocks(g->x, raw, 32, 32);
    for (size_t l = 0; l < n_blocks; l++) {
        size_t row = (first + l) / row_blocks, column = (first + l) % row_blocks * 32;
        mean[l] = means[row - means_from];
        memcpy(raw + l * 32, rows->importance + column, 32 * sizeof(float));
    }
    load_blocks(g->w, raw, 32, 32);
    for (int i = 0; i < 32; i++) g->w[i] *= square_root(load_floats(mean) + g->x[i] * g->x[i]);
}

/* Scale and minimum. False if they are too large or NaN; else *block is what comes after them. */
LANES_INLINE bool store_numbers(LegacyFormat f, uint8_t **block, float d, float m) {
    const float numbers[2] = {d, m};
    for (int i = 0; i < 1 + f.has_minimum; i++) {
        if (!(fabsf(numbers[i]) < 65520)) return false;
        uint16_t half = f16_from_f32(numbers[i]);
        memcpy(*block, &half, sizeof half);
        *block += sizeof half;
    }
    return true;
}

/* Byte i of a block's qs in bytes[i], lane by lane. */
LANES_INLINE bool store_lane(LegacyFormat f, uint8_t *block, float d, float m, uint8_t q[32][LANES],
                             size_t lane) {
    if (!store_numbers(f, &block, d, m)) return false;
    if (f.levels > 15) {
        uint32_t fifth = 0;
        for (int i = 0; i < 32; i++) fifth |= (uint32_t)(q[i][lane] >> 4) << i;
        memcpy(block, &fifth, sizeof fifth);
        block += sizeof fifth;
    }
    for (int i = 0; i < 16; i++) block[i] = (uint8_t)((q[i][lane] & 15) | q[i + 16][lane] << 4);
    return true;
}

/* The blocks from `first` on; gives how many. */
LANES_INLINE size_t quantize_group(LegacyFormat f, uint8_t *out, const Group *g, size_t n_blocks) {
    size_t bytes = legacy_block_bytes(f);
    Floats minima = all_lanes(0), scales;
    Ints q[32];
    float d[LANES], m[LANES];
    uint8_t q_bytes[32][LANES];
    if (f.has_minimum)
        scales = search_line(g->x, g->w, f.levels, &minima, q);
    else
        scales = search_scale(g->x, g->w, (f.levels + 1) / 2, q);
    store_floats(d, scales);
    store_floats(m, minima);
    for (int i = 0; i < 32; i++) store_bytes(q_bytes[i], q[i]);
    for (size_t l = 0; l < n_blocks; l++)
        if (!store_lane(f, out + l * bytes, d[l], m[l], q_bytes, l)) return l;
    return n_blocks;
}

/* Mean squares of LANES rows or fewer. Gives how many come before a bad one. */
LANES_CODE size_t mean_squares(float means[LANES], const FloatRows *rows, size_t first, size_t n_rows) {
    size_t bytes = dtype_info(rows->type)->bytes, row_bytes = rows->row_elements * bytes;
    const uint8_t *in = (const uint8_t *)rows->data + first * row_bytes;
    Floats sums = all_lanes(0), x[32];
    float raw[LANES * 32] = {0};
    Mask small = less(all_lanes(0), all_lanes(1));
    for (size_t i = 0; i < rows->row_elements; i += 32) {
        for (size_t l = 0; l < n_rows; l++)
            widen_any(raw + l * 32, rows->type, in + l * row_bytes + i * bytes, 32);
        load_blocks(x, raw, 32, 32);
        for (int k = 0; k < 32; k++) {
            small &= less(absolute(x[k]), all_lanes(0x1p40f));
            sums += x[k] * x[k];
        }
    }
    store_floats(means, sums / (float)rows->row_elements);
    uint32_t bad = mask_bits(not(small)) & (LANES == 16 ? 0xFFFF : LANES == 8 ? 0xFF : 0xF);
    return bad ? (size_t)__builtin_ctz(bad) : n_rows;
}

LANES_INLINE size_t quantize_weighted(LegacyFormat f, uint8_t *out, const FloatRows *rows) {
    size_t row_blocks = rows->row_elements / 32, bytes = legacy_block_bytes(f);
    for (size_t row = 0; row < rows->n_rows && row_blocks > 0; row += LANES) {
        size_t n_rows = rows->n_rows - row < LANES ? rows->n_rows - row : LANES, bad;
        float means[LANES];
        Group g;
        size_t good = mean_squares(means, rows, row, n_rows), end = (row + good) * row_blocks, step;
        for (size_t b = row * row_blocks; b < end; b += step) {
            step = end - b < LANES ? end - b : LANES;
            load_group(&g, rows, b, step, means, row);
            size_t done = quantize_group(f, out + b * bytes, &g, step);
            if (done < step) return (b + done) * 32;
        }
        if (good < n_rows && !legacy_mean_square(rows, row + good, means, &bad)) return bad;
    }
    return rows->n_rows * rows->row_elements;
}

#endif
