/* quantize_private.h -- what the files of one quantizer say to each other and to the table. For quantize*.c
 * only. */
#ifndef RECAST_CORE_QUANTIZE_PRIVATE_H
#define RECAST_CORE_QUANTIZE_PRIVATE_H

#include "core/blocks.h"
#include "core/quantize.h"

/* Scales from here on round to infinity in float16: 65520, half way between its largest number and 2^16. Bits
 * of a float32; as integers they order like the magnitudes, and NaN and infinity come after all. */
enum { SCALE_TOO_LARGE = 0x477FF000 };

extern const Quantizer quantizer_q8_0;
/* quantize_legacy.c */
extern const Quantizer quantizer_q4_0, quantizer_q4_1, quantizer_q5_0, quantizer_q5_1;
/* quantize_iq4.c */
extern const Quantizer quantizer_iq4_nl, quantizer_iq4_xs;
/* quantize_k.c */
extern const Quantizer quantizer_q2_k, quantizer_q3_k, quantizer_q4_k, quantizer_q5_k, quantizer_q6_k;

/* quantize_q8_0.c: the definition. */
size_t quantize_q8_0_reference(void *out, const FloatRows *rows);
void dequantize_q8_0(float *out, const void *blocks, size_t n_elements);

#endif
