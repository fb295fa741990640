/* quantize_k_fast_avx512.c -- K-quants with AVX-512 (F, BW, DQ, VL): 16 lanes. */
#include "core/quantize_k.h"

#if defined(__x86_64__)
#define LANES  16
#define K_PATH avx512
#include "core/quantize_k_lanes.h"
#endif
