/* pipeline.c -- recipe -> package. See pipeline.h. The order of the work:
 * open everything (so that a mistake in the last output is found before the first byte), settle what headers
 * will say of the source, write all GGUFs in one pass that verifies pins, copy the Hugging Face form,
 * generate from the source, check each artifact against it, write the package, show it. */
#include "cli/pipeline.h"
#include "cli/build_device.h"
#include "cli/cli.h"
#include "convert/hf_form.h"
#include "convert/produce.h"
#include "core/output.h"
#include "model/lora.h"
#include "model/metadata_digest.h"
#include "model/views.h"
#include "packager/archive.h"
#include "packager/evidence.h"
#include "packager/package.h"
#include "packager/sign.h"
#include "validate/prompts.h"
#include "validate/quality.h"
#include "validate/validate.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Build {
    const BuildOptions *options;
    BuildResult *result;
    Arena *arena; /* of the result */
    Recipe *recipe;
    const char *commit;
    Model *source;
    SourceProof *proof;
    ProofHow proof_how;
    bool unverified;     /* pins promise the proof, and no pass has read the source yet */
    RecipeStack derived; /* source with overrides */
    RecipeStack *stacks; /* one an output */
    OutputDir *directory;
    Artifact *artifacts; /* one an output */
    ManifestFile *files; /* of all artifacts */
    size_t n_files, files_capacity;
    const char *const *prompts; /* as the models get them */
    GenerationRecord *generations;
    size_t n_generations;
    SignKey *key; /* package.sign_key; NULL: none */
} Build;

/* Replacing is for an older package only, so that a slip of the hand can't take a home directory. */
static int check_directory(const char *directory, bool replace, Error *err) {
    DIR *entries = opendir(directory);
    if (!entries) return 0; /* absent, or no directory: creating it will tell */
    size_t count = 0;
    for (struct dirent *e; (e = readdir(entries));)
        count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(entries);
    if (!count) return 0;
    if (!replace)
        return error_set(err, ERR_IO, "%s exists: give another -o, or --replace to swap an older package",
                         directory);
    Manifest *manifest;
    int code = manifest_read(&manifest, directory, NULL, err);
    if (code)
        return error_wrap(err, code, "%s is not a package of Recast, so --replace leaves it alone",
                          directory);
    manifest_close(manifest);
    return 0;
}

/* The archive beside the directory: named before the work begins, and like every file not overwritten
 * unasked. */
static int name_archive(Build *b, Error *err) {
    if (!b->recipe->archive) return 0;
    b->result->archive = arena_printf(b->arena, "%s.%s", b->result->directory, b->recipe->archive);
    if (!b->result->archive) return error_memory(err, "a path");
    return b->options->replace ? 0 : cli_check_new(b->result->archive, "-o", err);
}

enum { WORK_DIGITS = 16 };

/* What unfinished work is found again by: the recipe as it is carried out. Whether the sources are the same
 * is each output's journal's business. */
static int work_key(char key[SHA256_HEX], const Recipe *r, Error *err) {
    char *text = cJSON_PrintUnformatted(r->json);
    int code = text ? sha256_bytes(key, text, strlen(text), err) : error_memory(err, "the recipe");
    cJSON_free(text);
    if (!code) key[WORK_DIGITS] = 0;
    return code;
}

static void warn_of_adapters(const Build *b) {
    const LoraAdapterInfo *infos;
    size_t n = b->derived.lora && b->options->say ? lora_adapters(b->derived.lora->lora, &infos) : 0;
    for (size_t i = 0; i < n; i++) {
        char text[1024];
        if (!infos[i].unread) continue;
        snprintf(text, sizeof text, "note: adapter %s: " LORA_UNREAD_TEXT "\n", infos[i].name,
                 infos[i].unread);
        b->options->say(text);
    }
}

static int open_all(Build *b, Error *err) {
    const BuildOptions *o = b->options;
    const char *directory;
    char *picture;
    CardTemplate card;
    size_t length;
    TRY(recipe_load(&b->recipe, o->recipe_path, o->sets, o->n_sets, o->allocator, err));
    TRY(recipe_locate(b->recipe, o->cache_root, &directory, &b->commit, err));
    TRY(model_open(&b->source, directory, o->allocator, err));
    TRY(recipe_override_open(&b->derived, b->recipe, b->source, o->allocator, err));
    warn_of_adapters(b);
    int code = o->no_generate ? 0 : prompt_texts(&b->prompts, b->recipe, b->derived.top, b->arena, err);
    if (!code && !o->no_generate)
        code =
            validate_prompts_fit(b->derived.top, b->prompts, b->recipe->n_prompts, b->recipe->n_tokens, err);
    if (code) return error_wrap(err, code, "%s", o->recipe_path);
    b->stacks = arena_alloc(b->arena, b->recipe->n_outputs, sizeof *b->stacks);
    b->artifacts = arena_alloc(b->arena, b->recipe->n_outputs, sizeof *b->artifacts);
    b->generations =
        arena_alloc(b->arena, b->recipe->n_prompts * (b->recipe->n_outputs + 1), sizeof *b->generations);
    if (!b->stacks || !b->artifacts || !b->generations) return error_memory(err, "the build");
    for (size_t i = 0; i < b->recipe->n_outputs; i++)
        TRY(recipe_stack_open(&b->stacks[i], b->recipe, i, b->source, o->allocator, err));
    if (o->device.kind == DEVICE_CUDA && !o->no_generate)
        TRY(build_device_check(b->recipe, b->derived.top, b->stacks, err));
    if (b->recipe->eval_text && access(b->recipe->eval_text, R_OK) != 0)
        return error_sys(err, ERR_IO, errno, "%s: validate.text: can't read %s", o->recipe_path,
                         b->recipe->eval_text);
    if (b->recipe->sweep) TRY(package_read_picture(&picture, &length, b->recipe->sweep, b->arena, err));
    if (b->recipe->card) TRY(card_template_read(&card, b->recipe->card, b->arena, err));
    const char *final = o->directory ? o->directory : b->recipe->name;
    b->result->directory = arena_string(b->arena, final);
    TRY(check_directory(final, o->replace, err));
    TRY(name_archive(b, err));
    if (b->recipe->sign_key) TRY(sign_key_open(&b->key, b->recipe->sign_key, err));
    if (o->dry_run) return 0;
    if (o->journal_seconds <= 0)
        return output_dir_create(&b->directory, final, o->replace, o->allocator, err);
    char key[SHA256_HEX];
    TRY(work_key(key, b->recipe, err));
    return output_dir_resume(&b->directory, final, o->replace, key, o->allocator, err);
}

static int prove(Build *b, Error *err) {
    const BuildOptions *o = b->options;
    ProofOptions options = {.recipe = b->recipe,
                            .commit = b->commit,
                            .plan_only = o->dry_run,
                            .threads = o->threads,
                            .progress = o->progress,
                            .say = o->say,
                            .allocator = o->allocator};
    return settle_proof(&b->proof, &b->proof_how, b->source, &options, err);
}

static int add_file(Build *b, const char *path, const FileResult *file, Error *err) {
    if (b->n_files == b->files_capacity) {
        size_t capacity = b->files_capacity ? 2 * b->files_capacity : 32;
        ManifestFile *files = arena_alloc(b->arena, capacity, sizeof *files);
        if (!files) return error_memory(err, "the list of files");
        if (b->n_files) memcpy(files, b->files, b->n_files * sizeof *files);
        b->files = files;
        b->files_capacity = capacity;
    }
    ManifestFile *f = &b->files[b->n_files++];
    f->path = arena_string(b->arena, path);
    f->size = file->size;
    memcpy(f->sha256, file->sha256, sizeof f->sha256);
    return f->path ? 0 : error_memory(err, "the list of files");
}

static ExecuteOptions execute_options(const Build *b) {
    return (ExecuteOptions){.threads = b->options->threads,
                            .journal_seconds = b->options->journal_seconds,
                            .restart = b->options->restart,
                            .progress = b->options->progress,
                            .allocator = b->options->allocator};
}

static Provenance provenance_of(const Build *b, size_t i, const char *derivation) {
    const Recipe *r = b->recipe;
    return (Provenance){.derivation = derivation,
                        .repo = r->repo,
                        .commit = b->commit,
                        .proof = b->proof,
                        .n_changes = b->derived.top->n_changes,
                        .changes = b->derived.top->changes,
                        .lora = b->stacks[i].top->lora,
                        .output = r->outputs[i].type_name,
                        .license = r->license,
                        .author = r->author,
                        .n_tags = r->n_tags,
                        .tags = r->tags};
}

/* Where an output goes; NULL: no memory. */
static const char *output_path_of(const Build *b, size_t i) {
    const char *directory = b->directory ? output_dir_staging(b->directory) : b->result->directory;
    return arena_printf(b->arena, "%s/%s", directory, b->artifacts[i].path);
}

/* ---- all GGUFs, in one pass ---- */

static int plan_gguf(Build *b, size_t i, Product *product, Error *err) {
    Buffer derivation;
    char sha256[SHA256_HEX];
    Provenance *provenance = arena_alloc(b->arena, 1, sizeof *provenance);
    if (!provenance) return error_memory(err, "the build");
    buffer_init(&derivation, b->options->allocator);
    int code = recipe_derivation(b->recipe, i, b->proof, b->commit, &derivation, err);
    if (!code) code = sha256_bytes(sha256, buffer_string(&derivation), derivation.length, err);
    if (!code) {
        const char *text = arena_string(b->arena, buffer_string(&derivation));
        b->artifacts[i].derivation_sha256 = arena_string(b->arena, sha256);
        *provenance = provenance_of(b, i, text);
        *product = (Product){.model = b->stacks[i].top,
                             .provenance = provenance,
                             .path = output_path_of(b, i),
                             .split = b->recipe->outputs[i].split};
        if (!text || !b->artifacts[i].derivation_sha256 || !product->path)
            code = error_memory(err, "the build");
    }
    buffer_free(&derivation);
    return code;
}

/* What is to be done with a GGUF once it is written. */
static void count_extras(Build *b, const GgufPlan *plan, const char *name, OutputFormat format) {
    BuildExtras *x = &b->result->extras;
    for (size_t i = 0; i < plan->model->n_tensors; i++)
        x->tensors_hashed += tensor_bytes(&plan->model->tensors[i]);
    x->evidence += tensor_hashes_size(plan->model, name);
    if (format != OUTPUT_LORA) x->checked += plan->file_size;
}

/* Adds a product's files. An artifact of several files goes by the name of its first shard. */
static int list_product(Build *b, const Production *p, size_t i, Artifact *artifact, Error *err) {
    const char *whole = artifact->path;
    for (size_t f = 0; f < p->sets[i]->n_files; f++) {
        const ConversionOutput *output = &p->conversion.outputs[p->first_output[i] + f];
        const char *path = gguf_set_path(p->sets[i], b->arena, whole, f);
        FileResult file = output->result;
        file.size = output->plan->file_size;
        if (!path) return error_memory(err, "a path");
        count_extras(b, output->plan, path, b->recipe->outputs[artifact - b->artifacts].format);
        TRY(add_file(b, path, &file, err));
        if (f == 0) artifact->path = path;
    }
    return 0;
}

static int run_production(Build *b, Production *p, const size_t *outputs, Error *err) {
    const BuildOptions *o = b->options;
    bool promised = b->proof_how == PROOF_PROMISED;
    if (promised && !p->n_products && !o->dry_run) {
        b->unverified = true;
        return 0;
    }
    if (promised || b->proof_how == PROOF_PLANNED) p->conversion.source = b->source;
    if (promised) p->conversion.promised = b->proof;
    if (o->dry_run)
        TRY(convert_estimate(&b->result->estimate, &p->conversion, proof_passes(b->proof_how),
                             execute_options(b), err));
    else
        TRY(convert_execute(&p->conversion, execute_options(b), err));
    for (size_t i = 0; i < p->n_products; i++) TRY(list_product(b, p, i, &b->artifacts[outputs[i]], err));
    return 0;
}

/* With pins this is also what verifies the source; if there is no GGUF at all, the Hugging Face form does. */
static int write_ggufs(Build *b, Error *err) {
    size_t n = 0, max = b->recipe->n_outputs;
    Production *p = NULL;
    Product *products = arena_alloc(b->arena, max, sizeof *products);
    size_t *outputs = arena_alloc(b->arena, max, sizeof *outputs);
    if (!products || !outputs) return error_memory(err, "the build");
    for (size_t i = 0; i < max; i++) {
        if (b->recipe->outputs[i].format == OUTPUT_HF) continue;
        TRY(plan_gguf(b, i, &products[n], err));
        outputs[n++] = i;
    }
    int code = production_open(&p, products, n, b->options->allocator, err);
    if (!code) code = run_production(b, p, outputs, err);
    production_close(p);
    if (code || b->options->dry_run) return code;
    return recipe_check_pins(b->recipe, b->source, b->proof, b->commit, &b->result->pinned, err);
}

/* ---- the Hugging Face form ---- */

static int write_hf(Build *b, size_t i, Error *err) {
    HfPlan *plan = NULL;
    bool dry = b->options->dry_run;
    const char *path = output_path_of(b, i);
    if (!path) return error_memory(err, "a path");
    if (!dry) TRY(make_directories(path, err));
    TRY(hf_plan_open(&plan, b->stacks[i].top, b->options->allocator, err));
    FileResult *results = arena_alloc(b->arena, plan->n_files, sizeof *results);
    int code = results ? 0 : error_memory(err, "the list of files");
    for (size_t f = 0; !code && dry && f < plan->n_files; f++) {
        results[f] = (FileResult){.size = hf_file_size(&plan->files[f])};
        b->result->extras.checked += results[f].size;
        convert_estimate_files(&b->result->estimate, results[f].size,
                               plan->files[f].merged ? results[f].size : 0, b->options->threads);
    }
    HfConversion c = {.plan = plan,
                      .directory = path,
                      .link = b->options->link,
                      .known = b->unverified ? NULL : b->proof,
                      .source = b->unverified ? b->source : NULL,
                      .promised = b->proof,
                      .results = results};
    if (!code && !dry) code = hf_execute(&c, execute_options(b), err);
    b->unverified = false;
    for (size_t f = 0; !code && f < plan->n_files; f++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", b->artifacts[i].path, plan->files[f].name);
        code = add_file(b, name, &results[f], err);
    }
    hf_plan_close(plan);
    return code;
}

static const char *lower_case(Arena *arena, const char *name) {
    char *copy = arena_string(arena, name);
    for (char *c = copy; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    return copy;
}

static int name_artifact(Build *b, size_t i, Error *err) {
    const RecipeOutput *output = &b->recipe->outputs[i];
    Artifact *a = &b->artifacts[i];
    a->path = recipe_output_name(b->recipe, i);
    a->format = output->format == OUTPUT_GGUF ? "gguf" : "hf";
    /* the Hugging Face form has no type of its own: it keeps the source's */
    a->type = output->format != OUTPUT_HF ? output->type_name
                                          : lower_case(b->arena, dtype_name(gguf_common_type(b->source)));
    return a->type ? 0 : error_memory(err, "the build");
}

static int write_outputs(Build *b, Error *err) {
    for (size_t i = 0; i < b->recipe->n_outputs; i++) TRY(name_artifact(b, i, err));
    TRY(write_ggufs(b, err));
    for (size_t i = 0; i < b->recipe->n_outputs; i++)
        if (b->recipe->outputs[i].format == OUTPUT_HF) TRY(write_hf(b, i, err));
    return 0;
}

/* ---- validation of what was written ---- */

static ValidateOptions validate_options(const Build *b) {
    return (ValidateOptions){.source = b->source,
                             .proof = b->proof,
                             .recipe = b->recipe,
                             .commit = b->commit,
                             .device = b->options->device,
                             .threads = b->options->threads,
                             .progress = b->options->progress,
                             .allocator = b->options->allocator};
}

static int generate_all(Build *b, const Model *model, const char *artifact, Error *err) {
    const Recipe *r = b->recipe;
    ValidateOptions options = validate_options(b);
    TRY(validate_generate(&b->generations[b->n_generations], model, b->prompts, r->n_prompts, r->n_tokens,
                          artifact, &options, b->arena, err));
    b->n_generations += r->n_prompts;
    return 0;
}

/* A type that the runner can't read is no defect of the file: it is said, and nothing is recorded. */
static int generate_own(Build *b, const Model *model, const char *artifact, Error *err) {
    Error found = {0};
    int code = generate_all(b, model, artifact, &found);
    if (code == ERR_UNSUPPORTED) {
        char name[300];
        snprintf(name, sizeof name, "%s: generation", artifact);
        report_add(b->result->report, "generation", CHECK_NOT_RUN, name,
                   "the runner does not take weights of this type");
        return 0;
    }
    if (code && err) *err = found;
    return code;
}

/* What the type costs against the source with overrides. */
static int measure_own(Build *b, const Model *model, Artifact *a, Error *err) {
    Error found = {0};
    char name[300];
    QualityTask task = {.recipe = b->recipe,
                        .label = arena_printf(b->arena, "quality of %s", a->path),
                        .device = b->options->device,
                        .threads = b->options->threads,
                        .progress = b->options->progress};
    if (!task.label) return error_memory(err, "the build");
    snprintf(name, sizeof name, "%s: quality", a->path);
    bool exact = a->lossless || (b->derived.lora && retype_is_lossless(b->stacks[a - b->artifacts].top));
    if (a->lossless) quality_lossless(b->result->report, name);
    if (exact && !a->lossless)
        report_add(b->result->report, "quality", CHECK_PASS, name, "the merged weights, rounded no further");
    if (exact || b->options->no_generate) return 0;
    int code = quality_measure(&a->quality, b->derived.top, model, &task, &found);
    if (code == ERR_UNSUPPORTED) {
        report_add(b->result->report, "quality", CHECK_NOT_RUN, name,
                   "the runner does not take weights of this type");
        return 0;
    }
    if (code && err) *err = found;
    if (!code) quality_judge(b->result->report, name, &a->quality, b->recipe);
    return code;
}

static int check_output(Build *b, size_t i, size_t n_expected, Error *err) {
    Artifact *a = &b->artifacts[i];
    const char *path = output_path_of(b, i);
    if (!path) return error_memory(err, "a path");
    Model *model;
    TRY(model_open(&model, path, b->options->allocator, err));
    ValidateOptions options = validate_options(b);
    options.records_own = !b->options->no_generate;
    a->n_tensors = model->n_tensors;
    Error no_digest = {0};
    int code =
        weights_digest(a->weights_sha256, model, b->options->threads, b->options->progress, &no_digest);
    if (code == ERR_UNSUPPORTED) { /* quantized, or of a family that this version doesn't know */
        a->weights_sha256[0] = 0;
        code = 0;
    } else if (code && err)
        *err = no_digest;
    if (!code && model->form == FORM_GGUF) code = metadata_sha256(a->metadata_sha256, model->metadata, err);
    a->lossless = !code && a->weights_sha256[0] && !strcmp(a->weights_sha256, b->proof->weights_sha256);
    if (!code)
        code = validate_artifact(b->result->report, a->path, model, b->derived.top, b->proof, n_expected,
                                 b->generations, &options, err);
    if (!code) code = measure_own(b, model, a, err);
    /* a lossy artifact says other things than its source: what it says is recorded as its own */
    if (!code && !a->lossless && !b->options->no_generate) code = generate_own(b, model, a->path, err);
    model_close(model);
    return code;
}

static int check_all(Build *b, Error *err) {
    TRY(report_open(&b->result->report, b->options->allocator, err));
    /* Merged weights lie in no file until there is an artifact: each says its own then. */
    if (!b->options->no_generate && !b->derived.lora) TRY(generate_all(b, b->derived.top, NULL, err));
    size_t n_expected = b->n_generations;
    for (size_t i = 0; i < b->recipe->n_outputs; i++)
        if (b->recipe->outputs[i].format != OUTPUT_LORA) TRY(check_output(b, i, n_expected, err));
    TRY(report_ok(b->result->report, err));
    size_t failed = report_count(b->result->report, CHECK_FAIL);
    b->result->report->verdict = failed ? "failed" : "derived";
    if (failed)
        return error_set(err, ERR_CHECK, "%zu check%s failed: nothing was written to %s", failed,
                         failed == 1 ? "" : "s", b->result->directory);
    return 0;
}

/* ---- package ---- */

/* For each GGUF file, what llama-gguf-hash --check reads. */
static int hash_tensors(Build *b, const char *name, Error *err) {
    Buffer text;
    FileResult file = {0};
    const char *path = arena_printf(b->arena, "%s/%s", output_dir_staging(b->directory), name);
    const char *listed = arena_printf(b->arena, "%s" TENSOR_HASHES_SUFFIX, name);
    const char *to = arena_printf(b->arena, "%s/%s", output_dir_staging(b->directory), listed);
    if (!path || !listed || !to) return error_memory(err, "a path");
    buffer_init(&text, b->options->allocator);
    int code = tensor_hashes_write(&text, path, name, b->options->progress, err);
    if (!code) code = sha256_bytes(file.sha256, text.data, text.length, err);
    if (!code) code = output_file(to, text.data, text.length, b->options->allocator, err);
    file.size = text.length;
    buffer_free(&text);
    return code ? code : add_file(b, listed, &file, err);
}

static bool is_tensor_hashes(const char *path) {
    static const char end[] = ".gguf" TENSOR_HASHES_SUFFIX;
    size_t n = strlen(path);
    return n >= sizeof end && !strcmp(path + n - (sizeof end - 1), end);
}

static int hash_all_tensors(Build *b, Error *err) {
    for (size_t i = 0, n = b->n_files; i < n; i++) {
        const char *path = b->files[i].path, *dot = strrchr(path, '.');
        if (dot && !strcmp(dot, ".gguf")) TRY(hash_tensors(b, path, err));
    }
    return 0;
}

/* Last of all: a signature covers every other file. */
static int sign_package(Build *b, Error *err) {
    SignResult result;
    SignOptions o = {
        .key = b->key, .subject = b->recipe->name, .hash = {b->options->threads, b->options->progress}};
    return b->key ? sign_directory(&result, output_dir_staging(b->directory), &o, err) : 0;
}

static int archive_package(Build *b, Error *err) {
    if (!b->result->archive) return 0;
    ArchiveResult result;
    ArchiveOptions o = {.threads = b->options->threads, .progress = b->options->progress};
    int code = archive_write(&result, b->result->archive, b->result->directory, &o, err);
    return code ? error_wrap(err, code, "%s is complete, but its archive is not", b->result->directory) : 0;
}

static int compare_files(const void *a, const void *b) {
    return strcmp(((const ManifestFile *)a)->path, ((const ManifestFile *)b)->path);
}

/* An adapter's GGUF is a file of the package, no model: what is left counts. Afterwards artifacts no longer
 * stand at their output's index. */
static size_t list_artifacts(Build *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->recipe->n_outputs; i++)
        if (b->recipe->outputs[i].format != OUTPUT_LORA) b->artifacts[n++] = b->artifacts[i];
    return n;
}

/* Runs what is left of the merge and says what it changed. */
static int finish_merge(Build *b, const Lora *lora, Error *err) {
    const LoraAdapterInfo *infos;
    TRY(lora_finish(lora, b->options->threads, err));
    size_t n = lora_adapters(lora, &infos);
    LoraSummary all = lora_summary(lora);
    b->result->merged = arena_printf(
        b->arena,
        "%zu adapter%s into %zu tensors: %llu of %llu values changed, by at most %.3g, by %.3g on average", n,
        n == 1 ? "" : "s", all.n_tensors, (unsigned long long)all.changed, (unsigned long long)all.elements,
        (double)all.max, all.mean);
    return b->result->merged ? 0 : error_memory(err, "what was merged");
}

static int write_package(Build *b, Error *err) {
    Buffer pinned;
    cJSON *report = NULL;
    const Recipe *r = b->recipe;
    buffer_init(&pinned, b->options->allocator);
    qsort(b->files, b->n_files, sizeof *b->files, compare_files);
    int code = recipe_pinned_text(r, b->proof, b->commit, &pinned, err);
    if (!code) code = report_json(b->result->report, &report, err);
    const Lora *lora = b->stacks[0].lora ? b->stacks[0].lora->lora : NULL;
    if (!code && lora) code = finish_merge(b, lora, err);
    PackageInputs in = {
        .recipe = r, .source = b->source, .derived = b->derived.top, .pinned_recipe = buffer_string(&pinned)};
    in.manifest = (Manifest){.name = r->name,
                             .repo = r->repo,
                             .commit = b->commit,
                             .license = r->license,
                             .author = r->author,
                             .n_sources = b->proof->n_files,
                             .sources = b->proof->files,
                             .weights_sha256 = b->proof->weights_sha256,
                             .n_changes = b->derived.top->n_changes,
                             .changes = b->derived.top->changes,
                             .lora = lora,
                             .n_artifacts = list_artifacts(b),
                             .artifacts = b->artifacts,
                             .n_generations = b->n_generations,
                             .generations = b->generations,
                             .report = report,
                             .n_files = b->n_files,
                             .files = b->files};
    if (!code) code = package_write(output_dir_staging(b->directory), &in, b->options->allocator, err);
    cJSON_Delete(report);
    buffer_free(&pinned);
    return code;
}

/* What the caller will print must outlive the recipe and the models. */
static int keep_results(Build *b, Error *err) {
    BuildResult *r = b->result;
    const Model *derived = b->derived.top;
    BuiltFile *files = arena_alloc(b->arena, b->n_files, sizeof *files);
    Change *changes = arena_alloc(b->arena, derived->n_changes, sizeof *changes);
    if (!files || !changes) return error_memory(err, "the result");
    size_t n_files = 0;
    for (size_t i = 0; i < b->n_files; i++) /* a dry run doesn't know what lies beside the artifacts */
        if (!is_tensor_hashes(b->files[i].path))
            files[n_files++] = (BuiltFile){b->files[i].path, b->files[i].size, b->files[i].sha256};
    for (size_t i = 0; i < derived->n_changes; i++) {
        const Change *c = &derived->changes[i];
        changes[i] = (Change){arena_string(b->arena, c->key), arena_string(b->arena, c->old_value),
                              arena_string(b->arena, c->new_value)};
        if (!changes[i].key || !changes[i].old_value || !changes[i].new_value)
            return error_memory(err, "the result");
    }
    r->files = files;
    r->n_files = n_files;
    r->changes = changes;
    r->n_changes = derived->n_changes;
    r->proof_how = b->proof_how;
    r->weights_sha256 = arena_string(b->arena, b->proof->weights_sha256);
    if (b->n_generations) {
        r->sample_prompt = arena_string(b->arena, b->generations[0].prompt);
        r->sample_text = b->generations[0].text;
    }
    return 0;
}

/* The rest of a dry run: the space for all of the package, and the time of the second reading, in which one
 * thread hashes tensors (core/sha256.h: two chains at the cost of little more than one). Generation is not in
 * it. */
static void finish_estimate(Build *b) {
    BuildExtras *x = &b->result->extras;
    ConversionEstimate *e = &b->result->estimate;
    const Recipe *r = b->recipe;
    uint64_t spoken = b->options->no_generate ? 0 : (uint64_t)r->n_prompts * r->n_tokens * (r->n_outputs + 1);
    x->evidence += package_evidence_bytes(r, b->n_files, spoken);
    e->output_bytes += x->evidence;
    if (r->archive) x->archive = x->evidence;
    for (size_t i = 0; r->archive && i < b->n_files; i++)
        if (strcmp(r->archive, "zip") != 0 || !package_is_weights(b->files[i].path))
            x->archive += b->files[i].size;
    e->output_bytes += x->archive;
    e->seconds += (double)x->tensors_hashed * 1.05 / e->hash_rate;
}

static int build_steps(Build *b, Error *err) {
    TRY(open_all(b, err));
    TRY(prove(b, err));
    TRY(write_outputs(b, err));
    if (b->options->dry_run) {
        finish_estimate(b);
        return keep_results(b, err);
    }
    TRY(check_all(b, err));
    TRY(hash_all_tensors(b, err));
    TRY(write_package(b, err));
    TRY(sign_package(b, err));
    TRY(keep_results(b, err));
    OutputDir *directory = b->directory;
    b->directory = NULL;
    TRY(output_dir_commit(directory, err));
    return archive_package(b, err);
}

/* interrupted: what can be gone on from stays. */
static void build_free(Build *b, bool interrupted) {
    if (interrupted)
        output_dir_keep(b->directory);
    else
        output_dir_discard(b->directory);
    for (size_t i = 0; b->stacks && i < b->recipe->n_outputs; i++) recipe_stack_close(&b->stacks[i]);
    recipe_stack_close(&b->derived);
    sign_key_close(b->key);
    source_proof_close(b->proof);
    model_close(b->source);
    recipe_close(b->recipe);
}

int build_run(BuildResult **out, const BuildOptions *options, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, options->allocator, err));
    BuildResult *result = arena_alloc(arena, 1, sizeof *result);
    if (!result) {
        arena_close(arena);
        return error_memory(err, "the build");
    }
    result->arena = arena;
    Build b = {.options = options, .result = result, .arena = arena};
    int code = build_steps(&b, err);
    build_free(&b, code == ERR_INTERRUPTED);
    *out = result;
    return code;
}

void build_result_close(BuildResult *r) {
    if (!r) return;
    report_close(r->report);
    arena_close(r->arena);
}
