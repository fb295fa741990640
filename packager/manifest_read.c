/* manifest_read.c -- manifest.json of a package from anywhere: everything is checked before it is believed.
 * Keys that this version doesn't know are passed over, since later versions may add some. */
#include "core/json.h"
#include "core/table.h"
#include "packager/manifest_private.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MANIFEST_LIMIT = 64 << 20, PLACE_SIZE = 160 };

typedef struct Reader {
    Manifest *m;
    const char *path; /* of manifest.json, for messages */
    Error *err;
} Reader;

/* Where in the document: "files[3].sha256". */
static int wrong(const Reader *r, const char *place, const char *key, const char *problem) {
    return error_set(r->err, ERR_FORMAT, "%s: %s%s%s %s", r->path, place, *place && *key ? "." : "", key,
                     problem);
}

/* ---- typed members; NULL or "" stays when an optional one is absent ---- */

static int get_string(const Reader *r, const char **out, const cJSON *object, const char *place,
                      const char *key, bool required) {
    const cJSON *item = json_get(object, key);
    if (!item && !required) return 0;
    if (!item) return wrong(r, place, key, "is missing");
    if (!cJSON_IsString(item)) return wrong(r, place, key, "is not a string");
    *out = item->valuestring;
    return 0;
}

static int get_hash(const Reader *r, char out[SHA256_HEX], const cJSON *object, const char *place,
                    const char *key, bool required) {
    const char *hex = NULL;
    TRY(get_string(r, &hex, object, place, key, required));
    out[0] = '\0';
    if (!hex) return 0;
    if (!sha256_is_hex(hex)) return wrong(r, place, key, "is not a SHA-256 of 64 lower-case hex digits");
    memcpy(out, hex, SHA256_HEX);
    return 0;
}

static int get_u64(const Reader *r, uint64_t *out, const cJSON *object, const char *place, const char *key) {
    const cJSON *item = json_get(object, key);
    if (!item) return wrong(r, place, key, "is missing");
    return json_u64(item, out) ? 0 : wrong(r, place, key, "is not an integer in 0 .. 2^53");
}

/* An array of objects and how many it holds. */
static int get_list(const Reader *r, const cJSON **out, size_t *count, const cJSON *object, const char *place,
                    const char *key) {
    const cJSON *list = json_get(object, key);
    if (!list) return wrong(r, place, key, "is missing");
    if (!cJSON_IsArray(list)) return wrong(r, place, key, "is not an array");
    *count = 0;
    for (const cJSON *m = list->child; m; m = m->next) {
        if (!cJSON_IsObject(m)) return wrong(r, place, key, "holds something that is not an object");
        ++*count;
    }
    *out = list;
    return 0;
}

static int no_memory(const Reader *r) {
    return error_memory(r->err, r->path);
}

/* ---- parts ---- */

static int check_path(const Reader *r, const char *path, const char *place) {
    const char *problem = package_path_problem(path);
    if (!problem) return 0;
    return error_set(r->err, ERR_FORMAT, "%s: %s.path \"%s\" %s", r->path, place, path, problem);
}

/* Refuses a second file of the same name; seen is the table of those so far. */
static int note_once(const Reader *r, Table *seen, const char *path, const char *place, uint64_t index) {
    int put = table_put(seen, path, strlen(path), index);
    if (put == -1)
        return error_set(r->err, ERR_FORMAT, "%s: %s.path \"%s\" is there twice", r->path, place, path);
    return put ? no_memory(r) : 0;
}

/* Refuses a second file that a file system which folds case takes for the first. */
static int note_folded(const Reader *r, Table *folded, const char *path, const char *place) {
    size_t length = strlen(path);
    char *key = arena_copy(r->m->arena, path, length);
    if (!key) return no_memory(r);
    for (char *c = key; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    int put = table_put(folded, key, length, 0);
    if (put == -1)
        return error_set(r->err, ERR_FORMAT, "%s: %s.path \"%s\" differs from another only in its case",
                         r->path, place, path);
    return put ? no_memory(r) : 0;
}

static int read_sources(const Reader *r, const cJSON *base) {
    const cJSON *list;
    size_t count;
    TRY(get_list(r, &list, &count, base, "base", "files"));
    FileProof *sources = arena_alloc(r->m->arena, count, sizeof *sources);
    Table *seen;
    if (!sources) return no_memory(r);
    TRY(table_open(&seen, r->m->arena, count, r->err));
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        char place[PLACE_SIZE];
        snprintf(place, sizeof place, "base.files[%zu]", i);
        TRY(get_string(r, &sources[i].name, item, place, "path", true));
        TRY(check_path(r, sources[i].name, place));
        TRY(note_once(r, seen, sources[i].name, place, i));
        TRY(get_u64(r, &sources[i].size, item, place, "size"));
        TRY(get_hash(r, sources[i].sha256, item, place, "sha256", true));
    }
    r->m->sources = sources;
    r->m->n_sources = count;
    return 0;
}

static int read_base(const Reader *r, const cJSON *root) {
    const cJSON *base = json_get(root, "base");
    if (!base) return wrong(r, "", "base", "is missing");
    if (!cJSON_IsObject(base)) return wrong(r, "", "base", "is not an object");
    char hex[SHA256_HEX];
    TRY(get_string(r, &r->m->repo, base, "base", "repo", false));
    TRY(get_string(r, &r->m->commit, base, "base", "commit", false));
    TRY(get_hash(r, hex, base, "base", "weights_sha256", false));
    r->m->weights_sha256 = arena_string(r->m->arena, hex);
    return r->m->weights_sha256 ? read_sources(r, base) : no_memory(r);
}

/* A value as canonical JSON, the form that Change holds. */
static int value_text(const Reader *r, const char **out, const cJSON *object, const char *place,
                      const char *key) {
    const cJSON *item = json_get(object, key);
    if (!item) return wrong(r, place, key, "is missing");
    Buffer b;
    buffer_init(&b, NULL);
    json_write_canonical(&b, item);
    *out = b.failed ? NULL : arena_copy(r->m->arena, b.data, b.length);
    buffer_free(&b);
    return *out ? 0 : no_memory(r);
}

static int read_changes(const Reader *r, const cJSON *root) {
    const cJSON *list;
    size_t count;
    TRY(get_list(r, &list, &count, root, "", "overrides"));
    Change *changes = arena_alloc(r->m->arena, count, sizeof *changes);
    if (!changes) return no_memory(r);
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        char place[PLACE_SIZE];
        snprintf(place, sizeof place, "overrides[%zu]", i);
        TRY(get_string(r, &changes[i].key, item, place, "key", true));
        TRY(value_text(r, &changes[i].old_value, item, place, "old"));
        TRY(value_text(r, &changes[i].new_value, item, place, "new"));
    }
    r->m->changes = changes;
    r->m->n_changes = count;
    return 0;
}

static int read_files(const Reader *r, const cJSON *root, Table **names) {
    const cJSON *list;
    size_t count;
    TRY(get_list(r, &list, &count, root, "", "files"));
    ManifestFile *files = arena_alloc(r->m->arena, count, sizeof *files);
    if (!files) return no_memory(r);
    Table *folded;
    TRY(table_open(names, r->m->arena, count, r->err));
    TRY(table_open(&folded, r->m->arena, count, r->err));
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        char place[PLACE_SIZE];
        snprintf(place, sizeof place, "files[%zu]", i);
        TRY(get_string(r, &files[i].path, item, place, "path", true));
        TRY(check_path(r, files[i].path, place));
        TRY(note_once(r, *names, files[i].path, place, i));
        TRY(note_folded(r, folded, files[i].path, place));
        TRY(get_u64(r, &files[i].size, item, place, "size"));
        TRY(get_hash(r, files[i].sha256, item, place, "sha256", true));
        if (package_is_like_unlisted(files[i].path))
            return wrong(r, place, "path", "names a file that can't be listed here");
        if (i && strcmp(files[i - 1].path, files[i].path) > 0)
            return wrong(r, place, "path", "is not in order");
    }
    r->m->files = files;
    r->m->n_files = count;
    return 0;
}

/* Is there a file below the directory? Files are sorted, but "hf-x" may stand between "hf" and "hf/". */
static bool has_below(const Manifest *m, const char *directory) {
    size_t length = strlen(directory);
    for (size_t i = 0; i < m->n_files; i++)
        if (strncmp(m->files[i].path, directory, length) == 0 && m->files[i].path[length] == '/') return true;
    return false;
}

static int get_figure(const Reader *r, double *out, const cJSON *object, const char *place, const char *key,
                      bool required) {
    const cJSON *item = json_get(object, key);
    if (!item && !required) return 0;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || isinf(item->valuedouble))
        return wrong(r, place, key, "is missing, or no finite number of at least 0");
    *out = item->valuedouble;
    return 0;
}

static int read_quality(const Reader *r, QualityRecord *q, const cJSON *item, const char *parent) {
    const cJSON *o = json_get(item, "quality");
    char place[PLACE_SIZE];
    if (!o) return 0;
    if (!cJSON_IsObject(o)) return wrong(r, parent, "quality", "is not an object");
    snprintf(place, sizeof place, "%.*s.quality", PLACE_SIZE - 10, parent);
    TRY(get_u64(r, &q->positions, o, place, "positions"));
    TRY(get_figure(r, &q->kl, o, place, "mean_kl", true));
    TRY(get_figure(r, &q->kl_error, o, place, "mean_kl_error", true));
    TRY(get_figure(r, &q->kl_999, o, place, "kl_999", true));
    TRY(get_figure(r, &q->top1, o, place, "top1", true));
    if (q->top1 > 1) return wrong(r, place, "top1", "is above 1");
    TRY(get_figure(r, &q->source_ppl, o, place, "source_perplexity", false));
    TRY(get_figure(r, &q->ppl, o, place, "perplexity", false));
    TRY(get_figure(r, &q->source_ppl_error, o, place, "source_perplexity_standard_error", false));
    return get_figure(r, &q->ppl_error, o, place, "perplexity_standard_error", false);
}

static int read_artifact(const Reader *r, Artifact *a, const cJSON *item, const char *place,
                         const Table *names) {
    TRY(get_string(r, &a->path, item, place, "path", true));
    TRY(check_path(r, a->path, place));
    TRY(get_string(r, &a->format, item, place, "format", true));
    bool gguf = strcmp(a->format, "gguf") == 0;
    if (!gguf && strcmp(a->format, "hf") != 0)
        return wrong(r, place, "format", "is neither \"gguf\" nor \"hf\"");
    bool listed = gguf ? table_get(names, a->path, strlen(a->path), NULL) : has_below(r->m, a->path);
    if (!listed) return wrong(r, place, "path", "is not among the files");
    TRY(get_string(r, &a->type, item, place, "type", true));
    uint64_t tensors;
    TRY(get_u64(r, &tensors, item, place, "tensors"));
    a->n_tensors = (size_t)tensors;
    const cJSON *lossless = json_get(item, "lossless");
    if (!cJSON_IsBool(lossless)) return wrong(r, place, "lossless", "is missing, or neither true nor false");
    a->lossless = cJSON_IsTrue(lossless);
    TRY(get_hash(r, a->weights_sha256, item, place, "weights_sha256", false));
    TRY(get_hash(r, a->metadata_sha256, item, place, "metadata_sha256", false));
    if (a->metadata_sha256[0] && !gguf) return wrong(r, place, "metadata_sha256", "is given for no gguf");
    TRY(get_string(r, &a->derivation_sha256, item, place, "derivation_sha256", false));
    if (a->derivation_sha256 && !sha256_is_hex(a->derivation_sha256))
        return wrong(r, place, "derivation_sha256", "is not a SHA-256 of 64 lower-case hex digits");
    return read_quality(r, &a->quality, item, place);
}

static int read_artifacts(const Reader *r, const cJSON *root, const Table *names) {
    const cJSON *list;
    size_t count;
    TRY(get_list(r, &list, &count, root, "", "artifacts"));
    Artifact *artifacts = arena_alloc(r->m->arena, count, sizeof *artifacts);
    Table *seen;
    if (!artifacts) return no_memory(r);
    TRY(table_open(&seen, r->m->arena, count, r->err));
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        char place[PLACE_SIZE];
        snprintf(place, sizeof place, "artifacts[%zu]", i);
        TRY(read_artifact(r, &artifacts[i], item, place, names));
        TRY(note_once(r, seen, artifacts[i].path, place, i));
    }
    r->m->artifacts = artifacts;
    r->m->n_artifacts = count;
    return 0;
}

static int read_generation(const Reader *r, GenerationRecord *g, const cJSON *item, const char *place) {
    TRY(get_string(r, &g->prompt, item, place, "prompt", true));
    TRY(get_string(r, &g->artifact, item, place, "artifact", false));
    TRY(get_string(r, &g->arithmetic, item, place, "arithmetic", true));
    TRY(get_string(r, &g->text, item, place, "text", true));
    TRY(get_hash(r, g->tokens_sha256, item, place, "tokens_sha256", true));
    TRY(get_hash(r, g->logits_sha256, item, place, "logits_sha256", true));
    uint64_t tokens;
    TRY(get_u64(r, &tokens, item, place, "tokens"));
    if (tokens < 1 || tokens > UINT32_MAX) return wrong(r, place, "tokens", "is not in 1 .. 4294967295");
    g->n_tokens = (uint32_t)tokens;
    const cJSON *margin = json_get(item, "least_margin");
    if (margin && !cJSON_IsNumber(margin)) return wrong(r, place, "least_margin", "is not a number");
    g->least_margin = margin ? (float)margin->valuedouble : INFINITY;
    bool known = !g->artifact;
    for (size_t i = 0; i < r->m->n_artifacts && !known; i++)
        known = strcmp(g->artifact, r->m->artifacts[i].path) == 0;
    return known ? 0 : wrong(r, place, "artifact", "is not among the artifacts");
}

static int read_generations(const Reader *r, const cJSON *root) {
    const cJSON *list;
    size_t count;
    uint64_t tokens = 0;
    TRY(get_list(r, &list, &count, root, "", "generations"));
    if (count > MANIFEST_MOST_RECORDS) return wrong(r, "", "generations", "has more than 1024 elements");
    GenerationRecord *records = arena_alloc(r->m->arena, count, sizeof *records);
    if (!records) return no_memory(r);
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        char place[PLACE_SIZE];
        snprintf(place, sizeof place, "generations[%zu]", i);
        TRY(read_generation(r, &records[i], item, place));
        tokens += records[i].n_tokens;
        if (tokens > MANIFEST_MOST_TOKENS)
            return wrong(r, place, "tokens", "brings all records together above 65536 tokens");
    }
    r->m->generations = records;
    r->m->n_generations = count;
    return 0;
}

static int read_report(const Reader *r, const cJSON *root) {
    const cJSON *report = json_get(root, "report"), *list;
    if (!report) return 0;
    if (!cJSON_IsObject(report)) return wrong(r, "", "report", "is not an object");
    size_t count;
    TRY(get_list(r, &list, &count, report, "report", "checks"));
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        static const char *const keys[] = {"group", "name", "status", "detail"};
        char place[PLACE_SIZE];
        const char *text;
        snprintf(place, sizeof place, "report.checks[%zu]", i);
        for (size_t k = 0; k < 4; k++) TRY(get_string(r, &text, item, place, keys[k], true));
    }
    r->m->report = report;
    return 0;
}

static int read_root(const Reader *r, const cJSON *root) {
    Manifest *m = r->m;
    uint64_t version;
    if (!cJSON_IsObject(root)) return error_set(r->err, ERR_FORMAT, "%s: not a JSON object", r->path);
    TRY(get_u64(r, &version, root, "", "manifest"));
    if (version != MANIFEST_VERSION)
        return error_set(r->err, ERR_UNSUPPORTED,
                         "%s: version %llu of the manifest; this version of the program reads %d", r->path,
                         (unsigned long long)version, MANIFEST_VERSION);
    TRY(get_string(r, &m->name, root, "", "name", true));
    TRY(get_string(r, &m->license, root, "", "license", false));
    TRY(get_string(r, &m->author, root, "", "author", false));
    TRY(read_base(r, root));
    TRY(read_changes(r, root));
    Table *names;
    TRY(read_files(r, root, &names));
    TRY(get_string(r, &m->recipe_file, root, "", "recipe", false));
    if (m->recipe_file && !table_get(names, m->recipe_file, strlen(m->recipe_file), NULL))
        return wrong(r, "", "recipe", "is not among the files");
    TRY(read_artifacts(r, root, names));
    TRY(read_generations(r, root));
    return read_report(r, root);
}

int manifest_read(Manifest **out, const char *directory, const Allocator *allocator, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Manifest *m = arena_alloc(arena, 1, sizeof *m);
    char *path = arena_printf(arena, "%s/manifest.json", directory);
    int code =
        m && path ? json_parse_file(&m->json, path, MANIFEST_LIMIT, err) : error_memory(err, "a manifest");
    if (!code) {
        m->arena = arena;
        code = read_root(&(Reader){m, path, err}, m->json);
    }
    if (code) {
        if (m) cJSON_Delete(m->json);
        arena_close(arena);
        return code;
    }
    *out = m;
    return 0;
}

void manifest_close(Manifest *m) {
    if (!m) return;
    cJSON_Delete(m->json);
    arena_close(m->arena);
}
