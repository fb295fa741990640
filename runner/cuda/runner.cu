/* runner.cu -- the forward pass on the device: which kernel runs when, and the functions of cuda_runner.h.
 *
 * One token is seven kernels a layer, recorded once as a graph: the position, cosines and the token's row of
 * the embedding come through one copy, so the graph never changes but for how many chunks of attention it has
 * blocks for. Several tokens go through the same arithmetic in batches. */
#include "runner/cuda/layout.cuh"
#include "runner/cuda/repack.cuh"
#include <algorithm>
#include <cstdio>
#include <string>

/* ---- launches ---- */

/* Errors stay: what follows one is skipped, and the message names what failed. */
struct Gpu {
    cudaStream_t stream;
    cudaError_t error;
    const char *where;
    int processors, most_shared;
    bool early; /* programmatic dependent launch: sm_90 and later */
    bool check; /* wait after every kernel, so that an error is that kernel's */
};

static bool ok(Gpu &g, cudaError_t error, const char *where) {
    if (g.error == cudaSuccess && error != cudaSuccess) {
        g.error = error;
        g.where = where;
        (void)cudaGetLastError(); /* it has been noted */
    }
    return g.error == cudaSuccess;
}

template <class... P, class... A>
static void launch(Gpu &g, const char *name, void (*kernel)(P...), dim3 grid, unsigned threads, size_t shared,
                   A... args) {
    if (g.error != cudaSuccess) return;
    if (shared > 48 << 10 &&
        !ok(g, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared), name))
        return;
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = g.stream;
    config.attrs = &early;
    config.numAttrs = g.early ? 1 : 0;
    ok(g, cudaLaunchKernelEx(&config, kernel, P(args)...), name);
    if (g.check) ok(g, cudaStreamSynchronize(g.stream), name);
}

static unsigned ceil_div(uint64_t a, uint64_t b) {
    return (unsigned)((a + b - 1) / b);
}

/* ---- a kernel for each type ---- */

using MatmulKernel = void (*)(MatmulArgs);
using DownKernel = void (*)(DownArgs);

template <int T> static MatmulKernel matmul_of(int type) {
    switch (type) {
    case DT_F32: return matmul<DT_F32, T>;
    case DT_F16: return matmul<DT_F16, T>;
    case DT_BF16: return matmul<DT_BF16, T>;
    case WIDENED: return matmul<WIDENED, T>;
#define CASE(type) \
    case type: return matmul<type, T>;
        FOR_QUANTIZED(CASE)
#undef CASE
    }
    return nullptr;
}

static DownKernel down_of(int type) {
    switch (type) {
    case DT_F32: return down<DT_F32>;
    case DT_F16: return down<DT_F16>;
    case DT_BF16: return down<DT_BF16>;
    case WIDENED: return down<WIDENED>;
#define CASE(type) \
    case type: return down<type>;
        FOR_QUANTIZED(CASE)
#undef CASE
    }
    return nullptr;
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

/* ---- the runner ---- */

struct CudaRunner {
    CudaModel model;
    std::vector<LayerState> layers;
    Matrix head;
    float *norm;
    Work work;
    Gpu gpu;
    AttendKernels attention;
    uint32_t batch;
    uint8_t *weights_memory, *kv_memory, *work_memory;
    uint8_t *host_in; /* pinned: one token's input */
    float *host_out;  /* pinned: logits, and `bad` */
    bool fused;       /* one token's vectors fit into shared memory */
    cudaGraphExec_t graph;
    uint32_t graph_chunks;
};

/* The type that picks a kernel: WIDENED for quantized weights that meet float32. */
static int kernel_type(const CudaRunner &r, const Matrix &m) {
    return !is_float(m.type) && r.model.float_activations ? WIDENED : m.type;
}

static bool wants_floats(const CudaRunner &r, const Matrix &m) {
    return meets_floats(kernel_type(r, m));
}

/* Calls f(segments, n) for runs of matrices of one type: each is one launch. */
template <class F> static void each_type(const CudaRunner &r, const Segment *all, unsigned n, F f) {
    for (unsigned i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && kernel_type(r, all[end].w) == kernel_type(r, all[i].w) &&
                          kernel_type(r, all[i].w) != WIDENED;)
            end++;
        f(all + i, end - i);
    }
}

static MatmulArgs matmul_args(const Segment *segments, unsigned n) {
    MatmulArgs a = {};
    for (unsigned i = 0; i < n; i++) a.segments[i] = segments[i];
    a.n_segments = n;
    a.columns = segments[0].w.columns;
    return a;
}

static unsigned row_groups(const MatmulArgs &a, int type, int vectors) {
    unsigned groups = 0;
    for (unsigned i = 0; i < a.n_segments; i++)
        groups += ceil_div(a.segments[i].w.rows, WARPS * rows_of(type, vectors));
    return groups;
}

/* ---- one token ---- */

static uint32_t one_shared(uint32_t columns, bool quantized, bool norm) {
    return quantized ? acts_bytes(columns, true) + (norm ? columns * 4 : 0) : acts_bytes(columns, false);
}

static void multiply_one(CudaRunner &r, const char *name, const Segment *all, unsigned n, Source source,
                         bool add, const RouteArgs *routed) {
    each_type(r, all, n, [&](const Segment *segments, unsigned count) {
        MatmulArgs a = matmul_args(segments, count);
        const bool quantized = !wants_floats(r, segments[0].w);
        uint32_t shared = one_shared(a.columns, quantized, source.norm != nullptr), slots = 1;
        a.source = source;
        a.add = add;
        if (routed) {
            a.route = *routed;
            slots = routed->used;
            shared = std::max(shared, route_shared(routed->n_experts, routed->used));
        }
        unsigned most = std::max(1u, (unsigned)r.gpu.processors * 8 / slots);
        launch(r.gpu, name, matmul_of<1>(kernel_type(r, segments[0].w)),
               dim3(std::min(row_groups(a, kernel_type(r, segments[0].w), 1), most), slots), THREADS, shared,
               a);
    });
}

static AttendArgs attend_args(CudaRunner &r, const LayerState &l, const Input &in) {
    const CudaModel &m = r.model;
    AttendArgs a = {};
    Work &w = r.work;
    a.q = w.q, a.k = w.k, a.v = w.v;
    a.q_norm = l.q_norm, a.k_norm = l.k_norm;
    a.cosine = in.cosine, a.sine = in.sine, a.first = in.first;
    a.cache = l.cache;
    a.n_heads = m.n_heads, a.n_kv_heads = m.n_kv_heads, a.head_dim = m.head_dim;
    a.eps = m.rms_eps;
    a.scale = (float)(1 / sqrt((double)m.head_dim));
    a.out = w.heads;
    a.part_m = w.part_m, a.part_l = w.part_l, a.part_o = w.part_o;
    a.chunks = capacity_of(m) / CHUNK;
    return a;
}

static void attend_one(CudaRunner &r, const LayerState &l, uint32_t chunks) {
    const CudaModel &m = r.model;
    AttendArgs a = attend_args(r, l, r.work.one);
    a.count = a.tile = a.split = 1;
    launch(r.gpu, "attend", r.attention.attend, dim3(chunks, m.n_kv_heads), THREADS,
           attend_shared(m.n_heads / m.n_kv_heads, m.head_dim), a);
    launch(r.gpu, "merge_chunks", merge_chunks, dim3(m.n_heads), THREADS, (3 * CHUNK + m.head_dim + 1) * 4,
           a);
}

static RouteArgs route_args(const CudaRunner &r) {
    const CudaModel &m = r.model;
    return {r.work.route, m.n_experts, m.n_experts_used, m.norm_topk_prob, r.work.chosen, r.work.weights};
}

static void layer_one(CudaRunner &r, uint32_t layer, uint32_t chunks) {
    const LayerState &l = r.layers[layer];
    const Matrix *w = l.matrices;
    Work &k = r.work;
    const float eps = r.model.rms_eps;
    const Segment qkv[] = {{w[CUDA_Q], k.q}, {w[CUDA_K], k.k}, {w[CUDA_V], k.v}};
    const Segment out[] = {{w[CUDA_O], k.one.x}}, router[] = {{w[CUDA_ROUTER], k.route}};
    const Segment experts[] = {{w[CUDA_GATE], k.gate}, {w[CUDA_UP], k.up}};
    const RouteArgs routed = route_args(r);
    const Source norm = {k.one.x, l.ffn_norm, nullptr, eps};

    multiply_one(r, "matmul (q, k, v)", qkv, 3, {k.one.x, l.attn_norm, nullptr, eps}, false, nullptr);
    attend_one(r, l, chunks);
    multiply_one(r, "matmul (o)", out, 1, {k.heads, nullptr, nullptr, 0}, true, nullptr);
    multiply_one(r, "matmul (router)", router, 1, norm, false, nullptr);
    multiply_one(r, "matmul (gate, up)", experts, 2, norm, false, &routed);

    const Matrix &down_matrix = w[CUDA_DOWN];
    DownArgs a = {down_matrix, k.chosen,     k.weights, r.model.n_experts_used, {k.gate, nullptr, k.up, 0},
                  k.one.x,     k.bad + layer};
    launch(r.gpu, "down", down_of(kernel_type(r, down_matrix)),
           dim3(std::min(ceil_div(down_matrix.rows, WARPS), (unsigned)r.gpu.processors * 8)), THREADS,
           r.model.n_experts_used * acts_bytes(down_matrix.columns, !wants_floats(r, down_matrix)), a);
}

static size_t out_bytes(const CudaModel &m) {
    return ((size_t)m.n_vocab + m.n_layers) * sizeof(float);
}

static void forward_one(CudaRunner &r, uint32_t chunks) {
    const CudaModel &m = r.model;
    Work &w = r.work;
    const Segment head[] = {{r.head, w.logits}};
    ok(r.gpu, cudaMemcpyAsync(w.one.first, r.host_in, input_bytes(m), cudaMemcpyHostToDevice, r.gpu.stream),
       "input");
    if (m.n_layers) ok(r.gpu, cudaMemsetAsync(w.bad, 0x7F, m.n_layers * sizeof(int), r.gpu.stream), "input");
    for (uint32_t i = 0; i < m.n_layers; i++) layer_one(r, i, chunks);
    multiply_one(r, "matmul (head)", head, 1, {w.one.x, r.norm, nullptr, m.rms_eps}, false, nullptr);
    ok(r.gpu, cudaMemcpyAsync(r.host_out, w.logits, out_bytes(m), cudaMemcpyDeviceToHost, r.gpu.stream),
       "logits");
}

/* Runs the token in host_in. The graph has blocks for a power of two of chunks; those beyond the position end
 * at once. */
static void run_one(CudaRunner &r, uint32_t position) {
    uint32_t most = capacity_of(r.model) / CHUNK, chunks = 1;
    while (chunks <= position / CHUNK) chunks *= 2;
    chunks = std::min(chunks, most);
    if (r.gpu.check) return forward_one(r, chunks);
    if (r.graph_chunks != chunks) {
        cudaGraph_t graph = nullptr;
        if (r.graph) cudaGraphExecDestroy(r.graph);
        r.graph = nullptr;
        r.graph_chunks = 0;
        if (!ok(r.gpu, cudaStreamBeginCapture(r.gpu.stream, cudaStreamCaptureModeThreadLocal), "graph"))
            return;
        forward_one(r, chunks);
        ok(r.gpu, cudaStreamEndCapture(r.gpu.stream, &graph), "graph");
        if (r.gpu.error == cudaSuccess) ok(r.gpu, cudaGraphInstantiate(&r.graph, graph, 0), "graph");
        if (graph) cudaGraphDestroy(graph);
        if (r.gpu.error != cudaSuccess) return;
        r.graph_chunks = chunks;
    }
    ok(r.gpu, cudaGraphLaunch(r.graph, r.gpu.stream), "graph");
}

/* ---- several tokens ---- */

/* Vectors of a source in the forms that these matrices want. */
static void prepare_for(CudaRunner &r, const char *name, Source s, uint32_t columns, unsigned count,
                        std::initializer_list<const Matrix *> readers) {
    bool floats = false, quantized = false;
    for (const Matrix *m : readers) (wants_floats(r, *m) ? floats : quantized) = true;
    const uint32_t room = columns * 4;
    if (quantized) launch(r.gpu, name, prepare<true>, dim3(count), THREADS, room, s, r.work.acts_q, columns);
    if (floats) launch(r.gpu, name, prepare<false>, dim3(count), THREADS, room, s, r.work.acts_f, columns);
}

/* count: vectors, or with tiles at most so many tiles. */
static void multiply(CudaRunner &r, const char *name, const Segment *all, unsigned n, unsigned count,
                     bool add, bool tiles, const uint32_t *pick) {
    each_type(r, all, n, [&](const Segment *segments, unsigned parts) {
        MatmulArgs a = matmul_args(segments, parts);
        const bool quantized = !wants_floats(r, segments[0].w);
        a.acts = quantized ? r.work.acts_q : r.work.acts_f;
        a.add = add;
        a.chunk = quantized ? 4096 : 1024;
        a.count = count;
        a.pick = pick;
        if (tiles) a.tiles = r.work.tiles, a.n_tiles = r.work.n_tiles;
        unsigned x = std::min(row_groups(a, kernel_type(r, segments[0].w), BATCH_TILE),
                              (unsigned)r.gpu.processors * 4);
        launch(r.gpu, name, matmul_of<BATCH_TILE>(kernel_type(r, segments[0].w)),
               dim3(x, tiles ? count : ceil_div(count, BATCH_TILE)), THREADS,
               BATCH_TILE * acts_bytes(std::min(a.columns, a.chunk), quantized), a);
    });
}

static void experts_many(CudaRunner &r, uint32_t layer, float *x, unsigned count) {
    const CudaModel &m = r.model;
    const LayerState &l = r.layers[layer];
    const Matrix *w = l.matrices;
    Work &k = r.work;
    const uint32_t entries = count * m.n_experts_used,
                   tiles = std::min(entries, entries / BATCH_TILE + m.n_experts);
    const Segment router[] = {{w[CUDA_ROUTER], k.route}}, out[] = {{w[CUDA_DOWN], k.down}};
    const Segment experts[] = {{w[CUDA_GATE], k.gate}, {w[CUDA_UP], k.up}};
    prepare_for(r, "prepare (experts)", {x, l.ffn_norm, nullptr, m.rms_eps}, m.n_embd, count,
                {&w[CUDA_ROUTER], &w[CUDA_GATE], &w[CUDA_UP]});
    multiply(r, "matmul (router)", router, 1, count, false, false, nullptr);
    launch(r.gpu, "route_tokens", route_tokens, dim3(count), 128, route_shared(m.n_experts, m.n_experts_used),
           route_args(r));
    GroupArgs g = {k.chosen, entries, m.n_experts_used, m.n_experts, BATCH_TILE,
                   k.place,  k.token, k.tiles,          k.n_tiles};
    launch(r.gpu, "group_entries", group_entries, dim3(1), 1024, 3 * m.n_experts * 4, g);
    multiply(r, "matmul (gate, up)", experts, 2, tiles, false, true, k.token);
    prepare_for(r, "prepare (down)", {k.gate, nullptr, k.up, 0}, m.n_ff_expert, entries, {&w[CUDA_DOWN]});
    multiply(r, "matmul (down)", out, 1, tiles, false, true, nullptr);
    CombineArgs c = {k.down, k.place, k.weights, m.n_experts_used, m.n_embd, x, k.bad + layer};
    launch(r.gpu, "combine", combine, dim3(count), THREADS, 0, c);
}

/* One layer over a batch; behind keys and values only tokens from `from` on go on. */
static void layer_many(CudaRunner &r, uint32_t layer, unsigned count, unsigned from) {
    const CudaModel &m = r.model;
    const LayerState &l = r.layers[layer];
    const Matrix *w = l.matrices;
    Work &k = r.work;
    const unsigned wanted = count - from, group = m.n_heads / m.n_kv_heads;
    const uint32_t width = m.n_heads * m.head_dim;
    float *x = k.many.x + (size_t)from * m.n_embd;
    const Segment qkv[] = {{w[CUDA_Q], k.q}, {w[CUDA_K], k.k}, {w[CUDA_V], k.v}}, out[] = {{w[CUDA_O], x}};

    prepare_for(r, "prepare (attention)", {k.many.x, l.attn_norm, nullptr, m.rms_eps}, m.n_embd, count,
                {&w[CUDA_Q], &w[CUDA_K], &w[CUDA_V]});
    multiply(r, "matmul (q, k, v)", qkv, 3, count, false, false, nullptr);
    AttendArgs a = attend_args(r, l, k.many);
    a.from = from, a.count = count;
    a.tile = std::min(wanted, std::max(1u, ATTEND_ROWS / group));
    launch(r.gpu, "store_kv", r.attention.store, dim3(count, m.n_kv_heads), 2 * WARP, m.head_dim * 4, a);
    launch(r.gpu, "attend", r.attention.attend, dim3(ceil_div(wanted, a.tile), m.n_kv_heads), THREADS,
           attend_shared(group * a.tile, m.head_dim), a);
    prepare_for(r, "prepare (o)", {k.heads + (size_t)from * width, nullptr, nullptr, 0}, width, wanted,
                {&w[CUDA_O]});
    multiply(r, "matmul (o)", out, 1, wanted, true, false, nullptr);
    experts_many(r, layer, x, wanted);
}

/* A batch: its states, or only the logits of its last token, into host memory. */
static void run_many(CudaRunner &r, const CudaBatch &in, unsigned done, unsigned count, bool logits) {
    const CudaModel &m = r.model;
    Work &w = r.work;
    const uint32_t first = in.first + done, half = m.head_dim / 2;
    auto up = [&](void *to, const void *from, size_t floats) {
        ok(r.gpu, cudaMemcpyAsync(to, from, floats * sizeof(float), cudaMemcpyHostToDevice, r.gpu.stream),
           "input");
    };
    up(w.many.first, &first, 1);
    up(w.many.cosine, in.cosine + (size_t)done * half, (size_t)count * half);
    up(w.many.sine, in.sine + (size_t)done * half, (size_t)count * half);
    up(w.many.x, in.x + (size_t)done * m.n_embd, (size_t)count * m.n_embd);
    ok(r.gpu, cudaMemsetAsync(w.bad, 0x7F, m.n_layers * sizeof(int), r.gpu.stream), "input");
    for (uint32_t i = 0; i < m.n_layers; i++)
        layer_many(r, i, count, !in.states && i + 1 == m.n_layers ? count - 1 : 0);
    float *states = reinterpret_cast<float *>(w.acts_f);
    if (in.states) {
        launch(r.gpu, "prepare (states)", prepare<false>, dim3(count), THREADS, m.n_embd * 4,
               Source{w.many.x, r.norm, nullptr, m.rms_eps}, w.acts_f, m.n_embd);
        const size_t pitch = acts_bytes(m.n_embd, false); /* n_embd * 4 unless that is no multiple of 16 */
        for (unsigned t = 0; t < (pitch == m.n_embd * 4 ? 1 : count); t++)
            ok(r.gpu,
               cudaMemcpyAsync(in.states + (size_t)(done + t) * m.n_embd, states + t * pitch / 4,
                               (size_t)(pitch == m.n_embd * 4 ? count : 1) * m.n_embd * 4,
                               cudaMemcpyDeviceToHost, r.gpu.stream),
               "states");
    }
    if (logits) {
        const Segment head[] = {{r.head, w.logits}};
        prepare_for(r, "prepare (head)",
                    {w.many.x + (size_t)(count - 1) * m.n_embd, r.norm, nullptr, m.rms_eps}, m.n_embd, 1,
                    {&r.head});
        multiply(r, "matmul (head)", head, 1, 1, false, false, nullptr);
    }
    ok(r.gpu, cudaMemcpyAsync(r.host_out, w.logits, out_bytes(m), cudaMemcpyDeviceToHost, r.gpu.stream),
       "logits");
}

/* ---- the functions of the seam ---- */

static int fail(char *error, const char *format, const char *a, const char *b) {
    snprintf(error, CUDA_ERROR_SIZE, format, a, b);
    return 1;
}

static int finish_call(CudaRunner &r, char *error) {
    ok(r.gpu, cudaStreamSynchronize(r.gpu.stream), "a kernel (a build with CUDA_DEBUG=1 says which)");
    if (r.gpu.error == cudaSuccess) return 0;
    return fail(error, "CUDA, at %s: %s", r.gpu.where, cudaGetErrorString(r.gpu.error));
}

static int probe(CudaDevice *out, char *error) {
    int n = 0;
    size_t free_bytes = 0, total = 0;
    cudaDeviceProp properties;
    cudaError_t code = cudaGetDeviceCount(&n);
    if (code != cudaSuccess || n < 1) {
        (void)cudaGetLastError();
        return fail(error, "no CUDA device: %s%s",
                    code == cudaSuccess ? "none is there" : cudaGetErrorString(code), "");
    }
    code = cudaSetDevice(0);
    if (code == cudaSuccess) code = cudaGetDeviceProperties(&properties, 0);
    if (code == cudaSuccess) code = cudaMemGetInfo(&free_bytes, &total);
    if (code == cudaSuccess) code = cudaDeviceGetAttribute(&out->major, cudaDevAttrComputeCapabilityMajor, 0);
    if (code == cudaSuccess) code = cudaDeviceGetAttribute(&out->minor, cudaDevAttrComputeCapabilityMinor, 0);
    if (code != cudaSuccess)
        return fail(error, "the CUDA device can't be used: %s%s", cudaGetErrorString(code), "");
    snprintf(out->name, sizeof out->name, "%s", properties.name);
    out->total_bytes = total, out->free_bytes = free_bytes;
    if (out->major < 8) return fail(error, "%s is older than compute capability 8.0%s", out->name, "");
    return 0;
}

static int check_model(const CudaModel &m, char *error) {
    if (m.n_experts > CUDA_MAX_EXPERTS ||
        (m.n_layers && (!m.n_experts_used || m.n_experts_used > m.n_experts)))
        return fail(error, "this number of experts has no kernel%s%s", "", "");
    if (m.n_layers &&
        (!m.head_dim || m.head_dim % 2 || m.head_dim > 1024 || !m.n_kv_heads || m.n_heads % m.n_kv_heads))
        return fail(error, "attention heads of this shape have no kernel%s%s", "", "");
    for (uint32_t i = 0; i <= m.n_layers; i++)
        for (int s = 0; s < (i < m.n_layers ? CUDA_MATRICES : 1); s++) {
            const int type = i < m.n_layers ? m.types[i][s] : (int)m.head_type;
            uint64_t experts;
            uint32_t rows, columns;
            shape_of(m, i < m.n_layers ? s : CUDA_HEAD, experts, rows, columns);
            if (is_float(type)) continue;
            if (!layout_of(type).low) return fail(error, "a weight type has no kernel%s%s", "", "");
            if (columns % (32 * layout_of(type).super))
                return fail(error, "a row is no whole number of blocks%s%s", "", "");
        }
    return 0;
}

static int plan(const CudaModel *model, CudaPlan *out, char *error) {
    if (check_model(*model, error)) return 1;
    std::vector<LayerState> layers(model->n_layers);
    Matrix head;
    float *norm;
    Work work;
    Carver weights = {0, 0}, kv = {0, 0}, room = {0, 0};
    lay_weights(weights, *model, layers.data(), head, norm);
    lay_kv(kv, *model, layers.data());
    lay_work(room, *model, work);
    *out = {weights.used, kv.used, room.used, batch_of(*model)};
    return 0;
}

/* Does what one token needs fit into shared memory? Else it goes through the batch's kernels. */
static bool fits(const CudaRunner &r) {
    const CudaModel &m = r.model;
    uint32_t most = one_shared(m.n_embd, !wants_floats(r, r.head), true);
    for (const LayerState &l : r.layers)
        for (int s = 0; s < CUDA_MATRICES; s++) {
            const Matrix &w = l.matrices[s];
            const bool quantized = !wants_floats(r, w);
            most = std::max(most, s == CUDA_DOWN ? m.n_experts_used * acts_bytes(w.columns, quantized)
                                                 : one_shared(w.columns, quantized, s != CUDA_O));
        }
    return most <= (uint32_t)r.gpu.most_shared;
}

static int allocate(CudaRunner &r, const CudaPlan &p) {
    Gpu &g = r.gpu;
    auto reserve = [&](uint8_t *&out, uint64_t bytes, const char *what) {
        ok(g, cudaMalloc(reinterpret_cast<void **>(&out), std::max<uint64_t>(bytes, 256)), what);
    };
    reserve(r.weights_memory, p.weights, "memory for the weights");
    reserve(r.kv_memory, p.kv, "memory for the KV cache");
    reserve(r.work_memory, p.work, "working memory");
    ok(g, cudaMallocHost(reinterpret_cast<void **>(&r.host_in), input_bytes(r.model)), "pinned memory");
    ok(g, cudaMallocHost(reinterpret_cast<void **>(&r.host_out), out_bytes(r.model)), "pinned memory");
    if (g.error != cudaSuccess) return 1;
    Carver weights = {(uintptr_t)r.weights_memory, 0}, kv = {(uintptr_t)r.kv_memory, 0},
           room = {(uintptr_t)r.work_memory, 0};
    lay_weights(weights, r.model, r.layers.data(), r.head, r.norm);
    lay_kv(kv, r.model, r.layers.data());
    lay_work(room, r.model, r.work);
    return 0;
}

static void close_runner(CudaRunner *r) {
    if (!r) return;
    if (r->graph) cudaGraphExecDestroy(r->graph);
    if (r->gpu.stream) cudaStreamDestroy(r->gpu.stream);
    cudaFree(r->weights_memory);
    cudaFree(r->kv_memory);
    cudaFree(r->work_memory);
    if (r->host_in) cudaFreeHost(r->host_in);
    if (r->host_out) cudaFreeHost(r->host_out);
    delete r;
}

static int open_runner(CudaRunner **out, const CudaModel *model, char *error) {
    CudaPlan p;
    CudaDevice device;
    if (plan(model, &p, error) || probe(&device, error)) return 1;
    CudaRunner *r = new CudaRunner();
    Gpu &g = r->gpu;
    r->model = *model;
    r->layers.resize(model->n_layers);
    r->batch = p.batch;
    r->attention = attend_of(*model);
    g.early = device.major >= 9 && !(model->flags & CUDA_PLAIN);
    g.check = model->flags & CUDA_PLAIN;
#ifdef RECAST_CUDA_DEBUG
    g.check = true;
#endif
    ok(g, cudaDeviceGetAttribute(&g.processors, cudaDevAttrMultiProcessorCount, 0), "the device");
    ok(g, cudaDeviceGetAttribute(&g.most_shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "the device");
    ok(g, cudaStreamCreateWithFlags(&g.stream, cudaStreamNonBlocking), "the stream");
    const uint32_t rows = model->n_layers ? std::max(ATTEND_ROWS, model->n_heads / model->n_kv_heads) : 0;
    if (g.error == cudaSuccess && attend_shared(rows, model->head_dim) > (uint32_t)g.most_shared) {
        fail(error, "so many query heads of a key-value head don't fit into this device's shared memory%s%s",
             "", "");
        close_runner(r);
        return 1;
    }
    if (g.error != cudaSuccess || allocate(*r, p)) {
        fail(error, "CUDA, at %s: %s", g.where, cudaGetErrorString(g.error));
        close_runner(r);
        return 1;
    }
    r->model.types = nullptr; /* borrowed until here */
    r->fused = fits(*r);
    *out = r;
    return 0;
}

/* Rows of a matrix, a piece of the staging memory at a time. */
static void load_matrix(CudaRunner &r, const Matrix &m, uint64_t first, const uint8_t *data) {
    const Layout l = layout_of(m.type);
    const uint64_t raw_row = is_float(m.type) ? (uint64_t)m.columns * float_bytes(m.type)
                                              : (uint64_t)m.columns / 32 / l.super * l.raw;
    const uint64_t piece = std::max<uint64_t>(1, STAGING / raw_row);
    for (uint64_t done = 0; done < m.rows; done += piece) {
        const uint64_t rows = std::min<uint64_t>(piece, m.rows - done);
        uint64_t before[4];
        plane_sizes(m.type, first + done, m.columns, before);
        RepackArgs a = {r.work.staging,
                        const_cast<uint8_t *>(m.a) + before[0],
                        const_cast<uint8_t *>(m.b) + before[1],
                        const_cast<uint8_t *>(m.s) + before[2],
                        const_cast<uint8_t *>(m.d) + before[3],
                        rows,
                        m.columns,
                        m.type};
        ok(r.gpu,
           cudaMemcpyAsync(r.work.staging, data + done * raw_row, rows * raw_row, cudaMemcpyHostToDevice,
                           r.gpu.stream),
           "weights");
        const uint64_t threads = rows * m.columns / (is_float(m.type) ? 1 : 32);
        launch(r.gpu, "repack", is_float(m.type) ? repack_floats : repack_quantized,
               dim3(std::min(std::max(1u, ceil_div(threads, THREADS)), (unsigned)r.gpu.processors * 16)),
               THREADS, 0, a);
    }
}

static int load(CudaRunner *r, CudaSlot slot, uint32_t layer, uint32_t expert, const void *data,
                char *error) {
    const CudaModel &m = r->model;
    if (slot < CUDA_NORM && layer >= m.n_layers) return fail(error, "no such layer%s%s", "", "");
    if (slot < CUDA_MATRICES || slot == CUDA_HEAD) {
        const Matrix &w = slot == CUDA_HEAD ? r->head : r->layers[layer].matrices[slot];
        if (expert && (slot < CUDA_GATE || slot > CUDA_DOWN || expert >= m.n_experts))
            return fail(error, "no such expert%s%s", "", "");
        load_matrix(*r, w, (uint64_t)expert * w.rows, static_cast<const uint8_t *>(data));
    } else {
        float *to = slot == CUDA_NORM        ? r->norm
                    : slot == CUDA_ATTN_NORM ? r->layers[layer].attn_norm
                    : slot == CUDA_FFN_NORM  ? r->layers[layer].ffn_norm
                    : slot == CUDA_Q_NORM    ? r->layers[layer].q_norm
                                             : r->layers[layer].k_norm;
        const size_t n = slot == CUDA_Q_NORM || slot == CUDA_K_NORM ? m.head_dim : m.n_embd;
        ok(r->gpu, cudaMemcpyAsync(to, data, n * sizeof(float), cudaMemcpyHostToDevice, r->gpu.stream),
           "weights");
    }
    return finish_call(*r, error);
}

static void note_fault(const CudaRunner &r, unsigned done, unsigned count, bool states, CudaFault *fault) {
    const int *bad = reinterpret_cast<const int *>(r.host_out + r.model.n_vocab);
    for (uint32_t i = 0; i < r.model.n_layers && !fault->layer; i++) {
        if (bad[i] == 0x7F7F7F7F) continue;
        bool last_only = !states && i + 1 == r.model.n_layers;
        *fault = {i + 1, done + (last_only ? count - 1 : (unsigned)bad[i])};
    }
}

static int forward(CudaRunner *r, const CudaBatch *in, CudaFault *fault, char *error) {
    const CudaModel &m = r->model;
    *fault = {0, 0};
    if ((uint64_t)in->first + in->count > m.context)
        return fail(error, "positions beyond the context%s%s", "", "");
    for (uint32_t done = 0, n; done < in->count; done += n) {
        n = std::min(r->batch, in->count - done);
        const bool logits = in->logits && done + n == in->count;
        if (n == 1 && r->fused && logits && !in->states) {
            uint32_t *to = reinterpret_cast<uint32_t *>(r->host_in);
            const uint32_t half = m.head_dim / 2;
            *to = in->first + done;
            memcpy(to + 4, in->cosine + (size_t)done * half, half * 4);
            memcpy(to + 4 + half, in->sine + (size_t)done * half, half * 4);
            memcpy(to + 4 + 2 * half, in->x + (size_t)done * m.n_embd, m.n_embd * 4);
            run_one(*r, in->first + done);
        } else {
            run_many(*r, *in, done, n, logits);
        }
        if (finish_call(*r, error)) return 1;
        note_fault(*r, done, n, in->states != nullptr, fault);
        if (fault->layer) return 0;
    }
    if (in->logits) memcpy(in->logits, r->host_out, m.n_vocab * sizeof(float));
    return 0;
}

static int head(CudaRunner *r, const float *states, size_t count, float *logits, char *error) {
    const CudaModel &m = r->model;
    float *room = r->work.many.x;
    const size_t most = std::min<size_t>(HEAD_BATCH, r->batch);
    for (size_t done = 0, n; done < count; done += n) {
        n = std::min(most, count - done);
        const Segment all[] = {{r->head, r->work.logits}};
        ok(r->gpu,
           cudaMemcpyAsync(room, states + done * m.n_embd, n * m.n_embd * 4, cudaMemcpyHostToDevice,
                           r->gpu.stream),
           "states");
        prepare_for(*r, "prepare (head)", {room, nullptr, nullptr, 0}, m.n_embd, (unsigned)n, {&r->head});
        multiply(*r, "matmul (head)", all, 1, (unsigned)n, false, false, nullptr);
        ok(r->gpu,
           cudaMemcpyAsync(logits + done * m.n_vocab, r->work.logits, n * m.n_vocab * 4,
                           cudaMemcpyDeviceToHost, r->gpu.stream),
           "logits");
        if (finish_call(*r, error)) return 1;
    }
    return 0;
}

extern "C" __attribute__((visibility("default"))) const CudaApi *recast_cuda_api(void) {
    static const CudaApi api = {
        RECAST_CUDA_ABI, sizeof(CudaApi), probe, plan, open_runner, load, forward, head, close_runner};
    return &api;
}
