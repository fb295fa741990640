/* quantize_legacy_fast.h -- Q4_0, Q4_1, Q5_0 and Q5_1 by vectors of LANES: the source of
 * quantize_legacy_fast_*.c, one for each width. The bits are those of the definition in quantize_legacy.c.
 *
 * Rates, one core of a Zen 4 at 2.6 GHz, GCC 12, bf16 in cache, nanoseconds an element; last, llama.cpp's
 * (-O2, SSE2) from float32:
 *
 *                   AVX-512   AVX2   SSE2  definition  llama.cpp
 *   Q4_0               0.20   0.23   0.79         3.8        1.0
 *   Q4_1               0.29   0.31   0.72         3.8        0.9
 *   Q5_0               0.21   0.23   0.91         4.3        1.8
 *   Q5_1               0.30   0.34   0.88         4.4        1.6
 *   Q4_0, importance    3.1    3.7    8.4          69         32
 *   Q5_0, importance    3.7    4.2    8.8          69         32
 *   Q4_1, importance     11     15     36         190        108
 *   Q5_1, importance     11     15     36         190        108
 *
 * From memory and not from cache, Q4_0 by AVX-512 takes 0.20 to 0.28, as memcpy of the input does (0.18 to
 * 0.26). */
#ifndef RECAST_CORE_QUANTIZE_LEGACY_FAST_H
#define RECAST_CORE_QUANTIZE_LEGACY_FAST_H

#include "core/quantize_legacy_plain.h"
#include "core/quantize_legacy_weighted.h"

LANES_INLINE size_t quantize_legacy(LegacyFormat f, void *out, const FloatRows *rows) {
    size_t n_blocks = rows->n_rows * rows->row_elements / 32;
    if (rows->importance) return quantize_weighted(f, out, rows);
    if (rows->type == DT_F32) return quantize_plain(f, out, DT_F32, rows->data, n_blocks);
    if (rows->type == DT_F16) return quantize_plain(f, out, DT_F16, rows->data, n_blocks);
    return quantize_plain(f, out, DT_BF16, rows->data, n_blocks);
}

/* ---- the functions of a path ---- */

#define LEGACY_RUN(name, format, path)                                               \
    LANES_TARGET size_t quantize_##name##_##path(void *out, const FloatRows *rows) { \
        return quantize_legacy(format, out, rows);                                   \
    }
#define LEGACY_PATH(path)               \
    LEGACY_RUN(q4_0, LEGACY_Q4_0, path) \
    LEGACY_RUN(q4_1, LEGACY_Q4_1, path) \
    LEGACY_RUN(q5_0, LEGACY_Q5_0, path) \
    LEGACY_RUN(q5_1, LEGACY_Q5_1, path)

#endif
