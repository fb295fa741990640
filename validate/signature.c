/* signature.c -- is a directory signed, by whom, and is what lies in it what was signed? A key or a root
 * comes from the user; nothing in the directory is trusted to name its own. */
#include "packager/signature.h"
#include "core/json.h"
#include "packager/package.h"
#include "packager/sign.h"
#include "validate/validation.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SIGNATURE_LIMIT = 64 << 20 };

typedef struct Signed {
    const Validation *v;
    const char *directory;
    const FileTree *tree;
    const Manifest *m; /* NULL: no package */
    ModelSignature *signature;
    size_t said;
} Signed;

static int read_text(char **text, size_t *length, const Signed *s, const char *name, Error *err) {
    Input *in;
    TRY(package_open_file(&in, s->directory, name, err));
    uint64_t size = input_size(in);
    int code = size > SIGNATURE_LIMIT ? error_set(err, ERR_LIMIT, "%s is larger than 64 MiB", name) : 0;
    *length = (size_t)size;
    *text = code ? NULL : arena_alloc(s->v->arena, *length + 1, 1);
    if (!code && !*text) code = error_memory(err, name);
    if (!code) code = input_read(in, 0, *text, *length, err);
    input_close(in);
    return code;
}

/* ---- what was signed, and what is there ---- */

static void say(void *context, const char *path, const char *problem) {
    Signed *s = context;
    if (s->said++ < MOST_LINES) check_add(s->v, "signature", CHECK_FAIL, path, "%s", problem);
}

static bool is_covered(const void *context, const FoundFile *f) {
    const Signed *s = context;
    return signature_find(s->signature, f->path) != NULL;
}

static int by_path(const void *key, const void *file) {
    return strcmp(key, ((const ManifestFile *)file)->path);
}

/* Weights that an archive of the evidence leaves out: their hash is the manifest's, which is signed itself.
 */
static const char *absent_hash(const void *context, const char *path) {
    const Signed *s = context;
    if (!s->v->options->evidence || !s->m || !package_is_weights(path)) return NULL;
    const ManifestFile *f =
        s->m->n_files ? bsearch(path, s->m->files, s->m->n_files, sizeof *s->m->files, by_path) : NULL;
    return f ? f->sha256 : NULL;
}

static int check_contents(Signed *s, bool *same, Error *err) {
    const ValidateOptions *o = s->v->options;
    HashOptions hash = {o->threads, o->progress};
    SignatureCompare compare = {.n_ignored = o->n_ignored,
                                .ignored = o->ignored,
                                .absent = absent_hash,
                                .absent_context = s,
                                .say = say,
                                .say_context = s};
    TRY(tree_hash(s->tree, s->directory, is_covered, s, hash, s->v->arena, err));
    signature_compare(s->signature, s->tree, &compare);
    *same = !compare.n_problems;
    if (s->said > MOST_LINES)
        check_add(s->v, "signature", CHECK_FAIL, "files", "%zu more files are wrong", s->said - MOST_LINES);
    if (*same && compare.n_absent)
        check_add(
            s->v, "signature", CHECK_PASS, "files",
            "%zu files are those that were signed; %zu of them are not here, and the manifest names what was "
            "signed",
            s->signature->n_files, compare.n_absent);
    else if (*same)
        check_add(s->v, "signature", CHECK_PASS, "files", "%zu files are those that were signed",
                  s->signature->n_files);
    return 0;
}

/* ---- whose ---- */

static const char *signer(const Signed *s) {
    Arena *arena = s->v->arena;
    if (s->signature->hint) return arena_printf(arena, "key %s", s->signature->hint);
    const char *subject = cert_chain_subject(s->signature->chain, arena);
    return subject ? arena_printf(arena, "%s", subject) : NULL;
}

static int verify(const Signed *s, const char **by, Error *err) {
    const ValidateOptions *o = s->v->options;
    if (s->signature->hint) {
        TRY(signature_verify_key(s->signature, o->key, err));
    } else
        TRY(signature_verify_chain(s->signature, o->roots, err));
    *by = signer(s);
    return *by ? 0 : error_memory(err, "a signature");
}

static int check_signer(const Signed *s, const char **by, Error *err) {
    const ValidateOptions *o = s->v->options;
    Error found = {0};
    const char *claimed = signer(s);
    if (!claimed) return error_memory(err, "a signature");
    if (!o->key && !o->roots) {
        check_add(s->v, "signature", CHECK_NOT_RUN, "signer",
                  s->signature->hint
                      ? "made with %s; to check that, give it: --key PUBLIC.pem"
                      : "made with the certificate of %s; to check that, give its root: --trust CA.pem",
                  claimed);
        return 0;
    }
    if (s->signature->hint ? !o->key : !o->roots) {
        check_add(s->v, "signature", CHECK_FAIL, "signer",
                  s->signature->hint
                      ? "made with %s, not with certificates: --key names it"
                      : "made with the certificate of %s, not with a key alone: --trust names its root",
                  claimed);
        return 0;
    }
    if (verify(s, by, &found)) return check_error(s->v, "signature", "signer", &found, err);
    check_add(s->v, "signature", CHECK_PASS, "signer",
              s->signature->hint ? "%s"
                                 : "%s, whose certificate leads to a trusted root (as of its first day)",
              *by);
    return 0;
}

/* ---- the provenance statement ---- */

static int read_envelope(Envelope *out, const Signed *s, Error *err) {
    char *text;
    size_t length;
    cJSON *json;
    TRY(read_text(&text, &length, s, PROVENANCE_SIGNED_FILE, err));
    TRY(json_parse(&json, text, length, PROVENANCE_SIGNED_FILE, err));
    int code = dsse_read(out, json, PROVENANCE_SIGNED_FILE, err);
    cJSON_Delete(json);
    return code;
}

/* It must hold provenance.json to the byte, and its signature must be that of model.sig's signer. */
static int same_statement(const Signed *s, const Envelope *e, Error *err) {
    char *text;
    size_t length;
    TRY(read_text(&text, &length, s, PROVENANCE_FILE, err));
    if (length == e->payload.length && !memcmp(text, buffer_string(&e->payload), length)) return 0;
    return error_set(err, ERR_CHECK, "the signed statement is not the one in " PROVENANCE_FILE);
}

static int verify_envelope(const Signed *s, const Envelope *e, bool *verified, Error *err) {
    PublicKey *key = NULL;
    const ValidateOptions *o = s->v->options;
    *verified = s->signature->hint ? o->key != NULL : o->roots != NULL;
    if (!*verified) return 0;
    if (s->signature->chain) TRY(public_key_of_chain(&key, s->signature->chain, err));
    int code = dsse_verify(e, key ? key : o->key, err);
    public_key_close(key);
    return code;
}

static int check_statement(const Signed *s, Error *err) {
    Envelope e;
    Error found = {0};
    bool verified = false;
    const FoundFile *f = tree_find(s->tree, PROVENANCE_SIGNED_FILE);
    if (!f || f->kind != FOUND_FILE) return 0;
    int code = read_envelope(&e, s, &found);
    if (!code) {
        code = same_statement(s, &e, &found);
        if (!code) code = verify_envelope(s, &e, &verified, &found);
        envelope_free(&e);
    }
    if (code == ERR_IO && found.sys == ENOENT) found.code = ERR_FORMAT;
    if (code) return check_error(s->v, "signature", PROVENANCE_SIGNED_FILE, &found, err);
    check_add(s->v, "signature", verified ? CHECK_PASS : CHECK_NOT_RUN, PROVENANCE_SIGNED_FILE,
              verified ? PROVENANCE_FILE ", signed by the same"
                       : PROVENANCE_FILE ", signed; no key to check it with");
    return 0;
}

/* ---- the whole ---- */

static int check_all(Signed *s, Error *err) {
    bool same;
    const char *by = NULL;
    size_t failed = report_count(s->v->report, CHECK_FAIL);
    TRY(check_contents(s, &same, err));
    TRY(check_signer(s, &by, err));
    TRY(check_statement(s, err));
    if (by && report_count(s->v->report, CHECK_FAIL) == failed)
        s->v->report->signed_by = arena_string(s->v->report->arena, by);
    return 0;
}

/* Asked for and absent is a failure; not asked for is no finding. */
static void without_signature(const Validation *v) {
    bool asked = v->options->key || v->options->roots;
    check_add(v, "signature", asked ? CHECK_FAIL : CHECK_NOT_RUN, "signature", "there is no " SIGNATURE_FILE);
}

int check_signature(const Validation *v, const char *directory, const FileTree *tree, const Manifest *m,
                    Error *err) {
    Signed s = {.v = v, .directory = directory, .tree = tree, .m = m};
    Error found = {0};
    char *text;
    size_t length;
    const ValidateOptions *o = v->options;
    const FoundFile *f = tree_find(tree, SIGNATURE_FILE);
    if (!f) {
        without_signature(v);
        return 0;
    }
    if (f->kind != FOUND_FILE) {
        check_add(v, "signature", CHECK_FAIL, SIGNATURE_FILE, "is no regular file");
        return 0;
    }
    int code = read_text(&text, &length, &s, SIGNATURE_FILE, &found);
    if (!code) code = signature_read(&s.signature, text, length, o->n_ignored, o->ignored, &found);
    if (code) return check_error(v, "signature", SIGNATURE_FILE, &found, err);
    code = check_all(&s, err);
    signature_close(s.signature);
    return code;
}
