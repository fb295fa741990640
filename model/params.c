/* params.c -- names of RoPE types, and parameter counts from shapes. Parsing either form is elsewhere
 * (family_*.c, params_gguf.c). */
#include "model/params.h"
#include "core/memory.h"
#include <string.h>

static const struct {
    const char *name;
    RopeType type;
} rope_types[] = {
    {"default", ROPE_DEFAULT},   {"linear", ROPE_LINEAR}, {"dynamic", ROPE_DYNAMIC}, {"yarn", ROPE_YARN},
    {"longrope", ROPE_LONGROPE}, {"llama3", ROPE_LLAMA3}, {"su", ROPE_LONGROPE}, /* Phi-3's old name of
                                                                                    longrope */
};

const char *rope_type_name(RopeType type) {
    for (size_t i = 0; i < sizeof rope_types / sizeof rope_types[0]; i++)
        if (rope_types[i].type == type) return rope_types[i].name;
    return "unknown";
}

RopeType rope_type_by_name(const char *name) {
    for (size_t i = 0; name && i < sizeof rope_types / sizeof rope_types[0]; i++)
        if (!strcmp(rope_types[i].name, name)) return rope_types[i].type;
    return ROPE_UNKNOWN;
}

/* Counts come from files, so they may be absurd: sums and products stop at the largest value instead of
 * wrapping. */
static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return u64_mul(&product, a, b) ? product : UINT64_MAX;
}

static uint64_t plus(uint64_t a, uint64_t b) {
    uint64_t sum;
    return u64_add(&sum, a, b) ? sum : UINT64_MAX;
}

/* All parameters when each layer holds `experts` experts. */
static uint64_t count(const ModelParams *p, uint64_t experts) {
    uint64_t d = p->n_embd, h = p->head_dim;
    uint64_t queries = times(p->n_heads, h), keys = times(p->n_kv_heads, h);
    uint64_t attention = plus(times(2 * d, queries), times(2 * d, keys)); /* q and o, k and v */
    uint64_t norms = plus(2 * d, 2 * h); /* two of the layer, q_norm and k_norm */
    uint64_t feed_forward = times(3 * d, p->n_ff);
    if (p->n_experts) {
        uint64_t router = times(p->n_experts, d);
        feed_forward = plus(router, times(experts, times(3 * d, p->n_ff_expert)));
    }
    uint64_t layers = times(p->n_layers, plus(plus(attention, norms), feed_forward));
    uint64_t embeddings = times(times(p->n_vocab, d), p->tied_embeddings ? 1 : 2);
    return plus(plus(layers, embeddings), d);
}

uint64_t params_total(const ModelParams *p) {
    return count(p, p->n_experts);
}

uint64_t params_active(const ModelParams *p) {
    return count(p, p->n_experts_used);
}
