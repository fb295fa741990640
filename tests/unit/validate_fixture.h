/* validate_fixture.h -- a package made from the bundled model, for the tests of validate: the steps of the
 * main job in a few lines, so that these tests need nothing of cli/. */
#ifndef RECAST_TESTS_VALIDATE_FIXTURE_H
#define RECAST_TESTS_VALIDATE_FIXTURE_H

#include "convert/hf_form.h"
#include "convert/produce.h"
#include "core/output.h"
#include "fixture.h"
#include "model/views.h"
#include "packager/package.h"
#include "support.h"
#include "validate/validate.h"

typedef struct Made {
    FixturePath root, package; /* package: root/pkg */
    Recipe *recipe;
    Model *source;
    SourceProof *proof;
    RecipeStack derived;
    Arena *arena;
    Report *report; /* of the artifacts as they were made */
    GenerationRecord generations[8];
    Artifact artifacts[4];
    ManifestFile files[64];
    size_t n_generations, n_files;
} Made;

static const char made_gguf[] = "tiny-BF16.gguf";

/* outputs: JSON, for instance "{\"format\":\"gguf\",\"type\":\"bf16\"}" */
static inline void made_recipe(Made *m, const char *source, const char *outputs) {
    char *absolute = realpath(source, NULL), text[2048];
    cr_assert_not_null(absolute);
    snprintf(text, sizeof text,
             "{\"recipe\": 1, \"name\": \"tiny\", \"base\": {\"repo\": \"example/tiny\", \"path\": \"%s\"},\n"
             " \"overrides\": {\"num_experts_per_tok\": 16, \"max_position_embeddings\": 1024,\n"
             "   \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
             "\"original_max_position_embeddings\": 256}},\n"
             " \"outputs\": [%s], \"validate\": {\"prompts\": [\"And the LORD said\"], \"tokens\": 6},\n"
             " \"package\": {\"license\": \"apache-2.0\", \"tags\": [\"extreme\"]}}\n",
             absolute, outputs);
    free(absolute);
    fixture_write_text(m->root, "recipe.json", text);
    FixturePath path;
    fixture_path(path, m->root, "recipe.json");
    OK(recipe_load(&m->recipe, path, NULL, 0, NULL, err));
    OK(model_open(&m->source, source, NULL, err));
    OK(source_prove(&m->proof, m->source, 2, NULL, NULL, err));
    OK(recipe_override_open(&m->derived, m->recipe, m->source, NULL, err));
}

static inline void made_file(Made *m, const char *path, const FileResult *result) {
    ManifestFile *f = &m->files[m->n_files++];
    cr_assert_lt(m->n_files, 64);
    *f = (ManifestFile){.path = arena_string(m->arena, path), .size = result->size};
    memcpy(f->sha256, result->sha256, SHA256_HEX);
}

static inline void made_write_gguf(Made *m, size_t i, const Model *top, const char *path) {
    Buffer derivation;
    FileResult file;
    const Recipe *r = m->recipe;
    buffer_init(&derivation, NULL);
    OK(recipe_derivation(r, i, m->proof, NULL, &derivation, err));
    Provenance p = {.derivation = buffer_string(&derivation),
                    .repo = r->repo,
                    .proof = m->proof,
                    .n_changes = top->n_changes,
                    .changes = top->changes,
                    .output = r->outputs[i].type_name,
                    .license = r->license,
                    .n_tags = r->n_tags,
                    .tags = r->tags};
    char hex[SHA256_HEX];
    Product product = {.model = top, .provenance = &p, .path = path};
    Production *production;
    OK(production_open(&production, &product, 1, NULL, err));
    OK(convert_execute(&production->conversion, (ExecuteOptions){.threads = 2}, err));
    file = production->conversion.outputs[0].result;
    production_close(production);
    OK(sha256_bytes(hex, buffer_string(&derivation), derivation.length, err));
    m->artifacts[i].derivation_sha256 = arena_string(m->arena, hex);
    made_file(m, m->artifacts[i].path, &file);
    buffer_free(&derivation);
}

static inline void made_write_hf(Made *m, const Model *top, const char *path, const char *name) {
    HfPlan *plan;
    FileResult results[32];
    OK(make_directories(path, err));
    OK(hf_plan_open(&plan, top, NULL, err));
    cr_assert_leq(plan->n_files, 32);
    HfConversion c = {.plan = plan, .directory = path, .results = results};
    OK(hf_execute(&c, (ExecuteOptions){.threads = 2}, err));
    for (size_t f = 0; f < plan->n_files; f++) {
        char full[256];
        snprintf(full, sizeof full, "%s/%s", name, plan->files[f].name);
        made_file(m, full, &results[f]);
    }
    hf_plan_close(plan);
}

static inline void made_output(Made *m, size_t i) {
    FixturePath path;
    RecipeStack stack;
    const RecipeOutput *o = &m->recipe->outputs[i];
    m->artifacts[i] = (Artifact){.path = recipe_output_name(m->recipe, i),
                                 .format = o->format == OUTPUT_GGUF ? "gguf" : "hf",
                                 .type = o->format == OUTPUT_GGUF ? o->type_name : "bf16"};
    fixture_path(path, m->package, m->artifacts[i].path);
    OK(recipe_stack_open(&stack, m->recipe, i, m->source, NULL, err));
    if (o->format == OUTPUT_GGUF)
        made_write_gguf(m, i, stack.top, path);
    else
        made_write_hf(m, stack.top, path, m->artifacts[i].path);
    recipe_stack_close(&stack);
}

/* What a model says to one prompt. */
static inline int generate_one(GenerationRecord *out, const Model *model, const char *prompt,
                               uint32_t n_tokens, const char *artifact, unsigned threads, Arena *arena,
                               Error *err) {
    ValidateOptions options = {.threads = threads};
    return validate_generate(out, model, &prompt, 1, n_tokens, artifact, &options, arena, err);
}

static inline void made_check(Made *m, size_t i, size_t n_expected) {
    FixturePath path;
    Model *model;
    Artifact *a = &m->artifacts[i];
    ValidateOptions options = {.source = m->source, .proof = m->proof, .recipe = m->recipe, .threads = 2};
    fixture_path(path, m->package, a->path);
    OK(model_open(&model, path, NULL, err));
    a->n_tensors = model->n_tensors;
    OK(weights_digest(a->weights_sha256, model, 2, NULL, err));
    a->lossless = !strcmp(a->weights_sha256, m->proof->weights_sha256);
    OK(validate_artifact(m->report, a->path, model, m->derived.top, m->proof, n_expected, m->generations,
                         &options, err));
    if (!a->lossless)
        OK(generate_one(&m->generations[m->n_generations++], model, m->recipe->prompts[0],
                        m->recipe->n_tokens, a->path, 2, m->arena, err));
    model_close(model);
}

static inline void made_package(Made *m) {
    Buffer pinned;
    cJSON *report;
    const Recipe *r = m->recipe;
    buffer_init(&pinned, NULL);
    OK(recipe_pinned_text(r, m->proof, NULL, &pinned, err));
    OK(report_json(m->report, &report, err));
    PackageInputs in = {
        .recipe = r, .source = m->source, .derived = m->derived.top, .pinned_recipe = buffer_string(&pinned)};
    in.manifest = (Manifest){.name = r->name,
                             .repo = r->repo,
                             .license = r->license,
                             .n_sources = m->proof->n_files,
                             .sources = m->proof->files,
                             .weights_sha256 = m->proof->weights_sha256,
                             .n_changes = m->derived.top->n_changes,
                             .changes = m->derived.top->changes,
                             .n_artifacts = r->n_outputs,
                             .artifacts = m->artifacts,
                             .n_generations = m->n_generations,
                             .generations = m->generations,
                             .report = report,
                             .n_files = m->n_files,
                             .files = m->files};
    OK(package_write(m->package, &in, NULL, err));
    cJSON_Delete(report);
    buffer_free(&pinned);
}

/* Everything; made_close at the end. */
static inline Made *made_open(const char *outputs) {
    Made *m = calloc(1, sizeof *m);
    cr_assert_not_null(m);
    fixture_dir(m->root);
    fixture_path(m->package, m->root, "pkg");
    OK(make_directories(m->package, err));
    OK(arena_open(&m->arena, NULL, err));
    OK(report_open(&m->report, NULL, err));
    made_recipe(m, FIXTURE_TINY, outputs);
    for (size_t i = 0; i < m->recipe->n_outputs; i++) made_output(m, i);
    OK(generate_one(&m->generations[m->n_generations++], m->derived.top, m->recipe->prompts[0],
                    m->recipe->n_tokens, NULL, 2, m->arena, err));
    for (size_t i = 0; i < m->recipe->n_outputs; i++) made_check(m, i, 1);
    made_package(m);
    return m;
}

static inline void made_close(Made *m) {
    recipe_stack_close(&m->derived);
    source_proof_close(m->proof);
    model_close(m->source);
    recipe_close(m->recipe);
    report_close(m->report);
    arena_close(m->arena);
    fixture_remove(m->root);
    free(m);
}

/* ---- reports ---- */

/* The first check of that group and (unless NULL) name; asserts that there is one. */
static inline const Check *find_check(const Report *r, const char *group, const char *name) {
    for (size_t i = 0; i < r->n_checks; i++)
        if (!strcmp(r->checks[i].group, group) && (!name || !strcmp(r->checks[i].name, name)))
            return &r->checks[i];
    Buffer b;
    buffer_init(&b, NULL);
    report_text(r, &b);
    cr_assert_fail("no check %s / %s in:\n%s", group, name ? name : "*", buffer_string(&b));
    return NULL;
}

static inline void report_is(const Report *r, const char *verdict) {
    Buffer b;
    buffer_init(&b, NULL);
    report_text(r, &b);
    cr_assert_str_eq(r->verdict, verdict, "%s", buffer_string(&b));
    buffer_free(&b);
}

/* Fails with `words` in its detail? */
static inline void fails_with(const Report *r, const char *group, const char *name, const char *words) {
    for (size_t i = 0; i < r->n_checks; i++) {
        const Check *c = &r->checks[i];
        if (!strcmp(c->group, group) && !strcmp(c->name, name) && c->status == CHECK_FAIL &&
            strstr(c->detail, words))
            return;
    }
    Buffer b;
    buffer_init(&b, NULL);
    report_text(r, &b);
    cr_assert_fail("no failure %s / %s with \"%s\" in:\n%s", group, name, words, buffer_string(&b));
}

static inline Report *validate_at(const char *path, const Model *source, const Recipe *recipe) {
    Report *r;
    ValidateOptions options = {.source = source, .recipe = recipe, .threads = 2};
    OK(validate_path(&r, path, &options, err));
    return r;
}

/* ---- damage ---- */

static inline void flip_bit(const char *directory, const char *name, size_t offset_from_end) {
    size_t length;
    char *bytes = fixture_read(directory, name, &length);
    bytes[length - offset_from_end] ^= 1;
    fixture_write(directory, name, bytes, length);
    free(bytes);
}

/* The first place of some bytes in a file; asserts that there is one. */
static inline size_t find_bytes(const char *bytes, size_t length, const char *wanted, size_t n) {
    const char *at = memmem(bytes, length, wanted, n);
    cr_assert_not_null(at, "%s is not there", wanted);
    return (size_t)(at - bytes);
}

/* Overwrites a u32, f32 or bool value behind its key and type in a GGUF. */
static inline void poke_key(const char *directory, const char *name, const char *key, const void *value,
                            size_t n) {
    size_t length;
    char *bytes = fixture_read(directory, name, &length);
    size_t at = find_bytes(bytes, length, key, strlen(key)) + strlen(key) + 4;
    memcpy(bytes + at, value, n);
    fixture_write(directory, name, bytes, length);
    free(bytes);
}

#endif
