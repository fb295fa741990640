/* family_qwen3moe.c -- Qwen3-MoE: Qwen3-30B-A3B, 235B-A22B, Coder and their derivatives.
 *
 * Every layer is a mixture of experts; attention has a norm over each head of q and k before RoPE, no biases,
 * no window. Names and shapes: transformers' modeling_qwen3_moe and llama.cpp's tensor table. */
#include "model/config_keys.h"
#include "model/family.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- parameters ---- */

static int expect_bool(const cJSON *config, const char *key, bool wanted, bool absent, const char *why,
                       Error *err) {
    bool value = absent;
    TRY(config_bool(&value, config, "config.json: ", key, err));
    if (value == wanted) return 0;
    return error_set(err, ERR_UNSUPPORTED, "config.json: %s is %s, which is not offered for qwen3moe: %s",
                     key, value ? "true" : "false", why);
}

/* What the class can do but no release does, and the code that reads these weights doesn't either. */
static int refuse_variants(const cJSON *config, Error *err) {
    TRY(expect_bool(config, "attention_bias", false, false, "its tensors have no place in the GGUF form",
                    err));
    TRY(expect_bool(config, "use_sliding_window", false, false, "attention is over the whole context", err));
    const cJSON *dense = json_present(config, "mlp_only_layers");
    if (dense && (!cJSON_IsArray(dense) || cJSON_GetArraySize(dense) != 0))
        return error_set(
            err, ERR_UNSUPPORTED,
            "config.json: mlp_only_layers is not empty; dense layers among the expert ones are not offered");
    const cJSON *step = json_present(config, "decoder_sparse_step");
    if (step && !(cJSON_IsNumber(step) && step->valuedouble == 1))
        return error_set(
            err, ERR_UNSUPPORTED,
            "config.json: decoder_sparse_step is not 1; dense layers among the expert ones are not offered");
    if (json_present(config, "quantization_config"))
        return error_set(err, ERR_UNSUPPORTED,
                         "config.json: quantization_config is present; give the unquantized checkpoint "
                         "(bf16, f16 or f32)");
    const cJSON *act = json_present(config, "hidden_act");
    if (act && !(cJSON_IsString(act) && !strcmp(act->valuestring, "silu")))
        return error_set(err, ERR_UNSUPPORTED, "config.json: hidden_act is not \"silu\"");
    return 0;
}

static int in_range(const char *name, uint32_t value, uint32_t most, Error *err) {
    if (value >= 1 && value <= most) return 0;
    if (!value) return error_set(err, ERR_FORMAT, "%s is missing, not a single number, or 0", name);
    return error_set(err, ERR_LIMIT, "%s is %u, at most %u is offered", name, value, most);
}

/* What a GGUF may say without anybody having looked at it yet. */
static int check_rope(const RopeParams *rope, Error *err) {
    if (rope->type != ROPE_DEFAULT && !(rope->factor >= 0 && isfinite(rope->factor)))
        return error_set(err, ERR_FORMAT,
                         "the RoPE factor (rope.scaling.factor) is not a finite number above 0");
    if (rope->type == ROPE_YARN && !rope->original_context)
        return error_set(err, ERR_FORMAT,
                         "YaRN's original context (rope.scaling.original_context_length) is 0");
    if (rope->has_attention_factor && !(rope->attention_factor > 0 && isfinite(rope->attention_factor)))
        return error_set(err, ERR_FORMAT,
                         "the attention factor (rope.scaling.attn_factor) is not a finite number above 0");
    return 0;
}

/* The limits keep every product of shapes within 64 bits; those of layers and experts are llama.cpp's own. */
static int check_params(const ModelParams *p, Error *err) {
    TRY(in_range("num_hidden_layers (block_count)", p->n_layers, 512, err));
    TRY(in_range("hidden_size (embedding_length)", p->n_embd, 1u << 20, err));
    TRY(in_range("intermediate_size (feed_forward_length)", p->n_ff, 1u << 24, err));
    TRY(in_range("num_attention_heads (attention.head_count)", p->n_heads, 1u << 14, err));
    TRY(in_range("num_key_value_heads (attention.head_count_kv)", p->n_kv_heads, 1u << 14, err));
    TRY(in_range("head_dim (attention.key_length)", p->head_dim, 1u << 14, err));
    TRY(in_range("num_experts (expert_count)", p->n_experts, 1024, err));
    TRY(in_range("num_experts_per_tok (expert_used_count)", p->n_experts_used, UINT32_MAX, err));
    TRY(in_range("moe_intermediate_size (expert_feed_forward_length)", p->n_ff_expert, 1u << 24, err));
    TRY(in_range("vocab_size (number of tokens)", p->n_vocab, 1u << 28, err));
    TRY(in_range("max_position_embeddings (context_length)", p->context, UINT32_MAX, err));
    if (p->n_experts_used > p->n_experts)
        return error_set(err, ERR_FORMAT, "num_experts_per_tok (expert_used_count): %u of %u experts",
                         p->n_experts_used, p->n_experts);
    if (p->n_heads % p->n_kv_heads)
        return error_set(err, ERR_FORMAT, "%u query heads can't share %u key-value heads evenly", p->n_heads,
                         p->n_kv_heads);
    if (p->head_dim % 2)
        return error_set(err, ERR_FORMAT, "head_dim is %u; RoPE needs an even number", p->head_dim);
    if (!(p->rms_eps >= 0 && isfinite(p->rms_eps)))
        return error_set(err, ERR_FORMAT,
                         "rms_norm_eps (attention.layer_norm_rms_epsilon) is not a finite number >= 0");
    if (!(p->rope.theta > 0 && isfinite(p->rope.theta)))
        return error_set(err, ERR_FORMAT, "rope_theta (rope.freq_base) is not a finite number above 0");
    return check_rope(&p->rope, err);
}

/* head_dim is its own key (32 heads of 128 in an embedding of 2048); only a config without it means the
 * quotient. */
static int read_head_dim(ModelParams *out, const cJSON *config, Error *err) {
    TRY(config_count(&out->head_dim, config, "config.json: ", "head_dim", NULL, false, err));
    if (out->head_dim) return 0;
    if (out->n_embd % out->n_heads)
        return error_set(err, ERR_FORMAT,
                         "config.json: head_dim is missing and hidden_size %u is no multiple of %u heads",
                         out->n_embd, out->n_heads);
    out->head_dim = out->n_embd / out->n_heads;
    return 0;
}

static int params_from_config(ModelParams *out, const cJSON *config, Error *err) {
    static const struct {
        const char *key, *alias;
        size_t offset;
    } counts[] = {
        {"num_hidden_layers", NULL, offsetof(ModelParams, n_layers)},
        {"hidden_size", NULL, offsetof(ModelParams, n_embd)},
        {"intermediate_size", NULL, offsetof(ModelParams, n_ff)},
        {"num_attention_heads", NULL, offsetof(ModelParams, n_heads)},
        {"num_key_value_heads", NULL, offsetof(ModelParams, n_kv_heads)},
        {"num_experts", "num_local_experts",
         offsetof(ModelParams, n_experts)}, /* the second from transformers 5 */
        {"num_experts_per_tok", NULL, offsetof(ModelParams, n_experts_used)},
        {"moe_intermediate_size", NULL, offsetof(ModelParams, n_ff_expert)},
        {"vocab_size", NULL, offsetof(ModelParams, n_vocab)},
        {"max_position_embeddings", NULL, offsetof(ModelParams, context)},
    };
    memset(out, 0, sizeof *out);
    snprintf(out->architecture, sizeof out->architecture, "%s", family_qwen3moe.name);
    TRY(refuse_variants(config, err));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint32_t *field = (uint32_t *)((char *)out + counts[i].offset);
        TRY(config_count(field, config, "config.json: ", counts[i].key, counts[i].alias, true, err));
    }
    TRY(read_head_dim(out, config, err));
    out->rms_eps = 1e-6f; /* the class's defaults, where a key is absent: this, and false for both flags */
    TRY(config_float(&out->rms_eps, NULL, config, "config.json: ", "rms_norm_eps", err));
    TRY(config_bool(&out->norm_topk_prob, config, "config.json: ", "norm_topk_prob", err));
    TRY(config_bool(&out->tied_embeddings, config, "config.json: ", "tie_word_embeddings", err));
    TRY(rope_from_whole_config(&out->rope, config, out->context, err));
    int code = check_params(out, err);
    return code ? error_wrap(err, code, "config.json") : 0;
}

/* ---- tensors ---- */

/* Which parameters a dimension is. */
typedef enum Size { NONE, EMBD, VOCAB, QUERIES, KEYS, HEAD, EXPERTS, FF_EXPERT } Size;

static uint64_t size_of(const ModelParams *p, Size size) {
    switch (size) {
    case NONE: return 1;
    case EMBD: return p->n_embd;
    case VOCAB: return p->n_vocab;
    case QUERIES: return (uint64_t)p->n_heads * p->head_dim;
    case KEYS: return (uint64_t)p->n_kv_heads * p->head_dim;
    case HEAD: return p->head_dim;
    case EXPERTS: return p->n_experts;
    case FF_EXPERT: return p->n_ff_expert;
    }
    return 0;
}

typedef struct Entry {
    const char *gguf, *hf;
    bool f32;
    Size dims[3];
} Entry;

static const Entry outside[] = {
    {"output.weight", "lm_head.weight", false, {EMBD, VOCAB, NONE}},
    {"output_norm.weight", "model.norm.weight", true, {EMBD, NONE, NONE}},
    {"token_embd.weight", "model.embed_tokens.weight", false, {EMBD, VOCAB, NONE}},
};

/* In byte order of the GGUF names, as llama-quantize sorts them. */
static const Entry of_layer[] = {
    {"attn_k.weight", "self_attn.k_proj.weight", false, {EMBD, KEYS, NONE}},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", true, {HEAD, NONE, NONE}},
    {"attn_norm.weight", "input_layernorm.weight", true, {EMBD, NONE, NONE}},
    {"attn_output.weight", "self_attn.o_proj.weight", false, {QUERIES, EMBD, NONE}},
    {"attn_q.weight", "self_attn.q_proj.weight", false, {EMBD, QUERIES, NONE}},
    {"attn_q_norm.weight", "self_attn.q_norm.weight", true, {HEAD, NONE, NONE}},
    {"attn_v.weight", "self_attn.v_proj.weight", false, {EMBD, KEYS, NONE}},
    {"ffn_down_exps.weight", "mlp.experts.%u.down_proj.weight", false, {FF_EXPERT, EMBD, EXPERTS}},
    {"ffn_gate_exps.weight", "mlp.experts.%u.gate_proj.weight", false, {EMBD, FF_EXPERT, EXPERTS}},
    {"ffn_gate_inp.weight", "mlp.gate.weight", true, {EMBD, EXPERTS, NONE}},
    {"ffn_norm.weight", "post_attention_layernorm.weight", true, {EMBD, NONE, NONE}},
    {"ffn_up_exps.weight", "mlp.experts.%u.up_proj.weight", false, {EMBD, FF_EXPERT, EXPERTS}},
};
enum { N_OUTSIDE = sizeof outside / sizeof outside[0], N_OF_LAYER = sizeof of_layer / sizeof of_layer[0] };

static size_t n_tensors(const ModelParams *p) {
    return N_OUTSIDE + (size_t)p->n_layers * N_OF_LAYER;
}

static void tensor(const ModelParams *p, size_t i, TensorSpec *out) {
    memset(out, 0, sizeof *out);
    bool in_layer = i >= N_OUTSIDE;
    const Entry *e = in_layer ? &of_layer[(i - N_OUTSIDE) % N_OF_LAYER] : &outside[i];
    if (in_layer) {
        size_t layer = (i - N_OUTSIDE) / N_OF_LAYER;
        snprintf(out->gguf_name, sizeof out->gguf_name, "blk.%zu.%s", layer, e->gguf);
        snprintf(out->hf_name, sizeof out->hf_name, "model.layers.%zu.%s", layer, e->hf);
    } else {
        snprintf(out->gguf_name, sizeof out->gguf_name, "%s", e->gguf);
        snprintf(out->hf_name, sizeof out->hf_name, "%s", e->hf);
    }
    out->stacked = e->dims[2] == EXPERTS;
    out->optional = i == 0;
    out->keep_f32 = e->f32;
    for (size_t d = 0; d < TENSOR_MAX_DIMS; d++) {
        Size size = d < 3 ? e->dims[d] : NONE;
        out->dims[d] = size_of(p, size);
        if (size != NONE) out->n_dims = (uint32_t)d + 1;
    }
}

const Family family_qwen3moe = {
    .name = "qwen3moe",
    .hf_architecture = "Qwen3MoeForCausalLM",
    .hf_model_type = "qwen3_moe",
    .params_from_config = params_from_config,
    .check_params = check_params,
    .n_tensors = n_tensors,
    .tensor = tensor,
};
