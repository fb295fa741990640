/* recipe_private.h -- what the files of recipes/ share. Not for other rooms. */
#ifndef RECAST_RECIPES_RECIPE_PRIVATE_H
#define RECAST_RECIPES_RECIPE_PRIVATE_H

#include "core/json.h"
#include "recipes/recipe.h"

enum { MOST_RECORDS = 1024, MOST_TOKENS = 65536 }; /* MANIFEST_MOST_... of packager/manifest.h */

/* Applies one --set to the tree. */
int recipe_apply_set(cJSON *root, const char *set, Error *err) MUST_CHECK;
/* Checks r->json and fills the other members from it. r->path, directory and arena are set. */
int recipe_parse(Recipe *r, Error *err) MUST_CHECK;
/* "validate.prompts", an array that is not empty. */
int recipe_parse_prompts(Recipe *r, const cJSON *list, Error *err) MUST_CHECK;
/* What of "overrides" can be checked without the base. */
int recipe_check_overrides(const cJSON *overrides, Error *err) MUST_CHECK;

/* "lora" (recipe_lora.c): reading it, the view over `base`, and the array as JSON (NULL: no memory). */
int recipe_parse_lora(Recipe *r, Error *err) MUST_CHECK;
int recipe_lora_open(Model **out, const Recipe *r, const Model *base, const Allocator *allocator,
                     Error *err) MUST_CHECK;
/* A "gguf-lora" output; o->json is set. */
int recipe_parse_lora_output(RecipeOutput *o, const Recipe *r, const char *path, Error *err) MUST_CHECK;
cJSON *recipe_lora_tree(const Recipe *r, RecipePaths paths);

/* What the Hugging Face cache promises about a file: if `path` is a symbolic link into a folder "blobs" and
 * the blob's name is a SHA-256, true and the hash. A git hash (40 digits) promises nothing that we check. */
bool hub_blob_sha256(const char *path, char hex[SHA256_HEX]);
/* 40 or 64 lower-case hex digits: a commit. */
bool is_commit(const char *s);

#endif
