/* quantize_legacy_fast_avx512.c -- Q4_0, Q4_1, Q5_0 and Q5_1 with vectors of 16. */
#include "core/quantize_legacy.h"

#if defined(__x86_64__)
#define LANES 16
#include "core/quantize_legacy_fast.h"

LEGACY_PATH(avx512)
#endif
