/* launch.h -- how an artifact is started in other engines, and what of it fits into a GPU's memory.
 *
 * Memory by shapes: weights are the tensors' bytes; the KV cache takes layers x kv heads x head width x 2 x
 * bytes an element for a position (f16 2, q8_0 34/32). What an engine needs besides is an estimate: logits of
 * 512 positions, 128 MiB of activations, 768 MiB of driver and context. */
#ifndef RECAST_PACKAGER_LAUNCH_H
#define RECAST_PACKAGER_LAUNCH_H

#include "model/model.h"

typedef enum LaunchEngine {
    ENGINE_LLAMA_CPP,
    ENGINE_TEXT_GENERATION_WEBUI,
    ENGINE_VLLM,
    ENGINE_SGLANG,
    ENGINE_TRANSFORMERS,
    ENGINE_OLLAMA,
    ENGINE_COUNT
} LaunchEngine;

const char *launch_engine_name(LaunchEngine e);
/* false if there is none of that name */
bool launch_engine_by_name(const char *name, LaunchEngine *out);
bool launch_engine_takes_gguf(LaunchEngine e); /* else the Hugging Face form */

typedef enum LaunchCache { CACHE_F16, CACHE_Q8_0 } LaunchCache;

typedef struct LaunchPlan {
    LaunchEngine engine;
    const char *path; /* of the GGUF (its first shard) or the directory, as scripts name it */
    const char *gpu;  /* name, or NULL */
    uint64_t vram;    /* bytes; 0: not said, then nothing is judged */
    uint32_t context; /* positions */
    /* found by launch_plan */
    const Model *model;
    uint64_t weights;              /* bytes of all tensors */
    uint64_t layer, experts;       /* of the largest layer; of its experts alone, 0 if there are none */
    uint64_t kv_f16, kv_q8_0;      /* bytes a position; 0: the shapes are not known */
    uint64_t compute, driver;      /* bytes, estimates */
    LaunchCache cache;             /* the one to use */
    bool fits;                     /* everything, with that cache */
    uint32_t expert_layers_on_cpu; /* MoE: of that many layers the experts stay in main memory */
    uint32_t layers_on_gpu;        /* all of them, or fewer */
    uint64_t most_f16, most_q8_0;  /* largest context with all weights on the GPU; 0: none */
} LaunchPlan;

/* Fills in the rest from `model` and engine, vram, context (0: the model's). Errors: ERR_USAGE (no context is
 * known, or one beyond the model's; a form that the engine does not take). */
int launch_plan(LaunchPlan *plan, const Model *model, Error *err) MUST_CHECK;
/* The arithmetic, line by line, each begun with `prefix`. */
void launch_explain(const LaunchPlan *plan, const char *prefix, Buffer *out);
/* A shell script, a Modelfile or a Python program, with the arithmetic as comments. */
void launch_script(const LaunchPlan *plan, Buffer *out);

#endif
