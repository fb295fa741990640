/* output_types.c -- see output_types.h. */
#include "recipes/output_types.h"

#include "core/input.h"
#include "core/quantize.h"
#include "recipes/fields.h"
#include <string.h>

/* ---- names ---- */

const Preset *output_preset(const char *key) {
    for (const char *c = key; *c; c++)
        if (*c >= 'A' && *c <= 'Z') return NULL;
    if (*key >= '0' && *key <= '9') return NULL;
    return preset_by_name(key);
}

const char *output_presets_text(Arena *arena) {
    const char *text = preset_at(0)->key;
    for (size_t i = 1; text && i < preset_count(); i++) {
        const char *separator = i + 1 == preset_count() ? " and " : ", ";
        text = arena_printf(arena, "%s%s%s", text, separator, preset_at(i)->key);
    }
    return text;
}

DType output_tensor_type(const char *name) {
    DType type = weight_type_by_name(name, strlen(name));
    return type != DT_NONE && (dtype_is_float(type) || quantizer_of(type)) ? type : DT_NONE;
}

static const char *lower(Arena *arena, const char *name) {
    char *copy = arena_string(arena, name);
    for (char *c = copy; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    return copy;
}

OutputTypes output_types(const Preset *preset) {
    return (OutputTypes){.preset = preset, .embedding_type = DT_NONE, .output_type = DT_NONE};
}

/* ---- parsing ---- */

static int parse_tensor_type(DType *out, const cJSON *item, const char *path, Error *err) {
    const char *name;
    TRY(item_string(&name, item, path, err));
    *out = output_tensor_type(name);
    if (*out != DT_NONE) return 0;
    return error_set(
        err, ERR_RECIPE,
        "%s: \"%s\" is no type that a tensor can get; f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, "
        "q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl and iq4_xs are",
        path, name);
}

static int parse_member(DType *out, const cJSON *output, const char *path, const char *key, Error *err) {
    char where[FIELD_PATH_SIZE];
    const cJSON *item = json_get(output, key);
    if (!item) return 0;
    field_path(where, path, key);
    return parse_tensor_type(out, item, where, err);
}

static int add_pattern(OutputTypes *t, const char *pattern, const cJSON *type, const char *path, Error *err) {
    DType found;
    TRY(parse_tensor_type(&found, type, path, err));
    int code = tensor_types_add(t->tensor_types, pattern, found, err);
    return code ? error_wrap(err, code, "%s", path) : 0;
}

static int parse_list(OutputTypes *t, const cJSON *list, const char *path, const Allocator *allocator,
                      Error *err) {
    static const char what[] = "an object {\"pattern\": \"type\"}, or an array of [\"pattern\", \"type\"]";
    char where[FIELD_PATH_SIZE];
    size_t i = 0;
    if (!cJSON_IsObject(list) && !cJSON_IsArray(list)) return field_mismatch(list, path, what, err);
    TRY(tensor_types_open(&t->tensor_types, allocator, err));
    for (const cJSON *m = list->child; m; m = m->next, i++) {
        if (cJSON_IsObject(list)) {
            field_path(where, path, m->string);
            TRY(add_pattern(t, m->string, m, where, err));
            continue;
        }
        field_index(where, path, i);
        const cJSON *pattern = cJSON_IsArray(m) && cJSON_GetArraySize(m) == 2 ? m->child : NULL;
        if (!pattern || !cJSON_IsString(pattern)) return field_mismatch(m, where, what, err);
        TRY(add_pattern(t, pattern->valuestring, pattern->next, where, err));
    }
    return 0;
}

int output_types_set_imatrix(OutputTypes *t, const char *path, Arena *arena, Error *err) {
    Input *in;
    const char *slash = strrchr(path, '/');
    t->imatrix_path = arena_string(arena, path);
    t->imatrix_name = arena_string(arena, slash ? slash + 1 : path);
    if (!t->imatrix_path || !t->imatrix_name) return error_memory(err, "an importance matrix");
    TRY(input_open(&in, path, NULL, err));
    int code = sha256_input(t->imatrix_sha256, in, NULL, NULL, err);
    input_close(in);
    return code;
}

static int parse_imatrix(OutputTypes *t, const cJSON *item, const char *path, const char *directory,
                         Arena *arena, Error *err) {
    static const char *const names[] = {"name", "sha256", NULL};
    const char *name, *sha256;
    if (cJSON_IsString(item) && item->valuestring[0]) {
        const char *full = field_resolve(arena, directory, item->valuestring);
        if (!full) return error_memory(err, path);
        int code = output_types_set_imatrix(t, full, arena, err);
        return code ? error_wrap(err, code, "%s", path) : 0;
    }
    if (!cJSON_IsObject(item)) return field_mismatch(item, path, "the path of an importance matrix", err);
    TRY(fields_check_names(item, path, names, err));
    TRY(field_string(&name, item, path, "name", true, err));
    TRY(field_string(&sha256, item, path, "sha256", true, err));
    if (!sha256_is_hex(sha256)) return field_mismatch(item, path, "a SHA-256", err);
    t->imatrix_name = arena_string(arena, name);
    memcpy(t->imatrix_sha256, sha256, SHA256_HEX);
    return t->imatrix_name ? 0 : error_memory(err, path);
}

/* Types for single tensors are for presets that have blocks: llama-quantize ignores them otherwise. */
static int check_use(const OutputTypes *t, const char *path, Error *err) {
    bool any =
        t->embedding_type != DT_NONE || t->output_type != DT_NONE || t->tensor_types || t->imatrix_name;
    if (!any || !t->preset || !dtype_is_float(t->preset->type)) return 0;
    return error_set(
        err, ERR_RECIPE,
        "%s: tensor_types, output_type, embedding_type and imatrix are for quantized types; %s is "
        "none: remove them",
        path, t->preset->key);
}

int output_types_parse(OutputTypes *out, const cJSON *output, const char *path, const char *directory,
                       Arena *arena, const Allocator *allocator, Error *err) {
    char where[FIELD_PATH_SIZE];
    const cJSON *list = json_get(output, "tensor_types"), *imatrix = json_get(output, "imatrix");
    TRY(parse_member(&out->output_type, output, path, "output_type", err));
    TRY(parse_member(&out->embedding_type, output, path, "embedding_type", err));
    const cJSON *again = json_get(output, "requantize");
    field_path(where, path, "requantize");
    if (again && !cJSON_IsBool(again)) return field_mismatch(again, where, "true or false", err);
    out->requantize = cJSON_IsTrue(again);
    field_path(where, path, "tensor_types");
    if (list) TRY(parse_list(out, list, where, allocator, err));
    field_path(where, path, "imatrix");
    if (imatrix) TRY(parse_imatrix(out, imatrix, where, directory, arena, err));
    return check_use(out, path, err);
}

void output_types_close(OutputTypes *t) {
    tensor_types_close(t->tensor_types);
    t->tensor_types = NULL;
}

/* ---- writing ---- */

static bool put_type(cJSON *output, const char *key, DType type, Arena *arena) {
    const char *name = type == DT_NONE ? "" : lower(arena, dtype_name(type));
    return type == DT_NONE || (name && cJSON_AddStringToObject(output, key, name));
}

static bool put_list(cJSON *output, const TensorTypes *types, Arena *arena) {
    if (!types || !tensor_types_count(types)) return true;
    cJSON *list = cJSON_AddArrayToObject(output, "tensor_types");
    for (size_t i = 0; list && i < tensor_types_count(types); i++) {
        const char *name = lower(arena, dtype_name(tensor_types_type(types, i)));
        const char *const pair[] = {tensor_types_pattern(types, i), name};
        cJSON *item = name ? cJSON_CreateStringArray(pair, 2) : NULL;
        if (!item || !cJSON_AddItemToArray(list, item)) return false;
    }
    return list != NULL;
}

static bool put_imatrix(cJSON *output, const OutputTypes *t) {
    if (!t->imatrix_name) return true;
    cJSON *item = cJSON_AddObjectToObject(output, "imatrix");
    return item && cJSON_AddStringToObject(item, "name", t->imatrix_name) &&
           cJSON_AddStringToObject(item, "sha256", t->imatrix_sha256);
}

bool output_types_put(const OutputTypes *t, cJSON *output) {
    Arena *arena;
    if (arena_open(&arena, NULL, NULL)) return false;
    bool ok = put_type(output, "output_type", t->output_type, arena) &&
              put_type(output, "embedding_type", t->embedding_type, arena) &&
              put_list(output, t->tensor_types, arena) && put_imatrix(output, t) &&
              (!t->requantize || cJSON_AddTrueToObject(output, "requantize"));
    arena_close(arena);
    return ok;
}

/* ---- use ---- */

static int open_imatrix(Imatrix **out, const OutputTypes *t, const Allocator *allocator, Error *err) {
    Input *in;
    char found[SHA256_HEX];
    if (!t->imatrix_path)
        return error_set(
            err, ERR_UNSUPPORTED,
            "it was quantized with the importance matrix %s (SHA-256 %s): give the recipe that names it",
            t->imatrix_name, t->imatrix_sha256);
    TRY(input_open(&in, t->imatrix_path, allocator, err));
    int code = sha256_input(found, in, NULL, NULL, err);
    if (!code && strcmp(found, t->imatrix_sha256))
        code = error_set(err, ERR_CHECK, "%s has changed: SHA-256 %s, it was %s", t->imatrix_path, found,
                         t->imatrix_sha256);
    if (!code) code = imatrix_open_input(out, in, allocator, err);
    input_close(in);
    return code;
}

int output_types_options(RetypeOptions *out, Imatrix **imatrix, const OutputTypes *t,
                         const Allocator *allocator, Error *err) {
    *imatrix = NULL;
    if (t->imatrix_name) TRY(open_imatrix(imatrix, t, allocator, err));
    *out = (RetypeOptions){.rules = {.preset = t->preset,
                                     .embedding_type = t->embedding_type,
                                     .output_type = t->output_type,
                                     .tensor_types = t->tensor_types,
                                     .imatrix = *imatrix},
                           .requantize = t->requantize};
    return 0;
}
