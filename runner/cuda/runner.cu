/* runner.cu -- the functions of cuda_runner.h: a device is found, memory planned and taken, weights loaded,
 * tokens run. */
#include "runner/cuda/forward.cuh"
#include "runner/cuda/repack.cuh"
#include <cstdio>

/* What kernels, their stacks and graphs take beside what is planned; an estimate, no device was there. */
constexpr uint64_t DRIVER_BYTES = 256 << 20;

static int fail(char *error, const char *format, const char *a, const char *b) {
    snprintf(error, CUDA_ERROR_SIZE, format, a, b);
    return 1;
}

static int finish_call(CudaRunner &r, char *error) {
    Gpu &g = r.gpu;
    const cudaError_t code = cudaStreamSynchronize(g.stream);
    const uint32_t last =
        *g.mark; /* what fails late is found here: the kernel that began last, or one beside it */
    ok(g, code, last && last <= g.names.size() ? g.names[last - 1] : "the first kernel");
    if (g.error == cudaSuccess) return 0;
    return fail(error, "CUDA, at %s: %s", g.where, cudaGetErrorString(g.error));
}

/* What architecture the kernels that this device takes were compiled for, times 10: an older one than the
 * device's, if the driver compiled them from PTX. */
static cudaError_t code_version(int &out) {
    cudaFuncAttributes attributes;
    const cudaError_t code = cudaFuncGetAttributes(&attributes, find_best);
    out = code == cudaSuccess ? attributes.ptxVersion : 0;
    if (code != cudaSuccess) (void)cudaGetLastError();
    return code;
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
    out->total_bytes = total, out->free_bytes = free_bytes > DRIVER_BYTES ? free_bytes - DRIVER_BYTES : 0;
    if (out->major < 8) return fail(error, "%s is older than compute capability 8.0%s", out->name, "");
    int ptx;
    code = code_version(ptx);
    if (code != cudaSuccess)
        return fail(error, "%s: this build has no code for it (CUDA_ARCHS of make): %s", out->name,
                    cudaGetErrorString(code));
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

/* The most shared memory that a kernel of one token needs; and one of several. */
static uint32_t most_shared_one(const CudaRunner &r) {
    uint32_t most = one_shared(r.model.n_embd, !wants_floats(r, r.head), true);
    for (const LayerState &l : r.layers)
        for (int s = 0; s < CUDA_MATRICES; s++) {
            const Matrix &w = l.matrices[s];
            const bool quantized = !wants_floats(r, w);
            most = std::max(most, s == CUDA_DOWN ? r.model.n_experts_used * acts_bytes(w.columns, quantized)
                                                 : one_shared(w.columns, quantized, s != CUDA_O));
        }
    return most;
}

static uint32_t most_shared_many(const CudaRunner &r) {
    const CudaModel &m = r.model;
    const uint32_t rows = m.n_layers ? std::max(ATTEND_ROWS, m.n_heads / m.n_kv_heads) : 0;
    uint32_t most =
        std::max(attend_shared(rows, m.head_dim), wants_floats(r, r.head) ? 0 : mma_shared(m.n_embd));
    for (const LayerState &l : r.layers)
        for (const Matrix &w : l.matrices)
            if (!wants_floats(r, w)) most = std::max(most, mma_shared(w.columns));
    return most;
}

static bool same_matrices(const CudaRunner &a, const CudaRunner &b) {
    auto same = [](const Matrix &x, const Matrix &y) {
        return x.type == y.type && x.rows == y.rows && x.columns == y.columns;
    };
    if (a.layers.size() != b.layers.size() || a.model.n_experts != b.model.n_experts || !same(a.head, b.head))
        return false;
    for (size_t i = 0; i < a.layers.size(); i++)
        for (int s = 0; s < CUDA_MATRICES; s++)
            if (!same(a.layers[i].matrices[s], b.layers[i].matrices[s])) return false;
    return true;
}

static int allocate(CudaRunner &r, const CudaPlan &p, const CudaRunner *weights_of) {
    Gpu &g = r.gpu;
    auto reserve = [&](uint8_t *&out, uint64_t bytes, const char *what) {
        ok(g, cudaMalloc(reinterpret_cast<void **>(&out), std::max<uint64_t>(bytes, 256)), what);
    };
    uint8_t *weights_memory = nullptr;
    if (!weights_of) reserve(weights_memory, p.weights, "memory for the weights");
    r.weights_memory =
        weights_of ? weights_of->weights_memory : std::shared_ptr<uint8_t>(weights_memory, cudaFree);
    reserve(r.kv_memory, p.kv, "memory for the KV cache");
    reserve(r.work_memory, p.work, "working memory");
    ok(g, cudaMallocHost(reinterpret_cast<void **>(&r.host_in), input_floats(r.model) * 4), "pinned memory");
    ok(g, cudaMallocHost(reinterpret_cast<void **>(&r.host_out), out_floats(r.model) * 4), "pinned memory");
    if (g.error != cudaSuccess) return 1;
    g.mark = reinterpret_cast<uint32_t *>(r.host_in) + 1; /* between the position and the cosines */
    *g.mark = 0;
    Carver weights = {(uintptr_t)r.weights_memory.get(), 0}, kv = {(uintptr_t)r.kv_memory, 0},
           room = {(uintptr_t)r.work_memory, 0};
    lay_weights(weights, r.model, r.layers.data(), r.head, r.norm);
    lay_kv(kv, r.model, r.layers.data());
    lay_work(room, r.model, r.work);
    ok(g, !weights_of || same_matrices(r, *weights_of) ? cudaSuccess : cudaErrorInvalidValue,
       "weights of another model");
    return g.error != cudaSuccess;
}

static void close_runner(CudaRunner *r) {
    if (!r) return;
    for (cudaGraphExec_t g : r->graphs)
        if (g) cudaGraphExecDestroy(g);
    if (r->gpu.stream) cudaStreamDestroy(r->gpu.stream);
    cudaFree(r->kv_memory);
    cudaFree(r->work_memory);
    if (r->host_in) cudaFreeHost(r->host_in);
    if (r->host_out) cudaFreeHost(r->host_out);
    delete r;
}

static int open_runner(CudaRunner **out, const CudaModel *model, const CudaRunner *weights_of, char *error) {
    CudaPlan p;
    CudaDevice device;
    if (plan(model, &p, error) || probe(&device, error)) return 1;
    CudaRunner *r = new CudaRunner();
    Gpu &g = r->gpu;
    r->model = *model;
    r->layers.resize(model->n_layers);
    r->batch = p.batch;
    r->attention = attend_of(*model);
    int ptx = 0, driver = 0;
    ok(g, code_version(ptx), "the device");
    ok(g, cudaDriverGetVersion(&driver), "the device");
    /* code for an older architecture doesn't wait; drivers before 12.4 don't know such edges in graphs */
    g.early = ptx >= 90 && driver >= 12040 && !(model->flags & CUDA_PLAIN);
    g.check = model->flags & CUDA_PLAIN;
    g.marks = !(model->flags & CUDA_UNMARKED);
#ifdef RECAST_CUDA_DEBUG
    g.check = true;
#endif
    ok(g, cudaDeviceGetAttribute(&g.processors, cudaDevAttrMultiProcessorCount, 0), "the device");
    ok(g, cudaDeviceGetAttribute(&g.most_shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "the device");
    ok(g, cudaStreamCreateWithFlags(&g.stream, cudaStreamNonBlocking), "the stream");
    if (g.error != cudaSuccess || allocate(*r, p, weights_of)) {
        fail(error, "CUDA, at %s: %s", g.where, cudaGetErrorString(g.error));
        close_runner(r);
        return 1;
    }
    r->model.types = nullptr; /* borrowed until here */
    if (most_shared_many(*r) > (uint32_t)g.most_shared) {
        fail(error,
             "rows so long, or so many query heads of a key-value head, don't fit into the shared memory of "
             "%s%s",
             device.name, "");
        close_runner(r);
        return 1;
    }
    r->fused = most_shared_one(*r) <= (uint32_t)g.most_shared; /* else it goes through the batch's kernels */
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
        RepackArgs a = {{},
                        r.work.staging,
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
        upload(r->gpu, to, data, n, "weights");
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
    if (in->logits && in->best) memcpy(in->best, r->host_out + m.n_vocab + m.n_layers, sizeof *in->best);
    return 0;
}

static int head(CudaRunner *r, const float *states, size_t count, float *logits, char *error) {
    const CudaModel &m = r->model;
    float *room = r->work.many.x;
    const size_t most = std::min<size_t>(HEAD_BATCH, r->batch);
    for (size_t done = 0, n; done < count; done += n) {
        n = std::min(most, count - done);
        const Segment all[] = {{r->head, r->work.logits}};
        upload(r->gpu, room, states + done * m.n_embd, n * m.n_embd, "states");
        multiply_many(*r, "matmul (head)", all, 1, {room, nullptr, nullptr, 0}, (unsigned)n, false, 0,
                      nullptr);
        download(r->gpu, logits + done * m.n_vocab, r->work.logits, n * m.n_vocab, "logits");
        if (finish_call(*r, error)) return 1;
    }
    return 0;
}

extern "C" __attribute__((visibility("default"))) const CudaApi *recast_cuda_api(void) {
    static const CudaApi api = {
        RECAST_CUDA_ABI, sizeof(CudaApi), probe, plan, open_runner, load, forward, head, close_runner};
    return &api;
}
