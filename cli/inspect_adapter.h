/* inspect_adapter.h -- `recast inspect` of PEFT's adapter directory, and what a GGUF says of adapters. */
#ifndef RECAST_CLI_INSPECT_ADAPTER_H
#define RECAST_CLI_INSPECT_ADAPTER_H

#include "cli/cli.h"
#include <cjson/cJSON.h>

/* A directory with adapter_config.json, and no config.json that would make it a checkpoint. */
bool is_adapter(const char *path);
int inspect_adapter(Cli *cli, const char *path, Error *err) MUST_CHECK;

/* A GGUF that is an adapter itself, or into which adapters were merged: lines; or "adapter" and "lora" in
 * doc. Nothing for any other model. */
int inspect_adapters_print(const Model *m, Error *err) MUST_CHECK;
int inspect_adapters_json(const Model *m, cJSON *doc, Error *err) MUST_CHECK;

#endif
