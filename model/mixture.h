/* mixture.h -- which type each tensor of a quantized model gets, as llama-quantize decides it.
 *
 * A preset (Q4_K_M) is a default type and rules that give some tensors more bits: those of the attention's
 * values and of feed-forward's second matrices, in the layers where that pays, and the output head. The rules
 * are llama.cpp's (src/llama-quant.cpp), so that both tools give the same file. */
#ifndef RECAST_MODEL_MIXTURE_H
#define RECAST_MODEL_MIXTURE_H

#include "model/imatrix.h"
#include "model/model.h"
#include "model/tensor_types.h"

/* Values of general.file_type that stand for the presets. */
typedef enum FileType {
    FILE_F32 = 0,
    FILE_F16 = 1,
    FILE_Q4_0 = 2,
    FILE_Q4_1 = 3,
    FILE_Q8_0 = 7,
    FILE_Q5_0 = 8,
    FILE_Q5_1 = 9,
    FILE_Q2_K = 10,
    FILE_Q3_K_S = 11,
    FILE_Q3_K_M = 12,
    FILE_Q3_K_L = 13,
    FILE_Q4_K_S = 14,
    FILE_Q4_K_M = 15,
    FILE_Q5_K_S = 16,
    FILE_Q5_K_M = 17,
    FILE_Q6_K = 18,
    FILE_Q2_K_S = 21,
    FILE_IQ4_NL = 25,
    FILE_IQ4_XS = 30,
    FILE_BF16 = 32
} FileType;

typedef struct Preset {
    const char *name;  /* "Q4_K_M": llama-quantize's spelling */
    const char *key;   /* "q4_k_m": as recipes and recast.output spell it */
    const char *alias; /* "Q4_K"; NULL if it has none */
    FileType file_type;
    DType type; /* of the most tensors */
} Preset;

size_t preset_count(void);
const Preset *preset_at(size_t i);
/* By name or alias in any case, or by general.file_type in decimal digits ("15"); NULL if it is none. */
const Preset *preset_by_name(const char *name);
const Preset *preset_by_file_type(uint32_t file_type); /* NULL if it is none */

typedef struct MixtureRules {
    const Preset *preset;
    DType embedding_type;            /* of token_embd.weight; DT_NONE: the preset's */
    DType output_type;               /* of output.weight, or of the embedding if it is the head as well;
                                        DT_NONE: the preset's */
    const TensorTypes *tensor_types; /* NULL: none; they do nothing for a preset of a float type */
    const Imatrix *imatrix;          /* NULL: none */
    bool weighted;    /* one was used that is not at hand: the rules know it, and that is all */
    bool pure;        /* the default type everywhere: no rules */
    bool keep_output; /* output.weight stays as it is */
} MixtureRules;

MixtureRules mixture_rules(const Preset *preset); /* the preset and nothing else */

/* A tensor whose rows are no whole number of blocks, so that it gets another type than it should. */
typedef struct MixtureFallback {
    const char *tensor; /* its name, borrowed from the model */
    uint64_t row_elements;
    DType from, to;
} MixtureFallback;

typedef struct Mixture {
    const DType *types; /* one a tensor, in the model's order; DT_NONE: is never quantized, stays as it is */
    size_t n_fallbacks;
    const MixtureFallback *fallbacks; /* by layer, and in a layer by name */
} Mixture;

/* Plans for a model in GGUF form, of any architecture; of an unknown one the names and the standard keys must
 * do. What a tensor is now doesn't matter, except that integers are never quantized. Everything lives in the
 * arena.
 *
 * ERR_UNSUPPORTED: a type that was asked for and does not fit a tensor's rows, or a tensor that has no place
 * in the rules (with experts: a feed-forward matrix outside the layers). ERR_CHECK: an importance matrix of
 * other sizes, or none where the type needs one (Q2_K in Q2_K_S). */
int mixture_plan(Mixture **out, const Model *m, const MixtureRules *rules, Arena *arena,
                 Error *err) MUST_CHECK;

#endif
