/* recipe_overrides.c -- the part of "overrides" that can be checked without the base: names, kinds of values,
 * ranges. 200 of 128 experts or a context above factor x original need the base: override_open
 * (model/views.h) refuses those. */
#include "model/views.h"
#include "recipes/fields.h"
#include "recipes/recipe_private.h"
#include <math.h>
#include <string.h>

static const char *const rope_keys[] = {"rope_type",
                                        "type",
                                        "factor",
                                        "original_max_position_embeddings",
                                        "attention_factor",
                                        "beta_fast",
                                        "beta_slow",
                                        "mscale",
                                        "mscale_all_dim",
                                        "truncate",
                                        "short_factor",
                                        "long_factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        NULL};
static const char *const rope_types[] = {"default", "linear", "dynamic", "yarn", "longrope", "llama3", NULL};

static int check_number(const cJSON *object, const char *path, const char *key, double least, bool above,
                        const char *what, Error *err) {
    const cJSON *item = json_get(object, key);
    if (!item) return 0;
    char where[FIELD_PATH_SIZE];
    field_path(where, path, key);
    double v = cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
    /* float32 is what models are read in; a value that it can't hold would become infinite. */
    if (isfinite((float)v) && (above ? v > least : v >= least)) return 0;
    return field_mismatch(item, where, what, err);
}

static int check_rope_type(const cJSON *rope, const char *path, Error *err) {
    const char *type = NULL, *old = NULL;
    TRY(field_string(&type, rope, path, "rope_type", json_get(rope, "type") == NULL, err));
    TRY(field_string(&old, rope, path, "type", false, err));
    if (type && old && strcmp(type, old) != 0)
        return error_set(
            err, ERR_RECIPE,
            "%s: rope_type is \"%s\" but type, its old spelling, is \"%s\"; remove the wrong one", path, type,
            old);
    const char *given = type ? type : old;
    for (size_t i = 0; rope_types[i]; i++)
        if (strcmp(rope_types[i], given) == 0) return 0;
    char where[FIELD_PATH_SIZE];
    field_path(where, path, type ? "rope_type" : "type");
    return field_unknown(ERR_RECIPE, where, given, "no known type of RoPE scaling", rope_types, err);
}

static int check_rope(const cJSON *rope, Error *err) {
    const char *path = "overrides.rope_scaling";
    if (!rope || cJSON_IsNull(rope)) return 0; /* null is a value here: no scaling */
    if (!cJSON_IsObject(rope)) return field_mismatch(rope, path, "an object or null", err);
    TRY(fields_check_names(rope, path, rope_keys, err));
    TRY(check_rope_type(rope, path, err));
    TRY(check_number(rope, path, "factor", 1, false, "a number of at least 1", err));
    TRY(check_number(rope, path, "attention_factor", 0, true, "a number above 0", err));
    uint32_t original;
    return field_u32(&original, rope, path, "original_max_position_embeddings", 1, UINT32_MAX, false, err);
}

int recipe_check_overrides(const cJSON *overrides, Error *err) {
    const char *path = "overrides";
    uint32_t count;
    TRY(fields_check_names(overrides, path, override_keys, err));
    TRY(field_u32(&count, overrides, path, "num_experts_per_tok", 1, UINT32_MAX, false, err));
    TRY(field_u32(&count, overrides, path, "max_position_embeddings", 1, UINT32_MAX, false, err));
    TRY(check_number(overrides, path, "rope_theta", 0, true, "a number above 0", err));
    return check_rope(json_get(overrides, "rope_scaling"), err);
}
