/* validate.c -- what stands at a path, which checks it gets, and the verdict. */
#include "validate/validate.h"

#include "model/views.h"
#include "packager/signature.h"
#include "validate/validation.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* ---- verdict ---- */

static bool has_group(const Report *r, const char *group) {
    for (size_t i = 0; i < r->n_checks; i++)
        if (!strcmp(r->checks[i].group, group)) return true;
    return false;
}

static void add_missing(Report *r, const char *group, const char *reason) {
    if (!has_group(r, group)) report_add(r, group, CHECK_NOT_RUN, group, "%s", reason);
}

/* Every group has a line: what was not looked at must not go unsaid. */
static void complete(Report *r, const ValidateOptions *o, bool package) {
    const char *no_source =
        o->source ? "the artifact could not be compared" : "no source was given (--source DIR)";
    add_missing(r, "structure", "nothing could be opened");
    add_missing(r, "hashes", "only a package has a manifest");
    add_missing(r, "source", no_source);
    add_missing(r, "rebuild",
                !o->source             ? no_source
                : package || o->recipe ? "the artifact could not be rebuilt"
                                       : "no recipe was given (--recipe R.json)");
    add_missing(r, "generation", o->evidence ? "the weights are not here" : "no generation is recorded");
    add_missing(r, "quality",
                o->evidence ? "the weights are not here"
                            : "no figures are recorded; a package has those of its lossy files");
    add_missing(r, "signature", package ? "the package could not be read" : "only a directory can be signed");
}

static void judge(Report *r, bool evidence) {
    if (report_count(r, CHECK_FAIL)) r->signed_by = NULL; /* whatever was signed, it is not this */
    bool derived = report_group(r, "source") == CHECK_PASS || report_group(r, "rebuild") == CHECK_PASS;
    r->verdict = report_count(r, CHECK_FAIL)               ? "failed"
                 : derived                                 ? "derived"
                 : evidence                                ? "evidence consistent"
                 : report_group(r, "hashes") == CHECK_PASS ? "consistent"
                                                           : "nothing shown";
}

/* ---- a lone file or checkpoint ---- */

/* Hashes what a rebuild is compared with. */
static int hash_files(Subject *s, const Validation *v, Error *err) {
    const Model *m = s->model;
    FoundFile *files = arena_alloc(v->arena, m->n_files, sizeof *files);
    if (!files) return error_memory(err, "the hashes of files");
    for (size_t i = 0; i < m->n_files; i++) {
        files[i] = (FoundFile){.path = m->files[i].name, .size = input_size(m->files[i].input)};
        TRY(sha256_input(files[i].sha256, m->files[i].input, NULL, NULL, err));
    }
    s->files = files;
    s->n_files = m->n_files;
    return 0;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static int check_lone(const Validation *v, const Model *m, Error *err) {
    const ValidateOptions *o = v->options;
    Subject s = {.model = m, .recipe = o->recipe, .name = last_part(v->path)};
    TRY(check_structure(v, m, err));
    if (!o->source) return 0;
    TRY(artifact_digest(s.digest, v, m, err));
    if (o->recipe) {
        TRY(hash_files(&s, v, err));
        TRY(check_pins(v, o->recipe, err));
    }
    return check_subject(v, &s, s.digest[0] && !strcmp(s.digest, o->proof->weights_sha256), err);
}

static int open_and_check(const Validation *v, const char *path, Error *err) {
    Model *m;
    Error found = {0};
    if (model_open(&m, path, v->options->allocator, &found)) return check_open_error(v, &found, err);
    int code = check_lone(v, m, err);
    model_close(m);
    return code;
}

/* ---- entry points ---- */

/* A checkpoint may be signed as well. */
static int check_lone_signature(const Validation *v, const char *path, Error *err) {
    FileTree tree = {0};
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
        if (v->options->key || v->options->roots)
            check_add(v, "signature", CHECK_FAIL, "signer", "only a directory can be signed");
        return 0;
    }
    char *name = arena_printf(v->arena, "%s/" SIGNATURE_FILE, path);
    if (!name) return error_memory(err, "a path");
    /* a snapshot of the Hugging Face cache is full of links: nothing to look at without a signature */
    if (!lstat(name, &st)) TRY(tree_list(&tree, path, v->arena, err));
    return check_signature(v, path, &tree, NULL, err);
}

static bool is_package(const char *path) {
    struct stat st;
    char name[4096];
    size_t length = strlen(path);
    if (length + sizeof "/manifest.json" > sizeof name) return false;
    memcpy(name, path, length);
    memcpy(name + length, "/manifest.json", sizeof "/manifest.json");
    return lstat(name, &st) == 0;
}

static int check_path(Report *r, const char *path, ValidateOptions *o, Arena *arena, Error *err) {
    SourceProof *proof = NULL;
    if (o->source && !o->proof) {
        TRY(source_prove(&proof, o->source, o->threads, o->progress, o->allocator, err));
        o->proof = proof;
    }
    Validation v = {.report = r, .options = o, .label = "", .path = path, .arena = arena};
    bool package = is_package(path);
    int code = package ? check_package(&v, path, err) : open_and_check(&v, path, err);
    if (!code && !package) code = check_lone_signature(&v, path, err);
    source_proof_close(proof);
    if (code) return code;
    complete(r, o, package);
    judge(r, o->evidence && package);
    return report_ok(r, err);
}

int validate_path(Report **out, const char *path, const ValidateOptions *options, Error *err) {
    static const ValidateOptions none;
    ValidateOptions o = options ? *options : none;
    Report *r;
    Arena *arena;
    struct stat st;
    *out = NULL;
    if (stat(path, &st)) return error_sys(err, ERR_IO, errno, "%s", path);
    TRY(report_open(&r, o.allocator, err));
    int code = arena_open(&arena, o.allocator, err);
    if (!code) {
        code = check_path(r, path, &o, arena, err);
        arena_close(arena);
    }
    if (code)
        report_close(r);
    else
        *out = r;
    return code;
}

static int check_built(const Validation *v, const Model *artifact, const Model *derived,
                       const SourceProof *proof, size_t n_expected, const GenerationRecord *expected,
                       Error *err) {
    Expected e;
    char digest[SHA256_HEX];
    Error found = {0};
    TRY(check_structure(v, artifact, err));
    TRY(artifact_digest(digest, v, artifact, err));
    if (expected_open(&e, v, artifact, v->options->recipe, v->label, derived, &found))
        return check_error(v, "source", "recipe", &found, err);
    int code = check_source(v, artifact, digest, &e, proof, err);
    bool lossless = !strcmp(digest, proof->weights_sha256) || retype_is_lossless(e.top);
    expected_close(&e);
    if (code) return code;
    return check_generation(v, artifact, NULL, lossless, derived, n_expected, expected, err);
}

int validate_artifact(Report *r, const char *label, const Model *artifact, const Model *derived,
                      const SourceProof *proof, size_t n_expected, const GenerationRecord *expected,
                      const ValidateOptions *options, Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, options->allocator, err));
    Validation v = {.report = r, .options = options, .label = label, .path = artifact->path, .arena = arena};
    int code = check_built(&v, artifact, derived, proof, n_expected, expected, err);
    arena_close(arena);
    return code ? code : report_ok(r, err);
}
