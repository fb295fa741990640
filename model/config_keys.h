/* config_keys.h -- typed reads of config.json: one key, or an old and a new spelling of it.
 *
 * JSON null counts as absent. Errors are ERR_FORMAT and name the key, what was expected and what stands
 * there. */
#ifndef RECAST_MODEL_CONFIG_KEYS_H
#define RECAST_MODEL_CONFIG_KEYS_H

#include "core/json.h"

/* A count in 1 .. 2^32-1; 0 if it is absent and not required. `alias` is the key's other spelling (NULL if
 * there is none); both present and different is an error. */
int config_count(uint32_t *out, const cJSON *object, const char *where, const char *key, const char *alias,
                 bool required, Error *err) MUST_CHECK;
/* A finite number rounded to float32, which it must fit; *out stays as it was if absent (then *found is
 * false; may be NULL). */
int config_float(float *out, bool *found, const cJSON *object, const char *where, const char *key,
                 Error *err) MUST_CHECK;
/* true or false; *out stays as it was if absent. */
int config_bool(bool *out, const cJSON *object, const char *where, const char *key, Error *err) MUST_CHECK;

#endif
