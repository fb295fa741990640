/* cpu.h -- what the processor that runs this can do beyond its baseline, found out at run time.
 *
 * A binary is built for the baseline of its architecture; a faster function carries its own target attribute
 * and is chosen by these flags. The choice is a parameter wherever bytes depend on it being right
 * (core/sha256_blocks.h), so that tests reach every path of a machine. */
#ifndef RECAST_CORE_CPU_H
#define RECAST_CORE_CPU_H

#include <stdint.h>

typedef uint32_t CpuFeatures; /* flags below, or-ed */

enum {
    /* x86-64; each says that the operating system saves the registers too */
    CPU_SSSE3 = 1u << 0,
    CPU_SSE41 = 1u << 1,
    CPU_SHA = 1u << 2,
    CPU_BMI2 = 1u << 3,
    CPU_AVX2 = 1u << 4,
    CPU_FMA = 1u << 5,
    CPU_F16C = 1u << 6,
    CPU_AVX512F = 1u << 7,
    CPU_AVX512BW = 1u << 8,
    CPU_AVX512DQ = 1u << 9,
    CPU_AVX512VL = 1u << 10,
    CPU_AVX512VNNI = 1u << 11,
    /* 64-bit Arm */
    CPU_ARM_SHA2 = 1u << 16,
    CPU_ARM_DOTPROD = 1u << 17,
    CPU_ARM_NEON = 1u << 18, /* every one has it; a flag, so that it can be left out */
};

/* The flags of this process: cpu_detect, limited by RECAST_CPU if the environment has it. Found at the first
 * call and kept; any thread may ask. Defined in process.c, beside the rest of the global state. */
CpuFeatures cpu_features(void);

CpuFeatures cpu_detect(void); /* asks the processor and the operating system */
/* What of `have` the list allows. A list is words with commas between: baseline (nothing), sse4, sha, avx2,
 * avx512, vnni, sha2, neon, dotprod; avx2 includes sse4, BMI2, FMA and F16C, avx512 includes avx2 and the
 * four parts F, BW, DQ and VL, vnni includes avx512, sha includes sse4, dotprod includes neon. A word that it
 * doesn't know allows nothing. NULL or "" allows all. */
CpuFeatures cpu_limit(CpuFeatures have, const char *list);

#endif
