/* quantized_traits.h -- what the quantized types have in common and where they differ, as functions of a
 * constant: everything here vanishes when the loops of quantized_lanes.h are compiled for a type. The table
 * is that of docs/arithmetic.md, section 11. */
#ifndef RECAST_RUNNER_CPU_QUANTIZED_TRAITS_H
#define RECAST_RUNNER_CPU_QUANTIZED_TRAITS_H

#include "core/blocks.h"
#include "core/dtype.h"
#include "runner/cpu/vectors.h"

#define TRAIT static inline __attribute__((always_inline, unused))

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

TRAIT bool is_super(DType t) { /* 256 elements, 8 blocks under one d */
    return t == DT_Q2_K || t == DT_Q3_K || t == DT_Q4_K || t == DT_Q5_K || t == DT_Q6_K || t == DT_IQ4_XS;
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

typedef enum Per { PER_NONE, PER_BLOCK, PER_HALF } Per;

TRAIT Per scales_of(DType t) {
    if (t == DT_Q2_K || t == DT_Q3_K || t == DT_Q6_K) return PER_HALF;
    return t == DT_Q4_K || t == DT_Q5_K || t == DT_IQ4_XS ? PER_BLOCK : PER_NONE;
}

TRAIT bool adds_minimum(DType t) {
    return t == DT_Q4_1 || t == DT_Q5_1;
}

TRAIT bool has_minimum(DType t) {
    return adds_minimum(t) || t == DT_Q2_K || t == DT_Q4_K || t == DT_Q5_K;
}

TRAIT size_t block_bytes(DType t) {
    switch (t) {
    case DT_Q4_0: return sizeof(block_q4_0);
    case DT_Q4_1: return sizeof(block_q4_1);
    case DT_Q5_0: return sizeof(block_q5_0);
    case DT_Q5_1: return sizeof(block_q5_1);
    case DT_Q8_0: return sizeof(block_q8_0);
    case DT_IQ4_NL: return sizeof(block_iq4_nl);
    case DT_Q2_K: return sizeof(block_q2_K);
    case DT_Q3_K: return sizeof(block_q3_K);
    case DT_Q4_K: return sizeof(block_q4_K);
    case DT_Q5_K: return sizeof(block_q5_K);
    case DT_Q6_K: return sizeof(block_q6_K);
    default: return sizeof(block_iq4_xs);
    }
}

/* Bytes of WIDTH blocks. */
TRAIT size_t group_bytes(DType t) {
    return is_super(t) ? WIDTH / 8 * block_bytes(t) : WIDTH * block_bytes(t);
}

#endif
