/* releases.h -- what is known of published models: recipes/releases.json, which the program carries. */
#ifndef RECAST_RECIPES_RELEASES_H
#define RECAST_RECIPES_RELEASES_H

#include "core/json.h"
#include "model/params.h"

typedef struct Release {
    const char *repo;       /* "Qwen/Qwen3-30B-A3B"; NULL: of a checkpoint that is none of them */
    const char *model_type; /* as config.json has it; "" if not known */
    const char *license;    /* NULL: not known */
    const char *note;       /* NULL: none */
    ModelParams params;     /* 0 for what is not known; context: max_position_embeddings */
    uint32_t trained;       /* positions it was trained on before any scaling; 0: not known */
    uint32_t claimed;       /* positions that the maker says YaRN reaches; 0: no such claim */
    bool native_long;       /* the long context is the model's own: no scaling needed */
    bool hybrid;            /* linear attention layers or a multimodal wrapper: no recipe is offered */
} Release;

/* Parses the table. Caller deletes with cJSON_Delete; a Release's strings live in it. */
int releases_load(cJSON **out, Error *err) MUST_CHECK;
size_t releases_count(const cJSON *table);
void release_at(const cJSON *table, size_t i, Release *out);
/* By "Qwen/Qwen3-30B-A3B" or its last part, case ignored; ERR_USAGE with the nearest name if there is none.
 */
int release_find(const cJSON *table, const char *name, Release *out, Error *err) MUST_CHECK;
/* The release whose config.json these parameters are: same shape, context and theta; false if there is none.
 */
bool release_of(const cJSON *table, const ModelParams *p, Release *out);

#endif
