/* signature.c -- the statement of a model signature, written. See signature.h. */
#include "core/json.h"
#include "packager/signature_private.h"
#include <stdlib.h>
#include <string.h>

/* What every signature leaves out: .cache is what a download keeps there, the others follow the reference.
 * Its verifier takes the list from the signature. */
const char *const signature_own_ignored[] = {".cache",  ".git",       ".gitattributes",
                                             ".github", ".gitignore", SIGNATURE_FILE};

int signature_order(const char *a, const char *b) {
    for (; *a && *a == *b; a++) b++;
    unsigned char x = (unsigned char)*a, y = (unsigned char)*b;
    if (x == y) return 0;
    if (!x || !y) return x ? 1 : -1;
    if (x == '/' || y == '/') return x == '/' ? -1 : 1;
    return x < y ? -1 : 1;
}

bool path_is_below(const char *path, const char *directory) {
    size_t n = strlen(directory);
    return !strncmp(path, directory, n) && (!path[n] || path[n] == '/');
}

/* ---- which files ---- */

bool signature_leaves_out(const char *path) {
    for (size_t i = 0; i < SIGNATURE_OWN_IGNORED; i++)
        if (path_is_below(path, signature_own_ignored[i])) return true;
    return false;
}

static int compare_files(const void *a, const void *b) {
    return signature_order((*(const FoundFile *const *)a)->path, (*(const FoundFile *const *)b)->path);
}

/* The covered files, in canonical order. */
static int choose(const FoundFile ***out, size_t *count, const FileTree *tree, Arena *arena, Error *err) {
    const FoundFile **files = arena_alloc(arena, tree->n_files, sizeof *files);
    size_t n = 0;
    if (!files) return error_memory(err, "a signature");
    for (size_t i = 0; i < tree->n_files; i++) {
        const FoundFile *f = &tree->files[i];
        if (signature_leaves_out(f->path)) continue;
        if (f->kind != FOUND_FILE)
            return error_set(err, ERR_FORMAT, "%s is %s; only regular files can be signed", f->path,
                             f->kind == FOUND_LINK ? "a symbolic link" : "no regular file");
        files[n++] = f;
    }
    if (!n) return error_set(err, ERR_FORMAT, "there is no file to be signed");
    qsort(files, n, sizeof *files, compare_files);
    *out = files;
    *count = n;
    return 0;
}

/* ---- the hash over all ---- */

static uint8_t nibble(char c) {
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void root_add(Buffer *digests, const char *sha256) {
    for (size_t i = 0; i < SHA256_BYTES; i++)
        buffer_u8(digests, (uint8_t)(nibble(sha256[2 * i]) << 4 | nibble(sha256[2 * i + 1])));
}

/* SHA-256 of the raw digests one behind the other; names are not in it. */
static int root_hash(char hex[SHA256_HEX], const FoundFile *const *files, size_t n, Error *err) {
    Buffer digests;
    buffer_init(&digests, NULL);
    for (size_t i = 0; i < n; i++) root_add(&digests, files[i]->sha256);
    int code = buffer_ok(&digests, "a signature", err);
    if (!code) code = sha256_bytes(hex, digests.data, digests.length, err);
    buffer_free(&digests);
    return code;
}

/* ---- the statement, in the order of keys that the reference writes ---- */

static void put_string(Buffer *b, const char *text) {
    json_write_string(b, text);
}

static void put_serialization(Buffer *b) {
    buffer_text(b,
                "\"serialization\":{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false,"
                "\"ignore_paths\":[");
    for (size_t i = 0; i < SIGNATURE_OWN_IGNORED; i++) {
        if (i) buffer_char(b, ',');
        put_string(b, signature_own_ignored[i]);
    }
    buffer_text(b, "]}");
}

static int write_statement(Buffer *b, const char *subject, const FoundFile *const *files, size_t n,
                           Error *err) {
    char root[SHA256_HEX];
    TRY(root_hash(root, files, n, err));
    buffer_text(b, "{\"_type\":\"" IN_TOTO_STATEMENT "\",\"subject\":[{\"name\":");
    put_string(b, subject);
    buffer_printf(b, ",\"digest\":{\"sha256\":\"%s\"}}],\"predicateType\":\"" SIGNATURE_PREDICATE "\",",
                  root);
    buffer_text(b, "\"predicate\":{");
    put_serialization(b);
    buffer_text(b, ",\"resources\":[");
    for (size_t i = 0; i < n; i++) {
        if (i) buffer_char(b, ',');
        buffer_text(b, "{\"name\":");
        put_string(b, files[i]->path);
        buffer_printf(b, ",\"algorithm\":\"sha256\",\"digest\":\"%s\"}", files[i]->sha256);
    }
    buffer_text(b, "]}}");
    return buffer_ok(b, "a signature", err);
}

/* ---- the bundle ---- */

static cJSON *key_material(const SignKey *key) {
    cJSON *material = cJSON_CreateObject();
    cJSON *public = material ? cJSON_AddObjectToObject(material, "publicKey") : NULL;
    if (public && cJSON_AddStringToObject(public, "hint", sign_key_id(key))) return material;
    cJSON_Delete(material);
    return NULL;
}

static bool add_certificate(cJSON *list, const CertChain *chain, size_t i) {
    Buffer der, text;
    Error ignored;
    buffer_init(&der, NULL);
    buffer_init(&text, NULL);
    cJSON *one = cJSON_CreateObject();
    bool ok = one && cJSON_AddItemToArray(list, one) && !cert_chain_der(chain, i, &der, &ignored);
    base64_write(&text, buffer_string(&der), der.length);
    ok = ok && !text.failed && cJSON_AddStringToObject(one, "rawBytes", buffer_string(&text));
    buffer_free(&der);
    buffer_free(&text);
    return ok;
}

static cJSON *chain_material(const CertChain *chain) {
    cJSON *material = cJSON_CreateObject();
    cJSON *x509 = material ? cJSON_AddObjectToObject(material, "x509CertificateChain") : NULL;
    cJSON *list = x509 ? cJSON_AddArrayToObject(x509, "certificates") : NULL;
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < cert_chain_count(chain); i++) ok = add_certificate(list, chain, i);
    if (ok) return material;
    cJSON_Delete(material);
    return NULL;
}

static int write_bundle(Buffer *out, const Buffer *statement, const SignKey *key, const CertChain *chain,
                        Error *err) {
    cJSON *envelope;
    TRY(dsse_sign(&envelope, statement->data, statement->length, key, err));
    cJSON *root = cJSON_CreateObject(), *material = chain ? chain_material(chain) : key_material(key);
    bool ok = root && material && cJSON_AddArrayToObject(material, "tlogEntries") &&
              cJSON_AddStringToObject(root, "mediaType", BUNDLE_MEDIA_TYPE);
    if (ok && cJSON_AddItemToObject(root, "verificationMaterial", material)) {
        material = NULL;
        ok = cJSON_AddItemToObject(root, "dsseEnvelope", envelope);
        if (ok) envelope = NULL;
    }
    if (ok) json_write_canonical(out, root);
    cJSON_Delete(material);
    cJSON_Delete(envelope);
    cJSON_Delete(root);
    return ok ? buffer_ok(out, "a signature", err) : error_memory(err, "a signature");
}

int signature_write(Buffer *out, const char *subject, const FileTree *tree, const SignKey *key,
                    const CertChain *chain, Error *err) {
    const FoundFile **files = NULL;
    size_t n = 0;
    Arena *arena;
    Buffer statement;
    TRY(arena_open(&arena, NULL, err));
    buffer_init(&statement, NULL);
    int code = choose(&files, &n, tree, arena, err);
    if (!code) code = write_statement(&statement, subject, files, n, err);
    if (!code) code = write_bundle(out, &statement, key, chain, err);
    buffer_free(&statement);
    arena_close(arena);
    return code;
}
