/* remote_compare.h -- what differs between two models of which one or both are on the Hub, without their
 * weights. */
#ifndef RECAST_CLI_REMOTE_COMPARE_H
#define RECAST_CLI_REMOTE_COMPARE_H

#include "cli/cli.h"

bool is_remote(const char *path); /* "hf:user/name[@revision]" */
/* Each of a and b is such a name, a directory or a GGUF. Prints the answer. */
int remote_compare(Cli *cli, const char *a, const char *b, Error *err) MUST_CHECK;

#endif
