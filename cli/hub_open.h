/* hub_open.h -- the Hub as the environment names it. */
#ifndef RECAST_CLI_HUB_OPEN_H
#define RECAST_CLI_HUB_OPEN_H

#include "cli/cli.h"
#include "packager/hub.h"

/* HF_ENDPOINT, and the token of HF_TOKEN, else HUGGING_FACE_HUB_TOKEN, else the file HF_TOKEN_PATH, else
 * $HF_HOME/token, else ~/.cache/huggingface/token; none at all with HF_HUB_DISABLE_IMPLICIT_TOKEN=1 and
 * need_token false. ERR_IO if a token is needed and there is none, or with HF_HUB_OFFLINE=1. Caller closes.
 */
int cli_hub_open(Hub **out, bool need_token, unsigned connections, float wait, Error *err) MUST_CHECK;

/* $XDG_CACHE_HOME/recast/WHAT, else ~/.cache/recast/WHAT; NULL if there is no home. In buf. */
const char *cli_cache_directory(const char *what, char *buf, size_t size);

#endif
