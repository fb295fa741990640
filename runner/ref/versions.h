/* versions.h -- KERNEL: compile this function once for each kind of x86-64 processor, and let the loader
 * choose. For the inner loops of runner/ref/. */
#ifndef RECAST_RUNNER_REF_VERSIONS_H
#define RECAST_RUNNER_REF_VERSIONS_H

#include <stddef.h>

/* Function multiversioning needs gcc and glibc's ifunc. optimize("O3") because gcc's -O2 leaves half of these
 * loops scalar; -ffp-contract=off stays in force (looked up in the assembly). clang compiles them once, for
 * the oldest processor of the kind, and the bits are the same. */
#if !defined(__GNUC__) || defined(__clang__)
#define KERNEL
#elif defined(__x86_64__) && defined(__GLIBC__) && __GNUC__ >= 12
#define KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define KERNEL __attribute__((optimize("O3")))
#endif
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 32 }; /* of every sum (docs/arithmetic.md, section 2) */

INLINE float butterfly(float lane[LANES]) {
    for (size_t s = LANES / 2; s; s /= 2)
        for (size_t l = 0; l < s; l++) lane[l] += lane[l + s];
    return lane[0];
}

#endif
