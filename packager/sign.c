/* sign.c -- see sign.h. The provenance statement first, since model.sig covers it. */
#include "packager/sign.h"
#include "core/json.h"
#include "core/output.h"
#include "packager/package.h"
#include "packager/signature.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { STATEMENT_LIMIT = 64 << 20 };

static int write_file(const char *directory, const char *name, const Buffer *text, Arena *arena, Error *err) {
    char *path = arena_printf(arena, "%s/%s", directory, name);
    if (!path) return error_memory(err, name);
    return output_file(path, buffer_string(text), text->length, NULL, err);
}

/* ---- provenance ---- */

static int read_small(char **text, size_t *length, const char *directory, const char *name, Arena *arena,
                      Error *err) {
    Input *in;
    TRY(package_open_file(&in, directory, name, err));
    uint64_t size = input_size(in);
    int code = size > STATEMENT_LIMIT ? error_set(err, ERR_LIMIT, "%s is larger than 64 MiB", name) : 0;
    *length = (size_t)size;
    *text = code ? NULL : arena_alloc(arena, *length + 1, 1);
    if (!code && !*text) code = error_memory(err, name);
    if (!code) code = input_read(in, 0, *text, *length, err);
    input_close(in);
    return code;
}

static int write_envelope(const char *directory, const char *text, size_t length, const SignKey *key,
                          Arena *arena, Error *err) {
    cJSON *envelope;
    Buffer line;
    buffer_init(&line, NULL);
    TRY(dsse_sign(&envelope, text, length, key, err));
    json_write_canonical(&line, envelope);
    buffer_char(&line, '\n');
    cJSON_Delete(envelope);
    int code = buffer_ok(&line, PROVENANCE_SIGNED_FILE, err);
    if (!code) code = write_file(directory, PROVENANCE_SIGNED_FILE, &line, arena, err);
    buffer_free(&line);
    return code;
}

int sign_provenance(bool *done, const char *directory, const SignKey *key, Error *err) {
    Arena *arena;
    Error absent = {0};
    char *text;
    size_t length;
    *done = false;
    TRY(arena_open(&arena, NULL, err));
    int code = read_small(&text, &length, directory, PROVENANCE_FILE, arena, &absent);
    if (!code) {
        code = write_envelope(directory, text, length, key, arena, err);
        *done = !code;
    } else if (code == ERR_IO && absent.sys == ENOENT)
        code = 0;
    else if (err)
        *err = absent;
    arena_close(arena);
    return code;
}

/* ---- does a package agree with its manifest? ---- */

static int check_listed(const FileTree *tree, const Manifest *m, Error *err) {
    for (size_t i = 0; i < m->n_files; i++) {
        const FoundFile *f = tree_find(tree, m->files[i].path);
        if (!f || f->kind != FOUND_FILE)
            return error_set(err, ERR_CHECK, "%s is in the manifest and not in the package",
                             m->files[i].path);
        if (strcmp(f->sha256, m->files[i].sha256))
            return error_set(err, ERR_CHECK, "%s has SHA-256 %s, the manifest says %s; nothing was signed",
                             f->path, f->sha256, m->files[i].sha256);
    }
    return 0;
}

static int by_path(const void *key, const void *file) {
    return strcmp(key, ((const ManifestFile *)file)->path);
}

static int check_besides(const FileTree *tree, const Manifest *m, Error *err) {
    for (size_t i = 0; i < tree->n_files; i++) {
        const char *path = tree->files[i].path;
        if (package_is_unlisted(path) ||
            (m->n_files && bsearch(path, m->files, m->n_files, sizeof *m->files, by_path)))
            continue;
        return error_set(err, ERR_CHECK, "%s is not in the manifest; nothing was signed", path);
    }
    return 0;
}

/* *name: what the manifest calls the package. */
static int check_package(const char **name, const FileTree *tree, const char *directory, Arena *arena,
                         Error *err) {
    Manifest *m;
    TRY(manifest_read(&m, directory, NULL, err));
    int code = check_listed(tree, m, err);
    if (!code) code = check_besides(tree, m, err);
    *name = arena_string(arena, m->name);
    manifest_close(m);
    if (!code && !*name) code = error_memory(err, "a signature");
    return code;
}

/* ---- the whole ---- */

static const char *directory_name(const char *directory, Arena *arena) {
    char real[PATH_MAX];
    const char *slash = realpath(directory, real) ? strrchr(real, '/') : NULL;
    return arena_string(arena, slash && slash[1] ? slash + 1 : "model");
}

static bool is_not_old_signature(const void *context, const FoundFile *f) {
    (void)context;
    return strcmp(f->path, SIGNATURE_FILE) && strcmp(f->path, PROVENANCE_SIGNED_FILE);
}

static bool is_new_envelope(const void *context, const FoundFile *f) {
    (void)context;
    return !strcmp(f->path, PROVENANCE_SIGNED_FILE);
}

/* The tree once more, with the hashes of the files that are unchanged. */
static int list_again(FileTree *out, const FileTree *old, const char *directory, const SignOptions *o,
                      Arena *arena, Error *err) {
    TRY(tree_list(out, directory, arena, err));
    for (size_t i = 0; i < out->n_files; i++) {
        const FoundFile *f = tree_find(old, out->files[i].path);
        if (f && f->size == out->files[i].size) memcpy(out->files[i].sha256, f->sha256, SHA256_HEX);
    }
    return tree_hash(out, directory, is_new_envelope, NULL, o->hash, arena, err);
}

static int all_hashed(const FileTree *tree, Error *err) {
    for (size_t i = 0; i < tree->n_files; i++) {
        const FoundFile *f = &tree->files[i];
        if (f->kind == FOUND_FILE && !f->sha256[0] && strcmp(f->path, SIGNATURE_FILE))
            return error_set(err, ERR_CHECK, "%s changed while the directory was being signed", f->path);
    }
    return 0;
}

static void count(SignResult *r, const FileTree *tree) {
    for (size_t i = 0; i < tree->n_files; i++) {
        if (signature_leaves_out(tree->files[i].path)) continue;
        r->n_files++;
        r->bytes += tree->files[i].size;
    }
}

static int sign(SignResult *r, const char *directory, const SignOptions *o, Arena *arena, Error *err) {
    FileTree first, tree;
    Buffer bundle;
    const char *subject = NULL;
    TRY(tree_list(&first, directory, arena, err));
    TRY(tree_hash(&first, directory, is_not_old_signature, NULL, o->hash, arena, err));
    r->package = tree_find(&first, "manifest.json") != NULL;
    if (r->package) {
        TRY(check_package(&subject, &first, directory, arena, err));
        TRY(sign_provenance(&r->provenance, directory, o->key, err));
    } else
        subject = directory_name(directory, arena);
    TRY(list_again(&tree, &first, directory, o, arena, err));
    TRY(all_hashed(&tree, err));
    buffer_init(&bundle, NULL);
    int code = signature_write(&bundle, o->subject ? o->subject : subject, &tree, o->key, o->chain, err);
    if (!code) code = write_file(directory, SIGNATURE_FILE, &bundle, arena, err);
    buffer_free(&bundle);
    count(r, &tree);
    return code;
}

int sign_directory(SignResult *out, const char *directory, const SignOptions *options, Error *err) {
    Arena *arena;
    *out = (SignResult){0};
    TRY(arena_open(&arena, NULL, err));
    int code = sign(out, directory, options, arena, err);
    arena_close(arena);
    return code;
}
