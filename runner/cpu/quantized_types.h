/* quantized_types.h -- what is true of a quantized type on any processor, as functions of a constant: how its
 * scales lie and how large a block is. The table is that of docs/arithmetic.md, section 11. */
#ifndef RECAST_RUNNER_CPU_QUANTIZED_TYPES_H
#define RECAST_RUNNER_CPU_QUANTIZED_TYPES_H

#include "core/blocks.h"
#include "core/dtype.h"

#define TRAIT static inline __attribute__((always_inline, unused))

/* X(name) for each of them. */
#define FOR_QUANTIZED_TYPES(X) \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL) X(IQ4_XS)

typedef enum Per { PER_NONE, PER_BLOCK, PER_HALF } Per;

TRAIT Per scales_of(DType t) {
    if (t == DT_Q2_K || t == DT_Q3_K || t == DT_Q6_K) return PER_HALF;
    return t == DT_Q4_K || t == DT_Q5_K || t == DT_IQ4_XS ? PER_BLOCK : PER_NONE;
}

TRAIT bool is_super(DType t) { /* 256 elements, 8 blocks under one d */
    return scales_of(t) != PER_NONE;
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

#endif
