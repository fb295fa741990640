/* manifest_write.c -- a Manifest as JSON. The order of keys is fixed here, so the same package has the same
 * bytes. */
#include "core/json.h"
#include "model/lora.h"
#include "packager/json_build.h"
#include "packager/manifest_private.h"
#include <math.h>
#include <string.h>

static void put_file(Tree *t, cJSON *array, const char *path, uint64_t size, const char *sha256) {
    cJSON *file = append_object(t, array);
    put_string(t, file, "path", path);
    put_number(t, file, "size", (double)size);
    put_string(t, file, "sha256", sha256);
}

static void put_base(Tree *t, const Manifest *m) {
    cJSON *base = put_object(t, t->root, "base");
    put_string(t, base, "repo", m->repo);
    put_string(t, base, "commit", m->commit);
    put_string(t, base, "weights_sha256", m->weights_sha256);
    cJSON *files = put_array(t, base, "files");
    for (size_t i = 0; i < m->n_sources; i++)
        put_file(t, files, m->sources[i].name, m->sources[i].size, m->sources[i].sha256);
}

/* Values are JSON already (Change): they are parsed, so that readers see numbers and objects. */
static int put_changes(Tree *t, const Manifest *m, Error *err) {
    cJSON *list = put_array(t, t->root, "overrides");
    for (size_t i = 0; i < m->n_changes; i++) {
        const Change *c = &m->changes[i];
        cJSON *old_value = NULL, *new_value = NULL;
        TRY(json_parse(&old_value, c->old_value, strlen(c->old_value), c->key, err));
        int code = json_parse(&new_value, c->new_value, strlen(c->new_value), c->key, err);
        if (code) {
            cJSON_Delete(old_value);
            return code;
        }
        cJSON *item = append_object(t, list);
        put_string(t, item, "key", c->key);
        put_item(t, item, "old", old_value);
        put_item(t, item, "new", new_value);
    }
    return 0;
}

static void put_adapters(Tree *t, const Lora *lora) {
    const LoraAdapterInfo *infos;
    size_t n = lora_adapters(lora, &infos);
    LoraSummary all = lora_summary(lora);
    cJSON *merge = cJSON_CreateObject();
    put_item(t, t->root, "lora", merge);
    cJSON *list = put_array(t, merge, "adapters");
    for (size_t i = 0; i < n; i++) {
        cJSON *item = append_object(t, list);
        put_string(t, item, "weights_sha256", infos[i].weights_sha256);
        put_string(t, item, "config_sha256", infos[i].config_sha256);
        put_number(t, item, "scale", infos[i].scale);
        put_string(t, item, "rounding", lora_rounding_name(infos[i].rounding));
        put_string(t, item, "expert_b_layout", lora_layout_name(infos[i].layout));
        put_number(t, item, "pairs", (double)infos[i].n_pairs);
        put_number(t, item, "replaced", (double)infos[i].n_replaced);
        put_number(t, item, "tensors", (double)infos[i].n_tensors);
    }
    put_number(t, merge, "tensors", (double)all.n_tensors);
    put_number(t, merge, "elements", (double)all.elements);
    put_number(t, merge, "changed", (double)all.changed);
    put_number(t, merge, "largest_change", (double)all.max);
    put_string(t, merge, "largest_change_in", all.max_name);
    put_number(t, merge, "mean_change", all.mean);
}

static void put_quality(Tree *t, cJSON *item, const QualityRecord *q) {
    if (!q->positions) return;
    cJSON *o = cJSON_CreateObject();
    put_item(t, item, "quality", o);
    put_number(t, o, "positions", (double)q->positions);
    put_number(t, o, "mean_kl", q->kl);
    put_number(t, o, "mean_kl_error", q->kl_error);
    put_number(t, o, "kl_999", q->kl_999);
    put_number(t, o, "top1", q->top1);
    if (q->ppl == 0) return;
    put_number(t, o, "source_perplexity", q->source_ppl);
    put_number(t, o, "source_perplexity_standard_error", q->source_ppl_error);
    put_number(t, o, "perplexity", q->ppl);
    put_number(t, o, "perplexity_standard_error", q->ppl_error);
}

static void put_artifacts(Tree *t, const Manifest *m) {
    cJSON *list = put_array(t, t->root, "artifacts");
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        cJSON *item = append_object(t, list);
        put_string(t, item, "path", a->path);
        put_string(t, item, "format", a->format);
        put_string(t, item, "type", a->type);
        put_number(t, item, "tensors", (double)a->n_tensors);
        put_item(t, item, "lossless", cJSON_CreateBool(a->lossless));
        put_string(t, item, "weights_sha256", a->weights_sha256);
        put_string(t, item, "metadata_sha256", a->metadata_sha256);
        put_string(t, item, "derivation_sha256", a->derivation_sha256);
        put_quality(t, item, &a->quality);
    }
}

static void put_generations(Tree *t, const Manifest *m) {
    cJSON *list = put_array(t, t->root, "generations");
    for (size_t i = 0; i < m->n_generations; i++) {
        const GenerationRecord *g = &m->generations[i];
        cJSON *item = append_object(t, list);
        put_string(t, item, "artifact", g->artifact);
        put_string(t, item, "prompt", g->prompt);
        put_number(t, item, "tokens", g->n_tokens);
        put_string(t, item, "arithmetic", g->arithmetic);
        put_item(t, item, "text", cJSON_CreateString(g->text));
        put_string(t, item, "tokens_sha256", g->tokens_sha256);
        put_string(t, item, "logits_sha256", g->logits_sha256);
        /* Infinite when there is no second logit; JSON has no word for that. */
        if (isfinite(g->least_margin)) put_number(t, item, "least_margin", (double)g->least_margin);
    }
}

static int check_files(const Manifest *m, Error *err) {
    for (size_t i = 0; i < m->n_files; i++) {
        const char *problem = package_path_problem(m->files[i].path);
        if (problem)
            return error_set(err, ERR_FORMAT, "manifest.json: the path \"%s\" %s", m->files[i].path, problem);
        if (m->files[i].size > (UINT64_C(1) << 53))
            return error_set(err, ERR_LIMIT, "manifest.json: %s is larger than 2^53 bytes", m->files[i].path);
        if (i && strcmp(m->files[i - 1].path, m->files[i].path) >= 0)
            return error_set(err, ERR_FORMAT, "manifest.json: files must be sorted and different; %s is not",
                             m->files[i].path);
    }
    return 0;
}

static int build(Tree *t, const Manifest *m, Error *err) {
    put_number(t, t->root, "manifest", MANIFEST_VERSION);
    put_string(t, t->root, "name", m->name);
    put_string(t, t->root, "license", m->license);
    put_string(t, t->root, "author", m->author);
    put_base(t, m);
    TRY(put_changes(t, m, err));
    if (m->lora) put_adapters(t, m->lora);
    put_string(t, t->root, "recipe", m->recipe_file);
    put_artifacts(t, m);
    put_generations(t, m);
    if (m->report) put_item(t, t->root, "report", cJSON_Duplicate(m->report, true));
    cJSON *files = put_array(t, t->root, "files");
    for (size_t i = 0; i < m->n_files; i++)
        put_file(t, files, m->files[i].path, m->files[i].size, m->files[i].sha256);
    return t->ok ? 0 : error_memory(err, "manifest.json");
}

int manifest_write(Buffer *out, const Manifest *m, Error *err) {
    TRY(check_files(m, err));
    Tree t = tree_begin();
    int code = build(&t, m, err);
    if (!code) return tree_end(&t, out, "manifest.json", err);
    cJSON_Delete(t.root);
    return code;
}
