/* fibers.cpp -- see cuda_runtime.h: blocks of fibers, and a run time that keeps everything in the host's
 * memory. */
#include <cuda_runtime.h>

#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define BEFORE_SWITCH(fake, stack, size) __sanitizer_start_switch_fiber(fake, stack, size)
#define AFTER_SWITCH(fake)               __sanitizer_finish_switch_fiber(fake, nullptr, nullptr)
#else
#define BEFORE_SWITCH(fake, stack, size) (void)(fake)
#define AFTER_SWITCH(fake)               (void)(fake)
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
uint4 *dynamic_shared;

/* To nearest even, as cvt.rn.f16.f32 does. */
uint16_t host_f16(float f) {
    uint32_t bits, sign, size;
    memcpy(&bits, &f, sizeof bits);
    sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00);
    if (size >= 0x47800000) return (uint16_t)(sign | 0x7C00);
    if (size < 0x38800000) { /* a subnormal half: 0.5 has the last place that it needs */
        float shifted = fabs(f) + 0.5f;
        memcpy(&bits, &shifted, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3F000000));
    }
    size += 0xFFF + (size >> 13 & 1);
    return (uint16_t)(sign | ((size - 0x38000000) >> 13));
}

/* ---- switching ---- */

#if defined(__x86_64__)
/* Saves the registers that a function must keep, and the stack they are on; takes those of another. */
using Context = void *;
__attribute__((naked, noinline)) static void swap_context(Context *, Context *) {
    asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n\t"
        "mov %rsp, (%rdi); mov (%rsi), %rsp\n\t"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}

static void make_context(Context *out, char *stack, size_t size, void (*entry)()) {
    void **top = reinterpret_cast<void **>(stack + size) -
                 1; /* as if entry had been called: aligned to 16, less a return address */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    *out = top;
}
#else
#include <ucontext.h>
using Context = ucontext_t;
static void swap_context(Context *save, Context *next) {
    swapcontext(save, next);
}

static void make_context(Context *out, char *stack, size_t size, void (*entry)()) {
    getcontext(out);
    out->uc_stack.ss_sp = stack;
    out->uc_stack.ss_size = size;
    out->uc_link = nullptr;
    makecontext(out, entry, 0);
}
#endif

/* ---- a block ---- */

constexpr size_t STACK = 128 << 10;
constexpr unsigned MOST_THREADS = 1024;

struct Fiber {
    Context context;
    char *stack;
    void *fake;           /* AddressSanitizer's second stack */
    const unsigned *gate; /* waits until this is no longer `closed` */
    unsigned closed;
    bool done;
};

struct Warp {
    uint64_t value[2][32];
    unsigned turn, arrived;
};

struct Block {
    Fiber fibers[MOST_THREADS];
    Warp warps[MOST_THREADS / 32];
    Context scheduler;
    const void *scheduler_stack;
    size_t scheduler_size;
    void *scheduler_fake;
    unsigned current, threads, alive, turn, arrived;
    const std::function<void()> *work;
    int order;
    uint64_t random;
};
static Block block;

static void leave(bool for_good) {
    Fiber &f = block.fibers[block.current];
    BEFORE_SWITCH(for_good ? nullptr : &f.fake, block.scheduler_stack, block.scheduler_size);
    swap_context(&f.context, &block.scheduler);
    AFTER_SWITCH(f.fake);
}

static void wait_at(const unsigned *gate) {
    Fiber &f = block.fibers[block.current];
    f.gate = gate;
    f.closed = *gate;
    leave(false);
}

static void release_if_all() {
    if (block.arrived < block.alive) return;
    block.arrived = 0;
    block.turn++;
}

void __syncthreads() {
    block.arrived++;
    if (block.arrived < block.alive)
        wait_at(&block.turn);
    else
        release_if_all();
}

const uint64_t *host_exchange(uint64_t mine) {
    Warp &w = block.warps[block.current / 32];
    uint64_t *values = w.value[w.turn & 1];
    values[block.current % 32] = mine;
    if (++w.arrived == 32) {
        w.arrived = 0;
        w.turn++;
    } else {
        wait_at(&w.turn);
    }
    return values;
}

static void enter() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack, &block.scheduler_size);
#endif
    (*block.work)();
    block.fibers[block.current].done = true;
    block.alive--;
    if (block.alive && block.arrived) release_if_all();
    leave(true);
}

static uint64_t next_random() {
    block.random ^= block.random << 13;
    block.random ^= block.random >> 7;
    block.random ^= block.random << 17;
    return block.random;
}

/* The order in which 0 .. n-1 go. */
static std::vector<unsigned> make_order(unsigned n) {
    std::vector<unsigned> out(n);
    for (unsigned i = 0; i < n; i++) out[i] = block.order == 1 ? n - 1 - i : i;
    for (unsigned i = n; block.order == 2 && i > 1; i--) std::swap(out[i - 1], out[next_random() % i]);
    return out;
}

static void resume(unsigned i) {
    Fiber &f = block.fibers[i];
    block.current = i;
    threadIdx = {i, 0, 0};
    BEFORE_SWITCH(&block.scheduler_fake, f.stack, STACK);
    swap_context(&block.scheduler, &f.context);
    AFTER_SWITCH(block.scheduler_fake);
}

/* One turn for each lane of a warp that doesn't wait; false if all do. */
static bool run_lanes(unsigned warp) {
    bool moved = false;
    for (unsigned i = 0; i < 32; i++) {
        unsigned lane = block.order == 1 ? 31 - i : block.order == 2 ? (i * 5 + block.random % 32) % 32 : i;
        Fiber &f = block.fibers[warp * 32 + lane];
        if (f.done || (f.gate && *f.gate == f.closed)) continue;
        f.gate = nullptr;
        resume(warp * 32 + lane);
        moved = true;
    }
    return moved;
}

/* Warps take turns: each goes until all its lanes wait for others, or, shuffled, one exchange at a time. */
static void run_block(const std::vector<unsigned> &order) {
    block.alive = block.threads;
    block.arrived = block.turn = 0;
    for (Warp &w : block.warps) w.turn = w.arrived = 0;
    for (unsigned i = 0; i < block.threads; i++) {
        Fiber &f = block.fibers[i];
        if (!f.stack) {
            void *p = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (p == MAP_FAILED) __builtin_trap();
            f.stack = static_cast<char *>(p);
        }
        f.gate = nullptr;
        f.done = false;
        f.fake = nullptr;
        make_context(&f.context, f.stack, STACK, enter);
    }
    const unsigned warps = block.threads / 32;
    for (unsigned left = warps, w = 0; block.alive; w++) {
        if (w % warps == 0 && w) {
            if (left == warps) __builtin_trap(); /* a barrier that not every thread reaches */
            left = warps;
        }
        const unsigned warp = order[w % warps];
        bool moved = run_lanes(warp);
        left -= moved;
        while (moved && block.order != 2) moved = run_lanes(warp); /* as far as it goes alone */
    }
}

/* A kernel that fails while it runs: what follows it does nothing, and who waits next is told. */
static struct {
    int countdown; /* 0: none will */
    bool failed;
} trouble;

static void run_grid(const cudaLaunchConfig_t &config, const std::function<void()> &thread) {
    if (trouble.failed) return;
    if (trouble.countdown && --trouble.countdown == 0) trouble.failed = true;
    gridDim = config.gridDim;
    blockDim = config.blockDim;
    block.threads = config.blockDim.x;
    block.work = &thread;
    if (block.threads > MOST_THREADS || block.threads % 32) __builtin_trap();
    std::vector<uint4> shared;
    for (unsigned b : make_order(gridDim.x * gridDim.y)) {
        blockIdx = {b % gridDim.x, b / gridDim.x, 0};
        shared = std::vector<uint4>((config.dynamicSmemBytes + 15) / 16);
        if (!shared.empty()) memset(shared.data(), 0xA5, shared.size() * 16); /* nothing to rely on */
        dynamic_shared = shared.data();
        run_block(make_order(block.threads / 32));
    }
}

/* 0: by number, 1: backwards, 2: shuffled from this seed. */
extern "C" __attribute__((visibility("default"))) void recast_cuda_host_order(int order, uint64_t seed) {
    block.order = order;
    block.random = seed | 1;
}

/* The n-th kernel from now on fails. */
extern "C" __attribute__((visibility("default"))) void recast_cuda_host_fail(int n) {
    trouble = {n, false};
}

/* ---- the run time ---- */

struct HostStream {
    HostWork *recording;
};

static HostStream the_stream;

static cudaError_t run(std::function<void()> work) {
    if (the_stream.recording)
        the_stream.recording->push_back(std::move(work));
    else
        work();
    return cudaSuccess;
}

void host_launch(const cudaLaunchConfig_t &config, std::function<void()> thread) {
    run([config, thread] { run_grid(config, thread); });
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (*out) memset(*out, 0xA5, bytes);
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void *p) {
    free(p);
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void **out, size_t bytes) {
    return cudaMalloc(out, bytes);
}
cudaError_t cudaFreeHost(void *p) {
    return cudaFree(p);
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int, cudaStream_t) {
    return run([=] { memcpy(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t) {
    return run([=] { memset(p, value, bytes); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned) {
    *out = &the_stream;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) {
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return trouble.failed ? cudaErrorIllegalAddress : cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int) {
    stream->recording = new HostWork;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
    *out = stream->recording;
    stream->recording = nullptr;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long) {
    *out = new HostWork(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
    for (auto &work : *graph) work();
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *n) {
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int) {
    strcpy(out->name, "host fibers");
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *out, int attribute, int) {
    static const int values[] = {2, 99 << 10, 8, 0}; /* few processors: loops over rows run more than once */
    *out = values[attribute];
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *free_bytes = *total = ((size_t)1 << 32) + (256 << 20);
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaGetLastError() {
    return cudaSuccess;
}
const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "error";
}
