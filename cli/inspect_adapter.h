/* inspect_adapter.h -- `recast inspect` of PEFT's adapter directory. */
#ifndef RECAST_CLI_INSPECT_ADAPTER_H
#define RECAST_CLI_INSPECT_ADAPTER_H

#include "cli/cli.h"

/* A directory with adapter_config.json, and no config.json that would make it a checkpoint. */
bool is_adapter(const char *path);
int inspect_adapter(Cli *cli, const char *path, Error *err) MUST_CHECK;

#endif
