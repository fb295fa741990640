/* attention.cuh -- section 6: norm and RoPE of heads, the KV cache, chunks of 256 positions.
 *
 * A thread takes a position: it holds all 32 lanes of the dot product q . K[j], one after the other in the
 * order in which the butterfly adds them (0, 16, 8, 24, 4, ...), so that five sums wait at most and no thread
 * talks to another. Keys are stored for that: within a chunk [piece][position][16 bytes], the elements of a
 * head in the order lane 0, lane 16, lane 8, ...; E elements of each lane. Values are stored
 * [position][head_dim].
 *
 * Query heads of one key-value head, of one token or a few, are rows that read a chunk together. */
#ifndef RECAST_RUNNER_CUDA_ATTENTION_CUH
#define RECAST_RUNNER_CUDA_ATTENTION_CUH

#include "runner/cuda/activations.cuh"

constexpr unsigned CHUNK = 256, ROW_PASS = 8, ATTEND_ROWS = 16;
static_assert(CHUNK == (unsigned)THREADS, "a thread takes a position");

/* One layer's cache. */
struct Cache {
    uint8_t *keys, *values; /* per kv head: chunks * chunk_bytes; capacity * head_dim elements */
    uint16_t *key_scales,
        *value_scales; /* q8_0: [kv head][chunks][head_dim / 32][256]; [kv head][capacity][..] */
    uint32_t capacity; /* a multiple of 256 */
};

struct AttendArgs : Call {
    float *q, *k, *v; /* [tokens][heads][head_dim], as the matrices gave them */
    const float *q_norm, *k_norm;
    const float *cosine, *sine; /* [tokens][head_dim / 2] */
    const uint32_t *first;      /* position of token 0 */
    Cache cache;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t from, count, tile; /* tokens from .. count - 1 ask, `tile` of them together */
    uint32_t split;             /* 1: one token, blockIdx.x is a chunk; 0: all chunks, blockIdx.x is a tile */
    float eps, scale;
    float *out;                      /* [tokens][n_heads][head_dim] */
    float *part_m, *part_l, *part_o; /* split: [n_heads][chunks], and [head_dim] for each */
    uint32_t chunks;                 /* split: of a head in these */
};

template <int KV> __host__ __device__ constexpr int element_bytes() {
    return KV == 0 ? 4 : KV == 1 ? 2 : 1;
}

/* Rows that a thread multiplies with its key at one time: as many as the registers hold. */
__host__ __device__ constexpr int row_pass(int kv) {
    return kv == 0 ? 4 : 8;
}

static inline __host__ __device__ uint32_t key_slots(uint32_t head_dim) {
    return (head_dim + 31) / 32 * 32;
}

static inline __host__ __device__ uint32_t padded_rows(uint32_t rows) {
    return (rows + ROW_PASS - 1) / ROW_PASS * ROW_PASS;
}

/* q, scores, outputs, six numbers a row, and room for a key */
static inline __host__ __device__ uint32_t attend_shared(uint32_t rows, uint32_t head_dim) {
    return (padded_rows(rows) * (key_slots(head_dim) + CHUNK + head_dim + 6) + head_dim) * 4;
}

/* Where element d of a head stands: lanes in the order of the butterfly. */
DEVICE unsigned slot_of(unsigned d, unsigned head_dim) {
    return reversed(d % 32) * ((head_dim + 31) / 32) + d / 32;
}

/* Norm and RoPE of a head, by a warp; put(element, value). */
template <class F>
DEVICE void turn_head(const AttendArgs &a, const float *x, const float *weight, unsigned token, F put) {
    const unsigned h = a.head_dim;
    float mean = dot_lanes(x, x, h) / (float)h, r = 1 / sqrtf(mean + a.eps);
    for (unsigned i = lane_id(); i < h / 2; i += WARP) {
        float su = x[i] * r, sv = x[i + h / 2] * r, u = su * weight[i], v = sv * weight[i + h / 2];
        float c = a.cosine[(size_t)token * (h / 2) + i], s = a.sine[(size_t)token * (h / 2) + i];
        float uc = u * c, vs = v * s, vc = v * c, us = u * s;
        put(i, uc - vs);
        put(i + h / 2, vc + us);
    }
}

/* ---- the cache ---- */

template <int KV> DEVICE void put_element(uint8_t *at, size_t index, float v) {
    if (KV == 0) reinterpret_cast<float *>(at)[index] = v;
    if (KV == 1) reinterpret_cast<uint16_t *>(at)[index] = f16_of_f32(v);
}

template <int KV> DEVICE float get_element(const uint8_t *at, size_t index, float d) {
    if (KV == 0) return reinterpret_cast<const float *>(at)[index];
    if (KV == 1) return f32_of_f16(reinterpret_cast<const uint16_t *>(at)[index]);
    return d * (float)reinterpret_cast<const int8_t *>(at)[index];
}

template <int KV> DEVICE uint8_t *key_chunk(const AttendArgs &a, unsigned kv_head, unsigned chunk) {
    size_t chunks = a.cache.capacity / CHUNK;
    return a.cache.keys + (kv_head * chunks + chunk) * CHUNK * key_slots(a.head_dim) * element_bytes<KV>();
}

/* Slot s of a position of a chunk, in elements. */
template <int KV> DEVICE size_t key_place(unsigned slot, unsigned position) {
    constexpr unsigned V = 16 / element_bytes<KV>();
    return ((size_t)(slot / V) * CHUNK + position % CHUNK) * V + slot % V;
}

/* A token's key and value of one head into the cache, by warps 0 and 1. room: head_dim floats, shared. */
template <int KV> DEVICE void store(const AttendArgs &a, unsigned token, unsigned kv_head, float *room) {
    const unsigned h = a.head_dim, position = *a.first + token, groups = h / 32;
    const size_t at = ((size_t)token * a.n_kv_heads + kv_head) * h;
    const size_t value_row = (size_t)kv_head * a.cache.capacity + position;
    uint8_t *keys = key_chunk<KV>(a, kv_head, position / CHUNK), *values = a.cache.values;
    if (warp_id() == 0) {
        turn_head(a, a.k + at, a.k_norm, token, [&](unsigned d, float v) {
            if (KV == 2)
                room[d] = v;
            else
                put_element<KV>(keys, key_place<KV>(slot_of(d, h), position), v);
        });
        __syncwarp();
    }
    if (warp_id() == 1 && KV != 2)
        for (unsigned d = lane_id(); d < h; d += WARP)
            put_element<KV>(values, value_row * h + d, a.v[at + d]);
    if (KV != 2 || warp_id() > 1) return;
    const float *from = warp_id() ? a.v + at : room;
    const size_t chunk = (size_t)kv_head * (a.cache.capacity / CHUNK) + position / CHUNK;
    for (unsigned g = 0; g < groups; g++) {
        const unsigned d = g * 32 + lane_id();
        float scale;
        int q = quantize_lane(from[d], scale);
        if (warp_id()) {
            values[value_row * h + d] = (uint8_t)q;
            if (lane_id() == 0) a.cache.value_scales[value_row * groups + g] = f16_of_f32(scale);
        } else {
            keys[key_place<KV>(slot_of(d, h), position)] = (uint8_t)q;
            if (lane_id() == 0)
                a.cache.key_scales[(chunk * groups + g) * CHUNK + position % CHUNK] = f16_of_f32(scale);
        }
    }
}

/* All of a batch; a token and a head for each block of threads (two warps). */
template <int KV> __global__ void store_kv(const AttendArgs a) {
    start(a);
    store<KV>(a, blockIdx.x, blockIdx.y, reinterpret_cast<float *>(dynamic_shared));
}

/* ---- scores ---- */

/* V elements of a thread's key. */
template <int KV, int E> DEVICE void load_key(float (&k)[16], const uint4 *piece, const float (&d)[4]) {
    constexpr int V = 16 / element_bytes<KV>();
    const uint4 raw = *piece;
    const uint32_t word[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < V; i++) {
        if (KV == 0) k[i] = strict_f32_of(word[i % 4]);
        if (KV == 1) k[i] = f32_of_f16(i % 2 ? word[i / 2 % 4] >> 16 : word[i / 2 % 4] & 0xFFFF);
        if (KV == 2) k[i] = d[i % (E ? E : 1)] * (float)(int8_t)(word[i / 4] >> i % 4 * 8 & 0xFF);
    }
}

/* Dot products of some rows of q with this thread's position; heads of 32 E elements. */
template <int KV, int E>
DEVICE void dot_rows(float (&s)[row_pass(KV)], const float *q, const uint8_t *keys, const uint16_t *scales) {
    constexpr int V = 16 / element_bytes<KV>(), PIECES = 32 * E / V, LEAVES = V / E, N = row_pass(KV);
    float waiting[N][5], d[4] = {0, 0, 0, 0};
#pragma unroll
    for (int g = 0; KV == 2 && g < E; g++) d[g] = f32_of_f16(scales[g * CHUNK + threadIdx.x]);
#pragma unroll
    for (int p = 0; p < PIECES; p++) {
        float k[16];
        load_key<KV, E>(k, reinterpret_cast<const uint4 *>(keys) + p * CHUNK + threadIdx.x, d);
#pragma unroll
        for (int r = 0; r < N; r++) {
            float inner[5];
#pragma unroll
            for (int leaf = 0; leaf < LEAVES; leaf++) {
                float v = 0;
#pragma unroll
                for (int e = 0; e < E; e++)
                    v = fmaf(q[r * 32 * E + p * V + leaf * E + e], k[leaf * E + e], v);
                v = push<LEAVES>(v, leaf, inner);
                if (leaf == LEAVES - 1) s[r] = push<PIECES>(v, p, waiting[r]);
            }
        }
    }
}

/* The same for any head size, an element at a time. */
template <int KV>
DEVICE void dot_rows_any(float (&s)[row_pass(KV)], unsigned h, const float *q, const uint8_t *keys,
                         const uint16_t *scales) {
    const unsigned per_lane = (h + 31) / 32;
    for (int r = 0; r < row_pass(KV); r++) {
        float waiting[5];
#pragma unroll
        for (int i = 0; i < 32; i++) {
            float v = 0;
            for (unsigned e = 0; e < per_lane && reversed(i) + 32 * e < h; e++) {
                const unsigned slot = i * per_lane + e;
                float d = KV == 2 ? f32_of_f16(scales[e * CHUNK + threadIdx.x]) : 0;
                v = fmaf(q[r * 32 * per_lane + slot],
                         get_element<KV>(keys, key_place<KV>(slot, threadIdx.x), d), v);
            }
            s[r] = push<32>(v, i, waiting);
        }
    }
}

/* ---- the kernel ---- */

struct AttendRoom {             /* of shared memory; R rows, padded to eights */
    float *q;                   /* [R][slots] */
    float *p;                   /* [256][R] */
    float *o;                   /* [R][head_dim] */
    float *m, *l;               /* [R] of all chunks so far */
    float *old_part, *new_part; /* [R] what the state and the chunk are multiplied with */
    int *n;                     /* [R] positions of the chunk that the row sees */
    float *key;                 /* [head_dim] */
};

DEVICE AttendRoom attend_room(const AttendArgs &a, unsigned rows) {
    float *at = reinterpret_cast<float *>(dynamic_shared);
    AttendRoom s;
    s.p = at, at += CHUNK * rows; /* first: it is read in fours */
    s.q = at, at += rows * key_slots(a.head_dim);
    s.o = at, at += rows * a.head_dim;
    s.m = at, s.l = at + rows, s.old_part = at + 2 * rows, s.new_part = at + 3 * rows;
    s.n = reinterpret_cast<int *>(at + 4 * rows);
    s.key = at + 6 * rows;
    return s;
}

/* Maximum, exponentials and sum of a row's scores, and the merge's factors; by a warp, a lane of which holds
 * positions l, l + 32, ... */
DEVICE void soften_row(const AttendRoom &s, unsigned rows, unsigned r, float scale, bool first_chunk) {
    const unsigned n = (unsigned)s.n[r];
    float m = strict_f32_of(0xFF800000), l = 0, v[CHUNK / WARP]; /* from -infinity */
#pragma unroll
    for (unsigned i = 0; i < CHUNK / WARP; i++) {
        const unsigned j = i * WARP + lane_id();
        v[i] = j < n ? s.p[j * rows + r] * scale : strict_f32_of(0xFF800000);
        m = v[i] > m ? v[i] : m;
    }
    m = warp_max(m);
#pragma unroll
    for (unsigned i = 0; i < CHUNK / WARP; i++) {
        const unsigned j = i * WARP + lane_id();
        if (j >= n) continue;
        float e = strict_expf(v[i] - m);
        s.p[j * rows + r] = e;
        l += e;
    }
    l = butterfly(l);
    if (lane_id()) return;
    if (first_chunk) {
        s.m[r] = m, s.l[r] = l;
        return;
    }
    float top = m > s.m[r] ? m : s.m[r], a = strict_expf(s.m[r] - top), b = strict_expf(m - top);
    float kept = s.l[r] * a;
    s.l[r] = fmaf(l, b, kept);
    s.m[r] = top, s.old_part[r] = a, s.new_part[r] = b;
}

/* Four rows and one element of the head: the chunk's output, merged into the state. */
template <int KV>
DEVICE void mix_rows(const AttendArgs &a, const AttendRoom &s, unsigned rows, unsigned r, unsigned d,
                     const uint8_t *values, const uint16_t *scales, bool first_chunk) {
    const unsigned h = a.head_dim;
    int n[4], common = (int)CHUNK, most = 0;
    float o[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        n[i] = s.n[r + i];
        common = n[i] < common ? n[i] : common;
        most = n[i] > most ? n[i] : most;
    }
    if (!most) return;
#pragma unroll 16
    for (int j = 0; j < common; j++) {
        float4 p = *reinterpret_cast<const float4 *>(s.p + j * rows + r);
        float v = get_element<KV>(values, (size_t)j * h + d,
                                  KV == 2 ? f32_of_f16(scales[j * (h / 32) + d / 32]) : 0);
        o[0] = fmaf(p.x, v, o[0]), o[1] = fmaf(p.y, v, o[1]);
        o[2] = fmaf(p.z, v, o[2]), o[3] = fmaf(p.w, v, o[3]);
    }
    for (int j = common; j < most; j++) { /* later tokens see more than earlier ones */
        float v = get_element<KV>(values, (size_t)j * h + d,
                                  KV == 2 ? f32_of_f16(scales[j * (h / 32) + d / 32]) : 0);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (j < n[i]) o[i] = fmaf(s.p[j * rows + r + i], v, o[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float *state = s.o + (r + i) * h + d;
        if (!n[i]) continue;
        if (first_chunk) {
            *state = o[i];
        } else {
            float kept = *state * s.old_part[r + i];
            *state = fmaf(o[i], s.new_part[r + i], kept);
        }
    }
}

template <int KV, int E> __global__ void __launch_bounds__(THREADS, 1) attend(const AttendArgs a) {
    const unsigned h = a.head_dim, group = a.n_heads / a.n_kv_heads, kv_head = blockIdx.y;
    const unsigned rows = padded_rows(group * a.tile), slots = key_slots(h),
                   chunks = a.cache.capacity / CHUNK;
    const AttendRoom s = attend_room(a, rows);
    start(a);
    const unsigned token = a.split ? a.from : a.from + blockIdx.x * a.tile;
    const unsigned tokens = a.count - token < a.tile ? a.count - token : a.tile;
    const unsigned last = *a.first + token + tokens - 1; /* position */
    const unsigned begin = a.split ? blockIdx.x : 0, end = a.split ? blockIdx.x + 1 : last / CHUNK + 1;
    if (begin > last / CHUNK) return;
    if (a.split && begin == last / CHUNK) store<KV>(a, token, kv_head, s.key);
    for (unsigned i = threadIdx.x; i < rows * slots; i += THREADS) s.q[i] = 0;
    __syncthreads();
    for (unsigned r = warp_id(); r < tokens * group; r += WARPS) {
        const unsigned t = token + r / group, head = kv_head * group + r % group;
        turn_head(a, a.q + ((size_t)t * a.n_heads + head) * h, a.q_norm, t,
                  [&](unsigned d, float v) { s.q[r * slots + slot_of(d, h)] = v; });
    }
    for (unsigned c = begin; c < end; c++) {
        const uint8_t *keys = key_chunk<KV>(a, kv_head, c);
        const uint16_t *key_scales = a.cache.key_scales + ((size_t)kv_head * chunks + c) * (h / 32) * CHUNK;
        const size_t value_row = (size_t)kv_head * a.cache.capacity + (size_t)c * CHUNK;
        const size_t value_bytes = (size_t)h * element_bytes<KV>();
        for (size_t i = threadIdx.x * 128; i < CHUNK * value_bytes; i += THREADS * 128)
            fetch_to_l2(a.cache.values + value_row * value_bytes + i); /* while keys are multiplied */
        for (unsigned r = threadIdx.x; r < rows; r += THREADS) {
            int sees = (int)(*a.first + token + r / group) - (int)(c * CHUNK) + 1;
            s.n[r] = r >= tokens * group || sees < 0 ? 0 : sees > (int)CHUNK ? (int)CHUNK : sees;
        }
        __syncthreads();
        for (unsigned r = 0; r < rows; r += row_pass(KV)) {
            float score[row_pass(KV)];
            if (c * CHUNK + threadIdx.x > last) break;
            if constexpr (E)
                dot_rows<KV, E>(score, s.q + r * slots, keys, key_scales);
            else
                dot_rows_any<KV>(score, h, s.q + r * slots, keys, key_scales);
#pragma unroll
            for (int i = 0; i < row_pass(KV); i++) s.p[threadIdx.x * rows + r + i] = score[i];
        }
        __syncthreads();
        for (unsigned r = warp_id(); r < rows; r += WARPS)
            if (s.n[r]) soften_row(s, rows, r, a.scale, c == begin);
        __syncthreads();
        for (unsigned i = threadIdx.x; i < rows / 4 * h; i += THREADS)
            mix_rows<KV>(a, s, rows, i / h * 4, i % h, a.cache.values + value_row * value_bytes,
                         a.cache.value_scales + value_row * (h / 32), c == begin);
        __syncthreads();
    }
    for (unsigned i = threadIdx.x; i < tokens * group * h; i += THREADS) {
        const unsigned r = i / h, d = i % h, head = kv_head * group + r % group;
        if (a.split)
            a.part_o[((size_t)head * a.chunks + begin) * h + d] = s.o[i];
        else
            a.out[((size_t)(token + r / group) * a.n_heads + head) * h + d] = s.o[i] / s.l[r];
        if (a.split && d == 0)
            a.part_m[head * a.chunks + begin] = s.m[r], a.part_l[head * a.chunks + begin] = s.l[r];
    }
}

/* ---- merging the chunks of one token ---- */

/* A head for each block of threads. The maxima are known beforehand, so the factors of 256 chunks are made
 * side by side; only the sums go one after the other. */
__global__ void __launch_bounds__(THREADS) merge_chunks(const AttendArgs a) {
    float *top = reinterpret_cast<float *>(dynamic_shared), *keep = top + CHUNK, *add = keep + CHUNK;
    start(a);
    const unsigned tid = threadIdx.x, head = blockIdx.x, h = a.head_dim, n = *a.first / CHUNK + 1;
    const float *m = a.part_m + (size_t)head * a.chunks, *l = a.part_l + (size_t)head * a.chunks;
    const float *o = a.part_o + (size_t)head * a.chunks * h;
    float so_far = m[0];
    for (unsigned d = tid; n == 1 && d < h; d += THREADS) a.out[(size_t)head * h + d] = o[d] / l[0];
    if (n == 1) return;
    for (unsigned base = 0; base < n; base += CHUNK) {
        const unsigned here = n - base < CHUNK ? n - base : CHUNK;
        float mine = tid < here ? m[base + tid] : m[0], v = mine;
        for (unsigned s = 1; s < CHUNK; s *= 2) { /* the largest up to each chunk */
            top[tid] = v;
            __syncthreads();
            float other = tid >= s ? top[tid - s] : v;
            v = other > v ? other : v;
            __syncthreads();
        }
        v = so_far > v ? so_far : v;
        top[tid] = v;
        __syncthreads();
        float before = tid ? top[tid - 1] : so_far;
        keep[tid] = strict_expf(before - v);
        add[tid] = strict_expf(mine - v);
        so_far = top[CHUNK - 1];
        __syncthreads();
        for (unsigned d = tid; d < h + 1; d += THREADS) { /* h: the sum l, kept behind the outputs */
            float *state = add + CHUNK + d, sum = base ? *state : 0;
            for (unsigned c = 0; c < here; c++) {
                float x = d < h ? o[(size_t)(base + c) * h + d] : l[base + c];
                float kept = sum * keep[c];
                sum = base + c ? fmaf(x, add[c], kept) : x;
            }
            *state = sum;
        }
        __syncthreads();
    }
    for (unsigned d = tid; d < h; d += THREADS) a.out[(size_t)head * h + d] = add[CHUNK + d] / add[CHUNK + h];
}

#endif
