/* adapters.h -- adapters that users name on the command line: ADAPTER[:SCALE]. */
#ifndef RECAST_CLI_ADAPTERS_H
#define RECAST_CLI_ADAPTERS_H

#include "cli/options.h"
#include "model/lora.h"

/* A view of base with the adapters beside it, in the order given. Each is PEFT's directory or llama.cpp's
 * GGUF; a number behind the last colon is its scale. *out is NULL if the list is empty. Caller closes before
 * base. */
int adapters_open(Model **out, const Model *base, const OptionList *list, Error *err) MUST_CHECK;

#endif
