/* neon.h -- what the NEON files share. For C files of 64-bit Arm; with DOTPROD defined, code for processors
 * that have the dot product extension. */
#ifndef RECAST_RUNNER_CPU_NEON_H
#define RECAST_RUNNER_CPU_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(DOTPROD)
#define NEON_TARGET
#elif defined(__clang__)
#define NEON_TARGET __attribute__((target("dotprod")))
#else /* GCC declares them for the architecture that they came with */
#define NEON_TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
/* NEON functions are always inlined; NEON_CODE is for those that are called. */
#define NEON      static inline __attribute__((always_inline, unused)) NEON_TARGET
#define NEON_CODE static __attribute__((noinline, unused)) NEON_TARGET

/* Loops over registers: without this gcc's -O2 keeps the arrays in memory. */
#define UNROLL _Pragma("GCC unroll 16")

/* The butterfly of docs/arithmetic.md, section 2: lane[l] + lane[l + s] for s = 16, 8, 4, 2, 1. */
NEON float neon_butterfly(const float32x4_t lane[8]) {
    float32x4_t a = vaddq_f32(lane[0], lane[4]), b = vaddq_f32(lane[1], lane[5]);
    float32x4_t c = vaddq_f32(lane[2], lane[6]), d = vaddq_f32(lane[3], lane[7]);
    float32x4_t four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

#endif
