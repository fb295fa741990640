/* config_keys.c -- typed reads of config.json. Knows no family; what a key means is the caller's matter. */
#include "model/config_keys.h"
#include <math.h>

/* What stands there instead, short enough for a message. */
static const char *kind_of(const cJSON *item) {
    if (cJSON_IsString(item)) return "a string";
    if (cJSON_IsBool(item)) return "true or false";
    if (cJSON_IsArray(item)) return "an array";
    if (cJSON_IsObject(item)) return "an object";
    return "a number out of range or with a fraction";
}

static int read_count(uint32_t *out, const cJSON *item, const char *where, const char *key, Error *err) {
    if (json_u32(item, out) && *out > 0) return 0;
    if (cJSON_IsNumber(item))
        return error_set(err, ERR_FORMAT, "%s%s is %.17g, expected an integer in 1 .. 4294967295", where, key,
                         item->valuedouble);
    return error_set(err, ERR_FORMAT, "%s%s is %s, expected a positive integer", where, key, kind_of(item));
}

int config_count(uint32_t *out, const cJSON *object, const char *where, const char *key, const char *alias,
                 bool required, Error *err) {
    const cJSON *first = json_present(object, key);
    const cJSON *second = alias ? json_present(object, alias) : NULL;
    *out = 0;
    if (!first && !second) {
        if (!required) return 0;
        return error_set(err, ERR_FORMAT, "%s%s is missing", where, key);
    }
    if (first) TRY(read_count(out, first, where, key, err));
    if (second) {
        uint32_t other;
        TRY(read_count(&other, second, where, alias, err));
        if (first && other != *out)
            return error_set(err, ERR_FORMAT,
                             "%s%s is %u but %s is %u; they mean the same, remove the wrong one", where, key,
                             *out, alias, other);
        *out = other;
    }
    return 0;
}

int config_float(float *out, bool *found, const cJSON *object, const char *where, const char *key,
                 Error *err) {
    const cJSON *item = json_present(object, key);
    if (found) *found = item != NULL;
    if (!item) return 0;
    if (!cJSON_IsNumber(item))
        return error_set(err, ERR_FORMAT, "%s%s is %s, expected a number", where, key, kind_of(item));
    float value = (float)item->valuedouble;
    if (!isfinite(value))
        return error_set(err, ERR_FORMAT, "%s%s is %.17g, which float32 can't hold", where, key,
                         item->valuedouble);
    *out = value;
    return 0;
}

int config_bool(bool *out, const cJSON *object, const char *where, const char *key, Error *err) {
    const cJSON *item = json_present(object, key);
    if (!item) return 0;
    if (!cJSON_IsBool(item))
        return error_set(err, ERR_FORMAT, "%s%s is %s, expected true or false", where, key,
                         cJSON_IsNumber(item) ? "a number" : kind_of(item));
    *out = cJSON_IsTrue(item);
    return 0;
}
