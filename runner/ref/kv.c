/* kv.c -- the KV cache of the reference. */
#include "runner/ref/kv.h"
#include "core/blocks.h"
#include "core/floats.h"
#include "runner/ref/kernels.h"
#include "runner/ref/quantized.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool allocate(KvCache *kv, uint64_t bytes) {
    kv->keys = mem_alloc(kv->allocator, (size_t)(bytes / 2));
    kv->values = mem_alloc(kv->allocator, (size_t)(bytes / 2));
    if (kv->keys && kv->values) return true;
    kv_close(kv);
    return false;
}

/* The most positions, fewer than `too_many`, for which memory can be had: by asking, since limits,
 * overcommitting and fragments are not to be computed. No page is touched. */
static uint32_t would_fit(const ModelParams *p, uint64_t too_many, KvType type, const Allocator *allocator) {
    uint64_t fits = 0, bytes;
    if (type == KV_Q8_0 && p->head_dim % 32) return 0;
    while (fits + 1 < too_many) {
        uint64_t n = fits + (too_many - fits) / 2;
        KvCache kv = {.allocator = allocator};
        bool ok = runner_kv_bytes(p, (uint32_t)n, type, &bytes) && bytes <= SIZE_MAX && allocate(&kv, bytes);
        kv_close(&kv);
        *(ok ? &fits : &too_many) = n;
    }
    return (uint32_t)fits;
}

static int no_memory(const KvCache *kv, const ModelParams *p, uint64_t bytes, Error *err) {
    char smaller[80] = "";
    uint32_t fits = would_fit(p, kv->capacity, kv->type, kv->allocator), q8 = 0;
    if (kv->type != KV_Q8_0) q8 = would_fit(p, (uint64_t)kv->capacity + 1, KV_Q8_0, kv->allocator);
    if (q8 > fits) snprintf(smaller, sizeof smaller, ", and of up to %" PRIu32 " with the cache in q8_0", q8);
    return error_set(err, ERR_MEMORY,
                     "no memory for a KV cache of %" PRIu64
                     " bytes (%u positions in %s); a context of up to %" PRIu32 " would fit%s",
                     bytes, kv->capacity, kv_type_name(kv->type), fits, smaller);
}

int kv_open(KvCache *out, const ModelParams *p, uint32_t capacity, KvType type, const Allocator *allocator,
            Error *err) {
    uint64_t bytes;
    *out = (KvCache){.type = type,
                     .n_kv_heads = p->n_kv_heads,
                     .head_dim = p->head_dim,
                     .capacity = capacity,
                     .allocator = allocator};
    if (type == KV_Q8_0 && p->head_dim % 32)
        return error_set(
            err, ERR_UNSUPPORTED,
            "KV in q8_0 has blocks of 32, and heads of %u elements are no multiple of it; take f16 or f32",
            p->head_dim);
    if (!runner_kv_bytes(p, capacity, type, &bytes) || bytes > SIZE_MAX)
        return error_set(err, ERR_LIMIT,
                         "a KV cache of %u positions is too large for this machine's addresses", capacity);
    return allocate(out, bytes) ? 0 : no_memory(out, p, bytes, err);
}

void kv_close(KvCache *kv) {
    mem_free(kv->allocator, kv->keys);
    mem_free(kv->allocator, kv->values);
    kv->keys = kv->values = NULL;
}

/* Bytes of one head at one position. */
static size_t row_bytes(const KvCache *kv) {
    if (kv->type == KV_Q8_0) return kv->head_dim / 32 * sizeof(block_q8_0);
    return kv->head_dim * (kv->type == KV_F16 ? sizeof(uint16_t) : sizeof(float));
}

static size_t place(const KvCache *kv, uint32_t layer, uint32_t head, uint32_t position) {
    return (((size_t)layer * kv->n_kv_heads + head) * kv->capacity + position) * row_bytes(kv);
}

/* Rounded by the scale before it was rounded itself, as Q8_0 has it everywhere. */
static void store_q8_0(block_q8_0 *out, const float *row, size_t n) {
    for (size_t i = 0; i < n; i += 32, out++) {
        ActBlock b;
        quantized_activations(&b, row + i, 32);
        out->d = f16_from_f32(b.d);
        memcpy(out->qs, b.q, 32);
    }
}

static void store(const KvCache *kv, uint8_t *at, const float *row) {
    if (kv->type == KV_F32)
        memcpy(at, row, kv->head_dim * sizeof *row);
    else if (kv->type == KV_Q8_0)
        store_q8_0((block_q8_0 *)at, row, kv->head_dim);
    else
        for (uint32_t i = 0; i < kv->head_dim; i++) ((uint16_t *)at)[i] = f16_from_f32(row[i]);
}

void kv_store(KvCache *kv, uint32_t layer, uint32_t head, uint32_t position, const float *k, const float *v) {
    size_t at = place(kv, layer, head, position);
    store(kv, (uint8_t *)kv->keys + at, k);
    store(kv, (uint8_t *)kv->values + at, v);
}

static void load_q8_0(float *out, const block_q8_0 *b, size_t n) {
    for (size_t i = 0; i < n; i += 32, b++) {
        float d = f32_from_f16(b->d);
        for (size_t k = 0; k < 32; k++) out[i + k] = d * (float)b->qs[k];
    }
}

static const float *load(const KvCache *kv, const void *cache, size_t at, size_t n, float *scratch) {
    const uint8_t *from = (const uint8_t *)cache + at;
    if (kv->type == KV_F32) return (const float *)from;
    if (kv->type == KV_Q8_0)
        load_q8_0(scratch, (const block_q8_0 *)from, n * kv->head_dim);
    else
        kernel_widen(DT_F16, from, scratch, n * kv->head_dim);
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
