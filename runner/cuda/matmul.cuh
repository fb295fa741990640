/* matmul.cuh -- matrices times vectors: sections 2 and 11, a warp for some rows, a lane for each of 32 lanes.
 *
 * matmul<TYPE, 1> is decoding: one vector, made in shared memory by the kernel itself (norm or not, quantized
 * or not). matmul<TYPE, 8> is reading a prompt: up to eight vectors that `prepare` made meet each weight that
 * is loaded. down<TYPE> walks a token's experts in the order of their index. Which lane a product falls into
 * never depends on any of this. */
#ifndef RECAST_RUNNER_CUDA_MATMUL_CUH
#define RECAST_RUNNER_CUDA_MATMUL_CUH

#include "runner/cuda/activations.cuh"
#include "runner/cuda/route.cuh"

enum { BATCH_TILE = 8, SEGMENTS = 3 };

struct Segment {
    Matrix w;
    float *out; /* [vectors][w.rows] */
};

struct MatmulArgs {
    Segment segments[SEGMENTS]; /* of one type; row groups of all are dealt out together */
    uint32_t n_segments, columns;
    uint32_t add;    /* out += instead of out = */
    Source source;   /* one vector: where it comes from */
    RouteArgs route; /* one vector: blockIdx.y is a slot of the routed experts; logits NULL: no experts */
    /* up to eight vectors: */
    const uint8_t *acts;  /* prepared */
    const uint32_t *pick; /* which of them an entry takes; NULL: its own */
    const Tile *tiles;    /* NULL: no experts, and tiles of eight */
    const uint32_t *n_tiles;
    uint32_t count; /* vectors, where there are no tiles */
    uint32_t chunk; /* columns that are in shared memory at one time: a multiple of 1024 */
};

__host__ __device__ constexpr bool meets_floats(int type) {
    return type == WIDENED || is_float(type);
}

/* Rows of a warp: as many as the registers hold without a spill. */
__host__ __device__ constexpr int rows_of(int type, int vectors) {
    return vectors == 1 || type == WIDENED || layout_of(type).min ? 2 : 4;
}

/* R rows times T vectors of shared memory, `at[0]` bytes apart, columns [first, first + n) of them. T 0: row
 * r meets a vector of its own, at byte at[r]. */
template <int TYPE, int T, int R>
DEVICE void accumulate(float (&acc)[R * (T ? T : 1)], float (&min)[R * (T ? T : 1)], const Matrix &m,
                       const size_t (&row)[R], const uint8_t *shared, const unsigned (&at)[T ? 1 : R],
                       unsigned first, unsigned n) {
    constexpr int X = T ? T : R;
    if constexpr (meets_floats(TYPE)) {
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
                for (int t = 0; t < X; t++) {
                    float x = reinterpret_cast<const float *>(shared +
                                                              (T ? t * at[0] : at[t % (T ? 1 : R)]))[column];
                    if (T == 0) acc[t] = fmaf(float_at(w[t], k), x, acc[t]);
#pragma unroll
                    for (int r = 0; T && r < R; r++)
                        acc[r * T + t] = fmaf(float_at(w[r], k), x, acc[r * T + t]);
                }
            }
        }
    } else {
        const size_t blocks = m.columns / 32;
        for (unsigned j = lane_id(); j < n / 32; j += WARP) {
            Block w[R];
#pragma unroll
            for (int r = 0; r < R; r++) load_block<TYPE>(w[r], m, row[r] * blocks + first / 32 + j);
#pragma unroll
            for (int t = 0; t < X; t++) {
                Acts x = load_acts(shared + (T ? t * at[0] : at[t % (T ? 1 : R)]), n / 32, j);
                if (T == 0) add_block<TYPE>(acc[t], min[t], w[t], x);
#pragma unroll
                for (int r = 0; T && r < R; r++) add_block<TYPE>(acc[r * T + t], min[r * T + t], w[r], x);
            }
        }
    }
}

/* The sums of N rows and vectors; lane l is left with number l / (32 / N). */
template <int TYPE, int N> DEVICE float finish(float (&acc)[N], float (&min)[N]) {
    constexpr Layout L = meets_floats(TYPE) ? Layout{} : layout_of(TYPE);
    float v = butterflies<N>(acc);
    if (!L.min) return v;
    float m = butterflies<N>(min);
    return L.min == SUBTRACTED ? v - m : v + m;
}

/* Columns [first, first + n) of a tile's vectors into shared memory. Behind the last one its copies. */
template <int T, bool QUANTIZED>
DEVICE void stage_tile(uint8_t *out, unsigned pitch, const MatmulArgs &a, const Tile &tile, unsigned first,
                       unsigned n) {
    const unsigned words = QUANTIZED ? 10 : 32; /* of 32 columns */
    for (unsigned i = threadIdx.x; i < T * (n / 32) * words; i += blockDim.x) {
        unsigned t = i / (n / 32 * words), w = i % (n / 32 * words), from = w + first;
        unsigned entry = tile.first + (t < tile.count ? t : tile.count - 1);
        const uint8_t *vector =
            a.acts + (size_t)(a.pick ? a.pick[entry] : entry) * acts_bytes(a.columns, QUANTIZED);
        if (QUANTIZED) { /* planes begin at words 0, 4, 8, 9 times the blocks */
            unsigned b = n / 32, plane = w < 4 * b ? 0 : w < 8 * b ? 4 : w < 9 * b ? 8 : 9;
            from = w + plane * (a.columns / 32 - b) + (plane < 8 ? 4 : 1) * (first / 32);
        }
        reinterpret_cast<uint32_t *>(out + t * pitch)[w] = reinterpret_cast<const uint32_t *>(vector)[from];
    }
    if (QUANTIZED || n % 32 == 0) return;
    for (unsigned i = threadIdx.x; i < T * (n % 32); i += blockDim.x) {
        unsigned t = i / (n % 32), c = n / 32 * 32 + i % (n % 32);
        unsigned entry = tile.first + (t < tile.count ? t : tile.count - 1);
        const uint8_t *vector =
            a.acts + (size_t)(a.pick ? a.pick[entry] : entry) * acts_bytes(a.columns, QUANTIZED);
        reinterpret_cast<float *>(out + t * pitch)[c] = reinterpret_cast<const float *>(vector)[first + c];
    }
}

/* Weights that are needed in any case, while the kernel in front still runs. */
template <int R> DEVICE void fetch_rows(const MatmulArgs &a) {
    const Matrix &m = a.segments[0].w;
    const Layout l = layout_of(m.type);
    const size_t bytes =
        is_float(m.type) ? (a.columns * float_bytes(m.type) + 511) / 512 * 512 : a.columns / 32 * l.low * 4;
    const size_t row = ((size_t)blockIdx.x * WARPS + warp_id()) * R;
    if (row + R > m.rows) return;
    for (size_t i = lane_id() * 128; i < R * bytes; i += WARP * 128) fetch_to_l2(m.a + row * bytes + i);
}

/* Which rows of which segment a group is. */
template <int R> DEVICE unsigned find_segment(const MatmulArgs &a, unsigned &group) {
    unsigned s = 0;
    for (; s + 1 < a.n_segments; s++) {
        unsigned groups = (a.segments[s].w.rows + WARPS * R - 1) / (WARPS * R);
        if (group < groups) break;
        group -= groups;
    }
    return s;
}

template <int TYPE, int T>
__global__ void __launch_bounds__(THREADS, T == 1 ? 2 : 1) matmul(const MatmulArgs a) {
    constexpr bool QUANTIZED = !meets_floats(TYPE);
    constexpr int R = rows_of(TYPE, T), N = R * T;
    uint8_t *shared = reinterpret_cast<uint8_t *>(dynamic_shared);
    const unsigned chunk = T == 1 || a.columns < a.chunk ? a.columns : a.chunk;
    const unsigned pitch = acts_bytes(chunk, QUANTIZED);
    Tile tile = {0, blockIdx.y * T, 1};
    unsigned groups = 0;
    for (unsigned s = 0; s < a.n_segments; s++)
        groups += (a.segments[s].w.rows + WARPS * R - 1) / (WARPS * R);

    if (T == 1 && !a.route.logits) fetch_rows<R>(a);
    let_next_start();
    dependency_wait();
    if (T == 1) {
        if (a.route.logits) {
            const uint32_t *chosen = route(a.route, a.route.logits, reinterpret_cast<float *>(shared));
            tile.expert = chosen[blockIdx.y];
            if (blockIdx.x == 0 && blockIdx.y == 0) {
                const float *weight = reinterpret_cast<const float *>(chosen + a.route.used);
                for (unsigned t = threadIdx.x; t < a.route.used; t += blockDim.x)
                    a.route.chosen[t] = chosen[t], a.route.weights[t] = weight[t];
            }
            __syncthreads();
        }
        stage_any<QUANTIZED>(shared, reinterpret_cast<float *>(shared + (QUANTIZED ? pitch : 0)), a.source,
                             a.columns);
    } else if (a.tiles) {
        if (blockIdx.y >= *a.n_tiles) return;
        tile = a.tiles[blockIdx.y];
    } else {
        tile.count = a.count - tile.first < T ? a.count - tile.first : T;
    }

    for (unsigned all = blockIdx.x; all < groups; all += gridDim.x) {
        unsigned group = all;
        const Segment &segment = a.segments[find_segment<R>(a, group)];
        const Matrix &m = segment.w;
        const unsigned first_row = (group * WARPS + warp_id()) * R;
        float acc[N], min[N];
        size_t row[R];
        const unsigned apart[1] = {pitch};
#pragma unroll
        for (int i = 0; i < N; i++) acc[i] = min[i] = 0;
#pragma unroll
        for (int r = 0; r < R; r++)
            row[r] = (size_t)tile.expert * m.rows + (first_row + r < m.rows ? first_row + r : m.rows - 1);
        for (unsigned c = 0; c < a.columns; c += chunk) {
            const unsigned n = a.columns - c < chunk ? a.columns - c : chunk;
            if (T > 1 && (chunk < a.columns || all == blockIdx.x)) {
                __syncthreads();
                stage_tile<T, QUANTIZED>(shared, pitch, a, tile, c, n);
                __syncthreads();
            }
            if (first_row < m.rows) accumulate<TYPE, T, R>(acc, min, m, row, shared, apart, c, n);
        }
        const unsigned i = lane_id() / (WARP / N), r = i / T, t = i % T;
        const float v = finish<TYPE, N>(acc, min);
        if (lane_id() % (WARP / N) || first_row + r >= m.rows || t >= tile.count) continue;
        float *out = segment.out + (size_t)(tile.first + t) * m.rows + first_row + r;
        *out = a.add ? *out + v : v;
    }
}

struct DownArgs {
    Matrix w;
    const uint32_t *chosen;
    const float *weights;
    uint32_t used;
    Source source; /* [used][columns] */
    float *x;      /* [w.rows] */
    int *bad;
};

/* x += the experts' outputs, for one token: a warp for each element, four experts at a time. */
template <int TYPE> __global__ void __launch_bounds__(THREADS, 2) down(const DownArgs a) {
    constexpr bool QUANTIZED = !meets_floats(TYPE);
    constexpr int U = 4;
    const Matrix &m = a.w;
    uint8_t *shared = reinterpret_cast<uint8_t *>(dynamic_shared);
    const unsigned pitch = acts_bytes(m.columns, QUANTIZED);
    let_next_start();
    dependency_wait();
    stage<QUANTIZED>(shared, a.source, m.columns, a.used);
    __syncthreads();
    for (unsigned out_row = blockIdx.x * WARPS + warp_id(); out_row < m.rows; out_row += gridDim.x * WARPS) {
        float sum = 0;
        for (unsigned s = 0; s < a.used; s += U) {
            float acc[U], min[U];
            size_t row[U];
            unsigned offset[U];
#pragma unroll
            for (int u = 0; u < U; u++) {
                const unsigned slot = s + u < a.used ? s + u : a.used - 1;
                acc[u] = min[u] = 0;
                row[u] = (size_t)a.chosen[slot] * m.rows + out_row;
                offset[u] = slot * pitch;
            }
            accumulate<TYPE, 0, U>(acc, min, m, row, shared, offset, 0, m.columns);
            float v = finish<TYPE, U>(acc, min);
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
