/* layout.cuh -- what lies where on the device. The same code counts bytes for the plan and hands out
 * addresses. */
#ifndef RECAST_RUNNER_CUDA_LAYOUT_CUH
#define RECAST_RUNNER_CUDA_LAYOUT_CUH

#include "runner/cuda/attention.cuh"
#include "runner/cuda/batch.cuh"
#include "runner/cuda/cuda_runner.h"
#include <vector>

constexpr unsigned MOST_BATCH = 512, MOST_ENTRIES = 8192, HEAD_BATCH = 32, STAGING = 64 << 20,
                   BEST_FLOATS = sizeof(CudaBest) / sizeof(float);

/* Hands out aligned pieces of a region; with base 0 it only counts. */
struct Carver {
    uintptr_t base;
    uint64_t used;

    template <class T> void take(T *&out, uint64_t n) {
        out = base ? reinterpret_cast<T *>(base + used) : nullptr;
        used = (used + n * sizeof(T) + 255) / 256 * 256;
    }
};

struct LayerState {
    Matrix matrices[CUDA_MATRICES];
    float *attn_norm, *q_norm, *k_norm, *ffn_norm;
    Cache cache;
};

/* One token's input, or a batch's; `first` begins a region that is copied from the host at once. */
struct Input {
    uint32_t *first;
    float *cosine, *sine; /* [tokens][head_dim / 2] */
    float *x;             /* [tokens][n_embd]; the residual stream lives here */
};

struct Work {
    Input one, many;
    float *q, *k, *v, *heads;
    uint8_t *acts_q, *acts_f; /* prepared vectors, quantized and as float32 */
    float *route, *weights;
    uint32_t *chosen, *place, *token, *n_tiles;
    Tile *tiles;
    float *gate, *up, *down;
    float *part_m, *part_l, *part_o;
    float *logits;  /* [HEAD_BATCH][n_vocab] */
    int *bad;       /* [n_layers], behind the first row of logits: all go to the host at once */
    CudaBest *best; /* behind that */
    uint8_t *staging;
};

static inline uint32_t batch_of(const CudaModel &m) {
    uint32_t b = MOST_ENTRIES / (m.n_experts_used ? m.n_experts_used : 1);
    b = b < 1 ? 1 : b > MOST_BATCH ? MOST_BATCH : b;
    return b > m.context ? m.context : b;
}

static inline uint32_t capacity_of(const CudaModel &m) {
    return (m.context + CHUNK - 1) / CHUNK * CHUNK;
}

static inline void shape_of(const CudaModel &m, int slot, uint64_t &experts, uint32_t &rows,
                            uint32_t &columns) {
    const uint32_t heads = m.n_heads * m.head_dim, kv = m.n_kv_heads * m.head_dim;
    experts = slot >= CUDA_GATE && slot <= CUDA_DOWN ? m.n_experts : 1;
    columns = slot == CUDA_O ? heads : slot == CUDA_DOWN ? m.n_ff_expert : m.n_embd;
    rows = slot == CUDA_Q                        ? heads
           : slot == CUDA_K || slot == CUDA_V    ? kv
           : slot == CUDA_O || slot == CUDA_DOWN ? m.n_embd
           : slot == CUDA_ROUTER                 ? m.n_experts
           : slot == CUDA_HEAD                   ? m.n_vocab
                                                 : m.n_ff_expert;
}

static inline void lay_matrix(Carver &c, Matrix &out, const CudaModel &m, int slot, int type) {
    uint64_t experts, bytes[4];
    shape_of(m, slot, experts, out.rows, out.columns);
    plane_sizes(type, experts * out.rows, out.columns, bytes);
    uint8_t *planes[4];
    for (int i = 0; i < 4; i++) c.take(planes[i], bytes[i]);
    out.a = planes[0], out.b = planes[1], out.s = planes[2], out.d = planes[3];
    out.type = type;
}

static inline void lay_weights(Carver &c, const CudaModel &m, LayerState *layers, Matrix &head,
                               float *&norm) {
    for (uint32_t i = 0; i < m.n_layers; i++) {
        for (int slot = 0; slot < CUDA_MATRICES; slot++)
            lay_matrix(c, layers[i].matrices[slot], m, slot, m.types[i][slot]);
        c.take(layers[i].attn_norm, m.n_embd);
        c.take(layers[i].ffn_norm, m.n_embd);
        c.take(layers[i].q_norm, m.head_dim);
        c.take(layers[i].k_norm, m.head_dim);
    }
    lay_matrix(c, head, m, CUDA_HEAD, (int)m.head_type);
    c.take(norm, m.n_embd);
}

static inline void lay_kv(Carver &c, const CudaModel &m, LayerState *layers) {
    const uint64_t positions = (uint64_t)capacity_of(m) * m.n_kv_heads, size = m.kv == 0   ? 4
                                                                               : m.kv == 1 ? 2
                                                                                           : 1;
    const uint64_t scales = m.kv == CUDA_KV_Q8_0 ? positions * (m.head_dim / 32) : 0;
    for (uint32_t i = 0; i < m.n_layers; i++) {
        Cache &cache = layers[i].cache;
        cache.capacity = capacity_of(m);
        c.take(cache.keys, positions * key_slots(m.head_dim) * size);
        c.take(cache.values, positions * m.head_dim * size);
        c.take(cache.key_scales, scales);
        c.take(cache.value_scales, scales);
    }
}

/* From `first` to the end of the residual stream of one token. */
static inline size_t input_floats(const CudaModel &m) {
    return (size_t)4 + m.head_dim + m.n_embd;
}

static inline void lay_work(Carver &c, const CudaModel &m, Work &w) {
    const uint64_t b = batch_of(m), h = m.head_dim, d = m.n_embd, width = m.n_heads * h,
                   kv = m.n_kv_heads * h;
    const uint64_t entries = b * m.n_experts_used, chunks = capacity_of(m) / CHUNK;
    uint64_t widest = b * (d > width ? d : width);
    if (entries * m.n_ff_expert > widest) widest = entries * m.n_ff_expert;
    if (HEAD_BATCH * d > widest) widest = HEAD_BATCH * d;
    widest += 4 * (b > entries ? b : entries) + 4 * HEAD_BATCH; /* each vector is padded to 16 bytes */
    c.take(w.one.first, 4 + h + d);
    w.one.cosine = reinterpret_cast<float *>(w.one.first + (c.base ? 4 : 0));
    w.one.sine = w.one.cosine + (c.base ? h / 2 : 0);
    w.one.x = w.one.sine + (c.base ? h / 2 : 0);
    c.take(w.many.first, 4);
    c.take(w.many.cosine, b * (h / 2));
    c.take(w.many.sine, b * (h / 2));
    c.take(w.many.x, b * d);
    c.take(w.q, b * width);
    c.take(w.k, b * kv);
    c.take(w.v, b * kv);
    c.take(w.heads, b * width);
    c.take(w.acts_f, widest * sizeof(float));
    c.take(w.acts_q, widest * 40 / 32 + 16 * (b > entries ? b : entries));
    c.take(w.route, b * m.n_experts);
    c.take(w.weights, entries);
    c.take(w.chosen, entries);
    c.take(w.place, entries);
    c.take(w.token, entries);
    c.take(w.n_tiles, 1);
    c.take(w.tiles, entries / BATCH_TILE + m.n_experts);
    c.take(w.gate, entries * m.n_ff_expert);
    c.take(w.up, entries * m.n_ff_expert);
    c.take(w.down, entries * d);
    c.take(w.part_m, chunks * m.n_heads);
    c.take(w.part_l, chunks * m.n_heads);
    c.take(w.part_o, chunks * width);
    c.take(w.logits, (uint64_t)HEAD_BATCH * m.n_vocab + m.n_layers + BEST_FLOATS);
    w.bad = reinterpret_cast<int *>(w.logits + (c.base ? m.n_vocab : 0));
    w.best = reinterpret_cast<CudaBest *>(w.bad + (c.base ? m.n_layers : 0));
    c.take(w.staging, STAGING);
}

#endif
