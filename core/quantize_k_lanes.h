/* quantize_k_lanes.h -- K-quants in lanes, with the bits of the definition: the source of
 * quantize_k_fast_*.c, which define LANES and K_PATH, the name of their path.
 *
 * LANES super-blocks are a batch. Sub-blocks are searched with one in a lane; with an importance, joined with
 * a super-block in a lane; requantized along the elements, which are independent of each other then.
 * quantize_k_lanes_search.h says when a sub-block is done by the definition instead.
 *
 * Nanoseconds for an element on one core of a Zen 4 at 3.7 GHz, bf16 in cache, bell-shaped numbers; GCC 12.
 * In brackets with an importance. ggml-quants.c as GCC 12 builds it by -O2:
 *           ggml         definition   baseline     AVX2         AVX-512
 *   Q2_K    54 (124)     96 (227)     13.5 (29.9)  6.2 (13.2)   5.1 (10.7)
 *   Q3_K    11 (43)      14 (84)      4.6 (8.6)    2.6 (3.8)    2.5 (3.2)
 *   Q4_K    63 (110)     114 (199)    14.4 (24.5)  6.4 (10.8)   5.3 (8.9)
 *   Q5_K    52 (114)     91 (199)     11.6 (24.8)  5.3 (10.9)   4.4 (9.0)
 *   Q6_K    35 (36)      65 (66)      7.8 (8.1)    3.5 (3.9)    3.1 (3.3) */
#include "core/quantize_k_lanes_search.h"

typedef struct Batch {
    _Alignas(64) float x[LANES * QK_K];
    const KFormat *format;
    size_t count;                   /* super-blocks in use; the others are zero */
    const float *importance[LANES]; /* of the super-block's columns, or NULL */
    _Alignas(64) float variance[LANES];
    KFit fit[LANES];
    KScales scales[LANES];
} Batch;

/* ---- in ---- */

/* Reads up to LANES super-blocks from number `first` on, to the first with a NaN or an infinity. */
LANES_CODE void read_batch(Batch *b, const FloatRows *rows, size_t first) {
    size_t total = rows->n_rows * rows->row_elements / QK_K, per_row = rows->row_elements / QK_K;
    size_t bytes = QK_K * dtype_info(rows->type)->bytes;
    size_t available = total - first < LANES ? total - first : LANES;
    b->count = 0;
    while (b->count < available && widen_any(b->x + b->count * QK_K, rows->type,
                                             (const uint8_t *)rows->data + (first + b->count) * bytes, QK_K))
        b->count++;
    memset(b->x + b->count * QK_K, 0, (LANES - b->count) * QK_K * sizeof *b->x);
    for (size_t i = 0; i < LANES; i++) {
        size_t column = i < b->count ? (first + i) % per_row * QK_K : 0;
        b->importance[i] = rows->importance ? rows->importance + column : NULL;
    }
}

/* The sums of squares go over whole super-blocks, so these are the lanes here. */
LANES_CODE void find_variances(Batch *b) {
    Floats sum = all_lanes(0), x[LANES];
    for (size_t i = 0; i < QK_K; i += LANES) {
        load_blocks(x, b->x + i, QK_K, LANES);
        for (int k = 0; k < LANES; k++) sum += x[k] * x[k];
    }
    store_floats(b->variance, b->format->variance_factor * sum / QK_K);
}

/* ---- step 1: fit. A group is LANES sub-blocks, from number `first` of the batch on ---- */

LANES_INLINE void weigh_by_importance(const Batch *b, size_t first, int sub, bool by_variance,
                                      const Floats *x, Floats *w) {
    const float *rows[LANES];
    Floats variance;
    for (size_t l = 0; l < LANES; l++) {
        size_t block = (first + l) * (size_t)sub / QK_K;
        rows[l] = b->importance[block] + (first + l) * (size_t)sub % QK_K;
        variance[l] = b->variance[block];
    }
    load_rows(w, rows, (size_t)sub);
    if (by_variance)
        for (int i = 0; i < sub; i++) w[i] *= square_root(variance + x[i] * x[i]);
}

LANES_INLINE void weigh_plainly(const Floats *x, int n, bool absolute_distance, Floats *w) {
    Floats base = all_lanes(0);
    if (!absolute_distance) {
        for (int i = 0; i < n; i++) base += x[i] * x[i];
        base = square_root(base / (float)n);
    }
    for (int i = 0; i < n; i++) w[i] = base + absolute(x[i]);
}

/* Puts a group's results where they belong; odd lanes are searched by the definition. */
LANES_INLINE void keep(Batch *b, size_t first, int n, Floats scale, Floats minimum, const Floats *w,
                       uint32_t odd) {
    size_t n_subs = QK_K / (size_t)n;
    Floats weight = all_lanes(0);
    if (w)
        for (int i = 0; i < n; i++) weight += w[i];
    for (size_t l = 0; l < LANES; l++) {
        size_t block = (first + l) / n_subs, j = (first + l) % n_subs;
        KFit *fit = &b->fit[block];
        uint8_t q[QK_K];
        fit->scale[j] = scale[l];
        fit->minimum[j] = minimum[l];
        fit->weight[j] = weight[l];
        if (odd >> l & 1) k_fit_sub(b->format, b->x + block * QK_K, b->importance[block], (int)j, fit, q);
    }
}

LANES_INLINE void fit_with_minimum(Batch *b, size_t first, int n, int levels, KRange range, bool weighted) {
    LaneLine a[QKX_GROUPS];
    for (size_t g = 0; g < QKX_GROUPS; g++) {
        size_t sub = first + g * LANES;
        load_blocks(a[g].x, b->x + sub * (size_t)n, (size_t)n, (size_t)n);
        if (weighted)
            weigh_by_importance(b, sub, n, true, a[g].x, a[g].w);
        else
            weigh_plainly(a[g].x, n, range.absolute_distance, a[g].w);
    }
    search_qkx(a, n, levels, range);
    for (size_t g = 0; g < QKX_GROUPS; g++)
        keep(b, first + g * LANES, n, a[g].scale, -a[g].min, weighted ? a[g].w : NULL,
             mask_bits(not(a[g].sure | a[g].flat)));
}

LANES_INLINE void fit_signed(Batch *b, size_t first, int nmax, bool weighted, bool by_variance) {
    Floats x[16], w[16];
    Mask odd;
    load_blocks(x, b->x + first * 16, 16, 16);
    if (weighted)
        weigh_by_importance(b, first, 16, by_variance, x, w);
    else
        for (int i = 0; i < 16; i++) w[i] = x[i] * x[i];
    Floats scale = search_qx(x, w, 16, nmax, NULL, &odd);
    keep(b, first, 16, scale, all_lanes(0), weighted ? w : NULL, mask_bits(odd));
}

LANES_CODE void fit_q2(Batch *b, size_t first) {
    fit_with_minimum(b, first, 16, 3, k_range_q2, false);
}

LANES_CODE void fit_q2_weighted(Batch *b, size_t first) {
    fit_with_minimum(b, first, 16, 3, k_range_weighted, true);
}

LANES_CODE void fit_q3(Batch *b, size_t first) {
    Floats x[16];
    load_blocks(x, b->x + first * 16, 16, 16);
    keep(b, first, 16, search_q3(x, 16, 4), all_lanes(0), NULL, 0);
}

LANES_CODE void fit_q3_weighted(Batch *b, size_t first) {
    fit_signed(b, first, 4, true, true);
}

LANES_CODE void fit_q4(Batch *b, size_t first) {
    fit_with_minimum(b, first, 32, 15, k_range_q4, false);
}

LANES_CODE void fit_q4_weighted(Batch *b, size_t first) {
    fit_with_minimum(b, first, 32, 15, k_range_weighted, true);
}

LANES_CODE void fit_q5(Batch *b, size_t first) {
    fit_with_minimum(b, first, 32, 31, k_range_q5, false);
}

LANES_CODE void fit_q5_weighted(Batch *b, size_t first) {
    fit_with_minimum(b, first, 32, 31, k_range_weighted, true);
}

LANES_CODE void fit_q6(Batch *b, size_t first) {
    fit_signed(b, first, 32, false, false);
}

LANES_CODE void fit_q6_weighted(Batch *b, size_t first) {
    fit_signed(b, first, 32, true, false);
}

/* ---- step 2: join. Without weights it is little work, and left to the definition ---- */

/* The numbers of all sub-blocks that lie at `offset` in a KFit; lanes are super-blocks. */
LANES_INLINE void load_fits(Floats *out, const Batch *b, size_t offset) {
    const float *rows[LANES];
    for (size_t l = 0; l < LANES; l++)
        rows[l] = (const float *)(const void *)((const char *)&b->fit[l] + offset);
    load_rows(out, rows, K_SUBS_MAX);
}

LANES_INLINE void keep_integers(uint8_t *out, const Ints *q, int n, size_t lane) {
    for (int j = 0; j < n; j++) out[j] = (uint8_t)q[j][lane];
}

LANES_INLINE void join_positive(Batch *b, int n, int largest) {
    Floats v[K_SUBS_MAX], w[K_SUBS_MAX], d, dmin;
    Ints q[K_SUBS_MAX], q_min[K_SUBS_MAX];
    load_fits(w, b, offsetof(KFit, weight));
    load_fits(v, b, offsetof(KFit, scale));
    d = search_qp(v, w, n, largest, q);
    load_fits(v, b, offsetof(KFit, minimum));
    dmin = search_qp(v, w, n, largest, q_min);
    for (size_t l = 0; l < LANES; l++) {
        KScales *s = &b->scales[l];
        s->d = d[l];
        s->dmin = dmin[l];
        s->empty = false;
        keep_integers(s->scale, q, n, l);
        keep_integers(s->minimum, q_min, n, l);
    }
}

LANES_CODE void join_q2(Batch *b) {
    join_positive(b, 16, 15);
}

LANES_CODE void join_q4_or_q5(Batch *b) {
    join_positive(b, 8, 63);
}

LANES_CODE void join_q3(Batch *b) {
    Floats v[K_SUBS_MAX], w[K_SUBS_MAX];
    Ints q[K_SUBS_MAX];
    Mask odd;
    load_fits(w, b, offsetof(KFit, weight));
    load_fits(v, b, offsetof(KFit, scale));
    Floats d = search_qx(v, w, 16, 32, q, &odd);
    for (size_t l = 0; l < LANES; l++) {
        KScales *s = &b->scales[l];
        s->d = d[l];
        s->dmin = 0;
        s->empty = false;
        keep_integers(s->scale, q, 16, l);
        if (mask_bits(odd) >> l & 1) k_join_weighted(b->format, &b->fit[l], s);
    }
}

LANES_CODE void join_by_definition(Batch *b) {
    for (size_t i = 0; i < b->count; i++)
        k_join(b->format, &b->fit[i], b->importance[i] != NULL, &b->scales[i]);
}

/* ---- steps 3 and 4 ---- */

LANES_CODE void requantize(const KFormat *f, const float *x, float d, float m, uint8_t *q) {
    for (int i = 0; i < f->sub; i += LANES) {
        Ints l = nearest_int((load_floats(x + i) + m) / d);
        store_bytes(q + i, clamp_int(l, -f->bias, f->levels - f->bias) + f->bias);
    }
}

/* False if the super-block can't be written. */
LANES_CODE bool finish(const Batch *b, size_t i, void *block) {
    const KFormat *f = b->format;
    const float *x = b->x + i * QK_K;
    float d[K_SUBS_MAX], m[K_SUBS_MAX];
    uint8_t q[QK_K];
    if (!k_fit_is_usable(f, &b->fit[i], b->importance[i] != NULL) || !k_store_scales(f, &b->scales[i], block))
        return false;
    f->unpack_scales(block, d, m);
    for (int j = 0; j < f->n_subs; j++) {
        KFit unused;
        if (b->scales[i].empty)
            memset(q + j * f->sub, 0, (size_t)f->sub);
        else if (d[j] == 0)
            k_fit_sub(f, x, b->importance[i], j, &unused, q);
        else
            requantize(f, x + j * f->sub, d[j], m[j], q + j * f->sub);
    }
    f->pack(block, q);
    return true;
}

/* ---- a path ---- */

typedef struct Steps {
    void (*fit)(Batch *b, size_t first);
    size_t subs; /* how many sub-blocks it takes at a time */
    void (*join)(Batch *b);
} Steps;

LANES_CODE size_t quantize(const KFormat *f, const Steps *steps, void *out, const FloatRows *rows) {
    size_t n_blocks = rows->n_rows * rows->row_elements / QK_K, bytes = dtype_info(f->type)->bytes;
    Batch b = {.format = f};
    for (size_t first = 0; first < n_blocks; first += LANES) {
        size_t wanted = n_blocks - first < LANES ? n_blocks - first : LANES;
        read_batch(&b, rows, first);
        if (rows->importance) find_variances(&b);
        for (size_t s = 0; s < b.count * (size_t)f->n_subs; s += steps->subs) steps->fit(&b, s);
        steps->join(&b);
        for (size_t i = 0; i < b.count; i++)
            if (!finish(&b, i, (uint8_t *)out + (first + i) * bytes)) return (first + i) * QK_K;
        if (b.count < wanted) return (first + b.count) * QK_K;
    }
    return n_blocks * QK_K;
}

#define K_NAME_OF(name, path) quantize_##name##_##path
#define K_NAME(name, path)    K_NAME_OF(name, path)
#define K_RUN(name, format, groups, plain_fit, weighted_fit, weighted_join)          \
    size_t K_NAME(name, K_PATH)(void *out, const FloatRows *rows) {                  \
        static const Steps plain = {plain_fit, (groups)*LANES, join_by_definition};  \
        static const Steps weighted = {weighted_fit, (groups)*LANES, weighted_join}; \
        return quantize(&format, rows->importance ? &weighted : &plain, out, rows);  \
    }

K_RUN(q2_k, k_format_q2, QKX_GROUPS, fit_q2, fit_q2_weighted, join_q2)
K_RUN(q3_k, k_format_q3, 1, fit_q3, fit_q3_weighted, join_q3)
K_RUN(q4_k, k_format_q4, QKX_GROUPS, fit_q4, fit_q4_weighted, join_q4_or_q5)
K_RUN(q5_k, k_format_q5, QKX_GROUPS, fit_q5, fit_q5_weighted, join_q4_or_q5)
K_RUN(q6_k, k_format_q6, 1, fit_q6, fit_q6_weighted, join_by_definition)
