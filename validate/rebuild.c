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

static int plan(Production **out, const Validation *v, const Recipe *r, size_t output, const Model *top,
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
                    .lora = top->lora,
                    .output = r->outputs[output].type_name,
                    .license = r->license,
                    .author = r->author,
                    .n_tags = r->n_tags,
                    .tags = r->tags};
    Product product = {.model = top, .provenance = &p, .split = r->outputs[output].split};
    if (!code) code = production_open(out, &product, 1, v->options->allocator, err);
    buffer_free(&derivation);
    return code;
}

/* A line for each file that differs; one that says so if none does. */
static void compare_made(const Validation *v, const Production *p, const FoundFile *files, size_t n_files) {
    const Conversion *c = &p->conversion;
    size_t wrong = 0;
    if (c->n_outputs != n_files) {
        check_add(v, "rebuild", CHECK_FAIL, "recipe", "run again, it gives %zu files; here there are %zu",
                  c->n_outputs, n_files);
        return;
    }
    for (size_t i = 0; i < n_files; i++) {
        const FileResult *made = &c->outputs[i].result;
        const FoundFile *found = &files[i];
        if (made->size == found->size && !strcmp(made->sha256, found->sha256)) continue;
        if (wrong++ < MOST_LINES)
            check_add(
                v, "rebuild", CHECK_FAIL, n_files == 1 ? "recipe" : found->path,
                "run again, it gives another file: %llu bytes with SHA-256 %s; this one has %llu with %s",
                (unsigned long long)made->size, made->sha256, (unsigned long long)found->size,
                found->sha256[0] ? found->sha256 : "none");
    }
    if (wrong) return;
    if (n_files == 1)
        check_add(v, "rebuild", CHECK_PASS, "recipe", "run again, it gives these %llu bytes: SHA-256 %s",
                  (unsigned long long)files[0].size, files[0].sha256);
    else
        check_add(v, "rebuild", CHECK_PASS, "recipe",
                  "run again, it gives these %zu files, %llu bytes; the first has SHA-256 %s", n_files,
                  (unsigned long long)p->sets[0]->total_size, files[0].sha256);
}

int rebuild_gguf(const Validation *v, const Recipe *r, size_t output, const Model *top,
                 const SourceProof *proof, const FoundFile *files, size_t n_files, Error *err) {
    Production *p = NULL;
    Error found = {0};
    int code = plan(&p, v, r, output, top, proof, &found);
    if (!code) code = convert_execute(&p->conversion, execute_options(v->options), &found);
    if (code)
        code = check_error(v, "rebuild", "recipe", &found, err);
    else
        compare_made(v, p, files, n_files);
    production_close(p);
    return code;
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
    HfConversion c = {.plan = plan, .known = proof, .results = results};
    if (hf_execute(&c, execute_options(v->options), &found))
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
