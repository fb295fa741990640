/* json_build.c -- see json_build.h. */
#include "packager/json_build.h"
#include "core/json.h"

Tree tree_begin(void) {
    Tree t = {.root = cJSON_CreateObject()};
    t.ok = t.root != NULL;
    return t;
}

int tree_end(Tree *t, Buffer *out, const char *name, Error *err) {
    if (t->ok) json_write_pretty(out, t->root);
    cJSON_Delete(t->root);
    return t->ok ? buffer_ok(out, name, err) : error_memory(err, name);
}

void put_string(Tree *t, cJSON *object, const char *key, const char *value) {
    if (t->ok && value && value[0]) t->ok = cJSON_AddStringToObject(object, key, value) != NULL;
}

void put_number(Tree *t, cJSON *object, const char *key, double value) {
    if (t->ok) t->ok = cJSON_AddNumberToObject(object, key, value) != NULL;
}

cJSON *put_object(Tree *t, cJSON *parent, const char *key) {
    cJSON *made = t->ok ? cJSON_AddObjectToObject(parent, key) : NULL;
    t->ok = made != NULL;
    return made;
}

cJSON *put_array(Tree *t, cJSON *parent, const char *key) {
    cJSON *made = t->ok ? cJSON_AddArrayToObject(parent, key) : NULL;
    t->ok = made != NULL;
    return made;
}

cJSON *append_object(Tree *t, cJSON *array) {
    cJSON *made = t->ok ? cJSON_CreateObject() : NULL;
    t->ok = made && cJSON_AddItemToArray(array, made);
    return made;
}

void put_item(Tree *t, cJSON *object, const char *key, cJSON *value) {
    if (t->ok && value && cJSON_AddItemToObject(object, key, value)) return;
    cJSON_Delete(value);
    t->ok = false;
}
