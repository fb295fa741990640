/* value.h -- GGUF values as text for a person: short, on one line, safe for a terminal. */
#ifndef RECAST_CLI_VALUE_H
#define RECAST_CLI_VALUE_H

#include "core/buffer.h"
#include "model/metadata.h"

/* Appends a value: numbers so that they read back exactly, strings quoted and cut, arrays as count, type and
 * first items. */
void value_text(Buffer *out, const GgufValue *value);

#endif
