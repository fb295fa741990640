/* params_gguf.c -- hyper-parameters from GGUF keys and back.
 *
 * Reading takes any architecture and fills what its keys say, with llama.cpp's run-time defaults; a family's
 * check_params decides what must be there. Writing gives the keys, types and order of llama.cpp's converter,
 * except where its run time would not obey them (docs/gguf-keys.md). */
#include "model/family.h"
#include "model/rope.h"
#include <stdio.h>
#include <string.h>

enum { KEY_SIZE = 160 };

/* ---- reading ---- */

/* Absent: *out stays. An array (a value a layer, as some architectures have) is no single number: *out stays
 * too. */
static int read_u32(uint32_t *out, const Metadata *m, const char *suffix, Error *err) {
    char key[KEY_SIZE];
    const GgufValue *v = metadata_get(m, metadata_arch_key(m, suffix, key, sizeof key));
    if (!v || v->type == GGUF_ARRAY || metadata_u32(m, key, out)) return 0;
    return error_set(err, ERR_FORMAT, "the key %s has the type %s or does not fit, expected u32", key,
                     gguf_type_name(v->type));
}

static int read_f32(float *out, const Metadata *m, const char *suffix, Error *err) {
    char key[KEY_SIZE];
    const GgufValue *v = metadata_get(m, metadata_arch_key(m, suffix, key, sizeof key));
    if (!v || v->type == GGUF_ARRAY || metadata_f32(m, key, out)) return 0;
    return error_set(err, ERR_FORMAT, "the key %s has the type %s, expected f32", key,
                     gguf_type_name(v->type));
}

/* llama.cpp: no type means linear, and a factor of 0 or none means 1, that is no scaling. */
static int read_scaling_type(RopeParams *out, const Metadata *m, Error *err) {
    char key[KEY_SIZE];
    const GgufValue *v = metadata_get(m, metadata_arch_key(m, "rope.scaling.type", key, sizeof key));
    const char *name = metadata_string(m, key);
    if (v && !name)
        return error_set(err, ERR_FORMAT, "the key %s has the type %s, expected str", key,
                         gguf_type_name(v->type));
    out->type = !name ? ROPE_LINEAR : !strcmp(name, "none") ? ROPE_DEFAULT : rope_type_by_name(name);
    return 0;
}

static int read_rope(RopeParams *out, const Metadata *m, uint32_t context, Error *err) {
    float attn = 1;
    out->theta = 10000;
    TRY(read_f32(&out->theta, m, "rope.freq_base", err));
    TRY(read_scaling_type(out, m, err));
    TRY(read_f32(&out->factor, m, "rope.scale_linear", err)); /* the key's old name */
    TRY(read_f32(&out->factor, m, "rope.scaling.factor", err));
    if (out->factor == 0) out->factor = 1;
    if (out->type == ROPE_LINEAR && out->factor == 1) out->type = ROPE_DEFAULT;
    if (out->type == ROPE_YARN || out->type == ROPE_LONGROPE) {
        out->original_context = context;
        TRY(read_u32(&out->original_context, m, "rope.scaling.original_context_length", err));
    }
    if (out->type == ROPE_YARN) out->beta_fast = 32, out->beta_slow = 1, out->truncate = true;
    if (out->type == ROPE_DEFAULT) out->factor = 0;
    TRY(read_f32(&attn, m, "rope.scaling.attn_factor", err));
    if (attn == 1) return 0;
    out->has_attention_factor = true;
    out->attn_factor = attn;
    out->attention_factor = (float)(attn * (out->type == ROPE_YARN ? rope_yarn_mscale(out->factor) : 1));
    return 0;
}

/* Rows of the embedding: the number of tokens. */
static int read_vocab_size(uint32_t *out, const Metadata *m, Error *err) {
    const GgufValue *tokens = metadata_get(m, "tokenizer.ggml.tokens");
    if (tokens && tokens->type == GGUF_ARRAY && tokens->array.count <= UINT32_MAX) {
        *out = (uint32_t)tokens->array.count;
        return 0;
    }
    return read_u32(out, m, "vocab_size", err);
}

/* ModelParams has no partial rotation; of an unknown architecture it doesn't matter. */
static int check_rotation(const ModelParams *p, const Metadata *m, Error *err) {
    uint32_t rotated = p->head_dim;
    if (!family_by_gguf(p->architecture)) return 0;
    TRY(read_u32(&rotated, m, "rope.dimension_count", err));
    if (rotated == p->head_dim) return 0;
    return error_set(err, ERR_UNSUPPORTED,
                     "the key %s.rope.dimension_count is %u, but heads have %u dimensions", p->architecture,
                     rotated, p->head_dim);
}

int params_from_metadata(ModelParams *out, const Metadata *m, Error *err) {
    memset(out, 0, sizeof *out);
    const char *architecture = metadata_string(m, "general.architecture");
    if (!architecture || !*architecture)
        return error_set(err, ERR_FORMAT, "the key general.architecture is missing or not a string");
    if (strlen(architecture) >= sizeof out->architecture)
        return error_set(err, ERR_FORMAT, "general.architecture has %zu bytes, at most %zu are expected",
                         strlen(architecture), sizeof out->architecture - 1);
    snprintf(out->architecture, sizeof out->architecture, "%s", architecture);
    TRY(read_u32(&out->n_layers, m, "block_count", err));
    TRY(read_u32(&out->context, m, "context_length", err));
    TRY(read_u32(&out->n_embd, m, "embedding_length", err));
    TRY(read_u32(&out->n_ff, m, "feed_forward_length", err));
    TRY(read_u32(&out->n_heads, m, "attention.head_count", err));
    out->n_kv_heads = out->n_heads;
    TRY(read_u32(&out->n_kv_heads, m, "attention.head_count_kv", err));
    if (out->n_heads) out->head_dim = out->n_embd / out->n_heads;
    TRY(read_u32(&out->head_dim, m, "attention.key_length", err));
    TRY(read_u32(&out->n_experts, m, "expert_count", err));
    TRY(read_u32(&out->n_experts_used, m, "expert_used_count", err));
    TRY(read_u32(&out->n_ff_expert, m, "expert_feed_forward_length", err));
    TRY(read_f32(&out->rms_eps, m, "attention.layer_norm_rms_epsilon", err));
    TRY(read_vocab_size(&out->n_vocab, m, err));
    TRY(read_rope(&out->rope, m, out->context, err));
    out->norm_topk_prob = true;
    return check_rotation(out, m, err);
}

/* ---- writing ---- */

/* A count of 0 is absent: no key. */
static int write_u32(Metadata *m, const char *suffix, uint32_t value, Error *err) {
    char key[KEY_SIZE];
    return value ? metadata_set_u32(m, metadata_arch_key(m, suffix, key, sizeof key), value, err) : 0;
}

static int write_f32(Metadata *m, const char *suffix, float value, Error *err) {
    char key[KEY_SIZE];
    return metadata_set_f32(m, metadata_arch_key(m, suffix, key, sizeof key), value, err);
}

/* Keys about scaling that the new type doesn't write would otherwise still be obeyed, or mislead a reader. */
static void remove_stale(Metadata *m, RopeType type, bool attn_factor) {
    static const struct {
        const char *suffix;
        bool linear, yarn; /* stays for these types: it is set again, in its place */
    } keys[] = {
        {"rope.scaling.type", true, true},
        {"rope.scaling.factor", true, true},
        {"rope.scaling.original_context_length", false, true},
        {"rope.scaling.attn_factor", false, false},
        {"rope.scaling.finetuned", false, false},
        {"rope.scaling.yarn_ext_factor", false, false},
        {"rope.scaling.yarn_attn_factor", false, false},
        {"rope.scaling.yarn_beta_fast", false, false},
        {"rope.scaling.yarn_beta_slow", false, false},
        {"rope.scaling.yarn_log_multiplier", false, false},
        {"rope.scale_linear", false, false},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char key[KEY_SIZE];
        bool stays = (type == ROPE_LINEAR && keys[i].linear) || (type == ROPE_YARN && keys[i].yarn) ||
                     (attn_factor && !strcmp(keys[i].suffix, "rope.scaling.attn_factor"));
        if (!stays) metadata_unset(m, metadata_arch_key(m, keys[i].suffix, key, sizeof key));
    }
}

static int refuse_rope(const RopeParams *rope, Error *err) {
    if (rope->type == ROPE_DYNAMIC)
        return error_set(err, ERR_UNSUPPORTED,
                         "GGUF has no rope_type \"dynamic\": bake it for one length (gguf_dynamic: "
                         "{\"bake\": LENGTH}), use "
                         "yarn, or write the Hugging Face form");
    if (rope->type == ROPE_YARN && rope->beyond_gguf)
        return error_set(
            err, ERR_UNSUPPORTED,
            "GGUF run times ignore YaRN's beta_fast, beta_slow, truncate and mscale, so this model would run "
            "differently; leave them at their defaults or write the Hugging Face form");
    if (rope->type == ROPE_DEFAULT || rope->type == ROPE_LINEAR || rope->type == ROPE_YARN) return 0;
    return error_set(
        err, ERR_UNSUPPORTED,
        "GGUF run times do not know rope_type \"%s\" for this architecture; write the Hugging Face form",
        rope_type_name(rope->type));
}

int rope_to_metadata(Metadata *m, const RopeParams *rope, Error *err) {
    char key[KEY_SIZE];
    bool attn_factor = rope->has_attention_factor && rope->attn_factor != 1;
    TRY(refuse_rope(rope, err));
    remove_stale(m, rope->type, attn_factor);
    if (rope->type != ROPE_DEFAULT) {
        metadata_arch_key(m, "rope.scaling.type", key, sizeof key);
        TRY(metadata_set_string(m, key, rope_type_name(rope->type), err));
        TRY(write_f32(m, "rope.scaling.factor", rope->factor, err));
    }
    if (rope->type == ROPE_YARN)
        TRY(write_u32(m, "rope.scaling.original_context_length", rope->original_context, err));
    if (attn_factor) TRY(write_f32(m, "rope.scaling.attn_factor", rope->attn_factor, err));
    return write_f32(m, "rope.freq_base", rope->theta, err);
}

int params_to_metadata(Metadata *m, const ModelParams *p, Error *err) {
    if (!metadata_get(m, "general.architecture"))
        TRY(metadata_set_string(m, "general.architecture", p->architecture, err));
    TRY(write_u32(m, "block_count", p->n_layers, err));
    TRY(write_u32(m, "context_length", p->context, err));
    TRY(write_u32(m, "embedding_length", p->n_embd, err));
    TRY(write_u32(m, "feed_forward_length", p->n_ff, err));
    TRY(write_u32(m, "attention.head_count", p->n_heads, err));
    TRY(write_u32(m, "attention.head_count_kv", p->n_kv_heads, err));
    TRY(rope_to_metadata(m, &p->rope, err));
    TRY(write_f32(m, "attention.layer_norm_rms_epsilon", p->rms_eps, err));
    TRY(write_u32(m, "expert_count", p->n_experts, err));
    TRY(write_u32(m, "expert_used_count", p->n_experts_used, err));
    TRY(write_u32(m, "attention.key_length", p->head_dim, err));
    TRY(write_u32(m, "attention.value_length", p->head_dim, err));
    return write_u32(m, "expert_feed_forward_length", p->n_ff_expert, err);
}
