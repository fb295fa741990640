/* quantize_k_lanes_search.h -- the searches of quantize_k_search.c on LANES sub-blocks at once: x[i] is
 * element i of each. See there for what they do; here is said only what differs.
 *
 * - No q is kept. Elements are requantized in the end, and the few sub-blocks that aren't are searched again
 *   by the definition.
 * - The hot loops round by nearest_small, which is nearest_int for |v| <= 4194303 only. Lanes in which that
 *   isn't certain are reported as odd; the definition does them again.
 * - Lanes whose search ends early (no range, all zero) go on with the others; what they find is dropped. */
#ifndef RECAST_CORE_QUANTIZE_K_LANES_SEARCH_H
#define RECAST_CORE_QUANTIZE_K_LANES_SEARCH_H

#include "core/lanes.h"
#include "core/quantize_k.h"

/* k_nearest_int and a limit, to the bit for any v, as floats. */
LANES_INLINE Floats nearest_between(Floats v, int low, int high) {
    return to_floats(clamp_int(nearest_int(v), low, high));
}

LANES_INLINE Mask is_small(Floats v) {
    return less_equal(absolute(v), all_lanes(4194303));
}

LANES_INLINE Floats extreme(const Floats *x, int n, Floats *magnitude) {
    Floats largest = all_lanes(0), value = all_lanes(0);
    for (int i = 0; i < n; i++) {
        Mask above = greater(absolute(x[i]), largest);
        largest = pick(above, absolute(x[i]), largest);
        value = pick(above, x[i], value);
    }
    *magnitude = largest;
    return value;
}

/* ---- x ~ scale * l, l in -nmax ... nmax - 1 ---- */

typedef struct LaneSums {
    Floats xl, ll;
} LaneSums;

/* |x| <= |max| and inverse is -(nmax + shift) / max: with a small shift the lower limit can't be passed, with
 * a shift well below zero neither can. limits: how many of them to keep. wx: w * x. */
LANES_INLINE void add_to_sums(LaneSums *s, Floats x, Floats w, Floats wx, int nmax, Floats inverse,
                              int limits) {
    Floats l = nearest_small(inverse * x);
    if (limits > 0) l = at_most(l, (float)(nmax - 1));
    if (limits > 1) l = at_least(l, (float)-nmax);
    s->xl += wx * l;
    s->ll += w * l * l;
}

typedef struct LaneBest {
    Floats scale, score, inverse;
} LaneBest;

LANES_INLINE void keep_better(LaneBest *best, LaneSums s, Floats inverse) {
    Mask better = greater(s.ll, all_lanes(0)) & greater(s.xl * s.xl, best->score * s.ll);
    best->scale = pick(better, s.xl / s.ll, best->scale);
    best->score = pick(better, best->scale * s.xl, best->score);
    best->inverse = pick(better, inverse, best->inverse);
}

/* The candidates of two shifts k / 10, one after the other; read from memory at once. */
LANES_INLINE void try_two(LaneBest *best, const Floats *x, const Floats *w, const Floats *wx, int n, int nmax,
                          int k0, int k1, Floats max, int limits) {
    Floats inverse0 = all_lanes(-((float)nmax + 0.1f * (float)k0)) / max;
    Floats inverse1 = all_lanes(-((float)nmax + 0.1f * (float)k1)) / max;
    LaneSums s0 = {all_lanes(0), all_lanes(0)}, s1 = s0;
    for (int i = 0; i < n; i++) {
        add_to_sums(&s0, x[i], w[i], wx[i], nmax, inverse0, limits);
        add_to_sums(&s1, x[i], w[i], wx[i], nmax, inverse1, limits);
    }
    keep_better(best, s0, inverse0);
    keep_better(best, s1, inverse1);
}

/* q (NULL: not wanted) gets the integers plus nmax. */
LANES_INLINE Floats search_qx(const Floats *x, const Floats *w, int n, int nmax, Ints *q, Mask *odd) {
    Floats magnitude, max = extreme(x, n, &magnitude), zero = all_lanes(0), wx[K_SUB_MAX];
    Mask tiny = less(magnitude, all_lanes(K_SCALE_EPS));
    /* up to here the inverse is far from subnormal, and |inverse * x| <= nmax + 1 */
    *odd = not(less_equal(magnitude, all_lanes(0x1p100f)));
    for (int i = 0; i < n; i++) wx[i] = w[i] * x[i];
    LaneBest best = {.inverse = all_lanes((float)-nmax) / max};
    LaneSums s = {zero, zero};
    for (int i = 0; i < n; i++) add_to_sums(&s, x[i], w[i], wx[i], nmax, best.inverse, 1);
    best.scale = pick(equal(s.ll, zero), zero, s.xl / s.ll);
    best.score = best.scale * s.xl;
    for (int k = -9; k < -6; k += 2) try_two(&best, x, w, wx, n, nmax, k, k + 1, max, 0);
    for (int k = -5; k < -2; k += 2) try_two(&best, x, w, wx, n, nmax, k, k + 1, max, 1);
    try_two(&best, x, w, wx, n, nmax, -1, 1, max, 1);
    try_two(&best, x, w, wx, n, nmax, 2, 3, max, 1);
    for (int k = 4; k < 9; k += 2) try_two(&best, x, w, wx, n, nmax, k, k + 1, max, 2);
    for (int i = 0; q && i < n; i++) {
        Ints l = clamp_int(nearest_int(best.inverse * x[i]), -nmax, nmax - 1) + nmax;
        q[i] = pick_int(tiny, all_lanes_int(0), l);
    }
    return pick(tiny, zero, best.scale);
}

/* Lanes where xl > 0 and rounding and limiting x_ll / xl may give another integer than l. Told without the
 * division: t / xl is the distance from l, right to 2^-20 unless xl is tiny. It stays l for certain if that
 * is at most 0.499, or if it points away from a limit that l is at (and isn't so large that rounding fails).
 */
LANES_INLINE Mask may_change(Floats x_ll, Floats xl, Floats l, int nmax) {
    Floats zero = all_lanes(0), t = x_ll - l * xl;
    Mask near = less_equal(absolute(t), xl * 0.499f);
    Mask beyond = (equal(l, all_lanes((float)(nmax - 1))) & greater(t, zero)) |
                  (equal(l, all_lanes((float)-nmax)) & less(t, zero));
    Mask certain = near | (beyond & less(absolute(x_ll), xl * 1e6f));
    return greater(xl, zero) & not(certain & greater(xl, all_lanes(1e-30f)));
}

/* One element of the passes of k_search_q3. A lane that a pass left alone stays as it is in the next ones, so
 * they need no mask for having ended. Gives the lanes that changed. */
LANES_INLINE Mask improve_q3(Floats x, Floats w, Floats wx, int nmax, Floats *l, LaneSums *s) {
    Floats zero = all_lanes(0), xl = s->xl - wx * *l, ll = s->ll - w * *l * *l;
    Mask change = may_change(x * ll, xl, *l, nmax);
    if (mask_bits(change) == 0) return change;
    Floats other = nearest_between(x * ll / xl, -nmax, nmax - 1);
    change = greater(xl, zero) & not(equal(other, *l));
    xl += wx * other;
    ll += w * other * other;
    change &= greater(ll, zero) & greater(xl * xl * s->ll, s->xl * s->xl * ll);
    *l = pick(change, other, *l);
    s->xl = pick(change, xl, s->xl);
    s->ll = pick(change, ll, s->ll);
    return change;
}

LANES_INLINE Floats search_q3(const Floats *x, int n, int nmax) {
    Floats wx[K_SUB_MAX], w[K_SUB_MAX], l[K_SUB_MAX], magnitude, zero = all_lanes(0);
    Floats inverse = all_lanes((float)-nmax) / extreme(x, n, &magnitude);
    LaneSums s = {zero, zero};
    for (int i = 0; i < n; i++) {
        w[i] = x[i] * x[i];
        wx[i] = w[i] * x[i];
        l[i] = nearest_between(inverse * x[i], -nmax, nmax - 1);
        s.xl += wx[i] * l[i];
        s.ll += w[i] * l[i] * l[i];
    }
    for (int pass = 0; pass < 5; pass++) {
        Mask changed = less(zero, zero);
        for (int i = 0; i < n; i++) changed |= improve_q3(x[i], w[i], wx[i], nmax, &l[i], &s);
        if (mask_bits(changed) == 0) break;
    }
    return pick(less(magnitude, all_lanes(K_SCALE_EPS)) | not(greater(s.ll, zero)), zero, s.xl / s.ll);
}

/* ---- x ~ scale * l, x >= 0, l in 0 ... nmax ---- */

LANES_INLINE Ints min_int(Ints v, int limit) {
    return pick_int(less_int(v, all_lanes_int(limit)), v, all_lanes_int(limit));
}

LANES_INLINE Floats error_qp(const Floats *x, const Floats *w, int n, int limit, Floats inverse) {
    Floats scale = all_lanes(1) / inverse, error = all_lanes(0);
    for (int i = 0; i < n; i++) {
        Ints l = nearest_int(inverse * x[i]);
        Floats distance = x[i] - scale * to_floats(limit ? min_int(l, limit) : l & 255);
        error += w[i] * distance * distance;
    }
    return error;
}

LANES_INLINE Mask improve_qp(Floats x, Floats w, int nmax, Ints *q, LaneSums *s) {
    Floats zero = all_lanes(0), l = to_floats(*q), xl = s->xl - w * x * l, ll = s->ll - w * l * l;
    Mask change = greater(xl, zero) & greater(ll, zero);
    Ints other = min_int(nearest_int(x * ll / xl), nmax);
    Floats o = to_floats(other);
    change &= not(equal_int(other, *q));
    xl += w * x * o;
    ll += w * o * o;
    change &= greater(xl * xl * s->ll, s->xl * s->xl * ll);
    *q = pick_int(change, other & 255, *q);
    s->xl = pick(change, xl, s->xl);
    s->ll = pick(change, ll, s->ll);
    return change;
}

/* Exact for any x; here q is kept. */
LANES_INLINE Floats search_qp(const Floats *x, const Floats *w, int n, int nmax, Ints *q) {
    Floats max = all_lanes(0), zero = all_lanes(0);
    for (int i = 0; i < n; i++) max = pick(greater(max, x[i]), max, x[i]);
    Mask tiny = less(max, all_lanes(K_SCALE_EPS));
    Floats inverse = all_lanes((float)nmax) / max, best = error_qp(x, w, n, 0, inverse);
    for (int k = -4; k <= 4; k++) {
        if (k == 0) continue;
        Floats candidate = all_lanes(0.1f * (float)k + (float)nmax) / max;
        Floats error = error_qp(x, w, n, nmax, candidate);
        Mask better = less(error, best);
        best = pick(better, error, best);
        inverse = pick(better, candidate, inverse);
    }
    LaneSums s = {zero, zero};
    for (int i = 0; i < n; i++) {
        Ints l = min_int(nearest_int(inverse * x[i]), nmax);
        q[i] = l & 255;
        s.xl += w[i] * x[i] * to_floats(l);
        s.ll += w[i] * to_floats(l) * to_floats(l);
    }
    for (int pass = 0; pass < 5; pass++) {
        Mask changed = less(zero, zero);
        for (int i = 0; i < n; i++) changed |= improve_qp(x[i], w[i], nmax, &q[i], &s);
        if (mask_bits(changed & not(tiny)) == 0) break;
    }
    for (int i = 0; i < n; i++) q[i] = pick_int(tiny, all_lanes_int(0), q[i]);
    return pick(tiny | not(greater(s.ll, zero)), zero, s.xl / s.ll);
}

/* ---- x ~ scale * l + min, l in 0 ... nmax ---- */

/* Groups of LANES sub-blocks at once: one searches on while the other waits for its divisions. */
enum { QKX_GROUPS = 2 };

/* What a group's search knows. Arrays are longer than they need be: were one as far behind another as a
 * multiple of 4096 bytes, stores to it would hold up loads from the other (measured: 8.1 ns an element
 * instead of 5.8). */
typedef struct LaneLine {
    Floats x[K_SUB_MAX + 3], w[K_SUB_MAX + 5], l[K_SUB_MAX + 7];
    Floats lowest, max, sum_w, sum_x;
    Floats min, scale, error; /* the best line so far */
    Floats new_min, new_scale;
    Mask possible, sure, flat;
} LaneLine;

LANES_INLINE Floats integer_of_line(Floats x, Floats min, Floats inverse, int nmax) {
    return not_negative(at_most(nearest_small(inverse * (x - min)), (float)nmax));
}

/* x is between lowest and max, and rounding keeps the order: all v are small if these two are. */
LANES_INLINE Mask all_are_small(const LaneLine *a, Floats inverse) {
    return is_small(inverse * (a->lowest - a->min)) & is_small(inverse * (a->max - a->min));
}

/* Errors of the new lines, of all groups side by side: a sum alone would wait for itself. */
LANES_INLINE void errors_of_lines(const LaneLine *a, int n, bool absolute_distance, Floats *error) {
    for (int g = 0; g < QKX_GROUPS; g++) error[g] = all_lanes(0);
    for (int i = 0; i < n; i++)
        for (int g = 0; g < QKX_GROUPS; g++) {
            Floats distance = a[g].new_scale * a[g].l[i] + a[g].new_min - a[g].x[i];
            error[g] += a[g].w[i] * (absolute_distance ? absolute(distance) : distance * distance);
        }
}

LANES_INLINE void begin_line(LaneLine *a, int n, int nmax) {
    Floats min = a->x[0], max = a->x[0], sum_w = a->w[0], sum_x = a->w[0] * a->x[0];
    for (int i = 1; i < n; i++) {
        min = smaller(a->x[i], min);
        max = larger(a->x[i], max);
        sum_w += a->w[i];
        sum_x += a->w[i] * a->x[i];
    }
    a->lowest = min;
    a->max = max;
    a->sum_w = sum_w;
    a->sum_x = sum_x;
    a->min = min = smaller(all_lanes(0), min);
    a->flat = equal(max, min);
    Floats inverse = all_lanes((float)nmax) / (max - min);
    a->sure = all_are_small(a, inverse);
    for (int i = 0; i < n; i++) a->l[i] = integer_of_line(a->x[i], min, inverse, nmax);
    a->scale = a->new_scale = all_lanes(1) / inverse;
    a->new_min = min;
}

/* The line of least squares through the integers of an inverse scale, levels / range. */
LANES_INLINE void new_line(LaneLine *a, int n, int nmax, float levels) {
    const Floats zero = all_lanes(0), min = a->min, inverse = all_lanes(levels) / (a->max - min);
    a->sure &= all_are_small(a, inverse);
    Floats sum_l = zero, sum_ll = zero, sum_xl = zero;
    for (int i = 0; i < n; i++) {
        Floats l = integer_of_line(a->x[i], min, inverse, nmax), wl = a->w[i] * l;
        a->l[i] = l;
        sum_l += wl;
        sum_ll += wl * l;
        sum_xl += wl * a->x[i];
    }
    Floats determinant = a->sum_w * sum_ll - sum_l * sum_l;
    Floats line_scale = (a->sum_w * sum_xl - a->sum_x * sum_l) / determinant;
    Floats line_min = (sum_ll * a->sum_x - sum_l * sum_xl) / determinant;
    Mask above = greater(line_min, zero);
    a->new_scale = pick(above, sum_xl / sum_ll, line_scale);
    a->new_min = pick(above, zero, line_min);
    a->possible = greater(determinant, zero) & not(a->flat);
}

/* range is a constant where this is inlined. x and w are there; results are a[].scale, .min and .sure (or
 * flat, which is scale 0). */
LANES_INLINE void search_qkx(LaneLine *a, int n, int nmax, KRange range) {
    Floats error[QKX_GROUPS];
    for (int g = 0; g < QKX_GROUPS; g++) begin_line(&a[g], n, nmax);
    errors_of_lines(a, n, range.absolute_distance, error);
    for (int g = 0; g < QKX_GROUPS; g++) a[g].error = error[g];
    for (int k = 0; k <= range.n_steps; k++) {
        for (int g = 0; g < QKX_GROUPS; g++)
            new_line(&a[g], n, nmax, range.first + range.step * (float)k + (float)nmax);
        errors_of_lines(a, n, range.absolute_distance, error);
        for (int g = 0; g < QKX_GROUPS; g++) {
            Mask better = a[g].possible & less(error[g], a[g].error);
            a[g].error = pick(better, error[g], a[g].error);
            a[g].scale = pick(better, a[g].new_scale, a[g].scale);
            a[g].min = pick(better, a[g].new_min, a[g].min);
        }
    }
    for (int g = 0; g < QKX_GROUPS; g++) a[g].scale = pick(a[g].flat, all_lanes(0), a[g].scale);
}

#endif
