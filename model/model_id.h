/* model_id.h -- what a model's name tells: llama.cpp's reading of "Qwen3-30B-A3B-Instruct-2507".
 *
 * The rules are those of its converter's metadata heuristics, for ASCII; other bytes count as letters without
 * case. */
#ifndef RECAST_MODEL_MODEL_ID_H
#define RECAST_MODEL_MODEL_ID_H

#include "core/memory.h"

typedef struct ModelId {
    const char *name;         /* what follows the organization; never NULL */
    const char *organization; /* NULL if there is none, as for all below */
    const char *basename;     /* "Qwen3" */
    const char *size_label;   /* "30B-A3B" */
    const char *finetune;     /* "Instruct" */
    const char *version;      /* "2507" */
} ModelId;

/* total_params tells a size ("30B") from a context length ("128k"); 0: not known. */
int model_id_parse(ModelId *out, const char *id, uint64_t total_params, Arena *arena, Error *err) MUST_CHECK;
/* "tiny-qwen3moe" -> "Tiny Qwen3Moe": lower-case words get capitals, unless they are versions. NULL without
 * memory. */
const char *model_id_title(const char *name, Arena *arena);
/* 30532122624 -> "31B", 201000 -> "201K": two significant digits. */
void model_id_rounded(char *out, size_t size, uint64_t params);

#endif
