/* quantize_legacy_fast_avx2.c -- Q4_0, Q4_1, Q5_0 and Q5_1 with vectors of 8. */
#include "core/quantize_legacy.h"

#if defined(__x86_64__)
#define LANES 8
#include "core/quantize_legacy_fast.h"

LEGACY_PATH(avx2)
#endif
