/* quantize_legacy.h -- what the files of Q4_0, Q4_1, Q5_0 and Q5_1 say to each other. For quantize_legacy*.c
 * only.
 *
 * Blocks of 32: a float16 scale d, in the _1 formats a float16 minimum m, in the Q5 formats 32 fifth bits,
 * then 32 nibbles. An element is d * (q - half) or d * q + m. */
#ifndef RECAST_CORE_QUANTIZE_LEGACY_H
#define RECAST_CORE_QUANTIZE_LEGACY_H

#include "core/quantize_private.h"

typedef struct LegacyFormat {
    int levels; /* q is 0 ... levels: 15 or 31; half is (levels + 1) / 2 */
    bool has_minimum;
} LegacyFormat;

#define LEGACY_Q4_0 ((LegacyFormat){15, false})
#define LEGACY_Q4_1 ((LegacyFormat){15, true})
#define LEGACY_Q5_0 ((LegacyFormat){31, false})
#define LEGACY_Q5_1 ((LegacyFormat){31, true})

static inline size_t legacy_block_bytes(LegacyFormat f) {
    return 18 + (f.has_minimum ? 2 : 0) + (f.levels > 15 ? 4 : 0);
}

/* Bits of 2^40. A block with a magnitude from here on is refused at once: no q times a float16 comes near.
 * Squares stay finite below it. */
enum { LEGACY_TOO_LARGE = (127 + 40) << 23 };

/* The mean square of a row, summed in its order. False, with the first element of the first bad block in
 * *bad, if it has a NaN, an infinity or a magnitude of 2^40. */
bool legacy_mean_square(const FloatRows *rows, size_t row, float *mean, size_t *bad);

/* ---- one function for each format and path; results are QuantizePath's ---- */

#define LEGACY_RUNS(path)                                          \
    size_t quantize_q4_0_##path(void *out, const FloatRows *rows); \
    size_t quantize_q4_1_##path(void *out, const FloatRows *rows); \
    size_t quantize_q5_0_##path(void *out, const FloatRows *rows); \
    size_t quantize_q5_1_##path(void *out, const FloatRows *rows)
LEGACY_RUNS(definition); /* quantize_legacy.c */
LEGACY_RUNS(baseline);   /* quantize_legacy_fast_baseline.c, and so on */
LEGACY_RUNS(avx2);
LEGACY_RUNS(avx512);

#endif
