/* weights.cuh -- matrices as the device keeps them, and what a lane reads of them.
 *
 * A file's blocks have 18 to 210 bytes, so their fields lie at odd addresses. When a matrix is loaded they
 * are sorted into planes, each over the whole matrix, in which a block of 32 weights has aligned fields:
 *
 *   plane a, low bits:  8 bits: 32 bytes
 *                       4 bits: 16 bytes, byte i has elements i and 16 + i
 *                       2 bits: 2 words, word h, byte b, bits 2i and 2i + 1: element 16h + 4i + b
 *   plane b, high bits: 1 bit: a word, bit 8b + i: element 4i + b
 *                       2 bits: as above
 *   plane s:            scales within a super-block, unpacked: 1 or 2 bytes
 *   plane d:            float16 d, or d and m, of a block or of a super-block of eight
 *
 * So `>> i & 0x01010101` gives four consecutive elements in the bytes of a word, as dp4a and mma want them. A
 * row takes its bytes in the file, but for Q3_K (+3.6 %), Q4_K (2.8), Q5_K (2.3) and IQ4_XS (1.5), whose
 * scales are packed there.
 *
 * Float weights stand in groups of 32 * V, V = 16 / their size: lane l's V elements l, l + 32, ... are side
 * by side. */
#ifndef RECAST_RUNNER_CUDA_WEIGHTS_CUH
#define RECAST_RUNNER_CUDA_WEIGHTS_CUH

#include "core/dtype.h"
#include "runner/cuda/gpu.cuh"

enum { NO_MIN, SUBTRACTED, ADDED };

struct Layout {
    int low, high; /* bits of planes a and b */
    int sub;       /* bytes of plane s for each block of 32 */
    int super;     /* blocks that share a d: 1 or 8 */
    int min;
    int bias;   /* what is subtracted from the stored integer */
    int raw;    /* bytes in a file of a block or super-block */
    bool table; /* IQ4: the integer is an index */
};

__host__ __device__ constexpr Layout layout_of(int type) {
    switch (type) {
    case DT_Q4_0: return {4, 0, 0, 1, NO_MIN, 8, 18, false};
    case DT_Q4_1: return {4, 0, 0, 1, ADDED, 0, 20, false};
    case DT_Q5_0: return {4, 1, 0, 1, NO_MIN, 16, 22, false};
    case DT_Q5_1: return {4, 1, 0, 1, ADDED, 0, 24, false};
    case DT_Q8_0: return {8, 0, 0, 1, NO_MIN, 0, 34, false};
    case DT_Q2_K: return {2, 0, 2, 8, SUBTRACTED, 0, 84, false};
    case DT_Q3_K: return {2, 1, 2, 8, NO_MIN, 4, 110, false};
    case DT_Q4_K: return {4, 0, 2, 8, SUBTRACTED, 0, 144, false};
    case DT_Q5_K: return {4, 1, 2, 8, SUBTRACTED, 0, 176, false};
    case DT_Q6_K: return {4, 2, 2, 8, NO_MIN, 32, 210, false};
    case DT_IQ4_NL: return {4, 0, 0, 1, NO_MIN, 0, 18, true};
    case DT_IQ4_XS: return {4, 0, 1, 8, NO_MIN, 0, 136, true};
    default: return {0, 0, 0, 0, 0, 0, 0, false}; /* no quantized type */
    }
}

/* A kernel's idea of any quantized type whose weights meet float32 activations. */
enum { WIDENED = -1 };

__host__ __device__ constexpr bool is_float(int type) {
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

__host__ __device__ constexpr unsigned float_bytes(int type) {
    return type == DT_F32 ? 4 : 2;
}

/* [rows][columns], for experts [n][rows][columns]. */
struct Matrix {
    const uint8_t *a, *b, *s, *d;
    uint32_t rows, columns;
    int type;
};

/* Sizes of planes a, b, s, d of `rows` rows. */
static inline void plane_sizes(int type, uint64_t rows, uint64_t columns, uint64_t bytes[4]) {
    const Layout l = layout_of(type);
    const uint64_t group = 32 * 16 / float_bytes(type), blocks = rows * (columns / 32);
    bytes[0] = is_float(type) ? rows * ((columns + group - 1) / group) * 512 : blocks * l.low * 4;
    bytes[1] = blocks * l.high * 4;
    bytes[2] = blocks * l.sub;
    bytes[3] = l.super ? blocks / l.super * (l.min ? 4 : 2) : 0;
}

/* ---- a block of 32 quantized weights ---- */

struct Block {
    uint32_t w[8]; /* 32 integers, bias not yet taken off */
    int scale[2], min[2];
    float d, m;
};

/* Four entries of IQ4's table -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113. */
DEVICE uint32_t iq4_lookup(uint32_t index) {
    uint32_t s = index & 0x07070707;
    s = __byte_perm(s | s >> 4, 0, 0x4420);
    uint32_t low = __byte_perm(0xBFAD9881, 0xF6EADDCF, s), high = __byte_perm(0x26190D01, 0x71594535, s);
    uint32_t take = (index >> 3 & 0x01010101) * 0xFF;
    return (low & ~take) | (high & take);
}

template <class V> DEVICE V read_as(const uint8_t *plane, size_t index) {
    return __ldg(reinterpret_cast<const V *>(plane) + index);
}

/* A block as it stands in the planes: kept like this while other work hides its way from memory. */
struct RawWords {
    uint4 low[2];
    uint2 high;
    uint32_t s, d;
};

template <int TYPE> DEVICE RawWords load_raw(const Matrix &m, size_t block) {
    constexpr Layout L = layout_of(TYPE);
    RawWords r = {};
    if (L.low == 2) {
        uint2 q = read_as<uint2>(m.a, block);
        r.low[0].x = q.x, r.low[0].y = q.y;
    } else {
        r.low[0] = read_as<uint4>(m.a, L.low == 8 ? 2 * block : block);
    }
    if (L.low == 8) r.low[1] = read_as<uint4>(m.a, 2 * block + 1);
    if (L.high == 1) r.high.x = read_as<uint32_t>(m.b, block);
    if (L.high == 2) r.high = read_as<uint2>(m.b, block);
    if (L.sub == 1) r.s = read_as<uint8_t>(m.s, block);
    if (L.sub == 2) r.s = read_as<uint16_t>(m.s, block);
    r.d = L.min ? read_as<uint32_t>(m.d, block / L.super) : read_as<uint16_t>(m.d, block / L.super);
    return r;
}

template <int TYPE> DEVICE void unpack_scales(Block &out, const RawWords &r) {
    constexpr Layout L = layout_of(TYPE);
    const uint32_t s0 = r.s & 0xFF, s1 = r.s >> 8;
    out.d = f32_of_f16(r.d & 0xFFFF);
    out.m = L.min ? f32_of_f16(r.d >> 16) : 0;
    out.scale[0] = out.scale[1] = out.min[0] = out.min[1] = 1;
    if (L.sub == 1) out.scale[0] = out.scale[1] = (int8_t)s0;
    if (L.sub < 2) return;
    if (TYPE == DT_Q2_K) {
        out.scale[0] = s0 & 15, out.scale[1] = s1 & 15;
        out.min[0] = s0 >> 4, out.min[1] = s1 >> 4;
    } else if (L.min) {
        out.scale[0] = out.scale[1] = s0;
        out.min[0] = out.min[1] = s1;
    } else {
        out.scale[0] = (int8_t)s0, out.scale[1] = (int8_t)s1;
    }
}

template <int TYPE> DEVICE void unpack_integers(uint32_t (&w)[8], const RawWords &r) {
    constexpr Layout L = layout_of(TYPE);
    const uint32_t low[8] = {r.low[0].x, r.low[0].y, r.low[0].z, r.low[0].w,
                             r.low[1].x, r.low[1].y, r.low[1].z, r.low[1].w};
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (L.low == 8) w[i] = low[i];
        if (L.low == 4) w[i] = low[i % 4] >> i / 4 * 4 & 0x0F0F0F0F;
        if (L.low == 2) w[i] = low[i / 4] >> i % 4 * 2 & 0x03030303;
        if (L.high == 1) w[i] |= (r.high.x >> i & 0x01010101) << L.low;
        if (L.high == 2) w[i] |= ((i < 4 ? r.high.x : r.high.y) >> i % 4 * 2 & 0x03030303) << L.low;
        if (L.table) w[i] = iq4_lookup(w[i]);
    }
}

template <int TYPE> DEVICE void unpack(Block &out, const RawWords &r) {
    unpack_integers<TYPE>(out.w, r);
    unpack_scales<TYPE>(out, r);
}

template <int TYPE> DEVICE void load_block(Block &out, const Matrix &m, size_t block) {
    unpack<TYPE>(out, load_raw<TYPE>(m, block));
}

/* 32 activations of section 11, as integers in words. */
struct Acts {
    uint4 low, high; /* elements 0..15 and 16..31 */
    float d;
    int sum0, sum1;
};

/* Adds a block to a lane of section 11's row: one exact integer, one fma; another for the minimum. */
template <int TYPE> DEVICE void add_block(float &acc, float &min, const Block &w, const Acts &x) {
    constexpr Layout L = layout_of(TYPE);
    int s0 = -L.bias * x.sum0, s1 = -L.bias * x.sum1;
    s0 = __dp4a((int)w.w[0], (int)x.low.x, s0), s1 = __dp4a((int)w.w[4], (int)x.high.x, s1);
    s0 = __dp4a((int)w.w[1], (int)x.low.y, s0), s1 = __dp4a((int)w.w[5], (int)x.high.y, s1);
    s0 = __dp4a((int)w.w[2], (int)x.low.z, s0), s1 = __dp4a((int)w.w[6], (int)x.high.z, s1);
    s0 = __dp4a((int)w.w[3], (int)x.low.w, s0), s1 = __dp4a((int)w.w[7], (int)x.high.w, s1);
    int value = L.sub ? w.scale[0] * s0 + w.scale[1] * s1 : s0 + s1;
    float scale = w.d * x.d;
    acc = fmaf(scale, (float)value, acc);
    if (L.min) {
        float m = w.m * x.d;
        min = fmaf(m, (float)(w.min[0] * x.sum0 + w.min[1] * x.sum1), min);
    }
}

/* ---- single weights as float32 ---- */

template <int TYPE> DEVICE float weight_of(const Matrix &m, size_t block, unsigned e) {
    constexpr Layout L = layout_of(TYPE);
    Block b;
    load_block<TYPE>(b, m, block);
    uint32_t word = 0; /* no indexing by a variable: it would put w into local memory */
#pragma unroll
    for (unsigned i = 0; i < 8; i++) word = i == e / 4 ? b.w[i] : word;
    int c = (int)(word >> e % 4 * 8 & 0xFF), half = (int)e / 16;
    if (L.table || L.low == 8) c = (int8_t)c;
    float scale = b.d * (float)(half ? b.scale[1] : b.scale[0]), v = scale * (float)(c - L.bias);
    if (L.min == SUBTRACTED) {
        float less = b.m * (float)(half ? b.min[1] : b.min[0]);
        v = v - less;
    }
    return L.min == ADDED ? v + b.m : v;
}

#define FOR_QUANTIZED(X) \
    X(DT_Q4_0)           \
    X(DT_Q4_1)           \
    X(DT_Q5_0)           \
    X(DT_Q5_1) X(DT_Q8_0) X(DT_Q2_K) X(DT_Q3_K) X(DT_Q4_K) X(DT_Q5_K) X(DT_Q6_K) X(DT_IQ4_NL) X(DT_IQ4_XS)

/* Element e of a block of any quantized type. */
DEVICE float widened(const Matrix &m, size_t block, unsigned e) {
    switch (m.type) {
#define CASE(type) \
    case type: return weight_of<type>(m, block, e);
        FOR_QUANTIZED(CASE)
#undef CASE
    }
    return 0;
}

/* Float weights: what a lane holds of 32 * V elements. */
template <int TYPE> struct Floats {
    static constexpr int V = TYPE == WIDENED ? 1 : 16 / float_bytes(TYPE);
    uint4 raw;
    float wide;

    static __device__ unsigned groups(const Matrix &m) { return (m.columns + 32 * V - 1) / (32 * V); }
};

template <int TYPE> DEVICE void load_floats(Floats<TYPE> &out, const Matrix &m, size_t row, unsigned group) {
    if (TYPE == WIDENED)
        out.wide = widened(m, row * (m.columns / 32) + group, lane_id());
    else
        out.raw = read_as<uint4>(m.a, (row * Floats<TYPE>::groups(m) + group) * WARP + lane_id());
}

template <int TYPE> DEVICE float float_at(const Floats<TYPE> &f, int k) {
    if (TYPE == WIDENED) return f.wide;
    const int word = TYPE == DT_F32 ? k : k / 2;
    uint32_t bits = word == 0 ? f.raw.x : word == 1 ? f.raw.y : word == 2 ? f.raw.z : f.raw.w;
    if (TYPE == DT_F32) return strict_f32_of(bits);
    if (TYPE == DT_BF16) return strict_f32_of(k % 2 ? bits & 0xFFFF0000 : bits << 16);
    return f32_of_f16(k % 2 ? bits >> 16 : bits & 0xFFFF);
}

#endif
