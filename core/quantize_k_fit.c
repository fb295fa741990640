/* quantize_k_fit.c -- the steps of a K-quant's definition but for the searches: weights of the elements, and
 * a super-block's scales from those of its sub-blocks. */
#include "core/floats.h"
#include "core/quantize_k.h"
#include <math.h>
#include <string.h>

static float sum_of_squares(const float *x, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* How much each element of sub-block j matters. */
static void weigh(const KFormat *f, const float *x, const float *importance, int j, float *w) {
    const float *sub = x + j * f->sub;
    if (importance && f->variance_factor != 0) {
        float variance = f->variance_factor * sum_of_squares(x, QK_K) / QK_K;
        for (int i = 0; i < f->sub; i++)
            w[i] = importance[j * f->sub + i] * sqrtf(variance + sub[i] * sub[i]);
    } else if (importance) {
        memcpy(w, importance + j * f->sub, (size_t)f->sub * sizeof *w);
    } else if (!f->has_minimum) {
        for (int i = 0; i < f->sub; i++) w[i] = sub[i] * sub[i];
    } else {
        float base = f->plain->absolute_distance ? 0 : sqrtf(sum_of_squares(sub, f->sub) / (float)f->sub);
        for (int i = 0; i < f->sub; i++) w[i] = base + fabsf(sub[i]);
    }
}

void k_fit_sub(const KFormat *f, const float *x, const float *importance, int j, KFit *fit, uint8_t *q) {
    float w[K_SUB_MAX];
    const float *sub = x + j * f->sub;
    size_t n = (size_t)f->sub;
    q += j * f->sub;
    weigh(f, x, importance, j, w);
    fit->weight[j] = 0;
    for (size_t i = 0; i < n; i++) fit->weight[j] += w[i];
    fit->minimum[j] = 0;
    if (f->has_minimum)
        fit->scale[j] = k_search_qkx(n, f->levels, sub, w, importance ? &k_range_weighted : f->plain,
                                     &fit->minimum[j], q);
    else if (f->type == DT_Q3_K && !importance)
        fit->scale[j] = k_search_q3(n, f->bias, sub, q);
    else
        fit->scale[j] = k_search_qx(n, f->bias, sub, w, q);
}

bool k_fit_is_usable(const KFormat *f, const KFit *fit, bool weighted) {
    for (int j = 0; j < f->n_subs; j++) {
        if (!isfinite(fit->scale[j]) || !isfinite(fit->minimum[j])) return false;
        if (weighted && !(fit->weight[j] < 0x1p100f)) return false;
    }
    return true;
}

/* The factor that makes the largest of v[] `integer`, and all of them as integers. */
static float join_positive(const KFormat *f, const float *v, uint8_t *out) {
    float max = 0;
    for (int j = 0; j < f->n_subs; j++)
        if (v[j] > max) max = v[j];
    float inverse = max > 0 ? (float)f->largest_scale / max : 0;
    for (int j = 0; j < f->n_subs; j++) {
        out[j] = (uint8_t)k_nearest_int(inverse * v[j]);
        if (f->largest_scale == 63 && out[j] > 63) out[j] = 63;
    }
    return max / (float)f->largest_scale;
}

/* The scale with the largest magnitude becomes the most negative integer. */
static void join_signed(const KFormat *f, const float *scale, KScales *s) {
    float max = 0;
    for (int j = 0; j < f->n_subs; j++)
        if (fabsf(scale[j]) > fabsf(max)) max = scale[j];
    memset(s, 0, sizeof *s);
    s->empty = f->type == DT_Q6_K && fabsf(max) < K_SCALE_EPS;
    if (s->empty || max == 0) return;
    float inverse = (f->type == DT_Q6_K ? -128 : -32) / max;
    s->d = 1 / inverse;
    for (int j = 0; j < f->n_subs; j++) {
        int l = k_nearest_int(inverse * scale[j]);
        if (f->type == DT_Q6_K) {
            s->scale[j] = (uint8_t)(l > 127 ? 127 : l); /* a signed byte */
        } else {
            l = (int8_t)l;
            s->scale[j] = (uint8_t)((l < -32 ? -32 : l > 31 ? 31 : l) + 32);
        }
    }
}

void k_join_plain(const KFormat *f, const KFit *fit, KScales *s) {
    if (!f->has_minimum) {
        join_signed(f, fit->scale, s);
        return;
    }
    s->empty = false;
    s->d = join_positive(f, fit->scale, s->scale);
    s->dmin = join_positive(f, fit->minimum, s->minimum);
}

void k_join_weighted(const KFormat *f, const KFit *fit, KScales *s) {
    size_t n = (size_t)f->n_subs;
    memset(s, 0, sizeof *s);
    if (f->has_minimum) {
        s->d = k_search_qp(n, f->largest_scale, fit->scale, fit->weight, s->scale);
        s->dmin = k_search_qp(n, f->largest_scale, fit->minimum, fit->weight, s->minimum);
    } else {
        s->d = k_search_qx(n, 32, fit->scale, fit->weight, s->scale);
    }
}

void k_join(const KFormat *f, const KFit *fit, bool weighted, KScales *s) {
    if (weighted && f->type != DT_Q6_K)
        k_join_weighted(f, fit, s);
    else
        k_join_plain(f, fit, s);
}

static bool fits_f16(float v) {
    return (f32_bits(v) & 0x7FFFFFFF) < SCALE_TOO_LARGE;
}

bool k_store_scales(const KFormat *f, const KScales *s, void *block) {
    if (!fits_f16(s->d) || !fits_f16(s->dmin)) return false;
    f->pack_scales(block, s, f16_from_f32(s->d), f16_from_f32(s->dmin));
    return true;
}
