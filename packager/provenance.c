/* provenance.c -- provenance.json. Fields: slsa.dev/spec/v1.0/provenance, in-toto attestation v1.
 *
 * What a user chose is one thing, the recipe: so the only external parameter is its name, and its hash stands
 * among the dependencies. Times, the machine and its user are left out on purpose: the same recipe and source
 * give the same statement. */
#include "model/lora.h"
#include "packager/evidence.h"
#include "packager/json_build.h"
#include <stdio.h>

#define BUILD_TYPE "urn:recast:recipe:1"      /* docs/packaging.md */
#define BUILDER_ID "urn:recast:builder:local" /* whoever ran it: no claim beyond SLSA Build L1 */

static void put_digest(Tree *t, cJSON *resource, const char *algorithm, const char *hex) {
    cJSON *digest = put_object(t, resource, "digest");
    put_string(t, digest, algorithm, hex);
}

static void put_resource(Tree *t, cJSON *list, const char *name, const char *uri, const char *sha256) {
    cJSON *r = append_object(t, list);
    put_string(t, r, "name", name);
    put_string(t, r, "uri", uri);
    put_digest(t, r, "sha256", sha256);
}

static void put_subjects(Tree *t, const Manifest *m) {
    cJSON *list = put_array(t, t->root, "subject");
    for (size_t i = 0; i < m->n_files; i++) put_resource(t, list, m->files[i].path, NULL, m->files[i].sha256);
}

/* The repository at that commit, with the one hash that covers its weights whatever the container. */
static void put_base(Tree *t, cJSON *list, const Manifest *m) {
    char uri[512];
    cJSON *base = append_object(t, list);
    put_string(t, base, "name", m->repo ? m->repo : "base");
    if (m->repo && m->commit && snprintf(uri, sizeof uri, "pkg:huggingface/%s@%s", m->repo, m->commit) < 512)
        put_string(t, base, "uri", uri);
    if (m->commit) put_digest(t, base, "gitCommit", m->commit);
    if (!m->weights_sha256 || !m->weights_sha256[0]) return;
    put_string(t, put_object(t, base, "annotations"), "weights_sha256", m->weights_sha256);
}

static void put_adapters(Tree *t, cJSON *list, const Lora *lora) {
    const LoraAdapterInfo *infos;
    size_t n = lora ? lora_adapters(lora, &infos) : 0;
    for (size_t i = 0; i < n; i++) {
        put_resource(t, list, "adapter_model.safetensors", NULL, infos[i].weights_sha256);
        put_resource(t, list, "adapter_config.json", NULL, infos[i].config_sha256);
    }
}

static void put_dependencies(Tree *t, cJSON *definition, const Manifest *m, const char *recipe_sha256) {
    cJSON *list = put_array(t, definition, "resolvedDependencies");
    put_resource(t, list, "recipe.json", NULL, recipe_sha256);
    if (m->repo || m->commit || (m->weights_sha256 && m->weights_sha256[0])) put_base(t, list, m);
    for (size_t i = 0; i < m->n_sources; i++) {
        char uri[1024] = "";
        const FileProof *s = &m->sources[i];
        int n = m->repo && m->commit ? snprintf(uri, sizeof uri, "https://huggingface.co/%s/resolve/%s/%s",
                                                m->repo, m->commit, s->name)
                                     : 0;
        put_resource(t, list, s->name, n > 0 && n < (int)sizeof uri ? uri : NULL, s->sha256);
    }
    put_adapters(t, list, m->lora);
}

/* What the artifacts said: the hash of all logits of a generation. */
static void put_byproducts(Tree *t, cJSON *details, const Manifest *m) {
    cJSON *list = m->n_generations ? put_array(t, details, "byproducts") : NULL;
    for (size_t i = 0; i < m->n_generations; i++) {
        const GenerationRecord *g = &m->generations[i];
        cJSON *r = append_object(t, list);
        put_string(t, r, "name", "logits of a generation");
        put_digest(t, r, "sha256", g->logits_sha256);
        cJSON *notes = put_object(t, r, "annotations");
        put_string(t, notes, "artifact", g->artifact ? g->artifact : "the source with overrides");
        put_string(t, notes, "prompt", g->prompt);
        put_number(t, notes, "tokens", g->n_tokens);
        put_string(t, notes, "arithmetic", g->arithmetic);
    }
}

int provenance_statement(Buffer *out, const PackageInputs *in, const char *recipe_sha256, Error *err) {
    const Manifest *m = &in->manifest;
    Tree t = tree_begin();
    put_string(&t, t.root, "_type", "https://in-toto.io/Statement/v1");
    put_subjects(&t, m);
    put_string(&t, t.root, "predicateType", "https://slsa.dev/provenance/v1");
    cJSON *predicate = put_object(&t, t.root, "predicate");
    cJSON *definition = put_object(&t, predicate, "buildDefinition");
    put_string(&t, definition, "buildType", BUILD_TYPE);
    put_string(&t, put_object(&t, definition, "externalParameters"), "recipe", "recipe.json");
    put_dependencies(&t, definition, m, recipe_sha256);
    cJSON *details = put_object(&t, predicate, "runDetails");
    cJSON *builder = put_object(&t, details, "builder");
    put_string(&t, builder, "id", BUILDER_ID);
    put_string(&t, put_object(&t, builder, "version"), "recast", RECAST_VERSION);
    put_byproducts(&t, details, m);
    return tree_end(&t, out, PROVENANCE_FILE, err);
}
