/* json_build.h -- a JSON tree under construction: after a failed allocation every further step does nothing,
 * and `ok` says so at the end. Members that are NULL or "" are left out. */
#ifndef RECAST_PACKAGER_JSON_BUILD_H
#define RECAST_PACKAGER_JSON_BUILD_H

#include "core/buffer.h"
#include <cjson/cJSON.h>

typedef struct Tree {
    cJSON *root;
    bool ok;
} Tree;

Tree tree_begin(void); /* an empty object */
/* Appends it in two-space indent and frees it. ERR_MEMORY if a step failed. */
int tree_end(Tree *t, Buffer *out, const char *name, Error *err) MUST_CHECK;

void put_string(Tree *t, cJSON *object, const char *key, const char *value);
void put_number(Tree *t, cJSON *object, const char *key, double value);
cJSON *put_object(Tree *t, cJSON *parent, const char *key);
cJSON *put_array(Tree *t, cJSON *parent, const char *key);
cJSON *append_object(Tree *t, cJSON *array);                          /* a new one at its end */
void put_item(Tree *t, cJSON *object, const char *key, cJSON *value); /* takes `value` over */

#endif
