/* quantize_k_search.c -- how K-quants choose scales: the four searches of ggml-quants.c, step by step.
 *
 * Made to be read, and the definition: quantize_k_lanes.h does the same on many sub-blocks at once. Sums are
 * taken in the order of elements, in float32, without fused multiply-add; a product of three is (a * b) * c.
 * Whoever changes an order changes bits. */
#include "core/floats.h"
#include "core/quantize_k.h"
#include <math.h>
#include <string.h>

/* Adding 1.5 * 2^23 rounds to an integer, halves to even, and leaves it in the low bits of the sum. For
 * numbers beyond 4194303 those bits are something else; what follows clamps them as ggml does. */
int k_nearest_int(float v) {
    return (int)(f32_bits(v + 12582912.0f) & 0x007FFFFF) - 0x00400000;
}

static int clamp(int v, int low, int high) {
    return v < low ? low : v > high ? high : v;
}

/* The first element with the largest magnitude. */
static float extreme(size_t n, const float *x) {
    float largest = 0, value = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > largest) {
            largest = fabsf(x[i]);
            value = x[i];
        }
    return value;
}

/* For given integers l the best scale is sum(w x l) / sum(w l l), and the larger its square times the second
 * sum, the smaller the error. */
typedef struct Sums {
    float xl, ll;
} Sums;

static Sums sums_at(size_t n, int nmax, const float *x, const float *w, float inverse, int8_t *l) {
    Sums s = {0, 0};
    for (size_t i = 0; i < n; i++) {
        l[i] = (int8_t)clamp(k_nearest_int(inverse * x[i]), -nmax, nmax - 1);
        s.xl += w[i] * x[i] * l[i];
        s.ll += w[i] * l[i] * l[i];
    }
    return s;
}

float k_search_qx(size_t n, int nmax, const float *x, const float *w, uint8_t *q) {
    float max = extreme(n, x);
    memset(q, 0, n);
    if (fabsf(max) < K_SCALE_EPS) return 0;
    int8_t l[K_SUB_MAX], best_l[K_SUB_MAX];
    Sums s = sums_at(n, nmax, x, w, -nmax / max, best_l);
    float scale = s.ll != 0 ? s.xl / s.ll : 0, best = scale * s.xl;
    for (int k = -9; k <= 9; k++) {
        if (k == 0) continue;
        s = sums_at(n, nmax, x, w, -(nmax + 0.1f * k) / max, l);
        if (s.ll > 0 && s.xl * s.xl > best * s.ll) {
            memcpy(best_l, l, n);
            scale = s.xl / s.ll;
            best = scale * s.xl;
        }
    }
    for (size_t i = 0; i < n; i++) q[i] = (uint8_t)(best_l[i] + nmax);
    return scale;
}

/* One pass over the elements: where another integer lessens the error, it is taken. How many were. */
static int improve_q3(size_t n, int nmax, const float *x, int8_t *l, Sums *s) {
    int changed = 0;
    for (size_t i = 0; i < n; i++) {
        float w = x[i] * x[i], xl = s->xl - w * x[i] * l[i];
        if (!(xl > 0)) continue;
        float ll = s->ll - w * l[i] * l[i];
        int other = clamp(k_nearest_int(x[i] * ll / xl), -nmax, nmax - 1);
        if (other == l[i]) continue;
        xl += w * x[i] * other;
        ll += w * other * other;
        if (ll > 0 && xl * xl * s->ll > s->xl * s->xl * ll) {
            l[i] = (int8_t)other;
            *s = (Sums){xl, ll};
            changed++;
        }
    }
    return changed;
}

float k_search_q3(size_t n, int nmax, const float *x, uint8_t *q) {
    float max = extreme(n, x), w[K_SUB_MAX];
    memset(q, 0, n);
    if (fabsf(max) < K_SCALE_EPS) return 0;
    for (size_t i = 0; i < n; i++) w[i] = x[i] * x[i];
    int8_t l[K_SUB_MAX];
    Sums s = sums_at(n, nmax, x, w, -nmax / max, l);
    for (int pass = 0; pass < 5; pass++)
        if (improve_q3(n, nmax, x, l, &s) == 0) break;
    for (size_t i = 0; i < n; i++) q[i] = (uint8_t)(l[i] + nmax);
    return s.ll > 0 ? s.xl / s.ll : 0;
}

static int min_int(int a, int b) {
    return a < b ? a : b;
}

/* Weighted squared error of x ~ scale * l with l by the inverse scale. The first one is not limited to nmax.
 */
static float error_qp(size_t n, int limit, const float *x, const float *w, float inverse) {
    float scale = 1 / inverse, error = 0;
    for (size_t i = 0; i < n; i++) {
        int l = k_nearest_int(inverse * x[i]);
        float distance = x[i] - scale * (limit ? min_int(limit, l) : (uint8_t)l);
        error += w[i] * distance * distance;
    }
    return error;
}

static int improve_qp(size_t n, int nmax, const float *x, const float *w, uint8_t *q, Sums *s) {
    int changed = 0;
    for (size_t i = 0; i < n; i++) {
        float xl = s->xl - w[i] * x[i] * q[i];
        float ll = s->ll - w[i] * q[i] * q[i];
        if (!(xl > 0 && ll > 0)) continue;
        int other = min_int(nmax, k_nearest_int(x[i] * ll / xl));
        if (other == q[i]) continue;
        xl += w[i] * x[i] * other;
        ll += w[i] * other * other;
        if (xl * xl * s->ll > s->xl * s->xl * ll) {
            q[i] = (uint8_t)other;
            *s = (Sums){xl, ll};
            changed++;
        }
    }
    return changed;
}

float k_search_qp(size_t n, int nmax, const float *x, const float *w, uint8_t *q) {
    float max = 0;
    for (size_t i = 0; i < n; i++) max = max > x[i] ? max : x[i];
    memset(q, 0, n);
    if (max < K_SCALE_EPS) return 0;
    float inverse = nmax / max, best = error_qp(n, 0, x, w, inverse);
    for (int k = -4; k <= 4; k++) {
        if (k == 0) continue;
        float candidate = (0.1f * k + nmax) / max, error = error_qp(n, nmax, x, w, candidate);
        if (error < best) {
            best = error;
            inverse = candidate;
        }
    }
    Sums s = {0, 0};
    for (size_t i = 0; i < n; i++) {
        int l = min_int(nmax, k_nearest_int(inverse * x[i]));
        q[i] = (uint8_t)l;
        s.xl += w[i] * x[i] * l;
        s.ll += w[i] * l * l;
    }
    for (int pass = 0; pass < 5; pass++)
        if (improve_qp(n, nmax, x, w, q, &s) == 0) break;
    return s.ll > 0 ? s.xl / s.ll : 0;
}

/* A line x ~ scale * l + min, and its weighted error. */
typedef struct Line {
    float scale, min, error;
} Line;

static float error_qkx(size_t n, const float *x, const float *w, const uint8_t *l, float scale, float min,
                       bool absolute) {
    float error = 0;
    for (size_t i = 0; i < n; i++) {
        float distance = scale * l[i] + min - x[i];
        error += w[i] * (absolute ? fabsf(distance) : distance * distance);
    }
    return error;
}

/* The line of weighted least squares through integers l that come of the inverse scale; min is not above 0.
 * False if there is none. sum_w and sum_x: of w and of w * x. */
static bool fit_line(Line *line, size_t n, int nmax, const float *x, const float *w, float inverse, float min,
                     float sum_w, float sum_x, bool absolute, uint8_t *l) {
    float sum_l = 0, sum_ll = 0, sum_xl = 0;
    for (size_t i = 0; i < n; i++) {
        l[i] = (uint8_t)clamp(k_nearest_int(inverse * (x[i] - min)), 0, nmax);
        sum_l += w[i] * l[i];
        sum_ll += w[i] * l[i] * l[i];
        sum_xl += w[i] * l[i] * x[i];
    }
    float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0)) return false;
    line->scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    line->min = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
    if (line->min > 0) {
        line->min = 0;
        line->scale = sum_xl / sum_ll;
    }
    line->error = error_qkx(n, x, w, l, line->scale, line->min, absolute);
    return true;
}

float k_search_qkx(size_t n, int nmax, const float *x, const float *w, const KRange *range, float *minimum,
                   uint8_t *q) {
    float min = x[0], max = x[0], sum_w = w[0], sum_x = w[0] * x[0];
    for (size_t i = 1; i < n; i++) {
        if (x[i] < min) min = x[i];
        if (x[i] > max) max = x[i];
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    if (min > 0) min = 0;
    memset(q, 0, n);
    *minimum = -min;
    if (max == min) return 0;
    float inverse = nmax / (max - min);
    Line best = {.scale = 1 / inverse, .min = min}, line;
    for (size_t i = 0; i < n; i++) q[i] = (uint8_t)clamp(k_nearest_int(inverse * (x[i] - min)), 0, nmax);
    best.error = error_qkx(n, x, w, q, best.scale, best.min, range->absolute_distance);
    for (int k = 0; k <= range->n_steps; k++) {
        uint8_t l[K_SUB_MAX];
        /* best.min, not min: an accepted line moves the next candidates */
        inverse = (range->first + range->step * k + nmax) / (max - best.min);
        if (fit_line(&line, n, nmax, x, w, inverse, best.min, sum_w, sum_x, range->absolute_distance, l) &&
            line.error < best.error) {
            best = line;
            memcpy(q, l, n);
        }
    }
    *minimum = -best.min;
    return best.scale;
}
