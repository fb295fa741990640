/* sha256_blocks.h -- the compression function of SHA-256 (FIPS 180-4, section 6.2.2), once for each kind of
 * processor. For sha256.c and tests; everybody else wants core/sha256.h. */
#ifndef RECAST_CORE_SHA256_BLOCKS_H
#define RECAST_CORE_SHA256_BLOCKS_H

#include "core/cpu.h"
#include "core/sha256.h"
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BLOCK = 64 };

/* One way to compress. Both functions take n whole blocks a stream; data needs no alignment, n may be 0. */
typedef struct Sha256Path {
    const char *name;
    CpuFeatures needs;
    void (*one)(uint32_t h[8], const uint8_t *data, size_t n);
    /* Two independent hashes at once. A round waits for the one before; another stream's rounds fill the
     * wait. */
    void (*two)(uint32_t a[8], const uint8_t *data_a, uint32_t b[8], const uint8_t *data_b, size_t n);
} Sha256Path;

/* All that this binary holds, the fastest first; the last, in plain C, needs nothing. */
size_t sha256_paths(const Sha256Path *const **out);
const Sha256Path *sha256_path(CpuFeatures have); /* the fastest that `have` can run */

/* sha256_open with a path of the caller's choice, which this machine must be able to run. */
int sha256_open_path(Sha256 **out, const Sha256Path *path, Error *err) MUST_CHECK;

extern const _Alignas(16) uint32_t sha256_k[64]; /* the round constants */
#if defined(__x86_64__)
extern const Sha256Path sha256_shani;
#endif
/* Clang offers the intrinsics to a function with a target attribute since 16, and before only when all is
 * built for them. */
#if defined(__AARCH64EL__) && (defined(__ARM_FEATURE_SHA2) || !defined(__clang__) || __clang_major__ >= 16)
#define SHA256_HAS_ARM 1
extern const Sha256Path sha256_arm;
#endif

/* Before a loop of four times sixteen rounds: GCC at -O2 leaves it a loop, which costs two streams 12%. */
#define UNROLLED _Pragma("GCC unroll 4")

#endif
