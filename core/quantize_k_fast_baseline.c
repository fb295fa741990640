/* quantize_k_fast_baseline.c -- K-quants with what every processor of an architecture has: 4 lanes. */
#include "core/quantize_k.h"

#define LANES  4
#define K_PATH baseline
#include "core/quantize_k_lanes.h"
