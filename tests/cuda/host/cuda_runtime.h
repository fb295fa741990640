/* cuda_runtime.h -- the little of CUDA that runner/cuda/ uses, for a machine without a GPU.
 *
 * A block's threads are fibers of one thread of the host, which take turns at barriers and at exchanges
 * within a warp: in the order of their numbers, backwards, or shuffled (recast_cuda_host_order). A kernel
 * that forgets a barrier gives other bits in one of these orders; one that not all threads reach ends the
 * program. A kernel can be made to fail while it runs (recast_cuda_host_fail). What this can't show: races
 * between blocks, and the memory model of a real device. */
#ifndef RECAST_TESTS_CUDA_HOST_CUDA_RUNTIME_H
#define RECAST_TESTS_CUDA_HOST_CUDA_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

using std::fabs;
using std::sqrt;

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct uint2 {
    uint32_t x, y;
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

/* ---- what a thread sees ---- */

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
extern uint4 *dynamic_shared;

void __syncthreads();
/* Gives a warp's 32 lanes what each of them put in; the pointer holds until the next exchange. */
const uint64_t *host_exchange(uint64_t mine);

inline void __syncwarp() {
    host_exchange(0);
}

template <class T> T __shfl_sync(unsigned, T v, int lane) {
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    memcpy(&v, &host_exchange(bits)[lane & 31], sizeof v);
    return v;
}

template <class T> T __shfl_xor_sync(unsigned mask, T v, int lanes) {
    return __shfl_sync(mask, v, (int)(threadIdx.x % 32) ^ lanes);
}

inline unsigned __ballot_sync(unsigned, bool v) {
    const uint64_t *all = host_exchange(v);
    unsigned mask = 0;
    for (int i = 0; i < 32; i++) mask |= (unsigned)all[i] << i;
    return mask;
}

inline int __popc(unsigned v) {
    return __builtin_popcount(v);
}

inline unsigned __brev(unsigned v) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (v >> i & 1) << (31 - i);
    return r;
}

inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i & 0xFF) * (int8_t)(b >> i & 0xFF);
    return c;
}

inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t s) {
    uint64_t all = (uint64_t)y << 32 | x;
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) r |= (uint32_t)(all >> 8 * (s >> 4 * i & 7) & 0xFF) << 8 * i;
    return r;
}

/* See mma in runner/cuda/gpu.cuh: element k of row g of a is byte k % 4 of lane 4g + k / 4. */
inline void host_mma(int (&sums)[4], uint32_t upper, uint32_t lower, uint32_t b) {
    const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    uint64_t rows[4], columns[2][4];
    memcpy(rows, host_exchange(upper | (uint64_t)lower << 32) + 4 * g, sizeof rows);
    const uint64_t *all = host_exchange(b);
    memcpy(columns[0], all + 4 * (2 * t), sizeof columns[0]);
    memcpy(columns[1], all + 4 * (2 * t + 1), sizeof columns[1]);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            sums[i] = __dp4a((int)(rows[k] >> i / 2 * 32), (int)columns[i % 2][k], sums[i]);
}

template <class T> T __ldg(const T *p) {
    return *p;
}

inline int atomicMin(int *at, int v) {
    int old = *at;
    if (v < old) *at = v;
    return old;
}

/* ---- the run time: memory is the host's, a stream runs at once or is recorded ---- */

enum cudaError_t {
    cudaSuccess,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorIllegalAddress = 700,
    cudaErrorNotSupported = 801
};
enum { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum { cudaStreamCaptureModeThreadLocal, cudaStreamNonBlocking = 1 };
enum { cudaFuncAttributeMaxDynamicSharedMemorySize, cudaLaunchAttributeProgrammaticStreamSerialization };
enum {
    cudaDevAttrMultiProcessorCount,
    cudaDevAttrMaxSharedMemoryPerBlockOptin,
    cudaDevAttrComputeCapabilityMajor,
    cudaDevAttrComputeCapabilityMinor
};

using HostWork = std::vector<std::function<void()>>;
using cudaStream_t = struct HostStream *;
using cudaGraph_t = HostWork *;
using cudaGraphExec_t = HostWork *;

struct cudaDeviceProp {
    char name[256];
};
struct cudaFuncAttributes {
    int ptxVersion;
};
struct cudaLaunchAttribute {
    int id;
    struct {
        int programmaticStreamSerializationAllowed;
    } val;
};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
};

cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device);
cudaError_t cudaDeviceGetAttribute(int *out, int attribute, int device);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t error);

/* Runs all blocks of a kernel, or records that for the graph that is being made. */
void host_launch(const cudaLaunchConfig_t &config, std::function<void()> thread);

template <class K> cudaError_t cudaFuncSetAttribute(K *, int, int) {
    return cudaSuccess;
}

template <class K> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *out, K *) {
    out->ptxVersion = 80;
    return cudaSuccess;
}

template <class K> cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, K *, int, size_t) {
    *n = 3;
    return cudaSuccess;
}

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...), A... args) {
    host_launch(*config, [=] { kernel(args...); });
    return cudaSuccess;
}

#endif
