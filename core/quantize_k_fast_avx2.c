/* quantize_k_fast_avx2.c -- K-quants with AVX2: 8 lanes. */
#include "core/quantize_k.h"

#if defined(__x86_64__)
#define LANES  8
#define K_PATH avx2
#include "core/quantize_k_lanes.h"
#endif
