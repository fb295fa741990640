/* views.h -- models over another model. Each borrows its base and computes nothing until read. */
#ifndef RECAST_MODEL_VIEWS_H
#define RECAST_MODEL_VIEWS_H

#include "model/mixture.h"
#include "model/model.h"

/* override -- other parameters, the same tensors. `overrides` is an object of config.json keys
 * (num_experts_per_tok, max_position_embeddings, rope_scaling, rope_theta); it is borrowed until the view
 * closes. Works on both forms; on GGUF it edits the keys. Every rule of a recipe is checked here against the
 * base, with the JSON path in the message ("overrides. num_experts_per_tok: 200 of 128 experts"): 1 <=
 * experts used <= experts; factor a finite number >= 1; YaRN names original_max_position_embeddings; context
 * at most factor x original; `dynamic` with a raised context is refused unless accept_inert_dynamic. Unknown
 * keys get the nearest known one. Errors: ERR_RECIPE. */
typedef struct OverrideOptions {
    bool accept_inert_dynamic; /* the recipe's "accept": ["inert-dynamic"] */
} OverrideOptions;
int override_open(Model **out, const Model *base, const cJSON *overrides, OverrideOptions options,
                  const Allocator *allocator, Error *err) MUST_CHECK;
extern const char *const override_keys[]; /* the known ones, NULL-terminated */

/* gguf names -- the GGUF form of a Hugging Face model: names, stacked experts (extents, no copy),
 * llama-quantize's order, metadata with general.*, hyper-parameters and tokenizer keys. ERR_UNSUPPORTED for
 * an unknown family, norm_topk_prob=false and rope types that GGUF can't say, with the reason. Types stay as
 * stored, so norms may still be BF16: retype fixes it. */
typedef struct GgufNamesOptions {
    const char *name;      /* general.name: the recipe's; NULL: from the source directory's name */
    uint32_t bake_dynamic; /* length L: write `dynamic` as a fixed base for L; 0: refuse dynamic */
    bool lenient_rope; /* for the runner only: keep any rope type in params, write no rope.scaling keys for it
                        */
} GgufNamesOptions;
int gguf_names_open(Model **out, const Model *base, const GgufNamesOptions *options,
                    const Allocator *allocator, Error *err) MUST_CHECK;

/* retype -- every weight matrix in another type: all the same (F32, F16, BF16), or as a preset of
 * llama-quantize chooses for each (mixture.h); norms and router become F32. Base must be FORM_GGUF of float
 * types; a tensor that has its type already stays. Without a preset types stay as stored. Of a GGUF of
 * unknown family, tensors with fewer than 2 dimensions and those that are F32 by policy keep F32. Sets
 * general.file_type and general.quantization_version. Errors: what mixture_plan says; ERR_UNSUPPORTED for a
 * quantized base. When read: a finite number that F16 or a block's scale can't hold; NaN or infinity where
 * blocks are made. */
typedef struct RetypeOptions {
    MixtureRules rules; /* preset NULL: as stored. What it points to is borrowed until the view closes */
    bool requantize;    /* a quantized base is turned into numbers first */
} RetypeOptions;
int retype_open(Model **out, const Model *base, const RetypeOptions *options, const Allocator *allocator,
                Error *err) MUST_CHECK;
/* Does retyping keep every value of the base's stored types? (BF16 -> F16 and BF16 -> Q8_0 do not by type.)
 */
bool retype_is_lossless(const Model *retyped);
/* The tensors that got another type for their rows' sake; the list lives as long as the view. 0 for any other
 * model. */
size_t retype_fallbacks(const Model *retyped, const MixtureFallback **list);

/* general.file_type of a model whose matrices all have this type: 0 F32, 1 F16, 32 BF16, 7 Q8_0; 0 also for
 * types that no preset rests on. */
uint32_t gguf_file_type(DType type);
/* The type of most weight matrices, by elements; norms and routers don't count. */
DType gguf_common_type(const Model *m);

#endif
