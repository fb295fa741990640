/* evidence.c -- do provenance.json, bom.cdx.json, the card and the hashes of tensors say what the manifest
 * and the files say? They are hashed like every file, but whoever made the package could have written
 * anything into them. */
#include "packager/evidence.h"
#include "core/json.h"
#include "validate/validation.h"
#include <stdlib.h>
#include <string.h>

enum { EVIDENCE_LIMIT = 64 << 20 };

typedef struct Evidence {
    const Validation *v;
    const char *directory;
    const FileTree *tree;
    const Manifest *m;
} Evidence;

static int by_path(const void *key, const void *file) {
    return strcmp(key, ((const ManifestFile *)file)->path);
}

static const ManifestFile *listed(const Manifest *m, const char *path) {
    return path && m->n_files ? bsearch(path, m->files, m->n_files, sizeof *m->files, by_path) : NULL;
}

static const char *source_hash(const Manifest *m, const char *name) {
    for (size_t i = 0; name && i < m->n_sources; i++)
        if (!strcmp(m->sources[i].name, name)) return m->sources[i].sha256;
    return NULL;
}

static bool is_present(const Evidence *e, const char *name) {
    const FoundFile *f = tree_find(e->tree, name);
    return f && f->kind == FOUND_FILE && f->size <= EVIDENCE_LIMIT;
}

static int read_text(char **text, size_t *length, const Evidence *e, const char *name, Error *err) {
    Input *in;
    TRY(package_open_file(&in, e->directory, name, err));
    *length = (size_t)input_size(in);
    *text = *length > EVIDENCE_LIMIT ? NULL : arena_alloc(e->v->arena, *length + 1, 1);
    int code = *text ? input_read(in, 0, *text, *length, err) : error_memory(err, name);
    input_close(in);
    return code;
}

static int read_json(cJSON **out, const Evidence *e, const char *name, Error *err) {
    char *text;
    size_t length;
    TRY(read_text(&text, &length, e, name, err));
    return json_parse(out, text, length, name, err);
}

static int differs(Error *err, const char *file, const char *what, const char *name, const char *said) {
    return error_set(err, ERR_CHECK, "%s: the %s %.200s is not what the manifest says: %.80s", file, what,
                     name ? name : "without a name", said ? said : "it gives no SHA-256");
}

static const char *text_of(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(json_get(object, key));
}

/* ---- provenance ---- */

static int check_subjects(const Manifest *m, const cJSON *root, Error *err) {
    const cJSON *list = json_get(root, "subject"), *s;
    size_t artifacts = 0;
    cJSON_ArrayForEach(s, list) {
        const char *name = text_of(s, "name"), *hex = text_of(json_get(s, "digest"), "sha256");
        const ManifestFile *f = listed(m, name);
        if (!f || !hex || strcmp(hex, f->sha256)) return differs(err, PROVENANCE_FILE, "subject", name, hex);
        for (size_t i = 0; i < m->n_artifacts; i++) artifacts += !strcmp(name, m->artifacts[i].path);
    }
    for (size_t i = 0; i < m->n_artifacts; i++) artifacts += !strcmp(m->artifacts[i].format, "hf");
    if (artifacts == m->n_artifacts) return 0;
    return error_set(err, ERR_CHECK,
                     PROVENANCE_FILE ": an artifact of the manifest is not among its subjects");
}

static int check_dependencies(const Manifest *m, const cJSON *root, Error *err) {
    const cJSON *definition = json_get(json_get(root, "predicate"), "buildDefinition"), *r;
    const cJSON *list = json_get(definition, "resolvedDependencies");
    size_t sources = 0;
    cJSON_ArrayForEach(r, list) {
        const char *name = text_of(r, "name"), *hex = text_of(json_get(r, "digest"), "sha256");
        const ManifestFile *recipe =
            m->recipe_file && name && !strcmp(name, m->recipe_file) ? listed(m, name) : NULL;
        const char *expected = recipe ? recipe->sha256 : source_hash(m, name);
        if (expected && (!hex || strcmp(hex, expected)))
            return differs(err, PROVENANCE_FILE, "dependency", name, hex);
        sources += !recipe && expected;
    }
    if (sources >= m->n_sources) return 0;
    return error_set(err, ERR_CHECK,
                     PROVENANCE_FILE ": a source of the manifest is not among its dependencies");
}

static int check_statement(const Evidence *e, const cJSON *root, Error *err) {
    TRY(check_subjects(e->m, root, err));
    return check_dependencies(e->m, root, err);
}

/* ---- bill of materials ---- */

static const char *hash_of(const cJSON *component) {
    const cJSON *list = json_get(component, "hashes");
    return cJSON_IsArray(list) ? text_of(list->child, "content") : NULL;
}

static int check_hashed(const Manifest *m, const cJSON *list, const char *key, const char *what, size_t *n,
                        Error *err) {
    const cJSON *c;
    cJSON_ArrayForEach(c, list) {
        const char *name = text_of(c, key), *hex = hash_of(c);
        const ManifestFile *f = listed(m, name);
        if (!f || !hex || strcmp(hex, f->sha256)) return differs(err, BOM_FILE, what, name, hex);
        ++*n;
    }
    return 0;
}

static const Artifact *artifact_of(const Manifest *m, const char *path) {
    for (size_t i = 0; path && i < m->n_artifacts; i++)
        if (!strcmp(m->artifacts[i].path, path)) return &m->artifacts[i];
    return NULL;
}

/* An older bill of materials gives fewer digests; those that it gives are the manifest's. */
static int check_digests(const Manifest *m, const cJSON *list, Error *err) {
    const cJSON *c, *p;
    cJSON_ArrayForEach(c, list) {
        const Artifact *a = artifact_of(m, text_of(c, "name"));
        const cJSON *properties = a ? json_get(c, "properties") : NULL;
        cJSON_ArrayForEach(p, properties) {
            const char *name = text_of(p, "name"), *hex = text_of(p, "value"), *said = NULL;
            if (!name) continue;
            if (!strcmp(name, "recast:weights_sha256")) said = a->weights_sha256;
            if (!strcmp(name, "recast:metadata_sha256")) said = a->metadata_sha256;
            if (!strcmp(name, "recast:derivation_sha256"))
                said = a->derivation_sha256 ? a->derivation_sha256 : "";
            if (said && (!hex || strcmp(hex, said))) return differs(err, BOM_FILE, name, a->path, hex);
        }
    }
    return 0;
}

static int check_bom(const Evidence *e, const cJSON *root, Error *err) {
    const cJSON *model = json_get(json_get(root, "metadata"), "component");
    size_t files = 0, references = 0;
    const char *name = text_of(model, "name");
    if (!name || strcmp(name, e->m->name))
        return error_set(err, ERR_CHECK, BOM_FILE ": it speaks of another model than the manifest");
    TRY(check_hashed(e->m, json_get(model, "components"), "name", "file", &files, err));
    TRY(check_hashed(e->m, json_get(model, "externalReferences"), "url", "reference", &references, err));
    TRY(check_digests(e->m, json_get(model, "components"), err));
    if (files) return 0;
    return error_set(err, ERR_CHECK, BOM_FILE ": it lists no file");
}

/* ---- both ---- */

static int check_json(const Evidence *e, const char *name,
                      int (*check)(const Evidence *, const cJSON *, Error *), Error *err) {
    cJSON *root;
    Error found = {0};
    if (!is_present(e, name)) return 0; /* an older package has none; a missing one was said before */
    int code = read_json(&root, e, name, &found);
    if (!code) {
        code = check(e, root, &found);
        cJSON_Delete(root);
    }
    if (code) return check_error(e->v, "hashes", name, &found, err);
    check_add(e->v, "hashes", CHECK_PASS, name, "agrees with manifest.json");
    return 0;
}

/* ---- the model card ---- */

/* What the Hub shows of licence and base. Said only if it is wrong: the card is prose for the rest. */
static int check_card(const Evidence *e, Error *err) {
    char *text;
    size_t length;
    Error found = {0};
    if (!listed(e->m, "README.md") || !is_present(e, "README.md")) return 0;
    int code = read_text(&text, &length, e, "README.md", &found);
    if (!code) code = card_check(text, length, e->m, &found);
    return code ? check_error(e->v, "hashes", "README.md", &found, err) : 0;
}

/* ---- hashes of tensors ---- */

static int same_hashes(const Evidence *e, const char *gguf, const char *name, Error *err) {
    Buffer expected;
    char *text, *path = arena_printf(e->v->arena, "%s/%s", e->directory, gguf);
    size_t length;
    if (!path) return error_memory(err, "a path");
    TRY(read_text(&text, &length, e, name, err));
    buffer_init(&expected, NULL);
    int code = tensor_hashes_write(&expected, path, gguf, e->v->options->progress, err);
    bool same = !code && expected.length == length && !memcmp(text, expected.data, length);
    buffer_free(&expected);
    if (code || same) return code;
    return error_set(err, ERR_CHECK, "not the hashes of the tensors in %s", gguf);
}

static int check_tensors(const Evidence *e, const char *gguf, Error *err) {
    Error found = {0};
    char *name = arena_printf(e->v->arena, "%s" TENSOR_HASHES_SUFFIX, gguf);
    if (!name) return error_memory(err, "a path");
    if (!listed(e->m, name) || !is_present(e, name) || !tree_is_plain(e->tree, gguf)) return 0;
    int code = same_hashes(e, gguf, name, &found);
    if (code == ERR_FORMAT || code == ERR_UNSUPPORTED)
        return 0; /* it can't be opened: the structure checks say so */
    if (code) return check_error(e->v, "hashes", name, &found, err);
    check_add(e->v, "hashes", CHECK_PASS, name, "the tensors have these hashes");
    return 0;
}

static bool is_gguf(const char *path) {
    size_t n = strlen(path);
    return n > 5 && !strcmp(path + n - 5, ".gguf");
}

int check_evidence(const Validation *v, const char *directory, const FileTree *tree, const Manifest *m,
                   Error *err) {
    Evidence e = {v, directory, tree, m};
    TRY(check_json(&e, PROVENANCE_FILE, check_statement, err));
    TRY(check_json(&e, BOM_FILE, check_bom, err));
    TRY(check_card(&e, err));
    for (size_t i = 0; i < m->n_files; i++)
        if (is_gguf(m->files[i].path)) TRY(check_tensors(&e, m->files[i].path, err));
    return 0;
}
