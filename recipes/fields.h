/* fields.h -- reading a recipe's JSON with errors that name the place. Private to recipes/.
 *
 * A place is a JSON path as people write it: "outputs[1].type". The path of the root is "". */
#ifndef RECAST_RECIPES_FIELDS_H
#define RECAST_RECIPES_FIELDS_H

#include "core/json.h"

enum { FIELD_PATH_SIZE = 256 }; /* longer paths are cut, which only messages show */

/* A key that an object may have. later: NULL, or what to say of a key that belongs to the format but not to
 * this version of the program. Lists end with a NULL key. */
typedef struct KeyRule {
    const char *key, *later;
} KeyRule;

void field_path(char out[FIELD_PATH_SIZE], const char *parent, const char *key);
void field_index(char out[FIELD_PATH_SIZE], const char *parent, size_t index);

/* Is every key of `object` known? Unknown ones: ERR_RECIPE with the nearest known key; later ones:
 * ERR_UNSUPPORTED. */
int fields_check(const cJSON *object, const char *path, const KeyRule *rules, Error *err) MUST_CHECK;
/* The same against a list of names. */
int fields_check_names(const cJSON *object, const char *path, const char *const *names,
                       Error *err) MUST_CHECK;

/* "PATH: expected WHAT, found ITEM"; ITEM NULL: "PATH is missing: expected WHAT". Returns ERR_RECIPE. */
int field_mismatch(const cJSON *item, const char *path, const char *what, Error *err);
/* "PATH: "VALUE" is WHAT; did you mean NEAREST?" (the question only if a name is near). Returns `code`. */
int field_unknown(int code, const char *path, const char *value, const char *what, const char *const *names,
                  Error *err);

/* The member `key` of an object; *out stays as it was if it is absent and not required. */
int field_object(const cJSON **out, const cJSON *object, const char *path, const char *key, bool required,
                 Error *err) MUST_CHECK;
int field_array(const cJSON **out, const cJSON *object, const char *path, const char *key, bool required,
                Error *err) MUST_CHECK; /* at least one element */
int field_string(const char **out, const cJSON *object, const char *path, const char *key, bool required,
                 Error *err) MUST_CHECK; /* never empty */
int field_u32(uint32_t *out, const cJSON *object, const char *path, const char *key, uint32_t least,
              uint32_t most, bool required, Error *err) MUST_CHECK;
/* A path of a recipe: relative ones are relative to its directory. In the arena; NULL: no memory. */
const char *field_resolve(Arena *arena, const char *directory, const char *path);
/* A string, given as `item`, that is not empty. */
int item_string(const char **out, const cJSON *item, const char *path, Error *err) MUST_CHECK;

#endif
