/* forward.cuh -- the forward pass: which kernel runs when.
 *
 * One token is seven kernels a layer, recorded once as a graph: the position, cosines and the token's row of
 * the embedding come through one copy, so the graph never changes but for how many chunks of attention it has
 * blocks for. Several tokens go through the same arithmetic in batches. */
#ifndef RECAST_RUNNER_CUDA_FORWARD_CUH
#define RECAST_RUNNER_CUDA_FORWARD_CUH

#include "runner/cuda/launch.cuh"

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
    std::shared_ptr<uint8_t> weights_memory; /* of all runners that use these weights */
    uint8_t *kv_memory, *work_memory;
    uint8_t *host_in; /* pinned: one token's input */
    float *host_out;  /* pinned: logits, and `bad` */
    bool fused;       /* one token's vectors fit into shared memory */
    std::vector<cudaGraphExec_t>
        graphs; /* of one token, for 1, 2, 4, ... chunks of attention; NULL: not made */
    bool warm;  /* one token has gone through, so that every kernel is there */
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

static Segments segments_of(const Segment *segments, unsigned n, bool add) {
    Segments s = {};
    for (unsigned i = 0; i < n; i++) s.of[i] = segments[i];
    s.n = n;
    s.columns = segments[0].w.columns;
    s.add = add;
    return s;
}

/* ---- one token ---- */

static uint32_t one_shared(uint32_t columns, bool quantized, bool norm) {
    return quantized ? acts_bytes(columns, true) + (norm ? columns * 4 : 0) : acts_bytes(columns, false);
}

static void multiply_one(CudaRunner &r, const char *name, const Segment *all, unsigned n, Source source,
                         bool add, const Routing *routed) {
    each_type(r, all, n, [&](const Segment *segments, unsigned count) {
        MatmulArgs a = {{}, segments_of(segments, count, add), source, {}};
        const bool quantized = !wants_floats(r, segments[0].w);
        uint32_t shared = one_shared(a.segments.columns, quantized, source.norm != nullptr), slots = 1;
        if (routed) {
            a.routing = *routed;
            slots = routed->used;
            shared = std::max(shared, route_shared(routed->n_experts, routed->used));
        }
        const auto kernel = matmul_of(kernel_type(r, segments[0].w));
        const unsigned most = std::max(1u, resident(r.gpu, name, kernel, shared) / slots);
        launch(r.gpu, name, kernel, dim3(std::min(row_groups(a.segments, WARPS * ROWS), most), slots),
               THREADS, shared, a);
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

static Routing routing_of(const CudaRunner &r) {
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
    const Routing routed = routing_of(r);
    const Source norm = {k.one.x, l.ffn_norm, nullptr, eps};

    multiply_one(r, "matmul (q, k, v)", qkv, 3, {k.one.x, l.attn_norm, nullptr, eps}, false, nullptr);
    attend_one(r, l, chunks);
    multiply_one(r, "matmul (o)", out, 1, {k.heads, nullptr, nullptr, 0}, true, nullptr);
    multiply_one(r, "matmul (router)", router, 1, norm, false, nullptr);
    multiply_one(r, "matmul (gate, up)", experts, 2, norm, false, &routed);

    const Matrix &down_matrix = w[CUDA_DOWN];
    DownArgs a = {
        {},      down_matrix,  k.chosen, k.weights, r.model.n_experts_used, {k.gate, nullptr, k.up, 0},
        k.one.x, k.bad + layer};
    const auto kernel = down_of(kernel_type(r, down_matrix));
    const uint32_t shared =
        r.model.n_experts_used * acts_bytes(down_matrix.columns, !wants_floats(r, down_matrix));
    const unsigned most = resident(r.gpu, "down", kernel, shared);
    launch(r.gpu, "down", kernel, dim3(std::min(ceil_div(down_matrix.rows, WARPS), most)), THREADS, shared,
           a);
}

static size_t out_floats(const CudaModel &m) {
    return (size_t)m.n_vocab + m.n_layers + BEST_FLOATS;
}

static void clear_bad(CudaRunner &r) {
    if (!r.model.n_layers) return;
    ok(r.gpu, cudaMemsetAsync(r.work.bad, 0x7F, r.model.n_layers * sizeof(int), r.gpu.stream), "input");
    r.gpu.copied = true;
}

/* Which token is next, and all that the host wants to know. */
static void download_logits(CudaRunner &r, bool best) {
    const Work &w = r.work;
    if (best)
        launch(r.gpu, "find_best", find_best, dim3(1), 1024, 1024 * sizeof(Leader),
               BestArgs{{}, w.logits, r.model.n_vocab, w.best});
    download(r.gpu, r.host_out, w.logits, out_floats(r.model), "logits");
}

static void forward_one(CudaRunner &r, uint32_t chunks) {
    const CudaModel &m = r.model;
    Work &w = r.work;
    const Segment head[] = {{r.head, w.logits}};
    upload(r.gpu, w.one.first, r.host_in, input_floats(m), "input");
    clear_bad(r);
    for (uint32_t i = 0; i < m.n_layers; i++) layer_one(r, i, chunks);
    multiply_one(r, "matmul (head)", head, 1, {w.one.x, r.norm, nullptr, m.rms_eps}, false, nullptr);
    download_logits(r, true);
}

static cudaGraphExec_t record_one(CudaRunner &r, uint32_t chunks) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t out = nullptr;
    if (!ok(r.gpu, cudaStreamBeginCapture(r.gpu.stream, cudaStreamCaptureModeThreadLocal), "graph"))
        return out;
    forward_one(r, chunks);
    ok(r.gpu, cudaStreamEndCapture(r.gpu.stream, &graph), "graph");
    if (r.gpu.error == cudaSuccess) ok(r.gpu, cudaGraphInstantiate(&out, graph, 0), "graph");
    if (graph) cudaGraphDestroy(graph);
    return out;
}

/* Runs the token in host_in. A graph has blocks for a power of two of chunks; those beyond the position end
 * at once. The first token goes without, since kernels are loaded when they are first started. */
static void run_one(CudaRunner &r, uint32_t position) {
    const uint32_t most = capacity_of(r.model) / CHUNK;
    uint32_t power = 0;
    while (1u << power <= position / CHUNK) power++;
    const uint32_t chunks = std::min(1u << power, most);
    if (r.gpu.check || !r.warm) {
        r.warm = true;
        return forward_one(r, chunks);
    }
    if (power >= r.graphs.size()) r.graphs.resize(power + 1);
    if (!r.graphs[power]) r.graphs[power] = record_one(r, chunks);
    if (r.graphs[power]) ok(r.gpu, cudaGraphLaunch(r.graphs[power], r.gpu.stream), "graph");
}

/* ---- several tokens ---- */

/* Matrices times `count` vectors of a source: prepared first, in the forms that the matrices want. tiles: at
 * most so many of group_entries; 0: no experts. pick: which vector an entry takes; NULL: its own. */
static void multiply_many(CudaRunner &r, const char *name, const Segment *all, unsigned n, Source s,
                          unsigned count, bool add, unsigned tiles, const uint32_t *pick) {
    const uint32_t columns = all[0].w.columns;
    bool floats = false, quantized = false;
    for (unsigned i = 0; i < n; i++) (wants_floats(r, all[i].w) ? floats : quantized) = true;
    if (quantized)
        launch(r.gpu, "prepare", prepare<true>, dim3(count), THREADS, columns * 4,
               PrepareArgs{{}, s, r.work.acts_q, columns});
    if (floats)
        launch(r.gpu, "prepare", prepare<false>, dim3(count), THREADS, columns * 4,
               PrepareArgs{{}, s, r.work.acts_f, columns});
    each_type(r, all, n, [&](const Segment *segments, unsigned parts) {
        BatchArgs a = {{}, segments_of(segments, parts, add), r.work.acts_f, pick, nullptr, nullptr, count};
        const int type = kernel_type(r, segments[0].w);
        uint32_t shared = BATCH_TILE * acts_bytes(std::min<uint32_t>(columns, FLOAT_CHUNK), false);
        uint32_t rows = meets_floats(type) ? float_rows(type) : MMA_ROWS;
        if (!meets_floats(type)) {
            a.acts = r.work.acts_q;
            shared = mma_shared(columns);
        }
        if (tiles) a.tiles = r.work.tiles, a.n_tiles = r.work.n_tiles;
        launch(r.gpu, name, batch_of_type(type),
               dim3(std::min(row_groups(a.segments, WARPS * rows), (unsigned)r.gpu.processors * 4),
                    tiles ? tiles : ceil_div(count, BATCH_TILE)),
               THREADS, shared, a);
    });
}

static void experts_many(CudaRunner &r, uint32_t layer, float *x, unsigned count, float *routes) {
    const CudaModel &m = r.model;
    const LayerState &l = r.layers[layer];
    const Matrix *w = l.matrices;
    Work &k = r.work;
    const uint32_t entries = count * m.n_experts_used,
                   tiles = std::min(entries, entries / BATCH_TILE + m.n_experts);
    const Segment router[] = {{w[CUDA_ROUTER], k.route}}, out[] = {{w[CUDA_DOWN], k.down}};
    const Segment experts[] = {{w[CUDA_GATE], k.gate}, {w[CUDA_UP], k.up}};
    const Source norm = {x, l.ffn_norm, nullptr, m.rms_eps};
    multiply_many(r, "matmul (router)", router, 1, norm, count, false, 0, nullptr);
    if (routes) download(r.gpu, routes, k.route, (size_t)count * m.n_experts, "routes");
    launch(r.gpu, "route_tokens", route_tokens, dim3(count), 128, route_shared(m.n_experts, m.n_experts_used),
           RouteArgs{{}, routing_of(r)});
    GroupArgs g = {{},         k.chosen, entries, m.n_experts_used, m.n_experts,
                   BATCH_TILE, k.place,  k.token, k.tiles,          k.n_tiles};
    launch(r.gpu, "group_entries", group_entries, dim3(1), 1024, 3 * m.n_experts * 4, g);
    multiply_many(r, "matmul (gate, up)", experts, 2, norm, count, false, tiles, k.token);
    multiply_many(r, "matmul (down)", out, 1, {k.gate, nullptr, k.up, 0}, entries, false, tiles, nullptr);
    CombineArgs c = {{}, k.down, k.place, k.weights, m.n_experts_used, m.n_embd, x, k.bad + layer};
    launch(r.gpu, "combine", combine, dim3(count), THREADS, 0, c);
}

/* One layer over a batch; behind keys and values only tokens from `from` on go on. */
static void layer_many(CudaRunner &r, uint32_t layer, unsigned count, unsigned from, float *routes) {
    const CudaModel &m = r.model;
    const LayerState &l = r.layers[layer];
    const Matrix *w = l.matrices;
    Work &k = r.work;
    const unsigned wanted = count - from, group = m.n_heads / m.n_kv_heads;
    float *x = k.many.x + (size_t)from * m.n_embd;
    const Segment qkv[] = {{w[CUDA_Q], k.q}, {w[CUDA_K], k.k}, {w[CUDA_V], k.v}}, out[] = {{w[CUDA_O], x}};

    multiply_many(r, "matmul (q, k, v)", qkv, 3, {k.many.x, l.attn_norm, nullptr, m.rms_eps}, count, false, 0,
                  nullptr);
    AttendArgs a = attend_args(r, l, k.many);
    a.from = from, a.count = count;
    a.tile = std::min(wanted, std::max(1u, ATTEND_ROWS / group));
    launch(r.gpu, "store_kv", r.attention.store, dim3(count, m.n_kv_heads), 2 * WARP, m.head_dim * 4, a);
    launch(r.gpu, "attend", r.attention.attend, dim3(ceil_div(wanted, a.tile), m.n_kv_heads), THREADS,
           attend_shared(group * a.tile, m.head_dim), a);
    const Source heads = {k.heads + (size_t)from * m.n_heads * m.head_dim, nullptr, nullptr, 0};
    multiply_many(r, "matmul (o)", out, 1, heads, wanted, true, 0, nullptr);
    experts_many(r, layer, x, wanted, routes);
}

/* A batch: its states, or only the logits of its last token, into host memory. */
static void run_many(CudaRunner &r, const CudaBatch &in, unsigned done, unsigned count, bool logits) {
    const CudaModel &m = r.model;
    Work &w = r.work;
    Gpu &g = r.gpu;
    const uint32_t half = m.head_dim / 2;
    *reinterpret_cast<uint32_t *>(r.host_in) = in.first + done;
    upload(g, w.many.first, r.host_in, 1, "input");
    upload(g, w.many.cosine, in.cosine + (size_t)done * half, (size_t)count * half, "input");
    upload(g, w.many.sine, in.sine + (size_t)done * half, (size_t)count * half, "input");
    upload(g, w.many.x, in.x + (size_t)done * m.n_embd, (size_t)count * m.n_embd, "input");
    clear_bad(r);
    for (uint32_t i = 0; i < m.n_layers; i++)
        layer_many(r, i, count, !in.states && i + 1 == m.n_layers ? count - 1 : 0,
                   in.states && in.routes ? in.routes + ((size_t)i * in.count + done) * m.n_experts
                                          : nullptr);
    if (in.states) {
        const size_t pitch = acts_bytes(m.n_embd, false); /* n_embd * 4 unless that is no multiple of 16 */
        const float *states = reinterpret_cast<const float *>(w.acts_f);
        float *to = in.states + (size_t)done * m.n_embd;
        launch(g, "prepare (states)", prepare<false>, dim3(count), THREADS, m.n_embd * 4,
               PrepareArgs{{}, {w.many.x, r.norm, nullptr, m.rms_eps}, w.acts_f, m.n_embd});
        if (pitch == m.n_embd * 4) download(g, to, states, (size_t)count * m.n_embd, "states");
        for (unsigned t = 0; t < count && pitch != m.n_embd * 4; t++)
            download(g, to + (size_t)t * m.n_embd, states + t * pitch / 4, m.n_embd, "states");
    }
    const Segment head[] = {{r.head, w.logits}};
    const Source last = {w.many.x + (size_t)(count - 1) * m.n_embd, r.norm, nullptr, m.rms_eps};
    if (logits) {
        multiply_many(r, "matmul (head)", head, 1, last, 1, false, 0, nullptr);
        download_logits(r, in.best);
    } else if (m.n_layers) {
        download(g, r.host_out + m.n_vocab, w.bad, m.n_layers, "states");
    }
}

#endif
