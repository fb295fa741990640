/* gpus.h -- how much memory an accelerator has: packager/gpus.json, which the program carries. */
#ifndef RECAST_PACKAGER_GPUS_H
#define RECAST_PACKAGER_GPUS_H

#include "core/json.h"

/* path: of another table; NULL: the program's own. Caller deletes with cJSON_Delete. */
int gpus_load(cJSON **out, const char *path, Error *err) MUST_CHECK;
/* *bytes of memory and the table's spelling of the name. Case, blanks, dashes and the words NVIDIA, GeForce,
 * AMD and Radeon don't matter. ERR_USAGE with the nearest name if there is none. */
int gpu_find(const cJSON *table, const char *name, uint64_t *bytes, const char **spelling,
             Error *err) MUST_CHECK;

#endif
