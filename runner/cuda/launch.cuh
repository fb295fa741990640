/* launch.cuh -- how the host starts a kernel, which one a type needs, and how it learns that something
 * failed. */
#ifndef RECAST_RUNNER_CUDA_LAUNCH_CUH
#define RECAST_RUNNER_CUDA_LAUNCH_CUH

#include "runner/cuda/layout.cuh"
#include <algorithm>
#include <cstring>
#include <memory>

/* ---- launches ---- */

/* Errors stay: what follows one is skipped, and the message names what failed. */
struct Gpu {
    cudaStream_t stream;
    cudaError_t error;
    const char *where;
    std::vector<const char *> names; /* of kernels; numbers are those of Call, from 1 */
    volatile uint32_t *mark;         /* pinned: the kernel that began last */
    int processors, most_shared;
    bool early;  /* programmatic dependent launch: code for sm_90 and later */
    bool copied; /* a copy is what the next kernel follows, so it does not start early */
    bool check;  /* wait after every kernel, so that an error is that kernel's */
    bool marks;  /* kernels write down that they began */
};

static bool ok(Gpu &g, cudaError_t error, const char *where) {
    if (g.error == cudaSuccess && error != cudaSuccess) {
        g.error = error;
        g.where = where;
        (void)cudaGetLastError(); /* it has been noted */
    }
    return g.error == cudaSuccess;
}

static uint32_t number_of(Gpu &g, const char *name) {
    auto at = std::find_if(g.names.begin(), g.names.end(), [&](const char *n) { return !strcmp(n, name); });
    if (at == g.names.end()) at = g.names.insert(at, name);
    return (uint32_t)(at - g.names.begin()) + 1;
}

/* All that the device has, whatever this launch takes: the limit is the function's, and another launch of it
 * may be waiting in a graph. */
template <class A> static bool allow_shared(Gpu &g, const char *name, void (*kernel)(A), size_t shared) {
    return shared <= 48 << 10 ||
           ok(g, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, g.most_shared),
              name);
}

/* Blocks of THREADS threads that the device holds at one time: more would only prepare their vectors again.
 */
template <class A> static unsigned resident(Gpu &g, const char *name, void (*kernel)(A), size_t shared) {
    int n = 1;
    if (allow_shared(g, name, kernel, shared))
        ok(g, cudaOccupancyMaxActiveBlocksPerMultiprocessor(&n, kernel, (int)THREADS, shared), name);
    return (unsigned)(g.processors * std::max(n, 1));
}

template <class A>
static void launch(Gpu &g, const char *name, void (*kernel)(A), dim3 grid, unsigned threads, size_t shared,
                   A args) {
    if (g.error != cudaSuccess) return;
    if (!allow_shared(g, name, kernel, shared)) return;
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = g.stream;
    config.attrs = &early;
    config.numAttrs = g.early && !g.copied;
    g.copied = false;
    args.mark = g.marks ? const_cast<uint32_t *>(g.mark) : nullptr;
    args.number = number_of(g, name);
    ok(g, cudaLaunchKernelEx(&config, kernel, args), name);
    if (g.check) ok(g, cudaStreamSynchronize(g.stream), name);
}

/* n elements of four bytes. */
static void upload(Gpu &g, void *to, const void *from, size_t n, const char *what) {
    ok(g, cudaMemcpyAsync(to, from, n * 4, cudaMemcpyHostToDevice, g.stream), what);
    g.copied = true;
}

static void download(Gpu &g, void *to, const void *from, size_t n, const char *what) {
    ok(g, cudaMemcpyAsync(to, from, n * 4, cudaMemcpyDeviceToHost, g.stream), what);
    g.copied = true;
}

static unsigned ceil_div(uint64_t a, uint64_t b) {
    return (unsigned)((a + b - 1) / b);
}

/* ---- a kernel for each type ---- */

/* f(std::integral_constant<int, type>()) for the type that picks a kernel. */
template <class F>
static auto with_type(int type, F f) -> decltype(f(std::integral_constant<int, DT_F32>())) {
    switch (type) {
#define CASE(type) \
    case type: return f(std::integral_constant<int, type>());
        FOR_QUANTIZED(CASE)
        CASE(DT_F16)
        CASE(DT_BF16)
        CASE(WIDENED)
#undef CASE
    default: return f(std::integral_constant<int, DT_F32>());
    }
}

static auto matmul_of(int type) {
    return with_type(type, [](auto t) -> void (*)(MatmulArgs) { return matmul<t()>; });
}

static auto down_of(int type) {
    return with_type(type, [](auto t) -> void (*)(DownArgs) { return down<t()>; });
}

static auto batch_of_type(int type) {
    return with_type(type, [](auto t) -> void (*)(BatchArgs) {
        if constexpr (meets_floats(t()))
            return batch_floats<t()>;
        else
            return batch_quantized<t()>;
    });
}

struct AttendKernels {
    void (*attend)(AttendArgs);
    void (*store)(AttendArgs);
};

template <int KV> static AttendKernels attend_of_size(uint32_t head_dim) {
    return {head_dim == 128 ? attend<KV, 4> : head_dim == 64 ? attend<KV, 2> : attend<KV, 0>, store_kv<KV>};
}

static AttendKernels attend_of(const CudaModel &m) {
    return m.kv == CUDA_KV_F32   ? attend_of_size<0>(m.head_dim)
           : m.kv == CUDA_KV_F16 ? attend_of_size<1>(m.head_dim)
                                 : attend_of_size<2>(m.head_dim);
}

#endif
