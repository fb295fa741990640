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

DEVICE void quantize_block(uint8_t *vector, unsigned blocks, unsigned j, float v) {
    const unsigned lane = lane_id();
    float d;
    int q = quantize_lane(v, d), sum = q;
#pragma unroll
    for (int s = 8; s; s /= 2) sum += __shfl_xor_sync(FULL, sum, s);
    int upper = __shfl_sync(FULL, sum, 16);
    vector[(lane / 16 * blocks + j) * 16 + lane % 16] = (uint8_t)q;
    if (lane) return;
    reinterpret_cast<float *>(vector + 32 * blocks)[j] = d;
    reinterpret_cast<uint32_t *>(vector + 36 * blocks)[j] = (uint32_t)(sum & 0xFFFF) | (uint32_t)upper << 16;
}

DEVICE float source_at(const Source &s, size_t i) {
    return s.up ? strict_siluf(s.x[i]) * s.up[i] : s.x[i];
}

/* n vectors of a source without a norm, which follow each other; by a whole block of threads, which must
 * synchronize afterwards. */
template <bool QUANTIZED> DEVICE void stage(uint8_t *out, const Source &s, unsigned columns, unsigned n) {
    if (QUANTIZED) {
        const unsigned blocks = columns / 32;
        for (unsigned i = warp_id(); i < n * blocks; i += blockDim.x / WARP)
            quantize_block(out + (size_t)(i / blocks) * acts_bytes(columns, true), blocks, i % blocks,
                           source_at(s, (size_t)i * 32 + lane_id()));
        return;
    }
    for (unsigned v = 0; v < n; v++)
        for (unsigned i = threadIdx.x; i < columns; i += blockDim.x)
            reinterpret_cast<float *>(out + (size_t)v * acts_bytes(columns, false))[i] =
                source_at(s, (size_t)v * columns + i);
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
    for (unsigned i = threadIdx.x; i < columns; i += blockDim.x) room[i] = s.x[i];
    __syncthreads();
    float mean = dot_lanes(room, room, columns) / (float)columns, r = 1 / sqrtf(mean + s.eps);
    __syncthreads(); /* out may be room */
    if (QUANTIZED) {
        for (unsigned j = warp_id(); j < columns / 32; j += blockDim.x / WARP) {
            float scaled = room[j * 32 + lane_id()] * r;
            quantize_block(out, columns / 32, j, scaled * s.norm[j * 32 + lane_id()]);
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
