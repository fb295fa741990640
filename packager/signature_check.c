/* signature_check.c -- is a model signature the key's, and are the files those that were signed? */
#include "packager/signature_private.h"
#include <stdio.h>
#include <string.h>

int signature_verify_key(const ModelSignature *s, const PublicKey *key, Error *err) {
    if (!s->hint)
        return error_set(err, ERR_CHECK,
                         SIGNATURE_FILE " was made with certificates; --trust names their root");
    if (strcmp(s->hint, public_key_id(key)))
        return error_set(err, ERR_CHECK, SIGNATURE_FILE " was made with key %s, not with %s", s->hint,
                         public_key_id(key));
    return dsse_verify(&s->envelope, key, err);
}

int signature_verify_chain(const ModelSignature *s, const CertStore *roots, Error *err) {
    PublicKey *key;
    if (!s->chain)
        return error_set(err, ERR_CHECK,
                         SIGNATURE_FILE " was made with key %s and no certificate; --key names it", s->hint);
    TRY(cert_chain_verify(s->chain, roots, err));
    TRY(public_key_of_chain(&key, s->chain, err));
    int code = dsse_verify(&s->envelope, key, err);
    public_key_close(key);
    return code;
}

static bool is_below_one(const char *path, size_t n, const char *const *list) {
    for (size_t i = 0; i < n; i++)
        if (path_is_below(path, list[i])) return true;
    return false;
}

bool signature_ignores(const ModelSignature *s, const char *path, size_t n_ignored,
                       const char *const *ignored) {
    return is_below_one(path, s->n_ignored, s->ignored) || is_below_one(path, n_ignored, ignored) ||
           !strcmp(path, SIGNATURE_FILE);
}

const SignedFile *signature_find(const ModelSignature *s, const char *path) {
    size_t low = 0, high = s->n_files;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = signature_order(path, s->files[middle].path);
        if (!order) return &s->files[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static void say(SignatureCompare *c, const char *path, const char *problem) {
    c->n_problems++;
    if (c->say) c->say(c->say_context, path, problem);
}

static void compare_hash(SignatureCompare *c, const SignedFile *f, const char *found) {
    char text[200];
    if (!strcmp(f->sha256, found)) return;
    snprintf(text, sizeof text, "SHA-256 is %s, signed was %s", *found ? found : "unknown", f->sha256);
    say(c, f->path, text);
}

static void compare_signed(const ModelSignature *s, const FileTree *tree, SignatureCompare *c) {
    for (size_t i = 0; i < s->n_files; i++) {
        const SignedFile *f = &s->files[i];
        const FoundFile *found = tree_find(tree, f->path);
        const char *known = !found && c->absent ? c->absent(c->absent_context, f->path) : NULL;
        if (found && found->kind == FOUND_FILE)
            compare_hash(c, f, found->sha256);
        else if (found)
            say(c, f->path, found->kind == FOUND_LINK ? "is a symbolic link" : "is no regular file");
        else if (!known)
            say(c, f->path, "was signed and is missing");
        else {
            c->n_absent++;
            compare_hash(c, f, known);
        }
    }
}

/* A directory that wasn't looked into is nothing signed either. */
static void compare_aside(const ModelSignature *s, bool aside, const char *name, SignatureCompare *c) {
    if (aside && !signature_ignores(s, name, c->n_ignored, c->ignored))
        say(c, name, "is there and the signature does not leave it out; --ignore accepts that");
}

void signature_compare(const ModelSignature *s, const FileTree *tree, SignatureCompare *c) {
    compare_signed(s, tree, c);
    for (size_t i = 0; i < tree->n_files; i++) {
        const char *path = tree->files[i].path;
        if (!signature_find(s, path) && !signature_ignores(s, path, c->n_ignored, c->ignored))
            say(c, path, "was not signed");
    }
    compare_aside(s, tree->git_aside, ".git", c);
    compare_aside(s, tree->cache_aside, ".cache", c);
}
