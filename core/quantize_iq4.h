/* quantize_iq4.h -- what the files of IQ4_NL and IQ4_XS say to each other. For quantize_iq4*.c only.
 *
 * An element is a scale times one of 16 numbers, spread so that small ones lie closer. IQ4_NL: blocks of 32
 * with a float16 scale. IQ4_XS: super-blocks of 256, eight sub-blocks of 32 with the scale d * (s - 32), s of
 * six bits. */
#ifndef RECAST_CORE_QUANTIZE_IQ4_H
#define RECAST_CORE_QUANTIZE_IQ4_H

#include "core/quantize_private.h"

/* ggml's kvalues_iq4nl. */
#define IQ4_VALUES \
    { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 }

/* A (sub-)block with no magnitude of 1e-15f gets the scale 0. */
#define IQ4_EPS 1e-15f
/* After the scale that maps the largest magnitude to 127, it tries those that map it to -134 ... -120. */
enum { IQ4_TRIES = 7 };

/* Bits of 2^40. A block with a magnitude from here on is refused at once: no value times a scale comes near.
 * Squares stay finite below it. */
enum { IQ4_TOO_LARGE = (127 + 40) << 23 };

/* ---- one function for each format and path; results are QuantizePath's ---- */

#define IQ4_RUNS(path)                                               \
    size_t quantize_iq4_nl_##path(void *out, const FloatRows *rows); \
    size_t quantize_iq4_xs_##path(void *out, const FloatRows *rows)
IQ4_RUNS(definition); /* quantize_iq4.c */
IQ4_RUNS(baseline);   /* quantize_iq4_fast_baseline.c, and so on */
IQ4_RUNS(avx2);
IQ4_RUNS(avx512);

#endif
