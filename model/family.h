/* family.h -- what Recast knows of an architecture: names, shapes, parameters in either form.
 * One file per family (family_qwen3moe.c); the table of them is in family.c. Hugging Face -> GGUF and the
 * runner need a family; everything else works without. */
#ifndef RECAST_MODEL_FAMILY_H
#define RECAST_MODEL_FAMILY_H

#include "model/model.h"

/* A tensor that the family expects, with its names and shape in both forms. An expert tensor stands for all
 * experts of its layer: in GGUF form one stacked tensor, in HF form n_experts tensors whose names come from
 * family_hf_name. */
typedef struct TensorSpec {
    char gguf_name[64]; /* "blk.3.ffn_gate_exps.weight" */
    char hf_name[128];  /* "model.layers.3.mlp.experts.%u.gate_proj.weight" if stacked, else the whole name */
    bool stacked;       /* dims[2] experts */
    bool optional;      /* the output head: absent when embeddings are tied */
    bool keep_f32;      /* norms and router: F32 in every GGUF (llama.cpp's converter, dtype policy) */
    uint32_t n_dims;    /* of the GGUF form */
    uint64_t dims[4];   /* of the GGUF form, ggml order */
} TensorSpec;

struct Family {
    const char *name;            /* GGUF architecture: "qwen3moe" */
    const char *hf_architecture; /* "Qwen3MoeForCausalLM" */
    const char *hf_model_type;   /* "qwen3_moe" */
    /* From a parsed config.json, old and new spellings; both present and different is an error. Refuses what
     * the family's code does not do (dense layers among MoE ones, sliding windows, attention bias), by key
     * and value. */
    int (*params_from_config)(ModelParams *out, const cJSON *config, Error *err);
    /* Checks that parameters read from GGUF keys are complete and in range. */
    int (*check_params)(const ModelParams *p, Error *err);
    size_t (*n_tensors)(const ModelParams *p);
    /* The i-th expected tensor, in llama-quantize's order: output, output_norm, token_embd, then layers by
     * number, names of a layer in byte order. */
    void (*tensor)(const ModelParams *p, size_t i, TensorSpec *out);
};

extern const Family family_qwen3moe; /* family_qwen3moe.c */

const Family *family_by_gguf(const char *architecture);  /* NULL if unknown */
const Family *family_by_hf(const char *hf_architecture); /* NULL if unknown */
const char *family_known(void);                          /* "Qwen3MoeForCausalLM (qwen3moe)": for messages */

/* Parameters from GGUF keys by their standard names, for any architecture; what is absent stays 0 or takes
 * llama.cpp's run-time default. ERR_FORMAT for a wrong type. */
int params_from_metadata(ModelParams *out, const Metadata *m, Error *err) MUST_CHECK;
/* Sets the hyper-parameter keys as llama.cpp's converter writes them (order, types), context_length and
 * rope.scaling.* so that the run time obeys them (docs/gguf-keys.md). Keys that exist keep their place; stale
 * rope.scaling.* keys go. */
int params_to_metadata(Metadata *m, const ModelParams *p, Error *err) MUST_CHECK;
/* RoPE parameters from a rope_scaling / rope_parameters object (may be NULL or JSON null: default type). */
int rope_from_config(RopeParams *out, const cJSON *object, const char *path, Error *err) MUST_CHECK;
/* The RoPE parameters of a whole config.json: rope_theta, rope_scaling and rope_parameters merged as
 * transformers 4 and 5 do; contradictions are errors. `context` (max_position_embeddings) stands in for an
 * original context that is not said. */
int rope_from_whole_config(RopeParams *out, const cJSON *config, uint32_t context, Error *err) MUST_CHECK;
/* Only the rope.* keys of params_to_metadata: base frequency and scaling, stale scaling keys removed.
 * ERR_UNSUPPORTED for types that GGUF can't say. */
int rope_to_metadata(Metadata *m, const RopeParams *rope, Error *err) MUST_CHECK;

/* Every expected tensor is there with its shape, and nothing else is. FORM_HF or FORM_GGUF. */
int family_check_tensors(const Model *m, Error *err) MUST_CHECK;

/* The HF tensors that a GGUF tensor stands for: how many, and the name of the e-th (e = 0 if not stacked).
 * false if the name is none of the family's. */
bool family_hf_name(const Model *m, const char *gguf_name, uint32_t e, char *out, size_t size,
                    uint32_t *count);

/* The expected tensor of that GGUF name; false if there is none. */
bool family_find_spec(const Family *family, const ModelParams *p, const char *gguf_name, TensorSpec *out);
/* spec->hf_name with the expert's number in it (unchanged if not stacked); false if it does not fit. */
bool family_expert_name(const TensorSpec *spec, uint32_t e, char *out, size_t size);

#endif
