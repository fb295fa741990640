/* package.c -- a package directory: its files, then every artifact that the manifest lists. Paths are used
 * only after manifest_read has checked them, and only where the tree has regular files. */
#include "packager/package.h"
#include "core/json.h"
#include "model/metadata_digest.h"
#include "model/views.h"
#include "validate/quality.h"
#include "validate/validation.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

typedef struct Package {
    const Validation *v;
    const char *directory;
    FileTree tree;
    Manifest *manifest;
    const Recipe *recipe; /* the given one, or own */
    Recipe *own;
} Package;

/* ---- what the manifest says of an artifact ---- */

static int mismatch(Error *err, const char *what, const char *found, const char *said) {
    return error_set(err, ERR_CHECK, "the manifest gives the %s %s, the artifact has %s", what,
                     said && *said ? said : "none", found && *found ? found : "none");
}

static bool same(const char *a, const char *b) {
    return !strcmp(a ? a : "", b ? b : "");
}

/* Each line of recast.overrides is one change of the manifest, in the same order. */
static int same_changes(const Manifest *m, const ProvenanceRead *p, Error *err) {
    if (p->n_changes != m->n_changes)
        return error_set(err, ERR_CHECK, "the manifest lists %zu overrides, the artifact %zu", m->n_changes,
                         p->n_changes);
    Buffer line;
    buffer_init(&line, NULL);
    int code = 0;
    for (size_t i = 0; i < m->n_changes && !code; i++) {
        const Change *c = &m->changes[i];
        buffer_clear(&line);
        buffer_printf(&line, "%s: %s -> %s", c->key, c->old_value, c->new_value);
        code = buffer_ok(&line, "an override", err);
        if (!code && strcmp(buffer_string(&line), p->changes[i].data))
            code = mismatch(err, "override", p->changes[i].data, buffer_string(&line));
    }
    buffer_free(&line);
    return code;
}

static int described_origin(const Artifact *a, const Manifest *m, const Model *model, Error *err) {
    ProvenanceRead p;
    if (model->form != FORM_GGUF) return 0;
    TRY(provenance_read(&p, model->metadata, err));
    if (!same(p.derivation_sha256, a->derivation_sha256))
        return mismatch(err, "recipe's hash", p.derivation_sha256, a->derivation_sha256);
    if (p.output && !same(p.output, a->type)) return mismatch(err, "type", p.output, a->type);
    if (!same(p.repo, m->repo)) return mismatch(err, "base repository", p.repo, m->repo);
    if (!same(p.commit, m->commit)) return mismatch(err, "base commit", p.commit, m->commit);
    if (!same(p.weights_sha256, m->weights_sha256))
        return mismatch(err, "source's weights digest", p.weights_sha256, m->weights_sha256);
    return same_changes(m, &p, err);
}

/* All that a GGUF says beside its tensors, the chat template too. An older package gives no digest of it. */
static int described_metadata(const Artifact *a, const Model *model, Error *err) {
    char found[SHA256_HEX];
    if (model->form != FORM_GGUF || !a->metadata_sha256[0]) return 0;
    TRY(metadata_sha256(found, model->metadata, err));
    return strcmp(found, a->metadata_sha256) ? mismatch(err, "metadata digest", found, a->metadata_sha256)
                                             : 0;
}

static int described(const Artifact *a, const Manifest *m, const Subject *s, bool lossless, Error *err) {
    bool gguf = !strcmp(a->format, "gguf");
    if (gguf != (s->model->form == FORM_GGUF)) return error_set(err, ERR_CHECK, "it is no %s", a->format);
    if (a->n_tensors != s->model->n_tensors)
        return error_set(err, ERR_CHECK, "the manifest says %zu tensors, the artifact has %zu", a->n_tensors,
                         s->model->n_tensors);
    if (!same(a->weights_sha256, s->digest))
        return mismatch(err, "weights digest", s->digest, a->weights_sha256);
    if (a->lossless != lossless)
        return error_set(err, ERR_CHECK,
                         "the manifest says %slossless, but its weights digest is %sthe source's",
                         a->lossless ? "" : "not ", lossless ? "" : "not ");
    TRY(described_metadata(a, s->model, err));
    return described_origin(a, m, s->model, err);
}

static int check_described(const Validation *v, const Artifact *a, const Manifest *m, const Subject *s,
                           bool lossless, Error *err) {
    Error found = {0};
    if (described(a, m, s, lossless, &found)) return check_error(v, "hashes", "manifest", &found, err);
    check_add(v, "hashes", CHECK_PASS, "manifest", "%s, as the manifest says: weights digest %s",
              lossless ? "lossless" : "not lossless", s->digest[0] ? s->digest : "none");
    return 0;
}

/* ---- artifacts ---- */

/* How many shards an artifact has by its name; 0 if it is no first shard. */
static uint32_t shards_of(const Artifact *a) {
    uint32_t number, count;
    return gguf_is_shard_path(a->path, &number, &count) && number == 1 ? count : 0;
}

static bool all_plain(const Package *p, const Artifact *a, Arena *arena) {
    uint32_t n = shards_of(a);
    bool plain = tree_is_plain(&p->tree, a->path);
    for (uint32_t i = 1; plain && i < n; i++) {
        const char *path = gguf_shard_path(arena, a->path, i, n);
        plain = path && tree_is_plain(&p->tree, path);
    }
    return plain;
}

/* The shards, in order. Each is there: the model could be opened. */
static int own_shards(Subject *s, const Package *p, const Artifact *a, Arena *arena, Error *err) {
    uint32_t n = shards_of(a);
    FoundFile *files = arena_alloc(arena, n, sizeof *files);
    if (!files) return error_memory(err, "the files of an artifact");
    for (uint32_t i = 0; i < n; i++) {
        const char *path = gguf_shard_path(arena, a->path, i, n);
        const FoundFile *f = path ? tree_find(&p->tree, path) : NULL;
        if (!f) return path ? 0 : error_memory(err, "the files of an artifact");
        files[s->n_files++] = *f;
    }
    s->files = files;
    return 0;
}

/* The tree's files of an artifact, names relative to it. */
static int own_files(Subject *s, const Package *p, const Artifact *a, Arena *arena, Error *err) {
    if (shards_of(a)) return own_shards(s, p, a, arena, err);
    size_t length = strlen(a->path);
    FoundFile *files = arena_alloc(arena, p->tree.n_files, sizeof *files);
    if (!files) return error_memory(err, "the files of an artifact");
    for (size_t i = 0; i < p->tree.n_files; i++) {
        const FoundFile *f = &p->tree.files[i];
        if (strncmp(f->path, a->path, length) || (f->path[length] && f->path[length] != '/')) continue;
        files[s->n_files] = *f;
        if (f->path[length]) files[s->n_files].path += length + 1;
        s->n_files++;
    }
    s->files = files;
    return 0;
}

/* ---- what a type costs ---- */

static bool same_figure(double a, double b) {
    return fabs(a - b) <= 1e-9 * fabs(a); /* the manifest's decimals may be rounded */
}

/* b: as the manifest says; an older one doesn't. */
static bool same_error(double a, double b) {
    return b == 0 || same_figure(a, b);
}

static bool same_quality(const QualityRecord *a, const QualityRecord *b) {
    return a->positions == b->positions && same_figure(a->kl, b->kl) &&
           same_figure(a->kl_error, b->kl_error) && same_figure(a->kl_999, b->kl_999) &&
           same_figure(a->top1, b->top1) && same_figure(a->ppl, b->ppl) &&
           same_figure(a->source_ppl, b->source_ppl) && same_error(a->ppl_error, b->ppl_error) &&
           same_error(a->source_ppl_error, b->source_ppl_error);
}

static int measure_again(QualityRecord *out, const Package *p, const Validation *v, const Model *model,
                         Error *err) {
    RecipeStack derived;
    QualityTask task = {.recipe = p->recipe,
                        .label = "quality",
                        .device = v->options->device,
                        .threads = v->options->threads,
                        .progress = v->options->progress};
    TRY(recipe_override_open(&derived, p->recipe, v->options->source, v->options->allocator, err));
    int code = quality_measure(out, derived.top, model, &task, err);
    recipe_stack_close(&derived);
    return code;
}

/* With source and adapters at hand: does the recipe merge and round no further? Whether the tensors are those
 * is the source's check. */
static bool is_exact_merge(const Package *p, const Validation *v, const Artifact *a, const Model *model) {
    RecipeStack stack;
    Error ignored = {0};
    size_t i = p->recipe ? find_output(p->recipe, a->path, model) : 0;
    if (!v->options->source || !p->recipe || i == p->recipe->n_outputs) return false;
    if (recipe_stack_open(&stack, p->recipe, i, v->options->source, v->options->allocator, &ignored))
        return false;
    bool exact = stack.lora && retype_is_lossless(stack.top);
    recipe_stack_close(&stack);
    return exact;
}

/* An artifact that is not lossless, without figures: says why, and what would help. */
static void unmeasured(const Package *p, const Validation *v, const Artifact *a, const Model *model) {
    bool merged = json_get(p->manifest->json, "lora") && dtype_is_float(gguf_common_type(model));
    if (merged && is_exact_merge(p, v, a, model))
        check_add(v, "quality", CHECK_PASS, "quality", "the merged weights, rounded no further");
    else
        check_add(v, "quality", CHECK_NOT_RUN, "quality", "%s",
                  merged
                      ? "no figures are recorded: adapters were merged, and only the merge itself says what "
                        "the weights ought to be; --source CHECKPOINT --lora ADAPTER compares with it"
                      : "not lossless, and no figures are recorded: a build without --no-generate measures "
                        "them, where the runner takes the type");
}

/* Figures are taken from nobody's word: with the source they are measured again. */
static int check_quality(const Package *p, const Validation *v, const Artifact *a, const Model *model,
                         bool lossless, Error *err) {
    QualityRecord found;
    Error wrong = {0};
    if (lossless) {
        check_add(v, "quality", CHECK_PASS, "quality", "lossless: the source's own weights");
        return 0;
    }
    if (!a->quality.positions) {
        unmeasured(p, v, a, model);
        return 0;
    }
    if (!v->options->source || !p->recipe) {
        check_add(v, "quality", CHECK_NOT_RUN, "quality",
                  "recorded: mean KL %.3g, top-1 %.4f; without the source they can't be measured again",
                  a->quality.kl, a->quality.top1);
        return 0;
    }
    if (p->recipe->eval_text && access(p->recipe->eval_text, R_OK) != 0) {
        check_add(
            v, "quality", CHECK_NOT_RUN, "quality",
            "recorded: mean KL %.3g, top-1 %.4f; they were measured on a text that is not in the package",
            a->quality.kl, a->quality.top1);
        return 0;
    }
    if (measure_again(&found, p, v, model, &wrong)) return check_error(v, "quality", "quality", &wrong, err);
    if (!same_quality(&found, &a->quality)) {
        check_add(
            v, "quality", CHECK_FAIL, "quality",
            "the manifest says mean KL %.9g, top-1 %.9g over %llu positions; found %.9g, %.9g over %llu",
            a->quality.kl, a->quality.top1, (unsigned long long)a->quality.positions, found.kl, found.top1,
            (unsigned long long)found.positions);
        return 0;
    }
    const char *name = arena_printf(v->arena, "%s: quality", a->path);
    if (!name) return error_memory(err, "a check");
    quality_judge(v->report, name, &found, p->recipe);
    return 0;
}

static int check_open_artifact(const Package *p, const Validation *v, const Artifact *a, const Model *model,
                               Error *err) {
    const Manifest *m = p->manifest;
    Subject s = {.model = model,
                 .name = a->path,
                 .recipe = p->recipe,
                 .exact = true,
                 .n_records = m->n_generations,
                 .records = m->generations};
    TRY(check_structure(v, model, err));
    TRY(artifact_digest(s.digest, v, model, err));
    bool lossless = s.digest[0] && !strcmp(s.digest, m->weights_sha256);
    TRY(check_described(v, a, m, &s, lossless, err));
    TRY(own_files(&s, p, a, v->arena, err));
    TRY(check_subject(v, &s, lossless || a->lossless, err));
    return check_quality(p, v, a, model, lossless, err);
}

/* In an archive of the evidence: was it left out? */
static bool is_left_out(const Package *p, const Artifact *a) {
    size_t length = strlen(a->path);
    for (size_t i = 0; p->v->options->evidence && i < p->manifest->n_files; i++) {
        const char *path = p->manifest->files[i].path;
        bool own = !strncmp(path, a->path, length) && (!path[length] || path[length] == '/');
        if (own && package_is_weights(path) && !tree_find(&p->tree, path)) return true;
    }
    return false;
}

static int check_artifact(const Package *p, const Artifact *a, Error *err) {
    Validation v = *p->v;
    Model *model;
    Error found = {0};
    v.label = a->path;
    if (is_left_out(p, a)) {
        check_add(&v, "structure", CHECK_NOT_RUN, "opens", "its weights are not in the archive");
        return 0;
    }
    if (!all_plain(p, a, v.arena)) {
        check_add(&v, "structure", CHECK_NOT_RUN, "opens", "a file of it is missing, or is no regular file");
        return 0;
    }
    v.path = arena_printf(v.arena, "%s/%s", p->directory, a->path);
    if (!v.path) return error_memory(err, "a path");
    if (model_open(&model, v.path, v.options->allocator, &found)) return check_open_error(&v, &found, err);
    int code = check_open_artifact(p, &v, a, model, err);
    model_close(model);
    return code;
}

/* ---- the package's source ---- */

static int same_sources(const Manifest *m, const SourceProof *proof, Error *err) {
    for (size_t i = 0; i < m->n_sources || i < proof->n_files; i++) {
        const FileProof *said = i < m->n_sources ? &m->sources[i] : NULL,
                        *found = i < proof->n_files ? &proof->files[i] : NULL;
        int order = !said ? 1 : !found ? -1 : strcmp(said->name, found->name);
        if (order < 0)
            return error_set(err, ERR_CHECK,
                             "the package was made from a file %s that the source does not have", said->name);
        if (order > 0)
            return error_set(err, ERR_CHECK, "the source has a file %s that the package was not made from",
                             found->name);
        if (strcmp(said->sha256, found->sha256))
            return error_set(err, ERR_CHECK,
                             "%s of the source has SHA-256 %s; the package was made from %s: another source",
                             said->name, found->sha256, said->sha256);
    }
    if (!strcmp(m->weights_sha256, proof->weights_sha256)) return 0;
    return mismatch(err, "source's weights digest", proof->weights_sha256, m->weights_sha256);
}

static int check_sources(const Package *p, Error *err) {
    const Validation *v = p->v;
    Error found = {0};
    if (same_sources(p->manifest, v->options->proof, &found))
        TRY(check_error(v, "source", "files of the source", &found, err));
    else
        check_add(v, "source", CHECK_PASS, "files of the source",
                  "%zu files, with the hashes that the manifest names", p->manifest->n_sources);
    return p->recipe ? check_pins(v, p->recipe, err) : 0;
}

/* Of a merge, what was generated is recorded with each artifact: there is nothing else with its weights. */
static bool says_of_source(const Manifest *m) {
    for (size_t i = 0; i < m->n_generations; i++)
        if (!m->generations[i].artifact) return true;
    return false;
}

/* What the manifest says that the source with overrides says. */
static int check_source_generation(const Package *p, Error *err) {
    RecipeStack derived;
    Error found = {0};
    Validation v = *p->v;
    v.label = "source with overrides";
    if (!p->recipe || !says_of_source(p->manifest)) return 0;
    if (recipe_override_open(&derived, p->recipe, v.options->source, v.options->allocator, &found))
        return check_error(&v, "source", "recipe", &found, err);
    int code = check_generation(&v, derived.top, NULL, true, NULL, p->manifest->n_generations,
                                p->manifest->generations, err);
    recipe_stack_close(&derived);
    return code;
}

/* ---- the whole ---- */

static int open_recipe(Package *p, Error *err) {
    const char *name = p->manifest->recipe_file;
    Error found = {0};
    p->recipe = p->v->options->recipe;
    if (p->recipe || !name) return 0;
    const FoundFile *f = tree_find(&p->tree, name);
    if (!f || f->kind != FOUND_FILE) return 0; /* the hashes say so */
    char *path = arena_printf(p->v->arena, "%s/%s", p->directory, name);
    if (!path) return error_memory(err, "a path");
    if (recipe_load(&p->own, path, NULL, 0, p->v->options->allocator, &found))
        return check_error(p->v, "structure", "recipe", &found, err);
    TRY(recipe_set_adapters(p->own, p->v->options->adapters, p->v->options->n_adapters, err));
    p->recipe = p->own;
    return 0;
}

static int read_manifest(Package *p, Error *err) {
    Error found = {0};
    const FoundFile *f = tree_find(&p->tree, "manifest.json");
    if (!f || f->kind != FOUND_FILE) {
        check_add(p->v, "hashes", CHECK_FAIL, "manifest.json", "is missing, or no regular file");
        return 0;
    }
    if (manifest_read(&p->manifest, p->directory, p->v->options->allocator, &found))
        return check_error(p->v, "hashes", "manifest.json", &found, err);
    if (!p->manifest->n_artifacts)
        check_add(p->v, "hashes", CHECK_FAIL, "manifest.json", "lists no artifact");
    return 0;
}

static int check_all(Package *p, Error *err) {
    TRY(tree_list(&p->tree, p->directory, p->v->arena, err));
    TRY(read_manifest(p, err));
    if (!p->manifest) return 0;
    TRY(check_hashes(p->v, p->directory, &p->tree, p->manifest, err));
    TRY(check_evidence(p->v, p->directory, &p->tree, p->manifest, err));
    TRY(check_signature(p->v, p->directory, &p->tree, p->manifest, err));
    TRY(open_recipe(p, err));
    if (p->own) check_records(p->v, p->manifest, p->own);
    if (p->v->options->source) TRY(check_sources(p, err));
    for (size_t i = 0; i < p->manifest->n_artifacts; i++)
        TRY(check_artifact(p, &p->manifest->artifacts[i], err));
    return p->v->options->source ? check_source_generation(p, err) : 0;
}

int check_package(const Validation *v, const char *directory, Error *err) {
    Package p = {.v = v, .directory = directory};
    int code = check_all(&p, err);
    recipe_close(p.own);
    manifest_close(p.manifest);
    return code;
}
