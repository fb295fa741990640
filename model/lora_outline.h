/* lora_outline.h -- what an adapter's directory says of itself, without a base to merge it into. */
#ifndef RECAST_MODEL_LORA_OUTLINE_H
#define RECAST_MODEL_LORA_OUTLINE_H

#include "model/lora.h"

/* Modules that differ by numbers in their paths only, and have one rank and scale. */
typedef struct LoraGroup {
    const char *name; /* "model.layers.*.self_attn.q_proj" */
    size_t n_pairs;
    uint32_t rank; /* of fused experts (.experts): of each, as the configuration has it */
    double scale;  /* alpha / rank, or alpha / sqrt(rank) */
} LoraGroup;

typedef struct LoraOutline {
    char config_sha256[SHA256_HEX], weights_sha256[SHA256_HEX];
    const char *base, *peft_version; /* as the configuration has them; NULL: not said */
    uint32_t rank;                   /* common; a group may have another */
    double alpha;
    bool rslora, dora;
    size_t n_pairs, n_others; /* others: tensors outside pairs (whole ones, biases, magnitudes, tokens) */
    uint64_t bytes;           /* of all tensors */
    size_t n_groups;
    const LoraGroup *groups; /* in the file's order */
} LoraOutline;

/* Reads both files and hashes them. Everything lies in the arena. Errors as those of lora_open that need no
 * base: kinds of adapters that can't be merged (ERR_UNSUPPORTED), half pairs, damaged files. */
int lora_outline(LoraOutline *out, const char *directory, Arena *arena, const Allocator *allocator,
                 Error *err) MUST_CHECK;

#endif
