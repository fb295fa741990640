/* repack.cuh -- from a file's rows to the planes of weights.cuh; once, when a model is loaded. */
#ifndef RECAST_RUNNER_CUDA_REPACK_CUH
#define RECAST_RUNNER_CUDA_REPACK_CUH

#include "runner/cuda/weights.cuh"

struct RepackArgs : Call {
    const uint8_t *raw;     /* [rows] as in the file */
    uint8_t *a, *b, *s, *d; /* where these rows begin in each plane */
    uint64_t rows;
    uint32_t columns;
    int type;
};

DEVICE uint32_t load16(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8;
}

/* Where the fields of ggml's blocks lie (core/blocks.h), block j of eight of a super-block. */
struct RawBlock {
    const uint8_t *at;
    int type;
    unsigned j;

    /* the low bits of element e */
    static __device__ uint32_t nibble(const uint8_t *qs, unsigned e) { return qs[e % 16] >> e / 16 * 4 & 15; }
    __device__ uint32_t low(unsigned e) const {
        switch (type) {
        case DT_Q4_0:
        case DT_IQ4_NL: return nibble(at + 2, e);
        case DT_Q4_1: return nibble(at + 4, e);
        case DT_Q5_0: return nibble(at + 6, e);
        case DT_Q5_1: return nibble(at + 8, e);
        case DT_Q8_0: return at[2 + e];
        case DT_Q2_K: return at[16 + j / 4 * 32 + e] >> j % 4 * 2 & 3;
        case DT_Q3_K: return at[32 + j / 4 * 32 + e] >> j % 4 * 2 & 3;
        case DT_Q4_K: return at[16 + j / 2 * 32 + e] >> j % 2 * 4 & 15;
        case DT_Q5_K: return at[48 + j / 2 * 32 + e] >> j % 2 * 4 & 15;
        case DT_Q6_K: return at[j / 4 * 64 + j % 2 * 32 + e] >> j % 4 / 2 * 4 & 15;
        default: return nibble(at + 8 + 16 * j, e); /* IQ4_XS */
        }
    }
    __device__ uint32_t high(unsigned e) const {
        switch (type) {
        case DT_Q5_0: return at[2 + e / 8] >> e % 8 & 1;
        case DT_Q5_1: return at[4 + e / 8] >> e % 8 & 1;
        case DT_Q3_K: return at[e] >> j & 1;
        case DT_Q5_K: return at[16 + e] >> j & 1;
        default: return at[128 + j / 4 * 32 + e] >> j % 4 * 2 & 3; /* Q6_K */
        }
    }
    /* Q4_K and Q5_K: six bits each, of the last four with their high bits among the first four's */
    __device__ uint32_t scale_and_min() const {
        const uint8_t *p = at + 4;
        if (j < 4) return (p[j] & 63) | (p[j + 4] & 63) << 8;
        uint32_t scale = (p[j + 4] & 15) | p[j - 4] >> 6 << 4, min = p[j + 4] >> 4 | p[j] >> 6 << 4;
        return scale | min << 8;
    }
    __device__ uint32_t q3_scale(unsigned s) const {
        const uint8_t *p = at + 96;
        uint32_t low = p[s % 8] >> s / 8 * 4 & 15, high = p[8 + s % 4] >> s / 4 * 2 & 3;
        return ((low | high << 4) - 32) & 0xFF;
    }
    __device__ uint32_t scales() const {
        switch (type) {
        case DT_Q2_K: return load16(at + 2 * j);
        case DT_Q3_K: return q3_scale(2 * j) | q3_scale(2 * j + 1) << 8;
        case DT_Q6_K: return load16(at + 192 + 2 * j);
        case DT_IQ4_XS: {
            uint32_t low = at[4 + j / 2] >> j % 2 * 4 & 15, high = load16(at + 2) >> 2 * j & 3;
            return ((low | high << 4) - 32) & 0xFF;
        }
        default: return scale_and_min();
        }
    }
    __device__ const uint8_t *factors() const { /* d, and behind it m or dmin */
        return type == DT_Q2_K ? at + 80 : type == DT_Q3_K ? at + 108 : type == DT_Q6_K ? at + 208 : at;
    }
};

DEVICE void repack_block(const RepackArgs &r, const Layout &l, const RawBlock &raw, size_t block) {
    uint32_t a[8] = {0}, b[2] = {0};
    for (unsigned e = 0; e < 32; e++) {
        uint32_t low = raw.low(e);
        if (l.low == 8) a[e / 4] |= low << e % 4 * 8;
        if (l.low == 4) a[e % 16 / 4] |= low << (e % 4 * 8 + e / 16 * 4);
        if (l.low == 2) a[e / 16] |= low << (e % 4 * 8 + e % 16 / 4 * 2);
        if (l.high == 1) b[0] |= raw.high(e) << (e % 4 * 8 + e / 4);
        if (l.high == 2) b[e / 16] |= raw.high(e) << (e % 4 * 8 + e % 16 / 4 * 2);
    }
    for (int i = 0; i < l.low; i++) reinterpret_cast<uint32_t *>(r.a)[block * l.low + i] = a[i];
    for (int i = 0; i < l.high; i++) reinterpret_cast<uint32_t *>(r.b)[block * l.high + i] = b[i];
    for (int i = 0; i < l.sub; i++) r.s[block * l.sub + i] = (uint8_t)(raw.scales() >> 8 * i);
    if (raw.j) return;
    for (int i = 0; i < (l.min ? 2 : 1); i++)
        reinterpret_cast<uint16_t *>(r.d)[block / l.super * (l.min ? 2 : 1) + i] =
            (uint16_t)load16(raw.factors() + 2 * i);
}

/* One thread for each block of 32 weights. */
__global__ void repack_quantized(RepackArgs r) {
    start(r);
    const Layout l = layout_of(r.type);
    const size_t blocks = r.rows * (r.columns / 32), stride = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < blocks; i += stride) {
        RawBlock raw = {r.raw + i / l.super * l.raw, r.type, (unsigned)(i % l.super)};
        repack_block(r, l, raw, i);
    }
}

/* One thread for each float: lane l of a group gets elements l, l + 32, ... of it; behind the row's end,
 * zeros. */
__global__ void repack_floats(RepackArgs r) {
    start(r);
    const unsigned size = float_bytes(r.type), v = 16 / size, group = 32 * v;
    const size_t padded = (r.columns + group - 1) / group * group, n = r.rows * padded;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x) {
        size_t row = i / padded, at = i % padded;
        size_t column = at / group * group + at % v * 32 + at % group / v;
        for (unsigned k = 0; k < size; k++)
            r.a[i * size + k] = column < r.columns ? r.raw[(row * r.columns + column) * size + k] : 0;
    }
}

#endif
