/* mixture_private.h -- between the walk over a model's tensors (mixture.c) and a preset's rules
 * (mixture_rules.c). */
#ifndef RECAST_MODEL_MIXTURE_PRIVATE_H
#define RECAST_MODEL_MIXTURE_PRIVATE_H

#include "model/mixture.h"

/* What a tensor does in the model, told from its name. */
typedef enum Role {
    ROLE_OTHER,
    ROLE_OUTPUT,
    ROLE_EMBEDDING,
    ROLE_VALUES, /* attention's value projection, alone or fused with others */
    ROLE_KEYS,
    ROLE_ATTENTION_OUTPUT,
    ROLE_FFN_IN, /* feed-forward's gate and up */
    ROLE_FFN_DOWN
} Role;

/* What the rules look at, and where they are in the walk. */
typedef struct RuleState {
    FileType file_type;
    DType output_type; /* DT_NONE: the preset's */
    bool has_imatrix;
    bool tied;              /* the embedding is the output head as well */
    bool falcon, glm5_next; /* architectures with rules of their own */
    bool llama_70b;         /* 8 heads share small value matrices */
    uint32_t n_experts;
    uint32_t gqa;                  /* query heads to a key/value head, in the first layer */
    uint32_t n_layers;             /* all blocks */
    uint32_t n_values;             /* tensors of ROLE_VALUES */
    uint32_t i_values, i_ffn_down; /* those that the rules have seen */
} RuleState;

Role role_of(const char *name);
/* The number in "blk.N", -1 if there is none. */
int64_t layer_of(const char *name);
/* The preset's type for one tensor; `type` is the default. To be called in llama-quantize's order. */
int apply_rules(DType *type, RuleState *s, const Tensor *t, Role role, Error *err) MUST_CHECK;

#endif
