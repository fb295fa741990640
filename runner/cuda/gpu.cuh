/* gpu.cuh -- what the kernels need of the machine, in one place.
 *
 * nvcc compiles the kernels for the device; a C++ compiler compiles the same files for the host, where
 * tests/cuda/host/ stands in for CUDA. Everything that only one of the two has is behind a function here. */
#ifndef RECAST_RUNNER_CUDA_GPU_CUH
#define RECAST_RUNNER_CUDA_GPU_CUH

#include "core/strict_math.h"
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#define DEVICE static __device__ __forceinline__

constexpr unsigned WARP = 32, THREADS = 256, WARPS = THREADS / WARP, FULL = 0xFFFFFFFF;

/* ---- hardware ---- */

#ifdef __CUDACC__
extern __shared__ uint4 dynamic_shared[];
#endif

DEVICE float f32_of_f16(uint32_t h) {
    return __half2float(__ushort_as_half((unsigned short)h));
}

DEVICE uint16_t f16_of_f32(float f) {
    return __half_as_ushort(__float2half_rn(f));
}

DEVICE void fetch_to_l2(const void *p) {
#ifdef __CUDACC__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#else
    (void)p;
#endif
}

/* What the arguments of every kernel begin with; launch() fills it in. */
struct Call {
    uint32_t *mark;  /* host memory: the kernel that began last, so that a late error has a name; or NULL */
    uint32_t number; /* this kernel's */
};

/* Programmatic dependent launch: a kernel starts before the one in front has ended, fetches weights, and then
 * waits for what that one writes. Every kernel waits, so that each is ordered behind all before it. */
DEVICE void start(const Call &c) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    if (c.mark && threadIdx.x + blockIdx.x + blockIdx.y == 0) *(volatile uint32_t *)c.mark = c.number;
}

/* sums[16][8] += a[16][16] times b[16][8], signed bytes, exact; by a warp. With g = lane / 4 and t = lane % 4
 * a lane gives elements 4t .. 4t + 3 of rows g and g + 8 of a and of column g of b, and gets columns 2t and
 * 2t + 1 of rows g and g + 8 (PTX ISA, matrix fragments for mma.m16n8k16). */
DEVICE void mma(int (&sums)[4], uint32_t upper, uint32_t lower, uint32_t b) {
#ifdef __CUDACC__
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(upper), "r"(lower), "r"(b));
#else
    host_mma(sums, upper, lower, b);
#endif
}

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

/* A tree of N leaves that come one by one, in the order in which the butterfly adds lanes (0, 16, 8, 24, 4,
 * ...): sums wait in `waiting` until their neighbour is there. Behind the last leaf it returns the sum. */
template <int N, int W> DEVICE float push(float v, unsigned index, float (&waiting)[W]) {
    bool going =
        true; /* selections, not branches: an index that is known late would put `waiting` into memory */
#pragma unroll
    for (int k = 0; 1 << k < N; k++) {
        const bool waits = going && !(index >> k & 1);
        const float sum = waiting[k] + v;
        waiting[k] = waits ? v : waiting[k];
        going = going && !waits;
        v = going ? sum : v;
    }
    return v;
}

DEVICE unsigned reversed(unsigned lane) { /* five bits: the lane of leaf number `lane`, and back */
    return __brev(lane) >> 27;
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
