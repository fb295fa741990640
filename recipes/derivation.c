/* derivation.c -- what decides the bytes of one output, as RFC 8785 JSON (recast.recipe in a GGUF).
 *
 * Built from what was checked and not from the recipe's text, so that a recipe with and without pins, or with
 * other spacing, gives the same bytes. */
#include "recipes/recipe_private.h"

static cJSON *base_tree(const Recipe *r, const SourceProof *proof, const char *commit) {
    cJSON *base = cJSON_CreateObject();
    bool ok = base != NULL;
    if (r && !commit) commit = r->commit;
    if (ok && r && r->repo) ok = cJSON_AddStringToObject(base, "repo", r->repo) != NULL;
    if (ok && commit) ok = cJSON_AddStringToObject(base, "commit", commit) != NULL;
    cJSON *files = ok ? cJSON_AddObjectToObject(base, "sha256") : NULL;
    ok = files != NULL;
    for (size_t i = 0; ok && i < proof->n_files; i++)
        ok = cJSON_AddStringToObject(files, proof->files[i].name, proof->files[i].sha256) != NULL;
    if (ok && proof->weights_sha256[0])
        ok = cJSON_AddStringToObject(base, "weights_sha256", proof->weights_sha256) != NULL;
    if (ok) return base;
    cJSON_Delete(base);
    return NULL;
}

/* A number of tensors alone is a number, as recipes spell it. */
static bool add_split(cJSON *output, const SplitRule *rule) {
    char text[SPLIT_RULE_TEXT];
    if (split_rule_is_none(rule)) return true;
    if (rule->max_tensors && !rule->metadata_first && !rule->max_bytes)
        return cJSON_AddNumberToObject(output, "split", (double)rule->max_tensors) != NULL;
    return cJSON_AddStringToObject(output, "split", split_rule_text(rule, text)) != NULL;
}

static cJSON *output_tree(const RecipeOutput *o) {
    cJSON *output = cJSON_CreateObject();
    bool ok = output && cJSON_AddStringToObject(output, "format",
                                                o->format == OUTPUT_HF     ? "hf"
                                                : o->format == OUTPUT_LORA ? "gguf-lora"
                                                                           : "gguf");
    if (ok && o->format == OUTPUT_GGUF) ok = cJSON_AddStringToObject(output, "type", o->type_name) != NULL;
    if (ok && o->bake_dynamic) {
        cJSON *dynamic = cJSON_AddObjectToObject(output, "gguf_dynamic");
        ok = dynamic && cJSON_AddNumberToObject(dynamic, "bake", o->bake_dynamic);
    }
    ok = ok && output_types_put(&o->types, output);
    ok = ok && add_split(output, &o->split);
    if (ok) return output;
    cJSON_Delete(output);
    return NULL;
}

/* Adds child (owned from here on; NULL is a failure) to root. */
static bool attach(cJSON *root, const char *key, cJSON *child) {
    if (child && root && cJSON_AddItemToObject(root, key, child)) return true;
    cJSON_Delete(child);
    return false;
}

static int finish(cJSON *root, bool ok, Buffer *json, Error *err) {
    buffer_clear(json);
    if (ok) json_write_canonical(json, root);
    cJSON_Delete(root);
    return ok ? buffer_ok(json, "a derivation", err) : error_memory(err, "a derivation");
}

int recipe_derivation(const Recipe *r, size_t output, const SourceProof *proof, const char *commit,
                      Buffer *json, Error *err) {
    cJSON *root = cJSON_CreateObject();
    bool ok = attach(root, "base", base_tree(r, proof, commit));
    ok = ok && attach(root, "overrides", cJSON_Duplicate(r->overrides, true));
    if (r->n_lora) ok = ok && attach(root, "lora", recipe_lora_tree(r, RECIPE_PATHS_NONE));
    ok = ok && attach(root, "output", output_tree(&r->outputs[output]));
    return finish(root, ok, json, err);
}

int recipe_plain_derivation(const OutputTypes *types, const SplitRule *split, const SourceProof *proof,
                            Buffer *json, Error *err) {
    RecipeOutput o = {
        .format = OUTPUT_GGUF, .types = *types, .type_name = types->preset ? types->preset->key : "stored"};
    if (split) o.split = *split;
    cJSON *root = cJSON_CreateObject();
    bool ok = attach(root, "base", base_tree(NULL, proof, NULL));
    ok = ok && attach(root, "output", output_tree(&o));
    return finish(root, ok, json, err);
}
