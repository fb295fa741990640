/* matmul.cuh -- matrices times one token's vectors: sections 2 and 11, a warp for some rows, a lane for each
 * of 32 lanes.
 *
 * matmul<TYPE> makes its vector in shared memory itself (norm or not, quantized or not). down<TYPE> walks a
 * token's experts in the order of their index. Which lane a product falls into never depends on any of this.
 */
#ifndef RECAST_RUNNER_CUDA_MATMUL_CUH
#define RECAST_RUNNER_CUDA_MATMUL_CUH

#include "runner/cuda/activations.cuh"
#include "runner/cuda/route.cuh"

enum { SEGMENTS = 3, ROWS = 2 }; /* ROWS: of a warp at one time */

struct Segment {
    Matrix w;
    float *out; /* [vectors][w.rows] */
};

/* Matrices of one type that meet the same vectors; groups of rows of all of them are dealt out together. */
struct Segments {
    Segment of[SEGMENTS];
    uint32_t n, columns;
    uint32_t add; /* out += instead of out = */
};

struct MatmulArgs : Call {
    Segments segments;
    Source source;
    Routing routing; /* blockIdx.y is a slot of the routed experts; logits NULL: no experts */
};

__host__ __device__ constexpr bool meets_floats(int type) {
    return type == WIDENED || is_float(type);
}

/* How many groups of `rows` rows there are. */
static inline __host__ __device__ unsigned row_groups(const Segments &s, unsigned rows) {
    unsigned groups = 0;
    for (unsigned i = 0; i < s.n; i++) groups += (s.of[i].w.rows + rows - 1) / rows;
    return groups;
}

/* The segment of a group, which becomes the group's number within it. */
DEVICE const Segment &find_segment(const Segments &s, unsigned rows, unsigned &group) {
    unsigned i = 0;
    for (; i + 1 < s.n; i++) {
        unsigned groups = (s.of[i].w.rows + rows - 1) / rows;
        if (group < groups) break;
        group -= groups;
    }
    return s.of[i];
}

/* Columns [first, first + n) of R rows of floats times T vectors of shared memory, `at[0]` bytes apart. T 0:
 * row r meets a vector of its own, at byte at[r]. */
template <int TYPE, int T, int R>
DEVICE void add_floats(float (&acc)[R * (T ? T : 1)], const Matrix &m, const size_t (&row)[R],
                       const uint8_t *shared, const unsigned (&at)[T ? 1 : R], unsigned first, unsigned n) {
    constexpr int V = Floats<TYPE>::V;
    for (unsigned g = 0; g * 32 * V < n; g++) {
        Floats<TYPE> w[R];
#pragma unroll
        for (int r = 0; r < R; r++) load_floats(w[r], m, row[r], first / (32 * V) + g);
#pragma unroll
        for (int k = 0; k < V; k++) {
            unsigned column = (g * V + k) * 32 + lane_id();
            if (column >= n) continue; /* a sum keeps its sign of zero */
#pragma unroll
            for (int t = 0; t < (T ? T : R); t++) {
                float x =
                    reinterpret_cast<const float *>(shared + (T ? t * at[0] : at[t % (T ? 1 : R)]))[column];
                if (T == 0) acc[t] = fmaf(float_at(w[t], k), x, acc[t]);
#pragma unroll
                for (int r = 0; T && r < R; r++) acc[r * T + t] = fmaf(float_at(w[r], k), x, acc[r * T + t]);
            }
        }
    }
}

/* R quantized rows times a vector of shared memory; of vector r for row r if EACH. */
template <int TYPE, bool EACH, int R>
DEVICE void add_quantized(float (&acc)[R], float (&min)[R], const Matrix &m, const size_t (&row)[R],
                          const uint8_t *shared, const unsigned (&at)[EACH ? R : 1]) {
    const size_t blocks = m.columns / 32;
    for (unsigned j = lane_id(); j < blocks; j += WARP) {
        Block w[R];
        Acts x = load_acts(shared + at[0], blocks, j);
#pragma unroll
        for (int r = 0; r < R; r++) load_block<TYPE>(w[r], m, row[r] * blocks + j);
#pragma unroll
        for (int r = 0; r < R; r++) {
            if (EACH && r) x = load_acts(shared + at[r % (EACH ? R : 1)], blocks, j);
            add_block<TYPE>(acc[r], min[r], w[r], x);
        }
    }
}

/* The sums of R rows; lane l is left with number l / (32 / R). */
template <int TYPE, bool EACH, int R>
DEVICE float products(const Matrix &m, const size_t (&row)[R], const uint8_t *shared,
                      const unsigned (&at)[EACH ? R : 1]) {
    float acc[R] = {0}, min[R] = {0};
    if constexpr (meets_floats(TYPE)) {
        add_floats<TYPE, !EACH, R>(acc, m, row, shared, at, 0, m.columns);
        return butterflies<R>(acc);
    } else {
        constexpr Layout L = layout_of(TYPE);
        add_quantized<TYPE, EACH, R>(acc, min, m, row, shared, at);
        float v = butterflies<R>(acc);
        if (!L.min) return v;
        float less = butterflies<R>(min);
        return L.min == SUBTRACTED ? v - less : v + less;
    }
}

/* Rows that the warp will need, into the L2 while something else is waited for. */
DEVICE void fetch_rows(const Matrix &m, size_t row, unsigned n) {
    const Layout l = layout_of(m.type);
    const size_t bytes =
        is_float(m.type) ? (m.columns * float_bytes(m.type) + 511) / 512 * 512 : m.columns / 32 * l.low * 4;
    for (size_t i = lane_id() * 128; i < n * bytes; i += WARP * 128) fetch_to_l2(m.a + row * bytes + i);
}

/* Those of a block's first group. */
template <int R> DEVICE void fetch_group(const Segments &s, uint32_t expert) {
    unsigned group = blockIdx.x;
    const Matrix &m = find_segment(s, WARPS * R, group).w;
    const unsigned row = (group * WARPS + warp_id()) * R;
    if (row + R <= m.rows) fetch_rows(m, (size_t)expert * m.rows + row, R);
}

/* The expert of this block's slot. The first block writes down what was chosen. */
DEVICE uint32_t routed_expert(const Routing &r) {
    const uint32_t *chosen = route(r, r.logits, reinterpret_cast<float *>(dynamic_shared));
    const float *weight = reinterpret_cast<const float *>(chosen + r.used);
    const uint32_t expert = chosen[blockIdx.y];
    for (unsigned t = threadIdx.x; t < r.used && blockIdx.x + blockIdx.y == 0; t += blockDim.x)
        r.chosen[t] = chosen[t], r.weights[t] = weight[t];
    __syncthreads();
    return expert;
}

template <int TYPE> __global__ void __launch_bounds__(THREADS, 2) matmul(const MatmulArgs a) {
    constexpr bool QUANTIZED = !meets_floats(TYPE);
    constexpr int R = ROWS;
    const Segments &s = a.segments;
    uint8_t *shared = reinterpret_cast<uint8_t *>(dynamic_shared);
    const unsigned groups = row_groups(s, WARPS * R), at[1] = {0};

    if (!a.routing.logits) fetch_group<R>(s, 0); /* while the kernel in front still runs */
    start(a);
    const uint32_t expert = a.routing.logits ? routed_expert(a.routing) : 0;
    if (a.routing.logits) fetch_group<R>(s, expert);
    float *room = reinterpret_cast<float *>(shared + (QUANTIZED ? acts_bytes(s.columns, true) : 0));
    stage_any<QUANTIZED>(shared, room, a.source, s.columns);
    for (unsigned all = blockIdx.x; all < groups; all += gridDim.x) {
        unsigned group = all;
        const Segment &segment = find_segment(s, WARPS * R, group);
        const Matrix &m = segment.w;
        const unsigned first = (group * WARPS + warp_id()) * R, r = lane_id() / (WARP / R);
        size_t row[R];
        if (first >= m.rows) continue;
#pragma unroll
        for (int i = 0; i < R; i++)
            row[i] = (size_t)expert * m.rows + (first + i < m.rows ? first + i : m.rows - 1);
        const float v = products<TYPE, false, R>(m, row, shared, at);
        if (lane_id() % (WARP / R) || first + r >= m.rows) continue;
        float *out = segment.out + (size_t)blockIdx.y * m.rows + first + r;
        *out = s.add ? *out + v : v;
    }
}

struct DownArgs : Call {
    Matrix w;
    const uint32_t *chosen;
    const float *weights;
    uint32_t used;
    Source source; /* [used][columns] */
    float *x;      /* [w.rows] */
    int *bad;
};

/* x += the experts' outputs, for one token: a warp for each element, some experts at a time: as many as the
 * registers hold with every release of nvcc. */
template <int TYPE> __global__ void __launch_bounds__(THREADS, 2) down(const DownArgs a) {
    constexpr bool QUANTIZED = !meets_floats(TYPE);
    constexpr int U = TYPE == DT_Q8_0 ? 2 : 4;
    const Matrix &m = a.w;
    uint8_t *shared = reinterpret_cast<uint8_t *>(dynamic_shared);
    start(a);
    const unsigned first = blockIdx.x * WARPS + warp_id();
    for (unsigned s = 0; s < a.used && first < m.rows; s++)
        fetch_rows(m, (size_t)a.chosen[s] * m.rows + first, 1);
    stage<QUANTIZED>(shared, a.source, m.columns, a.used);
    __syncthreads();
    for (unsigned out_row = first; out_row < m.rows; out_row += gridDim.x * WARPS) {
        float sum = 0;
        for (unsigned s = 0; s < a.used; s += U) {
            size_t row[U];
            unsigned at[U];
#pragma unroll
            for (int u = 0; u < U; u++) {
                const unsigned slot = s + u < a.used ? s + u : a.used - 1;
                row[u] = (size_t)a.chosen[slot] * m.rows + out_row;
                at[u] = slot * acts_bytes(m.columns, QUANTIZED);
            }
            float v = products<TYPE, true, U>(m, row, shared, at);
#pragma unroll
            for (int u = 0; u < U; u++) {
                float d = __shfl_sync(FULL, v, u * (WARP / U));
                if (s + u < a.used) sum = fmaf(a.weights[s + u], d, sum);
            }
        }
        if (lane_id()) continue;
        float v = a.x[out_row] + sum;
        a.x[out_row] = v;
        if (!is_finite(v)) atomicMin(a.bad, 0);
    }
}

#endif
