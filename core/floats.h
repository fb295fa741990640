/* floats.h -- float32, float16 and bfloat16, exact to the bit.
 *
 * Narrowing rounds to nearest even; denormals are kept; overflow gives infinity; NaN stays NaN (bf16: quieted
 * by setting the top mantissa bit, as ggml does; f16: sign and 0x7E00). Integer code only: no rounding mode,
 * no flush to zero matters. */
#ifndef RECAST_CORE_FLOATS_H
#define RECAST_CORE_FLOATS_H

#include "core/dtype.h"

float f32_from_bits(uint32_t bits);
uint32_t f32_bits(float value);
float f32_from_f16(uint16_t h);  /* exact */
float f32_from_bf16(uint16_t b); /* exact */
uint16_t f16_from_f32(float f);
uint16_t bf16_from_f32(float f);

/* n elements of F32, F16 or BF16 into another of them (or the same: a copy). Buffers may be unaligned, must
 * not overlap. ERR_UNSUPPORTED for any other pair. BF16 <-> F16 goes through float32, so it rounds once. */
int floats_convert(DType to, void *out, DType from, const void *in, size_t n, Error *err) MUST_CHECK;
/* Index of the first NaN or infinity among n elements, or n. */
size_t floats_first_nonfinite(DType type, const void *in, size_t n);

#endif
