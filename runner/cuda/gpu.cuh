/* gpu.cuh -- what the kernels need of the machine, in one place.
 *
 * nvcc compiles the kernels for the device; a C++ compiler compiles the same files for the host, where
 * tests/cuda/host/ stands in for CUDA. Everything that only one of the two has is behind a function here. */
#ifndef RECAST_RUNNER_CUDA_GPU_CUH
#define RECAST_RUNNER_CUDA_GPU_CUH

#include <cuda_runtime.h>
#include <stdint.h>
#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif
#include "core/strict_math.h"

#define DEVICE static __device__ __forceinline__

constexpr unsigned WARP = 32, THREADS = 256, WARPS = THREADS / WARP, FULL = 0xFFFFFFFF;

/* ---- hardware, and its twin on the host ---- */

#ifdef __CUDACC__
extern __shared__ uint4 dynamic_shared[];

DEVICE float f32_of_f16(uint32_t h) {
    return __half2float(__ushort_as_half((unsigned short)h));
}

DEVICE uint16_t f16_of_f32(float f) {
    return __half_as_ushort(__float2half_rn(f));
}

/* Programmatic dependent launch: a kernel starts before the one in front has ended, fetches weights, and then
 * waits for what that one writes. Every kernel waits, so that each is ordered behind all before it. */
DEVICE void dependency_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

DEVICE void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

DEVICE void fetch_to_l2(const void *p) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}
#else
DEVICE float f32_of_f16(uint32_t h) {
    float f = strict_f32_of((h & 0x7FFF) << 13) * 0x1p112f;
    uint32_t special = (h & 0x7C00) == 0x7C00 ? 0x7F800000 : 0;
    return strict_f32_of(strict_bits_of(f) | special | (h & 0x8000) << 16);
}

DEVICE uint16_t f16_of_f32(float f) {
    return host_f16(f);
}

DEVICE void dependency_wait() {}
DEVICE void let_next_start() {}
DEVICE void fetch_to_l2(const void *) {}
#endif

/* ---- warps ---- */

DEVICE unsigned lane_id() {
    return threadIdx.x % WARP;
}

DEVICE unsigned warp_id() {
    return threadIdx.x / WARP;
}

/* The butterfly of section 2: lanes 16 apart are added, then 8, 4, 2, 1. Every lane gets the sum. */
DEVICE float butterfly(float v) {
#pragma unroll
    for (int s = 16; s; s /= 2) v += __shfl_xor_sync(FULL, v, s);
    return v;
}

DEVICE float warp_max(float v) {
#pragma unroll
    for (int s = 16; s; s /= 2) {
        float other = __shfl_xor_sync(FULL, v, s);
        v = other > v ? other : v;
    }
    return v;
}

/* N butterflies at once, N a power of two: a lane hands over half of its sums and keeps the other half, so
 * that 32 of them take 31 shuffles. The pairs that are added, and their order, are the same. Lane l is left
 * with number l / (32 / N). */
template <int N, int S = 16> DEVICE float butterflies(float (&v)[N]) {
    if constexpr (S == 0) {
        return v[0];
    } else if constexpr (N == 1) {
        v[0] += __shfl_xor_sync(FULL, v[0], S);
        return butterflies<1, S / 2>(v);
    } else {
        const bool upper = lane_id() & S;
        float half[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
            float keep = upper ? v[i + N / 2] : v[i], give = upper ? v[i] : v[i + N / 2];
            half[i] = keep + __shfl_xor_sync(FULL, give, S);
        }
        return butterflies<N / 2, S / 2>(half);
    }
}

/* sum (b NULL) and dot of section 2 over n floats in shared memory; by one warp, for all its lanes. */
DEVICE float sum_lanes(const float *a, unsigned n) {
    float v = 0;
    for (unsigned i = lane_id(); i < n; i += WARP) v += a[i];
    return butterfly(v);
}

DEVICE float dot_lanes(const float *a, const float *b, unsigned n) {
    float v = 0;
#pragma unroll 4
    for (unsigned i = lane_id(); i < n; i += WARP) v = fmaf(a[i], b[i], v);
    return butterfly(v);
}

DEVICE bool is_finite(float f) {
    return (strict_bits_of(f) & 0x7F800000) != 0x7F800000;
}

#endif
