/* value.h -- GGUF values as text for a person (short, on one line, safe for a terminal) and as JSON. */
#ifndef RECAST_CLI_VALUE_H
#define RECAST_CLI_VALUE_H

#include "core/buffer.h"
#include "model/metadata.h"
#include <cjson/cJSON.h>

/* Appends a value: numbers so that they read back exactly, strings quoted and cut, arrays as count, type and
 * first items. */
void value_text(Buffer *out, const GgufValue *value);

/* The same for programs: integers with all their digits (cJSON's own numbers are doubles, which end at 2^53),
 * arrays as their type and count. NULL: no memory. */
cJSON *value_json(const GgufValue *value);
cJSON *unsigned_json(uint64_t n);

#endif
