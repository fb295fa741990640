/* kv.c -- the KV cache of the reference. */
#include "runner/ref/kv.h"
#include "core/floats.h"
#include "runner/ref/kernels.h"
#include <inttypes.h>
#include <string.h>

int kv_open(KvCache *out, const ModelParams *p, uint32_t capacity, KvType type, const Allocator *allocator,
            Error *err) {
    uint64_t bytes;
    *out = (KvCache){.type = type,
                     .n_kv_heads = p->n_kv_heads,
                     .head_dim = p->head_dim,
                     .capacity = capacity,
                     .allocator = allocator};
    if (!runner_kv_bytes(p, capacity, type, &bytes) || bytes > SIZE_MAX)
        return error_set(err, ERR_LIMIT,
                         "a KV cache of %u positions is too large for this machine's addresses", capacity);
    out->keys = mem_alloc(allocator, (size_t)(bytes / 2));
    out->values = mem_alloc(allocator, (size_t)(bytes / 2));
    if (out->keys && out->values) return 0;
    kv_close(out);
    return error_set(err, ERR_MEMORY,
                     "no memory for a KV cache of %" PRIu64
                     " bytes (%u positions); ask for a smaller context%s",
                     bytes, capacity, type == KV_F32 ? " or for KV in f16" : "");
}

void kv_close(KvCache *kv) {
    mem_free(kv->allocator, kv->keys);
    mem_free(kv->allocator, kv->values);
    kv->keys = kv->values = NULL;
}

/* Index of an element. */
static size_t place(const KvCache *kv, uint32_t layer, uint32_t head, uint32_t position) {
    return (((size_t)layer * kv->n_kv_heads + head) * kv->capacity + position) * kv->head_dim;
}

static void store(const KvCache *kv, void *cache, size_t at, const float *row) {
    if (kv->type == KV_F32) {
        memcpy((float *)cache + at, row, kv->head_dim * sizeof *row);
        return;
    }
    for (uint32_t i = 0; i < kv->head_dim; i++) ((uint16_t *)cache)[at + i] = f16_from_f32(row[i]);
}

void kv_store(KvCache *kv, uint32_t layer, uint32_t head, uint32_t position, const float *k, const float *v) {
    size_t at = place(kv, layer, head, position);
    store(kv, kv->keys, at, k);
    store(kv, kv->values, at, v);
}

static const float *load(const KvCache *kv, const void *cache, size_t at, size_t n, float *scratch) {
    if (kv->type == KV_F32) return (const float *)cache + at;
    kernel_widen(DT_F16, (const uint16_t *)cache + at, scratch, n * kv->head_dim);
    return scratch;
}

const float *kv_keys(const KvCache *kv, uint32_t layer, uint32_t head, uint32_t first, size_t n,
                     float *scratch) {
    return load(kv, kv->keys, place(kv, layer, head, first), n, scratch);
}

const float *kv_values(const KvCache *kv, uint32_t layer, uint32_t head, uint32_t first, size_t n,
                       float *scratch) {
    return load(kv, kv->values, place(kv, layer, head, first), n, scratch);
}
