/* kv.h -- keys and values of every position so far.
 *
 * Float32, float16 rounded once when stored, or Q8_0 (docs/arithmetic.md, section 6). Memory is asked for at
 * once but a system that commits lazily gives pages only as positions are filled. */
#ifndef RECAST_RUNNER_REF_KV_H
#define RECAST_RUNNER_REF_KV_H

#include "core/memory.h"
#include "runner/runner.h"

typedef struct KvCache {
    KvType type;
    uint32_t n_kv_heads, head_dim;
    uint32_t capacity;   /* positions */
    void *keys, *values; /* [layer][kv_head][capacity][head_dim] */
    const Allocator *allocator;
} KvCache;

int kv_open(KvCache *out, const ModelParams *p, uint32_t capacity, KvType type, const Allocator *allocator,
            Error *err) MUST_CHECK;
void kv_close(KvCache *kv);
/* k and v: head_dim floats. */
void kv_store(KvCache *kv, uint32_t layer, uint32_t head, uint32_t position, const float *k, const float *v);
/* n positions from `first` on as float32 [n][head_dim]: a pointer into the cache, or widened into scratch. */
const float *kv_keys(const KvCache *kv, uint32_t layer, uint32_t head, uint32_t first, size_t n,
                     float *scratch);
const float *kv_values(const KvCache *kv, uint32_t layer, uint32_t head, uint32_t first, size_t n,
                       float *scratch);

#endif
