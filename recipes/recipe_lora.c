/* recipe_lora.c -- the "lora" entries of a recipe: which adapters, how they are merged, and their pins. */
#include "model/views.h"
#include "recipes/fields.h"
#include "recipes/recipe_private.h"
#include <string.h>
#include <sys/stat.h>

enum { MOST_ADAPTERS = 64 };

/* ---- reading ---- */

static int parse_pins(RecipeLora *l, const cJSON *item, const char *path, Error *err) {
    static const char *const names[] = {LORA_CONFIG_FILE, LORA_WEIGHTS_FILE, NULL};
    const char **out[] = {&l->config_sha256, &l->weights_sha256};
    const cJSON *pins = NULL;
    char where[FIELD_PATH_SIZE];
    TRY(field_object(&pins, item, path, "sha256", false, err));
    if (!pins) return 0;
    field_path(where, path, "sha256");
    TRY(fields_check_names(pins, where, names, err));
    for (size_t i = 0; i < 2; i++) {
        char file[FIELD_PATH_SIZE];
        TRY(field_string(out[i], pins, where, names[i], false, err));
        field_path(file, where, names[i]);
        if (*out[i] && !sha256_is_hex(*out[i]))
            return field_mismatch(json_get(pins, names[i]), file, "a SHA-256 of 64 lower-case hex digits",
                                  err);
    }
    return 0;
}

static int parse_words(RecipeLora *l, const cJSON *item, const char *path, Error *err) {
    static const char *const roundings[] = {"once", "peft", NULL};
    static const char *const layouts[] = {"peft", "peft-0.18", "unsloth-legacy", NULL};
    const char *rounding = NULL, *layout = NULL;
    char where[FIELD_PATH_SIZE];
    TRY(field_string(&rounding, item, path, "rounding", false, err));
    field_path(where, path, "rounding");
    if (rounding && !lora_rounding_by_name(&l->rounding, rounding))
        return field_unknown(ERR_RECIPE, where, rounding, "no way of rounding", roundings, err);
    TRY(field_string(&layout, item, path, "expert_b_layout", false, err));
    field_path(where, path, "expert_b_layout");
    if (layout && !lora_layout_by_name(&l->layout, layout))
        return field_unknown(ERR_RECIPE, where, layout, "no known layout", layouts, err);
    return 0;
}

static int parse_entry(RecipeLora *l, const Recipe *r, const cJSON *item, const char *path, Error *err) {
    static const char *const keys[] = {"path", "scale", "rounding", "expert_b_layout", "sha256", NULL};
    char where[FIELD_PATH_SIZE];
    *l = (RecipeLora){.scale = 1};
    if (!cJSON_IsObject(item)) return field_mismatch(item, path, "an object", err);
    TRY(fields_check_names(item, path, keys, err));
    TRY(field_string(&l->spelled, item, path, "path", true, err));
    l->path = field_resolve(r->arena, r->directory, l->spelled);
    if (!l->path) return error_memory(err, path);
    const cJSON *scale = json_get(item, "scale");
    field_path(where, path, "scale");
    if (scale && (!cJSON_IsNumber(scale) || scale->valuedouble == 0 || scale->valuedouble > 1e6 ||
                  scale->valuedouble < -1e6))
        return field_mismatch(scale, where, "a number other than 0", err);
    if (scale) l->scale = scale->valuedouble;
    TRY(parse_words(l, item, path, err));
    return parse_pins(l, item, path, err);
}

int recipe_parse_lora(Recipe *r, Error *err) {
    const cJSON *list = NULL;
    TRY(field_array(&list, r->json, "", "lora", false, err));
    if (!list) return 0;
    size_t count = (size_t)cJSON_GetArraySize(list), i = 0;
    if (count > MOST_ADAPTERS)
        return error_set(err, ERR_LIMIT, "lora: %zu adapters, at most %d are merged", count, MOST_ADAPTERS);
    r->lora = arena_alloc(r->arena, count, sizeof *r->lora);
    if (!r->lora) return error_memory(err, "lora");
    r->n_lora = count;
    for (const cJSON *item = list->child; item; item = item->next, i++) {
        char path[FIELD_PATH_SIZE];
        field_index(path, "lora", i);
        TRY(parse_entry(&r->lora[i], r, item, path, err));
    }
    return 0;
}

int recipe_parse_lora_output(RecipeOutput *o, const Recipe *r, const char *path, Error *err) {
    static const char *const keys[] = {"format", NULL};
    TRY(fields_check_names(o->json, path, keys, err));
    if (r->n_lora != 1)
        return error_set(err, ERR_RECIPE, "%s: gguf-lora ships one adapter, and lora names %zu", path,
                         r->n_lora);
    o->format = OUTPUT_LORA;
    o->type_name = "lora";
    o->file_name = arena_printf(r->arena, "%s-LoRA.gguf", r->name);
    return o->file_name ? 0 : error_memory(err, path);
}

int recipe_set_adapters(Recipe *r, const char *const *paths, size_t n, Error *err) {
    if (!n) return 0;
    if (n != r->n_lora)
        return error_set(err, ERR_USAGE, "%zu adapters were given, %s merges %zu", n, r->path, r->n_lora);
    for (size_t i = 0; i < n; i++) {
        r->lora[i].path = arena_string(r->arena, paths[i]);
        if (!r->lora[i].path) return error_memory(err, "adapters");
    }
    return 0;
}

/* ---- the view ---- */

static const char *known(const char *found) {
    return found[0] ? found : NULL;
}

static int check_pin(const RecipeLora *l, const char *file, const char *pin, const char *found, Error *err) {
    if (!pin || !strcmp(pin, found)) return 0;
    return error_set(
        err, ERR_CHECK,
        "adapter %s: SHA-256 of %s is %s, but the recipe pins %s: it is damaged or not the one that "
        "is meant",
        l->path, file, found, pin);
}

/* Who validates a package may have neither the adapter nor its place; who builds has mistaken the path. */
static int check_there(const RecipeLora *l, Error *err) {
    struct stat st;
    if (stat(l->path, &st) == 0) return 0;
    if (l->weights_sha256)
        return error_set(err, ERR_UNSUPPORTED,
                         "the adapter %s with SHA-256 %s is not at %s; give its directory by --lora",
                         l->spelled, l->weights_sha256, l->path);
    return error_set(err, ERR_IO, "adapter %s: there is no such directory", l->path);
}

static int keep_hashes(const Recipe *r, const Model *view, Error *err) {
    const LoraAdapterInfo *infos;
    size_t n = lora_adapters(view->lora, &infos);
    for (size_t i = 0; i < n; i++) {
        RecipeLora *l = &r->lora[i];
        memcpy(l->found_config, infos[i].config_sha256, SHA256_HEX);
        memcpy(l->found_weights, infos[i].weights_sha256, SHA256_HEX);
        TRY(check_pin(l, LORA_CONFIG_FILE, l->config_sha256, l->found_config, err));
        TRY(check_pin(l, LORA_WEIGHTS_FILE, l->weights_sha256, l->found_weights, err));
    }
    return 0;
}

int recipe_lora_open(Model **out, const Recipe *r, const Model *base, const Allocator *allocator,
                     Error *err) {
    LoraSpec specs[MOST_ADAPTERS];
    *out = NULL;
    for (size_t i = 0; i < r->n_lora; i++) {
        const RecipeLora *l = &r->lora[i];
        if (base->form == FORM_HF) TRY(check_there(l, err));
        specs[i] = (LoraSpec){.path = l->path,
                              .scale = l->scale,
                              .rounding = l->rounding,
                              .layout = l->layout,
                              .config_sha256 = known(l->found_config),
                              .weights_sha256 = known(l->found_weights)};
    }
    TRY(lora_open(out, base, specs, r->n_lora, allocator, err));
    int code = keep_hashes(r, *out, err);
    if (!code) return 0;
    model_close(*out);
    *out = NULL;
    return code;
}

/* ---- writing ---- */

static const char *hash_of(const char *found, const char *pin) {
    return found[0] ? found : pin;
}

static bool put_hashes(cJSON *entry, const RecipeLora *l) {
    const char *config = hash_of(l->found_config, l->config_sha256);
    const char *weights = hash_of(l->found_weights, l->weights_sha256);
    cJSON *hashes = cJSON_AddObjectToObject(entry, "sha256");
    return hashes && (!config || cJSON_AddStringToObject(hashes, LORA_CONFIG_FILE, config)) &&
           (!weights || cJSON_AddStringToObject(hashes, LORA_WEIGHTS_FILE, weights));
}

/* path NULL: as a derivation has it, which knows no paths. */
static cJSON *entry_tree(const RecipeLora *l, const char *path) {
    cJSON *entry = cJSON_CreateObject();
    bool ok = entry && (!path || cJSON_AddStringToObject(entry, "path", path)) &&
              cJSON_AddNumberToObject(entry, "scale", l->scale) &&
              cJSON_AddStringToObject(entry, "rounding", lora_rounding_name(l->rounding)) &&
              cJSON_AddStringToObject(entry, "expert_b_layout", lora_layout_name(l->layout)) &&
              put_hashes(entry, l);
    if (ok) return entry;
    cJSON_Delete(entry);
    return NULL;
}

/* The directory's name: what a package keeps of a path. */
static const char *last_part(const char *path, Arena *arena) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return arena_copy(arena, path + begin, end - begin);
}

cJSON *recipe_lora_tree(const Recipe *r, RecipePaths paths) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; list && i < r->n_lora; i++) {
        const RecipeLora *l = &r->lora[i];
        const char *path = paths == RECIPE_PATHS_KEPT ? l->spelled : NULL;
        if (paths == RECIPE_PATHS_NAMES) path = last_part(l->spelled, r->arena);
        cJSON *entry = paths != RECIPE_PATHS_NONE && !path ? NULL : entry_tree(l, path);
        if (entry && cJSON_AddItemToArray(list, entry)) continue;
        cJSON_Delete(entry);
        cJSON_Delete(list);
        return NULL;
    }
    return list;
}

int recipe_set_lora_text(const Recipe *r, RecipePaths paths, Buffer *text, Error *err) {
    static const char *const key[] = {"lora"};
    if (!r->n_lora) return 0;
    cJSON *tree = recipe_lora_tree(r, paths);
    if (!tree) return error_memory(err, "lora");
    Buffer pretty, value;
    buffer_init(&pretty, NULL);
    buffer_init(&value, NULL);
    json_write_pretty(&pretty, tree);
    cJSON_Delete(tree);
    const char *from = buffer_string(&pretty);
    for (size_t i = 0; i < pretty.length && !(from[i] == '\n' && i + 1 == pretty.length); i++) {
        buffer_char(&value, from[i]);
        if (from[i] == '\n') buffer_text(&value, "  "); /* it stands one level down */
    }
    int code = pretty.failed ? error_memory(err, "lora") : buffer_ok(&value, "lora", err);
    if (!code) code = json_text_set(text, key, 1, buffer_string(&value), err);
    buffer_free(&pretty);
    buffer_free(&value);
    return code;
}
