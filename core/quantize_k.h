/* quantize_k.h -- what the files of the K-quants (Q2_K ... Q6_K) say to each other. For quantize_k*.c, and
 * the searches for quantize_legacy.c.
 *
 * A super-block has 256 elements in sub-blocks of 16 or 32. In all five formats an element is
 *     D * (q - bias) - M
 * with D (and M, where there is a minimum) of its sub-block: small integers times the super-block's float16.
 * Quantizing goes in four steps:
 *   1. fit: every sub-block is searched for the best scale and minimum, as floats;
 *   2. join: the scales of a super-block become small integers and one float16, the minima likewise;
 *   3. requantize: the elements once more, by the scales as they will be read;
 *   4. pack.
 * A sub-block whose D became zero keeps the elements of its search. */
#ifndef RECAST_CORE_QUANTIZE_K_H
#define RECAST_CORE_QUANTIZE_K_H

#include "core/quantize_private.h"

/* The most sub-blocks of a super-block, and the most elements of a sub-block. */
enum { K_SUBS_MAX = 16, K_SUB_MAX = 32 };

/* The search of a format with minima tries the inverse scales (levels + first + i * step) / range. */
typedef struct KRange {
    float first, step;
    int n_steps;            /* i = 0 ... n_steps */
    bool absolute_distance; /* minimizes |distance|, not its square */
} KRange;

/* Constants here, so that they are constants where a search is inlined. */
static const KRange k_range_q2 = {-0.5f, 0.1f, 15, true};
static const KRange k_range_q4 = {-1.0f, 0.1f, 20, false};
static const KRange k_range_q5 = {-0.5f, 0.1f, 15, false};
static const KRange k_range_weighted = {-0.9f, 0.05f, 36, false}; /* all three, with an importance */

/* What the searches found. Sub-block j is about scale[j] * q - minimum[j], or scale[j] * (q - bias). */
typedef struct KFit {
    float scale[K_SUBS_MAX], minimum[K_SUBS_MAX];
    float weight[K_SUBS_MAX]; /* sum over the elements; only with an importance */
} KFit;

/* The scales as they are stored: small integers (those of Q6_K are signed bytes) and their common factors. */
typedef struct KScales {
    float d, dmin;
    bool empty; /* all bytes of the block are zero, whatever the searches say (Q6_K) */
    uint8_t scale[K_SUBS_MAX], minimum[K_SUBS_MAX];
} KScales;

typedef struct KFormat {
    DType type;
    int sub, n_subs;  /* sub * n_subs = 256 */
    int levels, bias; /* q is 0 ... levels */
    bool has_minimum;
    int largest_scale;     /* of the stored integers, with has_minimum */
    float variance_factor; /* times the mean square: what an importance is weighted with. 0: used as it is */
    const KRange *plain;   /* with has_minimum, without an importance */
    void (*pack_scales)(void *block, const KScales *s, uint16_t d, uint16_t dmin);
    void (*unpack_scales)(const void *block, float *d, float *m); /* D and M of each sub-block */
    void (*pack)(void *block, const uint8_t *q);                  /* 256 elements, all but the scales */
    void (*unpack)(const void *block, uint8_t *q);
} KFormat;

/* quantize_k_layout.c */
extern const KFormat k_format_q2, k_format_q3, k_format_q4, k_format_q5, k_format_q6;

/* ---- quantize_k_search.c: the searches, by the names they have in ggml (make_..._quants) ---- */

/* Scales below are taken for zero. */
#define K_SCALE_EPS 1e-15f

int k_nearest_int(float v);
/* x ~ result * (q - nmax), q in 0 ... 2 * nmax - 1. All q are 0 if x is too small. */
float k_search_qx(size_t n, int nmax, const float *x, const float *w, uint8_t *q);
/* The same with weights x * x, by improving one element after the other. */
float k_search_q3(size_t n, int nmax, const float *x, uint8_t *q);
/* x ~ result * q for x >= 0, q in 0 ... nmax. */
float k_search_qp(size_t n, int nmax, const float *x, const float *w, uint8_t *q);
/* x ~ result * q - *minimum, q in 0 ... nmax. */
float k_search_qkx(size_t n, int nmax, const float *x, const float *w, const KRange *range, float *minimum,
                   uint8_t *q);

/* ---- quantize_k_fit.c: the steps of the definition ---- */

/* Step 1 for sub-block j of the super-block x. importance (or NULL) and q: of its 256 elements. */
void k_fit_sub(const KFormat *f, const float *x, const float *importance, int j, KFit *fit, uint8_t *q);
/* False if a scale or a minimum is infinite or NaN, or a weight so large that a join may overflow: the block
 * has numbers whose squares float32 can't hold, far beyond any scale. */
bool k_fit_is_usable(const KFormat *f, const KFit *fit, bool weighted);
/* Step 2: without an importance, with one. k_join chooses; Q6_K is joined in one way only. */
void k_join_plain(const KFormat *f, const KFit *fit, KScales *s);
void k_join_weighted(const KFormat *f, const KFit *fit, KScales *s);
void k_join(const KFormat *f, const KFit *fit, bool weighted, KScales *s);
/* Writes the scales, to be read back by unpack_scales. False if float16 can't hold d or dmin. */
bool k_store_scales(const KFormat *f, const KScales *s, void *block);

/* ---- one function for each format and path; results are QuantizePath's ---- */

#define K_RUNS(path)                                               \
    size_t quantize_q2_k_##path(void *out, const FloatRows *rows); \
    size_t quantize_q3_k_##path(void *out, const FloatRows *rows); \
    size_t quantize_q4_k_##path(void *out, const FloatRows *rows); \
    size_t quantize_q5_k_##path(void *out, const FloatRows *rows); \
    size_t quantize_q6_k_##path(void *out, const FloatRows *rows)
K_RUNS(definition); /* quantize_k.c */
K_RUNS(baseline);   /* quantize_k_fast_baseline.c, and so on */
K_RUNS(avx2);
K_RUNS(avx512);

#endif
