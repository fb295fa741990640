/* adapters.h -- adapters that users name on the command line: ADAPTER[:SCALE]. */
#ifndef RECAST_CLI_ADAPTERS_H
#define RECAST_CLI_ADAPTERS_H

#include "cli/cli.h"
#include "model/lora.h"

/* A view of base with the adapters beside it, in the order given. Each is PEFT's directory or llama.cpp's
 * GGUF; a number behind the last colon is its scale. *out is NULL if the list is empty. Caller closes before
 * base. */
int adapters_open(Model **out, const Model *base, const OptionList *list, Error *err) MUST_CHECK;
/* Before a model with adapters is run, which keeps the merged rows in memory: what could not be checked of
 * them and, where it is much, how much memory that is, as notes on stderr. ERR_MEMORY, with what to do
 * instead, if this machine has less. */
int adapters_ready(const Cli *cli, const Model *model, Error *err) MUST_CHECK;

#endif
