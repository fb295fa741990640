/* fields.c -- typed reads of a recipe's JSON. Knows the shapes of values, not what a recipe means. */
#include "recipes/fields.h"
#include "core/utf8.h"
#include <stdio.h>
#include <string.h>

enum { MAX_KEYS = 32, SHOWN = 60 };

/* snprintf's "%s.%s", spelled so that a path which is cut is no surprise to the compiler. */
static void join(char out[FIELD_PATH_SIZE], const char *a, const char *b, const char *c) {
    size_t length = 0;
    const char *parts[] = {a, b, c};
    for (size_t i = 0; i < 3; i++)
        for (const char *p = parts[i]; *p && length + 1 < FIELD_PATH_SIZE; p++) out[length++] = *p;
    out[length] = '\0';
}

void field_path(char out[FIELD_PATH_SIZE], const char *parent, const char *key) {
    join(out, parent, *parent ? "." : "", key);
}

void field_index(char out[FIELD_PATH_SIZE], const char *parent, size_t index) {
    char number[32];
    snprintf(number, sizeof number, "[%zu]", index);
    join(out, parent, number, "");
}

/* ---- errors ---- */

/* What stands there, short enough for a message. */
static void describe(char *out, size_t size, const cJSON *item) {
    if (cJSON_IsString(item)) {
        size_t length = strlen(item->valuestring), cut = utf8_cut(item->valuestring, length, SHOWN);
        snprintf(out, size, "\"%.*s%s\"", (int)cut, item->valuestring, cut < length ? "..." : "");
    } else if (cJSON_IsNumber(item)) {
        Buffer b;
        buffer_init(&b, NULL);
        json_write_canonical(&b, item);
        snprintf(out, size, "%s", buffer_string(&b));
        buffer_free(&b);
    } else if (cJSON_IsBool(item)) {
        snprintf(out, size, "%s", cJSON_IsTrue(item) ? "true" : "false");
    } else if (cJSON_IsArray(item)) {
        snprintf(out, size, "%s", item->child ? "an array" : "an empty array");
    } else {
        snprintf(out, size, "%s", cJSON_IsObject(item) ? "an object" : "null");
    }
}

int field_mismatch(const cJSON *item, const char *path, const char *what, Error *err) {
    if (!item) return error_set(err, ERR_RECIPE, "%s is missing: expected %s", path, what);
    char found[SHOWN + 40];
    describe(found, sizeof found, item);
    return error_set(err, ERR_RECIPE, "%s: expected %s, found %s", path, what, found);
}

/* "a, b and c" */
static void list_names(char *out, size_t size, const char *const *names) {
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; names[i] && length < size; i++) {
        const char *separator = i == 0 ? "" : names[i + 1] ? ", " : " and ";
        int n = snprintf(out + length, size - length, "%s%s", separator, names[i]);
        if (n > 0) length += (size_t)n;
    }
}

int field_unknown(int code, const char *path, const char *value, const char *what, const char *const *names,
                  Error *err) {
    char shown[SHOWN + 8];
    size_t length = strlen(value), cut = utf8_cut(value, length, SHOWN);
    snprintf(shown, sizeof shown, "%.*s%s", (int)cut, value, cut < length ? "..." : "");
    const char *near = nearest_word(value, names);
    if (near)
        return error_set(err, (ErrorCode)code, "%s: \"%s\" is %s; did you mean %s?", path, shown, what, near);
    char all[400];
    list_names(all, sizeof all, names);
    return error_set(err, (ErrorCode)code, "%s: \"%s\" is %s; known are %s", path, shown, what, all);
}

static int unknown_key(const char *path, const char *key, const char *const *names, Error *err) {
    char where[FIELD_PATH_SIZE], all[400];
    field_path(where, path, key);
    const char *near = nearest_word(key, names);
    if (near) return error_set(err, ERR_RECIPE, "%s: unknown key; did you mean %s?", where, near);
    list_names(all, sizeof all, names);
    return error_set(err, ERR_RECIPE, "%s: unknown key; known are %s", where, all);
}

/* ---- keys ---- */

int fields_check(const cJSON *object, const char *path, const KeyRule *rules, Error *err) {
    const char *names[MAX_KEYS + 1]; /* what is offered: a key for later is no good proposal */
    size_t n_names = 0;
    for (const KeyRule *rule = rules; rule->key && n_names < MAX_KEYS; rule++)
        if (!rule->later) names[n_names++] = rule->key;
    names[n_names] = NULL;
    for (const cJSON *m = object->child; m; m = m->next) {
        const KeyRule *rule = rules;
        while (rule->key && strcmp(rule->key, m->string) != 0) rule++;
        if (!rule->key) return unknown_key(path, m->string, names, err);
        if (!rule->later) continue;
        char where[FIELD_PATH_SIZE];
        field_path(where, path, m->string);
        return error_set(err, ERR_UNSUPPORTED, "%s: %s", where, rule->later);
    }
    return 0;
}

int fields_check_names(const cJSON *object, const char *path, const char *const *names, Error *err) {
    for (const cJSON *m = object->child; m; m = m->next) {
        size_t i = 0;
        while (names[i] && strcmp(names[i], m->string) != 0) i++;
        if (!names[i]) return unknown_key(path, m->string, names, err);
    }
    return 0;
}

/* ---- values ---- */

int item_string(const char **out, const cJSON *item, const char *path, Error *err) {
    if (!cJSON_IsString(item)) return field_mismatch(item, path, "a string", err);
    if (!item->valuestring[0]) return field_mismatch(item, path, "a string that is not empty", err);
    *out = item->valuestring;
    return 0;
}

int field_object(const cJSON **out, const cJSON *object, const char *path, const char *key, bool required,
                 Error *err) {
    const cJSON *item = json_get(object, key);
    if (!item && !required) return 0;
    char where[FIELD_PATH_SIZE];
    field_path(where, path, key);
    if (!cJSON_IsObject(item)) return field_mismatch(item, where, "an object", err);
    *out = item;
    return 0;
}

int field_array(const cJSON **out, const cJSON *object, const char *path, const char *key, bool required,
                Error *err) {
    const cJSON *item = json_get(object, key);
    if (!item && !required) return 0;
    char where[FIELD_PATH_SIZE];
    field_path(where, path, key);
    if (!cJSON_IsArray(item) || !item->child)
        return field_mismatch(item, where, "an array with at least one element", err);
    *out = item;
    return 0;
}

int field_string(const char **out, const cJSON *object, const char *path, const char *key, bool required,
                 Error *err) {
    const cJSON *item = json_get(object, key);
    if (!item && !required) return 0;
    char where[FIELD_PATH_SIZE];
    field_path(where, path, key);
    return item_string(out, item, where, err);
}

int field_u32(uint32_t *out, const cJSON *object, const char *path, const char *key, uint32_t least,
              uint32_t most, bool required, Error *err) {
    const cJSON *item = json_get(object, key);
    if (!item && !required) return 0;
    uint32_t value = 0;
    if (json_u32(item, &value) && value >= least && value <= most) {
        *out = value;
        return 0;
    }
    char where[FIELD_PATH_SIZE], what[80];
    field_path(where, path, key);
    snprintf(what, sizeof what, "an integer in %u .. %u", least, most);
    return field_mismatch(item, where, what, err);
}

const char *field_resolve(Arena *arena, const char *directory, const char *path) {
    if (path[0] == '/' || !directory || !directory[0] || !strcmp(directory, "."))
        return arena_string(arena, path);
    return arena_printf(arena, "%s/%s", strcmp(directory, "/") ? directory : "", path);
}
