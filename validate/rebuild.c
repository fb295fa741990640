/* rebuild.c -- the recipe, run again to hash: nothing is written, and the artifact must have the same
 * SHA-256. */
#include "convert/hf_form.h"
#include "convert/produce.h"
#include "validate/validation.h"
#include <string.h>

static ExecuteOptions execute_options(const ValidateOptions *o) {
    return (ExecuteOptions){.threads = o->threads, .progress = o->progress, .allocator = o->allocator};
}

static const char *commit_of(const ValidateOptions *o, const Recipe *r) {
    return o->commit ? o->commit : r->commit;
}

/* ---- GGUF ---- */

static int produce(FileResult *out, const Validation *v, const Recipe *r, size_t output, const Model *top,
                   const SourceProof *proof, Error *err) {
    Buffer derivation;
    const char *commit = commit_of(v->options, r);
    buffer_init(&derivation, v->options->allocator);
    int code = recipe_derivation(r, output, proof, commit, &derivation, err);
    Provenance p = {.derivation = buffer_string(&derivation),
                    .repo = r->repo,
                    .commit = commit,
                    .proof = proof,
                    .n_changes = top->n_changes,
                    .changes = top->changes,
                    .output = r->outputs[output].type_name,
                    .license = r->license,
                    .author = r->author,
                    .n_tags = r->n_tags,
                    .tags = r->tags};
    if (!code) code = gguf_produce(out, top, &p, NULL, execute_options(v->options), err);
    buffer_free(&derivation);
    return code;
}

int rebuild_gguf(const Validation *v, const Recipe *r, size_t output, const Model *top,
                 const SourceProof *proof, const char *sha256, uint64_t size, Error *err) {
    FileResult file;
    Error found = {0};
    if (produce(&file, v, r, output, top, proof, &found))
        return check_error(v, "rebuild", "recipe", &found, err);
    if (file.size == size && !strcmp(file.sha256, sha256))
        check_add(v, "rebuild", CHECK_PASS, "recipe", "run again, it gives these %llu bytes: SHA-256 %s",
                  (unsigned long long)size, sha256);
    else
        check_add(v, "rebuild", CHECK_FAIL, "recipe",
                  "run again, it gives another file: %llu bytes with SHA-256 %s; this one has %llu with %s",
                  (unsigned long long)file.size, file.sha256, (unsigned long long)size,
                  sha256[0] ? sha256 : "none");
    return 0;
}

/* ---- the Hugging Face form ---- */

static const FoundFile *find(const FoundFile *files, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(files[i].path, name)) return &files[i];
    return NULL;
}

static bool planned(const HfPlan *plan, const char *name) {
    for (size_t i = 0; i < plan->n_files; i++)
        if (!strcmp(plan->files[i].name, name)) return true;
    return false;
}

/* A line for each file that differs, and how many there are. */
static size_t compare_files(const Validation *v, const HfPlan *plan, const FileResult *results,
                            const FoundFile *files, size_t n_files, bool exact) {
    size_t wrong = 0;
    for (size_t i = 0; i < plan->n_files; i++) {
        const char *name = plan->files[i].name;
        const FoundFile *f = find(files, n_files, name);
        if (f && f->size == results[i].size && !strcmp(f->sha256, results[i].sha256)) continue;
        wrong++;
        if (f)
            check_add(v, "rebuild", CHECK_FAIL, "recipe",
                      "run again, it gives another %s: SHA-256 %s; this one has %s", name, results[i].sha256,
                      f->sha256[0] ? f->sha256 : "another size");
        else
            check_add(v, "rebuild", CHECK_FAIL, "recipe", "%s is missing", name);
    }
    for (size_t i = 0; exact && i < n_files; i++) {
        if (planned(plan, files[i].path) || wrong > MOST_LINES) continue;
        wrong++;
        check_add(v, "rebuild", CHECK_FAIL, "recipe", "the recipe gives no file %s", files[i].path);
    }
    return wrong;
}

static int run_plan(const Validation *v, const HfPlan *plan, const SourceProof *proof, const FoundFile *files,
                    size_t n_files, bool exact, Error *err) {
    Error found = {0};
    FileResult *results = arena_alloc(v->arena, plan->n_files, sizeof *results);
    if (!results) return error_memory(err, "the rebuilt files");
    if (hf_execute(results, plan, NULL, false, proof, execute_options(v->options), &found))
        return check_error(v, "rebuild", "recipe", &found, err);
    if (!compare_files(v, plan, results, files, n_files, exact))
        check_add(v, "rebuild", CHECK_PASS, "recipe", "run again, it gives these %zu files, hash for hash",
                  plan->n_files);
    return 0;
}

int rebuild_hf(const Validation *v, const Model *top, const SourceProof *proof, const FoundFile *files,
               size_t n_files, bool exact, Error *err) {
    HfPlan *plan;
    Error found = {0};
    if (hf_plan_open(&plan, top, v->options->allocator, &found))
        return check_error(v, "rebuild", "recipe", &found, err);
    int code = run_plan(v, plan, proof, files, n_files, exact, err);
    hf_plan_close(plan);
    return code;
}
