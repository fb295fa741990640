/* signature_read.c -- a model signature from anywhere: nothing of it is believed before it is checked. */
#include "core/json.h"
#include "packager/manifest_private.h"
#include "packager/signature_private.h"
#include <stdio.h>
#include <string.h>

enum { MOST_FILES = 100000, MOST_IGNORED = 1000, MOST_CERTIFICATES = 100 };

typedef struct Reading {
    ModelSignature *s;
    size_t n_allowed;
    const char *const *allowed;
    Error *err;
} Reading;

static int wrong(const Reading *r, const char *problem) {
    return error_set(r->err, ERR_FORMAT, SIGNATURE_FILE ": %s", problem);
}

static const char *text_of(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(json_get(object, key));
}

static bool is_text(const cJSON *object, const char *key, const char *expected) {
    const char *text = text_of(object, key);
    return text && !strcmp(text, expected);
}

/* ---- files ---- */

static int read_resource(const Reading *r, SignedFile *f, const SignedFile *before, const cJSON *item) {
    const char *name = text_of(item, "name"), *hex = text_of(item, "digest");
    if (!name || !hex || !sha256_is_hex(hex) || !is_text(item, "algorithm", "sha256"))
        return wrong(r, "a file of it has no name, or no SHA-256 of 64 lower-case hex digits");
    if (!strcmp(name, "."))
        return error_set(r->err, ERR_UNSUPPORTED, SIGNATURE_FILE ": it signs a single file, no directory");
    const char *problem = package_path_problem(name);
    if (problem) return error_set(r->err, ERR_FORMAT, SIGNATURE_FILE ": the path \"%s\" %s", name, problem);
    int order = before ? signature_order(before->path, name) : -1;
    if (order >= 0)
        return error_set(r->err, ERR_FORMAT, SIGNATURE_FILE ": %s is %s", name,
                         order ? "out of order" : "signed twice");
    f->path = arena_string(r->s->arena, name);
    memcpy(f->sha256, hex, SHA256_HEX);
    return f->path ? 0 : error_memory(r->err, SIGNATURE_FILE);
}

static int read_resources(const Reading *r, const cJSON *predicate) {
    const cJSON *list = json_get(predicate, "resources");
    size_t n = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;
    if (!n) return wrong(r, "it signs no file");
    if (n > MOST_FILES)
        return error_set(r->err, ERR_LIMIT, SIGNATURE_FILE ": more than %d files", MOST_FILES);
    SignedFile *files = arena_alloc(r->s->arena, n, sizeof *files);
    if (!files) return error_memory(r->err, SIGNATURE_FILE);
    const cJSON *item = list->child;
    for (size_t i = 0; i < n; i++, item = item->next)
        TRY(read_resource(r, &files[i], i ? &files[i - 1] : NULL, item));
    r->s->files = files;
    r->s->n_files = n;
    return 0;
}

static int check_root(const Reading *r, const char *expected) {
    Buffer digests;
    char hex[SHA256_HEX];
    buffer_init(&digests, NULL);
    for (size_t i = 0; i < r->s->n_files; i++) root_add(&digests, r->s->files[i].sha256);
    int code = buffer_ok(&digests, SIGNATURE_FILE, r->err);
    if (!code) code = sha256_bytes(hex, digests.data, digests.length, r->err);
    buffer_free(&digests);
    if (code || !strcmp(hex, expected)) return code;
    return error_set(r->err, ERR_CHECK, SIGNATURE_FILE ": the hash over all its files is %s, it says %s", hex,
                     expected);
}

/* ---- what it leaves out ---- */

static bool may_ignore(const Reading *r, const char *path) {
    for (size_t i = 0; i < SIGNATURE_OWN_IGNORED; i++)
        if (!strcmp(path, signature_own_ignored[i])) return true;
    for (size_t i = 0; i < r->n_allowed; i++)
        if (!strcmp(path, r->allowed[i])) return true;
    return false;
}

/* Whatever a signature ignores can be changed freely, so it may ignore only what no program loads. */
static int read_ignored(const Reading *r, const cJSON *serialization) {
    const cJSON *list = json_get(serialization, "ignore_paths"), *item;
    size_t n = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0, i = 0;
    if (list && !cJSON_IsArray(list)) return wrong(r, "ignore_paths is no list");
    if (n > MOST_IGNORED) return wrong(r, "more than 1000 ignored paths");
    const char **paths = arena_alloc(r->s->arena, n, sizeof *paths);
    if (!paths) return error_memory(r->err, SIGNATURE_FILE);
    cJSON_ArrayForEach(item, list) {
        const char *path = cJSON_GetStringValue(item);
        if (!path) return wrong(r, "an ignored path is no string");
        if (!may_ignore(r, path))
            return error_set(r->err, ERR_FORMAT,
                             SIGNATURE_FILE
                             ": it leaves out \"%s\", where anything could be changed; --ignore "
                             "accepts that",
                             path);
        paths[i] = arena_string(r->s->arena, path);
        if (!paths[i++]) return error_memory(r->err, SIGNATURE_FILE);
    }
    r->s->ignored = paths;
    r->s->n_ignored = n;
    return 0;
}

static int read_serialization(const Reading *r, const cJSON *predicate) {
    const cJSON *s = json_get(predicate, "serialization");
    if (!cJSON_IsObject(s)) return wrong(r, "it does not say how the files were hashed");
    if (!is_text(s, "method", "files") || !is_text(s, "hash_type", "sha256"))
        return error_set(r->err, ERR_UNSUPPORTED,
                         SIGNATURE_FILE ": files were not hashed whole, with SHA-256");
    if (!cJSON_IsFalse(json_get(s, "allow_symlinks"))) return wrong(r, "it allows symbolic links");
    return read_ignored(r, s);
}

/* ---- the statement ---- */

static int read_statement(const Reading *r, const cJSON *root) {
    static const char *const digests[] = {"sha256", NULL};
    if (!is_text(root, "_type", IN_TOTO_STATEMENT)) return wrong(r, "its payload is no in-toto statement v1");
    if (!is_text(root, "predicateType", SIGNATURE_PREDICATE))
        return error_set(r->err, ERR_UNSUPPORTED,
                         SIGNATURE_FILE ": its predicate is not " SIGNATURE_PREDICATE);
    const cJSON *list = json_get(root, "subject"), *subject = cJSON_IsArray(list) ? list->child : NULL;
    if (!subject || subject->next) return wrong(r, "a statement has exactly one subject");
    const cJSON *digest = json_get(subject, "digest");
    const char *hex = text_of(digest, "sha256"), *name = text_of(subject, "name");
    if (!name || !hex || !sha256_is_hex(hex) || !json_only_has(digest, digests))
        return wrong(r, "its subject has no name, or no SHA-256 alone");
    r->s->subject = arena_string(r->s->arena, name);
    if (!r->s->subject) return error_memory(r->err, SIGNATURE_FILE);
    const cJSON *predicate = json_get(root, "predicate");
    if (!cJSON_IsObject(predicate)) return wrong(r, "it has no predicate");
    TRY(read_serialization(r, predicate));
    TRY(read_resources(r, predicate));
    return check_root(r, hex);
}

/* ---- the bundle ---- */

static int read_chain(const Reading *r, const cJSON *x509) {
    static const char *const members[] = {"certificates", NULL}, *const parts[] = {"rawBytes", NULL};
    const cJSON *list = json_get(x509, "certificates"), *item;
    const void *der[MOST_CERTIFICATES];
    size_t lengths[MOST_CERTIFICATES], n = 0;
    if (!json_only_has(x509, members) || !cJSON_IsArray(list))
        return wrong(r, "its certificates are no list");
    cJSON_ArrayForEach(item, list) {
        const char *text = json_only_has(item, parts) ? text_of(item, "rawBytes") : NULL;
        Buffer bytes;
        buffer_init(&bytes, NULL);
        bool ok = text && n < MOST_CERTIFICATES && base64_read(&bytes, text) && !bytes.failed;
        lengths[n < MOST_CERTIFICATES ? n : 0] = bytes.length;
        char *copy = ok ? arena_copy(r->s->arena, bytes.data, bytes.length) : NULL;
        buffer_free(&bytes);
        if (!copy) return wrong(r, "a certificate of it is no base64, or there are more than 100");
        der[n++] = copy;
    }
    return cert_chain_from_der(&r->s->chain, n, der, lengths, r->err);
}

static int read_material(const Reading *r, const cJSON *material) {
    static const char *const members[] = {"publicKey", "x509CertificateChain", "tlogEntries",
                                          "timestampVerificationData", NULL},
                             *const hint[] = {"hint", NULL};
    const cJSON *public = json_get(material, "publicKey"), *x509 = json_get(material, "x509CertificateChain"),
                *log = json_get(material, "tlogEntries"),
                *time = json_get(material, "timestampVerificationData");
    if (json_get(material, "certificate"))
        return error_set(r->err, ERR_UNSUPPORTED,
                         SIGNATURE_FILE
                         ": it is keyless (Sigstore); model_signing verify sigstore checks those");
    if (!json_only_has(material, members) || !public == !x509)
        return wrong(r, "it holds neither a key's name alone nor certificates alone");
    if ((log && (!cJSON_IsArray(log) || log->child)) || (time && (!cJSON_IsObject(time) || time->child)))
        return wrong(r, "it holds log entries or times, which belong to keyless signatures");
    if (x509) return read_chain(r, x509);
    const char *hex = json_only_has(public, hint) ? text_of(public, "hint") : NULL;
    if (!hex || !sha256_is_hex(hex)) return wrong(r, "it does not name its key");
    r->s->hint = arena_string(r->s->arena, hex);
    return r->s->hint ? 0 : error_memory(r->err, SIGNATURE_FILE);
}

static int read_bundle(const Reading *r, const cJSON *root) {
    static const char *const members[] = {"mediaType", "verificationMaterial", "dsseEnvelope", NULL};
    if (!json_only_has(root, members)) return wrong(r, "a member that a signature bundle does not have");
    if (!is_text(root, "mediaType", BUNDLE_MEDIA_TYPE))
        return wrong(r, "its media type is not " BUNDLE_MEDIA_TYPE);
    TRY(read_material(r, json_get(root, "verificationMaterial")));
    TRY(dsse_read(&r->s->envelope, json_get(root, "dsseEnvelope"), SIGNATURE_FILE, r->err));
    cJSON *statement;
    const Buffer *payload = &r->s->envelope.payload;
    TRY(json_parse(&statement, buffer_string(payload), payload->length, SIGNATURE_FILE "'s statement",
                   r->err));
    int code = read_statement(r, statement);
    cJSON_Delete(statement);
    return code;
}

int signature_read(ModelSignature **out, const char *text, size_t length, size_t n_ignored,
                   const char *const *ignored, Error *err) {
    Arena *arena;
    cJSON *json;
    *out = NULL;
    TRY(json_parse(&json, text, length, SIGNATURE_FILE, err));
    int code = arena_open(&arena, NULL, err);
    ModelSignature *s = code ? NULL : arena_alloc(arena, 1, sizeof *s);
    if (!code && !s) {
        arena_close(arena);
        code = error_memory(err, SIGNATURE_FILE);
    }
    if (!code) {
        s->arena = arena;
        code = read_bundle(&(Reading){s, n_ignored, ignored, err}, json);
        if (code)
            signature_close(s);
        else
            *out = s;
    }
    cJSON_Delete(json);
    return code;
}

void signature_close(ModelSignature *s) {
    if (!s) return;
    cert_chain_close(s->chain);
    envelope_free(&s->envelope);
    arena_close(s->arena);
}
