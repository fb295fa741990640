/* quantize_legacy_fast_baseline.c -- Q4_0, Q4_1, Q5_0 and Q5_1 with vectors of 4. */
#include "core/quantize_legacy.h"

#define LANES 4
#include "core/quantize_legacy_fast.h"

LEGACY_PATH(baseline)
