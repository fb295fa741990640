/* quantized_traits.h -- quantized_types.h, and what the registers of x86-64 make of a type, as functions of a
 * constant: everything here vanishes when the loops of quantized_lanes.h are compiled for a type. */
#ifndef RECAST_RUNNER_CPU_QUANTIZED_TRAITS_H
#define RECAST_RUNNER_CPU_QUANTIZED_TRAITS_H

#include "runner/cpu/quantized_types.h"
#include "runner/cpu/vectors.h"

/* How blocks lie in registers (quantized_unpack.h). Wide: a block's 32 weights side by side, so that its
 * halves have sums of their own. Narrow and paired: both halves go through the same 16 bytes, one after the
 * other, so that sums are half as many; which block goes where follows from the file's order. */
typedef enum Layout { WIDE, NARROW, PAIRED } Layout;

TRAIT Layout layout_of(DType t) {
    if (t == DT_Q4_K || t == DT_Q5_K) return PAIRED;
    return t == DT_Q4_0 || t == DT_Q4_1 || t == DT_Q5_0 || t == DT_Q5_1 || t == DT_IQ4_NL || t == DT_IQ4_XS
               ? NARROW
               : WIDE;
}

TRAIT bool has_bytes(DType t) { /* weights of eight bits */
    return t == DT_Q8_0 || t == DT_IQ4_NL || t == DT_IQ4_XS;
}

/* Weights are held as q without sign, and what they lack of the value is taken off the sum: bias * sum of
 * activations. Bytes without VNNI keep their sign. */
TRAIT int bias_shift(DType t) { /* bias = 1 << shift; -1: none */
    switch (t) {
    case DT_Q3_K: return 2;
    case DT_Q4_0: return 3;
    case DT_Q5_0: return 4;
    case DT_Q6_K: return 5;
#ifdef VNNI
    case DT_Q8_0:
    case DT_IQ4_NL:
    case DT_IQ4_XS: return 7;
#endif
    default: return -1;
    }
}

/* Sums of products of four pairs (not wide: eight) fit 16 bits: |activation| <= 127, wide weights below 64,
 * others below 32. */
TRAIT bool fits_once(DType t) {
    return !has_bytes(t);
}

/* Twice as many do: wide weights below 32, others below 16. */
TRAIT bool fits_twice(DType t) {
    return !has_bytes(t) && t != DT_Q6_K && t != DT_Q5_0 && t != DT_Q5_1 && t != DT_Q5_K;
}

/* Bytes of WIDTH blocks. */
TRAIT size_t group_bytes(DType t) {
    return is_super(t) ? WIDTH / 8 * block_bytes(t) : WIDTH * block_bytes(t);
}

#endif
