/* signature.h -- model.sig: an OpenSSF model signature (model_signing 1.1's bundle), by key or certificates.
 *
 * A Sigstore bundle v0.3 whose DSSE envelope holds an in-toto statement of predicate type
 * https://model_signing/signature/v1.0: every file of a directory with its SHA-256, and as subject one hash
 * over all of them. Reading is stricter than the reference: a name twice, another order than the canonical
 * one, a path that leaves the directory, an ignored path that may hide files, any member that isn't known,
 * are refused. */
#ifndef RECAST_PACKAGER_SIGNATURE_H
#define RECAST_PACKAGER_SIGNATURE_H

#include "packager/dsse.h"
#include "packager/tree.h"

#define SIGNATURE_FILE "model.sig"

typedef struct SignedFile {
    const char *path;
    char sha256[SHA256_HEX];
} SignedFile;

typedef struct ModelSignature {
    const char *subject; /* what the signer called the model */
    size_t n_files;
    const SignedFile *files; /* in canonical order, none twice */
    size_t n_ignored;
    const char *const *ignored; /* paths that the signature doesn't cover */
    const char *hint;           /* id of the key; NULL: signed with certificates */
    CertChain *chain;           /* NULL: signed with a key */
    Envelope envelope;
    Arena *arena;
} ModelSignature;

/* Component by component, each as bytes: '/' is lower than anything else. */
int signature_order(const char *a, const char *b);

/* Signs the hashed files of a tree, but for .gitattributes, .gitignore, .github and model.sig. subject: the
 * model's name. chain: NULL signs by key. Appends the bundle. ERR_FORMAT for a link or anything else that is
 * no regular file. */
int signature_write(Buffer *out, const char *subject, const FileTree *tree, const SignKey *key,
                    const CertChain *chain, Error *err) MUST_CHECK;

/* Is it a path that no signature of ours covers? */
bool signature_leaves_out(const char *path);

/* The bundle in `text`. ignored: paths that it may leave out besides .git, .gitattributes, .github,
 * .gitignore, .cache and model.sig. Caller closes. Errors: ERR_FORMAT, ERR_CHECK (the hash over all differs),
 * ERR_UNSUPPORTED (keyless, or not by files and SHA-256), ERR_LIMIT. */
int signature_read(ModelSignature **out, const char *text, size_t length, size_t n_ignored,
                   const char *const *ignored, Error *err) MUST_CHECK;
void signature_close(ModelSignature *s); /* NULL-safe */

/* Is it that key's? ERR_CHECK if not. */
int signature_verify_key(const ModelSignature *s, const PublicKey *key, Error *err) MUST_CHECK;
/* Is it that of its own first certificate, which leads to one of the roots? */
int signature_verify_chain(const ModelSignature *s, const CertStore *roots, Error *err) MUST_CHECK;

/* Does the signature leave this path out? n_ignored more, which the user named, are left out too. */
bool signature_ignores(const ModelSignature *s, const char *path, size_t n_ignored,
                       const char *const *ignored);
const SignedFile *signature_find(const ModelSignature *s, const char *path); /* NULL if absent */

typedef struct SignatureCompare {
    size_t n_ignored;
    const char *const *ignored; /* that the user named */
    /* What an absent file's hash is known to be from elsewhere (an archive without weights), or NULL. */
    const char *(*absent)(const void *context, const char *path);
    const void *absent_context;
    /* Gets each problem: "is not signed", "is missing", "SHA-256 is ..., signed is ...". */
    void (*say)(void *context, const char *path, const char *problem);
    void *say_context;
    size_t n_problems, n_absent; /* counted here */
} SignatureCompare;
/* Compares what is signed with what is there; the tree's files that are covered must be hashed. */
void signature_compare(const ModelSignature *s, const FileTree *tree, SignatureCompare *compare);

#endif
