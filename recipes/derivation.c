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

static cJSON *output_tree(OutputFormat format, const char *type_name, uint32_t bake) {
    cJSON *output = cJSON_CreateObject();
    bool ok = output && cJSON_AddStringToObject(output, "format", format == OUTPUT_HF ? "hf" : "gguf");
    if (ok && format == OUTPUT_GGUF) ok = cJSON_AddStringToObject(output, "type", type_name) != NULL;
    if (ok && bake) {
        cJSON *dynamic = cJSON_AddObjectToObject(output, "gguf_dynamic");
        ok = dynamic && cJSON_AddNumberToObject(dynamic, "bake", bake);
    }
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
    const RecipeOutput *o = &r->outputs[output];
    cJSON *root = cJSON_CreateObject();
    bool ok = attach(root, "base", base_tree(r, proof, commit));
    ok = ok && attach(root, "overrides", cJSON_Duplicate(r->overrides, true));
    ok = ok && attach(root, "output", output_tree(o->format, o->type_name, o->bake_dynamic));
    return finish(root, ok, json, err);
}

int recipe_plain_derivation(const char *type_name, const SourceProof *proof, Buffer *json, Error *err) {
    cJSON *root = cJSON_CreateObject();
    bool ok = attach(root, "base", base_tree(NULL, proof, NULL));
    ok = ok && attach(root, "output", output_tree(OUTPUT_GGUF, type_name, 0));
    return finish(root, ok, json, err);
}
