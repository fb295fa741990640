/* mixture_rules.c -- what a preset gives each kind of tensor. A transcript of measurements: llama.cpp's
 * authors found by trial which tensors pay for more bits, and there is no theory to derive it from.
 *
 * Source of the facts: llama.cpp, src/llama-quant.cpp, llama_tensor_get_type_impl. Rules that only presets
 * below Q2_K have are left out with them. */
#include "model/mixture_private.h"

#include <string.h>

/* Mixtral 8x7B: its attention is so small beside its experts that more bits there cost nothing. */
enum { MIXTRAL = 8 };

Role role_of(const char *name) {
    static const struct {
        const char *part;
        Role role;
    } parts[] = {
        /* the first one found counts */
        {"attn_qkv.weight", ROLE_VALUES}, {"attn_kv_b.weight", ROLE_VALUES},
        {"attn_v.weight", ROLE_VALUES},   {"attn_k.weight", ROLE_KEYS},
        {"attn_q.weight", ROLE_OTHER},    {"attn_output.weight", ROLE_ATTENTION_OUTPUT},
        {"ffn_up", ROLE_FFN_IN},          {"ffn_gate", ROLE_FFN_IN},
        {"ffn_down", ROLE_FFN_DOWN},
    };
    if (!strcmp(name, "output.weight")) return ROLE_OUTPUT;
    if (!strcmp(name, "token_embd.weight") || !strcmp(name, "per_layer_token_embd.weight"))
        return ROLE_EMBEDDING;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(name, parts[i].part)) return parts[i].role;
    return ROLE_OTHER;
}

int64_t layer_of(const char *name) {
    int64_t layer = 0;
    if (strncmp(name, "blk.", 4) != 0) return -1;
    const char *digits = name + 4;
    size_t n = strspn(digits, "0123456789");
    if (!n || n > 9) return -1;
    for (size_t i = 0; i < n; i++) layer = layer * 10 + (digits[i] - '0');
    return layer;
}

/* The first and the last eighth of the layers, and every third between. */
static bool more_bits(uint32_t layer, uint32_t layers) {
    return layer < layers / 8 || layer >= 7 * (uint64_t)layers / 8 || (layer - layers / 8) % 3 == 2;
}

static DType output_rule(const RuleState *s, DType type, const Tensor *t) {
    if (s->output_type != DT_NONE) return s->output_type;
    if (s->falcon || t->dims[0] % dtype_info(type)->block) return DT_Q8_0;
    return type == DT_Q8_0 ? type : DT_Q6_K;
}

static DType values_by_preset(const RuleState *s, DType type) {
    uint32_t i = s->i_values;
    bool grouped = s->gqa >= 4; /* few values for many queries: bits are cheap here */
    switch (s->file_type) {
    case FILE_Q2_K: return grouped ? DT_Q4_K : DT_Q3_K;
    case FILE_Q2_K_S: return grouped ? DT_Q4_K : type;
    case FILE_Q3_K_M: return i < 2 ? DT_Q5_K : DT_Q4_K;
    case FILE_Q3_K_L: return DT_Q5_K;
    case FILE_Q4_K_S: return i < 4 ? DT_Q5_K : type;
    case FILE_Q4_K_M:
    case FILE_Q5_K_M: return more_bits(i, s->n_values) ? DT_Q6_K : type;
    case FILE_IQ4_NL:
    case FILE_IQ4_XS: return grouped ? DT_Q5_K : type;
    default: return type;
    }
}

static DType values_rule(const RuleState *s, DType type) {
    type = values_by_preset(s, type);
    if (s->llama_70b && (type == DT_Q3_K || type == DT_Q4_K)) type = DT_Q5_K;
    return s->n_experts == MIXTRAL ? DT_Q8_0 : type;
}

static DType mixtral_attention_output(const RuleState *s, DType type) {
    switch (s->file_type) {
    case FILE_Q2_K:
    case FILE_Q3_K_S:
    case FILE_Q3_K_M:
    case FILE_Q4_K_S:
    case FILE_Q4_K_M:
    case FILE_IQ4_NL:
    case FILE_IQ4_XS: return DT_Q5_K;
    default: return type;
    }
}

static DType attention_output_rule(const RuleState *s, DType type) {
    if (s->falcon) return s->file_type == FILE_Q3_K_L ? DT_Q4_K : type;
    if (s->n_experts == MIXTRAL) return mixtral_attention_output(s, type);
    switch (s->file_type) {
    case FILE_Q2_K: return DT_Q3_K;
    case FILE_Q3_K_M: return DT_Q4_K;
    case FILE_Q3_K_L: return DT_Q5_K;
    default: return type;
    }
}

static DType falcon_ffn_down_rule(const RuleState *s, DType type, uint32_t layer) {
    bool first = layer < s->n_layers / 16, more = more_bits(layer, s->n_layers);
    switch (s->file_type) {
    case FILE_Q3_K_M: return first ? DT_Q5_K : more ? DT_Q4_K : DT_Q3_K;
    case FILE_Q3_K_L: return DT_Q4_K;
    case FILE_Q4_K_S: return type;
    case FILE_Q4_K_M: return first ? DT_Q6_K : more ? DT_Q5_K : DT_Q4_K;
    default: return DT_NONE; /* as any other architecture */
    }
}

static DType ffn_down_rule(const RuleState *s, DType type, uint32_t layer) {
    bool first = layer < s->n_layers / 8;
    DType falcon = s->falcon ? falcon_ffn_down_rule(s, type, layer) : DT_NONE;
    if (falcon != DT_NONE) return falcon;
    switch (s->file_type) {
    case FILE_Q2_K: return DT_Q3_K;
    case FILE_Q2_K_S: return first ? DT_Q4_K : type;
    case FILE_Q3_K_M: return layer < s->n_layers / 16 ? DT_Q5_K : DT_Q4_K;
    case FILE_Q3_K_L: return DT_Q5_K;
    case FILE_Q4_K_S: return first ? DT_Q5_K : type;
    case FILE_Q4_K_M:
    case FILE_Q5_K_M: return more_bits(layer, s->n_layers) ? DT_Q6_K : type;
    case FILE_IQ4_NL:
    case FILE_IQ4_XS: return first && !s->has_imatrix ? DT_Q5_K : type;
    /* With an importance matrix the first layers can go wild in a format without an offset. */
    case FILE_Q4_0: return first && s->has_imatrix ? DT_Q4_1 : type;
    case FILE_Q5_0: return first && s->has_imatrix ? DT_Q5_1 : type;
    default: return type;
    }
}

/* Which layer a feed-forward matrix counts as. With experts, the name says it; a dense model's are numbered
 * as they come, which differs when some were given a type by hand. */
static int ffn_layer(uint32_t *layer, const RuleState *s, const Tensor *t, Error *err) {
    *layer = s->i_ffn_down;
    if (s->n_experts <= 1) return 0;
    int64_t named = layer_of(t->name);
    if (named >= 0 && named < s->n_layers) {
        *layer = (uint32_t)named;
        return 0;
    }
    return error_set(err, ERR_UNSUPPORTED,
                     "tensor %s: its name puts it in none of the model's %u layers (blk.0 and on), so the "
                     "preset has no rule for it; give it a type by its name, or use no mixture (pure)",
                     t->name, s->n_layers);
}

/* GLM-5 keeps these at 8 bits. */
static bool glm5_keeps_q8_0(const char *name) {
    return strstr(name, "attn_q_a") || strstr(name, "attn_q_b") || strstr(name, "nextn.eh_proj");
}

int apply_rules(DType *type, RuleState *s, const Tensor *t, Role role, Error *err) {
    uint32_t layer;
    if (s->glm5_next && glm5_keeps_q8_0(t->name)) {
        *type = DT_Q8_0;
        return 0;
    }
    if (role == ROLE_EMBEDDING && s->tied) role = ROLE_OUTPUT;
    switch (role) {
    case ROLE_OUTPUT: *type = output_rule(s, *type, t); break;
    case ROLE_VALUES:
        *type = values_rule(s, *type);
        s->i_values++;
        break;
    case ROLE_KEYS:
        if (s->n_experts == MIXTRAL) *type = DT_Q8_0;
        break;
    case ROLE_ATTENTION_OUTPUT: *type = attention_output_rule(s, *type); break;
    case ROLE_FFN_IN: TRY(ffn_layer(&layer, s, t, err)); break;
    case ROLE_FFN_DOWN:
        TRY(ffn_layer(&layer, s, t, err));
        *type = ffn_down_rule(s, *type, layer);
        s->i_ffn_down++;
        break;
    case ROLE_EMBEDDING:
    case ROLE_OTHER: break;
    }
    return 0;
}
