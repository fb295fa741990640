/* rope_config.c -- RoPE parameters from config.json, in the spellings of transformers 4 (rope_theta,
 * rope_scaling) and 5 (rope_parameters). Reads only; tables are computed in rope.c. */
#include "model/config_keys.h"
#include "model/family.h"
#include "model/rope.h"
#include <stdio.h>
#include <string.h>

/* transformers 4 wrote "type" first and "rope_type" later; files have either or both. */
static int read_type(RopeParams *out, const cJSON *object, const char *where, Error *err) {
    const cJSON *name = json_present(object, "rope_type"), *old = json_present(object, "type");
    if ((name && !cJSON_IsString(name)) || (old && !cJSON_IsString(old)))
        return error_set(err, ERR_FORMAT, "%srope_type must be a string", where);
    if (name && old && strcmp(name->valuestring, old->valuestring))
        return error_set(err, ERR_FORMAT,
                         "%srope_type is \"%s\" but type, its old spelling, is \"%s\"; remove the wrong one",
                         where, name->valuestring, old->valuestring);
    if (!name) name = old;
    if (name)
        out->type = rope_type_by_name(name->valuestring);
    else if (json_present(object, "factor"))
        return error_set(err, ERR_FORMAT, "%sthere is a factor but no rope_type; add \"rope_type\"", where);
    return 0;
}

static int read_factor(RopeParams *out, const cJSON *object, const char *where, bool required, Error *err) {
    bool found;
    TRY(config_float(&out->factor, &found, object, where, "factor", err));
    if (!found && required)
        return error_set(err, ERR_FORMAT, "%srope_type \"%s\" needs a factor", where,
                         rope_type_name(out->type));
    if (found && out->factor < 1)
        return error_set(err, ERR_FORMAT, "%sfactor is %g, expected a number of at least 1", where,
                         (double)out->factor);
    return 0;
}

/* a is kept as the GGUF run time will see it: it multiplies rope.scaling.attn_factor by 1 + 0.1 ln s of its
 * own. */
static int read_attention_factor(RopeParams *out, const cJSON *object, const char *where, Error *err) {
    float a = 0;
    TRY(config_float(&a, &out->has_attention_factor, object, where, "attention_factor", err));
    if (!out->has_attention_factor) return 0;
    if (!(a > 0))
        return error_set(err, ERR_FORMAT, "%sattention_factor is %g, expected more than 0", where, (double)a);
    double m = out->type == ROPE_YARN ? rope_yarn_mscale(out->factor) : 1;
    out->attn_factor = (float)(a / m);
    out->attention_factor = (float)(out->attn_factor * m);
    return 0;
}

static int read_yarn(RopeParams *out, const cJSON *object, const char *where, Error *err) {
    out->beta_fast = 32, out->beta_slow = 1, out->truncate = true;
    TRY(config_float(&out->beta_fast, NULL, object, where, "beta_fast", err));
    TRY(config_float(&out->beta_slow, NULL, object, where, "beta_slow", err));
    TRY(config_float(&out->mscale, NULL, object, where, "mscale", err));
    TRY(config_float(&out->mscale_all_dim, NULL, object, where, "mscale_all_dim", err));
    TRY(config_bool(&out->truncate, object, where, "truncate", err));
    if (!(out->beta_slow > 0) || out->beta_fast < out->beta_slow)
        return error_set(err, ERR_FORMAT,
                         "%sbeta_fast %g and beta_slow %g, expected beta_fast >= beta_slow > 0", where,
                         (double)out->beta_fast, (double)out->beta_slow);
    /* transformers looks at mscale only when both are given and attention_factor is not */
    bool mscale = out->mscale != 0 && out->mscale_all_dim != 0 && !out->has_attention_factor;
    out->beyond_gguf = out->beta_fast != 32 || out->beta_slow != 1 || !out->truncate || mscale;
    return 0;
}

int rope_from_config(RopeParams *out, const cJSON *object, const char *path, Error *err) {
    memset(out, 0, sizeof *out);
    if (!object || cJSON_IsNull(object)) return 0;
    if (!cJSON_IsObject(object)) return error_set(err, ERR_FORMAT, "%s: expected an object or null", path);
    for (const cJSON *member = object->child; member; member = member->next)
        if (cJSON_IsObject(member))
            return error_set(err, ERR_UNSUPPORTED, "%s: parameters per layer type (%s) are not offered", path,
                             member->string);
    bool found;
    float rotary = 1;
    char where[200];
    snprintf(where, sizeof where, "%s.", path);
    TRY(read_type(out, object, where, err));
    TRY(config_float(&out->theta, &found, object, where, "rope_theta", err));
    if (found && !(out->theta > 0))
        return error_set(err, ERR_FORMAT, "%srope_theta is %g, expected more than 0", where,
                         (double)out->theta);
    TRY(config_float(&rotary, NULL, object, where, "partial_rotary_factor", err));
    if (rotary != 1)
        return error_set(err, ERR_UNSUPPORTED, "%spartial_rotary_factor %g is not offered, only 1", where,
                         (double)rotary);
    if (out->type == ROPE_DEFAULT || out->type == ROPE_UNKNOWN) return 0;
    TRY(read_factor(out, object, where, out->type != ROPE_LONGROPE, err));
    if (out->type == ROPE_LINEAR || out->type == ROPE_DYNAMIC) return 0;
    TRY(config_count(&out->original_context, object, where, "original_max_position_embeddings", NULL, false,
                     err));
    if (out->type == ROPE_LLAMA3) return 0;
    TRY(read_attention_factor(out, object, where, err));
    return out->type == ROPE_YARN ? read_yarn(out, object, where, err) : 0;
}

/* ---- a whole config.json ---- */

static bool is_filled(const cJSON *object) {
    return object && (!cJSON_IsObject(object) || object->child);
}

/* Do both say the same? theta apart: that is compared on its own. */
static bool same_scaling(RopeParams a, RopeParams b) {
    return a.type == b.type && a.factor == b.factor && a.original_context == b.original_context &&
           a.has_attention_factor == b.has_attention_factor && a.attention_factor == b.attention_factor &&
           a.beta_fast == b.beta_fast && a.beta_slow == b.beta_slow && a.mscale == b.mscale &&
           a.mscale_all_dim == b.mscale_all_dim && a.truncate == b.truncate;
}

/* theta may stand at the top level and inside either object; transformers falls back to 10000, its classes'
 * default. */
static int merge_theta(RopeParams *out, const cJSON *config, float in_scaling, float in_parameters,
                       bool scaling_wins, Error *err) {
    const char *where = "config.json: ";
    bool found;
    float top = 0;
    TRY(config_float(&top, &found, config, where, "rope_theta", err));
    if (found && !(top > 0))
        return error_set(err, ERR_FORMAT, "%srope_theta is %g, expected more than 0", where, (double)top);
    float given[3] = {top, in_scaling, in_parameters};
    out->theta = 0;
    for (size_t i = 0; i < 3; i++) {
        if (given[i] == 0) continue;
        if (out->theta != 0 && out->theta != given[i])
            return error_set(err, ERR_FORMAT,
                             "%srope_theta is given twice, as %g and as %g; remove the wrong one", where,
                             (double)out->theta, (double)given[i]);
        out->theta = given[i];
    }
    if (scaling_wins && in_parameters != 0 && top == 0 && in_scaling == 0)
        return error_set(
            err, ERR_FORMAT,
            "%srope_theta stands only in rope_parameters, which transformers ignores beside rope_scaling "
            "(it would use 10000); move it to the top level",
            where);
    if (out->theta == 0) out->theta = 10000;
    return 0;
}

int rope_from_whole_config(RopeParams *out, const cJSON *config, uint32_t context, Error *err) {
    const cJSON *old = json_present(config, "rope_scaling"), *new = json_present(config, "rope_parameters");
    RopeParams scaling, parameters;
    TRY(rope_from_config(&scaling, old, "config.json: rope_scaling", err));
    TRY(rope_from_config(&parameters, new, "config.json: rope_parameters", err));
    bool has_old = is_filled(old), both = has_old && is_filled(new);
    if (both && parameters.type != ROPE_DEFAULT && !same_scaling(scaling, parameters))
        return error_set(
            err, ERR_FORMAT,
            "config.json: rope_scaling and rope_parameters are both there and differ; remove the wrong one");
    *out = has_old ? scaling : parameters;
    TRY(merge_theta(out, config, scaling.theta, parameters.theta, both, err));
    float rotary = 1;
    TRY(config_float(&rotary, NULL, config, "config.json: ", "partial_rotary_factor", err));
    if (rotary != 1)
        return error_set(err, ERR_UNSUPPORTED, "config.json: partial_rotary_factor %g is not offered, only 1",
                         (double)rotary);
    bool wants_original = out->type == ROPE_YARN || out->type == ROPE_LONGROPE || out->type == ROPE_LLAMA3;
    if (wants_original && !out->original_context) {
        TRY(config_count(&out->original_context, config, "config.json: ", "original_max_position_embeddings",
                         NULL, false, err));
        if (!out->original_context) out->original_context = context;
    }
    return 0;
}
