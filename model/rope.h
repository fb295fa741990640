/* rope.h -- inverse frequencies of rotary position embeddings, by transformers' own float32 steps.
 * Computing them in double and rounding once changes 16 to 24 of 64 entries, and at position 131,000 one ulp
 * is 0.005 rad (docs/arithmetic.md). pow and log come from core/strict_math.h, never from libm. */
#ifndef RECAST_MODEL_ROPE_H
#define RECAST_MODEL_ROPE_H

#include "model/params.h"

/* Fills inv_freq (head_dim / 2 floats) and *attention_factor (multiplies cos and sin) for p->rope.
 * length: tokens of the forward pass; only `dynamic` looks at it (0: the native context). ERR_UNSUPPORTED for
 * longrope, llama3 and unknown types. */
int rope_table(const ModelParams *p, uint32_t length, float *inv_freq, float *attention_factor,
               Error *err) MUST_CHECK;
/* The base frequency that `dynamic` has at `length` (theta' of transformers), rounded as torch rounds it. */
float rope_dynamic_theta(const ModelParams *p, uint32_t length);
/* 1 + 0.1 ln(factor) for factor > 1, else 1, in double. */
double rope_yarn_mscale(double factor);

#endif
