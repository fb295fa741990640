/* bom.c -- bom.cdx.json. Fields: cyclonedx.org/schema/bom-1.6.schema.json, where what is not known goes into
 * `properties`. No timestamp; the serial number follows from the files. */
#include "model/family.h"
#include "packager/evidence.h"
#include "packager/json_build.h"
#include <stdio.h>
#include <string.h>

static void put_hash(Tree *t, cJSON *component, const char *sha256) {
    cJSON *hash = append_object(t, put_array(t, component, "hashes"));
    put_string(t, hash, "alg", "SHA-256");
    put_string(t, hash, "content", sha256);
}

/* The schema wants a UUID; this one (version 8, RFC 9562) is the first bits of a hash over the files' hashes.
 */
static int put_serial(Tree *t, const Manifest *m, Error *err) {
    Buffer all;
    char h[SHA256_HEX], urn[64];
    buffer_init(&all, NULL);
    for (size_t i = 0; i < m->n_files; i++)
        buffer_printf(&all, "%s  %s\n", m->files[i].sha256, m->files[i].path);
    int code = buffer_ok(&all, BOM_FILE, err);
    if (!code) code = sha256_bytes(h, buffer_string(&all), all.length, err);
    buffer_free(&all);
    if (code) return code;
    char variant = "89ab"[(h[16] <= '9' ? h[16] - '0' : h[16] - 'a' + 10) & 3];
    snprintf(urn, sizeof urn, "urn:uuid:%.8s-%.4s-8%.3s-%c%.3s-%.12s", h, h + 8, h + 13, variant, h + 17,
             h + 20);
    put_string(t, t->root, "serialNumber", urn);
    return 0;
}

/* The Hub's ids are SPDX's in lower case; the schema knows SPDX's own spelling alone. Others are given by
 * name. */
static void put_license(Tree *t, cJSON *component, const char *id) {
    static const char *const known[] = {"Apache-2.0",   "MIT",       "BSD-2-Clause",    "BSD-3-Clause",
                                        "CC0-1.0",      "CC-BY-4.0", "CC-BY-SA-4.0",    "CC-BY-NC-4.0",
                                        "GPL-3.0-only", "MPL-2.0",   "CC-BY-NC-SA-4.0", "Unlicense"};
    if (!id) return;
    cJSON *license = put_object(t, append_object(t, put_array(t, component, "licenses")), "license");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(known[i], id)) {
            put_string(t, license, "id", known[i]);
            return;
        }
    put_string(t, license, "name", id);
}

static void put_pedigree(Tree *t, cJSON *component, const Manifest *m) {
    char purl[512];
    Buffer notes;
    buffer_init(&notes, NULL);
    cJSON *pedigree = put_object(t, component, "pedigree");
    const char *slash = m->repo ? strchr(m->repo, '/') : NULL;
    cJSON *base = append_object(t, put_array(t, pedigree, "ancestors"));
    put_string(t, base, "type", "machine-learning-model");
    if (slash) snprintf(purl, sizeof purl, "%.*s", (int)(slash - m->repo), m->repo);
    if (slash) put_string(t, base, "group", purl);
    put_string(t, base, "name", slash ? slash + 1 : m->repo ? m->repo : "local checkpoint");
    put_string(t, base, "version", m->commit);
    int n =
        m->repo && m->commit ? snprintf(purl, sizeof purl, "pkg:huggingface/%s@%s", m->repo, m->commit) : 0;
    if (n > 0 && n < (int)sizeof purl) put_string(t, base, "purl", purl);
    for (size_t i = 0; i < m->n_changes; i++)
        buffer_printf(&notes, "%s%s: %s -> %s", i ? "; " : "", m->changes[i].key, m->changes[i].old_value,
                      m->changes[i].new_value);
    t->ok &= !notes.failed;
    put_string(t, pedigree, "notes", buffer_string(&notes));
    buffer_free(&notes);
}

static void put_reference(Tree *t, cJSON *list, const char *type, const char *url, const char *sha256) {
    cJSON *r = append_object(t, list);
    put_string(t, r, "type", type);
    put_string(t, r, "url", url);
    put_hash(t, r, sha256);
}

static void put_property(Tree *t, cJSON *list, const char *name, const char *value) {
    if (!value || !value[0]) return;
    cJSON *p = append_object(t, list);
    put_string(t, p, "name", name);
    put_string(t, p, "value", value);
}

/* ---- model card ---- */

static void put_figure(Tree *t, cJSON *object, const char *key, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.9g", value);
    put_string(t, object, key, text);
}

/* half: of the width of its 95 % interval; 0: not known. */
static void put_metric(Tree *t, cJSON *list, const char *type, const char *slice, double value, double half) {
    cJSON *metric = append_object(t, list);
    put_string(t, metric, "type", type);
    put_figure(t, metric, "value", value);
    put_string(t, metric, "slice", slice);
    if (!(half > 0)) return;
    cJSON *interval = put_object(t, metric, "confidenceInterval");
    put_figure(t, interval, "lowerBound", value > half ? value - half : 0);
    put_figure(t, interval, "upperBound", value + half);
}

static void put_metrics(Tree *t, cJSON *card, const Manifest *m) {
    cJSON *list = NULL;
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        if (!a->quality.positions) continue;
        if (!list) list = put_array(t, put_object(t, card, "quantitativeAnalysis"), "performanceMetrics");
        put_metric(t, list, "mean KL divergence from the source with overrides, nats a token", a->path,
                   a->quality.kl, a->quality.kl_error);
        put_metric(t, list, "KL divergence, 99.9 % of positions", a->path, a->quality.kl_999, 0);
        put_metric(t, list, "same most probable token, share of positions", a->path, a->quality.top1, 0);
        if (a->quality.ppl > 0)
            put_metric(t, list, "perplexity", a->path, a->quality.ppl, 1.96 * a->quality.ppl_error);
    }
}

static void put_format(Tree *t, cJSON *parameters, const char *key) {
    put_string(t, append_object(t, put_array(t, parameters, key)), "format", "string");
}

static void put_model_card(Tree *t, cJSON *component, const PackageInputs *in) {
    const ModelParams *p = &in->derived->params;
    char number[32];
    cJSON *card = put_object(t, component, "modelCard"), *parameters = put_object(t, card, "modelParameters");
    put_string(t, parameters, "task", "text-generation");
    put_string(t, parameters, "architectureFamily", "transformer");
    put_string(t, parameters, "modelArchitecture", p->architecture);
    put_format(t, parameters, "inputs");
    put_format(t, parameters, "outputs");
    put_metrics(t, card, &in->manifest);
    cJSON *properties = put_array(t, card, "properties");
    put_property(t, properties, "recast:source_weights_sha256", in->manifest.weights_sha256);
    if (!p->n_experts) return;
    snprintf(number, sizeof number, "%u", p->n_experts);
    put_property(t, properties, "recast:num_experts", number);
    snprintf(number, sizeof number, "%u", p->n_experts_used);
    put_property(t, properties, "recast:num_experts_per_tok", number);
}

/* ---- files ---- */

static const Artifact *artifact_of(const Manifest *m, const char *path) {
    for (size_t i = 0; i < m->n_artifacts; i++)
        if (!strcmp(m->artifacts[i].path, path)) return &m->artifacts[i];
    return NULL;
}

static void put_files(Tree *t, cJSON *component, const Manifest *m) {
    cJSON *list = put_array(t, component, "components");
    for (size_t i = 0; i < m->n_files; i++) {
        const Artifact *a = artifact_of(m, m->files[i].path);
        cJSON *f = append_object(t, list);
        put_string(t, f, "type", "file");
        put_string(t, f, "bom-ref", m->files[i].path);
        put_string(t, f, "name", m->files[i].path);
        put_hash(t, f, m->files[i].sha256);
        if (!a) continue;
        cJSON *properties = put_array(t, f, "properties");
        put_property(t, properties, "recast:type", a->type);
        put_property(t, properties, "recast:weights_sha256", a->weights_sha256);
        put_property(t, properties, "recast:metadata_sha256", a->metadata_sha256);
        put_property(t, properties, "recast:derivation_sha256", a->derivation_sha256);
    }
}

static void put_depends(Tree *t, const Manifest *m) {
    cJSON *model = append_object(t, put_array(t, t->root, "dependencies"));
    put_string(t, model, "ref", "model");
    cJSON *on = put_array(t, model, "dependsOn");
    for (size_t i = 0; t->ok && i < m->n_files; i++) {
        cJSON *name = cJSON_CreateString(m->files[i].path);
        t->ok = name && cJSON_AddItemToArray(on, name);
    }
}

/* ---- the whole ---- */

static void put_model(Tree *t, cJSON *metadata, const PackageInputs *in, const char *recipe,
                      const char *provenance) {
    const Manifest *m = &in->manifest;
    cJSON *c = put_object(t, metadata, "component");
    put_string(t, c, "type", "machine-learning-model");
    put_string(t, c, "bom-ref", "model");
    if (m->author) put_string(t, append_object(t, put_array(t, c, "authors")), "name", m->author);
    put_string(t, c, "name", m->name);
    put_license(t, c, m->license);
    put_pedigree(t, c, m);
    cJSON *references = put_array(t, c, "externalReferences");
    put_reference(t, references, "configuration", "recipe.json", recipe);
    put_reference(t, references, "attestation", PROVENANCE_FILE, provenance);
    put_files(t, c, m);
    put_model_card(t, c, in);
}

int bom_write(Buffer *out, const PackageInputs *in, const char *recipe_sha256, const char *provenance_sha256,
              Error *err) {
    Tree t = tree_begin();
    put_string(&t, t.root, "bomFormat", "CycloneDX");
    put_string(&t, t.root, "specVersion", "1.6");
    int code = put_serial(&t, &in->manifest, err);
    if (code) {
        cJSON_Delete(t.root);
        return code;
    }
    put_number(&t, t.root, "version", 1);
    cJSON *metadata = put_object(&t, t.root, "metadata");
    cJSON *tool = append_object(&t, put_array(&t, put_object(&t, metadata, "tools"), "components"));
    put_string(&t, tool, "type", "application");
    put_string(&t, tool, "name", "recast");
    put_string(&t, tool, "version", RECAST_VERSION);
    put_model(&t, metadata, in, recipe_sha256, provenance_sha256);
    put_depends(&t, &in->manifest);
    return tree_end(&t, out, BOM_FILE, err);
}
