/* activations.cuh -- what matrices meet: float32 vectors, or vectors quantized in blocks of 32.
 *
 * A quantized vector of n = 32 b elements takes 40 b bytes in planes: elements 0..15 of each block, elements
 * 16..31 of each, d of each (float32), sums of the two halves of each (two int16). */
#ifndef RECAST_RUNNER_CUDA_ACTIVATIONS_CUH
#define RECAST_RUNNER_CUDA_ACTIVATIONS_CUH

#include "runner/cuda/weights.cuh"

/* Where a vector comes from: x; or norm(x), section 4; or silu(x) * up. */
struct Source {
    const float *x, *norm, *up;
    float eps;
};

static inline __host__ __device__ uint32_t acts_bytes(uint32_t columns, bool quantized) {
    return ((quantized ? columns / 32 * 40 : columns * 4) + 15) / 16 * 16;
}

DEVICE Acts load_acts(const uint8_t *vector, unsigned blocks, unsigned j) {
    Acts x;
    x.low = reinterpret_cast<const uint4 *>(vector)[j];
    x.high = reinterpret_cast<const uint4 *>(vector)[blocks + j];
    x.d = reinterpret_cast<const float *>(vector + 32 * blocks)[j];
    uint32_t sums = reinterpret_cast<const uint32_t *>(vector + 36 * blocks)[j];
    x.sum0 = (int16_t)(sums & 0xFFFF), x.sum1 = (int16_t)(sums >> 16);
    return x;
}

/* A warp's 32 values, one a lane, as section 11 quantizes them. */
DEVICE int quantize_lane(float v, float &d) {
    bool nan = __ballot_sync(FULL, v != v) != 0;
    float largest = warp_max(v != v ? 0 : fabsf(v));
    d = largest / 127;
    float inverse = 1 / d;
    bool gone = nan || largest == 0 || !is_finite(inverse);
    if (gone) d = nan ? strict_f32_of(0x7FC00000) : 0;
    float product = v * inverse, rounded = product + 0x1.8p23f;
    return gone ? 0 : (int8_t)(strict_bits_of(rounded) - 0x4B400000u);
}

/* Four blocks of a vector, or of vectors that follow each other, by a warp: lane l has four elements of block
 * l / 8. Largest values and sums of integers are exact, so this has the bits of quantize_lane. */
DEVICE void quantize_blocks(uint8_t *vector, unsigned blocks, unsigned j, const float4 &v, bool write) {
    const unsigned lane = lane_id() % 8;
    const float x[4] = {v.x, v.y, v.z, v.w};
    float largest = 0;
    bool nan = false;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        nan = nan || x[i] != x[i];
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    nan = __ballot_sync(FULL, nan) >> lane_id() / 8 * 8 & 0xFF;
#pragma unroll
    for (int s = 4; s; s /= 2) {
        float other = __shfl_xor_sync(FULL, largest, s);
        largest = other > largest ? other : largest;
    }
    float d = largest / 127, inverse = 1 / d;
    const bool gone = nan || largest == 0 || !is_finite(inverse);
    int sum = 0;
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float product = x[i] * inverse, rounded = product + 0x1.8p23f;
        const int q = gone ? 0 : (int8_t)(strict_bits_of(rounded) - 0x4B400000u);
        sum += q;
        word |= (uint32_t)(q & 0xFF) << 8 * i;
    }
    sum += __shfl_xor_sync(FULL, sum, 2);
    sum += __shfl_xor_sync(FULL, sum, 1);
    const int upper = __shfl_xor_sync(FULL, sum, 4);
    if (!write) return;
    reinterpret_cast<uint32_t *>(vector)[(lane / 4 * blocks + j) * 4 + lane % 4] = word;
    if (lane) return;
    reinterpret_cast<float *>(vector + 32 * blocks)[j] = gone ? nan ? strict_f32_of(0x7FC00000) : 0 : d;
    reinterpret_cast<uint32_t *>(vector + 36 * blocks)[j] = (uint32_t)(sum & 0xFFFF) | (uint32_t)upper << 16;
}

DEVICE float4 load_four(const float *x) {
    return *reinterpret_cast<const float4 *>(x);
}

/* n vectors of a source without a norm, which follow each other; by a whole block of threads, which must
 * synchronize afterwards. Loads go ahead of the work on them. */
DEVICE void stage_quantized(uint8_t *out, const Source &s, unsigned columns, unsigned n) {
    const unsigned blocks = columns / 32, all = n * blocks;
    for (unsigned first = warp_id() * 4; first < all; first += blockDim.x / 8) {
        const unsigned i = first + lane_id() / 8, at = i < all ? i : all - 1;
        float4 x = load_four(s.x + (size_t)at * 32 + lane_id() % 8 * 4);
        if (s.up) {
            const float4 up = load_four(s.up + (size_t)at * 32 + lane_id() % 8 * 4);
            x = {strict_siluf(x.x) * up.x, strict_siluf(x.y) * up.y, strict_siluf(x.z) * up.z,
                 strict_siluf(x.w) * up.w};
        }
        quantize_blocks(out + (size_t)(at / blocks) * acts_bytes(columns, true), blocks, at % blocks, x,
                        i < all);
    }
}

DEVICE void stage_floats(uint8_t *out, const Source &s, unsigned columns, unsigned n) {
    constexpr unsigned U = 4; /* loads at one time */
    for (unsigned first = threadIdx.x; first < n * columns; first += blockDim.x * U) {
        float x[U], up[U];
#pragma unroll
        for (unsigned u = 0; u < U; u++) {
            const unsigned i = first + u * blockDim.x;
            x[u] = i < n * columns ? s.x[i] : 0;
            up[u] = s.up && i < n * columns ? s.up[i] : 0;
        }
#pragma unroll
        for (unsigned u = 0; u < U; u++) {
            const unsigned i = first + u * blockDim.x;
            if (i >= n * columns) continue;
            reinterpret_cast<float *>(out + (size_t)(i / columns) * acts_bytes(columns, false))[i % columns] =
                s.up ? strict_siluf(x[u]) * up[u] : x[u];
        }
    }
}

template <bool QUANTIZED> DEVICE void stage(uint8_t *out, const Source &s, unsigned columns, unsigned n) {
    if (QUANTIZED)
        stage_quantized(out, s, columns, n);
    else
        stage_floats(out, s, columns, n);
}

/* One vector of any source. room: `columns` floats of shared memory; out may be room if it isn't quantized.
 */
template <bool QUANTIZED>
DEVICE void stage_any(uint8_t *out, float *room, const Source &s, unsigned columns) {
    if (!s.norm) {
        stage<QUANTIZED>(out, s, columns, 1);
        __syncthreads();
        return;
    }
    stage_floats(reinterpret_cast<uint8_t *>(room), {s.x, nullptr, nullptr, 0}, columns, 1);
    __syncthreads();
    float mean = dot_lanes(room, room, columns) / (float)columns, r = 1 / sqrtf(mean + s.eps);
    __syncthreads(); /* out may be room */
    if (QUANTIZED) {
        const unsigned blocks = columns / 32;
        for (unsigned first = warp_id() * 4; first < blocks; first += blockDim.x / 8) {
            const unsigned j = first + lane_id() / 8,
                           at = (j < blocks ? j : blocks - 1) * 32 + lane_id() % 8 * 4;
            const float4 x = load_four(room + at), w = load_four(s.norm + at);
            float a = x.x * r, b = x.y * r, c = x.z * r, d = x.w * r;
            quantize_blocks(out, blocks, j, {a * w.x, b * w.y, c * w.z, d * w.w}, j < blocks);
        }
    } else {
        for (unsigned i = threadIdx.x; i < columns; i += blockDim.x) {
            float scaled = room[i] * r;
            reinterpret_cast<float *>(out)[i] = scaled * s.norm[i];
        }
    }
    __syncthreads();
}

struct PrepareArgs : Call {
    Source source; /* [vectors][columns] */
    uint8_t *out;
    uint32_t columns;
};

/* A vector for each block of threads, into memory that many kernels read. */
template <bool QUANTIZED> __global__ void prepare(PrepareArgs a) {
    start(a);
    a.source.x += (size_t)blockIdx.x * a.columns;
    if (a.source.up) a.source.up += (size_t)blockIdx.x * a.columns;
    stage_any<QUANTIZED>(a.out + (size_t)blockIdx.x * acts_bytes(a.columns, QUANTIZED),
                         reinterpret_cast<float *>(dynamic_shared), a.source, a.columns);
}

#endif
