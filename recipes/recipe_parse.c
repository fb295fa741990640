/* recipe_parse.c -- the recipe format, version 1: what a recipe may say, checked and turned into a Recipe.
 * recipe.schema.json says the same to editors; a test holds both together with the shipped recipes. */
#include "recipes/fields.h"
#include "recipes/recipe_private.h"
#include <stdio.h>
#include <string.h>

enum { NAME_LIMIT = 200, TOKENS_LIMIT = 2047, TOKENS_DEFAULT = 64 };

static const KeyRule root_keys[] = {{"$schema", NULL},   {"recipe", NULL},  {"name", NULL}, {"base", NULL},
                                    {"overrides", NULL}, {"accept", NULL},  {"lora", NULL}, {"outputs", NULL},
                                    {"validate", NULL},  {"package", NULL}, {NULL, NULL}};
static const KeyRule base_keys[] = {{"repo", NULL},   {"revision", NULL}, {"path", NULL},
                                    {"commit", NULL}, {"sha256", NULL},   {"weights_sha256", NULL},
                                    {NULL, NULL}};
static const KeyRule gguf_keys[] = {{"format", NULL},       {"type", NULL},
                                    {"gguf_dynamic", NULL}, {"tensor_types", NULL},
                                    {"output_type", NULL},  {"embedding_type", NULL},
                                    {"imatrix", NULL},      {"requantize", NULL},
                                    {"split", NULL},        {NULL, NULL}};
static const KeyRule hf_keys[] = {{"format", NULL}, {NULL, NULL}};
static const KeyRule validate_keys[] = {{"prompts", NULL}, {"tokens", NULL},   {"text", NULL},
                                        {"max_kl", NULL},  {"min_top1", NULL}, {"max_ppl_ratio", NULL},
                                        {NULL, NULL}};
static const KeyRule package_keys[] = {{"license", NULL},  {"author", NULL},  {"tags", NULL}, {"sweep", NULL},
                                       {"sign_key", NULL}, {"archive", NULL}, {"card", NULL}, {NULL, NULL}};

/* Types of the format that this version does not write: llama.cpp's names. */
static const char *const later_types[] = {"q1_0",  "q2_0",  "iq1_s",   "iq1_m",     "iq2_xxs", "iq2_xs",
                                          "iq2_s", "iq2_m", "iq3_xxs", "iq3_xs",    "iq3_s",   "iq3_m",
                                          "tq1_0", "tq2_0", "mxfp4",   "mxfp4_moe", "nvfp4",   NULL};

static bool listed(const char *word, const char *const *list) {
    for (; *list; list++)
        if (strcmp(*list, word) == 0) return true;
    return false;
}

/* Only the characters of `extra` besides ASCII letters and digits? */
static bool only(const char *s, const char *extra) {
    for (; *s; s++) {
        bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9');
        if (!letter && !strchr(extra, *s)) return false;
    }
    return true;
}

static bool has_control(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7F) return true;
    return false;
}

/* ---- version, name ---- */

static int parse_head(Recipe *r, Error *err) {
    const cJSON *version = json_get(r->json, "recipe");
    uint32_t number;
    if (!version || !json_u32(version, &number))
        return field_mismatch(version, "recipe", "1, the version of the recipe format", err);
    if (number != 1)
        return error_set(err, ERR_UNSUPPORTED,
                         "recipe: version %u of the format; this version of the program reads 1", number);
    const char *schema;
    TRY(field_string(&schema, r->json, "", "$schema", false, err));
    TRY(field_string(&r->name, r->json, "", "name", true, err));
    /* It becomes the name of files and of a directory. */
    if (!only(r->name, "._-") || r->name[0] == '.' || r->name[0] == '-' || strlen(r->name) > NAME_LIMIT)
        return field_mismatch(
            json_get(r->json, "name"), "name",
            "a safe file name (at most 200 of A-Z a-z 0-9 . _ -, the first a letter, digit or _)", err);
    return 0;
}

/* ---- base ---- */

/* "ORG/NAME" or "NAME": the Hub's characters, no part of dots only. */
static bool is_repo(const char *repo) {
    const char *slash = strchr(repo, '/'), *name = slash ? slash + 1 : repo;
    if (!only(repo, "._-/") || strchr(name, '/') || strlen(repo) > NAME_LIMIT || strstr(repo, ".."))
        return false;
    return repo[0] != '/' && repo[0] != '.' && repo[0] != '-' && name[0] && name[0] != '.' && name[0] != '-';
}

/* A branch, a tag, "refs/pr/1" or a commit: it becomes part of a path in the cache. */
static bool is_revision(const char *s) {
    size_t length = strlen(s);
    return only(s, "._-/+") && !strstr(s, "..") && !strstr(s, "//") && s[0] != '/' && s[0] != '-' &&
           s[0] != '.' && !strstr(s, "/.") && s[length - 1] != '/' && length <= NAME_LIMIT;
}

bool is_commit(const char *s) {
    size_t length = strlen(s);
    return (length == 40 || length == 64) && strspn(s, "0123456789abcdef") == length;
}

static int parse_sha256(Recipe *r, const cJSON *base, Error *err) {
    TRY(field_object(&r->sha256, base, "base", "sha256", false, err));
    for (const cJSON *m = r->sha256 ? r->sha256->child : NULL; m; m = m->next) {
        char where[FIELD_PATH_SIZE];
        field_path(where, "base.sha256", m->string);
        if (!m->string[0] || strchr(m->string, '/') || has_control(m->string))
            return error_set(err, ERR_RECIPE, "%s: expected the name of a file, without directories", where);
        if (!cJSON_IsString(m) || !sha256_is_hex(m->valuestring))
            return field_mismatch(m, where, "a SHA-256 of 64 lower-case hex digits (`recast pin` writes it)",
                                  err);
    }
    return 0;
}

static int parse_base(Recipe *r, Error *err) {
    const cJSON *base;
    const char *path = NULL;
    TRY(field_object(&base, r->json, "", "base", true, err));
    TRY(fields_check(base, "base", base_keys, err));
    TRY(field_string(&r->repo, base, "base", "repo", false, err));
    TRY(field_string(&path, base, "base", "path", false, err));
    TRY(field_string(&r->commit, base, "base", "commit", false, err));
    TRY(field_string(&r->weights_sha256, base, "base", "weights_sha256", false, err));
    r->revision = "main";
    TRY(field_string(&r->revision, base, "base", "revision", false, err));
    if (!r->repo && !path)
        return error_set(
            err, ERR_RECIPE,
            "base: neither repo (\"Qwen/Qwen3-30B-A3B\") nor path (a directory) is there; give one");
    if (r->repo && !is_repo(r->repo))
        return field_mismatch(json_get(base, "repo"), "base.repo", "ORGANISATION/NAME as on Hugging Face",
                              err);
    if (!is_revision(r->revision))
        return field_mismatch(json_get(base, "revision"), "base.revision", "a branch, a tag or a commit",
                              err);
    if (r->commit && !is_commit(r->commit))
        return field_mismatch(json_get(base, "commit"), "base.commit",
                              "a commit of 40 or 64 lower-case hex digits (`recast pin` writes it)", err);
    if (r->weights_sha256 && !sha256_is_hex(r->weights_sha256))
        return field_mismatch(json_get(base, "weights_sha256"), "base.weights_sha256",
                              "a SHA-256 of 64 lower-case hex digits (`recast pin` writes it)", err);
    TRY(parse_sha256(r, base, err));
    if (!path) return 0;
    r->base_path = field_resolve(r->arena, r->directory, path);
    return r->base_path ? 0 : error_memory(err, "base.path");
}

/* ---- overrides, accept ---- */

static int parse_overrides(Recipe *r, Error *err) {
    static const cJSON none = {.type = cJSON_Object};
    r->overrides = &none;
    TRY(field_object(&r->overrides, r->json, "", "overrides", false, err));
    TRY(recipe_check_overrides(r->overrides, err));
    static const char *const accepted[] = {"inert-dynamic", NULL};
    const cJSON *accept = NULL;
    TRY(field_array(&accept, r->json, "", "accept", false, err));
    size_t i = 0;
    for (const cJSON *m = accept ? accept->child : NULL; m; m = m->next) {
        char where[FIELD_PATH_SIZE];
        const char *word;
        field_index(where, "accept", i++);
        TRY(item_string(&word, m, where, err));
        if (!listed(word, accepted))
            return field_unknown(ERR_RECIPE, where, word, "nothing that can be accepted", accepted, err);
        r->accept_inert_dynamic = true;
    }
    return 0;
}

/* ---- outputs ---- */

/* No preset: a later one, one that is spelled otherwise, or nothing. */
static int refuse_type(const char *name, const char *where, Arena *arena, Error *err) {
    enum { MOST = 64 };
    const char *keys[MOST] = {NULL}, *offered = output_presets_text(arena);
    if (!offered) return error_memory(err, where);
    if (listed(name, later_types))
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: %s is a type that this version does not write; %s are offered", where, name,
                         offered);
    const Preset *preset = name[0] >= '0' && name[0] <= '9' ? NULL : preset_by_name(name); /* "BF16" */
    if (preset)
        return error_set(err, ERR_RECIPE, "%s: \"%s\" is written in lower case: \"%s\"", where, name,
                         preset->key);
    for (size_t i = 0; i < preset_count() && i + 1 < MOST; i++) keys[i] = preset_at(i)->key;
    return field_unknown(ERR_RECIPE, where, name, "no known type", keys, err);
}

static int parse_type(RecipeOutput *o, const char *path, Arena *arena, Error *err) {
    char where[FIELD_PATH_SIZE];
    const char *name;
    field_path(where, path, "type");
    const cJSON *item = json_get(o->json, "type");
    if (!item) return field_mismatch(NULL, where, "a type, as \"bf16\" or \"q4_k_m\"", err);
    TRY(item_string(&name, item, where, err));
    o->types.preset = output_preset(name);
    if (!o->types.preset) return refuse_type(name, where, arena, err);
    o->type_name = o->types.preset->key;
    return 0;
}

static int parse_split(RecipeOutput *o, const char *path, Error *err) {
    static const char what[] =
        "a size (\"48G\"), a number of tensors (128), \"metadata-first\" or \"metadata-first,48G\"";
    const cJSON *item = json_get(o->json, "split");
    char where[FIELD_PATH_SIZE];
    uint32_t tensors;
    if (!item) return 0;
    field_path(where, path, "split");
    if (cJSON_IsNumber(item)) {
        if (!json_u32(item, &tensors) || tensors == 0) return field_mismatch(item, where, what, err);
        o->split.max_tensors = tensors;
        return 0;
    }
    if (!cJSON_IsString(item) || split_rule_parse(&o->split, item->valuestring, NULL))
        return field_mismatch(item, where, what, err);
    return 0;
}

static int parse_gguf(RecipeOutput *o, const Recipe *r, const char *path, Error *err) {
    static const KeyRule bake_keys[] = {{"bake", NULL}, {NULL, NULL}};
    TRY(fields_check(o->json, path, gguf_keys, err));
    TRY(parse_type(o, path, r->arena, err));
    TRY(output_types_parse(&o->types, o->json, path, r->directory, r->arena, NULL, err));
    TRY(parse_split(o, path, err));
    const cJSON *dynamic = NULL;
    TRY(field_object(&dynamic, o->json, path, "gguf_dynamic", false, err));
    if (!dynamic) return 0;
    char where[FIELD_PATH_SIZE];
    field_path(where, path, "gguf_dynamic");
    TRY(fields_check(dynamic, where, bake_keys, err));
    return field_u32(&o->bake_dynamic, dynamic, where, "bake", 1, UINT32_MAX, true, err);
}

static int parse_output(RecipeOutput *o, const Recipe *r, const cJSON *item, const char *path, Error *err) {
    static const char *const formats[] = {"gguf", "hf", "gguf-lora", NULL};
    const char *format;
    char where[FIELD_PATH_SIZE];
    if (!cJSON_IsObject(item)) return field_mismatch(item, path, "an object", err);
    *o = (RecipeOutput){.json = item, .types = output_types(NULL), .type_name = ""};
    TRY(field_string(&format, item, path, "format", true, err));
    field_path(where, path, "format");
    if (strcmp(format, "gguf-lora") == 0) return recipe_parse_lora_output(o, r, path, err);
    if (!listed(format, formats))
        return field_unknown(ERR_RECIPE, where, format, "no known format", formats, err);
    if (strcmp(format, "hf") == 0) {
        o->format = OUTPUT_HF;
        o->file_name = "hf";
        if (json_get(item, "type")) {
            field_path(where, path, "type");
            return error_set(err, ERR_RECIPE,
                             "%s: the Hugging Face form keeps the types of its source; remove the key",
                             where);
        }
        return fields_check(item, path, hf_keys, err);
    }
    o->format = OUTPUT_GGUF;
    TRY(parse_gguf(o, r, path, err));
    o->file_name = arena_printf(r->arena, "%s-%s.gguf", r->name, o->types.preset->name);
    return o->file_name ? 0 : error_memory(err, path);
}

static int parse_outputs(Recipe *r, Error *err) {
    const cJSON *list;
    TRY(field_array(&list, r->json, "", "outputs", true, err));
    size_t count = 0;
    for (const cJSON *m = list->child; m; m = m->next) count++;
    RecipeOutput *outputs = arena_alloc(r->arena, count, sizeof *outputs);
    if (!outputs) return error_memory(err, "outputs");
    for (size_t i = 0; i < count; i++) outputs[i] = (RecipeOutput){.types = output_types(NULL)};
    r->n_outputs = count;
    r->outputs = outputs;
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        char path[FIELD_PATH_SIZE];
        field_index(path, "outputs", i);
        TRY(parse_output(&outputs[i], r, item, path, err));
        for (size_t j = 0; j < i; j++)
            if (strcmp(outputs[i].file_name, outputs[j].file_name) == 0)
                return error_set(err, ERR_RECIPE,
                                 "%s: it would write %s, which outputs[%zu] writes already; remove one", path,
                                 outputs[i].file_name, j);
    }
    return 0;
}

/* ---- validate, package ---- */

/* An array of strings into the arena; what: of one element. */
static int parse_strings(const char *const **out, size_t *count, const Recipe *r, const cJSON *list,
                         const char *path, bool (*good)(const char *), const char *what, Error *err) {
    size_t n = 0;
    for (const cJSON *m = list->child; m; m = m->next) n++;
    const char **strings = arena_alloc(r->arena, n, sizeof *strings);
    if (!strings) return error_memory(err, path);
    const cJSON *m = list->child;
    for (size_t i = 0; i < n; i++, m = m->next) {
        char where[FIELD_PATH_SIZE];
        field_index(where, path, i);
        TRY(item_string(&strings[i], m, where, err));
        if (!good(strings[i])) return field_mismatch(m, where, what, err);
    }
    *out = strings;
    *count = n;
    return 0;
}

static int parse_limit(double *out, const cJSON *validate, const char *key, double most, Error *err) {
    const cJSON *item = json_get(validate, key);
    char where[FIELD_PATH_SIZE];
    if (!item) return 0;
    field_path(where, "validate", key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > most)
        return field_mismatch(item, where, most == 1 ? "a number in 0 .. 1" : "a number of at least 0", err);
    *out = item->valuedouble;
    return 0;
}

static int parse_quality(Recipe *r, const cJSON *validate, Error *err) {
    const char *text = NULL;
    TRY(field_string(&text, validate, "validate", "text", false, err));
    if (text) {
        r->eval_text = field_resolve(r->arena, r->directory, text);
        if (!r->eval_text) return error_memory(err, "validate.text");
    }
    TRY(parse_limit(&r->limits.max_kl, validate, "max_kl", 1e9, err));
    TRY(parse_limit(&r->limits.min_top1, validate, "min_top1", 1, err));
    return parse_limit(&r->limits.max_ppl_ratio, validate, "max_ppl_ratio", 1e9, err);
}

/* What a package's manifest may record (packager/manifest.h): checking it must end in reasonable time. */
static int check_amount(const Recipe *r, Error *err) {
    uint64_t tokens = (uint64_t)r->n_prompts * (r->n_outputs + 1) * r->n_tokens;
    if (r->n_prompts * (r->n_outputs + 1) <= MOST_RECORDS && tokens <= MOST_TOKENS) return 0;
    return error_set(
        err, ERR_LIMIT,
        "validate: %zu prompts for up to %zu models, %u tokens each, are %llu; a package records at most "
        "%d generations and %d tokens",
        r->n_prompts, r->n_outputs + 1, r->n_tokens, (unsigned long long)tokens, MOST_RECORDS, MOST_TOKENS);
}

static int parse_validate(Recipe *r, Error *err) {
    static const char *const default_prompts[] = {"In the beginning"};
    r->prompts = default_prompts;
    r->n_prompts = 1;
    r->n_tokens = TOKENS_DEFAULT;
    r->limits = (QualityLimits){.max_kl = -1, .min_top1 = -1, .max_ppl_ratio = -1};
    const cJSON *validate = NULL, *prompts = NULL;
    TRY(field_object(&validate, r->json, "", "validate", false, err));
    if (!validate) return 0;
    TRY(fields_check(validate, "validate", validate_keys, err));
    TRY(field_u32(&r->n_tokens, validate, "validate", "tokens", 1, TOKENS_LIMIT, false, err));
    TRY(parse_quality(r, validate, err));
    TRY(field_array(&prompts, validate, "validate", "prompts", false, err));
    if (prompts) TRY(recipe_parse_prompts(r, prompts, err));
    return check_amount(r, err);
}

static bool is_tag(const char *s) {
    return !has_control(s) && strlen(s) <= NAME_LIMIT;
}

/* A file beside the recipe. */
static int parse_file(const char **out, const Recipe *r, const cJSON *package, const char *key, Error *err) {
    const char *path = NULL;
    TRY(field_string(&path, package, "package", key, false, err));
    if (!path) return 0;
    *out = field_resolve(r->arena, r->directory, path);
    return *out ? 0 : error_memory(err, "package");
}

static int parse_signing(Recipe *r, const cJSON *package, Error *err) {
    const char *key = NULL;
    TRY(field_string(&key, package, "package", "sign_key", false, err));
    TRY(field_string(&r->archive, package, "package", "archive", false, err));
    if (r->archive && strcmp(r->archive, "zip") && strcmp(r->archive, "tar.zst"))
        return field_mismatch(json_get(package, "archive"), "package.archive", "\"zip\" or \"tar.zst\"", err);
    if (!key) return 0;
    bool variable = !strncmp(key, "env:", 4);
    r->sign_key = variable ? key : field_resolve(r->arena, r->directory, key);
    return r->sign_key ? 0 : error_memory(err, "package.sign_key");
}

static int parse_package(Recipe *r, Error *err) {
    const cJSON *package = NULL, *tags = NULL;
    TRY(field_object(&package, r->json, "", "package", false, err));
    if (!package) return 0;
    TRY(fields_check(package, "package", package_keys, err));
    TRY(field_string(&r->license, package, "package", "license", false, err));
    TRY(field_string(&r->author, package, "package", "author", false, err));
    if (r->license && !only(r->license, ".+-"))
        return field_mismatch(json_get(package, "license"), "package.license",
                              "a licence id as on Hugging Face (\"apache-2.0\")", err);
    if (r->author && !is_tag(r->author))
        return field_mismatch(json_get(package, "author"), "package.author", "one line of at most 200 bytes",
                              err);
    TRY(parse_file(&r->sweep, r, package, "sweep", err));
    TRY(parse_file(&r->card, r, package, "card", err));
    TRY(parse_signing(r, package, err));
    TRY(field_array(&tags, package, "package", "tags", false, err));
    if (!tags) return 0;
    return parse_strings(&r->tags, &r->n_tags, r, tags, "package.tags", is_tag,
                         "one line of at most 200 bytes", err);
}

int recipe_parse(Recipe *r, Error *err) {
    TRY(fields_check(r->json, "", root_keys, err));
    TRY(parse_head(r, err));
    TRY(parse_base(r, err));
    TRY(parse_overrides(r, err));
    TRY(recipe_parse_lora(r, err));
    TRY(parse_outputs(r, err));
    TRY(parse_validate(r, err));
    return parse_package(r, err);
}
