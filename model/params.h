/* params.h -- what a model is, apart from its weights: hyper-parameters in neutral names.
 *
 * Both forms (config.json and GGUF keys) are parsed into the same struct. Scalars are rounded to float32 on
 * reading from either form, so both forms mean the same numbers. 0 means absent for every count. */
#ifndef RECAST_MODEL_PARAMS_H
#define RECAST_MODEL_PARAMS_H

#include "core/error.h"

typedef enum RopeType {
    ROPE_DEFAULT,
    ROPE_LINEAR,
    ROPE_DYNAMIC,
    ROPE_YARN,
    ROPE_LONGROPE,
    ROPE_LLAMA3,
    ROPE_UNKNOWN
} RopeType;

/* RoPE scaling as transformers' rope_scaling / rope_parameters name it. Fields that a type does not use are
 * 0. */
typedef struct RopeParams {
    RopeType type;
    float theta;               /* rope_theta, base frequency */
    float factor;              /* s */
    uint32_t original_context; /* original_max_position_embeddings (L0); 0 if not said */
    bool has_attention_factor;
    float attention_factor; /* multiplies cos and sin; only if has_attention_factor. Always f32(attn_factor *
                               m), m = 1 + 0.1 ln s for YaRN and 1 else, so that both forms give the same bits
                             */
    float attn_factor;      /* the same as GGUF spells it, f32(a / m); only if has_attention_factor */
    float beta_fast, beta_slow;   /* YaRN, 32 and 1 by default */
    float mscale, mscale_all_dim; /* YaRN, 0 if absent */
    bool truncate;                /* YaRN, true by default */
    bool beyond_gguf; /* YaRN fields that a GGUF run time would ignore were set (betas, truncate, mscale) */
} RopeParams;

typedef struct ModelParams {
    char architecture[64];   /* GGUF's general.architecture ("qwen3moe"); for an unknown HF class, its name */
    uint32_t n_layers;       /* num_hidden_layers, .block_count */
    uint32_t n_embd;         /* hidden_size, .embedding_length */
    uint32_t n_ff;           /* intermediate_size, .feed_forward_length */
    uint32_t n_heads;        /* query heads */
    uint32_t n_kv_heads;     /* key/value heads; divides n_heads */
    uint32_t head_dim;       /* .attention.key_length; never derived when the key is present */
    uint32_t n_experts;      /* 0 for dense models */
    uint32_t n_experts_used; /* experts a token */
    uint32_t n_ff_expert;    /* moe_intermediate_size, .expert_feed_forward_length */
    uint32_t n_vocab;        /* rows of the embedding, padding rows included */
    uint32_t context;        /* max_position_embeddings, .context_length: positions */
    float rms_eps;           /* rms_norm_eps */
    bool norm_topk_prob;     /* router weights renormalised; always true from GGUF (its run time does so) */
    bool tied_embeddings;    /* no output head of its own */
    RopeParams rope;
} ModelParams;

const char *rope_type_name(RopeType type);    /* "yarn" */
RopeType rope_type_by_name(const char *name); /* ROPE_UNKNOWN if it is none */

/* Parameters that a token uses and all parameters, computed from shapes (embedding and head included). */
uint64_t params_total(const ModelParams *p);
uint64_t params_active(const ModelParams *p);

#endif
