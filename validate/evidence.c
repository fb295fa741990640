/* evidence.c -- do provenance.json, bom.cdx.json, the card and the hashes of tensors say what the manifest
 * and the files say? They are hashed like every file, but whoever made the package could have written
 * anything into them. */
#include "packager/evidence.h"
#include "core/json.h"
#include "model/gguf_split.h"
#include "validate/validation.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { EVIDENCE_LIMIT = 64 << 20, SHARD_SUFFIX = 20 /* "-00001-of-00003.gguf" */ };

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

static const FileProof *source_of(const Manifest *m, const char *name) {
    for (size_t i = 0; name && i < m->n_sources; i++)
        if (!strcmp(m->sources[i].name, name)) return &m->sources[i];
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

/* ---- the files that both name ---- */

static bool belongs(const Artifact *a, const char *path) {
    uint32_t number, count, other;
    size_t n = strlen(a->path);
    if (!strcmp(a->format, "hf")) return !strncmp(path, a->path, n) && path[n] == '/';
    if (!gguf_is_shard_path(a->path, &number, &count)) return !strcmp(path, a->path);
    return gguf_is_shard_path(path, &number, &other) && other == count && strlen(path) == n &&
           !strncmp(path, a->path, n - SHARD_SUFFIX);
}

/* named: of each file of the manifest, is it named? All that hold an artifact must be. */
static int check_all_named(const Manifest *m, const bool *named, const char *file, const char *as,
                           Error *err) {
    for (size_t k = 0; k < m->n_files; k++)
        for (size_t i = 0; i < m->n_artifacts && !named[k]; i++)
            if (belongs(&m->artifacts[i], m->files[k].path))
                return error_set(err, ERR_CHECK, "%s: %.200s of the manifest is not among its %s", file,
                                 m->files[k].path, as);
    return 0;
}

/* One for each; freed with the report's arena. */
static bool *flags(const Evidence *e, size_t n) {
    return arena_alloc(e->v->arena, n + 1, sizeof(bool));
}

/* ---- provenance ---- */

static int check_subjects(const Evidence *e, const cJSON *root, Error *err) {
    const cJSON *list = json_get(root, "subject"), *s;
    bool *named = flags(e, e->m->n_files);
    if (!named) return error_memory(err, PROVENANCE_FILE);
    cJSON_ArrayForEach(s, list) {
        const char *name = text_of(s, "name"), *hex = text_of(json_get(s, "digest"), "sha256");
        const ManifestFile *f = listed(e->m, name);
        if (!f || !hex || strcmp(hex, f->sha256)) return differs(err, PROVENANCE_FILE, "subject", name, hex);
        named[f - e->m->files] = true;
    }
    return check_all_named(e->m, named, PROVENANCE_FILE, "subjects", err);
}

/* The base itself: no file, but a commit and a weights digest. */
static int check_base(const Manifest *m, const cJSON *r, Error *err) {
    const char *commit = text_of(json_get(r, "digest"), "gitCommit"),
               *weights = text_of(json_get(r, "annotations"), "weights_sha256"), *uri = text_of(r, "uri");
    char expected[512] = "";
    if (m->repo && m->commit)
        snprintf(expected, sizeof expected, "pkg:huggingface/%s@%s", m->repo, m->commit);
    if (commit && strcmp(commit, m->commit ? m->commit : ""))
        return differs(err, PROVENANCE_FILE, "commit of", m->repo, commit);
    if (weights && strcmp(weights, m->weights_sha256))
        return differs(err, PROVENANCE_FILE, "weights digest of", m->repo, weights);
    if (uri && strcmp(uri, expected)) return differs(err, PROVENANCE_FILE, "address of", m->repo, uri);
    return 0;
}

/* found: a flag for each source, and one for the base. */
static int check_dependency(const Manifest *m, const cJSON *r, bool *found, Error *err) {
    const char *name = text_of(r, "name"), *hex = text_of(json_get(r, "digest"), "sha256");
    const ManifestFile *recipe =
        m->recipe_file && name && !strcmp(name, m->recipe_file) ? listed(m, name) : NULL;
    const FileProof *source = recipe ? NULL : source_of(m, name);
    const char *expected = recipe ? recipe->sha256 : source ? source->sha256 : NULL;
    if (expected && (!hex || strcmp(hex, expected)))
        return differs(err, PROVENANCE_FILE, "dependency", name, hex);
    if (source) found[source - m->sources] = true;
    if (expected || !name || strcmp(name, m->repo ? m->repo : "base")) return 0;
    found[m->n_sources] = true;
    return check_base(m, r, err);
}

static int check_dependencies(const Evidence *e, const cJSON *root, Error *err) {
    const Manifest *m = e->m;
    const cJSON *definition = json_get(json_get(root, "predicate"), "buildDefinition"), *r;
    const cJSON *list = json_get(definition, "resolvedDependencies");
    bool *found = flags(e, m->n_sources);
    if (!found) return error_memory(err, PROVENANCE_FILE);
    cJSON_ArrayForEach(r, list) TRY(check_dependency(m, r, found, err));
    for (size_t i = 0; i < m->n_sources; i++)
        if (!found[i])
            return error_set(err, ERR_CHECK,
                             PROVENANCE_FILE
                             ": %.200s, a source of the manifest, is not among its dependencies",
                             m->sources[i].name);
    if (m->repo && !found[m->n_sources])
        return error_set(err, ERR_CHECK, PROVENANCE_FILE ": the base is not among its dependencies");
    return 0;
}

static int check_statement(const Evidence *e, const cJSON *root, Error *err) {
    TRY(check_subjects(e, root, err));
    return check_dependencies(e, root, err);
}

/* ---- bill of materials ---- */

/* NULL: not one SHA-256 alone, which is what is compared. */
static const char *hash_of(const cJSON *component) {
    const cJSON *list = json_get(component, "hashes"), *hash = cJSON_IsArray(list) ? list->child : NULL;
    const char *algorithm = text_of(hash, "alg");
    return hash && !hash->next && algorithm && !strcmp(algorithm, "SHA-256") ? text_of(hash, "content")
                                                                             : NULL;
}

static int check_hashed(const Manifest *m, const cJSON *list, const char *key, const char *what, bool *named,
                        Error *err) {
    const cJSON *c;
    cJSON_ArrayForEach(c, list) {
        const char *name = text_of(c, key), *hex = hash_of(c);
        const ManifestFile *f = listed(m, name);
        if (!f || !hex || strcmp(hex, f->sha256)) return differs(err, BOM_FILE, what, name, hex);
        named[f - m->files] = true;
    }
    return 0;
}

static const Artifact *artifact_of(const Manifest *m, const char *path) {
    for (size_t i = 0; path && i < m->n_artifacts; i++)
        if (!strcmp(m->artifacts[i].path, path)) return &m->artifacts[i];
    return NULL;
}

static int check_ancestor(const Manifest *m, const cJSON *base, Error *err) {
    const char *group = text_of(base, "group"), *name = text_of(base, "name"),
               *version = text_of(base, "version"), *purl = text_of(base, "purl");
    char repo[600], expected[700] = "";
    snprintf(repo, sizeof repo, "%s%s%s", group ? group : "", group ? "/" : "", name ? name : "");
    if (m->repo && m->commit)
        snprintf(expected, sizeof expected, "pkg:huggingface/%s@%s", m->repo, m->commit);
    if (strcmp(repo, m->repo ? m->repo : "local checkpoint"))
        return differs(err, BOM_FILE, "base of", m->name, repo);
    if (version && strcmp(version, m->commit ? m->commit : ""))
        return differs(err, BOM_FILE, "commit of", repo, version);
    return purl && strcmp(purl, expected) ? differs(err, BOM_FILE, "address of", repo, purl) : 0;
}

/* Licence, author and base are the manifest's, where they are given. */
static int check_about(const Manifest *m, const cJSON *model, Error *err) {
    const cJSON *licences = json_get(model, "licenses"), *author, *c;
    const cJSON *authors = json_get(model, "authors"),
                *bases = json_get(json_get(model, "pedigree"), "ancestors");
    cJSON_ArrayForEach(c, licences) {
        const cJSON *licence = json_get(c, "license");
        const char *id = text_of(licence, "id"), *said = id ? id : text_of(licence, "name");
        if (!said || !m->license || strcasecmp(said, m->license))
            return differs(err, BOM_FILE, "licence of", m->name, said ? said : "it gives none");
    }
    cJSON_ArrayForEach(author, authors) {
        const char *said = text_of(author, "name");
        if (!said || !m->author || strcmp(said, m->author))
            return differs(err, BOM_FILE, "author of", m->name, said ? said : "it gives none");
    }
    cJSON_ArrayForEach(c, bases) TRY(check_ancestor(m, c, err));
    return 0;
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
    bool *files = flags(e, e->m->n_files), *references = flags(e, e->m->n_files);
    const char *name = text_of(model, "name");
    if (!files || !references) return error_memory(err, BOM_FILE);
    if (!name || strcmp(name, e->m->name))
        return error_set(err, ERR_CHECK, BOM_FILE ": it speaks of another model than the manifest");
    TRY(check_hashed(e->m, json_get(model, "components"), "name", "file", files, err));
    TRY(check_hashed(e->m, json_get(model, "externalReferences"), "url", "reference", references, err));
    TRY(check_digests(e->m, json_get(model, "components"), err));
    TRY(check_about(e->m, model, err));
    return check_all_named(e->m, files, BOM_FILE, "files", err);
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
