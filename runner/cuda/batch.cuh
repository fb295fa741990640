/* batch.cuh -- matrices times many vectors, for reading a prompt: a tile of up to eight vectors, which
 * `prepare` made, meets each weight that is loaded. With experts, tiles are those of group_entries.
 *
 * Floats go as in matmul.cuh. Quantized rows go through integer tensor cores, 16 rows and 8 vectors at a
 * time: exact, so only the order of the blocks matters. A thread has two rows and two vectors, and walks the
 * blocks of lanes 0, 16, 8, 24, 4, ... so that the sums of a lane are added up as the butterfly does as soon
 * as they are complete; lanes 2i and 2i + 1 side by side, because their blocks share a sector of memory. */
#ifndef RECAST_RUNNER_CUDA_BATCH_CUH
#define RECAST_RUNNER_CUDA_BATCH_CUH

#include "runner/cuda/matmul.cuh"

constexpr unsigned BATCH_TILE = 8, MMA_ROWS = 16, FLOAT_CHUNK = 1024;

struct BatchArgs : Call {
    Segments segments;
    const uint8_t *acts;  /* prepared */
    const uint32_t *pick; /* which of them an entry takes; NULL: its own */
    const Tile *tiles;    /* NULL: no experts, and tiles of eight */
    const uint32_t *n_tiles;
    uint32_t count; /* vectors, where there are no tiles */
};

/* This block's tile; false if there is none. */
DEVICE bool find_tile(const BatchArgs &a, Tile &out) {
    const unsigned first = blockIdx.y * BATCH_TILE;
    if (a.tiles && blockIdx.y >= *a.n_tiles) return false;
    if (a.tiles)
        out = a.tiles[blockIdx.y];
    else
        out = {0, first, a.count - first < BATCH_TILE ? a.count - first : BATCH_TILE};
    return true;
}

/* Vector t of a tile. Behind the last one its copies. */
DEVICE const uint8_t *vector_at(const BatchArgs &a, const Tile &tile, unsigned t, bool quantized) {
    unsigned entry = tile.first + (t < tile.count ? t : tile.count - 1);
    return a.acts + (size_t)(a.pick ? a.pick[entry] : entry) * acts_bytes(a.segments.columns, quantized);
}

DEVICE void put_sum(const BatchArgs &a, const Segment &s, const Tile &tile, unsigned row, unsigned t,
                    float v) {
    if (row >= s.w.rows || t >= tile.count) return;
    float *out = s.out + (size_t)(tile.first + t) * s.w.rows + row;
    *out = a.segments.add ? *out + v : v;
}

/* ---- floats ---- */

/* Rows of a warp: as many as the registers hold without a spill. */
__host__ __device__ constexpr int float_rows(int type) {
    return type == WIDENED ? 2 : 4;
}

template <int TYPE> __global__ void __launch_bounds__(THREADS, 1) batch_floats(const BatchArgs a) {
    constexpr int R = float_rows(TYPE), N = R * BATCH_TILE;
    const unsigned columns = a.segments.columns, groups = row_groups(a.segments, WARPS * R);
    const unsigned chunk = columns < FLOAT_CHUNK ? columns : FLOAT_CHUNK,
                   pitch[1] = {acts_bytes(chunk, false)};
    uint8_t *shared = reinterpret_cast<uint8_t *>(dynamic_shared);
    Tile tile;
    start(a);
    if (!find_tile(a, tile)) return;
    for (unsigned all = blockIdx.x; all < groups; all += gridDim.x) {
        unsigned group = all;
        const Segment &segment = find_segment(a.segments, WARPS * R, group);
        const unsigned first = (group * WARPS + warp_id()) * R, rows = segment.w.rows;
        float acc[N] = {0};
        size_t row[R];
#pragma unroll
        for (int r = 0; r < R; r++)
            row[r] = (size_t)tile.expert * rows + (first + r < rows ? first + r : rows - 1);
        for (unsigned c = 0; c < columns; c += chunk) {
            const unsigned n = columns - c < chunk ? columns - c : chunk;
            __syncthreads();
            for (unsigned i = threadIdx.x; i < BATCH_TILE * n; i += THREADS)
                reinterpret_cast<float *>(shared + i / n * pitch[0])[i % n] =
                    reinterpret_cast<const float *>(vector_at(a, tile, i / n, false))[c + i % n];
            __syncthreads();
            if (first < rows) add_floats<TYPE, BATCH_TILE, R>(acc, segment.w, row, shared, pitch, c, n);
        }
        const unsigned i = lane_id() / (WARP / N);
        const float v = butterflies<N>(acc);
        if (lane_id() % (WARP / N) == 0) put_sum(a, segment, tile, first + i / BATCH_TILE, i % BATCH_TILE, v);
    }
}

/* ---- quantized ---- */

/* Blocks of 16 rows and two neighbouring lanes, as integers: one thread of the warp unpacks each. */
struct MmaRoom {
    uint32_t w[2][2][MMA_ROWS][4]; /* [lane][half][row] 16 integers */
    uint4 factors[2][MMA_ROWS];    /* d, m, the halves' scales as 2 int16, their minima */
};

/* Words between two vectors in shared memory: four banks apart, so that eight of them are read at once. */
static inline __host__ __device__ uint32_t mma_pitch(uint32_t columns) {
    return (acts_bytes(columns, true) / 4 + 31) / 32 * 32 + 4;
}

static inline __host__ __device__ uint32_t mma_shared(uint32_t columns) {
    return WARPS * sizeof(MmaRoom) + BATCH_TILE * mma_pitch(columns) * 4;
}

/* Two halves of a block into the room. Bytes become signed: c - bias, without borrows between bytes. */
template <int TYPE> DEVICE void put_block(MmaRoom &room, const RawWords &raw) {
    constexpr Layout L = layout_of(TYPE);
    Block b;
    const unsigned lane = lane_id() % 2, row = lane_id() / 2;
    uint32_t w[8];
    unpack<TYPE>(b, raw);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = L.bias ? ((b.w[i] | 0x80808080) - L.bias * 0x01010101u) ^ 0x80808080 : b.w[i];
    *reinterpret_cast<uint4 *>(room.w[lane][0][row]) = {w[0], w[1], w[2], w[3]};
    *reinterpret_cast<uint4 *>(room.w[lane][1][row]) = {w[4], w[5], w[6], w[7]};
    room.factors[lane][row] = {strict_bits_of(b.d), strict_bits_of(b.m),
                               (uint32_t)(b.scale[0] & 0xFFFF) | (uint32_t)b.scale[1] << 16,
                               (uint32_t)(b.min[0] & 0xFFFF) | (uint32_t)b.min[1] << 16};
}

/* A thread's two rows (g, g + 8) times its two vectors (2t, 2t + 1): sum number 2 row + vector. */
struct Sums {
    float acc[4], min[4];
};

/* Vectors that a thread reads: g for the product; 2t and 2t + 1, whose sums it has. */
struct MmaVectors {
    const uint8_t *operand, *own[2];
};

DEVICE int half_of(uint32_t pair, int half) {
    return (int16_t)(pair >> 16 * half & 0xFFFF);
}

/* Block j of all rows and vectors, of lane `lane` of the room. */
template <int TYPE>
DEVICE void add_tile(Sums &s, const MmaRoom &room, unsigned lane, const MmaVectors &x, unsigned blocks,
                     unsigned j) {
    constexpr Layout L = layout_of(TYPE);
    constexpr bool HALVES = TYPE == DT_Q2_K || TYPE == DT_Q3_K || TYPE == DT_Q6_K;
    const unsigned g = lane_id() / 4, t = lane_id() % 4;
    const uint32_t *operand = reinterpret_cast<const uint32_t *>(x.operand) + t;
    int low[4] = {0}, high[4] = {0};
    mma(low, room.w[lane][0][g][t], room.w[lane][0][g + 8][t], operand[4 * j]);
    mma(HALVES ? high : low, room.w[lane][1][g][t], room.w[lane][1][g + 8][t], operand[4 * (blocks + j)]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint4 f = room.factors[lane][g + i / 2 * 8];
        const uint8_t *own = x.own[i % 2];
        const float d = reinterpret_cast<const float *>(own + 32 * blocks)[j];
        const int v = HALVES  ? half_of(f.z, 0) * low[i] + half_of(f.z, 1) * high[i]
                      : L.sub ? half_of(f.z, 0) * low[i]
                              : low[i];
        float scale = strict_f32_of(f.x) * d;
        s.acc[i] = fmaf(scale, (float)v, s.acc[i]);
        if (!L.min) continue;
        const uint32_t sums = reinterpret_cast<const uint32_t *>(own + 36 * blocks)[j];
        float m = strict_f32_of(f.y) * d;
        int n = half_of(f.w, 0) * half_of(sums, 0) + half_of(f.w, 1) * half_of(sums, 1);
        s.min[i] = fmaf(m, (float)n, s.min[i]);
    }
}

/* The sums of 16 rows from `first` of the matrix on, all of a tile's vectors. */
template <int TYPE>
DEVICE void mma_rows(float (&out)[4], const Matrix &m, size_t first, unsigned rows, MmaRoom &room,
                     const MmaVectors &x) {
    constexpr Layout L = layout_of(TYPE);
    const unsigned blocks = m.columns / 32, odd = lane_id() % 2, mine = lane_id() / 2;
    const size_t row = (first + (mine < rows ? mine : rows - 1)) * blocks;
    float sums[2][4][4] = {}, mins[2][4][4] = {}; /* [lane][number] waiting */
    Sums s[2] = {};
    RawWords ahead = load_raw<TYPE>(m, row + (odd < blocks ? odd : 0));
    for (unsigned i = 0, j = 0; i < 16;) {
        if (j < blocks) {
            put_block<TYPE>(room, ahead);
            __syncwarp();
            unsigned next = j + WARP;
            for (unsigned k = i; next >= blocks && ++k < 16;) next = reversed(k);
            if (next + odd < blocks) ahead = load_raw<TYPE>(m, row + next + odd);
            add_tile<TYPE>(s[0], room, 0, x, blocks, j);
            if (j + 1 < blocks) add_tile<TYPE>(s[1], room, 1, x, blocks, j + 1);
            __syncwarp();
            j += WARP;
        }
        if (j < blocks) continue;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            float even = push<16>(s[0].acc[n], i, sums[0][n]), other = push<16>(s[1].acc[n], i, sums[1][n]);
            out[n] = even + other;
            if (!L.min) continue;
            even = push<16>(s[0].min[n], i, mins[0][n]), other = push<16>(s[1].min[n], i, mins[1][n]);
            const float less = even + other;
            out[n] = L.min == SUBTRACTED ? out[n] - less : out[n] + less;
        }
        s[0] = s[1] = {};
        j = reversed(++i);
    }
}

template <int TYPE> __global__ void __launch_bounds__(THREADS, 1) batch_quantized(const BatchArgs a) {
    const unsigned columns = a.segments.columns, groups = row_groups(a.segments, WARPS * MMA_ROWS);
    const unsigned pitch = mma_pitch(columns), units = acts_bytes(columns, true) / 16, g = lane_id() / 4,
                   t = lane_id() % 4;
    MmaRoom *rooms = reinterpret_cast<MmaRoom *>(dynamic_shared);
    uint32_t *shared = reinterpret_cast<uint32_t *>(rooms + WARPS);
    Tile tile;
    start(a);
    if (!find_tile(a, tile)) return;
    for (unsigned i = threadIdx.x; i < BATCH_TILE * units; i += THREADS)
        reinterpret_cast<uint4 *>(shared + i / units * pitch)[i % units] =
            reinterpret_cast<const uint4 *>(vector_at(a, tile, i / units, true))[i % units];
    __syncthreads();
    auto vector = [&](unsigned n) { return reinterpret_cast<const uint8_t *>(shared + n * pitch); };
    const MmaVectors x = {vector(g), {vector(2 * t), vector(2 * t + 1)}};
    for (unsigned all = blockIdx.x; all < groups; all += gridDim.x) {
        unsigned group = all;
        const Segment &segment = find_segment(a.segments, WARPS * MMA_ROWS, group);
        const unsigned first = (group * WARPS + warp_id()) * MMA_ROWS, rows = segment.w.rows;
        float v[4];
        if (first >= rows) continue;
        mma_rows<TYPE>(v, segment.w, (size_t)tile.expert * rows + first,
                       rows - first < MMA_ROWS ? rows - first : MMA_ROWS, rooms[warp_id()], x);
#pragma unroll
        for (int i = 0; i < 4; i++) put_sum(a, segment, tile, first + g + i / 2 * 8, 2 * t + i % 2, v[i]);
    }
}

#endif
