/* route.cuh -- which experts a token goes to, section 7, and the lists that a batch is sorted by. */
#ifndef RECAST_RUNNER_CUDA_ROUTE_CUH
#define RECAST_RUNNER_CUDA_ROUTE_CUH

#include "runner/cuda/cuda_runner.h"
#include "runner/cuda/gpu.cuh"

struct Routing {
    const float *logits; /* [tokens][n_experts] */
    uint32_t n_experts, used, renormalise;
    uint32_t *chosen; /* [tokens][used], ascending */
    float *weights;   /* [tokens][used] */
};

struct RouteArgs : Call {
    Routing routing;
};

/* Some entries (token, expert) of one expert that go through its matrices together. */
struct Tile {
    uint32_t expert, first, count;
};

static inline __host__ __device__ uint32_t route_shared(uint32_t n_experts, uint32_t used) {
    return (2 * n_experts + 2 * used) * 4;
}

/* How many experts go before expert e: a larger probability, or the same and a lower index. A NaN goes last.
 */
DEVICE unsigned rank_of(const float *probability, unsigned n, unsigned e) {
    float mine = probability[e] == probability[e] ? probability[e] : -1;
    unsigned rank = 0;
    for (unsigned i = 0; i < n; i++) {
        float other = probability[i] == probability[i] ? probability[i] : -1;
        rank += other > mine || (other == mine && i < e);
    }
    return rank;
}

/* One token's experts and weights, into shared memory behind the two tables of n_experts; by a whole block of
 * threads. Returns the list of experts; weights follow it. */
DEVICE const uint32_t *route(const Routing &r, const float *logits, float *shared) {
    const unsigned n = r.n_experts, tid = threadIdx.x;
    float *p = shared;
    uint32_t *taken = reinterpret_cast<uint32_t *>(p + n), *chosen = taken + n;
    float *weight = reinterpret_cast<float *>(chosen + r.used);
    float m = logits[0];
    for (unsigned i = lane_id(); i < n; i += WARP) m = logits[i] > m ? logits[i] : m;
    m = warp_max(m);
    for (unsigned i = tid; i < n; i += blockDim.x) p[i] = strict_expf(logits[i] - m);
    __syncthreads();
    float total = sum_lanes(p, n);
    __syncthreads();
    for (unsigned i = tid; i < n; i += blockDim.x) p[i] = p[i] / total;
    __syncthreads();
    for (unsigned i = tid; i < n; i += blockDim.x) taken[i] = rank_of(p, n, i) < r.used;
    __syncthreads();
    if (warp_id() == 0) {
        unsigned before = 0;
        for (unsigned i = lane_id(); i - lane_id() < n; i += WARP) {
            bool mine = i < n && taken[i];
            unsigned all = __ballot_sync(FULL, mine), at = before + __popc(all & ((1u << lane_id()) - 1));
            if (mine) chosen[at] = i, weight[at] = p[i];
            before += __popc(all);
        }
        __syncwarp();
        float sum = r.renormalise ? sum_lanes(weight, r.used) : 1;
        __syncwarp();
        for (unsigned t = lane_id(); t < r.used; t += WARP) weight[t] = weight[t] / sum;
    }
    __syncthreads();
    return chosen;
}

/* A token for each block of threads. */
__global__ void route_tokens(RouteArgs a) {
    const Routing &r = a.routing;
    start(a);
    const size_t token = blockIdx.x;
    const uint32_t *chosen =
        route(r, r.logits + token * r.n_experts, reinterpret_cast<float *>(dynamic_shared));
    const float *weight = reinterpret_cast<const float *>(chosen + r.used);
    for (unsigned t = threadIdx.x; t < r.used; t += blockDim.x) {
        r.chosen[token * r.used + t] = chosen[t];
        r.weights[token * r.used + t] = weight[t];
    }
}

struct GroupArgs : Call {
    const uint32_t *chosen; /* [entries] expert of each entry, by token */
    uint32_t entries, used, n_experts, tile;
    uint32_t *place; /* [entries] where each goes: by expert, then token */
    uint32_t *token; /* [entries] token at each place */
    Tile *tiles;     /* at most entries / tile + n_experts */
    uint32_t *n_tiles;
};

/* A warp's experts, one after the other: counts their entries, and with `begin` puts each where it belongs.
 */
DEVICE void walk_entries(const GroupArgs &g, uint32_t *count, const uint32_t *begin) {
    for (unsigned e = warp_id(); e < g.n_experts; e += blockDim.x / WARP) {
        unsigned n = begin ? begin[e] : 0;
        for (unsigned i = lane_id(); i - lane_id() < g.entries; i += WARP) {
            bool mine = i < g.entries && g.chosen[i] == e;
            unsigned all = __ballot_sync(FULL, mine), at = n + __popc(all & ((1u << lane_id()) - 1));
            if (mine && begin) g.place[i] = at, g.token[at] = i / g.used;
            n += __popc(all);
        }
        if (!begin && lane_id() == 0) count[e] = n;
    }
}

/* Sorts a batch's entries by expert; one block of threads. */
__global__ void group_entries(GroupArgs g) {
    uint32_t *count = reinterpret_cast<uint32_t *>(dynamic_shared), *begin = count + g.n_experts;
    uint32_t *first_tile = begin + g.n_experts;
    start(g);
    walk_entries(g, count, nullptr);
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t entries = 0, tiles = 0;
        for (unsigned e = 0; e < g.n_experts; e++) {
            begin[e] = entries, first_tile[e] = tiles;
            entries += count[e], tiles += (count[e] + g.tile - 1) / g.tile;
        }
        *g.n_tiles = tiles;
    }
    __syncthreads();
    walk_entries(g, count, begin);
    for (unsigned e = threadIdx.x; e < g.n_experts; e += blockDim.x)
        for (unsigned i = 0; i < count[e]; i += g.tile) {
            uint32_t n = count[e] - i < g.tile ? count[e] - i : g.tile;
            g.tiles[first_tile[e] + i / g.tile] = {e, begin[e] + i, n};
        }
}

/* ---- the next token ---- */

struct BestArgs : Call {
    const float *logits;
    uint32_t n;
    CudaBest *best;
};

struct Leader {
    float top, second;
    uint32_t at, bad;
};

DEVICE void merge(Leader &a, const Leader &b) {
    const bool b_leads = b.top > a.top || (b.top == a.top && b.at < a.at);
    const float top = b_leads ? b.top : a.top, beaten = b_leads ? a.top : b.top;
    float second = a.second > b.second ? a.second : b.second;
    a = {top, beaten > second ? beaten : second, b_leads ? b.at : a.at, a.bad < b.bad ? a.bad : b.bad};
}

/* One block of threads. */
__global__ void find_best(BestArgs a) {
    Leader *all = reinterpret_cast<Leader *>(dynamic_shared);
    Leader mine = {strict_f32_of(0xFF800000), strict_f32_of(0xFF800000), UINT32_MAX, UINT32_MAX};
    start(a);
    for (unsigned first = threadIdx.x; first < a.n; first += blockDim.x * 8) {
        float v[8]; /* loads go ahead */
#pragma unroll
        for (unsigned u = 0; u < 8; u++)
            v[u] =
                first + u * blockDim.x < a.n ? a.logits[first + u * blockDim.x] : strict_f32_of(0xFF800000);
#pragma unroll
        for (unsigned u = 0; u < 8; u++) {
            const unsigned i = first + u * blockDim.x;
            if (i < a.n) merge(mine, {v[u], strict_f32_of(0xFF800000), i, is_finite(v[u]) ? UINT32_MAX : i});
        }
    }
    all[threadIdx.x] = mine;
    for (unsigned s = blockDim.x / 2; s; s /= 2) {
        __syncthreads();
        if (threadIdx.x < s) merge(all[threadIdx.x], all[threadIdx.x + s]);
    }
    if (threadIdx.x == 0) *a.best = {all[0].at, all[0].top - all[0].second, all[0].bad};
}

/* ---- the experts' outputs ---- */

struct CombineArgs : Call {
    const float *down; /* [entries][n_embd], by place */
    const uint32_t *place;
    const float *weights;
    uint32_t used, n_embd;
    float *x; /* [tokens][n_embd] */
    int *bad; /* the lowest token with a value that is no finite number */
};

/* x += the experts' outputs in the order of their index; a token for each block of threads. */
__global__ void combine(CombineArgs c) {
    start(c);
    const size_t token = blockIdx.x;
    for (unsigned i = threadIdx.x; i < c.n_embd; i += blockDim.x) {
        float sum = 0;
        for (unsigned t = 0; t < c.used; t++) {
            size_t entry = token * c.used + t;
            sum = fmaf(c.weights[entry], c.down[(size_t)c.place[entry] * c.n_embd + i], sum);
        }
        float v = c.x[token * c.n_embd + i] + sum;
        c.x[token * c.n_embd + i] = v;
        if (!is_finite(v)) atomicMin(c.bad, (int)token);
    }
}

#endif
