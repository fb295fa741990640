/* recipe_set.c -- --set PATH=VALUE: one value of the recipe's tree replaced or added, before the recipe is
 * checked.
 *
 * PATH: keys joined by dots, elements of an array as [N] or .N. VALUE: JSON, or else a bare string. */
#include "core/json.h"
#include "core/utf8.h"
#include "recipes/recipe_private.h"
#include <stdio.h>
#include <string.h>

enum { MAX_STEPS = 16, MAX_STEP = 128, MAX_INDEX = 1000 };

typedef struct Step {
    char name[MAX_STEP];
    bool is_index; /* [N], or digits only */
    size_t index;
} Step;

typedef struct SetPath {
    size_t count;
    Step steps[MAX_STEPS];
} SetPath;

static int malformed(const char *set, const char *problem, Error *err) {
    return error_set(err, ERR_USAGE, "--set %s: %s; write KEY.KEY=VALUE or KEY[N].KEY=VALUE", set, problem);
}

/* Digits only, up to MAX_INDEX. */
static bool read_index(Step *step) {
    size_t value = 0;
    if (!step->name[0]) return false;
    for (const char *p = step->name; *p; p++) {
        if (*p < '0' || *p > '9') return false;
        value = value * 10 + (size_t)(*p - '0');
        if (value > MAX_INDEX) return false;
    }
    step->index = value;
    return true;
}

static int add_step(SetPath *path, const char *begin, const char *end, bool bracket, const char *set,
                    Error *err) {
    if (path->count == MAX_STEPS) return malformed(set, "the path has too many parts", err);
    size_t length = (size_t)(end - begin);
    if (length == 0) return malformed(set, "a part of the path is empty", err);
    if (length >= MAX_STEP) return malformed(set, "a part of the path is too long", err);
    Step *step = &path->steps[path->count++];
    memcpy(step->name, begin, length);
    step->name[length] = '\0';
    step->is_index = read_index(step);
    if (bracket && !step->is_index) return malformed(set, "between [ and ] stands a number up to 1000", err);
    return 0;
}

/* Splits what stands before the '='; *value is what follows it. */
static int split_set(SetPath *path, const char **value, const char *set, Error *err) {
    path->count = 0;
    const char *equals = strchr(set, '=');
    if (!equals) return malformed(set, "there is no =", err);
    const char *p = set;
    do {
        if (p != set) p++; /* the dot */
        size_t length = strcspn(p, ".[=");
        TRY(add_step(path, p, p + length, false, set, err));
        p += length;
        while (*p == '[') {
            const char *close = p + strcspn(p, "]=");
            if (*close != ']') return malformed(set, "a [ is not closed", err);
            TRY(add_step(path, p + 1, close, true, set, err));
            p = close + 1;
        }
    } while (*p == '.');
    if (p != equals) return malformed(set, "after ] comes . or =", err);
    *value = equals + 1;
    return 0;
}

/* "16" is a number, "bf16" a string. What begins like an object, an array or a quoted string but isn't one is
 * a slip, not a bare string. */
static int read_value(cJSON **out, const char *text, const char *set, Error *err) {
    Error problem;
    size_t length = strlen(text);
    int code = json_parse(out, text, length, "the value", &problem);
    if (!code) return 0;
    const char *first = text + strspn(text, " \t\r\n");
    if (code == ERR_MEMORY || *first == '{' || *first == '[' || *first == '"')
        return error_set(err, code == ERR_MEMORY ? ERR_MEMORY : ERR_USAGE, "--set %s: %s", set,
                         problem.message);
    if (utf8_invalid_at(text, length) < length) return malformed(set, "the value is not UTF-8", err);
    *out = cJSON_CreateString(text);
    return *out ? 0 : error_memory(err, set);
}

/* The member that a step names, or NULL. */
static cJSON *find_child(cJSON *node, const Step *step) {
    if (cJSON_IsArray(node)) return step->is_index ? cJSON_GetArrayItem(node, (int)step->index) : NULL;
    return cJSON_GetObjectItemCaseSensitive(node, step->name);
}

/* Puts `value` (owned from here on) where a step of `node` points. */
static int put_child(cJSON *node, const Step *step, cJSON *value, const char *set, Error *err) {
    bool put = false;
    size_t count = cJSON_IsArray(node) ? (size_t)cJSON_GetArraySize(node) : 0;
    if (cJSON_IsArray(node) && (!step->is_index || step->index > count)) {
        cJSON_Delete(value);
        return error_set(err, ERR_USAGE,
                         "--set %s: \"%s\" stands at an array of %zu; expected a number in 0 .. %zu", set,
                         step->name, count, count);
    }
    if (cJSON_IsArray(node))
        put = step->index < count ? cJSON_ReplaceItemInArray(node, (int)step->index, value)
                                  : cJSON_AddItemToArray(node, value);
    else if (find_child(node, step))
        put = cJSON_ReplaceItemInObjectCaseSensitive(node, step->name, value);
    else
        put = cJSON_AddItemToObject(node, step->name, value);
    if (put) return 0;
    cJSON_Delete(value);
    return error_memory(err, set);
}

/* The container at a step, made if it is missing (or null). `next` decides between array and object. */
static int enter(cJSON **node, const Step *step, const Step *next, const char *set, Error *err) {
    cJSON *child = find_child(*node, step);
    if (!child || cJSON_IsNull(child)) {
        cJSON *made = next->is_index ? cJSON_CreateArray() : cJSON_CreateObject();
        if (!made) return error_memory(err, set);
        TRY(put_child(*node, step, made, set, err));
        child = made;
    }
    if (!cJSON_IsObject(child) && !cJSON_IsArray(child))
        return error_set(err, ERR_USAGE, "--set %s: \"%s\" is neither an object nor an array in this recipe",
                         set, step->name);
    *node = child;
    return 0;
}

int recipe_apply_set(cJSON *root, const char *set, Error *err) {
    SetPath path;
    const char *text = NULL;
    TRY(split_set(&path, &text, set, err));
    cJSON *node = root, *value;
    for (size_t i = 0; i + 1 < path.count; i++)
        TRY(enter(&node, &path.steps[i], &path.steps[i + 1], set, err));
    TRY(read_value(&value, text, set, err));
    return put_child(node, &path.steps[path.count - 1], value, set, err);
}
